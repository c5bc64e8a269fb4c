/* Goal: one way to make, drive and feed a body of hw/io for all its suites.
 * Method: every call stops the test with a message when the host fails it; nothing waits for ever.
 */
#include "io_bench.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct io_bench_bodies
io_bench_bodies(void)
{
    struct io_bench_bodies bodies = {.bodies = {IO_BODY_THREADS}, .count = 1};
    struct diag_trail trail = {""};
    struct io *io;

    if (io_create(IO_BODY_URING, &io, &trail) == RC_OK) {
        io_destroy(io);
        bodies.bodies[bodies.count++] = IO_BODY_URING;
    } else {
        cr_log_warn("skipped for io_uring: %s", trail.text);
    }
    return bodies;
}

struct io *
io_bench_create(enum io_body body)
{
    struct diag_trail trail = {""};
    struct io *io = NULL;

    cr_assert_eq(io_create(body, &io, &trail), RC_OK, "%s", trail.text);
    return io;
}

void
io_bench_submit(struct io *io, const struct io_request *request)
{
    cr_assert(io_submit(io, request));
}

void
io_bench_collect(struct io *io, struct io_completion *completions, uint32_t count)
{
    uint64_t deadline_ns = io_bench_now_ns() + 10 * NS_PER_S;
    uint32_t taken = 0;

    for (;;) {
        taken += io_reap(io, completions + taken, count - taken);
        if (taken == count)
            return;
        cr_assert_lt(io_bench_now_ns(), deadline_ns, "%u of %u completions came", taken, count);
        io_wait(io, NS_PER_S);
    }
}

int32_t
io_bench_run(struct io *io, const struct io_request *request)
{
    struct io_completion completion;

    io_bench_submit(io, request);
    io_bench_collect(io, &completion, 1);
    cr_assert_eq(completion.tag, request->tag);
    cr_assert_eq(io->under_way, 0u);
    return completion.result;
}

int
io_bench_file(int flags)
{
    char path[] = "/tmp/eagre-io-XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    if (flags != 0) {
        close(fd);
        fd = open(path, O_RDWR | O_CLOEXEC | flags);
        cr_assert_geq(fd, 0);
    }
    unlink(path);
    return fd;
}

int
io_bench_listen(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(fd, 16), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

int
io_bench_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void
io_bench_pair(int fds[2])
{
    uint16_t port;
    int listener = io_bench_listen(&port);

    fds[1] = io_bench_connect(port);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert_geq(fds[0], 0);
    close(listener);
}

uint64_t
io_bench_now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}
