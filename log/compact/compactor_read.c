/* Reading sealed segments a window at a time, and what their footers say of aborted transactions.
 * Every batch is checked (CRC, prefixes, counts) before anybody looks at it. */
#include "log/compact/compactor_inner.h"

#include "engine/base/check.h"

void
compactor__reader_set(struct compactor *compactor, uint32_t input)
{
    compactor__reader_close(compactor);
    compactor->reader = (struct compactor_reader){.input = input, .fd = -1};
}

void
compactor__reader_close(struct compactor *compactor)
{
    if (compactor->reader.fd >= 0)
        disk_close(compactor->config.disk, compactor->reader.fd);
    compactor->reader.fd = -1;
}

static enum rc
compactor_fail_at(struct compactor *compactor, enum rc rc, uint64_t position)
{
    struct compact_task *task = &compactor->link->task;

    task->failed_base = task->inputs[compactor->reader.input].base_offset;
    task->failed_position = position;
    return rc;
}

static enum rc
compactor_open_input(struct compactor *compactor)
{
    const struct compact_task *task = &compactor->link->task;
    const struct compact_input *input = &task->inputs[compactor->reader.input];
    char path[FORMAT_PATH_MAX];

    if (compactor->reader.fd >= 0)
        return RC_OK;
    format_path_segment(path, task->incarnation, input->base_offset, input->file_generation);
    enum rc rc = disk_open(
        compactor->config.disk, path, DISK_READ | DISK_DIRECT, &compactor->reader.fd);
    if (rc != RC_OK)
        compactor->reader.fd = -1;
    return rc == RC_NOT_FOUND ? RC_CORRUPT : rc;
}

static enum rc
compactor_read_at(struct compactor *compactor, uint64_t position, uint64_t count)
{
    size_t got = 0;

    CHECK(count <= COMPACTOR_READ_BYTES);
    enum rc rc = compactor_open_input(compactor);
    if (rc == RC_OK)
        rc = disk_read(compactor->config.disk,
                       compactor->reader.fd,
                       compactor->read,
                       (size_t)count,
                       position,
                       &got);
    if (rc == RC_OK && got != count)
        rc = RC_CORRUPT;
    compactor->spent_bytes += got;
    compactor->link->task.bytes_read += got;
    return rc == RC_OK ? RC_OK : compactor_fail_at(compactor, rc, position);
}

/* All batches of one run in memory. */
static enum rc
compactor_walk(struct compactor *compactor,
               const struct run_header *header,
               const uint8_t *batches,
               compactor_each each)
{
    struct run_walk walk;
    const uint8_t *batch;
    uint32_t bytes;
    enum rc rc;

    run_walk_begin(&walk, header, batches);
    while ((rc = run_walk_next(&walk, header, &batch, &bytes)) == RC_OK) {
        struct record_batch_info info;
        rc = record_batch_read(batch, bytes, &info);
        CHECK(rc == RC_OK); /* the walk has read it */
        rc = each(compactor, batch, &info);
        if (rc != RC_OK)
            return rc;
    }
    return rc == RC_NOT_FOUND ? RC_OK : RC_CORRUPT;
}

enum rc
compactor__window(struct compactor *compactor, compactor_each each)
{
    struct compactor_reader *reader = &compactor->reader;
    const struct compact_task *task = &compactor->link->task;
    const struct compact_input *input = &task->inputs[reader->input];
    struct run_place place = {.incarnation = task->incarnation,
                              .segment_base_offset = input->base_offset};
    uint64_t begin = reader->position;
    uint64_t want = min_u64(COMPACTOR_WINDOW_BYTES, input->data_bytes - begin);

    if (want == 0)
        return RC_NOT_FOUND;
    enum rc rc = compactor_read_at(compactor, begin, want);
    while (rc == RC_OK && reader->position < begin + want) {
        struct run_header header;
        uint64_t at = reader->position - begin;
        place.position = reader->position;
        if (run_header_check(compactor->read + at, &place, &header) != RC_OK)
            return compactor_fail_at(compactor, RC_CORRUPT, reader->position);
        uint64_t bytes = run_bytes(header.batch_bytes);
        if (at + bytes > want && at > 0)
            return RC_OK; /* from its own start, in the next window */
        if (at + bytes > want) {
            if (bytes > COMPACTOR_READ_BYTES || begin + bytes > input->data_bytes)
                return compactor_fail_at(compactor, RC_CORRUPT, reader->position);
            rc = compactor_read_at(compactor, begin, bytes);
        }
        if (rc == RC_OK)
            rc = compactor_walk(compactor, &header, compactor->read + at + RUN_HEADER_BYTES, each);
        if (rc == RC_CORRUPT)
            return compactor_fail_at(compactor, rc, reader->position);
        if (rc == RC_OK)
            reader->position += bytes;
    }
    return rc;
}

/* ---- transactions ---- */

enum rc
compactor__read_aborted(struct compactor *compactor, uint32_t input_idx)
{
    const struct compact_task *task = &compactor->link->task;
    const struct compact_input *input = &task->inputs[input_idx];
    struct segment_trailer trailer;

    compactor->input_aborted[input_idx] = 0;
    compactor__reader_set(compactor, input_idx);
    uint64_t position = input->file_bytes - FORMAT_BLOCK_BYTES;
    enum rc rc = compactor_read_at(compactor, position, FORMAT_BLOCK_BYTES);
    if (rc == RC_OK &&
        trailer_check(
            compactor->read, task->incarnation, input->base_offset, input->file_bytes, &trailer) !=
            RC_OK)
        return compactor_fail_at(compactor, RC_CORRUPT, position);
    if (rc != RC_OK)
        return rc;
    const struct section *section = trailer_section(&trailer, SECTION_ABORTED);
    if (section == NULL || section->bytes == 0)
        return RC_OK;
    uint64_t count = section->bytes / sizeof(struct aborted_entry);
    if (section->entry_bytes != sizeof(struct aborted_entry))
        return compactor_fail_at(compactor, RC_CORRUPT, section->position);
    if (count > COMPACT_ABORTED_MAX - compactor->aborted_count)
        return compactor_fail_at(compactor, RC_LIMIT, section->position);
    uint64_t begin = round_down(section->position, FORMAT_BLOCK_BYTES);
    uint64_t end = round_up(section->position + section->bytes, FORMAT_BLOCK_BYTES);
    rc = compactor_read_at(compactor, begin, end - begin);
    if (rc != RC_OK)
        return rc;
    const uint8_t *at = compactor->read + (section->position - begin);
    if (!section_is_intact(section, at))
        return compactor_fail_at(compactor, RC_CORRUPT, section->position);
    bytes_copy(compactor->aborted + compactor->aborted_count, section->bytes, at, section->bytes);
    compactor->aborted_count += (uint32_t)count;
    compactor->input_aborted[input_idx] = (uint32_t)count;
    return RC_OK;
}

enum rc
compactor__add_aborted(struct compactor *compactor)
{
    const struct compact_task *task = &compactor->link->task;
    struct aborted_entry *entries = compactor->aborted;

    for (uint32_t i = 0; i < task->aborted_count; i++) {
        const struct aborted_entry *told = &task->aborted[i];
        uint32_t at = compactor->aborted_count;
        /* Mostly behind all others; not when older segments have footers without a list. */
        while (at > 0 && entries[at - 1].last_offset > told->last_offset)
            at--;
        if (at > 0 && entries[at - 1].last_offset == told->last_offset)
            continue;
        if (compactor->aborted_count == COMPACT_ABORTED_MAX)
            return RC_LIMIT;
        for (uint32_t behind = compactor->aborted_count++; behind > at; behind--)
            entries[behind] = entries[behind - 1];
        entries[at] = *told;
    }
    return RC_OK;
}

const struct aborted_entry *
compactor__aborted(const struct compactor *compactor, int64_t producer_id, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = compactor->aborted_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compactor->aborted[middle].last_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    /* Entries stand by their ends, so any behind may span the offset. */
    for (; low < compactor->aborted_count; low++) {
        const struct aborted_entry *entry = &compactor->aborted[low];
        if (entry->producer_id == producer_id && entry->first_offset <= offset)
            return entry;
    }
    return NULL;
}

struct compactor_open *
compactor__open(struct compactor *compactor, int64_t producer_id)
{
    uint64_t mixed = (uint64_t)producer_id * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(mixed >> 40) & (COMPACTOR_OPEN_MAX - 1);

    for (;; at = (at + 1) & (COMPACTOR_OPEN_MAX - 1)) {
        struct compactor_open *open = &compactor->open[at];
        if (open->is_used && open->producer_id == producer_id)
            return open;
        if (open->is_used)
            continue;
        if (compactor->open_count == COMPACTOR_OPEN_MAX / 2)
            return NULL;
        compactor->open_count++;
        *open = (struct compactor_open){
            .producer_id = producer_id, .first_offset = UINT64_MAX, .is_used = true};
        return open;
    }
}

void
compactor__open_clear(struct compactor *compactor)
{
    memset(compactor->open, 0, COMPACTOR_OPEN_MAX * sizeof(*compactor->open));
    compactor->open_count = 0;
}
