#include "engine/ring/byte_ring.h"

#include "engine/base/check.h"

_Static_assert(offsetof(struct byte_ring, head) - offsetof(struct byte_ring, tail) >=
                   BASE_LINE_BYTES,
               "producer and consumer lines are apart");

void
byte_ring_init(struct byte_ring *ring, void *memory, uint64_t capacity)
{
    CHECK(is_power_of_two(capacity));
    CHECK(capacity >= 4096);
    CHECK((uintptr_t)memory % BYTE_RING_ALIGN == 0);
    *ring = (struct byte_ring){.bytes = memory, .capacity = capacity};
}

static ALWAYS_INLINE uint64_t
byte_ring_room(struct byte_ring *ring, uint64_t wanted)
{
    uint64_t room = ring->capacity - (ring->tail - ring->head_seen);

    if (room < wanted) {
        /* Pairs with the release of head in byte_ring_release(): the consumer is done with those
         * bytes. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        room = ring->capacity - (ring->tail - ring->head_seen);
    }
    return room;
}

uint8_t *
byte_ring_reserve(struct byte_ring *ring, uint64_t count, uint64_t *ret_ticket)
{
    CHECK(count > 0);
    CHECK(count <= ring->capacity / 2);

    uint64_t length = round_up(count, BYTE_RING_ALIGN);
    uint64_t position = ring->tail & (ring->capacity - 1);
    uint64_t skip = position + length > ring->capacity ? ring->capacity - position : 0;
    if (byte_ring_room(ring, skip + length) < skip + length)
        return NULL;
    uint64_t ticket = ring->tail + skip;
    ring->tail = ticket + length;
    *ret_ticket = ticket;
    return ring->bytes + (ticket & (ring->capacity - 1));
}

uint64_t
byte_ring_tail(const struct byte_ring *ring)
{
    return ring->tail;
}

void
byte_ring_roll_back(struct byte_ring *ring, uint64_t tail_before)
{
    CHECK(tail_before <= ring->tail);
    CHECK(ring->tail - tail_before <= ring->capacity);
    ring->tail = tail_before;
}

uint64_t
byte_ring_free(struct byte_ring *ring)
{
    return byte_ring_room(ring, ring->capacity);
}

const uint8_t *
byte_ring_at(const struct byte_ring *ring, uint64_t ticket)
{
    return ring->bytes + (ticket & (ring->capacity - 1));
}

void
byte_ring_release_to(struct byte_ring *ring, uint64_t end)
{
    DCHECK(end >= atomic_load_explicit(&ring->head, memory_order_relaxed));
    /* Pairs with the acquire of head in byte_ring_room(). */
    atomic_store_explicit(&ring->head, end, memory_order_release);
}

void
byte_ring_release(struct byte_ring *ring, uint64_t ticket, uint64_t count)
{
    byte_ring_release_to(ring, byte_ring_end(ticket, count));
}
