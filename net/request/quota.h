/* Limits of clients: what control stores and tells the gates, and the bounded table that both keep.
 *
 * An entity is a client id, or the default of all that have no limit of their own. Limits are per
 * second: bytes of Produce requests, bytes of Fetch responses, and per cent of one core's time for
 * any request. A client id's own limit goes before the default's, each kind for itself (Kafka's
 * rule for client-id quotas, KIP-13, KIP-124).
 *
 *   quota_entities_init(&entities, memory, max, seed);   memory: quota_entities_footprint(max)
 *   rc = quota_entities_apply(&entities, &entity);       an entity without limits is forgotten
 *   limit = quota_entities_limit(&entities, own, QUOTA_PRODUCE);
 *
 * Owned by one core. Pure but for the caller's memory: no OS, clock or allocator. */
#ifndef EAGRE_NET_REQUEST_QUOTA_H
#define EAGRE_NET_REQUEST_QUOTA_H

#include "engine/base/bytes.h"
#include "engine/base/rc.h"

#define QUOTA_NAME_MAX 249u /* bytes of a client id that can have a limit of its own */
#define QUOTA_NONE UINT32_MAX

enum quota_kind {
    QUOTA_PRODUCE, /* bytes per second of Produce requests */
    QUOTA_FETCH,   /* bytes per second of Fetch responses */
    QUOTA_REQUEST, /* per cent of one core */
    QUOTA_KIND_COUNT
};

struct quota_entity {
    bool is_default;    /* of all client ids; name is not used */
    uint8_t set;        /* bit per enum quota_kind */
    uint8_t name_count; /* [0, QUOTA_NAME_MAX]; the empty client id is a name like others */
    char name[QUOTA_NAME_MAX + 1];
    double limits[QUOTA_KIND_COUNT]; /* > 0 where set */
};

/* What control tells every gate of, whenever an entity or the settings change; immutable, given
 * back as topic snapshots are. */
struct quota_snapshot {
    struct quota_entity entity;
    uint64_t burst_ns; /* [quota.window.size.seconds] what may come at once, in time at the limit */
    uint64_t
        pause_max_ns; /* that times [quota.window.num]: longest pause for a limit of core time */
};

struct quota_entry {
    struct quota_entity entity;
    uint32_t next; /* in its bucket, or in the free list */
    bool live;
};

struct quota_entities {
    struct quota_entry *entries; /* [entities_max] */
    uint32_t *buckets;           /* [bucket_count] */
    uint32_t bucket_count;       /* a power of two */
    uint32_t entities_max;
    uint32_t touched; /* places [touched, entities_max) were never used */
    uint32_t free;
    uint32_t count;               /* named entities */
    uint32_t version;             /* of the whole; every change counts it up */
    uint64_t seed;                /* of the hash */
    uint8_t set;                  /* kinds that any entity limits or ever limited */
    struct quota_entity fallback; /* the default; set 0: none */
};

/* All below: Runs on: the owner.  Allocates: nothing.  Blocks: never. */
size_t quota_entities_footprint(uint32_t entities_max);
/* memory: 64-byte aligned, borrowed for the table's life; only what is used is touched, but for the
 * buckets. */
void quota_entities_init(struct quota_entities *entities,
                         void *memory,
                         uint32_t entities_max,
                         uint64_t seed);

/* RC_LIMIT when one more would be too many: what quota_entities_apply() would say. */
enum rc quota_entities_check(const struct quota_entities *entities,
                             const struct quota_entity *entity) MUST_USE;
/* Replaces what is known of that entity; without limits it is forgotten. */
enum rc quota_entities_apply(struct quota_entities *entities,
                             const struct quota_entity *entity) MUST_USE;

/* The entity of that client id; NULL: it has no limits of its own. */
const struct quota_entity *quota_entities_find(const struct quota_entities *entities,
                                               struct bytes name);
/* Named entities from place *cursor on, 0 at first; NULL at the end. */
const struct quota_entity *quota_entities_next(const struct quota_entities *entities,
                                               uint32_t *cursor);

/* The limit that counts; own may be NULL. 0: none. */
double quota_entities_limit(const struct quota_entities *entities,
                            const struct quota_entity *own,
                            enum quota_kind kind);

#endif
