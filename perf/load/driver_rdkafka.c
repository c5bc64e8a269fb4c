/* Kafka through librdkafka, as most programs send: any broker, any codec. Its producer tops out
 * near 1.4 M records of 100 bytes per second on two cores and has threads of its own, so throughput
 * measured through it is the client's as much as the broker's; kafka-raw measures the broker. */
#include "perf/load/drivers.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#define RD_TOPICS_MAX 64u
#define RD_OPEN_MS 20000
#define RD_POLL_MESSAGES 1000

struct rd_batch {
    struct bench_batch batch;
    uint32_t left;
    bool has_failed;
};

struct rd {
    const struct driver_config *config;
    rd_kafka_t *handle;
    rd_kafka_topic_t *topics[RD_TOPICS_MAX];
    bool is_consumer;
    /* producer */
    struct rd_batch *under_way; /* [in_flight], by turns */
    uint32_t next;
    uint32_t under_way_count;
    bool is_handing;
    uint32_t handed; /* records of the batch that was begun */
    uint8_t *value;
    /* consumer */
    rd_kafka_queue_t *queue;
    rd_kafka_message_t **messages; /* [RD_POLL_MESSAGES] */
};

static void
rd_close(void *connection)
{
    struct rd *rd = connection;

    if (rd == NULL)
        return;
    for (uint32_t i = 0; i < RD_TOPICS_MAX; i++)
        if (rd->topics[i] != NULL)
            rd_kafka_topic_destroy(rd->topics[i]);
    if (rd->queue != NULL)
        rd_kafka_queue_destroy(rd->queue);
    if (rd->handle != NULL && !rd->is_consumer)
        (void)rd_kafka_flush(rd->handle, 5000);
    if (rd->handle != NULL)
        rd_kafka_destroy(rd->handle);
    free(rd->under_way);
    free(rd->value);
    free(rd->messages);
    free(rd);
}

static bool
rd_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
        return true;
    fprintf(stderr, "bench: kafka: %s\n", why);
    return false;
}

static void
rd_delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct rd *rd = opaque;
    const struct bench_sink *sink = &rd->config->sink;
    struct rd_batch *batch = message->_private;

    (void)handle;
    batch->has_failed |= message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (--batch->left > 0)
        return;
    rd->under_way_count--;
    sink->acked(sink->ctx, &batch->batch, !batch->has_failed);
}

/* Partitions are wanted as in the workload; a topic that exists is taken as it is. */
static bool
rd_create_topics(struct rd *rd)
{
    const struct workload *workload = rd->config->workload;
    rd_kafka_NewTopic_t *topics[RD_TOPICS_MAX];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rd->handle);
    char why[256];

    for (uint32_t i = 0; i < workload->topics; i++) {
        char name[BENCH_NAME_MAX];
        bench_topic_name(rd->config, i, name, sizeof(name));
        topics[i] = rd_kafka_NewTopic_new(name, (int)workload->partitions, 1, why, sizeof(why));
        if (strcmp(workload->durability, "device") != 0)
            (void)rd_kafka_NewTopic_set_config(topics[i], "eagre.durability", workload->durability);
    }
    rd_kafka_CreateTopics(rd->handle, topics, workload->topics, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, RD_OPEN_MS);
    bool is_good = event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy_array(topics, workload->topics);
    rd_kafka_queue_destroy(queue);
    return is_good;
}

static struct rd *
rd_open(const struct driver_config *config, rd_kafka_type_t type)
{
    const struct workload *workload = config->workload;
    struct rd *rd = calloc(1, sizeof(*rd));
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512];

    if (rd == NULL)
        return NULL;
    rd->config = config;
    rd->is_consumer = type == RD_KAFKA_CONSUMER;
    rd_kafka_conf_set_opaque(conf, rd);
    bool is_good = workload->topics <= RD_TOPICS_MAX &&
                   rd_set(conf, "bootstrap.servers", config->address);
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, rd_delivered);
        snprintf(text, sizeof(text), "%g", workload->linger_ms);
        is_good = is_good && rd_set(conf, "linger.ms", text) && rd_set(conf, "acks", "all") &&
                  rd_set(conf, "compression.type", workload->codec) &&
                  rd_set(conf, "queue.buffering.max.messages", "1000000");
        snprintf(text, sizeof(text), "%u", workload->batch_records);
        is_good = is_good && rd_set(conf, "batch.num.messages", text);
    } else {
        is_good = is_good && rd_set(conf, "fetch.wait.max.ms", "500");
    }
    if (is_good)
        rd->handle = rd_kafka_new(type, conf, text, sizeof(text));
    if (rd->handle == NULL) {
        rd_kafka_conf_destroy(conf);
        fprintf(stderr, "bench: kafka: %s\n", text);
        rd_close(rd);
        return NULL;
    }
    return rd;
}

/* Not before the topics were made: asking for one that is not there makes it. */
static void
rd_open_topics(struct rd *rd)
{
    char name[BENCH_NAME_MAX];

    for (uint32_t i = 0; i < rd->config->workload->topics; i++) {
        bench_topic_name(rd->config, i, name, sizeof(name));
        rd->topics[i] = rd_kafka_topic_new(rd->handle, name, NULL);
    }
}

static bool
rd_prepare(const struct driver_config *config)
{
    struct rd *rd = rd_open(config, RD_KAFKA_PRODUCER);
    bool is_good = rd != NULL && rd_create_topics(rd);

    if (!is_good)
        fprintf(stderr, "bench: kafka: the topics cannot be made at %s\n", config->address);
    rd_close(rd);
    return is_good;
}

/* ---- producers */

static void *
rd_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct rd *rd = rd_open(config, RD_KAFKA_PRODUCER);

    (void)idx;
    if (rd == NULL)
        return NULL;
    rd_open_topics(rd);
    rd->under_way = calloc(workload->in_flight, sizeof(*rd->under_way));
    rd->value = malloc(max_u64(workload->record_bytes, workload->record_bytes_max));
    if (rd->under_way == NULL || rd->value == NULL) {
        rd_close(rd);
        return NULL;
    }
    return rd;
}

static bool
rd_send(void *connection, const struct bench_batch *batch)
{
    struct rd *rd = connection;
    const struct workload *workload = rd->config->workload;
    struct rd_batch *place = &rd->under_way[rd->next];
    char key[24];
    int key_bytes = batch->key == BENCH_NO_KEY
                        ? 0
                        : snprintf(key, sizeof(key), "key-%016lx", batch->key);

    if (!rd->is_handing && (rd->under_way_count == workload->in_flight || place->left > 0))
        return false;
    if (!rd->is_handing) {
        *place = (struct rd_batch){.batch = *batch, .left = batch->count};
        rd->under_way_count++;
        rd->is_handing = true;
    }
    for (; rd->handed < batch->count; rd->handed++) {
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + rd->handed);
        bench_value(rd->value, bytes, batch, rd->handed);
        if (rd_kafka_produce(rd->topics[batch->partition / workload->partitions],
                             (int32_t)(batch->partition % workload->partitions),
                             RD_KAFKA_MSG_F_COPY,
                             rd->value,
                             bytes,
                             key_bytes > 0 ? key : NULL,
                             (size_t)key_bytes,
                             place) != 0)
            return false; /* its queue is full */
    }
    rd->handed = 0;
    rd->is_handing = false;
    rd->next = (rd->next + 1) % workload->in_flight;
    return true;
}

/* ---- consumers */

static void *
rd_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    uint32_t all = workload->topics * workload->partitions;
    struct rd *rd = rd_open(config, RD_KAFKA_CONSUMER);
    bool is_good = rd != NULL;

    if (!is_good)
        return NULL;
    rd_open_topics(rd);
    rd->queue = rd_kafka_queue_new(rd->handle);
    rd->messages = calloc(RD_POLL_MESSAGES, sizeof(*rd->messages));
    is_good = rd->messages != NULL;
    for (uint32_t i = idx; is_good && i < all; i += workload->consumers) {
        char name[BENCH_NAME_MAX];
        int64_t low;
        int64_t high;
        int32_t partition = (int32_t)(i % workload->partitions);
        bench_topic_name(config, i / workload->partitions, name, sizeof(name));
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
            rd->handle, name, partition, &low, &high, RD_OPEN_MS);
        is_good = error == RD_KAFKA_RESP_ERR_NO_ERROR &&
                  rd_kafka_consume_start_queue(
                      rd->topics[i / workload->partitions], partition, high, rd->queue) == 0;
        if (!is_good)
            fprintf(stderr,
                    "bench: kafka: %s [%d]: %s\n",
                    name,
                    partition,
                    rd_kafka_err2str(error != RD_KAFKA_RESP_ERR_NO_ERROR ? error
                                                                         : rd_kafka_last_error()));
    }
    if (!is_good) {
        fprintf(stderr, "bench: kafka: the ends of the partitions cannot be found\n");
        rd_close(rd);
        return NULL;
    }
    return rd;
}

static uint32_t
rd_place(const struct rd *rd, const rd_kafka_message_t *message)
{
    const struct workload *workload = rd->config->workload;

    for (uint32_t i = 0; i < workload->topics; i++)
        if (rd->topics[i] == message->rkt)
            return i * workload->partitions + (uint32_t)message->partition;
    return UINT32_MAX;
}

static bool
rd_consume(struct rd *rd)
{
    const struct bench_sink *sink = &rd->config->sink;
    ssize_t count = rd_kafka_consume_batch_queue(rd->queue, 0, rd->messages, RD_POLL_MESSAGES);
    bool is_good = count >= 0;

    for (ssize_t i = 0; i < count; i++) {
        rd_kafka_message_t *message = rd->messages[i];
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            sink->received(
                sink->ctx, rd_place(rd, message), message->payload, (uint32_t)message->len);
        else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            is_good = false;
        rd_kafka_message_destroy(message);
    }
    return is_good;
}

static bool
rd_poll(void *connection)
{
    struct rd *rd = connection;

    rd_kafka_poll(rd->handle, 0);
    return !rd->is_consumer || rd_consume(rd);
}

/* Its threads wake nobody here. */
static struct driver_wait
rd_wait(void *connection)
{
    (void)connection;
    return (struct driver_wait){.fd = -1};
}

const struct driver_ops driver_rdkafka = {
    .name = "kafka",
    .label =
        "Kafka protocol through librdkafka, acks=all: measures the client library as much as the "
        "broker (about 1.4 M records/s of 100 bytes on two cores)",
    .prepare = rd_prepare,
    .open_producer = rd_open_producer,
    .open_consumer = rd_open_consumer,
    .send = rd_send,
    .poll = rd_poll,
    .wait = rd_wait,
    .close = rd_close,
};
