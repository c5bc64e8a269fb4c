/* Metadata (3): what clients know of topics, and the door by which named topics create themselves.
 */
#include "engine/control/control_internal.h"

#include "engine/topic/topic_name.h"

/* ACL operations as bits (kafka-protocol: 1 << code), all allowed as long as there are no ACLs. */
#define TOPIC_OPERATIONS (1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11)
#define CLUSTER_OPERATIONS (1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12)

enum metadata_wait { METADATA_NOTHING, METADATA_CREATE };

static bool
wants_all(const struct control_call *call)
{
    const struct kafka_metadata_request *request = call->message;

    return call->header.api_version == 0 ? request->topics.count == 0 : request->topics.at == NULL;
}

static bool
has_id(const struct kafka_uuid *id)
{
    static const struct kafka_uuid none;

    return memcmp(id, &none, sizeof(none)) != 0;
}

/* Java's admin client asks for an id with an empty name, others with none. */
static bool
by_id(const struct kafka_metadata_request_topic *asked)
{
    return asked->name.at == NULL || (asked->name.count == 0 && has_id(&asked->topic_id));
}

static const struct topic *
find_visible(const struct control *control, struct bytes name)
{
    const struct topic *topic = topic_store_find(&control->store, name);

    return topic != NULL && control__visible(control, topic) > 0 ? topic : NULL;
}

static void
begin_named(struct control *control,
            struct control_call *call,
            const struct kafka_metadata_request_topic *asked,
            struct control_item *item)
{
    const struct kafka_metadata_request *request = call->message;

    if (by_id(asked)) {
        const struct topic *topic = topic_store_find_id(&control->store, asked->topic_id.at);
        bool known = topic != NULL && control__visible(control, topic) > 0;
        item->error = known ? KAFKA_ERROR_NONE : KAFKA_ERROR_UNKNOWN_TOPIC_ID;
        return;
    }
    if (!topic_name_is_valid(asked->name)) {
        item->error = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    } else if (find_visible(control, asked->name) == NULL) {
        /* Topics of the server come when their first request does. */
        bool is_own = control__internal_log_named(control, asked->name) < INTERNAL_LOGS;
        item->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        if (request->allow_auto_topic_creation && control->config.auto_create && !is_own)
            item->waits = METADATA_CREATE;
    }
}

static enum rc
begin(struct control *control, struct control_call *call)
{
    const struct kafka_metadata_request *request = call->message;

    if (wants_all(call))
        return RC_OK;
    call->item_count = request->topics.count;
    call->items = kafka_arena_take(&call->arena, sizeof(struct control_item) * call->item_count);
    if (call->items == NULL && call->item_count > 0)
        return RC_LIMIT;
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct kafka_metadata_request_topic *asked = &request->topics.at[i];
        /* Versions 10 and 11 carry ids, but only for answers. */
        if (call->header.api_version < 12 && (asked->name.at == NULL || has_id(&asked->topic_id)))
            return RC_MALFORMED;
        begin_named(control, call, asked, &call->items[i]);
    }
    return RC_OK;
}

static bool
issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_metadata_request *request = call->message;
    struct control_item *item = &call->items[idx];
    struct bytes name = request->topics.at[idx].name;
    struct topic_record record = {.kind = TOPIC_RECORD_CREATED,
                                  .partition_count = control->config.default_partitions,
                                  .name_count = (uint8_t)name.count};
    struct operation_request start = {.kind = OPERATION_CREATE,
                                      .may_exist = true,
                                      .call = (uint32_t)(call - control->calls),
                                      .item = idx,
                                      .record = &record};

    if (item->waits != METADATA_CREATE)
        return true;
    bytes_copy(record.name, sizeof(record.name), name.at, name.count);
    if (control__operation_start(control, &start) == CONTROL_NONE)
        return false;
    call->outstanding++;
    return true;
}

/* ---- the answer */

static bool
build_topic(struct control *control,
            const struct topic *topic,
            bool operations,
            struct kafka_arena *arena,
            struct kafka_metadata_topic *ret)
{
    uint32_t count = control__visible(control, topic);
    struct kafka_metadata_partition *partitions = kafka_arena_take(arena,
                                                                   sizeof(*partitions) * count);
    struct kafka_i32_list self = {&control->config.node_id, 1};
    struct kafka_i32_list none = {&control->config.node_id, 0};

    if (partitions == NULL)
        return false;
    ret->error = KAFKA_ERROR_NONE;
    ret->name = control__topic_name(topic);
    ret->is_internal = topic_name_is_internal(ret->name);
    bytes_copy(ret->topic_id.at, sizeof(ret->topic_id.at), topic->id, sizeof(topic->id));
    ret->partitions.at = partitions;
    ret->partitions.count = count;
    if (operations)
        ret->authorized_operations = TOPIC_OPERATIONS;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = topic_store_partition(&control->store, topic, i);
        const struct control_place *entry = control__place(control, place);
        bool open = entry->slot != UINT32_MAX;
        kafka_metadata_partition_defaults(&partitions[i]);
        partitions[i].index = (int32_t)i;
        partitions[i].error = open ? KAFKA_ERROR_NONE : KAFKA_ERROR_LEADER_NOT_AVAILABLE;
        partitions[i].leader_id = open ? control->config.node_id : -1;
        partitions[i].leader_epoch = open ? entry->leader_epoch : -1;
        partitions[i].replicas = self;
        partitions[i].in_sync_replicas = open ? self : none;
        partitions[i].offline_replicas = open ? none : self;
    }
    return true;
}

static const struct topic *
topic_of_item(const struct control *control, const struct kafka_metadata_request_topic *asked)
{
    const struct topic *topic;

    if (!by_id(asked))
        return find_visible(control, asked->name);
    topic = topic_store_find_id(&control->store, asked->topic_id.at);
    return topic != NULL && control__visible(control, topic) > 0 ? topic : NULL;
}

static bool
build_named(struct control *control,
            struct control_call *call,
            struct kafka_arena *arena,
            struct kafka_metadata_topic *topics)
{
    const struct kafka_metadata_request *request = call->message;

    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct kafka_metadata_request_topic *asked = &request->topics.at[i];
        const struct topic *topic = topic_of_item(control, asked);
        kafka_metadata_topic_defaults(&topics[i]);
        if (topic != NULL) {
            if (!build_topic(control,
                             topic,
                             request->include_topic_authorized_operations,
                             arena,
                             &topics[i]))
                return false;
            continue;
        }
        topics[i].error = call->items[i].error;
        if (topics[i].error == KAFKA_ERROR_NONE)
            topics[i].error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        if (!by_id(asked))
            topics[i].name = asked->name;
        topics[i].topic_id = asked->topic_id;
        topics[i].partitions.at = (const void *)topics; /* empty, not null */
    }
    return true;
}

static bool
build_all(struct control *control,
          struct control_call *call,
          struct kafka_arena *arena,
          struct kafka_metadata_response *response)
{
    const struct kafka_metadata_request *request = call->message;
    struct kafka_metadata_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (control->store.topic_count + 1));
    const struct topic *topic;
    uint32_t count = 0;

    if (topics == NULL)
        return false;
    for (topic = topic_store_next(&control->store, 0); topic != NULL;
         topic = topic_store_next(&control->store, topic->idx + 1)) {
        if (control__visible(control, topic) == 0)
            continue;
        kafka_metadata_topic_defaults(&topics[count]);
        if (!build_topic(control,
                         topic,
                         request->include_topic_authorized_operations,
                         arena,
                         &topics[count]))
            return false;
        count++;
    }
    response->topics.at = topics;
    response->topics.count = count;
    return true;
}

static void *
finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_metadata_request *request = call->message;
    struct kafka_metadata_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_metadata_broker *broker = kafka_arena_take(arena, sizeof(*broker));
    struct kafka_metadata_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (call->item_count + 1));

    if (topics == NULL)
        return NULL;
    kafka_metadata_response_defaults(response);
    kafka_metadata_broker_defaults(broker);
    broker->node_id = control->config.node_id;
    broker->host = control__text(control->config.host);
    broker->port = control->config.port;
    response->brokers.at = broker;
    response->brokers.count = 1;
    response->cluster_id = control__text(control_cluster_id(control));
    response->controller_id = control->config.node_id;
    if (request->include_cluster_authorized_operations)
        response->authorized_operations = CLUSTER_OPERATIONS;
    response->topics.at = topics;
    response->topics.count = call->item_count;
    bool built = wants_all(call) ? build_all(control, call, arena, response)
                                 : build_named(control, call, arena, topics);
    return built ? response : NULL;
}

const struct control_api control__api_metadata = {
    .key = KAFKA_METADATA,
    .begin = begin,
    .issue = issue,
    .finish = finish,
};
