#include "engine/record/record_batch.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#define RECORD_ATTRIBUTES_KNOWN                                         \
    (RECORD_ATTRIBUTES_CODEC_MASK | RECORD_ATTRIBUTES_LOG_APPEND_TIME | \
     RECORD_ATTRIBUTES_TRANSACTIONAL | RECORD_ATTRIBUTES_CONTROL |      \
     RECORD_ATTRIBUTES_DELETE_HORIZON)

static void
record_batch_fields(const uint8_t *at, struct record_batch_info *ret)
{
    ret->base_offset = (int64_t)get_u64_be(at + RECORD_BATCH_BASE_OFFSET);
    ret->base_timestamp_ms = (int64_t)get_u64_be(at + RECORD_BATCH_BASE_TIMESTAMP);
    ret->max_timestamp_ms = (int64_t)get_u64_be(at + RECORD_BATCH_MAX_TIMESTAMP);
    ret->producer_id = (int64_t)get_u64_be(at + RECORD_BATCH_PRODUCER_ID);
    ret->batch_bytes = (uint32_t)record_batch_bytes(at);
    ret->crc = get_u32_be(at + RECORD_BATCH_CRC);
    ret->leader_epoch = (int32_t)get_u32_be(at + RECORD_BATCH_LEADER_EPOCH);
    ret->last_offset_delta = (int32_t)get_u32_be(at + RECORD_BATCH_LAST_OFFSET_DELTA);
    ret->base_sequence = (int32_t)get_u32_be(at + RECORD_BATCH_BASE_SEQUENCE);
    ret->record_count = get_u32_be(at + RECORD_BATCH_RECORD_COUNT);
    ret->producer_epoch = (int16_t)get_u16_be(at + RECORD_BATCH_PRODUCER_EPOCH);
    ret->attributes = get_u16_be(at + RECORD_BATCH_ATTRIBUTES);
}

/* Magic, header and length: whether there is a batch at all. */
static enum rc
record_batch_outline(const uint8_t *at, size_t available)
{
    /* The magic stands at the same place in every version, so old formats are told by name. */
    if (available > RECORD_BATCH_MAGIC && at[RECORD_BATCH_MAGIC] != RECORD_BATCH_MAGIC_V2)
        return RC_BATCH_INVALID;
    if (available < RECORD_BATCH_HEADER_BYTES)
        return RC_BATCH_CORRUPT;

    uint32_t length = get_u32_be(at + RECORD_BATCH_LENGTH);
    if (length > INT32_MAX || length < RECORD_BATCH_HEADER_BYTES - RECORD_BATCH_LENGTH_END)
        return RC_BATCH_CORRUPT;
    if (record_batch_bytes(at) > RECORD_BATCH_BYTES_MAX)
        return RC_BATCH_TOO_LARGE;
    return record_batch_bytes(at) > available ? RC_BATCH_CORRUPT : RC_OK;
}

/* Neither delta nor count is negative. */
static bool
record_batch_counts_ok(const uint8_t *at)
{
    return get_u32_be(at + RECORD_BATCH_LAST_OFFSET_DELTA) <= INT32_MAX &&
           get_u32_be(at + RECORD_BATCH_RECORD_COUNT) <= INT32_MAX;
}

enum rc
record_batch_read(const uint8_t *at, size_t available, struct record_batch_info *ret)
{
    enum rc rc = record_batch_outline(at, available);

    if (rc != RC_OK)
        return rc;
    if (!record_batch_counts_ok(at))
        return RC_BATCH_CORRUPT;
    record_batch_fields(at, ret);
    return RC_OK;
}

/* A producer id comes with epoch and sequence, or none of the three is there. Without an id the
 * other two mean nothing and are not looked at: clients fill them differently. */
static bool
record_batch_producer_ok(const struct record_batch_info *info)
{
    if (info->producer_id == -1)
        return (info->attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) == 0;
    return info->producer_id >= 0 && info->producer_epoch >= 0 && info->base_sequence >= 0;
}

enum rc
record_batch_check(const uint8_t *at, size_t available, struct record_batch_info *ret)
{
    struct record_batch_info info;

    if (available == 0)
        return RC_BATCH_INVALID; /* Kafka: exactly one batch */
    enum rc rc = record_batch_outline(at, available);
    if (rc != RC_OK)
        return rc;
    /* What is damage in a stored batch is a producer's mistake here: its CRC may well be right. */
    if (!record_batch_counts_ok(at))
        return RC_BATCH_INVALID;
    record_batch_fields(at, &info);
    if (info.batch_bytes != available)
        return RC_BATCH_INVALID;
    if (info.base_offset != 0)
        return RC_BATCH_INVALID;
    if (info.record_count == 0 || info.record_count != (uint32_t)info.last_offset_delta + 1)
        return RC_BATCH_INVALID;
    if (record_batch_codec(&info) >= RECORD_CODEC_COUNT)
        return RC_BATCH_INVALID;
    if ((info.attributes & ~RECORD_ATTRIBUTES_KNOWN) != 0)
        return RC_BATCH_INVALID;
    if ((info.attributes & (RECORD_ATTRIBUTES_CONTROL | RECORD_ATTRIBUTES_DELETE_HORIZON)) != 0)
        return RC_BATCH_INVALID;
    if (!record_batch_producer_ok(&info))
        return RC_BATCH_INVALID;

    uint32_t payload_bytes = info.batch_bytes - RECORD_BATCH_HEADER_BYTES;
    bool plain = record_batch_codec(&info) == RECORD_CODEC_NONE;
    if (payload_bytes == 0 || (plain && info.record_count > payload_bytes / RECORD_BYTES_MIN))
        return RC_BATCH_INVALID;
    if ((info.attributes & RECORD_ATTRIBUTES_LOG_APPEND_TIME) != 0)
        return RC_BATCH_TIMESTAMP;
    *ret = info;
    return RC_OK;
}

bool
record_batch_crc_ok(const uint8_t *batch, uint32_t batch_bytes)
{
    CHECK(batch_bytes >= RECORD_BATCH_HEADER_BYTES);
    return hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, batch_bytes - RECORD_BATCH_ATTRIBUTES) ==
           record_batch_crc(batch);
}

void
record_batch_set_append_time(uint8_t *batch, uint32_t batch_bytes, int64_t now_ms)
{
    CHECK(batch_bytes >= RECORD_BATCH_HEADER_BYTES);
    const uint32_t head_bytes = RECORD_BATCH_HEADER_BYTES - RECORD_BATCH_ATTRIBUTES;
    uint8_t *head = batch + RECORD_BATCH_ATTRIBUTES;
    uint32_t head_crc_before = hash_crc32c(0, head, head_bytes);

    put_u16_be(head, get_u16_be(head) | RECORD_ATTRIBUTES_LOG_APPEND_TIME);
    put_u64_be(batch + RECORD_BATCH_MAX_TIMESTAMP, (uint64_t)now_ms);

    /* crc(head | rest) = shift(crc(head)) ^ crc(rest), and shift is linear: what the head changed
     * is shifted over the rest and added. */
    uint32_t head_crc_change = head_crc_before ^ hash_crc32c(0, head, head_bytes);
    uint32_t change = hash_crc32c_combine(
        head_crc_change, 0, batch_bytes - RECORD_BATCH_HEADER_BYTES);
    put_u32_be(batch + RECORD_BATCH_CRC, record_batch_crc(batch) ^ change);
}
