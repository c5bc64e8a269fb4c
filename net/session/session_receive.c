/* A datagram in, and the order in which its frames go out to the user.
 *
 * One path, cheap checks first:
 *
 *   header ── phase, session, type ── packet number in the replay window ── credit ── cipher
 *                                                                                        │
 *        ┌──────── authentic: window marked, acks, pings and closes dealt with ◄─────────┘
 *        ▼
 *   sequence < what was taken, or in a slot ─► duplicate        (acknowledged at once)
 *   sequence = the next to take             ─► direct           (taken from where it lies)
 *   further on, or no room for it           ─► slot, if the pool has one; else dropped (go-back-N)
 *
 * Nothing that an unauthenticated datagram says changes anything but a counter. What is dropped for
 * want of a slot was authentic: its acknowledgements were read, so that two sides without room
 * cannot wait for each other.
 *
 * Budget (perf/micro, "session receive"): 100 ns for a plain packet of 1,400 bytes in order beside
 * its CRC; a sealed one within 15 % of the cipher. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

bool
session__replay_is_new(const struct session_replay *replay, uint64_t packet_number)
{
    if (LIKELY(packet_number > replay->top))
        return true;
    if (packet_number == 0 || replay->top - packet_number >= SESSION_REPLAY_BITS)
        return false;
    uint64_t bit = packet_number % SESSION_REPLAY_BITS;
    return (replay->seen[bit / 64] >> (bit % 64) & 1) == 0;
}

void
session__replay_mark(struct session_replay *replay, uint64_t packet_number)
{
    uint64_t bit = packet_number % SESSION_REPLAY_BITS;

    if (packet_number > replay->top) {
        uint64_t skipped = packet_number - replay->top - 1;
        if (UNLIKELY(skipped >= SESSION_REPLAY_BITS)) {
            memset(replay->seen, 0, sizeof(replay->seen));
            skipped = 0;
        }
        for (uint64_t i = 0; i < skipped; i++) {
            uint64_t clear = (replay->top + 1 + i) % SESSION_REPLAY_BITS;
            replay->seen[clear / 64] &= ~(UINT64_C(1) << (clear % 64));
        }
        replay->top = packet_number;
    }
    replay->seen[bit / 64] |= UINT64_C(1) << (bit % 64);
}

void
session__mark_received(struct session *session, uint64_t packet_number, uint64_t now_ns)
{
    struct session_receiver *receive = &session->receive;

    if (packet_number > receive->replay.top)
        receive->top_ns = now_ns;
    session__replay_mark(&receive->replay, packet_number);
    receive->received_ns = now_ns;
    session->counters.received_packets++;
}

void
session__return_taken(struct session *session)
{
    if (session->receive.taken == SESSION_NO_SLOT)
        return;
    session__slot_give(session->config.pool, session->receive.taken);
    session->receive.taken = SESSION_NO_SLOT;
}

/* A sequenced packet arrived: an ack is owed, at once when the order is broken. */
static void
receive_owe_ack(struct session *session, bool at_once, uint64_t now_ns)
{
    struct session_receiver *receive = &session->receive;

    receive->ack_count++;
    if (at_once || receive->ack_count >= session->config.ack_every)
        receive->ack_now = true;
    else
        receive->ack_at_ns = min_u64(receive->ack_at_ns, now_ns + session->config.ack_delay_ns);
}

/* May this type come now, from this side? */
static bool
receive_phase_is_good(const struct session *session, uint8_t type)
{
    bool is_client = session->config.role == SESSION_CLIENT;

    if (type == WIRE_SESSION)
        return session->state == SESSION_OPEN || session->state == SESSION_HELLO_SENT;
    if (type == WIRE_READY)
        return is_client &&
               (session->state == SESSION_OPEN || session->state == SESSION_HELLO_SENT);
    return type == WIRE_RETRY && is_client && session->state == SESSION_HELLO_SENT;
}

/* What can be seen without the cipher. Counts what it refuses. */
static ALWAYS_INLINE bool
receive_precheck(struct session *session,
                 const uint8_t *datagram,
                 uint32_t byte_count,
                 struct wire_header *header,
                 struct bytes *frames)
{
    struct session_counters *counters = &session->counters;

    bool is_good = byte_count <= session->config.datagram_bytes_max &&
                   wire_header_decode(datagram, byte_count, header, frames) == RC_OK &&
                   header->session == session->config.session_id &&
                   receive_phase_is_good(session, header->type);
    if (UNLIKELY(!is_good)) {
        counters->received_malformed++;
        return false;
    }
    if (UNLIKELY(header->type == WIRE_RETRY))
        return true;
    if (UNLIKELY(!session__replay_is_new(&session->receive.replay, header->packet_number))) {
        counters->received_replayed++;
        return false;
    }
    if ((header->flags & WIRE_FLAG_SEQUENCED) != 0) {
        if (UNLIKELY(header->sequence == 0)) {
            counters->received_malformed++;
            return false;
        }
        if (UNLIKELY(header->sequence >= session->receive.granted)) {
            counters->dropped_no_credit++;
            return false;
        }
    }
    return true;
}

static bool
receive_ping(struct session *session, const struct wire_frame *frame)
{
    struct session_ping_state *state = &session->ping;
    struct wire_ping ping;

    if (wire_ping_decode(frame, &ping) != RC_OK)
        return false;
    if ((frame->flags & WIRE_PING_REPLY) == 0) {
        state->reply_due = true;
        state->reply_token = ping.token;
        session->receive.ack_now = true;
    } else if (state->outstanding && ping.token == state->token) {
        state->outstanding = false;
        state->answered = true;
    }
    return true;
}

/* ACK, PING, CLOSE, PADDING. False: malformed. */
static bool
receive_control(struct session *session,
                const struct wire_header *header,
                const struct wire_frame *frame,
                uint64_t now_ns)
{
    struct wire_ack ack;
    struct wire_close close;

    switch (frame->type) {
    case WIRE_FRAME_ACK:
        return wire_ack_decode(frame, &ack) == RC_OK &&
               session__on_ack_frame(session, header->ack, &ack, now_ns);
    case WIRE_FRAME_PING:
        return receive_ping(session, frame);
    case WIRE_FRAME_CLOSE:
        if (wire_close_decode(frame, &close) != RC_OK)
            return false;
        session__end(session, close.code, close.text, false);
        return true;
    default:
        return true;
    }
}

/* Deals with the control frames. *ret_user begins at the first frame that is the user's; empty when
 * there is none. False: malformed, or frames for the user without a sequence. */
static bool
receive_frames(struct session *session,
               const struct wire_header *header,
               struct bytes frames,
               struct bytes *ret_user,
               uint64_t now_ns)
{
    bool is_sequenced = (header->flags & WIRE_FLAG_SEQUENCED) != 0;
    const uint8_t *end = frames.at + frames.count;
    const uint8_t *user = NULL;
    struct wire_frame frame;

    while (wire_frame_next(&frames, &frame)) {
        if (LIKELY(frame.type > WIRE_FRAME_CLOSE)) {
            if (UNLIKELY(!is_sequenced))
                return false;
            if (user == NULL)
                user = frame.body.at - WIRE_FRAME_HEADER_BYTES;
            continue;
        }
        if (!receive_control(session, header, &frame, now_ns))
            return false;
        if (UNLIKELY(session->state == SESSION_CLOSED))
            break;
    }
    *ret_user = user == NULL ? (struct bytes){.at = end}
                             : (struct bytes){.at = user, .count = (size_t)(end - user)};
    return frame.type != WIRE_FRAME_TYPES;
}

/* Everything up to the first gap has arrived. */
static void
receive_advance(struct session_receiver *receive, uint64_t sequence)
{
    receive->arrived_end = max_u64(receive->arrived_end, sequence + 1);
    if (sequence != receive->arrived_next)
        return;
    do
        receive->arrived_next++;
    while (receive->arrived_next < receive->arrived_end &&
           receive->slots[receive->arrived_next & SESSION_RING_MASK] != SESSION_NO_SLOT);
}

/* Copies frames into a slot of the reorder share. False: none is free. */
static bool
receive_keep(struct session *session, uint64_t sequence, struct bytes frames)
{
    struct session_pool *pool = session->config.pool;
    struct session_receiver *receive = &session->receive;
    uint32_t slot_idx = session__slot_take_reorder(pool);

    if (slot_idx == SESSION_NO_SLOT) {
        session->counters.dropped_no_room++;
        return false;
    }
    pool->slots[slot_idx].sequence = sequence;
    pool->slots[slot_idx].byte_count = (uint32_t)frames.count;
    bytes_copy(session__slot_bytes(pool, slot_idx), pool->slot_bytes, frames.at, frames.count);
    receive->slots[sequence & SESSION_RING_MASK] = slot_idx;
    receive_advance(receive, sequence);
    return true;
}

static enum session_received
receive_sequenced(struct session *session,
                  uint64_t sequence,
                  struct bytes frames,
                  uint32_t room_bytes,
                  uint64_t now_ns)
{
    struct session_receiver *receive = &session->receive;

    if (sequence < receive->take_next ||
        receive->slots[sequence & SESSION_RING_MASK] != SESSION_NO_SLOT) {
        session->counters.received_duplicates++;
        receive_owe_ack(session, true, now_ns); /* ours got lost */
        return SESSION_DUPLICATE;
    }
    if (LIKELY(sequence == receive->take_next && frames.count <= room_bytes)) {
        receive->direct = frames;
        receive->has_direct = true;
        receive_owe_ack(session, receive->arrived_end > sequence + 1, now_ns);
        return SESSION_RECEIVED;
    }
    bool is_early = sequence != receive->arrived_next;
    if (is_early)
        session->counters.received_reordered++;
    if (!receive_keep(session, sequence, frames))
        return SESSION_DROPPED;
    receive_owe_ack(session, is_early, now_ns);
    return SESSION_RECEIVED;
}

enum session_received
session_receive(struct session *session,
                const uint8_t *datagram,
                uint32_t byte_count,
                uint8_t *scratch,
                uint32_t room_bytes,
                uint64_t now_ns)
{
    struct wire_header header;
    struct bytes frames;
    struct bytes user;

    session__return_taken(session);
    session->receive.has_direct = false; /* not taken: not arrived, it comes again */
    if (!receive_precheck(session, datagram, byte_count, &header, &frames))
        return SESSION_DROPPED;
    if (UNLIKELY(header.type == WIRE_RETRY))
        return session__on_retry(session, frames, now_ns) ? SESSION_RECEIVED : SESSION_DROPPED;
    if (!session_cipher_open(session->config.cipher, &header, datagram, scratch, &frames)) {
        session->counters.received_forged++;
        return SESSION_DROPPED;
    }

    session__mark_received(session, header.packet_number, now_ns);
    if (UNLIKELY(session->state == SESSION_HELLO_SENT)) {
        session__open(session, now_ns);
        session->receive.ack_now = true; /* our credit */
    }
    if (UNLIKELY(!session__on_ack_number(session, header.ack) ||
                 !receive_frames(session, &header, frames, &user, now_ns))) {
        session__end_protocol(session);
        return SESSION_RECEIVED; /* there is a CLOSE to send */
    }
    session__path_acked(session, session->acked_count);
    if (session->state == SESSION_CLOSED || (header.flags & WIRE_FLAG_SEQUENCED) == 0)
        return SESSION_RECEIVED;
    return receive_sequenced(session, header.sequence, user, room_bytes, now_ns);
}

/* The packet whose turn it is lies where it was received. */
static bool
take_direct(struct session *session, uint32_t room_bytes, struct bytes *ret_frames)
{
    struct session_receiver *receive = &session->receive;

    receive->has_direct = false;
    if (UNLIKELY(receive->direct.count > room_bytes)) {
        /* Less room than was told a moment ago: kept if there is a slot. */
        bool kept = receive_keep(session, receive->take_next, receive->direct);
        (void)kept;
        return false;
    }
    receive_advance(receive, receive->take_next);
    receive->take_next++;
    *ret_frames = receive->direct;
    return true;
}

static bool
take_slot(struct session *session, uint32_t room_bytes, struct bytes *ret_frames)
{
    struct session_pool *pool = session->config.pool;
    struct session_receiver *receive = &session->receive;
    uint32_t *place = &receive->slots[receive->take_next & SESSION_RING_MASK];
    uint32_t slot_idx = *place;

    if (LIKELY(slot_idx == SESSION_NO_SLOT))
        return false;
    struct session_slot *slot = &pool->slots[slot_idx];
    if (slot->byte_count > room_bytes)
        return false;
    CHECK(slot->sequence == receive->take_next);
    *place = SESSION_NO_SLOT;
    slot->state = SESSION_SLOT_TAKEN;
    receive->taken = slot_idx;
    receive->take_next++;
    *ret_frames = (struct bytes){.at = session__slot_bytes(pool, slot_idx),
                                 .count = slot->byte_count};
    return true;
}

bool
session_take(struct session *session, uint32_t room_bytes, struct bytes *ret_frames)
{
    struct bytes frames = {0};
    bool taken;

    do {
        session__return_taken(session);
        taken = session->receive.has_direct ? take_direct(session, room_bytes, &frames)
                                            : take_slot(session, room_bytes, &frames);
    } while (taken && frames.count == 0); /* nothing of the user's in it */
    if (taken)
        *ret_frames = frames;
    else
        session__offer_credit(session);
    return taken;
}

void
session_grant(struct session *session, uint32_t packets)
{
    CHECK(packets <= SESSION_WINDOW_MAX);
    session->receive.grant = packets;
    session__offer_credit(session);
}
