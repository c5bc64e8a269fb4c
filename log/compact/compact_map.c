#include "log/compact/compact_map.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

void
compact_map_init(struct compact_map *map, void *memory, uint64_t bytes, uint64_t seed)
{
    *map = (struct compact_map){
        .entries = memory,
        .slots = bytes / sizeof(struct compact_map_entry),
        .seed = seed,
    };
    map->limit = map->slots / 8 * 7;
    CHECK(map->limit > 0);
}

void
compact_map_clear(struct compact_map *map)
{
    memset(map->entries, 0, map->slots * sizeof(*map->entries));
    map->count = 0;
}

static struct compact_map_entry *
compact_map_find(const struct compact_map *map,
                 enum compact_map_kind kind,
                 struct bytes key,
                 uint64_t *ret_hash)
{
    ret_hash[0] = hash_xxh3(key.at, key.count, map->seed + kind);
    ret_hash[1] = hash_xxh3(key.at, key.count, ~map->seed + kind);
    /* The high half of the product: as even as the hash, without a division. */
    uint64_t at = (uint64_t)(((unsigned __int128)ret_hash[0] * map->slots) >> 64);

    for (;;) {
        struct compact_map_entry *entry = &map->entries[at];
        if (entry->offset_plus_one == 0 ||
            (entry->hash[0] == ret_hash[0] && entry->hash[1] == ret_hash[1]))
            return entry;
        at = at + 1 == map->slots ? 0 : at + 1;
    }
}

void
compact_map_put(struct compact_map *map,
                enum compact_map_kind kind,
                struct bytes key,
                uint64_t offset)
{
    uint64_t hash[2];
    struct compact_map_entry *entry = compact_map_find(map, kind, key, hash);

    if (entry->offset_plus_one == 0) {
        CHECK(map->count < map->limit);
        map->count++;
        entry->hash[0] = hash[0];
        entry->hash[1] = hash[1];
    }
    DCHECK(offset + 1 >= entry->offset_plus_one);
    entry->offset_plus_one = offset + 1;
}

uint64_t
compact_map_get(const struct compact_map *map, enum compact_map_kind kind, struct bytes key)
{
    uint64_t hash[2];

    return compact_map_find(map, kind, key, hash)->offset_plus_one - 1;
}
