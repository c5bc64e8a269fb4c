/* A whole server in a simulated world: engine/app wired to virtual clocks, disk and network.
 *
 * The rig starts the engine, ends it in the three ways in which a server ends, and starts it again
 * on what the disk kept. Cores are actors of the world; clients reach the engine only through the
 * world's network.
 *
 *   rig_start(&rig) -> sim_world_run(...) -> rig_stop() | rig_kill() | rig_power_cut() ->
 * rig_start()
 *
 * One thread. Allocates, as every double does. */
#ifndef EAGRE_TESTS_SIM_ENGINE_RIG_H
#define EAGRE_TESTS_SIM_ENGINE_RIG_H

#include "engine/app/engine.h"
#include "sim_world.h"

#define RIG_PORT 9092u
#define RIG_CORES_MAX 7u
#define RIG_WHY_MAX 640u

struct engine_rig {
    struct sim_world *world;
    struct settings settings;
    struct engine_layout layout;
    struct engine *engine; /* NULL: down */
    struct clock clocks[RIG_CORES_MAX];
    struct io *ios[RIG_CORES_MAX];
    struct recover_report recovered; /* by the last start */
    int64_t skew_ms;                 /* of the wall clock, from jumps so far */
    uint32_t starts;
    char why[RIG_WHY_MAX]; /* of the last start or stop that failed */
};

/* Settings and layout are drawn from the world's swarm stream; nothing runs yet. */
void rig_init(struct engine_rig *rig, struct sim_world *world);

/* Builds the engine on the world's disk and recovers; its cores run from now on. Not RC_OK: it is
 * down, and why says what refused. */
enum rc rig_start(struct engine_rig *rig) MUST_USE;

/* As SIGTERM: waits until everything is drained, at most limit_ns of virtual time. False: it did
 * not end, and was killed. */
bool rig_stop(struct engine_rig *rig, uint64_t limit_ns) MUST_USE;
/* As kill -9: what was written stays written. */
void rig_kill(struct engine_rig *rig);
/* As a power cut: what was not synced is kept, lost or torn. */
void rig_power_cut(struct engine_rig *rig);

/* Every wall clock of the server moves by that much at once. */
void rig_jump(struct engine_rig *rig, int64_t ms);
/* Stuck requests of every core may end. */
void rig_unstick(struct engine_rig *rig);
/* The last boot is over, and the engine serves. */
bool rig_is_ready(const struct engine_rig *rig);
/* Why the boot of this start was given up; NULL: it was not. */
const char *rig_boot_failure(const struct engine_rig *rig);

#endif
