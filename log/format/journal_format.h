/* Journal files: file header block, then commit groups one after the other; FORMAT.md section 3.
 * Pure.
 *
 *   position 0      4096                                              (all 4 KiB aligned)
 *   | file header   | group | group | group | ...  | rest: older groups or zeros |
 *
 *   group:  | 64-byte header | entry_count x 96-byte entries | zeros | batches, unbroken | zeros |
 *           |<------------ header_bytes (x 4096) ------------------->|<- payload_bytes ->|  to x
 * 4096
 *
 * Bulk bypass: a REFERENCE names a batch that stands in a segment, a MARK how far that is durable.
 *
 * Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_FORMAT_JOURNAL_FORMAT_H
#define EAGRE_LOG_FORMAT_JOURNAL_FORMAT_H

#include "log/format/format.h"
#include "log/format/journal_mark.h"

#define JOURNAL_FILE_COUNT 4u     /* per tile; file index = file sequence % 4 */
#define JOURNAL_ENTRIES_MAX 4096u /* per group */
#define JOURNAL_PAYLOAD_BYTES_MAX BATCH_BYTES_MAX
#define JOURNAL_FIRST_POSITION ((uint64_t)FORMAT_BLOCK_BYTES) /* of the first group of a file */

#define JOURNAL_FILE_MAGIC UINT64_C(0x4c4e524a52474145) /* "EAGRJRNL" as bytes */
#define JOURNAL_GROUP_MAGIC 0x50524745u                 /* "EGRP" as bytes */
/* Version 2 has REFERENCE and MARK entries, and zeros up to the next block between two batches. */
#define JOURNAL_GROUP_VERSION 1u
#define JOURNAL_GROUP_VERSION_BULK 2u
/* Version 3 has entries with flags as well: transactions. */
#define JOURNAL_GROUP_VERSION_TRANSACTIONS 3u

/* Written once, after the rest of the file was written with zeros; a file without it was never
 * used. */
struct journal_file_header {
    uint64_t magic;                       /*  0: JOURNAL_FILE_MAGIC */
    uint32_t version;                     /*  8: FORMAT_VERSION */
    uint32_t tile_idx;                    /* 12 */
    uint32_t file_idx;                    /* 16: [0, JOURNAL_FILE_COUNT) */
    uint32_t block_bytes;                 /* 20: FORMAT_BLOCK_BYTES */
    uint64_t file_bytes;                  /* 24: whole size, multiple of 4096 */
    uint8_t node_uuid[FORMAT_UUID_BYTES]; /* 32: of eagre.meta: a file of another node is refused */
    uint64_t zero_a;                      /* 48 */
    uint32_t zero_b;                      /* 56 */
    uint32_t crc;                         /* 60: CRC-32C of bytes [0, 60) */
};
_Static_assert(sizeof(struct journal_file_header) == 64, "on-disk layout");
_Static_assert(offsetof(struct journal_file_header, file_bytes) == 24, "on-disk layout");
_Static_assert(offsetof(struct journal_file_header, node_uuid) == 32, "on-disk layout");
_Static_assert(offsetof(struct journal_file_header, crc) == 60, "on-disk layout");

struct journal_group_header {
    uint32_t magic;    /*  0: JOURNAL_GROUP_MAGIC */
    uint16_t version;  /*  4: JOURNAL_GROUP_VERSION... */
    uint16_t tile_idx; /*  6: whose journal; finds files that were mixed up */
    uint64_t epoch;    /*  8: of the journal's opening, see journal_epoch_next() */
    uint64_t number;   /* 16: >= 1, one more than the group before, also across files and epochs */
    uint64_t durable_through; /* 24: greatest number below which all were complete when this was
                                 submitted */
    uint32_t header_bytes;    /* 32: round_up(64 + entry_count * 96, 4096) */
    uint32_t payload_bytes;   /* 36: exact; [0, JOURNAL_PAYLOAD_BYTES_MAX] */
    uint32_t entry_count;     /* 40: [1, JOURNAL_ENTRIES_MAX] */
    uint32_t
        file_sequence; /* 44: uses of files in this epoch, from 0; file_idx = file_sequence % 4 */
    uint32_t previous_header_crc; /* 48: crc field of group number - 1; 0 in the first group of an
                                     epoch */
    uint32_t block;               /* 52: position in the file / 4096; finds misdirected writes */
    uint32_t zero;                /* 56 */
    uint32_t crc;                 /* 60: CRC-32C of [0, 60) and [64, header_bytes) */
};
_Static_assert(sizeof(struct journal_group_header) == 64, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, epoch) == 8, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, number) == 16, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, durable_through) == 24, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, entry_count) == 40, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, block) == 52, "on-disk layout");
_Static_assert(offsetof(struct journal_group_header, crc) == 60, "on-disk layout");

/* Numbers are on disk: never reuse one. Which fields a kind uses is the table in FORMAT.md
 * section 3.3; the others are 0. */
enum journal_kind {
    JOURNAL_DATA = 1,     /* one batch, its bytes in the payload */
    JOURNAL_TRUNCATE = 2, /* everything at and above base_offset is gone; leader_epoch decided it */
    JOURNAL_START_OFFSET = 3,   /* base_offset is the first readable offset now */
    JOURNAL_DROP = 4,           /* the partition is deleted */
    JOURNAL_EPOCH = 5,          /* leader_epoch begins at base_offset */
    JOURNAL_HIGH_WATERMARK = 6, /* base_offset is the high watermark */
    JOURNAL_OPEN = 7,           /* incarnation means (topic_id, partition) from here on */
    JOURNAL_REFERENCE = 8,      /* one batch whose bytes stand in the segment; a MARK covers it */
    JOURNAL_MARK = 9,           /* the active segment is durable up to a position; journal_mark */
    JOURNAL_KIND_COUNT
};

/* So that replay need not look into batches. */
enum journal_flags {
    JOURNAL_TRANSACTIONAL = 1, /* of a transaction; with MARKER too */
    JOURNAL_MARKER = 2,        /* ends it, by aborting it ... */
    JOURNAL_MARKER_COMMIT = 4, /* ... or not */
};
#define JOURNAL_FLAGS_ALL 7u

struct journal_entry {
    uint8_t kind;               /*  0: enum journal_kind */
    uint8_t flags;              /*  1: DATA, REFERENCE: enum journal_flags */
    int16_t producer_epoch;     /*  2: DATA: as in the batch, -1 if none */
    uint32_t last_offset_delta; /*  4: DATA: last offset - base offset */
    uint64_t incarnation;       /*  8: > 0 */
    uint64_t base_offset;       /* 16: by kind */
    int32_t leader_epoch;       /* 24: DATA, TRUNCATE, EPOCH */
    int32_t base_sequence;      /* 28: DATA: as in the batch, -1 if none */
    int64_t producer_id;        /* 32: DATA: as in the batch, -1 if none */
    int64_t append_ms;          /* 40: wall time of the append; producer state ages by it */
    uint32_t payload_position;  /* 48: DATA: byte in the group's payload */
    uint32_t length;            /* 52: DATA: bytes of the batch, [61, JOURNAL_PAYLOAD_BYTES_MAX] */
    uint32_t batch_crc;         /* 56: DATA: the batch's own CRC, as a number */
    uint32_t partition;         /* 60: OPEN: partition index in its topic; a marker's
                                   coordinator epoch */
    union {
        uint8_t prefix[BATCH_PREFIX_BYTES];  /* 64: DATA: first 21 bytes of the batch */
        uint8_t topic_id[FORMAT_UUID_BYTES]; /* 64: OPEN */
    };
    uint8_t zero[11]; /* 85 */
};
_Static_assert(sizeof(struct journal_entry) == 96, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, incarnation) == 8, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, producer_id) == 32, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, payload_position) == 48, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, batch_crc) == 56, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, prefix) == 64, "on-disk layout");
_Static_assert(offsetof(struct journal_entry, zero) == 85, "on-disk layout");

_Static_assert(sizeof(struct journal_mark) == sizeof(struct journal_entry), "on-disk layout");

#define JOURNAL_ENTRY_BYTES 96u
#define JOURNAL_GROUP_HEADER_BYTES 64u
#define JOURNAL_HEADER_BYTES_MAX \
    397312u /* header table of JOURNAL_ENTRIES_MAX entries: 97 blocks */
_Static_assert(JOURNAL_HEADER_BYTES_MAX % FORMAT_BLOCK_BYTES == 0, "whole blocks");
_Static_assert(JOURNAL_HEADER_BYTES_MAX >=
                   JOURNAL_GROUP_HEADER_BYTES + JOURNAL_ENTRIES_MAX * JOURNAL_ENTRY_BYTES,
               "holds the greatest table");
_Static_assert(JOURNAL_HEADER_BYTES_MAX - FORMAT_BLOCK_BYTES <
                   JOURNAL_GROUP_HEADER_BYTES + JOURNAL_ENTRIES_MAX * JOURNAL_ENTRY_BYTES,
               "and no block more");

/* Bytes of the header table of so many entries, a multiple of 4096. */
static ALWAYS_INLINE uint32_t
journal_header_bytes(uint32_t entry_count)
{
    return (uint32_t)round_up(JOURNAL_GROUP_HEADER_BYTES +
                                  (uint64_t)entry_count * JOURNAL_ENTRY_BYTES,
                              FORMAT_BLOCK_BYTES);
}

/* Bytes that a whole group takes in its file, a multiple of 4096. */
static ALWAYS_INLINE uint64_t
journal_group_bytes(const struct journal_group_header *header)
{
    return header->header_bytes + round_up(header->payload_bytes, FORMAT_BLOCK_BYTES);
}

/* Epochs: the ordinal of the opening in the high 24 bits (so a later one is greater), 40 random
 * bits below, so that nobody who only writes records can forge a group header inside a batch.
 * previous 0: the first one. */
uint64_t journal_epoch_next(uint64_t previous, uint64_t random);
static ALWAYS_INLINE uint64_t
journal_epoch_ordinal(uint64_t epoch)
{
    return epoch >> 40;
}

/* Fills the 4096 bytes of block; magic, version, block_bytes, zeros and crc are set here. */
void journal_file_header_encode(const struct journal_file_header *header, uint8_t *block);
/* block has 4096 bytes. RC_NOT_FOUND: all 64 bytes are zero (never prepared); RC_CORRUPT;
 * RC_NEWER_FORMAT. */
enum rc journal_file_header_decode(const uint8_t *block,
                                   struct journal_file_header *ret_header) MUST_USE;

/* Fills an entry of kind DATA from an intact batch that lies at payload_position of the group's
 * payload. */
void journal_entry_data(struct journal_entry *ret_entry,
                        uint64_t incarnation,
                        const uint8_t *batch,
                        uint32_t payload_position,
                        int64_t append_ms);
/* Fills an entry of kind REFERENCE from an intact batch that stands in a segment. */
void journal_entry_reference(struct journal_entry *ret_entry,
                             uint64_t incarnation,
                             const uint8_t *batch,
                             int64_t append_ms);
/* Fills an entry of kind MARK; kind and zeros are set here. */
void journal_entry_mark(struct journal_entry *ret_entry, const struct journal_mark *mark);
/* The mark that an entry of kind MARK is. */
static ALWAYS_INLINE struct journal_mark
journal_mark_of(const struct journal_entry *entry)
{
    struct journal_mark mark;

    __builtin_memcpy(&mark, entry, sizeof(mark));
    return mark;
}
/* Fills an entry of any kind without a batch but OPEN and MARK; offset and epoch as the kind says,
 * else 0. */
void journal_entry_control(struct journal_entry *ret_entry,
                           enum journal_kind kind,
                           uint64_t incarnation,
                           uint64_t offset,
                           int32_t leader_epoch);
void journal_entry_open(struct journal_entry *ret_entry,
                        uint64_t incarnation,
                        const uint8_t *topic_id,
                        uint32_t partition);

/* Seals a table: entries stand at table + 64, entry_count of them; writes *header (with magic,
 * header_bytes, zero and crc set here; version JOURNAL_GROUP_VERSION when it is 0) to
 * table, zeroes the rest of header_bytes. Gives
 * the crc, which the next group's header names. table: at least journal_header_bytes(entry_count)
 * bytes, 8-byte aligned. */
uint32_t journal_table_seal(uint8_t *table, const struct journal_group_header *header);

/* Cheap look at one block: could a group header of ours stand here? Checks magic and the ranges of
 * the sizes (no CRC). RC_NOT_FOUND: no. RC_OK: *ret_header is filled, the table of header_bytes
 * must still be checked. */
enum rc journal_header_peek(const uint8_t *block, struct journal_group_header *ret_header) MUST_USE;
/* Whole check of a table of header_bytes bytes: CRC, then version (RC_NEWER_FORMAT), then every
 * entry: a kind of that version, incarnation > 0, DATA ranges contiguous from 0 (version 2: or at
 * the next block) and ending at payload_bytes, prefix agrees with the fields. RC_CORRUPT. */
enum rc journal_table_check(const uint8_t *table,
                            uint64_t count,
                            struct journal_group_header *ret_header) MUST_USE;
static ALWAYS_INLINE const struct journal_entry *
journal_table_entries(const uint8_t *table)
{
    return (const struct journal_entry *)(const void *)(table + JOURNAL_GROUP_HEADER_BYTES);
}
/* One DATA entry against its bytes: prefix equal and batch CRC right. payload: payload_bytes bytes
 * of a checked table. */
bool journal_entry_is_intact(const struct journal_entry *entry, const uint8_t *payload) MUST_USE;

#endif
