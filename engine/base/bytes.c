#include "engine/base/bytes.h"

#include "engine/base/check.h"

void
bytes_copy(void *destination, size_t capacity, const void *source, size_t count)
{
    CHECK(count <= capacity);
    DCHECK((const uint8_t *)destination + count <= (const uint8_t *)source ||
           (const uint8_t *)source + count <= (const uint8_t *)destination);
    if (count > 0)
        memcpy(destination, source, count);
}

struct reader
reader_over(const void *at, size_t count)
{
    const uint8_t *begin = at;

    return (struct reader){.at = begin, .end = begin + count, .failed = false};
}

struct writer
writer_over(void *at, size_t capacity)
{
    uint8_t *begin = at;

    return (struct writer){.begin = begin, .at = begin, .end = begin + capacity, .failed = false};
}

const uint8_t *
reader_take(struct reader *reader, size_t count)
{
    if (UNLIKELY(reader->failed || reader_left(reader) < count)) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += count;
    return at;
}

uint8_t
reader_u8(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 1);
    return at != NULL ? *at : 0;
}

#define READER_DEFINE(bits, order)                                 \
    uint##bits##_t reader_u##bits##_##order(struct reader *reader) \
    {                                                              \
        const uint8_t *at = reader_take(reader, bits / 8);         \
        return at != NULL ? get_u##bits##_##order(at) : 0;         \
    }
READER_DEFINE(16, be)
READER_DEFINE(32, be)
READER_DEFINE(64, be)
READER_DEFINE(16, le)
READER_DEFINE(32, le)
READER_DEFINE(64, le)

uint64_t
reader_uvarint64(struct reader *reader)
{
    uint64_t value = 0;

    for (uint32_t shift = 0; shift < 70; shift += 7) {
        uint8_t group = reader_u8(reader);
        if (reader->failed)
            return 0;
        /* The tenth group may carry only the top bit. */
        if (shift == 63 && group > 1)
            break;
        value |= (uint64_t)(group & 0x7f) << shift;
        if ((group & 0x80) == 0)
            return value;
    }
    reader->failed = true;
    return 0;
}

uint32_t
reader_uvarint32(struct reader *reader)
{
    uint32_t value = 0;

    for (uint32_t shift = 0; shift < 35; shift += 7) {
        uint8_t group = reader_u8(reader);
        if (reader->failed)
            return 0;
        if (shift == 28 && group > 0x0f)
            break;
        value |= (uint32_t)(group & 0x7f) << shift;
        if ((group & 0x80) == 0)
            return value;
    }
    reader->failed = true;
    return 0;
}

int32_t
reader_varint32(struct reader *reader)
{
    uint32_t raw = reader_uvarint32(reader);
    return (int32_t)((raw >> 1) ^ (0u - (raw & 1)));
}

int64_t
reader_varint64(struct reader *reader)
{
    uint64_t raw = reader_uvarint64(reader);
    return (int64_t)((raw >> 1) ^ (UINT64_C(0) - (raw & 1)));
}

uint8_t *
writer_take(struct writer *writer, size_t count)
{
    if (UNLIKELY(writer->failed || (size_t)(writer->end - writer->at) < count)) {
        writer->failed = true;
        return NULL;
    }
    uint8_t *at = writer->at;
    writer->at += count;
    return at;
}

void
writer_bytes(struct writer *writer, const void *at, size_t count)
{
    uint8_t *to = writer_take(writer, count);
    if (to != NULL)
        bytes_copy(to, count, at, count);
}

void
writer_u8(struct writer *writer, uint8_t value)
{
    uint8_t *to = writer_take(writer, 1);
    if (to != NULL)
        *to = value;
}

#define WRITER_DEFINE(bits, order)                                             \
    void writer_u##bits##_##order(struct writer *writer, uint##bits##_t value) \
    {                                                                          \
        uint8_t *to = writer_take(writer, bits / 8);                           \
        if (to != NULL)                                                        \
            put_u##bits##_##order(to, value);                                  \
    }
WRITER_DEFINE(16, be)
WRITER_DEFINE(32, be)
WRITER_DEFINE(64, be)
WRITER_DEFINE(16, le)
WRITER_DEFINE(32, le)
WRITER_DEFINE(64, le)

void
writer_uvarint64(struct writer *writer, uint64_t value)
{
    while (value >= 0x80) {
        writer_u8(writer, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    writer_u8(writer, (uint8_t)value);
}

void
writer_uvarint32(struct writer *writer, uint32_t value)
{
    writer_uvarint64(writer, value);
}

void
writer_varint32(struct writer *writer, int32_t value)
{
    writer_uvarint32(writer, ((uint32_t)value << 1) ^ (value < 0 ? UINT32_MAX : 0));
}

void
writer_varint64(struct writer *writer, int64_t value)
{
    writer_uvarint64(writer, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}
