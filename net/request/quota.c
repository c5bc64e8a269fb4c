/* See quota.h. One chained hash table over an array; places are given back to a free list, so a
 * table rebuilt from the same changes has the same order. */
#include "net/request/quota.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

static uint32_t
bucket_count(uint32_t entities_max)
{
    uint32_t count = 16;

    while (count < entities_max && count < (1u << 20))
        count *= 2;
    return count;
}

size_t
quota_entities_footprint(uint32_t entities_max)
{
    return round_up(sizeof(struct quota_entry) * (uint64_t)entities_max, 64) +
           round_up(sizeof(uint32_t) * (uint64_t)bucket_count(entities_max), 64);
}

void
quota_entities_init(struct quota_entities *entities,
                    void *memory,
                    uint32_t entities_max,
                    uint64_t seed)
{
    uint8_t *at = memory;

    CHECK(entities_max > 0);
    CHECK(entities_max <= 1u << 20);
    *entities = (struct quota_entities){
        .entries = (struct quota_entry *)(void *)at,
        .buckets = (uint32_t *)(void *)(at + round_up(sizeof(struct quota_entry) *
                                                          (uint64_t)entities_max,
                                                      64)),
        .bucket_count = bucket_count(entities_max),
        .entities_max = entities_max,
        .free = QUOTA_NONE,
        .seed = seed,
        .fallback = {.is_default = true},
    };
    memset(entities->buckets, 0xff, sizeof(uint32_t) * entities->bucket_count);
}

static struct bytes
entity_name(const struct quota_entity *entity)
{
    return (struct bytes){(const uint8_t *)entity->name, entity->name_count};
}

static uint32_t *
bucket(const struct quota_entities *entities, struct bytes name)
{
    return &entities->buckets[hash_xxh3(name.at, name.count, entities->seed) &
                              (entities->bucket_count - 1)];
}

static uint32_t
place(const struct quota_entities *entities, struct bytes name)
{
    uint32_t idx = *bucket(entities, name);

    for (; idx != QUOTA_NONE; idx = entities->entries[idx].next) {
        struct bytes other = entity_name(&entities->entries[idx].entity);
        if (other.count == name.count &&
            (name.count == 0 || memcmp(other.at, name.at, name.count) == 0))
            return idx;
    }
    return QUOTA_NONE;
}

const struct quota_entity *
quota_entities_find(const struct quota_entities *entities, struct bytes name)
{
    const struct bytes some = {name.at == NULL ? (const uint8_t *)"" : name.at, name.count};
    uint32_t idx = name.count > QUOTA_NAME_MAX ? QUOTA_NONE : place(entities, some);

    return idx == QUOTA_NONE ? NULL : &entities->entries[idx].entity;
}

const struct quota_entity *
quota_entities_next(const struct quota_entities *entities, uint32_t *cursor)
{
    while (*cursor < entities->touched) {
        const struct quota_entry *entry = &entities->entries[(*cursor)++];
        if (entry->live)
            return &entry->entity;
    }
    return NULL;
}

enum rc
quota_entities_check(const struct quota_entities *entities, const struct quota_entity *entity)
{
    if (entity->is_default || entity->set == 0 || entities->count < entities->entities_max)
        return RC_OK;
    return place(entities, entity_name(entity)) == QUOTA_NONE ? RC_LIMIT : RC_OK;
}

static void
forget(struct quota_entities *entities, struct bytes name, uint32_t idx)
{
    uint32_t *link = bucket(entities, name);

    while (*link != idx)
        link = &entities->entries[*link].next;
    *link = entities->entries[idx].next;
    entities->entries[idx].live = false;
    entities->entries[idx].next = entities->free;
    entities->free = idx;
    entities->count--;
}

static uint32_t
add(struct quota_entities *entities, struct bytes name)
{
    uint32_t idx = entities->free;
    uint32_t *first = bucket(entities, name);

    if (idx != QUOTA_NONE)
        entities->free = entities->entries[idx].next;
    else
        idx = entities->touched++;
    CHECK(idx < entities->entities_max);
    entities->entries[idx].next = *first;
    entities->entries[idx].live = true;
    *first = idx;
    entities->count++;
    return idx;
}

enum rc
quota_entities_apply(struct quota_entities *entities, const struct quota_entity *entity)
{
    struct bytes name = entity_name(entity);

    CHECK(name.count <= QUOTA_NAME_MAX);
    if (quota_entities_check(entities, entity) != RC_OK)
        return RC_LIMIT;
    entities->version++;
    entities->set |= entity->set;
    if (entity->is_default) {
        entities->fallback = *entity;
        return RC_OK;
    }
    uint32_t idx = place(entities, name);
    if (entity->set == 0) {
        if (idx != QUOTA_NONE)
            forget(entities, name, idx);
        return RC_OK;
    }
    if (idx == QUOTA_NONE)
        idx = add(entities, name);
    entities->entries[idx].entity = *entity;
    return RC_OK;
}

double
quota_entities_limit(const struct quota_entities *entities,
                     const struct quota_entity *own,
                     enum quota_kind kind)
{
    if (own != NULL && (own->set >> kind & 1) != 0)
        return own->limits[kind];
    return (entities->fallback.set >> kind & 1) != 0 ? entities->fallback.limits[kind] : 0;
}
