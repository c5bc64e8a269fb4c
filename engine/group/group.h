/* The group coordinator: consumer groups of both protocols and their committed offsets.
 *
 * A pure state machine over requests, time, and records of the group log. It writes no file and
 * answers no socket: records go out by `append`, and what must not be told before a record is
 * durable waits until groups_durable() says so; every request is answered exactly once by `answer`,
 * at once or later. The same records, replayed, give the same groups and offsets after a crash.
 *
 *                  join                    all joined, or time             leader's Sync durable
 *   EMPTY ───────────────────► PREPARING ───────────────────► COMPLETING ───────────────────►
 * STABLE ▲                         ▲  ▲ │ nobody left                 │ join, leave, time │
 *     └─────────────────────────┼──┼─┘◄────────────────────────────┘                             │
 *                               │  └──────────── join, leave, death of a member ─────────────────┘
 *   DEAD: deleted while requests were under way
 *
 * Groups of the consumer protocol (KIP-848) are EMPTY, RECONCILING or STABLE; how their members
 * move is drawn in group_consumer.h. An empty group turns into the other kind with the first member
 * that asks for it; a group with members refuses those of the other protocol.
 *
 * Requests are the structs of net/kafka; they and what they borrow stay valid until answered.
 * Source of the rules: Kafka's protocol as in KIP-62, 345, 394, 559, 709, 800; behaviour of Kafka
 * 3.9. Owned by control's thread.
 * All calls: Runs on: control's thread.  Allocates: from its own memory.  Blocks: never. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_H
#define EAGRE_ENGINE_GROUP_GROUP_H

#include "engine/group/group_config.h"

enum group_state {
    GROUP_EMPTY,      /* no members; offsets may be there */
    GROUP_PREPARING,  /* members are (re)joining */
    GROUP_COMPLETING, /* a generation is formed; the leader's assignment is awaited or being stored
                       */
    GROUP_STABLE,
    GROUP_DEAD,
    GROUP_RECONCILING, /* consumer protocol: members are on their way to their targets */
    GROUP_STATES,
};

/* Who asks. */
struct group_call {
    uint64_t token;
    int16_t version;
    struct bytes client_id;
    struct bytes client_host;
};

/* Never go back; read by control only. */
struct groups_counters {
    uint64_t joins;
    uint64_t rebalances_joined;  /* begun because a member came or changed */
    uint64_t rebalances_left;    /* ... said goodbye */
    uint64_t rebalances_expired; /* ... was silent, or did not rejoin or sync in time */
    uint64_t generations;        /* completed rebalances */
    uint64_t commits;            /* offsets committed */
    uint64_t commits_refused;
    uint64_t offsets_expired;
    uint64_t limits_reached;
};

struct groups;

uint64_t groups_footprint(const struct groups_limits *limits);
/* memory: groups_footprint() bytes, 4 KiB aligned, all zero, borrowed for ever. */
enum rc groups_init(void *memory,
                    const struct groups_config *config,
                    struct groups **ret_groups,
                    struct diag_trail *trail) MUST_USE;

/* Takes over what may change at run time: size_max, metadata_bytes_max, the times. */
void groups_retune(struct groups *groups, const struct groups_limits *limits);

/* ---- requests; now_ns is the clock's, wall_ms goes into records */
struct group_time {
    uint64_t now_ns;
    int64_t wall_ms;
};

void groups_join(struct groups *groups,
                 const struct group_call *call,
                 const struct kafka_join_group_request *request,
                 struct group_time time);
void groups_sync(struct groups *groups,
                 const struct group_call *call,
                 const struct kafka_sync_group_request *request,
                 struct group_time time);
void groups_heartbeat(struct groups *groups,
                      const struct group_call *call,
                      const struct kafka_heartbeat_request *request,
                      struct group_time time);
void groups_leave(struct groups *groups,
                  const struct group_call *call,
                  const struct kafka_leave_group_request *request,
                  struct group_time time);
void groups_consumer_heartbeat(struct groups *groups,
                               const struct group_call *call,
                               const struct kafka_consumer_group_heartbeat_request *request,
                               struct group_time time);
void groups_consumer_describe(struct groups *groups,
                              const struct group_call *call,
                              const struct kafka_consumer_group_describe_request *request);
void groups_commit(struct groups *groups,
                   const struct group_call *call,
                   const struct kafka_offset_commit_request *request,
                   struct group_time time);
/* TxnOffsetCommit: the offsets wait for the end of the transaction; answered when that is durable.
 */
void groups_commit_transaction(struct groups *groups,
                               const struct group_call *call,
                               const struct kafka_txn_offset_commit_request *request,
                               struct group_time time);
/* Makes all offsets that the producer's transaction left in any group committed ones, or drops
 * them, by one record. `ended` is told exactly once, at once (nothing waits here: repeating an end
 * after a crash does no harm) or when the record is durable; another rc than RC_OK: nothing has
 * changed, ask again (RC_AGAIN: no room in the log's buffer now). To be called when the decision
 * is durable, before the transaction counts as completed; a restarted coordinator repeats it for
 * each transaction whose decision it finds and whose completion it does not. May be called only
 * while the group log is loaded. */
void groups_end_transaction(struct groups *groups,
                            const struct group_transaction_end *end,
                            struct group_time time);
void groups_fetch_offsets(struct groups *groups,
                          const struct group_call *call,
                          const struct kafka_offset_fetch_request *request);
void groups_delete_offsets(struct groups *groups,
                           const struct group_call *call,
                           const struct kafka_offset_delete_request *request);
void groups_describe(struct groups *groups,
                     const struct group_call *call,
                     const struct kafka_describe_groups_request *request);
void groups_list(struct groups *groups,
                 const struct group_call *call,
                 const struct kafka_list_groups_request *request);
void groups_delete(struct groups *groups,
                   const struct group_call *call,
                   const struct kafka_delete_groups_request *request);

/* ---- the log */

/* All records up to this number are durable, or, with another rc than RC_OK, will never be: what
 * waits for them is answered so. */
void groups_durable(struct groups *groups, uint64_t number, enum rc rc, struct group_time time);
/* One record of the log, before any request. RC_OK (also for keys of other kinds, which are
 * skipped), RC_CORRUPT, RC_NO_MEMORY or RC_LIMIT (cause in trail). */
enum rc groups_replay(struct groups *groups,
                      struct bytes key,
                      struct bytes value,
                      struct diag_trail *trail) MUST_USE;
/* After the last groups_replay(): members get their session time-out from now on. */
void groups_loaded(struct groups *groups, struct group_time time);
/* Appends every live record again, from *cursor (0 at first) on, as long as `append` takes them.
 * True: all are out. What changed meanwhile was appended by itself, later in the log. */
bool groups_rewrite(struct groups *groups, uint64_t *cursor, struct group_time time) MUST_USE;

/* Answers every parked Join and Sync with COORDINATOR_NOT_AVAILABLE: the server is about to stop.
 */
void groups_unpark(struct groups *groups);

/* ---- time */

/* Time-outs of members and rebalances, expiry of offsets. */
void groups_tick(struct groups *groups, struct group_time time);
/* When groups_tick() has something to do; UINT64_MAX: never. */
uint64_t groups_deadline(const struct groups *groups);

/* ---- views */
const struct groups_counters *groups_counters(const struct groups *groups);
uint32_t groups_count(const struct groups *groups, enum group_state state);
uint64_t groups_memory_used(const struct groups *groups);
/* Offsets that wait for the end of their transactions. */
uint32_t groups_pending_offsets(const struct groups *groups);
const char *group_state_name(enum group_state state);

struct group_view {
    struct bytes id;
    enum group_state state;
    int32_t generation;
    uint32_t member_count;
    uint32_t offset_count;
};
/* Visits the groups from place *cursor (0 at first) on; false at the end. */
bool groups_next(const struct groups *groups, uint32_t *cursor, struct group_view *ret);
struct group_offset_view {
    struct bytes topic;
    uint32_t partition;
    int64_t offset;
    int64_t commit_ms;
};
/* Visits the committed offsets of the group that groups_next() gave last, from *cursor (UINT32_MAX
 * at first) on. */
bool groups_next_offset(const struct groups *groups,
                        struct bytes group_id,
                        uint32_t *cursor,
                        struct group_offset_view *ret);

struct group_member_view {
    struct bytes id;
    struct bytes instance; /* at NULL: not a static member */
    struct bytes client_id;
    struct bytes client_host;
};
/* The same for its members; those that only have an id are left out. */
bool groups_next_member(const struct groups *groups,
                        struct bytes group_id,
                        uint32_t *cursor,
                        struct group_member_view *ret);

#endif
