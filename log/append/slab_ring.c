#include "log/append/slab_ring.h"

#include "engine/base/check.h"

#include <string.h>

void
slab_ring_init(struct slab_ring *ring, void *base, uint64_t bytes)
{
    CHECK(is_power_of_two(bytes));
    CHECK(bytes >= 64 * KIB);
    CHECK(((uintptr_t)base & (SLAB_RING_ALIGN_BYTES - 1)) == 0);

    *ring = (struct slab_ring){.base = base, .bytes = bytes, .mask = bytes - 1};
}

void
slab_ring_wrap(struct slab_ring *ring)
{
    CHECK(ring->head == ring->group_begin);
    ring->head = round_up(ring->head, ring->bytes);
    ring->group_begin = ring->head;
}

void
slab_ring_pad_group(struct slab_ring *ring)
{
    uint64_t end = round_up(ring->head, SLAB_RING_ALIGN_BYTES);

    DCHECK(end - ring->tail <= ring->bytes);
    if (end != ring->head)
        memset(slab_ring_at(ring, ring->head), 0, end - ring->head);
}

void
slab_ring_close_group(struct slab_ring *ring)
{
    ring->head = round_up(ring->head, SLAB_RING_ALIGN_BYTES);
    ring->group_begin = ring->head;
}

void
slab_ring_evict(struct slab_ring *ring, uint64_t position)
{
    CHECK(position >= ring->tail);
    CHECK(position <= ring->group_begin);
    ring->tail = position;
}

bool
slab_ring_populate_next(struct slab_ring *ring, uint8_t **ret_at, uint64_t *ret_bytes)
{
    if (ring->populate_asked >= ring->bytes)
        return false;
    /* Half a step is left: name the next one. Positions past the first lap find everything touched.
     */
    if (ring->head + SLAB_RING_POPULATE_BYTES / 2 < ring->populate_asked)
        return false;
    *ret_at = ring->base + ring->populate_asked;
    *ret_bytes = min_u64(SLAB_RING_POPULATE_BYTES, ring->bytes - ring->populate_asked);
    ring->populate_asked += *ret_bytes;
    return true;
}
