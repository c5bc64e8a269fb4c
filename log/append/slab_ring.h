/* Slab ring: staging and tail cache in one region of memory, one per log tile.
 *
 * Batches are laid down one after the other at positions that only grow; the byte of a position
 * stands at base + (position & mask). A batch never wraps: when it does not fit before the region's
 * end the open group is closed and the next one begins at the region's start. What the journal will
 * write is one unbroken piece [group_begin, head) that begins on a 4 KiB boundary; closing it pads
 * with zeros to the next boundary, so the device takes it as it stands.
 *
 *      tail                     group_begin        head
 *   ----|batches kept for readers|open piece........|free ...............|----  (then the tail
 * again, one lap later)
 *
 * A batch that does not go through the journal (bulk bypass) stands between two pieces: the piece
 * before it is closed and kept by the owner, the next one begins behind it.
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
    uint64_t group_begin; /* position of the open piece's first byte, a multiple of 4 KiB; == head:
                             none is begun */
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

/* Where the next batch of the open piece will stand: a piece begins on a block. */
static ALWAYS_INLINE uint64_t
slab_ring_next(const struct slab_ring *ring)
{
    return ring->head == ring->group_begin ? round_up(ring->head, SLAB_RING_ALIGN_BYTES)
                                           : ring->head;
}

/* Bytes between head and the region's end: what one unbroken batch of the open piece may use. 0
 * when the open piece ends exactly there: it cannot go on at the region's start. [0, bytes] */
static ALWAYS_INLINE uint64_t
slab_ring_unbroken(const struct slab_ring *ring)
{
    uint64_t at = slab_ring_next(ring) & ring->mask;

    return at == 0 && ring->head != ring->group_begin ? 0 : ring->bytes - at;
}

/* The same for a batch that stands apart: behind the block in which an open piece ends. */
static ALWAYS_INLINE uint64_t
slab_ring_unbroken_apart(const struct slab_ring *ring)
{
    uint64_t head = ring->head == ring->group_begin ? ring->head
                                                    : round_up(ring->head, SLAB_RING_ALIGN_BYTES);

    return ring->bytes - (head & ring->mask);
}

static ALWAYS_INLINE uint64_t
slab_ring_used(const struct slab_ring *ring)
{
    return ring->head - ring->tail;
}

/* Bytes of the open piece. */
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
    return round_up(slab_ring_next(ring) + count, SLAB_RING_ALIGN_BYTES) - ring->tail <=
           ring->bytes;
}

/* Moves head to the region's start (one lap later). No piece may be begun. */
void slab_ring_wrap(struct slab_ring *ring);

/* Takes count bytes of the open piece, which must be unbroken and have room; returns their
 * position. Begins a piece when none is. */
static ALWAYS_INLINE uint64_t
slab_ring_take(struct slab_ring *ring, uint64_t count)
{
    uint64_t position = slab_ring_next(ring);

    if (ring->head == ring->group_begin)
        ring->group_begin = position;
    ring->head = position + count;
    return position;
}

/* Takes count bytes of no piece; none may be begun. They must be unbroken (apart) and have room. */
static ALWAYS_INLINE uint64_t
slab_ring_take_apart(struct slab_ring *ring, uint64_t count)
{
    uint64_t position = ring->head;

    ring->head += count;
    ring->group_begin = ring->head;
    return position;
}

/* Writes zeros behind the open piece up to the next 4 KiB boundary; head stays. */
void slab_ring_pad_group(struct slab_ring *ring);
/* Ends the open piece at the next 4 KiB boundary; the next one begins there at the earliest. */
void slab_ring_close_group(struct slab_ring *ring);

/* Everything before position is given up. */
void slab_ring_evict(struct slab_ring *ring, uint64_t position);

/* The next piece of memory that was never touched and will be needed soon; false when there is
 * none. Asked pieces are not named again. */
bool slab_ring_populate_next(struct slab_ring *ring, uint8_t **ret_at, uint64_t *ret_bytes);

#endif
