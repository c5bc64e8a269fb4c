/* The log tile's side of compaction: what is dirty, the swap, the old files.
 *
 *   NONE -> ASKED (the compactor works) -> MANIFEST (swapped in memory, being written)
 *        -> REMOVE (old files, one after the other) -> ASKED ... -> NONE
 *
 * One run per log tile at a time. A run fences nothing: what fails is told, counted and tried again
 * later. Runs on: the log tile. Allocates: nothing. Blocks: never. */
#include "log/compact/compact_inner.h"

#include "engine/base/check.h"
#include "log/append/log_metrics.h"

#include <string.h>

enum compact_step { COMPACT_NONE, COMPACT_ASKED, COMPACT_MANIFEST, COMPACT_REMOVE };

#define RATIO_ONE UINT64_C(1000000)

static bool
compact_owns(const struct compact_link *link)
{
    /* Pairs with the release of compactor_give(). */
    return atomic_load_explicit(&link->task.owner, memory_order_acquire) == COMPACT_OWNER_LOG;
}

static void
compact_give(struct log *log)
{
    struct compact_link *link = log->compact;

    link->step = COMPACT_ASKED;
    /* Pairs with the acquire of compactor_owns(). */
    atomic_store_explicit(&link->task.owner, COMPACT_OWNER_COMPACTOR, memory_order_release);
    if (link->compactor != NULL)
        waker_notify(link->compactor);
}

/* ---- what is dirty ---- */

struct compact_look {
    uint64_t clean_bytes;
    uint64_t dirty_bytes; /* that may be compacted now */
    uint32_t inputs;      /* segments from the oldest on */
    bool is_overdue;      /* max.compaction.lag.ms has passed for one */
};

/* May the segment be compacted, everything before it too? */
static bool
compact_may(const struct log *log,
            const struct partition *partition,
            uint32_t at,
            uint64_t last_stable)
{
    const struct segment *segment = &log->segments.segments[at];
    int64_t newest_ms = segment->max_timestamp_ms >= 0 ? segment->max_timestamp_ms
                                                       : segment->sealed_ms;

    if (!segment->sealed || at == partition->sealing || at == partition->segments.newest)
        return false;
    if (segment->next_offset > last_stable)
        return false;
    return partition->config.compaction_lag_min_ms == 0 ||
           newest_ms <= log->wall_ms - partition->config.compaction_lag_min_ms;
}

static struct compact_look
compact_look(const struct log *log, const struct partition *partition)
{
    uint64_t last_stable = partition_last_stable(partition);
    int64_t overdue_ms = log->wall_ms - partition->config.compaction_lag_max_ms;
    struct compact_look look = {0};

    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        const struct segment *segment = &log->segments.segments[at];
        bool is_clean = segment->next_offset <= partition->cleaned_offset;
        if (!is_clean && !compact_may(log, partition, at, last_stable))
            break;
        look.inputs++;
        if (is_clean) {
            look.clean_bytes += segment->batch_bytes;
            continue;
        }
        look.dirty_bytes += segment->batch_bytes;
        int64_t oldest_ms = segment->first_timestamp_ms >= 0 ? segment->first_timestamp_ms
                                                             : segment->sealed_ms;
        look.is_overdue = look.is_overdue || oldest_ms <= overdue_ms;
    }
    return look;
}

static bool
compact_is_ready(const struct log *log, const struct partition *partition)
{
    return partition->incarnation != 0 && partition->state == PARTITION_OPEN &&
           partition->config.is_compacted && !partition->is_compact_stopped &&
           !partition->is_retaining && log->now_ns >= partition->compact_retry_ns;
}

static void
compact_scan_one(struct log *log, uint32_t slot)
{
    struct compact_link *link = log->compact;
    const struct partition *partition = &log->partitions[slot];

    if (partition->incarnation == 0 || !partition->config.is_compacted)
        return;
    struct compact_look look = compact_look(log, partition);
    uint64_t total = look.clean_bytes + look.dirty_bytes;
    if (look.dirty_bytes == 0)
        return;
    uint64_t ratio = (uint64_t)((unsigned __int128)look.dirty_bytes * RATIO_ONE / total);
    link->scan_dirty_bytes += look.dirty_bytes;
    link->scan_ratio_max = max_u64(link->scan_ratio_max, ratio);
    bool due = look.is_overdue || ratio > partition->config.dirty_ratio_millionths;
    /* What is overdue goes before all that is only dirty. */
    ratio += look.is_overdue ? RATIO_ONE : 0;
    if (!due || !compact_is_ready(log, partition) ||
        (link->best != LOG_NONE && ratio <= link->best_ratio))
        return;
    link->best = slot;
    link->best_ratio = ratio;
}

/* ---- a run ---- */

static void
compact_fill(struct log *log, struct partition *partition, uint32_t count)
{
    struct compact_task *task = &log->compact->task;
    uint32_t at = partition->segments.oldest;

    task->incarnation = partition->incarnation;
    task->cleaned_offset = partition->cleaned_offset;
    task->segment_bytes = partition->config.segment_bytes;
    task->delete_retention_ms = partition->config.delete_retention_ms;
    task->now_ms = log->wall_ms;
    task->generation = ++partition->compact_generation;
    task->epoch_count = partition->epoch_count;
    for (uint32_t i = 0; i < partition->epoch_count; i++)
        task->epochs[i] = partition->epochs[i];
    task->input_count = min_u32(count, LOG_PARTITION_SEGMENTS_MAX);
    for (uint32_t i = 0; i < task->input_count; i++, at = log->segments.segments[at].newer) {
        const struct segment *segment = &log->segments.segments[at];
        task->inputs[i] = (struct compact_input){
            .base_offset = segment->base_offset,
            .next_offset = segment->next_offset,
            .data_bytes = segment->data_bytes,
            .file_bytes = segment->file_bytes,
            .batch_bytes = segment->batch_bytes,
            .file_generation = segment->file_generation,
        };
    }
}

/* False: there are more than the task can carry. */
static bool
compact_fill_aborted(struct log *log, const struct partition *partition)
{
    const struct transaction_aborted *table = log->transactions.aborted;
    struct compact_task *task = &log->compact->task;

    task->aborted_count = 0;
    uint32_t segment = partition->segments.oldest;
    for (uint32_t at = partition->transactions.aborted_oldest; at != TRANSACTION_NONE;
         at = table[at].newer) {
        if (transaction_is_told(log, &segment, table[at].entry.last_offset))
            continue;
        if (task->aborted_count == COMPACT_TASK_ABORTED_MAX)
            return false;
        task->aborted[task->aborted_count++] = table[at].entry;
    }
    return true;
}

static void
compact_begin(struct log *log, uint32_t slot)
{
    struct compact_link *link = log->compact;
    struct partition *partition = &log->partitions[slot];
    struct compact_look look = compact_look(log, partition);
    struct compact_task *task = &link->task;

    /* Between the scan and now it may have changed. */
    if (!compact_is_ready(log, partition) || look.dirty_bytes == 0 ||
        !compact_fill_aborted(log, partition))
        return;
    task->bytes_read = 0;
    task->bytes_written = 0;
    task->records_removed = 0;
    task->records_keyless = 0;
    task->batches_whole = 0;
    task->failed_base = 0;
    task->failed_position = UINT64_MAX;
    atomic_store_explicit(&task->is_cancelled, 0, memory_order_relaxed); /* before the give */
    compact_fill(log, partition, look.inputs);
    partition->is_compacting = true;
    link->slot = slot;
    link->began_ns = log->now_ns;
    link->retired = SEGMENT_NONE;
    compact_give(log);
}

static void
compact_count(struct log *log)
{
    struct compact_task *task = &log->compact->task;

    log_count(log, METRIC_COMPACTION_BYTES_READ, task->bytes_read);
    log_count(log, METRIC_COMPACTION_BYTES_WRITTEN, task->bytes_written);
    log_count(log, METRIC_COMPACTION_RECORDS_REMOVED, task->records_removed);
    log_count(log, METRIC_COMPACTION_RECORDS_KEYLESS, task->records_keyless);
    log_count(log, METRIC_COMPACTION_BATCHES_WHOLE, task->batches_whole);
    task->bytes_read = 0;
    task->bytes_written = 0;
    task->records_removed = 0;
    task->records_keyless = 0;
    task->batches_whole = 0;
}

static void
compact_end(struct log *log)
{
    struct compact_link *link = log->compact;

    log->partitions[link->slot].is_compacting = false;
    link->slot = LOG_NONE;
    link->step = COMPACT_NONE;
    link->scan_next_ns = 0; /* the next one may be waiting */
}

static void
compact_later(struct log *log, struct partition *partition)
{
    partition->compact_backoff_ns = partition->compact_backoff_ns == 0
                                        ? COMPACT_RETRY_MIN_NS
                                        : min_u64(2 * partition->compact_backoff_ns,
                                                  COMPACT_RETRY_MAX_NS);
    partition->compact_retry_ns = log->now_ns + partition->compact_backoff_ns;
}

/* All groups are swapped. */
static void
compact_done(struct log *log, struct partition *partition)
{
    struct compact_task *task = &log->compact->task;

    if (task->group_count == 0) {
        compact_later(log, partition); /* a transaction has to end first */
    } else {
        partition->compact_backoff_ns = 0;
        log_count(log, METRIC_COMPACTION_RUNS, 1);
        log_set(log,
                METRIC_COMPACTION_LAST_DURATION_MS,
                (log->now_ns - log->compact->began_ns) / NS_PER_MS);
    }
    compact_end(log);
}

static void
compact_failed(struct log *log, struct partition *partition)
{
    const struct compact_task *task = &log->compact->task;

    log_count_label(log, COMPACTION_FAILURES, (uint32_t)task->reason, 1);
    if (task->reason == COMPACT_REASON_CORRUPT) {
        partition->is_compact_stopped = true;
        diag_error("compaction_stopped",
                   "incarnation=%llu segment=%llu position=%llu rc=%s doing=not_compacted_any_more",
                   (unsigned long long)partition->incarnation,
                   (unsigned long long)task->failed_base,
                   (unsigned long long)task->failed_position,
                   rc_name(task->rc));
    } else if (task->reason != COMPACT_REASON_CANCELLED) {
        diag_warn("compaction_failed",
                  "incarnation=%llu rc=%s doing=tried_again_later",
                  (unsigned long long)partition->incarnation,
                  rc_name(task->rc));
    }
    compact_later(log, partition);
    compact_end(log);
}

/* ---- the swap ---- */

static uint32_t
compact_find_base(const struct log *log, const struct partition *partition, uint64_t base_offset)
{
    uint32_t at = partition->segments.oldest;

    while (at != SEGMENT_NONE && log->segments.segments[at].base_offset != base_offset)
        at = log->segments.segments[at].newer;
    return at;
}

/* No more of this run: the compactor removes what it has made. */
static void
compact_abandon(struct log *log)
{
    atomic_store_explicit(&log->compact->task.is_cancelled, 1, memory_order_relaxed);
    compact_give(log);
}

static void
compact_swap(struct log *log, struct partition *partition)
{
    struct compact_link *link = log->compact;
    const struct compact_task *task = &link->task;
    struct segment_pool *pool = &log->segments;
    uint32_t first = compact_find_base(log, partition, task->inputs[task->group_first].base_offset);

    CHECK(first != SEGMENT_NONE); /* nobody else deletes while is_compacting */
    /* From now on the new footer tells: a reader must not hear of one whose marker is gone. */
    transaction_forget_listed(log, partition, task->output.next_offset);
    uint32_t at = segment_replace(pool, &partition->segments, first, task->group_count);
    if (at == SEGMENT_NONE) {
        compact_abandon(log); /* no record is free */
        return;
    }
    struct segment *segment = &pool->segments[at];
    struct segment put = task->output;
    const struct segment *last = &pool->segments[first];
    while (last->newer != SEGMENT_NONE)
        last = &pool->segments[last->newer];
    put.number = segment->number;
    put.slot = segment->slot;
    put.file = SEGMENT_NONE;
    put.newer = segment->newer;
    put.older = segment->older;
    put.sealed = true;
    put.sealed_ms = last->sealed_ms;
    put.created_ms = pool->segments[first].created_ms;
    *segment = put;
    link->output = at;
    link->retired = first;
    link->old_cleaned = partition->cleaned_offset;
    /* All before the group is clean by now, and the group up to where the map reached. */
    partition->cleaned_offset = max_u64(partition->cleaned_offset,
                                        min_u64(put.next_offset, task->map_end));
    /* The ring may still have what was left out: from now on the file counts. */
    partition->tail_floor = max_u64(partition->tail_floor, put.next_offset);
    link->task.is_output_taken = true;
    link->step = COMPACT_MANIFEST;
    link->is_sent = false;
}

/* The manifest could not be written. Which one a crash would leave is not known, so the files of
 * both stay, and no later output takes the same name. */
static void
compact_swap_back(struct log *log, struct partition *partition)
{
    struct compact_link *link = log->compact;
    struct segment *output = &log->segments.segments[link->output];

    if (output->readers > 0 || !files_close(log, link->output) || output->file != SEGMENT_NONE)
        return; /* again in the next poll */
    segment_restore(&log->segments, &partition->segments, link->output, link->retired);
    partition->cleaned_offset = link->old_cleaned;
    link->retired = SEGMENT_NONE;
    link->is_swap_failed = false;
    compact_abandon(log);
}

/* Removes the next old file that nobody reads. */
static uint32_t
compact_remove(struct log *log, struct partition *partition)
{
    struct compact_link *link = log->compact;
    uint32_t at = link->retired;

    if (at == SEGMENT_NONE) {
        compact_give(log);
        return 1;
    }
    struct segment *segment = &log->segments.segments[at];
    if (segment->readers > 0 || !files_close(log, at) || segment->file != SEGMENT_NONE)
        return 0;
    struct log_job *job = jobs_take(log, JOB_COMPACT_UNLINK, link->slot, 0);
    if (job == NULL)
        return 0;
    job->job.kind = DISK_JOB_UNLINK;
    format_path_segment(
        job->job.path, partition->incarnation, segment->base_offset, segment->file_generation);
    jobs_send(log, job);
    link->retired = segment->newer;
    segment_give(&log->segments, at);
    link->is_sent = true;
    return 1;
}

static void
compact_job(struct log *log, struct log_job *job)
{
    struct compact_link *link = log->compact;
    struct partition *partition = &log->partitions[job->slot];
    enum rc rc = job->job.result;

    link->is_sent = false;
    if (job->purpose == JOB_COMPACT_UNLINK)
        return; /* a file that stays is removed at the next start: the manifest does not list it */
    partition->is_manifest_busy = false;
    log->manifests_free |= BIT(job->aux);
    if (rc == RC_OK) {
        partition->manifest_generation++;
        seal_listed(log, &log->segments.segments[link->output]);
        transaction_forget_listed(log, partition, log->segments.segments[link->output].next_offset);
        link->step = COMPACT_REMOVE;
        return;
    }
    diag_warn("compaction_manifest_failed",
              "incarnation=%llu rc=%s doing=back_to_the_old_segments",
              (unsigned long long)partition->incarnation,
              rc_name(rc));
    link->is_swap_failed = true;
}

/* ---- polling ---- */

/* The compactor has answered. */
static uint32_t
compact_answered(struct log *log, struct partition *partition)
{
    struct compact_task *task = &log->compact->task;

    compact_count(log);
    switch (task->answer) {
    case COMPACT_GROUP:
        /* A clean checkpoint may be on its way: nothing changes behind its back. */
        if (log->is_stopping || partition->state != PARTITION_OPEN)
            compact_abandon(log);
        else
            compact_swap(log, partition);
        return 1;
    case COMPACT_DONE:
        compact_done(log, partition);
        return 1;
    case COMPACT_FAILED:
        compact_failed(log, partition);
        return 1;
    }
    return 0;
}

static uint32_t
compact_advance(struct log *log)
{
    struct compact_link *link = log->compact;
    struct partition *partition = &log->partitions[link->slot];

    switch ((enum compact_step)link->step) {
    case COMPACT_ASKED:
        if (!compact_owns(link)) {
            if (log->is_stopping || partition->state != PARTITION_OPEN)
                atomic_store_explicit(&link->task.is_cancelled, 1, memory_order_relaxed);
            return 0;
        }
        return compact_answered(log, partition);
    case COMPACT_MANIFEST:
        if (link->is_swap_failed) {
            compact_swap_back(log, partition);
            return 1;
        }
        if (!link->is_sent)
            link->is_sent = seal_write_manifest(log, partition, JOB_COMPACT_MANIFEST);
        return link->is_sent;
    case COMPACT_REMOVE:
        return link->is_sent ? 0 : compact_remove(log, partition);
    case COMPACT_NONE:
        break;
    }
    return 0;
}

static void
compact_scan_end(struct log *log)
{
    struct compact_link *link = log->compact;

    log_set(log, METRIC_COMPACTION_DIRTY_BYTES, link->scan_dirty_bytes);
    log_set(log, METRIC_COMPACTION_DIRTY_RATIO_MAX, link->scan_ratio_max);
    uint32_t best = link->best;
    link->scan = 0;
    link->best = LOG_NONE;
    link->best_ratio = 0;
    link->scan_dirty_bytes = 0;
    link->scan_ratio_max = 0;
    link->scan_next_ns = log->now_ns + COMPACT_SCAN_NS;
    if (best != LOG_NONE)
        compact_begin(log, best);
}

static uint32_t
compact_poll(struct log *log, uint64_t now_ns)
{
    struct compact_link *link = log->compact;

    if (link->step != COMPACT_NONE) {
        /* Readers of an old file are waited for without a bell. */
        log->compact_next_ns = link->step == COMPACT_ASKED ? NO_DEADLINE : now_ns + NS_PER_MS;
        return compact_advance(log);
    }
    log->compact_next_ns = link->scan_next_ns;
    if (now_ns < link->scan_next_ns || log->is_stopping || log->is_failed)
        return 0;
    if (link->scan == 0)
        log->wall_ms = clock_wall_ms(log->config.clock);
    uint32_t end = min_u32(log->partition_high, link->scan + COMPACT_PARTITIONS_PER_POLL);
    for (; link->scan < end; link->scan++)
        compact_scan_one(log, link->scan);
    if (link->scan >= log->partition_high)
        compact_scan_end(log);
    return 0;
}

static bool
compact_has_work(const struct log *log)
{
    return log->compact->step == COMPACT_ASKED && compact_owns(log->compact);
}

static bool
compact_cancel(struct log *log, uint32_t slot)
{
    struct compact_link *link = log->compact;

    if (link->step == COMPACT_NONE || link->slot != slot)
        return false;
    atomic_store_explicit(&link->task.is_cancelled, 1, memory_order_relaxed);
    return true;
}

uint64_t
compact_link_footprint(void)
{
    return sizeof(struct compact_link);
}

struct compact_link *
compact_link_init(void *memory, struct waker *compactor_or_null, struct waker *log_or_null)
{
    struct compact_link *link = memory;

    memset(link, 0, sizeof(*link));
    link->compactor = compactor_or_null;
    link->log = log_or_null;
    link->slot = LOG_NONE;
    link->best = LOG_NONE;
    link->retired = SEGMENT_NONE;
    return link;
}

void
compact_attach(struct log *log, struct compact_link *link)
{
    log->compact = link;
    log->hooks.compact_poll = compact_poll;
    log->hooks.compact_job = compact_job;
    log->hooks.compact_has_work = compact_has_work;
    log->hooks.compact_cancel = compact_cancel;
}
