/* Chunks of segment files: a small cache of 128 KiB buffers, each read at most once at a time. */
#include "log/read/cold.h"

#include "engine/base/check.h"

static uint64_t
chunk_file_end(const struct segment *segment)
{
    return segment->file_bytes != 0 ? segment->file_bytes : segment->data_bytes;
}

static uint32_t
chunk_find(const struct log_cold *cold, const struct segment *segment, uint64_t position)
{
    for (uint32_t i = 0; i < cold->chunk_count; i++) {
        const struct cold_chunk *chunk = &cold->chunks[i];
        if (chunk->state != COLD_FREE && chunk->number == segment->number &&
            chunk->position == position)
            return i;
    }
    return LOG_NONE;
}

/* A free chunk, or the longest unused one that nobody looks at. */
static uint32_t
chunk_victim(const struct log_cold *cold)
{
    uint32_t victim = LOG_NONE;

    for (uint32_t i = 0; i < cold->chunk_count; i++) {
        const struct cold_chunk *chunk = &cold->chunks[i];
        if (chunk->state == COLD_FREE)
            return i;
        if (chunk->state == COLD_READING || chunk->users > 0)
            continue;
        if (victim == LOG_NONE || chunk->used < cold->chunks[victim].used)
            victim = i;
    }
    return victim;
}

static void
chunk_submit(struct log *log, uint32_t idx)
{
    struct cold_chunk *chunk = &log->cold->chunks[idx];
    struct io_request request = {
        .tag = io_tag(log->config.io_tile, LOG_TAG(LOG_TAG_COLD, idx)),
        .op = IO_READ,
        .fd = chunk->fd,
        .buffer = log->cold_memory + idx * LOG_COLD_BYTES + chunk->count,
        .bytes = chunk->wanted - chunk->count,
        .position = chunk->position + chunk->count,
    };

    chunk->is_unsent = !io_submit(log->config.io, &request);
}

static enum cold_get
chunk_begin(struct log *log, uint32_t segment_idx, uint64_t position, uint32_t *ret_chunk)
{
    struct log_cold *cold = log->cold;
    struct segment *segment = &log->segments.segments[segment_idx];
    uint64_t end = chunk_file_end(segment);
    int fd;

    if (cold->chunks_reading == LOG_COLD_READS_MAX || position >= end)
        return COLD_GET_NONE;
    uint32_t idx = chunk_victim(cold);
    if (idx == LOG_NONE)
        return COLD_GET_NONE;
    switch (files_acquire(log, segment_idx, false, &fd)) {
    case FILES_WAIT:
        return COLD_GET_NONE;
    case FILES_FAILED:
        return COLD_GET_FAILED;
    case FILES_READY:
        break;
    }
    segment->readers++;
    cold->chunks[idx] = (struct cold_chunk){
        .state = COLD_READING,
        .segment = segment_idx,
        .number = segment->number,
        .position = position,
        .wanted = (uint32_t)min_u64(LOG_COLD_BYTES, end - position),
        .fd = fd,
        .used = ++cold->tick,
    };
    cold->chunks_reading++;
    chunk_submit(log, idx);
    *ret_chunk = idx;
    return COLD_GET_WAIT;
}

enum cold_get
cold__get(struct log *log, uint32_t segment_idx, uint64_t position, uint32_t *ret_chunk)
{
    struct log_cold *cold = log->cold;
    const struct segment *segment = &log->segments.segments[segment_idx];
    uint32_t idx = chunk_find(cold, segment, position);

    if (idx != LOG_NONE && cold->chunks[idx].state == COLD_READY && cold->chunks[idx].users == 0 &&
        cold->chunks[idx].count < LOG_COLD_BYTES &&
        cold->chunks[idx].position + cold->chunks[idx].count < chunk_file_end(segment)) {
        /* The active segment has grown since: read again. */
        cold->chunks[idx].state = COLD_FREE;
        idx = LOG_NONE;
    }
    if (idx == LOG_NONE) {
        enum cold_get result = chunk_begin(log, segment_idx, position, &idx);
        if (result != COLD_GET_WAIT)
            return result;
    }
    struct cold_chunk *chunk = &cold->chunks[idx];
    if (chunk->state == COLD_FAILED) {
        if (chunk->users == 0)
            chunk->state = COLD_FREE;
        return COLD_GET_FAILED;
    }
    chunk->users++;
    chunk->used = ++cold->tick;
    *ret_chunk = idx;
    return chunk->state == COLD_READY ? COLD_GET_READY : COLD_GET_WAIT;
}

void
cold__put(struct log *log, uint32_t idx)
{
    CHECK(log->cold->chunks[idx].users > 0);
    log->cold->chunks[idx].users--;
}

void
cold__ahead(struct log *log, uint32_t segment_idx, uint64_t position)
{
    const struct segment *segment = &log->segments.segments[segment_idx];
    uint32_t idx;

    /* A growing file's last piece is not worth it: it would have to be read again. */
    if (position + LOG_COLD_BYTES > segment->data_bytes && !segment->sealed)
        return;
    if (position >= segment->data_bytes || chunk_find(log->cold, segment, position) != LOG_NONE)
        return;
    (void)chunk_begin(log, segment_idx, position, &idx);
}

void
cold__complete(struct log *log, uint32_t idx, int32_t result)
{
    struct cold_chunk *chunk = &log->cold->chunks[idx];

    CHECK(chunk->state == COLD_READING);
    if (result > 0) {
        chunk->count += (uint32_t)result;
        uint32_t whole = (uint32_t)round_down(chunk->count, FORMAT_BLOCK_BYTES);
        if (chunk->count < chunk->wanted && whole > chunk->count - (uint32_t)result) {
            chunk->count = whole; /* short: go on from the last whole block */
            chunk_submit(log, idx);
            return;
        }
    }
    log->cold->chunks_reading--;
    files_release(log, chunk->segment);
    log->segments.segments[chunk->segment].readers--;
    chunk->state = chunk->count == chunk->wanted ? COLD_READY : COLD_FAILED;
    if (chunk->state == COLD_FAILED)
        diag_warn("segment_read_failed",
                  "segment=%llu position=%llu result=%d doing=the_read_fails",
                  (unsigned long long)log->segments.segments[chunk->segment].base_offset,
                  (unsigned long long)chunk->position,
                  result);
}

void
cold__resend(struct log *log)
{
    for (uint32_t i = 0; i < log->cold->chunk_count; i++)
        if (log->cold->chunks[i].state == COLD_READING && log->cold->chunks[i].is_unsent)
            chunk_submit(log, i);
}
