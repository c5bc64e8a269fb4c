/* Parked fetches: who waits for which partition, and until when.
 *
 * Interest is a list of fetch entries per (log tile, slot); a mark wakes them all and they look
 * again. A partition is armed at most once at a time for this gate, and an armed partition holds
 * one credit of its link for the mark that will come (G6). Deadlines are a binary heap of fetches,
 * each knowing its place. */
#include "net/gate/gate_internal.h"

/* NULL: the slot is beyond partitions.max, so nobody can wait for it. */
static struct gate_interest *
park_interest(const struct gate *gate, uint32_t link_idx, uint32_t slot)
{
    if (slot >= gate->config.limits.partitions_max)
        return NULL;
    return &gate->interests[(size_t)link_idx * gate->config.limits.partitions_max + slot];
}

void
park__listen(struct gate *gate, struct gate_fetch_entry *entry)
{
    struct gate_interest *interest = park_interest(gate, entry->ref.log_tile, entry->ref.slot);

    if (interest == NULL || entry->link != NULL)
        return;
    entry->next = interest->first;
    entry->link = &interest->first;
    if (entry->next != NULL)
        entry->next->link = &entry->next;
    interest->first = entry;
}

void
park__forget(struct gate_fetch_entry *entry)
{
    if (entry->link == NULL)
        return;
    *entry->link = entry->next;
    if (entry->next != NULL)
        entry->next->link = entry->link;
    entry->link = NULL;
    entry->next = NULL;
}

bool
park__may_arm(const struct gate *gate, uint32_t link_idx, uint32_t slot)
{
    const struct gate_link *link = &gate->links[link_idx];
    const struct gate_interest *interest = park_interest(gate, link_idx, slot);

    return interest != NULL && (interest->armed || link->armed < link->credits_max / 2);
}

bool
park__is_armed(const struct gate *gate,
               const struct partition_ref *ref,
               const struct gate_fetch *fetch)
{
    const struct gate_interest *interest = park_interest(gate, ref->log_tile, ref->slot);

    return interest != NULL && interest->armed && interest->incarnation == ref->incarnation &&
           (interest->armed_all || fetch->committed);
}

void
park__arming(struct gate *gate, const struct partition_ref *ref)
{
    struct gate_interest *interest = park_interest(gate, ref->log_tile, ref->slot);

    CHECK(interest != NULL);
    if (interest->armed && interest->incarnation != ref->incarnation) {
        /* The partition that was armed is gone and its mark with it. */
        interest->armed = false;
        gate->links[ref->log_tile].armed--;
        link__release(gate, ref->log_tile, 1);
    }
    interest->incarnation = ref->incarnation;
    interest->arming++;
}

uint32_t
park__armed(struct gate *gate, uint32_t link_idx, uint32_t slot, enum park_armed how)
{
    struct gate_interest *interest = park_interest(gate, link_idx, slot);

    CHECK(interest != NULL);
    CHECK(interest->arming > 0);
    interest->arming--;
    bool early = interest->early;
    if (interest->arming == 0)
        interest->early = false;
    if (how == PARK_NOT_ARMED)
        return 1;
    if (interest->armed) {
        interest->armed_all = interest->armed_all || how == PARK_ARMED;
        return 1;
    }
    if (early) {
        interest->early = false;
        return 1;
    }
    interest->armed = true;
    interest->armed_all = how == PARK_ARMED;
    gate->links[link_idx].armed++;
    return 0;
}

/* The mark tells a parked reader of committed records nothing that it can read: it waits on. */
static bool
park_waits_on(const struct gate_fetch_entry *entry, const struct response *mark)
{
    return entry->fetch->committed && entry->fetch->state == FETCH_PARKED && !entry->marked &&
           mark->high_watermark > entry->high_watermark && mark->start_offset <= entry->offset &&
           mark->u.last_stable_offset <= entry->offset;
}

static void
park_wake(struct gate *gate, struct gate_interest *interest, const struct response *mark)
{
    for (struct gate_fetch_entry *entry = interest->first; entry != NULL; entry = entry->next) {
        struct gate_fetch *fetch = entry->fetch;
        bool is_own = mark != NULL && entry->ref.incarnation == mark->ctx;
        if (is_own && park_waits_on(entry, mark))
            entry->due = true; /* armed anew */
        else
            entry->marked = true;
        if (is_own) {
            entry->high_watermark = mark->high_watermark;
            entry->last_stable_offset = mark->u.last_stable_offset;
            entry->start_offset = mark->start_offset;
        }
        if (fetch->state == FETCH_PARKED)
            fetch__queue_issue(gate, gate__slot(gate, fetch->slot)->fetch);
    }
}

void
park__marked(struct gate *gate, uint32_t link_idx, const struct response *response)
{
    struct gate_interest *interest = park_interest(gate, link_idx, response->slot);

    gate__count(&gate->counters.marks, 1);
    if (interest == NULL)
        return;
    if (interest->armed && interest->incarnation == response->ctx) {
        interest->armed = false;
        gate->links[link_idx].armed--;
        link__release(gate, link_idx, 1);
    } else if (interest->arming > 0 && interest->incarnation == response->ctx) {
        interest->early = true;
    }
    park_wake(gate, interest, response);
}

void
park__topic_gone(struct gate *gate, const struct partition_ref *refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct gate_interest *interest = park_interest(gate, refs[i].log_tile, refs[i].slot);
        if (interest == NULL || refs[i].incarnation == 0)
            continue;
        if (interest->armed && interest->incarnation == refs[i].incarnation) {
            interest->armed = false;
            gate->links[refs[i].log_tile].armed--;
            link__release(gate, refs[i].log_tile, 1);
        }
        park_wake(gate, interest, NULL);
    }
}

static void
heap_put(struct gate *gate, uint32_t at, uint32_t fetch_idx)
{
    gate->heap[at] = fetch_idx;
    gate__fetch(gate, fetch_idx)->heap_at = at;
}

/* Moves the fetch that belongs at or around `at` to its place. */
static void
heap_settle(struct gate *gate, uint32_t at, uint32_t fetch_idx)
{
    uint64_t wake_ns = gate__fetch(gate, fetch_idx)->wake_ns;

    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (gate__fetch(gate, gate->heap[parent])->wake_ns <= wake_ns)
            break;
        heap_put(gate, at, gate->heap[parent]);
        at = parent;
    }
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= gate->heap_count)
            break;
        if (child + 1 < gate->heap_count && gate__fetch(gate, gate->heap[child + 1])->wake_ns <
                                                gate__fetch(gate, gate->heap[child])->wake_ns)
            child++;
        if (gate__fetch(gate, gate->heap[child])->wake_ns >= wake_ns)
            break;
        heap_put(gate, at, gate->heap[child]);
        at = child;
    }
    heap_put(gate, at, fetch_idx);
}

void
park__timer_set(struct gate *gate, uint32_t fetch_idx, uint64_t wake_ns)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch->wake_ns = wake_ns;
    if (fetch->heap_at == GATE_NONE)
        fetch->heap_at = gate->heap_count++;
    heap_settle(gate, fetch->heap_at, fetch_idx);
}

void
park__timer_clear(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    uint32_t at = fetch->heap_at;

    if (at == GATE_NONE)
        return;
    fetch->heap_at = GATE_NONE;
    uint32_t last = gate->heap[--gate->heap_count];
    if (last != fetch_idx)
        heap_settle(gate, at, last);
}

uint32_t
park__timer_due(struct gate *gate, uint64_t now_ns)
{
    if (gate->heap_count == 0 || gate__fetch(gate, gate->heap[0])->wake_ns > now_ns)
        return GATE_NONE;
    return gate->heap[0];
}
