/* Single-producer single-consumer descriptor ring: how two tiles talk, on one core or on two.
 *
 * Fixed-size slots (1 to 128 bytes, multiple of 8), power-of-two count. Each side caches the other
 * side's index and re-reads it only when the ring looks full or empty; head and tail stand 128
 * bytes apart. Publishing is once per burst. Memory comes from the caller: ring_footprint(), then
 * ring_init(). The struct is shared by both sides; each calls only its own functions.
 *
 *   producer: n = ring_push(r, items, count);          consumer: n = ring_pop(r, items, count);
 *   or in place: slot = ring_reserve(r); *slot = ...; ring_publish(r);
 */
#ifndef EAGRE_ENGINE_RING_RING_H
#define EAGRE_ENGINE_RING_RING_H

#include "engine/base/base.h"

#include <stdatomic.h>

struct ring {
    /* read-only after init */
    uint8_t *slots;
    uint32_t slot_bytes;
    uint32_t slot_count;
    uint32_t slot_mask;
    /* written by the producer */
    _Alignas(BASE_LINE_BYTES) _Atomic uint64_t tail; /* slots published since init */
    uint64_t tail_reserved; /* producer only: slots filled, not all published */
    uint64_t head_seen;     /* producer only: last head read */
    /* written by the consumer */
    _Alignas(BASE_LINE_BYTES) _Atomic uint64_t head; /* slots consumed since init */
    uint64_t tail_seen;                              /* consumer only: last tail read */
};

size_t ring_footprint(uint32_t slot_bytes, uint32_t slot_count);
/* memory: ring_footprint() bytes, 128-byte aligned; borrowed for the ring's life. */
void ring_init(struct ring *ring, void *memory, uint32_t slot_bytes, uint32_t slot_count);

/* Producer. Copies up to count slots in and publishes them; returns how many fitted, [0, count]. */
uint32_t ring_push(struct ring *ring, const void *items, uint32_t count);
/* Producer. How many slots can be filled now. */
uint32_t ring_free(struct ring *ring);
/* Producer. The next free slot to fill in place, or NULL when full; becomes visible with
 * ring_publish(). */
void *ring_reserve(struct ring *ring);
void ring_publish(struct ring *ring);

/* Consumer. Copies up to count slots out; returns how many were there, [0, count]. */
uint32_t ring_pop(struct ring *ring, void *items, uint32_t count);
/* Consumer. The oldest slot in place, or NULL when empty; given back by ring_advance(). */
const void *ring_peek(struct ring *ring);
void ring_advance(struct ring *ring);

/* Either side, or a metrics reader: slots in use, approximately. */
uint32_t ring_used(const struct ring *ring);
/* Consumer: true when nothing is published (acquire). */
bool ring_is_empty(struct ring *ring);

#endif
