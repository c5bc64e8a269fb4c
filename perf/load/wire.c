/* The few Kafka bytes that the generator needs, written independently of net/kafka so that a
 * mistake there is not repeated here: Produce v7, Fetch v4, RecordBatch v2 (Kafka protocol guide;
 * KIP-98 for the batch). */
#include "perf/load/load.h"

#include "engine/base/hash.h"

#define BATCH_HEADER_BYTES 61u

static void
put_string(struct writer *writer, const char *text)
{
    size_t count = strlen(text);

    writer_u16_be(writer, (uint16_t)count);
    writer_bytes(writer, text, count);
}

static void
put_header(struct writer *writer, uint16_t api_key, uint16_t version)
{
    writer_u32_be(writer, 0); /* length, patched by finish() */
    writer_u16_be(writer, api_key);
    writer_u16_be(writer, version);
    writer_u32_be(writer, 0x10ad); /* one correlation id for all: answers come in order */
    put_string(writer, "load");
}

static uint32_t
finish(struct writer *writer)
{
    put_u32_be(writer->begin, (uint32_t)(writer_count(writer) - 4));
    return writer->failed ? 0 : (uint32_t)writer_count(writer);
}

static void
put_record(struct writer *writer, uint32_t number, uint32_t value_bytes)
{
    uint8_t body[32];
    struct writer head = writer_over(body, sizeof(body));

    writer_u8(&head, 0);
    writer_varint64(&head, 0);
    writer_varint32(&head, (int32_t)number);
    writer_varint32(&head, -1); /* no key */
    writer_varint32(&head, (int32_t)value_bytes);
    writer_varint32(writer, (int32_t)(writer_count(&head) + value_bytes + 1));
    writer_bytes(writer, body, writer_count(&head));
    uint8_t *value = writer_take(writer, value_bytes);
    for (uint32_t i = 0; value != NULL && i < value_bytes; i++)
        value[i] = (uint8_t)('a' + (number + i) % 26);
    writer_varint32(writer, 0); /* no headers */
}

static void
put_batch(struct writer *writer, const struct load_options *options)
{
    uint8_t *batch = writer_take(writer, BATCH_HEADER_BYTES);

    for (uint32_t i = 0; i < options->batch_records; i++)
        put_record(writer, i, options->record_bytes);
    if (writer->failed)
        return;
    uint32_t bytes = (uint32_t)(writer->at - batch);
    put_u64_be(batch, 0);
    put_u32_be(batch + 8, bytes - 12);
    put_u32_be(batch + 12, UINT32_MAX);
    batch[16] = 2;
    put_u16_be(batch + 21, 0);
    put_u32_be(batch + 23, options->batch_records - 1);
    put_u64_be(batch + 27, 1700000000000u);
    put_u64_be(batch + 35, 1700000000000u);
    put_u64_be(batch + 43, UINT64_MAX);
    put_u16_be(batch + 51, UINT16_MAX);
    put_u32_be(batch + 53, UINT32_MAX);
    put_u32_be(batch + 57, options->batch_records);
    put_u32_be(batch + 17, hash_crc32c(0, batch + 21, bytes - 21));
}

size_t
load_request_bytes_max(const struct load_options *options)
{
    return 1024 + (size_t)options->batch_records * (options->record_bytes + 48);
}

uint32_t
load_encode_produce(const struct load_options *options,
                    uint32_t partition,
                    uint8_t *to,
                    size_t capacity)
{
    struct writer writer = writer_over(to, capacity);

    put_header(&writer, 0, 7);
    writer_u16_be(&writer, UINT16_MAX); /* no transactional id */
    writer_u16_be(&writer, (uint16_t)options->acks);
    writer_u32_be(&writer, 30000);
    writer_u32_be(&writer, 1);
    put_string(&writer, options->topic);
    writer_u32_be(&writer, 1);
    writer_u32_be(&writer, partition);
    uint8_t *records_bytes = writer_take(&writer, 4);
    uint8_t *batch = writer.at;
    put_batch(&writer, options);
    if (!writer.failed)
        put_u32_be(records_bytes, (uint32_t)(writer.at - batch));
    return finish(&writer);
}

uint32_t
load_encode_fetch(const struct load_options *options,
                  uint32_t partition,
                  uint64_t offset,
                  uint8_t *to,
                  size_t capacity)
{
    struct writer writer = writer_over(to, capacity);

    put_header(&writer, 1, 4);
    writer_u32_be(&writer, UINT32_MAX); /* replica: a consumer */
    writer_u32_be(&writer, 500);        /* max wait, ms */
    writer_u32_be(&writer, 1);          /* min bytes */
    writer_u32_be(&writer, UINT32_C(2) << 20);
    writer_u8(&writer, 0); /* read uncommitted */
    writer_u32_be(&writer, 1);
    put_string(&writer, options->topic);
    writer_u32_be(&writer, 1);
    writer_u32_be(&writer, partition);
    writer_u64_be(&writer, offset);
    writer_u32_be(&writer, UINT32_C(1) << 20);
    return finish(&writer);
}

/* Both answers name one topic and one partition. */
static void
skip_to_partition(struct reader *reader)
{
    reader_u32_be(reader); /* topic count */
    reader_take(reader, reader_u16_be(reader));
    reader_u32_be(reader); /* partition count */
    reader_u32_be(reader); /* partition */
}

struct load_answer
load_decode_produce(const uint8_t *body, uint32_t count)
{
    struct reader reader = reader_over(body, count);
    struct load_answer answer = {0};

    reader_u32_be(&reader); /* correlation id */
    skip_to_partition(&reader);
    answer.error = (int16_t)reader_u16_be(&reader);
    answer.offset = reader_u64_be(&reader);
    answer.malformed = reader.failed;
    return answer;
}

struct load_answer
load_decode_fetch(const uint8_t *body, uint32_t count, uint64_t asked_offset)
{
    struct reader reader = reader_over(body, count);
    struct load_answer answer = {.offset = asked_offset};

    reader_u32_be(&reader); /* correlation id */
    reader_u32_be(&reader); /* throttle */
    skip_to_partition(&reader);
    answer.error = (int16_t)reader_u16_be(&reader);
    reader_u64_be(&reader); /* high watermark */
    reader_u64_be(&reader); /* last stable offset */
    uint32_t aborted = reader_u32_be(&reader);
    answer.malformed = reader.failed || (aborted != 0 && aborted != UINT32_MAX);
    uint32_t left = reader_u32_be(&reader);
    while (left >= BATCH_HEADER_BYTES && !reader.failed) {
        uint32_t bytes = reader.at + 12 <= reader.end ? get_u32_be(reader.at + 8) + 12 : 0;
        const uint8_t *batch = bytes <= left ? reader_take(&reader, bytes) : NULL;
        if (batch == NULL || bytes < BATCH_HEADER_BYTES)
            break;
        answer.offset = get_u64_be(batch) + get_u32_be(batch + 23) + 1;
        answer.records += get_u32_be(batch + 57);
        answer.bytes += bytes;
        left -= bytes;
    }
    answer.malformed |= reader.failed;
    return answer;
}
