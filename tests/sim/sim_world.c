/* The scheduler of simulated worlds; see sim_world.h. */
#include "sim_world.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define STEPS_MAX_DEFAULT 10000000u
#define TIME_MAX_DEFAULT_NS (3600 * NS_PER_S)

enum sim_stream { STREAM_SCHEDULE = 1, STREAM_WORKLOAD, STREAM_SWARM, STREAM_CRASH };

static void
show_event(void *ctx, const struct sim_trace_event *event)
{
    struct sim_world *world = ctx;
    printf("%12" PRIu64 " %-20s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           clock_now_ns(&world->clock),
           event->kind,
           event->a,
           event->b,
           event->c);
}

void
sim_world_init(struct sim_world *world, const struct sim_world_options *options)
{
    *world = (struct sim_world){.options = *options, .step_cost_ns = 1000};
    if (world->options.steps_max == 0)
        world->options.steps_max = STEPS_MAX_DEFAULT;
    if (world->options.time_max_ns == 0)
        world->options.time_max_ns = TIME_MAX_DEFAULT_NS;
    sim_trace_init(&world->trace);
    if (options->verbose) {
        world->trace.show = show_event;
        world->trace.ctx = world;
    }
    sim_rng_seed(&world->schedule, options->seed, STREAM_SCHEDULE);
    sim_rng_seed(&world->workload, options->seed, STREAM_WORKLOAD);
    sim_rng_seed(&world->swarm, options->seed, STREAM_SWARM);
    sim_rng_seed(&world->crash, options->seed, STREAM_CRASH);
    clock_init_sim(&world->clock, options->seed, SIM_WALL_MS);
    world->clocks[world->clock_count++] = &world->clock;

    struct disk_sim_config disk = sim_world_disk_config(world);
    struct tcp_sim_config tcp = {
        .clock = &world->clock, .seed = options->seed, .trace = &world->trace};
    CHECK(disk_sim_create(&disk, &world->disk) == RC_OK);
    CHECK(tcp_sim_create(&tcp, &world->tcp) == RC_OK);
}

struct disk_sim_config
sim_world_disk_config(struct sim_world *world)
{
    return (struct disk_sim_config){.seed = sim_rng_next(&world->crash), .trace = &world->trace};
}

void
sim_world_replace_disk(struct sim_world *world, struct disk *disk)
{
    disk_sim_set_faults(disk, disk_sim_get_faults(world->disk));
    disk_fini(world->disk);
    world->disk = disk;
}

void
sim_world_fini(struct sim_world *world)
{
    disk_fini(world->disk);
    tcp_sim_destroy(world->tcp);
    world->disk = NULL;
    world->tcp = NULL;
}

void
sim_world_draw_faults(struct sim_world *world)
{
    struct sim_rng *rng = &world->swarm;
    struct disk_sim_faults disk = {.latency_ns = sim_rng_between(rng, 100, 100000)};
    struct tcp_sim_faults tcp = {.latency_ns = sim_rng_between(rng, 100, 50000)};

    if (sim_rng_chance(rng, 800000))
        disk.spread_ns = sim_rng_between(rng, 1000, 500000);
    if (sim_rng_chance(rng, 400000))
        disk.short_ppm = (uint32_t)sim_rng_between(rng, 1000, 300000);
    if (sim_rng_chance(rng, 300000)) {
        disk.slow_ppm = (uint32_t)sim_rng_between(rng, 1000, 100000);
        disk.slow_ns = NS_PER_S;
    }
    if (sim_rng_chance(rng, 500000)) {
        tcp.fragment_ppm = (uint32_t)sim_rng_between(rng, 10000, 900000);
        tcp.fragment_bytes = sim_rng_chance(rng, 300000) ? 1 : 2000;
    }
    if (sim_rng_chance(rng, 500000))
        tcp.partial_ppm = (uint32_t)sim_rng_between(rng, 10000, 900000);
    if (sim_rng_chance(rng, 500000))
        tcp.spread_ns = sim_rng_between(rng, 1000, 2000000);
    if (sim_rng_chance(rng, 300000))
        tcp.buffer_bytes = (uint32_t)sim_rng_between(rng, 512, 8192);
    if (sim_rng_chance(rng, 300000))
        world->step_cost_ns = sim_rng_between(rng, 100, 100000);
    disk_sim_set_faults(world->disk, &disk);
    tcp_sim_set_faults(world->tcp, &tcp);
}

void
sim_world_add_clock(struct sim_world *world, struct clock *clock)
{
    CHECK(world->clock_count < SIM_CLOCKS_MAX);
    uint64_t now_ns = clock_now_ns(&world->clock);
    CHECK(clock_now_ns(clock) <= now_ns);
    clock_sim_advance(clock, now_ns - clock_now_ns(clock));
    world->clocks[world->clock_count++] = clock;
}

void
sim_world_remove_clock(struct sim_world *world, struct clock *clock)
{
    for (uint32_t i = 1; i < world->clock_count; i++) {
        if (world->clocks[i] == clock) {
            world->clocks[i] = world->clocks[--world->clock_count];
            return;
        }
    }
}

struct io *
sim_world_create_io(struct sim_world *world, struct clock *clock)
{
    struct io *io;
    struct io_sim_config config = {
        .clock = clock,
        .seed = sim_rng_next(&world->swarm),
        .trace = &world->trace,
        .reap_partial_ppm = sim_rng_chance(&world->swarm, 300000)
                                ? (uint32_t)sim_rng_below(&world->swarm, 500000)
                                : 0,
    };
    CHECK(io_sim_create(&config, &io) == RC_OK);
    io_sim_attach(io, disk_sim_device(world->disk));
    io_sim_attach(io, tcp_sim_device(world->tcp));
    return io;
}

void
sim_world_add(struct sim_world *world, const struct sim_actor *actor)
{
    CHECK(world->actor_count < SIM_ACTORS_MAX);
    world->actors[world->actor_count++] = *actor;
}

void
sim_world_remove(struct sim_world *world, const void *object)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (world->actors[i].object != object)
            world->actors[kept++] = world->actors[i];
    }
    world->actor_count = kept;
}

/* ---- cores ---- */

static bool
core_has_input(const struct core *core)
{
    for (uint32_t i = 0; i < core->tile_count; i++) {
        if (core->tiles[i].ops->has_work(core->tiles[i].object))
            return true;
    }
    return false;
}

/* As core_run(): poll while there is work, then say `asleep`, look once more, and sleep.
 * idle_since_ns == 0: awake. */
static uint32_t
core_actor_step(void *object)
{
    struct core *core = object;
    (void)io_sim_take_wake(core->io);
    atomic_store_explicit(&core->waker.asleep, 0, memory_order_relaxed);
    core->idle_since_ns = 0;
    uint32_t work = core_step(core);
    if (work == 0) {
        atomic_store_explicit(&core->waker.asleep, 1, memory_order_relaxed);
        if (!core_has_input(core))
            core->idle_since_ns = clock_now_ns(core->clock);
    }
    return work;
}

static uint64_t
core_actor_due_ns(void *object)
{
    struct core *core = object;
    if (core->idle_since_ns == 0)
        return 0;
    if (io_sim_take_wake(core->io)) {
        core->idle_since_ns = 0;
        return 0;
    }
    return min_u64(core->next_deadline_ns, io_sim_due_ns(core->io));
}

void
sim_world_add_core(struct sim_world *world, const char *name, struct core *core)
{
    core->idle_since_ns = 0;
    sim_world_add(
        world,
        &(struct sim_actor){
            .name = name, .object = core, .step = core_actor_step, .due_ns = core_actor_due_ns});
}

/* ---- running ---- */

uint64_t
sim_world_now_ns(struct sim_world *world)
{
    return clock_now_ns(&world->clock);
}

static void
world_advance(struct sim_world *world, uint64_t ns)
{
    for (uint32_t i = 0; i < world->clock_count; i++)
        clock_sim_advance(world->clocks[i], ns);
}

bool
sim_world_step(struct sim_world *world)
{
    uint64_t now_ns = sim_world_now_ns(world);
    uint64_t nearest_ns = SIM_NEVER_NS;
    uint32_t due[SIM_ACTORS_MAX];
    uint32_t due_count = 0;

    for (uint32_t i = 0; i < world->actor_count; i++) {
        uint64_t due_ns = world->actors[i].due_ns(world->actors[i].object);
        nearest_ns = min_u64(nearest_ns, due_ns);
        if (due_ns <= now_ns)
            due[due_count++] = i;
    }
    if (nearest_ns == SIM_NEVER_NS)
        return false;
    if (due_count == 0) {
        world_advance(world, nearest_ns - now_ns);
        return true;
    }
    uint32_t pick = due[sim_rng_below(&world->schedule, due_count)];
    struct sim_actor actor = world->actors[pick];
    uint32_t work = actor.step(actor.object);
    sim_trace_add(&world->trace, actor.name, work, now_ns, 0);
    world->steps++;
    world_advance(world, sim_rng_between(&world->schedule, 1, world->step_cost_ns));
    return true;
}

enum sim_world_end
sim_world_run(struct sim_world *world, bool (*done)(void *ctx), void *ctx)
{
    uint64_t steps_end = world->steps + world->options.steps_max;
    uint64_t start_ns = sim_world_now_ns(world);
    for (;;) {
        if (done != NULL && done(ctx))
            return SIM_WORLD_DONE;
        if (world->steps >= steps_end)
            return SIM_WORLD_STEPS;
        if (sim_world_now_ns(world) - start_ns >= world->options.time_max_ns)
            return SIM_WORLD_TIME;
        if (!sim_world_step(world))
            return SIM_WORLD_QUIET;
    }
}

/* An actor that does nothing but be due once. */
static uint32_t
alarm_step(void *object)
{
    *(uint64_t *)object = SIM_NEVER_NS;
    return 0;
}

static uint64_t
alarm_due_ns(void *object)
{
    return *(uint64_t *)object;
}

void
sim_world_pass(struct sim_world *world, uint64_t ns)
{
    uint64_t until_ns = sim_world_now_ns(world) + ns;
    sim_world_add(
        world,
        &(struct sim_actor){
            .name = "alarm", .object = &until_ns, .step = alarm_step, .due_ns = alarm_due_ns});
    while (until_ns != SIM_NEVER_NS && sim_world_step(world))
        ;
    sim_world_remove(world, &until_ns);
}

const char *
sim_world_end_name(enum sim_world_end end)
{
    static const char *const names[] = {
        [SIM_WORLD_DONE] = "done",
        [SIM_WORLD_QUIET] = "nothing more will happen",
        [SIM_WORLD_STEPS] = "step limit reached",
        [SIM_WORLD_TIME] = "time limit reached",
    };
    return names[end];
}
