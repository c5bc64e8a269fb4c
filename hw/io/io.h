/* The one submission/completion ring of a core, and the place where the core sleeps.
 *
 * A core's thread creates one struct io and is the only one that calls it, except io_wake(), which
 * any thread may call. Requests are queued by io_submit(), handed to the kernel by io_reap() or
 * io_wait(), and answered by exactly one completion each, in any order. Every buffer named by a
 * request is owned by the ring until its completion.
 *
 * Bodies: io_uring (hw/io/io_uring.c), threads (hw/io/io_threads.c: pread/pwrite workers and epoll,
 * where io_uring is denied), sim (hw/io/io_sim.c: virtual disk and streams, seeded faults).
 *
 * Short transfers: reads, writes and sends may complete with fewer bytes than asked; the caller
 * goes on from there. Order: none between requests, so a stream has at most one IO_RECV and one
 * IO_SENDV under way. Limits: IO_REQUESTS_MAX requests under way per ring; io_submit() answers
 * false beyond.
 *
 *     while (io_submit(io, &request))        queue what there is
 *         ...
 *     count = io_reap(io, completions, 64);  hand over, take what is finished
 *     if (count == 0 && nothing else to do)
 *         io_wait(io, nearest_deadline_ns - now_ns); */
#ifndef EAGRE_HW_IO_IO_H
#define EAGRE_HW_IO_IO_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#include <sys/uio.h>

#define IO_REQUESTS_MAX 4096u /* power of two */
#define IO_IOVEC_MAX 64u
#define IO_TRANSFER_BYTES_MAX (UINT32_C(1) << 30) /* of one request */

enum io_op {
    IO_READ,      /* positioned; buffer, bytes */
    IO_WRITE,     /* positioned; buffer, bytes */
    IO_WRITEV,    /* positioned; iovecs [iovec_count], which must live until the completion */
    IO_FDATASYNC, /* fd only */
    IO_ACCEPT, /* one connection; result is the new fd, non-blocking, close-on-exec, TCP_NODELAY set
                */
    IO_RECV,   /* stream; result 0 is end of stream */
    IO_SENDV,  /* stream; iovecs must live until the completion; never raises SIGPIPE */
    IO_POLL,   /* fd only; once: fd can be read, or has an error to tell (result > 0) */
};

struct io_request {
    uint64_t tag; /* given back in the completion; see io_tag() */
    enum io_op op;
    int fd;
    void *buffer;
    const struct iovec *iovecs;
    uint32_t iovec_count; /* [1, IO_IOVEC_MAX] */
    uint32_t bytes;
    uint64_t position; /* in the file */
};

struct io_completion {
    uint64_t tag;
    int32_t result; /* >= 0: bytes (or fd for IO_ACCEPT); < 0: -errno */
};

/* Bits of a tag: [63:56] the tile on this core, the rest is the tile's own. */
static ALWAYS_INLINE uint64_t
io_tag(uint32_t tile_idx, uint64_t own)
{
    return ((uint64_t)tile_idx << 56) | own;
}
static ALWAYS_INLINE uint32_t
io_tag_tile(uint64_t tag)
{
    return (uint32_t)(tag >> 56);
}
#define IO_TAG_OWN_MASK ((UINT64_C(1) << 56) - 1)

struct io;
struct io_ops {
    bool (*submit)(struct io *io, const struct io_request *request);
    uint32_t (*reap)(struct io *io, struct io_completion *completions, uint32_t count);
    void (*wait)(struct io *io, uint64_t timeout_ns);
    void (*wake)(struct io *io);
    void (*fini)(struct io *io);
};

/* First member of every body. */
struct io {
    const struct io_ops *ops;
    const char *body_name; /* "io_uring", "threads", "sim": for the start banner */
    uint32_t under_way;    /* requests submitted and not yet reaped; kept by the body */
    uint64_t
        overflows; /* times the kernel had to set completions aside; 0 unless a limit is wrong */
    /* Set by the core loop when it will wait next unless something comes up: io_reap() then takes
     * what is there and leaves what is queued to io_wait(), which hands it over and waits in one
     * syscall. */
    bool lazy;
};

/* Queues one request; false when IO_REQUESTS_MAX are under way (nothing is taken). The request
 * itself is copied; what it points to is borrowed until its completion. No syscall, except that the
 * io_uring body hands over a full queue.
 *
 * Runs on: the owner.  Allocates: nothing.  Blocks: never. */
static inline bool
io_submit(struct io *io, const struct io_request *request)
{
    return io->ops->submit(io, request);
}

/* Hands queued requests to the kernel and takes up to count completions. One syscall at most when
 * requests are queued or under way, none otherwise (the threads body: one per stream request
 * besides).
 *
 * Runs on: the owner.  Allocates: nothing.  Blocks: never. */
static inline uint32_t
io_reap(struct io *io, struct io_completion *completions, uint32_t count)
{
    return io->ops->reap(io, completions, count);
}

/* Hands over what is queued and blocks until a completion can be reaped, a wake came, or timeout_ns
 * passed (UINT64_MAX: no limit). A wake that came before the call makes it return at once. May
 * return for no reason.
 *
 * Runs on: the owner.  Allocates: nothing.  Blocks: yes, it is the only place. */
static inline void
io_wait(struct io *io, uint64_t timeout_ns)
{
    io->ops->wait(io, timeout_ns);
}

/* Ends the present or the next io_wait() of that ring. Wakes that come faster than they are waited
 * for count once.
 *
 * Runs on: any thread.  Allocates: nothing.  Blocks: never. */
static inline void
io_wake(struct io *io)
{
    io->ops->wake(io);
}

enum io_body { IO_BODY_AUTO, IO_BODY_URING, IO_BODY_THREADS };

/* Creates a real ring. AUTO tries io_uring (DEFER_TASKRUN, then COOP_TASKRUN, then plain), then
 * threads; the reason for falling back is added to trail (so a trail that is not empty after RC_OK
 * is a warning to print).
 *
 * Runs on: the thread that will use it, which the kernel remembers.  Allocates: yes.  Blocks:
 * briefly. */
enum rc io_create(enum io_body body, struct io **ret_io, struct diag_trail *trail) MUST_USE;

/* Waits for nothing: requests under way are abandoned to the kernel, so the caller drains first.
 * NULL is allowed. Runs on: the owner. */
void io_destroy(struct io *io);

#endif
