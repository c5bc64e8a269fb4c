/* A partition as its log tile sees it: states, what is gathered, sealed and kept of it. Part of the
 * inside of struct log; see store.h. */
#ifndef EAGRE_LOG_APPEND_STORE_PARTITION_H
#define EAGRE_LOG_APPEND_STORE_PARTITION_H

#include "log/append/log.h"
#include "log/append/store_limits.h"
#include "log/append/tail.h"
#include "log/append/transaction.h"
#include "log/format/checkpoint_format.h"
#include "log/index/index.h"
#include "log/segment/segment.h"

/* Tags of io requests: kind in bits [55:48], index below. */
enum log_tag {
    LOG_TAG_JOURNAL = 1,
    LOG_TAG_FLUSH,
    LOG_TAG_FOOTER,
    LOG_TAG_SYNC,
    LOG_TAG_COLD,
    LOG_TAG_BULK
};
#define LOG_TAG(kind, idx) (((uint64_t)(kind) << 48) | (idx))

enum partition_state {
    PARTITION_FREE,    /* slot not in use */
    PARTITION_OPENING, /* directory, first segment and OPEN entry are being made */
    PARTITION_OPEN,
    PARTITION_FENCED,   /* a write or sync failed: refuses everything until restart */
    PARTITION_HALTED,   /* stored bytes are damaged: refuses everything */
    PARTITION_DROPPING, /* being deleted */
    PARTITION_STATE_COUNT
};

enum partition_roll { ROLL_NONE, ROLL_CREATING, ROLL_READY };
enum partition_seal { SEAL_NONE, SEAL_FOOTER, SEAL_TRUNCATE, SEAL_MANIFEST };
enum partition_open_step { OPEN_DIRECTORY, OPEN_SEGMENT, OPEN_JOURNAL, OPEN_DONE };
enum partition_bulk { BULK_IDLE, BULK_SYNCING, BULK_SYNCED };
enum partition_drop_step { DROP_JOURNAL, DROP_QUIET, DROP_CLOSE, DROP_TREE };

/* What a checkpoint says about the active segment; see struct checkpoint_partition. */
struct partition_mark {
    uint64_t segment_base_offset;
    uint64_t position;
    uint64_t next_offset;
    uint64_t max_timestamp_offset;
    uint64_t batch_bytes;
    uint64_t manifest_generation; /* of that moment: a later one tells that the segment was left */
    int64_t max_timestamp_ms;
    int64_t created_ms;
};

struct partition_hint {
    uint64_t offset; /* a reader is expected here ... */
    uint64_t entry;  /* ... which is this tail entry */
};

struct partition {
    uint64_t incarnation; /* 0: free */
    uint64_t next_offset; /* end of the log */
    uint64_t durable_offset;
    uint64_t start_offset;
    uint64_t start_durable; /* the start offset that the journal or a checkpoint has for sure */
    uint64_t end_bytes;     /* batch bytes appended since open */
    uint64_t durable_bytes;
    uint64_t gathered_bytes;
    uint64_t flushed_offset; /* entries below are in the segments (written, not synced) */
    uint64_t gather;         /* first tail entry not yet gathered, or TAIL_NONE */
    struct tail_list tail;
    uint8_t state;      /* enum partition_state */
    uint8_t durability; /* enum log_durability */
    bool is_flush_queued;
    bool is_flushing;      /* one write under way */
    bool is_forced;        /* flush what is durable, however little */
    bool is_marked;        /* in the queue of marks */
    bool is_dirty;         /* written since the last sync */
    uint16_t source_tile;  /* whose checkpoint or journal it was recovered from */
    uint32_t armed;        /* requesters waiting for a mark, one bit each */
    uint32_t armed_stable; /* those who wait for the last stable offset to leave stable_armed */
    uint64_t stable_armed;
    int32_t leader_epoch;
    struct partition_transactions transactions;
    /* bulk bypass; see bulk.c */
    uint64_t bulk_next;  /* first tail entry that the journal does not name, or TAIL_NONE */
    uint32_t bulk_first; /* its place in log->bulks, and that of the newest */
    uint32_t bulk_last;
    uint32_t next_bulk;              /* queue through slots */
    uint8_t bulk_step;               /* enum partition_bulk */
    uint32_t bulk_written;           /* batches from bulk_next on that are in the segment */
    uint32_t bulk_covered;           /* of them, by the sync under way or done */
    uint32_t last_run_bytes;         /* of the active segment, with padding */
    uint32_t bulk_run_bytes;         /* the same when that sync began */
    struct partition_mark bulk_mark; /* of that moment */
    bool is_bulk_queued;
    bool is_bulk_warm;   /* the last bulk write was worth it: the next batch goes the same way */
    uint32_t next_flush; /* queues through slots */
    uint32_t next_mark;
    uint32_t next_open;

    /* the active segment and the one after it */
    struct segment_list segments;
    uint64_t write_position; /* of the next run, writes under way included */
    uint64_t allocated;      /* bytes of the active file */
    uint64_t roll_offset;    /* first offset of the next segment while roll != ROLL_NONE */
    uint64_t roll_bytes;     /* end_bytes when it was chosen */
    uint64_t next_allocated;
    uint64_t space_retry_ns; /* != 0: an allocation failed for lack of space */
    uint32_t next_file;      /* handle of the next segment's file */
    uint32_t sealing;        /* segment being sealed, or SEGMENT_NONE */
    uint8_t roll;
    uint8_t seal;
    uint8_t open_step;
    uint8_t drop_step;
    bool is_allocating;
    bool is_manifest_busy;
    bool is_seal_sent; /* the job of the present step of sealing is under way */
    bool is_captured;  /* its sync is under way */
    bool has_failed;   /* a write or sync failed: never flushed again, whatever the state */
    bool is_named;     /* a log_open() since the start named it; see log_next_unnamed() */
    bool is_retaining; /* log/retain: a deletion is under way */
    bool is_retain_sent;
    uint8_t retain_step;
    uint8_t retain_cause; /* enum metric_deleted */
    uint32_t retain_generation;
    uint64_t retain_base;        /* of the segment being deleted */
    bool is_compacting;          /* log/compact: a run is under way */
    bool is_compact_stopped;     /* a stored batch is damaged: never again before a restart */
    uint32_t compact_generation; /* greatest file generation used or tried */
    uint64_t compact_retry_ns;   /* after a failure: not before */
    uint64_t compact_backoff_ns;
    uint64_t tail_floor;     /* below it readers do not get what the ring still has */
    uint64_t cleaned_offset; /* below it compaction has left each key once */
    uint32_t jobs;           /* disk jobs and writes of this partition under way */
    struct index index;
    uint64_t manifest_generation;  /* durable on disk; 0: none */
    uint64_t max_timestamp_offset; /* of the greatest timestamp of all */
    int64_t max_timestamp_ms;

    struct partition_mark synced;  /* as on the device */
    struct partition_mark capture; /* as it was when the sync under way began */
    uint32_t syncing;              /* the segment whose handle that sync of its own holds */
    struct partition_hint hints[LOG_HINTS];
    uint32_t hint_next;

    struct log_partition_config config;
    uint64_t ctx;         /* of the open or drop under way */
    const char *halt_why; /* recovery only: told when the partition is still there at the end */
    uint64_t halt_position;
    uint64_t
        gone_below; /* recovery only: R16, the start offset must turn out to be here at least */
    uint32_t epoch_count;
    struct format_epoch epochs[CHECKPOINT_EPOCHS_MAX];
};

#endif
