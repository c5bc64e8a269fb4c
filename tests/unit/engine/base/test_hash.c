/* Goal: checksums and hashes agree with the published vectors and with each other.
 * Method: vectors of RFC 3720 B.4 and of other clients' partitioners; splits and joins of seeded
 * bytes. */
#include "engine/base/hash.h"

#include <criterion/criterion.h>
#include <string.h>

Test(hash_crc32c, gives_the_published_vectors, .timeout = 10)
{
    uint8_t zeros[32] = {0};

    cr_assert_eq(hash_crc32c(0, "123456789", 9), 0xE3069283u);
    cr_assert_eq(hash_crc32c(0, zeros, sizeof(zeros)), 0x8A9136AAu);
    cr_assert_eq(hash_crc32c(0, "", 0), 0u);
}

/* Bit by bit, as the definition says it. */
static uint32_t
crc_slow(const uint8_t *at, size_t count)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < count; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
    }
    return crc ^ UINT32_MAX;
}

Test(hash_crc32c, interleaved_streams_agree_with_the_definition, .timeout = 20)
{
    static uint8_t bytes[20000];
    uint32_t state = 1;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    for (size_t count = 0; count < sizeof(bytes); count += count < 1600 ? 1 : 617)
        cr_assert_eq(hash_crc32c(0, bytes, count), crc_slow(bytes, count), "count %zu", count);
}

Test(hash_crc32c, goes_on_and_combines, .timeout = 20)
{
    static uint8_t bytes[9000];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    uint32_t whole = hash_crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut += 501) {
        uint32_t first = hash_crc32c(0, bytes, cut);
        uint32_t second = hash_crc32c(0, bytes + cut, sizeof(bytes) - cut);
        cr_assert_eq(hash_crc32c(first, bytes + cut, sizeof(bytes) - cut), whole);
        cr_assert_eq(hash_crc32c_combine(first, second, sizeof(bytes) - cut), whole);
    }
}

Test(hash_murmur2, agrees_with_the_java_partitioner, .timeout = 10)
{
    cr_assert_eq((int32_t)hash_murmur2("21", 2), -973932308);
    cr_assert_eq((int32_t)hash_murmur2("foobar", 6), -790332482);
    cr_assert_eq((int32_t)hash_murmur2("abc", 3), 479470107);
    cr_assert_eq((int32_t)hash_murmur2("", 0), 275646681);
    cr_assert_eq((int32_t)hash_murmur2("a-little-bit-long-string", 24), -985981536);
}
