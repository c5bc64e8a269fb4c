/* Slab ring: staging and tail cache in one region of memory, one per log tile.
 *
 * Batches are laid down one after the other at positions that only grow; the byte of a position
 * stands at base + (position & mask). A batch never wraps: when it does not fit before the region's
 * end the open group is closed and the next one begins at the region's start. The open group's
 * bytes are one unbroken range [group_begin, head) that begins on a 4 KiB boundary; closing it pads
 * with zeros to the next boundary, so the device takes it as it stands.
 *
 *      tail                     group_begin        head
 *   ----|batches kept for readers|open group........|free ...............|----  (then the tail
 * again, one lap later)
 *
 * Memory is reserved by the caller and touched for the first time here; slab_ring_populate_next()
 * names the next piece that should be touched ahead of need, so that page faults (0.75 to 2.5 ms
 * per MiB, first touch) do not meet a batch. Runs on: the log tile. Allocates: nothing. Blocks:
 * never. */
#ifndef EAGRE_LOG_APPEND_SLAB_RING_H
#define EAGRE_LOG_APPEND_SLAB_RING_H

#include "engine/base/base.h"

#define SLAB_RING_ALIGN_BYTES 4096u
#define SLAB_RING_POPULATE_BYTES (16 * MIB)

struct slab_ring {
    uint8_t *base;
    uint64_t bytes; /* power of two */
    uint64_t mask;
    uint64_t head;        /* position of the next byte */
    uint64_t tail;        /* position of the oldest byte that is kept */
    uint64_t group_begin; /* position of the open group's first byte; a multiple of 4 KiB */
    uint64_t
        populate_asked; /* bytes from the base on that were named by slab_ring_populate_next() */
};

/* base: [bytes], 4 KiB aligned, borrowed for the ring's life; bytes: a power of two >= 64 KiB. */
void slab_ring_init(struct slab_ring *ring, void *base, uint64_t bytes);

static ALWAYS_INLINE uint8_t *
slab_ring_at(const struct slab_ring *ring, uint64_t position)
{
    return ring->base + (position & ring->mask);
}

/* Bytes between head and the region's end: what one unbroken batch of the open group may use. 0
 * when the open group ends exactly there: it cannot go on at the region's start. [0, bytes] */
static ALWAYS_INLINE uint64_t
slab_ring_unbroken(const struct slab_ring *ring)
{
    uint64_t at = ring->head & ring->mask;

    return at == 0 && ring->head != ring->group_begin ? 0 : ring->bytes - at;
}

static ALWAYS_INLINE uint64_t
slab_ring_used(const struct slab_ring *ring)
{
    return ring->head - ring->tail;
}

/* Bytes of the open group. */
static ALWAYS_INLINE uint64_t
slab_ring_group_bytes(const struct slab_ring *ring)
{
    return ring->head - ring->group_begin;
}

/* Free bytes that count bytes at head would leave the group's padding as well; the caller evicts
 * until this is true. */
static ALWAYS_INLINE bool
slab_ring_has_room(const struct slab_ring *ring, uint64_t count)
{
    return round_up(ring->head + count, SLAB_RING_ALIGN_BYTES) - ring->tail <= ring->bytes;
}

/* Moves head to the region's start (one lap later). The open group must be empty. */
void slab_ring_wrap(struct slab_ring *ring);

/* Takes count bytes at head, which must be unbroken and have room; returns their position. */
static ALWAYS_INLINE uint64_t
slab_ring_take(struct slab_ring *ring, uint64_t count)
{
    uint64_t position = ring->head;

    ring->head += count;
    return position;
}

/* Writes zeros behind the open group up to the next 4 KiB boundary; head stays. */
void slab_ring_pad_group(struct slab_ring *ring);
/* Ends the open group at the next 4 KiB boundary and opens the next one there. */
void slab_ring_close_group(struct slab_ring *ring);

/* Everything before position is given up. */
void slab_ring_evict(struct slab_ring *ring, uint64_t position);

/* The next piece of memory that was never touched and will be needed soon; false when there is
 * none. Asked pieces are not named again. */
bool slab_ring_populate_next(struct slab_ring *ring, uint8_t **ret_at, uint64_t *ret_bytes);

#endif
