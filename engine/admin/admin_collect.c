/* Gathers what the tiles count, each in its own way, into one struct metrics_tile per tile, and
 * exports them. Copies are made relaxed: each value is true for itself, and a little old. */
#include "engine/admin/admin_internal.h"

static void
copy_source(struct metrics_tile *copy, const struct metrics_tile *source)
{
    if (source == NULL)
        return;
    for (uint32_t i = 0; i < METRICS_VALUE_COUNT; i++)
        atomic_store_explicit(
            &copy->values[i], admin__get(&source->values[i]), memory_order_relaxed);
    for (uint32_t h = 0; h < METRICS_HISTOGRAM_COUNT; h++) {
        atomic_store_explicit(
            &copy->histograms[h].sum, admin__get(&source->histograms[h].sum), memory_order_relaxed);
        for (uint32_t b = 0; b < HISTOGRAM_BUCKETS; b++)
            atomic_store_explicit(&copy->histograms[h].buckets[b],
                                  admin__get(&source->histograms[h].buckets[b]),
                                  memory_order_relaxed);
    }
}

static void
collect_times(struct metrics_tile *copy, const struct core *core, const struct tile *tile)
{
    uint64_t busy_ns = admin__get(&tile->times.busy_ns);

    metrics_set(copy, METRIC_TILE_BUSY_NS, busy_ns);
    metrics_set(copy, METRIC_TILE_IDLE_NS, admin__get(&core->sleep_ns));
    metrics_set(copy, METRIC_TILE_POLLS, admin__get(&tile->times.polls));
    metrics_set(copy, METRIC_TILE_POLLS_IDLE, admin__get(&tile->times.polls_idle));
    metrics_set(copy, METRIC_TILE_WAKES, admin__get(&core->wakes));
}

/* The gate's reasons for closing, as the metric's label names them. */
static const enum metric_closed closed_labels[GATE_CLOSE_COUNT] = {
    [GATE_CLOSE_PEER] = METRIC_CLOSED_PEER,
    [GATE_CLOSE_IO] = METRIC_CLOSED_ERROR,
    [GATE_CLOSE_FRAME] = METRIC_CLOSED_OVERSIZE,
    [GATE_CLOSE_UNSUPPORTED] = METRIC_CLOSED_UNSUPPORTED,
    [GATE_CLOSE_MALFORMED] = METRIC_CLOSED_MALFORMED,
    [GATE_CLOSE_UNPROVEN] = METRIC_CLOSED_OVERSIZE,
    [GATE_CLOSE_LIMIT] = METRIC_CLOSED_LIMIT,
    [GATE_CLOSE_ACKS_NONE] = METRIC_CLOSED_ERROR,
    [GATE_CLOSE_IDLE] = METRIC_CLOSED_IDLE,
    [GATE_CLOSE_PROGRESS] = METRIC_CLOSED_PROGRESS,
    [GATE_CLOSE_STOP] = METRIC_CLOSED_SHUTDOWN,
};

static void
collect_gate(struct metrics_tile *copy, const struct gate *gate)
{
    const struct gate_counters *counters = gate_counters(gate);
    const struct gate_gauges *gauges = gate_gauges(gate);
    uint64_t closed[METRIC_CLOSED_ERROR + 1] = {0};

    for (uint32_t i = 0; i < GATE_CLOSE_COUNT; i++)
        closed[closed_labels[i]] += admin__get(&counters->connections_closed[i]);
    for (uint32_t i = 0; i <= METRIC_CLOSED_ERROR; i++)
        metrics_set_label(copy, CONNECTIONS_CLOSED, i, closed[i]);
    metrics_set(copy, METRIC_CONNECTIONS_OPEN, admin__get(&gauges->connections));
    metrics_set(copy, METRIC_CONNECTIONS_ACCEPTED, admin__get(&counters->connections_accepted));
    metrics_set(copy, METRIC_BYTES_RECEIVED, admin__get(&counters->received_bytes));
    metrics_set(copy, METRIC_BYTES_SENT, admin__get(&counters->sent_bytes));
    metrics_set(copy, METRIC_INGEST_BYTES_USED, admin__get(&gauges->ingest_used_bytes));
    metrics_set(copy, METRIC_RESPONSE_BYTES_USED, admin__get(&gauges->response_used_bytes));
    metrics_set(copy, METRIC_INGEST_WAITS, admin__get(&counters->waits_ingest));
    metrics_set(copy, METRIC_RESPONSE_WAITS, admin__get(&counters->waits_response));
    metrics_set(copy, METRIC_RING_FULL, admin__get(&counters->waits_link));
    metrics_set(copy, METRIC_FETCHES_PARKED, admin__get(&gauges->fetches_waiting));
    for (uint32_t i = 0; i < QUOTA_KIND_COUNT; i++) {
        metrics_set_label(copy, QUOTA_THROTTLES, i, admin__get(&counters->quota_throttles[i]));
        metrics_set_label(copy, QUOTA_THROTTLE_NS, i, admin__get(&counters->quota_throttle_ns[i]));
    }
    metrics_set(copy, METRIC_QUOTA_CONNECTIONS, admin__get(&gauges->connections_muted));
    metrics_set(copy, METRIC_QUOTA_CLIENTS, admin__get(&gauges->clients_muted));
    metrics_set(copy, METRIC_QUOTA_SHARED, admin__get(&counters->quota_shared));
}

static void
collect_rings(struct metrics_tile *copy, const struct broker *broker)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < broker->requester_count; i++)
        used += ring_used(broker->requesters[i].link.request);
    metrics_set(copy, METRIC_RING_USED, used);
}

struct dropped_row {
    enum metric_dropped label;
    const _Atomic uint64_t *counter;
};

static void
collect_dropped(struct metrics_tile *copy, const struct door_counters *counters)
{
    const struct dropped_row rows[] = {
        {METRIC_DROPPED_UNKNOWN, &counters->unknown_session},
        {METRIC_DROPPED_MALFORMED, &counters->malformed},
        {METRIC_DROPPED_ADDRESS, &counters->address_wrong},
        {METRIC_DROPPED_COOKIE, &counters->cookies_bad},
        {METRIC_DROPPED_FORGED, &counters->forged},
        {METRIC_DROPPED_REPLAYED, &counters->replayed},
        {METRIC_DROPPED_DUPLICATE, &counters->duplicates},
        {METRIC_DROPPED_CREDIT, &counters->no_credit},
        {METRIC_DROPPED_ROOM, &counters->no_room},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        metrics_set_label(copy, NATIVE_PACKETS_DROPPED, rows[i].label, admin__get(rows[i].counter));
}

static void
collect_door(struct metrics_tile *copy, const struct door *door)
{
    const struct door_counters *counters = door_counters(door);
    const struct door_gauges *gauges = door_gauges(door);

    collect_dropped(copy, counters);
    metrics_set(copy, METRIC_NATIVE_SESSIONS, admin__get(&gauges->sessions));
    metrics_set(copy, METRIC_NATIVE_SESSIONS_OPENED, admin__get(&counters->sessions_opened));
    metrics_set(copy, METRIC_NATIVE_SESSIONS_CLOSED, admin__get(&counters->sessions_closed));
    metrics_set(copy, METRIC_NATIVE_HELLOS, admin__get(&counters->hellos));
    metrics_set(copy, METRIC_NATIVE_RETRIES, admin__get(&counters->retries));
    metrics_set(copy, METRIC_NATIVE_PACKETS_FORWARDED, admin__get(&counters->wrong_tile));
    metrics_set(copy, METRIC_NATIVE_RETRANSMITTED, admin__get(&counters->retransmitted));
    metrics_set(copy, METRIC_NATIVE_BATCHES, admin__get(&counters->batches));
    metrics_set(copy, METRIC_NATIVE_BATCH_BYTES, admin__get(&counters->batch_bytes));
    metrics_set(copy, METRIC_NATIVE_COMMITS, admin__get(&counters->commits));
    metrics_set(copy, METRIC_NATIVE_FETCHED_BYTES, admin__get(&counters->fetched_bytes));
    metrics_set(copy, METRIC_NATIVE_SUBSCRIPTIONS, admin__get(&gauges->subscriptions));
    metrics_set(copy, METRIC_NATIVE_CALLS, admin__get(&counters->calls));
    metrics_set(copy, METRIC_NATIVE_SLOTS_USED, admin__get(&gauges->packets_used));
}

static void
collect_nic(struct metrics_tile *copy, const struct nic *nic)
{
    const struct nic_counters *counters = &nic->counters;

    metrics_set(copy, METRIC_NATIVE_PACKETS_RECEIVED, admin__get(&counters->received_packets));
    metrics_set(copy, METRIC_NATIVE_BYTES_RECEIVED, admin__get(&counters->received_bytes));
    metrics_set(copy, METRIC_NATIVE_PACKETS_SENT, admin__get(&counters->sent_packets));
    metrics_set(copy, METRIC_NATIVE_BYTES_SENT, admin__get(&counters->sent_bytes));
    metrics_set_label(
        copy, NATIVE_PACKETS_LOST, METRIC_LOST_CARRIER, admin__get(&counters->receive_missed));
    metrics_set_label(
        copy, NATIVE_PACKETS_LOST, METRIC_LOST_BUFFER, admin__get(&counters->receive_no_buffer));
    metrics_set_label(
        copy, NATIVE_PACKETS_LOST, METRIC_LOST_MALFORMED, admin__get(&counters->receive_malformed));
    metrics_set_label(
        copy, NATIVE_PACKETS_LOST, METRIC_LOST_FOREIGN, admin__get(&counters->receive_foreign));
    metrics_set(copy,
                METRIC_NATIVE_PACKETS_UNSENT,
                admin__get(&counters->send_dropped) + admin__get(&counters->send_errors));
    metrics_set(copy, METRIC_NATIVE_SYSCALLS, admin__get(&counters->syscalls));
}

static void
collect_exchange(struct metrics_tile *copy, const struct exchange *exchange)
{
    const struct exchange_counters *counters = exchange_counters(exchange);
    const uint64_t refused[] = {
        [METRIC_JOIN_REFUSED_LIMIT] = admin__get(&counters->refused_limit),
        [METRIC_JOIN_REFUSED_CREDENTIALS] = admin__get(&counters->refused_credentials),
        [METRIC_JOIN_REFUSED_PROTOCOL] = admin__get(&counters->refused_protocol),
        [METRIC_JOIN_REFUSED_BUSY] = admin__get(&counters->refused_busy),
        [METRIC_JOIN_REFUSED_TLS] = admin__get(&counters->failed_tls),
        [METRIC_JOIN_REFUSED_TIMEOUT] = admin__get(&counters->timed_out),
    };

    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        metrics_set_label(copy, NATIVE_JOINS_REFUSED, i, refused[i]);
    metrics_set(copy, METRIC_NATIVE_JOINS, admin__get(&counters->accepted));
    metrics_set(copy, METRIC_NATIVE_GRANTS, admin__get(&counters->granted));
    metrics_set(copy, METRIC_NATIVE_CONNECTIONS, admin__get(&counters->sessions));
}

void
admin__collect(struct admin *admin)
{
    uint32_t at = 0;
    uint32_t idx;

    for (uint32_t c = 0; c < admin->config.core_count; c++) {
        const struct core *core = admin->config.cores[c];
        for (uint32_t t = 0; t < core->tile_count; t++, at++) {
            struct metrics_tile *copy = &admin->tiles[at];
            switch (admin__owner(admin, &core->tiles[t], &idx)) {
            case METRICS_GATE:
                copy_source(copy, admin->config.gate_metrics[idx]);
                collect_gate(copy, admin->config.gates[idx]);
                break;
            case METRICS_LOG:
                copy_source(copy, admin->config.log_metrics[idx]);
                collect_rings(copy, admin->config.brokers[idx]);
                break;
            case METRICS_NET:
                copy_source(copy, admin->config.door_metrics[idx]);
                collect_door(copy, admin->config.doors[idx]);
                collect_nic(copy, admin->config.nics[idx]);
                break;
            case METRICS_EXCHANGE:
                copy_source(copy, admin->config.exchange_metrics);
                collect_exchange(copy, admin->config.exchange);
                break;
            case METRICS_CONTROL:
                copy_source(copy, admin->config.control_metrics);
                break;
            case METRICS_COMPACT: /* its times alone */
                break;
            }
            collect_times(copy, core, &core->tiles[t]);
        }
    }
}

/* Next partition that its log tile counts for, in the order of topics. */
static bool
next_partition(struct admin *admin, struct metrics_partition_row *ret)
{
    for (;;) {
        struct control_partition_view view;
        if (admin->walk_partition >= admin->walk_topic.partition_count) {
            admin->walk_partition = 0;
            if (!control_next_topic(admin->walked, &admin->walk_cursor, &admin->walk_topic))
                return false;
        }
        control_partition(admin->walked, &admin->walk_topic, admin->walk_partition, &view);
        admin->walk_partition++;
        ret->topic = admin->walk_topic.name;
        ret->partition = view.partition;
        ret->values = admin__partition_metrics(admin, &view);
        if (ret->values != NULL)
            return true;
    }
}

/* The exporter goes through the list from 0 on, once per metric. */
static bool
partition_at(void *ctx, uint32_t index, struct metrics_partition_row *ret)
{
    struct admin *admin = ctx;

    if (index == 0) {
        admin->walk_cursor = 0;
        admin->walk_partition = 0;
        admin->walk_topic = (struct control_topic_view){0};
    }
    return next_partition(admin, ret);
}

/* The same for committed offsets; those of partitions that are not there lag nothing and are passed
 * over. */
static bool
group_at(void *ctx, uint32_t index, struct metrics_group_row *ret)
{
    struct admin *admin = ctx;
    struct admin_offset offset;

    if (index == 0)
        admin__begin_offsets(admin, admin->walked);
    if (index == ADMIN_LAG_OFFSETS_MAX)
        return false;
    do {
        if (!admin__next_offset(admin, &offset))
            return false;
    } while (offset.end == NULL);
    *ret = (struct metrics_group_row){
        .group = offset.group,
        .topic = offset.offset.topic,
        .partition = offset.offset.partition,
        .values = {[METRIC_GROUP_LAG_RECORDS] = offset.lag_records,
                   [METRIC_GROUP_LAG_SECONDS] = offset.lag_ms},
    };
    return true;
}

/* What nobody counts, in the copy of control's counters that is about to be exported. */
static void
collect_asked(struct admin *admin, const struct control *control)
{
    const struct groups *groups = control_groups(control);
    struct disk_facts facts = {.free_bytes = 0};
    struct group_view view;
    uint64_t offsets = 0;
    uint32_t cursor = 0;
    enum rc rc = control_disk_facts(control, &facts);

    while (groups != NULL && groups_next(groups, &cursor, &view))
        offsets += view.offset_count;
    for (uint32_t i = 0; i < admin->tile_count; i++) {
        if (admin->tiles[i].owner != METRICS_CONTROL)
            continue;
        metrics_set(&admin->tiles[i],
                    METRIC_GROUP_LAG_LEFT_OUT,
                    offsets > ADMIN_LAG_OFFSETS_MAX ? offsets - ADMIN_LAG_OFFSETS_MAX : 0);
        if (rc != RC_OK)
            continue;
        metrics_set(&admin->tiles[i], METRIC_DISK_FREE_BYTES, facts.free_bytes);
        metrics_set(&admin->tiles[i], METRIC_DISK_TOTAL_BYTES, facts.total_bytes);
    }
}

void
admin__export(struct control *control, void *ctx)
{
    struct admin *admin = ctx;
    struct writer writer = writer_over(admin->text, ADMIN_TEXT_BYTES);
    struct metrics_export_config config = {
        .tiles = admin->tile_list,
        .tile_count = admin->tile_count,
        .partition_at = partition_at,
        .group_at = group_at,
        .ctx = admin,
    };

    admin__sample_lag(admin, control);
    collect_asked(admin, control);
    admin->walked = control;
    metrics_export(&config, &writer);
    if (writer.failed) {
        /* Too many partitions for one page: the tiles' values are worth more than none. */
        writer = writer_over(admin->text, ADMIN_TEXT_BYTES);
        config.partition_at = NULL;
        config.group_at = NULL;
        metrics_export(&config, &writer);
    }
    admin->text_bytes = writer_count(&writer);
}
