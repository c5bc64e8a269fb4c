/* Goal: no acknowledged batch is lost and no wrong byte is served, whatever the disk does.
 * Method: random appends, trims, drops, cold reads, with slow, short and failing operations and a
 * full disk, ended by power cuts, kills and stops; seeds are printed by every assertion. */
#include "../append/store_rig.h"

#include "engine/record/record_batch.h"
#include "log/retain/retain.h"

#include <criterion/criterion.h>

struct chaos {
    struct rig rig;
    uint64_t seed;
    uint32_t error_ppm;
    uint64_t next_incarnation;
};

static void
chaos_open(struct chaos *chaos)
{
    struct rig *rig = &chaos->rig;

    disk_sim_heal(rig->disk);
    cr_assert_eq(
        rig_open(rig), RC_OK, "seed %llu: %s", (unsigned long long)chaos->seed, rig->trail.text);
    cr_assert_eq(rig->report.partitions_halted, 0, "seed %llu", (unsigned long long)chaos->seed);
    for (uint32_t i = 0; i < rig->tile_count; i++)
        retain_attach(rig->tiles[i].log);
    rig_reopen(rig);
    rig_accept_crash(rig);
}

static void
chaos_faults(struct chaos *chaos)
{
    struct rig *rig = &chaos->rig;
    struct disk_sim_faults faults = {
        .short_ppm = 20000,
        .slow_ppm = 20000,
        .slow_ns = 5 * NS_PER_MS,
        .latency_ns = 50 * NS_PER_US,
        .spread_ns = 300 * NS_PER_US,
    };

    if (chaos->error_ppm > 0 && sim_rng_chance(&rig->rng, 500000)) {
        faults.write_error_ppm = chaos->error_ppm;
        faults.sync_error_ppm = chaos->error_ppm * 10;
        faults.read_error_ppm = chaos->error_ppm;
    }
    if (chaos->error_ppm > 0 && sim_rng_chance(&rig->rng, 300000))
        faults.space_bytes = disk_sim_used_bytes(rig->disk) + sim_rng_below(&rig->rng, 4 * MIB);
    disk_sim_set_faults(rig->disk, &faults);
}

/* A read at a random place; what comes must be right. */
static void
chaos_read(struct chaos *chaos, uint32_t idx)
{
    struct rig *rig = &chaos->rig;
    struct rig_partition *model = &rig->partitions[idx];
    const struct partition *live = rig_partition(rig, idx);
    uint64_t high_watermark = partition_high_watermark(live);

    if (high_watermark <= live->start_offset || live->state != PARTITION_OPEN)
        return;
    uint64_t offset = live->start_offset +
                      sim_rng_below(&rig->rng, high_watermark - live->start_offset);
    struct log_read_result result = rig_read(
        rig, idx, offset, 1 + (uint32_t)sim_rng_below(&rig->rng, 300000));
    if (result.rc != RC_OK)
        return;
    uint32_t at = 0;
    for (uint32_t i = 0; i < model->batch_count && at < result.bytes; i++) {
        const struct rig_batch *what = &model->batches[i];
        if (what->base_offset + what->records <= offset)
            continue;
        cr_assert_leq(at + what->bytes, result.bytes);
        rig_compare(rig, model, i, rig->dst + at);
        at += what->bytes;
    }
    cr_assert_eq(at, result.bytes, "seed %llu", (unsigned long long)chaos->seed);
}

static void
chaos_append(struct chaos *chaos, uint32_t idx)
{
    struct rig *rig = &chaos->rig;
    struct rig_append append = {
        .partition = idx,
        .bytes = 61 + (uint32_t)sim_rng_below(&rig->rng,
                                              sim_rng_chance(&rig->rng, 50000) ? 300000 : 6000),
        .records = 1 + (uint32_t)sim_rng_below(&rig->rng, 5),
    };

    for (uint32_t i = 0; i < 300; i++) {
        if (rig_try(rig, &append) != LOG_APPEND_AGAIN)
            return;
        (void)rig_step(rig);
    }
}

/* The partition's place in the model is taken by a new one. */
static void
chaos_replace(struct chaos *chaos, uint32_t idx)
{
    struct rig *rig = &chaos->rig;
    struct rig_partition *model = &rig->partitions[idx];

    rig_settle(rig); /* no other event comes in between */
    uint64_t before = rig->events;
    if (log_drop(rig_log(rig, idx), model->slot, model->incarnation, 1) != RC_OK)
        return;
    for (uint32_t i = 0; i < 20000 && rig->events == before; i++)
        (void)rig_step(rig);
    model->incarnation = chaos->next_incarnation++;
    model->config.incarnation = model->incarnation;
    model->batch_count = 0;
    before = rig->events;
    if (log_open(rig_log(rig, idx), &model->config, 2) != RC_OK)
        return;
    for (uint32_t i = 0; i < 20000 && rig->events == before; i++)
        (void)rig_step(rig);
    cr_assert_eq(rig->last_event.kind, LOG_EVENT_OPENED);
    cr_assert_eq(rig->last_event.rc, RC_OK);
    model->slot = rig->last_event.slot;
}

static void
chaos_work(struct chaos *chaos)
{
    struct rig *rig = &chaos->rig;

    for (uint64_t count = sim_rng_below(&rig->rng, 600); count > 0; count--) {
        uint32_t idx = (uint32_t)sim_rng_below(&rig->rng, rig->partition_count);
        uint64_t what = sim_rng_below(&rig->rng, 1000);
        if (what < 800)
            chaos_append(chaos, idx);
        else if (what < 960)
            chaos_read(chaos, idx);
        else if (what < 980 && rig_partition(rig, idx)->durable_offset > 0)
            (void)log_trim(rig_log(rig, idx),
                           rig->partitions[idx].slot,
                           rig->partitions[idx].incarnation,
                           sim_rng_below(&rig->rng, rig_partition(rig, idx)->durable_offset),
                           3);
        else if (what < 985 && chaos->error_ppm == 0)
            chaos_replace(chaos, idx);
        else
            for (uint64_t steps = sim_rng_below(&rig->rng, 100); steps > 0; steps--)
                (void)rig_step(rig);
    }
}

static void
chaos_run(uint64_t seed, uint32_t error_ppm, uint32_t rounds)
{
    static struct chaos chaos;
    struct rig *rig = &chaos.rig;

    chaos = (struct chaos){.seed = seed, .error_ppm = error_ppm, .next_incarnation = 1000};
    rig_init(rig, seed);
    rig->config.open_files_max = 8 + (uint32_t)(seed % 3) * 20;
    rig->config.cold_bytes = 256 * KIB * (1 + seed % 4);
    cr_assert_eq(rig_open(rig), RC_OK);
    retain_attach(rig->tiles[0].log);
    for (uint32_t i = 0; i < 5; i++)
        rig_create(rig,
                   &(struct log_partition_config){
                       .segment_bytes = i % 2 == 0 ? 100 * KIB : 1 * MIB,
                       .retention_bytes = i == 3 ? 400 * 1024 : -1,
                   });
    for (uint32_t round = 0; round < rounds; round++) {
        chaos_faults(&chaos);
        chaos_work(&chaos);
        disk_sim_heal(rig->disk);
        if (sim_rng_chance(&rig->rng, 250000)) {
            for (uint32_t i = 0; i < 300; i++)
                (void)rig_step(rig);
            rig_kill(rig);
        } else {
            rig_crash(rig);
        }
        chaos_open(&chaos);
        for (uint32_t i = 0; i < rig->partition_count; i++)
            rig_verify(rig, i);
    }
    rig_fini(rig);
}

Test(recover, survives_slow_and_short_operations, .timeout = 200)
{
    for (uint64_t seed = 400; seed < 410; seed++)
        chaos_run(seed, 0, 6);
}

Test(recover, survives_failing_operations_and_a_full_disk, .timeout = 200)
{
    for (uint64_t seed = 500; seed < 510; seed++)
        chaos_run(seed, 2000, 6);
}
