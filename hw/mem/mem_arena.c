#include "hw/mem/mem.h"

#include "engine/base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* kernel 5.14 */
#endif

#define MEM_LIMIT_MAX_BYTES (1024 * GIB)

static bool
mem_arena_reserve_huge(struct mem_arena *arena, uint64_t bytes)
{
    /* Without MAP_NORESERVE: the pool must hold the whole arena now, or a later touch would raise
     * SIGBUS. */
    void *base = mmap(
        NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (base == MAP_FAILED)
        return false;
    arena->base = base;
    arena->reserved_bytes = bytes;
    arena->pages = MEM_PAGES_HUGE;
    return true;
}

enum rc
mem_arena_init(struct mem_arena *arena,
               const struct mem_arena_config *config,
               struct diag_trail *trail)
{
    memset(arena, 0, sizeof(*arena));
    if (config->limit_bytes == 0 || config->limit_bytes > MEM_LIMIT_MAX_BYTES) {
        diag_trail_add(trail,
                       "memory limit of %llu bytes is out of range",
                       (unsigned long long)config->limit_bytes);
        return RC_INVALID;
    }
    arena->limit_bytes = config->limit_bytes;
    /* Room for alignment: the limit counts what regions ask for, not the gaps between them. */
    uint64_t bytes = round_up(config->limit_bytes, MEM_HUGE_PAGE_BYTES);
    if (config->huge && mem_arena_reserve_huge(arena, bytes))
        return RC_OK;

    bytes += MEM_REGIONS_MAX * MEM_HUGE_PAGE_BYTES;
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        diag_trail_add(trail,
                       "reserving %llu MiB of address space: %s",
                       (unsigned long long)(bytes / MIB),
                       strerror(errno));
        return rc_from_errno(errno);
    }
    arena->base = base;
    arena->reserved_bytes = bytes;
    arena->pages = MEM_PAGES_SMALL;
    arena->thp = config->thp;
    return RC_OK;
}

void
mem_arena_fini(struct mem_arena *arena)
{
    if (arena->base != NULL)
        munmap(arena->base, arena->reserved_bytes);
    memset(arena, 0, sizeof(*arena));
}

/* Opens the pages of one region for use; huge ones have been open since the start. */
static enum rc
mem_arena_open(struct mem_arena *arena, uint64_t begin, uint64_t bytes)
{
    if (arena->pages == MEM_PAGES_HUGE)
        return RC_OK;
    uint64_t page_begin = round_down(begin, MEM_PAGE_BYTES);
    uint64_t page_end = round_up(begin + bytes, MEM_PAGE_BYTES);
    if (mprotect(arena->base + page_begin, page_end - page_begin, PROT_READ | PROT_WRITE) != 0)
        return rc_from_errno(errno);
    if (arena->thp && bytes >= MEM_HUGE_REGION_BYTES &&
        madvise(arena->base + page_begin, page_end - page_begin, MADV_HUGEPAGE) == 0)
        arena->pages = MEM_PAGES_THP;
    return RC_OK;
}

enum rc
mem_arena_take(struct mem_arena *arena,
               const char *name,
               uint64_t bytes,
               void **ret_memory,
               struct diag_trail *trail)
{
    CHECK(arena->base != NULL);
    CHECK(bytes > 0);

    uint64_t align = MEM_REGION_ALIGN_BYTES;
    if (bytes >= MEM_HUGE_REGION_BYTES)
        align = MEM_HUGE_PAGE_BYTES;
    else if (bytes >= MEM_PAGE_BYTES)
        align = MEM_PAGE_BYTES;
    /* The address is aligned, not the distance from a base that the kernel put at any 4 KiB. */
    uint64_t base = (uint64_t)(uintptr_t)arena->base;
    uint64_t begin = round_up(base + arena->end_bytes, align) - base;

    if (arena->region_count == MEM_REGIONS_MAX || bytes > arena->limit_bytes - arena->taken_bytes ||
        begin > arena->reserved_bytes || bytes > arena->reserved_bytes - begin) {
        diag_trail_add(
            trail,
            "memory budget: \"%s\" needs %llu KiB, %llu of %llu KiB are left (setting: memory)",
            name,
            (unsigned long long)(bytes / KIB),
            (unsigned long long)((arena->limit_bytes - arena->taken_bytes) / KIB),
            (unsigned long long)(arena->limit_bytes / KIB));
        return RC_LIMIT;
    }
    enum rc rc = mem_arena_open(arena, begin, bytes);
    if (rc != RC_OK) {
        diag_trail_add(trail, "memory for \"%s\": %s", name, rc_text(rc));
        return rc;
    }
    struct mem_region *region = &arena->regions[arena->region_count++];
    snprintf(region->name, sizeof(region->name), "%s", name);
    region->bytes = bytes;
    arena->end_bytes = begin + bytes;
    arena->taken_bytes += bytes;
    *ret_memory = arena->base + begin;
    return RC_OK;
}

static void
mem_line_format(char *text, size_t capacity, const char *name, uint64_t bytes)
{
    if (bytes >= MIB)
        snprintf(text, capacity, "%-24s %9.1f MiB", name, (double)bytes / (double)MIB);
    else
        snprintf(text, capacity, "%-24s %9.1f KiB", name, (double)bytes / (double)KIB);
}

bool
mem_arena_line(const struct mem_arena *arena, uint32_t line_idx, char *text, size_t capacity)
{
    static const char *const pages[] = {
        [MEM_PAGES_SMALL] = "4 KiB pages",
        [MEM_PAGES_THP] = "4 KiB pages, transparent huge pages advised",
        [MEM_PAGES_HUGE] = "2 MiB pages",
    };

    if (line_idx < arena->region_count) {
        const struct mem_region *region = &arena->regions[line_idx];

        mem_line_format(text, capacity, region->name, region->bytes);
        return true;
    }
    if (line_idx > arena->region_count)
        return false;
    char sum[64];
    mem_line_format(sum, sizeof(sum), "sum", arena->taken_bytes);
    snprintf(text,
             capacity,
             "%s of %llu MiB, %s",
             sum,
             (unsigned long long)(arena->limit_bytes / MIB),
             pages[arena->pages]);
    return true;
}

enum rc
mem_commit(void *at, uint64_t bytes)
{
    uint64_t begin = round_down((uint64_t)(uintptr_t)at, MEM_PAGE_BYTES);
    uint64_t end = round_up((uint64_t)(uintptr_t)at + bytes, MEM_PAGE_BYTES);

    /* Interrupted by a signal: pages done so far stay done, the call repeats cheaply over them. */
    while (madvise((void *)(uintptr_t)begin, end - begin, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        if (errno == ENOMEM || errno == EFAULT)
            return RC_NO_MEMORY;
        CHECK(errno ==
              EINVAL); /* a kernel before 5.14: touch by hand; an atomic add of 0 changes nothing */
        for (uint64_t page = begin; page < end; page += MEM_PAGE_BYTES)
            (void)atomic_fetch_add_explicit(
                (_Atomic uint8_t *)(uintptr_t)page, 0, memory_order_relaxed);
        break;
    }
    return RC_OK;
}

void
mem_release(void *at, uint64_t bytes)
{
    uint64_t begin = round_up((uint64_t)(uintptr_t)at, MEM_PAGE_BYTES);
    uint64_t end = round_down((uint64_t)(uintptr_t)at + bytes, MEM_PAGE_BYTES);

    /* Failure (huge pages with an odd range) costs memory, nothing else. */
    if (begin < end)
        (void)madvise((void *)(uintptr_t)begin, end - begin, MADV_DONTNEED);
}

void *
mem_boot_alloc(size_t bytes)
{
    size_t rounded = (size_t)round_up(bytes, MEM_REGION_ALIGN_BYTES);
    void *memory = aligned_alloc(MEM_REGION_ALIGN_BYTES, rounded);

    if (memory == NULL)
        return NULL;
    if (rounded < MEM_BOOT_LARGE_BYTES) {
        memset(memory, 0, rounded);
        return memory;
    }
    /* A large object costs memory only where it is touched: its whole pages are given back to the
     * kernel, which gives zeros again, and only the ends are cleared by hand. */
    uintptr_t begin = (uintptr_t)memory;
    uintptr_t first = (uintptr_t)round_up(begin, MEM_PAGE_BYTES);
    uintptr_t last = (uintptr_t)round_down(begin + rounded, MEM_PAGE_BYTES);
    memset(memory, 0, first - begin);
    memset((uint8_t *)memory + (last - begin), 0, begin + rounded - last);
    if (madvise((uint8_t *)memory + (first - begin), last - first, MADV_DONTNEED) != 0)
        memset((uint8_t *)memory + (first - begin), 0, last - first);
    return memory;
}

void
mem_boot_free(void *memory)
{
    free(memory);
}
