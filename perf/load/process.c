/* Clock, and the CPU time of this and other processes. */
#include "perf/load/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t
process_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

double
process_own_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* utime + stime of /proc/PID/stat (fields 14 and 15, proc(5)), in seconds; 0 when it cannot be
 * read. */
double
process_cpu_s(int pid)
{
    char path[64];
    char text[1024] = {0};
    unsigned long user = 0;
    unsigned long system = 0;

    if (pid <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t count = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    char *after_name = count > 0 ? strrchr(text, ')') : NULL;
    if (after_name == NULL || sscanf(after_name + 2,
                                     "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                     &user,
                                     &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
