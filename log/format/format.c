/* Names of files, and eagre.meta. Names are spelled by hand: no printf on engine cores, and one
 * exact spelling per name makes parsing strict. */
#include "log/format/format.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

#define OFFSET_DIGITS 20u /* of the greatest 64-bit number, so names sort as numbers do */
#define INCARNATION_DIGITS 16u

/* A path under construction; FORMAT_PATH_MAX holds the longest one there is. */
struct name_writer {
    char *at;
    char *end;
};

static struct name_writer
name_over(char *path)
{
    return (struct name_writer){.at = path, .end = path + FORMAT_PATH_MAX - 1};
}

static void
name_text(struct name_writer *name, const char *text)
{
    size_t count = strlen(text);
    CHECK(count <= (size_t)(name->end - name->at));
    bytes_copy(name->at, (size_t)(name->end - name->at), text, count);
    name->at += count;
    *name->at = 0;
}

/* At least `digits` digits in base 10 or 16, zeros in front. */
static void
name_number(struct name_writer *name, uint64_t value, uint32_t base, uint32_t digits)
{
    char text[OFFSET_DIGITS + 1];
    uint32_t first = OFFSET_DIGITS;

    text[OFFSET_DIGITS] = 0;
    do {
        text[--first] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (OFFSET_DIGITS - first < digits)
        text[--first] = '0';
    name_text(name, text + first);
}

/* Reads digits up to `stop`; exactly `digits` of them, or (digits 0) any count without leading
 * zeros. */
static bool
parse_number(const char **at, uint32_t base, uint32_t digits, uint64_t *ret_value)
{
    const char *begin = *at;
    const char *end = begin;
    uint64_t value = 0;

    for (;; end++) {
        uint32_t digit = 16;
        if (*end >= '0' && *end <= '9')
            digit = (uint32_t)(*end - '0');
        else if (*end >= 'a' && *end <= 'f')
            digit = (uint32_t)(*end - 'a') + 10;
        if (digit >= base)
            break;
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    size_t count = (size_t)(end - begin);
    if (digits != 0 ? count != digits : count == 0 || (count > 1 && *begin == '0'))
        return false;
    *at = end;
    *ret_value = value;
    return true;
}

static bool
parse_text(const char **at, const char *text)
{
    size_t count = strlen(text);
    if (strncmp(*at, text, count) != 0)
        return false;
    *at += count;
    return true;
}

/* "<kind><tile>-<index>" and nothing after; index < index_count. */
static bool
parse_tile_name(const char *name,
                const char *kind,
                uint32_t index_count,
                uint32_t *ret_tile_idx,
                uint32_t *ret_idx)
{
    uint64_t tile_idx;
    uint64_t idx;

    if (!parse_text(&name, kind) || !parse_number(&name, 10, 0, &tile_idx) ||
        !parse_text(&name, "-") || !parse_number(&name, 10, 0, &idx))
        return false;
    if (*name != 0 || tile_idx > UINT16_MAX || idx >= index_count)
        return false;
    *ret_tile_idx = (uint32_t)tile_idx;
    *ret_idx = (uint32_t)idx;
    return true;
}

bool
batch_is_intact(const uint8_t *batch, uint64_t count)
{
    struct record_batch_info info;

    if (record_batch_read(batch, count, &info) != RC_OK)
        return false;
    return info.batch_bytes == count && record_batch_crc_ok(batch, info.batch_bytes);
}

void
format_path_journal(char *ret_path, uint32_t tile_idx, uint32_t file_idx)
{
    struct name_writer name = name_over(ret_path);
    name_text(&name, "journal-");
    name_number(&name, tile_idx, 10, 1);
    name_text(&name, "-");
    name_number(&name, file_idx, 10, 1);
}

void
format_path_journal_new(char *ret_path, uint32_t tile_idx, uint32_t file_idx)
{
    format_path_journal(ret_path, tile_idx, file_idx);
    size_t count = strlen(ret_path);
    struct name_writer name = {.at = ret_path + count, .end = ret_path + FORMAT_PATH_MAX - 1};
    name_text(&name, ".new");
}

void
format_path_checkpoint(char *ret_path, uint32_t tile_idx, uint64_t generation)
{
    struct name_writer name = name_over(ret_path);
    name_text(&name, "checkpoint-");
    name_number(&name, tile_idx, 10, 1);
    name_text(&name, "-");
    name_number(&name, generation & 1, 10, 1);
}

void
format_path_partition(char *ret_path, uint64_t incarnation)
{
    struct name_writer name = name_over(ret_path);
    name_text(&name, FORMAT_PARTITIONS_PATH "/");
    name_number(&name, incarnation, 16, INCARNATION_DIGITS);
}

void
format_path_manifest(char *ret_path, uint64_t incarnation)
{
    format_path_partition(ret_path, incarnation);
    size_t count = strlen(ret_path);
    struct name_writer name = {.at = ret_path + count, .end = ret_path + FORMAT_PATH_MAX - 1};
    name_text(&name, "/manifest");
}

void
format_path_segment(char *ret_path,
                    uint64_t incarnation,
                    uint64_t base_offset,
                    uint32_t file_generation)
{
    format_path_partition(ret_path, incarnation);
    size_t count = strlen(ret_path);
    struct name_writer name = {.at = ret_path + count, .end = ret_path + FORMAT_PATH_MAX - 1};

    name_text(&name, "/");
    name_number(&name, base_offset, 10, OFFSET_DIGITS);
    if (file_generation > 0) {
        name_text(&name, "-");
        name_number(&name, file_generation, 10, 1);
    }
    name_text(&name, ".seg");
}

bool
format_parse_journal(const char *name, uint32_t *ret_tile_idx, uint32_t *ret_file_idx)
{
    return parse_tile_name(name, "journal-", 4, ret_tile_idx, ret_file_idx);
}

bool
format_parse_checkpoint(const char *name, uint32_t *ret_tile_idx, uint32_t *ret_parity)
{
    return parse_tile_name(name, "checkpoint-", 2, ret_tile_idx, ret_parity);
}

bool
format_parse_partition(const char *name, uint64_t *ret_incarnation)
{
    uint64_t incarnation;

    if (!parse_number(&name, 16, INCARNATION_DIGITS, &incarnation) || *name != 0)
        return false;
    if (incarnation == 0)
        return false;
    *ret_incarnation = incarnation;
    return true;
}

bool
format_parse_segment(const char *name, uint64_t *ret_base_offset, uint32_t *ret_file_generation)
{
    uint64_t base_offset;
    uint64_t generation = 0;

    if (!parse_number(&name, 10, OFFSET_DIGITS, &base_offset))
        return false;
    if (parse_text(&name, "-") && (!parse_number(&name, 10, 0, &generation) || generation == 0))
        return false;
    if (generation > UINT32_MAX || strcmp(name, ".seg") != 0)
        return false;
    *ret_base_offset = base_offset;
    *ret_file_generation = (uint32_t)generation;
    return true;
}

void
meta_encode(const struct meta_block *meta, uint8_t *file)
{
    struct meta_block block = *meta;

    block.magic = META_MAGIC;
    block.version = FORMAT_VERSION;
    block.zero = 0;
    block.crc = hash_crc32c(0, &block, offsetof(struct meta_block, crc));
    memset(file, 0, META_FILE_BYTES);
    bytes_copy(file, META_FILE_BYTES, &block, sizeof(block));
    bytes_copy(file + FORMAT_BLOCK_BYTES, FORMAT_BLOCK_BYTES, &block, sizeof(block));
}

enum rc
meta_decode(const uint8_t *file, size_t count, struct meta_block *ret_meta)
{
    for (size_t position = 0; position + sizeof(struct meta_block) <= count;
         position += FORMAT_BLOCK_BYTES) {
        struct meta_block block;
        __builtin_memcpy(&block, file + position, sizeof(block));
        if (position >= META_FILE_BYTES || block.magic != META_MAGIC)
            continue;
        if (block.crc != hash_crc32c(0, &block, offsetof(struct meta_block, crc)))
            continue;
        if (block.version > FORMAT_VERSION)
            return RC_NEWER_FORMAT;
        if (block.version == 0)
            continue;
        *ret_meta = block;
        return RC_OK;
    }
    return RC_CORRUPT;
}
