/* Checkpoints: what a log tile knows, complete, so that recovery reads this and a bounded journal;
 * FORMAT.md section 6. Pure.
 *
 *   | 128-byte header | partition: 128 bytes + epochs x 16 | ... | producer: 128 bytes | ... |
 * zeros to 4096 |
 *
 * Two files per tile, checkpoint-<tile>-0 and -1: generation g is written whole to file g % 2, so a
 * crash while writing leaves the other. Always complete: no deltas (FORMAT.md section 6.4 says
 * why).
 *
 * Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_FORMAT_CHECKPOINT_FORMAT_H
#define EAGRE_LOG_FORMAT_CHECKPOINT_FORMAT_H

#include "log/format/format.h"
#include "log/format/segment_format.h"

#define CHECKPOINT_MAGIC UINT64_C(0x544b484352474145) /* "EAGRCHKT" as bytes */
#define CHECKPOINT_HEADER_BYTES 128u
#define CHECKPOINT_PARTITION_BYTES 128u
/* Version 2 tells of transactions; a checkpoint without any is of version 1. */
#define CHECKPOINT_VERSION 1u
#define CHECKPOINT_VERSION_TRANSACTIONS 2u
#define CHECKPOINT_EPOCHS_MAX 64u /* per partition; the oldest are folded into the oldest kept */
#define CHECKPOINT_BYTES_MAX (1024u * 1024 * 1024)

enum checkpoint_flags {
    CHECKPOINT_CLEAN = 1 /* written by a clean stop: there is nothing to replay */
};

struct checkpoint_header {
    uint64_t magic;           /*   0: CHECKPOINT_MAGIC */
    uint32_t version;         /*   8: CHECKPOINT_VERSION... */
    uint32_t flags;           /*  12: enum checkpoint_flags */
    uint64_t generation;      /*  16: >= 1, one more each time */
    uint32_t tile_idx;        /*  24 */
    uint32_t partition_count; /*  28 */
    uint64_t producer_count;  /*  32 */
    uint64_t journal_epoch;   /*  40: replay groups of this epoch only */
    uint64_t replay_from;     /*  48: first group number that is not wholly in the segments; >= 1 */
    uint64_t body_bytes;      /*  56: after the header, without the padding */
    uint8_t node_uuid[FORMAT_UUID_BYTES]; /*  64: of eagre.meta */
    int64_t created_ms;                   /*  80: wall time */
    uint64_t next_incarnation_hint;       /*  88: greater than any seen by this tile; 0: not kept */
    uint64_t aborted_count;               /*  96: version 2 */
    uint64_t zero_a;                      /* 104 */
    uint32_t zero_b;                      /* 112 */
    uint32_t zero_c;                      /* 116 */
    uint32_t body_crc;                    /* 120: CRC-32C of the body */
    uint32_t crc;                         /* 124: CRC-32C of bytes [0, 124) */
};
_Static_assert(sizeof(struct checkpoint_header) == CHECKPOINT_HEADER_BYTES, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_header, generation) == 16, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_header, journal_epoch) == 40, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_header, body_bytes) == 56, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_header, body_crc) == 120, "on-disk layout");

enum checkpoint_state {
    CHECKPOINT_OPEN = 1,    /* serving */
    CHECKPOINT_HALTED = 2,  /* its bytes are damaged: readable below, never appended to */
    CHECKPOINT_DROPPED = 3, /* deleted, its directory may still be there: remove it */
};

struct checkpoint_partition {
    uint64_t incarnation;                /*   0: > 0 */
    uint8_t topic_id[FORMAT_UUID_BYTES]; /*   8 */
    uint32_t partition;                  /*  24 */
    uint32_t state;                      /*  28: enum checkpoint_state */
    uint64_t segment_base_offset;        /*  32: active segment: its file's name */
    uint64_t durable_position; /*  40: runs below are synced; multiple of 4096; what is above is
                                  never trusted */
    uint64_t next_offset;  /*  48: first offset that is not below durable_position: replay takes it
                              from there */
    uint64_t start_offset; /*  56 */
    uint64_t high_watermark;      /*  64 */
    uint64_t manifest_generation; /*  72: the least to be found on disk; 0: there may be none */
    int32_t leader_epoch;         /*  80: current */
    uint32_t epoch_count; /*  84: [0, CHECKPOINT_EPOCHS_MAX], struct format_epoch after this record,
                             ascending */
    int64_t
        segment_created_ms;   /*  88: wall time when the active segment was opened: roll by time */
    int64_t max_timestamp_ms; /*  96: of the active segment below durable_position; -1: none */
    uint64_t max_timestamp_offset; /* 104: base offset of the batch that holds it */
    uint64_t segment_batch_bytes;  /* 112: payload below durable_position in the active segment */
    uint64_t zero;                 /* 120 */
};
_Static_assert(sizeof(struct checkpoint_partition) == CHECKPOINT_PARTITION_BYTES, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_partition, segment_base_offset) == 32, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_partition, start_offset) == 56, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_partition, leader_epoch) == 80, "on-disk layout");
_Static_assert(offsetof(struct checkpoint_partition, segment_batch_bytes) == 112, "on-disk layout");

/* An aborted transaction; after the producers. */
struct checkpoint_aborted {
    uint64_t incarnation;       /* 0 */
    struct aborted_entry entry; /* 8 */
};
_Static_assert(sizeof(struct checkpoint_aborted) == 40, "on-disk layout");

/* Bytes of a checkpoint file at most, a multiple of 4096. */
static ALWAYS_INLINE uint64_t
checkpoint_bytes(uint64_t partition_count,
                 uint64_t epoch_count,
                 uint64_t producer_count,
                 uint64_t aborted_count)
{
    return round_up(CHECKPOINT_HEADER_BYTES + partition_count * CHECKPOINT_PARTITION_BYTES +
                        epoch_count * sizeof(struct format_epoch) +
                        producer_count * sizeof(struct format_producer) +
                        aborted_count * sizeof(struct checkpoint_aborted),
                    FORMAT_BLOCK_BYTES);
}

/* Encoding: begin, every partition, then every producer, every aborted transaction, end. The buffer
 * must be 8-byte aligned and is the caller's. It may be done in steps (a few partitions per poll)
 * as long as what is added is of one moment. */
struct checkpoint_encoder {
    uint8_t *buffer;
    uint64_t capacity;
    uint64_t used;
    uint32_t body_crc;
    bool failed; /* capacity was too small, or a producer came before a partition; stays set */
    struct checkpoint_header header;
};
/* header: flags, generation, tile_idx, journal_epoch, replay_from, node_uuid, created_ms and the
 * hint are the caller's. */
void checkpoint_encode_begin(struct checkpoint_encoder *encoder,
                             uint8_t *buffer,
                             uint64_t capacity,
                             const struct checkpoint_header *header);
/* epochs: partition->epoch_count of them. */
void checkpoint_encode_partition(struct checkpoint_encoder *encoder,
                                 const struct checkpoint_partition *partition,
                                 const struct format_epoch *epochs);
void checkpoint_encode_producer(struct checkpoint_encoder *encoder,
                                const struct format_producer *producer);
void checkpoint_encode_aborted(struct checkpoint_encoder *encoder,
                               const struct checkpoint_aborted *aborted);
/* Bytes to be written (multiple of 4096), 0: failed. */
uint64_t checkpoint_encode_end(struct checkpoint_encoder *encoder);

/* Checks a whole file: header CRC, version, sizes, body CRC, then the structure of every record.
 * After RC_OK the decoder cannot fail. bytes: 8-byte aligned, borrowed while the decoder is used.
 * RC_CORRUPT, RC_NEWER_FORMAT. */
struct checkpoint_decoder {
    const uint8_t *at;
    uint32_t partitions_left;
    uint64_t producers_left;
    uint64_t aborted_left;
    struct checkpoint_header header;
};
enum rc checkpoint_decode(struct checkpoint_decoder *decoder,
                          const uint8_t *bytes,
                          uint64_t count) MUST_USE;
/* Next partition and its epochs, or NULL after the last; then the producers. Pointers into bytes.
 */
const struct checkpoint_partition *
checkpoint_next_partition(struct checkpoint_decoder *decoder,
                          const struct format_epoch **ret_epochs);
/* All partitions must have been taken. */
const struct format_producer *checkpoint_next_producer(struct checkpoint_decoder *decoder);
/* All producers must have been taken; ascending last_offset in each partition. */
const struct checkpoint_aborted *checkpoint_next_aborted(struct checkpoint_decoder *decoder);

#endif
