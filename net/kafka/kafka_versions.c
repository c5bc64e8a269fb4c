#include "net/kafka/kafka_versions.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#define VERSIONS_RANGES_MAX 64u

static bool
letter_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool
kafka_versions_software_ok(struct bytes text)
{
    if (text.count == 0)
        return false;
    for (size_t i = 0; i < text.count; i++) {
        bool edge = i == 0 || i == text.count - 1;
        bool mark = text.at[i] == '-' || text.at[i] == '.';
        if (!letter_or_digit(text.at[i]) && (edge || !mark))
            return false;
    }
    return true;
}

/* Lists every API, or ApiVersions alone to tell which versions of it there are. */
static uint32_t
fill_ranges(struct kafka_api_versions_range *ranges, bool all)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < kafka_api_count && count < VERSIONS_RANGES_MAX; i++) {
        const struct kafka_api *api = &kafka_apis[i];
        if (!all && api->key != KAFKA_API_VERSIONS)
            continue;
        ranges[count++] = (struct kafka_api_versions_range){
            .api_key = api->key, .first = api->advertised_first, .last = api->last};
    }
    return count;
}

static void
put_name(struct writer *writer, const char *name)
{
    size_t count = strlen(name);

    writer_uvarint32(writer, (uint32_t)count + 1);
    writer_bytes(writer, name, count);
}

/* The features: arrays in the tagged section, which messages.def does not know. Tag 0: what is
 * supported (name, least, greatest level), from version 4 on only, because decoders of version 3
 * refuse a least level of 0 (KAFKA-17492). Tag 1: the epoch of tag 2: what is in force (name,
 * greatest, least level). group.version 1 is the consumer protocol. */
static void
put_features(struct writer *writer, int16_t version)
{
    uint8_t memory[3][64];
    struct writer tags[3];
    uint32_t first = version >= 4 ? 0 : 1;

    for (uint32_t i = 0; i < 3; i++) {
        tags[i] = writer_over(memory[i], sizeof(memory[i]));
        if (i == 1) {
            writer_u64_be(&tags[i], 1);
            continue;
        }
        writer_uvarint32(&tags[i], 2); /* one element */
        put_name(&tags[i], "group.version");
        writer_u16_be(&tags[i], i == 0 ? 0 : 1);
        writer_u16_be(&tags[i], 1);
        writer_uvarint32(&tags[i], 0); /* its own tagged section */
    }
    writer_uvarint32(writer, 3 - first);
    for (uint32_t i = first; i < 3; i++) {
        writer_uvarint32(writer, i);
        writer_uvarint32(writer, (uint32_t)writer_count(&tags[i]));
        writer_bytes(writer, tags[i].begin, writer_count(&tags[i]));
    }
}

enum rc
kafka_versions_answer(struct writer *writer,
                      const struct kafka_request_header *header,
                      struct bytes body,
                      uint32_t throttle_ms)
{
    struct kafka_api_versions_range ranges[VERSIONS_RANGES_MAX];
    struct kafka_api_versions_response response = {.error = KAFKA_ERROR_NONE,
                                                   .throttle_ms = (int32_t)throttle_ms};
    int16_t version = header->api_version;

    if (!header->served) {
        version = 0;
        response.error = KAFKA_ERROR_UNSUPPORTED_VERSION;
    } else {
        struct kafka_api_versions_request request;
        struct kafka_arena arena = {0}; /* the request has no arrays */
        struct reader reader = reader_over(body.at, body.count);
        if (kafka_api_versions_request_decode(&reader, version, &arena, &request) != RC_OK)
            return RC_MALFORMED;
        if (version >= 3 && (!kafka_versions_software_ok(request.software_name) ||
                             !kafka_versions_software_ok(request.software_version)))
            response.error = KAFKA_ERROR_INVALID_REQUEST;
    }
    if (response.error != KAFKA_ERROR_INVALID_REQUEST) {
        response.ranges.at = ranges;
        response.ranges.count = fill_ranges(ranges, header->served);
    }
    CHECK(kafka_api_count <= VERSIONS_RANGES_MAX);

    uint8_t *frame = kafka_frame_begin(writer);
    kafka_response_header(writer, header->api, version, header->correlation_id);
    kafka_api_versions_response_encode(writer, version, &response);
    if (version >= 3 && !writer->failed) {
        writer->at--; /* the empty tagged section */
        put_features(writer, version);
    }
    kafka_frame_end(writer, frame);
    return RC_OK;
}
