/* The virtual disk as seen by the sim ring: reads, writes and syncs that take virtual time.
 *
 * A write's bytes are taken at its start (they may survive a crash from then on) and become visible
 * at its end. A read gives what is there at its end. A sync covers what had ended when it was
 * started: writes that end beside it are not promised. */
#include "hw/disk/disk_sim_inner.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <errno.h>

enum device_bits {
    OP_LOST = 1,
    OP_FLIP = 2,
};

static struct disk_sim *
disk_sim_of_device(struct io_sim_device *device)
{
    return (struct disk_sim *)(void *)((char *)device - offsetof(struct disk_sim, device));
}

static uint64_t
device_latency_ns(struct disk_sim *sim, const struct disk_sim_verdict *verdict)
{
    const struct disk_sim_faults *faults = &sim->faults;
    uint64_t ns = faults->latency_ns;
    if (faults->spread_ns > 0)
        ns += sim_rng_below(&sim->rng, faults->spread_ns + 1);
    if (verdict->slow && faults->slow_ns > 0)
        ns += sim_rng_below(&sim->rng, faults->slow_ns + 1);
    return ns;
}

static uint64_t
request_bytes(const struct io_request *request)
{
    if (request->op != IO_WRITEV)
        return request->op == IO_FDATASYNC ? 0 : request->bytes;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < request->iovec_count; i++)
        bytes += request->iovecs[i].iov_len;
    return bytes;
}

static int
request_error(const struct disk_sim_file *file, const struct io_request *request)
{
    bool write = request->op != IO_READ;
    if (request->op == IO_FDATASYNC)
        return 0;
    if (request->op != IO_WRITEV)
        return disk_sim__transfer_error(
            file, write, request->buffer, request->bytes, request->position);
    if (request->iovec_count == 0 || request->iovec_count > IO_IOVEC_MAX)
        return EINVAL;
    for (uint32_t i = 0; i < request->iovec_count; i++) {
        const struct iovec *vec = &request->iovecs[i];
        int error = disk_sim__transfer_error(
            file, write, vec->iov_base, vec->iov_len, request->position);
        if (error != 0)
            return error;
    }
    return 0;
}

static struct sim_blob *
request_blob(const struct io_request *request)
{
    uint64_t bytes = request_bytes(request);
    if (request->op == IO_WRITE)
        return sim_blob_create(request->buffer, bytes);
    struct sim_blob *blob = sim_blob_create(NULL, bytes);
    uint64_t at = 0;
    for (uint32_t i = 0; i < request->iovec_count; i++) {
        const struct iovec *vec = &request->iovecs[i];
        bytes_copy(blob->bytes + at, bytes - at, vec->iov_base, vec->iov_len);
        at += vec->iov_len;
    }
    return blob;
}

/* How much of a transfer takes place when it is cut short; direct transfers stop at
 * DISK_ALIGN_BYTES, [1 unit, bytes]. */
static uint64_t
short_bytes(struct disk_sim *sim, const struct disk_sim_file *file, uint64_t bytes)
{
    uint64_t unit = (file->flags & DISK_DIRECT) != 0 ? DISK_ALIGN_BYTES : 1;
    if (bytes <= unit)
        return bytes;
    return round_down(sim_rng_between(&sim->rng, unit, bytes), unit);
}

static void
start_write(struct disk_sim *sim,
            struct io_sim_op *op,
            const struct disk_sim_file *file,
            const struct disk_sim_verdict *verdict)
{
    struct sim_blob *blob = request_blob(&op->request);
    op->device_seq = blob->count; /* how much will take place */
    if (verdict->is_short)
        op->device_seq = short_bytes(sim, file, blob->count);
    if (verdict->error != 0 && verdict->error != ENOSPC)
        op->device_seq = SIM_SECTOR_BYTES *
                         sim_rng_below(&sim->rng, blob->count / SIM_SECTOR_BYTES + 1);
    if (verdict->error == ENOSPC)
        op->device_seq = 0;
    if (verdict->lost) {
        op->device_bits |= OP_LOST;
        sim_blob_release(blob);
        return;
    }
    op->device_op = sim->write_next++;
    struct sim_event event = {
        .kind = SIM_WRITE_BEGIN,
        .op = op->device_op,
        .inode = file->inode,
        .position = disk_sim__place(sim, file->inode, op->request.position, verdict->misdirect),
        .dsync = (file->flags & DISK_DSYNC) != 0,
        .blob = blob,
    };
    disk_sim__happen(sim, &event);
    sim_blob_release(blob);
}

static int32_t
device_start(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns)
{
    struct disk_sim *sim = disk_sim_of_device(device);
    struct disk_sim_file *file = disk_sim__file(sim, op->request.fd);
    if (file == NULL)
        return -EBADF;
    if (op->request.op > IO_FDATASYNC)
        return -ENOTSOCK;
    int error = request_error(file, &op->request);
    if (error != 0)
        return -error;

    bool write = op->request.op == IO_WRITE || op->request.op == IO_WRITEV;
    enum disk_sim_class class = op->request.op == IO_READ ? DISK_SIM_READ
                                : write                   ? DISK_SIM_WRITE
                                                          : DISK_SIM_SYNC;
    struct disk_sim_verdict verdict = disk_sim__judge(sim, class, file->name);
    uint64_t end = op->request.position + request_bytes(&op->request);
    if (write && !disk_sim__has_space(sim, disk_sim__growth(sim, file->inode, end)))
        verdict.error = ENOSPC;

    op->device_file = file->inode;
    op->device_epoch = sim->epoch;
    op->device_error = -verdict.error;
    op->due_ns = verdict.stuck ? SIM_NEVER_NS : now_ns + device_latency_ns(sim, &verdict);
    if (write) {
        start_write(sim, op, file, &verdict);
    } else if (class == DISK_SIM_SYNC) {
        op->device_seq = sim->store.seq;
    } else {
        op->device_seq = op->request.bytes;
        if (verdict.is_short)
            op->device_seq = short_bytes(sim, file, op->request.bytes);
        op->device_bits |= verdict.flip ? OP_FLIP : 0u;
    }
    sim->store.inodes[file->inode].opens++; /* a request holds its file, as in the kernel */
    return 0;
}

static uint64_t
device_due_ns(struct io_sim_device *device, const struct io_sim_op *op, uint64_t now_ns)
{
    (void)device;
    (void)now_ns;
    return op->due_ns;
}

/* The buffer belongs to the ring until the completion: finding other bytes now than at the start is
 * a bug of the engine. */
static void
check_buffer_unchanged(struct disk_sim *sim, const struct io_sim_op *op)
{
    struct sim_blob *now = request_blob(&op->request);
    const struct sim_flight *flight = sim_store_flight(&sim->store, op->device_op);
    CHECK(flight != NULL);
    CHECK(memcmp(now->bytes, flight->blob->bytes, now->count) == 0);
    sim_blob_release(now);
}

static int32_t
finish_write(struct disk_sim *sim, const struct io_sim_op *op)
{
    if ((op->device_bits & OP_LOST) == 0) {
        check_buffer_unchanged(sim, op);
        struct sim_event event = {
            .kind = SIM_WRITE_END,
            .op = op->device_op,
            .inode = op->device_file,
            .bytes = op->device_seq,
            .failed = op->device_error != 0,
        };
        disk_sim__happen(sim, &event);
    }
    return op->device_error != 0 ? op->device_error : (int32_t)op->device_seq;
}

static int32_t
finish_read(struct disk_sim *sim, const struct io_sim_op *op)
{
    const struct sim_inode *inode = &sim->store.inodes[op->device_file];
    if (op->device_error != 0)
        return op->device_error;
    if (op->request.position >= inode->live.bytes)
        return 0;
    uint64_t count = min_u64(op->device_seq, inode->live.bytes - op->request.position);
    sim_image_read(&inode->live, op->request.buffer, count, op->request.position);
    if ((op->device_bits & OP_FLIP) != 0) {
        uint64_t bit = sim_rng_below(&sim->rng, count * 8);
        uint8_t *at = (uint8_t *)op->request.buffer + bit / 8;
        *at = (uint8_t)(*at ^ (1u << (bit % 8)));
    }
    return (int32_t)count;
}

static int32_t
device_finish(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns)
{
    (void)now_ns;
    struct disk_sim *sim = disk_sim_of_device(device);
    int32_t result = op->device_error;
    if (op->request.op == IO_READ) {
        result = finish_read(sim, op);
    } else if (op->request.op != IO_FDATASYNC) {
        result = finish_write(sim, op);
    } else {
        struct sim_event event = {
            .kind = SIM_SYNC,
            .inode = op->device_file,
            .position = op->device_seq,
            .failed = op->device_error != 0,
        };
        disk_sim__happen(sim, &event);
    }
    disk_sim__inode_closed(sim, op->device_file);
    return result;
}

/* The process is gone; the kernel still has the write: it takes place wholly, or some of it. */
static void
device_cancel(struct io_sim_device *device, struct io_sim_op *op)
{
    struct disk_sim *sim = disk_sim_of_device(device);
    bool write = op->request.op == IO_WRITE || op->request.op == IO_WRITEV;
    if (op->device_epoch != sim->epoch)
        return; /* a power cut came between */
    if (write && (op->device_bits & OP_LOST) == 0) {
        uint64_t bytes = op->device_seq;
        bool whole = sim_rng_chance(&sim->rng, SIM_PPM_ALL / 2);
        if (!whole)
            bytes = round_down(sim_rng_below(&sim->rng, bytes + 1), SIM_SECTOR_BYTES);
        struct sim_event event = {
            .kind = SIM_WRITE_END,
            .op = op->device_op,
            .inode = op->device_file,
            .bytes = bytes,
            .failed = !whole || op->device_error != 0,
        };
        disk_sim__happen(sim, &event);
    }
    disk_sim__inode_closed(sim, op->device_file);
}

static const struct io_sim_device_ops disk_sim_device_ops = {
    .start = device_start,
    .due_ns = device_due_ns,
    .finish = device_finish,
    .cancel = device_cancel,
};

void
disk_sim__device_init(struct disk_sim *sim)
{
    sim->device = (struct io_sim_device){
        .ops = &disk_sim_device_ops,
        .fd_first = DISK_SIM_FD_FIRST,
        .fd_end = DISK_SIM_FD_FIRST + (int)DISK_SIM_DESCRIPTORS_MAX,
    };
}

struct io_sim_device *
disk_sim_device(struct disk *disk)
{
    return &disk_sim_of(disk)->device;
}
