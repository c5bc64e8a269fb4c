/* Goal: every offset is found in the ring and in segments, whole batches only, never past the high
 * watermark; damage is told. Method: a whole log tile on a virtual disk with small segments; the
 * model of store_rig.h knows each byte. */
#include "../append/store_rig.h"

#include <criterion/criterion.h>

static void
fill(struct rig *rig, uint64_t seed, uint32_t count, uint64_t segment_bytes)
{
    rig_init(rig, seed);
    rig->config.slab_ring_bytes = 1 * MIB;
    cr_assert_eq(rig_open(rig), RC_OK);
    rig_create(rig, &(struct log_partition_config){.segment_bytes = segment_bytes});
    for (uint32_t i = 0; i < count; i++) {
        struct rig_append append = {
            .partition = 0,
            .bytes = 61 + (uint32_t)sim_rng_below(&rig->rng, 8000),
            .records = 1 + i % 5,
            .timestamp_ms = 1000000 + (int64_t)i * 100 - (i % 7) * 350,
        };
        cr_assert_eq(rig_append(rig, &append), LOG_APPEND_TAKEN);
        if (i % 16 == 0)
            rig_settle(rig);
    }
    rig_settle(rig);
}

Test(log_read, refuses_offsets_outside_the_log, .timeout = 20)
{
    static struct rig rig;
    struct log_read_result result;
    struct log_read_request request = {
        .slot = 0, .incarnation = 100, .offset = 0, .leader_epoch = 5};

    fill(&rig, 1, 10, 1 * MIB);
    uint64_t end = rig_partition(&rig, 0)->next_offset;
    cr_assert_eq(rig_read(&rig, 0, end + 1, 100).rc, RC_OFFSET_OUT_OF_RANGE);
    result = rig_read(&rig, 0, end, 100);
    cr_assert_eq(result.rc, RC_OK);
    cr_assert_eq(result.bytes, 0);
    cr_assert(log_read(rig.tiles[0].log, &request, &result));
    cr_assert_eq(result.rc, RC_LEADER_EPOCH_UNKNOWN);
    request.incarnation = 99;
    cr_assert(log_read(rig.tiles[0].log, &request, &result));
    cr_assert_eq(result.rc, RC_UNKNOWN_PARTITION);
    rig_fini(&rig);
}

Test(log_read, finds_every_offset_hot_and_cold, .timeout = 60)
{
    static struct rig rig;

    fill(&rig, 2, 1500, 700 * KIB);
    struct rig_partition *model = &rig.partitions[0];
    cr_assert_gt(tail_at(&rig.tiles[0].log->tail, rig_partition(&rig, 0)->tail.oldest)->base_offset,
                 1000,
                 "most of it is cold");
    for (uint32_t i = 0; i < model->batch_count; i++) {
        const struct rig_batch *what = &model->batches[(i * 7919u) % model->batch_count];
        uint64_t offset = what->base_offset + i % what->records;
        struct log_read_result result = rig_read(&rig, 0, offset, 1);
        cr_assert_eq(result.rc, RC_OK);
        cr_assert_eq(result.bytes, what->bytes, "one whole batch although it is longer than asked");
        cr_assert_eq(result.base_offset, what->base_offset);
        rig_compare(&rig, model, (uint32_t)(what - model->batches), rig.dst);
    }
    rig_fini(&rig);
}

Test(log_read, tells_how_much_room_the_first_batch_needs, .timeout = 30)
{
    static struct rig rig;
    struct log_read_result result;

    fill(&rig, 3, 800, 700 * KIB);
    struct log_read_request request = {.slot = rig.partitions[0].slot,
                                       .incarnation = 100,
                                       .dst = rig.dst,
                                       .dst_bytes = 60,
                                       .max_bytes = 1000000,
                                       .leader_epoch = -1,
                                       .whole_first = true};
    uint64_t before = rig.reads;
    cr_assert_not(log_read(rig.tiles[0].log, &request, &result), "cold");
    while (rig.reads == before)
        (void)rig_step(&rig);
    cr_assert_eq(rig.last_read.rc, RC_NO_MEMORY);
    cr_assert_eq(rig.last_read.bytes, rig.partitions[0].batches[0].bytes);
    request.offset = rig.partitions[0].batches[rig.partitions[0].batch_count - 1].base_offset;
    cr_assert(log_read(rig.tiles[0].log, &request, &result), "hot");
    cr_assert_eq(result.rc, RC_NO_MEMORY);
    cr_assert_eq(result.bytes, rig.partitions[0].batches[rig.partitions[0].batch_count - 1].bytes);
    rig_fini(&rig);
}

Test(log_read, probes_are_never_zero_when_there_is_something, .timeout = 30)
{
    static struct rig rig;
    struct log_read_result result;

    fill(&rig, 4, 800, 300 * KIB);
    struct log_read_request request = {
        .slot = rig.partitions[0].slot, .incarnation = 100, .leader_epoch = -1};
    uint64_t end = rig_partition(&rig, 0)->next_offset;
    uint64_t last = UINT64_MAX;
    for (request.offset = 0; request.offset < end; request.offset += 7) {
        cr_assert(log_read(rig.tiles[0].log, &request, &result));
        cr_assert_eq(result.rc, RC_OK);
        cr_assert_gt(result.total_bytes, 0);
        if (last != UINT64_MAX)
            cr_assert_leq(result.total_bytes, last + 9000, "less is left further on");
        last = result.total_bytes;
    }
    request.offset = end;
    cr_assert(log_read(rig.tiles[0].log, &request, &result));
    cr_assert_eq(result.total_bytes, 0);
    rig_fini(&rig);
}

Test(log_read, a_flipped_bit_on_the_disk_is_told_and_never_served, .timeout = 30)
{
    static struct rig rig;

    fill(&rig, 5, 800, 16 * MIB);
    /* Somewhere in the first run's batches. */
    cr_assert(disk_sim_flip_bit(
        rig.disk, "partitions/0000000000000064/00000000000000000000.seg", 5000, 2));
    struct log_read_result result = rig_read(&rig, 0, 0, 1000);
    cr_assert_eq(result.rc, RC_CORRUPT);
    cr_assert_eq(result.bytes, 0);
    rig_fini(&rig);
}

Test(log_find_time, finds_the_first_batch_that_is_late_enough, .timeout = 60)
{
    static struct rig rig;

    fill(&rig, 6, 1200, 500 * KIB);
    struct rig_partition *model = &rig.partitions[0];
    int64_t greatest = 0;
    uint32_t greatest_idx = 0;
    for (uint32_t i = 0; i < model->batch_count; i++)
        if (model->batches[i].timestamp_ms > greatest) {
            greatest = model->batches[i].timestamp_ms;
            greatest_idx = i;
        }
    for (int64_t time_ms = 990000; time_ms <= greatest; time_ms += 777) {
        uint32_t idx = 0;
        while (model->batches[idx].timestamp_ms < time_ms)
            idx++;
        struct log_read_result result = rig_find(&rig, 0, time_ms);
        cr_assert_eq(result.rc, RC_OK);
        cr_assert_eq(
            result.base_offset, model->batches[idx].base_offset, "time %lld", (long long)time_ms);
        cr_assert_eq(result.bytes, model->batches[idx].bytes);
    }
    cr_assert_eq(rig_find(&rig, 0, greatest + 1).bytes, 0);
    cr_assert_eq(rig_find(&rig, 0, INT64_MAX).base_offset,
                 model->batches[greatest_idx].base_offset);
    rig_fini(&rig);
}

Test(log_read, goes_on_where_a_restart_left_no_index, .timeout = 60)
{
    static struct rig rig;

    fill(&rig, 7, 900, 16 * MIB);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_reopen(&rig);
    rig_accept_crash(&rig);
    rig_verify(&rig, 0);
    struct rig_partition *model = &rig.partitions[0];
    for (uint32_t i = 0; i < model->batch_count; i += 31) {
        struct log_read_result result = rig_read(&rig, 0, model->batches[i].base_offset, 1);
        cr_assert_eq(result.bytes, model->batches[i].bytes);
        rig_compare(&rig, model, i, rig.dst);
    }
    rig_fini(&rig);
}
