/* One partition: its manifest, its directory, its sealed segments and the active one; then what is
 * left over. The order and the labels are those of log/recover/recover_files.c. */
#include "engine/inspect/inspect_inner.h"

#include <stdio.h>
#include <string.h>

struct partition_check {
    struct inspect *inspect;
    struct inspect_partition *partition;
    struct manifest_header header;
    const struct manifest_segment *listed; /* [header.segment_count] */
    size_t file_count;
    char directory[FORMAT_PATH_MAX];
    bool active_is_new; /* R8 */
};

/* ---- manifest ---- */

static enum rc
read_manifest(struct partition_check *check, const char *path)
{
    struct inspect *inspect = check->inspect;
    uint64_t bytes = 0;
    size_t count = 0;
    int fd;
    enum rc rc = disk_open(inspect->disk, path, DISK_READ, &fd);

    if (rc != RC_OK)
        return rc;
    rc = disk_size(inspect->disk, fd, &bytes);
    if (rc == RC_OK)
        rc = disk_read(inspect->disk,
                       fd,
                       inspect->manifest,
                       min_u64(bytes, manifest_bytes_max(MANIFEST_SEGMENTS_MAX)),
                       0,
                       &count);
    disk_close(inspect->disk, fd);
    if (rc != RC_OK)
        return rc;
    inspect__progress(inspect, count);
    return manifest_decode(
        inspect->manifest, count, check->partition->incarnation, &check->header, &check->listed);
}

/* R7 for the manifest; false: there is nothing to go on with. */
static bool
check_manifest(struct partition_check *check)
{
    struct inspect_partition *partition = check->partition;
    char path[FORMAT_PATH_MAX];

    format_path_manifest(path, partition->incarnation);
    enum rc rc = read_manifest(check, path);
    if (rc == RC_NOT_FOUND && partition->manifest_generation == 0)
        return true;
    if (rc != RC_OK) {
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, 0),
                      "%s: the partition halts",
                      rc_text(rc));
        return false;
    }
    if (check->header.generation < partition->manifest_generation) {
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, 0),
                      "generation %llu is older than %llu, which the checkpoint names",
                      (unsigned long long)check->header.generation,
                      (unsigned long long)partition->manifest_generation);
        return false;
    }
    if (memcmp(check->header.topic_id, partition->topic_id, FORMAT_UUID_BYTES) != 0 ||
        check->header.partition != partition->partition)
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", path, 0),
                      "names another topic or partition than the checkpoint");
    return true;
}

/* ---- files ---- */

/* The size of a segment's file, UINT64_MAX when it is not there; marks it as known. */
static uint64_t
listed_bytes(struct partition_check *check, uint64_t base_offset, uint32_t generation)
{
    for (size_t i = 0; i < check->file_count; i++) {
        struct disk_entry *entry = &check->inspect->entries[i];
        uint64_t base;
        uint32_t number;
        if (!format_parse_segment(entry->name, &base, &number) || base != base_offset ||
            number != generation)
            continue;
        entry->is_directory = true; /* known */
        return entry->bytes;
    }
    return UINT64_MAX;
}

/* What no list names: the next start removes it, its data is elsewhere (R22 for segments). */
static void
find_leftovers(struct partition_check *check)
{
    char path[2 * DISK_PATH_MAX];

    for (size_t i = 0; i < check->file_count; i++) {
        const struct disk_entry *entry = &check->inspect->entries[i];
        uint64_t base_offset;
        uint32_t generation;
        if (entry->is_directory || strcmp(entry->name, "manifest") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", check->directory, entry->name);
        inspect__find(
            check->inspect,
            INSPECT_AT(INSPECT_NOTE,
                       format_parse_segment(entry->name, &base_offset, &generation) ? "R22" : "R15",
                       path,
                       0),
            "%llu bytes that nothing names: the next start removes it",
            (unsigned long long)entry->bytes);
    }
}

static enum rc
check_sealed(struct partition_check *check, const struct manifest_segment *listed)
{
    const struct manifest_aborted *aborted = manifest_aborted(&check->header, check->listed);
    struct inspect_walk walk;
    char path[FORMAT_PATH_MAX];
    uint64_t bytes = listed_bytes(check, listed->base_offset, listed->file_generation);

    format_path_segment(
        path, check->partition->incarnation, listed->base_offset, listed->file_generation);
    if (bytes == UINT64_MAX) {
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, 0),
                      "listed in the manifest, not there: offsets %llu to %llu",
                      (unsigned long long)listed->base_offset,
                      (unsigned long long)listed->next_offset - 1);
        return RC_OK;
    }
    if (bytes != listed->file_bytes)
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, bytes),
                      "has %llu bytes, the manifest says %llu",
                      (unsigned long long)bytes,
                      (unsigned long long)listed->file_bytes);
    const struct inspect_segment segment = {
        .path = path,
        .base_offset = listed->base_offset,
        .end = min_u64(listed->data_bytes, round_down(bytes, FORMAT_BLOCK_BYTES)),
        .listed = listed,
        .aborted = aborted == NULL ? NULL : &aborted[listed - check->listed],
    };
    return inspect__check_segment(check->inspect, &segment, &walk);
}

/* The active segment's sums against what the checkpoint, or the mark, says of it. */
static void
compare_active(struct partition_check *check, const char *path, const struct inspect_walk *walk)
{
    const struct inspect_partition *partition = check->partition;
    const char *what = NULL;

    if (walk->is_damaged || !partition->has_sums)
        return;
    if (walk->next_offset != partition->next_offset)
        what = "next offset";
    else if (walk->batch_bytes != partition->batch_bytes)
        what = "batch bytes";
    else if (!check->inspect->options.quick &&
             walk->max_timestamp_ms != partition->max_timestamp_ms)
        what = "max timestamp";
    if (what != NULL)
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "V4", path, partition->position),
                      "the %s does not agree with the runs below the durable position: %s",
                      partition->has_mark ? "journal's mark (R19)" : "checkpoint",
                      what);
}

/* Below the durable position alone: what stands above is never trusted, the journal has it. */
static enum rc
check_active(struct partition_check *check)
{
    struct inspect_partition *partition = check->partition;
    struct inspect_walk walk;
    char path[FORMAT_PATH_MAX];
    uint64_t bytes = listed_bytes(check, partition->segment_base_offset, 0);

    format_path_segment(path, partition->incarnation, partition->segment_base_offset, 0);
    if (bytes == UINT64_MAX && partition->position > 0 &&
        check->header.generation > partition->manifest_generation) { /* R16 */
        partition->is_gone = true;
        partition->gone_below = partition->next_offset;
        return RC_OK;
    }
    if (bytes == UINT64_MAX && partition->position == 0)
        return RC_OK; /* a start makes it */
    if (bytes == UINT64_MAX || bytes < partition->position)
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, bytes == UINT64_MAX ? 0 : bytes),
                      bytes == UINT64_MAX ? "the active segment is not there"
                                          : "the active segment is cut below its durable position");
    if (bytes == UINT64_MAX)
        return RC_OK;
    const struct inspect_segment segment = {
        .path = path,
        .base_offset = partition->segment_base_offset,
        .end = min_u64(partition->position, round_down(bytes, FORMAT_BLOCK_BYTES)),
    };
    enum rc rc = inspect__check_segment(check->inspect, &segment, &walk);
    if (rc == RC_OK)
        compare_active(check, path, &walk);
    return rc;
}

/* R8: what the manifest lists at or above the active segment is sealed; it goes on behind. Told by
 * its end, because compaction may have merged it into an older one (R21). */
static void
go_behind(struct partition_check *check)
{
    struct inspect_partition *partition = check->partition;

    if (check->header.segment_count == 0)
        return;
    const struct manifest_segment *last = &check->listed[check->header.segment_count - 1];
    if (last->next_offset <= partition->segment_base_offset)
        return;
    check->active_is_new = true;
    partition->segment_base_offset = last->next_offset;
    partition->next_offset = last->next_offset;
    partition->position = 0;
    partition->has_sums = false;
}

static enum rc
check_files(struct partition_check *check)
{
    struct inspect *inspect = check->inspect;
    size_t count = 0;
    enum rc rc = disk_list(
        inspect->disk, check->directory, inspect->entries, INSPECT_FILES_MAX, &count);

    if (rc != RC_OK) {
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", check->directory, 0),
                      "the directory: %s",
                      rc_text(rc));
        return RC_OK;
    }
    check->file_count = min_u64(count, INSPECT_FILES_MAX);
    if (count > INSPECT_FILES_MAX)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V7", check->directory, 0),
                      "more than %u files: not all are looked at",
                      INSPECT_FILES_MAX);
    check->partition->oldest_offset = check->header.segment_count > 0
                                          ? check->listed[0].base_offset
                                          : check->partition->segment_base_offset;
    for (uint32_t i = 0; rc == RC_OK && i < check->header.segment_count; i++)
        rc = check_sealed(check, &check->listed[i]);
    if (rc == RC_OK)
        rc = check_active(check);
    if (rc == RC_OK)
        find_leftovers(check);
    return rc;
}

enum rc
inspect__check_partition(struct inspect *inspect, struct inspect_partition *partition)
{
    struct partition_check check = {.inspect = inspect, .partition = partition};
    enum rc rc = RC_OK;

    if (partition->state == CHECKPOINT_DROPPED)
        return RC_OK;
    inspect->current = partition;
    format_path_partition(check.directory, partition->incarnation);
    if (check_manifest(&check)) {
        go_behind(&check);
        rc = check_files(&check);
    } else {
        partition->is_broken = true;
    }
    inspect->current = NULL;
    return rc;
}

void
inspect__finish_partition(struct inspect *inspect, struct inspect_partition *partition)
{
    char path[FORMAT_PATH_MAX];

    if (partition->is_broken)
        return;
    inspect->current = partition;
    format_path_partition(path, partition->incarnation);
    if (partition->is_gone && partition->start_offset < partition->gone_below)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R16", path, 0),
                      "the active segment is missing and the start offset lies below its end");
    else if (!partition->is_gone && partition->oldest_offset > partition->start_offset)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R7", path, 0),
                      "segments above the start offset are missing: it is %llu, the first that is "
                      "there begins at %llu",
                      (unsigned long long)partition->start_offset,
                      (unsigned long long)partition->oldest_offset);
    inspect->current = NULL;
}

/* R15, R17: directories that neither checkpoint nor journal names. */
enum rc
inspect__check_unknown(struct inspect *inspect)
{
    char path[2 * DISK_PATH_MAX];
    bool is_corrupt = false;
    size_t count = 0;
    enum rc rc = disk_list(
        inspect->disk, FORMAT_PARTITIONS_PATH, inspect->entries, INSPECT_FILES_MAX, &count);

    if (rc != RC_OK)
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    for (uint32_t i = 0; i < INSPECT_TILES_MAX; i++)
        is_corrupt = is_corrupt || inspect->tiles[i].is_corrupt;
    for (size_t i = 0; i < min_u64(count, INSPECT_FILES_MAX); i++) {
        const struct disk_entry *entry = &inspect->entries[i];
        uint64_t incarnation;
        if (!format_parse_partition(entry->name, &incarnation))
            continue;
        const struct inspect_partition *partition = inspect__partition(inspect, incarnation, false);
        if (partition != NULL && partition->state != CHECKPOINT_DROPPED)
            continue;
        snprintf(path, sizeof(path), "%s/%s", FORMAT_PARTITIONS_PATH, entry->name);
        inspect__find(
            inspect,
            INSPECT_AT(
                is_corrupt ? INSPECT_DAMAGE : INSPECT_NOTE, is_corrupt ? "R17" : "R15", path, 0),
            is_corrupt ? "only the damaged journal may have named it: a start is refused"
                       : "of no partition that is known: the next start removes it");
    }
    return RC_OK;
}
