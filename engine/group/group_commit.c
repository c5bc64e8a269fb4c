/* OffsetCommit. A commit becomes visible when its records are durable, and is answered then. */
#include "engine/group/group_inner.h"

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

/* A commit without a member is for groups that nobody manages (simple consumers, tools): only while
 * they are empty; one in a transaction, where older producers name no member, whenever (Kafka's
 * ClassicGroup.validateOffsetCommit). */
static int16_t
commit_check_member(struct groups *groups,
                    struct group *group,
                    const struct commit_who *who,
                    struct group_time time)
{
    struct member *member;
    bool is_consumer = group->kind == GROUP_CONSUMER;
    bool is_stranger = who->generation < 0 && who->member_id.count == 0 && who->instance.count == 0;

    if (group->state == GROUP_DEAD)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (who->generation < 0 && group->state == GROUP_EMPTY)
        return KAFKA_ERROR_NONE;
    if (is_stranger && who->is_transactional)
        return KAFKA_ERROR_NONE;
    int16_t error = group__check_member(groups, group, who->member_id, who->instance, &member);
    if (error != KAFKA_ERROR_NONE)
        return error;
    if ((member->flags & MEMBER_PENDING) != 0)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    /* Kafka's ConsumerGroup.validateOffsetCommit; TxnOffsetCommit has no code of its own for it. */
    if (is_consumer && who->version < 9 && !who->is_transactional)
        return KAFKA_ERROR_UNSUPPORTED_VERSION;
    if (is_consumer && who->generation != member->consumer.epoch)
        return who->is_transactional ? KAFKA_ERROR_ILLEGAL_GENERATION
                                     : KAFKA_ERROR_STALE_MEMBER_EPOCH;
    if (is_consumer)
        return KAFKA_ERROR_NONE;
    if (who->generation != group->generation)
        return KAFKA_ERROR_ILLEGAL_GENERATION;
    if (group->state == GROUP_COMPLETING && !who->is_transactional)
        return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    member__heard(groups, member, time.now_ns);
    return KAFKA_ERROR_NONE;
}

int16_t
commit__check(struct groups *groups,
              struct group **ret_group,
              const struct commit_who *who,
              struct group_time time)
{
    struct group *group = group__find(groups, who->group_id);
    int16_t error = KAFKA_ERROR_NONE;

    if (who->group_id.count == 0 || who->group_id.count > GROUP_ID_BYTES_MAX)
        return KAFKA_ERROR_INVALID_GROUP_ID;
    if (group == NULL && who->generation >= 0)
        return who->version >= 9 && !who->is_transactional ? KAFKA_ERROR_GROUP_ID_NOT_FOUND
                                                           : KAFKA_ERROR_ILLEGAL_GENERATION;
    if (group != NULL) {
        error = commit_check_member(groups, group, who, time);
    } else {
        group = group__add(groups, who->group_id);
        if (group == NULL)
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        group->state_ms = time.wall_ms;
        group__wake(groups, group, time.now_ns + GROUP_EXPIRY_NS);
    }
    if (error == KAFKA_ERROR_NONE)
        *ret_group = group;
    return error;
}

bool
commit__has_place(struct groups *groups, uint32_t promised)
{
    if (groups->offsets.used + groups->offsets_promised + promised < groups->offsets.count)
        return true;
    groups->counters.limits_reached++;
    return false;
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
    struct group_offset *known = offset__find(groups, group, new->topic, new->partition);

    if (new->metadata.count > groups->config.limits.metadata_bytes_max)
        return KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE;
    if (known == NULL && !commit__has_place(groups, wait->promised))
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (!record__append_offset(groups, group, new, &wait->number))
        return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    if (known != NULL)
        known->record_number = wait->number;
    wait->promised += known == NULL;
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
    const struct commit_who who = {
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance = request->group_instance_id,
        .generation = request->generation_id_or_member_epoch,
        .version = call->version,
    };
    struct group *group = NULL;
    int16_t error = commit__check(groups, &group, &who, time);
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
