/* The table of partitions: finding, opening, dropping, fencing, and the small questions about one.
 */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <string.h>

static uint32_t
partition_bucket(const struct log *log, uint64_t incarnation)
{
    return (uint32_t)hash_xxh3(&incarnation, sizeof(incarnation), 0) & log->bucket_mask;
}

uint32_t
log_find(const struct log *log, uint64_t incarnation)
{
    for (uint32_t at = partition_bucket(log, incarnation);; at = (at + 1) & log->bucket_mask) {
        uint32_t slot = log->partition_buckets[at];
        if (slot == LOG_NONE || incarnation == 0)
            return UINT32_MAX;
        if (log->partitions[slot].incarnation == incarnation)
            return slot;
    }
}

static void
partition_rehash(struct log *log)
{
    memset(log->partition_buckets, 0xff, (size_t)(log->bucket_mask + 1) * sizeof(uint32_t));
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        uint64_t incarnation = log->partitions[slot].incarnation;
        if (incarnation == 0)
            continue;
        uint32_t at = partition_bucket(log, incarnation);
        while (log->partition_buckets[at] != LOG_NONE)
            at = (at + 1) & log->bucket_mask;
        log->partition_buckets[at] = slot;
    }
}

static uint32_t
partition_free_slot(const struct log *log)
{
    if (log->partition_high < log->config.partitions_max)
        return log->partition_high;
    for (uint32_t slot = 0; slot < log->partition_high; slot++)
        if (log->partitions[slot].incarnation == 0)
            return slot;
    return LOG_NONE;
}

struct partition *
partition_add(struct log *log, uint64_t incarnation)
{
    uint32_t slot = partition_free_slot(log);

    CHECK(incarnation != 0);
    if (slot == LOG_NONE)
        return NULL;
    struct partition *partition = &log->partitions[slot];
    *partition = (struct partition){
        .incarnation = incarnation,
        .gather = TAIL_NONE,
        .bulk_next = TAIL_NONE,
        .bulk_first = LOG_NONE,
        .state = PARTITION_FREE,
        .roll_offset = UINT64_MAX,
        .next_file = LOG_NONE,
        .sealing = SEGMENT_NONE,
        .max_timestamp_ms = -1,
        .synced = {.max_timestamp_ms = -1},
        .config = {.incarnation = incarnation,
                   .batch_bytes_max = BATCH_BYTES_MAX,
                   .segment_bytes = 128 * MIB,
                   .segment_ms = INT64_MAX,
                   .retention_ms = -1,
                   .retention_bytes = -1,
                   .timestamp_before_max_ms = INT64_MAX,
                   .timestamp_after_max_ms = INT64_MAX},
    };
    partition_move(log, partition, PARTITION_OPENING);
    partition_transactions_init(&partition->transactions);
    log_publish_partition(log, partition);
    tail_list_init(&partition->tail);
    segment_list_init(&partition->segments);
    index_init(&partition->index, log->index_entries + (uint64_t)slot * INDEX_ENTRIES_MAX);
    if (slot == log->partition_high)
        log->partition_high++;
    log->partition_count++;
    uint32_t at = partition_bucket(log, incarnation);
    while (log->partition_buckets[at] != LOG_NONE)
        at = (at + 1) & log->bucket_mask;
    log->partition_buckets[at] = slot;
    return partition;
}

bool
partition_begin_segment(struct log *log, struct partition *partition, uint64_t base_offset)
{
    uint32_t at = segment_push(
        &log->segments, &partition->segments, partition_slot(log, partition), base_offset);

    if (at == SEGMENT_NONE)
        return false;
    log->segments.segments[at].created_ms = log->wall_ms;
    index_clear(&partition->index);
    partition->write_position = 0;
    return true;
}

void
partition_remove(struct log *log, struct partition *partition)
{
    while (partition->segments.count > 0)
        segment_pop(&log->segments, &partition->segments);
    transaction_drop_all(log, partition);
    producers_forget(&log->producers, partition->incarnation);
    partition->incarnation = 0;
    partition_move(log, partition, PARTITION_FREE);
    log->partition_count--;
    partition_rehash(log);
}

enum rc
partition_refusal(const struct partition *partition)
{
    switch (partition->state) {
    case PARTITION_OPEN:
        return RC_OK;
    case PARTITION_FENCED:
        return RC_FENCED;
    case PARTITION_HALTED:
        return RC_HALTED;
    default:
        return RC_UNKNOWN_PARTITION;
    }
}

static void
partition_queue_mark(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    if (partition->armed == 0 || partition->is_marked)
        return;
    partition->is_marked = true;
    partition->next_mark = LOG_NONE;
    if (log->mark_last == LOG_NONE)
        log->mark_first = slot;
    else
        log->partitions[log->mark_last].next_mark = slot;
    log->mark_last = slot;
}

static void
partition_arm_all(struct partition *partition)
{
    partition->armed |= partition->armed_stable;
    partition->armed_stable = 0;
}

void
partition_mark(struct log *log, struct partition *partition)
{
    partition_arm_all(partition);
    partition_queue_mark(log, partition);
}

void
partition_mark_moved(struct log *log, struct partition *partition)
{
    if (partition->armed_stable != 0 && partition_last_stable(partition) != partition->stable_armed)
        partition_arm_all(partition);
    partition_queue_mark(log, partition);
}

/* A sign for the next start, once per process. It needs to outlive only this process: after a power
 * cut the kernel has no wrong belief left about what is durable. */
static void
partition_leave_sign(struct log *log)
{
    struct log_job *job = log->has_left_sign ? NULL : jobs_take(log, JOB_FORGET, LOG_NONE, 0);

    if (job == NULL)
        return;
    log->has_left_sign = true;
    job->job.kind = DISK_JOB_MAKE_DIRECTORY;
    memcpy(job->job.path, LOG_FENCED_PATH, sizeof(LOG_FENCED_PATH));
    jobs_send(log, job);
}

void
partition_fence(struct log *log, struct partition *partition, enum rc rc, const char *what)
{
    partition->has_failed = true;
    if (partition->state != PARTITION_OPEN && partition->state != PARTITION_OPENING)
        return;
    diag_error(what,
               "incarnation=%llu rc=%s doing=partition_fenced_until_restart",
               (unsigned long long)partition->incarnation,
               rc_name(rc));
    if (partition->state == PARTITION_OPENING) {
        struct log_event event = {.kind = LOG_EVENT_OPENED,
                                  .rc = rc,
                                  .slot = partition_slot(log, partition),
                                  .ctx = partition->ctx};
        log_push_event(log, &event);
    }
    partition_move(log, partition, PARTITION_FENCED);
    bulk_abandon(log, partition, RC_FENCED);
    partition_mark(log, partition);
    partition_leave_sign(log);
}

void
partition_epoch_add(struct partition *partition, int32_t epoch, uint64_t start_offset)
{
    uint32_t count = partition->epoch_count;

    /* An epoch in which nothing was written is replaced by the next one. */
    while (count > 0 && partition->epochs[count - 1].start_offset >= start_offset)
        count--;
    if (count == CHECKPOINT_EPOCHS_MAX) {
        /* The oldest are folded into the oldest kept. */
        for (uint32_t i = 1; i + 1 < count; i++)
            partition->epochs[i] = partition->epochs[i + 1];
        count--;
    }
    partition->epochs[count++] = (struct format_epoch){.epoch = epoch,
                                                       .start_offset = start_offset};
    partition->epoch_count = count;
    partition->leader_epoch = epoch;
}

void
log_push_event(struct log *log, const struct log_event *event)
{
    CHECK(log->events_next - log->events_first <= log->events_mask);
    log->events[log->events_next++ & log->events_mask] = *event;
}

/* ---- open: directory, first segment, OPEN entry, event ---- */

static void
partition_open_end(struct log *log, struct partition *partition, enum rc rc)
{
    struct log_event event = {
        .kind = LOG_EVENT_OPENED,
        .rc = rc,
        .slot = partition_slot(log, partition),
        .ctx = partition->ctx,
        .start_offset = partition->start_offset,
    };

    if (rc == RC_OK) {
        partition_move(log, partition, PARTITION_OPEN);
        partition->open_step = OPEN_DONE;
    } else {
        event.slot = UINT32_MAX;
        partition_remove(log, partition);
    }
    log_push_event(log, &event);
}

static void
partition_open_queue(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    partition->next_open = LOG_NONE;
    if (log->open_last == LOG_NONE)
        log->open_first = slot;
    else
        log->partitions[log->open_last].next_open = slot;
    log->open_last = slot;
}

enum rc
log_open(struct log *log, const struct log_partition_config *config, uint64_t ctx)
{
    uint32_t slot = log_find(log, config->incarnation);
    struct log_event event = {.kind = LOG_EVENT_OPENED, .rc = RC_OK, .slot = slot, .ctx = ctx};

    if (config->incarnation == 0)
        return RC_INVALID;
    if (log->is_stopping)
        return RC_CLOSED;
    if (log->is_failed)
        return RC_FENCED;
    if (slot != UINT32_MAX) {
        struct partition *partition = &log->partitions[slot];
        if (partition->state == PARTITION_OPENING || partition->state == PARTITION_DROPPING)
            return RC_AGAIN;
        partition->config = *config;
        partition->durability = (uint8_t)config->durability;
        partition->is_named = true;
        event.start_offset = partition->start_offset;
        log_push_event(log, &event);
        return RC_OK;
    }
    struct partition *partition = partition_add(log, config->incarnation);
    if (partition == NULL)
        return RC_LIMIT;
    partition->config = *config;
    partition->durability = (uint8_t)config->durability;
    partition->ctx = ctx;
    partition->is_named = true;
    partition->open_step = OPEN_DIRECTORY;
    if (!partition_begin_segment(log, partition, 0)) {
        partition_remove(log, partition);
        return RC_LIMIT;
    }
    partition_epoch_add(partition, 0, 0);
    partition->synced = partition_mark_now(log, partition);
    partition_open_queue(log, partition);
    return RC_OK;
}

/* Starts the next step of one opening partition; false when it has to wait for room. */
static bool
partition_open_step(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);
    struct log_job *job;

    switch ((enum partition_open_step)partition->open_step) {
    case OPEN_DIRECTORY:
        job = jobs_take(log, JOB_DIRECTORY, slot, 0);
        if (job == NULL)
            return false;
        job->job.kind = DISK_JOB_MAKE_DIRECTORY;
        format_path_partition(job->job.path, partition->incarnation);
        jobs_send(log, job);
        return true;
    case OPEN_SEGMENT:
        job = jobs_take(log, JOB_FIRST_SEGMENT, slot, 0);
        if (job == NULL)
            return false;
        job->job.kind = DISK_JOB_SEGMENT_CREATE;
        job->job.bytes = LOG_ALLOCATE_MIN_BYTES;
        format_path_segment(job->job.path, partition->incarnation, 0, 0);
        jobs_send(log, job);
        return true;
    case OPEN_JOURNAL: {
        struct journal_entry entry;
        struct log_wait wait = {
            .kind = LOG_WAIT_OPEN, .slot = slot, .incarnation = partition->incarnation};
        journal_entry_open(&entry,
                           partition->incarnation,
                           partition->config.topic_id,
                           partition->config.partition);
        return group_control(log, &entry, &wait);
    }
    case OPEN_DONE:
        break;
    }
    return true;
}

uint32_t
partition_poll_opens(struct log *log)
{
    uint32_t work = 0;

    while (log->open_first != LOG_NONE) {
        struct partition *partition = &log->partitions[log->open_first];
        if (partition->state == PARTITION_OPENING && !partition_open_step(log, partition))
            break;
        log->open_first = partition->next_open;
        if (log->open_first == LOG_NONE)
            log->open_last = LOG_NONE;
        work++;
    }
    return work;
}

/* ---- drop: DROP entry, quiet, files closed, directory removed, event ---- */

uint32_t
log_next_unnamed(const struct log *log, uint64_t *ret_incarnation)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        const struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0 || partition->is_named ||
            partition->state == PARTITION_DROPPING)
            continue;
        *ret_incarnation = partition->incarnation;
        return slot;
    }
    return UINT32_MAX;
}

enum rc
log_drop(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t ctx)
{
    struct partition *partition = partition_of(log, slot, incarnation);

    if (partition == NULL || partition->state == PARTITION_DROPPING)
        return RC_UNKNOWN_PARTITION;
    if (log->is_stopping)
        return RC_CLOSED;
    if (log->is_failed)
        return RC_FENCED;
    if (partition->state == PARTITION_OPENING || partition->is_retaining)
        return RC_AGAIN;
    if (log->drops_count == LOG_DROPS_MAX)
        return RC_AGAIN;
    if (log->hooks.compact_cancel != NULL && log->hooks.compact_cancel(log, slot))
        return RC_AGAIN;
    struct journal_entry entry;
    struct log_wait wait = {
        .kind = LOG_WAIT_DROP, .slot = slot, .incarnation = incarnation, .ctx = ctx};
    journal_entry_control(&entry, JOURNAL_DROP, incarnation, 0, 0);
    if (!group_control(log, &entry, &wait))
        return RC_AGAIN;
    partition_move(log, partition, PARTITION_DROPPING);
    partition->drop_step = DROP_JOURNAL;
    partition->ctx = ctx;
    log->drops[log->drops_count++] = slot;
    partition_mark(log, partition);
    return RC_OK;
}

/* Its batches in the ring belong to no one from now on. Bounded per call; true when none is left.
 */
static bool
partition_forget_tail(struct log *log, struct partition *partition)
{
    for (uint32_t i = 0; i < 4096; i++) {
        if (partition->tail.oldest == TAIL_NONE)
            return true;
        uint64_t at = partition->tail.oldest;
        uint64_t newer = tail_newer(&log->tail, &partition->tail, at);
        tail_at(&log->tail, at)->slot = TAIL_NO_SLOT;
        partition->tail.oldest = newer;
        if (newer == TAIL_NONE)
            tail_list_init(&partition->tail);
    }
    return false;
}

static bool
partition_close_files(struct log *log, struct partition *partition)
{
    bool closed = true;

    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        if (log->segments.segments[at].readers > 0)
            closed = false;
        else if (!files_close(log, at))
            closed = false;
    }
    return closed;
}

/* One step of one partition that is being dropped; true when something moved. */
static bool
partition_drop_step(struct log *log, struct partition *partition)
{
    struct log_job *job;

    switch ((enum partition_drop_step)partition->drop_step) {
    case DROP_JOURNAL:
        return false; /* moved by partition_wait_done() */
    case DROP_QUIET:
        if (partition->jobs > 0 || partition->is_flushing || partition->seal != SEAL_NONE ||
            partition->is_flush_queued || partition->is_bulk_queued || partition->is_marked)
            return false;
        bulk_abandon(log, partition, RC_UNKNOWN_PARTITION);
        if (!partition_forget_tail(log, partition))
            return true;
        partition->drop_step = DROP_CLOSE;
        return true;
    case DROP_CLOSE:
        if (partition->next_file != LOG_NONE) {
            if (!files_discard(log, partition->next_file))
                return false;
            partition->next_file = LOG_NONE;
        }
        if (!partition_close_files(log, partition) || partition->jobs > 0)
            return false;
        job = jobs_take(log, JOB_REMOVE_TREE, partition_slot(log, partition), 0);
        if (job == NULL)
            return false;
        job->job.kind = DISK_JOB_REMOVE_TREE;
        format_path_partition(job->job.path, partition->incarnation);
        jobs_send(log, job);
        partition->drop_step = DROP_TREE;
        return true;
    case DROP_TREE:
        return false; /* ends in partition_job_done() */
    }
    return false;
}

uint32_t
partition_poll_drops(struct log *log)
{
    uint32_t work = 0;

    for (uint32_t i = 0; i < log->drops_count; i++)
        work += partition_drop_step(log, &log->partitions[log->drops[i]]);
    return work;
}

/* ---- what comes back ---- */

void
partition_wait_done(struct log *log, const struct log_wait *wait)
{
    struct partition *partition = partition_of(log, wait->slot, wait->incarnation);
    struct log_event event = {.rc = RC_OK, .slot = wait->slot, .ctx = wait->ctx};

    if (partition == NULL)
        return;
    switch (wait->kind) {
    case LOG_WAIT_OPEN:
        if (partition->state == PARTITION_OPENING)
            partition_open_end(log, partition, RC_OK);
        break;
    case LOG_WAIT_DROP:
        partition->drop_step = DROP_QUIET;
        break;
    case LOG_WAIT_TRIM:
        partition->start_durable = max_u64(partition->start_durable, wait->offset);
        event.kind = LOG_EVENT_TRIMMED;
        event.start_offset = wait->offset;
        log_push_event(log, &event);
        break;
    case LOG_WAIT_BULK:
        bulk_durable(log, partition, wait);
        break;
    case LOG_WAIT_RETAIN:
        if (log->hooks.retain_durable != NULL)
            log->hooks.retain_durable(log, wait->slot);
        break;
    }
}

static void
partition_count_deleted(struct log *log, const struct partition *partition)
{
    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        log_count_label(log, SEGMENTS_DELETED, METRIC_DELETED_TOPIC, 1);
        log_count(log, METRIC_BYTES_DELETED, log->segments.segments[at].data_bytes);
    }
}

void
partition_job_done(struct log *log, struct log_job *job)
{
    struct partition *partition = &log->partitions[job->slot];
    enum rc rc = job->job.result;

    if (job->purpose == JOB_REMOVE_TREE) {
        struct log_event event = {
            .kind = LOG_EVENT_DROPPED, .rc = rc, .slot = job->slot, .ctx = partition->ctx};
        /* When files are left, the next start finds a directory that no one knows and removes it.
         */
        for (uint32_t i = 0; i < log->drops_count; i++)
            if (log->drops[i] == job->slot)
                log->drops[i] = log->drops[--log->drops_count];
        if (rc == RC_OK)
            partition_count_deleted(log, partition);
        partition_remove(log, partition);
        log_push_event(log, &event);
        return;
    }
    if (partition->state != PARTITION_OPENING)
        return;
    if (rc != RC_OK) {
        partition_open_end(log, partition, rc);
        return;
    }
    if (job->purpose == JOB_DIRECTORY) {
        partition->open_step = OPEN_SEGMENT;
    } else {
        /* Without a free handle the file is opened again when it is needed. */
        (void)files_adopt(log, job->job.fd, partition->segments.newest);
        partition->allocated = job->job.bytes;
        partition->open_step = OPEN_JOURNAL;
    }
    partition_open_queue(log, partition);
}
