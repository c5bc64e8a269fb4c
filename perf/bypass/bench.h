/* eagre-nicbench: two processes on struct nic only, one that sends and one that counts, so that a
 * carrier is measured without the engine above it. See README.md. */
#ifndef EAGRE_PERF_BYPASS_BENCH_H
#define EAGRE_PERF_BYPASS_BENCH_H

#include "hw/ethdev/ethdev.h"
#include "hw/nic/nic.h"

enum bench_role {
    BENCH_SINK,   /* counts, checks the sequence */
    BENCH_SOURCE, /* numbers its datagrams */
    BENCH_ECHO,   /* gives every datagram back */
    BENCH_PING    /* one datagram under way, round trips */
};

struct bench_options {
    enum bench_role role;
    const char *carrier; /* "socket", "socket-plain", "dpdk:DEVARGS" */
    const char *exception;
    struct nic_address local;
    struct nic_address peer; /* port 0: none */
    uint32_t prefix_bits;
    uint32_t bytes;              /* of a datagram's payload */
    uint32_t packets_per_second; /* 0: as fast as it goes */
    uint32_t seconds;
    int cpu; /* -1: not pinned */
    bool hugepages;
};

/* What one side saw. */
struct bench_result {
    uint64_t packets;
    uint64_t bytes;
    uint64_t gaps; /* sink: numbers that did not follow their predecessor */
    uint64_t first_ns;
    uint64_t last_ns;
    uint64_t busy_tsc; /* in polls that moved packets */
    uint64_t busy_polls;
    uint64_t polls;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t voluntary_switches;
    uint64_t forced_switches;
    uint64_t round_trips_ns[5]; /* ping: count, min, median, p99, max */
};

struct bench {
    struct bench_options options;
    struct nic *nic;
    struct ethdev *port; /* NULL: not dpdk */
    struct bench_result result;
};

uint64_t bench_now_ns(void);
/* True once SIGTERM or SIGINT has come. */
bool bench_is_stopped(void);
/* Runs the role until its time is over. */
void bench_run(struct bench *bench);
/* One line of JSON on stdout. */
void bench_report(const struct bench *bench);

#endif
