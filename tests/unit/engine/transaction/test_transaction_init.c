/* Goal: a transactional id has one producer at a time, and each new one fences the former. Method:
 * bad requests first; scripted producers; epochs up to their end. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(transaction_init, refuses_bad_ids_and_timeouts, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    static char long_id[TRANSACTION_ID_BYTES_MAX + 2];

    memset(long_id, 'a', sizeof(long_id) - 1);
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, "", 1000))->error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, long_id, 1000))->error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, "a", 0))->error,
                 KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT);
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, "a", 900001))->error,
                 KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT);
    cr_expect_eq(
        fixture_answer(fixture, fixture_init_again(fixture, "a", (struct producer){5, -1}))->error,
        KAFKA_ERROR_INVALID_REQUEST);
    cr_expect_eq(fixture->record_count, 0);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_STATES);
}

Test(transaction_init, answers_when_the_record_is_durable_and_not_before, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    fixture->by_hand = true;
    uint64_t first = fixture_init(fixture, "a", 1000);
    cr_expect(fixture_is_waiting(fixture, first));
    uint64_t second = fixture_init(fixture, "a", 1000);
    cr_expect_eq(fixture_answer(fixture, second)->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, first)->error, 0);
    cr_expect_eq(fixture_answer(fixture, first)->producer_id, 1000);
    cr_expect_eq(fixture_answer(fixture, first)->producer_epoch, 0);
}

Test(transaction_init, forgets_an_id_whose_first_record_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    fixture->by_hand = true;
    uint64_t lost = fixture_init(fixture, "a", 1000);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, lost)->error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture->log_full = true;
    uint64_t full = fixture_init(fixture, "a", 1000);
    cr_expect_eq(fixture_answer(fixture, full)->error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture->log_full = false;
    cr_expect_eq(coordinator_count(fixture->coordinator, TRANSACTION_EMPTY), 0);
    cr_expect_eq(fixture_producer(fixture, "a").epoch, 0);
}

Test(transaction_init, waits_for_a_producer_id, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    fixture->no_ids = true;
    uint64_t token = fixture_init(fixture, "a", 1000);
    cr_expect(fixture_is_waiting(fixture, token));
    fixture->no_ids = false;
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, token)->producer_id, 1000);
}

Test(transaction_init, bumps_the_epoch_and_fences_the_former_producer, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer old = fixture_producer(fixture, "a");
    struct producer new = fixture_producer(fixture, "a");

    cr_expect_eq(old.id, new.id);
    cr_expect_eq(new.epoch, old.epoch + 1);
    struct add add = {.id = "a", .producer = old, .partitions = "t3:0"};
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_PRODUCER_FENCED);
    add.version = 1;
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_INVALID_PRODUCER_EPOCH,
                 "older versions know another code");
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "a", old, true))->error,
                 KAFKA_ERROR_PRODUCER_FENCED);
    cr_expect_eq(fixture_answer(fixture, fixture_add_offsets(fixture, "a", old))->error,
                 KAFKA_ERROR_PRODUCER_FENCED);
    cr_expect_eq(fixture_answer(fixture, fixture_init_again(fixture, "a", old))->error,
                 KAFKA_ERROR_PRODUCER_FENCED);
}

Test(transaction_init, aborts_what_the_former_producer_left_open, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer old = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = old, .partitions = "t3:0,t3:2"};

    cr_assert_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0], 0);
    fixture->by_hand = true;
    uint64_t token = fixture_init(fixture, "a", 60000);
    cr_expect_eq(fixture_answer(fixture, token)->error, KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_EPOCH_FENCE);
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "a", old, true))->error,
                 KAFKA_ERROR_CONCURRENT_TRANSACTIONS,
                 "neither fenced nor not until the record is durable");
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_PREPARE_ABORT);
    fixture_tick(fixture);
    cr_assert_eq(fixture->order_count, 2);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(fixture->orders[i].order.kind, TRANSACTION_MARKER);
        cr_expect_eq(fixture->orders[i].order.producer_epoch, old.epoch + 1, "the marker fences");
        cr_expect(!fixture->orders[i].order.is_commit);
    }
    token = fixture_init(fixture, "a", 60000);
    cr_expect(fixture_is_waiting(fixture, token), "the abort is nearly over");
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, token)->producer_epoch, old.epoch + 2);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->aborts_fenced, 1);
}

Test(transaction_init, goes_on_when_the_fencing_record_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture->by_hand = true;
    fixture_init(fixture, "a", 60000);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_ONGOING);
    fixture->by_hand = false;
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "a", producer, true))->error, 0);
}

Test(transaction_init, lets_a_producer_take_the_next_epoch_and_ask_again, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer first = fixture_producer(fixture, "a");
    const struct fixture_answer *next = fixture_answer(fixture,
                                                       fixture_init_again(fixture, "a", first));
    const struct fixture_answer *again = fixture_answer(fixture,
                                                        fixture_init_again(fixture, "a", first));

    cr_expect_eq(next->producer_epoch, first.epoch + 1);
    cr_expect_eq(again->error, 0, "the answer was lost: it gets the same one");
    cr_expect_eq(again->producer_epoch, first.epoch + 1);
    struct producer other = {first.id + 77, first.epoch};
    cr_expect_eq(fixture_answer(fixture, fixture_init_again(fixture, "a", other))->error,
                 KAFKA_ERROR_PRODUCER_FENCED);
    fixture_producer(fixture, "a");
    cr_expect_eq(fixture_answer(fixture, fixture_init_again(fixture, "a", first))->error,
                 KAFKA_ERROR_PRODUCER_FENCED,
                 "somebody took the id over");
}

Test(transaction_init, changes_the_producer_id_when_its_epochs_are_used_up, .timeout = 60)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    static const uint8_t key[] = {0, 0, 0, 1, 'a'};
    /* The epoch before the last, put there by a record. */
    uint8_t value[] = {0, 0,   0,  0,   0,   0,   0,   0,   3,   232, 0x7f, 0xfd, 0,
                       0, 234, 96, 0,   255, 255, 255, 255, 0,   0,   0,    0,    0,
                       0, 0,   1,  255, 255, 255, 255, 255, 255, 255, 255};
    struct diag_trail trail = {0};

    cr_assert_eq(coordinator_replay(fixture->coordinator,
                                    (struct bytes){key, sizeof(key)},
                                    (struct bytes){value, sizeof(value)},
                                    &trail),
                 RC_OK);
    struct producer last = fixture_producer(fixture, "a");
    cr_expect_eq(last.id, producer.id);
    cr_expect_eq(last.epoch, 32766);
    const struct fixture_answer *next = fixture_answer(fixture,
                                                       fixture_init_again(fixture, "a", last));
    cr_expect_eq(next->error, 0);
    cr_expect_neq(next->producer_id, producer.id);
    cr_expect_eq(next->producer_epoch, 0);
    const struct fixture_answer *again = fixture_answer(fixture,
                                                        fixture_init_again(fixture, "a", last));
    cr_expect_eq(again->error, 0, "asked again after the change");
    cr_expect_eq(again->producer_id, next->producer_id);
    cr_expect_eq(again->producer_epoch, 0);
}

Test(transaction_init, refuses_one_id_too_many_by_its_limit, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    char id[16];

    for (uint32_t i = 0; i < fixture->config.limits.transactions_max; i++) {
        snprintf(id, sizeof(id), "id%u", i);
        fixture_producer(fixture, id);
    }
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, "more", 1000))->error,
                 KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->limits_reached, 1);
    cr_expect_eq(fixture_producer(fixture, "id3").epoch, 1, "known ones go on");
}
