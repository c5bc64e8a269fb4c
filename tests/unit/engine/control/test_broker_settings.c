/* Goal: settings of the broker change at run time exactly as the answers say: stored, known to
 * every partition and gate before the client is told, nearer layers before farther ones, there
 * after a restart; what needs a restart is refused by name. Method: bad requests first; then single
 * changes in both APIs and all versions, with DescribeConfigs as the judge of values, sources and
 * synonyms. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

enum { SET = 0, DELETE = 1, TOPIC = 2, BROKER = 4 };
#define ALL ""
#define THIS "1"
#define NOTHING ((const char *)NULL)

static bool
says(struct bytes message, const char *word)
{
    return message.at != NULL && memmem(message.at, message.count, word, strlen(word)) != NULL;
}

/* One change of one key in every version; the answer's message must hold `word`, where there is
 * one.
 */
static int16_t
alter_for(struct fixture *fixture,
          const char *broker,
          const char *key,
          const char *value,
          const char *word)
{
    struct kafka_incremental_alter_configs_request_alterable_config entry = {
        .name = fixture_text(key),
        .config_operation = value == NULL ? DELETE : SET,
        .value = value == NULL ? (struct bytes){NULL, 0} : fixture_text(value),
    };
    struct kafka_incremental_alter_configs_request_resource resource;
    struct kafka_incremental_alter_configs_request request;
    struct kafka_incremental_alter_configs_response response;

    kafka_incremental_alter_configs_request_resource_defaults(&resource);
    kafka_incremental_alter_configs_request_defaults(&request);
    resource.resource_type = BROKER;
    resource.resource_name = fixture_text(broker);
    resource.configs.at = &entry;
    resource.configs.count = 1;
    request.resources.at = &resource;
    request.resources.count = 1;
    for (int16_t version = 0; version <= 1; version++)
        fixture_ask(fixture, KAFKA_INCREMENTAL_ALTER_CONFIGS, version, &request, &response);
    if (word != NULL)
        cr_assert(says(response.responses.at[0].error_message, word), "%s is not named", word);
    return response.responses.at[0].error;
}

static int16_t
alter(struct fixture *fixture, const char *key, const char *value)
{
    return alter_for(fixture, THIS, key, value, NULL);
}

struct layer {
    const char *name;
    const char *value;
    int8_t source;
};

/* The value of a key is the first layer, and its synonyms are all of them (ends with no name). */
static void
expect(struct fixture *fixture,
       int8_t type,
       const char *name,
       const char *key,
       const struct layer *layers)
{
    struct bytes keys[1] = {fixture_text(key)};
    struct kafka_describe_configs_resource resource;
    struct kafka_describe_configs_request request;
    struct kafka_describe_configs_response response;

    kafka_describe_configs_resource_defaults(&resource);
    kafka_describe_configs_request_defaults(&request);
    resource.type = type;
    resource.name = fixture_text(name);
    resource.keys = (struct kafka_string_list){keys, 1};
    request.resources.at = &resource;
    request.resources.count = 1;
    request.include_synonyms = true;
    for (int16_t version = 1; version <= 4; version++) {
        fixture_ask(fixture, KAFKA_DESCRIBE_CONFIGS, version, &request, &response);
        cr_assert_eq(response.results.at[0].error, 0);
        cr_assert_eq(response.results.at[0].configs.count, 1u, "%s of %s", key, name);
        const struct kafka_describe_configs_entry *entry = &response.results.at[0].configs.at[0];
        cr_assert(says(entry->value, layers[0].value), "%s of %s", key, name);
        cr_assert_eq(entry->source, layers[0].source, "%s of %s: %d", key, name, entry->source);
        cr_assert_not(entry->read_only);
        uint32_t count = 0;
        for (; layers[count].name != NULL; count++) {
            const struct kafka_describe_configs_synonym *synonym = &entry->synonyms.at[count];
            cr_assert_lt(count, entry->synonyms.count);
            cr_assert(says(synonym->name, layers[count].name), "%u", count);
            cr_assert(says(synonym->value, layers[count].value), "%u", count);
            cr_assert_eq(synonym->source, layers[count].source, "%u", count);
        }
        cr_assert_eq(entry->synonyms.count, count);
    }
}

static struct fixture *
with_topic(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);

    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    return fixture;
}

Test(broker_settings, refuse_by_name_what_needs_a_restart_or_is_no_value, .timeout = 20)
{
    struct fixture *fixture = with_topic(1);
    uint32_t stored = fixture->logs[0].appends + fixture->logs[1].appends;

    cr_assert_eq(alter_for(fixture, THIS, "broker.id", "2", "broker.id"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, THIS, "num.io.threads", "2", "num.io.threads"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, THIS, "num.io.threads", "2", "--cores"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, THIS, "leader.replication.throttled.rate", "5", "replicas"),
                 KAFKA_ERROR_INVALID_REQUEST);
    /* kafka-reassign-partitions takes it away at the end, whether it was set or not. */
    cr_assert_eq(alter_for(fixture, THIS, "leader.replication.throttled.rate", NOTHING, NULL), 0);
    cr_assert_eq(alter_for(fixture, ALL, "retention.ms", "2", "retention.ms"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, "2", "log.retention.ms", "2", "broker"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, THIS, "log.retention.ms", "-2", "log.retention.ms"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter_for(fixture, THIS, "min.insync.replicas", "2", "min.insync.replicas"),
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter_for(fixture, THIS, "quota.window.num", "0", "quota.window.num"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter_for(fixture, THIS, "quota.window.num", "x", "quota.window.num"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(alter_for(fixture, ALL, "group.min.session.timeout.ms", "2147483647", "group.max"),
                 KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_eq(fixture->logs[0].appends + fixture->logs[1].appends, stored);
    fixture_free(fixture);
}

Test(broker_settings, reach_every_partition_without_an_override_of_its_own, .timeout = 20)
{
    struct fixture *fixture = with_topic(2);
    const struct layer preset[] = {{"log.retention.ms", "604800000", 5}, {NOTHING, NOTHING, 0}};
    const struct layer set[] = {{"log.retention.ms", "77", 2},
                                {"log.retention.ms", "99", 3},
                                {"log.retention.ms", "604800000", 5},
                                {NOTHING, NOTHING, 0}};
    const struct layer for_all[] = {
        {"log.retention.ms", "99", 3}, {"log.retention.ms", "604800000", 5}, {NOTHING, NOTHING, 0}};

    expect(fixture, TOPIC, "a", "retention.ms", preset);
    cr_assert_eq(alter_for(fixture, ALL, "log.retention.ms", "99", NULL), 0);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fixture_find(fixture, "a", i)->config.retention_ms, 99);
    expect(fixture, TOPIC, "a", "retention.ms", for_all);
    expect(fixture, BROKER, THIS, "log.retention.ms", for_all);
    cr_assert_eq(alter(fixture, "log.retention.ms", "77"), 0);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 3; i++)
            cr_assert_eq(fixture_find(fixture, "a", i)->config.retention_ms, 77);
        expect(fixture, TOPIC, "a", "retention.ms", set);
        expect(fixture, BROKER, THIS, "log.retention.ms", set);
        expect(fixture, BROKER, ALL, "log.retention.ms", for_all);
        cr_assert_eq(fixture_create(fixture, round == 0 ? "b" : "c", 1), 0);
        cr_assert_eq(fixture_find(fixture, round == 0 ? "b" : "c", 0)->config.retention_ms,
                     77,
                     "new topics, too");
        fixture_restart(fixture);
        fixture_run(fixture);
    }
    cr_assert_eq(alter(fixture, "log.retention.ms", NOTHING), 0);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 99);
    cr_assert_eq(alter_for(fixture, ALL, "log.retention.ms", NOTHING, NULL), 0);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 604800000);
    expect(fixture, TOPIC, "a", "retention.ms", preset);
    fixture_free(fixture);
}

Test(broker_settings, tell_the_gates_before_the_client, .timeout = 20)
{
    struct fixture *fixture = with_topic(3);
    const struct fixture_gate *gate = &fixture->gates[1];
    struct kafka_incremental_alter_configs_request_alterable_config entry = {
        .name = fixture_text("message.max.bytes"), .value = fixture_text("5000")};
    struct kafka_incremental_alter_configs_request_resource resource = {
        .resource_type = BROKER, .resource_name = fixture_text(THIS), .configs = {&entry, 1}};
    struct kafka_incremental_alter_configs_request request = {.resources = {&resource, 1}};

    fixture->logs[0].hold = true;
    uint32_t call = fixture_send(fixture, 1, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    uint32_t events = gate->event_count;
    fixture_run(fixture);
    cr_assert_eq(fixture->logs[0].configures + fixture->logs[1].configures, 0u, "not stored yet");
    fixture_release(fixture, 0);
    fixture->logs[0].hold = true;
    fixture->logs[1].hold = true;
    fixture_run(fixture);
    cr_assert_eq(fixture->logs[0].configures + fixture->logs[1].configures, 3u);
    cr_assert_eq(gate->event_count, events, "the log tiles have not answered");
    fixture_release(fixture, 0);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    cr_assert(fixture->calls[call].done);
    cr_assert_eq(gate->events[gate->event_count - 1].kind, EVENT_DONE);
    cr_assert_eq(gate->events[gate->event_count - 2].kind, EVENT_TOPIC);
    cr_assert_eq(gate->events[gate->event_count - 2].batch_bytes_max, 5000u);
    fixture_free(fixture);
}

Test(broker_settings, carry_the_windows_of_limits_to_the_gates, .timeout = 20)
{
    struct fixture *fixture = with_topic(4);
    const struct fixture_gate *gate = &fixture->gates[0];

    cr_assert_eq(alter(fixture, "quota.window.size.seconds", "3"), 0);
    cr_assert_eq(alter(fixture, "quota.window.num", "5"), 0);
    const struct fixture_event *last = NULL;
    for (uint32_t i = 0; i < gate->event_count; i++)
        last = gate->events[i].kind == EVENT_QUOTA ? &gate->events[i] : last;
    cr_assert_not_null(last);
    cr_assert_eq(last->quota.burst_ns, 3 * NS_PER_S);
    cr_assert_eq(last->quota.pause_max_ns, 15 * NS_PER_S);
    fixture_free(fixture);
}

Test(broker_settings, are_replaced_as_a_whole_by_the_old_request, .timeout = 20)
{
    struct fixture *fixture = with_topic(5);
    struct kafka_alter_configs_request_alterable_config entry = {
        .name = fixture_text("log.roll.ms"), .value = fixture_text("12345")};
    struct kafka_alter_configs_resource resource = {
        .resource_type = BROKER, .resource_name = fixture_text(THIS), .configs = {&entry, 1}};
    struct kafka_alter_configs_request request = {.resources = {&resource, 1}};
    struct kafka_alter_configs_response response;

    cr_assert_eq(alter(fixture, "log.retention.bytes", "1000"), 0);
    cr_assert_eq(alter(fixture, "group.max.size", "10"), 0);
    request.validate_only = true;
    for (int16_t version = 0; version <= 2; version++) {
        fixture_ask(fixture, KAFKA_ALTER_CONFIGS, version, &request, &response);
        cr_assert_eq(response.responses.at[0].error, 0);
        cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_bytes, 1000);
    }
    request.validate_only = false;
    for (int16_t version = 0; version <= 2; version++) {
        fixture_ask(fixture, KAFKA_ALTER_CONFIGS, version, &request, &response);
        cr_assert_eq(response.responses.at[0].error, 0);
        cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_bytes, -1);
        cr_assert_eq(fixture_find(fixture, "a", 0)->config.segment_ms, 12345);
    }
    fixture_free(fixture);
}

Test(broker_settings, are_refused_when_they_cannot_be_stored, .timeout = 20)
{
    struct fixture *fixture = with_topic(6);

    fixture->logs[0].fail_append_rc = RC_IO_ERROR;
    cr_assert_eq(alter(fixture, "log.retention.ms", "5"), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.retention_ms, 604800000);
    fixture_free(fixture);
}
