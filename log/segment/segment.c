#include "log/segment/segment.h"

#include "engine/base/check.h"

void
segment_pool_init(struct segment_pool *pool, struct segment *segments, uint32_t capacity)
{
    *pool = (struct segment_pool){
        .segments = segments,
        .capacity = capacity,
        .free = SEGMENT_NONE,
        .next_number = 1,
    };
}

void
segment_list_init(struct segment_list *list)
{
    *list = (struct segment_list){.oldest = SEGMENT_NONE, .newest = SEGMENT_NONE};
}

uint32_t
segment_push(struct segment_pool *pool,
             struct segment_list *list,
             uint32_t slot,
             uint64_t base_offset)
{
    uint32_t at = pool->free;

    if (at != SEGMENT_NONE)
        pool->free = pool->segments[at].newer;
    else if (pool->used < pool->capacity)
        at = pool->used++;
    else
        return SEGMENT_NONE;
    pool->live++;
    pool->segments[at] = (struct segment){
        .base_offset = base_offset,
        .next_offset = base_offset,
        .first_timestamp_ms = -1,
        .max_timestamp_ms = -1,
        .number = pool->next_number++,
        .slot = slot,
        .file = SEGMENT_NONE,
        .newer = SEGMENT_NONE,
        .older = list->newest,
    };
    if (list->newest != SEGMENT_NONE)
        pool->segments[list->newest].newer = at;
    else
        list->oldest = at;
    list->newest = at;
    list->count++;
    return at;
}

void
segment_pop(struct segment_pool *pool, struct segment_list *list)
{
    uint32_t at = list->oldest;

    CHECK(at != SEGMENT_NONE);
    struct segment *segment = &pool->segments[at];
    CHECK(segment->readers == 0);
    list->oldest = segment->newer;
    if (list->oldest != SEGMENT_NONE)
        pool->segments[list->oldest].older = SEGMENT_NONE;
    else
        list->newest = SEGMENT_NONE;
    list->count--;
    pool->live--;
    segment->number = 0;
    segment->newer = pool->free;
    pool->free = at;
}

uint32_t
segment_replace(struct segment_pool *pool,
                struct segment_list *list,
                uint32_t first,
                uint32_t count)
{
    struct segment_list other;
    uint32_t last = first;

    CHECK(count > 0);
    segment_list_init(&other);
    uint32_t at = segment_push(
        pool, &other, pool->segments[first].slot, pool->segments[first].base_offset);
    if (at == SEGMENT_NONE)
        return at;
    for (uint32_t i = 1; i < count; i++)
        last = pool->segments[last].newer;
    for (uint32_t i = first; i != pool->segments[last].newer; i = pool->segments[i].newer)
        pool->segments[i].is_retired = true;
    struct segment *segment = &pool->segments[at];
    segment->older = pool->segments[first].older;
    segment->newer = pool->segments[last].newer;
    CHECK(segment->newer != SEGMENT_NONE); /* the active one is never replaced */
    pool->segments[segment->newer].older = at;
    if (segment->older != SEGMENT_NONE)
        pool->segments[segment->older].newer = at;
    else
        list->oldest = at;
    pool->segments[last].newer = SEGMENT_NONE;
    list->count -= count - 1;
    return at;
}

void
segment_restore(struct segment_pool *pool, struct segment_list *list, uint32_t at, uint32_t first)
{
    const struct segment *segment = &pool->segments[at];
    uint32_t last = first;

    list->count--;
    for (uint32_t i = first; i != SEGMENT_NONE; i = pool->segments[i].newer) {
        pool->segments[i].is_retired = false;
        list->count++;
        last = i;
    }
    pool->segments[first].older = segment->older;
    pool->segments[last].newer = segment->newer;
    pool->segments[segment->newer].older = last;
    if (segment->older != SEGMENT_NONE)
        pool->segments[segment->older].newer = first;
    else
        list->oldest = first;
    segment_give(pool, at);
}

void
segment_give(struct segment_pool *pool, uint32_t at)
{
    struct segment *segment = &pool->segments[at];

    CHECK(segment->readers == 0);
    CHECK(segment->file == SEGMENT_NONE);
    pool->live--;
    segment->number = 0;
    segment->is_retired = false;
    segment->newer = pool->free;
    pool->free = at;
}

uint32_t
segment_next(const struct segment_pool *pool, const struct segment_list *list, uint32_t at)
{
    const struct segment *segment = &pool->segments[at];

    return segment->is_retired ? segment_find(pool, list, segment->next_offset) : segment->newer;
}

uint32_t
segment_find(const struct segment_pool *pool, const struct segment_list *list, uint64_t offset)
{
    uint32_t answer = SEGMENT_NONE;

    /* From the newest end: that is where readers are. */
    for (uint32_t at = list->newest; at != SEGMENT_NONE; at = pool->segments[at].older) {
        if (pool->segments[at].next_offset <= offset)
            break;
        answer = at;
    }
    return answer;
}

uint32_t
segment_find_time(const struct segment_pool *pool, const struct segment_list *list, int64_t time_ms)
{
    for (uint32_t at = list->oldest; at != SEGMENT_NONE; at = pool->segments[at].newer)
        if (pool->segments[at].max_timestamp_ms >= time_ms)
            return at;
    return SEGMENT_NONE;
}
