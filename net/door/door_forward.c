/* Datagrams that came in at the wrong tile: copied to the one that owns the session. A client sends
 * to its tile's own port, so this happens only where a carrier spreads by hash. */
#include "net/door/door_internal.h"

_Static_assert(sizeof(struct door_forwarded) == DOOR_FORWARD_SLOT_BYTES,
               "slot of the rings that the engine makes");

void
door_forward__send(struct door *door, uint32_t tile, const struct nic_received *received)
{
    uint64_t ticket;

    if (tile >= door->config.door_count || tile == door->config.door_idx ||
        door->config.forward[tile] == NULL) {
        door__count(&door->counters.unknown_session, 1);
        return;
    }
    struct byte_ring *bytes = door->config.forward_bytes[tile];
    struct ring *ring = door->config.forward[tile];
    if (ring_free(ring) == 0 || received->byte_count > bytes->capacity / 2) {
        door__count(&door->counters.no_room, 1);
        return;
    }
    uint8_t *at = byte_ring_reserve(bytes, received->byte_count, &ticket);
    if (at == NULL) {
        door__count(&door->counters.no_room, 1);
        return;
    }
    bytes_copy(at, received->byte_count, received->bytes, received->byte_count);
    const struct door_forwarded item = {
        .ticket = ticket, .byte_count = received->byte_count, .peer = received->peer};
    CHECK(ring_push(ring, &item, 1) == 1);
    door__count(&door->counters.wrong_tile, 1);
    if (door->config.door_wakers[tile] != NULL)
        waker_notify(door->config.door_wakers[tile]);
}

static uint32_t
forward_receive_from(struct door *door, uint32_t tile)
{
    struct ring *ring = door->config.forwarded[tile];
    struct byte_ring *bytes = door->config.forwarded_bytes[tile];
    uint32_t count = 0;

    if (ring == NULL)
        return 0;
    for (; count < NIC_BURST; count++) {
        const struct door_forwarded *item = ring_peek(ring);
        if (item == NULL)
            break;
        const struct nic_received received = {
            .bytes = byte_ring_at(bytes, item->ticket),
            .byte_count = item->byte_count,
            .peer = item->peer,
        };
        door_receive__datagram(door, &received, true);
        byte_ring_release(bytes, item->ticket, item->byte_count);
        ring_advance(ring);
    }
    return count;
}

uint32_t
door_forward__receive(struct door *door)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < door->config.door_count; i++)
        count += forward_receive_from(door, i);
    return count;
}

bool
door_forward__is_empty(const struct door *door)
{
    for (uint32_t i = 0; i < door->config.door_count; i++)
        if (door->config.forwarded[i] != NULL && !ring_is_empty(door->config.forwarded[i]))
            return false;
    return true;
}
