/* ConsumerGroupDescribe, and what DescribeGroups says of a consumer group. A group of the classic
 * protocol is none of these: tools then ask DescribeGroups. */
#include "engine/group/group_inner.h"

static struct bytes
describe_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* One assignment as topics and partitions. False: the memory is too small. */
static bool
describe_set(const struct groups *groups,
             const struct group_set *set,
             struct kafka_arena *arena,
             const struct kafka_consumer_group_describe_response_assignment **ret)
{
    struct kafka_consumer_group_describe_response_assignment *assignment = kafka_arena_take(
        arena, sizeof(*assignment));
    struct kafka_consumer_group_describe_response_topic_partitions *topics = kafka_arena_take(
        arena, set->count * sizeof(*topics) + 8);
    int32_t *partitions = kafka_arena_take(arena, set->count * sizeof(*partitions) + 8);
    uint32_t count = 0;

    if (assignment == NULL || topics == NULL || partitions == NULL)
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t idx = set__topic(set->at[i]);
        if (i == 0 || set__topic(set->at[i - 1]) != idx) {
            const struct consumer_topic *topic = ctopic__at(groups, idx);
            bytes_copy(topics[count].topic_id.at, 16, topic->id, 16);
            topics[count].topic_name = topic->name;
            topics[count++].partitions.at = &partitions[i];
        }
        partitions[i] = (int32_t)(uint32_t)set->at[i];
        topics[count - 1].partitions.count++;
    }
    assignment->topic_partitions.at = topics;
    assignment->topic_partitions.count = count;
    *ret = assignment;
    return true;
}

static bool
describe_names(struct bytes names, struct kafka_arena *arena, struct kafka_string_list *ret)
{
    struct reader reader = reader_over(names.at, names.count);
    uint32_t count = 0;

    for (; reader_left(&reader) > 0; count++)
        reader_take(&reader, reader_u16_be(&reader));
    struct bytes *list = kafka_arena_take(arena, count * sizeof(*list) + 8);
    if (list == NULL)
        return false;
    reader = reader_over(names.at, names.count);
    for (uint32_t i = 0; i < count; i++) {
        uint16_t bytes = reader_u16_be(&reader);
        list[i] = (struct bytes){reader_take(&reader, bytes), bytes};
    }
    *ret = (struct kafka_string_list){.at = list, .count = count};
    return true;
}

static bool
describe_member(const struct groups *groups,
                const struct member *member,
                struct kafka_arena *arena,
                struct kafka_consumer_group_describe_response_member *ret)
{
    const struct consumer *consumer = &member->consumer;

    kafka_consumer_group_describe_response_member_defaults(ret);
    ret->member_id = member->id;
    ret->instance_id = member->instance;
    ret->rack_id = consumer->rack;
    ret->member_epoch = consumer->epoch;
    ret->client_id = bytes__or_empty(member->client_id);
    ret->client_host = bytes__or_empty(member->client_host);
    ret->subscribed_topic_regex = consumer->regex;
    ret->member_type = 1; /* of the consumer protocol */
    ret->assignment.count = 1;
    ret->target_assignment.count = 1;
    return describe_names(consumer->names, arena, &ret->subscribed_topic_names) &&
           describe_set(groups, &consumer->assigned, arena, &ret->assignment.at) &&
           describe_set(groups, &consumer->target, arena, &ret->target_assignment.at);
}

static void
describe_group(const struct groups *groups,
               const struct group *group,
               struct kafka_arena *arena,
               struct kafka_consumer_group_describe_response_group *ret)
{
    struct kafka_consumer_group_describe_response_member *list = kafka_arena_take(
        arena, group->member_count * sizeof(*list) + 8);
    uint32_t count = 0;
    bool fits = list != NULL;

    for (uint32_t idx = group->member_first; fits && idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        fits = describe_member(groups, member, arena, &list[count++]);
    }
    if (!fits) {
        ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        ret->error_message = describe_text("the description is too large");
        return;
    }
    ret->group_state = describe_text(group_state_name(group->state));
    ret->group_epoch = group->generation;
    ret->assignment_epoch = group->generation;
    ret->assignor_name = describe_text(
        consumer__assignor_name((enum consumer_assignor)group->assignor));
    ret->members.at = list;
    ret->members.count = count;
}

/* ConsumerProtocolAssignment, version 0: topics with their partitions, no data of the user. at ==
 * NULL: the memory is too small. */
static struct bytes
classic_assignment(const struct groups *groups,
                   const struct group_set *set,
                   struct kafka_arena *arena)
{
    size_t bytes = 16;
    uint32_t topics = 0;
    uint32_t end;

    for (uint32_t i = 0; i < set->count; i++) {
        bool is_first = i == 0 || set__topic(set->at[i - 1]) != set__topic(set->at[i]);
        topics += is_first;
        bytes += 4 + (is_first ? 6 + ctopic__at(groups, set__topic(set->at[i]))->name.count : 0);
    }
    uint8_t *memory = kafka_arena_take(arena, bytes);
    if (memory == NULL)
        return (struct bytes){0};
    struct writer writer = writer_over(memory, bytes);
    writer_u16_be(&writer, 0);
    writer_u32_be(&writer, topics);
    for (uint32_t i = 0; i < set->count; i = end) {
        struct bytes name = ctopic__at(groups, set__topic(set->at[i]))->name;
        for (end = i; end < set->count && set__topic(set->at[end]) == set__topic(set->at[i]);)
            end++;
        writer_u16_be(&writer, (uint16_t)name.count);
        writer_bytes(&writer, name.at, name.count);
        writer_u32_be(&writer, end - i);
        for (uint32_t p = i; p < end; p++)
            writer_u32_be(&writer, (uint32_t)set->at[p]);
    }
    writer_u32_be(&writer, UINT32_MAX); /* null */
    CHECK(!writer.failed);
    return (struct bytes){memory, writer_count(&writer)};
}

void
consumer__describe_classic(const struct groups *groups,
                           const struct group *group,
                           struct kafka_arena *arena,
                           struct kafka_describe_groups_response_group *ret)
{
    struct kafka_describe_groups_response_group_member *list = kafka_arena_take(
        arena, group->member_count * sizeof(*list) + 8);
    uint32_t count = 0;

    ret->authorized_operations = INT32_MIN;
    ret->group_state = describe_text(group_state_name(group->state));
    ret->protocol_type = describe_text("consumer");
    ret->protocol_data = describe_text(
        consumer__assignor_name((enum consumer_assignor)group->assignor));
    for (uint32_t idx = group->member_first; list != NULL && idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        struct bytes assignment = classic_assignment(groups, &member->consumer.assigned, arena);
        idx = member->after;
        list[count++] = (struct kafka_describe_groups_response_group_member){
            .member_id = member->id,
            .group_instance_id = member->instance,
            .client_id = bytes__or_empty(member->client_id),
            .client_host = bytes__or_empty(member->client_host),
            .member_metadata = bytes__or_empty((struct bytes){0}),
            .member_assignment = bytes__or_empty(assignment),
        };
        if (assignment.at == NULL)
            ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (list == NULL)
        ret->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    ret->members.at = list;
    ret->members.count = count;
}

void
groups_consumer_describe(struct groups *groups,
                         const struct group_call *call,
                         const struct kafka_consumer_group_describe_request *request)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_consumer_group_describe_response response;
    uint32_t count = request->group_ids.count;
    struct kafka_consumer_group_describe_response_group *list = kafka_arena_take(
        &arena, count * sizeof(*list) + 8);

    kafka_consumer_group_describe_response_defaults(&response);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        const struct group *group = group__find(groups, request->group_ids.at[i]);
        kafka_consumer_group_describe_response_group_defaults(&list[i]);
        list[i].group_id = request->group_ids.at[i];
        list[i].group_state = bytes__or_empty((struct bytes){0});
        list[i].assignor_name = bytes__or_empty((struct bytes){0});
        list[i].members.at = kafka_arena_take(&arena, 8); /* empty, not null */
        if (group == NULL || group->kind != GROUP_CONSUMER || group->state == GROUP_DEAD) {
            list[i].error = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
            list[i].error_message = describe_text("there is no such consumer group");
        } else {
            describe_group(groups, group, &arena, &list[i]);
        }
    }
    response.groups.at = list;
    response.groups.count = list != NULL ? count : 0;
    groups__answer(groups, call->token, &response);
}
