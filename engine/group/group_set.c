#include "engine/group/group_set.h"

#include "engine/group/group_inner.h"

/* ---- topics */

struct consumer_topic *
ctopic__at(const struct groups *groups, uint32_t idx)
{
    return slab_at(&groups->ctopics, idx);
}

static uint32_t *
ctopic_bucket(const struct groups *groups, const uint8_t id[16])
{
    uint64_t hash = hash_xxh3(id, 16, groups->config.hash_seed);

    return &groups->ctopic_buckets[hash & groups->ctopic_mask];
}

uint32_t
ctopic__find(const struct groups *groups, const uint8_t id[16])
{
    uint32_t idx = *ctopic_bucket(groups, id);

    while (idx != SLAB_NONE && memcmp(ctopic__at(groups, idx)->id, id, 16) != 0)
        idx = ctopic__at(groups, idx)->next;
    return idx;
}

uint32_t
ctopic__use(struct groups *groups, const struct group_topic_info *info)
{
    uint32_t idx = ctopic__find(groups, info->id);

    if (idx == SLAB_NONE) {
        struct bytes name;
        idx = slab_take(&groups->ctopics);
        if (idx == SLAB_NONE || !group_heap_copy(&groups->heap, info->name, &name)) {
            if (idx != SLAB_NONE)
                slab_give(&groups->ctopics, idx);
            groups->counters.limits_reached++;
            return SLAB_NONE;
        }
        uint32_t *bucket = ctopic_bucket(groups, info->id);
        struct consumer_topic *topic = ctopic__at(groups, idx);
        *topic = (struct consumer_topic){.name = name, .next = *bucket};
        bytes_copy(topic->id, sizeof(topic->id), info->id, sizeof(info->id));
        *bucket = idx;
    }
    ctopic__at(groups, idx)->partition_count = info->partition_count;
    ctopic__at(groups, idx)->uses++;
    return idx;
}

void
ctopic__drop(struct groups *groups, uint32_t idx)
{
    struct consumer_topic *topic = ctopic__at(groups, idx);

    CHECK(topic->uses > 0);
    if (--topic->uses > 0)
        return;
    uint32_t *link = ctopic_bucket(groups, topic->id);
    while (*link != idx)
        link = &ctopic__at(groups, *link)->next;
    *link = topic->next;
    group_heap_drop(&groups->heap, &topic->name);
    slab_give(&groups->ctopics, idx);
}

/* ---- sets */

bool
set__has(const struct group_set *set, uint64_t part)
{
    uint32_t low = 0;
    uint32_t high = set->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->at[middle] < part)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->at[low] == part;
}

bool
set__equals(const struct group_set *set, const uint64_t *parts, uint32_t count)
{
    return set->count == count &&
           (count == 0 || memcmp(set->at, parts, count * sizeof(*parts)) == 0);
}

uint64_t
set__hash(const struct groups *groups, const struct group_set *set)
{
    return set->count == 0
               ? 0
               : hash_xxh3(set->at, set->count * sizeof(*set->at), groups->config.hash_seed);
}

/* One use for each topic that a set names. */
static void
set_count_uses(struct groups *groups, const uint64_t *parts, uint32_t count, bool more)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t topic = set__topic(parts[i]);
        if (i > 0 && set__topic(parts[i - 1]) == topic)
            continue;
        if (more)
            ctopic__at(groups, topic)->uses++;
        else
            ctopic__drop(groups, topic);
    }
}

bool
set__assign(struct groups *groups, struct group_set *set, const uint64_t *parts, uint32_t count)
{
    uint64_t *copy = NULL;

    if (set__equals(set, parts, count))
        return true;
    if (count > 0) {
        copy = group_heap_take(&groups->heap, count * sizeof(*parts));
        if (copy == NULL) {
            groups->counters.limits_reached++;
            return false;
        }
        bytes_copy(copy, count * sizeof(*parts), parts, count * sizeof(*parts));
        set_count_uses(groups, parts, count, true);
    }
    set__drop(groups, set);
    *set = (struct group_set){.at = copy, .count = count};
    return true;
}

void
set__drop(struct groups *groups, struct group_set *set)
{
    set_count_uses(groups, set->at, set->count, false);
    group_heap_give(&groups->heap, set->at, set->count * sizeof(*set->at));
    *set = (struct group_set){0};
}

uint32_t
set__both(const struct group_set *a, const struct group_set *b, uint64_t *to)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < a->count; i++)
        if (set__has(b, a->at[i]))
            to[count++] = a->at[i];
    return count;
}

uint32_t
set__without(const struct group_set *a, const struct group_set *b, uint64_t *to)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < a->count; i++)
        if (!set__has(b, a->at[i]))
            to[count++] = a->at[i];
    return count;
}

/* Shell sort: lists come sorted as a rule, and it needs no memory. */
uint32_t
set__sort(uint64_t *parts, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t gap = count / 2; gap > 0; gap /= 2)
        for (uint32_t i = gap; i < count; i++) {
            uint64_t part = parts[i];
            uint32_t at = i;
            for (; at >= gap && parts[at - gap] > part; at -= gap)
                parts[at] = parts[at - gap];
            parts[at] = part;
        }
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || parts[kept - 1] != parts[i])
            parts[kept++] = parts[i];
    return kept;
}

/* ---- lists of topics */

bool
topics__has(const struct group_topics *topics, uint32_t topic)
{
    uint32_t low = 0;
    uint32_t high = topics->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (topics->at[middle] < topic)
            low = middle + 1;
        else
            high = middle;
    }
    return low < topics->count && topics->at[low] == topic;
}

bool
topics__equal(const struct group_topics *a, const struct group_topics *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->at, b->at, a->count * sizeof(*a->at)) == 0);
}

bool
topics__take(struct groups *groups, const uint32_t *list, uint32_t count, struct group_topics *ret)
{
    uint32_t *copy = count > 0 ? group_heap_take(&groups->heap, count * sizeof(*list)) : NULL;

    if (copy == NULL && count > 0) {
        groups->counters.limits_reached++;
        for (uint32_t i = 0; i < count; i++)
            ctopic__drop(groups, list[i]);
        return false;
    }
    if (count > 0)
        bytes_copy(copy, count * sizeof(*list), list, count * sizeof(*list));
    *ret = (struct group_topics){.at = copy, .count = count};
    return true;
}

void
topics__drop(struct groups *groups, struct group_topics *topics)
{
    for (uint32_t i = 0; i < topics->count; i++)
        ctopic__drop(groups, topics->at[i]);
    group_heap_give(&groups->heap, topics->at, topics->count * sizeof(*topics->at));
    *topics = (struct group_topics){0};
}
