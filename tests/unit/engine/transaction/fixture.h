/* A coordinator with scripted surroundings: a clock set by hand, a log that becomes durable on
 * command, partitions that answer their orders on command, topics that have as many partitions as
 * their name's last letter says, and the last answer to every token. */
#ifndef EAGRE_TESTS_UNIT_ENGINE_TRANSACTION_FIXTURE_H
#define EAGRE_TESTS_UNIT_ENGINE_TRANSACTION_FIXTURE_H

#include "engine/base/bytes.h"
#include "engine/transaction/transaction.h"
#include "net/kafka/kafka_error.h"

#define FIXTURE_TOKENS 65536u
#define FIXTURE_RECORDS 65536u
#define FIXTURE_ORDERS 4096u

/* What an answer said, kept beyond the call. */
struct fixture_answer {
    uint32_t count; /* answers to this token: must become 1 and no more */
    int16_t error;
    int64_t producer_id;
    int16_t producer_epoch;
    int16_t errors[16]; /* AddPartitionsToTxn, per partition */
    uint32_t item_count;
    char states[16][24]; /* DescribeTransactions, ListTransactions */
    int64_t start_ms;
    uint32_t unknown_count;
    uint32_t partition_count;
};

struct fixture_record {
    struct bytes key;
    struct bytes value; /* at == NULL: tombstone */
};

/* An order that was sent and not answered. */
struct fixture_order {
    struct transaction_order order;
    char topic[16];
};

struct fixture {
    struct coordinator *coordinator;
    void *memory;
    struct coordinator_config config;
    struct transaction_time time;
    struct fixture_answer answers[FIXTURE_TOKENS];
    int16_t api[FIXTURE_TOKENS]; /* of the request with this token */
    uint64_t next_token;
    struct fixture_record records[FIXTURE_RECORDS];
    uint32_t record_count;
    struct fixture_order orders[FIXTURE_ORDERS]; /* [order_count] in the order of sending */
    uint32_t order_count;
    uint64_t orders_seen; /* all that were ever sent */
    int64_t next_producer_id;
    bool log_full;
    bool no_ids;
    bool orders_busy;
    bool by_hand; /* records and orders wait for fixture_durable() and fixture_ordered() */
    uint8_t scratch[1 << 20];
};

/* On the heap; freed with the process of the test. */
struct fixture *fixture_new(void);
struct fixture *fixture_with(const struct coordinator_limits *limits);
struct coordinator_limits fixture_limits(void);
struct bytes text(const char *text);

struct producer {
    int64_t id;
    int16_t epoch;
};

/* Requests; each returns its token. Version 0 means the usual one. */
uint64_t fixture_init(struct fixture *fixture, const char *id, int32_t timeout_ms);
uint64_t fixture_init_again(struct fixture *fixture, const char *id, struct producer producer);
/* Ends what is under way and asks until there is a producer. */
struct producer fixture_producer(struct fixture *fixture, const char *id);
/* partitions: "t3:0,t3:2,u1:0". */
struct add {
    const char *id;
    struct producer producer;
    const char *partitions;
    int16_t version; /* 0: 3 */
    bool verify_only;
};
uint64_t fixture_add(struct fixture *fixture, const struct add *add);
uint64_t fixture_add_offsets(struct fixture *fixture, const char *id, struct producer producer);
uint64_t
fixture_end(struct fixture *fixture, const char *id, struct producer producer, bool commit);
uint64_t fixture_describe(struct fixture *fixture, const char *id);
uint64_t fixture_list(struct fixture *fixture,
                      const struct kafka_list_transactions_request *request);

/* The answer to a token; it must have been given exactly once. */
const struct fixture_answer *fixture_answer(const struct fixture *fixture, uint64_t token);
bool fixture_is_waiting(const struct fixture *fixture, uint64_t token);
void fixture_durable(struct fixture *fixture, enum rc rc);
/* Lets orders go out and answers all that are out. */
void fixture_ordered(struct fixture *fixture, enum rc rc);
void fixture_tick(struct fixture *fixture);
/* Durable and ordered until nothing moves. */
void fixture_settle(struct fixture *fixture);
/* Lets time pass in steps of at most a second. */
void fixture_pass(struct fixture *fixture, uint64_t ms);
/* A second coordinator with the first record_count records of the first; not settled. */
struct fixture *fixture_restart(const struct fixture *fixture, uint32_t record_count);
/* The state of an id; TRANSACTION_STATES: there is none. */
struct transaction_view fixture_view(const struct fixture *fixture, const char *id);

#endif
