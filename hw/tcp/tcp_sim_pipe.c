/* Bytes in motion in the in-memory network; see tcp_sim.h. */
#include "hw/tcp/tcp_sim_inner.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <stdlib.h>

static uint64_t
connection_number(struct tcp_sim *sim, const struct tcp_sim_connection *connection)
{
    return (uint64_t)(connection - sim->connections);
}

static const struct tcp_sim_piece *
piece_at(const struct tcp_sim_pipe *pipe, uint32_t idx)
{
    return &pipe->pieces[(pipe->piece_first + idx) % TCP_SIM_PIECES_MAX];
}

uint64_t
tcp_sim__visible(const struct tcp_sim_pipe *pipe, uint64_t now_ns)
{
    uint64_t end = pipe->received;
    for (uint32_t i = 0; i < pipe->piece_count && piece_at(pipe, i)->arrive_ns <= now_ns; i++)
        end = piece_at(pipe, i)->end;
    return end - pipe->received;
}

uint64_t
tcp_sim__pipe_due_ns(const struct tcp_sim_pipe *pipe, uint64_t now_ns)
{
    (void)now_ns;
    if (pipe->piece_count > 0)
        return piece_at(pipe, 0)->arrive_ns;
    return pipe->finished ? pipe->arrive_last_ns : SIM_NEVER_NS;
}

uint32_t
tcp_sim__space(const struct tcp_sim_pipe *pipe)
{
    if (pipe->piece_count == TCP_SIM_PIECES_MAX)
        return 0;
    return pipe->capacity - (uint32_t)(pipe->sent - pipe->received);
}

static uint64_t
arrival_ns(struct tcp_sim *sim, struct tcp_sim_pipe *pipe)
{
    uint64_t ns = clock_now_ns(sim->clock) + sim->faults.latency_ns;
    if (sim->faults.spread_ns > 0)
        ns += sim_rng_below(&sim->rng, sim->faults.spread_ns + 1);
    pipe->arrive_last_ns = max_u64(pipe->arrive_last_ns, ns);
    return pipe->arrive_last_ns;
}

/* Draws the chance of a reset; true when it came. */
static bool
reset_by_chance(struct tcp_sim *sim, struct tcp_sim_connection *connection)
{
    if (!sim_rng_chance(&sim->rng, sim->faults.reset_ppm))
        return false;
    tcp_sim__reset(sim, connection);
    return true;
}

uint32_t
tcp_sim__put(struct tcp_sim *sim,
             struct tcp_sim_connection *connection,
             enum tcp_sim_direction direction,
             const void *bytes,
             uint32_t count)
{
    struct tcp_sim_pipe *pipe = &connection->pipes[direction];
    const uint8_t *from = bytes;
    count = min_u32(count, tcp_sim__space(pipe));
    if (count == 0 || reset_by_chance(sim, connection))
        return 0;
    if (count > 1 && sim_rng_chance(&sim->rng, sim->faults.partial_ppm))
        count = (uint32_t)sim_rng_between(&sim->rng, 1, count);
    bool reset = pipe->sent + count >= pipe->reset_at;
    for (uint32_t done = 0; done < count;) {
        uint32_t at = (uint32_t)((pipe->sent + done) % pipe->capacity);
        uint32_t part = min_u32(count - done, pipe->capacity - at);
        bytes_copy(pipe->buffer + at, pipe->capacity - at, from + done, part);
        done += part;
    }
    pipe->sent += count;
    pipe->pieces[(pipe->piece_first + pipe->piece_count++) % TCP_SIM_PIECES_MAX] =
        (struct tcp_sim_piece){.end = pipe->sent, .arrive_ns = arrival_ns(sim, pipe)};
    sim_trace_add(sim->trace, "tcp_put", connection_number(sim, connection), direction, count);
    if (reset)
        tcp_sim__reset(sim, connection);
    return count;
}

uint32_t
tcp_sim__take(struct tcp_sim *sim,
              struct tcp_sim_connection *connection,
              enum tcp_sim_direction direction,
              void *buffer,
              uint32_t capacity)
{
    struct tcp_sim_pipe *pipe = &connection->pipes[direction];
    uint8_t *to = buffer;
    uint32_t count = (uint32_t)min_u64(capacity, tcp_sim__visible(pipe, clock_now_ns(sim->clock)));
    if (count == 0 || reset_by_chance(sim, connection))
        return 0;
    if (count > 1 && sim_rng_chance(&sim->rng, sim->faults.fragment_ppm)) {
        uint64_t most = max_u64(1, sim->faults.fragment_bytes);
        count = (uint32_t)min_u64(count, sim_rng_between(&sim->rng, 1, most));
    }
    for (uint32_t done = 0; done < count;) {
        uint32_t at = (uint32_t)((pipe->received + done) % pipe->capacity);
        uint32_t part = min_u32(count - done, pipe->capacity - at);
        bytes_copy(to + done, count - done, pipe->buffer + at, part);
        done += part;
    }
    pipe->received += count;
    while (pipe->piece_count > 0 && piece_at(pipe, 0)->end <= pipe->received) {
        pipe->piece_first = (pipe->piece_first + 1) % TCP_SIM_PIECES_MAX;
        pipe->piece_count--;
    }
    sim_trace_add(sim->trace, "tcp_take", connection_number(sim, connection), direction, count);
    return count;
}

void
tcp_sim__reset(struct tcp_sim *sim, struct tcp_sim_connection *connection)
{
    if (connection->reset || connection->vanished)
        return;
    connection->reset = true;
    for (uint32_t i = 0; i < ARRAY_COUNT(connection->pipes); i++)
        connection->pipes[i].piece_count = 0;
    sim_trace_add(sim->trace, "tcp_reset", connection_number(sim, connection), 0, 0);
}

void
tcp_sim__finish(struct tcp_sim *sim,
                struct tcp_sim_connection *connection,
                enum tcp_sim_direction direction)
{
    struct tcp_sim_pipe *pipe = &connection->pipes[direction];
    if (pipe->finished)
        return;
    pipe->finished = true;
    (void)arrival_ns(sim, pipe);
    sim_trace_add(sim->trace, "tcp_finish", connection_number(sim, connection), direction, 0);
}

void
tcp_sim__settle(struct tcp_sim_connection *connection)
{
    bool server_gone = connection->state == TCP_SIM_SERVER_GONE ||
                       connection->state == TCP_SIM_WAITING;
    if (!server_gone || !connection->released)
        return;
    for (uint32_t i = 0; i < ARRAY_COUNT(connection->pipes); i++)
        free(connection->pipes[i].buffer);
    *connection = (struct tcp_sim_connection){.state = TCP_SIM_FREE};
}

uint32_t
tcp_sim__waiting(struct tcp_sim *sim, uint16_t port, uint64_t now_ns, uint64_t *ret_due_ns)
{
    uint32_t first = UINT32_MAX;
    *ret_due_ns = SIM_NEVER_NS;
    for (uint32_t i = 0; i < TCP_SIM_CONNECTIONS_MAX; i++) {
        const struct tcp_sim_connection *connection = &sim->connections[i];
        if (connection->state != TCP_SIM_WAITING || connection->port != port)
            continue;
        *ret_due_ns = min_u64(*ret_due_ns, connection->arrive_ns);
        if (connection->arrive_ns > now_ns)
            continue;
        if (first == UINT32_MAX || connection->order < sim->connections[first].order)
            first = i;
    }
    return first;
}
