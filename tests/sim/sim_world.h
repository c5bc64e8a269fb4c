/* A simulated world: one thread, one seed, virtual time.
 *
 * The world owns the virtual disk, the in-memory network, the trace and the random streams; cores,
 * control loops and clients are actors. Each step one actor that is due runs, chosen by the
 * schedule stream, and costs a little virtual time; when nobody is due the clocks move to the
 * nearest moment at which somebody is. Everything that happens is hashed in order: two runs of a
 * seed end with equal hashes, or something reached around the seams.
 *
 *   sim_world_init(&world, &options); sim_world_add_core(&world, "core0", &core);
 * sim_world_add(&world, &client_actor); end = sim_world_run(&world, done, ctx); ...
 * sim_world_fini(&world);
 *
 * Swarm: the swarm stream first draws which faults are on and how strong (sim_world_draw_faults),
 * so that quiet runs exist too. */
#ifndef EAGRE_TESTS_SIM_SIM_WORLD_H
#define EAGRE_TESTS_SIM_SIM_WORLD_H

#include "engine/tile/tile.h"
#include "hw/disk/disk_sim.h"
#include "hw/tcp/tcp_sim.h"

#define SIM_ACTORS_MAX 64u
#define SIM_CLOCKS_MAX 16u
#define SIM_WALL_MS INT64_C(1760000000000) /* where simulated worlds begin: October 2025 */

/* Something that runs by itself. due_ns: when it wants to be stepped; <= now: at once,
 * SIM_NEVER_NS: when others have changed something (it is asked again after every step of anyone).
 */
struct sim_actor {
    const char *name;
    void *object;
    uint32_t (*step)(void *object); /* returns work done; only for the trace */
    uint64_t (*due_ns)(void *object);
};

struct sim_world_options {
    uint64_t seed;
    uint64_t steps_max;   /* of one sim_world_run(); 0: 10 million */
    uint64_t time_max_ns; /* virtual, of one sim_world_run(); 0: one hour */
    bool verbose;         /* one line per event on stdout */
};

enum sim_world_end {
    SIM_WORLD_DONE,  /* the caller's condition holds */
    SIM_WORLD_QUIET, /* nobody will ever be due again */
    SIM_WORLD_STEPS, /* steps_max reached */
    SIM_WORLD_TIME,  /* time_max_ns reached */
};

struct sim_world {
    struct sim_world_options options;
    struct sim_trace trace;
    struct sim_rng schedule;
    struct sim_rng workload;
    struct sim_rng swarm;
    struct sim_rng crash;
    struct clock clock; /* of actors that are no core */
    struct disk *disk;
    struct tcp *tcp;
    struct clock *clocks[SIM_CLOCKS_MAX];
    uint32_t clock_count;
    struct sim_actor actors[SIM_ACTORS_MAX];
    uint32_t actor_count;
    uint64_t steps;
    uint64_t step_cost_ns; /* greatest virtual cost of a step, drawn in [1, this] */
};

void sim_world_init(struct sim_world *world, const struct sim_world_options *options);
void sim_world_fini(struct sim_world *world);

/* Draws disk and network faults that every engine must survive without losing anything: latency,
 * short transfers, reordering, fragments. Never errors: those are chosen by a test that knows what
 * they entitle the engine to. */
void sim_world_draw_faults(struct sim_world *world);

/* Puts another disk in the place of the world's, which is given back; it gets the same faults. No
 * ring may be left. */
void sim_world_replace_disk(struct sim_world *world, struct disk *disk);
/* How a disk of this world is made. */
struct disk_sim_config sim_world_disk_config(struct sim_world *world);

/* The clock moves with the world from now on; it is set to the world's time. */
void sim_world_add_clock(struct sim_world *world, struct clock *clock);
void sim_world_remove_clock(struct sim_world *world, struct clock *clock);
/* A ring on this world's disk and network, for a core with that clock. */
struct io *sim_world_create_io(struct sim_world *world, struct clock *clock);

/* The actor is copied; its object is borrowed. */
void sim_world_add(struct sim_world *world, const struct sim_actor *actor);
/* A core of the engine: stepped while it works, then asleep until a wake, a completion or a
 * deadline, by the protocol of engine/tile; a lost wake-up is a world that goes quiet too early. */
void sim_world_add_core(struct sim_world *world, const char *name, struct core *core);
/* Removes every actor with that object. */
void sim_world_remove(struct sim_world *world, const void *object);

uint64_t sim_world_now_ns(struct sim_world *world);
/* One step of one actor, or one move of the clocks. False: nobody will ever be due. */
bool sim_world_step(struct sim_world *world);
/* Steps until done(ctx) or an end. done may be NULL. */
enum sim_world_end sim_world_run(struct sim_world *world, bool (*done)(void *ctx), void *ctx);
/* Lets that much virtual time pass, whether anybody is due or not. */
void sim_world_pass(struct sim_world *world, uint64_t ns);
const char *sim_world_end_name(enum sim_world_end end);

#endif
