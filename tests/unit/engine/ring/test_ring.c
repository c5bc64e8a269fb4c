/* Goal: what goes into a ring comes out once, in order, and never more than fits.
 * Method: full and empty first; then a seeded walk compared with a plain counter model. */
#include "engine/ring/byte_ring.h"
#include "engine/ring/ring.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 20260817;

static uint32_t
next_below(uint32_t bound)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % bound;
}

static struct ring ring;
static _Alignas(128) uint8_t memory[64 * 1024];

Test(ring, takes_only_what_fits_and_gives_only_what_is_there, .timeout = 10)
{
    uint64_t items[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t out[8] = {0};

    ring_init(&ring, memory, sizeof(uint64_t), 4);
    cr_assert_eq(ring_pop(&ring, out, 8), 0u);
    cr_assert_null(ring_peek(&ring));
    cr_assert_eq(ring_push(&ring, items, 8), 4u);
    cr_assert_eq(ring_push(&ring, items, 1), 0u);
    cr_assert_null(ring_reserve(&ring));
    cr_assert_eq(ring_used(&ring), 4u);
    cr_assert_eq(ring_pop(&ring, out, 8), 4u);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(out[i], i + 1);
    cr_assert(ring_is_empty(&ring));
}

Test(ring, refuses_a_slot_count_that_is_no_power_of_two, .signal = SIGABRT, .timeout = 10)
{
    ring_init(&ring, memory, 8, 3);
}

Test(ring, reserved_slots_are_invisible_until_published, .timeout = 10)
{
    ring_init(&ring, memory, 8, 8);
    uint64_t *slot = ring_reserve(&ring);
    cr_assert_not_null(slot);
    *slot = 77;
    cr_assert(ring_is_empty(&ring));
    ring_publish(&ring);
    cr_assert_eq(*(const uint64_t *)ring_peek(&ring), 77u);
    ring_advance(&ring);
    cr_assert(ring_is_empty(&ring));
    cr_assert_eq(ring_free(&ring), 8u);
}

Test(ring, agrees_with_a_counter_over_a_long_seeded_walk, .timeout = 30)
{
    uint64_t pushed = 0;
    uint64_t popped = 0;

    ring_init(&ring, memory, 24, 32);
    for (uint32_t step = 0; step < 200000; step++) {
        uint64_t slots[40][3];
        uint32_t count = next_below(40);
        if (next_below(2) == 0) {
            for (uint32_t i = 0; i < count; i++)
                slots[i][0] = slots[i][1] = slots[i][2] = pushed + i;
            uint32_t expected = count < 32 - (pushed - popped) ? count
                                                               : (uint32_t)(32 - (pushed - popped));
            cr_assert_eq(ring_push(&ring, slots, count), expected, "seed 20260817 step %u", step);
            pushed += expected;
        } else {
            uint32_t taken = ring_pop(&ring, slots, count);
            cr_assert_eq(taken, count < pushed - popped ? count : (uint32_t)(pushed - popped));
            for (uint32_t i = 0; i < taken; i++)
                cr_assert(slots[i][0] == popped + i && slots[i][2] == popped + i,
                          "seed 20260817 step %u",
                          step);
            popped += taken;
        }
        cr_assert_eq(ring_used(&ring), pushed - popped);
    }
    cr_assert_gt(popped, 1000u);
}

static struct byte_ring bytes;

Test(byte_ring, answers_null_when_full_and_recovers_after_release, .timeout = 10)
{
    uint64_t first;
    uint64_t second;
    uint64_t third;

    byte_ring_init(&bytes, memory, 4096);
    cr_assert_not_null(byte_ring_reserve(&bytes, 2000, &first));
    cr_assert_not_null(byte_ring_reserve(&bytes, 2000, &second));
    cr_assert_null(byte_ring_reserve(&bytes, 100, &third));
    byte_ring_release(&bytes, first, 2000);
    cr_assert_not_null(byte_ring_reserve(&bytes, 100, &third));
    byte_ring_release(&bytes, second, 2000);
    byte_ring_release(&bytes, third, 100);
    cr_assert_eq(byte_ring_free(&bytes), 4096u);
}

Test(byte_ring, roll_back_gives_the_reservation_again, .timeout = 10)
{
    uint64_t ticket;
    uint64_t again;

    byte_ring_init(&bytes, memory, 4096);
    uint64_t before = byte_ring_tail(&bytes);
    cr_assert_not_null(byte_ring_reserve(&bytes, 700, &ticket));
    byte_ring_roll_back(&bytes, before);
    cr_assert_not_null(byte_ring_reserve(&bytes, 700, &again));
    cr_assert_eq(ticket, again);
}

Test(byte_ring, pieces_stay_whole_and_apart_over_a_long_seeded_walk, .timeout = 30)
{
    struct {
        uint64_t ticket;
        uint32_t count;
        uint8_t fill;
    } live[256];
    uint32_t head = 0;
    uint32_t tail = 0;
    uint64_t written = 0;

    byte_ring_init(&bytes, memory, 16384);
    for (uint32_t step = 0; step < 100000; step++) {
        if (next_below(2) == 0 && tail - head < 256) {
            uint32_t count = 1 + next_below(3000);
            uint64_t ticket;
            uint8_t *at = byte_ring_reserve(&bytes, count, &ticket);
            if (at == NULL)
                continue;
            cr_assert_eq((uintptr_t)at % BYTE_RING_ALIGN, 0u);
            memset(at, (int)(step & 0xff), count);
            live[tail % 256].ticket = ticket;
            live[tail % 256].count = count;
            live[tail % 256].fill = (uint8_t)step;
            tail++;
            written++;
        } else if (head != tail) {
            const uint8_t *at = byte_ring_at(&bytes, live[head % 256].ticket);
            for (uint32_t i = 0; i < live[head % 256].count; i++)
                cr_assert_eq(at[i], live[head % 256].fill, "seed 20260817 step %u", step);
            byte_ring_release(&bytes, live[head % 256].ticket, live[head % 256].count);
            head++;
        }
    }
    cr_assert_gt(written, 1000u);
}
