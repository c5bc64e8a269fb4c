/* See fixture.h. A log tile here is as simple as its contract allows: batches in one buffer per
 * partition, offsets assigned, READ, ARM and MARK as request.h says. */
#include "tests/unit/net/door/fixture.h"

#include "engine/record/record_batch.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FIXTURE_SLOTS 1024u

static void
fixture_ring(struct ring *ring, uint32_t slot_bytes, uint32_t slots)
{
    void *memory = kept(aligned_alloc(
        BASE_LINE_BYTES, round_up(ring_footprint(slot_bytes, slots), BASE_LINE_BYTES)));

    ring_init(ring, memory, slot_bytes, slots);
}

static void
fixture_byte_ring(struct byte_ring *ring, uint64_t capacity)
{
    byte_ring_init(ring, kept(aligned_alloc(64, capacity)), capacity);
}

static void
fixture_rings(struct fixture *fixture, uint64_t ring_bytes)
{
    struct door_config *config = &fixture->config;

    for (uint32_t i = 0; i < FIXTURE_LOGS; i++) {
        fixture_ring(&fixture->log_requests[i], sizeof(struct request), FIXTURE_SLOTS);
        fixture_ring(&fixture->log_responses[i], sizeof(struct response), FIXTURE_SLOTS);
        fixture_byte_ring(&fixture->bytes[i], ring_bytes);
        config->logs[i] = (struct door_log_link){.requests = &fixture->log_requests[i],
                                                 .responses = &fixture->log_responses[i],
                                                 .bytes = &fixture->bytes[i]};
    }
    fixture_ring(&fixture->control_requests, sizeof(struct request), FIXTURE_SLOTS);
    fixture_ring(&fixture->control_responses, sizeof(struct response), FIXTURE_SLOTS);
    fixture_ring(&fixture->grants, sizeof(struct door_grant), DOOR_GRANT_RING_SLOTS);
    fixture_ring(&fixture->events, sizeof(struct door_event), DOOR_GRANT_RING_SLOTS);
    for (uint32_t i = 0; i < 2; i++) {
        fixture_ring(&fixture->forward[i], DOOR_FORWARD_SLOT_BYTES, 64);
        fixture_byte_ring(&fixture->forward_bytes[i], 64 * KIB);
    }
    config->control_requests = &fixture->control_requests;
    config->control_responses = &fixture->control_responses;
    config->grants = &fixture->grants;
    config->events = &fixture->events;
    if (config->door_count == 2) {
        config->forward[1] = &fixture->forward[0];
        config->forward_bytes[1] = &fixture->forward_bytes[0];
        config->forwarded[1] = &fixture->forward[1];
        config->forwarded_bytes[1] = &fixture->forward_bytes[1];
    }
}

static uint32_t
or_preset(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

static void
fixture_carrier(struct fixture *fixture, const struct fixture_options *options)
{
    const struct nic_memory_config config = {.clock = &fixture->clock,
                                             .seed = options->seed + 1,
                                             .slots = 4096,
                                             .faults = options->faults};
    struct nic *ends[2];

    cr_assert_eq(nic_memory_open(&config, ends, &fixture->net), RC_OK);
    fixture->door_nic = ends[0];
    fixture->client_nic = ends[1];
}

struct fixture *
fixture_new(const struct fixture_options *options)
{
    static const struct fixture_options plain;
    const struct fixture_options *o = options != NULL ? options : &plain;
    struct fixture *fixture = kept(
        aligned_alloc(BASE_LINE_BYTES, round_up(sizeof(*fixture), BASE_LINE_BYTES)));
    struct diag_trail trail = {0};
    struct door_config *config = &fixture->config;

    memset(fixture, 0, sizeof(*fixture));
    clock_init_sim(&fixture->clock, o->seed + 7, 1700000000000);
    fixture_carrier(fixture, o);
    config->requester = 2;
    config->clock = &fixture->clock;
    config->nic = fixture->door_nic;
    config->log_tile_count = FIXTURE_LOGS;
    config->door_count = or_preset(o->door_count, 1);
    fixture_rings(fixture, o->ring_bytes != 0 ? o->ring_bytes : MIB);
    door_limits_default(&config->limits, 16 * MIB);
    config->limits.sessions_max = or_preset(o->sessions_max, 8);
    config->limits.produces_max = or_preset(o->produces_max, 512);
    config->limits.messages_max = or_preset(o->messages_max, 4);
    config->limits.reads_max = or_preset(o->reads_max, 4);
    config->limits.reorder_max = or_preset(o->reorder_max, config->limits.reorder_max);
    config->limits.subscriptions_max = 4;
    config->limits.calls_max = or_preset(o->calls_max, 4);
    config->limits.topics_max = 16;
    config->limits.partitions_max = FIXTURE_PARTITIONS;
    memset(config->cookie_secret, 0x5a, sizeof(config->cookie_secret));
    uint64_t bytes = door_footprint(config);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    cr_assert_eq(door_init(memory, config, &fixture->door, &trail), RC_OK, "%s", trail.text);
    fixture->call_reply_bytes = 8;
    fixture_topic(fixture, "t", 0, 4, false);
    return fixture;
}

/* ---- topics ---- */

struct wire_partition
fixture_partition(const struct fixture *fixture, uint32_t slot)
{
    return (struct wire_partition){.incarnation = fixture->partitions[slot].incarnation,
                                   .slot = slot,
                                   .log_tile = (uint16_t)(slot % FIXTURE_LOGS)};
}

static struct topic_snapshot *
fixture_snapshot(const char *name, uint32_t first_slot, uint32_t partitions)
{
    struct topic_snapshot *snapshot = kept(
        calloc(1, sizeof(*snapshot) + partitions * sizeof(struct partition_ref)));

    memset(snapshot->id, (int)(first_slot + 1), sizeof(snapshot->id));
    snapshot->name_count = (uint8_t)strlen(name);
    memcpy(snapshot->name, name, snapshot->name_count);
    snapshot->partition_count = partitions;
    snapshot->batch_bytes_max = 512 * 1024;
    return snapshot;
}

static void
fixture_publish(struct fixture *fixture, struct topic_snapshot *snapshot)
{
    struct response response = {.kind = RESPONSE_TOPIC, .u.topic = snapshot};

    cr_assert_eq(ring_push(&fixture->control_responses, &response, 1), 1u);
    fixture_run(fixture, FIXTURE_STEP_NS);
}

void
fixture_topic(struct fixture *fixture,
              const char *name,
              uint32_t first_slot,
              uint32_t partitions,
              bool is_memory)
{
    struct topic_snapshot *snapshot = fixture_snapshot(name, first_slot, partitions);

    snapshot->is_memory = is_memory;
    for (uint32_t i = 0; i < partitions; i++) {
        struct fixture_partition *partition = &fixture->partitions[first_slot + i];
        partition->incarnation = 1000 + first_slot + i;
        partition->bytes = kept(malloc(FIXTURE_LOG_BYTES));
        snapshot->partitions[i] = (struct partition_ref){
            .incarnation = partition->incarnation,
            .slot = first_slot + i,
            .log_tile = (uint16_t)((first_slot + i) % FIXTURE_LOGS),
        };
    }
    fixture_publish(fixture, snapshot);
}

void
fixture_topic_gone(struct fixture *fixture, const char *name, uint32_t first_slot)
{
    struct topic_snapshot *snapshot = fixture_snapshot(name, first_slot, 0);

    snapshot->gone = true;
    fixture->partitions[first_slot].incarnation = 0;
    fixture_publish(fixture, snapshot);
}

/* ---- log tiles ---- */

static struct response
fixture_response(const struct request *request, enum rc rc)
{
    return (struct response){.kind = RESPONSE_DONE,
                             .request_kind = request->kind,
                             .rc = (uint16_t)rc,
                             .slot = request->slot,
                             .ctx = request->ctx};
}

static void
fixture_answer(struct fixture *fixture, const struct response *response)
{
    uint32_t tile = response->slot % FIXTURE_LOGS;

    cr_assert_eq(ring_push(&fixture->log_responses[tile], response, 1), 1u);
}

static void
fixture_mark(struct fixture *fixture, uint32_t slot)
{
    struct fixture_partition *partition = &fixture->partitions[slot];
    const struct response mark = {.kind = RESPONSE_MARK,
                                  .slot = slot,
                                  .ctx = partition->incarnation,
                                  .high_watermark = partition->next_offset};

    if (!partition->armed)
        return;
    partition->armed = false;
    fixture_answer(fixture, &mark);
}

static void
fixture_append(struct fixture *fixture, const struct request *request)
{
    struct fixture_partition *partition = &fixture->partitions[request->slot];
    struct response response = fixture_response(request, (enum rc)fixture->append_rc);
    const uint8_t *batch = request->u.produce.batch;
    uint32_t bytes = request->u.produce.batch_bytes;

    cr_assert(record_batch_crc_ok(batch, bytes), "a batch was damaged on its way");
    cr_assert_eq(request->incarnation, partition->incarnation);
    cr_assert_leq(partition->byte_count + bytes, FIXTURE_LOG_BYTES);
    if (fixture->append_rc == RC_OK) {
        memcpy(partition->bytes + partition->byte_count, batch, bytes);
        record_batch_patch(partition->bytes + partition->byte_count, partition->next_offset, 0);
        response.base_offset = partition->next_offset;
        partition->byte_count += bytes;
        partition->next_offset += get_u32_be(batch + RECORD_BATCH_RECORD_COUNT);
    }
    if (fixture->answers_held) {
        cr_assert_lt(fixture->held_count, FIXTURE_HELD);
        fixture->held[fixture->held_count] = *request;
        fixture->held[fixture->held_count++].u.produce.release_to = response.base_offset;
        return;
    }
    fixture_answer(fixture, &response);
    fixture_mark(fixture, request->slot);
}

void
fixture_answer_held(struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->held_count; i++) {
        struct response response = fixture_response(&fixture->held[i], (enum rc)fixture->append_rc);
        response.base_offset = fixture->held[i].u.produce.release_to;
        fixture_answer(fixture, &response);
    }
    fixture->held_count = 0;
}

static void
fixture_read(struct fixture *fixture, const struct request *request)
{
    struct fixture_partition *partition = &fixture->partitions[request->slot];
    bool is_known = request->incarnation == partition->incarnation;
    struct response response = fixture_response(request, is_known ? RC_OK : RC_UNKNOWN_PARTITION);
    uint32_t at = 0;

    response.high_watermark = partition->next_offset;
    if (is_known && request->u.read.offset > partition->next_offset)
        response.rc = RC_OFFSET_OUT_OF_RANGE;
    while (is_known && at < partition->byte_count) {
        const uint8_t *batch = partition->bytes + at;
        uint32_t bytes = (uint32_t)record_batch_bytes(batch);
        uint64_t last = record_batch_base_offset(batch) +
                        (uint32_t)record_batch_last_offset_delta(batch);
        at += bytes;
        if (last < request->u.read.offset)
            continue;
        bool first = response.bytes == 0;
        if (!first && response.bytes + bytes > request->u.read.max_bytes)
            break;
        if (response.bytes + bytes > request->u.read.dst_bytes) {
            if (first) {
                response.rc = RC_NO_MEMORY;
                response.bytes = bytes;
            }
            break;
        }
        memcpy(request->u.read.dst + response.bytes, batch, bytes);
        response.bytes += bytes;
    }
    if (response.rc == RC_OK && response.bytes == 0 && (request->flags & REQUEST_FLAG_ARM) != 0)
        partition->armed = true;
    fixture_answer(fixture, &response);
}

static void
fixture_log_step(struct fixture *fixture, uint32_t tile)
{
    struct request request;

    while (!fixture->logs_held && ring_pop(&fixture->log_requests[tile], &request, 1) == 1) {
        cr_assert_eq(request.requester, fixture->config.requester);
        if (request.kind == REQUEST_PRODUCE) {
            fixture_append(fixture, &request);
            if ((request.flags & REQUEST_FLAG_RELEASE) != 0)
                byte_ring_release_to(&fixture->bytes[tile], request.u.produce.release_to);
        } else {
            cr_assert_eq(request.kind, REQUEST_READ);
            fixture_read(fixture, &request);
        }
    }
}

/* ---- control and exchange ---- */

static void
fixture_answer_call(struct fixture *fixture, const struct request *request)
{
    struct response response = fixture_response(request, RC_OK);

    fixture->calls_seen++;
    response.bytes = fixture->call_reply_bytes;
    if (request->u.kafka.reply_capacity > DOOR_CALL_REPLY_BYTES)
        fixture->large_calls_seen++;
    if (fixture->call_reply_bytes > request->u.kafka.reply_capacity)
        response.rc = RC_NO_MEMORY;
    else
        for (uint32_t i = 0; i < response.bytes; i++)
            request->u.kafka.reply[i] = (uint8_t)(i * 7);
    cr_assert_eq(ring_push(&fixture->control_responses, &response, 1), 1u);
}

static void
fixture_control_step(struct fixture *fixture)
{
    struct request request;

    if (fixture->has_held_call && !fixture->calls_held) {
        fixture->has_held_call = false;
        fixture_answer_call(fixture, &fixture->held_call);
    }
    while (ring_pop(&fixture->control_requests, &request, 1) == 1) {
        if (request.kind == REQUEST_TOPIC_SEEN)
            continue;
        cr_assert_eq(request.kind, REQUEST_KAFKA);
        if (fixture->calls_held) {
            fixture->held_call = request;
            fixture->has_held_call = true;
        } else {
            fixture_answer_call(fixture, &request);
        }
    }
}

static void
fixture_exchange_step(struct fixture *fixture)
{
    struct door_event event;

    while (ring_pop(&fixture->events, &event, 1) == 1) {
        if (event.kind == DOOR_OPENED) {
            fixture->opened_events++;
            continue;
        }
        cr_assert_eq(event.kind, DOOR_CLOSED);
        fixture->closed_events++;
        fixture->close_code = event.close_code;
        session_cipher_destroy(event.cipher);
    }
}

void
fixture_run(struct fixture *fixture, uint64_t ns)
{
    for (uint64_t t = 0; t < ns; t += FIXTURE_STEP_NS) {
        clock_sim_advance(&fixture->clock, FIXTURE_STEP_NS);
        for (uint32_t i = 0; i < fixture->client_count; i++)
            fixture_client_step(fixture, &fixture->clients[i]);
        (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
        for (uint32_t i = 0; i < FIXTURE_LOGS; i++)
            fixture_log_step(fixture, i);
        fixture_control_step(fixture);
        fixture_exchange_step(fixture);
    }
}

void
fixture_free(struct fixture *fixture)
{
    struct door *door = fixture->door;
    static const struct nic_memory_faults none;

    nic_memory_set_faults(fixture->net, &none);
    fixture->logs_held = fixture->answers_held = fixture->calls_held = false;
    fixture_answer_held(fixture);
    for (uint32_t i = 0; i < fixture->client_count; i++) {
        const struct door_grant revoke = {.session_id = fixture->clients[i].id, .revoke = 1};
        cr_assert_eq(ring_push(&fixture->grants, &revoke, 1), 1u);
    }
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(door->sessions.used, 0u, "sessions left");
    cr_assert_eq(door->produces.used, 0u, "places of results left");
    cr_assert_eq(door->readers.used, 0u, "readers left");
    cr_assert_eq(door->read_buffers.used, 0u, "read buffers left");
    cr_assert_eq(door->messages.used, 0u, "large buffers left");
    cr_assert_eq(door->messages_reading, 0u, "large buffers lent");
    cr_assert_eq(door->calls.used, 0u, "calls left");
    cr_assert_eq(door->orphans, 0u, "orphans left");
    cr_assert_eq(door->open_count, 0u);
    cr_assert_eq(door->subscription_count, 0u);
    cr_assert_eq(session_pool_used(door->pool), 0u, "packets left");
    cr_assert(door_link__is_quiet(door), "answers owed");
    for (uint32_t i = 0; i < fixture->client_count; i++) {
        session_fini(fixture->clients[i].session);
        session_cipher_destroy(fixture->clients[i].cipher);
    }
    cr_assert_eq(nic_memory_in_use(fixture->net), 0u, "datagrams left");
    door_fini(door);
    nic_close(fixture->door_nic);
    nic_close(fixture->client_nic);
}
