/* Shared by the files of engine/inspect only. */
#ifndef EAGRE_ENGINE_INSPECT_INSPECT_INNER_H
#define EAGRE_ENGINE_INSPECT_INSPECT_INNER_H

#include "engine/inspect/inspect.h"

#include "engine/topic/topic_store.h"
#include "hw/mem/mem.h"
#include "log/format/checkpoint_format.h"
#include "log/format/manifest_format.h"
#include "log/journal/journal_scan.h"

struct inspect_tile {
    bool has_checkpoint; /* a file of it */
    bool has_journal;
    bool is_known;   /* its checkpoint is whole, or there is none and no journal */
    bool is_corrupt; /* its journal breaks off before its end (R13) */
    uint64_t epoch;
    uint64_t replay_from;
    uint64_t live_end; /* one past the last group that a start would replay */
};

/* What the checkpoints, the journal and the directory say of one partition. */
struct inspect_partition {
    uint64_t incarnation; /* 0: free */
    uint8_t topic_id[FORMAT_UUID_BYTES];
    uint32_t partition;
    uint32_t state; /* enum checkpoint_state */
    uint32_t tile_idx;
    uint32_t segments;
    bool has_checkpoint; /* a checkpoint names it */
    bool has_mark;       /* mark counts as its checkpoint (R19) */
    bool is_gone;        /* R16: the active segment was deleted after it was sealed */
    bool is_broken;      /* replay cannot be followed any more: told once */
    bool has_sums;       /* the checkpoint's sums of the active segment count */
    bool is_skipped;     /* --topic names another */
    int32_t leader_epoch;
    uint64_t segment_base_offset;
    uint64_t position;
    uint64_t next_offset; /* that replay goes on with */
    uint64_t start_offset;
    uint64_t high_watermark;
    uint64_t manifest_generation;
    uint64_t batch_bytes; /* of the active segment below position */
    int64_t max_timestamp_ms;
    uint64_t oldest_offset; /* of the first segment that is there */
    uint64_t gone_below;    /* R16 */
    struct journal_mark mark;
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;
    uint32_t warnings;
    uint32_t damages;
};

/* What a walk over runs has seen. */
struct inspect_walk {
    uint64_t next_offset;
    uint64_t batches;
    uint64_t batch_bytes;
    uint64_t record_count; /* offsets that batches cover */
    uint64_t records;      /* that are in them */
    int64_t first_timestamp_ms;
    int64_t max_timestamp_ms;
    uint64_t max_timestamp_offset;
    int32_t last_epoch;
    bool is_damaged; /* sums mean nothing */
};

struct inspect {
    struct inspect_options options;
    struct inspect_totals totals;
    struct diag_trail *trail;
    struct disk *disk;
    struct mem_arena arena;
    struct inspect_tile tiles[INSPECT_TILES_MAX];
    struct meta_block meta;
    uint8_t *checkpoint; /* [checkpoint_bytes] */
    uint64_t checkpoint_bytes;
    uint8_t *scan;                        /* [JOURNAL_SCAN_BYTES] */
    uint8_t *run;                         /* [INSPECT_RUN_BYTES_MAX] */
    uint8_t *records;                     /* [INSPECT_RECORDS_BYTES_MAX] */
    uint8_t *sections;                    /* [INSPECT_SECTIONS_BYTES_MAX] */
    uint8_t *manifest;                    /* [manifest_bytes(MANIFEST_SEGMENTS_MAX)] */
    struct disk_entry *entries;           /* [INSPECT_FILES_MAX] */
    struct inspect_partition *partitions; /* [2 * INSPECT_PARTITIONS_MAX], open addressing */
    uint32_t partition_count;
    struct topic_store store;
    bool store_is_broken;              /* told once */
    struct inspect_partition *current; /* whose file is looked at, or NULL */
    char file_name[DISK_PATH_MAX];     /* of the last finding */
    uint32_t file_findings;
    uint64_t progress_bytes; /* told last */
    uint64_t total_bytes;
};

/* inspect.c */
void
inspect__find(struct inspect *inspect, const struct inspect_finding *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* For inspect__find(): how bad, by which rule, and where. */
#define INSPECT_AT(how_bad, by_rule, path, at) \
    (&(const struct inspect_finding){          \
        .grade = (how_bad), .rule = (by_rule), .file = (path), .position = (at)})
/* Counts bytes that were read and tells of it now and then. */
void inspect__progress(struct inspect *inspect, uint64_t bytes);
/* The partition; with add it is made. NULL: unknown, or the table is full (told). */
struct inspect_partition *
inspect__partition(struct inspect *inspect, uint64_t incarnation, bool add);
/* The topic's name, "" when it is not known. */
const char *inspect__topic(const struct inspect *inspect,
                           const struct inspect_partition *partition);

/* inspect_checkpoint.c: eagre.meta, then the checkpoints of every tile found. */
enum rc inspect__read_meta(struct inspect *inspect);
enum rc inspect__find_tiles(struct inspect *inspect);
enum rc inspect__read_checkpoint(struct inspect *inspect, uint32_t tile_idx);

/* inspect_journal.c */
/* Who is there: OPEN, DROP and MARK entries of what a start would replay (R19), and the end of it
 * by the S-rules. */
enum rc inspect__scan_journal(struct inspect *inspect, uint32_t tile_idx);
/* Follows the batches as replay would, of the metadata log alone or of all others. */
enum rc inspect__replay_journal(struct inspect *inspect, uint32_t tile_idx, bool metadata);
/* Every group that is left in the files, of any epoch. */
enum rc inspect__sweep_journal(struct inspect *inspect, uint32_t tile_idx);

/* inspect_partition.c */
enum rc inspect__check_partition(struct inspect *inspect, struct inspect_partition *partition);
enum rc inspect__check_unknown(struct inspect *inspect);
/* After the replay: what only then can be said (R7, R16). */
void inspect__finish_partition(struct inspect *inspect, struct inspect_partition *partition);

/* inspect_segment.c: path's runs from 0 to `end`. */
struct inspect_segment {
    const char *path;
    uint64_t base_offset;
    uint64_t end;                           /* of the last run */
    const struct manifest_segment *listed;  /* NULL: the active one, without a footer */
    const struct manifest_aborted *aborted; /* what its footer must list, or NULL: not told */
};
enum rc inspect__check_segment(struct inspect *inspect,
                               const struct inspect_segment *segment,
                               struct inspect_walk *ret_walk);

/* inspect_footer.c */
struct inspect_footer {
    struct segment_trailer trailer;
    bool is_whole; /* trailer is right */
    const struct index_offset_entry *offsets;
    const struct index_time_entry *times;
    const struct aborted_entry *aborted;
    uint64_t offset_count;
    uint64_t time_count;
    uint64_t aborted_count;
    uint64_t offset_at; /* next entry to be met by the walk */
    uint64_t time_at;
    uint64_t aborted_at;
};
void inspect__read_footer(struct inspect *inspect,
                          struct inspect_file *file,
                          const struct inspect_segment *segment,
                          struct inspect_footer *ret_footer);
/* One batch of the walk, before the walk counts it: are the entries that should point here right?
 */
struct inspect_batch {
    const uint8_t *at;
    uint32_t bytes;
    uint64_t position; /* in the file */
    uint64_t run_position;
};
void inspect__meet_indexes(struct inspect *inspect,
                           const struct inspect_segment *segment,
                           struct inspect_footer *footer,
                           const struct inspect_batch *batch,
                           const struct inspect_walk *walk);
/* After the walk: entries that nothing was met for, and the trailer's sums. */
void inspect__end_footer(struct inspect *inspect,
                         const struct inspect_segment *segment,
                         const struct inspect_footer *footer,
                         const struct inspect_walk *walk);

/* inspect_records.c: the records of an intact batch; counts them for the partition. */
void inspect__check_records(struct inspect *inspect,
                            const char *path,
                            const struct inspect_batch *batch,
                            struct inspect_walk *walk);

#endif
