/* Producer table: what idempotent producers sent last, per (partition, producer id): the epoch and
 * the last five batches {first sequence, last sequence, base offset}. Facts: kafka-protocol,
 * "Sequence validation".
 *
 * A bounded hash table with chains and one list in order of use. When it is full the longest unused
 * state is thrown out if it was not used for PRODUCERS_AGE_MIN_NS; else the new producer is
 * refused. A producer without a state is accepted at any sequence (Kafka's rule, for states that
 * retention took), unless its first batch was refused a moment ago: see producers_await(). Runs on:
 * the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_APPEND_PRODUCERS_H
#define EAGRE_LOG_APPEND_PRODUCERS_H

#include "engine/base/base.h"
#include "engine/base/rc.h"
#include "log/format/segment_format.h" /* PRODUCER_BATCHES */

#define PRODUCERS_AGE_MIN_NS (600 * NS_PER_S)
#define PRODUCER_NONE UINT32_MAX

struct producer_batch {
    uint64_t base_offset;
    int32_t first_sequence;
    int32_t last_sequence;
};

struct producer {
    uint64_t producer_id;
    uint64_t incarnation;
    uint64_t used_ns;
    struct producer_batch batches[PRODUCER_BATCHES]; /* newest first */
    int16_t epoch;
    uint16_t batch_count; /* [0, PRODUCER_BATCHES]; 0: none of this epoch is stored yet, and the
                             first must begin with batches[0].first_sequence, -1: with any */
    uint32_t chain;       /* next in the same bucket, or PRODUCER_NONE */
    uint32_t newer;       /* list in order of use; one with a transaction is on no list */
    uint32_t older;
    uint32_t transaction;      /* its place in the table of transactions, or PRODUCER_NONE */
    int32_t coordinator_epoch; /* of its last transaction marker here, -1: none */
};
_Static_assert(sizeof(struct producer) == 128, "two cache lines");

struct producers {
    struct producer *table; /* [capacity] */
    uint32_t *buckets;      /* [bucket_count] */
    uint32_t capacity;
    uint32_t bucket_mask;
    uint32_t live;  /* states in use */
    uint32_t count; /* states ever placed: table[count...] is untouched memory */
    uint32_t free;  /* chain of given back states */
    uint32_t newest;
    uint32_t oldest;
    uint32_t expire_next; /* place to look at next for those too old */
    uint64_t seed;
};

/* One batch as the table sees it. */
struct producer_claim {
    uint64_t incarnation;
    uint64_t producer_id;
    int16_t epoch;
    int32_t first_sequence; /* >= 0 */
    int32_t last_sequence;  /* first + records - 1, wrapping from 2147483647 to 0 */
};

uint64_t producers_footprint(uint32_t capacity);
/* memory: producers_footprint() bytes, 64-byte aligned, zero. */
void producers_init(struct producers *producers, void *memory, uint32_t capacity, uint64_t seed);

/* May this batch be appended now? RC_OK, RC_SEQUENCE_DUPLICATE (*ret_base_offset is the
 * original's), RC_SEQUENCE_OUT_OF_ORDER, RC_PRODUCER_EPOCH_STALE or RC_LIMIT. Changes nothing.
 * *ret_producer is the state or PRODUCER_NONE. */
enum rc producers_check(const struct producers *producers,
                        const struct producer_claim *claim,
                        uint64_t now_ns,
                        uint32_t *ret_producer,
                        uint64_t *ret_base_offset);

/* Room for one more state? */
bool producers_has_room(const struct producers *producers, uint64_t now_ns);

/* The state of a producer that begins or ends a transaction: a fresh one that takes any first
 * sequence when there is none; there must be room then. */
uint32_t producers_take(struct producers *producers,
                        uint64_t incarnation,
                        uint64_t producer_id,
                        int16_t epoch,
                        uint64_t now_ns);
/* Ties a transaction to a state, which is not thrown out before it is let go. */
void producers_hold(struct producers *producers, uint32_t producer, uint32_t transaction);
void producers_let_go(struct producers *producers, uint32_t producer, uint64_t now_ns);
/* A marker was appended: a greater epoch fences the producer, whose next batch begins anew. */
void producers_mark(struct producers *producers,
                    uint32_t producer,
                    int16_t epoch,
                    int32_t coordinator_epoch,
                    uint64_t now_ns);
/* Forgets states that were not used for age_ns, at most `count` places of the table further;
 * states with a transaction stay. Returns how many it forgot. */
uint32_t
producers_expire(struct producers *producers, uint64_t now_ns, uint64_t age_ns, uint32_t count);

/* Records an appended batch; producer is what producers_check() gave in the same poll. */
void producers_record(struct producers *producers,
                      uint32_t producer,
                      const struct producer_claim *claim,
                      uint64_t base_offset,
                      uint64_t now_ns);

/* A batch that producers_check() allowed is refused for a reason that will pass (no space). Of a
 * producer without a state the next batch may be in the same pipeline and would be taken at any
 * sequence, after which the first is out of order for ever; so the table remembers which sequence
 * must come first. producer as in producers_record(). Not kept over a restart, which ends pipelines
 * too. */
void producers_await(struct producers *producers,
                     uint32_t producer,
                     const struct producer_claim *claim,
                     uint64_t now_ns);

/* Replay: records without any check, idempotent by base offset; false when the table is full. */
bool producers_replay(struct producers *producers,
                      const struct producer_claim *claim,
                      uint64_t base_offset,
                      uint64_t now_ns);

/* The state of (incarnation, producer id), or PRODUCER_NONE. */
uint32_t
producers_find(const struct producers *producers, uint64_t incarnation, uint64_t producer_id);
/* Forgets every state of a partition. */
void producers_forget(struct producers *producers, uint64_t incarnation);
/* Forgets batches at or above offset of one state (offset 0: all of it): they did not survive. */
void producers_cut(struct producers *producers, uint32_t producer, uint64_t offset);

#endif
