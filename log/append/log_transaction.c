/* Transactions on the way in: admission, what a producer with a transaction may append, markers,
 * and what changes when a marker is durable. The tables are those of transaction.h and producers.h.
 */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"
#include "engine/record/record_marker.h"

/* The transaction is over here, or never was: its producer may be thrown out again. */
static void
transaction_forget(struct log *log, struct partition *partition, uint32_t at)
{
    producers_let_go(&log->producers, log->transactions.table[at].producer, log->now_ns);
    transaction_remove(&log->transactions, &partition->transactions, at);
}

/* Readers do not come back to what lies below the start offset. */
static void
transaction_forget_gone(struct log *log, struct partition *partition)
{
    struct partition_transactions *of = &partition->transactions;

    while (of->aborted_oldest != TRANSACTION_NONE &&
           log->transactions.aborted[of->aborted_oldest].entry.last_offset <
               partition->start_durable)
        transaction_aborted_pop(&log->transactions, of);
}

/* Is this one's footer there for good, with what was aborted? */
static bool
segment_is_told(const struct segment *segment)
{
    return segment->is_listed && segment->aborted_count > 0;
}

void
transaction_forget_listed(struct log *log, struct partition *partition, uint64_t end_offset)
{
    struct partition_transactions *of = &partition->transactions;
    const struct transaction_aborted *table = log->transactions.aborted;
    uint32_t entry = of->aborted_oldest;

    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        const struct segment *segment = &log->segments.segments[at];
        if (!segment->sealed || segment->next_offset > end_offset)
            break;
        if (!segment_is_told(segment))
            continue;
        while (entry != TRANSACTION_NONE && table[entry].entry.last_offset < segment->next_offset) {
            uint32_t newer = table[entry].newer;
            if (table[entry].entry.last_offset >= segment->base_offset)
                transaction_aborted_free(&log->transactions, of, entry);
            entry = newer;
        }
        of->aborted_from = max_u64(of->aborted_from, segment->next_offset);
    }
}

bool
transaction_is_told(const struct log *log, uint32_t *segment, uint64_t offset)
{
    const struct segment *segments = log->segments.segments;

    while (*segment != SEGMENT_NONE && segments[*segment].next_offset <= offset)
        *segment = segments[*segment].newer;
    return *segment != SEGMENT_NONE && segments[*segment].base_offset <= offset &&
           segment_is_told(&segments[*segment]);
}

bool
transaction_is_listed(const struct log *log, const struct partition *partition, uint64_t offset)
{
    uint32_t at = segment_find(&log->segments, &partition->segments, offset);

    return at != SEGMENT_NONE && offset >= log->segments.segments[at].base_offset &&
           segment_is_told(&log->segments.segments[at]);
}

uint32_t
transaction_aborted_of(const struct log *log,
                       const struct segment *segment,
                       struct aborted_entry *into)
{
    const struct partition *partition = &log->partitions[segment->slot];
    const struct transaction_aborted *table = log->transactions.aborted;
    uint32_t at = partition->transactions.aborted_newest;
    uint32_t count = 0;

    while (at != TRANSACTION_NONE && table[at].entry.last_offset >= segment->next_offset)
        at = table[at].older;
    uint32_t newest = at;
    for (; at != TRANSACTION_NONE && table[at].entry.last_offset >= segment->base_offset;
         at = table[at].older)
        count++;
    if (count > SEGMENT_ABORTED_MAX)
        return 0; /* they stay in memory and in checkpoints */
    at = newest;
    for (uint32_t i = count; i-- > 0; at = table[at].older)
        into[i] = table[at].entry;
    return count;
}

uint32_t
transaction_aborted_limit(const struct log *log)
{
    const struct transactions *transactions = &log->transactions;

    if (transactions->has_listed || !transactions_are_tight(transactions))
        return LOG_SEGMENT_ABORTED_ROLL;
    /* What no footer has fills the table: so few in each partition that together they do not. */
    return min_u32(LOG_SEGMENT_ABORTED_ROLL,
                   max_u32(1, transactions->aborted_capacity / 4 / log->partition_high));
}

void
transaction_segment_begun(struct log *log, struct partition *partition)
{
    struct partition_transactions *of = &partition->transactions;
    const struct transaction_aborted *table = log->transactions.aborted;

    of->aborted_active = 0;
    for (uint32_t at = of->aborted_newest;
         at != TRANSACTION_NONE &&
         table[at].entry.last_offset >= partition_active(log, partition)->base_offset;
         at = table[at].older)
        of->aborted_active++;
}

/* Where the newest footer that tells of aborted transactions begins, or 0. */
static uint64_t
transaction_newest_listed(const struct log *log, const struct partition *partition)
{
    uint32_t at = partition->segments.newest;

    while (at != SEGMENT_NONE && !segment_is_told(&log->segments.segments[at]))
        at = log->segments.segments[at].older;
    return at == SEGMENT_NONE ? 0 : log->segments.segments[at].base_offset;
}

/* Forgets what stands in footers; when spares_newest, not that of each partition's newest one. */
static void
transaction_forget_cached(struct log *log, bool spares_newest)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0 || partition->transactions.aborted_count == 0)
            continue;
        transaction_forget_listed(
            log, partition, spares_newest ? transaction_newest_listed(log, partition) : UINT64_MAX);
    }
    log->transactions.has_listed = spares_newest;
}

/* Room for one more, looked for in every partition when there is little. */
static bool
transaction_make_room(struct log *log, struct partition *partition)
{
    /* What one checkpoint takes must fit the table of the next start: none goes in its midst. */
    if (transactions_are_tight(&log->transactions) && log->transactions.has_listed &&
        log->reclaim.step != RECLAIM_ENCODE) {
        transaction_forget_cached(log, true);
        if (transactions_are_tight(&log->transactions))
            transaction_forget_cached(log, false);
    }
    if (transactions_are_tight(&log->transactions))
        space_leave_old(log, partition); /* others when they are appended to, or looked at */
    if (transactions_have_room(&log->transactions))
        return true;
    for (uint32_t slot = 0; slot < log->partition_high; slot++)
        if (log->partitions[slot].incarnation != 0) {
            transaction_forget_gone(log, &log->partitions[slot]);
            space_leave_old(log, &log->partitions[slot]);
        }
    return transactions_have_room(&log->transactions);
}

enum rc
log_transaction_admit(struct log *log, const struct log_transaction *request)
{
    struct partition *partition = partition_of(log, request->slot, request->incarnation);
    struct producers *producers = &log->producers;
    uint64_t producer_id = (uint64_t)request->producer_id;

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    if (log->is_stopping)
        return RC_CLOSED;
    uint32_t at = producers_find(producers, partition->incarnation, producer_id);
    if (at != PRODUCER_NONE && request->producer_epoch < producers->table[at].epoch)
        return RC_PRODUCER_EPOCH_STALE;
    if (at != PRODUCER_NONE && producers->table[at].transaction != PRODUCER_NONE) {
        struct transaction *known = &log->transactions.table[producers->table[at].transaction];
        if (request->producer_epoch < known->epoch)
            return RC_PRODUCER_EPOCH_STALE;
        if (known->state == TRANSACTION_ENDING)
            return RC_AGAIN; /* until its marker is durable */
        if (known->state == TRANSACTION_ADMITTED)
            known->epoch = request->producer_epoch;
        return known->epoch == request->producer_epoch ? RC_OK : RC_TXN_STATE;
    }
    if (!transaction_make_room(log, partition) ||
        (at == PRODUCER_NONE && !producers_has_room(producers, log->now_ns)))
        return RC_LIMIT;
    at = producers_take(
        producers, partition->incarnation, producer_id, request->producer_epoch, log->now_ns);
    producers_hold(producers, at, transaction_add(&log->transactions, at, request->producer_epoch));
    return RC_OK;
}

enum rc
transaction_check(const struct log *log, const struct append_batch *batch)
{
    const struct producer *producer = batch->producer == PRODUCER_NONE
                                          ? NULL
                                          : &log->producers.table[batch->producer];

    if (producer == NULL || producer->transaction == PRODUCER_NONE)
        return batch->is_transactional ? RC_TXN_STATE : RC_OK;
    const struct transaction *known = &log->transactions.table[producer->transaction];
    if (batch->claim.epoch < known->epoch && known->state != TRANSACTION_ENDING)
        return RC_PRODUCER_EPOCH_STALE;
    if (!batch->is_transactional)
        return known->state == TRANSACTION_OPEN ? RC_TXN_STATE : RC_OK;
    if (known->state == TRANSACTION_ENDING)
        return RC_TXN_STATE; /* belongs to the next one, which is not admitted yet */
    return known->epoch == batch->claim.epoch ? RC_OK : RC_TXN_STATE;
}

void
transaction_appended(struct log *log,
                     struct partition *partition,
                     const struct append_batch *batch,
                     uint64_t base_offset)
{
    uint32_t at = log->producers.table[batch->producer].transaction;

    if (log->transactions.table[at].state == TRANSACTION_ADMITTED)
        transaction_open(
            &log->transactions, &partition->transactions, at, base_offset, log->now_ns);
}

/* ---- markers ---- */

static enum rc
marker_check(const struct log *log,
             const struct partition *partition,
             const struct log_transaction *request,
             uint32_t *ret_producer)
{
    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    if (log->is_stopping)
        return RC_CLOSED;
    *ret_producer = producers_find(
        &log->producers, partition->incarnation, (uint64_t)request->producer_id);
    if (*ret_producer == PRODUCER_NONE)
        return RC_OK;
    const struct producer *producer = &log->producers.table[*ret_producer];
    if (request->producer_epoch < producer->epoch)
        return RC_PRODUCER_EPOCH_STALE;
    if (producer->transaction != PRODUCER_NONE &&
        request->producer_epoch < log->transactions.table[producer->transaction].epoch)
        return RC_PRODUCER_EPOCH_STALE;
    return request->coordinator_epoch < producer->coordinator_epoch ? RC_COORDINATOR_FENCED : RC_OK;
}

void
transaction_marked(struct log *log,
                   struct partition *partition,
                   const struct record_marker *marker,
                   uint64_t offset)
{
    struct producers *producers = &log->producers;
    uint32_t producer = producers_find(
        producers, partition->incarnation, (uint64_t)marker->producer_id);

    if (producer == PRODUCER_NONE) {
        /* It has nothing open here; without a place for its epoch the marker stands for itself. */
        if (!producers_has_room(producers, log->now_ns))
            return;
        producer = producers_take(producers,
                                  partition->incarnation,
                                  (uint64_t)marker->producer_id,
                                  marker->producer_epoch,
                                  log->now_ns);
    }
    producers_mark(
        producers, producer, marker->producer_epoch, marker->coordinator_epoch, log->now_ns);
    uint32_t at = producers->table[producer].transaction;
    if (at == PRODUCER_NONE)
        return;
    const struct transaction *known = &log->transactions.table[at];
    if (known->state == TRANSACTION_ADMITTED) {
        transaction_forget(log, partition, at);
    } else if (known->state == TRANSACTION_OPEN && known->first_offset < offset) {
        const struct aborted_entry aborted = {
            .producer_id = marker->producer_id,
            .first_offset = known->first_offset,
            .last_offset = offset,
            .last_stable_offset = min_u64(
                transaction_first_beside(&log->transactions, &partition->transactions, at),
                offset + 1),
        };
        transaction_end(&log->transactions,
                        &partition->transactions,
                        at,
                        marker->is_commit ? NULL : &aborted,
                        offset);
        transaction_forget_gone(log, partition);
    }
}

enum log_append_status
log_transaction_marker(struct log *log,
                       const struct log_transaction *request,
                       struct log_ack *ret_ack)
{
    struct partition *partition = partition_of(log, request->slot, request->incarnation);
    const struct record_marker marker = {
        .producer_id = request->producer_id,
        .timestamp_ms = request->wall_ms,
        .coordinator_epoch = request->coordinator_epoch,
        .producer_epoch = request->producer_epoch,
        .is_commit = request->is_commit,
    };
    uint8_t bytes[RECORD_MARKER_BYTES];
    struct append_batch batch = {.producer = PRODUCER_NONE, .max_timestamp_ms = request->wall_ms};
    const struct log_append_request append = {
        .slot = request->slot,
        .incarnation = request->incarnation,
        .batch = bytes,
        .batch_bytes = sizeof(bytes),
        .requester = request->requester,
        .ctx = request->ctx,
        .wall_ms = request->wall_ms,
    };

    enum rc rc = marker_check(log, partition, request, &batch.producer);
    if (rc != RC_OK)
        return append_refuse(log, &append, partition, rc, ret_ack);
    record_marker_build(&marker, bytes);
    enum log_append_status status = append_offer(log, partition, &append, &batch, ret_ack);
    if (status != LOG_APPEND_TAKEN)
        return status;
    transaction_marked(log, partition, &marker, partition->next_offset - 1);
    transaction_settle(log, partition);
    if (partition->durability == LOG_DURABILITY_MEMORY)
        partition_mark_moved(log, partition);
    log_count_label(
        log, TRANSACTION_MARKERS, marker.is_commit ? METRIC_MARKER_COMMIT : METRIC_MARKER_ABORT, 1);
    return LOG_APPEND_TAKEN;
}

void
transaction_settle(struct log *log, struct partition *partition)
{
    uint64_t durable = partition_high_watermark(partition);
    uint32_t at;

    while ((at = transaction_ended(&log->transactions, &partition->transactions, durable)) !=
           TRANSACTION_NONE)
        transaction_forget(log, partition, at);
}

void
transaction_drop_all(struct log *log, struct partition *partition)
{
    struct transactions *transactions = &log->transactions;
    struct partition_transactions *of = &partition->transactions;
    uint32_t at;

    while ((at = transaction_ended(transactions, of, UINT64_MAX)) != TRANSACTION_NONE)
        transaction_forget(log, partition, at);
    while (of->oldest != TRANSACTION_NONE)
        transaction_forget(log, partition, of->oldest);
    /* Those without a record are on no list of the partition. */
    for (at = 0; at < transactions->used; at++)
        if (transactions->table[at].state == TRANSACTION_ADMITTED &&
            log->producers.table[transactions->table[at].producer].incarnation ==
                partition->incarnation)
            transaction_forget(log, partition, at);
    while (of->aborted_oldest != TRANSACTION_NONE)
        transaction_aborted_pop(transactions, of);
}

/* ---- questions ---- */

enum rc
log_producers(struct log *log, uint32_t slot, uint64_t incarnation, struct log_producers *cursor)
{
    const struct producers *producers = &log->producers;
    uint32_t end = min_u32(producers->count, cursor->next + LOG_PRODUCERS_PER_CALL);

    if (partition_of(log, slot, incarnation) == NULL)
        return RC_UNKNOWN_PARTITION;
    for (; cursor->next < end && cursor->count < cursor->capacity; cursor->next++) {
        const struct producer *producer = &producers->table[cursor->next];
        if (producer->incarnation != incarnation)
            continue;
        uint64_t idle_ns = log->now_ns > producer->used_ns ? log->now_ns - producer->used_ns : 0;
        struct log_producer told = {
            .producer_id = (int64_t)producer->producer_id,
            .last_append_ms = log->wall_ms - (int64_t)(idle_ns / NS_PER_MS),
            .transaction_first_offset = TRANSACTION_NO_OFFSET,
            .coordinator_epoch = producer->coordinator_epoch,
            .last_sequence = producer->batch_count > 0 ? producer->batches[0].last_sequence : -1,
            .producer_epoch = producer->epoch,
        };
        if (producer->transaction != PRODUCER_NONE &&
            log->transactions.table[producer->transaction].state == TRANSACTION_OPEN)
            told.transaction_first_offset =
                log->transactions.table[producer->transaction].first_offset;
        cursor->into[cursor->count++] = told;
    }
    return cursor->next < producers->count && cursor->count < cursor->capacity ? RC_AGAIN : RC_OK;
}

/* ---- recovery ---- */

enum rc
transaction_reopen(struct log *log,
                   struct partition *partition,
                   uint32_t producer,
                   uint64_t first_offset)
{
    struct transactions *transactions = &log->transactions;

    uint32_t known = log->producers.table[producer].transaction;
    if (known != PRODUCER_NONE) {
        /* A checkpoint may have had the epoch of a marker that was lost. */
        transactions->table[known].epoch = log->producers.table[producer].epoch;
        return RC_OK;
    }
    if (transactions->live >= 2 * transactions->capacity)
        return RC_LIMIT;
    uint32_t at = transaction_add(transactions, producer, log->producers.table[producer].epoch);
    producers_hold(&log->producers, producer, at);
    transaction_restore(transactions,
                        &partition->transactions,
                        at,
                        first_offset,
                        log->producers.table[producer].used_ns);
    return RC_OK;
}

enum rc
transaction_replay_marker(struct log *log,
                          struct partition *partition,
                          const struct record_marker *marker,
                          uint64_t offset)
{
    struct producers *producers = &log->producers;
    struct transactions *transactions = &log->transactions;
    uint64_t producer_id = (uint64_t)marker->producer_id;
    uint32_t producer = producers_find(producers, partition->incarnation, producer_id);

    if (producer == PRODUCER_NONE && !producers_has_room(producers, log->now_ns))
        return RC_OK;
    producer = producers_take(
        producers, partition->incarnation, producer_id, marker->producer_epoch, log->now_ns);
    int32_t known_epoch = producers->table[producer].coordinator_epoch;
    producers_mark(producers,
                   producer,
                   marker->producer_epoch,
                   known_epoch > marker->coordinator_epoch ? known_epoch
                                                           : marker->coordinator_epoch,
                   producers->table[producer].used_ns);
    uint32_t at = producers->table[producer].transaction;
    /* A checkpoint that is newer than this marker may know a later transaction. */
    if (at == PRODUCER_NONE || transactions->table[at].first_offset > offset)
        return RC_OK;
    const struct aborted_entry aborted = {
        .producer_id = marker->producer_id,
        .first_offset = transactions->table[at].first_offset,
        .last_offset = offset,
        .last_stable_offset = min_u64(
            transaction_first_beside(transactions, &partition->transactions, at), offset + 1),
    };
    transaction_forget(log, partition, at);
    if (marker->is_commit || offset < partition->start_offset ||
        transaction_is_listed(log, partition, offset))
        return RC_OK;
    return transaction_aborted_restore(transactions, &partition->transactions, &aborted) ? RC_OK
                                                                                         : RC_LIMIT;
}

void
transaction_cut(struct log *log, struct partition *partition)
{
    struct partition_transactions *of = &partition->transactions;

    while (of->newest != TRANSACTION_NONE &&
           log->transactions.table[of->newest].first_offset >= partition->next_offset)
        transaction_forget(log, partition, of->newest);
    transaction_aborted_cut(&log->transactions, of, partition->next_offset);
}
