/* Goal: no client can keep others from what all share, neither by force nor by standing still.
 * Method: one client that gives no credit, or stops in the middle, takes as much as it gets;
 * another one is served beside it all the while, and the first is ended when it made no progress
 * for the idle time. */
#include "tests/unit/net/door/fixture.h"

#include <criterion/criterion.h>

/* Puts a frame into the packet under construction; false: no window. */
static bool
put(struct fixture_client *client, const uint8_t *frame, uint32_t bytes)
{
    uint8_t *at = session_reserve(client->session, bytes);

    if (at == NULL)
        return false;
    memcpy(at, frame, bytes);
    session_commit(client->session, bytes);
    return true;
}

static struct fixture_client *
join_stingy(struct fixture *fixture)
{
    fixture->next_is_stingy = true;
    struct fixture_client *client = fixture_join(fixture);
    fixture->next_is_stingy = false;
    return client;
}

static void
fetch(struct fixture *fixture, struct fixture_client *client, uint32_t request, uint32_t slot)
{
    uint8_t frame[64];
    const struct wire_fetch ask = {
        .request = request, .partition = fixture_partition(fixture, slot), .max_bytes = 1 << 20};

    cr_assert(put(client, frame, wire_fetch_encode(frame, &ask)));
}

static void
metadata(struct fixture *fixture, struct fixture_client *client, uint32_t request)
{
    static uint8_t message[40];

    put_u16_be(message, KAFKA_METADATA);
    fixture_call(fixture, client, request, (struct bytes){message, sizeof(message)});
}

static void
resolve(struct fixture_client *client, uint32_t request)
{
    uint8_t frame[64];
    const struct wire_resolve ask = {.request = request, .topic = {(const uint8_t *)"t", 1}};

    cr_assert(put(client, frame, wire_resolve_encode(frame, &ask)));
}

/* One piece of a batch of three. */
static void
piece(struct fixture *fixture, struct fixture_client *client, uint16_t index)
{
    uint8_t frame[256];
    uint8_t bytes[64] = {0};
    const struct wire_data_frag frag = {
        .request = 1,
        .partition = fixture_partition(fixture, 0),
        .piece = {.total_bytes = 192, .index = index, .count = 3, .bytes = {bytes, 64}},
    };
    uint32_t head = wire_data_frag_encode_head(frame, &frag);

    memcpy(frame + head, bytes, sizeof(bytes));
    fixture_send(fixture, client, frame, head + (uint32_t)sizeof(bytes));
}

/* What a client that stands still has coming: LIMIT, after the idle time and not before. */
static void
must_be_ended(struct fixture *fixture)
{
    cr_assert_eq(fixture->closed_events, 0u, "ended too early");
    fixture_run(fixture, 12 * NS_PER_S);
    cr_assert_eq(fixture->closed_events, 1u, "it stands still for ever");
    cr_assert_eq(fixture->close_code, (uint64_t)WIRE_CLOSE_LIMIT);
}

Test(door_share, results_that_nobody_takes_leave_places_to_others, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *hog = join_stingy(fixture);
    struct fixture_client *other = fixture_join(fixture);
    uint8_t frame[64];
    const uint8_t rubbish = 7;
    struct wire_commit commit;

    for (uint32_t i = 0; i < 3000; i++) {
        const struct wire_data data = {
            .request = i, .partition = fixture_partition(fixture, 0), .batch = {&rubbish, 1}};
        uint32_t head = wire_data_encode_head(frame, &data);
        frame[head] = rubbish;
        if (!put(hog, frame, head + 1))
            fixture_run(fixture, FIXTURE_STEP_NS);
    }
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_gt(fixture->door->produces.used, 100u, "the hog took nothing: the test is blind");
    for (uint32_t i = 0; i < 100; i++)
        fixture_produce(fixture, other, i, 1, fixture_batch(40, i));
    fixture_run(fixture, 50 * NS_PER_MS);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert(fixture_commit(other, i, &commit), "batch %u of another session hangs", i);
    must_be_ended(fixture);
    cr_assert_eq(session_state(other->session), SESSION_OPEN);
    cr_assert_eq(fixture->door->produces.used, 0u);
    fixture_free(fixture);
}

Test(door_share, data_that_nobody_takes_leave_read_buffers_to_others, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *hog = join_stingy(fixture);
    struct fixture_client *other = fixture_join(fixture);

    fixture_produce(fixture, other, 1, 0, fixture_batch(500, 1));
    fixture_run(fixture, 5 * NS_PER_MS);
    for (uint32_t i = 0; i < 12; i++)
        fetch(fixture, hog, i, 0);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_gt(fixture->door->read_buffers.used, 0u);
    for (uint32_t i = 0; i < 20; i++) {
        fetch(fixture, other, i, 0);
        fixture_run(fixture, 5 * NS_PER_MS);
        cr_assert_eq(fixture_count(other, WIRE_FRAME_FETCHED), i + 1, "another's fetch hangs");
    }
    must_be_ended(fixture);
    fixture_free(fixture);
}

Test(door_share, answers_that_nobody_takes_leave_calls_to_others, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *hog = join_stingy(fixture);
    struct fixture_client *other = fixture_join(fixture);

    for (uint32_t i = 0; i < 8; i++)
        metadata(fixture, hog, i);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->calls_seen, 2u, "half of them");
    for (uint32_t i = 0; i < 20; i++) {
        metadata(fixture, other, i);
        fixture_run(fixture, 5 * NS_PER_MS);
        cr_assert_eq(fixture->calls_seen, 3 + i, "another's call was refused");
    }
    must_be_ended(fixture);
    fixture_free(fixture);
}

Test(door_share, a_batch_that_is_never_finished_ends_its_session, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);

    piece(fixture, client, 0);
    fixture_run(fixture, 6 * NS_PER_S);
    piece(fixture, client, 1);
    fixture_run(fixture, 6 * NS_PER_S); /* a piece is progress */
    cr_assert_eq(fixture->door->messages.used, 1u);
    must_be_ended(fixture);
    cr_assert_eq(fixture->door->messages.used, 0u);
    fixture_free(fixture);
}

Test(door_share, who_waits_at_the_tail_or_for_a_slow_log_is_not_ended, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t frame[64];
    const struct wire_subscribe ask = {
        .subscription = 1, .partition = fixture_partition(fixture, 1), .credit_bytes = 1000};
    struct wire_commit commit;

    fixture_send(fixture, client, frame, wire_subscribe_encode(frame, &ask));
    fixture->answers_held = true;
    fixture_produce(fixture, client, 1, 0, fixture_batch(40, 1));
    fixture_run(fixture, 25 * NS_PER_S);
    cr_assert_eq(fixture->closed_events, 0u);
    fixture->answers_held = false;
    fixture_answer_held(fixture);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert(fixture_commit(client, 1, &commit));
    fixture_free(fixture);
}

Test(door_share, a_batch_without_a_buffer_is_refused_when_it_is_complete, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct door *door = fixture->door;
    uint32_t taken[64];
    uint32_t buffers = door->messages.count;
    uint32_t rests = door->stashes.count;
    struct wire_commit commit;

    cr_assert_leq(buffers + rests, ARRAY_COUNT(taken));
    for (uint32_t i = 0; i < buffers + rests; i++)
        taken[i] = slab_take(i < buffers ? &door->messages : &door->stashes);
    piece(fixture, client, 0);
    piece(fixture, client, 1);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_not(fixture_commit(client, 1, &commit), "refused before it was sent");
    piece(fixture, client, 2);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert(fixture_commit(client, 1, &commit));
    cr_assert_eq(commit.status, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED);
    for (uint32_t i = 0; i < buffers + rests; i++)
        slab_give(i < buffers ? &door->messages : &door->stashes, taken[i]);
    fixture_free(fixture);
}

Test(door_share, a_read_that_wants_a_large_buffer_steps_behind_the_others, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct fixture_client *other = fixture_join(fixture);
    uint32_t lent[16];
    uint32_t count = 0;

    fixture_produce_pieces(fixture, client, 1, 0, fixture_batch(200 * 1024, 1));
    fixture_produce(fixture, client, 2, 1, fixture_batch(40, 2));
    fixture_run(fixture, 50 * NS_PER_MS);
    while ((lent[count] = door_message__lend(fixture->door)) != DOOR_NONE)
        count++;
    fetch(fixture, client, 10, 0);
    fixture_run(fixture, 5 * NS_PER_MS);
    fetch(fixture, other, 11, 1);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture_count(other, WIRE_FRAME_FETCHED), 1u, "the one before it holds it up");
    cr_assert_eq(fixture_count(client, WIRE_FRAME_FETCHED), 0u);
    while (count > 0)
        door_message__lend_end(fixture->door, lent[--count]);
    fixture_run(fixture, 50 * NS_PER_MS);
    cr_assert_gt(fixture_count(client, WIRE_FRAME_FETCHED), 100u);
    fixture_free(fixture);
}

Test(door_share, many_questions_in_one_packet_are_all_answered, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    enum { QUESTIONS = 200 };

    for (uint32_t i = 0; i < QUESTIONS; i++)
        resolve(client, i);
    for (uint32_t i = 0; i < QUESTIONS; i++)
        fetch(fixture, client, i, FIXTURE_PARTITIONS - 1); /* refused */
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 0u);
    cr_assert_eq(fixture_count(client, WIRE_FRAME_RESOLVED), QUESTIONS);
    cr_assert_eq(fixture_count(client, WIRE_FRAME_FETCHED), QUESTIONS);
    cr_assert_eq(fixture->door->stashes.used, 0u);
    fixture_free(fixture);
}

Test(door_share, questions_without_credit_wait_and_then_end_their_session, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *hog = join_stingy(fixture);
    struct fixture_client *other = fixture_join(fixture);

    for (uint32_t i = 0; i < 100; i++)
        resolve(hog, i);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->door->stashes.used, 1u, "the rest of its packet");
    resolve(other, 1);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture_count(other, WIRE_FRAME_RESOLVED), 1u);
    must_be_ended(fixture);
    cr_assert_eq(fixture->door->stashes.used, 0u);
    fixture_free(fixture);
}

/* Sends one HELLO again and again; returns how many RETRYs came back. */
static uint32_t
flood(struct fixture *fixture, const uint8_t *hello, uint32_t bytes, uint32_t count)
{
    struct nic *nic = fixture->client_nic;
    struct nic_received received[NIC_BURST];
    struct nic_sending send;
    uint32_t answers = 0;

    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(nic_reserve(nic, &send, 1), 1u);
        memcpy(send.bytes, hello, bytes);
        send.byte_count = bytes;
        send.peer = fixture->door_nic->local;
        nic_send(nic, &send, 1);
        (void)nic_flush(nic);
        (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
        uint32_t got = nic_receive(nic, received, NIC_BURST);
        if (got > 0)
            nic_release(nic, received, got);
        answers += got;
    }
    return answers;
}

Test(door_share, a_flood_of_hellos_for_a_known_session_is_answered_so_often_only, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_grant(fixture, fixture->client_nic);
    uint8_t hello[NIC_DATAGRAM_BYTES];

    (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
    uint32_t bytes = session_transmit(
        client->session, clock_now_ns(&fixture->clock), hello, sizeof(hello));
    cr_assert_eq(flood(fixture, hello, bytes, 1000), DOOR_RETRY_BURST);
    cr_assert_eq(fixture_get(&fixture->door->counters.retries), DOOR_RETRY_BURST);
    cr_assert_eq(fixture_get(&fixture->door->counters.retries_withheld), 1000u - DOOR_RETRY_BURST);
    clock_sim_advance(&fixture->clock, 10 * DOOR_RETRY_NS);
    cr_assert_eq(flood(fixture, hello, bytes, 100), 10u);
    for (uint32_t i = 0; i < 100 && session_state(client->session) != SESSION_OPEN; i++)
        fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(session_state(client->session), SESSION_OPEN, "the client itself must get in");
    fixture_free(fixture);
}

Test(door_share, behind_something_done_no_nap_begins_at_once, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct tile_report report;
    uint64_t now_ns;

    fixture_run(fixture, 50 * NS_PER_MS);
    fixture_produce(fixture, client, 1, 0, fixture_batch(40, 1));
    fixture_client_step(fixture, client);
    now_ns = clock_now_ns(&fixture->clock);
    report = door_tile_ops.poll(fixture->door, now_ns);
    cr_assert_gt(report.work, 0u);
    cr_assert_leq(report.deadline_ns, now_ns);
    clock_sim_advance(&fixture->clock, DOOR_POLL_BUSY_NS - 1000);
    now_ns = clock_now_ns(&fixture->clock);
    report = door_tile_ops.poll(fixture->door, now_ns);
    cr_assert_eq(report.work, 0u);
    cr_assert_leq(report.deadline_ns, now_ns, "a nap before the answer can be there");
    clock_sim_advance(&fixture->clock, 1000);
    now_ns = clock_now_ns(&fixture->clock);
    report = door_tile_ops.poll(fixture->door, now_ns);
    cr_assert_geq(report.deadline_ns, now_ns + DOOR_SEND_RETRY_NS, "it would spin for ever");
    fixture_free(fixture);
}
