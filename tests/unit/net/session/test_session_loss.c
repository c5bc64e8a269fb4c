/* Loss, order and retransmission on a wire that drops what the test says. Goal: every number
 * arrives once and in order, and what goes out again does so for the stated reason. Method: numbers
 * in DATA frames, checked by the fixture; datagrams held, dropped and swapped by hand. */
#include "fixture.h"

#define HELD 256u

/* Writes one frame per packet and keeps the datagrams. */
static void
hold(struct pair *pair, struct datagram *held, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(end_write(&pair->client, 1, 100), 1);
        cr_assert(pair_transmit(pair, &pair->client, &held[i]));
    }
}

Test(session_loss, numbers_arrive_in_order_on_a_good_wire, .timeout = 10)
{
    struct pair pair;

    pair_open(&pair, NULL);
    for (uint32_t round = 0; round < 50; round++) {
        cr_assert_eq(end_write(&pair.client, 40, 100), 40);
        cr_assert_eq(end_write(&pair.server, 13, 700), 13);
        pair_exchange(&pair);
        pair_advance(&pair, NS_PER_MS);
        pair_exchange(&pair);
    }
    cr_assert_eq(pair.server.read, 2000);
    cr_assert_eq(pair.client.read, 650);
    cr_assert_eq(session_counters(pair.client.session)->retransmitted, 0);
    cr_assert_eq(session_counters(pair.server.session)->retransmitted, 0);
    cr_assert_eq(session_unacked(pair.client.session), 0);
    cr_assert_eq(session_pool_used(pair.client.pool), 0, "what is acknowledged is given back");
    pair_fini(&pair);
}

Test(session_loss, a_reversed_window_is_put_in_order, .timeout = 10)
{
    static struct datagram held[HELD];
    struct pair_options options = {.slots = 1024, .reorder_max = 300};
    struct pair pair;

    pair_open(&pair, &options);
    hold(&pair, held, HELD);
    for (uint32_t i = HELD; i-- > 0;)
        cr_assert_eq(pair_deliver(&pair, &pair.server, &held[i]), SESSION_RECEIVED);
    cr_assert_eq(pair.server.read, HELD);
    cr_assert_eq(session_counters(pair.server.session)->received_reordered, HELD - 1);
    cr_assert_eq(session_pool_used(pair.server.pool), 0);
    pair_fini(&pair);
}

Test(session_loss, a_hole_is_filled_after_three_later_packets, .timeout = 10)
{
    struct datagram held[8];
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    hold(&pair, held, 4);
    for (uint32_t i = 1; i < 3; i++) /* packets 2 and 3: the first is not lost yet */
        pair_deliver(&pair, &pair.server, &held[i]);
    while (pair_transmit(&pair, &pair.server, &datagram))
        pair_deliver(&pair, &pair.client, &datagram);
    cr_assert(!pair_transmit(&pair, &pair.client, &datagram));
    pair_deliver(&pair, &pair.server, &held[3]);
    pair_exchange(&pair);
    cr_assert_eq(session_counters(pair.client.session)->retransmitted, 1);
    cr_assert_eq(session_counters(pair.client.session)->probes, 0, "without waiting");
    cr_assert_eq(pair.server.read, 4);
    pair_fini(&pair);
}

Test(session_loss, a_retransmission_has_a_new_packet_number_and_the_old_sequence, .timeout = 10)
{
    struct datagram held[1];
    struct pair pair;
    struct datagram again;
    struct wire_header first;
    struct wire_header second;
    struct bytes frames;

    pair_open(&pair, NULL);
    hold(&pair, held, 1);
    pair_advance(&pair, 20 * NS_PER_MS);
    cr_assert(pair_transmit(&pair, &pair.client, &again));
    cr_assert_eq(wire_header_decode(held[0].bytes, held[0].byte_count, &first, &frames), RC_OK);
    cr_assert_eq(wire_header_decode(again.bytes, again.byte_count, &second, &frames), RC_OK);
    cr_assert_gt(second.packet_number, first.packet_number);
    cr_assert_eq(second.sequence, first.sequence);
    pair_deliver(&pair, &pair.server, &again);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &held[0]), SESSION_DUPLICATE);
    cr_assert_eq(session_counters(pair.server.session)->received_duplicates, 1);
    cr_assert_eq(pair.server.read, 1);
    pair_fini(&pair);
}

Test(session_loss, a_lost_tail_is_probed_ever_more_slowly_up_to_a_second, .timeout = 10)
{
    struct datagram held[1];
    struct pair_options options = {.config = {.idle_ns = 100 * PAIR_SECOND_NS}};
    struct pair pair;
    struct datagram datagram;
    uint64_t last_ns;
    uint64_t gap_ns = 0;
    uint32_t sent = 0;

    pair_open(&pair, &options);
    hold(&pair, held, 1);
    last_ns = pair.now_ns;
    for (uint32_t ms = 0; ms < 20000; ms++) {
        struct wire_header header;
        struct bytes frames;
        pair_advance(&pair, NS_PER_MS);
        while (pair_transmit(&pair, &pair.client, &datagram)) {
            cr_assert_eq(wire_header_decode(datagram.bytes, datagram.byte_count, &header, &frames),
                         RC_OK);
            if ((header.flags & WIRE_FLAG_SEQUENCED) == 0)
                continue;
            cr_assert_geq(pair.now_ns - last_ns, gap_ns);
            cr_assert_leq(pair.now_ns - last_ns, NS_PER_S + 2 * NS_PER_MS);
            gap_ns = pair.now_ns - last_ns;
            last_ns = pair.now_ns;
            sent++;
        }
    }
    cr_assert_gt(sent, 20);
    cr_assert_lt(sent, 40);
    cr_assert_eq(session_counters(pair.client.session)->probes, sent);
    pair_exchange(&pair);
    pair_run(&pair, 2 * NS_PER_S);
    cr_assert_eq(pair.server.read, 1);
    pair_fini(&pair);
}

Test(session_loss, acks_come_every_second_packet_or_after_the_delay, .timeout = 10)
{
    struct datagram held[3];
    struct pair pair;
    struct datagram ack;

    pair_open(&pair, NULL);
    hold(&pair, held, 3);
    pair_deliver(&pair, &pair.server, &held[0]);
    cr_assert(!pair_transmit(&pair, &pair.server, &ack));
    pair_deliver(&pair, &pair.server, &held[1]);
    cr_assert(pair_transmit(&pair, &pair.server, &ack), "two packets");
    pair_deliver(&pair, &pair.server, &held[2]);
    cr_assert(!pair_transmit(&pair, &pair.server, &ack));
    cr_assert_eq(session_deadline(pair.server.session), pair.now_ns + NS_PER_MS);
    pair_advance(&pair, NS_PER_MS);
    cr_assert(pair_transmit(&pair, &pair.server, &ack), "the delay is over");
    cr_assert(!pair_transmit(&pair, &pair.server, &ack), "acks are not acknowledged");
    pair_deliver(&pair, &pair.client, &ack);
    cr_assert(!pair_transmit(&pair, &pair.client, &ack));
    pair_fini(&pair);
}

Test(session_loss, gaps_and_duplicates_are_acknowledged_at_once, .timeout = 10)
{
    struct datagram held[3];
    struct pair_options options = {.config = {.ack_every = 100}};
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, &options);
    hold(&pair, held, 3);
    pair_deliver(&pair, &pair.server, &held[1]);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram), "a gap");
    pair_deliver(&pair, &pair.server, &held[0]);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram), "the gap is filled");
    pair_advance(&pair, 20 * NS_PER_MS);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DUPLICATE);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram), "the ack got lost");
    pair_fini(&pair);
}

Test(session_loss, an_ack_travels_with_data_when_there_are_any, .timeout = 10)
{
    struct datagram held[2];
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    hold(&pair, held, 2);
    pair_deliver(&pair, &pair.server, &held[0]);
    pair_deliver(&pair, &pair.server, &held[1]);
    cr_assert_eq(end_write(&pair.server, 1, 60), 1);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram));
    cr_assert(!pair_transmit(&pair, &pair.server, &(struct datagram){0}), "one packet for both");
    pair_deliver(&pair, &pair.client, &datagram);
    cr_assert_eq(session_unacked(pair.client.session), 0);
    cr_assert_eq(pair.client.read, 1);
    pair_fini(&pair);
}

Test(session_loss, full_packets_do_not_hold_an_ack_back, .timeout = 10)
{
    struct datagram held[2];
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    hold(&pair, held, 2);
    pair_deliver(&pair, &pair.server, &held[0]);
    pair_deliver(&pair, &pair.server, &held[1]);
    uint32_t frame_bytes = session_frame_bytes_max(pair.server.session);
    cr_assert_eq(end_write(&pair.server, 20, frame_bytes), 20);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram));
    pair_deliver(&pair, &pair.client, &datagram);
    cr_assert_eq(session_unacked(pair.client.session), 0, "the ack goes first");
    pair_fini(&pair);
}

Test(session_loss, a_full_reorder_share_drops_and_the_rest_comes_again, .timeout = 10)
{
    static struct datagram held[64];
    struct pair_options options = {.slots = 100, .reorder_max = 4};
    struct pair pair;

    pair_open(&pair, &options);
    hold(&pair, held, 64);
    for (uint32_t i = 1; i < 64; i++)
        pair_deliver(&pair, &pair.server, &held[i]);
    cr_assert_eq(pair.server.pool->reorder_used, 4);
    cr_assert_eq(session_counters(pair.server.session)->dropped_no_room, 59);
    pair_run(&pair, NS_PER_S);
    cr_assert_eq(pair.server.read, 64);
    cr_assert_eq(session_pool_used(pair.server.pool), 0);
    pair_fini(&pair);
}

Test(session_loss, every_second_datagram_lost_is_only_slow, .timeout = 20)
{
    struct pair pair;
    struct datagram datagram;
    uint32_t number = 0;

    pair_open(&pair, NULL);
    for (uint32_t step = 0; step < 200000 && pair.server.read < 5000; step++) {
        if (pair.client.written < 5000)
            end_write(&pair.client, (uint32_t)min_u64(20, 5000 - pair.client.written), 100);
        while (pair_transmit(&pair, &pair.client, &datagram))
            if (number++ % 2 == 0)
                pair_deliver(&pair, &pair.server, &datagram);
        while (pair_transmit(&pair, &pair.server, &datagram))
            if (number++ % 2 == 0)
                pair_deliver(&pair, &pair.client, &datagram);
        pair_advance(&pair, NS_PER_MS / 4);
    }
    cr_assert_eq(pair.server.read, 5000);
    pair_fini(&pair);
}

Test(session_loss, the_congestion_window_is_halved_once_per_episode, .timeout = 10)
{
    static struct datagram held[32];
    struct pair_options options = {.config = {.delay_target_ns = NS_PER_MS}};
    struct pair pair;

    pair_open(&pair, &options);
    cr_assert_eq(session_window(pair.client.session), SESSION_CWND_FIRST);
    hold(&pair, held, 32);
    for (uint32_t i = 10; i < 32; i++) /* ten lost in a row */
        pair_deliver(&pair, &pair.server, &held[i]);
    pair_exchange(&pair);
    cr_assert_eq(pair.server.read, 32);
    cr_assert_geq(pair.client.session->path.window, SESSION_CWND_FIRST / 2);
    cr_assert_lt(pair.client.session->path.window, SESSION_CWND_FIRST);
    pair_fini(&pair);
}

Test(session_loss, the_congestion_window_shrinks_with_delay_down_to_two, .timeout = 10)
{
    struct pair_options options = {.config = {.delay_target_ns = NS_PER_MS}};
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, &options);
    session__path_sample(pair.client.session, NS_PER_MS, pair.now_ns);
    for (uint32_t i = 0; i < 1000; i++) {
        pair.now_ns += 50 * NS_PER_MS;
        session__path_sample(pair.client.session, 5 * NS_PER_MS, pair.now_ns);
        if (i == 0)
            cr_assert_geq(pair.client.session->path.window, SESSION_CWND_FIRST / 2);
    }
    cr_assert_eq(pair.client.session->path.window, SESSION_CWND_LEAST);
    cr_assert_eq(end_write(&pair.client, 5, 1000), 2);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    pair_fini(&pair);
}

Test(session_loss, the_round_trip_is_measured_without_the_delay_of_the_ack, .timeout = 10)
{
    struct datagram held[1];
    struct pair pair;
    struct datagram ack;

    pair_init(&pair, NULL);
    pair_exchange(&pair);
    pair.client.session->path.rtt_ns = 0; /* forget the handshake, which took no time */
    hold(&pair, held, 1);
    pair_advance(&pair, 2 * NS_PER_MS);
    pair_deliver(&pair, &pair.server, &held[0]);
    pair_advance(&pair, NS_PER_MS);
    cr_assert(pair_transmit(&pair, &pair.server, &ack));
    pair_advance(&pair, NS_PER_MS);
    pair_deliver(&pair, &pair.client, &ack);
    cr_assert_eq(session_rtt_ns(pair.client.session), 3 * NS_PER_MS);
    pair_fini(&pair);
}
