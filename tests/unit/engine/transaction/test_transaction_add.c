/* Goal: a partition is in a transaction when its record is durable, and the client hears of it when
 * its log tile knows. Method: bad requests first; records and admissions by hand. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>

Test(transaction_add, refuses_unknown_ids_and_producers, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "b", .producer = producer, .partitions = "t3:0"};

    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    add.id = "";
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_INVALID_REQUEST);
    add.id = "a";
    add.producer.id++;
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_EMPTY);
}

Test(transaction_add, takes_all_partitions_or_none, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0,t3:3,t3:1"};
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_add(fixture, &add));

    cr_expect_eq(answer->errors[0], KAFKA_ERROR_OPERATION_NOT_ATTEMPTED);
    cr_expect_eq(answer->errors[1], KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_expect_eq(answer->errors[2], KAFKA_ERROR_OPERATION_NOT_ATTEMPTED);
    cr_expect_eq(fixture->record_count, 1, "only that of the producer");
}

Test(transaction_add, answers_after_the_record_and_the_admissions, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0,t3:2"};

    fixture->by_hand = true;
    uint64_t token = fixture_add(fixture, &add);
    fixture_tick(fixture);
    cr_expect_eq(fixture->order_count, 0, "nothing is admitted before the record is durable");
    fixture_durable(fixture, RC_OK);
    cr_expect(fixture_is_waiting(fixture, token));
    cr_expect_eq(fixture_answer(fixture, fixture_end(fixture, "a", producer, true))->error,
                 KAFKA_ERROR_CONCURRENT_TRANSACTIONS);
    fixture_tick(fixture);
    cr_assert_eq(fixture->order_count, 2);
    cr_expect_eq(fixture->orders[0].order.kind, TRANSACTION_ADMIT);
    cr_expect_eq(fixture->orders[0].order.producer_id, producer.id);
    cr_expect_eq(fixture->orders[1].order.partition, 2);
    cr_expect(fixture_is_waiting(fixture, token));
    fixture_ordered(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, token)->errors[1], 0);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 2);
    /* The same again needs nothing. */
    uint64_t again = fixture_add(fixture, &add);
    cr_expect_eq(fixture_answer(fixture, again)->errors[0], 0);
    cr_expect_eq(fixture->record_count, 2);
}

Test(transaction_add, forgets_partitions_whose_record_is_lost, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture->by_hand = true;
    add.partitions = "t3:1,t3:2";
    uint64_t token = fixture_add(fixture, &add);
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 1);
    fixture->log_full = true;
    token = fixture_add(fixture, &add);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 1);
}

Test(transaction_add, admits_again_what_was_refused, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture->by_hand = true;
    uint64_t token = fixture_add(fixture, &add);
    fixture_durable(fixture, RC_OK);
    fixture_ordered(fixture, RC_NO_MEMORY);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], KAFKA_ERROR_REQUEST_TIMED_OUT);
    token = fixture_add(fixture, &add);
    cr_expect(fixture_is_waiting(fixture, token));
    fixture_ordered(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, token)->errors[0], 0);
}

Test(transaction_add, refuses_too_large_transactions, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a",
                      .producer = producer,
                      .partitions = "a9:0,a9:1,a9:2,a9:3,a9:4,a9:5,a9:6,a9:7,a9:8,b9:0,b9:1,b9:2"};

    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[11], 0);
    add.partitions = "c9:0,c9:1,c9:2,c9:3,c9:4,c9:5,c9:6,c9:7,c9:8";
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0],
                 KAFKA_ERROR_POLICY_VIOLATION);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 12, "what it had stays");
    add.partitions = "c9:0";
    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0], 0);
}

Test(transaction_add, verifies_for_brokers_without_adding, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0", .version = 4};

    cr_expect_eq(fixture_answer(fixture, fixture_add(fixture, &add))->errors[0], 0);
    add.verify_only = true;
    add.partitions = "t3:0,t3:1";
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_add(fixture, &add));
    cr_expect_eq(answer->errors[0], 0);
    cr_expect_eq(answer->errors[1], KAFKA_ERROR_INVALID_TXN_STATE);
    add.version = 5;
    answer = fixture_answer(fixture, fixture_add(fixture, &add));
    cr_expect_eq(answer->errors[1], KAFKA_ERROR_TRANSACTION_ABORTABLE);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 1);
}

Test(transaction_add, answers_a_batch_once_when_its_last_part_is_done, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer a = fixture_producer(fixture, "a");
    struct producer b = fixture_producer(fixture, "b");
    static const int32_t partition = 0;
    const struct kafka_add_partitions_to_txn_request_topic topic = {
        .name = text("t3"), .partitions = {.at = &partition, .count = 1}};
    const struct kafka_add_partitions_to_txn_request_transaction two[] = {
        {.transactional_id = text("a"),
         .producer_id = a.id,
         .producer_epoch = a.epoch,
         .topics = {.at = &topic, .count = 1}},
        {.transactional_id = text("b"),
         .producer_id = b.id,
         .producer_epoch = (int16_t)(b.epoch + 1),
         .topics = {.at = &topic, .count = 1}},
    };
    const struct kafka_add_partitions_to_txn_request request = {
        .transactions = {.at = two, .count = 2}};
    const struct transaction_call call = {.token = 60000, .version = 4};

    fixture->api[60000] = KAFKA_ADD_PARTITIONS_TO_TXN;
    coordinator_add_partitions(fixture->coordinator, &call, &request, fixture->time);
    cr_expect(fixture_is_waiting(fixture, 60000));
    fixture_settle(fixture);
    cr_expect_eq(fixture_answer(fixture, 60000)->errors[0], 0);
    cr_expect_eq(fixture_answer(fixture, 60000)->errors[1], KAFKA_ERROR_PRODUCER_FENCED);
}

Test(transaction_add, holds_the_offsets_of_groups_like_a_partition, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct coordinator *coordinator = fixture->coordinator;

    cr_expect_eq(coordinator_check_offsets(coordinator, text("a"), producer.id, producer.epoch),
                 KAFKA_ERROR_INVALID_TXN_STATE,
                 "before AddOffsetsToTxn");
    cr_expect_eq(fixture_answer(fixture, fixture_add_offsets(fixture, "a", producer))->error, 0);
    cr_expect_eq(coordinator_check_offsets(coordinator, text("a"), producer.id, producer.epoch), 0);
    cr_expect_eq(coordinator_check_offsets(coordinator, text("a"), producer.id, producer.epoch - 1),
                 KAFKA_ERROR_INVALID_PRODUCER_EPOCH);
    cr_expect_eq(coordinator_check_offsets(coordinator, text("b"), producer.id, producer.epoch),
                 KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    fixture->by_hand = true;
    fixture_end(fixture, "a", producer, true);
    cr_expect_eq(coordinator_check_offsets(coordinator, text("a"), producer.id, producer.epoch),
                 KAFKA_ERROR_INVALID_TXN_STATE,
                 "nothing comes in behind the decision");
    fixture_durable(fixture, RC_OK);
    fixture_tick(fixture);
    cr_assert_eq(fixture->order_count, 1);
    cr_expect_str_eq(fixture->orders[0].topic, "__consumer_offs");
}
