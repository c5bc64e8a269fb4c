/* What each client has used of its limits: one account per client id and kind, filled again as time
 * goes by. Private to net/gate.
 *
 * An account holds at most burst_ns of the limit and may go below zero: whoever uses more than
 * there is pauses until it is back at zero, so over any longer time the limit is kept exactly,
 * whatever the size of single requests. A limit is divided by the number of gates, because a gate
 * sees only its own connections.
 *
 * Bounded: clients_max client ids are told apart, by a seeded hash; the one unused for longest
 * makes room as soon as its accounts are full again. While none is, further client ids share one
 * account of the default limits, so nobody escapes by inventing names.
 *
 * Time is the caller's. Allocates nothing; never blocks. */
#ifndef EAGRE_NET_GATE_QUOTA_TABLE_H
#define EAGRE_NET_GATE_QUOTA_TABLE_H

#include "net/request/quota.h"

#define QUOTA_PAUSE_MAX_NS (3600 * NS_PER_S) /* of one answer, for a limit in bytes */

/* Who an answer is charged to. A handle outlives its client: a reused place is noticed. */
struct quota_client {
    uint32_t idx; /* QUOTA_NONE: has no limits */
    uint32_t serial;
};
#define QUOTA_CLIENT_NONE ((struct quota_client){.idx = QUOTA_NONE})

struct quota_account {
    double limit;   /* per second, bytes or nanoseconds of a core; 0: none */
    double level;   /* what may be used now; below 0: owed */
    uint64_t at_ns; /* when level was right */
};

struct quota_slot {
    uint64_t hash; /* of the client id */
    uint32_t serial;
    uint32_t version; /* of the entities that the limits were taken from */
    uint32_t next;    /* in its bucket */
    uint32_t newer;   /* in the order of use */
    uint32_t older;
    uint32_t muted; /* connections that pause for it */
    struct quota_account accounts[QUOTA_KIND_COUNT];
};

struct quota_table {
    struct quota_entities entities;
    struct quota_slot *slots; /* [clients_max + 1]; the last one is shared */
    uint32_t *buckets;        /* [bucket_count] */
    uint32_t bucket_count;
    uint32_t clients_max;
    uint32_t touched;
    uint32_t newest;
    uint32_t oldest;
    uint32_t serial;
    uint32_t share; /* gates */
    uint64_t burst_ns;
    uint64_t pause_max_ns;
    uint64_t shared_count; /* client ids that found no place of their own */
};

struct quota_table_config {
    uint32_t entities_max; /* [quota.entities_max] 1 .. 1048576 */
    uint32_t clients_max;  /* [quota.clients_max] 1 .. 1048576 */
    uint32_t share;        /* gates, >= 1 */
    uint64_t seed;
};

size_t quota_table_footprint(const struct quota_table_config *config);
/* memory: 64-byte aligned; borrowed for the table's life. */
void
quota_table_init(struct quota_table *table, void *memory, const struct quota_table_config *config);
/* Takes over what control told. RC_LIMIT: more entities than this gate has room for. */
enum rc quota_table_apply(struct quota_table *table,
                          const struct quota_snapshot *snapshot) MUST_USE;

/* False: nobody ever had a limit, and nothing need be looked up. */
static ALWAYS_INLINE bool
quota_table_is_used(const struct quota_table *table)
{
    return table->entities.set != 0;
}

/* The client of that id, or QUOTA_CLIENT_NONE when nothing limits it. A null id counts as "". */
struct quota_client
quota_table_client(struct quota_table *table, struct bytes client_id, uint64_t now_ns);
/* Its slot; NULL: none, or another one has its place now. */
struct quota_slot *quota_table_slot(struct quota_table *table, struct quota_client client);

/* Takes amount (bytes or nanoseconds) out of an account and tells how long to pause, 0: not at all.
 */
uint64_t quota_table_charge(struct quota_table *table,
                            struct quota_client client,
                            enum quota_kind kind,
                            uint64_t amount,
                            uint64_t now_ns);
/* What one answer of that kind should not exceed, so that a pause stays near burst_ns; UINT64_MAX:
 * there is no limit. */
uint64_t
quota_table_most(struct quota_table *table, struct quota_client client, enum quota_kind kind);

#endif
