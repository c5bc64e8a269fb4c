/* Interprets messages.def to write; the mirror of kafka_decode.c. */
#include "net/kafka/kafka_table.h"

#include "engine/base/check.h"

struct encode_level {
    const struct kafka_type *type;
    const uint8_t *at;
    uint32_t field_idx;
    uint32_t elements_left;
};

struct encoder {
    struct writer *writer;
    int16_t version;
    bool flexible;
    uint32_t depth;
    struct encode_level levels[KAFKA_DEPTH_MAX];
};

/* length: -1 for null. */
static void
write_length(struct encoder *encoder, uint8_t kind, int64_t length)
{
    if (encoder->flexible)
        writer_uvarint32(encoder->writer, (uint32_t)(length + 1));
    else if (kind == KAFKA_KIND_STRING)
        writer_u16_be(encoder->writer, (uint16_t)length);
    else
        writer_u32_be(encoder->writer, (uint32_t)length);
}

static void
write_blob(struct encoder *encoder, uint8_t kind, struct bytes blob, bool nullable)
{
    /* A string too long for its old form is cut: an echo of what came in by a newer version, or a
     * message of ours. */
    bool narrow = kind == KAFKA_KIND_STRING && !encoder->flexible;
    size_t count = narrow && blob.count > INT16_MAX ? INT16_MAX : blob.count;

    if (blob.at == NULL && nullable) {
        write_length(encoder, kind, -1);
        return;
    }
    write_length(encoder, kind, (int64_t)count);
    if (count > 0)
        writer_bytes(encoder->writer, blob.at, count);
}

static struct kafka__list
write_list(struct encoder *encoder, const struct kafka_field *field, const uint8_t *from)
{
    struct kafka__list list;

    memcpy(&list, from, sizeof(list));
    if (list.at == NULL && encoder->version >= field->null_first)
        write_length(encoder, KAFKA_KIND_ARRAY, -1);
    else
        write_length(encoder, KAFKA_KIND_ARRAY, list.count);
    return list;
}

static void
write_leaf(struct encoder *encoder, const struct kafka_field *field, const uint8_t *from)
{
    struct writer *writer = encoder->writer;

    switch (field->kind) {
    case KAFKA_KIND_BOOL:
    case KAFKA_KIND_I8:
        writer_u8(writer, *from);
        break;
    case KAFKA_KIND_I16:
        writer_u16_be(writer, get_u16_le(from));
        break;
    case KAFKA_KIND_I32:
        writer_u32_be(writer, get_u32_le(from));
        break;
    case KAFKA_KIND_I64:
    case KAFKA_KIND_F64:
        writer_u64_be(writer, get_u64_le(from));
        break;
    case KAFKA_KIND_UUID:
        writer_bytes(writer, from, sizeof(struct kafka_uuid));
        break;
    case KAFKA_KIND_STRING:
    case KAFKA_KIND_RECORDS: {
        struct bytes blob;
        memcpy(&blob, from, sizeof(blob));
        write_blob(encoder, field->kind, blob, encoder->version >= field->null_first);
        break;
    }
    case KAFKA_KIND_I8_LIST: {
        struct kafka__list list = write_list(encoder, field, from);
        if (list.count > 0)
            writer_bytes(writer, list.at, list.count);
        break;
    }
    case KAFKA_KIND_I64_LIST: {
        struct kafka__list list = write_list(encoder, field, from);
        const int64_t *values = list.at;
        for (uint32_t i = 0; i < list.count; i++)
            writer_u64_be(writer, (uint64_t)values[i]);
        break;
    }
    case KAFKA_KIND_I32_LIST: {
        struct kafka__list list = write_list(encoder, field, from);
        const int32_t *values = list.at;
        for (uint32_t i = 0; i < list.count; i++)
            writer_u32_be(writer, (uint32_t)values[i]);
        break;
    }
    case KAFKA_KIND_STRING_LIST: {
        struct kafka__list list = write_list(encoder, field, from);
        const struct bytes *values = list.at;
        for (uint32_t i = 0; i < list.count; i++)
            write_blob(encoder, KAFKA_KIND_STRING, values[i], false);
        break;
    }
    default:
        CHECK(field->kind < KAFKA_KIND_OPTION); /* structs are not leaves */
    }
}

/* Bytes of a tagged field's data; 0: it has its default and is left out. */
static uint32_t
tagged_bytes(const struct kafka_field *field, const uint8_t *from)
{
    static const struct kafka_uuid none;

    if (field->kind == KAFKA_KIND_STRING) {
        struct bytes text;
        memcpy(&text, from, sizeof(text));
        return text.at == NULL
                   ? 0
                   : kafka__uvarint_bytes((uint32_t)text.count + 1) + (uint32_t)text.count;
    }
    CHECK(field->kind <= KAFKA_KIND_UUID);
    uint32_t bytes = kafka__field_bytes_min(field->kind, true);
    const void *value = field->kind == KAFKA_KIND_UUID ? (const void *)&none : &field->value;
    return memcmp(from, value, bytes) == 0 ? 0 : bytes;
}

static bool
tagged_present(const struct encoder *encoder,
               const struct encode_level *level,
               const struct kafka_field *field)
{
    return field->tag >= 0 && kafka__field_in(field, encoder->version) &&
           tagged_bytes(field, level->at + field->offset) > 0;
}

static void
write_tagged(struct encoder *encoder, const struct encode_level *level)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < level->type->field_count; i++)
        count += tagged_present(encoder, level, &level->type->fields[i]);
    writer_uvarint32(encoder->writer, count);
    for (uint32_t i = 0; i < level->type->field_count && count > 0; i++) {
        const struct kafka_field *field = &level->type->fields[i];
        if (!tagged_present(encoder, level, field))
            continue;
        writer_uvarint32(encoder->writer, (uint32_t)field->tag);
        writer_uvarint32(encoder->writer, tagged_bytes(field, level->at + field->offset));
        write_leaf(encoder, field, level->at + field->offset);
    }
}

static void
write_array(struct encoder *encoder, const struct kafka_field *field, const uint8_t *from)
{
    struct kafka__list list = write_list(encoder, field, from);

    if (list.count == 0)
        return;
    CHECK(encoder->depth + 1 < KAFKA_DEPTH_MAX);
    encoder->levels[++encoder->depth] = (struct encode_level){
        .type = field->element,
        .at = list.at,
        .elements_left = list.count - 1,
    };
}

/* A struct that may be absent. Where its version does not allow that, the caller must give one. */
static void
write_option(struct encoder *encoder, const struct kafka_field *field, const uint8_t *from)
{
    struct kafka__list list;

    memcpy(&list, from, sizeof(list));
    if (encoder->version >= field->null_first) {
        writer_u8(encoder->writer, list.count > 0 ? 1 : 0xff);
        if (list.count == 0)
            return;
    }
    CHECK(list.count > 0);
    CHECK(encoder->depth + 1 < KAFKA_DEPTH_MAX);
    encoder->levels[++encoder->depth] = (struct encode_level){
        .type = field->element,
        .at = list.at,
    };
}

static bool
write_struct_end(struct encoder *encoder)
{
    struct encode_level *level = &encoder->levels[encoder->depth];

    if (encoder->flexible)
        write_tagged(encoder, level);
    if (level->elements_left > 0) {
        level->elements_left--;
        level->at += level->type->struct_bytes;
        level->field_idx = 0;
        return true;
    }
    if (encoder->depth == 0)
        return false;
    encoder->depth--;
    return true;
}

void
kafka_encode(const struct kafka_type *type,
             int16_t version,
             struct writer *writer,
             const void *message)
{
    struct encoder encoder = {
        .writer = writer,
        .version = version,
        .flexible = version >= type->flexible_first,
        .levels[0] = {.type = type, .at = message},
    };
    bool more = true;

    while (more && !writer->failed) {
        struct encode_level *level = &encoder.levels[encoder.depth];
        if (level->field_idx == level->type->field_count) {
            more = write_struct_end(&encoder);
            continue;
        }
        const struct kafka_field *field = &level->type->fields[level->field_idx++];
        if (!kafka__field_in(field, version) || field->tag >= 0)
            continue;
        if (field->kind == KAFKA_KIND_ARRAY)
            write_array(&encoder, field, level->at + field->offset);
        else if (field->kind == KAFKA_KIND_OPTION)
            write_option(&encoder, field, level->at + field->offset);
        else
            write_leaf(&encoder, field, level->at + field->offset);
    }
}
