/* The gate as a tile. One poll, in this order: accept, responses, those who waited, newly received
 * bytes, fetches, requests out in one burst, replies, deadlines. Everything per poll is bounded by
 * what the rings, slots and connections bound. */
#include "net/gate/gate_internal.h"

#include <errno.h>

#define GATE_ALIGN 4096u
/* A woken fetch needs two rounds: one to decide, one to send what it decided. */
#define GATE_ISSUE_ROUNDS 4u

/* Memory is laid out by one function for both questions: how much, and where. */
struct gate_layout {
    uint8_t *memory; /* NULL: only count */
    uint64_t at;
};

static void *
layout_take(struct gate_layout *layout, uint64_t bytes, uint64_t align)
{
    layout->at = round_up(layout->at, align);
    void *at = layout->memory == NULL ? NULL : layout->memory + layout->at;
    layout->at += bytes;
    return at;
}

void
gate_limits_default(struct gate_limits *limits, uint64_t budget_bytes)
{
    uint64_t pool_bytes = round_down(budget_bytes * 3 / 8, BUDDY_BLOCK_MIN);

    *limits = (struct gate_limits){
        .connections_max = 1024,
        .connection_requests_max = 128,
        .requests_max = 8192,
        .request_bytes_max = 100 * 1024 * 1024,
        .request_whole_bytes_max = 1024 * 1024,
        .fetch_bytes_max = 1024 * 1024,
        .fetches_max = 2048,
        .fetch_partitions_max = 16384,
        .topics_max = 4096,
        .partitions_max = 16384,
        .ingest_bytes = pool_bytes,
        .response_bytes = pool_bytes,
        .idle_ns = 600 * NS_PER_S,
        .fetch_wait_ns = 30 * NS_PER_S,
        .progress_ns = 30 * NS_PER_S,
        .stop_ns = 5 * NS_PER_S,
        .quota_entities_max = 1024,
        .quota_clients_max = 4096,
    };
}

static uint32_t
gate_pool_blocks(const struct gate_limits *limits)
{
    return (uint32_t)min_u64(limits->ingest_bytes / BUDDY_BLOCK_MIN,
                             GATE_BLOCKS_MAX - 1 - limits->connections_max);
}

/* Bookkeeping of large requests: small beside the data pools, and apart from them so that data
 * cannot use it up. */
static uint64_t
gate_state_bytes(const struct gate_limits *limits)
{
    return round_up(max_u64(limits->response_bytes / 4, 4 * MIB), BUDDY_BLOCK_MIN);
}

static void
gate_lay_slab(struct gate_layout *layout, struct slab *slab, size_t object_bytes, uint32_t count)
{
    uint32_t bytes = (uint32_t)round_up(object_bytes, 64);
    void *memory = layout_take(layout, slab_footprint(bytes, count), 64);

    if (memory != NULL)
        slab_init(slab, memory, bytes, count);
}

static void
gate_lay_buddy(struct gate_layout *layout, struct buddy *pool, uint64_t bytes)
{
    void *bookkeeping = layout_take(layout, buddy_footprint(bytes), 64);
    void *region = layout_take(layout, bytes, GATE_ALIGN);

    if (region != NULL)
        buddy_init(pool, bookkeeping, region, bytes);
}

static void
gate_lay_quotas(struct gate_layout *layout, const struct gate_config *config, struct gate *gate)
{
    const struct quota_table_config quotas = {
        .entities_max = config->limits.quota_entities_max,
        .clients_max = config->limits.quota_clients_max,
        .share = config->gate_count == 0 ? 1 : config->gate_count,
        .seed = layout->memory == NULL ? 0 : clock_random(config->clock),
    };
    void *memory = layout_take(layout, quota_table_footprint(&quotas), 64);

    if (memory != NULL)
        quota_table_init(&gate->quotas, memory, &quotas);
}

/* Places every part behind the struct; with layout->memory == NULL gate may be NULL too. */
static void
gate_lay_out(struct gate_layout *layout, const struct gate_config *config, struct gate *gate)
{
    const struct gate_limits *limits = &config->limits;
    struct gate nowhere;
    struct gate *to = gate == NULL ? &nowhere : gate;
    uint32_t connections = limits->connections_max;

    gate_lay_slab(layout, &to->connections, sizeof(struct gate_connection), connections);
    gate_lay_slab(layout, &to->slots, sizeof(struct gate_slot), limits->requests_max);
    gate_lay_slab(layout, &to->fetches, sizeof(struct gate_fetch), limits->fetches_max);
    gate_lay_slab(layout, &to->pool_blocks, sizeof(struct gate_block), gate_pool_blocks(limits));
    to->base_blocks = layout_take(layout, (uint64_t)connections * sizeof(struct gate_block), 64);
    to->heap = layout_take(layout, (uint64_t)limits->fetches_max * sizeof(uint32_t), 64);
    to->interests = layout_take(layout,
                                (uint64_t)config->log_tile_count * limits->partitions_max *
                                    sizeof(struct gate_interest),
                                64);
    void *topics = layout_take(
        layout, topic_table_footprint(limits->topics_max, limits->partitions_max), 64);
    if (topics != NULL)
        topic_table_init(&to->topics,
                         topics,
                         limits->topics_max,
                         limits->partitions_max,
                         clock_random(config->clock));
    gate_lay_quotas(layout, config, to);
    gate_lay_buddy(layout, &to->ingest, limits->ingest_bytes);
    gate_lay_buddy(layout, &to->response, limits->response_bytes);
    gate_lay_buddy(layout, &to->state, gate_state_bytes(limits));
    uint8_t *base = layout_take(layout, (uint64_t)connections * GATE_BASE_BYTES, GATE_ALIGN);
    for (uint32_t i = 0; base != NULL && i < connections; i++)
        to->base_blocks[i] = (struct gate_block){.at = base + (size_t)i * GATE_BASE_BYTES,
                                                 .bytes = GATE_BASE_BYTES};
    to->send_memory = layout_take(layout, (uint64_t)connections * GATE_SEND_BYTES, GATE_ALIGN);
    to->scratch_bytes = kafka_arena_bytes(GATE_FETCH_REQUEST_BYTES_MAX);
    to->scratch = layout_take(layout, to->scratch_bytes, 64);
}

uint64_t
gate_footprint(const struct gate_config *config)
{
    struct gate_layout layout = {.at = sizeof(struct gate)};

    gate_lay_out(&layout, config, NULL);
    return round_up(layout.at, GATE_ALIGN);
}

struct gate_range {
    const char *name;
    uint64_t value;
    uint64_t min;
    uint64_t max;
};

static enum rc
gate_check_limits(const struct gate_config *config, struct diag_trail *trail)
{
    const struct gate_limits *limits = &config->limits;
    const struct gate_range ranges[] = {
        {"connections.max", limits->connections_max, 1, 16384},
        {"connection.requests_max", limits->connection_requests_max, 64, 4096},
        {"gate.requests_max", limits->requests_max, 64, GATE_SLOTS_MAX},
        {"request.bytes_max", limits->request_bytes_max, 64 * KIB, INT32_MAX},
        {"request.whole_bytes_max", limits->request_whole_bytes_max, 16 * KIB, 8 * MIB},
        {"fetch.bytes_max", limits->fetch_bytes_max, 4 * KIB, 16 * MIB},
        {"fetch.parked_max", limits->fetches_max, 1, 65536},
        {"fetch.partitions_max", limits->fetch_partitions_max, 1, 65536},
        {"topics.max", limits->topics_max, 1, 1u << 20},
        {"partitions.max", limits->partitions_max, 1, 1u << 24},
        {"gate.ingest_bytes", limits->ingest_bytes, 64 * KIB, 64 * GIB},
        {"gate.response_bytes", limits->response_bytes, 64 * KIB, 64 * GIB},
        {"quota.entities_max", limits->quota_entities_max, 1, 1u << 20},
        {"quota.clients_max", limits->quota_clients_max, 1, 1u << 20},
        {"log tiles", config->log_tile_count, 1, LOG_TILES_MAX},
    };

    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
        if (ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max)
            continue;
        diag_trail_add(trail,
                       "%s is %llu, allowed is %llu to %llu",
                       ranges[i].name,
                       (unsigned long long)ranges[i].value,
                       (unsigned long long)ranges[i].min,
                       (unsigned long long)ranges[i].max);
        return RC_INVALID;
    }
    if (limits->ingest_bytes % BUDDY_BLOCK_MIN != 0 ||
        limits->response_bytes % BUDDY_BLOCK_MIN != 0) {
        diag_trail_add(trail, "pool sizes must be multiples of 4 KiB");
        return RC_INVALID;
    }
    return RC_OK;
}

static void
gate_link_init(struct gate_link *link, const struct gate_link_config *config)
{
    uint32_t slots = config->responses->slot_count;

    CHECK(config->requests->slot_bytes == sizeof(struct request));
    CHECK(config->responses->slot_bytes == sizeof(struct response));
    *link = (struct gate_link){
        .requests = config->requests,
        .responses = config->responses,
        .waker = config->waker,
        .notify_at_ns = NO_DEADLINE,
        .credits_max = slots > 2 * GATE_LINK_RESERVE ? slots - GATE_LINK_RESERVE : slots / 2,
    };
}

enum rc
gate_init(void *memory,
          const struct gate_config *config,
          struct gate **ret_gate,
          struct diag_trail *trail)
{
    struct gate *gate = memory;
    struct gate_layout layout = {.memory = memory, .at = sizeof(struct gate)};
    const struct gate_list empty = {GATE_NONE, GATE_NONE};
    enum rc rc = gate_check_limits(config, trail);

    if (rc != RC_OK)
        return rc;
    CHECK((uintptr_t)memory % GATE_ALIGN == 0);
    gate->config = *config;
    gate->now_ns = clock_now_ns(config->clock);
    gate_lay_out(&layout, config, gate);
    gate->ready = gate->send = gate->wait = empty;
    gate->issue = gate->response_wait = gate->control_wait = empty;
    gate->sweep_at_ns = NO_DEADLINE;
    gate->stop_deadline_ns = NO_DEADLINE;
    gate->muted_first = GATE_NONE;
    gate->unmute_at_ns = NO_DEADLINE;
    for (uint32_t i = 0; i < config->log_tile_count; i++)
        gate_link_init(&gate->links[i], &config->logs[i]);
    gate_link_init(&gate->links[config->log_tile_count], &config->control);
    *ret_gate = gate;
    return RC_OK;
}

void
gate_fini(struct gate *gate)
{
    if (gate == NULL)
        return;
    for (uint32_t i = 0; i < gate->config.limits.connections_max; i++) {
        struct gate_connection *connection = gate__connection(gate, i);
        if (connection->state == CONNECTION_FREE || connection->state == CONNECTION_CLOSED)
            continue;
        tcp_close(gate->config.tcp, connection->fd);
        connection->state = CONNECTION_FREE;
    }
}

bool
gate_adopt(struct gate *gate, int fd)
{
    gate->now_ns = clock_now_ns(gate->config.clock);
    return connection__open(gate, fd);
}

void
gate_stop(struct gate *gate)
{
    /* Pairs with the acquire in gate_poll(). */
    atomic_store_explicit(&gate->stop, 1, memory_order_release);
}

bool
gate_is_stopped(const struct gate *gate)
{
    /* Pairs with the release in gate_poll(). */
    return atomic_load_explicit(&gate->stopped, memory_order_acquire) != 0;
}

const struct gate_counters *
gate_counters(const struct gate *gate)
{
    return &gate->counters;
}

const struct gate_gauges *
gate_gauges(const struct gate *gate)
{
    return &gate->gauges;
}

/* Keeps one accept under way; after an error not before GATE_ACCEPT_RETRY_NS, so that a full
 * descriptor table does not spin. */
static void
gate_accept(struct gate *gate)
{
    struct io_request request = {
        .tag = io_tag(gate->config.io_tile, GATE_TAG_ACCEPT),
        .op = IO_ACCEPT,
        .fd = gate->config.listener_fd,
    };

    if (gate->accepting || gate->stopping || gate->config.listener_fd < 0 ||
        gate->now_ns < gate->accept_at_ns)
        return;
    gate->accepting = io_submit(gate->config.io, &request);
}

static COLD void
gate_accept_failed(struct gate *gate, int32_t error)
{
    gate__count(&gate->counters.accept_errors, 1);
    if (error == EMFILE || error == ENFILE)
        gate__count_label(gate, CONNECTIONS_REFUSED, METRIC_TURNED_AWAY_DESCRIPTORS);
    else if (error == ENOMEM || error == ENOBUFS)
        gate__count_label(gate, CONNECTIONS_REFUSED, METRIC_TURNED_AWAY_MEMORY);
}

static void
gate_accepted(struct gate *gate, int32_t result)
{
    gate->accepting = false;
    if (result < 0) {
        if (!gate->stopping)
            gate_accept_failed(gate, -result);
        gate->accept_at_ns = gate->now_ns + GATE_ACCEPT_RETRY_NS;
        return;
    }
    if (!gate->stopping && connection__open(gate, result))
        return;
    gate__count(&gate->counters.connections_refused, 1);
    gate__count_label(gate,
                      CONNECTIONS_REFUSED,
                      gate->stopping ? METRIC_TURNED_AWAY_SHUTDOWN : METRIC_TURNED_AWAY_LIMIT);
    tcp_shutdown(gate->config.tcp, result);
    tcp_close(gate->config.tcp, result);
}

static void
gate_complete(void *tile, uint64_t tag, int32_t result)
{
    struct gate *gate = tile;
    uint64_t kind = tag & GATE_TAG_KIND & IO_TAG_OWN_MASK;
    uint32_t idx = (uint32_t)tag;

    gate->now_ns = clock_now_ns(gate->config.clock);
    if (kind == GATE_TAG_RECEIVE)
        connection__received(gate, idx, result);
    else if (kind == GATE_TAG_SEND)
        connection__sent(gate, idx, result);
    else
        gate_accepted(gate, result);
}

/* Everything on the list now; what is put on it meanwhile waits for the next poll. */
static uint32_t
gate_run_ready(struct gate *gate)
{
    uint32_t idx = gate->ready.first;
    uint32_t count = 0;

    gate->ready.first = GATE_NONE;
    while (idx != GATE_NONE) {
        struct gate_connection *connection = gate__connection(gate, idx);
        uint32_t next = connection->next_ready;
        uint64_t begun_ns = quota__time_begin(gate);
        connection->queued_ready = false;
        intake__run(gate, idx);
        quota__time_end(gate, idx, begun_ns);
        idx = next;
        count++;
    }
    return count;
}

static uint32_t
gate_run_send(struct gate *gate)
{
    uint32_t idx = gate->send.first;
    uint32_t count = 0;

    gate->send.first = GATE_NONE;
    while (idx != GATE_NONE) {
        struct gate_connection *connection = gate__connection(gate, idx);
        uint32_t next = connection->next_send;
        uint64_t begun_ns = quota__time_begin(gate);
        connection->queued_send = false;
        slot__send(gate, idx);
        quota__time_end(gate, idx, begun_ns);
        idx = next;
        count++;
    }
    return count;
}

/* Lets those who wait try again, in their order. The first who gets no receive memory keeps all
 * behind him from taking any. */
static void
gate_run_wait(struct gate *gate)
{
    uint32_t idx = gate->wait.first;

    gate->wait.first = GATE_NONE;
    gate->ingest_short = false;
    while (idx != GATE_NONE) {
        struct gate_connection *connection = gate__connection(gate, idx);
        uint32_t next = connection->next_wait;
        connection->queued_wait = false;
        if (connection->wait != WAIT_NONE)
            intake__run(gate, idx);
        if (connection->wait == WAIT_INGEST)
            gate->ingest_short = true;
        idx = next;
    }
    gate->ingest_short = false;
}

static void
gate_sweep(struct gate *gate)
{
    uint64_t nearest = NO_DEADLINE;

    if (gate->now_ns < gate->sweep_at_ns)
        return;
    for (uint32_t i = 0; i < gate->config.limits.connections_max; i++) {
        const struct gate_connection *connection = gate__connection(gate, i);
        uint64_t deadline = connection__deadline(gate, connection);
        if (deadline <= gate->now_ns)
            connection__expire(gate, i);
        else
            nearest = min_u64(nearest, deadline);
    }
    /* Never more often than GATE_SWEEP_NS: the price of a sweep grows with the connections. */
    gate->sweep_at_ns = nearest == NO_DEADLINE ? NO_DEADLINE
                                               : max_u64(nearest, gate->now_ns + GATE_SWEEP_NS);
}

static COLD void
gate_begin_stop(struct gate *gate)
{
    gate->stopping = true;
    gate->stop_deadline_ns = gate->now_ns + gate->config.limits.stop_ns;
    if (gate->accepting)
        tcp_shutdown(gate->config.tcp, gate->config.listener_fd);
    fetch__stop(gate);
}

/* Connections that stand between two requests read no more; the others go on until they do, or time
 * is up. */
static COLD void
gate_go_on_stopping(struct gate *gate)
{
    bool force = gate->now_ns >= gate->stop_deadline_ns;

    for (uint32_t i = 0; i < gate->config.limits.connections_max && gate->connection_count > 0;
         i++) {
        struct gate_connection *connection = gate__connection(gate, i);
        bool between = connection->intake == INTAKE_HEADER &&
                       (connection->parse == connection->end || connection->muted);
        if (connection->state == CONNECTION_OPEN && between)
            connection__drain(gate, i);
        if (force)
            connection__close(gate, i, GATE_CLOSE_STOP);
        else
            connection__drained(gate, i);
    }
    if (gate->connection_count == 0 && !gate->accepting)
        /* Pairs with gate_is_stopped(). */
        atomic_store_explicit(&gate->stopped, 1, memory_order_release);
}

static void
gate_publish_gauges(struct gate *gate)
{
    struct gate_gauges *gauges = &gate->gauges;

    atomic_store_explicit(&gauges->connections, gate->connection_count, memory_order_relaxed);
    atomic_store_explicit(&gauges->requests, gate->slots.used, memory_order_relaxed);
    atomic_store_explicit(&gauges->fetches, gate->fetches.used, memory_order_relaxed);
    atomic_store_explicit(&gauges->fetches_waiting, gate->parked_count, memory_order_relaxed);
    atomic_store_explicit(
        &gauges->ingest_used_bytes, gate->ingest.used_bytes, memory_order_relaxed);
    atomic_store_explicit(
        &gauges->response_used_bytes, gate->response.used_bytes, memory_order_relaxed);
    atomic_store_explicit(&gauges->connections_muted, gate->muted_count, memory_order_relaxed);
    atomic_store_explicit(&gauges->clients_muted, gate->clients_muted, memory_order_relaxed);
}

static struct tile_report
gate_poll(void *tile, uint64_t now_ns)
{
    struct gate *gate = tile;
    struct tile_report report = {.deadline_ns = NO_DEADLINE};

    gate->now_ns = now_ns;
    /* Pairs with gate_stop(). */
    if (UNLIKELY(atomic_load_explicit(&gate->stop, memory_order_acquire) != 0) && !gate->stopping)
        gate_begin_stop(gate);
    gate_accept(gate);
    report.work = link__drain(gate);
    if (gate->kick) {
        gate->kick = false;
        control_request__retry(gate);
        fetch__serve_memory(gate);
        gate_run_wait(gate);
    }
    report.work += quota__unmute(gate);
    report.work += gate_run_ready(gate);
    report.deadline_ns = fetch__expire(gate);
    bool stuck = false;
    for (uint32_t round = 0; round < GATE_ISSUE_ROUNDS && gate->issue.first != GATE_NONE && !stuck;
         round++)
        stuck = !fetch__issue(gate);
    link__publish(gate);
    report.work += gate_run_send(gate);
    gate_sweep(gate);
    if (UNLIKELY(gate->stopping)) {
        gate_go_on_stopping(gate);
        report.deadline_ns = min_u64(report.deadline_ns, now_ns + GATE_SWEEP_NS);
    }
    gate_publish_gauges(gate);
    gate->issue_now = gate->issue.first != GATE_NONE && !stuck;
    report.deadline_ns = min_u64(report.deadline_ns,
                                 min_u64(gate->sweep_at_ns, gate->unmute_at_ns));
    report.deadline_ns = min_u64(report.deadline_ns, gate->links[link__control(gate)].notify_at_ns);
    if (!gate->accepting && !gate->stopping && gate->config.listener_fd >= 0)
        report.deadline_ns = min_u64(report.deadline_ns,
                                     max_u64(gate->accept_at_ns, now_ns + NS_PER_MS));
    return report;
}

static bool
gate_has_work(void *tile)
{
    struct gate *gate = tile;

    bool waiters = gate->wait.first != GATE_NONE || gate->response_wait.first != GATE_NONE ||
                   gate->control_wait.first != GATE_NONE;

    if ((gate->kick && waiters) || gate->issue_now || gate->ready.first != GATE_NONE ||
        gate->send.first != GATE_NONE)
        return true;
    for (uint32_t i = 0; i <= gate->config.log_tile_count; i++)
        if (!ring_is_empty(gate->links[i].responses))
            return true;
    /* Pairs with gate_stop(). */
    return atomic_load_explicit(&gate->stop, memory_order_acquire) != 0 && !gate->stopping;
}

const struct tile_ops gate_tile_ops = {
    .poll = gate_poll,
    .complete = gate_complete,
    .has_work = gate_has_work,
};
