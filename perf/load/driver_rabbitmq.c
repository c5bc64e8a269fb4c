/* RabbitMQ through librabbitmq: a quorum queue per partition, reached over the default exchange;
 * producers with publisher confirms, consumers with a prefetch and acknowledgements of their own.
 * Confirms of several queues come in any order and may tell several at once (AMQP 0-9-1,
 * basic.ack with multiple), so each delivery tag is booked by itself. */
#include "perf/load/drivers.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define RABBIT_CHANNEL 1
#define RABBIT_FRAME_BYTES (128 * 1024)
#define RABBIT_PREFETCH 2000
#define RABBIT_FRAMES_PER_POLL 4096u
#define RABBIT_OPEN_SECONDS 20

struct rabbit_batch {
    struct bench_batch batch;
    uint32_t left; /* records without a confirm; 0: a free place */
    bool has_failed;
};

struct rabbit_tag {
    uint32_t place; /* of its batch */
    bool is_answered;
};

struct rabbit {
    const struct driver_config *config;
    amqp_connection_state_t state;
    /* producer */
    struct rabbit_batch *under_way; /* [in_flight], by turns */
    struct rabbit_tag *tags;        /* [tag_room], by delivery tag */
    uint64_t tag_room;
    uint64_t first_tag; /* the oldest without an answer */
    uint64_t next_tag;
    uint32_t next_place;
    uint8_t *value;
    /* consumer: a delivery is a method, a header, then bodies */
    uint8_t *body; /* [body_room] */
    uint64_t body_room;
    uint64_t body_bytes; /* what the header said */
    uint64_t body_have;
    uint64_t delivery_tag;
    uint64_t unacked_tag; /* the newest that was received and not acknowledged; 0: none */
    uint32_t partition;
    bool is_in_delivery;
};

static void
rabbit_close(void *connection)
{
    struct rabbit *rabbit = connection;

    if (rabbit == NULL)
        return;
    if (rabbit->state != NULL)
        amqp_destroy_connection(rabbit->state);
    free(rabbit->under_way);
    free(rabbit->tags);
    free(rabbit->value);
    free(rabbit->body);
    free(rabbit);
}

static bool
rabbit_failed(const char *what, int status)
{
    fprintf(stderr, "bench: rabbitmq: %s: %s\n", what, amqp_error_string2(status));
    return false;
}

/* Whether the last call with an answer went well. */
static bool
rabbit_is_good(struct rabbit *rabbit, const char *what)
{
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(rabbit->state);

    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return true;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return rabbit_failed(what, reply.library_error);
    fprintf(stderr, "bench: rabbitmq: %s: the broker refuses it\n", what);
    return false;
}

static bool
rabbit_connect(struct rabbit *rabbit)
{
    const char *address = rabbit->config->address;
    const char *colon = strrchr(address, ':');
    const struct timeval limit = {.tv_sec = RABBIT_OPEN_SECONDS};
    char host[256];

    snprintf(host, sizeof(host), "%.*s", colon == NULL ? 0 : (int)(colon - address), address);
    rabbit->state = amqp_new_connection();
    amqp_socket_t *socket = rabbit->state == NULL ? NULL : amqp_tcp_socket_new(rabbit->state);
    if (colon == NULL || socket == NULL)
        return rabbit_failed(address, AMQP_STATUS_BAD_URL);
    int status = amqp_socket_open_noblock(socket, host, (int)strtoul(colon + 1, NULL, 10), &limit);
    if (status != AMQP_STATUS_OK)
        return rabbit_failed(address, status);
    const amqp_rpc_reply_t reply = amqp_login(
        rabbit->state, "/", 0, RABBIT_FRAME_BYTES, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        return rabbit_failed("login", reply.library_error);
    amqp_channel_open(rabbit->state, RABBIT_CHANNEL);
    return rabbit_is_good(rabbit, "channel");
}

static struct rabbit *
rabbit_open(const struct driver_config *config)
{
    struct rabbit *rabbit = calloc(1, sizeof(*rabbit));

    if (rabbit == NULL)
        return NULL;
    rabbit->config = config;
    if (!rabbit_connect(rabbit)) {
        rabbit_close(rabbit);
        return NULL;
    }
    return rabbit;
}

/* "prefix-partition"; partitions are counted over all topics. */
static amqp_bytes_t
rabbit_queue(const struct driver_config *config, uint32_t partition, char *name, size_t room)
{
    snprintf(name, room, "%s-%u", config->prefix, partition);
    return amqp_cstring_bytes(name);
}

static bool
rabbit_prepare(const struct driver_config *config)
{
    const struct workload *workload = config->workload;
    struct rabbit *rabbit = rabbit_open(config);
    amqp_table_entry_t kind = {
        .key = amqp_cstring_bytes("x-queue-type"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("quorum")}};
    const amqp_table_t arguments = {.num_entries = 1, .entries = &kind};
    bool is_good = rabbit != NULL;

    for (uint32_t i = 0; is_good && i < workload->topics * workload->partitions; i++) {
        char name[BENCH_NAME_MAX];
        amqp_queue_declare(rabbit->state,
                           RABBIT_CHANNEL,
                           rabbit_queue(config, i, name, sizeof(name)),
                           0,
                           1,
                           0,
                           0,
                           arguments);
        is_good = rabbit_is_good(rabbit, name);
    }
    rabbit_close(rabbit);
    return is_good;
}

/* ---- producers */

static void *
rabbit_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct rabbit *rabbit = rabbit_open(config);

    (void)idx;
    if (rabbit == NULL)
        return NULL;
    rabbit->tag_room = (uint64_t)workload->in_flight * workload->batch_records;
    rabbit->first_tag = 1;
    rabbit->next_tag = 1;
    rabbit->tags = calloc(rabbit->tag_room, sizeof(*rabbit->tags));
    rabbit->under_way = calloc(workload->in_flight, sizeof(*rabbit->under_way));
    rabbit->value = malloc(max_u64(workload->record_bytes, workload->record_bytes_max));
    bool is_good = rabbit->tags != NULL && rabbit->under_way != NULL && rabbit->value != NULL;
    if (is_good) {
        amqp_confirm_select(rabbit->state, RABBIT_CHANNEL);
        is_good = rabbit_is_good(rabbit, "publisher confirms");
    }
    if (!is_good) {
        rabbit_close(rabbit);
        return NULL;
    }
    return rabbit;
}

static bool
rabbit_publish(struct rabbit *rabbit, amqp_bytes_t queue, uint32_t bytes)
{
    const amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                                .delivery_mode = AMQP_DELIVERY_PERSISTENT};
    int status = amqp_basic_publish(rabbit->state,
                                    RABBIT_CHANNEL,
                                    amqp_empty_bytes,
                                    queue,
                                    0,
                                    0,
                                    &properties,
                                    (amqp_bytes_t){.len = bytes, .bytes = rabbit->value});

    return status == AMQP_STATUS_OK || rabbit_failed("publish", status);
}

/* A batch counts as under way from its first record on: what cannot be published shows in poll. */
static bool
rabbit_send(void *connection, const struct bench_batch *batch)
{
    struct rabbit *rabbit = connection;
    const struct workload *workload = rabbit->config->workload;
    struct rabbit_batch *place = &rabbit->under_way[rabbit->next_place];
    char name[BENCH_NAME_MAX];
    amqp_bytes_t queue = rabbit_queue(rabbit->config, batch->partition, name, sizeof(name));

    if (place->left > 0 || rabbit->next_tag + batch->count - rabbit->first_tag > rabbit->tag_room)
        return false;
    *place = (struct rabbit_batch){.batch = *batch, .left = batch->count};
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + i);
        bench_value(rabbit->value, bytes, batch, i);
        if (!rabbit_publish(rabbit, queue, bytes))
            break;
        rabbit->tags[rabbit->next_tag++ % rabbit->tag_room] = (struct rabbit_tag){
            .place = rabbit->next_place};
    }
    rabbit->next_place = (rabbit->next_place + 1) % workload->in_flight;
    return true;
}

static void
rabbit_answer(struct rabbit *rabbit, uint64_t number, bool is_good)
{
    const struct bench_sink *sink = &rabbit->config->sink;
    struct rabbit_tag *tag = &rabbit->tags[number % rabbit->tag_room];
    struct rabbit_batch *batch = &rabbit->under_way[tag->place];

    if (tag->is_answered)
        return;
    tag->is_answered = true;
    batch->has_failed |= !is_good;
    if (--batch->left == 0) {
        const struct rabbit_batch done = *batch;
        sink->acked(sink->ctx, &done.batch, !done.has_failed);
    }
}

static bool
rabbit_confirmed(struct rabbit *rabbit, uint64_t tag, bool is_multiple, bool is_good)
{
    if (tag < rabbit->first_tag || tag >= rabbit->next_tag) {
        fprintf(stderr, "bench: rabbitmq: a confirm of what is not under way\n");
        return false;
    }
    for (uint64_t i = is_multiple ? rabbit->first_tag : tag; i <= tag; i++)
        rabbit_answer(rabbit, i, is_good);
    while (rabbit->first_tag < rabbit->next_tag &&
           rabbit->tags[rabbit->first_tag % rabbit->tag_room].is_answered)
        rabbit->first_tag++;
    return true;
}

/* ---- consumers */

static void *
rabbit_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct rabbit *rabbit = rabbit_open(config);
    bool is_good = rabbit != NULL;

    if (!is_good)
        return NULL;
    rabbit->body_room = max_u64(workload->record_bytes, workload->record_bytes_max);
    rabbit->body = malloc(rabbit->body_room);
    is_good = rabbit->body != NULL;
    if (is_good) {
        amqp_basic_qos(rabbit->state, RABBIT_CHANNEL, 0, RABBIT_PREFETCH, 0);
        is_good = rabbit_is_good(rabbit, "prefetch");
    }
    for (uint32_t i = idx; is_good && i < workload->topics * workload->partitions;
         i += workload->consumers) {
        char name[BENCH_NAME_MAX];
        char tag[16];
        snprintf(tag, sizeof(tag), "%u", i); /* tells the partition of each delivery */
        amqp_basic_consume(rabbit->state,
                           RABBIT_CHANNEL,
                           rabbit_queue(config, i, name, sizeof(name)),
                           amqp_cstring_bytes(tag),
                           0,
                           0,
                           0,
                           amqp_empty_table);
        is_good = rabbit_is_good(rabbit, name);
    }
    if (!is_good) {
        rabbit_close(rabbit);
        return NULL;
    }
    return rabbit;
}

static void
rabbit_delivery(struct rabbit *rabbit, const amqp_basic_deliver_t *delivery)
{
    const uint8_t *digits = delivery->consumer_tag.bytes;

    rabbit->partition = 0;
    for (size_t i = 0; i < delivery->consumer_tag.len; i++)
        rabbit->partition = rabbit->partition * 10 + digits[i] - '0';
    rabbit->delivery_tag = delivery->delivery_tag;
    rabbit->is_in_delivery = true;
    rabbit->body_have = 0;
}

static bool
rabbit_content(struct rabbit *rabbit, const amqp_frame_t *frame)
{
    const struct bench_sink *sink = &rabbit->config->sink;

    if (!rabbit->is_in_delivery)
        return false;
    if (frame->frame_type == AMQP_FRAME_HEADER) {
        rabbit->body_bytes = frame->payload.properties.body_size;
    } else {
        const amqp_bytes_t *part = &frame->payload.body_fragment;
        if (part->len > rabbit->body_room - rabbit->body_have)
            return false;
        memcpy(rabbit->body + rabbit->body_have, part->bytes, part->len);
        rabbit->body_have += part->len;
    }
    if (rabbit->body_have < rabbit->body_bytes)
        return true;
    rabbit->is_in_delivery = false;
    rabbit->unacked_tag = rabbit->delivery_tag;
    sink->received(sink->ctx, rabbit->partition, rabbit->body, (uint32_t)rabbit->body_have);
    return true;
}

/* ---- both */

static bool
rabbit_take(struct rabbit *rabbit, const amqp_frame_t *frame)
{
    if (frame->frame_type == AMQP_FRAME_HEADER || frame->frame_type == AMQP_FRAME_BODY)
        return rabbit_content(rabbit, frame);
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return true;
    const amqp_method_t *method = &frame->payload.method;
    if (method->id == AMQP_BASIC_DELIVER_METHOD) {
        rabbit_delivery(rabbit, method->decoded);
    } else if (method->id == AMQP_BASIC_ACK_METHOD) {
        const amqp_basic_ack_t *ack = method->decoded;
        return rabbit_confirmed(rabbit, ack->delivery_tag, ack->multiple, true);
    } else if (method->id == AMQP_BASIC_NACK_METHOD) {
        const amqp_basic_nack_t *nack = method->decoded;
        return rabbit_confirmed(rabbit, nack->delivery_tag, nack->multiple, false);
    } else if (method->id == AMQP_CHANNEL_CLOSE_METHOD ||
               method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        fprintf(stderr, "bench: rabbitmq: the broker closes the connection\n");
        return false;
    }
    return true;
}

static bool
rabbit_poll(void *connection)
{
    struct rabbit *rabbit = connection;
    const struct timeval at_once = {0};
    bool is_good = true;
    int status = AMQP_STATUS_OK;
    amqp_frame_t frame;

    for (uint32_t i = 0; is_good && i < RABBIT_FRAMES_PER_POLL; i++) {
        status = amqp_simple_wait_frame_noblock(rabbit->state, &frame, &at_once);
        if (status != AMQP_STATUS_OK)
            break;
        is_good = rabbit_take(rabbit, &frame);
        amqp_maybe_release_buffers(rabbit->state);
    }
    if (status != AMQP_STATUS_OK && status != AMQP_STATUS_TIMEOUT)
        return rabbit_failed("connection", status);
    if (is_good && rabbit->unacked_tag > 0) {
        status = amqp_basic_ack(rabbit->state, RABBIT_CHANNEL, rabbit->unacked_tag, 1);
        rabbit->unacked_tag = 0;
        is_good = status == AMQP_STATUS_OK || rabbit_failed("acknowledge", status);
    }
    return is_good;
}

/* Frames that the library has read already are not seen by poll(2). */
static struct driver_wait
rabbit_wait(void *connection)
{
    struct rabbit *rabbit = connection;
    bool has_more = amqp_frames_enqueued(rabbit->state) || amqp_data_in_buffer(rabbit->state);

    return (struct driver_wait){.fd = amqp_get_sockfd(rabbit->state),
                                .events = POLLIN,
                                .within_ns = has_more ? 0 : UINT64_MAX};
}

const struct driver_ops driver_rabbitmq = {
    .name = "rabbitmq",
    .label = "RabbitMQ through librabbitmq: a quorum queue per partition, each record published by "
             "itself, publisher confirms; consumers acknowledge",
    .prepare = rabbit_prepare,
    .open_producer = rabbit_open_producer,
    .open_consumer = rabbit_open_consumer,
    .send = rabbit_send,
    .poll = rabbit_poll,
    .wait = rabbit_wait,
    .close = rabbit_close,
};
