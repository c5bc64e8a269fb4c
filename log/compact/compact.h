/* Compaction: of each key, the newest record stays.
 *
 * Two sides. The log tile (compact_log.c) sees which partition is dirty, asks for it, swaps what
 * comes back into its list and manifest, and removes the old files. The compactor (compactor.c), a
 * tile of its own on a thread of its own, reads and writes files with calls that block, so that no
 * read of an old segment ever holds up an append or control. Between them stands one task per log
 * tile, which belongs to one side at a time:
 *
 *   log tile: ask ──────────────► compactor: maps keys, copies a group of segments, syncs
 *             swap, unlink ◄───── GROUP
 *             go on ────────────► ... next group ...
 *             end ◄────────────── DONE | FAILED
 *
 * Order of a swap: output synced with its name -> in the list -> manifest durable -> old files
 * unlinked when their last reader is done. A crash leaves the old or the new segments, never
 * neither.
 *
 *   compact_link_init() per log tile; compactor_init(); core_add(core, "compact",
 * &compactor_tile_ops, compactor) compact_attach(log, link)     once per log tile, after recovery
 */
#ifndef EAGRE_LOG_COMPACT_COMPACT_H
#define EAGRE_LOG_COMPACT_COMPACT_H

#include "engine/tile/tile.h"
#include "hw/clock/clock.h"
#include "hw/disk/disk.h"
#include "log/append/log.h"

#define COMPACT_MEMORY_MIN (1 * MIB)
#define COMPACT_TASKS_MAX 64u

/* What a log tile and the compactor share. */
struct compact_link;

uint64_t compact_link_footprint(void);
/* memory: compact_link_footprint() bytes, aligned to a line. The wakers are told when a task
 * changes sides; NULL: nobody sleeps (tests). */
struct compact_link *
compact_link_init(void *memory, struct waker *compactor_or_null, struct waker *log_or_null);

/* From now on log_poll() compacts. link: lives as long as the log. Call once, after recovery. */
void compact_attach(struct log *log, struct compact_link *link);

/* ---- the compactor ---- */

struct compactor_config {
    struct clock *clock;
    struct disk *disk;
    uint64_t memory_bytes;     /* for the map of keys, >= COMPACT_MEMORY_MIN */
    uint64_t bytes_per_second; /* read and written together; 0: no limit */
    uint64_t seed;             /* of the hashes: not to be guessed by who chooses keys */
    uint32_t link_count;
    struct compact_link *links[COMPACT_TASKS_MAX];
};

struct compactor;
extern const struct tile_ops compactor_tile_ops;

uint64_t compactor_footprint(const struct compactor_config *config);
/* memory: compactor_footprint() bytes, 4 KiB aligned, zero or not. */
struct compactor *compactor_init(void *memory, const struct compactor_config *config);
/* Bounded work: at most one window of 1 MiB, or one batch, is read and copied. Runs on: the
 * compaction tile. Blocks: in files. */
struct tile_report compactor_poll(void *compactor, uint64_t now_ns);

#endif
