/* What the files of this folder share.
 *
 *   control.c        life, poll, gates' rings, answers     jobs.c     disk jobs
 *   log_link.c       requests to log tiles and their answers
 *   metadata.c       the metadata log: batches, producer ids
 *   boot.c           from an empty store to CONTROL_READY
 *   broker_settings.c  what changes at run time
 *   operation.c      one topic being created, grown or deleted          publish.c  snapshots for
 * gates call.c           a Kafka request from arrival to answer call_metadata.c call_topics.c
 * call_configs.c call_alter.c call_offsets.c call_records.c call_quotas.c call_replicas.c
 * call_describe.c call_log_dirs.c call_node.c call_small.c call_groups.c call_transactions.c
 * call_producers.c   one family of APIs each find.c the exact record of a time    internal_log.c
 * topics of coordinators guest_groups.c guest_transactions.c   the coordinators as guests
 *
 * Everything is owned by control's thread. Indexes are 32 bits with CONTROL_NONE for "none". */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_INTERNAL_H
#define EAGRE_ENGINE_CONTROL_CONTROL_INTERNAL_H

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/control/broker_settings.h"
#include "engine/control/control.h"
#include "engine/control/control_call.h"
#include "engine/control/control_operation.h"
#include "engine/control/control_parts.h"
#include "engine/pool/buddy.h"
#include "engine/pool/slab.h"

#define CONTROL_GATES_MAX (REQUESTERS_MAX - 1)
#define CONTROL_OPENS_MAX 1024u   /* partitions being opened at the same time */
#define CONTROL_LOG_CREDITS 1024u /* unanswered requests per log tile; < REQUEST_RING_SLOTS */
#define CONTROL_SNAPSHOTS_MAX 64u /* snapshots a gate has not given back */
#define CONTROL_JOBS_PER_POLL 8u  /* disk jobs per log tile and poll */
#define CONTROL_RESPONSES_PER_POLL 512u
#define CONTROL_REQUESTS_PER_POLL 64u        /* per gate */
#define CONTROL_METADATA_BYTES (256u * 1024) /* one batch of the metadata log */
#define CONTROL_REPLY_BYTES (8u << 20)       /* largest answer */
#define CONTROL_BUILD_BYTES (24u << 20)      /* structs of the largest answer */
#define CONTROL_FIND_BYTES (8u << 20)        /* one stored batch */
#define CONTROL_UNPACK_BYTES \
    (CONTROL_BUILD_BYTES + CONTROL_REPLY_BYTES) /* one batch, decompressed */
#define CONTROL_READ_BYTES (1u << 20)           /* piece of the metadata log at boot */
#define CONTROL_CALL_FACTOR \
    (KAFKA_ARENA_FACTOR + 32u)           /* call memory per byte of a request's body */
#define CONTROL_RETRY_NS (1 * NS_PER_MS) /* something waits for room that no ring announces */

struct control_link {
    uint32_t outstanding;
    bool notify; /* something was put in and not yet announced */
};

struct control {
    struct control_config config;
    struct topic_store store;
    struct control_place *places;         /* [partitions_max] */
    struct control_topic *topics;         /* [topics_max] */
    struct slab opens;                    /* struct control_open */
    struct control_operation *operations; /* [operations_max] */
    struct control_call *calls;           /* [calls_max] */
    uint32_t operation_count;             /* under way */
    uint32_t call_count;                  /* under way */
    struct buddy pool;
    /* Scratch, used within one call of a function: an answer is built and written, or a batch is
     * decompressed, in the same bytes. */
    uint8_t *build;  /* [CONTROL_BUILD_BYTES] structs of an answer */
    uint8_t *reply;  /* [CONTROL_REPLY_BYTES] its bytes; follows build */
    uint8_t *unpack; /* [CONTROL_UNPACK_BYTES] the same as build and reply */
    uint8_t *found;  /* [CONTROL_FIND_BYTES] batch of a lookup by time, while find_busy */
    bool find_busy;
    struct control_link logs[LOG_TILES_MAX];
    bool gate_notify[CONTROL_GATES_MAX];
    struct control_backlog backlogs[CONTROL_GATES_MAX];
    struct topic_config start_topics; /* what config.broker was when the server started */
    int64_t start_numbers[BROKER_CONFIG_NUMBERS];
    struct control_metadata metadata;
    struct control_boot boot;
    struct groups *groups;
    struct coordinator *transactions;
    struct internal_log internal[INTERNAL_LOGS];
    struct control_ending ending; /* guest_transactions.c */
    uint32_t *calls_free;         /* [calls_max] stack of indexes */
    uint32_t *calls_ready;        /* [calls_max] FIFO ring of calls that can go on */
    uint32_t ready_first;
    uint32_t ready_count;
    uint64_t operation_order;
    uint64_t call_serial;
    const struct control_call *running; /* that core time goes to now; or NULL */
    uint64_t running_since_ns;
    uint32_t work; /* done in this poll */
    bool retry;    /* something waits that no ring announces */
    uint32_t stop_sent;
    uint32_t stop_answered;
    char cluster_text[23];
    char failure[sizeof(((struct diag_trail *)0)->text)];
    struct control_counters counters;
    struct control_gauges gauges;
    /* shared with other threads */
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t
        state; /* enum control_state; release pairs with control_state() */
    _Atomic uint32_t stop_asked;
    _Atomic uint32_t drain_asked;
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t
        asked; /* questions asked; release, pairs with the poll's acquire */
    struct control_question question;
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t
        answered; /* questions answered; release, pairs with control_answered() */
};

static inline void
control__count(_Atomic uint64_t *counter, uint64_t add)
{
    /* Single writer; readers may see the sum late. */
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + add, memory_order_relaxed);
}
static inline struct bytes
control__text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}
static inline bool
control__same(struct bytes a, struct bytes b)
{
    return a.count == b.count && (a.count == 0 || memcmp(a.at, b.at, a.count) == 0);
}
static inline struct bytes
control__topic_name(const struct topic *topic)
{
    return (struct bytes){(const uint8_t *)topic->name, topic->name_count};
}
static inline struct control_call *
control__call(struct control *control, uint32_t idx)
{
    CHECK(idx < control->config.limits.calls_max);
    return &control->calls[idx];
}
static inline struct control_operation *
control__operation(struct control *control, uint32_t idx)
{
    CHECK(idx < control->config.limits.operations_max);
    return &control->operations[idx];
}
/* log_link.c */
bool control__log_send(struct control *control, uint32_t log_tile, const struct request *request);
void control__logs_drain(struct control *control);
void control__logs_notify(struct control *control);
/* Starts opening a partition; false: no room now. place CONTROL_NONE: the metadata log. */
bool control__open(struct control *control, uint32_t place, uint32_t operation);
/* Gives an open partition its topic's present settings; false: no room now. */
bool control__configure(struct control *control, uint32_t place, uint32_t operation);
/* Run-time entry of a place, cleared when it is about a former partition. */
struct control_place *control__place(struct control *control, uint32_t place);
struct log_partition_config control__partition_config(const struct control *control,
                                                      uint32_t place);

/* metadata.c */
void control__metadata_poll(struct control *control);
void control__metadata_appended(struct control *control, const struct response *response);
/* Gives a producer id; false: the next block is not durable yet. */
bool control__producer_id(struct control *control, int64_t *ret_id);

/* boot.c */
void control__boot_poll(struct control *control);
void control__boot_opened(struct control *control, uint32_t place, const struct response *response);
void control__boot_read(struct control *control, const struct response *response);
void control__boot_offsets(struct control *control, const struct response *response);
void control__cluster_text(struct control *control);
void control__fail(struct control *control, const char *what, const struct diag_trail *trail);

/* find.c */
/* What is looked for in the batch that was found, and the record that answers. */
struct control_find {
    uint32_t batch_bytes;
    int64_t first_offset; /* records below are gone */
    int64_t time_ms;      /* the first record at or after it; INT64_MAX: the batch's greatest */
    int64_t ret_offset;
    int64_t ret_time_ms;
};
/* RC_OK: find->ret_* are written. Blocks: while it decompresses. */
enum rc control__find_record(struct control *control, struct control_find *find);

/* internal_log.c */
/* Index of the internal log whose topic has this name; INTERNAL_LOGS: none has. */
uint32_t control__internal_log_named(const struct control *control, struct bytes name);
/* True for the topics of internal logs: their records are the guests' alone. */
bool control__internal_log_owns(const struct control *control, const struct topic *topic);
/* Somebody asks for the guest: makes the topic when there is none. */
void control__internal_log_want(struct control *control, struct internal_log *log);
/* True while its topic was never made: the guest's tables are empty and right. */
bool control__internal_log_is_void(const struct control *control, const struct internal_log *log);
/* A record behind the others; false: no room now, or the log is not ready. */
bool control__internal_log_append(struct control *control,
                                  struct internal_log *log,
                                  const struct record *record,
                                  uint64_t *ret_number) MUST_USE;
/* Also called by the boot, for a log that is to be read before anybody is served. */
void control__internal_log_poll(struct control *control, struct internal_log *log);
void control__internal_log_answered(struct control *control,
                                    struct internal_log *log,
                                    enum control_tag tag,
                                    const struct response *response);
void control__internal_log_appended(struct control *control,
                                    struct internal_log *log,
                                    const struct response *response);
uint64_t control__internal_logs_deadline(const struct control *control);

/* guest_groups.c, guest_transactions.c */
enum rc control__groups_init(struct control *control, void *memory, struct diag_trail *trail);
enum rc control__transactions_init(struct control *control, void *memory, struct diag_trail *trail);
/* Hooks that both have. */
uint32_t control__hook_partition_count(void *ctx, struct bytes name);
struct kafka_arena control__hook_scratch(void *ctx);
struct group_time control__group_time(const struct control *control);
struct transaction_time control__transaction_time(const struct control *control);
/* Of the transaction coordinator as it stands in markers; 0 before its log was read. */
int32_t control__coordinator_epoch(struct control *control);
/* The boot's part: true when open transactions are admitted again, or cannot be. */
bool control__transactions_resumed(struct control *control);
void control__transactions_ordered(struct control *control,
                                   uint32_t ticket,
                                   const struct response *response);
/* The transactions' side of the group coordinator: may the commit be, and an end is durable. */
int16_t control__transaction_check(void *ctx,
                                   const struct kafka_txn_offset_commit_request *request);
void control__transaction_ended(void *ctx, uint64_t token, enum rc rc);

/* call_groups.c: a coordinator's answer to a call, and the token for it */
uint64_t control__call_token(const struct control *control, const struct control_call *call);
void control__group_answer(void *ctx, uint64_t token, const void *response);

/* jobs.c */
void control__jobs_poll(struct control *control);

/* Answers one request of a gate. */
void
control__respond(struct control *control, uint32_t gate, uint64_t ctx, enum rc rc, uint32_t bytes);

#endif
