/* A whole log tile on a simulated disk: append, group, acknowledge, flush and reclaim; then reading
 * the tail. What the simulated disk itself does is left out by the names of its functions. */
#include "engine/base/check.h"
#include "hw/disk/disk_sim.h"
#include "log/append/log.h"
#include "log/recover/recover.h"
#include "perf/smoke/smoke.h"

#include <stdlib.h>

#define JOB_SLOTS 512u
#define PARTITIONS 4u
#define BURST 64u /* appends between two polls, as the broker offers them */
#define WARM_BURSTS 40u
#define BURSTS 100u
#define LATENCY_NS (100 * NS_PER_US)

struct smoke_tile {
    struct clock clock;
    struct disk *disk;
    struct io *io;
    struct log *log;
    struct ring jobs;
    struct ring done;
    uint32_t slots[PARTITIONS];
    uint64_t appended;
    uint64_t acked;
};

static uint8_t batch[1 << 17];
static uint8_t target[1 << 20];

static void *
aligned_zero(uint64_t bytes)
{
    void *memory = aligned_alloc(4096, round_up(bytes, 4096));

    CHECK(memory != NULL);
    memset(memory, 0, round_up(bytes, 4096));
    return memory;
}

static void
tile_run_jobs(struct smoke_tile *tile)
{
    struct disk_job *job;

    while (ring_pop(&tile->jobs, &job, 1) == 1) {
        disk_job_run(tile->disk, job);
        CHECK(ring_push(&tile->done, &job, 1) == 1);
    }
}

static void
tile_turn(struct smoke_tile *tile)
{
    struct io_completion completions[64];
    struct log_ack acks[BURST];
    uint64_t deadline;
    uint32_t count = io_reap(tile->io, completions, ARRAY_COUNT(completions));

    for (uint32_t i = 0; i < count; i++)
        log_complete(tile->log, completions[i].tag, completions[i].result);
    (void)log_poll(tile->log, clock_now_ns(&tile->clock), &deadline);
    while ((count = log_take_acks(tile->log, acks, BURST)) > 0) {
        tile->acked += count;
        for (uint32_t i = 0; i < count; i++)
            CHECK(acks[i].rc == RC_OK);
    }
    tile_run_jobs(tile);
    clock_sim_advance(&tile->clock, LATENCY_NS);
}

static void
tile_open_partitions(struct smoke_tile *tile)
{
    uint32_t opened = 0;
    struct log_event event;

    for (uint32_t i = 0; i < PARTITIONS; i++) {
        const struct log_partition_config config = {
            .incarnation = i + 10,
            .topic_id = {1},
            .partition = i,
            .batch_bytes_max = 1 << 20,
            .segment_bytes = 8 * MIB,
            .segment_ms = INT64_MAX,
            .retention_ms = -1,
            .retention_bytes = -1,
            .timestamp_before_max_ms = INT64_MAX,
            .timestamp_after_max_ms = INT64_MAX,
        };
        CHECK(log_open(tile->log, &config, i) == RC_OK);
    }
    for (uint32_t turn = 0; opened < PARTITIONS && turn < 100000; turn++) {
        tile_turn(tile);
        while (log_take_events(tile->log, &event, 1) == 1) {
            CHECK(event.kind == LOG_EVENT_OPENED && event.rc == RC_OK);
            tile->slots[event.ctx] = event.slot;
            opened++;
        }
    }
    CHECK(opened == PARTITIONS);
}

static void
tile_start(struct smoke_tile *tile)
{
    const struct disk_sim_config disk_config = {.seed = 1};
    const struct io_sim_config io_config = {.clock = &tile->clock, .seed = 1};
    struct recover_report report;
    struct diag_trail trail = {""};

    clock_init_sim(&tile->clock, 1, 1700000000000);
    CHECK(disk_sim_create(&disk_config, &tile->disk) == RC_OK);
    CHECK(io_sim_create(&io_config, &tile->io) == RC_OK);
    io_sim_attach(tile->io, disk_sim_device(tile->disk));
    ring_init(&tile->jobs, aligned_zero(ring_footprint(sizeof(void *), JOB_SLOTS)), 8, JOB_SLOTS);
    ring_init(&tile->done, aligned_zero(ring_footprint(sizeof(void *), JOB_SLOTS)), 8, JOB_SLOTS);
    const struct log_config config = {
        .io = tile->io,
        .clock = &tile->clock,
        .disk = tile->disk,
        .jobs = &tile->jobs,
        .jobs_done = &tile->done,
        .slab_ring_bytes = 16 * MIB,
        .cold_bytes = 2 * MIB,
        .journal_file_bytes = 4 * MIB,
        .partitions_max = 64,
        .producers_max = 1024,
        .open_files_max = 64,
    };
    CHECK(log_init(aligned_zero(log_footprint(&config)), &config, &tile->log, &trail) == RC_OK);
    CHECK(recover_run(tile->log, &report, &trail) == RC_OK);
    tile_open_partitions(tile);
}

/* Bursts of appends over the partitions in turn, each until it is durable. */
static void
tile_append(struct smoke_tile *tile, uint32_t bursts, uint32_t batch_bytes)
{
    for (uint32_t i = 0; i < bursts * BURST; i++) {
        uint32_t partition = i % PARTITIONS;
        const struct log_append_request request = {
            .slot = tile->slots[partition],
            .incarnation = partition + 10,
            .batch = batch,
            .batch_bytes = batch_bytes,
            .wall_ms = 1700000000000,
        };
        struct log_ack ack;
        enum log_append_status status;
        for (uint32_t turn = 0;
             (status = log_append(tile->log, &request, &ack)) == LOG_APPEND_AGAIN && turn < 1000;
             turn++)
            tile_turn(tile);
        CHECK(status == LOG_APPEND_TAKEN);
        tile->appended++;
        if (i % BURST == BURST - 1)
            tile_turn(tile);
    }
    for (uint32_t turn = 0; tile->acked < tile->appended && turn < 100000; turn++)
        tile_turn(tile);
    CHECK(tile->acked == tile->appended);
}

static void
tile_case_append(struct smoke_tile *tile, const char *name, uint32_t records)
{
    uint32_t batch_bytes = smoke_batch(batch, sizeof(batch), records);

    tile_append(tile, WARM_BURSTS, batch_bytes);
    smoke_begin();
    tile_append(tile, BURSTS, batch_bytes);
    smoke_end(name, BURSTS * BURST);
}

/* The newest 64 batches of a partition, read again and again from the tail cache. */
static void
tile_case_read(struct smoke_tile *tile)
{
    struct log_read_result result = {0};
    uint32_t rounds = 200;

    CHECK(log_offsets(tile->log, tile->slots[0], 10, &result) == RC_OK);
    const struct log_read_request request = {
        .slot = tile->slots[0],
        .incarnation = 10,
        .offset = result.high_watermark - 64 * 10,
        .dst = target,
        .dst_bytes = sizeof(target),
        .max_bytes = sizeof(target),
        .leader_epoch = -1,
        .whole_first = true,
    };
    smoke_begin();
    for (uint32_t i = 0; i < rounds; i++) {
        CHECK(log_read(tile->log, &request, &result));
        CHECK(result.rc == RC_OK && result.bytes > 64 * 10 * SMOKE_RECORD_BYTES);
    }
    smoke_end("read-tail-batch-of-10", rounds * 64);
}

void
smoke_log(void)
{
    static struct smoke_tile tile;

    tile_start(&tile);
    tile_case_append(&tile, "append-batch-of-1", 1);
    tile_case_append(&tile, "append-batch-of-10", 10);
    tile_case_read(&tile);
}
