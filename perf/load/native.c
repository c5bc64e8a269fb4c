/* eagre-native-load: native load through libeagre. See perf/load/README.md.
 *
 * One thread, one client. Closed loop: sends as much as the library takes and counts what is
 * delivered. Open loop (--rate): each batch has an intended time, and latency counts from there.
 * One in flight (--one): sends a record, waits for its delivery, sends the next. */
#include "perf/load/load.h"

#include "net/client/include/eagre/eagre.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NATIVE_BURST 512u

struct native_options {
    const char *server;
    const char *topic;
    const char *devargs; /* NULL: sockets */
    const char *local;
    const char *data; /* where data go; dpdk only */
    const char *probe_dir;
    uint32_t record_bytes;
    uint32_t batch_bytes; /* 0: what one packet carries */
    uint32_t batch_count;
    uint32_t packets_max;
    int32_t partitions; /* records are spread by turns over [0, partitions) */
    double seconds;
    double warmup_seconds;
    double rate; /* records per second; 0: closed loop */
    bool plain;
    bool one;
    bool json;
    int server_pid;
};

struct native {
    struct native_options options;
    struct load_result result;
    struct eagre_client *client;
    struct eagre_producer *producer;
    bool measuring;
    uint64_t delivered;
    uint64_t failed;
    int first_error;
    int durability;
};

static struct native native = {
    .options = {.server = "127.0.0.1:9095",
                .topic = "load",
                .record_bytes = 100,
                .batch_count = 4096,
                .packets_max = 1024,
                .partitions = 1,
                .seconds = 5,
                .warmup_seconds = 1},
};

static const struct option long_options[] = {
    {"server", required_argument, NULL, 's'},
    {"topic", required_argument, NULL, 't'},
    {"dpdk", required_argument, NULL, 'd'},
    {"local", required_argument, NULL, 'l'},
    {"data", required_argument, NULL, 'a'},
    {"record-bytes", required_argument, NULL, 'r'},
    {"batch-bytes", required_argument, NULL, 'b'},
    {"batch-count", required_argument, NULL, 'c'},
    {"packets", required_argument, NULL, 'k'},
    {"partitions", required_argument, NULL, 'P'},
    {"seconds", required_argument, NULL, 'S'},
    {"warmup", required_argument, NULL, 'w'},
    {"rate", required_argument, NULL, 'R'},
    {"server-pid", required_argument, NULL, 'i'},
    {"probe-dir", required_argument, NULL, 'D'},
    {"plain", no_argument, NULL, 'p'},
    {"one", no_argument, NULL, 'o'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static void
set_number(struct native_options *options, int name)
{
    double value = strtod(optarg, NULL);

    if (value < 0 || value > 1e12) {
        fprintf(stderr, "eagre-native-load: %s is no sensible number\n", optarg);
        exit(2);
    }
    switch (name) {
    case 'r':
        options->record_bytes = (uint32_t)value;
        break;
    case 'b':
        options->batch_bytes = (uint32_t)value;
        break;
    case 'c':
        options->batch_count = (uint32_t)value;
        break;
    case 'k':
        options->packets_max = (uint32_t)value;
        break;
    case 'P':
        options->partitions = (int32_t)value;
        break;
    case 'S':
        options->seconds = value;
        break;
    case 'w':
        options->warmup_seconds = value;
        break;
    case 'R':
        options->rate = value;
        break;
    default:
        options->server_pid = (int)value;
    }
}

static void
set_option(struct native_options *options, int name)
{
    switch (name) {
    case 's':
        options->server = optarg;
        break;
    case 't':
        options->topic = optarg;
        break;
    case 'd':
        options->devargs = optarg;
        break;
    case 'l':
        options->local = optarg;
        break;
    case 'a':
        options->data = optarg;
        break;
    case 'D':
        options->probe_dir = optarg;
        break;
    case 'p':
        options->plain = true;
        break;
    case 'o':
        options->one = true;
        break;
    case 'j':
        options->json = true;
        break;
    case '?':
        fprintf(stderr,
                "usage: eagre-native-load [--server H:P] [--topic T] [--dpdk DEVARGS --local IP] "
                "...\n");
        exit(2);
    default:
        set_number(options, name);
    }
}

/* ---- client */

static void
on_delivery(const struct eagre_delivery *delivery, void *context)
{
    struct native *load = context;

    load->delivered += delivery->record_count;
    load->durability = delivery->durability;
    if (delivery->rc != EAGRE_OK) {
        load->failed += delivery->record_count;
        load->first_error = load->first_error != 0 ? load->first_error : delivery->rc;
        return;
    }
    if (!load->measuring)
        return;
    uint64_t elapsed_ns = delivery->elapsed_ns;
    /* Open loop: the opaque of the first record is its intended time. */
    if (load->options.rate > 0)
        elapsed_ns = process_now_ns() - delivery->opaques[0];
    histogram_add(&load->result.latency, elapsed_ns);
    load->result.records += delivery->record_count;
    load->result.requests++;
    load->result.bytes += (uint64_t)delivery->record_count * load->options.record_bytes;
}

static void
open_client(struct native *load)
{
    struct eagre_config config = eagre_config_preset(load->options.server);
    struct eagre_producer_options options = eagre_producer_preset(load->options.topic);
    char why[256] = "";

    config.connect_timeout_ms = 10000;
    config.auth = load->options.plain ? EAGRE_AUTH_NONE : EAGRE_AUTH_AEAD;
    config.packets_max = load->options.packets_max;
    if (load->options.devargs != NULL) {
        config.carrier = EAGRE_CARRIER_DPDK;
        config.dpdk_devargs = load->options.devargs;
        config.local_address = load->options.local;
        config.data_address = load->options.data;
    }
    options.create_topic = 1;
    options.partitioner = EAGRE_PARTITIONER_EXPLICIT;
    options.batch_bytes = load->options.batch_bytes;
    options.batch_count = load->options.batch_count;
    options.on_delivery = on_delivery;
    options.context = load;
    if (eagre_open(&config, &load->client, why, sizeof(why)) != EAGRE_OK ||
        eagre_producer_open(load->client, &options, &load->producer, why, sizeof(why)) !=
            EAGRE_OK) {
        fprintf(stderr, "eagre-native-load: %s\n", why);
        exit(1);
    }
    uint64_t end_ns = process_now_ns() + 10 * NS_PER_S;
    struct eagre_topic_info info;
    while (eagre_get_topic_info(load->client, load->options.topic, 1, &info) != EAGRE_OK) {
        eagre_poll(load->client, 1000);
        if (process_now_ns() > end_ns) {
            fprintf(stderr, "eagre-native-load: topic %s is not there\n", load->options.topic);
            exit(1);
        }
    }
}

/* ---- the loops */

/* Another partition for the next burst, so that batches of each are filled. */
static void
next_partition(struct native *load, struct eagre_record *records, int32_t *partition)
{
    if (load->options.partitions == 1)
        return;
    *partition = (*partition + 1) % load->options.partitions;
    for (uint32_t i = 0; i < NATIVE_BURST; i++)
        records[i].partition = *partition;
}

static void
send_some(struct native *load, struct eagre_record *records, uint32_t count, int32_t *partition)
{
    if (eagre_send(load->producer, records, count, NULL) == count)
        next_partition(load, records, partition);
}

static void
run_closed(struct native *load, struct eagre_record *records, uint64_t end_ns)
{
    int32_t partition = 0;

    while (process_now_ns() < end_ns) {
        send_some(load, records, NATIVE_BURST, &partition);
        eagre_poll(load->client, 0);
    }
}

static void
run_open(struct native *load, struct eagre_record *records, uint64_t end_ns)
{
    uint64_t begin_ns = process_now_ns();
    uint64_t sent = 0;
    int32_t partition = 0;

    for (uint64_t now_ns = begin_ns; now_ns < end_ns; now_ns = process_now_ns()) {
        uint64_t due = (uint64_t)((double)(now_ns - begin_ns) * load->options.rate / 1e9);
        while (sent < due) {
            uint32_t count = (uint32_t)min_u64(due - sent, NATIVE_BURST);
            for (uint32_t i = 0; i < count; i++) {
                records[i].opaque = begin_ns +
                                    (uint64_t)((double)(sent + i) * 1e9 / load->options.rate);
            }
            uint32_t taken = eagre_send(load->producer, records, count, NULL);
            sent += taken;
            if (taken < count)
                break; /* the library is full: what is due stays due */
            next_partition(load, records, &partition);
        }
        eagre_poll(load->client, 0);
    }
}

static void
run_one(struct native *load, struct eagre_record *records, uint64_t end_ns)
{
    int32_t partition = 0;

    while (process_now_ns() < end_ns) {
        uint64_t before = load->delivered;
        send_some(load, records, 1, &partition);
        eagre_flush(load->producer);
        do
            eagre_poll(load->client, 0);
        while (load->delivered == before && process_now_ns() < end_ns);
    }
}

static void
run_for(struct native *load, struct eagre_record *records, double seconds)
{
    uint64_t end_ns = process_now_ns() + (uint64_t)(seconds * 1e9);

    if (load->options.one)
        run_one(load, records, end_ns);
    else if (load->options.rate > 0)
        run_open(load, records, end_ns);
    else
        run_closed(load, records, end_ns);
}

static void
report(const struct native *load)
{
    const struct native_options *o = &load->options;
    const struct load_result *r = &load->result;
    struct eagre_stats stats;
    double seconds = r->elapsed_s > 0 ? r->elapsed_s : 1;
    double million = r->records > 0 ? (double)r->records / 1e6 : 1;
    const char *format =
        o->json
            ? "{\"carrier\":\"%s\",\"auth\":\"%s\",\"durability\":\"%s\",\"record_bytes\":%u,"
              "\"records_per_s\":%.0f,\"batches_per_s\":%.0f,\"mb_per_s\":%.1f,\"p50_us\":%.1f,"
              "\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"server_cpu_s_per_million\":%.3f,"
              "\"client_cpu_s_per_million\":%.3f,\"server_cpu_share\":%.2f,\"retransmitted\":%llu,"
              "\"device_p50_us\":%.1f,\"device_p99_us\":%.1f,\"errors\":%llu}\n"
            : "native over %s, auth %s, durability %s, records of %u bytes\n"
              "  %.0f records/s  %.0f batches/s  %.1f MB/s\n"
              "  delivery us: p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n"
              "  CPU s per million records: server %.3f  client %.3f  (server used %.2f cores)\n"
              "  retransmitted packets %llu\n"
              "  raw 4 KiB O_DIRECT|O_DSYNC write us: p50 %.1f  p99 %.1f    errors %llu\n";

    eagre_get_stats(load->client, &stats, sizeof(stats));
    printf(format,
           o->devargs != NULL ? "dpdk" : "socket",
           o->plain ? "none" : "aead",
           load->durability == EAGRE_DURABILITY_DEVICE ? "device" : "memory",
           o->record_bytes,
           (double)r->records / seconds,
           (double)r->requests / seconds,
           (double)r->bytes / seconds / 1e6,
           (double)histogram_quantile(&r->latency, 0.5) / 1e3,
           (double)histogram_quantile(&r->latency, 0.99) / 1e3,
           (double)histogram_quantile(&r->latency, 0.999) / 1e3,
           (double)r->latency.max_ns / 1e3,
           r->server_cpu_s / million,
           r->client_cpu_s / million,
           r->server_cpu_s / seconds,
           (unsigned long long)stats.retransmitted_packets,
           (double)r->device_p50_ns / 1e3,
           (double)r->device_p99_ns / 1e3,
           (unsigned long long)load->failed);
    if (load->failed > 0)
        fprintf(stderr, "eagre-native-load: first error: %s\n", eagre_rc_text(load->first_error));
}

int
main(int argc, char **argv)
{
    static struct eagre_record records[NATIVE_BURST];
    int name;

    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(&native.options, name);
    if (native.options.partitions < 1)
        native.options.partitions = 1;
    uint8_t *value = malloc(native.options.record_bytes + 1);
    for (uint32_t i = 0; i < native.options.record_bytes; i++)
        value[i] = (uint8_t)('a' + i % 26);
    for (uint32_t i = 0; i < NATIVE_BURST; i++)
        records[i] = eagre_record_of(NULL, 0, value, native.options.record_bytes);
    for (uint32_t i = 0; i < NATIVE_BURST; i++)
        records[i].partition = 0;
    if (native.options.probe_dir != NULL)
        load_probe_device(native.options.probe_dir, &native.result);
    open_client(&native);
    run_for(&native, records, native.options.warmup_seconds);
    double server_cpu_s = process_cpu_s(native.options.server_pid);
    double own_cpu_s = process_own_cpu_s();
    uint64_t begin_ns = process_now_ns();
    native.measuring = true;
    run_for(&native, records, native.options.seconds);
    native.measuring = false;
    native.result.elapsed_s = (double)(process_now_ns() - begin_ns) / 1e9;
    native.result.server_cpu_s = process_cpu_s(native.options.server_pid) - server_cpu_s;
    native.result.client_cpu_s = process_own_cpu_s() - own_cpu_s;
    int rc = eagre_flush_wait(native.producer, 30000);
    report(&native);
    if (rc != EAGRE_OK)
        fprintf(stderr, "eagre-native-load: flush: %s\n", eagre_rc_text(rc));
    eagre_close(native.client);
    free(value);
    return rc == EAGRE_OK && native.failed == 0 ? 0 : 1;
}
