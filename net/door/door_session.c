/* The table of sessions: granted by the exchange, found by id, ended here.
 *
 * Open addressing with linear probing over session indexes; ids are drawn by the exchange, so their
 * upper bits are random already and only mixed. Deadlines are a binary heap of sessions, each
 * knowing its place. */
#include "net/door/door_internal.h"

static uint32_t
session_home(const struct door *door, uint32_t id)
{
    return ((id >> 8) * 2654435761u >> 7) & door->bucket_mask;
}

uint32_t
door_session__find(const struct door *door, uint32_t id)
{
    for (uint32_t at = session_home(door, id);; at = (at + 1) & door->bucket_mask) {
        uint32_t idx = door->buckets[at];
        if (idx == DOOR_NONE)
            return DOOR_NONE;
        const struct door_session *session = slab_at(&door->sessions, idx);
        if (session->id == id)
            return idx;
    }
}

static void
session_insert(struct door *door, uint32_t id, uint32_t idx)
{
    uint32_t at = session_home(door, id);

    while (door->buckets[at] != DOOR_NONE)
        at = (at + 1) & door->bucket_mask;
    door->buckets[at] = idx;
}

/* Takes it out and closes the gap: a later member of the run moves into the hole unless its own
 * place lies behind the hole. */
static void
session_erase(struct door *door, uint32_t id, uint32_t idx)
{
    uint32_t mask = door->bucket_mask;
    uint32_t hole = session_home(door, id);

    while (door->buckets[hole] != idx) {
        CHECK(door->buckets[hole] != DOOR_NONE);
        hole = (hole + 1) & mask;
    }
    for (uint32_t next = (hole + 1) & mask; door->buckets[next] != DOOR_NONE;
         next = (next + 1) & mask) {
        uint32_t home = session_home(door, door__session(door, door->buckets[next])->id);
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            door->buckets[hole] = door->buckets[next];
            hole = next;
        }
    }
    door->buckets[hole] = DOOR_NONE;
}

/* ---- deadlines ---- */

static void
heap_put(struct door *door, uint32_t at, uint32_t idx)
{
    door->heap[at] = idx;
    door__session(door, idx)->heap_at = at;
}

static uint64_t
heap_wake(struct door *door, uint32_t at)
{
    return door__session(door, door->heap[at])->wake_ns;
}

/* Moves the session that belongs at or around `at` to its place. */
static void
heap_settle(struct door *door, uint32_t at, uint32_t idx)
{
    uint64_t wake_ns = door__session(door, idx)->wake_ns;

    while (at > 0 && heap_wake(door, (at - 1) / 2) > wake_ns) {
        heap_put(door, at, door->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (uint32_t child = at * 2 + 1; child < door->heap_count; child = at * 2 + 1) {
        if (child + 1 < door->heap_count && heap_wake(door, child + 1) < heap_wake(door, child))
            child++;
        if (heap_wake(door, child) >= wake_ns)
            break;
        heap_put(door, at, door->heap[child]);
        at = child;
    }
    heap_put(door, at, idx);
}

void
door_session__timer_set(struct door *door, struct door_session *session, uint64_t wake_ns)
{
    if (session->heap_at != DOOR_NONE && session->wake_ns == wake_ns)
        return;
    session->wake_ns = wake_ns;
    if (session->heap_at == DOOR_NONE)
        session->heap_at = door->heap_count++;
    heap_settle(door, session->heap_at, door__session_idx(door, session));
}

static void
session_timer_clear(struct door *door, struct door_session *session)
{
    uint32_t at = session->heap_at;

    if (at == DOOR_NONE)
        return;
    session->heap_at = DOOR_NONE;
    uint32_t last = door->heap[--door->heap_count];
    if (at < door->heap_count)
        heap_settle(door, at, last);
}

uint32_t
door_session__timer_due(const struct door *door)
{
    if (door->heap_count == 0)
        return DOOR_NONE;
    const struct door_session *session = slab_at(&door->sessions, door->heap[0]);
    return session->wake_ns <= door->now_ns ? door->heap[0] : DOOR_NONE;
}

uint64_t
door_session__timer_next(const struct door *door)
{
    if (door->heap_count == 0)
        return NO_DEADLINE;
    return ((const struct door_session *)slab_at(&door->sessions, door->heap[0]))->wake_ns;
}

/* ---- what is to be done, and what was done ---- */

void
door_session__activate(struct door *door, struct door_session *session)
{
    uint32_t idx = door__session_idx(door, session);

    if (session->is_active)
        return;
    session->is_active = true;
    session->next_active = DOOR_NONE;
    if (door->active.first == DOOR_NONE)
        door->active.first = idx;
    else
        door__session(door, door->active.last)->next_active = idx;
    door->active.last = idx;
}

void
door_session__count(struct door *door, struct door_session *session)
{
    const struct session_counters *now = session_counters(session->session);
    struct session_counters *before = &session->counted;
    struct door_counters *counters = &door->counters;

    door__count(&counters->forged, now->received_forged - before->received_forged);
    door__count(&counters->replayed, now->received_replayed - before->received_replayed);
    door__count(&counters->malformed, now->received_malformed - before->received_malformed);
    door__count(&counters->duplicates, now->received_duplicates - before->received_duplicates);
    door__count(&counters->no_credit, now->dropped_no_credit - before->dropped_no_credit);
    door__count(&counters->no_room, now->dropped_no_room - before->dropped_no_room);
    door__count(&counters->retransmitted, now->retransmitted - before->retransmitted);
    *before = *now;
}

bool
door_session__tell(struct door *door, const struct door_event *event)
{
    if (ring_push(door->config.events, event, 1) == 0)
        return false;
    if (door->config.exchange_waker != NULL)
        waker_notify(door->config.exchange_waker);
    return true;
}

/* ---- beginnings ---- */

static void
session_begin(struct door *door, const struct door_grant *grant, uint32_t idx)
{
    struct door_session *session = door__session(door, idx);
    uint32_t generation = session->generation + 1;
    const struct door_list empty = {DOOR_NONE, DOOR_NONE};
    const struct session_config config = {
        .role = SESSION_SERVER,
        .session_id = grant->session_id,
        .pool = door->pool,
        .cipher = grant->cipher,
        .datagram_bytes_max = min_u32(grant->datagram_bytes_max, door->nic->datagram_bytes_max),
        .window = door->config.limits.window,
        .probe_floor_ns = door->nic->wait_fd >= 0 ? 5 * NS_PER_MS : NS_PER_MS,
        .delay_target_ns = door->nic->is_same_host   ? UINT64_MAX
                           : door->nic->wait_fd >= 0 ? NS_PER_MS
                                                     : 50 * NS_PER_US,
        .idle_ns = door->config.limits.idle_ns,
    };

    *session = (struct door_session){
        .session = (struct session *)(void *)(door->session_memory + idx * door->session_stride),
        .cipher = grant->cipher,
        .id = grant->session_id,
        .generation = generation,
        .in_use = true,
        .give_back_ns = door->now_ns + DOOR_GRANT_NS,
        .progress_ns = door->now_ns,
        .heap_at = DOOR_NONE,
        .next_active = DOOR_NONE,
        .next_stuck = DOOR_NONE,
        .results = empty,
        .readers = DOOR_NONE,
        .sending = empty,
        .calls = DOOR_NONE,
        .call_arriving = DOOR_NONE,
        .answers = empty,
        .message = DOOR_NONE,
        .stash = DOOR_NONE,
    };
    session_init(session->session, &config, door->now_ns);
    session_grant(session->session, min_u32(door->room_packets, door->config.limits.window));
    session_insert(door, session->id, idx);
    door_session__timer_set(door, session, session->give_back_ns);
}

/* False: the answer to this grant has no room in the exchange's ring. */
static bool
session_take_grant(struct door *door, const struct door_grant *grant)
{
    uint32_t idx = door_session__find(door, grant->session_id);

    if (grant->revoke != 0) {
        if (idx != DOOR_NONE) {
            struct door_session *session = door__session(door, idx);
            session->revoked = true;
            session_close(session->session, WIRE_CLOSE_BYE, NULL);
            door_session__activate(door, session);
        }
        return true;
    }
    CHECK(idx == DOOR_NONE); /* the exchange never draws the id of a live session */
    if (!door->stopping)
        idx = slab_take(&door->sessions);
    if (idx == DOOR_NONE) {
        const struct door_event event = {
            .kind = DOOR_CLOSED,
            .session_id = grant->session_id,
            .cipher = grant->cipher,
            .close_code = door->stopping ? WIRE_CLOSE_SHUTDOWN : WIRE_CLOSE_LIMIT,
        };
        return door_session__tell(door, &event);
    }
    session_begin(door, grant, idx);
    return true;
}

uint32_t
door_session__take_grants(struct door *door)
{
    uint32_t count = 0;

    for (; count < DOOR_GRANTS_PER_POLL; count++) {
        const struct door_grant *grant = ring_peek(door->config.grants);
        if (grant == NULL || !session_take_grant(door, grant))
            break;
        ring_advance(door->config.grants);
    }
    return count;
}

/* ---- ends ---- */

/* Takes a session that ends out of the lists of those that have something to do. */
static void
session_unlink(struct door *door, struct door_session *session, bool is_stuck_list)
{
    struct door_list *list = is_stuck_list ? &door->stuck : &door->active;
    uint32_t idx = door__session_idx(door, session);
    uint32_t before = DOOR_NONE;
    uint32_t *link = &list->first;

    while (*link != idx) {
        CHECK(*link != DOOR_NONE);
        before = *link;
        struct door_session *other = door__session(door, before);
        link = is_stuck_list ? &other->next_stuck : &other->next_active;
    }
    *link = is_stuck_list ? session->next_stuck : session->next_active;
    if (list->last == idx)
        list->last = before;
}

static void
session_drop_results(struct door *door, struct door_session *session)
{
    while (session->results.first != DOOR_NONE) {
        uint32_t idx = session->results.first;
        session->results.first = door__produce(door, idx)->next;
        slab_give(&door->produces, idx);
    }
}

bool
door_session__end(struct door *door, struct door_session *session)
{
    uint32_t idx = door__session_idx(door, session);
    const struct door_event event = {
        .kind = DOOR_CLOSED,
        .session_id = session->id,
        .cipher = session->cipher,
        .close_code = session_close_code(session->session),
    };

    CHECK(session->in_use);
    if (!door_session__tell(door, &event))
        return false;
    door_session__count(door, session);
    session_drop_results(door, session);
    door_message__drop(door, session);
    door_frame__stash_drop(door, session);
    door_read__drop_all(door, session);
    door_call__drop_all(door, session);
    session_fini(session->session);
    session_timer_clear(door, session);
    if (session->is_active)
        session_unlink(door, session, false);
    if (session->is_stuck)
        session_unlink(door, session, true);
    session_erase(door, session->id, idx);
    if (session->opened) {
        door->open_count--;
        door__count(&door->counters.sessions_closed, 1);
    }
    session->in_use = false;
    session->generation++; /* results under way belong to nobody from now on */
    slab_give(&door->sessions, idx);
    door->kick = true;
    return true;
}
