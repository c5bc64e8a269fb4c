/* Goal: segments go by age, size and trim, oldest first, and never come back.
 * Method: a whole log tile on a virtual disk with small segments. */
#include "../append/store_rig.h"

#include "log/retain/retain.h"

#include <criterion/criterion.h>

static void
start(struct rig *rig, uint64_t seed, const struct log_partition_config *config)
{
    rig_init(rig, seed);
    cr_assert_eq(rig_open(rig), RC_OK);
    retain_attach(rig->tiles[0].log);
    rig_create(rig, config);
    for (uint32_t i = 0; i < 400; i++) {
        rig_append(rig, &(struct rig_append){.partition = 0, .bytes = 3000, .records = 2});
        if (i % 8 == 0)
            rig_settle(rig);
    }
    rig_settle(rig);
}

static void
wait_for_scan(struct rig *rig)
{
    for (uint32_t i = 0; i < 12; i++) {
        clock_sim_advance(&rig->clock, 2 * NS_PER_S);
        rig_settle(rig);
    }
}

static void
restart(struct rig *rig)
{
    rig_crash(rig);
    cr_assert_eq(rig_open(rig), RC_OK, "%s", rig->trail.text);
    rig_reopen(rig);
    rig_accept_crash(rig);
}

Test(retain, refuses_a_trim_above_the_high_watermark, .timeout = 20)
{
    static struct rig rig;

    start(&rig, 1, &(struct log_partition_config){.segment_bytes = 100 * KIB});
    cr_assert_eq(log_trim(rig.tiles[0].log, rig.partitions[0].slot, 100, 801, 1),
                 RC_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(log_trim(rig.tiles[0].log, rig.partitions[0].slot, 99, 5, 1),
                 RC_UNKNOWN_PARTITION);
    rig_fini(&rig);
}

Test(retain, a_trim_is_durable_and_frees_whole_segments, .timeout = 30)
{
    static struct rig rig;

    start(&rig, 2, &(struct log_partition_config){.segment_bytes = 100 * KIB});
    uint32_t count = rig_partition(&rig, 0)->segments.count;
    cr_assert_gt(count, 5);
    uint64_t before = rig.events;
    cr_assert_eq(log_trim(rig.tiles[0].log, rig.partitions[0].slot, 100, 500, 1), RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.events, before + 1);
    cr_assert_eq(rig.last_event.kind, LOG_EVENT_TRIMMED);
    cr_assert_eq(rig.last_event.start_offset, 500);
    cr_assert_eq(rig_read(&rig, 0, 499, 1000).rc, RC_OFFSET_OUT_OF_RANGE);
    wait_for_scan(&rig);
    cr_assert_lt(rig_partition(&rig, 0)->segments.count, count);
    rig_verify(&rig, 0);
    restart(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->start_offset, 500);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(retain, the_oldest_go_when_there_is_too_much, .timeout = 30)
{
    static struct rig rig;

    start(
        &rig,
        3,
        &(struct log_partition_config){.segment_bytes = 100 * KIB, .retention_bytes = 300 * 1024});
    wait_for_scan(&rig);
    uint64_t left = 0;
    const struct partition *partition = rig_partition(&rig, 0);
    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = rig.tiles[0].log->segments.segments[at].newer)
        left += rig.tiles[0].log->segments.segments[at].batch_bytes;
    cr_assert_geq(left + partition->end_bytes - partition->gathered_bytes, 300 * 1024);
    cr_assert_leq(left, 500 * 1024);
    cr_assert_gt(partition->start_offset, 0);
    uint64_t start_offset = partition->start_offset;
    rig_verify(&rig, 0);
    restart(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->start_offset, start_offset);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(retain, the_oldest_go_when_they_are_too_old, .timeout = 30)
{
    static struct rig rig;

    start(
        &rig, 4, &(struct log_partition_config){.segment_bytes = 100 * KIB, .retention_ms = 60000});
    wait_for_scan(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->start_offset, 0);
    clock_sim_advance(&rig.clock, 100 * NS_PER_S);
    wait_for_scan(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->segments.count, 1);
    cr_assert_gt(rig_partition(&rig, 0)->start_offset, 600);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(retain, an_old_segment_is_left_although_nothing_comes, .timeout = 30)
{
    static struct rig rig;
    const struct log_partition_config config = {
        .segment_bytes = 10 * MIB, .segment_ms = 60000, .retention_ms = -1};

    start(&rig, 5, &config);
    const struct partition *partition = rig_partition(&rig, 0);
    const struct segment *segments = rig.tiles[0].log->segments.segments;
    cr_assert_eq(partition->segments.count, 1);
    wait_for_scan(&rig);
    cr_assert_eq(partition->segments.count, 1, "it is not old yet");
    clock_sim_advance(&rig.clock, 60 * NS_PER_S);
    wait_for_scan(&rig);
    cr_assert_eq(partition->segments.count, 2);
    cr_assert_eq(segments[partition->segments.newest].base_offset, partition->next_offset);
    cr_assert(segments[partition->segments.oldest].sealed);
    clock_sim_advance(&rig.clock, 1000 * NS_PER_S);
    wait_for_scan(&rig);
    cr_assert_eq(partition->segments.count, 2, "an empty one is not left, however old");
    rig_verify(&rig, 0);
    rig_append(&rig, &(struct rig_append){.partition = 0, .bytes = 3000, .records = 2});
    rig_settle(&rig);
    rig_verify(&rig, 0);
    restart(&rig);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(retain, the_last_records_go_too_when_they_are_too_old, .timeout = 30)
{
    static struct rig rig;
    const struct log_partition_config config = {
        .segment_bytes = 10 * MIB, .segment_ms = 60000, .retention_ms = 60000};

    start(&rig, 6, &config);
    uint64_t end = rig_partition(&rig, 0)->next_offset;
    clock_sim_advance(&rig.clock, 100 * NS_PER_S);
    wait_for_scan(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->start_offset, end);
    cr_assert_eq(rig_partition(&rig, 0)->next_offset, end);
    cr_assert_eq(rig_partition(&rig, 0)->segments.count, 1);
    restart(&rig);
    cr_assert_eq(rig_partition(&rig, 0)->start_offset, end);
    cr_assert_eq(rig_partition(&rig, 0)->next_offset, end);
    rig_append(&rig, &(struct rig_append){.partition = 0, .bytes = 3000, .records = 2});
    rig_settle(&rig);
    rig_verify(&rig, 0);
    rig_fini(&rig);
}

Test(retain, rests_while_the_tile_stops, .timeout = 60)
{
    static struct rig rig;
    const struct rig_append append = {.partition = 0, .bytes = 8000, .records = 1};

    start(&rig,
          11,
          &(struct log_partition_config){
              .segment_bytes = 100 * KIB, .retention_bytes = -1, .retention_ms = -1});
    struct log *log = rig.tiles[0].log;
    struct partition *partition = rig_partition(&rig, 0);
    cr_assert_gt(partition->segments.count, 10);
    partition->config.retention_bytes = 1;
    log->retain_next_ns = 0;
    for (uint32_t i = 0; i < 40 && !partition->is_retaining; i++)
        (void)rig_step(&rig);
    cr_assert(partition->is_retaining);
    cr_assert_eq(rig_append(&rig, &append), LOG_APPEND_TAKEN);

    log_stop(log);
    for (uint32_t i = 0; i < 5000 && log->reclaim.step != RECLAIM_STOPPED; i++)
        (void)rig_step(&rig);
    cr_assert_eq(log->reclaim.step, RECLAIM_STOPPED);
    /* Other tiles may still stop: nothing is deleted behind the clean checkpoint. */
    uint64_t start_offset = partition->start_offset;
    uint32_t count = partition->segments.count;
    for (uint32_t i = 0; i < 200; i++)
        (void)rig_step(&rig);
    cr_assert_eq(partition->start_offset, start_offset);
    cr_assert_eq(partition->segments.count, count);
    rig_kill(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    cr_assert_eq(rig.report.tiles_clean, 1);
    cr_assert_eq(rig.report.partitions_halted, 0);
    rig_fini(&rig);
}
