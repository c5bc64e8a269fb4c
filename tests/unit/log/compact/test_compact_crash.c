/* Goal: a crash at any step of a compaction leaves the old or the new segments. Method: power cuts
 * after every number of steps. */
#include "compact_rig.h"

#include <criterion/criterion.h>
#include <errno.h>

static const struct log_partition_config small = {
    .segment_bytes = 64 * KIB,
    .is_compacted = true,
    .keeps_old = true,
    .delete_retention_ms = 3600 * 1000,
    .compaction_lag_max_ms = INT64_MAX,
};

/* Runs one compaction for so many steps, cuts the power, starts again and looks. False: it ended
 * before. */
static bool
cut_after(uint64_t seed, uint32_t steps)
{
    static struct crig crig;
    bool is_over = false;

    crig_init(&crig, seed, &small);
    crig_fill(&crig, 250, 12, 60, 100000);
    crig_compact(&crig);
    uint64_t clean = crig_partition(&crig)->cleaned_offset;
    crig_fill(&crig, 150, 12, 60, 100000);
    clock_sim_advance(&crig.rig.clock, 1100 * NS_PER_MS);
    for (uint32_t i = 0; i < 100 && !crig_partition(&crig)->is_compacting; i++)
        (void)crig_step(&crig);
    cr_assert(crig_partition(&crig)->is_compacting);
    for (uint32_t i = 0; i < steps && !is_over; i++) {
        (void)crig_step(&crig);
        is_over = !crig_partition(&crig)->is_compacting;
    }
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_eq(crig_partition(&crig)->state, PARTITION_OPEN);
    cr_assert_geq(crig_partition(&crig)->cleaned_offset, clean);
    cr_assert_eq(crig_partition(&crig)->next_offset, crig.count);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_compact(&crig);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_fini(&crig);
    return !is_over;
}

Test(compact_crash, R22_a_power_cut_at_any_step_leaves_old_or_new, .timeout = 300)
{
    uint32_t steps = 0;

    while (cut_after(1000 + steps, steps))
        cr_assert_lt(++steps, 2000);
    cr_assert_gt(steps, 20, "compaction took only %u steps", steps);
}

/* Syncs of the directory fail from one on, and the power goes at once: a name that was not synced
 * before the manifest was renamed may be lost, and the manifest may be there. */
Test(compact_crash, R22_an_output_has_its_name_before_the_manifest_does, .timeout = 120)
{
    for (uint64_t i = 0; i < 60; i++) {
        static struct crig crig;
        struct disk_sim_plan plan = {.classes = DISK_SIM_SYNC,
                                     .path_part = "0000000000000064",
                                     .skip = i % 15,
                                     .count = 1000,
                                     .effect = DISK_SIM_EFFECT_ERROR,
                                     .error = EIO};
        crig_init(&crig, 5000 + i, &small);
        crig_fill(&crig, 300, 12, 60, 100000);
        uint32_t at = disk_sim_plan_add(crig.rig.disk, &plan);
        clock_sim_advance(&crig.rig.clock, 1100 * NS_PER_MS);
        for (uint32_t k = 0; k < 3000 && disk_sim_plan_hits(crig.rig.disk, at) == 0; k++)
            (void)crig_step(&crig);
        crig_power_cut(&crig);
        disk_sim_heal(crig.rig.disk);
        crig_open(&crig, NULL);
        cr_assert_eq(crig_partition(&crig)->state, PARTITION_OPEN);
        crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
        crig_fini(&crig);
    }
}

Test(compact_crash, R21_the_active_segment_of_the_checkpoint_was_merged, .timeout = 60)
{
    static struct crig crig;

    /* The checkpoint is of the beginning: everything was sealed and compacted behind it. */
    crig_init(&crig, 31, NULL);
    crig.rig.config.journal_file_bytes = 4 * MIB;
    crig_open(&crig, &small);
    crig_fill(&crig, 400, 10, 60, 0);
    crig_compact(&crig);
    crig_fill(&crig, 200, 10, 60, 0);
    crig_compact(&crig);
    uint64_t clean = crig_partition(&crig)->cleaned_offset;
    cr_assert_gt(clean, 0);
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_eq(crig_partition(&crig)->state, PARTITION_OPEN);
    cr_assert_eq(crig_partition(&crig)->next_offset, crig.count);
    crig_verify(&crig, clean);
    crig_fini(&crig);
}
