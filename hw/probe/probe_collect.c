/* Looking at the host: /proc, /sys, limits, and one try of the things that are only known by
 * trying. */
#include "hw/probe/probe.h"

#include "hw/clock/clock.h"
#include "hw/disk/disk_real.h"
#include "hw/io/io.h"

#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104 /* linux/udp.h since 5.0 */
#endif
#define PROBE_UDP_BYTES (4 * 1024 * 1024)

/* Reads a small file whole, with a NUL and without the last newline; false when it is not there. */
static bool
file_read(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t count = read(fd, text, capacity - 1);
    close(fd);
    if (count < 0)
        count = 0;
    text[count] = '\0';
    if (count > 0 && text[count - 1] == '\n')
        text[count - 1] = '\0';
    return true;
}

/* The number after "name:" in a text like /proc/meminfo; 0 when it is not there. */
static uint64_t
meminfo_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    uint64_t number = 0;

    if (at == NULL)
        return 0;
    at += strlen(name);
    at += strspn(at, ": \t");
    for (; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

static void
collect_memory(struct probe_facts *facts)
{
    char text[4096];

    if (file_read("/proc/meminfo", text, sizeof(text))) {
        facts->memory_total_bytes = meminfo_number(text, "MemTotal") * KIB;
        facts->memory_available_bytes = meminfo_number(text, "MemAvailable") * KIB;
        facts->huge_pages_total = meminfo_number(text, "HugePages_Total");
        facts->huge_pages_free = meminfo_number(text, "HugePages_Free");
    }
    snprintf(facts->thp, sizeof(facts->thp), "unknown");
    if (!file_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)))
        return;
    /* "always [madvise] never": the one in brackets is in force. */
    const char *begin = strchr(text, '[');
    if (begin != NULL)
        snprintf(facts->thp, sizeof(facts->thp), "%.*s", (int)strcspn(begin + 1, "]"), begin + 1);
}

static void
collect_cpus(struct probe_facts *facts)
{
    struct cpu_topology topology;
    cpu_set_t before;

    cpu_topology_read(&topology);
    facts->cpus_allowed = topology.allowed_count;
    facts->cpus_usable = topology.usable;
    facts->cpu_quota_milli = topology.quota_milli;
    if (sched_getaffinity(0, sizeof(before), &before) != 0)
        return;
    facts->pinning = cpu_pin(topology.allowed[0], NULL) == RC_OK;
    (void)sched_setaffinity(0, sizeof(before), &before);
}

static void
collect_limits(struct probe_facts *facts)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        facts->descriptors_soft = limit.rlim_cur;
        facts->descriptors_hard = limit.rlim_max;
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        facts->memlock_soft_bytes = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

static void
collect_io(struct probe_facts *facts)
{
    struct diag_trail trail = {""};
    struct io *io = NULL;

    if (io_create(IO_BODY_AUTO, &io, &trail) == RC_OK) {
        snprintf(facts->io_body, sizeof(facts->io_body), "%s", io->body_name);
        facts->io_uring = strncmp(io->body_name, "io_uring", 8) == 0;
        io_destroy(io);
    }
    snprintf(facts->io_reason, sizeof(facts->io_reason), "%s", trail.text);
}

static void
collect_clock(struct probe_facts *facts)
{
    struct clock clock;

    snprintf(facts->clocksource, sizeof(facts->clocksource), "unknown");
    (void)file_read("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                    facts->clocksource,
                    sizeof(facts->clocksource));
    clock_init_real(&clock);
    facts->tsc = strcmp(clock_source_name(&clock), "tsc") == 0;
}

/* What the kernel's UDP can do for the native door, tried on a socket of our own. */
static void
collect_udp(struct probe_facts *facts)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int segment = 1400;
    int on = 1;
    int bytes = PROBE_UDP_BYTES;
    socklen_t count = sizeof(bytes);

    if (fd < 0)
        return;
    facts->udp_segment = setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)) == 0;
    facts->udp_gro = setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &count) == 0)
        facts->udp_receive_bytes = (uint64_t)bytes / 2; /* the kernel doubles what it grants */
    close(fd);
}

/* Only whether it is installed: loading it would start threads. */
static void
collect_dpdk(struct probe_facts *facts)
{
    static const char *const patterns[] = {
        "/usr/lib/*/librte_eal.so.*",
        "/usr/lib64/librte_eal.so.*",
        "/usr/lib/librte_eal.so.*",
        "/usr/local/lib/librte_eal.so.*",
        "/usr/local/lib/*/librte_eal.so.*",
    };

    for (size_t i = 0; i < ARRAY_COUNT(patterns) && !facts->dpdk; i++) {
        glob_t found;

        if (glob(patterns[i], 0, NULL, &found) != 0)
            continue;
        facts->dpdk = found.gl_pathc > 0;
        if (facts->dpdk)
            snprintf(facts->dpdk_path, sizeof(facts->dpdk_path), "%s", found.gl_pathv[0]);
        globfree(&found);
    }
}

static void
collect_disk(const struct probe_config *config, struct probe_facts *facts)
{
    facts->latency_rc = RC_UNSUPPORTED;
    if (config->data_directory == NULL)
        return;
    snprintf(facts->data_directory, sizeof(facts->data_directory), "%s", config->data_directory);
    facts->disk_rc = disk_facts_read(config->data_directory, &facts->disk);
    if (facts->disk_rc == RC_OK && !config->skip_latency)
        facts->latency_rc = probe_measure_latency(config->data_directory, &facts->latency);
}

void
probe_collect(const struct probe_config *config, struct probe_facts *ret_facts)
{
    *ret_facts = (struct probe_facts){.memory_budget_bytes = config->memory_bytes};
    collect_cpus(ret_facts);
    collect_memory(ret_facts);
    collect_limits(ret_facts);
    collect_io(ret_facts);
    collect_clock(ret_facts);
    collect_udp(ret_facts);
    collect_dpdk(ret_facts);
    collect_disk(config, ret_facts);
}
