/* Goal: what struct nic promises holds on a DPDK port: whole datagrams, answers by reflection,
 * sends that wait for ARP, bounded queues, exact counters, no buffer lost.
 * Method: vhost-user and virtio_user of one process, polled by one thread. */
#include "tests/unit/hw/ethdev/pair.h"

#include "engine/base/bytes.h"
#include "hw/mem/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Waits up to a second for one datagram. */
static uint32_t
receive_one(struct nic *nic, struct nic *other, struct nic_received *ret)
{
    uint64_t end_ns = pair_now_ns() + NS_PER_S;

    while (pair_now_ns() < end_ns) {
        (void)nic_flush(other);
        uint32_t count = nic_receive(nic, ret, 1);
        if (count != 0)
            return count;
    }
    return 0;
}

Test(ethdev_pair, sends_wait_until_the_server_is_found, .timeout = 30)
{
    struct pair pair;
    struct nic_received received[NIC_BURST];
    uint32_t got = 0;

    pair_init(&pair);
    pair_open_server(&pair, 1);
    pair_open_client(&pair, 1);
    struct ethdev_config config = pair_client_config(&pair);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert(pair_send(pair.client[0], &config.peer, i, 64));
    cr_expect(nic_flush(pair.client[0]), "they wait");
    cr_expect_eq(pair_counter(&pair.client[0]->counters.sent_packets), 0);
    uint64_t end_ns = pair_now_ns() + 2 * NS_PER_S;
    while (got < 100 && pair_now_ns() < end_ns) {
        uint32_t count = nic_receive(pair.server[0], received, NIC_BURST);
        for (uint32_t i = 0; i < count; i++)
            cr_expect_eq(get_u64_le(received[i].bytes), got++, "in order");
        nic_release(pair.server[0], received, count);
        count = nic_receive(pair.client[0], received, NIC_BURST);
        nic_release(pair.client[0], received, count);
        (void)nic_flush(pair.client[0]);
    }
    cr_expect_eq(got, 100);
    cr_expect_not(nic_flush(pair.client[0]));
    cr_expect_eq(pair_counter(&pair.client[0]->counters.sent_packets), 100);
    cr_expect_eq(pair_counter(&pair.client[0]->counters.send_queued), 100);
    pair_close(&pair);
}

/* One datagram from sender to the other side, whole. Its sender as the receiver saw it. */
static struct nic_address
pass(struct nic *sender, const struct nic_address *to, struct nic *receiver, uint32_t byte_count)
{
    struct nic_received received = {.bytes = NULL};
    uint32_t wrong = 0;

    cr_assert(pair_send(sender, to, byte_count, byte_count));
    cr_assert_eq(receive_one(receiver, sender, &received), 1, "%u bytes", byte_count);
    cr_assert_eq(received.byte_count, byte_count);
    for (uint32_t i = byte_count < 8 ? 0 : 8; i < byte_count; i++)
        wrong += received.bytes[i] != (uint8_t)(byte_count + i);
    cr_expect_eq(wrong, 0, "%u of %u bytes", wrong, byte_count);
    nic_release(receiver, &received, 1);
    return received.peer;
}

static void
round_trip(struct pair *pair, uint32_t byte_count)
{
    struct ethdev_config config = pair_client_config(pair);

    struct nic_address back = pass(pair->client[0], &config.peer, pair->server[0], byte_count);
    cr_expect(nic_address_equal(&back, &config.local));
    struct nic_address there = pass(pair->server[0], &back, pair->client[0], byte_count);
    cr_expect(nic_address_equal(&there, &config.peer));
}

Test(ethdev_pair, datagrams_of_every_size_come_whole_and_go_back, .timeout = 60)
{
    struct pair pair;

    pair_open(&pair, 1);
    for (uint32_t bytes = 1; bytes <= NIC_DATAGRAM_BYTES; bytes += bytes < 40 ? 1 : 17)
        round_trip(&pair, bytes);
    round_trip(&pair, NIC_DATAGRAM_BYTES);
    pair_close(&pair);
}

Test(ethdev_pair, long_datagrams_come_whole_where_both_sides_want_them, .timeout = 30)
{
    struct pair pair;
    struct diag_trail trail = {""};

    pair_init(&pair);
    struct ethdev_config server = pair_server_config(&pair);
    struct ethdev_config client = pair_client_config(&pair);
    server.datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX;
    client.datagram_bytes_max = NIC_DATAGRAM_BYTES_MAX;
    pair.queue_count = 1;
    cr_assert_eq(
        ethdev_open(&server, &pair.server_port, pair.server, &trail), RC_OK, "%s", trail.text);
    cr_assert_eq(
        ethdev_open(&client, &pair.client_port, pair.client, &trail), RC_OK, "%s", trail.text);
    cr_expect_eq(pair.server[0]->datagram_bytes_max, NIC_DATAGRAM_BYTES_MAX);
    pair_poll(&pair, 250);
    round_trip(&pair, NIC_DATAGRAM_BYTES_MAX);
    pair_close(&pair);
}

Test(ethdev_pair, the_last_hop_is_where_answers_go, .timeout = 30)
{
    struct pair pair;
    struct nic_received received;

    pair_open(&pair, 1);
    struct ethdev_config config = pair_client_config(&pair);
    cr_assert(pair_send(pair.client[0], &config.peer, 1, 8));
    cr_assert_eq(receive_one(pair.server[0], pair.client[0], &received), 1);
    cr_expect_arr_eq(received.peer.mac, pair.client[0]->local.mac, 6);
    struct nic_address elsewhere = received.peer;
    nic_release(pair.server[0], &received, 1);
    elsewhere.mac[5] ^= 1; /* the client's port does not filter, its classification does */
    cr_assert(pair_send(pair.server[0], &elsewhere, 1, 8));
    cr_expect_eq(pair_counter(&pair.server[0]->counters.send_errors), 0);
    pair_poll(&pair, 20);
    cr_expect_eq(pair_counter(&pair.client[0]->counters.received_packets), 0);
    memset(elsewhere.mac, 0, sizeof(elsewhere.mac)); /* a server asks nobody where a peer is */
    cr_assert(pair_send(pair.server[0], &elsewhere, 1, 8));
    cr_expect_eq(pair_counter(&pair.server[0]->counters.send_errors), 1);
    pair_close(&pair);
}

Test(ethdev_pair, other_ports_are_foreign_and_counted, .timeout = 30)
{
    struct pair pair;

    pair_open(&pair, 1);
    struct ethdev_config config = pair_client_config(&pair);
    uint64_t before = pair_counter(&pair.server[0]->counters.receive_foreign);
    config.peer.port++;
    for (uint64_t i = 0; i < 10; i++)
        cr_assert(pair_send(pair.client[0], &config.peer, i, 100));
    pair_poll(&pair, 20);
    cr_expect_eq(pair_counter(&pair.server[0]->counters.receive_foreign) - before, 10);
    cr_expect_eq(pair_counter(&pair.server[0]->counters.received_packets), 0);
    pair_close(&pair);
}

Test(ethdev_pair, what_the_carrier_does_not_take_waits_then_is_dropped_and_counted, .timeout = 30)
{
    struct pair pair;
    struct nic_address peer = {.port = 1, .mac = {2, 0, 0, 0, 0, 1}};
    const struct nic_counters *counters;
    struct ethdev_stats stats;

    pair_init(&pair);
    pair_open_server(&pair, 1); /* no client: a vhost port takes nothing */
    counters = &pair.server[0]->counters;
    for (uint64_t i = 0; i < NIC_SEND_QUEUE; i++)
        cr_assert(pair_send(pair.server[0], &peer, i, 50));
    cr_expect(nic_flush(pair.server[0]));
    cr_expect(nic_flush(pair.server[0]));
    cr_expect_eq(pair_counter(&counters->send_queued), NIC_SEND_QUEUE, "each counted once");
    cr_expect_eq(pair_counter(&counters->send_dropped), 0);
    for (uint64_t i = 0; i < 10000; i++)
        cr_assert(pair_send(pair.server[0], &peer, i, 50), "buffers come back");
    cr_expect_eq(pair_counter(&counters->send_dropped), 10000);
    cr_expect_eq(pair_counter(&counters->sent_packets), 0);
    cr_assert_eq(ethdev_stats(pair.server_port, &stats), RC_OK);
    cr_expect_eq(stats.buffers_in_use, NIC_SEND_QUEUE);
    pair_close_server(&pair);
    pair_fini(&pair);
}

Test(ethdev_pair, buffers_can_be_cancelled_and_run_out_gently, .timeout = 30)
{
    struct pair pair;
    struct nic_sending sends[128][NIC_BURST];
    uint32_t counts[128];
    uint32_t taken = 0;
    uint32_t rows = 0;
    struct ethdev_stats stats;

    pair_init(&pair);
    pair_open_server(&pair, 1);
    for (; rows < 128 && (counts[rows] = nic_reserve(pair.server[0], sends[rows], 32)) != 0; rows++)
        taken += counts[rows];
    cr_expect_gt(taken, 3000);
    cr_expect_lt(taken, 4096, "the pool has an end");
    while (rows-- > 0)
        nic_cancel(pair.server[0], sends[rows], counts[rows]);
    cr_assert_eq(ethdev_stats(pair.server_port, &stats), RC_OK);
    cr_expect_eq(stats.buffers_in_use, 0);
    pair_close_server(&pair);
    pair_fini(&pair);
}

Test(ethdev_pair, counters_of_both_sides_and_ports_agree_to_the_packet, .timeout = 60)
{
    struct pair pair;
    struct ethdev_stats server_stats;
    struct ethdev_stats client_stats;
    uint64_t sent = 0;

    pair_open(&pair, 1);
    struct ethdev_config config = pair_client_config(&pair);
    const struct nic_counters *server = &pair.server[0]->counters;
    const struct nic_counters *client = &pair.client[0]->counters;
    for (uint32_t round = 0; round < 5000; round++) {
        for (uint32_t i = 0; i < NIC_BURST; i++)
            cr_assert(pair_send(pair.client[0], &config.peer, sent++, 200));
        struct nic_received received[NIC_BURST];
        uint32_t count = nic_receive(pair.server[0], received, NIC_BURST);
        nic_release(pair.server[0], received, count);
    }
    pair_poll(&pair, 50);
    cr_expect_eq(pair_counter(&client->sent_packets) + pair_counter(&client->send_dropped), sent);
    cr_expect_eq(pair_counter(&server->received_packets), pair_counter(&client->sent_packets));
    cr_expect_eq(pair_counter(&server->received_bytes),
                 200 * pair_counter(&server->received_packets));
    cr_assert_eq(ethdev_stats(pair.server_port, &server_stats), RC_OK);
    cr_assert_eq(ethdev_stats(pair.client_port, &client_stats), RC_OK);
    cr_expect_eq(server_stats.received_packets, client_stats.sent_packets);
    cr_expect_eq(server_stats.received_packets,
                 pair_counter(&server->received_packets) + pair_counter(&server->arp_replies) +
                     pair_counter(&server->receive_foreign));
    cr_expect_eq(server_stats.buffers_in_use, 0);
    cr_expect_eq(pair_counter(&server->syscalls), 0);
    pair_close(&pair);
}

Test(ethdev_pair, several_queues_have_a_port_each, .timeout = 30)
{
    struct pair pair;

    pair_open(&pair, 2);
    struct ethdev_config config = pair_client_config(&pair);
    for (uint16_t i = 0; i < 2; i++) {
        cr_expect_eq(pair.server[i]->port, 9095 + i);
        cr_expect_eq(pair.client[i]->port, 40000 + i);
        struct nic_address peer = config.peer;
        peer.port = pair.server[i]->port;
        cr_assert(pair_send(pair.client[i], &peer, i, 30));
    }
    pair_poll(&pair, 20);
    for (uint16_t i = 0; i < 2; i++)
        cr_expect_eq(pair_counter(&pair.server[i]->counters.received_packets), 1, "queue %u", i);
    struct nic_address second = config.peer; /* on the wrong queue it is given out there */
    second.port = pair.server[1]->port;
    cr_assert(pair_send(pair.client[0], &second, 9, 30));
    pair_poll(&pair, 20);
    cr_expect_eq(pair_counter(&pair.server[0]->counters.received_packets), 2);
    pair_close(&pair);
}

static void *
poll_trapped(void *argument)
{
    struct pair *pair = argument;

    mem_trap_enable();
    pair_poll(pair, 200);
    struct nic_address nobody = {.port = 1, .mac = {2, 0, 0, 0, 0, 1}};
    for (uint64_t i = 0; i < 1000; i++)
        (void)pair_send(pair->client[0], &nobody, i, 50);
    pair_poll(pair, 50);
    mem_trap_disable();
    return NULL;
}

Test(ethdev_pair, the_owner_s_thread_allocates_nothing_and_may_end, .timeout = 30)
{
    struct pair pair;

    pair_init(&pair);
    pair_open_server(&pair, 1);
    pair_open_client(&pair, 1);
    for (uint32_t round = 0; round < 2; round++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, poll_trapped, &pair), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    pair_close_client(&pair);
    pair_close_server(&pair);
    pair_fini(&pair);
}

Test(ethdev_pair, says_what_it_is_in_one_line, .timeout = 30)
{
    struct pair pair;
    char text[256];

    pair_open(&pair, 1);
    ethdev_text(pair.server_port, text, sizeof(text));
    cr_expect_not_null(strstr(text, "net_vhost0 (net_vhost), link up"), "%s", text);
    cr_expect_not_null(strstr(text, "ordinary pages"), "%s", text);
    cr_expect_null(strchr(text, '\n'));
    ethdev_text(pair.server_port, text, 10);
    cr_expect_eq(strlen(text), 9);
    pair_close(&pair);
}
