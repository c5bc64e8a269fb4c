/* Committed offsets: the table, and OffsetCommit. A commit becomes visible when its records are
 * durable, and is answered then. */
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
        if (offset->group == group && offset->topic == topic && offset->partition == partition)
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

static struct group_offset *
offset_add(struct groups *groups, struct group *group, struct bytes topic, uint32_t partition)
{
    uint32_t group_idx = group__idx(groups, group);
    uint32_t topic_idx = topic_use(groups, topic);
    uint32_t idx = topic_idx == SLAB_NONE ? SLAB_NONE : slab_take(&groups->offsets);

    if (idx == SLAB_NONE) {
        if (topic_idx != SLAB_NONE)
            topic_drop(groups, topic_idx);
        return NULL;
    }
    uint32_t *bucket = offset_bucket(groups, group_idx, topic_idx, partition);
    struct group_offset *offset = slab_at(&groups->offsets, idx);
    *offset = (struct group_offset){
        .group = group_idx,
        .topic = topic_idx,
        .partition = partition,
        .before = SLAB_NONE,
        .after = group->offset_first,
        .next = *bucket,
    };
    *bucket = idx;
    if (group->offset_first != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, group->offset_first))->before = idx;
    group->offset_first = idx;
    group->offset_count++;
    return offset;
}

void
offset__remove(struct groups *groups, struct group_offset *offset)
{
    uint32_t idx = (uint32_t)((size_t)((uint8_t *)offset - groups->offsets.objects) /
                              groups->offsets.object_bytes);
    struct group *group = group__at(groups, offset->group);
    uint32_t *link = offset_bucket(groups, offset->group, offset->topic, offset->partition);

    while (*link != idx)
        link = &((struct group_offset *)slab_at(&groups->offsets, *link))->next;
    *link = offset->next;
    if (offset->before == SLAB_NONE)
        group->offset_first = offset->after;
    else
        ((struct group_offset *)slab_at(&groups->offsets, offset->before))->after = offset->after;
    if (offset->after != SLAB_NONE)
        ((struct group_offset *)slab_at(&groups->offsets, offset->after))->before = offset->before;
    group->offset_count--;
    group_heap_drop(&groups->heap, &offset->metadata);
    topic_drop(groups, offset->topic);
    slab_give(&groups->offsets, idx);
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
        offset = offset_add(groups, group, new->topic, new->partition);
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
    }
    group_heap_give(&groups->heap, wait->errors, wait->error_count * sizeof(int16_t));
}

void
groups_durable(struct groups *groups, uint64_t number, enum rc rc, struct group_time time)
{
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

/* ---- OffsetCommit */

static uint32_t
commit_count(const struct kafka_offset_commit_request *request)
{
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    return count;
}

static void
commit_answer(struct groups *groups,
              uint64_t token,
              const struct kafka_offset_commit_request *request,
              const int16_t *errors,
              int16_t error)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_offset_commit_response response;
    struct kafka_offset_commit_response_topic *topics = kafka_arena_take(
        &arena, request->topics.count * sizeof(*topics));
    struct kafka_offset_commit_response_partition *partitions = kafka_arena_take(
        &arena, commit_count(request) * sizeof(*partitions));

    kafka_offset_commit_response_defaults(&response);
    CHECK(topics != NULL && partitions != NULL); /* smaller than the request's own structs */
    uint32_t item = 0;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        topics[t].name = request->topics.at[t].name;
        topics[t].topic_id = request->topics.at[t].topic_id;
        topics[t].partitions.at = &partitions[item];
        topics[t].partitions.count = request->topics.at[t].partitions.count;
        for (uint32_t p = 0; p < topics[t].partitions.count; p++, item++) {
            partitions[item].index = request->topics.at[t].partitions.at[p].index;
            partitions[item].error = error;
            if (errors != NULL)
                partitions[item].error = errors[item];
        }
    }
    response.topics.at = topics;
    response.topics.count = request->topics.count;
    groups__answer(groups, token, &response);
}

/* Whether this caller may commit in this group now; 0 or a Kafka error. A commit without a member
 * is for groups that nobody manages (simple consumers, tools): only while they are empty. */
static int16_t
commit_check(struct groups *groups,
             struct group **group,
             const struct group_call *call,
             const struct kafka_offset_commit_request *request,
             struct group_time time)
{
    int32_t generation = request->generation_id_or_member_epoch;
    struct member *member;

    if (request->group_id.count == 0 || request->group_id.count > GROUP_ID_BYTES_MAX)
        return KAFKA_ERROR_INVALID_GROUP_ID;
    if (*group == NULL && generation >= 0)
        return call->version >= 9 ? KAFKA_ERROR_GROUP_ID_NOT_FOUND : KAFKA_ERROR_ILLEGAL_GENERATION;
    if (*group == NULL) {
        *group = group__add(groups, request->group_id);
        if (*group == NULL)
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        (*group)->state_ms = time.wall_ms;
        group__wake(groups, *group, time.now_ns + GROUP_EXPIRY_NS);
        return KAFKA_ERROR_NONE;
    }
    if ((*group)->state == GROUP_DEAD)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (generation < 0 && (*group)->state == GROUP_EMPTY)
        return KAFKA_ERROR_NONE;
    int16_t error = group__check_member(
        groups, *group, request->member_id, request->group_instance_id, &member);
    if (error != KAFKA_ERROR_NONE)
        return error;
    if ((member->flags & MEMBER_PENDING) != 0)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (generation != (*group)->generation)
        return KAFKA_ERROR_ILLEGAL_GENERATION;
    if ((*group)->state == GROUP_COMPLETING)
        return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    member__heard(groups, member, time.now_ns);
    return KAFKA_ERROR_NONE;
}

static struct group_offset_new
commit_new(const struct kafka_offset_commit_request_topic *topic,
           const struct kafka_offset_commit_request_partition *partition,
           int64_t wall_ms)
{
    return (struct group_offset_new){
        .topic = topic->name,
        .partition = (uint32_t)partition->index,
        .leader_epoch = partition->committed_leader_epoch,
        .offset = partition->committed_offset,
        .commit_ms = wall_ms,
        .metadata = partition->committed_metadata,
    };
}

/* 0 when the record of one partition's offset was appended. */
static int16_t
commit_append_one(struct groups *groups,
                  struct group *group,
                  const struct group_offset_new *new,
                  struct group_wait *wait)
{
    bool is_known = offset__find(groups, group, new->topic, new->partition) != NULL;

    if (new->metadata.count > groups->config.limits.metadata_bytes_max)
        return KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE;
    if (!is_known &&
        groups->offsets.used + groups->offsets_promised + wait->promised >= groups->offsets.count) {
        groups->counters.limits_reached++;
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (!record__append_offset(groups, group, new, &wait->number))
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    wait->promised += !is_known;
    return KAFKA_ERROR_NONE;
}

/* Appends the records of all partitions that can be committed; notes an error for each other.
 * wait->number stays 0 when there is none. */
static void
commit_append(struct groups *groups,
              struct group *group,
              const struct kafka_offset_commit_request *request,
              struct group_wait *wait)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    uint32_t item = 0;

    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_offset_commit_request_topic *topic = &request->topics.at[t];
        uint32_t partition_count = hooks->partition_count(hooks->ctx, topic->name);
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            struct group_offset_new new = commit_new(
                topic, &topic->partitions.at[p], wait->wall_ms);
            wait->errors[item] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            if (new.partition < partition_count)
                wait->errors[item] = commit_append_one(groups, group, &new, wait);
        }
    }
}

void
groups_commit(struct groups *groups,
              const struct group_call *call,
              const struct kafka_offset_commit_request *request,
              struct group_time time)
{
    struct group *group = group__find(groups, request->group_id);
    int16_t error = commit_check(groups, &group, call, request, time);
    uint32_t count = commit_count(request);
    struct group_wait wait = {
        .token = call->token,
        .request = request,
        .kind = GROUP_WAIT_COMMIT,
        .version = call->version,
        .error_count = count,
        .wall_ms = time.wall_ms,
    };

    if (error == KAFKA_ERROR_NONE && count > 0 && groups->waits.used == groups->waits.count)
        error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (error == KAFKA_ERROR_NONE && count > 0) {
        wait.errors = group_heap_take(&groups->heap, count * sizeof(int16_t));
        if (wait.errors == NULL)
            error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (error != KAFKA_ERROR_NONE || count == 0) {
        groups->counters.commits_refused += count;
        commit_answer(groups, call->token, request, NULL, error);
        return;
    }
    wait.group = group__idx(groups, group);
    commit_append(groups, group, request, &wait);
    if (wait.number == 0) {
        commit_answer(groups, call->token, request, wait.errors, error);
        groups->counters.commits_refused += count;
        group_heap_give(&groups->heap, wait.errors, count * sizeof(int16_t));
        return;
    }
    groups->offsets_promised += wait.promised;
    wait__add(groups, &wait);
}

void
offset__commit_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct kafka_offset_commit_request *request = wait->request;
    struct group *group = group__at(groups, wait->group);
    uint32_t item = 0;

    CHECK(groups->offsets_promised >= wait->promised);
    groups->offsets_promised -= wait->promised;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_offset_commit_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            struct group_offset_new new = commit_new(
                topic, &topic->partitions.at[p], wait->wall_ms);
            if (wait->errors[item] != KAFKA_ERROR_NONE)
                groups->counters.commits_refused++;
            else if (rc != RC_OK)
                wait->errors[item] = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
            else if (!offset__set(groups, group, &new))
                wait->errors[item] = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
            else
                groups->counters.commits++;
        }
    }
    commit_answer(groups, wait->token, request, wait->errors, KAFKA_ERROR_NONE);
}
