/* eagre.meta, which tiles there are, and what their checkpoints say. */
#include "engine/inspect/inspect_inner.h"

#include "engine/base/check.h"
#include "log/checkpoint/checkpoint.h"

#include <stdio.h>
#include <string.h>

static void
hexadecimal(char to[2 * FORMAT_UUID_BYTES + 1], const uint8_t *bytes)
{
    for (size_t i = 0; i < FORMAT_UUID_BYTES; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* Each copy for itself: the one that counts may hide that the other is damaged. */
static void
check_meta_copies(struct inspect *inspect, const uint8_t *file)
{
    uint8_t alone[META_FILE_BYTES];
    struct meta_block meta;

    for (uint32_t copy = 0; copy < 2; copy++) {
        memset(alone, 0, sizeof(alone));
        bytes_copy(alone, sizeof(alone), file + copy * FORMAT_BLOCK_BYTES, FORMAT_BLOCK_BYTES);
        enum rc rc = meta_decode(alone, sizeof(alone), &meta);
        if (rc != RC_OK)
            inspect__find(
                inspect,
                INSPECT_AT(INSPECT_WARNING, "V1", FORMAT_META_PATH, copy * FORMAT_BLOCK_BYTES),
                "copy %u of 2: %s",
                copy + 1,
                rc_text(rc));
        else if (memcmp(&meta, &inspect->meta, sizeof(meta)) != 0)
            inspect__find(
                inspect,
                INSPECT_AT(INSPECT_WARNING, "V2", FORMAT_META_PATH, copy * FORMAT_BLOCK_BYTES),
                "the two copies differ");
    }
}

enum rc
inspect__read_meta(struct inspect *inspect)
{
    uint8_t file[META_FILE_BYTES] = {0};
    size_t count = 0;
    int fd;
    enum rc rc = disk_open(inspect->disk, FORMAT_META_PATH, DISK_READ, &fd);

    if (rc != RC_OK) {
        diag_trail_add(inspect->trail, "%s: %s", FORMAT_META_PATH, rc_text(rc));
        return rc;
    }
    rc = disk_read(inspect->disk, fd, file, sizeof(file), 0, &count);
    disk_close(inspect->disk, fd);
    if (rc == RC_OK)
        rc = meta_decode(file, count, &inspect->meta);
    if (rc == RC_CORRUPT) {
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "V1", FORMAT_META_PATH, 0),
                      "neither copy is whole: this directory would not be served");
        return RC_OK;
    }
    if (rc != RC_OK) {
        diag_trail_add(inspect->trail, "%s: %s", FORMAT_META_PATH, rc_text(rc));
        return rc;
    }
    check_meta_copies(inspect, file);
    hexadecimal(inspect->totals.cluster_uuid, inspect->meta.cluster_uuid);
    hexadecimal(inspect->totals.node_uuid, inspect->meta.node_uuid);
    return RC_OK;
}

enum rc
inspect__find_tiles(struct inspect *inspect)
{
    size_t count = 0;
    enum rc rc = disk_list(inspect->disk, "", inspect->entries, INSPECT_FILES_MAX, &count);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < min_u64(count, INSPECT_FILES_MAX); i++) {
        const struct disk_entry *entry = &inspect->entries[i];
        uint32_t tile_idx = 0;
        uint32_t other;
        size_t length = strnlen(entry->name, sizeof(entry->name));
        bool is_journal = format_parse_journal(entry->name, &tile_idx, &other);
        bool is_checkpoint = !is_journal && format_parse_checkpoint(entry->name, &tile_idx, &other);

        inspect->total_bytes += entry->bytes;
        if (length > 4 && (strcmp(entry->name + length - 4, ".tmp") == 0 ||
                           strcmp(entry->name + length - 4, ".new") == 0))
            inspect__find(inspect,
                          INSPECT_AT(INSPECT_NOTE, "R15", entry->name, 0),
                          "left over from something interrupted");
        if (strcmp(entry->name, "fenced") == 0)
            inspect__find(inspect,
                          INSPECT_AT(INSPECT_WARNING, "R18", entry->name, 0),
                          "the last process fenced a partition after a storage error");
        if (!is_journal && !is_checkpoint)
            continue;
        if (tile_idx >= INSPECT_TILES_MAX) {
            inspect__find(inspect,
                          INSPECT_AT(INSPECT_DAMAGE, "V7", entry->name, 0),
                          "tile index too great: a start is refused");
            continue;
        }
        inspect->tiles[tile_idx].has_journal |= is_journal;
        inspect->tiles[tile_idx].has_checkpoint |= is_checkpoint;
    }
    return RC_OK;
}

/* ---- checkpoints ---- */

/* Tells of each file that is there and not whole; the loader chooses and hides it. */
static void
check_generations(struct inspect *inspect, uint32_t tile_idx, bool is_only)
{
    struct checkpoint_decoder decoder;
    char path[FORMAT_PATH_MAX];
    uint64_t bytes = 0;
    size_t count = 0;
    int fd;

    for (uint32_t parity = 0; parity < 2; parity++) {
        format_path_checkpoint(path, tile_idx, parity);
        if (disk_open(inspect->disk, path, DISK_READ, &fd) != RC_OK)
            continue;
        enum rc rc = disk_size(inspect->disk, fd, &bytes);
        if (rc == RC_OK && bytes > inspect->checkpoint_bytes)
            rc = RC_CORRUPT;
        if (rc == RC_OK && bytes > 0)
            rc = disk_read(inspect->disk, fd, inspect->checkpoint, bytes, 0, &count);
        disk_close(inspect->disk, fd);
        if (rc != RC_OK || bytes == 0)
            continue;
        inspect__progress(inspect, count);
        rc = checkpoint_decode(&decoder, inspect->checkpoint, count);
        if (rc == RC_OK &&
            (decoder.header.tile_idx != tile_idx || (decoder.header.generation & 1) != parity))
            rc = RC_CORRUPT;
        if (rc != RC_OK)
            inspect__find(
                inspect,
                INSPECT_AT(
                    is_only ? INSPECT_DAMAGE : INSPECT_WARNING, is_only ? "R4" : "V1", path, 0),
                "%s%s",
                rc_text(rc),
                is_only ? "" : "; the other one counts (a crash while writing does that)");
    }
}

static void
take_partition(struct inspect *inspect,
               uint32_t tile_idx,
               const char *path,
               const struct checkpoint_partition *record)
{
    struct inspect_partition *partition = inspect__partition(inspect, record->incarnation, true);

    if (partition == NULL)
        return;
    inspect->current = partition;
    if (record->start_offset > record->next_offset && record->state == CHECKPOINT_OPEN)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_NOTE, "V2", path, 0),
                      "start offset %llu above next offset %llu: the journal holds the rest",
                      (unsigned long long)record->start_offset,
                      (unsigned long long)record->next_offset);
    inspect->current = NULL;
    if (partition->has_checkpoint && record->next_offset <= partition->next_offset)
        return; /* R6: another tile's record is newer */
    partition->has_checkpoint = true;
    bytes_copy(partition->topic_id, FORMAT_UUID_BYTES, record->topic_id, FORMAT_UUID_BYTES);
    partition->partition = record->partition;
    partition->state = record->state;
    partition->tile_idx = tile_idx;
    partition->leader_epoch = record->leader_epoch;
    partition->segment_base_offset = record->segment_base_offset;
    partition->position = record->durable_position;
    partition->next_offset = record->next_offset;
    partition->start_offset = record->start_offset;
    partition->high_watermark = record->high_watermark;
    partition->manifest_generation = record->manifest_generation;
    partition->batch_bytes = record->segment_batch_bytes;
    partition->max_timestamp_ms = record->max_timestamp_ms;
    partition->has_sums = true;
    if (record->state == CHECKPOINT_HALTED) {
        inspect->current = partition;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R10", path, 0),
                      "the partition is halted since an earlier start");
        inspect->current = NULL;
    }
}

static void
check_producer(struct inspect *inspect, const char *path, const struct format_producer *producer)
{
    inspect->totals.producers++;
    inspect->current = inspect__partition(inspect, producer->incarnation, false);
    const char *what = NULL;

    if (producer->producer_id < 0 || producer->producer_epoch < 0)
        what = "id or epoch is negative";
    for (uint32_t i = 0; i + 1 < producer->batch_count; i++)
        if (producer->batches[i].base_offset >= producer->batches[i + 1].base_offset)
            what = "its batches are not in the order of offsets";
    for (uint32_t i = 0; i < producer->batch_count; i++)
        if (producer->batches[i].first_sequence < 0)
            what = "a sequence is negative";
    if (what != NULL)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", path, 0),
                      "producer %lld: %s",
                      (long long)producer->producer_id,
                      what);
    inspect->current = NULL;
}

static void
take_checkpoint(struct inspect *inspect, uint32_t tile_idx, struct checkpoint_decoder *decoder)
{
    const struct checkpoint_partition *record;
    const struct checkpoint_aborted *aborted;
    const struct format_producer *producer;
    const struct format_epoch *epochs;
    char path[FORMAT_PATH_MAX];

    format_path_checkpoint(path, tile_idx, decoder->header.generation);
    if (inspect->meta.magic == META_MAGIC &&
        memcmp(decoder->header.node_uuid, inspect->meta.node_uuid, FORMAT_UUID_BYTES) != 0)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "V2", path, 0),
                      "belongs to another node than %s",
                      FORMAT_META_PATH);
    while ((record = checkpoint_next_partition(decoder, &epochs)) != NULL) {
        take_partition(inspect, tile_idx, path, record);
        if (record->epoch_count == 0 ||
            epochs[record->epoch_count - 1].epoch == record->leader_epoch)
            continue;
        inspect->current = inspect__partition(inspect, record->incarnation, false);
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", path, 0),
                      "leader epoch %d is not the last one listed, %d",
                      record->leader_epoch,
                      epochs[record->epoch_count - 1].epoch);
        inspect->current = NULL;
    }
    while ((producer = checkpoint_next_producer(decoder)) != NULL)
        check_producer(inspect, path, producer);
    while ((aborted = checkpoint_next_aborted(decoder)) != NULL) {
        if (aborted->entry.first_offset <= aborted->entry.last_offset)
            continue;
        inspect->current = inspect__partition(inspect, aborted->incarnation, false);
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", path, 0),
                      "an aborted transaction of producer %lld ends before it begins",
                      (long long)aborted->entry.producer_id);
        inspect->current = NULL;
    }
}

/* R1 to R4 for one tile. */
enum rc
inspect__read_checkpoint(struct inspect *inspect, uint32_t tile_idx)
{
    struct inspect_tile *tile = &inspect->tiles[tile_idx];
    struct checkpoint_source source = {
        .disk = inspect->disk,
        .tile_idx = tile_idx,
        .buffer = inspect->checkpoint,
        .capacity = inspect->checkpoint_bytes,
    };
    struct checkpoint_decoder decoder;
    struct checkpoint_found found = {0};
    char path[FORMAT_PATH_MAX];
    enum rc rc = checkpoint_load(&source, &decoder, &found);

    format_path_checkpoint(path, tile_idx, 0);
    inspect->totals.tiles++;
    if (rc == RC_NOT_FOUND && !tile->has_journal)
        return RC_OK; /* R1 */
    if (rc == RC_NOT_FOUND) {
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R2", path, 0),
                      "tile %u has a journal and no checkpoint: a start is refused",
                      tile_idx);
        return RC_OK;
    }
    if (rc == RC_CORRUPT && found.file_count == 1 && !tile->has_journal) {
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_NOTE, "R3", path, 0),
                      "tile %u: its first start was cut off, nothing was served",
                      tile_idx);
        return RC_OK;
    }
    if (rc == RC_CORRUPT) {
        check_generations(inspect, tile_idx, true);
        return RC_OK;
    }
    if (rc != RC_OK) {
        diag_trail_add(inspect->trail, "tile %u: checkpoint: %s", tile_idx, rc_text(rc));
        return rc;
    }
    tile->is_known = true;
    tile->epoch = decoder.header.journal_epoch;
    tile->replay_from = decoder.header.replay_from;
    tile->live_end = tile->replay_from;
    take_checkpoint(inspect, tile_idx, &decoder);
    if (found.bad_count > 0)
        check_generations(inspect, tile_idx, false);
    return RC_OK;
}
