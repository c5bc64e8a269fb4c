#include "log/append/tail.h"

#include "engine/base/check.h"

void
tail_init(struct tail_table *table, struct tail_entry *entries, uint64_t count)
{
    CHECK(is_power_of_two(count));
    CHECK(count < (UINT64_C(1) << 31));
    *table = (struct tail_table){.entries = entries, .mask = count - 1};
}

void
tail_list_init(struct tail_list *list)
{
    list->oldest = TAIL_NONE;
    list->newest = TAIL_NONE;
}

/* Where a child of `parent` jumps to: as far as the parent's jump's jump when both spans are equal,
 * else to the parent. */
static uint32_t
tail_jump_of_child(const struct tail_table *table, uint64_t parent)
{
    const struct tail_entry *up = tail_at(table, parent);
    uint64_t first = tail_sequence(table, up->jump);

    if (first < table->oldest || first == parent)
        return (uint32_t)parent;
    const struct tail_entry *far = tail_at(table, first);
    uint64_t second = tail_sequence(table, far->jump);
    if (second < table->oldest || second == first)
        return (uint32_t)parent;
    uint32_t near_span = up->depth - far->depth;
    uint32_t far_span = far->depth - tail_at(table, second)->depth;
    return near_span == far_span ? (uint32_t)second : (uint32_t)parent;
}

uint64_t
tail_push(struct tail_table *table, struct tail_list *list)
{
    uint64_t sequence = table->next;
    struct tail_entry *entry = tail_at(table, sequence);

    DCHECK(!tail_is_full(table));
    if (list->newest == TAIL_NONE) {
        entry->depth = 0;
        entry->older = (uint32_t)sequence;
        entry->jump = (uint32_t)sequence;
        list->oldest = sequence;
    } else {
        struct tail_entry *newest = tail_at(table, list->newest);
        entry->depth = newest->depth + 1;
        entry->older = (uint32_t)list->newest;
        entry->jump = tail_jump_of_child(table, list->newest);
        newest->newer = (uint32_t)sequence;
    }
    list->newest = sequence;
    table->next = sequence + 1;
    return sequence;
}

void
tail_pop(struct tail_table *table, struct tail_list *list)
{
    uint64_t sequence = table->oldest;

    CHECK(!tail_is_empty(table));
    if (list != NULL) {
        CHECK(list->oldest == sequence);
        if (list->newest == sequence)
            tail_list_init(list);
        else
            list->oldest = tail_newer(table, list, sequence);
    }
    table->oldest = sequence + 1;
}

uint64_t
tail_find(const struct tail_table *table, const struct tail_list *list, uint64_t offset)
{
    if (list->newest == TAIL_NONE || offset < tail_at(table, list->oldest)->base_offset)
        return TAIL_NONE;

    uint64_t at = list->newest;
    const struct tail_entry *entry = tail_at(table, at);
    if (offset > entry->base_offset + entry->last_delta)
        return TAIL_NONE;
    /* Invariant: the answer is `at` or older. Each round moves to an older entry, so it ends at the
     * list's oldest at the latest; jumps make it O(log n). */
    uint64_t answer = at;
    while (entry->base_offset > offset) {
        uint64_t older = tail_sequence(table, entry->jump);
        if (older < list->oldest ||
            tail_at(table, older)->base_offset + tail_at(table, older)->last_delta < offset)
            older = tail_sequence(table, entry->older);
        answer = at;
        at = older;
        entry = tail_at(table, at);
    }
    /* Offsets may have gaps: the entry ends before offset, so the next newer one is the first after
     * it. */
    return entry->base_offset + entry->last_delta < offset ? answer : at;
}
