/* Time and random numbers: two of the five ways in which a tile reaches the world.
 *
 * struct clock has two bodies. Real: CLOCK_MONOTONIC read through the TSC where the processor keeps
 * it constant and the kernel trusts it (9.5 ns against 22.9 ns for clock_gettime), CLOCK_REALTIME,
 * and xoshiro256** seeded by getrandom. Sim: set by hand, seeded. One clock per core; it is not
 * shared between threads. A tile gets `now` passed in and asks for wall time at most once per
 * group.
 *
 *     struct clock clock;
 *     clock_init_real(&clock);
 *     uint64_t started_ns = clock_now_ns(&clock);
 *
 * All calls: Runs on: the owner of the clock.  Allocates: nothing.  Blocks: never, except
 * clock_init_real(), which spins for 2 ms to calibrate. */
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
    uint64_t tsc_to_ns_mult; /* ns per tick, 32.32 fixed point; 0: clock_gettime is used instead */
    uint64_t tsc_rate_mult;  /* the same as last measured; the one above may be slowed */
    uint64_t monotonic_base_ns; /* CLOCK_MONOTONIC at tsc_base */
    uint64_t recalibrate_at_ns;
    uint64_t sim_now_ns;
    int64_t sim_wall_ms;
};

/* Starts the real body: decides between TSC and clock_gettime, calibrates, seeds the random
 * numbers. */
void clock_init_real(struct clock *clock);

/* Virtual time starts at 1 s; wall time at wall_ms; both move only by clock_sim_advance(). */
void clock_init_sim(struct clock *clock, uint64_t seed, int64_t wall_ms);

/* Moves virtual and wall time of a sim clock forward by ns; whole milliseconds reach the wall. */
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

/* "tsc", "clock_gettime" or "sim": for the start banner. Static storage. */
const char *clock_source_name(const struct clock *clock);

/* xoshiro256** (Blackman and Vigna), seeded by SplitMix64. Not for secrets. */
uint64_t clock_random(struct clock *clock);

/* Uniform in [0, bound), bound > 0. */
uint64_t clock_random_below(struct clock *clock, uint64_t bound);

/* Sets the state of clock_random() from one number; the same seed gives the same numbers for ever.
 * */
void clock_random_seed(struct clock *clock, uint64_t seed);

#endif
