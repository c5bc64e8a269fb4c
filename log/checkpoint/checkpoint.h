/* Checkpoint files on the disk: reading the newest whole one, and writing one at start. Layout:
 * log/format/checkpoint_format.h.
 *
 * While serving, the owner encodes into its own buffer (checkpoint_encode_*) and gives a
 * DISK_JOB_WRITE_FILE to the control tile with the path of format_path_checkpoint(tile,
 * generation). checkpoint_store() is the same for start and tools.
 *
 * Order that recovery relies on: a checkpoint that names a journal epoch is durable before the
 * first group of that epoch is written, and before the journal files of a new tile exist.
 *
 * Runs on: start. Allocates: nothing. Blocks: yes. */
#ifndef EAGRE_LOG_CHECKPOINT_CHECKPOINT_H
#define EAGRE_LOG_CHECKPOINT_CHECKPOINT_H

#include "engine/base/diag.h"
#include "hw/disk/disk.h"
#include "log/format/checkpoint_format.h"

struct checkpoint_source {
    struct disk *disk;
    uint32_t tile_idx;
    uint8_t *buffer; /* [capacity], 4 KiB aligned; borrowed by the decoder afterwards */
    uint64_t capacity;
};

struct checkpoint_found {
    uint32_t file_count;      /* how many of the two files exist with a size > 0 */
    uint32_t bad_count;       /* how many of them are not whole */
    uint64_t generation;      /* of the one that was taken */
    uint64_t next_generation; /* for the next to be written: overwrites the bad or the older file */
    uint64_t bytes;           /* of the one that was taken, in the buffer */
};

/* Bytes of the larger of the two files, rounded up to 4096, 0 when none exists: what
 * checkpoint_load() needs as buffer. */
enum rc checkpoint_buffer_bytes(struct disk *disk, uint32_t tile_idx, uint64_t *ret_bytes) MUST_USE;

/* Reads both generations, leaves the newest whole one in buffer and a decoder over it.
 *
 * RC_OK         found; ret_found->bad_count may be 1 (a crash while writing: normal).
 * RC_NOT_FOUND  no file: a new tile.
 * RC_CORRUPT    files exist, none is whole. When file_count is 1 and the tile has no journal file,
 * the very first checkpoint was torn and nothing was ever served: the caller may start afresh.
 * Otherwise it must not. RC_NEWER_FORMAT, RC_NO_MEMORY (capacity), RC_IO_ERROR ... */
enum rc checkpoint_load(const struct checkpoint_source *source,
                        struct checkpoint_decoder *ret_decoder,
                        struct checkpoint_found *ret_found) MUST_USE;

/* Writes count bytes (of checkpoint_encode_end()) to the file of that generation: whole, synced,
 * directory synced. */
enum rc checkpoint_store(struct disk *disk,
                         uint32_t tile_idx,
                         uint64_t generation,
                         const uint8_t *bytes,
                         uint64_t count) MUST_USE;

/* Removes both files (for a tile index that today's configuration no longer has). */
enum rc checkpoint_remove(struct disk *disk, uint32_t tile_idx);

#endif
