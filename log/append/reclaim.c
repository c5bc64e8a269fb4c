/* Giving journal files back, and stopping: both end in a checkpoint.
 *
 *   IDLE -> FLUSH (what pins the file) -> SEALS (end of those under way) -> SYNC (captured
 * positions) -> ENCODE -> CHECKPOINT
 *        -> the file is released, or at stop: STOPPED
 *
 * The file is released only after the checkpoint is durable (A3), and that names only what was
 * synced before it (A4). A partition that is fenced keeps what it has in the journal alone: then no
 * file is released any more. */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"

#include <errno.h>

#define RECLAIM_PARTITIONS_PER_POLL 512u
#define RECLAIM_PRODUCERS_PER_POLL 2048u

struct partition_mark
partition_mark_now(const struct log *log, const struct partition *partition)
{
    const struct segment *active = partition_active(log, partition);

    return (struct partition_mark){
        .segment_base_offset = active->base_offset,
        .position = active->data_bytes,
        .next_offset = active->next_offset,
        .max_timestamp_offset = active->max_timestamp_offset,
        .batch_bytes = active->batch_bytes,
        .manifest_generation = partition->manifest_generation,
        .max_timestamp_ms = active->max_timestamp_ms,
        .created_ms = active->created_ms,
    };
}

struct checkpoint_header
reclaim_header(struct log *log)
{
    struct checkpoint_header header = {
        .generation = ++log->checkpoint_generation,
        .tile_idx = log->config.tile_idx,
        .created_ms = log->wall_ms,
    };

    bytes_copy(header.node_uuid, sizeof(header.node_uuid), log->config.node_uuid, 16);
    return header;
}

void
reclaim_encode_partition(struct checkpoint_encoder *encoder, const struct partition *partition)
{
    struct checkpoint_partition record = {
        .incarnation = partition->incarnation,
        .partition = partition->config.partition,
        .state = CHECKPOINT_OPEN,
        .segment_base_offset = partition->synced.segment_base_offset,
        .durable_position = partition->synced.position,
        .next_offset = partition->synced.next_offset,
        .start_offset = partition->start_offset,
        .high_watermark = partition->durable_offset,
        .manifest_generation = partition->synced.manifest_generation,
        .leader_epoch = partition->leader_epoch,
        .epoch_count = partition->epoch_count,
        .segment_created_ms = partition->synced.created_ms,
        .max_timestamp_ms = partition->synced.max_timestamp_ms,
        .max_timestamp_offset = partition->synced.max_timestamp_offset,
        .segment_batch_bytes = partition->synced.batch_bytes,
    };

    if (partition->state == PARTITION_HALTED)
        record.state = CHECKPOINT_HALTED;
    else if (partition->state == PARTITION_DROPPING)
        record.state = CHECKPOINT_DROPPED;
    bytes_copy(record.topic_id, sizeof(record.topic_id), partition->config.topic_id, 16);
    checkpoint_encode_partition(encoder, &record, partition->epochs);
}

void
reclaim_encode_producer(struct checkpoint_encoder *encoder,
                        const struct log *log,
                        const struct producer *producer)
{
    uint32_t transaction = producer->transaction;
    struct format_producer record = {
        .incarnation = producer->incarnation,
        .producer_id = (int64_t)producer->producer_id,
        .last_append_ms = log_wall_of(log, producer->used_ns),
        .producer_epoch = producer->epoch,
        .batch_count = (uint8_t)producer->batch_count,
        .coordinator_epoch = producer->coordinator_epoch,
        .transaction_first_offset = UINT64_MAX,
    };

    /* One whose marker is not durable is open as far as a restart knows. */
    if (transaction != PRODUCER_NONE)
        record.transaction_first_offset = log->transactions.table[transaction].first_offset;
    if (producer->batch_count == 0)
        record.batches[0].first_sequence = producer->batches[0].first_sequence;

    for (uint32_t i = 0; i < producer->batch_count; i++) {
        const struct producer_batch *batch = &producer->batches[producer->batch_count - 1 - i];
        record.batches[i] = (struct format_producer_batch){
            .first_sequence = batch->first_sequence,
            .last_sequence = batch->last_sequence,
            .base_offset = batch->base_offset,
        };
    }
    checkpoint_encode_producer(encoder, &record);
}

void
reclaim_encode_aborted(struct checkpoint_encoder *encoder,
                       const struct log *log,
                       const struct partition *partition)
{
    const struct transaction_aborted *table = log->transactions.aborted;
    uint32_t segment = partition->segments.oldest;

    for (uint32_t at = partition->transactions.aborted_oldest; at != TRANSACTION_NONE;
         at = table[at].newer) {
        if (transaction_is_told(log, &segment, table[at].entry.last_offset))
            continue;
        const struct checkpoint_aborted record = {.incarnation = partition->incarnation,
                                                  .entry = table[at].entry};
        checkpoint_encode_aborted(encoder, &record);
    }
}

/* A fenced partition whose data stands in the journal alone. */
static bool
reclaim_is_blocked(const struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        const struct partition *partition = &log->partitions[slot];
        bool is_gone = partition->state == PARTITION_DROPPING &&
                       partition->drop_step != DROP_JOURNAL; /* its drop is durable */
        if (partition->incarnation != 0 && !is_gone &&
            (partition->state == PARTITION_FENCED || partition->has_failed) &&
            partition->synced.next_offset < partition->durable_offset)
            return true;
    }
    return log->reclaim.has_failed;
}

static void
reclaim_stop_end(struct log *log, enum rc rc)
{
    struct log_event event = {.kind = LOG_EVENT_STOPPED, .rc = rc, .slot = UINT32_MAX};

    log->reclaim.step = RECLAIM_STOPPED;
    log_push_event(log, &event);
}

static bool
reclaim_begin_stop(struct log *log)
{
    if (log->is_failed || reclaim_is_blocked(log)) {
        reclaim_stop_end(log, RC_FENCED);
        return true;
    }
    if (log->groups_count > 0 || journal_open_entry_count(log->journal) > 0 ||
        log->drops_count > 0 || log->open_first != LOG_NONE ||
        log->waits_first != log->waits_next || log->bulk_batches > 0)
        return false;
    log->reclaim.file_idx = LOG_NONE;
    log->reclaim.pin_end = log->tail.next;
    log->reclaim.replay_from = journal_submitted_through(log->journal) + 1;
    log->reclaim.step = RECLAIM_FLUSH;
    return true;
}

static bool
reclaim_begin(struct log *log)
{
    struct log_reclaim *reclaim = &log->reclaim;
    uint32_t file_idx = journal_reclaim_due(log->journal);

    if (file_idx == UINT32_MAX) {
        if (log->is_journal_full && !log->is_failed && reclaim->has_failed)
            group_fail(log);
        return false;
    }
    if (reclaim_is_blocked(log)) {
        if (log->is_journal_full && !log->is_failed)
            group_fail(log); /* the journal can never be given back: say so instead of waiting */
        return false;
    }
    journal_release_begin(log->journal, file_idx);
    reclaim->file_idx = file_idx;
    reclaim->pin_end = log->file_tail_end[file_idx];
    reclaim->replay_from = journal_file(log->journal, file_idx)->last_group + 1;
    reclaim->step = RECLAIM_FLUSH;
    return true;
}

/* Is everything in segments that the journal has of entries below pin_end? Batches of the bulk
 * bypass do not count: the journal never had their bytes, and their write may have to wait for a
 * group that waits for this very file. */
static bool
reclaim_is_flushed(struct log *log)
{
    struct log_reclaim *reclaim = &log->reclaim;

    (void)flush_span(log);
    reclaim->flushed = max_u64(reclaim->flushed, log->unflushed);
    for (; reclaim->flushed < reclaim->pin_end; reclaim->flushed++) {
        const struct tail_entry *entry = tail_at(&log->tail, reclaim->flushed);
        if (!entry->is_bulk && flush_pins(log, entry))
            return false;
    }
    return true;
}

static bool
reclaim_flush(struct log *log)
{
    log->pin_end = max_u64(log->pin_end, log->reclaim.pin_end);
    if (!reclaim_is_flushed(log))
        return false;
    if (reclaim_is_blocked(log)) {
        log->reclaim.has_failed = true;
        log->reclaim.step = RECLAIM_IDLE;
        return true;
    }
    log->hold_rolls = true;
    log->reclaim.step = RECLAIM_SEALS;
    return true;
}

static void
reclaim_sync_each(struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        struct io_request request = {
            .tag = io_tag(log->config.io_tile, LOG_TAG(LOG_TAG_SYNC, slot)),
            .op = IO_FDATASYNC,
        };
        if (partition->incarnation == 0 || !partition->is_captured)
            continue;
        enum files_result result = files_acquire(
            log, partition->segments.newest, true, &request.fd);
        CHECK(result == FILES_READY); /* was open a moment ago */
        partition->syncing = partition->segments.newest;
        partition->jobs++;
        log->reclaim.syncs++;
        if (!io_submit(log->config.io, &request))
            reclaim_sync_done(log, slot, -EAGAIN);
    }
}

static bool
reclaim_file_is_open(const struct log *log, const struct partition *partition)
{
    uint32_t file = partition_active(log, partition)->file;

    return file != SEGMENT_NONE && log->files[file].state == FILE_OPEN && log->files[file].writable;
}

/* Is the partition's present position to be synced and named? Not one that is fenced: a segment
 * that it has left may never have been listed. */
static bool
reclaim_is_captured(const struct partition *partition)
{
    return partition->incarnation != 0 && partition->is_dirty && !partition->has_failed &&
           partition->state != PARTITION_FENCED;
}

/* Remembers what is written of every partition, and syncs it. */
static bool
reclaim_capture(struct log *log)
{
    struct log_job *job = NULL;
    uint32_t dirty = 0;
    bool all_open = true;

    if (log->seals_count > 0)
        return false;
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        const struct partition *partition = &log->partitions[slot];
        if (!reclaim_is_captured(partition))
            continue;
        dirty++;
        all_open = all_open && reclaim_file_is_open(log, partition);
    }
    bool each = dirty <= LOG_SYNC_EACH_MAX && all_open &&
                log->config.io->under_way + LOG_SYNC_EACH_MAX <= IO_REQUESTS_MAX;
    if (!each) {
        job = jobs_take(log, JOB_SYNC_ALL, LOG_NONE, 0);
        if (job == NULL)
            return false;
    }
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (!reclaim_is_captured(partition))
            continue;
        partition->capture = partition_mark_now(log, partition);
        partition->is_captured = true;
        partition->is_dirty = false;
    }
    log->reclaim.syncs = 1; /* this function's own */
    log->reclaim.step = RECLAIM_SYNC;
    if (each) {
        reclaim_sync_each(log);
        log->reclaim.syncs--;
    } else {
        job->job.kind = DISK_JOB_SYNC_ALL;
        jobs_send(log, job);
    }
    log->hold_rolls = false;
    return true;
}

void
reclaim_sync_done(struct log *log, uint32_t slot, int32_t result)
{
    struct partition *partition = &log->partitions[slot];

    CHECK(log->reclaim.syncs > 0);
    log->reclaim.syncs--;
    partition->jobs--;
    partition->is_captured = false;
    /* The segment may have been left and compacted since; its record stays as long as somebody uses
     * its handle. */
    files_release(log, partition->syncing);
    if (result == 0) {
        partition->synced = partition->capture;
        return;
    }
    log->reclaim.has_failed = true;
    partition_fence(log, partition, rc_from_errno(-result), "segment_sync_failed");
}

static void
reclaim_sync_all_done(struct log *log, enum rc rc)
{
    log->reclaim.syncs--;
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0 || !partition->is_captured)
            continue;
        partition->is_captured = false;
        if (rc == RC_OK)
            partition->synced = partition->capture;
        else
            partition_fence(log, partition, rc, "segment_sync_failed");
    }
    if (rc != RC_OK)
        log->reclaim.has_failed = true;
}

static bool
reclaim_begin_encode(struct log *log)
{
    struct log_reclaim *reclaim = &log->reclaim;

    if (reclaim->syncs > 0)
        return false;
    if (reclaim->has_failed || reclaim_is_blocked(log)) {
        reclaim->has_failed = true;
        reclaim->step = RECLAIM_IDLE;
        return true;
    }
    struct checkpoint_header header = reclaim_header(log);
    header.flags = reclaim->file_idx == LOG_NONE ? CHECKPOINT_CLEAN : 0;
    header.journal_epoch = journal_epoch(log->journal);
    header.replay_from = reclaim->replay_from;
    checkpoint_encode_begin(&reclaim->encoder, log->checkpoint, log->checkpoint_bytes, &header);
    reclaim->partition_next = 0;
    reclaim->producer_next = 0;
    reclaim->aborted_next = 0;
    reclaim->step = RECLAIM_ENCODE;
    return true;
}

/* In steps. What changes between them (start offsets, producers) only moves forward, and replay is
 * idempotent. */
static bool
reclaim_encode(struct log *log)
{
    struct log_reclaim *reclaim = &log->reclaim;
    uint32_t end = min_u32(log->partition_high,
                           reclaim->partition_next + RECLAIM_PARTITIONS_PER_POLL);

    if (reclaim->partition_next < log->partition_high) {
        for (; reclaim->partition_next < end; reclaim->partition_next++) {
            const struct partition *partition = &log->partitions[reclaim->partition_next];
            /* One that is being opened is told by its OPEN entry, which comes later. */
            if (partition->incarnation != 0 && partition->state != PARTITION_OPENING)
                reclaim_encode_partition(&reclaim->encoder, partition);
        }
        return true;
    }
    end = min_u32(log->producers.count, reclaim->producer_next + RECLAIM_PRODUCERS_PER_POLL);
    for (; reclaim->producer_next < end; reclaim->producer_next++) {
        const struct producer *producer = &log->producers.table[reclaim->producer_next];
        if (producer->incarnation != 0)
            reclaim_encode_producer(&reclaim->encoder, log, producer);
    }
    if (reclaim->producer_next < log->producers.count)
        return true;
    /* Behind the producers: a transaction that is over for its producer has its entry here. */
    end = min_u32(log->partition_high, reclaim->aborted_next + RECLAIM_PARTITIONS_PER_POLL);
    for (; reclaim->aborted_next < end; reclaim->aborted_next++) {
        const struct partition *partition = &log->partitions[reclaim->aborted_next];
        if (partition->incarnation != 0 && partition->state != PARTITION_OPENING)
            reclaim_encode_aborted(&reclaim->encoder, log, partition);
    }
    if (reclaim->aborted_next < log->partition_high)
        return true;
    reclaim->bytes = checkpoint_encode_end(&reclaim->encoder);
    CHECK(reclaim->bytes > 0);
    reclaim->step = RECLAIM_RETRY;
    reclaim->retry_ns = 0;
    return true;
}

static bool
reclaim_write(struct log *log)
{
    struct log_reclaim *reclaim = &log->reclaim;

    if (log->now_ns < reclaim->retry_ns)
        return false;
    struct log_job *job = jobs_take(log, JOB_CHECKPOINT, LOG_NONE, 0);
    if (job == NULL)
        return false;
    job->job.kind = DISK_JOB_WRITE_FILE;
    job->job.buffer = log->checkpoint;
    job->job.bytes = reclaim->bytes;
    format_path_checkpoint(job->job.path, log->config.tile_idx, log->checkpoint_generation);
    jobs_send(log, job);
    reclaim->step = RECLAIM_CHECKPOINT;
    return true;
}

void
reclaim_job_done(struct log *log, struct log_job *job)
{
    struct log_reclaim *reclaim = &log->reclaim;
    enum rc rc = job->job.result;

    if (job->purpose == JOB_SYNC_ALL) {
        reclaim_sync_all_done(log, rc);
        return;
    }
    CHECK(reclaim->step == RECLAIM_CHECKPOINT);
    if (rc_class(rc) == RC_CLASS_RETRY) {
        /* The other generation stands; nothing is released until this one is whole. */
        diag_warn(
            "checkpoint_delayed", "tile=%u rc=%s doing=retry", log->config.tile_idx, rc_name(rc));
        reclaim->step = RECLAIM_RETRY;
        reclaim->retry_ns = log->now_ns + LOG_RETRY_NS;
        return;
    }
    if (rc != RC_OK) {
        reclaim->has_failed = true;
        reclaim->step = RECLAIM_IDLE;
        group_fail(log);
        return;
    }
    log_count(log, METRIC_CHECKPOINTS_WRITTEN, 1);
    log_count(log, METRIC_CHECKPOINT_BYTES, reclaim->bytes);
    if (reclaim->file_idx == LOG_NONE) {
        reclaim_stop_end(log, RC_OK);
        return;
    }
    journal_release_file(log->journal, reclaim->file_idx);
    log_count(log, METRIC_JOURNAL_RECLAIMS, 1);
    log->is_journal_full = false;
    reclaim->step = RECLAIM_IDLE;
}

uint32_t
reclaim_poll(struct log *log)
{
    switch (log->reclaim.step) {
    case RECLAIM_IDLE:
        return log->is_stopping ? reclaim_begin_stop(log) : reclaim_begin(log);
    case RECLAIM_FLUSH:
        return reclaim_flush(log);
    case RECLAIM_SEALS:
        return reclaim_capture(log);
    case RECLAIM_SYNC:
        return reclaim_begin_encode(log);
    case RECLAIM_ENCODE:
        return reclaim_encode(log);
    case RECLAIM_RETRY:
        return reclaim_write(log);
    case RECLAIM_CHECKPOINT:
    case RECLAIM_STOPPED:
        break;
    }
    return 0;
}
