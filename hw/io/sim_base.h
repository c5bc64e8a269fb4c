/* What the doubles of the simulator share: seeded random streams and the running hash of everything
 * that happened.
 *
 * One seed gives every stream; each user draws from its own, so a change in one does not shift the
 * others. The trace hash is fed by every double with the kind, place and result of each event in
 * order; two runs of one seed must end with equal hashes. Nothing here is used in production. Not
 * thread-safe: a simulated world has one thread. */
#ifndef EAGRE_HW_IO_SIM_BASE_H
#define EAGRE_HW_IO_SIM_BASE_H

#include "engine/base/base.h"

#define SIM_NEVER_NS UINT64_MAX
#define SIM_PPM_ALL 1000000u

/* xoshiro256** (Blackman and Vigna), seeded by SplitMix64. */
struct sim_rng {
    uint64_t state[4];
};

/* stream: any number; different ones give unrelated sequences of one seed. */
void sim_rng_seed(struct sim_rng *rng, uint64_t seed, uint64_t stream);
uint64_t sim_rng_next(struct sim_rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound);
/* Uniform in [low, high], low <= high. */
uint64_t sim_rng_between(struct sim_rng *rng, uint64_t low, uint64_t high);
/* True ppm times in a million; ppm 0 draws nothing, so a fault that is off costs no random number.
 */
bool sim_rng_chance(struct sim_rng *rng, uint32_t ppm);

struct sim_trace_event {
    const char *
        kind; /* static: "disk_write", "tcp_reset", ... ; its letters are hashed, not its address */
    uint64_t a;
    uint64_t b;
    uint64_t c;
};

struct sim_trace {
    uint64_t hash;
    uint64_t events;
    /* Sees each event before it is hashed; NULL for none. */
    void (*show)(void *ctx, const struct sim_trace_event *event);
    void *ctx;
};

void sim_trace_init(struct sim_trace *trace);
/* trace may be NULL: then nothing. */
void sim_trace_add(struct sim_trace *trace, const char *kind, uint64_t a, uint64_t b, uint64_t c);

#endif
