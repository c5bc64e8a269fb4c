/* Credit and room. Goal: nobody sends beyond what was granted, nothing is lost for want of room,
 * and no lost announcement stops a session for ever. Method: grants set by hand, announcements
 * dropped. */
#include "fixture.h"

Test(session_credit, nothing_is_begun_beyond_the_grant, .timeout = 10)
{
    struct pair_options options = {0};
    struct pair pair;

    pair_init(&pair, &options);
    session_grant(pair.server.session, 3);
    pair_exchange(&pair);
    uint32_t frame_bytes = session_frame_bytes_max(pair.client.session);
    cr_assert_eq(session_window(pair.client.session), 3);
    cr_assert_eq(end_write(&pair.client, 10, frame_bytes), 3);
    cr_assert_null(session_reserve(pair.client.session, frame_bytes));
    pair_exchange(&pair);
    cr_assert_eq(pair.server.read, 3);
    cr_assert_eq(session_window(pair.client.session), 3, "the border moved with what was taken");
    pair_fini(&pair);
}

Test(session_credit, a_grant_of_none_stops_and_a_new_one_starts_at_once, .timeout = 10)
{
    struct pair pair;

    pair_init(&pair, NULL);
    session_grant(pair.server.session, 0);
    pair_exchange(&pair);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
    cr_assert_eq(end_write(&pair.client, 1, 100), 0);
    session_grant(pair.server.session, 1);
    cr_assert_leq(session_deadline(pair.server.session), pair.now_ns, "the peer waits for it");
    pair_exchange(&pair);
    cr_assert_eq(end_write(&pair.client, 1, 1000), 1);
    cr_assert_eq(end_write(&pair.client, 1, 1000), 0);
    pair_fini(&pair);
}

Test(session_credit, is_never_taken_back, .timeout = 10)
{
    struct pair pair;

    pair_init(&pair, NULL);
    session_grant(pair.server.session, 5);
    pair_exchange(&pair);
    session_grant(pair.server.session, 0);
    cr_assert_eq(end_write(&pair.client, 10, 1000), 5);
    pair_exchange(&pair);
    cr_assert_eq(pair.server.read, 5, "what was granted is taken");
    cr_assert_eq(session_counters(pair.server.session)->dropped_no_credit, 0);
    cr_assert_eq(end_write(&pair.client, 10, 1000), 0);
    pair_fini(&pair);
}

Test(session_credit, a_lost_announcement_is_asked_for, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_init(&pair, NULL);
    session_grant(pair.server.session, 0);
    pair_exchange(&pair);
    session_grant(pair.server.session, 8);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram)); /* lost */
    cr_assert(!pair_transmit(&pair, &pair.server, &datagram));
    cr_assert_eq(session_window(pair.client.session), 0);
    cr_assert_lt(session_deadline(pair.client.session), pair.now_ns + 100 * NS_PER_MS);
    pair_run(&pair, 100 * NS_PER_MS);
    cr_assert_eq(session_window(pair.client.session), 8);
    cr_assert_gt(session_counters(pair.client.session)->probes, 0);
    pair_fini(&pair);
}

Test(session_credit, asking_for_it_slows_down_to_once_a_second, .timeout = 10)
{
    struct pair pair;

    pair_init(&pair, NULL);
    session_grant(pair.server.session, 0);
    pair_exchange(&pair);
    pair_run(&pair, 20 * NS_PER_S);
    cr_assert_lt(session_counters(pair.client.session)->probes, 35);
    cr_assert_gt(session_counters(pair.client.session)->probes, 15);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
    pair_fini(&pair);
}

Test(session_credit, an_ack_number_beyond_the_credit_cannot_raise_the_window, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;
    uint8_t frame[WIRE_ACK_BYTES_MAX];
    struct wire_ack ack = {.largest_packet = 1, .credit = UINT64_MAX};

    pair_open(&pair, NULL);
    struct wire_header header = next_header(&pair.server);
    forge(&pair.server, &header, (struct bytes){frame, wire_ack_encode(frame, &ack)}, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.client, &datagram), SESSION_RECEIVED);
    cr_assert_eq(session_window(pair.client.session), SESSION_WINDOW_MAX, "the SACK's width");
    cr_assert_eq(end_write(&pair.client, 1000, 1300), SESSION_WINDOW_MAX);
    pair_fini(&pair);
}

Test(session_credit, without_room_and_slots_a_packet_is_dropped_and_comes_again, .timeout = 10)
{
    struct pair_options options = {.slots = 8, .reorder_max = 1};
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, &options);
    pair.server.pool->reorder_max = 0;
    pair.server.room_bytes = 99;
    cr_assert_eq(end_write(&pair.server, 1, 100), 1);
    cr_assert_eq(end_write(&pair.client, 1, 100), 1);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram));
    pair_deliver(&pair, &pair.client, &datagram);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    cr_assert_eq(session_counters(pair.server.session)->dropped_no_room, 1);
    cr_assert_eq(session_unacked(pair.server.session), 0, "but what it acknowledges was read");
    pair.server.room_bytes = 100;
    pair_run(&pair, 100 * NS_PER_MS);
    cr_assert_eq(pair.server.read, 1);
    pair_fini(&pair);
}

Test(session_credit, what_has_no_room_waits_in_slots, .timeout = 10)
{
    struct pair pair;
    struct datagram held[3];

    pair_open(&pair, NULL);
    pair.server.room_bytes = 0;
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(end_write(&pair.client, 1, 100), 1);
        cr_assert(pair_transmit(&pair, &pair.client, &held[i]));
        cr_assert_eq(pair_deliver(&pair, &pair.server, &held[i]), SESSION_RECEIVED);
    }
    cr_assert_eq(session_pool_used(pair.server.pool), 3);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &held[0]), SESSION_DROPPED, "a replay");
    pair_run(&pair, 50 * NS_PER_MS);
    cr_assert_eq(session_counters(pair.client.session)->retransmitted, 0, "it has arrived");
    cr_assert_eq(pair.server.read, 0);
    pair.server.room_bytes = UINT32_MAX;
    end_take(&pair.server);
    cr_assert_eq(pair.server.read, 3);
    cr_assert_eq(end_write(&pair.client, 1, 100), 1);
    pair_exchange(&pair);
    cr_assert_eq(pair.server.read, 4);
    pair_fini(&pair);
}

Test(session_credit, less_room_at_the_taking_than_at_the_receiving_loses_nothing, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;
    struct bytes frames;

    pair_open(&pair, NULL);
    cr_assert_eq(end_write(&pair.client, 1, 100), 1);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    cr_assert_eq(session_receive(pair.server.session,
                                 datagram.bytes,
                                 datagram.byte_count,
                                 pair.server.scratch,
                                 100,
                                 pair.now_ns),
                 SESSION_RECEIVED);
    cr_assert(!session_take(pair.server.session, 50, &frames));
    cr_assert_eq(session_pool_used(pair.server.pool), 1, "kept");
    cr_assert(session_take(pair.server.session, 100, &frames));
    cr_assert_eq(frames.count, 100);
    cr_assert(!session_take(pair.server.session, 100, &frames));
    pair_exchange(&pair);
    pair_run(&pair, 5 * NS_PER_MS);
    cr_assert_eq(session_unacked(pair.client.session), 0);
    pair_fini(&pair);
}

Test(session_credit, an_empty_pool_is_load_and_not_an_error, .timeout = 10)
{
    struct pair_options options = {.slots = 4, .reorder_max = 1};
    struct pair pair;

    pair_open(&pair, &options);
    cr_assert_eq(session_window(pair.client.session), 4);
    cr_assert_eq(end_write(&pair.client, 10, 1300), 4);
    cr_assert_eq(session_window(pair.client.session), 0);
    pair_exchange(&pair);
    pair_run(&pair, 5 * NS_PER_MS);
    cr_assert_eq(pair.server.read, 4);
    cr_assert_eq(end_write(&pair.client, 10, 1300), 4);
    pair_fini(&pair);
}
