/* Goal: topics are resolved page by page, Kafka requests of the allow-list reach control and their
 * answers come back whole; all others are refused. Method: the forbidden first; then requests and
 * replies of several pieces, and sessions that end in between. */
#include "tests/unit/net/door/fixture.h"

#include <criterion/criterion.h>

static void
resolve(struct fixture *fixture,
        struct fixture_client *client,
        uint32_t request,
        const char *topic,
        uint32_t first)
{
    uint8_t frame[300];
    const struct wire_resolve ask = {.request = request,
                                     .partition_first = first,
                                     .topic = {(const uint8_t *)topic, strlen(topic)}};

    fixture_send(fixture, client, frame, wire_resolve_encode(frame, &ask));
}

static struct wire_resolved
resolved_at(const struct fixture_client *client, uint32_t idx)
{
    const struct fixture_frame *keep = fixture_frame(client, WIRE_FRAME_RESOLVED, idx);
    struct wire_resolved resolved;

    cr_assert_not_null(keep);
    const struct wire_frame frame = {
        .type = keep->type, .flags = keep->flags, .body = {keep->body, keep->count}};
    cr_assert_eq(wire_resolved_decode(&frame, &resolved), RC_OK);
    return resolved;
}

/* The whole answer to a call. */
static uint32_t
answer_of(const struct fixture_client *client, uint32_t request, uint16_t *ret_status)
{
    uint32_t bytes = 0;

    *ret_status = UINT16_MAX;
    for (uint32_t i = 0; i < fixture_count(client, WIRE_FRAME_ANSWER); i++) {
        const struct fixture_frame *keep = fixture_frame(client, WIRE_FRAME_ANSWER, i);
        const struct wire_frame frame = {
            .type = keep->type, .flags = keep->flags, .body = {keep->body, keep->count}};
        struct wire_call answer;
        cr_assert_eq(wire_call_decode(&frame, &answer), RC_OK);
        if (answer.request != request)
            continue;
        for (uint32_t k = 0; k < answer.piece.bytes.count; k++, bytes++)
            cr_assert_eq(answer.piece.bytes.at[k], (uint8_t)(bytes * 7));
        *ret_status = answer.status;
    }
    return bytes;
}

/* A Kafka request of an api, as far as the door looks at it. */
static struct bytes
kafka_request(int16_t api_key, uint32_t bytes)
{
    static uint8_t memory[64 * 1024];

    memset(memory, 0, sizeof(memory));
    put_u16_be(memory, (uint16_t)api_key);
    return (struct bytes){memory, bytes};
}

Test(door_resolve, tells_what_it_does_not_know, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);

    resolve(fixture, client, 5, "nobody", 0);
    fixture_run(fixture, 5 * NS_PER_MS);
    struct wire_resolved resolved = resolved_at(client, 0);
    cr_assert_eq(resolved.request, 5u);
    cr_assert_eq(resolved.status, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(resolved.entry_count, 0u);
    fixture_free(fixture);
}

Test(door_resolve, gives_many_partitions_page_by_page, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint32_t known = 0;
    uint32_t pages = 0;

    fixture_topic(fixture, "wide", 50, 300, true);
    for (; known < 300; pages++) {
        resolve(fixture, client, pages, "wide", known);
        fixture_run(fixture, 5 * NS_PER_MS);
        struct wire_resolved resolved = resolved_at(client, pages);
        cr_assert_eq(resolved.status, 0u);
        cr_assert_eq(resolved.partition_count, 300u);
        cr_assert_eq(resolved.batch_bytes_max, 512u * 1024);
        cr_assert_not(resolved.is_durable);
        cr_assert_eq(resolved.partition_first, known);
        cr_assert_gt(resolved.entry_count, 0u);
        for (uint32_t i = 0; i < resolved.entry_count; i++, known++) {
            struct wire_partition partition;
            wire_resolved_at(&resolved, i, &partition);
            cr_assert_eq(partition.slot, 50 + known);
            cr_assert_eq(partition.incarnation, 1050 + known);
            cr_assert_eq(partition.log_tile, (50 + known) % FIXTURE_LOGS);
        }
    }
    cr_assert_gt(pages, 1u);
    resolve(fixture, client, 99, "wide", 5000);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(resolved_at(client, pages).entry_count, 0u);
    fixture_free(fixture);
}

Test(door_call, refuses_what_is_not_allowed, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint16_t status;

    for (int16_t key = 0; key < 70; key++) {
        if (key == KAFKA_METADATA || key == KAFKA_INIT_PRODUCER_ID || key == KAFKA_CREATE_TOPICS ||
            key == KAFKA_DELETE_TOPICS || key == KAFKA_LIST_OFFSETS)
            continue;
        fixture_call(fixture, client, (uint32_t)key, kafka_request(key, 40));
        fixture_run(fixture, 2 * NS_PER_MS);
        cr_assert_eq(answer_of(client, (uint32_t)key, &status), 0u);
        cr_assert_eq(status, KAFKA_ERROR_INVALID_REQUEST);
    }
    fixture_call(fixture, client, 100, kafka_request(KAFKA_METADATA, 1));
    fixture_call(fixture, client, 101, kafka_request(KAFKA_METADATA, 20000));
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(answer_of(client, 100, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_INVALID_REQUEST);
    cr_assert_eq(answer_of(client, 101, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_MESSAGE_TOO_LARGE);
    cr_assert_eq(fixture->calls_seen, 0u);
    fixture_free(fixture);
}

Test(door_call, beyond_the_limit_is_told_and_nothing_is_lost, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint16_t status;
    uint32_t refused = 0;
    uint32_t served = 0;

    for (uint32_t i = 0; i < 8; i++)
        fixture_call(fixture, client, i, kafka_request(KAFKA_METADATA, 40));
    fixture_run(fixture, 10 * NS_PER_MS);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t bytes = answer_of(client, i, &status);
        cr_assert_neq(status, UINT16_MAX, "call %u was not answered", i);
        refused += status == KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED ? 1 : 0;
        served += status == 0 && bytes == 8 ? 1 : 0;
    }
    cr_assert_eq(refused + served, 8u);
    cr_assert_geq(served, 2u);
    fixture_free(fixture);
}

Test(door_call, requests_and_answers_may_be_long, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint16_t status;

    fixture_call(fixture, client, 1, kafka_request(KAFKA_CREATE_TOPICS, 9000));
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(answer_of(client, 1, &status), 8u);
    cr_assert_eq(status, 0u);
    fixture->call_reply_bytes = 200 * 1024; /* more than the first buffer */
    fixture_call(fixture, client, 2, kafka_request(KAFKA_METADATA, 40));
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(answer_of(client, 2, &status), 200u * 1024);
    cr_assert_eq(fixture->large_calls_seen, 1u);
    fixture->call_reply_bytes = 2 << 20; /* more than any */
    fixture_call(fixture, client, 3, kafka_request(KAFKA_METADATA, 40));
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(answer_of(client, 3, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_MESSAGE_TOO_LARGE);
    fixture_free(fixture);
}

Test(door_call, a_session_that_ends_leaves_its_call_to_control, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    const struct door_grant revoke = {.session_id = client->id, .revoke = 1};

    fixture->calls_held = true;
    fixture_call(fixture, client, 1, kafka_request(KAFKA_METADATA, 40));
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(ring_push(&fixture->grants, &revoke, 1), 1u);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->door->orphans, 1u);
    cr_assert_eq(fixture->door->calls.used, 1u);
    fixture->calls_held = false;
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->door->calls.used, 0u);
    fixture_free(fixture);
}
