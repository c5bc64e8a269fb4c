/* Any bytes as the records of a stored batch that compaction filters, in every codec: left as it
 * is, or what stands afterwards is a batch with a right CRC and the same offsets and producer, and
 * holds exactly the records that were to stay, each as it was; filtered once more it stands still.
 *
 * Input: what stays (one byte), how (one byte), horizon (8), then a batch; its length and CRC are
 * put right first, for only whole batches come to a filter. With bit 2 of the second byte the
 * records are packed by the codec of bits 3 to 5 before. */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/record/record_codec.h"
#include "engine/record/record_filter.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 65536
#define HEAD_BYTES 10u
#define BATCH_MAX (256u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct chooser {
    uint8_t pattern;
    uint32_t at;
};

/* The fields of one record, so far as they are to stay. */
static uint64_t
fingerprint(const struct record_view *record)
{
    uint64_t words[7] = {(uint64_t)record->offset,
                         (uint64_t)record->timestamp_ms,
                         hash_xxh3(record->key.at, record->key.count, 1),
                         hash_xxh3(record->value.at, record->value.count, 2),
                         hash_xxh3(record->headers.at, record->headers.count, 3),
                         record->header_count,
                         (record->key.at != NULL) + 2u * (record->value.at != NULL)};

    return hash_xxh3(words, sizeof(words), 0);
}

static bool
keeps(void *ctx, const struct record_view *record)
{
    struct chooser *chooser = ctx;

    (void)record;
    return chooser->pattern >> (chooser->at++ % 8) & 1;
}

/* A sum over the records that the pattern keeps, in order; *ret_count: how many there are. */
static uint64_t
sum_up(const uint8_t *batch,
       const struct record_batch_info *info,
       uint8_t pattern,
       uint32_t *ret_count)
{
    static uint8_t plain[RECORD_FILTER_BUFFER_BYTES];
    struct chooser chooser = {.pattern = pattern};
    struct record_iterator iterator;
    struct record_view record;
    struct bytes payload;
    uint64_t sum = 0;

    CHECK(record_payload(batch, info, plain, sizeof(plain), &payload) == RC_OK);
    *ret_count = 0;
    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record)) {
        if (!keeps(&chooser, &record))
            continue;
        sum = sum * 31 + fingerprint(&record);
        (*ret_count)++;
    }
    CHECK(iterator.rc == RC_OK);
    return sum;
}

static void
expect_filtered(const struct record_filter *filter,
                const uint8_t *batch,
                const struct record_batch_info *info,
                const struct record_filtered *filtered)
{
    struct record_filter again = *filter;
    struct chooser all = {.pattern = 0xff};
    const struct chooser *chooser = filter->ctx;
    struct record_batch_info after;
    struct record_filtered second;
    uint32_t kept = 0;
    uint32_t stored = 0;
    static uint8_t copy[RECORD_FILTER_BUFFER_BYTES];

    CHECK(filtered->bytes <= RECORD_BATCH_BYTES_MAX);
    CHECK(record_batch_read(filtered->batch, filtered->bytes, &after) == RC_OK);
    CHECK(after.batch_bytes == filtered->bytes);
    CHECK(record_batch_crc_ok(filtered->batch, filtered->bytes));
    CHECK(after.base_offset == info->base_offset);
    CHECK(record_batch_last_offset(&after) == record_batch_last_offset(info));
    CHECK(after.producer_id == info->producer_id);
    CHECK(after.producer_epoch == info->producer_epoch);
    CHECK(after.base_sequence == info->base_sequence);
    CHECK(after.record_count == filtered->kept);
    uint64_t before = sum_up(batch, info, chooser->pattern, &kept);
    CHECK(before == sum_up(filtered->batch, &after, 0xff, &stored));
    CHECK(kept == filtered->kept);
    CHECK(stored == kept);
    memcpy(copy, filtered->batch, filtered->bytes);
    again.ctx = &all;
    CHECK(record_filter_run(&again, copy, &after, &second) == RC_OK);
    CHECK(second.result == RECORD_FILTER_SAME);
}

static void
run(uint8_t *batch, struct record_filter *filter, uint8_t pattern)
{
    struct chooser chooser = {.pattern = pattern};
    struct record_batch_info info;
    struct record_filtered filtered = {0};
    uint8_t empty[RECORD_BATCH_HEADER_BYTES];
    uint32_t kept = 0;

    size_t bytes = (size_t)get_u32_be(batch + RECORD_BATCH_LENGTH) + RECORD_BATCH_LENGTH_END;
    put_u32_be(batch + RECORD_BATCH_CRC,
               hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, bytes - RECORD_BATCH_ATTRIBUTES));
    if (record_batch_read(batch, bytes, &info) != RC_OK)
        return;
    record_batch_make_empty(batch, empty);
    CHECK(record_batch_crc_ok(empty, sizeof(empty)));
    filter->keeps = keeps;
    filter->ctx = &chooser;
    if (record_filter_run(filter, batch, &info, &filtered) != RC_OK)
        return;
    CHECK(filtered.kept + filtered.removed == info.record_count);
    chooser.pattern = pattern;
    (void)sum_up(batch, &info, pattern, &kept);
    CHECK(kept == filtered.kept);
    if (filtered.result == RECORD_FILTER_CHANGED)
        expect_filtered(filter, batch, &info, &filtered);
    else
        CHECK(filtered.result == RECORD_FILTER_SAME ? filtered.removed == 0 : kept == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t batch[BATCH_MAX];
    static uint8_t buffers[3][RECORD_FILTER_BUFFER_BYTES];
    struct record_filter filter = {
        .unpacked = buffers[0], .rebuilt = buffers[1], .packed = buffers[2]};

    if (size > INPUT_MAX || size < HEAD_BYTES + RECORD_BATCH_HEADER_BYTES)
        return 0;
    const uint8_t *records = data + HEAD_BYTES + RECORD_BATCH_HEADER_BYTES;
    size_t bytes = size - HEAD_BYTES - RECORD_BATCH_HEADER_BYTES;
    enum record_codec codec = (enum record_codec)((data[1] >> 3 & 7) % RECORD_CODEC_COUNT);
    filter.wants_horizon = (data[1] & 1) != 0;
    filter.horizon_ms = (int64_t)get_u64_be(data + 2);
    memcpy(batch, data + HEAD_BYTES, RECORD_BATCH_HEADER_BYTES + bytes);
    if ((data[1] & 4) != 0) {
        uint16_t attributes = get_u16_be(batch + RECORD_BATCH_ATTRIBUTES);
        if (record_compress(codec,
                            (struct bytes){records, bytes},
                            batch + RECORD_BATCH_HEADER_BYTES,
                            sizeof(batch) - RECORD_BATCH_HEADER_BYTES,
                            &bytes) != RC_OK)
            return 0;
        attributes = (uint16_t)((attributes & ~RECORD_ATTRIBUTES_CODEC_MASK) | codec);
        put_u16_be(batch + RECORD_BATCH_ATTRIBUTES, attributes);
    }
    put_u32_be(batch + RECORD_BATCH_LENGTH,
               (uint32_t)(RECORD_BATCH_HEADER_BYTES + bytes - RECORD_BATCH_LENGTH_END));
    run(batch, &filter, data[0]);
    return 0;
}
