/* Any bytes as what arrives on a connection: with each byte more the answer is still "more", or
 * what it will stay; a header never leaves its frame; ApiVersions is answered or refused, in
 * bounded space. */
#include "engine/base/check.h"
#include "net/kafka/kafka_versions.h"

#include <string.h>

#define FRAME_BYTES_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
answer(const uint8_t *data, size_t size, const struct kafka_request_header *header)
{
    uint8_t memory[KAFKA_VERSIONS_BYTES_MAX];
    struct writer writer = writer_over(memory, sizeof(memory));
    struct bytes body = {data + header->header_bytes, header->body_bytes};

    if (size < (size_t)header->header_bytes + header->body_bytes)
        return;
    if (!header->served)
        body.count = 0;
    if (kafka_versions_answer(&writer, header, body, 0) == RC_OK) {
        CHECK(!writer.failed);
        CHECK(get_u32_be(memory) + KAFKA_FRAME_PREFIX_BYTES == writer_count(&writer));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kafka_request_header header;
    enum kafka_parse last = KAFKA_PARSE_MORE;
    size_t looked = min_u64(size, 2 * KAFKA_HEADER_BYTES_MAX);

    for (size_t count = 0; count <= looked; count++) {
        enum kafka_parse now = kafka_request_header_parse(data, count, FRAME_BYTES_MAX, &header);
        CHECK(last == KAFKA_PARSE_MORE || now == last);
        CHECK(now == KAFKA_PARSE_MORE || count >= KAFKA_FRAME_PREFIX_BYTES);
        if (now == KAFKA_PARSE_OK) {
            CHECK(header.header_bytes <= KAFKA_HEADER_BYTES_MAX);
            CHECK(header.header_bytes + header.body_bytes ==
                  header.frame_bytes + KAFKA_FRAME_PREFIX_BYTES);
            CHECK(header.client_id.count <= header.header_bytes);
        }
        last = now;
    }
    CHECK(last != KAFKA_PARSE_MORE || looked < KAFKA_HEADER_BYTES_MAX);
    if (last == KAFKA_PARSE_OK && header.api_key == KAFKA_API_VERSIONS)
        answer(data, size, &header);
    return 0;
}
