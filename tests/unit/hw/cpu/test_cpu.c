/* Goal: a wrong `cores` line is refused with the word that is wrong; a right one gives exactly the
 * threads it names. Method: bad input first, over made-up machines; then what this host really has.
 */
#include "hw/cpu/cpu.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static struct cpu_topology
machine(uint32_t cpu_count, uint32_t quota_milli)
{
    struct cpu_topology topology = {.allowed_count = cpu_count, .quota_milli = quota_milli};

    for (uint32_t i = 0; i < cpu_count; i++)
        topology.allowed[i] = i;
    topology.usable = cpu_count;
    if (quota_milli != 0)
        topology.usable = min_u32(cpu_count, (quota_milli + 999) / 1000);
    return topology;
}

Test(cpu_plan_parse, refuses_bad_lines_and_names_the_reason, .timeout = 10)
{
    static const struct {
        const char *text;
        const char *reason;
    } rows[] = {
        {"", "\"\" is not a tile"},
        {"/", "\"\" is not a tile"},
        {"gate+log/", "thread 2: \"\" is not a tile"},
        {"gate++log", "\"\" is not a tile"},
        {"gate+", "\"\" is not a tile"},
        {"gaet+log", "\"gaet\" is not a tile"},
        {"gate log", "\"gate log\" is not a tile"},
        {"Gate+log", "\"Gate\" is not a tile"},
        {"gates+log", "\"gates\" is not a tile"},
        {"auto/log", "\"auto\" is not a tile"},
        {"log+log+gate", "two log tiles"},
        {"gate", "no log tile"},
        {"net+gate", "no log tile"},
        {"log/log", "neither a gate nor a net"},
        {"gate+log@", "\"@\" is not a CPU"},
        {"gate+log@x", "\"@x\" is not a CPU"},
        {"gate+log@4", "\"@4\" is not a CPU"},
        {"gate+log@-1", "\"@-1\" is not a CPU"},
        {"gate+log@4294967296", "is not a CPU"},
        {"gate@1+log", "\"@1+log\" is not a CPU"},
        {"gate@0@1/log", "is not a CPU"},
        {"gate@1/log@1", "CPU 1 is named for two threads"},
    };
    struct cpu_topology four = machine(4, 0);

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct diag_trail trail = {""};
        struct cpu_plan plan = {.thread_count = 77};

        cr_assert_eq(
            cpu_plan_parse(rows[i].text, &four, &plan, &trail), RC_INVALID, "%s", rows[i].text);
        cr_assert_not_null(strstr(trail.text, rows[i].reason), "%s: %s", rows[i].text, trail.text);
        cr_assert_not_null(strstr(trail.text, "cores = "));
        cr_assert_eq(plan.thread_count, 77u, "untouched");
    }
}

Test(cpu_plan_parse, refuses_one_thread_too_many, .timeout = 10)
{
    struct cpu_topology four = machine(4, 0);
    struct cpu_plan plan;
    char text[8 * CPU_THREADS_MAX];
    size_t at = (size_t)snprintf(text, sizeof(text), "gate");

    for (uint32_t i = 1; i < CPU_THREADS_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "/log");
    cr_assert_eq(cpu_plan_parse(text, &four, &plan, NULL), RC_OK);
    cr_assert_eq(plan.thread_count, CPU_THREADS_MAX);
    snprintf(text + at, sizeof(text) - at, "/log");
    cr_assert_eq(cpu_plan_parse(text, &four, &plan, NULL), RC_INVALID);
}

Test(cpu_plan_parse, gives_the_threads_that_are_written_and_prints_them_again, .timeout = 10)
{
    static const char *const texts[] = {"net+gate+log",
                                        "gate+log",
                                        "log+gate",
                                        "net+gate@0/log@1",
                                        "gate/log/log",
                                        "net@3/gate/log@0"};
    struct cpu_topology four = machine(4, 0);

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct cpu_plan plan;
        char text[64];

        cr_assert_eq(cpu_plan_parse(texts[i], &four, &plan, NULL), RC_OK);
        cpu_plan_text(&plan, text, sizeof(text));
        cr_assert_str_eq(text, texts[i]);
        cr_assert_not(plan.is_auto);
    }
    struct cpu_plan plan;
    cr_assert_eq(cpu_plan_parse("net+gate@0/log@1/log", &four, &plan, NULL), RC_OK);
    cr_assert_eq(plan.thread_count, 3u);
    cr_assert_eq(plan.threads[0].tile_count, 2u);
    cr_assert_eq(plan.threads[0].tiles[1], CPU_TILE_GATE);
    cr_assert_eq(plan.threads[1].cpu, 1u);
    cr_assert_eq(plan.threads[2].cpu, CPU_ANY);
    cr_assert_eq(plan.tile_counts[CPU_TILE_LOG], 2u);
    cr_assert_not(plan.overprovisioned);
}

Test(cpu_plan_text, cuts_what_does_not_fit, .timeout = 10)
{
    struct cpu_topology four = machine(4, 0);
    struct cpu_plan plan;
    char text[6];

    cr_assert_eq(cpu_plan_parse("gate+log@3", &four, &plan, NULL), RC_OK);
    cpu_plan_text(&plan, text, sizeof(text));
    cr_assert_str_eq(text, "gate+");
}

Test(cpu_plan_auto, follows_the_machine, .timeout = 10)
{
    static const struct {
        uint32_t cpu_count;
        uint32_t quota_milli;
        const char *text;
        bool overprovisioned;
    } rows[] = {
        {1, 0, "net+gate+log", true},
        {2, 0, "net+gate+log", true},
        {3, 0, "net+gate+log", false},
        {4, 0, "net+gate@2/log@3", false},
        {64, 0, "net+gate@62/log@63", false},
        {64, 500, "net+gate+log", true},
        {64, 2000, "net+gate+log", true},
        {64, 3500, "net+gate/log", false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_topology topology = machine(rows[i].cpu_count, rows[i].quota_milli);
        struct cpu_plan plan;
        char text[64];

        cr_assert_eq(cpu_plan_parse("auto", &topology, &plan, NULL), RC_OK);
        cpu_plan_text(&plan, text, sizeof(text));
        cr_assert_str_eq(text, rows[i].text, "%u CPUs", rows[i].cpu_count);
        cr_assert_eq(plan.overprovisioned, rows[i].overprovisioned, "%u CPUs", rows[i].cpu_count);
        cr_assert(plan.is_auto);
        cr_assert_eq(plan.tile_counts[CPU_TILE_GATE], 1u);
    }
}

Test(cpu_plan_parse, marks_more_threads_than_cpus_as_overprovisioned, .timeout = 10)
{
    struct cpu_topology four = machine(4, 0);
    struct cpu_plan plan;

    cr_assert_eq(cpu_plan_parse("net/gate/log/log", &four, &plan, NULL), RC_OK);
    cr_assert(plan.overprovisioned);
}

Test(cpu_quota_parse, takes_limits_and_ignores_what_it_does_not_know, .timeout = 10)
{
    cr_assert_eq(cpu_quota_parse(""), 0u);
    cr_assert_eq(cpu_quota_parse("max 100000\n"), 0u);
    cr_assert_eq(cpu_quota_parse("-1 100000\n"), 0u);
    cr_assert_eq(cpu_quota_parse("100000"), 0u);
    cr_assert_eq(cpu_quota_parse("100000 0"), 0u);
    cr_assert_eq(cpu_quota_parse("99999999999999999999 1"), 0u);
    cr_assert_eq(cpu_quota_parse("150000 100000\n"), 1500u);
    cr_assert_eq(cpu_quota_parse("50000 100000"), 500u);
    cr_assert_eq(cpu_quota_parse("1 100000"), 1u);
}

Test(cpu_topology_read, agrees_with_the_scheduler, .timeout = 10)
{
    struct cpu_topology topology;
    cpu_set_t set;

    cpu_topology_read(&topology);
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_assert_eq(topology.allowed_count, (uint32_t)CPU_COUNT(&set));
    cr_assert_geq(topology.usable, 1u);
    cr_assert_leq(topology.usable, topology.allowed_count);
}

Test(cpu_pin, moves_the_thread_and_refuses_a_cpu_that_is_not_there, .timeout = 10)
{
    struct cpu_topology topology;
    struct diag_trail trail = {""};
    char name[16];

    cpu_topology_read(&topology);
    cr_assert_neq(cpu_pin(1000, &trail), RC_OK);
    cr_assert_not_null(strstr(trail.text, "CPU 1000"));
    cr_assert_neq(cpu_pin(CPU_ANY, &trail), RC_OK);
    uint32_t last = topology.allowed[topology.allowed_count - 1];
    cr_assert_eq(cpu_pin(last, &trail), RC_OK);
    cr_assert_eq(sched_getcpu(), (int)last);
    cpu_name_thread("a name that is far too long");
    cr_assert_eq(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    cr_assert_str_eq(name, "a name that is ");
}
