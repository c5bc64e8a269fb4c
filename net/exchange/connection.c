/* Connections from accept to the last trace of their session.
 *
 * What is received is fed to the stream, what the stream gives is cut into messages, and a message
 * is obeyed in the state it finds. Nothing is received while something waits to be sent: so what a
 * peer makes us hold is bounded by one chunk and the answers to it. */
#include "net/exchange/exchange_internal.h"

#include "engine/base/check.h"

#include <stdio.h>

static const uint8_t connection_moves[EXCHANGE_STATE_COUNT] = {
    [EXCHANGE_FREE] = BIT(EXCHANGE_HANDSHAKE) | BIT(EXCHANGE_JOINING),
    [EXCHANGE_HANDSHAKE] = BIT(EXCHANGE_JOINING) | BIT(EXCHANGE_FAREWELL) | BIT(EXCHANGE_CLOSING),
    [EXCHANGE_JOINING] = BIT(EXCHANGE_HELD) | BIT(EXCHANGE_FAREWELL) | BIT(EXCHANGE_CLOSING),
    [EXCHANGE_HELD] = BIT(EXCHANGE_FAREWELL) | BIT(EXCHANGE_CLOSING),
    [EXCHANGE_FAREWELL] = BIT(EXCHANGE_CLOSING),
    [EXCHANGE_CLOSING] = BIT(EXCHANGE_RETURNING) | BIT(EXCHANGE_FREE),
    [EXCHANGE_RETURNING] = BIT(EXCHANGE_FREE),
};

static void
connection_move(struct exchange_connection *connection, enum exchange_state next)
{
    CHECK((connection_moves[connection->state] & BIT(next)) != 0);
    connection->state = (uint8_t)next;
}

static bool
is_reading(const struct exchange_connection *connection)
{
    return connection->state == EXCHANGE_HANDSHAKE || connection->state == EXCHANGE_JOINING ||
           connection->state == EXCHANGE_HELD;
}

/* ---- lists by deadline ---- */

static void
list_leave(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    struct exchange_list *list = connection->list;

    if (list == NULL)
        return;
    if (connection->prev == EXCHANGE_NONE)
        list->first = connection->next;
    else
        exchange__connection(exchange, connection->prev)->next = connection->next;
    if (connection->next == EXCHANGE_NONE)
        list->last = connection->prev;
    else
        exchange__connection(exchange, connection->next)->prev = connection->prev;
    list->count--;
    connection->list = NULL;
}

static void
list_enter(struct exchange *exchange,
           uint32_t idx,
           struct exchange_list *list,
           uint64_t deadline_ns)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    list_leave(exchange, idx);
    connection->list = list;
    connection->deadline_ns = deadline_ns;
    connection->prev = list->last;
    connection->next = EXCHANGE_NONE;
    if (list->last == EXCHANGE_NONE)
        list->first = idx;
    else
        exchange__connection(exchange, list->last)->next = idx;
    list->last = idx;
    list->count++;
}

/* ---- life ---- */

bool
exchange_connection__open(struct exchange *exchange, int fd)
{
    /* A newcomer takes the place of whoever has been mute the longest. */
    if (exchange->pending.count >= EXCHANGE_PENDING_MAX) {
        exchange__count(&exchange->counters.refused_limit);
        exchange_connection__close(exchange, exchange->pending.first);
    }
    uint32_t idx = slab_take(&exchange->connections);
    if (idx == SLAB_NONE)
        return false;
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    /* It may still stand on the list of those to be worked on, of its former life. */
    bool queued = connection->queued;
    uint32_t next_ready = connection->next_ready;
    memset(connection, 0, offsetof(struct exchange_connection, raw));
    connection->queued = queued;
    connection->next_ready = next_ready;
    if (!exchange_stream_open(&connection->stream, exchange->tls)) {
        slab_give(&exchange->connections, idx);
        return false;
    }
    connection->fd = fd;
    connection_move(connection, exchange->tls != NULL ? EXCHANGE_HANDSHAKE : EXCHANGE_JOINING);
    list_enter(exchange, idx, &exchange->pending, exchange->now_ns + EXCHANGE_JOIN_NS);
    exchange->open_count++;
    exchange__count(&exchange->counters.accepted);
    exchange_connection__arm(exchange, idx);
    return true;
}

static void
connection_free(struct exchange *exchange, uint32_t idx)
{
    connection_move(exchange__connection(exchange, idx), EXCHANGE_FREE);
    slab_give(&exchange->connections, idx);
}

/* The secrets that passed through these buffers end with the connection at the latest. */
static void
connection_clear(struct exchange_connection *connection)
{
    explicit_bzero(connection->raw, sizeof(connection->raw));
    explicit_bzero(connection->message, sizeof(connection->message));
    explicit_bzero(connection->out, sizeof(connection->out));
}

/* Both io requests are over: the kernel names nothing of ours any more. */
static void
connection_finish(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (connection->state != EXCHANGE_CLOSING || connection->receiving || connection->sending)
        return;
    tcp_close(exchange->config.tcp, connection->fd);
    exchange->open_count--;
    exchange_stream_close(&connection->stream);
    connection_clear(connection);
    if (connection->cipher == NULL)
        connection_free(exchange, idx);
    else
        connection_move(connection, EXCHANGE_RETURNING);
}

bool
exchange_connection__revoke(struct exchange *exchange, uint32_t idx)
{
    const struct exchange_connection *connection = exchange__connection(exchange, idx);
    const struct exchange_door_link *door = &exchange->config.doors[connection->door];
    struct door_grant grant = {.session_id = exchange->session_ids[idx], .revoke = 1};

    if (ring_push(door->grants, &grant, 1) == 0)
        return false;
    waker_notify(door->waker);
    return true;
}

/* Leaves HELD: the door hears of it, now or as soon as its ring has room. */
static void
connection_let_go(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (connection->cipher == NULL || exchange_connection__revoke(exchange, idx))
        return;
    connection->revoke_due = true;
    exchange->revokes_due++;
}

void
exchange_connection__close(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (connection->state == EXCHANGE_FREE || connection->state >= EXCHANGE_CLOSING)
        return;
    if (connection->state == EXCHANGE_HELD)
        connection_let_go(exchange, idx);
    list_leave(exchange, idx);
    connection_move(connection, EXCHANGE_CLOSING);
    tcp_shutdown(exchange->config.tcp, connection->fd);
    connection_finish(exchange, idx);
}

void
exchange_connection__farewell(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (!is_reading(connection))
        return;
    if (connection->state == EXCHANGE_HELD)
        connection_let_go(exchange, idx);
    connection_move(connection, EXCHANGE_FAREWELL);
    exchange_stream_end(&connection->stream);
    list_enter(exchange, idx, &exchange->farewell, exchange->now_ns + EXCHANGE_FAREWELL_NS);
    exchange_connection__arm(exchange, idx);
}

void
exchange_connection__hold(struct exchange *exchange, uint32_t idx)
{
    list_leave(exchange, idx);
    connection_move(exchange__connection(exchange, idx), EXCHANGE_HELD);
}

void
exchange_connection__returned(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    CHECK(connection->cipher != NULL);
    session_cipher_destroy(connection->cipher);
    connection->cipher = NULL;
    exchange->session_ids[idx] = 0;
    exchange->session_count--;
    exchange->door_sessions[connection->door]--;
    if (connection->revoke_due) {
        connection->revoke_due = false;
        exchange->revokes_due--;
    }
    if (connection->state == EXCHANGE_RETURNING)
        connection_free(exchange, idx);
    else
        exchange_connection__farewell(exchange, idx);
}

/* ---- bytes out ---- */

void
exchange_connection__write(struct exchange *exchange,
                           uint32_t idx,
                           const uint8_t *at,
                           uint32_t count)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (connection->stream.tls != NULL) {
        if (!exchange_stream_seal(&connection->stream, at, count))
            exchange_connection__close(exchange, idx);
        return;
    }
    /* Clear text: the only answer that this connection gets. */
    CHECK(connection->out_count == 0);
    bytes_copy(connection->out, sizeof(connection->out), at, count);
    connection->out_count = count;
}

/* True: something is being sent or waits for room in the ring. */
static bool
connection_send(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    if (connection->sending)
        return true;
    if (connection->out_sent == connection->out_count) {
        explicit_bzero(connection->out, connection->out_count);
        connection->out_sent = 0;
        connection->out_count = exchange_stream_take(
            &connection->stream, connection->out, sizeof(connection->out));
    }
    if (connection->out_count == 0)
        return false;
    connection->iovec = (struct iovec){connection->out + connection->out_sent,
                                       connection->out_count - connection->out_sent};
    struct io_request request = {
        .tag = io_tag(exchange->config.io_tile, EXCHANGE_TAG_SEND | idx),
        .op = IO_SENDV,
        .fd = connection->fd,
        .iovecs = &connection->iovec,
        .iovec_count = 1,
    };
    connection->sending = io_submit(exchange->config.io, &request);
    connection->arm_due = !connection->sending;
    return true;
}

static void
connection_receive(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    struct io_request request = {
        .tag = io_tag(exchange->config.io_tile, EXCHANGE_TAG_RECEIVE | idx),
        .op = IO_RECV,
        .fd = connection->fd,
        .buffer = connection->raw,
        .bytes = sizeof(connection->raw),
    };

    if (connection->receiving || connection->raw_count > 0)
        return;
    connection->receiving = io_submit(exchange->config.io, &request);
    connection->arm_due = !connection->receiving;
}

void
exchange_connection__arm(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    connection->arm_due = false;
    if (!is_reading(connection) && connection->state != EXCHANGE_FAREWELL)
        return;
    if (!connection_send(exchange, idx)) {
        if (connection->state == EXCHANGE_FAREWELL)
            exchange_connection__close(exchange, idx);
        else
            connection_receive(exchange, idx);
    }
    exchange->arms_due |= connection->arm_due;
}

void
exchange_connection__sent(struct exchange *exchange, uint32_t idx, int32_t result)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    CHECK(connection->sending);
    connection->sending = false;
    if (connection->state == EXCHANGE_CLOSING) {
        connection_finish(exchange, idx);
        return;
    }
    if (result <= 0) {
        exchange_connection__close(exchange, idx);
        return;
    }
    connection->out_sent += (uint32_t)result;
    CHECK(connection->out_sent <= connection->out_count);
    exchange_connection__arm(exchange, idx);
}

/* ---- bytes in ---- */

void
exchange_connection__received(struct exchange *exchange, uint32_t idx, int32_t result)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    CHECK(connection->receiving);
    connection->receiving = false;
    if (connection->state == EXCHANGE_CLOSING) {
        connection_finish(exchange, idx);
        return;
    }
    if (connection->state == EXCHANGE_FAREWELL)
        return;
    connection->received += result > 0 ? (uint32_t)result : 0;
    if (result <= 0 || connection->received > EXCHANGE_BYTES_MAX) {
        if (result > 0)
            exchange__count(&exchange->counters.refused_protocol);
        exchange_connection__close(exchange, idx);
        return;
    }
    connection->raw_count = (uint32_t)result;
    if (connection->queued)
        return;
    connection->queued = true;
    connection->next_ready = EXCHANGE_NONE;
    if (exchange->ready_first == EXCHANGE_NONE)
        exchange->ready_first = idx;
    else
        exchange__connection(exchange, exchange->ready_last)->next_ready = idx;
    exchange->ready_last = idx;
}

/* What came is not what the protocol has. Who holds a session got its one answer already. */
static void
connection_disobey(struct exchange *exchange, uint32_t idx)
{
    if (exchange__connection(exchange, idx)->state == EXCHANGE_JOINING) {
        join__malformed(exchange, idx);
        return;
    }
    exchange__count(&exchange->counters.refused_protocol);
    exchange_connection__farewell(exchange, idx);
}

/* One message in the state that it finds. */
static void
connection_obey(struct exchange *exchange, uint32_t idx, uint8_t type, struct bytes body)
{
    uint8_t state = exchange__connection(exchange, idx)->state;

    if (state == EXCHANGE_JOINING && type == WIRE_CONTROL_JOIN)
        join__run(exchange, idx, body);
    else if (state == EXCHANGE_HELD && type == WIRE_CONTROL_LEAVE)
        exchange_connection__farewell(exchange, idx);
    else
        connection_disobey(exchange, idx);
}

/* Cuts what was read into messages. Each is cleared once it was obeyed: a JOIN has a secret. */
static void
connection_cut(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    while (connection->message_count > 0 && is_reading(connection)) {
        struct bytes body = {NULL, 0};
        uint32_t bytes = 0;
        uint8_t type = 0;
        enum rc rc = wire_control_next(
            connection->message, connection->message_count, &type, &body, &bytes);
        bool is_full = connection->message_count == sizeof(connection->message);
        if (rc == RC_AGAIN && !is_full)
            return;
        if (rc != RC_OK) {
            connection_disobey(exchange, idx);
            return;
        }
        CHECK(bytes > 0 && bytes <= connection->message_count);
        connection_obey(exchange, idx, type, body);
        explicit_bzero(connection->message, bytes);
        connection->message_count -= bytes;
        memmove(connection->message, connection->message + bytes, connection->message_count);
    }
}

/* What the stream gives, until it wants more or the connection is over. */
static void
connection_read(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);

    while (connection->state == EXCHANGE_JOINING || connection->state == EXCHANGE_HELD) {
        uint32_t count = 0;
        uint32_t at = connection->message_count;
        enum stream_step step = exchange_stream_read(&connection->stream,
                                                     connection->message + at,
                                                     (uint32_t)sizeof(connection->message) - at,
                                                     &count);
        if (step == STREAM_MORE)
            return;
        if (step != STREAM_OK) {
            if (step == STREAM_FAILED)
                exchange__count(&exchange->counters.failed_tls);
            exchange_connection__farewell(exchange, idx);
            return;
        }
        connection->message_count += count;
        connection_cut(exchange, idx);
    }
}

void
exchange_connection__run(struct exchange *exchange, uint32_t idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    uint32_t count = connection->raw_count;

    if (!is_reading(connection) || count == 0)
        return;
    connection->raw_count = 0;
    if (!exchange_stream_feed(&connection->stream, connection->raw, count)) {
        exchange__count(&exchange->counters.refused_limit);
        exchange_connection__close(exchange, idx);
        return;
    }
    if (connection->state == EXCHANGE_HANDSHAKE) {
        enum stream_step step = exchange_stream_handshake(&connection->stream);
        if (step == STREAM_OK) {
            connection_move(connection, EXCHANGE_JOINING);
        } else if (step != STREAM_MORE) {
            exchange__count(&exchange->counters.failed_tls);
            exchange_connection__farewell(exchange, idx);
        }
    }
    connection_read(exchange, idx);
    /* Clear text that was not read must not outlive the chunk it lies in. */
    connection->stream.clear_count = 0;
    explicit_bzero(connection->raw, count);
    exchange_connection__arm(exchange, idx);
}
