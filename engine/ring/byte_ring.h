/* Single-producer single-consumer byte ring: payload of variable length that travels beside a
 * descriptor ring.
 *
 * Each piece is contiguous and 64-byte aligned; a piece that does not fit before the end starts
 * again at the beginning and the rest is skipped (the skip is part of the piece's ticket, so no
 * marker is stored). The producer reserves, writes, and sends the ticket in its descriptor; the
 * consumer gives pieces back in order by byte_ring_release(). The descriptor ring publishes the
 * bytes: its release of tail orders them, so only the head needs an atomic here.
 *
 *   producer: uint8_t *at = byte_ring_reserve(r, bytes, &ticket);   NULL: no room now
 *             ... write ...; descriptor.ticket = ticket; ring_push(...)
 *   consumer: ... read byte_ring_at(r, ticket, bytes) ...; byte_ring_release(r, ticket, bytes)
 */
#ifndef EAGRE_ENGINE_RING_BYTE_RING_H
#define EAGRE_ENGINE_RING_BYTE_RING_H

#include "engine/base/base.h"

#include <stdatomic.h>

#define BYTE_RING_ALIGN 64u

struct byte_ring {
    uint8_t *bytes;
    uint64_t capacity; /* power of two */
    /* written by the producer only */
    _Alignas(BASE_LINE_BYTES) uint64_t tail; /* bytes reserved since init */
    uint64_t head_seen;
    /* written by the consumer */
    _Alignas(BASE_LINE_BYTES) _Atomic uint64_t head; /* bytes released since init */
};

/* memory: capacity bytes (a power of two, at least 4 KiB), 64-byte aligned; borrowed. */
void byte_ring_init(struct byte_ring *ring, void *memory, uint64_t capacity);

/* Producer. Room for count bytes in [1, capacity / 2], or NULL. *ret_ticket names the piece;
 * written only on success. */
uint8_t *byte_ring_reserve(struct byte_ring *ring, uint64_t count, uint64_t *ret_ticket);
/* Producer. Takes back everything reserved since this ticket was given (a frame that failed its
 * check). */
void byte_ring_roll_back(struct byte_ring *ring, uint64_t tail_before);
/* Producer. The value to hand to byte_ring_roll_back(). */
uint64_t byte_ring_tail(const struct byte_ring *ring);
/* Producer. Bytes that can be reserved now, disregarding the wrap. */
uint64_t byte_ring_free(struct byte_ring *ring);

/* Consumer. */
const uint8_t *byte_ring_at(const struct byte_ring *ring, uint64_t ticket);
/* Consumer. Gives back this piece and all before it. */
void byte_ring_release(struct byte_ring *ring, uint64_t ticket, uint64_t count);
/* Consumer. The same, named by where the piece ends: for descriptors that carry one number. */
void byte_ring_release_to(struct byte_ring *ring, uint64_t end);
/* Where the piece of this ticket and size ends, for byte_ring_release_to(). */
static ALWAYS_INLINE uint64_t
byte_ring_end(uint64_t ticket, uint64_t count)
{
    return ticket + round_up(count, BYTE_RING_ALIGN);
}

#endif
