/* Groups of the consumer protocol (KIP-848): what their files share.
 *
 * The group has an epoch (group->generation), which rises with every change of members,
 * subscriptions or topics; with it the assignor makes every member's target. A member is moved
 * towards its target by its own heartbeats, through these states:
 *
 *            target has less of what it holds                says that it holds that no more
 *   STABLE ─────────────────────────────────────► UNREVOKED ───────────────┐
 *     ▲ │ ▲  rest of its target came free                                  │
 *     │ │ └──────────────────────── UNRELEASED ◄───────────────────────────┤
 *     │ └ target has what others still hold ─►┘                            │
 *     └────────────────────────────────────────────────────────────────────┘
 *
 * A partition is held by at most one member: it is in the `assigned` or `revoking` set of one. It
 * is given out only when nobody holds it. A member that does not give up what it shall within its
 * rebalance time-out is put out. What an answer tells is durable before. Target assignments are
 * not stored: after a start each group gets a new epoch, and the assignor keeps what members hold.
 * Source: KIP-848 and Kafka 4.x, CurrentAssignmentBuilder. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_CONSUMER_H
#define EAGRE_ENGINE_GROUP_GROUP_CONSUMER_H

#include "engine/group/group_set.h"

#define CONSUMER_EPOCH_LEAVE (-1)
#define CONSUMER_EPOCH_STATIC (-2) /* a static member is away; its partitions wait for it */

enum group_kind { GROUP_CLASSIC, GROUP_CONSUMER };

enum consumer_state {
    CONSUMER_STABLE,     /* has its target as far as its epoch knows it */
    CONSUMER_UNREVOKED,  /* was told to give partitions up */
    CONSUMER_UNRELEASED, /* waits for partitions that others hold */
    CONSUMER_STATES,
};

enum consumer_assignor {
    ASSIGNOR_NONE, /* the member has no wish */
    ASSIGNOR_UNIFORM,
    ASSIGNOR_RANGE,
    ASSIGNORS,
};

/* What a member of such a group has beyond the common. */
struct consumer {
    int32_t epoch;
    int32_t previous_epoch;
    uint8_t state;    /* enum consumer_state */
    uint8_t assignor; /* enum consumer_assignor */
    bool is_untold;   /* the member did not say yet that it holds what it was given */
    bool is_dirty;    /* memory is ahead of the log: written with the next heartbeat */
    struct bytes rack;
    struct bytes names; /* subscription: u16 length and text each, as it came */
    struct bytes regex;
    struct group_topics topics; /* what both name now */
    struct group_set assigned;
    struct group_set revoking;
    struct group_set target;
    uint64_t revoke_deadline_ns;
    uint64_t record_number; /* of its last record */
};

struct group;
struct group_wait;
struct member;
struct reader;

/* A heartbeat under way. */
struct consumer_heartbeat {
    const struct group_call *call;
    const struct kafka_consumer_group_heartbeat_request *request;
    struct group_time time;
    struct bytes member_id;
    struct group_set owned; /* what the member says that it holds; in groups->assign_owned */
    bool owns_unknown;      /* ... and what nobody knows (any more) */
    const char *why;        /* an error's text */
};
/* group_consumer_check.c; each 0 or a Kafka error */
/* What can be said without the group. */
int16_t heartbeat__check(struct consumer_heartbeat *beat);
/* Reads what the member says that it holds. False: more than a group can have. */
bool heartbeat__read_owned(struct groups *groups, struct consumer_heartbeat *beat) MUST_USE;
/* The member that speaks; made if it may be. */
int16_t heartbeat__identify(struct groups *groups,
                            struct group *group,
                            const struct consumer_heartbeat *beat,
                            struct member **ret_member);
/* Takes over what is new. False: no memory. *ret_changed is set when the assignor has to look. */
bool heartbeat__update(struct groups *groups,
                       struct member *member,
                       const struct consumer_heartbeat *beat,
                       bool *ret_changed) MUST_USE;

/* group_assign.c: targets for all members. False: no memory. */
bool consumer__assign(struct groups *groups, struct group *group) MUST_USE;
enum consumer_assignor consumer__assignor_of(struct bytes name);
const char *consumer__assignor_name(enum consumer_assignor assignor);

/* group_subscribe.c */
/* Whether the broker takes such a pattern: bounded, without back references and counts. */
bool consumer__regex_ok(struct bytes regex);
/* Looks up anew which topics a member's names and pattern mean. False: no memory. */
bool consumer__resolve(struct groups *groups, struct member *member) MUST_USE;
/* Of all that the assignor looks at in subscriptions and topics. */
uint64_t consumer__topics_hash(const struct groups *groups, const struct group *group);

/* group_reconcile.c */
/* Moves a member towards its target. owned: NULL when the member did not say. True: its epoch,
 * state or partitions changed. */
bool consumer__reconcile(struct groups *groups,
                         struct group *group,
                         struct member *member,
                         const struct group_set *owned);
/* Sets the group's state by what its members are in. */
void consumer__settle_state(struct groups *groups, struct group *group, struct group_time time);

/* group_consumer_member.c */
/* Raises the group's epoch, makes the targets, writes the group's record. False: no memory or no
 * room in the log now; the group tries again with the next heartbeat. */
bool consumer__bump(struct groups *groups, struct group *group, struct group_time time);
/* Puts a member out: its tombstone is written, its partitions are free. False: no room in the log
 * now. */
bool consumer__drop_member(struct groups *groups,
                           struct member *member,
                           enum group_cause cause,
                           struct group_time time);
void consumer__drop_parts(struct groups *groups, struct consumer *consumer);
/* Members that are silent or do not give up what they shall. */
void consumer__tick(struct groups *groups, struct group *group, struct group_time time);
/* Turns an empty group into one of the other kind. */
void group__convert(struct groups *groups, struct group *group, enum group_kind kind);

/* group_consumer.c */
void consumer__heartbeat_durable(struct groups *groups, struct group_wait *wait, enum rc rc);

/* group_consumer_describe.c: the group as DescribeGroups tells it, assignments in the form that
 * members of the classic protocol have among themselves */
void consumer__describe_classic(const struct groups *groups,
                                const struct group *group,
                                struct kafka_arena *arena,
                                struct kafka_describe_groups_response_group *ret);

/* group_consumer_record.c */
bool record__append_consumer_group(struct groups *groups,
                                   const struct group *group,
                                   uint64_t *ret_number) MUST_USE;
bool record__append_consumer_member(struct groups *groups,
                                    const struct group *group,
                                    const struct member *member,
                                    uint64_t *ret_number) MUST_USE;
bool record__append_consumer_gone(struct groups *groups,
                                  const struct group *group,
                                  const struct member *member,
                                  uint64_t *ret_number) MUST_USE;
struct group_view_record; /* group_view.h */
enum rc replay__consumer_group(struct groups *groups,
                               const struct group_view_record *view,
                               struct diag_trail *trail);
enum rc replay__consumer_member(struct groups *groups,
                                struct group_view_record *view,
                                struct diag_trail *trail);
/* After the last record: nothing is held twice, every group gets a new epoch. */
void replay__consumers_loaded(struct groups *groups, struct group *group, struct group_time time);
bool rewrite__consumer(struct groups *groups, const struct group *group);

#endif
