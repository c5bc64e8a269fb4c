/* Goal: ring, tail table and producer table keep their promises at every edge.
 * Method: seeded work against plain models. */
#include "hw/io/sim_base.h"
#include "log/append/producers.h"
#include "log/append/slab_ring.h"
#include "log/append/tail.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define TABLE_ENTRIES 256u
#define LISTS 3u

Test(tail, finds_what_a_walk_finds, .timeout = 20)
{
    static struct tail_entry entries[TABLE_ENTRIES];
    struct tail_table table;
    struct tail_list lists[LISTS];
    uint64_t next[LISTS] = {0};
    struct sim_rng rng;

    sim_rng_seed(&rng, 42, 1);
    tail_init(&table, entries, TABLE_ENTRIES);
    for (uint32_t i = 0; i < LISTS; i++)
        tail_list_init(&lists[i]);
    cr_assert_eq(tail_find(&table, &lists[0], 0), TAIL_NONE);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t slot = (uint32_t)sim_rng_below(&rng, LISTS);
        if (tail_is_full(&table) || sim_rng_chance(&rng, 300000)) {
            if (tail_is_empty(&table))
                continue;
            slot = tail_at(&table, table.oldest)->slot;
            tail_pop(&table, &lists[slot]);
        } else {
            struct tail_entry *entry = tail_at(&table, tail_push(&table, &lists[slot]));
            next[slot] += sim_rng_below(&rng, 4); /* gaps, as compaction leaves them */
            entry->base_offset = next[slot];
            entry->last_delta = (uint32_t)sim_rng_below(&rng, 5);
            entry->slot = slot;
            next[slot] += entry->last_delta + 1;
        }
        slot = (uint32_t)sim_rng_below(&rng, LISTS);
        if (lists[slot].oldest == TAIL_NONE)
            continue;
        uint64_t first = tail_at(&table, lists[slot].oldest)->base_offset;
        uint64_t offset = first + sim_rng_below(&rng, next[slot] - first);
        uint64_t expected = lists[slot].oldest;
        while (tail_at(&table, expected)->base_offset + tail_at(&table, expected)->last_delta <
               offset)
            expected = tail_newer(&table, &lists[slot], expected);
        cr_assert_eq(tail_find(&table, &lists[slot], offset), expected, "round %u", round);
        cr_assert_eq(tail_find(&table, &lists[slot], next[slot]), TAIL_NONE);
        if (first > 0)
            cr_assert_eq(tail_find(&table, &lists[slot], first - 1), TAIL_NONE);
    }
}

Test(slab_ring, groups_are_unbroken_and_aligned, .timeout = 10)
{
    uint8_t *memory = aligned_alloc(4096, 65536);
    struct slab_ring ring;
    struct sim_rng rng;

    sim_rng_seed(&rng, 7, 1);
    slab_ring_init(&ring, memory, 65536);
    for (uint32_t round = 0; round < 5000; round++) {
        uint64_t count = 1 + sim_rng_below(&rng, 9000);
        if (slab_ring_unbroken(&ring) < count) {
            slab_ring_close_group(&ring);
            if (slab_ring_unbroken(&ring) < count)
                slab_ring_wrap(&ring);
        }
        while (!slab_ring_has_room(&ring, count)) {
            slab_ring_close_group(&ring);
            slab_ring_evict(&ring, ring.group_begin);
        }
        uint64_t position = slab_ring_take(&ring, count);
        cr_assert_leq((position & ring.mask) + count, 65536);
        memset(slab_ring_at(&ring, position), 1, count);
        if (sim_rng_chance(&rng, 300000)) {
            uint64_t head = ring.head;
            uint64_t begin = ring.group_begin;
            slab_ring_pad_group(&ring);
            slab_ring_close_group(&ring);
            cr_assert_eq(begin % 4096, 0);
            cr_assert_eq(ring.head % 4096, 0);
            for (uint64_t at = head; at < ring.head; at++)
                cr_assert_eq(*slab_ring_at(&ring, at), 0);
        }
        cr_assert_leq(slab_ring_used(&ring), 65536);
    }
    free(memory);
}

Test(slab_ring, a_group_that_ends_at_the_end_of_the_region_goes_no_further, .timeout = 10)
{
    struct slab_ring ring;
    uint8_t *memory = aligned_alloc(4096, 65536);

    slab_ring_init(&ring, memory, 65536);
    cr_assert_eq(slab_ring_unbroken(&ring), 65536);
    (void)slab_ring_take(&ring, 65536);
    cr_assert_eq(slab_ring_unbroken(&ring), 0, "the device takes one unbroken range");
    slab_ring_close_group(&ring);
    cr_assert_eq(slab_ring_unbroken(&ring), 65536);
    free(memory);
}

Test(slab_ring, names_each_piece_of_memory_once, .timeout = 10)
{
    struct slab_ring ring;
    uint64_t named = 0;
    uint8_t *at;
    uint64_t bytes;

    slab_ring_init(&ring, (void *)(uintptr_t)4096, 64 * MIB);
    while (slab_ring_populate_next(&ring, &at, &bytes)) {
        cr_assert_eq((uint64_t)(at - ring.base), named);
        named += bytes;
        ring.head = named;
    }
    cr_assert_eq(named, 64 * MIB);
    ring.head += 64 * MIB;
    cr_assert_not(slab_ring_populate_next(&ring, &at, &bytes));
}

static struct producer_claim
claim_of(uint64_t producer_id, int16_t epoch, int32_t first, int32_t last)
{
    return (struct producer_claim){.incarnation = 9,
                                   .producer_id = producer_id,
                                   .epoch = epoch,
                                   .first_sequence = first,
                                   .last_sequence = last};
}

Test(producers, sequences_wrap_and_five_batches_are_known, .timeout = 10)
{
    void *memory = aligned_alloc(64, round_up(producers_footprint(16), 64));
    struct producers producers;
    uint32_t at;
    uint64_t original = 0;

    producers_init(&producers, memory, 16, 1);
    struct producer_claim claim = claim_of(5, 0, INT32_MAX - 1, INT32_MAX);
    cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original), RC_OK);
    producers_record(&producers, at, &claim, 100, 1);
    for (int32_t i = 0; i < 5; i++) {
        claim = claim_of(5, 0, i * 2 + 1, i * 2 + 2);
        cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original),
                     RC_SEQUENCE_OUT_OF_ORDER);
        claim = claim_of(5, 0, i * 2, i * 2 + 1);
        cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original), RC_OK);
        producers_record(&producers, at, &claim, 102 + (uint64_t)i * 2, 1);
    }
    claim = claim_of(5, 0, 0, 1);
    cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original), RC_SEQUENCE_DUPLICATE);
    cr_assert_eq(original, 102);
    claim = claim_of(5, 0, INT32_MAX - 1, INT32_MAX);
    cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original),
                 RC_SEQUENCE_OUT_OF_ORDER,
                 "the sixth is forgotten");
    producers_cut(&producers, at, 106);
    claim = claim_of(5, 0, 4, 5);
    cr_assert_eq(producers_check(&producers, &claim, 1, &at, &original),
                 RC_OK,
                 "106 and later did not survive");
    free(memory);
}

Test(producers, a_new_one_begins_with_what_was_refused, .timeout = 10)
{
    void *memory = aligned_alloc(64, round_up(producers_footprint(2), 64));
    struct producers producers;
    uint32_t at;
    uint64_t original = 0;

    producers_init(&producers, memory, 2, 1);
    struct producer_claim first = claim_of(5, 3, 10, 11);
    struct producer_claim second = claim_of(5, 3, 12, 13);
    struct producer_claim next_epoch = claim_of(5, 4, 0, 0);
    cr_assert_eq(producers_check(&producers, &first, 1, &at, &original), RC_OK);
    producers_await(&producers, at, &first, 1);
    cr_assert_eq(producers_check(&producers, &second, 2, &at, &original), RC_SEQUENCE_OUT_OF_ORDER);
    cr_assert_eq(producers_check(&producers, &next_epoch, 2, &at, &original), RC_OK);
    cr_assert_eq(producers_check(&producers, &first, 2, &at, &original), RC_OK);
    producers_await(&producers, at, &first, 2); /* refused once more */
    cr_assert_eq(producers_check(&producers, &first, 3, &at, &original), RC_OK);
    producers_record(&producers, at, &first, 100, 3);
    cr_assert_eq(producers_check(&producers, &first, 4, &at, &original), RC_SEQUENCE_DUPLICATE);
    cr_assert_eq(original, 100);
    cr_assert_eq(producers_check(&producers, &second, 4, &at, &original), RC_OK);
    /* Who is known is not made to wait for less than what it has. */
    producers_await(&producers, at, &second, 4);
    cr_assert_eq(producers_check(&producers, &second, 5, &at, &original), RC_OK);
    cr_assert_eq(producers_check(&producers, &first, 5, &at, &original), RC_SEQUENCE_DUPLICATE);
    free(memory);
}

Test(producers, the_longest_unused_goes_but_not_too_young, .timeout = 10)
{
    void *memory = aligned_alloc(64, round_up(producers_footprint(4), 64));
    struct producers producers;
    uint32_t at;
    uint64_t original;

    producers_init(&producers, memory, 4, 1);
    for (uint64_t id = 0; id < 4; id++) {
        struct producer_claim claim = claim_of(id, 0, 0, 0);
        cr_assert_eq(producers_check(&producers, &claim, id, &at, &original), RC_OK);
        producers_record(&producers, at, &claim, id, id);
    }
    struct producer_claim claim = claim_of(9, 0, 0, 0);
    cr_assert_eq(producers_check(&producers, &claim, 10, &at, &original), RC_LIMIT);
    cr_assert_eq(producers_check(&producers, &claim, PRODUCERS_AGE_MIN_NS + 1, &at, &original),
                 RC_OK);
    producers_record(&producers, at, &claim, 50, PRODUCERS_AGE_MIN_NS + 1);
    cr_assert_eq(producers_find(&producers, 9, 0), PRODUCER_NONE);
    cr_assert_neq(producers_find(&producers, 9, 1), PRODUCER_NONE);
    producers_forget(&producers, 9);
    for (uint64_t id = 0; id < 10; id++)
        cr_assert_eq(producers_find(&producers, 9, id), PRODUCER_NONE);
    free(memory);
}
