/* Goal: a client beyond its limit is answered first, told the pause, and then not read for that
 * long and not longer; nothing times out meanwhile, and others go on (KIP-219). Method: limits told
 * as control tells them, virtual time, every kind of request.
 */
#include "tests/unit/net/gate/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static uint8_t memory[1 << 20];
static uint8_t batch[1 << 20];

/* Tells the gate of a limit of a client id (NULL: the default); 0: none of that kind. */
static void
fixture_quota(
    struct fixture *fixture, const char *client_id, double produce, double fetch, double request)
{
    const double limits[QUOTA_KIND_COUNT] = {produce, fetch, request};
    struct quota_snapshot *snapshot = kept(calloc(1, sizeof(*snapshot)));
    struct response response = {.kind = RESPONSE_QUOTA, .u.quota = snapshot};

    snapshot->burst_ns = NS_PER_S;
    snapshot->pause_max_ns = 11 * NS_PER_S;
    snapshot->entity.is_default = client_id == NULL;
    if (client_id != NULL) {
        snapshot->entity.name_count = (uint8_t)strlen(client_id);
        memcpy(snapshot->entity.name, client_id, snapshot->entity.name_count);
    }
    for (uint32_t i = 0; i < QUOTA_KIND_COUNT; i++) {
        snapshot->entity.limits[i] = limits[i];
        if (limits[i] > 0)
            snapshot->entity.set = (uint8_t)(snapshot->entity.set | 1u << i);
    }
    cr_assert_eq(ring_push(&fixture->control_responses, &response, 1), 1u);
    fixture_step(fixture);
}

static struct fixture_produce
produce_of(uint32_t value_bytes, int16_t acks)
{
    uint32_t bytes = fixture_batch(batch, sizeof(batch), 1, value_bytes);

    return (struct fixture_produce){
        .version = 9,
        .acks = acks,
        .topic = "t",
        .records = {batch, bytes},
    };
}

static int32_t
produce_throttle(struct fixture *fixture, uint32_t stream, int32_t correlation)
{
    struct bytes frame = fixture_frame(fixture, stream);

    cr_assert_not_null(frame.at, "no answer");
    return fixture_produce_response(frame, 9, correlation).throttle_ms;
}

static uint64_t
gauge_muted(const struct fixture *fixture)
{
    return fixture_counter(&gate_gauges(fixture->gate)->connections_muted);
}

static uint64_t
throttles(const struct fixture *fixture, enum quota_kind kind)
{
    return fixture_counter(&gate_counters(fixture->gate)->quota_throttles[kind]);
}

Test(gate_quota, leaves_clients_without_limits_alone, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(50000, -1);

    fixture_quota(fixture, "another", 10, 10, 1);
    for (uint32_t i = 0; i < 20; i++) {
        int32_t correlation = fixture_produce_send(fixture, stream, &produce);
        fixture_run(fixture);
        cr_assert_eq(produce_throttle(fixture, stream, correlation), 0);
    }
    cr_assert_eq(throttles(fixture, QUOTA_PRODUCE), 0u);
    cr_assert_eq(gauge_muted(fixture), 0u);
    fixture_free(fixture);
}

Test(gate_quota, answers_first_and_then_reads_nothing_for_as_long_as_it_said, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    uint32_t other = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(50000, -1);

    fixture_quota(fixture, "test", 10000, 0, 0);
    int32_t first = fixture_produce_send(fixture, stream, &produce);
    int32_t second = fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    int32_t pause_ms = produce_throttle(fixture, stream, first);
    /* About 50,100 bytes, less the 10,000 of the first second, at 10,000 per second. */
    cr_assert(pause_ms > 4000 && pause_ms < 4100, "%d ms", pause_ms);
    cr_assert_null(fixture_frame(fixture, stream).at, "the second is not begun");
    cr_assert_eq(gauge_muted(fixture), 1u);
    cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->clients_muted), 1u);
    cr_assert(!fixture->streams[stream].receive_pending, "no receive is armed");
    fixture->client_id = "free";
    int32_t free_one = fixture_produce_send(fixture, other, &produce);
    fixture_run(fixture);
    cr_assert_eq(produce_throttle(fixture, other, free_one), 0, "others go on");
    fixture_advance(fixture, (uint64_t)(pause_ms - 1) * NS_PER_MS);
    fixture_run(fixture);
    cr_assert_null(fixture_frame(fixture, stream).at);
    fixture_advance(fixture, NS_PER_MS);
    fixture_run(fixture);
    int32_t again_ms = produce_throttle(fixture, stream, second);
    cr_assert(again_ms > 5000 && again_ms < 5100, "%d ms", again_ms);
    cr_assert_eq(throttles(fixture, QUOTA_PRODUCE), 2u);
    cr_assert_eq(fixture_counter(&gate_counters(fixture->gate)->quota_throttle_ns[QUOTA_PRODUCE]),
                 (uint64_t)(pause_ms + again_ms) * NS_PER_MS);
    fixture_advance(fixture, (uint64_t)again_ms * NS_PER_MS);
    fixture_free(fixture);
}

Test(gate_quota, keeps_the_limit_over_time_with_many_connections, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t streams[4];
    struct fixture_produce produce = produce_of(3000, 1);
    uint64_t answered = 0;

    fixture_quota(fixture, NULL, 100000, 0, 0);
    for (uint32_t i = 0; i < 4; i++) {
        streams[i] = fixture_connect(fixture);
        fixture_produce_send(fixture, streams[i], &produce);
    }
    for (uint32_t ms = 0; ms < 20000; ms++) {
        fixture_step(fixture);
        fixture_step(fixture);
        for (uint32_t i = 0; i < 4; i++) {
            if (fixture_frame(fixture, streams[i]).at == NULL)
                continue;
            answered += ms >= 2000 ? 1 : 0;
            fixture_produce_send(fixture, streams[i], &produce);
        }
        fixture_advance(fixture, NS_PER_MS);
    }
    uint32_t bytes = fixture_produce(fixture, memory, sizeof(memory), &produce);
    double rate = (double)answered * bytes / 18;
    cr_assert(rate > 95000 && rate < 105000, "%f bytes per second", rate);
    fixture_advance(fixture, 20 * NS_PER_S);
    fixture_free(fixture);
}

Test(gate_quota, pauses_a_client_that_wants_no_answers, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(50000, 0);

    fixture_quota(fixture, "test", 10000, 0, 0);
    fixture_produce_send(fixture, stream, &produce);
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(fixture->partitions[0].end_offset, 1u);
    fixture_advance(fixture, 4100 * NS_PER_MS);
    fixture_run(fixture);
    cr_assert_eq(fixture->partitions[0].end_offset, 2u);
    fixture_advance(fixture, 10 * NS_PER_S);
    fixture_free(fixture);
}

Test(gate_quota, lets_no_deadline_fire_on_a_muted_connection, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(500000, -1);

    /* 100 bytes per second: the pause of 5,000 s is cut to an hour; idle is 600 s, progress 30 s.
     */
    fixture_quota(fixture, "test", 100, 0, 0);
    int32_t first = fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(produce_throttle(fixture, stream, first), 3600000);
    fixture_send(fixture, stream, "\0\0\0", 3); /* a header that does not go on */
    for (uint32_t s = 0; s < 3599; s++) {
        fixture_advance(fixture, NS_PER_S);
        fixture_step(fixture);
    }
    cr_assert(!fixture_closed(fixture, stream));
    fixture_advance(fixture, 2 * NS_PER_S);
    fixture_run(fixture);
    cr_assert(!fixture_closed(fixture, stream), "its time begins with the end of the pause");
    fixture_advance(fixture, 31 * NS_PER_S);
    fixture_run(fixture);
    cr_assert(fixture_closed(fixture, stream), "from then on it counts");
    fixture_free(fixture);
}

Test(gate_quota, mutes_at_the_end_of_a_request_never_within_one, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(100000, -1);
    struct fixture_fetch fetch = {.version = 11,
                                  .max_wait_ms = 1000,
                                  .min_bytes = 1,
                                  .max_bytes = 1 << 20,
                                  .topic = "t",
                                  .partition_count = 1,
                                  .partition_max_bytes = 1 << 20};

    fixture_quota(fixture, "test", 0, 1000, 0);
    int32_t fetched = fixture_fetch_send(fixture, stream, &fetch);
    uint32_t bytes = fixture_produce(fixture, memory, sizeof(memory), &produce);
    fixture_send(fixture, stream, memory, bytes / 2);
    fixture_run(fixture);
    fixture_append(fixture, 0, 1, 40000); /* ends the fetch, which is far beyond its limit */
    fixture_run(fixture);
    struct kafka_fetch_response response = fixture_fetch_response(
        fixture_frame(fixture, stream), 11, fetched);
    cr_assert_gt(response.throttle_ms, 30000);
    fixture_send(fixture, stream, memory + bytes / 2, bytes - bytes / 2);
    fixture_run(fixture);
    cr_assert_not_null(fixture_frame(fixture, stream).at, "what was begun is answered");
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_null(fixture_frame(fixture, stream).at, "the next waits");
    fixture_end(fixture, stream);
    fixture_advance(fixture, (uint64_t)response.throttle_ms * NS_PER_MS);
    fixture_free(fixture);
}

Test(gate_quota, limits_one_fetch_to_what_a_window_allows, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = {.version = 11,
                                  .max_wait_ms = 1000,
                                  .min_bytes = 1,
                                  .max_bytes = 1 << 20,
                                  .topic = "t",
                                  .partition_count = 1,
                                  .partition_max_bytes = 1 << 20};

    fixture_quota(fixture, "test", 0, 10000, 0);
    for (uint32_t i = 0; i < 50; i++)
        fixture_append(fixture, 0, 1, 2000);
    int32_t correlation = fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    struct kafka_fetch_response response = fixture_fetch_response(
        fixture_frame(fixture, stream), 11, correlation);
    cr_assert_leq(response.topics.at[0].partitions.at[0].records.count, 10000u);
    cr_assert_gt(response.topics.at[0].partitions.at[0].records.count, 6000u);
    cr_assert_eq(response.throttle_ms, 0);
    fetch.offset = 4;
    correlation = fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    response = fixture_fetch_response(fixture_frame(fixture, stream), 11, correlation);
    cr_assert_gt(response.throttle_ms, 300);
    cr_assert_eq(throttles(fixture, QUOTA_FETCH), 1u);
    fixture_advance(fixture, 2 * NS_PER_S);
    fixture_free(fixture);
}

/* Sends an empty request of an API that control answers. */
static int32_t
send_other(struct fixture *fixture, uint32_t stream, enum kafka_api_key api, int16_t version)
{
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_metadata_request metadata;
    struct kafka_client_request request = {
        .api_key = api,
        .version = version,
        .correlation_id = ++fixture->correlation,
        .client_id = {(const uint8_t *)"test", 4},
    };

    kafka_metadata_request_defaults(&metadata);
    kafka_client_request(&writer, &request, &metadata);
    fixture_send(fixture, stream, memory, (uint32_t)writer_count(&writer));
    return fixture->correlation;
}

Test(gate_quota, writes_the_pause_for_core_time_into_answers_of_control, .timeout = 10)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    fixture_quota(fixture, "test", 0, 0, 10);
    fixture->control_reply_bytes = 32;
    fixture->control_spent_ns = 300 * NS_PER_MS;
    (void)send_other(fixture, stream, KAFKA_METADATA, 9);
    fixture_run(fixture);
    struct bytes frame = fixture_frame(fixture, stream);
    /* 300 ms, less the 100 of the first window, at 100 per second; behind the tagged header. */
    cr_assert_eq(get_u32_be(frame.at + 5), 2000u);
    cr_assert_eq(frame.at[4], 0xab);
    cr_assert_eq(frame.at[9], 0xab);
    fixture_advance(fixture, 2 * NS_PER_S);
    fixture_run(fixture);
    (void)send_other(fixture, stream, KAFKA_METADATA, 2); /* has no place for it */
    fixture_run(fixture);
    frame = fixture_frame(fixture, stream);
    cr_assert_eq(get_u32_be(frame.at + 4), 0xababababu);
    cr_assert_eq(throttles(fixture, QUOTA_REQUEST), 2u);
    cr_assert_eq(gauge_muted(fixture), 1u, "it pauses all the same");
    fixture_advance(fixture, 4 * NS_PER_S);
    fixture_free(fixture);
}

Test(gate_quota, forgets_the_pause_of_a_connection_that_is_closed, .timeout = 10)
{
    struct fixture_options options = {.connections_max = 1};
    struct fixture *fixture = fixture_new(&options);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = produce_of(50000, 0);

    fixture_quota(fixture, "test", 10000, 0, 0);
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(gauge_muted(fixture), 1u);
    fixture->accept_error = ECANCELED;
    gate_stop(fixture->gate);
    fixture_run(fixture);
    cr_assert(gate_is_stopped(fixture->gate), "a pause does not hold up the end");
    fixture_step(fixture);
    cr_assert_eq(gauge_muted(fixture), 0u);
    cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->clients_muted), 0u);
    fixture_advance(fixture, 20 * NS_PER_S);
    fixture_free(fixture);
}
