/* Goal: what is acknowledged is durable, in order and readable; what is wrong is refused by name.
 * Method: a whole log tile on the virtual disk; see store_rig.h. */
#include "store_rig.h"

#include "engine/record/record_builder.h"

#include <criterion/criterion.h>
#include <signal.h>

static const struct log_partition_config plain = {.durability = LOG_DURABILITY_DEVICE};

Test(log_append, refuses_unknown_partitions_and_long_batches, .timeout = 20)
{
    static struct rig rig;
    struct log_append_request request = {.slot = 3, .incarnation = 5};
    struct log_ack ack;

    rig_init(&rig, 1);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(log_append(rig.tiles[0].log, &request, &ack), LOG_APPEND_REFUSED);
    cr_assert_eq(ack.rc, RC_UNKNOWN_PARTITION);
    uint32_t p = rig_create(&rig, &plain);
    struct rig_append append = {.partition = p, .bytes = 1 * MIB + 1, .records = 1};
    cr_assert_eq(rig_try(&rig, &append), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_BATCH_TOO_LARGE);
    rig_fini(&rig);
}

Test(log_append, acknowledges_after_the_journal_write_and_reads_back, .timeout = 20)
{
    static struct rig rig;

    rig_init(&rig, 2);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    struct rig_append append = {.partition = p, .bytes = 200, .records = 3};
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_TAKEN);
    cr_assert_eq(rig.acks, 0, "not durable yet");
    cr_assert_eq(rig_read(&rig, p, 0, 1000).bytes, 0, "not below the high watermark");
    rig_settle(&rig);
    cr_assert_eq(rig.acks, 1);
    cr_assert_eq(rig.last_ack.base_offset, 0);
    for (uint32_t i = 0; i < 100; i++)
        rig_append(&rig, &append);
    rig_settle(&rig);
    cr_assert_eq(rig.acks, 101);
    cr_assert_eq(rig_partition(&rig, p)->next_offset, 303);
    rig_verify(&rig, p);
    rig_fini(&rig);
}

Test(log_append, survives_a_crash_with_everything_in_the_journal, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 3);
    cr_assert_eq(rig_open(&rig), RC_OK);
    for (uint32_t i = 0; i < 3; i++)
        rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 90; i++)
        rig_append(
            &rig, &(struct rig_append){.partition = i % 3, .bytes = 100 + i, .records = 1 + i % 4});
    rig_settle(&rig);
    cr_assert_eq(rig.acks, 90);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    rig_accept_crash(&rig);
    cr_assert_eq(rig.report.batches_replayed, 90);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(rig_partition(&rig, i)->leader_epoch, 1, "unclean: the epoch goes up");
        rig_verify(&rig, i);
    }
    rig_fini(&rig);
}

static uint64_t
probe(struct rig *rig, uint32_t partition, uint64_t offset)
{
    struct log_read_request request = {.slot = rig->partitions[partition].slot,
                                       .incarnation = rig->partitions[partition].incarnation,
                                       .offset = offset,
                                       .leader_epoch = -1};
    struct log_read_result result;

    cr_assert(log_read(rig_log(rig, partition), &request, &result));
    cr_assert_eq(result.rc, RC_OK);
    cr_assert_eq(result.bytes, 0);
    return result.total_bytes;
}

/* A gate parks a Fetch, or reads for it, by this number alone. */
Test(log_append, a_probe_tells_how_much_is_readable_from_an_offset_on, .timeout = 30)
{
    static struct rig rig;

    rig_init(&rig, 14);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    cr_assert_eq(probe(&rig, p, 0), 0);
    for (uint32_t i = 0; i < 3; i++)
        rig_append(&rig, &(struct rig_append){.partition = p, .bytes = 100, .records = 2});
    cr_assert_eq(probe(&rig, p, 0), 0, "not durable yet");
    rig_settle(&rig);
    cr_assert_eq(probe(&rig, p, 0), 300);
    cr_assert_eq(probe(&rig, p, 2), 200);
    cr_assert_eq(probe(&rig, p, 6), 0);
    rig_stop(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    cr_assert_gt(probe(&rig, p, 0), 0, "also what only the disk holds");
    cr_assert_eq(probe(&rig, p, 6), 0);
    rig_fini(&rig);
}

Test(log_append, memory_topics_acknowledge_at_once, .timeout = 20)
{
    static struct rig rig;

    rig_init(&rig, 4);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig,
                            &(struct log_partition_config){.durability = LOG_DURABILITY_MEMORY});
    struct log_ack acks[4];
    cr_assert_eq(rig_append(&rig, &(struct rig_append){.partition = p, .bytes = 100, .records = 1}),
                 LOG_APPEND_TAKEN);
    cr_assert_eq(log_take_acks(rig_log(&rig, p), acks, 4), 1);
    cr_assert_eq(acks[0].rc, RC_OK);
    cr_assert_eq(rig_read(&rig, p, 0, 1000).bytes, 100);
    rig_fini(&rig);
}

Test(log_append, flushes_rolls_and_reads_cold, .timeout = 60)
{
    static struct rig rig;

    rig_init(&rig, 5);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &(struct log_partition_config){.segment_bytes = 1 * MIB});
    uint32_t q = rig_create(&rig, &plain);
    for (uint32_t i = 0; i < 3000; i++) {
        rig_append(&rig, &(struct rig_append){.partition = p, .bytes = 3000 + i, .records = 10});
        if (i % 50 == 0)
            rig_append(&rig, &(struct rig_append){.partition = q, .bytes = 300, .records = 1});
    }
    rig_settle(&rig);
    cr_assert_gt(rig_partition(&rig, p)->segments.count, 8);
    cr_assert_eq(rig.acks, 3060);
    rig_verify(&rig, p);
    rig_verify(&rig, q);
    rig_fini(&rig);
}

Test(log_append, takes_the_greatest_batches, .timeout = 60)
{
    static struct rig rig;

    rig_init(&rig, 6);
    rig.config.slab_ring_bytes = 64 * MIB;
    rig.config.journal_file_bytes = 16 * MIB;
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(
        &rig,
        &(struct log_partition_config){.batch_bytes_max = 8 * MIB, .segment_bytes = 16 * MIB});
    for (uint32_t i = 0; i < 15; i++)
        rig_append(&rig,
                   &(struct rig_append){.partition = p,
                                        .bytes = (uint32_t)(8 * MIB - i * 500000 - (i % 2)),
                                        .records = 10});
    rig_settle(&rig);
    cr_assert_eq(rig.acks, 15);
    rig_verify(&rig, p);
    rig_fini(&rig);
}

Test(log_append, sequences_are_checked_and_duplicates_get_the_first_offset, .timeout = 20)
{
    static struct rig rig;

    rig_init(&rig, 7);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    struct rig_append append = {
        .partition = p, .bytes = 100, .records = 2, .producer_id = 7, .sequence = 10};
    rig_append_wait(&rig, &append); /* unknown producer: any sequence */
    cr_assert_eq(rig.last_ack.rc, RC_OK);
    append.sequence = 12;
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_TAKEN);
    cr_assert_eq(
        rig_append(&rig, &append), LOG_APPEND_TAKEN, "duplicate of one that is not durable");
    rig_settle(&rig);
    cr_assert_eq(rig.last_ack.rc, RC_SEQUENCE_DUPLICATE);
    cr_assert_eq(rig.last_ack.base_offset, 2);
    append.sequence = 16;
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_SEQUENCE_OUT_OF_ORDER);
    append.sequence = 14;
    rig_append_wait(&rig, &append);
    cr_assert_eq(rig.last_ack.base_offset, 4);
    append.epoch = 1;
    append.sequence = 5;
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_REFUSED);
    append.sequence = 0;
    rig_append_wait(&rig, &append);
    append.epoch = 0;
    append.sequence = 16;
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_PRODUCER_EPOCH_STALE);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_reopen(&rig);
    append.epoch = 1;
    append.sequence = 0;
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_TAKEN, "still known after a crash");
    rig_settle(&rig);
    cr_assert_eq(rig.last_ack.rc, RC_SEQUENCE_DUPLICATE);
    cr_assert_eq(rig.last_ack.base_offset, 6);
    rig_fini(&rig);
}

Test(log_append, a_failed_journal_write_fences_the_tile, .timeout = 20)
{
    static struct rig rig;
    struct disk_sim_plan plan = {.classes = DISK_SIM_WRITE,
                                 .path_part = "journal",
                                 .count = 1000,
                                 .effect = DISK_SIM_EFFECT_ERROR,
                                 .error = 5};

    rig_init(&rig, 8);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    struct rig_append append = {.partition = p, .bytes = 100, .records = 1};
    rig_append_wait(&rig, &append);
    disk_sim_plan_add(rig.disk, &plan);
    rig_append_wait(&rig, &append);
    cr_assert_eq(rig.last_ack.rc, RC_FENCED);
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_FENCED);
    rig_fini(&rig);
}

Test(log_append, a_failed_segment_write_fences_its_partition_only, .timeout = 30)
{
    static struct rig rig;
    struct disk_sim_plan plan = {.classes = DISK_SIM_WRITE,
                                 .path_part = ".seg",
                                 .count = 1,
                                 .effect = DISK_SIM_EFFECT_ERROR,
                                 .error = 5};

    rig_init(&rig, 9);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    uint32_t q = rig_create(&rig, &plain);
    disk_sim_plan_add(rig.disk, &plan);
    for (uint32_t i = 0; i < 10; i++)
        rig_append(&rig, &(struct rig_append){.partition = p, .bytes = 10000, .records = 1});
    rig_settle(&rig);
    cr_assert_eq(rig.acks, 10);
    cr_assert_eq(rig.acks_failed, 0, "they are durable in the journal");
    struct rig_append append = {.partition = p, .bytes = 100, .records = 1};
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_FENCED);
    append.partition = q;
    rig_append_wait(&rig, &append);
    cr_assert_eq(rig.last_ack.rc, RC_OK);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_reopen(&rig);
    rig_accept_crash(&rig);
    rig_verify(&rig, p);
    rig_fini(&rig);
}

Test(log_append, no_space_refuses_by_name_and_heals, .timeout = 60)
{
    static struct rig rig;
    struct disk_sim_faults faults = {0};

    rig_init(&rig, 10);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    faults.space_bytes = disk_sim_used_bytes(rig.disk) + 300 * KIB;
    disk_sim_set_faults(rig.disk, &faults);
    struct rig_append append = {.partition = p, .bytes = 10000, .records = 1};
    uint32_t taken = 0;
    while (rig_append(&rig, &append) == LOG_APPEND_TAKEN && taken < 1000)
        taken++;
    cr_assert_eq(rig.last_ack.rc, RC_NO_SPACE);
    cr_assert_lt(taken, 1000);
    faults.space_bytes = 0;
    disk_sim_set_faults(rig.disk, &faults);
    clock_sim_advance(&rig.clock, 2 * NS_PER_S);
    for (uint32_t i = 0; i < 100 && rig_append(&rig, &append) != LOG_APPEND_TAKEN; i++)
        rig_settle(&rig);
    rig_settle(&rig);
    cr_assert_eq(rig.last_ack.rc, RC_OK);
    rig_verify(&rig, p);
    rig_fini(&rig);
}

Test(log_append, no_space_leaves_no_hole_before_a_new_producer, .timeout = 60)
{
    static struct rig rig;
    struct disk_sim_faults faults = {0};

    rig_init(&rig, 12);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    faults.space_bytes = disk_sim_used_bytes(rig.disk) + 300 * KIB;
    disk_sim_set_faults(rig.disk, &faults);
    struct rig_append filler = {.partition = p, .bytes = 10000, .records = 1};
    for (uint32_t i = 0; i < 1000 && rig_append(&rig, &filler) == LOG_APPEND_TAKEN; i++)
        ;
    struct rig_append first = {
        .partition = p, .bytes = 10000, .records = 1, .producer_id = 77, .sequence = 0};
    struct rig_append second = first;
    second.sequence = 1;
    cr_assert_eq(rig_append(&rig, &first), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_NO_SPACE);

    /* Space comes back between the two: the second must not be taken in front of the first. */
    faults.space_bytes = 0;
    disk_sim_set_faults(rig.disk, &faults);
    clock_sim_advance(&rig.clock, 2 * NS_PER_S);
    for (uint32_t i = 0; i < 100 && rig_partition(&rig, p)->space_retry_ns != 0; i++) {
        (void)rig_append(&rig, &filler);
        rig_settle(&rig);
    }
    cr_assert_eq(rig_append(&rig, &filler), LOG_APPEND_TAKEN);
    cr_assert_eq(rig_append(&rig, &second), LOG_APPEND_REFUSED);
    cr_assert_eq(rig.last_ack.rc, RC_SEQUENCE_OUT_OF_ORDER);
    cr_assert_eq(rig_append(&rig, &first), LOG_APPEND_TAKEN);
    cr_assert_eq(rig_append(&rig, &second), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    rig_verify(&rig, p);
    rig_fini(&rig);
}

Test(log_append, marks_tell_armed_requesters_once, .timeout = 20)
{
    static struct rig rig;

    rig_init(&rig, 11);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t p = rig_create(&rig, &plain);
    cr_assert_eq(
        log_arm(rig_log(&rig, p), rig.partitions[p].slot, rig.partitions[p].incarnation, 0, 3),
        RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.marks, 0);
    struct rig_append append = {.partition = p, .bytes = 100, .records = 1};
    rig_append_wait(&rig, &append);
    rig_append_wait(&rig, &append);
    cr_assert_eq(rig.marks, 1);
    cr_assert_eq(rig.last_mark.waiting, 8);
    cr_assert_eq(rig.last_mark.high_watermark, 1);
    cr_assert_eq(
        log_arm(rig_log(&rig, p), rig.partitions[p].slot, rig.partitions[p].incarnation, 1, 2),
        RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.marks, 2, "the high watermark differs already");
    rig_fini(&rig);
}

/* Builds a batch of two records, the second with or without a key. */
static uint32_t
keyed_batch(uint8_t *memory, size_t capacity, bool has_key)
{
    static const struct bytes key = {(const uint8_t *)"key", 3};
    struct record_builder builder;
    struct record record = {.timestamp_ms = 1700000000000, .key = key, .value = key};

    record_builder_begin(&builder, memory, capacity, &RECORD_BUILDER_PLAIN);
    cr_assert(record_builder_add(&builder, &record));
    if (!has_key)
        record.key = (struct bytes){0};
    cr_assert(record_builder_add(&builder, &record));
    return record_builder_finish(&builder);
}

Test(log_append, refuses_a_record_without_key_on_a_compacted_topic_only, .timeout = 30)
{
    struct rig rig;
    struct log_ack ack;

    rig_init(&rig, 31);
    cr_assert_eq(rig_open(&rig), RC_OK);
    uint32_t plain_p = rig_create(&rig, &plain);
    uint32_t p = rig_create(&rig, &(struct log_partition_config){.is_compacted = true});
    struct log_append_request request = {
        .slot = rig.partitions[p].slot,
        .incarnation = rig.partitions[p].incarnation,
        .batch = rig.batch,
        .wall_ms = clock_wall_ms(&rig.clock),
    };
    request.batch_bytes = keyed_batch(rig.batch, 4096, false);
    cr_assert_eq(log_append(rig_log(&rig, p), &request, &ack), LOG_APPEND_REFUSED);
    cr_assert_eq(ack.rc, RC_BATCH_INVALID);
    request.slot = rig.partitions[plain_p].slot;
    request.incarnation = rig.partitions[plain_p].incarnation;
    cr_assert_eq(log_append(rig_log(&rig, p), &request, &ack), LOG_APPEND_TAKEN);
    request.slot = rig.partitions[p].slot;
    request.incarnation = rig.partitions[p].incarnation;
    request.batch_bytes = keyed_batch(rig.batch, 4096, true);
    cr_assert_eq(log_append(rig_log(&rig, p), &request, &ack), LOG_APPEND_TAKEN);
    rig_settle(&rig);
    rig_fini(&rig);
}
