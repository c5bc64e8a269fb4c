#include "engine/record/record_iterator.h"

void
record_iterator_begin(struct record_iterator *iterator,
                      const struct record_batch_info *info,
                      struct bytes payload)
{
    *iterator = (struct record_iterator){
        .reader = reader_over(payload.at, payload.count),
        .base_offset = info->base_offset,
        .base_timestamp_ms = info->base_timestamp_ms,
        .append_time_ms = info->max_timestamp_ms,
        .append_time = (info->attributes & RECORD_ATTRIBUTES_LOG_APPEND_TIME) != 0,
        .records_left = info->record_count,
        .rc = RC_OK,
    };
}

static int64_t
add_wrapping(int64_t base, int64_t delta)
{
    return (int64_t)((uint64_t)base + (uint64_t)delta);
}

/* Takes a length and that many bytes; -1 is null, a smaller length fails. */
static struct bytes
take_blob(struct reader *reader)
{
    int32_t count = reader_varint32(reader);

    if (count == -1)
        return (struct bytes){0};
    if (count < 0) {
        reader->failed = true;
        return (struct bytes){0};
    }
    return (struct bytes){.at = reader_take(reader, (size_t)count), .count = (size_t)count};
}

static bool
take_header(struct reader *reader, struct record_header *ret)
{
    ret->key = take_blob(reader);
    ret->value = take_blob(reader);
    return !reader->failed && ret->key.at != NULL;
}

/* Checks that exactly `count` headers fill the rest of a record. */
static bool
headers_ok(struct bytes headers, uint32_t count)
{
    struct reader reader = reader_over(headers.at, headers.count);
    struct record_header header;

    for (uint32_t i = 0; i < count; i++)
        if (!take_header(&reader, &header))
            return false;
    return reader_left(&reader) == 0;
}

static bool
take_record(struct record_iterator *iterator, struct record_view *ret)
{
    int32_t body_bytes = reader_varint32(&iterator->reader);
    if (iterator->reader.failed || body_bytes < 0)
        return false;
    const uint8_t *body = reader_take(&iterator->reader, (size_t)body_bytes);
    if (body == NULL)
        return false;

    struct reader reader = reader_over(body, (size_t)body_bytes);
    reader_u8(&reader);
    int64_t timestamp_delta = reader_varint64(&reader);
    ret->offset = add_wrapping(iterator->base_offset, reader_varint32(&reader));
    ret->timestamp_ms = iterator->append_time
                            ? iterator->append_time_ms
                            : add_wrapping(iterator->base_timestamp_ms, timestamp_delta);
    ret->key = take_blob(&reader);
    ret->value = take_blob(&reader);
    int32_t header_count = reader_varint32(&reader);
    if (reader.failed || header_count < 0)
        return false;
    ret->header_count = (uint32_t)header_count;
    ret->headers = (struct bytes){.at = reader.at, .count = reader_left(&reader)};
    return headers_ok(ret->headers, ret->header_count);
}

bool
record_iterator_next(struct record_iterator *iterator, struct record_view *ret)
{
    struct record_view view;

    if (iterator->rc != RC_OK)
        return false;
    if (iterator->records_left == 0) {
        if (reader_left(&iterator->reader) != 0)
            iterator->rc = RC_CORRUPT;
        return false;
    }
    if (!take_record(iterator, &view)) {
        iterator->rc = RC_CORRUPT;
        return false;
    }
    iterator->records_left--;
    *ret = view;
    return true;
}

bool
record_view_header(struct record_view *view, struct record_header *ret)
{
    struct reader reader = reader_over(view->headers.at, view->headers.count);
    struct record_header header;

    if (view->header_count == 0 || !take_header(&reader, &header))
        return false;
    view->header_count--;
    view->headers = (struct bytes){.at = reader.at, .count = reader_left(&reader)};
    *ret = header;
    return true;
}

bool
record_keys_ok(const struct record_batch_info *info, struct bytes payload)
{
    struct reader reader = reader_over(payload.at, payload.count);

    for (uint32_t i = 0; i < info->record_count; i++) {
        int32_t body_bytes = reader_varint32(&reader);
        const uint8_t *body = body_bytes < 0 ? NULL : reader_take(&reader, (size_t)body_bytes);
        if (reader.failed || body == NULL)
            return true;
        struct reader record = reader_over(body, (size_t)body_bytes);
        reader_u8(&record);
        (void)reader_varint64(&record);
        (void)reader_varint32(&record);
        if (reader_varint32(&record) < 0 && !record.failed)
            return false;
    }
    return true;
}
