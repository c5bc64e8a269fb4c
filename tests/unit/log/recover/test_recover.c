/* Goal: after any crash everything acknowledged is there, in order, and nothing else; damage halts
 * and says so. Method: a whole log tile on a virtual disk, power cuts at random moments (seeds are
 * printed); single rows of the decision table by hand. */
#include "../append/store_rig.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};

static void
append_some(struct rig *rig, uint32_t count, uint32_t bytes_max)
{
    for (uint32_t i = 0; i < count; i++) {
        struct rig_append append = {
            .partition = (uint32_t)sim_rng_below(&rig->rng, rig->partition_count),
            .bytes = 61 + (uint32_t)sim_rng_below(&rig->rng, bytes_max),
            .records = 1 + (uint32_t)sim_rng_below(&rig->rng, 5),
        };
        cr_assert_eq(rig_append(rig, &append), LOG_APPEND_TAKEN, "%s", rc_name(rig->last_ack.rc));
        for (uint64_t steps = sim_rng_below(&rig->rng, 4); steps > 0; steps--)
            (void)rig_step(rig);
    }
}

static void
open_again(struct rig *rig)
{
    cr_assert_eq(
        rig_open(rig), RC_OK, "seed %llu: %s", (unsigned long long)rig->seed, rig->trail.text);
    rig_reopen(rig);
    rig_accept_crash(rig);
}

Test(recover, R1_an_empty_disk_starts, .timeout = 10)
{
    static struct rig rig;

    rig_init(&rig, 1);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.tiles_found, 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_fini(&rig);
}

Test(recover, R2_a_journal_without_a_checkpoint_is_refused, .timeout = 10)
{
    static struct rig rig;

    rig_init(&rig, 2);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_kill(&rig);
    (void)disk_unlink(rig.disk, "checkpoint-0-0");
    (void)disk_unlink(rig.disk, "checkpoint-0-1");
    cr_assert_eq(rig_open(&rig), RC_CORRUPT);
    rig_fini(&rig);
}

Test(recover, R5_a_clean_stop_replays_nothing, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 5);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    rig_create(&rig, &(struct log_partition_config){.segment_bytes = 100 * KIB});
    append_some(&rig, 300, 5000);
    rig_settle(&rig);
    rig_stop(&rig);
    open_again(&rig);
    cr_assert_eq(rig.report.tiles_clean, 1);
    cr_assert_eq(rig.report.batches_replayed, 0);
    cr_assert_eq(rig_partition(&rig, 0)->leader_epoch, 0);
    rig_verify(&rig, 0);
    rig_verify(&rig, 1);
    append_some(&rig, 100, 5000);
    rig_settle(&rig);
    rig_verify(&rig, 1);
    rig_fini(&rig);
}

Test(recover, R7_a_missing_segment_halts_its_partition, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 7);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    rig_create(&rig, &plain);
    append_some(&rig, 300, 5000);
    rig_stop(&rig);
    cr_assert_eq(disk_unlink(rig.disk, "partitions/0000000000000064/00000000000000000000.seg"),
                 RC_OK);
    cr_assert_eq(rig_open(&rig), RC_OK);
    cr_assert_eq(rig.report.partitions_halted, 1);
    rig_reopen(&rig);
    cr_assert_eq(rig_read(&rig, 0, 0, 1000).rc, RC_HALTED);
    cr_assert_eq(rig_append(&rig, &(struct rig_append){.partition = 0, .bytes = 100, .records = 1}),
                 LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_HALTED);
    rig_verify(&rig, 1);
    rig_fini(&rig);
}

Test(recover, R9_dropped_partitions_stay_away, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 9);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    rig_create(&rig, &plain);
    append_some(&rig, 100, 3000);
    uint64_t before = rig.events;
    cr_assert_eq(log_drop(rig.tiles[0].log, rig.partitions[0].slot, 100, 1), RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.events, before + 1);
    cr_assert_eq(rig.last_event.kind, LOG_EVENT_DROPPED);
    cr_assert_eq(rig.last_event.rc, RC_OK);
    rig.partitions[0].incarnation = 0;
    cr_assert_eq(log_find(rig.tiles[0].log, 100), UINT32_MAX);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    cr_assert_eq(log_find(rig.tiles[0].log, 100), UINT32_MAX);
    rig_reopen(&rig);
    rig_accept_crash(&rig);
    rig_verify(&rig, 1);
    rig_fini(&rig);
}

Test(recover, R10_damage_inside_the_journal_halts, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 10);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 10; i++)
        rig_append_wait(&rig, &(struct rig_append){.partition = 0, .bytes = 5000, .records = 1});
    rig_kill(&rig);
    cr_assert(disk_sim_flip_bit(rig.disk, "journal-0-0", 4096 * 6 + 2000, 3));
    cr_assert_eq(rig_open(&rig), RC_OK);
    cr_assert_eq(rig.report.partitions_halted, 1);
    rig_fini(&rig);
}

Test(recover, R14_every_unclean_start_raises_the_leader_epoch, .timeout = 30)
{
    static struct rig rig;
    struct log_read_result result = {0};

    rig_init(&rig, 14);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &plain);
    for (int32_t i = 1; i < 5; i++) {
        rig_append_wait(&rig, &(struct rig_append){.partition = 0, .bytes = 100, .records = 2});
        rig_crash(&rig);
        open_again(&rig);
        cr_assert_eq(rig_partition(&rig, 0)->leader_epoch, i);
    }
    cr_assert_eq(log_epoch_end(rig.tiles[0].log, rig.partitions[0].slot, 100, 2, &result), RC_OK);
    cr_assert_eq(result.leader_epoch, 2);
    cr_assert_eq(result.base_offset, 6);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

/* Random work and power cuts at any moment. */
static void
run_crashes(uint64_t seed, uint32_t rounds, uint64_t segment_bytes)
{
    static struct rig rig;

    rig_init(&rig, seed);
    cr_assert_eq(rig_open(&rig), RC_OK);
    for (uint32_t i = 0; i < 4; i++)
        rig_create(&rig, &(struct log_partition_config){.segment_bytes = segment_bytes});
    for (uint32_t round = 0; round < rounds; round++) {
        append_some(&rig,
                    (uint32_t)sim_rng_below(&rig.rng, 400),
                    sim_rng_chance(&rig.rng, 300000) ? 100000 : 4000);
        for (uint64_t steps = sim_rng_below(&rig.rng, 60); steps > 0; steps--)
            (void)rig_step(&rig);
        if (sim_rng_chance(&rig.rng, 200000))
            rig_stop(&rig);
        else if (sim_rng_chance(&rig.rng, 300000))
            rig_kill(&rig);
        else
            rig_crash(&rig);
        open_again(&rig);
        if (round % 3 == 0)
            for (uint32_t i = 0; i < 4; i++)
                rig_verify(&rig, i);
    }
    for (uint32_t i = 0; i < 4; i++)
        rig_verify(&rig, i);
    rig_fini(&rig);
}

Test(recover, survives_power_cuts_at_any_moment, .timeout = 120)
{
    for (uint64_t seed = 100; seed < 110; seed++)
        run_crashes(seed, 8, 128 * MIB);
}

Test(recover, survives_power_cuts_while_rolling, .timeout = 120)
{
    for (uint64_t seed = 200; seed < 210; seed++)
        run_crashes(seed, 8, 64 * KIB);
}

Test(recover, partitions_move_between_any_numbers_of_tiles, .timeout = 120)
{
    static struct rig rig;

    rig_init(&rig, 300);
    cr_assert_eq(rig_open(&rig), RC_OK);
    for (uint32_t i = 0; i < 6; i++)
        rig_create(&rig, &(struct log_partition_config){.segment_bytes = 256 * KIB});
    for (uint32_t round = 0; round < 8; round++) {
        append_some(&rig, 300, 6000);
        if (round % 3 == 2)
            rig_stop(&rig);
        else
            rig_crash(&rig);
        rig.tile_count = 1 + (uint32_t)sim_rng_below(&rig.rng, 4);
        open_again(&rig);
        for (uint32_t i = 0; i < 6; i++)
            rig_verify(&rig, i);
    }
    rig_fini(&rig);
}
