/* What a log tile has under way: groups, waits, segment writes, open files, jobs of control,
 * reclaim. Part of the inside of struct log; see store.h. */
#ifndef EAGRE_LOG_APPEND_STORE_WORK_H
#define EAGRE_LOG_APPEND_STORE_WORK_H

#include "log/append/store_partition.h"

/* A group on its way to the device. */
struct log_group {
    uint64_t number;
    uint64_t tail_end; /* tail entries below belong to it or to former ones */
    uint64_t acks_end;
    uint64_t waits_end;
};

enum log_wait_kind {
    LOG_WAIT_OPEN,
    LOG_WAIT_DROP,
    LOG_WAIT_TRIM,
    LOG_WAIT_RETAIN,
    LOG_WAIT_BULK, /* a MARK: offset and ctx are the durable end, in records and bytes */
};
struct log_wait { /* what is due when a control entry is durable */
    enum log_wait_kind kind;
    uint32_t slot;
    uint64_t incarnation;
    uint64_t ctx;
    uint64_t offset;
};

/* A batch of the bulk bypass that the journal does not name yet; queued per partition. */
struct log_bulk {
    uint64_t ctx;
    uint16_t requester;
    bool is_answered; /* of a memory topic: its ack is out already */
    uint32_t next;
};

enum flush_kind {
    FLUSH_IDLE,
    FLUSH_RUNS,
    FLUSH_FOOTER,
};
struct log_flush { /* one write to a segment; the staging buffer of the same index is its own */
    enum flush_kind kind;
    uint32_t slot;
    uint32_t segment;
    uint32_t runs;
    uint32_t last_run_bytes;
    uint32_t bulk_count; /* batches among them that the journal does not have */
    int fd;
    bool is_bulk;   /* counts in log->bulks_active */
    bool is_unsent; /* the io ring was full */
    uint64_t position;
    uint64_t bytes;
    uint64_t done;
    uint64_t batch_bytes;
    struct segment stats; /* as it will be */
};

enum file_state { FILE_UNUSED, FILE_OPENING, FILE_OPEN, FILE_CLOSING };
struct log_file { /* an open segment file */
    int fd;
    uint8_t state;
    bool writable;
    uint32_t segment; /* SEGMENT_NONE: of a segment that is not in a list yet, or was forgotten */
    uint32_t users;
    uint32_t newer;
    uint32_t older;
};

enum job_purpose {
    JOB_POPULATE,
    JOB_FORGET, /* nobody waits for it */
    JOB_DIRECTORY,
    JOB_FIRST_SEGMENT,
    JOB_NEXT_SEGMENT,
    JOB_ALLOCATE,
    JOB_ALLOCATE_NEXT,
    JOB_OPEN,
    JOB_CLOSE,
    JOB_SEAL,
    JOB_MANIFEST,
    JOB_RETAIN_MANIFEST,
    JOB_UNLINK,
    JOB_COMPACT_MANIFEST,
    JOB_COMPACT_UNLINK,
    JOB_REMOVE_TREE,
    JOB_SYNC_ALL,
    JOB_CHECKPOINT,
};
struct log_job {
    struct disk_job job;
    enum job_purpose purpose;
    uint32_t slot; /* partition, or LOG_NONE */
    uint32_t aux;  /* segment, file or manifest buffer */
    uint32_t next;
};

enum reclaim_step {
    RECLAIM_IDLE,
    RECLAIM_FLUSH,      /* what pins the file is being flushed */
    RECLAIM_SEALS,      /* rolls are held, seals under way end */
    RECLAIM_SYNC,       /* captured positions are being synced */
    RECLAIM_ENCODE,     /* the checkpoint is being built */
    RECLAIM_CHECKPOINT, /* ... is being written */
    RECLAIM_RETRY,      /* no space for it: again later */
    RECLAIM_STOPPED,
};
struct log_reclaim {
    enum reclaim_step step;
    uint32_t file_idx; /* LOG_NONE: at stop */
    uint64_t pin_end;  /* tail entries below must be flushed */
    uint64_t flushed;  /* entries below are, or the journal does not have them */
    uint64_t replay_from;
    uint64_t retry_ns;
    uint64_t bytes; /* of the checkpoint */
    uint32_t syncs; /* under way */
    uint32_t partition_next;
    uint32_t producer_next;
    uint32_t aborted_next; /* partition */
    bool has_failed;       /* a sync failed: the file cannot be released any more */
    struct checkpoint_encoder encoder;
};

/* What log/read and log/retain hang in, so that this folder need not know them. */
struct log_hooks {
    void (*cold_complete)(struct log *log, uint32_t idx, int32_t result);
    uint32_t (*cold_poll)(struct log *log);
    uint32_t (*retain_poll)(struct log *log, uint64_t now_ns);
    void (*retain_durable)(struct log *log, uint32_t slot);
    void (*retain_job)(struct log *log, struct log_job *job);
    uint32_t (*compact_poll)(struct log *log, uint64_t now_ns);
    void (*compact_job)(struct log *log, struct log_job *job);
    bool (*compact_has_work)(const struct log *log);
    /* Asks a compaction of the partition to end soon; true while one is under way. */
    bool (*compact_cancel)(struct log *log, uint32_t slot);
};

#endif
