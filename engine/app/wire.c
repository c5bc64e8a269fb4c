/* Construction: who gets how much of the budget, and which rings join whom. */
#include "engine/app/engine_internal.h"

#include "engine/base/check.h"
#include "engine/topic/topic_name.h"
#include "log/retain/retain.h"

#include <stdio.h>

/* The least a gate is given: its pools take three eighths each. */
#define ENGINE_GATE_SHARE_MIN (24 * MIB)
#define ENGINE_CONNECTION_SHARE_BYTES (32 * KIB)
#define ENGINE_CONNECTIONS_PRESET 4096u /* of settings.def */
/* What is taken for a log tile beside its own footprint: metrics and rounding. */
#define ENGINE_LOG_SPARE_BYTES (1 * MIB)

static const char *const engine_gate_names[] = {"gate0",
                                                "gate1",
                                                "gate2",
                                                "gate3",
                                                "gate4",
                                                "gate5",
                                                "gate6",
                                                "gate7",
                                                "gate8",
                                                "gate9",
                                                "gate10",
                                                "gate11",
                                                "gate12",
                                                "gate13",
                                                "gate14",
                                                "gate15"};
static const char *const engine_log_names[] = {"log0",
                                               "log1",
                                               "log2",
                                               "log3",
                                               "log4",
                                               "log5",
                                               "log6",
                                               "log7",
                                               "log8",
                                               "log9",
                                               "log10",
                                               "log11",
                                               "log12",
                                               "log13",
                                               "log14",
                                               "log15"};

enum rc
engine__take_metrics(struct engine *engine,
                     enum metrics_owner owner,
                     const char *tile,
                     struct metrics_tile **ret_metrics,
                     struct diag_trail *trail)
{
    char name[MEM_NAME_MAX];
    void *memory;

    snprintf(name, sizeof(name), "metrics of %s", tile);
    enum rc rc = mem_arena_take(&engine->arena, name, sizeof(**ret_metrics), &memory, trail);
    if (rc != RC_OK)
        return rc;
    *ret_metrics = memory;
    metrics_init(*ret_metrics, owner, tile);
    return RC_OK;
}

static enum rc
engine_take_metrics(struct engine *engine, uint32_t log_idx, struct diag_trail *trail)
{
    size_t bytes = (size_t)engine->settings->partitions_max * sizeof(struct metrics_partition);
    void *memory;

    enum rc rc = engine__take_metrics(
        engine, METRICS_LOG, engine_log_names[log_idx], &engine->log_metrics[log_idx], trail);
    if (rc == RC_OK)
        rc = mem_arena_take(&engine->arena, "partition metrics", bytes, &memory, trail);
    if (rc != RC_OK)
        return rc;
    engine->partition_metrics[log_idx] = memory;
    return RC_OK;
}

/* Shares of the budget that is left after the rings: control what it needs, gates a quarter of the
 * rest, log tiles what remains. The slab ring is a power of two. */
static uint64_t
engine_left_bytes(const struct engine *engine)
{
    return engine->memory_bytes - engine->arena.taken_bytes;
}

static uint64_t
engine_power_of_two_below(uint64_t bytes)
{
    return UINT64_C(1) << (63 - (uint32_t)__builtin_clzll(bytes));
}

/* Too long to be counted is never. */
static uint64_t
producer_age_ns(const struct settings *settings)
{
    uint64_t age_ms = (uint64_t)settings->producer_id_expiration_ms;

    return age_ms < UINT64_MAX / 2 / NS_PER_MS ? age_ms * NS_PER_MS : 0;
}

/* What a limit costs is paid for a budget of 1 GiB; a smaller one has less, down to a quarter,
 * unless the user said how much. */
static uint32_t
engine_afford(const struct engine *engine, uint64_t setting, uint64_t preset)
{
    uint64_t budget = max_u64(min_u64(engine->memory_bytes, GIB), GIB / 4);

    return (uint32_t)(setting != preset ? setting : setting * (budget / MIB) / (GIB / MIB));
}

static void
engine_afford_log(const struct engine *engine, struct log_config *config)
{
    static struct settings presets;
    const struct settings *settings = engine->settings;

    config_defaults(&presets);
    config->producers_max = engine_afford(engine, settings->producers_max, presets.producers_max);
    config->transactions_max = engine_afford(
        engine, settings->transactions_max, presets.transactions_max);
    config->transactions_aborted_max = engine_afford(
        engine, settings->transactions_aborted_max, presets.transactions_aborted_max);
}

static struct log_config
engine_log_config(struct engine *engine, uint32_t log_idx, uint64_t share_bytes)
{
    const struct settings *settings = engine->settings;
    uint32_t core_idx = engine->log_core[log_idx];
    struct log_config config = {
        .tile_idx = log_idx,
        .io_tile = engine->log_tile[log_idx],
        .io = engine->ios[core_idx],
        .clock = engine->clocks[core_idx],
        .disk = engine->disk,
        .jobs = &engine->jobs[log_idx].jobs,
        .jobs_waker = &engine->cores[engine__control_core(engine)].waker,
        .jobs_done = &engine->jobs[log_idx].done,
        .slab_ring_bytes = engine_power_of_two_below(share_bytes * 3 / 4),
        .cold_bytes = settings->memory_cold_bytes != 0 ? settings->memory_cold_bytes
                                                       : share_bytes / 16,
        .journal_file_bytes = settings->journal_file_bytes,
        .bulk_bytes = settings->journal_bulk_bytes,
        .partitions_max = (uint32_t)settings->partitions_max,
        .producer_age_ns = producer_age_ns(settings),
        .open_files_max = (uint32_t)settings->files_max,
    };

    engine_afford_log(engine, &config);
    bytes_copy(config.node_uuid,
               sizeof(config.node_uuid),
               engine->meta.node_uuid,
               sizeof(engine->meta.node_uuid));
    /* The tables that hang on the slab ring may make it one step too large for a small budget. */
    while (log_footprint(&config) > share_bytes && config.slab_ring_bytes > 4 * MIB)
        config.slab_ring_bytes /= 2;
    return config;
}

static enum rc
engine_wire_log(struct engine *engine,
                uint32_t log_idx,
                uint64_t share_bytes,
                struct diag_trail *trail)
{
    struct log_config config = engine_log_config(engine, log_idx, share_bytes);
    struct broker_link links[REQUESTERS_MAX];
    char name[32];
    void *memory;

    enum rc rc = engine_take_metrics(engine, log_idx, trail);
    if (rc != RC_OK)
        return rc;
    config.metrics = engine->log_metrics[log_idx];
    config.partition_metrics = engine->partition_metrics[log_idx];
    if (engine->has_trace)
        config.trace = &engine->traces[engine->log_core[log_idx]];
    snprintf(name, sizeof(name), "log tile %u", log_idx);
    rc = mem_arena_take(&engine->arena, name, log_footprint(&config), &memory, trail);
    if (rc != RC_OK)
        return rc;
    rc = log_init(memory, &config, &engine->logs[log_idx], trail);
    if (rc != RC_OK)
        return rc;
    for (uint32_t r = 0; r < engine__requester_count(engine); r++)
        links[r] = (struct broker_link){
            .request = &engine->log_links[log_idx][r].requests,
            .response = &engine->log_links[log_idx][r].responses,
            .waker = &engine->cores[engine__requester_core(engine, r)].waker,
        };
    for (uint32_t i = 0; i < engine->layout.net_count; i++)
        links[engine__door_requester(engine, i)].bytes = &engine->bytes[log_idx][i];
    broker_init(&engine->brokers[log_idx],
                engine->logs[log_idx],
                engine->clocks[engine->log_core[log_idx]],
                links,
                engine__requester_count(engine));
    return RC_OK;
}

static void
engine_gate_limits(const struct engine *engine, struct gate_limits *limits, uint64_t share_bytes)
{
    const struct settings *settings = engine->settings;

    gate_limits_default(limits, share_bytes);
    /* A connection costs two 4 KiB blocks before it does anything: a small budget has fewer, unless
     * the user says otherwise. */
    uint64_t affordable = max_u64(share_bytes / ENGINE_CONNECTION_SHARE_BYTES, 256);
    limits->connections_max = (uint32_t)settings->connections_max;
    if (settings->connections_max == ENGINE_CONNECTIONS_PRESET)
        limits->connections_max = (uint32_t)min_u64(settings->connections_max, affordable);
    limits->connection_requests_max = (uint32_t)settings->connection_requests_max;
    limits->request_bytes_max = (uint32_t)settings->connection_request_bytes_max;
    limits->fetch_bytes_max = (uint32_t)settings->fetch_bytes_max;
    limits->topics_max = (uint32_t)settings->topics_max;
    limits->partitions_max = (uint32_t)settings->partitions_max;
    limits->idle_ns = (uint64_t)settings->connection_idle_ms * NS_PER_MS;
    limits->fetch_wait_ns = (uint64_t)settings->fetch_wait_ms_max * NS_PER_MS;
    limits->progress_ns = (uint64_t)settings->connection_progress_ms * NS_PER_MS;
    limits->quota_entities_max = (uint32_t)settings->quota_entities_max;
    limits->quota_clients_max = (uint32_t)settings->quota_clients_max;
    if (settings->memory_ingest_bytes != 0)
        limits->ingest_bytes = round_up(settings->memory_ingest_bytes, 4096);
    if (settings->memory_response_bytes != 0)
        limits->response_bytes = round_up(settings->memory_response_bytes, 4096);
}

static enum rc
engine_wire_gate(struct engine *engine,
                 uint32_t gate_idx,
                 uint64_t share_bytes,
                 struct diag_trail *trail)
{
    uint32_t core_idx = engine->gate_core[gate_idx];
    struct engine_link *control = &engine->control_links[gate_idx + 1];
    struct gate_config config = {
        .gate_idx = gate_idx,
        .gate_count = engine->layout.gate_count,
        .io_tile = engine->gate_tile[gate_idx],
        .io = engine->ios[core_idx],
        .tcp = engine->tcp,
        .clock = engine->clocks[core_idx],
        .listener_fd = engine->listener_fd,
        .log_tile_count = engine->layout.log_count,
        .control = {.requests = &control->requests,
                    .responses = &control->responses,
                    .waker = &engine->cores[engine__control_core(engine)].waker},
    };
    char name[32];
    void *memory;

    engine_gate_limits(engine, &config.limits, share_bytes);
    for (uint32_t l = 0; l < engine->layout.log_count; l++) {
        struct engine_link *link = &engine->log_links[l][gate_idx + 1];
        config.logs[l] = (struct gate_link_config){
            .requests = &link->requests,
            .responses = &link->responses,
            .waker = &engine->cores[engine->log_core[l]].waker,
        };
    }
    snprintf(name, sizeof(name), "gate %u", gate_idx);
    enum rc rc = engine__take_metrics(
        engine, METRICS_GATE, engine_gate_names[gate_idx], &engine->gate_metrics[gate_idx], trail);
    if (rc != RC_OK)
        return rc;
    config.metrics = engine->gate_metrics[gate_idx];
    if (engine->has_trace)
        config.trace = &engine->traces[core_idx];
    rc = mem_arena_take(&engine->arena, name, gate_footprint(&config), &memory, trail);
    if (rc != RC_OK)
        return rc;
    return gate_init(memory, &config, &engine->gates[gate_idx], trail);
}

static void
engine_control_links(struct engine *engine, struct control_config *config)
{
    for (uint32_t r = 1; r < engine__requester_count(engine); r++)
        config->gates[r - 1] = (struct control_gate_link){
            .requests = &engine->control_links[r].requests,
            .responses = &engine->control_links[r].responses,
            .waker = &engine->cores[engine__requester_core(engine, r)].waker,
        };
    for (uint32_t l = 0; l < engine->layout.log_count; l++)
        config->logs[l] = (struct control_log_link){
            .requests = &engine->log_links[l][REQUESTER_CONTROL].requests,
            .responses = &engine->log_links[l][REQUESTER_CONTROL].responses,
            .jobs = &engine->jobs[l].jobs,
            .jobs_done = &engine->jobs[l].done,
            .waker = &engine->cores[engine->log_core[l]].waker,
        };
}

static void
engine_afford_groups(const struct engine *engine, struct groups_limits *limits)
{
    static struct settings presets;
    const struct settings *settings = engine->settings;

    config_defaults(&presets);
    limits->groups_max = engine_afford(
        engine, settings->group_groups_max, presets.group_groups_max);
    limits->members_max = engine_afford(
        engine, settings->group_members_max, presets.group_members_max);
    limits->offsets_max = engine_afford(
        engine, settings->group_offsets_max, presets.group_offsets_max);
    if (settings->group_memory_bytes == presets.group_memory_bytes)
        limits->memory_bytes = round_down(
            engine_afford(engine, limits->memory_bytes, limits->memory_bytes), 4096);
}

static void
engine_afford_transactions(const struct engine *engine, struct coordinator_limits *limits)
{
    static struct settings presets;
    const struct settings *settings = engine->settings;

    config_defaults(&presets);
    limits->transactions_max = engine_afford(
        engine, settings->transaction_ids_max, presets.transaction_ids_max);
    limits->partitions_max = engine_afford(
        engine, settings->transaction_partitions_max, presets.transaction_partitions_max);
}

static enum rc
engine_wire_control(struct engine *engine, struct diag_trail *trail)
{
    const struct settings *settings = engine->settings;
    uint32_t core_idx = engine__control_core(engine);
    struct control_config *config = mem_boot_alloc(sizeof(*config));
    void *memory;

    if (config == NULL)
        return RC_NO_MEMORY;
    enum rc rc = engine__take_metrics(
        engine, METRICS_CONTROL, "control", &engine->control_metrics, trail);
    if (rc != RC_OK)
        goto done;
    config->log_tile_count = engine->layout.log_count;
    control_config_take(config, settings, engine->port);
    engine_afford_groups(engine, &config->limits.groups);
    engine_afford_transactions(engine, &config->limits.transactions);
    config->limits.pool_bytes = max_u64(
        CONTROL_POOL_BYTES_MIN,
        round_down(engine_afford(engine, CONTROL_POOL_BYTES, CONTROL_POOL_BYTES), 4096));
    config->metrics = engine->control_metrics;
    config->clock = engine->clocks[core_idx];
    config->disk = engine->disk;
    config->gate_count = engine__requester_count(engine) - 1; /* doors ask as gates do */
    engine_control_links(engine, config);
    rc = mem_arena_take(&engine->arena, "control", control_footprint(config), &memory, trail);
    if (rc == RC_OK)
        rc = control_init(memory, config, &engine->control, trail);
done:
    mem_boot_free(config);
    return rc;
}

/* A small budget has a smaller map, unless the user said how large. */
static enum rc
engine_wire_compactor(struct engine *engine, struct diag_trail *trail)
{
    const struct settings *settings = engine->settings;
    static struct settings presets;
    struct compactor_config config = {
        .clock = engine->clocks[engine__compact_core(engine)],
        .disk = engine->disk,
        .bytes_per_second = settings->compaction_bytes_per_second,
        .link_count = engine->layout.log_count,
    };
    void *memory;

    config_defaults(&presets);
    config.memory_bytes = round_down(settings->compaction_memory_bytes, 4096);
    if (settings->compaction_memory_bytes == presets.compaction_memory_bytes)
        config.memory_bytes = round_down(
            engine_afford(engine, config.memory_bytes, config.memory_bytes), 4096);
    /* Random, made once and told to nobody. */
    config.seed = get_u64_le(engine->meta.node_uuid);
    for (uint32_t l = 0; l < engine->layout.log_count; l++) {
        enum rc rc = mem_arena_take(
            &engine->arena, "compaction task", compact_link_footprint(), &memory, trail);
        if (rc != RC_OK)
            return rc;
        engine->compact_links[l] = compact_link_init(
            memory,
            &engine->cores[engine__compact_core(engine)].waker,
            &engine->cores[engine->log_core[l]].waker);
        config.links[l] = engine->compact_links[l];
    }
    enum rc rc = mem_arena_take(
        &engine->arena, "compactor", compactor_footprint(&config), &memory, trail);
    if (rc == RC_OK)
        engine->compactor = compactor_init(memory, &config);
    return rc;
}

/* One tile on its core; idx counts the tiles of its kind. */
static uint32_t
engine_add_tile(struct engine *engine, struct core *core, enum engine_tile_kind kind, uint32_t idx)
{
    switch (kind) {
    case ENGINE_TILE_GATE:
        return core_add(core, engine_gate_names[idx], &gate_tile_ops, engine->gates[idx]);
    case ENGINE_TILE_LOG:
        return core_add(core, engine_log_names[idx], &broker_tile_ops, &engine->brokers[idx]);
    case ENGINE_TILE_NET:
        return core_add(core, engine__door_name(idx), &door_tile_ops, engine->doors[idx]);
    }
    CHECK(false);
    return 0;
}

static void
engine_add_tiles(struct engine *engine)
{
    uint32_t counts[ENGINE_TILE_NET + 1] = {0};

    for (uint32_t c = 0; c < engine->layout.core_count; c++) {
        const struct engine_core_layout *layout = &engine->layout.cores[c];
        for (uint32_t t = 0; t < layout->tile_count; t++) {
            enum engine_tile_kind kind = layout->tiles[t];
            uint32_t idx = engine_add_tile(engine, &engine->cores[c], kind, counts[kind]++);
            CHECK(idx == t); /* io tags were made with this index */
        }
    }
    struct core *control = &engine->cores[engine__control_core(engine)];
    core_add(control, "control", &control_tile_ops, engine->control);
    core_add(&engine->cores[engine__compact_core(engine)],
             "compact",
             &compactor_tile_ops,
             engine->compactor);
    if (engine->exchange != NULL)
        CHECK(core_add(control, "exchange", &exchange_tile_ops, engine->exchange) ==
              ENGINE_EXCHANGE_TILE);
}

enum rc
engine_wire(struct engine *engine, struct diag_trail *trail)
{
    enum rc rc = RC_OK;

    for (uint32_t i = 0; i < engine_core_count(engine); i++)
        CHECK(engine->ios[i] != NULL);
    rc = node_open(engine->disk,
                   engine->clocks[engine__control_core(engine)],
                   engine->settings,
                   &engine->meta,
                   trail);
    if (rc == RC_OK)
        rc = engine_wire_control(engine, trail);
    if (rc == RC_OK)
        rc = engine_wire_compactor(engine, trail);
    if (rc == RC_OK && engine->native != NULL)
        rc = engine__wire_native(engine, trail);
    uint64_t gate_share = max_u64(engine_left_bytes(engine) / 4, ENGINE_GATE_SHARE_MIN) /
                          engine->layout.gate_count;
    for (uint32_t g = 0; rc == RC_OK && g < engine->layout.gate_count; g++)
        rc = engine_wire_gate(engine, g, gate_share, trail);
    uint64_t log_share = max_u64(engine_left_bytes(engine) / engine->layout.log_count,
                                 2 * ENGINE_LOG_SPARE_BYTES) -
                         ENGINE_LOG_SPARE_BYTES;
    for (uint32_t l = 0; rc == RC_OK && l < engine->layout.log_count; l++)
        rc = engine_wire_log(engine, l, log_share, trail);
    if (rc == RC_OK)
        engine_add_tiles(engine);
    if (rc == RC_OK) {
        /* All memory is taken by now, and control's core does not run yet. */
        metrics_set(engine->control_metrics, METRIC_MEMORY_BUDGET_BYTES, engine->memory_bytes);
        metrics_set(
            engine->control_metrics, METRIC_MEMORY_COMMITTED_BYTES, engine->arena.taken_bytes);
    }
    return rc;
}

/* ---- before the first poll ---- */

static uint32_t
engine_owner(void *ctx, const uint8_t *topic_id, uint32_t partition)
{
    const struct engine *engine = ctx;

    static const uint8_t metadata_id[16] = {0};

    /* The metadata log has no topic of its own and lives on tile 0. */
    if (memcmp(topic_id, metadata_id, sizeof(metadata_id)) == 0)
        return 0;
    return topic_partition_tile(topic_id, partition, engine->layout.log_count);
}

enum rc
engine_recover(struct engine *engine, struct recover_report *ret_report, struct diag_trail *trail)
{
    struct recover_plan plan = {
        .logs = engine->logs,
        .log_count = engine->layout.log_count,
        .owner = engine_owner,
        .ctx = engine,
    };

    enum rc rc = recover_run_all(&plan, ret_report, trail);
    if (rc != RC_OK)
        return rc;
    for (uint32_t l = 0; l < engine->layout.log_count; l++)
        retain_attach(engine->logs[l]);
    for (uint32_t l = 0; l < engine->layout.log_count; l++)
        compact_attach(engine->logs[l], engine->compact_links[l]);
    return RC_OK;
}
