/* The table of offsets, and the answers that wait for records. */
#include "engine/group/group_inner.h"

/* ---- topics: each name is kept once */

static uint32_t *
topic_bucket(const struct groups *groups, struct bytes name)
{
    uint64_t hash = hash_xxh3(name.at, name.count, groups->config.hash_seed);

    return &groups->topic_buckets[hash & groups->topic_mask];
}

static uint32_t
topic_find(const struct groups *groups, struct bytes name)
{
    for (uint32_t idx = *topic_bucket(groups, name); idx != SLAB_NONE;) {
        const struct group_topic *topic = slab_at(&groups->topics, idx);
        if (bytes__equal(topic->name, name))
            return idx;
        idx = topic->next;
    }
    return SLAB_NONE;
}

/* SLAB_NONE: a limit is reached. */
static uint32_t
topic_use(struct groups *groups, struct bytes name)
{
    uint32_t idx = topic_find(groups, name);

    if (idx == SLAB_NONE) {
        struct bytes copy;
        idx = slab_take(&groups->topics);
        if (idx == SLAB_NONE)
            return SLAB_NONE;
        if (!group_heap_copy(&groups->heap, name, &copy)) {
            slab_give(&groups->topics, idx);
            return SLAB_NONE;
        }
        uint32_t *bucket = topic_bucket(groups, name);
        *(struct group_topic *)slab_at(&groups->topics,
                                       idx) = (struct group_topic){.name = copy, .next = *bucket};
        *bucket = idx;
    }
    ((struct group_topic *)slab_at(&groups->topics, idx))->uses++;
    return idx;
}

static void
topic_drop(struct groups *groups, uint32_t idx)
{
    struct group_topic *topic = slab_at(&groups->topics, idx);

    if (--topic->uses > 0)
        return;
    uint32_t *link = topic_bucket(groups, topic->name);
    while (*link != idx)
        link = &((struct group_topic *)slab_at(&groups->topics, *link))->next;
    *link = topic->next;
    group_heap_drop(&groups->heap, &topic->name);
    slab_give(&groups->topics, idx);
}

struct group_topic *
offset__topic(const struct groups *groups, const struct group_offset *offset)
{
    return slab_at(&groups->topics, offset->topic);
}

/* ---- offsets */

static uint32_t *
offset_bucket(const struct groups *groups, uint32_t group, uint32_t topic, uint32_t partition)
{
    const uint32_t key[3] = {group, topic, partition};
    uint64_t hash = hash_xxh3(key, sizeof(key), groups->config.hash_seed);

    return &groups->offset_buckets[hash & groups->offset_mask];
}

static struct group_offset *
offset_find(const struct groups *groups, uint32_t group, uint32_t topic, uint32_t partition)
{
    for (uint32_t idx = *offset_bucket(groups, group, topic, partition); idx != SLAB_NONE;) {
        struct group_offset *offset = slab_at(&groups->offsets, idx);
        if (offset->group == group && offset->topic == topic && offset->partition == partition &&
            offset->txn == SLAB_NONE)
            return offset;
        idx = offset->next;
    }
    return NULL;
}

struct group_offset *
offset__find(const struct groups *groups,
             const struct group *group,
             struct bytes topic,
             uint32_t partition)
{
    uint32_t topic_idx = topic_find(groups, topic);

    return topic_idx == SLAB_NONE
               ? NULL
               : offset_find(groups, group__idx(groups, group), topic_idx, partition);
}

struct group_offset *
pending__find(const struct groups *groups,
              const struct group *group,
              struct bytes topic_name,
              uint32_t partition,
              uint32_t txn)
{
    uint32_t topic = topic_find(groups, topic_name);
    uint32_t group_idx = group__idx(groups, group);

    if (topic == SLAB_NONE)
        return NULL;
    for (uint32_t idx = *offset_bucket(groups, group_idx, topic, partition); idx != SLAB_NONE;) {
        struct group_offset *offset = slab_at(&groups->offsets, idx);
        if (offset->group == group_idx && offset->topic == topic &&
            offset->partition == partition && offset->txn != SLAB_NONE &&
            (offset->txn == txn || txn == SLAB_NONE))
            return offset;
        idx = offset->next;
    }
    return NULL;
}

static uint32_t
offset_idx(const struct groups *groups, const struct group_offset *offset)
{
    return (uint32_t)((size_t)((const uint8_t *)offset - groups->offsets.objects) /
                      groups->offsets.object_bytes);
}

/* Into the list of its group that it belongs to. */
static void
offset_link(struct groups *groups, struct group_offset *offset)
{
    struct group *group = group__at(groups, offset->group);
    bool is_pending = offset->txn != SLAB_NONE;
    uint32_t *first = is_pending ? &group->pending_first : &group->offset_first;
    uint32_t idx = offset_idx(groups, offset);

    offset->before = SLAB_NONE;
    offset->after = *first;
    if (*first != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, *first))->before = idx;
    *first = idx;
    group->offset_count += !is_pending;
    groups->pending_offsets += is_pending;
}

static void
offset_unlink(struct groups *groups, struct group_offset *offset)
{
    struct group *group = group__at(groups, offset->group);
    bool is_pending = offset->txn != SLAB_NONE;
    uint32_t *first = is_pending ? &group->pending_first : &group->offset_first;

    if (offset->before == SLAB_NONE)
        *first = offset->after;
    else
        ((struct group_offset *)slab_at(&groups->offsets, offset->before))->after = offset->after;
    if (offset->after != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, offset->after))->before = offset->before;
    group->offset_count -= !is_pending;
    groups->pending_offsets -= is_pending;
}

struct group_offset *
offset__add(struct groups *groups,
            struct group *group,
            const struct group_offset_new *new,
            uint32_t txn)
{
    uint32_t group_idx = group__idx(groups, group);
    uint32_t topic_idx = topic_use(groups, new->topic);
    uint32_t idx = topic_idx == SLAB_NONE ? SLAB_NONE : slab_take(&groups->offsets);

    if (idx == SLAB_NONE) {
        if (topic_idx != SLAB_NONE)
            topic_drop(groups, topic_idx);
        return NULL;
    }
    uint32_t *bucket = offset_bucket(groups, group_idx, topic_idx, new->partition);
    struct group_offset *offset = slab_at(&groups->offsets, idx);
    *offset = (struct group_offset){
        .group = group_idx,
        .topic = topic_idx,
        .partition = new->partition,
        .offset = GROUP_OFFSET_NONE,
        .txn = txn,
        .txn_before = SLAB_NONE,
        .txn_after = SLAB_NONE,
        .next = *bucket,
    };
    *bucket = idx;
    offset_link(groups, offset);
    return offset;
}

void
offset__remove(struct groups *groups, struct group_offset *offset)
{
    uint32_t idx = offset_idx(groups, offset);
    uint32_t *link = offset_bucket(groups, offset->group, offset->topic, offset->partition);

    while (*link != idx)
        link = &((struct group_offset *)slab_at(&groups->offsets, *link))->next;
    *link = offset->next;
    offset_unlink(groups, offset);
    if (offset->txn != SLAB_NONE)
        txn__unlink(groups, offset);
    group_heap_drop(&groups->heap, &offset->metadata);
    topic_drop(groups, offset->topic);
    slab_give(&groups->offsets, idx);
}

void
offset__settle(struct groups *groups, struct group_offset *offset)
{
    struct group_offset *committed = offset_find(
        groups, offset->group, offset->topic, offset->partition);

    if (committed != NULL && committed->serial > offset->serial) {
        offset__remove(groups, offset); /* somebody committed past the transaction */
        return;
    }
    if (committed != NULL)
        offset__remove(groups, committed);
    offset_unlink(groups, offset);
    txn__unlink(groups, offset);
    offset->txn = SLAB_NONE;
    offset_link(groups, offset);
}

bool
offset__set(struct groups *groups, struct group *group, const struct group_offset_new *new)
{
    struct bytes metadata;

    if (!group_heap_copy(&groups->heap, new->metadata, &metadata)) {
        groups->counters.limits_reached++;
        return false;
    }
    struct group_offset *offset = offset__find(groups, group, new->topic, new->partition);
    if (offset == NULL)
        offset = offset__add(groups, group, new, SLAB_NONE);
    if (offset == NULL) {
        group_heap_drop(&groups->heap, &metadata);
        groups->counters.limits_reached++;
        return false;
    }
    group_heap_drop(&groups->heap, &offset->metadata);
    offset->metadata = metadata;
    offset->offset = new->offset;
    offset->leader_epoch = new->leader_epoch;
    offset->commit_ms = new->commit_ms;
    offset->serial = ++groups->offset_serial;
    return true;
}

/* ---- answers that wait for records */

void
wait__add(struct groups *groups, const struct group_wait *new)
{
    uint32_t idx = slab_take(&groups->waits);

    CHECK(idx != SLAB_NONE); /* the caller looked before it appended */
    struct group_wait *wait = slab_at(&groups->waits, idx);
    *wait = *new;
    wait->next = SLAB_NONE;
    if (groups->wait_last == SLAB_NONE)
        groups->wait_first = idx;
    else
        ((struct group_wait *)slab_at(&groups->waits, groups->wait_last))->next = idx;
    groups->wait_last = idx;
    if (wait->group != SLAB_NONE)
        group__at(groups, wait->group)->wait_count++;
}

static void
wait_finish(struct groups *groups, struct group_wait *wait, enum rc rc, struct group_time time)
{
    struct group *group = wait->group != SLAB_NONE ? group__at(groups, wait->group) : NULL;

    if (group != NULL) {
        CHECK(group->wait_count > 0); /* so it was not removed */
        group->wait_count--;
    }
    switch ((enum group_wait_kind)wait->kind) {
    case GROUP_WAIT_SYNC: /* unless that generation was given up meanwhile */
        if (group->sync_number == wait->number)
            group__sync_durable(groups, group, rc, time.now_ns);
        break;
    case GROUP_WAIT_COMMIT:
        offset__commit_durable(groups, wait, rc);
        break;
    case GROUP_WAIT_DELETE:
        group__delete_durable(groups, wait, rc);
        break;
    case GROUP_WAIT_DELETE_OFFSETS:
        offset__delete_durable(groups, wait, rc);
        break;
    case GROUP_WAIT_TXN_COMMIT:
        pending__commit_durable(groups, wait, rc);
        break;
    case GROUP_WAIT_TXN_END:
        txn__end_durable(groups, wait, rc);
        break;
    case GROUP_WAIT_CONSUMER:
        consumer__heartbeat_durable(groups, wait, rc);
        break;
    }
    group_heap_give(&groups->heap, wait->errors, wait->error_count * sizeof(int16_t));
}

void
groups_durable(struct groups *groups, uint64_t number, enum rc rc, struct group_time time)
{
    groups->durable_number = max_u64(groups->durable_number, number);
    while (groups->wait_first != SLAB_NONE) {
        uint32_t idx = groups->wait_first;
        struct group_wait *wait = slab_at(&groups->waits, idx);
        if (wait->number > number)
            break;
        groups->wait_first = wait->next;
        if (groups->wait_first == SLAB_NONE)
            groups->wait_last = SLAB_NONE;
        wait_finish(groups, wait, rc, time);
        slab_give(&groups->waits, idx);
    }
}
