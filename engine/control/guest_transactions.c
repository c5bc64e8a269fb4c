/* The transaction coordinator as a guest of control: its hooks, its log `__transaction_state`, its
 * metrics. Its orders go to the log tiles of their partitions, those for the offsets of groups to
 * the group coordinator. */
#include "engine/control/control_internal.h"

static struct coordinator *
guest(const struct control *control)
{
    return control->transactions;
}

struct transaction_time
control__transaction_time(const struct control *control)
{
    return (struct transaction_time){.now_ns = clock_now_ns(control->config.clock),
                                     .wall_ms = clock_wall_ms(control->config.clock)};
}

/* ---- hooks */

static bool
hook_append(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number)
{
    struct control *control = ctx;
    const struct record record = {
        .timestamp_ms = clock_wall_ms(control->config.clock), .key = key, .value = value};

    return control__internal_log_append(
        control, &control->internal[INTERNAL_LOG_TRANSACTIONS], &record, ret_number);
}

static bool
hook_producer_id(void *ctx, int64_t *ret_id)
{
    struct control *control = ctx;

    *ret_id = -1;
    return control->metadata.failed || control__producer_id(control, ret_id);
}

/* ---- orders */

/* The end of a transaction at the group coordinator, once that has read its log. */
static enum transaction_order_result
order_groups(struct control *control, const struct transaction_order *order)
{
    const struct group_transaction_end end = {.token = order->ticket,
                                              .producer_id = order->producer_id,
                                              .producer_epoch = order->producer_epoch,
                                              .is_commit = order->is_commit};
    enum internal_log_state state = control->internal[INTERNAL_LOG_GROUPS].state;

    if (order->kind == TRANSACTION_ADMIT)
        return TRANSACTION_ORDER_DONE;
    if (state != INTERNAL_LOG_READY) {
        control->retry |= state != INTERNAL_LOG_FAILED;
        return TRANSACTION_ORDER_BUSY;
    }
    control->ending = (struct control_ending){.is_asking = true};
    groups_end_transaction(control->groups, &end, control__group_time(control));
    control->ending.is_asking = false;
    if (!control->ending.is_answered)
        return TRANSACTION_ORDER_SENT;
    return control->ending.rc == RC_OK ? TRANSACTION_ORDER_DONE : TRANSACTION_ORDER_BUSY;
}

void
control__transaction_ended(void *ctx, uint64_t token, enum rc rc)
{
    struct control *control = ctx;

    if (control->ending.is_asking) {
        control->ending.is_answered = true;
        control->ending.rc = rc;
        return;
    }
    coordinator_ordered(guest(control), (uint32_t)token, rc, control__transaction_time(control));
}

int16_t
control__transaction_check(void *ctx, const struct kafka_txn_offset_commit_request *request)
{
    const struct control *control = ctx;

    if (control->internal[INTERNAL_LOG_TRANSACTIONS].state != INTERNAL_LOG_READY)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    return coordinator_check_offsets(
        guest(control), request->transactional_id, request->producer_id, request->producer_epoch);
}

/* Grows with each unclean start, like any partition's leader epoch: a coordinator that comes back
 * is never taken for an older one. */
int32_t
control__coordinator_epoch(struct control *control)
{
    if (control->internal[INTERNAL_LOG_TRANSACTIONS].state != INTERNAL_LOG_READY)
        return 0;
    const struct control_place *place = control__place(
        control, control->internal[INTERNAL_LOG_TRANSACTIONS].place);

    return place->leader_epoch < 0 ? 0 : place->leader_epoch;
}

static enum transaction_order_result
hook_order(void *ctx, const struct transaction_order *order)
{
    struct control *control = ctx;
    const struct topic *topic = topic_store_find(&control->store, order->topic);

    /* What was deleted needs to be told nothing. */
    if (topic == NULL || order->partition >= topic->partition_count)
        return TRANSACTION_ORDER_DONE;
    if (control__internal_log_owns(control, topic))
        return control__same(order->topic, control__text(TRANSACTION_OFFSETS_TOPIC))
                   ? order_groups(control, order)
                   : TRANSACTION_ORDER_DONE;
    uint32_t idx = topic_store_partition(&control->store, topic, order->partition);
    if (idx == TOPIC_NONE)
        return TRANSACTION_ORDER_DONE;
    const struct control_place *place = control__place(control, idx);
    const struct request request = {
        .kind = order->kind == TRANSACTION_ADMIT ? REQUEST_TXN_ADMIT : REQUEST_TXN_MARKER,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .ctx = control__tag(TAG_ORDER, 0, order->ticket),
        .u.transaction = {.producer_id = order->producer_id,
                          .wall_ms = clock_wall_ms(control->config.clock),
                          .coordinator_epoch = control__coordinator_epoch(control),
                          .producer_epoch = order->producer_epoch,
                          .is_commit = order->is_commit},
    };
    /* Not open: its records are safe where they are, and so is the order until a restart. */
    if (place->slot == UINT32_MAX)
        return order->kind == TRANSACTION_ADMIT ? TRANSACTION_ORDER_DONE : TRANSACTION_ORDER_BUSY;
    return control__log_send(control, place->log_tile, &request) ? TRANSACTION_ORDER_SENT
                                                                 : TRANSACTION_ORDER_BUSY;
}

void
control__transactions_ordered(struct control *control,
                              uint32_t ticket,
                              const struct response *response)
{
    coordinator_ordered(
        guest(control), ticket, (enum rc)response->rc, control__transaction_time(control));
}

/* ---- the log */

static enum rc
log_replay(struct control *control, struct bytes key, struct bytes value, struct diag_trail *trail)
{
    return coordinator_replay(guest(control), key, value, trail);
}

static void
log_loaded(struct control *control)
{
    coordinator_loaded(guest(control), control__transaction_time(control));
}

static void
log_durable(struct control *control, uint64_t number, enum rc rc)
{
    coordinator_durable(guest(control), number, rc, control__transaction_time(control));
}

static bool
log_rewrite(struct control *control, uint64_t *cursor)
{
    return coordinator_rewrite(guest(control), cursor);
}

static void
log_tick(struct control *control)
{
    int64_t oldest_ms = coordinator_oldest_ms(guest(control));

    coordinator_tick(guest(control), control__transaction_time(control));
    /* So that the gauge of its age is published although nothing else happens. */
    control->work += coordinator_oldest_ms(guest(control)) != oldest_ms;
}

static uint64_t
log_deadline(const struct control *control)
{
    return coordinator_deadline(guest(control));
}

static void
log_metrics(struct control *control)
{
    struct metrics_tile *metrics = control->config.metrics;
    const struct coordinator_counters *counters = coordinator_counters(guest(control));
    int64_t oldest_ms = coordinator_oldest_ms(guest(control));
    int64_t age_ms = clock_wall_ms(control->config.clock) - oldest_ms;

    if (metrics == NULL)
        return;
    for (uint32_t state = 0; state < TRANSACTION_STATES; state++)
        metrics_set_label(metrics,
                          TRANSACTIONS,
                          state,
                          coordinator_count(guest(control), (enum transaction_state)state));
    metrics_set(metrics,
                METRIC_TRANSACTION_AGE_MS,
                oldest_ms == INT64_MAX || age_ms < 0 ? 0 : (uint64_t)age_ms);
    metrics_set(metrics, METRIC_TRANSACTION_COMMITS, counters->commits);
    metrics_set_label(metrics, TRANSACTION_ABORTS, 0, counters->aborts_asked);
    metrics_set_label(metrics, TRANSACTION_ABORTS, 1, counters->aborts_fenced);
    metrics_set_label(metrics, TRANSACTION_ABORTS, 2, counters->aborts_expired);
    metrics_set(metrics, METRIC_TRANSACTION_ORDERS_REPEATED, counters->orders_repeated);
    metrics_set(metrics, METRIC_TRANSACTION_REFUSED, counters->refused);
    metrics_set(metrics, METRIC_TRANSACTION_IDS_EXPIRED, counters->ids_expired);
    metrics_set(metrics, METRIC_TRANSACTION_LIMITS_REACHED, counters->limits_reached);
}

static const struct internal_log_kind log_kind = {
    .topic = "__transaction_state",
    .replay = log_replay,
    .loaded = log_loaded,
    .durable = log_durable,
    .rewrite = log_rewrite,
    .tick = log_tick,
    .metrics = log_metrics,
    .deadline = log_deadline,
};

bool
control__transactions_resumed(struct control *control)
{
    struct internal_log *log = &control->internal[INTERNAL_LOG_TRANSACTIONS];

    control__internal_log_poll(control, log);
    switch (log->state) {
    case INTERNAL_LOG_NONE:
    case INTERNAL_LOG_FAILED:
        return true;
    case INTERNAL_LOG_READY:
        return coordinator_settled(guest(control));
    default:
        return false;
    }
}

enum rc
control__transactions_init(struct control *control, void *memory, struct diag_trail *trail)
{
    const struct coordinator_config config = {
        .limits = control->config.limits.transactions,
        .hooks = {.ctx = control,
                  .answer = control__group_answer,
                  .append = hook_append,
                  .producer_id = hook_producer_id,
                  .order = hook_order,
                  .partition_count = control__hook_partition_count,
                  .scratch = control__hook_scratch},
        .hash_seed = clock_random(control->config.clock),
    };

    control->internal[INTERNAL_LOG_TRANSACTIONS].kind = &log_kind;
    return coordinator_init(memory, &config, &control->transactions, trail);
}
