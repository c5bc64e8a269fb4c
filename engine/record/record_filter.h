/* Takes records out of a stored batch and leaves all else as it was: offsets, producer, order,
 * headers, codec. For compaction. Off the engine cores (the codecs allocate).
 *
 *   struct record_filter filter = {.keeps = keeps, .ctx = ctx, .horizon_ms = ..., buffers};
 *   rc = record_filter_run(&filter, batch, &info, &ret);
 *   SAME: the stored bytes stand; CHANGED: ret.batch is the new batch; EMPTIED: nothing is left
 *
 * Base offset, last offset delta, leader epoch, producer id, epoch and sequence stay, so a reader
 * and a duplicate check see the same range of offsets. The max timestamp becomes that of what is
 * left. A batch that keeps a tombstone and has no delete horizon gets one as Kafka stores it: the
 * base timestamp holds it, attribute bit 6 says so, and the records' deltas are told from there. */
#ifndef EAGRE_ENGINE_RECORD_RECORD_FILTER_H
#define EAGRE_ENGINE_RECORD_RECORD_FILTER_H

#include "engine/record/record_iterator.h"

/* Records of one batch, unpacked, may be so long; a longer batch is not looked into. */
#define RECORD_FILTER_BYTES_MAX RECORD_BATCH_BYTES_MAX
/* Each of the filter's buffers: what is rebuilt may grow a little. */
#define RECORD_FILTER_BUFFER_BYTES (RECORD_FILTER_BYTES_MAX + 64u * 1024)

struct record_filter {
    bool (*keeps)(void *ctx, const struct record_view *record);
    void *ctx;
    int64_t horizon_ms; /* for a batch that needs one */
    bool wants_horizon; /* also without a tombstone (markers) */
    uint8_t *unpacked;  /* [RECORD_FILTER_BUFFER_BYTES] each */
    uint8_t *rebuilt;
    uint8_t *packed;
};

enum record_filter_result { RECORD_FILTER_SAME, RECORD_FILTER_CHANGED, RECORD_FILTER_EMPTIED };

struct record_filtered {
    enum record_filter_result result;
    const uint8_t *batch; /* CHANGED: in filter->packed, until the next run */
    uint32_t bytes;
    uint32_t kept;
    uint32_t removed;
    int64_t max_timestamp_ms; /* CHANGED */
};

/* Gives the records of a batch as record_iterator takes them: in place, or unpacked into memory
 * [capacity]. RC_OK; RC_NO_MEMORY (too long when unpacked), RC_CORRUPT, RC_UNSUPPORTED: it is to be
 * left as it is. */
MUST_USE enum rc record_payload(const uint8_t *batch,
                                const struct record_batch_info *info,
                                uint8_t *memory,
                                size_t capacity,
                                struct bytes *ret);

/* batch: whole and CRC-checked, info: its header. RC_OK, or what record_payload() says, or
 * RC_CORRUPT for records that are none: nothing was written then, and the batch is to be left as it
 * is. */
MUST_USE enum rc record_filter_run(const struct record_filter *filter,
                                   const uint8_t *batch,
                                   const struct record_batch_info *info,
                                   struct record_filtered *ret);

/* Writes the 61 bytes of the batch with no record in it: what remains of a batch that must be seen
 * though its records are gone. It has no timestamp, so nobody finds it by time. */
void record_batch_make_empty(const uint8_t *batch, uint8_t ret[RECORD_BATCH_HEADER_BYTES]);

#endif
