/* From facts to rows: what is good enough, what it costs when it is not, and the command that mends
 * it. Pure. The figures named as costs were measured on a two-CPU virtual machine, kernel 6.18,
 * virtio disk (hotpath sections 0, 1.5 and 4.1). */
#include "hw/probe/probe.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBE_DESCRIPTORS_WANTED 65536u
#define PROBE_MEMLOCK_WANTED_BYTES (64 * MIB)
#define PROBE_LATENCY_SLOW_NS NS_PER_MS

const char *
probe_state_name(enum probe_state state)
{
    static const char *const names[] = {
        [PROBE_OK] = "ok", [PROBE_WARN] = "warn", [PROBE_MISSING] = "missing"};

    CHECK(state < ARRAY_COUNT(names));
    return names[state];
}

/* Starts a row with what was found. */
static __attribute__((format(printf, 4, 5))) struct probe_row *
row_add(
    struct probe_report *report, const char *name, enum probe_state state, const char *format, ...)
{
    va_list arguments;

    CHECK(report->count < PROBE_ROWS_MAX);
    struct probe_row *row = &report->rows[report->count++];
    row->state = state;
    snprintf(row->name, sizeof(row->name), "%s", name);
    va_start(arguments, format);
    vsnprintf(row->found, sizeof(row->found), format, arguments);
    va_end(arguments);
    return row;
}

static void
row_advise(struct probe_row *row, const char *cost, const char *fix)
{
    snprintf(row->cost, sizeof(row->cost), "%s", cost);
    snprintf(row->fix, sizeof(row->fix), "%s", fix);
}

static void
judge_cpus(const struct probe_facts *facts, struct probe_report *report)
{
    if (facts->cpu_quota_milli != 0) {
        row_advise(row_add(report,
                           "cpus",
                           PROBE_WARN,
                           "%u allowed, limited to %u.%03u by a cgroup",
                           facts->cpus_allowed,
                           facts->cpu_quota_milli / 1000,
                           facts->cpu_quota_milli % 1000),
                   "a used-up quota stops every thread for the rest of its period (up to 100 ms)",
                   "give the container whole CPUs: docker run --cpuset-cpus=0-3");
    } else if (facts->cpus_usable < 4) {
        row_advise(
            row_add(report, "cpus", PROBE_WARN, "%u", facts->cpus_usable),
            "all tiles share one thread, clients on this machine get the rest; nothing spins",
            "");
    } else {
        row_add(report, "cpus", PROBE_OK, "%u", facts->cpus_usable);
    }
    if (facts->pinning)
        row_add(report, "pinning", PROBE_OK, "threads can be pinned");
    else
        row_advise(row_add(report, "pinning", PROBE_WARN, "refused by the kernel"),
                   "tiles move between CPUs; a CPU after '@' in `cores` has no effect",
                   "allow sched_setaffinity in the container's seccomp profile");
}

static void
judge_memory(const struct probe_facts *facts, struct probe_report *report)
{
    uint64_t available = facts->memory_available_bytes;
    uint64_t budget = facts->memory_budget_bytes;
    bool short_of = budget > available && available > 0;
    char budget_text[48] = "";

    if (budget > 0) /* not known to `eagre doctor` */
        snprintf(budget_text, sizeof(budget_text), ", budget %" PRIu64 " MiB", budget / MIB);
    struct probe_row *row = row_add(report,
                                    "memory",
                                    short_of ? PROBE_WARN : PROBE_OK,
                                    "%" PRIu64 " of %" PRIu64 " MiB available%s",
                                    available / MIB,
                                    facts->memory_total_bytes / MIB,
                                    budget_text);

    if (short_of)
        row_advise(row,
                   "the budget does not fit: the kernel may swap or kill the server",
                   "start with a smaller --memory");
}

static void
judge_pages(const struct probe_facts *facts, struct probe_report *report)
{
    struct probe_row *row = row_add(report,
                                    "huge pages",
                                    facts->huge_pages_free > 0 ? PROBE_OK : PROBE_MISSING,
                                    "%" PRIu64 " of %" PRIu64 " free (2 MiB each)",
                                    facts->huge_pages_free,
                                    facts->huge_pages_total);

    if (facts->huge_pages_free == 0)
        row_advise(row,
                   "ordinary pages are used: about 6 % slower random reads, slower start of a dpdk "
                   "carrier",
                   "sysctl -w vm.nr_hugepages=512");
    bool never = strcmp(facts->thp, "never") == 0;
    row = row_add(report, "transparent huge", never ? PROBE_WARN : PROBE_OK, "%s", facts->thp);
    if (never)
        row_advise(row,
                   "big regions stay on 4 KiB pages",
                   "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

static void
judge_limits(const struct probe_facts *facts, struct probe_report *report)
{
    bool few = facts->descriptors_soft < PROBE_DESCRIPTORS_WANTED;
    struct probe_row *row = row_add(report,
                                    "open files",
                                    few ? PROBE_WARN : PROBE_OK,
                                    "%" PRIu64 " (at most %" PRIu64 ")",
                                    facts->descriptors_soft,
                                    facts->descriptors_hard);

    if (few)
        row_advise(row,
                   "connections and open segments together are limited to this number",
                   "ulimit -n 65536 (systemd: LimitNOFILE=65536)");
    if (facts->memlock_soft_bytes == UINT64_MAX) {
        row_add(report, "locked memory", PROBE_OK, "no limit");
        return;
    }
    bool little = facts->memlock_soft_bytes < PROBE_MEMLOCK_WANTED_BYTES;
    row = row_add(report,
                  "locked memory",
                  little ? PROBE_WARN : PROBE_OK,
                  "%" PRIu64 " KiB",
                  facts->memlock_soft_bytes / KIB);
    if (little)
        row_advise(row,
                   "buffers are not registered with io_uring: the kernel looks their pages up for "
                   "each write",
                   "ulimit -l 65536 (systemd: LimitMEMLOCK=64M)");
}

static void
judge_io(const struct probe_facts *facts, struct probe_report *report)
{
    if (facts->io_uring) {
        row_add(report, "io_uring", PROBE_OK, "%s", facts->io_body);
        return;
    }
    struct probe_row *row = row_add(report,
                                    "io_uring",
                                    PROBE_MISSING,
                                    "not usable, instead: %s",
                                    facts->io_body[0] != '\0' ? facts->io_body : "nothing");
    row_advise(
        row,
        "two thread switches per disk request and a syscall per receive and send",
        "sysctl -w kernel.io_uring_disabled=0; in a container: --security-opt seccomp=unconfined");
}

static void
judge_clock(const struct probe_facts *facts, struct probe_report *report)
{
    if (facts->tsc) {
        row_add(report, "clock", PROBE_OK, "tsc");
        return;
    }
    row_advise(row_add(report, "clock", PROBE_WARN, "clock_gettime on %s", facts->clocksource),
               "a reading costs 23 ns and more instead of 10",
               "boot with clocksource=tsc where the CPU's TSC is invariant");
}

/* Below this a burst of one session's window overflows it. */
#define PROBE_UDP_LEAST (1 * MIB)

static void
judge_udp(const struct probe_facts *facts, struct probe_report *report)
{
    bool trains = facts->udp_segment && facts->udp_gro;
    bool roomy = facts->udp_receive_bytes >= PROBE_UDP_LEAST;
    struct probe_row *row = row_add(report,
                                    "native sockets",
                                    trains && roomy ? PROBE_OK : PROBE_WARN,
                                    "%sUDP_SEGMENT, %sUDP_GRO, receive buffer %llu KiB",
                                    facts->udp_segment ? "" : "no ",
                                    facts->udp_gro ? "" : "no ",
                                    (unsigned long long)(facts->udp_receive_bytes / KIB));

    if (!trains)
        row_advise(row,
                   "a system call for each datagram: a twentieth of the packets per second",
                   "a kernel of 5.0 or later");
    else if (!roomy)
        row_advise(row,
                   "bursts overflow the kernel's buffer; what is lost is sent again",
                   "sysctl -w net.core.rmem_max=4194304");
}

static void
judge_dpdk(const struct probe_facts *facts, struct probe_report *report)
{
    if (facts->dpdk) {
        row_add(report, "dpdk", PROBE_OK, "%s", facts->dpdk_path);
        return;
    }
    row_advise(row_add(report, "dpdk", PROBE_MISSING, "no librte_eal"),
               "the native door runs on kernel sockets only",
               "apt-get install libdpdk-dev");
}

static bool
filesystem_is_remote(const char *name)
{
    static const char *const names[] = {"nfs", "cifs", "9p", "fuse", "overlayfs"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void
judge_filesystem(const struct probe_facts *facts, struct probe_report *report)
{
    const struct disk_facts *disk = &facts->disk;
    bool remote = filesystem_is_remote(disk->filesystem);
    enum probe_state state = disk->is_memory           ? PROBE_MISSING
                             : remote || !disk->direct ? PROBE_WARN
                                                       : PROBE_OK;
    struct probe_row *row = row_add(report,
                                    "data directory",
                                    state,
                                    "%.60s: %s, %u-byte blocks, %s, %" PRIu64 " of %" PRIu64
                                    " GiB free",
                                    facts->data_directory,
                                    disk->filesystem,
                                    disk->block_bytes,
                                    disk->direct ? "O_DIRECT" : "no O_DIRECT",
                                    disk->free_bytes / GIB,
                                    disk->total_bytes / GIB);

    if (disk->is_memory)
        row_advise(row,
                   "it is memory: nothing survives a restart of the machine; serve refuses it "
                   "without --dev",
                   "--data on a file system of a disk");
    else if (remote)
        row_advise(row,
                   "what a synced write promises there is not known to us",
                   "--data on ext4 or xfs of a local disk (in a container: a volume)");
    else if (!disk->direct)
        row_advise(
            row,
            "writes go through the page cache and are synced after: slower commits, more memory",
            "--data on ext4 or xfs");
}

static void
judge_write_cache(const struct probe_facts *facts, struct probe_report *report)
{
    const char *kind = facts->disk.write_cache;

    if (strcmp(kind, "write back") == 0)
        row_advise(row_add(report, "write cache", PROBE_OK, "%s", kind),
                   "each commit waits for a flush of the device's cache; drives with power-loss "
                   "protection "
                   "(\"write through\") need none",
                   "");
    else if (strcmp(kind, "write through") == 0)
        row_add(report, "write cache", PROBE_OK, "%s", kind);
    else
        row_advise(row_add(report, "write cache", PROBE_WARN, "%s", kind),
                   "whether a commit reaches stable storage is up to the layers below",
                   "");
}

static void
judge_latency(const struct probe_facts *facts, struct probe_report *report)
{
    const struct probe_latency *latency = &facts->latency;

    if (facts->latency_rc == RC_UNSUPPORTED)
        return; /* not asked for */
    if (facts->latency_rc != RC_OK) {
        row_add(report, "synced write", PROBE_WARN, "not measured: %s", rc_text(facts->latency_rc));
        return;
    }
    bool slow = latency->p50_ns >= PROBE_LATENCY_SLOW_NS;
    struct probe_row *row = row_add(report,
                                    "synced write",
                                    slow ? PROBE_WARN : PROBE_OK,
                                    "4 KiB: p50 %" PRIu64 " us, p99 %" PRIu64 " us (%u writes%s)",
                                    latency->p50_ns / NS_PER_US,
                                    latency->p99_ns / NS_PER_US,
                                    PROBE_WRITES,
                                    latency->direct ? ", O_DIRECT" : "");
    if (slow)
        row_advise(row,
                   "every durable acknowledgement takes at least this long; throughput is kept by "
                   "larger groups",
                   "--data on a faster disk, or eagre.durability=memory for topics that may lose "
                   "their end");
}

void
probe_judge(const struct probe_facts *facts, struct probe_report *ret_report)
{
    *ret_report = (struct probe_report){.count = 0};
    judge_cpus(facts, ret_report);
    judge_memory(facts, ret_report);
    judge_pages(facts, ret_report);
    judge_limits(facts, ret_report);
    judge_io(facts, ret_report);
    judge_clock(facts, ret_report);
    judge_udp(facts, ret_report);
    judge_dpdk(facts, ret_report);
    if (facts->data_directory[0] == '\0')
        return;
    if (facts->disk_rc != RC_OK) {
        row_advise(row_add(ret_report,
                           "data directory",
                           PROBE_MISSING,
                           "%.100s: %s",
                           facts->data_directory,
                           rc_text(facts->disk_rc)),
                   "nothing is known about the disk",
                   "mkdir -p it, and make it writable for the server's user");
        return;
    }
    judge_filesystem(facts, ret_report);
    judge_write_cache(facts, ret_report);
    judge_latency(facts, ret_report);
}

/* ---- text ---- */

void
probe_row_text(const struct probe_row *row, char *text, size_t capacity)
{
    int count = snprintf(
        text, capacity, "%-8s%-17s %s", probe_state_name(row->state), row->name, row->found);

    if (row->cost[0] != '\0' && count >= 0 && (size_t)count < capacity)
        count += snprintf(text + count, capacity - (size_t)count, "\n%26scosts: %s", "", row->cost);
    if (row->fix[0] != '\0' && count >= 0 && (size_t)count < capacity)
        snprintf(text + count, capacity - (size_t)count, "\n%26smend: %s", "", row->fix);
}

void
probe_banner(const struct probe_facts *facts, char *text, size_t capacity)
{
    char latency[64] = "not measured";

    if (facts->latency_rc == RC_OK)
        snprintf(latency,
                 sizeof(latency),
                 "p50 %" PRIu64 " us p99 %" PRIu64 " us",
                 facts->latency.p50_ns / NS_PER_US,
                 facts->latency.p99_ns / NS_PER_US);
    snprintf(text,
             capacity,
             "%u CPUs, %s, disk %s %u-byte blocks, write cache %s, synced 4 KiB write %s",
             facts->cpus_usable,
             facts->io_body,
             facts->disk.filesystem,
             facts->disk.block_bytes,
             facts->disk.write_cache,
             latency);
}
