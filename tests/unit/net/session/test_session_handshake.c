/* HELLO, RETRY, READY. Goal: nothing opens a session but a HELLO with the key and the cookie; no
 * answer is longer than its question; every lost packet of the handshake is made good. Method: bad
 * handshakes first, by hand; then each packet dropped in turn. */
#include "fixture.h"

#include <signal.h>
#include <string.h>

Test(session_handshake, garbage_wakes_nobody, .timeout = 20)
{
    struct pair pair;
    struct datagram datagram;
    struct clock dice;

    pair_init(&pair, NULL);
    clock_init_sim(&dice, 11, 0);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram)); /* its HELLO, thrown away */
    for (uint32_t round = 0; round < 20000; round++) {
        datagram.byte_count = 1 + (uint32_t)clock_random_below(&dice, PAIR_DATAGRAM);
        for (uint32_t i = 0; i < datagram.byte_count; i++)
            datagram.bytes[i] = (uint8_t)clock_random(&dice);
        if (round % 2 == 0 && datagram.byte_count > 100) {
            struct wire_header header = {.type = (uint8_t)(1 + round / 2 % 4),
                                         .flags = (uint8_t)clock_random_below(&dice, 8),
                                         .length = (uint16_t)datagram.byte_count,
                                         .session = PAIR_SESSION,
                                         .packet_number = 5};
            wire_header_encode(&header, datagram.bytes);
        }
        /* Not through the cookie: as if every cookie were good. */
        cr_assert(!session_accept_hello(
            pair.server.session, datagram.bytes, datagram.byte_count, pair.now_ns));
        cr_assert_eq(session_receive(pair.server.session,
                                     datagram.bytes,
                                     datagram.byte_count,
                                     pair.server.scratch,
                                     UINT32_MAX,
                                     pair.now_ns),
                     SESSION_DROPPED);
        cr_assert_eq(session_receive(pair.client.session,
                                     datagram.bytes,
                                     datagram.byte_count,
                                     pair.client.scratch,
                                     UINT32_MAX,
                                     pair.now_ns),
                     SESSION_DROPPED);
    }
    cr_assert_eq(session_state(pair.server.session), SESSION_GRANTED);
    cr_assert_eq(session_state(pair.client.session), SESSION_HELLO_SENT);
    cr_assert(!pair_transmit(&pair, &pair.server, &datagram), "silence");
    cr_assert(!pair_transmit(&pair, &pair.client, &datagram));
    cr_assert_eq(session_pool_used(pair.server.pool), 0);
    pair_fini(&pair);
}

Test(session_handshake, frames_before_hello_are_dropped, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_init(&pair, NULL);
    struct wire_header header = next_header(&pair.client);
    forge(&pair.client, &header, (struct bytes){0}, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    cr_assert_eq(session_state(pair.server.session), SESSION_GRANTED);
    cr_assert_eq(session_counters(pair.server.session)->received_packets, 0);
    pair_fini(&pair);
}

Test(session_handshake, a_hello_under_another_key_opens_nothing, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_init(&pair, NULL);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    for (uint32_t at = 0; at < datagram.byte_count; at += 3) {
        datagram.bytes[at] ^= 0x10;
        cr_assert(!session_accept_hello(
            pair.server.session, datagram.bytes, datagram.byte_count, pair.now_ns));
        datagram.bytes[at] ^= 0x10;
    }
    cr_assert_eq(session_state(pair.server.session), SESSION_GRANTED);
    cr_assert(session_accept_hello(
        pair.server.session, datagram.bytes, datagram.byte_count, pair.now_ns));
    pair_fini(&pair);
}

Test(session_handshake, a_captured_hello_opens_nothing_twice, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;
    struct datagram ready;

    pair_init(&pair, NULL);
    cr_assert(pair_transmit(&pair, &pair.client, &datagram));
    cr_assert(session_accept_hello(
        pair.server.session, datagram.bytes, datagram.byte_count, pair.now_ns));
    cr_assert(pair_transmit(&pair, &pair.server, &ready));
    cr_assert(!session_accept_hello(
        pair.server.session, datagram.bytes, datagram.byte_count, pair.now_ns));
    cr_assert_eq(session_counters(pair.server.session)->received_replayed, 1);
    cr_assert(!pair_transmit(&pair, &pair.server, &ready), "no answer to a replay");
    pair_fini(&pair);
}

Test(session_handshake, goes_over_a_cookie_to_open, .timeout = 10)
{
    struct pair pair;

    pair_init(&pair, NULL);
    cr_assert_null(session_reserve(pair.client.session, 100), "nothing before it is open");
    cr_assert_eq(session_window(pair.client.session), 0);
    pair_exchange(&pair);
    cr_assert_eq(pair.retries, 1);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
    cr_assert_eq(session_state(pair.server.session), SESSION_OPEN);
    cr_assert_eq(session_window(pair.client.session), SESSION_WINDOW_MAX);
    cr_assert_eq(session_window(pair.server.session), SESSION_WINDOW_MAX);
    pair_fini(&pair);
}

Test(session_handshake, no_answer_is_longer_than_its_question, .timeout = 10)
{
    struct pair pair;
    struct datagram hello;
    struct datagram ready;

    pair_init(&pair, NULL);
    cr_assert(pair_transmit(&pair, &pair.client, &hello));
    cr_assert_geq(hello.byte_count, WIRE_HELLO_BYTES);
    pair_deliver(&pair, &pair.server, &hello); /* the fixture checks the RETRY */
    cr_assert(!pair_transmit(&pair, &pair.server, &ready), "not before the cookie");
    cr_assert(pair_transmit(&pair, &pair.client, &hello));
    pair_deliver(&pair, &pair.server, &hello);
    cr_assert(pair_transmit(&pair, &pair.server, &ready));
    cr_assert_leq(ready.byte_count, hello.byte_count);
    cr_assert(!pair_transmit(&pair, &pair.server, &ready), "one answer to one HELLO");
    pair_fini(&pair);
}

Test(session_handshake, a_lost_hello_is_repeated_ever_more_slowly, .timeout = 10)
{
    struct pair pair;
    struct datagram hello;
    uint64_t last_ns = 0;
    uint64_t gap_ns = 0;
    uint32_t hellos = 0;

    pair_init(&pair, NULL);
    uint64_t begin_ns = pair.now_ns;
    while (session_state(pair.client.session) == SESSION_HELLO_SENT) {
        if (pair_transmit(&pair, &pair.client, &hello)) {
            if (hellos > 1) {
                cr_assert_geq(pair.now_ns - last_ns, gap_ns);
                cr_assert_leq(pair.now_ns - last_ns, NS_PER_S + NS_PER_MS);
            }
            gap_ns = pair.now_ns - last_ns;
            last_ns = pair.now_ns;
            hellos++;
        }
        cr_assert_gt(session_deadline(pair.client.session), pair.now_ns);
        pair_advance(&pair, NS_PER_MS);
    }
    cr_assert_eq(session_state(pair.client.session), SESSION_CLOSED);
    cr_assert_eq(session_close_code(pair.client.session), UINT16_MAX, "silence");
    cr_assert_geq(pair.now_ns - begin_ns, 10 * NS_PER_S);
    cr_assert_gt(hellos, 10);
    cr_assert_lt(hellos, 30);
    pair_fini(&pair);
}

Test(session_handshake, a_lost_ready_is_repeated, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_init(&pair, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert(pair_transmit(&pair, &pair.client, &datagram));
        pair_deliver(&pair, &pair.server, &datagram);
    }
    cr_assert(pair_transmit(&pair, &pair.server, &datagram)); /* lost */
    cr_assert_eq(session_state(pair.server.session), SESSION_OPEN);
    cr_assert_eq(session_state(pair.client.session), SESSION_HELLO_SENT);
    pair_run(&pair, 50 * NS_PER_MS);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN);
    cr_assert_eq(end_write(&pair.client, 3, 100), 3);
    pair_exchange(&pair);
    cr_assert_eq(pair.server.read, 3);
    pair_fini(&pair);
}

Test(session_handshake, forged_retries_cannot_make_the_client_send_more, .timeout = 10)
{
    struct pair pair;
    struct datagram hello;
    struct datagram retry = {.byte_count = WIRE_RETRY_BYTES};
    struct wire_header header = {
        .type = WIRE_RETRY, .length = WIRE_RETRY_BYTES, .session = PAIR_SESSION};
    uint32_t hellos = 0;

    pair_init(&pair, NULL);
    wire_header_encode(&header, retry.bytes);
    for (uint32_t i = 0; i < 1000; i++) {
        retry.bytes[WIRE_HEADER_BYTES + 8] = (uint8_t)i;
        pair_deliver(&pair, &pair.client, &retry);
        hellos += pair_transmit(&pair, &pair.client, &hello);
    }
    cr_assert_leq(hellos, 2);
    pair_run(&pair, 100 * NS_PER_MS);
    cr_assert_eq(session_state(pair.client.session), SESSION_OPEN, "the true RETRY wins");
    pair_fini(&pair);
}

Test(session_handshake, a_retry_means_nothing_to_an_open_session, .timeout = 10)
{
    struct pair pair;
    struct datagram retry = {.byte_count = WIRE_RETRY_BYTES};
    struct wire_header header = {
        .type = WIRE_RETRY, .length = WIRE_RETRY_BYTES, .session = PAIR_SESSION};

    pair_open(&pair, NULL);
    wire_header_encode(&header, retry.bytes);
    cr_assert_eq(pair_deliver(&pair, &pair.client, &retry), SESSION_DROPPED);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &retry), SESSION_DROPPED);
    cr_assert_eq(pair_exchange(&pair), 0);
    pair_fini(&pair);
}

Test(session_handshake,
     a_server_is_told_no_hello_when_it_is_a_client,
     .timeout = 10,
     .signal = SIGABRT)
{
    struct pair pair;
    struct datagram hello;

    pair_init(&pair, NULL);
    cr_assert(pair_transmit(&pair, &pair.client, &hello));
    (void)!session_accept_hello(pair.client.session, hello.bytes, hello.byte_count, pair.now_ns);
}
