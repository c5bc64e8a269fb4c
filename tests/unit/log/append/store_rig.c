/* Goal: one way to drive a whole log tile that all its tests share. Method: see store_rig.h. */
#include "store_rig.h"

#include "engine/base/hash.h"
#include "engine/record/record_marker.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdlib.h>

#define RIG_SCRATCH_BYTES (BATCH_BYTES_MAX + 65536u)
#define RIG_STEPS_MAX 2000000u

/* The one in use, for a debugger. */
static struct rig *rig_current;

static uint32_t
rig_owner(void *ctx, const uint8_t *topic_id, uint32_t partition)
{
    const struct rig *rig = ctx;

    (void)topic_id;
    return partition % rig->tile_count;
}

void
rig_init(struct rig *rig, uint64_t seed)
{
    struct disk_sim_config disk_config = {.seed = seed};

    *rig = (struct rig){.seed = seed, .tile_count = 1, .next_ctx = 1};
    rig_current = rig;
    sim_rng_seed(&rig->rng, seed, 77);
    clock_init_sim(&rig->clock, seed, 1700000000000);
    cr_assert_eq(disk_sim_create(&disk_config, &rig->disk), RC_OK);
    rig->config = (struct log_config){
        .slab_ring_bytes = 4 * MIB,
        .cold_bytes = 2 * MIB,
        .journal_file_bytes = 1 * MIB,
        .partitions_max = 64,
        .producers_max = 1024,
        .open_files_max = 64,
    };
    rig->batch = aligned_alloc(4096, RIG_SCRATCH_BYTES);
    rig->expect = aligned_alloc(4096, RIG_SCRATCH_BYTES);
    rig->dst = aligned_alloc(4096, RIG_SCRATCH_BYTES);
}

static void
rig_open_tile(struct rig *rig, uint32_t idx)
{
    struct rig_tile *tile = &rig->tiles[idx];
    struct io_sim_config io_config = {
        .clock = &rig->clock, .seed = rig->seed + idx, .reap_partial_ppm = 100000};
    struct log_config config = rig->config;

    cr_assert_eq(io_sim_create(&io_config, &tile->io), RC_OK);
    io_sim_attach(tile->io, disk_sim_device(rig->disk));
    tile->jobs_memory = aligned_alloc(128, round_up(ring_footprint(8, 512), 128));
    tile->done_memory = aligned_alloc(128, round_up(ring_footprint(8, 512), 128));
    ring_init(&tile->jobs, tile->jobs_memory, 8, 512);
    ring_init(&tile->jobs_done, tile->done_memory, 8, 512);
    config.tile_idx = idx;
    config.io = tile->io;
    config.clock = &rig->clock;
    config.disk = rig->disk;
    config.jobs = &tile->jobs;
    config.jobs_done = &tile->jobs_done;
    uint64_t bytes = round_up(log_footprint(&config), 4096);
    tile->memory = aligned_alloc(4096, bytes);
    cr_assert_eq(log_init(tile->memory, &config, &tile->log, &rig->trail), RC_OK);
}

enum rc
rig_open(struct rig *rig)
{
    struct log *logs[RIG_TILES_MAX];
    struct recover_plan plan = {
        .logs = logs, .log_count = rig->tile_count, .owner = rig_owner, .ctx = rig};

    diag_trail_clear(&rig->trail);
    for (uint32_t i = 0; i < rig->tile_count; i++) {
        rig_open_tile(rig, i);
        logs[i] = rig->tiles[i].log;
    }
    return recover_run_all(&plan, &rig->report, &rig->trail);
}

static void
rig_forget(struct rig *rig)
{
    for (uint32_t i = 0; i < RIG_TILES_MAX; i++) {
        struct rig_tile *tile = &rig->tiles[i];
        if (tile->io != NULL)
            io_destroy(tile->io);
        free(tile->memory);
        free(tile->jobs_memory);
        free(tile->done_memory);
        *tile = (struct rig_tile){0};
    }
}

void
rig_kill(struct rig *rig)
{
    /* The kernel finishes or drops what was under way; the descriptors close. */
    for (uint32_t i = 0; i < RIG_TILES_MAX; i++) {
        if (rig->tiles[i].io != NULL)
            io_destroy(rig->tiles[i].io);
        rig->tiles[i].io = NULL;
    }
    disk_sim_close_all(rig->disk);
    rig_forget(rig);
}

void
rig_crash(struct rig *rig)
{
    disk_sim_crash(rig->disk, &rig->rng);
    rig_forget(rig);
}

void
rig_fini(struct rig *rig)
{
    rig_kill(rig);
    for (uint32_t i = 0; i < rig->partition_count; i++)
        free(rig->partitions[i].batches);
    free(rig->batch);
    free(rig->expect);
    free(rig->dst);
    disk_fini(rig->disk);
}

/* ---- driving ---- */

static void
rig_take_ack(struct rig *rig, const struct log_ack *ack)
{
    /* ctx: partition index in the high half, batch index in the low one; 0 for others. */
    uint32_t partition = (uint32_t)(ack->ctx >> 32);
    uint32_t batch = (uint32_t)ack->ctx;

    rig->acks++;
    rig->last_ack = *ack;
    if (ack->rc != RC_OK && ack->rc != RC_SEQUENCE_DUPLICATE) {
        rig->acks_failed++;
        return;
    }
    if (ack->rc == RC_OK && partition > 0) {
        struct rig_batch *what = &rig->partitions[partition - 1].batches[batch];
        cr_assert_eq(ack->base_offset, what->base_offset);
        what->acked = true;
    }
}

static uint32_t
rig_take(struct rig *rig, struct log *log)
{
    struct log_ack acks[16];
    struct log_read_result reads[4];
    struct log_mark marks[4];
    struct log_event events[4];
    uint32_t work = 0;
    uint32_t count;

    count = log_take_acks(log, acks, 16);
    for (uint32_t i = 0; i < count; i++)
        rig_take_ack(rig, &acks[i]);
    work += count;
    count = log_take_reads(log, reads, 4);
    for (uint32_t i = 0; i < count; i++)
        rig->last_read = reads[i];
    rig->reads += count;
    work += count;
    count = log_take_marks(log, marks, 4);
    for (uint32_t i = 0; i < count; i++)
        rig->last_mark = marks[i];
    rig->marks += count;
    work += count;
    count = log_take_events(log, events, 4);
    for (uint32_t i = 0; i < count; i++)
        rig->last_event = events[i];
    rig->events += count;
    return work + count;
}

static uint32_t
rig_step_tile(struct rig *rig, struct rig_tile *tile)
{
    struct io_completion completions[8];
    struct disk_job *job;
    uint64_t deadline;
    uint32_t work = 0;

    uint32_t count = io_reap(tile->io, completions, 8);
    for (uint32_t i = 0; i < count; i++)
        log_complete(tile->log, completions[i].tag, completions[i].result);
    work += count;
    if (!rig->hold_jobs && ring_pop(&tile->jobs, &job, 1) == 1) {
        disk_job_run(rig->disk, job);
        cr_assert_eq(ring_push(&tile->jobs_done, &job, 1), 1);
        work++;
    }
    work += log_poll(tile->log, clock_now_ns(&rig->clock), &deadline);
    work += rig_take(rig, tile->log);
    return work;
}

bool
rig_step(struct rig *rig)
{
    uint32_t work = 0;
    uint64_t due = SIM_NEVER_NS;

    for (uint32_t i = 0; i < rig->tile_count; i++)
        work += rig_step_tile(rig, &rig->tiles[i]);
    if (work > 0)
        return true;
    for (uint32_t i = 0; i < rig->tile_count; i++)
        due = min_u64(due, io_sim_due_ns(rig->tiles[i].io));
    uint64_t now = clock_now_ns(&rig->clock);
    if (due == SIM_NEVER_NS) {
        clock_sim_advance(&rig->clock, 100 * NS_PER_US);
        return false;
    }
    clock_sim_advance(&rig->clock, due > now ? due - now : 1);
    return true;
}

void
rig_settle(struct rig *rig)
{
    uint32_t idle = 0;

    for (uint32_t i = 0; i < RIG_STEPS_MAX && idle < 30; i++)
        idle = rig_step(rig) ? 0 : idle + 1;
    cr_assert_geq(idle, 30, "does not come to rest");
}

void
rig_stop(struct rig *rig)
{
    uint64_t before = rig->events;

    for (uint32_t i = 0; i < rig->tile_count; i++)
        log_stop(rig->tiles[i].log);
    for (uint32_t i = 0; i < RIG_STEPS_MAX && rig->events < before + rig->tile_count; i++)
        (void)rig_step(rig);
    cr_assert_eq(rig->events, before + rig->tile_count, "not stopped");
    cr_assert_eq(rig->last_event.kind, LOG_EVENT_STOPPED);
    for (uint32_t i = 0; i < rig->tile_count; i++)
        log_fini(rig->tiles[i].log);
    rig_kill(rig);
}

/* ---- partitions ---- */

struct log *
rig_log(struct rig *rig, uint32_t partition)
{
    return rig->tiles[rig->partitions[partition].tile].log;
}

struct partition *
rig_partition(struct rig *rig, uint32_t partition)
{
    return &rig_log(rig, partition)->partitions[rig->partitions[partition].slot];
}

static void
rig_open_partition(struct rig *rig, uint32_t idx)
{
    struct rig_partition *model = &rig->partitions[idx];
    uint64_t before = rig->events;

    model->tile = model->config.partition % rig->tile_count;
    cr_assert_eq(log_open(rig_log(rig, idx), &model->config, 4711), RC_OK);
    for (uint32_t i = 0; i < RIG_STEPS_MAX && rig->events == before; i++)
        (void)rig_step(rig);
    cr_assert_eq(rig->last_event.kind, LOG_EVENT_OPENED);
    cr_assert_eq(rig->last_event.rc, RC_OK, "open: %s", rc_name(rig->last_event.rc));
    model->slot = rig->last_event.slot;
}

uint32_t
rig_create(struct rig *rig, const struct log_partition_config *config)
{
    uint32_t idx = rig->partition_count++;
    struct rig_partition *model = &rig->partitions[idx];

    *model = (struct rig_partition){.config = *config};
    if (model->config.incarnation == 0)
        model->config.incarnation = 100 + idx;
    if (model->config.batch_bytes_max == 0)
        model->config.batch_bytes_max = 1 * MIB;
    if (model->config.segment_bytes == 0)
        model->config.segment_bytes = 128 * MIB;
    if (model->config.segment_ms == 0)
        model->config.segment_ms = INT64_MAX;
    if (model->config.retention_ms == 0)
        model->config.retention_ms = -1;
    if (model->config.retention_bytes == 0)
        model->config.retention_bytes = -1;
    if (model->config.timestamp_before_max_ms == 0)
        model->config.timestamp_before_max_ms = INT64_MAX;
    if (model->config.timestamp_after_max_ms == 0)
        model->config.timestamp_after_max_ms = INT64_MAX;
    model->config.partition = idx;
    model->config.topic_id[0] = 9;
    model->incarnation = model->config.incarnation;
    model->batches = calloc(RIG_BATCHES_MAX, sizeof(struct rig_batch));
    rig_open_partition(rig, idx);
    return idx;
}

void
rig_reopen(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->partition_count; i++)
        if (rig->partitions[i].incarnation != 0)
            rig_open_partition(rig, i);
}

/* ---- appends ---- */

void
rig_make_batch(uint8_t *batch, const struct rig_batch *what)
{
    uint64_t state = what->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    if (what->is_marker) {
        const struct record_marker marker = {.producer_id = what->producer_id,
                                             .timestamp_ms = what->timestamp_ms,
                                             .coordinator_epoch = what->coordinator_epoch,
                                             .producer_epoch = what->epoch,
                                             .is_commit = what->is_commit};
        record_marker_build(&marker, batch);
        return;
    }
    put_u64_be(batch, 0);
    put_u32_be(batch + 8, what->bytes - 12);
    put_u32_be(batch + 12, UINT32_MAX);
    batch[16] = 2;
    put_u16_be(batch + 21, what->is_transactional ? RECORD_ATTRIBUTES_TRANSACTIONAL : 0);
    put_u32_be(batch + 23, what->records - 1);
    put_u64_be(batch + 27, (uint64_t)what->timestamp_ms);
    put_u64_be(batch + 35, (uint64_t)what->timestamp_ms);
    put_u64_be(batch + 43, (uint64_t)what->producer_id);
    put_u16_be(batch + 51, what->producer_id < 0 ? UINT16_MAX : (uint16_t)what->epoch);
    put_u32_be(batch + 53, (uint32_t)what->sequence);
    put_u32_be(batch + 57, what->records);
    for (uint32_t i = 61; i < what->bytes; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        batch[i] = (uint8_t)(state >> 56);
    }
    put_u32_be(batch + 17, hash_crc32c(0, batch + 21, what->bytes - 21));
}

enum log_append_status
rig_try(struct rig *rig, const struct rig_append *append)
{
    struct rig_partition *model = &rig->partitions[append->partition];
    struct rig_batch *what = &model->batches[model->batch_count];
    struct log *log = rig_log(rig, append->partition);
    const struct partition *partition = &log->partitions[model->slot];

    cr_assert_lt(model->batch_count, RIG_BATCHES_MAX);
    *what = (struct rig_batch){
        .base_offset = partition->next_offset,
        .seed = rig->next_ctx * 1000 + append->partition,
        .bytes = append->bytes,
        .records = append->records,
        .timestamp_ms = append->timestamp_ms != 0 ? append->timestamp_ms
                                                  : clock_wall_ms(&rig->clock),
        .leader_epoch = partition->leader_epoch,
        .producer_id = append->producer_id == 0 ? -1 : append->producer_id,
        .sequence = append->producer_id == 0 ? -1 : append->sequence,
        .epoch = append->epoch,
        .is_transactional = append->is_transactional,
    };
    rig_make_batch(rig->batch, what);
    struct log_append_request request = {
        .slot = model->slot,
        .incarnation = model->incarnation,
        .batch = rig->batch,
        .batch_bytes = append->bytes,
        .ctx = ((uint64_t)(append->partition + 1) << 32) | model->batch_count,
        .wall_ms = clock_wall_ms(&rig->clock),
    };
    uint64_t next_offset = partition->next_offset;
    enum log_append_status status = log_append(log, &request, &rig->last_ack);
    rig->next_ctx++;
    if (status == LOG_APPEND_TAKEN && partition->next_offset != next_offset)
        model->batch_count++;
    return status;
}

enum log_append_status
rig_append(struct rig *rig, const struct rig_append *append)
{
    for (uint32_t i = 0; i < RIG_STEPS_MAX; i++) {
        enum log_append_status status = rig_try(rig, append);
        if (status != LOG_APPEND_AGAIN)
            return status;
        (void)rig_step(rig);
    }
    cr_assert_fail(
        "never taken: partition %u of %u", append->partition, rig_current->partition_count);
    return LOG_APPEND_AGAIN;
}

enum rc
rig_admit(struct rig *rig, uint32_t partition, int64_t producer_id, int16_t epoch)
{
    const struct log_transaction request = {
        .slot = rig->partitions[partition].slot,
        .incarnation = rig->partitions[partition].incarnation,
        .producer_id = producer_id,
        .producer_epoch = epoch,
    };

    return log_transaction_admit(rig_log(rig, partition), &request);
}

enum log_append_status
rig_mark(struct rig *rig, const struct rig_marker *marker)
{
    struct rig_partition *model = &rig->partitions[marker->partition];
    struct rig_batch *what = &model->batches[model->batch_count];
    struct log *log = rig_log(rig, marker->partition);
    const struct partition *partition = &log->partitions[model->slot];
    enum log_append_status status = LOG_APPEND_AGAIN;

    cr_assert_lt(model->batch_count, RIG_BATCHES_MAX);
    for (uint32_t i = 0; i < RIG_STEPS_MAX && status == LOG_APPEND_AGAIN; i++) {
        *what = (struct rig_batch){
            .base_offset = partition->next_offset,
            .bytes = RECORD_MARKER_BYTES,
            .records = 1,
            .timestamp_ms = clock_wall_ms(&rig->clock),
            .leader_epoch = partition->leader_epoch,
            .producer_id = marker->producer_id,
            .sequence = -1,
            .epoch = marker->epoch,
            .is_marker = true,
            .is_commit = marker->is_commit,
            .coordinator_epoch = marker->coordinator_epoch,
        };
        const struct log_transaction request = {
            .slot = model->slot,
            .incarnation = model->incarnation,
            .producer_id = marker->producer_id,
            .wall_ms = what->timestamp_ms,
            .coordinator_epoch = marker->coordinator_epoch,
            .producer_epoch = marker->epoch,
            .is_commit = marker->is_commit,
            .ctx = ((uint64_t)(marker->partition + 1) << 32) | model->batch_count,
        };
        status = log_transaction_marker(log, &request, &rig->last_ack);
        if (status == LOG_APPEND_AGAIN)
            (void)rig_step(rig);
    }
    if (status == LOG_APPEND_TAKEN)
        model->batch_count++;
    return status;
}

void
rig_append_wait(struct rig *rig, const struct rig_append *append)
{
    cr_assert_eq(
        rig_append(rig, append), LOG_APPEND_TAKEN, "refused: %s", rc_name(rig->last_ack.rc));
    rig_settle(rig);
}

/* ---- reads ---- */

static struct log_read_request
rig_read_request(struct rig *rig, uint32_t partition, uint64_t offset, uint32_t max_bytes)
{
    return (struct log_read_request){
        .slot = rig->partitions[partition].slot,
        .incarnation = rig->partitions[partition].incarnation,
        .offset = offset,
        .dst = rig->dst,
        .dst_bytes = RIG_SCRATCH_BYTES,
        .max_bytes = max_bytes,
        .leader_epoch = -1,
        .whole_first = true,
    };
}

struct log_read_result
rig_read(struct rig *rig, uint32_t partition, uint64_t offset, uint32_t max_bytes)
{
    struct log_read_request request = rig_read_request(rig, partition, offset, max_bytes);

    return rig_read_as(rig, partition, &request);
}

struct log_read_result
rig_read_as(struct rig *rig, uint32_t partition, const struct log_read_request *request)
{
    struct log_read_result result;
    uint64_t before = rig->reads;

    for (uint32_t i = 0; i < RIG_STEPS_MAX; i++) {
        bool done = log_read(rig_log(rig, partition), request, &result);
        if (done && result.rc != RC_AGAIN)
            return result;
        while (!done && rig->reads == before && i++ < RIG_STEPS_MAX)
            (void)rig_step(rig);
        if (!done)
            return rig->last_read;
        (void)rig_step(rig);
    }
    cr_assert_fail("no answer");
    return result;
}

struct log_read_result
rig_find(struct rig *rig, uint32_t partition, int64_t time_ms)
{
    struct log_read_request request = rig_read_request(rig, partition, 0, UINT32_MAX);
    struct log_read_result result;
    uint64_t before = rig->reads;

    for (uint32_t i = 0; i < RIG_STEPS_MAX; i++) {
        bool done = log_find_time(rig_log(rig, partition), &request, time_ms, &result);
        if (done && result.rc != RC_AGAIN)
            return result;
        while (!done && rig->reads == before && i++ < RIG_STEPS_MAX)
            (void)rig_step(rig);
        if (!done)
            return rig->last_read;
        (void)rig_step(rig);
    }
    cr_assert_fail("no answer");
    return result;
}

/* What the tile knows of a partition, for a failed test. */
static void
rig_dump(struct rig *rig, uint32_t idx)
{
    const struct log *log = rig_log(rig, idx);
    const struct partition *live = rig_partition(rig, idx);

    cr_log_warn("partition %u state %u start %llu next %llu flushed %llu tail from %llu",
                idx,
                live->state,
                (unsigned long long)live->start_offset,
                (unsigned long long)live->next_offset,
                (unsigned long long)live->flushed_offset,
                live->tail.oldest == TAIL_NONE
                    ? 0ull
                    : (unsigned long long)tail_at(&log->tail, live->tail.oldest)->base_offset);
    for (uint32_t at = live->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        const struct segment *segment = &log->segments.segments[at];
        cr_log_warn("  segment %llu..%llu data %llu file %llu sealed %d",
                    (unsigned long long)segment->base_offset,
                    (unsigned long long)segment->next_offset,
                    (unsigned long long)segment->data_bytes,
                    (unsigned long long)segment->file_bytes,
                    segment->sealed);
    }
}

void
rig_compare(struct rig *rig, const struct rig_partition *model, uint32_t idx, const uint8_t *at)
{
    const struct rig_batch *what = &model->batches[idx];

    rig_make_batch(rig->expect, what);
    record_batch_patch(rig->expect, what->base_offset, what->leader_epoch);
    uint32_t same = 0;
    while (same < what->bytes && rig->expect[same] == at[same])
        same++;
    if (same != what->bytes)
        rig_dump(rig, (uint32_t)(model - rig->partitions));
    cr_assert_eq(same,
                 what->bytes,
                 "seed %llu: partition %u: batch %u at offset %llu differs at byte %u of %u; there "
                 "stands offset %llu, epoch %d (%d)",
                 (unsigned long long)rig->seed,
                 (unsigned)(model - rig->partitions),
                 idx,
                 (unsigned long long)what->base_offset,
                 same,
                 what->bytes,
                 (unsigned long long)get_u64_be(at),
                 (int)get_u32_be(at + 12),
                 what->leader_epoch);
}

void
rig_verify(struct rig *rig, uint32_t partition)
{
    struct rig_partition *model = &rig->partitions[partition];
    const struct partition *live = rig_partition(rig, partition);
    uint64_t offset = live->start_offset;
    uint64_t high_watermark = partition_high_watermark(live);
    uint32_t idx = 0;

    while (idx < model->batch_count &&
           model->batches[idx].base_offset + model->batches[idx].records <= offset)
        idx++;
    while (offset < high_watermark) {
        struct log_read_result result = rig_read(rig, partition, offset, 200000);
        cr_assert_eq(
            result.rc, RC_OK, "offset %llu: %s", (unsigned long long)offset, rc_name(result.rc));
        cr_assert_gt(result.bytes, 0, "offset %llu: nothing", (unsigned long long)offset);
        for (uint32_t at = 0; at < result.bytes; idx++) {
            cr_assert_lt(idx, model->batch_count, "more than was written");
            cr_assert_leq(at + model->batches[idx].bytes, result.bytes);
            rig_compare(rig, model, idx, rig->dst + at);
            at += model->batches[idx].bytes;
            offset = model->batches[idx].base_offset + model->batches[idx].records;
        }
    }
    cr_assert_eq(idx,
                 model->batch_count,
                 "partition %u: %u of %u batches",
                 partition,
                 idx,
                 model->batch_count);
}

void
rig_accept_crash(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->partition_count; i++) {
        struct rig_partition *model = &rig->partitions[i];
        if (model->incarnation == 0)
            continue;
        uint64_t end = rig_partition(rig, i)->next_offset;
        while (model->batch_count > 0 &&
               model->batches[model->batch_count - 1].base_offset >= end) {
            cr_assert_not(model->batches[model->batch_count - 1].acked,
                          "seed %llu: an acknowledged batch is gone",
                          (unsigned long long)rig->seed);
            model->batch_count--;
        }
        uint64_t expected = model->batch_count == 0
                                ? 0
                                : model->batches[model->batch_count - 1].base_offset +
                                      model->batches[model->batch_count - 1].records;
        cr_assert_eq(end, max_u64(expected, rig_partition(rig, i)->start_offset));
    }
}
