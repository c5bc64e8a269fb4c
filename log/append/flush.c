/* From the slab ring into segments: durable batches are gathered as runs into a staging buffer and
 * written, unsynced.
 *
 * Order: only what its group made durable is gathered (A1); one write per partition at a time; few
 * writes beside a commit group, because unpaced they starve commits (p99 219 -> 783 us on the
 * development machine). */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"

#include <errno.h>

#define FLUSH_SCAN_ENTRIES 4096u
#define FLUSH_TRIES_PER_POLL 32u

enum flush_start { FLUSH_STARTED, FLUSH_WAITS, FLUSH_NOTHING };

/* How far a gather goes. */
struct flush_reach {
    uint64_t end;      /* offset */
    uint32_t bulk_max; /* batches that the journal does not have */
};

static struct segment_space
flush_staging(const struct log *log, uint32_t flush_idx)
{
    return (struct segment_space){
        .at = log->staging + (uint64_t)flush_idx * LOG_STAGING_BYTES,
        .bytes = flush_idx < LOG_STAGING_COUNT ? LOG_STAGING_BYTES : LOG_STAGING_LARGE_BYTES,
    };
}

static bool
flush_is_wanted(const struct log *log, const struct partition *partition)
{
    if (partition->gather == TAIL_NONE || partition->durable_bytes <= partition->gathered_bytes)
        return false;
    if (partition->bulk_next != TAIL_NONE)
        return false; /* the next bulk write takes it along */
    return partition->durable_bytes - partition->gathered_bytes >= LOG_FLUSH_BYTES ||
           partition->is_forced || partition->gather < log->pin_end;
}

/* A partition whose drop is not durable yet is flushed like any other: should the drop be lost, it
 * comes back; and the drop may have to wait for the journal file that its batches pin. */
bool
flush_is_allowed(const struct partition *partition)
{
    return !partition->has_failed &&
           (partition->state == PARTITION_OPEN ||
            (partition->state == PARTITION_DROPPING && partition->drop_step == DROP_JOURNAL));
}

static void
flush_queue(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    partition->is_flush_queued = true;
    partition->next_flush = LOG_NONE;
    if (log->flush_last == LOG_NONE)
        log->flush_first = slot;
    else
        log->partitions[log->flush_last].next_flush = slot;
    log->flush_last = slot;
    log->flush_queued++;
}

void
flush_consider(struct log *log, struct partition *partition)
{
    bulk_consider(log, partition);
    if (partition->is_flush_queued || partition->is_flushing || !flush_is_allowed(partition))
        return;
    if (flush_is_wanted(log, partition))
        flush_queue(log, partition);
}

static uint64_t
flush_gather_until(struct log *log,
                   struct partition *partition,
                   uint32_t flush_idx,
                   const struct flush_reach *reach)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct segment_space staging = flush_staging(log, flush_idx);
    struct run_builder builder;
    uint64_t at = partition->gather;

    flush->stats = *partition_active(log, partition);
    flush->batch_bytes = 0;
    flush->bulk_count = 0;
    staging.bytes = min_u64(staging.bytes, partition->allocated - partition->write_position);
    run_builder_begin(&builder, staging, partition->incarnation, &flush->stats, &partition->index);
    CHECK(builder.position == partition->write_position);
    while (at != TAIL_NONE) {
        const struct tail_entry *entry = tail_at(&log->tail, at);
        if (entry->base_offset >= reach->end || entry->base_offset >= partition->roll_offset ||
            flush->bulk_count + entry->is_bulk > reach->bulk_max)
            break;
        struct run_batch batch = {
            .bytes = slab_ring_at(&log->ring, entry->position),
            .count = entry->bytes,
            .last_delta = entry->last_delta,
            .base_offset = entry->base_offset,
            .max_timestamp_ms = entry->max_timestamp,
        };
        if (!run_builder_add(&builder, &batch))
            break;
        flush->batch_bytes += entry->bytes;
        flush->bulk_count += entry->is_bulk;
        at = tail_newer(&log->tail, &partition->tail, at);
    }
    flush->bytes = run_builder_end(&builder);
    if (flush->bytes == 0)
        return 0;
    flush->runs = builder.run_count;
    flush->last_run_bytes = builder.last_run_bytes;
    flush->kind = FLUSH_RUNS;
    flush->slot = partition_slot(log, partition);
    flush->segment = partition->segments.newest;
    flush->position = partition->write_position;
    flush->done = 0;
    partition->gather = at;
    partition->gathered_bytes += flush->batch_bytes;
    partition->write_position += flush->bytes;
    partition->is_flushing = true;
    return flush->bytes;
}

uint64_t
flush_gather(struct log *log, struct partition *partition, uint32_t flush_idx)
{
    struct flush_reach reach = {.end = partition->durable_offset};

    return flush_gather_until(log, partition, flush_idx, &reach);
}

uint64_t
flush_gather_bulk(struct log *log,
                  struct partition *partition,
                  uint32_t flush_idx,
                  uint32_t bulk_max)
{
    struct flush_reach reach = {.end = UINT64_MAX, .bulk_max = bulk_max};

    return flush_gather_until(log, partition, flush_idx, &reach);
}

/* A staging buffer for the next write: the small ones first; only a long batch needs the large one.
 */
static uint32_t
flush_idle(const struct log *log, bool large)
{
    if (large)
        return log->flushes[LOG_STAGING_COUNT].kind == FLUSH_IDLE ? LOG_STAGING_COUNT : LOG_NONE;
    for (uint32_t i = 0; i < LOG_STAGING_COUNT; i++)
        if (log->flushes[i].kind == FLUSH_IDLE)
            return i;
    return LOG_NONE;
}

void
flush_submit(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    enum log_tag kind = flush->kind == FLUSH_FOOTER ? LOG_TAG_FOOTER : LOG_TAG_FLUSH;
    struct io_request request = {
        .tag = io_tag(log->config.io_tile, LOG_TAG(kind, flush_idx)),
        .op = IO_WRITE,
        .fd = flush->fd,
        .buffer = flush_staging(log, flush_idx).at + flush->done,
        .bytes = (uint32_t)(flush->bytes - flush->done),
        .position = flush->position + flush->done,
    };

    flush->is_unsent = !io_submit(log->config.io, &request);
}

bool
flush_footer(struct log *log, uint32_t segment_idx, int fd)
{
    struct segment *segment = &log->segments.segments[segment_idx];
    struct partition *partition = &log->partitions[segment->slot];
    uint32_t idx = flush_idle(log, false);

    if (idx == LOG_NONE)
        return false;
    struct log_flush *flush = &log->flushes[idx];
    struct segment_space staging = flush_staging(log, idx);
    /* Gathered where the footer does not reach. */
    struct aborted_entry *aborted = (void *)(staging.at + SEGMENT_FOOTER_BYTES_MAX);
    const struct segment_history history = {
        .incarnation = partition->incarnation,
        .index = &partition->index,
        .epochs = partition->epochs,
        .epoch_count = partition->epoch_count,
        .aborted = aborted,
        .aborted_count = transaction_aborted_of(log, segment, aborted)};
    flush->bytes = segment_build_footer(segment, &history, staging);
    CHECK(flush->bytes <= SEGMENT_FOOTER_BYTES_MAX);
    CHECK(flush->bytes > 0);
    flush->kind = FLUSH_FOOTER;
    flush->slot = segment->slot;
    flush->segment = segment_idx;
    flush->fd = fd;
    flush->position = segment->data_bytes;
    flush->done = 0;
    log->flushes_active++;
    flush_submit(log, idx);
    return true;
}

uint32_t
flush_prepare(struct log *log, struct partition *partition)
{
    const struct tail_entry *first = tail_at(&log->tail, partition->gather);
    int fd;

    if (first->base_offset >= partition->roll_offset) {
        if (partition->roll != ROLL_READY || !seal_roll(log, partition))
            return LOG_NONE;
    }
    uint32_t idx = flush_idle(log, first->bytes + 2 * FORMAT_BLOCK_BYTES > LOG_STAGING_BYTES);
    if (idx == LOG_NONE || files_acquire(log, partition->segments.newest, true, &fd) != FILES_READY)
        return LOG_NONE;
    log->flushes[idx].fd = fd;
    return idx;
}

void
flush_give_back(struct log *log, struct partition *partition)
{
    files_release(log, partition->segments.newest);
    (void)space_reserve(log, partition, 0);
}

static enum flush_start
flush_start(struct log *log, struct partition *partition)
{
    if (!flush_is_allowed(partition) || !flush_is_wanted(log, partition))
        return FLUSH_NOTHING;
    uint32_t idx = flush_prepare(log, partition);
    if (idx == LOG_NONE)
        return flush_is_allowed(partition) ? FLUSH_WAITS : FLUSH_NOTHING; /* fenced by now */
    if (flush_gather(log, partition, idx) == 0) {
        flush_give_back(log, partition);
        return FLUSH_WAITS;
    }
    log->flushes_active++;
    flush_submit(log, idx);
    return FLUSH_STARTED;
}

/* ---- what must be flushed although it is little ---- */

bool
flush_pins(const struct log *log, const struct tail_entry *entry)
{
    if (entry->slot == TAIL_NO_SLOT)
        return false;
    const struct partition *partition = &log->partitions[entry->slot];
    /* What a fenced partition has not flushed stays in the journal; reclaim knows. */
    return entry->base_offset >= partition->flushed_offset && !partition->has_failed &&
           (partition->state == PARTITION_OPEN || partition->state == PARTITION_DROPPING);
}

uint64_t
flush_span(struct log *log)
{
    while (log->unflushed < log->durable_entry &&
           !flush_pins(log, tail_at(&log->tail, log->unflushed)))
        log->unflushed++;
    if (log->unflushed >= log->tail.next)
        return 0;
    return log->ring.head - tail_at(&log->tail, log->unflushed)->position;
}

/* When the unflushed part of the ring grows to 3/8, what stands in its oldest eighth is flushed,
 * however little. */
static void
flush_pin_ring(struct log *log)
{
    uint64_t span = flush_span(log);

    if (span <= log->ring.bytes / 8 * 3 && log->tail.next - log->unflushed <= log->tail.mask / 2)
        return;
    uint64_t until = tail_at(&log->tail, log->unflushed)->position + log->ring.bytes / 8;
    uint64_t at = max_u64(log->pin_end, log->unflushed);
    for (uint32_t i = 0; i < FLUSH_SCAN_ENTRIES && at < log->tail.next; i++, at++)
        if (tail_at(&log->tail, at)->position >= until)
            break;
    log->pin_end = max_u64(log->pin_end, at);
}

/* Partitions of pinned entries come into the queue. */
static void
flush_scan_pins(struct log *log)
{
    log->pin_scan = max_u64(log->pin_scan, log->unflushed);
    uint64_t end = min_u64(log->pin_end, log->pin_scan + FLUSH_SCAN_ENTRIES);
    /* Entries that are not durable yet are met again by group_make_durable(). */
    end = min_u64(end, log->durable_entry);
    for (; log->pin_scan < end; log->pin_scan++) {
        uint32_t slot = tail_at(&log->tail, log->pin_scan)->slot;
        if (slot != TAIL_NO_SLOT)
            flush_consider(log, &log->partitions[slot]);
    }
}

/* How many segment writes may be under way: few beside a commit group, more as the unflushed part
 * of the ring grows towards its limit, where appends would have to wait anyway. */
static uint32_t
flush_limit(const struct log *log)
{
    bool group_waits = journal_in_flight(log->journal) > 0 ||
                       journal_open_entry_count(log->journal) > 0;

    if (!group_waits)
        return LOG_FLUSHES_MAX;
    if (log->unflushed >= log->tail.next)
        return LOG_FLUSHES_BESIDE_GROUP;
    uint64_t span = log->ring.head - tail_at(&log->tail, log->unflushed)->position;
    if (span <= log->ring.bytes / 4)
        return LOG_FLUSHES_BESIDE_GROUP;
    return span <= log->ring.bytes / 8 * 3 ? 2 * LOG_FLUSHES_BESIDE_GROUP : LOG_FLUSHES_MAX;
}

uint32_t
flush_poll(struct log *log)
{
    uint32_t limit = flush_limit(log);
    uint32_t work = 0;

    bool is_active = log->flushes_active + log->bulks_active > 0;
    for (uint32_t i = 0; is_active && i < LOG_FLUSHES_MAX; i++)
        if (log->flushes[i].kind != FLUSH_IDLE && log->flushes[i].is_unsent)
            flush_submit(log, i);
    flush_pin_ring(log);
    flush_scan_pins(log);
    uint32_t tries = min_u32(log->flush_queued, FLUSH_TRIES_PER_POLL);
    for (; tries > 0 && log->flushes_active < limit; tries--) {
        struct partition *partition = &log->partitions[log->flush_first];
        log->flush_first = partition->next_flush;
        if (log->flush_first == LOG_NONE)
            log->flush_last = LOG_NONE;
        log->flush_queued--;
        partition->is_flush_queued = false;
        switch (flush_start(log, partition)) {
        case FLUSH_STARTED:
            work++;
            break;
        case FLUSH_WAITS:
            flush_queue(log, partition);
            break;
        case FLUSH_NOTHING:
            break;
        }
    }
    return work;
}

/* ---- completion ---- */

void
flush_written(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct partition *partition = &log->partitions[flush->slot];
    struct segment *segment = &log->segments.segments[flush->segment];

    CHECK(flush->segment == partition->segments.newest);
    CHECK(segment->data_bytes == flush->position);
    segment->next_offset = flush->stats.next_offset;
    segment->data_bytes = flush->stats.data_bytes;
    segment->batch_bytes = flush->stats.batch_bytes;
    segment->record_count = flush->stats.record_count;
    segment->first_timestamp_ms = flush->stats.first_timestamp_ms;
    segment->max_timestamp_ms = flush->stats.max_timestamp_ms;
    segment->max_timestamp_offset = flush->stats.max_timestamp_offset;
    partition->flushed_offset = segment->next_offset;
    partition->is_dirty = true;
    log_count(log, METRIC_RUNS_FLUSHED, flush->runs);
    log_count(log, METRIC_BYTES_FLUSHED, flush->bytes);
    log_stamp(log, TRACE_FLUSH, segment->next_offset);
    partition->last_run_bytes = flush->last_run_bytes;
    partition->bulk_written += flush->bulk_count;
    flush->kind = FLUSH_IDLE;
    partition->is_flushing = false;
    if (!flush_is_wanted(log, partition))
        partition->is_forced = false;
    flush_consider(log, partition);
}

static void
flush_failed(struct log *log, uint32_t flush_idx, int32_t result)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct partition *partition = &log->partitions[flush->slot];

    if (flush->kind == FLUSH_FOOTER)
        seal_failed(log, partition);
    flush->kind = FLUSH_IDLE;
    partition->is_flushing = false;
    partition_fence(
        log, partition, result < 0 ? rc_from_errno(-result) : RC_IO_ERROR, "segment_write_failed");
}

void
flush_complete(struct log *log, uint32_t flush_idx, int32_t result)
{
    struct log_flush *flush = &log->flushes[flush_idx];

    CHECK(flush->kind != FLUSH_IDLE);
    if (result > 0 && flush->done + (uint32_t)result < flush->bytes) {
        /* A short write goes on from the last whole block it reached. */
        uint64_t done = round_down(flush->done + (uint32_t)result, FORMAT_BLOCK_BYTES);
        if (done > flush->done) {
            flush->done = done;
            flush_submit(log, flush_idx);
            return;
        }
        result = -EIO;
    }
    if (flush->is_bulk)
        log->bulks_active--;
    else
        log->flushes_active--;
    flush->is_bulk = false;
    files_release(log, flush->segment);
    if (result <= 0)
        flush_failed(log, flush_idx, result);
    else if (flush->kind == FLUSH_RUNS)
        flush_written(log, flush_idx);
    else
        seal_footer_written(log, flush_idx);
}

bool
flush_evict(struct log *log, uint64_t count)
{
    while (tail_is_full(&log->tail) || !slab_ring_has_room(&log->ring, count)) {
        if (log->tail.oldest >= log->unflushed) {
            (void)flush_span(log);
            if (log->tail.oldest >= log->unflushed)
                return false;
        }
        const struct tail_entry *oldest = tail_at(&log->tail, log->tail.oldest);
        if (oldest->slot != TAIL_NO_SLOT &&
            log->partitions[oldest->slot].bulk_next == log->tail.oldest)
            return false; /* written, but the journal does not name it yet */
        struct tail_list *list = oldest->slot == TAIL_NO_SLOT ? NULL
                                                              : &log->partitions[oldest->slot].tail;
        tail_pop(&log->tail, list);
        uint64_t position = log->ring.group_begin;
        if (!tail_is_empty(&log->tail))
            position = min_u64(position, tail_at(&log->tail, log->tail.oldest)->position);
        slab_ring_evict(&log->ring, position);
    }
    return true;
}
