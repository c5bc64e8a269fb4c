/* What all on-disk formats share: block size, version, file names, and the batch prefix. Pure.
 *
 * FORMAT.md beside this file is the full description; each struct of this folder IS the layout
 * (little endian, natural alignment, no padding that is not named), so "encoding" is filling the
 * struct and sealing it with its CRC. All checksums are CRC-32C (engine/base/hash.h). Every
 * reserved field is zero and is checked to be zero by its CRC only.
 *
 * Runs on: any core. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_FORMAT_FORMAT_H
#define EAGRE_LOG_FORMAT_FORMAT_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/rc.h"
#include "engine/record/record_batch.h"

#define FORMAT_VERSION                                                         \
    1u /* of every format here; a greater one is answered with RC_NEWER_FORMAT \
        */
#define FORMAT_BLOCK_BYTES 4096u /* unit of every position and length on the device */
#define FORMAT_PATH_MAX \
    96u /* every path made here fits, with its NUL; relative to the data directory */
#define FORMAT_UUID_BYTES 16u

/* ---- RecordBatch v2 (engine/record): what storage must know of it ----
 *
 *   0        8       12          16     17   21 ............. 61 ...
 *   | base   | batch | partition | magic| CRC | attributes ... records
 *   | offset | length| leader ep.| = 2  |     | covered by that CRC to the end of the batch
 *   |<------------- 21-byte prefix ---------->|
 *
 * The prefix is what the batch CRC does not cover (the CRC itself included), so storage guards it
 * by itself. Big endian, unlike everything of our own. */
#define BATCH_PREFIX_BYTES RECORD_BATCH_PREFIX_BYTES
#define BATCH_HEADER_BYTES RECORD_BATCH_HEADER_BYTES /* the smallest batch: no records */
#define BATCH_BYTES_MAX RECORD_BATCH_BYTES_MAX       /* upper bound of max.message.bytes */
_Static_assert(BATCH_PREFIX_BYTES == 21, "on-disk layout");
_Static_assert(BATCH_HEADER_BYTES == 61, "on-disk layout");

/* True when [batch, batch + count) is exactly one batch: magic 2, the length field fits count, CRC
 * right. */
bool batch_is_intact(const uint8_t *batch, uint64_t count) MUST_USE;

/* ---- names: below the data directory; each writes at most FORMAT_PATH_MAX bytes with the NUL ----
 */

#define FORMAT_META_PATH "eagre.meta"
#define FORMAT_PARTITIONS_PATH "partitions"

void format_path_journal(char *ret_path, uint32_t tile_idx, uint32_t file_idx); /* journal-3-0 */
void
format_path_journal_new(char *ret_path, uint32_t tile_idx, uint32_t file_idx); /* journal-3-0.new */
void
format_path_checkpoint(char *ret_path, uint32_t tile_idx, uint64_t generation); /* checkpoint-3-1 */
void format_path_partition(char *ret_path, uint64_t incarnation); /* partitions/00000000000000a1 */
void format_path_manifest(char *ret_path,
                          uint64_t incarnation); /* partitions/00000000000000a1/manifest */
/* partitions/00000000000000a1/00000000000000001000.seg, or ...1000-2.seg for file generation 2
 * (compacted). */
void format_path_segment(char *ret_path,
                         uint64_t incarnation,
                         uint64_t base_offset,
                         uint32_t file_generation);

/* The other way, for a directory listing; name is one entry (no slash). False: not such a name, and
 * nothing is written. Only the exact spelling that format_path_* makes is accepted. */
bool
format_parse_journal(const char *name, uint32_t *ret_tile_idx, uint32_t *ret_file_idx) MUST_USE;
bool
format_parse_checkpoint(const char *name, uint32_t *ret_tile_idx, uint32_t *ret_parity) MUST_USE;
bool format_parse_partition(const char *name, uint64_t *ret_incarnation) MUST_USE;
bool format_parse_segment(const char *name,
                          uint64_t *ret_base_offset,
                          uint32_t *ret_file_generation) MUST_USE;

/* ---- eagre.meta: two equal copies of this block, at 0 and at 4096 ---- */

#define META_MAGIC UINT64_C(0x4154454d52474145) /* "EAGRMETA" as bytes */
#define META_FILE_BYTES (2u * FORMAT_BLOCK_BYTES)

struct meta_block {
    uint64_t magic;                          /*  0: META_MAGIC */
    uint32_t version;                        /*  8: FORMAT_VERSION of the data directory */
    uint32_t node_id;                        /* 12: >= 0 */
    uint8_t cluster_uuid[FORMAT_UUID_BYTES]; /* 16: random, made once */
    uint8_t node_uuid[FORMAT_UUID_BYTES];    /* 32: random, made once; journal files carry it */
    int64_t created_ms;                      /* 48: wall time */
    uint32_t zero;                           /* 56 */
    uint32_t crc;                            /* 60: CRC-32C of bytes [0, 60) */
};
_Static_assert(sizeof(struct meta_block) == 64, "on-disk layout");
_Static_assert(offsetof(struct meta_block, cluster_uuid) == 16, "on-disk layout");
_Static_assert(offsetof(struct meta_block, created_ms) == 48, "on-disk layout");
_Static_assert(offsetof(struct meta_block, crc) == 60, "on-disk layout");

/* Fills META_FILE_BYTES at file with both copies; magic, version, zero and crc are set here. */
void meta_encode(const struct meta_block *meta, uint8_t *file);
/* Takes the first intact copy. RC_CORRUPT: none; RC_NEWER_FORMAT: intact, but not ours to read. */
enum rc meta_decode(const uint8_t *file, size_t count, struct meta_block *ret_meta) MUST_USE;

#endif
