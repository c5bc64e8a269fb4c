/* CALL and ANSWER: Kafka requests of native clients, answered by the control tile as a gate's are.
 * Only what a native client needs is let through. Request and reply lie in memory of the call; a
 * reply that does not fit is asked for again with a large buffer. */
#include "net/door/door_internal.h"

static const int16_t call_allowed[] = {
    KAFKA_METADATA,
    KAFKA_INIT_PRODUCER_ID,
    KAFKA_CREATE_TOPICS,
    KAFKA_DELETE_TOPICS,
    KAFKA_LIST_OFFSETS,
};

static uint8_t *
call_request_at(struct door *door, uint32_t idx)
{
    return door->call_memory + (size_t)idx * (DOOR_CALL_REQUEST_BYTES + DOOR_CALL_REPLY_BYTES);
}

static uint8_t *
call_reply_at(struct door *door, uint32_t idx)
{
    uint32_t message = door__call(door, idx)->message;

    return message != DOOR_NONE ? door__message(door, message)
                                : call_request_at(door, idx) + DOOR_CALL_REQUEST_BYTES;
}

static void
call_list_add(struct door *door, struct door_list *list, uint32_t idx)
{
    door__call(door, idx)->next_queued = DOOR_NONE;
    if (list->first == DOOR_NONE)
        list->first = idx;
    else
        door__call(door, list->last)->next_queued = idx;
    list->last = idx;
}

/* Memory of a call that no one needs any longer. */
static void
call_give(struct door *door, uint32_t idx)
{
    struct door_call *call = door__call(door, idx);

    if (call->message != DOOR_NONE)
        door_message__lend_end(door, call->message);
    slab_give(&door->calls, idx);
    door->kick = true;
}

static void
call_free(struct door *door, struct door_session *session, uint32_t idx)
{
    uint32_t *link = &session->calls;

    while (*link != idx)
        link = &door__call(door, *link)->next;
    *link = door__call(door, idx)->next;
    session->call_count--;
    call_give(door, idx);
}

/* ---- pieces in ---- */

static enum rc
call_refuse(struct door *door, struct door_session *session, int16_t error)
{
    const struct door_note note = {.kind = DOOR_NOTE_ANSWER,
                                   .status = (uint16_t)error,
                                   .request = session->call_first.request};

    door_session__activate(door, session);
    return door_note__add(door, session, &note);
}

/* One that is refused is told so when it is complete: an answer that overtook the request would be
 * none to the client. */
static void
call_begin(struct door *door, struct door_session *session, const struct wire_call *piece)
{
    session->call_first = *piece;
    session->call_bytes = 0;
    session->call_status = 0;
    session->call_arriving = DOOR_NONE;
    if (piece->piece.total_bytes > DOOR_CALL_REQUEST_BYTES) {
        session->call_status = KAFKA_ERROR_MESSAGE_TOO_LARGE;
        return;
    }
    if (!door__may_hold(&door->calls, session->call_count, 1)) {
        session->call_status = KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED;
        return;
    }
    uint32_t idx = slab_take(&door->calls);
    CHECK(idx != SLAB_NONE); /* door__may_hold() */
    *door__call(door, idx) = (struct door_call){
        .session = door__session_idx(door, session),
        .next = session->calls,
        .state = CALL_ARRIVING,
        .request = piece->request,
        .total_bytes = piece->piece.total_bytes,
        .message = DOOR_NONE,
    };
    session->calls = idx;
    session->call_count++;
    session->call_arriving = idx;
}

static bool
call_fits(const struct door_session *session, const struct wire_call *piece)
{
    const struct wire_call *first = &session->call_first;

    if (session->call_next == 0)
        return piece->piece.index == 0;
    return piece->piece.index == session->call_next && piece->request == first->request &&
           piece->piece.count == first->piece.count &&
           piece->piece.total_bytes == first->piece.total_bytes;
}

/* A whole request has arrived. */
static enum rc
call_arrived(struct door *door, struct door_session *session, uint32_t idx)
{
    const uint8_t *request = call_request_at(door, idx);
    struct door_call *call = door__call(door, idx);
    bool allowed = false;

    for (size_t i = 0; call->total_bytes >= 2 && i < ARRAY_COUNT(call_allowed); i++)
        allowed = allowed || (int16_t)get_u16_be(request) == call_allowed[i];
    if (!allowed) {
        call_free(door, session, idx);
        return call_refuse(door, session, KAFKA_ERROR_INVALID_REQUEST);
    }
    call->state = CALL_QUEUED;
    call_list_add(door, &door->calls_queued, idx);
    door__count(&door->counters.calls, 1);
    return RC_OK;
}

enum rc
door_call__piece(struct door *door, struct door_session *session, const struct wire_call *piece)
{
    bool is_last = piece->piece.index + 1u == piece->piece.count;

    if (!call_fits(session, piece))
        return RC_MALFORMED;
    if (is_last && !door_note__has_room(door, session))
        return door_note__wait(door, session); /* it may have to be refused */
    if (piece->piece.index == 0)
        call_begin(door, session, piece);
    uint32_t idx = session->call_arriving;
    uint64_t end = (uint64_t)session->call_bytes + piece->piece.bytes.count;
    if (end > piece->piece.total_bytes || (is_last && end != piece->piece.total_bytes))
        return RC_MALFORMED;
    if (idx != DOOR_NONE)
        bytes_copy(call_request_at(door, idx) + session->call_bytes,
                   DOOR_CALL_REQUEST_BYTES - session->call_bytes,
                   piece->piece.bytes.at,
                   piece->piece.bytes.count);
    session->call_bytes = (uint32_t)end;
    session->call_next = (uint16_t)(piece->piece.index + 1);
    session->pieces++;
    if (!is_last)
        return RC_OK;
    session->call_next = 0;
    session->call_arriving = DOOR_NONE;
    return idx == DOOR_NONE ? call_refuse(door, session, (int16_t)session->call_status)
                            : call_arrived(door, session, idx);
}

/* ---- to control and back ---- */

static bool
call_issue_one(struct door *door, uint32_t idx)
{
    struct door_call *call = door__call(door, idx);

    if (call->reply_wanted > 0 && call->message == DOOR_NONE) {
        call->message = door_message__lend(door);
        if (call->message == DOOR_NONE)
            return false;
    }
    struct request *request = door_link__reserve(door, door__control(door), 1);
    if (request == NULL)
        return false;
    call->state = CALL_ASKED;
    request->kind = REQUEST_KAFKA;
    request->flags = 0;
    request->slot = call->session;
    request->incarnation = 0;
    request->ctx = door__ctx(DOOR_CTX_CALL, idx);
    request->u.kafka.frame = call_request_at(door, idx);
    request->u.kafka.frame_bytes = call->total_bytes;
    request->u.kafka.reply = call_reply_at(door, idx);
    request->u.kafka.reply_capacity = call->message != DOOR_NONE ? DOOR_MESSAGE_BYTES
                                                                 : DOOR_CALL_REPLY_BYTES;
    memcpy(request->u.kafka.peer,
           door__session(door, call->session)->peer.ip,
           sizeof(request->u.kafka.peer));
    return true;
}

void
door_call__issue(struct door *door)
{
    while (door->calls_queued.first != DOOR_NONE) {
        uint32_t idx = door->calls_queued.first;
        uint32_t next = door__call(door, idx)->next_queued;
        bool is_orphan = door__call(door, idx)->session == DOOR_NONE;
        if (!is_orphan && !call_issue_one(door, idx))
            return;
        door->calls_queued.first = next;
        if (is_orphan)
            call_give(door, idx);
    }
}

static uint32_t
call_piece_bytes(const struct door_session *session)
{
    return session_frame_bytes_max(session->session) - WIRE_FRAME_HEADER_BYTES -
           WIRE_CALL_HEAD_BYTES;
}

void
door_call__answered(struct door *door, const struct response *response)
{
    uint32_t idx = (uint32_t)response->ctx;
    struct door_call *call = door__call(door, idx);
    enum rc rc = (enum rc)response->rc;

    CHECK(call->state == CALL_ASKED);
    door_link__release(door, door__control(door), 1);
    if (call->session == DOOR_NONE) {
        door->orphans--;
        call_give(door, idx);
        return;
    }
    if (rc == RC_NO_MEMORY && call->message == DOOR_NONE && response->bytes <= DOOR_MESSAGE_BYTES) {
        call->reply_wanted = response->bytes;
        call->state = CALL_QUEUED;
        call_list_add(door, &door->calls_queued, idx);
        return;
    }
    struct door_session *session = door__session(door, call->session);
    uint32_t piece = call_piece_bytes(session);
    call->state = CALL_SENDING;
    call->reply_bytes = rc == RC_OK ? response->bytes : 0;
    call->status = rc == RC_OK ? 0
                               : (uint16_t)(rc == RC_NO_MEMORY
                                                ? KAFKA_ERROR_MESSAGE_TOO_LARGE
                                                : kafka_error_from_rc(rc, KAFKA_METADATA, 12));
    uint32_t pieces = call->reply_bytes == 0 ? 1 : (call->reply_bytes + piece - 1) / piece;
    call->piece_count = (uint16_t)pieces;
    call_list_add(door, &session->answers, idx);
    door_session__activate(door, session);
}

/* ---- pieces out ---- */

static bool
call_send_piece(struct door *door, struct door_session *session, uint32_t idx)
{
    struct door_call *call = door__call(door, idx);
    uint32_t bytes = min_u32(call->reply_bytes - call->piece_at, call_piece_bytes(session));
    const uint8_t *from = call_reply_at(door, idx) + call->piece_at;
    const struct wire_call answer = {
        .request = call->request,
        .status = call->status,
        .piece = {.total_bytes = call->reply_bytes,
                  .index = call->piece_index,
                  .count = call->piece_count,
                  .bytes = {from, bytes}},
    };
    uint32_t wanted = WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES + bytes;
    uint8_t *at = session_reserve(session->session, wanted);

    if (at == NULL)
        return false;
    uint32_t head = wire_call_encode_head(at, WIRE_FRAME_ANSWER, &answer);
    if (bytes > 0)
        bytes_copy(at + head, wanted - head, from, bytes);
    session_commit(session->session, head + bytes);
    call->piece_at += bytes;
    call->piece_index++;
    return true;
}

bool
door_call__send(struct door *door, struct door_session *session)
{
    while (session->answers.first != DOOR_NONE) {
        uint32_t idx = session->answers.first;
        struct door_call *call = door__call(door, idx);
        while (call->piece_index < call->piece_count)
            if (!call_send_piece(door, session, idx))
                return false;
        session->answers.first = call->next_queued;
        call_free(door, session, idx);
    }
    return true;
}

void
door_call__drop_all(struct door *door, struct door_session *session)
{
    uint32_t idx = session->calls;

    while (idx != DOOR_NONE) {
        struct door_call *call = door__call(door, idx);
        uint32_t next = call->next;
        call->session = DOOR_NONE;
        if (call->state == CALL_ASKED)
            door->orphans++; /* control may write into its reply until it answers */
        else if (call->state != CALL_QUEUED)
            call_give(door, idx); /* else its list lets go of it */
        idx = next;
    }
    session->calls = DOOR_NONE;
    session->call_count = 0;
    session->call_arriving = DOOR_NONE;
}
