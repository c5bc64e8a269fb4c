/* Slots of one size; see session.h and session_inner.h.
 *
 *     [struct session_pool][slots: struct session_slot x count][bytes: stride x count]
 *
 * Free slots form a stack, so that what was used last and is still in the cache is used first, and
 * memory that load never reached is never touched. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

#define POOL_ALIGN 64u

size_t
session_pool_footprint(uint32_t slot_count, uint32_t datagram_bytes_max)
{
    return round_up(sizeof(struct session_pool), POOL_ALIGN) +
           round_up((uint64_t)slot_count * sizeof(struct session_slot), POOL_ALIGN) +
           (uint64_t)slot_count * round_up(datagram_bytes_max, POOL_ALIGN);
}

struct session_pool *
session_pool_init(void *memory,
                  uint32_t slot_count,
                  uint32_t reorder_max,
                  uint32_t datagram_bytes_max)
{
    struct session_pool *pool = memory;
    uint8_t *at = memory;

    CHECK((uintptr_t)memory % POOL_ALIGN == 0);
    CHECK(slot_count > 0 && slot_count < SESSION_NO_SLOT);
    CHECK(reorder_max <= slot_count);
    CHECK(datagram_bytes_max <= UINT16_MAX);
    *pool = (struct session_pool){
        .slot_count = slot_count,
        .slot_bytes = (uint32_t)round_up(datagram_bytes_max, POOL_ALIGN),
        .reorder_max = reorder_max,
        .free_first = SESSION_NO_SLOT,
    };
    at += round_up(sizeof(*pool), POOL_ALIGN);
    pool->slots = (struct session_slot *)(void *)at;
    at += round_up((uint64_t)slot_count * sizeof(struct session_slot), POOL_ALIGN);
    pool->bytes = at;
    return pool;
}

uint32_t
session_pool_used(const struct session_pool *pool)
{
    return pool->used;
}

uint32_t
session__slot_take(struct session_pool *pool, enum session_slot_state state)
{
    uint32_t slot_idx = pool->free_first;

    if (slot_idx != SESSION_NO_SLOT)
        pool->free_first = pool->slots[slot_idx].next;
    else if (pool->fresh < pool->slot_count)
        slot_idx = pool->fresh++;
    else
        return SESSION_NO_SLOT;
    pool->used++;
    pool->slots[slot_idx] = (struct session_slot){
        .previous = SESSION_NO_SLOT,
        .next = SESSION_NO_SLOT,
        .state = state,
    };
    return slot_idx;
}

uint32_t
session__slot_take_reorder(struct session_pool *pool)
{
    if (pool->reorder_used >= pool->reorder_max)
        return SESSION_NO_SLOT;
    uint32_t slot_idx = session__slot_take(pool, SESSION_SLOT_ARRIVED);
    if (slot_idx != SESSION_NO_SLOT)
        pool->reorder_used++;
    return slot_idx;
}

void
session__slot_give(struct session_pool *pool, uint32_t slot_idx)
{
    struct session_slot *slot = &pool->slots[slot_idx];

    CHECK(slot_idx < pool->fresh);
    CHECK(slot->state != SESSION_SLOT_FREE);
    if (slot->state == SESSION_SLOT_ARRIVED || slot->state == SESSION_SLOT_TAKEN)
        pool->reorder_used--;
    slot->state = SESSION_SLOT_FREE;
    slot->next = pool->free_first;
    pool->free_first = slot_idx;
    pool->used--;
}

void
session__list_append(struct session_pool *pool, struct session_list *list, uint32_t slot_idx)
{
    struct session_slot *slot = &pool->slots[slot_idx];

    slot->previous = list->last;
    slot->next = SESSION_NO_SLOT;
    if (list->last == SESSION_NO_SLOT)
        list->first = slot_idx;
    else
        pool->slots[list->last].next = slot_idx;
    list->last = slot_idx;
    list->count++;
}

void
session__list_remove(struct session_pool *pool, struct session_list *list, uint32_t slot_idx)
{
    struct session_slot *slot = &pool->slots[slot_idx];

    DCHECK(list->count > 0);
    if (slot->previous == SESSION_NO_SLOT)
        list->first = slot->next;
    else
        pool->slots[slot->previous].next = slot->next;
    if (slot->next == SESSION_NO_SLOT)
        list->last = slot->previous;
    else
        pool->slots[slot->next].previous = slot->previous;
    list->count--;
}
