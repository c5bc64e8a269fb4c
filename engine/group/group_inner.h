/* What the files of this folder share.
 *
 * What stands in which file is told by the README. The smaller structs are in group_parts.h.
 * Indexes are 32 bits with SLAB_NONE for "none". */
#ifndef EAGRE_ENGINE_GROUP_GROUP_INNER_H
#define EAGRE_ENGINE_GROUP_GROUP_INNER_H

#include "engine/base/check.h"
#include "engine/base/diag.h"
#include "engine/base/hash.h"
#include "engine/group/group.h"
#include "engine/group/group_heap.h"
#include "engine/group/group_consumer.h"
#include "engine/group/group_parts.h"
#include "engine/pool/slab.h"
#include "net/kafka/kafka_error.h"

#define GROUP_NEW_MEMBER_NS \
    (300 * NS_PER_S) /* a member that waits in its first join may be silent so long */
#define GROUP_TICK_NS (100 * NS_PER_MS) /* how exact time-outs are */
#define GROUP_EXPIRY_NS (60 * NS_PER_S) /* how often expired offsets are looked for */
#define GROUP_ID_BYTES_MAX 1024u
#define GROUP_TEXT_BYTES_MAX 1024u /* instance and client ids; longer ones are refused or cut */
#define GROUP_RECORD_BYTES_MAX (1u << 20)

enum group_flags { GROUP_DELAYED = 1, GROUP_NEWCOMER = 2 }; /* see group_rebalance.c */

struct group {
    struct bytes id;
    uint8_t state;      /* enum group_state */
    uint8_t flags;      /* enum group_flags */
    uint8_t kind;       /* enum group_kind */
    int32_t generation; /* consumer: the group's epoch */
    /* of the consumer protocol */
    uint8_t assignor;        /* enum consumer_assignor: whose targets there are */
    bool needs_targets;      /* with the next heartbeat */
    uint64_t topics_version; /* when subscriptions were looked up last */
    uint64_t topics_hash;    /* of what the targets were made from */
    struct bytes protocol_type;
    struct bytes protocol; /* chosen one */
    uint32_t leader;       /* member index */
    uint32_t member_first; /* in the order of joining */
    uint32_t member_last;
    uint32_t member_count;  /* without pending ones */
    uint32_t pending_count; /* have an id, did not join with it yet */
    uint32_t joined_count;  /* members whose Join is parked */
    uint32_t offset_first;
    uint32_t offset_count;
    uint32_t pending_first; /* offsets of open transactions */
    uint32_t
        wait_count; /* answers that wait for a record of this group; while any does, it stays */
    uint64_t
        deadline_ns; /* nearest time-out of the group or a member; never later than the truth */
    uint64_t step_deadline_ns; /* PREPARING: stop waiting for joins; COMPLETING: for syncs */
    uint64_t delay_end_ns;     /* GROUP_DELAYED: longest that joins are collected */
    uint64_t sync_number;      /* record of the assignment under way; 0: none */
    int64_t state_ms;          /* wall time of the last change to EMPTY or generation */
    uint32_t next;             /* in its bucket */
};

enum member_flags {
    MEMBER_PENDING = 1, /* only the id was given out */
    MEMBER_STATIC = 2,
    MEMBER_NEWCOMER = 4, /* waits in its first join */
};

struct member {
    uint32_t group;
    uint32_t before; /* in the group's order */
    uint32_t after;
    uint32_t next; /* in its bucket */
    uint8_t flags; /* enum member_flags */
    int16_t join_version;
    int16_t sync_version;
    bool synced;         /* said Sync in this generation */
    uint64_t join_token; /* parked Join; 0: none */
    uint64_t sync_token;
    uint64_t session_ns;
    uint64_t rebalance_ns;
    uint64_t deadline_ns; /* of its session */
    struct bytes id;
    struct bytes instance;
    struct bytes client_id;
    struct bytes client_host;
    /* Protocols in the member's order of preference, as on the wire: u16 length and name, u32
     * length and metadata. */
    struct bytes protocols;
    struct bytes assignment;
    uint64_t serial; /* never reused */
    struct consumer consumer;
};

struct groups {
    struct groups_config config;
    struct slab groups;
    struct slab members;
    struct slab topics;
    struct slab offsets;
    struct slab waits;
    struct slab txns;
    struct slab ctopics;
    uint32_t *group_buckets; /* [group_mask + 1] */
    uint32_t *member_buckets;
    uint32_t *topic_buckets;
    uint32_t *offset_buckets;
    uint32_t *txn_buckets;
    uint32_t *ctopic_buckets;
    uint32_t group_mask;
    uint32_t member_mask;
    uint32_t topic_mask;
    uint32_t offset_mask;
    uint32_t txn_mask;
    uint32_t ctopic_mask;
    struct buddy pool;
    struct group_heap heap;
    uint32_t wait_first; /* in the order of their numbers */
    uint32_t wait_last;
    uint32_t state_counts[GROUP_STATES];
    uint64_t deadline_ns; /* nearest of all groups; never later than the truth */
    uint64_t expiry_ns;
    uint32_t offsets_promised; /* to commits that are not durable yet */
    uint32_t pending_offsets;  /* of open transactions */
    uint64_t offset_serial;    /* of the last change of any offset */
    uint64_t durable_number;   /* as groups_durable() was told */
    uint64_t member_serial;
    uint64_t gone_number;    /* of the last tombstone of a consumer group's member */
    uint64_t *assign_parts;  /* [consumer_partitions_max] work of the consumer protocol */
    uint64_t *assign_sorted; /* the same */
    uint64_t *assign_owned;
    uint32_t *assign_owners;
    uint32_t *assign_members; /* [3 * size_max] */
    uint32_t *topic_list;     /* [consumer_topics_max] */
    uint8_t *record;          /* [GROUP_RECORD_BYTES_MAX] a record under construction */
    struct groups_counters counters;
};

static inline struct group *
group__at(const struct groups *groups, uint32_t idx)
{
    return slab_at(&groups->groups, idx);
}
static inline struct member *
member__at(const struct groups *groups, uint32_t idx)
{
    return slab_at(&groups->members, idx);
}
static inline uint32_t
group__idx(const struct groups *groups, const struct group *group)
{
    return (uint32_t)((size_t)((const uint8_t *)group - groups->groups.objects) /
                      groups->groups.object_bytes);
}
static inline uint32_t
member__idx(const struct groups *groups, const struct member *member)
{
    return (uint32_t)((size_t)((const uint8_t *)member - groups->members.objects) /
                      groups->members.object_bytes);
}
static inline bool
bytes__equal(struct bytes a, struct bytes b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.at, b.at, a.count) == 0);
}
/* A text that is written even where null is not allowed. */
static inline struct bytes
bytes__or_empty(struct bytes text)
{
    return text.at != NULL ? text : (struct bytes){(const uint8_t *)"", 0};
}
static inline void
groups__answer(struct groups *groups, uint64_t token, const void *response)
{
    groups->config.hooks.answer(groups->config.hooks.ctx, token, response);
}

/* group_table.c */
struct group *group__find(const struct groups *groups, struct bytes id);
/* NULL: a limit is reached. */
struct group *group__add(struct groups *groups, struct bytes id);
/* Frees members, offsets and the group itself. */
void group__remove(struct groups *groups, struct group *group);
void group__move(struct groups *groups, struct group *group, enum group_state next);
struct member *
member__find(const struct groups *groups, const struct group *group, struct bytes id);
struct member *member__find_instance(const struct groups *groups,
                                     const struct group *group,
                                     struct bytes instance);
struct member_new {
    struct bytes id;
    struct bytes instance;
    struct bytes client_id;
    struct bytes client_host;
    uint64_t session_ns;
    uint64_t rebalance_ns;
    bool pending;
};
/* NULL: a limit is reached. Not yet joined. */
struct member *
member__add(struct groups *groups, struct group *group, const struct member_new *new);
void member__remove(struct groups *groups, struct member *member);
/* Gives it another id, under which alone it is found from now on. False: no memory. */
bool member__rename(struct groups *groups, struct member *member, struct bytes id) MUST_USE;
/* Makes sure that the group is looked at when this time has come. */
void group__wake(struct groups *groups, struct group *group, uint64_t at_ns);
void member__heard(struct groups *groups, struct member *member, uint64_t now_ns);
void member__unpark_join(struct groups *groups, struct member *member, int16_t error);
void member__unpark_sync(struct groups *groups, struct member *member, int16_t error);

/* The metadata of a member for a protocol; at == NULL: it does not know it. */
struct bytes member__protocol(const struct member *member, struct bytes name);
/* The next (name, metadata) of a member's list, from *at (0 at first) on. */
bool member__next_protocol(const struct member *member,
                           size_t *at,
                           struct bytes *ret_name,
                           struct bytes *ret_metadata);

/* group_rebalance.c */
void group__rebalance(struct groups *groups,
                      struct group *group,
                      enum group_cause cause,
                      struct group_time time);
/* Ends PREPARING when nobody is missing. */
void group__try_complete(struct groups *groups, struct group *group, struct group_time time);
void group__complete(struct groups *groups, struct group *group, struct group_time time);
/* Removes a member and does what follows for the group. */
void group__drop_member(struct groups *groups,
                        struct member *member,
                        enum group_cause cause,
                        struct group_time time);
void group__answer_join(struct groups *groups, const struct group *group, struct member *member);
void group__sync_durable(struct groups *groups, struct group *group, enum rc rc, uint64_t now_ns);
/* 0 or the Kafka error of a member that asks. Writes *ret_member only with 0. */
int16_t group__check_member(const struct groups *groups,
                            const struct group *group,
                            struct bytes member_id,
                            struct bytes instance,
                            struct member **ret_member);

/* group_subscribe.c */
/* Whether a member reads the topic; true when that cannot be told: by a protocol that is not
 * chosen, or made of what is no subscription, or because *budget, the names that are compared yet,
 * came to 0. */
bool group__subscribes(const struct groups *groups,
                       const struct group *group,
                       struct bytes topic,
                       uint32_t *budget);

void group__delete_durable(struct groups *groups, struct group_wait *wait, enum rc rc);

#endif
