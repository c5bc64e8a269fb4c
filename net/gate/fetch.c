/* Fetch. Probes first, reads only what is there: while a Fetch waits it holds no response memory.
 *
 *   begin ─► PROBING ─► enough, an error, or no time left? ─► DUE ─► READING ─► DONE
 *              ▲                     │ no                      ▲ first of its connection, and
 * memory └── mark ── PARKED ◄──┘
 *
 * One partition with min_bytes <= 1, the common consumer, skips the probe: it reads with ARM and
 * parks when nothing came. Reads go out in request order within max_bytes; the first partition that
 * has something gives at least one whole batch (KIP-74), for which a larger block is taken when
 * need be. */
#include "net/gate/gate_internal.h"

#include "engine/record/record_batch.h"

/* Reads in a row that find nothing where a probe saw something, before the client is told so. */
#define FETCH_BARREN_MAX 2u

static void
fetch_move(struct gate *gate, struct gate_fetch *fetch, enum fetch_state next)
{
    gate->parked_count -= fetch->state == FETCH_PARKED ? 1 : 0;
    gate->parked_count += next == FETCH_PARKED ? 1 : 0;
    fetch->state = (uint8_t)next;
}

static void
fetch_list_add(struct gate *gate, struct gate_list *list, uint32_t fetch_idx, bool memory)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    *(memory ? &fetch->next_memory : &fetch->next_issue) = GATE_NONE;
    if (list->first == GATE_NONE) {
        list->first = fetch_idx;
    } else {
        struct gate_fetch *last = gate__fetch(gate, list->last);
        *(memory ? &last->next_memory : &last->next_issue) = fetch_idx;
    }
    list->last = fetch_idx;
}

void
fetch__queue_issue(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch->issue_at = 0;
    if (fetch->queued_issue)
        return;
    fetch->queued_issue = true;
    fetch_list_add(gate, &gate->issue, fetch_idx, false);
}

static void
fetch_data_give(struct gate *gate, struct gate_fetch *fetch)
{
    if (fetch->data_block == NULL)
        return;
    buddy_give(&gate->response, fetch->data_block);
    fetch->data_block = NULL;
    gate->kick = true;
}

/* Frees the record itself, unless a list still names it. */
static void
fetch_free(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch->slot = GATE_NONE;
    if (!fetch->queued_issue && !fetch->queued_memory)
        slab_give(&gate->fetches, fetch_idx);
}

static void
fetch_unlisten(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    park__timer_clear(gate, fetch_idx);
    for (uint32_t i = 0; i < fetch->entry_count; i++)
        park__forget(&fetch->entries[i]);
}

void
fetch__release(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch_unlisten(gate, fetch_idx);
    fetch_move(gate, fetch, FETCH_DONE);
    fetch_data_give(gate, fetch);
    if (fetch->state_block != NULL)
        buddy_give(&gate->state, fetch->state_block);
    fetch->state_block = NULL;
    gate->kick = true;
    fetch_free(gate, fetch_idx);
}

/* What ended the waiting of a fetch that was parked. */
static enum metric_woken
fetch_cause(const struct gate_fetch *fetch)
{
    if (fetch->expired)
        return METRIC_WOKEN_TIMEOUT;
    for (uint32_t i = 0; i < fetch->entry_count; i++)
        if (fetch->entries[i].data_bytes > 0)
            return METRIC_WOKEN_DATA;
    return METRIC_WOKEN_CHANGE;
}

void
fetch__finish(struct gate *gate, uint32_t fetch_idx, int16_t error)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch_unlisten(gate, fetch_idx);
    fetch_move(gate, fetch, FETCH_DONE);
    if (fetch->was_parked)
        gate__count_label(gate, FETCHES_WOKEN, fetch_cause(fetch));
    fetch_reply__build(gate, fetch, error);
    slot__settle(gate, fetch->slot);
}

/* Plans how the response memory is shared out; returns the bytes to take. Entries that are to be
 * read become due. */
static uint32_t
fetch_plan(const struct gate *gate, struct gate_fetch *fetch)
{
    uint32_t rest = min_u32(fetch->max_bytes, gate->config.limits.fetch_bytes_max);
    uint32_t total = 0;

    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        struct gate_fetch_entry *entry = &fetch->entries[i];
        uint32_t want = (uint32_t)min_u64(entry->readable_bytes, min_u32(entry->max_bytes, rest));
        entry->due = false;
        entry->data = NULL;
        entry->data_bytes = 0;
        entry->data_capacity = 0;
        entry->skip_count = 0;
        entry->read_offset = entry->offset;
        if (entry->readable_bytes == 0 || entry->error != KAFKA_ERROR_NONE)
            continue;
        if (total == 0)
            want = (uint32_t)max_u64(want, max_u64(fetch->bytes_needed, 1));
        else if (fetch->bytes_needed > 0 || want == 0)
            continue; /* a batch beyond the limits fills the response alone */
        entry->due = true;
        rest -= min_u32(rest, want);
        if (fetch->committed && total + want + want / 8 + 64 <= BUDDY_BLOCK_MAX)
            want += want / 8 + 64; /* for aborted transactions */
        entry->data_capacity = want;
        total += want;
    }
    return total;
}

/* Takes response memory and sends the reads; false: no memory now. */
static bool
fetch_read(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    uint32_t total = fetch_plan(gate, fetch);

    CHECK(total > 0);
    uint8_t *block = buddy_take(&gate->response, total);
    if (block == NULL)
        return false;
    uint32_t spare = (uint32_t)buddy_block_bytes(&gate->response, block) - total;
    uint32_t at = 0;
    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        struct gate_fetch_entry *entry = &fetch->entries[i];
        if (!entry->due)
            continue;
        entry->data_capacity += at == 0 ? spare : 0;
        entry->data = block + at;
        at += entry->data_capacity;
    }
    fetch->data_block = block;
    fetch_move(gate, fetch, FETCH_READING);
    fetch->read_again = false;
    fetch__queue_issue(gate, fetch_idx);
    return true;
}

static COLD void
fetch_wait_memory(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch->queued_memory = true;
    fetch_list_add(gate, &gate->response_wait, fetch_idx, true);
    gate__count(&gate->counters.waits_response, 1);
    park__timer_set(gate, fetch_idx, gate->now_ns + gate->config.limits.progress_ns);
}

static bool
fetch_is_first(struct gate *gate, const struct gate_fetch *fetch)
{
    uint32_t connection_idx = gate__slot(gate, fetch->slot)->connection;

    return connection_idx != GATE_NONE &&
           gate__connection(gate, connection_idx)->slot_first == fetch->slot;
}

/* May read: does so when it is the first of its connection and there is memory. */
static void
fetch_due(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    fetch_move(gate, fetch, FETCH_DUE);
    if (fetch->queued_memory)
        return;
    park__timer_clear(gate, fetch_idx);
    if (!fetch_is_first(gate, fetch))
        return;
    if (gate->response_wait.first != GATE_NONE || !fetch_read(gate, fetch_idx))
        fetch_wait_memory(gate, fetch_idx);
}

void
fetch__is_first(struct gate *gate, uint32_t fetch_idx)
{
    if (gate__fetch(gate, fetch_idx)->state == FETCH_DUE)
        fetch_due(gate, fetch_idx);
}

void
fetch__serve_memory(struct gate *gate)
{
    while (gate->response_wait.first != GATE_NONE) {
        uint32_t fetch_idx = gate->response_wait.first;
        struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
        uint32_t next = fetch->next_memory;
        bool wants = fetch->slot != GATE_NONE && fetch->state == FETCH_DUE;
        if (wants && !fetch_read(gate, fetch_idx))
            return;
        fetch->queued_memory = false;
        gate->response_wait.first = next;
        if (wants)
            park__timer_clear(gate, fetch_idx);
        else if (fetch->slot == GATE_NONE)
            fetch_free(gate, fetch_idx);
    }
}

/* Nothing to answer with yet: waits for marks. Partitions that have something, but not enough, are
 * armed by a request. */
static void
fetch_park(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    bool arm = false;

    fetch_move(gate, fetch, FETCH_PARKED);
    fetch->unarmed = false;
    fetch->was_parked = true;
    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        struct gate_fetch_entry *entry = &fetch->entries[i];
        entry->due = !park__is_armed(gate, &entry->ref, fetch);
        arm = arm || entry->due;
    }
    gate__count(&gate->counters.fetches_parked, 1);
    park__timer_set(gate, fetch_idx, fetch->deadline_ns);
    if (arm)
        fetch__queue_issue(gate, fetch_idx);
}

uint32_t
fetch__hint(struct gate *gate, const struct gate_fetch *fetch)
{
    uint32_t connection_idx = gate__slot(gate, fetch->slot)->connection;

    return connection_idx == GATE_NONE ? GATE_BASE_BYTES
                                       : gate__connection(gate, connection_idx)->fetch_hint;
}

/* Partitions that were marked look again: by a probe, or at once by a read when any byte will do.
 * True: probes are due. */
static bool
fetch_look_again(struct gate *gate, struct gate_fetch *fetch)
{
    bool probe = false;

    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        struct gate_fetch_entry *entry = &fetch->entries[i];
        if (!entry->marked)
            continue;
        entry->marked = false;
        if (fetch->min_bytes <= 1 && fetch__end(fetch, entry) > entry->offset) {
            entry->readable_bytes = fetch__hint(gate, fetch);
            continue;
        }
        entry->due = true;
        probe = true;
    }
    return probe;
}

void
fetch__decide(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    bool no_wait = fetch->expired || gate->stopping;

    if (!no_wait && fetch_look_again(gate, fetch)) {
        fetch_move(gate, fetch, FETCH_PROBING);
        park__timer_clear(gate, fetch_idx);
        fetch__queue_issue(gate, fetch_idx);
        return;
    }
    uint64_t readable = 0;
    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        no_wait = no_wait || fetch->entries[i].error != KAFKA_ERROR_NONE;
        readable += fetch->entries[i].readable_bytes;
    }
    if (!no_wait && readable < fetch->min_bytes)
        fetch_park(gate, fetch_idx);
    else if (readable > 0)
        fetch_due(gate, fetch_idx);
    else
        fetch__finish(gate, fetch_idx, KAFKA_ERROR_NONE);
}

/* The next single read takes as much memory as this one suggests. */
static void
fetch_hint_learn(struct gate *gate, const struct gate_fetch *fetch, uint32_t got)
{
    uint32_t connection_idx = gate__slot(gate, fetch->slot)->connection;

    if (connection_idx == GATE_NONE || fetch->data_block == NULL)
        return;
    struct gate_connection *connection = gate__connection(gate, connection_idx);
    uint64_t block_bytes = buddy_block_bytes(&gate->response, fetch->data_block);
    if ((uint64_t)got * 2 > block_bytes)
        connection->fetch_hint = (uint32_t)min_u64(block_bytes * 2,
                                                   gate->config.limits.fetch_bytes_max);
    else if ((uint64_t)got * 8 < block_bytes)
        connection->fetch_hint = (uint32_t)max_u64(block_bytes / 2, GATE_BASE_BYTES);
}

/* Every read is answered. */
static void
fetch_read_over(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    uint32_t total = 0;
    bool error = false;

    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        total += fetch->entries[i].data_bytes;
        error = error || fetch->entries[i].error != KAFKA_ERROR_NONE;
    }
    if (fetch->read_again) { /* whatever else was read: the first partition must not starve */
        fetch_data_give(gate, fetch);
        fetch_due(gate, fetch_idx);
        return;
    }
    fetch_hint_learn(gate, fetch, total);
    if (total > 0 || error || fetch->expired || gate->stopping) {
        if (total == 0)
            fetch_data_give(gate, fetch);
        fetch__finish(gate, fetch_idx, KAFKA_ERROR_NONE);
        return;
    }
    fetch_data_give(gate, fetch);
    fetch->bytes_needed = 0;
    for (uint32_t i = 0; i < fetch->entry_count; i++) {
        fetch->entries[i].readable_bytes = 0;
        fetch->entries[i].due = !fetch->single;
    }
    if (fetch->single) {
        fetch__decide(gate, fetch_idx);
    } else if (++fetch->barren_count > FETCH_BARREN_MAX) {
        fetch__finish(gate, fetch_idx, KAFKA_ERROR_NONE);
    } else {
        fetch_move(gate, fetch, FETCH_PROBING);
        fetch__queue_issue(gate, fetch_idx);
    }
}

/* A read gives at most what a log tile copies in one poll, so that it delays no commit; while there
 * is more below the high watermark and room for it, the next read goes on behind it. A response is
 * sent once it is full or the log is at its end: few large responses cost a reader less than many
 * small ones. */
static void
fetch_go_on(struct gate *gate,
            struct gate_fetch *fetch,
            struct gate_fetch_entry *entry,
            uint32_t bytes)
{
    uint32_t limit = min_u32(entry->data_capacity, min_u32(entry->max_bytes, fetch->max_bytes));
    uint32_t fetch_idx = gate__slot(gate, fetch->slot)->fetch;

    CHECK(bytes <= entry->data_capacity - entry->data_bytes);
    const uint8_t *at = entry->data + entry->data_bytes;
    const uint8_t *end = at + bytes;
    entry->data_bytes += bytes;
    while (end - at >= RECORD_BATCH_HEADER_BYTES) {
        entry->read_offset = record_batch_base_offset(at) +
                             (uint64_t)record_batch_last_offset_delta(at) + 1;
        at += record_batch_bytes(at);
    }
    if (bytes == 0 || entry->data_bytes >= limit || entry->read_offset >= fetch__end(fetch, entry))
        return;
    entry->due = true;
    fetch__queue_issue(gate, fetch_idx);
}

static void
fetch_take_answer(struct gate *gate,
                  struct gate_fetch *fetch,
                  struct gate_fetch_entry *entry,
                  const struct response *response)
{
    int16_t version = gate__slot(gate, fetch->slot)->version;

    if (response->rc == RC_OK || response->rc == RC_NO_MEMORY) {
        entry->high_watermark = response->high_watermark;
        entry->last_stable_offset = response->u.last_stable_offset;
        entry->start_offset = response->start_offset;
    }
    if (response->rc == RC_OK) {
        if (fetch->state != FETCH_PROBING && fetch->committed && response->bytes > 0)
            fetch_skips__take(gate, fetch, entry, response);
        if (fetch->state == FETCH_PROBING)
            entry->readable_bytes = response->total_bytes;
        else
            fetch_go_on(gate, fetch, entry, response->bytes);
        return;
    }
    /* What was read before stands; the client meets the trouble with its next request. */
    if (fetch->state == FETCH_READING && entry->data_bytes > 0)
        return;
    if (response->rc == RC_NO_MEMORY && fetch->state == FETCH_READING) {
        /* Only the first one may ask for more; later partitions may stay empty. */
        if (entry->data != fetch->data_block)
            return;
        uint32_t need = fetch_skips__need(fetch, response->bytes);
        if (need > entry->data_capacity && need <= BUDDY_BLOCK_MAX) {
            fetch->read_again = true;
            fetch->bytes_needed = need;
            return;
        }
    }
    entry->readable_bytes = 0;
    entry->error = kafka_error_from_rc((enum rc)response->rc, KAFKA_FETCH, version);
}

uint32_t
fetch__answered(struct gate *gate, const struct response *response)
{
    uint32_t slot_idx = (uint32_t)(response->ctx >> 48);
    uint32_t entry_idx = (uint32_t)(response->ctx >> 16) & ((1u << GATE_ENTRY_BITS) - 1);
    struct gate_slot *slot = gate__slot(gate, slot_idx);

    CHECK(slot->kind == SLOT_FETCH);
    CHECK((slot->generation & 0xfff) == ((response->ctx >> 36) & 0xfff));
    uint32_t fetch_idx = slot->fetch;
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
    CHECK(entry_idx < fetch->entry_count);
    struct gate_fetch_entry *entry = &fetch->entries[entry_idx];
    uint32_t credits = 1;

    fetch_take_answer(gate, fetch, entry, response);
    if (entry->armed_asked) {
        bool nothing = fetch->state == FETCH_PROBING ? response->total_bytes == 0
                                                     : response->bytes == 0;
        entry->armed_asked = false;
        enum park_armed how = fetch->committed ? PARK_ARMED_STABLE : PARK_ARMED;
        credits += park__armed(gate,
                               entry->ref.log_tile,
                               entry->ref.slot,
                               response->rc == RC_OK && nothing ? how : PARK_NOT_ARMED);
    }
    CHECK(slot->outstanding > 0);
    if (--slot->outstanding > 0 || (fetch->queued_issue && slot->connection != GATE_NONE))
        return credits;
    if (slot->connection == GATE_NONE)
        slot__settle(gate, slot_idx);
    else if (fetch->state == FETCH_PROBING)
        fetch__decide(gate, fetch_idx);
    else
        fetch_read_over(gate, fetch_idx);
    return credits;
}

/* Sends what one entry is due; false: its link is full. */
static bool
fetch_issue_entry(struct gate *gate, struct gate_fetch *fetch, struct gate_fetch_entry *entry)
{
    uint8_t committed = fetch->committed ? REQUEST_FLAG_COMMITTED : 0;
    bool parked = fetch->state == FETCH_PARKED;
    bool reading = fetch->state == FETCH_READING;
    bool arm = !fetch->expired && (!reading || (fetch->single && entry->data_bytes == 0)) &&
               park__may_arm(gate, entry->ref.log_tile, entry->ref.slot);

    if (parked && !arm) {
        fetch->unarmed = true;
        return true;
    }
    struct request *request = link__reserve(gate, entry->ref.log_tile, arm ? 2 : 1);
    if (request == NULL)
        return false;
    request->slot = entry->ref.slot;
    request->incarnation = entry->ref.incarnation;
    if (arm)
        park__arming(gate, &entry->ref);
    if (parked) {
        request->kind = REQUEST_ARM;
        request->flags = committed;
        request->ctx = gate__ctx(GATE_ARM_SLOT, 0, 0, 0) | entry->ref.slot |
                       (fetch->committed ? GATE_ARM_COMMITTED : 0);
        request->u.arm.high_watermark = fetch__end(fetch, entry);
        return true;
    }
    struct gate_slot *slot = gate__slot(gate, fetch->slot);
    slot->outstanding++;
    entry->armed_asked = arm;
    request->kind = REQUEST_READ;
    bool whole = reading && entry->data == fetch->data_block && entry->data_bytes == 0;
    request->flags = (uint8_t)((arm ? REQUEST_FLAG_ARM : 0) | (whole ? REQUEST_FLAG_WHOLE : 0) |
                               committed);
    request->ctx = gate__ctx(fetch->slot, slot->generation, (uint32_t)(entry - fetch->entries), 0);
    request->u.read.offset = reading ? entry->read_offset : entry->offset;
    request->u.read.dst = reading ? entry->data + entry->data_bytes : NULL;
    request->u.read.dst_bytes = reading ? fetch_skips__room(
                                              fetch, entry->data_capacity - entry->data_bytes)
                                        : 0;
    uint32_t max_bytes = min_u32(entry->max_bytes, fetch->max_bytes);
    request->u.read.max_bytes = max_bytes - (reading ? min_u32(max_bytes, entry->data_bytes) : 0);
    request->u.read.leader_epoch = entry->leader_epoch;
    return true;
}

/* True when everything that was due is sent. */
static bool
fetch_issue_one(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    for (; fetch->issue_at < fetch->entry_count; fetch->issue_at++) {
        struct gate_fetch_entry *entry = &fetch->entries[fetch->issue_at];
        if (!entry->due)
            continue;
        if (!fetch_issue_entry(gate, fetch, entry))
            return false;
        entry->due = false;
    }
    return true;
}

/* What to do with a fetch that left the issue list. */
static void
fetch_issued(struct gate *gate, uint32_t fetch_idx)
{
    struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);

    if (fetch->state == FETCH_PARKED) {
        if (!fetch->unarmed)
            return;
        gate__count(&gate->counters.fetches_unarmed, 1);
        park__timer_set(
            gate, fetch_idx, min_u64(fetch->deadline_ns, gate->now_ns + GATE_UNARMED_POLL_NS));
        return;
    }
    if (gate__slot(gate, fetch->slot)->outstanding > 0)
        return;
    if (fetch->state == FETCH_PROBING)
        fetch__decide(gate, fetch_idx);
    else if (fetch->state == FETCH_READING)
        fetch_read_over(gate, fetch_idx);
}

static bool
fetch_was_marked(const struct gate_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->entry_count; i++)
        if (fetch->entries[i].marked)
            return true;
    return false;
}

bool
fetch__issue(struct gate *gate)
{
    bool all = true;
    uint32_t fetch_idx = gate->issue.first;
    uint32_t last = gate->issue.last;

    while (fetch_idx != GATE_NONE) {
        struct gate_fetch *fetch = gate__fetch(gate, fetch_idx);
        uint32_t next = fetch_idx == last ? GATE_NONE : fetch->next_issue;
        gate->issue.first = fetch->next_issue;
        fetch->queued_issue = false;
        if (fetch->slot == GATE_NONE) {
            fetch_free(gate, fetch_idx);
        } else if (fetch->state == FETCH_PARKED && fetch_was_marked(fetch)) {
            fetch__decide(gate, fetch_idx); /* may queue it again, to be issued in the next round */
        } else if (fetch->state == FETCH_DUE || fetch->state == FETCH_DONE) {
            fetch->issue_at = 0; /* what it waited to send is no longer wanted */
        } else if (fetch_issue_one(gate, fetch_idx)) {
            fetch_issued(gate, fetch_idx);
        } else {
            uint32_t at = fetch->issue_at;
            fetch__queue_issue(gate, fetch_idx);
            fetch->issue_at = at;
            all = false;
        }
        fetch_idx = next;
    }
    return all;
}

uint64_t
fetch__expire(struct gate *gate)
{
    for (uint32_t idx; (idx = park__timer_due(gate, gate->now_ns)) != GATE_NONE;) {
        struct gate_fetch *fetch = gate__fetch(gate, idx);
        park__timer_clear(gate, idx);
        if (fetch->state ==
            FETCH_DUE) { /* no response memory for too long: as if there were nothing */
            fetch__finish(gate, idx, KAFKA_ERROR_NONE);
            continue;
        }
        CHECK(fetch->state == FETCH_PARKED);
        if (fetch->deadline_ns <= gate->now_ns)
            fetch->expired = true;
        for (uint32_t i = 0; fetch->unarmed && i < fetch->entry_count; i++)
            fetch->entries[i].marked = true;
        fetch__decide(gate, idx);
    }
    return gate->heap_count == 0 ? NO_DEADLINE : gate__fetch(gate, gate->heap[0])->wake_ns;
}

void
fetch__stop(struct gate *gate)
{
    while (gate->heap_count > 0) {
        uint32_t idx = gate->heap[0];
        gate__fetch(gate, idx)->deadline_ns = gate->now_ns;
        park__timer_set(gate, idx, gate->now_ns);
        fetch__expire(gate);
    }
}
