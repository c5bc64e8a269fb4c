/* One topic being created, grown, altered or deleted: what is decided, written, opened, published,
 * undone and dropped, in that order.
 *
 *   CREATE     WAITING → QUEUED → APPENDING → OPENING → PUBLISHING → free
 *                        └ failed: UNDOING → UNDO_APPENDING → DROPPING → free
 *   GROW       WAITING → QUEUED → APPENDING → OPENING → PUBLISHING → free
 *                        └ failed: the new partitions stay unseen; a later GROW or the next start
 *                          opens them
 *   CONFIGURE  WAITING → QUEUED → APPENDING → CONFIGURING → PUBLISHING → free
 *   DELETE     WAITING → QUEUED → APPENDING → PUBLISHING → DROPPING → free
 *
 * The client is answered when the operation leaves PUBLISHING (or fails), so its snapshot stands in
 * every gate's ring before the answer. Names are held from QUEUED to there; a second operation on a
 * held (or colliding) name waits its turn and then decides by what it finds. */
#include "engine/control/control_internal.h"

#include "engine/topic/topic_name.h"

static const uint16_t operation_moves[OPERATION_STATE_COUNT] = {
    [OPERATION_FREE] = BIT(OPERATION_WAITING),
    [OPERATION_WAITING] = BIT(OPERATION_QUEUED) | BIT(OPERATION_OPENING) | BIT(OPERATION_FREE),
    [OPERATION_QUEUED] = BIT(OPERATION_APPENDING) | BIT(OPERATION_FREE),
    [OPERATION_APPENDING] = BIT(OPERATION_OPENING) | BIT(OPERATION_CONFIGURING) |
                            BIT(OPERATION_PUBLISHING) | BIT(OPERATION_FREE),
    [OPERATION_CONFIGURING] = BIT(OPERATION_PUBLISHING),
    [OPERATION_OPENING] = BIT(OPERATION_PUBLISHING) | BIT(OPERATION_UNDOING) | BIT(OPERATION_FREE),
    [OPERATION_PUBLISHING] = BIT(OPERATION_DROPPING) | BIT(OPERATION_FREE),
    [OPERATION_UNDOING] = BIT(OPERATION_UNDO_APPENDING) | BIT(OPERATION_FREE),
    [OPERATION_UNDO_APPENDING] = BIT(OPERATION_DROPPING) | BIT(OPERATION_FREE),
    [OPERATION_DROPPING] = BIT(OPERATION_FREE),
};

static void
move(struct control *control, struct control_operation *operation, enum operation_state next)
{
    CHECK((operation_moves[operation->state] & BIT(next)) != 0);
    operation->state = (uint8_t)next;
    if (next == OPERATION_FREE)
        control->operation_count--;
    control->work++;
}

static struct bytes
operation_name(const struct control_operation *operation)
{
    return (struct bytes){(const uint8_t *)operation->record.name, operation->record.name_count};
}

static bool
is_of_topic(const struct control_operation *operation)
{
    return operation->kind == OPERATION_CREATE || operation->kind == OPERATION_GROW ||
           operation->kind == OPERATION_DELETE || operation->kind == OPERATION_CONFIGURE;
}

uint32_t
control__visible(const struct control *control, const struct topic *topic)
{
    const struct control_topic *entry = &control->topics[topic->idx];
    uint32_t place = topic_store_partition(&control->store, topic, 0);

    CHECK(place != TOPIC_NONE);
    return entry->first_incarnation == control->store.partitions[place].incarnation
               ? entry->visible_count
               : 0;
}

uint32_t
control__operation_start(struct control *control, const struct operation_request *request)
{
    uint32_t max = control->config.limits.operations_max;
    bool internal = request->kind == OPERATION_PRODUCERS || request->kind == OPERATION_CLUSTER;
    uint32_t idx = 0;

    /* The last place is kept for what control needs itself. */
    if (control->operation_count + (internal ? 0 : 1) >= max) {
        control->retry = true;
        return CONTROL_NONE;
    }
    while (control->operations[idx].state != OPERATION_FREE)
        idx++;
    struct control_operation *operation = &control->operations[idx];
    *operation = (struct control_operation){
        .kind = (uint8_t)request->kind,
        .may_exist = request->may_exist,
        .call = request->call,
        .item = request->item,
        .record = *request->record,
        .order = control->operation_order++,
    };
    control->operation_count++;
    move(control, operation, OPERATION_WAITING);
    control__count(&control->counters.operations, 1);
    return idx;
}

/* ---- ends */

static void
answer(struct control *control, struct control_operation *operation)
{
    operation->holds_name = false;
    if (operation->error != KAFKA_ERROR_NONE)
        control__count(&control->counters.operations_failed, 1);
    if (operation->call != CONTROL_NONE)
        control__call_operation_done(control, operation, operation->record.id);
    operation->call = CONTROL_NONE;
}

static void
finish(struct control *control, struct control_operation *operation)
{
    answer(control, operation);
    if (operation->dropped != NULL)
        control__snapshot_let_go(control, operation->dropped);
    operation->dropped = NULL;
    move(control, operation, OPERATION_FREE);
}

static void
set_error(struct control_operation *operation, int16_t error, const char *message)
{
    size_t count = strnlen(message, CONTROL_MESSAGE_MAX - 1);

    operation->error = error;
    bytes_copy(operation->message, CONTROL_MESSAGE_MAX - 1, message, count);
    operation->message[count] = 0;
}

void
control__operation_fail(struct control *control, uint32_t idx, int16_t error, const char *message)
{
    struct control_operation *operation = control__operation(control, idx);

    if (operation->kind == OPERATION_PRODUCERS)
        control->metadata.producers_pending = false;
    /* An undo that cannot be written leaves the topic unseen until the next start; the first error
     * is the client's. */
    if (operation->error == KAFKA_ERROR_NONE)
        set_error(operation, error, message);
    finish(control, operation);
}

/* ---- beginnings: what is found when the name is free */

static void
new_topic_id(struct control *control, uint8_t *id)
{
    put_u64_be(id, clock_random(control->config.clock));
    put_u64_be(id + 8, clock_random(control->config.clock));
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* version 4 */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
}

static void
begin_create(struct control *control, struct control_operation *operation)
{
    struct bytes name = operation_name(operation);
    const struct topic *found = topic_store_find_colliding(&control->store, name);

    if (found != NULL) {
        bool same = topic_store_find(&control->store, name) == found;
        if (!same) {
            set_error(operation,
                      KAFKA_ERROR_INVALID_TOPIC_EXCEPTION,
                      "name collides with an existing topic: '.' and '_' count as equal");
        } else if (!operation->may_exist) {
            set_error(operation, KAFKA_ERROR_TOPIC_ALREADY_EXISTS, "topic exists already");
        } else if (control__visible(control, found) == 0) {
            set_error(operation, KAFKA_ERROR_KAFKA_STORAGE_ERROR, "topic is not available");
        }
        bytes_copy(operation->record.id, 16, found->id, 16);
        finish(control, operation);
        return;
    }
    new_topic_id(control, operation->record.id);
    operation->record.wall_ms = clock_wall_ms(control->config.clock);
    operation->holds_name = true;
    move(control, operation, OPERATION_QUEUED);
}

static void
begin_delete(struct control *control, struct control_operation *operation)
{
    const struct topic *topic = topic_store_find_id(&control->store, operation->record.id);

    if (topic == NULL) {
        set_error(operation, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
        finish(control, operation);
        return;
    }
    operation->dropped = control__snapshot_new(control, topic, topic->partition_count);
    if (operation->dropped == NULL)
        return; /* stays WAITING until there is room */
    operation->dropped->gone = true;
    operation->holds_name = true;
    move(control, operation, OPERATION_QUEUED);
}

static void
begin_grow(struct control *control, struct control_operation *operation)
{
    const struct topic *topic = topic_store_find(&control->store, operation_name(operation));
    uint32_t target = operation->record.partition_count;

    if (topic == NULL || control__visible(control, topic) == 0) {
        set_error(operation, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
        finish(control, operation);
        return;
    }
    uint32_t visible = control__visible(control, topic);
    if (target <= visible) {
        set_error(operation,
                  KAFKA_ERROR_INVALID_PARTITIONS,
                  "the new count must be greater than the present one");
        finish(control, operation);
        return;
    }
    bytes_copy(operation->record.id, 16, topic->id, 16);
    operation->cursor = visible;
    operation->end = target;
    operation->holds_name = true;
    if (target <= topic->partition_count) {
        move(control, operation, OPERATION_OPENING);
        return;
    }
    operation->record.first_partition = topic->partition_count;
    operation->record.partition_count = target - topic->partition_count;
    move(control, operation, OPERATION_QUEUED);
}

/* The whole new set of overrides is decided here, so that of two changes neither undoes the other.
 */
static void
begin_configure(struct control *control, struct control_operation *operation)
{
    const struct topic *topic = topic_store_find(&control->store, operation_name(operation));
    const struct control_call *call = control__call(control, operation->call);
    struct diag_trail trail;

    if (topic == NULL || control__visible(control, topic) == 0) {
        set_error(operation, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
        finish(control, operation);
        return;
    }
    diag_trail_clear(&trail);
    operation->record.config = topic->config;
    int16_t error = control__altered_config(
        control, call, operation->item, &operation->record.config, &trail);
    if (error != KAFKA_ERROR_NONE)
        set_error(operation, error, trail.text);
    bool same = memcmp(&operation->record.config, &topic->config, sizeof(topic->config)) == 0;
    if (error != KAFKA_ERROR_NONE || same) {
        finish(control, operation);
        return;
    }
    bytes_copy(operation->record.id, 16, topic->id, 16);
    operation->end = topic->partition_count;
    operation->holds_name = true;
    move(control, operation, OPERATION_QUEUED);
}

/* True when an operation on an equal or colliding name is under way, or came earlier and waits. */
static bool
must_wait(const struct control *control, const struct control_operation *operation)
{
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        const struct control_operation *other = &control->operations[i];
        if (other == operation || other->state == OPERATION_FREE || !is_of_topic(other))
            continue;
        bool ahead = other->holds_name ||
                     (other->state == OPERATION_WAITING && other->order < operation->order);
        if (ahead && topic_name_collides(operation_name(other), operation_name(operation)))
            return true;
    }
    return false;
}

/* Limits of clients change one after the other: each is decided by what the former left. */
static bool
must_wait_for_limits(const struct control *control, const struct control_operation *operation)
{
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        const struct control_operation *other = &control->operations[i];
        if (other == operation || other->state == OPERATION_FREE || other->kind != operation->kind)
            continue;
        if (other->state != OPERATION_WAITING || other->order < operation->order)
            return true;
    }
    return false;
}

static void
begin_quota(struct control *control, struct control_operation *operation)
{
    const struct control_call *call = control__call(control, operation->call);

    if (must_wait_for_limits(control, operation))
        return;
    if (control__altered_quota(control, call, operation->item, &operation->record.quota))
        move(control, operation, OPERATION_QUEUED);
    else
        finish(control, operation);
}

static void
begin_broker(struct control *control, struct control_operation *operation)
{
    const struct control_call *call = control__call(control, operation->call);
    struct diag_trail trail;

    if (must_wait_for_limits(control, operation))
        return;
    diag_trail_clear(&trail);
    int16_t error = control__altered_broker(
        control, call, operation->item, &operation->record, &trail);
    bool own = operation->record.broker_id != TOPIC_RECORD_ALL_BROKERS;
    bool same = memcmp(&operation->record.broker,
                       control__broker_layer(control, own),
                       sizeof(operation->record.broker)) == 0;
    if (error != KAFKA_ERROR_NONE)
        set_error(operation, error, trail.text);
    if (error != KAFKA_ERROR_NONE || same)
        finish(control, operation);
    else
        move(control, operation, OPERATION_QUEUED);
}

static void
begin(struct control *control, struct control_operation *operation)
{
    if (operation->kind == OPERATION_QUOTA) {
        begin_quota(control, operation);
        return;
    }
    if (operation->kind == OPERATION_BROKER) {
        begin_broker(control, operation);
        return;
    }
    if (!is_of_topic(operation)) {
        move(control, operation, OPERATION_QUEUED);
        return;
    }
    if (must_wait(control, operation))
        return;
    if (operation->kind == OPERATION_CREATE)
        begin_create(control, operation);
    else if (operation->kind == OPERATION_DELETE)
        begin_delete(control, operation);
    else if (operation->kind == OPERATION_CONFIGURE)
        begin_configure(control, operation);
    else
        begin_grow(control, operation);
}

/* ---- the metadata log has answered */

void
control__operation_appended(struct control *control, uint32_t idx, enum rc rc)
{
    struct control_operation *operation = control__operation(control, idx);
    bool undo = operation->state == OPERATION_UNDO_APPENDING;

    if (rc != RC_OK) {
        control__operation_fail(control, idx, KAFKA_ERROR_KAFKA_STORAGE_ERROR, rc_text(rc));
        return;
    }
    switch ((enum operation_kind)operation->kind) {
    case OPERATION_PRODUCERS:
    case OPERATION_CLUSTER:
        finish(control, operation);
        return;
    case OPERATION_CREATE:
        if (undo) {
            answer(control, operation);
            operation->cursor = 0;
            move(control, operation, OPERATION_DROPPING);
            return;
        }
        operation->cursor = 0;
        operation->end = operation->record.partition_count;
        move(control, operation, OPERATION_OPENING);
        return;
    case OPERATION_GROW:
        move(control, operation, OPERATION_OPENING);
        return;
    case OPERATION_CONFIGURE:
        move(control, operation, OPERATION_CONFIGURING);
        return;
    case OPERATION_BROKER:
        control__broker_appended(control, operation);
        move(control, operation, OPERATION_CONFIGURING);
        return;
    case OPERATION_DELETE:
    case OPERATION_QUOTA:
        move(control, operation, OPERATION_PUBLISHING);
        return;
    }
}

/* ---- opening */

static void
open_more(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);
    const struct topic *topic = topic_store_find_id(&control->store, operation->record.id);

    CHECK(topic != NULL);
    while (operation->cursor < operation->end) {
        uint32_t place = topic_store_partition(&control->store, topic, operation->cursor);
        CHECK(place != TOPIC_NONE);
        bool is_open = control__place(control, place)->rc == RC_OK;
        if (!is_open && !control__open(control, place, idx))
            return;
        if (!is_open)
            operation->outstanding++;
        operation->cursor++;
    }
}

/* Every open was answered and one of them failed. */
static void
open_failed(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);
    const struct topic *topic = topic_store_find_id(&control->store, operation->record.id);

    if (operation->kind == OPERATION_GROW) {
        finish(control, operation);
        return;
    }
    CHECK(topic != NULL);
    operation->dropped = control__snapshot_new(control, topic, topic->partition_count);
    if (operation->dropped == NULL)
        return; /* tried again at the next poll */
    operation->record.kind = TOPIC_RECORD_DELETED;
    move(control, operation, OPERATION_UNDOING);
}

void
control__operation_opened(struct control *control, uint32_t idx, enum rc rc)
{
    struct control_operation *operation = control__operation(control, idx);

    CHECK(operation->state == OPERATION_OPENING);
    CHECK(operation->outstanding > 0);
    operation->outstanding--;
    if (rc == RC_OK || operation->error != KAFKA_ERROR_NONE)
        return;
    set_error(operation,
              rc == RC_LIMIT ? KAFKA_ERROR_POLICY_VIOLATION : KAFKA_ERROR_KAFKA_STORAGE_ERROR,
              rc == RC_LIMIT ? "partitions_max of a log tile is reached" : rc_text(rc));
    operation->end = operation->cursor; /* no more */
}

static void
poll_opening(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);

    if (operation->error == KAFKA_ERROR_NONE)
        open_more(control, idx);
    if (operation->outstanding > 0 || operation->cursor < operation->end)
        return;
    if (operation->error != KAFKA_ERROR_NONE)
        open_failed(control, idx);
    else
        move(control, operation, OPERATION_PUBLISHING);
}

/* ---- configuring */

void
control__operation_configured(struct control *control, uint32_t idx, enum rc rc)
{
    struct control_operation *operation = control__operation(control, idx);

    CHECK(operation->state == OPERATION_CONFIGURING);
    CHECK(operation->outstanding > 0);
    operation->outstanding--;
    /* The settings are stored, and a partition that cannot take them now serves nothing until the
     * next start, which opens it with them. */
    if (rc != RC_OK)
        diag_warn("partition_not_configured", "reason=%s doing=next_start", rc_name(rc));
}

static void
poll_configuring(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);
    const struct topic *topic = topic_store_find_id(&control->store, operation->record.id);

    if (operation->kind == OPERATION_BROKER) {
        if (control__broker_configured(control, operation))
            move(control, operation, OPERATION_PUBLISHING);
        return;
    }
    CHECK(topic != NULL);
    for (; operation->cursor < operation->end; operation->cursor++) {
        uint32_t place = topic_store_partition(&control->store, topic, operation->cursor);
        CHECK(place != TOPIC_NONE);
        if (control__place(control, place)->slot == UINT32_MAX)
            continue; /* gets them when it is opened */
        if (!control__configure(control, place, idx))
            return;
        operation->outstanding++;
    }
    if (operation->outstanding > 0)
        return;
    operation->end = control__visible(control, topic);
    move(control, operation, OPERATION_PUBLISHING);
}

/* ---- publishing and dropping */

static void
poll_publishing(struct control *control, struct control_operation *operation)
{
    if (operation->kind == OPERATION_DELETE) {
        control__snapshot_keep(operation->dropped); /* ours, until all is dropped */
        if (!control__publish(control, operation->dropped)) {
            control__snapshot_let_go(control, operation->dropped);
            return;
        }
        answer(control, operation);
        operation->cursor = 0;
        move(control, operation, OPERATION_DROPPING);
        return;
    }
    if (operation->kind == OPERATION_BROKER) {
        if (control__broker_published(control, operation))
            finish(control, operation);
        return;
    }
    if (operation->kind == OPERATION_QUOTA) {
        if (control__publish_quota(control, &operation->record.quota))
            finish(control, operation);
        return;
    }
    const struct topic *topic = topic_store_find_id(&control->store, operation->record.id);
    CHECK(topic != NULL);
    if (control__publish_topic(control, topic, operation->end))
        finish(control, operation);
}

void
control__operation_dropped(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);

    CHECK(operation->state == OPERATION_DROPPING);
    CHECK(operation->outstanding > 0);
    operation->outstanding--;
}

static void
poll_dropping(struct control *control, uint32_t idx)
{
    struct control_operation *operation = control__operation(control, idx);
    const struct topic_snapshot *dropped = operation->dropped;

    for (; operation->cursor < dropped->partition_count; operation->cursor++) {
        const struct partition_ref *ref = &dropped->partitions[operation->cursor];
        struct request request = {
            .kind = REQUEST_DROP,
            .slot = ref->slot,
            .incarnation = ref->incarnation,
            .ctx = control__tag(TAG_DROP, idx, operation->cursor),
        };
        if (ref->incarnation == 0)
            continue; /* was never open; the next start prunes what is left of it */
        if (!control__log_send(control, ref->log_tile, &request))
            return;
        operation->outstanding++;
    }
    if (operation->outstanding == 0)
        finish(control, operation);
}

void
control__operations_poll(struct control *control)
{
    if (control->operation_count == 0)
        return;
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        struct control_operation *operation = &control->operations[i];
        switch ((enum operation_state)operation->state) {
        case OPERATION_WAITING:
            begin(control, operation);
            break;
        case OPERATION_OPENING:
            poll_opening(control, i);
            break;
        case OPERATION_CONFIGURING:
            poll_configuring(control, i);
            break;
        case OPERATION_PUBLISHING:
            poll_publishing(control, operation);
            break;
        case OPERATION_DROPPING:
            poll_dropping(control, i);
            break;
        default:
            break;
        }
    }
}
