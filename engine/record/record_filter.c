#include "engine/record/record_filter.h"

#include "engine/base/hash.h"
#include "engine/record/record_codec.h"

enum rc
record_payload(const uint8_t *batch,
               const struct record_batch_info *info,
               uint8_t *memory,
               size_t capacity,
               struct bytes *ret)
{
    struct bytes stored = {.at = batch + RECORD_BATCH_HEADER_BYTES,
                           .count = info->batch_bytes - RECORD_BATCH_HEADER_BYTES};
    size_t bytes = 0;

    if (record_batch_codec(info) == RECORD_CODEC_NONE || info->record_count == 0) {
        *ret = stored;
        return RC_OK;
    }
    enum rc rc = record_decompress(record_batch_codec(info), stored, memory, capacity, &bytes);
    if (rc == RC_OK)
        *ret = (struct bytes){.at = memory, .count = bytes};
    return rc;
}

/* What was left of the records, as they stood. */
struct filter_rest {
    struct writer writer;
    uint32_t kept;
    uint32_t removed;
    uint32_t tombstones;
    int64_t max_timestamp_ms;
};

static enum rc
filter_copy(const struct record_filter *filter,
            const struct record_batch_info *info,
            struct bytes payload,
            struct filter_rest *rest)
{
    struct record_iterator iterator;
    struct record_view record;

    rest->writer = writer_over(filter->rebuilt, RECORD_FILTER_BUFFER_BYTES);
    rest->max_timestamp_ms = -1;
    record_iterator_begin(&iterator, info, payload);
    for (;;) {
        const uint8_t *at = iterator.reader.at;
        if (!record_iterator_next(&iterator, &record))
            break;
        if (!filter->keeps(filter->ctx, &record)) {
            rest->removed++;
            continue;
        }
        writer_bytes(&rest->writer, at, (size_t)(iterator.reader.at - at));
        rest->kept++;
        rest->tombstones += record.value.at == NULL;
        if (record.timestamp_ms > rest->max_timestamp_ms)
            rest->max_timestamp_ms = record.timestamp_ms;
    }
    if (iterator.rc != RC_OK)
        return iterator.rc;
    return rest->writer.failed ? RC_NO_MEMORY : RC_OK;
}

/* Copies one record and tells its time from another base. */
static void
filter_rebase_record(struct reader *records, int64_t shift_ms, struct writer *to)
{
    uint8_t scratch[16];
    int32_t body_bytes = reader_varint32(records);
    const uint8_t *body = reader_take(records, (size_t)body_bytes);
    struct reader reader = reader_over(body, (size_t)body_bytes);
    struct writer delta = writer_over(scratch, sizeof(scratch));
    uint8_t attributes = reader_u8(&reader);
    int64_t timestamp_delta = reader_varint64(&reader);

    writer_varint64(&delta, (int64_t)((uint64_t)timestamp_delta + (uint64_t)shift_ms));
    writer_varint32(to, (int32_t)(1 + writer_count(&delta) + reader_left(&reader)));
    writer_u8(to, attributes);
    writer_bytes(to, scratch, writer_count(&delta));
    writer_bytes(to, reader.at, reader_left(&reader));
}

/* The batch from the records that are left; false when they do not fit any more. */
static bool
filter_pack(const struct record_filter *filter,
            const uint8_t *batch,
            struct bytes records,
            struct record_filtered *ret)
{
    uint16_t attributes = get_u16_be(batch + RECORD_BATCH_ATTRIBUTES);
    enum record_codec codec = (enum record_codec)(attributes & RECORD_ATTRIBUTES_CODEC_MASK);
    uint8_t *to = filter->packed;
    size_t capacity = RECORD_BATCH_BYTES_MAX - RECORD_BATCH_HEADER_BYTES;
    size_t bytes = 0;

    bytes_copy(to, RECORD_BATCH_HEADER_BYTES, batch, RECORD_BATCH_HEADER_BYTES);
    if (record_compress(codec, records, to + RECORD_BATCH_HEADER_BYTES, capacity, &bytes) !=
        RC_OK) {
        attributes &= (uint16_t)~RECORD_ATTRIBUTES_CODEC_MASK;
        if (records.count > capacity)
            return false;
        bytes = records.count;
        bytes_copy(to + RECORD_BATCH_HEADER_BYTES, capacity, records.at, bytes);
    }
    ret->batch = to;
    ret->bytes = (uint32_t)(RECORD_BATCH_HEADER_BYTES + bytes);
    put_u16_be(to + RECORD_BATCH_ATTRIBUTES, attributes);
    put_u32_be(to + RECORD_BATCH_LENGTH, ret->bytes - RECORD_BATCH_LENGTH_END);
    put_u32_be(to + RECORD_BATCH_RECORD_COUNT, ret->kept);
    return true;
}

static void
filter_seal(const struct record_filtered *ret, uint8_t *batch)
{
    put_u32_be(
        batch + RECORD_BATCH_CRC,
        hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, ret->bytes - RECORD_BATCH_ATTRIBUTES));
}

enum rc
record_filter_run(const struct record_filter *filter,
                  const uint8_t *batch,
                  const struct record_batch_info *info,
                  struct record_filtered *ret)
{
    bool append_time = (info->attributes & RECORD_ATTRIBUTES_LOG_APPEND_TIME) != 0;
    bool has_horizon = (info->attributes & RECORD_ATTRIBUTES_DELETE_HORIZON) != 0;
    struct filter_rest rest = {0};
    struct bytes payload;

    enum rc rc = record_payload(
        batch, info, filter->unpacked, RECORD_FILTER_BUFFER_BYTES, &payload);
    if (rc == RC_OK)
        rc = filter_copy(filter, info, payload, &rest);
    if (rc != RC_OK)
        return rc;
    *ret = (struct record_filtered){.kept = rest.kept, .removed = rest.removed};
    bool horizon = !has_horizon && (rest.tombstones > 0 || filter->wants_horizon);
    if (rest.kept == 0) {
        ret->result = RECORD_FILTER_EMPTIED;
        return RC_OK;
    }
    if (rest.removed == 0 && !horizon)
        return RC_OK; /* SAME */
    struct bytes records = {.at = filter->rebuilt, .count = writer_count(&rest.writer)};
    if (horizon) {
        /* The unpacked records are copied already: their place is free. */
        struct writer to = writer_over(filter->unpacked, RECORD_FILTER_BUFFER_BYTES);
        struct reader reader = reader_over(records.at, records.count);
        int64_t shift_ms = (int64_t)((uint64_t)info->base_timestamp_ms -
                                     (uint64_t)filter->horizon_ms);
        while (reader_left(&reader) > 0)
            filter_rebase_record(&reader, shift_ms, &to);
        if (to.failed)
            return RC_NO_MEMORY;
        records = (struct bytes){.at = filter->unpacked, .count = writer_count(&to)};
    }
    if (!filter_pack(filter, batch, records, ret))
        return RC_NO_MEMORY;
    ret->result = RECORD_FILTER_CHANGED;
    ret->max_timestamp_ms = append_time ? info->max_timestamp_ms : rest.max_timestamp_ms;
    put_u64_be(filter->packed + RECORD_BATCH_MAX_TIMESTAMP, (uint64_t)ret->max_timestamp_ms);
    if (horizon) {
        uint8_t *attributes = filter->packed + RECORD_BATCH_ATTRIBUTES;
        put_u16_be(attributes, get_u16_be(attributes) | RECORD_ATTRIBUTES_DELETE_HORIZON);
        put_u64_be(filter->packed + RECORD_BATCH_BASE_TIMESTAMP, (uint64_t)filter->horizon_ms);
    }
    filter_seal(ret, filter->packed);
    return RC_OK;
}

void
record_batch_make_empty(const uint8_t *batch, uint8_t ret[RECORD_BATCH_HEADER_BYTES])
{
    uint16_t attributes = get_u16_be(batch + RECORD_BATCH_ATTRIBUTES);
    struct record_filtered empty = {.bytes = RECORD_BATCH_HEADER_BYTES};

    bytes_copy(ret, RECORD_BATCH_HEADER_BYTES, batch, RECORD_BATCH_HEADER_BYTES);
    attributes &= (uint16_t) ~(RECORD_ATTRIBUTES_CODEC_MASK | RECORD_ATTRIBUTES_DELETE_HORIZON);
    put_u16_be(ret + RECORD_BATCH_ATTRIBUTES, attributes);
    put_u32_be(ret + RECORD_BATCH_LENGTH, RECORD_BATCH_HEADER_BYTES - RECORD_BATCH_LENGTH_END);
    put_u64_be(ret + RECORD_BATCH_BASE_TIMESTAMP, UINT64_MAX);
    put_u64_be(ret + RECORD_BATCH_MAX_TIMESTAMP, UINT64_MAX);
    put_u32_be(ret + RECORD_BATCH_RECORD_COUNT, 0);
    filter_seal(&empty, ret);
}
