/* Walking runs: header, prefixes and batch CRCs are checked before the requester's memory counts as
 * filled. */
#include "log/read/cold.h"
#include "log/read/skips.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/record/record_batch.h"

static enum cold_walk
walk_fail(struct cold_read *read, enum rc rc)
{
    read->rc = rc;
    read->bytes = 0;
    return COLD_WALK_DONE;
}

/* Is this the batch that is looked for, or one behind it? */
static bool
walk_is_wanted(const struct cold_read *read, const uint8_t *batch)
{
    uint64_t last = record_batch_base_offset(batch) +
                    (uint32_t)record_batch_last_offset_delta(batch);

    if (last < read->target)
        return false;
    /* Only the first batch is chosen by time. */
    return read->kind != COLD_FIND || read->bytes > 0 ||
           record_batch_max_timestamp(batch) >= read->time_ms;
}

/* May a batch of so many bytes be copied behind what is there? False ends the read; read->rc says
 * when that is an error. */
static bool
walk_has_room(struct cold_read *read, uint64_t batch_bytes)
{
    const struct log_read_request *request = &read->request;
    uint32_t room = read__room(request);
    bool first = read->bytes == 0;

    if (read->bytes + batch_bytes > room) {
        if (first && (request->whole_first || batch_bytes <= request->max_bytes)) {
            read->rc = RC_NO_MEMORY;
            read->batch_bytes = (uint32_t)batch_bytes + request->dst_bytes - room;
        }
        return false;
    }
    return read->bytes + batch_bytes <= request->max_bytes || (first && request->whole_first);
}

static void
walk_given(struct cold_read *read, uint64_t base_offset, uint64_t last_offset, uint64_t bytes)
{
    if (read->base_offset == UINT64_MAX)
        read->base_offset = base_offset;
    read->next_offset = last_offset + 1;
    read->target = read->next_offset;
    read->bytes += (uint32_t)bytes;
}

/* One run that stands wholly in the chunk. Its bytes count only when the whole run has proved
 * right. */
static enum cold_walk
walk_run(struct cold_read *read, const struct run_header *header, const uint8_t *batches)
{
    struct cold_read before = *read;
    struct run_walk walk;
    const uint8_t *batch;
    uint32_t bytes;
    bool full = false;
    enum rc rc;

    run_walk_begin(&walk, header, batches);
    while ((rc = run_walk_next(&walk, header, &batch, &bytes)) == RC_OK) {
        uint64_t base = record_batch_base_offset(batch);
        uint64_t last = base + (uint32_t)record_batch_last_offset_delta(batch);
        if (full || !walk_is_wanted(read, batch))
            continue;
        if (last >= read->limit || !walk_has_room(read, bytes)) {
            full = true;
            continue;
        }
        bytes_copy(
            read->request.dst + read->bytes, read->request.dst_bytes - read->bytes, batch, bytes);
        walk_given(read, base, last, bytes);
        full = read->kind == COLD_FIND;
    }
    if (rc != RC_NOT_FOUND) {
        *read = before;
        return walk_fail(read, RC_CORRUPT);
    }
    if (full)
        return COLD_WALK_DONE;
    read->position += run_bytes(header->batch_bytes);
    return COLD_WALK_MORE;
}

/* A run of one batch longer than a chunk: copied piece by piece, its CRC on the way. */
static enum cold_walk
walk_begin_long(struct cold_read *read, const struct run_header *header, const uint8_t *batch)
{
    if (run_prefix_crc(0, batch) != header->prefix_crc ||
        record_batch_bytes(batch) != header->batch_bytes ||
        record_batch_base_offset(batch) != header->base_offset)
        return walk_fail(read, RC_CORRUPT);
    if (!walk_is_wanted(read, batch)) {
        read->position += run_bytes(header->batch_bytes);
        return COLD_WALK_MORE;
    }
    if (header->last_offset >= read->limit || !walk_has_room(read, header->batch_bytes))
        return COLD_WALK_DONE;
    read->step = COLD_BATCH;
    read->batch_bytes = header->batch_bytes;
    read->batch_left = header->batch_bytes;
    read->batch_crc = 0;
    read->batch_crc_wanted = record_batch_crc(batch);
    read->position += RUN_HEADER_BYTES;
    return COLD_WALK_MORE;
}

static enum cold_walk
walk_long(struct cold_read *read, const struct cold_chunk *chunk, const uint8_t *bytes)
{
    uint64_t at = read->position - chunk->position;
    uint64_t here = min_u64(chunk->count - at, read->batch_left);
    uint64_t done = read->batch_bytes - read->batch_left;
    uint64_t uncovered = done < RECORD_BATCH_PREFIX_BYTES ? RECORD_BATCH_PREFIX_BYTES - done : 0;

    if (at >= chunk->count)
        return COLD_WALK_CHUNK;
    bytes_copy(read->request.dst + read->bytes + done,
               read->request.dst_bytes - read->bytes - done,
               bytes + at,
               here);
    if (here > uncovered)
        read->batch_crc = hash_crc32c(read->batch_crc, bytes + at + uncovered, here - uncovered);
    read->batch_left -= here;
    read->position += here;
    if (read->batch_left > 0)
        return COLD_WALK_CHUNK;
    if (read->batch_crc != read->batch_crc_wanted)
        return walk_fail(read, RC_CORRUPT);
    const uint8_t *batch = read->request.dst + read->bytes;
    uint64_t base = record_batch_base_offset(batch);
    walk_given(
        read, base, base + (uint32_t)record_batch_last_offset_delta(batch), read->batch_bytes);
    read->position = round_up(read->position, FORMAT_BLOCK_BYTES);
    read->step = COLD_RUNS;
    return read->kind == COLD_FIND ? COLD_WALK_DONE : COLD_WALK_MORE;
}

enum cold_walk
cold__walk(struct log *log, struct cold_read *read)
{
    const struct segment *segment = &log->segments.segments[read->segment];
    const struct cold_chunk *chunk = &log->cold->chunks[read->chunk];
    const uint8_t *bytes = cold__bytes(log, read->chunk);
    struct run_header header;
    struct run_place place = {
        .incarnation = log->partitions[read->request.slot].incarnation,
        .segment_base_offset = segment->base_offset,
        .position = read->position,
    };

    if (read->step == COLD_BATCH)
        return walk_long(read, chunk, bytes);
    CHECK(read->position < segment->data_bytes);
    uint64_t at = read->position - chunk->position;
    if (read->position < chunk->position || at + RUN_HEADER_BYTES > chunk->count)
        return COLD_WALK_CHUNK;
    enum rc rc = run_header_check(bytes + at, &place, &header);
    if (rc != RC_OK)
        return walk_fail(read, rc == RC_NOT_FOUND ? RC_CORRUPT : rc);
    if (header.last_offset < read->target) {
        read->position += run_bytes(header.batch_bytes);
        return COLD_WALK_MORE;
    }
    if (header.base_offset >= read->limit)
        return COLD_WALK_DONE;
    if (at + RUN_HEADER_BYTES + header.batch_bytes <= chunk->count)
        return walk_run(read, &header, bytes + at + RUN_HEADER_BYTES);
    if (at > 0)
        return COLD_WALK_CHUNK; /* from the run's own start */
    if (header.batch_count == 1)
        return walk_begin_long(read, &header, bytes + RUN_HEADER_BYTES);
    return walk_fail(read, RC_CORRUPT);
}

uint64_t
cold__from_footer(const struct log *log,
                  const struct cold_read *read,
                  const struct cold_chunk *chunk,
                  const uint8_t *bytes)
{
    const struct segment *segment = &log->segments.segments[read->segment];
    struct segment_trailer trailer;
    uint64_t delta = read->target > segment->base_offset ? read->target - segment->base_offset : 0;

    if (chunk->count < FORMAT_BLOCK_BYTES ||
        trailer_check(bytes + chunk->count - FORMAT_BLOCK_BYTES,
                      log->partitions[read->request.slot].incarnation,
                      segment->base_offset,
                      segment->file_bytes,
                      &trailer) != RC_OK)
        return 0; /* without an index: from the start */
    const struct section *times = trailer_section(&trailer, SECTION_TIME_INDEX);
    const struct section *offsets = trailer_section(&trailer, SECTION_OFFSET_INDEX);
    if (read->kind == COLD_FIND && times != NULL && times->position >= chunk->position) {
        const uint8_t *at = bytes + (times->position - chunk->position);
        if (times->position + times->bytes <= segment->file_bytes && section_is_intact(times, at))
            delta = max_u64(
                delta,
                index_time_section_find((const struct index_time_entry *)(const void *)at,
                                        (uint32_t)(times->bytes / sizeof(struct index_time_entry)),
                                        read->time_ms));
    }
    if (offsets == NULL || offsets->position < chunk->position ||
        offsets->position + offsets->bytes > segment->file_bytes)
        return 0;
    const uint8_t *at = bytes + (offsets->position - chunk->position);
    if (!section_is_intact(offsets, at))
        return 0;
    uint64_t position = index_section_find(
        (const struct index_offset_entry *)(const void *)at,
        (uint32_t)(offsets->bytes / sizeof(struct index_offset_entry)),
        (uint32_t)min_u64(delta, UINT32_MAX));
    return position % FORMAT_BLOCK_BYTES == 0 && position < segment->data_bytes ? position : 0;
}
