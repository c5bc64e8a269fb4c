/* What the files of this folder share.
 *
 *   control.c        life, poll, gates' rings, answers     jobs.c     disk jobs
 *   log_link.c       requests to log tiles and their answers
 *   metadata.c       the metadata log: batches, producer ids
 *   boot.c           from an empty store to CONTROL_READY
 *   operation.c      one topic being created, grown or deleted          publish.c  snapshots for
 * gates call.c           a Kafka request from arrival to answer call_metadata.c call_topics.c
 * call_configs.c call_offsets.c call_small.c   one family of APIs each find.c           the exact
 * record of a time
 *
 * Everything is owned by control's thread. Indexes are 32 bits with CONTROL_NONE for "none". */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_INTERNAL_H
#define EAGRE_ENGINE_CONTROL_CONTROL_INTERNAL_H

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/control/control.h"
#include "engine/pool/buddy.h"
#include "engine/pool/slab.h"
#include "engine/topic/topic_store.h"
#include "log/append/log.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_frame.h"
#include "net/request/topic_snapshot.h"

#define CONTROL_NONE UINT32_MAX
#define CONTROL_GATES_MAX (REQUESTERS_MAX - 1)
#define CONTROL_OPENS_MAX 1024u   /* partitions being opened at the same time */
#define CONTROL_LOG_CREDITS 1024u /* unanswered requests per log tile; < REQUEST_RING_SLOTS */
#define CONTROL_SNAPSHOTS_MAX 64u /* snapshots a gate has not given back */
#define CONTROL_JOBS_PER_POLL 8u  /* disk jobs per log tile and poll */
#define CONTROL_RESPONSES_PER_POLL 512u
#define CONTROL_REQUESTS_PER_POLL 64u        /* per gate */
#define CONTROL_METADATA_BYTES (256u * 1024) /* one batch of the metadata log */
#define CONTROL_REPLY_BYTES (16u << 20)      /* largest answer */
#define CONTROL_BUILD_BYTES (48u << 20)      /* structs of the largest answer */
#define CONTROL_FIND_BYTES (8u << 20)        /* one stored batch */
#define CONTROL_UNPACK_BYTES (64u << 20)     /* one batch, decompressed */
#define CONTROL_READ_BYTES (1u << 20)        /* piece of the metadata log at boot */
#define CONTROL_CALL_FACTOR \
    (KAFKA_ARENA_FACTOR + 32u) /* call memory per byte of a request's body */
#define CONTROL_MESSAGE_MAX 200u
#define CONTROL_RETRY_NS (1 * NS_PER_MS) /* something waits for room that no ring announces */

/* ---- log tiles */

/* What an answer of a log tile belongs to; bits [63:56] of ctx. [55:32]: object, [31:0]: item. */
enum control_tag {
    TAG_METADATA_APPEND = 1,
    TAG_METADATA_READ,
    TAG_METADATA_OFFSETS,
    TAG_OPEN,         /* object: place in opens */
    TAG_OPEN_OFFSETS, /* object: place in opens */
    TAG_DROP,         /* object: operation, or 0xffffff: nobody waits */
    TAG_PRUNE,
    TAG_CALL, /* object: call, item: item */
    TAG_STOP,
};
#define CONTROL_TAG_OBJECT_NONE 0xffffffu

static ALWAYS_INLINE uint64_t
control__tag(enum control_tag tag, uint32_t object, uint32_t item)
{
    return (uint64_t)tag << 56 | (uint64_t)(object & 0xffffffu) << 32 | item;
}

/* A partition being opened: REQUEST_OPEN, then REQUEST_OFFSETS for its leader epoch. */
struct control_open {
    struct log_partition_config config; /* borrowed by the log tile until it answers */
    uint32_t operation;                 /* CONTROL_NONE: the boot */
    uint32_t place; /* in the store's partitions; CONTROL_NONE: the metadata log */
};

/* Run-time side of a partition, at the same place as in the store. */
struct control_place {
    uint64_t incarnation; /* this entry is about; another one in the store: nothing known yet */
    uint32_t slot;        /* in its log tile; UINT32_MAX: not open */
    int32_t leader_epoch;
    uint16_t log_tile;
    uint16_t rc;        /* enum rc */
    uint64_t listed_by; /* serial of the last call that named it: a second naming is noticed */
};

/* Run-time side of a topic, at the same idx as in the store. */
struct control_topic {
    uint64_t first_incarnation; /* of the topic this entry is about */
    uint32_t visible_count;     /* partitions that gates and clients know; 0: not published yet */
};

/* ---- operations */

enum operation_kind {
    OPERATION_CREATE,
    OPERATION_GROW,
    OPERATION_DELETE,
    OPERATION_PRODUCERS,
    OPERATION_CLUSTER
};

enum operation_state {
    OPERATION_FREE,
    OPERATION_WAITING,    /* another operation on that name is under way */
    OPERATION_QUEUED,     /* its record goes into the next metadata batch */
    OPERATION_APPENDING,  /* its record is in the batch under way */
    OPERATION_OPENING,    /* partitions are being opened */
    OPERATION_PUBLISHING, /* its snapshot waits for room in the gates' rings */
    OPERATION_UNDOING,    /* an open failed: its TOPIC_DELETED goes into the next metadata batch */
    OPERATION_UNDO_APPENDING,
    OPERATION_DROPPING, /* answered; partitions are being dropped */
    OPERATION_STATE_COUNT
};

struct control_operation {
    uint8_t kind;    /* enum operation_kind */
    uint8_t state;   /* enum operation_state */
    bool may_exist;  /* CREATE: an existing topic is a success (auto-create) */
    bool holds_name; /* between QUEUED and the end of PUBLISHING */
    int16_t error;   /* enum kafka_error, 0 so far */
    uint32_t call;   /* CONTROL_NONE: nobody waits */
    uint32_t item;
    uint32_t cursor;                /* next partition to open or drop */
    uint32_t end;                   /* one past the last */
    uint32_t outstanding;           /* requests at log tiles */
    uint64_t order;                 /* operations start in the order of their arrival */
    struct topic_snapshot *dropped; /* what DELETE or an undo drops; with its references */
    struct topic_record record;
    char message[CONTROL_MESSAGE_MAX]; /* for the client; "" none */
};

/* ---- calls */

enum call_state {
    CALL_FREE,
    CALL_RUNNING, /* items are issued or awaited */
};

struct control_item {
    struct bytes message; /* in the call's memory, or static; at NULL: none */
    uint8_t id[16];
    int64_t offset;
    int64_t timestamp_ms;
    int32_t leader_epoch;
    uint32_t place; /* partition in the store */
    int16_t error;
    uint8_t waits; /* an operation or a log tile owes its result */
};
_Static_assert(sizeof(struct control_item) <= 64, "CONTROL_CALL_FACTOR");

/* A request of a gate. */
struct control_call {
    uint8_t state; /* enum call_state */
    uint32_t gate;
    uint64_t ctx; /* the gate's */
    struct bytes frame;
    struct bytes body;
    uint8_t *reply;
    uint32_t reply_capacity;
    struct kafka_request_header header;
    uint8_t *block;             /* of the pool: message and items */
    struct kafka_arena arena;   /* what is left of it */
    void *message;              /* decoded request */
    struct control_item *items; /* [item_count] */
    uint32_t item_count;
    uint32_t next_item; /* first one not yet issued */
    uint32_t outstanding;
    int64_t producer_id;
    uint64_t serial; /* of this call, never reused */
};

/* One API: how its request becomes items, what each item needs, and the answer. */
struct control_api {
    int16_t key;
    /* Fills items; KAFKA errors of items that need nothing more. RC_OK, or refuses the whole
     * request. */
    enum rc (*begin)(struct control *control, struct control_call *call);
    /* Starts item call->next_item. False: no room now, offer it again. NULL: nothing to start. */
    bool (*issue)(struct control *control, struct control_call *call, uint32_t item);
    /* A log tile's answer to an item. NULL: never asks. */
    void (*answered)(struct control *control,
                     struct control_call *call,
                     uint32_t item,
                     const struct response *response);
    /* Builds the answer in arena; the result is a struct of the API's response type. */
    void *(*finish)(struct control *control, struct control_call *call, struct kafka_arena *arena);
    /* Upper bound of the answer's bytes where doing it twice would show; NULL: harmless to do
     * again. */
    uint64_t (*reply_bound)(const struct control_call *call);
};

struct control_backlog {
    struct request *requests; /* FIFO ring [REQUEST_RING_SLOTS] */
    uint32_t first;
    uint32_t count;
    uint32_t snapshots; /* the gate has not given back */
};

/* ---- metadata and boot */

enum boot_state {
    BOOT_BEGIN,       /* open the metadata log */
    BOOT_OPENING_LOG, /* waits for it */
    BOOT_OFFSETS,     /* ask its end */
    BOOT_READ,        /* ask the next piece */
    BOOT_WAIT,        /* waits for offsets or a piece */
    BOOT_CLUSTER,     /* the log was empty: the cluster record is being written */
    BOOT_OPEN,        /* partitions are being opened */
    BOOT_PRUNE,       /* log tiles forget what metadata do not name */
    BOOT_PUBLISH,     /* topics go to the gates */
    BOOT_DONE,
    BOOT_FAILED,
};

struct control_metadata {
    uint32_t slot;
    uint64_t next_read; /* boot: offset of the next batch */
    uint64_t end;       /* boot: high watermark */
    bool appending;
    bool failed; /* the log refused an append for good: no changes until restart */
    uint32_t batch_bytes;
    uint8_t *batch;            /* [CONTROL_METADATA_BYTES] */
    uint64_t next_incarnation; /* of the batch being built */
    uint64_t producer_next;
    uint64_t producer_end;  /* ids [producer_next, producer_end) may be handed out */
    bool producers_asked;   /* somebody waits for the next block */
    bool producers_pending; /* its record is on the way */
};

struct control_boot {
    enum boot_state state;
    uint32_t topic;     /* cursor over topics */
    uint32_t partition; /* cursor inside it */
    uint32_t outstanding;
    uint32_t tile; /* cursor over log tiles */
    bool cluster_asked;
    uint8_t *piece;
};

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
    uint8_t *build;  /* [CONTROL_BUILD_BYTES] structs of an answer */
    uint8_t *reply;  /* [CONTROL_REPLY_BYTES] its bytes */
    uint8_t *found;  /* [CONTROL_FIND_BYTES] batch of a lookup by time */
    uint8_t *unpack; /* [CONTROL_UNPACK_BYTES] */
    bool find_busy;
    struct control_link logs[LOG_TILES_MAX];
    bool gate_notify[CONTROL_GATES_MAX];
    struct control_backlog backlogs[CONTROL_GATES_MAX];
    struct control_metadata metadata;
    struct control_boot boot;
    uint64_t operation_order;
    uint64_t call_serial;
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

/* operation.c */
/* Starts an operation for a call's item; CONTROL_NONE: no room now. record: kind, name or id,
 * counts and config as the kind needs. */
struct operation_request {
    enum operation_kind kind;
    bool may_exist;
    uint32_t call;
    uint32_t item;
    const struct topic_record *record;
};
uint32_t control__operation_start(struct control *control, const struct operation_request *request);
void control__operations_poll(struct control *control);
/* The record of an operation is durable (rc RC_OK) or was refused. */
void control__operation_appended(struct control *control, uint32_t idx, enum rc rc);
void control__operation_opened(struct control *control, uint32_t idx, enum rc rc);
void control__operation_dropped(struct control *control, uint32_t idx);
void
control__operation_fail(struct control *control, uint32_t idx, int16_t error, const char *message);
/* Partitions that gates and clients know; 0: the topic is not published. */
uint32_t control__visible(const struct control *control, const struct topic *topic);

/* publish.c */
/* Takes memory for a snapshot of the first `count` partitions of a topic; NULL: no room now. */
struct topic_snapshot *
control__snapshot_new(struct control *control, const struct topic *topic, uint32_t count);
/* Sends it to every gate and lets go of it; false: no room now, the caller keeps it. */
bool control__publish(struct control *control, struct topic_snapshot *snapshot);
void control__snapshot_keep(struct topic_snapshot *snapshot);
void control__snapshot_let_go(struct control *control, const struct topic_snapshot *snapshot);
bool control__publish_topic(struct control *control, const struct topic *topic, uint32_t count);

/* call.c */
void control__calls_poll(struct control *control);
void control__call_answered(struct control *control,
                            uint32_t idx,
                            uint32_t item,
                            const struct response *response);
void control__call_operation_done(struct control *control,
                                  const struct control_operation *operation,
                                  const uint8_t *topic_id);
void control__item_message(struct control_call *call, struct control_item *item, const char *text);
const struct control_api *control__api(int16_t key);
extern const struct control_api control__api_metadata;
extern const struct control_api control__api_create_topics;
extern const struct control_api control__api_delete_topics;
extern const struct control_api control__api_create_partitions;
extern const struct control_api control__api_describe_configs;
extern const struct control_api control__api_list_offsets;
extern const struct control_api control__api_epoch_end;
extern const struct control_api control__api_init_producer;
extern const struct control_api control__api_find_coordinator;
extern const struct control_api control__api_describe_cluster;

/* find.c */
/* The first record at or after time_ms in the batch found (exact: with the batch's greatest time).
 * Writes *ret_offset and *ret_time. */
enum rc control__find_record(struct control *control,
                             uint32_t batch_bytes,
                             int64_t time_ms,
                             int64_t *ret_offset,
                             int64_t *ret_time);

/* jobs.c */
void control__jobs_poll(struct control *control);

/* Answers one request of a gate. */
void
control__respond(struct control *control, uint32_t gate, uint64_t ctx, enum rc rc, uint32_t bytes);

#endif
