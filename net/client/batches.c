/* Reading what a subscriber received: the next batch, its records, their headers. */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "engine/record/record_codec.h"

/* Gives the room of the oldest message back. */
static void
part_release(struct eagre_subscriber *subscriber,
             struct subscriber_part *part,
             const struct part_item *item)
{
    uint64_t bytes = item->message_bytes;

    part->head += sizeof(*item) + round_up(bytes, 8);
    part->held_bytes -= bytes;
    part->freed_bytes += bytes;
    part->read_at = 0;
    if (part->credit_base + part->freed_bytes - part->credit_sent >=
        subscriber->options.receive_bytes / 4)
        client_tick_soon(subscriber->client);
}

/* The oldest message with something unread, or NULL. */
static struct part_item *
part_item_next(struct eagre_subscriber *subscriber, struct subscriber_part *part)
{
    while (part->head != part->tail) {
        uint64_t at = part->head % part->ring_bytes;
        uint64_t to_end = part->ring_bytes - at;
        struct part_item *item = (struct part_item *)(void *)(part->ring + at);
        if (to_end < sizeof(*item) || item->skip != 0)
            part->head += to_end;
        else if (part->read_at < item->message_bytes)
            return item;
        else
            part_release(subscriber, part, item);
    }
    return NULL;
}

/* The records of a batch, unpacked where they are packed. */
static int
batch_payload(struct eagre_subscriber *subscriber,
              const uint8_t *batch,
              const struct record_batch_info *info,
              struct bytes *ret_payload)
{
    struct bytes packed = {batch + RECORD_BATCH_HEADER_BYTES,
                           info->batch_bytes - RECORD_BATCH_HEADER_BYTES};
    size_t bytes;

    if (record_batch_codec(info) == RECORD_CODEC_NONE) {
        *ret_payload = packed;
        return EAGRE_OK;
    }
    enum rc rc = record_decompress(record_batch_codec(info),
                                   packed,
                                   subscriber->unpacked,
                                   subscriber->options.unpacked_bytes,
                                   &bytes);
    if (rc != RC_OK)
        return rc == RC_NO_MEMORY     ? EAGRE_TOO_LARGE
               : rc == RC_UNSUPPORTED ? EAGRE_UNSUPPORTED
                                      : EAGRE_CORRUPT;
    *ret_payload = (struct bytes){subscriber->unpacked, bytes};
    return EAGRE_OK;
}

static bool
batch_is_wanted(const struct subscriber_part *part, const struct record_batch_info *info)
{
    return (info->attributes & RECORD_ATTRIBUTES_CONTROL) == 0 && info->record_count > 0 &&
           (uint64_t)record_batch_last_offset(info) >= part->first_wanted;
}

/* Opens the batch for reading. EAGRE_OK or what is wrong with it. */
static int
batch_begin(struct eagre_subscriber *subscriber,
            struct subscriber_part *part,
            const uint8_t *batch,
            const struct record_batch_info *info)
{
    struct bytes payload;

    if (!record_batch_crc_ok(batch, info->batch_bytes))
        return EAGRE_CORRUPT;
    int rc = batch_payload(subscriber, batch, info, &payload);
    if (rc != EAGRE_OK)
        return rc;
    record_iterator_begin(&subscriber->iterator, info, payload);
    subscriber->current = part;
    subscriber->skip_below = part->first_wanted;
    return EAGRE_OK;
}

/* The next wanted batch of a partition. */
static bool
part_next(struct eagre_subscriber *subscriber,
          struct subscriber_part *part,
          struct eagre_batch *ret_batch)
{
    struct part_item *item;

    while ((item = part_item_next(subscriber, part)) != NULL) {
        struct record_batch_info info;
        const uint8_t *batch = (const uint8_t *)(item + 1) + part->read_at;
        CHECK(record_batch_read(batch, item->message_bytes - part->read_at, &info) == RC_OK);
        part->read_at += info.batch_bytes;
        part->given_next = max_u64(part->given_next, (uint64_t)record_batch_last_offset(&info) + 1);
        if (!batch_is_wanted(part, &info))
            continue;
        *ret_batch = (struct eagre_batch){
            .rc = batch_begin(subscriber, part, batch, &info),
            .partition = (int32_t)part->partition,
            .record_count = info.record_count,
            .first_offset = info.base_offset,
            .last_offset = record_batch_last_offset(&info),
            .max_timestamp_ms = info.max_timestamp_ms,
            .high_watermark = (int64_t)item->high_watermark,
            .bytes = batch,
            .byte_count = info.batch_bytes,
        };
        if (ret_batch->rc != EAGRE_OK) {
            client__part_fail(part, ret_batch->rc, 0);
            part->told = true;
            part->head = part->tail;
        }
        subscriber->client->stats.batches_received++;
        return true;
    }
    return false;
}

/* What failed and was not said yet. */
static bool
part_tell(struct subscriber_part *part, struct eagre_batch *ret_batch)
{
    if (part->state != PART_OVER || part->told)
        return false;
    part->told = true;
    *ret_batch = (struct eagre_batch){
        .rc = part->rc, .server_error = part->server_error, .partition = (int32_t)part->partition};
    return true;
}

int
eagre_next(struct eagre_subscriber *subscriber, struct eagre_batch *ret_batch)
{
    subscriber->current = NULL;
    if (subscriber->client->is_refused)
        client__subscriber_fail(subscriber, EAGRE_DENIED);
    if (subscriber->rc != EAGRE_OK) {
        if (subscriber->told)
            return 0;
        subscriber->told = true;
        *ret_batch = (struct eagre_batch){.rc = subscriber->rc, .partition = EAGRE_PARTITION_ANY};
        return 1;
    }
    for (uint32_t i = 0; i < subscriber->part_count; i++) {
        struct subscriber_part *part = &subscriber->parts[subscriber->turn];
        subscriber->turn = (subscriber->turn + 1) % subscriber->part_count;
        if (part_next(subscriber, part, ret_batch) || part_tell(part, ret_batch))
            return 1;
    }
    return 0;
}

int
eagre_record_next(struct eagre_subscriber *subscriber, struct eagre_received *ret_record)
{
    struct record_view view;

    if (subscriber->current == NULL)
        return 0;
    do {
        if (!record_iterator_next(&subscriber->iterator, &view)) {
            if (subscriber->iterator.rc != RC_OK) /* told by the next eagre_next() */
                client__part_fail(subscriber->current, EAGRE_CORRUPT, 0);
            subscriber->current = NULL;
            return 0;
        }
    } while ((uint64_t)view.offset < subscriber->skip_below);
    subscriber->client->stats.records_received++;
    *ret_record = (struct eagre_received){
        .offset = view.offset,
        .timestamp_ms = view.timestamp_ms,
        .key = view.key.at,
        .key_bytes = view.key.count,
        .value = view.value.at,
        .value_bytes = view.value.count,
        .header_count = view.header_count,
        .headers = view.headers.at,
        .headers_bytes = view.headers.count,
        .partition = (int32_t)subscriber->current->partition,
    };
    return 1;
}

int
eagre_header_next(struct eagre_received *record, struct eagre_header *ret_header)
{
    struct record_view view = {
        .headers = {record->headers, record->headers_bytes},
        .header_count = record->header_count,
    };
    struct record_header header;

    if (!record_view_header(&view, &header))
        return 0;
    record->headers = view.headers.at;
    record->headers_bytes = view.headers.count;
    record->header_count = view.header_count;
    *ret_header = (struct eagre_header){
        .key = (const char *)header.key.at,
        .key_bytes = header.key.count,
        .value = header.value.at,
        .value_bytes = header.value.count,
    };
    return 1;
}
