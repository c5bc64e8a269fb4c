/* The frames of one packet, in order. Acks, pings and closes were dealt with by the session and are
 * passed over here; a frame that only a server sends, or that makes no sense, ends the session. */
#include "net/door/door_internal.h"

static enum rc
frame_data(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_data data;
    enum rc rc = wire_data_decode(frame, &data);

    return rc == RC_OK ? door_produce__data(door, session, &data) : rc;
}

static enum rc
frame_data_frag(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_data_frag frag;
    enum rc rc = wire_data_frag_decode(frame, &frag);

    return rc == RC_OK ? door_message__piece(door, session, &frag) : rc;
}

static enum rc
frame_resolve(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_resolve resolve;
    enum rc rc = wire_resolve_decode(frame, &resolve);

    return rc == RC_OK ? door_resolve__ask(door, session, &resolve) : rc;
}

static enum rc
frame_fetch(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_fetch fetch;
    enum rc rc = wire_fetch_decode(frame, &fetch);

    return rc == RC_OK ? door_read__fetch(door, session, &fetch) : rc;
}

static enum rc
frame_subscribe(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_subscribe subscribe;
    enum rc rc = wire_subscribe_decode(frame, &subscribe);

    return rc == RC_OK ? door_read__subscribe(door, session, &subscribe) : rc;
}

static enum rc
frame_credit(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_credit credit;
    enum rc rc = wire_credit_decode(frame, &credit);

    return rc == RC_OK
               ? door_read__credit(door, session, &credit, (frame->flags & WIRE_CREDIT_END) != 0)
               : rc;
}

static enum rc
frame_call(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    struct wire_call call;
    enum rc rc = wire_call_decode(frame, &call);

    return rc == RC_OK ? door_call__piece(door, session, &call) : rc;
}

static enum rc
frame_one(struct door *door, struct door_session *session, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_FRAME_PADDING:
    case WIRE_FRAME_ACK:
    case WIRE_FRAME_PING:
    case WIRE_FRAME_CLOSE:
        return RC_OK;
    case WIRE_FRAME_DATA:
        return frame_data(door, session, frame);
    case WIRE_FRAME_DATA_FRAG:
        return frame_data_frag(door, session, frame);
    case WIRE_FRAME_RESOLVE:
        return frame_resolve(door, session, frame);
    case WIRE_FRAME_FETCH:
        return frame_fetch(door, session, frame);
    case WIRE_FRAME_SUBSCRIBE:
        return frame_subscribe(door, session, frame);
    case WIRE_FRAME_CREDIT:
        return frame_credit(door, session, frame);
    case WIRE_FRAME_CALL:
        return frame_call(door, session, frame);
    default:
        return RC_MALFORMED;
    }
}

static COLD void
frame_refuse(struct door *door, struct door_session *session, enum rc rc, uint8_t type)
{
    if (rc != RC_LIMIT)
        door__count(&door->counters.malformed, 1);
    session_close(session->session,
                  rc == RC_LIMIT ? WIRE_CLOSE_LIMIT : WIRE_CLOSE_PROTOCOL,
                  rc == RC_LIMIT ? "too many unanswered requests" : wire_frame_name(type));
    door_session__activate(door, session);
}

/* Keeps what is left of the packet; a place for it was sure to be there. */
static void
frame_stash(struct door *door, struct door_session *session, struct bytes rest)
{
    if (session->stash == DOOR_NONE) {
        session->stash = slab_take(&door->stashes);
        CHECK(session->stash != SLAB_NONE); /* who says RC_AGAIN asked door_frame__can_wait() */
    }
    memmove(slab_at(&door->stashes, session->stash), rest.at, rest.count);
    session->stash_bytes = (uint32_t)rest.count;
}

bool
door_frame__can_wait(const struct door *door, const struct door_session *session)
{
    return session->stash != DOOR_NONE || door->stashes.used < door->stashes.count;
}

void
door_frame__stash_drop(struct door *door, struct door_session *session)
{
    if (session->stash != DOOR_NONE)
        slab_give(&door->stashes, session->stash);
    session->stash = DOOR_NONE;
}

bool
door_frame__run(struct door *door, struct door_session *session, struct bytes frames)
{
    struct wire_frame frame;
    struct bytes rest = frames;
    enum rc rc = RC_OK;

    while (rc == RC_OK && wire_frame_next(&frames, &frame)) {
        rc = frame_one(door, session, &frame);
        if (rc == RC_OK)
            rest = frames;
    }
    if (LIKELY(rc == RC_OK))
        return true;
    if (rc != RC_AGAIN) {
        frame_refuse(door, session, rc, frame.type);
        return true;
    }
    frame_stash(door, session, rest);
    return false;
}

bool
door_frame__run_stash(struct door *door, struct door_session *session)
{
    const struct bytes rest = {slab_at(&door->stashes, session->stash), session->stash_bytes};

    if (!door_frame__run(door, session, rest))
        return false;
    door_frame__stash_drop(door, session);
    return true;
}
