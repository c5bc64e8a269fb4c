/* CRC-32C and XXH3 beside a memcpy of the same bytes. */
#include "engine/base/hash.h"
#include "perf/micro/micro.h"

#include <stdio.h>
#include <string.h>

static uint8_t bytes[1 << 20];
static uint8_t copy[1 << 20];

static double
hash_rate(uint32_t kind, size_t count)
{
    double samples[MICRO_ROUNDS];
    uint32_t repeats = (uint32_t)((32u << 20) / count);
    uint64_t sink = 0;

    for (uint32_t round = 0; round < MICRO_ROUNDS; round++) {
        uint64_t begin = micro_now_ns();
        for (uint32_t i = 0; i < repeats; i++) {
            if (kind == 0)
                sink += hash_crc32c((uint32_t)sink, bytes, count);
            else if (kind == 1)
                sink += hash_xxh3(bytes, count, sink);
            else
                memcpy(copy, bytes, count);
            __asm__ __volatile__("" : "+r"(sink)::"memory");
        }
        samples[round] = (double)(micro_now_ns() - begin) / repeats;
    }
    return micro_median(samples, MICRO_ROUNDS);
}

void
micro_hash(void)
{
    static const size_t counts[] = {64, 1400, 11000, 110000};
    char what[64];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 131);
    for (uint32_t i = 0; i < ARRAY_COUNT(counts); i++) {
        double limit = hash_rate(2, counts[i]);
        snprintf(what, sizeof(what), "crc32c of %zu bytes", counts[i]);
        micro_row(what, hash_rate(0, counts[i]), "ns", "memcpy, ns", limit);
        snprintf(what, sizeof(what), "xxh3 of %zu bytes", counts[i]);
        micro_row(what, hash_rate(1, counts[i]), "ns", "memcpy, ns", limit);
    }
}
