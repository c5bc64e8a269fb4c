/* The Produce response as it grows with its request: topic after topic, every partition with a hole
 * for its result. Layout: Kafka ProduceResponse versions 3 to 12 (start offset from 5, record
 * errors from 8, flexible from 9); a unit test compares it with net/kafka's encoder for every
 * version. */
#include "net/gate/gate_internal.h"

#define REPLY_FLEXIBLE_FIRST 9
#define REPLY_START_OFFSET_FIRST 5
#define REPLY_RECORD_ERRORS_FIRST 8

static void
reply_count(struct writer *writer, int16_t version, uint32_t count)
{
    if (version >= REPLY_FLEXIBLE_FIRST)
        writer_uvarint32(writer, count + 1);
    else
        writer_u32_be(writer, count);
}

static void
reply_tags(struct writer *writer, int16_t version)
{
    if (version >= REPLY_FLEXIBLE_FIRST)
        writer_u8(writer, 0);
}

void
produce_reply__head(struct writer *writer, int16_t version, int32_t correlation, uint32_t topics)
{
    writer_u32_be(writer, 0); /* size, filled in by the tail */
    writer_u32_be(writer, (uint32_t)correlation);
    reply_tags(writer, version);
    reply_count(writer, version, topics);
}

void
produce_reply__topic(struct writer *writer, int16_t version, struct bytes name, uint32_t partitions)
{
    if (version >= REPLY_FLEXIBLE_FIRST)
        writer_uvarint32(writer, (uint32_t)name.count + 1);
    else
        writer_u16_be(writer, (uint16_t)name.count);
    writer_bytes(writer, name.at, name.count);
    reply_count(writer, version, partitions);
}

void
produce_reply__topic_end(struct writer *writer, int16_t version)
{
    reply_tags(writer, version);
}

uint32_t
produce_reply__partition(struct writer *writer, int16_t version, int32_t partition)
{
    const struct kafka_produce_result unknown = {
        .error = KAFKA_ERROR_UNKNOWN_SERVER_ERROR,
        .base_offset = -1,
        .log_append_time_ms = -1,
        .log_start_offset = -1,
    };

    writer_u32_be(writer, (uint32_t)partition);
    uint32_t hole = (uint32_t)writer_count(writer);
    uint8_t *at = writer_take(writer, version >= REPLY_START_OFFSET_FIRST ? 26 : 18);
    if (at != NULL)
        produce_reply__fill(at, version, &unknown);
    if (version >= REPLY_RECORD_ERRORS_FIRST) {
        reply_count(writer, version, 0); /* record errors */
        if (version >= REPLY_FLEXIBLE_FIRST)
            writer_u8(writer, 0); /* error message: null */
        else
            writer_u16_be(writer, 0xffff);
    }
    reply_tags(writer, version);
    return hole;
}

void
produce_reply__tail(struct writer *writer, int16_t version, uint32_t throttle_ms)
{
    writer_u32_be(writer, throttle_ms);
    reply_tags(writer, version);
    if (!writer->failed)
        put_u32_be(writer->begin, (uint32_t)writer_count(writer) - KAFKA_FRAME_PREFIX_BYTES);
}

void
produce_reply__fill(uint8_t *hole, int16_t version, const struct kafka_produce_result *result)
{
    put_u16_be(hole, (uint16_t)result->error);
    put_u64_be(hole + 2, (uint64_t)result->base_offset);
    put_u64_be(hole + 10, (uint64_t)result->log_append_time_ms);
    if (version >= REPLY_START_OFFSET_FIRST)
        put_u64_be(hole + 18, (uint64_t)result->log_start_offset);
}
