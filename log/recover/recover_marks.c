/* MARK entries of the bulk bypass: each is a checkpoint of one partition, durable before it was
 * journalled. They are read before anything is written, because what replay writes must not stand
 * where they say that data is. */
#include "log/recover/recover_inner.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "log/journal/journal_scan.h"

/* A slot of the table is free (incarnation 0), dropped (next_offset 0; kept so that others are
 * found, used again for another), or the last mark of its partition. */
static uint32_t
marks_bucket(const struct recover *recover, uint64_t incarnation)
{
    return (uint32_t)hash_xxh3(&incarnation, sizeof(incarnation), 0) & recover->mark_mask;
}

static struct journal_mark *
marks_find(const struct recover *recover, uint64_t incarnation)
{
    uint32_t at = marks_bucket(recover, incarnation);

    for (uint32_t i = 0; i <= recover->mark_mask; i++) {
        struct journal_mark *mark = &recover->marks[(at + i) & recover->mark_mask];
        if (mark->incarnation == 0)
            break;
        if (mark->incarnation == incarnation)
            return mark->next_offset == 0 ? NULL : mark;
    }
    return NULL;
}

static enum rc
marks_put(struct recover *recover, const struct journal_mark *mark)
{
    uint32_t at = marks_bucket(recover, mark->incarnation);
    struct journal_mark *place = NULL;

    for (uint32_t i = 0; i <= recover->mark_mask; i++) {
        struct journal_mark *found = &recover->marks[(at + i) & recover->mark_mask];
        bool is_own = found->incarnation == mark->incarnation;
        if (is_own || (place == NULL && found->next_offset == 0))
            place = found;
        if (is_own || found->incarnation == 0)
            break;
    }
    if (place == NULL) {
        diag_trail_add(recover->trail, "more partitions are stored than partitions_max allows");
        return RC_LIMIT;
    }
    /* Two journals may tell of one partition when it changed its tile. */
    if (place->incarnation != mark->incarnation || place->next_offset < mark->next_offset)
        *place = *mark;
    return RC_OK;
}

static enum rc
marks_of_group(struct recover *recover, const struct journal_scan_group *group)
{
    enum rc rc = RC_OK;

    for (uint32_t i = 0; rc == RC_OK && i < group->header->entry_count; i++) {
        const struct journal_entry *entry = &group->entries[i];
        struct journal_mark mark = journal_mark_of(entry);
        if (entry->kind == JOURNAL_MARK) {
            rc = marks_put(recover, &mark);
        } else if (entry->kind == JOURNAL_DROP) {
            struct journal_mark *dropped = marks_find(recover, entry->incarnation);
            if (dropped != NULL)
                dropped->next_offset = 0; /* the table holds living partitions only */
        }
    }
    return rc;
}

enum rc
recover__read_marks(struct recover *recover, uint32_t tile_idx)
{
    const struct recover_tile *tile = &recover->tiles[tile_idx];
    struct journal_scan_config config = {
        .disk = recover->disk,
        .tile_idx = tile_idx,
        .epoch = tile->epoch,
        .replay_from = tile->replay_from,
        .node_uuid = recover->plan->logs[0]->config.node_uuid,
        .buffer = recover->scan,
    };
    struct diag_trail trail = {{0}}; /* what is wrong is told by the replay */
    struct journal_scan scan;
    struct journal_scan_group group;
    enum rc rc = journal_scan_begin(&scan, &config, &trail);

    if (rc != RC_OK)
        return RC_OK;
    while (rc == RC_OK && journal_scan_next(&scan, &group) == JOURNAL_SCAN_GROUP)
        rc = marks_of_group(recover, &group);
    journal_scan_end(&scan);
    return rc;
}

void
recover__apply_mark(struct recover *recover, struct partition *partition)
{
    const struct journal_mark *mark = marks_find(recover, partition->incarnation);

    recover->marked = NULL;
    if (mark == NULL || mark->next_offset <= partition->synced.next_offset)
        return;
    recover->marked = mark;
    partition->manifest_generation = max_u64(partition->manifest_generation,
                                             mark->manifest_generation);
    partition->synced = (struct partition_mark){
        .segment_base_offset = mark->segment_base_offset,
        .position = mark->position,
        .next_offset = mark->next_offset,
        .max_timestamp_offset = mark->max_timestamp_offset,
        .batch_bytes = mark->batch_bytes,
        .manifest_generation = partition->manifest_generation,
        .max_timestamp_ms = mark->max_timestamp_ms,
        .created_ms = mark->created_ms,
    };
}

/* Is the run whole that stands there? */
static bool
marks_run_is_whole(const uint8_t *run, uint32_t run_bytes, const struct run_place *place)
{
    struct run_header header;
    struct run_walk walk;
    const uint8_t *batch;
    uint32_t bytes;
    enum rc rc = run_header_check(run, place, &header);

    if (rc != RC_OK || RUN_HEADER_BYTES + (uint64_t)header.batch_bytes > run_bytes)
        return false;
    run_walk_begin(&walk, &header, run + RUN_HEADER_BYTES);
    while (rc == RC_OK)
        rc = run_walk_next(&walk, &header, &batch, &bytes);
    return rc == RC_NOT_FOUND;
}

enum rc
recover__check_marked(struct recover *recover, struct log *log, struct partition *partition)
{
    const struct journal_mark *mark = recover->marked;
    const struct segment *active = partition_active(log, partition);
    char path[FORMAT_PATH_MAX];
    size_t count = 0;
    int fd;

    /* What was sealed behind the mark is checked as everything sealed is: when it is read. */
    if (mark == NULL || partition->state != PARTITION_OPEN ||
        active->base_offset != mark->segment_base_offset || active->data_bytes != mark->position)
        return RC_OK;
    if (mark->run_bytes > LOG_STAGING_LARGE_BYTES) {
        recover__halt(recover, partition, "run before a mark is too long", mark->position);
        return RC_OK;
    }
    const struct run_place place = {
        .incarnation = partition->incarnation,
        .segment_base_offset = mark->segment_base_offset,
        .position = mark->position - mark->run_bytes,
    };
    uint8_t *run = log->staging + (uint64_t)LOG_STAGING_COUNT * LOG_STAGING_BYTES;
    format_path_segment(path, partition->incarnation, active->base_offset, 0);
    enum rc rc = disk_open(recover->disk, path, DISK_READ | DISK_DIRECT, &fd);
    if (rc != RC_OK)
        return rc;
    rc = disk_read(recover->disk, fd, run, mark->run_bytes, place.position, &count);
    disk_close(recover->disk, fd);
    if (rc == RC_OK &&
        (count < mark->run_bytes || !marks_run_is_whole(run, mark->run_bytes, &place)))
        recover__halt(recover, partition, "run before a mark is damaged", place.position); /* R20 */
    return rc;
}
