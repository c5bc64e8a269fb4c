/* The journal: what a start would replay, by journal_scan and its S-rules; and a sweep over all
 * groups that are left in the files, which finds damage in what nobody needs any more as well. */
#include "engine/inspect/inspect_inner.h"

#include "engine/base/check.h"

#include <string.h>

/* ---- what a start would replay ---- */

/* Begins a scan of the live part. RC_CORRUPT: the files are not this tile's (told). */
static enum rc
begin_scan(struct inspect *inspect,
           uint32_t tile_idx,
           struct journal_scan *scan,
           struct diag_trail *trail)
{
    const struct inspect_tile *tile = &inspect->tiles[tile_idx];
    const struct journal_scan_config config = {
        .disk = inspect->disk,
        .tile_idx = tile_idx,
        .epoch = tile->epoch,
        .replay_from = tile->replay_from,
        .node_uuid = inspect->meta.magic == META_MAGIC ? inspect->meta.node_uuid : NULL,
        .buffer = inspect->scan,
    };

    return journal_scan_begin(scan, &config, trail);
}

static void
take_mark(struct inspect *inspect, const struct journal_entry *entry)
{
    struct journal_mark mark = journal_mark_of(entry);
    struct inspect_partition *partition = inspect__partition(inspect, mark.incarnation, false);

    if (partition == NULL || mark.next_offset <= partition->next_offset)
        return;
    partition->has_mark = true;
    partition->mark = mark;
    partition->has_sums = true;
    partition->segment_base_offset = mark.segment_base_offset;
    partition->position = mark.position;
    partition->next_offset = mark.next_offset;
    partition->batch_bytes = mark.batch_bytes;
    partition->max_timestamp_ms = mark.max_timestamp_ms;
    partition->manifest_generation = max_u64(partition->manifest_generation,
                                             mark.manifest_generation);
}

static void
take_entry(struct inspect *inspect, uint32_t tile_idx, const struct journal_entry *entry)
{
    struct inspect_partition *partition;

    switch ((enum journal_kind)entry->kind) {
    case JOURNAL_OPEN:
        if (inspect__partition(inspect, entry->incarnation, false) != NULL)
            return;
        partition = inspect__partition(inspect, entry->incarnation, true);
        if (partition == NULL)
            return;
        bytes_copy(partition->topic_id, FORMAT_UUID_BYTES, entry->topic_id, FORMAT_UUID_BYTES);
        partition->partition = entry->partition;
        partition->tile_idx = tile_idx;
        return;
    case JOURNAL_DROP:
        partition = inspect__partition(inspect, entry->incarnation, false);
        if (partition != NULL)
            partition->state = CHECKPOINT_DROPPED;
        return;
    case JOURNAL_START_OFFSET:
        partition = inspect__partition(inspect, entry->incarnation, false);
        if (partition != NULL)
            partition->start_offset = max_u64(partition->start_offset, entry->base_offset);
        return;
    case JOURNAL_MARK:
        take_mark(inspect, entry);
        return;
    default:
        return;
    }
}

static void
find_bad_batches(struct inspect *inspect, uint32_t tile_idx, const struct journal_scan_group *group)
{
    char path[FORMAT_PATH_MAX];

    format_path_journal(path, tile_idx, group->file_idx);
    for (uint32_t i = 0; i < group->header->entry_count; i++) {
        const struct journal_entry *entry = &group->entries[i];
        if (journal_scan_entry_is_intact(group, i))
            continue;
        inspect->current = inspect__partition(inspect, entry->incarnation, false);
        inspect__find(
            inspect,
            INSPECT_AT(INSPECT_DAMAGE,
                       "S8",
                       path,
                       group->position + group->header->header_bytes + entry->payload_position),
            "group %llu: the batch of offset %llu is damaged: its partition halts (R10)",
            (unsigned long long)group->header->number,
            (unsigned long long)entry->base_offset);
        inspect->current = NULL;
    }
}

/* How a scan ended: nothing to tell at a torn end (S7), it is normal. */
static void
find_end(struct inspect *inspect,
         const struct journal_scan *scan,
         enum journal_scan_result result,
         const char *rule)
{
    struct inspect_tile *tile = &inspect->tiles[scan->config.tile_idx];
    char path[FORMAT_PATH_MAX];

    format_path_journal(path, scan->config.tile_idx, scan->where_file_idx % JOURNAL_FILE_COUNT);
    if (result == JOURNAL_SCAN_CORRUPT) {
        tile->is_corrupt = true;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, rule, path, scan->where_position),
                      "%s: every partition of tile %u halts (R13)",
                      scan->trail->text,
                      scan->config.tile_idx);
    } else if (result == JOURNAL_SCAN_ERROR) {
        tile->is_corrupt = true;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R13", path, scan->position),
                      "%s: %s",
                      rc_text(scan->rc),
                      scan->trail->text);
    }
}

enum rc
inspect__scan_journal(struct inspect *inspect, uint32_t tile_idx)
{
    enum journal_scan_result result;
    struct diag_trail trail = {{0}};
    struct journal_scan_group group;
    struct journal_scan scan;
    char path[FORMAT_PATH_MAX];
    enum rc rc = begin_scan(inspect, tile_idx, &scan, &trail);

    if (rc != RC_OK) {
        format_path_journal(path, tile_idx, 0);
        inspect->tiles[tile_idx].is_known = false;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R13", path, 0),
                      "the journal cannot be read back: %s",
                      trail.text);
        return RC_OK;
    }
    const char *rule = scan.is_corrupt ? "S2" : "S6"; /* S2 is seen before any group */
    while ((result = journal_scan_next(&scan, &group)) == JOURNAL_SCAN_GROUP) {
        if (group.bad_count > 0)
            find_bad_batches(inspect, tile_idx, &group);
        for (uint32_t i = 0; i < group.header->entry_count; i++)
            take_entry(inspect, tile_idx, &group.entries[i]);
    }
    inspect->tiles[tile_idx].live_end = journal_scan_next_number(&scan);
    find_end(inspect, &scan, result, rule);
    inspect__progress(inspect, scan.bytes_read);
    journal_scan_end(&scan);
    return RC_OK;
}

/* ---- following it ---- */

static void
replay_batch(struct inspect *inspect,
             const struct journal_scan_group *group,
             uint32_t entry_idx,
             const char *path)
{
    const struct journal_entry *entry = &group->entries[entry_idx];
    struct inspect_partition *partition = inspect->current;
    uint64_t position = group->position + group->header->header_bytes + entry->payload_position;
    struct inspect_walk walk = {.max_timestamp_ms = -1, .first_timestamp_ms = -1};

    if (entry->base_offset < partition->next_offset)
        return; /* R11: the segments have it */
    if (!journal_scan_entry_is_intact(group, entry_idx)) {
        partition->is_broken = true; /* told as S8 */
        return;
    }
    if (entry->kind == JOURNAL_REFERENCE || entry->base_offset > partition->next_offset) {
        partition->is_broken = true;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "R12", path, position),
                      entry->kind == JOURNAL_REFERENCE
                          ? "group %llu refers to offset %llu, which no mark covers (next is %llu)"
                          : "group %llu goes on at offset %llu, %llu is expected",
                      (unsigned long long)group->header->number,
                      (unsigned long long)entry->base_offset,
                      (unsigned long long)partition->next_offset);
        return;
    }
    partition->next_offset = entry->base_offset + entry->last_offset_delta + 1;
    partition->batches++;
    partition->bytes += entry->length;
    const struct inspect_batch batch = {
        .at = group->payload + entry->payload_position,
        .bytes = entry->length,
        .position = position,
    };
    inspect__check_records(inspect, path, &batch, &walk);
    partition->records += walk.records;
}

enum rc
inspect__replay_journal(struct inspect *inspect, uint32_t tile_idx, bool metadata)
{
    struct diag_trail trail = {{0}}; /* what is wrong was told by the first scan */
    struct journal_scan_group group;
    struct journal_scan scan;
    char path[FORMAT_PATH_MAX];

    if (begin_scan(inspect, tile_idx, &scan, &trail) != RC_OK)
        return RC_OK;
    while (journal_scan_next(&scan, &group) == JOURNAL_SCAN_GROUP) {
        format_path_journal(path, tile_idx, group.file_idx);
        for (uint32_t i = 0; i < group.header->entry_count; i++) {
            const struct journal_entry *entry = &group.entries[i];
            bool is_metadata = entry->incarnation == TOPIC_METADATA_INCARNATION;
            if ((entry->kind != JOURNAL_DATA && entry->kind != JOURNAL_REFERENCE) ||
                is_metadata != metadata)
                continue;
            inspect->current = inspect__partition(inspect, entry->incarnation, false);
            if (inspect->current != NULL && !inspect->current->is_broken &&
                !inspect->current->is_skipped && inspect->current->state == CHECKPOINT_OPEN)
                replay_batch(inspect, &group, i, path);
        }
    }
    inspect->current = NULL;
    inspect__progress(inspect, scan.bytes_read);
    journal_scan_end(&scan);
    return RC_OK;
}

/* ---- the sweep ---- */

struct sweep {
    struct inspect *inspect;
    struct inspect_file file;
    uint32_t tile_idx;
    uint32_t file_idx;
    char path[FORMAT_PATH_MAX];
    /* the group that should stand next: behind the last whole one */
    bool has_next;
    uint64_t epoch;
    uint64_t number;
    uint64_t position;
    uint32_t sequence;
    uint32_t previous_crc;
    uint64_t greatest; /* group of the checkpoint's epoch, in any file so far */
};

/* Whether the scan above has judged that group. */
static bool
sweep_is_live(const struct sweep *sweep, uint64_t epoch, uint64_t number)
{
    const struct inspect_tile *tile = &sweep->inspect->tiles[sweep->tile_idx];

    return tile->is_known && epoch == tile->epoch && number >= tile->replay_from;
}

/* Damage in a group that no start needs: it is known to have been whole when a later one says so
 * (S6), or the checkpoint does. */
static void
sweep_find(struct sweep *sweep, uint64_t number, uint64_t position, const char *what)
{
    inspect__find(sweep->inspect,
                  INSPECT_AT(INSPECT_WARNING, "S5", sweep->path, position),
                  "group %llu, which is no longer needed: %s",
                  (unsigned long long)number,
                  what);
}

static void
sweep_chain(struct sweep *sweep, const struct journal_group_header *header)
{
    if (!sweep->has_next || header->epoch != sweep->epoch ||
        header->file_sequence != sweep->sequence)
        return;
    bool was_whole = header->number >= sweep->number + 2 ||
                     header->durable_through >= sweep->number;
    if (header->number > sweep->number && was_whole &&
        !sweep_is_live(sweep, sweep->epoch, sweep->number))
        sweep_find(sweep, sweep->number, sweep->position, "its header table is damaged");
    if (header->number == sweep->number && header->previous_header_crc != sweep->previous_crc &&
        !sweep_is_live(sweep, header->epoch, header->number))
        sweep_find(
            sweep, header->number, sweep->position, "it does not name the group before it (S4)");
}

/* The batches of a group whose table is whole. A torn write leaves such a group at the end of an
 * epoch: then nothing was acknowledged, and it is told as a note. */
static void
sweep_payload(struct sweep *sweep, const struct journal_group_header *header, uint64_t position)
{
    const struct inspect_tile *tile = &sweep->inspect->tiles[sweep->tile_idx];
    const uint8_t *at = inspect_file_view(&sweep->file, position, journal_group_bytes(header));
    bool was_whole = tile->is_known && header->epoch == tile->epoch &&
                     header->number < tile->replay_from;

    if (at == NULL)
        return;
    const struct journal_entry *entries = journal_table_entries(at);
    for (uint32_t i = 0; i < header->entry_count; i++) {
        if (entries[i].kind != JOURNAL_DATA ||
            journal_entry_is_intact(&entries[i], at + header->header_bytes))
            continue;
        inspect__find(sweep->inspect,
                      INSPECT_AT(was_whole ? INSPECT_WARNING : INSPECT_NOTE,
                                 was_whole ? "S5" : "S7",
                                 sweep->path,
                                 position + header->header_bytes + entries[i].payload_position),
                      "group %llu, which is no longer needed: a batch is damaged",
                      (unsigned long long)header->number);
    }
}

/* One block: a whole group of this place moves on behind itself, anything else by a block. */
static uint64_t
sweep_step(struct sweep *sweep, uint64_t position)
{
    struct journal_group_header header;
    const uint8_t *at = inspect_file_view(&sweep->file, position, FORMAT_BLOCK_BYTES);
    uint64_t next = position + FORMAT_BLOCK_BYTES;

    if (at == NULL || journal_header_peek(at, &header) != RC_OK)
        return next;
    at = inspect_file_view(&sweep->file, position, header.header_bytes);
    if (at == NULL || journal_table_check(at, header.header_bytes, &header) != RC_OK)
        return next;
    if (header.tile_idx != sweep->tile_idx ||
        (uint64_t)header.block * FORMAT_BLOCK_BYTES != position ||
        header.file_sequence % JOURNAL_FILE_COUNT != sweep->file_idx)
        return next;
    sweep->inspect->totals.groups++;
    sweep_chain(sweep, &header);
    if (!sweep_is_live(sweep, header.epoch, header.number))
        sweep_payload(sweep, &header, position);
    if (header.epoch == sweep->inspect->tiles[sweep->tile_idx].epoch)
        sweep->greatest = max_u64(sweep->greatest, header.number);
    sweep->has_next = true;
    sweep->epoch = header.epoch;
    sweep->number = header.number + 1;
    sweep->sequence = header.file_sequence;
    sweep->previous_crc = header.crc;
    sweep->position = position + journal_group_bytes(&header);
    return sweep->position;
}

static void
sweep_file_header(struct sweep *sweep)
{
    const uint8_t *block = inspect_file_view(&sweep->file, 0, FORMAT_BLOCK_BYTES);
    struct journal_file_header header;
    enum rc rc = block == NULL ? RC_TRUNCATED : journal_file_header_decode(block, &header);

    if (rc != RC_OK)
        inspect__find(sweep->inspect,
                      INSPECT_AT(INSPECT_WARNING, "V1", sweep->path, 0),
                      "file header: %s; its groups prove themselves",
                      rc_text(rc));
    else if (header.file_bytes != sweep->file.bytes)
        inspect__find(sweep->inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", sweep->path, 0),
                      "the file has %llu bytes, its header says %llu",
                      (unsigned long long)sweep->file.bytes,
                      (unsigned long long)header.file_bytes);
}

static enum rc
sweep_file(struct sweep *sweep)
{
    struct inspect *inspect = sweep->inspect;
    uint64_t told = 0;

    format_path_journal(sweep->path, sweep->tile_idx, sweep->file_idx);
    enum rc rc = inspect_file_open(
        &sweep->file, inspect->disk, sweep->path, inspect->run, INSPECT_RUN_BYTES_MAX);
    if (rc == RC_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK)
        return rc;
    sweep->has_next = false;
    sweep_file_header(sweep);
    for (uint64_t at = JOURNAL_FIRST_POSITION;
         at + FORMAT_BLOCK_BYTES <= sweep->file.bytes && sweep->file.rc == RC_OK;) {
        at = sweep_step(sweep, at);
        inspect__progress(inspect, sweep->file.read_bytes - told);
        told = sweep->file.read_bytes;
    }
    rc = sweep->file.rc;
    if (rc != RC_OK)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE, "V1", sweep->path, sweep->file.window_position),
                      "%s",
                      rc_text(rc));
    inspect_file_close(&sweep->file);
    return RC_OK;
}

enum rc
inspect__sweep_journal(struct inspect *inspect, uint32_t tile_idx)
{
    const struct inspect_tile *tile = &inspect->tiles[tile_idx];
    struct sweep sweep = {.inspect = inspect, .tile_idx = tile_idx};
    enum rc rc = RC_OK;

    for (uint32_t i = 0; rc == RC_OK && i < JOURNAL_FILE_COUNT; i++) {
        sweep.file_idx = i;
        rc = sweep_file(&sweep);
    }
    /* The last groups of the epoch have nothing behind them that would tell; the checkpoint does.
     */
    if (rc == RC_OK && tile->is_known && sweep.greatest > 0 &&
        sweep.greatest + 1 < tile->replay_from) {
        format_path_journal(sweep.path, tile_idx, 0);
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "S5", sweep.path, 0),
                      "groups %llu to %llu, which are no longer needed, are not whole in any file "
                      "of tile %u",
                      (unsigned long long)sweep.greatest + 1,
                      (unsigned long long)tile->replay_from - 1,
                      tile_idx);
    }
    return rc;
}
