/* Buddy pool: contiguous blocks of 4 KiB x 2^n up to 16 MiB out of one fixed region, for bytes
 * whose length is known only when they are announced (receive blocks, whole batches, responses).
 *
 * Bookkeeping lives apart from the region, so a block that was never taken is never touched and
 * costs no memory; blocks are reused newest first. Owned by one core. Limits: the region, and
 * BUDDY_BLOCK_MAX per block.
 *
 *   buddy_init(&pool, bookkeeping, region, region_bytes);
 *   uint8_t *block = buddy_take(&pool, bytes);   NULL: no contiguous room now (load, not an error)
 *   buddy_give(&pool, block);
 */
#ifndef EAGRE_ENGINE_POOL_BUDDY_H
#define EAGRE_ENGINE_POOL_BUDDY_H

#include "engine/base/base.h"

#define BUDDY_BLOCK_MIN ((uint64_t)4096)
#define BUDDY_BLOCK_MAX ((uint64_t)16 << 20)
#define BUDDY_ORDERS 13u /* 4 KiB << 12 == 16 MiB */
_Static_assert(BUDDY_BLOCK_MIN << (BUDDY_ORDERS - 1) == BUDDY_BLOCK_MAX,
               "orders span the block sizes");

struct buddy_page; /* bookkeeping of one 4 KiB page */

struct buddy {
    uint8_t *region;
    struct buddy_page *pages; /* [page_count] */
    uint32_t page_count;
    /* Page index of the newest free block of each order, or BUDDY_NONE. */
    uint32_t free_first[BUDDY_ORDERS];
    uint64_t used_bytes; /* in taken blocks, rounded up to their size */
    uint64_t used_bytes_peak;
};

/* Bytes of bookkeeping for a region of region_bytes (a multiple of 4 KiB, at most 64 GiB). */
size_t buddy_footprint(uint64_t region_bytes);

/* bookkeeping: buddy_footprint() bytes, 8-byte aligned. region: 4 KiB aligned, borrowed; not
 * touched here. */
void buddy_init(struct buddy *pool, void *bookkeeping, void *region, uint64_t region_bytes);

/* Takes a block of at least bytes in [1, BUDDY_BLOCK_MAX], aligned to 4 KiB; NULL when no block is
 * free. Runs on: the owning core.  Allocates: nothing.  Blocks: never. */
void *buddy_take(struct buddy *pool, uint64_t bytes) MUST_USE;

/* Gives a block back; it must have come from buddy_take() (checked). */
void buddy_give(struct buddy *pool, void *block);

/* The size of a taken block: bytes rounded up to its power of two. */
uint64_t buddy_block_bytes(const struct buddy *pool, const void *block);

/* True when buddy_take(bytes) would succeed. */
bool buddy_has(const struct buddy *pool, uint64_t bytes);

#endif
