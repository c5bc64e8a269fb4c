/* Goal: every codec gives back what went in, bounded by the caller's memory, and no damaged block
 * does harm. Method: blocks compressed here by the libraries themselves and by hand-made framing;
 * each cut short at every byte; output memory one byte too small; seeded flips (under ASan the
 * guard is the sanitizer). */
#include "engine/record/record_codec.h"

#include <criterion/criterion.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { PLAIN_BYTES = 5000, BLOCK_MAX = 20000 };

struct block {
    const char *name;
    enum record_codec codec;
    size_t count;
    uint8_t at[BLOCK_MAX];
};

static uint8_t plain[PLAIN_BYTES];

static void
make_gzip(struct block *block)
{
    z_stream stream = {0};

    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = plain;
    stream.avail_in = PLAIN_BYTES;
    stream.next_out = block->at;
    stream.avail_out = BLOCK_MAX;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    block->count = BLOCK_MAX - stream.avail_out;
    deflateEnd(&stream);
}

static size_t
snappy_piece(const uint8_t *from, size_t count, uint8_t *to, size_t room)
{
    cr_assert_eq(snappy_compress((const char *)from, count, (char *)to, &room), SNAPPY_OK);
    return room;
}

/* As Java's writer frames it: three blocks. */
static void
make_xerial(struct block *block)
{
    static const uint8_t header[16] = {
        0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    size_t at = sizeof(header);

    memcpy(block->at, header, sizeof(header));
    for (size_t from = 0; from < PLAIN_BYTES; from += 2000) {
        size_t part = PLAIN_BYTES - from < 2000 ? PLAIN_BYTES - from : 2000;
        size_t count = snappy_piece(plain + from, part, block->at + at + 4, BLOCK_MAX - at - 4);
        put_u32_be(block->at + at, (uint32_t)count);
        at += 4 + count;
    }
    block->count = at;
}

static struct block *
make_blocks(uint32_t *ret_count)
{
    static struct block blocks[5];

    for (size_t i = 0; i < PLAIN_BYTES; i++)
        plain[i] = (uint8_t)((size_t) "order-0123456789"[i % 16] + (i / 500) % 3);
    blocks[0].name = "gzip";
    blocks[0].codec = RECORD_CODEC_GZIP;
    make_gzip(&blocks[0]);
    blocks[1].name = "snappy";
    blocks[1].codec = RECORD_CODEC_SNAPPY;
    blocks[1].count = snappy_piece(plain, PLAIN_BYTES, blocks[1].at, BLOCK_MAX);
    blocks[2].name = "snappy, xerial framing";
    blocks[2].codec = RECORD_CODEC_SNAPPY;
    make_xerial(&blocks[2]);
    blocks[3].name = "lz4";
    blocks[3].codec = RECORD_CODEC_LZ4;
    blocks[3].count = LZ4F_compressFrame(blocks[3].at, BLOCK_MAX, plain, PLAIN_BYTES, NULL);
    blocks[4].name = "zstd";
    blocks[4].codec = RECORD_CODEC_ZSTD;
    blocks[4].count = ZSTD_compress(blocks[4].at, BLOCK_MAX, plain, PLAIN_BYTES, 3);
    *ret_count = 5;
    return blocks;
}

Test(record_decompress, refuses_unknown_codecs, .timeout = 10)
{
    uint8_t out[16];
    size_t count;

    cr_assert_eq(record_decompress((enum record_codec)5, (struct bytes){out, 1}, out, 16, &count),
                 RC_UNSUPPORTED);
}

Test(record_decompress, calls_blocks_cut_anywhere_or_prolonged_corrupt, .timeout = 60)
{
    static uint8_t out[PLAIN_BYTES + 100];
    uint32_t block_count;
    struct block *blocks = make_blocks(&block_count);

    for (uint32_t i = 0; i < block_count; i++) {
        size_t count = 0;
        for (size_t cut = 0; cut < blocks[i].count; cut++) {
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, blocks[i].at, cut);
            enum rc rc = record_decompress(
                blocks[i].codec, (struct bytes){copy, cut}, out, sizeof(out), &count);
            /* Xerial framing has no end mark: it may be cut between two blocks. */
            cr_expect(rc == RC_CORRUPT || (i == 2 && rc == RC_OK && count < PLAIN_BYTES),
                      "%s cut at %zu: %s",
                      blocks[i].name,
                      cut,
                      rc_name(rc));
            free(copy);
        }
        blocks[i].at[blocks[i].count] = 0x55;
        cr_expect_eq(record_decompress(blocks[i].codec,
                                       (struct bytes){blocks[i].at, blocks[i].count + 1},
                                       out,
                                       sizeof(out),
                                       &count),
                     RC_CORRUPT,
                     "%s with a byte behind it",
                     blocks[i].name);
    }
}

Test(record_decompress, says_when_the_output_does_not_fit, .timeout = 10)
{
    uint32_t block_count;
    struct block *blocks = make_blocks(&block_count);
    uint8_t *out = malloc(PLAIN_BYTES - 1);

    for (uint32_t i = 0; i < block_count; i++) {
        size_t count;
        struct bytes from = {blocks[i].at, blocks[i].count};
        cr_expect_eq(record_decompress(blocks[i].codec, from, out, PLAIN_BYTES - 1, &count),
                     RC_NO_MEMORY,
                     "%s",
                     blocks[i].name);
    }
    free(out);
}

Test(record_decompress, gives_back_what_each_codec_packed, .timeout = 10)
{
    uint32_t block_count;
    struct block *blocks = make_blocks(&block_count);
    uint8_t *out = malloc(PLAIN_BYTES); /* exactly enough */

    for (uint32_t i = 0; i < block_count; i++) {
        size_t count = 0;
        struct bytes from = {blocks[i].at, blocks[i].count};
        cr_expect_eq(record_decompress(blocks[i].codec, from, out, PLAIN_BYTES, &count),
                     RC_OK,
                     "%s",
                     blocks[i].name);
        cr_expect_eq(count, (size_t)PLAIN_BYTES);
        cr_expect_arr_eq(out, plain, PLAIN_BYTES);
    }
    free(out);
}

Test(record_decompress, survives_seeded_flips, .timeout = 120)
{
    static uint8_t out[PLAIN_BYTES];
    static uint8_t copy[BLOCK_MAX];
    uint32_t block_count;
    struct block *blocks = make_blocks(&block_count);
    uint32_t state = 99;
    uint32_t refused = 0;

    fprintf(stderr, "seed %u\n", state);
    for (uint32_t round = 0; round < 5000; round++) {
        const struct block *block = &blocks[round % block_count];
        memcpy(copy, block->at, block->count);
        for (uint32_t flips = 0; flips < 1 + round % 4; flips++) {
            state = state * 1664525u + 1013904223u;
            copy[(state >> 8) % block->count] ^= (uint8_t)(1u << (state >> 28) % 8);
        }
        size_t count = 0;
        enum rc rc = record_decompress(
            block->codec, (struct bytes){copy, block->count}, out, sizeof(out), &count);
        cr_assert_leq(count, sizeof(out));
        refused += rc != RC_OK;
    }
    cr_assert_gt(refused, 1000u);
}
