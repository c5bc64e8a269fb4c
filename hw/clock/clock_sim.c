/* The sim body: time is a number that only clock_sim_advance() moves. */
#include "hw/clock/clock.h"

#include <string.h>

static uint64_t
clock_sim_now_ns(struct clock *clock)
{
    return clock->sim_now_ns;
}

static int64_t
clock_sim_wall_ms(struct clock *clock)
{
    return clock->sim_wall_ms;
}

void
clock_init_sim(struct clock *clock, uint64_t seed, int64_t wall_ms)
{
    memset(clock, 0, sizeof(*clock));
    clock->now_ns = clock_sim_now_ns;
    clock->wall_ms = clock_sim_wall_ms;
    clock->sim_now_ns = NS_PER_S;
    clock->sim_wall_ms = wall_ms;
    clock_random_seed(clock, seed);
}

void
clock_sim_advance(struct clock *clock, uint64_t ns)
{
    uint64_t before_ms = clock->sim_now_ns / NS_PER_MS;

    clock->sim_now_ns += ns;
    /* Counted in whole milliseconds of virtual time, so many small steps lose nothing. */
    clock->sim_wall_ms += (int64_t)(clock->sim_now_ns / NS_PER_MS - before_ms);
}
