/* Goal: a Fetch response sent in pieces is the response the table would write, with sizes known
 * beforehand. Method: responses of several topics and partitions, empty and large records, in every
 * version, piece by piece and by the table; the request's limits and session fields from real
 * frames. */
#include "golden.h"

#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_fetch.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS = 3, PARTITIONS = 5, MEMORY = 200000 };

static const uint32_t partition_counts[TOPICS] = {2, 0, 3};
static const uint32_t records_bytes[PARTITIONS] = {0, 126, 127, 16383, 70000};
static uint8_t records[70000];
static uint8_t name[300];

static struct kafka_fetch_partition
partition_of(uint32_t i)
{
    return (struct kafka_fetch_partition){
        .index = (int32_t)(i * 3),
        .error = i == 0 ? KAFKA_ERROR_OFFSET_OUT_OF_RANGE : KAFKA_ERROR_NONE,
        .high_watermark = i == 0 ? -1 : 1000000007 * (int64_t)i,
        .last_stable_offset = i == 0 ? -1 : 99 * (int64_t)i,
        .log_start_offset = (int64_t)i,
        .records_bytes = records_bytes[i],
    };
}

static struct kafka_fetch_topic
topic_of(uint32_t i)
{
    struct kafka_fetch_topic topic = {.name = {name, i == 2 ? 249 : i},
                                      .partition_count = partition_counts[i]};

    memset(topic.topic_id.at, (int)(i + 1), sizeof(topic.topic_id.at));
    return topic;
}

static size_t
write_pieces(int16_t version, uint8_t *to, size_t capacity)
{
    struct writer writer = writer_over(to, capacity);
    struct kafka_fetch_head head = {.correlation_id = 5, .session_id = 0, .topic_count = TOPICS};
    uint32_t partition_idx = 0;

    /* First the sum, as the gate does it. */
    uint32_t bytes = kafka_fetch_head_bytes(version, TOPICS) + kafka_fetch_tail_bytes(version);
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct kafka_fetch_topic topic = topic_of(i);
        bytes += kafka_fetch_topic_head_bytes(version, &topic) + kafka_fetch_tail_bytes(version);
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        uint32_t head_bytes = kafka_fetch_partition_head_bytes(version, records_bytes[i]);
        cr_assert_leq(head_bytes, KAFKA_FETCH_PARTITION_HEAD_BYTES_MAX);
        bytes += head_bytes + records_bytes[i] + kafka_fetch_tail_bytes(version);
    }
    head.frame_bytes = bytes - KAFKA_FRAME_PREFIX_BYTES;

    kafka_fetch_head(&writer, version, &head);
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct kafka_fetch_topic topic = topic_of(i);
        kafka_fetch_topic_head(&writer, version, &topic);
        for (uint32_t j = 0; j < topic.partition_count; j++, partition_idx++) {
            struct kafka_fetch_partition partition = partition_of(partition_idx);
            kafka_fetch_partition_head(&writer, version, &partition);
            writer_bytes(&writer, records, partition.records_bytes);
            kafka_fetch_tail(&writer, version);
        }
        kafka_fetch_tail(&writer, version);
    }
    kafka_fetch_tail(&writer, version);
    cr_assert(!writer.failed);
    cr_assert_eq(writer_count(&writer), bytes, "version %d", version);
    return bytes;
}

static size_t
write_by_table(int16_t version, uint8_t *to, size_t capacity)
{
    struct kafka_fetch_response_partition partitions[PARTITIONS];
    struct kafka_fetch_response_topic topics[TOPICS];
    struct kafka_fetch_response response;
    struct writer writer = writer_over(to, capacity);
    uint32_t at = 0;

    for (uint32_t i = 0; i < PARTITIONS; i++) {
        struct kafka_fetch_partition partition = partition_of(i);
        kafka_fetch_response_partition_defaults(&partitions[i]);
        partitions[i].index = partition.index;
        partitions[i].error = partition.error;
        partitions[i].high_watermark = partition.high_watermark;
        partitions[i].last_stable_offset = partition.last_stable_offset;
        partitions[i].log_start_offset = partition.log_start_offset;
        partitions[i].records = (struct bytes){records, partition.records_bytes};
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct kafka_fetch_topic topic = topic_of(i);
        kafka_fetch_response_topic_defaults(&topics[i]);
        topics[i].name = topic.name;
        topics[i].topic_id = topic.topic_id;
        topics[i].partitions.at = &partitions[at];
        topics[i].partitions.count = topic.partition_count;
        at += topic.partition_count;
    }
    kafka_fetch_response_defaults(&response);
    response.topics.at = topics;
    response.topics.count = TOPICS;
    uint8_t *begin = kafka_frame_begin(&writer);
    kafka_response_header(&writer, kafka_api_find(KAFKA_FETCH), version, 5);
    kafka_fetch_response_encode(&writer, version, &response);
    kafka_frame_end(&writer, begin);
    cr_assert(!writer.failed);
    return writer_count(&writer);
}

Test(kafka_fetch_pieces, fail_the_writer_when_they_do_not_fit, .timeout = 10)
{
    uint8_t memory[8];
    struct kafka_fetch_partition partition = partition_of(1);
    struct writer writer = writer_over(memory, sizeof(memory));

    kafka_fetch_partition_head(&writer, 11, &partition);
    cr_assert(writer.failed);
}

Test(kafka_fetch_pieces, make_the_response_of_the_table_in_every_version, .timeout = 30)
{
    static uint8_t pieces[MEMORY];
    static uint8_t table[MEMORY];

    memset(name, 't', sizeof(name));
    memset(records, 'r', sizeof(records));
    for (int16_t version = 4; version <= 17; version++) {
        size_t pieces_bytes = write_pieces(version, pieces, sizeof(pieces));
        size_t table_bytes = write_by_table(version, table, sizeof(table));
        cr_assert_eq(pieces_bytes, table_bytes, "version %d", version);
        cr_assert_arr_eq(pieces, table, table_bytes, "version %d", version);
    }
}

Test(kafka_fetch_request, of_librdkafka_has_no_session, .timeout = 10)
{
    uint32_t frame_count;
    uint32_t seen = 0;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct golden_message message;
        const struct kafka_fetch_request *request = (const void *)message.message;
        size_t begin = golden_body(frame);
        bool real = strcmp(frame->file, "librdkafka-2.0.2.hex") == 0;
        if (!real || !frame->is_request || frame->api->key != KAFKA_FETCH)
            continue;
        cr_assert_eq(golden_decode(frame, frame->at + begin, frame->count - begin, &message),
                     RC_OK);
        cr_assert_eq(request->replica_id, -1);
        cr_assert_eq(request->session_id, 0);
        cr_assert_eq(request->session_epoch, -1);
        cr_assert_eq(request->topics.count, 1u);
        cr_assert_gt(request->topics.at[0].partitions.at[0].max_bytes, 0);
        free(message.arena);
        seen++;
    }
    cr_assert_eq(seen, 1u);
}
