#include "net/kafka/kafka_frame.h"

#include "net/kafka/kafka_table.h"

/* Skips a tagged section whose fields mean nothing to us. */
static void
skip_tagged(struct reader *reader)
{
    uint32_t count = reader_uvarint32(reader);

    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        reader_uvarint32(reader);
        reader_take(reader, reader_uvarint32(reader));
    }
}

/* Reads the header behind the size field. RC_OK, RC_TRUNCATED (bytes are missing), RC_MALFORMED. */
static enum rc
read_header(struct reader *reader, struct kafka_request_header *ret)
{
    const uint8_t *begin = reader->at;

    ret->api_key = (int16_t)reader_u16_be(reader);
    ret->api_version = (int16_t)reader_u16_be(reader);
    ret->correlation_id = (int32_t)reader_u32_be(reader);
    if (reader->failed)
        return RC_TRUNCATED;
    ret->api = kafka_api_find(ret->api_key);
    ret->served = ret->api != NULL && kafka_api_serves(ret->api, ret->api_version);
    ret->flexible = ret->served && kafka_api_flexible(ret->api, ret->api_version);
    ret->client_id = (struct bytes){0};
    ret->header_bytes = (uint32_t)(reader->at - begin);
    if (!ret->served)
        return RC_OK;

    int16_t client_id_bytes = (int16_t)reader_u16_be(reader);
    if (client_id_bytes < -1)
        return RC_MALFORMED;
    if (client_id_bytes >= 0) {
        ret->client_id.at = reader_take(reader, (size_t)client_id_bytes);
        ret->client_id.count = (size_t)client_id_bytes;
    }
    if (ret->flexible)
        skip_tagged(reader);
    ret->header_bytes = (uint32_t)(reader->at - begin);
    return reader->failed ? RC_TRUNCATED : RC_OK;
}

enum kafka_parse
kafka_request_header_parse(const uint8_t *at,
                           size_t available,
                           uint32_t frame_bytes_max,
                           struct kafka_request_header *ret)
{
    struct kafka_request_header header = {0};

    if (available < KAFKA_FRAME_PREFIX_BYTES)
        return KAFKA_PARSE_MORE;
    header.frame_bytes = get_u32_be(at);
    if (header.frame_bytes < KAFKA_FRAME_BYTES_MIN || header.frame_bytes > frame_bytes_max ||
        header.frame_bytes > INT32_MAX)
        return KAFKA_PARSE_MALFORMED;

    /* Never look past this frame, nor past the longest header. */
    uint64_t whole = (uint64_t)KAFKA_FRAME_PREFIX_BYTES + header.frame_bytes;
    uint64_t limit = min_u64(whole, KAFKA_HEADER_BYTES_MAX);
    uint64_t seen = min_u64(available, limit);
    struct reader reader = reader_over(at + KAFKA_FRAME_PREFIX_BYTES,
                                       seen - KAFKA_FRAME_PREFIX_BYTES);
    enum rc rc = read_header(&reader, &header);
    if (rc == RC_TRUNCATED)
        return seen < limit ? KAFKA_PARSE_MORE : KAFKA_PARSE_MALFORMED;
    if (rc != RC_OK)
        return KAFKA_PARSE_MALFORMED;
    header.header_bytes += KAFKA_FRAME_PREFIX_BYTES;
    header.body_bytes = (uint32_t)(whole - header.header_bytes);
    *ret = header;
    return KAFKA_PARSE_OK;
}

enum kafka_parse
kafka_request_header_read(struct bytes frame, struct kafka_request_header *ret)
{
    struct kafka_request_header header = {0};
    struct reader reader = reader_over(frame.at, frame.count);

    if (frame.count > INT32_MAX || read_header(&reader, &header) != RC_OK)
        return KAFKA_PARSE_MALFORMED;
    header.frame_bytes = (uint32_t)frame.count;
    header.body_bytes = header.frame_bytes - header.header_bytes;
    *ret = header;
    return KAFKA_PARSE_OK;
}

static bool
response_header_tagged(const struct kafka_api *api, int16_t version)
{
    return kafka_api_flexible(api, version) && api->key != KAFKA_API_VERSIONS;
}

uint32_t
kafka_response_header_bytes(const struct kafka_api *api, int16_t version)
{
    return response_header_tagged(api, version) ? 5 : 4;
}

void
kafka_response_header(struct writer *writer,
                      const struct kafka_api *api,
                      int16_t version,
                      int32_t correlation_id)
{
    writer_u32_be(writer, (uint32_t)correlation_id);
    if (response_header_tagged(api, version))
        writer_u8(writer, 0);
}

uint8_t *
kafka_frame_begin(struct writer *writer)
{
    return writer_take(writer, KAFKA_FRAME_PREFIX_BYTES);
}

void
kafka_frame_end(struct writer *writer, uint8_t *begin)
{
    if (writer->failed)
        return;
    put_u32_be(begin, (uint32_t)(writer->at - begin) - KAFKA_FRAME_PREFIX_BYTES);
}

/* No answer begins with another 32-bit integer, and one alone has its error before it; a unit test
 * holds the table to that. */
int32_t
kafka_throttle_at(const struct kafka_api *api, int16_t version)
{
    const struct kafka_type *type = api->response;

    if (api->key == KAFKA_OFFSET_DELETE)
        return 2;

    for (uint32_t i = 0; i < type->field_count; i++) {
        if (kafka__field_in(&type->fields[i], version))
            return type->fields[i].kind == KAFKA_KIND_I32 ? 0 : -1;
    }
    return -1;
}
