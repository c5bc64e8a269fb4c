/* Goal: any client learns the ranges, also one that asks in a version we do not know; errors fit
 * the request's version. Method: answers read back by the client codec and byte by byte; the
 * promises of kafka-protocol traps as facts on the table. */
#include "golden.h"

#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_versions.h"

#include <criterion/criterion.h>
#include <string.h>

static struct bytes
text(const char *s)
{
    return (struct bytes){.at = (const uint8_t *)s, .count = strlen(s)};
}

static struct kafka_request_header
header_of(int16_t version)
{
    const struct kafka_api *api = kafka_api_find(KAFKA_API_VERSIONS);

    return (struct kafka_request_header){
        .api = api,
        .served = kafka_api_serves(api, version),
        .api_key = KAFKA_API_VERSIONS,
        .api_version = version,
        .correlation_id = 31,
    };
}

static struct bytes
body_of(int16_t version, const char *software, uint8_t *memory, size_t capacity)
{
    struct kafka_api_versions_request request = {.software_name = text(software),
                                                 .software_version = text("1.0")};
    struct writer writer = writer_over(memory, capacity);

    kafka_api_versions_request_encode(&writer, version, &request);
    cr_assert(!writer.failed);
    return (struct bytes){memory, writer_count(&writer)};
}

Test(kafka_versions_answer, to_an_unknown_version_is_version_0_with_its_own_range, .timeout = 10)
{
    static const uint8_t want[] = {0, 0, 0, 16, 0, 0, 0, 31, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4};
    uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_request_header header = header_of(5);

    cr_assert_eq(kafka_versions_answer(&writer, &header, (struct bytes){0}, 0), RC_OK);
    cr_assert_eq(writer_count(&writer), sizeof(want));
    cr_assert_arr_eq(memory, want, sizeof(want));
}

Test(kafka_versions_answer, refuses_strange_software_names_and_cut_bodies, .timeout = 10)
{
    static const char *const strange[] = {"", "-a", "a-", ".", "a b", "a_b", "\xc3\xa9"};
    uint8_t body[64];
    uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
    struct kafka_request_header header = header_of(3);

    for (size_t i = 0; i < ARRAY_COUNT(strange); i++) {
        struct writer writer = writer_over(memory, sizeof(memory));
        cr_assert_eq(
            kafka_versions_answer(&writer, &header, body_of(3, strange[i], body, sizeof(body)), 0),
            RC_OK);
        cr_expect_eq(get_u16_be(memory + 8), KAFKA_ERROR_INVALID_REQUEST, "%s", strange[i]);
    }
    struct writer writer = writer_over(memory, sizeof(memory));
    cr_assert_eq(kafka_versions_answer(&writer, &header, (struct bytes){body, 1}, 0), RC_MALFORMED);
    cr_assert_eq(writer_count(&writer), 0u);
    cr_assert(kafka_versions_software_ok(text("apache-kafka-java")));
    cr_assert(kafka_versions_software_ok(text("v1.9.2")));
    cr_assert(kafka_versions_software_ok(text("x")));
}

Test(kafka_versions_answer, lists_every_api_once_in_every_version, .timeout = 10)
{
    for (int16_t version = 0; version <= 4; version++) {
        uint8_t body[64];
        uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
        uint8_t arena_memory[8192];
        struct writer writer = writer_over(memory, sizeof(memory));
        struct kafka_arena arena = kafka_arena_over(arena_memory, sizeof(arena_memory));
        struct kafka_request_header header = header_of(version);
        struct kafka_client_request request = {
            .api_key = KAFKA_API_VERSIONS, .version = version, .correlation_id = 31};
        struct kafka_api_versions_response response;
        cr_assert_eq(
            kafka_versions_answer(&writer, &header, body_of(version, "lib", body, sizeof(body)), 0),
            RC_OK);
        cr_assert(!writer.failed);
        cr_assert_eq(get_u32_be(memory) + 4, writer_count(&writer));
        struct bytes frame = {memory + 4, writer_count(&writer) - 4};
        cr_assert_eq(kafka_client_response(frame, &request, &arena, &response), RC_OK);
        cr_assert_eq(response.error, 0);
        cr_assert_eq(response.ranges.count, kafka_api_count);
        for (uint32_t i = 0; i < kafka_api_count; i++) {
            cr_expect_eq(response.ranges.at[i].api_key, kafka_apis[i].key);
            cr_expect_eq(response.ranges.at[i].first, kafka_apis[i].advertised_first);
            cr_expect_eq(response.ranges.at[i].last, kafka_apis[i].last);
        }
    }
}

Test(kafka_versions_answer, says_that_the_consumer_protocol_is_in_force, .timeout = 10)
{
    /* Written by hand from ApiVersionsResponse.json: tag, bytes, elements + 1, name, levels. */
    static const uint8_t supported[] = "\x00\x14\x02\x0e"
                                       "group.version\x00\x00\x00\x01\x00";
    static const uint8_t finalized[] = "\x01\x08\x00\x00\x00\x00\x00\x00\x00\x01"
                                       "\x02\x14\x02\x0e"
                                       "group.version\x00\x01\x00\x01\x00";
    const size_t supported_count = sizeof(supported) - 1;
    const size_t finalized_count = sizeof(finalized) - 1;

    for (int16_t version = 3; version <= 4; version++) {
        uint8_t body[64];
        uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
        struct writer writer = writer_over(memory, sizeof(memory));
        struct kafka_request_header header = header_of(version);
        cr_assert_eq(
            kafka_versions_answer(&writer, &header, body_of(version, "lib", body, sizeof(body)), 0),
            RC_OK);
        const uint8_t *end = memory + writer_count(&writer);
        cr_assert_arr_eq(end - finalized_count, finalized, finalized_count);
        const uint8_t *before = end - finalized_count;
        if (version == 4) {
            before -= supported_count;
            cr_assert_arr_eq(before, supported, supported_count);
        }
        cr_assert_eq(before[-1], version == 4 ? 3 : 2, "tags");
    }
}

Test(kafka_versions_answer, to_an_unknown_version_is_understood_by_our_client, .timeout = 10)
{
    uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
    uint8_t arena_memory[256];
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_arena arena = kafka_arena_over(arena_memory, sizeof(arena_memory));
    struct kafka_request_header header = header_of(9);
    struct kafka_client_request request = {
        .api_key = KAFKA_API_VERSIONS, .version = 9, .correlation_id = 31};
    struct kafka_api_versions_response response;

    cr_assert_eq(kafka_versions_answer(&writer, &header, (struct bytes){0}, 0), RC_OK);
    struct bytes frame = {memory + 4, writer_count(&writer) - 4};
    cr_assert_eq(kafka_client_response(frame, &request, &arena, &response), RC_OK);
    cr_assert_eq(response.error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(response.ranges.at[0].last, 4);
}

Test(advertised_ranges, keep_old_librdkafka_and_kafkajs_working, .timeout = 10)
{
    const struct kafka_api *produce = kafka_api_find(KAFKA_PRODUCE);
    const struct kafka_api *fetch = kafka_api_find(KAFKA_FETCH);

    cr_assert_eq(produce->advertised_first, 0, "gzip, snappy and lz4 need Produce 0 in the range");
    cr_assert(kafka_api_serves(produce, 3) && kafka_api_serves(produce, 7));
    cr_assert(fetch->advertised_first <= 4 && fetch->last >= 11,
              "magic 2 needs Fetch 4, zstd Fetch 10");
    cr_assert_eq(kafka_api_find(KAFKA_FIND_COORDINATOR)->advertised_first, 0);
    cr_assert_eq(kafka_api_find(KAFKA_INIT_PRODUCER_ID)->advertised_first, 0);
    cr_assert_eq(kafka_api_find(KAFKA_API_VERSIONS)->advertised_first, 0);
}

Test(kafka_error, downgrades_codes_that_old_clients_do_not_know, .timeout = 10)
{
    cr_assert_eq(kafka_error_from_rc(RC_FENCED, KAFKA_FETCH, 5),
                 KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(kafka_error_from_rc(RC_FENCED, KAFKA_FETCH, 6), KAFKA_ERROR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(kafka_error_from_rc(RC_AGAIN, KAFKA_FETCH, 17),
                 KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(kafka_error_from_rc(RC_AGAIN, KAFKA_PRODUCE, 7), KAFKA_ERROR_REQUEST_TIMED_OUT);
    cr_assert_eq(kafka_error_from_rc(RC_FENCED, KAFKA_PRODUCE, 3),
                 KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(kafka_error_for_version(KAFKA_ERROR_PRODUCER_FENCED, KAFKA_INIT_PRODUCER_ID, 3),
                 KAFKA_ERROR_INVALID_PRODUCER_EPOCH);
    cr_assert_eq(kafka_error_for_version(KAFKA_ERROR_OFFSET_NOT_AVAILABLE, KAFKA_LIST_OFFSETS, 4),
                 KAFKA_ERROR_LEADER_NOT_AVAILABLE);
}

Test(kafka_error, says_what_each_result_means, .timeout = 10)
{
    cr_assert_eq(kafka_error_from_rc(RC_OK, KAFKA_PRODUCE, 7), 0);
    cr_assert_eq(kafka_error_from_rc(RC_SEQUENCE_DUPLICATE, KAFKA_PRODUCE, 7), 0);
    cr_assert_eq(kafka_error_from_rc(RC_BATCH_CORRUPT, KAFKA_PRODUCE, 7), 2);
    cr_assert_eq(kafka_error_from_rc(RC_BATCH_INVALID, KAFKA_PRODUCE, 7), 87);
    cr_assert_eq(kafka_error_from_rc(RC_BATCH_TOO_LARGE, KAFKA_PRODUCE, 7), 10);
    cr_assert_eq(kafka_error_from_rc(RC_COUNT, KAFKA_PRODUCE, 7), -1);
    /* Nothing that failed may look like success. */
    for (int rc = RC_OK + 1; rc < RC_COUNT; rc++)
        if (rc != RC_SEQUENCE_DUPLICATE)
            cr_expect_neq(
                kafka_error_from_rc((enum rc)rc, KAFKA_FETCH, 4), 0, "%s", rc_name((enum rc)rc));
    cr_assert_str_eq(kafka_error_name(2), "CORRUPT_MESSAGE");
    cr_assert_str_eq(kafka_error_name(999), "UNLISTED");
}
