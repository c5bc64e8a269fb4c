/* The transaction coordinator: which producer may write under a transactional id, what its open
 * transaction touches, and how it ends.
 *
 * A pure state machine over requests, time, and records of the transaction log. It writes no file
 * and answers no socket: records go out by `append`, what must not be told or done before a record
 * is durable waits until coordinator_durable() says so, and what partitions must be told
 * (admission, marker) goes out by `order` and comes back by coordinator_ordered(). Every request
 * is answered exactly once by `answer`, at once or later. The same records, replayed, give the same
 * transactions after a crash.
 *
 *            AddPartitions            EndTxn                         every marker is durable
 *   EMPTY ─────────────────► ONGOING ─────────► PREPARE_COMMIT ───────────────────► COMPLETE_COMMIT
 *     ▲                      │ ▲   └──────────► PREPARE_ABORT ────────────────────► COMPLETE_ABORT
 *     │    time, new producer▼ │not stored      ▲
 *     │                   EPOCH_FENCE ──────────┘
 *     └── InitProducerId ── EMPTY, COMPLETE_*      EMPTY, COMPLETE_* ── unused for long ──► DEAD
 *
 * A move is made when its record is durable; while a record or an admission is under way, requests
 * of the same id are told CONCURRENT_TRANSACTIONS; while markers are on the way, one of them waits
 * for the end instead. Source of the rules: KIP-98, 360, 447, 588, 664;
 * behaviour of Kafka 3.9 with transaction.version 1.
 *
 * Requests are the structs of net/kafka; they stay valid until answered. Owned by control's thread.
 * All calls: Runs on: control's thread.  Allocates: nothing.  Blocks: never. */
#ifndef EAGRE_ENGINE_TRANSACTION_TRANSACTION_H
#define EAGRE_ENGINE_TRANSACTION_TRANSACTION_H

#include "engine/base/bytes.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"
#include "net/kafka/kafka_message.h"

/* The topic whose partition 0 stands for the offsets of consumer groups. */
#define TRANSACTION_OFFSETS_TOPIC "__consumer_offsets"
#define TRANSACTION_ID_BYTES_MAX 1000u

/* Numbers of Kafka's TransactionLogValue. */
enum transaction_state {
    TRANSACTION_EMPTY = 0,           /* a producer, no transaction yet */
    TRANSACTION_ONGOING = 1,         /* has partitions */
    TRANSACTION_PREPARE_COMMIT = 2,  /* decided; markers are on the way */
    TRANSACTION_PREPARE_ABORT = 3,   /* decided; markers are on the way */
    TRANSACTION_COMPLETE_COMMIT = 4, /* every marker is durable */
    TRANSACTION_COMPLETE_ABORT = 5,
    TRANSACTION_DEAD = 6,        /* expired; its tombstone is being stored */
    TRANSACTION_EPOCH_FENCE = 7, /* its producer is being fenced: the abort is being stored */
    TRANSACTION_STATES,
};

/* The names in brackets are those of settings.def. */
struct coordinator_limits {
    uint32_t transactions_max; /* [transaction.ids_max] transactional ids */
    uint32_t partitions_max;   /* [transaction.partitions_max] of all transactions together */
    uint32_t size_max;         /* [transaction.size_max] partitions of one transaction */
    int32_t timeout_max_ms;    /* [transaction.max.timeout.ms] */
    int64_t expiration_ms;     /* [transactional.id.expiration.ms] -1: never */
    uint32_t orders_max;       /* unanswered admissions and markers */
};

/* What a partition must be told of a producer. */
enum transaction_order_kind {
    TRANSACTION_ADMIT,  /* it belongs to the producer's transaction now */
    TRANSACTION_MARKER, /* the transaction has ended */
};
struct transaction_order {
    enum transaction_order_kind kind;
    uint32_t ticket; /* for coordinator_ordered() */
    struct bytes topic;
    uint32_t partition;
    int64_t producer_id;
    int16_t producer_epoch;
    bool is_commit; /* MARKER */
};
enum transaction_order_result {
    TRANSACTION_ORDER_SENT, /* coordinator_ordered() will follow */
    TRANSACTION_ORDER_DONE, /* nothing to be told there: done */
    TRANSACTION_ORDER_BUSY, /* no room now: offered again by coordinator_tick() */
};

/* What the coordinator asks of its owner. None of these may call back into it. */
struct coordinator_hooks {
    void *ctx;
    /* response: the struct of the request's API, borrowed for the call. */
    void (*answer)(void *ctx, uint64_t token, const void *response);
    /* A record for the transaction log; value.at == NULL: a tombstone. Gives the number that
     * coordinator_durable() will name, ascending. False: no room now, nothing was taken. */
    bool (*append)(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number);
    /* A producer id that was never given before, -1: there will be none; false: the next ones are
     * not durable yet, asked again by coordinator_tick(). */
    bool (*producer_id)(void *ctx, int64_t *ret_id);
    enum transaction_order_result (*order)(void *ctx, const struct transaction_order *order);
    /* Partitions of a topic, 0: unknown. */
    uint32_t (*partition_count)(void *ctx, struct bytes topic);
    /* Memory for one response, valid until answered. */
    struct kafka_arena (*scratch)(void *ctx);
};

struct coordinator_config {
    struct coordinator_limits limits;
    struct coordinator_hooks hooks;
    uint64_t hash_seed;
};

/* Who asks. */
struct transaction_call {
    uint64_t token;
    int16_t version;
};

struct transaction_time {
    uint64_t now_ns;
    int64_t wall_ms; /* goes into records */
};

/* Never go back; read by control only. */
struct coordinator_counters {
    uint64_t commits;         /* decided */
    uint64_t aborts_asked;    /* decided: by their producer */
    uint64_t aborts_fenced;   /* ... because a new producer took the transactional id */
    uint64_t aborts_expired;  /* ... because they lasted longer than their timeout */
    uint64_t markers;         /* durable */
    uint64_t orders_repeated; /* admissions and markers that were refused for now */
    uint64_t refused;         /* requests answered with an error */
    uint64_t ids_expired;
    uint64_t limits_reached;
};

struct coordinator;

uint64_t coordinator_footprint(const struct coordinator_limits *limits);
/* memory: coordinator_footprint() bytes, 4 KiB aligned, all zero, borrowed for ever. */
enum rc coordinator_init(void *memory,
                         const struct coordinator_config *config,
                         struct coordinator **ret_coordinator,
                         struct diag_trail *trail) MUST_USE;

/* ---- requests */

/* With a transactional id; without one a producer needs no coordinator. */
void coordinator_init_producer(struct coordinator *coordinator,
                               const struct transaction_call *call,
                               const struct kafka_init_producer_id_request *request,
                               struct transaction_time time);
void coordinator_add_partitions(struct coordinator *coordinator,
                                const struct transaction_call *call,
                                const struct kafka_add_partitions_to_txn_request *request,
                                struct transaction_time time);
void coordinator_add_offsets(struct coordinator *coordinator,
                             const struct transaction_call *call,
                             const struct kafka_add_offsets_to_txn_request *request,
                             struct transaction_time time);
void coordinator_end(struct coordinator *coordinator,
                     const struct transaction_call *call,
                     const struct kafka_end_txn_request *request,
                     struct transaction_time time);
void coordinator_describe(struct coordinator *coordinator,
                          const struct transaction_call *call,
                          const struct kafka_describe_transactions_request *request);
void coordinator_list(struct coordinator *coordinator,
                      const struct transaction_call *call,
                      const struct kafka_list_transactions_request *request,
                      struct transaction_time time);
/* Answers a request of one of the APIs above with an error and nothing else. */
void coordinator_refuse(struct coordinator *coordinator,
                        const struct transaction_call *call,
                        int16_t api_key,
                        const void *request,
                        int16_t error);
/* 0 when this producer's open transaction holds the offsets of groups (AddOffsetsToTxn was
 * answered), or the Kafka error of a TxnOffsetCommit. */
int16_t coordinator_check_offsets(const struct coordinator *coordinator,
                                  struct bytes transactional_id,
                                  int64_t producer_id,
                                  int16_t producer_epoch);

/* ---- orders */

/* The answer to an order. RC_OK or a partition that is gone: done; a MARKER that meets a newer
 * epoch: done; any other refusal of a MARKER: sent again later. */
void coordinator_ordered(struct coordinator *coordinator,
                         uint32_t ticket,
                         enum rc rc,
                         struct transaction_time time);

/* ---- the log */

/* All records up to this number are durable, or, with another rc than RC_OK, will never be. */
void coordinator_durable(struct coordinator *coordinator,
                         uint64_t number,
                         enum rc rc,
                         struct transaction_time time);
/* One record of the log, before any request. RC_OK (also for keys of other kinds, which are
 * skipped), RC_CORRUPT, RC_NEWER_FORMAT or RC_LIMIT (cause in trail). */
enum rc coordinator_replay(struct coordinator *coordinator,
                           struct bytes key,
                           struct bytes value,
                           struct diag_trail *trail) MUST_USE;
/* After the last coordinator_replay(): partitions of open transactions are admitted again,
 * markers of decided ones sent again. */
void coordinator_loaded(struct coordinator *coordinator, struct transaction_time time);
/* True once every partition that coordinator_loaded() admits has answered. */
bool coordinator_settled(const struct coordinator *coordinator);
/* Appends every live record again, from *cursor (0 at first) on, as long as `append` takes them.
 * True: all are out. An id whose record is under way is left out: that record is newer. */
bool coordinator_rewrite(struct coordinator *coordinator, uint64_t *cursor) MUST_USE;

/* ---- time */

/* Orders that found no room, timeouts, expiry of ids. To be called at every poll. */
void coordinator_tick(struct coordinator *coordinator, struct transaction_time time);
/* When coordinator_tick() has something to do; UINT64_MAX: nothing by time alone. */
uint64_t coordinator_deadline(const struct coordinator *coordinator);

/* ---- views */

const struct coordinator_counters *coordinator_counters(const struct coordinator *coordinator);
uint32_t coordinator_count(const struct coordinator *coordinator, enum transaction_state state);
/* Wall time at which the oldest transaction under way began, as it was seen at most a second ago;
 * INT64_MAX: none. */
int64_t coordinator_oldest_ms(const struct coordinator *coordinator);
/* As in Kafka's tools, "PrepareCommit". */
const char *transaction_state_name(enum transaction_state state);

struct transaction_view {
    struct bytes id;
    int64_t producer_id;
    int16_t producer_epoch;
    enum transaction_state state;
    int32_t timeout_ms;
    int64_t start_ms; /* -1: no transaction is under way */
    int64_t update_ms;
    uint32_t partition_count;
};
/* Visits the transactional ids from place *cursor (0 at first) on; false at the end. */
bool coordinator_next(const struct coordinator *coordinator,
                      uint32_t *cursor,
                      struct transaction_view *ret);
struct transaction_partition_view {
    struct bytes topic;
    uint32_t partition;
};
/* Visits the partitions of the id that coordinator_next() gave last; *cursor is UINT32_MAX at
 * first. */
bool coordinator_next_partition(const struct coordinator *coordinator,
                                struct bytes id,
                                uint32_t *cursor,
                                struct transaction_partition_view *ret);

#endif
