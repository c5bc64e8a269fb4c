/* A window over a file: one buffer, read ahead, whole blocks. */
#include "engine/inspect/inspect.h"

#include "engine/base/check.h"

#define AHEAD_BYTES (4 * MIB)

enum rc
inspect_file_open(struct inspect_file *file,
                  struct disk *disk,
                  const char *path,
                  uint8_t *buffer,
                  uint64_t capacity)
{
    CHECK(capacity >= AHEAD_BYTES);
    CHECK(capacity % FORMAT_BLOCK_BYTES == 0);
    *file = (struct inspect_file){
        .disk = disk,
        .fd = -1,
        .buffer = buffer,
        .capacity = capacity,
        .ahead_bytes = AHEAD_BYTES,
    };
    enum rc rc = disk_open(disk, path, DISK_READ, &file->fd);
    if (rc != RC_OK) {
        file->fd = -1;
        return rc;
    }
    rc = disk_size(disk, file->fd, &file->bytes);
    if (rc != RC_OK)
        inspect_file_close(file);
    return rc;
}

const uint8_t *
inspect_file_view(struct inspect_file *file, uint64_t position, uint64_t bytes)
{
    size_t count = 0;

    CHECK(position % FORMAT_BLOCK_BYTES == 0);
    CHECK(bytes <= file->capacity);
    if (position > file->bytes || bytes > file->bytes - position)
        return NULL;
    if (position >= file->window_position &&
        position + bytes <= file->window_position + file->window_bytes)
        return file->buffer + (position - file->window_position);
    uint64_t want = min_u64(max_u64(bytes, file->ahead_bytes), file->bytes - position);
    file->window_bytes = 0;
    enum rc rc = disk_read(file->disk, file->fd, file->buffer, want, position, &count);
    if (rc == RC_OK && count < bytes)
        rc = RC_IO_ERROR; /* it shrank under us */
    if (rc != RC_OK) {
        file->rc = rc;
        return NULL;
    }
    file->read_bytes += count;
    file->window_position = position;
    file->window_bytes = count;
    return file->buffer;
}

void
inspect_file_close(struct inspect_file *file)
{
    if (file->fd >= 0)
        disk_close(file->disk, file->fd);
    file->fd = -1;
}
