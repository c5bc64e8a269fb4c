/* Goal: a crash at any step of a compaction leaves the old or the new segments. Method: power cuts
 * after every number of steps. */
#include "compact_rig.h"

#include <criterion/criterion.h>

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
