/* Goal: the map gives the newest offset of each key, and nothing of others. Method: against a plain
 * array. */
#include "log/compact/compact_map.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct bytes
name(const uint32_t *number)
{
    return (struct bytes){.at = (const uint8_t *)number, .count = sizeof(*number)};
}

Test(compact_map, gives_the_newest_offset_up_to_its_limit, .timeout = 10)
{
    struct compact_map map;
    void *memory = malloc(24 * 1024);

    compact_map_init(&map, memory, 24 * 1024, 7);
    compact_map_clear(&map);
    cr_assert_eq(map.limit, 896);
    for (uint32_t i = 0; i < 896; i++) {
        cr_assert(compact_map_has_room(&map, 1));
        cr_assert_eq(compact_map_get(&map, COMPACT_MAP_KEY, name(&i)), COMPACT_MAP_NONE);
        compact_map_put(&map, COMPACT_MAP_KEY, name(&i), i);
    }
    cr_assert_not(compact_map_has_room(&map, 1));
    for (uint32_t i = 0; i < 896; i += 2)
        compact_map_put(&map, COMPACT_MAP_KEY, name(&i), 5000 + i);
    for (uint32_t i = 0; i < 896; i++) {
        cr_assert_eq(compact_map_get(&map, COMPACT_MAP_KEY, name(&i)), i % 2 == 0 ? 5000 + i : i);
        cr_assert_eq(compact_map_get(&map, COMPACT_MAP_PRODUCER, name(&i)), COMPACT_MAP_NONE);
    }
    compact_map_clear(&map);
    cr_assert_eq(compact_map_get(&map, COMPACT_MAP_KEY, name(&(uint32_t){3})), COMPACT_MAP_NONE);
    free(memory);
}
