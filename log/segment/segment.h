/* Segments in memory: one record per segment file of the tile, from one pool, linked oldest to
 * newest per partition.
 *
 * The newest record of a partition is its active segment; the others are sealed or being sealed.
 * Position and statistics cover completed writes only. Runs on: the log tile. Allocates: nothing.
 * Blocks: never. */
#ifndef EAGRE_LOG_SEGMENT_SEGMENT_H
#define EAGRE_LOG_SEGMENT_SEGMENT_H

#include "log/format/manifest_format.h"
#include "log/format/segment_format.h"
#include "log/index/index.h"

#define SEGMENT_NONE UINT32_MAX

struct segment {
    uint64_t base_offset;
    uint64_t next_offset; /* one past the last offset written */
    uint64_t data_bytes;  /* end of the last run */
    uint64_t file_bytes;  /* sealed: with the footer; else 0 */
    uint64_t batch_bytes; /* payload */
    uint64_t record_count;
    int64_t first_timestamp_ms; /* of the first batch; -1: none */
    int64_t max_timestamp_ms;   /* -1: none */
    uint64_t max_timestamp_offset;
    int64_t created_ms;
    int64_t sealed_ms;
    uint64_t number;        /* never reused: names the file in caches */
    uint64_t aborted_first; /* least first offset of its footer's aborted entries; valid if any */
    uint32_t
        aborted_count; /* of those, as the manifest tells; 0: none, or they are kept in memory */
    uint32_t trailer_crc;
    uint32_t file_generation;
    uint32_t slot;
    uint32_t file;    /* handle in the table of open files, or SEGMENT_NONE */
    uint32_t readers; /* cold reads that look at it */
    bool sealed;      /* its footer is durable and the manifest lists it */
    bool is_listed; /* the manifest that lists it is durable: what its footer tells may be forgotten
                     */
    bool is_retired; /* compaction has put another in its place; a reader may still look at it */
    uint8_t failed;  /* enum rc of its last failed open; RC_OK: none */
    uint32_t newer;
    uint32_t older;
};

/* Memory to build something in. */
struct segment_space {
    uint8_t *at;
    uint64_t bytes;
};

struct segment_pool {
    struct segment *segments; /* [capacity] */
    uint32_t capacity;
    uint32_t used; /* records ever taken: the rest is untouched memory */
    uint32_t free;
    uint32_t live;
    uint64_t next_number;
};

struct segment_list {
    uint32_t oldest;
    uint32_t newest;
    uint32_t count;
};

void segment_pool_init(struct segment_pool *pool, struct segment *segments, uint32_t capacity);
void segment_list_init(struct segment_list *list);
/* A fresh record behind the newest, or SEGMENT_NONE when the pool is empty. */
uint32_t segment_push(struct segment_pool *pool,
                      struct segment_list *list,
                      uint32_t slot,
                      uint64_t base_offset);
/* Takes the oldest record off the list and gives it back. */
void segment_pop(struct segment_pool *pool, struct segment_list *list);
/* Puts a fresh record in the place of the records [first, first + count) of a list, which stay
 * linked to each other, off the list and marked retired, until segment_give(). SEGMENT_NONE when
 * the pool is empty. */
uint32_t segment_replace(struct segment_pool *pool,
                         struct segment_list *list,
                         uint32_t first,
                         uint32_t count);
/* Takes that back: the retired records stand in the list again, the record is given back. */
void
segment_restore(struct segment_pool *pool, struct segment_list *list, uint32_t at, uint32_t first);
/* Gives back a record that is in no list; nobody reads it any more. */
void segment_give(struct segment_pool *pool, uint32_t at);
/* The segment that follows one, which may be retired by now; SEGMENT_NONE: none. */
uint32_t
segment_next(const struct segment_pool *pool, const struct segment_list *list, uint32_t at);
/* The segment that holds offset, or the first one after it; SEGMENT_NONE when it lies behind all
 * that is written. */
uint32_t
segment_find(const struct segment_pool *pool, const struct segment_list *list, uint64_t offset);
/* The oldest segment with a timestamp >= time_ms, or SEGMENT_NONE. */
uint32_t segment_find_time(const struct segment_pool *pool,
                           const struct segment_list *list,
                           int64_t time_ms);

/* ---- gathering runs ---- */

#define RUN_TARGET_BYTES \
    (128 * KIB) /* of a run with its header and padding, unless one batch is longer */

/* Lays batches down as runs in one staging buffer, which is then written at `position` as it
 * stands. A run is at most RUN_TARGET_BYTES, or one batch: a reader that has read that much from a
 * run's start can check the whole run. */
struct run_builder {
    uint8_t *buffer; /* [capacity], 4 KiB aligned */
    uint64_t capacity;
    uint64_t position; /* in the file, of buffer[0] */
    uint64_t used;     /* bytes of closed runs, multiple of 4096 */
    uint64_t run_used; /* bytes of the open run's batches; 0: none is open */
    uint64_t incarnation;
    uint32_t run_count;       /* opened so far */
    uint32_t last_run_bytes;  /* of the last one closed, with padding */
    struct run_header header; /* of the open run */
    struct segment *stats;    /* a copy that grows with every batch */
    struct index *index;
};

/* One batch to be gathered; the bytes are borrowed for the call. */
struct run_batch {
    const uint8_t *bytes;
    uint32_t count;
    uint32_t last_delta;
    uint64_t base_offset;
    int64_t max_timestamp_ms;
};

/* stats: the segment as it will be when the buffer is written; updated in place. index: of the
 * segment. */
void run_builder_begin(struct run_builder *builder,
                       struct segment_space staging,
                       uint64_t incarnation,
                       struct segment *stats,
                       struct index *index);
/* False: it does not fit the buffer any more. */
bool run_builder_add(struct run_builder *builder, const struct run_batch *batch);
/* Closes the last run; returns the bytes to write at builder->position (0: nothing was added).
 * stats->data_bytes moves. */
uint64_t run_builder_end(struct run_builder *builder);

/* ---- sealing ---- */

/* Aborted transactions that one footer lists; with more none is listed. */
#define SEGMENT_ABORTED_MAX 1024u

/* What a footer tells of its partition. */
struct segment_history {
    uint64_t incarnation;
    const struct index *index;
    const struct format_epoch *epochs; /* [epoch_count] */
    uint32_t epoch_count;
    const struct aborted_entry *aborted; /* [aborted_count], ascending last_offset */
    uint32_t aborted_count;              /* <= SEGMENT_ABORTED_MAX */
};

/* Builds the footer of a segment into buffer, to be written at segment->data_bytes; returns its
 * bytes or 0 when capacity is too small. Sets segment->file_bytes and trailer_crc. */
uint64_t segment_build_footer(struct segment *segment,
                              const struct segment_history *history,
                              struct segment_space buffer);
#define SEGMENT_FOOTER_BYTES_MAX (64 * KIB)

/* The manifest of all sealed segments of a list, into buffer; returns its bytes or 0 when it does
 * not fit. It is of version 2 only when a footer lists aborted transactions. */
uint64_t segment_build_manifest(const struct segment_pool *pool,
                                const struct segment_list *list,
                                struct manifest_header *header,
                                struct segment_space buffer);

#endif
