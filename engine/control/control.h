/* The control tile: metadata, admin requests, lookups by time, and every slow file operation of the
 * log tiles.
 *
 * A tile whose body is an ordinary thread, so that what blocks here (disk jobs, decompression)
 * delays nobody's records. It is requester 0 of every log tile, the answering side of every gate's
 * control link, and the only writer of the metadata log.
 *
 *   gates ──REQUEST_KAFKA──► backlog ► call ► operation per topic ─► metadata log ─► REQUEST_OPEN …
 * ─► snapshot ─► answer log tiles ──struct disk_job *──► disk_job_run() ──► back
 *
 * Life: control_init() → the core polls control_tile_ops → boots by itself (reads the metadata log
 * through log tile 0, opens every partition, publishes every topic) → control_state() is
 * CONTROL_READY → control_stop() when the gates are drained → CONTROL_STOPPED when every log tile
 * has answered REQUEST_STOP; it must be polled on while log tiles live, because it runs their disk
 * jobs.
 *
 * Order that clients rely on: the snapshot of a topic goes into a gate's ring before the answer
 * that tells of it. One operation per topic name at a time; different topics go on side by side and
 * share metadata batches.
 *
 * Limits: struct control_limits, each with the name of its setting. */
#ifndef EAGRE_ENGINE_CONTROL_CONTROL_H
#define EAGRE_ENGINE_CONTROL_CONTROL_H

#include "engine/base/diag.h"
#include "engine/config/config.h"
#include "engine/group/group.h"
#include "engine/metrics/metrics.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "engine/topic/broker_config.h"
#include "engine/transaction/transaction.h"
#include "hw/clock/clock.h"
#include "hw/disk/disk.h"
#include "net/request/request.h"

/* Usual values of limits that are no settings. */
#define CONTROL_CALLS 4096u /* a parked Join or Sync is one */
#define CONTROL_OPERATIONS 128u
#define CONTROL_ORDERS \
    512u /* unanswered orders of transactions; leaves log tiles half of credits */
#define CONTROL_POOL_BYTES (32 * MIB)
#define CONTROL_POOL_BYTES_MIN (16 * MIB)
#define CONTROL_DIRECTORY_MAX 256u
#define CONTROL_HOST_MAX 256u
#define CONTROL_BROKER_CONFIGS_MAX 32u
#define CONTROL_VALUE_MAX 288u

/* A gate's two rings, seen from here. */
struct control_gate_link {
    struct ring *requests;  /* of struct request; we consume */
    struct ring *responses; /* of struct response; we produce */
    struct waker *waker;    /* of the gate's core; NULL: none (tests) */
};

/* A log tile's four rings, seen from here. */
struct control_log_link {
    struct ring *requests;  /* of struct request; we produce */
    struct ring *responses; /* of struct response; we consume */
    struct ring *jobs;      /* of struct disk_job *; we consume */
    struct ring *jobs_done; /* of struct disk_job *; we produce */
    struct waker *waker;    /* of the log tile's core; NULL: none (tests) */
};

/* The names in brackets are those of settings.def. */
struct control_limits {
    uint32_t topics_max;           /* [topics_max] */
    uint32_t partitions_max;       /* [partitions_max] times log tiles: of all topics together */
    uint32_t topic_partitions_max; /* [topic.partitions_max] of one topic */
    uint32_t calls_max;            /* requests under way, 1 .. 4096; CONTROL_CALLS */
    uint32_t operations_max;       /* topics being changed, 2 .. 4096; CONTROL_OPERATIONS */
    uint64_t
        pool_bytes; /* requests and snapshots, multiple of 4 KiB, >= 16 MiB; CONTROL_POOL_BYTES */
    uint32_t quota_entities_max; /* [quota.entities_max] client ids with limits; 0: 1024 */
    struct groups_limits groups;
    struct coordinator_limits transactions;
};

/* One line of DescribeConfigs for this broker. */
struct control_broker_config {
    const char *key;      /* static */
    const char *sentence; /* static */
    char value[CONTROL_VALUE_MAX];
    bool is_default;
    enum topic_config_type type;
};

struct control_config {
    struct clock *clock;          /* of this core */
    struct disk *disk;            /* for disk jobs */
    struct metrics_tile *metrics; /* of this tile; NULL: none (tests) */
    uint32_t gate_count;          /* [0, REQUESTERS_MAX - 1] */
    struct control_gate_link gates[REQUESTERS_MAX - 1];
    uint32_t log_tile_count; /* [1, LOG_TILES_MAX] */
    struct control_log_link logs[LOG_TILES_MAX];
    struct control_limits limits;
    struct topic_config broker; /* the broker's overrides of topic defaults */
    int32_t node_id;
    char host[CONTROL_HOST_MAX];      /* advertised, ends with a NUL */
    uint16_t port;                    /* advertised */
    bool auto_create;                 /* [topic.auto_create] on Metadata of an unknown name */
    uint64_t quota_window_ns;         /* [quota.window.size.seconds] */
    uint32_t quota_window_num;        /* [quota.window.num] */
    uint32_t default_partitions;      /* [topic.partitions_default] */
    uint32_t producer_block;          /* [producer.id_block] ids per durable record */
    char data[CONTROL_DIRECTORY_MAX]; /* [data] as it was given */
    char cluster_id[65]; /* [cluster.id] what clients are told; "": the id in the metadata log */
    int64_t number_presets[BROKER_CONFIG_NUMBERS]; /* of settings that change at run time */
    struct control_broker_config configs[CONTROL_BROKER_CONFIGS_MAX];
    uint32_t config_count;
};

enum control_state {
    CONTROL_BOOTING,  /* metadata are read, partitions opened */
    CONTROL_READY,    /* serves */
    CONTROL_FAILED,   /* boot found something it must not go on with; control_failure() says what */
    CONTROL_STOPPING, /* log tiles were told to stop */
    CONTROL_STOPPED,  /* all of them have answered */
};

/* Written by control, read by anyone (relaxed). Never go back. */
struct control_counters {
    _Atomic uint64_t calls;             /* Kafka requests answered */
    _Atomic uint64_t calls_refused;     /* too large, malformed or beyond a limit */
    _Atomic uint64_t operations;        /* topics created, changed or deleted, failures included */
    _Atomic uint64_t operations_failed; /* of these */
    _Atomic uint64_t metadata_batches;  /* appended to the metadata log */
    _Atomic uint64_t metadata_records;
    _Atomic uint64_t snapshots; /* sent to gates */
    _Atomic uint64_t finds;     /* lookups by time that looked into a batch */
    _Atomic uint64_t disk_jobs;
    _Atomic uint64_t disk_jobs_failed;
    _Atomic uint64_t disk_job_ns; /* spent in them */
};

struct control_gauges {
    _Atomic uint64_t topics;
    _Atomic uint64_t partitions;
    _Atomic uint64_t partitions_failed; /* could not be opened, or halted */
    _Atomic uint64_t calls;
    _Atomic uint64_t operations;
    _Atomic uint64_t pool_used_bytes;
};

/* Takes from the settings what control needs: limits, defaults of topics, addresses, the lines of
 * DescribeConfigs. Rings, clock, disk, gates and log tiles are the caller's to fill in;
 * log_tile_count must be set before. kafka_port: the port listened on, which is advertised when
 * nothing else is said. Runs on: start-up.  Allocates: nothing.  Blocks: never. */
void control_config_take(struct control_config *config,
                         const struct settings *settings,
                         uint16_t kafka_port);

struct control;

extern const struct tile_ops control_tile_ops;

/* Bytes that control_init() needs; only what is used is ever touched. */
uint64_t control_footprint(const struct control_config *config);

/* memory: control_footprint() bytes, 4 KiB aligned, borrowed until the end. config is copied; what
 * it points to is borrowed. RC_INVALID (cause in trail) when a limit is out of range. Runs on:
 * start-up.  Allocates: nothing.  Blocks: never. */
enum rc control_init(void *memory,
                     const struct control_config *config,
                     struct control **ret_control,
                     struct diag_trail *trail) MUST_USE;

/* Any thread (acquire). */
enum control_state control_state(const struct control *control);
static inline bool
control_is_ready(const struct control *control)
{
    return control_state(control) == CONTROL_READY;
}

/* Why the boot failed; meaningful only when control_state() is CONTROL_FAILED, "" otherwise. Any
 * thread. */
const char *control_failure(const struct control *control);

/* Answers whatever is parked for an event that need not come (members that wait for a rebalance),
 * so that connections can be drained; they are told to look for the coordinator again. Any thread;
 * the caller wakes control's core. */
void control_drain(struct control *control);

/* Asks for the end: every log tile gets REQUEST_STOP once no call is under way. To be called when
 * the gates are drained. Any thread; the caller wakes control's core. */
void control_stop(struct control *control);

const struct control_counters *control_counters(const struct control *control);
const struct control_gauges *control_gauges(const struct control *control);

/* ---- questions of other threads (admin pages)
 *
 * A question is a function that control runs in its own poll, so it may look at everything here
 * without a lock. One thread asks at a time. control_ask() publishes it and wakes control;
 * control_answered() tells when it has run. */
struct control_question {
    void (*run)(struct control *control, void *ctx);
    void (*done)(void *ctx); /* called once control_answered() is true; may be NULL */
    void *ctx;
};
/* Copies the question. False: the former one has not been answered. waker: of control's core, or
 * NULL. Any one thread. */
bool control_ask(struct control *control,
                 const struct control_question *question,
                 struct waker *waker) MUST_USE;
bool control_answered(const struct control *control);

/* What a question may ask. All borrowed for the question's run. */
struct control_topic_view {
    const char *name;
    const uint8_t *id; /* [16] */
    uint32_t partition_count;
    bool is_memory; /* eagre.durability = memory */
    bool is_internal;
    int64_t created_ms;
    int64_t retention_ms;
    uint32_t topic_idx;
};
struct control_partition_view {
    uint32_t partition;
    uint64_t incarnation;
    uint32_t log_tile;
    uint32_t slot; /* UINT32_MAX: not open */
    int32_t leader_epoch;
    enum rc rc; /* RC_OK, or why it is not served */
};
/* Visits the visible topics from place *cursor on; false at the end. *cursor starts at 0. */
bool
control_next_topic(const struct control *control, uint32_t *cursor, struct control_topic_view *ret);
/* A visible topic by name; false: there is none. */
bool control_find_topic(const struct control *control,
                        struct bytes name,
                        struct control_topic_view *ret) MUST_USE;
/* Facts of the data directory, its free space as it is now; RC_NOT_FOUND: it has none (tests). */
enum rc control_disk_facts(const struct control *control, struct disk_facts *ret_facts) MUST_USE;
/* The coordinator's groups, to be viewed on control's thread; NULL before there are any. */
const struct groups *control_groups(const struct control *control);
const struct coordinator *control_transactions(const struct control *control);
/* partition < view->partition_count. */
void control_partition(const struct control *control,
                       const struct control_topic_view *topic,
                       uint32_t partition,
                       struct control_partition_view *ret);
/* 22 characters of base64 and a NUL. */
const char *control_cluster_id(const struct control *control);

#endif
