/* Goal: what a host lacks is named with its cost and its command, the same facts always give the
 * same text, and looking leaves nothing behind. Method: judging and formatting over made-up facts;
 * collecting over this host, compared with what is certain. */
#include "hw/probe/probe.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct probe_facts
good_facts(void)
{
    struct probe_facts facts = {
        .cpus_allowed = 8,
        .cpus_usable = 8,
        .pinning = true,
        .memory_total_bytes = 32 * GIB,
        .memory_available_bytes = 30 * GIB,
        .memory_budget_bytes = GIB,
        .huge_pages_total = 512,
        .huge_pages_free = 500,
        .thp = "madvise",
        .descriptors_soft = 1048576,
        .descriptors_hard = 1048576,
        .memlock_soft_bytes = UINT64_MAX,
        .io_body = "io_uring (deferred task work)",
        .io_uring = true,
        .clocksource = "tsc",
        .tsc = true,
        .udp_segment = true,
        .udp_gro = true,
        .udp_receive_bytes = 4 * MIB,
        .dpdk = true,
        .dpdk_path = "/usr/lib/librte_eal.so.23",
        .data_directory = "/data",
        .disk = {.filesystem = "xfs",
                 .write_cache = "write through",
                 .block_bytes = 512,
                 .direct = true,
                 .free_bytes = 100 * GIB,
                 .total_bytes = 200 * GIB},
        .latency = {.p50_ns = 39400, .p99_ns = 51000, .direct = true},
    };

    return facts;
}

static const struct probe_row *
judged_row(const struct probe_facts *facts, const char *name)
{
    static struct probe_report report;

    probe_judge(facts, &report);
    for (uint32_t i = 0; i < report.count; i++) {
        if (strcmp(report.rows[i].name, name) == 0)
            return &report.rows[i];
    }
    return NULL;
}

static void
expect_trouble(const struct probe_facts *facts,
               const char *name,
               enum probe_state state,
               const char *found,
               const char *fix)
{
    const struct probe_row *row = judged_row(facts, name);

    cr_assert_not_null(row, "%s", name);
    cr_assert_eq(row->state, state, "%s is %s", name, probe_state_name(row->state));
    cr_assert_not_null(strstr(row->found, found), "%s: %s", name, row->found);
    cr_assert_not_null(strstr(row->fix, fix), "%s: %s", name, row->fix);
    cr_assert_str_not_empty(row->cost, "%s", name);
}

Test(probe_judge, names_cost_and_command_of_everything_that_is_amiss, .timeout = 10)
{
    struct probe_facts bad = good_facts();

    bad.cpus_usable = 2;
    bad.pinning = false;
    bad.memory_budget_bytes = 31 * GIB;
    bad.huge_pages_free = 0;
    snprintf(bad.thp, sizeof(bad.thp), "never");
    bad.descriptors_soft = 1024;
    bad.memlock_soft_bytes = 8 * MIB;
    bad.io_uring = false;
    snprintf(bad.io_body, sizeof(bad.io_body), "threads");
    bad.tsc = false;
    bad.udp_receive_bytes = 208 * KIB;
    bad.dpdk = false;
    bad.disk.direct = false;
    snprintf(bad.disk.write_cache, sizeof(bad.disk.write_cache), "unknown");
    bad.latency.p50_ns = 5 * NS_PER_MS;
    expect_trouble(&bad, "cpus", PROBE_WARN, "2", "");
    expect_trouble(&bad, "pinning", PROBE_WARN, "refused", "sched_setaffinity");
    expect_trouble(&bad, "memory", PROBE_WARN, "31744 MiB", "--memory");
    expect_trouble(&bad, "huge pages", PROBE_MISSING, "0 of 512", "vm.nr_hugepages");
    expect_trouble(&bad, "transparent huge", PROBE_WARN, "never", "echo madvise");
    expect_trouble(&bad, "open files", PROBE_WARN, "1024", "ulimit -n");
    expect_trouble(&bad, "locked memory", PROBE_WARN, "8192 KiB", "ulimit -l");
    expect_trouble(&bad, "io_uring", PROBE_MISSING, "threads", "kernel.io_uring_disabled=0");
    expect_trouble(&bad, "clock", PROBE_WARN, "clock_gettime", "clocksource=tsc");
    expect_trouble(&bad, "native sockets", PROBE_WARN, "208 KiB", "net.core.rmem_max");
    bad.udp_gro = false;
    expect_trouble(&bad, "native sockets", PROBE_WARN, "no UDP_GRO", "5.0");
    expect_trouble(&bad, "dpdk", PROBE_MISSING, "librte_eal", "apt-get install");
    expect_trouble(&bad, "data directory", PROBE_WARN, "no O_DIRECT", "--data");
    expect_trouble(&bad, "write cache", PROBE_WARN, "unknown", "");
    expect_trouble(&bad, "synced write", PROBE_WARN, "p50 5000 us", "--data");
}

Test(probe_judge, tells_limits_memory_disks_and_missing_directories, .timeout = 10)
{
    struct probe_facts facts = good_facts();

    facts.cpu_quota_milli = 1500;
    expect_trouble(&facts, "cpus", PROBE_WARN, "8 allowed, limited to 1.500", "cpuset");
    facts.disk.is_memory = true;
    snprintf(facts.disk.filesystem, sizeof(facts.disk.filesystem), "tmpfs");
    expect_trouble(&facts, "data directory", PROBE_MISSING, "tmpfs", "--data");
    facts.disk.is_memory = false;
    snprintf(facts.disk.filesystem, sizeof(facts.disk.filesystem), "nfs");
    expect_trouble(&facts, "data directory", PROBE_WARN, "nfs", "local disk");
    facts.disk_rc = RC_NOT_FOUND;
    expect_trouble(&facts, "data directory", PROBE_MISSING, "/data: not found", "mkdir");
    cr_assert_null(judged_row(&facts, "synced write"));
    facts.disk_rc = RC_OK;
    facts.latency_rc = RC_NO_SPACE;
    cr_assert_not_null(strstr(judged_row(&facts, "synced write")->found, "no space"));
    facts.latency_rc = RC_UNSUPPORTED;
    cr_assert_null(judged_row(&facts, "synced write"));
    facts.data_directory[0] = '\0';
    cr_assert_null(judged_row(&facts, "data directory"));
}

Test(probe_judge, finds_nothing_amiss_on_a_good_host, .timeout = 10)
{
    struct probe_facts facts = good_facts();
    struct probe_report report;

    probe_judge(&facts, &report);
    cr_assert_eq(report.count, 14u);
    for (uint32_t i = 0; i < report.count; i++) {
        cr_assert_eq(report.rows[i].state, PROBE_OK, "%s", report.rows[i].name);
        cr_assert_str_empty(report.rows[i].fix, "%s", report.rows[i].name);
    }
}

Test(probe_row_text, is_the_same_for_the_same_facts, .timeout = 10)
{
    struct probe_facts facts = good_facts();
    char text[512];

    probe_row_text(judged_row(&facts, "data directory"), text, sizeof(text));
    cr_assert_str_eq(
        text,
        "ok      data directory    /data: xfs, 512-byte blocks, O_DIRECT, 100 of 200 GiB free");
    probe_row_text(judged_row(&facts, "synced write"), text, sizeof(text));
    cr_assert_str_eq(
        text, "ok      synced write      4 KiB: p50 39 us, p99 51 us (200 writes, O_DIRECT)");
    facts.descriptors_soft = 1024;
    probe_row_text(judged_row(&facts, "open files"), text, sizeof(text));
    cr_assert_str_eq(
        text,
        "warn    open files        1024 (at most 1048576)\n"
        "                          costs: connections and open segments together are limited to "
        "this number\n"
        "                          mend: ulimit -n 65536 (systemd: LimitNOFILE=65536)");
    probe_banner(&facts, text, sizeof(text));
    cr_assert_str_eq(text,
                     "8 CPUs, io_uring (deferred task work), disk xfs 512-byte blocks, write cache "
                     "write through, synced 4 KiB write p50 39 us p99 51 us");
}

Test(probe_row_text, is_cut_at_every_length_without_overrun, .timeout = 10)
{
    struct probe_facts facts = good_facts();
    char text[512];

    facts.descriptors_soft = 1024;
    const struct probe_row *row = judged_row(&facts, "open files");
    for (size_t capacity = 1; capacity < 300; capacity++) {
        memset(text, 'x', sizeof(text));
        probe_row_text(row, text, capacity);
        cr_assert_lt(strlen(text), capacity);
        cr_assert_eq(text[capacity], 'x');
    }
}

Test(probe_measure_latency, refuses_a_directory_that_is_not_there, .timeout = 10)
{
    struct probe_latency latency;

    cr_assert_eq(probe_measure_latency("/tmp/eagre-no-such", &latency), RC_NOT_FOUND);
}

Test(probe_collect, sees_this_host_and_leaves_nothing_behind, .timeout = 60)
{
    char path[] = "/tmp/eagre-probe-XXXXXX";
    struct probe_facts facts;
    cpu_set_t before;
    cpu_set_t after;

    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
    probe_collect(&(struct probe_config){.data_directory = path, .memory_bytes = GIB}, &facts);
    cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
    cr_assert(CPU_EQUAL(&before, &after), "the probe left us pinned");
    cr_assert_eq(rmdir(path), 0, "the probe left a file behind");
    cr_assert_geq(facts.cpus_usable, 1u);
    cr_assert_gt(facts.memory_total_bytes, facts.memory_available_bytes);
    cr_assert_gt(facts.descriptors_soft, 0u);
    cr_assert_str_not_empty(facts.io_body);
    cr_assert_eq(facts.io_uring, facts.io_reason[0] == '\0');
    cr_assert_eq(facts.disk_rc, RC_OK);
    cr_assert_eq(facts.latency_rc, RC_OK);
    cr_assert_gt(facts.latency.p50_ns, 0u);
    cr_assert_geq(facts.latency.p99_ns, facts.latency.p50_ns);
}
