#include "engine/group/group_heap.h"

#include "engine/base/check.h"

_Static_assert(GROUP_HEAP_SMALLEST << (GROUP_HEAP_SIZES - 1) == BUDDY_BLOCK_MIN,
               "the largest piece is a page");

void
group_heap_init(struct group_heap *heap, struct buddy *pool)
{
    *heap = (struct group_heap){.pool = pool};
}

static uint32_t
heap_size_idx(size_t count)
{
    uint32_t idx = 0;

    while (((size_t)GROUP_HEAP_SMALLEST << idx) < count)
        idx++;
    return idx;
}

/* Puts the pieces of a fresh page into the free list of their size. */
static bool
heap_carve(struct group_heap *heap, uint32_t size_idx)
{
    size_t piece_bytes = (size_t)GROUP_HEAP_SMALLEST << size_idx;
    uint8_t *page = buddy_take(heap->pool, BUDDY_BLOCK_MIN);

    if (page == NULL)
        return false;
    for (size_t at = 0; at < BUDDY_BLOCK_MIN; at += piece_bytes) {
        memcpy(page + at, &heap->free[size_idx], sizeof(void *));
        heap->free[size_idx] = page + at;
    }
    return true;
}

void *
group_heap_take(struct group_heap *heap, size_t count)
{
    CHECK(count > 0);
    if (count > BUDDY_BLOCK_MIN) {
        void *block = count > BUDDY_BLOCK_MAX ? NULL : buddy_take(heap->pool, count);
        heap->used_bytes += block != NULL ? count : 0;
        return block;
    }
    uint32_t size_idx = heap_size_idx(count);
    if (heap->free[size_idx] == NULL && !heap_carve(heap, size_idx))
        return NULL;
    void *piece = heap->free[size_idx];
    memcpy(&heap->free[size_idx], piece, sizeof(void *));
    heap->used_bytes += count;
    return piece;
}

void
group_heap_give(struct group_heap *heap, void *at, size_t count)
{
    if (at == NULL)
        return;
    CHECK(heap->used_bytes >= count);
    heap->used_bytes -= count;
    if (count > BUDDY_BLOCK_MIN) {
        buddy_give(heap->pool, at);
        return;
    }
    uint32_t size_idx = heap_size_idx(count);
    memcpy(at, &heap->free[size_idx], sizeof(void *));
    heap->free[size_idx] = at;
}

bool
group_heap_copy(struct group_heap *heap, struct bytes text, struct bytes *ret_copy)
{
    *ret_copy = (struct bytes){0};
    if (text.count == 0)
        return true;
    uint8_t *at = group_heap_take(heap, text.count);
    if (at == NULL)
        return false;
    bytes_copy(at, text.count, text.at, text.count);
    *ret_copy = (struct bytes){at, text.count};
    return true;
}

void
group_heap_drop(struct group_heap *heap, struct bytes *text)
{
    group_heap_give(heap, (void *)(uintptr_t)text->at, text->count);
    *text = (struct bytes){0};
}
