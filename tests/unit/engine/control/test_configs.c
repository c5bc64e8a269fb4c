/* Goal: DescribeConfigs tells each effective value with its source, and only what was asked for.
 * Method: unknown resources first; then a topic with overrides below a broker with overrides. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

static const struct kafka_describe_configs_entry *
entry_of(const struct kafka_describe_configs_result *result, const char *key)
{
    for (uint32_t i = 0; i < result->configs.count; i++) {
        const struct kafka_describe_configs_entry *entry = &result->configs.at[i];
        if (entry->name.count == strlen(key) && memcmp(entry->name.at, key, strlen(key)) == 0)
            return entry;
    }
    return NULL;
}

static void
describe(struct fixture *fixture,
         int8_t type,
         const char *name,
         const struct kafka_string_list *keys,
         struct kafka_describe_configs_response *response)
{
    struct kafka_describe_configs_resource resource;
    struct kafka_describe_configs_request request;

    kafka_describe_configs_resource_defaults(&resource);
    kafka_describe_configs_request_defaults(&request);
    resource.type = type;
    resource.name = fixture_text(name);
    if (keys != NULL)
        resource.keys = *keys;
    request.resources.at = &resource;
    request.resources.count = 1;
    request.include_synonyms = true;
    request.include_documentation = true;
    fixture_ask(fixture, KAFKA_DESCRIBE_CONFIGS, 4, &request, response);
    cr_assert_eq(response->results.count, 1u);
}

static bool
is_text(struct bytes bytes, const char *text)
{
    return bytes.count == strlen(text) && memcmp(bytes.at, text, bytes.count) == 0;
}

static struct fixture *
with_topic(uint64_t seed)
{
    struct fixture *fixture = fixture_new(seed);
    struct kafka_create_topics_config configs[2] = {
        {fixture_text("retention.ms"), fixture_text("1234")},
        {fixture_text("cleanup.policy"), fixture_text("delete")}};
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;

    cr_assert_eq(
        topic_config_set(
            &fixture->config.broker, fixture_text("segment.bytes"), fixture_text("1048576"), NULL),
        RC_OK);
    cr_assert_eq(
        topic_config_set(
            &fixture->config.broker, fixture_text("retention.ms"), fixture_text("99"), NULL),
        RC_OK);
    fixture_restart(fixture);
    fixture_run(fixture);
    kafka_create_topics_topic_defaults(&topic);
    kafka_create_topics_request_defaults(&request);
    topic.name = fixture_text("a");
    topic.partition_count = 1;
    topic.replication_factor = 1;
    topic.configs.at = configs;
    topic.configs.count = 2;
    request.topics.at = &topic;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 4, &request, &response);
    cr_assert_eq(response.topics.at[0].error, 0);
    return fixture;
}

Test(describe_configs, refuses_what_it_does_not_know, .timeout = 20)
{
    struct fixture *fixture = with_topic(1);
    struct kafka_describe_configs_response response;

    describe(fixture, 2, "b", NULL, &response);
    cr_assert_eq(response.results.at[0].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    describe(fixture, 4, "2", NULL, &response);
    cr_assert_eq(response.results.at[0].error, KAFKA_ERROR_INVALID_REQUEST);
    describe(fixture, 4, "99999999999999", NULL, &response);
    cr_assert_eq(response.results.at[0].error, KAFKA_ERROR_INVALID_REQUEST);
    describe(fixture, 16, "x", NULL, &response);
    cr_assert_eq(response.results.at[0].error, KAFKA_ERROR_INVALID_REQUEST);
    fixture_free(fixture);
}

Test(describe_configs, tells_values_sources_layers_types_and_sentences_of_a_topic, .timeout = 20)
{
    struct fixture *fixture = with_topic(2);
    struct kafka_describe_configs_response response;

    describe(fixture, 2, "a", NULL, &response);
    const struct kafka_describe_configs_result *result = &response.results.at[0];
    cr_assert_eq(result->error, 0);
    cr_assert_eq(result->configs.count, (uint32_t)TOPIC_CONFIG_COUNT);
    const struct kafka_describe_configs_entry *retention = entry_of(result, "retention.ms");
    cr_assert(is_text(retention->value, "1234"));
    cr_assert_eq(retention->source, TOPIC_CONFIG_SOURCE_TOPIC);
    cr_assert_eq(retention->type, TOPIC_CONFIG_TYPE_LONG);
    cr_assert_gt(retention->documentation.count, 20u);
    cr_assert_eq(retention->synonyms.count, 3u);
    cr_assert(is_text(retention->synonyms.at[1].value, "99"));
    cr_assert_eq(retention->synonyms.at[1].source, TOPIC_CONFIG_SOURCE_BROKER);
    cr_assert(is_text(retention->synonyms.at[2].value, "604800000"));
    const struct kafka_describe_configs_entry *segment = entry_of(result, "segment.bytes");
    cr_assert(is_text(segment->value, "1048576"));
    cr_assert_eq(segment->source, TOPIC_CONFIG_SOURCE_BROKER);
    const struct kafka_describe_configs_entry *durability = entry_of(result, "eagre.durability");
    cr_assert(is_text(durability->value, "device"));
    cr_assert_eq(durability->source, TOPIC_CONFIG_SOURCE_DEFAULT);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 1234);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.segment_bytes, 1048576u);
    fixture_free(fixture);
}

Test(describe_configs, gives_only_the_keys_that_were_asked_for, .timeout = 20)
{
    struct fixture *fixture = with_topic(3);
    struct kafka_describe_configs_response response;
    struct bytes keys[2] = {fixture_text("cleanup.policy"), fixture_text("no.such.key")};
    struct kafka_string_list list = {keys, 2};
    struct kafka_string_list none = {keys, 0};

    describe(fixture, 2, "a", &list, &response);
    cr_assert_eq(response.results.at[0].configs.count, 1u);
    cr_assert(is_text(response.results.at[0].configs.at[0].value, "delete"));
    /* As Kafka does: an empty list is like none. */
    describe(fixture, 2, "a", &none, &response);
    cr_assert_eq(response.results.at[0].configs.count, (uint32_t)TOPIC_CONFIG_COUNT);
    fixture_free(fixture);
}

Test(describe_configs, describes_this_broker, .timeout = 20)
{
    struct fixture *fixture = with_topic(4);
    struct kafka_describe_configs_response response;

    describe(fixture, 4, "1", NULL, &response);
    cr_assert_eq(response.results.at[0].error, 0);
    const struct kafka_describe_configs_entry *entry = entry_of(&response.results.at[0],
                                                                "num.partitions");
    cr_assert(is_text(entry->value, "3"));
    cr_assert_eq(entry->source, TOPIC_CONFIG_SOURCE_BROKER);
    cr_assert(entry->read_only);
    fixture_free(fixture);
}

Test(control_config, takes_only_what_differs_from_the_defaults_as_overrides, .timeout = 20)
{
    struct settings settings;
    static struct control_config config = {.log_tile_count = 2};

    config_defaults(&settings);
    control_config_take(&config, &settings, 9192);
    cr_assert_eq(config.broker.set, 0u);
    cr_assert_eq(config.port, 9192);
    cr_assert_str_eq(config.host, "127.0.0.1");
    cr_assert_eq(config.limits.partitions_max, 2 * settings.partitions_max);
    cr_assert_lt(config.config_count, CONTROL_BROKER_CONFIGS_MAX);
    settings.retention_ms = 5;
    settings.segment_bytes = 2 * GIB;
    strcpy(settings.advertise.host, "outside.example");
    settings.advertise.port = 19092;
    control_config_take(&config, &settings, 9192);
    cr_assert_eq(topic_config_number(NULL, &config.broker, TOPIC_CONFIG_RETENTION_MS), 5);
    cr_assert_eq(topic_config_number(NULL, &config.broker, TOPIC_CONFIG_SEGMENT_BYTES), INT32_MAX);
    cr_assert_eq(__builtin_popcountll(config.broker.set), 2);
    cr_assert_str_eq(config.host, "outside.example");
    cr_assert_eq(config.port, 19092);
    for (uint32_t i = 0; i < config.config_count; i++)
        cr_assert_gt(strlen(config.configs[i].value), 0u, "%s", config.configs[i].key);
}

static const char *
line_of(const struct control_config *config, const char *key)
{
    for (uint32_t i = 0; i < config->config_count; i++)
        if (strcmp(config->configs[i].key, key) == 0)
            return config->configs[i].value;
    return "none";
}

Test(control_config, tells_times_of_groups_and_producers_under_kafkas_names, .timeout = 20)
{
    struct settings settings;
    static struct control_config config = {.log_tile_count = 1};

    config_defaults(&settings);
    control_config_take(&config, &settings, 9192);
    cr_expect_str_eq(line_of(&config, "offsets.retention.minutes"), "10080");
    cr_expect_str_eq(line_of(&config, "producer.id.expiration.ms"), "86400000");
    cr_expect_str_eq(line_of(&config, "group.consumer.session.timeout.ms"), "45000");
    cr_expect_str_eq(line_of(&config, "group.consumer.heartbeat.interval.ms"), "5000");
    cr_expect_str_eq(line_of(&config, "group.consumer.migration.policy"), "disabled");
    settings.offsets_retention_ms = 60001;
    control_config_take(&config, &settings, 9192);
    cr_expect_str_eq(line_of(&config, "offsets.retention.minutes"), "2", "never less than it is");
    settings.offsets_retention_ms = -1;
    control_config_take(&config, &settings, 9192);
    cr_expect_str_eq(line_of(&config, "offsets.retention.minutes"), "-1");
}
