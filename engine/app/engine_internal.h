/* What engine.c (life) and wire.c (construction) share. */
#ifndef EAGRE_ENGINE_APP_ENGINE_INTERNAL_H
#define EAGRE_ENGINE_APP_ENGINE_INTERNAL_H

#include "engine/app/engine.h"
#include "engine/app/node.h"
#include "log/compact/compact.h"

#define ENGINE_JOB_SLOTS 1024u
#define ENGINE_EXCHANGE_TILE 1u /* on control's core, behind control */

/* Moves forward only, in engine_stop_step(). */
enum engine_stage {
    ENGINE_RUNNING,           /* serves */
    ENGINE_GATES_STOPPING,    /* no new connections or sessions; what is under way is answered */
    ENGINE_EXCHANGE_STOPPING, /* the native door's control connections are closed */
    ENGINE_LOGS_STOPPING, /* control tells the log tiles to flush, sync and write a clean checkpoint
                           */
    ENGINE_STOPPED,       /* the cores may be ended */
};

struct engine_job_rings {
    struct ring jobs;
    struct ring done;
};

struct engine_link {
    struct ring requests;
    struct ring responses;
};

/* Between a door and the exchange. */
struct engine_grant_rings {
    struct ring grants;
    struct ring events;
};

/* From one door to another. */
struct engine_forward {
    struct ring ring;
    struct byte_ring bytes;
};

struct engine {
    const struct settings *settings;
    const struct engine_native *native; /* NULL: no native door */
    struct engine_layout layout;
    struct disk *disk;
    struct tcp *tcp;
    struct meta_block meta;
    struct mem_arena arena;
    uint64_t memory_bytes;
    int listener_fd;
    uint16_t port;

    struct core cores[ENGINE_CORES_MAX];
    struct clock *clocks[ENGINE_CORES_MAX];
    struct io *ios[ENGINE_CORES_MAX];
    struct trace traces[ENGINE_CORES_MAX];

    uint32_t gate_core[REQUESTERS_MAX];
    uint32_t gate_tile[REQUESTERS_MAX];
    uint32_t net_core[DOOR_TILES_MAX];
    uint32_t net_tile[DOOR_TILES_MAX];
    uint32_t log_core[LOG_TILES_MAX];
    uint32_t log_tile[LOG_TILES_MAX];

    struct engine_link log_links[LOG_TILES_MAX][REQUESTERS_MAX]; /* requester to log tile */
    struct engine_link control_links[REQUESTERS_MAX];      /* [requester] gate or door to control */
    struct byte_ring bytes[LOG_TILES_MAX][DOOR_TILES_MAX]; /* door to log tile */
    struct engine_job_rings jobs[LOG_TILES_MAX];

    struct log *logs[LOG_TILES_MAX];
    struct metrics_tile *log_metrics[LOG_TILES_MAX];
    struct metrics_partition *partition_metrics[LOG_TILES_MAX]; /* [partitions_max] each */
    struct metrics_tile *gate_metrics[REQUESTERS_MAX - 1];
    struct metrics_tile *control_metrics;
    struct compact_link *compact_links[LOG_TILES_MAX];
    struct compactor *compactor;
    bool has_trace; /* stamps are kept (the simulator's life test; off in production) */
    struct broker brokers[LOG_TILES_MAX];
    struct gate *gates[REQUESTERS_MAX - 1];
    struct control *control;
    struct engine_grant_rings *grant_rings; /* [net_count] */
    struct engine_forward *forwards;        /* [net_count][net_count], from and to */
    struct metrics_tile *net_metrics[DOOR_TILES_MAX];
    struct metrics_tile *exchange_metrics;
    struct door *doors[DOOR_TILES_MAX];
    struct exchange *exchange;
    enum engine_stage stage;
};

/* Requesters of log tiles and control are control itself, then gates, then doors. */
static inline uint32_t
engine__requester_count(const struct engine *engine)
{
    return 1 + engine->layout.gate_count + engine->layout.net_count;
}

static inline uint32_t
engine__door_requester(const struct engine *engine, uint32_t door_idx)
{
    return 1 + engine->layout.gate_count + door_idx;
}

/* The core that runs control: one above the layout's. */
static inline uint32_t
engine__control_core(const struct engine *engine)
{
    return engine->layout.core_count;
}

/* The core that runs the compactor: above control's. */
static inline uint32_t
engine__compact_core(const struct engine *engine)
{
    return engine->layout.core_count + 1;
}

static inline uint32_t
engine__requester_core(const struct engine *engine, uint32_t requester)
{
    if (requester == REQUESTER_CONTROL)
        return engine__control_core(engine);
    if (requester <= engine->layout.gate_count)
        return engine->gate_core[requester - 1];
    return engine->net_core[requester - 1 - engine->layout.gate_count];
}

/* wire.c */
enum rc engine__take_metrics(struct engine *engine,
                             enum metrics_owner owner,
                             const char *tile,
                             struct metrics_tile **ret_metrics,
                             struct diag_trail *trail) MUST_USE;

/* wire_native.c: doors, the exchange, and the rings between them. */
enum rc engine__wire_native(struct engine *engine, struct diag_trail *trail) MUST_USE;
const char *engine__door_name(uint32_t door_idx);

#endif
