#include "engine/broker/broker.h"

#include "engine/base/check.h"
#include "engine/base/diag.h"
#include "log/retain/retain.h"

/* When a requester is slow to pop, its marks are offered again after this time. */
#define BROKER_MARK_RETRY_NS (200 * NS_PER_US)

/* Tells the drops that a prune started from those that control waits for; control's ctx never has
 * all bits set. */
#define BROKER_CTX_PRUNED UINT64_MAX

static void
broker_count(_Atomic uint64_t *counter, uint64_t add)
{
    /* Single writer; readers are metrics and may see the sum late. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + add, memory_order_relaxed);
}

void
broker_init(struct broker *broker,
            struct log *log,
            struct clock *clock,
            const struct broker_link *links,
            uint32_t link_count)
{
    CHECK(link_count >= 1);
    CHECK(link_count <= REQUESTERS_MAX);

    *broker = (struct broker){.log = log, .clock = clock, .requester_count = link_count};
    for (uint32_t i = 0; i < link_count; i++)
        broker->requesters[i].link = links[i];
    retain_attach(log);
}

/* ---- responses ---- */

/* A slot is sure to be there: see broker_room(). */
static struct response *
broker_response(struct broker *broker, uint32_t requester_idx)
{
    CHECK(requester_idx < broker->requester_count);
    struct broker_requester *requester = &broker->requesters[requester_idx];
    struct response *response = ring_reserve(requester->link.response);

    CHECK(response != NULL);
    requester->notify = true;
    return response;
}

static void
broker_answer(struct broker *broker, uint32_t requester_idx, const struct response *response)
{
    struct broker_requester *requester = &broker->requesters[requester_idx];

    CHECK(requester->outstanding > 0);
    requester->outstanding--;
    *broker_response(broker, requester_idx) = *response;
}

static void
broker_answer_rc(struct broker *broker, const struct request *request, enum rc rc)
{
    struct response response = {
        .kind = RESPONSE_DONE,
        .request_kind = request->kind,
        .rc = (uint16_t)rc,
        .slot = request->slot,
        .ctx = request->ctx,
    };

    broker_answer(broker, request->requester, &response);
}

static void
broker_answer_ack(struct broker *broker, const struct log_ack *ack)
{
    bool is_marker = ack->requester != BROKER_REQUESTER_NONE &&
                     (ack->requester & BROKER_REQUESTER_MARKER) != 0;
    struct response response = {
        .kind = RESPONSE_DONE,
        .request_kind = is_marker ? REQUEST_TXN_MARKER : REQUEST_PRODUCE,
        .rc = ack->rc,
        .slot = ack->slot,
        .ctx = ack->ctx,
        .base_offset = ack->base_offset,
        .start_offset = ack->start_offset,
        .u.append_time_ms = ack->append_time_ms,
    };

    if (ack->requester != BROKER_REQUESTER_NONE)
        broker_answer(broker, ack->requester & ~BROKER_REQUESTER_MARKER, &response);
}

static void
broker_answer_read(struct broker *broker,
                   const struct log_read_result *result,
                   uint8_t request_kind)
{
    struct response response = {
        .kind = RESPONSE_DONE,
        .request_kind = request_kind,
        .rc = result->rc,
        .slot = result->slot,
        .ctx = result->ctx,
        .base_offset = result->base_offset,
        .high_watermark = result->high_watermark,
        .start_offset = result->start_offset,
        .total_bytes = result->total_bytes,
        .bytes = result->bytes,
        .leader_epoch = result->leader_epoch,
    };

    if (request_kind == REQUEST_OFFSETS)
        response.u.end_offset = result->end_offset;
    else
        response.u.last_stable_offset = result->last_stable_offset;
    broker_answer(broker, result->requester, &response);
}

/* ---- requests ---- */

/* True when the request was taken; false when it must be offered again. */
static bool
broker_produce(struct broker *broker, const struct request *request, int64_t wall_ms)
{
    bool no_ack = (request->flags & REQUEST_FLAG_NO_ACK) != 0;
    struct log_append_request append = {
        .slot = request->slot,
        .incarnation = request->incarnation,
        .batch = request->u.produce.batch,
        .batch_bytes = request->u.produce.batch_bytes,
        .requester = no_ack ? BROKER_REQUESTER_NONE : request->requester,
        .ctx = request->ctx,
        .wall_ms = wall_ms,
    };
    struct log_ack ack;

    enum log_append_status status = log_append(broker->log, &append, &ack);

    if (status == LOG_APPEND_AGAIN) {
        broker_count(&broker->counters.appends_again, 1);
        return false;
    }
    if ((request->flags & REQUEST_FLAG_RELEASE) != 0)
        byte_ring_release_to(broker->requesters[request->requester].link.bytes,
                             request->u.produce.release_to);
    switch (status) {
    case LOG_APPEND_AGAIN:
        break;
    case LOG_APPEND_REFUSED:
        ack.requester = request->requester;
        broker_answer_ack(broker, &ack);
        return true;
    case LOG_APPEND_TAKEN:
        if (no_ack)
            broker_answer_rc(broker, request, RC_OK);
        return true;
    }
    CHECK(false);
    return true;
}

static struct log_read_request
broker_read_request(const struct request *request)
{
    struct log_read_request read = {
        .slot = request->slot,
        .incarnation = request->incarnation,
        .requester = request->requester,
        .ctx = request->ctx,
        .leader_epoch = -1,
    };

    if (request->kind == REQUEST_READ) {
        read.offset = request->u.read.offset;
        read.dst = request->u.read.dst;
        read.dst_bytes = request->u.read.dst_bytes;
        read.max_bytes = request->u.read.max_bytes;
        read.leader_epoch = request->u.read.leader_epoch;
        read.whole_first = (request->flags & REQUEST_FLAG_WHOLE) != 0;
        read.arm = (request->flags & REQUEST_FLAG_ARM) != 0;
        read.is_committed = (request->flags & REQUEST_FLAG_COMMITTED) != 0;
    } else {
        read.dst = request->u.find.dst;
        read.dst_bytes = request->u.find.dst_bytes;
        read.max_bytes = request->u.find.dst_bytes;
        read.whole_first = true;
    }
    return read;
}

/* True when the request was answered or a cold read was started; false when it must be offered
 * again. */
static bool
broker_read(struct broker *broker, const struct request *request)
{
    struct log_read_request read = broker_read_request(request);
    struct log_read_result result;
    bool done;

    if (read.dst_bytes > 0 && broker->copied_bytes >= BROKER_COPY_BYTES)
        return false;
    if (request->kind == REQUEST_READ)
        done = log_read(broker->log, &read, &result);
    else
        done = log_find_time(broker->log,
                             &read,
                             request->kind == REQUEST_FIND_TIME ? request->u.find.time_ms
                                                                : INT64_MAX,
                             &result);
    if (!done)
        return true;
    if (result.rc == RC_AGAIN)
        return false;
    broker->copied_bytes += result.bytes;
    broker_answer_read(broker, &result, request->kind);
    return true;
}

/* Offsets and epochs are answered from memory. */
static void
broker_lookup(struct broker *broker, const struct request *request)
{
    struct log_read_result result = {0};
    enum rc rc;

    if (request->kind == REQUEST_OFFSETS)
        rc = log_offsets(broker->log, request->slot, request->incarnation, &result);
    else
        rc = log_epoch_end(
            broker->log, request->slot, request->incarnation, request->u.epoch_end.epoch, &result);
    if (rc != RC_OK) {
        broker_answer_rc(broker, request, rc);
        return;
    }
    if (request->kind == REQUEST_EPOCH_END && request->u.epoch_end.leader_epoch >= 0) {
        struct log_read_result now = {0};
        rc = log_offsets(broker->log, request->slot, request->incarnation, &now);
        if (rc == RC_OK && request->u.epoch_end.leader_epoch < now.leader_epoch)
            rc = RC_LEADER_EPOCH_FENCED;
        else if (rc == RC_OK && request->u.epoch_end.leader_epoch > now.leader_epoch)
            rc = RC_LEADER_EPOCH_UNKNOWN;
    }
    if (request->kind == REQUEST_OFFSETS)
        result.base_offset = result.last_stable_offset;
    result.rc = (uint16_t)rc;
    result.slot = request->slot;
    result.ctx = request->ctx;
    result.requester = request->requester;
    broker_answer_read(broker, &result, request->kind);
}

/* The coordinator's requests. False: no room now, the request must be offered again. */
static bool
broker_transaction(struct broker *broker, const struct request *request)
{
    const struct log_transaction transaction = {
        .slot = request->slot,
        .incarnation = request->incarnation,
        .producer_id = request->u.transaction.producer_id,
        .wall_ms = request->u.transaction.wall_ms,
        .coordinator_epoch = request->u.transaction.coordinator_epoch,
        .producer_epoch = request->u.transaction.producer_epoch,
        .is_commit = request->u.transaction.is_commit,
        .requester = (uint16_t)(request->requester | BROKER_REQUESTER_MARKER),
        .ctx = request->ctx,
    };
    struct log_ack ack;

    if (request->kind == REQUEST_TXN_ADMIT) {
        enum rc rc = log_transaction_admit(broker->log, &transaction);
        if (rc != RC_AGAIN)
            broker_answer_rc(broker, request, rc);
        return rc != RC_AGAIN;
    }
    switch (log_transaction_marker(broker->log, &transaction, &ack)) {
    case LOG_APPEND_AGAIN:
        broker_count(&broker->counters.appends_again, 1);
        return false;
    case LOG_APPEND_REFUSED:
        broker_answer_ack(broker, &ack);
        return true;
    case LOG_APPEND_TAKEN:
        return true;
    }
    CHECK(false);
    return true;
}

/* Tells producers a few at a time, over as many polls as it takes. */
static bool
broker_producers(struct broker *broker, const struct request *request)
{
    struct log_producer told[BROKER_PRODUCERS_MAX];
    struct log_producers *walk = &broker->producers;
    uint32_t room = request->u.find.dst_bytes / (uint32_t)sizeof(struct request_producer);

    walk->into = told;
    walk->count = 0;
    walk->capacity = min_u32(room - broker->producers_told, BROKER_PRODUCERS_MAX);
    enum rc rc = log_producers(broker->log, request->slot, request->incarnation, walk);
    for (uint32_t i = 0; i < walk->count; i++) {
        const struct request_producer producer = {
            .producer_id = told[i].producer_id,
            .last_append_ms = told[i].last_append_ms,
            .transaction_first_offset = told[i].transaction_first_offset,
            .coordinator_epoch = told[i].coordinator_epoch,
            .last_sequence = told[i].last_sequence,
            .producer_epoch = told[i].producer_epoch,
        };
        uint64_t at = (uint64_t)broker->producers_told++ * sizeof(producer);
        bytes_copy(
            request->u.find.dst + at, request->u.find.dst_bytes - at, &producer, sizeof(producer));
    }
    /* A step that filled its own room goes on while the requester's is not full. */
    if (rc == RC_AGAIN || (rc == RC_OK && walk->count == BROKER_PRODUCERS_MAX))
        return false;
    struct response response = {
        .kind = RESPONSE_DONE,
        .request_kind = REQUEST_PRODUCERS,
        .rc = (uint16_t)rc,
        .slot = request->slot,
        .ctx = request->ctx,
        .bytes = broker->producers_told * (uint32_t)sizeof(struct request_producer),
    };
    broker->producers = (struct log_producers){0};
    broker->producers_told = 0;
    broker_answer(broker, request->requester, &response);
    return true;
}

/* Drops, one after the other, the partitions that metadata do not name. RC_AGAIN: some are left;
 * RC_OK: all are on their way. */
static enum rc
broker_prune(struct broker *broker)
{
    uint64_t incarnation = 0;
    uint32_t slot;

    while ((slot = log_next_unnamed(broker->log, &incarnation)) != UINT32_MAX) {
        enum rc rc = log_drop(broker->log, slot, incarnation, BROKER_CTX_PRUNED);
        if (rc != RC_OK)
            return rc;
        diag_info("partition_pruned",
                  "incarnation=%llx reason=no_topic_names_it",
                  (unsigned long long)incarnation);
    }
    return RC_OK;
}

/* Control's requests: those that start something are answered by an event later. False: no room
 * now, the request must be offered again. */
static bool
broker_manage(struct broker *broker, const struct request *request)
{
    enum rc rc = RC_OK;

    switch (request->kind) {
    case REQUEST_OPEN:
        rc = log_open(broker->log, request->u.open.config, request->ctx);
        break;
    case REQUEST_DROP:
        rc = log_drop(broker->log, request->slot, request->incarnation, request->ctx);
        break;
    case REQUEST_CONFIGURE:
        rc = log_configure(broker->log, request->slot, request->u.open.config, request->ctx);
        break;
    case REQUEST_TRIM:
        rc = log_trim(broker->log,
                      request->slot,
                      request->incarnation,
                      request->u.trim.start_offset,
                      request->ctx);
        break;
    case REQUEST_PRUNE:
        rc = broker_prune(broker);
        if (rc == RC_OK)
            broker_answer_rc(broker, request, RC_OK);
        break;
    case REQUEST_STOP:
        broker->stop_ctx = request->ctx;
        log_stop(broker->log);
        break;
    default:
        rc = RC_UNSUPPORTED;
        break;
    }
    if (rc == RC_AGAIN)
        return false;
    if (rc != RC_OK)
        broker_answer_rc(broker, request, rc);
    return true;
}

static enum rc
broker_arm(struct broker *broker, const struct request *request)
{
    enum rc (*arm)(struct log *, uint32_t, uint64_t, uint64_t, uint16_t) = log_arm;

    if ((request->flags & REQUEST_FLAG_COMMITTED) != 0)
        arm = log_arm_committed;
    return arm(broker->log,
               request->slot,
               request->incarnation,
               request->u.arm.high_watermark,
               request->requester);
}

static bool
broker_defer(struct broker *broker, const struct request *request)
{
    if (broker->deferred_count == BROKER_DEFERRED_MAX)
        return false;
    uint32_t idx = (broker->deferred_first + broker->deferred_count) % BROKER_DEFERRED_MAX;
    broker->deferred[idx] = *request;
    broker->deferred_count++;
    broker_count(&broker->counters.reads_deferred, 1);
    return true;
}

/* True when the request left the head of its ring. */
static bool
broker_take(struct broker *broker, const struct request *request, int64_t wall_ms)
{
    switch (request->kind) {
    case REQUEST_PRODUCE:
        return broker_produce(broker, request, wall_ms);
    case REQUEST_READ:
    case REQUEST_FIND_TIME:
    case REQUEST_FIND_MAX_TIME:
        /* Reads keep their order among themselves: once one waits, later ones wait behind it. */
        if (broker->deferred_count == 0 && broker_read(broker, request))
            return true;
        return broker_defer(broker, request);
    case REQUEST_ARM:
        broker_answer_rc(broker, request, broker_arm(broker, request));
        return true;
    case REQUEST_OFFSETS:
    case REQUEST_EPOCH_END:
        broker_lookup(broker, request);
        return true;
    case REQUEST_TXN_ADMIT:
    case REQUEST_TXN_MARKER:
        return broker_transaction(broker, request);
    case REQUEST_PRODUCERS:
        return broker_producers(broker, request);
    default:
        return broker_manage(broker, request);
    }
}

/* How many more requests may be popped so that each response, and one mark, finds a slot. */
static uint32_t
broker_room(const struct broker_requester *requester)
{
    uint32_t free_count = ring_free(requester->link.response);
    uint32_t promised = requester->outstanding + 1;

    return free_count > promised ? free_count - promised : 0;
}

static uint32_t
broker_drain(struct broker *broker, struct broker_requester *requester, int64_t wall_ms)
{
    uint32_t room = min_u32(BROKER_BURST, broker_room(requester));
    uint32_t work = 0;

    if (requester->is_held) {
        if (!broker_take(broker, &requester->held, wall_ms))
            return 0;
        requester->is_held = false;
        work++;
    }
    for (; work < room; work++) {
        const struct request *next = ring_peek(requester->link.request);
        if (next == NULL)
            break;
        requester->held = *next;
        CHECK(requester->held.requester == (uint16_t)(requester - broker->requesters));
        ring_advance(requester->link.request);
        requester->outstanding++;
        if (!broker_take(broker, &requester->held, wall_ms)) {
            requester->is_held = true;
            break;
        }
    }
    return work;
}

static uint32_t
broker_retry_reads(struct broker *broker)
{
    uint32_t work = 0;

    for (; broker->deferred_count > 0; work++) {
        if (!broker_read(broker, &broker->deferred[broker->deferred_first]))
            break;
        broker->deferred_first = (broker->deferred_first + 1) % BROKER_DEFERRED_MAX;
        broker->deferred_count--;
    }
    return work;
}

/* ---- results ---- */

static uint32_t
broker_take_acks(struct broker *broker)
{
    struct log_ack acks[BROKER_BURST];
    uint32_t work = 0;
    uint32_t count;

    /* Bounded by what is outstanding: every ack answers one request. */
    do {
        count = log_take_acks(broker->log, acks, BROKER_BURST);
        for (uint32_t i = 0; i < count; i++)
            broker_answer_ack(broker, &acks[i]);
        work += count;
    } while (count == BROKER_BURST);
    return work;
}

static uint32_t
broker_take_reads(struct broker *broker)
{
    struct log_read_result results[BROKER_BURST];
    uint32_t count = log_take_reads(broker->log, results, BROKER_BURST);

    for (uint32_t i = 0; i < count; i++)
        broker_answer_read(broker, &results[i], REQUEST_READ);
    return count;
}

/* Marks are not answers: they use only slots that no answer is promised. */
static uint32_t
broker_mark_room(const struct broker *broker)
{
    uint32_t room = BROKER_BURST;

    for (uint32_t i = 0; i < broker->requester_count; i++) {
        const struct broker_requester *requester = &broker->requesters[i];
        uint32_t free_count = ring_free(requester->link.response);
        uint32_t spare = free_count > requester->outstanding ? free_count - requester->outstanding
                                                             : 0;
        room = min_u32(room, spare);
    }
    return room;
}

static uint32_t
broker_take_marks(struct broker *broker, bool *ret_short_of_room)
{
    struct log_mark marks[BROKER_BURST];
    uint32_t room = broker_mark_room(broker);
    uint32_t count = log_take_marks(broker->log, marks, room);

    *ret_short_of_room = room == 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct log_mark *mark = &marks[i];
        for (uint32_t waiting = mark->waiting; waiting != 0; waiting &= waiting - 1) {
            uint32_t requester_idx = (uint32_t)__builtin_ctz(waiting);
            *broker_response(broker, requester_idx) = (struct response){
                .kind = RESPONSE_MARK,
                .slot = mark->slot,
                .ctx = mark->incarnation,
                .high_watermark = mark->high_watermark,
                .start_offset = mark->start_offset,
                .u.last_stable_offset = mark->last_stable_offset,
                .total_bytes = mark->total_bytes,
            };
        }
    }
    broker_count(&broker->counters.marks, count);
    return count;
}

static uint32_t
broker_take_events(struct broker *broker)
{
    static const uint8_t kinds[] = {
        [LOG_EVENT_OPENED] = REQUEST_OPEN,
        [LOG_EVENT_DROPPED] = REQUEST_DROP,
        [LOG_EVENT_TRIMMED] = REQUEST_TRIM,
        [LOG_EVENT_CONFIGURED] = REQUEST_CONFIGURE,
        [LOG_EVENT_STOPPED] = REQUEST_STOP,
    };
    struct log_event events[BROKER_BURST];
    uint32_t count = log_take_events(broker->log, events, BROKER_BURST);

    for (uint32_t i = 0; i < count; i++) {
        if (events[i].kind == LOG_EVENT_DROPPED && events[i].ctx == BROKER_CTX_PRUNED)
            continue; /* nobody waits for it */
        struct response response = {
            .kind = RESPONSE_DONE,
            .request_kind = kinds[events[i].kind],
            .rc = (uint16_t)events[i].rc,
            .slot = events[i].slot,
            .ctx = events[i].kind == LOG_EVENT_STOPPED ? broker->stop_ctx : events[i].ctx,
            .start_offset = events[i].start_offset,
        };
        broker_answer(broker, REQUESTER_CONTROL, &response);
    }
    return count;
}

static void
broker_publish(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->requester_count; i++) {
        struct broker_requester *requester = &broker->requesters[i];
        if (!requester->notify)
            continue;
        requester->notify = false;
        ring_publish(requester->link.response);
        if (requester->link.waker != NULL)
            waker_notify(requester->link.waker);
    }
}

/* ---- the tile ---- */

static struct tile_report
broker_poll(void *object, uint64_t now_ns)
{
    struct broker *broker = object;
    struct tile_report report = {.deadline_ns = NO_DEADLINE};
    int64_t wall_ms = clock_wall_ms(broker->clock);

    broker->copied_bytes = 0;
    report.work += broker_retry_reads(broker);
    for (uint32_t i = 0; i < broker->requester_count; i++)
        report.work += broker_drain(broker, &broker->requesters[i], wall_ms);
    broker_count(&broker->counters.requests, report.work);

    report.work += log_poll(broker->log, now_ns, &report.deadline_ns);
    report.work += broker_take_acks(broker);
    report.work += broker_take_reads(broker);
    bool marks_wait = false;
    report.work += broker_take_marks(broker, &marks_wait);
    if (marks_wait)
        report.deadline_ns = min_u64(report.deadline_ns, now_ns + BROKER_MARK_RETRY_NS);
    report.work += broker_take_events(broker);
    broker_publish(broker);
    return report;
}

static void
broker_complete(void *object, uint64_t tag, int32_t result)
{
    struct broker *broker = object;

    log_complete(broker->log, tag, result);
}

static bool
broker_has_work(void *object)
{
    struct broker *broker = object;

    for (uint32_t i = 0; i < broker->requester_count; i++) {
        struct broker_requester *requester = &broker->requesters[i];
        if (!requester->is_held && !ring_is_empty(requester->link.request))
            return true;
    }
    return log_has_work(broker->log);
}

const struct tile_ops broker_tile_ops = {
    .poll = broker_poll,
    .complete = broker_complete,
    .has_work = broker_has_work,
};
