#include "perf/load/wire.h"

#include "engine/base/hash.h"
#include "engine/record/record_builder.h"
#include "net/kafka/kafka_client_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PRODUCE_VERSION 7 /* the last one whose body ends with the records */
#define KEY_BYTES 20u
#define RECORD_OVERHEAD_BYTES 48u
#define HEAD_BYTES 512u

static uint32_t
key_write(char *to, uint64_t key)
{
    return (uint32_t)snprintf(to, KEY_BYTES + 1, "key-%016lx", key);
}

/* Records of long ago would be what retention takes first. */
static int64_t
wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint32_t
batch_build(const struct workload *workload,
            const struct bench_batch *batch,
            uint8_t *scratch,
            uint8_t *to,
            size_t room)
{
    const struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    struct record record = {0};
    char key[KEY_BYTES + 1];

    record.timestamp_ms = wall_ms();
    if (batch->key != BENCH_NO_KEY)
        record.key = (struct bytes){(const uint8_t *)key, key_write(key, batch->key)};
    record_builder_begin(&builder, to, room, &options);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t bytes = bench_value_bytes(workload, batch->first_sequence + i);
        bench_value(scratch, bytes, batch, i);
        record.value = (struct bytes){scratch, bytes};
        if (!record_builder_add(&builder, &record))
            return 0;
    }
    return record_builder_finish(&builder);
}

/* The whole request around a batch that is built at its end. */
static uint32_t
request_build(const struct wire_template *template,
              const struct workload *workload,
              const struct bench_batch *batch,
              uint32_t partition,
              uint8_t *to)
{
    struct kafka_produce_request_partition asked;
    struct kafka_produce_request_topic topic;
    struct kafka_produce_request request;
    uint32_t room = wire_request_bytes(template, batch);
    struct writer writer = writer_over(to, room);
    const struct kafka_client_request head = {.api_key = KAFKA_PRODUCE,
                                              .version = PRODUCE_VERSION,
                                              .client_id = {(const uint8_t *)"eagre-bench", 11}};

    kafka_produce_request_partition_defaults(&asked);
    kafka_produce_request_topic_defaults(&topic);
    kafka_produce_request_defaults(&request);
    asked.index = (int32_t)partition;
    asked.records = (struct bytes){(const uint8_t *)"", 0};
    topic.name = (struct bytes){(const uint8_t *)template->topic, strlen(template->topic)};
    topic.partitions.at = &asked;
    topic.partitions.count = 1;
    request.acks = -1;
    request.timeout_ms = 30000;
    request.topics.at = &topic;
    request.topics.count = 1;
    kafka_client_request(&writer, &head, &request);
    uint32_t head_bytes = (uint32_t)writer_count(&writer);
    uint32_t batch_bytes = batch_build(
        workload, batch, template->scratch, to + head_bytes, room - head_bytes);
    if (writer.failed || batch_bytes == 0)
        return 0;
    put_u32_be(to + head_bytes - 4, batch_bytes);
    put_u32_be(to, head_bytes - 4 + batch_bytes);
    return head_bytes + batch_bytes;
}

/* Where the value of each record begins: the builder's form is known, so it is searched by stamp.
 */
static void
find_values(struct wire_template *template, const struct bench_batch *batch)
{
    uint8_t stamp[BENCH_STAMP_BYTES];
    uint32_t at = template->batch_at + RECORD_BATCH_HEADER_BYTES;

    for (uint32_t i = 0; i < batch->count; i++) {
        bench_value(stamp, sizeof(stamp), batch, i);
        while (memcmp(template->request + at, stamp, sizeof(stamp)) != 0)
            at++;
        template->value_at[i] = at;
        at += BENCH_STAMP_BYTES;
    }
}

bool
wire_template_make(struct wire_template *template,
                   const struct workload *workload,
                   const char *topic)
{
    struct bench_batch batch = {.count = workload->batch_records,
                                .key = BENCH_NO_KEY,
                                .first_ns = UINT64_C(0x0123456789abcdef)};
    uint32_t longest = workload->sizes == SIZE_FIXED ? workload->record_bytes
                                                     : workload->record_bytes_max;

    *template = (struct wire_template){0};
    snprintf(template->topic, sizeof(template->topic), "%s", topic);
    uint64_t bytes = HEAD_BYTES + (uint64_t)workload->batch_records *
                                      (longest + RECORD_OVERHEAD_BYTES + KEY_BYTES);
    if (bytes > RECORD_BATCH_BYTES_MAX) {
        fprintf(stderr, "bench: a batch of %u records is too long\n", workload->batch_records);
        return false;
    }
    template->bytes = (uint32_t)bytes; /* for now: the bound that request_build() asks */
    template->request = malloc(bytes);
    template->scratch = malloc(longest);
    template->value_at = calloc(workload->batch_records, sizeof(uint32_t));
    if (template->request == NULL || template->scratch == NULL || template->value_at == NULL)
        return false;
    uint32_t used = request_build(template, workload, &batch, 0, template->request);
    if (used == 0)
        return false;
    template->batch_at = used; /* found from the end: length, then the batch */
    for (uint32_t at = 4; at + RECORD_BATCH_HEADER_BYTES < used; at++)
        if (get_u32_be(template->request + at) == used - at - 4 &&
            template->request[at + 20] == 2) {
            template->batch_at = at + 4;
            break;
        }
    if (template->batch_at == used)
        return false;
    find_values(template, &batch);
    template->bytes = used;
    return true;
}

void
wire_template_free(struct wire_template *template)
{
    free(template->request);
    free(template->scratch);
    free(template->value_at);
}

uint32_t
wire_request_bytes(const struct wire_template *template, const struct bench_batch *batch)
{
    (void)batch;
    return template->bytes + KEY_BYTES * batch->count + HEAD_BYTES;
}

uint32_t
wire_request(const struct wire_template *template,
             const struct workload *workload,
             const struct bench_batch *batch,
             uint32_t partition,
             uint8_t *to)
{
    uint8_t *records = to + template->batch_at;
    uint32_t batch_bytes = template->bytes - template->batch_at;

    if (batch->count != workload->batch_records || batch->key != BENCH_NO_KEY ||
        workload->sizes != SIZE_FIXED)
        return request_build(template, workload, batch, partition, to);
    bytes_copy(to, template->bytes, template->request, template->bytes);
    put_u32_be(records - 8, partition);
    for (uint32_t i = 0; i < batch->count; i++)
        bench_value(to + template->value_at[i], BENCH_STAMP_BYTES, batch, i);
    put_u32_be(
        records + RECORD_BATCH_CRC,
        hash_crc32c(0, records + RECORD_BATCH_ATTRIBUTES, batch_bytes - RECORD_BATCH_ATTRIBUTES));
    return template->bytes;
}
