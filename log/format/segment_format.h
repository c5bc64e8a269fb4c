/* Segment files: runs, and the footer of a sealed one; FORMAT.md section 4. Pure.
 *
 *   | run | run | run ... | sections | zeros | trailer block |     sealed; an open one ends after
 * its last run run: | 64-byte header | batches, unbroken | zeros |          starts and ends on 4
 * KiB
 *
 * A run is written once and never touched again. Runs follow each other without a free block
 * between them.
 *
 * Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_FORMAT_SEGMENT_FORMAT_H
#define EAGRE_LOG_FORMAT_SEGMENT_FORMAT_H

#include "log/format/format.h"

#define RUN_MAGIC 0x4e555245u /* "ERUN" as bytes */
#define RUN_HEADER_BYTES 64u
#define RUN_BATCH_BYTES_MAX \
    (64u * 1024 * 1024) /* a longer one is damage; we write <= 8 MiB + 1 MiB */
#define TRAILER_MAGIC UINT64_C(0x4c41455352474145) /* "EAGRSEAL" as bytes */

struct run_header {
    uint32_t magic;               /*  0: RUN_MAGIC */
    uint16_t version;             /*  4: FORMAT_VERSION */
    uint16_t zero_a;              /*  6 */
    uint64_t incarnation;         /*  8: whose; finds misdirected writes */
    uint64_t segment_base_offset; /* 16: of the file's name */
    uint64_t base_offset;         /* 24: of the first batch */
    uint64_t last_offset;         /* 32: of the last record; >= base_offset */
    uint32_t batch_bytes;         /* 40: exact; [61, RUN_BATCH_BYTES_MAX] */
    uint32_t batch_count;         /* 44: >= 1 */
    uint32_t block;               /* 48: position in the file / 4096 */
    uint32_t prefix_crc;          /* 52: CRC-32C of the 21-byte prefixes of all batches, in order */
    uint32_t zero_b;              /* 56 */
    uint32_t crc; /* 60: CRC-32C of bytes [0, 60), so prefixes are covered through prefix_crc */
};
_Static_assert(sizeof(struct run_header) == RUN_HEADER_BYTES, "on-disk layout");
_Static_assert(offsetof(struct run_header, incarnation) == 8, "on-disk layout");
_Static_assert(offsetof(struct run_header, segment_base_offset) == 16, "on-disk layout");
_Static_assert(offsetof(struct run_header, base_offset) == 24, "on-disk layout");
_Static_assert(offsetof(struct run_header, batch_bytes) == 40, "on-disk layout");
_Static_assert(offsetof(struct run_header, block) == 48, "on-disk layout");
_Static_assert(offsetof(struct run_header, crc) == 60, "on-disk layout");

/* Bytes that a run takes in its file, a multiple of 4096. */
static ALWAYS_INLINE uint64_t
run_bytes(uint32_t batch_bytes)
{
    return round_up((uint64_t)RUN_HEADER_BYTES + batch_bytes, FORMAT_BLOCK_BYTES);
}

/* Continues the CRC over prefixes by one batch; begin with 0. */
uint32_t run_prefix_crc(uint32_t crc, const uint8_t *batch);
/* Writes 64 bytes at ret_bytes; magic, version, zeros and crc are set here, the other fields are
 * the caller's. */
void run_header_encode(const struct run_header *header, uint8_t *ret_bytes);

/* What a reader knows before it reads a run; mismatches are damage or misdirected writes. */
struct run_place {
    uint64_t incarnation;
    uint64_t segment_base_offset;
    uint64_t position; /* in the file, multiple of 4096 */
};
/* Checks the 64 bytes alone. RC_NOT_FOUND: no run magic (end of an open segment); RC_CORRUPT: magic
 * but damaged, or of another place; RC_NEWER_FORMAT. */
enum rc run_header_check(const uint8_t *bytes,
                         const struct run_place *place,
                         struct run_header *ret_header) MUST_USE;

/* Walks the batches of a run whose header was checked. batches: header->batch_bytes bytes. */
struct run_walk {
    const uint8_t *batches;
    uint32_t batch_bytes;
    uint32_t position; /* of the next batch in batches */
    uint32_t batch_count;
    uint32_t prefix_crc;
    uint64_t next_offset; /* offsets must not go back; gaps are allowed (compaction) */
};
void run_walk_begin(struct run_walk *walk, const struct run_header *header, const uint8_t *batches);
/* RC_OK: *ret_batch is the next one and its own CRC is right. RC_NOT_FOUND: the end was reached and
 * the prefix CRC and count agree with the header. RC_CORRUPT: walk->position is where. */
enum rc run_walk_next(struct run_walk *walk,
                      const struct run_header *header,
                      const uint8_t **ret_batch,
                      uint32_t *ret_bytes) MUST_USE;

/* ---- footer ---- */

/* Numbers are on disk. A reader skips types that it does not know. */
enum section_type {
    SECTION_OFFSET_INDEX = 1, /* struct index_offset_entry, ascending */
    SECTION_TIME_INDEX = 2,   /* struct index_time_entry, ascending */
    SECTION_ABORTED = 3,      /* struct aborted_entry, ascending last_offset */
    SECTION_PRODUCERS = 4,    /* struct format_producer: state at the end of the segment */
    SECTION_EPOCHS = 5,       /* struct format_epoch: all epochs up to the end of the segment */
};
#define SECTION_COUNT_MAX 16u
#define SECTION_ALIGN_BYTES 64u

struct index_offset_entry {
    uint32_t offset_delta; /* 0: batch base offset - segment base offset */
    uint32_t run_back;     /* 4: bytes from the run's header to the batch */
    uint64_t position;     /* 8: of the batch in the file */
};
struct index_time_entry {
    int64_t max_timestamp_ms; /* 0: greatest timestamp of the segment up to and with the batch */
    uint32_t offset_delta; /* 8: base offset of the batch that reached it - segment base offset */
    uint32_t zero;         /* 12 */
};
struct aborted_entry {
    int64_t producer_id;         /* 0 */
    uint64_t first_offset;       /* 8 */
    uint64_t last_offset;        /* 16: of the abort marker */
    uint64_t last_stable_offset; /* 24: when the marker was written */
};
struct format_epoch {
    int32_t epoch;         /* 0 */
    uint32_t zero;         /* 4 */
    uint64_t start_offset; /* 8 */
};
#define PRODUCER_BATCHES 5u
struct format_producer_batch {
    int32_t first_sequence; /* 0 */
    int32_t last_sequence;  /* 4 */
    uint64_t base_offset;   /* 8 */
};
/* State of one producer in one partition; the same bytes in checkpoints and in segment footers. */
struct format_producer {
    uint64_t incarnation;      /*   0 */
    int64_t producer_id;       /*   8: >= 0 */
    int64_t last_append_ms;    /*  16 */
    int16_t producer_epoch;    /*  24 */
    uint8_t batch_count;       /*  26: [0, 5]; batches[0] is the oldest */
    uint8_t zero_a;            /*  27 */
    int32_t coordinator_epoch; /* 28: of the last transaction marker, -1 if none */
    struct format_producer_batch batches[PRODUCER_BATCHES]; /* 32 */
    uint64_t transaction_first_offset; /* 112: UINT64_MAX: no transaction is open */
    uint64_t zero_b;                   /* 120 */
};
_Static_assert(sizeof(struct index_offset_entry) == 16, "on-disk layout");
_Static_assert(sizeof(struct index_time_entry) == 16, "on-disk layout");
_Static_assert(sizeof(struct aborted_entry) == 32, "on-disk layout");
_Static_assert(sizeof(struct format_epoch) == 16, "on-disk layout");
_Static_assert(sizeof(struct format_producer_batch) == 16, "on-disk layout");
_Static_assert(sizeof(struct format_producer) == 128, "on-disk layout");
_Static_assert(offsetof(struct format_producer, batches) == 32, "on-disk layout");
_Static_assert(offsetof(struct format_producer, transaction_first_offset) == 112, "on-disk layout");

struct section {
    uint32_t type;        /*  0: enum section_type */
    uint32_t entry_bytes; /*  4: size of one entry; bytes is a multiple of it */
    uint64_t position;    /*  8: in the file, multiple of 64 */
    uint64_t bytes;       /* 16 */
    uint32_t crc;         /* 24: CRC-32C of the bytes */
    uint32_t zero;        /* 28 */
};
_Static_assert(sizeof(struct section) == 32, "on-disk layout");
_Static_assert(offsetof(struct section, crc) == 24, "on-disk layout");

/* The last 4096 bytes of a sealed segment file. */
struct segment_trailer {
    uint64_t magic;                /*   0: TRAILER_MAGIC */
    uint32_t version;              /*   8: FORMAT_VERSION */
    uint32_t section_count;        /*  12: [0, SECTION_COUNT_MAX] */
    uint64_t incarnation;          /*  16 */
    uint64_t base_offset;          /*  24: of the file's name */
    uint64_t next_offset;          /*  32: one past the last offset that the segment covers */
    uint64_t data_bytes;           /*  40: end of the last run, multiple of 4096 */
    uint64_t file_bytes;           /*  48: end of this block */
    int64_t max_timestamp_ms;      /*  56: -1: none */
    uint64_t max_timestamp_offset; /*  64: base offset of the batch that holds it */
    uint64_t batch_bytes;          /*  72: sum over the runs, without headers and padding */
    uint64_t record_count;         /*  80 */
    uint32_t file_generation;      /*  88: 0; greater after compaction */
    int32_t last_epoch;            /*  92: leader epoch of the last batch */
    int64_t first_timestamp_ms;    /*  96: max timestamp of the first batch; -1: none */
    uint64_t zero_a[3];            /* 104 */
    struct section sections[SECTION_COUNT_MAX]; /* 128 */
    uint8_t zero_b[3452];                       /* 640 */
    uint32_t crc;                               /* 4092: CRC-32C of bytes [0, 4092) */
};
_Static_assert(sizeof(struct segment_trailer) == FORMAT_BLOCK_BYTES, "on-disk layout");
_Static_assert(offsetof(struct segment_trailer, data_bytes) == 40, "on-disk layout");
_Static_assert(offsetof(struct segment_trailer, file_generation) == 88, "on-disk layout");
_Static_assert(offsetof(struct segment_trailer, sections) == 128, "on-disk layout");
_Static_assert(offsetof(struct segment_trailer, crc) == 4092, "on-disk layout");

/* Builds footer bytes in one buffer that will be written at file position data_bytes (4 KiB
 * aligned): begin, add each section, end. Nothing is allocated; a section that does not fit makes
 * footer_end() answer 0. */
struct footer {
    uint8_t *buffer; /* [capacity], 4 KiB aligned when written directly */
    uint64_t capacity;
    uint64_t used;
    bool failed;
    struct segment_trailer trailer;
};
/* Bytes that a footer with so many bytes of sections needs at most, a multiple of 4096. */
uint64_t footer_bytes_max(uint64_t section_bytes_sum);
/* facts: all fields of the trailer but magic, version, section_count, file_bytes, sections, zeros
 * and crc. */
void footer_begin(struct footer *footer,
                  uint8_t *buffer,
                  uint64_t capacity,
                  const struct segment_trailer *facts);
void footer_add(struct footer *footer,
                enum section_type type,
                const void *entries,
                uint32_t entry_bytes,
                uint64_t entry_count);
/* Pads, writes the trailer, gives the footer's bytes (multiple of 4096), 0: capacity too small. */
uint64_t footer_end(struct footer *footer);

/* block: the file's last 4096 bytes. RC_NOT_FOUND: no trailer magic (not sealed); RC_CORRUPT;
 * RC_NEWER_FORMAT. *ret_trailer may be filled before a check fails: it counts with RC_OK only. */
enum rc trailer_check(const uint8_t *block,
                      uint64_t incarnation,
                      uint64_t base_offset,
                      uint64_t file_bytes,
                      struct segment_trailer *ret_trailer) MUST_USE;
/* The section of that type, or NULL. */
const struct section *trailer_section(const struct segment_trailer *trailer,
                                      enum section_type type);
/* bytes: section->bytes bytes read at section->position. */
bool section_is_intact(const struct section *section, const uint8_t *bytes) MUST_USE;

#endif
