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
