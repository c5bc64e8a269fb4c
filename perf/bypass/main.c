/* eagre-nicbench: options, opening, pinning. See perf/bypass/README.md. */
#include "perf/bypass/bench.h"

#include "hw/nic/nic_socket.h"

#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic bool stopped;

static const char usage[] =
    "eagre-nicbench sink|source|echo|ping --carrier socket|socket-plain|dpdk:DEVARGS\n"
    "    --local IP:PORT [--peer IP:PORT] [--prefix 24] [--bytes 22] [--rate PACKETS_PER_SECOND]\n"
    "    [--seconds 5] [--cpu N] [--exception DEVARGS] [--hugepages]\n"
    "Prints its thread id on stderr when it is ready, and one line of JSON at the end.\n";

static const struct option long_options[] = {
    {"carrier", required_argument, NULL, 'c'},
    {"local", required_argument, NULL, 'l'},
    {"peer", required_argument, NULL, 'p'},
    {"prefix", required_argument, NULL, 'x'},
    {"bytes", required_argument, NULL, 'b'},
    {"rate", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 's'},
    {"cpu", required_argument, NULL, 'u'},
    {"exception", required_argument, NULL, 'e'},
    {"hugepages", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

bool
bench_is_stopped(void)
{
    return atomic_load_explicit(&stopped, memory_order_relaxed); /* set by a signal handler */
}

static void
on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&stopped, true, memory_order_relaxed); /* read by bench_is_stopped() */
}

static _Noreturn void
fail(const char *what, const char *cause)
{
    fprintf(stderr, "nicbench: %s: %s\n%s", what, cause, usage);
    exit(2);
}

static uint32_t
number(const char *text, uint32_t low, uint32_t high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || value < low || value > high)
        fail(text, "not a number in range");
    return (uint32_t)value;
}

static struct nic_address
address(const char *text)
{
    struct nic_address result;
    struct diag_trail trail = {""};
    char host[64];
    const char *colon = strrchr(text, ':');

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
        fail(text, "not IP:PORT");
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    if (nic_address_parse(host, (uint16_t)number(colon + 1, 0, 65535), &result, &trail) != RC_OK)
        fail(text, trail.text);
    return result;
}

static enum bench_role
role(const char *text)
{
    static const char *const names[] = {"sink", "source", "echo", "ping"};

    for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
        if (text != NULL && strcmp(text, names[i]) == 0)
            return (enum bench_role)i;
    fail("role", "missing or unknown");
}

static void
parse(struct bench_options *options, int count, char **values)
{
    int option;

    options->role = role(count > 1 ? values[1] : NULL);
    optind = 2;
    while ((option = getopt_long(count, values, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->carrier = optarg;
            break;
        case 'l':
            options->local = address(optarg);
            break;
        case 'p':
            options->peer = address(optarg);
            break;
        case 'x':
            options->prefix_bits = number(optarg, 0, 32);
            break;
        case 'b':
            options->bytes = number(optarg, 8, NIC_DATAGRAM_BYTES_MAX);
            break;
        case 'r':
            options->packets_per_second = number(optarg, 0, 100000000);
            break;
        case 's':
            options->seconds = number(optarg, 1, 86400);
            break;
        case 'u':
            options->cpu = (int)number(optarg, 0, CPU_SETSIZE - 1);
            break;
        case 'e':
            options->exception = optarg;
            break;
        case 'h':
            options->hugepages = true;
            break;
        default:
            fail("option", "unknown");
        }
    }
    bool needs_peer = options->role == BENCH_SOURCE || options->role == BENCH_PING;
    if (needs_peer && options->peer.port == 0)
        fail("--peer", "needed by a source");
}

static enum rc
open_dpdk(struct bench *bench, struct diag_trail *trail)
{
    const struct bench_options *options = &bench->options;
    struct ethdev_config config = {
        .devargs = options->carrier + strlen("dpdk:"),
        .local = options->local,
        .prefix_bits = options->prefix_bits,
        .peer = options->peer,
        .queue_count = 1,
        .datagram_bytes_max = options->bytes > NIC_DATAGRAM_BYTES ? options->bytes : 0,
        .exception = options->exception,
        .hugepages = options->hugepages,
    };

    return ethdev_open(&config, &bench->port, &bench->nic, trail);
}

static void
open_carrier(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    struct diag_trail trail = {""};
    enum rc rc = RC_INVALID;

    if (strncmp(options->carrier, "dpdk:", strlen("dpdk:")) == 0) {
        rc = open_dpdk(bench, &trail);
    } else if (strncmp(options->carrier, "socket", strlen("socket")) == 0) {
        struct nic_socket_config config = {
            .local = options->local,
            .datagram_bytes_max = options->bytes > NIC_DATAGRAM_BYTES ? options->bytes : 0,
            .plain = strcmp(options->carrier, "socket-plain") == 0,
        };
        rc = nic_socket_open(&config, &bench->nic, &trail);
    }
    if (rc != RC_OK) {
        fprintf(stderr, "nicbench: %s: %s: %s\n", options->carrier, rc_text(rc), trail.text);
        exit(1);
    }
}

static void
pin(int cpu)
{
    cpu_set_t cpus;

    if (cpu < 0)
        return;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0)
        fail("--cpu", "cannot be pinned to");
}

int
main(int count, char **values)
{
    static struct bench bench = {
        .options = {.carrier = "socket", .prefix_bits = 24, .bytes = 22, .seconds = 5, .cpu = -1},
    };
    struct sigaction action = {.sa_handler = on_signal};

    parse(&bench.options, count, values);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    open_carrier(&bench);
    pin(bench.options.cpu);
    fprintf(stderr, "ready tid=%ld\n", syscall(SYS_gettid));
    bench_run(&bench);
    bench_report(&bench);
    nic_close(bench.nic);
    return 0;
}
