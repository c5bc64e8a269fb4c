/* Connections to one broker: requests leave in coalesced writes, answers come in their order. */
#include "perf/group/group_load.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_EVENTS 512
#define PEER_ARENA_BYTES (PEER_IN_BYTES * KAFKA_ARENA_FACTOR + KAFKA_ARENA_REST_BYTES)

static int
peer_connect(const struct addrinfo *address)
{
    int one = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static bool
peer_open(struct peers *peers, uint32_t idx, const struct addrinfo *address)
{
    struct peer *peer = &peers->peers[idx];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = idx};

    peer->fd = peer_connect(address);
    peer->out = malloc(PEER_OUT_BYTES);
    peer->in = malloc(PEER_IN_BYTES);
    peer->awaited = calloc(PEER_AWAITED_MAX, sizeof(*peer->awaited));
    return peer->fd >= 0 && peer->out != NULL && peer->in != NULL && peer->awaited != NULL &&
           epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) == 0;
}

bool
peers_open(struct peers *peers, const struct group_options *options, uint32_t count)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool is_open = getaddrinfo(options->host, options->port, &hints, &found) == 0;

    peers->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    peers->peers = calloc(count, sizeof(*peers->peers));
    peers->arena = malloc(PEER_ARENA_BYTES);
    peers->count = count;
    is_open = is_open && peers->epoll_fd >= 0 && peers->peers != NULL && peers->arena != NULL;
    for (uint32_t i = 0; is_open && i < count; i++)
        is_open = peer_open(peers, i, found);
    if (found != NULL)
        freeaddrinfo(found);
    if (!is_open)
        fprintf(stderr,
                "group-load: cannot open %u connections to %s:%s: %s\n",
                count,
                options->host,
                options->port,
                strerror(errno));
    return is_open;
}

void
peer_request(struct peers *peers,
             uint32_t idx,
             const struct peer_awaited *request,
             const void *message)
{
    struct peer *peer = &peers->peers[idx];
    struct kafka_client_request head = {.api_key = request->api_key,
                                        .version = request->version,
                                        .correlation_id = peer->correlation_next++,
                                        .client_id = {(const uint8_t *)"group-load", 10}};

    if (peer->out_at > 0) {
        memmove(peer->out, peer->out + peer->out_at, peer->out_count - peer->out_at);
        peer->out_count -= peer->out_at;
        peer->out_at = 0;
    }
    struct writer writer = writer_over(peer->out + peer->out_count,
                                       PEER_OUT_BYTES - peer->out_count);
    kafka_client_request(&writer, &head, message);
    if (writer.failed || peer->awaited_count == PEER_AWAITED_MAX) {
        fprintf(stderr, "group-load: too much under way on one connection; use more of them\n");
        exit(2);
    }
    peer->out_count += (uint32_t)writer_count(&writer);
    peer->awaited[(peer->awaited_first + peer->awaited_count++) % PEER_AWAITED_MAX] = *request;
}

static bool
peer_send(struct peers *peers, uint32_t idx)
{
    struct peer *peer = &peers->peers[idx];

    while (peer->out_at < peer->out_count) {
        ssize_t sent = write(peer->fd, peer->out + peer->out_at, peer->out_count - peer->out_at);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent <= 0)
            return false;
        peer->out_at += (uint32_t)sent;
    }
    bool watch = peer->out_at < peer->out_count;
    if (watch != peer->watches_write) {
        struct epoll_event event = {.events = EPOLLIN | (watch ? EPOLLOUT : 0u), .data.u32 = idx};
        peer->watches_write = watch;
        epoll_ctl(peers->epoll_fd, EPOLL_CTL_MOD, peer->fd, &event);
    }
    return true;
}

/* One answer; the largest response struct of the APIs used here fits the union. */
static bool
peer_answer(struct peers *peers, struct peer *peer, struct bytes frame)
{
    union {
        struct kafka_join_group_response join;
        struct kafka_sync_group_response sync;
        struct kafka_heartbeat_response heartbeat;
        struct kafka_leave_group_response leave;
        struct kafka_offset_commit_response commit;
        struct kafka_init_producer_id_response identified;
        struct kafka_add_partitions_to_txn_response added;
        struct kafka_produce_response produced;
        struct kafka_end_txn_response ended;
    } message;
    struct kafka_arena arena = kafka_arena_over(peers->arena, PEER_ARENA_BYTES);
    const struct peer_awaited awaited = peer->awaited[peer->awaited_first];
    struct kafka_client_request head = {.api_key = awaited.api_key,
                                        .version = awaited.version,
                                        .correlation_id = peer->correlation_next -
                                                          (int32_t)peer->awaited_count};

    if (peer->awaited_count == 0 || kafka_client_response(frame, &head, &arena, &message) != RC_OK)
        return false;
    peer->awaited_first = (peer->awaited_first + 1) % PEER_AWAITED_MAX;
    peer->awaited_count--;
    const struct peer_answer answer = {.who = awaited.who,
                                       .api_key = awaited.api_key,
                                       .message = &message,
                                       .sent_ns = awaited.sent_ns,
                                       .now_ns = process_now_ns()};
    peers->answered(peers->ctx, &answer);
    return true;
}

static bool
peer_receive(struct peers *peers, struct peer *peer)
{
    ssize_t got = read(peer->fd, peer->in + peer->in_count, PEER_IN_BYTES - peer->in_count);
    uint32_t at = 0;

    if (got < 0 && errno == EAGAIN)
        return true;
    if (got <= 0)
        return false;
    peer->in_count += (uint32_t)got;
    while (peer->in_count - at >= KAFKA_FRAME_PREFIX_BYTES) {
        uint32_t count = get_u32_be(peer->in + at);
        if (count > PEER_IN_BYTES - KAFKA_FRAME_PREFIX_BYTES)
            return false;
        if (peer->in_count - at < KAFKA_FRAME_PREFIX_BYTES + count)
            break;
        if (!peer_answer(
                peers, peer, (struct bytes){peer->in + at + KAFKA_FRAME_PREFIX_BYTES, count}))
            return false;
        at += KAFKA_FRAME_PREFIX_BYTES + count;
    }
    memmove(peer->in, peer->in + at, peer->in_count - at);
    peer->in_count -= at;
    return true;
}

void
peers_poll(struct peers *peers, int timeout_ms)
{
    struct epoll_event events[PEER_EVENTS];

    for (uint32_t i = 0; i < peers->count; i++)
        if (!peers->peers[i].watches_write && !peer_send(peers, i))
            peers->is_broken = true;
    int count = epoll_wait(peers->epoll_fd, events, PEER_EVENTS, timeout_ms);
    for (int i = 0; i < count && !peers->is_broken; i++) {
        uint32_t idx = events[i].data.u32;
        bool is_readable = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
        bool is_writable = (events[i].events & EPOLLOUT) != 0;
        if ((is_readable && !peer_receive(peers, &peers->peers[idx])) ||
            (is_writable && !peer_send(peers, idx)))
            peers->is_broken = true;
    }
    if (peers->is_broken)
        fprintf(stderr, "group-load: the server closed a connection\n");
}
