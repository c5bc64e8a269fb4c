/* Pass 2: a group of segments becomes one, without the records that are not the newest of their
 * key, without those of aborted transactions, and without tombstones and markers whose time has
 * passed.
 *
 *   batch                                  what happens
 *   ends at or above the map's end         copied as it is; what was aborted is told as before
 *   marker, records of its transaction     copied as it is
 *   ... none of them left                  gets a delete horizon; goes when that has passed
 *   data of an aborted transaction         its records go
 *   data                                   a record goes when its key has a newer one
 *   ... with a horizon that has passed     its tombstones go
 *   ... that cannot be unpacked            copied as it is (its keys are not in the map either)
 *   ... nothing left                       goes; but the last of its producer, and the last of the
 *                                          group, stay as a batch without records
 *
 * The group's last batch stays, so that every segment has a run and ends where it ended. */
#include "log/compact/compactor_inner.h"

#include "engine/base/check.h"

/* ---- the output ---- */

static enum rc
output_flush(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    struct run_builder *builder = &compactor->builder;
    uint64_t bytes = run_builder_end(builder);
    enum rc rc = RC_OK;

    if (bytes > 0)
        rc = disk_write(compactor->config.disk,
                        compactor->output_fd,
                        compactor->staging,
                        (size_t)bytes,
                        builder->position);
    compactor->spent_bytes += bytes;
    task->bytes_written += bytes;
    run_builder_begin(
        builder,
        (struct segment_space){.at = compactor->staging, .bytes = COMPACTOR_STAGING_BYTES},
        task->incarnation,
        &compactor->output,
        &compactor->index);
    return rc;
}

static enum rc
output_add(struct compactor *compactor, const uint8_t *batch)
{
    struct run_batch add = {
        .bytes = batch,
        .count = (uint32_t)record_batch_bytes(batch),
        .last_delta = (uint32_t)record_batch_last_offset_delta(batch),
        .base_offset = record_batch_base_offset(batch),
        .max_timestamp_ms = record_batch_max_timestamp(batch),
    };
    enum rc rc = RC_OK;

    compactor->output_records += get_u32_be(batch + RECORD_BATCH_RECORD_COUNT);
    if (run_builder_add(&compactor->builder, &add)) {
        if (compactor->builder.used >= COMPACTOR_FLUSH_BYTES)
            rc = output_flush(compactor);
        return rc;
    }
    rc = output_flush(compactor);
    if (rc == RC_OK)
        CHECK(run_builder_add(&compactor->builder, &add));
    return rc;
}

static uint64_t
group_end_offset(const struct compact_task *task)
{
    return task->inputs[task->group_first + task->group_count - 1].next_offset;
}

/* Nothing is left of the batch, or nothing was in it. */
static enum rc
copy_empty(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    const struct compact_task *task = &compactor->link->task;
    uint64_t last = (uint64_t)record_batch_last_offset(info);
    uint8_t empty[RECORD_BATCH_HEADER_BYTES];
    bool stays = last + 1 == group_end_offset(task);

    if (!stays && info->producer_id >= 0) {
        struct bytes name = {.at = (const uint8_t *)&info->producer_id,
                             .count = sizeof(info->producer_id)};
        uint64_t newest = compact_map_get(&compactor->map, COMPACT_MAP_PRODUCER, name);
        stays = newest == COMPACT_MAP_NONE || newest <= last;
    }
    if (!stays)
        return RC_OK;
    record_batch_make_empty(batch, empty);
    return output_add(compactor, empty);
}

/* ---- batches ---- */

static bool
keeps_all(void *ctx, const struct record_view *record)
{
    (void)ctx;
    (void)record;
    return true;
}

static bool
keeps_newest(void *ctx, const struct record_view *record)
{
    struct compactor *compactor = ctx;

    if (record->key.at == NULL) {
        compactor->keyless++;
        return true;
    }
    uint64_t newest = compact_map_get(&compactor->map, COMPACT_MAP_KEY, record->key);
    if (newest != COMPACT_MAP_NONE && newest > (uint64_t)record->offset)
        return false;
    return record->value.at != NULL || !compactor->drops_tombstones;
}

static bool
horizon_has_passed(const struct compactor *compactor, const struct record_batch_info *info)
{
    return (info->attributes & RECORD_ATTRIBUTES_DELETE_HORIZON) != 0 &&
           info->base_timestamp_ms <= compactor->link->task.now_ms;
}

/* A reader that is told of an aborted transaction waits for its marker: list and marker stay and
 * go together. */
static enum rc
keep_aborted(struct compactor *compactor, const struct record_batch_info *info)
{
    const struct aborted_entry *aborted = compactor__aborted(
        compactor, info->producer_id, (uint64_t)info->base_offset);

    if (aborted == NULL || aborted->last_offset != (uint64_t)info->base_offset ||
        info->record_count == 0)
        return RC_OK;
    if (compactor->output_aborted_count == COMPACT_GROUP_ABORTED_MAX)
        return RC_LIMIT;
    compactor->output_aborted[compactor->output_aborted_count++] = *aborted;
    return RC_OK;
}

static enum rc
copy_marker(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    struct compact_task *task = &compactor->link->task;
    struct compactor_open *open = compactor__open(compactor, info->producer_id);
    bool is_told = task->aborted_count > 0 &&
                   (uint64_t)info->base_offset >= task->aborted[0].last_offset;
    bool is_over = open != NULL && !open->has_data && !is_told;
    struct record_filtered filtered;

    if (open != NULL)
        open->has_data = false; /* the producer's next transaction */
    if (is_over && horizon_has_passed(compactor, info)) {
        task->records_removed += info->record_count;
        return copy_empty(compactor, batch, info);
    }
    if (info->record_count == 0)
        return copy_empty(compactor, batch, info);
    enum rc rc = keep_aborted(compactor, info);
    if (rc != RC_OK)
        return rc;
    compactor->filter.keeps = keeps_all;
    compactor->filter.wants_horizon = is_over;
    if (is_over && record_filter_run(&compactor->filter, batch, info, &filtered) == RC_OK &&
        filtered.result == RECORD_FILTER_CHANGED)
        return output_add(compactor, filtered.batch);
    return output_add(compactor, batch);
}

static enum rc
copy_data(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    struct compact_task *task = &compactor->link->task;
    bool is_transactional = (info->attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0;
    struct record_filtered filtered;

    if (is_transactional &&
        compactor__aborted(compactor, info->producer_id, (uint64_t)info->base_offset) != NULL) {
        task->records_removed += info->record_count;
        return copy_empty(compactor, batch, info);
    }
    compactor->filter.keeps = keeps_newest;
    compactor->filter.wants_horizon = false;
    compactor->drops_tombstones = horizon_has_passed(compactor, info);
    compactor->keyless = 0;
    enum rc rc = record_filter_run(&compactor->filter, batch, info, &filtered);
    if (rc == RC_OK) {
        task->records_removed += filtered.removed;
        task->records_keyless += compactor->keyless;
    } else {
        task->batches_whole++;
        filtered = (struct record_filtered){.result = RECORD_FILTER_SAME};
    }
    if (filtered.result == RECORD_FILTER_EMPTIED)
        return copy_empty(compactor, batch, info);
    struct compactor_open *open = is_transactional ? compactor__open(compactor, info->producer_id)
                                                   : NULL;
    if (open != NULL)
        open->has_data = true;
    return output_add(compactor, filtered.result == RECORD_FILTER_CHANGED ? filtered.batch : batch);
}

static enum rc
copy_batch(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    bool is_marker = (info->attributes & RECORD_ATTRIBUTES_CONTROL) != 0;

    if ((uint64_t)record_batch_last_offset(info) < compactor->link->task.map_end)
        return is_marker ? copy_marker(compactor, batch, info) : copy_data(compactor, batch, info);
    enum rc rc = is_marker ? keep_aborted(compactor, info) : RC_OK;
    return rc == RC_OK ? output_add(compactor, batch) : rc;
}

/* ---- groups ---- */

/* Inputs that become one segment: as many as fit segment.bytes, the width of index entries and the
 * footer's room. */
static uint32_t
group_size(const struct compactor *compactor, uint32_t first)
{
    const struct compact_task *task = &compactor->link->task;
    uint64_t bytes = 0;
    uint32_t aborted = 0;
    uint32_t count = 0;

    for (uint32_t i = first; i < task->input_count; i++, count++) {
        const struct compact_input *input = &task->inputs[i];
        bytes += input->batch_bytes;
        aborted += compactor->input_aborted[i];
        if (count > 0 && (bytes > task->segment_bytes || aborted > COMPACT_GROUP_ABORTED_MAX ||
                          input->next_offset - task->inputs[first].base_offset > UINT32_MAX))
            break;
        if (input->base_offset >= task->map_end)
            break; /* none of it was looked at */
    }
    return count;
}

enum rc
compactor__group_begin(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    struct disk *disk = compactor->config.disk;
    uint32_t first = task->group_first + task->group_count;
    uint32_t count = group_size(compactor, first);

    if (count == 0)
        return RC_NOT_FOUND;
    task->group_first = first;
    task->group_count = count;
    if (first == 0)
        compactor__open_clear(compactor);
    compactor__reader_set(compactor, first);
    compactor->output = (struct segment){
        .base_offset = task->inputs[first].base_offset,
        .next_offset = task->inputs[first].base_offset,
        .first_timestamp_ms = -1,
        .max_timestamp_ms = -1,
        .file_generation = task->generation,
    };
    compactor->output_records = 0;
    compactor->output_aborted_count = 0;
    index_init(&compactor->index, compactor->index_entries);
    format_path_segment(
        compactor->output_path, task->incarnation, compactor->output.base_offset, task->generation);
    uint32_t flags = DISK_WRITE | DISK_CREATE | DISK_DIRECT;
    enum rc rc = disk_open(disk, compactor->output_path, flags, &compactor->output_fd);
    if (rc == RC_EXISTS) { /* of a run that failed and could not remove it */
        rc = disk_unlink(disk, compactor->output_path);
        if (rc == RC_OK)
            rc = disk_open(disk, compactor->output_path, flags, &compactor->output_fd);
    }
    if (rc != RC_OK) {
        compactor->output_fd = -1;
        compactor->output_path[0] = '\0';
        return rc == RC_NOT_FOUND ? RC_IO_ERROR : rc;
    }
    return output_flush(compactor); /* nothing yet: begins the builder */
}

enum rc
compactor__group_step(struct compactor *compactor)
{
    const struct compact_task *task = &compactor->link->task;

    if (compactor->reader.input == task->group_first + task->group_count) {
        compactor__reader_close(compactor);
        return RC_NOT_FOUND;
    }
    enum rc rc = compactor__window(compactor, copy_batch);
    if (rc != RC_NOT_FOUND)
        return rc;
    compactor__reader_set(compactor, compactor->reader.input + 1);
    return RC_OK;
}

static enum rc
output_write_footer(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    struct segment *output = &compactor->output;
    struct segment_history history = {
        .incarnation = task->incarnation,
        .index = &compactor->index,
        .epochs = task->epochs,
        .aborted = compactor->output_aborted,
        .aborted_count = compactor->output_aborted_count,
    };

    while (history.epoch_count < task->epoch_count &&
           task->epochs[history.epoch_count].start_offset < output->next_offset)
        history.epoch_count++;
    output->record_count = compactor->output_records;
    uint64_t bytes = segment_build_footer(
        output,
        &history,
        (struct segment_space){.at = compactor->staging, .bytes = COMPACTOR_STAGING_BYTES});
    CHECK(bytes > 0);
    compactor->spent_bytes += bytes;
    task->bytes_written += bytes;
    return disk_write(compactor->config.disk,
                      compactor->output_fd,
                      compactor->staging,
                      (size_t)bytes,
                      output->data_bytes);
}

enum rc
compactor__group_end(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    char directory[FORMAT_PATH_MAX];

    enum rc rc = output_flush(compactor);
    if (rc != RC_OK)
        return rc;
    /* The last batch ends where the group does, and it stayed. */
    if (compactor->output.next_offset != group_end_offset(task) ||
        compactor->output.data_bytes == 0)
        return RC_CORRUPT;
    rc = output_write_footer(compactor);
    if (rc == RC_OK)
        rc = disk_sync(compactor->config.disk, compactor->output_fd);
    if (rc != RC_OK)
        return rc;
    disk_close(compactor->config.disk, compactor->output_fd);
    compactor->output_fd = -1;
    format_path_partition(directory, task->incarnation);
    rc = disk_sync_directory(compactor->config.disk, directory);
    task->output = compactor->output;
    return rc;
}

void
compactor__group_abandon(struct compactor *compactor)
{
    if (compactor->output_fd >= 0)
        disk_close(compactor->config.disk, compactor->output_fd);
    compactor->output_fd = -1;
    if (compactor->output_path[0] != '\0')
        (void)disk_unlink(compactor->config.disk, compactor->output_path); /* else the next start */
    compactor->output_path[0] = '\0';
}
