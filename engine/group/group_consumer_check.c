/* What a member of a consumer group says in its heartbeat: whether it may, who it is, what is new.
 */
#include "engine/group/group_inner.h"

static int16_t
check_first(struct consumer_heartbeat *beat)
{
    const struct kafka_consumer_group_heartbeat_request *request = beat->request;

    if (request->rebalance_timeout_ms < 0)
        beat->why = "RebalanceTimeoutMs must be provided in the first request";
    else if (request->topic_partitions.at == NULL || request->topic_partitions.count > 0)
        beat->why = "TopicPartitions must be empty when (re-)joining";
    else if (request->subscribed_topic_names.at == NULL &&
             request->subscribed_topic_regex.at == NULL)
        beat->why = "SubscribedTopicNames or SubscribedTopicRegex must be set in the first request";
    return beat->why == NULL ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_REQUEST;
}

static bool
is_empty_text(struct bytes text)
{
    return text.at != NULL && text.count == 0;
}

int16_t
heartbeat__check(struct consumer_heartbeat *beat)
{
    const struct kafka_consumer_group_heartbeat_request *request = beat->request;
    int32_t epoch = request->member_epoch;
    bool needs_id = epoch != 0 || beat->call->version >= 1;

    if (request->group_id.count == 0 || request->group_id.count > GROUP_ID_BYTES_MAX)
        beat->why = "GroupId can't be empty";
    else if (request->member_id.count > GROUP_TEXT_BYTES_MAX ||
             request->instance_id.count > GROUP_TEXT_BYTES_MAX ||
             request->rack_id.count > GROUP_TEXT_BYTES_MAX)
        beat->why = "an id is too long";
    else if (needs_id && request->member_id.count == 0)
        beat->why = "MemberId can't be empty";
    else if (is_empty_text(request->instance_id) || is_empty_text(request->rack_id))
        beat->why = "InstanceId and RackId can't be empty";
    else if (epoch < CONSUMER_EPOCH_STATIC)
        beat->why = "MemberEpoch is invalid";
    else if (epoch == CONSUMER_EPOCH_STATIC && request->instance_id.at == NULL)
        beat->why = "InstanceId can't be null";
    if (beat->why != NULL)
        return KAFKA_ERROR_INVALID_REQUEST;
    if (epoch == 0 && check_first(beat) != KAFKA_ERROR_NONE)
        return KAFKA_ERROR_INVALID_REQUEST;
    if (request->server_assignor.at != NULL &&
        consumer__assignor_of(request->server_assignor) == ASSIGNOR_NONE) {
        beat->why = "the assignors are uniform and range";
        return KAFKA_ERROR_UNSUPPORTED_ASSIGNOR;
    }
    if (epoch >= 0 && !consumer__regex_ok(request->subscribed_topic_regex)) {
        beat->why =
            "patterns here have no counts in braces, back references, look-around, flags or "
            "named classes, and at most 249 bytes";
        return KAFKA_ERROR_INVALID_REGULAR_EXPRESSION;
    }
    return KAFKA_ERROR_NONE;
}

bool
heartbeat__read_owned(struct groups *groups, struct consumer_heartbeat *beat)
{
    const struct kafka_consumer_group_heartbeat_request *request = beat->request;
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topic_partitions.count; t++) {
        const struct kafka_i32_list *list = &request->topic_partitions.at[t].partitions;
        uint32_t topic = ctopic__find(groups, request->topic_partitions.at[t].topic_id.at);
        beat->owns_unknown |= topic == SLAB_NONE && list->count > 0;
        if (topic == SLAB_NONE)
            continue;
        if (list->count > groups->config.limits.consumer_partitions_max - count)
            return false;
        for (uint32_t p = 0; p < list->count; p++)
            groups->assign_owned[count++] = set__part(topic, (uint32_t)list->at[p]);
    }
    beat->owned = (struct group_set){.at = groups->assign_owned,
                                     .count = set__sort(groups->assign_owned, count)};
    return true;
}

static bool
owned_is_within(const struct consumer_heartbeat *beat, const struct group_set *assigned)
{
    if (beat->request->topic_partitions.at == NULL || beat->owns_unknown)
        return false;
    for (uint32_t i = 0; i < beat->owned.count; i++)
        if (!set__has(assigned, beat->owned.at[i]))
            return false;
    return true;
}

/* The answer with a new epoch may have been lost: then the member comes with the former one and
 * holds nothing that it should not. One that says that it is new and holds nothing is let in again
 * (KIP-848, as Kafka does since KAFKA-19233: it was fenced, and its id stays the same). */
static int16_t
check_epoch(struct groups *groups, struct member *member, const struct consumer_heartbeat *beat)
{
    struct consumer *consumer = &member->consumer;
    int32_t epoch = beat->request->member_epoch;

    if (epoch == consumer->epoch)
        return KAFKA_ERROR_NONE;
    if (epoch < consumer->epoch && epoch == consumer->previous_epoch &&
        owned_is_within(beat, &consumer->assigned))
        return KAFKA_ERROR_NONE;
    if (epoch != 0)
        return KAFKA_ERROR_FENCED_MEMBER_EPOCH;
    set__drop(groups, &consumer->assigned);
    set__drop(groups, &consumer->revoking);
    consumer->state = CONSUMER_STABLE;
    consumer->previous_epoch = 0;
    consumer->epoch = 0;
    consumer->is_dirty = true;
    return KAFKA_ERROR_NONE;
}

/* ---- who it is */

static struct member *
member_new(struct groups *groups, struct group *group, const struct consumer_heartbeat *beat)
{
    const struct group_call *call = beat->call;
    const struct member_new new = {
        .id = beat->member_id,
        .instance = beat->request->instance_id,
        .client_id = {call->client_id.at, min_u64(call->client_id.count, GROUP_TEXT_BYTES_MAX)},
        .client_host = call->client_host,
        .session_ns = groups->config.limits.consumer_session_ns,
        .rebalance_ns = (uint64_t)beat->request->rebalance_timeout_ms * NS_PER_MS,
    };
    struct member *member = member__add(groups, group, &new);

    if (member == NULL)
        return NULL;
    member->flags &= (uint8_t)~MEMBER_NEWCOMER;
    member->consumer.revoke_deadline_ns = NO_DEADLINE;
    member->consumer.is_dirty = true;
    return member;
}

/* A static member that was away comes back, perhaps under another id, and goes on with what it had.
 */
static int16_t
member_return(struct groups *groups,
              struct group *group,
              struct member *member,
              const struct consumer_heartbeat *beat)
{
    struct consumer *consumer = &member->consumer;
    bool is_same = bytes__equal(member->id, beat->member_id);
    uint64_t number;

    if (beat->request->member_epoch != 0)
        return is_same ? KAFKA_ERROR_NONE : KAFKA_ERROR_FENCED_INSTANCE_ID;
    if (consumer->epoch != CONSUMER_EPOCH_STATIC)
        return is_same ? KAFKA_ERROR_NONE : KAFKA_ERROR_UNRELEASED_INSTANCE_ID;
    if (!is_same) {
        if (!record__append_consumer_gone(groups, group, member, &number))
            return KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
        if (!member__rename(groups, member, beat->member_id))
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    consumer->epoch = 0;
    consumer->previous_epoch = 0;
    consumer->is_dirty = true;
    return KAFKA_ERROR_NONE;
}

int16_t
heartbeat__identify(struct groups *groups,
                    struct group *group,
                    const struct consumer_heartbeat *beat,
                    struct member **ret_member)
{
    struct bytes instance = beat->request->instance_id;
    struct member *member = instance.at != NULL ? member__find_instance(groups, group, instance)
                                                : member__find(groups, group, beat->member_id);
    int16_t error = KAFKA_ERROR_NONE;

    if (member == NULL && beat->request->member_epoch != 0)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (member == NULL) {
        if (group->member_count >= groups->config.limits.size_max)
            return KAFKA_ERROR_GROUP_MAX_SIZE_REACHED;
        /* An id that a member without this instance has. */
        if (member__find(groups, group, beat->member_id) != NULL)
            return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
        *ret_member = member_new(groups, group, beat);
        return *ret_member != NULL ? KAFKA_ERROR_NONE : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (instance.at != NULL)
        error = member_return(groups, group, member, beat);
    if (error == KAFKA_ERROR_NONE)
        error = check_epoch(groups, member, beat);
    *ret_member = member;
    return error;
}

/* ---- what it says */

static bool
take_text(struct groups *groups, struct bytes *own, struct bytes said, bool *ret_changed)
{
    struct bytes copy;

    if (said.at == NULL || bytes__equal(*own, said))
        return true;
    if (!group_heap_copy(&groups->heap, said, &copy))
        return false;
    group_heap_drop(&groups->heap, own);
    *own = copy;
    *ret_changed = true;
    return true;
}

/* Names as struct consumer keeps them. */
static bool
take_names(struct groups *groups,
           struct consumer *consumer,
           const struct kafka_string_list *names,
           bool *ret_changed)
{
    struct writer writer = writer_over(groups->record, GROUP_RECORD_BYTES_MAX / 2);

    if (names->at == NULL)
        return true;
    for (uint32_t i = 0; i < names->count; i++) {
        writer_u16_be(&writer, (uint16_t)names->at[i].count);
        if (names->at[i].count > 0)
            writer_bytes(&writer, names->at[i].at, names->at[i].count);
    }
    struct bytes packed = {groups->record, writer_count(&writer)};
    if (writer.failed)
        return false;
    return take_text(groups, &consumer->names, packed, ret_changed);
}

bool
heartbeat__update(struct groups *groups,
                  struct member *member,
                  const struct consumer_heartbeat *beat,
                  bool *ret_changed)
{
    const struct kafka_consumer_group_heartbeat_request *request = beat->request;
    struct consumer *consumer = &member->consumer;
    enum consumer_assignor assignor = consumer__assignor_of(request->server_assignor);
    bool is_other = false;
    bool ok = take_text(groups, &consumer->rack, request->rack_id, &is_other) &&
              take_text(groups, &consumer->regex, request->subscribed_topic_regex, ret_changed) &&
              take_names(groups, consumer, &request->subscribed_topic_names, ret_changed) &&
              take_text(groups, &member->client_host, beat->call->client_host, &is_other);

    if (request->server_assignor.at != NULL && consumer->assignor != assignor) {
        consumer->assignor = (uint8_t)assignor;
        *ret_changed = true;
    }
    if (request->rebalance_timeout_ms >= 0)
        member->rebalance_ns = (uint64_t)request->rebalance_timeout_ms * NS_PER_MS;
    consumer->is_dirty |= *ret_changed || is_other;
    return ok;
}
