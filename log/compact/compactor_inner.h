/* Shared by the files of the compactor only. */
#ifndef EAGRE_LOG_COMPACT_COMPACTOR_INNER_H
#define EAGRE_LOG_COMPACT_COMPACTOR_INNER_H

#include "engine/record/record_filter.h"
#include "log/compact/compact_inner.h"
#include "log/compact/compact_map.h"
#include "log/segment/segment.h"

#define COMPACTOR_WINDOW_BYTES (1 * MIB) /* read at a time, unless one run is longer */
#define COMPACTOR_READ_BYTES (RECORD_BATCH_BYTES_MAX + 64 * KIB)
#define COMPACTOR_STAGING_BYTES (RECORD_BATCH_BYTES_MAX + 256 * KIB)
#define COMPACTOR_FLUSH_BYTES (1 * MIB)
#define COMPACTOR_OPEN_MAX 4096u /* producers with a transaction under way, power of two */

enum compactor_step {
    COMPACTOR_IDLE,
    COMPACTOR_FOOTERS, /* aborted transactions of one input after the other */
    COMPACTOR_MAP,     /* newest offsets of the dirty part */
    COMPACTOR_BEGIN,   /* the next group's output is made */
    COMPACTOR_COPY,    /* what stays is copied */
    COMPACTOR_END,     /* footer, sync */
    COMPACTOR_SWAP,    /* the log tile has the task */
};

/* What a producer's transaction has shown so far in this pass. */
struct compactor_open {
    int64_t producer_id;
    uint64_t first_offset; /* pass 1: of the transaction that is open; UINT64_MAX: none */
    bool is_used;
    bool has_data; /* pass 2: records of it stay */
};

/* One segment being read. */
struct compactor_reader {
    uint32_t input;
    int fd; /* -1: not open */
    uint64_t position;
};

struct compactor {
    struct compactor_config config;
    enum compactor_step step;
    struct compact_link *link; /* of the task under way, or NULL */
    uint32_t link_next;        /* whom to ask first */
    uint64_t ready_ns;         /* the rate limit: nothing before it */
    struct compact_map map;
    struct record_filter filter;
    uint8_t *read;    /* [COMPACTOR_READ_BYTES] */
    uint8_t *staging; /* [COMPACTOR_STAGING_BYTES] */
    struct compactor_reader reader;
    uint64_t spent_bytes; /* in this step */

    struct aborted_entry *aborted; /* [COMPACT_ABORTED_MAX], ascending last_offset */
    uint32_t aborted_count;
    uint32_t input_aborted[LOG_PARTITION_SEGMENTS_MAX]; /* entries of each input */
    struct compactor_open *open;                        /* [COMPACTOR_OPEN_MAX], open addressing */
    uint32_t open_count;
    uint64_t limit; /* pass 1 goes no further */
    bool is_map_full;

    /* the group being copied */
    int output_fd; /* -1: none */
    char output_path[FORMAT_PATH_MAX];
    struct segment output;
    struct index index;
    struct index_entry index_entries[INDEX_ENTRIES_MAX];
    struct run_builder builder;
    uint64_t output_records;
    struct aborted_entry output_aborted[COMPACT_GROUP_ABORTED_MAX];
    uint32_t output_aborted_count;
    /* the batch being looked at */
    uint64_t keyless;
    bool drops_tombstones;
};

/* compactor_read.c: gives every batch of one window of the reader's segment to each(); the reader
 * moves. RC_OK; RC_NOT_FOUND: the segment is at its end; anything else ends the run, with the
 * place in the task. each() may end the window early with another code than RC_OK. */
typedef enum rc (*compactor_each)(struct compactor *compactor,
                                  const uint8_t *batch,
                                  const struct record_batch_info *info);
enum rc compactor__window(struct compactor *compactor, compactor_each each) MUST_USE;
void compactor__reader_set(struct compactor *compactor, uint32_t input);
void compactor__reader_close(struct compactor *compactor);
/* Adds the aborted transactions of one input's footer. */
enum rc compactor__read_aborted(struct compactor *compactor, uint32_t input) MUST_USE;
/* Adds what the log tile knows beside the footers; when all of those were read. */
enum rc compactor__add_aborted(struct compactor *compactor) MUST_USE;
/* The entry of an aborted transaction of that producer that spans offset, or NULL. */
const struct aborted_entry *
compactor__aborted(const struct compactor *compactor, int64_t producer_id, uint64_t offset);
/* The place of a producer; NULL when there is no room. */
struct compactor_open *compactor__open(struct compactor *compactor, int64_t producer_id);
void compactor__open_clear(struct compactor *compactor);

/* compactor_map.c: pass 1, a window at a time. RC_NOT_FOUND: it is at its end. */
void compactor__map_begin(struct compactor *compactor);
enum rc compactor__map_step(struct compactor *compactor) MUST_USE;

/* compactor_copy.c: pass 2. */
enum rc compactor__group_begin(struct compactor *compactor) MUST_USE;
enum rc compactor__group_step(struct compactor *compactor) MUST_USE;
enum rc compactor__group_end(struct compactor *compactor) MUST_USE;
/* Closes and removes an output that is not whole. */
void compactor__group_abandon(struct compactor *compactor);

#endif
