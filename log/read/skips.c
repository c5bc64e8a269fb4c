#include "log/read/skips.h"

#include "engine/base/check.h"
#include "engine/record/record_batch.h"

#include <string.h>

/* One past the last offset of the batches; *ret_last is where the last one begins. */
static uint64_t
skips_walk(const uint8_t *batches, uint32_t bytes, uint32_t *ret_last)
{
    uint64_t next_offset = 0;

    for (uint32_t at = 0; at < bytes; at += (uint32_t)record_batch_bytes(batches + at)) {
        *ret_last = at;
        next_offset = record_batch_base_offset(batches + at) +
                      (uint64_t)record_batch_last_offset_delta(batches + at) + 1;
    }
    return next_offset;
}

void
skips_begin(struct read_skips *skips, const struct log_read_request *request, uint32_t bytes)
{
    uint32_t last = 0;

    CHECK(bytes > 0);
    CHECK(bytes + READ_SKIPS_HEAD_BYTES <= request->dst_bytes);
    *skips = (struct read_skips){
        .dst = request->dst,
        .dst_bytes = request->dst_bytes,
        .bytes = bytes,
        .from = record_batch_base_offset(request->dst),
    };
    skips->until = skips_walk(skips->dst, bytes, &last);
}

void
skips_add(struct read_skips *skips, const struct aborted_entry *entry)
{
    const struct read_skip skip = {.producer_id = entry->producer_id,
                                   .first_offset = entry->first_offset};
    uint64_t tail = ((uint64_t)skips->count + 1) * sizeof(skip);

    if (entry->last_offset < skips->from || entry->first_offset >= skips->until)
        return;
    while (!skips->is_full && skips->bytes + READ_SKIPS_HEAD_BYTES + tail > skips->dst_bytes) {
        uint32_t last = 0;
        uint32_t before = 0;
        (void)skips_walk(skips->dst, skips->bytes, &last);
        if (last == 0) {
            skips->is_full = true;
            break;
        }
        skips->bytes = last;
        skips->until = skips_walk(skips->dst, last, &before);
    }
    skips->count++;
    if (!skips->is_full)
        __builtin_memcpy(skips->dst + skips->dst_bytes - tail, &skip, sizeof(skip));
}

void
skips_add_kept(struct read_skips *skips,
               const struct log *log,
               const struct partition *partition,
               uint64_t oldest)
{
    const struct transaction_aborted *table = log->transactions.aborted;
    uint32_t at = partition->transactions.aborted_newest;

    while (at != TRANSACTION_NONE && table[at].entry.last_offset >= max_u64(oldest, skips->from)) {
        skips_add(skips, &table[at].entry);
        at = table[at].older;
    }
}

void
skips_end(struct read_skips *skips, struct log_read_result *result)
{
    uint64_t at = round_up(skips->bytes, 8);
    uint64_t count = skips->count;
    uint64_t bytes = count * sizeof(struct read_skip);

    if (skips->is_full) {
        result->rc = RC_NO_MEMORY;
        result->bytes = (uint32_t)(skips->bytes + READ_SKIPS_HEAD_BYTES + bytes);
        return;
    }
    memset(skips->dst + skips->bytes, 0, at - skips->bytes);
    /* Downwards, and by 8 bytes at most: the count comes last. */
    memmove(skips->dst + at + sizeof(count), skips->dst + skips->dst_bytes - bytes, bytes);
    __builtin_memcpy(skips->dst + at, &count, sizeof(count));
    result->bytes = skips->bytes;
}
