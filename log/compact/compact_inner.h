/* The task between a log tile and the compactor, and what the log tile keeps of a run. Private to
 * log/compact; see compact.h. */
#ifndef EAGRE_LOG_COMPACT_COMPACT_INNER_H
#define EAGRE_LOG_COMPACT_COMPACT_INNER_H

#include "log/append/store.h"
#include "log/compact/compact.h"

#define COMPACT_SCAN_NS NS_PER_S /* how often every partition is looked at */
#define COMPACT_PARTITIONS_PER_POLL 256u
#define COMPACT_RETRY_MIN_NS (10 * NS_PER_S) /* after a failure; doubles up to: */
#define COMPACT_RETRY_MAX_NS (640 * NS_PER_S)
#define COMPACT_ABORTED_MAX 16384u     /* aborted transactions of one partition's footers */
#define COMPACT_TASK_ABORTED_MAX 1024u /* ... that the log tile has beside them */
#define COMPACT_GROUP_ABORTED_MAX SEGMENT_ABORTED_MAX /* of one output's footer */

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
    /* What footers do not tell, or not yet: of the log tile's own list. Readers are told of these
     * by it, so their markers stay. */
    uint32_t aborted_count;
    struct aborted_entry aborted[COMPACT_TASK_ABORTED_MAX]; /* ascending last_offset */
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

#endif
