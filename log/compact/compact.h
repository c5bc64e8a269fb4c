/* Compaction: of each key, the newest record stays.
 *
 * Two sides. The log tile (compact_log.c) sees which partition is dirty, asks for it, swaps what
 * comes back into its list and manifest, and removes the old files. The compactor (compactor.c), a
 * tile of its own on a thread of its own, reads and writes files with calls that block, so that no
 * read of an old segment ever holds up an append or control. Between them stands one task per log
 * tile, which belongs to one side at a time:
 *
 *   log tile: ask ──────────────► compactor: maps keys, copies a group of segments, syncs
 *             swap, unlink ◄───── GROUP
 *             go on ────────────► ... next group ...
 *             end ◄────────────── DONE | FAILED
 *
 * Order of a swap: output synced with its name -> in the list -> manifest durable -> old files
 * unlinked when their last reader is done. A crash leaves the old or the new segments, never
 * neither.
 *
 *   compactor_init(); core_add(core, "compact", &compactor_tile_ops, compactor)
 *   compact_attach(log, &link)     once per log tile, after recovery */
#ifndef EAGRE_LOG_COMPACT_COMPACT_H
#define EAGRE_LOG_COMPACT_COMPACT_H

#include "log/append/store.h"

#define COMPACT_SCAN_NS NS_PER_S /* how often every partition is looked at */
#define COMPACT_PARTITIONS_PER_POLL 256u
#define COMPACT_RETRY_MIN_NS (10 * NS_PER_S) /* after a failure; doubles up to: */
#define COMPACT_RETRY_MAX_NS (640 * NS_PER_S)
#define COMPACT_ABORTED_MAX 16384u     /* aborted transactions of one partition's footers */
#define COMPACT_GROUP_ABORTED_MAX 512u /* of one output: its footer has room for them */
#define COMPACT_MEMORY_MIN (1 * MIB)
#define COMPACT_TASKS_MAX 64u

/* A sealed segment to be read. */
struct compact_input {
    uint64_t base_offset;
    uint64_t next_offset;
    uint64_t data_bytes;
    uint64_t file_bytes;
    uint64_t batch_bytes;
    uint32_t file_generation;
};

enum compact_owner { COMPACT_OWNER_LOG, COMPACT_OWNER_COMPACTOR };

enum compact_answer {
    COMPACT_GROUP,  /* output replaces inputs [group_first, group_first + group_count) */
    COMPACT_DONE,   /* all groups were swapped; map_end is clean */
    COMPACT_FAILED, /* rc says why; what was swapped counts */
};

/* Why a run failed; metric label. Same order as metrics.def. */
enum compact_reason {
    COMPACT_REASON_SPACE,
    COMPACT_REASON_IO,
    COMPACT_REASON_CORRUPT,
    COMPACT_REASON_LIMIT,
    COMPACT_REASON_CANCELLED,
};

struct compact_task {
    /* Who may touch the rest. A release by the side that gives it away pairs with an acquire by the
     * side that looks. */
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t owner; /* enum compact_owner */
    _Atomic uint32_t is_cancelled; /* log to compactor, at any time; relaxed: a hint to hurry */

    /* asked */
    _Alignas(BASE_LINE_BYTES) uint64_t incarnation;
    uint64_t cleaned_offset; /* below it every key stands once */
    uint64_t segment_bytes;
    int64_t now_ms;
    int64_t delete_retention_ms;
    uint32_t generation; /* of the outputs' names */
    uint32_t epoch_count;
    struct format_epoch epochs[CHECKPOINT_EPOCHS_MAX];
    uint32_t input_count;
    struct compact_input inputs[LOG_PARTITION_SEGMENTS_MAX]; /* oldest first, without a hole */

    bool is_output_taken; /* the last output belongs to the log: its file is not removed */

    /* answered */
    enum compact_answer answer;
    enum rc rc;
    enum compact_reason reason;
    uint64_t failed_base; /* FAILED: segment and position, when a file was at fault */
    uint64_t failed_position;
    uint32_t group_first;
    uint32_t group_count;
    struct segment output; /* as it is on the disk; number, slot and links are the log's */
    uint64_t map_end;      /* keys were looked at below it */
    uint64_t bytes_read;   /* since the last answer, as the next four */
    uint64_t bytes_written;
    uint64_t records_removed;
    uint64_t records_keyless; /* kept: they came compressed */
    uint64_t batches_whole;   /* kept as they are: too long when unpacked, or no records */
};

/* What a log tile shares with the compactor, and what it keeps for itself. */
struct compact_link {
    struct compact_task task;
    struct waker *compactor; /* told of a task; NULL: nobody sleeps (tests) */
    struct waker *log;       /* told of an answer */
    /* the log tile's own */
    uint32_t slot; /* of the partition under way, or LOG_NONE */
    uint8_t step;  /* enum compact_step, compact_log.c */
    bool is_sent;
    bool is_swap_failed;
    uint64_t began_ns;
    uint64_t scan_next_ns;
    uint32_t scan; /* slot to look at next */
    uint32_t best; /* dirtiest slot of this scan, or LOG_NONE */
    uint64_t best_ratio;
    uint64_t scan_ratio_max;
    uint64_t scan_dirty_bytes;
    uint32_t output;      /* segment record that was put in */
    uint32_t retired;     /* first of the records that it replaced, or SEGMENT_NONE */
    uint64_t old_cleaned; /* to go back to */
};

/* From now on log_poll() compacts. link: zeroed, lives as long as the log. Call once, after
 * recovery. */
void compact_attach(struct log *log, struct compact_link *link);

/* ---- the compactor ---- */

struct compactor_config {
    struct clock *clock;
    struct disk *disk;
    uint64_t memory_bytes;     /* for the map of keys, >= COMPACT_MEMORY_MIN */
    uint64_t bytes_per_second; /* read and written together; 0: no limit */
    uint64_t seed;             /* of the hashes: not to be guessed by who chooses keys */
    uint32_t link_count;
    struct compact_link *links[COMPACT_TASKS_MAX];
};

struct compactor;
extern const struct tile_ops compactor_tile_ops;

uint64_t compactor_footprint(const struct compactor_config *config);
/* memory: compactor_footprint() bytes, 4 KiB aligned, zero or not. */
struct compactor *compactor_init(void *memory, const struct compactor_config *config);
/* Bounded work: at most one window of 1 MiB, or one batch, is read and copied. Runs on: the
 * compaction tile. Blocks: in files. */
struct tile_report compactor_poll(void *compactor, uint64_t now_ns);

#endif
