/* Goal: who asks one broker to move replicas or to keep access lists is told no by the right name,
 * and who asks for what is there already is told yes, in every version.
 * Method: what is unknown first; then good and bad wishes side by side in one request. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

static struct fixture *
with_topic(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    return fixture;
}

Test(alter_partition_reassignments, grants_only_the_replica_that_there_is, .timeout = 20)
{
    struct fixture *fixture = with_topic(1);
    const int32_t here[] = {1};
    const int32_t elsewhere[] = {2};
    const int32_t both[] = {1, 2};
    const struct kafka_alter_partition_reassignments_request_partition asked[] = {
        {.index = 2, .replicas = {here, 1}},
        {.index = -1, .replicas = {here, 1}},
        {.index = 1, .replicas = {elsewhere, 1}},
        {.index = 1, .replicas = {both, 2}},
        {.index = 1, .replicas = {both, 0}},
        {.index = 0, .replicas = {NULL, 0}},
        {.index = 0, .replicas = {here, 1}},
    };
    const int16_t errors[] = {
        KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
        KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION,
        KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
        KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
        KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
        KAFKA_ERROR_NO_REASSIGNMENT_IN_PROGRESS,
        KAFKA_ERROR_NONE,
    };
    struct kafka_alter_partition_reassignments_request_topic topics[2];
    struct kafka_alter_partition_reassignments_request request;
    struct kafka_alter_partition_reassignments_response response;

    for (uint32_t i = 0; i < 2; i++) {
        topics[i].name = fixture_text(i == 0 ? "a" : "unknown");
        topics[i].partitions.at = asked;
        topics[i].partitions.count = ARRAY_COUNT(asked);
    }
    kafka_alter_partition_reassignments_request_defaults(&request);
    request.topics.at = topics;
    request.topics.count = 2;
    for (int16_t version = 0; version <= 1; version++) {
        fixture_ask(fixture, KAFKA_ALTER_PARTITION_REASSIGNMENTS, version, &request, &response);
        cr_assert_eq(response.error, 0);
        cr_assert_eq(response.responses.count, 2u);
        for (uint32_t i = 0; i < ARRAY_COUNT(asked); i++) {
            cr_assert_eq(response.responses.at[0].partitions.at[i].error, errors[i], "%u", i);
            cr_assert_eq(response.responses.at[0].partitions.at[i].index, asked[i].index);
            cr_assert_eq(response.responses.at[1].partitions.at[i].error,
                         KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        }
    }
    fixture_free(fixture);
}

Test(alter_replica_log_dirs, knows_one_directory, .timeout = 20)
{
    struct fixture *fixture = with_topic(2);
    const int32_t partitions[] = {0, 7};
    struct kafka_alter_replica_log_dirs_request_topic topics[2] = {
        {.name = fixture_text("a"), .partitions = {partitions, 2}},
        {.name = fixture_text("unknown"), .partitions = {partitions, 1}},
    };
    struct kafka_alter_replica_log_dirs_request_dir dirs[2] = {
        {.path = fixture_text("/elsewhere"), .topics = {topics, 1}},
        {.path = fixture_text(fixture->config.data), .topics = {topics, 2}},
    };
    struct kafka_alter_replica_log_dirs_request request = {.dirs = {dirs, 2}};
    struct kafka_alter_replica_log_dirs_response response;

    for (int16_t version = 1; version <= 2; version++) {
        fixture_ask(fixture, KAFKA_ALTER_REPLICA_LOG_DIRS, version, &request, &response);
        cr_assert_eq(response.results.count, 3u);
        cr_assert_eq(response.results.at[0].partitions.at[0].error, KAFKA_ERROR_LOG_DIR_NOT_FOUND);
        cr_assert_eq(response.results.at[1].partitions.at[0].error, KAFKA_ERROR_NONE);
        cr_assert_eq(response.results.at[1].partitions.at[1].error,
                     KAFKA_ERROR_REPLICA_NOT_AVAILABLE);
        cr_assert_eq(response.results.at[2].partitions.at[0].error,
                     KAFKA_ERROR_REPLICA_NOT_AVAILABLE);
    }
    fixture_free(fixture);
}

Test(acls, are_disabled_whatever_is_asked, .timeout = 20)
{
    struct fixture *fixture = with_topic(3);
    struct kafka_create_acls_request_creation creations[2];
    struct kafka_create_acls_request create;
    struct kafka_create_acls_response created;
    struct kafka_delete_acls_request_filter filter;
    struct kafka_delete_acls_request delete;
    struct kafka_delete_acls_response deleted;

    kafka_create_acls_request_defaults(&create);
    for (uint32_t i = 0; i < 2; i++) {
        kafka_create_acls_request_creation_defaults(&creations[i]);
        creations[i].resource_name = fixture_text("a");
        creations[i].principal = fixture_text("User:x");
        creations[i].host = fixture_text("*");
    }
    create.creations.at = creations;
    create.creations.count = 2;
    kafka_delete_acls_request_filter_defaults(&filter);
    delete.filters.at = &filter;
    delete.filters.count = 1;
    for (int16_t version = 1; version <= 3; version++) {
        fixture_ask(fixture, KAFKA_CREATE_ACLS, version, &create, &created);
        cr_assert_eq(created.results.count, 2u);
        cr_assert_eq(created.results.at[1].error, KAFKA_ERROR_SECURITY_DISABLED);
        cr_assert_neq(created.results.at[1].error_message.count, 0u);
        fixture_ask(fixture, KAFKA_DELETE_ACLS, version, &delete, &deleted);
        cr_assert_eq(deleted.filter_results.count, 1u);
        cr_assert_eq(deleted.filter_results.at[0].error, KAFKA_ERROR_SECURITY_DISABLED);
        cr_assert_eq(deleted.filter_results.at[0].matching_acls.count, 0u);
    }
    fixture_free(fixture);
}
