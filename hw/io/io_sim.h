/* The sim body of struct io: requests complete in virtual time, in an order drawn by seed.
 *
 * A ring knows no disk and no network: it hands each request to the device that owns its descriptor
 * (hw/disk/disk_sim.h and hw/tcp/tcp_sim.h attach themselves), asks it when the request can end,
 * and gives the completion out by the first io_reap() at or after that moment. io_wait() returns at
 * once: the scheduler of the simulated world moves the clock to io_sim_due_ns() instead.
 *
 *   start: io_sim_create(&config, &io); io_sim_attach(io, disk_sim_device(disk)); ...
 *   world: due = io_sim_due_ns(io) ; advance the clock ; the core reaps
 *   crash: disk_sim_crash(disk) first, then io_destroy(io): what was under way is dropped
 *
 * Limits: IO_REQUESTS_MAX under way, IO_SIM_DEVICES_MAX devices. One thread. Allocates at creation
 * only. */
#ifndef EAGRE_HW_IO_IO_SIM_H
#define EAGRE_HW_IO_IO_SIM_H

#include "hw/clock/clock.h"
#include "hw/io/io.h"
#include "hw/io/sim_base.h"

#define IO_SIM_DEVICES_MAX 4u

struct io_sim_device;

/* A request under way; the device's part is its own. */
struct io_sim_op {
    struct io_request request;
    struct io_sim_device *device;
    uint64_t order; /* of submission on this ring */
    uint64_t
        due_ns; /* device: completion time where it is known at the start; SIM_NEVER_NS: stuck */
    uint64_t device_op;  /* device: its number for the request */
    uint64_t device_seq; /* device: free use, as are the rest */
    uint64_t device_epoch;
    uint32_t device_file;
    uint32_t device_bits;
    int32_t device_error;
};

struct io_sim_device_ops {
    /* Begins a request (op->request is set). Returns 0, or -errno: then the request completes with
     * it at once and the device is not asked again. */
    int32_t (*start)(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns);
    /* When the request can end as things stand: <= now_ns means it is ready; SIM_NEVER_NS:
     * something else has to happen first. */
    uint64_t (*due_ns)(struct io_sim_device *device, const struct io_sim_op *op, uint64_t now_ns);
    /* Ends a ready request; returns the completion's result. */
    int32_t (*finish)(struct io_sim_device *device, struct io_sim_op *op, uint64_t now_ns);
    /* The ring goes away with the request under way (a killed process). */
    void (*cancel)(struct io_sim_device *device, struct io_sim_op *op);
};

/* Embedded in a device's own struct. */
struct io_sim_device {
    const struct io_sim_device_ops *ops;
    int fd_first; /* descriptors [fd_first, fd_end) are this device's */
    int fd_end;
};

struct io_sim_config {
    struct clock *clock; /* the core's; borrowed */
    uint64_t seed;
    struct sim_trace *trace;   /* borrowed; may be NULL */
    uint32_t reap_partial_ppm; /* how often a reap holds back ready completions, so that groups of
                                  them are split */
};

/* Allocates: yes. Freed by io_destroy(). */
enum rc io_sim_create(const struct io_sim_config *config, struct io **ret_io);
/* Descriptors of attached devices must not overlap (checked). */
void io_sim_attach(struct io *io, struct io_sim_device *device);
/* The next moment at which io_reap() has something to give: <= now when it has now; SIM_NEVER_NS
 * for never. */
uint64_t io_sim_due_ns(struct io *io);
/* True once after io_wake(). */
bool io_sim_take_wake(struct io *io);
/* Lets every stuck request complete now. */
void io_sim_heal(struct io *io);

#endif
