/* What engine.c (life) and wire.c (construction) share. */
#ifndef EAGRE_ENGINE_APP_ENGINE_INTERNAL_H
#define EAGRE_ENGINE_APP_ENGINE_INTERNAL_H

#include "engine/app/engine.h"
#include "engine/app/node.h"

#define ENGINE_JOB_SLOTS 1024u

/* Moves forward only, in engine_stop_step(). */
enum engine_stage {
    ENGINE_RUNNING,        /* serves */
    ENGINE_GATES_STOPPING, /* no new connections; requests under way are answered */
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

struct engine {
    const struct settings *settings;
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
    uint32_t log_core[LOG_TILES_MAX];
    uint32_t log_tile[LOG_TILES_MAX];

    struct engine_link log_links[LOG_TILES_MAX][REQUESTERS_MAX]; /* requester to log tile */
    struct engine_link control_links[REQUESTERS_MAX]; /* [gate_idx + 1] gate to control */
    struct engine_job_rings jobs[LOG_TILES_MAX];

    struct log *logs[LOG_TILES_MAX];
    struct metrics_tile *log_metrics[LOG_TILES_MAX];
    struct metrics_partition *partition_metrics[LOG_TILES_MAX]; /* [partitions_max] each */
    struct metrics_tile *gate_metrics[REQUESTERS_MAX - 1];
    struct metrics_tile *control_metrics;
    bool has_trace; /* stamps are kept (the simulator's life test; off in production) */
    struct broker brokers[LOG_TILES_MAX];
    struct gate *gates[REQUESTERS_MAX - 1];
    struct control *control;
    enum engine_stage stage;
};

/* The core that runs control: one above the layout's. */
static inline uint32_t
engine__control_core(const struct engine *engine)
{
    return engine->layout.core_count;
}

#endif
