/* Kafka with requests that are encoded once: only stamps and checksum change from batch to batch.
 * What it costs is a copy and a CRC, so it measures the broker and not a client library. It writes
 * its Produce bytes by itself (wire.c), reads with Fetch through the tables of net/kafka.
 *
 * Producers: one connection, in_flight requests at most, acks=all. Consumers: one Fetch at a time
 * over all partitions of theirs, from the end of the log at their opening. Any broker. */
#include "engine/record/record_batch.h"
#include "engine/record/record_iterator.h"
#include "net/kafka/kafka_client_codec.h"
#include "perf/load/drivers.h"
#include "perf/load/stream.h"
#include "perf/load/load.h"
#include "perf/load/wire.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define RAW_ARENA_BYTES (STREAM_IN_BYTES * KAFKA_ARENA_FACTOR + KAFKA_ARENA_REST_BYTES)
#define FETCH_VERSION 11
#define LIST_OFFSETS_VERSION 5
#define METADATA_VERSION 7
#define CREATE_VERSION 4
#define FETCH_WAIT_MS 500
#define FETCH_BYTES (1 << 20) /* of one partition and of one answer */
#define PREPARE_SECONDS 30u

struct raw {
    const struct driver_config *config;
    struct stream stream;
    bool is_consumer;
    int32_t correlation;
    uint8_t *arena;
    /* producer */
    struct wire_template *templates; /* [topics] */
    struct bench_batch *under_way;   /* FIFO ring [in_flight] */
    uint32_t under_way_first;
    uint32_t under_way_count;
    /* consumer */
    uint32_t *partitions; /* [partition_count] of all topics */
    int64_t *offsets;     /* [partition_count]: next to be fetched */
    uint32_t partition_count;
    bool is_fetching;
};

static void
raw_close(void *connection)
{
    struct raw *raw = connection;

    if (raw == NULL)
        return;
    stream_close(&raw->stream);
    for (uint32_t i = 0; raw->templates != NULL && i < raw->config->workload->topics; i++)
        wire_template_free(&raw->templates[i]);
    free(raw->templates);
    free(raw->under_way);
    free(raw->partitions);
    free(raw->offsets);
    free(raw->arena);
    free(raw);
}

static struct raw *
raw_open(const struct driver_config *config)
{
    struct raw *raw = calloc(1, sizeof(*raw));

    if (raw == NULL)
        return NULL;
    raw->config = config;
    raw->arena = malloc(RAW_ARENA_BYTES);
    if (raw->arena == NULL || !stream_open(&raw->stream, config->address)) {
        raw_close(raw);
        return NULL;
    }
    return raw;
}

/* ---- asking and waiting, while nothing is measured */

/* One request and its answer. ret: a struct of the response type; its arrays live in raw->arena. */
static bool
raw_ask(struct raw *raw, const struct kafka_client_request *request, const void *message, void *ret)
{
    static uint8_t memory[1 << 20];
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_arena arena = kafka_arena_over(raw->arena, RAW_ARENA_BYTES);
    uint64_t end_ns = process_now_ns() + PREPARE_SECONDS * NS_PER_S;
    struct bytes frame;

    kafka_client_request(&writer, request, message);
    if (writer.failed || !stream_put(&raw->stream, memory, (uint32_t)writer_count(&writer)))
        return false;
    while (process_now_ns() < end_ns) {
        if (!stream_send(&raw->stream) || !stream_receive(&raw->stream))
            return false;
        if (stream_frame(&raw->stream, &frame)) {
            /* The frame stays where it is: nothing is received before the answer was used. */
            return kafka_client_response(frame, request, &arena, ret) == RC_OK;
        }
        struct pollfd ready = {.fd = raw->stream.fd, .events = stream_events(&raw->stream)};
        (void)poll(&ready, 1, 100);
    }
    return false;
}

static struct bytes
text_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static struct kafka_client_request
raw_head(struct raw *raw, enum kafka_api_key key, int16_t version)
{
    return (struct kafka_client_request){.api_key = key,
                                         .version = version,
                                         .correlation_id = ++raw->correlation,
                                         .client_id = text_of("eagre-bench")};
}

static bool
raw_create(struct raw *raw, const char *name)
{
    const struct workload *workload = raw->config->workload;
    struct kafka_create_topics_config durability;
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;
    struct kafka_client_request head = raw_head(raw, KAFKA_CREATE_TOPICS, CREATE_VERSION);

    kafka_create_topics_config_defaults(&durability);
    kafka_create_topics_topic_defaults(&topic);
    kafka_create_topics_request_defaults(&request);
    durability.name = text_of("eagre.durability");
    durability.value = text_of(workload->durability);
    topic.name = text_of(name);
    topic.partition_count = (int32_t)workload->partitions;
    topic.replication_factor = 1;
    topic.configs.at = &durability;
    /* The default is said by silence: other brokers do not know this key. */
    topic.configs.count = strcmp(workload->durability, "device") != 0;
    request.topics.at = &topic;
    request.topics.count = 1;
    request.timeout_ms = 20000;
    if (!raw_ask(raw, &head, &request, &response) || response.topics.count != 1)
        return false;
    int16_t error = response.topics.at[0].error;
    if (error != 0 && error != 36) /* TOPIC_ALREADY_EXISTS */
        fprintf(stderr, "bench: cannot make topic %s: error %d\n", name, error);
    return error == 0 || error == 36;
}

/* A broker may need a moment until the leader of a new partition is known. */
static bool
raw_is_led(struct raw *raw, const char *name)
{
    struct kafka_metadata_request_topic asked;
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;
    struct kafka_client_request head = raw_head(raw, KAFKA_METADATA, METADATA_VERSION);

    kafka_metadata_request_topic_defaults(&asked);
    kafka_metadata_request_defaults(&request);
    asked.name = text_of(name);
    request.topics.at = &asked;
    request.topics.count = 1;
    if (!raw_ask(raw, &head, &request, &response) || response.topics.count != 1 ||
        response.topics.at[0].error != 0)
        return false;
    for (uint32_t i = 0; i < response.topics.at[0].partitions.count; i++)
        if (response.topics.at[0].partitions.at[i].error != 0)
            return false;
    return response.topics.at[0].partitions.count == raw->config->workload->partitions;
}

/* Where a partition's log ends now: records of before are not this run's. False: the broker cannot
 * tell (yet). */
static bool
raw_ask_end(struct raw *raw, uint32_t partition_idx, int64_t *ret_offset)
{
    const struct workload *workload = raw->config->workload;
    struct kafka_list_offsets_request_partition partition;
    struct kafka_list_offsets_request_topic topic;
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_response response;
    struct kafka_client_request head = raw_head(raw, KAFKA_LIST_OFFSETS, LIST_OFFSETS_VERSION);
    char name[BENCH_NAME_MAX];

    kafka_list_offsets_request_partition_defaults(&partition);
    kafka_list_offsets_request_topic_defaults(&topic);
    kafka_list_offsets_request_defaults(&request);
    bench_topic_name(raw->config, partition_idx / workload->partitions, name, sizeof(name));
    partition.index = (int32_t)(partition_idx % workload->partitions);
    partition.timestamp_ms = -1;
    topic.name = text_of(name);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.replica_id = -1;
    request.topics.at = &topic;
    request.topics.count = 1;
    if (!raw_ask(raw, &head, &request, &response) || response.topics.count != 1 ||
        response.topics.at[0].partitions.count != 1 ||
        response.topics.at[0].partitions.at[0].error != 0)
        return false;
    *ret_offset = response.topics.at[0].partitions.at[0].offset;
    return true;
}

/* Metadata name a leader before it has taken its office: ready is who tells the log's end. */
static bool
raw_await(struct raw *raw, uint32_t topic, const char *name)
{
    uint32_t partitions = raw->config->workload->partitions;
    uint64_t end_ns = process_now_ns() + PREPARE_SECONDS * NS_PER_S;
    bool is_led = false;
    int64_t offset;

    while (!(is_led = raw_is_led(raw, name)) && process_now_ns() < end_ns)
        poll(NULL, 0, 50);
    for (uint32_t i = 0; is_led && i < partitions; i++)
        while (!(is_led = raw_ask_end(raw, topic * partitions + i, &offset)) &&
               process_now_ns() < end_ns)
            poll(NULL, 0, 20);
    return is_led;
}

static bool
raw_prepare(const struct driver_config *config)
{
    struct raw *raw = raw_open(config);
    bool is_good = raw != NULL;

    for (uint32_t topic = 0; is_good && topic < config->workload->topics; topic++) {
        char name[BENCH_NAME_MAX];
        bench_topic_name(config, topic, name, sizeof(name));
        is_good = raw_create(raw, name) && raw_await(raw, topic, name);
    }
    if (!is_good)
        fprintf(stderr, "bench: %s: the topics cannot be made\n", config->address);
    raw_close(raw);
    return is_good;
}

/* ---- producers */

static void *
raw_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct raw *raw = raw_open(config);

    (void)idx;
    if (strcmp(workload->codec, "none") != 0) {
        fprintf(stderr,
                "bench: kafka-raw sends plain batches; use kafka for codec %s\n",
                workload->codec);
        raw_close(raw);
        return NULL;
    }
    if (raw == NULL)
        return NULL;
    raw->templates = calloc(workload->topics, sizeof(*raw->templates));
    raw->under_way = calloc(workload->in_flight, sizeof(*raw->under_way));
    bool is_good = raw->templates != NULL && raw->under_way != NULL;
    for (uint32_t i = 0; is_good && i < workload->topics; i++) {
        char name[BENCH_NAME_MAX];
        bench_topic_name(config, i, name, sizeof(name));
        is_good = wire_template_make(&raw->templates[i], workload, name);
    }
    if (!is_good) {
        raw_close(raw);
        return NULL;
    }
    return raw;
}

static bool
raw_send(void *connection, const struct bench_batch *batch)
{
    struct raw *raw = connection;
    const struct workload *workload = raw->config->workload;
    struct wire_template *template = &raw->templates[batch->partition / workload->partitions];

    if (raw->under_way_count == workload->in_flight)
        return false;
    uint8_t *to = stream_room(&raw->stream, wire_request_bytes(template, batch));
    if (to == NULL)
        return false;
    stream_add(
        &raw->stream,
        wire_request(template, workload, batch, batch->partition % workload->partitions, to));
    raw->under_way[(raw->under_way_first + raw->under_way_count++) % workload->in_flight] = *batch;
    return true;
}

static bool
raw_answers(struct raw *raw)
{
    const struct workload *workload = raw->config->workload;
    struct bytes frame;

    while (stream_frame(&raw->stream, &frame)) {
        struct load_answer answer = load_decode_produce(frame.at, (uint32_t)frame.count);
        if (raw->under_way_count == 0 || answer.malformed) {
            fprintf(stderr, "bench: an answer that nobody asked for, or not a Produce answer\n");
            return false;
        }
        const struct bench_batch batch = raw->under_way[raw->under_way_first];
        raw->under_way_first = (raw->under_way_first + 1) % workload->in_flight;
        raw->under_way_count--;
        raw->config->sink.acked(raw->config->sink.ctx, &batch, answer.error == 0);
    }
    return true;
}

/* ---- consumers */

static void *
raw_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    uint32_t all = workload->topics * workload->partitions;
    struct raw *raw = raw_open(config);

    if (raw == NULL)
        return NULL;
    raw->is_consumer = true;
    raw->partitions = calloc(all, sizeof(*raw->partitions));
    raw->offsets = calloc(all, sizeof(*raw->offsets));
    bool is_good = raw->partitions != NULL && raw->offsets != NULL;
    for (uint32_t i = idx; is_good && i < all; i += workload->consumers) {
        raw->partitions[raw->partition_count] = i;
        is_good = raw_ask_end(raw, i, &raw->offsets[raw->partition_count++]);
    }
    if (!is_good) {
        fprintf(stderr, "bench: the ends of the partitions cannot be found\n");
        raw_close(raw);
        return NULL;
    }
    return raw;
}

static bool
raw_fetch(struct raw *raw)
{
    static uint8_t memory[1 << 20];
    const struct workload *workload = raw->config->workload;
    struct kafka_arena arena = kafka_arena_over(raw->arena, RAW_ARENA_BYTES);
    struct kafka_fetch_request_topic *topics = kafka_arena_take(&arena,
                                                                workload->topics * sizeof(*topics));
    struct kafka_fetch_request_partition *partitions = kafka_arena_take(
        &arena, raw->partition_count * sizeof(*partitions));
    char(*names)[BENCH_NAME_MAX] = kafka_arena_take(&arena, workload->topics * sizeof(*names));
    struct writer writer = writer_over(memory, sizeof(memory));
    struct kafka_fetch_request request;
    struct kafka_client_request head = raw_head(raw, KAFKA_FETCH, FETCH_VERSION);
    uint32_t topic_count = 0;
    uint32_t last = UINT32_MAX;

    if (topics == NULL || partitions == NULL || names == NULL)
        return false;
    for (uint32_t i = 0; i < raw->partition_count; i++) {
        uint32_t topic = raw->partitions[i] / workload->partitions;
        if (topic != last) {
            kafka_fetch_request_topic_defaults(&topics[topic_count]);
            bench_topic_name(raw->config, topic, names[topic_count], sizeof(names[0]));
            topics[topic_count].name = text_of(names[topic_count]);
            topics[topic_count].partitions.at = &partitions[i];
            topics[topic_count++].partitions.count = 0;
            last = topic;
        }
        kafka_fetch_request_partition_defaults(&partitions[i]);
        partitions[i].index = (int32_t)(raw->partitions[i] % workload->partitions);
        partitions[i].fetch_offset = raw->offsets[i];
        partitions[i].max_bytes = FETCH_BYTES;
        topics[topic_count - 1].partitions.count++;
    }
    kafka_fetch_request_defaults(&request);
    request.replica_id = -1;
    request.max_wait_ms = FETCH_WAIT_MS;
    request.min_bytes = 1;
    request.max_bytes = FETCH_BYTES;
    request.topics.at = topics;
    request.topics.count = topic_count;
    kafka_client_request(&writer, &head, &request);
    raw->is_fetching = true;
    return !writer.failed && stream_put(&raw->stream, memory, (uint32_t)writer_count(&writer));
}

/* Records from `offset` on; returns the offset behind the last whole batch. */
static int64_t
raw_records(struct raw *raw, uint32_t partition, struct bytes records, int64_t offset)
{
    const struct bench_sink *sink = &raw->config->sink;
    const uint8_t *at = records.at;
    size_t left = records.count;
    struct record_batch_info info;

    while (left > 0 && record_batch_read(at, left, &info) == RC_OK && info.batch_bytes <= left) {
        struct record_iterator iterator;
        struct record_view view;
        record_iterator_begin(&iterator,
                              &info,
                              (struct bytes){at + RECORD_BATCH_HEADER_BYTES,
                                             info.batch_bytes - RECORD_BATCH_HEADER_BYTES});
        while (record_iterator_next(&iterator, &view))
            if (view.offset >= offset)
                sink->received(sink->ctx, partition, view.value.at, (uint32_t)view.value.count);
        offset = record_batch_last_offset(&info) + 1;
        at += info.batch_bytes;
        left -= info.batch_bytes;
    }
    return offset;
}

static uint32_t
raw_place(const struct raw *raw, struct bytes topic, int32_t partition)
{
    const struct workload *workload = raw->config->workload;

    for (uint32_t i = 0; i < raw->partition_count; i++) {
        char name[BENCH_NAME_MAX];
        if (raw->partitions[i] % workload->partitions != (uint32_t)partition)
            continue;
        bench_topic_name(
            raw->config, raw->partitions[i] / workload->partitions, name, sizeof(name));
        if (strlen(name) == topic.count && memcmp(name, topic.at, topic.count) == 0)
            return i;
    }
    return UINT32_MAX;
}

static bool
raw_take_topic(struct raw *raw, const struct kafka_fetch_response_topic *topic)
{
    for (uint32_t i = 0; i < topic->partitions.count; i++) {
        const struct kafka_fetch_response_partition *got = &topic->partitions.at[i];
        uint32_t place = raw_place(raw, topic->name, got->index);
        if (place == UINT32_MAX || got->error != 0)
            return false;
        raw->offsets[place] = raw_records(
            raw, raw->partitions[place], got->records, raw->offsets[place]);
    }
    return true;
}

static bool
raw_fetched(struct raw *raw)
{
    struct kafka_client_request head = raw_head(raw, KAFKA_FETCH, FETCH_VERSION);
    struct kafka_fetch_response response;
    struct bytes frame;

    head.correlation_id = --raw->correlation;
    while (stream_frame(&raw->stream, &frame)) {
        struct kafka_arena arena = kafka_arena_over(raw->arena, RAW_ARENA_BYTES);
        if (kafka_client_response(frame, &head, &arena, &response) != RC_OK)
            return false;
        raw->is_fetching = false;
        for (uint32_t t = 0; t < response.topics.count; t++)
            if (!raw_take_topic(raw, &response.topics.at[t]))
                return false;
    }
    return true;
}

static bool
raw_poll(void *connection)
{
    struct raw *raw = connection;
    bool is_good = stream_receive(&raw->stream) &&
                   (raw->is_consumer ? raw_fetched(raw) : raw_answers(raw));

    if (is_good && raw->is_consumer && !raw->is_fetching)
        is_good = raw_fetch(raw);
    is_good = is_good && stream_send(&raw->stream);
    if (!is_good)
        fprintf(stderr, "bench: kafka-raw: the connection ended\n");
    return is_good;
}

static struct driver_wait
raw_wait(void *connection)
{
    const struct raw *raw = connection;

    return (struct driver_wait){
        .fd = raw->stream.fd, .events = stream_events(&raw->stream), .within_ns = UINT64_MAX};
}

const struct driver_ops driver_kafka_raw = {
    .name = "kafka-raw",
    .label = "Kafka protocol, pre-encoded Produce requests, acks=all: measures the broker",
    .prepare = raw_prepare,
    .open_producer = raw_open_producer,
    .open_consumer = raw_open_consumer,
    .send = raw_send,
    .poll = raw_poll,
    .wait = raw_wait,
    .close = raw_close,
};
