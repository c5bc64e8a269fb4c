#include "engine/record/record_builder.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

void
record_builder_begin(struct record_builder *builder,
                     void *memory,
                     size_t capacity,
                     const struct record_builder_options *options)
{
    CHECK(capacity >= RECORD_BATCH_HEADER_BYTES);
    CHECK((options->attributes & RECORD_ATTRIBUTES_CODEC_MASK) == RECORD_CODEC_NONE);

    *builder = (struct record_builder){
        .writer = writer_over(memory, min_u64(capacity, RECORD_BATCH_BYTES_MAX)),
        .options = *options,
    };
    uint8_t *header = writer_take(&builder->writer, RECORD_BATCH_HEADER_BYTES);
    memset(header, 0, RECORD_BATCH_HEADER_BYTES);
}

static ALWAYS_INLINE uint64_t
zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static ALWAYS_INLINE uint32_t
varint_bytes(int64_t value)
{
    uint64_t left = zigzag(value);
    uint32_t bytes = 1;

    for (; left >= 0x80; left >>= 7)
        bytes++;
    return bytes;
}

static ALWAYS_INLINE uint64_t
blob_bytes(struct bytes blob)
{
    return blob.at == NULL ? 1 : varint_bytes((int64_t)blob.count) + blob.count;
}

/* The put_ functions write without looking for room: record_builder_add() has counted the bytes,
 * and a producer's cost per record is what its throughput hangs on (perf/BUDGET.md). */
static ALWAYS_INLINE uint8_t *
put_varint(uint8_t *at, int64_t value)
{
    uint64_t left = zigzag(value);

    for (; left >= 0x80; left >>= 7)
        *at++ = (uint8_t)(left | 0x80);
    *at++ = (uint8_t)left;
    return at;
}

static ALWAYS_INLINE uint8_t *
put_blob(uint8_t *at, const uint8_t *end, struct bytes blob)
{
    if (blob.at == NULL)
        return put_varint(at, -1);
    at = put_varint(at, (int64_t)blob.count);
    bytes_copy(at, (size_t)(end - at), blob.at, blob.count);
    return at + blob.count;
}

/* Bytes behind the record's length field. */
static uint64_t
record_body_bytes(const struct record *record, int64_t timestamp_delta, uint32_t offset_delta)
{
    uint64_t bytes = 1u + varint_bytes(timestamp_delta) + varint_bytes(offset_delta);

    bytes += blob_bytes(record->key) + blob_bytes(record->value);
    bytes += varint_bytes(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++)
        bytes += blob_bytes(record->headers[i].key) + blob_bytes(record->headers[i].value);
    return bytes;
}

bool
record_builder_add(struct record_builder *builder, const struct record *record)
{
    struct writer *writer = &builder->writer;
    int64_t base = builder->record_count == 0 ? record->timestamp_ms : builder->base_timestamp_ms;
    int64_t delta = (int64_t)((uint64_t)record->timestamp_ms - (uint64_t)base);
    uint64_t body_bytes = record_body_bytes(record, delta, builder->record_count);

    if (body_bytes > RECORD_BATCH_BYTES_MAX)
        return false;
    if (varint_bytes((int64_t)body_bytes) + body_bytes > (size_t)(writer->end - writer->at))
        return false;

    uint8_t *at = put_varint(writer->at, (int64_t)body_bytes);
    uint8_t *end = at + body_bytes;
    *at++ = 0; /* record attributes: none are defined */
    at = put_varint(at, delta);
    at = put_varint(at, builder->record_count);
    at = put_blob(at, end, record->key);
    at = put_blob(at, end, record->value);
    at = put_varint(at, record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        CHECK(record->headers[i].key.at != NULL);
        at = put_blob(at, end, record->headers[i].key);
        at = put_blob(at, end, record->headers[i].value);
    }
    CHECK(at == end);
    writer->at = end;

    if (builder->record_count == 0 || record->timestamp_ms > builder->max_timestamp_ms)
        builder->max_timestamp_ms = record->timestamp_ms;
    builder->base_timestamp_ms = base;
    builder->record_count++;
    return true;
}

uint32_t
record_builder_finish(struct record_builder *builder)
{
    CHECK(builder->record_count > 0);
    const struct record_builder_options *options = &builder->options;
    uint32_t batch_bytes = (uint32_t)writer_count(&builder->writer);
    struct writer header = writer_over(builder->writer.begin, RECORD_BATCH_HEADER_BYTES);

    writer_u64_be(&header, (uint64_t)options->base_offset);
    writer_u32_be(&header, batch_bytes - RECORD_BATCH_LENGTH_END);
    writer_u32_be(&header, (uint32_t)options->leader_epoch);
    writer_u8(&header, RECORD_BATCH_MAGIC_V2);
    writer_u32_be(&header, 0); /* the CRC, below */
    writer_u16_be(&header, options->attributes);
    writer_u32_be(&header, builder->record_count - 1);
    writer_u64_be(&header, (uint64_t)builder->base_timestamp_ms);
    writer_u64_be(&header, (uint64_t)builder->max_timestamp_ms);
    writer_u64_be(&header, (uint64_t)options->producer_id);
    writer_u16_be(&header, (uint16_t)options->producer_epoch);
    writer_u32_be(&header, (uint32_t)options->base_sequence);
    writer_u32_be(&header, builder->record_count);
    CHECK(writer_count(&header) == RECORD_BATCH_HEADER_BYTES);

    uint8_t *batch = builder->writer.begin;
    put_u32_be(
        batch + RECORD_BATCH_CRC,
        hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, batch_bytes - RECORD_BATCH_ATTRIBUTES));
    return batch_bytes;
}
