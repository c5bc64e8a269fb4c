/* A run and a trailer of any bytes at any place: batches that are given out lie inside the run,
 * offsets never go back, and sections lie inside the file. Each input is also tried with its CRC
 * put right, which a fuzzer cannot guess. */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "log/format/segment_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static _Alignas(8) uint8_t input[65536];

static void
try_run(size_t count)
{
    struct run_place place = {
        .incarnation = get_u64_le(input + 8),
        .segment_base_offset = get_u64_le(input + 16),
        .position = (uint64_t)get_u32_le(input + 48) * FORMAT_BLOCK_BYTES,
    };
    struct run_header header;
    struct run_walk walk;
    const uint8_t *batch;
    uint32_t bytes;
    uint64_t last_base = 0;

    if (run_header_check(input, &place, &header) != RC_OK)
        return;
    if (header.batch_bytes > count - RUN_HEADER_BYTES)
        return; /* the caller reads batch_bytes before it walks */
    run_walk_begin(&walk, &header, input + RUN_HEADER_BYTES);
    while (run_walk_next(&walk, &header, &batch, &bytes) == RC_OK) {
        CHECK(batch >= input + RUN_HEADER_BYTES);
        CHECK(batch + bytes <= input + RUN_HEADER_BYTES + header.batch_bytes);
        CHECK(record_batch_base_offset(batch) >= last_base);
        CHECK(batch_is_intact(batch, bytes));
        last_base = record_batch_base_offset(batch);
    }
}

static void
try_trailer(void)
{
    struct segment_trailer trailer;
    uint64_t file_bytes = get_u64_le(input + 48);

    if (trailer_check(
            input, get_u64_le(input + 16), get_u64_le(input + 24), file_bytes, &trailer) != RC_OK)
        return;
    for (uint32_t i = 0; i < trailer.section_count; i++) {
        const struct section *section = &trailer.sections[i];
        CHECK(section->position >= trailer.data_bytes);
        CHECK(section->position + section->bytes <= file_bytes - FORMAT_BLOCK_BYTES);
        CHECK(trailer_section(&trailer, section->type) != NULL);
    }
}

/* Puts the CRC of every batch right that can be walked to, then the prefixes', so the walk gets
 * far. */
static void
mend_run(size_t count)
{
    size_t at = RUN_HEADER_BYTES;
    uint32_t prefix_crc = 0;

    while (count - at >= BATCH_HEADER_BYTES) {
        uint64_t bytes = record_batch_bytes(input + at);
        if (bytes < BATCH_HEADER_BYTES || bytes > count - at)
            break;
        put_u32_be(
            input + at + RECORD_BATCH_CRC,
            hash_crc32c(0, input + at + RECORD_BATCH_ATTRIBUTES, bytes - RECORD_BATCH_ATTRIBUTES));
        prefix_crc = run_prefix_crc(prefix_crc, input + at);
        at += bytes;
    }
    put_u32_le(input + 40, (uint32_t)(at - RUN_HEADER_BYTES));
    put_u32_le(input + 52, prefix_crc);
    put_u32_le(input + 60, hash_crc32c(0, input, 60));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    if (count < RUN_HEADER_BYTES || count > sizeof(input))
        return 0;
    bytes_copy(input, sizeof(input), data, count);
    try_run(count);
    mend_run(count);
    try_run(count);
    if (count < FORMAT_BLOCK_BYTES)
        return 0;
    bytes_copy(input, sizeof(input), data, count);
    try_trailer();
    put_u32_le(input + 4092, hash_crc32c(0, input, 4092));
    try_trailer();
    return 0;
}
