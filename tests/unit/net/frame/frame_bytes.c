/* See frame_bytes.h. */
#include "frame_bytes.h"

#include "engine/base/bytes.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <string.h>

const struct frame_local host = {.mac = {2, 0, 0, 0, 0, 1},
                                 .port_first = 9095,
                                 .ip = HOST_IP,
                                 .port_count = 2,
                                 .checks = FRAME_CHECK_IPV4 | FRAME_CHECK_UDP};
const struct frame_local peer = {.mac = {2, 0, 0, 0, 0, 2},
                                 .port_first = 40000,
                                 .ip = PEER_IP,
                                 .port_count = 1,
                                 .checks = FRAME_CHECK_IPV4 | FRAME_CHECK_UDP};

static uint8_t
digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = strchr(digits, c);

    cr_assert(c != 0 && at != NULL);
    return (uint8_t)(at - digits);
}

uint8_t *
frame_of(const char *hex, uint32_t *ret_count)
{
    uint32_t count = (uint32_t)strlen(hex) / 2;
    uint8_t *bytes = kept(malloc(count));

    for (uint32_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    *ret_count = count;
    return bytes;
}

enum frame_kind
kind_of(const uint8_t *at, uint32_t count, struct frame_view *ret)
{
    uint8_t *copy = kept(malloc(count + 1u));

    memcpy(copy + 1, at, count);
    return frame_classify(&host, copy + 1, count, ret);
}

void
frame_mend(uint8_t *frame)
{
    uint8_t *ip = frame + FRAME_ETHERNET_BYTES;
    uint32_t sum = 0;

    /* As RFC 1071 writes it, on its own. */
    put_u16_be(ip + 10, 0);
    for (uint32_t i = 0; i < (ip[0] & 15u) * 4; i += 2)
        sum += get_u16_be(ip + i);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    put_u16_be(ip + 10, (uint16_t)~sum);
}
