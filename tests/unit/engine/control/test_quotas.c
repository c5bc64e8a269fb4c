/* Goal: limits of client ids are what was asked for: stored before the client is told, known to
 * every gate by then, there after a restart; who cannot have a limit is refused by name.
 * Method: bad requests first, in both versions; then changes side by side, a failing metadata log,
 * a restart.
 */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>
#include <math.h>

enum { EXACT = 0, DEFAULT = 1, ANY = 2 };
#define NOBODY ((const char *)NULL)

struct change {
    struct kafka_alter_client_quotas_request_entity entities[2];
    struct kafka_alter_client_quotas_request_op ops[3];
    struct kafka_alter_client_quotas_request_entry entry;
    struct kafka_alter_client_quotas_request request;
};

/* One change of one client id (NULL: the default). */
static struct change *
change_of(const char *client_id, const char *key, double value)
{
    static struct change changes[8];
    static uint32_t next;
    struct change *change = &changes[next++ % 8];

    kafka_alter_client_quotas_request_defaults(&change->request);
    change->entities[0] = (struct kafka_alter_client_quotas_request_entity){
        .entity_type = fixture_text("client-id"),
        .entity_name = client_id == NULL ? (struct bytes){NULL, 0} : fixture_text(client_id)};
    change->ops[0] = (struct kafka_alter_client_quotas_request_op){.key = fixture_text(key),
                                                                   .value = value};
    change->entry.entity.at = change->entities;
    change->entry.entity.count = 1;
    change->entry.ops.at = change->ops;
    change->entry.ops.count = 1;
    change->request.entries.at = &change->entry;
    change->request.entries.count = 1;
    return change;
}

/* Sends it in both versions; the answer's message must hold `word`, where there is one. */
static int16_t
ask(struct fixture *fixture, const struct change *change, const char *word)
{
    struct kafka_alter_client_quotas_response response;
    int16_t error = 0;

    for (int16_t version = 0; version <= 1; version++) {
        fixture_ask(fixture, KAFKA_ALTER_CLIENT_QUOTAS, version, &change->request, &response);
        cr_assert_eq(response.entries.count, 1u);
        const struct kafka_alter_client_quotas_response_entry *entry = &response.entries.at[0];
        cr_assert_eq(entry->entity.count, change->entry.entity.count);
        if (word != NULL)
            cr_assert(entry->error_message.at != NULL && memmem(entry->error_message.at,
                                                                entry->error_message.count,
                                                                word,
                                                                strlen(word)) != NULL,
                      "%s is not named",
                      word);
        error = entry->error;
    }
    return error;
}

static int16_t
alter(struct fixture *fixture, const char *client_id, const char *key, double value)
{
    return ask(fixture, change_of(client_id, key, value), NULL);
}

/* Describes by one component; the answer borrows from the fixture until the next. */
static struct kafka_describe_client_quotas_response
describe(struct fixture *fixture, const char *type, int8_t match, const char *name, bool strict)
{
    struct kafka_describe_client_quotas_request_component component = {
        .entity_type = fixture_text(type),
        .match_type = match,
        .match = name == NULL ? (struct bytes){NULL, 0} : fixture_text(name),
    };
    struct kafka_describe_client_quotas_request request;
    struct kafka_describe_client_quotas_response response;

    kafka_describe_client_quotas_request_defaults(&request);
    request.components.at = &component;
    request.components.count = 1;
    request.strict = strict;
    for (int16_t version = 0; version <= 1; version++)
        fixture_ask(fixture, KAFKA_DESCRIBE_CLIENT_QUOTAS, version, &request, &response);
    return response;
}

static uint32_t
described(struct fixture *fixture, const char *type, int8_t match, const char *name, bool strict)
{
    struct kafka_describe_client_quotas_response response = describe(
        fixture, type, match, name, strict);

    cr_assert_eq(response.error, KAFKA_ERROR_NONE);
    cr_assert_not_null(response.entries.at);
    return response.entries.count;
}

/* The last word that a gate heard of a client id (NULL: the default). */
static const struct quota_snapshot *
told(const struct fixture *fixture, uint32_t gate, const char *client_id)
{
    const struct quota_snapshot *last = NULL;

    for (uint32_t i = 0; i < fixture->gates[gate].event_count; i++) {
        const struct fixture_event *event = &fixture->gates[gate].events[i];
        const struct quota_entity *entity = &event->quota.entity;
        if (event->kind != EVENT_QUOTA || entity->is_default != (client_id == NULL))
            continue;
        if (client_id == NULL || (entity->name_count == strlen(client_id) &&
                                  memcmp(entity->name, client_id, entity->name_count) == 0))
            last = &event->quota;
    }
    return last;
}

static uint32_t
appends(const struct fixture *fixture)
{
    return fixture->logs[0].appends + fixture->logs[1].appends;
}

Test(alter_client_quotas, refuses_by_name_who_and_what_cannot_be_limited, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    uint32_t stored = appends(fixture);
    char name[300];
    struct change *change = change_of("a", "producer_byte_rate", 5);

    change->entities[0].entity_type = fixture_text("user");
    cr_assert_eq(ask(fixture, change, "user"), KAFKA_ERROR_INVALID_REQUEST);
    change->entities[0].entity_type = fixture_text("ip");
    cr_assert_eq(ask(fixture, change, "ip"), KAFKA_ERROR_INVALID_REQUEST);
    change->entities[0].entity_type = fixture_text("group");
    cr_assert_eq(ask(fixture, change, "group"), KAFKA_ERROR_INVALID_REQUEST);
    change = change_of("a", "producer_byte_rate", 5);
    change->entities[1] = change->entities[0];
    change->entry.entity.count = 2;
    cr_assert_eq(ask(fixture, change, "twice"), KAFKA_ERROR_INVALID_REQUEST);
    change->entities[1].entity_type = fixture_text("user");
    cr_assert_eq(ask(fixture, change, "user"), KAFKA_ERROR_INVALID_REQUEST);
    change->entry.entity.count = 0;
    cr_assert_eq(ask(fixture, change, "nobody"), KAFKA_ERROR_INVALID_REQUEST);
    change = change_of("a", "controller_mutation_rate", 5);
    cr_assert_eq(ask(fixture, change, "controller_mutation_rate"), KAFKA_ERROR_INVALID_REQUEST);
    change = change_of("a", "connection_creation_rate", 5);
    cr_assert_eq(ask(fixture, change, "connection_creation_rate"), KAFKA_ERROR_INVALID_REQUEST);
    change = change_of("a", "byte_rate", 5);
    cr_assert_eq(ask(fixture, change, "byte_rate"), KAFKA_ERROR_INVALID_REQUEST);
    change = change_of("a", "producer_byte_rate", 5);
    change->ops[1] = change->ops[0];
    change->entry.ops.count = 2;
    cr_assert_eq(ask(fixture, change, "twice"), KAFKA_ERROR_INVALID_REQUEST);
    memset(name, 'x', sizeof(name));
    name[250] = 0;
    change = change_of(name, "producer_byte_rate", 5);
    cr_assert_eq(ask(fixture, change, "249"), KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(appends(fixture), stored);
    cr_assert_eq(described(fixture, "client-id", ANY, NOBODY, false), 0u);
    fixture_free(fixture);
}

Test(alter_client_quotas, refuses_values_that_are_no_limits, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);
    const double bad[] = {0, -1, 1.5, (double)NAN, (double)INFINITY, 1e19};

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_assert_eq(alter(fixture, "a", "consumer_byte_rate", bad[i]),
                     KAFKA_ERROR_INVALID_REQUEST,
                     "%f",
                     bad[i]);
    cr_assert_eq(alter(fixture, "a", "request_percentage", 1.5), KAFKA_ERROR_NONE);
    cr_assert_eq(alter(fixture, "a", "request_percentage", 0), KAFKA_ERROR_INVALID_REQUEST);
    fixture_free(fixture);
}

Test(alter_client_quotas, tells_every_gate_before_the_client, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    struct change *change = change_of("a", "producer_byte_rate", 1000);

    for (uint32_t gate = 0; gate < 2; gate++)
        cr_assert_null(told(fixture, gate, "a"));
    fixture->logs[0].hold = true;
    uint32_t call = fixture_send(fixture, 0, KAFKA_ALTER_CLIENT_QUOTAS, 1, &change->request);
    fixture_run(fixture);
    cr_assert_not(fixture->calls[call].done, "it is not stored yet");
    cr_assert_null(told(fixture, 0, "a"));
    fixture->logs[0].hold = false;
    fixture_release(fixture, 0);
    fixture_run(fixture);
    cr_assert(fixture->calls[call].done);
    for (uint32_t gate = 0; gate < 2; gate++) {
        const struct quota_snapshot *snapshot = told(fixture, gate, "a");
        cr_assert_not_null(snapshot);
        cr_assert_eq(snapshot->entity.set, 1u << QUOTA_PRODUCE);
        cr_assert_eq(snapshot->entity.limits[QUOTA_PRODUCE], 1000.0);
    }
    const struct fixture_gate *gate = &fixture->gates[0];
    cr_assert_eq(gate->events[gate->event_count - 1].kind, EVENT_DONE);
    cr_assert_eq(gate->events[gate->event_count - 2].kind, EVENT_QUOTA);
    fixture_free(fixture);
}

Test(alter_client_quotas, changes_side_by_side_undo_nothing_and_outlive_a_restart, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);
    struct change *changes[4] = {change_of("a", "producer_byte_rate", 1000),
                                 change_of("a", "consumer_byte_rate", 2000),
                                 change_of(NOBODY, "request_percentage", 12.5),
                                 change_of("", "consumer_byte_rate", 7)};
    struct kafka_alter_client_quotas_response response;
    uint32_t calls[4];

    for (uint32_t i = 0; i < 4; i++)
        calls[i] = fixture_send(
            fixture, i % 2, KAFKA_ALTER_CLIENT_QUOTAS, (int16_t)(i % 2), &changes[i]->request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 4; i++) {
        fixture_answer(fixture, calls[i], &response);
        cr_assert_eq(response.entries.at[0].error, KAFKA_ERROR_NONE);
    }
    for (uint32_t round = 0; round < 2; round++) {
        struct kafka_describe_client_quotas_response found = describe(
            fixture, "client-id", EXACT, "a", true);
        cr_assert_eq(found.entries.count, 1u);
        cr_assert_eq(found.entries.at[0].values.count, 2u);
        cr_assert_eq(found.entries.at[0].values.at[0].value, 1000.0);
        cr_assert_eq(found.entries.at[0].values.at[1].value, 2000.0);
        cr_assert_eq(described(fixture, "client-id", ANY, NOBODY, false), 3u);
        cr_assert_eq(described(fixture, "client-id", DEFAULT, NOBODY, false), 1u);
        cr_assert_eq(described(fixture, "client-id", EXACT, "", false), 1u);
        cr_assert_eq(told(fixture, 1, "a")->entity.limits[QUOTA_FETCH], 2000.0);
        fixture_restart(fixture);
        fixture_run(fixture);
    }
    fixture_free(fixture);
}

Test(alter_client_quotas, removes_single_limits_and_with_the_last_the_entity, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);
    struct change *change = change_of("a", "producer_byte_rate", 0);

    cr_assert_eq(alter(fixture, "a", "producer_byte_rate", 5), KAFKA_ERROR_NONE);
    cr_assert_eq(alter(fixture, "a", "request_percentage", 5), KAFKA_ERROR_NONE);
    uint32_t stored = appends(fixture);
    cr_assert_eq(alter(fixture, "a", "request_percentage", 5), KAFKA_ERROR_NONE);
    cr_assert_eq(appends(fixture), stored, "what changes nothing is not written");
    change->ops[0].remove = true;
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_NONE);
    cr_assert_eq(told(fixture, 0, "a")->entity.set, 1u << QUOTA_REQUEST);
    change->ops[0].key = fixture_text("request_percentage");
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_NONE);
    cr_assert_eq(told(fixture, 0, "a")->entity.set, 0u);
    cr_assert_eq(described(fixture, "client-id", ANY, NOBODY, false), 0u);
    fixture_free(fixture);
}

Test(alter_client_quotas, only_checks_when_asked_to_and_stays_in_its_bound, .timeout = 20)
{
    struct fixture *fixture = fixture_new(6);
    struct change *change = change_of("c", "producer_byte_rate", 5);

    fixture->config.limits.quota_entities_max = 2;
    fixture_restart(fixture);
    fixture_run(fixture);
    change->request.validate_only = true;
    cr_assert_eq(ask(fixture, change, NULL), KAFKA_ERROR_NONE);
    cr_assert_eq(described(fixture, "client-id", ANY, NOBODY, false), 0u);
    cr_assert_eq(alter(fixture, "a", "producer_byte_rate", 5), KAFKA_ERROR_NONE);
    cr_assert_eq(alter(fixture, "b", "producer_byte_rate", 5), KAFKA_ERROR_NONE);
    cr_assert_eq(ask(fixture, change, "quota.entities_max"), KAFKA_ERROR_INVALID_REQUEST);
    change->request.validate_only = false;
    cr_assert_eq(ask(fixture, change, "quota.entities_max"), KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(alter(fixture, "b", "producer_byte_rate", 6), KAFKA_ERROR_NONE);
    fixture_free(fixture);
}

Test(alter_client_quotas, is_refused_when_it_cannot_be_stored, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);

    fixture->logs[0].fail_append_rc = RC_IO_ERROR;
    cr_assert_eq(alter(fixture, "a", "producer_byte_rate", 5), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(described(fixture, "client-id", ANY, NOBODY, false), 0u);
    cr_assert_null(told(fixture, 0, "a"));
    fixture_free(fixture);
}

Test(describe_client_quotas, refuses_filters_that_cannot_be_meant, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(8);

    cr_assert_eq(describe(fixture, "", ANY, NOBODY, false).error, KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(describe(fixture, "client-id", 3, NOBODY, false).error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(describe(fixture, "client-id", EXACT, NOBODY, false).error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(describe(fixture, "client-id", ANY, "a", false).error,
                 KAFKA_ERROR_INVALID_REQUEST);
    fixture_free(fixture);
}

Test(describe_client_quotas, finds_nobody_among_users_and_addresses, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(9);

    cr_assert_eq(alter(fixture, "a", "producer_byte_rate", 5), KAFKA_ERROR_NONE);
    cr_assert_eq(described(fixture, "user", ANY, NOBODY, false), 0u);
    cr_assert_eq(described(fixture, "ip", EXACT, "127.0.0.1", true), 0u);
    cr_assert_eq(described(fixture, "client-id", DEFAULT, NOBODY, true), 0u);
    cr_assert_eq(described(fixture, "client-id", EXACT, "b", false), 0u);
    cr_assert_eq(described(fixture, "client-id", EXACT, "a", true), 1u);
    fixture_free(fixture);
}
