/* What clients of transactions, groups and compacted topics did and saw, and the rule by which it
 * is judged. Pure: knows no server, only the history that was written down.
 *
 * Every event has a tick; ticks rise. A record is known by its number, which its value carries.
 *
 * The rule. At the end, with every transaction over and everything read once more:
 *   H1  lost commit: all records of a transaction whose commit was acknowledged are there
 *   H2  dirty read (G1a): whoever reads committed records never sees one of a transaction that was
 *       aborted, refused, or not yet asked to commit
 *   H3  intermediate read (G1b): of a transaction, all or none is seen, in every range of offsets
 *       that a reader of committed records has passed
 *   H4  cyclic flow (G1c): "read from", "replaced the offset of" and "came before in the session
 *       order of its id" make no cycle among committed transactions
 *   H5  exactly once: a record in front of a group's committed offset was turned into exactly one
 *       committed record, one at or behind it into none
 *   H6  fencing: what a session asked to commit after a later session of its id was answered is
 *       neither acknowledged nor seen; later sessions have greater epochs
 *   H7  committed offsets are a register: a read gives what was written last, or what was under way
 *   H8  a compacted partition keeps the newest committed record of each key, and gives no older one
 *       behind it
 *   H9  what stands at an offset stays
 *
 *   history_init() -> history_*() while clients work -> history_judge() -> history_fini()
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_HISTORY_CHECK_H
#define EAGRE_TESTS_SIM_HISTORY_CHECK_H

#include "engine/base/base.h"

#define HISTORY_NEVER UINT64_MAX
#define HISTORY_PARTITIONS_MAX 8u
#define HISTORY_GROUPS_MAX 4u
#define HISTORY_KEYS_MAX 64u
#define HISTORY_WHY_MAX 512u
#define HISTORY_NONE 0u

/* A transactional id was taken by a client: InitProducerId. */
struct history_session {
    uint32_t id;
    int64_t producer_id; /* -1: not answered */
    int16_t epoch;
    uint64_t asked;
    uint64_t answered;
};

/* Numbers of all of these are places plus 1; HISTORY_NONE is none. */
struct history_transaction {
    uint32_t session;
    uint64_t commit_asked; /* first attempt */
    uint64_t committed;    /* acknowledged */
    bool is_void;          /* abort asked, or the only attempt to commit was refused */
    bool is_seen;          /* filled by the judge: it stands as committed at the end */
};

struct history_record {
    uint32_t transaction;
    uint32_t partition;
    int32_t key;           /* -1: none */
    uint32_t group;        /* a transformed record: of which group */
    int32_t from;          /* and of which partition; -1: it is an origin */
    int64_t from_offset;   /* and where it stood */
    bool wants_next;       /* whoever consumes it has to make a record of it */
    int64_t stored_offset; /* filled by the judge; -1: nowhere */
};

/* A range of offsets that somebody passes from its beginning on. */
struct history_walk {
    uint32_t partition;
    bool is_committed; /* isolation */
    bool is_final;     /* the last reading, from the first offset to the end */
    int64_t begin;
    int64_t end;
};

struct history_read {
    uint32_t walk;
    uint32_t record;
    int64_t offset;
    uint64_t tick;
};

struct history_offset {
    uint32_t group;
    uint32_t partition;
    int64_t value;        /* -1, of a read: none committed */
    uint32_t transaction; /* of a write within one */
    bool is_read;
    bool is_final;  /* read: the last of all */
    bool is_void;   /* write: refused at its only attempt */
    uint64_t asked; /* ticks; of a transaction's write those of its commit count */
    uint64_t answered;
};

struct history_list {
    void *at;
    uint32_t count;
    uint32_t capacity;
};

struct history {
    uint64_t tick;
    struct history_list sessions;
    struct history_list transactions;
    struct history_list records;
    struct history_list walks;
    struct history_list reads;
    struct history_list offsets;
    uint32_t compacted; /* bits of partitions */
    uint32_t sources;   /* partitions that a group consumes, whose number is group_of[] */
    uint32_t group_of[HISTORY_PARTITIONS_MAX];
    char why[HISTORY_WHY_MAX]; /* the first breach; "": none */
};

void history_init(struct history *history);
void history_fini(struct history *history);
/* Notes the first breach; returns false always. */
bool history_fail(struct history *history, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Each takes a copy, returns its number and moves the tick. */
uint32_t history_add_session(struct history *history, uint32_t id);
uint32_t history_add_transaction(struct history *history, uint32_t session);
uint32_t history_add_record(struct history *history, const struct history_record *record);
uint32_t history_add_walk(struct history *history, const struct history_walk *walk);
uint32_t history_add_read(struct history *history, uint32_t walk, uint32_t record, int64_t offset);
uint32_t history_add_offset(struct history *history, const struct history_offset *offset);

/* By number; valid until the next one is added. */
struct history_session *history_session(struct history *history, uint32_t number);
struct history_transaction *history_transaction(struct history *history, uint32_t number);
struct history_record *history_record(struct history *history, uint32_t number);
struct history_walk *history_walk(struct history *history, uint32_t number);
struct history_offset *history_offset(struct history *history, uint32_t number);

/* The whole rule. False: why says which breach. */
bool history_judge(struct history *history);

#endif
