/* Goal: blocks never overlap, always come back whole, and misuse stops the program.
 * Method: limits first; then seeded take and give with every byte owned by one block. */
#include "engine/pool/buddy.h"
#include "engine/pool/slab.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define REGION_BYTES \
    (UINT64_C(40) << 20) /* not a power of two: two whole 16 MiB blocks and one of 8 MiB */

static struct buddy pool;
static uint8_t *region;

static void
set_up(void)
{
    region = aligned_alloc(4096, REGION_BYTES);
    cr_assert_not_null(region);
    void *bookkeeping = malloc(buddy_footprint(REGION_BYTES));
    cr_assert_not_null(bookkeeping);
    buddy_init(&pool, bookkeeping, region, REGION_BYTES);
}

static void
tear_down(void)
{
    free(pool.pages);
    free(region);
}

TestSuite(buddy, .init = set_up, .fini = tear_down, .timeout = 30);

Test(buddy, answers_null_beyond_the_largest_block_and_when_nothing_is_left)
{
    cr_assert_null(buddy_take(&pool, BUDDY_BLOCK_MAX + 1));
    cr_assert_not_null(buddy_take(&pool, BUDDY_BLOCK_MAX));
    cr_assert_not_null(buddy_take(&pool, BUDDY_BLOCK_MAX));
    cr_assert_null(buddy_take(&pool, BUDDY_BLOCK_MAX));
    cr_assert_not_null(buddy_take(&pool, UINT64_C(8) << 20));
    cr_assert(!buddy_has(&pool, 1));
    cr_assert_null(buddy_take(&pool, 1));
}

Test(buddy, giving_a_block_twice_stops_the_program, .signal = SIGABRT)
{
    void *block = buddy_take(&pool, 5000);

    buddy_give(&pool, block);
    buddy_give(&pool, block);
}

Test(buddy, giving_the_middle_of_a_block_stops_the_program, .signal = SIGABRT)
{
    uint8_t *block = buddy_take(&pool, 16384);

    buddy_give(&pool, block + 4096);
}

Test(buddy, reuses_the_newest_block)
{
    void *block = buddy_take(&pool, 4096);

    buddy_give(&pool, block);
    cr_assert_eq(buddy_take(&pool, 4096), block);
}

Test(buddy, blocks_are_disjoint_and_all_memory_comes_back_after_a_seeded_walk)
{
    static uint8_t *blocks[512];
    static uint64_t sizes[512];
    static uint8_t owner[REGION_BYTES / 4096];
    uint64_t state = 7;
    uint32_t refused = 0;

    for (uint32_t step = 0; step < 200000; step++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t slot = (uint32_t)(state >> 40) % 512;
        if (blocks[slot] != NULL) {
            size_t first = (size_t)(blocks[slot] - region) / 4096;
            memset(owner + first, 0, (size_t)(sizes[slot] / 4096));
            buddy_give(&pool, blocks[slot]);
            blocks[slot] = NULL;
            continue;
        }
        uint64_t bytes = UINT64_C(1) << ((state >> 20) % 22);
        blocks[slot] = buddy_take(&pool, bytes);
        if (blocks[slot] == NULL) {
            refused++;
            continue;
        }
        sizes[slot] = buddy_block_bytes(&pool, blocks[slot]);
        cr_assert_geq(sizes[slot], bytes);
        for (size_t i = 0; i < sizes[slot] / 4096; i++) {
            size_t page = (size_t)(blocks[slot] - region) / 4096 + i;
            cr_assert_eq(owner[page], 0, "seed 7 step %u", step);
            owner[page] = 1;
        }
    }
    cr_assert_gt(refused, 0u, "the walk must reach the limit");
    for (uint32_t slot = 0; slot < 512; slot++)
        if (blocks[slot] != NULL)
            buddy_give(&pool, blocks[slot]);
    cr_assert_eq(pool.used_bytes, 0u);
    cr_assert_not_null(buddy_take(&pool, BUDDY_BLOCK_MAX));
    cr_assert_not_null(buddy_take(&pool, BUDDY_BLOCK_MAX));
}

static _Alignas(64) uint8_t slab_memory[64 * 1024];

Test(slab,
     answers_none_when_all_are_out_and_stops_on_a_double_give,
     .signal = SIGABRT,
     .timeout = 10)
{
    struct slab slab;

    cr_assert_leq(slab_footprint(40, 100), sizeof(slab_memory));
    slab_init(&slab, slab_memory, 40, 100);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_neq(slab_take(&slab), SLAB_NONE);
    cr_assert_eq(slab_take(&slab), SLAB_NONE);
    slab_give(&slab, 50);
    cr_assert_eq(slab_take(&slab), 50u);
    slab_give(&slab, 50);
    slab_give(&slab, 50);
}
