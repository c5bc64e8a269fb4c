#include "engine/base/hash.h"

#include "engine/base/bytes.h"

#include <nmmintrin.h>
#include <xxhash.h>

/* x86-64-v2 is the lowest CPU we build for (CMake: -march=x86-64-v2), so the crc32 instruction is
 * always there. It has a latency of 3 cycles and a throughput of 1: three independent streams of
 * HASH_STREAM_BYTES run at full rate and are joined by a multiplication in GF(2) (measured: 11 GB/s
 * one stream, 34 GB/s three). */
#define HASH_POLYNOMIAL 0x82F63B78u
#define HASH_STREAM_BYTES 1024u
#define HASH_SHORT_STREAM_BYTES 128u /* for what one packet carries */

/* a * b mod P over GF(2), reflected bit order: bit 31 is x^0. */
static uint32_t
hash_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
        if ((a & bit) != 0)
            product ^= b;
        b = (b & 1) != 0 ? (b >> 1) ^ HASH_POLYNOMIAL : b >> 1;
    }
    return product;
}

/* x^(8 * count) mod P. */
static uint32_t
hash_power(uint64_t count)
{
    uint32_t square = UINT32_C(1) << 23; /* x^8 */
    uint32_t power = UINT32_C(1) << 31;  /* 1 */

    for (; count != 0; count >>= 1) {
        if ((count & 1) != 0)
            power = hash_multiply(power, square);
        square = hash_multiply(square, square);
    }
    return power;
}

uint32_t
hash_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t count_b)
{
    return hash_multiply(hash_power(count_b), crc_a) ^ crc_b;
}

/* Multiplication by x^(8 * stream bytes) as four table look-ups, for long and for short streams;
 * filled before main() so that no core races for it. */
enum { HASH_LONG, HASH_SHORT, HASH_STREAMS };
static uint32_t hash_shift[HASH_STREAMS][4][256];

static void
hash_shift_fill_one(uint32_t shift[4][256], uint64_t stream_bytes)
{
    uint32_t power = hash_power(stream_bytes);

    for (uint32_t byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++)
            shift[byte][value] = hash_multiply(power, value << (8 * byte));
}

__attribute__((constructor)) static void
hash_shift_fill(void)
{
    hash_shift_fill_one(hash_shift[HASH_LONG], HASH_STREAM_BYTES);
    hash_shift_fill_one(hash_shift[HASH_SHORT], HASH_SHORT_STREAM_BYTES);
}

static ALWAYS_INLINE uint32_t
hash_shift_stream(const uint32_t shift[4][256], uint32_t crc)
{
    return shift[0][crc & 0xff] ^ shift[1][(crc >> 8) & 0xff] ^ shift[2][(crc >> 16) & 0xff] ^
           shift[3][crc >> 24];
}

/* Three streams of stream_bytes each, side by side: the instruction takes three cycles and can
 * begin every cycle. */
static ALWAYS_INLINE uint64_t
hash_three_streams(uint64_t a,
                   const uint8_t *at,
                   uint32_t stream_bytes,
                   const uint32_t shift[4][256])
{
    uint64_t b = 0;
    uint64_t c = 0;

    for (uint32_t i = 0; i < stream_bytes; i += 8) {
        a = _mm_crc32_u64(a, get_u64_le(at + i));
        b = _mm_crc32_u64(b, get_u64_le(at + stream_bytes + i));
        c = _mm_crc32_u64(c, get_u64_le(at + 2 * stream_bytes + i));
    }
    a = hash_shift_stream(shift, (uint32_t)a) ^ b;
    return hash_shift_stream(shift, (uint32_t)a) ^ c;
}

uint32_t
hash_crc32c(uint32_t crc, const void *at, size_t count)
{
    const uint8_t *next = at;
    uint64_t a = crc ^ UINT32_MAX;

    for (; count >= 3 * HASH_STREAM_BYTES; count -= 3 * HASH_STREAM_BYTES) {
        a = hash_three_streams(a, next, HASH_STREAM_BYTES, hash_shift[HASH_LONG]);
        next += (size_t)3 * HASH_STREAM_BYTES;
    }
    for (; count >= 3 * HASH_SHORT_STREAM_BYTES; count -= 3 * HASH_SHORT_STREAM_BYTES) {
        a = hash_three_streams(a, next, HASH_SHORT_STREAM_BYTES, hash_shift[HASH_SHORT]);
        next += (size_t)3 * HASH_SHORT_STREAM_BYTES;
    }
    for (; count >= 8; count -= 8, next += 8)
        a = _mm_crc32_u64(a, get_u64_le(next));
    for (; count > 0; count--, next++)
        a = _mm_crc32_u8((uint32_t)a, *next);
    return (uint32_t)a ^ UINT32_MAX;
}

uint64_t
hash_xxh3(const void *at, size_t count, uint64_t seed)
{
    return XXH3_64bits_withSeed(at, count, seed);
}

uint32_t
hash_murmur2(const void *at, size_t count)
{
    const uint32_t m = 0x5bd1e995u;
    const uint8_t *next = at;
    uint32_t hash = 0x9747b28cu ^ (uint32_t)count;

    for (; count >= 4; count -= 4, next += 4) {
        uint32_t k = get_u32_le(next);
        k *= m;
        k ^= k >> 24;
        k *= m;
        hash *= m;
        hash ^= k;
    }
    if (count >= 3)
        hash ^= (uint32_t)next[2] << 16;
    if (count >= 2)
        hash ^= (uint32_t)next[1] << 8;
    if (count >= 1) {
        hash ^= next[0];
        hash *= m;
    }
    hash ^= hash >> 13;
    hash *= m;
    return hash ^ (hash >> 15);
}
