/* Goal: what a builder lays down is what the format's reader accepts; lists and searches agree with
 * a plain walk. Method: batches of seeded sizes through the builder and back through
 * run_walk_next(). */
#include "engine/base/hash.h"
#include "engine/record/record_batch.h"
#include "log/segment/segment.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define STAGING_BYTES (1024u * 1024u + 65536u)

static struct index_entry entries[INDEX_ENTRIES_MAX];
static uint8_t batch[300000];

static void
make_batch(uint64_t base_offset, uint32_t records, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        batch[i] = (uint8_t)(i * 13 + base_offset);
    put_u64_be(batch, base_offset);
    put_u32_be(batch + 8, bytes - 12);
    put_u32_be(batch + 12, 0);
    batch[16] = 2;
    put_u16_be(batch + 21, 0);
    put_u32_be(batch + 23, records - 1);
    put_u32_be(batch + 57, records);
    put_u32_be(batch + 17, hash_crc32c(0, batch + 21, bytes - 21));
}

static bool
add(struct run_builder *builder, uint64_t *offset, uint32_t bytes)
{
    make_batch(*offset, 3, bytes);
    struct run_batch what = {
        .bytes = batch,
        .count = bytes,
        .last_delta = 2,
        .base_offset = *offset,
        .max_timestamp_ms = (int64_t)(*offset ^ 5),
    };
    if (!run_builder_add(builder, &what))
        return false;
    *offset += 3;
    return true;
}

/* Reads runs of [buffer, bytes) that stand at `position`; gives the number of batches. */
static uint32_t
read_back(const uint8_t *buffer, uint64_t bytes, uint64_t position, uint64_t first)
{
    uint64_t offset = first;
    uint32_t count = 0;

    for (uint64_t at = 0; at < bytes;) {
        struct run_place place = {
            .incarnation = 77, .segment_base_offset = 1000, .position = position + at};
        struct run_header header;
        struct run_walk walk;
        const uint8_t *one;
        uint32_t one_bytes;
        enum rc rc;
        cr_assert_eq(run_header_check(buffer + at, &place, &header), RC_OK);
        cr_assert(run_bytes(header.batch_bytes) <= RUN_TARGET_BYTES || header.batch_count == 1);
        run_walk_begin(&walk, &header, buffer + at + RUN_HEADER_BYTES);
        while ((rc = run_walk_next(&walk, &header, &one, &one_bytes)) == RC_OK) {
            cr_assert_eq(record_batch_base_offset(one), offset);
            offset += 3;
            count++;
        }
        cr_assert_eq(rc, RC_NOT_FOUND);
        at += run_bytes(header.batch_bytes);
    }
    return count;
}

Test(run_builder, what_it_builds_reads_back, .timeout = 20)
{
    uint8_t *buffer = aligned_alloc(4096, STAGING_BYTES);
    uint64_t state = 3;
    uint64_t offset = 1000;
    struct index index;
    struct segment stats = {
        .base_offset = 1000, .next_offset = 1000, .first_timestamp_ms = -1, .max_timestamp_ms = -1};

    index_init(&index, entries);
    for (uint32_t round = 0; round < 40; round++) {
        struct run_builder builder;
        uint64_t position = stats.data_bytes;
        uint64_t first = offset;
        uint32_t added = 0;
        run_builder_begin(
            &builder, (struct segment_space){buffer, STAGING_BYTES}, 77, &stats, &index);
        for (uint32_t i = 0; i < 200; i++) {
            state = state * UINT64_C(6364136223846793005) + 1;
            uint32_t bytes = 61 + (uint32_t)((state >> 33) % (i % 20 == 0 ? 250000 : 9000));
            if (!add(&builder, &offset, bytes))
                break;
            added++;
        }
        uint64_t bytes = run_builder_end(&builder);
        cr_assert_gt(added, 0);
        cr_assert_eq(bytes % 4096, 0);
        cr_assert_leq(bytes, STAGING_BYTES);
        cr_assert_eq(stats.data_bytes, position + bytes);
        cr_assert_eq(stats.next_offset, offset);
        cr_assert_eq(read_back(buffer, bytes, position, first), added);
    }
    cr_assert_eq(stats.record_count, offset - 1000);
    free(buffer);
}

Test(run_builder, refuses_what_does_not_fit_and_stays_whole, .timeout = 10)
{
    uint8_t *buffer = aligned_alloc(4096, 16384);
    uint64_t offset = 1000;
    struct index index;
    struct run_builder builder;
    struct segment stats = {.base_offset = 1000, .next_offset = 1000, .max_timestamp_ms = -1};

    index_init(&index, entries);
    run_builder_begin(&builder, (struct segment_space){buffer, 16384}, 77, &stats, &index);
    cr_assert_not(add(&builder, &offset, 16384 - 63));
    cr_assert_eq(run_builder_end(&builder), 0);
    cr_assert_eq(stats.next_offset, 1000);
    cr_assert(add(&builder, &offset, 16384 - 64));
    cr_assert_not(add(&builder, &offset, 61));
    cr_assert_eq(run_builder_end(&builder), 16384);
    free(buffer);
}

Test(segment, lists_find_what_a_walk_finds, .timeout = 10)
{
    static struct segment records[64];
    struct segment_pool pool;
    struct segment_list list;

    segment_pool_init(&pool, records, 64);
    segment_list_init(&list);
    cr_assert_eq(segment_find(&pool, &list, 0), SEGMENT_NONE);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t at = segment_push(&pool, &list, 5, i * 10);
        cr_assert_neq(at, SEGMENT_NONE);
        records[at].next_offset = i * 10 + 8; /* a gap of two behind each */
        records[at].max_timestamp_ms = i % 7 == 0 ? 1000 + i : i;
    }
    cr_assert_eq(segment_push(&pool, &list, 5, 1000), SEGMENT_NONE, "the pool is empty");
    for (uint64_t offset = 0; offset < 638; offset++) {
        uint32_t at = segment_find(&pool, &list, offset);
        uint64_t expected = offset % 10 < 8 ? offset / 10 : offset / 10 + 1;
        cr_assert_eq(records[at].base_offset, expected * 10);
    }
    cr_assert_eq(segment_find(&pool, &list, 638), SEGMENT_NONE);
    cr_assert_eq(records[segment_find_time(&pool, &list, 1001)].base_offset, 70);
    cr_assert_eq(segment_find_time(&pool, &list, 5000), SEGMENT_NONE);
    for (uint32_t i = 0; i < 10; i++)
        segment_pop(&pool, &list);
    cr_assert_eq(records[list.oldest].base_offset, 100);
    cr_assert_neq(segment_push(&pool, &list, 5, 1000), SEGMENT_NONE);
}

Test(segment, footers_are_accepted_by_the_format, .timeout = 10)
{
    uint8_t *buffer = aligned_alloc(4096, SEGMENT_FOOTER_BYTES_MAX);
    struct index index;
    struct segment segment = {.base_offset = 1000,
                              .next_offset = 5000,
                              .data_bytes = 1024 * 1024,
                              .batch_bytes = 900000,
                              .max_timestamp_ms = 7,
                              .max_timestamp_offset = 1200};
    struct format_epoch epochs[2] = {{.epoch = 0, .start_offset = 0},
                                     {.epoch = 3, .start_offset = 900}};
    struct segment_history history = {
        .incarnation = 77, .index = &index, .epochs = epochs, .epoch_count = 2};
    struct segment_trailer trailer;

    index_init(&index, entries);
    for (uint32_t i = 0; i < 5000; i++)
        index_add(&index,
                  &(struct index_entry){.offset_delta = i * 3, .block = i * 9, .max_before_ms = i});
    uint64_t bytes = segment_build_footer(
        &segment, &history, (struct segment_space){buffer, SEGMENT_FOOTER_BYTES_MAX});
    cr_assert_gt(bytes, 0);
    cr_assert_eq(segment.file_bytes, 1024 * 1024 + bytes);
    cr_assert_eq(trailer_check(buffer + bytes - 4096, 77, 1000, segment.file_bytes, &trailer),
                 RC_OK);
    cr_assert_eq(trailer.next_offset, 5000);
    cr_assert_eq(trailer.last_epoch, 3);
    const struct section *offsets = trailer_section(&trailer, SECTION_OFFSET_INDEX);
    cr_assert_not_null(offsets);
    cr_assert(section_is_intact(offsets, buffer + (offsets->position - segment.data_bytes)));
    cr_assert_eq(segment_build_footer(&segment, &history, (struct segment_space){buffer, 4096}),
                 0,
                 "too small");
    free(buffer);
}
