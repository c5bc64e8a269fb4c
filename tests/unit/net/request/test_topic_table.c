/* Goal: the topic table finds what it was told, forgets what is gone, and never loses a partition
 * to compaction or collisions. Method: limits first; then thousands of seeded changes against a
 * plain array that says what must be there. */
#include "net/request/topic_table.h"

#include "tests/unit/kept.h"

#include "hw/clock/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPICS 12u
#define PARTITIONS 64u
#define NUMBERS 30u

static struct topic_table table;
static struct topic_snapshot *snapshot;

static void
setup(uint64_t seed)
{
    topic_table_init(
        &table,
        kept(aligned_alloc(64, round_up(topic_table_footprint(TOPICS, PARTITIONS), 64))),
        TOPICS,
        PARTITIONS,
        seed);
    snapshot = kept(calloc(1, sizeof(*snapshot) + 100 * sizeof(struct partition_ref)));
}

static enum rc
apply(uint32_t number, uint32_t generation, uint32_t partitions, bool gone)
{
    memset(snapshot->id, 0, sizeof(snapshot->id));
    memcpy(snapshot->id, &number, 4);
    memcpy(snapshot->id + 4, &generation, 4);
    snapshot->name_count = (uint8_t)snprintf(
        snapshot->name, sizeof(snapshot->name), "topic-%u", number);
    snapshot->gone = gone;
    snapshot->partition_count = partitions;
    for (uint32_t i = 0; i < partitions; i++)
        snapshot->partitions[i] = (struct partition_ref){.incarnation = number * 1000 + i + 1,
                                                         .slot = i};
    return topic_table_apply(&table, snapshot);
}

static uint32_t
find(uint32_t number)
{
    char name[32];
    int count = snprintf(name, sizeof(name), "topic-%u", number);

    return topic_table_find(&table, name, (size_t)count);
}

Test(topic_table, refuses_what_is_beyond_its_limits, .timeout = 10)
{
    setup(1);
    cr_assert_eq(topic_table_find(&table, "", 0), TOPIC_NONE);
    char longest[TOPIC_NAME_MAX + 1] = {0};
    cr_assert_eq(topic_table_find(&table, longest, sizeof(longest)), TOPIC_NONE);
    cr_assert_eq(apply(1, 0, PARTITIONS + 1, false), RC_LIMIT);
    cr_assert_eq(find(1), TOPIC_NONE);
    for (uint32_t i = 0; i < TOPICS; i++)
        cr_assert_eq(apply(i, 0, 1, false), RC_OK);
    cr_assert_eq(apply(TOPICS, 0, 1, false), RC_LIMIT);
    cr_assert_eq(apply(0, 0, 0, true), RC_OK);
    cr_assert_eq(apply(TOPICS, 0, 1, false), RC_OK);
    cr_assert_eq(apply(99, 0, 0, true), RC_OK, "to forget what is unknown is no trouble");
}

Test(topic_table, replaces_a_topic_that_was_made_again, .timeout = 10)
{
    setup(2);
    cr_assert_eq(apply(1, 0, 3, false), RC_OK);
    cr_assert_eq(apply(1, 1, 2, false), RC_OK);
    uint32_t idx = find(1);
    cr_assert_eq(topic_table_at(&table, idx)->partition_count, 2u);
    cr_assert_eq(apply(1, 0, 0, true), RC_OK, "the late end of the old one");
    cr_assert_eq(find(1), idx);
    cr_assert_eq(topic_table_partition(&table, idx, 2), NULL);
    cr_assert_eq(topic_table_partition(&table, idx, -1), NULL);
}

/* The table and the plain array agree about every topic. */
static void
check_all(const uint32_t *expected, uint64_t seed, uint32_t step)
{
    for (uint32_t k = 0; k < NUMBERS; k++) {
        uint32_t idx = find(k);
        cr_assert_eq(
            idx != TOPIC_NONE, expected[k] != 0, "seed %lu step %u topic %u", seed, step, k);
        if (idx == TOPIC_NONE)
            continue;
        cr_assert_eq(topic_table_at(&table, idx)->partition_count, expected[k] - 1);
        for (uint32_t p = 0; p < expected[k] - 1; p++)
            cr_assert_eq(topic_table_partition(&table, idx, (int32_t)p)->incarnation,
                         k * 1000 + p + 1);
    }
}

Test(topic_table, stays_right_through_thousands_of_changes, .timeout = 30)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint32_t expected[NUMBERS] = {0}; /* partitions + 1; 0: unknown */
        struct clock clock;
        setup(seed * 77);
        clock_init_sim(&clock, seed, 0);
        for (uint32_t step = 0; step < 4000; step++) {
            uint32_t number = (uint32_t)clock_random_below(&clock, NUMBERS);
            uint32_t partitions = (uint32_t)clock_random_below(&clock, 12);
            bool gone = clock_random_below(&clock, 3) == 0;
            enum rc rc = apply(number, 0, gone ? 0 : partitions, gone);
            expected[number] = gone || rc != RC_OK ? 0 : partitions + 1;
            check_all(expected, seed, step);
        }
    }
}
