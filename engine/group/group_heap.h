/* Memory of variable size for groups: texts, subscriptions, assignments, metadata of offsets.
 *
 * Powers of two from 32 bytes to 4 KiB are carved out of 4 KiB pages of a buddy pool and kept in a
 * free list per size; larger pieces are blocks of the pool itself. Pages that were carved stay with
 * their size, so the pool is bounded by the sum of the peaks. Owned by control's thread.
 * Allocates: from the pool only.  Blocks: never. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_HEAP_H
#define EAGRE_ENGINE_GROUP_GROUP_HEAP_H

#include "engine/base/bytes.h"
#include "engine/pool/buddy.h"

#define GROUP_HEAP_SIZES 8u /* 32, 64, ... 4096 */
#define GROUP_HEAP_SMALLEST 32u

struct group_heap {
    struct buddy *pool;
    void *free[GROUP_HEAP_SIZES]; /* singly linked through the pieces' first bytes */
    uint64_t used_bytes;          /* asked for and not given back */
};

void group_heap_init(struct group_heap *heap, struct buddy *pool);
/* count in [1, BUDDY_BLOCK_MAX]; NULL when the pool is empty. */
void *group_heap_take(struct group_heap *heap, size_t count) MUST_USE;
/* count: as taken. NULL is allowed. */
void group_heap_give(struct group_heap *heap, void *at, size_t count);

/* A copy of text, or at == NULL for a null or empty one. False: no memory. */
bool group_heap_copy(struct group_heap *heap, struct bytes text, struct bytes *ret_copy) MUST_USE;
void group_heap_drop(struct group_heap *heap, struct bytes *text);

#endif
