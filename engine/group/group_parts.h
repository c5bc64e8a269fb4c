/* The smaller structs of this folder: committed offsets, their topics, answers that wait for
 * records. See group_inner.h. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_PARTS_H
#define EAGRE_ENGINE_GROUP_GROUP_PARTS_H

#include "engine/base/bytes.h"
#include "engine/group/group.h"

/* A topic that offsets are committed for. */
struct group_topic {
    struct bytes name;
    uint32_t uses;
    uint32_t next;
};

#define GROUP_OFFSET_NONE INT64_MIN

/* An offset of a group: a committed one, or one that waits for the end of a transaction. Both are
 * found by one hash; a group lists them apart. */
struct group_offset {
    uint32_t group;
    uint32_t topic;
    uint32_t partition;
    int32_t leader_epoch;
    int64_t offset; /* GROUP_OFFSET_NONE: of a transaction, and not durable yet */
    int64_t commit_ms;
    struct bytes metadata;
    uint32_t before; /* in the group's list */
    uint32_t after;
    uint32_t next; /* in its bucket */
    uint32_t txn;  /* SLAB_NONE: committed */
    uint32_t txn_before;
    uint32_t txn_after;
    uint32_t wait_count;    /* of a transaction: its records that are under way */
    uint64_t serial;        /* of its last change: the greater one stands later in the log */
    uint64_t record_number; /* of the last record about it; above durable_number: under way */
};

/* A transaction that has offsets here; it goes with the last of them. */
struct group_txn {
    int64_t producer_id;
    int16_t producer_epoch;
    bool is_ending;      /* its end is a record under way */
    bool ends_in_commit; /* which this one is */
    uint32_t first;      /* offset */
    uint32_t next;       /* in its bucket */
};

/* An answer that waits for a record. */
enum group_wait_kind {
    GROUP_WAIT_SYNC,
    GROUP_WAIT_COMMIT,
    GROUP_WAIT_DELETE,
    GROUP_WAIT_DELETE_OFFSETS,
    GROUP_WAIT_TXN_COMMIT,
    GROUP_WAIT_TXN_END,
    GROUP_WAIT_CONSUMER,
};
struct group_wait {
    uint64_t number;
    uint64_t token;
    const void *request;
    uint8_t kind; /* enum group_wait_kind */
    int16_t version;
    uint32_t group;    /* SLAB_NONE: none, or several */
    uint32_t promised; /* COMMIT: places in the table of offsets kept for it */
    int16_t *errors;   /* [error_count] per item, in the request's order */
    uint32_t error_count;
    uint32_t next;
    int64_t wall_ms;
    struct group_transaction_end end; /* TXN_END */
    /* CONSUMER: who is answered, in memory of the group heap */
    struct bytes member_id;
    uint64_t member_serial;
    int32_t leave_epoch; /* below 0: it said goodbye */
    bool with_assignment;
};

struct group;
struct groups;
struct group_offset_new;

/* Whose offsets shall be committed. */
struct commit_who {
    struct bytes group_id;
    struct bytes member_id;
    struct bytes instance;
    int32_t generation;
    int16_t version;
    bool is_transactional;
};
/* group_commit.c: whether this caller may commit in this group now; 0 or a Kafka error. *ret_group
 * is the group, made if need be, with 0 only. */
int16_t commit__check(struct groups *groups,
                      struct group **ret_group,
                      const struct commit_who *who,
                      struct group_time time);
/* A place in the table of offsets for one more. */
bool commit__has_place(struct groups *groups, uint32_t promised);

/* group_transaction.c */
/* The offset of a partition that a transaction has here; NULL: none. SLAB_NONE: of any. */
struct group_offset *pending__find(const struct groups *groups,
                                   const struct group *group,
                                   struct bytes topic,
                                   uint32_t partition,
                                   uint32_t txn);
struct group_txn *txn__find(const struct groups *groups, int64_t producer_id);
/* Takes a removed offset out of its transaction, which goes with its last one. */
void txn__unlink(struct groups *groups, struct group_offset *offset);
/* Replay: an offset of a transaction. False: a limit is reached. */
bool pending__replay(struct groups *groups,
                     struct group *group,
                     const struct group_transaction_end *whose,
                     const struct group_offset_new *new) MUST_USE;
/* Makes the offsets of a transaction committed ones, or drops them. */
void txn__apply_end(struct groups *groups, const struct group_transaction_end *end);
void pending__commit_durable(struct groups *groups, struct group_wait *wait, enum rc rc);
void txn__end_durable(struct groups *groups, struct group_wait *wait, enum rc rc);

/* group_offset.c */
struct group_offset *offset__find(const struct groups *groups,
                                  const struct group *group,
                                  struct bytes topic,
                                  uint32_t partition);
struct group_offset_new {
    struct bytes topic;
    uint32_t partition;
    int32_t leader_epoch;
    int64_t offset;
    int64_t commit_ms;
    struct bytes metadata;
};
/* False: a limit is reached. */
bool offset__set(struct groups *groups,
                 struct group *group,
                 const struct group_offset_new *new) MUST_USE;
/* txn: SLAB_NONE for a committed one. NULL: a limit is reached. */
struct group_offset *offset__add(struct groups *groups,
                                 struct group *group,
                                 const struct group_offset_new *new,
                                 uint32_t txn);
/* A transaction's offset takes the place of the committed one, or becomes it. */
void offset__settle(struct groups *groups, struct group_offset *offset);
void offset__remove(struct groups *groups, struct group_offset *offset);
struct group_topic *offset__topic(const struct groups *groups, const struct group_offset *offset);

/* Queues an answer behind a record's number. The caller made sure that waits.used < waits.count. */
void wait__add(struct groups *groups, const struct group_wait *new);
void offset__commit_durable(struct groups *groups, struct group_wait *wait, enum rc rc);
void offset__delete_durable(struct groups *groups, struct group_wait *wait, enum rc rc);

/* group_record.c; false: no room in the log's buffer now */
bool record__append_group(struct groups *groups,
                          const struct group *group,
                          uint64_t *ret_number) MUST_USE;
bool record__append_group_gone(struct groups *groups,
                               const struct group *group,
                               uint64_t *ret_number) MUST_USE;
bool record__append_offset(struct groups *groups,
                           const struct group *group,
                           const struct group_offset_new *new,
                           uint64_t *ret_number) MUST_USE;
bool record__append_offset_gone(struct groups *groups,
                                const struct group *group,
                                struct bytes topic,
                                uint32_t partition,
                                uint64_t *ret_number) MUST_USE;
/* whose: the producer; is_commit is not looked at. */
bool record__append_pending(struct groups *groups,
                            const struct group *group,
                            const struct group_transaction_end *whose,
                            const struct group_offset_new *new,
                            uint64_t *ret_number) MUST_USE;
bool record__append_txn_end(struct groups *groups,
                            const struct group_transaction_end *end,
                            uint64_t *ret_number) MUST_USE;

#endif
