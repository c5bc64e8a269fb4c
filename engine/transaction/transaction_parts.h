/* The structs of an id, its partitions and the requests that wait. See transaction_inner.h. */
#ifndef EAGRE_ENGINE_TRANSACTION_TRANSACTION_PARTS_H
#define EAGRE_ENGINE_TRANSACTION_TRANSACTION_PARTS_H

#include "engine/transaction/transaction.h"

#define TRANSACTION_TOPIC_BYTES_MAX 249u
#define TRANSACTION_BATCH_MAX 64u /* transactions in one AddPartitionsToTxn (brokers only) */

/* What is under way for an id; while anything is, its requests are told to come again. */
enum transaction_step {
    STEP_NONE,
    STEP_ID,       /* waits for a producer id */
    STEP_INIT,     /* record of the new producer */
    STEP_ADD,      /* record with more partitions */
    STEP_ADMIT,    /* partitions are told of it */
    STEP_PREPARE,  /* record of the decision */
    STEP_MARK,     /* partitions get their markers; then the record of the end is offered */
    STEP_COMPLETE, /* record of the end */
    STEP_EXPIRE,   /* tombstone */
};

/* What ends a transaction. */
enum transaction_cause { CAUSE_ASKED, CAUSE_FENCED, CAUSE_EXPIRED };

enum order_state {
    ORDER_NONE,
    ORDER_DUE,   /* to be sent */
    ORDER_OUT,   /* sent, not answered */
    ORDER_LATER, /* refused for now; DUE when the transaction's retry_ns has come */
};

struct transaction_partition {
    uint32_t transaction;
    uint32_t partition;
    uint32_t after;   /* in the transaction's list */
    uint32_t next;    /* in its bucket */
    uint8_t order;    /* enum order_state */
    bool is_new;      /* its record is not durable yet */
    bool is_admitted; /* its log tile knows of the transaction */
    uint8_t topic_count;
    uint8_t topic[TRANSACTION_TOPIC_BYTES_MAX];
};

/* Who a transactional id belongs to. */
struct transaction_producer {
    int64_t id;         /* -1: none yet */
    int64_t last_id;    /* before the epochs were exhausted, -1: none */
    int16_t epoch;      /* -1: none yet */
    int16_t last_epoch; /* of the request that gave epoch, -1: it named none (KIP-360) */
    int32_t timeout_ms;
};

/* A request that came while its transaction's markers were on the way: it goes on when the end is
 * stored, so that a producer need not come again for its next transaction. */
struct transaction_parked {
    int16_t api; /* 0: nobody */
    int16_t version;
    uint32_t batch_item;
    uint64_t token; /* ADD_PARTITIONS: index of its batch + 1 */
    const void *request;
    uint64_t until_ns; /* then it is told CONCURRENT_TRANSACTIONS */
};

struct transaction {
    uint8_t state;      /* enum transaction_state */
    uint8_t step;       /* enum transaction_step */
    uint8_t next_state; /* PREPARE: what is being decided */
    uint8_t cause;      /* enum transaction_cause of it */
    bool is_used;
    bool is_queued;
    int16_t asker_version;
    int16_t asker_api;    /* who waits, with asker_token */
    int16_t admit_error;  /* ADMIT: first refusal */
    uint64_t asker_token; /* 0: nobody; ADD_PARTITIONS: index of its batch + 1 */
    uint32_t batch_item;
    uint32_t next;       /* in its bucket */
    uint32_t queue_next; /* of those with something to send */
    uint32_t wait_next;  /* of those that wait for a record */
    uint32_t partition_first;
    uint32_t partition_last;
    uint32_t partition_count;
    uint32_t orders_left;
    uint64_t wait_number;
    uint64_t deadline_ns; /* ONGOING: it has lasted too long */
    uint64_t retry_ns;    /* NO_DEADLINE: nothing to repeat */
    int64_t start_ms;     /* -1: no transaction */
    int64_t update_ms;
    struct transaction_parked parked;
    struct transaction_producer producer;
    struct transaction_producer next_producer; /* INIT, PREPARE: when the record is durable */
    uint32_t id_count;
    uint8_t id[TRANSACTION_ID_BYTES_MAX];
};

/* An AddPartitionsToTxn under way: answered when each of its transactions has its result. */
struct transaction_batch {
    uint64_t token;
    const struct kafka_add_partitions_to_txn_request *request;
    int16_t version;
    uint32_t left;
    int16_t errors[TRANSACTION_BATCH_MAX]; /* or ADD_BY_PARTITION */
};

#endif
