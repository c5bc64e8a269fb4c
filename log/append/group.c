/* Commit groups: what is on its way to the journal, and what is due when it has arrived.
 *
 * A group goes out as soon as the journal takes it: the device is the timer. Tail entries, acks and
 * waits are FIFOs, so a group in flight is three end marks. */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"

#include <string.h>

static struct log_group *
group_at(struct log *log, uint32_t idx)
{
    return &log->groups[(log->groups_first + idx) % LOG_GROUPS_MAX];
}

void
group_close_piece(struct log *log)
{
    uint64_t bytes = slab_ring_group_bytes(&log->ring);

    if (bytes == 0)
        return;
    CHECK(log->piece_count < JOURNAL_PIECES_MAX);
    slab_ring_pad_group(&log->ring);
    log->pieces[log->piece_count++] = (struct iovec){
        .iov_base = slab_ring_at(&log->ring, log->ring.group_begin),
        .iov_len = round_up(bytes, FORMAT_BLOCK_BYTES),
    };
    slab_ring_close_group(&log->ring);
}

bool
group_submit(struct log *log, bool forced)
{
    struct journal *journal = log->journal;
    uint32_t in_flight = journal_in_flight(journal);
    uint32_t payload_bytes = journal_open_payload_bytes(journal);

    if (journal_open_entry_count(journal) == 0 || log->is_failed)
        return false;
    if (in_flight >= JOURNAL_IN_FLIGHT_MAX || log->groups_count == LOG_GROUPS_MAX)
        return false;
    if (in_flight > 0 && payload_bytes < LOG_GROUP_SECOND_BYTES && !forced)
        return false;

    uint64_t number = journal_open_group(journal);
    uint32_t piece_count = log->piece_count;
    uint64_t open_bytes = slab_ring_group_bytes(&log->ring);
    if (open_bytes > 0) {
        CHECK(piece_count < JOURNAL_PIECES_MAX);
        slab_ring_pad_group(&log->ring);
        log->pieces[piece_count++] = (struct iovec){
            .iov_base = slab_ring_at(&log->ring, log->ring.group_begin),
            .iov_len = round_up(open_bytes, FORMAT_BLOCK_BYTES),
        };
    }
    switch (journal_submit_pieces(journal, log->pieces, piece_count, log->now_ns)) {
    case JOURNAL_SUBMITTED:
        break;
    case JOURNAL_NO_FILE:
        if (!log->is_journal_full)
            log_count(log, METRIC_JOURNAL_RECLAIM_STALLS, 1);
        log->is_journal_full = true;
        return false;
    case JOURNAL_FAILED:
        group_fail(log);
        return false;
    case JOURNAL_TOO_LARGE:
        CHECK(!"a group that can never fit a journal file");
        return false;
    case JOURNAL_EMPTY:
    case JOURNAL_BUSY:
        return false;
    }
    log->is_journal_full = false;
    log_stamp(log, TRACE_SUBMIT, number);
    slab_ring_close_group(&log->ring);
    log->piece_count = 0;
    log->file_tail_end[journal_file_of_group(journal, number)] = log->tail.next;
    *group_at(log, log->groups_count++) = (struct log_group){
        .number = number,
        .tail_end = log->tail.next,
        .acks_end = log->acks_next,
        .waits_end = log->waits_next,
    };
    return true;
}

/* Moves the durable offsets of the group's partitions. 15-40 ns per batch: its entry, its
 * partition. */
static void
group_make_durable(struct log *log, uint64_t tail_end)
{
    for (uint64_t at = log->durable_entry; at < tail_end; at++) {
        const struct tail_entry *entry = tail_at(&log->tail, at);
        if (entry->slot == TAIL_NO_SLOT || entry->is_bulk)
            continue; /* of no one; or durable by its own MARK */
        struct partition *partition = &log->partitions[entry->slot];
        partition->durable_offset = entry->base_offset + entry->last_delta + 1;
        partition->durable_bytes = entry->bytes_before + entry->bytes;
        if (UNLIKELY(partition->transactions.ending_first != TRANSACTION_NONE))
            transaction_settle(log, partition);
        log_publish_offsets(log, partition);
        if ((partition->armed | partition->armed_stable) != 0 &&
            partition->durability == LOG_DURABILITY_DEVICE)
            partition_mark_moved(log, partition);
        flush_consider(log, partition);
    }
    log->durable_entry = tail_end;
}

uint32_t
group_finish(struct log *log)
{
    uint64_t durable_through = journal_durable_through(log->journal);
    uint32_t ended = 0;

    while (log->groups_count > 0 && group_at(log, 0)->number <= durable_through) {
        struct log_group group = *group_at(log, 0);
        log->groups_first = (log->groups_first + 1) % LOG_GROUPS_MAX;
        log->groups_count--;
        log_stamp(log, TRACE_DURABLE, group.number);
        group_make_durable(log, group.tail_end);
        log->acks_released = group.acks_end;
        while (log->waits_first < group.waits_end) {
            struct log_wait wait = log->waits[log->waits_first++ & (LOG_WAITS_MAX - 1)];
            partition_wait_done(log, &wait);
        }
        ended++;
    }
    if (journal_failure(log->journal) != RC_OK && !log->is_failed)
        group_fail(log);
    return ended;
}

bool
group_control(struct log *log, const struct journal_entry *entry, const struct log_wait *wait)
{
    if (log->waits_next - log->waits_first == LOG_WAITS_MAX || log->is_failed)
        return false;
    if (!journal_can_add(log->journal) || !journal_entry_add(log->journal, entry))
        return false;
    log->waits[log->waits_next++ & (LOG_WAITS_MAX - 1)] = *wait;
    return true;
}

void
group_fail(struct log *log)
{
    log->is_failed = true;
    diag_error("journal_failed",
               "tile=%u rc=%s doing=all_partitions_of_the_tile_fenced_until_restart",
               log->config.tile_idx,
               rc_name(journal_failure(log->journal)));
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0)
            continue;
        bulk_abandon(log, partition, RC_FENCED);
        if (partition->state == PARTITION_OPENING) {
            struct log_event event = {
                .kind = LOG_EVENT_OPENED, .rc = RC_FENCED, .slot = slot, .ctx = partition->ctx};
            log_push_event(log, &event);
        }
        if (partition->state != PARTITION_HALTED && partition->state != PARTITION_DROPPING)
            partition_move(log, partition, PARTITION_FENCED);
        partition_mark(log, partition);
    }
    /* What was not durable when the journal failed never will be: its acks say so. */
    for (uint64_t at = log->acks_released; at < log->acks_next; at++)
        log->acks[at & (LOG_ACKS_MAX - 1)].rc = RC_FENCED;
    log->acks_released = log->acks_next;
    for (; log->waits_first < log->waits_next; log->waits_first++) {
        const struct log_wait *wait = &log->waits[log->waits_first & (LOG_WAITS_MAX - 1)];
        struct log_event event = {.rc = RC_FENCED, .slot = wait->slot, .ctx = wait->ctx};
        if (wait->kind != LOG_WAIT_TRIM && wait->kind != LOG_WAIT_DROP)
            continue;
        event.kind = wait->kind == LOG_WAIT_TRIM ? LOG_EVENT_TRIMMED : LOG_EVENT_DROPPED;
        log_push_event(log, &event);
    }
}
