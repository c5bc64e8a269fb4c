/* Goal: DescribeTopicPartitions lists topics in order, page by page, everything once. Method: what
 * must be refused first; then topics whose pages end inside and between them, walked with every
 * page size. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static bool
is_text(struct bytes bytes, const char *text)
{
    return bytes.count == strlen(text) && memcmp(bytes.at, text, bytes.count) == 0;
}

/* "b" has 3 partitions, "a" has 2, "aa" has 1: 6 in all. */
static struct fixture *
with_topics(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);

    cr_assert_eq(fixture_create(fixture, "b", 3), 0);
    cr_assert_eq(fixture_create(fixture, "aa", 1), 0);
    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    return fixture;
}

Test(describe_topic_partitions, refuses_unknown_topics_one_by_one, .timeout = 20)
{
    struct fixture *fixture = with_topics(1);
    struct kafka_describe_topic_partitions_request_topic_request asked[4];
    struct kafka_describe_topic_partitions_request request;
    struct kafka_describe_topic_partitions_response response;
    const char *names[4] = {"c", "b", "a/b", "b"};

    kafka_describe_topic_partitions_request_defaults(&request);
    for (uint32_t i = 0; i < 4; i++)
        asked[i].name = fixture_text(names[i]);
    request.topics.at = asked;
    request.topics.count = 4;
    fixture_ask(fixture, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
    cr_assert_eq(response.topics.count, 3u, "a topic named twice is told once");
    cr_assert_eq(response.topics.at[0].error, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_assert(is_text(response.topics.at[1].name, "b"));
    cr_assert_eq(response.topics.at[1].error, 0);
    cr_assert_eq(response.topics.at[1].partitions.count, 3u);
    cr_assert_eq(response.topics.at[1].partitions.at[2].leader_id, 1);
    cr_assert_eq(response.topics.at[1].partitions.at[2].leader_epoch, 4);
    cr_assert_eq(response.topics.at[2].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(response.next_cursor.count, 0u);
    fixture_free(fixture);
}

Test(describe_topic_partitions, refuses_a_cursor_before_the_first_partition, .timeout = 20)
{
    struct fixture *fixture = with_topics(2);
    struct kafka_describe_topic_partitions_request_cursor cursor = {fixture_text("a"), -1};
    struct kafka_describe_topic_partitions_request request;

    kafka_describe_topic_partitions_request_defaults(&request);
    request.cursor.at = &cursor;
    request.cursor.count = 1;
    uint32_t call = fixture_send(fixture, 0, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &request);
    fixture_run(fixture);
    cr_assert_eq(fixture->calls[call].rc, RC_MALFORMED);
    fixture_free(fixture);
}

/* Walks all pages of that size and writes what came as "a0 a1 aa0 ...". */
static void
walk(struct fixture *fixture, int32_t limit, char *text, size_t capacity)
{
    struct kafka_describe_topic_partitions_request_cursor cursor;
    struct kafka_describe_topic_partitions_request request;
    struct kafka_describe_topic_partitions_response response;
    char name[TOPIC_NAME_MAX];
    size_t at = 0;
    bool more = true;

    kafka_describe_topic_partitions_request_defaults(&request);
    request.response_partition_limit = limit;
    for (uint32_t page = 0; more; page++) {
        int32_t listed = 0;
        cr_assert_lt(page, 7u, "never ends");
        fixture_ask(fixture, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
        for (uint32_t t = 0; t < response.topics.count; t++) {
            const struct kafka_describe_topic_partitions_response_topic *topic =
                &response.topics.at[t];
            for (uint32_t p = 0; p < topic->partitions.count; p++, listed++)
                at += (size_t)snprintf(text + at,
                                       capacity - at,
                                       "%.*s%d ",
                                       (int)topic->name.count,
                                       (const char *)topic->name.at,
                                       topic->partitions.at[p].index);
        }
        cr_assert_leq(listed, limit < 1 ? 1 : limit);
        more = response.next_cursor.count > 0;
        if (!more)
            break;
        memcpy(name,
               response.next_cursor.at->topic_name.at,
               response.next_cursor.at->topic_name.count);
        cursor.topic_name = (struct bytes){(const uint8_t *)name,
                                           response.next_cursor.at->topic_name.count};
        cursor.index = response.next_cursor.at->index;
        request.cursor.at = &cursor;
        request.cursor.count = 1;
    }
}

Test(describe_topic_partitions, gives_everything_once_in_pages_of_any_size, .timeout = 20)
{
    struct fixture *fixture = with_topics(3);
    char text[128];

    for (int32_t limit = 0; limit <= 7; limit++) {
        walk(fixture, limit, text, sizeof(text));
        cr_assert_str_eq(text, "a0 a1 aa0 b0 b1 b2 ", "pages of %d", limit);
    }
    fixture_free(fixture);
}

Test(describe_topic_partitions, goes_on_behind_a_topic_that_went_meanwhile, .timeout = 20)
{
    struct fixture *fixture = with_topics(4);
    struct kafka_describe_topic_partitions_request_cursor cursor = {fixture_text("aa"), 5};
    struct kafka_describe_topic_partitions_request request;
    struct kafka_describe_topic_partitions_response response;

    cr_assert_eq(fixture_delete(fixture, "aa"), 0);
    kafka_describe_topic_partitions_request_defaults(&request);
    request.cursor.at = &cursor;
    request.cursor.count = 1;
    fixture_ask(fixture, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
    cr_assert_eq(response.topics.count, 1u);
    cr_assert(is_text(response.topics.at[0].name, "b"));
    cr_assert_eq(response.topics.at[0].partitions.count, 3u);
    fixture_free(fixture);
}

Test(describe_topic_partitions, sorts_many_names, .timeout = 30)
{
    struct fixture *fixture = fixture_ready(5);
    struct kafka_describe_topic_partitions_request request;
    struct kafka_describe_topic_partitions_response response;

    for (uint32_t i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02u", i * 37 % 50);
        cr_assert_eq(fixture_create(fixture, name, 1), 0);
    }
    kafka_describe_topic_partitions_request_defaults(&request);
    fixture_ask(fixture, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &request, &response);
    cr_assert_eq(response.topics.count, 50u);
    for (uint32_t i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%02u", i);
        cr_assert(is_text(response.topics.at[i].name, name), "%s", name);
    }
    fixture_free(fixture);
}
