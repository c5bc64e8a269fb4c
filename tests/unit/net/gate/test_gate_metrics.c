/* Goal: what a gate counts is what its clients saw, and its stamps follow a record. Method: refused
 * and failed requests first; then a record in and out, with time moved by hand. */
#include "tests/unit/net/gate/fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

static uint8_t batch_memory[1 << 16];

static struct fixture_produce
plain_produce(void)
{
    uint32_t bytes = fixture_batch(batch_memory, sizeof(batch_memory), 1, 1000);

    return (struct fixture_produce){
        .version = 7, .acks = -1, .topic = "t", .records = {.at = batch_memory, .count = bytes}};
}

static struct fixture_fetch
plain_fetch(void)
{
    return (struct fixture_fetch){.version = 11,
                                  .max_wait_ms = 500,
                                  .min_bytes = 1,
                                  .topic = "t",
                                  .id_byte = 1,
                                  .partition_count = 1,
                                  .partition_max_bytes = 1 << 20};
}

static uint64_t
answered(const struct fixture *fixture, enum metric_histogram which)
{
    return histogram_count(&fixture->metrics.histograms[which]);
}

#define COUNT(id, index) metrics_get_label(&fixture->metrics, id, index)

Test(gate_metrics, refused_batches_are_counted_by_reason_and_error, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain_produce();

    produce.topic = "unknown";
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(COUNT(BATCHES_REFUSED, METRIC_REFUSED_UNKNOWN), 1);
    cr_assert_eq(COUNT(REQUEST_ERRORS, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION), 1);
    produce = plain_produce();
    batch_memory[produce.records.count - 1] ^= 1;
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(COUNT(BATCHES_REFUSED, METRIC_REFUSED_CORRUPT), 1);
    cr_assert_eq(COUNT(REQUEST_ERRORS, KAFKA_ERROR_CORRUPT_MESSAGE), 1);
    fixture->append_rc = RC_FENCED;
    produce = plain_produce();
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(COUNT(BATCHES_REFUSED, METRIC_REFUSED_STORAGE), 0, "the log tile counts its own");
    cr_assert_eq(COUNT(REQUEST_ERRORS, KAFKA_ERROR_KAFKA_STORAGE_ERROR), 1);
    cr_assert_eq(COUNT(REQUESTS, KAFKA_PRODUCE), 3);
    cr_assert_eq(answered(fixture, METRIC_PRODUCE_LATENCY), 3, "refusals are answers too");
    fixture_free(fixture);
}

Test(gate_metrics, who_is_turned_away_is_counted_by_cause, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.connections_max = 1});

    fixture->accept_error = EMFILE;
    (void)fixture_connect(fixture);
    fixture_run(fixture);
    cr_assert_eq(COUNT(CONNECTIONS_REFUSED, METRIC_TURNED_AWAY_DESCRIPTORS), 1);
    fixture->accept_error = 0;
    fixture_advance(fixture, NS_PER_S);
    (void)fixture_connect(fixture);
    fixture_run(fixture);
    cr_assert_eq(COUNT(CONNECTIONS_REFUSED, METRIC_TURNED_AWAY_LIMIT), 1);
    fixture_free(fixture);
}

Test(gate_metrics, what_woke_a_fetch_is_counted_once, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_fetch fetch = plain_fetch();

    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->fetches_waiting), 1);
    fixture_advance(fixture, 501 * NS_PER_MS);
    cr_assert_eq(COUNT(FETCHES_WOKEN, METRIC_WOKEN_TIMEOUT), 1);
    cr_assert_eq(fixture_counter(&gate_gauges(fixture->gate)->fetches_waiting), 0);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    fixture_append(fixture, 0, 1, 100);
    fixture_run(fixture);
    cr_assert_eq(COUNT(FETCHES_WOKEN, METRIC_WOKEN_DATA), 1);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(COUNT(FETCHES_WOKEN, METRIC_WOKEN_DATA), 1, "what never waited was not woken");
    cr_assert_eq(answered(fixture, METRIC_FETCH_LATENCY), 3);
    cr_assert_geq(fixture->metrics.histograms[METRIC_FETCH_LATENCY].sum, 500 * NS_PER_MS);
    cr_assert_lt(fixture->metrics.histograms[METRIC_FETCH_LATENCY].sum, 600 * NS_PER_MS);
    fixture_free(fixture);
}

Test(gate_metrics, a_produce_lasts_until_its_answer, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain_produce();

    fixture->hold_appends = true;
    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    fixture_advance(fixture, 20 * NS_PER_MS);
    cr_assert_eq(answered(fixture, METRIC_PRODUCE_LATENCY), 0);
    fixture_answer_held(fixture, 0, RC_OK);
    fixture_run(fixture);
    cr_assert_eq(answered(fixture, METRIC_PRODUCE_LATENCY), 1);
    cr_assert_geq(fixture->metrics.histograms[METRIC_PRODUCE_LATENCY].sum, 20 * NS_PER_MS);
    cr_assert_lt(fixture->metrics.histograms[METRIC_PRODUCE_LATENCY].sum, 40 * NS_PER_MS);
    fixture_free(fixture);
}

Test(gate_metrics, stamps_follow_the_record, .timeout = 20)
{
    static const enum trace_stage stages[] = {
        TRACE_RECEIVE, TRACE_CHECK, TRACE_HAND_OVER, TRACE_ACKNOWLEDGE, TRACE_DELIVER};
    struct fixture *fixture = fixture_new(&(struct fixture_options){.fragment_bytes = 100});
    struct trace_stamp stamps[ARRAY_COUNT(stages) + 1];
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain_produce();
    struct fixture_fetch fetch = plain_fetch();

    fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    fixture_fetch_send(fixture, stream, &fetch);
    fixture_run(fixture);
    cr_assert_eq(trace_read(&fixture->trace, stamps, ARRAY_COUNT(stamps)), ARRAY_COUNT(stages));
    for (uint32_t i = 0; i < ARRAY_COUNT(stages); i++)
        cr_assert_eq(stamps[i].stage, stages[i], "stamp %u", i);
    fixture_free(fixture);
}
