/* Goal: what is fetched and subscribed is what the log gave, in order, within credit, and wakes at
 * the tail. Method: refusals first; then batches of all sizes through pieces, compared with the
 * partition of the played log tile. */
#include "tests/unit/net/door/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void
subscribe(struct fixture *fixture,
          struct fixture_client *client,
          uint32_t subscription,
          uint32_t slot,
          uint64_t credit_bytes)
{
    uint8_t frame[64];
    const struct wire_subscribe ask = {
        .subscription = subscription,
        .partition = fixture_partition(fixture, slot),
        .credit_bytes = credit_bytes,
    };

    fixture_send(fixture, client, frame, wire_subscribe_encode(frame, &ask));
}

static void
credit(struct fixture *fixture,
       struct fixture_client *client,
       uint32_t subscription,
       uint64_t credit_bytes,
       uint8_t flags)
{
    uint8_t frame[64];
    const struct wire_credit more = {.subscription = subscription, .credit_bytes = credit_bytes};

    fixture_send(fixture, client, frame, wire_credit_encode(frame, &more, flags));
}

static void
fetch(struct fixture *fixture, struct fixture_client *client, uint32_t request, uint32_t slot)
{
    uint8_t frame[64];
    const struct wire_fetch ask = {
        .request = request,
        .partition = fixture_partition(fixture, slot),
        .max_bytes = 1 << 20,
    };

    fixture_send(fixture, client, frame, wire_fetch_encode(frame, &ask));
}

/* Puts the pieces for a request together; *ret_status is the last one's. */
static uint32_t
collect(const struct fixture_client *client, uint32_t request, uint8_t *to, uint16_t *ret_status)
{
    uint32_t bytes = 0;
    uint32_t next = 0;

    *ret_status = UINT16_MAX;
    for (uint32_t i = 0; i < client->frame_count; i++) {
        const struct fixture_frame *keep = &client->frames[i];
        const struct wire_frame frame = {
            .type = keep->type, .flags = keep->flags, .body = {keep->body, keep->count}};
        struct wire_fetched fetched;
        if (keep->type != WIRE_FRAME_FETCHED)
            continue;
        cr_assert_eq(wire_fetched_decode(&frame, &fetched), RC_OK);
        if (fetched.request != request)
            continue;
        cr_assert_eq(fetched.piece.index, next, "pieces in order");
        next = fetched.piece.index + 1u == fetched.piece.count ? 0 : next + 1;
        memcpy(to + bytes, fetched.piece.bytes.at, fetched.piece.bytes.count);
        bytes += (uint32_t)fetched.piece.bytes.count;
        *ret_status = fetched.status;
    }
    cr_assert_eq(next, 0u, "an unfinished message");
    return bytes;
}

static void
fill(struct fixture *fixture, struct fixture_client *client, uint32_t slot, uint32_t batches)
{
    for (uint32_t i = 0; i < batches; i++) {
        struct bytes batch = fixture_batch(i % 10 == 9 ? 50000 : 500, i);
        if (batch.count > 1200)
            fixture_produce_pieces(fixture, client, 10000 + i, slot, batch);
        else
            fixture_produce(fixture, client, 10000 + i, slot, batch);
    }
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(fixture->partitions[slot].next_offset, batches);
}

static uint8_t *
room(void)
{
    return kept(malloc(FIXTURE_LOG_BYTES));
}

Test(door_read, refuses_partitions_that_are_not_there_and_too_many_subscriptions, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t *data = room();
    uint16_t status;

    fetch(fixture, client, 1, FIXTURE_PARTITIONS - 1);
    for (uint32_t i = 0; i < 5; i++)
        subscribe(fixture, client, 10 + i, 0, 1000);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(collect(client, 14, data, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED);
    cr_assert_eq(fixture_get(&fixture->door->gauges.subscriptions), 4u);
    subscribe(fixture, client, 10, 1, 1000); /* the name is in use */
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture->close_code, (uint64_t)WIRE_CLOSE_PROTOCOL);
    fixture_free(fixture);
}

Test(door_read, a_fetch_gives_what_is_there_and_an_empty_one_at_the_end, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t *data = room();
    uint16_t status;

    fetch(fixture, client, 1, 0);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 0u);
    cr_assert_eq(status, 0u);
    fill(fixture, client, 0, 20);
    fetch(fixture, client, 2, 0);
    fixture_run(fixture, 50 * NS_PER_MS);
    uint32_t bytes = collect(client, 2, data, &status);
    cr_assert_eq(status, 0u);
    cr_assert_gt(bytes, 50000u);
    cr_assert_arr_eq(data, fixture->partitions[0].bytes, bytes);
    fixture_free(fixture);
}

Test(door_read, a_batch_longer_than_a_read_buffer_takes_a_large_one, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct fixture_partition *partition = &fixture->partitions[0];
    uint8_t *data = room();
    uint16_t status;

    fixture_produce_pieces(fixture, client, 1, 0, fixture_batch(400 * 1024, 1));
    fixture_run(fixture, 50 * NS_PER_MS);
    fetch(fixture, client, 2, 0);
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(collect(client, 2, data, &status), partition->byte_count);
    cr_assert_eq(status, 0u);
    cr_assert_arr_eq(data, partition->bytes, partition->byte_count);
    struct bytes huge = fixture_batch(1200 * 1024, 1); /* came in by the other door */
    memcpy(partition->bytes, huge.at, huge.count);
    partition->byte_count = (uint32_t)huge.count;
    fetch(fixture, client, 3, 0);
    fixture_run(fixture, 100 * NS_PER_MS);
    cr_assert_eq(collect(client, 3, data, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_MESSAGE_TOO_LARGE);
    fixture_free(fixture);
}

Test(door_read, a_subscription_reads_on_at_the_tail, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t *data = room();
    uint16_t status;

    subscribe(fixture, client, 7, 1, UINT64_MAX);
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert(fixture->partitions[1].armed, "nobody waits for the first record");
    cr_assert_eq(fixture->door->read_buffers.used, 0u, "a buffer is held at the tail");
    for (uint32_t i = 0; i < 10; i++) {
        fixture_produce(fixture, client, i, 1, fixture_batch(100, i));
        fixture_run(fixture, 5 * NS_PER_MS);
        cr_assert_eq(collect(client, 7, data, &status), fixture->partitions[1].byte_count);
    }
    fill(fixture, client, 3, 30);
    subscribe(fixture, client, 8, 3, UINT64_MAX);
    fixture_run(fixture, 200 * NS_PER_MS);
    cr_assert_eq(collect(client, 8, data, &status), fixture->partitions[3].byte_count);
    cr_assert_arr_eq(data, fixture->partitions[3].bytes, fixture->partitions[3].byte_count);
    cr_assert_eq(collect(client, 7, data, &status), fixture->partitions[1].byte_count);
    cr_assert_arr_eq(data, fixture->partitions[1].bytes, fixture->partitions[1].byte_count);
    fixture_free(fixture);
}

Test(door_read, without_credit_nothing_is_sent, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t *data = room();
    uint16_t status;

    fill(fixture, client, 0, 9);
    uint32_t batch_bytes = fixture->partitions[0].byte_count / 9;
    subscribe(fixture, client, 1, 0, 0);
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 0u);
    credit(fixture, client, 1, 2 * batch_bytes, 0);
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 2 * batch_bytes);
    credit(fixture, client, 1, 2 * batch_bytes + 1, 0); /* the last batch may exceed it */
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 3 * batch_bytes);
    credit(fixture, client, 1, UINT64_MAX, 0);
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 9 * batch_bytes);
    fixture_free(fixture);
}

Test(door_read, an_ended_subscription_is_forgotten_and_its_name_is_free, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);

    for (uint32_t i = 0; i < 20; i++) {
        subscribe(fixture, client, 3, 0, i % 2 == 0 ? UINT64_MAX : 0);
        if (i % 3 != 0)
            fixture_run(fixture, 5 * NS_PER_MS);
        credit(fixture, client, 3, 0, WIRE_CREDIT_END);
        credit(fixture, client, 99, 5, WIRE_CREDIT_END); /* never was */
    }
    fixture_run(fixture, 10 * NS_PER_MS);
    cr_assert_eq(fixture_get(&fixture->door->gauges.subscriptions), 0u);
    cr_assert_eq(fixture->door->readers.used, 0u);
    cr_assert_eq(fixture->closed_events, 0u);
    fixture_free(fixture);
}

Test(door_read, a_subscription_of_a_topic_that_goes_is_told_so, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    uint8_t *data = room();
    uint16_t status;

    fixture_topic(fixture, "g", 30, 1, false);
    subscribe(fixture, client, 1, 30, UINT64_MAX);
    fixture_run(fixture, 5 * NS_PER_MS);
    fixture_topic_gone(fixture, "g", 30);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(collect(client, 1, data, &status), 0u);
    cr_assert_eq(status, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture_get(&fixture->door->gauges.subscriptions), 0u);
    fixture_free(fixture);
}

Test(door_read, a_session_that_ends_while_the_log_reads_leaves_its_buffer_to_the_log, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    const struct door_grant revoke = {.session_id = client->id, .revoke = 1};

    fill(fixture, client, 0, 5);
    fixture->logs_held = true;
    subscribe(fixture, client, 1, 0, UINT64_MAX);
    fetch(fixture, client, 2, 0);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(ring_push(&fixture->grants, &revoke, 1), 1u);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->door->orphans, 2u);
    cr_assert_eq(fixture->door->read_buffers.used, 2u);
    fixture->logs_held = false;
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->door->orphans, 0u);
    cr_assert_eq(fixture->door->read_buffers.used, 0u);
    fixture_free(fixture);
}
