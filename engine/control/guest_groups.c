/* The group coordinator as a guest of control: its hooks, its log `__consumer_offsets`, its
 * metrics.
 */
#include "engine/control/control_internal.h"

static struct groups *
guest(const struct control *control)
{
    return control->groups;
}

struct group_time
control__group_time(const struct control *control)
{
    return (struct group_time){.now_ns = clock_now_ns(control->config.clock),
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
        control, &control->internal[INTERNAL_LOG_GROUPS], &record, ret_number);
}

uint32_t
control__hook_partition_count(void *ctx, struct bytes name)
{
    const struct control *control = ctx;
    const struct topic *topic = topic_store_find(&control->store, name);

    return topic == NULL ? 0 : control__visible(control, topic);
}

struct kafka_arena
control__hook_scratch(void *ctx)
{
    struct control *control = ctx;

    return kafka_arena_over(control->build, CONTROL_BUILD_BYTES);
}

static bool
topic_info(const struct control *control, const struct topic *topic, struct group_topic_info *ret)
{
    uint32_t visible = topic == NULL ? 0 : control__visible(control, topic);

    if (visible == 0)
        return false;
    bytes_copy(ret->id, sizeof(ret->id), topic->id, sizeof(topic->id));
    ret->name = (struct bytes){(const uint8_t *)topic->name, topic->name_count};
    ret->partition_count = visible;
    return true;
}

static bool
hook_topic(void *ctx, struct bytes name, struct group_topic_info *ret)
{
    const struct control *control = ctx;

    return topic_info(control, topic_store_find(&control->store, name), ret);
}

static bool
hook_next_topic(void *ctx, uint32_t *cursor, struct group_topic_info *ret)
{
    const struct control *control = ctx;
    const struct topic *topic = topic_store_next(&control->store, *cursor);

    for (; topic != NULL; topic = topic_store_next(&control->store, topic->idx + 1)) {
        *cursor = topic->idx + 1;
        if (!control__internal_log_owns(control, topic) && topic_info(control, topic, ret))
            return true;
    }
    return false;
}

/* Every change that clients can see is published. */
static uint64_t
hook_topics_version(void *ctx)
{
    const struct control *control = ctx;

    return control->counters.snapshots;
}

static uint64_t
hook_draw(void *ctx)
{
    struct control *control = ctx;

    return clock_random(control->config.clock);
}

/* ---- the log */

static enum rc
log_replay(struct control *control, struct bytes key, struct bytes value, struct diag_trail *trail)
{
    return groups_replay(guest(control), key, value, trail);
}

static void
log_loaded(struct control *control)
{
    groups_loaded(guest(control), control__group_time(control));
}

static void
log_durable(struct control *control, uint64_t number, enum rc rc)
{
    groups_durable(guest(control), number, rc, control__group_time(control));
}

static bool
log_rewrite(struct control *control, uint64_t *cursor)
{
    return groups_rewrite(guest(control), cursor, control__group_time(control));
}

static void
log_tick(struct control *control)
{
    groups_tick(guest(control), control__group_time(control));
}

static uint64_t
log_deadline(const struct control *control)
{
    return groups_deadline(guest(control));
}

static void
log_metrics(struct control *control)
{
    struct metrics_tile *metrics = control->config.metrics;
    const struct groups_counters *counters = groups_counters(guest(control));

    if (metrics == NULL)
        return;
    for (uint32_t state = 0; state < GROUP_STATES; state++)
        metrics_set_label(
            metrics, GROUPS, state, groups_count(guest(control), (enum group_state)state));
    metrics_set_label(metrics, GROUP_REBALANCES, 0, counters->rebalances_joined);
    metrics_set_label(metrics, GROUP_REBALANCES, 1, counters->rebalances_left);
    metrics_set_label(metrics, GROUP_REBALANCES, 2, counters->rebalances_expired);
    metrics_set(metrics, METRIC_GROUP_GENERATIONS, counters->generations);
    metrics_set(metrics, METRIC_GROUP_COMMITS, counters->commits);
    metrics_set(metrics, METRIC_GROUP_COMMITS_REFUSED, counters->commits_refused);
    metrics_set(metrics, METRIC_GROUP_OFFSETS_EXPIRED, counters->offsets_expired);
    metrics_set(metrics, METRIC_GROUP_LIMITS_REACHED, counters->limits_reached);
    metrics_set(metrics, METRIC_GROUP_MEMORY_BYTES, groups_memory_used(guest(control)));
}

static const struct internal_log_kind log_kind = {
    .topic = "__consumer_offsets",
    .replay = log_replay,
    .loaded = log_loaded,
    .durable = log_durable,
    .rewrite = log_rewrite,
    .tick = log_tick,
    .metrics = log_metrics,
    .deadline = log_deadline,
};

enum rc
control__groups_init(struct control *control, void *memory, struct diag_trail *trail)
{
    const struct groups_config config = {
        .limits = control->config.limits.groups,
        .hooks = {.ctx = control,
                  .answer = control__group_answer,
                  .append = hook_append,
                  .partition_count = control__hook_partition_count,
                  .topic = hook_topic,
                  .next_topic = hook_next_topic,
                  .topics_version = hook_topics_version,
                  .scratch = control__hook_scratch,
                  .draw = hook_draw,
                  .check_transaction = control__transaction_check,
                  .ended = control__transaction_ended},
        .hash_seed = clock_random(control->config.clock),
    };

    control->internal[INTERNAL_LOG_GROUPS].kind = &log_kind;
    return groups_init(memory, &config, &control->groups, trail);
}
