/* Connections from accept to close. Closing has two steps: the descriptor is shut down at once, so
 * that what is under way on it ends soon, and only then memory is given back; the record itself
 * stays until no request in flight points into its base block. */
#include "net/gate/gate_internal.h"

static const uint8_t connection_moves[CONNECTION_STATE_COUNT] = {
    [CONNECTION_FREE] = BIT(CONNECTION_OPEN),
    [CONNECTION_OPEN] = BIT(CONNECTION_DRAINING) | BIT(CONNECTION_CLOSING),
    [CONNECTION_DRAINING] = BIT(CONNECTION_CLOSING),
    [CONNECTION_CLOSING] = BIT(CONNECTION_CLOSED),
    [CONNECTION_CLOSED] = BIT(CONNECTION_FREE),
};

static void
connection_move(struct gate_connection *connection, enum connection_state next)
{
    CHECK((connection_moves[connection->state] & BIT(next)) != 0);
    connection->state = (uint8_t)next;
}

bool
connection__open(struct gate *gate, int fd)
{
    uint32_t idx = slab_take(&gate->connections);

    if (idx == SLAB_NONE)
        return false;
    struct gate_connection *connection = gate__connection(gate, idx);
    /* Queue membership outlives a connection: a stale place on a list is skipped or served when its
     * turn comes. */
    struct gate_connection kept = *connection;
    memset(connection, 0, sizeof(*connection));
    connection->queued_ready = kept.queued_ready;
    connection->queued_send = kept.queued_send;
    connection->queued_wait = kept.queued_wait;
    connection->next_ready = kept.next_ready;
    connection->next_send = kept.next_send;
    connection->next_wait = kept.next_wait;
    connection->queued_muted = kept.queued_muted;
    connection->next_muted = kept.next_muted;
    connection->client = QUOTA_CLIENT_NONE;
    connection->generation = kept.generation + 1;
    connection_move(connection, CONNECTION_OPEN);
    connection->fd = fd;
    tcp_peer_address(gate->config.tcp, fd, connection->peer);
    connection->block = idx; /* its base block */
    connection->receive_bytes = GATE_BASE_BYTES;
    connection->slot = GATE_NONE;
    connection->topic = TOPIC_NONE;
    connection->fetch_hint = 64 * KIB;
    connection->active_ns = gate->now_ns;
    connection->receive_deadline_ns = NO_DEADLINE;
    connection->send_deadline_ns = NO_DEADLINE;
    connection->wait_deadline_ns = NO_DEADLINE;
    gate->base_blocks[idx].refs = 1;
    gate->connection_count++;
    gate__count(&gate->counters.connections_accepted, 1);
    gate__sweep_by(gate, gate->now_ns + gate->config.limits.idle_ns);
    connection__make_ready(gate, idx);
    return true;
}

void
connection__make_ready(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    if (connection->queued_ready)
        return;
    connection->queued_ready = true;
    connection->next_ready = GATE_NONE;
    if (gate->ready.first == GATE_NONE)
        gate->ready.first = idx;
    else
        gate__connection(gate, gate->ready.last)->next_ready = idx;
    gate->ready.last = idx;
}

static void
connection_free(struct gate *gate, uint32_t idx)
{
    connection_move(gate__connection(gate, idx), CONNECTION_FREE);
    gate->connection_count--;
    slab_give(&gate->connections, idx);
}

void
connection__block_drop(struct gate *gate, uint32_t block_idx)
{
    struct gate_block *block = gate__block(gate, block_idx);

    CHECK(block->refs > 0);
    if (--block->refs > 0)
        return;
    if (block_idx < gate->config.limits.connections_max) {
        if (gate__connection(gate, block_idx)->state == CONNECTION_CLOSED)
            connection_free(gate, block_idx);
        return;
    }
    buddy_give(&gate->ingest, block->at);
    slab_give(&gate->pool_blocks, block_idx - gate->config.limits.connections_max);
    gate->kick = true;
}

/* Both io requests are over: nothing of ours is named by the kernel any more. */
static void
connection_finish(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    if (connection->state != CONNECTION_CLOSING || connection->receiving || connection->sending)
        return;
    connection->sending_slots = 0;
    slot__orphan_all(gate, idx);
    tcp_close(gate->config.tcp, connection->fd);
    connection_move(connection, CONNECTION_CLOSED);
    bool on_base = connection->block == idx;
    if (!on_base && gate->base_blocks[idx].refs == 0)
        connection_free(gate, idx);
    connection__block_drop(gate, connection->block);
}

void
connection__close(struct gate *gate, uint32_t idx, enum gate_close_reason reason)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    if (connection->state != CONNECTION_OPEN && connection->state != CONNECTION_DRAINING)
        return;
    connection_move(connection, CONNECTION_CLOSING);
    gate__count(&gate->counters.connections_closed[reason], 1);
    intake__wait_end(gate, connection);
    quota__closed(gate, connection);
    tcp_shutdown(gate->config.tcp, connection->fd);
    connection_finish(gate, idx);
}

void
connection__drain(struct gate *gate, uint32_t idx)
{
    connection_move(gate__connection(gate, idx), CONNECTION_DRAINING);
    connection__drained(gate, idx);
}

void
connection__drained(struct gate *gate, uint32_t idx)
{
    const struct gate_connection *connection = gate__connection(gate, idx);

    if (connection->state == CONNECTION_DRAINING && connection->slot_count == 0 &&
        !connection->sending)
        connection__close(gate, idx, GATE_CLOSE_STOP);
}

/* A transfer may go on for progress_ns from now at most, and each byte buys its share of the least
 * rate: whoever trickles single bytes runs out of time, however often he sends one. */
static uint64_t
connection_extend(const struct gate *gate, uint64_t deadline_ns, uint32_t bytes)
{
    uint64_t bought = (uint64_t)bytes * (NS_PER_S / GATE_RATE_MIN_BYTES);

    if (deadline_ns == NO_DEADLINE)
        return NO_DEADLINE;
    return min_u64(deadline_ns + bought, gate->now_ns + gate->config.limits.progress_ns);
}

/* Blocks grow while receives fill them and shrink when they come nearly empty. */
static void
connection_adapt(struct gate_connection *connection, uint32_t got)
{
    uint32_t size = connection->receive_bytes;

    if (got == connection->receive_asked && connection->proven)
        connection->receive_bytes = size < 64 * KIB ? (uint32_t)(64 * KIB) : (uint32_t)MIB;
    else if (got < size / 16)
        connection->receive_bytes = size > 64 * KIB ? (uint32_t)(64 * KIB) : GATE_BASE_BYTES;
}

void
connection__received(struct gate *gate, uint32_t idx, int32_t result)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    CHECK(connection->receiving);
    connection->receiving = false;
    if (connection->state == CONNECTION_CLOSING) {
        connection_finish(gate, idx);
        return;
    }
    if (result <= 0) {
        connection__close(gate, idx, result == 0 ? GATE_CLOSE_PEER : GATE_CLOSE_IO);
        return;
    }
    CHECK((uint32_t)result <= connection->receive_asked);
    connection->end += (uint32_t)result;
    connection->active_ns = gate->now_ns;
    connection->receive_deadline_ns = connection_extend(
        gate, connection->receive_deadline_ns, (uint32_t)result);
    connection_adapt(connection, (uint32_t)result);
    gate__count(&gate->counters.received_bytes, (uint32_t)result);
    connection__make_ready(gate, idx);
}

void
connection__sent(struct gate *gate, uint32_t idx, int32_t result)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    CHECK(connection->sending);
    connection->sending = false;
    if (connection->state == CONNECTION_CLOSING) {
        connection_finish(gate, idx);
        return;
    }
    if (result <= 0) {
        connection__close(gate, idx, GATE_CLOSE_IO);
        return;
    }
    gate__count(&gate->counters.sent_bytes, (uint32_t)result);
    connection->active_ns = gate->now_ns;
    uint32_t left = (uint32_t)result;
    while (left > 0) {
        CHECK(connection->iovec_at < connection->iovec_count);
        struct iovec *iovec = &connection->iovecs[connection->iovec_at];
        if (left < iovec->iov_len) {
            iovec->iov_base = (uint8_t *)iovec->iov_base + left;
            iovec->iov_len -= left;
            break;
        }
        left -= (uint32_t)iovec->iov_len;
        connection->iovec_at++;
    }
    if (connection->iovec_at == connection->iovec_count) {
        connection->send_deadline_ns = NO_DEADLINE;
        slot__pop_sent(gate, idx);
    } else {
        connection->send_deadline_ns = connection_extend(
            gate, connection->send_deadline_ns, (uint32_t)result);
    }
    slot__queue_send(gate, idx);
}

uint64_t
connection__deadline(const struct gate *gate, const struct gate_connection *connection)
{
    uint64_t deadline = min_u64(connection->send_deadline_ns, connection->receive_deadline_ns);

    if (connection->state != CONNECTION_OPEN && connection->state != CONNECTION_DRAINING)
        return NO_DEADLINE;
    /* A client that was told to pause is not late: only what it is sent has a deadline. */
    if (quota__is_muted(connection, gate->now_ns))
        return connection->intake == INTAKE_HEADER ? connection->send_deadline_ns : deadline;
    if (connection->slot_count == 0)
        deadline = min_u64(deadline, connection->active_ns + gate->config.limits.idle_ns);
    return min_u64(deadline, connection->wait_deadline_ns);
}

void
connection__expire(struct gate *gate, uint32_t idx)
{
    const struct gate_connection *connection = gate__connection(gate, idx);
    uint64_t progress = min_u64(
        min_u64(connection->send_deadline_ns, connection->receive_deadline_ns),
        connection->wait_deadline_ns);

    connection__close(gate, idx, progress <= gate->now_ns ? GATE_CLOSE_PROGRESS : GATE_CLOSE_IDLE);
}
