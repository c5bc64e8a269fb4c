/* Checkpoint files: two generations in turn. The file of generation g is g % 2, so the one being
 * written is never the one that counts. */
#include "log/checkpoint/checkpoint.h"

#include "engine/base/check.h"

#define FILE_COUNT 2u

/* Opens the file of a parity. RC_OK with fd -1: it is missing or empty, which is the same. */
static enum rc
open_file(struct disk *disk, uint32_t tile_idx, uint32_t parity, int *ret_fd, uint64_t *ret_bytes)
{
    char path[FORMAT_PATH_MAX];

    *ret_fd = -1;
    *ret_bytes = 0;
    format_path_checkpoint(path, tile_idx, parity);
    enum rc rc = disk_open(disk, path, DISK_READ, ret_fd);
    if (rc == RC_NOT_FOUND) {
        *ret_fd = -1;
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    rc = disk_size(disk, *ret_fd, ret_bytes);
    if (rc != RC_OK || *ret_bytes == 0) {
        disk_close(disk, *ret_fd);
        *ret_fd = -1;
    }
    return rc;
}

enum rc
checkpoint_buffer_bytes(struct disk *disk, uint32_t tile_idx, uint64_t *ret_bytes)
{
    uint64_t largest = 0;

    for (uint32_t parity = 0; parity < FILE_COUNT; parity++) {
        uint64_t bytes;
        int fd;
        enum rc rc = open_file(disk, tile_idx, parity, &fd, &bytes);
        if (rc != RC_OK)
            return rc;
        if (fd >= 0)
            disk_close(disk, fd);
        largest = max_u64(largest, bytes);
    }
    *ret_bytes = round_up(largest, FORMAT_BLOCK_BYTES);
    return RC_OK;
}

/* Reads one file into the buffer and checks it. RC_NOT_FOUND: not there. RC_CORRUPT: there, not
 * whole. */
static enum rc
load_file(const struct checkpoint_source *source,
          uint32_t parity,
          struct checkpoint_decoder *ret_decoder,
          uint64_t *ret_bytes)
{
    uint64_t bytes;
    size_t count = 0;
    int fd;

    enum rc rc = open_file(source->disk, source->tile_idx, parity, &fd, &bytes);
    if (rc != RC_OK)
        return rc;
    if (fd < 0)
        return RC_NOT_FOUND;
    if (bytes > CHECKPOINT_BYTES_MAX)
        rc = RC_CORRUPT;
    else if (bytes > source->capacity)
        rc = RC_NO_MEMORY;
    else
        rc = disk_read(source->disk, fd, source->buffer, bytes, 0, &count);
    disk_close(source->disk, fd);
    if (rc == RC_OK)
        rc = checkpoint_decode(ret_decoder, source->buffer, count);
    /* A whole file under another name is not this tile's, whoever copied it there. */
    if (rc == RC_OK && (ret_decoder->header.tile_idx != source->tile_idx ||
                        (ret_decoder->header.generation & 1) != parity))
        rc = RC_CORRUPT;
    *ret_bytes = count;
    return rc;
}

enum rc
checkpoint_load(const struct checkpoint_source *source,
                struct checkpoint_decoder *ret_decoder,
                struct checkpoint_found *ret_found)
{
    struct checkpoint_found found = {0};
    struct checkpoint_decoder decoder;
    uint32_t best = FILE_COUNT;
    uint64_t bytes = 0;

    for (uint32_t parity = 0; parity < FILE_COUNT; parity++) {
        enum rc rc = load_file(source, parity, &decoder, &bytes);
        if (rc == RC_NOT_FOUND)
            continue;
        if (rc != RC_OK && rc != RC_CORRUPT)
            return rc;
        found.file_count++;
        found.bad_count += rc == RC_CORRUPT ? 1 : 0;
        if (rc == RC_OK && decoder.header.generation > found.generation) {
            found.generation = decoder.header.generation;
            found.bytes = bytes;
            best = parity;
        }
    }
    found.next_generation = found.generation + 1;
    *ret_found = found;
    if (best == FILE_COUNT)
        return found.file_count == 0 ? RC_NOT_FOUND : RC_CORRUPT;
    /* The buffer holds what was read last. Reading again may fail, unlike the first time: then that
     * is the answer. */
    return load_file(source, best, ret_decoder, &bytes);
}

enum rc
checkpoint_store(
    struct disk *disk, uint32_t tile_idx, uint64_t generation, const uint8_t *bytes, uint64_t count)
{
    char path[FORMAT_PATH_MAX];
    int fd;

    CHECK(generation >= 1);
    CHECK(count % FORMAT_BLOCK_BYTES == 0);
    CHECK(count > 0);
    format_path_checkpoint(path, tile_idx, generation);
    enum rc rc = disk_open(disk, path, DISK_READ | DISK_WRITE, &fd);
    if (rc == RC_NOT_FOUND)
        rc = disk_open(disk, path, DISK_READ | DISK_WRITE | DISK_CREATE, &fd);
    if (rc != RC_OK)
        return rc;
    rc = disk_write(disk, fd, bytes, count, 0);
    if (rc == RC_OK)
        rc = disk_truncate(disk, fd, count);
    if (rc == RC_OK)
        rc = disk_sync(disk, fd);
    disk_close(disk, fd);
    return rc == RC_OK ? disk_sync_directory(disk, "") : rc;
}

enum rc
checkpoint_remove(struct disk *disk, uint32_t tile_idx)
{
    char path[FORMAT_PATH_MAX];

    for (uint32_t parity = 0; parity < FILE_COUNT; parity++) {
        format_path_checkpoint(path, tile_idx, parity);
        enum rc rc = disk_unlink(disk, path);
        if (rc != RC_OK && rc != RC_NOT_FOUND)
            return rc;
    }
    return disk_sync_directory(disk, "");
}
