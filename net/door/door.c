/* The door as a tile: life, one poll, and how it sleeps. Everything per poll is bounded by what the
 * rings, bursts and lists bound. */
#include "net/door/door_internal.h"

static void
door_link_init(struct door_link *link, struct ring *requests, struct ring *responses)
{
    uint32_t slots = responses->slot_count;

    CHECK(requests->slot_bytes == sizeof(struct request));
    CHECK(responses->slot_bytes == sizeof(struct response));
    *link = (struct door_link){
        .requests = requests,
        .responses = responses,
        .credits_max = slots > 2 * DOOR_LINK_RESERVE ? slots - DOOR_LINK_RESERVE : slots / 2,
    };
}

static void
door_links_init(struct door *door)
{
    const struct door_config *config = &door->config;

    for (uint32_t i = 0; i < config->log_tile_count; i++) {
        door_link_init(&door->links[i], config->logs[i].requests, config->logs[i].responses);
        door->links[i].waker = config->logs[i].waker;
        door->links[i].bytes = config->logs[i].bytes;
        CHECK(config->logs[i].bytes != NULL);
    }
    struct door_link *control = &door->links[config->log_tile_count];
    door_link_init(control, config->control_requests, config->control_responses);
    control->waker = config->control_waker;
}

/* Fields that do not start as zero. */
static void
door_set_up(struct door *door)
{
    const struct door_list empty = {DOOR_NONE, DOOR_NONE};

    door->active = door->stuck = empty;
    door->readers_queued = door->readers_lazy = door->calls_queued = empty;
    door->senders = 1;
    door->frames_max = door->nic->datagram_bytes_max / DOOR_DATA_FRAME_MIN + 1;
    for (uint32_t i = 0; i <= door->bucket_mask; i++)
        door->buckets[i] = DOOR_NONE;
    uint64_t places = (uint64_t)door->config.log_tile_count * door->config.limits.partitions_max;
    for (uint64_t i = 0; i < places; i++)
        door->places[i].watchers = DOOR_NONE;
}

enum rc
door_init(void *memory,
          const struct door_config *config,
          struct door **ret_door,
          struct diag_trail *trail)
{
    struct door *door = memory;
    struct door_layout layout = {.memory = memory, .at = sizeof(struct door)};
    enum rc rc = door_layout__check(config, trail);

    if (rc != RC_OK)
        return rc;
    CHECK((uintptr_t)memory % DOOR_ALIGN == 0);
    door->config = *config;
    door->nic = config->nic;
    door->now_ns = clock_now_ns(config->clock);
    rc = cookie_jar_create(config->cookie_secret, &door->jar);
    if (rc != RC_OK) {
        diag_trail_add(trail, "cookies of the native door: %s", rc_text(rc));
        return rc;
    }
    door_layout__place(&layout, config, door);
    door_set_up(door);
    door_links_init(door);
    door->room_packets = min_u32(door_link__room_packets(door), config->limits.window);
    *ret_door = door;
    return RC_OK;
}

void
door_fini(struct door *door)
{
    if (door == NULL)
        return;
    for (uint32_t i = 0; i <= door->bucket_mask; i++) {
        if (door->buckets[i] == DOOR_NONE)
            continue;
        struct door_session *session = door__session(door, door->buckets[i]);
        session_fini(session->session); /* the exchange keeps the cipher of one that lives */
        door->buckets[i] = DOOR_NONE;
    }
    cookie_jar_destroy(door->jar);
    door->jar = NULL;
}

void
door_stop(struct door *door)
{
    /* Pairs with the acquire in door_poll(). */
    atomic_store_explicit(&door->stop, 1, memory_order_release);
}

bool
door_is_stopped(const struct door *door)
{
    /* Pairs with the release in door_go_on_stopping(). */
    return atomic_load_explicit(&door->stopped, memory_order_acquire) != 0;
}

const struct door_counters *
door_counters(const struct door *door)
{
    return &door->counters;
}

const struct door_gauges *
door_gauges(const struct door *door)
{
    return &door->gauges;
}

/* ---- one poll ---- */

static uint32_t
door_expire(struct door *door)
{
    uint32_t count = 0;

    for (uint32_t idx; (idx = door_session__timer_due(door)) != DOOR_NONE; count++) {
        struct door_session *session = door__session(door, idx);
        session_tick(session->session, door->now_ns);
        door_session__timer_set(door, session, NO_DEADLINE); /* set anew when it has been served */
        door_session__activate(door, session);
    }
    return count;
}

/* How the rings' room is shared: by the sessions that sent data of late, so that idle ones hold
 * none of it. */
static void
door_share_room(struct door *door)
{
    if (door->now_ns >= door->epoch_end_ns) {
        door->epoch++;
        door->epoch_end_ns = door->now_ns + DOOR_EPOCH_NS;
        door->senders = door->senders_so_far > 0 ? door->senders_so_far : 1;
        door->senders_so_far = 0;
        door_read__wake_lazy(door);
    }
    uint32_t share = door_link__room_packets(door) / door->senders;
    door->room_packets = min_u32(share > 0 ? share : 1, door->config.limits.window);
}

static COLD void
door_go_on_stopping(struct door *door)
{
    if (!door->stopping) {
        door->stopping = true;
        door->stop_deadline_ns = door->now_ns + DOOR_STOP_NS;
    }
    bool force = door->now_ns >= door->stop_deadline_ns;
    for (uint32_t i = 0; i <= door->bucket_mask; i++) {
        if (door->buckets[i] == DOOR_NONE)
            continue;
        struct door_session *session = door__session(door, door->buckets[i]);
        bool is_idle = session->produces == 0 && session_unacked(session->session) == 0;
        if (session_state(session->session) == SESSION_CLOSED || (!is_idle && !force))
            continue;
        session_close(session->session, WIRE_CLOSE_SHUTDOWN, "the server stops");
        session->revoked = true;
        door_session__activate(door, session);
    }
    if (door->sessions.used == 0 && door->orphans == 0 && door_link__is_quiet(door))
        /* Pairs with door_is_stopped(). */
        atomic_store_explicit(&door->stopped, 1, memory_order_release);
}

/* Asks to be woken by the carrier. */
static void
door_wait_for_datagrams(struct door *door)
{
    const struct io_request request = {
        .tag = io_tag(door->config.io_tile, DOOR_TAG_WAIT),
        .op = IO_POLL,
        .fd = door->nic->wait_fd,
    };

    if (door->is_waiting || door->stopping)
        return;
    door->is_waiting = io_submit(door->config.io, &request);
}

/* When a carrier that wakes nobody is to be looked at again: at once while something was done of
 * late, then after naps, which grow when nothing comes. */
static uint64_t
door_poll_deadline(struct door *door, uint32_t received, uint32_t work)
{
    if (received > 0)
        door->idle_rounds = 0;
    if (work > 0)
        door->busy_ns = door->now_ns;
    if (door->now_ns - door->busy_ns < DOOR_POLL_BUSY_NS)
        return door->now_ns;
    door->idle_rounds++;
    return door->now_ns + (door->idle_rounds > DOOR_IDLE_ROUNDS ? DOOR_POLL_IDLE_NS : DOOR_POLL_NS);
}

static void
door_publish_gauges(struct door *door)
{
    struct door_gauges *gauges = &door->gauges;

    atomic_store_explicit(&gauges->sessions, door->open_count, memory_order_relaxed);
    atomic_store_explicit(
        &gauges->packets_used, session_pool_used(door->pool), memory_order_relaxed);
    atomic_store_explicit(&gauges->subscriptions, door->subscription_count, memory_order_relaxed);
}

static uint64_t
door_deadline(struct door *door, uint32_t received, uint32_t work, bool unsent)
{
    uint64_t deadline_ns = door_session__timer_next(door);

    if (door->nic->wait_fd < 0)
        deadline_ns = min_u64(deadline_ns, door_poll_deadline(door, received, work));
    else if (!door->is_waiting)
        deadline_ns = min_u64(deadline_ns, door->now_ns + NS_PER_MS);
    if (unsent || door->send_short)
        deadline_ns = min_u64(deadline_ns, door->now_ns + DOOR_SEND_RETRY_NS);
    if (door->readers_lazy.first != DOOR_NONE)
        deadline_ns = min_u64(deadline_ns, door->epoch_end_ns);
    if (door->stopping)
        deadline_ns = min_u64(deadline_ns, door->now_ns + NS_PER_MS);
    return deadline_ns;
}

static struct tile_report
door_poll(void *tile, uint64_t now_ns)
{
    struct door *door = tile;
    struct tile_report report = {0};

    door->now_ns = now_ns;
    door->send_short = false;
    /* Pairs with door_stop(). */
    if (UNLIKELY(atomic_load_explicit(&door->stop, memory_order_acquire) != 0))
        door_go_on_stopping(door);
    /* Grants first: a client's HELLO cannot come before its grant was in the ring. */
    report.work = door_session__take_grants(door);
    uint32_t received = door_receive__run(door);
    report.work += received + door_forward__receive(door);
    door_link__publish(door); /* batches first: the log tile may begin */
    report.work += door_link__drain(door);
    if (door->kick) {
        door->kick = false;
        door_receive__retry(door);
    }
    door_share_room(door);
    report.work += door_expire(door);
    door_call__issue(door);
    door_read__issue(door);
    report.work += door_transmit__run(door);
    door_read__issue(door); /* what was sent made room */
    door_link__publish(door);
    bool unsent = door_transmit__flush(door);
    if (door->nic->wait_fd >= 0 && received == 0)
        door_wait_for_datagrams(door);
    door_publish_gauges(door);
    report.deadline_ns = door_deadline(door, received, report.work, unsent);
    return report;
}

static void
door_complete(void *tile, uint64_t tag, int32_t result)
{
    struct door *door = tile;

    (void)tag;
    (void)result; /* an error is seen by the next receive */
    door->is_waiting = false;
}

static bool
door_has_work(void *tile)
{
    struct door *door = tile;

    bool waiters = door->stuck.first != DOOR_NONE || door->readers_queued.first != DOOR_NONE ||
                   door->calls_queued.first != DOOR_NONE;
    if ((door->active.first != DOOR_NONE && !door->send_short) || (door->kick && waiters))
        return true;
    for (uint32_t i = 0; i <= door->config.log_tile_count; i++)
        if (!ring_is_empty(door->links[i].responses))
            return true;
    if (!ring_is_empty(door->config.grants) || !door_forward__is_empty(door))
        return true;
    /* Pairs with door_stop(). */
    return atomic_load_explicit(&door->stop, memory_order_acquire) != 0 && !door->stopping;
}

const struct tile_ops door_tile_ops = {
    .poll = door_poll,
    .complete = door_complete,
    .has_work = door_has_work,
};
