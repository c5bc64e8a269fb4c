/* Goal: tests of the virtual disk say what they mean in one line each.
 * Method: wrappers that stop the test when the disk refuses. */
#include "sim_disk_help.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct disk *
help_disk(uint64_t seed)
{
    struct disk *disk;
    struct disk_sim_config config = {.seed = seed};
    cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
    return disk;
}

int
help_create(struct disk *disk, const char *path, uint32_t flags)
{
    int fd = -1;
    char parent[DISK_PATH_MAX] = "";
    const char *slash = strrchr(path, '/');
    if (slash != NULL)
        memcpy(parent, path, (size_t)(slash - path));
    cr_assert_eq(disk_open(disk, path, DISK_READ | DISK_WRITE | DISK_CREATE | flags, &fd), RC_OK);
    cr_assert_eq(disk_sync_directory(disk, parent), RC_OK);
    return fd;
}

int
help_open(struct disk *disk, const char *path, uint32_t flags)
{
    int fd = -1;
    cr_assert_eq(disk_open(disk, path, DISK_READ | DISK_WRITE | flags, &fd), RC_OK);
    return fd;
}

void
help_fill(struct disk *disk, int fd, uint8_t value, uint64_t count, uint64_t position)
{
    void *buffer = aligned_alloc(DISK_ALIGN_BYTES, round_up(count, DISK_ALIGN_BYTES));
    memset(buffer, value, count);
    cr_assert_eq(disk_write(disk, fd, buffer, count, position), RC_OK);
    free(buffer);
}

int
help_byte(struct disk *disk, const char *path, uint64_t position)
{
    int fd;
    uint8_t byte = 0;
    size_t count = 0;
    if (disk_open(disk, path, DISK_READ, &fd) != RC_OK)
        return -1;
    cr_assert_eq(disk_read(disk, fd, &byte, 1, position, &count), RC_OK);
    disk_close(disk, fd);
    return count == 1 ? byte : -1;
}

bool
help_exists(struct disk *disk, const char *path)
{
    int fd;
    if (disk_open(disk, path, DISK_READ, &fd) != RC_OK)
        return false;
    disk_close(disk, fd);
    return true;
}

uint64_t
help_size(struct disk *disk, const char *path)
{
    int fd;
    uint64_t bytes = 0;
    cr_assert_eq(disk_open(disk, path, DISK_READ, &fd), RC_OK);
    cr_assert_eq(disk_size(disk, fd, &bytes), RC_OK);
    disk_close(disk, fd);
    return bytes;
}

void
help_crash(struct disk *disk, uint64_t seed)
{
    struct sim_rng rng;
    sim_rng_seed(&rng, seed, 1);
    disk_sim_crash(disk, &rng);
}
