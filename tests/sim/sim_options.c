/* Arguments and the closing line; see sim_options.h. */
#include "sim_options.h"

#include "engine/base/diag.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
read_number(const char *text, uint64_t *ret_value)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        return false;
    *ret_value = strtoull(text, &end, 0);
    return *end == '\0';
}

static bool
read_part(const char *text, struct sim_options *options)
{
    return text != NULL &&
           sscanf(text, "%" SCNu32 "/%" SCNu32, &options->part, &options->parts) == 2 &&
           options->part >= 1 && options->part <= options->parts;
}

bool
sim_options_read(struct sim_options *options, int count, char **arguments)
{
    options->parts = options->parts == 0 ? 1 : options->parts;
    options->part = options->part == 0 ? 1 : options->part;
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i];
        const char *value = i + 1 < count ? arguments[i + 1] : NULL;
        bool good = true;
        if (strcmp(name, "--verbose") == 0) {
            options->verbose = true;
            continue;
        }
        if (strcmp(name, "--all") == 0) {
            options->all = true;
            continue;
        }
        if (strcmp(name, "--stop") == 0) {
            options->stop = true;
            continue;
        }
        if (strcmp(name, "--seed") == 0) {
            good = read_number(value, &options->first);
            options->count = 1;
            options->single = true;
        } else if (strcmp(name, "--from") == 0) {
            good = read_number(value, &options->first);
        } else if (strcmp(name, "--count") == 0) {
            good = read_number(value, &options->count);
        } else if (strcmp(name, "--part") == 0) {
            good = read_part(value, options);
        } else {
            good = false;
        }
        if (!good) {
            fprintf(stderr,
                    "usage: %s [--seed N | --from N --count N] [--part I/N] [--all] [--stop] "
                    "[--verbose]\n",
                    arguments[0]);
            return false;
        }
        i++;
    }
    return true;
}

bool
sim_options_mine(const struct sim_options *options, uint64_t number)
{
    return number % options->parts + 1 == options->part;
}

void
sim_options_quiet(const struct sim_options *options)
{
    if (options->verbose)
        return;
    diag_set_level((enum diag_level) - 1); /* below every level: simulated trouble is no news */
}

static char case_text[96];

static void
tell_case(int signal_number)
{
    ssize_t written = write(STDOUT_FILENO, case_text, strlen(case_text));
    (void)written;
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

void
sim_options_case(const char *option, uint64_t number)
{
    (void)snprintf(case_text,
                   sizeof(case_text),
                   "  stopped; to repeat: tests/sim/run %s %" PRIu64 "\n0 passed, 1 failed\n",
                   option,
                   number);
    (void)signal(SIGABRT, tell_case);
    (void)signal(SIGSEGV, tell_case);
    (void)fflush(stdout);
}

int
sim_options_end(uint64_t passed, uint64_t failed)
{
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
