/* What this host has and lacks, what each costs, and the command that mends it: for `eagre doctor`
 * and for the banner of `eagre serve`.
 *
 * Three steps, so that judging and formatting can be tested without a host:
 *
 *     struct probe_facts facts;
 *     struct probe_report report;
 *     probe_collect(&(struct probe_config){.data_directory = "/var/lib/eagre"}, &facts);
 *     probe_judge(&facts, &report);                            pure
 *     for (uint32_t i = 0; i < report.count; i++)
 *         probe_row_text(&report.rows[i], text, sizeof(text)); pure
 *
 * Runs on: start-up or a command-line tool.  Allocates: what creating an io body allocates. Blocks:
 * yes; about 50 ms, most of it the latency measurement. */
#ifndef EAGRE_HW_PROBE_PROBE_H
#define EAGRE_HW_PROBE_PROBE_H

#include "hw/cpu/cpu.h"
#include "hw/disk/disk.h"

#define PROBE_ROWS_MAX 16u
#define PROBE_WRITES 200u
#define PROBE_WRITE_BYTES 4096u

/* Latency of one synced 4 KiB overwrite, PROBE_WRITES of them one after the other. */
struct probe_latency {
    uint64_t p50_ns;
    uint64_t p99_ns;
    bool direct; /* O_DIRECT was used */
};

struct probe_config {
    const char *data_directory; /* NULL: nothing about disks */
    uint64_t memory_bytes;      /* the budget that will be used; 0: not known */
    bool skip_latency;          /* do not write */
};

/* What was found, without judgement. */
struct probe_facts {
    uint32_t cpus_allowed;
    uint32_t cpus_usable;
    uint32_t cpu_quota_milli; /* 0: none */
    bool pinning;             /* a thread could be pinned */
    uint64_t memory_total_bytes;
    uint64_t memory_available_bytes;
    uint64_t memory_budget_bytes; /* 0: not known */
    uint64_t huge_pages_total;
    uint64_t huge_pages_free;
    char thp[16]; /* "always", "madvise", "never", "unknown" */
    uint64_t descriptors_soft;
    uint64_t descriptors_hard;
    uint64_t memlock_soft_bytes; /* UINT64_MAX: no limit */
    char io_body[48];            /* what io_create(AUTO) gave; empty: nothing */
    bool io_uring;
    char io_reason[512];        /* why not io_uring; empty when it is */
    char clocksource[24];       /* the kernel's */
    bool tsc;                   /* hw/clock uses the TSC */
    bool udp_segment;           /* the kernel sends trains of datagrams in one call */
    bool udp_gro;               /* and receives them so */
    uint64_t udp_receive_bytes; /* of 4 MiB that were asked for; 0: no socket */
    bool dpdk;                  /* a librte_eal is installed */
    char dpdk_path[96];
    char data_directory[128]; /* empty: nothing about disks */
    enum rc disk_rc;          /* RC_OK: `disk` is valid */
    struct disk_facts disk;
    enum rc latency_rc; /* RC_OK: `latency` is valid; RC_UNSUPPORTED: not measured */
    struct probe_latency latency;
};

enum probe_state {
    PROBE_OK,
    PROBE_WARN,    /* works, at a cost */
    PROBE_MISSING, /* something that was hoped for is not there */
};

struct probe_row {
    char name[24]; /* stable, as in "io_uring" */
    enum probe_state state;
    char found[192];
    char cost[224]; /* what it costs; empty when PROBE_OK and nothing is to be said */
    char fix[192];  /* the command that mends it; empty when there is none */
};

struct probe_report {
    struct probe_row rows[PROBE_ROWS_MAX];
    uint32_t count;
};

/* Looks at the host. What cannot be found out is left at its zero or "unknown". */
void probe_collect(const struct probe_config *config, struct probe_facts *ret_facts);

/* Measures synced writes in a file of its own below the directory; the file is gone afterwards,
 * whatever happens. */
enum rc probe_measure_latency(const char *directory, struct probe_latency *ret_latency) MUST_USE;

/* Judges facts in a fixed order of rows. Pure. */
void probe_judge(const struct probe_facts *facts, struct probe_report *ret_report);

/* Static storage: "ok", "warn", "missing". */
const char *probe_state_name(enum probe_state state);

/* Writes one to three lines: state, name and what was found; "costs: ..."; "mend: ...". Without a
 * final newline; cut when it does not fit. Pure. */
void probe_row_text(const struct probe_row *row, char *text, size_t capacity);

/* The one line of the start banner: CPUs, io body, disk, latency. Pure. */
void probe_banner(const struct probe_facts *facts, char *text, size_t capacity);

#endif
