/* Goal: what a Produce request gets as its answer, in every way in which bytes may arrive and
 * answers may come back. Method: bad input first; then real request bytes through a gate between
 * memory streams and a scripted log tile. */
#include "tests/unit/net/gate/fixture.h"

#include "tests/unit/kept.h"

#include "engine/record/record_batch.h"
#include "net/gate/gate_connection.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint8_t batch_memory[1 << 20];

static struct fixture_produce
plain(uint32_t records)
{
    uint32_t bytes = fixture_batch(batch_memory, sizeof(batch_memory), records, 20);

    return (struct fixture_produce){
        .version = 7, .acks = -1, .topic = "t", .records = {.at = batch_memory, .count = bytes}};
}

/* The error of a request of one partition; everything else of the answer is checked on the way. */
static int16_t
error_of(struct fixture *fixture, uint32_t stream, const struct fixture_produce *produce)
{
    int32_t correlation = fixture_produce_send(fixture, stream, produce);

    fixture_run(fixture);
    struct kafka_produce_response response = fixture_produce_response(
        fixture_frame(fixture, stream), produce->version, correlation);
    cr_assert_eq(response.topics.count, 1u);
    cr_assert_eq(response.topics.at[0].name.count, strlen(produce->topic));
    cr_assert_eq(response.topics.at[0].partitions.count, 1u);
    const struct kafka_produce_response_partition *partition =
        &response.topics.at[0].partitions.at[0];
    cr_assert_eq(partition->index, produce->partition);
    if (partition->error != 0)
        cr_assert_eq(partition->base_offset, -1);
    return partition->error;
}

Test(gate_produce, answers_errors_for_what_no_producer_may_send, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(3);

    produce.topic = "unknown";
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    produce = plain(3);
    produce.partition = 4;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    produce.partition = -1;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    produce = plain(3);
    produce.acks = 2;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_INVALID_REQUIRED_ACKS);
    produce = plain(3);
    produce.transactional_id = "tx";
    cr_assert_eq(error_of(fixture, stream, &produce), 48);
    produce = plain(3);
    produce.records = (struct bytes){.at = NULL};
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_INVALID_RECORD);
    produce = plain(3);
    produce.records.count = 40;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_CORRUPT_MESSAGE);
    produce = plain(3);
    batch_memory[produce.records.count - 1] ^= 1;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_CORRUPT_MESSAGE);
    produce = plain(3);
    batch_memory[RECORD_BATCH_MAGIC] = 1;
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_INVALID_RECORD);
    produce.records.count = 40; /* a short message of an old format */
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_INVALID_RECORD);
    produce = plain(3);
    cr_assert_eq(error_of(fixture, stream, &produce), 0, "the connection is still good");
    cr_assert_eq(fixture->partitions[0].end_offset, 3u, "only the good one was appended");
    fixture_free(fixture);
}

Test(gate_produce, skips_a_batch_beyond_max_message_bytes_without_storing_it, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.ingest_bytes = 64 * KIB});
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(3);
    uint8_t *large = kept(calloc(1, 3 << 20));

    produce.records = (struct bytes){.at = large, .count = 3 << 20};
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_MESSAGE_TOO_LARGE);
    produce = plain(3);
    cr_assert_eq(error_of(fixture, stream, &produce), 0);
    fixture_free(fixture);
    free(large);
}

Test(gate_produce, passes_the_log_tiles_errors_on, .timeout = 20)
{
    static const struct {
        enum rc rc;
        int16_t error;
    } rows[] = {
        {RC_UNKNOWN_PARTITION, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION},
        {RC_FENCED, KAFKA_ERROR_KAFKA_STORAGE_ERROR},
        {RC_SEQUENCE_OUT_OF_ORDER, KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER},
        {RC_BATCH_TIMESTAMP, KAFKA_ERROR_INVALID_TIMESTAMP},
    };
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        fixture->append_rc = rows[i].rc;
        cr_assert_eq(error_of(fixture, stream, &produce), rows[i].error, "row %zu", i);
    }
    fixture_free(fixture);
}

Test(gate_produce, answers_a_duplicate_with_success_and_its_first_offset, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);

    fixture->append_rc = RC_SEQUENCE_DUPLICATE;
    int32_t correlation = fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    struct kafka_produce_response response = fixture_produce_response(
        fixture_frame(fixture, stream), 7, correlation);
    cr_assert_eq(response.topics.at[0].partitions.at[0].error, 0);
    cr_assert_eq(response.topics.at[0].partitions.at[0].base_offset, 42);
    fixture_free(fixture);
}

Test(gate_produce, tells_offset_append_time_and_start_in_every_version, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(2);

    fixture->partitions[1].append_time = true;
    fixture->partitions[1].start_offset = 0;
    produce.partition = 1;
    for (int16_t version = 3; version <= 12; version++) {
        produce.version = version;
        int32_t correlation = fixture_produce_send(fixture, stream, &produce);
        fixture_run(fixture);
        struct kafka_produce_response response = fixture_produce_response(
            fixture_frame(fixture, stream), version, correlation);
        const struct kafka_produce_response_partition *partition =
            &response.topics.at[0].partitions.at[0];
        cr_assert_eq(partition->error, 0);
        cr_assert_eq(partition->base_offset, 2 * (version - 3));
        cr_assert_eq(partition->log_append_time_ms, 1700000000123);
        cr_assert_eq(partition->log_start_offset, version >= 5 ? 0 : -1);
    }
    fixture_free(fixture);
}

Test(gate_produce, writes_the_same_reply_as_the_codec, .timeout = 20)
{
    for (int16_t version = 3; version <= 12; version++) {
        const struct kafka_produce_result results[] = {
            {.index = 0, .base_offset = 7, .log_append_time_ms = -1, .log_start_offset = 3},
            {.index = 9,
             .error = 3,
             .base_offset = -1,
             .log_append_time_ms = -1,
             .log_start_offset = -1},
        };
        const struct kafka_produce_result_topic topic = {
            .name = {.at = (const uint8_t *)"orders", .count = 6}, .partition_count = 2};
        const struct kafka_produce_answer answer = {.version = version,
                                                    .correlation_id = 77,
                                                    .topic_count = 1,
                                                    .topics = &topic,
                                                    .results = results};
        uint8_t expected[512];
        uint8_t got[512];
        struct writer codec = writer_over(expected, sizeof(expected));
        struct writer ours = writer_over(got, sizeof(got));

        kafka_produce_response(&codec, &answer);
        produce_reply__head(&ours, version, 77, 1);
        produce_reply__topic(&ours, version, topic.name, 2);
        uint32_t first = produce_reply__partition(&ours, version, 0);
        uint32_t second = produce_reply__partition(&ours, version, 9);
        produce_reply__topic_end(&ours, version);
        produce_reply__tail(&ours, version, 0);
        produce_reply__fill(got + first, version, &results[0]);
        produce_reply__fill(got + second, version, &results[1]);
        cr_assert_eq(writer_count(&codec), writer_count(&ours), "version %d", version);
        cr_assert_arr_eq(expected, got, writer_count(&ours), "version %d", version);
    }
}

Test(gate_produce, reads_a_request_split_at_every_byte, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_produce produce = plain(3);
    uint8_t memory[4096];
    uint32_t stream = fixture_connect(fixture);
    uint32_t bytes = 0;
    uint64_t expected = 0;

    for (uint32_t cut = 0; cut == 0 || cut < bytes; cut++) {
        produce.version = cut % 2 == 0 ? 7 : 9;
        bytes = fixture_produce(fixture, memory, sizeof(memory), &produce);
        fixture_send(fixture, stream, memory, cut);
        fixture_run(fixture);
        fixture_send(fixture, stream, memory + cut, bytes - cut);
        fixture_run(fixture);
        struct kafka_produce_response response = fixture_produce_response(
            fixture_frame(fixture, stream), produce.version, fixture->correlation);
        cr_assert_eq(response.topics.at[0].partitions.at[0].error, 0, "cut at %u", cut);
        cr_assert_eq(response.topics.at[0].partitions.at[0].base_offset, (int64_t)expected);
        expected += 3;
    }
    fixture_free(fixture);
}

Test(gate_produce, reads_pipelined_requests_byte_by_byte, .timeout = 60)
{
    struct fixture *fixture = fixture_new(
        &(struct fixture_options){.fragment_bytes = 1, .send_bytes = 1});
    struct fixture_produce produce = plain(2);
    uint32_t stream = fixture_connect(fixture);
    int32_t first = fixture->correlation + 1;

    for (uint32_t i = 0; i < 40; i++)
        fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    for (int32_t i = 0; i < 40; i++) {
        struct kafka_produce_response response = fixture_produce_response(
            fixture_frame(fixture, stream), 7, first + i);
        cr_assert_eq(response.topics.at[0].partitions.at[0].base_offset, 2 * i);
    }
    fixture_free(fixture);
}

Test(gate_produce, answers_in_order_whatever_order_the_log_answers_in, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_produce produce = plain(1);
    uint32_t stream = fixture_connect(fixture);
    int32_t first = fixture->correlation + 1;

    fixture->hold_appends = true;
    for (int32_t i = 0; i < 64; i++) {
        produce.partition = i % 4;
        fixture_produce_send(fixture, stream, &produce);
    }
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 64u);
    while (fixture->held_count > 1) {
        fixture_answer_held(
            fixture,
            1 + (uint32_t)clock_random_below(&fixture->clock, fixture->held_count - 1),
            RC_OK);
        fixture_run(fixture);
        cr_assert_eq(fixture_frame(fixture, stream).at, NULL, "the first one is not answered yet");
    }
    fixture_answer_held(fixture, 0, RC_OK);
    fixture_run(fixture);
    for (int32_t i = 0; i < 64; i++)
        cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), first + i);
    fixture_free(fixture);
}

Test(gate_produce, stops_reading_at_requests_max_and_goes_on_later, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_produce produce = plain(1);
    uint32_t stream = fixture_connect(fixture);

    fixture->hold_appends = true;
    for (uint32_t i = 0; i < 100; i++)
        fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 64u);
    cr_assert_not(fixture->streams[stream].receive_pending, "TCP holds the client back");
    for (uint32_t i = 0; i < 100; i++) {
        fixture_answer_held(fixture, 0, RC_OK);
        fixture_run(fixture);
    }
    for (int32_t i = 0; i < 100; i++)
        fixture_frame_correlation(fixture_frame(fixture, stream));
    cr_assert_eq(fixture->partitions[0].end_offset, 100u);
    fixture_free(fixture);
}

Test(gate_produce, waits_for_room_in_the_rings_and_loses_nothing, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.ring_slots = 16});
    struct fixture_produce produce = plain(1);
    uint32_t streams[4];

    fixture->log_held = true;
    for (uint32_t s = 0; s < 4; s++) {
        streams[s] = fixture_connect(fixture);
        for (uint32_t i = 0; i < 30; i++)
            fixture_produce_send(fixture, streams[s], &produce);
    }
    fixture_run(fixture);
    cr_assert_gt(fixture_counter(&gate_counters(fixture->gate)->waits_link), 0u);
    fixture->log_held = false;
    fixture_run(fixture);
    cr_assert_eq(fixture->partitions[0].end_offset, 120u);
    for (uint32_t s = 0; s < 4; s++)
        for (uint32_t i = 0; i < 30; i++)
            fixture_frame_correlation(fixture_frame(fixture, streams[s]));
    fixture_free(fixture);
}

Test(gate_produce, answers_nothing_with_acks_none_and_closes_on_an_error, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_produce silent = plain(1);
    struct fixture_produce loud = plain(1);
    uint32_t stream = fixture_connect(fixture);

    silent.acks = 0;
    for (uint32_t i = 0; i < 5; i++) {
        fixture_produce_send(fixture, stream, &silent);
        fixture_produce_send(fixture, stream, &loud);
    }
    fixture_run(fixture);
    for (int32_t i = 1; i <= 5; i++)
        cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), 2 * i);
    cr_assert_eq(fixture_frame(fixture, stream).at, NULL);
    cr_assert_eq(fixture->partitions[0].end_offset, 10u);
    fixture_produce_send(fixture, stream, &silent);
    fixture->append_rc = RC_FENCED;
    fixture_run(fixture);
    cr_assert(fixture_closed(fixture, stream));
    cr_assert_eq(
        fixture_counter(&gate_counters(fixture->gate)->connections_closed[GATE_CLOSE_ACKS_NONE]),
        1u);
    fixture_free(fixture);
}

Test(gate_produce, keeps_memory_of_a_lost_connection_until_the_log_answered, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_produce produce = plain(100);
    uint32_t stream = fixture_connect(fixture);

    fixture->hold_appends = true;
    for (uint32_t i = 0; i < 20; i++)
        fixture_produce_send(fixture, stream, &produce);
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 20u);
    fixture_end(fixture, stream);
    fixture_run(fixture);
    cr_assert(fixture_closed(fixture, stream));
    cr_assert_gt(fixture_counter(&gate_gauges(fixture->gate)->requests), 0u);
    /* New connections come and go meanwhile; the log's copy of the batches is checked when it is
     * made. */
    for (uint32_t i = 0; i < 70; i++) {
        uint32_t other = fixture_connect(fixture);
        fixture_send(fixture, other, "abc", 3);
        fixture_run(fixture);
        fixture_end(fixture, other);
        fixture_run(fixture);
    }
    while (fixture->held_count > 0)
        fixture_answer_held(fixture, fixture->held_count - 1, RC_OK);
    fixture_run(fixture);
    cr_assert_eq(fixture->partitions[0].end_offset, 2000u);
    fixture_free(fixture);
}

Test(gate_produce, proceeds_with_other_partitions_when_one_is_refused, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct kafka_produce_request_partition partitions[50];
    struct kafka_produce_request_topic topics[2];
    struct kafka_produce_request message;
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);
    uint8_t *memory = kept(malloc(1 << 20));
    struct writer writer = writer_over(memory, 1 << 20);

    kafka_produce_request_defaults(&message);
    for (int32_t i = 0; i < 50; i++) {
        kafka_produce_request_partition_defaults(&partitions[i]);
        partitions[i].index = i % 8; /* 4 to 7 do not exist */
        partitions[i].records = produce.records;
    }
    for (uint32_t i = 0; i < 2; i++) {
        kafka_produce_request_topic_defaults(&topics[i]);
        topics[i].name = (struct bytes){.at = (const uint8_t *)(i == 0 ? "t" : "no"),
                                        .count = i + 1};
        topics[i].partitions.at = partitions;
        topics[i].partitions.count = 50;
    }
    message.acks = 1;
    message.topics.at = topics;
    message.topics.count = 2;
    for (int16_t version = 8; version <= 9; version++) {
        const struct kafka_client_request request = {
            .api_key = KAFKA_PRODUCE, .version = version, .correlation_id = version};
        writer = writer_over(memory, 1 << 20);
        kafka_client_request(&writer, &request, &message);
        cr_assert_not(writer.failed);
        fixture_send(fixture, stream, memory, (uint32_t)writer_count(&writer));
        fixture_run(fixture);
        struct kafka_produce_response response = fixture_produce_response(
            fixture_frame(fixture, stream), version, version);
        cr_assert_eq(response.topics.count, 2u);
        for (uint32_t t = 0; t < 2; t++) {
            cr_assert_eq(response.topics.at[t].partitions.count, 50u);
            for (int32_t i = 0; i < 50; i++) {
                bool good = t == 0 && i % 8 < 4;
                cr_assert_eq(response.topics.at[t].partitions.at[i].index, i % 8);
                cr_assert_eq(response.topics.at[t].partitions.at[i].error, good ? 0 : 3);
            }
        }
    }
    fixture_free(fixture);
    free(memory);
}

Test(gate_produce, receives_large_batches_whole_and_in_place, .timeout = 60)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.fragment_bytes = 7001});
    uint32_t capacity = 2 << 20;
    uint8_t *large = kept(malloc(capacity));
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);

    for (uint32_t i = 1; i <= 12; i++) {
        uint32_t bytes = fixture_batch(large, capacity, 10, i * 4000);
        produce.records = (struct bytes){.at = large, .count = bytes};
        fixture_produce_send(fixture, stream, &produce);
    }
    fixture_run(fixture);
    for (uint32_t i = 0; i < 12; i++)
        fixture_frame_correlation(fixture_frame(fixture, stream));
    cr_assert_eq(fixture->partitions[0].end_offset, 120u);
    fixture_free(fixture);
    free(large);
}

Test(gate_produce, gives_receive_memory_first_come_first_served, .timeout = 60)
{
    /* Room for one batch of 700 KiB at a time: everybody is served, in order of arrival. */
    struct fixture *fixture = fixture_new(
        &(struct fixture_options){.ingest_bytes = MIB, .fragment_bytes = 65536});
    uint32_t capacity = MIB;
    uint8_t *large = kept(malloc(capacity));
    uint32_t bytes = fixture_batch(large, capacity, 7, 100 * 1024);
    struct fixture_produce produce = plain(1);
    struct fixture_produce small = plain(1);
    uint32_t small_stream = fixture_connect(fixture);
    uint32_t streams[6];

    produce.records = (struct bytes){.at = large, .count = bytes};
    fixture->hold_appends = true;
    for (uint32_t i = 0; i < 6; i++) {
        streams[i] = fixture_connect(fixture);
        fixture_produce_send(fixture, streams[i], &produce);
    }
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 1u);
    cr_assert_gt(fixture_counter(&gate_counters(fixture->gate)->waits_ingest), 0u);
    /* Somebody with small requests is not held up by those who wait. */
    fixture_produce_send(fixture, small_stream, &small);
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 2u);
    fixture_answer_held(fixture, 1, RC_OK);
    fixture_run(fixture);
    fixture_frame_correlation(fixture_frame(fixture, small_stream));
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(fixture->held_count, 1u, "round %u", i);
        fixture_answer_held(fixture, 0, RC_OK);
        fixture_run(fixture);
        cr_assert_neq(fixture_frame(fixture, streams[i]).at, NULL, "%u comes in its turn", i);
    }
    fixture_free(fixture);
    free(large);
}

Test(gate_produce, lets_nobody_overtake_who_waits_for_receive_memory, .timeout = 60)
{
    struct fixture *fixture = fixture_new(
        &(struct fixture_options){.ingest_bytes = 2 * MIB, .fragment_bytes = 65536});
    uint32_t capacity = MIB;
    uint8_t *memory = kept(malloc(2 * capacity));
    struct fixture_produce large = plain(1);
    struct fixture_produce small = plain(1);
    uint32_t streams[4];

    large.records.at = memory;
    large.records.count = fixture_batch(memory, capacity, 7, 100 * 1024);
    small.records.at = memory + capacity;
    small.records.count = fixture_batch(memory + capacity, capacity, 1, 50 * 1024);
    fixture->hold_appends = true;
    for (uint32_t i = 0; i < 4; i++) { /* large, small, large, small */
        streams[i] = fixture_connect(fixture);
        fixture_produce_send(fixture, streams[i], i % 2 == 0 ? &large : &small);
        fixture_run(fixture);
    }
    cr_assert_eq(
        fixture->held_count, 2u, "there is room for the second small one, but not its turn");
    struct fixture_produce other = plain(1);
    uint32_t passer = fixture_connect(fixture);
    fixture_produce_send(fixture, passer, &other);
    fixture_run(fixture);
    fixture_answer_held(fixture, 2, RC_OK);
    fixture_run(fixture);
    cr_assert_neq(fixture_frame(fixture, passer).at, NULL);
    cr_assert_eq(fixture->held_count, 2u, "they try in order, and the first one still waits");
    fixture_answer_held(fixture, 1, RC_OK); /* lent memory comes back at once */
    fixture_run(fixture);
    cr_assert_eq(fixture->held_count, 2u);
    cr_assert_gt(fixture->held[1].u.produce.batch_bytes, 700u * 1024);
    fixture_free(fixture);
    free(memory);
}

Test(gate_produce, forgets_a_deleted_topic_and_knows_its_successor, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);

    cr_assert_eq(error_of(fixture, stream, &produce), 0);
    fixture_topic_gone(fixture, "t", 1);
    cr_assert_eq(error_of(fixture, stream, &produce), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    fixture_topic(fixture, "t", 2, 10, 1);
    cr_assert_eq(error_of(fixture, stream, &produce), 0);
    cr_assert_eq(fixture->partitions[10].end_offset, 1u);
    fixture_run(fixture);
    cr_assert_eq(fixture->seen_count, 3u, "every snapshot was given back");
    fixture_free(fixture);
}

Test(gate_produce, goes_on_with_one_log_tile_while_another_is_stuck, .timeout = 20)
{
    struct fixture *fixture = fixture_new(
        &(struct fixture_options){.two_log_tiles = true, .ring_slots = 32});
    uint32_t stuck = fixture_connect(fixture);
    uint32_t good = fixture_connect(fixture);
    struct fixture_produce produce = plain(1);

    fixture->second_held = true;
    produce.partition = 1;
    for (uint32_t i = 0; i < 60; i++)
        fixture_produce_send(fixture, stuck, &produce);
    produce.partition = 2;
    for (uint32_t i = 0; i < 200; i++)
        fixture_produce_send(fixture, good, &produce);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 200; i++)
        fixture_frame_correlation(fixture_frame(fixture, good));
    cr_assert_eq(fixture_frame(fixture, stuck).at, NULL);
    fixture->second_held = false;
    fixture_run(fixture);
    for (uint32_t i = 0; i < 60; i++)
        fixture_frame_correlation(fixture_frame(fixture, stuck));
    cr_assert_eq(fixture->partitions[1].end_offset, 60u);
    cr_assert_eq(fixture->partitions[2].end_offset, 200u);
    fixture_free(fixture);
}
