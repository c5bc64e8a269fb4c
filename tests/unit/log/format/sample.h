/* Small record batches for the tests of log/: valid headers and CRC, a body of a repeated byte. */
#ifndef EAGRE_TESTS_UNIT_LOG_FORMAT_SAMPLE_H
#define EAGRE_TESTS_UNIT_LOG_FORMAT_SAMPLE_H

#include "engine/base/hash.h"
#include "log/format/format.h"

struct sample {
    uint64_t base_offset;
    uint32_t record_count;
    uint32_t bytes; /* of the whole batch, >= 61 */
    uint8_t fill;
    int32_t leader_epoch;
    int64_t producer_id; /* -1: none */
    int32_t base_sequence;
    int64_t max_timestamp_ms;
    bool is_transactional;
};

/* Writes sample->bytes bytes at batch. */
static inline void
sample_batch(uint8_t *batch, const struct sample *sample)
{
    memset(batch, sample->fill, sample->bytes);
    put_u64_be(batch + RECORD_BATCH_BASE_OFFSET, sample->base_offset);
    put_u32_be(batch + RECORD_BATCH_LENGTH, sample->bytes - RECORD_BATCH_LENGTH_END);
    put_u32_be(batch + RECORD_BATCH_LEADER_EPOCH, (uint32_t)sample->leader_epoch);
    batch[RECORD_BATCH_MAGIC] = RECORD_BATCH_MAGIC_V2;
    put_u16_be(batch + RECORD_BATCH_ATTRIBUTES,
               sample->is_transactional ? RECORD_ATTRIBUTES_TRANSACTIONAL : 0);
    put_u32_be(batch + RECORD_BATCH_LAST_OFFSET_DELTA, sample->record_count - 1);
    put_u64_be(batch + RECORD_BATCH_BASE_TIMESTAMP, (uint64_t)sample->max_timestamp_ms);
    put_u64_be(batch + RECORD_BATCH_MAX_TIMESTAMP, (uint64_t)sample->max_timestamp_ms);
    put_u64_be(batch + RECORD_BATCH_PRODUCER_ID, (uint64_t)sample->producer_id);
    put_u16_be(batch + RECORD_BATCH_PRODUCER_EPOCH, sample->producer_id < 0 ? UINT16_MAX : 0);
    put_u32_be(batch + RECORD_BATCH_BASE_SEQUENCE, (uint32_t)sample->base_sequence);
    put_u32_be(batch + RECORD_BATCH_RECORD_COUNT, sample->record_count);
    put_u32_be(
        batch + RECORD_BATCH_CRC,
        hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, sample->bytes - RECORD_BATCH_ATTRIBUTES));
}

#endif
