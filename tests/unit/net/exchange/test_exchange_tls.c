/* Goal: only TLS 1.3 gets as far as a JOIN; what a peer can make the library hold and do is
 * bounded. Method: OpenSSL clients on loopback, the certificate is made by the test; the library's
 * allocations are counted while the exchange runs. */
#include "tests/unit/net/exchange/fixture.h"

#include <criterion/criterion.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static struct fixture fixture;
static const struct fixture_options with_tls = {.tls = true,
                                                .credentials = "alice:canary-secret\n"};

TestSuite(exchange_tls, .timeout = 60);

static const struct exchange_counters *
counters(void)
{
    return exchange_counters(fixture.exchange);
}

Test(exchange_tls, garbage_instead_of_tls_closes)
{
    struct peer peer;
    uint8_t bytes[512];

    fixture_start(&fixture, &with_tls);
    cr_log_info("seed 99");
    clock_random_seed(&fixture.clock, 99);
    for (uint32_t i = 0; i < 100; i++) {
        for (size_t n = 0; n < sizeof(bytes); n++)
            bytes[n] = (uint8_t)clock_random(&fixture.clock);
        if (i % 3 == 0) { /* looks like a handshake record of 500 bytes */
            static const uint8_t head[] = {22, 3, 1, 1, 244, 1, 0, 1, 240};
            memcpy(bytes, head, sizeof(head));
        }
        peer_open(&peer, &fixture);
        peer_send(&peer, bytes, sizeof(bytes));
        cr_assert(peer_is_closed(&peer));
        peer_close(&peer);
    }
    cr_assert_eq(fixture_count(&counters()->failed_tls), 100u);
    fixture_finish(&fixture);
}

Test(exchange_tls, a_join_in_clear_text_is_not_read)
{
    struct wire_join join = join_usual();
    struct door_grant grant;
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    peer_open(&peer, &fixture);
    peer_join(&peer, &join);
    cr_assert(peer_is_closed(&peer));
    peer_close(&peer);
    cr_assert_eq(fixture_count(&counters()->failed_tls), 1u);
    cr_assert_not(door_take(&fixture, 0, &grant));
    fixture_finish(&fixture);
}

Test(exchange_tls, version_1_2_is_refused)
{
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    peer_open(&peer, &fixture);
    cr_assert_not(peer_tls(&peer, TLS1_2_VERSION));
    peer_close(&peer);
    cr_assert_eq(fixture_count(&counters()->failed_tls), 1u);
    fixture_finish(&fixture);
}

Test(exchange_tls, a_handshake_that_does_not_end_is_cut)
{
    static const uint8_t begin[] = {22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3};
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    peer_open(&peer, &fixture);
    for (uint32_t i = 0; i < sizeof(begin) && !peer.ended; i++) {
        peer_send(&peer, &begin[i], 1);
        fixture_advance(&fixture, EXCHANGE_JOIN_NS / 5);
        peer_read(&peer);
    }
    cr_assert(peer_is_closed(&peer));
    cr_assert_eq(fixture_count(&counters()->timed_out), 1u);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_tls, a_wrong_secret_is_told_inside_tls)
{
    struct wire_join join = join_usual();
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    join.secret = text_of("no");
    peer_open(&peer, &fixture);
    cr_assert(peer_tls(&peer, TLS1_3_VERSION));
    peer_join(&peer, &join);
    cr_assert_eq(peer_refused(&peer), 58);
    cr_assert(peer.said_goodbye);
    peer_close(&peer);
    fixture_finish(&fixture);
}

static struct door_grant
held(struct peer *peer)
{
    struct wire_join join = join_usual();
    struct door_grant given;

    peer_open(peer, &fixture);
    cr_assert(peer_tls(peer, TLS1_3_VERSION));
    peer_join(peer, &join);
    struct wire_grant grant = peer_granted(peer);
    cr_assert(door_take(&fixture, grant.tile, &given));
    cr_assert_eq(given.session_id, grant.session);
    return given;
}

Test(exchange_tls, a_session_is_granted_and_ends_with_a_goodbye)
{
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    struct door_grant given = held(&peer);
    cr_assert_eq(SSL_version(peer.tls), TLS1_3_VERSION);
    door_give(&fixture, &given);
    cr_assert(peer_is_closed(&peer));
    cr_assert(peer.said_goodbye);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_tls, a_cut_or_a_goodbye_of_the_client_revokes)
{
    struct door_grant revoke;
    struct peer peer;

    fixture_start(&fixture, &with_tls);
    for (int goodbye = 0; goodbye < 2; goodbye++) {
        struct door_grant given = held(&peer);
        if (goodbye)
            (void)SSL_shutdown(peer.tls);
        else
            SSL_set_quiet_shutdown(peer.tls, 1);
        peer_close(&peer);
        cr_assert(door_take(&fixture, 0, &revoke));
        cr_assert_eq(revoke.revoke, 1u);
        door_give(&fixture, &given);
    }
    fixture_finish(&fixture);
}

Test(exchange_tls, a_flood_of_key_updates_ends)
{
    struct door_grant revoke;
    struct peer peer;
    uint32_t updates = 0;

    fixture_start(&fixture, &with_tls);
    struct door_grant given = held(&peer);
    for (; updates < 10000 && !peer.ended; updates++) {
        (void)SSL_key_update(peer.tls, SSL_KEY_UPDATE_REQUESTED);
        (void)SSL_do_handshake(peer.tls);
        fixture_pump(&fixture);
        peer_read(&peer);
    }
    cr_log_info("%u updates", updates);
    cr_assert(peer.ended);
    cr_assert_lt(updates, EXCHANGE_BYTES_MAX / 20);
    cr_assert(door_take(&fixture, 0, &revoke));
    door_give(&fixture, &given);
    peer_close(&peer);
    fixture_finish(&fixture);
}

/* ---- memory ---- */

struct counted {
    size_t bytes;
    size_t of_exchange;
    max_align_t data[];
};
static size_t held_bytes;

static void *
counted_alloc(size_t bytes, const char *file, int line)
{
    struct counted *counted = malloc(sizeof(*counted) + bytes);

    (void)file;
    (void)line;
    if (counted == NULL)
        return NULL;
    *counted = (struct counted){bytes, fixture.pumping ? bytes : 0};
    held_bytes += counted->of_exchange;
    return counted->data;
}

static void
counted_free(void *at, const char *file, int line)
{
    (void)file;
    (void)line;
    if (at == NULL)
        return;
    struct counted *counted = (struct counted *)(void *)((uint8_t *)at - sizeof(*counted));
    held_bytes -= counted->of_exchange;
    free(counted);
}

static void *
counted_realloc(void *at, size_t bytes, const char *file, int line)
{
    void *to = counted_alloc(bytes, file, line);

    if (to == NULL || at == NULL)
        return to;
    struct counted *counted = (struct counted *)(void *)((uint8_t *)at - sizeof(*counted));
    memcpy(to, at, counted->bytes < bytes ? counted->bytes : bytes);
    counted_free(at, file, line);
    return to;
}

/* Before main(), because the library takes them only while it has allocated nothing, and
 * Criterion's own libraries use it. */
static bool is_counting;

__attribute__((constructor)) static void
count_allocations(void)
{
    is_counting = CRYPTO_set_mem_functions(counted_alloc, counted_realloc, counted_free) == 1;
}

Test(exchange_tls, memory_of_the_library_stays_below_its_bound)
{
    enum { PEERS = 16 };
    static struct peer peers[PEERS];
    static uint8_t hello[15000];
    struct door_grant given[PEERS];
    struct door_grant revoke;
    size_t before;

    cr_assert(is_counting);
    fixture_start(&fixture,
                  &(struct fixture_options){.tls = true,
                                            .connections_max = PEERS,
                                            .ring_slots = 64,
                                            .credentials = "alice:canary-secret\n"});
    given[0] = held(&peers[0]); /* what is allocated once */
    peer_close(&peers[0]);
    cr_assert(door_take(&fixture, 0, &revoke));
    door_give(&fixture, &given[0]);

    before = held_bytes;
    for (uint32_t i = 0; i < PEERS; i++)
        given[i] = held(&peers[i]);
    size_t held_each = (held_bytes - before) / PEERS;
    for (uint32_t i = 0; i < PEERS; i++) {
        peer_close(&peers[i]);
        cr_assert(door_take(&fixture, 0, &revoke));
        door_give(&fixture, &given[i]);
    }
    cr_assert_eq(held_bytes, before, "something stays behind");

    /* The longest ClientHello that a connection's bytes allow, and nothing after it. */
    static const uint8_t head[] = {22, 3, 1, 0x3a, 0x93, 1, 0, 0x7f, 0xff, 3, 3};
    memcpy(hello, head, sizeof(head));
    size_t most = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
        peer_open(&peers[i], &fixture);
        peer_send(&peers[i], hello, sizeof(hello));
        most = held_bytes - before > most ? held_bytes - before : most;
    }
    cr_log_info("held: %zu bytes each, in a handshake: %zu", held_each, most / PEERS);
    cr_assert_gt(held_each, 0u);
    cr_assert_gt(most / PEERS, sizeof(hello), "it was not taken for a hello");
    cr_assert_lt(held_each, EXCHANGE_TLS_BYTES_MAX);
    cr_assert_lt(most / PEERS, EXCHANGE_TLS_BYTES_MAX);
    for (uint32_t i = 0; i < PEERS; i++)
        peer_close(&peers[i]);
    cr_assert_eq(held_bytes, before, "something stays behind");
    fixture_finish(&fixture);
}
