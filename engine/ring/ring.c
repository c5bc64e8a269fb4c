#include "engine/ring/ring.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

_Static_assert(offsetof(struct ring, tail) % BASE_LINE_BYTES == 0, "producer's line");
_Static_assert(offsetof(struct ring, head) % BASE_LINE_BYTES == 0, "consumer's line");
_Static_assert(offsetof(struct ring, head) - offsetof(struct ring, tail) >= BASE_LINE_BYTES,
               "head and tail never share a prefetched pair of lines");

size_t
ring_footprint(uint32_t slot_bytes, uint32_t slot_count)
{
    return (size_t)slot_bytes * slot_count;
}

void
ring_init(struct ring *ring, void *memory, uint32_t slot_bytes, uint32_t slot_count)
{
    CHECK(slot_bytes > 0);
    CHECK(slot_bytes <= 128);
    CHECK(slot_bytes % 8 == 0);
    CHECK(is_power_of_two(slot_count));
    CHECK((uintptr_t)memory % 64 == 0);

    *ring = (struct ring){
        .slots = memory,
        .slot_bytes = slot_bytes,
        .slot_count = slot_count,
        .slot_mask = slot_count - 1,
    };
}

static ALWAYS_INLINE uint8_t *
ring_slot(const struct ring *ring, uint64_t number)
{
    return ring->slots + (number & ring->slot_mask) * ring->slot_bytes;
}

/* Copies count slots from or to number on; in two pieces where the ring wraps. */
static void
ring_copy_in(struct ring *ring, uint64_t number, const uint8_t *items, uint32_t count)
{
    uint32_t until_end = ring->slot_count - (uint32_t)(number & ring->slot_mask);
    uint32_t first = min_u32(count, until_end);
    size_t first_bytes = (size_t)first * ring->slot_bytes;

    memcpy(ring_slot(ring, number), items, first_bytes);
    memcpy(ring->slots, items + first_bytes, (size_t)(count - first) * ring->slot_bytes);
}

static void
ring_copy_out(const struct ring *ring, uint64_t number, uint8_t *items, uint32_t count)
{
    uint32_t until_end = ring->slot_count - (uint32_t)(number & ring->slot_mask);
    uint32_t first = min_u32(count, until_end);
    size_t first_bytes = (size_t)first * ring->slot_bytes;

    memcpy(items, ring_slot(ring, number), first_bytes);
    memcpy(items + first_bytes, ring->slots, (size_t)(count - first) * ring->slot_bytes);
}

/* Free slots after what is reserved; looks at the consumer's index only when fewer than wanted seem
 * free. */
static ALWAYS_INLINE uint64_t
ring_free_for(struct ring *ring, uint64_t wanted)
{
    uint64_t free_count = ring->slot_count - (ring->tail_reserved - ring->head_seen);

    if (free_count < wanted) {
        /* Pairs with the release of head in ring_pop() and ring_advance(): slots below it may be
         * reused. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        free_count = ring->slot_count - (ring->tail_reserved - ring->head_seen);
    }
    return free_count;
}

uint32_t
ring_push(struct ring *ring, const void *items, uint32_t count)
{
    uint32_t accepted = (uint32_t)min_u64(count, ring_free_for(ring, count));

    if (accepted == 0)
        return 0;
    ring_copy_in(ring, ring->tail_reserved, items, accepted);
    ring->tail_reserved += accepted;
    ring_publish(ring);
    return accepted;
}

uint32_t
ring_free(struct ring *ring)
{
    return (uint32_t)ring_free_for(ring, ring->slot_count);
}

void *
ring_reserve(struct ring *ring)
{
    if (ring_free_for(ring, 1) == 0)
        return NULL;
    return ring_slot(ring, ring->tail_reserved++);
}

void
ring_publish(struct ring *ring)
{
    /* Pairs with the acquire of tail in ring_tail_for(): slot contents are visible before the new
     * tail. */
    atomic_store_explicit(&ring->tail, ring->tail_reserved, memory_order_release);
}

/* Published slots from head on; looks at the producer's index only when fewer than wanted seem
 * there. */
static ALWAYS_INLINE uint64_t
ring_used_for(struct ring *ring, uint64_t head, uint64_t wanted)
{
    uint64_t used = ring->tail_seen - head;

    if (used < wanted) {
        /* Pairs with the release of tail in ring_publish(). */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        used = ring->tail_seen - head;
    }
    return used;
}

uint32_t
ring_pop(struct ring *ring, void *items, uint32_t count)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* only we write it */
    uint32_t taken = (uint32_t)min_u64(count, ring_used_for(ring, head, count));

    if (taken == 0)
        return 0;
    ring_copy_out(ring, head, items, taken);
    /* Pairs with the acquire of head in ring_free_for(): we are done with these slots. */
    atomic_store_explicit(&ring->head, head + taken, memory_order_release);
    return taken;
}

const void *
ring_peek(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* only we write it */

    return ring_used_for(ring, head, 1) > 0 ? ring_slot(ring, head) : NULL;
}

void
ring_advance(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* only we write it */

    DCHECK(head != ring->tail_seen);
    /* Pairs with the acquire of head in ring_free_for(). */
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

uint32_t
ring_used(const struct ring *ring)
{
    /* A picture for metrics: the two loads pair with nothing and may be from different moments. */
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    return tail >= head ? (uint32_t)min_u64(tail - head, ring->slot_count) : 0;
}

bool
ring_is_empty(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* only we write it */

    return ring_used_for(ring, head, 1) == 0;
}
