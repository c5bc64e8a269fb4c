/* What one side saw, as one line of JSON: counts of the loop, of the nic, of the port; time, CPU.
 */
#include "perf/bypass/bench.h"

#include <inttypes.h>
#include <stdio.h>

struct counter_row {
    const char *name;
    size_t offset;
};

#define ROW(name)                                  \
    {                                              \
#name, offsetof(struct nic_counters, name) \
    }

static const struct counter_row counter_rows[] = {
    ROW(received_packets),
    ROW(received_bytes),
    ROW(sent_packets),
    ROW(sent_bytes),
    ROW(receive_missed),
    ROW(receive_no_buffer),
    ROW(receive_malformed),
    ROW(receive_foreign),
    ROW(send_queued),
    ROW(send_dropped),
    ROW(send_errors),
    ROW(arp_replies),
    ROW(icmp_replies),
    ROW(syscalls),
};

static const char *const role_names[] = {"sink", "source", "echo", "ping"};

static void
print_counters(const struct nic_counters *counters)
{
    for (size_t i = 0; i < ARRAY_COUNT(counter_rows); i++) {
        const _Atomic uint64_t *value = (const void *)((const char *)counters +
                                                       counter_rows[i].offset);
        printf("%s\"%s\":%" PRIu64,
               i == 0 ? "" : ",",
               counter_rows[i].name,
               atomic_load_explicit(value, memory_order_relaxed)); /* written by this thread */
    }
}

static void
print_port(const struct ethdev *port)
{
    struct ethdev_stats stats;
    char text[384];

    if (port == NULL || ethdev_stats(port, &stats) != RC_OK)
        return;
    ethdev_text(port, text, sizeof(text));
    printf(",\"port\":{\"text\":\"%s\",\"received_packets\":%" PRIu64 ",\"sent_packets\":%" PRIu64
           ",\"missed\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"no_buffer\":%" PRIu64 "}",
           text,
           stats.received_packets,
           stats.sent_packets,
           stats.missed,
           stats.errors,
           stats.no_buffer);
}

void
bench_report(const struct bench *bench)
{
    const struct bench_result *result = &bench->result;

    printf("{\"role\":\"%s\",\"carrier\":\"%s\",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"gaps\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"busy_tsc\":%" PRIu64
           ",\"busy_polls\":%" PRIu64 ",\"polls\":%" PRIu64,
           role_names[bench->options.role],
           bench->options.carrier,
           result->packets,
           result->bytes,
           result->gaps,
           result->last_ns - result->first_ns,
           result->busy_tsc,
           result->busy_polls,
           result->polls);
    printf(",\"user_us\":%" PRIu64 ",\"system_us\":%" PRIu64 ",\"voluntary_switches\":%" PRIu64
           ",\"forced_switches\":%" PRIu64,
           result->user_us,
           result->system_us,
           result->voluntary_switches,
           result->forced_switches);
    printf(",\"round_trips\":{\"count\":%" PRIu64 ",\"min_ns\":%" PRIu64 ",\"p50_ns\":%" PRIu64
           ",\"p99_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "}",
           result->round_trips_ns[0],
           result->round_trips_ns[1],
           result->round_trips_ns[2],
           result->round_trips_ns[3],
           result->round_trips_ns[4]);
    printf(",\"nic\":{");
    print_counters(&bench->nic->counters);
    printf("}");
    print_port(bench->port);
    printf("}\n");
}
