/* DescribeConfigs (32) of topics and of the broker. Each value is shown with all that it could come
 * from, nearest first, as Kafka's tools expect: a topic's own, what was set for this broker at run
 * time, for all brokers, what the server was started with, the preset. Below the topic the names
 * are the broker's (retention.ms comes from log.retention.ms).
 *
 * The entity "" of brokers shows what was set for all of them, and nothing else. */
#include "engine/control/control_internal.h"

#define LAYERS_MAX 5u

static bool
is_asked(const struct kafka_describe_configs_resource *resource, const char *key)
{
    size_t count = strlen(key);

    if (resource->keys.count == 0) /* null or empty: all */
        return true;
    for (uint32_t i = 0; i < resource->keys.count; i++) {
        if (resource->keys.at[i].count == count && memcmp(resource->keys.at[i].at, key, count) == 0)
            return true;
    }
    return false;
}

/* What the entries of one resource are built from. */
struct describing {
    const struct control *control;
    const struct kafka_describe_configs_request *request;
    const struct kafka_describe_configs_resource *resource;
    const struct topic_config *topic; /* NULL: the broker is described */
    bool is_all;                      /* all brokers are */
    struct kafka_arena *arena;
};

/* The layers of one value, nearest first. */
struct layers {
    struct kafka_describe_configs_synonym *at; /* [LAYERS_MAX] */
    uint32_t count;
    bool failed; /* the arena is full */
};

/* Room for one more text. */
static char *
layer_text(const struct describing *describing, struct layers *layers)
{
    char *text = layers->failed ? NULL : kafka_arena_take(describing->arena, TOPIC_CONFIG_TEXT_MAX);

    layers->failed = text == NULL;
    return text;
}

static void
layer_add(struct layers *layers, const char *name, struct bytes value, int8_t source)
{
    struct kafka_describe_configs_synonym *layer = &layers->at[layers->count++];

    CHECK(layers->count <= LAYERS_MAX);
    kafka_describe_configs_synonym_defaults(layer);
    layer->name = control__text(name);
    layer->value = value;
    layer->source = source;
}

/* config NULL: the preset; else only where it has the key. */
static void
layer_topic(const struct describing *describing,
            struct layers *layers,
            enum topic_config_key key,
            const struct topic_config *config,
            enum topic_config_source source)
{
    const char *name = source == TOPIC_CONFIG_SOURCE_TOPIC ? NULL : broker_config_row(key).key;

    if (config != NULL && (config->set >> key & 1) == 0)
        return;
    char *text = layer_text(describing, layers);
    if (text == NULL)
        return;
    size_t count = topic_config_text(config, key, text);
    layer_add(layers,
              name != NULL ? name : topic_config_row(key)->key,
              (struct bytes){(const uint8_t *)text, count},
              (int8_t)source);
}

static void
layer_number(const struct describing *describing,
             struct layers *layers,
             enum broker_config_number number,
             int64_t value,
             enum topic_config_source source)
{
    char *text = layer_text(describing, layers);

    if (text == NULL)
        return;
    size_t count = topic_config_format_number(value, text);
    layer_add(layers,
              broker_config_row(TOPIC_CONFIG_COUNT + (uint32_t)number).key,
              (struct bytes){(const uint8_t *)text, count},
              (int8_t)source);
}

static void
layers_of_topic(const struct describing *describing,
                struct layers *layers,
                enum topic_config_key key)
{
    const struct control *control = describing->control;
    const struct topic_config *own = &control__broker_layer(control, true)->topics;
    const struct topic_config *all = &control__broker_layer(control, false)->topics;

    if (describing->topic != NULL)
        layer_topic(describing, layers, key, describing->topic, TOPIC_CONFIG_SOURCE_TOPIC);
    if (!describing->is_all)
        layer_topic(describing, layers, key, own, TOPIC_CONFIG_SOURCE_BROKER_OWN);
    layer_topic(describing, layers, key, all, TOPIC_CONFIG_SOURCE_BROKERS);
    layer_topic(describing, layers, key, &control->start_topics, TOPIC_CONFIG_SOURCE_BROKER);
    layer_topic(describing, layers, key, NULL, TOPIC_CONFIG_SOURCE_DEFAULT);
}

static void
layers_of_number(const struct describing *describing,
                 struct layers *layers,
                 enum broker_config_number number)
{
    const struct control *control = describing->control;
    const struct broker_config *own = control__broker_layer(control, true);
    const struct broker_config *all = control__broker_layer(control, false);
    int64_t start = control->start_numbers[number];
    int64_t preset = control->config.number_presets[number];

    if (!describing->is_all && (own->set >> number & 1) != 0)
        layer_number(
            describing, layers, number, own->numbers[number], TOPIC_CONFIG_SOURCE_BROKER_OWN);
    if ((all->set >> number & 1) != 0)
        layer_number(describing, layers, number, all->numbers[number], TOPIC_CONFIG_SOURCE_BROKERS);
    if (start != preset)
        layer_number(describing, layers, number, start, TOPIC_CONFIG_SOURCE_BROKER);
    layer_number(describing, layers, number, preset, TOPIC_CONFIG_SOURCE_DEFAULT);
}

/* Adds the entry of a key of broker_config.h. False: the arena is full. */
static bool
build_entry(const struct describing *describing,
            uint32_t key,
            struct kafka_describe_configs_entry *entry)
{
    struct layers layers = {
        .at = kafka_arena_take(describing->arena, sizeof(*layers.at) * LAYERS_MAX)};
    struct broker_config_row row = broker_config_row(key);
    bool is_topic = key < TOPIC_CONFIG_COUNT;

    if (layers.at == NULL)
        return false;
    if (is_topic)
        layers_of_topic(describing, &layers, (enum topic_config_key)key);
    else
        layers_of_number(
            describing, &layers, (enum broker_config_number)(key - TOPIC_CONFIG_COUNT));
    if (layers.failed)
        return false;
    CHECK(layers.count > 0);
    kafka_describe_configs_entry_defaults(entry);
    entry->name = control__text(
        describing->topic != NULL ? topic_config_row((enum topic_config_key)key)->key : row.key);
    entry->value = layers.at[0].value;
    entry->source = layers.at[0].source;
    entry->read_only = false;
    entry->type = (int8_t)row.type;
    if (describing->request->include_documentation)
        entry->documentation = control__text(row.sentence);
    if (describing->request->include_synonyms) {
        entry->synonyms.at = layers.at;
        entry->synonyms.count = layers.count;
    }
    return true;
}

static bool
build_topic(struct describing *describing, struct kafka_describe_configs_result *result)
{
    const struct control *control = describing->control;
    const struct topic *topic = topic_store_find(&control->store, describing->resource->name);
    struct kafka_describe_configs_entry *entries;

    if (topic == NULL || control__visible(control, topic) == 0) {
        result->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        result->error_message = control__text("no such topic");
        return true;
    }
    describing->topic = &topic->config;
    entries = kafka_arena_take(describing->arena, sizeof(*entries) * TOPIC_CONFIG_COUNT);
    if (entries == NULL)
        return false;
    result->configs.at = entries;
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        if (!is_asked(describing->resource, topic_config_row((enum topic_config_key)i)->key))
            continue;
        if (!build_entry(describing, i, &entries[result->configs.count]))
            return false;
        result->configs.count++;
    }
    return true;
}

bool
control__names_this_broker(const struct control *control, struct bytes name)
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

/* What the server was started with and keeps until a restart. */
static bool
build_fixed(const struct describing *describing,
            const struct control_broker_config *config,
            struct kafka_describe_configs_entry *entry)
{
    struct kafka_describe_configs_synonym *synonym = kafka_arena_take(describing->arena,
                                                                      sizeof(*synonym));

    if (synonym == NULL)
        return false;
    kafka_describe_configs_entry_defaults(entry);
    entry->name = control__text(config->key);
    entry->value = control__text(config->value);
    entry->read_only = true;
    entry->source = config->is_default ? TOPIC_CONFIG_SOURCE_DEFAULT : TOPIC_CONFIG_SOURCE_BROKER;
    entry->type = (int8_t)config->type;
    if (describing->request->include_documentation)
        entry->documentation = control__text(config->sentence);
    if (!describing->request->include_synonyms)
        return true;
    *synonym = (struct kafka_describe_configs_synonym){
        .name = entry->name, .value = entry->value, .source = entry->source};
    entry->synonyms.at = synonym;
    entry->synonyms.count = 1;
    return true;
}

/* Of all brokers: what was set for them at run time. */
static bool
is_shown(const struct describing *describing, uint32_t key)
{
    const char *name = broker_config_row(key).key;

    if (name == NULL || !is_asked(describing->resource, name))
        return false;
    return !describing->is_all ||
           broker_config_has(control__broker_layer(describing->control, false), key);
}

static bool
build_broker(struct describing *describing, struct kafka_describe_configs_result *result)
{
    const struct control *control = describing->control;
    bool all = describing->is_all;
    struct kafka_describe_configs_entry *entries = kafka_arena_take(
        describing->arena, sizeof(*entries) * (control->config.config_count + BROKER_CONFIG_COUNT));

    if (entries == NULL)
        return false;
    result->configs.at = entries;
    if (!all && !control__names_this_broker(control, describing->resource->name)) {
        result->error = KAFKA_ERROR_INVALID_REQUEST;
        result->error_message = control__text("only this broker can be described");
        return true;
    }
    for (uint32_t i = 0; i < BROKER_CONFIG_COUNT; i++) {
        struct kafka_describe_configs_entry *entry = &entries[result->configs.count];
        if (!is_shown(describing, i))
            continue;
        if (!build_entry(describing, i, entry))
            return false;
        result->configs.count++;
    }
    for (uint32_t i = 0; i < control->config.config_count && !all; i++) {
        const struct control_broker_config *config = &control->config.configs[i];
        if (!is_asked(describing->resource, config->key))
            continue;
        if (!build_fixed(describing, config, &entries[result->configs.count]))
            return false;
        result->configs.count++;
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
        struct describing describing = {
            .control = control,
            .request = request,
            .resource = &request->resources.at[i],
            .is_all = request->resources.at[i].type == CONTROL_RESOURCE_BROKER &&
                      request->resources.at[i].name.count == 0,
            .arena = arena,
        };
        kafka_describe_configs_result_defaults(&results[i]);
        results[i].type = describing.resource->type;
        results[i].name = describing.resource->name;
        results[i].configs.at = (const void *)results; /* empty, not null */
        if (describing.resource->type == CONTROL_RESOURCE_TOPIC) {
            built = build_topic(&describing, &results[i]);
        } else if (describing.resource->type == CONTROL_RESOURCE_BROKER) {
            built = build_broker(&describing, &results[i]);
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
