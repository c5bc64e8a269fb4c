/* Goal: a listener is where it was asked for, or the trail says why not; peers have a name.
 * Method: loopback only, free ports; bad input first. */
#include "hw/io/io.h"
#include "hw/tcp/tcp.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum rc
listen_on(const char *host, uint16_t port, int *ret_fd, uint16_t *ret_port)
{
    struct diag_trail trail = {""};
    enum rc rc = tcp_listen(tcp_real(), host, port, ret_fd, ret_port, &trail);

    cr_assert_eq(rc == RC_OK, trail.text[0] == '\0', "%s", trail.text);
    if (rc != RC_OK)
        cr_assert_not_null(strstr(trail.text, host), "%s", trail.text);
    return rc;
}

static int
connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int
accept_one(struct io *io, int listener)
{
    struct io_completion completion;

    cr_assert(io_submit(io, &(struct io_request){.op = IO_ACCEPT, .fd = listener}));
    while (io_reap(io, &completion, 1) == 0)
        io_wait(io, NS_PER_S);
    return completion.result;
}

Test(tcp_listen, refuses_a_name_that_means_nothing, .timeout = 30)
{
    int fd = -7;
    uint16_t port = 0;

    cr_assert_eq(listen_on("no such host", 0, &fd, &port), RC_NOT_FOUND);
    cr_assert_eq(listen_on("256.1.1.1", 0, &fd, &port), RC_NOT_FOUND);
    cr_assert_eq(fd, -7);
}

Test(tcp_listen, refuses_an_address_of_another_host, .timeout = 10)
{
    int fd;
    uint16_t port;

    cr_assert_eq(listen_on("192.0.2.1", 0, &fd, &port), RC_NOT_FOUND);
}

Test(tcp_listen, tells_that_a_port_is_taken, .timeout = 10)
{
    int fd;
    int second;
    uint16_t port;
    uint16_t second_port;

    cr_assert_eq(listen_on("127.0.0.1", 0, &fd, &port), RC_OK);
    cr_assert_eq(listen_on("127.0.0.1", port, &second, &second_port), RC_BUSY);
    tcp_close(tcp_real(), fd);
    cr_assert_eq(listen_on("127.0.0.1", port, &second, &second_port), RC_OK);
    cr_assert_eq(second_port, port);
    tcp_close(tcp_real(), second);
    tcp_close(tcp_real(), -1);
}

Test(tcp_listen, takes_the_same_port_again_while_old_connections_linger, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct io *io;
    int listener;
    uint16_t port;

    cr_assert_eq(io_create(IO_BODY_AUTO, &io, &trail), RC_OK);
    cr_assert_eq(listen_on("127.0.0.1", 0, &listener, &port), RC_OK);
    int peer = connect_to(port);
    int fd = accept_one(io, listener);
    tcp_close(tcp_real(), fd); /* we close first, so TIME_WAIT is ours */
    close(peer);
    tcp_close(tcp_real(), listener);
    cr_assert_eq(listen_on("127.0.0.1", port, &listener, &port), RC_OK);
    tcp_close(tcp_real(), listener);
    io_destroy(io);
}

Test(tcp_listen, works_by_name_and_on_ipv6, .timeout = 10)
{
    int fd;
    uint16_t port;

    cr_assert_eq(listen_on("localhost", 0, &fd, &port), RC_OK);
    cr_assert_gt(port, 0);
    cr_assert_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    tcp_close(tcp_real(), fd);

    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_v6 = probe >= 0 && bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
    if (probe >= 0)
        close(probe);
    if (!has_v6)
        cr_skip_test("no IPv6 on this host's loopback");
    cr_assert_eq(listen_on("::1", 0, &fd, &port), RC_OK);
    tcp_close(tcp_real(), fd);
}

Test(tcp_peer, names_the_other_end_or_says_that_it_cannot, .timeout = 10)
{
    struct diag_trail trail = {""};
    struct sockaddr_in address;
    socklen_t bytes = sizeof(address);
    char text[64];
    char expected[64];
    struct io *io;
    int listener;
    uint16_t port;

    tcp_peer(tcp_real(), 9999, text, sizeof(text));
    cr_assert_str_eq(text, "?");
    cr_assert_eq(io_create(IO_BODY_AUTO, &io, &trail), RC_OK);
    cr_assert_eq(listen_on("127.0.0.1", 0, &listener, &port), RC_OK);
    int peer = connect_to(port);
    int fd = accept_one(io, listener);
    cr_assert_geq(fd, 0);
    cr_assert_eq(getsockname(peer, (struct sockaddr *)&address, &bytes), 0);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", ntohs(address.sin_port));
    tcp_peer(tcp_real(), fd, text, sizeof(text));
    cr_assert_str_eq(text, expected);
    static const uint8_t loopback[TCP_ADDRESS_BYTES] = {
        [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    static const uint8_t none[TCP_ADDRESS_BYTES];
    uint8_t binary[TCP_ADDRESS_BYTES];
    tcp_peer_address(tcp_real(), fd, binary);
    cr_assert_arr_eq(binary, loopback, sizeof(binary));
    tcp_peer_address(tcp_real(), 9999, binary);
    cr_assert_arr_eq(binary, none, sizeof(binary));
    tcp_peer(tcp_real(), fd, text, 5); /* cut, not overrun */
    cr_assert_str_eq(text, "127.");
    tcp_shutdown(tcp_real(), fd);
    cr_assert_eq(recv(peer, text, 1, 0), 0);
    tcp_close(tcp_real(), fd);
    tcp_close(tcp_real(), listener);
    close(peer);
    io_destroy(io);
}
