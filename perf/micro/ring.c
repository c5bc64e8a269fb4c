/* Descriptor ring: ns per 64-byte slot at several bursts, one thread on both ends (the cost of the
 * code) beside a memcpy of the same bytes. */
#include "engine/ring/ring.h"
#include "perf/micro/micro.h"

#include <stdio.h>
#include <string.h>

#define SLOTS 1024u
#define ITEMS 2000000u

static struct ring ring;
static _Alignas(128) uint8_t memory[SLOTS * 64];
static uint8_t items[64][64];

static double
ring_round(uint32_t burst)
{
    uint64_t begin = micro_now_ns();

    for (uint32_t done = 0; done < ITEMS; done += burst) {
        if (ring_push(&ring, items, burst) != burst)
            return 0;
        if (ring_pop(&ring, items, burst) != burst)
            return 0;
    }
    return (double)(micro_now_ns() - begin) / ITEMS;
}

static double
copy_round(void)
{
    uint64_t begin = micro_now_ns();

    for (uint32_t done = 0; done < ITEMS; done++) {
        memcpy(memory + (done % SLOTS) * 64, items[done % 64], 64);
        __asm__ __volatile__("" ::: "memory");
        memcpy(items[done % 64], memory + (done % SLOTS) * 64, 64);
        __asm__ __volatile__("" ::: "memory");
    }
    return (double)(micro_now_ns() - begin) / ITEMS;
}

void
micro_ring(void)
{
    static const uint32_t bursts[] = {1, 4, 8, 32};
    double samples[MICRO_ROUNDS];
    char what[64];

    ring_init(&ring, memory, 64, SLOTS);
    for (uint32_t i = 0; i < MICRO_ROUNDS; i++)
        samples[i] = copy_round();
    double copy = micro_median(samples, MICRO_ROUNDS);
    for (uint32_t b = 0; b < ARRAY_COUNT(bursts); b++) {
        for (uint32_t i = 0; i < MICRO_ROUNDS; i++)
            samples[i] = ring_round(bursts[b]);
        snprintf(what, sizeof(what), "ring: push and pop a 64-byte slot, burst %u", bursts[b]);
        micro_row(
            what, micro_median(samples, MICRO_ROUNDS), "ns/slot", "memcpy in and out, ns", copy);
    }
}
