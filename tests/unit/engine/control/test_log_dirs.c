/* Goal: DescribeLogDirs tells the bytes of the partitions that are there, from where they begin.
 * Method: what is not there first; then partitions with a few batches, some of them trimmed. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/record/record_builder.h"

#include <criterion/criterion.h>

/* Stores six records in partition 1 of "a"; returns the bytes of one. */
static uint32_t
store_records(struct fixture *fixture)
{
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    uint8_t batch[512];
    uint32_t bytes = 0;

    for (uint32_t i = 0; i < 6; i++) {
        struct record record = {.timestamp_ms = 1700000000000, .value = fixture_text("x")};
        record_builder_begin(&builder, batch, sizeof(batch), &options);
        cr_assert(record_builder_add(&builder, &record));
        bytes = record_builder_finish(&builder);
        fixture_store(fixture_find(fixture, "a", 1), batch, bytes);
    }
    return bytes;
}

Test(describe_log_dirs, leaves_out_what_is_not_there, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    int32_t partitions[4] = {0, 0, 5, -1};
    struct kafka_describe_log_dirs_request_topic asked[2];
    struct kafka_describe_log_dirs_request request;
    struct kafka_describe_log_dirs_response response;

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    for (uint32_t i = 0; i < 2; i++) {
        kafka_describe_log_dirs_request_topic_defaults(&asked[i]);
        asked[i].topic = fixture_text(i == 0 ? "no-such" : "a");
        asked[i].partitions = (struct kafka_i32_list){partitions, 4};
    }
    kafka_describe_log_dirs_request_defaults(&request);
    request.topics.at = asked;
    request.topics.count = 2;
    fixture_ask(fixture, KAFKA_DESCRIBE_LOG_DIRS, 4, &request, &response);
    cr_assert_eq(response.results.count, 1u);
    cr_assert_eq(response.results.at[0].error, 0);
    cr_assert_eq(response.results.at[0].total_bytes, -1);
    cr_assert_eq(response.results.at[0].topics.count, 1u);
    cr_assert_eq(response.results.at[0].topics.at[0].partitions.count, 1u);
    fixture_free(fixture);
}

Test(describe_log_dirs, tells_the_bytes_of_every_partition, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);
    struct kafka_describe_log_dirs_request request;
    struct kafka_describe_log_dirs_response response;

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    cr_assert_eq(fixture_create(fixture, "b", 1), 0);
    uint32_t bytes = store_records(fixture);
    fixture_find(fixture, "a", 1)->start = 2;
    kafka_describe_log_dirs_request_defaults(&request); /* null: all */
    for (int16_t version = 1; version <= 4; version++) {
        fixture_ask(fixture, KAFKA_DESCRIBE_LOG_DIRS, version, &request, &response);
        const struct kafka_describe_log_dirs_result *result = &response.results.at[0];
        cr_assert_eq(result->log_dir.count, 4u);
        cr_assert_arr_eq(result->log_dir.at, "/log", 4);
        cr_assert_eq(result->topics.count, 2u);
        cr_assert_eq(result->topics.at[0].partitions.count, 2u);
        cr_assert_eq(result->topics.at[0].partitions.at[0].partition_size, 0);
        cr_assert_eq(result->topics.at[0].partitions.at[1].index, 1);
        cr_assert_eq(result->topics.at[0].partitions.at[1].partition_size, 4 * bytes);
        cr_assert_eq(result->topics.at[1].partitions.count, 1u);
    }
    fixture_free(fixture);
}

Test(describe_log_dirs, does_not_tell_of_a_topic_deleted_meanwhile, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    struct kafka_describe_log_dirs_request request;
    struct kafka_describe_log_dirs_response response;

    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    fixture->logs[1].hold = true;
    kafka_describe_log_dirs_request_defaults(&request);
    uint32_t call = fixture_send(fixture, 0, KAFKA_DESCRIBE_LOG_DIRS, 2, &request);
    fixture_run(fixture);
    cr_assert_not(fixture->calls[call].done);
    cr_assert_eq(fixture_delete(fixture, "a"), 0);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    fixture_answer(fixture, call, &response);
    cr_assert_eq(response.results.at[0].topics.count, 0u);
    fixture_free(fixture);
}
