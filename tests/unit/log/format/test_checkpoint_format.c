/* Goal: checkpoints and manifests are taken only whole; what went in comes out.
 * Method: encode two partitions and a producer; every bit turned; wrong counts with a right CRC. */
#include "engine/base/hash.h"
#include "log/format/checkpoint_format.h"
#include "log/format/manifest_format.h"

#include <criterion/criterion.h>

static _Alignas(8) uint8_t buffer[2 * FORMAT_BLOCK_BYTES];

static uint64_t
build(uint64_t capacity)
{
    struct checkpoint_header header = {
        .generation = 4, .tile_idx = 1, .journal_epoch = 6, .replay_from = 9};
    struct format_epoch epochs[2] = {{.epoch = 1, .start_offset = 0},
                                     {.epoch = 3, .start_offset = 50}};
    struct checkpoint_partition first = {
        .incarnation = 0xa1, .state = CHECKPOINT_OPEN, .next_offset = 70, .epoch_count = 2};
    struct checkpoint_partition second = {.incarnation = 0xa2, .state = CHECKPOINT_HALTED};
    struct format_producer producer = {.incarnation = 0xa1, .producer_id = 8, .batch_count = 5};
    struct checkpoint_encoder encoder;

    checkpoint_encode_begin(&encoder, buffer, capacity, &header);
    checkpoint_encode_partition(&encoder, &first, epochs);
    checkpoint_encode_partition(&encoder, &second, NULL);
    checkpoint_encode_producer(&encoder, &producer);
    return checkpoint_encode_end(&encoder);
}

Test(checkpoint_format, too_small_a_buffer_gives_nothing, .timeout = 5)
{
    for (uint64_t capacity = 0; capacity < FORMAT_BLOCK_BYTES; capacity += 16)
        cr_assert_eq(build(capacity), 0, "%lu", (unsigned long)capacity);
    cr_assert_eq(build(FORMAT_BLOCK_BYTES), FORMAT_BLOCK_BYTES);
    cr_assert_eq(checkpoint_bytes(2, 2, 1, 0), FORMAT_BLOCK_BYTES);
}

Test(checkpoint_format, every_turned_bit_is_noticed, .timeout = 20)
{
    struct checkpoint_decoder decoder;

    (void)build(sizeof(buffer));
    cr_assert_eq(checkpoint_decode(&decoder, buffer, FORMAT_BLOCK_BYTES), RC_OK);
    uint64_t used = CHECKPOINT_HEADER_BYTES + decoder.header.body_bytes;
    cr_assert_eq(used, 128 + 128 + 32 + 128 + 128);
    for (uint64_t bit = 0; bit < used * 8; bit++) {
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(checkpoint_decode(&decoder, buffer, FORMAT_BLOCK_BYTES), RC_OK);
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint64_t count = 0; count < used; count++)
        cr_assert_eq(checkpoint_decode(&decoder, buffer, count), RC_CORRUPT);
}

static void
reseal(void)
{
    uint64_t body_bytes = get_u64_le(buffer + 56);

    put_u32_le(buffer + 120, hash_crc32c(0, buffer + 128, body_bytes));
    put_u32_le(buffer + 124, hash_crc32c(0, buffer, 124));
}

Test(checkpoint_format, impossible_fields_are_refused_even_with_a_right_crc, .timeout = 5)
{
    static const struct {
        const char *what;
        uint32_t at;
        uint8_t value;
    } bad[] = {
        {"generation 0", 16, 0},
        {"partitions 3", 28, 3},
        {"partitions 1", 28, 1},
        {"producers 2", 32, 2},
        {"replay_from 0", 48, 0},
        {"incarnation 0", 128, 0},
        {"state 9", 128 + 28, 9},
        {"epochs 65", 128 + 84, 65},
        {"position unaligned", 168, 1},
        {"epoch order", 128 + 144, 1},
        {"producer batches 6", 416 + 26, 6},
    };
    struct checkpoint_decoder decoder;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        (void)build(sizeof(buffer));
        cr_assert_neq(buffer[bad[i].at], bad[i].value, "%s", bad[i].what);
        buffer[bad[i].at] = bad[i].value;
        reseal();
        cr_assert_eq(
            checkpoint_decode(&decoder, buffer, FORMAT_BLOCK_BYTES), RC_CORRUPT, "%s", bad[i].what);
    }
    (void)build(sizeof(buffer));
    put_u64_le(buffer + 56,
               get_u64_le(buffer + 56) + 16); /* a remainder behind the last producer */
    reseal();
    cr_assert_eq(checkpoint_decode(&decoder, buffer, FORMAT_BLOCK_BYTES), RC_CORRUPT);
    (void)build(sizeof(buffer));
    put_u32_le(buffer + 8, CHECKPOINT_VERSION_TRANSACTIONS + 1);
    reseal();
    cr_assert_eq(checkpoint_decode(&decoder, buffer, FORMAT_BLOCK_BYTES), RC_NEWER_FORMAT);
}

Test(checkpoint_format, gives_back_what_was_put_in, .timeout = 5)
{
    struct checkpoint_decoder decoder;
    const struct format_epoch *epochs;

    (void)build(sizeof(buffer));
    cr_assert_eq(checkpoint_decode(&decoder, buffer, sizeof(buffer)), RC_OK);
    cr_assert(decoder.header.generation == 4 && decoder.header.replay_from == 9);
    const struct checkpoint_partition *partition = checkpoint_next_partition(&decoder, &epochs);
    cr_assert(partition->incarnation == 0xa1 && partition->next_offset == 70);
    cr_assert(epochs[1].epoch == 3 && epochs[1].start_offset == 50);
    partition = checkpoint_next_partition(&decoder, &epochs);
    cr_assert(partition->incarnation == 0xa2 && partition->state == CHECKPOINT_HALTED);
    cr_assert_null(checkpoint_next_partition(&decoder, &epochs));
    const struct format_producer *producer = checkpoint_next_producer(&decoder);
    cr_assert(producer->producer_id == 8 && producer->batch_count == 5);
    cr_assert_null(checkpoint_next_producer(&decoder));
}

static uint64_t
build_manifest(void)
{
    struct manifest_header header = {.segment_count = 2, .incarnation = 0xa1, .generation = 3};
    struct manifest_segment segments[2] = {
        {.base_offset = 0, .next_offset = 100, .data_bytes = 4096, .file_bytes = 12288},
        {.base_offset = 100, .next_offset = 150, .data_bytes = 8192, .file_bytes = 16384},
    };

    return manifest_encode(&header, segments, NULL, buffer);
}

Test(manifest_format, an_impossible_or_cut_table_of_aborted_transactions_is_refused, .timeout = 5)
{
    struct manifest_header header = {.segment_count = 1, .incarnation = 0xa1, .generation = 3};
    const struct manifest_segment segment = {
        .base_offset = 10, .next_offset = 100, .data_bytes = 4096, .file_bytes = 12288};
    struct manifest_aborted aborted = {.first_offset = 100, .count = 1};
    const struct manifest_segment *found;

    uint64_t count = manifest_encode(&header, &segment, &aborted, buffer);
    cr_assert_eq(count, 144u);
    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &found), RC_CORRUPT);
    aborted.first_offset = 7; /* it began in a segment before */
    (void)manifest_encode(&header, &segment, &aborted, buffer);
    cr_assert_eq(manifest_decode(buffer, count - 1, 0xa1, &header, &found), RC_CORRUPT);
    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &found), RC_OK);
    cr_assert_eq(manifest_aborted(&header, found)[0].first_offset, 7u);
    buffer[count - 16] ^= 1;
    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &found), RC_CORRUPT);
    count = manifest_encode(&header, &segment, NULL, buffer);
    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &found), RC_OK);
    cr_assert_null(manifest_aborted(&header, found));
}

Test(manifest_format, every_turned_bit_and_every_cut_is_noticed, .timeout = 20)
{
    struct manifest_header header;
    const struct manifest_segment *segments;
    uint64_t count = build_manifest();

    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &segments), RC_OK);
    cr_assert(header.generation == 3 && segments[1].next_offset == 150);
    cr_assert_eq(manifest_decode(buffer, count, 0xa2, &header, &segments), RC_CORRUPT);
    for (uint64_t bit = 0; bit < count * 8; bit++) {
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(manifest_decode(buffer, count, 0xa1, &header, &segments), RC_OK);
        buffer[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint64_t cut = 0; cut < count; cut++)
        cr_assert_eq(manifest_decode(buffer, cut, 0xa1, &header, &segments), RC_CORRUPT);
}

Test(manifest_format, overlapping_segments_are_refused, .timeout = 5)
{
    struct manifest_header header;
    const struct manifest_segment *segments;
    uint64_t count = build_manifest();

    put_u64_le(buffer + 64 + 64, 99);
    put_u32_le(buffer + 56, hash_crc32c(0, buffer + 64, 128));
    put_u32_le(buffer + 60, hash_crc32c(0, buffer, 60));
    cr_assert_eq(manifest_decode(buffer, count, 0xa1, &header, &segments), RC_CORRUPT);
}
