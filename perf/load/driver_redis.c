/* Redis Streams through hiredis: one stream per partition, each record an XADD, a batch pipelined;
 * consumers XREAD with BLOCK. What an acknowledgement means is appendfsync's (perf/compare). */
#include "perf/load/drivers.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define REDIS_READ_COUNT "1000"
#define REDIS_BLOCK_MS "500"

struct redis_batch {
    struct bench_batch batch;
    uint32_t left; /* records without an answer */
    bool has_failed;
};

struct redis {
    const struct driver_config *config;
    redisContext *context;
    short events;
    /* producer: answers come in the order of commands */
    struct redis_batch *under_way; /* FIFO ring [in_flight] */
    uint32_t first;
    uint32_t count;
    uint8_t *value;
    /* consumer */
    uint32_t *partitions; /* [partition_count] */
    char (*last_ids)[48]; /* [partition_count] */
    uint32_t partition_count;
    bool is_reading;
};

static void
redis_close(void *connection)
{
    struct redis *redis = connection;

    if (redis == NULL)
        return;
    if (redis->context != NULL)
        redisFree(redis->context);
    free(redis->under_way);
    free(redis->value);
    free(redis->partitions);
    free(redis->last_ids);
    free(redis);
}

static redisContext *
redis_connect(const char *address)
{
    const char *colon = strrchr(address, ':');
    char host[256];

    snprintf(host, sizeof(host), "%.*s", colon == NULL ? 0 : (int)(colon - address), address);
    redisContext *context = colon == NULL
                                ? NULL
                                : redisConnectNonBlock(host, (int)strtoul(colon + 1, NULL, 10));
    if (context == NULL || context->err != 0) {
        fprintf(stderr, "bench: redis: cannot connect to %s\n", address);
        if (context != NULL)
            redisFree(context);
        return NULL;
    }
    return context;
}

static struct redis *
redis_open(const struct driver_config *config)
{
    struct redis *redis = calloc(1, sizeof(*redis));

    if (redis == NULL)
        return NULL;
    redis->config = config;
    redis->events = POLLIN | POLLOUT;
    redis->context = redis_connect(config->address);
    if (redis->context == NULL) {
        redis_close(redis);
        return NULL;
    }
    return redis;
}

static int
redis_key(const struct driver_config *config, uint32_t partition, char *key, size_t room)
{
    return snprintf(key, room, "%s:%u", config->prefix, partition);
}

/* Streams come into being with their first record. */
static bool
redis_prepare(const struct driver_config *config)
{
    struct redis *redis = redis_open(config);

    redis_close(redis);
    return redis != NULL;
}

/* ---- producers */

static void *
redis_open_producer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    struct redis *redis = redis_open(config);

    (void)idx;
    if (redis == NULL)
        return NULL;
    redis->under_way = calloc(workload->in_flight, sizeof(*redis->under_way));
    redis->value = malloc(max_u64(workload->record_bytes, workload->record_bytes_max));
    if (redis->under_way == NULL || redis->value == NULL) {
        redis_close(redis);
        return NULL;
    }
    return redis;
}

static bool
redis_send(void *connection, const struct bench_batch *batch)
{
    struct redis *redis = connection;
    const struct workload *workload = redis->config->workload;
    char key[BENCH_NAME_MAX];
    char name[24] = "v";

    if (redis->count == workload->in_flight)
        return false;
    if (batch->key != BENCH_NO_KEY)
        snprintf(name, sizeof(name), "key-%016lx", batch->key);
    const char *words[] = {"XADD", key, "*", name, (const char *)redis->value};
    size_t lengths[] = {4,
                        (size_t)redis_key(redis->config, batch->partition, key, sizeof(key)),
                        1,
                        strlen(name),
                        0};
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + i);
        bench_value(redis->value, bytes, batch, i);
        lengths[4] = bytes;
        if (redisAppendCommandArgv(redis->context, 5, words, lengths) != REDIS_OK)
            return false;
    }
    redis->under_way[(redis->first + redis->count++) % workload->in_flight] = (struct redis_batch){
        .batch = *batch, .left = batch->count};
    return true;
}

static void
redis_added(struct redis *redis, const redisReply *reply)
{
    const struct bench_sink *sink = &redis->config->sink;
    struct redis_batch *batch = &redis->under_way[redis->first];

    if (redis->count == 0)
        return;
    batch->has_failed |= reply->type == REDIS_REPLY_ERROR;
    if (--batch->left > 0)
        return;
    redis->first = (redis->first + 1) % redis->config->workload->in_flight;
    redis->count--;
    const struct redis_batch done = *batch;
    sink->acked(sink->ctx, &done.batch, !done.has_failed);
}

/* ---- consumers */

static void *
redis_open_consumer(const struct driver_config *config, uint32_t idx)
{
    const struct workload *workload = config->workload;
    uint32_t all = workload->topics * workload->partitions;
    struct redis *redis = redis_open(config);

    if (redis == NULL)
        return NULL;
    redis->partitions = calloc(all, sizeof(uint32_t));
    redis->last_ids = calloc(all, sizeof(*redis->last_ids));
    if (redis->partitions == NULL || redis->last_ids == NULL) {
        redis_close(redis);
        return NULL;
    }
    for (uint32_t i = idx; i < all; i += workload->consumers) {
        /* A fresh server (perf/compare) has no records of before. */
        snprintf(redis->last_ids[redis->partition_count], sizeof(redis->last_ids[0]), "0-0");
        redis->partitions[redis->partition_count++] = i;
    }
    return redis;
}

static bool
redis_ask(struct redis *redis)
{
    uint32_t count = redis->partition_count;
    size_t words_bytes = (6 + 2 * (size_t)count) * sizeof(char *);
    const char **words = malloc(words_bytes);
    char(*keys)[BENCH_NAME_MAX] = malloc((size_t)count * sizeof(*keys));
    int used = 0;

    if (words == NULL || keys == NULL) {
        free(words);
        free(keys);
        return false;
    }
    words[used++] = "XREAD";
    words[used++] = "COUNT";
    words[used++] = REDIS_READ_COUNT;
    words[used++] = "BLOCK";
    words[used++] = REDIS_BLOCK_MS;
    words[used++] = "STREAMS";
    for (uint32_t i = 0; i < count; i++) {
        redis_key(redis->config, redis->partitions[i], keys[i], sizeof(keys[i]));
        words[used++] = keys[i];
    }
    for (uint32_t i = 0; i < count; i++)
        words[used++] = redis->last_ids[i];
    bool is_asked = redisAppendCommandArgv(redis->context, used, words, NULL) == REDIS_OK;
    free(words);
    free(keys);
    redis->is_reading = is_asked;
    return is_asked;
}

/* [stream name, [[id, [field, value]], ...]] */
static bool
redis_take_stream(struct redis *redis, const redisReply *stream)
{
    const struct bench_sink *sink = &redis->config->sink;
    const char *colon = strrchr(stream->element[0]->str, ':');
    uint32_t partition = (uint32_t)strtoul(colon + 1, NULL, 10);
    uint32_t place = 0;

    while (place < redis->partition_count && redis->partitions[place] != partition)
        place++;
    if (place == redis->partition_count)
        return false;
    for (size_t i = 0; i < stream->element[1]->elements; i++) {
        const redisReply *entry = stream->element[1]->element[i];
        const redisReply *value = entry->element[1]->element[1];
        sink->received(sink->ctx, partition, (const uint8_t *)value->str, (uint32_t)value->len);
        snprintf(redis->last_ids[place], sizeof(redis->last_ids[0]), "%s", entry->element[0]->str);
    }
    return true;
}

static bool
redis_read(struct redis *redis, const redisReply *reply)
{
    redis->is_reading = false;
    if (reply->type == REDIS_REPLY_ERROR)
        return false;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        if (!redis_take_stream(redis, reply->element[i]))
            return false;
    return true;
}

/* ---- both */

static bool
redis_take_answers(struct redis *redis)
{
    bool is_good = true;
    void *reply = NULL;

    while (is_good && (is_good = redisGetReplyFromReader(redis->context, &reply) == REDIS_OK) &&
           reply != NULL) {
        if (redis->under_way != NULL)
            redis_added(redis, reply);
        else
            is_good = redis_read(redis, reply);
        freeReplyObject(reply);
    }
    return is_good;
}

static bool
redis_poll(void *connection)
{
    struct redis *redis = connection;
    int is_sent = 0;
    bool is_good = redisBufferRead(redis->context) == REDIS_OK && redis_take_answers(redis);

    if (is_good && redis->under_way == NULL && !redis->is_reading)
        is_good = redis_ask(redis);
    is_good = is_good && redisBufferWrite(redis->context, &is_sent) == REDIS_OK;
    redis->events = (short)(POLLIN | (is_sent != 0 ? 0 : POLLOUT));
    if (!is_good)
        fprintf(stderr, "bench: redis: %s\n", redis->context->errstr);
    return is_good;
}

static struct driver_wait
redis_wait(void *connection)
{
    const struct redis *redis = connection;

    return (struct driver_wait){
        .fd = redis->context->fd, .events = redis->events, .within_ns = UINT64_MAX};
}

const struct driver_ops driver_redis = {
    .name = "redis",
    .label = "Redis Streams through hiredis, XADD per record, a batch pipelined; XREAD BLOCK",
    .prepare = redis_prepare,
    .open_producer = redis_open_producer,
    .open_consumer = redis_open_consumer,
    .send = redis_send,
    .poll = redis_poll,
    .wait = redis_wait,
    .close = redis_close,
};
