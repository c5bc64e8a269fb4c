/* The journal's MARK entry; FORMAT.md section 3.6. Part of journal_format.h. Pure. */
#ifndef EAGRE_LOG_FORMAT_JOURNAL_MARK_H
#define EAGRE_LOG_FORMAT_JOURNAL_MARK_H

#include "log/format/format.h"

/* An entry of kind MARK, seen as what it is: a checkpoint of one partition's active segment.
 * Everything of the partition below next_offset stands in sealed segments, or in this one below
 * position, and was on the device before the group was submitted. */
struct journal_mark {
    uint8_t kind;                  /*  0: JOURNAL_MARK */
    uint8_t zero_a[3];             /*  1 */
    uint32_t run_bytes;            /*  4: of the last run with padding; it ends at position */
    uint64_t incarnation;          /*  8: > 0 */
    uint64_t next_offset;          /* 16: > segment_base_offset */
    uint64_t segment_base_offset;  /* 24: of the file's name */
    uint64_t position;             /* 32: end of the last run, multiple of 4096, > 0 */
    uint64_t batch_bytes;          /* 40: payload below position */
    uint64_t max_timestamp_offset; /* 48: base offset of the batch that holds max_timestamp_ms */
    int64_t max_timestamp_ms;      /* 56: of the segment below position, -1 for none */
    int64_t created_ms;            /* 64: of the segment, for roll by time */
    uint64_t manifest_generation;  /* 72: the least to be found; 0: there may be no manifest */
    uint8_t zero_b[16];            /* 80 */
};
_Static_assert(sizeof(struct journal_mark) == 96, "on-disk layout");
_Static_assert(offsetof(struct journal_mark, incarnation) == 8, "on-disk layout");
_Static_assert(offsetof(struct journal_mark, position) == 32, "on-disk layout");
_Static_assert(offsetof(struct journal_mark, manifest_generation) == 72, "on-disk layout");
_Static_assert(offsetof(struct journal_mark, zero_b) == 80, "on-disk layout");

#endif
