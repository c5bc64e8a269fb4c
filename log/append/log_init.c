/* Memory of a log tile: what it is made of, line by line, and the empty object. */
#include "log/append/store.h"

#include "engine/base/check.h"

#include <string.h>

/* Sizes and places of the parts, in one pass that both footprint and init use. */
struct log_layout {
    uint64_t acks;
    uint64_t now_acks;
    uint64_t bulks;
    uint64_t waits;
    uint64_t events;
    uint64_t partitions;
    uint64_t buckets;
    uint64_t producers;
    uint64_t transactions;
    uint64_t segments;
    uint64_t files;
    uint64_t jobs;
    uint64_t index;
    uint64_t entries;
    uint64_t journal;
    uint64_t manifests;
    uint64_t checkpoint;
    uint64_t staging;
    uint64_t cold;
    uint64_t ring;
    uint64_t end;
    uint64_t entry_count;
    uint64_t event_count;
    uint32_t bucket_count;
    uint32_t segment_count;
    uint64_t manifest_bytes;
    uint64_t checkpoint_bytes;
};

static uint64_t
log_power_of_two(uint64_t at_least)
{
    uint64_t value = 1;

    while (value < at_least)
        value *= 2;
    return value;
}

static struct journal_config
log_journal_config(const struct log_config *config)
{
    struct journal_config journal = {
        .io = config->io,
        .disk = config->disk,
        .tile_idx = config->tile_idx,
        .tag = io_tag(config->io_tile, LOG_TAG(LOG_TAG_JOURNAL, 0)),
        .file_bytes = config->journal_file_bytes,
        .entries_max = min_u32(JOURNAL_ENTRIES_MAX,
                               (uint32_t)(config->journal_file_bytes / 8 / JOURNAL_ENTRY_BYTES)),
    };

    __builtin_memcpy(journal.node_uuid, config->node_uuid, sizeof(journal.node_uuid));
    return journal;
}

static uint64_t
log_place(uint64_t *end, uint64_t bytes)
{
    uint64_t at = *end;

    *end = round_up(at + bytes, FORMAT_BLOCK_BYTES);
    return at;
}

/* tidy: length, flat table */
static void
log_lay_out(const struct log_config *config, struct log_layout *layout)
{
    struct journal_config journal = log_journal_config(config);
    uint64_t partitions = config->partitions_max;
    uint64_t end = round_up(sizeof(struct log), FORMAT_BLOCK_BYTES);

    layout->entry_count = max_u64(4096, config->slab_ring_bytes / 256);
    layout->event_count = log_power_of_two(2 * partitions + LOG_WAITS_MAX);
    layout->bucket_count = (uint32_t)log_power_of_two(2 * partitions + 2);
    layout->segment_count = (uint32_t)(4 * partitions + 16384);
    layout->manifest_bytes = round_up(manifest_bytes_max(LOG_PARTITION_SEGMENTS_MAX),
                                      FORMAT_BLOCK_BYTES);
    layout->checkpoint_bytes = checkpoint_bytes(partitions,
                                                partitions * CHECKPOINT_EPOCHS_MAX,
                                                config->producers_max,
                                                config->transactions_aborted_max);

    layout->acks = log_place(&end, LOG_ACKS_MAX * sizeof(struct log_ack));
    layout->now_acks = log_place(&end, LOG_ACKS_MAX * sizeof(struct log_ack));
    layout->bulks = log_place(&end, LOG_ACKS_MAX * sizeof(struct log_bulk));
    layout->waits = log_place(&end, LOG_WAITS_MAX * sizeof(struct log_wait));
    layout->events = log_place(&end, layout->event_count * sizeof(struct log_event));
    layout->partitions = log_place(&end, partitions * sizeof(struct partition));
    layout->buckets = log_place(&end, (uint64_t)layout->bucket_count * sizeof(uint32_t));
    layout->producers = log_place(&end, producers_footprint(config->producers_max));
    layout->transactions = log_place(
        &end, transactions_footprint(config->transactions_max, config->transactions_aborted_max));
    layout->segments = log_place(&end, (uint64_t)layout->segment_count * sizeof(struct segment));
    layout->files = log_place(&end, config->open_files_max * sizeof(struct log_file));
    layout->jobs = log_place(&end, LOG_JOBS_MAX * sizeof(struct log_job));
    layout->index = log_place(&end, partitions * INDEX_ENTRIES_MAX * sizeof(struct index_entry));
    layout->entries = log_place(&end, layout->entry_count * sizeof(struct tail_entry));
    layout->journal = log_place(&end, journal_footprint(&journal));
    layout->manifests = log_place(&end, LOG_MANIFESTS_MAX * layout->manifest_bytes);
    layout->checkpoint = log_place(&end, layout->checkpoint_bytes);
    layout->staging = log_place(&end,
                                LOG_STAGING_COUNT * LOG_STAGING_BYTES + LOG_STAGING_LARGE_BYTES);
    layout->cold = log_place(&end, LOG_COLD_STATE_BYTES + config->cold_bytes);
    layout->ring = log_place(&end, config->slab_ring_bytes);
    layout->end = end;
}

uint64_t
log_footprint(const struct log_config *config)
{
    struct log_layout layout;

    log_lay_out(config, &layout);
    return layout.end;
}

static enum rc
log_check_config(const struct log_config *config, struct diag_trail *trail)
{
    if (!is_power_of_two(config->slab_ring_bytes) || config->slab_ring_bytes < 1 * MIB) {
        diag_trail_add(trail, "slab ring must be a power of two of at least 1 MiB");
        return RC_INVALID;
    }
    if (config->journal_file_bytes % FORMAT_BLOCK_BYTES != 0 ||
        config->journal_file_bytes < 64 * KIB) {
        diag_trail_add(trail, "journal files must be multiples of 4 KiB of at least 64 KiB");
        return RC_INVALID;
    }
    if (config->partitions_max == 0 || config->producers_max == 0 || config->open_files_max < 4) {
        diag_trail_add(trail, "limits must be > 0, open files at least 4");
        return RC_INVALID;
    }
    if (config->cold_bytes < 2 * LOG_COLD_BYTES) {
        diag_trail_add(trail, "cold read buffers need at least 256 KiB");
        return RC_INVALID;
    }
    return RC_OK;
}

/* tidy: length, flat list of parts */
enum rc
log_init(void *memory,
         const struct log_config *config,
         struct log **ret_log,
         struct diag_trail *trail)
{
    struct log_layout layout;
    uint8_t *base = memory;
    struct log *log = memory;
    enum rc rc = log_check_config(config, trail);

    if (rc != RC_OK)
        return rc;
    CHECK(((uintptr_t)memory & (FORMAT_BLOCK_BYTES - 1)) == 0);
    log_lay_out(config, &layout);
    *log = (struct log){
        .config = *config,
        .now_ns = clock_now_ns(config->clock),
        .wall_ms = clock_wall_ms(config->clock),
        /* Small journal files get small groups: a table takes an eighth of a file at most. */
        .group_bytes = min_u64(LOG_GROUP_BYTES, config->journal_file_bytes / 4),
        .batch_bytes_max = min_u64(config->journal_file_bytes / 8 * 7 - 3 * FORMAT_BLOCK_BYTES,
                                   min_u64(config->slab_ring_bytes / 4, BATCH_BYTES_MAX)),
        .acks = (struct log_ack *)(void *)(base + layout.acks),
        .now_acks = (struct log_ack *)(void *)(base + layout.now_acks),
        .bulks = (struct log_bulk *)(void *)(base + layout.bulks),
        .waits = (struct log_wait *)(void *)(base + layout.waits),
        .events = (struct log_event *)(void *)(base + layout.events),
        .events_mask = layout.event_count - 1,
        .partitions = (struct partition *)(void *)(base + layout.partitions),
        .partition_buckets = (uint32_t *)(void *)(base + layout.buckets),
        .bucket_mask = layout.bucket_count - 1,
        .mark_first = LOG_NONE,
        .mark_last = LOG_NONE,
        .flush_first = LOG_NONE,
        .flush_last = LOG_NONE,
        .open_first = LOG_NONE,
        .open_last = LOG_NONE,
        .bulk_queue_first = LOG_NONE,
        .bulk_queue_last = LOG_NONE,
        .index_entries = (struct index_entry *)(void *)(base + layout.index),
        .staging = base + layout.staging,
        .files = (struct log_file *)(void *)(base + layout.files),
        .jobs = (struct log_job *)(void *)(base + layout.jobs),
        .manifests = base + layout.manifests,
        .manifest_bytes = layout.manifest_bytes,
        .manifests_free = BIT(LOG_MANIFESTS_MAX) - 1,
        .checkpoint = base + layout.checkpoint,
        .checkpoint_bytes = layout.checkpoint_bytes,
        .cold = (struct log_cold *)(void *)(base + layout.cold),
        .cold_memory = base + layout.cold + LOG_COLD_STATE_BYTES,
    };
    memset(log->cold, 0, LOG_COLD_STATE_BYTES);
    memset(log->partition_buckets, 0xff, (size_t)layout.bucket_count * sizeof(uint32_t));
    slab_ring_init(&log->ring, base + layout.ring, config->slab_ring_bytes);
    tail_init(&log->tail, (struct tail_entry *)(void *)(base + layout.entries), layout.entry_count);
    producers_init(&log->producers,
                   base + layout.producers,
                   config->producers_max,
                   clock_random(config->clock));
    transactions_init(&log->transactions,
                      base + layout.transactions,
                      config->transactions_max,
                      config->transactions_aborted_max);
    segment_pool_init(
        &log->segments, (struct segment *)(void *)(base + layout.segments), layout.segment_count);
    files_init(log);
    jobs_init(log);

    struct journal_config journal = log_journal_config(config);
    log->journal = journal_init(base + layout.journal, &journal);
    bulk_init(log, journal.entries_max);
    *ret_log = log;
    return RC_OK;
}

void
log_fini(struct log *log)
{
    if (log == NULL || log->journal == NULL)
        return;
    for (uint32_t i = 0; i < log->config.open_files_max; i++)
        if (log->files[i].state == FILE_OPEN) {
            disk_close(log->config.disk, log->files[i].fd);
            log->files[i].state = FILE_UNUSED;
        }
    journal_fini(log->journal);
    log->journal = NULL;
}
