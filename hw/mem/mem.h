/* Memory: one arena per core, taken whole from the kernel at start, given out in named regions that
 * never go back.
 *
 * The arena reserves address space for its limit and nothing else; a region becomes usable when it
 * is taken, and costs real memory when it is touched or committed. Every region is a line of the
 * budget table that the start banner prints. Where it comes from: explicit huge pages when the pool
 * has enough for the whole limit and they were asked for, else ordinary pages; where asked for,
 * with transparent huge pages advised for regions of MEM_HUGE_REGION_BYTES and more. They make the
 * first touch cheaper and a sparse table's resident size larger (34 against 19 MiB for an idle log
 * tile, 2026-11).
 *
 *     struct mem_arena arena;
 *     rc = mem_arena_init(&arena, &(struct mem_arena_config){.limit_bytes = 256 * MIB}, trail);
 *     rc = mem_arena_take(&arena, "slab ring", 64 * MIB, &slabs, trail);
 *     mem_commit(slabs, MEM_COMMIT_STEP_BYTES);                control tile, ahead of need
 *     for (i = 0; mem_arena_line(&arena, i, text, sizeof(text)); i++)
 *         print text
 *
 * After start nothing is allocated on an engine core: mem_trap_enable() makes dev builds stop when
 * it is.
 *
 * All calls: Runs on: one thread at a time, at start; mem_commit() and mem_release() on the control
 * tile. Blocks: yes (first touch costs 0.75 to 2.5 ms per MiB, hotpath section 0). */
#ifndef EAGRE_HW_MEM_MEM_H
#define EAGRE_HW_MEM_MEM_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define MEM_REGION_ALIGN_BYTES 128u /* two cache lines: regions of two cores never share a pair */
#define MEM_PAGE_BYTES 4096u
#define MEM_HUGE_PAGE_BYTES (2 * MIB)
#define MEM_HUGE_REGION_BYTES (8 * MIB)
#define MEM_COMMIT_STEP_BYTES (16 * MIB)
#define MEM_BOOT_LARGE_BYTES (256 * KIB)
#define MEM_REGIONS_MAX 64u
#define MEM_NAME_MAX 32u

enum mem_pages {
    MEM_PAGES_SMALL, /* 4 KiB */
    MEM_PAGES_THP,   /* 4 KiB, transparent huge pages advised for big regions */
    MEM_PAGES_HUGE,  /* 2 MiB, all taken from the pool at start */
};

struct mem_region {
    char name[MEM_NAME_MAX];
    uint64_t bytes;
};

struct mem_arena_config {
    uint64_t limit_bytes; /* the budget; (0, 1 TiB] */
    bool huge;            /* try the huge page pool first */
    bool thp; /* advise transparent huge pages: faster to touch, but resident 2 MiB at a time */
};

struct mem_arena {
    uint8_t *base; /* NULL: not initialised or finished */
    uint64_t reserved_bytes;
    uint64_t limit_bytes;
    uint64_t end_bytes;   /* where the next region may begin, from base */
    uint64_t taken_bytes; /* sum of the regions, without alignment */
    enum mem_pages pages;
    bool thp;
    uint32_t region_count;
    struct mem_region regions[MEM_REGIONS_MAX];
};

/* Reserves address space. RC_NO_MEMORY when the kernel refuses; RC_INVALID for a limit out of
 * range. */
enum rc mem_arena_init(struct mem_arena *arena,
                       const struct mem_arena_config *config,
                       struct diag_trail *trail) MUST_USE;

/* Gives the address space back; every region is gone. Accepts a zeroed arena and may be called
 * twice. */
void mem_arena_fini(struct mem_arena *arena);

/* Takes bytes (> 0) of zeroed memory, aligned to MEM_REGION_ALIGN_BYTES, big regions to pages;
 * owned by the caller until mem_arena_fini(). name is copied, cut at MEM_NAME_MAX - 1. RC_LIMIT
 * (trail names region and budget) when it does not fit the limit or there are MEM_REGIONS_MAX
 * regions; RC_NO_MEMORY when the kernel refuses. */
enum rc mem_arena_take(struct mem_arena *arena,
                       const char *name,
                       uint64_t bytes,
                       void **ret_memory,
                       struct diag_trail *trail) MUST_USE;

/* Writes line line_idx of the budget table: regions in order, then the sum and the kind of pages.
 * False after the last. */
bool mem_arena_line(const struct mem_arena *arena, uint32_t line_idx, char *text, size_t capacity);

/* Makes the pages that lie in [at, at + bytes) resident, so that no engine core pays for the first
 * touch. Contents stay. RC_NO_MEMORY when there is none (nothing is undone). */
enum rc mem_commit(void *at, uint64_t bytes) MUST_USE;

/* Gives the whole pages inside [at, at + bytes) back to the kernel; they read as zeros afterwards.
 */
void mem_release(void *at, uint64_t bytes);

/* Zeroed memory for objects that live from start to stop and belong to no core's arena; NULL when
 * there is none. Given back by mem_boot_free(), which takes NULL. */
void *mem_boot_alloc(size_t bytes) MUST_USE;
void mem_boot_free(void *memory);

/* From now on the calling thread stops the program when it allocates from the heap: a bug of ours
 * on an engine core. Only in builds with EAGRE_DCHECK and without sanitizers; elsewhere it does
 * nothing. Freeing is allowed. */
void mem_trap_enable(void);
void mem_trap_disable(void);
/* Whether this build has the trap. */
bool mem_trap_exists(void);

#endif
