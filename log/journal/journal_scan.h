/* Reading a journal back at start: the groups of one tile in order, or where and why it ends.
 *
 *   journal_scan_begin() -> journal_scan_next() until it is not JOURNAL_SCAN_GROUP ->
 * journal_scan_end()
 *
 * Rules (FORMAT.md section 3.5; S1..S8 are used in tests):
 *  S1 only groups of the epoch that the checkpoint names are replayed; older epochs are leftovers
 * of recycling. S2 a header of a LATER epoch at the start of any file: the checkpoint is older than
 * the journal -> CORRUPT. S3 replay starts at replay_from; earlier groups are skipped without being
 * read. S4 group N follows N - 1 directly, or stands first in the next file of the rotation; its
 * header names N - 1's CRC. S5 group N is bad when its header is not whole or one of its batches
 * fails its CRC. S6 bad N, and a whole header of the same epoch has number >= N + 2 or
 * durable_through >= N -> N had been acknowledged: corruption. S7 bad N otherwise: the torn end of
 * the journal; N and everything after were never acknowledged -> END. S8 corruption with N's header
 * whole: the group is given with its bad entries marked, and the scan goes on; without: CORRUPT,
 * any partition of the tile may have been in it.
 *
 * Memory: one buffer of JOURNAL_SCAN_BYTES. Runs on: start. Allocates: nothing. Blocks: yes. */
#ifndef EAGRE_LOG_JOURNAL_JOURNAL_SCAN_H
#define EAGRE_LOG_JOURNAL_JOURNAL_SCAN_H

#include "engine/base/diag.h"
#include "hw/disk/disk.h"
#include "log/format/journal_format.h"

#define JOURNAL_SCAN_BYTES ((uint64_t)16 * 1024 * 1024)

struct journal_scan_config {
    struct disk *disk;
    uint32_t tile_idx;
    uint64_t epoch;           /* of the checkpoint */
    uint64_t replay_from;     /* of the checkpoint */
    const uint8_t *node_uuid; /* [16]; NULL: not compared */
    uint8_t
        *buffer; /* [JOURNAL_SCAN_BYTES], 4 KiB aligned, the caller's until journal_scan_end() */
};

enum journal_scan_result {
    JOURNAL_SCAN_GROUP,   /* *ret_group is valid until the next call */
    JOURNAL_SCAN_END,     /* everything was given */
    JOURNAL_SCAN_CORRUPT, /* S2 or S8 without a header: acknowledged data of this tile is missing;
                             trail and `where` tell */
    JOURNAL_SCAN_ERROR,   /* reading failed, or a file is of a newer format: scan->rc */
};

struct journal_scan_group {
    const struct journal_group_header *header;
    const struct journal_entry *entries; /* [header->entry_count] */
    const uint8_t *payload;              /* [header->payload_bytes] */
    uint32_t bad_count; /* entries whose batch is damaged: halt their partitions (S8); mostly 0 */
    uint32_t file_idx;
    uint64_t position; /* of the group in its file */
};

struct journal_scan_file {
    int fd; /* -1: missing */
    uint64_t bytes;
    uint64_t first_number; /* group at the start of the file when it is of our epoch, else 0 */
    uint32_t sequence;
};

struct journal_scan {
    struct journal_scan_config config;
    struct diag_trail *trail;
    struct journal_scan_file files[JOURNAL_FILE_COUNT];
    enum rc rc;
    uint32_t file_idx; /* of the next group */
    uint64_t position; /* of the next group */
    uint64_t number;   /* of the next group */
    bool started;      /* replay_from was looked for */
    bool chained;      /* previous_crc is that of group number - 1 */
    bool is_ended;
    bool is_corrupt;
    uint32_t previous_crc;
    uint64_t window_position; /* what of the file is in the buffer */
    uint64_t window_bytes;
    uint32_t window_file_idx;
    uint64_t where_position; /* of the damage, for the report */
    uint32_t where_file_idx;
    uint64_t evidence_number; /* of the header that proves it */
    uint64_t groups_given;
    uint64_t bytes_read;
};

/* Opens the files that are there. RC_OK even when there are none. RC_NEWER_FORMAT, RC_IO_ERROR ...
 */
enum rc journal_scan_begin(struct journal_scan *scan,
                           const struct journal_scan_config *config,
                           struct diag_trail *trail) MUST_USE;
enum journal_scan_result journal_scan_next(struct journal_scan *scan,
                                           struct journal_scan_group *ret_group) MUST_USE;
/* True when the batch of entry idx of the group just given is intact (always true when bad_count is
 * 0). */
bool journal_scan_entry_is_intact(const struct journal_scan_group *group, uint32_t entry_idx);
/* One past the greatest group number given, at least replay_from: where a new epoch may go on
 * counting. */
uint64_t journal_scan_next_number(const struct journal_scan *scan);
/* Closes the files. Twice is fine. */
void journal_scan_end(struct journal_scan *scan);

/* Removes journal files of this tile and half-made ones (for a tile index that today's
 * configuration no longer has). */
enum rc journal_remove_files(struct disk *disk, uint32_t tile_idx);

#endif
