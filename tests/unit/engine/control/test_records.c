/* Goal: DeleteRecords raises the start of exactly the partitions it names, as far as it may, and
 * says where they begin then. Method: what must be refused first; then partitions with a few
 * batches, every version, a held-back log tile. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/record/record_builder.h"

#include <criterion/criterion.h>

struct deletion {
    struct kafka_delete_records_request_partition partitions[3];
    struct kafka_delete_records_request_topic topic;
    struct kafka_delete_records_request request;
    struct kafka_delete_records_response response;
};

static void
deletion_of(struct deletion *deletion, const char *topic, int32_t partition, int64_t offset)
{
    kafka_delete_records_request_defaults(&deletion->request);
    kafka_delete_records_request_topic_defaults(&deletion->topic);
    deletion->topic.name = fixture_text(topic);
    deletion->topic.partitions.at = deletion->partitions;
    deletion->topic.partitions.count = 1;
    deletion->partitions[0] = (struct kafka_delete_records_request_partition){partition, offset};
    deletion->request.topics.at = &deletion->topic;
    deletion->request.topics.count = 1;
}

static int16_t
delete_records(struct fixture *fixture, const char *topic, int32_t partition, int64_t offset)
{
    struct deletion deletion;

    deletion_of(&deletion, topic, partition, offset);
    fixture_ask(fixture, KAFKA_DELETE_RECORDS, 2, &deletion.request, &deletion.response);
    cr_assert_eq(deletion.response.topics.count, 1u);
    cr_assert_eq(deletion.response.topics.at[0].partitions.count, 1u);
    int16_t error = deletion.response.topics.at[0].partitions.at[0].error;
    cr_assert(error == 0 || deletion.response.topics.at[0].partitions.at[0].low_watermark == -1);
    return error;
}

/* A topic "a" of two partitions with 6 records in each. */
static struct fixture *
with_records(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    uint8_t batch[512];

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    for (uint32_t i = 0; i < 6; i++) {
        struct record record = {.timestamp_ms = 1700000000000, .value = fixture_text("x")};
        record_builder_begin(&builder, batch, sizeof(batch), &options);
        cr_assert(record_builder_add(&builder, &record));
        uint32_t bytes = record_builder_finish(&builder);
        for (uint32_t p = 0; p < 2; p++)
            fixture_store(fixture_find(fixture, "a", p), batch, bytes);
    }
    return fixture;
}

Test(delete_records, refuses_what_is_not_there_or_not_theirs, .timeout = 20)
{
    struct fixture *fixture = with_records(1);

    fixture_open_group_log(fixture);
    cr_assert_eq(delete_records(fixture, "b", 0, 1), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(delete_records(fixture, "a", 2, 1), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(delete_records(fixture, "a", -1, 1), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(delete_records(fixture, "a", 0, 7), KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(delete_records(fixture, "a", 0, -2), KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(delete_records(fixture, "__consumer_offsets", 0, -1),
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_assert_eq(fixture_find(fixture, "a", 0)->start, 0u);
    fixture_free(fixture);
}

Test(delete_records, refuses_a_partition_named_twice, .timeout = 20)
{
    struct fixture *fixture = with_records(2);
    struct deletion deletion;

    deletion_of(&deletion, "a", 0, 2);
    deletion.partitions[1] = (struct kafka_delete_records_request_partition){0, 4};
    deletion.topic.partitions.count = 2;
    fixture_ask(fixture, KAFKA_DELETE_RECORDS, 1, &deletion.request, &deletion.response);
    cr_assert_eq(deletion.response.topics.at[0].partitions.at[1].error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(fixture_find(fixture, "a", 0)->start, 2u);
    fixture_free(fixture);
}

Test(delete_records, raises_the_start_and_never_lowers_it, .timeout = 20)
{
    struct fixture *fixture = with_records(3);
    struct deletion deletion;

    for (int16_t version = 0; version <= 2; version++) {
        deletion_of(&deletion, "a", 1, 1 + version);
        fixture_ask(fixture, KAFKA_DELETE_RECORDS, version, &deletion.request, &deletion.response);
        cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].error, 0);
        cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].index, 1);
        cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].low_watermark, 1 + version);
    }
    deletion_of(&deletion, "a", 1, 1);
    fixture_ask(fixture, KAFKA_DELETE_RECORDS, 2, &deletion.request, &deletion.response);
    cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].low_watermark, 3);
    cr_assert_eq(fixture_find(fixture, "a", 0)->start, 0u);
    cr_assert_eq(fixture_find(fixture, "a", 1)->start, 3u);
    fixture_free(fixture);
}

Test(delete_records, of_minus_one_goes_to_the_high_watermark, .timeout = 20)
{
    struct fixture *fixture = with_records(4);
    struct deletion deletion;

    deletion_of(&deletion, "a", 0, -1);
    fixture_ask(fixture, KAFKA_DELETE_RECORDS, 2, &deletion.request, &deletion.response);
    cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].low_watermark, 6);
    cr_assert_eq(fixture_find(fixture, "a", 0)->start, 6u);
    fixture_free(fixture);
}

Test(delete_records, is_answered_only_when_the_log_tile_says_so, .timeout = 20)
{
    struct fixture *fixture = with_records(5);
    struct deletion deletion;

    fixture->logs[0].hold = true;
    fixture->logs[1].hold = true;
    deletion_of(&deletion, "a", 0, 2);
    uint32_t call = fixture_send(fixture, 0, KAFKA_DELETE_RECORDS, 2, &deletion.request);
    fixture_run(fixture);
    cr_assert_not(fixture->calls[call].done);
    fixture_release(fixture, 0);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    fixture_answer(fixture, call, &deletion.response);
    cr_assert_eq(deletion.response.topics.at[0].partitions.at[0].low_watermark, 2);
    fixture_free(fixture);
}
