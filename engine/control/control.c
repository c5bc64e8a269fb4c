/* Life and poll of the control tile. A poll takes what has come (log tiles' answers first: they
 * free credits), lets boot, calls, operations and the metadata log advance as far as they can, runs
 * some disk jobs, and announces what it put into rings. What finds no room stays where it is;
 * `retry` then asks for an early poll, for the few kinds of room that no ring announces. */
#include "engine/control/control_internal.h"

#define REGION_ALIGN 4096u

_Static_assert(CONTROL_BUILD_BYTES % REGION_ALIGN == 0, "reply follows build without a gap");

struct layout {
    uint64_t store;
    uint64_t places;
    uint64_t topics;
    uint64_t opens;
    uint64_t operations;
    uint64_t calls;
    uint64_t call_lists;
    uint64_t internal_batches;
    uint64_t groups;
    uint64_t transactions;
    uint64_t backlogs;
    uint64_t metadata;
    uint64_t pool_pages;
    uint64_t pool;
    uint64_t build;
    uint64_t reply;
    uint64_t found;
    uint64_t bytes;
};

static uint64_t
region(uint64_t *at, uint64_t bytes)
{
    uint64_t begin = *at;

    *at = begin + round_up(bytes, REGION_ALIGN);
    return begin;
}

static struct topic_store_config
store_config(const struct control_config *config)
{
    return (struct topic_store_config){
        .topics_max = config->limits.topics_max,
        .partitions_max = config->limits.partitions_max,
        .quota_entities_max = config->limits.quota_entities_max,
    };
}

static struct layout
layout_of(const struct control_config *config)
{
    const struct control_limits *limits = &config->limits;
    struct topic_store_config store = store_config(config);
    struct layout layout;
    uint64_t at = round_up(sizeof(struct control), REGION_ALIGN);

    layout.store = region(&at, topic_store_footprint(&store));
    layout.places = region(&at, sizeof(struct control_place) * (uint64_t)limits->partitions_max);
    layout.topics = region(&at, sizeof(struct control_topic) * (uint64_t)limits->topics_max);
    layout.opens = region(&at, slab_footprint(sizeof(struct control_open), CONTROL_OPENS_MAX));
    layout.operations = region(&at,
                               sizeof(struct control_operation) * (uint64_t)limits->operations_max);
    layout.calls = region(&at, sizeof(struct control_call) * (uint64_t)limits->calls_max);
    layout.call_lists = region(&at, 2 * sizeof(uint32_t) * (uint64_t)limits->calls_max);
    layout.internal_batches = region(&at,
                                     2 * INTERNAL_LOGS * (uint64_t)CONTROL_INTERNAL_BATCH_BYTES);
    layout.groups = region(&at, groups_footprint(&limits->groups));
    layout.transactions = region(&at, coordinator_footprint(&limits->transactions));
    layout.backlogs = region(
        &at, sizeof(struct request) * REQUEST_RING_SLOTS * (uint64_t)config->gate_count);
    layout.metadata = region(&at, CONTROL_METADATA_BYTES);
    layout.pool_pages = region(&at, buddy_footprint(limits->pool_bytes));
    layout.pool = region(&at, limits->pool_bytes);
    layout.build = region(&at, CONTROL_BUILD_BYTES);
    layout.reply = region(&at, CONTROL_REPLY_BYTES);
    layout.found = region(&at, CONTROL_FIND_BYTES);
    layout.bytes = at;
    return layout;
}

uint64_t
control_footprint(const struct control_config *config)
{
    return layout_of(config).bytes;
}

/* A limit outside of its range is the configuration's fault, not a bug. */
static enum rc
check_limits(const struct control_config *config, struct diag_trail *trail)
{
    const struct control_limits *limits = &config->limits;
    const char *bad = NULL;

    if (config->gate_count > CONTROL_GATES_MAX)
        bad = "gates";
    else if (config->log_tile_count == 0 || config->log_tile_count > LOG_TILES_MAX)
        bad = "log tiles";
    else if (limits->topics_max == 0 || limits->topics_max > 1000000)
        bad = "topics_max";
    else if (limits->partitions_max == 0 || limits->partitions_max > (1u << 24))
        bad = "partitions_max";
    else if (limits->topic_partitions_max == 0)
        bad = "topic.partitions_max";
    else if (config->default_partitions == 0 ||
             config->default_partitions > limits->topic_partitions_max)
        bad = "topic.partitions_default";
    else if (limits->calls_max == 0 || limits->calls_max > 4096)
        bad = "calls_max of control";
    else if (limits->operations_max < 2 || limits->operations_max > 4096)
        bad = "operations_max of control";
    else if (limits->pool_bytes < CONTROL_POOL_BYTES_MIN ||
             limits->pool_bytes % BUDDY_BLOCK_MIN != 0)
        bad = "pool_bytes of control";
    else if (config->producer_block == 0)
        bad = "producer.id_block";
    if (bad == NULL)
        return RC_OK;
    diag_trail_add(trail, "%s is out of range", bad);
    return RC_INVALID;
}

static void
place_regions(struct control *control, uint8_t *base)
{
    struct layout layout = layout_of(&control->config);
    struct topic_store_config store = store_config(&control->config);

    store.hash_seed = clock_random(control->config.clock);
    topic_store_init(&control->store, base + layout.store, &store);
    control->places = (struct control_place *)(void *)(base + layout.places);
    control->topics = (struct control_topic *)(void *)(base + layout.topics);
    slab_init(&control->opens, base + layout.opens, sizeof(struct control_open), CONTROL_OPENS_MAX);
    control->operations = (struct control_operation *)(void *)(base + layout.operations);
    control->calls = (struct control_call *)(void *)(base + layout.calls);
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++)
        control->operations[i].state = OPERATION_FREE;
    control->calls_free = (uint32_t *)(void *)(base + layout.call_lists);
    control->calls_ready = control->calls_free + control->config.limits.calls_max;
    for (uint32_t i = 0; i < control->config.limits.calls_max; i++) {
        control->calls[i].state = CALL_FREE;
        control->calls_free[i] = i;
    }
    for (uint32_t i = 0; i < 2 * INTERNAL_LOGS; i++)
        control->internal[i / 2].batches[i % 2] = base + layout.internal_batches +
                                                  (size_t)i * CONTROL_INTERNAL_BATCH_BYTES;
    for (uint32_t i = 0; i < control->config.gate_count; i++)
        control->backlogs[i].requests = (struct request *)(void *)(base + layout.backlogs) +
                                        (size_t)i * REQUEST_RING_SLOTS;
    control->metadata.batch = base + layout.metadata;
    buddy_init(&control->pool,
               base + layout.pool_pages,
               base + layout.pool,
               control->config.limits.pool_bytes);
    control->build = base + layout.build;
    control->reply = base + layout.reply;
    control->found = base + layout.found;
    control->unpack = control->build;
}

enum rc
control_init(void *memory,
             const struct control_config *config,
             struct control **ret_control,
             struct diag_trail *trail)
{
    struct control *control = memory;
    enum rc rc = check_limits(config, trail);

    CHECK(((uintptr_t)memory & (REGION_ALIGN - 1)) == 0);
    if (rc != RC_OK)
        return rc;
    *control = (struct control){.config = *config};
    place_regions(control, memory);
    struct layout layout = layout_of(&control->config);
    rc = control__groups_init(control, (uint8_t *)memory + layout.groups, trail);
    if (rc == RC_OK)
        rc = control__transactions_init(control, (uint8_t *)memory + layout.transactions, trail);
    if (rc != RC_OK)
        return rc;
    control__broker_begin(control);
    atomic_store_explicit(&control->state, CONTROL_BOOTING, memory_order_relaxed);
    *ret_control = control;
    return RC_OK;
}

/* ---- what other threads see */

enum control_state
control_state(const struct control *control)
{
    /* Acquire pairs with the releases of the state. */
    return (enum control_state)atomic_load_explicit(&control->state, memory_order_acquire);
}

const char *
control_failure(const struct control *control)
{
    return control_state(control) == CONTROL_FAILED ? control->failure : "";
}

void
control_drain(struct control *control)
{
    /* Release pairs with the acquire in poll_drain(). */
    atomic_store_explicit(&control->drain_asked, 1, memory_order_release);
}

void
control_stop(struct control *control)
{
    /* Release pairs with the acquire in poll_stop(). */
    atomic_store_explicit(&control->stop_asked, 1, memory_order_release);
}

const struct control_counters *
control_counters(const struct control *control)
{
    return &control->counters;
}

const struct control_gauges *
control_gauges(const struct control *control)
{
    return &control->gauges;
}

bool
control_ask(struct control *control, const struct control_question *question, struct waker *waker)
{
    uint32_t asked = atomic_load_explicit(&control->asked, memory_order_relaxed); /* ours alone */

    if (!control_answered(control))
        return false;
    control->question = *question;
    /* Release pairs with the acquire in poll_question(): the question is there before the count. */
    atomic_store_explicit(&control->asked, asked + 1, memory_order_release);
    if (waker != NULL)
        waker_notify(waker);
    return true;
}

bool
control_answered(const struct control *control)
{
    /* Acquire pairs with the release in poll_question(): what the question wrote is there. */
    return atomic_load_explicit(&control->answered, memory_order_acquire) ==
           atomic_load_explicit(&control->asked, memory_order_relaxed);
}

static void
view_topic(const struct control *control, const struct topic *topic, struct control_topic_view *ret)
{
    const struct topic_config *broker = &control->config.broker;

    *ret = (struct control_topic_view){
        .name = topic->name,
        .id = topic->id,
        .partition_count = control__visible(control, topic),
        .is_memory = topic_config_number(&topic->config, broker, TOPIC_CONFIG_DURABILITY) ==
                     TOPIC_DURABILITY_MEMORY,
        .is_internal = topic->name[0] == '_' && topic->name[1] == '_',
        .created_ms = topic->created_ms,
        .retention_ms = topic_config_number(&topic->config, broker, TOPIC_CONFIG_RETENTION_MS),
        .topic_idx = topic->idx,
    };
}

bool
control_next_topic(const struct control *control, uint32_t *cursor, struct control_topic_view *ret)
{
    const struct topic *topic = topic_store_next(&control->store, *cursor);

    while (topic != NULL && control__visible(control, topic) == 0)
        topic = topic_store_next(&control->store, topic->idx + 1);
    if (topic == NULL)
        return false;
    *cursor = topic->idx + 1;
    view_topic(control, topic, ret);
    return true;
}

bool
control_find_topic(const struct control *control, struct bytes name, struct control_topic_view *ret)
{
    const struct topic *topic = topic_store_find(&control->store, name);

    if (topic == NULL || control__visible(control, topic) == 0)
        return false;
    view_topic(control, topic, ret);
    return true;
}

enum rc
control_disk_facts(const struct control *control, struct disk_facts *ret_facts)
{
    if (control->config.disk == NULL)
        return RC_NOT_FOUND;
    return disk_facts(control->config.disk, ret_facts);
}

const struct groups *
control_groups(const struct control *control)
{
    return control->groups;
}

const struct coordinator *
control_transactions(const struct control *control)
{
    return control->transactions;
}

void
control_partition(const struct control *control,
                  const struct control_topic_view *topic,
                  uint32_t partition,
                  struct control_partition_view *ret)
{
    uint32_t place = topic_store_partition(
        &control->store, &control->store.topics[topic->topic_idx], partition);

    CHECK(place != TOPIC_NONE);
    const struct control_place *entry = &control->places[place];
    *ret = (struct control_partition_view){
        .partition = partition,
        .incarnation = entry->incarnation,
        .log_tile = entry->log_tile,
        .slot = entry->slot,
        .leader_epoch = entry->leader_epoch,
        .rc = (enum rc)entry->rc,
    };
}

/* ---- the cluster's name as clients see it: 22 characters of URL-safe base64 without padding */

void
control__cluster_text(struct control *control)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *id = control->store.cluster_id;

    for (uint32_t i = 0; i < 22; i++) {
        uint32_t bit = i * 6;
        uint32_t pair = (uint32_t)id[bit / 8] << 8 | (bit / 8 + 1 < 16 ? id[bit / 8 + 1] : 0u);
        control->cluster_text[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    control->cluster_text[22] = 0;
}

const char *
control_cluster_id(const struct control *control)
{
    return control->config.cluster_id[0] != 0 ? control->config.cluster_id : control->cluster_text;
}

/* ---- poll */

static void
take_request(struct control *control, uint32_t gate, const struct request *request)
{
    struct control_backlog *backlog = &control->backlogs[gate];

    CHECK(request->requester == gate + 1);
    if (request->kind == REQUEST_TOPIC_SEEN) {
        CHECK(backlog->snapshots > 0);
        backlog->snapshots--;
        control__snapshot_let_go(control, (const void *)(uintptr_t)request->ctx);
        return;
    }
    CHECK(request->kind == REQUEST_KAFKA);
    CHECK(backlog->count < REQUEST_RING_SLOTS); /* a gate has at most as many unanswered requests */
    backlog->requests[(backlog->first + backlog->count) % REQUEST_RING_SLOTS] = *request;
    backlog->count++;
}

static void
gates_drain(struct control *control)
{
    struct request request;

    for (uint32_t i = 0; i < control->config.gate_count; i++) {
        for (uint32_t n = 0; n < CONTROL_REQUESTS_PER_POLL; n++) {
            if (ring_pop(control->config.gates[i].requests, &request, 1) == 0)
                break;
            take_request(control, i, &request);
            control->work++;
        }
    }
}

static void
gates_notify(struct control *control)
{
    for (uint32_t i = 0; i < control->config.gate_count; i++) {
        if (!control->gate_notify[i])
            continue;
        control->gate_notify[i] = false;
        if (control->config.gates[i].waker != NULL)
            waker_notify(control->config.gates[i].waker);
    }
}

static void
poll_question(struct control *control)
{
    /* Acquire pairs with the release in control_ask(). */
    uint32_t asked = atomic_load_explicit(&control->asked, memory_order_acquire);

    if (asked == atomic_load_explicit(&control->answered, memory_order_relaxed))
        return;
    struct control_question question =
        control->question; /* the next may come as soon as this is answered */
    question.run(control, question.ctx);
    /* Release pairs with the acquire in control_answered(). */
    atomic_store_explicit(&control->answered, asked, memory_order_release);
    if (question.done != NULL)
        question.done(question.ctx);
    control->work++;
}

static void
send_stop(struct control *control)
{
    struct request request = {.kind = REQUEST_STOP, .ctx = control__tag(TAG_STOP, 0, 0)};

    while (control->stop_sent < control->config.log_tile_count) {
        if (!control__log_send(control, control->stop_sent, &request))
            return;
        control->stop_sent++;
    }
    if (control->stop_answered == control->config.log_tile_count) {
        atomic_store_explicit(&control->state, CONTROL_STOPPED, memory_order_release);
        control->work++;
    }
}

static void
poll_drain(struct control *control)
{
    /* Acquire pairs with the release in control_drain(). Repeated: late requests are parked, too.
     */
    if (atomic_load_explicit(&control->drain_asked, memory_order_acquire) != 0)
        groups_unpark(control->groups);
}

/* A log tile must not be stopped under a call, an operation or the boot: they would wait for
 * answers that may not come. */
static void
poll_stop(struct control *control)
{
    enum control_state state = control_state(control);

    /* Acquire pairs with the release in control_stop(). */
    if (atomic_load_explicit(&control->stop_asked, memory_order_acquire) == 0 ||
        state == CONTROL_BOOTING || state == CONTROL_STOPPED)
        return;
    if (state != CONTROL_STOPPING) {
        atomic_store_explicit(&control->state, CONTROL_STOPPING, memory_order_release);
        control->work++;
    }
    if (control->call_count == 0 && control->operation_count == 0)
        send_stop(control);
}

static void
poll_internal_logs(struct control *control)
{
    if (control_state(control) != CONTROL_READY)
        return;
    for (uint32_t i = 0; i < INTERNAL_LOGS; i++)
        control__internal_log_poll(control, &control->internal[i]);
}

static void
publish_gauges(struct control *control)
{
    struct control_gauges *gauges = &control->gauges;

    atomic_store_explicit(&gauges->topics, control->store.topic_count, memory_order_relaxed);
    atomic_store_explicit(
        &gauges->partitions, control->store.partition_count, memory_order_relaxed);
    atomic_store_explicit(&gauges->calls, control->call_count, memory_order_relaxed);
    atomic_store_explicit(&gauges->operations, control->operation_count, memory_order_relaxed);
    atomic_store_explicit(&gauges->pool_used_bytes, control->pool.used_bytes, memory_order_relaxed);
}

static struct tile_report
control_poll(void *object, uint64_t now_ns)
{
    struct control *control = object;

    control->work = 0;
    control->retry = false;
    control__logs_drain(control);
    gates_drain(control);
    control__boot_poll(control);
    control__calls_poll(control);
    control__operations_poll(control);
    control__metadata_poll(control);
    poll_internal_logs(control);
    control__jobs_poll(control);
    poll_question(control);
    poll_drain(control);
    poll_stop(control);
    control__logs_notify(control);
    gates_notify(control);
    if (control->work > 0)
        publish_gauges(control);
    return (struct tile_report){
        .work = control->work,
        .deadline_ns = control->retry || control->ready_count > 0
                           ? now_ns + CONTROL_RETRY_NS
                           : control__internal_logs_deadline(control),
    };
}

static bool
control_has_work(void *object)
{
    struct control *control = object;

    for (uint32_t i = 0; i < control->config.gate_count; i++) {
        if (!ring_is_empty(control->config.gates[i].requests))
            return true;
    }
    for (uint32_t i = 0; i < control->config.log_tile_count; i++) {
        const struct control_log_link *link = &control->config.logs[i];
        if (!ring_is_empty(link->responses) || (link->jobs != NULL && !ring_is_empty(link->jobs)))
            return true;
    }
    if (atomic_load_explicit(&control->drain_asked, memory_order_acquire) != 0 &&
        control->call_count > 0)
        return true;
    if (atomic_load_explicit(&control->stop_asked, memory_order_acquire) != 0 &&
        control->stop_sent == 0 && control_state(control) != CONTROL_STOPPED)
        return true;
    return !control_answered(control);
}

const struct tile_ops control_tile_ops = {
    .poll = control_poll,
    .has_work = control_has_work,
};
