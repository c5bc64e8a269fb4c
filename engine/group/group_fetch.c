/* OffsetFetch and OffsetDelete. */
#include "engine/group/group_inner.h"

/* ---- OffsetFetch: up to version 7 one group and flat lists, from 8 on a list of groups. An
 * unknown group, topic or partition is no error: its offset is -1. */

struct fetch_partition {
    int64_t offset;
    int32_t leader_epoch;
    struct bytes metadata;
    int16_t error;
};

/* What the files below look at. */
struct fetch {
    const struct groups *groups;
    const struct group *group; /* NULL: unknown */
    struct kafka_arena *arena;
    bool is_stable; /* offsets of open transactions are waited for (KIP-447) */
};

static struct fetch_partition
fetch_one(const struct fetch *fetch, struct bytes topic, int32_t partition)
{
    struct fetch_partition found = {-1, -1, bytes__or_empty((struct bytes){0}), 0};

    if (fetch->group == NULL || partition < 0)
        return found;
    if (fetch->is_stable && fetch->group->pending_first != SLAB_NONE &&
        pending__find(fetch->groups, fetch->group, topic, (uint32_t)partition, SLAB_NONE) != NULL) {
        found.error = KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT;
        return found;
    }
    const struct group_offset *offset = offset__find(
        fetch->groups, fetch->group, topic, (uint32_t)partition);
    if (offset != NULL)
        found = (struct fetch_partition){
            offset->offset, offset->leader_epoch, bytes__or_empty(offset->metadata), 0};
    return found;
}

static struct kafka_offset_fetch_response_partitions
fetch_partition(const struct fetch *fetch, struct bytes topic, int32_t partition)
{
    struct fetch_partition found = fetch_one(fetch, topic, partition);

    return (struct kafka_offset_fetch_response_partitions){
        .index = partition,
        .committed_offset = found.offset,
        .committed_leader_epoch = found.leader_epoch,
        .metadata = found.metadata,
        .error = found.error,
    };
}

/* The group's offsets as (topic index, offset index), sorted: those of a topic stand together. */
static void
fetch_all_places(const struct groups *groups, const struct group *group, uint64_t *to)
{
    uint32_t count = 0;

    for (uint32_t idx = group->offset_first; idx != SLAB_NONE;) {
        const struct group_offset *offset = slab_at(&groups->offsets, idx);
        to[count++] = set__part(offset->topic, idx);
        idx = offset->after;
    }
    CHECK(set__sort(to, count) == group->offset_count);
}

/* Every offset of a group as topics and partitions. False: scratch memory is too small. */
static bool
fetch_all(const struct fetch *fetch, struct kafka_offset_fetch_response_group *ret)
{
    const struct groups *groups = fetch->groups;
    const struct group *group = fetch->group;
    struct kafka_arena *arena = fetch->arena;
    uint32_t count = group == NULL ? 0 : group->offset_count;

    ret->topics.at = kafka_arena_take(arena, 8); /* empty, not null */
    ret->topics.count = 0;
    if (count == 0)
        return true;
    uint64_t *places = kafka_arena_take(arena, count * sizeof(*places));
    struct kafka_offset_fetch_response_topics *topics = kafka_arena_take(arena,
                                                                         count * sizeof(*topics));
    struct kafka_offset_fetch_response_partitions *partitions = kafka_arena_take(
        arena, count * sizeof(*partitions));
    if (places == NULL || topics == NULL || partitions == NULL)
        return false;
    fetch_all_places(groups, group, places);
    uint32_t topic_count = 0;
    uint32_t last_topic = SLAB_NONE;
    for (uint32_t i = 0; i < count; i++) {
        const struct group_offset *offset = slab_at(&groups->offsets, (uint32_t)places[i]);
        if (offset->topic != last_topic) {
            last_topic = offset->topic;
            topics[topic_count].name = offset__topic(groups, offset)->name;
            topics[topic_count++].partitions.at = &partitions[i];
        }
        topics[topic_count - 1].partitions.count++;
        partitions[i] = fetch_partition(
            fetch, offset__topic(groups, offset)->name, (int32_t)offset->partition);
    }
    ret->topics.at = topics;
    ret->topics.count = topic_count;
    return true;
}

static bool
fetch_named(const struct fetch *fetch,
            const struct kafka_offset_fetch_request_group *request,
            struct kafka_offset_fetch_response_group *ret)
{
    struct kafka_arena *arena = fetch->arena;
    uint32_t topic_count = request->topics.count;
    struct kafka_offset_fetch_response_topics *topics = kafka_arena_take(
        arena, topic_count * sizeof(*topics) + 8);

    for (uint32_t t = 0; topics != NULL && t < topic_count; t++) {
        const struct kafka_i32_list *wanted = &request->topics.at[t].partition_indexes;
        struct kafka_offset_fetch_response_partitions *partitions = kafka_arena_take(
            arena, wanted->count * sizeof(*partitions) + 8);
        if (partitions == NULL)
            return false;
        for (uint32_t p = 0; p < wanted->count; p++)
            partitions[p] = fetch_partition(fetch, request->topics.at[t].name, wanted->at[p]);
        topics[t].name = request->topics.at[t].name;
        topics[t].topic_id = request->topics.at[t].topic_id;
        topics[t].partitions.at = partitions;
        topics[t].partitions.count = wanted->count;
    }
    ret->topics.at = topics;
    ret->topics.count = topic_count;
    return topics != NULL;
}

/* From version 9 on a member of the consumer protocol names its epoch; tools name none. */
static int16_t
fetch_check_member(const struct fetch *fetch,
                   const struct kafka_offset_fetch_request_group *request)
{
    if (fetch->group == NULL || fetch->group->kind != GROUP_CONSUMER ||
        (request->member_id.count == 0 && request->member_epoch < 0))
        return KAFKA_ERROR_NONE;
    const struct member *member = member__find(fetch->groups, fetch->group, request->member_id);
    if (member == NULL)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    return member->consumer.epoch == request->member_epoch ? KAFKA_ERROR_NONE
                                                           : KAFKA_ERROR_STALE_MEMBER_EPOCH;
}

static bool
fetch_group(struct fetch *fetch,
            const struct kafka_offset_fetch_request_group *request,
            struct kafka_offset_fetch_response_group *ret)
{
    fetch->group = group__find(fetch->groups, request->group_id);
    ret->group_id = request->group_id;
    ret->error = fetch_check_member(fetch, request);
    if (ret->error != KAFKA_ERROR_NONE) {
        ret->topics.at = kafka_arena_take(fetch->arena, 8); /* empty, not null */
        return true;
    }
    return request->topics.at == NULL ? fetch_all(fetch, ret) : fetch_named(fetch, request, ret);
}

/* The old flat form is the new one with one group; structs are copied because their types differ.
 */
static bool
fetch_flatten(const struct kafka_offset_fetch_response_group *group,
              struct kafka_arena *arena,
              struct kafka_offset_fetch_response *response)
{
    struct kafka_offset_fetch_response_topic *topics = kafka_arena_take(
        arena, group->topics.count * sizeof(*topics) + 8);

    for (uint32_t t = 0; topics != NULL && t < group->topics.count; t++) {
        const struct kafka_offset_fetch_response_topics *from = &group->topics.at[t];
        struct kafka_offset_fetch_response_partition *partitions = kafka_arena_take(
            arena, from->partitions.count * sizeof(*partitions) + 8);
        if (partitions == NULL)
            return false;
        for (uint32_t p = 0; p < from->partitions.count; p++)
            partitions[p] = (struct kafka_offset_fetch_response_partition){
                .index = from->partitions.at[p].index,
                .committed_offset = from->partitions.at[p].committed_offset,
                .committed_leader_epoch = from->partitions.at[p].committed_leader_epoch,
                .metadata = from->partitions.at[p].metadata,
                .error = from->partitions.at[p].error,
            };
        topics[t].name = from->name;
        topics[t].partitions.at = partitions;
        topics[t].partitions.count = from->partitions.count;
    }
    response->topics.at = topics;
    response->topics.count = group->topics.count;
    return topics != NULL;
}

/* The request of an old version as one of the new. False: no memory. */
static bool
fetch_lift(const struct kafka_offset_fetch_request *request,
           struct kafka_arena *arena,
           struct kafka_offset_fetch_request_group *ret)
{
    *ret = (struct kafka_offset_fetch_request_group){.group_id = request->group_id,
                                                     .member_epoch = -1};
    if (request->topics.at == NULL)
        return true;
    struct kafka_offset_fetch_request_topics *topics = kafka_arena_take(
        arena, request->topics.count * sizeof(*topics) + 8);
    for (uint32_t t = 0; topics != NULL && t < request->topics.count; t++) {
        topics[t].name = request->topics.at[t].name;
        topics[t].partition_indexes = request->topics.at[t].partition_indexes;
    }
    ret->topics.at = topics;
    ret->topics.count = request->topics.count;
    return topics != NULL;
}

void
groups_fetch_offsets(struct groups *groups,
                     const struct group_call *call,
                     const struct kafka_offset_fetch_request *request)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct fetch fetch = {.groups = groups, .arena = &arena, .is_stable = request->require_stable};
    struct kafka_offset_fetch_response response;
    bool fits;

    kafka_offset_fetch_response_defaults(&response);
    if (call->version < 8) {
        struct kafka_offset_fetch_request_group one;
        struct kafka_offset_fetch_response_group found = {0};
        fits = fetch_lift(request, &arena, &one) && fetch_group(&fetch, &one, &found) &&
               fetch_flatten(&found, &arena, &response);
        response.error = fits ? KAFKA_ERROR_NONE : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        groups__answer(groups, call->token, &response);
        return;
    }
    uint32_t count = request->groups.count;
    struct kafka_offset_fetch_response_group *list = kafka_arena_take(&arena,
                                                                      count * sizeof(*list) + 8);
    for (uint32_t i = 0; list != NULL && i < count; i++)
        if (!fetch_group(&fetch, &request->groups.at[i], &list[i])) {
            list[i] = (struct kafka_offset_fetch_response_group){
                .group_id = request->groups.at[i].group_id,
                .error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE};
        }
    response.groups.at = list;
    response.groups.count = list != NULL ? count : 0;
    groups__answer(groups, call->token, &response);
}

/* ---- OffsetDelete: answered when the tombstones are durable. What a member reads is kept. */

#define DELETE_COMPARED_MAX (1u << 20) /* names of subscriptions that a request is compared to */

static void
delete_answer(struct groups *groups,
              uint64_t token,
              const struct kafka_offset_delete_request *request,
              const int16_t *errors,
              int16_t error)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_offset_delete_response response;
    struct kafka_offset_delete_response_topic *topics = kafka_arena_take(
        &arena, request->topics.count * sizeof(*topics) + 8);
    uint32_t item = 0;

    kafka_offset_delete_response_defaults(&response);
    response.error = error;
    for (uint32_t t = 0; error == 0 && topics != NULL && t < request->topics.count; t++) {
        uint32_t count = request->topics.at[t].partitions.count;
        struct kafka_offset_delete_response_partition *partitions = kafka_arena_take(
            &arena, count * sizeof(*partitions) + 8);
        if (partitions == NULL)
            break;
        for (uint32_t p = 0; p < count; p++, item++) {
            partitions[p].index = request->topics.at[t].partitions.at[p].index;
            partitions[p].error = errors[item];
        }
        topics[t].name = request->topics.at[t].name;
        topics[t].partitions.at = partitions;
        topics[t].partitions.count = count;
        response.topics.count = t + 1;
    }
    response.topics.at = topics;
    groups__answer(groups, token, &response);
}

static void
delete_append(struct groups *groups,
              struct group *group,
              const struct kafka_offset_delete_request *request,
              struct group_wait *wait)
{
    uint32_t budget = DELETE_COMPARED_MAX;
    uint32_t item = 0;

    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_offset_delete_request_topic *topic = &request->topics.at[t];
        bool is_read = group__subscribes(groups, group, topic->name, &budget);
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            uint32_t partition = (uint32_t)topic->partitions.at[p].index;
            wait->errors[item] = is_read ? KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC : KAFKA_ERROR_NONE;
            struct group_offset *offset = offset__find(groups, group, topic->name, partition);
            if (is_read || offset == NULL)
                continue;
            if (record__append_offset_gone(groups, group, topic->name, partition, &wait->number))
                offset->record_number = wait->number;
            else
                wait->errors[item] = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
        }
    }
}

void
groups_delete_offsets(struct groups *groups,
                      const struct group_call *call,
                      const struct kafka_offset_delete_request *request)
{
    struct group *group = group__find(groups, request->group_id);
    struct group_wait wait = {
        .token = call->token, .request = request, .kind = GROUP_WAIT_DELETE_OFFSETS};
    int16_t error = KAFKA_ERROR_NONE;

    for (uint32_t t = 0; t < request->topics.count; t++)
        wait.error_count += request->topics.at[t].partitions.count;
    if (group == NULL || group->state == GROUP_DEAD)
        error = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    else if (group->state != GROUP_EMPTY && group->kind != GROUP_CONSUMER &&
             !bytes__equal(group->protocol_type, (struct bytes){(const uint8_t *)"consumer", 8}))
        error = KAFKA_ERROR_NON_EMPTY_GROUP;
    else if (groups->waits.used == groups->waits.count)
        error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (error == KAFKA_ERROR_NONE && wait.error_count > 0) {
        wait.errors = group_heap_take(&groups->heap, wait.error_count * sizeof(int16_t));
        if (wait.errors == NULL)
            error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (error != KAFKA_ERROR_NONE) {
        delete_answer(groups, call->token, request, NULL, error);
        return;
    }
    wait.group = group__idx(groups, group);
    delete_append(groups, group, request, &wait);
    if (wait.number == 0) {
        delete_answer(groups, call->token, request, wait.errors, error);
        group_heap_give(&groups->heap, wait.errors, wait.error_count * sizeof(int16_t));
        return;
    }
    wait__add(groups, &wait);
}

void
offset__delete_durable(struct groups *groups, struct group_wait *wait, enum rc rc)
{
    const struct kafka_offset_delete_request *request = wait->request;
    const struct group *group = group__at(groups, wait->group);
    uint32_t item = 0;

    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_offset_delete_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            struct group_offset *offset = offset__find(
                groups, group, topic->name, (uint32_t)topic->partitions.at[p].index);
            if (wait->errors[item] == KAFKA_ERROR_NONE && rc != RC_OK)
                wait->errors[item] = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
            else if (wait->errors[item] == KAFKA_ERROR_NONE && offset != NULL)
                offset__remove(groups, offset);
        }
    }
    delete_answer(groups, wait->token, request, wait->errors, KAFKA_ERROR_NONE);
}
