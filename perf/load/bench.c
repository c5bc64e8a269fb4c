/* eagre-bench: one workload against one broker. See perf/load/README.md. */
#include "perf/load/bench.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LADDER_STEPS_MAX 32u
#define LADDER_CLIFF 10.0  /* p99 so many times that of the first step: the cliff */
#define LADDER_BEHIND 0.97 /* less than this share of the rate was acknowledged: behind */

struct options {
    const char *workload;
    const char *json;
    double ladder_first; /* records per second; 0: no ladder */
    double ladder_factor;
};

static struct bench bench = {
    .config = {.address = "127.0.0.1:9092", .extra = "", .prefix = "bench"},
};
static struct options options = {.ladder_factor = 1.5};
static struct bench_result results[LADDER_STEPS_MAX];

static const struct option long_options[] = {
    {"workload", required_argument, NULL, 'w'},
    {"set", required_argument, NULL, 's'},
    {"driver", required_argument, NULL, 'd'},
    {"address", required_argument, NULL, 'a'},
    {"extra", required_argument, NULL, 'x'},
    {"topic-prefix", required_argument, NULL, 't'},
    {"server-pid", required_argument, NULL, 'p'},
    {"ladder", required_argument, NULL, 'l'},
    {"ladder-factor", required_argument, NULL, 'f'},
    {"json", required_argument, NULL, 'j'},
    {"drivers", no_argument, NULL, 'D'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void
usage(FILE *file)
{
    fprintf(
        file,
        "eagre-bench --workload FILE --driver NAME [--address HOST:PORT] [--set key=value ...]\n"
        "  --drivers           list the drivers\n"
        "  --extra TEXT        the driver's own: see its line in the list\n"
        "  --topic-prefix TEXT topics are TEXT-0, TEXT-1, ... (default: bench)\n"
        "  --server-pid PID    count its CPU, memory and bytes written; may be given several "
        "times\n"
        "  --ladder RATE       open loop from RATE records/s upwards until loss or latency cliff\n"
        "  --ladder-factor F   each step's rate is F times the one before (default 1.5)\n"
        "  --json FILE         the result for perf/report; - is standard output\n");
}

static void
set_option(int name)
{
    switch (name) {
    case 'w':
        options.workload = optarg;
        if (!workload_read(optarg, &bench.workload))
            exit(2);
        break;
    case 's':
        if (!workload_set(&bench.workload, optarg))
            exit(2);
        break;
    case 'd':
        bench.driver = driver_find(optarg);
        if (bench.driver == NULL) {
            fprintf(stderr, "bench: no driver '%s'; --drivers lists them\n", optarg);
            exit(2);
        }
        break;
    case 'a':
        bench.config.address = optarg;
        break;
    case 'x':
        bench.config.extra = optarg;
        break;
    case 't':
        bench.config.prefix = optarg;
        break;
    case 'p':
        if (bench.server_pid_count < USAGE_PIDS_MAX)
            bench.server_pids[bench.server_pid_count++] = (int)strtoul(optarg, NULL, 10);
        break;
    case 'l':
        options.ladder_first = strtod(optarg, NULL);
        break;
    case 'f':
        options.ladder_factor = strtod(optarg, NULL);
        break;
    case 'j':
        options.json = optarg;
        break;
    case 'D':
        driver_list();
        exit(0);
    default:
        usage(name == 'h' ? stdout : stderr);
        exit(name == 'h' ? 0 : 2);
    }
}

/* Of one step: nothing failed, the rate was held, and the tail has not run away. */
static bool
step_is_good(const struct bench_result *result, const struct bench_result *first)
{
    double reached = result->elapsed_s > 0 ? (double)result->records / result->elapsed_s : 0;
    double tail = (double)histogram_quantile(&result->ack, 0.99);

    return result->failed == 0 && result->verify.lost == 0 &&
           reached >= LADDER_BEHIND * result->rate &&
           tail <= LADDER_CLIFF * (double)max_u64(histogram_quantile(&first->ack, 0.99), NS_PER_MS);
}

static uint32_t
run_ladder(void)
{
    uint32_t count = 0;

    bench.workload.rate = options.ladder_first;
    while (count < LADDER_STEPS_MAX) {
        if (!bench_run(&bench, &results[count]))
            break;
        result_print(&bench, &results[count]);
        count++;
        if (!step_is_good(&results[count - 1], &results[0]))
            break;
        bench.workload.rate *= options.ladder_factor;
    }
    return count;
}

int
main(int argc, char **argv)
{
    int name;
    uint32_t count = 0;

    signal(SIGPIPE, SIG_IGN);
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(name);
    if (options.workload == NULL || bench.driver == NULL || optind != argc ||
        options.ladder_factor < 1.01) {
        usage(stderr);
        return 2;
    }
    if (!workload_check(&bench.workload))
        return 2;
    bench.shows_progress = isatty(STDERR_FILENO) == 1;
    if (bench_open(&bench)) {
        if (options.ladder_first > 0) {
            count = run_ladder();
        } else if (bench_run(&bench, &results[0])) {
            count = 1;
            if (options.json == NULL || strcmp(options.json, "-") != 0)
                result_print(&bench, &results[0]);
        }
    }
    bool is_written = count > 0 &&
                      (options.json == NULL || result_write(&bench, results, count, options.json));
    const struct bench_result *last = &results[count > 0 ? count - 1 : 0];
    bool is_whole = options.ladder_first > 0 || (last->failed == 0 && last->verify.lost == 0 &&
                                                 last->verify.duplicates == 0 && last->records > 0);
    if (count > 0 && last->records == 0)
        fprintf(stderr, "bench: nothing was acknowledged while measuring\n");
    bench_close(&bench);
    return is_written && is_whole && !bench.is_broken ? 0 : 1;
}
