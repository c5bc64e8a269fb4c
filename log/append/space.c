/* Segment space ahead of need: preallocation of the active file, and the next segment's file.
 *
 * A batch is admitted only when the files have room for everything of its partition that is not yet
 * written. A roll is chosen when a batch is admitted, or by age when none comes: the next segment
 * begins at the log's end of that moment, so its file can have its name before anything must go
 * into it. */
#include "log/append/store.h"

#include "engine/base/check.h"

static uint64_t
space_step(uint64_t have)
{
    uint64_t step = min_u64(max_u64(have, LOG_ALLOCATE_MIN_BYTES), LOG_ALLOCATE_MAX_BYTES);

    return round_up(step, FORMAT_BLOCK_BYTES);
}

static bool
space_start_allocation(struct log *log,
                       struct partition *partition,
                       enum job_purpose purpose,
                       uint64_t target)
{
    uint64_t have = purpose == JOB_ALLOCATE ? partition->allocated : partition->next_allocated;
    uint32_t slot = partition_slot(log, partition);
    int fd;

    if (partition->is_allocating)
        return false;
    if (purpose == JOB_ALLOCATE) {
        if (files_acquire(log, partition->segments.newest, true, &fd) != FILES_READY)
            return false;
    } else {
        if (partition->next_file == LOG_NONE)
            return false; /* it will be the active one soon */
        fd = log->files[partition->next_file].fd;
    }
    struct log_job *job = jobs_take(log, purpose, slot, partition->segments.newest);
    if (job == NULL) {
        if (purpose == JOB_ALLOCATE)
            files_release(log, partition->segments.newest);
        return false;
    }
    job->job.kind = DISK_JOB_ALLOCATE;
    job->job.fd = fd;
    job->job.position = have;
    job->job.bytes = round_up(max_u64(target, have + space_step(have)), FORMAT_BLOCK_BYTES) - have;
    partition->is_allocating = true;
    jobs_send(log, job);
    return true;
}

static bool
space_may_roll(const struct log *log, const struct partition *partition)
{
    return partition->roll == ROLL_NONE && partition->sealing == SEGMENT_NONE &&
           partition->segments.count < LOG_PARTITION_SEGMENTS_MAX && !partition->is_allocating &&
           log->segments.live < log->segments.capacity &&
           (partition->space_retry_ns == 0 || log->now_ns >= partition->space_retry_ns);
}

/* By age, or because of what was aborted in it. */
static bool
space_is_old(const struct log *log, const struct partition *partition)
{
    const struct segment *active = partition_active(log, partition);
    int64_t limit_ms = partition->config.segment_ms;

    /* Only what was left can be compacted in time. */
    if (partition->config.is_compacted)
        limit_ms = min_i64(limit_ms, partition->config.compaction_lag_max_ms);
    if (partition->next_offset == active->base_offset)
        return false;
    /* Its footer is to take what was aborted, and has room for so much. */
    if (UNLIKELY(partition->transactions.aborted_active > 0) &&
        partition->transactions.aborted_active >= transaction_aborted_limit(log))
        return true;
    return log->wall_ms - active->created_ms >= limit_ms;
}

/* Is the active segment to be left? By size with what waits for it, or by age. */
static bool
space_roll_due(const struct log *log, const struct partition *partition)
{
    const struct segment *active = partition_active(log, partition);
    uint64_t waiting = partition->end_bytes - partition->gathered_bytes;
    uint64_t limit = partition->config.segment_bytes;

    if (partition->next_offset == active->base_offset)
        return false; /* empty */
    if (partition->next_offset - active->base_offset > UINT32_MAX / 2)
        return true; /* index deltas have 32 bits */
    if (partition->write_position + waiting >= limit - limit / 16)
        return true;
    return space_is_old(log, partition);
}

static void
space_start_roll(struct log *log, struct partition *partition)
{
    struct log_job *job;

    if (!files_have_room(log))
        return;
    job = jobs_take(log, JOB_NEXT_SEGMENT, partition_slot(log, partition), LOG_NONE);
    if (job == NULL)
        return;
    partition->roll = ROLL_CREATING;
    partition->roll_offset = partition->next_offset;
    partition->roll_bytes = partition->end_bytes;
    job->job.kind = DISK_JOB_SEGMENT_CREATE;
    job->job.bytes = space_step(partition_active(log, partition)->data_bytes / 8);
    format_path_segment(job->job.path, partition->incarnation, partition->next_offset, 0);
    jobs_send(log, job);
}

enum rc
space_reserve(struct log *log, struct partition *partition, uint64_t count)
{
    enum job_purpose purpose = JOB_ALLOCATE;
    uint64_t have = partition->allocated;
    uint64_t need;

    if (UNLIKELY(partition->roll == ROLL_NONE && space_roll_due(log, partition)) &&
        space_may_roll(log, partition))
        space_start_roll(log, partition);
    /* Nothing is left for the active segment: go on to the next one, whose file may then be opened
     * and extended. */
    if (UNLIKELY(partition->roll == ROLL_READY) && !partition->is_flushing &&
        partition->gathered_bytes >= partition->roll_bytes && seal_roll(log, partition))
        have = partition->allocated;
    if (partition->roll == ROLL_READY) {
        purpose = JOB_ALLOCATE_NEXT;
        have = partition->next_allocated;
        need = space_worst(partition->end_bytes - partition->roll_bytes + count);
    } else {
        need = partition->write_position +
               space_worst(partition->end_bytes - partition->gathered_bytes + count);
    }
    if (LIKELY(need + space_step(have) / 2 <= have))
        return RC_OK;
    /* A roll under way will bring space: asking for more here would only be cut off again. */
    bool wanted = partition->roll != ROLL_CREATING || need > have;
    if (partition->space_retry_ns != 0 && log->now_ns < partition->space_retry_ns)
        wanted = false;
    if (wanted)
        (void)space_start_allocation(log, partition, purpose, need);
    if (need <= have)
        return RC_OK;
    return partition->space_retry_ns != 0 ? RC_NO_SPACE : RC_AGAIN;
}

void
space_leave_old(struct log *log, struct partition *partition)
{
    if (partition->state != PARTITION_OPEN || partition->has_failed ||
        !space_is_old(log, partition))
        return;
    /* Begins the roll, or goes on with it: an append would do no more. */
    (void)space_reserve(log, partition, 0);
    if (!space_is_old(log, partition))
        return;
    if (partition->gather == TAIL_NONE)
        return;
    partition->is_forced = true; /* too little to be written without need */
    flush_consider(log, partition);
}

static void
space_next_segment_done(struct log *log, struct partition *partition, struct log_job *job)
{
    CHECK(partition->roll == ROLL_CREATING);
    if (job->job.result != RC_OK) {
        /* The roll is given up: batches behind roll_offset were admitted with room in the active
         * file. */
        partition->roll = ROLL_NONE;
        partition->roll_offset = UINT64_MAX;
        if (rc_class(job->job.result) == RC_CLASS_RETRY)
            partition->space_retry_ns = log->now_ns + LOG_RETRY_NS;
        else
            partition_fence(log, partition, job->job.result, "segment_create_failed");
        return;
    }
    partition->space_retry_ns = 0;
    uint32_t file = files_adopt(log, job->job.fd, SEGMENT_NONE);
    if (file != LOG_NONE)
        log->files[file].users = 1; /* not to be evicted before it has its segment */
    partition->next_file = file;
    partition->next_allocated = job->job.bytes;
    partition->roll = ROLL_READY;
    flush_consider(log, partition);
}

void
space_job_done(struct log *log, struct log_job *job)
{
    struct partition *partition = &log->partitions[job->slot];
    enum rc rc = job->job.result;

    if (job->purpose == JOB_NEXT_SEGMENT) {
        space_next_segment_done(log, partition, job);
        return;
    }
    partition->is_allocating = false;
    if (job->purpose == JOB_ALLOCATE)
        files_release(log, job->aux);
    if (rc == RC_OK) {
        partition->space_retry_ns = 0;
        /* No roll while allocating: both are still what they were. */
        if (job->purpose == JOB_ALLOCATE)
            partition->allocated = job->job.position + job->job.bytes;
        else
            partition->next_allocated = job->job.position + job->job.bytes;
        flush_consider(log, partition);
    } else if (rc_class(rc) == RC_CLASS_RETRY || rc == RC_LIMIT) {
        partition->space_retry_ns = log->now_ns + LOG_RETRY_NS;
    } else {
        partition_fence(log, partition, rc, "segment_allocate_failed");
    }
}
