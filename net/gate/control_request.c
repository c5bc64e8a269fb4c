/* Requests that the control tile answers: the frame stays where it was received, control writes the
 * reply into memory given along. A reply that does not fit comes back with the bytes it needs and
 * is asked for again. What cannot be sent or has no memory now waits on gate.control_wait; it keeps
 * its place in its connection, others go on. */
#include "net/gate/gate_internal.h"

#define CONTROL_REPLY_BYTES 4096u

/* The frame begins with the API key: kafka_frame.c has seen that it is that long. */
static bool
control_is_patient(const struct gate_slot *slot)
{
    return get_u16_be(slot->frame) == KAFKA_HEARTBEAT;
}

static bool
control_send(struct gate *gate, uint32_t slot_idx)
{
    struct gate_slot *slot = gate__slot(gate, slot_idx);
    struct gate_link *link = &gate->links[link__control(gate)];
    bool hurry = link->hurry || !control_is_patient(slot);

    if (slot->reply_capacity < slot->reply_wanted) {
        slot->reply_bytes = 0;
        if (!slot__room(gate, slot, slot->reply_wanted)) {
            gate__count(&gate->counters.waits_response, 1);
            return false;
        }
    }
    struct request *request = link__reserve(gate, link__control(gate), 1);
    if (request == NULL)
        return false;
    link->hurry = hurry;
    request->kind = REQUEST_KAFKA;
    request->flags = 0;
    request->slot = slot->connection;
    request->incarnation = 0;
    request->ctx = gate__ctx(slot_idx, slot->generation, 0, 0);
    request->u.kafka.frame = slot->frame;
    request->u.kafka.frame_bytes = slot->frame_bytes;
    request->u.kafka.reply = slot->reply + KAFKA_FRAME_PREFIX_BYTES;
    request->u.kafka.reply_capacity = slot->reply_capacity - KAFKA_FRAME_PREFIX_BYTES;
    if (slot->connection == GATE_NONE)
        memset(request->u.kafka.peer, 0, sizeof(request->u.kafka.peer));
    else
        memcpy(request->u.kafka.peer,
               gate__connection(gate, slot->connection)->peer,
               sizeof(request->u.kafka.peer));
    return true;
}

static void
control_wait(struct gate *gate, uint32_t slot_idx)
{
    struct gate_slot *slot = gate__slot(gate, slot_idx);

    slot->next_retry = GATE_NONE;
    if (gate->control_wait.first == GATE_NONE)
        gate->control_wait.first = slot_idx;
    else
        gate__slot(gate, gate->control_wait.last)->next_retry = slot_idx;
    gate->control_wait.last = slot_idx;
}

enum step
control_request__begin(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_block *block = gate__block(gate, connection->block);
    uint32_t slot_idx = slot__open(gate, idx, SLOT_CONTROL);

    if (slot_idx == GATE_NONE)
        return STEP_WAIT_SLOT;
    struct gate_slot *slot = gate__slot(gate, slot_idx);
    block->refs++;
    slot->block = connection->block;
    slot->frame = block->at + connection->parse + KAFKA_FRAME_PREFIX_BYTES;
    slot->frame_bytes = connection->header.frame_bytes;
    slot->reply_wanted = CONTROL_REPLY_BYTES;
    slot->outstanding = 1;
    slot->flags &= (uint8_t)~SLOT_OPEN;
    gate__count(&gate->counters.requests_other, 1);
    if (gate->control_wait.first != GATE_NONE || !control_send(gate, slot_idx))
        control_wait(gate, slot_idx);
    return STEP_ON;
}

void
control_request__retry(struct gate *gate)
{
    while (gate->control_wait.first != GATE_NONE) {
        uint32_t slot_idx = gate->control_wait.first;
        struct gate_slot *slot = gate__slot(gate, slot_idx);
        uint32_t next = slot->next_retry;
        if (slot->connection == GATE_NONE) {
            gate->control_wait.first = next;
            slot__answered(gate, slot_idx); /* nobody wants it any more */
            continue;
        }
        if (!control_send(gate, slot_idx))
            return;
        gate->control_wait.first = next;
    }
}

void
control_request__answered(struct gate *gate, const struct response *response)
{
    uint32_t slot_idx = (uint32_t)(response->ctx >> 48);
    struct gate_slot *slot = gate__slot(gate, slot_idx);

    CHECK(slot->kind == SLOT_CONTROL);
    CHECK((slot->generation & 0xfff) == ((response->ctx >> 36) & 0xfff));
    if (response->rc == RC_NO_MEMORY && slot->connection != GATE_NONE &&
        response->bytes <= BUDDY_BLOCK_MAX - KAFKA_FRAME_PREFIX_BYTES &&
        response->bytes + KAFKA_FRAME_PREFIX_BYTES > slot->reply_capacity) {
        slot->reply_wanted = response->bytes + KAFKA_FRAME_PREFIX_BYTES;
        control_wait(gate, slot_idx);
        gate->kick = true;
        return;
    }
    if (response->rc == RC_OK) {
        CHECK(response->bytes <= slot->reply_capacity - KAFKA_FRAME_PREFIX_BYTES);
        put_u32_be(slot->reply, response->bytes);
        slot->reply_bytes = response->bytes + KAFKA_FRAME_PREFIX_BYTES;
        quota__control_answer(gate, slot, response->base_offset);
    } else if (slot->connection != GATE_NONE) {
        connection__close(gate,
                          slot->connection,
                          response->rc == RC_NO_MEMORY ? GATE_CLOSE_LIMIT : GATE_CLOSE_MALFORMED);
    }
    slot__answered(gate, slot_idx);
}
