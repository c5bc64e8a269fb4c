/* Goal: no transaction lasts longer than its timeout, no unused id for ever; tools see what is
 * there. Method: a clock set by hand. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>

Test(transaction_time, aborts_what_lasts_too_long_and_fences_its_producer, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a"); /* 60 s */
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture_pass(fixture, 59000);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_ONGOING);
    fixture_pass(fixture, 2000);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_ABORT);
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "a", producer, true))->error,
                 KAFKA_ERROR_PRODUCER_FENCED);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->aborts_expired, 1);
    cr_expect_eq(fixture_producer(fixture, "a").epoch, producer.epoch + 2);
}

Test(transaction_time, waits_for_room_to_abort, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture->log_full = true;
    fixture_pass(fixture, 70000);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_ONGOING);
    fixture->log_full = false;
    fixture_pass(fixture, 2000);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_COMPLETE_ABORT);
}

Test(transaction_time, tells_the_oldest_transaction, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture_pass(fixture, 5000);
    cr_expect_eq(coordinator_oldest_ms(fixture->coordinator), 1000000);
    fixture_end(fixture, "a", producer, true);
    fixture_pass(fixture, 3000);
    cr_expect_eq(coordinator_oldest_ms(fixture->coordinator), INT64_MAX);
}

Test(transaction_time, forgets_ids_that_nobody_uses, .timeout = 10)
{
    struct fixture *fixture = fixture_new(); /* 10 min */
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture_end(fixture, "a", producer, true);
    fixture_pass(fixture, 300000);
    fixture_producer(fixture, "b");
    fixture_pass(fixture, 400000);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_STATES);
    cr_expect_eq(fixture_view(fixture, "b").state, TRANSACTION_EMPTY);
    cr_expect_eq(coordinator_counters(fixture->coordinator)->ids_expired, 1);
    struct fixture *next = fixture_restart(fixture, fixture->record_count);
    cr_expect_eq(fixture_view(next, "a").state, TRANSACTION_STATES, "the tombstone is in the log");
}

Test(transaction_time, keeps_an_id_whose_tombstone_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");

    fixture->by_hand = true;
    fixture_pass(fixture, 700000);
    cr_expect_eq(coordinator_count(fixture->coordinator, TRANSACTION_DEAD), 1);
    cr_expect_eq(fixture_answer(fixture, fixture_init(fixture, "a", 1000))->error,
                 KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    fixture_durable(fixture, RC_NO_SPACE);
    fixture->by_hand = false;
    cr_expect_eq(fixture_producer(fixture, "a").epoch, producer.epoch + 1);
}

Test(transaction_admin, describes_and_lists, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0,t3:1,u1:0"};
    struct kafka_list_transactions_request request = {.duration_filter = -1};
    struct bytes states[] = {text("Ongoing"), text("Nonsense")};
    int64_t other = producer.id + 1;

    cr_expect_eq(fixture_answer(fixture, fixture_describe(fixture, "z"))->error,
                 KAFKA_ERROR_TRANSACTIONAL_ID_NOT_FOUND);
    fixture_add(fixture, &add);
    const struct fixture_answer *one = fixture_answer(fixture, fixture_describe(fixture, "a"));
    cr_expect_str_eq(one->states[0], "Ongoing");
    cr_expect_eq(one->producer_id, producer.id);
    cr_expect_eq(one->start_ms, 1000000);
    cr_expect_eq(one->item_count, 2, "topics");
    cr_expect_eq(one->partition_count, 3);
    fixture_producer(fixture, "b");
    const struct fixture_answer *all = fixture_answer(fixture, fixture_list(fixture, &request));
    cr_expect_eq(all->item_count, 2);
    request.state_filters.at = states;
    request.state_filters.count = 2;
    const struct fixture_answer *open = fixture_answer(fixture, fixture_list(fixture, &request));
    cr_expect_eq(open->item_count, 1);
    cr_expect_eq(open->unknown_count, 1);
    request.state_filters.count = 0;
    request.producer_id_filters.at = &other;
    request.producer_id_filters.count = 1;
    cr_expect_eq(fixture_answer(fixture, fixture_list(fixture, &request))->item_count, 1);
    request.producer_id_filters.count = 0;
    request.duration_filter = 5000;
    cr_expect_eq(fixture_answer(fixture, fixture_list(fixture, &request))->item_count, 0);
    fixture_pass(fixture, 6000);
    cr_expect_eq(fixture_answer(fixture, fixture_list(fixture, &request))->item_count, 1);
    struct transaction_partition_view partition;
    uint32_t cursor = UINT32_MAX;
    uint32_t count = 0;
    while (coordinator_next_partition(fixture->coordinator, text("a"), &cursor, &partition))
        count++;
    cr_expect_eq(count, 3);
}
