/* The inside of struct log: shared by log/append and by the folders above it (log/read,
 * log/recover, log/retain); no one else looks in here. One core owns all of it.
 *
 * Life of a batch: log_append() copies it into the slab ring, adds a tail entry and a journal entry
 * -> group.c submits the open group -> its completion moves the partition's durable offset and
 * releases the ack -> flush.c gathers durable batches into runs and writes them to the active
 * segment -> the entry may be evicted from the ring -> reclaim.c syncs the segments, writes a
 * checkpoint and gives the journal file back.
 *
 * Orders that are never broken:
 *  A1 a batch is gathered only after its group is durable;          A2 an entry is evicted only
 * after its run was written A3 a journal file is released only after a durable checkpoint;   A4 a
 * checkpoint names only positions synced before it A5 a segment is left (rolled) only with a footer
 * on its way, and the next roll waits for the manifest that lists it. */
#ifndef EAGRE_LOG_APPEND_STORE_H
#define EAGRE_LOG_APPEND_STORE_H

#include "log/append/log.h"
#include "log/append/producers.h"
#include "log/append/slab_ring.h"
#include "log/append/tail.h"
#include "log/format/checkpoint_format.h"
#include "log/journal/journal.h"
#include "log/segment/segment.h"

#define LOG_GROUP_BYTES (1 * MIB) /* payload of a group, unless one batch is longer */
#define LOG_GROUP_SECOND_BYTES                                                           \
    (256 * KIB)                    /* a second group in flight only with so much waiting \
                                    */
#define LOG_FLUSH_BYTES (64 * KIB) /* a partition with so much durable and unflushed is flushed */
#define LOG_STAGING_BYTES (1 * MIB + 64 * KIB)
#define LOG_STAGING_COUNT 8u
#define LOG_STAGING_LARGE_BYTES \
    (BATCH_BYTES_MAX + 2u * FORMAT_BLOCK_BYTES) /* one more, for one long batch */
#define LOG_FLUSHES_MAX (LOG_STAGING_COUNT + 1)
#define LOG_FLUSHES_BESIDE_GROUP 2u /* segment writes under way while a group is pending */
#define LOG_JOBS_MAX 256u
#define LOG_ACKS_MAX 16384u /* power of two, > JOURNAL_TABLE_COUNT * JOURNAL_ENTRIES_MAX */
#define LOG_WAITS_MAX 1024u /* power of two: control entries on their way */
#define LOG_GROUPS_MAX 4u
#define LOG_ALLOCATE_MIN_BYTES (128 * KIB)
#define LOG_ALLOCATE_MAX_BYTES (16 * MIB)
#define LOG_MANIFESTS_MAX 4u /* manifest buffers */
#define LOG_PARTITION_SEGMENTS_MAX 4096u
#define LOG_SYNC_EACH_MAX 16u /* more dirty segments: one sync of the file system */
#define LOG_RETRY_NS NS_PER_S /* after a job found no space */
#define LOG_COLD_BYTES (128 * KIB)
#define LOG_COLD_STATE_BYTES (64 * KIB) /* struct log_cold; log/read asserts that it fits */
#define LOG_COLD_READS_MAX 8u
#define LOG_CURSORS_MAX 256u
#define LOG_HINTS 4u
#define LOG_SEALS_MAX 32u   /* partitions whose last segment is being sealed */
#define LOG_RETAINS_MAX 32u /* partitions whose oldest segment is being deleted */
#define LOG_DROPS_MAX 64u   /* partitions being deleted */
#define LOG_NONE UINT32_MAX

_Static_assert(LOG_ACKS_MAX > JOURNAL_TABLE_COUNT * JOURNAL_ENTRIES_MAX, "acks of all groups fit");

/* Tags of io requests: kind in bits [55:48], index below. */
enum log_tag { LOG_TAG_JOURNAL = 1, LOG_TAG_FLUSH, LOG_TAG_FOOTER, LOG_TAG_SYNC, LOG_TAG_COLD };
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
enum partition_drop_step { DROP_JOURNAL, DROP_QUIET, DROP_CLOSE, DROP_TREE };

/* What a checkpoint says about the active segment; see struct checkpoint_partition. */
struct partition_mark {
    uint64_t segment_base_offset;
    uint64_t position;
    uint64_t next_offset;
    uint64_t max_timestamp_offset;
    uint64_t batch_bytes;
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
    uint64_t end_bytes; /* batch bytes appended since open */
    uint64_t durable_bytes;
    uint64_t gathered_bytes;
    uint64_t flushed_offset; /* entries below are in the segments (written, not synced) */
    uint64_t gather;         /* first tail entry not yet gathered, or TAIL_NONE */
    struct tail_list tail;
    uint8_t state;      /* enum partition_state */
    uint8_t durability; /* enum log_durability */
    bool is_flush_queued;
    bool is_flushing;     /* one write under way */
    bool is_forced;       /* flush what is durable, however little */
    bool is_marked;       /* in the queue of marks */
    bool is_dirty;        /* written since the last sync */
    uint16_t source_tile; /* whose checkpoint or journal it was recovered from */
    uint32_t armed;       /* requesters waiting for a mark, one bit each */
    int32_t leader_epoch;
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
    bool is_named;     /* a log_open() since the start named it; see log_next_unnamed() */
    bool is_retaining; /* log/retain: a deletion is under way */
    bool is_retain_sent;
    uint8_t retain_step;
    uint8_t retain_cause; /* enum metric_deleted */
    uint32_t retain_generation;
    uint64_t retain_base; /* of the segment being deleted */
    uint32_t jobs;        /* disk jobs and writes of this partition under way */
    struct index index;
    uint64_t manifest_generation;  /* durable on disk; 0: none */
    uint64_t max_timestamp_offset; /* of the greatest timestamp of all */
    int64_t max_timestamp_ms;

    struct partition_mark synced;  /* as on the device */
    struct partition_mark capture; /* as it was when the sync under way began */
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

/* A group on its way to the device. */
struct log_group {
    uint64_t number;
    uint64_t tail_end; /* tail entries below belong to it or to former ones */
    uint64_t acks_end;
    uint64_t waits_end;
};

enum log_wait_kind { LOG_WAIT_OPEN, LOG_WAIT_DROP, LOG_WAIT_TRIM, LOG_WAIT_RETAIN };
struct log_wait { /* what is due when a control entry is durable */
    enum log_wait_kind kind;
    uint32_t slot;
    uint64_t incarnation;
    uint64_t ctx;
    uint64_t offset;
};

enum flush_kind { FLUSH_IDLE, FLUSH_RUNS, FLUSH_FOOTER };
struct log_flush { /* one write to a segment; the staging buffer of the same index is its own */
    enum flush_kind kind;
    uint32_t slot;
    uint32_t segment;
    uint32_t runs;
    int fd;
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
    uint64_t replay_from;
    uint64_t retry_ns;
    uint64_t bytes; /* of the checkpoint */
    uint32_t syncs; /* under way */
    uint32_t partition_next;
    uint32_t producer_next;
    bool has_failed; /* a sync failed: the file cannot be released any more */
    struct checkpoint_encoder encoder;
};

/* What log/read and log/retain hang in, so that this folder need not know them. */
struct log_hooks {
    void (*cold_complete)(struct log *log, uint32_t idx, int32_t result);
    uint32_t (*cold_poll)(struct log *log);
    uint32_t (*retain_poll)(struct log *log, uint64_t now_ns);
    void (*retain_durable)(struct log *log, uint32_t slot);
    void (*retain_job)(struct log *log, struct log_job *job);
};

struct log_cold; /* log/read */

struct log {
    struct log_config config;
    uint64_t now_ns;
    int64_t wall_ms;
    uint64_t retain_next_ns; /* log/retain: when it wants to look again */
    struct log_hooks hooks;
    uint64_t group_bytes;     /* payload of a group, unless one batch is longer */
    uint64_t batch_bytes_max; /* what journal files and ring can take at all */

    struct slab_ring ring;
    struct tail_table tail;
    uint64_t unflushed; /* every tail entry below is flushed (or of no one any more) */
    uint64_t pin_end;   /* tail entries below are to be flushed now */
    uint64_t pin_scan;

    struct journal *journal;
    struct log_group groups[LOG_GROUPS_MAX]; /* ring */
    uint32_t groups_first;
    uint32_t groups_count;
    uint64_t durable_entry;                     /* tail entries below are durable */
    uint64_t file_tail_end[JOURNAL_FILE_COUNT]; /* tail entries below belong to this journal file or
                                                   older ones */
    bool is_journal_full;
    bool is_failed; /* the journal failed: all is fenced */
    bool is_stopping;
    bool is_serving;
    bool is_held; /* the last append was held back; see log_count_pressure() */

    struct log_ack *acks; /* ring [LOG_ACKS_MAX]: [acks_taken, acks_released) may go out, the rest
                             waits for its group */
    uint64_t acks_taken;
    uint64_t acks_released;
    uint64_t acks_next;
    struct log_ack *now_acks; /* ring [LOG_ACKS_MAX]: of memory topics */
    uint64_t now_acks_taken;
    uint64_t now_acks_next;
    struct log_wait *waits; /* ring [LOG_WAITS_MAX] */
    uint64_t waits_first;
    uint64_t waits_next;
    struct log_event *events; /* ring [events_mask + 1] */
    uint64_t events_mask;
    uint64_t events_first;
    uint64_t events_next;

    struct partition *partitions; /* [partitions_max] */
    uint32_t *partition_buckets;  /* [bucket_mask + 1]: slot by incarnation, open addressing */
    uint32_t bucket_mask;
    uint32_t partition_count;
    uint32_t state_counts[PARTITION_STATE_COUNT]; /* partitions, by state */
    uint32_t partition_high;                      /* slots ever used */
    uint32_t mark_first;
    uint32_t mark_last;
    uint32_t flush_first;
    uint32_t flush_last;
    uint32_t flush_queued;
    uint32_t open_first;
    uint32_t open_last;
    uint32_t drops[LOG_DROPS_MAX]; /* slots in PARTITION_DROPPING */
    uint32_t drops_count;

    struct producers producers;
    struct segment_pool segments;
    struct index_entry *index_entries; /* [partitions_max][INDEX_ENTRIES_MAX] */

    struct log_flush flushes[LOG_FLUSHES_MAX];
    uint8_t *staging; /* LOG_STAGING_COUNT small ones, then the large one */
    uint32_t flushes_active;
    uint32_t seals[LOG_SEALS_MAX]; /* slots that are being sealed */
    uint32_t seals_count;
    bool hold_rolls;

    struct log_file *files; /* [open_files_max] */
    uint32_t file_count;
    uint32_t file_newest;
    uint32_t file_oldest;
    uint32_t file_free;

    struct log_job *jobs; /* [LOG_JOBS_MAX] */
    uint32_t job_free;
    uint32_t job_unsent; /* list: the ring to control was full */
    uint32_t jobs_under_way;
    bool is_populating;

    uint8_t *manifests; /* LOG_MANIFESTS_MAX buffers */
    uint64_t manifest_bytes;
    uint32_t manifests_free; /* bits */
    uint8_t *checkpoint;
    uint64_t checkpoint_bytes;
    uint64_t checkpoint_generation; /* of the last one written or begun */
    struct log_reclaim reclaim;

    uint32_t retains[LOG_RETAINS_MAX]; /* slots with a deletion under way */
    uint32_t retains_count;
    uint32_t retain_scan; /* slot to look at next */

    struct log_cold *cold;
    uint8_t *cold_memory;
};

/* ---- partition.c ---- */

/* The partition of a request, or NULL when slot and incarnation do not name one. */
static ALWAYS_INLINE struct partition *
partition_of(const struct log *log, uint32_t slot, uint64_t incarnation)
{
    if (UNLIKELY(slot >= log->partition_high))
        return NULL;
    struct partition *partition = &log->partitions[slot];
    return LIKELY(partition->incarnation == incarnation && incarnation != 0) ? partition : NULL;
}
static ALWAYS_INLINE uint32_t
partition_slot(const struct log *log, const struct partition *partition)
{
    return (uint32_t)(partition - log->partitions);
}
static ALWAYS_INLINE uint64_t
partition_high_watermark(const struct partition *partition)
{
    return partition->durability == LOG_DURABILITY_MEMORY ? partition->next_offset
                                                          : partition->durable_offset;
}
/* Batch bytes below the high watermark since the partition was opened. */
static ALWAYS_INLINE uint64_t
partition_total_bytes(const struct partition *partition)
{
    return partition->durability == LOG_DURABILITY_MEMORY ? partition->end_bytes
                                                          : partition->durable_bytes;
}
/* RC_OK when it serves, else why not. */
enum rc partition_refusal(const struct partition *partition);
static ALWAYS_INLINE struct segment *
partition_active(const struct log *log, const struct partition *partition)
{
    return &log->segments.segments[partition->segments.newest];
}
/* A free slot made ready for an incarnation (start at offset 0, nothing on disk), or NULL when the
 * table is full. */
struct partition *partition_add(struct log *log, uint64_t incarnation);
/* The partition gets its active segment's record; false when the pool is empty. */
bool partition_begin_segment(struct log *log, struct partition *partition, uint64_t base_offset);
void partition_remove(struct log *log, struct partition *partition);
/* Fences one, telling why; armed requesters get a mark. */
void partition_fence(struct log *log, struct partition *partition, enum rc rc, const char *what);
/* Puts the partition into the queue of marks when someone waits. */
void partition_mark(struct log *log, struct partition *partition);
void partition_epoch_add(struct partition *partition, int32_t epoch, uint64_t start_offset);
uint32_t partition_poll_opens(struct log *log);
uint32_t partition_poll_drops(struct log *log);
void partition_wait_done(struct log *log, const struct log_wait *wait);
void partition_job_done(struct log *log, struct log_job *job);
void log_push_event(struct log *log, const struct log_event *event);

/* ---- log.c ---- */

/* Numbers a batch that stands in the ring: tail entry, partition's end. */
void tail_add_batch(struct log *log,
                    struct partition *partition,
                    uint64_t position,
                    uint32_t bytes,
                    uint32_t last_delta,
                    int64_t max_timestamp_ms);

/* ---- group.c ---- */

/* Submits the open group if it is due (or in any case when forced and a place is free). False: it
 * could not be. */
bool group_submit(struct log *log, bool forced);
/* Takes what the journal has made durable. Returns groups ended. */
uint32_t group_finish(struct log *log);
/* Adds a control entry and what is due when it is durable. False: no room now. */
bool group_control(struct log *log, const struct journal_entry *entry, const struct log_wait *wait);
/* The journal has failed: every partition is fenced, waiting acks are answered. */
void group_fail(struct log *log);

/* ---- space.c ---- */

/* Is there segment space for all unflushed bytes and count more? RC_OK, RC_AGAIN (a job is under
 * way), RC_NO_SPACE. Starts jobs ahead of need and rolls. */
enum rc space_reserve(struct log *log, struct partition *partition, uint64_t count);
/* Bytes of file that so many batch bytes take at most. */
static ALWAYS_INLINE uint64_t
space_worst(uint64_t batch_bytes)
{
    return batch_bytes + batch_bytes / 8 + 32 * KIB;
}
void space_job_done(struct log *log, struct log_job *job);

/* ---- flush.c ---- */

/* Puts the partition into the flush queue when it has enough, is forced or pinned. */
void flush_consider(struct log *log, struct partition *partition);
uint32_t flush_poll(struct log *log);
/* Builds the footer of a segment and starts writing it; false: no staging buffer. */
bool flush_footer(struct log *log, uint32_t segment, int fd);
void flush_complete(struct log *log, uint32_t flush_idx, int32_t result);
/* Gathers durable batches of the partition into a staging buffer. Returns the bytes to write (0:
 * nothing to gather). */
uint64_t flush_gather(struct log *log, struct partition *partition, uint32_t flush_idx);
/* The write of a gathered buffer has ended well. */
void flush_written(struct log *log, uint32_t flush_idx);
/* Moves log->unflushed over what is flushed; returns the ring bytes from the first unflushed entry
 * to the head. */
uint64_t flush_span(struct log *log);
/* Frees ring space and tail entries until count more bytes fit; false: what is there is not flushed
 * yet. */
bool flush_evict(struct log *log, uint64_t count);

/* ---- seal.c ---- */

/* Leaves the active segment for the next one; false: something has to end first. */
bool seal_roll(struct log *log, struct partition *partition);
void seal_footer_written(struct log *log, uint32_t flush_idx);
void seal_failed(struct log *log, struct partition *partition);
void seal_job_done(struct log *log, struct log_job *job);
uint32_t seal_poll(struct log *log);
/* Starts writing the manifest of the partition's sealed segments. False: no buffer or job now. */
bool seal_write_manifest(struct log *log, struct partition *partition, enum job_purpose purpose);

/* ---- files.c ---- */

enum files_result { FILES_READY, FILES_WAIT, FILES_FAILED };
void files_init(struct log *log);
/* Borrows the descriptor of a segment's file: *ret_fd stays open until files_release(). WAIT: it is
 * being opened, or every handle is in use; FAILED: segment->failed tells. */
enum files_result files_acquire(struct log *log, uint32_t segment, bool writable, int *ret_fd);
void files_release(struct log *log, uint32_t segment);
/* Takes a descriptor that was just made; the handle, or LOG_NONE when none is free: then it is
 * being closed again, and the segment's file is opened when it is needed. */
uint32_t files_adopt(struct log *log, int fd, uint32_t segment);
/* Gives a handle (one user) to a segment. */
void files_assign(struct log *log, uint32_t file, uint32_t segment);
/* Closes a handle (one user) that got no segment; false: no job now. */
bool files_discard(struct log *log, uint32_t file);
/* Closes the file of a segment that is not needed any more; users must be 0. */
bool files_close(struct log *log, uint32_t segment);
/* Start only: closes the longest unused file at once. */
void files_close_oldest_now(struct log *log);
/* A handle that a new file may be adopted into; evicts the longest unused. */
bool files_have_room(struct log *log);
void files_job_done(struct log *log, struct log_job *job);

/* ---- jobs.c ---- */

void jobs_init(struct log *log);
/* A job to be filled and sent; NULL: all are in use. */
struct log_job *jobs_take(struct log *log, enum job_purpose purpose, uint32_t slot, uint32_t aux);
void jobs_send(struct log *log, struct log_job *job);
uint32_t jobs_poll(struct log *log);

/* ---- reclaim.c ---- */

uint32_t reclaim_poll(struct log *log);
void reclaim_sync_done(struct log *log, uint32_t slot, int32_t result);
void reclaim_job_done(struct log *log, struct log_job *job);
/* The mark of the active segment as it is written now. */
struct partition_mark partition_mark_now(const struct log *log, const struct partition *partition);
/* A header for the next checkpoint of this tile; the generation moves. */
struct checkpoint_header reclaim_header(struct log *log);
/* Encodes one partition or producer as a checkpoint holds it. */
void reclaim_encode_partition(struct checkpoint_encoder *encoder,
                              const struct partition *partition);
void reclaim_encode_producer(struct checkpoint_encoder *encoder,
                             const struct producer *producer,
                             int64_t wall_ms);

#endif
