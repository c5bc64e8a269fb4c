/* Goal: a decision that was told stands, and every partition hears of it. Method: the table of
 * EndTxn row by row; markers that are refused, late, or for topics that are gone. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>

static struct producer
open_transaction(struct fixture *fixture, const char *partitions)
{
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = partitions};

    cr_assert_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0], 0);
    return producer;
}

static int16_t
end_error(struct fixture *fixture, struct producer producer, bool commit)
{
    return fixture_answer(fixture, fixture_end(fixture, "a", producer, commit))->error;
}

Test(transaction_end, refuses_without_a_transaction, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct producer other = {producer.id + 1, producer.epoch};

    cr_expect_eq(end_error(fixture, producer, true), KAFKA_ERROR_INVALID_TXN_STATE, "row EMPTY");
    cr_expect_eq(end_error(fixture, producer, false), KAFKA_ERROR_INVALID_TXN_STATE, "row EMPTY");
    cr_expect_eq(end_error(fixture, other, true), KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "b", producer, true))->error,
                 KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
}

Test(transaction_end, answers_when_the_decision_is_durable, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0,t3:1");

    fixture->by_hand = true;
    uint64_t token = fixture_end(fixture, "a", producer, true);
    fixture_tick(fixture);
    cr_expect(fixture_is_waiting(fixture, token));
    cr_expect_eq(fixture->order_count, 0, "no marker before the decision is durable");
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, token)->error, 0);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_PREPARE_COMMIT);
    cr_expect_eq(end_error(fixture, producer, true),
                 KAFKA_ERROR_CONCURRENT_TRANSACTIONS,
                 "row PREPARE_COMMIT");
    cr_expect_eq(
        end_error(fixture, producer, false), KAFKA_ERROR_INVALID_TXN_STATE, "row PREPARE_COMMIT");
    fixture_tick(fixture);
    cr_assert_eq(fixture->order_count, 2);
    cr_expect(fixture->orders[0].order.is_commit);
    cr_expect_eq(fixture->orders[0].order.producer_epoch, producer.epoch);
    fixture_ordered(fixture, RC_OK);
    cr_expect_eq(
        fixture_view(fixture, "a").state, TRANSACTION_PREPARE_COMMIT, "the end is not durable yet");
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(end_error(fixture, producer, true), 0, "row COMPLETE_COMMIT");
    cr_expect_eq(
        end_error(fixture, producer, false), KAFKA_ERROR_INVALID_TXN_STATE, "row COMPLETE_COMMIT");
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 0);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->markers, 2);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->commits, 1);
}

Test(transaction_end, aborts_and_is_told_so_again, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0");

    fixture->by_hand = true;
    uint64_t token = fixture_end(fixture, "a", producer, false);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, token)->error, 0);
    cr_expect_eq(
        end_error(fixture, producer, true), KAFKA_ERROR_INVALID_TXN_STATE, "row PREPARE_ABORT");
    cr_expect_eq(end_error(fixture, producer, false),
                 KAFKA_ERROR_CONCURRENT_TRANSACTIONS,
                 "row PREPARE_ABORT");
    fixture_settle(fixture);
    cr_expect_eq(end_error(fixture, producer, false), 0, "row COMPLETE_ABORT");
    cr_expect_eq(
        end_error(fixture, producer, true), KAFKA_ERROR_INVALID_TXN_STATE, "row COMPLETE_ABORT");
    cr_expect_eq(coordinator_counters(fixture->coordinator)->aborts_asked, 1);
}

Test(transaction_end, stays_open_when_the_decision_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0");

    fixture->by_hand = true;
    uint64_t token = fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, token)->error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_ONGOING);
    fixture->log_full = true;
    cr_expect_eq(end_error(fixture, producer, true), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture->log_full = false;
    fixture->by_hand = false;
    cr_expect_eq(end_error(fixture, producer, false), 0, "nothing was decided");
}

Test(transaction_end, repeats_refused_markers_until_they_are_taken, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0,t3:1");

    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    for (int i = 0; i < 5; i++) {
        fixture_ordered(fixture, i % 2 == 0 ? RC_NO_SPACE : RC_FENCED);
        fixture_tick(fixture);
        cr_assert_eq(fixture->order_count, 0, "not at once");
        fixture_pass(fixture, 100);
        cr_assert_eq(fixture->order_count, 2);
    }
    cr_expect_eq(coordinator_counters(fixture->coordinator)->orders_repeated, 10);
    fixture_settle(fixture);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
}

Test(transaction_end, is_done_with_partitions_that_are_gone_or_beyond, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0,x3:1");

    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    fixture_ordered(fixture, RC_UNKNOWN_PARTITION);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
    fixture->by_hand = false;
    producer = open_transaction(fixture, "t3:0");
    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    fixture_ordered(fixture, RC_PRODUCER_EPOCH_STALE);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
}

Test(transaction_end, offers_the_end_again_when_its_record_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0");

    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    fixture->log_full = true;
    fixture_ordered(fixture, RC_OK);
    fixture_tick(fixture);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_PREPARE_COMMIT);
    fixture->log_full = false;
    fixture_tick(fixture);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_PREPARE_COMMIT);
    fixture_pass(fixture, 200);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(fixture->orders_seen, 2, "one admission and one marker");
}

Test(transaction_end, keeps_orders_within_their_limit, .timeout = 10)
{
    struct coordinator_limits limits = fixture_limits();
    limits.orders_max = 3;
    struct fixture *fixture = fixture_with(&limits);
    struct producer producer = open_transaction(fixture, "t9:0,t9:1,t9:2,t9:3,t9:4,t9:5,t9:6");
    uint64_t before = fixture->orders_seen;

    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    fixture_durable(fixture, RC_OK);
    for (int i = 0; i < 3; i++) {
        fixture_tick(fixture);
        fixture_tick(fixture);
        cr_expect_leq(fixture->order_count, 3);
        fixture_ordered(fixture, RC_OK);
    }
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture->orders_seen - before, 7);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
}

Test(transaction_end, is_not_held_up_by_another_transaction_that_finds_no_room, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = open_transaction(fixture, "t3:0");
    struct producer other = fixture_producer(fixture, "b");
    struct add add = {.id = "b", .producer = other, .partitions = "x3:0"};

    fixture_add(fixture, &add);
    fixture->by_hand = true;
    fixture->orders_busy = true;
    fixture_end(fixture, "a", producer, true);
    fixture_end(fixture, "b", other, true);
    fixture_durable(fixture, RC_OK);
    fixture_tick(fixture);
    fixture->orders_busy = false;
    fixture_settle(fixture);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(fixture_view(fixture, "b").state, TRANSACTION_COMPLETE_COMMIT);
}
