/* Bytes in known order, and checked copies. Pure.
 *
 * get_/put_ read and write unaligned integers: _be for the network (Kafka), _le for our own disk
 * formats. struct reader and struct writer walk a bounded buffer and remember the first failure
 * instead of making every caller test every step: after a failure reads give zero and writes do
 * nothing; test `failed` once. */
#ifndef EAGRE_ENGINE_BASE_BYTES_H
#define EAGRE_ENGINE_BASE_BYTES_H

#include "engine/base/base.h"

#include <string.h>

/* Copies count bytes; the ranges must not overlap (checked in dev builds) and count must fit
 * capacity, which is checked in every build. */
void bytes_copy(void *destination, size_t capacity, const void *source, size_t count);

#define BYTES_DEFINE(bits, order, to_host)                                          \
    static ALWAYS_INLINE uint##bits##_t get_u##bits##_##order(const void *at)       \
    {                                                                               \
        uint##bits##_t value;                                                       \
        __builtin_memcpy(&value, at, sizeof(value));                                \
        return to_host(value);                                                      \
    }                                                                               \
    static ALWAYS_INLINE void put_u##bits##_##order(void *at, uint##bits##_t value) \
    {                                                                               \
        value = to_host(value);                                                     \
        __builtin_memcpy(at, &value, sizeof(value));                                \
    }

#define BYTES_SAME(value) (value)
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian hosts are supported"
#endif
BYTES_DEFINE(16, be, __builtin_bswap16)
BYTES_DEFINE(32, be, __builtin_bswap32)
BYTES_DEFINE(64, be, __builtin_bswap64)
BYTES_DEFINE(16, le, BYTES_SAME)
BYTES_DEFINE(32, le, BYTES_SAME)
BYTES_DEFINE(64, le, BYTES_SAME)
#undef BYTES_DEFINE

/* A borrowed range of bytes. */
struct bytes {
    const uint8_t *at;
    size_t count;
};

/* Walks [at, end). */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed; /* a read went past the end or a value was malformed; stays set */
};

struct writer {
    uint8_t *begin;
    uint8_t *at;
    uint8_t *end;
    bool failed; /* a write did not fit; stays set */
};

static ALWAYS_INLINE size_t
reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static ALWAYS_INLINE size_t
writer_count(const struct writer *writer)
{
    return (size_t)(writer->at - writer->begin);
}

struct reader reader_over(const void *at, size_t count);
struct writer writer_over(void *at, size_t capacity);

/* Gives the next count bytes, or NULL (and fails the reader) when fewer are left. */
const uint8_t *reader_take(struct reader *reader, size_t count);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16_be(struct reader *reader);
uint32_t reader_u32_be(struct reader *reader);
uint64_t reader_u64_be(struct reader *reader);
uint16_t reader_u16_le(struct reader *reader);
uint32_t reader_u32_le(struct reader *reader);
uint64_t reader_u64_le(struct reader *reader);
/* Base-128, least significant group first, at most 5 (u32) or 10 (u64) bytes; Kafka "unsigned
 * varint". */
uint32_t reader_uvarint32(struct reader *reader);
uint64_t reader_uvarint64(struct reader *reader);
/* Zigzag, as Kafka records use. */
int32_t reader_varint32(struct reader *reader);
int64_t reader_varint64(struct reader *reader);

/* Reserves count bytes and returns them, or NULL (and fails the writer). */
uint8_t *writer_take(struct writer *writer, size_t count);
void writer_bytes(struct writer *writer, const void *at, size_t count);
void writer_u8(struct writer *writer, uint8_t value);
void writer_u16_be(struct writer *writer, uint16_t value);
void writer_u32_be(struct writer *writer, uint32_t value);
void writer_u64_be(struct writer *writer, uint64_t value);
void writer_u16_le(struct writer *writer, uint16_t value);
void writer_u32_le(struct writer *writer, uint32_t value);
void writer_u64_le(struct writer *writer, uint64_t value);
void writer_uvarint32(struct writer *writer, uint32_t value);
void writer_uvarint64(struct writer *writer, uint64_t value);
void writer_varint32(struct writer *writer, int32_t value);
void writer_varint64(struct writer *writer, int64_t value);

#endif
