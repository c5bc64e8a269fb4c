/* Goal: stamps come out in order, sampled as asked, and overwritten ones are never shown half.
 * Method: limits first, then counts against a model. */
#include "engine/trace/trace.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct trace trace;
static struct trace_stamp stamps[TRACE_STAMPS + 10];

Test(trace, an_unknown_stage_stops_the_program, .signal = SIGABRT, .timeout = 10)
{
    trace_init(&trace, 0);
    trace_keep(&trace, TRACE_STAGE_COUNT, 1, 1);
}

Test(trace, without_a_trace_nothing_happens, .timeout = 10)
{
    trace_stamp(NULL, TRACE_APPEND, 1, 1);
    trace_init(&trace, 0);
    cr_assert_eq(trace_read(&trace, stamps, 10), 0u);
}

Test(trace, shows_the_newest_stamps_oldest_first, .timeout = 10)
{
    trace_init(&trace, 0);
    for (uint64_t i = 0; i < TRACE_STAMPS + 100; i++)
        trace_stamp(&trace, TRACE_APPEND, i, i * 2);
    cr_assert_eq(trace_read(&trace, stamps, TRACE_STAMPS + 10), TRACE_STAMPS);
    for (uint64_t i = 0; i < TRACE_STAMPS; i++)
        cr_assert_eq(stamps[i].id, (i + 100) * 2);
    cr_assert_eq(trace_read(&trace, stamps, 3), 3u);
    cr_assert_eq(stamps[2].at_ns, TRACE_STAMPS + 99u);
}

Test(trace, keeps_every_eighth_stamp_of_each_stage, .timeout = 10)
{
    trace_init(&trace, 3);
    for (uint64_t i = 0; i < 80; i++)
        trace_stamp(&trace, i % 2 == 0 ? TRACE_APPEND : TRACE_READ, i, i);
    cr_assert_eq(trace_read(&trace, stamps, 100), 10u);
    cr_assert_str_eq(trace_stage_name(TRACE_HAND_OVER), "HAND_OVER");
}
