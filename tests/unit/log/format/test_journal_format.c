/* Goal: a group header table is taken only when it is whole and says nothing impossible.
 * Method: one sealed table; every bit of it turned; impossible fields sealed with a right CRC. */
#include "engine/base/hash.h"
#include "log/format/journal_format.h"
#include "tests/unit/log/format/sample.h"

#include <criterion/criterion.h>

static _Alignas(8) uint8_t table[2 * FORMAT_BLOCK_BYTES];
static uint8_t payload[FORMAT_BLOCK_BYTES];

static void
build(void)
{
    struct journal_entry *entries = (void *)(table + JOURNAL_GROUP_HEADER_BYTES);
    struct sample first = {.base_offset = 100, .record_count = 3, .bytes = 200, .fill = 1};
    struct sample second = {.base_offset = 7, .record_count = 1, .bytes = 61, .producer_id = 4};
    struct journal_group_header header = {
        .epoch = 5,
        .number = 10,
        .durable_through = 9,
        .payload_bytes = 261,
        .entry_count = 3,
        .block = 1,
    };

    memset(table, 0xee, sizeof(table));
    sample_batch(payload, &first);
    sample_batch(payload + 200, &second);
    journal_entry_data(&entries[0], 0xa1, payload, 0, 55);
    journal_entry_control(&entries[1], JOURNAL_START_OFFSET, 0xa2, 17, 0);
    journal_entry_data(&entries[2], 0xa2, payload + 200, 200, 55);
    (void)journal_table_seal(table, &header);
}

/* Seals the table again after a test changed a field of an entry or the header. */
static void
reseal(void)
{
    uint32_t crc = hash_crc32c(0, table, 60);
    crc = hash_crc32c(crc, table + 64, FORMAT_BLOCK_BYTES - 64);
    put_u32_le(table + 60, crc);
}

Test(journal_table, every_turned_bit_is_noticed, .timeout = 30)
{
    struct journal_group_header header;

    build();
    cr_assert_eq(journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_OK);
    for (uint32_t bit = 0; bit < FORMAT_BLOCK_BYTES * 8; bit++) {
        table[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(
            journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_OK, "bit %u", bit);
        table[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(journal_table, cut_short_is_noticed, .timeout = 30)
{
    struct journal_group_header header;

    build();
    for (uint32_t count = 0; count < FORMAT_BLOCK_BYTES; count += 8)
        cr_assert_eq(journal_table_check(table, count, &header), RC_CORRUPT, "%u", count);
}

Test(journal_table, newer_version_is_refused_by_name, .timeout = 5)
{
    struct journal_group_header header;

    build();
    put_u16_le(table + 4, JOURNAL_GROUP_VERSION_TRANSACTIONS + 1);
    reseal();
    cr_assert_eq(journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_NEWER_FORMAT);
}

Test(journal_table, impossible_fields_are_refused_even_with_a_right_crc, .timeout = 5)
{
    static const struct {
        const char *what;
        uint32_t at;
        uint8_t value;
    } bad[] = {
        {"kind 0", 64, 0},
        {"kind unknown", 64, JOURNAL_KIND_COUNT},
        {"incarnation 0", 64 + 96 + 8, 0},
        {"payload gap", 64 + 192 + 48, 201},
        {"payload bytes", 36, 4},
        {"length 60", 64 + 192 + 52, 60},
        {"offset differs from prefix", 64 + 16, 1},
        {"leader epoch differs", 64 + 24, 1},
        {"crc differs", 64 + 56, 0},
        {"durable_through not before the group", 24, 10},
        {"number 0", 16, 0},
        {"entry count 0", 40, 0},
        {"header bytes", 33, 0x20},
        {"payload too large", 39, 0x7f},
    };
    struct journal_group_header header;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        build();
        cr_assert_neq(table[bad[i].at], bad[i].value, "%s", bad[i].what);
        table[bad[i].at] = bad[i].value;
        reseal();
        cr_assert_eq(
            journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_CORRUPT, "%s", bad[i].what);
    }
}

/* A group of version 2: a batch, another behind a gap of zeros, a reference and its mark. */
static void
build_bulk(void)
{
    struct journal_entry *entries = (void *)(table + JOURNAL_GROUP_HEADER_BYTES);
    struct sample first = {.base_offset = 100, .record_count = 3, .bytes = 200, .fill = 1};
    struct sample second = {.base_offset = 103, .record_count = 2, .bytes = 90, .fill = 2};
    struct journal_mark mark = {.run_bytes = 4096,
                                .incarnation = 0xa3,
                                .next_offset = 105,
                                .segment_base_offset = 90,
                                .position = 8192};
    struct journal_group_header header = {.version = JOURNAL_GROUP_VERSION_BULK,
                                          .epoch = 5,
                                          .number = 10,
                                          .durable_through = 9,
                                          .payload_bytes = 4096 + 90,
                                          .entry_count = 4,
                                          .block = 1};

    memset(table, 0xee, sizeof(table));
    sample_batch(payload, &first);
    sample_batch(payload + 200, &second);
    journal_entry_data(&entries[0], 0xa1, payload, 0, 55);
    journal_entry_data(&entries[1], 0xa2, payload + 200, 4096, 55);
    journal_entry_reference(&entries[2], 0xa3, payload + 200, 55);
    journal_entry_mark(&entries[3], &mark);
    (void)journal_table_seal(table, &header);
}

Test(journal_table, version_2_alone_has_gaps_references_and_marks, .timeout = 5)
{
    struct journal_group_header header;

    for (uint32_t without = 0; without < 4; without++) {
        build_bulk();
        cr_assert_eq(journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_OK);
        struct journal_mark mark = journal_mark_of(&journal_table_entries(table)[3]);
        cr_assert(mark.position == 8192 && mark.next_offset == 105 && mark.kind == JOURNAL_MARK);
        put_u16_le(table + 4, JOURNAL_GROUP_VERSION);
        if (without == 1) /* only the gap is left, then only the mark, then only the reference */
            put_u64_le(table + 36, 4096 + 90 + ((uint64_t)2 << 32));
        if (without == 2) {
            put_u32_le(table + 64 + 96 + 48, 200);
            put_u32_le(table + 36, 290);
            memcpy(table + 64 + 192, table + 64 + 96, 8);
            table[64 + 192] = JOURNAL_EPOCH;
        }
        if (without == 3) {
            put_u32_le(table + 64 + 96 + 48, 200);
            put_u64_le(table + 36, 290 + ((uint64_t)3 << 32));
        }
        reseal();
        cr_assert_eq(
            journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_CORRUPT, "%u", without);
    }
}

Test(journal_table, impossible_fields_of_version_2_are_refused, .timeout = 5)
{
    static const struct {
        const char *what;
        uint32_t at;
        uint8_t value;
    } bad[] = {
        {"version 0", 4, 0},
        {"kind unknown", 64, JOURNAL_KIND_COUNT},
        {"a gap to another place than a block", 64 + 96 + 48, 8},
        {"a gap over a block", 64 + 96 + 49, 0x20},
        {"reference with a place in the payload", 64 + 192 + 48, 1},
        {"reference without an incarnation", 64 + 192 + 8, 0},
        {"reference with another length than its batch", 64 + 192 + 52, 91},
        {"mark in the middle of a block", 64 + 288 + 33, 0x21},
        {"mark at position 0", 64 + 288 + 33, 0},
        {"mark without a run", 64 + 288 + 5, 0},
        {"run longer than its segment", 64 + 288 + 5, 0x30},
        {"mark below its segment", 64 + 288 + 16, 90},
        {"mark beyond all offsets", 64 + 288 + 23, 0x80},
        {"mark without an incarnation", 64 + 288 + 8, 0},
    };
    struct journal_group_header header;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        build_bulk();
        cr_assert_neq(table[bad[i].at], bad[i].value, "%s", bad[i].what);
        table[bad[i].at] = bad[i].value;
        reseal();
        cr_assert_eq(
            journal_table_check(table, FORMAT_BLOCK_BYTES, &header), RC_CORRUPT, "%s", bad[i].what);
    }
}

Test(journal_entry, damage_in_any_byte_of_its_batch_is_noticed, .timeout = 5)
{
    build();
    const struct journal_entry *entries = journal_table_entries(table);

    cr_assert(journal_entry_is_intact(&entries[0], payload));
    cr_assert(journal_entry_is_intact(&entries[2], payload));
    for (uint32_t i = 0; i < 200; i++) {
        payload[i] ^= 4;
        cr_assert_not(journal_entry_is_intact(&entries[0], payload), "byte %u", i);
        cr_assert(journal_entry_is_intact(&entries[2], payload));
        payload[i] ^= 4;
    }
}

Test(journal_table, greatest_group_fits_the_declared_maximum, .timeout = 5)
{
    cr_assert_eq(journal_header_bytes(JOURNAL_ENTRIES_MAX), JOURNAL_HEADER_BYTES_MAX);
    cr_assert_eq(journal_header_bytes(42), FORMAT_BLOCK_BYTES);
    cr_assert_eq(journal_header_bytes(43), 2 * FORMAT_BLOCK_BYTES);
}

Test(journal_file_header, zero_damaged_and_newer_are_told_apart, .timeout = 5)
{
    static uint8_t block[FORMAT_BLOCK_BYTES];
    struct journal_file_header header = {.tile_idx = 3, .file_idx = 2, .file_bytes = 1 << 20};
    struct journal_file_header found;

    cr_assert_eq(journal_file_header_decode(block, &found), RC_NOT_FOUND);
    journal_file_header_encode(&header, block);
    cr_assert_eq(journal_file_header_decode(block, &found), RC_OK);
    cr_assert(found.tile_idx == 3 && found.file_idx == 2 && found.file_bytes == 1 << 20);
    for (uint32_t bit = 0; bit < 64 * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(journal_file_header_decode(block, &found), RC_CORRUPT, "bit %u", bit);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    put_u32_le(block + 8, FORMAT_VERSION + 1);
    put_u32_le(block + 60, hash_crc32c(0, block, 60));
    cr_assert_eq(journal_file_header_decode(block, &found), RC_NEWER_FORMAT);
}

Test(journal_epoch, later_openings_are_greater_whatever_the_random_part, .timeout = 5)
{
    uint64_t first = journal_epoch_next(0, UINT64_MAX);
    uint64_t second = journal_epoch_next(first, 0);

    cr_assert_eq(journal_epoch_ordinal(first), 1);
    cr_assert_eq(journal_epoch_ordinal(second), 2);
    cr_assert_gt(second, first);
}
