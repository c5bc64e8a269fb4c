/* The body that only reads, for tools that look at a data directory offline: the real body's
 * reading operations, and a refusal in the place of every other. It reads through the page cache,
 * because to find out about O_DIRECT the real body writes a block. */
#include "hw/disk/disk_real.h"

#include "hw/mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static enum rc
reading_open(struct disk *disk, const char *path, uint32_t flags, int *ret_fd)
{
    if ((flags & (DISK_WRITE | DISK_CREATE | DISK_DSYNC)) != 0)
        return RC_DENIED;
    return disk__real_ops.open(disk, path, flags, ret_fd);
}

static enum rc
reading_write(struct disk *disk, int fd, const void *buffer, size_t count, uint64_t position)
{
    (void)disk;
    (void)fd;
    (void)buffer;
    (void)count;
    (void)position;
    return RC_DENIED;
}

static enum rc
reading_allocate(struct disk *disk, int fd, uint64_t position, uint64_t count)
{
    (void)disk;
    (void)fd;
    (void)position;
    (void)count;
    return RC_DENIED;
}

static enum rc
reading_truncate(struct disk *disk, int fd, uint64_t size)
{
    (void)disk;
    (void)fd;
    (void)size;
    return RC_DENIED;
}

static enum rc
reading_sync(struct disk *disk, int fd)
{
    (void)disk;
    (void)fd;
    return RC_DENIED;
}

static enum rc
reading_sync_all(struct disk *disk)
{
    (void)disk;
    return RC_DENIED;
}

static enum rc
reading_rename(struct disk *disk, const char *from, const char *to)
{
    (void)disk;
    (void)from;
    (void)to;
    return RC_DENIED;
}

/* Unlinking, making and removing directories, and syncing them. */
static enum rc
reading_change_path(struct disk *disk, const char *path)
{
    (void)disk;
    (void)path;
    return RC_DENIED;
}

/* Shared: who only looks does not disturb who looks too. */
static enum rc
reading_lock(struct disk_real *real, const char *root, struct diag_trail *trail)
{
    char pid[24] = "";

    real->lock_fd = openat(real->root_fd, DISK_LOCK_NAME, O_RDONLY | O_CLOEXEC);
    if (real->lock_fd < 0 && errno == ENOENT)
        return RC_OK;
    if (real->lock_fd < 0) {
        diag_trail_add(trail, "%s/%s cannot be opened: %s", root, DISK_LOCK_NAME, strerror(errno));
        return rc_from_errno(errno);
    }
    if (flock(real->lock_fd, LOCK_SH | LOCK_NB) == 0)
        return RC_OK;
    if (errno != EWOULDBLOCK) {
        diag_trail_add(trail, "%s/%s cannot be locked: %s", root, DISK_LOCK_NAME, strerror(errno));
        return rc_from_errno(errno);
    }
    (void)!pread(real->lock_fd, pid, sizeof(pid) - 1, 0);
    pid[strcspn(pid, "\n")] = '\0';
    diag_trail_add(trail, "data directory %s is in use by process %s", root, pid);
    return RC_BUSY;
}

enum rc
disk_open_reading(const char *root, struct disk **ret_disk, struct diag_trail *trail)
{
    static struct disk_ops ops; /* the same whoever fills it */
    struct disk_real *real = mem_boot_alloc(sizeof(*real));

    if (real == NULL)
        return RC_NO_MEMORY;
    ops = disk__real_ops;
    ops.open = reading_open;
    ops.write = reading_write;
    ops.allocate = reading_allocate;
    ops.truncate = reading_truncate;
    ops.sync = reading_sync;
    ops.sync_all = reading_sync_all;
    ops.rename = reading_rename;
    ops.unlink = reading_change_path;
    ops.make_directory = reading_change_path;
    ops.remove_directory = reading_change_path;
    ops.sync_directory = reading_change_path;
    real->disk.ops = &ops;
    real->lock_fd = -1;
    enum rc rc = RC_OK;
    real->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (real->root_fd < 0) {
        diag_trail_add(trail, "data directory %s cannot be opened: %s", root, strerror(errno));
        rc = rc_from_errno(errno);
    } else {
        rc = reading_lock(real, root, trail);
    }
    if (rc != RC_OK) {
        real->disk.ops->fini(&real->disk);
        return rc;
    }
    *ret_disk = &real->disk;
    return RC_OK;
}
