/* Any bytes as what Kafka clients send, cut anywhere, from two connections: the gate answers, waits
 * or closes; when both clients are gone and the other tiles have answered, nothing of it is left.
 *
 * Input: byte 0 chooses how receives are cut and what the log answers, then for each piece a length
 * byte and that many bytes; odd lengths are the second client's. */
#include "engine/base/check.h"
#include "net/gate/gate.h"
#include "net/request/topic_snapshot.h"

#include <stdlib.h>
#include <string.h>

#define RING_SLOTS 64u
#define CLIENTS 2u
#define MODE_LIMITS 16u /* clients have limits, and time goes by */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct client {
    const struct io_request *receive; /* NULL: none under way */
    const struct io_request *send;
    struct io_request requests[2];
    bool shut;
    bool closed;
};

struct world {
    struct io io;
    struct tcp tcp;
    struct clock clock;
    struct ring rings[4]; /* log requests and responses, control requests and responses */
    struct client clients[CLIENTS];
    struct gate *gate;
    uint8_t mode;
    uint8_t touched; /* so that reads of what requests name are not optimised away */
};

static struct world world;

static bool
fuzz_submit(struct io *io, const struct io_request *request)
{
    struct client *client = &world.clients[request->fd];

    (void)io;
    CHECK(!client->closed);
    if (request->op == IO_RECV) {
        CHECK(client->receive == NULL);
        client->requests[0] = *request;
        client->receive = &client->requests[0];
        return true;
    }
    CHECK(request->op == IO_SENDV);
    CHECK(client->send == NULL);
    client->requests[1] = *request;
    client->send = &client->requests[1];
    return true;
}

static void
fuzz_shutdown(struct tcp *tcp, int fd)
{
    (void)tcp;
    world.clients[fd].shut = true;
}

static void
fuzz_close(struct tcp *tcp, int fd)
{
    (void)tcp;
    CHECK(world.clients[fd].receive == NULL);
    CHECK(world.clients[fd].send == NULL);
    world.clients[fd].closed = true;
}

static const struct io_ops fuzz_io_ops = {.submit = fuzz_submit};
static void
fuzz_peer_address(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES])
{
    (void)tcp;
    memset(ret, fd, TCP_ADDRESS_BYTES);
}

static const struct tcp_ops fuzz_tcp_ops = {
    .shutdown = fuzz_shutdown, .close = fuzz_close, .peer_address = fuzz_peer_address};

/* Every request is answered somehow; batches and frames are read to their last byte, as the tiles
 * would. */
static void
fuzz_answer(struct ring *requests, struct ring *responses)
{
    struct request request;

    while (ring_pop(requests, &request, 1) == 1) {
        struct response response = {.kind = RESPONSE_DONE,
                                    .request_kind = request.kind,
                                    .slot = request.slot,
                                    .ctx = request.ctx};
        if (request.kind == REQUEST_TOPIC_SEEN)
            continue;
        if (request.kind == REQUEST_PRODUCE) {
            world.touched ^= request.u.produce.batch[request.u.produce.batch_bytes - 1];
            response.rc = world.mode & 4 ? RC_FENCED : RC_OK;
        } else if (request.kind == REQUEST_READ && request.u.read.dst_bytes > 0) {
            memset(request.u.read.dst, 1, request.u.read.dst_bytes);
            response.bytes = world.mode & 8 ? request.u.read.dst_bytes / 2 : 0;
        } else if (request.kind == REQUEST_READ) {
            response.total_bytes = world.mode & 8 ? 5000 : 0;
        } else if (request.kind == REQUEST_KAFKA) {
            world.touched ^= request.u.kafka.frame[request.u.kafka.frame_bytes - 1];
            memset(request.u.kafka.reply, 2, request.u.kafka.reply_capacity);
            response.bytes = 40;
            response.base_offset = 5 * NS_PER_MS;
        }
        CHECK(ring_push(responses, &response, 1) == 1);
    }
}

static void
fuzz_send_over(struct client *client)
{
    int32_t bytes = 0;

    if (client->send == NULL)
        return;
    for (uint32_t i = 0; i < client->send->iovec_count; i++)
        bytes += (int32_t)client->send->iovecs[i].iov_len;
    uint64_t tag = client->send->tag;
    client->send = NULL;
    gate_tile_ops.complete(world.gate, tag, client->shut ? -32 : bytes);
}

static void
fuzz_rounds(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if ((world.mode & MODE_LIMITS) != 0)
            clock_sim_advance(&world.clock, 10 * NS_PER_MS);
        gate_tile_ops.poll(world.gate, clock_now_ns(&world.clock));
        fuzz_answer(&world.rings[0], &world.rings[1]);
        fuzz_answer(&world.rings[2], &world.rings[3]);
        for (uint32_t c = 0; c < CLIENTS; c++) {
            struct client *client = &world.clients[c];
            fuzz_send_over(client);
            if (!client->shut || client->receive == NULL)
                continue;
            client->receive = NULL;
            gate_tile_ops.complete(world.gate, client->requests[0].tag, 0);
        }
    }
}

static void
fuzz_feed(uint32_t idx, const uint8_t *at, uint32_t count)
{
    struct client *client = &world.clients[idx];

    for (uint32_t rounds = 0; count > 0 && rounds < 300; rounds++) {
        if (client->receive == NULL) {
            fuzz_rounds(1);
            continue;
        }
        uint32_t part = min_u32(count, client->receive->bytes);
        part = world.mode & 1 ? 1 : part;
        memcpy(client->receive->buffer, at, part);
        client->receive = NULL;
        gate_tile_ops.complete(world.gate, client->requests[0].tag, (int32_t)part);
        at += part;
        count -= part;
        fuzz_rounds(world.mode & 2 ? 0 : 2);
    }
}

static void
fuzz_topic(void)
{
    static _Alignas(8)
        uint8_t memory[sizeof(struct topic_snapshot) + 2 * sizeof(struct partition_ref)];
    struct topic_snapshot *topic = (struct topic_snapshot *)(void *)memory;
    struct response response = {.kind = RESPONSE_TOPIC};

    topic->name_count = 1;
    topic->name[0] = 't';
    memset(topic->id, 7, sizeof(topic->id));
    topic->partition_count = 2;
    topic->batch_bytes_max = 4096;
    for (uint32_t i = 0; i < 2; i++)
        topic->partitions[i] = (struct partition_ref){.incarnation = 5 + i, .slot = i};
    response.u.topic = topic;
    CHECK(ring_push(&world.rings[3], &response, 1) == 1);
}

/* Limits so low that nearly every answer mutes its connection. */
static void
fuzz_limits(void)
{
    static struct quota_snapshot snapshot = {.entity = {.is_default = true, .set = 7},
                                             .burst_ns = NS_PER_S,
                                             .pause_max_ns = 11 * NS_PER_S};
    struct response response = {.kind = RESPONSE_QUOTA, .u.quota = &snapshot};

    snapshot.entity.limits[QUOTA_PRODUCE] = 5000;
    snapshot.entity.limits[QUOTA_FETCH] = 1000;
    snapshot.entity.limits[QUOTA_REQUEST] = 1;
    CHECK(ring_push(&world.rings[3], &response, 1) == 1);
}

static void
fuzz_begin(void)
{
    static void *memory;
    static uint8_t *ring_memory;
    struct gate_config config = {.io = &world.io,
                                 .tcp = &world.tcp,
                                 .clock = &world.clock,
                                 .listener_fd = -1,
                                 .log_tile_count = 1};

    memset(&world, 0, sizeof(world));
    world.io.ops = &fuzz_io_ops;
    world.tcp.ops = &fuzz_tcp_ops;
    clock_init_sim(&world.clock, 1, 0);
    if (ring_memory == NULL)
        ring_memory = aligned_alloc(BASE_LINE_BYTES, 4 * RING_SLOTS * sizeof(struct request));
    for (uint32_t i = 0; i < 4; i++)
        ring_init(&world.rings[i],
                  ring_memory + (size_t)i * RING_SLOTS * sizeof(struct request),
                  sizeof(struct request),
                  RING_SLOTS);
    config.logs[0] = (struct gate_link_config){&world.rings[0], &world.rings[1], NULL};
    config.control = (struct gate_link_config){&world.rings[2], &world.rings[3], NULL};
    gate_limits_default(&config.limits, 24 * MIB);
    config.limits.connections_max = 4;
    config.limits.requests_max = 128;
    config.limits.fetches_max = 16;
    config.limits.topics_max = 4;
    config.limits.partitions_max = 16;
    config.limits.ingest_bytes = 256 * KIB;
    config.limits.response_bytes = 256 * KIB;
    uint64_t bytes = gate_footprint(&config);
    if (memory == NULL)
        memory = aligned_alloc(4096, bytes);
    memset(memory, 0, min_u64(bytes, MIB)); /* everything that must be zero lies in front */
    CHECK(gate_init(memory, &config, &world.gate, NULL) == RC_OK);
    for (int fd = 0; fd < (int)CLIENTS; fd++)
        CHECK(gate_adopt(world.gate, fd));
    fuzz_topic();
    fuzz_rounds(2);
}

static void
fuzz_end(void)
{
    const struct gate_gauges *gauges = gate_gauges(world.gate);

    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct client *client = &world.clients[c];
        client->shut = true;
    }
    fuzz_rounds(4);
    clock_sim_advance(&world.clock, 700 * NS_PER_S); /* past every deadline */
    fuzz_rounds(10);
    /* What a muted connection has received already is served in turn, a pause after each. */
    for (uint32_t i = 0; (world.mode & MODE_LIMITS) != 0 && i < 4096; i++) {
        if (atomic_load_explicit(&gauges->connections, memory_order_relaxed) == 0)
            break;
        clock_sim_advance(&world.clock, 3600 * NS_PER_S);
        fuzz_rounds(4);
    }
    CHECK(atomic_load_explicit(&gauges->connections, memory_order_relaxed) == 0);
    CHECK(atomic_load_explicit(&gauges->requests, memory_order_relaxed) == 0);
    CHECK(atomic_load_explicit(&gauges->fetches, memory_order_relaxed) == 0);
    CHECK(atomic_load_explicit(&gauges->ingest_used_bytes, memory_order_relaxed) == 0);
    CHECK(atomic_load_explicit(&gauges->response_used_bytes, memory_order_relaxed) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    fuzz_begin();
    world.mode = data[0];
    if ((world.mode & MODE_LIMITS) != 0)
        fuzz_limits();
    for (size_t at = 1; at < size;) {
        uint32_t length = data[at++];
        uint32_t count = (uint32_t)min_u64(length, size - at);
        fuzz_feed(length % CLIENTS, data + at, count);
        at += count;
    }
    fuzz_end();
    return 0;
}
