#include "engine/app/layout.h"

#include <unistd.h>

/* A core of its own spins this long before it blocks (hotpath: a wake costs 14 to 20 us of CPU in a
 * virtual machine). */
#define LAYOUT_SPIN_NS (50 * NS_PER_US)
#define LAYOUT_MEMORY_DEFAULT_MAX (1 * GIB)
#define LAYOUT_MEMORY_SMALL (512 * MIB)

uint64_t
layout_memory_bytes(const struct settings *settings)
{
    if (settings->memory != 0)
        return settings->memory;
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t quarter = round_down(pages * page_bytes / 4, MIB);
    return max_u64(min_u64(quarter, LAYOUT_MEMORY_DEFAULT_MAX), ENGINE_MEMORY_MIN);
}

void
layout_afford(struct settings *settings, uint64_t memory_bytes)
{
    static struct settings presets;

    config_defaults(&presets);
    if (memory_bytes < LAYOUT_MEMORY_SMALL && settings->partitions_max == presets.partitions_max)
        settings->partitions_max = presets.partitions_max * (memory_bytes / MIB) /
                                   (LAYOUT_MEMORY_SMALL / MIB);
}

static void
layout_thread(const struct cpu_thread *thread, struct engine_layout *layout)
{
    struct engine_core_layout *core = &layout->cores[layout->core_count];

    *core = (struct engine_core_layout){.cpu = thread->cpu == CPU_ANY ? -1 : (int32_t)thread->cpu};
    for (uint32_t t = 0; t < thread->tile_count; t++) {
        if (thread->tiles[t] == CPU_TILE_GATE) {
            core->tiles[core->tile_count++] = ENGINE_TILE_GATE;
            layout->gate_count++;
        } else if (thread->tiles[t] == CPU_TILE_LOG) {
            core->tiles[core->tile_count++] = ENGINE_TILE_LOG;
            layout->log_count++;
        } else {
            core->tiles[core->tile_count++] = ENGINE_TILE_NET;
            layout->net_count++;
        }
    }
    if (core->tile_count > 0)
        layout->core_count++;
}

enum rc
layout_from_plan(const struct cpu_plan *plan,
                 bool poll_always,
                 struct engine_layout *ret_layout,
                 struct diag_trail *trail)
{
    struct engine_layout layout = {
        .spin_ns = plan->overprovisioned ? 0 : LAYOUT_SPIN_NS,
        .poll_always = poll_always,
    };

    if (plan->thread_count >= ENGINE_CORES_MAX) {
        diag_trail_add(trail, "more than %u threads", ENGINE_CORES_MAX - 1);
        return RC_INVALID;
    }
    for (uint32_t i = 0; i < plan->thread_count; i++)
        layout_thread(&plan->threads[i], &layout);
    if (layout.gate_count == 0 || layout.gate_count >= REQUESTERS_MAX) {
        diag_trail_add(trail,
                       "between 1 and %u gate tiles are needed, %u are named",
                       REQUESTERS_MAX - 1,
                       layout.gate_count);
        return RC_INVALID;
    }
    if (layout.log_count == 0 || layout.log_count > LOG_TILES_MAX) {
        diag_trail_add(trail,
                       "between 1 and %u log tiles are needed, %u are named",
                       LOG_TILES_MAX,
                       layout.log_count);
        return RC_INVALID;
    }
    if (layout.gate_count + layout.net_count >= REQUESTERS_MAX) {
        diag_trail_add(trail,
                       "gate and net tiles together may be %u, %u are named",
                       REQUESTERS_MAX - 1,
                       layout.gate_count + layout.net_count);
        return RC_INVALID;
    }
    *ret_layout = layout;
    return RC_OK;
}

void
layout_drop_net(struct engine_layout *layout)
{
    uint32_t cores = 0;

    for (uint32_t c = 0; c < layout->core_count; c++) {
        struct engine_core_layout core = layout->cores[c];
        uint32_t count = 0;
        for (uint32_t t = 0; t < core.tile_count; t++)
            if (core.tiles[t] != ENGINE_TILE_NET)
                core.tiles[count++] = core.tiles[t];
        core.tile_count = count;
        if (count > 0)
            layout->cores[cores++] = core;
    }
    layout->core_count = cores;
    layout->net_count = 0;
}

enum rc
layout_from_settings(const struct settings *settings,
                     struct engine_layout *ret_layout,
                     struct diag_trail *trail)
{
    struct cpu_topology topology;
    struct cpu_plan plan;

    cpu_topology_read(&topology);
    enum rc rc = cpu_plan_parse(settings->cores, &topology, &plan, trail);
    if (rc != RC_OK)
        return rc;
    return layout_from_plan(&plan, settings->poll == SETTINGS_POLL_ALWAYS, ret_layout, trail);
}
