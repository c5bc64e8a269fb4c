/* Goal: tools for clusters of many get the answers of a cluster of one, in every version. Method:
 * what is unknown first; then topics of a few partitions. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

static bool
is_text(struct bytes bytes, const char *text)
{
    return bytes.count == strlen(text) && memcmp(bytes.at, text, bytes.count) == 0;
}

static struct fixture *
with_topics(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);

    cr_assert_eq(fixture_create(fixture, "b", 3), 0);
    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    return fixture;
}

Test(elect_leaders, says_that_no_partition_needs_one, .timeout = 20)
{
    struct fixture *fixture = with_topics(1);
    int32_t partitions[3] = {1, 2, -1};
    struct kafka_elect_leaders_request_topic_partitions asked[2];
    struct kafka_elect_leaders_request request;
    struct kafka_elect_leaders_response response;

    for (uint32_t i = 0; i < 2; i++) {
        kafka_elect_leaders_request_topic_partitions_defaults(&asked[i]);
        asked[i].topic = fixture_text(i == 0 ? "a" : "c");
        asked[i].partitions = (struct kafka_i32_list){partitions, 3};
    }
    kafka_elect_leaders_request_defaults(&request);
    request.topic_partitions.at = asked;
    request.topic_partitions.count = 2;
    for (int16_t version = 0; version <= 2; version++) {
        fixture_ask(fixture, KAFKA_ELECT_LEADERS, version, &request, &response);
        cr_assert_eq(response.error, 0);
        cr_assert_eq(response.replica_election_results.count, 2u);
        const struct kafka_elect_leaders_response_replica_election_result *results =
            response.replica_election_results.at;
        cr_assert(is_text(results[0].topic, "a"));
        cr_assert_eq(results[0].partition_result.at[0].error, KAFKA_ERROR_ELECTION_NOT_NEEDED);
        for (uint32_t i = 1; i < 3; i++)
            cr_assert_eq(results[0].partition_result.at[i].error,
                         KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        cr_assert_eq(results[1].partition_result.at[0].error,
                     KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    }
    request.election_type = 2;
    fixture_ask(fixture, KAFKA_ELECT_LEADERS, 1, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_INVALID_REQUEST);
    kafka_elect_leaders_request_defaults(&request); /* null: all partitions */
    fixture_ask(fixture, KAFKA_ELECT_LEADERS, 2, &request, &response);
    cr_assert_eq(response.error, 0);
    cr_assert_eq(response.replica_election_results.count, 0u);
    fixture_free(fixture);
}

Test(list_partition_reassignments, lists_none, .timeout = 20)
{
    struct fixture *fixture = with_topics(2);
    struct kafka_list_partition_reassignments_request request;
    struct kafka_list_partition_reassignments_response response;

    kafka_list_partition_reassignments_request_defaults(&request);
    fixture_ask(fixture, KAFKA_LIST_PARTITION_REASSIGNMENTS, 0, &request, &response);
    cr_assert_eq(response.error, 0);
    cr_assert_eq(response.topics.count, 0u);
    fixture_free(fixture);
}

Test(describe_acls, says_that_security_is_off, .timeout = 20)
{
    struct fixture *fixture = with_topics(3);
    struct kafka_describe_acls_request request;
    struct kafka_describe_acls_response response;

    kafka_describe_acls_request_defaults(&request);
    for (int16_t version = 1; version <= 3; version++) {
        fixture_ask(fixture, KAFKA_DESCRIBE_ACLS, version, &request, &response);
        cr_assert_eq(response.error, KAFKA_ERROR_SECURITY_DISABLED);
        cr_assert_eq(response.resources.count, 0u);
    }
    fixture_free(fixture);
}

Test(list_config_resources, lists_topics_and_the_broker, .timeout = 20)
{
    struct fixture *fixture = with_topics(4);
    int8_t types[2] = {7, 2};
    struct kafka_list_config_resources_request request;
    struct kafka_list_config_resources_response response;

    kafka_list_config_resources_request_defaults(&request);
    request.resource_types = (struct kafka_i8_list){types, 2};
    fixture_ask(fixture, KAFKA_LIST_CONFIG_RESOURCES, 1, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(response.config_resources.count, 0u);
    types[0] = 32; /* groups have none */
    fixture_ask(fixture, KAFKA_LIST_CONFIG_RESOURCES, 1, &request, &response);
    cr_assert_eq(response.error, 0);
    cr_assert_eq(response.config_resources.count, 2u);
    cr_assert_eq(response.config_resources.at[0].resource_type, 2);
    request.resource_types.count = 0; /* all */
    fixture_ask(fixture, KAFKA_LIST_CONFIG_RESOURCES, 1, &request, &response);
    cr_assert_eq(response.config_resources.count, 3u);
    cr_assert(is_text(response.config_resources.at[0].resource_name, "1"));
    cr_assert_eq(response.config_resources.at[0].resource_type, 4);
    fixture_ask(fixture, KAFKA_LIST_CONFIG_RESOURCES, 0, &request, &response);
    cr_assert_eq(response.error, 0);
    cr_assert_eq(response.config_resources.count, 0u);
    fixture_free(fixture);
}
