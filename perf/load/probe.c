#include "perf/load/load.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROBE_WRITES 400u

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
        uint64_t begin = process_now_ns();
        if (pwrite(fd, page, 4096, (off_t)i * 4096) != 4096)
            break;
        histogram_add(&latency, process_now_ns() - begin);
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    free(page);
    result->device_p50_ns = histogram_quantile(&latency, 0.5);
    result->device_p99_ns = histogram_quantile(&latency, 0.99);
}
