/* Rules for names, as Kafka clients expect them. */
#include "engine/topic/topic_name.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

static bool
is_name_character(uint8_t character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '.' || character == '_' ||
           character == '-';
}

static uint8_t
folded(uint8_t character)
{
    return character == '.' ? (uint8_t)'_' : character;
}

bool
topic_name_is_valid(struct bytes name)
{
    if (name.at == NULL || name.count == 0 || name.count > TOPIC_NAME_MAX)
        return false;
    if (name.at[0] == '.' && (name.count == 1 || (name.count == 2 && name.at[1] == '.')))
        return false;
    for (size_t i = 0; i < name.count; i++) {
        if (!is_name_character(name.at[i]))
            return false;
    }
    return true;
}

bool
topic_name_collides(struct bytes a, struct bytes b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++) {
        if (folded(a.at[i]) != folded(b.at[i]))
            return false;
    }
    return true;
}

uint64_t
topic_name_hash(struct bytes name, uint64_t seed)
{
    uint8_t text[TOPIC_NAME_MAX];

    CHECK(name.count <= TOPIC_NAME_MAX);
    for (size_t i = 0; i < name.count; i++)
        text[i] = folded(name.at[i]);
    return hash_xxh3(text, name.count, seed);
}

bool
topic_name_is_internal(struct bytes name)
{
    return name.count >= 2 && name.at[0] == '_' && name.at[1] == '_';
}

uint32_t
topic_partition_tile(const uint8_t *topic_id, uint32_t partition, uint32_t log_tiles)
{
    uint8_t key[20];

    CHECK(log_tiles > 0);
    bytes_copy(key, sizeof(key), topic_id, 16);
    put_u32_be(key + 16, partition);
    return (uint32_t)(hash_xxh3(key, sizeof(key), 0) % log_tiles);
}
