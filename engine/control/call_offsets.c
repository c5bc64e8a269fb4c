/* ListOffsets (2) and OffsetForLeaderEpoch (23): one item per partition, each asking its log tile
 * once. A lookup by time also needs the one find buffer, which is taken when the question is sent
 * and given back when its answer was searched. */
#include "engine/control/control_internal.h"

enum {
    TIME_LATEST = -1,
    TIME_EARLIEST = -2,
    TIME_MAX = -3,
    TIME_EARLIEST_LOCAL = -4,
    TIME_LAST_TIERED = -5,
    TIME_PENDING_UPLOAD = -6
};
#define ISOLATION_COMMITTED 1
#define VERSION_TIME_MAX 7
#define VERSION_EARLIEST_LOCAL 8
#define VERSION_LAST_TIERED 9
#define VERSION_PENDING_UPLOAD 11

void
control__item_locate(struct control *control,
                     struct control_call *call,
                     struct bytes name,
                     int32_t partition,
                     struct control_item *item)
{
    const struct topic *topic = topic_store_find(&control->store, name);

    item->offset = -1;
    item->timestamp_ms = -1;
    item->leader_epoch = -1;
    if (topic == NULL || partition < 0 || (uint32_t)partition >= control__visible(control, topic)) {
        item->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    item->place = topic_store_partition(&control->store, topic, (uint32_t)partition);
    CHECK(item->place != TOPIC_NONE);
    struct control_place *entry = control__place(control, item->place);
    if (entry->listed_by == call->serial) {
        item->error = KAFKA_ERROR_INVALID_REQUEST; /* named twice in one request */
        return;
    }
    entry->listed_by = call->serial;
    if (entry->slot == UINT32_MAX)
        item->error = kafka_error_from_rc(
            (enum rc)entry->rc, call->header.api_key, call->header.api_version);
    else
        item->waits = CONTROL_ITEM_ASK;
    item->offset = (int64_t)entry->incarnation; /* until the answer: whom the question is for */
}

static int16_t
check_epoch(struct control *control, const struct control_item *item, int32_t epoch)
{
    int32_t own = control__place(control, item->place)->leader_epoch;

    if (epoch < 0 || epoch == own)
        return KAFKA_ERROR_NONE;
    return epoch < own ? KAFKA_ERROR_FENCED_LEADER_EPOCH : KAFKA_ERROR_UNKNOWN_LEADER_EPOCH;
}

static void
fail_item(struct control_item *item, int16_t error)
{
    item->error = error;
    item->waits = CONTROL_ITEM_NOTHING;
}

/* No such record: offset and time -1, and no error. */
static void
answer_none(struct control_item *item)
{
    item->waits = CONTROL_ITEM_NOTHING;
    item->offset = -1;
    item->timestamp_ms = -1;
}

bool
control__item_ask(struct control *control,
                  struct control_call *call,
                  uint32_t idx,
                  struct request *request)
{
    struct control_item *item = &call->items[idx];
    const struct control_place *entry = control__place(control, item->place);

    if (entry->incarnation != (uint64_t)item->offset) {
        fail_item(item, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION); /* deleted meanwhile */
        return true;
    }
    request->slot = entry->slot;
    request->incarnation = entry->incarnation;
    request->ctx = control__tag(TAG_CALL, (uint32_t)(call - control->calls), idx);
    if (!control__log_send(control, entry->log_tile, request))
        return false;
    call->outstanding++;
    return true;
}

/* ---- ListOffsets */

static bool
time_is_served(int64_t time_ms, int16_t version)
{
    if (time_ms >= TIME_EARLIEST)
        return true;
    return (time_ms == TIME_MAX && version >= VERSION_TIME_MAX) ||
           (time_ms == TIME_EARLIEST_LOCAL && version >= VERSION_EARLIEST_LOCAL) ||
           (time_ms == TIME_LAST_TIERED && version >= VERSION_LAST_TIERED) ||
           (time_ms == TIME_PENDING_UPLOAD && version >= VERSION_PENDING_UPLOAD);
}

static enum rc
list_begin(struct control *control, struct control_call *call)
{
    const struct kafka_list_offsets_request *request = call->message;
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    call->item_count = count;
    call->items = kafka_arena_take(&call->arena, sizeof(struct control_item) * count);
    if (call->items == NULL && count > 0)
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_list_offsets_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            const struct kafka_list_offsets_request_partition *asked = &topic->partitions.at[p];
            int16_t error;
            control__item_locate(control, call, topic->name, asked->index, item);
            /* Kept for the question; the answer replaces it. */
            item->timestamp_ms = asked->timestamp_ms;
            if (item->waits != CONTROL_ITEM_ASK)
                continue;
            error = check_epoch(control, item, asked->current_leader_epoch);
            if (error != KAFKA_ERROR_NONE)
                fail_item(item, error);
            else if (!time_is_served(asked->timestamp_ms, call->header.api_version))
                fail_item(item, KAFKA_ERROR_UNSUPPORTED_VERSION);
            else if (asked->timestamp_ms <= TIME_LAST_TIERED)
                answer_none(item); /* there are no tiers */
        }
    }
    return RC_OK;
}

static bool
list_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct control_item *item = &call->items[idx];
    struct request request = {.kind = REQUEST_OFFSETS};
    bool find = item->timestamp_ms >= 0 || item->timestamp_ms == TIME_MAX;

    if (item->waits != CONTROL_ITEM_ASK)
        return true;
    if (!find)
        return control__item_ask(control, call, idx, &request);
    if (control->find_busy)
        return false; /* the answer under way frees it and polls again */
    request.kind = item->timestamp_ms == TIME_MAX ? REQUEST_FIND_MAX_TIME : REQUEST_FIND_TIME;
    request.u.find.time_ms = item->timestamp_ms;
    request.u.find.dst = control->found;
    request.u.find.dst_bytes = CONTROL_FIND_BYTES;
    if (!control__item_ask(control, call, idx, &request))
        return false;
    control->find_busy = item->waits == CONTROL_ITEM_ASK;
    return true;
}

static void
found(struct control *control,
      struct control_item *item,
      const struct response *response,
      bool is_committed)
{
    struct control_find find = {
        .batch_bytes = response->bytes,
        .first_offset = (int64_t)response->start_offset,
        .time_ms = item->timestamp_ms == TIME_MAX ? INT64_MAX : item->timestamp_ms,
    };

    answer_none(item);
    if (response->bytes == 0)
        return;
    uint64_t limit = is_committed ? response->u.last_stable_offset : response->high_watermark;
    CHECK(response->bytes <= CONTROL_FIND_BYTES);
    enum rc rc = control__find_record(control, &find);
    if (rc != RC_OK) {
        fail_item(item,
                  rc == RC_UNSUPPORTED ? KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE
                                       : KAFKA_ERROR_CORRUPT_MESSAGE);
        return;
    }
    if ((uint64_t)find.ret_offset >= limit)
        return; /* not to be read yet */
    item->offset = find.ret_offset;
    item->timestamp_ms = find.ret_time_ms;
    item->leader_epoch = (int32_t)get_u32_be(control->found +
                                             12); /* partition leader epoch of a batch */
}

static void
list_answered(struct control *control,
              struct control_call *call,
              uint32_t idx,
              const struct response *response)
{
    const struct kafka_list_offsets_request *asked = call->message;
    struct control_item *item = &call->items[idx];
    bool find = item->timestamp_ms >= 0 || item->timestamp_ms == TIME_MAX;
    bool is_committed = asked->isolation_level == ISOLATION_COMMITTED;

    if (find)
        control->find_busy = false;
    if (response->rc != RC_OK) {
        item->timestamp_ms = -1;
        item->error = kafka_error_from_rc(
            (enum rc)response->rc, call->header.api_key, call->header.api_version);
        return;
    }
    if (find) {
        found(control, item, response, is_committed);
        return;
    }
    bool latest = item->timestamp_ms == TIME_LATEST;
    uint64_t end = is_committed ? response->base_offset : response->high_watermark;
    item->offset = (int64_t)(latest ? end : response->start_offset);
    item->leader_epoch = response->leader_epoch;
    item->timestamp_ms = -1;
}

static void *
list_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_list_offsets_request *request = call->message;
    struct kafka_list_offsets_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_list_offsets_response_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (request->topics.count + 1));
    struct kafka_list_offsets_response_partition *partitions = kafka_arena_take(
        arena, sizeof(*partitions) * (call->item_count + 1));

    (void)control;
    if (partitions == NULL || topics == NULL)
        return NULL;
    kafka_list_offsets_response_defaults(response);
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    uint32_t at = 0;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_list_offsets_request_topic *asked = &request->topics.at[t];
        kafka_list_offsets_response_topic_defaults(&topics[t]);
        topics[t].name = asked->name;
        topics[t].partitions.at = &partitions[at];
        topics[t].partitions.count = asked->partitions.count;
        for (uint32_t p = 0; p < asked->partitions.count; p++, at++) {
            const struct control_item *item = &call->items[at];
            bool good = item->error == KAFKA_ERROR_NONE;
            kafka_list_offsets_response_partition_defaults(&partitions[at]);
            partitions[at].index = asked->partitions.at[p].index;
            partitions[at].error = item->error;
            partitions[at].offset = good ? item->offset : -1;
            partitions[at].timestamp_ms = good && item->offset >= 0 ? item->timestamp_ms : -1;
            partitions[at].leader_epoch = good ? item->leader_epoch : -1;
        }
    }
    return response;
}

const struct control_api control__api_list_offsets = {
    .key = KAFKA_LIST_OFFSETS,
    .begin = list_begin,
    .issue = list_issue,
    .answered = list_answered,
    .finish = list_finish,
};

/* ---- OffsetForLeaderEpoch */

static enum rc
epoch_begin(struct control *control, struct control_call *call)
{
    const struct kafka_offset_for_leader_epoch_request *request = call->message;
    uint32_t count = 0;

    for (uint32_t t = 0; t < request->topics.count; t++)
        count += request->topics.at[t].partitions.count;
    call->item_count = count;
    call->items = kafka_arena_take(&call->arena, sizeof(struct control_item) * count);
    if (call->items == NULL && count > 0)
        return RC_LIMIT;
    struct control_item *item = call->items;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_leader_epoch_request_topic *topic = &request->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++, item++) {
            const struct kafka_leader_epoch_request_partition *asked = &topic->partitions.at[p];
            int16_t error;
            control__item_locate(control, call, topic->name, asked->index, item);
            if (item->waits != CONTROL_ITEM_ASK)
                continue;
            item->timestamp_ms = asked->leader_epoch; /* the question */
            error = check_epoch(control, item, asked->current_leader_epoch);
            if (error != KAFKA_ERROR_NONE)
                fail_item(item, error);
        }
    }
    return RC_OK;
}

static bool
epoch_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct control_item *item = &call->items[idx];
    struct request request = {
        .kind = REQUEST_EPOCH_END,
        .u.epoch_end = {.epoch = (int32_t)item->timestamp_ms, .leader_epoch = -1},
    };

    return item->waits != CONTROL_ITEM_ASK || control__item_ask(control, call, idx, &request);
}

static void
epoch_answered(struct control *control,
               struct control_call *call,
               uint32_t idx,
               const struct response *response)
{
    struct control_item *item = &call->items[idx];

    (void)control;
    if (response->rc != RC_OK) {
        item->error = kafka_error_from_rc(
            (enum rc)response->rc, call->header.api_key, call->header.api_version);
        return;
    }
    item->leader_epoch = response->leader_epoch;
    item->offset = response->base_offset == UINT64_MAX ? -1 : (int64_t)response->base_offset;
}

static void *
epoch_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_offset_for_leader_epoch_request *request = call->message;
    struct kafka_offset_for_leader_epoch_response *response = kafka_arena_take(arena,
                                                                               sizeof(*response));
    struct kafka_leader_epoch_response_topic *topics = kafka_arena_take(
        arena, sizeof(*topics) * (request->topics.count + 1));
    struct kafka_leader_epoch_response_partition *partitions = kafka_arena_take(
        arena, sizeof(*partitions) * (call->item_count + 1));

    (void)control;
    if (partitions == NULL || topics == NULL)
        return NULL;
    kafka_offset_for_leader_epoch_response_defaults(response);
    response->topics.at = topics;
    response->topics.count = request->topics.count;
    uint32_t at = 0;
    for (uint32_t t = 0; t < request->topics.count; t++) {
        const struct kafka_leader_epoch_request_topic *asked = &request->topics.at[t];
        kafka_leader_epoch_response_topic_defaults(&topics[t]);
        topics[t].name = asked->name;
        topics[t].partitions.at = &partitions[at];
        topics[t].partitions.count = asked->partitions.count;
        for (uint32_t p = 0; p < asked->partitions.count; p++, at++) {
            const struct control_item *item = &call->items[at];
            kafka_leader_epoch_response_partition_defaults(&partitions[at]);
            partitions[at].index = asked->partitions.at[p].index;
            partitions[at].error = item->error;
            partitions[at].leader_epoch = item->error == KAFKA_ERROR_NONE ? item->leader_epoch : -1;
            partitions[at].end_offset = item->error == KAFKA_ERROR_NONE ? item->offset : -1;
        }
    }
    return response;
}

const struct control_api control__api_epoch_end = {
    .key = KAFKA_OFFSET_FOR_LEADER_EPOCH,
    .begin = epoch_begin,
    .issue = epoch_issue,
    .answered = epoch_answered,
    .finish = epoch_finish,
};
