/* InitProducerId (22), FindCoordinator (10), DescribeCluster (60). */
#include "engine/control/control_internal.h"

#define CLUSTER_OPERATIONS (1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12)

/* ---- InitProducerId: with a transactional id it is the transaction coordinator's. Without one it
 * is one item, which waits while the next block of ids is being written. */

static enum rc
producer_begin(struct control *control, struct control_call *call)
{
    (void)control;
    call->items = kafka_arena_take(&call->arena, sizeof(struct control_item));
    if (call->items == NULL)
        return RC_LIMIT;
    call->item_count = 1;
    return RC_OK;
}

static bool
producer_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct control_item *item = &call->items[idx];

    if (item->error != KAFKA_ERROR_NONE)
        return true;
    if (control->metadata.failed) {
        item->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        return true;
    }
    return control__producer_id(control, &call->producer_id);
}

static void *
producer_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_init_producer_id_response *response = kafka_arena_take(arena, sizeof(*response));

    (void)control;
    if (response == NULL)
        return NULL;
    kafka_init_producer_id_response_defaults(response);
    response->error = call->items[0].error;
    response->producer_id = response->error == KAFKA_ERROR_NONE ? call->producer_id : -1;
    response->producer_epoch = response->error == KAFKA_ERROR_NONE ? 0 : -1;
    return response;
}

const struct control_api control__api_init_producer = {
    .key = KAFKA_INIT_PRODUCER_ID,
    .begin = producer_begin,
    .issue = producer_issue,
    .finish = producer_finish,
    .dispatch = control__transaction_dispatch,
    .dispatches = control__is_transactional,
};

/* ---- FindCoordinator: this broker, as soon as the coordinator's log was read. */

/* Key types 0 and 1; there are no others here. */
static struct internal_log *
coordinator_log(struct control *control, int8_t key_type)
{
    static const uint8_t logs[] = {INTERNAL_LOG_GROUPS, INTERNAL_LOG_TRANSACTIONS};

    return key_type >= 0 && (size_t)key_type < ARRAY_COUNT(logs)
               ? &control->internal[logs[key_type]]
               : NULL;
}

static void
coordinator_fill(struct control *control,
                 int8_t key_type,
                 struct kafka_find_coordinator_result *ret)
{
    struct internal_log *log = coordinator_log(control, key_type);
    bool is_here = log != NULL && log->state == INTERNAL_LOG_READY;

    if (log != NULL)
        control__internal_log_want(control, log);
    ret->error = is_here ? KAFKA_ERROR_NONE : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    ret->node_id = is_here ? control->config.node_id : -1;
    ret->host = control__text(is_here ? control->config.host : "");
    ret->port = is_here ? control->config.port : -1;
    if (!is_here)
        ret->error_message = control__text(log != NULL ? "the coordinator is starting"
                                                       : "there is no coordinator of this kind");
}

static void *
coordinator_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_find_coordinator_request *request = call->message;
    struct kafka_find_coordinator_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_find_coordinator_result *results = kafka_arena_take(
        arena, sizeof(*results) * (request->keys.count + 1));
    struct kafka_find_coordinator_result one;

    if (results == NULL)
        return NULL;
    kafka_find_coordinator_response_defaults(response);
    kafka_find_coordinator_result_defaults(&one);
    coordinator_fill(control, request->key_type, &one);
    response->error = one.error;
    response->error_message = one.error_message;
    response->node_id = one.node_id;
    response->host = one.host;
    response->port = one.port;
    response->coordinators.at = results;
    response->coordinators.count = request->keys.count;
    for (uint32_t i = 0; i < request->keys.count; i++) {
        results[i] = one;
        results[i].key = request->keys.at[i];
    }
    return response;
}

const struct control_api control__api_find_coordinator = {
    .key = KAFKA_FIND_COORDINATOR,
    .begin = control__begin_whole,
    .finish = coordinator_finish,
};

/* ---- DescribeCluster */

static void *
cluster_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_describe_cluster_request *request = call->message;
    struct kafka_describe_cluster_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_describe_cluster_broker *broker = kafka_arena_take(arena, sizeof(*broker));

    if (broker == NULL)
        return NULL;
    kafka_describe_cluster_response_defaults(response);
    kafka_describe_cluster_broker_defaults(broker);
    response->endpoint_type = request->endpoint_type;
    response->cluster_id = control__text(control_cluster_id(control));
    response->controller_id = control->config.node_id;
    response->brokers.at = broker;
    if (request->endpoint_type != 1) {
        response->error = KAFKA_ERROR_MISMATCHED_ENDPOINT_TYPE;
        response->error_message = control__text("this listener serves brokers");
        return response;
    }
    broker->node_id = control->config.node_id;
    broker->host = control__text(control->config.host);
    broker->port = control->config.port;
    response->brokers.count = 1;
    if (request->include_cluster_authorized_operations)
        response->authorized_operations = CLUSTER_OPERATIONS;
    return response;
}

const struct control_api control__api_describe_cluster = {
    .key = KAFKA_DESCRIBE_CLUSTER,
    .begin = control__begin_whole,
    .finish = cluster_finish,
};
