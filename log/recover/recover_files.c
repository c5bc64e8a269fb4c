/* What stands on the disk of one partition: its manifest, its directory, its active segment; and
 * directories of none. */
#include "log/recover/recover_inner.h"

#include "engine/base/check.h"

#include <stdio.h>
#include <string.h>

/* Reads the manifest; *ret_segments stays NULL when there is none. */
static enum rc
recover_read_manifest(struct recover *recover,
                      const struct partition *partition,
                      struct manifest_header *ret_header,
                      const struct manifest_segment **ret_segments)
{
    char path[FORMAT_PATH_MAX];
    uint64_t bytes;
    size_t count;
    int fd;

    format_path_manifest(path, partition->incarnation);
    enum rc rc = disk_open(recover->disk, path, DISK_READ, &fd);
    if (rc == RC_NOT_FOUND)
        return partition->manifest_generation == 0 ? RC_OK : RC_CORRUPT;
    if (rc != RC_OK)
        return rc;
    rc = disk_size(recover->disk, fd, &bytes);
    if (rc == RC_OK && bytes > recover->manifest_bytes)
        rc = RC_LIMIT;
    if (rc == RC_OK)
        rc = disk_read(recover->disk, fd, recover->manifest, (size_t)bytes, 0, &count);
    disk_close(recover->disk, fd);
    if (rc == RC_OK)
        rc = manifest_decode(
            recover->manifest, count, partition->incarnation, ret_header, ret_segments);
    if (rc == RC_OK && ret_header->generation < partition->manifest_generation)
        rc = RC_CORRUPT;
    return rc;
}

static enum rc
recover_rewrite_manifest(struct recover *recover,
                         const struct partition *partition,
                         const struct manifest_header *header)
{
    char path[FORMAT_PATH_MAX];

    format_path_manifest(path, partition->incarnation);
    return disk_replace_file(recover->disk, path, recover->manifest, manifest_bytes(header));
}

static bool
recover_add_sealed(struct log *log,
                   struct partition *partition,
                   const struct manifest_segment *listed,
                   const struct manifest_aborted *aborted_or_null)
{
    uint32_t at = segment_push(
        &log->segments, &partition->segments, partition_slot(log, partition), listed->base_offset);

    if (at == SEGMENT_NONE)
        return false;
    struct segment *segment = &log->segments.segments[at];
    segment->next_offset = listed->next_offset;
    segment->data_bytes = listed->data_bytes;
    segment->file_bytes = listed->file_bytes;
    segment->batch_bytes = listed->batch_bytes;
    segment->max_timestamp_ms = listed->max_timestamp_ms;
    segment->sealed_ms = listed->sealed_ms;
    segment->created_ms = listed->sealed_ms;
    segment->trailer_crc = listed->trailer_crc;
    segment->file_generation = listed->file_generation;
    partition->compact_generation = max_u32(partition->compact_generation, listed->file_generation);
    segment->sealed = true;
    segment->is_listed = true;
    if (aborted_or_null != NULL) {
        segment->aborted_count = aborted_or_null->count;
        segment->aborted_first = aborted_or_null->first_offset;
    }
    if (listed->max_timestamp_ms > partition->max_timestamp_ms) {
        partition->max_timestamp_ms = listed->max_timestamp_ms;
        partition->max_timestamp_offset = listed->base_offset;
    }
    return true;
}

/* R8: what the manifest lists is sealed and durable; the active segment begins behind it. The next
 * offset is the list's end even when the start has been raised above it: the journal holds what
 * follows, and its batches are whole while a start may lie inside one. */
static void
recover_go_behind(struct recover *recover,
                  struct partition *partition,
                  const struct manifest_segment *last)
{
    if (last->next_offset <= partition->synced.segment_base_offset) /* R21: not by the base */
        return;
    recover->active_is_new = true;
    partition->synced = (struct partition_mark){
        .segment_base_offset = last->next_offset,
        .next_offset = last->next_offset,
        .max_timestamp_ms = -1,
        .created_ms = last->sealed_ms,
    };
}

static enum rc
recover_begin_active(struct log *log, struct partition *partition)
{
    const struct partition_mark *mark = &partition->synced;

    if (!partition_begin_segment(log, partition, mark->segment_base_offset))
        return RC_LIMIT;
    struct segment *active = partition_active(log, partition);
    active->next_offset = mark->next_offset;
    active->data_bytes = mark->position;
    active->batch_bytes = mark->batch_bytes;
    active->max_timestamp_ms = mark->max_timestamp_ms;
    active->first_timestamp_ms = mark->max_timestamp_ms;
    active->max_timestamp_offset = mark->max_timestamp_offset;
    active->created_ms = mark->created_ms;
    active->record_count = mark->next_offset - mark->segment_base_offset;
    if (mark->max_timestamp_ms > partition->max_timestamp_ms) {
        partition->max_timestamp_ms = mark->max_timestamp_ms;
        partition->max_timestamp_offset = mark->max_timestamp_offset;
    }
    partition->write_position = mark->position;
    partition->next_offset = mark->next_offset;
    partition->durable_offset = mark->next_offset;
    partition->flushed_offset = mark->next_offset;
    return RC_OK;
}

/* The size of a segment's file in the listing, UINT64_MAX when it is not there. Marks it as known.
 */
static uint64_t
recover_listed_bytes(struct recover *recover, size_t count, const struct segment *segment)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t base_offset;
        uint32_t generation;
        if (!format_parse_segment(recover->entries[i].name, &base_offset, &generation))
            continue;
        if (base_offset != segment->base_offset || generation != segment->file_generation)
            continue;
        recover->entries[i].is_directory = true; /* known: stays */
        return recover->entries[i].bytes;
    }
    return UINT64_MAX;
}

/* Files of no segment (half-made ones, or rolled to after the checkpoint) go: their data is in the
 * journal. */
static enum rc
recover_remove_rest(struct recover *recover, const char *directory, size_t count)
{
    char path[2 * DISK_PATH_MAX];

    for (size_t i = 0; i < count; i++) {
        const struct disk_entry *entry = &recover->entries[i];
        if (entry->is_directory || strcmp(entry->name, "manifest") == 0)
            continue;
        int bytes = snprintf(path, sizeof(path), "%s/%s", directory, entry->name);
        if (bytes < 0 || (size_t)bytes >= DISK_PATH_MAX)
            return RC_INVALID;
        enum rc rc = disk_unlink(recover->disk, path);
        if (rc != RC_OK)
            return rc;
        recover->report.files_removed++;
    }
    return RC_OK;
}

static enum rc
recover_create_active(struct recover *recover, struct log *log, struct partition *partition)
{
    char path[FORMAT_PATH_MAX];
    char directory[FORMAT_PATH_MAX];
    int fd;

    format_path_segment(
        path, partition->incarnation, partition_active(log, partition)->base_offset, 0);
    format_path_partition(directory, partition->incarnation);
    enum rc rc = disk_open(recover->disk, path, DISK_WRITE | DISK_CREATE, &fd);
    if (rc == RC_EXISTS) {
        /* Left by a process whose directory sync may have failed: its name is not to be trusted. */
        rc = disk_unlink(recover->disk, path);
        if (rc == RC_OK)
            rc = disk_open(recover->disk, path, DISK_WRITE | DISK_CREATE, &fd);
    }
    if (rc != RC_OK)
        return rc;
    disk_close(recover->disk, fd);
    return disk_sync_directory(recover->disk, directory);
}

/* R16. Begins a new active segment behind the one that is gone. */
static void
recover_pass_gone(struct log *log, struct partition *partition)
{
    struct segment *active = partition_active(log, partition);

    partition->gone_below = active->next_offset;
    active->base_offset = active->next_offset;
    active->data_bytes = 0;
    active->batch_bytes = 0;
    active->record_count = 0;
    active->max_timestamp_ms = -1;
    active->first_timestamp_ms = -1;
    partition->write_position = 0;
    partition->synced = partition_mark_now(log, partition);
}

/* R18. What stands behind the durable position goes, size and all: a sync of the last process
 * failed, so the kernel may believe to have made that size durable and never write it again. The
 * file grows anew with its next batches. Only then: a cut costs 9 ms per file on ext4. */
static enum rc
recover_cut_active(struct recover *recover, struct log *log, struct partition *partition)
{
    const struct segment *active = partition_active(log, partition);
    char path[FORMAT_PATH_MAX];
    int fd;

    format_path_segment(path, partition->incarnation, active->base_offset, 0);
    enum rc rc = disk_open(recover->disk, path, DISK_WRITE, &fd);
    if (rc != RC_OK)
        return rc;
    rc = disk_truncate(recover->disk, fd, active->data_bytes);
    disk_close(recover->disk, fd);
    partition->allocated = active->data_bytes;
    return rc;
}

static enum rc
recover_check_files(struct recover *recover,
                    struct log *log,
                    struct partition *partition,
                    bool is_newer)
{
    char directory[FORMAT_PATH_MAX];
    size_t count;

    format_path_partition(directory, partition->incarnation);
    enum rc rc = disk_list(
        recover->disk, directory, recover->entries, recover->entry_capacity, &count);
    if (rc == RC_NOT_FOUND) {
        recover__halt(recover, partition, "directory is missing", 0);
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    if (count > recover->entry_capacity)
        return RC_LIMIT;
    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        const struct segment *segment = &log->segments.segments[at];
        uint64_t bytes = recover_listed_bytes(recover, count, segment);
        if (bytes == UINT64_MAX && !segment->sealed && segment->data_bytes > 0 && is_newer) {
            recover_pass_gone(log, partition);
            recover->active_is_new = true;
            bytes = recover_listed_bytes(recover, count, segment);
        }
        if (segment->sealed) {
            if (bytes != segment->file_bytes)
                recover__halt(
                    recover, partition, "sealed segment missing or cut", segment->base_offset);
            continue;
        }
        if (segment->data_bytes == 0 && (bytes == UINT64_MAX || recover->active_is_new)) {
            rc = recover_create_active(recover, log, partition);
            if (rc != RC_OK)
                return rc;
            bytes = 0;
        }
        if (bytes == UINT64_MAX || bytes < segment->data_bytes) {
            recover__halt(
                recover, partition, "active segment missing or cut", segment->base_offset);
            bytes = segment->data_bytes;
        }
        partition->allocated = round_down(bytes, FORMAT_BLOCK_BYTES);
        if (bytes > segment->data_bytes && partition->state == PARTITION_OPEN &&
            recover->was_fenced) { /* R18 */
            rc = recover_cut_active(recover, log, partition);
            if (rc != RC_OK)
                return rc;
        }
    }
    if (partition->state == PARTITION_HALTED)
        return RC_OK; /* leave everything for those who look */
    return recover_remove_rest(recover, directory, count);
}

enum rc
recover__attach(struct recover *recover, struct log *log, struct partition *partition)
{
    const struct manifest_segment *listed = NULL;
    struct manifest_header header = {0};

    recover->active_is_new = false;
    recover__apply_mark(recover, partition);
    enum rc rc = recover_read_manifest(recover, partition, &header, &listed);

    if (rc == RC_CORRUPT || rc == RC_NEWER_FORMAT) {
        recover__halt(recover, partition, "manifest missing, too old or damaged", 0); /* R7 */
    } else if (rc != RC_OK) {
        diag_trail_add(recover->trail,
                       "manifest of partition %llx",
                       (unsigned long long)partition->incarnation);
        return rc;
    } else if (listed != NULL && header.segment_count > 0) {
        const struct manifest_aborted *aborted = manifest_aborted(&header, listed);
        for (uint32_t i = 0; i < header.segment_count; i++)
            if (!recover_add_sealed(
                    log, partition, &listed[i], aborted == NULL ? NULL : &aborted[i]))
                return RC_LIMIT;
        transaction_forget_listed(log, partition, UINT64_MAX); /* R23 */
        recover_go_behind(recover, partition, &listed[header.segment_count - 1]);
        if (header.cleaned_count > 0)
            partition->cleaned_offset = listed[header.cleaned_count - 1].next_offset;
    }
    bool is_newer = header.generation > partition->manifest_generation;
    rc = RC_OK;
    if (is_newer) {
        /* Seen, but perhaps only by the page cache: a sync of the last process may have failed. It
         * is written again before anything relies on it. */
        partition->manifest_generation = header.generation;
        rc = recover_rewrite_manifest(recover, partition, &header);
    }
    if (rc == RC_OK)
        rc = recover_begin_active(log, partition);
    if (rc == RC_OK)
        rc = recover_check_files(recover, log, partition, is_newer);
    if (rc == RC_OK)
        rc = recover__check_marked(recover, log, partition);
    return rc;
}

/* A partition that was made after the last checkpoint is named by the journal alone. When that is
 * corrupt, a directory of no known partition may hold acknowledged records: the start is refused
 * rather than the directory removed. */
enum rc
recover__refuse_unknown(struct recover *recover)
{
    size_t count;
    enum rc rc = disk_list(
        recover->disk, FORMAT_PARTITIONS_PATH, recover->entries, recover->entry_capacity, &count);

    if (rc != RC_OK)
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    count = min_u64(count, recover->entry_capacity);
    for (size_t i = 0; i < count; i++) {
        uint64_t incarnation;
        struct log *log;
        if (!format_parse_partition(recover->entries[i].name, &incarnation) ||
            recover__find(recover, incarnation, &log) != NULL)
            continue;
        diag_trail_add(recover->trail,
                       "the journal is corrupt and %s/%s may hold records that only it named: keep "
                       "a copy of that "
                       "directory elsewhere, move it away, and start again",
                       FORMAT_PARTITIONS_PATH,
                       recover->entries[i].name);
        return RC_CORRUPT;
    }
    return RC_OK;
}

enum rc
recover__remove_unknown(struct recover *recover)
{
    struct disk_job job = {.kind = DISK_JOB_REMOVE_TREE};
    size_t count;
    enum rc rc = disk_list(
        recover->disk, FORMAT_PARTITIONS_PATH, recover->entries, recover->entry_capacity, &count);

    if (rc == RC_NOT_FOUND) {
        rc = disk_make_directory(recover->disk, FORMAT_PARTITIONS_PATH);
        return rc == RC_OK ? disk_sync_directory(recover->disk, "") : rc;
    }
    if (rc != RC_OK)
        return rc;
    count = min_u64(count, recover->entry_capacity);
    for (size_t i = 0; i < count; i++) {
        uint64_t incarnation;
        struct log *log;
        if (!format_parse_partition(recover->entries[i].name, &incarnation))
            continue;
        if (recover__find(recover, incarnation, &log) != NULL)
            continue;
        format_path_partition(job.path, incarnation);
        disk_job_run(recover->disk, &job);
        if (job.result != RC_OK)
            return job.result;
        recover->report.directories_removed++;
    }
    return RC_OK;
}
