/* Scripted clients of pipelines: transactional producers, workers that consume, transform and
 * produce in one transaction, members of a plain group, readers. Each does one thing at a time and
 * writes into the history what it asked, was told and saw (history_check.h).
 *
 *   writer  INIT ─► ADD ─► PRODUCE ─► END ─► ADD ...          to "in" and the compacted "keys"
 *   worker  INIT ─► PLACE ─► FETCH ─► ADD ─► PRODUCE ─► ADD_OFFSETS ─► TXN_COMMIT ─► END ─► FETCH
 *   member  JOIN ─► SYNC ─► BEAT | COMMIT | PLACE | LEAVE ...
 *   reader  FETCH ...     the last ones of a run: PLACE of every group first
 *
 * A client that loses its connection asks the same again on the next one, or dies: then it begins
 * anew. Some sleep long in the middle, and find another one with their id at work (zombies).
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_PIPE_CLIENT_H
#define EAGRE_TESTS_SIM_PIPE_CLIENT_H

#include "engine_rig.h"
#include "engine_stream.h"
#include "history_check.h"

#define PIPE_CLIENTS_MAX 24u
#define PIPE_PARTITIONS 5u /* in/0, in/1, out/0, out/1, keys/0 */
#define PIPE_KEYS_PARTITION 4u
#define PIPE_GROUP_BACK 1u  /* consumes "out"; group 0 consumes "in" */
#define PIPE_GROUP_PLAIN 2u /* members that only commit */
#define PIPE_GROUPS 3u
#define PIPE_KEYS_PER_ID 4u
#define PIPE_BATCH_RECORDS_MAX 6u
#define PIPE_BATCH_BYTES (64u << 10)

enum pipe_kind { PIPE_WRITER, PIPE_WORKER, PIPE_MEMBER, PIPE_READER };

enum pipe_phase {
    PIPE_INIT,
    PIPE_PLACE, /* OffsetFetch */
    PIPE_FETCH,
    PIPE_ADD,
    PIPE_PRODUCE,
    PIPE_ADD_OFFSETS,
    PIPE_TXN_COMMIT,
    PIPE_END,
    PIPE_JOIN,
    PIPE_SYNC,
    PIPE_BEAT,
    PIPE_COMMIT,
    PIPE_LEAVE,
    PIPE_DONE,
    PIPE_PHASES,
};

/* What all clients of a world share. */
struct pipe_world {
    struct sim_world *world;
    struct engine_rig *rig;
    struct history *history;
    bool topics_exist;
    bool calm;    /* nothing is broken any more: an answer that stays away is a breach */
    bool closing; /* nobody begins anything new */
    uint64_t patience_ns;
    int64_t commit_next;   /* plain commits: each another offset */
    uint32_t seen_commits; /* acknowledged */
    uint32_t seen_aborts;
    uint32_t seen_fences;
    uint32_t seen_offsets;
    /* A crash at a labelled point: when some client comes to this phase. */
    uint32_t watch;    /* enum pipe_phase; PIPE_PHASES: none */
    bool watch_answer; /* when it is answered, not when it is asked */
    bool hit;
};

struct pipe_script {
    enum pipe_kind kind;
    uint32_t number;
    uint32_t id;        /* of transactions; clients with the same one are each other's zombies */
    uint32_t partition; /* worker: it consumes this one */
    uint32_t group;
    uint32_t abort_ppm;
    uint32_t die_ppm;   /* after each answer */
    uint32_t sleep_ppm; /* long, in the middle of things */
    uint32_t value_bytes_max;
    uint64_t think_ns;
    int32_t timeout_ms; /* of transactions, of sessions */
    bool is_committed;  /* reader */
    bool is_final;
};

/* Records on their way to one partition. */
struct pipe_part {
    uint32_t partition;
    uint32_t records[PIPE_BATCH_RECORDS_MAX]; /* numbers */
    uint32_t count;
    bool acked;
};

struct pipe_client {
    struct pipe_world *of;
    struct pipe_script script;
    struct sim_rng rng;
    struct stream stream;
    enum pipe_phase phase;
    uint64_t wake_ns;
    /* transactions */
    uint32_t session;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequences[PIPE_PARTITIONS];
    uint32_t transaction; /* HISTORY_NONE: none begun */
    struct pipe_part parts[PIPE_PARTITIONS];
    uint32_t part_count;
    bool wants_commit;
    uint32_t end_attempts;
    uint32_t offset_write; /* of the history, under way */
    uint32_t offset_read;
    /* reading */
    uint32_t walks[PIPE_PARTITIONS]; /* of the history; HISTORY_NONE: not read by this client */
    int64_t positions[PIPE_PARTITIONS];
    bool is_at_end[PIPE_PARTITIONS];
    uint32_t place_group; /* final reader: which to ask */
    uint32_t place_partition;
    uint32_t inputs[PIPE_BATCH_RECORDS_MAX];
    int64_t input_offsets[PIPE_BATCH_RECORDS_MAX];
    uint32_t input_count;
    int64_t commit_offset;
    /* member */
    char member_id[96];
    uint32_t member_id_count;
    int32_t generation;
    bool is_leader;
    struct {
        char id[96];
        uint32_t count;
    } others[4];
    uint32_t other_count;
    uint32_t owned; /* bits of partitions */
    uint8_t batches[PIPE_PARTITIONS][PIPE_BATCH_BYTES];
};

void pipe_client_init(struct pipe_client *client,
                      struct pipe_world *of,
                      const struct pipe_script *script,
                      uint64_t seed);
void pipe_client_fini(struct pipe_client *client);
/* The actor's functions. */
uint32_t pipe_client_step(void *object);
uint64_t pipe_client_due_ns(void *object);

/* ---- between the files of the client ---- */

uint64_t pipe__now(const struct pipe_client *client);
void pipe__pause(struct pipe_client *client, uint64_t longest_ns);
struct bytes pipe__text(const char *text);
struct bytes pipe__topic(uint32_t partition);
int32_t pipe__index(uint32_t partition);
/* "group-0" ... */
struct bytes pipe__group(uint32_t group);
struct bytes pipe__id(const struct pipe_client *client);
void pipe__go(struct pipe_client *client, enum pipe_phase phase);
/* Whatever was begun is left as it is; from the beginning. */
void pipe__restart(struct pipe_client *client, uint64_t longest_ns);
/* Answers after which the same is asked again. */
bool pipe__may_retry(int16_t error);
void
pipe__ask(struct pipe_client *client, enum kafka_api_key key, int16_t version, const void *message);
bool pipe__fail(struct pipe_client *client, const char *what, int16_t error);

/* Requests by phase, and what their answers lead to. */
void pipe__transaction_ask(struct pipe_client *client);
bool pipe__transaction_answer(struct pipe_client *client, const struct stream_answer *answer);
void pipe__transaction_begin(struct pipe_client *client);
void pipe__member_ask(struct pipe_client *client);
bool pipe__member_answer(struct pipe_client *client, const struct stream_answer *answer);
void pipe__read_ask(struct pipe_client *client);
bool pipe__read_answer(struct pipe_client *client, const struct stream_answer *answer);
void pipe__walk_begin(struct pipe_client *client, uint32_t partition, int64_t offset);

#endif
