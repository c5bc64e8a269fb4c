/* Files and names: the slow half of storage. Everything here may block, so engine cores never call
 * it: it runs at start, during recovery, and on the control tile (through struct disk_job). Hot
 * reads and writes go through hw/io on the descriptor of an open file.
 *
 * Bodies: real (hw/disk/disk_real.c, POSIX calls below one root directory descriptor) and sim
 * (hw/disk/disk_sim.c, shared with the sim body of hw/io: 512-byte sectors, un-synced writes,
 * renames and unlinks may be kept, lost or torn by a crash). Paths are relative to the root,
 * '/'-separated, at most DISK_PATH_MAX bytes with the NUL, never ".." . */
#ifndef EAGRE_HW_DISK_DISK_H
#define EAGRE_HW_DISK_DISK_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define DISK_PATH_MAX 256u
#define DISK_ALIGN_BYTES                                                     \
    4096u /* unit of every position, length and buffer address in direct I/O \
           */

enum disk_open_flags {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_CREATE = 4, /* fail with RC_EXISTS when it is there */
    DISK_DIRECT = 8, /* O_DIRECT where the file system has it */
    DISK_DSYNC = 16, /* O_DSYNC: a completed write is on the device */
};

#define DISK_NAME_MAX 32u /* of a file system's kind */

struct disk_facts {
    char filesystem[DISK_NAME_MAX]; /* "ext4", "xfs", "tmpfs", ... */
    char write_cache[32];           /* "write back", "write through", "unknown" */
    uint32_t block_bytes;           /* logical block for direct I/O */
    bool is_memory;                 /* tmpfs or ramfs: not durable */
    bool direct;                    /* O_DIRECT opens and writes succeed */
    uint64_t free_bytes;
    uint64_t total_bytes;
};

struct disk_entry {
    char name[DISK_PATH_MAX];
    bool is_directory;
    uint64_t bytes; /* size of a file */
};

struct disk;
struct disk_ops {
    enum rc (*open)(struct disk *disk, const char *path, uint32_t flags, int *ret_fd);
    void (*close)(struct disk *disk, int fd);
    /* Reads or writes exactly count bytes unless the file ends (read: *ret_count tells). Continues
     * short transfers. */
    enum rc (*read)(struct disk *disk,
                    int fd,
                    void *buffer,
                    size_t count,
                    uint64_t position,
                    size_t *ret_count);
    enum rc (*write)(
        struct disk *disk, int fd, const void *buffer, size_t count, uint64_t position);
    enum rc (*allocate)(struct disk *disk,
                        int fd,
                        uint64_t position,
                        uint64_t count); /* extends the size */
    enum rc (*truncate)(struct disk *disk, int fd, uint64_t size);
    enum rc (*sync)(struct disk *disk, int fd); /* fdatasync */
    enum rc (*sync_all)(struct disk *disk);     /* syncfs */
    enum rc (*size)(struct disk *disk, int fd, uint64_t *ret_bytes);
    enum rc (*rename)(struct disk *disk, const char *from, const char *to);
    enum rc (*unlink)(struct disk *disk, const char *path);
    enum rc (*make_directory)(struct disk *disk, const char *path); /* RC_EXISTS when it is there */
    enum rc (*remove_directory)(struct disk *disk, const char *path);
    enum rc (*sync_directory)(struct disk *disk, const char *path); /* "" is the root */
    /* Lists up to capacity entries of a directory in name order; *ret_count is how many there are
     * in all. */
    enum rc (*list)(struct disk *disk,
                    const char *path,
                    struct disk_entry *entries,
                    size_t capacity,
                    size_t *ret_count);
    enum rc (*facts)(struct disk *disk, struct disk_facts *ret_facts);
    void (*fini)(struct disk *disk);
};
/* First member of every body. */
struct disk {
    const struct disk_ops *ops;
};

/* Opens a data directory, creating the last path component if missing, and locks it (flock on
 * "<root>/lock"): RC_BUSY when another process holds it. */
enum rc disk_open_real(const char *root, struct disk **ret_disk, struct diag_trail *trail);

/* Opens a data directory for looking only: nothing is created, written, truncated, synced or
 * removed, whatever is asked for (RC_DENIED), so it works where nothing may be written. Takes the
 * lock shared, so several may look at once and no server starts meanwhile; RC_BUSY when a server
 * has it. A directory without a lock file was never served, or is a copy: it is read without one.
 *
 * RC_NOT_FOUND, RC_DENIED ...: trail tells. Runs on: tools.  Allocates: one block, given back by
 * disk_fini().  Blocks: yes. */
enum rc
disk_open_reading(const char *root, struct disk **ret_disk, struct diag_trail *trail) MUST_USE;

/* Whether a data directory at root is in memory, or would be (its parent is), before anything is
 * made there. False also where neither exists. ret_name: "tmpfs"; written only with true. Runs on:
 * start-up.  Allocates: nothing. */
bool disk_root_is_memory(const char *root, char ret_name[DISK_NAME_MAX]) MUST_USE;

/* Thin calls through ops (static inline: disk_open, disk_close, disk_read, ...). */
static inline enum rc
disk_open(struct disk *d, const char *path, uint32_t flags, int *ret_fd)
{
    return d->ops->open(d, path, flags, ret_fd);
}
static inline void
disk_close(struct disk *d, int fd)
{
    d->ops->close(d, fd);
}
static inline enum rc
disk_read(struct disk *d, int fd, void *buffer, size_t count, uint64_t position, size_t *ret_count)
{
    return d->ops->read(d, fd, buffer, count, position, ret_count);
}
static inline enum rc
disk_write(struct disk *d, int fd, const void *buffer, size_t count, uint64_t position)
{
    return d->ops->write(d, fd, buffer, count, position);
}
static inline enum rc
disk_allocate(struct disk *d, int fd, uint64_t position, uint64_t count)
{
    return d->ops->allocate(d, fd, position, count);
}
static inline enum rc
disk_truncate(struct disk *d, int fd, uint64_t size)
{
    return d->ops->truncate(d, fd, size);
}
static inline enum rc
disk_sync(struct disk *d, int fd)
{
    return d->ops->sync(d, fd);
}
static inline enum rc
disk_sync_all(struct disk *d)
{
    return d->ops->sync_all(d);
}
static inline enum rc
disk_size(struct disk *d, int fd, uint64_t *ret_bytes)
{
    return d->ops->size(d, fd, ret_bytes);
}
static inline enum rc
disk_rename(struct disk *d, const char *from, const char *to)
{
    return d->ops->rename(d, from, to);
}
static inline enum rc
disk_unlink(struct disk *d, const char *path)
{
    return d->ops->unlink(d, path);
}
static inline enum rc
disk_make_directory(struct disk *d, const char *path)
{
    return d->ops->make_directory(d, path);
}
static inline enum rc
disk_remove_directory(struct disk *d, const char *path)
{
    return d->ops->remove_directory(d, path);
}
static inline enum rc
disk_sync_directory(struct disk *d, const char *path)
{
    return d->ops->sync_directory(d, path);
}
static inline enum rc
disk_list(struct disk *d, const char *path, struct disk_entry *e, size_t n, size_t *ret_count)
{
    return d->ops->list(d, path, e, n, ret_count);
}
static inline enum rc
disk_facts(struct disk *d, struct disk_facts *ret_facts)
{
    return d->ops->facts(d, ret_facts);
}
static inline void
disk_fini(struct disk *d)
{
    if (d)
        d->ops->fini(d);
}

/* Writes a whole small file so that a crash leaves the old or the new content: "path.tmp", write,
 * sync, rename, directory sync. */
enum rc disk_replace_file(struct disk *disk, const char *path, const void *content, size_t count);

/* ---- jobs: slow operations that an engine core hands to the control tile ---- */

enum disk_job_kind {
    /* create path, allocate bytes, sync, directory sync; result fd (DIRECT|READ|WRITE) */
    DISK_JOB_SEGMENT_CREATE,
    DISK_JOB_ALLOCATE, /* fd: allocate [position, position + bytes) */
    DISK_JOB_OPEN,     /* open path for direct reading, and writing when position != 0; result fd */
    DISK_JOB_CLOSE,    /* fd */
    DISK_JOB_SYNC,     /* fd */
    DISK_JOB_SYNC_ALL,
    DISK_JOB_TRUNCATE, /* fd to position; then sync */
    DISK_JOB_UNLINK,   /* path; then sync its directory */
    /* path: every file of that one directory, then the directory, then sync its parent */
    DISK_JOB_REMOVE_TREE,
    DISK_JOB_MAKE_DIRECTORY, /* path; then sync its parent; existing is fine */
    DISK_JOB_REPLACE_FILE,   /* path, buffer, bytes: disk_replace_file() */
    /* path, buffer, bytes: create if missing, write from 0, truncate, sync; for files with two
     * alternating generations */
    DISK_JOB_WRITE_FILE,
    DISK_JOB_READ_FILE, /* path, buffer, bytes (capacity); result count in bytes */
    DISK_JOB_POPULATE,  /* buffer, bytes: touch memory ahead of need (MADV_POPULATE_WRITE) */
};

/* Owned by the submitting tile until it comes back through the completion ring. */
struct disk_job {
    enum disk_job_kind kind;
    enum rc result; /* written by the control tile */
    int fd;         /* in or out */
    uint64_t position;
    uint64_t bytes; /* in, or out for READ_FILE */
    void *buffer;
    uint64_t ctx; /* the submitter's own */
    char path[DISK_PATH_MAX];
};

/* Runs one job to its end and sets result (and fd/bytes). Runs on: control tile. Blocks: yes. */
void disk_job_run(struct disk *disk, struct disk_job *job);

#endif
