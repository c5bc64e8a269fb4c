#include "engine/app/engine_internal.h"

#include "engine/base/check.h"

#include <stdio.h>

/* ---- small views ---- */

uint32_t
engine_core_count(const struct engine *engine)
{
    return engine->layout.core_count + 2;
}

uint32_t
engine_control_core(const struct engine *engine)
{
    return engine__control_core(engine);
}

struct core *
engine_core(struct engine *engine, uint32_t core_idx)
{
    CHECK(core_idx < engine_core_count(engine));
    return &engine->cores[core_idx];
}

const struct engine_layout *
engine_layout(const struct engine *engine)
{
    return &engine->layout;
}

struct control *
engine_control(struct engine *engine)
{
    return engine->control;
}

struct gate *
engine_gate(struct engine *engine, uint32_t gate_idx)
{
    CHECK(gate_idx < engine->layout.gate_count);
    return engine->gates[gate_idx];
}

struct door *
engine_door(struct engine *engine, uint32_t door_idx)
{
    CHECK(door_idx < engine->layout.net_count);
    return engine->doors[door_idx];
}

struct log *
engine_log(struct engine *engine, uint32_t log_idx)
{
    CHECK(log_idx < engine->layout.log_count);
    return engine->logs[log_idx];
}

const struct broker *
engine_broker(const struct engine *engine, uint32_t log_idx)
{
    CHECK(log_idx < engine->layout.log_count);
    return &engine->brokers[log_idx];
}

struct trace *
engine_trace(struct engine *engine, uint32_t core_idx)
{
    CHECK(core_idx < engine_core_count(engine));
    return &engine->traces[core_idx];
}

const struct mem_arena *
engine_memory(const struct engine *engine)
{
    return &engine->arena;
}

uint16_t
engine_kafka_port(const struct engine *engine)
{
    return engine->port;
}

void
engine_keep_trace(struct engine *engine)
{
    engine->has_trace = true;
}

void
engine_admin_config(struct engine *engine, struct admin_config *ret_config)
{
    *ret_config = (struct admin_config){
        .control = engine->control,
        .control_waker = &engine->cores[engine__control_core(engine)].waker,
        .core_count = engine_core_count(engine),
        .gate_count = engine->layout.gate_count,
        .log_count = engine->layout.log_count,
        .log_slots = (uint32_t)engine->settings->partitions_max,
        .control_metrics = engine->control_metrics,
        .door_count = engine->layout.net_count,
        .exchange = engine->exchange,
        .exchange_metrics = engine->exchange_metrics,
    };
    for (uint32_t i = 0; i < engine_core_count(engine); i++)
        ret_config->cores[i] = &engine->cores[i];
    for (uint32_t g = 0; g < engine->layout.gate_count; g++) {
        ret_config->gates[g] = engine->gates[g];
        ret_config->gate_metrics[g] = engine->gate_metrics[g];
    }
    for (uint32_t i = 0; i < engine->layout.net_count; i++) {
        ret_config->doors[i] = engine->doors[i];
        ret_config->nics[i] = engine->native->nics[i];
        ret_config->door_metrics[i] = engine->net_metrics[i];
    }
    for (uint32_t l = 0; l < engine->layout.log_count; l++) {
        ret_config->brokers[l] = &engine->brokers[l];
        ret_config->log_metrics[l] = engine->log_metrics[l];
        ret_config->log_partitions[l] = engine->partition_metrics[l];
    }
}

/* ---- create ---- */

/* Numbers the tiles of each kind in the order in which the layout names them. */
static void
engine_place(struct engine *engine)
{
    uint32_t gate_idx = 0;
    uint32_t log_idx = 0;
    uint32_t net_idx = 0;

    for (uint32_t c = 0; c < engine->layout.core_count; c++) {
        const struct engine_core_layout *core = &engine->layout.cores[c];
        for (uint32_t t = 0; t < core->tile_count; t++) {
            switch (core->tiles[t]) {
            case ENGINE_TILE_GATE:
                engine->gate_core[gate_idx] = c;
                engine->gate_tile[gate_idx++] = t;
                break;
            case ENGINE_TILE_LOG:
                engine->log_core[log_idx] = c;
                engine->log_tile[log_idx++] = t;
                break;
            case ENGINE_TILE_NET:
                engine->net_core[net_idx] = c;
                engine->net_tile[net_idx++] = t;
                break;
            }
        }
    }
    CHECK(gate_idx == engine->layout.gate_count);
    CHECK(log_idx == engine->layout.log_count);
    CHECK(net_idx == engine->layout.net_count);
    CHECK(engine__requester_count(engine) <= REQUESTERS_MAX);
}

static enum rc
engine_take_link(struct engine *engine,
                 const char *name,
                 struct engine_link *link,
                 struct diag_trail *trail)
{
    size_t request_bytes = ring_footprint(sizeof(struct request), REQUEST_RING_SLOTS);
    size_t response_bytes = ring_footprint(sizeof(struct response), REQUEST_RING_SLOTS);
    void *memory;

    enum rc rc = mem_arena_take(
        &engine->arena, name, request_bytes + response_bytes, &memory, trail);
    if (rc != RC_OK)
        return rc;
    ring_init(&link->requests, memory, sizeof(struct request), REQUEST_RING_SLOTS);
    ring_init(&link->responses,
              (uint8_t *)memory + request_bytes,
              sizeof(struct response),
              REQUEST_RING_SLOTS);
    return RC_OK;
}

static enum rc
engine_take_job_rings(struct engine *engine,
                      struct engine_job_rings *rings,
                      struct diag_trail *trail)
{
    size_t bytes = ring_footprint(sizeof(struct disk_job *), ENGINE_JOB_SLOTS);
    void *memory;

    enum rc rc = mem_arena_take(&engine->arena, "disk job rings", 2 * bytes, &memory, trail);
    if (rc != RC_OK)
        return rc;
    ring_init(&rings->jobs, memory, sizeof(struct disk_job *), ENGINE_JOB_SLOTS);
    ring_init(&rings->done, (uint8_t *)memory + bytes, sizeof(struct disk_job *), ENGINE_JOB_SLOTS);
    return RC_OK;
}

static enum rc
engine_take_named_link(struct engine *engine,
                       uint32_t requester,
                       uint32_t log_idx,
                       struct engine_link *link,
                       struct diag_trail *trail)
{
    char name[2 * MEM_NAME_MAX]; /* cut by the arena if need be */

    if (requester == REQUESTER_CONTROL)
        snprintf(name, sizeof(name), "rings control to log%u", log_idx);
    else if (requester <= engine->layout.gate_count)
        snprintf(name, sizeof(name), "rings gate%u to log%u", requester - 1, log_idx);
    else
        snprintf(name,
                 sizeof(name),
                 "rings net%u to log%u",
                 requester - 1 - engine->layout.gate_count,
                 log_idx);
    return engine_take_link(engine, name, link, trail);
}

static enum rc
engine_take_rings(struct engine *engine, struct diag_trail *trail)
{
    enum rc rc = RC_OK;

    for (uint32_t l = 0; rc == RC_OK && l < engine->layout.log_count; l++) {
        rc = engine_take_job_rings(engine, &engine->jobs[l], trail);
        for (uint32_t r = 0; rc == RC_OK && r < engine__requester_count(engine); r++)
            rc = engine_take_named_link(engine, r, l, &engine->log_links[l][r], trail);
    }
    for (uint32_t r = 1; rc == RC_OK && r < engine__requester_count(engine); r++)
        rc = engine_take_link(engine, "rings to control", &engine->control_links[r], trail);
    return rc;
}

enum rc
engine_create(const struct engine_config *config,
              struct engine **ret_engine,
              struct diag_trail *trail)
{
    CHECK(config->layout->core_count + 2 <= ENGINE_CORES_MAX);
    struct engine *engine = mem_boot_alloc(sizeof(*engine));

    if (engine == NULL)
        return RC_NO_MEMORY;
    engine->settings = config->settings;
    engine->layout = *config->layout;
    engine->disk = config->disk;
    engine->tcp = config->tcp;
    engine->memory_bytes = config->memory_bytes;
    engine->listener_fd = -1;
    engine->native = config->native;
    CHECK((config->native != NULL) == (config->layout->net_count > 0));
    engine_place(engine);
    for (uint32_t i = 0; i < engine_core_count(engine); i++)
        trace_init(&engine->traces[i], 0);

    struct mem_arena_config arena = {.limit_bytes = config->memory_bytes,
                                     .thp = config->layout->poll_always};
    enum rc rc = mem_arena_init(&engine->arena, &arena, trail);
    if (rc != RC_OK)
        goto fail;
    rc = tcp_listen(config->tcp,
                    config->settings->kafka.host,
                    config->settings->kafka.port,
                    &engine->listener_fd,
                    &engine->port,
                    trail);
    if (rc != RC_OK) {
        diag_trail_add(
            trail, "--kafka %s:%u", config->settings->kafka.host, config->settings->kafka.port);
        goto fail;
    }
    rc = engine_take_rings(engine, trail);
    if (rc != RC_OK)
        goto fail;
    *ret_engine = engine;
    return RC_OK;

fail:
    engine_destroy(engine);
    return rc;
}

void
engine_attach(struct engine *engine, uint32_t core_idx, struct clock *clock, struct io *io)
{
    CHECK(core_idx < engine_core_count(engine));
    bool is_helper = core_idx >= engine__control_core(engine);
    enum core_poll_mode mode = engine->layout.poll_always && !is_helper ? CORE_POLL_ALWAYS
                                                                        : CORE_POLL_AUTO;

    engine->clocks[core_idx] = clock;
    engine->ios[core_idx] = io;
    core_init(&engine->cores[core_idx], clock, io, mode, is_helper ? 0 : engine->layout.spin_ns);
}

/* ---- life ---- */

static void
engine_stop_gates(struct engine *engine)
{
    for (uint32_t g = 0; g < engine->layout.gate_count; g++) {
        gate_stop(engine->gates[g]);
        io_wake(engine->ios[engine->gate_core[g]]);
    }
    for (uint32_t i = 0; i < engine->layout.net_count; i++) {
        door_stop(engine->doors[i]);
        io_wake(engine->ios[engine->net_core[i]]);
    }
}

static bool
engine_gates_are_stopped(const struct engine *engine)
{
    for (uint32_t g = 0; g < engine->layout.gate_count; g++)
        if (!gate_is_stopped(engine->gates[g]))
            return false;
    for (uint32_t i = 0; i < engine->layout.net_count; i++)
        if (!door_is_stopped(engine->doors[i]))
            return false;
    return true;
}

/* The exchange is last: it destroys the keys that the doors gave back. */
static void
engine_stop_exchange(struct engine *engine)
{
    if (engine->exchange == NULL)
        return;
    exchange_stop(engine->exchange);
    io_wake(engine->ios[engine__control_core(engine)]);
}

bool
engine_stop_step(struct engine *engine)
{
    switch (engine->stage) {
    case ENGINE_RUNNING:
        /* Ends the accept that is under way; gates notice and close the rest. */
        tcp_shutdown(engine->tcp, engine->listener_fd);
        engine_stop_gates(engine);
        control_drain(engine->control);
        io_wake(engine->ios[engine__control_core(engine)]);
        engine->stage = ENGINE_GATES_STOPPING;
        return false;
    case ENGINE_GATES_STOPPING:
        if (!engine_gates_are_stopped(engine))
            return false;
        engine_stop_exchange(engine);
        engine->stage = ENGINE_EXCHANGE_STOPPING;
        return false;
    case ENGINE_EXCHANGE_STOPPING:
        if (engine->exchange != NULL && !exchange_is_stopped(engine->exchange))
            return false;
        control_stop(engine->control);
        io_wake(engine->ios[engine__control_core(engine)]);
        engine->stage = ENGINE_LOGS_STOPPING;
        return false;
    case ENGINE_LOGS_STOPPING:
        if (control_state(engine->control) != CONTROL_STOPPED)
            return false;
        engine->stage = ENGINE_STOPPED;
        return true;
    case ENGINE_STOPPED:
        return true;
    }
    return true;
}

void
engine_destroy(struct engine *engine)
{
    if (engine == NULL)
        return;
    for (uint32_t g = 0; g < engine->layout.gate_count; g++)
        gate_fini(engine->gates[g]);
    for (uint32_t i = 0; i < engine->layout.net_count; i++)
        door_fini(engine->doors[i]);
    exchange_destroy(engine->exchange);
    for (uint32_t l = 0; l < engine->layout.log_count; l++)
        log_fini(engine->logs[l]);
    if (engine->listener_fd >= 0)
        tcp_close(engine->tcp, engine->listener_fd);
    mem_arena_fini(&engine->arena);
    mem_boot_free(engine);
}
