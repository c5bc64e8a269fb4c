/* Cold reads: what has left the slab ring is read from segment files, 128 KiB at a time, past the
 * page cache.
 *
 * A read walks chunks: it begins at a run header (found by cursor, index or footer), checks header,
 * prefixes and batch CRCs, copies whole batches to the requester's memory, and ends when that is
 * full or the next chunk is not there yet. One chunk is read ahead. Chunks are kept, newest use
 * first, so consumers that follow each other share them.
 *
 * Private to log/read. */
#ifndef EAGRE_LOG_READ_COLD_H
#define EAGRE_LOG_READ_COLD_H

#include "log/append/store.h"
#include "log/read/skips.h"

#define COLD_CHUNKS_MAX 512u
#define COLD_FOOTER_BYTES (32 * KIB)

enum cold_chunk_state { COLD_FREE, COLD_READING, COLD_READY, COLD_FAILED };

/* A piece of a segment file in memory. */
struct cold_chunk {
    uint8_t state;
    bool is_unsent;
    uint32_t users;
    uint32_t segment;
    uint64_t number; /* of the segment: a record may be reused */
    uint64_t position;
    uint32_t wanted; /* bytes asked for */
    uint32_t count;  /* bytes there */
    int fd;
    uint64_t used; /* tick of the last use */
};

enum cold_kind { COLD_IDLE, COLD_READ, COLD_FIND };
enum cold_step {
    COLD_FOOTER, /* the footer of a sealed segment is needed to know where to begin */
    COLD_RUNS,   /* walking runs */
    COLD_BATCH,  /* inside a batch longer than a chunk */
    COLD_SKIPS,  /* its batches are there: what of them is to be skipped */
    COLD_TAIL,   /* find by time only: walking tail entries */
};

struct cold_read {
    enum cold_kind kind;
    enum cold_step step;
    struct log_read_request request;
    int64_t time_ms;
    uint64_t target; /* first offset wanted */
    uint64_t limit;  /* high watermark when the read began */
    uint32_t segment;
    uint64_t position;    /* of the run (COLD_RUNS), of the next byte (COLD_BATCH) */
    uint32_t chunk;       /* in use, or LOG_NONE */
    uint32_t bytes;       /* copied */
    uint64_t base_offset; /* of the first batch given; UINT64_MAX: none yet */
    uint64_t next_offset; /* behind the last batch given */
    uint64_t tail_entry;
    enum rc rc;
    /* a long batch */
    uint64_t batch_left;
    uint32_t batch_bytes;
    uint32_t batch_crc;
    uint32_t batch_crc_wanted;
    bool batch_skip;
    /* what is to be skipped */
    struct read_skips skips;
    uint64_t skips_known;   /* entries from this marker on were in memory */
    uint64_t skips_at;      /* segments that end above are to be looked at */
    uint32_t skips_segment; /* whose footer is read, or SEGMENT_NONE */
};

/* Where a sequential reader goes on. */
struct cold_cursor {
    uint64_t incarnation;
    uint64_t offset;
    uint64_t number; /* of the segment */
    uint32_t segment;
    uint64_t position; /* of a run header */
};

struct log_cold {
    uint32_t chunk_count;
    uint32_t reads_active;
    uint32_t chunks_reading;
    uint64_t tick;
    struct cold_chunk chunks[COLD_CHUNKS_MAX];
    struct cold_read reads[LOG_COLD_READS_MAX];
    struct cold_cursor cursors[LOG_CURSORS_MAX];
    struct log_read_result results[LOG_COLD_READS_MAX]; /* ring */
    uint32_t results_first;
    uint32_t results_count;
};
_Static_assert(sizeof(struct log_cold) <= LOG_COLD_STATE_BYTES,
               "the place that log_init() keeps for it");

void cold__attach(struct log *log);
/* Starts a read or a find; false: no place now. The partition, offset and limit are checked
 * already. */
bool cold__start(struct log *log,
                 enum cold_kind kind,
                 const struct log_read_request *request,
                 int64_t time_ms);

/* chunk.c */
enum cold_get { COLD_GET_READY, COLD_GET_WAIT, COLD_GET_NONE, COLD_GET_FAILED };
/* A chunk of the segment from position on: READY (one user more), WAIT (being read, one user more),
 * NONE (no buffer, descriptor or place now), FAILED. */
enum cold_get cold__get(struct log *log, uint32_t segment, uint64_t position, uint32_t *ret_chunk);
void cold__put(struct log *log, uint32_t chunk);
/* Reads ahead: as cold__get() without a user; nothing happens when there is no room. */
void cold__ahead(struct log *log, uint32_t segment, uint64_t position);
void cold__complete(struct log *log, uint32_t chunk, int32_t result);
void cold__resend(struct log *log);
static ALWAYS_INLINE const uint8_t *
cold__bytes(const struct log *log, uint32_t chunk)
{
    return log->cold_memory + chunk * LOG_COLD_BYTES;
}

/* runs.c: one step over what is in the read's chunk. True: something moved, call again; false:
 * finished (step over), or a chunk is needed (read->chunk is LOG_NONE). */
enum cold_walk { COLD_WALK_MORE, COLD_WALK_CHUNK, COLD_WALK_DONE };
enum cold_walk cold__walk(struct log *log, struct cold_read *read);
/* cold_skips.c. From here on the read gathers what is to be skipped of its batches (> 0 bytes). */
void cold__skips_begin(struct log *log, const struct partition *partition, struct cold_read *read);
/* RC_OK: call again; RC_AGAIN: a footer is on its way, or later; RC_NOT_FOUND: all is gathered;
 * RC_CORRUPT, RC_IO_ERROR: a footer that is needed cannot be had. */
enum rc cold__skips_step(struct log *log, struct cold_read *read) MUST_USE;
/* Position of a run header to begin from, by the footer bytes in the chunk. */
uint64_t cold__from_footer(const struct log *log,
                           const struct cold_read *read,
                           const struct cold_chunk *chunk,
                           const uint8_t *bytes);

#endif
