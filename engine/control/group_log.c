/* The group log: the internal topic `__consumer_offsets` (one partition), where the coordinator's
 * records go, how they come back after a start, and how the log is kept short.
 *
 *   NONE ─ first FindCoordinator ─► CREATING ─► OFFSETS ─► READ ⇄ WAIT ─► READY ─ failed append ─►
 * FAILED └──────── boot found the topic ───────────────┘
 *
 * One batch is under way at a time; the records that come meanwhile share the next. When the log
 * has grown to several times of what lives in it, everything that lives is appended again and what
 * is older is trimmed away: this begins only while nothing is under way, so each change is either
 * in the coordinator's tables by then or behind the beginning. */
#include "engine/control/control_internal.h"

#include "engine/record/record_iterator.h"

#define GROUP_TOPIC "__consumer_offsets"
#define GROUP_LOG_REWRITE_BYTES (32 * MIB) /* appended since the last trim, at least */
#define GROUP_LOG_REWRITE_FACTOR 4u        /* times what was rewritten last */

static struct group_time
group_now(const struct control *control)
{
    return (struct group_time){.now_ns = clock_now_ns(control->config.clock),
                               .wall_ms = clock_wall_ms(control->config.clock)};
}

struct group_time
control__group_time(const struct control *control)
{
    return group_now(control);
}

static bool
group_partition(const struct control *control, uint32_t *ret_place)
{
    const struct topic *topic = topic_store_find(&control->store, control__text(GROUP_TOPIC));

    if (topic == NULL || control__visible(control, topic) == 0)
        return false;
    *ret_place = topic_store_partition(&control->store, topic, 0);
    return *ret_place != TOPIC_NONE;
}

bool
control__group_log_owns(const struct topic *topic)
{
    return topic->name_count == sizeof(GROUP_TOPIC) - 1 &&
           memcmp(topic->name, GROUP_TOPIC, sizeof(GROUP_TOPIC) - 1) == 0;
}

/* ---- hooks of the coordinator */

static bool
hook_append(void *ctx, struct bytes key, struct bytes value, uint64_t *ret_number)
{
    struct control *control = ctx;
    struct control_group_log *log = &control->group_log;
    const struct record record = {
        .timestamp_ms = clock_wall_ms(control->config.clock), .key = key, .value = value};

    if (log->state != GROUP_LOG_READY)
        return false;
    if (log->builder.record_count == 0) {
        const struct record_builder_options options = RECORD_BUILDER_PLAIN;
        record_builder_begin(
            &log->builder, log->batches[log->filling], CONTROL_GROUP_BATCH_BYTES, &options);
    }
    if (!record_builder_add(&log->builder, &record))
        return false;
    *ret_number = ++log->last_number;
    control->work++;
    return true;
}

static uint32_t
hook_partition_count(void *ctx, struct bytes name)
{
    const struct control *control = ctx;
    const struct topic *topic = topic_store_find(&control->store, name);

    return topic == NULL ? 0 : control__visible(control, topic);
}

static struct kafka_arena
hook_scratch(void *ctx)
{
    struct control *control = ctx;

    return kafka_arena_over(control->build, CONTROL_BUILD_BYTES);
}

static uint64_t
hook_draw(void *ctx)
{
    struct control *control = ctx;

    return clock_random(control->config.clock);
}

enum rc
control__group_log_init(struct control *control, void *memory, struct diag_trail *trail)
{
    const struct groups_config config = {
        .limits = control->config.limits.groups,
        .hooks = {.ctx = control,
                  .answer = control__group_answer,
                  .append = hook_append,
                  .partition_count = hook_partition_count,
                  .scratch = hook_scratch,
                  .draw = hook_draw},
        .hash_seed = clock_random(control->config.clock),
    };

    return groups_init(memory, &config, &control->groups, trail);
}

/* ---- the topic */

/* Keeps everything (the coordinator trims), in segments small enough to be deleted soon. */
static void
group_create(struct control *control)
{
    struct topic_record record = {.kind = TOPIC_RECORD_CREATED, .partition_count = 1};
    const struct operation_request request = {
        .kind = OPERATION_CREATE, .may_exist = true, .call = CONTROL_NONE, .record = &record};
    enum rc rc = topic_config_set(
        &record.config, control__text("retention.ms"), control__text("-1"), NULL);

    if (rc == RC_OK)
        rc = topic_config_set(
            &record.config, control__text("segment.bytes"), control__text("16777216"), NULL);
    CHECK(rc == RC_OK);
    record.name_count = sizeof(GROUP_TOPIC) - 1;
    bytes_copy(record.name, sizeof(record.name), GROUP_TOPIC, sizeof(GROUP_TOPIC) - 1);
    if (control__operation_start(control, &request) == CONTROL_NONE)
        return;
    control->group_log.state = GROUP_LOG_CREATING;
    control->group_log.retry_ns = clock_now_ns(control->config.clock) + NS_PER_S;
}

void
control__group_log_want(struct control *control)
{
    if (control->group_log.state == GROUP_LOG_NONE && control_state(control) == CONTROL_READY)
        group_create(control);
}

/* ---- replay */

static void
group_fail(struct control *control, const char *what, const char *why)
{
    diag_error("group_log_failed", "step=%s reason=%s doing=refuse_groups", what, why);
    control->group_log.state = GROUP_LOG_FAILED;
    if (control->group_log.piece != NULL)
        buddy_give(&control->pool, control->group_log.piece);
    control->group_log.piece = NULL;
}

static void
group_ask(struct control *control, struct request *request, enum control_tag tag)
{
    struct control_group_log *log = &control->group_log;
    const struct control_place *place = control__place(control, log->place);

    request->slot = place->slot;
    request->incarnation = place->incarnation;
    request->ctx = control__tag(tag, 0, 0);
    if (control__log_send(control, place->log_tile, request))
        log->state = GROUP_LOG_WAIT;
}

static void
group_ask_piece(struct control *control)
{
    struct control_group_log *log = &control->group_log;

    if (log->next_read >= log->end) {
        if (log->piece != NULL)
            buddy_give(&control->pool, log->piece);
        log->piece = NULL;
        log->state = GROUP_LOG_READY;
        log->next_offset = log->end;
        groups_loaded(control->groups, group_now(control));
        diag_info("group_log_loaded",
                  "records=%llu offset=%llu",
                  (unsigned long long)log->replayed,
                  (unsigned long long)log->end);
        control->work++;
        return;
    }
    if (log->piece == NULL)
        log->piece = buddy_take(&control->pool, CONTROL_READ_BYTES);
    if (log->piece == NULL) {
        control->retry = true;
        return;
    }
    struct request request = {.kind = REQUEST_READ,
                              .flags = REQUEST_FLAG_WHOLE,
                              .u.read = {.offset = log->next_read,
                                         .dst = log->piece,
                                         .dst_bytes = CONTROL_READ_BYTES,
                                         .max_bytes = CONTROL_READ_BYTES,
                                         .leader_epoch = -1}};
    group_ask(control, &request, TAG_GROUP_READ);
}

static enum rc
group_replay_batch(struct control *control,
                   const uint8_t *batch,
                   const struct record_batch_info *info,
                   struct diag_trail *trail)
{
    struct record_iterator iterator;
    struct record_view view;

    if (!record_batch_crc_ok(batch, info->batch_bytes))
        return RC_CORRUPT;
    if ((info->attributes & RECORD_ATTRIBUTES_CODEC_MASK) != RECORD_CODEC_NONE)
        return RC_NEWER_FORMAT;
    record_iterator_begin(&iterator,
                          info,
                          (struct bytes){batch + RECORD_BATCH_HEADER_BYTES,
                                         info->batch_bytes - RECORD_BATCH_HEADER_BYTES});
    while (record_iterator_next(&iterator, &view)) {
        if ((uint64_t)view.offset < control->group_log.next_read)
            continue;
        enum rc rc = groups_replay(control->groups, view.key, view.value, trail);
        if (rc != RC_OK) {
            diag_trail_add(trail, "record at offset %lld", (long long)view.offset);
            return rc;
        }
        control->group_log.replayed++;
    }
    return iterator.rc;
}

/* A piece holds whole batches, one behind the other. */
static enum rc
group_replay_piece(struct control *control, uint32_t piece_bytes, struct diag_trail *trail)
{
    struct control_group_log *log = &control->group_log;
    const uint8_t *at = log->piece;
    const uint8_t *end = at + piece_bytes;
    struct record_batch_info info;

    while (at < end) {
        enum rc rc = record_batch_read(at, (size_t)(end - at), &info);
        if (rc == RC_OK && info.batch_bytes > (size_t)(end - at))
            rc = RC_CORRUPT;
        if (rc == RC_OK)
            rc = group_replay_batch(control, at, &info, trail);
        if (rc != RC_OK)
            return rc;
        log->next_read = (uint64_t)record_batch_last_offset(&info) + 1;
        at += info.batch_bytes;
    }
    return RC_OK;
}

void
control__group_log_answered(struct control *control,
                            enum control_tag tag,
                            const struct response *response)
{
    struct control_group_log *log = &control->group_log;
    struct diag_trail trail = {0};
    enum rc rc = (enum rc)response->rc;

    CHECK(log->state == GROUP_LOG_WAIT);
    if (rc != RC_OK) {
        group_fail(control, "read", rc_text(rc));
        return;
    }
    log->state = GROUP_LOG_READ;
    if (tag == TAG_GROUP_OFFSETS) {
        log->next_read = response->start_offset;
        log->end = response->high_watermark;
        return;
    }
    if (response->bytes == 0) {
        group_fail(control, "read", "nothing where records should be");
        return;
    }
    rc = group_replay_piece(control, response->bytes, &trail);
    if (rc != RC_OK)
        group_fail(control, "replay", trail.text[0] != '\0' ? trail.text : rc_text(rc));
}

/* ---- appends */

static void
group_send(struct control *control)
{
    struct control_group_log *log = &control->group_log;
    const struct control_place *place = control__place(control, log->place);
    const struct request request = {
        .kind = REQUEST_PRODUCE,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .ctx = control__tag(TAG_GROUP_APPEND, 0, 0),
        .u.produce = {.batch = log->batches[log->filling ^ 1], .batch_bytes = log->sending_bytes},
    };

    if (control__log_send(control, place->log_tile, &request)) {
        log->appended_bytes += log->sending_bytes;
        log->sending_bytes = 0;
    }
}

/* Turns the buffers: what was filled is sent. */
static void
group_send_filled(struct control *control)
{
    struct control_group_log *log = &control->group_log;

    if (log->builder.record_count == 0)
        return;
    log->sending_count = log->builder.record_count;
    log->sending_bytes = record_builder_finish(&log->builder);
    log->sending_number = log->last_number;
    log->builder.record_count = 0;
    log->filling ^= 1;
    log->appending = true;
    group_send(control);
}

void
control__group_log_appended(struct control *control, const struct response *response)
{
    struct control_group_log *log = &control->group_log;
    enum rc rc = (enum rc)response->rc;

    CHECK(log->appending);
    log->appending = false;
    if (rc == RC_OK)
        log->next_offset = response->base_offset + log->sending_count;
    /* What is stored is unknown until a restart looks; a lack of space heals by itself. */
    if (rc != RC_OK && rc != RC_NO_SPACE && rc != RC_AGAIN)
        group_fail(control, "append", rc_name(rc));
    if (rc != RC_OK)
        log->rewriting = false;
    groups_durable(control->groups, log->sending_number, rc, group_now(control));
}

/* ---- keeping it short */

static void
group_trim(struct control *control)
{
    struct control_group_log *log = &control->group_log;
    const struct control_place *place = control__place(control, log->place);
    const struct request request = {
        .kind = REQUEST_TRIM,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .ctx = control__tag(TAG_GROUP_TRIM, 0, 0),
        .u.trim.start_offset = log->rewrite_offset,
    };

    if (!control__log_send(control, place->log_tile, &request))
        return;
    log->rewriting = false;
    log->live_bytes = log->appended_bytes;
}

static void
group_rewrite(struct control *control)
{
    struct control_group_log *log = &control->group_log;
    uint64_t due_bytes = max_u64(log->live_bytes * GROUP_LOG_REWRITE_FACTOR,
                                 GROUP_LOG_REWRITE_BYTES);

    if (!log->rewriting) {
        if (log->appended_bytes < due_bytes || log->appending || log->builder.record_count > 0)
            return;
        log->rewriting = true;
        log->rewrite_done = false;
        log->rewrite_cursor = 0;
        log->rewrite_offset = log->next_offset;
        log->appended_bytes = 0;
    }
    if (!log->rewrite_done) {
        log->rewrite_done = groups_rewrite(
            control->groups, &log->rewrite_cursor, group_now(control));
        log->rewrite_number = log->last_number;
    } else if (log->sending_number >= log->rewrite_number && !log->appending) {
        group_trim(control);
    }
}

/* ---- poll */

static void
group_metrics(struct control *control)
{
    struct metrics_tile *metrics = control->config.metrics;
    const struct groups_counters *counters = groups_counters(control->groups);

    if (metrics == NULL)
        return;
    for (uint32_t state = 0; state < GROUP_STATES; state++)
        metrics_set_label(
            metrics, GROUPS, state, groups_count(control->groups, (enum group_state)state));
    metrics_set_label(metrics, GROUP_REBALANCES, 0, counters->rebalances_joined);
    metrics_set_label(metrics, GROUP_REBALANCES, 1, counters->rebalances_left);
    metrics_set_label(metrics, GROUP_REBALANCES, 2, counters->rebalances_expired);
    metrics_set(metrics, METRIC_GROUP_GENERATIONS, counters->generations);
    metrics_set(metrics, METRIC_GROUP_COMMITS, counters->commits);
    metrics_set(metrics, METRIC_GROUP_COMMITS_REFUSED, counters->commits_refused);
    metrics_set(metrics, METRIC_GROUP_OFFSETS_EXPIRED, counters->offsets_expired);
    metrics_set(metrics, METRIC_GROUP_LIMITS_REACHED, counters->limits_reached);
    metrics_set(metrics, METRIC_GROUP_MEMORY_BYTES, groups_memory_used(control->groups));
}

static void
group_poll_ready(struct control *control)
{
    struct control_group_log *log = &control->group_log;

    groups_tick(control->groups, group_now(control));
    group_rewrite(control);
    if (log->appending && log->sending_bytes > 0)
        group_send(control); /* found no credit last time */
    if (!log->appending)
        group_send_filled(control);
    if (control->work > 0)
        group_metrics(control);
}

void
control__group_log_poll(struct control *control)
{
    struct control_group_log *log = &control->group_log;
    struct request request = {.kind = REQUEST_OFFSETS};

    if (control_state(control) != CONTROL_READY)
        return;
    switch (log->state) {
    case GROUP_LOG_NONE:
    case GROUP_LOG_CREATING:
        if (group_partition(control, &log->place))
            group_ask(control, &request, TAG_GROUP_OFFSETS);
        else if (log->state == GROUP_LOG_CREATING &&
                 clock_now_ns(control->config.clock) > log->retry_ns)
            log->state = GROUP_LOG_NONE; /* it failed; the next request tries again */
        break;
    case GROUP_LOG_READ:
        group_ask_piece(control);
        break;
    case GROUP_LOG_READY:
        group_poll_ready(control);
        break;
    case GROUP_LOG_WAIT:
    case GROUP_LOG_FAILED:
        break;
    }
}

uint64_t
control__group_log_deadline(const struct control *control)
{
    return control->group_log.state == GROUP_LOG_READY ? groups_deadline(control->groups)
                                                       : NO_DEADLINE;
}
