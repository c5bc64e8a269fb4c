/* The event loop: keep in_flight requests under way on each connection (closed loop), or send at a
 * fixed rate and measure from the intended moment (open loop). */
#include "perf/load/load.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int
load_connect(const struct load_options *options)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int one = 1;

    if (getaddrinfo(options->host, options->port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static bool
load_is_fetch(const struct load *load)
{
    return load->options.mode[0] == 'f';
}

/* Encodes request number idx of a connection; a fetch asks from where the last answer ended. */
static uint32_t
load_encode(struct load *load, struct load_connection *connection, uint32_t idx, uint8_t *to)
{
    size_t capacity = load_request_bytes_max(&load->options);
    uint32_t partition = connection->partition + idx * load->options.connections;

    if (!load_is_fetch(load))
        return load_encode_produce(&load->options, partition, to, capacity);
    return load_encode_fetch(
        &load->options, partition, connection->next_offsets[idx], to, capacity);
}

static bool
load_encode_all(struct load *load, struct load_connection *connection)
{
    uint32_t stride = 0;

    for (uint32_t i = 0; i < connection->request_count; i++) {
        stride = load_encode(load, connection, i, connection->requests + (size_t)i * stride);
        if (stride == 0)
            return false;
    }
    connection->request_bytes =
        stride; /* all have one length: they differ in the partition's number only */
    return true;
}

static bool
load_open(struct load *load, uint32_t idx)
{
    const struct load_options *options = &load->options;
    struct load_connection *connection = &load->connections[idx];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = idx};

    connection->fd = load_connect(options);
    connection->partition = idx % options->partitions;
    connection->request_count = 1;
    if (options->spread && options->partitions > idx)
        connection->request_count = (options->partitions - idx - 1) / options->connections + 1;
    connection->receive = malloc(LOAD_RECEIVE_BYTES);
    connection->requests = malloc(load_request_bytes_max(options) * connection->request_count);
    connection->next_offsets = calloc(connection->request_count, sizeof(uint64_t));
    if (connection->fd < 0 || connection->receive == NULL || connection->requests == NULL ||
        connection->next_offsets == NULL)
        return false;
    return load_encode_all(load, connection) &&
           epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) == 0;
}

static void
load_watch_write(struct load *load, uint32_t idx, bool watch)
{
    struct load_connection *connection = &load->connections[idx];
    struct epoll_event event = {.events = EPOLLIN | (watch ? EPOLLOUT : 0u), .data.u32 = idx};

    if (connection->watches_write == watch)
        return;
    connection->watches_write = watch;
    epoll_ctl(load->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Sends what is due, many requests per call: the same encoded bytes, named once per request. */
static bool
load_send(struct load *load, uint32_t idx)
{
    struct load_connection *connection = &load->connections[idx];

    while (connection->to_send > 0) {
        struct iovec iovecs[64];
        uint32_t count = min_u32(connection->to_send, 64);
        for (uint32_t i = 0; i < count; i++) {
            size_t turn = (size_t)((connection->sent_total + i) % connection->request_count);
            iovecs[i] = (struct iovec){connection->requests + turn * connection->request_bytes,
                                       connection->request_bytes};
        }
        iovecs[0].iov_base = (uint8_t *)iovecs[0].iov_base + connection->write_at;
        iovecs[0].iov_len -= connection->write_at;
        ssize_t sent = writev(connection->fd, iovecs, (int)count);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            load_watch_write(load, idx, true);
            return true;
        }
        if (sent <= 0)
            return false;
        uint64_t total = connection->write_at + (uint64_t)sent;
        connection->to_send -= (uint32_t)(total / connection->request_bytes);
        connection->sent_total += total / connection->request_bytes;
        connection->write_at = (uint32_t)(total % connection->request_bytes);
    }
    load_watch_write(load, idx, false);
    return true;
}

static void
load_plan(struct load_connection *connection, uint64_t intended_ns)
{
    connection->sent_ns[(connection->sent_first + connection->sent_count) % LOAD_IN_FLIGHT_MAX] =
        intended_ns;
    connection->sent_count++;
    connection->in_flight++;
    connection->to_send++;
}

static void
load_account(struct load *load,
             struct load_connection *connection,
             const struct load_answer *answer)
{
    struct load_result *result = &load->result;
    uint64_t sent_ns = connection->sent_ns[connection->sent_first];
    uint64_t *next_offset =
        &connection->next_offsets[connection->answered_total % connection->request_count];

    connection->sent_first = (connection->sent_first + 1) % LOAD_IN_FLIGHT_MAX;
    connection->sent_count--;
    connection->in_flight--;
    connection->answered_total++;
    bool disorder = !load_is_fetch(load) && load->options.acks != 0 &&
                    answer->offset < *next_offset;
    if (answer->malformed || answer->error != 0 || disorder) {
        result->errors++;
        if (result->first_error == 0)
            result->first_error = answer->error != 0 ? answer->error : -1;
        return;
    }
    *next_offset = load_is_fetch(load) ? answer->offset
                                       : answer->offset + load->options.batch_records;
    /* A reader that is at the end has nothing more to measure. */
    if (load_is_fetch(load) && answer->bytes == 0)
        load->caught_up = true;
    else
        load->last_answer_ns = process_now_ns();
    if (!load->measuring)
        return;
    result->requests++;
    result->records += load_is_fetch(load) ? answer->records : load->options.batch_records;
    result->bytes += load_is_fetch(load) ? answer->bytes : connection->request_bytes;
    histogram_add(&result->latency, process_now_ns() - sent_ns);
}

static bool
load_receive(struct load *load, uint32_t idx)
{
    struct load_connection *connection = &load->connections[idx];
    ssize_t got = read(connection->fd,
                       connection->receive + connection->received,
                       LOAD_RECEIVE_BYTES - connection->received);
    uint32_t at = 0;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return false;
    connection->received += (uint32_t)got;
    while (connection->received - at >= 4) {
        uint32_t count = get_u32_be(connection->receive + at);
        if (count > LOAD_RECEIVE_BYTES - 4)
            return false;
        if (connection->received - at < 4 + count)
            break;
        const uint8_t *body = connection->receive + at + 4;
        struct load_answer answer = load_is_fetch(load)
                                        ? load_decode_fetch(
                                              body, count, connection->next_offsets[0])
                                        : load_decode_produce(body, count);
        load_account(load, connection, &answer);
        at += 4 + count;
    }
    memmove(connection->receive, connection->receive + at, connection->received - at);
    connection->received -= at;
    return true;
}

/* Closed loop: fill up to in_flight. */
static bool
load_refill(struct load *load, uint32_t idx)
{
    struct load_connection *connection = &load->connections[idx];
    uint64_t now = process_now_ns();

    if (load->draining || load->options.rate > 0)
        return load_send(load, idx);
    if (load_is_fetch(load) && connection->in_flight == 0)
        load_encode(load, connection, 0, connection->requests);
    while (connection->in_flight < load->options.in_flight)
        load_plan(connection, now);
    return load_send(load, idx);
}

/* Open loop: plan every request whose intended moment has come, on the connections in turn. */
static void
load_pace(struct load *load, uint64_t begin_ns, uint64_t now, uint64_t *planned)
{
    uint64_t due = (uint64_t)((double)(now - begin_ns) / 1e9 * load->options.rate);

    for (uint32_t tries = 0; *planned < due && tries < load->options.connections; tries++) {
        uint32_t idx = (uint32_t)(*planned % load->options.connections);
        struct load_connection *connection = &load->connections[idx];
        if (connection->sent_count == LOAD_IN_FLIGHT_MAX)
            return; /* the server is behind; intended times keep counting from begin_ns */
        load_plan(connection, begin_ns + (uint64_t)((double)*planned / load->options.rate * 1e9));
        (*planned)++;
        load_send(load, idx);
    }
}

static bool
load_turn(struct load *load)
{
    struct epoll_event events[LOAD_CONNECTIONS_MAX];
    int timeout_ms = load->options.rate > 0 && !load->draining ? 0 : 100;
    int count = epoll_wait(load->epoll_fd, events, LOAD_CONNECTIONS_MAX, timeout_ms);

    for (int i = 0; i < count; i++) {
        uint32_t idx = events[i].data.u32;
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !load_receive(load, idx))
            return false;
        if (!load_refill(load, idx))
            return false;
    }
    return true;
}

static bool
load_loop(struct load *load)
{
    const struct load_options *options = &load->options;
    uint64_t begin = process_now_ns();
    uint64_t measure_at = begin + (uint64_t)(options->warmup_seconds * 1e9);
    uint64_t end = measure_at + (uint64_t)(options->seconds * 1e9);
    uint64_t planned = 0;
    double server_cpu = 0;
    double own_cpu = 0;
    uint64_t now;

    for (uint32_t i = 0; options->rate <= 0 && i < options->connections; i++)
        if (!load_refill(load, i))
            return false;
    while ((now = process_now_ns()) < end && !load->caught_up) {
        if (!load->measuring && now >= measure_at) {
            load->measuring = true;
            measure_at = now;
            server_cpu = process_cpu_s(options->server_pid);
            own_cpu = process_own_cpu_s();
        }
        if (options->rate > 0)
            load_pace(load, begin, now, &planned);
        if (!load_turn(load))
            return false;
    }
    if (load->caught_up && load->last_answer_ns > measure_at)
        now = load->last_answer_ns; /* the last answer waited for data in vain */
    load->result.elapsed_s = (double)(now - measure_at) / 1e9;
    load->result.server_cpu_s = process_cpu_s(options->server_pid) - server_cpu;
    load->result.client_cpu_s = process_own_cpu_s() - own_cpu;
    load->measuring = false;
    load->draining = true;
    return true;
}

int
load_run(struct load *load)
{
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < load->options.connections; i++) {
        if (!load_open(load, i)) {
            fprintf(
                stderr, "load: cannot connect to %s:%s\n", load->options.host, load->options.port);
            return 1;
        }
    }
    if (!load_loop(load)) {
        fprintf(stderr, "load: the server closed a connection\n");
        return 1;
    }
    if (load->options.probe_dir != NULL)
        load_probe_device(load->options.probe_dir, &load->result);
    return load->result.errors > 0;
}
