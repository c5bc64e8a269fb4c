#include "engine/pool/buddy.h"

#include "engine/base/check.h"

#define BUDDY_NONE UINT32_MAX

enum buddy_state { BUDDY_INSIDE = 0, BUDDY_FREE = 1, BUDDY_TAKEN = 2 };

/* Only the first page of a block carries its order and state; the others say BUDDY_INSIDE. */
struct buddy_page {
    uint32_t newer; /* neighbours in the free list of this order */
    uint32_t older;
    uint8_t order;
    uint8_t state;
    uint8_t zero[2];
};

size_t
buddy_footprint(uint64_t region_bytes)
{
    return (size_t)(region_bytes / BUDDY_BLOCK_MIN) * sizeof(struct buddy_page);
}

static void
buddy_list_push(struct buddy *pool, uint32_t page_idx, uint32_t order)
{
    struct buddy_page *page = &pool->pages[page_idx];
    uint32_t first = pool->free_first[order];

    page->state = BUDDY_FREE;
    page->order = (uint8_t)order;
    page->newer = BUDDY_NONE;
    page->older = first;
    if (first != BUDDY_NONE)
        pool->pages[first].newer = page_idx;
    pool->free_first[order] = page_idx;
}

static void
buddy_list_remove(struct buddy *pool, uint32_t page_idx)
{
    struct buddy_page *page = &pool->pages[page_idx];

    CHECK(page->state == BUDDY_FREE);
    if (page->newer != BUDDY_NONE)
        pool->pages[page->newer].older = page->older;
    else
        pool->free_first[page->order] = page->older;
    if (page->older != BUDDY_NONE)
        pool->pages[page->older].newer = page->newer;
    page->state = BUDDY_INSIDE;
}

void
buddy_init(struct buddy *pool, void *bookkeeping, void *region, uint64_t region_bytes)
{
    CHECK(region_bytes % BUDDY_BLOCK_MIN == 0);
    CHECK(region_bytes > 0);
    CHECK(region_bytes <= 64 * GIB);
    CHECK((uintptr_t)region % BUDDY_BLOCK_MIN == 0);

    *pool = (struct buddy){
        .region = region,
        .pages = bookkeeping,
        .page_count = (uint32_t)(region_bytes / BUDDY_BLOCK_MIN),
    };
    for (uint32_t order = 0; order < BUDDY_ORDERS; order++)
        pool->free_first[order] = BUDDY_NONE;
    for (uint32_t i = 0; i < pool->page_count; i++)
        pool->pages[i] = (struct buddy_page){.newer = BUDDY_NONE, .older = BUDDY_NONE};

    /* Largest aligned blocks first; pushed from the end so that the lowest addresses are taken
     * first. */
    uint32_t end = pool->page_count;
    while (end > 0) {
        uint32_t order = BUDDY_ORDERS - 1;
        while (end % (1u << order) != 0 || (1u << order) > end)
            order--;
        end -= 1u << order;
        buddy_list_push(pool, end, order);
    }
}

static uint32_t
buddy_order_for(uint64_t bytes)
{
    uint32_t order = 0;

    while ((BUDDY_BLOCK_MIN << order) < bytes)
        order++;
    return order;
}

static uint32_t
buddy_find(const struct buddy *pool, uint32_t order)
{
    while (order < BUDDY_ORDERS && pool->free_first[order] == BUDDY_NONE)
        order++;
    return order;
}

bool
buddy_has(const struct buddy *pool, uint64_t bytes)
{
    return bytes <= BUDDY_BLOCK_MAX && buddy_find(pool, buddy_order_for(bytes)) < BUDDY_ORDERS;
}

void *
buddy_take(struct buddy *pool, uint64_t bytes)
{
    CHECK(bytes > 0);
    if (bytes > BUDDY_BLOCK_MAX)
        return NULL;

    uint32_t wanted = buddy_order_for(bytes);
    uint32_t order = buddy_find(pool, wanted);
    if (order == BUDDY_ORDERS)
        return NULL;
    uint32_t page_idx = pool->free_first[order];
    buddy_list_remove(pool, page_idx);
    while (order > wanted) {
        order--;
        buddy_list_push(pool, page_idx + (1u << order), order);
    }
    pool->pages[page_idx].order = (uint8_t)wanted;
    pool->pages[page_idx].state = BUDDY_TAKEN;
    pool->used_bytes += BUDDY_BLOCK_MIN << wanted;
    pool->used_bytes_peak = max_u64(pool->used_bytes_peak, pool->used_bytes);
    return pool->region + page_idx * BUDDY_BLOCK_MIN;
}

static uint32_t
buddy_page_idx(const struct buddy *pool, const void *block)
{
    uintptr_t distance = (uintptr_t)block - (uintptr_t)pool->region;

    CHECK(distance % BUDDY_BLOCK_MIN == 0);
    CHECK(distance / BUDDY_BLOCK_MIN < pool->page_count);
    return (uint32_t)(distance / BUDDY_BLOCK_MIN);
}

uint64_t
buddy_block_bytes(const struct buddy *pool, const void *block)
{
    const struct buddy_page *page = &pool->pages[buddy_page_idx(pool, block)];

    CHECK(page->state == BUDDY_TAKEN);
    return BUDDY_BLOCK_MIN << page->order;
}

void
buddy_give(struct buddy *pool, void *block)
{
    uint32_t page_idx = buddy_page_idx(pool, block);
    struct buddy_page *page = &pool->pages[page_idx];

    CHECK(page->state == BUDDY_TAKEN);
    uint32_t order = page->order;
    page->state = BUDDY_INSIDE;
    pool->used_bytes -= BUDDY_BLOCK_MIN << order;

    /* Join with the free twin as long as there is one. */
    while (order + 1 < BUDDY_ORDERS) {
        uint32_t twin_idx = page_idx ^ (1u << order);
        if (twin_idx >= pool->page_count)
            break;
        struct buddy_page *twin = &pool->pages[twin_idx];
        if (twin->state != BUDDY_FREE || twin->order != order)
            break;
        buddy_list_remove(pool, twin_idx);
        page_idx = min_u32(page_idx, twin_idx);
        order++;
    }
    buddy_list_push(pool, page_idx, order);
}
