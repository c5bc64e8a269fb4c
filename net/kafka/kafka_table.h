/* Shared inside net/kafka only: what the table's reader and writer both need. Pure. */
#ifndef EAGRE_NET_KAFKA_KAFKA_TABLE_H
#define EAGRE_NET_KAFKA_KAFKA_TABLE_H

#include "net/kafka/kafka_message.h"

/* The deepest is ConsumerGroupDescribe: message, groups, members, assignment, its topics. */
#define KAFKA_DEPTH_MAX 5u

/* Any array field, whatever its elements; so are optional structs and the lists. */
struct kafka__list {
    const void *at;
    uint32_t count;
};
_Static_assert(sizeof(struct kafka_i32_list) == sizeof(struct kafka__list), "one shape for lists");
_Static_assert(sizeof(struct kafka_i64_list) == sizeof(struct kafka__list), "one shape for lists");
_Static_assert(sizeof(struct kafka_i8_list) == sizeof(struct kafka__list), "one shape for lists");
_Static_assert(sizeof(struct kafka_string_list) == sizeof(struct kafka__list),
               "one shape for lists");
_Static_assert(offsetof(struct kafka_i32_list, count) == offsetof(struct kafka__list, count),
               "one shape for lists");

static ALWAYS_INLINE bool
kafka__field_in(const struct kafka_field *field, int16_t version)
{
    return version >= field->first && version <= field->last;
}

/* Bytes of a field's shortest form on the wire. */
static ALWAYS_INLINE uint32_t
kafka__field_bytes_min(uint8_t kind, bool flexible)
{
    static const uint8_t bytes[2][KAFKA_KIND_COUNT] = {
        {1, 1, 2, 4, 8, 8, 16, 2, 4, 4, 4, 4, 4, 1, 4},
        {1, 1, 2, 4, 8, 8, 16, 1, 1, 1, 1, 1, 1, 1, 1},
    };

    return bytes[flexible][kind];
}

/* Bytes of an unsigned varint, [1, 5]. */
static ALWAYS_INLINE uint32_t
kafka__uvarint_bytes(uint32_t value)
{
    uint32_t bytes = 1;

    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

#endif
