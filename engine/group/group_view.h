/* What a record of the group log says, as a struct: one reading for the replay and for
 * `eagre dump`. The forms are drawn in group_record.c and group_consumer_record.c.
 *
 * Pure: any thread; allocates nothing; never blocks. All bytes are borrowed from key and value. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_VIEW_H
#define EAGRE_ENGINE_GROUP_GROUP_VIEW_H

#include "engine/base/bytes.h"
#include "engine/base/rc.h"
#include "engine/group/group_record.h"

struct group_view_record {
    uint16_t kind;     /* enum record_key */
    bool is_tombstone; /* nothing but what the key names is set */
    struct bytes group;
    struct bytes topic; /* OFFSET, PENDING */
    uint32_t partition;
    struct bytes member;    /* CONSUMER_MEMBER */
    int64_t producer_id;    /* PENDING, TXN_END */
    int16_t producer_epoch; /* " */
    bool is_commit;         /* TXN_END */
    int64_t offset;         /* OFFSET, PENDING, and the next three */
    int32_t leader_epoch;
    struct bytes metadata;
    int64_t commit_ms;
    int32_t generation; /* GROUP; the epoch of CONSUMER_GROUP */
    int64_t state_ms;   /* GROUP, CONSUMER_GROUP */
    struct bytes protocol_type;
    struct bytes protocol;
    struct bytes leader;
    uint32_t member_count;
    struct reader rest; /* GROUP: member_count members; CONSUMER_MEMBER: its value */
};

/* One of a GROUP's members. */
struct group_view_member {
    struct bytes id;
    struct bytes instance;
    struct bytes client_id;
    struct bytes client_host;
    uint32_t rebalance_ms;
    uint32_t session_ms;
    struct bytes subscription;
    struct bytes assignment;
};

/* The value of a CONSUMER_MEMBER. */
struct group_view_consumer {
    struct bytes instance;
    struct bytes rack;
    struct bytes client_id;
    struct bytes client_host;
    uint32_t rebalance_ms;
    struct bytes regex;
    uint8_t assignor;
    int32_t epoch;
    int32_t previous_epoch;
    uint8_t state;
    uint32_t name_count;
    struct bytes names; /* name_count texts, one after the other */
};

/* Reads one record; ret is written wholly with RC_OK only.
 *
 * value  at NULL: a tombstone.
 *
 * RC_OK, also for a kind that nobody knows (kind is set and nothing else); RC_CORRUPT;
 * RC_NEWER_FORMAT. */
MUST_USE enum rc
group_view_read(struct bytes key, struct bytes value, struct group_view_record *ret);
/* The next member of a GROUP; false: it ends too early. */
MUST_USE bool group_view_member(struct reader *rest, struct group_view_member *ret);
/* A CONSUMER_MEMBER up to its two lists of partitions, where rest then stands; false: too short. */
MUST_USE bool group_view_consumer(struct reader *rest, struct group_view_consumer *ret);

#endif
