/* A Kafka request from arrival to answer. Gates' requests are taken out of their rings at once (a
 * returned snapshot must never wait behind a request) into a backlog as long as the ring; from
 * there they become calls as room allows, one gate after the other. A call is decoded once into a
 * block of the pool, works item by item, and is answered when no item owes anything.
 *
 * Answers are built as structs in one scratch region and written straight into the gate's buffer;
 * when that is too small the answer is measured and the gate asks again with more room. For
 * requests that would show being done twice, an upper bound is checked before anything is done. */
#include "engine/control/control_internal.h"

#define BLOCK_EXTRA_BYTES 4096u /* request struct and alignment */

static const struct control_api *const apis[] = {
    &control__api_list_offsets,
    &control__api_metadata,
    &control__api_find_coordinator,
    &control__api_create_topics,
    &control__api_delete_topics,
    &control__api_init_producer,
    &control__api_epoch_end,
    &control__api_describe_configs,
    &control__api_create_partitions,
    &control__api_describe_cluster,
    &control__api_alter_configs,
    &control__api_delete_records,
    &control__api_incremental_alter_configs,
    &control__api_describe_log_dirs,
    &control__api_elect_leaders,
    &control__api_list_partition_reassignments,
    &control__api_describe_acls,
    &control__api_create_acls,
    &control__api_delete_acls,
    &control__api_alter_replica_log_dirs,
    &control__api_alter_partition_reassignments,
    &control__api_describe_client_quotas,
    &control__api_alter_client_quotas,
    &control__api_list_config_resources,
    &control__api_describe_topic_partitions,
    &control__api_write_txn_markers,
    &control__api_describe_producers,
};

const struct control_api *
control__api(int16_t key)
{
    for (size_t i = 0; i < ARRAY_COUNT(apis); i++) {
        if (apis[i]->key == key)
            return apis[i];
    }
    for (uint32_t i = 0; i < control__apis_of_groups_count; i++) {
        if (control__apis_of_groups[i].key == key)
            return &control__apis_of_groups[i];
    }
    for (uint32_t i = 0; i < control__apis_of_transactions_count; i++) {
        if (control__apis_of_transactions[i].key == key)
            return &control__apis_of_transactions[i];
    }
    return NULL;
}

static void
respond(struct control *control,
        const struct control_call *call,
        enum rc rc,
        uint32_t bytes,
        uint64_t spent_ns)
{
    uint32_t gate = call->gate;

    struct response response = {
        .kind = RESPONSE_DONE,
        .request_kind = REQUEST_KAFKA,
        .rc = (uint16_t)rc,
        .ctx = call->ctx,
        .bytes = bytes,
        .base_offset = spent_ns,
    };

    /* The gate keeps a slot for every request that it sends. */
    CHECK(ring_push(control->config.gates[gate].responses, &response, 1) == 1);
    control->gate_notify[gate] = true;
    control__count(rc == RC_OK ? &control->counters.calls : &control->counters.calls_refused, 1);
    control->work++;
}

void
control__respond(struct control *control, uint32_t gate, uint64_t ctx, enum rc rc, uint32_t bytes)
{
    const struct control_call call = {.gate = gate, .ctx = ctx};

    respond(control, &call, rc, bytes, 0);
}

/* Core time since work on this call began in this poll; 0: it is answered from elsewhere. */
static uint64_t
time_now(struct control *control, const struct control_call *call)
{
    return control->running == call
               ? clock_now_ns(control->config.clock) - control->running_since_ns
               : 0;
}

static void
time_begin(struct control *control, const struct control_call *call)
{
    control->running = call;
    control->running_since_ns = clock_now_ns(control->config.clock);
}

static void
time_end(struct control *control, struct control_call *call)
{
    if (call->state != CALL_FREE)
        call->spent_ns += time_now(control, call);
    control->running = NULL;
}

void
control__item_message(struct control_call *call, struct control_item *item, const char *text)
{
    size_t count = strnlen(text, CONTROL_MESSAGE_MAX);
    uint8_t *copy = count > 0 ? kafka_arena_take(&call->arena, count) : NULL;

    /* A message is a courtesy: without room for it the error code must do. */
    if (copy == NULL)
        return;
    bytes_copy(copy, count, text, count);
    item->message = (struct bytes){copy, count};
}

void
control__item_refuse(struct control_call *call,
                     struct control_item *item,
                     int16_t error,
                     const char *why)
{
    item->error = error;
    item->waits = 0;
    control__item_message(call, item, why);
}

bool
control__items_take(struct control_call *call, uint32_t count)
{
    call->item_count = count;
    call->items = kafka_arena_take(&call->arena, sizeof(struct control_item) * count);
    return call->items != NULL || count == 0;
}

enum rc
control__begin_whole(struct control *control, struct control_call *call)
{
    (void)control;
    (void)call;
    return RC_OK;
}

/* ---- ends */

static void
end_call(struct control *control, struct control_call *call, enum rc rc, uint32_t bytes)
{
    respond(control, call, rc, bytes, call->spent_ns + time_now(control, call));
    if (call->block != NULL)
        buddy_give(&control->pool, call->block);
    if (call->extra != NULL)
        buddy_give(&control->pool, call->extra);
    *call = (struct control_call){.state = CALL_FREE};
    control->call_count--;
    control->calls_free[control->config.limits.calls_max - control->call_count - 1] =
        (uint32_t)(call - control->calls);
}

/* Calls wait in no list while others owe them something; what they wait for puts them here. */
static void
ready_call(struct control *control, struct control_call *call)
{
    uint32_t max = control->config.limits.calls_max;

    if (call->is_ready)
        return;
    call->is_ready = true;
    control->calls_ready[(control->ready_first + control->ready_count) % max] =
        (uint32_t)(call - control->calls);
    control->ready_count++;
}

static size_t
write_answer(const struct control_call *call, const void *message, void *at, size_t capacity)
{
    struct writer writer = writer_over(at, capacity);
    const struct kafka_request_header *header = &call->header;

    kafka_response_header(&writer, header->api, header->api_version, header->correlation_id);
    kafka_encode(header->api->response, header->api_version, &writer, message);
    return writer.failed ? 0 : writer_count(&writer);
}

void
control__call_finish(struct control *control, struct control_call *call, const void *message)
{
    enum rc rc = RC_OK;

    if (message == NULL) {
        end_call(control, call, RC_LIMIT, 0);
        return;
    }
    size_t bytes = write_answer(call, message, call->reply, call->reply_capacity);
    if (bytes == 0) {
        bytes = write_answer(call, message, control->reply, CONTROL_REPLY_BYTES);
        rc = bytes == 0 ? RC_LIMIT : RC_NO_MEMORY;
    }
    end_call(control, call, rc, (uint32_t)bytes);
}

static void
finish_call(struct control *control, struct control_call *call)
{
    const struct control_api *api = control__api(call->header.api_key);
    struct kafka_arena arena = kafka_arena_over(control->build, CONTROL_BUILD_BYTES);

    control__call_finish(control, call, api->finish(control, call, &arena));
}

/* ---- beginnings */

static enum rc
decode(struct control *control, struct control_call *call)
{
    const struct kafka_api *api = call->header.api;
    const struct control_api *own = control__api(call->header.api_key);
    struct reader reader = reader_over(call->body.at, call->body.count);

    call->message = kafka_arena_take(&call->arena, api->request->struct_bytes);
    if (call->message == NULL)
        return RC_LIMIT;
    enum rc rc = kafka_decode(
        api->request, call->header.api_version, &reader, &call->arena, call->message);
    if (rc != RC_OK)
        return rc == RC_NO_MEMORY ? RC_LIMIT : RC_MALFORMED;
    return own->begin(control, call);
}

/* Why a request cannot be served at all; RC_OK and header when it can. */
static enum rc
look_at(const struct request *request, struct kafka_request_header *header)
{
    struct bytes frame = {request->u.kafka.frame, request->u.kafka.frame_bytes};

    if (kafka_request_header_read(frame, header) != KAFKA_PARSE_OK)
        return RC_MALFORMED;
    if (header->api == NULL || !header->served || control__api(header->api_key) == NULL)
        return RC_UNSUPPORTED;
    return header->header_bytes <= frame.count ? RC_OK : RC_MALFORMED;
}

static struct control_call *
free_call(struct control *control)
{
    uint32_t free_count = control->config.limits.calls_max - control->call_count;

    return free_count == 0 ? NULL : &control->calls[control->calls_free[free_count - 1]];
}

/* Takes a request out of the backlog. False: no room for it now. */
static bool
start_call(struct control *control, uint32_t gate, const struct request *request)
{
    struct kafka_request_header header;
    struct control_call *call = free_call(control);
    enum rc rc = look_at(request, &header);

    if (rc != RC_OK) {
        control__respond(control, gate, request->ctx, rc, 0);
        return true;
    }
    uint64_t body_bytes = request->u.kafka.frame_bytes - header.header_bytes;
    uint64_t block_bytes = body_bytes * CONTROL_CALL_FACTOR + BLOCK_EXTRA_BYTES;
    if (block_bytes > BUDDY_BLOCK_MAX) {
        control__respond(control, gate, request->ctx, RC_LIMIT, 0);
        return true;
    }
    uint8_t *block = call != NULL ? buddy_take(&control->pool, block_bytes) : NULL;
    if (block == NULL) {
        control->retry = true;
        return false;
    }
    *call = (struct control_call){
        .state = CALL_RUNNING,
        .gate = gate,
        .ctx = request->ctx,
        .body = {request->u.kafka.frame + header.header_bytes, body_bytes},
        .reply = request->u.kafka.reply,
        .reply_capacity = request->u.kafka.reply_capacity,
        .header = header,
        .block = block,
        .serial = ++control->call_serial,
        .arena = kafka_arena_over(block, block_bytes),
    };
    memcpy(call->peer, request->u.kafka.peer, sizeof(call->peer));
    control->call_count++;
    const struct control_api *api = control__api(header.api_key);
    time_begin(control, call);
    rc = decode(control, call);
    uint64_t bound = rc == RC_OK && api->reply_bound != NULL ? api->reply_bound(call) : 0;
    if (rc != RC_OK)
        end_call(control, call, rc, 0);
    else if (bound > call->reply_capacity)
        end_call(
            control, call, bound <= CONTROL_REPLY_BYTES ? RC_NO_MEMORY : RC_LIMIT, (uint32_t)bound);
    else
        ready_call(control, call);
    time_end(control, call);
    return true;
}

/* ---- progress */

static void
run_call(struct control *control, struct control_call *call)
{
    const struct control_api *api = control__api(call->header.api_key);

    if (api->dispatch != NULL && (api->dispatches == NULL || api->dispatches(call))) {
        call->state = CALL_PARKED;
        api->dispatch(control, call);
        return;
    }
    while (call->next_item < call->item_count) {
        if (api->issue != NULL && !api->issue(control, call, call->next_item)) {
            ready_call(control, call); /* no room now: offered again by the next poll */
            return;
        }
        call->next_item++;
        control->work++;
    }
    if (call->outstanding == 0)
        finish_call(control, call);
}

void
control__call_answered(struct control *control,
                       uint32_t idx,
                       uint32_t item,
                       const struct response *response)
{
    struct control_call *call = control__call(control, idx);
    const struct control_api *api = control__api(call->header.api_key);

    CHECK(call->state == CALL_RUNNING);
    CHECK(call->outstanding > 0);
    CHECK(item < call->item_count);
    call->outstanding--;
    call->items[item].waits = 0;
    api->answered(control, call, item, response);
    ready_call(control, call);
}

void
control__call_operation_done(struct control *control,
                             const struct control_operation *operation,
                             const uint8_t *topic_id)
{
    struct control_call *call = control__call(control, operation->call);

    CHECK(call->state == CALL_RUNNING);
    CHECK(call->outstanding > 0);
    CHECK(operation->item < call->item_count);
    struct control_item *item = &call->items[operation->item];
    call->outstanding--;
    item->waits = 0;
    item->error = operation->error;
    bytes_copy(item->id, sizeof(item->id), topic_id, sizeof(item->id));
    control__item_message(call, item, operation->message);
    ready_call(control, call);
}

/* Requests that come while nothing can be served: the gate closes their connections. */
static void
refuse_backlog(struct control *control)
{
    for (uint32_t i = 0; i < control->config.gate_count; i++) {
        struct control_backlog *backlog = &control->backlogs[i];
        for (; backlog->count > 0; backlog->count--) {
            control__respond(control, i, backlog->requests[backlog->first].ctx, RC_CLOSED, 0);
            backlog->first = (backlog->first + 1) % REQUEST_RING_SLOTS;
        }
    }
}

static void
start_calls(struct control *control)
{
    bool more = true;

    /* One from each gate in turn, so that a busy gate does not starve the others. */
    while (more) {
        more = false;
        for (uint32_t i = 0; i < control->config.gate_count; i++) {
            struct control_backlog *backlog = &control->backlogs[i];
            if (backlog->count == 0)
                continue;
            if (!start_call(control, i, &backlog->requests[backlog->first]))
                return;
            backlog->first = (backlog->first + 1) % REQUEST_RING_SLOTS;
            backlog->count--;
            more = true;
        }
    }
}

void
control__calls_poll(struct control *control)
{
    enum control_state state = control_state(control);

    if (state == CONTROL_BOOTING)
        return;
    if (state == CONTROL_READY)
        start_calls(control);
    else
        refuse_backlog(control);
    /* Those that become ready meanwhile are for the next poll. */
    for (uint32_t count = control->ready_count; count > 0; count--) {
        struct control_call *call = &control->calls[control->calls_ready[control->ready_first]];
        control->ready_first = (control->ready_first + 1) % control->config.limits.calls_max;
        control->ready_count--;
        call->is_ready = false;
        if (call->state != CALL_RUNNING)
            continue;
        time_begin(control, call);
        run_call(control, call);
        time_end(control, call);
    }
}
