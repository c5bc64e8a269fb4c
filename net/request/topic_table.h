/* A door tile's own copy of what exists: topic name or id -> partitions and limits.
 *
 * Filled by the control tile's snapshots (net/request/topic_snapshot.h); read for every Produce and
 * Fetch. Two open-addressed hash tables with linear probing, seeded so that chosen names cannot
 * collide on purpose, over one array of topics; partition references of all topics lie in one arena
 * that is compacted when its end is reached. Owned by one core; memory is given once.
 *
 * Limits: topics_max topics, partitions_max partitions in all; a snapshot beyond them is refused
 * and the topic stays unknown. */
#ifndef EAGRE_NET_REQUEST_TOPIC_TABLE_H
#define EAGRE_NET_REQUEST_TOPIC_TABLE_H

#include "net/request/topic_snapshot.h"

#define TOPIC_NONE UINT32_MAX

struct topic {
    uint8_t id[16];
    uint32_t partition_first; /* in topic_table.partitions */
    uint32_t partition_count;
    uint32_t batch_bytes_max;
    uint32_t name_hash; /* low half of the seeded hash, to skip most comparisons */
    bool is_closed;     /* producers are refused */
    bool is_memory;     /* eagre.durability = memory */
    uint8_t name_count;
    char name[TOPIC_NAME_MAX + 1];
};

struct topic_table {
    struct topic *topics;             /* [topics_max] */
    uint32_t *free;                   /* [topics_max]: indexes of unused topics, newest last */
    uint32_t *by_name;                /* [bucket_count]: topic index or TOPIC_NONE */
    uint32_t *by_id;                  /* [bucket_count] */
    struct partition_ref *partitions; /* [partition_capacity] */
    uint32_t topics_max;
    uint32_t partitions_max;
    uint32_t partition_capacity; /* twice partitions_max: what compaction costs is spread out */
    uint32_t partition_end;      /* first never used place of the arena */
    uint32_t partition_used;     /* references that belong to a topic */
    uint32_t free_count;
    uint32_t bucket_mask;
    uint64_t seed;
    uint64_t version; /* changes with every change of the table; what is cached elsewhere is checked
                         against it */
};

/* Bytes that topic_table_init() needs. topics_max [1, 2^20], partitions_max [1, 2^24]. */
size_t topic_table_footprint(uint32_t topics_max, uint32_t partitions_max);

/* memory: topic_table_footprint() bytes, 64-byte aligned, borrowed for the table's life. seed:
 * random. Runs on: start-up.  Allocates: nothing.  Blocks: never. */
void topic_table_init(struct topic_table *table,
                      void *memory,
                      uint32_t topics_max,
                      uint32_t partitions_max,
                      uint64_t seed);

/* Takes over what a snapshot says: a new topic, new partitions of a known one, or its end. A new
 * topic under a known name (it was deleted and made again) replaces the old one.
 *
 * snapshot   Borrowed for the call.
 *
 * Returns RC_OK, or RC_LIMIT when topics_max or partitions_max is reached: the topic is then
 * unknown here. Runs on: the owner.  Allocates: nothing.  Blocks: never. */
enum rc topic_table_apply(struct topic_table *table,
                          const struct topic_snapshot *snapshot) MUST_USE;

/* Index of the topic of that name, or TOPIC_NONE. name_count may be anything; names longer than
 * TOPIC_NAME_MAX are unknown. */
uint32_t topic_table_find(const struct topic_table *table, const void *name, size_t name_count);
/* Index of the topic of that id [16], or TOPIC_NONE. */
uint32_t topic_table_find_id(const struct topic_table *table, const uint8_t *id);

static ALWAYS_INLINE const struct topic *
topic_table_at(const struct topic_table *table, uint32_t idx)
{
    return &table->topics[idx];
}

/* Where a partition of a topic lives, or NULL when it has no such partition. Good until the next
 * topic_table_apply(). */
static ALWAYS_INLINE const struct partition_ref *
topic_table_partition(const struct topic_table *table, uint32_t topic_idx, int32_t partition)
{
    const struct topic *topic = &table->topics[topic_idx];

    if (partition < 0 || (uint32_t)partition >= topic->partition_count)
        return NULL;
    return &table->partitions[topic->partition_first + (uint32_t)partition];
}

#endif
