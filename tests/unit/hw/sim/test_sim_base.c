/* Goal: one seed gives one sequence, streams are apart, and the trace hash sees every part of an
 * event. Method: compare sequences and hashes that must be equal or must differ. */
#include "hw/io/sim_base.h"

#include <criterion/criterion.h>

TestSuite(sim_base, .timeout = 10);

Test(sim_base, equal_seeds_give_equal_numbers)
{
    struct sim_rng a;
    struct sim_rng b;
    sim_rng_seed(&a, 7, 3);
    sim_rng_seed(&b, 7, 3);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(sim_rng_next(&a), sim_rng_next(&b));
}

Test(sim_base, streams_and_seeds_are_apart)
{
    struct sim_rng a;
    struct sim_rng b;
    struct sim_rng c;
    sim_rng_seed(&a, 7, 3);
    sim_rng_seed(&b, 7, 4);
    sim_rng_seed(&c, 8, 3);
    uint64_t first = sim_rng_next(&a);
    cr_assert_neq(first, sim_rng_next(&b));
    cr_assert_neq(first, sim_rng_next(&c));
}

Test(sim_base, below_stays_below_and_reaches_every_value)
{
    struct sim_rng rng;
    uint32_t seen = 0;
    sim_rng_seed(&rng, 1, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = sim_rng_below(&rng, 10);
        cr_assert_lt(value, 10);
        seen |= BIT(value);
    }
    cr_assert_eq(seen, BIT(10) - 1);
}

Test(sim_base, a_chance_of_zero_draws_nothing)
{
    struct sim_rng a;
    struct sim_rng b;
    sim_rng_seed(&a, 1, 1);
    sim_rng_seed(&b, 1, 1);
    cr_assert_not(sim_rng_chance(&a, 0));
    cr_assert_eq(sim_rng_next(&a), sim_rng_next(&b));
    cr_assert(sim_rng_chance(&a, SIM_PPM_ALL));
}

Test(sim_base, the_trace_hash_sees_kind_values_and_order)
{
    struct sim_trace traces[5];
    for (int i = 0; i < 5; i++)
        sim_trace_init(&traces[i]);
    sim_trace_add(&traces[0], "read", 1, 2, 3);
    sim_trace_add(&traces[1], "write", 1, 2, 3);
    sim_trace_add(&traces[2], "read", 1, 2, 4);
    sim_trace_add(&traces[3], "read", 2, 1, 3);
    sim_trace_add(&traces[4], "read", 1, 2, 3);
    for (int i = 1; i < 4; i++)
        cr_assert_neq(traces[i].hash, traces[0].hash, "trace %d", i);
    cr_assert_eq(traces[4].hash, traces[0].hash);
    sim_trace_add(NULL, "nothing", 0, 0, 0);
}
