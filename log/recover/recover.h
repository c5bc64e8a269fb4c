/* What a start does before it serves: read the newest whole checkpoints, replay every journal found
 * into segments, sync, write checkpoints that name new journal epochs, and open the journals.
 *
 *   logs made by log_init() -> recover_run_all() -> every log serves
 *
 * Synchronous, through struct disk. The cost depends on the journals' size, not on the data's. It
 * never appends to a replayed journal: a torn group followed by an intact older one cannot come
 * back to life.
 *
 * Decision table (labels stand at the code and in test names):
 *   R1  no checkpoint, no journal files of a tile -> a new tile
 *   R2  no checkpoint, but journal files -> refuse to start (RC_CORRUPT)
 *   R3  one torn checkpoint file and no journal files -> a new tile (its first start was cut off)
 *   R4  no whole checkpoint otherwise -> refuse to start (RC_CORRUPT)
 *   R5  the checkpoint says "clean" -> leader epochs stay; the journal holds nothing behind it, and
 *       is read all the same: it tells of a newer checkpoint that was lost (R13)
 *   R6  a partition in several checkpoints -> the record with the greatest next offset
 *   R7  manifest missing, older than named, or damaged; a file missing or too short -> halt the
 *       partition
 *   R8  the manifest lists segments at or above the active one -> they are sealed: go on behind
 *       them
 *   R9  an entry of an unknown partition -> skip it (it was dropped)
 *   R10 a batch is damaged inside an acknowledged group -> halt the partition
 *   R11 a batch below the next offset -> skip it (it is in the segments)
 *   R12 a batch above the next offset -> halt the partition (something is missing)
 *   R13 the journal is corrupt before its end -> halt every partition of that tile
 *   R14 not clean -> leader epochs go up by one
 *   R15 a directory of no partition that is known -> remove it
 *   R16 the active segment's file is gone and the manifest is newer than the checkpoint: it was
 *       sealed and deleted by retention since -> go on behind it; if the journal then does not
 *       raise the start offset above it, halt
 *   R17 the journal is corrupt (R13) and a directory of no known partition is there -> refuse to
 *       start: only the journal may have named it
 *   R18 the last process fenced a partition (directory "fenced") -> cut every active segment at its
 *       durable position: what the kernel says of its size is not trusted
 *   R19 a MARK in the journal -> it counts as the checkpoint of its partition when that is older;
 *       all marks are read before anything is written, since replay must not write where they say
 *       that data stands
 *   R20 the run that ends at the mark which counts is not whole -> halt the partition (its sync was
 *       acknowledged before the mark was written, so this is damage, no torn end)
 *   R21 compaction has merged the segment that the checkpoint calls active into an older one -> by
 *       the end of the manifest's last segment it is seen that it was sealed: go on behind it (R8)
 *   R22 segment files that the manifest does not list, inputs or outputs of a compaction that was
 *       cut off -> remove them; what it lists counts, old or new
 *   R23 transactions: batches and markers take effect wherever their bytes stand; what the
 *       checkpoint knows already is not told twice; what did not survive is forgotten at the end
 *
 * Runs on: start. Allocates: its own memory, given back. Blocks: yes. */
#ifndef EAGRE_LOG_RECOVER_RECOVER_H
#define EAGRE_LOG_RECOVER_RECOVER_H

#include "log/append/log.h"

#define RECOVER_TILES_MAX 64u

/* Which of today's log tiles owns a partition: an index < log_count. */
struct recover_plan {
    struct log **logs; /* [log_count]; logs[i] has tile_idx i */
    uint32_t log_count;
    uint32_t (*owner)(void *ctx, const uint8_t *topic_id, uint32_t partition);
    void *ctx;
};

struct recover_report {
    uint32_t tiles_found; /* with a checkpoint */
    uint32_t tiles_clean;
    uint32_t partitions; /* recovered */
    uint32_t partitions_halted;
    uint64_t groups_replayed;
    uint64_t batches_replayed;
    uint64_t batches_referred; /* named by the journal, their bytes in segments */
    uint64_t bytes_replayed;
    uint64_t producers;
    uint32_t directories_removed;
    uint32_t files_removed;
};

/* All tiles at once. RC_CORRUPT (R2, R4), RC_NEWER_FORMAT, RC_LIMIT (a table is too small for what
 * is stored), RC_IO_ERROR ...: nothing may be served; what is stored stays as it was or is as good.
 * trail names file and position. */
enum rc recover_run_all(const struct recover_plan *plan,
                        struct recover_report *ret_report,
                        struct diag_trail *trail) MUST_USE;
/* The same for a node with one log tile. */
enum rc
recover_run(struct log *log, struct recover_report *ret_report, struct diag_trail *trail) MUST_USE;

#endif
