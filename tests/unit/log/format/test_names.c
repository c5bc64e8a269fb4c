/* Goal: file names have one spelling, and nothing else is taken for one; eagre.meta survives the
 * loss of a copy. Method: tables of bad and good names; every byte of a meta copy damaged in turn.
 */
#include "engine/base/hash.h"
#include "log/format/format.h"

#include <criterion/criterion.h>

Test(format_names, refuses_what_it_would_not_write, .timeout = 5)
{
    static const char *const bad[] = {
        "",
        "journal",
        "journal-",
        "journal-1",
        "journal-1-",
        "journal-1-4",
        "journal-01-0",
        "journal-1-00",
        "journal-1-0 ",
        "journal-1-0.new",
        "journal--1-0",
        "journal-65536-0",
        "Journal-1-0",
        "checkpoint-1-2",
        "journal-1-0-0",
    };
    uint32_t a = 7;
    uint32_t b = 7;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(format_parse_journal(bad[i], &a, &b), "%s", bad[i]);
        cr_assert_not(format_parse_checkpoint(bad[i], &a, &b), "%s", bad[i]);
    }
    cr_assert_eq(a, 7);
    cr_assert_eq(b, 7);
}

Test(format_names, refuses_bad_segment_and_partition_names, .timeout = 5)
{
    static const char *const bad[] = {
        "",
        "00000000000000000000",
        "0000000000000000000.seg",
        "000000000000000000000.seg",
        "18446744073709551616.seg",
        "00000000000000000000-0.seg",
        "00000000000000000000-01.seg",
        "00000000000000000000-4294967296.seg",
        "00000000000000000000.seg.tmp",
        "0000000000000000",
        "00000000000000A1",
        "00000000000000a1x",
        "0a1",
    };
    uint64_t offset;
    uint32_t generation;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_not(format_parse_segment(bad[i], &offset, &generation), "%s", bad[i]);
        cr_assert_not(format_parse_partition(bad[i], &offset), "%s", bad[i]);
    }
}

Test(format_names, writes_what_it_reads, .timeout = 5)
{
    char path[FORMAT_PATH_MAX];
    uint32_t tile_idx;
    uint32_t idx;
    uint64_t value;

    format_path_journal(path, 65535, 3);
    cr_assert_str_eq(path, "journal-65535-3");
    cr_assert(format_parse_journal(path, &tile_idx, &idx));
    cr_assert(tile_idx == 65535 && idx == 3);
    format_path_journal_new(path, 0, 0);
    cr_assert_str_eq(path, "journal-0-0.new");
    format_path_checkpoint(path, 2, 7);
    cr_assert_str_eq(path, "checkpoint-2-1");
    cr_assert(format_parse_checkpoint(path, &tile_idx, &idx));
    cr_assert(tile_idx == 2 && idx == 1);
    format_path_partition(path, 0xa1);
    cr_assert_str_eq(path, "partitions/00000000000000a1");
    cr_assert(format_parse_partition(path + 11, &value));
    cr_assert_eq(value, 0xa1);
    format_path_manifest(path, UINT64_MAX);
    cr_assert_str_eq(path, "partitions/ffffffffffffffff/manifest");
    format_path_segment(path, 1, UINT64_MAX, UINT32_MAX);
    cr_assert_str_eq(path, "partitions/0000000000000001/18446744073709551615-4294967295.seg");
    cr_assert(format_parse_segment(path + 28, &value, &idx));
    cr_assert(value == UINT64_MAX && idx == UINT32_MAX);
    format_path_segment(path, 1, 1000, 0);
    cr_assert_str_eq(path, "partitions/0000000000000001/00000000000000001000.seg");
    cr_assert(format_parse_segment(path + 28, &value, &idx));
    cr_assert(value == 1000 && idx == 0);
}

Test(format_meta, either_copy_is_enough_and_both_bad_are_noticed, .timeout = 20)
{
    static uint8_t file[META_FILE_BYTES];
    struct meta_block meta = {.node_id = 9, .created_ms = 5};
    struct meta_block found;

    cr_assert_eq(meta_decode(file, sizeof(file), &found), RC_CORRUPT);
    meta_encode(&meta, file);
    for (uint32_t i = 0; i < sizeof(meta); i++) {
        meta_encode(&meta, file);
        file[i] ^= 1;
        cr_assert_eq(meta_decode(file, sizeof(file), &found), RC_OK);
        cr_assert_eq(found.node_id, 9);
        file[FORMAT_BLOCK_BYTES + (i * 7) % sizeof(meta)] ^= 0x80;
        cr_assert_eq(meta_decode(file, sizeof(file), &found), RC_CORRUPT);
    }
    meta_encode(&meta, file);
    cr_assert_eq(meta_decode(file, 63, &found), RC_CORRUPT);
}

Test(format_meta, newer_version_is_named_not_guessed, .timeout = 5)
{
    static uint8_t file[META_FILE_BYTES];
    struct meta_block meta = {.node_id = 9};
    struct meta_block found;

    meta_encode(&meta, file);
    for (uint32_t copy = 0; copy < 2; copy++) {
        uint8_t *block = file + (size_t)copy * FORMAT_BLOCK_BYTES;
        put_u32_le(block + offsetof(struct meta_block, version), FORMAT_VERSION + 1);
        put_u32_le(block + offsetof(struct meta_block, crc), hash_crc32c(0, block, 60));
    }
    cr_assert_eq(meta_decode(file, sizeof(file), &found), RC_NEWER_FORMAT);
}
