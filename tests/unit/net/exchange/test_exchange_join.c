/* Goal: nothing but a whole, well-formed JOIN of somebody known, while there is room, opens a
 * session; what is refused leaves none behind; what is granted fits what the door was given.
 * Method: clear text on loopback, bad input first; the door is the test. */
#include "tests/unit/net/exchange/fixture.h"

#include "engine/base/bytes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture fixture;
static struct peer peer;

TestSuite(exchange_join, .timeout = 30);

static const struct exchange_counters *
counters(void)
{
    return exchange_counters(fixture.exchange);
}

static void
nothing_was_granted(void)
{
    struct door_grant grant;

    for (uint32_t i = 0; i < fixture.config.door_count; i++)
        cr_assert_not(door_take(&fixture, i, &grant));
    cr_assert_eq(fixture_count(&counters()->granted), 0u);
    cr_assert_eq(fixture_count(&counters()->sessions), 0u);
}

Test(exchange_join, garbage_closes_its_connection)
{
    uint64_t seed = 20261121;
    uint8_t bytes[600];

    cr_log_info("seed %lu", (unsigned long)seed);
    fixture_start(&fixture, NULL);
    clock_random_seed(&fixture.clock, seed);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t count = 6 + (uint32_t)clock_random_below(&fixture.clock, sizeof(bytes) - 6);
        for (uint32_t n = 0; n < count; n++)
            bytes[n] = (uint8_t)clock_random(&fixture.clock);
        peer_open(&peer, &fixture);
        peer_send(&peer, bytes, count);
        cr_assert(peer_is_closed(&peer));
        peer_close(&peer);
    }
    cr_assert_eq(fixture_count(&counters()->refused_protocol), 200u);
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, a_length_out_of_range_is_refused_before_its_bytes_come)
{
    static const uint32_t lengths[] = {0, 1, WIRE_CONTROL_BYTES_MAX + 1, UINT32_MAX, 0x47455420};
    uint8_t prefix[4];

    fixture_start(&fixture, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        put_u32_le(prefix, lengths[i]);
        peer_open(&peer, &fixture);
        peer_send(&peer, prefix, sizeof(prefix));
        cr_assert_eq(peer_refused(&peer), 42, "length %u", lengths[i]);
        peer_close(&peer);
    }
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, a_message_longer_than_any_join_is_refused_unread)
{
    uint8_t message[2048] = {0};

    fixture_start(&fixture, NULL);
    put_u32_le(message, 2000);
    message[4] = WIRE_CONTROL_JOIN;
    peer_open(&peer, &fixture);
    peer_send(&peer, message, sizeof(message));
    cr_assert(peer_is_closed(&peer));
    peer_close(&peer);
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, cut_anywhere_by_an_end_grants_nothing)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    uint32_t count = wire_join_encode(message, &join);

    fixture_start(&fixture, NULL);
    for (uint32_t cut = 0; cut < count; cut++) {
        peer_open(&peer, &fixture);
        peer_send(&peer, message, cut);
        cr_assert_eq(shutdown(peer.fd, SHUT_WR), 0);
        cr_assert(peer_is_closed(&peer), "cut at %u", cut);
        peer_close(&peer);
    }
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, with_a_body_cut_short_or_too_long_is_refused)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    uint32_t count = wire_join_encode(message, &join);

    fixture_start(&fixture, NULL);
    message[count] = 0;
    for (uint32_t length = 2; length <= count - 3; length++) {
        if (length == count - 4)
            continue; /* the right one */
        put_u32_le(message, length);
        peer_open(&peer, &fixture);
        peer_send(&peer, message, length + 4);
        cr_assert_eq(peer_refused(&peer), 42, "length %u", length);
        peer_close(&peer);
    }
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, is_the_only_first_message)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];

    fixture_start(&fixture, NULL);
    for (uint8_t type = 0; type < 8; type++) {
        if (type == WIRE_CONTROL_JOIN)
            continue;
        uint32_t count = wire_leave_encode(message);
        message[4] = type;
        peer_open(&peer, &fixture);
        peer_send(&peer, message, count);
        cr_assert_eq(peer_refused(&peer), 42, "type %u", type);
        peer_close(&peer);
    }
    nothing_was_granted();
    fixture_finish(&fixture);
}

static int
answer_to(const struct wire_join *join)
{
    peer_open(&peer, &fixture);
    peer_join(&peer, join);
    int code = peer_refused(&peer);
    peer_close(&peer);
    return code;
}

Test(exchange_join, of_another_version_is_told_so)
{
    struct wire_join join = join_usual();

    fixture_start(&fixture, NULL);
    join.version = WIRE_VERSION + 1;
    cr_assert_eq(answer_to(&join), 35);
    join.version = 0;
    cr_assert_eq(answer_to(&join), 35);
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, with_auth_none_is_refused_where_it_is_not_allowed)
{
    struct wire_join join = join_usual();

    fixture_start(&fixture, NULL);
    join.auth = WIRE_AUTH_NONE;
    cr_assert_eq(answer_to(&join), 42);
    join.auth = 2;
    cr_assert_eq(answer_to(&join), 42);
    cr_assert_eq(fixture_count(&counters()->refused_protocol), 2u);
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, of_wrong_secret_and_of_unknown_user_get_the_same_answer)
{
    static const char *const wrong[][2] = {
        {"alice", "canary-secreT"},
        {"alice", ""},
        {"mallory", "canary-secret"},
        {"", ""},
        {"", "canary-secret"},
        {"bob", "canary-secret"},
    };
    struct fixture_options options = {.credentials = "alice:canary-secret\nbob:other\n"};
    struct wire_join join = join_usual();
    uint8_t first[512];
    uint32_t first_count = 0;

    fixture_start(&fixture, &options);
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        join.user = text_of(wrong[i][0]);
        join.secret = text_of(wrong[i][1]);
        cr_assert_eq(answer_to(&join), 58);
        if (i == 0) {
            first_count = peer.in_count;
            memcpy(first, peer.in, first_count);
        }
        cr_assert_eq(peer.in_count, first_count);
        cr_assert_arr_eq(peer.in, first, first_count);
    }
    cr_assert_eq(fixture_count(&counters()->refused_credentials), ARRAY_COUNT(wrong));
    nothing_was_granted();
    fixture_finish(&fixture);
}

Test(exchange_join, learns_of_limits_and_settings_only_with_a_right_secret)
{
    struct fixture_options options = {.credentials = "alice:canary-secret\n"};
    struct wire_join join = join_usual();

    fixture_start(&fixture, &options);
    join.auth = WIRE_AUTH_NONE;
    join.secret = text_of("wrong");
    cr_assert_eq(answer_to(&join), 58);
    join.secret = text_of("canary-secret");
    cr_assert_eq(answer_to(&join), 42);
    fixture_finish(&fixture);
}

/* A grant and what the door got with it; the session stays open. */
static struct wire_grant
granted(const struct wire_join *join, struct door_grant *ret)
{
    peer_open(&peer, &fixture);
    peer_join(&peer, join);
    struct wire_grant grant = peer_granted(&peer);
    cr_assert(door_take(&fixture, grant.tile, ret));
    cr_assert_eq(ret->revoke, 0u);
    cr_assert_eq(ret->session_id, grant.session);
    return grant;
}

static void
give_back(const struct door_grant *given)
{
    door_give(&fixture, given);
    cr_assert(peer_is_closed(&peer));
    peer_close(&peer);
}

Test(exchange_join, is_answered_with_what_the_server_is)
{
    struct fixture_options options = {.credentials = "bob:x\nalice:canary-secret\n"};
    struct wire_join join = join_usual();
    struct door_grant given;

    fixture_start(&fixture, &options);
    struct wire_grant grant = granted(&join, &given);
    cr_assert_eq(grant.auth, WIRE_AUTH_AEAD);
    cr_assert_eq(grant.window, 200);
    cr_assert_eq(grant.datagram_bytes_max, 1300u); /* the client's, which is less */
    cr_assert_eq(given.datagram_bytes_max, 1300u);
    cr_assert_eq(given.principal_idx, 1u);
    cr_assert_eq(grant.idle_ms, 10000u);
    cr_assert_eq(grant.broker_id, 77u);
    cr_assert_eq(grant.port_count, 1);
    cr_assert_eq(grant.ports[0], FIXTURE_PORT);
    cr_assert_eq(grant.tile, 0);
    cr_assert_neq(grant.session >> 8, 0u);
    static const uint8_t zeros[WIRE_KEY_BYTES];
    cr_assert_arr_neq(grant.client_key, zeros, WIRE_KEY_BYTES);
    cr_assert_arr_neq(grant.client_key, grant.server_key, WIRE_KEY_BYTES);
    cr_assert_eq(fixture_count(&counters()->sessions), 1u);
    give_back(&given);
    cr_assert_eq(fixture_count(&counters()->sessions), 0u);
    fixture_finish(&fixture);
}

Test(exchange_join, gets_keys_that_fit_the_cipher_of_the_door_and_no_other)
{
    struct wire_join join = join_usual();
    struct door_grant given[2];
    struct wire_header header = {.type = WIRE_SESSION, .packet_number = 5};
    uint8_t datagram[128];
    uint8_t opened[128];
    struct bytes frames;

    fixture_start(&fixture, NULL);
    struct wire_grant first = granted(&join, &given[0]);
    struct peer first_peer = peer;
    struct wire_grant second = granted(&join, &given[1]);
    cr_assert_arr_neq(first.client_key, second.client_key, WIRE_KEY_BYTES);
    cr_assert_neq(first.session, second.session);

    struct session_cipher *client;
    cr_assert_eq(session_cipher_create(&first, true, &client), RC_OK);
    header.session = first.session;
    wire_header_encode(&header, datagram);
    memset(datagram + WIRE_HEADER_BYTES, 0x5a, 32);
    uint32_t bytes = session_cipher_seal(
        client, datagram, WIRE_HEADER_BYTES, WIRE_HEADER_BYTES + 32, header.packet_number);
    cr_assert_eq(wire_header_decode(datagram, bytes, &header, &frames), RC_OK);
    cr_assert_not(session_cipher_open(given[1].cipher, &header, datagram, opened, &frames));
    cr_assert(session_cipher_open(given[0].cipher, &header, datagram, opened, &frames));
    cr_assert_eq(frames.count, 32u);
    session_cipher_destroy(client);

    give_back(&given[1]);
    peer = first_peer;
    give_back(&given[0]);
    fixture_finish(&fixture);
}

Test(exchange_join, gets_auth_none_only_by_wish_and_setting)
{
    struct fixture_options options = {.auth = WIRE_AUTH_NONE};
    struct wire_join join = join_usual();
    struct door_grant given;

    fixture_start(&fixture, &options);
    join.auth = WIRE_AUTH_NONE;
    cr_assert_eq(granted(&join, &given).auth, WIRE_AUTH_NONE);
    cr_assert(session_cipher_is_plain(given.cipher));
    give_back(&given);
    join.auth = WIRE_AUTH_AEAD;
    cr_assert_eq(granted(&join, &given).auth, WIRE_AUTH_AEAD);
    cr_assert_not(session_cipher_is_plain(given.cipher));
    give_back(&given);
    fixture_finish(&fixture);
}

Test(exchange_join, is_taken_in_any_pieces)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    uint32_t count = wire_join_encode(message, &join);
    struct door_grant given;

    fixture_start(&fixture, NULL);
    for (uint32_t cut = 1; cut < count; cut++) {
        peer_open(&peer, &fixture);
        peer_send(&peer, message, cut);
        peer_send(&peer, message + cut, count - cut);
        struct wire_grant grant = peer_granted(&peer);
        cr_assert(door_take(&fixture, grant.tile, &given));
        give_back(&given);
    }
    fixture_finish(&fixture);
}

Test(exchange_join, may_have_every_name_at_its_limit)
{
    static char user[WIRE_USER_MAX + 1];
    static char secret[WIRE_SECRET_MAX + 1];
    static char client[WIRE_CONTROL_TEXT_MAX + 1];
    static char line[512];
    struct fixture_options options = {.credentials = line};
    struct wire_join join = join_usual();
    struct door_grant given;

    memset(user, 'u', WIRE_USER_MAX);
    memset(secret, 's', WIRE_SECRET_MAX);
    memset(client, '\n', WIRE_CONTROL_TEXT_MAX); /* harmless in the log line */
    snprintf(line, sizeof(line), "%s:%s\n", user, secret);
    fixture_start(&fixture, &options);
    join.user = text_of(user);
    join.secret = text_of(secret);
    join.client = text_of(client);
    (void)granted(&join, &given);
    give_back(&given);
    fixture_finish(&fixture);
}

Test(exchange_join, gets_the_tile_it_wishes_or_the_one_with_fewest_sessions)
{
    static const uint8_t wishes[] = {2, 2, 0xff, 0xff, 9, 0xff, 0xff};
    static const uint8_t expected[] = {2, 2, 0, 1, 0, 1, 0};
    struct fixture_options options = {.door_count = 3};
    struct wire_join join = join_usual();
    struct door_grant given[ARRAY_COUNT(wishes)];
    struct peer peers[ARRAY_COUNT(wishes)];

    fixture_start(&fixture, &options);
    for (size_t i = 0; i < ARRAY_COUNT(wishes); i++) {
        join.tile = wishes[i];
        struct wire_grant grant = granted(&join, &given[i]);
        cr_assert_eq(grant.tile, expected[i], "JOIN %zu: tile %u", i, grant.tile);
        cr_assert_eq(grant.session & 0xff, expected[i]);
        cr_assert_eq(grant.port_count, 3);
        cr_assert_eq(grant.ports[2], FIXTURE_PORT + 2);
        peers[i] = peer;
    }
    for (size_t i = 0; i < ARRAY_COUNT(wishes); i++) {
        peer = peers[i];
        give_back(&given[i]);
    }
    fixture_finish(&fixture);
}

Test(exchange_join, is_refused_by_name_when_no_door_has_a_place)
{
    static const uint8_t expected[] = {1, 0, 0, 1}; /* the wish is for 1, while there is room */
    struct fixture_options options = {.door_count = 2, .door_sessions_max = 2};
    struct wire_join join = join_usual();
    struct door_grant given[ARRAY_COUNT(expected)];
    struct peer peers[ARRAY_COUNT(expected)];

    fixture_start(&fixture, &options);
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        join.tile = i == 0 ? 1 : 0;
        struct wire_grant grant = granted(&join, &given[i]);
        cr_assert_eq(grant.tile, expected[i], "JOIN %zu: tile %u", i, grant.tile);
        peers[i] = peer;
    }
    cr_assert_eq(answer_to(&join), 89);
    cr_assert_eq(fixture_count(&counters()->refused_limit), 1u);
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        peer = peers[i];
        give_back(&given[i]);
    }
    fixture_finish(&fixture);
}

Test(exchange_join, is_refused_and_leaves_nothing_when_the_door_takes_no_more)
{
    struct fixture_options options = {.ring_slots = 2, .connections_max = 8};
    struct wire_join join = join_usual();
    struct peer peers[2];
    struct door_grant given[2];

    fixture_start(&fixture, &options);
    for (uint32_t i = 0; i < 2; i++) { /* the door sleeps */
        peer_open(&peers[i], &fixture);
        peer_join(&peers[i], &join);
        (void)peer_granted(&peers[i]);
    }
    cr_assert_eq(answer_to(&join), 89);
    cr_assert_eq(fixture_count(&counters()->refused_busy), 1u);
    cr_assert_eq(fixture_count(&counters()->sessions), 2u);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert(door_take(&fixture, 0, &given[i]));
        door_give(&fixture, &given[i]);
        peer_close(&peers[i]);
    }
    (void)granted(&join, &given[0]);
    give_back(&given[0]);
    fixture_finish(&fixture);
}

Test(exchange_join, is_refused_beyond_the_limit_of_sessions)
{
    struct fixture_options options = {.connections_max = 2};
    struct wire_join join = join_usual();
    struct door_grant given[2];
    struct peer peers[2];

    fixture_start(&fixture, &options);
    for (uint32_t i = 0; i < 2; i++) {
        (void)granted(&join, &given[i]);
        peers[i] = peer;
    }
    cr_assert_eq(answer_to(&join), 89);
    cr_assert_eq(fixture_count(&counters()->refused_limit), 1u);
    /* A closed connection alone makes no room: the door still has its session. */
    struct door_grant revoke;
    peer_close(&peers[0]);
    cr_assert(door_take(&fixture, 0, &revoke));
    cr_assert_eq(answer_to(&join), 89);
    door_give(&fixture, &given[0]);
    (void)granted(&join, &given[0]);
    give_back(&given[0]);
    peer = peers[1];
    give_back(&given[1]);
    fixture_finish(&fixture);
}
