#include "net/kafka/kafka_fetch.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_table.h"

#define FETCH_SESSIONS_FIRST 7  /* error and session in the head */
#define FETCH_LOG_START_FIRST 5 /* log start offset of each partition */
#define FETCH_REPLICA_FIRST 11  /* preferred read replica */
#define FETCH_FLEXIBLE_FIRST 12 /* compact forms, tagged sections */
#define FETCH_TOPIC_ID_FIRST 13 /* ids in place of names */

static bool
flexible(int16_t version)
{
    return version >= FETCH_FLEXIBLE_FIRST;
}

static uint32_t
count_bytes(int16_t version, uint32_t count)
{
    return flexible(version) ? kafka__uvarint_bytes(count + 1) : 4;
}

static void
write_count(struct writer *writer, int16_t version, uint32_t count)
{
    if (flexible(version))
        writer_uvarint32(writer, count + 1);
    else
        writer_u32_be(writer, count);
}

uint32_t
kafka_fetch_head_bytes(int16_t version, uint32_t topic_count)
{
    uint32_t header_bytes = flexible(version) ? 5 : 4;
    uint32_t session_bytes = version >= FETCH_SESSIONS_FIRST ? 6 : 0;

    return KAFKA_FRAME_PREFIX_BYTES + header_bytes + 4 + session_bytes +
           count_bytes(version, topic_count);
}

void
kafka_fetch_head(struct writer *writer, int16_t version, const struct kafka_fetch_head *head)
{
    writer_u32_be(writer, head->frame_bytes);
    writer_u32_be(writer, (uint32_t)head->correlation_id);
    kafka_fetch_tail(writer, version); /* the header's tagged section */
    writer_u32_be(writer, (uint32_t)head->throttle_ms);
    if (version >= FETCH_SESSIONS_FIRST) {
        writer_u16_be(writer, (uint16_t)head->error);
        writer_u32_be(writer, (uint32_t)head->session_id);
    }
    write_count(writer, version, head->topic_count);
}

uint32_t
kafka_fetch_topic_head_bytes(int16_t version, const struct kafka_fetch_topic *topic)
{
    uint32_t name_bytes = (uint32_t)topic->name.count;
    uint32_t topic_bytes;

    if (version >= FETCH_TOPIC_ID_FIRST)
        topic_bytes = sizeof(topic->topic_id.at);
    else if (flexible(version))
        topic_bytes = kafka__uvarint_bytes(name_bytes + 1) + name_bytes;
    else
        topic_bytes = 2 + name_bytes;
    return topic_bytes + count_bytes(version, topic->partition_count);
}

void
kafka_fetch_topic_head(struct writer *writer,
                       int16_t version,
                       const struct kafka_fetch_topic *topic)
{
    if (version >= FETCH_TOPIC_ID_FIRST) {
        writer_bytes(writer, topic->topic_id.at, sizeof(topic->topic_id.at));
    } else {
        /* A name in the narrow form came in by the narrow form, so it fits. */
        CHECK(flexible(version) || topic->name.count <= INT16_MAX);
        if (flexible(version))
            writer_uvarint32(writer, (uint32_t)topic->name.count + 1);
        else
            writer_u16_be(writer, (uint16_t)topic->name.count);
        writer_bytes(writer, topic->name.at, topic->name.count);
    }
    write_count(writer, version, topic->partition_count);
}

uint32_t
kafka_fetch_partition_head_bytes(int16_t version, uint32_t records_bytes)
{
    uint32_t bytes = 4 + 2 + 8 + 8; /* index, error, high watermark, last stable offset */

    bytes += version >= FETCH_LOG_START_FIRST ? 8 : 0;
    bytes += flexible(version) ? 1 : 4; /* aborted transactions: null */
    bytes += version >= FETCH_REPLICA_FIRST ? 4 : 0;
    return bytes + count_bytes(version, records_bytes);
}

void
kafka_fetch_partition_begin(struct writer *writer,
                            int16_t version,
                            const struct kafka_fetch_partition *partition)
{
    writer_u32_be(writer, (uint32_t)partition->index);
    writer_u16_be(writer, (uint16_t)partition->error);
    writer_u64_be(writer, (uint64_t)partition->high_watermark);
    writer_u64_be(writer, (uint64_t)partition->last_stable_offset);
    if (version >= FETCH_LOG_START_FIRST)
        writer_u64_be(writer, (uint64_t)partition->log_start_offset);
    if (partition->aborted_count > 0)
        write_count(writer, version, partition->aborted_count);
    else if (flexible(version))
        writer_u8(writer, 0);
    else
        writer_u32_be(writer, UINT32_MAX);
}

void
kafka_fetch_partition_records(struct writer *writer, int16_t version, uint32_t records_bytes)
{
    if (version >= FETCH_REPLICA_FIRST)
        writer_u32_be(writer, UINT32_MAX);
    write_count(writer, version, records_bytes);
}

void
kafka_fetch_partition_head(struct writer *writer,
                           int16_t version,
                           const struct kafka_fetch_partition *partition)
{
    CHECK(partition->aborted_count == 0);
    kafka_fetch_partition_begin(writer, version, partition);
    kafka_fetch_partition_records(writer, version, partition->records_bytes);
}

uint32_t
kafka_fetch_aborted_bytes(int16_t version)
{
    return 8 + 8 + kafka_fetch_tail_bytes(version);
}

void
kafka_fetch_put_aborted(uint8_t *at, int16_t version, int64_t producer_id, int64_t first_offset)
{
    put_u64_be(at, (uint64_t)producer_id);
    put_u64_be(at + 8, (uint64_t)first_offset);
    if (flexible(version))
        at[16] = 0;
}

uint32_t
kafka_fetch_tail_bytes(int16_t version)
{
    return flexible(version) ? 1 : 0;
}

void
kafka_fetch_tail(struct writer *writer, int16_t version)
{
    if (flexible(version))
        writer_u8(writer, 0);
}
