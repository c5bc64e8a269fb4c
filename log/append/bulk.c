/* The bulk bypass: a partition with much in one group is written straight to its segment, and the
 * journal holds references (decision 0005). Bulk then costs its bytes once instead of twice.
 *
 *   log_append -> ring, tail entry, no journal entry -> bulk write: all of the partition that is
 *   not in its segment yet, as runs -> fdatasync of what was written so far -> REFERENCE of each
 *   batch and one MARK into the open group, acks behind them -> group durable -> acks go out
 *
 *   sync: IDLE --something written that the journal does not name--> SYNCING --> SYNCED --named-->
 *         IDLE; writes go on beside it
 *
 * The order is the whole proof (A6): what the journal refers to is on the device before the group
 * is submitted, with everything before it in the segment, so a MARK is a checkpoint of one
 * partition. A run that is lost or torn was never referred to. While a partition has a batch that
 * the journal does not name, all that follow go the same way: the journal never names a batch
 * before the one in front of it. One write and one sync per partition are under way; what arrives
 * meanwhile is the next one. Writes wait for the seal of the segment before (its manifest must be
 * durable), naming waits for a sync by reclaim (which might fail for bytes in front of it).
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
    if (partition->bulk_next != TAIL_NONE)
        return true;
    if (log->config.bulk_bytes == 0 || log->bulk_entries_max == 0)
        return false;
    /* A MARK would have to wait for the seal: the journal is quicker. */
    if (partition->roll != ROLL_NONE || partition->sealing != SEGMENT_NONE)
        return false;
    if (partition->is_bulk_warm)
        return true;
    /* Not the open group alone: one that is cut short by pieces would never hold enough. */
    return partition->end_bytes - partition->durable_bytes + bytes >= log->config.bulk_bytes;
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

    if (partition->bulk_next == TAIL_NONE || partition->is_bulk_queued ||
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

/* Writes what there is, unless it is little and the sync under way has to end first anyway. */
static bool
bulk_write(struct log *log, struct partition *partition)
{
    uint64_t waiting = partition->end_bytes - partition->gathered_bytes;

    if (partition->is_flushing || partition->gather == TAIL_NONE ||
        partition->sealing != SEGMENT_NONE || log->bulks_active >= LOG_BULKS_MAX ||
        partition->bulk_written >= log->bulk_entries_max)
        return false;
    if (partition->bulk_step != BULK_IDLE &&
        waiting < LOG_BULK_WRITE_FACTOR * log->config.bulk_bytes)
        return false;
    uint32_t idx = flush_prepare(log, partition);
    if (idx == LOG_NONE)
        return false;
    if (partition->sealing != SEGMENT_NONE) {
        files_release(log, partition->segments.newest); /* has just rolled */
        return false;
    }
    uint32_t room = log->bulk_entries_max - partition->bulk_written;
    if (flush_gather_bulk(log, partition, idx, room) == 0) {
        flush_give_back(log, partition);
        return false;
    }
    log->flushes[idx].is_bulk = true;
    log->bulks_active++;
    flush_submit(log, idx);
    return true;
}

/* Syncs all of the file that was written: runs before these may have been written unsynced. */
static bool
bulk_sync(struct log *log, struct partition *partition)
{
    struct io_request request = {
        .tag = io_tag(log->config.io_tile, LOG_TAG(LOG_TAG_BULK, partition_slot(log, partition))),
        .op = IO_FDATASYNC,
    };

    if (partition->bulk_step != BULK_IDLE || partition->bulk_written == 0 ||
        files_acquire(log, partition->segments.newest, true, &request.fd) != FILES_READY)
        return false;
    if (!io_submit(log->config.io, &request)) {
        files_release(log, partition->segments.newest);
        return false;
    }
    partition->jobs++;
    partition->bulk_step = BULK_SYNCING;
    partition->bulk_mark = partition_mark_now(log, partition);
    partition->bulk_run_bytes = partition->last_run_bytes;
    partition->bulk_covered = partition->bulk_written;
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

/* The MARK of what the sync has covered. */
static void
bulk_fill_mark(const struct partition *partition, struct journal_entry *ret_entry)
{
    const struct partition_mark *synced = &partition->bulk_mark;
    const struct journal_mark mark = {
        .run_bytes = partition->bulk_run_bytes,
        .incarnation = partition->incarnation,
        .next_offset = synced->next_offset,
        .segment_base_offset = synced->segment_base_offset,
        .position = synced->position,
        .batch_bytes = synced->batch_bytes,
        .max_timestamp_offset = synced->max_timestamp_offset,
        .max_timestamp_ms = synced->max_timestamp_ms,
        .created_ms = synced->created_ms,
        .manifest_generation = synced->manifest_generation,
    };

    journal_entry_mark(ret_entry, &mark);
}

/* Names what was synced in the open group: the references, then the mark. False: not now. */
static bool
bulk_name(struct log *log, struct partition *partition)
{
    uint32_t count = partition->bulk_covered;

    if (partition->bulk_step != BULK_SYNCED)
        return false;
    /* The sync under way covers what was written before this write and may yet fail. */
    if (partition->is_captured)
        return false;
    if (!journal_can_add_many(log->journal, count + 1) && !group_submit(log, true))
        return false;
    if (!journal_can_add_many(log->journal, count + 1) ||
        log->waits_next - log->waits_first == LOG_WAITS_MAX)
        return false;

    if (partition->bulk_mark.next_offset > partition->synced.next_offset)
        partition->synced = partition->bulk_mark;
    partition->is_dirty = partition_active(log, partition)->data_bytes !=
                          partition->synced.position;
    struct journal_entry entry;
    struct log_wait wait = {.kind = LOG_WAIT_BULK,
                            .slot = partition_slot(log, partition),
                            .incarnation = partition->incarnation,
                            .offset = partition->bulk_mark.next_offset};
    uint64_t bulk_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct tail_entry *tail = tail_at(&log->tail, partition->bulk_next);
        wait.ctx = tail->bytes_before + tail->bytes;
        bulk_bytes += tail->bytes;
        bulk_refer(log, partition);
        bulk_pop(log, partition);
    }
    bulk_fill_mark(partition, &entry);
    bool added = group_control(log, &entry, &wait);
    CHECK(added);
    partition->is_bulk_warm = bulk_bytes >= log->config.bulk_bytes;
    partition->bulk_written -= count;
    partition->bulk_step = BULK_IDLE;
    return true;
}

void
bulk_sync_done(struct log *log, uint32_t slot, int32_t result)
{
    struct partition *partition = &log->partitions[slot];
    const struct segment *active = partition_active(log, partition);

    /* It is not left before its batches are durable, and they are not yet named. */
    CHECK(partition->bulk_step == BULK_SYNCING);
    CHECK(active->base_offset == partition->bulk_mark.segment_base_offset);
    partition->jobs--;
    files_release(log, partition->segments.newest);
    partition->bulk_step = BULK_SYNCED;
    if (result != 0)
        partition_fence(log, partition, rc_from_errno(-result), "segment_sync_failed");
    if (log->is_failed || !flush_is_allowed(partition)) {
        partition->bulk_step = BULK_IDLE; /* its acks were given up when that happened */
        return;
    }
    if (bulk_name(log, partition))
        bulk_consider(log, partition);
}

uint32_t
bulk_poll(struct log *log)
{
    uint32_t tries = min_u32(log->bulk_queued, BULK_TRIES_PER_POLL);
    uint32_t work = 0;

    for (; tries > 0; tries--) {
        struct partition *partition = &log->partitions[log->bulk_queue_first];
        log->bulk_queue_first = partition->next_bulk;
        if (log->bulk_queue_first == LOG_NONE)
            log->bulk_queue_last = LOG_NONE;
        log->bulk_queued--;
        partition->is_bulk_queued = false;
        if (partition->bulk_next == TAIL_NONE || !flush_is_allowed(partition))
            continue;
        work += bulk_name(log, partition);
        work += bulk_sync(log, partition);
        work += bulk_write(log, partition);
        bulk_consider(log, partition); /* until the journal names all of it */
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
    transaction_settle(log, partition);
    log_publish_offsets(log, partition);
    if (partition->durability == LOG_DURABILITY_DEVICE)
        partition_mark_moved(log, partition);
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
    partition->bulk_written = 0;
}
