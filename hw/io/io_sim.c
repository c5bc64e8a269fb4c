/* The sim body of struct io; the contract is in the header.
 *
 * Requests stand in a table of IO_REQUESTS_MAX slots, found by a scan: simulated rings hold a
 * handful of requests, and a scan in slot order plus (due, order) as sort key is the same on every
 * run. */
#include "hw/io/io_sim.h"

#include "engine/base/check.h"

#include <errno.h>
#include <stdlib.h>

struct io_sim {
    struct io io; /* first */
    struct clock *clock;
    struct sim_rng rng;
    struct sim_trace *trace;
    uint32_t reap_partial_ppm;
    uint32_t device_count;
    struct io_sim_device *devices[IO_SIM_DEVICES_MAX];
    uint64_t order_next;
    bool woken;
    struct io_sim_op ops[IO_REQUESTS_MAX]; /* [io.under_way]; unordered */
    bool failed[IO_REQUESTS_MAX];          /* refused by start: device_error is the result */
};

static struct io_sim *
io_sim_of(struct io *io)
{
    return (struct io_sim *)io;
}

static struct io_sim_device *
io_sim_device_of(struct io_sim *sim, int fd)
{
    for (uint32_t i = 0; i < sim->device_count; i++) {
        struct io_sim_device *device = sim->devices[i];
        if (fd >= device->fd_first && fd < device->fd_end)
            return device;
    }
    return NULL;
}

static bool
io_sim_submit(struct io *io, const struct io_request *request)
{
    struct io_sim *sim = io_sim_of(io);
    if (io->under_way == IO_REQUESTS_MAX)
        return false;

    uint32_t slot = io->under_way++;
    struct io_sim_op *op = &sim->ops[slot];
    *op = (struct io_sim_op){.request = *request, .order = sim->order_next++};
    op->device = io_sim_device_of(sim, request->fd);
    int32_t error = -EBADF;
    if (op->device != NULL)
        error = op->device->ops->start(op->device, op, clock_now_ns(sim->clock));
    sim->failed[slot] = error != 0;
    op->device_error = error != 0 ? error : op->device_error;
    sim_trace_add(
        sim->trace, "io_submit", (uint64_t)request->op, (uint64_t)request->fd, request->position);
    return true;
}

static uint64_t
io_sim_op_due_ns(struct io_sim *sim, uint32_t slot, uint64_t now_ns)
{
    struct io_sim_op *op = &sim->ops[slot];
    if (sim->failed[slot])
        return now_ns;
    return op->device->ops->due_ns(op->device, op, now_ns);
}

/* The ready request with the least (due, order), or IO_REQUESTS_MAX. */
static uint32_t
io_sim_first_ready(struct io_sim *sim, uint64_t now_ns)
{
    uint32_t best = IO_REQUESTS_MAX;
    uint64_t best_due = 0;
    for (uint32_t i = 0; i < sim->io.under_way; i++) {
        uint64_t due = io_sim_op_due_ns(sim, i, now_ns);
        if (due > now_ns)
            continue;
        if (best == IO_REQUESTS_MAX || due < best_due ||
            (due == best_due && sim->ops[i].order < sim->ops[best].order)) {
            best = i;
            best_due = due;
        }
    }
    return best;
}

static uint32_t
io_sim_reap(struct io *io, struct io_completion *completions, uint32_t count)
{
    struct io_sim *sim = io_sim_of(io);
    uint64_t now_ns = clock_now_ns(sim->clock);
    uint32_t taken = 0;

    if (count > 1 && sim_rng_chance(&sim->rng, sim->reap_partial_ppm))
        count = 1;
    while (taken < count) {
        uint32_t slot = io_sim_first_ready(sim, now_ns);
        if (slot == IO_REQUESTS_MAX)
            break;
        struct io_sim_op *op = &sim->ops[slot];
        int32_t result = sim->failed[slot] ? op->device_error
                                           : op->device->ops->finish(op->device, op, now_ns);
        completions[taken++] = (struct io_completion){.tag = op->request.tag, .result = result};
        sim_trace_add(
            sim->trace, "io_complete", op->request.tag, (uint64_t)(int64_t)result, now_ns);
        uint32_t last = --io->under_way;
        sim->ops[slot] = sim->ops[last];
        sim->failed[slot] = sim->failed[last];
    }
    return taken;
}

static void
io_sim_wait(struct io *io, uint64_t timeout_ns)
{
    (void)io;
    (void)timeout_ns; /* the scheduler moves the clock */
}

static void
io_sim_wake(struct io *io)
{
    io_sim_of(io)->woken = true;
}

static void
io_sim_fini(struct io *io)
{
    struct io_sim *sim = io_sim_of(io);
    for (uint32_t i = 0; i < io->under_way; i++) {
        struct io_sim_op *op = &sim->ops[i];
        if (!sim->failed[i])
            op->device->ops->cancel(op->device, op);
    }
    free(sim);
}

static const struct io_ops io_sim_body = {
    .submit = io_sim_submit,
    .reap = io_sim_reap,
    .wait = io_sim_wait,
    .wake = io_sim_wake,
    .fini = io_sim_fini,
};

enum rc
io_sim_create(const struct io_sim_config *config, struct io **ret_io)
{
    struct io_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL)
        return RC_NO_MEMORY;
    sim->io.ops = &io_sim_body;
    sim->io.body_name = "sim";
    sim->clock = config->clock;
    sim->trace = config->trace;
    sim->reap_partial_ppm = config->reap_partial_ppm;
    sim_rng_seed(&sim->rng, config->seed, 0x696f);
    *ret_io = &sim->io;
    return RC_OK;
}

void
io_sim_attach(struct io *io, struct io_sim_device *device)
{
    struct io_sim *sim = io_sim_of(io);
    CHECK(io->ops == &io_sim_body);
    CHECK(sim->device_count < IO_SIM_DEVICES_MAX);
    for (uint32_t i = 0; i < sim->device_count; i++) {
        const struct io_sim_device *other = sim->devices[i];
        CHECK(device->fd_end <= other->fd_first || device->fd_first >= other->fd_end);
    }
    sim->devices[sim->device_count++] = device;
}

uint64_t
io_sim_due_ns(struct io *io)
{
    struct io_sim *sim = io_sim_of(io);
    uint64_t now_ns = clock_now_ns(sim->clock);
    uint64_t nearest = SIM_NEVER_NS;
    for (uint32_t i = 0; i < io->under_way; i++)
        nearest = min_u64(nearest, io_sim_op_due_ns(sim, i, now_ns));
    return nearest;
}

bool
io_sim_take_wake(struct io *io)
{
    struct io_sim *sim = io_sim_of(io);
    bool woken = sim->woken;
    sim->woken = false;
    return woken;
}

void
io_sim_heal(struct io *io)
{
    struct io_sim *sim = io_sim_of(io);
    uint64_t now_ns = clock_now_ns(sim->clock);
    for (uint32_t i = 0; i < io->under_way; i++) {
        if (sim->ops[i].due_ns == SIM_NEVER_NS)
            sim->ops[i].due_ns = now_ns;
    }
}
