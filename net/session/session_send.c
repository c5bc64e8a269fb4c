/* Frames are written into slots, and slots into datagrams.
 *
 * A packet under construction is closed when a frame does not fit or when the user asks for
 * datagrams; from then on it has a sequence. What goes out first: READY, pings and their answers,
 * an overdue ack that does not fit into the next data packet, lost packets, new ones, and at last
 * an ack alone. An ACK frame stands before the frames of a data packet whenever one is owed and
 * fits, fresh in each transmission. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

bool
session__is_out_of_credit(const struct session *session)
{
    return session->send.next >= session->send.credit;
}

static uint32_t
send_queued(const struct session *session)
{
    return (uint32_t)(session->send.next - session->send.unsent);
}

static bool
send_has_built(const struct session *session)
{
    uint32_t slot_idx = session->send.building;

    return slot_idx != SESSION_NO_SLOT && session->send.reserved_bytes == 0 &&
           session->config.pool->slots[slot_idx].byte_count > 0;
}

bool
session__may_send_data(const struct session *session)
{
    const struct session_sender *send = &session->send;

    if (send->lost.count == 0 && send_queued(session) == 0 && !send_has_built(session))
        return false;
    return send->in_flight.count < session->path.window || send->probes_allowed > 0;
}

uint32_t
session_frame_bytes_max(const struct session *session)
{
    return session->config.datagram_bytes_max - WIRE_HEADER_BYTES - WIRE_SEQUENCE_BYTES -
           session->trailer_bytes;
}

uint32_t
session_window(const struct session *session)
{
    const struct session_sender *send = &session->send;
    const struct session_pool *pool = session->config.pool;

    if (session->state != SESSION_OPEN)
        return 0;
    uint32_t begun = send->building != SESSION_NO_SLOT ? 1 : 0;
    uint64_t next = send->next + begun;
    uint64_t limit = min_u64(send->credit, send->first + session->config.window);
    uint32_t outstanding = send->in_flight.count + send->lost.count + send_queued(session) + begun;
    if (next >= limit || outstanding >= session->path.window)
        return 0;
    uint64_t packets = min_u64(limit - next, session->path.window - outstanding);
    return (uint32_t)min_u64(packets, pool->slot_count - pool->used);
}

uint32_t
session_unacked(const struct session *session)
{
    const struct session_sender *send = &session->send;

    return send->in_flight.count + send->lost.count + send_queued(session) +
           (send_has_built(session) ? 1 : 0);
}

uint64_t
session_acked(const struct session *session)
{
    return session->send.first;
}

/* The packet under construction is complete: it gets its sequence. */
static void
send_finish(struct session *session)
{
    struct session_sender *send = &session->send;
    struct session_slot *slot = &session->config.pool->slots[send->building];

    slot->state = SESSION_SLOT_QUEUED;
    slot->sequence = send->next;
    CHECK(send->slots[send->next & SESSION_RING_MASK] == SESSION_NO_SLOT);
    send->slots[send->next & SESSION_RING_MASK] = send->building;
    send->building = SESSION_NO_SLOT;
    send->next++;
}

uint8_t *
session_reserve(struct session *session, uint32_t frame_bytes)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;
    uint32_t bytes_max = session_frame_bytes_max(session);

    CHECK(frame_bytes > 0);
    CHECK(frame_bytes <= bytes_max);
    CHECK(send->reserved_bytes == 0);
    if (send->building != SESSION_NO_SLOT &&
        pool->slots[send->building].byte_count + frame_bytes > bytes_max)
        send_finish(session);
    if (send->building == SESSION_NO_SLOT) {
        if (session_window(session) == 0)
            return NULL;
        send->building = session__slot_take(pool, SESSION_SLOT_BUILDING);
        CHECK(send->building != SESSION_NO_SLOT);
    }
    send->reserved_bytes = frame_bytes;
    return session__slot_bytes(pool, send->building) + pool->slots[send->building].byte_count;
}

void
session_commit(struct session *session, uint32_t frame_bytes)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;

    if (session->state != SESSION_OPEN)
        return; /* closed in between: the slot is gone */
    CHECK(send->building != SESSION_NO_SLOT);
    CHECK(frame_bytes <= send->reserved_bytes);
    struct session_slot *slot = &pool->slots[send->building];
    DCHECK(frame_bytes == 0 || frame_bytes >= WIRE_FRAME_HEADER_BYTES);
    slot->byte_count += frame_bytes;
    send->reserved_bytes = 0;
    if (slot->byte_count == 0) {
        session__slot_give(pool, send->building);
        send->building = SESSION_NO_SLOT;
    }
}

/* ---- acks ---- */

static uint64_t
credit_now(const struct session_receiver *receive)
{
    return max_u64(receive->granted, receive->take_next + receive->grant);
}

void
session__offer_credit(struct session *session)
{
    struct session_receiver *receive = &session->receive;
    uint64_t more = credit_now(receive) - receive->granted;
    uint64_t left = receive->granted - receive->arrived_end;

    /* Every ACK frame carries the credit anyway; only a peer that runs dry is told by one for it.
     */
    if (session->state == SESSION_OPEN && more > left)
        receive->ack_now = true;
}

void
session__fill_ack(struct session *session, uint64_t now_ns, struct wire_ack *ret_ack)
{
    struct session_receiver *receive = &session->receive;
    uint64_t delay_us = (now_ns - receive->top_ns) / NS_PER_US;

    receive->granted = credit_now(receive);
    *ret_ack = (struct wire_ack){
        .largest_packet = receive->replay.top,
        .delay_us = (uint32_t)min_u64(delay_us, UINT32_MAX),
        .credit = receive->granted,
    };
    for (uint64_t at = receive->arrived_next + 1; at < receive->arrived_end; at++) {
        uint64_t bit = at - receive->arrived_next - 1;
        if (receive->slots[at & SESSION_RING_MASK] != SESSION_NO_SLOT)
            ret_ack->sack[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    receive->ack_now = false;
    receive->ack_at_ns = NO_DEADLINE;
    receive->ack_count = 0;
}

static bool
ack_is_owed(const struct session *session)
{
    return session->receive.ack_now || session->receive.ack_at_ns != NO_DEADLINE;
}

static bool
ack_is_due(const struct session *session, uint64_t now_ns)
{
    return session->receive.ack_now || now_ns >= session->receive.ack_at_ns;
}

/* ---- packets ---- */

uint32_t
session__begin_packet(struct session *session, uint8_t type, uint8_t *datagram)
{
    struct wire_header header = {
        .type = type,
        .session = session->config.session_id,
        .packet_number = session->send.next_packet,
        .ack = session->receive.arrived_next,
    };

    wire_header_encode(&header, datagram);
    return wire_clear_bytes(type, header.flags);
}

uint32_t
session__seal(struct session *session,
              uint8_t *datagram,
              uint32_t header_bytes,
              uint32_t byte_count,
              uint64_t now_ns)
{
    struct session_sender *send = &session->send;

    session->counters.sent_packets++;
    send->sent_ns = now_ns;
    return session_cipher_seal(
        session->config.cipher, datagram, header_bytes, byte_count, send->next_packet++);
}

/* Acks and pings; never acknowledged themselves, but a PING brings an ACK frame back. */
static uint32_t
send_control(struct session *session, uint64_t now_ns, uint8_t *datagram)
{
    struct session_ping_state *ping = &session->ping;
    uint32_t clear_bytes = session__begin_packet(session, WIRE_SESSION, datagram);
    uint32_t count = clear_bytes;
    struct wire_ack ack;

    session__fill_ack(session, now_ns, &ack);
    count += wire_ack_encode(datagram + count, &ack);
    if (ping->reply_due) {
        struct wire_ping reply = {.token = ping->reply_token};
        count += wire_ping_encode(datagram + count, &reply, WIRE_PING_REPLY);
    }
    if (ping->due || ping->own_due) {
        struct wire_ping request = {.token = ping->due ? ping->token : SESSION_TOKEN_OWN};
        count += wire_ping_encode(datagram + count, &request, 0);
        session->send.timed_packet = session->send.next_packet;
        session->send.timed_ns = now_ns;
    }
    ping->reply_due = ping->due = ping->own_due = false;
    return session__seal(session, datagram, clear_bytes, count, now_ns);
}

static COLD uint32_t
send_close(struct session *session, uint64_t now_ns, uint8_t *datagram)
{
    uint32_t clear_bytes = session__begin_packet(session, WIRE_SESSION, datagram);
    struct wire_close close = {
        .code = session->close_code,
        .text = {.at = (const uint8_t *)session->close_text, .count = strlen(session->close_text)},
    };

    session->close_due = false;
    uint32_t count = clear_bytes + wire_close_encode(datagram + clear_bytes, &close);
    return session__seal(session, datagram, clear_bytes, count, now_ns);
}

/* The slot whose frames go out next; SESSION_NO_SLOT: none, or the window is full. */
static uint32_t
send_next_slot(struct session *session)
{
    struct session_sender *send = &session->send;

    if (send_has_built(session))
        send_finish(session);
    if (!session__may_send_data(session))
        return SESSION_NO_SLOT;
    if (send->lost.count > 0)
        return send->lost.first;
    return send->slots[send->unsent & SESSION_RING_MASK];
}

static bool
send_ack_fits(const struct session *session, uint32_t slot_idx)
{
    return session->config.pool->slots[slot_idx].byte_count + WIRE_ACK_BYTES_MAX <=
           session_frame_bytes_max(session);
}

static uint32_t
send_data(struct session *session, uint32_t slot_idx, uint64_t now_ns, uint8_t *datagram)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;
    struct session_slot *slot = &pool->slots[slot_idx];
    struct wire_header header = {
        .type = WIRE_SESSION,
        .flags = WIRE_FLAG_SEQUENCED,
        .session = session->config.session_id,
        .packet_number = send->next_packet,
        .ack = session->receive.arrived_next,
        .sequence = slot->sequence,
    };
    uint32_t count = WIRE_HEADER_BYTES + WIRE_SEQUENCE_BYTES;

    wire_header_encode(&header, datagram);
    if (ack_is_owed(session) && send_ack_fits(session, slot_idx)) {
        struct wire_ack ack;
        session__fill_ack(session, now_ns, &ack);
        count += wire_ack_encode(datagram + count, &ack);
    }
    bytes_copy(datagram + count,
               session->config.datagram_bytes_max - count,
               session__slot_bytes(pool, slot_idx),
               slot->byte_count);
    count += slot->byte_count;

    if (slot->state == SESSION_SLOT_LOST) {
        session__list_remove(pool, &send->lost, slot_idx);
        session->counters.retransmitted++;
    } else {
        send->unsent++;
    }
    if (send->probes_allowed > 0)
        send->probes_allowed--;
    slot->state = SESSION_SLOT_IN_FLIGHT;
    slot->packet_number = send->next_packet;
    slot->sent_ns = now_ns;
    session__list_append(pool, &send->in_flight, slot_idx);
    return session__seal(session, datagram, WIRE_HEADER_BYTES + WIRE_SEQUENCE_BYTES, count, now_ns);
}

/* Turns the key when it has served its time, but only after the peer has told that it knows this
 * one: it keeps no more than neighbours. Who sends nothing that is acknowledged asks by a PING. */
static COLD void
send_turn_key(struct session *session, uint64_t now_ns)
{
    struct session_sender *send = &session->send;

    if (send->largest_acked >= send->key_first_packet) {
        session_cipher_rekey(session->config.cipher);
        send->key_first_packet = send->next_packet;
        send->key_since_ns = now_ns;
        session->counters.rekeys++;
    } else if (now_ns - send->key_ping_ns >= session__probe_timeout_ns(session, 0)) {
        send->key_ping_ns = now_ns;
        session->ping.own_due = true;
    }
}

static uint32_t
transmit_open(struct session *session, uint64_t now_ns, uint8_t *datagram)
{
    struct session_sender *send = &session->send;
    struct session_ping_state *ping = &session->ping;

    if (UNLIKELY(session->ready_due))
        return session__send_ready(session, now_ns, datagram);
    if (UNLIKELY(ping->due || ping->own_due || ping->reply_due))
        return send_control(session, now_ns, datagram);
    uint32_t slot_idx = send_next_slot(session);
    if (slot_idx != SESSION_NO_SLOT &&
        (!ack_is_due(session, now_ns) || send_ack_fits(session, slot_idx)))
        return send_data(session, slot_idx, now_ns, datagram);
    if (ack_is_due(session, now_ns))
        return send_control(session, now_ns, datagram);
    send->probes_allowed = 0;
    return 0;
}

static bool
send_key_is_used_up(const struct session *session, uint64_t now_ns)
{
    const struct session_sender *send = &session->send;

    if (session_cipher_is_plain(session->config.cipher))
        return false;
    return send->next_packet - send->key_first_packet >= session->config.rekey_packets ||
           now_ns - send->key_since_ns >= session->config.rekey_ns;
}

uint32_t
session_transmit(struct session *session, uint64_t now_ns, uint8_t *datagram, uint32_t capacity)
{
    CHECK(capacity >= session->config.datagram_bytes_max);
    switch (session->state) {
    case SESSION_OPEN:
        if (UNLIKELY(session->send.next_packet >= SESSION_PACKETS_MAX)) {
            session__end(session, WIRE_CLOSE_EXPIRED, (struct bytes){0}, true);
            return send_close(session, now_ns, datagram);
        }
        if (UNLIKELY(send_key_is_used_up(session, now_ns)))
            send_turn_key(session, now_ns);
        return transmit_open(session, now_ns, datagram);
    case SESSION_HELLO_SENT:
        if (now_ns < session->hello_at_ns)
            return 0;
        return session__send_hello(session, now_ns, datagram);
    case SESSION_CLOSED:
        return session->close_due ? send_close(session, now_ns, datagram) : 0;
    case SESSION_FREE:
    case SESSION_GRANTED:
        break;
    }
    return 0;
}
