/* Datagrams in: by header to a session, its handshake, and what is deliverable.
 *
 * Cheap checks come first: header, table, address; only then the cipher. What is wrong is counted
 * and answered by silence; the one answer to an address that is not validated is a RETRY, which is
 * shorter than the HELLO. Room is asked for before a packet is taken: one that is finds a place
 * for every batch in it; one that is not keeps a slot of the session's pool, or comes again. */
#include "net/door/door_internal.h"

/* So many RETRYs for one session are enough: a flood of HELLOs under a known number costs no more
 * datagrams than one under unknown ones. */
static bool
receive_may_retry(const struct door *door, struct door_session *session)
{
    uint64_t at_ns = max_u64(session->retry_at_ns, door->now_ns);

    if (at_ns + DOOR_RETRY_NS > door->now_ns + DOOR_RETRY_BURST * DOOR_RETRY_NS)
        return false;
    session->retry_at_ns = at_ns + DOOR_RETRY_NS;
    return true;
}

/* The answer to a HELLO without a good cookie: nothing is kept for its address. */
static void
receive_retry_packet(struct door *door,
                     struct door_session *session,
                     const struct nic_address *peer)
{
    uint32_t capacity;

    if (!receive_may_retry(door, session)) {
        door__count(&door->counters.retries_withheld, 1);
        return;
    }
    uint8_t *at = door_transmit__buffer(door, &capacity);
    if (at == NULL)
        return;
    CHECK(capacity >= WIRE_RETRY_BYTES_MAX);
    door_transmit__put(door, cookie_retry(door->jar, peer, session->id, door->now_ns, at), peer);
    door__count(&door->counters.retries, 1);
}

static void
receive_hello(struct door *door, struct door_session *session, const struct nic_received *received)
{
    const uint8_t *cookie;

    door__count(&door->counters.hellos, 1);
    if (cookie_in_hello(received->bytes, received->byte_count, &cookie) != RC_OK) {
        door__count(&door->counters.malformed, 1);
        return;
    }
    if (cookie == NULL) {
        receive_retry_packet(door, session, &received->peer);
        return;
    }
    if (!cookie_is_good(door->jar, cookie, &received->peer, session->id, door->now_ns)) {
        door__count(&door->counters.cookies_bad, 1);
        receive_retry_packet(door, session, &received->peer);
        return;
    }
    bool accepted = session_accept_hello(
        session->session, received->bytes, received->byte_count, door->now_ns);
    door_session__count(door, session);
    if (!accepted)
        return;
    session->peer = received->peer;
    door_session__activate(door, session);
    if (session->opened)
        return; /* moved to another address, or READY was lost */
    session->opened = true;
    door->open_count++;
    door__count(&door->counters.sessions_opened, 1);
    const struct door_event event = {.kind = DOOR_OPENED, .session_id = session->id};
    if (!door_session__tell(door, &event))
        door->kick = true; /* only statistics depend on it */
}

static void
receive_stuck(struct door *door, struct door_session *session)
{
    uint32_t idx = door__session_idx(door, session);

    if (session->is_stuck)
        return;
    session->is_stuck = true;
    session->next_stuck = DOOR_NONE;
    if (door->stuck.first == DOOR_NONE)
        door->stuck.first = idx;
    else
        door__session(door, door->stuck.last)->next_stuck = idx;
    door->stuck.last = idx;
}

/* What a session may hand over now: all or nothing. One that holds its share of the places for
 * results waits, in its own window; its credit runs dry with it. */
static uint32_t
receive_room(struct door *door, const struct door_session *session)
{
    if (door->stopping || session->stash != DOOR_NONE || !door_link__has_room(door) ||
        !door__may_hold(&door->produces, session->produces, door->frames_max))
        return 0;
    return UINT32_MAX;
}

void
door_receive__take(struct door *door, struct door_session *session)
{
    struct bytes frames;

    if (UNLIKELY(session->stash != DOOR_NONE) && door_link__has_room(door))
        door_frame__run_stash(door, session);
    uint32_t room = receive_room(door, session);
    while (session_state(session->session) == SESSION_OPEN &&
           session_take(session->session, room, &frames)) {
        door_frame__run(door, session, frames);
        room = receive_room(door, session);
    }
    if (room == 0)
        receive_stuck(door, session);
}

void
door_receive__retry(struct door *door)
{
    uint32_t last = door->stuck.last;

    while (door->stuck.first != DOOR_NONE && door_link__has_room(door)) {
        uint32_t idx = door->stuck.first;
        struct door_session *session = door__session(door, idx);
        door->stuck.first = session->next_stuck;
        session->is_stuck = false;
        if (session->in_use)
            door_receive__take(door, session);
        if (idx == last)
            break;
    }
}

static void
receive_packet(struct door *door, struct door_session *session, const struct nic_received *received)
{
    if (UNLIKELY(session->opened && !nic_address_equal(&session->peer, &received->peer))) {
        door__count(&door->counters.address_wrong, 1);
        return;
    }
    enum session_received result = session_receive(session->session,
                                                   received->bytes,
                                                   received->byte_count,
                                                   door->scratch,
                                                   receive_room(door, session),
                                                   door->now_ns);
    if (result != SESSION_DROPPED) {
        session->peer = received->peer; /* the last hop's address may have changed */
        door_session__activate(door, session);
    }
    if (UNLIKELY(result != SESSION_RECEIVED))
        door_session__count(door, session);
    door_receive__take(door, session);
}

void
door_receive__datagram(struct door *door, const struct nic_received *received, bool is_forwarded)
{
    struct wire_header header;
    struct bytes frames;

    if (wire_header_decode(received->bytes, received->byte_count, &header, &frames) != RC_OK ||
        (header.type != WIRE_HELLO && header.type != WIRE_SESSION)) {
        door__count(&door->counters.malformed, 1);
        return;
    }
    uint32_t tile = header.session & 0xff;
    if (UNLIKELY(tile != door->config.door_idx) && !is_forwarded) {
        door_forward__send(door, tile, received);
        return;
    }
    uint32_t idx = door_session__find(door, header.session);
    if (UNLIKELY(idx == DOOR_NONE)) {
        door__count(&door->counters.unknown_session, 1);
        return;
    }
    struct door_session *session = door__session(door, idx);
    if (UNLIKELY(header.type == WIRE_HELLO))
        receive_hello(door, session, received);
    else if (LIKELY(session->opened))
        receive_packet(door, session, received);
    else
        door__count(&door->counters.address_wrong, 1); /* no address is validated yet */
}

uint32_t
door_receive__run(struct door *door)
{
    struct nic_received received[NIC_BURST];
    uint32_t sum = 0;
    uint32_t count = NIC_BURST;

    if (door->is_waiting)
        return 0; /* the carrier will tell: a look now would be a system call for nothing */
    for (uint32_t burst = 0; burst < DOOR_BURSTS && count == NIC_BURST; burst++) {
        count = nic_receive(door->nic, received, NIC_BURST);
        for (uint32_t i = 0; i < count; i++)
            door_receive__datagram(door, &received[i], false);
        if (count > 0)
            nic_release(door->nic, received, count);
        sum += count;
    }
    door__count(&door->counters.datagrams, sum);
    return sum;
}
