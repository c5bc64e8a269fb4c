/* States, timers, keys, pings and the end of a session. Goal: silence is noticed, keys turn in time
 * and never too early, an end gives everything back and says why. Method: virtual time; limits set
 * low. */
#include "fixture.h"

#include <signal.h>
#include <string.h>

Test(session_life, silence_ends_it, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    cr_assert_eq(end_write(&pair.client, 5, 500), 5);
    for (uint32_t ms = 0; ms < 10000; ms++) {
        cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
        pair_advance(&pair, NS_PER_MS);
        while (pair_transmit(&pair, &pair.client, &datagram))
            ;
    }
    cr_assert_eq(session_state(pair.client.session), SESSION_CLOSED);
    cr_assert_eq(session_close_code(pair.client.session), UINT16_MAX);
    cr_assert_eq(session_pool_used(pair.client.pool), 0);
    cr_assert(!pair_transmit(&pair, &pair.client, &datagram), "nobody is there to be told");
    cr_assert_eq(session_deadline(pair.client.session), NO_DEADLINE);
    pair_fini(&pair);
}

Test(session_life, heartbeats_keep_an_idle_session_alive, .timeout = 10)
{
    struct pair pair;

    pair_open(&pair, NULL);
    uint64_t sent = session_counters(pair.client.session)->sent_packets;
    pair_run(&pair, 60 * NS_PER_S);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
    cr_assert_eq(session_state(pair.server.session), SESSION_OPEN);
    sent = session_counters(pair.client.session)->sent_packets - sent;
    cr_assert_lt(sent, 130, "about one a second");
    cr_assert_eq(session_counters(pair.client.session)->retransmitted, 0);
    pair_fini(&pair);
}

Test(session_life, a_close_gives_everything_back_on_both_sides, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    cr_assert_eq(end_write(&pair.client, 50, 500), 50);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    session_close(pair.client.session, WIRE_CLOSE_SHUTDOWN, "back in a minute");
    session_close(pair.client.session, WIRE_CLOSE_LIMIT, "the first one counts");
    cr_assert_eq(session_state(pair.client.session), SESSION_CLOSED);
    cr_assert_eq(session_pool_used(pair.client.pool), 0);
    cr_assert_null(session_reserve(pair.client.session, 100));
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    pair_deliver(&pair, &pair.server, &datagram);
    cr_assert(!pair_transmit(&pair, &pair.client, &datagram), "one CLOSE");
    cr_assert_eq(session_state(pair.server.session), SESSION_CLOSED);
    cr_assert_eq(session_close_code(pair.server.session), WIRE_CLOSE_SHUTDOWN);
    cr_assert_str_eq(session_close_text(pair.server.session), "back in a minute");
    cr_assert(!pair_transmit(&pair, &pair.server, &datagram));
    pair_fini(&pair);
}

Test(session_life, a_very_long_text_is_cut, .timeout = 10)
{
    struct pair pair;
    char text[1000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    pair_open(&pair, NULL);
    session_close(pair.client.session, WIRE_CLOSE_LIMIT, text);
    pair_exchange(&pair);
    cr_assert_eq(session_close_code(pair.server.session), WIRE_CLOSE_LIMIT);
    cr_assert_eq(strlen(session_close_text(pair.server.session)), SESSION_CLOSE_TEXT - 1);
    pair_fini(&pair);
}

Test(session_life, frames_lent_from_a_slot_stay_readable_until_the_next_call, .timeout = 10)
{
    struct pair pair;
    struct datagram held[2];
    struct bytes frames;

    pair_open(&pair, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(end_write(&pair.client, 1, 100), 1);
        cr_assert(pair_transmit(&pair, &pair.client, &held[i]));
    }
    for (uint32_t i = 2; i-- > 0;)
        cr_assert_eq(session_receive(pair.server.session,
                                     held[i].bytes,
                                     held[i].byte_count,
                                     pair.server.scratch,
                                     UINT32_MAX,
                                     pair.now_ns),
                     SESSION_RECEIVED);
    cr_assert(session_take(pair.server.session, UINT32_MAX, &frames));
    cr_assert(session_take(pair.server.session, UINT32_MAX, &frames));
    cr_assert_eq(get_u64_le(frames.at + WIRE_FRAME_HEADER_BYTES), 1);
    cr_assert_eq(session_pool_used(pair.server.pool), 1, "lent");
    session_fini(pair.server.session);
    cr_assert_eq(session_pool_used(pair.server.pool), 0);
    pair_fini(&pair);
}

Test(session_life, keys_turn_after_so_many_packets_in_both_directions, .timeout = 10)
{
    struct pair_options options = {.config = {.rekey_packets = 20}};
    struct pair pair;

    pair_open(&pair, &options);
    for (uint32_t i = 0; i < 2000; i++) {
        cr_assert_eq(end_write(&pair.client, 1, 100), 1);
        pair_exchange(&pair);
        pair_advance(&pair, NS_PER_MS);
        pair_exchange(&pair);
    }
    cr_assert_eq(pair.server.read, 2000);
    cr_assert_geq(session_counters(pair.client.session)->rekeys, 90);
    cr_assert_geq(session_counters(pair.server.session)->rekeys, 40, "who only acknowledges too");
    cr_assert_eq(session_counters(pair.server.session)->received_forged, 0);
    cr_assert_eq(session_counters(pair.client.session)->received_forged, 0);
    pair_fini(&pair);
}

Test(session_life, keys_turn_after_so_much_time, .timeout = 10)
{
    struct pair_options options = {.config = {.rekey_ns = 5 * PAIR_SECOND_NS}};
    struct pair pair;

    pair_open(&pair, &options);
    pair_run(&pair, 21 * NS_PER_S);
    cr_assert_geq(session_counters(pair.client.session)->rekeys, 3);
    cr_assert_leq(session_counters(pair.client.session)->rekeys, 5);
    pair_fini(&pair);
}

Test(session_life, a_key_does_not_turn_before_the_peer_knows_it, .timeout = 10)
{
    struct pair_options options = {.config = {.rekey_packets = 5}};
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, &options);
    for (uint32_t i = 0; i < 100; i++) { /* all lost: at most one turn can be answered for */
        end_write(&pair.client, 1, 1000);
        while (pair_transmit(&pair, &pair.client, &datagram))
            ;
    }
    cr_assert_leq(session_cipher_generation(pair.client.cipher), 1);
    pair_run(&pair, 3 * NS_PER_S);
    cr_assert_eq(pair.server.read, pair.client.written, "all was opened that came again");
    pair_fini(&pair);
}

Test(session_life, used_up_packet_numbers_end_it_by_name, .timeout = 10)
{
    struct pair pair;

    pair_open(&pair, NULL);
    pair.client.session->send.next_packet = SESSION_PACKETS_MAX - 1;
    cr_assert_eq(end_write(&pair.client, 2, 1000), 2);
    pair_exchange(&pair);
    cr_assert_eq(session_close_code(pair.client.session), WIRE_CLOSE_EXPIRED);
    cr_assert_eq(session_close_code(pair.server.session), WIRE_CLOSE_EXPIRED);
    pair_fini(&pair);
}

Test(session_life, a_ping_is_answered_once, .timeout = 10)
{
    struct pair pair;
    uint64_t token;

    pair_open(&pair, NULL);
    cr_assert(!session_pong(pair.client.session, &token));
    session_ping(pair.client.session, 4711);
    pair_exchange(&pair);
    cr_assert(session_pong(pair.client.session, &token));
    cr_assert_eq(token, 4711);
    cr_assert(!session_pong(pair.client.session, &token));
    pair_run(&pair, 3 * NS_PER_S);
    cr_assert(!session_pong(pair.client.session, &token), "heartbeats are not the user's");
    pair_fini(&pair);
}

Test(session_life, deadlines_never_ask_for_a_call_that_does_nothing, .timeout = 20)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    for (uint32_t i = 0; i < 3000; i++) {
        if (i % 7 == 0)
            end_write(&pair.client, 3, 600);
        struct end *ends[] = {&pair.client, &pair.server};
        uint32_t quiet = 0;
        for (uint32_t turn = 0; quiet < 2; turn++) { /* by turns until nobody is due */
            struct end *end = ends[turn % 2];
            quiet++;
            if (session_deadline(end->session) > pair.now_ns)
                continue;
            quiet = 0;
            session_tick(end->session, pair.now_ns);
            if (pair_transmit(&pair, end, &datagram) && i % 3 != 0)
                pair_deliver(&pair, ends[1 - turn % 2], &datagram);
            cr_assert_lt(turn, 2000);
        }
        uint64_t next_ns = min_u64(session_deadline(pair.client.session),
                                   session_deadline(pair.server.session));
        cr_assert_gt(next_ns, pair.now_ns);
        pair.now_ns = i % 2 == 0 ? next_ns : pair.now_ns + NS_PER_MS;
    }
    cr_assert_gt(pair.server.read, 100);
    pair_fini(&pair);
}

Test(session_life, an_abandoned_frame_costs_nothing, .timeout = 10)
{
    struct pair pair;

    pair_open(&pair, NULL);
    for (uint32_t i = 0; i < 2000; i++) {
        cr_assert_not_null(session_reserve(pair.client.session, 500));
        session_commit(pair.client.session, 0);
    }
    cr_assert_eq(session_pool_used(pair.client.pool), 0);
    cr_assert_eq(session_unacked(pair.client.session), 0);
    cr_assert_eq(pair_exchange(&pair), 0);
    pair_fini(&pair);
}

Test(session_life, is_small, .timeout = 10)
{
    cr_assert_leq(session_footprint(), 4096);
    cr_assert_eq(session_footprint() % 64, 0);
}

Test(session_life, a_frame_longer_than_a_packet_is_a_bug, .timeout = 10, .signal = SIGABRT)
{
    struct pair pair;

    pair_open(&pair, NULL);
    (void)!session_reserve(pair.client.session, session_frame_bytes_max(pair.client.session) + 1);
}

Test(session_life, two_reservations_at_once_are_a_bug, .timeout = 10, .signal = SIGABRT)
{
    struct pair pair;

    pair_open(&pair, NULL);
    cr_assert_not_null(session_reserve(pair.client.session, 100));
    (void)!session_reserve(pair.client.session, 100);
}

Test(session_life, committing_more_than_reserved_is_a_bug, .timeout = 10, .signal = SIGABRT)
{
    struct pair pair;

    pair_open(&pair, NULL);
    cr_assert_not_null(session_reserve(pair.client.session, 100));
    session_commit(pair.client.session, 101);
}
