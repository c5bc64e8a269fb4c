/* Internal logs: topics of one partition that hold the records of a guest of control, a
 * coordinator:
 * `__consumer_offsets` those of groups, `__transaction_state` those of transactions. Where the
 * records go, how they come back after a start, and how the log is kept short.
 *
 *   NONE ─ somebody asks ─► CREATING ─► READ ⇄ WAIT ─► READY ─ failed append ─► FAILED
 *     └──────── boot found the topic ───┘
 *
 * One batch is under way at a time; the records that come meanwhile share the next. When the log
 * has grown to several times of what lives in it, everything that lives is appended again and what
 * is older is trimmed away: this begins only while nothing is under way, so each change is either
 * in the guest's tables by then or behind the beginning. What a log is about is a row of
 * struct internal_log_kind, in guest_groups.c and guest_transactions.c. */
#include "engine/control/control_internal.h"

#include "engine/record/record_iterator.h"

_Static_assert(CONTROL_INTERNAL_BATCH_BYTES <= 1048588, "internal_create(): max.message.bytes");

#define INTERNAL_LOG_REWRITE_BYTES (32 * MIB) /* appended since the last trim, at least */
#define INTERNAL_LOG_REWRITE_FACTOR 4u        /* times what was rewritten last */

static bool
internal_partition(const struct control *control,
                   const struct internal_log *log,
                   uint32_t *ret_place)
{
    const struct topic *topic = topic_store_find(&control->store, control__text(log->kind->topic));
    bool is_booting = control_state(control) == CONTROL_BOOTING;

    if (topic == NULL || (control__visible(control, topic) == 0 && !is_booting))
        return false;
    *ret_place = topic_store_partition(&control->store, topic, 0);
    return *ret_place != TOPIC_NONE;
}

uint32_t
control__internal_log_named(const struct control *control, struct bytes name)
{
    uint32_t idx = 0;

    while (idx < INTERNAL_LOGS &&
           !control__same(name, control__text(control->internal[idx].kind->topic)))
        idx++;
    return idx;
}

bool
control__internal_log_owns(const struct control *control, const struct topic *topic)
{
    return control__internal_log_named(control, control__topic_name(topic)) < INTERNAL_LOGS;
}

bool
control__internal_log_append(struct control *control,
                             struct internal_log *log,
                             const struct record *record,
                             uint64_t *ret_number)
{
    if (log->state != INTERNAL_LOG_READY)
        return false;
    if (log->builder.record_count == 0) {
        const struct record_builder_options options = RECORD_BUILDER_PLAIN;
        record_builder_begin(
            &log->builder, log->batches[log->filling], CONTROL_INTERNAL_BATCH_BYTES, &options);
    }
    if (!record_builder_add(&log->builder, record))
        return false;
    *ret_number = ++log->last_number;
    control->work++;
    return true;
}

/* ---- the topic */

/* Keeps everything (the coordinator trims), in segments small enough to be deleted soon, whatever
 * holds for other topics: a record that retention or compaction takes is a change that is lost,
 * and a batch that is refused for its size or time ends the guest's service. */
static void
internal_create(struct control *control, struct internal_log *log)
{
    static const char *const settings[][2] = {
        {"retention.ms", "-1"},
        {"retention.bytes", "-1"},
        {"cleanup.policy", "delete"},
        {"eagre.durability", "device"},
        {"max.message.bytes", "1048588"},
        {"message.timestamp.type", "CreateTime"},
        {"message.timestamp.before.max.ms", "9223372036854775807"},
        {"message.timestamp.after.max.ms", "9223372036854775807"},
        {"segment.bytes", "16777216"}};
    struct topic_record record = {.kind = TOPIC_RECORD_CREATED, .partition_count = 1};
    const struct operation_request request = {
        .kind = OPERATION_CREATE, .may_exist = true, .call = CONTROL_NONE, .record = &record};

    for (uint32_t i = 0; i < ARRAY_COUNT(settings); i++)
        CHECK(topic_config_set(&record.config,
                               control__text(settings[i][0]),
                               control__text(settings[i][1]),
                               NULL) == RC_OK);
    record.name_count = (uint8_t)strlen(log->kind->topic);
    bytes_copy(record.name, sizeof(record.name), log->kind->topic, record.name_count);
    if (control__operation_start(control, &request) == CONTROL_NONE)
        return;
    log->state = INTERNAL_LOG_CREATING;
    log->retry_ns = clock_now_ns(control->config.clock) + NS_PER_S;
}

void
control__internal_log_want(struct control *control, struct internal_log *log)
{
    if (log->state == INTERNAL_LOG_NONE && control_state(control) == CONTROL_READY)
        internal_create(control, log);
}

bool
control__internal_log_is_void(const struct control *control, const struct internal_log *log)
{
    return control_state(control) == CONTROL_READY &&
           (log->state == INTERNAL_LOG_NONE || log->state == INTERNAL_LOG_CREATING) &&
           topic_store_find(&control->store, control__text(log->kind->topic)) == NULL;
}

/* ---- replay */

static void
internal_fail(struct control *control, struct internal_log *log, const char *what, const char *why)
{
    diag_error("internal_log_failed",
               "topic=%s step=%s reason=%s doing=refuse_its_requests",
               log->kind->topic,
               what,
               why);
    log->state = INTERNAL_LOG_FAILED;
    if (log->piece != NULL)
        buddy_give(&control->pool, log->piece);
    log->piece = NULL;
}

static void
internal_ask(struct control *control,
             struct internal_log *log,
             struct request *request,
             enum control_tag tag)
{
    const struct control_place *place = control__place(control, log->place);

    request->slot = place->slot;
    request->incarnation = place->incarnation;
    request->ctx = control__tag(tag, (uint32_t)(log - control->internal), 0);
    if (control__log_send(control, place->log_tile, request))
        log->state = INTERNAL_LOG_WAIT;
}

static void
internal_ask_piece(struct control *control, struct internal_log *log)
{
    if (log->next_read >= log->end) {
        if (log->piece != NULL)
            buddy_give(&control->pool, log->piece);
        log->piece = NULL;
        log->state = INTERNAL_LOG_READY;
        log->is_loaded = true;
        log->next_offset = log->end;
        log->kind->loaded(control);
        diag_info("internal_log_loaded",
                  "topic=%s records=%llu offset=%llu",
                  log->kind->topic,
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
    internal_ask(control, log, &request, TAG_INTERNAL_READ);
}

static enum rc
internal_replay_batch(struct control *control,
                      struct internal_log *log,
                      const uint8_t *batch,
                      const struct record_batch_info *info,
                      struct diag_trail *trail)
{
    struct record_iterator iterator;
    struct record_view view;

    if (!record_batch_crc_ok(batch, info->batch_bytes))
        return RC_CORRUPT;
    if ((info->attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
        return RC_OK; /* a marker: nothing of the guest's */
    if ((info->attributes & RECORD_ATTRIBUTES_CODEC_MASK) != RECORD_CODEC_NONE)
        return RC_NEWER_FORMAT;
    record_iterator_begin(&iterator,
                          info,
                          (struct bytes){batch + RECORD_BATCH_HEADER_BYTES,
                                         info->batch_bytes - RECORD_BATCH_HEADER_BYTES});
    while (record_iterator_next(&iterator, &view)) {
        if ((uint64_t)view.offset < log->next_read)
            continue;
        enum rc rc = log->kind->replay(control, view.key, view.value, trail);
        if (rc != RC_OK) {
            diag_trail_add(trail, "record at offset %lld", (long long)view.offset);
            return rc;
        }
        log->replayed++;
    }
    return iterator.rc;
}

/* A piece holds whole batches, one behind the other. */
static enum rc
internal_replay_piece(struct control *control,
                      struct internal_log *log,
                      uint32_t piece_bytes,
                      struct diag_trail *trail)
{
    const uint8_t *at = log->piece;
    const uint8_t *end = at + piece_bytes;
    struct record_batch_info info;

    while (at < end) {
        enum rc rc = record_batch_read(at, (size_t)(end - at), &info);
        if (rc == RC_OK && info.batch_bytes > (size_t)(end - at))
            rc = RC_CORRUPT;
        if (rc == RC_OK)
            rc = internal_replay_batch(control, log, at, &info, trail);
        if (rc != RC_OK)
            return rc;
        log->next_read = (uint64_t)record_batch_last_offset(&info) + 1;
        at += info.batch_bytes;
    }
    return RC_OK;
}

void
control__internal_log_answered(struct control *control,
                               struct internal_log *log,
                               enum control_tag tag,
                               const struct response *response)
{
    struct diag_trail trail = {0};
    enum rc rc = (enum rc)response->rc;

    CHECK(log->state == INTERNAL_LOG_WAIT);
    if (rc != RC_OK) {
        internal_fail(control, log, "read", rc_text(rc));
        return;
    }
    log->state = INTERNAL_LOG_READ;
    if (tag == TAG_INTERNAL_OFFSETS) {
        log->next_read = response->start_offset;
        log->end = response->high_watermark;
        return;
    }
    if (response->bytes == 0) {
        internal_fail(control, log, "read", "nothing where records should be");
        return;
    }
    rc = internal_replay_piece(control, log, response->bytes, &trail);
    if (rc != RC_OK)
        internal_fail(control, log, "replay", trail.text[0] != '\0' ? trail.text : rc_text(rc));
}

/* ---- appends */

static void
internal_send(struct control *control, struct internal_log *log)
{
    const struct control_place *place = control__place(control, log->place);
    const struct request request = {
        .kind = REQUEST_PRODUCE,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .ctx = control__tag(TAG_INTERNAL_APPEND, (uint32_t)(log - control->internal), 0),
        .u.produce = {.batch = log->batches[log->filling ^ 1], .batch_bytes = log->sending_bytes},
    };

    if (control__log_send(control, place->log_tile, &request)) {
        log->appended_bytes += log->sending_bytes;
        log->sending_bytes = 0;
    }
}

/* Turns the buffers: what was filled is sent. */
static void
internal_send_filled(struct control *control, struct internal_log *log)
{
    if (log->builder.record_count == 0)
        return;
    log->sending_count = log->builder.record_count;
    log->sending_bytes = record_builder_finish(&log->builder);
    log->sending_number = log->last_number;
    log->builder.record_count = 0;
    log->filling ^= 1;
    log->appending = true;
    internal_send(control, log);
}

void
control__internal_log_appended(struct control *control,
                               struct internal_log *log,
                               const struct response *response)
{
    enum rc rc = (enum rc)response->rc;

    CHECK(log->appending);
    log->appending = false;
    if (rc == RC_OK)
        log->next_offset = response->base_offset + log->sending_count;
    /* What is stored is unknown until a restart looks; a lack of space heals by itself. */
    if (rc != RC_OK && rc != RC_NO_SPACE && rc != RC_AGAIN)
        internal_fail(control, log, "append", rc_name(rc));
    if (rc != RC_OK)
        log->rewriting = false;
    /* After a failure for good nothing that waits will ever be sent. */
    if (log->state == INTERNAL_LOG_FAILED) {
        log->builder.record_count = 0;
        log->sending_number = log->last_number;
    }
    log->kind->durable(control, log->sending_number, rc);
}

/* ---- keeping it short */

static void
internal_trim(struct control *control, struct internal_log *log)
{
    const struct control_place *place = control__place(control, log->place);
    const struct request request = {
        .kind = REQUEST_TRIM,
        .slot = place->slot,
        .incarnation = place->incarnation,
        .ctx = control__tag(TAG_INTERNAL_TRIM, (uint32_t)(log - control->internal), 0),
        .u.trim.start_offset = log->rewrite_offset,
    };

    if (!control__log_send(control, place->log_tile, &request))
        return;
    log->rewriting = false;
    log->live_bytes = log->appended_bytes;
}

static void
internal_rewrite(struct control *control, struct internal_log *log)
{
    uint64_t due_bytes = max_u64(log->live_bytes * INTERNAL_LOG_REWRITE_FACTOR,
                                 INTERNAL_LOG_REWRITE_BYTES);

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
        log->rewrite_done = log->kind->rewrite(control, &log->rewrite_cursor);
        log->rewrite_number = log->last_number;
    } else if (log->sending_number >= log->rewrite_number && !log->appending) {
        internal_trim(control, log);
    }
}

/* ---- poll */

static void
internal_poll_ready(struct control *control, struct internal_log *log)
{
    log->kind->tick(control);
    internal_rewrite(control, log);
    if (log->appending && log->sending_bytes > 0)
        internal_send(control, log); /* found no credit last time */
    if (!log->appending)
        internal_send_filled(control, log);
    if (control->work > 0)
        log->kind->metrics(control);
}

void
control__internal_log_poll(struct control *control, struct internal_log *log)
{
    struct request request = {.kind = REQUEST_OFFSETS};

    switch (log->state) {
    case INTERNAL_LOG_NONE:
    case INTERNAL_LOG_CREATING:
        if (internal_partition(control, log, &log->place))
            internal_ask(control, log, &request, TAG_INTERNAL_OFFSETS);
        else if (log->state == INTERNAL_LOG_CREATING &&
                 clock_now_ns(control->config.clock) > log->retry_ns)
            log->state = INTERNAL_LOG_NONE; /* it failed; the next request tries again */
        break;
    case INTERNAL_LOG_READ:
        internal_ask_piece(control, log);
        break;
    case INTERNAL_LOG_READY:
        internal_poll_ready(control, log);
        break;
    case INTERNAL_LOG_FAILED:
        /* Who waits for something else than a record is answered when the time has come. */
        if (log->is_loaded)
            log->kind->tick(control);
        break;
    case INTERNAL_LOG_WAIT:
        break;
    }
}

uint64_t
control__internal_logs_deadline(const struct control *control)
{
    uint64_t deadline_ns = NO_DEADLINE;

    for (uint32_t i = 0; i < INTERNAL_LOGS; i++) {
        const struct internal_log *log = &control->internal[i];
        if (log->is_loaded)
            deadline_ns = min_u64(deadline_ns, log->kind->deadline(control));
    }
    return deadline_ns;
}
