/* The bulk bypass: a partition with much in one group is written straight to its segment, and the
 * journal holds references (decision 0005). Bulk then costs its bytes once instead of twice.
 *
 *   log_append -> ring, tail entry, no journal entry -> bulk write: all of the partition that is
 *   not in its segment yet, as runs -> fdatasync -> REFERENCE of each batch and one MARK into the
 *   open group, acks behind them -> group durable -> acks go out
 *
 * The order is the whole proof (A6): what the journal refers to is on the device before the group
 * is submitted, with everything before it in the segment, so a MARK is a checkpoint of one
 * partition. A run that is lost or torn was never referred to. While a partition has a batch that
 * the journal does not name, all that follow go the same way: the journal never names a batch
 * before the one in front of it. One bulk write per partition is under way; what arrives meanwhile
 * is the next one. A MARK waits for the seal of the segment before (its manifest must be durable)
 * and for a sync by reclaim (which might fail for bytes in front of it).
 *
 * Runs on: the log tile. Allocates: nothing. Blocks: never. */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"

#define BULK_TRIES_PER_POLL 16u

void
bulk_init(struct log *log, uint32_t entries_max)
{
    log->bulk_entries_max = min_u32(LOG_BULK_BATCHES_MAX, entries_max - 1);
    log->bulk_free = 0;
    for (uint32_t i = 0; i < LOG_ACKS_MAX; i++)
        log->bulks[i].next = i + 1 < LOG_ACKS_MAX ? i + 1 : LOG_NONE;
}

/* ---- on the way in ---- */

bool
bulk_is_due(const struct log *log, const struct partition *partition, uint64_t bytes)
{
    uint64_t in_group = 0;

    if (partition->bulk_next != TAIL_NONE)
        return true;
    if (log->config.bulk_bytes == 0 || log->bulk_entries_max == 0)
        return false;
    /* A MARK would have to wait for the seal: the journal is quicker. */
    if (partition->roll != ROLL_NONE || partition->sealing != SEGMENT_NONE)
        return false;
    if (partition->is_bulk_warm)
        return true;
    if (partition->group_number == journal_open_group(log->journal))
        in_group = partition->group_bytes;
    return in_group + bytes >= log->config.bulk_bytes;
}

bool
bulk_make_room(struct log *log, uint32_t bytes)
{
    if (slab_ring_unbroken_apart(&log->ring) < bytes) {
        group_close_piece(log);
        slab_ring_wrap(&log->ring);
    }
    /* A block more: the piece before it may have to be closed. */
    uint64_t room = bytes + (uint64_t)SLAB_RING_ALIGN_BYTES;
    if ((tail_is_full(&log->tail) || !slab_ring_has_room(&log->ring, room)) &&
        !flush_evict(log, room)) {
        log_count_pressure(log, METRIC_PRESSURE_CACHE);
        return false;
    }
    group_close_piece(log);
    return true;
}

void
bulk_add(struct log *log, struct partition *partition, const struct log_ack *ack)
{
    uint32_t at = log->bulk_free;

    CHECK(at != LOG_NONE); /* as many as acks, and room for an ack was asked for */
    log->bulk_free = log->bulks[at].next;
    log->bulks[at] = (struct log_bulk){.ctx = ack->ctx,
                                       .requester = ack->requester,
                                       .is_answered = partition->durability ==
                                                      LOG_DURABILITY_MEMORY,
                                       .next = LOG_NONE};
    if (partition->bulk_next == TAIL_NONE) {
        partition->bulk_next = partition->tail.newest;
        partition->bulk_first = at;
    } else {
        log->bulks[partition->bulk_last].next = at;
    }
    partition->bulk_last = at;
    log->bulk_batches++;
    bulk_consider(log, partition);
}

void
bulk_consider(struct log *log, struct partition *partition)
{
    uint32_t slot = partition_slot(log, partition);

    if (partition->bulk_next == TAIL_NONE || partition->is_bulk_queued || partition->is_flushing ||
        !flush_is_allowed(partition))
        return;
    partition->is_bulk_queued = true;
    partition->next_bulk = LOG_NONE;
    if (log->bulk_queue_last == LOG_NONE)
        log->bulk_queue_first = slot;
    else
        log->partitions[log->bulk_queue_last].next_bulk = slot;
    log->bulk_queue_last = slot;
    log->bulk_queued++;
}

/* ---- write and sync ---- */

/* False: it has to wait. */
static bool
bulk_start(struct log *log, struct partition *partition)
{
    if (partition->bulk_next == TAIL_NONE || partition->is_flushing || !flush_is_allowed(partition))
        return true; /* comes again by itself, or never */
    if (partition->sealing != SEGMENT_NONE)
        return false;
    uint32_t idx = flush_prepare(log, partition);
    if (idx == LOG_NONE)
        return !flush_is_allowed(partition);
    if (partition->sealing != SEGMENT_NONE) {
        files_release(log, partition->segments.newest); /* has just rolled */
        return false;
    }
    if (flush_gather_bulk(log, partition, idx, log->bulk_entries_max) == 0) {
        flush_give_back(log, partition);
        return false;
    }
    if (log->flushes[idx].bulk_count > 0) {
        log->flushes[idx].kind = FLUSH_BULK;
        log->bulks_active++;
    } else {
        log->flushes_active++; /* only what the journal has: a flush like any other */
    }
    flush_submit(log, idx);
    return true;
}

/* ---- references ---- */

/* The batch's entry in the open group, its ack behind it. */
static void
bulk_refer(struct log *log, struct partition *partition)
{
    const struct tail_entry *tail = tail_at(&log->tail, partition->bulk_next);
    struct log_bulk *bulk = &log->bulks[partition->bulk_first];
    const struct log_ack ack = {
        .ctx = bulk->ctx,
        .requester = bulk->requester,
        .rc = RC_OK,
        .slot = tail->slot,
        .base_offset = tail->base_offset,
        .append_time_ms = partition->config.log_append_time ? tail->max_timestamp : -1,
        .start_offset = partition->start_offset,
    };
    struct journal_entry entry;

    CHECK(tail->is_bulk == 1);
    journal_entry_reference(
        &entry, partition->incarnation, slab_ring_at(&log->ring, tail->position), log->wall_ms);
    bool added = journal_entry_add(log->journal, &entry);
    CHECK(added);
    if (!bulk->is_answered)
        log_push_ack(log, &ack);
    log_count(log, METRIC_BULK_BATCHES, 1);
    log_count(log, METRIC_BULK_BYTES, tail->bytes);
}

/* Takes the oldest batch off those that the journal does not name. */
static void
bulk_pop(struct log *log, struct partition *partition)
{
    uint32_t at = partition->bulk_first;

    partition->bulk_first = log->bulks[at].next;
    partition->bulk_next = tail_newer(&log->tail, &partition->tail, partition->bulk_next);
    CHECK((partition->bulk_next == TAIL_NONE) == (partition->bulk_first == LOG_NONE));
    log->bulks[at].next = log->bulk_free;
    log->bulk_free = at;
    log->bulk_batches--;
}

static void
bulk_end(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct partition *partition = &log->partitions[flush->slot];

    flush->kind = FLUSH_IDLE;
    log->bulks_durable--;
    partition->is_flushing = false;
    partition->is_forced = false;
    flush_consider(log, partition);
}

/* Names a synced bulk write in the open group: the references, then the mark. False: not now. */
static bool
bulk_name(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];
    struct partition *partition = &log->partitions[flush->slot];

    if (log->is_failed || !flush_is_allowed(partition)) {
        bulk_end(log, flush_idx); /* its acks were given up when that happened */
        return true;
    }
    /* The sync under way covers what was written before this write and may yet fail. */
    if (partition->is_captured)
        return false;
    if (!journal_can_add_many(log->journal, flush->bulk_count + 1) && !group_submit(log, true))
        return false;
    if (!journal_can_add_many(log->journal, flush->bulk_count + 1) ||
        log->waits_next - log->waits_first == LOG_WAITS_MAX)
        return false;

    partition->synced = partition_mark_now(log, partition);
    partition->is_dirty = false;
    const struct partition_mark *now = &partition->synced;
    const struct journal_mark mark = {
        .run_bytes = flush->last_run_bytes,
        .incarnation = partition->incarnation,
        .next_offset = now->next_offset,
        .segment_base_offset = now->segment_base_offset,
        .position = now->position,
        .batch_bytes = now->batch_bytes,
        .max_timestamp_offset = now->max_timestamp_offset,
        .max_timestamp_ms = now->max_timestamp_ms,
        .created_ms = now->created_ms,
        .manifest_generation = now->manifest_generation,
    };
    struct journal_entry entry;
    struct log_wait wait = {.kind = LOG_WAIT_BULK,
                            .slot = flush->slot,
                            .incarnation = partition->incarnation,
                            .offset = now->next_offset};
    uint64_t bulk_bytes = 0;
    for (uint32_t i = 0; i < flush->bulk_count; i++) {
        const struct tail_entry *tail = tail_at(&log->tail, partition->bulk_next);
        wait.ctx = tail->bytes_before + tail->bytes;
        bulk_bytes += tail->bytes;
        bulk_refer(log, partition);
        bulk_pop(log, partition);
    }
    journal_entry_mark(&entry, &mark);
    bool added = group_control(log, &entry, &wait);
    CHECK(added);
    partition->is_bulk_warm = bulk_bytes >= log->config.bulk_bytes;
    bulk_end(log, flush_idx);
    return true;
}

void
bulk_go_on(struct log *log, uint32_t flush_idx)
{
    struct log_flush *flush = &log->flushes[flush_idx];

    if (flush->kind == FLUSH_BULK) {
        /* All of the file, not only this write: runs before it may have been written unsynced. */
        flush->kind = FLUSH_BULK_SYNC;
        flush_submit(log, flush_idx);
        return;
    }
    CHECK(flush->kind == FLUSH_BULK_SYNC);
    /* From here on nothing of the ring pins a journal file, even if the open group has no room. */
    flush_apply(log, flush_idx);
    flush->kind = FLUSH_BULK_DURABLE;
    log->bulks_durable++;
    (void)bulk_name(log, flush_idx);
}

uint32_t
bulk_poll(struct log *log)
{
    uint32_t tries = min_u32(log->bulk_queued, BULK_TRIES_PER_POLL);
    uint32_t work = 0;

    for (uint32_t i = 0; log->bulks_durable > 0 && i < LOG_FLUSHES_MAX; i++)
        if (log->flushes[i].kind == FLUSH_BULK_DURABLE)
            work += bulk_name(log, i);
    for (; tries > 0 && log->bulks_active < LOG_BULKS_MAX; tries--) {
        struct partition *partition = &log->partitions[log->bulk_queue_first];
        log->bulk_queue_first = partition->next_bulk;
        if (log->bulk_queue_first == LOG_NONE)
            log->bulk_queue_last = LOG_NONE;
        log->bulk_queued--;
        partition->is_bulk_queued = false;
        bool started = bulk_start(log, partition);
        work += started;
        if (!started)
            bulk_consider(log, partition);
    }
    return work;
}

/* ---- ends ---- */

void
bulk_durable(struct log *log, struct partition *partition, const struct log_wait *wait)
{
    /* Batches that the journal took behind the mark are of the same group and counted already. */
    partition->durable_offset = max_u64(partition->durable_offset, wait->offset);
    partition->durable_bytes = max_u64(partition->durable_bytes, wait->ctx);
    log_publish_offsets(log, partition);
    if (partition->durability == LOG_DURABILITY_DEVICE)
        partition_mark(log, partition);
    flush_consider(log, partition);
}

void
bulk_abandon(struct log *log, struct partition *partition, enum rc rc)
{
    while (partition->bulk_next != TAIL_NONE) {
        const struct tail_entry *tail = tail_at(&log->tail, partition->bulk_next);
        const struct log_bulk *bulk = &log->bulks[partition->bulk_first];
        const struct log_ack ack = {
            .ctx = bulk->ctx,
            .requester = bulk->requester,
            .rc = (uint16_t)rc,
            .slot = partition_slot(log, partition),
            .base_offset = tail->base_offset,
            .append_time_ms = -1,
            .start_offset = partition->start_offset,
        };
        if (!bulk->is_answered)
            log_push_ack(log, &ack);
        bulk_pop(log, partition);
    }
    partition->is_bulk_warm = false;
}
