/* The way in (log_append), the poll that keeps everything moving, and the ways out (log_take_*).
 *
 * Budget of log_append(), one core at 3 GHz: 300-400 ns per batch plus the copy (0.1 ns per byte):
 * checks and producer state 60-120 ns, space and ring 20 ns, tail entry and partition 30 ns,
 * journal entry 40 ns, ack 10 ns. */
#include "log/append/log_metrics.h"

#include "engine/base/check.h"
#include "engine/record/record_iterator.h"
#include "engine/record/record_marker.h"

enum log_append_status
append_refuse(struct log *log,
              const struct log_append_request *request,
              const struct partition *partition,
              enum rc rc,
              struct log_ack *ret_ack)
{
    log_count_refusal(log, rc);
    *ret_ack = (struct log_ack){
        .ctx = request->ctx,
        .requester = request->requester,
        .rc = (uint16_t)rc,
        .slot = request->slot,
        .base_offset = UINT64_MAX,
        .append_time_ms = -1,
        .start_offset = partition == NULL ? UINT64_MAX : partition->start_offset,
    };
    return LOG_APPEND_REFUSED;
}

static bool
append_time_is_allowed(const struct log_partition_config *config, int64_t time_ms, int64_t wall_ms)
{
    if (time_ms < 0)
        return true; /* no timestamp */
    if (time_ms > wall_ms)
        return time_ms - wall_ms <= config->timestamp_after_max_ms;
    return wall_ms - time_ms <= config->timestamp_before_max_ms;
}

/* A compacted topic takes no record without a key. Only what is not compressed is looked into: to
 * unpack would cost the log tile, on which every other partition waits, a millisecond per MiB; a
 * keyless record that came compressed is kept for ever and counted by compaction, so nothing that
 * was acknowledged is lost by it. */
static COLD bool
append_has_keys(const struct log_append_request *request)
{
    const uint8_t *batch = request->batch;
    struct record_batch_info info;
    struct bytes payload = {.at = batch + RECORD_BATCH_HEADER_BYTES,
                            .count = request->batch_bytes - RECORD_BATCH_HEADER_BYTES};

    if (record_batch_read(batch, request->batch_bytes, &info) != RC_OK ||
        (info.attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
        return true;
    return record_batch_codec(&info) != RECORD_CODEC_NONE || record_keys_ok(&info, payload);
}

/* Everything that can be wrong with the batch itself. */
static enum rc
append_check(const struct log *log,
             const struct partition *partition,
             const struct log_append_request *request,
             struct append_batch *ret)
{
    const uint8_t *batch = request->batch;
    const struct log_partition_config *config = &partition->config;

    if (UNLIKELY(partition->state != PARTITION_OPEN))
        return partition_refusal(partition);
    if (UNLIKELY(log->is_stopping))
        return RC_CLOSED;
    if (UNLIKELY(request->batch_bytes > config->batch_bytes_max ||
                 request->batch_bytes > log->batch_bytes_max))
        return RC_BATCH_TOO_LARGE;
    if (UNLIKELY(request->batch_bytes < RECORD_BATCH_HEADER_BYTES))
        return RC_BATCH_CORRUPT;
    ret->last_delta = (uint32_t)record_batch_last_offset_delta(batch);
    ret->max_timestamp_ms = record_batch_max_timestamp(batch);
    if (config->log_append_time) {
        ret->max_timestamp_ms = request->wall_ms;
    } else {
        int64_t base_ms = (int64_t)get_u64_be(batch + RECORD_BATCH_BASE_TIMESTAMP);
        if (!append_time_is_allowed(config, ret->max_timestamp_ms, request->wall_ms) ||
            !append_time_is_allowed(config, base_ms, request->wall_ms))
            return RC_BATCH_TIMESTAMP;
    }
    if (UNLIKELY(config->is_compacted) && !append_has_keys(request))
        return RC_BATCH_INVALID;
    int64_t producer_id = (int64_t)get_u64_be(batch + RECORD_BATCH_PRODUCER_ID);
    uint16_t attributes = record_batch_attributes(batch);
    ret->is_idempotent = producer_id >= 0;
    ret->is_transactional = (attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0;
    if (UNLIKELY((attributes & RECORD_ATTRIBUTES_CONTROL) != 0 ||
                 (ret->is_transactional && !ret->is_idempotent)))
        return RC_BATCH_INVALID; /* markers are ours to write */
    if (ret->is_idempotent) {
        uint32_t first = get_u32_be(batch + RECORD_BATCH_BASE_SEQUENCE);
        ret->claim = (struct producer_claim){
            .incarnation = partition->incarnation,
            .producer_id = (uint64_t)producer_id,
            .epoch = (int16_t)get_u16_be(batch + RECORD_BATCH_PRODUCER_EPOCH),
            .first_sequence = (int32_t)first,
            .last_sequence = (int32_t)((first + ret->last_delta) & INT32_MAX),
        };
        if (ret->claim.first_sequence < 0)
            return RC_BATCH_INVALID;
    }
    return RC_OK;
}

void
log_push_ack(struct log *log, const struct log_ack *ack)
{
    log->acks[log->acks_next++ & (LOG_ACKS_MAX - 1)] = *ack;
    if (journal_open_entry_count(log->journal) > 0)
        return;
    /* Nothing is open: the ack belongs to the last group on its way, or to none. */
    if (log->groups_count == 0) {
        log->acks_released = log->acks_next;
        return;
    }
    uint32_t last = (log->groups_first + log->groups_count - 1) % LOG_GROUPS_MAX;
    log->groups[last].acks_end = log->acks_next;
}

static void
append_push_ack(struct log *log, const struct partition *partition, const struct log_ack *ack)
{
    if (partition->durability == LOG_DURABILITY_MEMORY)
        log->now_acks[log->now_acks_next++ & (LOG_ACKS_MAX - 1)] = *ack;
    else
        log_push_ack(log, ack);
}

/* Acks of batches that the journal does not name yet have their places kept. */
static bool
append_has_ack_room(const struct log *log)
{
    return log->acks_next - log->acks_taken + log->bulk_batches < LOG_ACKS_MAX &&
           log->now_acks_next - log->now_acks_taken < LOG_ACKS_MAX;
}

/* The original stands below the open group's end, so the answer waits for the newest group. */
static enum log_append_status
append_duplicate(struct log *log,
                 const struct partition *partition,
                 const struct log_append_request *request,
                 uint64_t base_offset)
{
    struct log_ack ack = {
        .ctx = request->ctx,
        .requester = request->requester,
        .rc = RC_SEQUENCE_DUPLICATE,
        .slot = request->slot,
        .base_offset = base_offset,
        .append_time_ms = -1,
        .start_offset = partition->start_offset,
    };

    if (!append_has_ack_room(log))
        return LOG_APPEND_AGAIN;
    /* The original is of no group yet: what says that it is stored has to wait. */
    if (partition->bulk_next != TAIL_NONE &&
        base_offset >= tail_at(&log->tail, partition->bulk_next)->base_offset &&
        partition->durability == LOG_DURABILITY_DEVICE)
        return LOG_APPEND_AGAIN;
    append_push_ack(log, partition, &ack);
    log_count(log, METRIC_BATCHES_DUPLICATE, 1);
    return LOG_APPEND_TAKEN;
}

/* Room in the open group and unbroken in the ring for one batch; false: later. */
static bool
append_make_group_room(struct log *log, uint32_t bytes)
{
    struct journal *journal = log->journal;
    uint64_t open_bytes = journal_open_payload_bytes(journal);
    bool is_fresh = slab_ring_group_bytes(&log->ring) == 0; /* it begins a piece */

    if (is_fresh)
        open_bytes = round_up(open_bytes, FORMAT_BLOCK_BYTES);
    bool is_full = open_bytes > 0 && open_bytes + bytes > log->group_bytes;
    bool is_broken = slab_ring_unbroken(&log->ring) < bytes;
    bool is_split = is_fresh && log->piece_count == JOURNAL_PIECES_MAX;
    if (LIKELY(!is_full && !is_broken && !is_split && journal_can_add(journal)))
        return true;
    if (journal_open_entry_count(journal) > 0 &&
        !group_submit(log, is_full || is_broken || is_split)) {
        log_count_pressure(log, METRIC_PRESSURE_JOURNAL);
        return false;
    }
    if (!journal_can_add(journal)) {
        log_count_pressure(log, METRIC_PRESSURE_JOURNAL);
        return false;
    }
    /* Asked anew: closing the group has moved the head to the next block. */
    if (slab_ring_unbroken(&log->ring) < bytes)
        slab_ring_wrap(&log->ring);
    return true;
}

/* Room in group, ring and tables for one batch; false: later. */
static bool
append_make_room(struct log *log, uint32_t bytes, bool is_bulk)
{
    if (!append_has_ack_room(log)) {
        log_count_pressure(log, METRIC_PRESSURE_JOURNAL);
        return false;
    }
    if (is_bulk ? !bulk_make_room(log, bytes) : !append_make_group_room(log, bytes))
        return false;
    if (UNLIKELY(tail_is_full(&log->tail) || !slab_ring_has_room(&log->ring, bytes)) &&
        !flush_evict(log, bytes)) {
        log_count_pressure(log, METRIC_PRESSURE_CACHE);
        return false;
    }
    /* Unflushed bytes have their own limit, half the ring. */
    if (UNLIKELY(log->tail.next > log->unflushed)) {
        const struct tail_entry *first = tail_at(&log->tail, log->unflushed);
        if (log->ring.head + bytes - first->position > log->ring.bytes / 2 &&
            flush_span(log) + bytes > log->ring.bytes / 2) {
            log_count_pressure(log, METRIC_PRESSURE_UNFLUSHED);
            return false;
        }
    }
    return true;
}

/* The journal takes the batch that lies in the ring. */
static void
append_journal(struct log *log,
               const struct partition *partition,
               const uint8_t *batch,
               uint32_t bytes)
{
    uint32_t payload_position = journal_open_payload_bytes(log->journal);
    struct journal_entry entry;

    if (slab_ring_group_bytes(&log->ring) == bytes) /* the first of a piece */
        payload_position = (uint32_t)round_up(payload_position, FORMAT_BLOCK_BYTES);
    journal_entry_data(&entry, partition->incarnation, batch, payload_position, log->wall_ms);
    bool added = journal_entry_add(log->journal, &entry);
    CHECK(added);
}

/* Copies, numbers and records the batch; nothing can fail any more. */
static void
append_take(struct log *log,
            struct partition *partition,
            const struct log_append_request *request,
            const struct append_batch *batch)
{
    uint32_t bytes = request->batch_bytes;
    bool is_bulk = batch->is_bulk;
    uint64_t position = is_bulk ? slab_ring_take_apart(&log->ring, bytes)
                                : slab_ring_take(&log->ring, bytes);
    uint8_t *at = slab_ring_at(&log->ring, position);
    uint64_t base_offset = partition->next_offset;
    struct log_ack ack = {
        .ctx = request->ctx,
        .requester = request->requester,
        .rc = RC_OK,
        .slot = request->slot,
        .base_offset = base_offset,
        .append_time_ms = -1,
        .start_offset = partition->start_offset,
    };

    bytes_copy(at, log->ring.bytes - (position & log->ring.mask), request->batch, bytes);
    record_batch_patch(at, base_offset, partition->leader_epoch);
    if (partition->config.log_append_time) {
        record_batch_set_append_time(at, bytes, request->wall_ms);
        ack.append_time_ms = request->wall_ms;
    }
    if (!is_bulk)
        append_journal(log, partition, at, bytes);
    const struct tail_batch added_batch = {.position = position,
                                           .bytes = bytes,
                                           .last_delta = batch->last_delta,
                                           .is_bulk = is_bulk,
                                           .max_timestamp_ms = batch->max_timestamp_ms};
    tail_add_batch(log, partition, &added_batch);
    if (batch->is_idempotent)
        producers_record(&log->producers, batch->producer, &batch->claim, base_offset, log->now_ns);
    if (UNLIKELY(batch->is_transactional))
        transaction_appended(log, partition, batch, base_offset);
    if (is_bulk)
        bulk_add(log, partition, &ack);
    if (!is_bulk || partition->durability == LOG_DURABILITY_MEMORY)
        append_push_ack(log, partition, &ack);
    log->is_held = false;
    log_count_append(log, partition, (uint64_t)batch->last_delta + 1, bytes);
    log_stamp(log, TRACE_APPEND, base_offset);
    if (partition->durability == LOG_DURABILITY_MEMORY) {
        log_publish_offsets(log, partition);
        partition_mark_moved(log, partition);
    }
}

void
tail_add_batch(struct log *log, struct partition *partition, const struct tail_batch *batch)
{
    uint64_t sequence = tail_push(&log->tail, &partition->tail);
    struct tail_entry *tail = tail_at(&log->tail, sequence);

    tail->base_offset = partition->next_offset;
    tail->position = batch->position;
    tail->bytes_before = partition->end_bytes;
    tail->max_timestamp = batch->max_timestamp_ms;
    tail->bytes = batch->bytes;
    tail->last_delta = batch->last_delta;
    tail->slot = partition_slot(log, partition);
    tail->is_bulk = batch->is_bulk;
    if (partition->gather == TAIL_NONE)
        partition->gather = sequence;
    if (batch->max_timestamp_ms > partition->max_timestamp_ms) {
        partition->max_timestamp_ms = batch->max_timestamp_ms;
        partition->max_timestamp_offset = partition->next_offset;
    }
    partition->next_offset += (uint64_t)batch->last_delta + 1;
    partition->end_bytes += batch->bytes;
}

/* Of transactions, or of a producer that has one: the rest need not be looked at. */
static ALWAYS_INLINE bool
append_has_transaction(const struct log *log, const struct append_batch *batch)
{
    return batch->is_transactional ||
           (batch->producer != PRODUCER_NONE &&
            log->producers.table[batch->producer].transaction != PRODUCER_NONE);
}

enum log_append_status
log_append(struct log *log, const struct log_append_request *request, struct log_ack *ret_ack)
{
    struct partition *partition = partition_of(log, request->slot, request->incarnation);
    struct append_batch batch = {.producer = PRODUCER_NONE};
    uint64_t original = 0;

    if (UNLIKELY(partition == NULL))
        return append_refuse(log, request, NULL, RC_UNKNOWN_PARTITION, ret_ack);
    enum rc rc = append_check(log, partition, request, &batch);
    if (LIKELY(rc == RC_OK) && batch.is_idempotent)
        rc = producers_check(
            &log->producers, &batch.claim, log->now_ns, &batch.producer, &original);
    if (rc == RC_SEQUENCE_DUPLICATE)
        return append_duplicate(log, partition, request, original);
    if (LIKELY(rc == RC_OK) && UNLIKELY(append_has_transaction(log, &batch)))
        rc = transaction_check(log, &batch);
    if (UNLIKELY(rc != RC_OK))
        return append_refuse(log, request, partition, rc, ret_ack);
    return append_offer(log, partition, request, &batch, ret_ack);
}

enum log_append_status
append_offer(struct log *log,
             struct partition *partition,
             const struct log_append_request *request,
             struct append_batch *batch,
             struct log_ack *ret_ack)
{
    log->wall_ms = request->wall_ms;
    enum rc rc = space_reserve(log, partition, request->batch_bytes);
    if (UNLIKELY(rc != RC_OK)) {
        partition->is_forced = true;
        flush_consider(log, partition);
        if (rc == RC_AGAIN) {
            log_count_pressure(log, METRIC_PRESSURE_DISK_JOBS);
            return LOG_APPEND_AGAIN;
        }
        if (batch->is_idempotent)
            producers_await(&log->producers, batch->producer, &batch->claim, log->now_ns);
        return append_refuse(log, request, partition, rc, ret_ack);
    }
    batch->is_bulk = bulk_is_due(log, partition, request->batch_bytes);
    if (UNLIKELY(!append_make_room(log, request->batch_bytes, batch->is_bulk))) {
        if (log->is_failed)
            return append_refuse(log, request, partition, RC_FENCED, ret_ack);
        return LOG_APPEND_AGAIN;
    }
    append_take(log, partition, request, batch);
    return LOG_APPEND_TAKEN;
}

/* ---- completions and the poll ---- */

static void
log_count_group(struct log *log, const struct journal_done *done)
{
    log_count(log, METRIC_COMMIT_GROUPS, 1);
    log_count(log, METRIC_COMMIT_GROUP_ENTRIES, done->entry_count);
    log_count(log, METRIC_JOURNAL_PADDING_BYTES, done->written_bytes - done->payload_bytes);
    log_record(log, METRIC_COMMIT_GROUP_BYTES, done->written_bytes);
    log_record(log, METRIC_COMMIT_GROUP_LATENCY, done->latency_ns);
}

void
log_complete(struct log *log, uint64_t tag, int32_t result)
{
    uint32_t idx = (uint32_t)tag;
    struct journal_done done;

    switch ((enum log_tag)((tag & IO_TAG_OWN_MASK) >> 48)) {
    case LOG_TAG_JOURNAL:
        if (journal_complete(log->journal, tag, result, clock_now_ns(log->config.clock), &done)) {
            log_count_group(log, &done);
            (void)group_finish(log);
        }
        break;
    case LOG_TAG_FLUSH:
    case LOG_TAG_FOOTER:
        flush_complete(log, idx, result);
        break;
    case LOG_TAG_SYNC:
        reclaim_sync_done(log, idx, result);
        break;
    case LOG_TAG_BULK:
        bulk_sync_done(log, idx, result);
        break;
    case LOG_TAG_COLD:
        log->hooks.cold_complete(log, idx, result);
        break;
    }
}

static void
log_populate(struct log *log)
{
    uint8_t *at;
    uint64_t bytes;

    if (log->is_populating)
        return;
    if (!slab_ring_populate_next(&log->ring, &at, &bytes))
        return;
    struct log_job *job = jobs_take(log, JOB_POPULATE, LOG_NONE, 0);
    if (job == NULL)
        return; /* that piece is touched by the first batch instead */
    job->job.kind = DISK_JOB_POPULATE;
    job->job.buffer = at;
    job->job.bytes = bytes;
    log->is_populating = true;
    jobs_send(log, job);
}

/* Takes part in polls that happen anyway: it wakes nobody. */
static void
log_expire_producers(struct log *log)
{
    if (LIKELY(log->now_ns < log->producers_expire_ns) || log->config.producer_age_ns == 0)
        return;
    log->producers_expire_ns = log->now_ns + LOG_EXPIRE_NS;
    uint32_t count = producers_expire(
        &log->producers, log->now_ns, log->config.producer_age_ns, LOG_EXPIRE_COUNT);
    log_count(log, METRIC_PRODUCERS_EXPIRED, count);
}

/* When to run again although nothing has completed: what waits for time alone. */
static uint64_t
log_deadline(const struct log *log)
{
    uint64_t deadline = NO_DEADLINE;

    if (log->job_unsent != LOG_NONE)
        deadline = log->now_ns + 100 * NS_PER_US;
    if (log->reclaim.step == RECLAIM_RETRY)
        deadline = min_u64(deadline, max_u64(log->reclaim.retry_ns, log->now_ns));
    if (log->flush_queued > 0 || log->bulk_queued > 0 || log->seals_count > 0 ||
        log->drops_count > 0 || log->open_first != LOG_NONE)
        deadline = min_u64(deadline, log->now_ns + NS_PER_MS);
    if (log->reclaim.step != RECLAIM_IDLE && log->reclaim.step != RECLAIM_STOPPED)
        deadline = min_u64(deadline, log->now_ns + NS_PER_MS);
    return deadline;
}

uint32_t
log_poll(struct log *log, uint64_t now_ns, uint64_t *ret_deadline_ns)
{
    uint32_t work = 0;

    log->now_ns = now_ns;
    work += jobs_poll(log);
    journal_poll(log->journal);
    work += group_finish(log);
    work += partition_poll_opens(log);
    work += bulk_poll(log);
    work += group_submit(log, false);
    work += flush_poll(log);
    work += seal_poll(log);
    work += reclaim_poll(log);
    work += partition_poll_drops(log);
    if (log->hooks.cold_poll != NULL)
        work += log->hooks.cold_poll(log);
    *ret_deadline_ns = log_deadline(log);
    if (log->hooks.retain_poll != NULL) {
        work += log->hooks.retain_poll(log, now_ns);
        *ret_deadline_ns = min_u64(*ret_deadline_ns, log->retain_next_ns);
    }
    if (log->hooks.compact_poll != NULL) {
        work += log->hooks.compact_poll(log, now_ns);
        *ret_deadline_ns = min_u64(*ret_deadline_ns, log->compact_next_ns);
    }
    log_populate(log);
    log_expire_producers(log);
    log_publish(log);
    return work;
}

bool
log_has_work(struct log *log)
{
    return !ring_is_empty(log->config.jobs_done) ||
           (log->hooks.compact_has_work != NULL && log->hooks.compact_has_work(log));
}

/* ---- ways out ---- */

uint32_t
log_take_acks(struct log *log, struct log_ack *acks, uint32_t count)
{
    uint32_t taken = 0;

    while (taken < count && log->now_acks_taken < log->now_acks_next)
        acks[taken++] = log->now_acks[log->now_acks_taken++ & (LOG_ACKS_MAX - 1)];
    while (taken < count && log->acks_taken < log->acks_released)
        acks[taken++] = log->acks[log->acks_taken++ & (LOG_ACKS_MAX - 1)];
    return taken;
}

uint32_t
log_take_marks(struct log *log, struct log_mark *marks, uint32_t count)
{
    uint32_t taken = 0;

    for (; taken < count && log->mark_first != LOG_NONE; taken++) {
        struct partition *partition = &log->partitions[log->mark_first];
        marks[taken] = (struct log_mark){
            .slot = log->mark_first,
            .incarnation = partition->incarnation,
            .high_watermark = partition_high_watermark(partition),
            .last_stable_offset = partition_last_stable(partition),
            .start_offset = partition->start_offset,
            .total_bytes = partition_total_bytes(partition),
            .waiting = partition->armed,
        };
        log->mark_first = partition->next_mark;
        if (log->mark_first == LOG_NONE)
            log->mark_last = LOG_NONE;
        partition->is_marked = false;
        partition->armed = 0;
    }
    return taken;
}

uint32_t
log_take_events(struct log *log, struct log_event *events, uint32_t count)
{
    uint32_t taken = 0;

    while (taken < count && log->events_first < log->events_next)
        events[taken++] = log->events[log->events_first++ & log->events_mask];
    return taken;
}

void
log_stop(struct log *log)
{
    log->is_stopping = true;
}

/* ---- small questions ---- */

enum rc
log_configure(struct log *log,
              uint32_t slot,
              const struct log_partition_config *config,
              uint64_t ctx)
{
    struct partition *partition = partition_of(log, slot, config->incarnation);
    struct log_event event = {.kind = LOG_EVENT_CONFIGURED, .rc = RC_OK, .slot = slot, .ctx = ctx};

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    partition->config = *config;
    partition->durability = (uint8_t)config->durability;
    transaction_settle(log, partition);
    partition_mark(log, partition);
    event.start_offset = partition->start_offset;
    log_push_event(log, &event);
    return RC_OK;
}

enum rc
log_offsets(const struct log *log,
            uint32_t slot,
            uint64_t incarnation,
            struct log_read_result *ret_result)
{
    const struct partition *partition = partition_of(log, slot, incarnation);

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    ret_result->slot = slot;
    ret_result->start_offset = partition->start_offset;
    ret_result->high_watermark = partition_high_watermark(partition);
    ret_result->last_stable_offset = partition_last_stable(partition);
    ret_result->end_offset = partition->next_offset;
    ret_result->leader_epoch = partition->leader_epoch;
    ret_result->total_bytes = partition_total_bytes(partition);
    return RC_OK;
}

enum rc
log_epoch_end(const struct log *log,
              uint32_t slot,
              uint64_t incarnation,
              int32_t epoch,
              struct log_read_result *ret_result)
{
    enum rc rc = log_offsets(log, slot, incarnation, ret_result);

    if (rc != RC_OK)
        return rc;
    const struct partition *partition = &log->partitions[slot];
    ret_result->leader_epoch = -1;
    ret_result->base_offset = UINT64_MAX;
    for (uint32_t i = partition->epoch_count; i-- > 0;) {
        if (partition->epochs[i].epoch > epoch)
            continue;
        ret_result->leader_epoch = partition->epochs[i].epoch;
        ret_result->base_offset = i + 1 < partition->epoch_count
                                      ? partition->epochs[i + 1].start_offset
                                      : partition->next_offset;
        break;
    }
    return RC_OK;
}

enum rc
log_arm(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester)
{
    struct partition *partition = partition_of(log, slot, incarnation);

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    CHECK(requester < 32);
    partition->armed |= BIT(requester);
    if (partition_high_watermark(partition) != known)
        partition_mark_moved(log, partition);
    return RC_OK;
}

enum rc
log_arm_committed(
    struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester)
{
    struct partition *partition = partition_of(log, slot, incarnation);

    if (partition == NULL)
        return RC_UNKNOWN_PARTITION;
    if (partition->state != PARTITION_OPEN)
        return partition_refusal(partition);
    CHECK(requester < 32);
    /* A move that those who wait already have not been told of is told first. */
    partition_mark_moved(log, partition);
    partition->stable_armed = partition_last_stable(partition);
    if (partition->stable_armed == known) {
        partition->armed_stable |= BIT(requester);
    } else {
        partition->armed |= BIT(requester);
        partition_mark_moved(log, partition);
    }
    return RC_OK;
}
