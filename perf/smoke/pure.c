/* Rings, batches and the bytes of Produce: what a gate does with a request, without its sockets. */
#include "engine/base/check.h"
#include "engine/record/record_batch.h"
#include "engine/ring/ring.h"
#include "net/kafka/kafka_client_codec.h"
#include "net/kafka/kafka_produce.h"
#include "net/request/request.h"
#include "perf/smoke/smoke.h"

#define ROUNDS 2000u
#define RING_SLOTS 1024u
#define BURST 8u

static uint8_t memory[1 << 20];
static uint8_t frame[1 << 20];

static void
pure_ring(void)
{
    static _Alignas(128) uint8_t slots[RING_SLOTS * sizeof(struct request)];
    static struct request requests[BURST];
    struct ring ring;

    ring_init(&ring, slots, sizeof(struct request), RING_SLOTS);
    smoke_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CHECK(ring_push(&ring, requests, BURST) == BURST);
        CHECK(ring_pop(&ring, requests, BURST) == BURST);
    }
    smoke_end("ring-slot-burst-8", ROUNDS * BURST);
}

static void
pure_check(const char *name, uint32_t records)
{
    uint32_t bytes = smoke_batch(memory, sizeof(memory), records);
    struct record_batch_info info;

    smoke_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        CHECK(record_batch_check(memory, bytes, &info) == RC_OK);
        CHECK(record_batch_crc_ok(memory, bytes));
    }
    smoke_end(name, ROUNDS);
}

static void
pure_build(void)
{
    smoke_begin();
    for (uint32_t i = 0; i < ROUNDS / 10; i++)
        (void)smoke_batch(memory, sizeof(memory), 100);
    smoke_end("build-record", ROUNDS / 10 * 100);
}

/* A Produce request of one partition, as a client sends it; its body begins at *ret_body. */
static uint32_t
pure_request(uint32_t records, uint32_t *ret_body)
{
    struct kafka_produce_request_partition partition;
    struct kafka_produce_request_topic topic;
    struct kafka_produce_request request;
    struct writer writer = writer_over(frame, sizeof(frame));
    const struct kafka_client_request head = {
        .api_key = KAFKA_PRODUCE, .version = 9, .client_id = {(const uint8_t *)"smoke", 5}};
    struct kafka_request_header header;

    kafka_produce_request_partition_defaults(&partition);
    kafka_produce_request_topic_defaults(&topic);
    kafka_produce_request_defaults(&request);
    partition.records = (struct bytes){memory, smoke_batch(memory, sizeof(memory), records)};
    topic.name = (struct bytes){(const uint8_t *)"orders", 6};
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.acks = -1;
    request.topics.at = &topic;
    request.topics.count = 1;
    kafka_client_request(&writer, &head, &request);
    CHECK(!writer.failed);
    uint32_t count = (uint32_t)writer_count(&writer);
    CHECK(kafka_request_header_parse(frame, count, sizeof(frame), &header) == KAFKA_PARSE_OK);
    *ret_body = count - header.body_bytes;
    return header.body_bytes;
}

static void
pure_parse(void)
{
    uint32_t body;
    uint32_t body_bytes = pure_request(100, &body);

    smoke_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct kafka_produce_parser parser;
        struct kafka_produce_step step;
        enum kafka_produce_event event;
        uint32_t at = body;
        kafka_produce_parser_init(&parser, 9, body_bytes);
        do {
            event = kafka_produce_parser_next(&parser, frame + at, body + body_bytes - at, &step);
            at += step.consumed_bytes;
            if (event == KAFKA_PRODUCE_PARTITION)
                at += step.skip_bytes;
        } while (event != KAFKA_PRODUCE_END && event != KAFKA_PRODUCE_MALFORMED);
        CHECK(event == KAFKA_PRODUCE_END);
    }
    smoke_end("parse-produce-request", ROUNDS);
}

static void
pure_answer(void)
{
    const struct kafka_produce_result result = {
        .base_offset = 7, .log_append_time_ms = -1, .log_start_offset = 0};
    const struct kafka_produce_result_topic topic = {.name = {(const uint8_t *)"orders", 6},
                                                     .partition_count = 1};
    const struct kafka_produce_answer answer = {
        .version = 9, .topic_count = 1, .topics = &topic, .results = &result};

    smoke_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct writer writer = writer_over(frame, kafka_produce_response_bytes(&answer));
        kafka_produce_response(&writer, &answer);
        CHECK(!writer.failed);
    }
    smoke_end("write-produce-response", ROUNDS);
}

void
smoke_pure(void)
{
    pure_ring();
    pure_check("check-batch-of-1", 1);
    pure_check("check-batch-of-100", 100);
    pure_build();
    pure_parse();
    pure_answer();
}
