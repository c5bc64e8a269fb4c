/* Goal: name rules are those Kafka clients know, and the place of a partition never moves.
 * Method: tables of bad and good names; pinned tiles. */
#include "engine/topic/topic_name.h"

#include <criterion/criterion.h>
#include <string.h>

static struct bytes
text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

Test(topic_name, refuses_what_kafka_refuses, .timeout = 10)
{
    static const char *const bad[] = {
        "", ".", "..", "a b", "a/b", "a\\b", "ä", "a\n", "a,b", "a:b", "a\"b"};
    char long_name[TOPIC_NAME_MAX + 2];

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_assert_not(topic_name_is_valid(text(bad[i])), "'%s'", bad[i]);
    memset(long_name, 'a', sizeof(long_name));
    cr_assert(topic_name_is_valid((struct bytes){(uint8_t *)long_name, TOPIC_NAME_MAX}));
    cr_assert_not(topic_name_is_valid((struct bytes){(uint8_t *)long_name, TOPIC_NAME_MAX + 1}));
    cr_assert_not(topic_name_is_valid((struct bytes){NULL, 0}));
    cr_assert_not(topic_name_is_valid((struct bytes){(const uint8_t *)"a\0b", 3}));
}

Test(topic_name, takes_the_rest, .timeout = 10)
{
    static const char *const good[] = {"a", "...", ".a", "_", "-", "A.b_C-9", "__consumer_offsets"};

    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        cr_assert(topic_name_is_valid(text(good[i])), "'%s'", good[i]);
    cr_assert(topic_name_is_internal(text("__consumer_offsets")));
    cr_assert_not(topic_name_is_internal(text("_schemas")));
}

Test(topic_name, dots_and_underscores_collide_and_hash_alike, .timeout = 10)
{
    cr_assert(topic_name_collides(text("a.b_c"), text("a_b.c")));
    cr_assert_not(topic_name_collides(text("a.b"), text("a-b")));
    cr_assert_not(topic_name_collides(text("a.b"), text("a.b.")));
    cr_assert_eq(topic_name_hash(text("a.b_c"), 7), topic_name_hash(text("a_b.c"), 7));
    cr_assert_neq(topic_name_hash(text("a.b"), 7), topic_name_hash(text("a-b"), 7));
}

Test(topic_partition_tile, never_moves_and_spreads, .timeout = 10)
{
    uint8_t id[16];
    uint32_t counts[4] = {0};

    for (uint32_t i = 0; i < 16; i++)
        id[i] = (uint8_t)i;
    for (uint32_t p = 0; p < 4000; p++) {
        cr_assert_eq(topic_partition_tile(id, p, 1), 0u);
        counts[topic_partition_tile(id, p, 4)]++;
    }
    for (uint32_t i = 0; i < 4; i++)
        cr_assert(counts[i] > 850 && counts[i] < 1150, "tile %u has %u of 4000", i, counts[i]);
    /* Stored data depend on these: a change would look for partitions on the wrong tile. */
    uint32_t pinned = 0;
    for (uint32_t p = 0; p < 8; p++)
        pinned = pinned * 4 + topic_partition_tile(id, p, 4);
    cr_assert_eq(pinned, 7610u, "pinned %u", pinned);
}
