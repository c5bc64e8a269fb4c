/* The four files of a journal: making them once, opening them, and the order in which they are
 * reclaimed. */
#include "log/journal/journal_inner.h"
#include "log/journal/journal_scan.h"

#include "engine/base/check.h"

#define FILL_RECLAIM_PERMILLE 500u

/* ---- making and opening ---- */

/* Writes the file's content: header block, then zeros to the end. Zeros are written, not only
 * allocated: a first write into unwritten extents costs a file system commit, 125 us instead of 77
 * (hot path note, section 4.1). */
static enum rc
write_content(struct journal *journal, int fd, uint32_t file_idx)
{
    struct disk *disk = journal->config.disk;
    uint8_t *buffer = journal->slots[0].table;
    uint64_t buffer_bytes = JOURNAL_TABLE_COUNT * (uint64_t)journal->table_bytes;
    struct journal_file_header header = {
        .tile_idx = journal->config.tile_idx,
        .file_idx = file_idx,
        .file_bytes = journal->config.file_bytes,
    };

    enum rc rc = disk_allocate(disk, fd, 0, journal->config.file_bytes);
    memset(buffer, 0, buffer_bytes);
    for (uint64_t at = 0; rc == RC_OK && at < journal->config.file_bytes; at += buffer_bytes) {
        uint64_t count = min_u64(buffer_bytes, journal->config.file_bytes - at);
        rc = disk_write(disk, fd, buffer, count, at);
    }
    if (rc != RC_OK)
        return rc;
    __builtin_memcpy(header.node_uuid, journal->config.node_uuid, sizeof(header.node_uuid));
    journal_file_header_encode(&header, buffer);
    rc = disk_write(disk, fd, buffer, FORMAT_BLOCK_BYTES, 0);
    return rc == RC_OK ? disk_sync(disk, fd) : rc;
}

/* Makes one file under its ".new" name and renames it, so a file with the final name is always
 * whole. */
static enum rc
make_file(struct journal *journal, uint32_t file_idx, struct diag_trail *trail)
{
    struct disk *disk = journal->config.disk;
    char path[FORMAT_PATH_MAX];
    char new_path[FORMAT_PATH_MAX];
    int fd;

    format_path_journal(path, journal->config.tile_idx, file_idx);
    format_path_journal_new(new_path, journal->config.tile_idx, file_idx);
    enum rc rc = disk_unlink(disk, new_path); /* of an interrupted start */
    if (rc == RC_OK || rc == RC_NOT_FOUND)
        rc = disk_open(disk, new_path, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_DIRECT, &fd);
    if (rc != RC_OK)
        goto fail;
    rc = write_content(journal, fd, file_idx);
    disk_close(disk, fd);
    if (rc == RC_OK)
        rc = disk_rename(disk, new_path, path);
    if (rc != RC_OK)
        goto fail_unlink;
    return RC_OK;

fail_unlink:
    (void)disk_unlink(disk, new_path); /* gives space back; the first error is the one to tell */
fail:
    diag_trail_add(trail, "make %s: %s", path, rc_text(rc));
    return rc;
}

/* RC_NOT_FOUND: there is no usable file, make one. */
static enum rc
open_file(struct journal *journal, uint32_t file_idx, int *ret_fd)
{
    struct disk *disk = journal->config.disk;
    struct journal_file_header header;
    char path[FORMAT_PATH_MAX];
    uint8_t *block = journal->slots[0].table;
    uint64_t bytes;
    size_t count;
    int fd;

    format_path_journal(path, journal->config.tile_idx, file_idx);
    enum rc rc = disk_open(disk, path, DISK_READ | DISK_WRITE | DISK_DIRECT | DISK_DSYNC, &fd);
    if (rc != RC_OK)
        return rc;
    rc = disk_size(disk, fd, &bytes);
    if (rc == RC_OK && bytes != journal->config.file_bytes)
        rc = RC_NOT_FOUND;
    if (rc == RC_OK)
        rc = disk_read(disk, fd, block, FORMAT_BLOCK_BYTES, 0, &count);
    if (rc == RC_OK)
        rc = count == FORMAT_BLOCK_BYTES ? journal_file_header_decode(block, &header) : RC_CORRUPT;
    if (rc == RC_CORRUPT)
        rc = RC_NOT_FOUND; /* recovery took what was in it: made anew */
    if (rc == RC_OK &&
        (header.tile_idx != journal->config.tile_idx || header.file_idx != file_idx ||
         header.file_bytes != bytes ||
         memcmp(header.node_uuid, journal->config.node_uuid, FORMAT_UUID_BYTES) != 0))
        rc = RC_NOT_FOUND;
    if (rc != RC_OK) {
        disk_close(disk, fd);
        return rc;
    }
    *ret_fd = fd;
    return RC_OK;
}

enum rc
journal_open_files(struct journal *journal,
                   uint64_t epoch,
                   uint64_t next_group,
                   struct diag_trail *trail)
{
    CHECK(!journal->is_open);
    CHECK(epoch != 0);
    CHECK(next_group >= 1);
    CHECK(journal_open_entry_count(journal) == 0); /* tables serve as buffers here */
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        int fd = -1;
        enum rc rc = open_file(journal, i, &fd);
        if (rc == RC_NOT_FOUND) {
            rc = make_file(journal, i, trail);
            if (rc != RC_OK)
                return rc;
            rc = open_file(journal, i, &fd);
        }
        if (rc != RC_OK) {
            diag_trail_add(trail, "journal file %u: %s", i, rc_text(rc));
            return rc;
        }
        journal->files[i] = (struct journal_file){.fd = fd, .state = JOURNAL_FILE_FREE};
    }
    /* Also when all were there: a start that was killed may have renamed without getting to its
     * sync. */
    enum rc rc = disk_sync_directory(journal->config.disk, "");
    if (rc != RC_OK) {
        diag_trail_add(trail, "sync the data directory: %s", rc_text(rc));
        return rc;
    }
    journal->epoch = epoch;
    journal->durable_through = next_group - 1;
    journal->submitted_through = next_group - 1;
    journal->is_open = true;
    return RC_OK;
}

void
journal_fini(struct journal *journal)
{
    if (journal == NULL)
        return;
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        if (journal->files[i].fd >= 0)
            disk_close(journal->config.disk, journal->files[i].fd);
        journal->files[i].fd = -1;
    }
    journal->is_open = false;
}

enum rc
journal_remove_files(struct disk *disk, uint32_t tile_idx)
{
    char path[FORMAT_PATH_MAX];

    for (uint32_t i = 0; i < 2 * JOURNAL_FILE_COUNT; i++) {
        if (i < JOURNAL_FILE_COUNT)
            format_path_journal(path, tile_idx, i);
        else
            format_path_journal_new(path, tile_idx, i - JOURNAL_FILE_COUNT);
        enum rc rc = disk_unlink(disk, path);
        if (rc != RC_OK && rc != RC_NOT_FOUND)
            return rc;
    }
    return disk_sync_directory(disk, "");
}

/* ---- reclaim ---- */

const struct journal_file *
journal_file(const struct journal *journal, uint32_t file_idx)
{
    CHECK(file_idx < JOURNAL_FILE_COUNT);
    return &journal->files[file_idx];
}

uint32_t
journal_file_of_group(const struct journal *journal, uint64_t group)
{
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        const struct journal_file *file = &journal->files[i];
        if (file->state != JOURNAL_FILE_FREE && group >= file->first_group &&
            group <= file->last_group)
            return i;
    }
    return JOURNAL_NO_FILE_IDX;
}

uint32_t
journal_fill_permille(const struct journal *journal)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        const struct journal_file *file = &journal->files[i];
        if (file->state == JOURNAL_FILE_ACTIVE)
            used += file->position;
        else if (file->state != JOURNAL_FILE_FREE)
            used += journal->config.file_bytes;
    }
    return (uint32_t)(used * 1000 / (journal->config.file_bytes * JOURNAL_FILE_COUNT));
}

/* The file that is not free and was begun longest ago. */
static uint32_t
oldest_file(const struct journal *journal)
{
    uint32_t oldest = JOURNAL_NO_FILE_IDX;

    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        const struct journal_file *file = &journal->files[i];
        if (file->state == JOURNAL_FILE_FREE)
            continue;
        if (oldest == JOURNAL_NO_FILE_IDX || file->sequence < journal->files[oldest].sequence)
            oldest = i;
    }
    return oldest;
}

uint32_t
journal_reclaim_due(const struct journal *journal)
{
    uint32_t oldest = oldest_file(journal);
    const struct journal_file *next = &journal->files[journal->next_sequence % JOURNAL_FILE_COUNT];

    if (oldest == JOURNAL_NO_FILE_IDX || journal->failure != RC_OK)
        return JOURNAL_NO_FILE_IDX;
    const struct journal_file *file = &journal->files[oldest];
    if (file->state != JOURNAL_FILE_FULL || file->last_group > journal->durable_through)
        return JOURNAL_NO_FILE_IDX;
    if (next->state == JOURNAL_FILE_FREE && journal_fill_permille(journal) <= FILL_RECLAIM_PERMILLE)
        return JOURNAL_NO_FILE_IDX;
    return oldest;
}

void
journal_release_begin(struct journal *journal, uint32_t file_idx)
{
    CHECK(file_idx < JOURNAL_FILE_COUNT);
    CHECK(file_idx == oldest_file(journal));
    CHECK(journal->files[file_idx].state == JOURNAL_FILE_FULL);
    CHECK(journal->files[file_idx].last_group <= journal->durable_through);
    journal->files[file_idx].state = JOURNAL_FILE_RELEASING;
}

void
journal_release_file(struct journal *journal, uint32_t file_idx)
{
    CHECK(file_idx < JOURNAL_FILE_COUNT);
    struct journal_file *file = &journal->files[file_idx];
    CHECK(file->state == JOURNAL_FILE_RELEASING);
    file->state = JOURNAL_FILE_FREE;
    file->first_group = 0;
    file->last_group = 0;
    file->position = 0;
}
