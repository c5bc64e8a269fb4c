/* eagre-load: Kafka load from pre-encoded requests. See perf/load/README.md. */
#include "perf/load/load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct load load = {
    .options =
        {
            .host = "127.0.0.1",
            .port = "9092",
            .topic = "load",
            .mode = "produce",
            .partitions = 1,
            .connections = 4,
            .in_flight = 16,
            .batch_records = 100,
            .record_bytes = 100,
            .seconds = 5,
            .warmup_seconds = 1,
            .acks = -1,
        },
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"topic", required_argument, NULL, 't'},
    {"mode", required_argument, NULL, 'm'},
    {"partitions", required_argument, NULL, 'P'},
    {"connections", required_argument, NULL, 'c'},
    {"in-flight", required_argument, NULL, 'f'},
    {"batch", required_argument, NULL, 'b'},
    {"record-bytes", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 's'},
    {"warmup", required_argument, NULL, 'w'},
    {"rate", required_argument, NULL, 'R'},
    {"acks", required_argument, NULL, 'a'},
    {"server-pid", required_argument, NULL, 'i'},
    {"probe-dir", required_argument, NULL, 'd'},
    {"spread", no_argument, NULL, 'S'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static uint32_t
number(const char *text, uint32_t low, uint32_t high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end != '\0' || value < low || value > high) {
        fprintf(stderr, "load: %s is not in [%u, %u]\n", text, low, high);
        exit(2);
    }
    return (uint32_t)value;
}

static void
set_text_option(struct load_options *options, int name)
{
    switch (name) {
    case 'h':
        options->host = optarg;
        break;
    case 'p':
        options->port = optarg;
        break;
    case 't':
        options->topic = optarg;
        break;
    case 'm':
        options->mode = optarg;
        break;
    case 'd':
        options->probe_dir = optarg;
        break;
    default:
        fprintf(stderr,
                "usage: eagre-load [--host H] [--port P] [--topic T] [--mode produce|fetch] ...\n");
        exit(2);
    }
}

static void
set_option(struct load_options *options, int name)
{
    switch (name) {
    case 'P':
        options->partitions = number(optarg, 1, 100000);
        break;
    case 'c':
        options->connections = number(optarg, 1, LOAD_CONNECTIONS_MAX);
        break;
    case 'f':
        options->in_flight = number(optarg, 1, LOAD_IN_FLIGHT_MAX);
        break;
    case 'b':
        options->batch_records = number(optarg, 1, 100000);
        break;
    case 'r':
        options->record_bytes = number(optarg, 0, 1000000);
        break;
    case 's':
        options->seconds = strtod(optarg, NULL);
        break;
    case 'w':
        options->warmup_seconds = strtod(optarg, NULL);
        break;
    case 'R':
        options->rate = strtod(optarg, NULL);
        break;
    case 'a':
        options->acks = (int16_t)(optarg[0] == '1' ? 1 : -1);
        break;
    case 'i':
        options->server_pid = (int)number(optarg, 1, 1u << 30);
        break;
    case 'S':
        options->spread = true;
        break;
    case 'j':
        options->json = true;
        break;
    default:
        set_text_option(options, name);
        break;
    }
}

static void
report(const struct load *done)
{
    const struct load_result *r = &done->result;
    const struct load_options *o = &done->options;
    double seconds = r->elapsed_s > 0 ? r->elapsed_s : 1;
    double requests = r->requests > 0 ? (double)r->requests : 1;
    const char *format =
        o->json ? "{\"mode\":\"%s\",\"connections\":%u,\"in_flight\":%u,\"batch\":%u,\"record_"
                  "bytes\":%u,"
                  "\"records_per_s\":%.0f,\"requests_per_s\":%.0f,\"mb_per_s\":%.1f,\"p50_us\":%."
                  "1f,\"p99_us\":%.1f,"
                  "\"p999_us\":%.1f,\"max_us\":%.1f,\"server_cpu_us_per_request\":%.2f,\"client_"
                  "cpu_us_per_request\":%.2f,"
                  "\"server_cpu_share\":%.2f,\"device_p50_us\":%.1f,\"device_p99_us\":%.1f,"
                  "\"errors\":%llu}\n"
                : "%s: %u connections x %u in flight, %u records of %u bytes a request\n"
                  "  %.0f records/s  %.0f requests/s  %.1f MB/s\n"
                  "  latency us: p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n"
                  "  CPU per request us: server %.2f  client %.2f  (server used %.2f cores)\n"
                  "  raw 4 KiB O_DIRECT|O_DSYNC write us: p50 %.1f  p99 %.1f    errors %llu\n";

    printf(format,
           o->mode,
           o->connections,
           o->in_flight,
           o->batch_records,
           o->record_bytes,
           (double)r->records / seconds,
           (double)r->requests / seconds,
           (double)r->bytes / seconds / 1e6,
           (double)histogram_quantile(&r->latency, 0.5) / 1e3,
           (double)histogram_quantile(&r->latency, 0.99) / 1e3,
           (double)histogram_quantile(&r->latency, 0.999) / 1e3,
           (double)r->latency.max_ns / 1e3,
           r->server_cpu_s * 1e6 / requests,
           r->client_cpu_s * 1e6 / requests,
           r->server_cpu_s / seconds,
           (double)r->device_p50_ns / 1e3,
           (double)r->device_p99_ns / 1e3,
           (unsigned long long)r->errors);
    if (r->errors > 0)
        fprintf(stderr, "load: first error code %d\n", r->first_error);
}

int
main(int argc, char **argv)
{
    int name;

    signal(SIGPIPE, SIG_IGN);
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(&load.options, name);
    if (load.options.mode[0] == 'f')
        load.options.in_flight = 1;
    int status = load_run(&load);
    report(&load);
    return status;
}
