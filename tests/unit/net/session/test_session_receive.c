/* What an open session takes and what it refuses. Goal: an unauthenticated datagram changes nothing
 * but a counter; malformed frames inside an authentic packet end the session by name; each packet
 * number counts once within the window of 1,024 and never below it. Method: bad input first, by
 * packets forged with and without the key. */
#include "fixture.h"

#include <signal.h>
#include <string.h>

/* What an unauthenticated datagram must not change. */
struct picture {
    struct session_sender send;
    struct session_path path;
    struct session_receiver receive;
    enum session_state state;
    uint64_t deadline_ns;
    uint32_t pool_used;
};

static void
picture_take(struct end *end, struct picture *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->send, &end->session->send, sizeof(ret->send));
    memcpy(&ret->path, &end->session->path, sizeof(ret->path));
    memcpy(&ret->receive, &end->session->receive, sizeof(ret->receive));
    ret->state = session_state(end->session);
    ret->deadline_ns = session_deadline(end->session);
    ret->pool_used = session_pool_used(end->pool);
}

/* A DATA frame with the next number of an end, as one packet. */
static void
data_packet(struct end *from, uint64_t sequence, struct datagram *ret)
{
    uint8_t frame[WIRE_FRAME_HEADER_BYTES + 8];
    struct wire_header header = next_header(from);

    header.flags = WIRE_FLAG_SEQUENCED;
    header.sequence = sequence;
    wire_frame_header(frame, WIRE_FRAME_DATA, 0, 8);
    put_u64_le(frame + WIRE_FRAME_HEADER_BYTES, sequence - 1);
    forge(from, &header, (struct bytes){frame, sizeof(frame)}, ret);
}

static void
forged_changes_nothing(uint8_t auth)
{
    struct pair_options options = {.auth = auth};
    struct pair pair;
    struct datagram good;
    struct picture before;
    struct picture after;

    pair_open(&pair, &options);
    data_packet(&pair.client, 1, &good);
    picture_take(&pair.server, &before);
    for (uint32_t at = 0; at < good.byte_count; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            struct datagram bad = good;
            bad.bytes[at] ^= (uint8_t)BIT(bit);
            cr_assert_eq(pair_deliver(&pair, &pair.server, &bad), SESSION_DROPPED);
            picture_take(&pair.server, &after);
            cr_assert_arr_eq(&before, &after, sizeof(before), "byte %u", at);
        }
    }
    for (uint32_t cut = 0; cut < good.byte_count; cut++) {
        struct datagram bad = good;
        bad.byte_count = cut;
        cr_assert_eq(pair_deliver(&pair, &pair.server, &bad), SESSION_DROPPED);
        if (cut >= WIRE_HEADER_BYTES) {
            put_u16_le(bad.bytes + 2, (uint16_t)cut);
            cr_assert_eq(pair_deliver(&pair, &pair.server, &bad), SESSION_DROPPED);
        }
        picture_take(&pair.server, &after);
        cr_assert_arr_eq(&before, &after, sizeof(before), "cut to %u", cut);
    }
    const struct session_counters *counters = session_counters(pair.server.session);
    cr_assert_gt(counters->received_forged, 0);
    cr_assert_gt(counters->received_malformed, 0);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &good), SESSION_RECEIVED);
    cr_assert_eq(pair.server.read, 1);
    pair_fini(&pair);
}

Test(session_receive, a_forged_packet_changes_nothing_but_a_counter, .timeout = 20)
{
    forged_changes_nothing(WIRE_AUTH_AEAD);
}

Test(session_receive, a_damaged_packet_changes_nothing_but_a_counter, .timeout = 20)
{
    forged_changes_nothing(WIRE_AUTH_NONE);
}

Test(session_receive, a_packet_of_another_session_is_dropped, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    struct wire_header header = next_header(&pair.client);
    header.session ^= 0x100;
    forge(&pair.client, &header, (struct bytes){0}, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    cr_assert_eq(session_counters(pair.server.session)->received_malformed, 1);
    pair_fini(&pair);
}

Test(session_receive, a_replayed_packet_is_dropped_unopened, .timeout = 10)
{
    struct pair pair;
    struct datagram kept[100];

    pair_open(&pair, NULL);
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(end_write(&pair.client, 1, 50), 1);
        cr_assert(pair_transmit(&pair, &pair.client, &kept[i]));
        cr_assert_eq(pair_deliver(&pair, &pair.server, &kept[i]), SESSION_RECEIVED);
    }
    uint64_t received = session_counters(pair.server.session)->received_packets;
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(pair_deliver(&pair, &pair.server, &kept[i]), SESSION_DROPPED);
    cr_assert_eq(session_counters(pair.server.session)->received_replayed, 100);
    cr_assert_eq(session_counters(pair.server.session)->received_packets, received);
    cr_assert_eq(pair.server.read, 100);
    pair_fini(&pair);
}

Test(session_receive, the_replay_window_has_1024_numbers, .timeout = 10)
{
    struct session_replay replay = {0};

    cr_assert(!session__replay_is_new(&replay, 0), "numbers start at 1");
    session__replay_mark(&replay, 5000);
    cr_assert(!session__replay_is_new(&replay, 5000));
    cr_assert(session__replay_is_new(&replay, 5000 - 1023));
    cr_assert(!session__replay_is_new(&replay, 5000 - 1024), "too old to tell");
    cr_assert(session__replay_is_new(&replay, UINT64_MAX));
    session__replay_mark(&replay, 5000 - 1023);
    cr_assert(!session__replay_is_new(&replay, 5000 - 1023));
    session__replay_mark(&replay, 5001);
    cr_assert(session__replay_is_new(&replay, 5002), "the oldest place is free for the newest");
    cr_assert(session__replay_is_new(&replay, 4999));
    session__replay_mark(&replay, 5000 + 5000);
    for (uint64_t number = 10000 - 1023; number < 10000; number++)
        cr_assert(session__replay_is_new(&replay, number), "all forgotten after a long jump");
}

/* The window against a plain array of what was marked. */
Test(session_receive, the_replay_window_agrees_with_a_list, .timeout = 20)
{
    static bool seen[200000];
    struct session_replay replay = {0};
    struct clock dice;
    uint64_t top = 0;

    clock_init_sim(&dice, 3, 0);
    for (uint32_t i = 0; i < 400000; i++) {
        uint64_t jump = clock_random_below(&dice, 100) == 0 ? 3000 : 40;
        uint64_t number = top + clock_random_below(&dice, jump);
        uint64_t back = clock_random_below(&dice, 3000);
        number = number > back ? number - back : number;
        if (number >= ARRAY_COUNT(seen))
            break;
        bool is_new = number != 0 && (number > top || top - number < SESSION_REPLAY_BITS) &&
                      !seen[number];
        cr_assert_eq(session__replay_is_new(&replay, number), is_new);
        if (!is_new)
            continue;
        session__replay_mark(&replay, number);
        seen[number] = true;
        top = max_u64(top, number);
    }
    cr_assert_gt(top, 1000);
}

/* What ends a session, as frames. */
static void
ends_the_session(const uint8_t *frames, size_t count, bool sequenced)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    cr_assert_eq(end_write(&pair.client, 5, 100), 5); /* slots in use when it happens */
    struct wire_header header = next_header(&pair.client);
    header.flags = sequenced ? WIRE_FLAG_SEQUENCED : 0;
    header.sequence = 1;
    forge(&pair.client, &header, (struct bytes){frames, count}, &datagram);
    pair_deliver(&pair, &pair.server, &datagram);
    cr_assert_eq(session_state(pair.server.session), SESSION_CLOSED);
    cr_assert_eq(session_close_code(pair.server.session), WIRE_CLOSE_PROTOCOL);
    cr_assert_eq(pair.server.read, 0);
    cr_assert(pair_transmit(&pair, &pair.server, &datagram), "the peer is told");
    pair_deliver(&pair, &pair.client, &datagram);
    cr_assert_eq(session_close_code(pair.client.session), WIRE_CLOSE_PROTOCOL);
    cr_assert_eq(session_pool_used(pair.client.pool), 0);
    pair_fini(&pair);
}

Test(session_receive, an_unknown_frame_ends_the_session, .timeout = 10)
{
    ends_the_session((const uint8_t[]){WIRE_FRAME_TYPES, 0, 0, 0}, 4, true);
}

Test(session_receive, a_frame_longer_than_the_packet_ends_the_session, .timeout = 10)
{
    ends_the_session((const uint8_t[]){WIRE_FRAME_DATA, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 12, true);
}

Test(session_receive, a_cut_frame_header_ends_the_session, .timeout = 10)
{
    ends_the_session(
        (const uint8_t[]){WIRE_FRAME_PADDING, 0, 0, 0, WIRE_FRAME_DATA, 0, 0}, 7, true);
}

Test(session_receive, a_frame_for_the_user_without_a_sequence_ends_the_session, .timeout = 10)
{
    ends_the_session((const uint8_t[]){WIRE_FRAME_DATA, 0, 0, 0}, 4, false);
}

Test(session_receive, a_short_ping_ends_the_session, .timeout = 10)
{
    ends_the_session((const uint8_t[]){WIRE_FRAME_PING, 0, 1, 0, 7}, 5, false);
}

Test(session_receive, a_short_close_ends_the_session, .timeout = 10)
{
    ends_the_session((const uint8_t[]){WIRE_FRAME_CLOSE, 0, 1, 0, 7}, 5, false);
}

Test(session_receive, an_ack_of_a_packet_never_sent_ends_the_session, .timeout = 10)
{
    uint8_t frame[WIRE_ACK_BYTES_MAX];
    struct wire_ack ack = {.largest_packet = 1000, .credit = 10};
    ends_the_session(frame, wire_ack_encode(frame, &ack), false);
}

Test(session_receive, a_sack_of_a_sequence_never_sent_ends_the_session, .timeout = 10)
{
    uint8_t frame[WIRE_ACK_BYTES_MAX];
    struct wire_ack ack = {.largest_packet = 1, .credit = 10, .sack = {1}};
    ends_the_session(frame, wire_ack_encode(frame, &ack), false);
}

Test(session_receive, an_ack_number_beyond_what_was_sent_ends_the_session, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    cr_assert_eq(end_write(&pair.server, 1, 100), 1); /* written, but not sent */
    struct wire_header header = next_header(&pair.client);
    header.ack = 2;
    forge(&pair.client, &header, (struct bytes){0}, &datagram);
    pair_deliver(&pair, &pair.server, &datagram);
    cr_assert_eq(session_close_code(pair.server.session), WIRE_CLOSE_PROTOCOL);
    pair_fini(&pair);
}

Test(session_receive, a_sequence_without_credit_is_dropped_unread, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    data_packet(&pair.client, 1 + SESSION_WINDOW_MAX, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    data_packet(&pair.client, UINT64_MAX, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    cr_assert_eq(session_counters(pair.server.session)->dropped_no_credit, 2);
    cr_assert_eq(session_pool_used(pair.server.pool), 0);
    data_packet(&pair.client, SESSION_WINDOW_MAX, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_RECEIVED, "the last one");
    pair_fini(&pair);
}

Test(session_receive, sequence_zero_is_malformed, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;

    pair_open(&pair, NULL);
    data_packet(&pair.client, 0, &datagram);
    cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_DROPPED);
    cr_assert_eq(session_counters(pair.server.session)->received_malformed, 1);
    pair_fini(&pair);
}

Test(session_receive, control_frames_are_left_out_before_and_passed_over_behind, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;
    struct bytes got;
    uint8_t frames[64];

    pair_open(&pair, NULL);
    memset(frames, 0, sizeof(frames));
    struct wire_ping ping = {.token = 77};
    uint32_t count = wire_ping_encode(frames, &ping, 0);
    wire_frame_header(frames + count, WIRE_FRAME_DATA, 0, 8);
    wire_frame_header(frames + count + 12, WIRE_FRAME_PADDING, 0, 3);
    struct wire_header header = next_header(&pair.client);
    header.flags = WIRE_FLAG_SEQUENCED;
    header.sequence = 1;
    forge(&pair.client, &header, (struct bytes){frames, count + 12 + 7}, &datagram);
    cr_assert_eq(session_receive(pair.server.session,
                                 datagram.bytes,
                                 datagram.byte_count,
                                 pair.server.scratch,
                                 UINT32_MAX,
                                 pair.now_ns),
                 SESSION_RECEIVED);
    cr_assert(session_take(pair.server.session, UINT32_MAX, &got));
    cr_assert_eq(got.count, 12 + 7);
    cr_assert_eq(got.at[0], WIRE_FRAME_DATA);
    cr_assert(!session_take(pair.server.session, UINT32_MAX, &got));
    pair_fini(&pair);
}

Test(session_receive, a_sequenced_packet_of_control_frames_alone_is_taken_silently, .timeout = 10)
{
    struct pair pair;
    struct datagram datagram;
    const uint8_t padding[] = {WIRE_FRAME_PADDING, 0, 0, 0};

    pair_open(&pair, NULL);
    for (uint64_t sequence = 2; sequence >= 1; sequence--) { /* out of order as well */
        struct wire_header header = next_header(&pair.client);
        header.flags = WIRE_FLAG_SEQUENCED;
        header.sequence = sequence;
        forge(&pair.client, &header, (struct bytes){padding, sizeof(padding)}, &datagram);
        cr_assert_eq(pair_deliver(&pair, &pair.server, &datagram), SESSION_RECEIVED);
    }
    cr_assert_eq(pair.server.packets_taken, 0);
    cr_assert_eq(pair.server.session->receive.take_next, 3);
    pair_fini(&pair);
}

Test(session_receive, longer_datagrams_than_agreed_are_dropped, .timeout = 10)
{
    struct pair pair;
    static uint8_t datagram[4000];

    pair_open(&pair, NULL);
    struct wire_header header = next_header(&pair.client);
    header.length = 2000;
    wire_header_encode(&header, datagram);
    cr_assert_eq(
        session_receive(
            pair.server.session, datagram, 2000, pair.server.scratch, UINT32_MAX, pair.now_ns),
        SESSION_DROPPED,
        "the scratch buffer is no longer than agreed");
    pair_fini(&pair);
}

Test(session_receive, what_was_not_taken_has_not_arrived, .timeout = 10)
{
    struct pair pair;
    struct datagram first;
    struct datagram second;
    struct wire_header header;
    struct bytes frames;

    pair_open(&pair, NULL);
    data_packet(&pair.client, 1, &first);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(session_receive(pair.server.session,
                                     first.bytes,
                                     first.byte_count,
                                     pair.server.scratch,
                                     UINT32_MAX,
                                     pair.now_ns),
                     SESSION_RECEIVED);
        /* Its user forgets to take it: what it lent is gone with the next datagram. */
        cr_assert_eq(pair_deliver(&pair, &pair.server, &first), SESSION_DROPPED, "a replay");
        pair_advance(&pair, NS_PER_MS);
        cr_assert(pair_transmit(&pair, &pair.server, &second));
        cr_assert_eq(wire_header_decode(second.bytes, second.byte_count, &header, &frames), RC_OK);
        cr_assert_eq(header.ack, 1, "nothing that was not taken is acknowledged");
        data_packet(&pair.client, 1, &first);
    }
    cr_assert_eq(pair_deliver(&pair, &pair.server, &first), SESSION_RECEIVED);
    cr_assert_eq(pair.server.read, 1);
    pair_fini(&pair);
}

Test(session_receive, a_grant_beyond_the_window_is_a_bug, .timeout = 10, .signal = SIGABRT)
{
    struct pair pair;

    pair_open(&pair, NULL);
    session_grant(pair.server.session, SESSION_WINDOW_MAX + 1);
}
