/* Goal: a lookup never lands behind its goal, at most a step before it, whatever the segment's
 * size. Method: runs of seeded sizes against a full list; sections against the table they came
 * from. */
#include "log/index/index.h"

#include <criterion/criterion.h>

#define RUNS_MAX 60000u

static struct index_entry entries[INDEX_ENTRIES_MAX];
static struct index_entry all[RUNS_MAX];

static uint64_t
random_next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static void
fill(struct index *index, uint32_t count, uint64_t seed)
{
    uint64_t state = seed;
    struct index_entry run = {.max_before_ms = -1};

    index_init(index, entries);
    for (uint32_t i = 0; i < count; i++) {
        all[i] = run;
        index_add(index, &run);
        int64_t time_ms = (int64_t)(i * 10 + random_next(&state) % 100);
        if (time_ms > run.max_before_ms) {
            run.max_before_ms = time_ms;
            run.max_delta = run.offset_delta;
        }
        run.offset_delta += 1 + (uint32_t)(random_next(&state) % 50);
        run.block += 1 + (uint32_t)(random_next(&state) % 32);
    }
}

Test(index, knows_nothing_when_empty, .timeout = 5)
{
    struct index index;
    struct index_time_entry times[INDEX_ENTRIES_MAX];

    index_init(&index, entries);
    cr_assert_eq(index_find_offset(&index, 7), 0);
    cr_assert_eq(index_find_time(&index, 7), 0);
    cr_assert_eq(index_time_section(&index, times), 0);
    cr_assert_eq(index_section_find(NULL, 0, 5), 0);
    cr_assert_eq(index_time_section_find(NULL, 0, 5), 0);
}

Test(index, lands_at_or_before_every_offset, .timeout = 20)
{
    struct index index;

    for (uint32_t count = 1; count < RUNS_MAX; count *= 3) {
        fill(&index, count, count);
        cr_assert_leq(index.count, INDEX_ENTRIES_MAX);
        for (uint32_t i = 0; i < count; i += 1 + count / 500) {
            uint64_t position = index_find_offset(&index, all[i].offset_delta);
            uint64_t run = (uint64_t)all[i].block * FORMAT_BLOCK_BYTES;
            cr_assert_leq(position, run, "count %u run %u", count, i);
            /* A step of 32 KiB ends with the run that goes over it; thinning joins whole steps. */
            uint64_t steps = index.step_bytes / INDEX_STEP_BYTES;
            cr_assert_leq(run - position, steps * (INDEX_STEP_BYTES + 32 * FORMAT_BLOCK_BYTES));
        }
    }
}

Test(index, lands_before_the_first_timestamp_that_is_late_enough, .timeout = 20)
{
    struct index index;

    fill(&index, 20000, 5);
    for (uint32_t i = 1; i < 20000; i += 37) {
        int64_t time_ms = all[i].max_before_ms;
        /* The batch with that timestamp stands at all[i].max_delta, in a run before run i. */
        uint64_t position = index_find_time(&index, time_ms);
        uint32_t run = 0;
        while (run + 1 < 20000 && all[run + 1].offset_delta <= all[i].max_delta)
            run++;
        cr_assert_leq(position, (uint64_t)all[run].block * FORMAT_BLOCK_BYTES);
    }
}

Test(index, sections_say_the_same_as_the_table, .timeout = 20)
{
    static struct index_offset_entry offsets[INDEX_ENTRIES_MAX];
    static struct index_time_entry times[INDEX_ENTRIES_MAX];
    struct index index;

    fill(&index, 30000, 9);
    uint32_t count = index_offset_section(&index, offsets);
    uint32_t time_count = index_time_section(&index, times);
    for (uint32_t i = 0; i < 30000; i += 11) {
        cr_assert_eq(index_section_find(offsets, count, all[i].offset_delta),
                     index_find_offset(&index, all[i].offset_delta));
        uint32_t delta = index_time_section_find(times, time_count, all[i].max_before_ms);
        cr_assert_leq(delta, all[i].max_delta, "never behind the batch that reached it");
    }
    for (uint32_t i = 1; i < time_count; i++)
        cr_assert_gt(times[i].max_timestamp_ms, times[i - 1].max_timestamp_ms);
}
