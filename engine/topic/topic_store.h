/* All metadata of this broker, rebuilt from the metadata log: a pure state machine over records.
 *
 * topic_store_apply() is the only function that changes anything, and it depends on nothing but the
 * record and the state, so the same records give the same state on every start. Callers check an
 * intended record by topic_store_check(), write it to the log, and apply it when it is durable; a
 * record that does not fit the state at replay is corruption.
 *
 * Bounded tables in the caller's memory: topics_max topics, partitions_max partitions in all. A
 * topic keeps its place (idx) as long as it lives, and so does a partition; both places are reused
 * afterwards. Incarnations are not: they count up for ever, and the greatest one is known from the
 * records themselves (incarnation 1 is the metadata log, 0 none).
 *
 * Owned by one thread (control). Allocates nothing after topic_store_init().
 *
 *   topic_store_init(&store, memory, &config);            memory: topic_store_footprint(&config)
 *   for each record of the log: rc = topic_store_apply(&store, value, &trail);
 *   const struct topic *topic = topic_store_find(&store, name);
 *   uint32_t place = topic_store_partition(&store, topic, 3);
 */
#ifndef EAGRE_ENGINE_TOPIC_TOPIC_STORE_H
#define EAGRE_ENGINE_TOPIC_TOPIC_STORE_H

#include "engine/topic/topic_config.h"
#include "engine/topic/topic_record.h"

#define TOPIC_NONE UINT32_MAX
#define TOPIC_METADATA_INCARNATION UINT64_C(1)
#define TOPIC_PRODUCER_FIRST UINT64_C(1000) /* first producer id ever handed out */

struct topic {
    uint32_t idx;             /* its place in the table */
    uint32_t partition_count; /* [1, partitions_max] */
    uint8_t id[16];
    int64_t created_ms;
    uint8_t name_count;
    char name[TOPIC_NAME_MAX + 1]; /* ends with a NUL */
    struct topic_config config;    /* overrides */
    bool live;
    uint32_t next_by_name; /* chains of the two indexes; next_by_name also of the free list */
    uint32_t next_by_id;
};

struct topic_partition {
    uint64_t incarnation; /* 0: place is free */
    uint32_t topic_idx;
    uint32_t partition;
    uint32_t next; /* in its bucket, or in the free list */
};

struct topic_store_config {
    uint32_t topics_max;
    uint32_t partitions_max;
    uint32_t quota_entities_max; /* 0: 1024 */
    uint64_t hash_seed;          /* from the clock's random numbers */
};

struct topic_store {
    struct topic_store_config config;
    struct topic *topics;               /* [topics_max] */
    struct topic_partition *partitions; /* [partitions_max] */
    uint32_t *by_name;                  /* [topic_buckets] */
    uint32_t *by_id;                    /* [topic_buckets] */
    uint32_t *by_partition;             /* [partition_buckets] */
    uint32_t topic_buckets;
    uint32_t partition_buckets;
    uint32_t topic_free; /* list of places given back */
    uint32_t partition_free;
    uint32_t topics_touched; /* places [topics_touched, topics_max) were never used */
    uint32_t partitions_touched;
    uint32_t topic_count;
    uint32_t partition_count;
    uint64_t next_incarnation; /* >= 2 */
    uint64_t next_producer;
    struct quota_entities quotas; /* limits of client ids */
    struct broker_config brokers; /* run-time settings of all brokers */
    struct broker_config broker;  /* of broker_id, which goes before */
    uint32_t broker_id;           /* named last; TOPIC_RECORD_ALL_BROKERS: none was */
    bool has_cluster;
    uint8_t cluster_id[16];
    uint64_t applied_count; /* records applied */
};

size_t topic_store_footprint(const struct topic_store_config *config);
/* memory: topic_store_footprint() bytes, 64-byte aligned; borrowed for the store's life. */
void
topic_store_init(struct topic_store *store, void *memory, const struct topic_store_config *config);

/* Whether the record may be applied now: RC_OK, RC_EXISTS (name, colliding name, id), RC_NOT_FOUND
 * (no such topic), RC_LIMIT (topics_max or partitions_max), RC_INVALID (anything else that
 * contradicts the state). trail gets the reason; may be NULL. */
enum rc topic_store_check(const struct topic_store *store,
                          const struct topic_record *record,
                          struct diag_trail *trail) MUST_USE;

/* Decodes and applies one record of the log. Nothing is changed unless RC_OK. As
 * topic_store_check(), and RC_CORRUPT, RC_NEWER_FORMAT of the decoding. */
enum rc
topic_store_apply(struct topic_store *store, struct bytes value, struct diag_trail *trail) MUST_USE;

/* By exact name; NULL when there is none. */
const struct topic *topic_store_find(const struct topic_store *store, struct bytes name);
/* The topic whose name equals or collides with name ('.' and '_'); NULL when there is none. */
const struct topic *topic_store_find_colliding(const struct topic_store *store, struct bytes name);
/* By id [16]; NULL when there is none. */
const struct topic *topic_store_find_id(const struct topic_store *store, const uint8_t *id);
/* The live topic with the least idx >= from, or NULL: for (t = next(s, 0); t; t = next(s, t->idx +
 * 1)). */
const struct topic *topic_store_next(const struct topic_store *store, uint32_t from);
/* Place of a partition in store->partitions, or TOPIC_NONE. */
uint32_t topic_store_partition(const struct topic_store *store,
                               const struct topic *topic,
                               uint32_t partition);

#endif
