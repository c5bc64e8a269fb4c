/* Any bytes as a record batch: refused, or its records are walked inside the bytes that are there,
 * decompressed into bounded memory; rewriting for the append keeps a good CRC good and a bad one
 * bad. */
#include "engine/base/check.h"
#include "engine/record/record_codec.h"
#include "engine/record/record_iterator.h"

#include <string.h>

#define INPUT_MAX 65536
#define PLAIN_MAX (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk(const struct record_batch_info *info, struct bytes payload)
{
    struct record_iterator iterator;
    struct record_view record;
    struct record_header header;
    size_t total = 0;

    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record)) {
        total += record.key.count + record.value.count;
        while (record_view_header(&record, &header))
            total += header.key.count + header.value.count;
        CHECK(record.header_count == 0);
        CHECK(total <= payload.count);
    }
    CHECK(iterator.rc == RC_OK || iterator.rc == RC_CORRUPT);
}

static void
rewrite(const uint8_t *data, const struct record_batch_info *info)
{
    static uint8_t batch[INPUT_MAX];
    bool good = record_batch_crc_ok(data, info->batch_bytes);

    memcpy(batch, data, info->batch_bytes);
    record_batch_patch(batch, 123456789, 42);
    CHECK(record_batch_crc_ok(batch, info->batch_bytes) == good);
    record_batch_set_append_time(batch, info->batch_bytes, 1700000000000);
    CHECK(record_batch_crc_ok(batch, info->batch_bytes) == good);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t plain[PLAIN_MAX];
    struct record_batch_info info;
    struct record_batch_info checked;

    if (size > INPUT_MAX)
        return 0;
    enum rc rc = record_batch_read(data, size, &info);
    enum rc strict = record_batch_check(data, size, &checked);
    CHECK(strict != RC_OK || rc == RC_OK);
    if (rc != RC_OK)
        return 0;
    CHECK(info.batch_bytes >= RECORD_BATCH_HEADER_BYTES);
    CHECK(info.batch_bytes <= size);
    rewrite(data, &info);

    struct bytes payload = {data + RECORD_BATCH_HEADER_BYTES,
                            info.batch_bytes - RECORD_BATCH_HEADER_BYTES};
    size_t plain_bytes = 0;
    if (record_decompress(record_batch_codec(&info), payload, plain, sizeof(plain), &plain_bytes) ==
        RC_OK)
        walk(&info, (struct bytes){plain, plain_bytes});
    walk(&info, payload);
    return 0;
}
