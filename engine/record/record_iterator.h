/* Walks the records of one batch: of an uncompressed one in place, of a compressed one over what
 * record_decompress() gave. Pure; any core; allocates nothing; never blocks.
 *
 *   record_iterator_begin(&iterator, &info, payload);
 *   while (record_iterator_next(&iterator, &record)) ...
 *   if (iterator.rc != RC_OK) ...    // malformed, or fewer or more bytes than records */
#ifndef EAGRE_ENGINE_RECORD_RECORD_ITERATOR_H
#define EAGRE_ENGINE_RECORD_RECORD_ITERATOR_H

#include "engine/record/record_builder.h"

struct record_view {
    int64_t offset;
    int64_t timestamp_ms;
    struct bytes key;     /* borrowed; at == NULL: null */
    struct bytes value;   /* borrowed; at == NULL: null */
    struct bytes headers; /* raw; record_view_header() reads them one by one */
    uint32_t header_count;
};

struct record_iterator {
    struct reader reader;
    int64_t base_offset;
    int64_t base_timestamp_ms;
    int64_t append_time_ms; /* with LogAppendTime every record has this time */
    bool append_time;
    uint32_t records_left;
    enum rc rc; /* RC_OK or RC_CORRUPT */
};

/* payload: the records, borrowed: batch bytes [61, batch_bytes), decompressed if need be. */
void record_iterator_begin(struct record_iterator *iterator,
                           const struct record_batch_info *info,
                           struct bytes payload);

/* Gives the next record, or returns false at the end and after an error, which stays in
 * iterator->rc. */
MUST_USE bool record_iterator_next(struct record_iterator *iterator, struct record_view *ret);

/* Takes the first header off view->headers. False when none is left. The iterator has checked them.
 */
MUST_USE bool record_view_header(struct record_view *view, struct record_header *ret);

/* Does every record of an uncompressed batch have a key? Looks at the first fields of each record
 * only; bytes that are no records count as true: who reads them says so. info: of the batch;
 * payload as above. Budget: 8 ns per record. */
bool record_keys_ok(const struct record_batch_info *info, struct bytes payload);

#endif
