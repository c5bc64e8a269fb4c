/* What the transaction coordinator asks of a log tile: admission, markers, and what a partition
 * knows of its producers. As log.h in everything else.
 *
 * Runs on: the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_APPEND_LOG_TRANSACTION_H
#define EAGRE_LOG_APPEND_LOG_TRANSACTION_H

#include "log/append/log.h"

/* What the transaction coordinator asks of a partition. */
struct log_transaction {
    uint32_t slot;
    uint64_t incarnation;
    int64_t producer_id;       /* >= 0 */
    int64_t wall_ms;           /* marker: its timestamp */
    int32_t coordinator_epoch; /* marker */
    int16_t producer_epoch;
    bool is_commit;     /* marker */
    uint16_t requester; /* marker: echoed in the ack */
    uint64_t ctx;       /* marker: echoed in the ack */
};

/* A producer as told to people. */
struct log_producer {
    int64_t producer_id;
    int64_t last_append_ms;
    uint64_t transaction_first_offset; /* UINT64_MAX: none is open */
    int32_t coordinator_epoch;         /* of its last marker, -1: none */
    int32_t last_sequence;             /* -1: none */
    int16_t producer_epoch;
};
#define LOG_PRODUCERS_PER_CALL 4096u
/* Where a walk over the producers stands; zero at its begin but for into and capacity. */
struct log_producers {
    struct log_producer *into; /* [capacity] */
    uint32_t capacity;
    uint32_t count;
    uint32_t next;
};

/* Lets a producer's transactional batches of that epoch into a partition, until its marker. Kept in
 * memory only. RC_OK (also when it is known already), RC_AGAIN (its former transaction is ending),
 * RC_PRODUCER_EPOCH_STALE, RC_TXN_STATE (one of an older epoch is open), RC_LIMIT
 * (transactions_max, transactions_aborted_max, producers_max), or why the partition does not serve.
 */
enum rc log_transaction_admit(struct log *log, const struct log_transaction *request) MUST_USE;
/* Appends the marker that ends the producer's transaction here, whether one is open or not; as
 * log_append(). A greater epoch fences the producer. RC_PRODUCER_EPOCH_STALE,
 * RC_COORDINATOR_FENCED. */
enum log_append_status log_transaction_marker(struct log *log,
                                              const struct log_transaction *request,
                                              struct log_ack *ret_ack) MUST_USE;
/* Tells the producers of a partition, in bounded steps: RC_AGAIN until cursor->into is full or all
 * were looked at (RC_OK). */
enum rc log_producers(struct log *log,
                      uint32_t slot,
                      uint64_t incarnation,
                      struct log_producers *cursor) MUST_USE;

#endif
