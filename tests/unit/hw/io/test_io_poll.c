/* Goal: a descriptor that is watched ends the sleep of its core once, when it can be read, and not
 * before; this is how a core sleeps on a socket port. Method: UDP sockets on loopback, whose
 * datagrams are taken by recv() beside the ring, as hw/nic does. Bad descriptors: test_io_file.c.
 */
#include "io_bench.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS 64u

static int
udp_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void
udp_send(int from, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    cr_assert_eq(sendto(from, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)), 1);
}

static void
udp_take(int fd)
{
    char byte;

    cr_assert_eq(recv(fd, &byte, 1, 0), 1);
}

static void
watch(struct io *io, int fd, uint64_t tag)
{
    io_bench_submit(io, &(struct io_request){.tag = tag, .op = IO_POLL, .fd = fd});
}

static void
expect_nothing(struct io *io)
{
    struct io_completion completion;

    for (int i = 0; i < 5; i++) {
        io_wait(io, 2 * NS_PER_MS);
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
    }
}

FOR_EACH_BODY(io_poll, completes_once_for_each_time_it_is_asked)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    uint16_t port;
    int fd = udp_socket(&port);

    for (uint64_t round = 1; round <= 5; round++) {
        watch(io, fd, round);
        expect_nothing(io);
        udp_send(fd, port);
        io_bench_collect(io, &completion, 1);
        cr_assert_eq(completion.tag, round);
        cr_assert_gt(completion.result, 0);
        udp_send(fd, port); /* nobody watches now */
        expect_nothing(io);
        udp_take(fd);
        udp_take(fd);
        cr_assert_eq(io->under_way, 0u);
    }
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_poll, completes_at_once_when_something_waits_already)
{
    struct io *io = io_bench_create(body);
    uint16_t port;
    int fd = udp_socket(&port);
    struct io_request request = {.tag = 9, .op = IO_POLL, .fd = fd};

    udp_send(fd, port);
    cr_assert_gt(io_bench_run(io, &request), 0);
    cr_assert_gt(io_bench_run(io, &request), 0); /* it was not taken */
    udp_take(fd);
    watch(io, fd, 1);
    expect_nothing(io);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_poll, tells_which_of_many_descriptors_can_be_read)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    uint16_t ports[SOCKETS];
    int fds[SOCKETS];

    for (uint32_t i = 0; i < SOCKETS; i++) {
        fds[i] = udp_socket(&ports[i]);
        watch(io, fds[i], i);
    }
    expect_nothing(io);
    for (uint32_t i = 0; i < SOCKETS; i++) {
        uint32_t chosen = i * 29 % SOCKETS; /* 29 and 64 have no common divisor: each once */

        udp_send(fds[0], ports[chosen]);
        io_bench_collect(io, &completion, 1);
        cr_assert_eq(completion.tag, chosen);
    }
    cr_assert_eq(io->under_way, 0u);
    for (uint32_t i = 0; i < SOCKETS; i++)
        close(fds[i]);
    io_destroy(io);
}

FOR_EACH_BODY(io_poll, ends_a_wait_without_limit)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    uint16_t port;
    int fd = udp_socket(&port);
    uint32_t taken = 0;

    watch(io, fd, 4);
    cr_assert_eq(io_reap(io, &completion, 1), 0u); /* handed over */
    udp_send(fd, port);
    while (taken == 0) {
        io_wait(io, UINT64_MAX); /* the test's timeout ends it when the poll is lost */
        taken = io_reap(io, &completion, 1);
    }
    cr_assert_eq(completion.tag, 4u);
    close(fd);
    io_destroy(io);
}

FOR_EACH_BODY(io_poll, costs_no_time_while_nothing_comes)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    struct timespec before, after;
    uint16_t port;
    int fd = udp_socket(&port);
    uint64_t begin_ns = io_bench_now_ns();

    watch(io, fd, 1);
    cr_assert_eq(io_reap(io, &completion, 1), 0u);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    while (io_bench_now_ns() - begin_ns < NS_PER_S / 2) {
        io_wait(io, NS_PER_S / 2);
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    int64_t spent_ns = (after.tv_sec - before.tv_sec) * (int64_t)NS_PER_S +
                       (after.tv_nsec - before.tv_nsec);
    cr_assert_lt(spent_ns, (int64_t)(5 * NS_PER_MS));
    close(fd);
    io_destroy(io);
}
