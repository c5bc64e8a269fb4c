/* See fixture.h. The log tile here is as simple as its contract allows: batches in one buffer per
 * partition, offsets assigned, READ, ARM and MARK as request.h says. */
#include "tests/unit/net/gate/fixture.h"

#include "engine/base/check.h"
#include "engine/record/record_builder.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static struct fixture *
fixture_of_io(struct io *io)
{
    return (struct fixture *)(void *)((uint8_t *)io - offsetof(struct fixture, io));
}

static struct fixture *
fixture_of_tcp(struct tcp *tcp)
{
    return (struct fixture *)(void *)((uint8_t *)tcp - offsetof(struct fixture, tcp));
}

static bool
fake_submit(struct io *io, const struct io_request *request)
{
    struct fixture *fixture = fixture_of_io(io);

    if (fixture->io_refuse > 0) {
        fixture->io_refuse--;
        return false;
    }
    if (request->op == IO_ACCEPT) {
        CHECK(!fixture->accept_pending);
        fixture->accept_pending = true;
        fixture->accept_tag = request->tag;
        return true;
    }
    struct fixture_stream *stream = &fixture->streams[request->fd - FIXTURE_FD];
    CHECK(stream->accepted);
    CHECK(!stream->server_closed);
    if (request->op == IO_RECV) {
        CHECK(!stream->receive_pending);
        CHECK(request->bytes > 0);
        stream->receive_pending = true;
        stream->receive = *request;
    } else {
        CHECK(request->op == IO_SENDV);
        CHECK(!stream->send_pending);
        CHECK(request->iovec_count >= 1 && request->iovec_count <= IO_IOVEC_MAX);
        stream->send_pending = true;
        stream->send = *request;
    }
    return true;
}

static void
fake_wake(struct io *io)
{
    fixture_of_io(io)->control_wakes++;
}

static const struct io_ops fake_io_ops = {.submit = fake_submit, .wake = fake_wake};

static void
fake_shutdown(struct tcp *tcp, int fd)
{
    if (fd >= FIXTURE_FD)
        fixture_of_tcp(tcp)->streams[fd - FIXTURE_FD].shut = true;
}

static void
fake_close(struct tcp *tcp, int fd)
{
    struct fixture_stream *stream = &fixture_of_tcp(tcp)->streams[fd - FIXTURE_FD];

    CHECK(!stream->receive_pending);
    CHECK(!stream->send_pending);
    CHECK(!stream->server_closed);
    stream->server_closed = true;
}

static void
fake_peer_address(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES])
{
    (void)tcp;
    memset(ret, fd, TCP_ADDRESS_BYTES);
}

static const struct tcp_ops fake_tcp_ops = {
    .shutdown = fake_shutdown, .close = fake_close, .peer_address = fake_peer_address};

static void
fixture_ring(struct ring *ring, uint32_t slot_bytes, uint32_t slots)
{
    void *memory = kept(aligned_alloc(BASE_LINE_BYTES, ring_footprint(slot_bytes, slots)));

    ring_init(ring, memory, slot_bytes, slots);
}

struct fixture *
fixture_new(const struct fixture_options *options)
{
    struct fixture *fixture = kept(
        aligned_alloc(BASE_LINE_BYTES, round_up(sizeof(*fixture), BASE_LINE_BYTES)));
    struct diag_trail trail;

    memset(fixture, 0, sizeof(*fixture));
    if (options != NULL)
        fixture->options = *options;
    const struct fixture_options *o = &fixture->options;
    uint32_t slots = o->ring_slots == 0 ? 1024 : o->ring_slots;
    fixture->io.ops = &fake_io_ops;
    fixture->tcp.ops = &fake_tcp_ops;
    clock_init_sim(&fixture->clock, 7, 1700000000000);
    for (uint32_t i = 0; i < 2; i++) {
        fixture_ring(&fixture->log_requests[i], sizeof(struct request), slots);
        fixture_ring(&fixture->log_responses[i], sizeof(struct response), slots);
    }
    fixture_ring(&fixture->control_requests, sizeof(struct request), slots);
    fixture_ring(&fixture->control_responses, sizeof(struct response), slots);
    struct gate_config *config = &fixture->config;
    config->io_tile = 3;
    config->io = &fixture->io;
    config->tcp = &fixture->tcp;
    config->clock = &fixture->clock;
    config->listener_fd = 5;
    metrics_init(&fixture->metrics, METRICS_GATE, "gate0");
    trace_init(&fixture->trace, 0);
    config->metrics = &fixture->metrics;
    config->trace = &fixture->trace;
    config->log_tile_count = o->two_log_tiles ? 2 : 1;
    for (uint32_t i = 0; i < config->log_tile_count; i++) {
        config->logs[i].requests = &fixture->log_requests[i];
        config->logs[i].responses = &fixture->log_responses[i];
    }
    config->control.requests = &fixture->control_requests;
    config->control.responses = &fixture->control_responses;
    config->control.waker = &fixture->control_waker;
    fixture->control_waker.io = &fixture->io;
    atomic_store_explicit(&fixture->control_waker.asleep, 1, memory_order_relaxed);
    gate_limits_default(&config->limits, 24 * MIB);
    config->limits.connections_max = o->connections_max == 0 ? 64 : o->connections_max;
    config->limits.connection_requests_max = 64;
    config->limits.requests_max = o->requests_max == 0 ? 1024 : o->requests_max;
    config->limits.partitions_max = 64;
    config->limits.topics_max = 16;
    config->limits.fetches_max = 64;
    config->limits.ingest_bytes = o->ingest_bytes == 0 ? 8 * MIB : o->ingest_bytes;
    config->limits.response_bytes = o->response_bytes == 0 ? 8 * MIB : o->response_bytes;
    uint64_t bytes = gate_footprint(config);
    diag_trail_clear(&trail);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    cr_assert_eq(gate_init(memory, config, &fixture->gate, &trail), RC_OK);
    fixture->control_reply_bytes = 8;
    fixture_topic(fixture, "t", 1, 0, 4);
    return fixture;
}

void
fixture_free(struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->stream_count; i++)
        fixture->streams[i].client_ended = true;
    fixture->hold_appends = false;
    fixture->log_held = false;
    while (fixture->held_count > 0)
        fixture_answer_held(fixture, 0, RC_OK);
    fixture->control_held = false;
    fixture_run(fixture);
    const struct gate_gauges *gauges = gate_gauges(fixture->gate);
    cr_assert_eq(fixture_counter(&gauges->connections), 0u, "connections left");
    cr_assert_eq(fixture_counter(&gauges->requests), 0u, "slots left");
    cr_assert_eq(fixture_counter(&gauges->fetches), 0u, "fetches left");
    cr_assert_eq(fixture_counter(&gauges->fetches_waiting), 0u, "parked fetches left");
    cr_assert_eq(fixture_counter(&gauges->ingest_used_bytes), 0u, "receive memory left");
    cr_assert_eq(fixture_counter(&gauges->response_used_bytes), 0u, "response memory left");
    gate_fini(fixture->gate);
}

static void
fixture_snapshot(struct fixture *fixture, struct topic_snapshot *snapshot)
{
    struct response response = {.kind = RESPONSE_TOPIC};

    response.u.topic = snapshot;
    cr_assert_eq(ring_push(&fixture->control_responses, &response, 1), 1u);
    fixture_step(fixture);
}

void
fixture_topic(struct fixture *fixture,
              const char *name,
              uint8_t id_byte,
              uint32_t first_slot,
              uint32_t partitions)
{
    struct topic_snapshot *snapshot = kept(
        calloc(1, sizeof(*snapshot) + partitions * sizeof(struct partition_ref)));

    memset(snapshot->id, id_byte, sizeof(snapshot->id));
    snapshot->name_count = (uint8_t)strlen(name);
    memcpy(snapshot->name, name, snapshot->name_count);
    snapshot->partition_count = partitions;
    snapshot->batch_bytes_max = 2 * 1024 * 1024;
    for (uint32_t i = 0; i < partitions; i++) {
        struct fixture_partition *partition = &fixture->partitions[first_slot + i];
        if (partition->incarnation == 0) {
            partition->incarnation = 100 + first_slot + i;
            partition->bytes = kept(malloc(FIXTURE_LOG_BYTES));
        }
        snapshot->partitions[i].incarnation = partition->incarnation;
        snapshot->partitions[i].slot = first_slot + i;
        snapshot->partitions[i].log_tile = fixture->options.two_log_tiles
                                               ? (uint16_t)((first_slot + i) % 2)
                                               : 0;
    }
    fixture_snapshot(fixture, snapshot);
}

void
fixture_topic_gone(struct fixture *fixture, const char *name, uint8_t id_byte)
{
    struct topic_snapshot *snapshot = kept(calloc(1, sizeof(*snapshot)));

    memset(snapshot->id, id_byte, sizeof(snapshot->id));
    snapshot->name_count = (uint8_t)strlen(name);
    memcpy(snapshot->name, name, snapshot->name_count);
    snapshot->gone = true;
    fixture_snapshot(fixture, snapshot);
}

uint32_t
fixture_connect(struct fixture *fixture)
{
    struct fixture_stream *stream = &fixture->streams[fixture->stream_count];

    cr_assert_lt(fixture->stream_count, (uint32_t)FIXTURE_STREAMS);
    stream->open = true;
    stream->to_server = kept(malloc(FIXTURE_STREAM_BYTES));
    stream->to_client = kept(malloc(FIXTURE_STREAM_BYTES));
    return fixture->stream_count++;
}

void
fixture_send(struct fixture *fixture, uint32_t idx, const void *bytes, uint32_t count)
{
    struct fixture_stream *stream = &fixture->streams[idx];

    if (stream->to_server_at == stream->to_server_count)
        stream->to_server_at = stream->to_server_count = 0;
    cr_assert_leq(stream->to_server_count + count, FIXTURE_STREAM_BYTES);
    memcpy(stream->to_server + stream->to_server_count, bytes, count);
    stream->to_server_count += count;
}

void
fixture_end(struct fixture *fixture, uint32_t idx)
{
    fixture->streams[idx].client_ended = true;
}

static void
fixture_complete(struct fixture *fixture, uint64_t tag, int32_t result)
{
    cr_assert_eq(io_tag_tile(tag), 3u);
    gate_tile_ops.complete(fixture->gate, tag, result);
}

static uint32_t
fixture_receive(struct fixture *fixture, struct fixture_stream *stream)
{
    uint32_t limit = fixture->options.fragment_bytes;
    uint32_t left = stream->to_server_count - stream->to_server_at;
    uint32_t count = min_u32(left, stream->receive.bytes);

    if (!stream->receive_pending)
        return 0;
    if (limit > 0)
        count = min_u32(count, limit);
    if (stream->shut || (left == 0 && stream->client_ended)) {
        stream->receive_pending = false;
        fixture_complete(fixture, stream->receive.tag, 0);
        return 1;
    }
    if (count == 0)
        return 0;
    memcpy(stream->receive.buffer, stream->to_server + stream->to_server_at, count);
    stream->to_server_at += count;
    stream->receive_pending = false;
    fixture_complete(fixture, stream->receive.tag, (int32_t)count);
    return 1;
}

static uint32_t
fixture_deliver(struct fixture *fixture, struct fixture_stream *stream)
{
    uint32_t limit = fixture->options.send_bytes == 0 ? UINT32_MAX : fixture->options.send_bytes;
    uint32_t count = 0;

    if (!stream->send_pending || (stream->stuck && !stream->shut))
        return 0;
    stream->send_pending = false;
    if (stream->shut) {
        fixture_complete(fixture, stream->send.tag, -EPIPE);
        return 1;
    }
    if (stream->to_client_at == stream->to_client_count)
        stream->to_client_at = stream->to_client_count = 0;
    for (uint32_t i = 0; i < stream->send.iovec_count && count < limit; i++) {
        const struct iovec *iovec = &stream->send.iovecs[i];
        uint32_t part = min_u32((uint32_t)iovec->iov_len, limit - count);
        cr_assert_gt(iovec->iov_len, 0u);
        cr_assert_leq(stream->to_client_count + part, FIXTURE_STREAM_BYTES);
        memcpy(stream->to_client + stream->to_client_count, iovec->iov_base, part);
        stream->to_client_count += part;
        count += part;
    }
    fixture_complete(fixture, stream->send.tag, (int32_t)count);
    return 1;
}

static uint32_t
fixture_accept(struct fixture *fixture)
{
    if (!fixture->accept_pending)
        return 0;
    if (fixture->accept_error != 0) {
        int32_t error = fixture->accept_error;
        fixture->accept_error = 0;
        fixture->accept_pending = false;
        fixture_complete(fixture, fixture->accept_tag, -error);
        return 1;
    }
    for (uint32_t i = 0; i < fixture->stream_count; i++) {
        if (fixture->streams[i].accepted)
            continue;
        fixture->streams[i].accepted = true;
        fixture->accept_pending = false;
        fixture_complete(fixture, fixture->accept_tag, FIXTURE_FD + (int32_t)i);
        return 1;
    }
    return 0;
}

static uint32_t
control_serve(struct fixture *fixture)
{
    struct request request;
    uint32_t count = 0;

    while (!fixture->control_held && ring_pop(&fixture->control_requests, &request, 1) == 1) {
        count++;
        if (request.kind == REQUEST_TOPIC_SEEN) {
            cr_assert_eq(request.ctx, (uint64_t)(uintptr_t)request.u.topic_seen.snapshot);
            fixture->seen_count++;
            continue;
        }
        cr_assert_eq(request.kind, REQUEST_KAFKA);
        struct response response = fixture_log__answer(&request, RC_OK);
        uint32_t bytes = 4 + fixture->control_reply_bytes;
        response.bytes = bytes;
        response.base_offset = fixture->control_spent_ns;
        if (request.u.kafka.reply_capacity < bytes) {
            response.rc = RC_NO_MEMORY;
        } else {
            memcpy(request.u.kafka.reply, request.u.kafka.frame + 4, 4); /* the correlation id */
            memset(request.u.kafka.reply + 4, 0xab, bytes - 4);
            fixture->control_count++;
        }
        cr_assert_eq(ring_push(&fixture->control_responses, &response, 1), 1u);
    }
    return count;
}

uint32_t
fixture_step(struct fixture *fixture)
{
    struct request request;
    uint32_t work = fixture_accept(fixture);

    for (uint32_t i = 0; i < fixture->stream_count; i++) {
        work += fixture_receive(fixture, &fixture->streams[i]);
        work += fixture_deliver(fixture, &fixture->streams[i]);
    }
    struct tile_report report = gate_tile_ops.poll(fixture->gate, clock_now_ns(&fixture->clock));
    work += report.work;
    for (uint32_t i = 0; i < 2; i++) {
        bool held = fixture->log_held || (i == 1 && fixture->second_held);
        while (!held && ring_pop(&fixture->log_requests[i], &request, 1) == 1) {
            fixture_log__serve(fixture, &request);
            work++;
        }
    }
    work += control_serve(fixture);
    return work;
}

void
fixture_run(struct fixture *fixture)
{
    uint32_t idle = 0;

    for (uint32_t i = 0; idle < 2; i++) {
        bool work = fixture_step(fixture) > 0 || gate_tile_ops.has_work(fixture->gate);
        idle = work ? 0 : idle + 1;
        cr_assert_lt(i, 2000000u, "it never comes to rest");
    }
}

void
fixture_advance(struct fixture *fixture, uint64_t ns)
{
    clock_sim_advance(&fixture->clock, ns);
    fixture_run(fixture);
}

uint32_t
fixture_batch(uint8_t *memory, uint32_t capacity, uint32_t records, uint32_t value_bytes)
{
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    uint8_t *value = malloc(value_bytes + 1);

    memset(value, 'v', value_bytes);
    record_builder_begin(&builder, memory, capacity, &options);
    for (uint32_t i = 0; i < records; i++) {
        const struct record record = {.timestamp_ms = 1700000000000,
                                      .value = {.at = value, .count = value_bytes}};
        cr_assert(record_builder_add(&builder, &record));
    }
    free(value);
    return record_builder_finish(&builder);
}

void
fixture_append(struct fixture *fixture, uint32_t slot, uint32_t records, uint32_t value_bytes)
{
    uint32_t capacity = 4096 + records * (value_bytes + 64);
    uint8_t *batch = malloc(capacity);

    (void)fixture_log__append(
        fixture, slot, batch, fixture_batch(batch, capacity, records, value_bytes));
    free(batch);
}

static struct bytes
text(const char *at)
{
    return (struct bytes){.at = (const uint8_t *)at, .count = at == NULL ? 0 : strlen(at)};
}

static uint32_t
fixture_request(struct fixture *fixture,
                uint8_t *memory,
                uint32_t capacity,
                struct kafka_client_request request,
                const void *message)
{
    struct writer writer = writer_over(memory, capacity);

    request.correlation_id = ++fixture->correlation;
    request.client_id = text(fixture->client_id == NULL ? "test" : fixture->client_id);
    kafka_client_request(&writer, &request, message);
    cr_assert(!writer.failed);
    return (uint32_t)writer_count(&writer);
}

uint32_t
fixture_produce(struct fixture *fixture,
                uint8_t *memory,
                uint32_t capacity,
                const struct fixture_produce *produce)
{
    struct kafka_produce_request message;
    struct kafka_produce_request_topic topic;
    struct kafka_produce_request_partition partition;

    kafka_produce_request_defaults(&message);
    kafka_produce_request_topic_defaults(&topic);
    kafka_produce_request_partition_defaults(&partition);
    partition.index = produce->partition;
    partition.records = produce->records;
    topic.name = text(produce->topic);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    message.transactional_id = text(produce->transactional_id);
    message.acks = produce->acks;
    message.timeout_ms = 1000;
    message.topics.at = &topic;
    message.topics.count = 1;
    return fixture_request(
        fixture,
        memory,
        capacity,
        (struct kafka_client_request){.api_key = KAFKA_PRODUCE, .version = produce->version},
        &message);
}

uint32_t
fixture_fetch(struct fixture *fixture,
              uint8_t *memory,
              uint32_t capacity,
              const struct fixture_fetch *fetch)
{
    struct kafka_fetch_request message;
    struct kafka_fetch_request_topic topic;
    struct kafka_fetch_request_partition partitions[FIXTURE_SLOTS];

    kafka_fetch_request_defaults(&message);
    kafka_fetch_request_topic_defaults(&topic);
    for (uint32_t i = 0; i < fetch->partition_count; i++) {
        kafka_fetch_request_partition_defaults(&partitions[i]);
        partitions[i].index = (int32_t)i;
        partitions[i].fetch_offset = fetch->offset;
        partitions[i].max_bytes = fetch->partition_max_bytes;
    }
    topic.name = text(fetch->topic);
    memset(topic.topic_id.at, fetch->id_byte, sizeof(topic.topic_id.at));
    topic.partitions.at = partitions;
    topic.partitions.count = fetch->partition_count;
    message.isolation_level = fetch->isolation_level;
    message.max_wait_ms = fetch->max_wait_ms;
    message.min_bytes = fetch->min_bytes;
    message.max_bytes = fetch->max_bytes == 0 ? INT32_MAX : fetch->max_bytes;
    if (fetch->session_epoch != 0) {
        message.session_id = 77;
        message.session_epoch = fetch->session_epoch;
    }
    message.topics.at = &topic;
    message.topics.count = 1;
    return fixture_request(
        fixture,
        memory,
        capacity,
        (struct kafka_client_request){.api_key = KAFKA_FETCH, .version = fetch->version},
        &message);
}

struct bytes
fixture_frame(struct fixture *fixture, uint32_t idx)
{
    struct fixture_stream *stream = &fixture->streams[idx];
    uint32_t left = stream->to_client_count - stream->to_client_at;
    const uint8_t *at = stream->to_client + stream->to_client_at;

    if (left < 4 || left - 4 < get_u32_be(at))
        return (struct bytes){.at = NULL};
    stream->to_client_at += 4 + get_u32_be(at);
    return (struct bytes){.at = at + 4, .count = get_u32_be(at)};
}

int32_t
fixture_frame_correlation(struct bytes frame)
{
    cr_assert_neq(frame.at, NULL, "no answer");
    cr_assert_geq(frame.count, 4u);
    return (int32_t)get_u32_be(frame.at);
}

static void
fixture_decode(struct bytes frame, struct kafka_client_request request, void *ret)
{
    size_t bytes = kafka_arena_bytes(frame.count + 1024);
    struct kafka_arena arena = kafka_arena_over(kept(malloc(bytes)), bytes);

    cr_assert_neq(frame.at, NULL, "no answer");
    cr_assert_eq(kafka_client_response(frame, &request, &arena, ret), RC_OK);
}

struct kafka_produce_response
fixture_produce_response(struct bytes frame, int16_t version, int32_t correlation)
{
    struct kafka_produce_response response;

    fixture_decode(frame,
                   (struct kafka_client_request){
                       .api_key = KAFKA_PRODUCE, .version = version, .correlation_id = correlation},
                   &response);
    return response;
}

struct kafka_fetch_response
fixture_fetch_response(struct bytes frame, int16_t version, int32_t correlation)
{
    struct kafka_fetch_response response;

    fixture_decode(frame,
                   (struct kafka_client_request){
                       .api_key = KAFKA_FETCH, .version = version, .correlation_id = correlation},
                   &response);
    return response;
}

int32_t
fixture_produce_send(struct fixture *fixture,
                     uint32_t stream,
                     const struct fixture_produce *produce)
{
    uint32_t capacity = (uint32_t)produce->records.count + 4096;
    uint8_t *memory = malloc(capacity);

    fixture_send(fixture, stream, memory, fixture_produce(fixture, memory, capacity, produce));
    free(memory);
    return fixture->correlation;
}

int32_t
fixture_fetch_send(struct fixture *fixture, uint32_t stream, const struct fixture_fetch *fetch)
{
    uint8_t memory[8192];

    fixture_send(fixture, stream, memory, fixture_fetch(fixture, memory, sizeof(memory), fetch));
    return fixture->correlation;
}

bool
fixture_closed(const struct fixture *fixture, uint32_t stream)
{
    return fixture->streams[stream].server_closed;
}

uint64_t
fixture_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
