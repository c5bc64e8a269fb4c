#include "net/kafka/kafka_message.h"

#include "net/kafka/kafka_table.h"

#define EVER KAFKA_VERSION_LAST
#define NEVER KAFKA_VERSION_LAST

#define STRUCT(name) static const struct kafka_field fields_##name[] = {
#define MESSAGE(name, flexible_first) STRUCT(name)
#define FIELD(owner, kind, name, first, last, null_first, value) \
    {offsetof(struct kafka_##owner, name),                       \
     KAFKA_KIND_##kind,                                          \
     -1,                                                         \
     first,                                                      \
     last,                                                       \
     null_first,                                                 \
     NULL,                                                       \
     value},
#define TAGGED(owner, kind, name, tag, first, value) \
    {offsetof(struct kafka_##owner, name), KAFKA_KIND_##kind, tag, first, EVER, first, NULL, value},
#define ARRAY(owner, element, name, first, last, null_first) \
    {offsetof(struct kafka_##owner, name),                   \
     KAFKA_KIND_ARRAY,                                       \
     -1,                                                     \
     first,                                                  \
     last,                                                   \
     null_first,                                             \
     &kafka_type_##element,                                  \
     0},
#define OPTION(owner, element, name, first, last, null_first) \
    {offsetof(struct kafka_##owner, name),                    \
     KAFKA_KIND_OPTION,                                       \
     -1,                                                      \
     first,                                                   \
     last,                                                    \
     null_first,                                              \
     &kafka_type_##element,                                   \
     0},
#define END(name) \
    }             \
    ;
#include "net/kafka/messages.def"
#undef STRUCT
#undef MESSAGE
#undef FIELD
#undef TAGGED
#undef ARRAY
#undef OPTION
#undef END

#define TYPE(message_name, flexible)                         \
    const struct kafka_type kafka_type_##message_name = {    \
        .name = #message_name,                               \
        .fields = fields_##message_name,                     \
        .field_count = ARRAY_COUNT(fields_##message_name),   \
        .struct_bytes = sizeof(struct kafka_##message_name), \
        .flexible_first = flexible,                          \
    };
#define STRUCT(name) TYPE(name, KAFKA_VERSION_LAST)
#define MESSAGE(name, flexible_first) TYPE(name, flexible_first)
#define FIELD(owner, kind, name, first, last, null_first, value)
#define TAGGED(owner, kind, name, tag, first, value)
#define ARRAY(owner, element, name, first, last, null_first)
#define OPTION(owner, element, name, first, last, null_first)
#define END(name)
#include "net/kafka/messages.def"
#undef STRUCT
#undef MESSAGE
#undef FIELD
#undef TAGGED
#undef ARRAY
#undef OPTION
#undef END

#define FLEXIBLE_FIRST_MESSAGE(message, flexible_first) FLEXIBLE_FIRST_##message = flexible_first,
enum {
#define STRUCT(name)
#define MESSAGE(name, flexible_first) FLEXIBLE_FIRST_MESSAGE(name, flexible_first)
#define FIELD(owner, kind, name, first, last, null_first, value)
#define TAGGED(owner, kind, name, tag, first, value)
#define ARRAY(owner, element, name, first, last, null_first)
#define OPTION(owner, element, name, first, last, null_first)
#define END(name)
#include "net/kafka/messages.def"
#undef STRUCT
#undef MESSAGE
#undef FIELD
#undef TAGGED
#undef ARRAY
#undef OPTION
#undef END
};

#define API(key_name, key_value, message, advertised, served, last_served) \
    {.key = key_value,                                                     \
     .advertised_first = advertised,                                       \
     .first = served,                                                      \
     .last = last_served,                                                  \
     .flexible_first = FLEXIBLE_FIRST_##message##_request,                 \
     .name = #key_name,                                                    \
     .request = &kafka_type_##message##_request,                           \
     .response = &kafka_type_##message##_response},
const struct kafka_api kafka_apis[] = {
#include "net/kafka/messages.def"
};
#undef API
const uint32_t kafka_api_count = ARRAY_COUNT(kafka_apis);

const struct kafka_api *
kafka_api_find(int16_t key)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(kafka_apis); i++)
        if (kafka_apis[i].key == key)
            return &kafka_apis[i];
    return NULL;
}

struct kafka_arena
kafka_arena_over(void *at, size_t count)
{
    uint8_t *begin = at;
    size_t skip = (size_t)(-(uintptr_t)begin & 7);

    if (skip > count)
        skip = count;
    return (struct kafka_arena){.at = begin + skip, .end = begin + count};
}

void *
kafka_arena_take(struct kafka_arena *arena, size_t count)
{
    size_t left = (size_t)(arena->end - arena->at);

    if (count > left)
        return NULL;
    uint8_t *at = arena->at;
    arena->at += min_u64(round_up(count, 8), left);
    memset(at, 0, count);
    return at;
}

void
kafka_defaults(const struct kafka_type *type, void *message)
{
    uint8_t *at = message;

    memset(at, 0, type->struct_bytes);
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct kafka_field *field = &type->fields[i];
        /* Host order is little-endian (bytes.h), so the low bytes of the value are the narrower
         * integer. */
        if (field->kind <= KAFKA_KIND_I64)
            bytes_copy(at + field->offset,
                       sizeof(field->value),
                       &field->value,
                       kafka__field_bytes_min(field->kind, false));
    }
}
