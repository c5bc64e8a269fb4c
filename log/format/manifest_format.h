/* The manifest of a partition: its sealed segments, oldest first; FORMAT.md section 5. Pure.
 *
 * One file, swapped by rename (disk_replace_file). Segments that it does not list and whose base
 * offset is below the checkpoint's active segment are leftovers of an interrupted deletion or
 * compaction, and may be removed.
 *
 * Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_FORMAT_MANIFEST_FORMAT_H
#define EAGRE_LOG_FORMAT_MANIFEST_FORMAT_H

#include "log/format/format.h"

#define MANIFEST_MAGIC UINT64_C(0x464e414d52474145) /* "EAGRMANF" as bytes */
#define MANIFEST_SEGMENTS_MAX 65536u

struct manifest_header {
    uint64_t magic;         /*  0: MANIFEST_MAGIC */
    uint32_t version;       /*  8: 1, or 2 when a footer lists aborted transactions */
    uint32_t segment_count; /* 12: [0, MANIFEST_SEGMENTS_MAX] */
    uint64_t incarnation;   /* 16 */
    uint64_t
        generation; /* 24: one more at every swap; the checkpoint names the least to be found */
    uint8_t topic_id[FORMAT_UUID_BYTES]; /* 32: for people and for disaster recovery */
    uint32_t partition;                  /* 48 */
    uint32_t cleaned_count;              /* 52: leading segments that compaction has cleaned */
    uint32_t entries_crc;                /* 56: CRC-32C of all that follows the header */
    uint32_t crc;                        /* 60: CRC-32C of bytes [0, 60) */
};
struct manifest_segment {
    uint64_t base_offset;     /*  0: of the file's name */
    uint64_t next_offset;     /*  8: > base_offset, <= base_offset of the next entry */
    uint64_t data_bytes;      /* 16: end of the last run */
    uint64_t file_bytes;      /* 24: with the footer */
    int64_t max_timestamp_ms; /* 32: -1: none */
    uint64_t batch_bytes;     /* 40: payload only: what retention by size counts */
    uint32_t file_generation; /* 48: part of the file's name when > 0 */
    uint32_t trailer_crc;     /* 52: crc field of the file's trailer: binds the file */
    int64_t sealed_ms;        /* 56: wall time */
};
/* What the footer of a segment lists of aborted transactions; version 2. */
struct manifest_aborted {
    uint64_t first_offset; /* 0: the least of its entries; UINT64_MAX: there is none */
    uint32_t count;        /* 8: of its entries; 0: none, or they are not told here */
    uint32_t zero;         /* 12 */
};
_Static_assert(sizeof(struct manifest_aborted) == 16, "on-disk layout");
_Static_assert(sizeof(struct manifest_header) == 64, "on-disk layout");
_Static_assert(offsetof(struct manifest_header, topic_id) == 32, "on-disk layout");
_Static_assert(offsetof(struct manifest_header, crc) == 60, "on-disk layout");
_Static_assert(sizeof(struct manifest_segment) == 64, "on-disk layout");
_Static_assert(offsetof(struct manifest_segment, file_generation) == 48, "on-disk layout");
_Static_assert(offsetof(struct manifest_segment, sealed_ms) == 56, "on-disk layout");

#define MANIFEST_VERSION_ABORTED 2u

/* Of so many segments, at most. */
static ALWAYS_INLINE uint64_t
manifest_bytes_max(uint32_t segment_count)
{
    return sizeof(struct manifest_header) +
           (uint64_t)segment_count *
               (sizeof(struct manifest_segment) + sizeof(struct manifest_aborted));
}
/* Of a manifest with that version and segment count. */
static ALWAYS_INLINE uint64_t
manifest_bytes(const struct manifest_header *header)
{
    uint64_t entry_bytes = sizeof(struct manifest_segment);

    if (header->version >= MANIFEST_VERSION_ABORTED)
        entry_bytes += sizeof(struct manifest_aborted);
    return sizeof(*header) + header->segment_count * entry_bytes;
}
/* The table behind the segments of a manifest that was decoded, or NULL in version 1. */
static ALWAYS_INLINE const struct manifest_aborted *
manifest_aborted(const struct manifest_header *header, const struct manifest_segment *segments)
{
    return header->version < MANIFEST_VERSION_ABORTED
               ? NULL
               : (const struct manifest_aborted *)(const void *)(segments + header->segment_count);
}

/* Writes a manifest into ret_bytes (8-byte aligned, manifest_bytes_max()); gives its bytes. Magic,
 * version, zeros and CRCs are set here. The entries may already stand at their place in ret_bytes
 * (segments == ret_bytes + 64). aborted_or_null: [segment_count]; NULL: version 1. */
uint64_t manifest_encode(const struct manifest_header *header,
                         const struct manifest_segment *segments,
                         const struct manifest_aborted *aborted_or_null,
                         uint8_t *ret_bytes);
/* Checks bytes [0, count): header CRC, version, count, entries CRC, order of entries. *ret_segments
 * points into bytes (8-byte aligned). RC_CORRUPT (also when it is another partition's),
 * RC_NEWER_FORMAT. */
enum rc manifest_decode(const uint8_t *bytes,
                        uint64_t count,
                        uint64_t incarnation,
                        struct manifest_header *ret_header,
                        const struct manifest_segment **ret_segments) MUST_USE;

#endif
