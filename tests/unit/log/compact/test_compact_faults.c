/* Goal: what goes wrong in a compaction costs only that compaction: nothing is fenced, nothing is
 * lost, and it is tried again; transactions that were aborted go, others do not. Method: planned
 * faults of the virtual disk, damage by hand, markers; then the model of compact_rig.h. */
#include "compact_rig.h"

#include "engine/record/record_batch.h"
#include "engine/record/record_marker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct log_partition_config small = {
    .segment_bytes = 64 * KIB,
    .is_compacted = true,
    .keeps_old = true,
    .delete_retention_ms = 3600 * 1000,
    .compaction_lag_max_ms = INT64_MAX,
};

static void
expect_retried(const struct disk_sim_plan *plan, uint64_t seed)
{
    static struct crig crig;

    crig_init(&crig, seed, &small);
    crig_fill(&crig, 600, 10, 100, 20000);
    uint32_t at = disk_sim_plan_add(crig.rig.disk, plan);
    crig_compact(&crig);
    cr_assert_gt(disk_sim_plan_hits(crig.rig.disk, at), 0);
    cr_assert_eq(crig_partition(&crig)->state, PARTITION_OPEN, "it fences nothing");
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_pass_ms(&crig, 11000);
    crig_compact(&crig);
    cr_assert_gt(crig_partition(&crig)->cleaned_offset, 4000, "tried again");
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    uint64_t clean = crig_partition(&crig)->cleaned_offset;
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_eq(crig_partition(&crig)->cleaned_offset, clean);
    crig_verify(&crig, clean);
    crig_fini(&crig);
}

Test(compact_faults, a_full_disk_is_waited_for, .timeout = 60)
{
    expect_retried(&(struct disk_sim_plan){.classes = DISK_SIM_WRITE,
                                           .path_part = "-1.seg",
                                           .count = 1,
                                           .effect = DISK_SIM_EFFECT_ERROR,
                                           .error = ENOSPC},
                   41);
}

Test(compact_faults, a_failed_write_sync_or_name_is_tried_again, .timeout = 120)
{
    static const uint32_t classes[] = {DISK_SIM_WRITE, DISK_SIM_SYNC, DISK_SIM_NAME};

    for (size_t i = 0; i < ARRAY_COUNT(classes); i++)
        expect_retried(&(struct disk_sim_plan){.classes = classes[i],
                                               .path_part = "-1.seg",
                                               .count = 1,
                                               .effect = DISK_SIM_EFFECT_ERROR,
                                               .error = EIO},
                       50 + i);
}

Test(compact_faults, a_manifest_that_cannot_be_written_leaves_the_old_segments, .timeout = 60)
{
    static const uint32_t classes[] = {DISK_SIM_WRITE, DISK_SIM_SYNC, DISK_SIM_NAME};

    for (size_t i = 0; i < ARRAY_COUNT(classes); i++)
        expect_retried(&(struct disk_sim_plan){.classes = classes[i],
                                               .path_part = "manifest",
                                               .count = 1,
                                               .effect = DISK_SIM_EFFECT_ERROR,
                                               .error = EIO},
                       60 + i);
}

Test(compact_faults, a_damaged_batch_stops_the_partition_and_nothing_else, .timeout = 60)
{
    static struct crig crig;
    char path[FORMAT_PATH_MAX];
    uint8_t byte;
    size_t count;
    int fd;

    crig_init(&crig, 70, &small);
    crig_fill(&crig, 600, 10, 100, 0);
    format_path_segment(path, 100, 0, 0);
    cr_assert_eq(disk_open(crig.rig.disk, path, DISK_READ | DISK_WRITE, &fd), RC_OK);
    cr_assert_eq(disk_read(crig.rig.disk, fd, &byte, 1, 5000, &count), RC_OK);
    byte ^= 4;
    cr_assert_eq(disk_write(crig.rig.disk, fd, &byte, 1, 5000), RC_OK);
    disk_close(crig.rig.disk, fd);
    crig_compact(&crig);
    cr_assert(crig_partition(&crig)->is_compact_stopped);
    cr_assert_eq(crig_partition(&crig)->state, PARTITION_OPEN);
    cr_assert_eq(crig_partition(&crig)->cleaned_offset, 0);
    crig_fill(&crig, 10, 10, 100, 0); /* it goes on serving */
    crig_fini(&crig);
}

/* ---- transactions ---- */

static void
mark(struct crig *crig, int64_t producer_id, bool is_commit)
{
    struct rig *rig = &crig->rig;
    uint64_t acks = rig->acks;
    struct log_transaction request = {
        .slot = rig->partitions[0].slot,
        .incarnation = rig->partitions[0].incarnation,
        .producer_id = producer_id,
        .wall_ms = clock_wall_ms(&rig->clock),
        .is_commit = is_commit,
    };
    enum log_append_status status = LOG_APPEND_AGAIN;

    for (uint32_t i = 0; i < 1000 && status == LOG_APPEND_AGAIN; i++) {
        status = log_transaction_marker(rig_log(rig, 0), &request, &rig->last_ack);
        (void)crig_step(crig);
    }
    cr_assert_eq(status, LOG_APPEND_TAKEN);
    for (uint32_t i = 0; i < 100000 && rig->acks == acks; i++)
        (void)crig_step(crig);
    crig->records[crig->count++] = (struct crig_record){.is_control = true};
}

/* A transaction of four records of keys [key, key + 4). */
static void
transact(struct crig *crig, int64_t producer_id, int32_t sequence, uint32_t key, bool is_commit)
{
    struct crig_record records[4];

    cr_assert_eq(rig_admit(&crig->rig, 0, producer_id, 0), RC_OK);
    for (uint32_t i = 0; i < 4; i++)
        records[i] = (struct crig_record){
            .key = key + i, .value = (uint32_t)crig->count + i, .is_aborted = !is_commit};
    crig_append(crig,
                &(struct crig_batch){.count = 4,
                                     .records = records,
                                     .producer_id = producer_id,
                                     .sequence = sequence,
                                     .attributes = RECORD_ATTRIBUTES_TRANSACTIONAL});
    mark(crig, producer_id, is_commit);
}

Test(compact_faults, records_of_aborted_transactions_go_and_replace_nothing, .timeout = 60)
{
    static struct crig crig;

    crig_init(&crig, 80, NULL);
    crig.rig.config.transactions_max = 64;
    crig.rig.config.transactions_aborted_max = 1024;
    crig_open(&crig, &small);
    crig_fill(&crig, 100, 10, 100, 0);
    for (int32_t i = 0; i < 30; i++)
        transact(&crig, 9, 4 * i, (uint32_t)i * 3, i % 3 == 0);
    crig_fill(&crig, 500, 10, 1000, 0); /* other keys for the most part */
    crig_compact(&crig);
    cr_assert_gt(crig_partition(&crig)->cleaned_offset, 1200);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_fini(&crig);
}

/* Every batch of an aborted transaction (each has one) that is still read is told to be skipped. */
static uint64_t
count_told(struct crig *crig)
{
    struct rig *rig = &crig->rig;
    uint64_t end = partition_last_stable(crig_partition(crig));
    uint64_t found = 0;

    for (uint64_t offset = 0; offset < end;) {
        const struct log_read_request request = {.slot = rig->partitions[0].slot,
                                                 .incarnation = rig->partitions[0].incarnation,
                                                 .offset = offset,
                                                 .dst = rig->dst,
                                                 .dst_bytes = 1 * MIB,
                                                 .max_bytes = 64 * KIB,
                                                 .leader_epoch = -1,
                                                 .whole_first = true,
                                                 .is_committed = true};
        struct log_read_result result = rig_read_as(rig, 0, &request);
        uint64_t count;
        cr_assert_eq(result.rc, RC_OK);
        cr_assert_gt(result.bytes, 0u);
        const uint8_t *told = rig->dst + round_up(result.bytes, 8);
        memcpy(&count, told, sizeof(count));
        for (uint32_t at = 0; at < result.bytes;
             at += (uint32_t)record_batch_bytes(rig->dst + at)) {
            uint64_t base = record_batch_base_offset(rig->dst + at);
            bool is_told = false;
            offset = base + (uint64_t)record_batch_last_offset_delta(rig->dst + at) + 1;
            if (!crig->records[base].is_aborted)
                continue;
            for (uint64_t i = 0; i < count; i++)
                is_told = is_told || memcmp(told + 16 + 16 * i, &base, 8) == 0;
            cr_assert(is_told, "offset %lu", base);
            found++;
        }
    }
    return found;
}

Test(compact_faults, lists_of_aborted_transactions_outlive_the_end_of_the_map, .timeout = 120)
{
    static struct crig crig;

    crig_init(&crig, 82, NULL);
    crig.config.memory_bytes = COMPACT_MEMORY_MIN; /* 38,229 keys */
    crig.rig.config.transactions_max = 8;
    crig.rig.config.transactions_aborted_max = 32;
    crig_open(&crig, &small);
    crig.value_bytes = 0;
    for (int32_t i = 0; i < 300; i++) {
        crig_fill(&crig, 5, 40, 80000, 100000);
        transact(&crig, 9, 4 * i, (uint32_t)i * 3, false);
    }
    clock_sim_advance(&crig.rig.clock, 1100 * NS_PER_MS);
    for (uint32_t i = 0; i < 100000 && (crig_partition(&crig)->cleaned_offset == 0 ||
                                        crig_partition(&crig)->is_compacting);
         i++)
        (void)crig_step(&crig);
    cr_assert_lt(crig_partition(&crig)->cleaned_offset, 58000, "the map is full before the end");
    cr_assert_gt(count_told(&crig), 10u);
    cr_assert_leq(rig_log(&crig.rig, 0)->transactions.aborted_live, 32u);
    crig_power_cut(&crig);
    crig_open(&crig, NULL);
    cr_assert_gt(count_told(&crig), 10u);
    crig_compact(&crig);
    (void)count_told(&crig);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_fini(&crig);
}

Test(compact_faults, an_open_transaction_is_not_compacted, .timeout = 60)
{
    static struct crig crig;
    const struct crig_record record = {.key = 5, .value = 5};

    crig_init(&crig, 81, NULL);
    crig.rig.config.transactions_max = 64;
    crig.rig.config.transactions_aborted_max = 1024;
    crig_open(&crig, &small);
    crig_fill(&crig, 100, 10, 100, 0);
    cr_assert_eq(rig_admit(&crig.rig, 0, 9, 0), RC_OK);
    crig_append(&crig,
                &(struct crig_batch){.count = 1,
                                     .records = &record,
                                     .producer_id = 9,
                                     .attributes = RECORD_ATTRIBUTES_TRANSACTIONAL});
    crig_fill(&crig, 500, 10, 100, 0);
    crig_compact(&crig);
    cr_assert_leq(crig_partition(&crig)->cleaned_offset, 1000);
    mark(&crig, 9, true);
    crig_fill(&crig, 300, 10, 100, 0); /* its end is looked for in sealed segments */
    crig_pass_ms(&crig, 11000);
    crig_compact(&crig);
    cr_assert_gt(crig_partition(&crig)->cleaned_offset, 4000);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_fini(&crig);
}

/* Where the map ends, nothing is looked at, and what was aborted there must still be told. */
Test(compact_faults, an_aborted_transaction_behind_the_map_s_end_stays_aborted, .timeout = 60)
{
    static struct crig crig;
    const struct crig_record record = {.key = 5, .value = 5};

    crig_init(&crig, 82, NULL);
    crig.rig.config.transactions_max = 64;
    crig.rig.config.transactions_aborted_max = 1024;
    crig_open(&crig, &small);
    crig_fill(&crig, 100, 10, 100, 0);
    transact(&crig, 11, 0, 2000, true);
    cr_assert_eq(rig_admit(&crig.rig, 0, 9, 0), RC_OK);
    crig_append(&crig,
                &(struct crig_batch){.count = 1,
                                     .records = &record,
                                     .producer_id = 9,
                                     .attributes = RECORD_ATTRIBUTES_TRANSACTIONAL});
    uint64_t first = crig.count - 1;
    transact(&crig, 10, 0, 2000, false);
    crig_fill(&crig, 500, 10, 100, 0);
    mark(&crig, 9, true); /* in the active segment: not read */
    crig_compact(&crig);
    cr_assert_eq(crig_partition(&crig)->cleaned_offset, first);
    /* The new segment's footer is listed: the log tile may forget what it tells. */
    while (crig_partition(&crig)->transactions.aborted_count > 0)
        transaction_aborted_pop(&rig_log(&crig.rig, 0)->transactions,
                                &crig_partition(&crig)->transactions);
    crig.value_bytes = 1000;
    crig_fill(&crig, 500, 20, 100, 0);
    crig_pass_ms(&crig, 11000);
    crig_compact(&crig);
    cr_assert_gt(crig_partition(&crig)->cleaned_offset, 6000);
    crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
    crig_fini(&crig);
}

/* ---- seeds ---- */

static void
live(struct crig *crig, uint32_t lives)
{
    struct sim_rng *rng = &crig->rig.rng;

    for (uint32_t life = 0; life < lives; life++) {
        for (uint64_t turns = sim_rng_between(rng, 1, 4); turns > 0; turns--) {
            crig->codec = (enum record_codec)sim_rng_below(rng, RECORD_CODEC_COUNT);
            crig->value_bytes = (uint32_t)sim_rng_between(rng, 1, 400);
            crig_fill(crig,
                      (uint32_t)sim_rng_between(rng, 20, 200),
                      (uint32_t)sim_rng_between(rng, 1, 30),
                      (uint32_t)sim_rng_between(rng, 1, 3000),
                      (uint32_t)sim_rng_below(rng, 200000));
            clock_sim_advance(&crig->rig.clock, sim_rng_between(rng, 1, 4000) * NS_PER_S);
            for (uint64_t steps = sim_rng_below(rng, 400); steps > 0; steps--)
                (void)crig_step(crig);
        }
        crig_verify(crig, crig_partition(crig)->cleaned_offset);
        uint64_t clean = crig_partition(crig)->cleaned_offset;
        crig_power_cut(crig);
        crig->config.memory_bytes = sim_rng_below(rng, 2) * 4 * MIB + COMPACT_MEMORY_MIN;
        crig_open(crig, NULL);
        cr_assert_eq(crig_partition(crig)->state, PARTITION_OPEN);
        cr_assert_geq(crig_partition(crig)->cleaned_offset + 64 * KIB, clean);
        crig_verify(crig, crig_partition(crig)->cleaned_offset);
    }
}

Test(compact_faults, seeded_lives_lose_nothing_and_bring_nothing_back, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static struct crig crig;
        crig_init(&crig, 9000 + seed, &small);
        live(&crig, 4);
        crig_pass_ms(&crig, 2 * 3600 * 1000);
        crig_compact(&crig);
        crig_verify(&crig, crig_partition(&crig)->cleaned_offset);
        crig_fini(&crig);
    }
}
