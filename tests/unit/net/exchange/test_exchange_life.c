/* Goal: a session ends with its connection and the other way round, whichever is first; its cipher
 * ends once; nobody can hold a place without joining. Method: clear text on loopback, virtual time,
 * the door is the test; the address sanitizer's build sees a cipher that ends twice or never. */
#include "tests/unit/net/exchange/fixture.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

static struct fixture fixture;

TestSuite(exchange_life, .timeout = 30);

static const struct exchange_counters *
counters(void)
{
    return exchange_counters(fixture.exchange);
}

static void
held(struct peer *peer, struct door_grant *ret)
{
    struct wire_join join = join_usual();

    peer_open(peer, &fixture);
    peer_join(peer, &join);
    struct wire_grant grant = peer_granted(peer);
    cr_assert(door_take(&fixture, grant.tile, ret));
}

static void
revoked(const struct door_grant *given)
{
    struct door_grant revoke;

    cr_assert(door_take(&fixture, 0, &revoke), "the door was not told");
    cr_assert_eq(revoke.revoke, 1u);
    cr_assert_eq(revoke.session_id, given->session_id);
    cr_assert_null(revoke.cipher);
    cr_assert_not(door_take(&fixture, 0, &revoke), "the door was told twice");
}

Test(exchange_life, who_does_not_join_in_time_is_closed)
{
    struct peer peer;

    fixture_start(&fixture, NULL);
    peer_open(&peer, &fixture);
    fixture_advance(&fixture, EXCHANGE_JOIN_NS - 1);
    peer_read(&peer);
    cr_assert_not(peer.ended);
    fixture_advance(&fixture, 1);
    cr_assert(peer_is_closed(&peer));
    cr_assert_eq(fixture_count(&counters()->timed_out), 1u);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, bytes_that_trickle_buy_no_time)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    struct peer peer;
    uint32_t sent = 0;

    fixture_start(&fixture, NULL);
    (void)wire_join_encode(message, &join);
    peer_open(&peer, &fixture);
    for (; sent < 10 && !peer.ended; sent++) {
        peer_send(&peer, &message[sent], 1);
        fixture_advance(&fixture, EXCHANGE_JOIN_NS / 5);
        peer_read(&peer);
    }
    cr_assert(peer_is_closed(&peer));
    cr_assert_eq(sent, 5u);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, mute_connections_cannot_lock_the_door)
{
    static struct peer mute[EXCHANGE_PENDING_MAX + 20];
    struct door_grant given;
    struct peer good;

    fixture_start(&fixture, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(mute); i++)
        peer_open(&mute[i], &fixture);
    held(&good, &given);
    cr_assert(peer_is_closed(&mute[0]), "the oldest gives way");
    cr_assert(peer_is_closed(&mute[20]));
    peer_read(&mute[21]);
    cr_assert_not(mute[21].ended);
    cr_assert_eq(fixture_count(&counters()->refused_limit), 21u);
    for (size_t i = 0; i < ARRAY_COUNT(mute); i++)
        peer_close(&mute[i]);
    door_give(&fixture, &given);
    cr_assert(peer_is_closed(&good));
    peer_close(&good);
    fixture_finish(&fixture);
}

Test(exchange_life, a_client_that_closes_has_its_session_revoked)
{
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    held(&peer, &given);
    fixture_advance(&fixture, 3600 * NS_PER_S); /* held as long as it likes */
    peer_read(&peer);
    cr_assert_not(peer.ended);
    peer_close(&peer);
    revoked(&given);
    cr_assert_eq(fixture_count(&counters()->sessions), 1u, "the door still has it");
    door_give(&fixture, &given);
    cr_assert_eq(fixture_count(&counters()->sessions), 0u);
    fixture_finish(&fixture);
}

Test(exchange_life, a_client_that_leaves_has_its_session_revoked)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    held(&peer, &given);
    peer_send(&peer, message, wire_leave_encode(message));
    cr_assert(peer_is_closed(&peer));
    revoked(&given);
    cr_assert_eq(fixture_count(&counters()->refused_protocol), 0u);
    door_give(&fixture, &given);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, a_second_join_or_anything_else_ends_the_session)
{
    struct wire_join join = join_usual();
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    for (int what = 0; what < 2; what++) {
        held(&peer, &given);
        if (what == 0)
            peer_join(&peer, &join);
        else
            peer_send(&peer, "GET / HTTP/1.1\r\n\r\n", 18);
        cr_assert(peer_is_closed(&peer));
        revoked(&given);
        door_give(&fixture, &given);
        peer_close(&peer);
    }
    cr_assert_eq(fixture_count(&counters()->refused_protocol), 2u);
    fixture_finish(&fixture);
}

/* What follows is read while the GRANT is still on its way out. */
Test(exchange_life, a_join_and_something_else_in_one_segment_ends_the_session)
{
    uint8_t message[4 * WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    for (int what = 0; what < 3; what++) {
        uint32_t count = wire_join_encode(message, &join);
        if (what == 0)
            count += wire_join_encode(message + count, &join);
        else
            memset(message + count, what == 1 ? 0 : 0xff, 6);
        count += what == 0 ? 0 : 6;
        peer_open(&peer, &fixture);
        peer_send(&peer, message, count);
        cr_assert(peer_is_closed(&peer));
        cr_assert(door_take(&fixture, 0, &given));
        revoked(&given);
        door_give(&fixture, &given);
        peer_close(&peer);
    }
    cr_assert_eq(fixture_count(&counters()->refused_protocol), 3u);
    fixture_finish(&fixture);
}

Test(exchange_life, a_join_and_a_leave_in_one_segment_are_obeyed_in_turn)
{
    uint8_t message[2 * WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = join_usual();
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    uint32_t count = wire_join_encode(message, &join);
    count += wire_leave_encode(message + count);
    peer_open(&peer, &fixture);
    peer_send(&peer, message, count);
    (void)peer_granted(&peer);
    cr_assert(peer_is_closed(&peer));
    cr_assert(door_take(&fixture, 0, &given));
    cr_assert_eq(given.revoke, 0u);
    revoked(&given);
    door_give(&fixture, &given);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, a_session_that_the_door_ends_takes_its_connection_along)
{
    struct door_grant given;
    struct door_grant none;
    struct peer peer;

    fixture_start(&fixture, NULL);
    held(&peer, &given);
    door_give(&fixture, &given);
    cr_assert(peer_is_closed(&peer));
    cr_assert_not(door_take(&fixture, 0, &none), "there is nothing to revoke");
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, both_sides_may_end_at_once)
{
    struct door_grant given;
    struct peer peer;
    struct door_event event = {.kind = DOOR_CLOSED};

    fixture_start(&fixture, NULL);
    for (int i = 0; i < 20; i++) {
        held(&peer, &given);
        event.session_id = given.session_id;
        event.cipher = given.cipher;
        if (i % 2 == 0)
            cr_assert_eq(ring_push(&fixture.events[0], &event, 1), 1u);
        cr_assert_eq(shutdown(peer.fd, SHUT_RDWR), 0);
        if (i % 2 == 1)
            cr_assert_eq(ring_push(&fixture.events[0], &event, 1), 1u);
        fixture_pump(&fixture);
        peer_close(&peer);
        struct door_grant revoke;
        while (door_take(&fixture, 0, &revoke))
            cr_assert_eq(revoke.session_id, given.session_id);
        cr_assert_eq(fixture_count(&counters()->sessions), 0u);
    }
    fixture_finish(&fixture);
}

Test(exchange_life, an_opened_session_is_no_reason_to_do_anything)
{
    struct door_grant given;
    struct peer peer;

    fixture_start(&fixture, NULL);
    held(&peer, &given);
    struct door_event event = {.kind = DOOR_OPENED, .session_id = given.session_id};
    cr_assert_eq(ring_push(&fixture.events[0], &event, 1), 1u);
    fixture_pump(&fixture);
    peer_read(&peer);
    cr_assert_not(peer.ended);
    cr_assert_eq(fixture_count(&counters()->sessions), 1u);
    door_give(&fixture, &given);
    peer_close(&peer);
    fixture_finish(&fixture);
}

Test(exchange_life, a_revoke_waits_for_room_in_the_ring)
{
    struct fixture_options options = {.ring_slots = 4};
    struct door_grant filler = {.session_id = 0x12300};
    struct door_grant given[2];
    struct door_grant found;
    struct peer peers[2];

    fixture_start(&fixture, &options);
    held(&peers[0], &given[0]);
    held(&peers[1], &given[1]);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(ring_push(&fixture.grants[0], &filler, 1), 1u);
    peer_close(&peers[0]);
    peer_close(&peers[1]);
    /* One comes back by itself meanwhile: nobody has to be told any more. */
    door_give(&fixture, &given[1]);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert(door_take(&fixture, 0, &found));
        cr_assert_eq(found.session_id, filler.session_id);
    }
    cr_assert_not(door_take(&fixture, 0, &found));
    fixture_pump(&fixture);
    revoked(&given[0]);
    door_give(&fixture, &given[0]);
    fixture_finish(&fixture);
}

Test(exchange_life, a_request_that_finds_the_io_ring_full_is_tried_again)
{
    struct door_grant given;
    struct peer peer;

    struct wire_join join = join_usual();

    fixture_start(&fixture, NULL);
    for (uint32_t every = 1; every <= 4; every++) {
        peer_open(&peer, &fixture);
        fixture.refuse_every = every;
        peer_join(&peer, &join);
        if (every == 1) { /* full for a while: the GRANT waits */
            fixture_advance(&fixture, 10 * NS_PER_MS);
            peer_read(&peer);
            cr_assert_eq(peer.in_count, 0u);
            fixture.refuse_every = 0;
        }
        (void)peer_granted(&peer);
        cr_assert(door_take(&fixture, 0, &given));
        door_give(&fixture, &given);
        cr_assert(peer_is_closed(&peer));
        peer_close(&peer);
        fixture.refuse_every = 0;
        fixture_advance(&fixture, 10 * NS_PER_MS); /* the accept waits so long */
    }
    fixture_finish(&fixture);
}

Test(exchange_life, a_stop_closes_all_and_revokes_what_is_held)
{
    struct door_grant given;
    struct peer mute;
    struct peer good;

    fixture_start(&fixture, NULL);
    peer_open(&mute, &fixture);
    held(&good, &given);
    exchange_stop(fixture.exchange);
    cr_assert_not(exchange_is_stopped(fixture.exchange));
    fixture_pump(&fixture);
    cr_assert(exchange_is_stopped(fixture.exchange));
    cr_assert(peer_is_closed(&mute));
    cr_assert(peer_is_closed(&good));
    revoked(&given);
    peer_close(&mute);
    peer_close(&good);
    /* The door ends without giving the session back: the cipher ends here (leak check). */
    fixture_finish(&fixture);
}

Test(exchange_life, a_session_given_back_during_the_stop_ends_once)
{
    struct door_grant given[2];
    struct peer peers[2];

    fixture_start(&fixture, NULL);
    held(&peers[0], &given[0]);
    held(&peers[1], &given[1]);
    exchange_stop(fixture.exchange);
    fixture_pump(&fixture);
    door_give(&fixture, &given[0]);
    peer_close(&peers[0]);
    peer_close(&peers[1]);
    fixture_finish(&fixture);
}
