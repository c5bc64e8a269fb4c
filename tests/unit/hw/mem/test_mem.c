/* Goal: the budget holds to the byte, regions never touch, and a heap allocation on a trapped
 * thread ends the program. Method: bad input first; regions are filled to their last byte;
 * residency is read from /proc/self/statm. */
#include "hw/mem/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct mem_arena
make_arena(uint64_t limit_bytes)
{
    struct mem_arena arena;
    struct diag_trail trail = {""};
    struct mem_arena_config config = {.limit_bytes = limit_bytes};

    cr_assert_eq(mem_arena_init(&arena, &config, &trail), RC_OK, "%s", trail.text);
    return arena;
}

static uint64_t
resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return (uint64_t)pages * 4096;
}

Test(mem_arena, refuses_a_limit_out_of_range, .timeout = 10)
{
    struct mem_arena arena;
    struct diag_trail trail = {""};

    cr_assert_eq(mem_arena_init(&arena, &(struct mem_arena_config){0}, &trail), RC_INVALID);
    struct mem_arena_config endless = {.limit_bytes = UINT64_MAX};
    cr_assert_eq(mem_arena_init(&arena, &endless, &trail), RC_INVALID);
    mem_arena_fini(&arena);
    mem_arena_fini(&arena);
}

Test(mem_arena, refuses_one_byte_more_than_its_limit_and_names_the_region, .timeout = 10)
{
    struct mem_arena arena = make_arena(MIB);
    struct diag_trail trail = {""};
    void *memory = NULL;

    cr_assert_eq(mem_arena_take(&arena, "first", MIB - 1000, &memory, &trail), RC_OK);
    void *untouched = memory;
    cr_assert_eq(mem_arena_take(&arena, "too much", 1001, &memory, &trail), RC_LIMIT);
    cr_assert_eq(memory, untouched);
    cr_assert_not_null(strstr(trail.text, "too much"));
    cr_assert_eq(mem_arena_take(&arena, "huge", UINT64_MAX, &memory, &trail), RC_LIMIT);
    cr_assert_eq(mem_arena_take(&arena, "just right", 1000, &memory, &trail), RC_OK);
    cr_assert_eq(mem_arena_take(&arena, "one", 1, &memory, &trail), RC_LIMIT);
    mem_arena_fini(&arena);
}

Test(mem_arena, refuses_more_regions_than_its_table_holds, .timeout = 10)
{
    struct mem_arena arena = make_arena(64 * MIB);
    void *memory;

    for (uint32_t i = 0; i < MEM_REGIONS_MAX; i++)
        cr_assert_eq(mem_arena_take(&arena, "small", 100, &memory, NULL), RC_OK);
    cr_assert_eq(mem_arena_take(&arena, "small", 100, &memory, NULL), RC_LIMIT);
    mem_arena_fini(&arena);
}

Test(mem_arena, stops_the_program_when_a_region_is_empty, .signal = SIGABRT, .timeout = 10)
{
    struct mem_arena arena = make_arena(MIB);
    void *memory;

    (void)!mem_arena_take(&arena, "empty", 0, &memory, NULL);
}

Test(mem_arena, gives_aligned_zeroed_regions_that_do_not_touch, .timeout = 20)
{
    static const uint64_t sizes[] = {
        1, 127, 128, 129, 4095, 4096, 5000, 100000, 8 * MIB, 3, 9 * MIB};
    struct mem_arena arena = make_arena(64 * MIB);
    uint8_t *regions[ARRAY_COUNT(sizes)];

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        void *memory;

        cr_assert_eq(mem_arena_take(&arena, "region", sizes[i], &memory, NULL), RC_OK);
        regions[i] = memory;
        cr_assert_eq((uintptr_t)memory % MEM_REGION_ALIGN_BYTES, 0u);
        if (sizes[i] >= MEM_PAGE_BYTES)
            cr_assert_eq((uintptr_t)memory % MEM_PAGE_BYTES, 0u);
        if (sizes[i] >= MEM_HUGE_REGION_BYTES)
            cr_assert_eq((uintptr_t)memory % MEM_HUGE_PAGE_BYTES, 0u);
        for (uint64_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(regions[i][at], 0);
        memset(memory, (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
        for (uint64_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(regions[i][at], i + 1);
    mem_arena_fini(&arena);
}

Test(mem_arena, costs_nothing_until_it_is_committed_and_gives_it_back, .timeout = 60)
{
    struct mem_arena arena = make_arena(GIB);
    void *memory;

    uint64_t before = resident_bytes();
    cr_assert_eq(mem_arena_take(&arena, "ring", 512 * MIB, &memory, NULL), RC_OK);
    cr_assert_lt(resident_bytes() - before, 8 * MIB);
    memset(memory, 5, 10);
    cr_assert_eq(mem_commit(memory, MEM_COMMIT_STEP_BYTES), RC_OK);
    cr_assert_geq(resident_bytes() - before, MEM_COMMIT_STEP_BYTES);
    cr_assert_eq(((uint8_t *)memory)[9], 5);
    mem_release(memory, MEM_COMMIT_STEP_BYTES);
    cr_assert_lt(resident_bytes() - before, 8 * MIB);
    cr_assert_eq(((uint8_t *)memory)[9], 0);
    mem_arena_fini(&arena);
}

Test(mem_release, keeps_pages_that_are_only_partly_inside, .timeout = 10)
{
    struct mem_arena arena = make_arena(MIB);
    void *memory;

    cr_assert_eq(mem_arena_take(&arena, "pages", 3 * MEM_PAGE_BYTES, &memory, NULL), RC_OK);
    memset(memory, 1, 3 * MEM_PAGE_BYTES);
    mem_release((uint8_t *)memory + 10, 2 * MEM_PAGE_BYTES);
    cr_assert_eq(((uint8_t *)memory)[20], 1);
    cr_assert_eq(((uint8_t *)memory)[MEM_PAGE_BYTES], 0);
    cr_assert_eq(((uint8_t *)memory)[2 * MEM_PAGE_BYTES], 1);
    mem_arena_fini(&arena);
}

Test(mem_arena_line, prints_the_budget_line_by_line, .timeout = 10)
{
    struct mem_arena arena = make_arena(16 * MIB);
    char text[128];
    void *memory;

    cr_assert_eq(mem_arena_take(&arena, "slab ring", 4 * MIB, &memory, NULL), RC_OK);
    cr_assert_eq(mem_arena_take(&arena, "partitions", 1536, &memory, NULL), RC_OK);
    cr_assert(mem_arena_line(&arena, 0, text, sizeof(text)));
    cr_assert_str_eq(text, "slab ring                      4.0 MiB");
    cr_assert(mem_arena_line(&arena, 1, text, sizeof(text)));
    cr_assert_str_eq(text, "partitions                     1.5 KiB");
    cr_assert(mem_arena_line(&arena, 2, text, sizeof(text)));
    cr_assert_str_eq(text, "sum                            4.0 MiB of 16 MiB, 4 KiB pages");
    cr_assert_not(mem_arena_line(&arena, 3, text, sizeof(text)));
    mem_arena_fini(&arena);
}

Test(mem_arena, takes_huge_pages_or_ordinary_ones_but_always_memory, .timeout = 10)
{
    struct mem_arena_config config = {.limit_bytes = 4 * MIB, .huge = true};
    struct mem_arena arena;
    void *memory;

    cr_assert_eq(mem_arena_init(&arena, &config, NULL), RC_OK);
    cr_assert_eq(mem_arena_take(&arena, "all", 4 * MIB, &memory, NULL), RC_OK);
    memset(memory, 1, 4 * MIB);
    mem_arena_fini(&arena);
}

/* ---- the trap ---- */

static void *
keep(void *memory)
{
    static void *_Atomic kept;

    kept = memory; /* or the compiler leaves the allocation out */
    return kept;
}

Test(mem_trap, lets_other_threads_and_releases_pass, .timeout = 10)
{
    pthread_t thread;
    void *before = malloc(100);

    cr_assert_eq(pthread_create(&thread, NULL, keep, NULL), 0);
    mem_trap_enable();
    free(before);
    pthread_join(thread, NULL);
    mem_trap_disable();
    free(keep(malloc(10)));
    free(keep(realloc(calloc(3, 3), 100)));
    void *aligned = NULL;
    if (mem_trap_exists()) /* a sanitizer's own stops the program at this */
        cr_assert_neq(posix_memalign(&aligned, 3, 10), 0);
    cr_assert_eq(posix_memalign(&aligned, 4096, 10), 0);
    cr_assert_eq((uintptr_t)aligned % 4096, 0u);
    free(aligned);
}

/* Where the build has no trap the death tests die by hand, so that they say nothing rather than
 * something false. */
static void
trap_or_abort(void)
{
    if (!mem_trap_exists())
        abort();
    mem_trap_enable();
}

Test(mem_trap, stops_malloc, .signal = SIGABRT, .timeout = 10)
{
    trap_or_abort();
    keep(malloc(10));
}

Test(mem_trap, stops_calloc, .signal = SIGABRT, .timeout = 10)
{
    trap_or_abort();
    keep(calloc(1, 10));
}

Test(mem_trap, stops_realloc, .signal = SIGABRT, .timeout = 10)
{
    void *before = keep(malloc(10));

    trap_or_abort();
    keep(realloc(before, 10000));
}

Test(mem_trap, stops_the_c_librarys_own_allocations, .signal = SIGABRT, .timeout = 10)
{
    trap_or_abort();
    keep(strdup("text"));
}
