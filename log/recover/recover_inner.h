/* Shared by the files of log/recover only. */
#ifndef EAGRE_LOG_RECOVER_RECOVER_INNER_H
#define EAGRE_LOG_RECOVER_RECOVER_INNER_H

#include "hw/mem/mem.h"
#include "log/append/log_metrics.h"
#include "log/recover/recover.h"

/* A tile whose files were found. */
struct recover_tile {
    bool has_checkpoint;
    bool has_journal;
    bool is_clean;
    uint64_t epoch;
    uint64_t replay_from;
    uint64_t next_group;
    uint64_t next_generation;
    uint64_t groups_replayed;
    uint64_t bytes_replayed; /* of the journal: header tables and payload */
};

struct recover {
    const struct recover_plan *plan;
    struct recover_report report;
    struct diag_trail *trail;
    struct disk *disk;
    struct mem_arena arena;
    struct recover_tile tiles[RECOVER_TILES_MAX];
    uint8_t *checkpoint; /* [checkpoint_bytes] */
    uint64_t checkpoint_bytes;
    uint8_t *scan;     /* [JOURNAL_SCAN_BYTES] */
    uint8_t *manifest; /* [manifest_bytes] */
    uint64_t manifest_bytes;
    struct journal_mark *marks; /* [mark_mask + 1]: the last of each partition, open addressing */
    uint32_t mark_mask;
    struct disk_entry *entries; /* [entry_capacity] */
    uint32_t entry_capacity;
    bool has_moved; /* a partition has another owner than before */
    bool has_written;
    bool was_fenced;  /* R18 */
    bool has_corrupt; /* a journal ended in corruption (R13): partitions may exist that no one names
                       */
    const struct journal_mark
        *marked;        /* of the partition being attached: where its segment ends, or NULL */
    bool active_is_new; /* of the partition being attached: not the one that its checkpoint names */
};

/* The partition and its log, or NULL. */
struct partition *
recover__find(const struct recover *recover, uint64_t incarnation, struct log **ret_log);
/* Halts a partition and says so. */
void recover__halt(struct recover *recover,
                   struct partition *partition,
                   const char *why,
                   uint64_t position);
/* recover_files.c: manifest, directory listing and active segment of every recovered partition. */
enum rc recover__attach(struct recover *recover, struct log *log, struct partition *partition);
/* Removes directories of no partition (R15). */
enum rc recover__refuse_unknown(struct recover *recover);
enum rc recover__remove_unknown(struct recover *recover);
/* recover_marks.c: reads all MARK entries of a tile's journal (R19). */
enum rc recover__read_marks(struct recover *recover, uint32_t tile_idx);
/* A partition's last mark counts as its checkpoint when that is older. */
void recover__apply_mark(struct recover *recover, struct partition *partition);
/* The run that ends at the mark is whole, or the partition halts (R20). */
enum rc
recover__check_marked(struct recover *recover, struct log *log, struct partition *partition);
/* recover_replay.c */
enum rc recover__replay(struct recover *recover, uint32_t tile_idx);
/* Writes everything that stands in the rings into segments. */
enum rc recover__flush(struct recover *recover, struct log *log);

#endif
