/* Goal: runs, footers and trailers are taken only whole and only at their own place.
 * Method: one run of two batches, one sealed footer; every bit turned; wrong places; wrong sums. */
#include "engine/base/hash.h"
#include "log/format/segment_format.h"
#include "tests/unit/log/format/sample.h"

#include <criterion/criterion.h>

#define RUN_BATCH_BYTES 361u

static uint8_t run[FORMAT_BLOCK_BYTES];
static const struct run_place place = {
    .incarnation = 0xa1, .segment_base_offset = 100, .position = 3 * FORMAT_BLOCK_BYTES};

static void
build(void)
{
    struct sample first = {.base_offset = 100, .record_count = 3, .bytes = 200, .fill = 1};
    struct sample second = {.base_offset = 110, .record_count = 2, .bytes = 161, .fill = 2};
    struct run_header header = {
        .incarnation = 0xa1,
        .segment_base_offset = 100,
        .base_offset = 100,
        .last_offset = 111,
        .batch_bytes = RUN_BATCH_BYTES,
        .batch_count = 2,
        .block = 3,
    };

    memset(run, 0, sizeof(run));
    sample_batch(run + 64, &first);
    sample_batch(run + 264, &second);
    header.prefix_crc = run_prefix_crc(run_prefix_crc(0, run + 64), run + 264);
    run_header_encode(&header, run);
}

/* RC_OK when header and all batches are taken. */
static enum rc
read_run(const struct run_place *at)
{
    struct run_header header;
    struct run_walk walk;
    const uint8_t *batch;
    uint32_t bytes;

    enum rc rc = run_header_check(run, at, &header);
    if (rc != RC_OK)
        return rc;
    run_walk_begin(&walk, &header, run + 64);
    for (uint32_t i = 0; i < 100; i++) {
        rc = run_walk_next(&walk, &header, &batch, &bytes);
        if (rc != RC_OK)
            return rc == RC_NOT_FOUND ? RC_OK : rc;
    }
    return RC_INVALID;
}

Test(run, every_turned_bit_is_noticed, .timeout = 20)
{
    build();
    cr_assert_eq(read_run(&place), RC_OK);
    for (uint32_t bit = 0; bit < (64 + RUN_BATCH_BYTES) * 8; bit++) {
        run[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(read_run(&place), RC_OK, "bit %u", bit);
        run[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(run, another_place_is_corruption_and_no_run_is_the_end, .timeout = 5)
{
    struct run_place other = place;

    build();
    other.incarnation++;
    cr_assert_eq(read_run(&other), RC_CORRUPT);
    other = place;
    other.segment_base_offset = 99;
    cr_assert_eq(read_run(&other), RC_CORRUPT);
    other = place;
    other.position += FORMAT_BLOCK_BYTES;
    cr_assert_eq(read_run(&other), RC_CORRUPT);
    memset(run, 0, sizeof(run));
    cr_assert_eq(read_run(&place), RC_NOT_FOUND);
}

Test(run, batches_that_disagree_with_the_header_are_refused, .timeout = 5)
{
    struct run_header header;

    build();
    cr_assert_eq(run_header_check(run, &place, &header), RC_OK);
    header.last_offset = 112;
    run_header_encode(&header, run);
    cr_assert_eq(read_run(&place), RC_CORRUPT);
    header.last_offset = 111;
    header.batch_count = 3;
    run_header_encode(&header, run);
    cr_assert_eq(read_run(&place), RC_CORRUPT);
    header.batch_count = 1;
    header.batch_bytes = 200;
    run_header_encode(&header, run);
    cr_assert_eq(read_run(&place), RC_CORRUPT);
    header.batch_bytes = 60;
    run_header_encode(&header, run);
    cr_assert_eq(read_run(&place), RC_CORRUPT);
}

/* A batch replaced by another valid one of equal length: only the prefix CRC can tell. */
Test(run, exchanged_batch_is_noticed, .timeout = 5)
{
    struct sample other = {.base_offset = 110, .record_count = 2, .bytes = 161, .fill = 3};

    build();
    sample_batch(run + 264, &other);
    cr_assert_eq(read_run(&place), RC_CORRUPT);
}

Test(run, newer_version_is_named, .timeout = 5)
{
    build();
    put_u16_le(run + 4, FORMAT_VERSION + 1);
    put_u32_le(run + 60, hash_crc32c(0, run, 60));
    cr_assert_eq(read_run(&place), RC_NEWER_FORMAT);
}

static _Alignas(8) uint8_t foot[3 * FORMAT_BLOCK_BYTES];

static uint64_t
build_footer(uint64_t capacity)
{
    struct index_offset_entry offsets[3] = {{0, 64, 64}, {10, 264, 264}, {50, 64, 8256}};
    struct format_epoch epochs[1] = {{.epoch = 4, .start_offset = 100}};
    struct segment_trailer facts = {
        .incarnation = 0xa1,
        .base_offset = 100,
        .next_offset = 200,
        .data_bytes = 3 * FORMAT_BLOCK_BYTES,
        .max_timestamp_ms = 77,
    };
    struct footer footer;

    footer_begin(&footer, foot, capacity, &facts);
    footer_add(&footer, SECTION_OFFSET_INDEX, offsets, sizeof(offsets[0]), ARRAY_COUNT(offsets));
    footer_add(&footer, SECTION_ABORTED, NULL, sizeof(struct aborted_entry), 0);
    footer_add(&footer, SECTION_EPOCHS, epochs, sizeof(epochs[0]), 1);
    return footer_end(&footer);
}

Test(footer, too_small_a_buffer_gives_nothing, .timeout = 5)
{
    cr_assert_eq(build_footer(0), 0);
    cr_assert_eq(build_footer(64), 0);
    cr_assert_eq(build_footer(FORMAT_BLOCK_BYTES), 0);
    cr_assert_eq(build_footer(2 * FORMAT_BLOCK_BYTES), 2 * FORMAT_BLOCK_BYTES);
    cr_assert_leq(build_footer(sizeof(foot)), footer_bytes_max(64));
}

Test(footer, every_turned_bit_of_the_trailer_is_noticed, .timeout = 60)
{
    struct segment_trailer trailer;
    uint8_t *block = foot + FORMAT_BLOCK_BYTES;
    uint64_t file_bytes = 5 * FORMAT_BLOCK_BYTES;

    cr_assert_eq(build_footer(sizeof(foot)), 2 * FORMAT_BLOCK_BYTES);
    cr_assert_eq(trailer_check(block, 0xa1, 100, file_bytes, &trailer), RC_OK);
    for (uint32_t bit = 0; bit < FORMAT_BLOCK_BYTES * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(trailer_check(block, 0xa1, 100, file_bytes, &trailer), RC_OK, "bit %u", bit);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(trailer_check(block, 0xa2, 100, file_bytes, &trailer), RC_CORRUPT);
    cr_assert_eq(trailer_check(block, 0xa1, 101, file_bytes, &trailer), RC_CORRUPT);
    cr_assert_eq(trailer_check(block, 0xa1, 100, file_bytes + 4096, &trailer), RC_CORRUPT);
}

Test(footer, sections_are_found_and_checked, .timeout = 5)
{
    struct segment_trailer trailer;

    (void)build_footer(sizeof(foot));
    cr_assert_eq(
        trailer_check(foot + FORMAT_BLOCK_BYTES, 0xa1, 100, 5 * FORMAT_BLOCK_BYTES, &trailer),
        RC_OK);
    cr_assert_null(trailer_section(&trailer, SECTION_TIME_INDEX));
    const struct section *section = trailer_section(&trailer, SECTION_OFFSET_INDEX);
    cr_assert_not_null(section);
    cr_assert_eq(section->bytes, 48);
    uint8_t *bytes = foot + (section->position - trailer.data_bytes);
    cr_assert(section_is_intact(section, bytes));
    bytes[47] ^= 1;
    cr_assert_not(section_is_intact(section, bytes));
    section = trailer_section(&trailer, SECTION_EPOCHS);
    cr_assert_not_null(section);
    cr_assert_eq(section->position % SECTION_ALIGN_BYTES, 0);
    cr_assert(section_is_intact(section, foot + (section->position - trailer.data_bytes)));
}
