/* Writing the metadata log. One batch is under way at a time; whatever operations are queued when
 * it ends share the next one, so many changes cost one synced write, and a record is checked
 * against exactly the state that it will be applied to. The batch's records are applied when the
 * log tile says that they are on the device (the metadata log is of durability `device`).
 *
 * A failed append fences the log: nothing more is changed until a restart, which finds out what is
 * really stored. */
#include "engine/control/control_internal.h"

#include "engine/record/record_builder.h"

/* What the records already in the batch will take from the limits. */
struct claims {
    uint32_t topics;
    uint32_t partitions;
};

static int16_t
error_of_check(enum rc rc, enum operation_kind kind)
{
    switch (rc) {
    case RC_EXISTS:
        return kind == OPERATION_CREATE ? KAFKA_ERROR_TOPIC_ALREADY_EXISTS
                                        : KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    case RC_NOT_FOUND:
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    case RC_LIMIT:
        if (kind == OPERATION_GROW)
            return KAFKA_ERROR_INVALID_PARTITIONS;
        return kind == OPERATION_QUOTA ? KAFKA_ERROR_INVALID_REQUEST : KAFKA_ERROR_POLICY_VIOLATION;
    default:
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
}

/* Gives the record its incarnations or ids and checks it against the state and the claims of the
 * same batch. */
static enum rc
prepare_record(struct control *control,
               struct control_operation *operation,
               struct claims *claims,
               struct diag_trail *trail)
{
    struct topic_record *record = &operation->record;
    const struct topic_store *store = &control->store;
    enum rc rc;

    if (record->kind == TOPIC_RECORD_CREATED || record->kind == TOPIC_RECORD_PARTITIONS)
        record->first_incarnation = control->metadata.next_incarnation;
    if (record->kind == TOPIC_RECORD_PRODUCERS)
        record->first_producer = store->next_producer;
    rc = topic_store_check(store, record, trail);
    if (rc != RC_OK)
        return rc;
    if (record->kind == TOPIC_RECORD_CREATED &&
        claims->topics >= store->config.topics_max - store->topic_count) {
        diag_trail_add(trail, "topics_max is reached");
        return RC_LIMIT;
    }
    if (record->kind != TOPIC_RECORD_CREATED && record->kind != TOPIC_RECORD_PARTITIONS)
        return RC_OK;
    uint32_t free_count = store->config.partitions_max - store->partition_count -
                          claims->partitions;
    if (record->partition_count > free_count) {
        diag_trail_add(trail, "partitions_max is reached");
        return RC_LIMIT;
    }
    return RC_OK;
}

static void
claim(struct control *control, const struct topic_record *record, struct claims *claims)
{
    if (record->kind != TOPIC_RECORD_CREATED && record->kind != TOPIC_RECORD_PARTITIONS)
        return;
    if (record->kind == TOPIC_RECORD_CREATED)
        claims->topics++;
    claims->partitions += record->partition_count;
    control->metadata.next_incarnation += record->partition_count;
}

/* The queued operation that came first, or CONTROL_NONE. */
static uint32_t
first_queued(struct control *control)
{
    uint32_t first = CONTROL_NONE;

    if (control->operation_count == 0)
        return first;
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        const struct control_operation *operation = &control->operations[i];
        bool queued = operation->state == OPERATION_QUEUED || operation->state == OPERATION_UNDOING;
        if (queued &&
            (first == CONTROL_NONE || operation->order < control->operations[first].order))
            first = i;
    }
    return first;
}

/* Adds one operation's record. False: the batch is full. */
static bool
add_record(struct control *control,
           uint32_t idx,
           struct record_builder *builder,
           struct claims *claims)
{
    struct control_operation *operation = control__operation(control, idx);
    uint8_t value[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(value, sizeof(value));
    struct diag_trail trail;
    diag_trail_clear(&trail);
    enum rc rc = prepare_record(control, operation, claims, &trail);

    if (rc != RC_OK) {
        control__operation_fail(control, idx, error_of_check(rc, operation->kind), trail.text);
        return true;
    }
    topic_record_encode(&operation->record, &writer);
    CHECK(!writer.failed);
    struct record record = {
        .timestamp_ms = clock_wall_ms(control->config.clock),
        .value = {value, writer_count(&writer)},
    };
    if (!record_builder_add(builder, &record))
        return false;
    claim(control, &operation->record, claims);
    operation->state = operation->state == OPERATION_QUEUED ? OPERATION_APPENDING
                                                            : OPERATION_UNDO_APPENDING;
    operation->order = control->operation_order++; /* its place in the batch */
    control__count(&control->counters.metadata_records, 1);
    return true;
}

static void
send_batch(struct control *control)
{
    struct control_metadata *metadata = &control->metadata;
    struct request request = {
        .kind = REQUEST_PRODUCE,
        .slot = metadata->slot,
        .incarnation = TOPIC_METADATA_INCARNATION,
        .ctx = control__tag(TAG_METADATA_APPEND, 0, 0),
        .u.produce = {.batch = metadata->batch, .batch_bytes = metadata->batch_bytes},
    };

    metadata->appending = true;
    if (control__log_send(control, 0, &request)) {
        metadata->batch_bytes = 0;
        control__count(&control->counters.metadata_batches, 1);
    }
}

static void
build_batch(struct control *control)
{
    struct control_metadata *metadata = &control->metadata;
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    struct claims claims = {0};
    uint32_t idx = first_queued(control);

    if (idx == CONTROL_NONE)
        return;
    metadata->next_incarnation = control->store.next_incarnation;
    record_builder_begin(&builder, metadata->batch, CONTROL_METADATA_BYTES, &options);
    for (; idx != CONTROL_NONE; idx = first_queued(control)) {
        if (!add_record(control, idx, &builder, &claims))
            break;
        control->work++;
    }
    if (builder.record_count == 0)
        return;
    metadata->batch_bytes = record_builder_finish(&builder);
    send_batch(control);
}

static void
refuse_queued(struct control *control)
{
    for (uint32_t idx = first_queued(control); idx != CONTROL_NONE; idx = first_queued(control))
        control__operation_fail(control,
                                idx,
                                KAFKA_ERROR_KAFKA_STORAGE_ERROR,
                                "the metadata log failed; no changes until restart");
}

/* Keeps a block of producer ids in hand, so that most requests for one are answered at once. */
static void
refill_producers(struct control *control)
{
    struct control_metadata *metadata = &control->metadata;
    struct topic_record record = {.kind = TOPIC_RECORD_PRODUCERS,
                                  .producer_count = control->config.producer_block};
    struct operation_request request = {
        .kind = OPERATION_PRODUCERS, .call = CONTROL_NONE, .record = &record};

    if (metadata->failed || !metadata->producers_asked || control_state(control) == CONTROL_BOOTING)
        return;
    if (metadata->producers_pending)
        return;
    if (control__operation_start(control, &request) != CONTROL_NONE)
        metadata->producers_pending = true;
}

void
control__metadata_poll(struct control *control)
{
    struct control_metadata *metadata = &control->metadata;

    refill_producers(control);
    if (metadata->failed) {
        refuse_queued(control);
        return;
    }
    if (metadata->appending && metadata->batch_bytes > 0)
        send_batch(control); /* found no credit last time */
    if (!metadata->appending)
        build_batch(control);
}

/* The operation of the batch under way whose record is next, or CONTROL_NONE. */
static uint32_t
next_appending(struct control *control)
{
    uint32_t first = CONTROL_NONE;

    if (control->operation_count == 0)
        return first;
    for (uint32_t i = 0; i < control->config.limits.operations_max; i++) {
        const struct control_operation *operation = &control->operations[i];
        bool appending = operation->state == OPERATION_APPENDING ||
                         operation->state == OPERATION_UNDO_APPENDING;
        if (appending &&
            (first == CONTROL_NONE || operation->order < control->operations[first].order))
            first = i;
    }
    return first;
}

static void
apply_record(struct control *control, const struct topic_record *record)
{
    uint8_t value[TOPIC_RECORD_BYTES_MAX];
    struct writer writer = writer_over(value, sizeof(value));

    topic_record_encode(record, &writer);
    CHECK(!writer.failed);
    /* It was checked against this very state when the batch was built. */
    enum rc rc = topic_store_apply(
        &control->store, (struct bytes){value, writer_count(&writer)}, NULL);
    CHECK(rc == RC_OK);
}

void
control__metadata_appended(struct control *control, const struct response *response)
{
    struct control_metadata *metadata = &control->metadata;
    enum rc rc = (enum rc)response->rc;

    CHECK(metadata->appending);
    metadata->appending = false;
    /* No space heals by itself, and then nothing was stored; everything else leaves the stored
     * state unknown. */
    metadata->failed = rc != RC_OK && rc != RC_NO_SPACE && rc != RC_AGAIN;
    if (metadata->failed)
        diag_error("metadata_append_failed", "reason=%s doing=refuse_changes", rc_name(rc));
    for (uint32_t idx = next_appending(control); idx != CONTROL_NONE;
         idx = next_appending(control)) {
        struct control_operation *operation = control__operation(control, idx);
        if (rc == RC_OK && operation->kind == OPERATION_PRODUCERS) {
            metadata->producer_next = operation->record.first_producer;
            metadata->producer_end = operation->record.first_producer +
                                     operation->record.producer_count;
            metadata->producers_asked = false;
        }
        if (operation->kind == OPERATION_PRODUCERS)
            metadata->producers_pending = false;
        if (rc == RC_OK)
            apply_record(control, &operation->record);
        control__operation_appended(control, idx, rc);
    }
}

bool
control__producer_id(struct control *control, int64_t *ret_id)
{
    struct control_metadata *metadata = &control->metadata;

    if (metadata->producer_next == metadata->producer_end) {
        metadata->producers_asked = true;
        return false;
    }
    *ret_id = (int64_t)metadata->producer_next++;
    return true;
}
