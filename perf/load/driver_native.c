/* The native door through libeagre: sockets, or a DPDK port when --extra names one as
 * "DEVARGS,local=IP[,data=IP]" (virtio_user: see perf/load/native_figures.py). "plain" asks for
 * auth none.
 *
 * The library packs records into its own batches; a batch of ours is acknowledged when all of its
 * records are delivered. */
#include "net/client/include/eagre/eagre.h"
#include "perf/load/drivers.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define NATIVE_BURST 512u
#define NATIVE_OPEN_MS 10000
#define NATIVE_PACKETS 1024u
#define NATIVE_BATCHES 4096u
#define NATIVE_TOPICS_MAX 64u

struct native_batch {
    struct bench_batch batch;
    uint32_t left; /* records without an answer */
    bool has_failed;
};

struct native {
    const struct driver_config *config;
    struct eagre_client *client;
    char *extra; /* copy of the devargs, cut at our own words */
    /* producer */
    struct eagre_producer *producers[NATIVE_TOPICS_MAX];
    struct native_batch *under_way; /* [in_flight], by turns */
    uint32_t next;
    uint32_t under_way_count;
    bool is_handing; /* a batch was begun and not wholly taken */
    uint32_t taken;  /* records of it */
    uint8_t *values;
    struct eagre_record *records;
    /* consumer */
    struct eagre_subscriber **subscribers;
    uint32_t *first_partition; /* of a subscriber's topic, or its only partition */
    uint32_t subscriber_count;
};

static void
native_close(void *connection)
{
    struct native *native = connection;

    if (native == NULL)
        return;
    eagre_close(native->client);
    free(native->extra);
    free(native->under_way);
    free(native->values);
    free(native->records);
    free(native->subscribers);
    free(native->first_partition);
    free(native);
}

/* The text behind ",name=" up to the next comma; cut out of `extra`. NULL: not there. */
static char *
extra_take(char *extra, const char *name)
{
    char *at = strstr(extra, name);

    if (at == NULL)
        return NULL;
    char *value = at + strlen(name);
    *at = '\0';
    return value;
}

static void
native_carrier(struct native *native, struct eagre_config *config)
{
    if (strcmp(native->extra, "plain") == 0) {
        config->auth = EAGRE_AUTH_NONE;
        return;
    }
    if (native->extra[0] == '\0')
        return;
    char *plain = extra_take(native->extra, ",plain");
    config->data_address = extra_take(native->extra, ",data=");
    config->local_address = extra_take(native->extra, ",local=");
    config->carrier = EAGRE_CARRIER_DPDK;
    config->dpdk_devargs = native->extra;
    if (plain != NULL)
        config->auth = EAGRE_AUTH_NONE;
}

static struct native *
native_open(const struct driver_config *config)
{
    struct native *native = calloc(1, sizeof(*native));
    struct eagre_config options = eagre_config_preset(config->address);
    char why[256] = "";

    if (native == NULL)
        return NULL;
    native->config = config;
    native->extra = strdup(config->extra);
    options.connect_timeout_ms = NATIVE_OPEN_MS;
    options.packets_max = NATIVE_PACKETS;
    options.topics_max = NATIVE_TOPICS_MAX;
    options.partitions_max = 65536;
    options.producers_max = NATIVE_TOPICS_MAX;
    options.subscribers_max = NATIVE_TOPICS_MAX;
    native_carrier(native, &options);
    if (config->workload->topics > NATIVE_TOPICS_MAX)
        snprintf(why, sizeof(why), "at most %u topics", NATIVE_TOPICS_MAX);
    if (why[0] != '\0' || native->extra == NULL ||
        eagre_open(&options, &native->client, why, sizeof(why)) != EAGRE_OK) {
        fprintf(stderr, "bench: native: %s\n", why);
        native_close(native);
        return NULL;
    }
    return native;
}

/* Topics with their partitions are made at the Kafka door beforehand (perf/compare does), or come
 * into being with the server's default count. */
static bool
native_prepare(const struct driver_config *config)
{
    struct native *native = native_open(config);
    bool is_good = native != NULL;

    for (uint32_t i = 0; is_good && i < config->workload->topics; i++) {
        struct eagre_topic_info info;
        char name[BENCH_NAME_MAX];
        uint64_t end_ns = process_now_ns() + 10 * NS_PER_S;
        bench_topic_name(config, i, name, sizeof(name));
        while (eagre_get_topic_info(native->client, name, 1, &info) != EAGRE_OK &&
               process_now_ns() < end_ns)
            eagre_poll(native->client, 1000);
        is_good = eagre_get_topic_info(native->client, name, 1, &info) == EAGRE_OK;
        if (is_good && info.partition_count != config->workload->partitions) {
            fprintf(stderr,
                    "bench: topic %s has %u partitions, the workload wants %u: make it before\n",
                    name,
                    info.partition_count,
                    config->workload->partitions);
            is_good = false;
        }
    }
    native_close(native);
    return is_good;
}

/* ---- producers */

static void
native_delivered(const struct eagre_delivery *delivery, void *context)
{
    struct native *native = context;
    const struct bench_sink *sink = &native->config->sink;

    for (uint32_t i = 0; i < delivery->record_count; i++) {
        struct native_batch *batch = &native->under_way[delivery->opaques[i]];
        batch->has_failed |= delivery->rc != EAGRE_OK;
        if (--batch->left > 0)
            continue;
        native->under_way_count--;
        sink->acked(sink->ctx, &batch->batch, !batch->has_failed);
    }
}

static void *
native_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct native *native = native_open(config);
    uint32_t longest = workload->sizes == SIZE_FIXED ? workload->record_bytes
                                                     : workload->record_bytes_max;

    (void)idx;
    if (native == NULL)
        return NULL;
    native->under_way = calloc(workload->in_flight, sizeof(*native->under_way));
    native->values = malloc((size_t)NATIVE_BURST * longest);
    native->records = calloc(NATIVE_BURST, sizeof(*native->records));
    bool is_good = native->under_way != NULL && native->values != NULL && native->records != NULL;
    for (uint32_t i = 0; is_good && i < workload->topics; i++) {
        char name[BENCH_NAME_MAX];
        char why[256] = "";
        bench_topic_name(config, i, name, sizeof(name));
        struct eagre_producer_options options = eagre_producer_preset(name);
        options.partitioner = EAGRE_PARTITIONER_EXPLICIT;
        options.batch_count = NATIVE_BATCHES / workload->topics;
        options.batch_bytes = workload->record_bytes * workload->batch_records > 65536 ? 262144 : 0;
        options.linger_us = (uint32_t)(workload->linger_ms * 1e3);
        options.on_delivery = native_delivered;
        options.context = native;
        is_good = eagre_producer_open(
                      native->client, &options, &native->producers[i], why, sizeof(why)) ==
                  EAGRE_OK;
        if (!is_good)
            fprintf(stderr, "bench: native: %s\n", why);
    }
    if (!is_good) {
        native_close(native);
        return NULL;
    }
    return native;
}

/* Up to a burst of records of the batch, from native->taken on. Returns how many were taken. */
static uint32_t
native_burst(struct native *native, const struct bench_batch *batch)
{
    const struct workload *workload = native->config->workload;
    uint32_t count = min_u32(NATIVE_BURST, batch->count - native->taken);
    uint8_t *at = native->values;
    char key[24];
    int key_bytes = batch->key == BENCH_NO_KEY
                        ? 0
                        : snprintf(key, sizeof(key), "key-%016lx", batch->key);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t idx = native->taken + i;
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + idx);
        bench_value(at, bytes, batch, idx);
        native->records[i] = eagre_record_of(
            key_bytes > 0 ? key : NULL, (size_t)key_bytes, at, bytes);
        native->records[i].partition = (int32_t)(batch->partition % workload->partitions);
        native->records[i].opaque = native->next;
        at += bytes;
    }
    return eagre_send(
        native->producers[batch->partition / workload->partitions], native->records, count, NULL);
}

static bool
native_send(void *connection, const struct bench_batch *batch)
{
    struct native *native = connection;
    uint32_t in_flight = native->config->workload->in_flight;
    struct native_batch *place = &native->under_way[native->next];

    if (!native->is_handing && (native->under_way_count == in_flight || place->left > 0))
        return false;
    if (!native->is_handing) {
        native->is_handing = true;
        *place = (struct native_batch){.batch = *batch, .left = batch->count};
        native->under_way_count++;
    }
    while (native->taken < batch->count) {
        uint32_t taken = native_burst(native, batch);
        if (taken == 0)
            return false;
        native->taken += taken;
    }
    native->taken = 0;
    native->is_handing = false;
    native->next = (native->next + 1) % in_flight;
    return true;
}

/* ---- consumers */

static bool
native_subscribe(struct native *native, uint32_t topic, int32_t partition)
{
    struct eagre_subscriber_options options;
    char name[BENCH_NAME_MAX];
    char why[256] = "";

    bench_topic_name(native->config, topic, name, sizeof(name));
    options = eagre_subscriber_preset(name);
    options.partition = partition;
    options.partitions_max = native->config->workload->partitions;
    options.start = EAGRE_START_LATEST;
    native->first_partition[native->subscriber_count] = topic *
                                                        native->config->workload->partitions;
    if (eagre_subscribe(native->client,
                        &options,
                        &native->subscribers[native->subscriber_count],
                        why,
                        sizeof(why)) != EAGRE_OK) {
        fprintf(stderr, "bench: native: %s\n", why);
        return false;
    }
    native->subscriber_count++;
    return true;
}

/* All places to begin at are known. */
static bool
native_is_placed(const struct native *native)
{
    for (uint32_t i = 0; i < native->subscriber_count; i++) {
        uint32_t count = eagre_subscriber_partitions(native->subscribers[i]);
        struct eagre_position position;
        if (count == 0)
            return false;
        for (uint32_t p = 0; count > 1 && p < count; p++)
            if (eagre_get_position(native->subscribers[i], (int32_t)p, &position) != EAGRE_OK)
                return false;
    }
    return true;
}

static void *
native_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    uint32_t all = workload->topics * workload->partitions;
    struct native *native = native_open(config);
    bool is_good = native != NULL;

    if (!is_good)
        return NULL;
    native->subscribers = calloc(all, sizeof(struct eagre_subscriber *));
    native->first_partition = calloc(all, sizeof(uint32_t));
    is_good = native->subscribers != NULL && native->first_partition != NULL;
    if (workload->consumers == 1)
        for (uint32_t i = 0; is_good && i < workload->topics; i++)
            is_good = native_subscribe(native, i, EAGRE_PARTITION_ANY);
    else
        for (uint32_t i = idx; is_good && i < all; i += workload->consumers)
            is_good = native_subscribe(
                native, i / workload->partitions, (int32_t)(i % workload->partitions));
    uint64_t end_ns = process_now_ns() + 10 * NS_PER_S;
    while (is_good && !native_is_placed(native) && process_now_ns() < end_ns)
        eagre_poll(native->client, 1000);
    if (!is_good || !native_is_placed(native)) {
        fprintf(stderr, "bench: native: the ends of the partitions cannot be found\n");
        native_close(native);
        return NULL;
    }
    return native;
}

static bool
native_take(struct native *native, uint32_t idx)
{
    const struct bench_sink *sink = &native->config->sink;
    struct eagre_received record;
    struct eagre_batch batch;

    while (eagre_next(native->subscribers[idx], &batch) == 1) {
        if (batch.rc != EAGRE_OK) {
            fprintf(stderr, "bench: native: %s\n", eagre_rc_text(batch.rc));
            return false;
        }
        while (eagre_record_next(native->subscribers[idx], &record) == 1)
            sink->received(sink->ctx,
                           native->first_partition[idx] + (uint32_t)record.partition,
                           record.value,
                           (uint32_t)record.value_bytes);
    }
    return true;
}

static bool
native_poll(void *connection)
{
    struct native *native = connection;

    eagre_poll(native->client, 0);
    for (uint32_t i = 0; i < native->subscriber_count; i++)
        if (!native_take(native, i))
            return false;
    return true;
}

static struct driver_wait
native_wait(void *connection)
{
    struct native *native = connection;
    uint64_t within_us = eagre_deadline_us(native->client);

    return (struct driver_wait){.fd = within_us == 0 ? -1 : eagre_fd(native->client),
                                .events = POLLIN,
                                .within_ns = within_us == UINT64_MAX ? UINT64_MAX
                                                                     : within_us * NS_PER_US};
}

const struct driver_ops driver_native = {
    .name = "native",
    .label = "native door through libeagre, UDP sockets, AEAD; --extra plain: auth none; --extra "
             "DEVARGS,local=IP: a DPDK port",
    .prepare = native_prepare,
    .open_producer = native_open_producer,
    .open_consumer = native_open_consumer,
    .send = native_send,
    .poll = native_poll,
    .wait = native_wait,
    .close = native_close,
};
