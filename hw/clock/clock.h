/* Time and random numbers: two of the five ways in which a tile reaches the world.
 *
 * struct clock has two bodies: real (CLOCK_MONOTONIC scaled from the TSC where it is invariant, CLOCK_REALTIME,
 * getrandom-seeded xoshiro256**) and sim (set by hand, seeded). One clock per core; not shared between threads.
 * A tile gets `now` passed in and asks for wall time at most once per group. */
#ifndef EAGRE_HW_CLOCK_CLOCK_H
#define EAGRE_HW_CLOCK_CLOCK_H

#include "engine/base/base.h"

struct clock {
    uint64_t (*now_ns)(struct clock *clock);
    int64_t (*wall_ms)(struct clock *clock);
    uint64_t random_state[4];
    /* real body: TSC scale; sim body: the virtual time */
    uint64_t tsc_base;
    uint64_t ns_base;
    uint64_t tsc_to_ns_mult; /* 32.32 fixed point; 0: clock_gettime is used instead */
    uint64_t recalibrate_at_ns;
    uint64_t sim_now_ns;
    int64_t sim_wall_ms;
};

void clock_init_real(struct clock *clock);
/* Virtual time starts at 1 s; wall time at wall_ms; both move only by clock_sim_advance(). */
void clock_init_sim(struct clock *clock, uint64_t seed, int64_t wall_ms);
void clock_sim_advance(struct clock *clock, uint64_t ns);

/* Monotonic, in ns, never 0. */
static inline uint64_t
clock_now_ns(struct clock *clock)
{
    return clock->now_ns(clock);
}

/* Milliseconds since 1970-01-01 UTC; may step back. */
static inline int64_t
clock_wall_ms(struct clock *clock)
{
    return clock->wall_ms(clock);
}

/* xoshiro256** (Blackman and Vigna), seeded by SplitMix64. Not for secrets. */
uint64_t clock_random(struct clock *clock);
/* Uniform in [0, bound), bound > 0. */
uint64_t clock_random_below(struct clock *clock, uint64_t bound);

#endif
