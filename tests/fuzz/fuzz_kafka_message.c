/* Any bytes as the body of any message of any version: malformed, or decoded within the promised
 * memory; and what was decoded is written in no more bytes than it came in, read back, and written
 * the same again.
 *
 * Input: API key (or any byte: one is chosen), version above the first that is served, 0 request or
 * 1 response, body. */
#include "engine/base/check.h"
#include "net/kafka/kafka_message.h"

#include <string.h>

#define INPUT_MAX 4096
#define ARENA_BYTES (64 * INPUT_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(8) uint8_t arena_memory[2][ARENA_BYTES];
static _Alignas(8) uint8_t messages[2][512];
static uint8_t written[2][INPUT_MAX];

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size - 3 > INPUT_MAX)
        return 0;
    const struct kafka_api *api = kafka_api_find(data[0]);
    if (api == NULL)
        api = &kafka_apis[data[0] % kafka_api_count];
    int16_t version = (int16_t)(api->first + data[1] % (api->last - api->first + 1));
    bool is_request = data[2] % 2 == 0;
    const struct kafka_type *type = is_request ? api->request : api->response;
    CHECK(type->struct_bytes <= sizeof(messages[0]));

    /* Response elements are wider than the factor, which is about requests. */
    size_t arena_bytes = is_request ? kafka_arena_bytes(size - 3) : ARENA_BYTES;
    struct kafka_arena arena = kafka_arena_over(arena_memory[0], arena_bytes);
    struct reader reader = reader_over(data + 3, size - 3);
    enum rc rc = kafka_decode(type, version, &reader, &arena, messages[0]);
    CHECK(rc == RC_OK || rc == RC_MALFORMED || !is_request);
    if (rc != RC_OK)
        return 0;

    struct writer first = writer_over(written[0], size - 3 - reader_left(&reader));
    kafka_encode(type, version, &first, messages[0]);
    CHECK(!first.failed);
    arena = kafka_arena_over(arena_memory[1], ARENA_BYTES);
    reader = reader_over(written[0], writer_count(&first));
    CHECK(kafka_decode(type, version, &reader, &arena, messages[1]) == RC_OK);
    CHECK(reader_left(&reader) == 0);
    struct writer second = writer_over(written[1], writer_count(&first));
    kafka_encode(type, version, &second, messages[1]);
    CHECK(!second.failed);
    CHECK(writer_count(&second) == writer_count(&first));
    CHECK(memcmp(written[0], written[1], writer_count(&first)) == 0);
    return 0;
}
