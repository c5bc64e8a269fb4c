/* The in-memory network as struct tcp, and the clients' ends; see tcp_sim.h. */
#include "hw/tcp/tcp_sim_inner.h"

#include "engine/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TCP_SIM_BUFFER_BYTES 65536u
#define TCP_SIM_PORT_FIRST 40000u

struct tcp_sim_listener *
tcp_sim__listener(struct tcp_sim *sim, int fd)
{
    if (fd < TCP_SIM_FD_FIRST || fd >= TCP_SIM_FD_CONNECTION)
        return NULL;
    struct tcp_sim_listener *listener = &sim->listeners[fd - TCP_SIM_FD_FIRST];
    return listener->open ? listener : NULL;
}

struct tcp_sim_connection *
tcp_sim__connection(struct tcp_sim *sim, int fd)
{
    if (fd < TCP_SIM_FD_CONNECTION || fd >= TCP_SIM_FD_END)
        return NULL;
    struct tcp_sim_connection *connection = &sim->connections[fd - TCP_SIM_FD_CONNECTION];
    return connection->state == TCP_SIM_OPEN ? connection : NULL;
}

/* The connection behind a client's handle, which must be one. */
static struct tcp_sim_connection *
client_connection(struct tcp *tcp, uint32_t client)
{
    CHECK(client < TCP_SIM_CONNECTIONS_MAX);
    struct tcp_sim_connection *connection = &tcp_sim_of(tcp)->connections[client];
    CHECK(connection->state != TCP_SIM_FREE);
    CHECK(!connection->released);
    return connection;
}

static struct tcp_sim_listener *
listener_of_port(struct tcp_sim *sim, uint16_t port)
{
    for (uint32_t i = 0; i < TCP_SIM_LISTENERS_MAX; i++) {
        if (sim->listeners[i].open && sim->listeners[i].port == port)
            return &sim->listeners[i];
    }
    return NULL;
}

/* ---- struct tcp_ops ---- */

static enum rc
sim_listen(struct tcp *tcp,
           const char *host,
           uint16_t port,
           int *ret_fd,
           uint16_t *ret_port,
           struct diag_trail *trail)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    uint32_t slot = 0;
    while (slot < TCP_SIM_LISTENERS_MAX && sim->listeners[slot].open)
        slot++;
    if (slot == TCP_SIM_LISTENERS_MAX)
        return RC_NO_DESCRIPTORS;
    if (port == 0)
        port = sim->port_next++;
    if (listener_of_port(sim, port) != NULL) {
        diag_trail_add(trail, "listen %s:%u: address in use", host, (unsigned)port);
        return RC_BUSY;
    }
    sim->listeners[slot] = (struct tcp_sim_listener){.open = true, .port = port};
    sim_trace_add(sim->trace, "tcp_listen", slot, port, 0);
    *ret_fd = TCP_SIM_FD_FIRST + (int)slot;
    *ret_port = port;
    return RC_OK;
}

static void
sim_shutdown(struct tcp *tcp, int fd)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_listener *listener = tcp_sim__listener(sim, fd);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, fd);
    CHECK(listener != NULL || connection != NULL);
    if (listener != NULL) {
        listener->shut = true;
        return;
    }
    connection->shut = true;
    tcp_sim__finish(sim, connection, TCP_SIM_TO_CLIENT);
}

static void
sim_close(struct tcp *tcp, int fd)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_listener *listener = tcp_sim__listener(sim, fd);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, fd);
    CHECK(listener != NULL || connection != NULL);
    if (listener != NULL) {
        CHECK(listener->under_way == 0);
        listener->open = false;
        return;
    }
    CHECK(connection->under_way == 0);
    const struct tcp_sim_pipe *unread = &connection->pipes[TCP_SIM_TO_SERVER];
    if (!connection->client_gone && unread->sent > unread->received)
        tcp_sim__reset(sim, connection); /* as Linux does when bytes were not read */
    else
        tcp_sim__finish(sim, connection, TCP_SIM_TO_CLIENT);
    connection->state = TCP_SIM_SERVER_GONE;
    sim_trace_add(sim->trace, "tcp_close", (uint64_t)fd, connection->reset, 0);
    tcp_sim__settle(connection);
}

static void
sim_peer(struct tcp *tcp, int fd, char *text, size_t capacity)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, fd);
    if (connection == NULL) {
        (void)snprintf(text, capacity, "?");
        return;
    }
    uint32_t idx = (uint32_t)(connection - sim->connections);
    (void)snprintf(text, capacity, "10.0.%u.%u:%u", idx / 250, idx % 250 + 1, 1024 + idx);
}

static void
sim_peer_address(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES])
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    const struct tcp_sim_connection *connection = tcp_sim__connection(sim, fd);

    memset(ret, 0, TCP_ADDRESS_BYTES);
    if (connection == NULL)
        return;
    uint32_t idx = (uint32_t)(connection - sim->connections);
    ret[10] = 0xff;
    ret[11] = 0xff;
    ret[12] = 10; /* as sim_peer() says */
    ret[14] = (uint8_t)(idx / 250);
    ret[15] = (uint8_t)(idx % 250 + 1);
}

static const struct tcp_ops tcp_sim_ops = {
    .listen = sim_listen,
    .shutdown = sim_shutdown,
    .close = sim_close,
    .peer = sim_peer,
    .peer_address = sim_peer_address,
};

/* ---- life ---- */

enum rc
tcp_sim_create(const struct tcp_sim_config *config, struct tcp **ret_tcp)
{
    struct tcp_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL)
        return RC_NO_MEMORY;
    sim->tcp.ops = &tcp_sim_ops;
    sim->clock = config->clock;
    sim->trace = config->trace;
    sim->port_next = TCP_SIM_PORT_FIRST;
    sim_rng_seed(&sim->rng, config->seed, 0x746370);
    tcp_sim__device_init(sim);
    *ret_tcp = &sim->tcp;
    return RC_OK;
}

void
tcp_sim_destroy(struct tcp *tcp)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    if (tcp == NULL)
        return;
    for (uint32_t i = 0; i < TCP_SIM_CONNECTIONS_MAX; i++) {
        free(sim->connections[i].pipes[TCP_SIM_TO_SERVER].buffer);
        free(sim->connections[i].pipes[TCP_SIM_TO_CLIENT].buffer);
    }
    free(sim);
}

void
tcp_sim_set_faults(struct tcp *tcp, const struct tcp_sim_faults *faults)
{
    tcp_sim_of(tcp)->faults = *faults;
}

void
tcp_sim_kill_server(struct tcp *tcp)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    for (uint32_t i = 0; i < TCP_SIM_LISTENERS_MAX; i++)
        sim->listeners[i].open = false;
    for (uint32_t i = 0; i < TCP_SIM_CONNECTIONS_MAX; i++) {
        struct tcp_sim_connection *connection = &sim->connections[i];
        if (connection->state != TCP_SIM_WAITING && connection->state != TCP_SIM_OPEN)
            continue;
        CHECK(connection->under_way == 0);
        tcp_sim__reset(sim, connection);
        connection->state = TCP_SIM_SERVER_GONE;
        tcp_sim__settle(connection);
    }
}

/* ---- clients ---- */

enum rc
tcp_sim_connect(struct tcp *tcp, uint16_t port, uint32_t *ret_client)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    const struct tcp_sim_listener *listener = listener_of_port(sim, port);
    if (listener == NULL || listener->shut)
        return RC_NOT_FOUND;
    uint32_t idx = 0;
    while (idx < TCP_SIM_CONNECTIONS_MAX && sim->connections[idx].state != TCP_SIM_FREE)
        idx++;
    if (idx == TCP_SIM_CONNECTIONS_MAX)
        return RC_LIMIT;
    struct tcp_sim_connection *connection = &sim->connections[idx];
    *connection = (struct tcp_sim_connection){
        .state = TCP_SIM_WAITING,
        .port = port,
        .order = sim->order_next++,
        .arrive_ns = clock_now_ns(sim->clock) + sim->faults.latency_ns,
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(connection->pipes); i++) {
        struct tcp_sim_pipe *pipe = &connection->pipes[i];
        pipe->capacity = sim->faults.buffer_bytes == 0 ? TCP_SIM_BUFFER_BYTES
                                                       : sim->faults.buffer_bytes;
        pipe->buffer = malloc(pipe->capacity);
        CHECK(pipe->buffer != NULL);
        pipe->reset_at = UINT64_MAX;
    }
    sim_trace_add(sim->trace, "tcp_connect", idx, port, 0);
    *ret_client = idx;
    return RC_OK;
}

uint32_t
tcp_sim_client_send(struct tcp *tcp, uint32_t client, const void *bytes, uint32_t count)
{
    struct tcp_sim_connection *connection = client_connection(tcp, client);
    CHECK(!connection->pipes[TCP_SIM_TO_SERVER].finished);
    if (connection->reset || connection->shut || connection->state == TCP_SIM_SERVER_GONE)
        return 0;
    return tcp_sim__put(tcp_sim_of(tcp), connection, TCP_SIM_TO_SERVER, bytes, count);
}

int32_t
tcp_sim_client_receive(struct tcp *tcp, uint32_t client, void *buffer, uint32_t capacity)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_connection *connection = client_connection(tcp, client);
    const struct tcp_sim_pipe *pipe = &connection->pipes[TCP_SIM_TO_CLIENT];
    if (connection->vanished)
        return TCP_SIM_NOTHING_YET;
    if (connection->reset)
        return TCP_SIM_RESET;
    uint64_t due_ns = tcp_sim__pipe_due_ns(pipe, clock_now_ns(sim->clock));
    if (due_ns > clock_now_ns(sim->clock))
        return TCP_SIM_NOTHING_YET;
    if (pipe->sent == pipe->received)
        return TCP_SIM_END;
    uint32_t count = tcp_sim__take(sim, connection, TCP_SIM_TO_CLIENT, buffer, capacity);
    return connection->reset ? TCP_SIM_RESET : (int32_t)count;
}

void
tcp_sim_client_finish(struct tcp *tcp, uint32_t client)
{
    tcp_sim__finish(tcp_sim_of(tcp), client_connection(tcp, client), TCP_SIM_TO_SERVER);
}

void
tcp_sim_client_reset(struct tcp *tcp, uint32_t client)
{
    tcp_sim__reset(tcp_sim_of(tcp), client_connection(tcp, client));
}

void
tcp_sim_client_vanish(struct tcp *tcp, uint32_t client)
{
    client_connection(tcp, client)->vanished = true;
}

void
tcp_sim_client_reset_at(struct tcp *tcp,
                        uint32_t client,
                        enum tcp_sim_direction direction,
                        uint64_t bytes)
{
    client_connection(tcp, client)->pipes[direction].reset_at = bytes;
}

void
tcp_sim_client_release(struct tcp *tcp, uint32_t client)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_connection *connection = client_connection(tcp, client);
    if (!connection->vanished)
        tcp_sim__finish(sim, connection, TCP_SIM_TO_SERVER);
    if (connection->state == TCP_SIM_WAITING)
        tcp_sim__reset(sim, connection);
    connection->client_gone = !connection->vanished;
    connection->released = true;
    tcp_sim__settle(connection);
}

uint64_t
tcp_sim_client_due_ns(struct tcp *tcp, uint32_t client)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    struct tcp_sim_connection *connection = client_connection(tcp, client);
    uint64_t now_ns = clock_now_ns(sim->clock);
    if (connection->vanished)
        return SIM_NEVER_NS;
    if (connection->reset)
        return now_ns;
    return tcp_sim__pipe_due_ns(&connection->pipes[TCP_SIM_TO_CLIENT], now_ns);
}

uint32_t
tcp_sim_server_connections(struct tcp *tcp)
{
    struct tcp_sim *sim = tcp_sim_of(tcp);
    uint32_t count = 0;
    for (uint32_t i = 0; i < TCP_SIM_CONNECTIONS_MAX; i++)
        count += sim->connections[i].state == TCP_SIM_OPEN;
    return count;
}
