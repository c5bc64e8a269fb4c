/* Goal: every batch that a client sends has exactly one result, the right one, and is stored at
 * most once; what has no room is dropped before any copy and comes again. Method: refusals first,
 * then full rings, then loss, duplication and reordering by seed. */
#include "tests/unit/net/door/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static uint16_t
status_of(const struct fixture_client *client, uint32_t request)
{
    struct wire_commit commit;

    cr_assert(fixture_commit(client, request, &commit), "no result for batch %u", request);
    return commit.status;
}

Test(door_produce, refuses_what_is_stale_too_large_or_damaged, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct fixture_partition *partition = &fixture->partitions[1];
    uint8_t copy[512];

    partition->incarnation++; /* what the client was told is out of date */
    fixture_produce(fixture, client, 1, 1, fixture_batch(10, 0));
    partition->incarnation--;
    struct bytes batch = fixture_batch(10, 0);
    memcpy(copy, batch.at, batch.count);
    copy[batch.count - 1] ^= 1;
    fixture_produce(fixture, client, 2, 0, (struct bytes){copy, batch.count});
    fixture_produce(fixture, client, 3, 0, (struct bytes){batch.at, batch.count - 1});
    fixture_produce_pieces(fixture, client, 4, 0, fixture_batch(600 * 1024, 0));
    fixture_produce(fixture, client, 5, FIXTURE_PARTITIONS - 1, fixture_batch(10, 0));
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(status_of(client, 1), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(status_of(client, 2), KAFKA_ERROR_CORRUPT_MESSAGE);
    cr_assert_eq(status_of(client, 3), KAFKA_ERROR_CORRUPT_MESSAGE);
    cr_assert_eq(status_of(client, 4), KAFKA_ERROR_MESSAGE_TOO_LARGE);
    cr_assert_eq(status_of(client, 5), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches_refused), 5u);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches), 0u);
    fixture_free(fixture);
}

Test(door_produce, a_topic_that_is_gone_takes_nothing_more, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct wire_partition was;

    fixture_topic(fixture, "gone", 20, 1, false);
    was = fixture_partition(fixture, 20);
    fixture_topic_gone(fixture, "gone", 20);
    fixture->partitions[20].incarnation = was.incarnation; /* the client does not know yet */
    fixture_produce(fixture, client, 1, 20, fixture_batch(10, 0));
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(status_of(client, 1), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    fixture_free(fixture);
}

Test(door_produce, tells_offsets_and_what_they_mean, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct wire_commit commit;

    fixture_topic(fixture, "m", 10, 1, true);
    for (uint32_t i = 0; i < 3; i++)
        fixture_produce(fixture, client, i, 0, fixture_batch(100, i));
    fixture_produce(fixture, client, 50, 10, fixture_batch(100, 0));
    fixture_run(fixture, 5 * NS_PER_MS);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(fixture_commit(client, i, &commit));
        cr_assert_eq(commit.status, 0u);
        cr_assert_eq(commit.flags, WIRE_COMMIT_DURABLE);
        cr_assert_eq(commit.base_offset, i);
    }
    cr_assert(fixture_commit(client, 50, &commit));
    cr_assert_eq(commit.flags, 0u, "a memory topic's result must not claim the device");
    fixture->append_rc = RC_SEQUENCE_DUPLICATE;
    fixture_produce(fixture, client, 60, 0, fixture_batch(100, 0));
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert(fixture_commit(client, 60, &commit));
    cr_assert_eq(commit.status, 0u);
    cr_assert_eq(commit.flags, WIRE_COMMIT_DURABLE | WIRE_COMMIT_DUPLICATE);
    fixture->append_rc = RC_SEQUENCE_OUT_OF_ORDER;
    fixture_produce(fixture, client, 61, 0, fixture_batch(100, 0));
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(status_of(client, 61), KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    fixture_free(fixture);
}

Test(door_produce, without_ring_room_data_are_dropped_and_come_again, .timeout = 60)
{
    const struct fixture_options options = {.ring_bytes = 16 * KIB, .reorder_max = 2};
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);
    uint32_t sent = 0;

    fixture->logs_held = true;
    for (; sent < 60; sent++) {
        uint8_t *at = session_reserve(client->session, 1);
        if (at == NULL)
            break;
        session_commit(client->session, 0);
        fixture_produce(fixture, client, sent, 0, fixture_batch(1000, sent));
        fixture_run(fixture, FIXTURE_STEP_NS);
    }
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_lt(fixture_get(&fixture->door->counters.batches), sent, "16 KiB took all of it");
    cr_assert_gt(fixture_get(&fixture->door->counters.no_room) +
                     fixture_get(&fixture->door->counters.no_credit),
                 0u);
    cr_assert_eq(fixture_commits(client), 0u);
    fixture->logs_held = false;
    fixture_run(fixture, 2 * NS_PER_S);
    cr_assert_eq(fixture_commits(client), sent);
    cr_assert_eq(fixture->partitions[0].next_offset, sent, "each batch once");
    fixture_free(fixture);
}

Test(door_produce, results_wait_for_a_client_that_is_deaf_and_bound_its_batches, .timeout = 60)
{
    const struct fixture_options options = {.produces_max = 128};
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);

    fixture->answers_held = true;
    for (uint32_t i = 0; i < 64; i++)
        fixture_produce(fixture, client, i, 0, fixture_batch(40, i));
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_leq(fixture->door->produces.used, 64u);
    uint64_t taken = fixture_get(&fixture->door->counters.batches);
    cr_assert_leq(taken, 64u);
    fixture->answers_held = false;
    fixture_answer_held(fixture);
    fixture_run(fixture, NS_PER_S);
    cr_assert_eq(fixture_commits(client), 64u);
    fixture_free(fixture);
}

Test(door_produce, results_of_a_session_that_ended_reach_nobody, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *first = fixture_join(fixture);
    const struct door_grant revoke = {.session_id = first->id, .revoke = 1};

    fixture->answers_held = true;
    for (uint32_t i = 0; i < 20; i++)
        fixture_produce(fixture, first, i, 0, fixture_batch(40, i));
    fixture_produce_pieces(fixture, first, 20, 0, fixture_batch(9000, 20));
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->held_count, 21u);
    cr_assert_eq(ring_push(&fixture->grants, &revoke, 1), 1u);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    struct fixture_client *second = fixture_join(fixture); /* takes the same place */
    fixture->answers_held = false;
    fixture_answer_held(fixture);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture_commits(second), 0u, "a stranger was told");
    cr_assert_eq(fixture->door->produces.used, 0u);
    cr_assert_eq(fixture->door->messages.used, 0u);
    fixture_free(fixture);
}

Test(door_produce, long_batches_come_in_pieces, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct bytes batch = fixture_batch(300 * 1024, 3);

    fixture_produce_pieces(fixture, client, 1, 2, batch);
    fixture_produce(fixture, client, 2, 2, fixture_batch(10, 4));
    fixture_run(fixture, 50 * NS_PER_MS);
    cr_assert_eq(status_of(client, 1), 0u);
    cr_assert_eq(status_of(client, 2), 0u);
    cr_assert_eq(fixture->partitions[2].next_offset, 2u);
    cr_assert_eq(fixture->door->messages.used, 0u);
    fixture_free(fixture);
}

Test(door_produce, long_batches_wait_for_buffers_and_nothing_overtakes_them, .timeout = 60)
{
    const struct fixture_options options = {.messages_max = 2};
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);
    struct fixture_client *other = fixture_join(fixture);
    struct wire_commit commit;

    fixture->answers_held = true;
    for (uint32_t i = 0; i < 4; i++) {
        fixture_produce_pieces(fixture, client, 2 * i, 0, fixture_batch(5000, i));
        fixture_produce(fixture, client, 2 * i + 1, 0, fixture_batch(20, i));
    }
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(fixture->held_count, 4u, "two long ones and the short ones behind them");
    fixture_produce(fixture, other, 0, 1, fixture_batch(20, 0));
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(fixture->held_count, 5u, "another session must not wait");
    fixture->answers_held = false;
    fixture_answer_held(fixture);
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(fixture_get(&fixture->door->counters.batches_refused), 0u);
    for (uint32_t i = 0; i < 8; i++) {
        cr_assert(fixture_commit(client, i, &commit));
        cr_assert_eq(commit.status, 0u);
        cr_assert_eq(commit.base_offset, i, "in order");
    }
    fixture_free(fixture);
}

Test(door_produce, a_session_that_ends_while_it_waits_for_a_buffer_leaves_nothing, .timeout = 30)
{
    const struct fixture_options options = {.messages_max = 2};
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);

    fixture->answers_held = true;
    for (uint32_t i = 0; i < 3; i++)
        fixture_produce_pieces(fixture, client, i, 0, fixture_batch(5000, i));
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(fixture->door->stashes.used, 1u);
    session_close(client->session, WIRE_CLOSE_BYE, NULL);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->door->stashes.used, 0u);
    fixture_free(fixture);
}

Test(door_produce, a_piece_out_of_place_ends_the_session_and_gives_its_buffer_back, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t frame[256];
    uint8_t bytes[64] = {0};
    struct wire_data_frag frag = {
        .request = 1,
        .partition = fixture_partition(fixture, 0),
        .piece = {.total_bytes = 192, .index = 0, .count = 3, .bytes = {bytes, 64}},
    };

    for (uint32_t i = 0; i < 2; i++, frag.piece.index += 2) {
        uint32_t head = wire_data_frag_encode_head(frame, &frag);
        memcpy(frame + head, bytes, sizeof(bytes));
        fixture_send(fixture, client, frame, head + (uint32_t)sizeof(bytes));
    }
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->close_code, (uint64_t)WIRE_CLOSE_PROTOCOL);
    cr_assert_eq(fixture->door->messages.used, 0u);
    fixture_free(fixture);
}

static void
produce_under_loss(uint64_t seed)
{
    const struct fixture_options options = {
        .seed = seed,
        .faults = {.loss_ppm = 200000,
                   .duplicate_ppm = 300000,
                   .reorder_ppm = 200000,
                   .corrupt_ppm = 20000,
                   .delay_ns = 200 * NS_PER_US,
                   .reorder_ns = 500 * NS_PER_US},
    };
    struct fixture *fixture = fixture_new(&options);
    struct fixture_client *client = fixture_join(fixture);
    enum { BATCHES = 400 };

    printf("seed %llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < BATCHES; i++) {
        struct bytes batch = fixture_batch(i % 50 == 7 ? 20000 : 10 + i, i);
        if (batch.count > 1200)
            fixture_produce_pieces(fixture, client, i, 0, batch);
        else
            fixture_produce(fixture, client, i, 0, batch);
    }
    for (uint32_t i = 0; i < 400 && fixture_commits(client) < BATCHES; i++)
        fixture_run(fixture, 50 * NS_PER_MS);
    cr_assert_eq(fixture_commits(client), BATCHES);
    cr_assert_eq(fixture->partitions[0].next_offset, BATCHES, "each batch once");
    for (uint32_t i = 0; i < BATCHES; i++) {
        struct wire_commit commit;
        cr_assert(fixture_commit(client, i, &commit));
        cr_assert_eq(commit.base_offset, i, "in order");
    }
    fixture_free(fixture);
}

Test(door_produce, each_batch_is_stored_once_and_in_order_on_a_bad_network, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        produce_under_loss(seed);
}
