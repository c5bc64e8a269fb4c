/* Goal: what bypasses the journal is as durable when it is acknowledged as what does not, in the
 * same order, and costs its bytes once. Method: a whole log tile on the virtual disk with the
 * bypass on; failing writes and syncs first; see store_rig.h. */
#include "store_rig.h"

#include <criterion/criterion.h>
#include <errno.h>

#define BULK_BYTES (64u * 1024)

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};
static struct rig rig;
static struct metrics_tile metrics;

static void
open_bulk(uint64_t seed)
{
    rig_init(&rig, seed);
    metrics_init(&metrics, METRICS_LOG, "log0");
    rig.config.bulk_bytes = BULK_BYTES;
    rig.config.metrics = &metrics;
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
}

static uint64_t
count(enum metric metric)
{
    return metrics_get(&metrics, metric);
}

static enum log_append_status
offer(uint32_t partition, uint32_t bytes)
{
    return rig_append(&rig,
                      &(struct rig_append){.partition = partition, .bytes = bytes, .records = 10});
}

static void
append(uint32_t partition, uint32_t bytes)
{
    rig_append_wait(&rig,
                    &(struct rig_append){.partition = partition, .bytes = bytes, .records = 10});
    cr_assert_eq(rig.last_ack.rc, RC_OK);
}

static void fail_next(enum disk_sim_class class)
{
    struct disk_sim_plan plan = {.classes = class,
                                 .path_part = ".seg",
                                 .count = 1,
                                 .effect = DISK_SIM_EFFECT_ERROR,
                                 .error = EIO};

    disk_sim_plan_add(rig.disk, &plan);
}

/* A bulk batch of one partition and a small one of another in front of and behind it; the segment
 * operation fails. */
static void try_failure(enum disk_sim_class class)
{
    open_bulk(3);
    uint32_t bad = rig_create(&rig, &plain);
    uint32_t good = rig_create(&rig, &plain);
    append(bad, 1000);
    rig_settle(&rig);
    fail_next(class);
    uint64_t failed = rig.acks_failed;
    cr_assert_eq(offer(good, 700), LOG_APPEND_TAKEN);
    cr_assert_eq(offer(bad, BULK_BYTES), LOG_APPEND_TAKEN);
    cr_assert_eq(offer(bad, 100), LOG_APPEND_TAKEN, "it follows the bulk batch");
    cr_assert_eq(offer(good, 800), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    cr_assert_eq(rig.acks_failed, failed + 2);
    cr_assert_eq(rig_partition(&rig, bad)->state, PARTITION_FENCED);
    cr_assert_eq(rig_partition(&rig, bad)->durable_offset, 10, "only what the journal has");
    cr_assert_eq(rig_partition(&rig, good)->durable_offset, 20);
    append(good, 900);
    rig_kill(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.partitions_halted, 0);
    rig_accept_crash(&rig);
    rig_fini(&rig);
}

Test(bulk, a_failed_write_fences_its_partition_and_no_other, .timeout = 30)
{
    try_failure(DISK_SIM_WRITE);
}

Test(bulk, a_failed_sync_fences_its_partition_and_no_other, .timeout = 30)
{
    try_failure(DISK_SIM_SYNC);
}

Test(bulk, the_answer_to_a_duplicate_waits_for_the_original, .timeout = 30)
{
    struct rig_append batch = {.bytes = BULK_BYTES, .records = 10, .producer_id = 7};

    open_bulk(4);
    (void)rig_create(&rig, &plain);
    uint64_t acks = rig.acks;
    cr_assert_eq(rig_try(&rig, &batch), LOG_APPEND_TAKEN);
    cr_assert_eq(rig_try(&rig, &batch), LOG_APPEND_AGAIN, "nothing says yet that it is stored");
    cr_assert_eq(rig.acks, acks);
    while (rig.acks == acks)
        (void)rig_step(&rig);
    cr_assert_eq(rig_try(&rig, &batch), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    cr_assert_eq(rig.last_ack.rc, RC_SEQUENCE_DUPLICATE);
    cr_assert_eq(rig.last_ack.base_offset, 0);
    rig_kill(&rig); /* the model counts the duplicate as a batch: no verification here */
    rig_fini(&rig);
}

Test(bulk, an_ack_comes_after_the_sync_and_the_group_behind_it, .timeout = 30)
{
    open_bulk(5);
    (void)rig_create(&rig, &plain);
    rig_settle(&rig);
    uint64_t syncs = disk_sim_operations(rig.disk, DISK_SIM_SYNC);
    uint64_t acks = rig.acks;
    uint64_t through = journal_durable_through(rig_log(&rig, 0)->journal);
    cr_assert_eq(offer(0, BULK_BYTES), LOG_APPEND_TAKEN);
    while (rig.acks == acks) {
        cr_assert_eq(rig_partition(&rig, 0)->durable_offset, 0);
        (void)rig_step(&rig);
    }
    cr_assert_gt(disk_sim_operations(rig.disk, DISK_SIM_SYNC), syncs);
    cr_assert_gt(journal_durable_through(rig_log(&rig, 0)->journal), through);
    cr_assert_eq(rig_partition(&rig, 0)->durable_offset, 10);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

/* Reclaim syncs what stood in the segment before: were that to fail, a mark would vouch for it. */
Test(bulk, a_mark_waits_for_a_sync_by_reclaim, .timeout = 30)
{
    open_bulk(14);
    (void)rig_create(&rig, &plain);
    rig_settle(&rig);
    uint64_t acks = rig.acks;
    rig_partition(&rig, 0)->is_captured = true;
    cr_assert_eq(offer(0, BULK_BYTES), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    cr_assert_eq(rig.acks, acks);
    cr_assert_eq(rig_partition(&rig, 0)->flushed_offset, 10, "written, not named");
    rig_partition(&rig, 0)->is_captured = false;
    rig_settle(&rig);
    cr_assert_eq(rig.acks, acks + 1);
    cr_assert_eq(rig.last_ack.rc, RC_OK);
    rig_fini(&rig);
}

Test(bulk, costs_its_bytes_once, .timeout = 60)
{
    open_bulk(6);
    (void)rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 40; i++)
        append(0, BULK_BYTES + i);
    rig_settle(&rig);
    cr_assert_eq(count(METRIC_BULK_BATCHES), 40);
    cr_assert_eq(count(METRIC_BULK_BYTES), count(METRIC_BYTES_APPENDED));
    cr_assert_leq(count(METRIC_JOURNAL_PADDING_BYTES), 42u * 4096, "one block for each group");
    cr_assert_not(rig_partition(&rig, 0)->is_dirty, "nothing is left for reclaim");
    cr_assert_eq(rig_partition(&rig, 0)->synced.next_offset, 400);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(bulk, zero_turns_it_off, .timeout = 30)
{
    rig_init(&rig, 7);
    metrics_init(&metrics, METRICS_LOG, "log0");
    rig.config.metrics = &metrics;
    cr_assert_eq(rig_open(&rig), RC_OK);
    (void)rig_create(&rig, &plain);
    append(0, 4 * BULK_BYTES / 2);
    cr_assert_eq(count(METRIC_BULK_BATCHES), 0);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(bulk, small_batches_of_one_group_add_up, .timeout = 30)
{
    open_bulk(8);
    (void)rig_create(&rig, &plain);
    uint64_t bulk = count(METRIC_BULK_BATCHES);
    for (uint32_t i = 0; i < 30; i++)
        cr_assert_eq(offer(0, 4000), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    cr_assert_gt(count(METRIC_BULK_BATCHES), bulk);
    cr_assert_lt(count(METRIC_BULK_BATCHES), bulk + 30, "the first ones are in the journal");
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

/* Small batches of one partition between bulk batches of another: the group's payload is in pieces,
 * more than one write can take. */
Test(bulk, a_group_in_pieces_is_read_back, .timeout = 60)
{
    open_bulk(9);
    uint32_t small = rig_create(&rig, &plain);
    uint32_t bulk = rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 120; i++) {
        cr_assert_eq(offer(small, 300 + i), LOG_APPEND_TAKEN);
        cr_assert_eq(offer(bulk, i % 4 == 0 ? BULK_BYTES : 200), LOG_APPEND_TAKEN);
    }
    rig_settle(&rig);
    cr_assert_gt(count(METRIC_BULK_BATCHES), 10);
    rig_kill(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_gt(rig.report.batches_referred, 0);
    rig_reopen(&rig);
    rig_verify(&rig, small);
    rig_verify(&rig, bulk);
    rig_fini(&rig);
}

Test(bulk, rolls_like_anything_else, .timeout = 60)
{
    struct log_partition_config config = plain;

    config.segment_bytes = 256 * KIB;
    open_bulk(10);
    (void)rig_create(&rig, &config);
    for (uint32_t i = 0; i < 60; i++) {
        cr_assert_eq(offer(0, i % 7 == 0 ? 500 : BULK_BYTES + i), LOG_APPEND_TAKEN);
        if (i % 3 == 0)
            rig_settle(&rig);
    }
    rig_settle(&rig);
    cr_assert_gt(count(METRIC_SEGMENTS_ROLLED), 5);
    rig_verify(&rig, 0);
    rig_kill(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

/* The journal is full while a bulk write of the next segment waits for the mark of the one before:
 * reclaim must not wait for that write. */
Test(bulk, a_full_journal_is_given_back, .timeout = 60)
{
    struct log_partition_config config = plain;

    rig_init(&rig, 11);
    config.segment_bytes = 128 * KIB;
    rig.config.bulk_bytes = 8192;
    rig.config.journal_file_bytes = 64 * KIB;
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t bulk = rig_create(&rig, &config);
    uint32_t small = rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 400; i++) {
        cr_assert_eq(offer(bulk, 9000), LOG_APPEND_TAKEN);
        cr_assert_eq(offer(small, 6000), LOG_APPEND_TAKEN);
    }
    rig_settle(&rig);
    rig_verify(&rig, bulk);
    rig_verify(&rig, small);
    rig_stop(&rig);
    rig_fini(&rig);
}

Test(bulk, a_stop_waits_for_what_is_under_way, .timeout = 30)
{
    open_bulk(12);
    (void)rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(offer(0, BULK_BYTES), LOG_APPEND_TAKEN);
    rig_stop(&rig);
    cr_assert_eq(rig.acks_failed, 0);
    cr_assert_eq(rig_open(&rig), RC_OK);
    cr_assert_eq(rig.report.groups_replayed, 0);
    rig_reopen(&rig);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}
