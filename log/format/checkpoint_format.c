/* Checkpoint layout: a streaming encoder over a caller's buffer, and a checked decoder. */
#include "log/format/checkpoint_format.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

static void
encode_bytes(struct checkpoint_encoder *encoder, const void *at, uint64_t count)
{
    if (encoder->failed || count > encoder->capacity - encoder->used) {
        encoder->failed = true;
        return;
    }
    if (count == 0)
        return;
    bytes_copy(encoder->buffer + encoder->used, encoder->capacity - encoder->used, at, count);
    encoder->body_crc = hash_crc32c(encoder->body_crc, at, count);
    encoder->used += count;
}

void
checkpoint_encode_begin(struct checkpoint_encoder *encoder,
                        uint8_t *buffer,
                        uint64_t capacity,
                        const struct checkpoint_header *header)
{
    *encoder = (struct checkpoint_encoder){
        .buffer = buffer,
        .capacity = capacity,
        .used = CHECKPOINT_HEADER_BYTES,
        .failed = capacity < CHECKPOINT_HEADER_BYTES,
        .header = *header,
    };
    encoder->header.version = CHECKPOINT_VERSION;
    encoder->header.aborted_count = 0;
    encoder->header.partition_count = 0;
    encoder->header.producer_count = 0;
}

void
checkpoint_encode_partition(struct checkpoint_encoder *encoder,
                            const struct checkpoint_partition *partition,
                            const struct format_epoch *epochs)
{
    CHECK(partition->epoch_count <= CHECKPOINT_EPOCHS_MAX);
    CHECK(partition->incarnation != 0);
    if (encoder->header.producer_count > 0)
        encoder->failed = true;
    encode_bytes(encoder, partition, sizeof(*partition));
    encode_bytes(encoder, epochs, partition->epoch_count * sizeof(*epochs));
    encoder->header.partition_count++;
}

void
checkpoint_encode_producer(struct checkpoint_encoder *encoder,
                           const struct format_producer *producer)
{
    CHECK(producer->batch_count <= PRODUCER_BATCHES);
    if (encoder->header.aborted_count > 0)
        encoder->failed = true;
    if (producer->coordinator_epoch != -1 || producer->transaction_first_offset != UINT64_MAX)
        encoder->header.version = CHECKPOINT_VERSION_TRANSACTIONS;
    encode_bytes(encoder, producer, sizeof(*producer));
    encoder->header.producer_count++;
}

void
checkpoint_encode_aborted(struct checkpoint_encoder *encoder,
                          const struct checkpoint_aborted *aborted)
{
    encoder->header.version = CHECKPOINT_VERSION_TRANSACTIONS;
    encode_bytes(encoder, aborted, sizeof(*aborted));
    encoder->header.aborted_count++;
}

uint64_t
checkpoint_encode_end(struct checkpoint_encoder *encoder)
{
    struct checkpoint_header *header = &encoder->header;
    uint64_t total = round_up(encoder->used, FORMAT_BLOCK_BYTES);

    if (encoder->failed || total > encoder->capacity)
        return 0;
    header->magic = CHECKPOINT_MAGIC;
    header->body_bytes = encoder->used - CHECKPOINT_HEADER_BYTES;
    header->zero_a = 0;
    header->zero_b = 0;
    header->zero_c = 0;
    header->body_crc = encoder->body_crc;
    header->crc = hash_crc32c(0, header, offsetof(struct checkpoint_header, crc));
    __builtin_memcpy(encoder->buffer, header, sizeof(*header));
    memset(encoder->buffer + encoder->used, 0, total - encoder->used);
    return total;
}

static bool
partition_is_valid(const struct checkpoint_partition *partition)
{
    if (partition->incarnation == 0 || partition->epoch_count > CHECKPOINT_EPOCHS_MAX)
        return false;
    if (partition->state < CHECKPOINT_OPEN || partition->state > CHECKPOINT_DROPPED)
        return false;
    return partition->durable_position % FORMAT_BLOCK_BYTES == 0 &&
           partition->segment_base_offset <= partition->next_offset;
}

static bool
epochs_are_valid(const struct format_epoch *epochs, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (epochs[i].epoch <= epochs[i - 1].epoch ||
            epochs[i].start_offset < epochs[i - 1].start_offset)
            return false;
    }
    return true;
}

/* Walks the body once; the decoder that follows needs no checks. */
static bool
body_is_valid(const uint8_t *body, const struct checkpoint_header *header)
{
    uint64_t left = header->body_bytes;

    for (uint32_t i = 0; i < header->partition_count; i++) {
        const struct checkpoint_partition *partition = (const void *)body;
        if (left < sizeof(*partition) || !partition_is_valid(partition))
            return false;
        const struct format_epoch *epochs = (const void *)(partition + 1);
        uint64_t bytes = sizeof(*partition) + partition->epoch_count * sizeof(*epochs);
        if (left < bytes || !epochs_are_valid(epochs, partition->epoch_count))
            return false;
        body += bytes;
        left -= bytes;
    }
    if (header->producer_count > left / sizeof(struct format_producer))
        return false;
    left -= header->producer_count * sizeof(struct format_producer);
    if (header->aborted_count != left / sizeof(struct checkpoint_aborted) ||
        left % sizeof(struct checkpoint_aborted) != 0)
        return false;
    const struct format_producer *producers = (const void *)body;
    for (uint64_t i = 0; i < header->producer_count; i++) {
        if (producers[i].batch_count > PRODUCER_BATCHES || producers[i].incarnation == 0)
            return false;
    }
    const struct checkpoint_aborted *aborted = (const void *)(producers + header->producer_count);
    for (uint64_t i = 0; i < header->aborted_count; i++) {
        if (aborted[i].incarnation == 0 ||
            aborted[i].entry.first_offset >= aborted[i].entry.last_offset)
            return false;
    }
    return true;
}

enum rc
checkpoint_decode(struct checkpoint_decoder *decoder, const uint8_t *bytes, uint64_t count)
{
    struct checkpoint_header header;
    const uint8_t *body = bytes + CHECKPOINT_HEADER_BYTES;

    if (count < sizeof(header))
        return RC_CORRUPT;
    __builtin_memcpy(&header, bytes, sizeof(header));
    if (header.magic != CHECKPOINT_MAGIC)
        return RC_CORRUPT;
    if (header.crc != hash_crc32c(0, &header, offsetof(struct checkpoint_header, crc)))
        return RC_CORRUPT;
    if (header.version > CHECKPOINT_VERSION_TRANSACTIONS)
        return RC_NEWER_FORMAT;
    if (header.version < CHECKPOINT_VERSION_TRANSACTIONS)
        header.aborted_count = 0;
    if (header.version == 0 || header.generation == 0 || header.replay_from == 0)
        return RC_CORRUPT;
    if (header.body_bytes > count - sizeof(header))
        return RC_CORRUPT;
    if (header.body_crc != hash_crc32c(0, body, header.body_bytes))
        return RC_CORRUPT;
    if (!body_is_valid(body, &header))
        return RC_CORRUPT;
    decoder->at = body;
    decoder->partitions_left = header.partition_count;
    decoder->producers_left = header.producer_count;
    decoder->aborted_left = header.aborted_count;
    decoder->header = header;
    return RC_OK;
}

const struct checkpoint_partition *
checkpoint_next_partition(struct checkpoint_decoder *decoder,
                          const struct format_epoch **ret_epochs)
{
    if (decoder->partitions_left == 0)
        return NULL;
    const struct checkpoint_partition *partition = (const void *)decoder->at;
    const struct format_epoch *epochs = (const void *)(partition + 1);
    decoder->partitions_left--;
    decoder->at = (const uint8_t *)(epochs + partition->epoch_count);
    *ret_epochs = epochs;
    return partition;
}

const struct format_producer *
checkpoint_next_producer(struct checkpoint_decoder *decoder)
{
    CHECK(decoder->partitions_left == 0);
    if (decoder->producers_left == 0)
        return NULL;
    const struct format_producer *producer = (const void *)decoder->at;
    decoder->producers_left--;
    decoder->at += sizeof(*producer);
    return producer;
}

const struct checkpoint_aborted *
checkpoint_next_aborted(struct checkpoint_decoder *decoder)
{
    CHECK(decoder->producers_left == 0);
    if (decoder->aborted_left == 0)
        return NULL;
    const struct checkpoint_aborted *aborted = (const void *)decoder->at;
    decoder->aborted_left--;
    decoder->at += sizeof(*aborted);
    return aborted;
}
