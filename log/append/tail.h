/* Tail table: one entry per batch that stands in the slab ring, in order of arrival over all
 * partitions of the tile.
 *
 * Entries are numbered by a sequence that only grows; entry s stands at entries[s & mask]. The
 * globally oldest entry is always its partition's oldest, so eviction pops both lists at once.
 * Within a partition entries are linked both ways, and each carries a jump to an older one
 * (skew-binary jumps: Myers, "An applicative random-access stack", 1983), so the batch of an offset
 * is found in O(log n) steps from the newest end without any index to keep.
 *
 * References between entries are the low 32 bits of a sequence; the table is far smaller than 2^31.
 * Runs on: the log tile. Allocates: nothing. Blocks: never. */
#ifndef EAGRE_LOG_APPEND_TAIL_H
#define EAGRE_LOG_APPEND_TAIL_H

#include "engine/base/base.h"

#define TAIL_NO_SLOT UINT32_MAX /* the entry's partition was dropped */
#define TAIL_NONE UINT64_MAX    /* no entry */

struct tail_entry {
    uint64_t base_offset;
    uint64_t position;     /* in the slab ring */
    uint64_t bytes_before; /* batch bytes of the partition before this one, since it was opened */
    int64_t max_timestamp;
    uint32_t bytes;
    uint32_t last_delta; /* last offset - base offset */
    uint32_t slot;       /* partition, or TAIL_NO_SLOT */
    uint32_t depth;      /* number of the entry within its partition, modulo 2^32 */
    uint32_t older;      /* valid unless this is the partition's first one since it was empty */
    uint32_t newer;      /* valid unless this is the partition's newest */
    uint32_t jump;       /* some older entry; may be evicted by now */
    uint32_t is_bulk;    /* its bytes do not go through the journal: log/append/bulk.c */
};
_Static_assert(sizeof(struct tail_entry) == 64, "one cache line");

struct tail_table {
    struct tail_entry *entries; /* [count], 64-byte aligned */
    uint64_t mask;
    uint64_t oldest; /* sequence of the oldest entry */
    uint64_t next;   /* sequence of the next entry to come; oldest == next: empty */
};

/* A partition's entries; kept inside its struct. */
struct tail_list {
    uint64_t oldest; /* TAIL_NONE: empty */
    uint64_t newest;
};

void tail_init(struct tail_table *table, struct tail_entry *entries, uint64_t count);
void tail_list_init(struct tail_list *list);

static ALWAYS_INLINE struct tail_entry *
tail_at(const struct tail_table *table, uint64_t sequence)
{
    return &table->entries[sequence & table->mask];
}

static ALWAYS_INLINE bool
tail_is_full(const struct tail_table *table)
{
    return table->next - table->oldest > table->mask;
}

static ALWAYS_INLINE bool
tail_is_empty(const struct tail_table *table)
{
    return table->next == table->oldest;
}

/* The full sequence of a reference, given that it is not newer than table->next. */
static ALWAYS_INLINE uint64_t
tail_sequence(const struct tail_table *table, uint32_t reference)
{
    return table->next - (uint32_t)((uint32_t)table->next - reference);
}

/* Adds the partition's next batch; returns its sequence. The table must not be full. The caller
 * fills base_offset, position, bytes_before, max_timestamp, bytes, last_delta, slot and is_bulk. */
uint64_t tail_push(struct tail_table *table, struct tail_list *list);

/* Takes the globally oldest entry off; list is its partition's, NULL when that was dropped. */
void tail_pop(struct tail_table *table, struct tail_list *list);

/* The next newer entry of the same partition, or TAIL_NONE. */
static ALWAYS_INLINE uint64_t
tail_newer(const struct tail_table *table, const struct tail_list *list, uint64_t sequence)
{
    if (sequence == list->newest)
        return TAIL_NONE;
    return tail_sequence(table, tail_at(table, sequence)->newer);
}

/* The entry that holds offset, or the first one after it when it falls in a gap; TAIL_NONE when
 * offset lies before the list's oldest entry or after its newest. */
uint64_t tail_find(const struct tail_table *table, const struct tail_list *list, uint64_t offset);

#endif
