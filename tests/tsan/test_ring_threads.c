/* Two threads on the rings: every item arrives once, in order, with its contents. Run under TSan,
 * which sees a missing release or acquire; a plain program because Criterion does not run under
 * TSan. Bounded by ITEMS. */
#include "engine/ring/byte_ring.h"
#include "engine/ring/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS 400000u
#define SLOTS 64u

struct descriptor {
    uint64_t number;
    uint64_t ticket;
    uint32_t count;
    uint32_t check;
};

static struct ring ring;
static struct byte_ring bytes;
static _Alignas(128) uint8_t ring_memory[SLOTS * sizeof(struct descriptor)];
static _Alignas(128) uint8_t byte_memory[16384];

static uint32_t
piece_bytes(uint64_t number)
{
    return 1 + (uint32_t)((number * 2654435761u) % 700);
}

static void *
produce(void *unused)
{
    uint64_t number = 0;

    while (number < ITEMS) {
        uint32_t burst = 1 + (uint32_t)(number % 9);
        uint32_t reserved = 0;
        for (; reserved < burst && number < ITEMS; reserved++) {
            uint32_t count = piece_bytes(number);
            uint64_t ticket;
            if (ring_free(&ring) == 0)
                break;
            uint8_t *at = byte_ring_reserve(&bytes, count, &ticket);
            if (at == NULL)
                break;
            memset(at, (int)(number & 0xff), count);
            struct descriptor *slot = ring_reserve(&ring);
            *slot = (struct descriptor){number, ticket, count, (uint32_t)(number * 31)};
            number++;
        }
        if (reserved > 0)
            ring_publish(&ring);
        else
            sched_yield();
    }
    return unused;
}

static uint32_t
check_piece(const struct descriptor *got, uint64_t expected)
{
    if (got->number != expected || got->check != (uint32_t)(expected * 31) ||
        got->count != piece_bytes(expected))
        return 1;
    const uint8_t *at = byte_ring_at(&bytes, got->ticket);
    for (uint32_t i = 0; i < got->count; i++)
        if (at[i] != (uint8_t)expected)
            return 1;
    return 0;
}

int
main(void)
{
    pthread_t producer;
    uint64_t expected = 0;
    uint32_t failed = 0;

    ring_init(&ring, ring_memory, sizeof(struct descriptor), SLOTS);
    byte_ring_init(&bytes, byte_memory, sizeof(byte_memory));
    if (pthread_create(&producer, NULL, produce, NULL) != 0)
        return 1;
    while (expected < ITEMS && failed == 0) {
        struct descriptor got[7];
        uint32_t count = ring_pop(&ring, got, 7);
        for (uint32_t i = 0; i < count && failed == 0; i++, expected++) {
            failed += check_piece(&got[i], expected);
            byte_ring_release(&bytes, got[i].ticket, got[i].count);
        }
        if (count == 0)
            sched_yield();
    }
    if (failed > 0) {
        printf("item %llu came out of order or damaged\n", (unsigned long long)expected);
        printf("0 passed, 1 failed\n");
        return 1;
    }
    pthread_join(producer, NULL);
    printf("1 passed, 0 failed\n");
    return 0;
}
