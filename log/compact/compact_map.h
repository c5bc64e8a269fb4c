/* Newest offset of each key: open addressing over the caller's memory, keys as 128 bits of hash.
 *
 * Two keys meet in all 128 bits by chance once in 2^64 keys or so, and the seed keeps somebody who
 * chooses keys from making it happen; a meeting would lose the older key's record. Kafka trusts a
 * 128-bit hash (MD5) in the same way. */
#ifndef EAGRE_LOG_COMPACT_COMPACT_MAP_H
#define EAGRE_LOG_COMPACT_COMPACT_MAP_H

#include "engine/base/bytes.h"

#define COMPACT_MAP_NONE UINT64_MAX

struct compact_map_entry {
    uint64_t hash[2];
    uint64_t offset_plus_one; /* 0: free */
};

struct compact_map {
    struct compact_map_entry *entries; /* [slots] */
    uint64_t slots;
    uint64_t count;
    uint64_t limit; /* seven eighths: longer walks are not worth the rest */
    uint64_t seed;
};

/* What a key stands for: names are hashed apart, so a producer is never taken for a key. */
enum compact_map_kind { COMPACT_MAP_KEY = 0, COMPACT_MAP_PRODUCER = 2 };

void compact_map_init(struct compact_map *map, void *memory, uint64_t bytes, uint64_t seed);
void compact_map_clear(struct compact_map *map);
static ALWAYS_INLINE bool
compact_map_has_room(const struct compact_map *map, uint64_t count)
{
    return count <= map->limit - map->count;
}
/* Offsets must not fall. There must be room. */
void compact_map_put(struct compact_map *map,
                     enum compact_map_kind kind,
                     struct bytes key,
                     uint64_t offset);
/* The newest offset, or COMPACT_MAP_NONE. */
uint64_t
compact_map_get(const struct compact_map *map, enum compact_map_kind kind, struct bytes key);

#endif
