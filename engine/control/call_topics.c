/* CreateTopics (19), DeleteTopics (20), CreatePartitions (37): one operation per topic, all topics
 * of a request side by side. What does not depend on the state (names, counts, assignments,
 * configs, duplicates) is decided when the request begins. */
#include "engine/control/control_internal.h"

#include "engine/topic/topic_name.h"

#define TOPICS_PER_REQUEST_MAX 4096u /* duplicates are found by comparing each with each */
#define RESULT_BYTES 512u /* of one topic without its configs: name, message, id, numbers */
#define CONFIG_BYTES 128u /* of one config of a created topic */
#define ANSWER_BYTES 64u
#define PARTITIONS_PER_TOPIC_MAX 65536u /* greatest value of topic.partitions_max */

enum topics_wait { TOPICS_NOTHING, TOPICS_START };

static bool
start(struct control *control,
      struct control_call *call,
      uint32_t idx,
      enum operation_kind kind,
      const struct topic_record *record)
{
    struct operation_request request = {
        .kind = kind,
        .call = (uint32_t)(call - control->calls),
        .item = idx,
        .record = record,
    };

    if (control__operation_start(control, &request) == CONTROL_NONE)
        return false;
    call->outstanding++;
    return true;
}

/* ---- CreateTopics */

/* True when the assignments name partitions [0, count) once each, in any order, every one with this
 * broker among its replicas. */
static bool
assignments_are_good(const struct control *control, const struct kafka_create_topics_topic *asked)
{
    uint64_t seen[PARTITIONS_PER_TOPIC_MAX / 64] = {0};

    for (uint32_t i = 0; i < asked->assignments.count; i++) {
        const struct kafka_create_topics_assignment *assignment = &asked->assignments.at[i];
        uint32_t partition = (uint32_t)assignment->partition_idx;
        bool here = false;
        if (partition >= asked->assignments.count ||
            (seen[partition / 64] >> partition % 64 & 1) != 0)
            return false;
        seen[partition / 64] |= UINT64_C(1) << partition % 64;
        for (uint32_t b = 0; b < assignment->broker_ids.count && !here; b++)
            here = assignment->broker_ids.at[b] == control->config.node_id;
        if (!here)
            return false;
    }
    return true;
}

/* Partitions asked for, by count, default or assignments; 0 and an error in item when that is not
 * allowed. */
static uint32_t
created_partitions(struct control *control,
                   struct control_call *call,
                   const struct kafka_create_topics_topic *asked,
                   struct control_item *item)
{
    uint32_t max = min_u32(control->config.limits.topic_partitions_max, PARTITIONS_PER_TOPIC_MAX);
    bool assigned = asked->assignments.count > 0;
    uint32_t count = assigned ? asked->assignments.count : (uint32_t)asked->partition_count;
    int16_t error = KAFKA_ERROR_NONE;
    const char *why = NULL;

    if (!assigned && asked->partition_count == -1)
        count = control->config.default_partitions;
    if (assigned && (asked->partition_count != -1 || asked->replication_factor != -1)) {
        error = KAFKA_ERROR_INVALID_REQUEST;
        why = "assignments exclude counts";
    } else if (!assigned && asked->partition_count != -1 && asked->partition_count < 1) {
        error = KAFKA_ERROR_INVALID_PARTITIONS;
        why = "partitions must be at least 1";
    } else if (!assigned && asked->replication_factor != -1 && asked->replication_factor < 1) {
        error = KAFKA_ERROR_INVALID_REPLICATION_FACTOR;
        why = "replication factor must be at least 1";
    } else if (count > max) {
        error = KAFKA_ERROR_INVALID_PARTITIONS;
        why = "topic.partitions_max is exceeded";
    } else if (assigned && !assignments_are_good(control, asked)) {
        error = KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
        why = "assignments must name each partition from 0 on once, with this broker";
    }
    if (error == KAFKA_ERROR_NONE)
        return count;
    control__item_refuse(call, item, error, why);
    return 0;
}

static bool
created_config(struct control_call *call,
               const struct kafka_create_topics_topic *asked,
               struct topic_config *config,
               struct control_item *item)
{
    for (uint32_t i = 0; i < asked->configs.count; i++) {
        struct diag_trail trail;
        diag_trail_clear(&trail);
        if (topic_config_set(
                config, asked->configs.at[i].name, asked->configs.at[i].value, &trail) != RC_OK) {
            control__item_refuse(call, item, KAFKA_ERROR_INVALID_CONFIG, trail.text);
            return false;
        }
    }
    return true;
}

/* The whole check that needs no other topic; the record is complete when it is true. */
static bool
created_record(struct control *control,
               struct control_call *call,
               const struct kafka_create_topics_topic *asked,
               struct control_item *item,
               struct topic_record *record)
{
    *record = (struct topic_record){.kind = TOPIC_RECORD_CREATED};
    if (!topic_name_is_valid(asked->name)) {
        control__item_refuse(call,
                             item,
                             KAFKA_ERROR_INVALID_TOPIC_EXCEPTION,
                             "name must be 1 to 249 of a-z A-Z 0-9 . _ -");
        return false;
    }
    if (control__internal_log_named(control, asked->name) < INTERNAL_LOGS) {
        control__item_refuse(
            call, item, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, "the server makes this topic itself");
        return false;
    }
    record->name_count = (uint8_t)asked->name.count;
    bytes_copy(record->name, sizeof(record->name), asked->name.at, asked->name.count);
    record->partition_count = created_partitions(control, call, asked, item);
    return record->partition_count > 0 && created_config(call, asked, &record->config, item);
}

/* validate_only: what an operation would find, at this moment. */
static void
validate_created(struct control *control,
                 struct control_call *call,
                 const struct topic_record *record,
                 struct control_item *item)
{
    struct bytes name = {(const uint8_t *)record->name, record->name_count};
    const struct topic *found = topic_store_find_colliding(&control->store, name);
    uint32_t free_count = control->store.config.partitions_max - control->store.partition_count;

    if (found != NULL && topic_store_find(&control->store, name) == found)
        control__item_refuse(call, item, KAFKA_ERROR_TOPIC_ALREADY_EXISTS, "topic exists already");
    else if (found != NULL)
        control__item_refuse(call,
                             item,
                             KAFKA_ERROR_INVALID_TOPIC_EXCEPTION,
                             "name collides with an existing topic");
    else if (control->store.topic_count >= control->store.config.topics_max)
        control__item_refuse(call, item, KAFKA_ERROR_POLICY_VIOLATION, "topics_max is reached");
    else if (record->partition_count > free_count)
        control__item_refuse(call, item, KAFKA_ERROR_POLICY_VIOLATION, "partitions_max is reached");
}

static enum rc
create_begin(struct control *control, struct control_call *call)
{
    const struct kafka_create_topics_request *request = call->message;
    struct topic_record record;

    if (!control__items_take(call, request->topics.count) ||
        call->item_count > TOPICS_PER_REQUEST_MAX)
        return RC_LIMIT;
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct kafka_create_topics_topic *asked = &request->topics.at[i];
        struct control_item *item = &call->items[i];
        bool twice = false;
        for (uint32_t other = 0; other < call->item_count && !twice; other++)
            twice = other != i && control__same(asked->name, request->topics.at[other].name);
        item->waits = TOPICS_START;
        if (twice)
            control__item_refuse(call, item, KAFKA_ERROR_INVALID_REQUEST, "topic is named twice");
        else if (created_record(control, call, asked, item, &record) && request->validate_only)
            validate_created(control, call, &record, item);
        if (request->validate_only)
            item->waits = TOPICS_NOTHING;
    }
    return RC_OK;
}

static bool
create_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_create_topics_request *request = call->message;
    struct topic_record record;

    if (call->items[idx].waits != TOPICS_START)
        return true;
    /* Checked when the request began, so it is complete. */
    CHECK(created_record(control, call, &request->topics.at[idx], &call->items[idx], &record));
    return start(control, call, idx, OPERATION_CREATE, &record);
}

static bool
build_configs(struct control *control,
              const struct topic_config *own,
              struct kafka_arena *arena,
              struct kafka_create_topics_result *ret)
{
    struct kafka_create_topics_result_config *configs = kafka_arena_take(
        arena, sizeof(*configs) * TOPIC_CONFIG_COUNT);
    char *texts = kafka_arena_take(arena, (size_t)TOPIC_CONFIG_TEXT_MAX * TOPIC_CONFIG_COUNT);

    if (configs == NULL || texts == NULL)
        return false;
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        enum topic_config_key key = (enum topic_config_key)i;
        enum topic_config_source source = control__config_source(control, own, key);
        const struct topic_config *layer = source == TOPIC_CONFIG_SOURCE_TOPIC
                                               ? own
                                               : &control->config.broker;
        char *text = texts + (size_t)i * TOPIC_CONFIG_TEXT_MAX;
        size_t count = topic_config_text(layer, key, text);
        kafka_create_topics_result_config_defaults(&configs[i]);
        configs[i].name = control__text(topic_config_row(key)->key);
        configs[i].value = (struct bytes){(const uint8_t *)text, count};
        configs[i].source = (int8_t)source;
    }
    ret->configs.at = configs;
    ret->configs.count = TOPIC_CONFIG_COUNT;
    return true;
}

static void *
create_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_create_topics_request *request = call->message;
    struct kafka_create_topics_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_create_topics_result *results = kafka_arena_take(
        arena, sizeof(*results) * (call->item_count + 1));

    if (response == NULL || results == NULL)
        return NULL;
    kafka_create_topics_response_defaults(response);
    response->topics.at = results;
    response->topics.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct control_item *item = &call->items[i];
        struct kafka_create_topics_result *result = &results[i];
        struct control_item scratch = {0};
        struct topic_record record;
        kafka_create_topics_result_defaults(result);
        result->name = request->topics.at[i].name;
        result->error = item->error;
        result->error_message = item->message;
        if (item->error != KAFKA_ERROR_NONE)
            continue;
        /* Described from the request: the topic itself may be gone again by now. */
        CHECK(created_record(control, call, &request->topics.at[i], &scratch, &record));
        bytes_copy(result->topic_id.at, sizeof(result->topic_id.at), item->id, sizeof(item->id));
        result->partition_count = (int32_t)record.partition_count;
        result->replication_factor = 1;
        if (call->header.api_version >= 5 && !build_configs(control, &record.config, arena, result))
            return NULL;
    }
    return response;
}

static uint64_t
create_bound(const struct control_call *call)
{
    uint64_t each = RESULT_BYTES +
                    (call->header.api_version >= 5 ? TOPIC_CONFIG_COUNT * CONFIG_BYTES : 0);

    return ANSWER_BYTES + each * call->item_count;
}

const struct control_api control__api_create_topics = {
    .key = KAFKA_CREATE_TOPICS,
    .begin = create_begin,
    .issue = create_issue,
    .finish = create_finish,
    .reply_bound = create_bound,
};

/* ---- DeleteTopics */

static struct bytes
deleted_name(const struct control_call *call, uint32_t idx)
{
    const struct kafka_delete_topics_request *request = call->message;

    return call->header.api_version >= 6 ? request->topics.at[idx].name : request->names.at[idx];
}

static enum rc
delete_begin(struct control *control, struct control_call *call)
{
    const struct kafka_delete_topics_request *request = call->message;
    bool by_id = call->header.api_version >= 6;

    (void)control;
    if (!control__items_take(call, by_id ? request->topics.count : request->names.count) ||
        call->item_count > TOPICS_PER_REQUEST_MAX)
        return RC_LIMIT;
    for (uint32_t i = 0; i < call->item_count; i++)
        call->items[i].waits = TOPICS_START;
    return RC_OK;
}

static bool
delete_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_delete_topics_request *request = call->message;
    struct control_item *item = &call->items[idx];
    struct bytes name = deleted_name(call, idx);
    struct topic_record record = {.kind = TOPIC_RECORD_DELETED};
    bool by_id = name.at == NULL;
    const struct topic *topic = by_id ? topic_store_find_id(&control->store,
                                                            request->topics.at[idx].topic_id.at)
                                      : topic_store_find(&control->store, name);

    if (topic == NULL || control__visible(control, topic) == 0) {
        control__item_refuse(call,
                             item,
                             by_id ? KAFKA_ERROR_UNKNOWN_TOPIC_ID
                                   : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
                             "no such topic");
        return true;
    }
    if (control__internal_log_owns(control, topic)) {
        control__item_refuse(
            call, item, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, "the server needs this topic");
        return true;
    }
    bytes_copy(record.id, sizeof(record.id), topic->id, sizeof(topic->id));
    record.name_count = topic->name_count;
    bytes_copy(record.name, sizeof(record.name), topic->name, topic->name_count);
    return start(control, call, idx, OPERATION_DELETE, &record);
}

static void *
delete_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_delete_topics_request *request = call->message;
    struct kafka_delete_topics_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_delete_topics_result *results = kafka_arena_take(
        arena, sizeof(*results) * (call->item_count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_delete_topics_response_defaults(response);
    response->topics.at = results;
    response->topics.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct control_item *item = &call->items[i];
        kafka_delete_topics_result_defaults(&results[i]);
        results[i].name = deleted_name(call, i);
        bytes_copy(results[i].topic_id.at, 16, item->id, sizeof(item->id));
        if (results[i].name.at == NULL)
            results[i].topic_id = request->topics.at[i].topic_id;
        results[i].error = item->error;
        results[i].error_message = item->message;
    }
    return response;
}

static uint64_t
plain_bound(const struct control_call *call)
{
    return ANSWER_BYTES + (uint64_t)RESULT_BYTES * call->item_count;
}

const struct control_api control__api_delete_topics = {
    .key = KAFKA_DELETE_TOPICS,
    .begin = delete_begin,
    .issue = delete_issue,
    .finish = delete_finish,
    .reply_bound = plain_bound,
};

/* ---- CreatePartitions */

static void
check_grown(struct control *control,
            struct control_call *call,
            const struct kafka_create_partitions_topic *asked,
            struct control_item *item)
{
    const struct topic *topic = topic_store_find(&control->store, asked->name);
    uint32_t visible = topic != NULL ? control__visible(control, topic) : 0;

    if (visible == 0) {
        control__item_refuse(call, item, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
    } else if (asked->partition_count <= (int32_t)visible) {
        control__item_refuse(call,
                             item,
                             KAFKA_ERROR_INVALID_PARTITIONS,
                             "the new count must be greater than the present one");
    } else if ((uint32_t)asked->partition_count > control->config.limits.topic_partitions_max) {
        control__item_refuse(
            call, item, KAFKA_ERROR_INVALID_PARTITIONS, "topic.partitions_max is exceeded");
    } else if (asked->assignments.at != NULL &&
               asked->assignments.count != (uint32_t)asked->partition_count - visible) {
        control__item_refuse(call,
                             item,
                             KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
                             "there must be one assignment per new partition");
    }
}

static enum rc
grow_begin(struct control *control, struct control_call *call)
{
    const struct kafka_create_partitions_request *request = call->message;

    if (!control__items_take(call, request->topics.count) ||
        call->item_count > TOPICS_PER_REQUEST_MAX)
        return RC_LIMIT;
    for (uint32_t i = 0; i < call->item_count; i++) {
        const struct kafka_create_partitions_topic *asked = &request->topics.at[i];
        struct control_item *item = &call->items[i];
        bool twice = false;
        for (uint32_t other = 0; other < call->item_count && !twice; other++)
            twice = other != i && control__same(asked->name, request->topics.at[other].name);
        item->waits = TOPICS_START;
        if (twice)
            control__item_refuse(call, item, KAFKA_ERROR_INVALID_REQUEST, "topic is named twice");
        else
            check_grown(control, call, asked, item);
        if (request->validate_only)
            item->waits = TOPICS_NOTHING;
    }
    return RC_OK;
}

static bool
grow_issue(struct control *control, struct control_call *call, uint32_t idx)
{
    const struct kafka_create_partitions_request *request = call->message;
    const struct kafka_create_partitions_topic *asked = &request->topics.at[idx];
    struct topic_record record = {
        .kind = TOPIC_RECORD_PARTITIONS,
        .partition_count = (uint32_t)asked->partition_count, /* the new total; the operation makes
                                                                it a difference */
        .name_count = (uint8_t)asked->name.count,
    };

    if (call->items[idx].waits != TOPICS_START)
        return true;
    bytes_copy(record.name, sizeof(record.name), asked->name.at, asked->name.count);
    return start(control, call, idx, OPERATION_GROW, &record);
}

static void *
grow_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_create_partitions_request *request = call->message;
    struct kafka_create_partitions_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_create_partitions_result *results = kafka_arena_take(
        arena, sizeof(*results) * (call->item_count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_create_partitions_response_defaults(response);
    response->topics.at = results;
    response->topics.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        kafka_create_partitions_result_defaults(&results[i]);
        results[i].name = request->topics.at[i].name;
        results[i].error = call->items[i].error;
        results[i].error_message = call->items[i].message;
    }
    return response;
}

const struct control_api control__api_create_partitions = {
    .key = KAFKA_CREATE_PARTITIONS,
    .begin = grow_begin,
    .issue = grow_issue,
    .finish = grow_finish,
    .reply_bound = plain_bound,
};
