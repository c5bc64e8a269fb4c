#include "perf/load/load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PROBE_WRITES 400u
#define PROBE_FILE_BYTES (UINT32_C(4096) * PROBE_WRITES)

uint64_t
load_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

double
load_own_cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* utime + stime of /proc/PID/stat (fields 14 and 15, proc(5)), in seconds; 0 when it cannot be
 * read. */
double
load_process_cpu_s(int pid)
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

/* 4 KiB O_DIRECT|O_DSYNC overwrites of a file that was written once, one at a time: the limit under
 * a durable ack. */
void
load_probe_device(const char *directory, struct load_result *result)
{
    static struct histogram latency;
    char path[512];
    void *page = NULL;

    snprintf(path, sizeof(path), "%s/load-probe-%d", directory, (int)getpid());
    int fd = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0 || posix_memalign(&page, 4096, 4096) != 0) {
        fprintf(stderr, "load: cannot probe the device in %s\n", directory);
        return;
    }
    memset(page, 0, 4096);
    for (uint32_t i = 0; i < PROBE_WRITES; i++)
        if (pwrite(fd, page, 4096, (off_t)i * 4096) != 4096)
            break;
    fsync(fd);
    close(fd);
    fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    for (uint32_t i = 0; fd >= 0 && i < PROBE_WRITES; i++) {
        uint64_t begin = load_now_ns();
        if (pwrite(fd, page, 4096, (off_t)i * 4096) != 4096)
            break;
        histogram_add(&latency, load_now_ns() - begin);
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    free(page);
    result->device_p50_ns = histogram_quantile(&latency, 0.5);
    result->device_p99_ns = histogram_quantile(&latency, 0.99);
}
