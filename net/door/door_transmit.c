/* Datagrams out: for every session with something to say, its frames are gathered as far as its
 * window goes, and at most DOOR_SESSION_BURST datagrams leave in one poll. Buffers are reserved
 * from the carrier by the burst. */
#include "net/door/door_internal.h"

uint8_t *
door_transmit__buffer(struct door *door, uint32_t *ret_capacity)
{
    if (door->send_used == door->send_count) {
        if (door->send_used > 0)
            nic_send(door->nic, door->sends, door->send_used);
        door->send_used = 0;
        door->send_count = nic_reserve(door->nic, door->sends, NIC_BURST);
        door->send_short = door->send_count == 0;
        if (door->send_short)
            return NULL;
    }
    *ret_capacity = door->sends[door->send_used].capacity;
    return door->sends[door->send_used].bytes;
}

void
door_transmit__put(struct door *door, uint32_t byte_count, const struct nic_address *peer)
{
    struct nic_sending *send = &door->sends[door->send_used++];

    CHECK(byte_count > 0);
    CHECK(byte_count <= send->capacity);
    send->byte_count = byte_count;
    send->peer = *peer;
}

bool
door_transmit__flush(struct door *door)
{
    if (door->send_used > 0)
        nic_send(door->nic, door->sends, door->send_used);
    if (door->send_count > door->send_used)
        nic_cancel(door->nic, door->sends + door->send_used, door->send_count - door->send_used);
    door->send_used = door->send_count = 0;
    return nic_flush(door->nic);
}

/* Everything that waits for window, in the order of its importance. */
static void
transmit_gather(struct door *door, struct door_session *session)
{
    if (session_state(session->session) != SESSION_OPEN)
        return;
    if (!door_commit__send(door, session) || !door_note__send(door, session) ||
        !door_call__send(door, session))
        return;
    (void)door_read__send(door, session);
}

/* Sends up to a burst; *ret_more: there is more to be sent now. */
static uint32_t
transmit_burst(struct door *door, struct door_session *session, bool *ret_more)
{
    uint32_t count = 0;

    *ret_more = true;
    for (; count < DOOR_SESSION_BURST; count++) {
        uint32_t capacity;
        uint8_t *at = door_transmit__buffer(door, &capacity);
        if (at == NULL)
            return count;
        uint32_t bytes = session_transmit(session->session, door->now_ns, at, capacity);
        if (bytes == 0) {
            *ret_more = false;
            break;
        }
        door_transmit__put(door, bytes, &session->peer);
    }
    return count;
}

/* Whether it holds something of what all share until its client moves: what waits for window or
 * acknowledgement, or began to arrive and was not held up by us. */
static bool
transmit_is_owed(const struct door_session *session)
{
    bool is_arriving = session->message != DOOR_NONE || session->call_arriving != DOOR_NONE;

    return session->results.first != DOOR_NONE || session->note_count > 0 ||
           session->answers.first != DOOR_NONE || session->sending.first != DOOR_NONE ||
           session_unacked(session->session) > 0 || (is_arriving && !session->is_stuck);
}

/* A client that only says that it lives keeps its places for idle_ns, not for ever. */
static void
transmit_watch(struct door *door, struct door_session *session)
{
    uint64_t progress = session_acked(session->session) + session->pieces;

    if (session->progress != progress || !transmit_is_owed(session)) {
        session->progress = progress;
        session->progress_ns = door->now_ns;
    } else if (door->now_ns - session->progress_ns >= door->config.limits.idle_ns &&
               session_state(session->session) == SESSION_OPEN) {
        session_close(session->session, WIRE_CLOSE_LIMIT, "no progress within the idle time");
    }
}

/* When it is to be looked at next. A deadline that has come although nothing was sent would spin.
 */
static void
transmit_timer(struct door *door, struct door_session *session)
{
    uint64_t wake_ns = session->opened ? session_deadline(session->session) : session->give_back_ns;

    door_session__timer_set(door, session, max_u64(wake_ns, door->now_ns + DOOR_SEND_RETRY_NS));
}

/* True when it is over: nothing more will be sent. */
static bool
transmit_is_over(struct door *door, struct door_session *session)
{
    bool forgotten = !session->opened && door->now_ns >= session->give_back_ns;

    return session->revoked || forgotten || session_state(session->session) == SESSION_CLOSED;
}

static uint32_t
transmit_session(struct door *door, uint32_t idx, bool *ret_more)
{
    struct door_session *session = door__session(door, idx);
    uint32_t count = 0;

    *ret_more = false;
    session_grant(session->session, door->room_packets);
    transmit_gather(door, session);
    transmit_watch(door, session);
    if (session->opened)
        count = transmit_burst(door, session, ret_more);
    if (session_counters(session->session)->retransmitted != session->counted.retransmitted)
        door_session__count(door, session);
    if (!*ret_more && transmit_is_over(door, session)) {
        if (!door_session__end(door, session))
            door_session__timer_set(door, session, door->now_ns + NS_PER_MS);
        return count;
    }
    transmit_timer(door, session);
    return count;
}

uint32_t
door_transmit__run(struct door *door)
{
    uint32_t idx = door->active.first;
    uint32_t last = door->active.last;
    uint32_t count = 0;

    while (idx != DOOR_NONE && !door->send_short) {
        struct door_session *session = door__session(door, idx);
        uint32_t next = idx == last ? DOOR_NONE : session->next_active;
        bool more;
        door->active.first = session->next_active;
        session->is_active = false;
        count += transmit_session(door, idx, &more);
        if (more)
            door_session__activate(door, session);
        idx = next;
    }
    return count;
}
