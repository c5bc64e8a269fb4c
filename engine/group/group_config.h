/* What the group coordinator is given at its start: limits, and what it asks of its owner. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_CONFIG_H
#define EAGRE_ENGINE_GROUP_GROUP_CONFIG_H

#include "engine/base/bytes.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"
#include "net/kafka/kafka_message.h"

/* The names in brackets are those of settings.def. */
struct groups_limits {
    uint32_t groups_max;  /* [group.groups_max] */
    uint32_t members_max; /* [group.members_max] of all groups together */
    uint32_t size_max;    /* [group.max.size] members of one group */
    uint32_t offsets_max; /* [group.offsets_max] offsets of all groups together, committed ones and
                             those of open transactions */
    uint32_t transactions_max; /* [group.transactions_max] open ones that have offsets here */
    uint32_t
        consumer_topics_max; /* [group.topics_max] that members of the consumer protocol name */
    uint32_t consumer_partitions_max; /* [group.consumer.partitions_max] that one group consumes */
    uint64_t consumer_session_ns;     /* [group.consumer.session.timeout.ms] */
    int32_t consumer_heartbeat_ms;    /* [group.consumer.heartbeat.interval.ms] told to members */
    uint64_t memory_bytes; /* [group.memory_bytes] texts, subscriptions, assignments; multiple of 4
                              KiB */
    uint32_t metadata_bytes_max; /* [offset.metadata.max.bytes] of one committed offset */
    uint64_t session_min_ns;     /* [group.min.session.timeout.ms] */
    uint64_t session_max_ns;     /* [group.max.session.timeout.ms] */
    uint64_t initial_delay_ns;   /* [group.initial.rebalance.delay.ms] */
    int64_t retention_ms; /* [offsets.retention.minutes] of a group without members; -1: for ever */
};

struct group_topic_info {
    uint8_t id[16];
    struct bytes name; /* valid for the call */
    uint32_t partition_count;
};

/* What the coordinator asks of its owner. None of these may call back into it. */
struct groups_hooks {
    void *ctx;
    /* response: the struct of the request's API, borrowed for the call. */
    void (*answer)(void *ctx, uint64_t token, const void *response);
    /* A record for the group log; value.at == NULL: a tombstone. Gives the number that
     * groups_durable() will name, ascending. False: no room now, nothing was taken. */
    bool (*append)(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number);
    /* Partitions of a topic, 0: unknown. */
    uint32_t (*partition_count)(void *ctx, struct bytes topic);
    /* For the consumer protocol: a topic that clients can see; false: none. All of them, from
     * *cursor (0 at first) on, without the broker's own; false at the end. A number that is another
     * one whenever a topic came, grew or went. */
    bool (*topic)(void *ctx, struct bytes name, struct group_topic_info *ret);
    bool (*next_topic)(void *ctx, uint32_t *cursor, struct group_topic_info *ret);
    uint64_t (*topics_version)(void *ctx);
    /* Memory for one response, valid until answered. */
    struct kafka_arena (*scratch)(void *ctx);
    uint64_t (*draw)(void *ctx); /* random numbers, not secrets */
    /* Whether this transaction is open and has this group among its parts: 0, or the Kafka error
     * that refuses the commit. Without it (NULL) only the epochs of offsets that wait here are
     * compared, and what a zombie commits after the end of its transaction waits for the next. */
    int16_t (*check_transaction)(void *ctx, const struct kafka_txn_offset_commit_request *request);
    /* Answers groups_end_transaction(); NULL where nobody calls that. */
    void (*ended)(void *ctx, uint64_t token, enum rc rc);
};

/* The end of a transaction, for the offsets that it has here. */
struct group_transaction_end {
    uint64_t token; /* the caller's; given back to `ended` */
    int64_t producer_id;
    int16_t producer_epoch; /* also ends what an earlier epoch left; a later one's stays */
    bool is_commit;
};

struct groups_config {
    struct groups_limits limits;
    struct groups_hooks hooks;
    uint64_t hash_seed;
};

#endif
