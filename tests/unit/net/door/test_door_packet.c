/* Goal: what is wrong is answered by silence (or a RETRY) and counted under its reason, and changes
 * nothing. Method: datagrams by hand beside a good session; then the good session still works. */
#include "tests/unit/net/door/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Sends bytes as they are from a carrier's end. */
static void
send_raw(struct fixture *fixture, struct nic *nic, const uint8_t *bytes, uint32_t count)
{
    struct nic_sending send;

    cr_assert_eq(nic_reserve(nic, &send, 1), 1u);
    memcpy(send.bytes, bytes, count);
    send.byte_count = count;
    send.peer = fixture->door_nic->local;
    nic_send(nic, &send, 1);
    (void)nic_flush(nic);
    (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
}

/* How many datagrams came back to this end, and their bytes; they are thrown away. */
static uint32_t
take_raw(struct nic *nic, uint32_t *ret_bytes)
{
    struct nic_received received[NIC_BURST];
    uint32_t count = nic_receive(nic, received, NIC_BURST);

    *ret_bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        *ret_bytes += received[i].byte_count;
    if (count > 0)
        nic_release(nic, received, count);
    return count;
}

/* The next datagram of a client, written but not sent. */
static uint32_t
next_packet(struct fixture *fixture, struct fixture_client *client, uint8_t *datagram)
{
    const struct bytes batch = fixture_batch(20, 1);
    uint8_t *at = session_reserve(client->session, 200);
    const struct wire_data data = {
        .request = 9, .partition = fixture_partition(fixture, 0), .batch = batch};

    cr_assert_not_null(at);
    uint32_t head = wire_data_encode_head(at, &data);
    memcpy(at + head, batch.at, batch.count);
    session_commit(client->session, (uint32_t)(head + batch.count));
    uint32_t bytes = session_transmit(
        client->session, clock_now_ns(&fixture->clock), datagram, NIC_DATAGRAM_BYTES);
    cr_assert_gt(bytes, 0u);
    return bytes;
}

Test(door_packet, an_unknown_session_is_answered_by_silence, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    uint8_t datagram[WIRE_HELLO_BYTES] = {0};
    uint32_t bytes;
    struct wire_header header = {
        .type = WIRE_HELLO, .length = sizeof(datagram), .session = 0xabcd00, .packet_number = 1};

    wire_header_encode(&header, datagram);
    send_raw(fixture, fixture->client_nic, datagram, sizeof(datagram));
    header.type = WIRE_SESSION;
    wire_header_encode(&header, datagram);
    send_raw(fixture, fixture->client_nic, datagram, sizeof(datagram));
    cr_assert_eq(fixture_get(&fixture->door->counters.unknown_session), 2u);
    cr_assert_eq(take_raw(fixture->client_nic, &bytes), 0u, "somebody was answered");
    fixture_free(fixture);
}

Test(door_packet, what_has_no_header_is_counted_as_malformed, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    uint8_t datagram[64] = {0};
    uint32_t bytes;
    uint32_t sent = 0;

    for (uint32_t count = 1; count <= sizeof(datagram); count += 7, sent++)
        send_raw(fixture, fixture->client_nic, datagram, count);
    struct wire_header header = {
        .type = WIRE_READY, .length = sizeof(datagram), .session = 0x1200, .packet_number = 1};
    wire_header_encode(&header, datagram); /* only a server sends READY */
    send_raw(fixture, fixture->client_nic, datagram, sizeof(datagram));
    cr_assert_eq(fixture_get(&fixture->door->counters.malformed), sent + 1u);
    cr_assert_eq(take_raw(fixture->client_nic, &bytes), 0u);
    fixture_free(fixture);
}

Test(door_packet, a_damaged_packet_is_dropped_and_the_good_one_is_taken, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t good[NIC_DATAGRAM_BYTES];
    uint8_t bad[NIC_DATAGRAM_BYTES];
    struct wire_commit commit;
    uint32_t bytes = next_packet(fixture, client, good);

    for (uint32_t at = WIRE_HEADER_BYTES + WIRE_SEQUENCE_BYTES; at < bytes; at += 13) {
        memcpy(bad, good, bytes);
        bad[at] ^= 0x40;
        send_raw(fixture, client->nic, bad, bytes);
    }
    cr_assert_gt(fixture_get(&fixture->door->counters.forged), 5u);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches), 0u, "a forged batch was taken");
    send_raw(fixture, client->nic, good, bytes);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert(fixture_commit(client, 9, &commit));
    cr_assert_eq(commit.status, 0u);
    fixture_free(fixture);
}

Test(door_packet, a_replayed_packet_is_stored_once, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t datagram[NIC_DATAGRAM_BYTES];
    uint32_t bytes = next_packet(fixture, client, datagram);

    for (uint32_t i = 0; i < 20; i++)
        send_raw(fixture, client->nic, datagram, bytes);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches), 1u);
    cr_assert_eq(fixture_get(&fixture->door->counters.replayed), 19u);
    fixture_free(fixture);
}

Test(door_packet, another_address_than_the_validated_one_is_not_listened_to, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t datagram[NIC_DATAGRAM_BYTES];
    struct nic *stranger;
    uint32_t answered;

    cr_assert_eq(nic_memory_add(fixture->net, &stranger), RC_OK);
    uint32_t bytes = next_packet(fixture, client, datagram);
    send_raw(fixture, stranger, datagram, bytes);
    cr_assert_eq(fixture_get(&fixture->door->counters.address_wrong), 1u);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches), 0u);
    cr_assert_eq(take_raw(stranger, &answered), 0u);
    send_raw(fixture, client->nic, datagram, bytes);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches), 1u);
    nic_close(stranger);
    fixture_free(fixture);
}

Test(door_packet, a_hello_without_a_good_cookie_gets_a_short_retry_and_nothing_else, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_grant(fixture, fixture->client_nic);
    uint8_t hello[NIC_DATAGRAM_BYTES];
    uint32_t answered;

    (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
    uint32_t bytes = session_transmit(
        client->session, clock_now_ns(&fixture->clock), hello, sizeof(hello));
    cr_assert_geq(bytes, WIRE_HELLO_BYTES);
    send_raw(fixture, fixture->client_nic, hello, bytes);
    cr_assert_eq(take_raw(fixture->client_nic, &answered), 1u);
    cr_assert_leq(answered, WIRE_RETRY_BYTES_MAX);
    memset(hello + WIRE_HEADER_BYTES, 0x77, WIRE_COOKIE_BYTES);
    send_raw(fixture, fixture->client_nic, hello, bytes);
    cr_assert_eq(fixture_get(&fixture->door->counters.cookies_bad), 1u);
    cr_assert_eq(fixture_get(&fixture->door->counters.retries), 2u);
    cr_assert_eq(fixture_get(&fixture->door->counters.sessions_opened), 0u);
    (void)take_raw(fixture->client_nic, &answered);
    fixture_free(fixture);
}

Test(door_packet, a_frame_that_only_a_server_sends_ends_the_session, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t frame[64];
    const struct wire_commit commit = {.request = 1};

    fixture_send(fixture, client, frame, wire_commit_encode(frame, 0, &commit));
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->close_code, (uint64_t)WIRE_CLOSE_PROTOCOL);
    cr_assert_eq(session_state(client->session), SESSION_CLOSED);
    fixture_free(fixture);
}

Test(door_packet, a_packet_of_another_tile_is_handed_over, .timeout = 30)
{
    const struct fixture_options options = {.door_count = 2};
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t datagram[NIC_DATAGRAM_BYTES];
    struct door_forwarded item;
    struct wire_commit commit;
    uint64_t ticket;

    uint32_t bytes = next_packet(fixture, client, datagram);
    uint8_t *at = byte_ring_reserve(&fixture->forward_bytes[1], bytes, &ticket);
    memcpy(at, datagram, bytes); /* the other door received it */
    item = (struct door_forwarded){
        .ticket = ticket, .byte_count = bytes, .peer = client->nic->local};
    cr_assert_eq(ring_push(&fixture->forward[1], &item, 1), 1u);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert(fixture_commit(client, 9, &commit), "a forwarded packet was not taken");
    datagram[4] = 1; /* the session's tile */
    send_raw(fixture, client->nic, datagram, bytes);
    cr_assert_eq(fixture_get(&fixture->door->counters.wrong_tile), 1u);
    cr_assert_eq(ring_pop(&fixture->forward[0], &item, 1), 1u);
    cr_assert_eq(item.byte_count, bytes);
    cr_assert_arr_eq(byte_ring_at(&fixture->forward_bytes[0], item.ticket), datagram, bytes);
    uint64_t unknown = fixture_get(&fixture->door->counters.unknown_session);
    datagram[4] = 7; /* there is no such tile */
    send_raw(fixture, client->nic, datagram, bytes);
    cr_assert_eq(fixture_get(&fixture->door->counters.unknown_session), unknown + 1);
    fixture_free(fixture);
}
