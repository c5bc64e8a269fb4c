#include "net/client/client_parts.h"

#include "engine/base/hash.h"

uint32_t
client__partition_of_key(int partitioner,
                         const void *key,
                         size_t key_bytes,
                         uint32_t partition_count)
{
    if (partitioner == EAGRE_PARTITIONER_XXH3)
        return (uint32_t)(hash_xxh3(key, key_bytes, 0) % partition_count);
    /* Java's Utils.toPositive(Utils.murmur2(key)) % count: the sign bit is cut off, not negated. */
    return (hash_murmur2(key, key_bytes) & INT32_MAX) % partition_count;
}
