/* Aborted transactions of a Fetch with isolation level 1. A log tile leaves them behind the batches
 * of each read (request.h); the next read of the same partition would overwrite them, so they are
 * moved, in the form that is sent, to the end of the partition's part of the response memory:
 *
 *   data ─► | batches of all reads | free | entries as sent |
 *                                         ^ data_capacity */
#include "net/gate/gate_internal.h"

/* The share of the memory that a log tile is not told of: an entry is longer on the wire by 1/16.
 */
#define SKIPS_SHARE 16u

uint32_t
fetch_skips__room(const struct gate_fetch *fetch, uint32_t bytes)
{
    return fetch->committed ? bytes - bytes / SKIPS_SHARE : bytes;
}

uint32_t
fetch_skips__need(const struct gate_fetch *fetch, uint32_t bytes)
{
    return fetch->committed ? bytes + bytes / (SKIPS_SHARE - 1) + 2 * SKIPS_SHARE : bytes;
}

void
fetch_skips__take(struct gate *gate,
                  struct gate_fetch *fetch,
                  struct gate_fetch_entry *entry,
                  const struct response *response)
{
    int16_t version = gate__slot(gate, fetch->slot)->version;
    uint32_t width = kafka_fetch_aborted_bytes(version);
    const uint8_t *from = entry->data + entry->data_bytes + round_up(response->bytes, 8);
    uint64_t count;

    __builtin_memcpy(&count, from, sizeof(count));
    from += sizeof(count);
    CHECK(count <= (uint64_t)(entry->data + entry->data_capacity - from) / width);
    /* From the last on: what is written stands above all that is still to be read. */
    for (uint64_t i = count; i-- > 0;) {
        struct request_aborted aborted;
        __builtin_memcpy(&aborted, from + i * sizeof(aborted), sizeof(aborted));
        /* Behind the first read, an older one was told with that. */
        if (entry->data_bytes > 0 && aborted.first_offset < response->base_offset)
            continue;
        entry->data_capacity -= width;
        entry->skip_count++;
        kafka_fetch_put_aborted(entry->data + entry->data_capacity,
                                version,
                                aborted.producer_id,
                                (int64_t)aborted.first_offset);
    }
}
