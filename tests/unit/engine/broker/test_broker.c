/* Goal: every request gets exactly one response, response rings never overflow, and a door that
 * must wait does not stop another. Method: a scripted log (the log_* functions below stand in for
 * log/append) and rings in memory. */
#include "engine/broker/broker.h"

#include "log/retain/retain.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 128u

/* ---- the scripted log ---- */

struct log {
    struct log_ack acks[SLOTS * 2];
    uint32_t ack_count;
    struct log_mark marks[8];
    uint32_t mark_count;
    struct log_event events[8];
    uint32_t event_count;
    bool hold_acks;        /* acks stay inside */
    uint32_t append_again; /* answer AGAIN to slot 7 this many times */
    uint32_t read_again;   /* answer RC_AGAIN this many times */
    uint32_t appended;
    uint32_t stops;
    uint32_t retentions; /* how often retention was attached */
    uint32_t unnamed;    /* partitions that a prune finds: their slots, counting down */
    uint32_t drop_again; /* answer RC_AGAIN this many times */
    uint32_t admit_again;
    uint32_t producers; /* of every partition */
};

static struct log script;

enum log_append_status
log_append(struct log *log, const struct log_append_request *request, struct log_ack *ret_ack)
{
    if (request->slot == 7 && log->append_again > 0) {
        log->append_again--;
        return LOG_APPEND_AGAIN;
    }
    if (request->slot == 9) {
        *ret_ack = (struct log_ack){.ctx = request->ctx, .rc = RC_UNKNOWN_PARTITION, .slot = 9};
        return LOG_APPEND_REFUSED;
    }
    log->acks[log->ack_count++] = (struct log_ack){.ctx = request->ctx,
                                                   .requester = request->requester,
                                                   .slot = request->slot,
                                                   .base_offset = log->appended};
    log->appended++;
    return LOG_APPEND_TAKEN;
}

enum rc
log_transaction_admit(struct log *log, const struct log_transaction *request)
{
    if (log->admit_again > 0) {
        log->admit_again--;
        return RC_AGAIN;
    }
    return request->producer_epoch < 3 ? RC_PRODUCER_EPOCH_STALE : RC_OK;
}

enum log_append_status
log_transaction_marker(struct log *log,
                       const struct log_transaction *request,
                       struct log_ack *ret_ack)
{
    const struct log_append_request append = {
        .slot = request->slot, .requester = request->requester, .ctx = request->ctx};

    return log_append(log, &append, ret_ack);
}

enum rc
log_producers(struct log *log, uint32_t slot, uint64_t incarnation, struct log_producers *cursor)
{
    if (slot == 9 || incarnation == 0)
        return RC_UNKNOWN_PARTITION;
    for (; cursor->next < log->producers && cursor->count < cursor->capacity; cursor->next++)
        cursor->into[cursor->count++] = (struct log_producer){.producer_id = cursor->next};
    return RC_OK;
}

bool
log_read(struct log *log,
         const struct log_read_request *request,
         struct log_read_result *ret_result)
{
    *ret_result = (struct log_read_result){.ctx = request->ctx,
                                           .requester = request->requester,
                                           .slot = request->slot,
                                           .bytes = request->dst_bytes};
    if (log->read_again > 0) {
        log->read_again--;
        ret_result->rc = RC_AGAIN;
    }
    return true;
}

bool
log_find_time(struct log *log,
              const struct log_read_request *request,
              int64_t time_ms,
              struct log_read_result *ret_result)
{
    *ret_result = (struct log_read_result){
        .ctx = request->ctx, .requester = request->requester, .base_offset = (uint64_t)time_ms};
    return log != NULL;
}

enum rc
log_offsets(const struct log *log,
            uint32_t slot,
            uint64_t incarnation,
            struct log_read_result *ret_result)
{
    *ret_result = (struct log_read_result){.start_offset = 1,
                                           .high_watermark = 5,
                                           .last_stable_offset = 4,
                                           .end_offset = 6,
                                           .leader_epoch = 3};
    return log != NULL && slot != 9 && incarnation != 0 ? RC_OK : RC_UNKNOWN_PARTITION;
}

enum rc
log_epoch_end(const struct log *log,
              uint32_t slot,
              uint64_t incarnation,
              int32_t epoch,
              struct log_read_result *ret_result)
{
    *ret_result = (struct log_read_result){.leader_epoch = epoch, .base_offset = 6};
    return log != NULL && slot != 9 && incarnation != 0 ? RC_OK : RC_UNKNOWN_PARTITION;
}

enum rc
log_arm(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester)
{
    return log != NULL && slot != 9 && incarnation != 0 && known < 100 && requester < 17
               ? RC_OK
               : RC_UNKNOWN_PARTITION;
}

enum rc
log_arm_committed(
    struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester)
{
    return log_arm(log, slot, incarnation, known, requester);
}

enum rc
log_open(struct log *log, const struct log_partition_config *config, uint64_t ctx)
{
    if (config->incarnation == 0)
        return RC_LIMIT;
    log->events[log->event_count++] = (struct log_event){
        .kind = LOG_EVENT_OPENED, .slot = 11, .ctx = ctx};
    return RC_OK;
}

uint32_t
log_next_unnamed(const struct log *log, uint64_t *ret_incarnation)
{
    *ret_incarnation = 5;
    return log->unnamed > 0 ? log->unnamed : UINT32_MAX;
}

enum rc
log_drop(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t ctx)
{
    if (log->drop_again > 0) {
        log->drop_again--;
        return RC_AGAIN;
    }
    if (slot == log->unnamed)
        log->unnamed--;
    cr_assert_lt(log->event_count, ARRAY_COUNT(log->events));
    log->events[log->event_count++] = (struct log_event){
        .kind = LOG_EVENT_DROPPED, .slot = slot, .ctx = ctx};
    return incarnation != 0 ? RC_OK : RC_UNKNOWN_PARTITION;
}

enum rc
log_configure(struct log *log,
              uint32_t slot,
              const struct log_partition_config *config,
              uint64_t ctx)
{
    log->events[log->event_count++] = (struct log_event){
        .kind = LOG_EVENT_CONFIGURED, .slot = slot, .ctx = ctx};
    return config != NULL ? RC_OK : RC_INVALID;
}

enum rc
log_trim(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t start_offset, uint64_t ctx)
{
    log->events[log->event_count++] = (struct log_event){
        .kind = LOG_EVENT_TRIMMED, .slot = slot, .ctx = ctx, .start_offset = start_offset};
    return incarnation != 0 ? RC_OK : RC_UNKNOWN_PARTITION;
}

void
retain_attach(struct log *log)
{
    log->retentions++;
}

void
log_stop(struct log *log)
{
    log->stops++;
    log->events[log->event_count++] = (struct log_event){.kind = LOG_EVENT_STOPPED};
}

void
log_complete(struct log *log, uint64_t tag, int32_t result)
{
    (void)log;
    (void)tag;
    (void)result;
}

uint32_t
log_poll(struct log *log, uint64_t now_ns, uint64_t *ret_deadline_ns)
{
    *ret_deadline_ns = now_ns + log->appended * 0 + NS_PER_S;
    return 0;
}

bool
log_has_work(struct log *log)
{
    return log == NULL;
}

uint32_t
log_take_acks(struct log *log, struct log_ack *acks, uint32_t count)
{
    uint32_t taken = log->hold_acks ? 0 : min_u32(count, log->ack_count);

    memcpy(acks, log->acks, taken * sizeof(*acks));
    memmove(log->acks, log->acks + taken, (log->ack_count - taken) * sizeof(*acks));
    log->ack_count -= taken;
    return taken;
}

uint32_t
log_take_reads(struct log *log, struct log_read_result *results, uint32_t count)
{
    return log != NULL && results != NULL && count > 0 ? 0 : 1;
}

uint32_t
log_take_marks(struct log *log, struct log_mark *marks, uint32_t count)
{
    uint32_t taken = min_u32(count, log->mark_count);

    memcpy(marks, log->marks, taken * sizeof(*marks));
    memmove(log->marks, log->marks + taken, (log->mark_count - taken) * sizeof(*marks));
    log->mark_count -= taken;
    return taken;
}

uint32_t
log_take_events(struct log *log, struct log_event *events, uint32_t count)
{
    uint32_t taken = min_u32(count, log->event_count);

    memcpy(events, log->events, taken * sizeof(*events));
    log->event_count = 0;
    return taken;
}

/* ---- the bench ---- */

static struct broker broker;
static struct clock sim_clock;
static struct ring rings[3][2];
static struct byte_ring bytes; /* of requester 2, a net tile */
static _Alignas(64) uint8_t byte_memory[4096];
static _Alignas(128) uint8_t memory[3][2][SLOTS * 64];

static void
set_up(void)
{
    struct broker_link links[3];

    memset(&script, 0, sizeof(script));
    clock_init_sim(&sim_clock, 1, 1000);
    for (uint32_t i = 0; i < 3; i++) {
        ring_init(&rings[i][0], memory[i][0], sizeof(struct request), SLOTS);
        ring_init(&rings[i][1], memory[i][1], sizeof(struct response), SLOTS);
        links[i] = (struct broker_link){.request = &rings[i][0], .response = &rings[i][1]};
    }
    byte_ring_init(&bytes, byte_memory, sizeof(byte_memory));
    links[2].bytes = &bytes;
    broker_init(&broker, &script, &sim_clock, links, 3);
}

TestSuite(broker, .init = set_up, .timeout = 10);

static void
ask(uint8_t kind, uint16_t requester, uint32_t slot, uint64_t ctx)
{
    static const struct log_partition_config config = {.incarnation = 5};
    struct request request = {
        .kind = kind, .requester = requester, .slot = slot, .incarnation = 5, .ctx = ctx};

    if (kind == REQUEST_OPEN || kind == REQUEST_CONFIGURE)
        request.u.open.config = &config;
    if (kind == REQUEST_READ)
        request.u.read.dst_bytes = 1000;
    cr_assert_eq(ring_push(&rings[requester][0], &request, 1), 1u);
}

static void
poll(void)
{
    broker_tile_ops.poll(&broker, 1);
}

static struct response
answer(uint16_t requester)
{
    struct response response;

    cr_assert_eq(ring_pop(&rings[requester][1], &response, 1),
                 1u,
                 "no response for requester %u",
                 requester);
    return response;
}

Test(broker, answers_an_unknown_kind_and_an_unknown_partition)
{
    ask(99, 1, 0, 41);
    ask(REQUEST_PRODUCE, 1, 9, 42);
    ask(REQUEST_OFFSETS, 1, 9, 43);
    poll();
    cr_assert_eq(answer(1).rc, RC_UNSUPPORTED);
    struct response refused = answer(1);
    cr_assert_eq(refused.rc, RC_UNKNOWN_PARTITION);
    cr_assert_eq(refused.ctx, 42u);
    cr_assert_eq(answer(1).rc, RC_UNKNOWN_PARTITION);
    cr_assert(ring_is_empty(&rings[1][1]));
}

Test(broker, attaches_retention_once)
{
    poll();
    cr_assert_eq(script.retentions, 1u);
}

Test(broker, a_waiting_produce_keeps_its_place_and_stops_no_other_door)
{
    script.append_again = 2;
    ask(REQUEST_PRODUCE, 1, 7, 1);
    ask(REQUEST_PRODUCE, 1, 3, 2);
    ask(REQUEST_PRODUCE, 2, 3, 3);
    poll();
    cr_assert(ring_is_empty(&rings[1][1]));
    cr_assert_eq(answer(2).ctx, 3u);
    poll();
    poll();
    cr_assert_eq(answer(1).ctx, 1u);
    cr_assert_eq(answer(1).ctx, 2u);
}

Test(broker, takes_no_more_requests_than_responses_have_room)
{
    uint32_t answered = 0;

    script.hold_acks = true;
    for (uint32_t i = 0; i < SLOTS; i++)
        ask(REQUEST_PRODUCE, 1, 3, i);
    for (uint32_t i = 0; i < 10; i++)
        poll();
    cr_assert_lt(script.appended, SLOTS, "one slot stays free for a mark");
    script.hold_acks = false;
    for (uint32_t round = 0; round < 10; round++) {
        struct response out[SLOTS];
        poll();
        uint32_t count = ring_pop(&rings[1][1], out, SLOTS);
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(out[i].ctx, answered + i, "answers stay in order");
        answered += count;
    }
    cr_assert_eq(answered, SLOTS);
}

Test(broker, acks_0_is_answered_once_and_its_ack_goes_nowhere)
{
    struct request request = {
        .kind = REQUEST_PRODUCE, .flags = REQUEST_FLAG_NO_ACK, .requester = 1, .slot = 3, .ctx = 8};

    cr_assert_eq(ring_push(&rings[1][0], &request, 1), 1u);
    poll();
    cr_assert_eq(answer(1).ctx, 8u);
    poll();
    cr_assert(ring_is_empty(&rings[1][1]));
    cr_assert_eq(broker.requesters[1].outstanding, 0u);
}

/* A batch of a net tile in its byte ring. */
static void
ask_with_bytes(uint32_t slot, uint64_t ctx, uint64_t count)
{
    uint64_t ticket;
    uint8_t *at = byte_ring_reserve(&bytes, count, &ticket);
    struct request request = {.kind = REQUEST_PRODUCE,
                              .flags = REQUEST_FLAG_RELEASE,
                              .requester = 2,
                              .slot = slot,
                              .incarnation = 5,
                              .ctx = ctx,
                              .u.produce = {.batch = at, .batch_bytes = (uint32_t)count}};

    cr_assert_not_null(at);
    request.u.produce.release_to = byte_ring_end(ticket, count);
    cr_assert_eq(ring_push(&rings[2][0], &request, 1), 1u);
}

Test(broker, bytes_of_a_refused_batch_are_given_back)
{
    ask_with_bytes(9, 1, 1000);
    cr_assert_lt(byte_ring_free(&bytes), sizeof(byte_memory));
    poll();
    cr_assert_eq(answer(2).rc, RC_UNKNOWN_PARTITION);
    cr_assert_eq(byte_ring_free(&bytes), sizeof(byte_memory));
}

Test(broker, bytes_of_a_batch_that_must_wait_stay_until_it_is_taken)
{
    script.append_again = 2;
    ask_with_bytes(7, 1, 1000);
    ask_with_bytes(3, 2, 1000);
    uint64_t free_bytes = byte_ring_free(&bytes);
    poll();
    cr_assert_eq(byte_ring_free(&bytes), free_bytes, "given back before it was copied");
    poll();
    poll();
    cr_assert_eq(byte_ring_free(&bytes), sizeof(byte_memory));
    cr_assert_eq(answer(2).ctx, 1u);
    cr_assert_eq(answer(2).ctx, 2u);
}

Test(broker, bytes_are_given_back_long_before_the_answer)
{
    script.hold_acks = true;
    ask_with_bytes(3, 1, 500);
    ask_with_bytes(3, 2, 700);
    poll();
    cr_assert_eq(byte_ring_free(&bytes), sizeof(byte_memory));
    cr_assert(ring_is_empty(&rings[2][1]));
    script.hold_acks = false;
    poll();
    cr_assert_eq(answer(2).ctx, 1u);
    cr_assert_eq(answer(2).ctx, 2u);
}

Test(broker, reads_that_must_wait_are_answered_later_in_order)
{
    script.read_again = 1;
    ask(REQUEST_READ, 2, 3, 1);
    ask(REQUEST_READ, 2, 3, 2);
    poll();
    cr_assert(ring_is_empty(&rings[2][1]));
    poll();
    cr_assert_eq(answer(2).ctx, 1u);
    cr_assert_eq(answer(2).ctx, 2u);
}

Test(broker, a_mark_goes_to_each_armed_requester)
{
    script.marks[0] = (struct log_mark){
        .slot = 4, .incarnation = 77, .high_watermark = 12, .waiting = BIT(1) | BIT(2)};
    script.mark_count = 1;
    poll();
    for (uint16_t requester = 1; requester <= 2; requester++) {
        struct response mark = answer(requester);
        cr_assert_eq(mark.kind, RESPONSE_MARK);
        cr_assert_eq(mark.ctx, 77u);
        cr_assert_eq(mark.high_watermark, 12u);
    }
    cr_assert(ring_is_empty(&rings[0][1]));
}

Test(broker, controls_requests_are_answered_by_their_events)
{
    static const uint8_t kinds[] = {
        REQUEST_OPEN, REQUEST_CONFIGURE, REQUEST_TRIM, REQUEST_DROP, REQUEST_STOP};

    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        ask(kinds[i], REQUESTER_CONTROL, 3, 100 + i);
        poll();
        struct response done = answer(0);
        cr_assert_eq(done.request_kind, kinds[i]);
        cr_assert_eq(done.ctx, 100 + i);
        cr_assert_eq(done.rc, RC_OK);
    }
    cr_assert_eq(script.stops, 1u);
}

static void
ask_transaction(uint8_t kind, uint32_t slot, int16_t epoch)
{
    struct request request = {.kind = kind, .slot = slot, .incarnation = 5, .ctx = 50};

    request.u.transaction.producer_id = 7;
    request.u.transaction.producer_epoch = epoch;
    cr_assert_eq(ring_push(&rings[0][0], &request, 1), 1u);
    poll();
}

Test(broker, transactions_are_admitted_and_marked)
{
    ask_transaction(REQUEST_TXN_ADMIT, 3, 2);
    cr_assert_eq(answer(0).rc, RC_PRODUCER_EPOCH_STALE);
    script.admit_again = 1;
    ask_transaction(REQUEST_TXN_ADMIT, 3, 3);
    cr_assert(ring_is_empty(&rings[0][1]), "its former transaction is ending");
    poll();
    cr_assert_eq(answer(0).rc, RC_OK);
    ask_transaction(REQUEST_TXN_MARKER, 9, 3);
    cr_assert_eq(answer(0).rc, RC_UNKNOWN_PARTITION);
    ask_transaction(REQUEST_TXN_MARKER, 3, 3);
    struct response marked = answer(0);
    cr_assert_eq(marked.rc, RC_OK);
    cr_assert_eq(marked.request_kind, REQUEST_TXN_MARKER);
    cr_assert_eq(marked.ctx, 50u);
}

Test(broker, tells_as_many_producers_as_there_is_room_for)
{
    static struct request_producer told[200];
    struct request request = {.kind = REQUEST_PRODUCERS, .slot = 9, .incarnation = 5};

    request.u.find.dst = (uint8_t *)told;
    request.u.find.dst_bytes = sizeof(told);
    cr_assert_eq(ring_push(&rings[0][0], &request, 1), 1u);
    poll();
    cr_assert_eq(answer(0).rc, RC_UNKNOWN_PARTITION);
    request.slot = 3;
    const uint32_t counts[] = {0, 1, BROKER_PRODUCERS_MAX, BROKER_PRODUCERS_MAX + 1, 200, 300};
    for (uint32_t i = 0; i < ARRAY_COUNT(counts); i++) {
        script.producers = counts[i];
        cr_assert_eq(ring_push(&rings[0][0], &request, 1), 1u);
        for (uint32_t k = 0; k < 8; k++)
            poll();
        struct response done = answer(0);
        uint32_t expected = min_u32(counts[i], 200);
        cr_assert_eq(done.rc, RC_OK);
        cr_assert_eq(done.bytes, expected * sizeof(told[0]), "%u of %u", done.bytes, counts[i]);
        for (uint32_t k = 0; k < expected; k++)
            cr_assert_eq(told[k].producer_id, (int64_t)k);
    }
}

Test(broker, offsets_tell_the_last_stable_one)
{
    ask(REQUEST_OFFSETS, 1, 3, 43);
    poll();
    cr_assert_eq(answer(1).base_offset, 4u);
}

Test(broker, a_wrong_leader_epoch_is_told_apart)
{
    struct request request = {
        .kind = REQUEST_EPOCH_END, .requester = 1, .slot = 3, .incarnation = 5};

    for (int32_t epoch = 2; epoch <= 4; epoch++) {
        request.u.epoch_end.epoch = 1;
        request.u.epoch_end.leader_epoch = epoch;
        cr_assert_eq(ring_push(&rings[1][0], &request, 1), 1u);
    }
    poll();
    cr_assert_eq(answer(1).rc, RC_LEADER_EPOCH_FENCED);
    cr_assert_eq(answer(1).rc, RC_OK);
    cr_assert_eq(answer(1).rc, RC_LEADER_EPOCH_UNKNOWN);
}

Test(broker, a_prune_drops_what_no_topic_names_and_is_answered_once)
{
    script.unnamed = 3;
    script.drop_again = 1;
    ask(REQUEST_PRUNE, REQUESTER_CONTROL, 0, 60);
    poll();
    cr_assert(ring_is_empty(&rings[0][1]), "a drop without room is offered again");
    poll();
    poll();
    cr_assert_eq(answer(0).ctx, 60u);
    cr_assert(ring_is_empty(&rings[0][1]), "the drops themselves are nobody's answer");
    cr_assert_eq(script.unnamed, 0u);
}
