/* AlterConfigs (33) and IncrementalAlterConfigs (44): one operation per topic, or for the broker's
 * settings (broker_settings.c). A request's own faults (resources or keys named twice, resources
 * that have no such settings) are found when it begins; what a topic's overrides become is decided
 * by the operation, when the topic is its own, so that of two changes neither undoes the other.
 *
 * Every operation here has the same result when it is done twice, so an answer without room is
 * simply asked for again. */
#include "engine/control/control_internal.h"

#define RESOURCES_PER_REQUEST_MAX 4096u /* duplicates are found by comparing each with each */
#define KEYS_PER_RESOURCE_MAX 256u
#define LIST_TEXT_MAX 256u

enum { ALTER_SET = 0, ALTER_DELETE = 1, ALTER_APPEND = 2, ALTER_SUBTRACT = 3 };
enum alter_wait { ALTER_NOTHING, ALTER_START };

/* One resource and one of its entries, of either request. */
struct resource {
    int8_t type;
    struct bytes name;
    uint32_t count;
};

struct entry {
    struct bytes key;
    struct bytes value;
    int8_t operation;
};

static bool
is_incremental(const struct control_call *call)
{
    return call->header.api_key == KAFKA_INCREMENTAL_ALTER_CONFIGS;
}

static struct resource
resource_at(const struct control_call *call, uint32_t idx)
{
    if (is_incremental(call)) {
        const struct kafka_incremental_alter_configs_request *request = call->message;
        const struct kafka_incremental_alter_configs_request_resource *at =
            &request->resources.at[idx];
        return (struct resource){at->resource_type, at->resource_name, at->configs.count};
    }
    const struct kafka_alter_configs_request *request = call->message;
    const struct kafka_alter_configs_resource *at = &request->resources.at[idx];
    return (struct resource){at->resource_type, at->resource_name, at->configs.count};
}

static struct entry
entry_at(const struct control_call *call, uint32_t idx, uint32_t entry)
{
    if (is_incremental(call)) {
        const struct kafka_incremental_alter_configs_request *request = call->message;
        const struct kafka_incremental_alter_configs_request_alterable_config *at =
            &request->resources.at[idx].configs.at[entry];
        return (struct entry){at->name, at->value, at->config_operation};
    }
    const struct kafka_alter_configs_request *request = call->message;
    const struct kafka_alter_configs_request_alterable_config *at =
        &request->resources.at[idx].configs.at[entry];
    return (struct entry){at->name, at->value, ALTER_SET};
}

/* ---- lists: "a,b,c" */

struct list {
    uint32_t count;
    bool too_long;
    uint8_t at[LIST_TEXT_MAX];
};

/* Takes the first part off; false: there is none. */
static bool
list_next(struct bytes *rest, struct bytes *ret_part)
{
    if (rest->count == 0)
        return false;
    const uint8_t *comma = memchr(rest->at, ',', rest->count);
    size_t count = comma != NULL ? (size_t)(comma - rest->at) : rest->count;
    size_t used = comma != NULL ? count + 1 : count;
    *ret_part = (struct bytes){rest->at, count};
    *rest = (struct bytes){rest->at + used, rest->count - used};
    return true;
}

static bool
list_has(struct bytes list, struct bytes wanted)
{
    struct bytes part;

    while (list_next(&list, &part)) {
        if (control__same(part, wanted))
            return true;
    }
    return false;
}

static void
list_add(struct list *list, struct bytes part)
{
    size_t comma = list->count > 0 ? 1 : 0;

    if (part.count + comma > LIST_TEXT_MAX - list->count) {
        list->too_long = true;
        return;
    }
    if (comma > 0)
        list->at[list->count++] = ',';
    bytes_copy(list->at + list->count, LIST_TEXT_MAX - list->count, part.at, part.count);
    list->count += (uint32_t)part.count;
}

/* What the effective list becomes. */
static void
list_alter(const struct entry *entry, struct bytes present, struct list *list)
{
    struct bytes added = entry->value;
    struct bytes part;

    while (list_next(&present, &part)) {
        if (entry->operation == ALTER_APPEND || !list_has(entry->value, part))
            list_add(list, part);
    }
    while (entry->operation == ALTER_APPEND && list_next(&added, &part)) {
        if (!list_has((struct bytes){list->at, list->count}, part))
            list_add(list, part);
    }
}

/* ---- what becomes of a topic's overrides */

static enum rc
alter_list(const struct control *control,
           const struct entry *entry,
           enum topic_config_key key,
           struct topic_config *config,
           struct diag_trail *trail)
{
    const struct topic_config *broker = &control->config.broker;
    struct bytes name = key < TOPIC_CONFIG_COUNT ? control__text(topic_config_row(key)->key)
                                                 : entry->key;
    char text[TOPIC_CONFIG_TEXT_MAX];
    struct list list = {.count = 0};

    if (key == TOPIC_CONFIG_COUNT)
        return topic_config_set(config, name, entry->value, trail); /* says so */
    if (topic_config_row(key)->type != TOPIC_CONFIG_TYPE_LIST) {
        diag_trail_add(trail, "%s is not a list", topic_config_row(key)->key);
        return RC_INVALID;
    }
    const struct topic_config *layer = topic_config_source(config, broker, key) ==
                                               TOPIC_CONFIG_SOURCE_TOPIC
                                           ? config
                                           : broker;
    size_t count = topic_config_text(layer, key, text);
    list_alter(entry, (struct bytes){(const uint8_t *)text, count}, &list);
    if (list.too_long) {
        diag_trail_add(trail, "%s would be too long", topic_config_row(key)->key);
        return RC_INVALID;
    }
    return topic_config_set(config, name, (struct bytes){list.at, list.count}, trail);
}

int16_t
control__altered_config(const struct control *control,
                        const struct control_call *call,
                        uint32_t item,
                        struct topic_config *config,
                        struct diag_trail *trail)
{
    struct resource resource = resource_at(call, item);
    enum rc rc = RC_OK;

    if (!is_incremental(call))
        *config = (struct topic_config){0}; /* what is not named goes back to its default */
    for (uint32_t i = 0; i < resource.count && rc == RC_OK; i++) {
        struct entry entry = entry_at(call, item, i);
        if (entry.operation == ALTER_DELETE)
            rc = topic_config_set(config, entry.key, (struct bytes){NULL, 0}, trail);
        else if (entry.operation == ALTER_SET)
            rc = topic_config_set(config, entry.key, entry.value, trail);
        else
            rc = alter_list(control, &entry, topic_config_find(entry.key), config, trail);
    }
    return rc == RC_OK ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_CONFIG;
}

/* ---- what becomes of the broker's settings */

static enum rc
alter_broker(const struct control *control,
             const struct entry *entry,
             struct broker_config *config,
             struct diag_trail *trail)
{
    uint32_t key = broker_config_find(entry->key);

    if (entry->operation == ALTER_DELETE)
        return broker_config_set(config, entry->key, (struct bytes){NULL, 0}, trail);
    if (entry->operation == ALTER_SET || key == BROKER_CONFIG_COUNT)
        return broker_config_set(config, entry->key, entry->value, trail);
    if (key < TOPIC_CONFIG_COUNT)
        return alter_list(control, entry, (enum topic_config_key)key, &config->topics, trail);
    diag_trail_add(trail, "%s is not a list", broker_config_row(key).key);
    return RC_INVALID;
}

int16_t
control__altered_broker(const struct control *control,
                        const struct control_call *call,
                        uint32_t item,
                        struct topic_record *record,
                        struct diag_trail *trail)
{
    struct resource resource = resource_at(call, item);
    bool own = resource.name.count > 0;
    enum rc rc = RC_OK;

    record->broker_id = own ? (uint32_t)control->config.node_id : TOPIC_RECORD_ALL_BROKERS;
    record->broker = *control__broker_layer(control, own);
    if (!is_incremental(call))
        record->broker = (struct broker_config){0};
    for (uint32_t i = 0; i < resource.count && rc == RC_OK; i++) {
        struct entry entry = entry_at(call, item, i);
        rc = alter_broker(control, &entry, &record->broker, trail);
    }
    if (rc != RC_OK)
        return rc == RC_UNSUPPORTED ? KAFKA_ERROR_INVALID_REQUEST : KAFKA_ERROR_INVALID_CONFIG;
    const struct broker_config *brokers = own ? control__broker_layer(control, false)
                                              : &record->broker;
    const struct broker_config *ours = own ? &record->broker : control__broker_layer(control, true);
    if (control__broker_number(control, brokers, ours, BROKER_CONFIG_GROUP_SESSION_MIN_MS) <=
        control__broker_number(control, brokers, ours, BROKER_CONFIG_GROUP_SESSION_MAX_MS))
        return KAFKA_ERROR_NONE;
    diag_trail_add(trail,
                   "group.min.session.timeout.ms would be above group.max.session.timeout.ms");
    return KAFKA_ERROR_INVALID_CONFIG;
}

/* ---- what a request may ask */

static bool
is_named_twice(const struct control_call *call, uint32_t idx)
{
    struct resource resource = resource_at(call, idx);

    for (uint32_t i = 0; i < call->item_count; i++) {
        struct resource other = resource_at(call, i);
        if (i != idx && other.type == resource.type && control__same(other.name, resource.name))
            return true;
    }
    return false;
}

/* Writes why the entry cannot be meant; true: nothing is wrong with it. */
static bool
entry_is_good(const struct control_call *call,
              uint32_t idx,
              uint32_t entry_idx,
              struct diag_trail *trail)
{
    struct entry entry = entry_at(call, idx, entry_idx);
    int key_count = (int)min_u64(entry.key.count, 100);
    const char *key = entry.key.at != NULL ? (const char *)entry.key.at : "";

    for (uint32_t i = 0; i < entry_idx; i++) {
        if (!control__same(entry_at(call, idx, i).key, entry.key))
            continue;
        diag_trail_add(trail, "%.*s is named twice", key_count, key);
        return false;
    }
    if (entry.operation < ALTER_SET || entry.operation > ALTER_SUBTRACT) {
        diag_trail_add(trail, "%.*s: no such operation", key_count, key);
        return false;
    }
    if (entry.operation != ALTER_DELETE && entry.value.at == NULL) {
        diag_trail_add(trail, "%.*s: a value is missing", key_count, key);
        return false;
    }
    return true;
}

static void
check_resource(const struct control *control, struct control_call *call, uint32_t idx)
{
    struct resource resource = resource_at(call, idx);
    struct control_item *item = &call->items[idx];
    struct diag_trail trail;
    bool good = true;

    diag_trail_clear(&trail);
    item->waits = ALTER_START;
    if (is_named_twice(call, idx)) {
        control__item_refuse(call, item, KAFKA_ERROR_INVALID_REQUEST, "resource is named twice");
        return;
    }
    bool is_broker = resource.type == CONTROL_RESOURCE_BROKER;
    if (!is_broker && resource.type != CONTROL_RESOURCE_TOPIC) {
        control__item_refuse(call,
                             item,
                             KAFKA_ERROR_INVALID_REQUEST,
                             "only topics and brokers have settings to alter");
        return;
    }
    if (is_broker && resource.name.count > 0 &&
        !control__names_this_broker(control, resource.name)) {
        control__item_refuse(
            call, item, KAFKA_ERROR_INVALID_REQUEST, "there is no broker of that id here");
        return;
    }
    if (resource.count > KEYS_PER_RESOURCE_MAX) {
        control__item_refuse(call, item, KAFKA_ERROR_INVALID_REQUEST, "too many settings");
        return;
    }
    for (uint32_t i = 0; i < resource.count && good; i++)
        good = entry_is_good(call, idx, i, &trail);
    if (!good)
        control__item_refuse(call, item, KAFKA_ERROR_INVALID_REQUEST, trail.text);
}

static uint32_t
resource_count(const struct control_call *call)
{
    if (is_incremental(call))
        return ((const struct kafka_incremental_alter_configs_request *)call->message)
            ->resources.count;
    return ((const struct kafka_alter_configs_request *)call->message)->resources.count;
}

static bool
is_validate_only(const struct control_call *call)
{
    if (is_incremental(call))
        return ((const struct kafka_incremental_alter_configs_request *)call->message)
            ->validate_only;
    return ((const struct kafka_alter_configs_request *)call->message)->validate_only;
}

static enum rc
begin(struct control *control, struct control_call *call)
{
    uint32_t count = resource_count(call);

    if (count > RESOURCES_PER_REQUEST_MAX || !control__items_take(call, count))
        return RC_LIMIT;
    for (uint32_t i = 0; i < count; i++)
        check_resource(control, call, i);
    return RC_OK;
}

/* validate_only: what an operation would find, at this moment. */
static void
validate(struct control *control,
         struct control_call *call,
         uint32_t idx,
         const struct topic *topic)
{
    struct topic_config config = topic->config;
    struct diag_trail trail;

    diag_trail_clear(&trail);
    int16_t error = control__altered_config(control, call, idx, &config, &trail);
    if (error != KAFKA_ERROR_NONE)
        control__item_refuse(call, &call->items[idx], error, trail.text);
    call->items[idx].waits = ALTER_NOTHING;
}

static bool
issue_broker(struct control *control, struct control_call *call, uint32_t idx)
{
    struct topic_record record = {.kind = TOPIC_RECORD_BROKER};
    struct operation_request request = {
        .kind = OPERATION_BROKER,
        .call = (uint32_t)(call - control->calls),
        .item = idx,
        .record = &record,
    };
    struct diag_trail trail;

    if (!is_validate_only(call)) {
        if (control__operation_start(control, &request) == CONTROL_NONE)
            return false;
        call->outstanding++;
        return true;
    }
    diag_trail_clear(&trail);
    int16_t error = control__altered_broker(control, call, idx, &record, &trail);
    if (error != KAFKA_ERROR_NONE)
        control__item_refuse(call, &call->items[idx], error, trail.text);
    call->items[idx].waits = ALTER_NOTHING;
    return true;
}

static bool
issue(struct control *control, struct control_call *call, uint32_t idx)
{
    struct control_item *item = &call->items[idx];
    struct resource resource = resource_at(call, idx);
    const struct topic *topic = topic_store_find(&control->store, resource.name);
    struct topic_record record = {.kind = TOPIC_RECORD_CONFIG};
    struct operation_request request = {
        .kind = OPERATION_CONFIGURE,
        .call = (uint32_t)(call - control->calls),
        .item = idx,
        .record = &record,
    };

    if (item->waits != ALTER_START)
        return true;
    if (resource.type == CONTROL_RESOURCE_BROKER)
        return issue_broker(control, call, idx);
    if (topic == NULL || control__visible(control, topic) == 0) {
        control__item_refuse(call, item, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
        return true;
    }
    if (control__internal_log_owns(control, topic)) {
        control__item_refuse(
            call, item, KAFKA_ERROR_POLICY_VIOLATION, "the settings of this topic are its own");
        return true;
    }
    if (is_validate_only(call)) {
        validate(control, call, idx, topic);
        return true;
    }
    record.name_count = topic->name_count;
    bytes_copy(record.name, sizeof(record.name), topic->name, topic->name_count);
    if (control__operation_start(control, &request) == CONTROL_NONE)
        return false;
    call->outstanding++;
    return true;
}

/* ---- answers */

static void *
incremental_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_incremental_alter_configs_response *response = kafka_arena_take(arena,
                                                                                 sizeof(*response));
    struct kafka_incremental_alter_configs_response_resource_response *results = kafka_arena_take(
        arena, sizeof(*results) * (call->item_count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_incremental_alter_configs_response_defaults(response);
    response->responses.at = results;
    response->responses.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct resource resource = resource_at(call, i);
        kafka_incremental_alter_configs_response_resource_response_defaults(&results[i]);
        results[i].resource_type = resource.type;
        results[i].resource_name = resource.name;
        results[i].error = call->items[i].error;
        results[i].error_message = call->items[i].message;
    }
    return response;
}

static void *
alter_finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    struct kafka_alter_configs_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_alter_configs_resource_response *results = kafka_arena_take(
        arena, sizeof(*results) * (call->item_count + 1));

    (void)control;
    if (response == NULL || results == NULL)
        return NULL;
    kafka_alter_configs_response_defaults(response);
    response->responses.at = results;
    response->responses.count = call->item_count;
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct resource resource = resource_at(call, i);
        kafka_alter_configs_resource_response_defaults(&results[i]);
        results[i].resource_type = resource.type;
        results[i].resource_name = resource.name;
        results[i].error = call->items[i].error;
        results[i].error_message = call->items[i].message;
    }
    return response;
}

const struct control_api control__api_incremental_alter_configs = {
    .key = KAFKA_INCREMENTAL_ALTER_CONFIGS,
    .begin = begin,
    .issue = issue,
    .finish = incremental_finish,
};

const struct control_api control__api_alter_configs = {
    .key = KAFKA_ALTER_CONFIGS,
    .begin = begin,
    .issue = issue,
    .finish = alter_finish,
};
