/* DescribeLogDirs (35): the one data directory and the bytes of its partitions, as their log tiles
 * estimate them from memory. What the request names and is not there is left out, as Kafka does.
 *
 * An item keeps the incarnation it is about in `offset`, and the bytes in `timestamp_ms`. */
#include "engine/control/control_internal.h"

/* The items of all partitions do not fit in memory that is measured by the request. */
static bool
take_items_of_all(struct control *control, struct control_call *call, uint32_t count)
{
    uint64_t bytes = sizeof(struct control_item) * ((uint64_t)count + 1);

    if (bytes > BUDDY_BLOCK_MAX)
        return false;
    call->extra = buddy_take(&control->pool, bytes);
    if (call->extra == NULL)
        return false;
    memset(call->extra, 0, bytes);
    call->items = (struct control_item *)(void *)call->extra;
    call->item_count = count;
    return true;
}

static uint32_t
begin_topic(struct control *control, const struct topic *topic, struct control_item *items)
{
    uint32_t count = control__visible(control, topic);

    for (uint32_t i = 0; i < count; i++) {
        items[i].place = topic_store_partition(&control->store, topic, i);
        const struct control_place *entry = control__place(control, items[i].place);
        items[i].offset = (int64_t)entry->incarnation;
        if (entry->slot == UINT32_MAX)
            items[i].error = KAFKA_ERROR_KAFKA_STORAGE_ERROR;
        else
            items[i].waits = CONTROL_ITEM_ASK;
    }
    return count;
}

static enum rc
begin_all(struct control *control, struct control_call *call)
{
    const struct topic *topic;
    uint32_t count = 0;

    for (topic = topic_store_next(&control->store, 0); topic != NULL;
         topic = topic_store_next(&control->store, topic->idx + 1))
        count += control__visible(control, topic);
    if (!take_items_of_all(control, call, count))
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (topic = topic_store_next(&control->store, 0); topic != NULL;
         topic = topic_store_next(&control->store, topic->idx + 1))
        item += begin_topic(control, topic, item);
    return RC_OK;
}

static enum rc
begin(struct control *control, struct control_call *call)
{
    const struct kafka_describe_log_dirs_request *request = call->message;
    uint32_t count = 0;

    if (request->topics.at == NULL)
        return begin_all(control, call);
    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    if (!control__items_take(call, count))
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_describe_log_dirs_request_topic *asked = &request->topics.at[t];
        for (uint32_t p = 0; p < asked->partitions.count; p++, item++)
            control__item_locate(control, call, asked->topic, asked->partitions.at[p], item);
    }
    return RC_OK;
}

/* A probe: nothing is read, and the answer tells the bytes from that offset on. */
static bool
issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct request request = {.kind = REQUEST_READ, .u.read = {.offset = 0, .leader_epoch = -1}};

    return call->items[idx].waits != CONTROL_ITEM_ASK ||
           control__item_ask(control, call, idx, &request);
}

static void
answered(struct control *control,
         struct control_call *call,
         uint32_t idx,
         const struct response *response)
{
    struct control_item *item = &call->items[idx];
    struct request request = {
        .kind = REQUEST_READ,
        .u.read = {.offset = response->start_offset, .leader_epoch = -1},
    };

    item->timestamp_ms = (int64_t)response->total_bytes;
    if (response->rc == RC_OK)
        return;
    if (response->rc != RC_OFFSET_OUT_OF_RANGE) {
        item->error = kafka_error_from_rc(
            (enum rc)response->rc, call->header.api_key, call->header.api_version);
        return;
    }
    /* It begins later. The answer just taken gave a credit back, so there is room. */
    CHECK(control__item_ask(control, call, idx, &request));
}

/* ---- the answer */

static bool
is_listed(struct control *control, const struct control_item *item)
{
    return item->error == KAFKA_ERROR_NONE &&
           control__place(control, item->place)->incarnation == (uint64_t)item->offset;
}

/* Items of one topic follow each other; a topic named twice is listed twice. */
static uint32_t
fill_topics(struct control *control,
            const struct control_call *call,
            struct kafka_describe_log_dirs_response_topic *topics,
            struct kafka_describe_log_dirs_response_partition *partitions)
{
    uint32_t topic_count = 0;
    uint32_t topic_idx = CONTROL_NONE;

    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct control_item *item = &call->items[i];
        if (!is_listed(control, item))
            continue;
        const struct topic_partition *partition = &control->store.partitions[item->place];
        if (partition->topic_idx != topic_idx) {
            topic_idx = partition->topic_idx;
            kafka_describe_log_dirs_response_topic_defaults(&topics[topic_count]);
            topics[topic_count].name = control__topic_name(&control->store.topics[topic_idx]);
            topics[topic_count].partitions.at = partitions;
            topic_count++;
        }
        kafka_describe_log_dirs_response_partition_defaults(partitions);
        partitions->index = (int32_t)partition->partition;
        partitions->partition_size = item->timestamp_ms;
        partitions++;
        topics[topic_count - 1].partitions.count++;
    }
    return topic_count;
}

static void *
finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_describe_log_dirs_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_describe_log_dirs_result *result = kafka_arena_take(arena, sizeof(*result));
    struct kafka_describe_log_dirs_response_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (call->item_count + 1));
    struct kafka_describe_log_dirs_response_partition *partitions = kafka_arena_take(
        arena, sizeof(*partitions) * (call->item_count + 1));

    if (response == NULL || result == NULL || topics == NULL || partitions == NULL)
        return NULL;
    kafka_describe_log_dirs_response_defaults(response);
    kafka_describe_log_dirs_result_defaults(result);
    response->results.at = result;
    response->results.count = 1;
    result->log_dir = control__text(control->config.data);
    result->topics.at = topics;
    result->topics.count = fill_topics(control, call, topics, partitions);
    return response;
}

const struct control_api control__api_describe_log_dirs = {
    .key = KAFKA_DESCRIBE_LOG_DIRS,
    .begin = begin,
    .issue = issue,
    .answered = answered,
    .finish = finish,
};
