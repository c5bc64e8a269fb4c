/* Starting and ending a simulated server; see engine_rig.h. */
#include "engine_rig.h"

#include "engine/base/check.h"

#include <stdio.h>
#include <string.h>

static void
layout_add(struct engine_layout *layout, uint32_t core, enum engine_tile_kind kind)
{
    struct engine_core_layout *at = &layout->cores[core];
    at->tiles[at->tile_count++] = kind;
    at->cpu = -1;
    if (layout->core_count < core + 1)
        layout->core_count = core + 1;
    if (kind == ENGINE_TILE_GATE)
        layout->gate_count++;
    else
        layout->log_count++;
}

/* All tiles on one core, or each on its own. */
static void
draw_layout(struct sim_rng *rng, struct engine_layout *layout)
{
    bool merged = sim_rng_chance(rng, 500000);
    uint32_t gates = sim_rng_chance(rng, 250000) ? 2 : 1;
    uint32_t logs = sim_rng_chance(rng, 400000) ? 2 : 1;
    uint32_t core = 0;

    *layout = (struct engine_layout){0};
    for (uint32_t i = 0; i < gates; i++)
        layout_add(layout, merged ? 0 : core++, ENGINE_TILE_GATE);
    for (uint32_t i = 0; i < logs; i++)
        layout_add(layout, merged ? 0 : core++, ENGINE_TILE_LOG);
}

void
rig_init(struct engine_rig *rig, struct sim_world *world)
{
    static const uint64_t batch_bytes[] = {64 * KIB, 128 * KIB, 256 * KIB};
    static const uint64_t journal_bytes[] = {512 * KIB, 1 * MIB, 2 * MIB};
    struct sim_rng *rng = &world->swarm;
    struct settings *settings = &rig->settings;
    struct diag_trail trail = {0};

    *rig = (struct engine_rig){.world = world};
    config_defaults(settings);
    settings->kafka.port = RIG_PORT;
    settings->topics_max = 32;
    settings->partitions_max = 64;
    settings->topic_partitions_default = sim_rng_between(rng, 1, 3);
    settings->producers_max = 64;
    settings->transactions_max = 512;
    settings->transactions_aborted_max = 4096;
    settings->compaction_memory_bytes = 2 * MIB;
    settings->group_memory_bytes = 1 * MIB;
    settings->group_members_max = 1024;
    settings->group_offsets_max = 4096;
    settings->files_max = 64;
    settings->connections_max = 64;
    settings->producer_id_block = sim_rng_between(rng, 1, 5);
    settings->max_message_bytes = batch_bytes[sim_rng_below(rng, ARRAY_COUNT(batch_bytes))];
    settings->journal_file_bytes = journal_bytes[sim_rng_below(rng, ARRAY_COUNT(journal_bytes))];
    settings->segment_bytes = 1 * MIB;
    settings->connection_request_bytes_max = 4 * MIB;
    settings->fetch_bytes_max = sim_rng_between(rng, 4, 256) * KIB;
    draw_layout(rng, &rig->layout);
    CHECK(config_check(settings, &trail) == RC_OK);
}

/* Takes the cores and their seams away; the rings' requests are dropped. */
static void
rig_forget_cores(struct engine_rig *rig)
{
    for (uint32_t i = 0; i < engine_core_count(rig->engine); i++) {
        if (rig->ios[i] == NULL)
            continue;
        sim_world_remove(rig->world, engine_core(rig->engine, i));
        sim_world_remove_clock(rig->world, &rig->clocks[i]);
        io_destroy(rig->ios[i]);
        rig->ios[i] = NULL;
    }
}

static void
rig_forget(struct engine_rig *rig)
{
    rig_forget_cores(rig);
    engine_destroy(rig->engine);
    rig->engine = NULL;
    tcp_sim_kill_server(rig->world->tcp);
}

static enum rc
rig_build(struct engine_rig *rig, struct diag_trail *trail)
{
    const struct engine_config config = {.settings = &rig->settings,
                                         .layout = &rig->layout,
                                         .disk = rig->world->disk,
                                         .tcp = rig->world->tcp,
                                         .memory_bytes = ENGINE_MEMORY_MIN};
    enum rc rc = engine_create(&config, &rig->engine, trail);
    if (rc != RC_OK) {
        rig->engine = NULL;
        return rc;
    }
    CHECK(engine_core_count(rig->engine) <= RIG_CORES_MAX);
    for (uint32_t i = 0; i < engine_core_count(rig->engine); i++) {
        uint64_t seed = sim_rng_next(&rig->world->swarm);
        clock_init_sim(&rig->clocks[i], seed, SIM_WALL_MS + rig->skew_ms);
        sim_world_add_clock(rig->world, &rig->clocks[i]);
        rig->ios[i] = sim_world_create_io(rig->world, &rig->clocks[i]);
        engine_attach(rig->engine, i, &rig->clocks[i], rig->ios[i]);
    }
    rc = engine_wire(rig->engine, trail);
    return rc == RC_OK ? engine_recover(rig->engine, &rig->recovered, trail) : rc;
}

enum rc
rig_start(struct engine_rig *rig)
{
    static const char *const names[RIG_CORES_MAX] = {
        "core0", "core1", "core2", "core3", "core4", "core5", "core6"};
    struct diag_trail trail = {0};

    CHECK(rig->engine == NULL);
    rig->starts++;
    enum rc rc = rig_build(rig, &trail);
    sim_trace_add(&rig->world->trace, "server_start", rig->starts, rc, 0);
    if (rc != RC_OK) {
        (void)snprintf(rig->why, sizeof(rig->why), "%s: %s", rc_text(rc), trail.text);
        if (rig->engine != NULL)
            rig_forget(rig);
        return rc;
    }
    for (uint32_t i = 0; i < engine_core_count(rig->engine); i++)
        sim_world_add_core(rig->world, names[i], engine_core(rig->engine, i));
    return RC_OK;
}

struct rig_stopping {
    struct engine_rig *rig;
    uint64_t end_ns;
    bool stopped;
};

static bool
rig_stop_is_over(void *ctx)
{
    struct rig_stopping *stopping = ctx;
    stopping->stopped = engine_stop_step(stopping->rig->engine);
    return stopping->stopped || sim_world_now_ns(stopping->rig->world) >= stopping->end_ns;
}

bool
rig_stop(struct engine_rig *rig, uint64_t limit_ns)
{
    struct rig_stopping stopping = {.rig = rig, .end_ns = sim_world_now_ns(rig->world) + limit_ns};

    CHECK(rig->engine != NULL);
    sim_trace_add(&rig->world->trace, "server_stop", rig->starts, 0, 0);
    enum sim_world_end end = sim_world_run(rig->world, rig_stop_is_over, &stopping);
    if (!stopping.stopped) {
        (void)snprintf(rig->why, sizeof(rig->why), "%s", sim_world_end_name(end));
        rig_kill(rig);
        return false;
    }
    rig_forget(rig);
    return true;
}

void
rig_kill(struct engine_rig *rig)
{
    CHECK(rig->engine != NULL);
    sim_trace_add(&rig->world->trace, "server_kill", rig->starts, 0, 0);
    rig_forget(rig);
    disk_sim_close_all(rig->world->disk);
}

/* The engine closes its files on the old disk while the survivor is the copy as it was at the cut.
 */
void
rig_power_cut(struct engine_rig *rig)
{
    CHECK(rig->engine != NULL);
    sim_trace_add(&rig->world->trace, "server_power_cut", rig->starts, 0, 0);
    struct disk_sim_config config = sim_world_disk_config(rig->world);
    struct disk *survivor = disk_sim_clone(rig->world->disk, &config);
    disk_sim_crash(survivor, &rig->world->crash);
    rig_forget(rig);
    sim_world_replace_disk(rig->world, survivor);
}

void
rig_jump(struct engine_rig *rig, int64_t ms)
{
    rig->skew_ms += ms;
    if (rig->engine == NULL)
        return;
    for (uint32_t i = 0; i < engine_core_count(rig->engine); i++)
        rig->clocks[i].sim_wall_ms += ms;
}

void
rig_unstick(struct engine_rig *rig)
{
    for (uint32_t i = 0; rig->engine != NULL && i < engine_core_count(rig->engine); i++)
        io_sim_heal(rig->ios[i]);
}

bool
rig_is_ready(const struct engine_rig *rig)
{
    return rig->engine != NULL && control_is_ready(engine_control(rig->engine));
}

const char *
rig_boot_failure(const struct engine_rig *rig)
{
    if (rig->engine == NULL || control_state(engine_control(rig->engine)) != CONTROL_FAILED)
        return NULL;
    return control_failure(engine_control(rig->engine));
}
