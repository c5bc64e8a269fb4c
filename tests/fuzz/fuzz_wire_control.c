/* Any bytes as what arrives on a control connection: with each byte more the answer is still
 * "more", or what it will stay; a message that is taken is written again byte for byte. */
#include "engine/base/check.h"
#include "net/wire/wire_control.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t memory[WIRE_CONTROL_BYTES_MAX];

static void
message(uint8_t type, struct bytes body, const uint8_t *at, uint32_t bytes)
{
    struct wire_join join;
    struct wire_grant grant;
    struct wire_refused refused;
    uint32_t written = 0;

    if (type == WIRE_CONTROL_JOIN && wire_join_decode(body, &join) == RC_OK)
        written = wire_join_encode(memory, &join);
    if (type == WIRE_CONTROL_GRANT && wire_grant_decode(body, &grant) == RC_OK)
        written = wire_grant_encode(memory, &grant);
    if (type == WIRE_CONTROL_REFUSED && wire_refused_decode(body, &refused) == RC_OK)
        written = wire_refused_encode(memory, &refused);
    if (written == 0)
        return;
    CHECK(written == bytes);
    CHECK(memcmp(memory, at, bytes) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t looked = (uint32_t)min_u64(size, 2 * WIRE_CONTROL_BYTES_MAX);
    enum rc last = RC_AGAIN;
    struct bytes body = {0};
    uint32_t bytes = 0;
    uint8_t type = 0;

    for (uint32_t count = 0; count <= looked; count++) {
        enum rc now = wire_control_next(data, count, &type, &body, &bytes);
        CHECK(last == RC_AGAIN || now == last);
        CHECK(now != RC_OK || (bytes <= count && bytes <= WIRE_CONTROL_BYTES_MAX));
        last = now;
    }
    CHECK(last != RC_AGAIN || looked < WIRE_CONTROL_BYTES_MAX);
    if (last == RC_OK) {
        CHECK(body.at == data + WIRE_CONTROL_PREFIX_BYTES);
        CHECK(body.count + WIRE_CONTROL_PREFIX_BYTES == bytes);
        message(type, body, data, bytes);
    }
    return 0;
}
