/* A log tile's whole store: partitions, journal, slab ring, segments; the interface that
 * engine/broker drives.
 *
 * One struct log per log tile, used by that tile's core only. Nothing here blocks: writes and cold
 * reads go through hw/io, slow file operations through disk jobs that the control tile runs.
 * Results come back through the log_take_* calls.
 *
 *   boot:      log_init() -> recover_run() (log/recover, synchronous) -> serving
 *   each poll: log_complete() per io completion, log_append()/log_read() for input,
 *              log_poll(), log_take_acks(), log_take_reads(), log_take_marks(), log_take_events()
 *   stop:      log_stop() until log_is_stopped()
 */
#ifndef EAGRE_LOG_APPEND_LOG_H
#define EAGRE_LOG_APPEND_LOG_H

#include "engine/base/base.h"
#include "engine/base/rc.h"
#include "engine/metrics/metrics.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "engine/trace/trace.h"
#include "hw/clock/clock.h"
#include "hw/disk/disk.h"
#include "hw/io/io.h"

enum log_durability { LOG_DURABILITY_DEVICE = 0, LOG_DURABILITY_MEMORY = 1 };

/* Everything a partition needs to know of its topic. Limits in brackets are refused by
 * engine/topic. */
struct log_partition_config {
    uint64_t incarnation; /* > 0, never reused */
    uint8_t topic_id[16];
    uint32_t partition;
    enum log_durability durability;
    bool log_append_time;     /* message.timestamp.type = LogAppendTime */
    uint32_t batch_bytes_max; /* max.message.bytes, [1 KiB, 8 MiB] */
    uint64_t segment_bytes;   /* [64 KiB, 8 GiB] */
    int64_t segment_ms;       /* [1, INT64_MAX] */
    int64_t retention_ms;     /* -1: no limit */
    int64_t retention_bytes;  /* -1: no limit */
    int64_t timestamp_before_max_ms;
    int64_t timestamp_after_max_ms;
    bool is_compacted; /* cleanup.policy has compact: records need keys, log/compact looks at it */
    bool keeps_old;    /* ... and does not have delete: age and size delete nothing */
    uint32_t dirty_ratio_millionths; /* min.cleanable.dirty.ratio, [0, 1000000] */
    int64_t delete_retention_ms;
    int64_t compaction_lag_min_ms;
    int64_t compaction_lag_max_ms; /* > 0 */
};

struct log_append_request {
    uint32_t slot;
    uint64_t incarnation;
    const uint8_t *batch; /* RecordBatch v2 whose lengths, counts and CRC the caller checked;
                             borrowed for the call */
    uint32_t batch_bytes;
    uint16_t requester; /* echoed in the ack */
    uint64_t ctx;       /* echoed in the ack */
    int64_t wall_ms;    /* of this poll */
};

enum log_append_status {
    LOG_APPEND_TAKEN,   /* copied; its ack comes out of log_take_acks() */
    LOG_APPEND_REFUSED, /* ret_ack holds the answer now */
    LOG_APPEND_AGAIN,   /* no room in the open group, the ring or the segments' reservation of the
                           tile: offer the same again later */
};

struct log_ack {
    uint64_t ctx;
    uint16_t requester;
    uint16_t rc; /* enum rc; RC_SEQUENCE_DUPLICATE counts as success and carries the first offset */
    uint32_t slot;
    uint64_t base_offset;
    int64_t append_time_ms; /* -1 unless LogAppendTime */
    uint64_t start_offset;
};

struct log_read_request {
    uint32_t slot;
    uint64_t incarnation;
    uint64_t offset;
    uint8_t *dst;
    uint32_t dst_bytes; /* 0: probe */
    uint32_t max_bytes;
    int32_t leader_epoch;
    bool whole_first;
    bool arm;          /* when nothing is readable: mark requester as waiting */
    bool is_committed; /* reads below the last stable offset, and is told what to skip: see
                          request.h */
    uint16_t requester;
    uint64_t ctx;
};

struct log_read_result { /* fields as in struct response */
    uint64_t ctx;
    uint16_t requester;
    uint16_t rc;
    uint32_t slot;
    uint32_t bytes;
    int32_t leader_epoch;
    uint64_t base_offset;
    uint64_t high_watermark;
    uint64_t last_stable_offset;
    uint64_t start_offset;
    uint64_t end_offset;
    uint64_t total_bytes;
};

struct log_mark {
    uint32_t slot;
    uint64_t incarnation;
    uint64_t high_watermark;
    uint64_t last_stable_offset;
    uint64_t start_offset;
    uint64_t total_bytes;
    uint32_t waiting; /* bit per requester that was armed */
};

/* Ends of open, drop, trim and stop, and partitions that were fenced or halted. */
enum log_event_kind {
    LOG_EVENT_OPENED,
    LOG_EVENT_DROPPED,
    LOG_EVENT_TRIMMED,
    LOG_EVENT_CONFIGURED,
    LOG_EVENT_STOPPED
};
struct log_event {
    enum log_event_kind kind;
    enum rc rc;
    uint32_t slot;
    uint64_t ctx;
    uint64_t start_offset;
};

struct log;

struct log_config {
    uint32_t tile_idx; /* names the journal files: journal-<tile>-<n> */
    uint32_t io_tile;  /* for io_tag(): the log tile's index on its core */
    struct io *io;
    struct clock *clock;
    struct disk *disk;        /* used only before serving (recovery) */
    struct ring *jobs;        /* producer side: struct disk_job * to control */
    struct waker *jobs_waker; /* the control tile's; notified after a push to jobs; NULL in tests */
    struct ring *jobs_done;   /* consumer side; drained by log_poll() */
    uint64_t slab_ring_bytes; /* staging and tail cache, power of two */
    uint64_t cold_bytes;      /* buffers for cold reads */
    uint64_t journal_file_bytes;
    uint64_t bulk_bytes; /* with so much on its way a partition bypasses the journal; 0: never */
    uint32_t partitions_max;
    uint32_t producers_max;
    uint64_t producer_age_ns;          /* an idle producer is forgotten after it; 0: never */
    uint32_t transactions_max;         /* admitted or open at a time; 0: none are taken */
    uint32_t transactions_aborted_max; /* aborted ones whose segment has no footer yet */
    uint32_t open_files_max;
    struct metrics_tile *metrics; /* written by this tile; NULL: not counted (tests) */
    struct metrics_partition *partition_metrics; /* [partitions_max], by slot; NULL: not counted */
    struct trace *trace;                         /* NULL: no stamps */
    uint8_t node_uuid[16]; /* of eagre.meta: names the node in journals and checkpoints; zero in
                              tests */
};

/* Bytes of memory that log_init() needs for this configuration; printed as budget lines. */
uint64_t log_footprint(const struct log_config *config);
enum rc log_init(void *memory,
                 const struct log_config *config,
                 struct log **ret_log,
                 struct diag_trail *trail);
void log_fini(struct log *log);

/* The table slot of a recovered or opened partition, or UINT32_MAX. */
uint32_t log_find(const struct log *log, uint64_t incarnation);

/* Starts opening (creating its directory and first segment when new); LOG_EVENT_OPENED follows,
 * with the slot. config is copied. */
enum rc log_open(struct log *log, const struct log_partition_config *config, uint64_t ctx);
enum rc log_drop(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t ctx);
/* A recovered partition that no log_open() has named and that is not being dropped: its slot, or
 * UINT32_MAX when there is none. Cost: one look at each slot in use. */
uint32_t log_next_unnamed(const struct log *log, uint64_t *ret_incarnation);
enum rc log_configure(struct log *log,
                      uint32_t slot,
                      const struct log_partition_config *config,
                      uint64_t ctx);
/* Raises the start offset (journal entry START_OFFSET); LOG_EVENT_TRIMMED follows when durable. */
enum rc
log_trim(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t start_offset, uint64_t ctx);

enum log_append_status log_append(struct log *log,
                                  const struct log_append_request *request,
                                  struct log_ack *ret_ack) MUST_USE;

/* True: ret_result holds the answer now. False: a cold read was started (answer by
 * log_take_reads()). RC_AGAIN in the result: no cold-read buffer now; the caller offers the same
 * request again. */
bool log_read(struct log *log,
              const struct log_read_request *request,
              struct log_read_result *ret_result) MUST_USE;
/* As log_read, for the first batch whose max timestamp >= time_ms (INT64_MAX: the batch with the
 * greatest timestamp). bytes 0 and RC_OK: none. */
bool log_find_time(struct log *log,
                   const struct log_read_request *request,
                   int64_t time_ms,
                   struct log_read_result *ret_result) MUST_USE;
/* Start, high watermark, end and leader epoch of a partition. */
enum rc log_offsets(const struct log *log,
                    uint32_t slot,
                    uint64_t incarnation,
                    struct log_read_result *ret_result);
/* Greatest epoch <= epoch (in ret_result->leader_epoch, -1 if none) and its end offset (in
 * base_offset, UINT64_MAX if none). */
enum rc log_epoch_end(const struct log *log,
                      uint32_t slot,
                      uint64_t incarnation,
                      int32_t epoch,
                      struct log_read_result *ret_result);
/* Arms requester for a mark; when the high watermark already differs from known, the mark is due at
 * once. */
enum rc
log_arm(struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester);
/* The same for readers of committed records: known is a last stable offset, and no mark is due
 * before that one moves. */
enum rc log_arm_committed(
    struct log *log, uint32_t slot, uint64_t incarnation, uint64_t known, uint16_t requester);

void log_complete(struct log *log, uint64_t tag, int32_t result);
/* Bounded work: job completions, group submission, flushing, reclaim, retention. Returns work done;
 * ret_deadline_ns. */
uint32_t log_poll(struct log *log, uint64_t now_ns, uint64_t *ret_deadline_ns);

/* True when a finished disk job waits in jobs_done; asked before the core sleeps. */
bool log_has_work(struct log *log);

uint32_t log_take_acks(struct log *log, struct log_ack *acks, uint32_t count);
uint32_t log_take_reads(struct log *log, struct log_read_result *results, uint32_t count);
uint32_t log_take_marks(struct log *log, struct log_mark *marks, uint32_t count);
uint32_t log_take_events(struct log *log, struct log_event *events, uint32_t count);

/* Flush everything, seal, write the checkpoint that says "clean"; appends are refused from now on.
 * LOG_EVENT_STOPPED follows. */
void log_stop(struct log *log);

#endif
