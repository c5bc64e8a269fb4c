/* Kafka messages as C structs, and one bounded walker that reads and writes them. Pure.
 *
 * messages.def lists every message; this header turns each into
 *   struct kafka_<name>                          all fields of all versions
 *   kafka_<name>_defaults(&message)              values of absent fields: often -1, so zero-filling
 * is wrong kafka_<name>_decode(&reader, version, &arena, &message) kafka_<name>_encode(&writer,
 * version, &message) where <name> is such as metadata_request; array elements (metadata_topic) have
 * only the struct and _defaults().
 *
 * An optional struct is an array of none or one element. Strings and records are struct bytes
 * borrowed from what was decoded; at == NULL means null. Arrays and lists are {at, count}; at ==
 * NULL means null, an empty one has at != NULL. A null that the version does not allow is malformed
 * when read and written as empty. Integers are in host order.
 *
 *   struct kafka_arena arena = kafka_arena_over(memory, kafka_arena_bytes(body_bytes));
 *   struct kafka_metadata_request request;
 *   enum rc rc = kafka_metadata_request_decode(&reader, header.api_version, &arena, &request);
 *
 * Everything here runs on any core, allocates nothing and never blocks. */
#ifndef EAGRE_NET_KAFKA_KAFKA_MESSAGE_H
#define EAGRE_NET_KAFKA_KAFKA_MESSAGE_H

#include "engine/base/bytes.h"
#include "engine/base/rc.h"

#define KAFKA_VERSION_LAST 127 /* messages.def: EVER and NEVER */

struct kafka_uuid {
    uint8_t at[16]; /* as on the wire; all zero: none */
};

struct kafka_i32_list {
    const int32_t *at; /* [count] */
    uint32_t count;
};

struct kafka_i64_list {
    const int64_t *at; /* [count] */
    uint32_t count;
};

struct kafka_i8_list {
    const int8_t *at; /* [count] */
    uint32_t count;
};

struct kafka_string_list {
    const struct bytes *at; /* [count] */
    uint32_t count;
};

#define KAFKA_CTYPE_BOOL bool
#define KAFKA_CTYPE_I8 int8_t
#define KAFKA_CTYPE_I16 int16_t
#define KAFKA_CTYPE_I32 int32_t
#define KAFKA_CTYPE_I64 int64_t
#define KAFKA_CTYPE_F64 double
#define KAFKA_CTYPE_UUID struct kafka_uuid
#define KAFKA_CTYPE_STRING struct bytes
#define KAFKA_CTYPE_RECORDS struct bytes
#define KAFKA_CTYPE_BYTES struct bytes
#define KAFKA_CTYPE_I64_LIST struct kafka_i64_list
#define KAFKA_CTYPE_I8_LIST struct kafka_i8_list
#define KAFKA_CTYPE_I32_LIST struct kafka_i32_list
#define KAFKA_CTYPE_STRING_LIST struct kafka_string_list

#define STRUCT(name) struct kafka_##name {
#define MESSAGE(name, flexible_first) struct kafka_##name {
#define FIELD(owner, kind, name, first, last, null_first, value) KAFKA_CTYPE_##kind name;
#define TAGGED(owner, kind, name, tag, first, value) KAFKA_CTYPE_##kind name;
#define ARRAY(owner, element, name, first, last, null_first) \
    struct {                                                 \
        const struct kafka_##element *at; /* [count] */      \
        uint32_t count;                                      \
    } name;
#define OPTION(owner, element, name, first, last, null_first) \
    ARRAY(owner, element, name, first, last, null_first)
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

/* Memory for the arrays of one decoded message, handed out from begin to end and never given back
 * singly. */
struct kafka_arena {
    uint8_t *at;
    uint8_t *end;
};

/* An element takes at most this many times the bytes of its shortest form on the wire (a unit test
 * holds it), and elements are paid for only with bytes that no other element counts on. So an arena
 * of kafka_arena_bytes(n) decodes every request body of n bytes; the constant covers the unread
 * rest of the structs under way when the input turns out malformed (a fuzzer holds it). */
#define KAFKA_ARENA_FACTOR 20u
#define KAFKA_ARENA_REST_BYTES 1024u

static inline size_t
kafka_arena_bytes(size_t body_bytes)
{
    return body_bytes * KAFKA_ARENA_FACTOR + KAFKA_ARENA_REST_BYTES;
}

struct kafka_arena kafka_arena_over(void *at, size_t count);
/* Gives count zeroed bytes aligned to 8, or NULL when they do not fit. Also for building responses.
 */
void *kafka_arena_take(struct kafka_arena *arena, size_t count);

/* A row of messages.def. */
struct kafka_type;
struct kafka_field {
    uint16_t offset; /* in the owner's struct */
    uint8_t kind;    /* enum kafka_kind */
    int8_t tag;      /* -1: not tagged */
    int8_t first;    /* versions [first, last] */
    int8_t last;
    int8_t null_first;
    const struct kafka_type *element; /* of an array */
    int64_t value;                    /* when absent */
};

enum kafka_kind {
    KAFKA_KIND_BOOL,
    KAFKA_KIND_I8,
    KAFKA_KIND_I16,
    KAFKA_KIND_I32,
    KAFKA_KIND_I64,
    KAFKA_KIND_F64,
    KAFKA_KIND_UUID,
    KAFKA_KIND_STRING,
    KAFKA_KIND_RECORDS,
    KAFKA_KIND_BYTES = KAFKA_KIND_RECORDS, /* one form on the wire */
    KAFKA_KIND_I8_LIST,
    KAFKA_KIND_I32_LIST,
    KAFKA_KIND_I64_LIST,
    KAFKA_KIND_STRING_LIST,
    KAFKA_KIND_OPTION,
    KAFKA_KIND_ARRAY,
    KAFKA_KIND_COUNT,
};

struct kafka_type {
    const char *name;
    const struct kafka_field *fields; /* [field_count] */
    uint16_t field_count;
    uint16_t struct_bytes;
    int8_t flexible_first; /* messages only; elements follow their message */
};

enum kafka_api_key {
#define API(name, key, message, advertised_first, served_first, last) KAFKA_##name = key,
#include "net/kafka/messages.def"
#undef API
};

/* What is served of one API. */
struct kafka_api {
    int16_t key;
    int16_t advertised_first; /* in the ApiVersions answer */
    int16_t first;            /* served: [first, last] */
    int16_t last;
    int16_t flexible_first; /* also of the headers */
    const char *name;
    const struct kafka_type *request;
    const struct kafka_type *response;
};

/* All APIs, by ascending key. */
extern const struct kafka_api kafka_apis[]; /* [kafka_api_count] */
extern const uint32_t kafka_api_count;

/* The API of a key from the wire, or NULL. */
const struct kafka_api *kafka_api_find(int16_t key);

static inline bool
kafka_api_serves(const struct kafka_api *api, int16_t version)
{
    return version >= api->first && version <= api->last;
}

static inline bool
kafka_api_flexible(const struct kafka_api *api, int16_t version)
{
    return version >= api->flexible_first;
}

/* Reads one message of a type; the typed functions below are the usual way in.
 *
 * reader   Stands at the body's first byte and ends with the frame; bytes after the body are left
 * alone. ret      A struct of the type; set to defaults first. Undefined unless RC_OK.
 *
 * RC_OK, RC_MALFORMED (the protocol answers by closing), RC_NO_MEMORY (the arena is full). */
MUST_USE enum rc kafka_decode(const struct kafka_type *type,
                              int16_t version,
                              struct reader *reader,
                              struct kafka_arena *arena,
                              void *ret);

/* Writes one message. When it does not fit, writer->failed is set and the caller tries again with
 * more room. */
void kafka_encode(const struct kafka_type *type,
                  int16_t version,
                  struct writer *writer,
                  const void *message);

/* Fills a struct with the values of absent fields; strings and arrays become null. */
void kafka_defaults(const struct kafka_type *type, void *message);

#define STRUCT(name)                                                         \
    extern const struct kafka_type kafka_type_##name;                        \
    static inline void kafka_##name##_defaults(struct kafka_##name *message) \
    {                                                                        \
        kafka_defaults(&kafka_type_##name, message);                         \
    }
#define MESSAGE(name, flexible_first)                                               \
    STRUCT(name)                                                                    \
    MUST_USE static inline enum rc kafka_##name##_decode(struct reader *reader,     \
                                                         int16_t version,           \
                                                         struct kafka_arena *arena, \
                                                         struct kafka_##name *ret)  \
    {                                                                               \
        return kafka_decode(&kafka_type_##name, version, reader, arena, ret);       \
    }                                                                               \
    static inline void kafka_##name##_encode(                                       \
        struct writer *writer, int16_t version, const struct kafka_##name *message) \
    {                                                                               \
        kafka_encode(&kafka_type_##name, version, writer, message);                 \
    }
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

#endif
