/* Goal: of each key the newest record stays, nothing else is lost, and what is not to be touched is
 * not. Method: a whole log tile and a compactor on a virtual disk with small segments, against a
 * model of every record; damage and limits first. */
#include "compact_rig.h"

#include "log/retain/retain.h"

#include <criterion/criterion.h>

static const struct log_partition_config small = {
    .segment_bytes = 64 * KIB,
    .is_compacted = true,
    .keeps_old = true,
    .delete_retention_ms = 3600 * 1000,
    .compaction_lag_max_ms = INT64_MAX,
};

static uint64_t
cleaned(struct crig *crig)
{
    return crig_partition(crig)->cleaned_offset;
}

Test(compact, keeps_the_newest_of_each_key, .timeout = 60)
{
    static struct crig crig;

    crig_init(&crig, 1, &small);
    crig_fill(&crig, 600, 10, 100, 0);
    uint32_t segments = crig_partition(&crig)->segments.count;
    cr_assert_gt(segments, 4);
    crig_verify(&crig, 0);
    cr_assert_eq(crig.found, 6000);
    crig_compact(&crig);
    cr_assert_gt(cleaned(&crig), 4000);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_leq(crig.found, 100 + 6000 - cleaned(&crig));
    /* Once more: now the small ones are merged. And after a restart. */
    crig_fill(&crig, 300, 10, 100, 0);
    crig_compact(&crig);
    cr_assert_lt(crig_partition(&crig)->segments.count, segments);
    crig_verify(&crig, cleaned(&crig));
    uint64_t clean = cleaned(&crig);
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_eq(cleaned(&crig), clean, "the cleaned position survives");
    crig_verify(&crig, clean);
    crig_fini(&crig);
}

Test(compact, works_for_every_codec, .timeout = 120)
{
    for (uint32_t codec = RECORD_CODEC_NONE; codec < RECORD_CODEC_COUNT; codec++) {
        static struct crig crig;
        crig_init(&crig, 20 + codec, &small);
        crig.codec = (enum record_codec)codec;
        crig.value_bytes = 600;
        crig_fill(&crig, 400, 20, 700, 50000);
        crig_compact(&crig);
        cr_assert_gt(cleaned(&crig), 0);
        crig_verify(&crig, cleaned(&crig));
        cr_assert_lt(crig.found, 8000);
        crig_fini(&crig);
    }
}

Test(compact, keeps_tombstones_until_their_horizon_has_passed, .timeout = 60)
{
    static struct crig crig;

    crig_init(&crig, 2, &small);
    crig_fill(&crig, 300, 10, 50, 0);
    crig_fill(&crig, 300, 10, 50, 1000000);
    crig_fill(&crig, 300, 10, 1000, 0); /* the last of those leave the active segment */
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_gt(crig.tombstones, 0);
    cr_assert_gt(crig.horizons, 0);
    uint64_t tombstones = crig.tombstones;
    crig_fill(&crig, 200, 10, 1000, 0);
    crig_compact(&crig); /* a second time, before it */
    crig_verify(&crig, cleaned(&crig));
    cr_assert_gt(crig.tombstones, 0);
    cr_assert_leq(crig.tombstones, tombstones);
    crig_pass_ms(&crig, 3600 * 1000);
    crig_fill(&crig, 200, 10, 1000, 0);
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_eq(crig.tombstones, 0);
    crig_fini(&crig);
}

Test(compact, leaves_the_young_and_the_active_segment_alone, .timeout = 60)
{
    static struct crig crig;
    struct log_partition_config config = small;

    config.compaction_lag_min_ms = 60000;
    crig_init(&crig, 3, &config);
    crig_fill(&crig, 600, 10, 20, 0);
    crig_compact(&crig);
    cr_assert_eq(cleaned(&crig), 0);
    crig_verify(&crig, 0);
    cr_assert_eq(crig.found, 6000);
    crig_pass_ms(&crig, 61000);
    crig_compact(&crig);
    cr_assert_gt(cleaned(&crig), 0);
    crig_verify(&crig, cleaned(&crig));
    crig_fini(&crig);
}

Test(compact, waits_for_the_dirty_ratio_or_the_longest_lag, .timeout = 60)
{
    static struct crig crig;
    struct log_partition_config config = small;

    config.dirty_ratio_millionths = 1000000; /* never by ratio: the share is to be greater */
    config.compaction_lag_max_ms = 300000;
    crig_init(&crig, 4, &config);
    crig_fill(&crig, 600, 10, 20, 0);
    crig_compact(&crig);
    cr_assert_eq(cleaned(&crig), 0);
    crig_pass_ms(&crig, 300000);
    crig_compact(&crig);
    cr_assert_gt(cleaned(&crig), 5000, "the active segment was left in time, too");
    crig_verify(&crig, cleaned(&crig));
    crig_fini(&crig);
}

Test(compact, goes_on_where_the_map_was_full, .timeout = 120)
{
    static struct crig crig;

    crig_init(&crig, 5, NULL);
    crig.config.memory_bytes = COMPACT_MEMORY_MIN; /* 38,229 keys */
    crig_open(&crig, &small);
    crig.value_bytes = 0;
    crig_fill(&crig, 2500, 40, 80000, 100000);
    clock_sim_advance(&crig.rig.clock, 1100 * NS_PER_MS);
    for (uint32_t i = 0;
         i < 100000 && (cleaned(&crig) == 0 || crig_partition(&crig)->is_compacting);
         i++)
        (void)crig_step(&crig);
    cr_assert_lt(cleaned(&crig), 90000, "the map is full before the end");
    crig_verify(&crig, cleaned(&crig));
    crig_compact(&crig);
    cr_assert_gt(cleaned(&crig), 90000);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_lt(crig.found, 80000);
    crig_fini(&crig);
}

Test(compact, takes_batches_longer_than_a_window, .timeout = 60)
{
    static struct crig crig;
    struct crig_record records[64];
    struct log_partition_config config = small;

    config.batch_bytes_max = 8 * MIB;
    config.segment_bytes = 4 * MIB;
    crig_init(&crig, 6, NULL);
    crig.rig.config.journal_file_bytes = 16 * MIB;
    crig.rig.config.slab_ring_bytes = 32 * MIB;
    crig_open(&crig, &config);
    crig.value_bytes = 60000;
    for (uint32_t b = 0; b < 8; b++) {
        for (uint32_t i = 0; i < 40; i++)
            records[i] = (struct crig_record){.key = i % 3, .value = b * 100 + i};
        crig_append(&crig, &(struct crig_batch){.count = 40, .records = records});
    }
    crig_settle(&crig);
    crig_compact(&crig);
    cr_assert_gt(cleaned(&crig), 0);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_leq(crig.found, 3 + crig.count - cleaned(&crig));
    crig_fini(&crig);
}

Test(compact, keeps_the_last_batch_of_a_producer_without_records, .timeout = 60)
{
    static struct crig crig;
    const struct crig_record record = {.key = 1, .value = 1};

    crig_init(&crig, 7, &small);
    for (int32_t s = 0; s < 5; s++)
        crig_append(
            &crig,
            &(struct crig_batch){.count = 1, .records = &record, .producer_id = 77, .sequence = s});
    crig_fill(&crig, 600, 10, 20, 0);
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    cr_assert_geq(crig.batches_empty, 1);
    struct log_read_result result = rig_read(&crig.rig, 0, 0, 100);
    struct record_batch_info info;
    cr_assert_eq(record_batch_read(crig.rig.dst, result.bytes, &info), RC_OK);
    cr_assert_eq(info.base_offset, 4);
    cr_assert_eq(info.producer_id, 77);
    cr_assert_eq(info.base_sequence, 4);
    cr_assert_eq(info.record_count, 0);
    crig_fini(&crig);
}

Test(compact, a_time_finds_the_next_batch_that_is_left, .timeout = 60)
{
    static struct crig crig;

    crig_init(&crig, 8, &small);
    int64_t begin_ms = clock_wall_ms(&crig.rig.clock);
    for (uint32_t i = 0; i < 60; i++) {
        crig_fill(&crig, 10, 10, 20, 0);
        crig_pass_ms(&crig, 1000);
    }
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    struct log_read_result result = rig_find(&crig.rig, 0, begin_ms);
    struct record_batch_info info;
    cr_assert_eq(result.rc, RC_OK);
    cr_assert_eq(record_batch_read(crig.rig.dst, result.bytes, &info), RC_OK);
    cr_assert_gt(info.record_count, 0, "an empty batch is not found by time");
    cr_assert_geq(info.max_timestamp_ms, begin_ms);
    crig_fini(&crig);
}

Test(compact, an_unpaced_reader_meets_every_newest_record_while_segments_change, .timeout = 120)
{
    static struct crig crig;

    crig_init(&crig, 9, &small);
    crig_fill(&crig, 900, 10, 200, 0);
    uint64_t offset = 0;
    clock_sim_advance(&crig.rig.clock, 2 * NS_PER_S);
    for (uint32_t i = 0; i < 4000 && offset < crig.count; i++) {
        for (uint32_t k = 0; k < 3; k++)
            (void)crig_step(&crig);
        struct log_read_result result = rig_read(&crig.rig, 0, offset, 4000);
        cr_assert_eq(result.rc, RC_OK);
        for (uint32_t at = 0; at < result.bytes;) {
            struct record_batch_info info;
            cr_assert_eq(record_batch_read(crig.rig.dst + at, result.bytes - at, &info), RC_OK);
            cr_assert_geq(record_batch_last_offset(&info), (int64_t)offset);
            offset = (uint64_t)record_batch_last_offset(&info) + 1;
            at += info.batch_bytes;
        }
        if (i % 50 == 0)
            clock_sim_advance(&crig.rig.clock, 2 * NS_PER_S);
    }
    cr_assert_eq(offset, crig.count);
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    crig_fini(&crig);
}

Test(compact, deletes_by_age_as_well_when_both_are_asked_for, .timeout = 60)
{
    static struct crig crig;
    struct log_partition_config config = small;

    config.keeps_old = false;
    config.retention_ms = 600000;
    crig_init(&crig, 10, &config);
    retain_attach(crig.rig.tiles[0].log);
    crig_fill(&crig, 600, 10, 100, 0);
    crig_compact(&crig);
    crig_verify(&crig, cleaned(&crig));
    crig_pass_ms(&crig, 700000);
    crig_compact(&crig);
    cr_assert_gt(crig_partition(&crig)->start_offset, 5000);
    crig_verify(&crig, cleaned(&crig));
    uint64_t start = crig_partition(&crig)->start_offset;
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_geq(crig_partition(&crig)->start_offset, start);
    crig_fini(&crig);
}

Test(compact, a_dropped_partition_ends_its_compaction, .timeout = 60)
{
    static struct crig crig;
    enum rc rc = RC_AGAIN;

    crig_init(&crig, 11, &small);
    crig_fill(&crig, 600, 10, 100, 0);
    clock_sim_advance(&crig.rig.clock, 2 * NS_PER_S);
    for (uint32_t i = 0; i < 100 && !crig_partition(&crig)->is_compacting; i++)
        (void)crig_step(&crig);
    cr_assert(crig_partition(&crig)->is_compacting);
    uint64_t events = crig.rig.events;
    for (uint32_t i = 0; i < 1000 && rc == RC_AGAIN; i++) {
        rc = log_drop(crig.rig.tiles[0].log, crig.rig.partitions[0].slot, 100, 5);
        (void)crig_step(&crig);
    }
    cr_assert_eq(rc, RC_OK);
    crig_settle(&crig);
    cr_assert_eq(crig.rig.events, events + 1);
    cr_assert_eq(crig.rig.last_event.kind, LOG_EVENT_DROPPED);
    crig_fini(&crig);
}
