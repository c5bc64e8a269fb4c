/* Goal: the scripted surroundings of fixture.h. Method: every answer is computed from what a
 * request says and what was stored before; every rule of the rings that control could break is
 * asserted here. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/base/hash.h"
#include "engine/record/record_batch.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>

#define RING_SLOTS REQUEST_RING_SLOTS
#define ARENA_BYTES (8u << 20)

static void
new_ring(struct ring *ring, uint32_t slot_bytes)
{
    ring_init(ring,
              kept(aligned_alloc(128, round_up(ring_footprint(slot_bytes, RING_SLOTS), 128))),
              slot_bytes,
              RING_SLOTS);
}

struct bytes
fixture_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- log tiles */

static struct fixture_partition *
partition_at(struct fixture_log *log, uint32_t slot, uint64_t incarnation)
{
    if (slot >= FIXTURE_PARTITIONS || !log->partitions[slot].live ||
        log->partitions[slot].config.incarnation != incarnation)
        return NULL;
    return &log->partitions[slot];
}

static enum rc
open_partition(struct fixture_log *log,
               const struct log_partition_config *config,
               uint32_t *ret_slot)
{
    uint32_t free_slot = UINT32_MAX;

    log->opens++;
    if (log->fail_open_at > 0 && --log->fail_open_at == 0)
        return log->fail_open_rc;
    for (uint32_t i = 0; i < FIXTURE_PARTITIONS; i++) {
        struct fixture_partition *partition = &log->partitions[i];
        if (partition->live && partition->config.incarnation == config->incarnation) {
            partition->named = true;
            partition->config = *config;
            *ret_slot = i;
            return RC_OK;
        }
        if (!partition->live && free_slot == UINT32_MAX)
            free_slot = i;
    }
    if (free_slot == UINT32_MAX)
        return RC_LIMIT;
    log->partitions[free_slot] = (struct fixture_partition){
        .live = true, .named = true, .config = *config, .leader_epoch = 4};
    *ret_slot = free_slot;
    return RC_OK;
}

static void
drop_partition(struct fixture_partition *partition)
{
    for (uint32_t i = 0; i < partition->batch_count; i++)
        free(partition->batches[i]);
    *partition = (struct fixture_partition){0};
}

void
fixture_store(struct fixture_partition *partition, const uint8_t *batch, uint32_t batch_bytes)
{
    uint8_t *copy = kept(malloc(batch_bytes));

    cr_assert_lt(partition->batch_count, FIXTURE_BATCHES);
    memcpy(copy, batch, batch_bytes);
    record_batch_patch(copy, partition->end, partition->leader_epoch);
    partition->batches[partition->batch_count++] = copy;
    partition->end += (uint64_t)record_batch_last_offset_delta(copy) + 1;
}

static void
read_batches(struct fixture_partition *partition,
             const struct request *request,
             struct response *response)
{
    uint32_t at = 0;

    if (request->u.read.offset < partition->start) {
        response->rc = RC_OFFSET_OUT_OF_RANGE;
        return;
    }
    for (uint32_t i = 0; i < partition->batch_count; i++) {
        const uint8_t *batch = partition->batches[i];
        uint32_t bytes = (uint32_t)record_batch_bytes(batch);
        uint64_t last = record_batch_base_offset(batch) +
                        (uint64_t)record_batch_last_offset_delta(batch);
        if (last < request->u.read.offset)
            continue;
        if (request->u.read.dst_bytes == 0) {
            response->total_bytes += bytes; /* what a probe asks for */
            continue;
        }
        if (at + bytes > request->u.read.dst_bytes)
            break;
        memcpy(request->u.read.dst + at, batch, bytes);
        at += bytes;
    }
    response->bytes = at;
}

static void
find_batch(struct fixture_partition *partition,
           const struct request *request,
           struct response *response)
{
    const uint8_t *found = NULL;

    response->start_offset = partition->start;
    for (uint32_t i = 0; i < partition->batch_count; i++) {
        const uint8_t *batch = partition->batches[i];
        int64_t time = record_batch_max_timestamp(batch);
        if (request->kind == REQUEST_FIND_TIME && time >= request->u.find.time_ms && found == NULL)
            found = batch;
        if (request->kind == REQUEST_FIND_MAX_TIME &&
            (found == NULL || time > record_batch_max_timestamp(found)))
            found = batch;
    }
    if (found == NULL)
        return;
    response->bytes = (uint32_t)record_batch_bytes(found);
    cr_assert_leq(response->bytes, request->u.find.dst_bytes);
    memcpy(request->u.find.dst, found, response->bytes);
}

static void
trim_partition(struct fixture_partition *partition, uint64_t offset, struct response *response)
{
    if (offset == UINT64_MAX)
        offset = partition->end;
    if (offset > partition->end)
        response->rc = RC_OFFSET_OUT_OF_RANGE;
    else if (offset > partition->start)
        partition->start = offset;
    response->start_offset = partition->start;
}

static void
prune(struct fixture_log *log)
{
    log->prunes++;
    for (uint32_t i = 0; i < FIXTURE_PARTITIONS; i++) {
        if (log->partitions[i].live && !log->partitions[i].named)
            drop_partition(&log->partitions[i]);
    }
}

static void
list_producers(const struct fixture_partition *partition,
               const struct request *request,
               struct response *response)
{
    if (partition->producer.producer_id == 0 ||
        request->u.find.dst_bytes < sizeof(partition->producer))
        return;
    memcpy(request->u.find.dst, &partition->producer, sizeof(partition->producer));
    response->bytes = sizeof(partition->producer);
}

static void
transact(struct fixture_log *log,
         struct fixture_partition *partition,
         const struct request *request,
         struct response *response)
{
    bool is_marker = request->kind == REQUEST_TXN_MARKER;

    if (request->kind == REQUEST_PRODUCERS) {
        list_producers(partition, request, response);
        return;
    }
    cr_assert(is_marker || request->kind == REQUEST_TXN_ADMIT, "request kind %u", request->kind);
    log->last_transaction = *request;
    log->admits += !is_marker;
    log->markers += is_marker;
    if (is_marker)
        response->rc = (uint16_t)log->fail_marker_rc;
    if (response->rc == RC_OK)
        partition->producer = (struct request_producer){
            .producer_id = request->u.transaction.producer_id,
            .producer_epoch = request->u.transaction.producer_epoch,
            .transaction_first_offset = is_marker ? UINT64_MAX : partition->end,
            .coordinator_epoch = request->u.transaction.coordinator_epoch,
            .last_sequence = -1,
        };
}

static struct response
log_answer(struct fixture_log *log, const struct request *request)
{
    struct response response = {.kind = RESPONSE_DONE,
                                .request_kind = request->kind,
                                .slot = request->slot,
                                .ctx = request->ctx,
                                .leader_epoch = -1};
    struct fixture_partition *partition = partition_at(log, request->slot, request->incarnation);

    switch (request->kind) {
    case REQUEST_OPEN:
        response.rc = (uint16_t)open_partition(log, request->u.open.config, &response.slot);
        if (response.rc != RC_OK)
            response.slot = UINT32_MAX;
        return response;
    case REQUEST_PRUNE:
        prune(log);
        return response;
    case REQUEST_STOP:
        log->stops++;
        return response;
    default:
        break;
    }
    if (partition == NULL) {
        response.rc = RC_UNKNOWN_PARTITION;
        return response;
    }
    response.start_offset = partition->start;
    response.high_watermark = partition->end;
    response.leader_epoch = partition->leader_epoch;
    switch (request->kind) {
    case REQUEST_PRODUCE:
        log->appends++;
        response.rc = (uint16_t)log->fail_append_rc;
        response.base_offset = partition->end;
        if (response.rc == RC_OK)
            fixture_store(partition, request->u.produce.batch, request->u.produce.batch_bytes);
        break;
    case REQUEST_READ:
        read_batches(partition, request, &response);
        break;
    case REQUEST_OFFSETS:
        break;
    case REQUEST_CONFIGURE:
        log->configures++;
        cr_assert_eq(request->u.open.config->incarnation, request->incarnation);
        partition->config = *request->u.open.config;
        break;
    case REQUEST_TRIM:
        trim_partition(partition, request->u.trim.start_offset, &response);
        break;
    case REQUEST_FIND_TIME:
    case REQUEST_FIND_MAX_TIME:
        log->finds++;
        response.request_kind = REQUEST_READ; /* as the broker answers */
        find_batch(partition, request, &response);
        break;
    case REQUEST_EPOCH_END:
        response.leader_epoch = request->u.epoch_end.epoch < partition->leader_epoch
                                    ? -1
                                    : partition->leader_epoch;
        response.base_offset = response.leader_epoch < 0 ? UINT64_MAX : partition->end;
        break;
    case REQUEST_DROP:
        log->drops++;
        drop_partition(partition);
        break;
    default:
        transact(log, partition, request, &response);
    }
    return response;
}

void
fixture_release(struct fixture *fixture, uint32_t log_tile)
{
    struct fixture_log *log = &fixture->logs[log_tile];

    log->hold = false;
    cr_assert_eq(ring_push(&log->responses, log->held, log->held_count), log->held_count);
    log->held_count = 0;
}

static uint32_t
script_poll(struct fixture_log *log)
{
    struct request request;
    uint32_t work = 0;

    while (ring_pop(&log->requests, &request, 1) == 1) {
        cr_assert_eq(request.requester, REQUESTER_CONTROL);
        struct response response = log_answer(log, &request);
        if (log->hold)
            log->held[log->held_count++] = response;
        else
            cr_assert_eq(ring_push(&log->responses, &response, 1), 1u);
        work++;
    }
    return work;
}

/* ---- gates */

static void
give_back(struct fixture_gate *gate, uint16_t requester, const void *snapshot)
{
    struct request request = {
        .kind = REQUEST_TOPIC_SEEN, .requester = requester, .ctx = (uint64_t)(uintptr_t)snapshot};

    cr_assert_eq(ring_push(&gate->requests, &request, 1), 1u);
}

static void
gate_take(struct fixture *fixture,
          struct fixture_gate *gate,
          uint16_t requester,
          const struct response *response)
{
    struct fixture_event *event = &gate->events[gate->event_count++];

    cr_assert_leq(gate->event_count, FIXTURE_EVENTS);
    *event = (struct fixture_event){
        .ctx = response->ctx, .rc = (enum rc)response->rc, .bytes = response->bytes};
    if (response->kind == RESPONSE_TOPIC) {
        const struct topic_snapshot *snapshot = response->u.topic;
        event->kind = EVENT_TOPIC;
        event->gone = snapshot->gone;
        event->closed = snapshot->is_closed;
        event->partition_count = snapshot->partition_count;
        event->batch_bytes_max = snapshot->batch_bytes_max;
        event->is_memory = snapshot->is_memory;
        memcpy(event->name, snapshot->name, snapshot->name_count);
        if (gate->keep)
            gate->kept[gate->kept_count++] = snapshot;
        else
            give_back(gate, requester, snapshot);
        return;
    }
    if (response->kind == RESPONSE_QUOTA) {
        event->kind = EVENT_QUOTA;
        event->quota = *response->u.quota;
        give_back(gate, requester, response->u.quota);
        return;
    }
    struct fixture_call *call = &fixture->calls[response->ctx];
    cr_assert_lt(response->ctx, fixture->call_count);
    cr_assert_not(call->done, "answered twice");
    event->kind = EVENT_DONE;
    call->done = true;
    call->rc = (enum rc)response->rc;
    call->bytes = response->bytes;
}

static uint32_t
gate_poll(struct fixture *fixture, uint32_t idx)
{
    struct fixture_gate *gate = &fixture->gates[idx];
    struct response response;
    uint32_t work = 0;

    for (; !gate->keep && gate->kept_count > 0; work++)
        give_back(gate, (uint16_t)(idx + 1), gate->kept[--gate->kept_count]);
    for (; ring_pop(&gate->responses, &response, 1) == 1; work++)
        gate_take(fixture, gate, (uint16_t)(idx + 1), &response);
    return work;
}

uint32_t
fixture_send(struct fixture *fixture,
             uint32_t gate,
             enum kafka_api_key key,
             int16_t version,
             const void *message)
{
    uint32_t idx = fixture->call_count++;
    cr_assert_lt(idx, FIXTURE_CALLS);
    struct fixture_call *call = &fixture->calls[idx];
    struct writer writer;

    free(call->frame);
    free(call->reply);
    *call = (struct fixture_call){
        .request = {key, version, (int32_t)(1000 + idx), fixture_text("test")},
        .frame = kept(malloc(1u << 20)),
        .reply = kept(malloc(FIXTURE_REPLY_BYTES))};
    writer = writer_over(call->frame, 1u << 20);
    kafka_client_request(&writer, &call->request, message);
    cr_assert_not(writer.failed);
    call->frame_bytes = (uint32_t)writer_count(&writer) - 4;
    struct request request = {
        .kind = REQUEST_KAFKA,
        .requester = (uint16_t)(gate + 1),
        .ctx = idx,
        .u.kafka = {.frame = call->frame + 4,
                    .reply = call->reply,
                    .frame_bytes = call->frame_bytes,
                    .reply_capacity = FIXTURE_REPLY_BYTES},
    };
    cr_assert_eq(ring_push(&fixture->gates[gate].requests, &request, 1), 1u);
    return idx;
}

void
fixture_answer(struct fixture *fixture, uint32_t idx, void *ret)
{
    struct fixture_call *call = &fixture->calls[idx];
    struct kafka_arena arena = kafka_arena_over(fixture->arena, ARENA_BYTES);

    cr_assert(call->done, "call %u was not answered", idx);
    cr_assert_eq(call->rc, RC_OK, "call %u: %s", idx, rc_name(call->rc));
    cr_assert_eq(kafka_client_response(
                     (struct bytes){call->reply, call->bytes}, &call->request, &arena, ret),
                 RC_OK);
}

void
fixture_ask(struct fixture *fixture,
            enum kafka_api_key key,
            int16_t version,
            const void *message,
            void *ret)
{
    if (fixture->call_count == FIXTURE_CALLS)
        fixture->call_count = 0; /* nothing is under way between asks */
    uint32_t idx = fixture_send(fixture, 0, key, version, message);

    fixture_run(fixture);
    fixture_answer(fixture, idx, ret);
}

/* ---- life */

void
fixture_run(struct fixture *fixture)
{
    uint32_t idle = 0;

    for (uint32_t round = 0; idle < 3; round++) {
        cr_assert_lt(round, 100000u, "never comes to rest");
        uint32_t work = control_tile_ops.poll(fixture->control, clock_now_ns(&fixture->clock)).work;
        for (uint32_t i = 0; i < fixture->config.log_tile_count; i++)
            work += script_poll(&fixture->logs[i]);
        for (uint32_t i = 0; i < fixture->config.gate_count; i++)
            work += gate_poll(fixture, i);
        clock_sim_advance(&fixture->clock, NS_PER_MS);
        idle = work == 0 ? idle + 1 : 0;
    }
}

void
fixture_restart(struct fixture *fixture)
{
    struct diag_trail trail = {0};

    if (fixture->memory != NULL)
        munmap(fixture->memory, fixture->memory_bytes);
    for (uint32_t i = 0; i < 2; i++) {
        struct fixture_log *log = &fixture->logs[i];
        new_ring(&log->requests, sizeof(struct request));
        new_ring(&log->responses, sizeof(struct response));
        new_ring(&log->jobs, sizeof(void *));
        new_ring(&log->jobs_done, sizeof(void *));
        log->hold = false;
        log->held_count = 0;
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            log->partitions[p].named = false;
            log->partitions[p].leader_epoch++;
        }
        fixture->config.logs[i] = (struct control_log_link){
            &log->requests, &log->responses, &log->jobs, &log->jobs_done, NULL};
        struct fixture_gate *gate = &fixture->gates[i];
        new_ring(&gate->requests, sizeof(struct request));
        new_ring(&gate->responses, sizeof(struct response));
        gate->event_count = 0;
        gate->kept_count = 0;
        fixture->config.gates[i] = (struct control_gate_link){
            &gate->requests, &gate->responses, NULL};
    }
    fixture->call_count = 0;
    fixture->memory_bytes = control_footprint(&fixture->config);
    fixture->memory = mmap(NULL,
                           fixture->memory_bytes,
                           PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                           -1,
                           0);
    cr_assert_neq(fixture->memory, MAP_FAILED);
    cr_assert_eq(control_init(fixture->memory, &fixture->config, &fixture->control, &trail),
                 RC_OK,
                 "%s",
                 trail.text);
}

struct fixture *
fixture_new(uint64_t seed)
{
    struct fixture *fixture = kept(calloc(1, sizeof(*fixture)));

    clock_init_sim(&fixture->clock, seed, 1700000000000);
    fixture->arena = kept(malloc(ARENA_BYTES));
    fixture->config = (struct control_config){
        .clock = &fixture->clock,
        .gate_count = 2,
        .log_tile_count = 2,
        .limits = {.topics_max = 64,
                   .partitions_max = 256,
                   .topic_partitions_max = 128,
                   .calls_max = 32,
                   .operations_max = 16,
                   .pool_bytes = 16 * MIB,
                   .transactions = {.transactions_max = 16,
                                    .partitions_max = 64,
                                    .size_max = 32,
                                    .timeout_max_ms = 900000,
                                    .expiration_ms = -1,
                                    .orders_max = 64},
                   .groups = {.groups_max = 16,
                              .members_max = 64,
                              .size_max = 32,
                              .offsets_max = 64,
                              .transactions_max = 16,
                              .consumer_topics_max = 64,
                              .consumer_partitions_max = 512,
                              .consumer_session_ns = 45 * NS_PER_S,
                              .consumer_heartbeat_ms = 5000,
                              .memory_bytes = MIB,
                              .metadata_bytes_max = 4096,
                              .session_min_ns = NS_PER_S,
                              .session_max_ns = 60 * NS_PER_S,
                              .retention_ms = -1}},
        .node_id = 1,
        .host = "broker.example",
        .data = "/log",
        .port = 9092,
        .auto_create = true,
        .default_partitions = 3,
        .producer_block = 10,
        .config_count = 1,
        .configs = {{"num.partitions",
                     "Partitions of a topic whose creator does not say.",
                     "3",
                     false,
                     TOPIC_CONFIG_TYPE_INT}},
    };
    fixture_restart(fixture);
    return fixture;
}

struct fixture *
fixture_ready(uint64_t seed)
{
    struct fixture *fixture = fixture_new(seed);

    fixture_run(fixture);
    cr_assert_eq(
        control_state(fixture->control), CONTROL_READY, "%s", control_failure(fixture->control));
    return fixture;
}

void
fixture_free(struct fixture *fixture)
{
    munmap(fixture->memory, fixture->memory_bytes);
    free(fixture->arena);
    free(fixture);
}

/* ---- short ways */

int16_t
fixture_create(struct fixture *fixture, const char *name, int32_t partitions)
{
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_request request;
    struct kafka_create_topics_response response;

    kafka_create_topics_topic_defaults(&topic);
    kafka_create_topics_request_defaults(&request);
    topic.name = fixture_text(name);
    topic.partition_count = partitions;
    topic.replication_factor = 1;
    request.topics.at = &topic;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_CREATE_TOPICS, 7, &request, &response);
    cr_assert_eq(response.topics.count, 1u);
    return response.topics.at[0].error;
}

int16_t
fixture_delete(struct fixture *fixture, const char *name)
{
    struct bytes names[1] = {fixture_text(name)};
    struct kafka_delete_topics_request request;
    struct kafka_delete_topics_response response;

    kafka_delete_topics_request_defaults(&request);
    request.names.at = names;
    request.names.count = 1;
    fixture_ask(fixture, KAFKA_DELETE_TOPICS, 5, &request, &response);
    cr_assert_eq(response.topics.count, 1u);
    return response.topics.at[0].error;
}

void
fixture_open_group_log(struct fixture *fixture)
{
    struct kafka_find_coordinator_request request;
    struct kafka_find_coordinator_response response;

    kafka_find_coordinator_request_defaults(&request);
    request.key = fixture_text("g");
    for (int i = 0; i < 2; i++)
        fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 2, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_NONE);
}

struct fixture_partition *
fixture_find(struct fixture *fixture, const char *name, uint32_t partition)
{
    struct kafka_metadata_request_topic topic;
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;

    kafka_metadata_request_topic_defaults(&topic);
    kafka_metadata_request_defaults(&request);
    topic.name = fixture_text(name);
    request.topics.at = &topic;
    request.topics.count = 1;
    request.allow_auto_topic_creation = false;
    fixture_ask(fixture, KAFKA_METADATA, 12, &request, &response);
    if (response.topics.at[0].error != KAFKA_ERROR_NONE)
        return NULL;
    for (uint32_t i = 0; i < 2 * FIXTURE_PARTITIONS; i++) {
        struct fixture_partition *found =
            &fixture->logs[i / FIXTURE_PARTITIONS].partitions[i % FIXTURE_PARTITIONS];
        if (found->live && found->config.partition == partition &&
            memcmp(found->config.topic_id, response.topics.at[0].topic_id.at, 16) == 0)
            return found;
    }
    return NULL;
}

uint32_t
fixture_live(const struct fixture *fixture)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < 2 * FIXTURE_PARTITIONS; i++)
        count += fixture->logs[i / FIXTURE_PARTITIONS].partitions[i % FIXTURE_PARTITIONS].live;
    return count - 1;
}
