/* The in-memory network as seen by the sim ring: accept, receive, send on server descriptors; see
 * tcp_sim.h. */
#include "hw/tcp/tcp_sim_inner.h"

#include "engine/base/check.h"

#include <errno.h>

static struct tcp_sim *
tcp_sim_of_device(struct io_sim_device *device)
{
    return (struct tcp_sim *)(void *)((char *)device - offsetof(struct tcp_sim, device));
}

static int32_t
device_start(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns)
{
    (void)now_ns;
    struct tcp_sim *sim = tcp_sim_of_device(device);
    struct tcp_sim_listener *listener = tcp_sim__listener(sim, op->request.fd);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, op->request.fd);
    if (listener == NULL && connection == NULL)
        return -EBADF;
    if (op->request.op == IO_ACCEPT) {
        if (listener == NULL)
            return -EINVAL;
        listener->under_way++;
        return 0;
    }
    if (connection == NULL)
        return -ENOTCONN;
    if (op->request.op == IO_SENDV &&
        (op->request.iovec_count == 0 || op->request.iovec_count > IO_IOVEC_MAX))
        return -EINVAL;
    if (op->request.op != IO_RECV && op->request.op != IO_SENDV)
        return -ESPIPE;
    connection->under_way++;
    return 0;
}

static uint64_t
device_due_ns(struct io_sim_device *device, const struct io_sim_op *op, uint64_t now_ns)
{
    struct tcp_sim *sim = tcp_sim_of_device(device);
    if (op->request.op == IO_ACCEPT) {
        const struct tcp_sim_listener *listener = tcp_sim__listener(sim, op->request.fd);
        uint64_t due_ns;
        (void)tcp_sim__waiting(sim, listener->port, now_ns, &due_ns);
        return listener->shut ? now_ns : due_ns;
    }
    const struct tcp_sim_connection *connection = tcp_sim__connection(sim, op->request.fd);
    if (connection->reset || connection->shut)
        return now_ns;
    if (op->request.op == IO_SENDV) {
        /* A client that closed answers with a reset: the send ends so that it can be told. */
        bool ready = connection->client_gone ||
                     tcp_sim__space(&connection->pipes[TCP_SIM_TO_CLIENT]) > 0;
        return ready ? now_ns : SIM_NEVER_NS;
    }
    if (connection->vanished)
        return SIM_NEVER_NS;
    return tcp_sim__pipe_due_ns(&connection->pipes[TCP_SIM_TO_SERVER], now_ns);
}

static int32_t
finish_accept(struct tcp_sim *sim, const struct io_sim_op *op, uint64_t now_ns)
{
    struct tcp_sim_listener *listener = tcp_sim__listener(sim, op->request.fd);
    uint64_t due_ns;
    listener->under_way--;
    if (listener->shut)
        return -EINVAL;
    uint32_t idx = tcp_sim__waiting(sim, listener->port, now_ns, &due_ns);
    CHECK(idx != UINT32_MAX);
    uint32_t limit = sim->faults.connections_max;
    if (limit > 0 && tcp_sim_server_connections(&sim->tcp) >= limit)
        return -EMFILE;
    sim->connections[idx].state = TCP_SIM_OPEN;
    sim_trace_add(sim->trace, "tcp_accept", idx, 0, 0);
    return TCP_SIM_FD_CONNECTION + (int32_t)idx;
}

static int32_t
finish_receive(struct tcp_sim *sim,
               struct tcp_sim_connection *connection,
               const struct io_request *request)
{
    if (connection->reset)
        return -ECONNRESET;
    if (connection->shut)
        return 0;
    uint32_t count = tcp_sim__take(
        sim, connection, TCP_SIM_TO_SERVER, request->buffer, request->bytes);
    if (connection->reset)
        return -ECONNRESET;
    return (int32_t)count; /* 0: the client is finished and everything was taken */
}

static int32_t
finish_send(struct tcp_sim *sim,
            struct tcp_sim_connection *connection,
            const struct io_request *request)
{
    if (connection->reset)
        return -ECONNRESET;
    if (connection->shut || connection->client_gone)
        return -EPIPE;
    uint32_t sent = 0;
    for (uint32_t i = 0; i < request->iovec_count; i++) {
        const struct iovec *vec = &request->iovecs[i];
        uint32_t count = tcp_sim__put(
            sim, connection, TCP_SIM_TO_CLIENT, vec->iov_base, (uint32_t)vec->iov_len);
        sent += count;
        if (count < vec->iov_len)
            break;
    }
    if (sent == 0 && connection->reset)
        return -ECONNRESET;
    return (int32_t)sent;
}

static int32_t
device_finish(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns)
{
    struct tcp_sim *sim = tcp_sim_of_device(device);
    if (op->request.op == IO_ACCEPT)
        return finish_accept(sim, op, now_ns);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, op->request.fd);
    CHECK(connection->under_way > 0);
    connection->under_way--;
    if (op->request.op == IO_RECV)
        return finish_receive(sim, connection, &op->request);
    return finish_send(sim, connection, &op->request);
}

static void
device_cancel(struct io_sim_device *device, struct io_sim_op *op)
{
    struct tcp_sim *sim = tcp_sim_of_device(device);
    struct tcp_sim_listener *listener = tcp_sim__listener(sim, op->request.fd);
    struct tcp_sim_connection *connection = tcp_sim__connection(sim, op->request.fd);
    if (listener != NULL)
        listener->under_way--;
    if (connection != NULL)
        connection->under_way--;
}

static const struct io_sim_device_ops tcp_sim_device_ops = {
    .start = device_start,
    .due_ns = device_due_ns,
    .finish = device_finish,
    .cancel = device_cancel,
};

void
tcp_sim__device_init(struct tcp_sim *sim)
{
    sim->device = (struct io_sim_device){
        .ops = &tcp_sim_device_ops,
        .fd_first = TCP_SIM_FD_FIRST,
        .fd_end = TCP_SIM_FD_END,
    };
}

struct io_sim_device *
tcp_sim_device(struct tcp *tcp)
{
    return &tcp_sim_of(tcp)->device;
}
