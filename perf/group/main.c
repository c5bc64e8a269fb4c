/* eagre-group-load: load on the group coordinator. See perf/group/README.md. */
#include "perf/group/group_load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct group_load load = {
    .options =
        {
            .host = "127.0.0.1",
            .port = "9092",
            .mode = "heartbeat",
            .topic = "load",
            .groups = 1000,
            .members = 10,
            .connections = 1000,
            .in_flight = 16,
            .partitions = 1,
            .interval_ms = 3000,
            .rounds = 5,
            .seconds = 10,
            .warmup_seconds = 2,
        },
};

static const struct option long_options[] = {
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"mode", required_argument, NULL, 'm'},
    {"topic", required_argument, NULL, 't'},
    {"groups", required_argument, NULL, 'g'},
    {"members", required_argument, NULL, 'M'},
    {"connections", required_argument, NULL, 'c'},
    {"in-flight", required_argument, NULL, 'f'},
    {"partitions", required_argument, NULL, 'P'},
    {"interval-ms", required_argument, NULL, 'I'},
    {"rounds", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 's'},
    {"warmup", required_argument, NULL, 'w'},
    {"server-pid", required_argument, NULL, 'i'},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static uint32_t
number(const char *text, uint32_t low, uint32_t high)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end != '\0' || value < low || value > high) {
        fprintf(stderr, "group-load: %s is not in [%u, %u]\n", text, low, high);
        exit(2);
    }
    return (uint32_t)value;
}

static bool
set_number(struct group_options *options, int name)
{
    switch (name) {
    case 'g':
        options->groups = number(optarg, 1, 100000);
        return true;
    case 'M':
        options->members = number(optarg, 1, 1000);
        return true;
    case 'c':
        options->connections = number(optarg, 1, 20000);
        return true;
    case 'f':
        options->in_flight = number(optarg, 1, 1024);
        return true;
    case 'P':
        options->partitions = number(optarg, 1, 4096);
        return true;
    case 'I':
        options->interval_ms = number(optarg, 10, 30000);
        return true;
    case 'r':
        options->rounds = number(optarg, 1, 1000);
        return true;
    case 's':
        options->seconds = number(optarg, 1, 3600);
        return true;
    case 'w':
        options->warmup_seconds = number(optarg, 0, 3600);
        return true;
    case 'i':
        options->server_pid = (int)number(optarg, 1, INT32_MAX);
        return true;
    default:
        return false;
    }
}

static void
set_option(struct group_options *options, int name)
{
    if (set_number(options, name))
        return;
    switch (name) {
    case 'h':
        options->host = optarg;
        break;
    case 'p':
        options->port = optarg;
        break;
    case 'm':
        options->mode = optarg;
        break;
    case 't':
        options->topic = optarg;
        break;
    case 'j':
        options->json = true;
        break;
    default:
        exit(2);
    }
}

int
main(int argc, char **argv)
{
    struct group_options *options = &load.options;
    int name;

    signal(SIGPIPE, SIG_IGN);
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(options, name);
    if (strcmp(options->mode, "commit") == 0)
        return mode_commit(&load);
    if (strcmp(options->mode, "transaction") == 0)
        return mode_transaction(&load);
    if (strcmp(options->mode, "rebalance") == 0) {
        options->groups = 1;
        options->connections = options->members;
        return mode_rebalance(&load);
    }
    bool is_heartbeat = strcmp(options->mode, "heartbeat") == 0 ||
                        strcmp(options->mode, "floor") == 0;
    if (!is_heartbeat || options->connections % options->members != 0) {
        fprintf(stderr,
                "group-load: --mode is heartbeat, floor, commit, rebalance or transaction, and "
                "--connections a "
                "multiple of --members\n");
        return 2;
    }
    return mode_heartbeat(&load);
}
