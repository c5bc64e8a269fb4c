#include "log/retain/retain.h"

#include "engine/base/check.h"
#include "log/append/log_metrics.h"

enum retain_step { RETAIN_NONE, RETAIN_JOURNAL, RETAIN_CLOSE, RETAIN_MANIFEST, RETAIN_UNLINK };

/* The oldest segment when it may be deleted at all. */
static struct segment *
retain_candidate(const struct log *log, const struct partition *partition)
{
    uint32_t oldest = partition->segments.oldest;

    if (partition->state != PARTITION_OPEN || oldest == partition->segments.newest)
        return NULL;
    struct segment *segment = &log->segments.segments[oldest];
    return segment->sealed && oldest != partition->sealing ? segment : NULL;
}

static bool
retain_is_too_much(const struct log *log,
                   const struct partition *partition,
                   const struct segment *oldest)
{
    uint64_t limit = (uint64_t)partition->config.retention_bytes;
    uint64_t bytes = partition->end_bytes - partition->gathered_bytes;

    if (partition->config.retention_bytes < 0 || partition->config.keeps_old)
        return false;
    for (uint32_t at = oldest->newer; at != SEGMENT_NONE; at = log->segments.segments[at].newer)
        bytes += log->segments.segments[at].batch_bytes;
    return bytes >= limit;
}

static bool
retain_is_too_old(const struct log *log,
                  const struct partition *partition,
                  const struct segment *oldest)
{
    int64_t newest_ms = oldest->max_timestamp_ms >= 0 ? oldest->max_timestamp_ms
                                                      : oldest->sealed_ms;

    if (partition->config.retention_ms < 0 || partition->config.keeps_old ||
        newest_ms > log->wall_ms)
        return false;
    return log->wall_ms - newest_ms > partition->config.retention_ms;
}

static void
retain_begin(struct log *log,
             struct partition *partition,
             enum retain_step step,
             enum metric_deleted cause)
{
    partition->is_retaining = true;
    partition->retain_step = (uint8_t)step;
    partition->retain_cause = (uint8_t)cause;
    log->retains[log->retains_count++] = partition_slot(log, partition);
}

static void
retain_end(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    partition->is_retaining = false;
    partition->retain_step = RETAIN_NONE;
    for (uint32_t i = 0; i < log->retains_count; i++)
        if (log->retains[i] == slot) {
            log->retains[i] = log->retains[--log->retains_count];
            return;
        }
    CHECK(!"a deletion that nobody began");
}

/* Raises the start offset and journals it. False: no room now. */
static bool
retain_raise(struct log *log,
             struct partition *partition,
             uint64_t offset,
             const struct log_wait *wait)
{
    struct journal_entry entry;

    journal_entry_control(&entry, JOURNAL_START_OFFSET, partition->incarnation, offset, 0);
    if (!group_control(log, &entry, wait))
        return false;
    partition->start_offset = offset;
    log_publish_offsets(log, partition);
    partition_mark(log, partition);
    return true;
}

/* Looks at one partition; true when a deletion has begun. */
static bool
retain_look(struct log *log, struct partition *partition)
{
    const struct segment *oldest = retain_candidate(log, partition);

    /* A clean checkpoint may hold this partition already: nothing is deleted behind its back. */
    if (log->is_stopping || partition->is_compacting)
        return false;
    if (oldest == NULL || partition->is_retaining || log->retains_count == LOG_RETAINS_MAX)
        return false;
    if (oldest->next_offset <= partition->start_durable) {
        retain_begin(log, partition, RETAIN_CLOSE, METRIC_DELETED_TRIM);
        return true;
    }
    if (oldest->next_offset <= partition->start_offset)
        return false; /* a trim is on its way to the journal */
    bool too_old = retain_is_too_old(log, partition, oldest);
    if (!too_old && !retain_is_too_much(log, partition, oldest))
        return false;
    struct log_wait wait = {
        .kind = LOG_WAIT_RETAIN,
        .slot = partition_slot(log, partition),
        .incarnation = partition->incarnation,
        .offset = oldest->next_offset,
    };
    if (!retain_raise(log, partition, oldest->next_offset, &wait))
        return false;
    retain_begin(
        log, partition, RETAIN_JOURNAL, too_old ? METRIC_DELETED_TIME : METRIC_DELETED_SIZE);
    return true;
}

static void
retain_durable(struct log *log, uint32_t slot)
{
    struct partition *partition = &log->partitions[slot];

    if (partition->is_retaining && partition->retain_step == RETAIN_JOURNAL)
        partition->retain_step = RETAIN_CLOSE;
}

static bool
retain_close(struct log *log, struct partition *partition)
{
    uint32_t oldest = partition->segments.oldest;
    struct segment *segment = &log->segments.segments[oldest];

    if (segment->readers > 0 || !files_close(log, oldest) || segment->file != SEGMENT_NONE)
        return false;
    partition->retain_base = segment->base_offset;
    partition->retain_generation = segment->file_generation;
    log_count_label(log, SEGMENTS_DELETED, partition->retain_cause, 1);
    log_count(log, METRIC_BYTES_DELETED, segment->data_bytes);
    segment_pop(&log->segments, &partition->segments);
    partition->retain_step = RETAIN_MANIFEST;
    partition->is_retain_sent = false;
    return true;
}

static bool
retain_unlink(struct log *log, struct partition *partition)
{
    struct log_job *job = jobs_take(log, JOB_UNLINK, partition_slot(log, partition), 0);

    if (job == NULL)
        return false;
    job->job.kind = DISK_JOB_UNLINK;
    format_path_segment(job->job.path,
                        partition->incarnation,
                        partition->retain_base,
                        partition->retain_generation);
    jobs_send(log, job);
    return true;
}

static uint32_t
retain_step(struct log *log, struct partition *partition)
{
    if (partition->is_retain_sent)
        return 0;
    if (partition->space_retry_ns != 0 && log->now_ns < partition->space_retry_ns)
        return 0;
    switch ((enum retain_step)partition->retain_step) {
    case RETAIN_CLOSE:
        return retain_close(log, partition);
    case RETAIN_MANIFEST:
        partition->is_retain_sent = seal_write_manifest(log, partition, JOB_RETAIN_MANIFEST);
        return partition->is_retain_sent;
    case RETAIN_UNLINK:
        partition->is_retain_sent = retain_unlink(log, partition);
        return partition->is_retain_sent;
    case RETAIN_NONE:
    case RETAIN_JOURNAL:
        break;
    }
    return 0;
}

static void
retain_job(struct log *log, struct log_job *job)
{
    struct partition *partition = &log->partitions[job->slot];
    enum rc rc = job->job.result;

    partition->is_retain_sent = false;
    if (job->purpose == JOB_UNLINK) {
        /* A file that stays is removed at the next start: the manifest does not list it. */
        retain_end(log, partition);
        (void)retain_look(log, partition);
        return;
    }
    partition->is_manifest_busy = false;
    log->manifests_free |= BIT(job->aux);
    if (rc_class(rc) == RC_CLASS_RETRY) {
        partition->space_retry_ns = log->now_ns + LOG_RETRY_NS;
        return;
    }
    if (rc != RC_OK) {
        partition_fence(log, partition, rc, "manifest_write_failed");
        retain_end(log, partition);
        return;
    }
    partition->manifest_generation++;
    partition->retain_step = RETAIN_UNLINK;
}

static uint32_t
retain_poll(struct log *log, uint64_t now_ns)
{
    uint32_t work = 0;

    for (uint32_t i = log->retains_count; i-- > 0;)
        work += retain_step(log, &log->partitions[log->retains[i]]);
    if (now_ns < log->retain_next_ns || log->is_stopping)
        return work;
    if (log->retain_scan == 0)
        log->wall_ms = clock_wall_ms(log->config.clock);
    uint32_t end = min_u32(log->partition_high, log->retain_scan + RETAIN_PARTITIONS_PER_POLL);
    for (; log->retain_scan < end; log->retain_scan++) {
        struct partition *partition = &log->partitions[log->retain_scan];
        if (partition->incarnation == 0)
            continue;
        space_leave_old(log, partition);
        work += retain_look(log, partition);
    }
    if (log->retain_scan >= log->partition_high) {
        log->retain_scan = 0;
        log->retain_next_ns = now_ns + RETAIN_SCAN_NS;
    }
    return work;
}

void
retain_attach(struct log *log)
{
    log->hooks.retain_poll = retain_poll;
    log->hooks.retain_durable = retain_durable;
    log->hooks.retain_job = retain_job;
}

enum rc
log_trim(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t start_offset, uint64_t ctx)
{
    struct partition *partition = partition_of(log, slot, incarnation);
    struct log_event event = {.kind = LOG_EVENT_TRIMMED, .rc = RC_OK, .slot = slot, .ctx = ctx};

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    if (log->is_stopping)
        return RC_CLOSED;
    uint64_t high_watermark = partition->durable_offset;
    if (start_offset == UINT64_MAX)
        start_offset = high_watermark;
    if (start_offset > high_watermark)
        return RC_OFFSET_OUT_OF_RANGE;
    if (start_offset <= partition->start_offset) {
        event.start_offset = partition->start_offset;
        log_push_event(log, &event);
        return RC_OK;
    }
    struct log_wait wait = {
        .kind = LOG_WAIT_TRIM,
        .slot = slot,
        .incarnation = incarnation,
        .ctx = ctx,
        .offset = start_offset,
    };
    if (!retain_raise(log, partition, start_offset, &wait))
        return RC_AGAIN;
    log->retain_next_ns = 0; /* look for whole segments below it soon */
    return RC_OK;
}
