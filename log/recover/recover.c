#include "log/recover/recover_inner.h"

#include "engine/base/check.h"
#include "log/checkpoint/checkpoint.h"
#include "log/journal/journal_scan.h"

#include <string.h>

#define RECOVER_ENTRIES_MAX 16384u

struct partition *
recover__find(const struct recover *recover, uint64_t incarnation, struct log **ret_log)
{
    for (uint32_t i = 0; i < recover->plan->log_count; i++) {
        struct log *log = recover->plan->logs[i];
        uint32_t slot = log_find(log, incarnation);
        if (slot == UINT32_MAX)
            continue;
        *ret_log = log;
        return &log->partitions[slot];
    }
    return NULL;
}

void
recover__halt(struct recover *recover,
              struct partition *partition,
              const char *why,
              uint64_t position)
{
    struct log *log;

    if (partition->state == PARTITION_HALTED)
        return;
    CHECK(recover__find(recover, partition->incarnation, &log) == partition);
    partition_move(log, partition, PARTITION_HALTED);
    partition->halt_why = why;
    partition->halt_position = position;
}

/* Told at the end: a partition that looks damaged before the replay may turn out to be dropped. */
static void
recover_report_halt(struct recover *recover, const struct partition *partition)
{
    recover->report.partitions_halted++;
    if (partition->halt_why == NULL)
        return; /* was halted before this start */
    diag_error("partition_halted",
               "incarnation=%llx partition=%u why=\"%s\" position=%llu next_offset=%llu",
               (unsigned long long)partition->incarnation,
               partition->config.partition,
               partition->halt_why,
               (unsigned long long)partition->halt_position,
               (unsigned long long)partition->next_offset);
    diag_trail_add(recover->trail,
                   "partition %llx halted: %s at %llu",
                   (unsigned long long)partition->incarnation,
                   partition->halt_why,
                   (unsigned long long)partition->halt_position);
}

/* ---- what is there ---- */

static enum rc
recover_find_tiles(struct recover *recover)
{
    size_t count;
    enum rc rc = disk_list(recover->disk, "", recover->entries, recover->entry_capacity, &count);

    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < min_u64(count, recover->entry_capacity); i++) {
        uint32_t tile_idx;
        uint32_t other;
        const char *name = recover->entries[i].name;
        if (strcmp(name, LOG_FENCED_PATH) == 0)
            recover->was_fenced = true;
        bool journal = format_parse_journal(name, &tile_idx, &other);
        if (!journal && !format_parse_checkpoint(name, &tile_idx, &other))
            continue;
        if (tile_idx >= RECOVER_TILES_MAX) {
            diag_trail_add(recover->trail, "%s: tile index too great", name);
            return RC_LIMIT;
        }
        if (journal)
            recover->tiles[tile_idx].has_journal = true;
        else
            recover->tiles[tile_idx].has_checkpoint = true;
    }
    return RC_OK;
}

static enum rc
recover_take_memory(struct recover *recover)
{
    uint64_t checkpoint_max = FORMAT_BLOCK_BYTES;
    uint64_t entries_bytes = (uint64_t)RECOVER_ENTRIES_MAX * sizeof(struct disk_entry);
    uint64_t partitions = 1;
    enum rc rc = RC_OK;

    recover->manifest_bytes = round_up(manifest_bytes_max(LOG_PARTITION_SEGMENTS_MAX), 4096);
    for (uint32_t i = 0; rc == RC_OK && i < RECOVER_TILES_MAX; i++) {
        uint64_t bytes = 0;
        rc = checkpoint_buffer_bytes(recover->disk, i, &bytes);
        checkpoint_max = max_u64(checkpoint_max, bytes);
    }
    uint64_t all = 0; /* a checkpoint that names the partitions of every tile */
    for (uint32_t i = 0; i < recover->plan->log_count; i++) {
        all += recover->plan->logs[i]->checkpoint_bytes;
        partitions += recover->plan->logs[i]->config.partitions_max;
    }
    while (recover->mark_mask + 1 < 2 * partitions)
        recover->mark_mask = recover->mark_mask * 2 + 1;
    uint64_t marks_bytes = ((uint64_t)recover->mark_mask + 1) * sizeof(struct journal_mark);
    checkpoint_max = max_u64(checkpoint_max, all);
    if (rc != RC_OK)
        return rc;
    recover->checkpoint_bytes = checkpoint_max;
    struct mem_arena_config config = {
        .limit_bytes = checkpoint_max + JOURNAL_SCAN_BYTES + recover->manifest_bytes +
                       entries_bytes + marks_bytes + 5 * MEM_HUGE_PAGE_BYTES,
    };
    rc = mem_arena_init(&recover->arena, &config, recover->trail);
    void *memory[5];
    const uint64_t sizes[5] = {
        checkpoint_max, JOURNAL_SCAN_BYTES, recover->manifest_bytes, entries_bytes, marks_bytes};
    static const char *const names[5] = {
        "checkpoint", "journal scan", "manifest", "names", "marks"};
    for (uint32_t i = 0; rc == RC_OK && i < 5; i++)
        rc = mem_arena_take(
            &recover->arena, names[i], round_up(sizes[i], 4096), &memory[i], recover->trail);
    if (rc != RC_OK)
        return rc;
    recover->checkpoint = memory[0];
    recover->scan = memory[1];
    recover->manifest = memory[2];
    recover->entries = memory[3];
    recover->marks = memory[4]; /* fresh memory is zero */
    recover->entry_capacity = RECOVER_ENTRIES_MAX;
    return RC_OK;
}

/* ---- checkpoints ---- */

static void
recover_fill(struct log *log,
             struct partition *partition,
             const struct checkpoint_partition *record,
             const struct format_epoch *epochs)
{
    partition_move(
        log, partition, record->state == CHECKPOINT_HALTED ? PARTITION_HALTED : PARTITION_OPEN);
    partition->config.partition = record->partition;
    bytes_copy(partition->config.topic_id, 16, record->topic_id, 16);
    partition->start_offset = record->start_offset;
    partition->manifest_generation = record->manifest_generation;
    partition->leader_epoch = record->leader_epoch;
    partition->epoch_count = record->epoch_count;
    for (uint32_t i = 0; i < record->epoch_count; i++)
        partition->epochs[i] = epochs[i];
    partition->synced = (struct partition_mark){
        .segment_base_offset = record->segment_base_offset,
        .position = record->durable_position,
        .next_offset = record->next_offset,
        .max_timestamp_offset = record->max_timestamp_offset,
        .batch_bytes = record->segment_batch_bytes,
        .manifest_generation = record->manifest_generation,
        .max_timestamp_ms = record->max_timestamp_ms,
        .created_ms = record->segment_created_ms,
    };
}

static enum rc
recover_take_partition(struct recover *recover,
                       uint32_t tile_idx,
                       const struct checkpoint_partition *record,
                       const struct format_epoch *epochs)
{
    const struct recover_plan *plan = recover->plan;
    struct log *log;
    struct partition *partition = recover__find(recover, record->incarnation, &log);

    if (record->state == CHECKPOINT_DROPPED)
        return RC_OK; /* its directory goes with R15 */
    if (partition != NULL) {
        if (record->next_offset > partition->synced.next_offset) { /* R6 */
            recover_fill(log, partition, record, epochs);
            partition->source_tile = (uint16_t)tile_idx;
        }
        return RC_OK;
    }
    uint32_t owner = plan->owner(plan->ctx, record->topic_id, record->partition);
    CHECK(owner < plan->log_count);
    partition = partition_add(plan->logs[owner], record->incarnation);
    if (partition == NULL) {
        diag_trail_add(recover->trail, "more partitions are stored than partitions_max allows");
        return RC_LIMIT;
    }
    recover->has_moved = recover->has_moved || owner != tile_idx;
    partition->source_tile = (uint16_t)tile_idx;
    recover_fill(plan->logs[owner], partition, record, epochs);
    return RC_OK;
}

/* R23. What a checkpoint says of a producer's transaction. */
static enum rc
recover_take_transaction(struct recover *recover,
                         struct log *log,
                         struct partition *partition,
                         const struct format_producer *record)
{
    struct producers *producers = &log->producers;
    uint64_t producer_id = (uint64_t)record->producer_id;
    bool is_open = record->transaction_first_offset != UINT64_MAX;

    if (!is_open && record->coordinator_epoch < 0)
        return RC_OK;
    if (producers_find(producers, record->incarnation, producer_id) == PRODUCER_NONE &&
        !producers_has_room(producers, log->now_ns)) {
        diag_trail_add(recover->trail, "more producers are stored than producers_max allows");
        return is_open ? RC_LIMIT : RC_OK;
    }
    uint32_t at = producers_take(
        producers, record->incarnation, producer_id, record->producer_epoch, log->now_ns);
    struct producer *producer = &producers->table[at];
    producer->used_ns = log_ns_of(log, record->last_append_ms);
    if (record->coordinator_epoch > producer->coordinator_epoch)
        producer->coordinator_epoch = record->coordinator_epoch;
    if (record->batch_count == 0 && producer->batch_count == 0)
        producer->batches[0].first_sequence = record->batches[0].first_sequence;
    enum rc rc = RC_OK;
    if (is_open)
        rc = transaction_reopen(log, partition, at, record->transaction_first_offset);
    if (rc != RC_OK)
        diag_trail_add(recover->trail, "more transactions are open than transactions_max allows");
    return rc;
}

static enum rc
recover_take_producer(struct recover *recover, const struct format_producer *record)
{
    struct log *log;
    struct partition *partition = recover__find(recover, record->incarnation, &log);

    if (partition == NULL)
        return RC_OK;
    for (uint32_t i = 0; i < record->batch_count; i++) {
        struct producer_claim claim = {
            .incarnation = record->incarnation,
            .producer_id = (uint64_t)record->producer_id,
            .epoch = record->producer_epoch,
            .first_sequence = record->batches[i].first_sequence,
            .last_sequence = record->batches[i].last_sequence,
        };
        (void)producers_replay(&log->producers,
                               &claim,
                               record->batches[i].base_offset,
                               log_ns_of(log, record->last_append_ms));
    }
    recover->report.producers++;
    return recover_take_transaction(recover, log, partition, record);
}

static enum rc
recover_take_aborted(struct recover *recover, const struct checkpoint_aborted *record)
{
    struct log *log;
    struct partition *partition = recover__find(recover, record->incarnation, &log);

    if (partition == NULL ||
        transaction_aborted_restore(&log->transactions, &partition->transactions, &record->entry))
        return RC_OK;
    diag_trail_add(recover->trail,
                   "more aborted transactions are stored than transactions_aborted_max allows");
    return RC_LIMIT;
}

/* R1 to R5 for one tile. */
static enum rc
recover_load(struct recover *recover, uint32_t tile_idx)
{
    struct recover_tile *tile = &recover->tiles[tile_idx];
    struct checkpoint_source source = {
        .disk = recover->disk,
        .tile_idx = tile_idx,
        .buffer = recover->checkpoint,
        .capacity = recover->checkpoint_bytes,
    };
    struct checkpoint_decoder decoder;
    struct checkpoint_found found = {0};
    enum rc rc = checkpoint_load(&source, &decoder, &found);

    tile->next_generation = 1;
    tile->next_group = 1;
    if (rc == RC_NOT_FOUND && !tile->has_journal) {
        tile->has_checkpoint = false; /* its file may have a name and no byte */
        return RC_OK;                 /* R1 */
    }
    if (rc == RC_NOT_FOUND) {
        diag_trail_add(recover->trail, "tile %u: journal without a checkpoint", tile_idx);
        return RC_CORRUPT; /* R2 */
    }
    if (rc == RC_CORRUPT && found.file_count == 1 && !tile->has_journal) {
        tile->has_checkpoint = false;
        tile->next_generation = found.next_generation;
        return RC_OK; /* R3 */
    }
    if (rc != RC_OK) {
        diag_trail_add(recover->trail, "tile %u: checkpoint", tile_idx);
        return rc; /* R4 */
    }
    tile->has_checkpoint = true;
    tile->is_clean = (decoder.header.flags & CHECKPOINT_CLEAN) != 0; /* R5 */
    tile->epoch = decoder.header.journal_epoch;
    tile->replay_from = decoder.header.replay_from;
    tile->next_group = decoder.header.replay_from;
    tile->next_generation = found.next_generation;
    recover->report.tiles_found++;
    recover->report.tiles_clean += tile->is_clean;
    const struct format_epoch *epochs;
    const struct checkpoint_partition *record;
    while (rc == RC_OK && (record = checkpoint_next_partition(&decoder, &epochs)) != NULL)
        rc = recover_take_partition(recover, tile_idx, record, epochs);
    const struct format_producer *producer;
    while (rc == RC_OK && (producer = checkpoint_next_producer(&decoder)) != NULL)
        rc = recover_take_producer(recover, producer);
    const struct checkpoint_aborted *aborted;
    while (rc == RC_OK && (aborted = checkpoint_next_aborted(&decoder)) != NULL)
        rc = recover_take_aborted(recover, aborted);
    return rc;
}

static enum rc
recover_attach_all(struct recover *recover)
{
    enum rc rc = RC_OK;

    for (uint32_t i = 0; i < recover->plan->log_count; i++) {
        struct log *log = recover->plan->logs[i];
        for (uint32_t slot = 0; rc == RC_OK && slot < log->partition_high; slot++)
            if (log->partitions[slot].incarnation != 0)
                rc = recover__attach(recover, log, &log->partitions[slot]);
    }
    return rc;
}

/* ---- after the replay ---- */

/* Producer states tell of batches that did not survive when the crash came between them and their
 * group. */
static void
recover_cut_producers(struct log *log)
{
    for (uint32_t i = 0; i < log->producers.count; i++) {
        uint64_t incarnation = log->producers.table[i].incarnation;
        uint32_t slot = log_find(log, incarnation);
        if (incarnation != 0)
            producers_cut(
                &log->producers, i, slot == UINT32_MAX ? 0 : log->partitions[slot].next_offset);
    }
}

static void
recover_finish_partitions(struct recover *recover, struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++) {
        struct partition *partition = &log->partitions[slot];
        if (partition->incarnation == 0)
            continue;
        if (partition->start_offset < partition->gone_below) /* R16 */
            recover__halt(recover, partition, "active segment missing", partition->gone_below);
        uint64_t oldest = log->segments.segments[partition->segments.oldest].base_offset;
        if (oldest > partition->start_offset) /* R7 */
            recover__halt(recover, partition, "segments above the start offset missing", oldest);
        if (partition->state == PARTITION_HALTED)
            recover_report_halt(recover, partition);
        transaction_cut(log, partition); /* R23 */
        transaction_segment_begun(log, partition);
        partition->synced = partition_mark_now(log, partition);
        partition->is_dirty = false;
        partition->start_durable = partition->start_offset; /* in the checkpoint to come */
        recover->report.partitions++;
        if (!recover->tiles[partition->source_tile].is_clean)
            partition_epoch_add(
                partition, partition->leader_epoch + 1, partition->next_offset); /* R14 */
    }
}

static void
recover_encode_log(struct checkpoint_encoder *encoder, const struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++)
        if (log->partitions[slot].incarnation != 0)
            reclaim_encode_partition(encoder, &log->partitions[slot]);
}

static void
recover_encode_log_producers(struct checkpoint_encoder *encoder, const struct log *log)
{
    for (uint32_t i = 0; i < log->producers.count; i++)
        if (log->producers.table[i].incarnation != 0)
            reclaim_encode_producer(encoder, log, &log->producers.table[i]);
}

static void
recover_encode_log_aborted(struct checkpoint_encoder *encoder, const struct log *log)
{
    for (uint32_t slot = 0; slot < log->partition_high; slot++)
        if (log->partitions[slot].incarnation != 0)
            reclaim_encode_aborted(encoder, log, &log->partitions[slot]);
}

/* Writes the checkpoint of one of today's tiles; with `all` it names the partitions of every tile.
 */
static enum rc
recover_store(struct recover *recover, uint32_t log_idx, bool all)
{
    struct log *log = recover->plan->logs[log_idx];
    struct recover_tile *tile = &recover->tiles[log_idx];
    struct checkpoint_encoder encoder;

    log->checkpoint_generation = tile->next_generation++ - 1;
    struct checkpoint_header header = reclaim_header(log);
    header.journal_epoch = tile->epoch;
    header.replay_from = tile->next_group;
    uint64_t capacity = all ? recover->checkpoint_bytes : log->checkpoint_bytes;
    uint8_t *buffer = all ? recover->checkpoint : log->checkpoint;
    checkpoint_encode_begin(&encoder, buffer, capacity, &header);
    for (uint32_t i = 0; i < recover->plan->log_count; i++)
        if (all || i == log_idx)
            recover_encode_log(&encoder, recover->plan->logs[i]);
    for (uint32_t i = 0; i < recover->plan->log_count; i++)
        if (all || i == log_idx)
            recover_encode_log_producers(&encoder, recover->plan->logs[i]);
    for (uint32_t i = 0; i < recover->plan->log_count; i++)
        if (all || i == log_idx)
            recover_encode_log_aborted(&encoder, recover->plan->logs[i]);
    uint64_t bytes = checkpoint_encode_end(&encoder);
    if (bytes == 0)
        return RC_NO_MEMORY;
    enum rc rc = checkpoint_store(
        recover->disk, log_idx, log->checkpoint_generation, buffer, bytes);
    if (rc == RC_OK) {
        log_count(log, METRIC_CHECKPOINTS_WRITTEN, 1);
        log_count(log, METRIC_CHECKPOINT_BYTES, bytes);
    }
    return rc;
}

/* New epochs become durable before anything is served. When partitions have changed their tile,
 * every tile first names all of them, so that a crash between two checkpoints leaves none without
 * an owner. */
static enum rc
recover_commit(struct recover *recover)
{
    const struct recover_plan *plan = recover->plan;
    enum rc rc = RC_OK;

    if (recover->has_corrupt)
        rc = recover__refuse_unknown(recover); /* R17, before anything is written */
    if (rc != RC_OK)
        return rc;
    for (uint32_t i = 0; i < plan->log_count; i++)
        recover->tiles[i].epoch = journal_epoch_next(recover->tiles[i].epoch,
                                                     clock_random(plan->logs[i]->config.clock));
    for (uint32_t i = 0; recover->has_moved && rc == RC_OK && i < plan->log_count; i++)
        rc = recover_store(recover, i, true);
    for (uint32_t i = 0; rc == RC_OK && i < plan->log_count; i++)
        rc = recover_store(recover, i, false);
    for (uint32_t i = plan->log_count; rc == RC_OK && i < RECOVER_TILES_MAX; i++) {
        if (recover->tiles[i].has_journal)
            rc = journal_remove_files(recover->disk, i);
        if (rc == RC_OK && recover->tiles[i].has_checkpoint)
            rc = checkpoint_remove(recover->disk, i);
    }
    if (rc != RC_OK)
        diag_trail_add(recover->trail, "checkpoint of the new start");
    if (rc == RC_OK)
        rc = recover__remove_unknown(recover); /* R15 */
    if (rc == RC_OK && recover->was_fenced) {
        rc = disk_remove_directory(recover->disk, LOG_FENCED_PATH);
        if (rc == RC_OK)
            rc = disk_sync_directory(recover->disk, "");
    }
    for (uint32_t i = 0; rc == RC_OK && i < plan->log_count; i++) {
        rc = journal_open_files(plan->logs[i]->journal,
                                recover->tiles[i].epoch,
                                recover->tiles[i].next_group,
                                recover->trail);
        plan->logs[i]->is_serving = rc == RC_OK;
    }
    return rc;
}

static enum rc
recover_all(struct recover *recover)
{
    const struct recover_plan *plan = recover->plan;
    enum rc rc = recover_take_memory(recover);

    if (rc == RC_OK)
        rc = recover_find_tiles(recover);
    for (uint32_t i = 0; rc == RC_OK && i < RECOVER_TILES_MAX; i++)
        if (recover->tiles[i].has_checkpoint || recover->tiles[i].has_journal ||
            i < plan->log_count)
            rc = recover_load(recover, i);
    for (uint32_t i = 0; rc == RC_OK && i < RECOVER_TILES_MAX; i++)
        if (recover->tiles[i].has_checkpoint)
            rc = recover__read_marks(recover, i); /* R19 */
    if (rc == RC_OK)
        rc = recover_attach_all(recover);
    for (uint32_t i = 0; rc == RC_OK && i < RECOVER_TILES_MAX; i++)
        /* A clean one too: nothing follows it, unless a later checkpoint was lost, which the
         * journal tells. */
        if (recover->tiles[i].has_checkpoint)
            rc = recover__replay(recover, i);
    for (uint32_t i = 0; rc == RC_OK && i < plan->log_count; i++) {
        slab_ring_close_group(&plan->logs[i]->ring);
        rc = recover__flush(recover, plan->logs[i]);
    }
    if (rc == RC_OK && recover->has_written)
        rc = disk_sync_all(recover->disk);
    for (uint32_t i = 0; rc == RC_OK && i < plan->log_count; i++) {
        recover_finish_partitions(recover, plan->logs[i]);
        recover_cut_producers(plan->logs[i]);
    }
    return rc == RC_OK ? recover_commit(recover) : rc;
}

/* What the log tiles tell of this start. A journal of a tile that is no more counts for one of
 * today's. */
static void
recover_publish(const struct recover *recover, uint64_t begin_ns)
{
    const struct recover_plan *plan = recover->plan;

    for (uint32_t i = 0; i < plan->log_count; i++) {
        struct log *log = plan->logs[i];
        uint64_t groups = 0;
        uint64_t bytes = 0;
        for (uint32_t tile_idx = i; tile_idx < RECOVER_TILES_MAX; tile_idx += plan->log_count) {
            groups += recover->tiles[tile_idx].groups_replayed;
            bytes += recover->tiles[tile_idx].bytes_replayed;
        }
        for (uint32_t slot = 0; slot < log->partition_high; slot++)
            if (log->partitions[slot].incarnation != 0)
                log_publish_partition(log, &log->partitions[slot]);
        log_publish(log);
        if (log->config.metrics == NULL)
            continue;
        metrics_set(log->config.metrics, METRIC_RECOVERY_GROUPS, groups);
        metrics_set(log->config.metrics, METRIC_RECOVERY_JOURNAL_BYTES, bytes);
        metrics_set(log->config.metrics, METRIC_RECOVERY_PARTITIONS, log->partition_count);
        metrics_set(log->config.metrics,
                    METRIC_RECOVERY_DURATION_NS,
                    clock_now_ns(log->config.clock) - begin_ns);
    }
}

enum rc
recover_run_all(const struct recover_plan *plan,
                struct recover_report *ret_report,
                struct diag_trail *trail)
{
    struct recover recover = {
        .plan = plan,
        .trail = trail,
        .disk = plan->logs[0]->config.disk,
    };

    CHECK(plan->log_count >= 1);
    CHECK(plan->log_count <= RECOVER_TILES_MAX);
    uint64_t begin_ns = clock_now_ns(plan->logs[0]->config.clock);
    for (uint32_t i = 0; i < plan->log_count; i++)
        CHECK(plan->logs[i]->config.tile_idx == i);
    enum rc rc = recover_all(&recover);
    if (rc == RC_OK)
        recover_publish(&recover, begin_ns);
    mem_arena_fini(&recover.arena);
    *ret_report = recover.report;
    return rc;
}

static uint32_t
recover_only_owner(void *ctx, const uint8_t *topic_id, uint32_t partition)
{
    (void)ctx;
    (void)topic_id;
    (void)partition;
    return 0;
}

enum rc
recover_run(struct log *log, struct recover_report *ret_report, struct diag_trail *trail)
{
    struct recover_plan plan = {.logs = &log, .log_count = 1, .owner = recover_only_owner};

    return recover_run_all(&plan, ret_report, trail);
}
