/* Goal: a server that tests can see into and order about. Method: the loop of a door, cut down to
 * one session; the log's rule for producers written down a second time. */
#include "server.h"

#include "engine/record/record_batch.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_frame.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES 65536u

static void
listen_on_loopback(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(server->listener, 4), 0);
    cr_assert_eq(getsockname(server->listener, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
}

struct server *
server_open(uint32_t partition_count)
{
    struct server *server = calloc(1, sizeof(*server));
    struct nic_socket_config config = {0};
    struct diag_trail trail = {0};
    uint8_t secret[32] = {7};

    cr_assert_eq(nic_address_parse("127.0.0.1", 0, &config.local, &trail), RC_OK);
    clock_init_real(&server->clock);
    server->connection = -1;
    server->partition_count = partition_count;
    server->has_topic = true;
    server->batch_bytes_max = WIRE_MESSAGE_BYTES_MAX;
    server->id_next = 1000;
    listen_on_loopback(server);
    cr_assert_eq(nic_socket_open(&config, &server->nic, &trail), RC_OK, "%s", trail.text);
    cr_assert_eq(cookie_jar_create(secret, &server->jar), RC_OK);
    server->pool_memory = aligned_alloc(64, round_up(session_pool_footprint(1024, 1400), 64));
    server->session = aligned_alloc(64, round_up(session_footprint(), 64));
    server->message = malloc(WIRE_MESSAGE_BYTES_MAX);
    for (uint32_t i = 0; i < partition_count; i++) {
        server->partitions[i].log = malloc(SERVER_LOG_BYTES);
        server->partitions[i].incarnation = 77 + i;
    }
    return server;
}

void
server_kill(struct server *server)
{
    if (server->connection >= 0)
        close(server->connection);
    server->connection = -1;
    if (server->is_up) {
        session_fini(server->session);
        session_cipher_destroy(server->cipher);
    }
    server->is_up = false;
    server->waiting_count = 0;
    server->message_bytes = 0;
    memset(server->subscriptions, 0, sizeof(server->subscriptions));
}

void
server_close(struct server *server)
{
    server_kill(server);
    close(server->listener);
    nic_close(server->nic);
    cookie_jar_destroy(server->jar);
    free(server->pool_memory);
    free(server->session);
    free(server->message);
    for (uint32_t i = 0; i < server->partition_count; i++)
        free(server->partitions[i].log);
    free(server);
}

struct eagre_config
server_config(const struct server *server)
{
    static char address[64];

    snprintf(address, sizeof(address), "127.0.0.1:%u", server->port);
    struct eagre_config config = eagre_config_preset(address);
    config.reconnect_min_ms = 1;
    config.reconnect_max_ms = 20;
    return config;
}

/* ---- the log */

void
server_append(struct server *server, uint32_t partition, const uint8_t *batch, uint32_t bytes)
{
    struct server_partition *log = &server->partitions[partition];

    cr_assert_leq(log->log_bytes + bytes, SERVER_LOG_BYTES);
    memcpy(log->log + log->log_bytes, batch, bytes);
    record_batch_patch(log->log + log->log_bytes, log->next_offset, 0);
    log->next_offset += (uint64_t)record_batch_last_offset_delta(batch) + 1;
    log->log_bytes += bytes;
}

static struct server_producer *
producer_of(struct server_partition *log, int64_t id)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(log->producers); i++)
        if (log->producers[i].id == id || log->producers[i].id == 0)
            return &log->producers[i];
    cr_assert_fail("too many producers");
    return NULL;
}

/* The rule of the engine's producer table. */
static void
log_batch(struct server *server,
          struct server_partition *log,
          struct bytes at,
          struct wire_commit *commit)
{
    struct record_batch_info info;

    cr_assert_eq(record_batch_check(at.at, at.count, &info), RC_OK);
    cr_assert(record_batch_crc_ok(at.at, info.batch_bytes));
    cr_assert_geq(info.producer_id, 0, "idempotence is always on");
    struct server_producer *producer = producer_of(log, info.producer_id);
    uint32_t sequence = (uint32_t)info.base_sequence;
    uint32_t remembered = producer->count < SERVER_REMEMBERED ? producer->count : SERVER_REMEMBERED;
    for (uint32_t i = 0; i < remembered; i++) {
        uint32_t slot = (producer->count - 1 - i) % SERVER_REMEMBERED;
        if (producer->first[slot] == sequence) {
            commit->flags |= WIRE_COMMIT_DUPLICATE;
            commit->base_offset = producer->offset[slot];
            server->duplicates++;
            return;
        }
    }
    if (producer->count > 0 && sequence != producer->next) {
        commit->status = KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        server->out_of_order++;
        return;
    }
    producer->id = info.producer_id;
    producer->first[producer->count % SERVER_REMEMBERED] = sequence;
    producer->offset[producer->count++ % SERVER_REMEMBERED] = log->next_offset;
    producer->next = sequence + info.record_count;
    commit->base_offset = log->next_offset;
    server_append(server, (uint32_t)(log - server->partitions), at.at, info.batch_bytes);
    server->batches++;
}

void
server_forget_batches(struct server *server, uint32_t partition, uint32_t keep)
{
    struct server_partition *log = &server->partitions[partition];
    uint64_t at = 0;
    uint32_t count = 0;

    for (; count < keep && at < log->log_bytes; count++)
        at += record_batch_bytes(log->log + at);
    if (at < log->log_bytes)
        log->next_offset = record_batch_base_offset(log->log + at);
    log->log_bytes = at;
    /* The state of the producers is that of the batches that are left. */
    memset(log->producers, 0, sizeof(log->producers));
    for (uint64_t i = 0; i < at;) {
        struct record_batch_info info;
        cr_assert_eq(record_batch_read(log->log + i, at - i, &info), RC_OK);
        struct server_producer *producer = producer_of(log, info.producer_id);
        producer->id = info.producer_id;
        producer->first[producer->count % SERVER_REMEMBERED] = (uint32_t)info.base_sequence;
        producer->offset[producer->count++ % SERVER_REMEMBERED] = (uint64_t)info.base_offset;
        producer->next = (uint32_t)info.base_sequence + info.record_count;
        i += info.batch_bytes;
    }
}

static void
take_batch(struct server *server,
           uint32_t request,
           const struct wire_partition *place,
           struct bytes at)
{
    struct wire_commit commit = {.request = request, .flags = WIRE_COMMIT_DURABLE};

    cr_assert_lt(server->waiting_count, SERVER_WAITING_MAX);
    cr_assert_lt(place->slot, server->partition_count);
    struct server_partition *log = &server->partitions[place->slot];
    if (place->incarnation != log->incarnation) {
        commit.status = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    } else if (server->refuse_count > 0) {
        server->refuse_count--;
        commit.status = server->refuse_status;
    } else {
        log_batch(server, log, at, &commit);
    }
    server->waiting[server->waiting_count++] = commit;
}

/* ---- frames */

static uint8_t *
room(struct server *server, uint32_t bytes)
{
    uint8_t *at = session_reserve(server->session, bytes);

    cr_assert_not_null(at, "the test's answers fit one window");
    return at;
}

static void
resolve(struct server *server, const struct wire_resolve *asked)
{
    struct wire_resolved resolved = {.request = asked->request, .is_durable = true};
    bool is_known = server->has_topic && asked->topic.count == 6;

    if (!is_known) {
        resolved.status = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    } else {
        resolved.partition_count = server->partition_count;
        resolved.batch_bytes_max = server->batch_bytes_max;
        resolved.partition_first = asked->partition_first;
        /* at most 20 in one answer, so that several are needed */
        resolved.entry_count = min_u32(20, server->partition_count - asked->partition_first);
    }
    uint32_t entries = resolved.entry_count * WIRE_PARTITION_BYTES;
    uint8_t *at = room(server, WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVED_HEAD_BYTES + entries);
    uint32_t used = wire_resolved_encode_head(at, &resolved);
    for (uint32_t i = 0; i < resolved.entry_count; i++, used += WIRE_PARTITION_BYTES) {
        uint32_t slot = asked->partition_first + i;
        struct wire_partition place = {.incarnation = server->partitions[slot].incarnation,
                                       .slot = slot};
        wire_partition_encode(at + used, &place);
    }
    session_commit(server->session, used);
}

static void
answer_offsets(struct server *server,
               const struct kafka_list_offsets_request *asked,
               struct writer *writer)
{
    struct kafka_list_offsets_response_partition rows[SERVER_PARTITIONS_MAX];
    struct kafka_list_offsets_response_topic topic;
    struct kafka_list_offsets_response response;
    uint32_t count = asked->topics.at[0].partitions.count;

    kafka_list_offsets_response_defaults(&response);
    kafka_list_offsets_response_topic_defaults(&topic);
    for (uint32_t i = 0; i < count; i++) {
        const struct kafka_list_offsets_request_partition *row =
            &asked->topics.at[0].partitions.at[i];
        kafka_list_offsets_response_partition_defaults(&rows[i]);
        rows[i].index = row->index;
        rows[i].offset = row->timestamp_ms == -2 ? 0
                         : row->timestamp_ms == -1
                             ? (int64_t)server->partitions[row->index].next_offset
                             : -1;
    }
    topic.name = asked->topics.at[0].name;
    topic.partitions.at = rows;
    topic.partitions.count = count;
    response.topics.at = &topic;
    response.topics.count = 1;
    kafka_list_offsets_response_encode(writer, 5, &response);
}

static void
answer_metadata(struct server *server,
                const struct kafka_metadata_request *asked,
                struct writer *writer)
{
    struct kafka_metadata_topic topic;
    struct kafka_metadata_response response;

    kafka_metadata_response_defaults(&response);
    kafka_metadata_topic_defaults(&topic);
    cr_assert(asked->allow_auto_topic_creation);
    server->has_topic = true;
    server->created++;
    topic.name = asked->topics.at[0].name;
    topic.partitions.at = (void *)server;
    response.topics.at = &topic;
    response.topics.count = 1;
    response.brokers.at = (void *)server;
    kafka_metadata_response_encode(writer, 5, &response);
}

static void
answer_call(struct server *server, const struct wire_call *call)
{
    static uint8_t memory[1 << 20];
    static uint8_t out[ANSWER_BYTES];
    struct kafka_arena arena = kafka_arena_over(memory, sizeof(memory));
    struct kafka_request_header header;
    struct writer writer = writer_over(out, sizeof(out));

    cr_assert_eq(call->piece.count, 1);
    cr_assert_eq(kafka_request_header_read(call->piece.bytes, &header), KAFKA_PARSE_OK);
    struct reader reader = reader_over(call->piece.bytes.at + header.header_bytes,
                                       call->piece.bytes.count - header.header_bytes);
    void *request = kafka_arena_take(&arena, 4096);
    cr_assert_eq(kafka_decode(header.api->request, header.api_version, &reader, &arena, request),
                 RC_OK);
    kafka_response_header(&writer, header.api, header.api_version, header.correlation_id);
    if (header.api_key == KAFKA_LIST_OFFSETS && server->call_delay) {
        cr_assert(server->delayed_count == 0 && call->piece.bytes.count <= sizeof(server->delayed));
        memcpy(server->delayed, call->piece.bytes.at, call->piece.bytes.count);
        server->delayed_bytes = (uint32_t)call->piece.bytes.count;
        server->delayed_request = call->request;
        server->delayed_count = 1;
        return;
    }
    if (header.api_key == KAFKA_INIT_PRODUCER_ID) {
        struct kafka_init_producer_id_response response;
        kafka_init_producer_id_response_defaults(&response);
        response.producer_id = server->id_next++;
        kafka_init_producer_id_response_encode(&writer, header.api_version, &response);
    } else if (header.api_key == KAFKA_LIST_OFFSETS) {
        answer_offsets(server, request, &writer);
    } else {
        cr_assert_eq(header.api_key, KAFKA_METADATA);
        answer_metadata(server, request, &writer);
    }
    cr_assert(!writer.failed);
    uint32_t bytes = (uint32_t)writer_count(&writer);
    struct wire_call answer = {
        .request = call->request,
        .piece = {.total_bytes = bytes, .count = 1, .bytes = {out, bytes}},
    };
    uint8_t *at = room(server, WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES + bytes);
    uint32_t used = wire_call_encode_head(at, WIRE_FRAME_ANSWER, &answer);
    memcpy(at + used, out, bytes);
    session_commit(server->session, used + bytes);
}

static void
subscribe(struct server *server, const struct wire_subscribe *asked)
{
    for (uint32_t i = 0; i < SERVER_PARTITIONS_MAX; i++) {
        if (server->subscriptions[i].is_used)
            continue;
        server->subscriptions[i] = (struct server_subscription){
            .is_used = true,
            .number = asked->subscription,
            .partition = asked->partition.slot,
            .offset = asked->offset,
            .credit = asked->credit_bytes,
        };
        return;
    }
    cr_assert_fail("too many subscriptions");
}

static void
credit(struct server *server, const struct wire_credit *given, bool is_end)
{
    for (uint32_t i = 0; i < SERVER_PARTITIONS_MAX; i++) {
        struct server_subscription *subscription = &server->subscriptions[i];
        if (!subscription->is_used || subscription->number != given->subscription)
            continue;
        cr_assert_geq(given->credit_bytes, subscription->credit);
        subscription->credit = given->credit_bytes;
        subscription->is_used = !is_end;
    }
}

static void
take_fragment(struct server *server, const struct wire_data_frag *frag)
{
    cr_assert_eq(frag->piece.index == 0, server->message_bytes == 0);
    memcpy(server->message + server->message_bytes, frag->piece.bytes.at, frag->piece.bytes.count);
    server->message_bytes += (uint32_t)frag->piece.bytes.count;
    if (frag->piece.index + 1 < frag->piece.count)
        return;
    cr_assert_eq(server->message_bytes, frag->piece.total_bytes);
    struct bytes whole = {server->message, server->message_bytes};
    server->message_bytes = 0;
    take_batch(server, frag->request, &frag->partition, whole);
}

static void
take_frame(struct server *server, const struct wire_frame *frame)
{
    union {
        struct wire_data data;
        struct wire_data_frag frag;
        struct wire_resolve resolve;
        struct wire_call call;
        struct wire_subscribe subscribe;
        struct wire_credit credit;
    } as;

    switch (frame->type) {
    case WIRE_FRAME_DATA:
        cr_assert_eq(wire_data_decode(frame, &as.data), RC_OK);
        take_batch(server, as.data.request, &as.data.partition, as.data.batch);
        break;
    case WIRE_FRAME_DATA_FRAG:
        cr_assert_eq(wire_data_frag_decode(frame, &as.frag), RC_OK);
        take_fragment(server, &as.frag);
        break;
    case WIRE_FRAME_RESOLVE:
        cr_assert_eq(wire_resolve_decode(frame, &as.resolve), RC_OK);
        resolve(server, &as.resolve);
        break;
    case WIRE_FRAME_CALL:
        cr_assert_eq(wire_call_decode(frame, &as.call), RC_OK);
        answer_call(server, &as.call);
        break;
    case WIRE_FRAME_SUBSCRIBE:
        cr_assert_eq(wire_subscribe_decode(frame, &as.subscribe), RC_OK);
        subscribe(server, &as.subscribe);
        break;
    case WIRE_FRAME_CREDIT:
        cr_assert_eq(wire_credit_decode(frame, &as.credit), RC_OK);
        credit(server, &as.credit, (frame->flags & WIRE_CREDIT_END) != 0);
        break;
    default:
        break;
    }
}

/* ---- what goes out by itself */

static void
send_commits(struct server *server)
{
    uint32_t sent = 0;

    while (!server->is_mute && sent < server->waiting_count) {
        uint8_t *at = session_reserve(server->session, WIRE_FRAME_HEADER_BYTES + WIRE_COMMIT_BYTES);
        if (at == NULL)
            break;
        session_commit(server->session, wire_commit_encode(at, 0, &server->waiting[sent++]));
    }
    server->waiting_count -= sent;
    memmove(server->waiting,
            server->waiting + sent,
            server->waiting_count * sizeof(server->waiting[0]));
}

/* One batch in pieces of at most 1,000 bytes, when the window takes all of them. */
static bool
send_batch(struct server *server, struct server_subscription *subscription)
{
    const struct server_partition *log = &server->partitions[subscription->partition];
    const uint8_t *batch = log->log + subscription->at;
    uint32_t bytes = (uint32_t)record_batch_bytes(batch);
    uint32_t pieces = (bytes + 999) / 1000;

    if (session_window(server->session) < pieces + 1)
        return false;
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t count = min_u32(1000, bytes - i * 1000);
        struct wire_fetched fetched = {
            .request = subscription->number,
            .high_watermark = log->next_offset,
            .piece = {.total_bytes = bytes,
                      .index = (uint16_t)i,
                      .count = (uint16_t)pieces,
                      .bytes = {batch + i * 1000, count}},
        };
        uint8_t *at = room(server, WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES + count);
        uint32_t used = wire_fetched_encode_head(at, &fetched, WIRE_FETCHED_SUBSCRIPTION);
        memcpy(at + used, batch + i * 1000, count);
        session_commit(server->session, used + count);
    }
    subscription->at += bytes;
    subscription->sent += bytes;
    return true;
}

static void
send_subscription(struct server *server, struct server_subscription *subscription)
{
    const struct server_partition *log = &server->partitions[subscription->partition];

    while (subscription->at < log->log_bytes && subscription->sent < subscription->credit) {
        struct record_batch_info info;
        cr_assert_eq(record_batch_read(
                         log->log + subscription->at, log->log_bytes - subscription->at, &info),
                     RC_OK);
        if ((uint64_t)record_batch_last_offset(&info) < subscription->offset)
            subscription->at += info.batch_bytes;
        else if (!send_batch(server, subscription))
            return;
    }
}

/* ---- the loop */

static void
join(struct server *server)
{
    uint8_t in[WIRE_CONTROL_BYTES_MAX];
    uint8_t out[WIRE_CONTROL_BYTES_MAX];
    uint8_t type;
    struct bytes body;
    uint32_t bytes;
    struct wire_join asked;
    ssize_t got = recv(server->connection, in, sizeof(in), MSG_DONTWAIT);

    if (got == 0 || (got > 0 && server->is_up)) {
        server_kill(server); /* LEAVE or the end */
        return;
    }
    if (got < 0)
        return;
    cr_assert_eq(wire_control_next(in, (uint32_t)got, &type, &body, &bytes), RC_OK);
    cr_assert_eq(type, WIRE_CONTROL_JOIN);
    cr_assert_eq(wire_join_decode(body, &asked), RC_OK);
    if (server->join_refusal != 0) {
        struct wire_refused refused = {.code = server->join_refusal,
                                       .text = {(const uint8_t *)"not you", 7}};
        bytes = wire_refused_encode(out, &refused);
        cr_assert_eq(send(server->connection, out, bytes, 0), (ssize_t)bytes);
        return;
    }
    server->grant = (struct wire_grant){
        .session = 0x100 * (uint32_t)(1 + clock_random_below(&server->clock, 1000000)),
        .window = 256,
        .datagram_bytes_max = 1400,
        .idle_ms = 10000,
        .port_count = 1,
        .ports = {server->nic->port},
        .client_key = {1},
        .server_key = {2},
    };
    bytes = wire_grant_encode(out, &server->grant);
    cr_assert_eq(send(server->connection, out, bytes, 0), (ssize_t)bytes);
    cr_assert_eq(session_cipher_create(&server->grant, false, &server->cipher), RC_OK);
    server->pool = session_pool_init(server->pool_memory, 1024, 256, 1400);
    struct session_config config = {.role = SESSION_SERVER,
                                    .session_id = server->grant.session,
                                    .pool = server->pool,
                                    .cipher = server->cipher,
                                    .datagram_bytes_max = 1400,
                                    .delay_target_ns = UINT64_MAX};
    session_init(server->session, &config, clock_now_ns(&server->clock));
    session_grant(server->session, SESSION_WINDOW_MAX);
    server->is_up = true;
}

static void
hello(struct server *server, const struct nic_received *received, uint64_t now_ns)
{
    const uint8_t *cookie;
    uint32_t id = server->grant.session;

    cr_assert_eq(cookie_in_hello(received->bytes, received->byte_count, &cookie), RC_OK);
    if (cookie != NULL && cookie_is_good(server->jar, cookie, &received->peer, id, now_ns)) {
        if (session_accept_hello(server->session, received->bytes, received->byte_count, now_ns))
            server->peer = received->peer;
        return;
    }
    struct nic_sending sending;
    cr_assert_eq(nic_reserve(server->nic, &sending, 1), 1);
    sending.byte_count = cookie_retry(server->jar, &received->peer, id, now_ns, sending.bytes);
    sending.peer = received->peer;
    nic_send(server->nic, &sending, 1);
}

static void
take_datagram(struct server *server, const struct nic_received *received, uint64_t now_ns)
{
    uint8_t scratch[1500];
    struct wire_header header;
    struct bytes sealed;
    struct bytes frames;
    struct wire_frame frame;

    if (!server->is_up ||
        wire_header_decode(received->bytes, received->byte_count, &header, &sealed) != RC_OK ||
        header.session != server->grant.session)
        return;
    if (header.type == WIRE_HELLO) {
        hello(server, received, now_ns);
        return;
    }
    (void)session_receive(
        server->session, received->bytes, received->byte_count, scratch, 1400, now_ns);
    while (session_take(server->session, 1400, &frames))
        while (wire_frame_next(&frames, &frame))
            take_frame(server, &frame);
}

static void
transmit(struct server *server, uint64_t now_ns)
{
    struct nic_sending sending;

    while (nic_reserve(server->nic, &sending, 1) == 1) {
        sending.byte_count = session_transmit(
            server->session, now_ns, sending.bytes, sending.capacity);
        sending.peer = server->peer;
        if (sending.byte_count == 0) {
            nic_cancel(server->nic, &sending, 1);
            break;
        }
        nic_send(server->nic, &sending, 1);
    }
}

static void
speak(struct server *server, uint64_t now_ns)
{
    session_tick(server->session, now_ns);
    bool is_open = session_state(server->session) == SESSION_OPEN;
    if (is_open)
        send_commits(server);
    if (is_open && server->delayed_count > 0 && !server->call_delay) {
        struct wire_call call = {
            .request = server->delayed_request,
            .piece = {.count = 1, .bytes = {server->delayed, server->delayed_bytes}},
        };
        server->delayed_count = 0;
        answer_call(server, &call);
    }
    for (uint32_t i = 0; is_open && i < SERVER_PARTITIONS_MAX; i++)
        if (server->subscriptions[i].is_used)
            send_subscription(server, &server->subscriptions[i]);
    transmit(server, now_ns);
}

void
server_poll(struct server *server)
{
    uint64_t now_ns = clock_now_ns(&server->clock);
    struct nic_received received[NIC_BURST];

    if (server->connection < 0)
        server->connection = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK);
    if (server->connection >= 0)
        join(server);
    uint32_t count = nic_receive(server->nic, received, NIC_BURST);
    for (uint32_t i = 0; i < count; i++)
        take_datagram(server, &received[i], now_ns);
    nic_release(server->nic, received, count);
    if (server->is_up)
        speak(server, now_ns);
    (void)nic_flush(server->nic);
}

bool
server_run(struct server *server,
           struct eagre_client *client,
           bool (*is_done)(void *context),
           void *context,
           uint32_t seconds)
{
    uint64_t end_ns = clock_now_ns(&server->clock) + seconds * NS_PER_S;

    while (!is_done(context)) {
        if (clock_now_ns(&server->clock) > end_ns)
            return false;
        eagre_poll(client, 0);
        server_poll(server);
    }
    return true;
}
