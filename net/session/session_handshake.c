/* HELLO, RETRY and READY; see net/wire/PROTOCOL.md.
 *
 * The client repeats its HELLO like a probe until READY comes. A RETRY proves nothing about its
 * sender, so all that it can do is to change the cookie of the next HELLO; the first one is
 * answered at once, later ones wait for the timer, so that forged RETRYs cannot make the client
 * send more than it would. An authentic packet of frames stands for READY: the server sends none
 * before it has validated the address. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"
#include "hw/nic/nic.h"

bool
session__on_retry(struct session *session, struct bytes cookie, uint64_t now_ns)
{
    if (session->config.role != SESSION_CLIENT || session->state != SESSION_HELLO_SENT)
        return false;
    bytes_copy(session->cookie, sizeof(session->cookie), cookie.at, cookie.count);
    if (!session->has_retried) {
        session->has_retried = true;
        session->hello_at_ns = now_ns;
    }
    return true;
}

uint32_t
session__send_hello(struct session *session, uint64_t now_ns, uint8_t *datagram)
{
    uint32_t clear_bytes = session__begin_packet(session, WIRE_HELLO, datagram);
    uint32_t byte_count = WIRE_HELLO_BYTES - session->trailer_bytes;
    uint32_t body_bytes = byte_count - clear_bytes - WIRE_FRAME_HEADER_BYTES;

    bytes_copy(
        datagram + WIRE_HEADER_BYTES, WIRE_COOKIE_BYTES, session->cookie, sizeof(session->cookie));
    wire_frame_header(datagram + clear_bytes, WIRE_FRAME_PADDING, 0, (uint16_t)body_bytes);
    memset(datagram + clear_bytes + WIRE_FRAME_HEADER_BYTES, 0, body_bytes);
    session->send.timed_packet = session->send.next_packet;
    session->send.timed_ns = now_ns;
    session->hello_at_ns = now_ns + session__probe_timeout_ns(session, session->hello_count);
    session->hello_count++;
    return session__seal(session, datagram, clear_bytes, byte_count, now_ns);
}

uint32_t
session__send_ready(struct session *session, uint64_t now_ns, uint8_t *datagram)
{
    struct wire_ack ack;
    uint32_t clear_bytes = session__begin_packet(session, WIRE_READY, datagram);

    session__fill_ack(session, now_ns, &ack);
    uint32_t byte_count = clear_bytes + wire_ack_encode(datagram + clear_bytes, &ack);
    session->ready_due = false;
    return session__seal(session, datagram, clear_bytes, byte_count, now_ns);
}

/* A HELLO holds padding and nothing else. */
static bool
hello_is_padding(struct bytes frames)
{
    struct wire_frame frame;

    while (wire_frame_next(&frames, &frame)) {
        if (frame.type != WIRE_FRAME_PADDING)
            return false;
    }
    return frame.type != WIRE_FRAME_TYPES;
}

bool
session_accept_hello(struct session *session,
                     const uint8_t *datagram,
                     uint32_t byte_count,
                     uint64_t now_ns)
{
    uint8_t opened[NIC_DATAGRAM_BYTES_MAX];
    struct wire_header header;
    struct bytes frames;

    CHECK(session->config.role == SESSION_SERVER);
    if (session->state != SESSION_GRANTED && session->state != SESSION_OPEN)
        return false;
    if (byte_count > sizeof(opened) ||
        wire_header_decode(datagram, byte_count, &header, &frames) != RC_OK ||
        header.type != WIRE_HELLO || header.session != session->config.session_id) {
        session->counters.received_malformed++;
        return false;
    }
    if (!session__replay_is_new(&session->receive.replay, header.packet_number)) {
        session->counters.received_replayed++;
        return false;
    }
    if (!session_cipher_open(session->config.cipher, &header, datagram, opened, &frames)) {
        session->counters.received_forged++;
        return false;
    }
    session__mark_received(session, header.packet_number, now_ns);
    if (!hello_is_padding(frames)) {
        session->counters.received_malformed++;
        return false;
    }
    if (session->state == SESSION_GRANTED)
        session__open(session, now_ns);
    session->ready_due = true;
    return true;
}
