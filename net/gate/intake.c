/* From received bytes to requests. The parser stands at `parse` in the connection's current block
 * and goes on as bytes arrive.
 *
 * What the next step needs in one piece (a header, a whole small request, all records of a
 * partition) lies contiguous in one block: when the rest of the block is too small, the partial
 * bytes move to a new one whose whole length is reserved first (G2). While anything else is short
 * (slots, rings, memory) the connection waits on gate.wait and receives nothing: TCP holds the
 * client back (G3). Those who wait for receive memory are served in order of arrival. Budget: 120
 * ns per small Produce request, CRC apart (perf/BUDGET.md). */
#include "net/gate/gate_internal.h"

#include "net/kafka/kafka_versions.h"

static void
intake_wait_queue(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    if (connection->queued_wait)
        return;
    connection->queued_wait = true;
    connection->next_wait = GATE_NONE;
    if (gate->wait.first == GATE_NONE)
        gate->wait.first = idx;
    else
        gate__connection(gate, gate->wait.last)->next_wait = idx;
    gate->wait.last = idx;
}

void
intake__wait_end(struct gate *gate, struct gate_connection *connection)
{
    if (connection->wait == WAIT_INGEST)
        gate->ingest_waiters--;
    connection->wait = WAIT_NONE;
    connection->wait_deadline_ns = NO_DEADLINE;
}

static COLD void
intake_wait(struct gate *gate, uint32_t idx, enum step step)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    enum intake_wait wait = step == STEP_WAIT_SLOT     ? WAIT_SLOT
                            : step == STEP_WAIT_LINK   ? WAIT_LINK
                            : step == STEP_WAIT_INGEST ? WAIT_INGEST
                                                       : WAIT_STATE;

    intake_wait_queue(gate, idx);
    if (wait == connection->wait)
        return;
    intake__wait_end(gate, connection);
    connection->wait = (uint8_t)wait;
    connection->receive_deadline_ns = NO_DEADLINE; /* we are the slow side now */
    if (wait == WAIT_SLOT) {
        gate__count(&gate->counters.waits_slots, 1);
    } else if (wait == WAIT_LINK) {
        gate__count(&gate->counters.waits_link, 1);
    } else {
        if (wait == WAIT_INGEST)
            gate->ingest_waiters++;
        gate__count(&gate->counters.waits_ingest, 1);
        connection->wait_deadline_ns = gate->now_ns + gate->config.limits.progress_ns;
        gate__sweep_by(gate, connection->wait_deadline_ns);
    }
}

/* Moves the partial bytes to another block that becomes the current one. */
static void
intake_move(struct gate *gate, struct gate_connection *connection, uint32_t block_idx)
{
    const struct gate_block *from = gate__block(gate, connection->block);
    struct gate_block *to = gate__block(gate, block_idx);
    uint32_t partial = connection->end - connection->parse;

    bytes_copy(to->at, to->bytes, from->at + connection->parse, partial);
    to->refs++;
    connection__block_drop(gate, connection->block);
    connection->block = block_idx;
    connection->parse = 0;
    connection->end = partial;
}

/* Takes a block of at least need bytes out of the pool; GATE_NONE: not now. Growth beyond need is
 * granted only out of the first half of the pool, so that the other half always serves what is
 * really needed. */
static uint32_t
intake_take(struct gate *gate, const struct gate_connection *connection, uint32_t need)
{
    const struct gate_limits *limits = &gate->config.limits;
    bool overtakes = connection->wait != WAIT_INGEST && gate->ingest_waiters > 0;

    if (gate->ingest_short || overtakes)
        return GATE_NONE;
    uint32_t idx = slab_take(&gate->pool_blocks);
    if (idx == SLAB_NONE)
        return GATE_NONE;
    uint8_t *at = NULL;
    if (connection->receive_bytes > need &&
        gate->ingest.used_bytes + connection->receive_bytes <= limits->ingest_bytes / 2)
        at = buddy_take(&gate->ingest, connection->receive_bytes);
    if (at == NULL)
        at = buddy_take(&gate->ingest, need);
    if (at == NULL) {
        slab_give(&gate->pool_blocks, idx);
        return GATE_NONE;
    }
    struct gate_block *block = slab_at(&gate->pool_blocks, idx);
    block->at = at;
    block->bytes = (uint32_t)buddy_block_bytes(&gate->ingest, at);
    block->refs = 0;
    block->lent = gate->ingest.used_bytes > limits->ingest_bytes / 2;
    return idx + limits->connections_max;
}

/* Makes [parse, parse + need) fit the current block, with room to receive at least one byte. */
static enum step
intake_room(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_block *block = gate__block(gate, connection->block);
    uint32_t need = connection->need;
    uint32_t partial = connection->end - connection->parse;

    DCHECK(need > partial);
    if (partial == 0 && block->lent) /* nobody may sit idle in it (G2) */
        return STEP_WAIT_INGEST;
    if (partial == 0 && block->refs == 1) {
        connection->parse = connection->end = 0;
        bool shrink = connection->block != idx && connection->slot_count == 0 &&
                      block->bytes > connection->receive_bytes;
        if (shrink && need <= GATE_BASE_BYTES && gate->base_blocks[idx].refs == 0)
            intake_move(gate, connection, idx);
        return need <= gate__block(gate, connection->block)->bytes ? STEP_ON : STEP_WAIT_INGEST;
    }
    if (block->bytes - connection->parse >= need)
        return STEP_ON;
    if (block->refs == 1 && block->bytes >= need) {
        memmove(block->at, block->at + connection->parse, partial);
        connection->parse = 0;
        connection->end = partial;
        return STEP_ON;
    }
    return STEP_WAIT_INGEST;
}

/* Arms the next receive, in a new block if it must be. */
static enum step
intake_receive(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    if (intake_room(gate, idx) != STEP_ON) {
        uint32_t block_idx = idx;
        bool base_fits = connection->need <= GATE_BASE_BYTES && connection->block != idx &&
                         gate->base_blocks[idx].refs == 0;
        if (!base_fits)
            block_idx = intake_take(gate, connection, connection->need);
        if (block_idx == GATE_NONE)
            return STEP_WAIT_INGEST;
        intake_move(gate, connection, block_idx);
    }
    const struct gate_block *block = gate__block(gate, connection->block);
    struct io_request request = {
        .tag = io_tag(gate->config.io_tile, GATE_TAG_RECEIVE | idx),
        .op = IO_RECV,
        .fd = connection->fd,
        .buffer = block->at + connection->end,
        .bytes = block->bytes - connection->end,
    };

    /* A client that may be muted reads nothing ahead into lent memory: it would lie there (G2). */
    if (block->lent && connection->client.idx != QUOTA_NONE)
        request.bytes = connection->parse + connection->need - connection->end;

    CHECK(request.bytes > 0);
    intake__wait_end(gate, connection);
    connection->receive_asked = request.bytes;
    connection->receiving = io_submit(gate->config.io, &request);
    if (!connection->receiving) {
        connection__make_ready(gate, idx);
        return STEP_ON;
    }
    bool between = connection->intake == INTAKE_HEADER && connection->parse == connection->end;
    if (between) {
        connection->receive_deadline_ns = NO_DEADLINE;
    } else if (connection->receive_deadline_ns == NO_DEADLINE) {
        connection->receive_deadline_ns = gate->now_ns + gate->config.limits.progress_ns;
        gate__sweep_by(gate, connection->receive_deadline_ns);
    }
    return STEP_ON;
}

static enum step
intake_close(struct gate *gate, uint32_t idx, enum gate_close_reason reason)
{
    connection__close(gate, idx, reason);
    return STEP_CLOSED;
}

static enum step
intake_need(struct gate_connection *connection, uint32_t bytes)
{
    connection->need = bytes;
    return STEP_MORE;
}

/* Whether a frame of this request, to be taken as a whole, is within its limits. */
static enum step
intake_whole_begin(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    uint32_t bytes = connection->header.frame_bytes;
    uint32_t bytes_max = connection->header.api_key == KAFKA_FETCH
                             ? GATE_FETCH_REQUEST_BYTES_MAX
                             : gate->config.limits.request_whole_bytes_max;

    if (!connection->proven && bytes > GATE_UNPROVEN_BYTES - KAFKA_FRAME_PREFIX_BYTES)
        return intake_close(gate, idx, GATE_CLOSE_UNPROVEN);
    if (bytes > bytes_max)
        return intake_close(gate, idx, GATE_CLOSE_LIMIT);
    connection->intake = INTAKE_WHOLE;
    return STEP_ON;
}

static enum step
intake_header(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    const struct gate_block *block = gate__block(gate, connection->block);
    const uint8_t *at = block->at + connection->parse;
    uint32_t available = connection->end - connection->parse;

    if (UNLIKELY(gate->stopping) && available == 0) {
        connection__drain(gate, idx);
        return STEP_CLOSED;
    }
    if (quota__is_muted(connection, gate->now_ns))
        return STEP_MUTED;
    enum kafka_parse parse = kafka_request_header_parse(
        at, available, gate->config.limits.request_bytes_max, &connection->header);
    if (parse == KAFKA_PARSE_MORE)
        return intake_need(connection, available + 1);
    if (parse == KAFKA_PARSE_MALFORMED) {
        uint32_t bytes = get_u32_be(at);
        bool frame = bytes < KAFKA_FRAME_BYTES_MIN || bytes > gate->config.limits.request_bytes_max;
        return intake_close(gate, idx, frame ? GATE_CLOSE_FRAME : GATE_CLOSE_MALFORMED);
    }
    const struct kafka_request_header *header = &connection->header;
    if (header->api == NULL || (!header->served && header->api_key != KAFKA_API_VERSIONS))
        return intake_close(gate, idx, GATE_CLOSE_UNSUPPORTED);
    quota__header(gate, idx);
    if (header->api_key != KAFKA_PRODUCE)
        return intake_whole_begin(gate, idx);
    enum step step = produce__begin(gate, idx);
    if (step == STEP_ON)
        connection->parse += header->header_bytes;
    return step;
}

static enum step
intake_versions(struct gate *gate, uint32_t idx, struct bytes body)
{
    uint32_t slot_idx = slot__open(gate, idx, SLOT_LOCAL);

    if (slot_idx == GATE_NONE)
        return STEP_WAIT_SLOT;
    struct gate_slot *slot = gate__slot(gate, slot_idx);
    struct writer writer = slot__writer(slot);
    uint32_t pause_ms = quota__charge(gate, slot, QUOTA_REQUEST, 0);
    if (kafka_versions_answer(&writer, &gate__connection(gate, idx)->header, body, pause_ms) !=
        RC_OK)
        return intake_close(gate, idx, GATE_CLOSE_MALFORMED);
    CHECK(!writer.failed);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    slot__complete(gate, slot_idx);
    return STEP_ON;
}

static enum step
intake_whole(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    const struct gate_block *block = gate__block(gate, connection->block);
    uint32_t frame_bytes = KAFKA_FRAME_PREFIX_BYTES + connection->header.frame_bytes;
    enum step step;

    if (connection->end - connection->parse < frame_bytes)
        return intake_need(connection, frame_bytes);
    switch (connection->header.api_key) {
    case KAFKA_API_VERSIONS:
        step = intake_versions(
            gate,
            idx,
            (struct bytes){
                .at = block->at + connection->parse + connection->header.header_bytes,
                .count = connection->header.served ? connection->header.body_bytes : 0,
            });
        break;
    case KAFKA_FETCH:
        step = fetch__begin(gate, idx);
        break;
    default:
        step = control_request__begin(gate, idx);
        break;
    }
    if (step != STEP_ON)
        return step;
    connection->parse += frame_bytes;
    connection->intake = INTAKE_HEADER;
    connection->proven = true;
    return STEP_ON;
}

static enum step
intake_skip(struct gate_connection *connection)
{
    uint32_t count = min_u32(connection->end - connection->parse, connection->skip_left);

    connection->parse += count;
    connection->skip_left -= count;
    if (connection->skip_left > 0)
        return intake_need(connection, 1);
    connection->intake = connection->skip_next;
    return STEP_ON;
}

/* A muted connection receives nothing, so it keeps no memory beyond its base block where what it
 * has received fits in there (G2). */
static void
intake_pause(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    intake__wait_end(gate, connection);
    connection->receive_deadline_ns = NO_DEADLINE;
    if (connection->block != idx && gate->base_blocks[idx].refs == 0 &&
        connection->end - connection->parse <= GATE_BASE_BYTES / 2)
        intake_move(gate, connection, idx);
}

void
intake__run(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    enum step step = STEP_ON;

    if (connection->state != CONNECTION_OPEN || connection->receiving)
        return;
    while (step == STEP_ON) {
        switch ((enum intake_state)connection->intake) {
        case INTAKE_HEADER:
            step = intake_header(gate, idx);
            break;
        case INTAKE_WHOLE:
            step = intake_whole(gate, idx);
            break;
        case INTAKE_PRODUCE:
            step = produce__item(gate, idx);
            break;
        case INTAKE_RECORDS:
            step = produce__records(gate, idx);
            break;
        case INTAKE_SKIP:
            step = intake_skip(connection);
            break;
        }
    }
    if (step == STEP_MORE)
        step = intake_receive(gate, idx);
    if (step == STEP_MUTED) {
        intake_pause(gate, idx);
        return;
    }
    if (step != STEP_ON && step != STEP_CLOSED)
        intake_wait(gate, idx, step);
}
