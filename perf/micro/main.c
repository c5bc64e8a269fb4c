/* eagre-micro [ring|hash|batch|nic|commit] [--dir DIR] */
#include "perf/micro/micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t
micro_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int
micro_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

double
micro_quantile(double *samples, uint32_t count, double share)
{
    qsort(samples, count, sizeof(samples[0]), micro_compare);
    uint32_t at = (uint32_t)(share * count);
    return samples[at < count ? at : count - 1];
}

double
micro_median(double *samples, uint32_t count)
{
    return micro_quantile(samples, count, 0.5);
}

void
micro_row(const char *what, double figure, const char *unit, const char *limit, double limit_figure)
{
    printf("%-58s %10.2f %-9s %-34s %10.2f  %6.2fx\n",
           what,
           figure,
           unit,
           limit,
           limit_figure,
           limit_figure > 0 ? figure / limit_figure : 0);
}

int
main(int argc, char **argv)
{
    const char *directory = ".";
    const char *only = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            directory = argv[++i];
        else
            only = argv[i];
    }
    printf("%-58s %10s %-9s %-34s %10s  %7s\n",
           "what",
           "figure",
           "unit",
           "limit of the same run",
           "figure",
           "ratio");
    if (only == NULL || strcmp(only, "ring") == 0)
        micro_ring();
    if (only == NULL || strcmp(only, "hash") == 0)
        micro_hash();
    if (only == NULL || strcmp(only, "batch") == 0)
        micro_batch();
    if (only == NULL || strcmp(only, "nic") == 0)
        micro_nic();
    if (only == NULL || strcmp(only, "session") == 0)
        micro_session();
    if ((only == NULL || strcmp(only, "stream") == 0) && micro_stream(directory) != 0)
        return 1;
    if (only == NULL || strcmp(only, "commit") == 0)
        return micro_commit(directory);
    return 0;
}
