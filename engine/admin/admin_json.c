/* The JSON documents. Counters are totals since start; pages compute rates from two readings. */
#include "engine/admin/admin_internal.h"

#include <stdio.h>

static void
set_count(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void
set_counter(json_t *object, const char *name, const _Atomic uint64_t *value)
{
    set_count(object, name, admin__get(value));
}

/* ---- topics */

struct topic_sums {
    uint64_t records_in;
    uint64_t bytes_in;
    uint32_t unserved; /* not open, fenced or halted */
};

/* Why a partition does not take records, or "online". */
static const char *
partition_state(const struct control_partition_view *view, const struct metrics_partition *metrics)
{
    static const char *const states[] = {"online", "fenced", "halted"};
    uint64_t state = metrics != NULL ? admin__get(&metrics->state) : 0;

    if (view->slot == UINT32_MAX)
        return "offline";
    if (view->rc == RC_HALTED)
        return "halted";
    if (view->rc == RC_FENCED)
        return "fenced";
    return states[state < ARRAY_COUNT(states) ? state : 0];
}

static json_t *
build_partition(const struct control_partition_view *view, const struct metrics_partition *metrics)
{
    json_t *object = json_object();

    set_count(object, "partition", view->partition);
    json_object_set_new(object, "state", json_string(partition_state(view, metrics)));
    if (view->rc != RC_OK)
        json_object_set_new(object, "reason", json_string(rc_text(view->rc)));
    set_count(object, "log_tile", view->log_tile);
    json_object_set_new(object, "leader_epoch", json_integer(view->leader_epoch));
    if (metrics == NULL)
        return object;
    set_counter(object, "start_offset", &metrics->start_offset);
    set_counter(object, "high_watermark", &metrics->high_watermark);
    set_counter(object, "records_in", &metrics->records_in);
    set_counter(object, "bytes_in", &metrics->bytes_in);
    set_counter(object, "batches_in", &metrics->batches_in);
    return object;
}

static json_t *
build_topic(const struct admin *admin,
            const struct control *control,
            const struct control_topic_view *view)
{
    json_t *object = json_object();
    json_t *partitions = admin->want_partitions ? json_array() : NULL;
    struct topic_sums sums = {0};
    char id[33];

    for (uint32_t i = 0; i < view->partition_count; i++) {
        struct control_partition_view partition;
        control_partition(control, view, i, &partition);
        const struct metrics_partition *metrics = admin__partition_metrics(admin, &partition);
        sums.unserved += strcmp(partition_state(&partition, metrics), "online") != 0;
        if (metrics != NULL) {
            sums.records_in += admin__get(&metrics->records_in);
            sums.bytes_in += admin__get(&metrics->bytes_in);
        }
        if (partitions != NULL)
            json_array_append_new(partitions, build_partition(&partition, metrics));
    }
    for (uint32_t i = 0; i < 16; i++)
        snprintf(id + (size_t)2 * i, sizeof(id) - (size_t)2 * i, "%02x", view->id[i]);
    json_object_set_new(object, "name", json_string(view->name));
    json_object_set_new(object, "id", json_string(id));
    json_object_set_new(object, "durability", json_string(view->is_memory ? "memory" : "device"));
    json_object_set_new(object, "internal", json_boolean(view->is_internal));
    json_object_set_new(object, "retention_ms", json_integer(view->retention_ms));
    json_object_set_new(object, "created_ms", json_integer(view->created_ms));
    set_count(object, "partition_count", view->partition_count);
    set_count(object, "partitions_unserved", sums.unserved);
    set_count(object, "records_in", sums.records_in);
    set_count(object, "bytes_in", sums.bytes_in);
    if (partitions != NULL)
        json_object_set_new(object, "partitions", partitions);
    return object;
}

void
admin__build_topics(struct control *control, void *ctx)
{
    struct admin *admin = ctx;
    json_t *topics = json_array();
    struct control_topic_view view;
    uint32_t cursor = 0;

    while (control_next_topic(control, &cursor, &view))
        json_array_append_new(topics, build_topic(admin, control, &view));
    admin->document = json_object();
    json_object_set_new(admin->document, "cluster_id", json_string(control_cluster_id(control)));
    json_object_set_new(admin->document, "topics", topics);
}

/* ---- tiles */

static json_t *
build_gate(const struct gate *gate)
{
    const struct gate_counters *counters = gate_counters(gate);
    const struct gate_gauges *gauges = gate_gauges(gate);
    json_t *object = json_object();

    set_counter(object, "connections", &gauges->connections);
    set_counter(object, "requests_under_way", &gauges->requests);
    set_counter(object, "fetches_parked", &gauges->fetches_waiting);
    set_counter(object, "connections_accepted", &counters->connections_accepted);
    set_counter(object, "connections_refused", &counters->connections_refused);
    set_counter(object, "requests_produce", &counters->requests_produce);
    set_counter(object, "requests_fetch", &counters->requests_fetch);
    set_counter(object, "requests_other", &counters->requests_other);
    set_counter(object, "batches", &counters->batches);
    set_counter(object, "batch_bytes", &counters->batch_bytes);
    set_counter(object, "batches_refused", &counters->batches_refused);
    set_counter(object, "fetch_bytes", &counters->fetch_bytes);
    set_counter(object, "received_bytes", &counters->received_bytes);
    set_counter(object, "sent_bytes", &counters->sent_bytes);
    return object;
}

/* The upper edge of the bucket that holds the q-th part of all values, in microseconds. */
static uint64_t
quantile_us(const struct histogram *histogram, uint64_t per_thousand)
{
    uint64_t count = histogram_count(histogram);
    uint64_t below = 0;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && count > 0; i++) {
        below += admin__get(&histogram->buckets[i]);
        if (below * 1000 >= count * per_thousand)
            return histogram_edge(i + 1) / NS_PER_US;
    }
    return 0;
}

static void
add_log_metrics(json_t *object, const struct metrics_tile *metrics)
{
    const struct histogram *latency = &metrics->histograms[METRIC_COMMIT_GROUP_LATENCY];

    set_count(object, "records_appended", metrics_get(metrics, METRIC_RECORDS_APPENDED));
    set_count(object, "bytes_appended", metrics_get(metrics, METRIC_BYTES_APPENDED));
    set_count(object, "commit_groups", metrics_get(metrics, METRIC_COMMIT_GROUPS));
    set_count(object, "commit_p50_us", quantile_us(latency, 500));
    set_count(object, "commit_p99_us", quantile_us(latency, 990));
    set_count(object, "reads_tail", metrics_get(metrics, METRIC_READS_TAIL));
    set_count(object, "reads_cold", metrics_get(metrics, METRIC_READS_COLD));
    set_count(object, "partitions_online", metrics_get(metrics, METRIC_PARTITIONS_ONLINE));
    set_count(object, "partitions_fenced", metrics_get(metrics, METRIC_PARTITIONS_FENCED));
    set_count(object, "partitions_halted", metrics_get(metrics, METRIC_PARTITIONS_HALTED));
    set_count(object, "unflushed_bytes", metrics_get(metrics, METRIC_UNFLUSHED_BYTES));
}

static json_t *
build_log(const struct admin *admin, uint32_t idx)
{
    const struct broker_counters *counters = &admin->config.brokers[idx]->counters;
    json_t *object = json_object();

    set_counter(object, "requests", &counters->requests);
    set_counter(object, "appends_again", &counters->appends_again);
    set_counter(object, "reads_deferred", &counters->reads_deferred);
    set_counter(object, "marks", &counters->marks);
    if (admin->config.log_metrics[idx] != NULL)
        add_log_metrics(object, admin->config.log_metrics[idx]);
    return object;
}

static json_t *
build_control(const struct admin *admin)
{
    const struct control_counters *counters = control_counters(admin->config.control);
    const struct control_gauges *gauges = control_gauges(admin->config.control);
    json_t *object = json_object();

    set_counter(object, "topics", &gauges->topics);
    set_counter(object, "partitions", &gauges->partitions);
    set_counter(object, "partitions_failed", &gauges->partitions_failed);
    set_counter(object, "calls", &counters->calls);
    set_counter(object, "calls_refused", &counters->calls_refused);
    set_counter(object, "operations", &counters->operations);
    set_counter(object, "operations_failed", &counters->operations_failed);
    set_counter(object, "metadata_batches", &counters->metadata_batches);
    set_counter(object, "disk_jobs", &counters->disk_jobs);
    set_counter(object, "disk_jobs_failed", &counters->disk_jobs_failed);
    set_counter(object, "disk_job_ns", &counters->disk_job_ns);
    return object;
}

static json_t *
build_net(const struct door *door, const struct nic *nic)
{
    const struct door_counters *counters = door_counters(door);
    const struct door_gauges *gauges = door_gauges(door);
    json_t *object = json_object();

    json_object_set_new(object, "carrier", json_string(nic->body_name));
    set_count(object, "port", nic->port);
    set_counter(object, "sessions", &gauges->sessions);
    set_counter(object, "subscriptions", &gauges->subscriptions);
    set_counter(object, "batches", &counters->batches);
    set_counter(object, "batch_bytes", &counters->batch_bytes);
    set_counter(object, "batches_refused", &counters->batches_refused);
    set_counter(object, "commits", &counters->commits);
    set_counter(object, "fetched_bytes", &counters->fetched_bytes);
    set_counter(object, "calls", &counters->calls);
    set_counter(object, "retransmitted", &counters->retransmitted);
    set_counter(object, "dropped_no_room", &counters->no_room);
    set_counter(object, "dropped_no_credit", &counters->no_credit);
    set_counter(object, "dropped_forged", &counters->forged);
    set_counter(object, "dropped_unknown_session", &counters->unknown_session);
    set_counter(object, "forwarded", &counters->wrong_tile);
    set_counter(object, "received_packets", &nic->counters.received_packets);
    set_counter(object, "received_bytes", &nic->counters.received_bytes);
    set_counter(object, "sent_packets", &nic->counters.sent_packets);
    set_counter(object, "sent_bytes", &nic->counters.sent_bytes);
    set_counter(object, "syscalls", &nic->counters.syscalls);
    return object;
}

static json_t *
build_exchange(const struct exchange *exchange)
{
    const struct exchange_counters *counters = exchange_counters(exchange);
    json_t *object = json_object();

    set_counter(object, "sessions", &counters->sessions);
    set_counter(object, "accepted", &counters->accepted);
    set_counter(object, "granted", &counters->granted);
    set_counter(object, "refused_credentials", &counters->refused_credentials);
    set_counter(object, "refused_limit", &counters->refused_limit);
    set_counter(object, "failed_tls", &counters->failed_tls);
    return object;
}

static json_t *
build_tile(const struct admin *admin, const struct tile *tile)
{
    json_t *object = json_object();
    uint32_t idx;

    json_object_set_new(object, "name", json_string(tile->name));
    set_counter(object, "busy_ns", &tile->times.busy_ns);
    set_counter(object, "polls", &tile->times.polls);
    set_counter(object, "polls_idle", &tile->times.polls_idle);
    set_counter(object, "work", &tile->times.work);
    switch (admin__owner(admin, tile, &idx)) {
    case METRICS_GATE:
        json_object_set_new(object, "gate", build_gate(admin->config.gates[idx]));
        break;
    case METRICS_LOG:
        json_object_set_new(object, "log", build_log(admin, idx));
        break;
    case METRICS_NET:
        json_object_set_new(
            object, "native", build_net(admin->config.doors[idx], admin->config.nics[idx]));
        break;
    case METRICS_EXCHANGE:
        json_object_set_new(object, "exchange", build_exchange(admin->config.exchange));
        break;
    case METRICS_CONTROL:
        json_object_set_new(object, "control", build_control(admin));
        break;
    case METRICS_COMPACT:
        break;
    }
    return object;
}

static json_t *
build_recovery(const struct recover_report *report)
{
    json_t *object = json_object();

    set_count(object, "tiles_found", report->tiles_found);
    set_count(object, "tiles_clean", report->tiles_clean);
    set_count(object, "partitions", report->partitions);
    set_count(object, "partitions_halted", report->partitions_halted);
    set_count(object, "groups_replayed", report->groups_replayed);
    set_count(object, "batches_replayed", report->batches_replayed);
    set_count(object, "bytes_replayed", report->bytes_replayed);
    set_count(object, "files_removed", report->files_removed);
    return object;
}

json_t *
admin__build_tiles(struct admin *admin)
{
    json_t *document = json_object();
    json_t *cores = json_array();
    uint64_t now_ns = clock_now_ns(&admin->clock);

    for (uint32_t c = 0; c < admin->config.core_count; c++) {
        const struct core *core = admin->config.cores[c];
        json_t *object = json_object();
        json_t *tiles = json_array();
        for (uint32_t t = 0; t < core->tile_count; t++)
            json_array_append_new(tiles, build_tile(admin, &core->tiles[t]));
        set_count(object, "core", c);
        set_counter(object, "sleep_ns", &core->sleep_ns);
        set_counter(object, "wakes", &core->wakes);
        json_object_set_new(object, "tiles", tiles);
        json_array_append_new(cores, object);
    }
    json_object_set_new(document, "version", json_string(admin->config.version));
    set_count(document, "uptime_ns", now_ns - admin->begin_ns);
    set_count(document, "now_ns", now_ns);
    json_object_set_new(document, "cores", cores);
    if (admin->config.recovered != NULL)
        json_object_set_new(document, "recovery", build_recovery(admin->config.recovered));
    return document;
}
