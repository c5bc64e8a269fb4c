/* Replay: journal entries in order, as if they were appended again, into the slab ring and from
 * there into segments. */
#include "log/recover/recover_inner.h"

#include "engine/base/check.h"
#include "engine/record/record_marker.h"
#include "log/journal/journal_scan.h"

/* ---- from the ring into segments, at once ---- */

/* The descriptor of the active segment, opened if need be. */
static enum rc
recover_open(struct log *log, struct partition *partition, int *ret_fd)
{
    struct segment *active = partition_active(log, partition);
    char path[FORMAT_PATH_MAX];

    if (active->file != SEGMENT_NONE) {
        *ret_fd = log->files[active->file].fd;
        return RC_OK;
    }
    if (log->file_free == LOG_NONE)
        files_close_oldest_now(log);
    CHECK(log->file_free != LOG_NONE);
    format_path_segment(path, partition->incarnation, active->base_offset, 0);
    enum rc rc = disk_open(log->config.disk, path, DISK_READ | DISK_WRITE | DISK_DIRECT, ret_fd);
    if (rc == RC_OK)
        (void)files_adopt(log, *ret_fd, partition->segments.newest);
    return rc;
}

static enum rc
recover_flush_partition(struct recover *recover, struct log *log, struct partition *partition)
{
    while (partition->gather != TAIL_NONE) {
        const struct tail_entry *first = tail_at(&log->tail, partition->gather);
        bool is_long = first->bytes + 2 * FORMAT_BLOCK_BYTES > LOG_STAGING_BYTES;
        uint32_t idx = is_long ? LOG_STAGING_COUNT : 0;
        uint64_t waiting = partition->durable_bytes - partition->gathered_bytes;
        uint64_t need = partition->write_position +
                        round_up(space_worst(waiting), LOG_ALLOCATE_MIN_BYTES);
        int fd;

        enum rc rc = recover_open(log, partition, &fd);
        if (rc == RC_OK && need > partition->allocated) {
            rc = disk_allocate(
                log->config.disk, fd, partition->allocated, need - partition->allocated);
            partition->allocated = need;
        }
        if (rc != RC_OK)
            return rc;
        uint64_t position = partition->write_position;
        uint64_t bytes = flush_gather(log, partition, idx);
        CHECK(bytes > 0);
        const uint8_t *staging = log->staging + (uint64_t)idx * LOG_STAGING_BYTES;
        rc = disk_write(log->config.disk, fd, staging, bytes, position);
        if (rc != RC_OK)
            return rc;
        flush_written(log, idx);
        recover->has_written = true;
    }
    return RC_OK;
}

enum rc
recover__flush(struct recover *recover, struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0 || partition->state == PARTITION_HALTED)
            continue;
        enum rc rc = recover_flush_partition(recover, log, partition);
        if (rc != RC_OK)
            return rc;
    }
    (void)flush_span(log);
    return RC_OK;
}

static enum rc
recover_make_room(struct recover *recover, struct log *log, uint32_t bytes)
{
    for (;;) {
        if (slab_ring_unbroken(&log->ring) < bytes) {
            slab_ring_close_group(&log->ring);
            if (slab_ring_unbroken(&log->ring) < bytes)
                slab_ring_wrap(&log->ring);
        }
        if (!slab_ring_has_room(&log->ring, bytes))
            slab_ring_close_group(&log->ring); /* so that everything may be evicted */
        bool fits = flush_evict(log, bytes);
        if (fits && flush_span(log) + bytes <= log->ring.bytes / 2)
            return RC_OK;
        CHECK(log->unflushed < log->tail.next);
        uint32_t slot = tail_at(&log->tail, log->unflushed)->slot;
        CHECK(slot != TAIL_NO_SLOT);
        enum rc rc = recover_flush_partition(recover, log, &log->partitions[slot]);
        if (rc != RC_OK)
            return rc;
    }
}

/* Halts a partition in the middle of the replay. What was replayed of it before is good and goes
 * into its segment first: once it is halted its entries in the ring may be evicted. */
static enum rc
recover_halt_flushed(struct recover *recover,
                     struct log *log,
                     struct partition *partition,
                     const char *why,
                     uint64_t position)
{
    enum rc rc = RC_OK;

    if (partition->state != PARTITION_HALTED)
        rc = recover_flush_partition(recover, log, partition);
    if (rc == RC_OK)
        recover__halt(recover, partition, why, position);
    return rc;
}

/* ---- entries ---- */

/* R23. A batch of a transaction, or the marker that ends one, takes effect wherever its bytes
 * stand. */
static enum rc
recover_replay_transaction(struct recover *recover,
                           struct log *log,
                           struct partition *partition,
                           const struct journal_entry *entry)
{
    const struct record_marker marker = {
        .producer_id = entry->producer_id,
        .coordinator_epoch = (int32_t)entry->partition,
        .producer_epoch = entry->producer_epoch,
        .is_commit = (entry->flags & JOURNAL_MARKER_COMMIT) != 0,
    };
    uint32_t at = producers_find(
        &log->producers, partition->incarnation, (uint64_t)entry->producer_id);
    enum rc rc;

    if ((entry->flags & JOURNAL_MARKER) != 0)
        rc = transaction_replay_marker(log, partition, &marker, entry->base_offset);
    else if (at == PRODUCER_NONE)
        rc = RC_LIMIT; /* its sequences found no place */
    else
        rc = transaction_reopen(log, partition, at, entry->base_offset);
    if (rc != RC_OK)
        diag_trail_add(recover->trail,
                       "the journal has more transactions than producers_max, transactions_max and "
                       "transactions_aborted_max allow");
    return rc;
}

static enum rc
recover_replay_producer(struct recover *recover,
                        struct log *log,
                        struct partition *partition,
                        const struct journal_entry *entry)
{
    if (entry->producer_id < 0)
        return RC_OK;
    struct producer_claim claim = {
        .incarnation = entry->incarnation,
        .producer_id = (uint64_t)entry->producer_id,
        .epoch = entry->producer_epoch,
        .first_sequence = entry->base_sequence,
        .last_sequence = (int32_t)(((uint32_t)entry->base_sequence + entry->last_offset_delta) &
                                   INT32_MAX),
    };
    /* A full table forgets the longest unused: what it then costs is duplicates after a crash. */
    if (entry->base_sequence >= 0)
        (void)producers_replay(
            &log->producers, &claim, entry->base_offset, log_ns_of(log, entry->append_ms));
    return LIKELY(entry->flags == 0) ? RC_OK
                                     : recover_replay_transaction(recover, log, partition, entry);
}

static enum rc
recover_data(struct recover *recover,
             const struct journal_scan_group *group,
             const struct journal_entry *entry,
             bool is_intact)
{
    struct log *log;
    struct partition *partition = recover__find(recover, entry->incarnation, &log);

    if (partition == NULL || partition->state == PARTITION_HALTED)
        return RC_OK; /* R9 */
    if (entry->base_offset < partition->next_offset) {
        return recover_replay_producer(recover, log, partition, entry); /* R11 */
    }
    if (!is_intact || entry->base_offset > partition->next_offset)
        return recover_halt_flushed(recover,
                                    log,
                                    partition,
                                    is_intact ? "journal: batches are missing"
                                              : "journal: batch is damaged",
                                    group->position + entry->payload_position); /* R12, R10 */
    if (entry->length > log->ring.bytes / 2) {
        diag_trail_add(recover->trail,
                       "a stored batch of %u bytes needs a larger slab ring (setting: memory)",
                       entry->length);
        return RC_LIMIT;
    }
    enum rc rc = recover_make_room(recover, log, entry->length);
    if (rc != RC_OK)
        return rc;
    uint64_t position = slab_ring_take(&log->ring, entry->length);
    uint8_t *at = slab_ring_at(&log->ring, position);
    bytes_copy(at,
               log->ring.bytes - (position & log->ring.mask),
               group->payload + entry->payload_position,
               entry->length);
    const struct tail_batch batch = {.position = position,
                                     .bytes = entry->length,
                                     .last_delta = entry->last_offset_delta,
                                     .max_timestamp_ms = record_batch_max_timestamp(at)};
    tail_add_batch(log, partition, &batch);
    partition->durable_offset = partition->next_offset;
    partition->durable_bytes = partition->end_bytes;
    log->durable_entry = log->tail.next;
    if (entry->leader_epoch > partition->leader_epoch)
        partition_epoch_add(partition, entry->leader_epoch, entry->base_offset);
    recover->report.batches_replayed++;
    recover->report.bytes_replayed += entry->length;
    return recover_replay_producer(recover, log, partition, entry);
}

/* A reference: its batch stands in the segment, because a mark behind it in the same group said so.
 */
static enum rc
recover_reference(struct recover *recover,
                  const struct journal_scan_group *group,
                  const struct journal_entry *entry)
{
    struct log *log;
    struct partition *partition = recover__find(recover, entry->incarnation, &log);

    if (partition == NULL || partition->state == PARTITION_HALTED)
        return RC_OK;                                 /* R9 */
    if (entry->base_offset >= partition->next_offset) /* R12 */
        return recover_halt_flushed(
            recover, log, partition, "journal: a reference without its mark", group->position);
    recover->report.batches_referred++;
    return recover_replay_producer(recover, log, partition, entry); /* R11 */
}

static enum rc
recover_open_entry(struct recover *recover, const struct journal_entry *entry, uint32_t tile_idx)
{
    const struct recover_plan *plan = recover->plan;
    struct log *log;

    if (recover__find(recover, entry->incarnation, &log) != NULL)
        return RC_OK;
    uint32_t owner = plan->owner(plan->ctx, entry->topic_id, entry->partition);
    CHECK(owner < plan->log_count);
    log = plan->logs[owner];
    struct partition *partition = partition_add(log, entry->incarnation);
    if (partition == NULL) {
        diag_trail_add(recover->trail, "more partitions are stored than partitions_max allows");
        return RC_LIMIT;
    }
    partition_move(log, partition, PARTITION_OPEN);
    partition->source_tile = (uint16_t)tile_idx;
    partition->config.partition = entry->partition;
    bytes_copy(partition->config.topic_id, 16, entry->topic_id, 16);
    partition_epoch_add(partition, 0, 0);
    recover->has_moved = recover->has_moved || owner != tile_idx;
    return recover__attach(recover, log, partition);
}

static void
recover_drop(struct recover *recover, const struct journal_entry *entry)
{
    struct log *log;
    struct partition *partition = recover__find(recover, entry->incarnation, &log);

    if (partition == NULL)
        return;
    for (uint64_t at = partition->tail.oldest; at != TAIL_NONE;
         at = tail_newer(&log->tail, &partition->tail, at))
        tail_at(&log->tail, at)->slot = TAIL_NO_SLOT;
    for (uint32_t at = partition->segments.oldest; at != SEGMENT_NONE;
         at = log->segments.segments[at].newer) {
        uint32_t file = log->segments.segments[at].file;
        if (file != SEGMENT_NONE)
            log->files[file].segment = SEGMENT_NONE;
    }
    partition_remove(log, partition);
}

/* tidy: length, flat dispatch */
static enum rc
recover_entry(struct recover *recover,
              const struct journal_scan_group *group,
              uint32_t entry_idx,
              uint32_t tile_idx)
{
    const struct journal_entry *entry = &group->entries[entry_idx];
    struct log *log;
    struct partition *partition;

    switch ((enum journal_kind)entry->kind) {
    case JOURNAL_DATA:
        return recover_data(recover, group, entry, journal_scan_entry_is_intact(group, entry_idx));
    case JOURNAL_OPEN:
        return recover_open_entry(recover, entry, tile_idx);
    case JOURNAL_DROP:
        recover_drop(recover, entry);
        return RC_OK;
    case JOURNAL_START_OFFSET:
        partition = recover__find(recover, entry->incarnation, &log);
        if (partition != NULL)
            partition->start_offset = max_u64(partition->start_offset, entry->base_offset);
        return RC_OK;
    case JOURNAL_EPOCH:
        partition = recover__find(recover, entry->incarnation, &log);
        if (partition != NULL && entry->leader_epoch > partition->leader_epoch)
            partition_epoch_add(partition, entry->leader_epoch, entry->base_offset);
        return RC_OK;
    case JOURNAL_TRUNCATE:
        /* A single node never truncates what it acknowledged; who did is not us. */
        partition = recover__find(recover, entry->incarnation, &log);
        if (partition != NULL && entry->base_offset < partition->next_offset)
            return recover_halt_flushed(
                recover, log, partition, "journal: truncation", entry->base_offset);
        return RC_OK;
    case JOURNAL_REFERENCE:
        return recover_reference(recover, group, entry);
    case JOURNAL_MARK: /* R19: read before */
    case JOURNAL_HIGH_WATERMARK:
    case JOURNAL_KIND_COUNT:
        break;
    }
    return RC_OK;
}

/* R13: anything of this tile may be missing. */
static enum rc
recover_halt_tile(struct recover *recover, uint32_t tile_idx, uint64_t position)
{
    enum rc rc = RC_OK;

    for (uint32_t i = 0; i < recover->plan->log_count; i++) {
        struct log *log = recover->plan->logs[i];
        for (uint32_t slot = 0; rc == RC_OK && slot < log->partition_high; slot++) {
            struct partition *partition = &log->partitions[slot];
            if (partition->incarnation != 0 && partition->source_tile == tile_idx)
                rc = recover_halt_flushed(
                    recover, log, partition, "journal is corrupt before its end", position);
        }
    }
    return rc;
}

enum rc
recover__replay(struct recover *recover, uint32_t tile_idx)
{
    struct recover_tile *tile = &recover->tiles[tile_idx];
    struct journal_scan_config config = {
        .disk = recover->disk,
        .tile_idx = tile_idx,
        .epoch = tile->epoch,
        .replay_from = tile->replay_from,
        .node_uuid = recover->plan->logs[0]->config.node_uuid,
        .buffer = recover->scan,
    };
    struct journal_scan scan;
    struct journal_scan_group group;
    enum journal_scan_result result = JOURNAL_SCAN_GROUP;
    enum rc rc = journal_scan_begin(&scan, &config, recover->trail);

    while (rc == RC_OK && result == JOURNAL_SCAN_GROUP) {
        result = journal_scan_next(&scan, &group);
        if (result != JOURNAL_SCAN_GROUP)
            break;
        recover->report.groups_replayed++;
        tile->groups_replayed++;
        tile->bytes_replayed += group.header->header_bytes + group.header->payload_bytes;
        for (uint32_t i = 0; rc == RC_OK && i < group.header->entry_count; i++)
            rc = recover_entry(recover, &group, i, tile_idx);
    }
    if (rc == RC_OK && result == JOURNAL_SCAN_ERROR)
        rc = scan.rc;
    if (rc == RC_OK && result == JOURNAL_SCAN_CORRUPT) {
        recover->has_corrupt = true;
        rc = recover_halt_tile(recover, tile_idx, scan.where_position);
    }
    /* Whatever the evidence, a new epoch counts on above every number that was seen. */
    tile->next_group = max_u64(journal_scan_next_number(&scan), scan.evidence_number + 1);
    journal_scan_end(&scan);
    return rc;
}
