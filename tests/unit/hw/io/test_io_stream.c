/* Goal: both real bodies accept, receive and send alike, also when the other side is slow, rude or
 * gone. Method: loopback TCP; the peer is a plain blocking socket on this or another thread. */
#include "io_bench.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nothing may complete for a while: the request is truly pending. */
static void
expect_pending(struct io *io)
{
    struct io_completion completion;

    for (int i = 0; i < 5; i++) {
        io_wait(io, 2 * NS_PER_MS);
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
    }
}

FOR_EACH_BODY(io_stream, tells_the_end_of_the_stream_when_a_pending_recv_is_shut_down)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    char buffer[16];
    int fds[2];

    io_bench_pair(fds);
    io_bench_submit(
        io,
        &(struct io_request){.tag = 1, .op = IO_RECV, .fd = fds[0], .buffer = buffer, .bytes = 16});
    expect_pending(io);
    shutdown(fds[0], SHUT_RDWR);
    io_bench_collect(io, &completion, 1);
    cr_assert_leq(completion.result, 0);
    close(fds[0]);
    close(fds[1]);
    io_destroy(io);
}

FOR_EACH_BODY(io_stream, ends_a_pending_accept_when_its_listener_is_shut_down)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    uint16_t port;
    int listener = io_bench_listen(&port);

    io_bench_submit(io, &(struct io_request){.tag = 1, .op = IO_ACCEPT, .fd = listener});
    expect_pending(io);
    shutdown(listener, SHUT_RDWR);
    io_bench_collect(io, &completion, 1);
    cr_assert_lt(completion.result, 0);
    close(listener);
    io_destroy(io);
}

FOR_EACH_BODY(io_stream, answers_a_reset_with_an_error)
{
    struct io *io = io_bench_create(body);
    struct io_completion completions[2];
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char buffer[16] = "x";
    int fds[2];

    io_bench_pair(fds);
    io_bench_submit(
        io,
        &(struct io_request){.tag = 1, .op = IO_RECV, .fd = fds[0], .buffer = buffer, .bytes = 16});
    expect_pending(io);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fds[1]);
    io_bench_collect(io, completions, 1);
    cr_assert_eq(completions[0].result, -ECONNRESET);

    /* And no SIGPIPE, which would end the test. */
    struct iovec piece = {buffer, 1};
    struct io_request send = {.op = IO_SENDV, .fd = fds[0], .iovecs = &piece, .iovec_count = 1};
    cr_assert_eq(io_bench_run(io, &send), -EPIPE);
    struct iovec two[2] = {piece, piece};
    send.iovecs = two;
    send.iovec_count = 2;
    cr_assert_eq(io_bench_run(io, &send), -EPIPE);
    close(fds[0]);
    io_destroy(io);
}

FOR_EACH_BODY(io_stream, accepts_connections_that_are_non_blocking_and_undelayed)
{
    struct io *io = io_bench_create(body);
    uint16_t port;
    int listener = io_bench_listen(&port);
    struct io_request accept_one = {.tag = 5, .op = IO_ACCEPT, .fd = listener};
    struct io_completion completion;

    for (int i = 0; i < 20; i++) {
        /* Half of them wait first, half find the connection there. */
        int peer = -1;
        if (i % 2 == 0)
            peer = io_bench_connect(port);
        io_bench_submit(io, &accept_one);
        if (i % 2 == 1) {
            io_wait(io, NS_PER_MS);
            peer = io_bench_connect(port);
        }
        io_bench_collect(io, &completion, 1);
        int fd = completion.result;
        int undelayed = 0;
        socklen_t bytes = sizeof(undelayed);

        cr_assert_geq(fd, 0);
        cr_assert_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
        cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &undelayed, &bytes), 0);
        cr_assert_neq(undelayed, 0);
        close(fd);
        close(peer);
    }
    close(listener);
    io_destroy(io);
}

/* The peer of the large transfer: reads everything slowly and sends it back complemented. */
struct echo {
    int fd;
    size_t bytes;
    uint64_t mismatches;
};

static uint8_t
echo_byte(size_t position)
{
    return (uint8_t)(position * 7 + (position >> 11));
}

static void *
echo_run(void *ctx)
{
    struct echo *echo = ctx;
    uint8_t buffer[50000];
    size_t at = 0;

    while (at < echo->bytes) {
        ssize_t count = recv(echo->fd, buffer, sizeof(buffer), 0);

        if (count <= 0)
            return NULL;
        for (ssize_t i = 0; i < count; i++) {
            echo->mismatches += buffer[i] != echo_byte(at + (size_t)i);
            buffer[i] = (uint8_t)~buffer[i];
        }
        at += (size_t)count;
        for (ssize_t sent = 0; sent < count;) {
            ssize_t part = send(echo->fd, buffer + sent, (size_t)(count - sent), MSG_NOSIGNAL);

            if (part <= 0)
                return NULL;
            sent += part;
        }
    }
    return NULL;
}

struct transfer {
    struct io *io;
    int fd;
    const uint8_t *out;
    size_t bytes;
    size_t sent;
    size_t received;
    uint32_t sends;
    struct iovec pieces[8];
    uint8_t in[30000];
};

/* Sends all that is left, in up to eight pieces. */
static void
transfer_send(struct transfer *transfer)
{
    size_t left = transfer->bytes - transfer->sent;
    size_t piece = left / 8 + 1;
    uint32_t count = 0;
    size_t at = transfer->sent;

    while (at < transfer->bytes) {
        size_t bytes = min_u64(piece, transfer->bytes - at);

        transfer->pieces[count++] = (struct iovec){(void *)(uintptr_t)(transfer->out + at), bytes};
        at += bytes;
    }
    transfer->sends++;
    io_bench_submit(transfer->io,
                    &(struct io_request){.tag = 1,
                                         .op = IO_SENDV,
                                         .fd = transfer->fd,
                                         .iovecs = transfer->pieces,
                                         .iovec_count = count});
}

static void
transfer_recv(struct transfer *transfer)
{
    io_bench_submit(transfer->io,
                    &(struct io_request){.tag = 2,
                                         .op = IO_RECV,
                                         .fd = transfer->fd,
                                         .buffer = transfer->in,
                                         .bytes = sizeof(transfer->in)});
}

static void
transfer_step(struct transfer *transfer)
{
    struct io_completion completion;

    io_bench_collect(transfer->io, &completion, 1);
    cr_assert_gt(completion.result, 0);
    if (completion.tag == 1) {
        transfer->sent += (size_t)completion.result;
        if (transfer->sent < transfer->bytes)
            transfer_send(transfer);
        return;
    }
    for (int32_t i = 0; i < completion.result; i++)
        cr_assert_eq(transfer->in[i], (uint8_t)~echo_byte(transfer->received + (size_t)i));
    transfer->received += (size_t)completion.result;
    if (transfer->received < transfer->bytes)
        transfer_recv(transfer);
}

FOR_EACH_BODY(io_stream, carries_sixteen_mebibytes_both_ways_through_partial_sends)
{
    static struct transfer transfer;
    struct echo echo = {.bytes = 16 * MIB};
    uint8_t *out = malloc(echo.bytes);
    pthread_t peer;
    int fds[2];

    for (size_t i = 0; i < echo.bytes; i++)
        out[i] = echo_byte(i);
    io_bench_pair(fds);
    echo.fd = fds[1];
    memset(&transfer, 0, sizeof(transfer));
    transfer.io = io_bench_create(body);
    transfer.fd = fds[0];
    transfer.out = out;
    transfer.bytes = echo.bytes;
    cr_assert_eq(pthread_create(&peer, NULL, echo_run, &echo), 0);
    transfer_send(&transfer);
    transfer_recv(&transfer);
    while (transfer.sent < transfer.bytes || transfer.received < transfer.bytes)
        transfer_step(&transfer);
    pthread_join(peer, NULL);
    cr_assert_eq(echo.mismatches, 0u);
    cr_assert_gt(transfer.sends, 1u, "no send was partial: the test proved nothing");
    cr_assert_eq(transfer.io->under_way, 0u);
    free(out);
    close(fds[0]);
    close(fds[1]);
    io_destroy(transfer.io);
}

FOR_EACH_BODY(io_stream, serves_a_descriptor_number_that_was_closed_and_used_again)
{
    struct io *io = io_bench_create(body);
    struct io_completion completion;
    char buffer[8];

    for (int round = 0; round < 50; round++) {
        int fds[2];

        io_bench_pair(fds);
        io_bench_submit(io,
                        &(struct io_request){
                            .tag = 1, .op = IO_RECV, .fd = fds[0], .buffer = buffer, .bytes = 8});
        cr_assert_eq(io_reap(io, &completion, 1), 0u);
        cr_assert_eq(send(fds[1], "abc", 3, MSG_NOSIGNAL), 3);
        io_bench_collect(io, &completion, 1);
        cr_assert_eq(completion.result, 3);
        close(fds[0]);
        close(fds[1]);
    }
    io_destroy(io);
}
