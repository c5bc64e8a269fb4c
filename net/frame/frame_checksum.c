/* The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit
 * words. The sum does not depend on the byte order of the machine as long as reading and storing
 * agree; here words are read in the machine's order (little endian) four bytes at a time, and
 * turned at the end. */
#include "net/frame/frame_layout.h"

/* One's complement sum of two 32-bit sums. */
static ALWAYS_INLINE uint32_t
add(uint32_t a, uint32_t b)
{
    uint64_t sum = (uint64_t)a + b;

    return (uint32_t)sum + (uint32_t)(sum >> 32);
}

static ALWAYS_INLINE uint32_t
fold(uint64_t sum)
{
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    return (uint32_t)sum;
}

uint32_t
frame_sum(uint32_t sum, const uint8_t *bytes, uint32_t byte_count)
{
    uint64_t wide = sum; /* 2^32 additions of 32 bits cannot overflow it */
    uint32_t i = 0;

    for (; i + 4 <= byte_count; i += 4)
        wide += get_u32_le(bytes + i);
    if (i + 2 <= byte_count) {
        wide += get_u16_le(bytes + i);
        i += 2;
    }
    if (i < byte_count)
        wide += bytes[i]; /* as if a zero followed */
    return fold(wide);
}

uint16_t
frame_checksum(uint32_t sum)
{
    sum = (sum & UINT16_MAX) + (sum >> 16);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (uint16_t)~__builtin_bswap16((uint16_t)sum);
}

uint32_t
frame_udp_pseudo_sum(uint32_t source_ip, uint32_t target_ip, uint32_t udp_bytes)
{
    uint32_t sum = add(__builtin_bswap32(source_ip), __builtin_bswap32(target_ip));

    sum = add(sum, __builtin_bswap16(IPV4_UDP));
    return add(sum, __builtin_bswap16((uint16_t)udp_bytes));
}

bool
frame_ipv4_is_right(const uint8_t *header, uint32_t header_bytes)
{
    return frame_checksum(frame_sum(0, header, header_bytes)) == 0;
}
