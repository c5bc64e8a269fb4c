/* Goal: after any end of the process, every partition knows the transactions that its surviving
 * batches tell of: which are open, which were aborted, and how far readers of committed records may
 * go. Method: random transactions of a few producers over small journals and segments, ended by
 * power cuts, kills and stops at any moment; then a plain model reads the surviving batches from
 * the first on and must come to the same result, by what committed reads are told to skip. Two
 * thirds of the seeds have so little memory that footers tell most of it. Seeds are printed by
 * every assertion. */
#include "../append/store_rig.h"

#include "engine/record/record_batch.h"
#include "engine/record/record_marker.h"

#include <criterion/criterion.h>
#include <string.h>

#define PARTITIONS 3u
#define PRODUCERS 6u
#define ABORTED_MAX 20000u
#define ROUNDS 12u

struct model_producer {
    uint64_t first_offset; /* UINT64_MAX: none is open */
    int32_t next_sequence;
    int16_t epoch;
    bool is_admitted;
};

struct model_aborted {
    int64_t producer_id;
    uint64_t first_offset;
    uint64_t last_offset;
};

static struct rig rig;
static struct model_producer producers[PARTITIONS][PRODUCERS];
static struct model_aborted aborted[ABORTED_MAX];
static uint32_t aborted_count;

/* What the batches of the model tell, read from the first on. */
static void
replay(uint32_t partition)
{
    const struct rig_partition *model = &rig.partitions[partition];

    aborted_count = 0;
    for (uint32_t i = 0; i < PRODUCERS; i++)
        producers[partition][i] = (struct model_producer){.first_offset = UINT64_MAX};
    for (uint32_t i = 0; i < model->batch_count; i++) {
        const struct rig_batch *batch = &model->batches[i];
        if (batch->producer_id < 1)
            continue;
        struct model_producer *producer = &producers[partition][batch->producer_id - 1];
        if (batch->is_marker) {
            if (producer->first_offset != UINT64_MAX && !batch->is_commit)
                aborted[aborted_count++] = (struct model_aborted){
                    batch->producer_id, producer->first_offset, batch->base_offset};
            producer->first_offset = UINT64_MAX;
            if (batch->epoch > producer->epoch)
                producer->next_sequence = 0;
        } else {
            producer->next_sequence = batch->sequence + (int32_t)batch->records;
            if (batch->is_transactional && producer->first_offset == UINT64_MAX)
                producer->first_offset = batch->base_offset;
        }
        producer->epoch = batch->epoch;
    }
}

/* Was it aborted, as the model knows? */
static bool
is_known(int64_t producer_id, uint64_t first_offset)
{
    for (uint32_t i = 0; i < aborted_count; i++)
        if (aborted[i].producer_id == producer_id && aborted[i].first_offset == first_offset)
            return true;
    return false;
}

/* One committed read: each transaction that touches it and was aborted is told once, and no other
 * is told. Returns where it ends. */
static uint64_t
read_once(uint32_t partition, uint64_t offset)
{
    const struct log_read_request request = {.slot = rig.partitions[partition].slot,
                                             .incarnation = rig.partitions[partition].incarnation,
                                             .offset = offset,
                                             .dst = rig.dst,
                                             .dst_bytes = 1 * MIB,
                                             .max_bytes = 64 * KIB,
                                             .leader_epoch = -1,
                                             .whole_first = true,
                                             .is_committed = true};
    struct log_read_result result = rig_read_as(&rig, partition, &request);
    unsigned long long seed = (unsigned long long)rig.seed;
    uint64_t next_offset = offset;
    uint64_t count;

    cr_assert_eq(result.rc, RC_OK, "seed %llu: %s", seed, rc_name((enum rc)result.rc));
    cr_assert_gt(result.bytes, 0u, "seed %llu, offset %llu", seed, (unsigned long long)offset);
    for (uint32_t at = 0; at < result.bytes; at += (uint32_t)record_batch_bytes(rig.dst + at))
        next_offset = record_batch_base_offset(rig.dst + at) +
                      (uint64_t)record_batch_last_offset_delta(rig.dst + at) + 1;
    const uint8_t *told = rig.dst + round_up(result.bytes, 8);
    memcpy(&count, told, sizeof(count));
    uint64_t expected = 0;
    for (uint32_t i = 0; i < aborted_count; i++)
        expected += aborted[i].last_offset >= result.base_offset &&
                    aborted[i].first_offset < next_offset;
    cr_assert_eq(count,
                 expected,
                 "seed %llu, partition %u, offsets %llu to %llu: %llu told, not %llu",
                 seed,
                 partition,
                 (unsigned long long)offset,
                 (unsigned long long)next_offset,
                 (unsigned long long)count,
                 (unsigned long long)expected);
    for (uint64_t i = 0; i < count; i++) {
        int64_t producer_id;
        uint64_t first_offset;
        memcpy(&producer_id, told + 8 + 16 * i, 8);
        memcpy(&first_offset, told + 16 + 16 * i, 8);
        cr_assert(is_known(producer_id, first_offset), "seed %llu", seed);
    }
    return next_offset;
}

static void
compare(uint32_t partition)
{
    const struct partition *found = rig_partition(&rig, partition);
    uint64_t stable = found->next_offset;
    unsigned long long seed = (unsigned long long)rig.seed;

    replay(partition);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        stable = min_u64(stable, producers[partition][i].first_offset);
    cr_assert_eq(partition_last_stable(found),
                 stable,
                 "seed %llu, partition %u: last stable offset %llu, not %llu",
                 seed,
                 partition,
                 (unsigned long long)partition_last_stable(found),
                 (unsigned long long)stable);
    uint64_t offset = found->start_offset;
    while (offset < stable)
        offset = read_once(partition, offset);
}

/* A marker that was lost may have left its epoch in a checkpoint: its producer is fenced, as the
 * coordinator has decided, and the marker comes again. */
static void
take_epochs(uint32_t partition)
{
    const struct producers *table = &rig_log(&rig, partition)->producers;

    for (uint32_t i = 0; i < PRODUCERS; i++) {
        struct model_producer *producer = &producers[partition][i];
        uint32_t at = producers_find(table, rig.partitions[partition].incarnation, i + 1);
        if (at == PRODUCER_NONE || table->table[at].epoch <= producer->epoch)
            continue;
        producer->epoch = table->table[at].epoch;
        producer->next_sequence = 0;
    }
}

static void
data(uint32_t partition, uint32_t idx, bool is_transactional)
{
    struct model_producer *producer = &producers[partition][idx];
    const struct rig_append append = {
        .partition = partition,
        .bytes = 100 + (uint32_t)sim_rng_below(&rig.rng, 6000),
        .records = 1 + (uint32_t)sim_rng_below(&rig.rng, 3),
        .producer_id = idx + 1,
        .epoch = producer->epoch,
        .sequence = producer->next_sequence,
        .is_transactional = is_transactional,
    };

    cr_assert_eq(rig_append(&rig, &append),
                 LOG_APPEND_TAKEN,
                 "seed %llu: %s",
                 (unsigned long long)rig.seed,
                 rc_name(rig.last_ack.rc));
    producer->next_sequence += (int32_t)append.records;
    if (is_transactional && producer->first_offset == UINT64_MAX)
        producer->first_offset = 0;
}

static void
end(uint32_t partition, uint32_t idx)
{
    struct model_producer *producer = &producers[partition][idx];
    bool is_bump = sim_rng_chance(&rig.rng, 200000);
    const struct rig_marker marker = {
        .partition = partition,
        .producer_id = idx + 1,
        .epoch = (int16_t)(producer->epoch + is_bump),
        .coordinator_epoch = 1,
        .is_commit = !is_bump && sim_rng_chance(&rig.rng, 500000),
    };

    cr_assert_eq(rig_mark(&rig, &marker), LOG_APPEND_TAKEN, "%s", rc_name(rig.last_ack.rc));
    producer->is_admitted = false;
    producer->first_offset = UINT64_MAX;
    producer->epoch = marker.epoch;
    if (is_bump)
        producer->next_sequence = 0;
}

static void
act(void)
{
    uint32_t partition = (uint32_t)sim_rng_below(&rig.rng, PARTITIONS);
    uint32_t idx = (uint32_t)sim_rng_below(&rig.rng, PRODUCERS);
    struct model_producer *producer = &producers[partition][idx];
    bool is_open = producer->first_offset != UINT64_MAX;

    if (sim_rng_chance(&rig.rng, 300000)) {
        for (uint32_t i = 0; i < 8; i++)
            (void)rig_step(&rig);
    } else if (!is_open && !producer->is_admitted) {
        if (sim_rng_chance(&rig.rng, 300000))
            data(partition, idx, false);
        else if (rig_admit(&rig, partition, idx + 1, producer->epoch) == RC_OK)
            producer->is_admitted = true; /* else its last marker is not durable yet */
    } else if (is_open && sim_rng_chance(&rig.rng, 250000)) {
        end(partition, idx);
    } else {
        data(partition, idx, true);
    }
}

static void
start(uint64_t seed, uint64_t bulk_bytes)
{
    rig_init(&rig, seed);
    rig.config.transactions_max = 64;
    /* With few places most of what was aborted is known by footers alone. */
    rig.config.transactions_aborted_max = seed % 3 == 0 ? ABORTED_MAX : 96;
    rig.config.journal_file_bytes = 256 * KIB;
    rig.config.bulk_bytes = bulk_bytes;
    cr_assert_eq(rig_open(&rig), RC_OK);
    const struct log_partition_config config = {.segment_bytes = 256 * KIB,
                                                .batch_bytes_max = 64 * KIB};
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        rig_create(&rig, &config);
        replay(i);
    }
}

static void
run(uint64_t seed, uint64_t bulk_bytes)
{
    start(seed, bulk_bytes);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        /* Slow groups, so that checkpoints are written beside markers that are not durable. */
        const struct disk_sim_faults faults = {.slow_ppm = 300000,
                                               .slow_ns = 50 * NS_PER_MS,
                                               .latency_ns = 50 * NS_PER_US,
                                               .spread_ns = 300 * NS_PER_US};
        disk_sim_set_faults(rig.disk, &faults);
        uint64_t count = sim_rng_below(&rig.rng, 600);
        for (uint64_t i = 0; i < count; i++)
            act();
        switch (sim_rng_below(&rig.rng, 4)) {
        case 0:
            rig_settle(&rig);
            for (uint32_t i = 0; i < PARTITIONS; i++)
                compare(i);
            rig_stop(&rig);
            break;
        case 1:
            rig_kill(&rig);
            break;
        default:
            rig_crash(&rig);
            break;
        }
        cr_assert_eq(
            rig_open(&rig), RC_OK, "seed %llu: %s", (unsigned long long)seed, rig.trail.text);
        rig_reopen(&rig);
        rig_accept_crash(&rig);
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            compare(i);
            take_epochs(i);
        }
    }
    rig_kill(&rig);
    rig_fini(&rig);
}

Test(recover_transaction, knows_what_the_batches_tell_after_any_end, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        run(seed, 0);
}

Test(recover_transaction, knows_it_when_batches_bypass_the_journal, .timeout = 120)
{
    for (uint64_t seed = 101; seed <= 125; seed++)
        run(seed, 8 * KIB);
}
