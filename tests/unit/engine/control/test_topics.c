/* Goal: topics are created, grown and deleted exactly as their answers say, gates know of it before
 * clients do, and failures leave nothing. Method: bad requests first; then single operations,
 * operations on one name at the same time with answers of a log tile held back, failing opens and
 * appends, gates that do not give snapshots back. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void
one_topic(struct kafka_create_topics_request *request,
          struct kafka_create_topics_topic *topic,
          const char *name,
          int32_t partitions)
{
    kafka_create_topics_topic_defaults(topic);
    kafka_create_topics_request_defaults(request);
    topic->name = fixture_text(name);
    topic->partition_count = partitions;
    topic->replication_factor = 1;
    request->topics.at = topic;
    request->topics.count = 1;
}

static int16_t
create_with(struct fixture *fixture,
            const struct kafka_create_topics_request *request,
            int16_t version)
{
    struct kafka_create_topics_response response;

    fixture_ask(fixture, KAFKA_CREATE_TOPICS, version, request, &response);
    return response.topics.at[0].error;
}

static int16_t
metadata_of(struct fixture *fixture,
            const char *name,
            bool create,
            struct kafka_metadata_response *response)
{
    struct kafka_metadata_request_topic topic;
    struct kafka_metadata_request request;

    kafka_metadata_request_topic_defaults(&topic);
    kafka_metadata_request_defaults(&request);
    topic.name = fixture_text(name);
    request.topics.at = &topic;
    request.topics.count = 1;
    request.allow_auto_topic_creation = create;
    fixture_ask(fixture, KAFKA_METADATA, 9, &request, response);
    cr_assert_eq(response->topics.count, 1u);
    return response->topics.at[0].error;
}

/* ---- refusals */

Test(create_topics, refuses_bad_names_counts_and_configs, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct kafka_create_topics_config config = {fixture_text("retention.sm"), fixture_text("5")};
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    struct kafka_create_topics_topic topic;

    cr_assert_eq(fixture_create(fixture, "a b", 1), KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(fixture_create(fixture, "", 1), KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(fixture_create(fixture, "a", 0), KAFKA_ERROR_INVALID_PARTITIONS);
    cr_assert_eq(fixture_create(fixture, "a", -2), KAFKA_ERROR_INVALID_PARTITIONS);
    cr_assert_eq(fixture_create(fixture, "a", 129), KAFKA_ERROR_INVALID_PARTITIONS);
    one_topic(&request, &topic, "a", 1);
    topic.replication_factor = 0;
    cr_assert_eq(create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REPLICATION_FACTOR);
    one_topic(&request, &topic, "a", 1);
    topic.configs.at = &config;
    topic.configs.count = 1;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 7, &request, &response);
    cr_assert_eq(response.topics.at[0].error, KAFKA_ERROR_INVALID_CONFIG);
    cr_assert_not_null(memmem(response.topics.at[0].error_message.at,
                              response.topics.at[0].error_message.count,
                              "retention.sm",
                              12));
    cr_assert_eq(fixture_live(fixture), 0u);
    fixture_free(fixture);
}

Test(create_topics, refuses_names_that_exist_collide_or_come_twice, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    struct kafka_create_topics_topic topics[2];

    cr_assert_eq(fixture_create(fixture, "a.b", 1), 0);
    cr_assert_eq(fixture_create(fixture, "a.b", 1), KAFKA_ERROR_TOPIC_ALREADY_EXISTS);
    cr_assert_eq(fixture_create(fixture, "a_b", 1), KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    one_topic(&request, &topics[1], "twice", 1);
    one_topic(&request, &topics[0], "twice", 2);
    request.topics.count = 2;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 5, &request, &response);
    cr_assert_eq(response.topics.at[0].error, KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(response.topics.at[1].error, KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(fixture_live(fixture), 1u);
    fixture_free(fixture);
}

Test(create_topics, stops_at_its_limits, .timeout = 60)
{
    struct fixture *fixture = fixture_ready(3);
    char name[32];

    cr_assert_eq(fixture_create(fixture, "big-1", 128), 0);
    cr_assert_eq(fixture_create(fixture, "big-2", 127), 0);
    cr_assert_eq(fixture_create(fixture, "over", 2), KAFKA_ERROR_POLICY_VIOLATION);
    cr_assert_eq(fixture_create(fixture, "last", 1), 0);
    cr_assert_eq(fixture_delete(fixture, "big-1"), 0);
    for (uint32_t i = 0; i < 62; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        cr_assert_eq(fixture_create(fixture, name, 1), 0, "%u", i);
    }
    cr_assert_eq(fixture_create(fixture, "one-more", 1), KAFKA_ERROR_POLICY_VIOLATION);
    fixture_free(fixture);
}

Test(create_topics, does_nothing_when_it_only_validates, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topic;

    one_topic(&request, &topic, "a", 4);
    request.validate_only = true;
    cr_assert_eq(create_with(fixture, &request, 7), 0);
    cr_assert_eq(fixture_live(fixture), 0u);
    cr_assert_eq(fixture_create(fixture, "a", 1), 0);
    cr_assert_eq(create_with(fixture, &request, 7), KAFKA_ERROR_TOPIC_ALREADY_EXISTS);
    fixture_free(fixture);
}

Test(create_topics, takes_assignments_in_any_order_and_refuses_wrong_ones, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(26);
    int32_t here[2] = {7, 1};
    int32_t elsewhere[1] = {7};
    struct kafka_create_topics_assignment assignments[3];
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topic;

    for (int32_t i = 0; i < 3; i++) {
        kafka_create_topics_assignment_defaults(&assignments[i]);
        assignments[i].partition_idx = 2 - i;
        assignments[i].broker_ids = (struct kafka_i32_list){here, 2};
    }
    one_topic(&request, &topic, "a", 3);
    topic.assignments.at = assignments;
    topic.assignments.count = 3;
    cr_assert_eq(create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REQUEST);
    topic.partition_count = -1;
    topic.replication_factor = -1;
    assignments[0].partition_idx = 1;
    cr_assert_eq(
        create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT, "twice");
    assignments[0].partition_idx = 3;
    cr_assert_eq(
        create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT, "a gap");
    assignments[0].partition_idx = -1;
    cr_assert_eq(create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT);
    assignments[0].partition_idx = 2;
    assignments[1].broker_ids = (struct kafka_i32_list){elsewhere, 1};
    cr_assert_eq(create_with(fixture, &request, 4), KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT);
    assignments[1].broker_ids = (struct kafka_i32_list){here, 2};
    cr_assert_eq(create_with(fixture, &request, 4), 0);
    cr_assert_eq(fixture_live(fixture), 3u);
    fixture_free(fixture);
}

/* ---- the good way */

Test(create_topics, answers_counts_configs_and_a_real_id, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);
    struct kafka_create_topics_config config = {fixture_text("eagre.durability"),
                                                fixture_text("memory")};
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    struct kafka_create_topics_topic topic;
    bool seen = false;

    one_topic(&request, &topic, "a", -1);
    topic.replication_factor = 3; /* accepted; the true count is reported */
    topic.configs.at = &config;
    topic.configs.count = 1;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 7, &request, &response);
    const struct kafka_create_topics_result *result = &response.topics.at[0];
    cr_assert_eq(result->error, 0);
    cr_assert_eq(result->partition_count, 3);
    cr_assert_eq(result->replication_factor, 1);
    cr_assert_eq(result->topic_id.at[6] >> 4, 4, "uuid version 4");
    cr_assert_eq(result->configs.count, (uint32_t)TOPIC_CONFIG_COUNT);
    for (uint32_t i = 0; i < result->configs.count; i++) {
        const struct kafka_create_topics_result_config *entry = &result->configs.at[i];
        if (entry->name.count == 16 && memcmp(entry->name.at, "eagre.durability", 16) == 0) {
            seen = true;
            cr_assert_eq(memcmp(entry->value.at, "memory", 6), 0);
            cr_assert_eq(entry->source, TOPIC_CONFIG_SOURCE_TOPIC);
        }
    }
    cr_assert(seen);
    cr_assert_eq(fixture_find(fixture, "a", 2)->config.durability, LOG_DURABILITY_MEMORY);
    fixture_free(fixture);
}

Test(create_topics, tells_every_gate_before_it_answers, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(6);

    cr_assert_eq(fixture_create(fixture, "a", 5), 0);
    const struct fixture_gate *gate = &fixture->gates[0];
    cr_assert_eq(gate->event_count, 2u);
    cr_assert_eq(gate->events[0].kind, EVENT_TOPIC);
    cr_assert_str_eq(gate->events[0].name, "a");
    cr_assert_eq(gate->events[0].partition_count, 5u);
    cr_assert_eq(gate->events[1].kind, EVENT_DONE);
    cr_assert_eq(fixture->gates[1].event_count, 1u);
    fixture_free(fixture);
}

Test(create_topics, does_not_answer_before_a_slow_gate_has_room_for_the_topic, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_response response;
    char name[16];

    for (uint32_t i = 0; i < 32;
         i++) { /* 32 creates and deletes fill the 64 snapshots that a gate may keep */
        fixture->gates[1].keep = true;
        snprintf(name, sizeof(name), "t%u", i);
        cr_assert_eq(fixture_create(fixture, name, 1), 0);
        cr_assert_eq(fixture_delete(fixture, name), 0);
    }
    one_topic(&request, &topic, "late", 1);
    fixture->call_count = 0;
    uint32_t call = fixture_send(fixture, 0, KAFKA_CREATE_TOPICS, 5, &request);
    fixture_run(fixture);
    cr_assert_eq(fixture_live(fixture), 1u, "all but the telling is done");
    cr_assert_not(fixture->calls[call].done);
    fixture->gates[1].keep = false;
    fixture_run(fixture);
    fixture_answer(fixture, call, &response);
    cr_assert_eq(response.topics.at[0].error, 0);
    fixture_free(fixture);
}

Test(create_topics, takes_many_topics_of_one_request_into_few_appends, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(8);
    struct kafka_create_topics_topic topics[40];
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    char names[40][16];

    for (uint32_t i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "t%u", i);
        one_topic(&request, &topics[i], names[i], 3);
    }
    request.topics.at = topics;
    request.topics.count = 40;
    uint32_t appends = fixture->logs[0].appends;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 7, &request, &response);
    for (uint32_t i = 0; i < 40; i++)
        cr_assert_eq(response.topics.at[i].error, 0);
    cr_assert_eq(fixture_live(fixture), 120u);
    cr_assert_leq(fixture->logs[0].appends - appends, 4u);
    fixture_free(fixture);
}

/* Sixty topics in one request, the first twenty with two partitions; returns how many were created.
 */
static uint32_t
create_sixty(uint32_t topics_max, uint32_t partitions_max)
{
    struct fixture *fixture = fixture_new(25);
    static struct kafka_create_topics_topic topics[60];
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    static char names[60][16];
    uint32_t good = 0;

    fixture->config.limits.operations_max = 64;
    fixture->config.limits.topics_max = topics_max;
    fixture->config.limits.partitions_max = partitions_max;
    fixture_restart(fixture);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 60; i++) {
        snprintf(names[i], sizeof(names[i]), "t%u", i);
        one_topic(&request, &topics[i], names[i], i < 20 ? 2 : 1);
    }
    request.topics.at = topics;
    request.topics.count = 60;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 4, &request, &response);
    for (uint32_t i = 0; i < 60; i++) {
        good += response.topics.at[i].error == 0;
        cr_assert(response.topics.at[i].error == 0 ||
                  response.topics.at[i].error == KAFKA_ERROR_POLICY_VIOLATION);
    }
    cr_assert_eq(fixture_live(fixture), good + (good < 20 ? good : 20));
    fixture_free(fixture);
    return good;
}

Test(create_topics, counts_what_the_same_batch_has_claimed_against_the_limits, .timeout = 20)
{
    cr_assert_eq(create_sixty(35, 256), 35u);
    cr_assert_eq(create_sixty(64, 50), 30u);
    cr_assert_eq(create_sixty(64, 256), 60u);
}

/* ---- failures */

Test(create_topics, undoes_everything_when_one_partition_cannot_be_opened, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(9);
    struct kafka_metadata_response metadata;

    fixture->logs[1].fail_open_at = 2;
    fixture->logs[1].fail_open_rc = RC_NO_SPACE;
    cr_assert_eq(fixture_create(fixture, "a", 8), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(fixture_live(fixture), 0u);
    for (uint32_t i = 0; i < fixture->gates[0].event_count; i++)
        cr_assert_neq(fixture->gates[0].events[i].kind, EVENT_TOPIC, "gates never saw it");
    cr_assert_eq(metadata_of(fixture, "a", false, &metadata),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_create(fixture, "a", 8), 0, "space came back");
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control));
    cr_assert_eq(fixture_live(fixture), 8u);
    fixture_free(fixture);
}

Test(create_topics, says_which_limit_of_the_log_tile_was_reached, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(10);

    fixture->logs[0].fail_open_at = 1;
    fixture->logs[0].fail_open_rc = RC_LIMIT;
    cr_assert_eq(fixture_create(fixture, "a", 8), KAFKA_ERROR_POLICY_VIOLATION);
    cr_assert_eq(fixture_live(fixture), 0u);
    fixture_free(fixture);
}

Test(create_topics, refuses_changes_after_the_metadata_log_failed, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(11);
    struct kafka_init_producer_id_request request;
    struct kafka_init_producer_id_response response;

    cr_assert_eq(fixture_create(fixture, "a", 1), 0);
    fixture->logs[0].fail_append_rc = RC_IO_ERROR;
    cr_assert_eq(fixture_create(fixture, "b", 1), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    fixture->logs[0].fail_append_rc = RC_OK;
    cr_assert_eq(fixture_create(fixture, "c", 1), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(fixture_delete(fixture, "a"), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    kafka_init_producer_id_request_defaults(&request);
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    cr_assert_neq(response.error, 0);
    cr_assert_eq(fixture_live(fixture), 1u);
    fixture_free(fixture);
}

Test(create_topics, goes_on_when_only_space_was_missing, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(12);

    fixture->logs[0].fail_append_rc = RC_NO_SPACE;
    cr_assert_eq(fixture_create(fixture, "b", 1), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    fixture->logs[0].fail_append_rc = RC_OK;
    cr_assert_eq(fixture_create(fixture, "b", 1), 0);
    fixture_free(fixture);
}

/* ---- at the same time */

Test(operations, on_one_name_take_turns, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(13);
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_response response;
    uint32_t calls[3];
    uint32_t good = 0;

    fixture->logs[0].hold = true; /* the metadata log: nothing becomes durable */
    for (uint32_t i = 0; i < 3; i++) {
        one_topic(&request, &topic, i == 2 ? "a_b" : "a.b", 2);
        calls[i] = fixture_send(fixture, i % 2, KAFKA_CREATE_TOPICS, 5, &request);
    }
    fixture_run(fixture);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_not(fixture->calls[calls[i]].done, "nothing is durable yet");
    fixture_release(fixture, 0);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 3; i++) {
        fixture_answer(fixture, calls[i], &response);
        good += response.topics.at[0].error == 0;
        cr_assert(response.topics.at[0].error == 0 ||
                  response.topics.at[0].error == KAFKA_ERROR_TOPIC_ALREADY_EXISTS ||
                  response.topics.at[0].error == KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    }
    cr_assert_eq(good, 1u);
    cr_assert_eq(fixture_live(fixture), 2u);
    fixture_free(fixture);
}

Test(operations, on_other_names_do_not_wait, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(14);
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topic;
    struct kafka_metadata_request all;
    struct kafka_metadata_response response;

    fixture->logs[1].hold = true; /* some partition of a large topic stays unopened */
    one_topic(&request, &topic, "slow", 64);
    uint32_t slow = fixture_send(fixture, 0, KAFKA_CREATE_TOPICS, 5, &request);
    fixture_run(fixture);
    kafka_metadata_request_defaults(&all);
    uint32_t quick = fixture_send(fixture, 0, KAFKA_METADATA, 9, &all);
    fixture_run(fixture);
    cr_assert_not(fixture->calls[slow].done);
    fixture_answer(fixture, quick, &response);
    cr_assert_eq(response.topics.count, 0u, "not seen before it is published");
    fixture_release(fixture, 1);
    fixture_run(fixture);
    cr_assert(fixture->calls[slow].done);
    fixture_free(fixture);
}

/* ---- Metadata and creation on demand */

Test(metadata, creates_a_named_topic_on_demand_and_answers_it_at_once, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(15);
    struct kafka_metadata_response response;

    cr_assert_eq(metadata_of(fixture, "a", false, &response),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(metadata_of(fixture, "bad name", true, &response),
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(metadata_of(fixture, "a", true, &response), 0);
    cr_assert_eq(response.topics.at[0].partitions.count, 3u);
    cr_assert_eq(response.topics.at[0].partitions.at[0].leader_id, 1);
    cr_assert_eq(response.topics.at[0].partitions.at[0].leader_epoch, 4);
    cr_assert_eq(response.controller_id, 1);
    cr_assert_eq(response.cluster_id.count, 22u);
    cr_assert_eq(response.brokers.at[0].port, 9092);
    cr_assert_eq(metadata_of(fixture, "a", true, &response), 0);
    cr_assert_eq(metadata_of(fixture, "A", false, &response),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_live(fixture), 3u);
    fixture_free(fixture);
}

Test(metadata, creates_a_topic_once_for_all_who_ask_at_the_same_time, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(16);
    struct kafka_metadata_request_topic topic;
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;
    uint32_t calls[20];

    kafka_metadata_request_topic_defaults(&topic);
    kafka_metadata_request_defaults(&request);
    topic.name = fixture_text("wanted");
    request.topics.at = &topic;
    request.topics.count = 1;
    for (uint32_t i = 0; i < 20; i++) /* more than operations_max */
        calls[i] = fixture_send(fixture, i % 2, KAFKA_METADATA, (int16_t)(i % 13), &request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 20; i++) {
        fixture_answer(fixture, calls[i], &response);
        cr_assert_eq(response.topics.at[0].error, 0, "version %u", i % 13);
        cr_assert_eq(response.topics.at[0].partitions.count, 3u);
    }
    cr_assert_eq(fixture_live(fixture), 3u);
    fixture_free(fixture);
}

Test(metadata, does_not_create_when_told_so, .timeout = 20)
{
    struct fixture *fixture = fixture_new(17);
    struct kafka_metadata_response response;

    fixture->config.auto_create = false;
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(metadata_of(fixture, "a", true, &response),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_live(fixture), 0u);
    fixture_free(fixture);
}

Test(metadata, an_empty_list_means_all_in_version_0_and_none_later, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(18);
    struct kafka_metadata_request_topic none;
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;

    cr_assert_eq(fixture_create(fixture, "a", 1), 0);
    cr_assert_eq(fixture_create(fixture, "b", 1), 0);
    kafka_metadata_request_defaults(&request);
    request.topics.at = &none;
    fixture_ask(fixture, KAFKA_METADATA, 0, &request, &response);
    cr_assert_eq(response.topics.count, 2u);
    fixture_ask(fixture, KAFKA_METADATA, 1, &request, &response);
    cr_assert_eq(response.topics.count, 0u);
    request.topics.at = NULL;
    fixture_ask(fixture, KAFKA_METADATA, 1, &request, &response);
    cr_assert_eq(response.topics.count, 2u);
    fixture_free(fixture);
}

Test(metadata, finds_topics_by_id_from_version_12_on, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(19);
    struct kafka_metadata_request_topic topic;
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    kafka_metadata_request_defaults(&request);
    fixture_ask(fixture, KAFKA_METADATA, 12, &request, &response);
    kafka_metadata_request_topic_defaults(&topic);
    topic.topic_id = response.topics.at[0].topic_id;
    request.topics.at = &topic;
    request.topics.count = 1;
    for (uint32_t empty = 0; empty < 2; empty++) {
        if (empty)
            topic.name = fixture_text(""); /* as Java's admin client asks */
        fixture_ask(fixture, KAFKA_METADATA, 12, &request, &response);
        cr_assert_eq(response.topics.at[0].error, 0);
        cr_assert_eq(response.topics.at[0].name.count, 1u);
        topic.topic_id.at[0] ^= 1;
        fixture_ask(fixture, KAFKA_METADATA, 12, &request, &response);
        cr_assert_eq(response.topics.at[0].error, KAFKA_ERROR_UNKNOWN_TOPIC_ID);
        cr_assert_null(response.topics.at[0].name.at);
        topic.topic_id.at[0] ^= 1;
    }
    uint32_t call = fixture_send(fixture, 0, KAFKA_METADATA, 11, &request);
    fixture_run(fixture);
    cr_assert_eq(fixture->calls[call].rc, RC_MALFORMED);
    fixture_free(fixture);
}

/* ---- DeleteTopics, CreatePartitions */

Test(delete_topics,
     tells_the_gates_drops_the_partitions_and_gives_a_new_id_afterwards,
     .timeout = 20)
{
    struct fixture *fixture = fixture_ready(20);
    uint8_t id[16];

    cr_assert_eq(fixture_delete(fixture, "a"), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    memcpy(id, fixture_find(fixture, "a", 0)->config.topic_id, 16);
    cr_assert_eq(fixture_delete(fixture, "a"), 0);
    const struct fixture_gate *gate = &fixture->gates[0];
    cr_assert_eq(gate->events[gate->event_count - 2].kind, EVENT_TOPIC);
    cr_assert(gate->events[gate->event_count - 2].gone);
    cr_assert_eq(gate->events[gate->event_count - 1].kind, EVENT_DONE);
    cr_assert_eq(fixture_live(fixture), 0u);
    cr_assert_eq(fixture->logs[0].drops + fixture->logs[1].drops, 3u);
    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    cr_assert_neq(memcmp(id, fixture_find(fixture, "a", 0)->config.topic_id, 16), 0);
    fixture_free(fixture);
}

Test(delete_topics, answers_while_a_slow_log_tile_still_drops, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(21);
    struct kafka_metadata_response response;

    cr_assert_eq(fixture_create(fixture, "a", 64), 0);
    fixture->logs[1].hold = true;
    cr_assert_eq(fixture_delete(fixture, "a"), 0);
    cr_assert_eq(metadata_of(fixture, "a", false, &response),
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    cr_assert_eq(fixture_create(fixture, "a", 64), 0);
    cr_assert_eq(fixture_live(fixture), 64u);
    fixture_free(fixture);
}

Test(delete_topics, finds_topics_by_id_in_version_6, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(22);
    struct kafka_delete_topics_topic topic;
    struct kafka_delete_topics_request request;
    struct kafka_delete_topics_response response;

    cr_assert_eq(fixture_create(fixture, "a", 1), 0);
    kafka_delete_topics_topic_defaults(&topic);
    kafka_delete_topics_request_defaults(&request);
    memcpy(topic.topic_id.at, fixture_find(fixture, "a", 0)->config.topic_id, 16);
    topic.topic_id.at[3] ^= 1;
    request.topics.at = &topic;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_DELETE_TOPICS, 6, &request, &response);
    cr_assert_eq(response.topics.at[0].error, KAFKA_ERROR_UNKNOWN_TOPIC_ID);
    topic.topic_id.at[3] ^= 1;
    fixture_ask(fixture, KAFKA_DELETE_TOPICS, 6, &request, &response);
    cr_assert_eq(response.topics.at[0].error, 0);
    cr_assert_eq(fixture_live(fixture), 0u);
    fixture_free(fixture);
}

static int16_t
grow(struct fixture *fixture, const char *name, int32_t count, bool validate_only)
{
    struct kafka_create_partitions_topic topic;
    struct kafka_create_partitions_request request;
    struct kafka_create_partitions_response response;

    kafka_create_partitions_topic_defaults(&topic);
    kafka_create_partitions_request_defaults(&request);
    topic.name = fixture_text(name);
    topic.partition_count = count;
    request.topics.at = &topic;
    request.topics.count = 1;
    request.validate_only = validate_only;
    fixture_ask(fixture, KAFKA_CREATE_PARTITIONS, 3, &request, &response);
    return response.topics.at[0].error;
}

Test(create_partitions, adds_at_the_end_and_refuses_the_rest, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(23);

    cr_assert_eq(grow(fixture, "a", 3, false), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    cr_assert_eq(grow(fixture, "a", 3, false), KAFKA_ERROR_INVALID_PARTITIONS);
    cr_assert_eq(grow(fixture, "a", 129, false), KAFKA_ERROR_INVALID_PARTITIONS);
    cr_assert_eq(grow(fixture, "a", 5, true), 0);
    cr_assert_eq(fixture_live(fixture), 3u);
    uint64_t first = fixture_find(fixture, "a", 0)->config.incarnation;
    cr_assert_eq(grow(fixture, "a", 5, false), 0);
    cr_assert_eq(fixture_live(fixture), 5u);
    cr_assert_eq(fixture_find(fixture, "a", 0)->config.incarnation, first);
    const struct fixture_gate *gate = &fixture->gates[1];
    cr_assert_eq(gate->events[gate->event_count - 1].partition_count, 5u);
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(fixture_live(fixture), 5u);
    fixture_free(fixture);
}

Test(create_partitions, keeps_what_could_not_be_opened_unseen_and_opens_it_later, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(24);
    struct kafka_metadata_response response;

    cr_assert_eq(fixture_create(fixture, "a", 1), 0);
    fixture->logs[0].fail_open_at = 1;
    fixture->logs[0].fail_open_rc = RC_NO_SPACE;
    cr_assert_eq(grow(fixture, "a", 9, false), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(metadata_of(fixture, "a", false, &response), 0);
    cr_assert_eq(response.topics.at[0].partitions.count, 1u);
    cr_assert_eq(grow(fixture, "a", 9, false), 0);
    cr_assert_eq(metadata_of(fixture, "a", false, &response), 0);
    cr_assert_eq(response.topics.at[0].partitions.count, 9u);
    cr_assert_eq(fixture_live(fixture), 9u);
    fixture_free(fixture);
}
