#include "net/kafka/kafka_client_codec.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

void
kafka_client_request(struct writer *writer,
                     const struct kafka_client_request *request,
                     const void *message)
{
    const struct kafka_api *api = kafka_api_find((int16_t)request->api_key);
    CHECK(api != NULL);
    CHECK(request->client_id.count <= INT16_MAX);

    uint8_t *frame = kafka_frame_begin(writer);
    writer_u16_be(writer, (uint16_t)api->key);
    writer_u16_be(writer, (uint16_t)request->version);
    writer_u32_be(writer, (uint32_t)request->correlation_id);
    if (request->client_id.at == NULL) {
        writer_u16_be(writer, UINT16_MAX);
    } else {
        writer_u16_be(writer, (uint16_t)request->client_id.count);
        writer_bytes(writer, request->client_id.at, request->client_id.count);
    }
    if (kafka_api_flexible(api, request->version))
        writer_u8(writer, 0);
    kafka_encode(api->request, request->version, writer, message);
    kafka_frame_end(writer, frame);
}

enum rc
kafka_client_response(struct bytes frame,
                      const struct kafka_client_request *request,
                      struct kafka_arena *arena,
                      void *ret)
{
    const struct kafka_api *api = kafka_api_find((int16_t)request->api_key);
    CHECK(api != NULL);
    struct reader reader = reader_over(frame.at, frame.count);
    int16_t version = request->version;

    if (reader_u32_be(&reader) != (uint32_t)request->correlation_id)
        return RC_MALFORMED;
    if (kafka_response_header_bytes(api, version) > 4 && reader_u8(&reader) != 0)
        return RC_MALFORMED; /* no header tags are defined */
    if (api->key == KAFKA_API_VERSIONS && reader_left(&reader) >= 2 &&
        get_u16_be(reader.at) == KAFKA_ERROR_UNSUPPORTED_VERSION)
        version = 0;
    return kafka_decode(api->response, version, &reader, arena, ret);
}
