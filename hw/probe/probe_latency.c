/* How long a synced overwrite takes here: the one figure on which the latency of an acknowledgement
 * rests. The file is written and synced once first, because a write into fresh extents costs nearly
 * twice as much (77 against 125 to 137 us, hotpath section 4.1) and the journal never does that. */
#include "hw/probe/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROBE_FILE_NAME "latency.probe"

static _Alignas(DISK_ALIGN_BYTES) uint8_t latency_block[PROBE_WRITE_BYTES];

static uint64_t
latency_now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static int
compare_ns(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static enum rc
write_block(int fd, uint32_t block_idx)
{
    ssize_t count = pwrite(
        fd, latency_block, sizeof(latency_block), (off_t)block_idx * PROBE_WRITE_BYTES);

    if (count == (ssize_t)sizeof(latency_block))
        return RC_OK;
    return count < 0 ? rc_from_errno(errno) : RC_NO_SPACE;
}

static enum rc
prepare_file(int directory_fd)
{
    int fd = openat(directory_fd, PROBE_FILE_NAME, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0)
        return rc_from_errno(errno);
    enum rc rc = RC_OK;
    for (uint32_t i = 0; rc == RC_OK && i < PROBE_WRITES; i++)
        rc = write_block(fd, i);
    if (rc == RC_OK && fdatasync(fd) != 0)
        rc = rc_from_errno(errno);
    close(fd);
    return rc;
}

static enum rc
measure(int fd, struct probe_latency *latency)
{
    uint64_t passed_ns[PROBE_WRITES];

    for (uint32_t i = 0; i < PROBE_WRITES; i++) {
        uint64_t begin_ns = latency_now_ns();
        enum rc rc = write_block(fd, i);

        if (rc != RC_OK)
            return rc;
        passed_ns[i] = latency_now_ns() - begin_ns;
    }
    qsort(passed_ns, PROBE_WRITES, sizeof(passed_ns[0]), compare_ns);
    latency->p50_ns = passed_ns[PROBE_WRITES / 2];
    latency->p99_ns = passed_ns[PROBE_WRITES * 99 / 100];
    return RC_OK;
}

/* With O_DIRECT when the file system takes it, without otherwise. */
static enum rc
measure_file(int directory_fd, struct probe_latency *latency)
{
    const int flags = O_WRONLY | O_DSYNC | O_CLOEXEC;
    enum rc rc = RC_INVALID;

    latency->direct = true;
    int fd = openat(directory_fd, PROBE_FILE_NAME, flags | O_DIRECT);
    if (fd >= 0) {
        rc = measure(fd, latency);
        close(fd);
    }
    if (rc != RC_INVALID)
        return rc;
    latency->direct = false;
    fd = openat(directory_fd, PROBE_FILE_NAME, flags);
    if (fd < 0)
        return rc_from_errno(errno);
    rc = measure(fd, latency);
    close(fd);
    return rc;
}

enum rc
probe_measure_latency(const char *directory, struct probe_latency *ret_latency)
{
    struct probe_latency latency;
    int directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory_fd < 0)
        return rc_from_errno(errno);
    enum rc rc = prepare_file(directory_fd);
    if (rc == RC_OK)
        rc = measure_file(directory_fd, &latency);
    (void)unlinkat(directory_fd, PROBE_FILE_NAME, 0);
    close(directory_fd);
    if (rc == RC_OK)
        *ret_latency = latency;
    return rc;
}
