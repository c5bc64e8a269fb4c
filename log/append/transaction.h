/* Transactions of producers, as the log knows them: which are admitted or open in a partition, from
 * which offset on nothing is decided, and which were aborted.
 *
 *   log_transaction_admit() -> ADMITTED --first batch--> OPEN --marker--> ENDING --durable--> gone
 *   recovery ------------------------------------------> OPEN
 *
 * A producer has at most one transaction per partition, an ENDING one included: readers of
 * committed records go no further than its first record before its marker is durable, or they could
 * read what a power cut makes undecided again.
 *
 * Per partition, transactions with records stand in a list by first offset, so the oldest is its
 * head; those that end stand in a second one by marker. Aborted ones leave an entry {producer,
 * first, marker}, kept until the footer of the segment that holds the marker is listed in the
 * manifest and the tail cache no longer holds that marker. Every transaction has a place for that
 * entry from the start (transactions_aborted_max), so ending one can never fail for want of it.
 *
 * Runs on: the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_APPEND_TRANSACTION_H
#define EAGRE_LOG_APPEND_TRANSACTION_H

#include "engine/base/base.h"
#include "engine/base/rc.h"
#include "log/format/segment_format.h"

#define TRANSACTION_NONE UINT32_MAX
#define TRANSACTION_NO_OFFSET UINT64_MAX

enum transaction_state {
    TRANSACTION_FREE,
    TRANSACTION_ADMITTED, /* its batches may come; none has */
    TRANSACTION_OPEN,     /* has records and no marker */
    TRANSACTION_ENDING,   /* its marker was appended and is not durable yet */
};

struct transaction {
    uint64_t first_offset;  /* OPEN, ENDING */
    uint64_t marker_offset; /* ENDING */
    uint64_t since_ns;      /* of its first record here */
    uint32_t producer;      /* its state in the table of producers */
    uint32_t newer;         /* by first offset, in the partition; FREE: chain */
    uint32_t older;
    uint32_t next_ending; /* by marker, in the partition */
    uint32_t later;       /* OPEN ones of the tile by since_ns */
    uint32_t earlier;
    int16_t epoch;
    uint8_t state; /* enum transaction_state */
};

/* An aborted transaction whose segment has no footer yet, or whose records are in the tail cache.
 */
struct transaction_aborted {
    struct aborted_entry entry;
    uint32_t newer; /* by marker, in the partition; free: chain */
    uint32_t older;
};

/* Of a log tile. */
struct transactions {
    struct transaction *table;           /* [2 * capacity] */
    struct transaction_aborted *aborted; /* [aborted_capacity] */
    uint32_t capacity; /* of those that are let in; the table has twice the places, because replay
                          may see former ones beside those of the checkpoint */
    uint32_t aborted_capacity;
    uint32_t used; /* ever placed: the rest is untouched memory */
    uint32_t aborted_used;
    uint32_t free;
    uint32_t aborted_free;
    uint32_t live;
    uint32_t aborted_live;
    bool has_listed; /* some may stand in footers by now: transaction_forget_listed() */
    uint32_t open;   /* in state OPEN */
    uint32_t first;  /* of the OPEN ones, by since_ns */
    uint32_t last;
};

/* Of a partition. */
struct partition_transactions {
    uint64_t first_offset; /* of the oldest that is OPEN or ENDING; TRANSACTION_NO_OFFSET: none */
    uint32_t oldest;
    uint32_t newest;
    uint32_t ending_first;
    uint32_t ending_last;
    uint32_t aborted_oldest;
    uint32_t aborted_newest;
    uint32_t aborted_count;
    uint32_t aborted_active; /* of those, with their marker in the active segment (about) */
    uint64_t aborted_from;   /* what was aborted with its marker here or above stands in the list */
};

uint64_t transactions_footprint(uint32_t capacity, uint32_t aborted_capacity);
/* memory: transactions_footprint() bytes, 64-byte aligned. Capacities may be 0: none is admitted.
 */
void transactions_init(struct transactions *transactions,
                       void *memory,
                       uint32_t capacity,
                       uint32_t aborted_capacity);
void partition_transactions_init(struct partition_transactions *of);

/* A place for one more and, should it be aborted, for its entry? */
static ALWAYS_INLINE bool
transactions_have_room(const struct transactions *transactions)
{
    return transactions->live < transactions->capacity &&
           transactions->live + transactions->aborted_live < transactions->aborted_capacity;
}

/* Is it time to let go what footers have? */
static ALWAYS_INLINE bool
transactions_are_tight(const struct transactions *transactions)
{
    uint32_t used = transactions->live + transactions->aborted_live;

    return used >= transactions->aborted_capacity - transactions->aborted_capacity / 4;
}

/* A new one in state ADMITTED; there must be room. */
uint32_t transaction_add(struct transactions *transactions, uint32_t producer, int16_t epoch);
/* ADMITTED -> OPEN: its first record. Offsets of one partition must not fall. */
void transaction_open(struct transactions *transactions,
                      struct partition_transactions *of,
                      uint32_t at,
                      uint64_t first_offset,
                      uint64_t now_ns);
/* Recovery: an OPEN one at its place by first offset, wherever that is. */
void transaction_restore(struct transactions *transactions,
                         struct partition_transactions *of,
                         uint32_t at,
                         uint64_t first_offset,
                         uint64_t now_ns);
/* OPEN -> ENDING; an aborted one gets its entry. */
void transaction_end(struct transactions *transactions,
                     struct partition_transactions *of,
                     uint32_t at,
                     const struct aborted_entry *aborted_or_null,
                     uint64_t marker_offset);
/* The oldest ENDING one whose marker lies below durable_offset, or TRANSACTION_NONE. */
uint32_t transaction_ended(const struct transactions *transactions,
                           const struct partition_transactions *of,
                           uint64_t durable_offset);
/* Forgets one, in any state (ENDING: only the first of those). */
void transaction_remove(struct transactions *transactions,
                        struct partition_transactions *of,
                        uint32_t at);
/* First undecided offset, leaving out one transaction (or TRANSACTION_NONE); TRANSACTION_NO_OFFSET:
 * none. */
uint64_t transaction_first_beside(const struct transactions *transactions,
                                  const struct partition_transactions *of,
                                  uint32_t at);

/* Adds an entry behind all others (its marker is the newest); false when there is no place. */
bool transaction_aborted_add(struct transactions *transactions,
                             struct partition_transactions *of,
                             const struct aborted_entry *entry);
/* Recovery: an entry at its place by marker, which may be known already; false: no place. */
bool transaction_aborted_restore(struct transactions *transactions,
                                 struct partition_transactions *of,
                                 const struct aborted_entry *entry);
/* Forgets an entry; the footer of its segment has it. */
void transaction_aborted_free(struct transactions *transactions,
                              struct partition_transactions *of,
                              uint32_t at);
/* Takes the oldest entry away; readers of what lies below its marker are sent to the footers. */
void transaction_aborted_pop(struct transactions *transactions, struct partition_transactions *of);
/* Forgets entries with their marker at or above offset: they did not survive. */
void transaction_aborted_cut(struct transactions *transactions,
                             struct partition_transactions *of,
                             uint64_t offset);

#endif
