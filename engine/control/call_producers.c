/* WriteTxnMarkers (27) and DescribeProducers (61): what tools use to find and end a transaction
 * that its coordinator forgot. One item per partition, which asks its log tile. */
#include "engine/control/control_internal.h"

#define PRODUCERS_BYTES MIB /* for the producers of all partitions of one request */
#define PRODUCERS_PARTITIONS_MAX 1000u

/* ---- WriteTxnMarkers */

static void
marker_locate(struct control *control,
              struct control_call *call,
              struct bytes name,
              int32_t partition,
              struct control_item *item)
{
    const struct topic *topic = topic_store_find(&control->store, name);

    control__item_locate(control, call, name, partition, item);
    if (item->waits != CONTROL_ITEM_ASK || !control__internal_log_owns(control, topic))
        return;
    item->error = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    item->waits = CONTROL_ITEM_NOTHING;
}

/* Every stored marker is somebody's, and of no coordinator that is yet to come: after one of those
 * the partition would take none of ours any more. */
static void
marker_check(struct control *control,
             const struct kafka_write_txn_markers_request_marker *marker,
             struct control_item *item)
{
    bool is_possible = marker->producer_id >= 0 && marker->producer_epoch >= 0 &&
                       marker->coordinator_epoch <= control__coordinator_epoch(control);

    if (item->waits != CONTROL_ITEM_ASK || is_possible)
        return;
    item->error = KAFKA_ERROR_INVALID_REQUEST;
    item->waits = CONTROL_ITEM_NOTHING;
}

static enum rc
marker_begin(struct control *control, struct control_call *call)
{
    const struct kafka_write_txn_markers_request *request = call->message;
    uint32_t count = 0;

    for (uint32_t m = 0; m < request->markers.count; m++)
        for (uint32_t t = 0; t < request->markers.at[m].topics.count; t++)
            count += request->markers.at[m].topics.at[t].partition_indexes.count;
    if (!control__items_take(call, count))
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t m = 0; m < request->markers.count; m++)
        for (uint32_t t = 0; t < request->markers.at[m].topics.count; t++) {
            const struct kafka_write_txn_markers_request_marker_topic *topic =
                &request->markers.at[m].topics.at[t];
            for (uint32_t p = 0; p < topic->partition_indexes.count; p++, item++) {
                marker_locate(control, call, topic->name, topic->partition_indexes.at[p], item);
                marker_check(control, &request->markers.at[m], item);
                item->timestamp_ms = m; /* the marker it is about */
            }
        }
    return RC_OK;
}

static bool
marker_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_write_txn_markers_request *asked = call->message;
    struct control_item *item = &call->items[idx];
    const struct kafka_write_txn_markers_request_marker *marker =
        &asked->markers.at[item->timestamp_ms];
    struct request request = {
        .kind = REQUEST_TXN_MARKER,
        .u.transaction = {.producer_id = marker->producer_id,
                          .wall_ms = clock_wall_ms(control->config.clock),
                          .coordinator_epoch = marker->coordinator_epoch,
                          .producer_epoch = marker->producer_epoch,
                          .is_commit = marker->transaction_result},
    };

    return item->waits != CONTROL_ITEM_ASK || control__item_ask(control, call, idx, &request);
}

static void
item_answered(struct control *control,
              struct control_call *call,
              uint32_t idx,
              const struct response *response)
{
    struct control_item *item = &call->items[idx];

    (void)control;
    item->offset = response->bytes; /* DescribeProducers: of what was written */
    if (response->rc != RC_OK)
        item->error = kafka_error_from_rc(
            (enum rc)response->rc, call->header.api_key, call->header.api_version);
}

/* The topics of one marker, its items from *at on. */
static bool
marker_fill(const struct control_call *call,
            const struct kafka_write_txn_markers_request_marker *asked,
            struct kafka_arena *arena,
            uint32_t *at,
            struct kafka_write_txn_markers_response_marker_result *ret)
{
    struct kafka_write_txn_markers_response_marker_topic_result *topics = kafka_arena_take(
        arena, sizeof(*topics) * asked->topics.count + 8);

    for (uint32_t t = 0; topics != NULL && t < asked->topics.count; t++) {
        const struct kafka_i32_list *indexes = &asked->topics.at[t].partition_indexes;
        struct kafka_write_txn_markers_response_marker_partition_result *list = kafka_arena_take(
            arena, sizeof(*list) * indexes->count + 8);
        if (list == NULL)
            return false;
        for (uint32_t p = 0; p < indexes->count; p++) {
            list[p].index = indexes->at[p];
            list[p].error = call->items[(*at)++].error;
        }
        topics[t].name = asked->topics.at[t].name;
        topics[t].partitions.at = list;
        topics[t].partitions.count = indexes->count;
    }
    ret->producer_id = asked->producer_id;
    ret->topics.at = topics;
    ret->topics.count = asked->topics.count;
    return topics != NULL;
}

static void *
marker_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_write_txn_markers_request *request = call->message;
    struct kafka_write_txn_markers_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_write_txn_markers_response_marker_result *list = kafka_arena_take(
        arena, sizeof(*list) * request->markers.count + 8);
    uint32_t at = 0;

    (void)control;
    if (list == NULL)
        return NULL;
    kafka_write_txn_markers_response_defaults(response);
    for (uint32_t m = 0; m < request->markers.count; m++) {
        if (!marker_fill(call, &request->markers.at[m], arena, &at, &list[m]))
            return NULL;
    }
    response->markers.at = list;
    response->markers.count = request->markers.count;
    return response;
}

/* Markers that stand twice would show. */
static uint64_t
marker_reply_bound(const struct control_call *call)
{
    return 64 + 4 * call->body.count;
}

const struct control_api control__api_write_txn_markers = {
    .key = KAFKA_WRITE_TXN_MARKERS,
    .begin = marker_begin,
    .issue = marker_issue,
    .answered = item_answered,
    .finish = marker_finish,
    .reply_bound = marker_reply_bound,
};

/* ---- DescribeProducers */

static enum rc
producers_begin(struct control *control, struct control_call *call)
{
    const struct kafka_describe_producers_request *request = call->message;
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partition_indexes.count;
    if (count > PRODUCERS_PARTITIONS_MAX || !control__items_take(call, count))
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_describe_producers_request_topic_request *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partition_indexes.count; p++, item++)
            control__item_locate(control, call, topic->name, topic->partition_indexes.at[p], item);
    }
    call->extra = buddy_take(&control->pool, PRODUCERS_BYTES);
    return call->extra != NULL ? RC_OK : RC_AGAIN;
}

/* The part of the call's extra memory that an item's producers go to. */
static uint32_t
producers_share(const struct control_call *call)
{
    return (uint32_t)(PRODUCERS_BYTES / call->item_count) & ~7u;
}

static bool
producers_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    uint32_t share = producers_share(call);
    struct request request = {
        .kind = REQUEST_PRODUCERS,
        .u.find = {.dst = call->extra + (size_t)idx * share, .dst_bytes = share},
    };

    return call->items[idx].waits != CONTROL_ITEM_ASK ||
           control__item_ask(control, call, idx, &request);
}

static bool
producers_fill(const struct control_call *call,
               uint32_t idx,
               struct kafka_arena *arena,
               struct kafka_describe_producers_response_partition_response *ret)
{
    const struct control_item *item = &call->items[idx];
    const struct request_producer *from =
        (const struct request_producer *)(const void *)(call->extra +
                                                        (size_t)idx * producers_share(call));
    uint32_t count = item->error == KAFKA_ERROR_NONE
                         ? (uint32_t)((uint64_t)item->offset / sizeof(*from))
                         : 0;
    struct kafka_describe_producers_response_producer_state *list = kafka_arena_take(
        arena, sizeof(*list) * count + 8);

    ret->error = item->error;
    ret->error_message = item->message;
    if (list == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        list[i] = (struct kafka_describe_producers_response_producer_state){
            .producer_id = from[i].producer_id,
            .producer_epoch = from[i].producer_epoch,
            .last_sequence = from[i].last_sequence,
            .last_timestamp = from[i].last_append_ms,
            .coordinator_epoch = from[i].coordinator_epoch,
            .current_txn_start_offset = (int64_t)from[i].transaction_first_offset,
        };
    ret->active_producers.at = list;
    ret->active_producers.count = count;
    return true;
}

static void *
producers_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_describe_producers_request *request = call->message;
    struct kafka_describe_producers_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_describe_producers_response_topic_response *topics = kafka_arena_take(
        arena, sizeof(*topics) * request->topics.count + 8);
    uint32_t at = 0;

    (void)control;
    if (topics == NULL)
        return NULL;
    kafka_describe_producers_response_defaults(response);
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_i32_list *indexes = &request->topics.at[t].partition_indexes;
        struct kafka_describe_producers_response_partition_response *list = kafka_arena_take(
            arena, sizeof(*list) * indexes->count + 8);
        for (uint32_t p = 0; list != NULL && p < indexes->count; p++, at++) {
            list[p].index = indexes->at[p];
            if (!producers_fill(call, at, arena, &list[p]))
                return NULL;
        }
        if (list == NULL)
            return NULL;
        topics[t].name = request->topics.at[t].name;
        topics[t].partitions.at = list;
        topics[t].partitions.count = indexes->count;
    }
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    return response;
}

const struct control_api control__api_describe_producers = {
    .key = KAFKA_DESCRIBE_PRODUCERS,
    .begin = producers_begin,
    .issue = producers_issue,
    .answered = item_answered,
    .finish = producers_finish,
};
