/* Interprets messages.def to read: one loop over a stack of at most KAFKA_DEPTH_MAX structs, so
 * that no input makes it recurse; every step is bounded by the bytes that are left. */
#include "net/kafka/kafka_table.h"

#include "engine/base/check.h"

struct decode_level {
    const struct kafka_type *type;
    uint8_t *at; /* the struct being filled */
    uint32_t field_idx;
    uint32_t elements_left; /* behind this one */
    uint32_t bytes_min;     /* of each of them */
};

struct decoder {
    struct reader *reader;
    struct kafka_arena *arena;
    int16_t version;
    bool flexible;
    bool arena_full;
    uint32_t depth;
    uint64_t promised_bytes; /* that elements not yet begun will take at least; nobody else may
                                count on them */
    struct decode_level levels[KAFKA_DEPTH_MAX];
};

static void
read_fail(struct decoder *decoder)
{
    decoder->reader->failed = true;
}

/* The length before a string, records or an array; INT32_MIN..-1: -1 means null, and the reader
 * fails below. */
static int32_t
read_length(struct decoder *decoder, uint8_t kind)
{
    int64_t length;

    if (decoder->flexible)
        length = (int64_t)reader_uvarint32(decoder->reader) - 1;
    else if (kind == KAFKA_KIND_STRING)
        length = (int16_t)reader_u16_be(decoder->reader);
    else
        length = (int32_t)reader_u32_be(decoder->reader);
    if (length < -1 || length > INT32_MAX)
        read_fail(decoder);
    return decoder->reader->failed ? -1 : (int32_t)length;
}

static struct bytes
read_blob(struct decoder *decoder, uint8_t kind, bool nullable)
{
    int32_t length = read_length(decoder, kind);

    if (length < 0) {
        if (!nullable)
            read_fail(decoder);
        return (struct bytes){0};
    }
    const uint8_t *at = reader_take(decoder->reader, (size_t)length);
    return (struct bytes){.at = at, .count = at == NULL ? 0 : (size_t)length};
}

static uint32_t
element_bytes_min(const struct kafka_field *field, int16_t version, bool flexible)
{
    uint32_t bytes = flexible; /* the tagged section */

    if (field->kind == KAFKA_KIND_I8_LIST)
        return 1;
    if (field->kind == KAFKA_KIND_I32_LIST)
        return 4;
    if (field->kind == KAFKA_KIND_I64_LIST)
        return 8;
    if (field->kind == KAFKA_KIND_STRING_LIST)
        return kafka__field_bytes_min(KAFKA_KIND_STRING, flexible);
    for (uint32_t i = 0; i < field->element->field_count; i++) {
        const struct kafka_field *inner = &field->element->fields[i];
        if (kafka__field_in(inner, version) && inner->tag < 0)
            bytes += kafka__field_bytes_min(inner->kind, flexible);
    }
    return bytes;
}

/* Where empty arrays point: not null, and never read. */
static const uint64_t empty_list;

/* Reads the count of an array or list, refuses more elements than the rest of the input can hold,
 * and takes memory for them. False: null, empty or failed. */
static bool
read_list(struct decoder *decoder,
          const struct kafka_field *field,
          size_t element_bytes,
          struct kafka__list *ret)
{
    int32_t count = read_length(decoder, KAFKA_KIND_ARRAY);

    *ret = (struct kafka__list){0};
    if (count < 0) {
        if (decoder->version < field->null_first)
            read_fail(decoder);
        return false;
    }
    uint32_t bytes_min = element_bytes_min(field, decoder->version, decoder->flexible);
    if ((uint64_t)count * bytes_min + decoder->promised_bytes > reader_left(decoder->reader)) {
        read_fail(decoder);
        return false;
    }
    if (count == 0) {
        ret->at = &empty_list;
        return false;
    }
    ret->count = (uint32_t)count;
    ret->at = kafka_arena_take(decoder->arena, (size_t)count * element_bytes);
    if (ret->at == NULL)
        decoder->arena_full = true;
    return ret->at != NULL;
}

static void
read_i32_list(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list;

    if (read_list(decoder, field, sizeof(int32_t), &list)) {
        int32_t *values = (int32_t *)(uintptr_t)list.at; /* the arena's, ours to fill */
        for (uint32_t i = 0; i < list.count; i++)
            values[i] = (int32_t)reader_u32_be(decoder->reader);
    }
    memcpy(to, &list, sizeof(list));
}

static void
read_i64_list(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list;

    if (read_list(decoder, field, sizeof(int64_t), &list)) {
        int64_t *values = (int64_t *)(uintptr_t)list.at;
        for (uint32_t i = 0; i < list.count; i++)
            values[i] = (int64_t)reader_u64_be(decoder->reader);
    }
    memcpy(to, &list, sizeof(list));
}

static void
read_i8_list(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list;

    if (read_list(decoder, field, sizeof(int8_t), &list)) {
        int8_t *values = (int8_t *)(uintptr_t)list.at;
        for (uint32_t i = 0; i < list.count; i++)
            values[i] = (int8_t)reader_u8(decoder->reader);
    }
    memcpy(to, &list, sizeof(list));
}

static void
read_string_list(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list;

    if (read_list(decoder, field, sizeof(struct bytes), &list)) {
        struct bytes *values = (struct bytes *)(uintptr_t)list.at;
        for (uint32_t i = 0; i < list.count; i++)
            values[i] = read_blob(decoder, KAFKA_KIND_STRING, false);
    }
    memcpy(to, &list, sizeof(list));
}

/* Reads any field but an array into its place. */
static void
read_leaf(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct reader *reader = decoder->reader;

    switch (field->kind) {
    case KAFKA_KIND_BOOL:
        *to = reader_u8(reader) != 0;
        break;
    case KAFKA_KIND_I8:
        *to = reader_u8(reader);
        break;
    case KAFKA_KIND_I16:
        put_u16_le(to, reader_u16_be(reader));
        break;
    case KAFKA_KIND_I32:
        put_u32_le(to, reader_u32_be(reader));
        break;
    case KAFKA_KIND_I64:
    case KAFKA_KIND_F64:
        put_u64_le(to, reader_u64_be(reader));
        break;
    case KAFKA_KIND_UUID: {
        const uint8_t *at = reader_take(reader, sizeof(struct kafka_uuid));
        if (at != NULL)
            memcpy(to, at, sizeof(struct kafka_uuid));
        break;
    }
    case KAFKA_KIND_STRING:
    case KAFKA_KIND_RECORDS: {
        struct bytes blob = read_blob(decoder, field->kind, decoder->version >= field->null_first);
        memcpy(to, &blob, sizeof(blob));
        break;
    }
    case KAFKA_KIND_I8_LIST:
        read_i8_list(decoder, field, to);
        break;
    case KAFKA_KIND_I32_LIST:
        read_i32_list(decoder, field, to);
        break;
    case KAFKA_KIND_I64_LIST:
        read_i64_list(decoder, field, to);
        break;
    case KAFKA_KIND_STRING_LIST:
        read_string_list(decoder, field, to);
        break;
    default:
        CHECK(field->kind < KAFKA_KIND_OPTION); /* structs are not leaves */
    }
}

static const struct kafka_field *
tagged_find(const struct kafka_type *type, int16_t version, uint32_t tag)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct kafka_field *field = &type->fields[i];
        if (field->tag >= 0 && (uint32_t)field->tag == tag && kafka__field_in(field, version))
            return field;
    }
    return NULL;
}

/* A tagged section: fields we know, which must fill their length exactly; others are skipped. */
static void
read_tagged(struct decoder *decoder, const struct decode_level *level)
{
    struct reader *outer = decoder->reader;
    uint32_t count = reader_uvarint32(outer);

    for (uint32_t i = 0; i < count && !outer->failed; i++) {
        uint32_t tag = reader_uvarint32(outer);
        uint32_t bytes = reader_uvarint32(outer);
        const uint8_t *at = reader_take(outer, bytes);
        const struct kafka_field *field = tagged_find(level->type, decoder->version, tag);
        if (at == NULL || field == NULL)
            continue;
        struct reader inner = reader_over(at, bytes);
        decoder->reader = &inner;
        read_leaf(decoder, field, level->at + field->offset);
        decoder->reader = outer;
        outer->failed = inner.failed || reader_left(&inner) != 0;
    }
}

/* Reads an array's count and, unless it has no elements, makes its first element the current
 * struct. */
static void
read_array(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list;
    bool any = read_list(decoder, field, field->element->struct_bytes, &list);

    memcpy(to, &list, sizeof(list));
    if (!any)
        return;
    CHECK(decoder->depth + 1 < KAFKA_DEPTH_MAX);
    uint32_t bytes_min = element_bytes_min(field, decoder->version, decoder->flexible);
    decoder->promised_bytes += (uint64_t)bytes_min * (list.count - 1);
    decoder->levels[++decoder->depth] = (struct decode_level){
        .type = field->element,
        .at = (uint8_t *)(uintptr_t)list.at,
        .elements_left = list.count - 1,
        .bytes_min = bytes_min,
    };
    kafka_defaults(field->element, decoder->levels[decoder->depth].at);
}

/* A struct that may be absent: a byte before it says so (-1) where its version allows that; it is
 * kept as an array of none or one. */
static void
read_option(struct decoder *decoder, const struct kafka_field *field, uint8_t *to)
{
    struct kafka__list list = {0};
    bool absent = decoder->version >= field->null_first && (int8_t)reader_u8(decoder->reader) < 0;

    if (!absent && !decoder->reader->failed) {
        list.at = kafka_arena_take(decoder->arena, field->element->struct_bytes);
        list.count = list.at != NULL;
        decoder->arena_full |= list.at == NULL;
    }
    memcpy(to, &list, sizeof(list));
    if (list.count == 0)
        return;
    CHECK(decoder->depth + 1 < KAFKA_DEPTH_MAX);
    decoder->levels[++decoder->depth] = (struct decode_level){
        .type = field->element,
        .at = (uint8_t *)(uintptr_t)list.at,
    };
    kafka_defaults(field->element, decoder->levels[decoder->depth].at);
}

/* Ends the current struct and goes on to the next element, or back to the struct around it. False:
 * it was the message. */
static bool
read_struct_end(struct decoder *decoder)
{
    struct decode_level *level = &decoder->levels[decoder->depth];

    if (decoder->flexible)
        read_tagged(decoder, level);
    if (level->elements_left > 0) {
        level->elements_left--;
        decoder->promised_bytes -= level->bytes_min;
        level->at += level->type->struct_bytes;
        level->field_idx = 0;
        kafka_defaults(level->type, level->at);
        return true;
    }
    if (decoder->depth == 0)
        return false;
    decoder->depth--;
    return true;
}

enum rc
kafka_decode(const struct kafka_type *type,
             int16_t version,
             struct reader *reader,
             struct kafka_arena *arena,
             void *ret)
{
    struct decoder decoder = {
        .reader = reader,
        .arena = arena,
        .version = version,
        .flexible = version >= type->flexible_first,
        .levels[0] = {.type = type, .at = ret},
    };
    bool more = true;

    kafka_defaults(type, ret);
    while (more && !reader->failed && !decoder.arena_full) {
        struct decode_level *level = &decoder.levels[decoder.depth];
        if (level->field_idx == level->type->field_count) {
            more = read_struct_end(&decoder);
            continue;
        }
        const struct kafka_field *field = &level->type->fields[level->field_idx++];
        if (!kafka__field_in(field, version) || field->tag >= 0)
            continue;
        if (field->kind == KAFKA_KIND_ARRAY)
            read_array(&decoder, field, level->at + field->offset);
        else if (field->kind == KAFKA_KIND_OPTION)
            read_option(&decoder, field, level->at + field->offset);
        else
            read_leaf(&decoder, field, level->at + field->offset);
    }
    if (reader->failed)
        return RC_MALFORMED;
    return decoder.arena_full ? RC_NO_MEMORY : RC_OK;
}
