/* What the files of this folder share.
 *
 *   transaction_table.c   ids and their partitions: find, add, remove; the table of moves
 *   transaction_init.c    InitProducerId            transaction_add.c    AddPartitions, AddOffsets
 *   transaction_end.c     EndTxn, decision, completion      transaction_park.c   who waits for it
 *   transaction_order.c   admissions and markers    transaction_record.c the log's records
 *   transaction_time.c    timeouts, expiry          transaction_admin.c  describe, list, views
 *
 * Indexes are 32 bits with SLAB_NONE for "none". */
#ifndef EAGRE_ENGINE_TRANSACTION_TRANSACTION_INNER_H
#define EAGRE_ENGINE_TRANSACTION_TRANSACTION_INNER_H

#include "engine/base/check.h"
#include "engine/base/diag.h"
#include "engine/base/hash.h"
#include "engine/pool/slab.h"
#include "engine/transaction/transaction.h"
#include "engine/transaction/transaction_parts.h"
#include "net/kafka/kafka_error.h"

#define TRANSACTION_BATCHES_MAX 1024u /* AddPartitionsToTxn under way */
#define TRANSACTION_PUMP_MAX 64u      /* ids looked at per tick for orders that found no room */
#define TRANSACTION_TICK_NS (100 * NS_PER_MS)
#define TRANSACTION_RETRY_NS (100 * NS_PER_MS) /* a refused marker or record is tried again */
#define TRANSACTION_PARK_NS (200 * NS_PER_MS)  /* longest that a request waits for an end */
#define TRANSACTION_LOOK_NS (1 * NS_PER_S)     /* how old coordinator_oldest_ms() may be */
#define TRANSACTION_EXPIRY_NS (60 * NS_PER_S)  /* how often unused ids are looked for */
#define TRANSACTION_RECORD_BYTES_MAX (1u << 20)
#define TRANSACTION_EPOCH_LAST 32766 /* the next producer gets a new producer id */

struct coordinator {
    struct coordinator_config config;
    struct slab ids; /* struct transaction */
    struct slab partitions;
    struct slab batches;
    uint32_t *id_buckets; /* [id_mask + 1] */
    uint32_t *partition_buckets;
    uint32_t id_mask;
    uint32_t partition_mask;
    uint32_t ids_touched; /* places in ids that were ever used */
    uint32_t queue_first;
    uint32_t queue_last;
    uint32_t queue_count;
    uint32_t wait_first;
    uint32_t wait_last;
    uint32_t orders_out;
    uint32_t settling; /* transactions that coordinator_loaded() admits and that did not answer */
    uint32_t state_counts[TRANSACTION_STATES];
    uint64_t deadline_ns; /* nearest of all; never later than the truth */
    uint64_t expiry_ns;
    int64_t oldest_ms;
    uint8_t *record; /* [TRANSACTION_RECORD_BYTES_MAX] a record under construction */
    struct coordinator_counters counters;
};

static inline struct transaction *
transaction__at(const struct coordinator *coordinator, uint32_t idx)
{
    return slab_at(&coordinator->ids, idx);
}
static inline struct transaction_partition *
partition__at(const struct coordinator *coordinator, uint32_t idx)
{
    return slab_at(&coordinator->partitions, idx);
}
static inline uint32_t
transaction__idx(const struct coordinator *coordinator, const struct transaction *transaction)
{
    return (uint32_t)((size_t)((const uint8_t *)transaction - coordinator->ids.objects) /
                      coordinator->ids.object_bytes);
}
static inline struct bytes
transaction__id(const struct transaction *transaction)
{
    return (struct bytes){transaction->id, transaction->id_count};
}
static inline struct bytes
partition__topic(const struct transaction_partition *partition)
{
    return (struct bytes){partition->topic, partition->topic_count};
}
static inline bool
bytes__equal(struct bytes a, struct bytes b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.at, b.at, a.count) == 0);
}
static inline void
coordinator__answer(struct coordinator *coordinator, uint64_t token, const void *response)
{
    coordinator->config.hooks.answer(coordinator->config.hooks.ctx, token, response);
}

/* transaction_table.c */
struct transaction *transaction__find(const struct coordinator *coordinator, struct bytes id);
/* EMPTY, without a producer. NULL: a limit is reached. */
struct transaction *transaction__add(struct coordinator *coordinator, struct bytes id);
void transaction__remove(struct coordinator *coordinator, struct transaction *transaction);
void transaction__move(struct coordinator *coordinator,
                       struct transaction *transaction,
                       enum transaction_state next);
/* 0 and *ret, or the Kafka error of a producer that speaks for an id. */
int16_t transaction__check(const struct coordinator *coordinator,
                           struct bytes id,
                           const struct transaction_producer *producer,
                           struct transaction **ret);
struct transaction_partition *transaction__partition(const struct coordinator *coordinator,
                                                     const struct transaction *transaction,
                                                     struct bytes topic,
                                                     uint32_t partition);
/* The new one is not admitted. NULL: a limit is reached. */
struct transaction_partition *transaction__partition_add(struct coordinator *coordinator,
                                                         struct transaction *transaction,
                                                         struct bytes topic,
                                                         uint32_t partition);
/* Takes all out, or only those whose record did not become durable. */
void transaction__partitions_drop(struct coordinator *coordinator,
                                  struct transaction *transaction,
                                  bool only_new);
/* Makes sure that coordinator_tick() looks around at this time. */
void coordinator__wake(struct coordinator *coordinator, uint64_t at_ns);

/* transaction_record.c */
/* What a record says of an id; partitions are those of the table unless the state has none. */
struct transaction_value {
    struct transaction_producer producer;
    enum transaction_state state;
    int64_t start_ms;
    int64_t update_ms;
};
/* Appends and waits: transaction__stored() follows. False: no room now, nothing was changed. */
bool transaction__store(struct coordinator *coordinator,
                        struct transaction *transaction,
                        const struct transaction_value *value,
                        enum transaction_step step) MUST_USE;
bool transaction__store_gone(struct coordinator *coordinator,
                             struct transaction *transaction) MUST_USE;

/* transaction_init.c */
void init__ask_id(struct coordinator *coordinator,
                  struct transaction *transaction,
                  struct transaction_time time);
void init__stored(struct coordinator *coordinator, struct transaction *transaction, enum rc rc);

/* transaction_add.c */
void add__stored(struct coordinator *coordinator,
                 struct transaction *transaction,
                 enum rc rc,
                 struct transaction_time time);
/* Every admission was answered. */
void add__admitted(struct coordinator *coordinator, struct transaction *transaction);

/* transaction_end.c */
struct transaction_decision {
    enum transaction_state state; /* PREPARE_COMMIT or PREPARE_ABORT */
    enum transaction_cause cause;
};
/* Stores the decision; with a cause other than CAUSE_ASKED the epoch is bumped. False: no room. */
bool end__decide(struct coordinator *coordinator,
                 struct transaction *transaction,
                 struct transaction_decision decision,
                 struct transaction_time time) MUST_USE;
void end__prepared(struct coordinator *coordinator,
                   struct transaction *transaction,
                   enum rc rc,
                   struct transaction_time time);
void end__mark(struct coordinator *coordinator, struct transaction *transaction);
/* Every marker is durable: offers the record of the end. */
void end__marked(struct coordinator *coordinator,
                 struct transaction *transaction,
                 struct transaction_time time);
void end__completed(struct coordinator *coordinator,
                    struct transaction *transaction,
                    enum rc rc,
                    struct transaction_time time);

/* transaction_park.c */
/* Keeps a request for the end of what is being completed. False: nothing is, or somebody waits. */
bool park__take(struct coordinator *coordinator,
                struct transaction *transaction,
                const struct transaction_parked *request,
                struct transaction_time time) MUST_USE;
/* The end is stored: the request goes on. */
void park__resume(struct coordinator *coordinator,
                  struct transaction *transaction,
                  struct transaction_time time);
/* It takes longer: CONCURRENT_TRANSACTIONS. */
void park__refuse(struct coordinator *coordinator, struct transaction *transaction);
/* One transaction of a batch, now. */
void add__one(struct coordinator *coordinator,
              uint32_t batch_idx,
              uint32_t item,
              struct transaction_time time);

/* transaction_order.c */
/* Puts the transaction among those with something to send. */
void order__queue(struct coordinator *coordinator, struct transaction *transaction);
/* Partitions that are to be told become due; returns how many. */
uint32_t
order__due(struct coordinator *coordinator, struct transaction *transaction, bool only_unadmitted);
void order__pump(struct coordinator *coordinator, struct transaction_time time);
/* Refused orders are due again. */
void order__retry(struct coordinator *coordinator, struct transaction *transaction);

/* transaction_time.c */
void time__expired(struct coordinator *coordinator, struct transaction *transaction, enum rc rc);

/* Answers of one error. */
void coordinator__answer_init(struct coordinator *coordinator,
                              const struct transaction_call *call,
                              int16_t error,
                              const struct transaction_producer *producer);
void coordinator__answer_offsets(struct coordinator *coordinator,
                                 const struct transaction_call *call,
                                 int16_t error);
void coordinator__answer_end(struct coordinator *coordinator,
                             const struct transaction_call *call,
                             int16_t error);
/* Answers who waits for the step under way, if anybody. */
void transaction__answer_asker(struct coordinator *coordinator,
                               struct transaction *transaction,
                               int16_t error);
void add__refuse(struct coordinator *coordinator,
                 const struct transaction_call *call,
                 const struct kafka_add_partitions_to_txn_request *request,
                 int16_t error);
void init__refuse(struct coordinator *coordinator,
                  const struct transaction_call *call,
                  const struct kafka_init_producer_id_request *request,
                  int16_t error);
/* add: the result of one transaction of a batch. */
void add__answer(struct coordinator *coordinator, uint32_t batch_idx, uint32_t item, int16_t error);

#endif
