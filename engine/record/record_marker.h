/* Transaction markers: control batches of one record that end a transaction in a partition
 * (KIP-98). Only the broker writes them; record_batch_check() refuses those of clients. Pure; any
 * core; allocates nothing; never blocks.
 *
 *   61-byte batch header, attributes transactional + control, no sequence
 *   61 record length  64 offset delta   66 key: i16 version 0, i16 type (0 abort, 1 commit)
 *   62 attributes     65 key length     70 value length
 *   63 time delta                       71 value: i16 version 0, i32 coordinator epoch
 *                                       77 header count */
#ifndef EAGRE_ENGINE_RECORD_RECORD_MARKER_H
#define EAGRE_ENGINE_RECORD_RECORD_MARKER_H

#include "engine/record/record_batch.h"

#define RECORD_MARKER_BYTES 78u

struct record_marker {
    int64_t producer_id; /* >= 0 */
    int64_t timestamp_ms;
    int32_t coordinator_epoch;
    int16_t producer_epoch; /* >= 0 */
    bool is_commit;
};

/* Writes a whole batch with base offset 0 and leader epoch -1; ret_batch: RECORD_MARKER_BYTES. */
void record_marker_build(const struct record_marker *marker, uint8_t *ret_batch);

/* Is this batch, whose header is there and whose bytes are whole, a marker as we build them?
 * ret_marker is written only when it is. */
bool
record_marker_read(const uint8_t *batch, uint32_t batch_bytes, struct record_marker *ret_marker);

/* The attributes of a batch whose 61 header bytes are there. */
static ALWAYS_INLINE uint16_t
record_batch_attributes(const uint8_t *batch)
{
    return get_u16_be(batch + RECORD_BATCH_ATTRIBUTES);
}

#endif
