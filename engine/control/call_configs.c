/* DescribeConfigs (32) of topics and of this broker. */
#include "engine/control/control_internal.h"

static bool
is_asked(const struct kafka_describe_configs_resource *resource, const char *key)
{
    size_t count = strlen(key);

    if (resource->keys.at == NULL)
        return true;
    for (uint32_t i = 0; i < resource->keys.count; i++) {
        if (resource->keys.at[i].count == count && memcmp(resource->keys.at[i].at, key, count) == 0)
            return true;
    }
    return false;
}

/* The text of one layer in the answer's memory. */
static bool
layer_text(const struct topic_config *layer,
           enum topic_config_key key,
           struct kafka_arena *arena,
           struct bytes *ret)
{
    char *text = kafka_arena_take(arena, TOPIC_CONFIG_TEXT_MAX);

    if (text == NULL)
        return false;
    ret->count = topic_config_text(layer, key, text);
    ret->at = (const uint8_t *)text;
    return true;
}

/* What the entries of one topic are built from. */
struct describing {
    const struct control *control;
    const struct kafka_describe_configs_request *request;
    const struct topic_config *own;
    struct kafka_arena *arena;
};

/* The layers from the effective one down to the default, as clients show them. */
static bool
build_synonyms(const struct describing *describing,
               enum topic_config_key key,
               struct kafka_describe_configs_entry *entry)
{
    struct kafka_describe_configs_synonym *synonyms = kafka_arena_take(describing->arena,
                                                                       sizeof(*synonyms) * 3);
    const struct {
        const struct topic_config *layer;
        enum topic_config_source source;
    } layers[] = {
        {describing->own, TOPIC_CONFIG_SOURCE_TOPIC},
        {&describing->control->config.broker, TOPIC_CONFIG_SOURCE_BROKER},
        {NULL, TOPIC_CONFIG_SOURCE_DEFAULT},
    };
    uint32_t count = 0;

    if (synonyms == NULL)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(layers); i++) {
        if (layers[i].layer != NULL && (layers[i].layer->set >> key & 1) == 0)
            continue;
        kafka_describe_configs_synonym_defaults(&synonyms[count]);
        synonyms[count].name = control__text(topic_config_row(key)->key);
        synonyms[count].source = (int8_t)layers[i].source;
        if (!layer_text(layers[i].layer, key, describing->arena, &synonyms[count].value))
            return false;
        count++;
    }
    entry->synonyms.at = synonyms;
    entry->synonyms.count = count;
    return true;
}

static bool
build_topic_entry(const struct describing *describing,
                  enum topic_config_key key,
                  struct kafka_describe_configs_entry *entry)
{
    const struct topic_config_row *row = topic_config_row(key);
    const struct topic_config *broker = &describing->control->config.broker;
    enum topic_config_source source = topic_config_source(describing->own, broker, key);
    const struct topic_config *layer = source == TOPIC_CONFIG_SOURCE_TOPIC ? describing->own
                                                                           : broker;

    kafka_describe_configs_entry_defaults(entry);
    entry->name = control__text(row->key);
    entry->read_only = false;
    entry->source = (int8_t)source;
    entry->type = (int8_t)row->type;
    if (describing->request->include_documentation)
        entry->documentation = control__text(row->sentence);
    if (!layer_text(layer, key, describing->arena, &entry->value))
        return false;
    return !describing->request->include_synonyms || build_synonyms(describing, key, entry);
}

static bool
build_topic(const struct control *control,
            const struct control_call *call,
            const struct kafka_describe_configs_resource *resource,
            struct kafka_arena *arena,
            struct kafka_describe_configs_result *result)
{
    const struct topic *topic = topic_store_find(&control->store, resource->name);
    struct kafka_describe_configs_entry *entries;

    if (topic == NULL || control__visible(control, topic) == 0) {
        result->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        result->error_message = control__text("no such topic");
        return true;
    }
    struct describing describing = {control, call->message, &topic->config, arena};
    entries = kafka_arena_take(arena, sizeof(*entries) * TOPIC_CONFIG_COUNT);
    if (entries == NULL)
        return false;
    result->configs.at = entries;
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        enum topic_config_key key = (enum topic_config_key)i;
        if (!is_asked(resource, topic_config_row(key)->key))
            continue;
        if (!build_topic_entry(&describing, key, &entries[result->configs.count]))
            return false;
        result->configs.count++;
    }
    return true;
}

/* The broker's id in decimal, as clients name it; "" is the cluster-wide default, which has no
 * entries. */
static bool
names_this_broker(const struct control *control, struct bytes name)
{
    int64_t id = 0;

    if (name.count == 0 || name.count > 10)
        return false;
    for (size_t i = 0; i < name.count; i++) {
        if (name.at[i] < '0' || name.at[i] > '9')
            return false;
        id = id * 10 + (name.at[i] - '0');
    }
    return id == control->config.node_id;
}

static bool
build_broker(const struct control *control,
             const struct control_call *call,
             const struct kafka_describe_configs_resource *resource,
             struct kafka_arena *arena,
             struct kafka_describe_configs_result *result)
{
    const struct kafka_describe_configs_request *request = call->message;
    struct kafka_describe_configs_entry *entries = kafka_arena_take(
        arena, sizeof(*entries) * (control->config.config_count + 1));

    if (entries == NULL)
        return false;
    result->configs.at = entries;
    if (resource->name.count == 0)
        return true;
    if (!names_this_broker(control, resource->name)) {
        result->error = KAFKA_ERROR_INVALID_REQUEST;
        result->error_message = control__text("only this broker can be described");
        return true;
    }
    for (uint32_t i = 0; i < control->config.config_count; i++) {
        const struct control_broker_config *config = &control->config.configs[i];
        struct kafka_describe_configs_entry *entry = &entries[result->configs.count];
        struct kafka_describe_configs_synonym *synonym;
        if (!is_asked(resource, config->key))
            continue;
        kafka_describe_configs_entry_defaults(entry);
        entry->name = control__text(config->key);
        entry->value = control__text(config->value);
        entry->read_only = true;
        entry->source = config->is_default ? TOPIC_CONFIG_SOURCE_DEFAULT
                                           : TOPIC_CONFIG_SOURCE_BROKER;
        entry->type = (int8_t)config->type;
        if (request->include_documentation)
            entry->documentation = control__text(config->sentence);
        result->configs.count++;
        if (!request->include_synonyms)
            continue;
        synonym = kafka_arena_take(arena, sizeof(*synonym));
        if (synonym == NULL)
            return false;
        *synonym = (struct kafka_describe_configs_synonym){
            .name = entry->name, .value = entry->value, .source = entry->source};
        entry->synonyms.at = synonym;
        entry->synonyms.count = 1;
    }
    return true;
}

static enum rc
begin(struct control *control, struct control_call *call)
{
    (void)control;
    (void)call;
    return RC_OK;
}

static void *
finish(struct control *control, struct control_call *call, struct kafka_arena *arena)
{
    const struct kafka_describe_configs_request *request = call->message;
    struct kafka_describe_configs_response *response = kafka_arena_take(arena, sizeof(*response));
    struct kafka_describe_configs_result *results = kafka_arena_take(
        arena, sizeof(*results) * (request->resources.count + 1));
    bool built = results != NULL;

    if (!built)
        return NULL;
    kafka_describe_configs_response_defaults(response);
    response->results.at = results;
    response->results.count = request->resources.count;
    for (uint32_t i = 0; i < request->resources.count && built; i++) {
        const struct kafka_describe_configs_resource *resource = &request->resources.at[i];
        kafka_describe_configs_result_defaults(&results[i]);
        results[i].type = resource->type;
        results[i].name = resource->name;
        results[i].configs.at = (const void *)results; /* empty, not null */
        if (resource->type == CONTROL_RESOURCE_TOPIC) {
            built = build_topic(control, call, resource, arena, &results[i]);
        } else if (resource->type == CONTROL_RESOURCE_BROKER) {
            built = build_broker(control, call, resource, arena, &results[i]);
        } else {
            results[i].error = KAFKA_ERROR_INVALID_REQUEST;
            results[i].error_message = control__text("only topics and brokers have configs");
        }
    }
    return built ? response : NULL;
}

const struct control_api control__api_describe_configs = {
    .key = KAFKA_DESCRIBE_CONFIGS,
    .begin = begin,
    .finish = finish,
};
