/* See topic_table.h. Removal from a probe sequence moves later members back (no tombstones), so
 * look-ups stay short however often topics come and go. The arena is compacted in the order in
 * which topics lie in it, found by repeated minimum over the topics: quadratic in their number,
 * which is right for something that happens after thousands of topic changes. */
#include "net/request/topic_table.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/hash.h"

static uint32_t
table_buckets(uint32_t topics_max)
{
    uint32_t count = 16;

    while (count < topics_max * 2)
        count *= 2;
    return count;
}

size_t
topic_table_footprint(uint32_t topics_max, uint32_t partitions_max)
{
    size_t bytes = 0;

    bytes += round_up((uint64_t)topics_max * sizeof(struct topic), 64);
    bytes += round_up((uint64_t)topics_max * sizeof(uint32_t), 64);
    bytes += 2 * round_up((uint64_t)table_buckets(topics_max) * sizeof(uint32_t), 64);
    bytes += round_up((uint64_t)partitions_max * 2 * sizeof(struct partition_ref), 64);
    return bytes;
}

void
topic_table_init(struct topic_table *table,
                 void *memory,
                 uint32_t topics_max,
                 uint32_t partitions_max,
                 uint64_t seed)
{
    uint8_t *at = memory;
    uint32_t buckets = table_buckets(topics_max);

    CHECK(topics_max > 0);
    CHECK(topics_max <= 1u << 20);
    CHECK(partitions_max > 0);
    CHECK(partitions_max <= 1u << 24);
    memset(table, 0, sizeof(*table));
    table->topics = (struct topic *)(void *)at;
    at += round_up((uint64_t)topics_max * sizeof(struct topic), 64);
    table->free = (uint32_t *)(void *)at;
    at += round_up((uint64_t)topics_max * sizeof(uint32_t), 64);
    table->by_name = (uint32_t *)(void *)at;
    at += round_up((uint64_t)buckets * sizeof(uint32_t), 64);
    table->by_id = (uint32_t *)(void *)at;
    at += round_up((uint64_t)buckets * sizeof(uint32_t), 64);
    table->partitions = (struct partition_ref *)(void *)at;
    table->topics_max = topics_max;
    table->partitions_max = partitions_max;
    table->partition_capacity = partitions_max * 2;
    table->bucket_mask = buckets - 1;
    table->seed = seed;
    for (uint32_t i = 0; i < topics_max; i++)
        table->free[i] = topics_max - 1 - i;
    table->free_count = topics_max;
    for (uint32_t i = 0; i < buckets; i++)
        table->by_name[i] = table->by_id[i] = TOPIC_NONE;
}

static uint64_t
table_hash_id(const struct topic_table *table, const uint8_t *id)
{
    return hash_xxh3(id, 16, table->seed);
}

uint32_t
topic_table_find(const struct topic_table *table, const void *name, size_t name_count)
{
    if (name_count == 0 || name_count > TOPIC_NAME_MAX)
        return TOPIC_NONE;
    uint64_t hash = hash_xxh3(name, name_count, table->seed);

    for (uint64_t at = hash;; at++) {
        uint32_t idx = table->by_name[at & table->bucket_mask];
        if (idx == TOPIC_NONE)
            return TOPIC_NONE;
        const struct topic *topic = &table->topics[idx];
        if (topic->name_hash == (uint32_t)hash && topic->name_count == name_count &&
            memcmp(topic->name, name, name_count) == 0)
            return idx;
    }
}

uint32_t
topic_table_find_id(const struct topic_table *table, const uint8_t *id)
{
    for (uint64_t at = table_hash_id(table, id);; at++) {
        uint32_t idx = table->by_id[at & table->bucket_mask];
        if (idx == TOPIC_NONE || memcmp(table->topics[idx].id, id, 16) == 0)
            return idx;
    }
}

static uint64_t
table_hash_of(const struct topic_table *table, bool by_id, uint32_t idx)
{
    const struct topic *topic = &table->topics[idx];

    return by_id ? table_hash_id(table, topic->id) : topic->name_hash;
}

static void
table_insert(struct topic_table *table, bool by_id, uint32_t idx)
{
    uint32_t *buckets = by_id ? table->by_id : table->by_name;
    uint64_t at = table_hash_of(table, by_id, idx);

    while (buckets[at & table->bucket_mask] != TOPIC_NONE)
        at++;
    buckets[at & table->bucket_mask] = idx;
}

/* Takes idx out and closes the gap: a later member of the run moves into the hole unless its own
 * place lies behind the hole. */
static void
table_erase(struct topic_table *table, bool by_id, uint32_t idx)
{
    uint32_t *buckets = by_id ? table->by_id : table->by_name;
    uint32_t mask = table->bucket_mask;
    uint32_t hole = (uint32_t)table_hash_of(table, by_id, idx) & mask;

    while (buckets[hole] != idx) {
        CHECK(buckets[hole] != TOPIC_NONE);
        hole = (hole + 1) & mask;
    }
    for (uint32_t next = (hole + 1) & mask; buckets[next] != TOPIC_NONE; next = (next + 1) & mask) {
        uint32_t home = (uint32_t)table_hash_of(table, by_id, buckets[next]) & mask;
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            buckets[hole] = buckets[next];
            hole = next;
        }
    }
    buckets[hole] = TOPIC_NONE;
}

static void
table_forget(struct topic_table *table, uint32_t idx)
{
    struct topic *topic = &table->topics[idx];

    table_erase(table, false, idx);
    table_erase(table, true, idx);
    table->partition_used -= topic->partition_count;
    topic->partition_count = 0;
    table->free[table->free_count++] = idx;
}

static COLD void
table_compact(struct topic_table *table)
{
    uint32_t end = 0;

    for (uint32_t from = 0; from < table->partition_end;) {
        struct topic *lowest = NULL;
        for (uint32_t i = 0; i <= table->bucket_mask; i++) {
            if (table->by_name[i] == TOPIC_NONE)
                continue;
            struct topic *topic = &table->topics[table->by_name[i]];
            if (topic->partition_count > 0 && topic->partition_first >= from &&
                (lowest == NULL || topic->partition_first < lowest->partition_first))
                lowest = topic;
        }
        if (lowest == NULL)
            break;
        from = lowest->partition_first + lowest->partition_count;
        memmove(&table->partitions[end],
                &table->partitions[lowest->partition_first],
                lowest->partition_count * sizeof(table->partitions[0]));
        lowest->partition_first = end;
        end += lowest->partition_count;
    }
    table->partition_end = end;
}

/* Gives the topic room for count references; what it had is given up. */
static enum rc
table_reserve(struct topic_table *table, struct topic *topic, uint32_t count)
{
    if (table->partition_used - topic->partition_count + (uint64_t)count > table->partitions_max)
        return RC_LIMIT;
    table->partition_used -= topic->partition_count;
    topic->partition_count = 0;
    if ((uint64_t)table->partition_end + count > table->partition_capacity)
        table_compact(table);
    CHECK(table->partition_end + count <= table->partition_capacity);
    topic->partition_first = table->partition_end;
    topic->partition_count = count;
    table->partition_end += count;
    table->partition_used += count;
    return RC_OK;
}

static uint32_t
table_add(struct topic_table *table, const struct topic_snapshot *snapshot)
{
    uint32_t idx = topic_table_find(table, snapshot->name, snapshot->name_count);

    if (idx != TOPIC_NONE)
        table_forget(table, idx);
    if (table->free_count == 0)
        return TOPIC_NONE;
    idx = table->free[--table->free_count];
    struct topic *topic = &table->topics[idx];
    memset(topic, 0, sizeof(*topic));
    bytes_copy(topic->id, sizeof(topic->id), snapshot->id, sizeof(snapshot->id));
    bytes_copy(topic->name, sizeof(topic->name), snapshot->name, snapshot->name_count);
    topic->name_count = snapshot->name_count;
    topic->name_hash = (uint32_t)hash_xxh3(snapshot->name, snapshot->name_count, table->seed);
    table_insert(table, false, idx);
    table_insert(table, true, idx);
    return idx;
}

enum rc
topic_table_apply(struct topic_table *table, const struct topic_snapshot *snapshot)
{
    uint32_t idx = topic_table_find_id(table, snapshot->id);

    CHECK(snapshot->name_count > 0);
    CHECK(snapshot->name_count <= TOPIC_NAME_MAX);
    table->version++;
    if (snapshot->gone) {
        if (idx != TOPIC_NONE)
            table_forget(table, idx);
        return RC_OK;
    }
    if (idx == TOPIC_NONE)
        idx = table_add(table, snapshot);
    if (idx == TOPIC_NONE)
        return RC_LIMIT;
    struct topic *topic = &table->topics[idx];
    enum rc rc = table_reserve(table, topic, snapshot->partition_count);
    if (rc != RC_OK) {
        table_forget(table, idx);
        return rc;
    }
    topic->batch_bytes_max = snapshot->batch_bytes_max;
    topic->is_memory = snapshot->is_memory;
    topic->is_closed = snapshot->is_closed;
    for (uint32_t i = 0; i < snapshot->partition_count; i++)
        table->partitions[topic->partition_first + i] = snapshot->partitions[i];
    return RC_OK;
}
