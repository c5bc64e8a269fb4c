/* Goal: streams keep bytes and order whatever the fragmentation, and every way of ending a
 * connection looks as on a real network. Method: a server made of ring requests, clients by the
 * scripted calls, the clock moved by hand. */
#include "hw/tcp/tcp_sim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

TestSuite(tcp_sim, .timeout = 30);

struct net {
    struct clock clock;
    struct tcp *tcp;
    struct io *io;
    int listener;
    uint16_t port;
};

static void
net_start(struct net *net, uint64_t seed)
{
    clock_init_sim(&net->clock, seed, 0);
    struct tcp_sim_config config = {.clock = &net->clock, .seed = seed};
    cr_assert_eq(tcp_sim_create(&config, &net->tcp), RC_OK);
    struct io_sim_config io_config = {.clock = &net->clock, .seed = seed};
    cr_assert_eq(io_sim_create(&io_config, &net->io), RC_OK);
    io_sim_attach(net->io, tcp_sim_device(net->tcp));
    cr_assert_eq(tcp_listen(net->tcp, "127.0.0.1", 0, &net->listener, &net->port, NULL), RC_OK);
}

static void
net_stop(struct net *net)
{
    io_destroy(net->io);
    tcp_sim_destroy(net->tcp);
}

static void
submit(struct net *net, enum io_op op, int fd, void *buffer, uint32_t bytes)
{
    static struct iovec vec;
    vec = (struct iovec){.iov_base = buffer, .iov_len = bytes};
    struct io_request request = {.op = op, .fd = fd, .buffer = buffer, .bytes = bytes};
    if (op == IO_SENDV) {
        request.iovecs = &vec;
        request.iovec_count = 1;
    }
    cr_assert(io_submit(net->io, &request));
}

/* The next completion's result, moving the clock as far as needed. */
static int32_t
result(struct net *net)
{
    struct io_completion completion;
    uint64_t due_ns = io_sim_due_ns(net->io);
    cr_assert_neq(due_ns, SIM_NEVER_NS, "nothing will ever come");
    uint64_t now_ns = clock_now_ns(&net->clock);
    if (due_ns > now_ns)
        clock_sim_advance(&net->clock, due_ns - now_ns);
    cr_assert_eq(io_reap(net->io, &completion, 1), 1);
    return completion.result;
}

static int32_t
request(struct net *net, enum io_op op, int fd, void *buffer, uint32_t bytes)
{
    submit(net, op, fd, buffer, bytes);
    return result(net);
}

static int
net_connect(struct net *net, uint32_t *ret_client)
{
    cr_assert_eq(tcp_sim_connect(net->tcp, net->port, ret_client), RC_OK);
    int fd = request(net, IO_ACCEPT, net->listener, NULL, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(tcp_sim, refusals)
{
    struct net net;
    net_start(&net, 1);
    uint32_t client;
    int fd;
    uint16_t port;
    cr_assert_eq(tcp_sim_connect(net.tcp, 1, &client), RC_NOT_FOUND);
    cr_assert_eq(tcp_listen(net.tcp, "x", net.port, &fd, &port, NULL), RC_BUSY);
    cr_assert_eq(request(&net, IO_RECV, net.listener, NULL, 0), -ENOTCONN);
    cr_assert_eq(request(&net, IO_RECV, 25000, NULL, 0), -EBADF);
    submit(&net, IO_ACCEPT, net.listener, NULL, 0);
    cr_assert_eq(io_sim_due_ns(net.io), SIM_NEVER_NS);
    tcp_shutdown(net.tcp, net.listener);
    cr_assert_eq(result(&net), -EINVAL);
    cr_assert_eq(tcp_sim_connect(net.tcp, net.port, &client), RC_NOT_FOUND);
    net_stop(&net);
}

Test(tcp_sim, bytes_travel_both_ways_after_their_latency)
{
    struct net net;
    uint32_t client;
    char text[64];
    net_start(&net, 1);
    tcp_sim_set_faults(net.tcp, &(struct tcp_sim_faults){.latency_ns = 5000});
    int fd = net_connect(&net, &client);
    tcp_peer(net.tcp, fd, text, sizeof(text));
    cr_assert_str_eq(text, "10.0.0.1:1024");
    static const uint8_t same[TCP_ADDRESS_BYTES] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};
    uint8_t binary[TCP_ADDRESS_BYTES];
    tcp_peer_address(net.tcp, fd, binary);
    cr_assert_arr_eq(binary, same, sizeof(binary));
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "hello", 5), 5);
    submit(&net, IO_RECV, fd, text, sizeof(text));
    struct io_completion completion;
    cr_assert_eq(io_reap(net.io, &completion, 1), 0, "still travelling");
    cr_assert_eq(result(&net), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
    cr_assert_eq(request(&net, IO_SENDV, fd, "world", 5), 5);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 64), TCP_SIM_NOTHING_YET);
    uint64_t due_ns = tcp_sim_client_due_ns(net.tcp, client);
    cr_assert_eq(due_ns, clock_now_ns(&net.clock) + 5000);
    clock_sim_advance(&net.clock, 5000);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 3), 3);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text + 3, 60), 2);
    cr_assert_eq(memcmp(text, "world", 5), 0);
    net_stop(&net);
}

/* Sends and receives a long pattern through small buffers with every disturbance that keeps a
 * stream whole. */
static void
pump(uint64_t seed, uint32_t fragment_bytes)
{
    struct net net;
    uint32_t client;
    static uint8_t out[100000];
    static uint8_t in[100000];
    uint32_t sent = 0;
    uint32_t got = 0;
    uint32_t pieces = 0;
    net_start(&net, seed);
    tcp_sim_set_faults(net.tcp,
                       &(struct tcp_sim_faults){.fragment_ppm = 700000,
                                                .fragment_bytes = fragment_bytes,
                                                .partial_ppm = 500000,
                                                .latency_ns = 100,
                                                .spread_ns = 5000,
                                                .buffer_bytes = 3000});
    int fd = net_connect(&net, &client);
    for (uint32_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    while (got < sizeof(out)) {
        if (sent < sizeof(out))
            sent += tcp_sim_client_send(net.tcp, client, out + sent, (uint32_t)sizeof(out) - sent);
        int32_t count = request(&net, IO_RECV, fd, in + got, (uint32_t)sizeof(in) - got);
        cr_assert_gt(count, 0);
        got += (uint32_t)count;
        pieces++;
    }
    cr_assert_eq(memcmp(in, out, sizeof(in)), 0, "seed %lu", seed);
    cr_assert_gt(pieces, sizeof(out) / 3000);
    net_stop(&net);
}

Test(tcp_sim, a_stream_survives_fragments_partial_sends_and_small_buffers)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        pump(seed, seed % 2 == 0 ? 1 : 900);
}

Test(tcp_sim, a_full_buffer_holds_the_sender_until_the_client_reads)
{
    struct net net;
    uint32_t client;
    static uint8_t bytes[8192];
    net_start(&net, 1);
    tcp_sim_set_faults(net.tcp, &(struct tcp_sim_faults){.buffer_bytes = 4096});
    int fd = net_connect(&net, &client);
    cr_assert_eq(request(&net, IO_SENDV, fd, bytes, 8192), 4096);
    submit(&net, IO_SENDV, fd, bytes, 4096);
    cr_assert_eq(io_sim_due_ns(net.io), SIM_NEVER_NS);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, bytes, 100), 100);
    cr_assert_eq(result(&net), 100);
    net_stop(&net);
}

Test(tcp_sim, a_finished_client_is_seen_after_its_bytes)
{
    struct net net;
    uint32_t client;
    char text[16];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "bye", 3), 3);
    tcp_sim_client_finish(net.tcp, client);
    cr_assert_eq(request(&net, IO_RECV, fd, text, 16), 3);
    cr_assert_eq(request(&net, IO_RECV, fd, text, 16), 0);
    cr_assert_eq(request(&net, IO_SENDV, fd, "ok", 2), 2, "the other direction goes on");
    tcp_close(net.tcp, fd);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 16), 2);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 16), TCP_SIM_END);
    tcp_sim_client_release(net.tcp, client);
    cr_assert_eq(tcp_sim_server_connections(net.tcp), 0);
    net_stop(&net);
}

Test(tcp_sim, a_reset_ends_requests_under_way)
{
    struct net net;
    uint32_t client;
    char text[16];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    submit(&net, IO_RECV, fd, text, 16);
    tcp_sim_client_reset(net.tcp, client);
    cr_assert_eq(result(&net), -ECONNRESET);
    cr_assert_eq(request(&net, IO_SENDV, fd, "x", 1), -ECONNRESET);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 16), TCP_SIM_RESET);
    net_stop(&net);
}

Test(tcp_sim, a_reset_comes_at_the_chosen_byte)
{
    struct net net;
    uint32_t client;
    char text[16];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    tcp_sim_client_reset_at(net.tcp, client, TCP_SIM_TO_SERVER, 6);
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "12345", 5), 5);
    cr_assert_eq(request(&net, IO_RECV, fd, text, 16), 5);
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "67890", 5), 5);
    cr_assert_eq(request(&net, IO_RECV, fd, text, 16), -ECONNRESET);
    net_stop(&net);
}

Test(tcp_sim, a_vanished_client_is_silence)
{
    struct net net;
    uint32_t client;
    static uint8_t bytes[100000];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    tcp_sim_client_vanish(net.tcp, client);
    (void)tcp_sim_client_send(net.tcp, client, "x", 1);
    submit(&net, IO_RECV, fd, bytes, 16);
    cr_assert_eq(io_sim_due_ns(net.io), SIM_NEVER_NS);
    cr_assert_eq(request(&net, IO_SENDV, fd, bytes, 100000), 65536, "the kernel's buffer takes it");
    submit(&net, IO_SENDV, fd, bytes, 1);
    cr_assert_eq(io_sim_due_ns(net.io), SIM_NEVER_NS);
    tcp_shutdown(net.tcp, fd);
    cr_assert_eq(result(&net), 0);
    cr_assert_eq(result(&net), -EPIPE);
    tcp_close(net.tcp, fd);
    tcp_sim_client_release(net.tcp, client);
    net_stop(&net);
}

Test(tcp_sim, closing_with_unread_bytes_resets)
{
    struct net net;
    uint32_t client;
    char text[4];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "junk", 4), 4);
    tcp_close(net.tcp, fd);
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 4), TCP_SIM_RESET);
    cr_assert_eq(tcp_sim_client_send(net.tcp, client, "more", 4), 0);
    net_stop(&net);
}

Test(tcp_sim, closing_with_a_request_under_way_stops_the_program, .signal = SIGABRT)
{
    struct net net;
    uint32_t client;
    char text[4];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    submit(&net, IO_RECV, fd, text, 4);
    tcp_close(net.tcp, fd);
}

Test(tcp_sim, sends_to_a_client_that_left_fail)
{
    struct net net;
    uint32_t client;
    char text[4];
    net_start(&net, 1);
    int fd = net_connect(&net, &client);
    tcp_sim_client_release(net.tcp, client);
    cr_assert_eq(request(&net, IO_RECV, fd, text, 4), 0);
    cr_assert_eq(request(&net, IO_SENDV, fd, "x", 1), -EPIPE);
    tcp_close(net.tcp, fd);
    net_stop(&net);
}

Test(tcp_sim, descriptors_run_out_and_come_back)
{
    struct net net;
    uint32_t clients[3];
    net_start(&net, 1);
    tcp_sim_set_faults(net.tcp, &(struct tcp_sim_faults){.connections_max = 2});
    int a = net_connect(&net, &clients[0]);
    (void)net_connect(&net, &clients[1]);
    cr_assert_eq(tcp_sim_connect(net.tcp, net.port, &clients[2]), RC_OK);
    cr_assert_eq(request(&net, IO_ACCEPT, net.listener, NULL, 0), -EMFILE);
    tcp_close(net.tcp, a);
    cr_assert_geq(request(&net, IO_ACCEPT, net.listener, NULL, 0), 0);
    net_stop(&net);
}

Test(tcp_sim, a_killed_server_resets_everyone_and_can_listen_again)
{
    struct net net;
    uint32_t clients[2];
    char text[4];
    int fd;
    net_start(&net, 1);
    int server = net_connect(&net, &clients[0]);
    submit(&net, IO_RECV, server, text, 4);
    cr_assert_eq(tcp_sim_connect(net.tcp, net.port, &clients[1]), RC_OK);
    io_destroy(net.io);
    tcp_sim_kill_server(net.tcp);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(tcp_sim_client_receive(net.tcp, clients[i], text, 4), TCP_SIM_RESET);
        tcp_sim_client_release(net.tcp, clients[i]);
    }
    cr_assert_eq(tcp_listen(net.tcp, "x", net.port, &fd, &net.port, NULL), RC_OK);
    tcp_sim_destroy(net.tcp);
}

Test(tcp_sim, chances_of_reset_strike_in_the_end)
{
    struct net net;
    uint32_t client;
    uint32_t sends = 0;
    net_start(&net, 5);
    (void)net_connect(&net, &client);
    tcp_sim_set_faults(net.tcp, &(struct tcp_sim_faults){.reset_ppm = 100000});
    while (tcp_sim_client_send(net.tcp, client, "x", 1) == 1)
        sends++;
    cr_assert_lt(sends, 64);
    char text[4];
    cr_assert_eq(tcp_sim_client_receive(net.tcp, client, text, 4), TCP_SIM_RESET);
    net_stop(&net);
}
