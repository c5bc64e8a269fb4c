/* Goal: settings of topics change exactly as the answers say: stored, known to log tiles and gates
 * before the client is told, there after a restart, and a refusal names the key and changes
 * nothing. Method: bad requests first; then single changes, two at once with a log tile's answers
 * held back, a failing metadata log, a restart. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

enum { SET = 0, DELETE = 1, APPEND = 2, SUBTRACT = 3, TOPIC = 2, BROKER = 4 };
#define NOTHING ((const char *)NULL)

static struct kafka_incremental_alter_configs_request_alterable_config
entry(const char *key, int8_t operation, const char *value)
{
    return (struct kafka_incremental_alter_configs_request_alterable_config){
        .name = fixture_text(key),
        .config_operation = operation,
        .value = value != NULL ? fixture_text(value) : (struct bytes){NULL, 0},
    };
}

/* A request with one topic and one change. */
struct change {
    struct kafka_incremental_alter_configs_request_alterable_config entries[3];
    struct kafka_incremental_alter_configs_request_resource resources[2];
    struct kafka_incremental_alter_configs_request request;
};

static struct change *
change_of(const char *topic, struct kafka_incremental_alter_configs_request_alterable_config first)
{
    static struct change changes[4];
    static uint32_t next;
    struct change *change = &changes[next++ % 4];

    kafka_incremental_alter_configs_request_defaults(&change->request);
    change->entries[0] = first;
    for (uint32_t i = 0; i < 2; i++) {
        kafka_incremental_alter_configs_request_resource_defaults(&change->resources[i]);
        change->resources[i].resource_type = TOPIC;
        change->resources[i].resource_name = fixture_text(topic);
        change->resources[i].configs.at = change->entries;
        change->resources[i].configs.count = 1;
    }
    change->request.resources.at = change->resources;
    change->request.resources.count = 1;
    return change;
}

static bool
says(struct bytes message, const char *word)
{
    return message.at != NULL && memmem(message.at, message.count, word, strlen(word)) != NULL;
}

/* Sends it; the answer's message must hold `word`, where there is one. */
static int16_t
ask(struct fixture *fixture, const struct change *change, const char *word)
{
    struct kafka_incremental_alter_configs_response response;

    fixture_ask(fixture, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &change->request, &response);
    cr_assert_eq(response.responses.count, change->request.resources.count);
    if (word != NULL)
        cr_assert(says(response.responses.at[0].error_message, word), "%s is not named", word);
    return response.responses.at[0].error;
}

static int16_t
alter(struct fixture *fixture,
      const char *topic,
      struct kafka_incremental_alter_configs_request_alterable_config first,
      const char *word)
{
    return ask(fixture, change_of(topic, first), word);
}

/* Value and source of one key of a topic, as DescribeConfigs tells them. */
static void
expect_value(struct fixture *fixture, const char *key, const char *value, int8_t source)
{
    struct bytes keys[1] = {fixture_text(key)};
    struct kafka_describe_configs_resource resource;
    struct kafka_describe_configs_request request;
    struct kafka_describe_configs_response response;

    kafka_describe_configs_resource_defaults(&resource);
    kafka_describe_configs_request_defaults(&request);
    resource.type = TOPIC;
    resource.name = fixture_text("a");
    resource.keys = (struct kafka_string_list){keys, 1};
    request.resources.at = &resource;
    request.resources.count = 1;
    fixture_ask(fixture, KAFKA_DESCRIBE_CONFIGS, 4, &request, &response);
    cr_assert_eq(response.results.at[0].configs.count, 1u);
    const struct kafka_describe_configs_entry *found = &response.results.at[0].configs.at[0];
    cr_assert_eq(found->value.count, strlen(value));
    cr_assert_arr_eq(found->value.at, value, strlen(value));
    cr_assert_eq(found->source, source);
}

static uint32_t
appends(const struct fixture *fixture)
{
    return fixture->logs[0].appends + fixture->logs[1].appends;
}

static struct fixture *
with_topic(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);

    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    return fixture;
}

/* ---- refusals */

Test(alter_configs, refuses_by_name_what_it_does_not_know_and_changes_nothing, .timeout = 20)
{
    struct fixture *fixture = with_topic(1);
    uint32_t stored = appends(fixture);

    cr_assert_eq(alter(fixture, "b", entry("retention.ms", SET, "5"), NULL),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(alter(fixture, "a", entry("retention.sm", SET, "5"), "retention.sm"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("retention.sm", DELETE, NOTHING), "retention.sm"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, "-2"), "retention.ms"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("cleanup.policy", SET, "neither"), "cleanup.policy"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", APPEND, "5"), "retention.ms"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, NOTHING), "retention.ms"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", 4, "5"), "retention.ms"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(appends(fixture), stored);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    fixture_free(fixture);
}

Test(alter_configs, refuses_resources_and_keys_named_twice_and_other_resources, .timeout = 20)
{
    struct fixture *fixture = with_topic(2);
    struct change *change = change_of("a", entry("retention.ms", SET, "5"));

    change->request.resources.count = 2;
    cr_assert_eq(ask(fixture, change, "twice"), KAFKA_ERROR_INVALID_REQUEST);
    change->request.resources.count = 1;
    change->entries[1] = entry("retention.ms", DELETE, NOTHING);
    change->resources[0].configs.count = 2;
    cr_assert_eq(ask(fixture, change, "retention.ms"), KAFKA_ERROR_INVALID_REQUEST);
    change->resources[0].configs.count = 1;
    change->resources[0].resource_type = BROKER;
    change->resources[0].resource_name = fixture_text("1");
    cr_assert_eq(ask(fixture, change, "retention.ms"), KAFKA_ERROR_INVALID_REQUEST);
    change->resources[0].resource_type = 32;
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_INVALID_REQUEST);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    fixture_free(fixture);
}

Test(alter_configs, changes_all_keys_of_a_topic_or_none, .timeout = 20)
{
    struct fixture *fixture = with_topic(3);
    struct change *change = change_of("a", entry("retention.ms", SET, "5"));

    change->entries[1] = entry("segment.bytes", SET, "1");
    change->resources[0].configs.count = 2;
    cr_assert_eq(ask(fixture, change, "segment.bytes"), KAFKA_ERROR_INVALID_CONFIG);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    fixture_free(fixture);
}

Test(alter_configs, only_checks_when_asked_to_only_check, .timeout = 20)
{
    struct fixture *fixture = with_topic(4);
    uint32_t stored = appends(fixture);
    struct change *change = change_of("a", entry("retention.ms", SET, "5"));

    change->request.validate_only = true;
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_NONE);
    change->entries[0] = entry("retention.ms", SET, "x");
    cr_assert_eq(ask(fixture, change, "retention.ms"), KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(appends(fixture), stored);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    fixture_free(fixture);
}

Test(alter_configs, is_refused_when_it_cannot_be_stored, .timeout = 20)
{
    struct fixture *fixture = with_topic(5);

    fixture->logs[0].fail_append_rc = RC_IO_ERROR;
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, "5"), NULL),
                 KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 604800000);
    fixture_free(fixture);
}

/* ---- what a change does */

Test(alter_configs, reaches_log_tiles_gates_and_the_next_start, .timeout = 20)
{
    struct fixture *fixture = with_topic(6);
    struct change *change = change_of("a", entry("max.message.bytes", SET, "4096"));

    change->entries[1] = entry("eagre.durability", SET, "memory");
    change->resources[0].configs.count = 2;
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_NONE);
    expect_value(fixture, "max.message.bytes", "4096", TOPIC_CONFIG_SOURCE_TOPIC);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(fixture_find(fixture, "a", i)->config.batch_bytes_max, 4096u);
        cr_assert_eq(fixture_find(fixture, "a", i)->config.durability, LOG_DURABILITY_MEMORY);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct fixture_gate *gate = &fixture->gates[i];
        const struct fixture_event *topic = NULL;
        for (uint32_t j = 0; j < gate->event_count; j++)
            topic = gate->events[j].kind == EVENT_TOPIC ? &gate->events[j] : topic;
        cr_assert_eq(topic->batch_bytes_max, 4096u);
        cr_assert(topic->is_memory);
        cr_assert_eq(topic->partition_count, 3u);
    }
    fixture_restart(fixture);
    fixture_run(fixture);
    expect_value(fixture, "max.message.bytes", "4096", TOPIC_CONFIG_SOURCE_TOPIC);
    cr_assert_eq(fixture_find(fixture, "a", 2)->config.batch_bytes_max, 4096u);
    fixture_free(fixture);
}

Test(alter_configs, answers_only_when_every_log_tile_has_it, .timeout = 20)
{
    struct fixture *fixture = with_topic(7);
    struct change *change = change_of("a", entry("retention.ms", SET, "5"));
    struct kafka_incremental_alter_configs_response response;

    fixture->logs[1].hold = true; /* the metadata log is in the other one */
    uint32_t call = fixture_send(fixture, 0, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &change->request);
    fixture_run(fixture);
    cr_assert_gt(fixture->logs[1].held_count, 0u, "no partition lives there");
    cr_assert_not(fixture->calls[call].done);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    fixture_answer(fixture, call, &response);
    cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_NONE);
    fixture_free(fixture);
}

Test(alter_configs, of_two_at_once_keeps_both, .timeout = 20)
{
    struct fixture *fixture = with_topic(8);
    struct change *one = change_of("a", entry("retention.ms", SET, "5"));
    struct change *two = change_of("a", entry("segment.ms", SET, "7"));
    struct kafka_incremental_alter_configs_response response;
    uint32_t calls[2];

    calls[0] = fixture_send(fixture, 0, KAFKA_INCREMENTAL_ALTER_CONFIGS, 0, &one->request);
    calls[1] = fixture_send(fixture, 1, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &two->request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 2; i++) {
        fixture_answer(fixture, calls[i], &response);
        cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_NONE);
    }
    expect_value(fixture, "retention.ms", "5", TOPIC_CONFIG_SOURCE_TOPIC);
    expect_value(fixture, "segment.ms", "7", TOPIC_CONFIG_SOURCE_TOPIC);
    cr_assert_eq(fixture_find(fixture, "a", 1)->config.retention_ms, 5);
    cr_assert_eq(fixture_find(fixture, "a", 1)->config.segment_ms, 7);
    fixture_free(fixture);
}

Test(alter_configs, waits_for_a_deletion_and_then_finds_nothing, .timeout = 20)
{
    struct fixture *fixture = with_topic(9);
    struct change *change = change_of("a", entry("retention.ms", SET, "5"));
    struct bytes names[1] = {fixture_text("a")};
    struct kafka_delete_topics_request deletion;
    struct kafka_incremental_alter_configs_response response;

    kafka_delete_topics_request_defaults(&deletion);
    deletion.names.at = names;
    deletion.names.count = 1;
    fixture_send(fixture, 0, KAFKA_DELETE_TOPICS, 5, &deletion);
    uint32_t call = fixture_send(fixture, 1, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &change->request);
    fixture_run(fixture);
    fixture_answer(fixture, call, &response);
    cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    fixture_free(fixture);
}

Test(alter_configs, deletes_an_override_and_writes_nothing_when_nothing_changes, .timeout = 20)
{
    struct fixture *fixture = with_topic(10);

    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, "5"), NULL), 0);
    uint32_t stored = appends(fixture);
    uint32_t configures = fixture->logs[0].configures + fixture->logs[1].configures;
    cr_assert_eq(configures, 3u);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, "5"), NULL), 0);
    cr_assert_eq(alter(fixture, "a", entry("segment.ms", DELETE, NOTHING), NULL), 0);
    cr_assert_eq(appends(fixture), stored);
    cr_assert_eq(alter(fixture, "a", entry("retention.ms", DELETE, NOTHING), NULL), 0);
    cr_assert_eq(appends(fixture), stored + 1);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 604800000);
    fixture_free(fixture);
}

Test(alter_configs, adds_to_and_takes_from_lists, .timeout = 20)
{
    struct fixture *fixture = with_topic(11);

    /* What is there already is not added twice, and the result must still be a value of the key. */
    cr_assert_eq(alter(fixture, "a", entry("cleanup.policy", APPEND, "delete"), NULL), 0);
    expect_value(fixture, "cleanup.policy", "delete", TOPIC_CONFIG_SOURCE_TOPIC);
    cr_assert_eq(alter(fixture, "a", entry("cleanup.policy", APPEND, "x,delete,y"), NULL),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("cleanup.policy", SUBTRACT, "delete"), NULL),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter(fixture, "a", entry("cleanup.policy", SUBTRACT, "compact"), NULL), 0);
    expect_value(fixture, "cleanup.policy", "delete", TOPIC_CONFIG_SOURCE_TOPIC);
    fixture_free(fixture);
}

Test(alter_configs, of_the_old_kind_replace_every_override, .timeout = 20)
{
    struct fixture *fixture = with_topic(12);
    struct kafka_alter_configs_request_alterable_config config = {fixture_text("segment.ms"),
                                                                  fixture_text("7")};
    struct kafka_alter_configs_resource resource;
    struct kafka_alter_configs_request request;
    struct kafka_alter_configs_response response;

    cr_assert_eq(alter(fixture, "a", entry("retention.ms", SET, "5"), NULL), 0);
    kafka_alter_configs_resource_defaults(&resource);
    kafka_alter_configs_request_defaults(&request);
    resource.resource_type = TOPIC;
    resource.resource_name = fixture_text("a");
    resource.configs.at = &config;
    resource.configs.count = 1;
    request.resources.at = &resource;
    request.resources.count = 1;
    for (int16_t version = 0; version <= 2; version++) {
        fixture_ask(fixture, KAFKA_ALTER_CONFIGS, version, &request, &response);
        cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_NONE);
        cr_assert_eq(response.responses.at[0].resource_type, TOPIC);
    }
    expect_value(fixture, "segment.ms", "7", TOPIC_CONFIG_SOURCE_TOPIC);
    expect_value(fixture, "retention.ms", "604800000", TOPIC_CONFIG_SOURCE_DEFAULT);
    config.value = (struct bytes){NULL, 0};
    fixture_ask(fixture, KAFKA_ALTER_CONFIGS, 2, &request, &response);
    cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_INVALID_REQUEST);
    config.name = fixture_text("no.such.key");
    config.value = fixture_text("7");
    fixture_ask(fixture, KAFKA_ALTER_CONFIGS, 2, &request, &response);
    cr_assert_eq(response.responses.at[0].error, KAFKA_ERROR_INVALID_CONFIG);
    cr_assert(says(response.responses.at[0].error_message, "no.such.key"));
    fixture_free(fixture);
}
