/* Requests of a connection in order: a slot is opened when a request begins, finished in any order,
 * and answered in order.
 *
 * Small replies are copied side by side into the connection's send memory, so that a burst of
 * pipelined Produce requests leaves in one piece; large ones are sent from where they lie. Slots
 * stay until the send that covers them is over (G4). Budget: 25 ns per small reply
 * (perf/BUDGET.md). */
#include "net/gate/gate_internal.h"

#define SLOT_COPY_BYTES_MAX 1024u

uint32_t
slot__open(struct gate *gate, uint32_t connection_idx, enum slot_kind kind)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);

    if (connection->slot_count >= gate->config.limits.connection_requests_max)
        return GATE_NONE;
    uint32_t idx = slab_take(&gate->slots);
    if (idx == SLAB_NONE)
        return GATE_NONE;
    struct gate_slot *slot = gate__slot(gate, idx);
    slot->next = GATE_NONE;
    slot->connection = connection_idx;
    slot->outstanding = 0;
    slot->kind = (uint8_t)kind;
    slot->flags = SLOT_OPEN;
    slot->version = connection->header.api_version;
    slot->api_key = connection->header.api_key;
    slot->correlation_id = connection->header.correlation_id;
    slot->block = GATE_NONE;
    slot->fetch = GATE_NONE;
    slot->client = connection->client;
    slot->request_bytes = connection->header.frame_bytes + KAFKA_FRAME_PREFIX_BYTES;
    slot->reply_bytes = 0;
    slot->reply_capacity = GATE_SLOT_INLINE_BYTES;
    slot->reply = slot->reply_inline;
    slot->reply_pool = NULL;
    if (connection->slot_count++ == 0)
        connection->slot_first = idx;
    else
        gate__slot(gate, connection->slot_last)->next = idx;
    connection->slot_last = idx;
    slot->begin_ns = gate->now_ns;
    gate__count_label(gate, REQUESTS, (uint16_t)slot->api_key);
    return idx;
}

static COLD bool
slot_grow(struct gate *gate, struct gate_slot *slot, uint64_t bytes)
{
    if (bytes > BUDDY_BLOCK_MAX)
        return false;
    struct buddy *pool = bytes > 64 * KIB ? &gate->response : &gate->state;
    uint8_t *block = buddy_take(pool, bytes);
    if (block == NULL)
        return false;
    uint32_t capacity = (uint32_t)buddy_block_bytes(pool, block);
    bytes_copy(block, capacity, slot->reply, slot->reply_bytes);
    if (slot->reply_pool != NULL)
        buddy_give(slot->reply_pool, slot->reply);
    slot->reply = block;
    slot->reply_capacity = capacity;
    slot->reply_pool = pool;
    return true;
}

bool
slot__room(struct gate *gate, struct gate_slot *slot, uint32_t more)
{
    uint64_t bytes = (uint64_t)slot->reply_bytes + more;

    return bytes <= slot->reply_capacity || slot_grow(gate, slot, bytes);
}

struct writer
slot__writer(struct gate_slot *slot)
{
    struct writer writer = writer_over(slot->reply, slot->reply_capacity);

    writer.at += slot->reply_bytes;
    return writer;
}

bool
slot__is_done(struct gate *gate, const struct gate_slot *slot)
{
    if (slot->outstanding > 0 || (slot->flags & SLOT_OPEN) != 0)
        return false;
    if (slot->kind == SLOT_CONTROL)
        return slot->reply_bytes > 0;
    return slot->fetch == GATE_NONE || gate__fetch(gate, slot->fetch)->state == FETCH_DONE;
}

static void
slot_release(struct gate *gate, uint32_t idx)
{
    struct gate_slot *slot = gate__slot(gate, idx);

    if (slot->fetch != GATE_NONE)
        fetch__release(gate, slot->fetch);
    if (slot->block != GATE_NONE)
        connection__block_drop(gate, slot->block);
    if (slot->reply_pool != NULL)
        buddy_give(slot->reply_pool, slot->reply);
    slot->generation++;
    gate->kick = true;
    slab_give(&gate->slots, idx);
}

void
slot__queue_send(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);

    if (connection->queued_send)
        return;
    connection->queued_send = true;
    connection->next_send = GATE_NONE;
    if (gate->send.first == GATE_NONE)
        gate->send.first = connection_idx;
    else
        gate__connection(gate, gate->send.last)->next_send = connection_idx;
    gate->send.last = connection_idx;
}

void
slot__settle(struct gate *gate, uint32_t idx)
{
    struct gate_slot *slot = gate__slot(gate, idx);

    if (slot->connection == GATE_NONE) {
        if (slot->outstanding == 0)
            slot_release(gate, idx);
        return;
    }
    struct gate_connection *connection = gate__connection(gate, slot->connection);
    if (connection->slot_first == idx && !connection->sending && slot__is_done(gate, slot))
        slot__queue_send(gate, slot->connection);
}

void
slot__complete(struct gate *gate, uint32_t idx)
{
    struct gate_slot *slot = gate__slot(gate, idx);

    slot->flags &= (uint8_t)~SLOT_OPEN;
    slot->begin_ns = gate->now_ns;
    slot__settle(gate, idx);
}

void
slot__answered(struct gate *gate, uint32_t idx)
{
    struct gate_slot *slot = gate__slot(gate, idx);

    DCHECK(slot->outstanding > 0);
    slot->outstanding--;
    if (slot->outstanding == 0)
        slot__settle(gate, idx);
}

void
slot__orphan_all(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);
    uint32_t idx = connection->slot_first;

    for (uint32_t left = connection->slot_count; left > 0; left--) {
        struct gate_slot *slot = gate__slot(gate, idx);
        uint32_t next = slot->next;
        slot->connection = GATE_NONE;
        slot__settle(gate, idx);
        idx = next;
    }
    connection->slot_count = 0;
    connection->slot = GATE_NONE;
}

void
slot__pop_sent(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);

    for (; connection->sending_slots > 0; connection->sending_slots--) {
        uint32_t idx = connection->slot_first;
        connection->slot_first = gate__slot(gate, idx)->next;
        connection->slot_count--;
        slot_release(gate, idx);
    }
    if (connection->slot_count == 0)
        return;
    const struct gate_slot *first = gate__slot(gate, connection->slot_first);
    if (first->fetch != GATE_NONE)
        fetch__is_first(gate, first->fetch);
}

struct slot_gather {
    struct gate_connection *connection;
    uint8_t *memory; /* [GATE_SEND_BYTES] */
    uint32_t memory_used;
};

/* Covers a reply that is one piece; the caller made sure that an iovec is free. */
static void
slot_gather_reply(struct slot_gather *gather, struct gate_slot *slot)
{
    struct gate_connection *connection = gather->connection;
    uint8_t *from = slot->reply;

    if (slot->reply_bytes <= SLOT_COPY_BYTES_MAX &&
        slot->reply_bytes <= GATE_SEND_BYTES - gather->memory_used) {
        from = gather->memory + gather->memory_used;
        bytes_copy(from, GATE_SEND_BYTES - gather->memory_used, slot->reply, slot->reply_bytes);
        gather->memory_used += slot->reply_bytes;
    }
    if (connection->iovec_count > 0) {
        struct iovec *last = &connection->iovecs[connection->iovec_count - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == from && from != slot->reply) {
            last->iov_len += slot->reply_bytes;
            return;
        }
    }
    connection->iovecs[connection->iovec_count++] = (struct iovec){.iov_base = from,
                                                                   .iov_len = slot->reply_bytes};
}

/* The reply of a done slot goes out with this send. */
static void
slot_record(struct gate *gate, const struct gate_slot *slot)
{
    struct metrics_tile *metrics = gate->config.metrics;

    if (metrics == NULL || (slot->flags & SLOT_NO_REPLY) != 0)
        return;
    if (slot->kind == SLOT_PRODUCE)
        metrics_record(metrics, METRIC_PRODUCE_LATENCY, gate->now_ns - slot->begin_ns);
    else if (slot->kind == SLOT_FETCH)
        metrics_record(metrics, METRIC_FETCH_LATENCY, gate->now_ns - slot->begin_ns);
}

static bool
slot_has_records(struct gate *gate, const struct gate_slot *slot)
{
    if (slot->fetch == GATE_NONE)
        return false;
    const struct gate_fetch *fetch = gate__fetch(gate, slot->fetch);
    for (uint32_t i = 0; i < fetch->entry_count; i++)
        if (fetch->entries[i].data_bytes > 0)
            return true;
    return false;
}

/* Stamps of the replies that were just handed to the socket for the first time. */
static COLD void
slot_trace(struct gate *gate, const struct gate_connection *connection)
{
    uint32_t idx = connection->slot_first;

    for (uint32_t left = connection->sending_slots; left > 0; left--) {
        const struct gate_slot *slot = gate__slot(gate, idx);
        uint64_t id = gate__ctx(idx, slot->generation, 0, 0);
        if (slot->kind == SLOT_PRODUCE && (slot->flags & SLOT_NO_REPLY) == 0)
            gate__stamp(gate, TRACE_ACKNOWLEDGE, id);
        else if (slot_has_records(gate, slot))
            gate__stamp(gate, TRACE_DELIVER, id);
        idx = slot->next;
    }
}

/* Fills iovecs from the front of the requests; false when the connection had to be closed. */
static bool
slot_gather(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);
    struct slot_gather gather = {
        .connection = connection,
        .memory = gate->send_memory + (size_t)connection_idx * GATE_SEND_BYTES,
    };
    uint32_t idx = connection->slot_first;

    connection->iovec_count = 0;
    connection->iovec_at = 0;
    for (uint32_t left = connection->slot_count; left > 0; left--) {
        struct gate_slot *slot = gate__slot(gate, idx);
        if (!slot__is_done(gate, slot) || connection->iovec_count == IO_IOVEC_MAX)
            break;
        if ((slot->flags & SLOT_NO_REPLY) != 0) {
            if ((slot->flags & SLOT_FAILED) != 0) {
                connection__close(gate, connection_idx, GATE_CLOSE_ACKS_NONE);
                return false;
            }
        } else if (slot->fetch != GATE_NONE) {
            uint32_t count = 0;
            bool whole = fetch_reply__gather(gate,
                                             gate__fetch(gate, slot->fetch),
                                             &connection->iovecs[connection->iovec_count],
                                             IO_IOVEC_MAX - connection->iovec_count,
                                             &count);
            connection->iovec_count += count;
            if (!whole)
                break;
        } else {
            slot_gather_reply(&gather, slot);
        }
        slot_record(gate, slot);
        connection->sending_slots++;
        idx = slot->next;
    }
    return true;
}

/* Hands the iovecs that are left to the io; when it takes nothing now, the next poll tries again.
 */
static void
slot_submit(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);
    struct io_request request = {
        .tag = io_tag(gate->config.io_tile, GATE_TAG_SEND | connection_idx),
        .op = IO_SENDV,
        .fd = connection->fd,
        .iovecs = &connection->iovecs[connection->iovec_at],
        .iovec_count = connection->iovec_count - connection->iovec_at,
    };

    if (!io_submit(gate->config.io, &request)) {
        slot__queue_send(gate, connection_idx);
        return;
    }
    connection->sending = true;
    if (UNLIKELY(gate->config.trace != NULL) && connection->iovec_at == 0)
        slot_trace(gate, connection);
    if (connection->send_deadline_ns == NO_DEADLINE) {
        connection->send_deadline_ns = gate->now_ns + gate->config.limits.progress_ns;
        gate__sweep_by(gate, connection->send_deadline_ns);
    }
}

void
slot__send(struct gate *gate, uint32_t connection_idx)
{
    struct gate_connection *connection = gate__connection(gate, connection_idx);

    if (connection->sending ||
        (connection->state != CONNECTION_OPEN && connection->state != CONNECTION_DRAINING))
        return;
    while (connection->iovec_at == connection->iovec_count && connection->slot_count > 0) {
        if (!slot_gather(gate, connection_idx))
            return;
        if (connection->iovec_count > 0)
            break;
        if (connection->sending_slots == 0) /* the first request is not done yet */
            return;
        slot__pop_sent(gate, connection_idx); /* only such as want no reply */
    }
    if (connection->iovec_at < connection->iovec_count)
        slot_submit(gate, connection_idx);
    else
        connection__drained(gate, connection_idx);
}
