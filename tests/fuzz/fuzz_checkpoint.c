/* A checkpoint, a manifest and eagre.meta of any bytes: what is taken can be walked to its end
 * inside the input. Each input is also tried with its CRCs put right, which a fuzzer cannot guess.
 */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "log/format/checkpoint_format.h"
#include "log/format/manifest_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static _Alignas(8) uint8_t input[65536];

static void
try_checkpoint(size_t count)
{
    struct checkpoint_decoder decoder;
    const struct checkpoint_partition *partition;
    const struct format_producer *producer;
    const struct format_epoch *epochs;
    const uint8_t *end = input + count;

    if (checkpoint_decode(&decoder, input, count) != RC_OK)
        return;
    while ((partition = checkpoint_next_partition(&decoder, &epochs)) != NULL)
        CHECK((const uint8_t *)(epochs + partition->epoch_count) <= end);
    while ((producer = checkpoint_next_producer(&decoder)) != NULL) {
        CHECK((const uint8_t *)(producer + 1) <= end);
        CHECK(producer->batch_count <= PRODUCER_BATCHES);
    }
}

static void
try_manifest(size_t count)
{
    struct manifest_header header;
    const struct manifest_segment *segments;

    if (manifest_decode(input, count, get_u64_le(input + 16), &header, &segments) != RC_OK)
        return;
    for (uint32_t i = 0; i < header.segment_count; i++) {
        CHECK((const uint8_t *)(segments + i + 1) <= input + count);
        CHECK(segments[i].next_offset > segments[i].base_offset);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct meta_block meta;

    if (count < CHECKPOINT_HEADER_BYTES || count > sizeof(input))
        return 0;
    bytes_copy(input, sizeof(input), data, count);
    (void)meta_decode(input, count, &meta);
    try_checkpoint(count);
    try_manifest(count);
    uint64_t body_bytes = get_u64_le(input + 56);
    if (body_bytes <= count - CHECKPOINT_HEADER_BYTES) {
        put_u32_le(input + 120, hash_crc32c(0, input + CHECKPOINT_HEADER_BYTES, body_bytes));
        put_u32_le(input + 124, hash_crc32c(0, input, 124));
        try_checkpoint(count);
    }
    bytes_copy(input, sizeof(input), data, count);
    uint64_t entries = get_u32_le(input + 12) * (uint64_t)sizeof(struct manifest_segment);
    if (entries <= count - sizeof(struct manifest_header)) {
        put_u32_le(input + 56, hash_crc32c(0, input + 64, entries));
        put_u32_le(input + 60, hash_crc32c(0, input, 60));
        try_manifest(count);
    }
    return 0;
}
