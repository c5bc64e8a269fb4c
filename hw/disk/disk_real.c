/* The real body: POSIX calls below one root directory descriptor, so that a data directory that is
 * moved or mounted over while we run stays the one we opened.
 *
 * Direct I/O is probed once at start by writing a block through O_DIRECT; where that fails every
 * later open leaves the flag out and facts.direct tells. (O_DIRECT opens succeed on some tmpfs:
 * memory is told by statfs.) */
#include "hw/disk/disk_real.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_FILE_MODE 0640
#define DISK_DIRECTORY_MODE 0750
#define DISK_TRANSFER_BYTES_MAX \
    ((size_t)1 << 30) /* of one call; the kernel cuts at 2 GiB - 4 KiB */

static struct disk_real *
real_of(struct disk *disk)
{
    return (struct disk_real *)disk;
}

/* Relative, within DISK_PATH_MAX, and without a ".." that would lead out of the root. */
static bool
real_path_is_valid(const char *path)
{
    size_t count = strnlen(path, DISK_PATH_MAX);

    if (count == 0 || count == DISK_PATH_MAX || path[0] == '/')
        return false;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += part[0] == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static enum rc
real_result(int result)
{
    return result == 0 ? RC_OK : rc_from_errno(errno);
}

static enum rc
real_open(struct disk *disk, const char *path, uint32_t flags, int *ret_fd)
{
    struct disk_real *real = real_of(disk);
    int open_flags = O_CLOEXEC;

    CHECK((flags & (DISK_READ | DISK_WRITE)) != 0);
    if (!real_path_is_valid(path))
        return RC_INVALID;
    if ((flags & DISK_WRITE) != 0)
        open_flags |= (flags & DISK_READ) != 0 ? O_RDWR : O_WRONLY;
    if ((flags & DISK_CREATE) != 0)
        open_flags |= O_CREAT | O_EXCL;
    if ((flags & DISK_DIRECT) != 0 && real->facts.direct)
        open_flags |= O_DIRECT;
    if ((flags & DISK_DSYNC) != 0)
        open_flags |= O_DSYNC;
    int fd = openat(real->root_fd, path, open_flags, DISK_FILE_MODE);
    if (fd < 0)
        return rc_from_errno(errno);
    *ret_fd = fd;
    return RC_OK;
}

static void
real_close(struct disk *disk, int fd)
{
    (void)disk;
    if (fd >= 0)
        close(fd);
}

static enum rc
real_size(struct disk *disk, int fd, uint64_t *ret_bytes)
{
    struct stat status;

    (void)disk;
    if (fstat(fd, &status) != 0)
        return rc_from_errno(errno);
    *ret_bytes = (uint64_t)status.st_size;
    return RC_OK;
}

/* Whether the file ends at or before position; after a short direct read the rest cannot be asked
 * for, because its position is no longer aligned. */
static bool
real_is_end(struct disk *disk, int fd, uint64_t position)
{
    uint64_t bytes;

    return real_size(disk, fd, &bytes) == RC_OK && position >= bytes;
}

static enum rc
real_read(
    struct disk *disk, int fd, void *buffer, size_t count, uint64_t position, size_t *ret_count)
{
    size_t done = 0;

    while (done < count) {
        size_t part = min_u64(count - done, DISK_TRANSFER_BYTES_MAX);
        ssize_t result = pread(fd, (uint8_t *)buffer + done, part, (off_t)(position + done));

        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0)
            return rc_from_errno(errno);
        done += (size_t)result;
        if (result == 0 || ((size_t)result < part && real_is_end(disk, fd, position + done)))
            break;
    }
    *ret_count = done;
    return RC_OK;
}

static enum rc
real_write(struct disk *disk, int fd, const void *buffer, size_t count, uint64_t position)
{
    size_t done = 0;

    (void)disk;
    while (done < count) {
        size_t part = min_u64(count - done, DISK_TRANSFER_BYTES_MAX);
        ssize_t result = pwrite(fd, (const uint8_t *)buffer + done, part, (off_t)(position + done));

        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0)
            return rc_from_errno(errno);
        if (result == 0)
            return RC_NO_SPACE;
        done += (size_t)result;
    }
    return RC_OK;
}

static enum rc
real_allocate(struct disk *disk, int fd, uint64_t position, uint64_t count)
{
    uint64_t bytes;
    int result;

    do {
        result = fallocate(fd, 0, (off_t)position, (off_t)count);
    } while (result != 0 && errno == EINTR);
    if (result == 0)
        return RC_OK;
    if (errno != EOPNOTSUPP)
        return rc_from_errno(errno);
    /* A file system that cannot reserve: only the size is set, and a later write may find no space.
     * The C library's emulation writes one byte per block, which O_DIRECT refuses. */
    enum rc rc = real_size(disk, fd, &bytes);
    if (rc != RC_OK || bytes >= position + count)
        return rc;
    return real_result(ftruncate(fd, (off_t)(position + count)));
}

static enum rc
real_truncate(struct disk *disk, int fd, uint64_t size)
{
    (void)disk;
    return real_result(ftruncate(fd, (off_t)size));
}

static enum rc
real_sync(struct disk *disk, int fd)
{
    (void)disk;
    return real_result(fdatasync(fd));
}

static enum rc
real_sync_all(struct disk *disk)
{
    return real_result(syncfs(real_of(disk)->root_fd));
}

static enum rc
real_rename(struct disk *disk, const char *from, const char *to)
{
    int root_fd = real_of(disk)->root_fd;

    if (!real_path_is_valid(from) || !real_path_is_valid(to))
        return RC_INVALID;
    return real_result(renameat(root_fd, from, root_fd, to));
}

static enum rc
real_unlink(struct disk *disk, const char *path)
{
    if (!real_path_is_valid(path))
        return RC_INVALID;
    return real_result(unlinkat(real_of(disk)->root_fd, path, 0));
}

static enum rc
real_make_directory(struct disk *disk, const char *path)
{
    if (!real_path_is_valid(path))
        return RC_INVALID;
    return real_result(mkdirat(real_of(disk)->root_fd, path, DISK_DIRECTORY_MODE));
}

static enum rc
real_remove_directory(struct disk *disk, const char *path)
{
    if (!real_path_is_valid(path))
        return RC_INVALID;
    return real_result(unlinkat(real_of(disk)->root_fd, path, AT_REMOVEDIR));
}

static enum rc
real_open_directory(struct disk *disk, const char *path, int *ret_fd)
{
    if (path[0] != '\0' && !real_path_is_valid(path))
        return RC_INVALID;
    int fd = openat(
        real_of(disk)->root_fd, path[0] == '\0' ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rc_from_errno(errno);
    *ret_fd = fd;
    return RC_OK;
}

static enum rc
real_sync_directory(struct disk *disk, const char *path)
{
    int fd;
    enum rc rc = real_open_directory(disk, path, &fd);

    if (rc != RC_OK)
        return rc;
    rc = real_result(fsync(fd));
    close(fd);
    return rc;
}

/* ---- listing ---- */

struct real_list {
    struct disk_entry *entries; /* [capacity] */
    size_t capacity;
    size_t kept;  /* entries filled, the first ones in name order once full */
    size_t count; /* seen in all */
    bool sorted;
};

static int
entry_compare(const void *a, const void *b)
{
    return strcmp(((const struct disk_entry *)a)->name, ((const struct disk_entry *)b)->name);
}

static void
real_list_sort(struct real_list *list)
{
    if (!list->sorted && list->kept > 1)
        qsort(list->entries, list->kept, sizeof(list->entries[0]), entry_compare);
    list->sorted = true;
}

/* Appends while there is room; afterwards only what sorts before the last kept one goes in. */
static void
real_list_add(struct real_list *list, const struct disk_entry *entry)
{
    list->count++;
    if (list->kept < list->capacity) {
        list->entries[list->kept++] = *entry;
        return;
    }
    if (list->capacity == 0)
        return;
    real_list_sort(list);
    size_t at = list->kept;
    while (at > 0 && entry_compare(entry, &list->entries[at - 1]) < 0)
        at--;
    if (at == list->kept)
        return;
    for (size_t i = list->kept - 1; i > at; i--)
        list->entries[i] = list->entries[i - 1];
    list->entries[at] = *entry;
}

static bool
real_list_skips(const char *path, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    /* The lock is this body's own affair. */
    return path[0] == '\0' && strcmp(name, DISK_LOCK_NAME) == 0;
}

static enum rc
real_list_one(struct real_list *list, int fd, const char *name)
{
    struct disk_entry entry = {.is_directory = false};
    struct stat status;

    size_t count = strnlen(name, DISK_PATH_MAX);
    if (count == DISK_PATH_MAX)
        return RC_INVALID;
    if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? RC_OK : rc_from_errno(errno); /* unlinked since */
    bytes_copy(entry.name, sizeof(entry.name) - 1, name, count);
    entry.is_directory = S_ISDIR(status.st_mode);
    entry.bytes = entry.is_directory ? 0 : (uint64_t)status.st_size;
    real_list_add(list, &entry);
    return RC_OK;
}

static enum rc
real_list(struct disk *disk,
          const char *path,
          struct disk_entry *entries,
          size_t capacity,
          size_t *ret_count)
{
    _Alignas(struct dirent64) char buffer[8192];
    struct real_list list = {.entries = entries, .capacity = capacity};
    ssize_t bytes = 0;
    int fd = -1;
    enum rc rc = real_open_directory(disk, path, &fd);

    while (rc == RC_OK && (bytes = getdents64(fd, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; rc == RC_OK && at < bytes;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(buffer + at);

            if (!real_list_skips(path, entry->d_name))
                rc = real_list_one(&list, fd, entry->d_name);
            at += entry->d_reclen;
        }
    }
    if (rc == RC_OK && bytes < 0)
        rc = rc_from_errno(errno);
    if (rc == RC_OK) {
        real_list_sort(&list);
        *ret_count = list.count;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static enum rc
real_facts(struct disk *disk, struct disk_facts *ret_facts)
{
    struct disk_real *real = real_of(disk);
    enum rc rc = disk__space(real->root_fd, &real->facts);

    if (rc == RC_OK)
        *ret_facts = real->facts;
    return rc;
}

static void
real_fini(struct disk *disk)
{
    struct disk_real *real = real_of(disk);

    if (real->lock_fd >= 0)
        close(real->lock_fd); /* and with it the lock; the file stays, so that two openers never
                                 lock two files */
    if (real->root_fd >= 0)
        close(real->root_fd);
    mem_boot_free(real);
}

const struct disk_ops disk__real_ops = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .sync = real_sync,
    .sync_all = real_sync_all,
    .size = real_size,
    .rename = real_rename,
    .unlink = real_unlink,
    .make_directory = real_make_directory,
    .remove_directory = real_remove_directory,
    .sync_directory = real_sync_directory,
    .list = real_list,
    .facts = real_facts,
    .fini = real_fini,
};

/* ---- start ---- */

/* Makes the entry of a directory just created durable. */
static void
real_sync_parent(int root_fd)
{
    int fd = openat(root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return; /* a parent that we may not read; its owner made it, so it is durable or not without
                   us */
    (void)fsync(fd);
    close(fd);
}

static enum rc
real_open_root(struct disk_real *real, const char *root, struct diag_trail *trail)
{
    bool created = mkdir(root, DISK_DIRECTORY_MODE) == 0;

    if (!created && errno != EEXIST) {
        diag_trail_add(trail, "data directory %s cannot be created: %s", root, strerror(errno));
        return rc_from_errno(errno);
    }
    real->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (real->root_fd < 0) {
        diag_trail_add(trail, "data directory %s cannot be opened: %s", root, strerror(errno));
        return rc_from_errno(errno);
    }
    if (created)
        real_sync_parent(real->root_fd);
    return RC_OK;
}

static enum rc
real_lock(struct disk_real *real, const char *root, struct diag_trail *trail)
{
    char pid[24] = "";

    real->lock_fd = openat(
        real->root_fd, DISK_LOCK_NAME, O_CREAT | O_RDWR | O_CLOEXEC, DISK_FILE_MODE);
    if (real->lock_fd < 0) {
        diag_trail_add(trail, "data directory %s is not writable: %s", root, strerror(errno));
        return rc_from_errno(errno);
    }
    if (flock(real->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            diag_trail_add(trail, "data directory %s cannot be locked: %s", root, strerror(errno));
            return rc_from_errno(errno);
        }
        (void)!pread(real->lock_fd, pid, sizeof(pid) - 1, 0);
        pid[strcspn(pid, "\n")] = '\0';
        diag_trail_add(trail, "data directory %s is in use by process %s", root, pid);
        return RC_BUSY;
    }
    int count = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    /* For the message above only; a full disk must not keep us from starting to read. */
    if (ftruncate(real->lock_fd, 0) == 0)
        (void)!pwrite(real->lock_fd, pid, (size_t)count, 0);
    return RC_OK;
}

enum rc
disk_open_real(const char *root, struct disk **ret_disk, struct diag_trail *trail)
{
    struct disk_real *real = mem_boot_alloc(sizeof(*real));

    if (real == NULL)
        return RC_NO_MEMORY;
    real->disk.ops = &disk__real_ops;
    real->root_fd = -1;
    real->lock_fd = -1;
    enum rc rc = real_open_root(real, root, trail);
    if (rc == RC_OK)
        rc = real_lock(real, root, trail);
    if (rc == RC_OK) {
        disk__probe(real->root_fd, real->lock_fd, &real->facts);
        rc = disk__space(real->root_fd, &real->facts);
    }
    if (rc != RC_OK) {
        real_fini(&real->disk);
        return rc;
    }
    *ret_disk = &real->disk;
    return RC_OK;
}
