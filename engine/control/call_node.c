/* What a cluster of one broker answers to tools for many: ElectLeaders (43),
 * ListPartitionReassignments (46), DescribeAcls (29), ListConfigResources (74). Nothing here waits
 * or changes anything. */
#include "engine/control/control_internal.h"

#define NODE_ID_DIGITS_MAX 10u

static enum rc
no_items(struct control *control, struct control_call *call)
{
    (void)control;
    (void)call;
    return RC_OK;
}

/* ---- ElectLeaders: the only replica leads already, or is not available */

enum { ELECTION_PREFERRED = 0, ELECTION_UNCLEAN = 1 };

static void
elect_one(struct control *control,
          const struct topic *topic,
          int32_t partition,
          struct kafka_elect_leaders_response_partition_result *result)
{
    kafka_elect_leaders_response_partition_result_defaults(result);
    result->partition_id = partition;
    if (topic == NULL || partition < 0 || (uint32_t)partition >= control__visible(control, topic)) {
        result->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        result->error_message = control__text("no such partition");
        return;
    }
    uint32_t place = topic_store_partition(&control->store, topic, (uint32_t)partition);
    bool open = control__place(control, place)->slot != UINT32_MAX;
    result->error = open ? KAFKA_ERROR_ELECTION_NOT_NEEDED : KAFKA_ERROR_LEADER_NOT_AVAILABLE;
    result->error_message = control__text(open ? "the only replica leads"
                                               : "the only replica is not available");
}

static bool
elect_topic(struct control *control,
            const struct kafka_elect_leaders_request_topic_partitions *asked,
            struct kafka_arena *arena,
            struct kafka_elect_leaders_response_replica_election_result *ret)
{
    const struct topic *topic = topic_store_find(&control->store, asked->topic);
    struct kafka_elect_leaders_response_partition_result *results = kafka_arena_take(
        arena, sizeof(*results) * (asked->partitions.count + 1));

    if (results == NULL)
        return false;
    kafka_elect_leaders_response_replica_election_result_defaults(ret);
    ret->topic = asked->topic;
    ret->partition_result.at = results;
    ret->partition_result.count = asked->partitions.count;
    for (uint32_t i = 0; i < asked->partitions.count; i++)
        elect_one(control, topic, asked->partitions.at[i], &results[i]);
    return true;
}

/* Of all partitions (null) only those that need an election are listed, and none does. */
static void *
elect_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_elect_leaders_request *request = call->message;
    uint32_t count = request->topic_partitions.count;
    struct kafka_elect_leaders_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_elect_leaders_response_replica_election_result *results = kafka_arena_take(
        arena, sizeof(*results) * (count + 1));

    if (response == NULL || results == NULL)
        return NULL;
    kafka_elect_leaders_response_defaults(response);
    response->replica_election_results.at = results;
    if (request->election_type != ELECTION_PREFERRED &&
        request->election_type != ELECTION_UNCLEAN) {
        response->error = KAFKA_ERROR_INVALID_REQUEST;
        return response;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!elect_topic(control, &request->topic_partitions.at[i], arena, &results[i]))
            return NULL;
    }
    response->replica_election_results.count = count;
    return response;
}

const struct control_api control__api_elect_leaders = {
    .key = KAFKA_ELECT_LEADERS,
    .begin = no_items,
    .finish = elect_finish,
};

/* ---- ListPartitionReassignments: there is nowhere to move to */

static void *
reassignments_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_list_partition_reassignments_response *response = kafka_arena_take(
        arena, sizeof(*response));

    (void)control;
    (void)call;
    if (response == NULL)
        return NULL;
    kafka_list_partition_reassignments_response_defaults(response);
    response->topics.at = (const void *)response; /* empty, not null */
    return response;
}

const struct control_api control__api_list_partition_reassignments = {
    .key = KAFKA_LIST_PARTITION_REASSIGNMENTS,
    .begin = no_items,
    .finish = reassignments_finish,
};

/* ---- DescribeAcls: there is no authorizer */

static void *
acls_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_describe_acls_response *response = kafka_arena_take(arena, sizeof(*response));

    (void)control;
    (void)call;
    if (response == NULL)
        return NULL;
    kafka_describe_acls_response_defaults(response);
    response->error = KAFKA_ERROR_SECURITY_DISABLED;
    response->error_message = control__text("there are no access control lists here");
    response->resources.at = (const void *)response; /* empty, not null */
    return response;
}

const struct control_api control__api_describe_acls = {
    .key = KAFKA_DESCRIBE_ACLS,
    .begin = no_items,
    .finish = acls_finish,
};

/* ---- ListConfigResources: topics and this broker; version 0 asks for client metrics only */

enum { RESOURCE_LOGGER = 8, RESOURCE_CLIENT_METRICS = 16, RESOURCE_GROUP = 32 };

static bool
type_is_known(int8_t type)
{
    return type == CONTROL_RESOURCE_TOPIC || type == CONTROL_RESOURCE_BROKER ||
           type == RESOURCE_LOGGER || type == RESOURCE_CLIENT_METRICS || type == RESOURCE_GROUP;
}

static bool
wants_type(const struct control_call *call, int8_t type)
{
    const struct kafka_list_config_resources_request *request = call->message;

    if (call->header.api_version == 0)
        return type == RESOURCE_CLIENT_METRICS;
    for (uint32_t i = 0; i < request->resource_types.count; i++) {
        if (request->resource_types.at[i] == type)
            return true;
    }
    return request->resource_types.count == 0; /* all */
}

static struct bytes
node_id_text(const struct control *control, uint8_t text[NODE_ID_DIGITS_MAX])
{
    uint32_t rest = (uint32_t)control->config.node_id;
    size_t at = NODE_ID_DIGITS_MAX;

    do {
        text[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    return (struct bytes){text + at, NODE_ID_DIGITS_MAX - at};
}

static void
add_resource(struct kafka_list_config_resources_response *response,
             struct kafka_list_config_resources_response_config_resource *resources,
             struct bytes name,
             int8_t type)
{
    uint32_t idx = response->config_resources.count++;

    kafka_list_config_resources_response_config_resource_defaults(&resources[idx]);
    resources[idx].resource_name = name;
    resources[idx].resource_type = type;
}

static void *
resources_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_list_config_resources_request *request = call->message;
    struct kafka_list_config_resources_response *response = kafka_arena_take(arena,
                                                                             sizeof(*response));
    struct kafka_list_config_resources_response_config_resource *resources = kafka_arena_take(
        arena, sizeof(*resources) * (control->store.topic_count + 1));
    uint8_t *text = kafka_arena_take(arena, NODE_ID_DIGITS_MAX);
    bool known = true;

    if (response == NULL || resources == NULL || text == NULL)
        return NULL;
    kafka_list_config_resources_response_defaults(response);
    response->config_resources.at = resources;
    for (uint32_t i = 0; i < request->resource_types.count && known; i++)
        known = type_is_known(request->resource_types.at[i]);
    if (!known) {
        response->error = KAFKA_ERROR_UNSUPPORTED_VERSION;
        return response;
    }
    if (wants_type(call, CONTROL_RESOURCE_BROKER))
        add_resource(response, resources, node_id_text(control, text), CONTROL_RESOURCE_BROKER);
    if (!wants_type(call, CONTROL_RESOURCE_TOPIC))
        return response;
    for (const struct topic *topic = topic_store_next(&control->store, 0); topic != NULL;
         topic = topic_store_next(&control->store, topic->idx + 1)) {
        if (control__visible(control, topic) > 0)
            add_resource(response, resources, control__topic_name(topic), CONTROL_RESOURCE_TOPIC);
    }
    return response;
}

const struct control_api control__api_list_config_resources = {
    .key = KAFKA_LIST_CONFIG_RESOURCES,
    .begin = no_items,
    .finish = resources_finish,
};
