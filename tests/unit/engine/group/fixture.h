/* A coordinator with scripted surroundings: a clock set by hand, a log that becomes durable on
 * command, topics that have as many partitions as their name's last letter says, and the last
 * answer to every token. */
#ifndef EAGRE_TESTS_UNIT_ENGINE_GROUP_FIXTURE_H
#define EAGRE_TESTS_UNIT_ENGINE_GROUP_FIXTURE_H

#include "engine/base/bytes.h"
#include "engine/group/group.h"
#include "net/kafka/kafka_error.h"

#define FIXTURE_TOKENS 4096u
#define FIXTURE_RECORDS 65536u

/* What an answer said, kept beyond the call. */
struct fixture_answer {
    uint32_t count; /* answers to this token: must become 1 and no more */
    int16_t error;
    int32_t generation;
    char leader[128];
    char member_id[128];
    char assignment[512];
    char text[1024]; /* ConsumerGroupDescribe, ListGroups, OffsetFetch of several */
    char protocol[64];
    uint32_t member_count; /* JoinGroup: listed ones */
    bool skip_assignment;
    int16_t errors[16];  /* per item: OffsetCommit, OffsetDelete, LeaveGroup, DeleteGroups */
    int64_t offsets[16]; /* OffsetFetch */
    char metadata[16][32];
    char states[16][32]; /* DescribeGroups, ListGroups */
    uint32_t item_count;
};

struct fixture_record {
    struct bytes key;
    struct bytes value; /* at == NULL: tombstone */
};

/* For the consumer protocol; partitions 0: deleted. */
struct fixture_topic {
    const char *name;
    uint8_t id; /* all bytes of its id */
    uint32_t partitions;
};

struct fixture {
    struct fixture_topic topics[16];
    uint32_t topic_count;
    uint64_t topics_version;
    struct groups *groups;
    void *memory;
    struct groups_config config;
    struct group_time time;
    struct fixture_answer answers[FIXTURE_TOKENS];
    int16_t api[FIXTURE_TOKENS]; /* of the request with this token */
    uint64_t next_token;
    struct fixture_record records[FIXTURE_RECORDS];
    uint32_t record_count;
    uint64_t record_offset; /* number of the first record kept */
    bool log_full;
    bool auto_durable; /* records are durable at the end of each request */
    uint64_t random;
    bool is_stable_only;       /* OffsetFetch requires stable offsets */
    int16_t transaction_error; /* what the coordinator of transactions says of a commit */
    uint32_t ended_count;
    uint64_t ended_token;
    enum rc ended_rc;
    uint8_t scratch[1 << 20];
};

/* On the heap; freed with the process of the test. */
struct fixture *fixture_new(void);
struct fixture *fixture_with(const struct groups_limits *limits);
struct groups_limits fixture_limits(void);
struct bytes text(const char *text);

/* Requests; each returns its token. */
struct join {
    const char *group;
    const char *member;
    const char *instance;
    const char *client;
    const char *protocols; /* "range,roundrobin": metadata is the name followed by meta */
    const char *meta;
    const char *topics;   /* metadata is a subscription of Kafka's consumers to "a,b" instead */
    const char *type;     /* NULL: "consumer" */
    int16_t version;      /* 0: 5 */
    int32_t session_ms;   /* 0: 10,000 */
    int32_t rebalance_ms; /* 0: 60,000 */
};
uint64_t fixture_join(struct fixture *fixture, const struct join *join);
/* assignments: "member=value,member=value" or NULL. */
uint64_t fixture_sync(struct fixture *fixture,
                      const char *group,
                      const char *member,
                      int32_t generation,
                      const char *assignments);
uint64_t fixture_heartbeat(struct fixture *fixture,
                           const char *group,
                           const char *member,
                           int32_t generation);
uint64_t fixture_leave(struct fixture *fixture, const char *group, const char *member);
struct commit {
    const char *group;
    const char *member;
    int32_t generation;
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *metadata;
    int16_t version; /* 0: 8 */
};
uint64_t fixture_commit(struct fixture *fixture, const struct commit *commit);
struct txn_commit {
    int64_t producer;
    int16_t epoch;
    const char *group;
    const char *member;
    int32_t generation; /* versions below 3 have none: -1 */
    const char *topic;
    int32_t partition;
    int64_t offset;
    const char *metadata;
    int16_t version; /* 0: 3 */
};
uint64_t fixture_txn_commit(struct fixture *fixture, const struct txn_commit *commit);
/* Its token; what `ended` said is in the fixture. */
uint64_t fixture_txn_end(struct fixture *fixture, int64_t producer, int16_t epoch, bool is_commit);
uint64_t
fixture_fetch(struct fixture *fixture, const char *group, const char *topic, int32_t partition);
uint64_t fixture_describe(struct fixture *fixture, const char *group);
uint64_t fixture_delete(struct fixture *fixture, const char *group);
uint64_t fixture_delete_offset(struct fixture *fixture,
                               const char *group,
                               const char *topic,
                               int32_t partition);

/* Consumer protocol. */
struct beat {
    const char *group;
    const char *member;
    const char *instance;
    const char *names; /* "a,b"; NULL: unchanged */
    const char *regex;
    const char *assignor;
    const char *owned; /* "a:0,1;b:2" with topics of the fixture; "": nothing; NULL: not said */
    int32_t epoch;
    int32_t rebalance_ms; /* 0: not said */
    int16_t version;      /* 0: 1 */
};
/* The answer has the epoch as its generation, and the assignment in the form of `owned`, or "-". */
uint64_t fixture_beat(struct fixture *fixture, const struct beat *beat);

/* One line for the group, one for each member; in `text`. */
const struct fixture_answer *fixture_describe_consumers(struct fixture *fixture, const char *group);

/* The groups as text: id/state/type/protocol type each; lists of names "a,b" or NULL. */
const char *fixture_list_groups(struct fixture *fixture, const char *states, const char *types);

/* All offsets of the groups "a,b": group topic/partition=offset ... each. */
const char *fixture_fetch_groups(struct fixture *fixture, const char *groups);

/* The answer to a token; it must have been given exactly once. */
const struct fixture_answer *fixture_answer(const struct fixture *fixture, uint64_t token);
bool fixture_is_parked(const struct fixture *fixture, uint64_t token);
void fixture_durable(struct fixture *fixture, enum rc rc);
/* Lets time pass in steps of at most a second, with ticks where they are due. */
void fixture_pass(struct fixture *fixture, uint64_t ms);
/* A second coordinator with the records of the first. */
struct fixture *fixture_restart(const struct fixture *fixture);

/* One member that joined alone and has its assignment; its id. */
const char *fixture_stable(struct fixture *fixture, const char *group, int32_t *ret_generation);

#endif
