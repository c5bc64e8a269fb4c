/* Facts about a file system: its name and kind from statfs, the device's write cache from sysfs,
 * the alignment from statx, and whether direct writes really work by doing one. */
#include "hw/disk/disk_real.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DISK_PROBE_NAME "direct.probe"

struct filesystem_row {
    uint32_t magic; /* statfs(2), linux/magic.h */
    const char *name;
    bool is_memory;
};

static const struct filesystem_row filesystem_rows[] = {
    {0x0000ef53, "ext4", false},
    {0x58465342, "xfs", false},
    {0x9123683e, "btrfs", false},
    {0xf2f52010, "f2fs", false},
    {0x2fc12fc1, "zfs", false},
    {0xca451a4e, "bcachefs", false},
    {0x794c7630, "overlayfs", false},
    {0x00006969, "nfs", false},
    {0xff534d42, "cifs", false},
    {0x01021997, "9p", false},
    {0x65735546, "fuse", false},
    {0x01021994, "tmpfs", true},
    {0x858458f6, "ramfs", true},
};

static const struct filesystem_row *
filesystem_find(const struct statfs *status)
{
    for (size_t i = 0; i < ARRAY_COUNT(filesystem_rows); i++)
        if (filesystem_rows[i].magic == (uint32_t)status->f_type)
            return &filesystem_rows[i];
    return NULL;
}

static void
facts_filesystem(int root_fd, struct disk_facts *facts)
{
    struct statfs status;

    snprintf(facts->filesystem, sizeof(facts->filesystem), "unknown");
    if (fstatfs(root_fd, &status) != 0)
        return;
    snprintf(facts->filesystem, sizeof(facts->filesystem), "type 0x%x", (uint32_t)status.f_type);
    const struct filesystem_row *row = filesystem_find(&status);
    if (row == NULL)
        return;
    snprintf(facts->filesystem, sizeof(facts->filesystem), "%s", row->name);
    facts->is_memory = row->is_memory;
}

/* The directory that root is, or will be made, in; false: the path is too long. */
static bool
parent_of(const char *root, char *parent, size_t capacity)
{
    int count = snprintf(parent, capacity, "%s", root);

    if (count <= 0 || (size_t)count >= capacity)
        return false;
    while (count > 1 && parent[count - 1] == '/')
        parent[--count] = '\0';
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, capacity, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    return true;
}

bool
disk_root_is_memory(const char *root, char ret_name[DISK_NAME_MAX])
{
    struct statfs status;
    char parent[PATH_MAX];

    if (statfs(root, &status) != 0 &&
        (!parent_of(root, parent, sizeof(parent)) || statfs(parent, &status) != 0))
        return false;
    const struct filesystem_row *row = filesystem_find(&status);
    if (row == NULL || !row->is_memory)
        return false;
    snprintf(ret_name, DISK_NAME_MAX, "%s", row->name);
    return true;
}

/* Reads the first line of /sys/dev/block/<device>/<name>; false when it is not there. */
static bool
facts_sysfs_read(const struct stat *status, const char *name, char *text, size_t capacity)
{
    char path[128];

    snprintf(path,
             sizeof(path),
             "/sys/dev/block/%u:%u/%s",
             major(status->st_dev),
             minor(status->st_dev),
             name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t count = read(fd, text, capacity - 1);
    close(fd);
    if (count <= 0)
        return false;
    text[count] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

/* A whole device has queue/ itself; a partition's is its parent's. */
static bool
facts_queue_read(const struct stat *status, const char *name, char *text, size_t capacity)
{
    char path[64];

    snprintf(path, sizeof(path), "queue/%s", name);
    if (facts_sysfs_read(status, path, text, capacity))
        return true;
    snprintf(path, sizeof(path), "../queue/%s", name);
    return facts_sysfs_read(status, path, text, capacity);
}

static uint32_t
facts_block_bytes(int file_fd, const struct stat *status)
{
    char text[32];

#ifdef STATX_DIOALIGN
    struct statx extended;

    /* Kernel 6.1; the file system may not say (0). */
    if (statx(file_fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) == 0 &&
        (extended.stx_mask & STATX_DIOALIGN) != 0 && extended.stx_dio_offset_align != 0)
        return extended.stx_dio_offset_align;
#else
    (void)file_fd;
#endif
    if (facts_queue_read(status, "logical_block_size", text, sizeof(text))) {
        for (uint32_t bytes = 512; bytes <= DISK_ALIGN_BYTES; bytes *= 2) {
            char expected[16];

            snprintf(expected, sizeof(expected), "%u", bytes);
            if (strcmp(text, expected) == 0)
                return bytes;
        }
    }
    return DISK_ALIGN_BYTES;
}

/* Whether a block can be written with O_DIRECT. An unnamed file where the file system has them. */
static bool
facts_direct(int root_fd)
{
    static const _Alignas(DISK_ALIGN_BYTES) uint8_t zeros[DISK_ALIGN_BYTES];
    int fd = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        fd = openat(root_fd, DISK_PROBE_NAME, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
        (void)unlinkat(root_fd, DISK_PROBE_NAME, 0);
    }
    if (fd < 0)
        return false;
    ssize_t count = pwrite(fd, zeros, sizeof(zeros), 0);
    /* A full disk says nothing against direct writes. */
    bool works = count == (ssize_t)sizeof(zeros) || (count < 0 && errno == ENOSPC);
    close(fd);
    return works;
}

void
disk__probe(int root_fd, int file_fd, struct disk_facts *ret_facts)
{
    struct disk_facts facts = {.block_bytes = DISK_ALIGN_BYTES};
    struct stat status;

    facts_filesystem(root_fd, &facts);
    snprintf(facts.write_cache, sizeof(facts.write_cache), "unknown");
    if (fstat(root_fd, &status) == 0) {
        (void)facts_queue_read(
            &status, "write_cache", facts.write_cache, sizeof(facts.write_cache));
        facts.block_bytes = facts_block_bytes(file_fd, &status);
    }
    facts.direct = facts_direct(root_fd);
    *ret_facts = facts;
}

enum rc
disk__space(int root_fd, struct disk_facts *ret_facts)
{
    struct statfs status;

    if (fstatfs(root_fd, &status) != 0)
        return rc_from_errno(errno);
    ret_facts->free_bytes = (uint64_t)status.f_bavail * (uint64_t)status.f_bsize;
    ret_facts->total_bytes = (uint64_t)status.f_blocks * (uint64_t)status.f_bsize;
    return RC_OK;
}

enum rc
disk_facts_read(const char *directory, struct disk_facts *ret_facts)
{
    struct disk_facts facts;
    int root_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root_fd < 0)
        return rc_from_errno(errno);
    int file_fd = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    disk__probe(root_fd, file_fd >= 0 ? file_fd : root_fd, &facts);
    enum rc rc = disk__space(root_fd, &facts);
    if (file_fd >= 0)
        close(file_fd);
    close(root_fd);
    if (rc == RC_OK)
        *ret_facts = facts;
    return rc;
}
