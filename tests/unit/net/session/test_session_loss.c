/* Loss, order and retransmission on a wire that drops what the test says. Goal: every number
 * arrives once and in order, and what goes out again does so for the stated reason. Method: numbers
 * in DATA frames, checked by the fixture; datagrams held, dropped and swapped by hand. */
#include "fixture.h"

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
