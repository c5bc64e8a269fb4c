/* Which body a core gets, and what all bodies share. */
#include "hw/io/io.h"

#include "engine/base/check.h"
#include "hw/io/io_bodies.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum rc
io_create(enum io_body body, struct io **ret_io, struct diag_trail *trail)
{
    if (body == IO_BODY_THREADS)
        return io__create_threads(ret_io, trail);
    enum rc rc = io__create_uring(ret_io, trail);
    if (rc == RC_OK || body == IO_BODY_URING)
        return rc;
    diag_trail_add(trail, "falling back to worker threads (slower commits)");
    return io__create_threads(ret_io, trail);
}

void
io_destroy(struct io *io)
{
    if (io != NULL)
        io->ops->fini(io);
}

void
io__check_request(const struct io_request *request)
{
    switch (request->op) {
    case IO_READ:
    case IO_WRITE:
    case IO_RECV:
        CHECK(request->buffer != NULL);
        CHECK(request->bytes > 0);
        CHECK(request->bytes <= IO_TRANSFER_BYTES_MAX);
        return;
    case IO_WRITEV:
    case IO_SENDV:
        CHECK(request->iovecs != NULL);
        CHECK(request->iovec_count > 0);
        CHECK(request->iovec_count <= IO_IOVEC_MAX);
        return;
    case IO_FDATASYNC:
    case IO_ACCEPT:
    case IO_POLL:
        return;
    }
    CHECK(false && "request with an unknown operation");
}

void
io__prepare_stream(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}
