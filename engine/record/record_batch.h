/* RecordBatch v2 (Kafka magic 2) seen in place: offsets, checks, and the few fields the broker
 * rewrites. Big-endian. Pure; any core; allocates nothing; never blocks. Source: Kafka
 * DefaultRecordBatch.
 *
 *    0 base offset i64 ┐                        27 base timestamp i64 (ms)
 *    8 length i32      │ the prefix: 21 bytes   35 max timestamp i64
 *   12 leader epoch i32│ that the batch CRC     43 producer id i64 (-1 none)
 *   16 magic i8 = 2    │ does not cover         51 producer epoch i16
 *   17 CRC-32C u32     ┘                        53 base sequence i32
 *   21 attributes u16 ── CRC begins here        57 record count i32
 *   23 last offset delta i32                    61 records, or one compressed block of them
 *
 * length counts the bytes behind itself, so a batch takes 12 + length bytes. Because base offset
 * and leader epoch stand outside the CRC, appending patches 12 bytes and computes nothing. Who
 * stores a batch must guard the prefix himself. */
#ifndef EAGRE_ENGINE_RECORD_RECORD_BATCH_H
#define EAGRE_ENGINE_RECORD_RECORD_BATCH_H

#include "engine/base/bytes.h"
#include "engine/base/rc.h"

enum {
    RECORD_BATCH_BASE_OFFSET = 0,
    RECORD_BATCH_LENGTH = 8,
    RECORD_BATCH_LEADER_EPOCH = 12,
    RECORD_BATCH_MAGIC = 16,
    RECORD_BATCH_CRC = 17,
    RECORD_BATCH_ATTRIBUTES = 21,
    RECORD_BATCH_LAST_OFFSET_DELTA = 23,
    RECORD_BATCH_BASE_TIMESTAMP = 27,
    RECORD_BATCH_MAX_TIMESTAMP = 35,
    RECORD_BATCH_PRODUCER_ID = 43,
    RECORD_BATCH_PRODUCER_EPOCH = 51,
    RECORD_BATCH_BASE_SEQUENCE = 53,
    RECORD_BATCH_RECORD_COUNT = 57,
    RECORD_BATCH_HEADER_BYTES = 61,
};

#define RECORD_BATCH_LENGTH_END 12u   /* length counts from here */
#define RECORD_BATCH_PREFIX_BYTES 21u /* not covered by the batch CRC */
#define RECORD_BATCH_BYTES_MAX (8u * 1024 * 1024)
#define RECORD_BATCH_MAGIC_V2 2
/* Length, attributes, two deltas, key length, value length and header count, one byte each. */
#define RECORD_BYTES_MIN 7u

_Static_assert(RECORD_BATCH_LENGTH + 4 == RECORD_BATCH_LENGTH_END, "wire layout");
_Static_assert(RECORD_BATCH_CRC + 4 == RECORD_BATCH_PREFIX_BYTES, "wire layout");
_Static_assert(RECORD_BATCH_ATTRIBUTES == RECORD_BATCH_PREFIX_BYTES,
               "the CRC covers what follows it");
_Static_assert(RECORD_BATCH_RECORD_COUNT + 4 == RECORD_BATCH_HEADER_BYTES, "wire layout");

enum record_attributes {
    RECORD_ATTRIBUTES_CODEC_MASK = 7,
    RECORD_ATTRIBUTES_LOG_APPEND_TIME = 8,
    RECORD_ATTRIBUTES_TRANSACTIONAL = 16,
    RECORD_ATTRIBUTES_CONTROL = 32,
    RECORD_ATTRIBUTES_DELETE_HORIZON = 64,
};

enum record_codec { /* in the three low bits of the attributes */
                    RECORD_CODEC_NONE = 0,
                    RECORD_CODEC_GZIP = 1,
                    RECORD_CODEC_SNAPPY = 2,
                    RECORD_CODEC_LZ4 = 3,
                    RECORD_CODEC_ZSTD = 4,
                    RECORD_CODEC_COUNT,
};

struct record_batch_info {
    int64_t base_offset;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id;  /* -1: none */
    uint32_t batch_bytes; /* the whole batch: 12 + length field, [61, RECORD_BATCH_BYTES_MAX] */
    uint32_t crc;
    int32_t leader_epoch;
    int32_t last_offset_delta; /* [0, INT32_MAX] */
    int32_t base_sequence;     /* -1: none */
    uint32_t record_count;
    int16_t producer_epoch; /* -1: none */
    uint16_t attributes;    /* enum record_attributes */
};

static ALWAYS_INLINE enum record_codec
record_batch_codec(const struct record_batch_info *info)
{
    return (enum record_codec)(info->attributes & RECORD_ATTRIBUTES_CODEC_MASK);
}

static ALWAYS_INLINE int64_t
record_batch_last_offset(const struct record_batch_info *info)
{
    return info->base_offset + info->last_offset_delta;
}

/* Single fields of a batch whose 61 header bytes are there. */
static ALWAYS_INLINE uint64_t
record_batch_base_offset(const uint8_t *batch)
{
    return get_u64_be(batch + RECORD_BATCH_BASE_OFFSET);
}

/* Unchecked: the field of a stranger may say anything. */
static ALWAYS_INLINE uint64_t
record_batch_bytes(const uint8_t *batch)
{
    return (uint64_t)get_u32_be(batch + RECORD_BATCH_LENGTH) + RECORD_BATCH_LENGTH_END;
}

static ALWAYS_INLINE int32_t
record_batch_leader_epoch(const uint8_t *batch)
{
    return (int32_t)get_u32_be(batch + RECORD_BATCH_LEADER_EPOCH);
}

static ALWAYS_INLINE uint32_t
record_batch_crc(const uint8_t *batch)
{
    return get_u32_be(batch + RECORD_BATCH_CRC);
}

static ALWAYS_INLINE int32_t
record_batch_last_offset_delta(const uint8_t *batch)
{
    return (int32_t)get_u32_be(batch + RECORD_BATCH_LAST_OFFSET_DELTA);
}

static ALWAYS_INLINE int64_t
record_batch_max_timestamp(const uint8_t *batch)
{
    return (int64_t)get_u64_be(batch + RECORD_BATCH_MAX_TIMESTAMP);
}

/* Reads the header of a stored batch, which may be anyone's (control, compacted), and checks what
 * reading on depends on: magic, and 61 <= batch_bytes <= available and RECORD_BATCH_BYTES_MAX,
 * deltas and count not negative.
 *
 * at         Only the first min(available, 61) bytes are touched.
 * available  Bytes from `at` to the end of what holds batches; more may follow the batch.
 * ret        Written only with RC_OK.
 *
 * RC_OK, RC_BATCH_CORRUPT (too short, a length that cannot be, negative numbers), RC_BATCH_INVALID
 * (magic), RC_BATCH_TOO_LARGE. */
MUST_USE enum rc
record_batch_read(const uint8_t *at, size_t available, struct record_batch_info *ret);

/* As record_batch_read(), and what a producer may send (what it must not is RC_BATCH_INVALID,
 * negative deltas and counts too): exactly one batch in `available` bytes,
 * base offset 0, record count >= 1 and == last offset delta + 1, a known codec, no control,
 * delete-horizon or unknown attribute bits, not LogAppendTime, a producer id with epoch and
 * sequence >= 0 or none at all, and no more uncompressed records than their bytes can hold. Touches
 * the 61 header bytes only, so it may run before the body has arrived: available is then the
 * announced length. The topic's own limits (bytes, timestamps) are the caller's.
 *
 * Also RC_BATCH_INVALID (any of these), RC_BATCH_TIMESTAMP (claims LogAppendTime). */
MUST_USE enum rc
record_batch_check(const uint8_t *at, size_t available, struct record_batch_info *ret);

/* Computes the CRC-32C of a whole batch of batch_bytes >= 61 and compares. 0.05-0.1 ns per byte. */
bool record_batch_crc_ok(const uint8_t *batch, uint32_t batch_bytes);

/* What the broker writes on append: 12 bytes outside the CRC. */
static ALWAYS_INLINE void
record_batch_patch(uint8_t *batch, uint64_t base_offset, int32_t leader_epoch)
{
    put_u64_be(batch + RECORD_BATCH_BASE_OFFSET, base_offset);
    put_u32_be(batch + RECORD_BATCH_LEADER_EPOCH, (uint32_t)leader_epoch);
}

/* Makes the batch LogAppendTime: attribute bit, max timestamp, CRC. The new CRC follows from the
 * old one and the 40 changed header bytes, so the records are not read and damage in them stays
 * detectable. */
void record_batch_set_append_time(uint8_t *batch, uint32_t batch_bytes, int64_t now_ms);

/* The uncovered prefix on its own, as journals and runs store or sum it. */
struct record_batch_prefix {
    uint8_t at[RECORD_BATCH_PREFIX_BYTES];
};
_Static_assert(sizeof(struct record_batch_prefix) == 21, "stored layout");

static ALWAYS_INLINE struct record_batch_prefix
record_batch_prefix_of(const uint8_t *batch)
{
    struct record_batch_prefix prefix;

    __builtin_memcpy(prefix.at, batch, sizeof(prefix.at));
    return prefix;
}

static ALWAYS_INLINE bool
record_batch_prefix_equal(const struct record_batch_prefix *prefix, const uint8_t *batch)
{
    return __builtin_memcmp(prefix->at, batch, sizeof(prefix->at)) == 0;
}

#endif
