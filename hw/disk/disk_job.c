/* Jobs and the atomic replacement of small files: pure logic over struct disk, so that the
 * simulator crashes between any two of its steps.
 *
 * The order in each is what durability rests on: content before name, name before the answer. A
 * create or a rename is durable only when its directory was synced; a job that fails before that
 * takes its own new file away again. */
#include "hw/disk/disk.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <stdio.h>
#include <string.h>

#define DISK_TEMP_SUFFIX ".tmp"
#define DISK_REMOVE_BATCH 32u

/* Writes the directory part of path, "" for the root. */
static void
disk_parent(const char *path, char parent[DISK_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t count = slash == NULL ? 0 : (size_t)(slash - path);

    CHECK(count < DISK_PATH_MAX);
    bytes_copy(parent, DISK_PATH_MAX, path, count);
    parent[count] = '\0';
}

static enum rc
disk_sync_parent(struct disk *disk, const char *path)
{
    char parent[DISK_PATH_MAX];

    disk_parent(path, parent);
    return disk_sync_directory(disk, parent);
}

/* Creates a file for writing; one of that name, left by a crash, is removed first. */
static enum rc
disk_create_anew(struct disk *disk, const char *path, int *ret_fd)
{
    enum rc rc = disk_open(disk, path, DISK_WRITE | DISK_CREATE, ret_fd);

    if (rc != RC_EXISTS)
        return rc;
    rc = disk_unlink(disk, path);
    if (rc != RC_OK)
        return rc;
    return disk_open(disk, path, DISK_WRITE | DISK_CREATE, ret_fd);
}

enum rc
disk_replace_file(struct disk *disk, const char *path, const void *content, size_t count)
{
    char temp[DISK_PATH_MAX];
    int fd;

    if (strnlen(path, DISK_PATH_MAX) + sizeof(DISK_TEMP_SUFFIX) > DISK_PATH_MAX)
        return RC_INVALID;
    snprintf(temp, sizeof(temp), "%s" DISK_TEMP_SUFFIX, path);
    enum rc rc = disk_create_anew(disk, temp, &fd);
    if (rc != RC_OK)
        return rc;
    rc = disk_write(disk, fd, content, count, 0);
    if (rc == RC_OK)
        rc = disk_sync(disk, fd);
    disk_close(disk, fd);
    if (rc == RC_OK)
        rc = disk_rename(disk, temp, path);
    if (rc != RC_OK) {
        (void)disk_unlink(disk, temp);
        return rc;
    }
    /* When this fails the new content is in place but may be gone after a crash; the caller must
     * not count on it. */
    return disk_sync_parent(disk, path);
}

static enum rc
job_segment_create(struct disk *disk, struct disk_job *job)
{
    int fd;
    enum rc rc = disk_open(
        disk, job->path, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_DIRECT, &fd);

    if (rc != RC_OK)
        return rc;
    rc = disk_allocate(disk, fd, 0, job->bytes);
    if (rc == RC_OK)
        rc = disk_sync(disk, fd);
    if (rc == RC_OK)
        rc = disk_sync_parent(disk, job->path);
    if (rc != RC_OK) {
        disk_close(disk, fd);
        (void)disk_unlink(disk, job->path);
        return rc;
    }
    job->fd = fd;
    return RC_OK;
}

static enum rc
job_open(struct disk *disk, struct disk_job *job)
{
    uint32_t flags = DISK_READ | DISK_DIRECT | (job->position != 0 ? DISK_WRITE : 0u);

    return disk_open(disk, job->path, flags, &job->fd);
}

static enum rc
job_truncate(struct disk *disk, const struct disk_job *job)
{
    enum rc rc = disk_truncate(disk, job->fd, job->position);

    return rc == RC_OK ? disk_sync(disk, job->fd) : rc;
}

static enum rc
job_unlink(struct disk *disk, const struct disk_job *job)
{
    enum rc rc = disk_unlink(disk, job->path);

    return rc == RC_OK ? disk_sync_parent(disk, job->path) : rc;
}

/* Unlinks the files that one listing shows; *ret_left tells how many entries there were. */
static enum rc
remove_some(struct disk *disk, const char *directory, size_t *ret_left)
{
    struct disk_entry entries[DISK_REMOVE_BATCH];
    char path[2 * DISK_PATH_MAX];
    enum rc rc = disk_list(disk, directory, entries, ARRAY_COUNT(entries), ret_left);

    for (size_t i = 0; rc == RC_OK && i < min_u64(*ret_left, ARRAY_COUNT(entries)); i++) {
        if (entries[i].is_directory)
            return RC_INVALID;
        int count = snprintf(path, sizeof(path), "%s/%s", directory, entries[i].name);
        if (count < 0 || (size_t)count >= DISK_PATH_MAX)
            return RC_INVALID;
        rc = disk_unlink(disk, path);
    }
    return rc;
}

/* A directory that is gone already is what was wanted: the job may be repeated after a crash. */
static enum rc
job_remove_tree(struct disk *disk, const struct disk_job *job)
{
    size_t left = 1;
    enum rc rc = RC_OK;

    while (rc == RC_OK && left > 0)
        rc = remove_some(disk, job->path, &left);
    if (rc == RC_OK)
        rc = disk_remove_directory(disk, job->path);
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    return disk_sync_parent(disk, job->path);
}

static enum rc
job_make_directory(struct disk *disk, const struct disk_job *job)
{
    enum rc rc = disk_make_directory(disk, job->path);

    if (rc != RC_OK && rc != RC_EXISTS)
        return rc;
    return disk_sync_parent(disk, job->path);
}

static enum rc
job_write_file(struct disk *disk, const struct disk_job *job)
{
    bool created = false;
    int fd;
    enum rc rc = disk_open(disk, job->path, DISK_WRITE, &fd);

    if (rc == RC_NOT_FOUND) {
        created = true;
        rc = disk_open(disk, job->path, DISK_WRITE | DISK_CREATE, &fd);
    }
    if (rc != RC_OK)
        return rc;
    rc = disk_write(disk, fd, job->buffer, job->bytes, 0);
    if (rc == RC_OK)
        rc = disk_truncate(disk, fd, job->bytes);
    if (rc == RC_OK)
        rc = disk_sync(disk, fd);
    disk_close(disk, fd);
    if (rc == RC_OK && created)
        rc = disk_sync_parent(disk, job->path);
    if (rc != RC_OK && created)
        (void)disk_unlink(disk, job->path);
    return rc;
}

/* RC_LIMIT when the file is larger than the buffer. */
static enum rc
job_read_file(struct disk *disk, struct disk_job *job)
{
    uint64_t bytes;
    size_t count;
    int fd;
    enum rc rc = disk_open(disk, job->path, DISK_READ, &fd);

    if (rc != RC_OK)
        return rc;
    rc = disk_size(disk, fd, &bytes);
    if (rc == RC_OK && bytes > job->bytes)
        rc = RC_LIMIT;
    if (rc == RC_OK)
        rc = disk_read(disk, fd, job->buffer, job->bytes, 0, &count);
    disk_close(disk, fd);
    if (rc == RC_OK)
        job->bytes = count;
    return rc;
}

/* tidy: length, flat dispatch */
static enum rc
job_run(struct disk *disk, struct disk_job *job)
{
    switch (job->kind) {
    case DISK_JOB_SEGMENT_CREATE:
        return job_segment_create(disk, job);
    case DISK_JOB_ALLOCATE:
        return disk_allocate(disk, job->fd, job->position, job->bytes);
    case DISK_JOB_OPEN:
        return job_open(disk, job);
    case DISK_JOB_CLOSE:
        disk_close(disk, job->fd);
        return RC_OK;
    case DISK_JOB_SYNC:
        return disk_sync(disk, job->fd);
    case DISK_JOB_SYNC_ALL:
        return disk_sync_all(disk);
    case DISK_JOB_TRUNCATE:
        return job_truncate(disk, job);
    case DISK_JOB_UNLINK:
        return job_unlink(disk, job);
    case DISK_JOB_REMOVE_TREE:
        return job_remove_tree(disk, job);
    case DISK_JOB_MAKE_DIRECTORY:
        return job_make_directory(disk, job);
    case DISK_JOB_REPLACE_FILE:
        return disk_replace_file(disk, job->path, job->buffer, job->bytes);
    case DISK_JOB_WRITE_FILE:
        return job_write_file(disk, job);
    case DISK_JOB_READ_FILE:
        return job_read_file(disk, job);
    case DISK_JOB_POPULATE:
        return mem_commit(job->buffer, job->bytes);
    }
    CHECK(false && "disk job of an unknown kind");
    return RC_INVALID;
}

void
disk_job_run(struct disk *disk, struct disk_job *job)
{
    job->result = job_run(disk, job);
}
