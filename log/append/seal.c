/* Rolling and sealing: the active segment gets its footer, is cut to its size and synced, and the
 * manifest lists it.
 *
 *   roll -> SEAL_FOOTER (write) -> SEAL_TRUNCATE (job: cut, sync) -> SEAL_MANIFEST (job) ->
 * SEAL_NONE
 *
 * A partition seals one segment at a time; its next roll waits (A5). A failure fences it. */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"

static void
seal_end(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    partition->seal = SEAL_NONE;
    partition->sealing = SEGMENT_NONE;
    for (uint32_t i = 0; i < log->seals_count; i++)
        if (log->seals[i] == slot) {
            log->seals[i] = log->seals[--log->seals_count];
            return;
        }
    CHECK(!"a seal that nobody began");
}

void
seal_failed(struct log *log, struct partition *partition)
{
    seal_end(log, partition);
}

bool
seal_roll(struct log *log, struct partition *partition)
{
    uint32_t old = partition->segments.newest;
    int fd;

    CHECK(partition->roll == ROLL_READY);
    CHECK(!partition->is_flushing);
    if (partition->sealing != SEGMENT_NONE || log->hold_rolls || partition->is_allocating ||
        log->seals_count == LOG_SEALS_MAX || log->segments.live == log->segments.capacity)
        return false;
    /* A bulk write may have brought batches whose groups are still on their way. What a manifest
     * lists is there for good: their producers' sequences must not be lost behind it. */
    if (log->segments.segments[old].next_offset > partition->durable_offset)
        return false;
    if (files_acquire(log, old, true, &fd) != FILES_READY)
        return false;
    if (!flush_footer(log, old, fd)) {
        files_release(log, old);
        return false;
    }
    partition->sealing = old;
    partition->seal = SEAL_FOOTER;
    log->seals[log->seals_count++] = partition_slot(log, partition);

    bool begun = partition_begin_segment(log, partition, partition->roll_offset);
    CHECK(begun);
    if (partition->next_file != LOG_NONE)
        files_assign(log, partition->next_file, partition->segments.newest);
    partition->next_file = LOG_NONE;
    partition->allocated = partition->next_allocated;
    partition->next_allocated = 0;
    partition->roll = ROLL_NONE;
    partition->roll_offset = UINT64_MAX;
    transaction_segment_begun(log, partition);
    return true;
}

void
seal_footer_written(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct partition *partition = &log->partitions[flush->slot];

    CHECK(partition->seal == SEAL_FOOTER);
    CHECK(partition->sealing == flush->segment);
    flush->kind = FLUSH_IDLE;
    partition->seal = SEAL_TRUNCATE;
    partition->is_seal_sent = false;
}

static bool
seal_send_truncate(struct log *log, struct partition *partition)
{
    const struct segment *segment = &log->segments.segments[partition->sealing];
    int fd;

    switch (files_acquire(log, partition->sealing, true, &fd)) {
    case FILES_WAIT:
        return false;
    case FILES_FAILED:
        partition_fence(log, partition, (enum rc)segment->failed, "segment_seal_failed");
        seal_end(log, partition);
        return false;
    case FILES_READY:
        break;
    }
    struct log_job *job = jobs_take(log, JOB_SEAL, segment->slot, partition->sealing);
    if (job == NULL) {
        files_release(log, partition->sealing);
        return false;
    }
    job->job.kind = DISK_JOB_TRUNCATE;
    job->job.fd = fd;
    job->job.position = segment->file_bytes;
    jobs_send(log, job);
    return true;
}

/* Sealed segments that compaction has cleaned to their end. */
static uint32_t
seal_cleaned_count(const struct log *log, const struct partition *partition)
{
    uint32_t count = 0;

    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer, count++)
        if (!log->segments.segments[at].sealed ||
            log->segments.segments[at].next_offset > partition->cleaned_offset)
            break;
    return count;
}

bool
seal_write_manifest(struct log *log, struct partition *partition, enum job_purpose purpose)
{
    struct manifest_header header = {
        .incarnation = partition->incarnation,
        .generation = partition->manifest_generation + 1,
        .partition = partition->config.partition,
        .cleaned_count = seal_cleaned_count(log, partition),
    };

    if (partition->is_manifest_busy || log->manifests_free == 0)
        return false;
    uint32_t idx = (uint32_t)__builtin_ctz(log->manifests_free);
    struct log_job *job = jobs_take(log, purpose, partition_slot(log, partition), idx);
    if (job == NULL)
        return false;
    struct segment_space space = {
        .at = log->manifests + idx * log->manifest_bytes,
        .bytes = log->manifest_bytes,
    };
    bytes_copy(header.topic_id, sizeof(header.topic_id), partition->config.topic_id, 16);
    job->job.kind = DISK_JOB_REPLACE_FILE;
    job->job.buffer = space.at;
    job->job.bytes = segment_build_manifest(&log->segments, &partition->segments, &header, space);
    CHECK(job->job.bytes > 0);
    format_path_manifest(job->job.path, partition->incarnation);
    log->manifests_free &= ~BIT(idx);
    partition->is_manifest_busy = true;
    jobs_send(log, job);
    return true;
}

uint32_t
seal_poll(struct log *log)
{
    uint32_t work = 0;

    for (uint32_t i = 0; i < log->seals_count; i++) {
        struct partition *partition = &log->partitions[log->seals[i]];
        if (partition->seal == SEAL_FOOTER || partition->is_seal_sent)
            continue;
        if (partition->state == PARTITION_FENCED) {
            /* A sync of this segment may be what failed: a later one that succeeds proves nothing,
             * and a manifest must not call it sealed. */
            seal_end(log, partition);
            i--;
            work++;
            continue;
        }
        if (partition->space_retry_ns != 0 && log->now_ns < partition->space_retry_ns)
            continue;
        bool sent = partition->seal == SEAL_TRUNCATE
                        ? seal_send_truncate(log, partition)
                        : seal_write_manifest(log, partition, JOB_MANIFEST);
        partition->is_seal_sent = sent;
        work += sent;
    }
    return work;
}

void
seal_listed(struct log *log, struct segment *segment)
{
    segment->is_listed = true;
    log->transactions.has_listed = log->transactions.has_listed || segment->aborted_count > 0;
}

void
seal_job_done(struct log *log, struct log_job *job)
{
    struct partition *partition = &log->partitions[job->slot];
    enum rc rc = job->job.result;

    partition->is_seal_sent = false;
    if (job->purpose == JOB_SEAL) {
        files_release(log, job->aux);
    } else {
        partition->is_manifest_busy = false;
        log->manifests_free |= BIT(job->aux);
    }
    if (job->purpose == JOB_MANIFEST && rc_class(rc) == RC_CLASS_RETRY) {
        /* The old manifest stands; a new attempt writes a new file. */
        partition->space_retry_ns = log->now_ns + LOG_RETRY_NS;
        return;
    }
    if (rc != RC_OK) {
        partition_fence(log, partition, rc, "segment_seal_failed");
        seal_end(log, partition);
        return;
    }
    if (job->purpose == JOB_SEAL) {
        log->segments.segments[partition->sealing].sealed = true;
        log->segments.segments[partition->sealing].sealed_ms = log->wall_ms;
        partition->seal = SEAL_MANIFEST;
        return;
    }
    partition->manifest_generation++;
    seal_listed(log, &log->segments.segments[partition->sealing]);
    log_count(log, METRIC_SEGMENTS_ROLLED, 1);
    seal_end(log, partition);
    flush_consider(log, partition);
}
