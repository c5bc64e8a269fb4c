/* Groups and members: hash tables over slabs, and each group's members in the order in which they
 * joined. */
#include "engine/group/group_inner.h"

#define GROUP_BUCKETS_PER_ENTRY 1u /* chains of one on average */

struct groups_part {
    uint64_t at; /* offset in the memory */
    uint64_t bytes;
};
enum {
    PART_SELF,
    PART_GROUPS,
    PART_MEMBERS,
    PART_TOPICS,
    PART_OFFSETS,
    PART_WAITS,
    PART_TXNS,
    PART_CTOPICS,
    PART_ASSIGN,
    PART_BUCKETS,
    PART_PAGES,
    PART_RECORD,
    PART_POOL,
    PARTS
};

static uint32_t
table_buckets(uint32_t entries)
{
    uint32_t count = 16;

    while (count < entries * GROUP_BUCKETS_PER_ENTRY)
        count *= 2;
    return count;
}

static uint32_t
table_waits(const struct groups_limits *limits)
{
    return min_u32(limits->members_max + limits->groups_max, 65536);
}

static uint64_t
table_layout(const struct groups_limits *limits, struct groups_part parts[PARTS])
{
    uint64_t buckets = table_buckets(limits->groups_max) + table_buckets(limits->members_max) +
                       2 * (uint64_t)table_buckets(limits->offsets_max) +
                       table_buckets(limits->transactions_max) +
                       table_buckets(limits->consumer_topics_max);
    const uint64_t bytes[PARTS] = {
        [PART_SELF] = sizeof(struct groups),
        [PART_GROUPS] = slab_footprint(sizeof(struct group), limits->groups_max),
        [PART_MEMBERS] = slab_footprint(sizeof(struct member), limits->members_max),
        [PART_TOPICS] = slab_footprint(sizeof(struct group_topic), limits->offsets_max),
        [PART_OFFSETS] = slab_footprint(sizeof(struct group_offset), limits->offsets_max),
        [PART_WAITS] = slab_footprint(sizeof(struct group_wait), table_waits(limits)),
        [PART_TXNS] = slab_footprint(sizeof(struct group_txn), limits->transactions_max),
        [PART_CTOPICS] = slab_footprint(sizeof(struct consumer_topic), limits->consumer_topics_max),
        [PART_ASSIGN] = (uint64_t)limits->consumer_partitions_max * (3 * 8 + 4) +
                        (uint64_t)limits->size_max * 3 * 4 +
                        (uint64_t)limits->consumer_topics_max * 4,
        [PART_BUCKETS] = buckets * sizeof(uint32_t),
        [PART_PAGES] = buddy_footprint(limits->memory_bytes),
        [PART_RECORD] = GROUP_RECORD_BYTES_MAX,
        [PART_POOL] = limits->memory_bytes,
    };
    uint64_t at = 0;

    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = (struct groups_part){.at = at, .bytes = bytes[i]};
        at = round_up(at + bytes[i], 4096);
    }
    return at;
}

uint64_t
groups_footprint(const struct groups_limits *limits)
{
    struct groups_part parts[PARTS];

    return table_layout(limits, parts);
}

static uint32_t *
table_take_buckets(uint32_t **at, uint32_t entries, uint32_t *ret_mask)
{
    uint32_t *buckets = *at;
    uint32_t count = table_buckets(entries);

    for (uint32_t i = 0; i < count; i++)
        buckets[i] = SLAB_NONE;
    *at += count;
    *ret_mask = count - 1;
    return buckets;
}

void
groups_retune(struct groups *groups, const struct groups_limits *limits)
{
    struct groups_limits *ours = &groups->config.limits;

    CHECK(limits->session_min_ns <= limits->session_max_ns);
    CHECK(limits->size_max > 0);
    ours->size_max = limits->size_max;
    ours->metadata_bytes_max = limits->metadata_bytes_max;
    ours->session_min_ns = limits->session_min_ns;
    ours->session_max_ns = limits->session_max_ns;
    ours->initial_delay_ns = limits->initial_delay_ns;
    ours->retention_ms = limits->retention_ms;
}

enum rc
groups_init(void *memory,
            const struct groups_config *config,
            struct groups **ret_groups,
            struct diag_trail *trail)
{
    const struct groups_limits *limits = &config->limits;
    struct groups_part parts[PARTS];
    uint8_t *base = memory;

    if (limits->groups_max == 0 || limits->members_max == 0 || limits->offsets_max == 0 ||
        limits->transactions_max == 0 || limits->consumer_topics_max == 0 ||
        limits->consumer_partitions_max == 0 || limits->size_max == 0 ||
        limits->memory_bytes < MIB || limits->memory_bytes % BUDDY_BLOCK_MIN != 0 ||
        limits->session_min_ns > limits->session_max_ns) {
        diag_trail_add(trail, "a limit of groups is zero or out of order");
        return RC_INVALID;
    }
    table_layout(limits, parts);
    struct groups *groups = memory;
    groups->config = *config;
    slab_init(
        &groups->groups, base + parts[PART_GROUPS].at, sizeof(struct group), limits->groups_max);
    slab_init(&groups->members,
              base + parts[PART_MEMBERS].at,
              sizeof(struct member),
              limits->members_max);
    slab_init(&groups->topics,
              base + parts[PART_TOPICS].at,
              sizeof(struct group_topic),
              limits->offsets_max);
    slab_init(&groups->offsets,
              base + parts[PART_OFFSETS].at,
              sizeof(struct group_offset),
              limits->offsets_max);
    slab_init(&groups->waits,
              base + parts[PART_WAITS].at,
              sizeof(struct group_wait),
              table_waits(limits));
    slab_init(&groups->txns,
              base + parts[PART_TXNS].at,
              sizeof(struct group_txn),
              limits->transactions_max);
    slab_init(&groups->ctopics,
              base + parts[PART_CTOPICS].at,
              sizeof(struct consumer_topic),
              limits->consumer_topics_max);
    groups->assign_parts = (uint64_t *)(void *)(base + parts[PART_ASSIGN].at);
    groups->assign_sorted = groups->assign_parts + limits->consumer_partitions_max;
    groups->assign_owned = groups->assign_sorted + limits->consumer_partitions_max;
    groups->assign_owners = (uint32_t *)(groups->assign_owned + limits->consumer_partitions_max);
    groups->assign_members = groups->assign_owners + limits->consumer_partitions_max;
    groups->topic_list = groups->assign_members + 3 * (size_t)limits->size_max;
    uint32_t *buckets = (uint32_t *)(void *)(base + parts[PART_BUCKETS].at);
    groups->group_buckets = table_take_buckets(&buckets, limits->groups_max, &groups->group_mask);
    groups->member_buckets = table_take_buckets(
        &buckets, limits->members_max, &groups->member_mask);
    groups->topic_buckets = table_take_buckets(&buckets, limits->offsets_max, &groups->topic_mask);
    groups->offset_buckets = table_take_buckets(
        &buckets, limits->offsets_max, &groups->offset_mask);
    groups->txn_buckets = table_take_buckets(&buckets, limits->transactions_max, &groups->txn_mask);
    groups->ctopic_buckets = table_take_buckets(
        &buckets, limits->consumer_topics_max, &groups->ctopic_mask);
    buddy_init(&groups->pool,
               base + parts[PART_PAGES].at,
               base + parts[PART_POOL].at,
               limits->memory_bytes);
    group_heap_init(&groups->heap, &groups->pool);
    groups->record = base + parts[PART_RECORD].at;
    groups->wait_first = SLAB_NONE;
    groups->wait_last = SLAB_NONE;
    groups->deadline_ns = NO_DEADLINE;
    *ret_groups = groups;
    return RC_OK;
}

/* ---- groups */

static uint32_t *
group_bucket(const struct groups *groups, struct bytes id)
{
    uint64_t hash = hash_xxh3(id.at, id.count, groups->config.hash_seed);

    return &groups->group_buckets[hash & groups->group_mask];
}

struct group *
group__find(const struct groups *groups, struct bytes id)
{
    for (uint32_t idx = *group_bucket(groups, id); idx != SLAB_NONE;) {
        struct group *group = group__at(groups, idx);
        if (bytes__equal(group->id, id))
            return group;
        idx = group->next;
    }
    return NULL;
}

struct group *
group__add(struct groups *groups, struct bytes id)
{
    struct bytes own_id;
    uint32_t idx = slab_take(&groups->groups);

    if (idx == SLAB_NONE || !group_heap_copy(&groups->heap, id, &own_id)) {
        if (idx != SLAB_NONE)
            slab_give(&groups->groups, idx);
        groups->counters.limits_reached++;
        return NULL;
    }
    uint32_t *bucket = group_bucket(groups, id);
    struct group *group = group__at(groups, idx);
    *group = (struct group){
        .id = own_id,
        .state = GROUP_EMPTY,
        .leader = SLAB_NONE,
        .member_first = SLAB_NONE,
        .member_last = SLAB_NONE,
        .offset_first = SLAB_NONE,
        .pending_first = SLAB_NONE,
        .deadline_ns = NO_DEADLINE,
        .step_deadline_ns = NO_DEADLINE,
        .next = *bucket,
    };
    *bucket = idx;
    groups->state_counts[GROUP_EMPTY]++;
    return group;
}

void
group__remove(struct groups *groups, struct group *group)
{
    uint32_t idx = group__idx(groups, group);
    uint32_t *link = group_bucket(groups, group->id);

    while (group->member_first != SLAB_NONE)
        member__remove(groups, member__at(groups, group->member_first));
    while (group->offset_first != SLAB_NONE)
        offset__remove(groups, slab_at(&groups->offsets, group->offset_first));
    while (group->pending_first != SLAB_NONE)
        offset__remove(groups, slab_at(&groups->offsets, group->pending_first));
    while (*link != idx)
        link = &group__at(groups, *link)->next;
    *link = group->next;
    groups->state_counts[group->state]--;
    group_heap_drop(&groups->heap, &group->id);
    group_heap_drop(&groups->heap, &group->protocol_type);
    group_heap_drop(&groups->heap, &group->protocol);
    slab_give(&groups->groups, idx);
}

static const uint8_t group_moves[GROUP_STATES] = {
    [GROUP_EMPTY] = BIT(GROUP_PREPARING) | BIT(GROUP_STABLE) | BIT(GROUP_DEAD) |
                    BIT(GROUP_RECONCILING),
    [GROUP_PREPARING] = BIT(GROUP_EMPTY) | BIT(GROUP_COMPLETING),
    [GROUP_COMPLETING] = BIT(GROUP_PREPARING) | BIT(GROUP_STABLE) | BIT(GROUP_EMPTY),
    [GROUP_STABLE] = BIT(GROUP_PREPARING) | BIT(GROUP_EMPTY) | BIT(GROUP_RECONCILING),
    [GROUP_RECONCILING] = BIT(GROUP_STABLE) | BIT(GROUP_EMPTY),
    [GROUP_DEAD] = BIT(GROUP_EMPTY), /* what was to delete it could not be stored */
};

void
group__move(struct groups *groups, struct group *group, enum group_state next)
{
    CHECK((group_moves[group->state] & BIT(next)) != 0);
    groups->state_counts[group->state]--;
    groups->state_counts[next]++;
    group->state = (uint8_t)next;
}

void
group__wake(struct groups *groups, struct group *group, uint64_t at_ns)
{
    group->deadline_ns = min_u64(group->deadline_ns, at_ns);
    groups->deadline_ns = min_u64(groups->deadline_ns, at_ns);
}

/* ---- members */

static uint32_t *
member_bucket(const struct groups *groups, uint32_t group, struct bytes id)
{
    uint64_t hash = hash_xxh3(id.at, id.count, groups->config.hash_seed + group);

    return &groups->member_buckets[hash & groups->member_mask];
}

struct member *
member__find(const struct groups *groups, const struct group *group, struct bytes id)
{
    uint32_t group_idx = group__idx(groups, group);

    for (uint32_t idx = *member_bucket(groups, group_idx, id); idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        if (member->group == group_idx && bytes__equal(member->id, id))
            return member;
        idx = member->next;
    }
    return NULL;
}

struct member *
member__find_instance(const struct groups *groups, const struct group *group, struct bytes instance)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        if ((member->flags & MEMBER_STATIC) != 0 && bytes__equal(member->instance, instance))
            return member;
        idx = member->after;
    }
    return NULL;
}

static void
member_drop_texts(struct groups *groups, struct member *member)
{
    group_heap_drop(&groups->heap, &member->id);
    group_heap_drop(&groups->heap, &member->instance);
    group_heap_drop(&groups->heap, &member->client_id);
    group_heap_drop(&groups->heap, &member->client_host);
    group_heap_drop(&groups->heap, &member->protocols);
    group_heap_drop(&groups->heap, &member->assignment);
    consumer__drop_parts(groups, &member->consumer);
}

static void
member_link(struct groups *groups, struct group *group, struct member *member)
{
    uint32_t idx = member__idx(groups, member);
    uint32_t *bucket = member_bucket(groups, member->group, member->id);

    member->next = *bucket;
    *bucket = idx;
    member->before = group->member_last;
    member->after = SLAB_NONE;
    if (group->member_last == SLAB_NONE)
        group->member_first = idx;
    else
        member__at(groups, group->member_last)->after = idx;
    group->member_last = idx;
}

struct member *
member__add(struct groups *groups, struct group *group, const struct member_new *new)
{
    uint32_t idx = slab_take(&groups->members);

    if (idx == SLAB_NONE) {
        groups->counters.limits_reached++;
        return NULL;
    }
    struct member *member = member__at(groups, idx);
    *member = (struct member){
        .group = group__idx(groups, group),
        .flags = (uint8_t)((new->pending ? MEMBER_PENDING : MEMBER_NEWCOMER) |
                           (new->instance.count > 0 ? MEMBER_STATIC : 0)),
        .session_ns = new->session_ns,
        .rebalance_ns = new->rebalance_ns,
        .deadline_ns = NO_DEADLINE,
        .serial = ++groups->member_serial,
    };
    if (!group_heap_copy(&groups->heap, new->id, &member->id) ||
        !group_heap_copy(&groups->heap, new->instance, &member->instance) ||
        !group_heap_copy(&groups->heap, new->client_id, &member->client_id) ||
        !group_heap_copy(&groups->heap, new->client_host, &member->client_host)) {
        member_drop_texts(groups, member);
        slab_give(&groups->members, idx);
        groups->counters.limits_reached++;
        return NULL;
    }
    member_link(groups, group, member);
    group->member_count += !new->pending;
    group->pending_count += new->pending;
    return member;
}

static void
member_unhash(struct groups *groups, struct member *member)
{
    uint32_t idx = member__idx(groups, member);
    uint32_t *link = member_bucket(groups, member->group, member->id);

    while (*link != idx)
        link = &member__at(groups, *link)->next;
    *link = member->next;
}

bool
member__rename(struct groups *groups, struct member *member, struct bytes id)
{
    struct bytes copy;

    if (!group_heap_copy(&groups->heap, id, &copy))
        return false;
    member_unhash(groups, member);
    group_heap_drop(&groups->heap, &member->id);
    member->id = copy;
    uint32_t *bucket = member_bucket(groups, member->group, member->id);
    member->next = *bucket;
    *bucket = member__idx(groups, member);
    return true;
}

void
member__remove(struct groups *groups, struct member *member)
{
    struct group *group = group__at(groups, member->group);
    uint32_t idx = member__idx(groups, member);

    member__unpark_join(groups, member, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    member__unpark_sync(groups, member, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    member_unhash(groups, member);
    if (member->before == SLAB_NONE)
        group->member_first = member->after;
    else
        member__at(groups, member->before)->after = member->after;
    if (member->after == SLAB_NONE)
        group->member_last = member->before;
    else
        member__at(groups, member->after)->before = member->before;
    if ((member->flags & MEMBER_PENDING) != 0)
        group->pending_count--;
    else
        group->member_count--;
    if (group->leader == idx)
        group->leader = SLAB_NONE;
    member_drop_texts(groups, member);
    slab_give(&groups->members, idx);
}

void
member__heard(struct groups *groups, struct member *member, uint64_t now_ns)
{
    member->deadline_ns = now_ns + member->session_ns;
    group__wake(groups, group__at(groups, member->group), member->deadline_ns);
}

void
member__unpark_join(struct groups *groups, struct member *member, int16_t error)
{
    struct kafka_join_group_response response;

    if (member->join_token == 0)
        return;
    kafka_join_group_response_defaults(&response);
    response.error = error;
    response.protocol_name = bytes__or_empty((struct bytes){0});
    response.leader = bytes__or_empty((struct bytes){0});
    response.member_id = bytes__or_empty(member->id);
    uint64_t token = member->join_token;
    member->join_token = 0;
    group__at(groups, member->group)->joined_count--;
    groups__answer(groups, token, &response);
}

void
member__unpark_sync(struct groups *groups, struct member *member, int16_t error)
{
    const struct group *group = group__at(groups, member->group);
    struct kafka_sync_group_response response;

    if (member->sync_token == 0)
        return;
    kafka_sync_group_response_defaults(&response);
    response.error = error;
    response.assignment = bytes__or_empty(error == 0 ? member->assignment : (struct bytes){0});
    if (error == 0) {
        response.protocol_type = group->protocol_type;
        response.protocol_name = group->protocol;
    }
    uint64_t token = member->sync_token;
    member->sync_token = 0;
    groups__answer(groups, token, &response);
}

/* ---- protocols of a member */

bool
member__next_protocol(const struct member *member,
                      size_t *at,
                      struct bytes *ret_name,
                      struct bytes *ret_metadata)
{
    struct reader reader = reader_over(member->protocols.at + *at, member->protocols.count - *at);

    if (reader_left(&reader) == 0)
        return false;
    uint16_t name_count = reader_u16_be(&reader);
    *ret_name = (struct bytes){reader_take(&reader, name_count), name_count};
    uint32_t metadata_count = reader_u32_be(&reader);
    *ret_metadata = (struct bytes){reader_take(&reader, metadata_count), metadata_count};
    CHECK(!reader.failed); /* written by us */
    *at = member->protocols.count - reader_left(&reader);
    return true;
}

struct bytes
member__protocol(const struct member *member, struct bytes wanted)
{
    struct bytes name;
    struct bytes metadata;
    size_t at = 0;

    while (member__next_protocol(member, &at, &name, &metadata))
        if (bytes__equal(name, wanted))
            return bytes__or_empty(metadata);
    return (struct bytes){0};
}
