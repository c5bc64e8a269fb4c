/* Goal: the first request of the next transaction waits for the end of the last one, but not for
 * long, and is answered once. Method: markers and records by hand. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>

/* A decided transaction whose markers were not sent. */
static struct producer
decided(struct fixture *fixture)
{
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    cr_assert_eq(fixture_view(fixture, "a").state, TRANSACTION_PREPARE_COMMIT);
    return producer;
}

Test(transaction_park, lets_one_request_wait_and_go_on, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = decided(fixture);
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:1"};
    uint64_t first = fixture_add(fixture, &add);
    uint64_t second = fixture_add_offsets(fixture, "a", producer);

    cr_expect(fixture_is_waiting(fixture, first));
    cr_expect_eq(fixture_answer(fixture, second)->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    fixture_ordered(fixture, RC_OK);
    cr_expect(fixture_is_waiting(fixture, first), "the end is not durable");
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, first)->errors[0], 0);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_ONGOING);
}

Test(transaction_park, lets_a_new_producer_wait, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = decided(fixture);
    uint64_t token = fixture_init(fixture, "a", 60000);

    cr_expect(fixture_is_waiting(fixture, token));
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, token)->producer_epoch, producer.epoch + 1);
}

Test(transaction_park, does_not_wait_for_markers_that_were_refused, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = decided(fixture);
    uint64_t first = fixture_add_offsets(fixture, "a", producer);

    cr_expect(fixture_is_waiting(fixture, first));
    fixture_ordered(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, first)->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    uint64_t second = fixture_add_offsets(fixture, "a", producer);
    cr_expect_eq(fixture_answer(fixture, second)->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
}

Test(transaction_park, does_not_wait_for_ever, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = decided(fixture);
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:1"};
    uint64_t token = fixture_add(fixture, &add);

    fixture_pass(fixture, 100);
    cr_expect(fixture_is_waiting(fixture, token));
    fixture_pass(fixture, 150);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    fixture_settle(fixture);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
}

Test(transaction_park, fences_who_waited_when_the_epoch_has_gone_on, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture->by_hand = true;
    fixture_init(fixture, "a", 60000); /* fences the producer */
    fixture_durable(fixture, RC_OK);
    uint64_t token = fixture_add(fixture, &add);
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], KAFKA_ERROR_PRODUCER_FENCED);
}
