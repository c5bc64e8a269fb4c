/* The Fetch response: headers side by side in the slot's reply, records where the log tile put
 * them, joined only by iovecs. */
#include "net/gate/gate_internal.h"

static void
reply_entry(struct gate *gate,
            struct writer *writer,
            int16_t version,
            struct gate_fetch_entry *entry)
{
    bool known = entry->error == KAFKA_ERROR_NONE;
    const struct kafka_fetch_partition partition = {
        .index = entry->partition,
        .error = entry->error,
        .high_watermark = known ? (int64_t)entry->high_watermark : -1,
        .last_stable_offset = known ? (int64_t)fetch__end(entry->fetch, entry) : -1,
        .log_start_offset = known ? (int64_t)entry->start_offset : -1,
        .aborted_count = entry->skip_count,
        .records_bytes = entry->data_bytes,
    };

    if (!known)
        gate__count_label(gate, REQUEST_ERRORS, (uint16_t)entry->error);
    kafka_fetch_partition_begin(writer, version, &partition);
    entry->skip_end = (uint32_t)writer_count(writer);
    kafka_fetch_partition_records(writer, version, partition.records_bytes);
    entry->header_end = (uint32_t)writer_count(writer);
    kafka_fetch_tail(writer, version);
}

void
fetch_reply__build(struct gate *gate, struct gate_fetch *fetch, int16_t error)
{
    struct gate_slot *slot = gate__slot(gate, fetch->slot);
    int16_t version = slot->version;
    struct kafka_fetch_head head = {
        .correlation_id = slot->correlation_id,
        .error = error,
        .topic_count = fetch->topic_count,
    };
    uint64_t records = 0;
    uint32_t skips = 0; /* bytes */
    uint32_t at = 0;

    if (error != KAFKA_ERROR_NONE)
        gate__count_label(gate, REQUEST_ERRORS, (uint16_t)error);
    for (uint32_t i = 0; i < fetch->entry_count; i++)
        records += fetch->entries[i].data_bytes;
    head.throttle_ms = (int32_t)quota__charge(gate, slot, QUOTA_FETCH, records);
    slot->reply_bytes = 0;
    struct writer writer = slot__writer(slot);
    kafka_fetch_head(&writer, version, &head);
    for (uint32_t i = 0; i < fetch->topic_count; i++) {
        const struct kafka_fetch_topic *topic = &fetch->topics[i].topic;
        kafka_fetch_topic_head(&writer, version, topic);
        for (uint32_t end = at + topic->partition_count; at < end; at++) {
            struct gate_fetch_entry *entry = &fetch->entries[at];
            reply_entry(gate, &writer, version, entry);
            skips += entry->skip_count * kafka_fetch_aborted_bytes(version);
        }
        kafka_fetch_tail(&writer, version);
    }
    kafka_fetch_tail(&writer, version);
    CHECK(!writer.failed);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    put_u32_be(slot->reply,
               slot->reply_bytes - KAFKA_FRAME_PREFIX_BYTES + skips + (uint32_t)records);
    fetch->send_entry = 0;
    fetch->send_header = 0;
    gate__count(&gate->counters.fetch_bytes, records);
}

bool
fetch_reply__gather(struct gate *gate,
                    struct gate_fetch *fetch,
                    struct iovec *iovecs,
                    uint32_t room,
                    uint32_t *ret_count)
{
    const struct gate_slot *slot = gate__slot(gate, fetch->slot);
    uint32_t count = 0;

    for (; fetch->send_entry < fetch->entry_count; fetch->send_entry++) {
        const struct gate_fetch_entry *entry = &fetch->entries[fetch->send_entry];
        if (entry->data_bytes == 0)
            continue;
        if (room - count < 4)
            break;
        if (entry->skip_count > 0) {
            uint32_t bytes = entry->skip_count * kafka_fetch_aborted_bytes(slot->version);
            iovecs[count++] = (struct iovec){.iov_base = slot->reply + fetch->send_header,
                                             .iov_len = entry->skip_end - fetch->send_header};
            iovecs[count++] = (struct iovec){.iov_base = entry->data + entry->data_capacity,
                                             .iov_len = bytes};
            fetch->send_header = entry->skip_end;
        }
        iovecs[count++] = (struct iovec){.iov_base = slot->reply + fetch->send_header,
                                         .iov_len = entry->header_end - fetch->send_header};
        iovecs[count++] = (struct iovec){.iov_base = entry->data, .iov_len = entry->data_bytes};
        fetch->send_header = entry->header_end;
    }
    bool whole = fetch->send_entry == fetch->entry_count && count < room;
    if (whole && fetch->send_header < slot->reply_bytes) {
        iovecs[count++] = (struct iovec){.iov_base = slot->reply + fetch->send_header,
                                         .iov_len = slot->reply_bytes - fetch->send_header};
        fetch->send_header = slot->reply_bytes;
    }
    *ret_count = count;
    return whole;
}
