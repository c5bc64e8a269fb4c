/* DeleteRecords (21): one item per partition, which asks its log tile to raise the start offset.
 * The answer comes when that is durable. "Up to the high watermark" would delete more when it is
 * done again, so the room for the answer is made sure of before. */
#include "engine/control/control_internal.h"

#define UP_TO_HIGH_WATERMARK (-1)
#define ANSWER_BYTES 64u
#define TOPIC_BYTES 16u     /* of a topic in the answer, without its name */
#define PARTITION_BYTES 16u /* of a partition in the answer */

static void
begin_item(struct control *control,
           struct control_call *call,
           struct bytes name,
           const struct kafka_delete_records_request_partition *asked,
           struct control_item *item)
{
    const struct topic *topic = topic_store_find(&control->store, name);

    control__item_locate(control, call, name, asked->index, item);
    if (item->waits != CONTROL_ITEM_ASK)
        return;
    item->timestamp_ms = asked->offset; /* the question */
    if (control__internal_log_owns(control, topic))
        item->error = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    else if (topic_config_number(&topic->config,
                                 &control->config.broker,
                                 TOPIC_CONFIG_CLEANUP_POLICY) == TOPIC_CLEANUP_COMPACT)
        item->error = KAFKA_ERROR_POLICY_VIOLATION;
    else if (asked->offset < UP_TO_HIGH_WATERMARK)
        item->error = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
    if (item->error != KAFKA_ERROR_NONE)
        item->waits = CONTROL_ITEM_NOTHING;
}

static enum rc
begin(struct control *control, struct control_call *call)
{
    const struct kafka_delete_records_request *request = call->message;
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    if (!control__items_take(call, count))
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_delete_records_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++)
            begin_item(control, call, topic->name, &topic->partitions.at[p], item);
    }
    return RC_OK;
}

static bool
issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct control_item *item = &call->items[idx];
    struct request request = {
        .kind = REQUEST_TRIM,
        .u.trim.start_offset = item->timestamp_ms == UP_TO_HIGH_WATERMARK
                                   ? UINT64_MAX
                                   : (uint64_t)item->timestamp_ms,
    };

    return item->waits != CONTROL_ITEM_ASK || control__item_ask(control, call, idx, &request);
}

static void
answered(struct control *control,
         struct control_call *call,
         uint32_t idx,
         const struct response *response)
{
    struct control_item *item = &call->items[idx];

    (void)control;
    item->offset = (int64_t)response->start_offset;
    if (response->rc != RC_OK)
        item->error = kafka_error_from_rc(
            (enum rc)response->rc, call->header.api_key, call->header.api_version);
}

static void *
finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_delete_records_request *request = call->message;
    struct kafka_delete_records_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_delete_records_response_topic_result *topics = kafka_arena_take(
        arena, sizeof(*topics) * (request->topics.count + 1));
    struct kafka_delete_records_response_partition_result *partitions = kafka_arena_take(
        arena, sizeof(*partitions) * (call->item_count + 1));
    uint32_t at = 0;

    (void)control;
    if (response == NULL || topics == NULL || partitions == NULL)
        return NULL;
    kafka_delete_records_response_defaults(response);
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_delete_records_request_topic *asked = &request->topics.at[t];
        kafka_delete_records_response_topic_result_defaults(&topics[t]);
        topics[t].name = asked->name;
        topics[t].partitions.at = &partitions[at];
        topics[t].partitions.count = asked->partitions.count;
        for (uint32_t p = 0; p < asked->partitions.count; p++, at++) {
            const struct control_item *item = &call->items[at];
            kafka_delete_records_response_partition_result_defaults(&partitions[at]);
            partitions[at].index = asked->partitions.at[p].index;
            partitions[at].error = item->error;
            partitions[at].low_watermark = item->error == KAFKA_ERROR_NONE ? item->offset : -1;
        }
    }
    return response;
}

static uint64_t
bound(const struct control_call *call)
{
    const struct kafka_delete_records_request *request = call->message;
    uint64_t bytes = ANSWER_BYTES + (uint64_t)PARTITION_BYTES * call->item_count;

    for (uint32_t t = 0; t < request->topics.count; t++)
        bytes += TOPIC_BYTES + request->topics.at[t].name.count;
    return bytes;
}

const struct control_api control__api_delete_records = {
    .key = KAFKA_DELETE_RECORDS,
    .begin = begin,
    .issue = issue,
    .answered = answered,
    .finish = finish,
    .reply_bound = bound,
};
