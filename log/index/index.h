/* Sparse index of one active segment, in memory: where runs begin, by offset and by time.
 *
 * One entry per INDEX_STEP_BYTES of file at first. When the table is full every second entry is
 * dropped and the step doubles, so a segment of any size needs INDEX_ENTRIES_MAX entries (8 KiB)
 * and a search ends at most one step before its goal. Entries point at run headers: what is read
 * from there on checks itself. When a segment is sealed the table becomes the footer's offset and
 * time sections; index_find_*() over those sections serve sealed segments. Pure apart from the
 * caller's table. Runs on: the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_INDEX_INDEX_H
#define EAGRE_LOG_INDEX_INDEX_H

#include "log/format/segment_format.h"

#define INDEX_STEP_BYTES (32 * KIB)
#define INDEX_ENTRIES_MAX 336u

struct index_entry {
    uint32_t offset_delta; /* run's first offset - segment base offset */
    uint32_t block;        /* run's position / 4096 */
    int64_t max_before_ms; /* greatest timestamp of the segment before this run; -1: none */
    uint32_t max_delta;    /* offset delta of the batch that reached it */
    uint32_t zero;
};
_Static_assert(sizeof(struct index_entry) * INDEX_ENTRIES_MAX <= 8 * KIB,
               "fits a partition's share");

struct index {
    struct index_entry *entries; /* [INDEX_ENTRIES_MAX] */
    uint32_t count;
    uint64_t step_bytes;
};

/* entries: [INDEX_ENTRIES_MAX], borrowed; untouched until used. */
void index_init(struct index *index, struct index_entry *entries);
/* Forgets everything: a new segment begins. */
void index_clear(struct index *index);
/* Tells of a run about to be written behind all others; kept when it is a step away from the last
 * kept one. */
void index_add(struct index *index, const struct index_entry *run);
/* Position of the last kept run that begins at or before the offset; 0 when none is known. */
uint64_t index_find_offset(const struct index *index, uint32_t offset_delta);
/* Position of the last kept run before which every timestamp is < time_ms; 0 when none is known. */
uint64_t index_find_time(const struct index *index, int64_t time_ms);

/* Sections of a sealed segment: writes index->count entries each. Return the number of entries. */
uint32_t index_offset_section(const struct index *index, struct index_offset_entry *ret_entries);
uint32_t index_time_section(const struct index *index, struct index_time_entry *ret_entries);

/* Position of the run header to read from for an offset, by a sealed segment's section (count may
 * be 0). */
uint64_t
index_section_find(const struct index_offset_entry *entries, uint32_t count, uint32_t offset_delta);
/* Offset delta to scan from so that the first batch with a timestamp >= time_ms is met. */
uint32_t
index_time_section_find(const struct index_time_entry *entries, uint32_t count, int64_t time_ms);

#endif
