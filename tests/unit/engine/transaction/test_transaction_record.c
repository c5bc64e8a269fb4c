/* Goal: the log alone brings back what was decided, from every prefix of it. Method: damaged
 * records first; golden bytes; a whole life replayed from each of its prefixes. */
#include "tests/unit/engine/transaction/fixture.h"

#include <criterion/criterion.h>

static const uint8_t golden_key[] = {0, 0, 0, 1, 'a'};
/* Producer 1000, epoch 0, 60 s, ONGOING, t3 {0, 2} and u1 {0}, changed and begun at 1,000,000. */
static const uint8_t golden_value[] = {
    0, 0,   0,   0, 0, 0, 0, 0, 3, 232, 0,    0,    0,    0, 234, 96, 1, 0,   0,    0,    2,   0,
    2, 't', '3', 0, 0, 0, 2, 0, 0, 0,   0,    0,    0,    0, 2,   0,  2, 'u', '1',  0,    0,   0,
    1, 0,   0,   0, 0, 0, 0, 0, 0, 0,   0x0f, 0x42, 0x40, 0, 0,   0,  0, 0,   0x0f, 0x42, 0x40};

static enum rc
replay(struct fixture *fixture, const void *key, size_t key_count, const void *value, size_t count)
{
    struct diag_trail trail = {0};

    return coordinator_replay(
        fixture->coordinator, (struct bytes){key, key_count}, (struct bytes){value, count}, &trail);
}

Test(transaction_replay, refuses_damaged_records_and_skips_other_kinds, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    static const uint8_t other_kind[] = {0, 7, 1, 2, 3};
    static const uint8_t newer[] = {0, 9};
    uint8_t bad[sizeof(golden_value)];

    cr_expect_eq(replay(fixture, golden_key, 1, golden_value, sizeof(golden_value)), RC_CORRUPT);
    cr_expect_eq(replay(fixture, other_kind, sizeof(other_kind), newer, 2), RC_OK);
    for (size_t cut = 2; cut < sizeof(golden_key); cut++)
        cr_expect_eq(replay(fixture, golden_key, cut, golden_value, sizeof(golden_value)),
                     RC_CORRUPT);
    for (size_t cut = 1; cut < sizeof(golden_value); cut++)
        cr_expect_eq(replay(fixture, golden_key, sizeof(golden_key), golden_value, cut),
                     RC_CORRUPT,
                     "cut at %zu",
                     cut);
    cr_expect_eq(replay(fixture, golden_key, sizeof(golden_key), newer, 2), RC_NEWER_FORMAT);
    memcpy(bad, golden_value, sizeof(bad));
    bad[16] = 7; /* a state that no record has */
    cr_expect_eq(replay(fixture, golden_key, sizeof(golden_key), bad, sizeof(bad)), RC_CORRUPT);
    cr_expect_eq(
        replay(fixture, golden_key, sizeof(golden_key), golden_value, sizeof(golden_value)), RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").partition_count, 3);
    cr_expect_eq(replay(fixture, golden_key, sizeof(golden_key), NULL, 0), RC_OK);
    cr_expect_eq(fixture_view(fixture, "a").state, TRANSACTION_STATES);
}

Test(transaction_replay, names_the_limit_that_the_log_exceeds, .timeout = 10)
{
    struct coordinator_limits limits = fixture_limits();
    limits.partitions_max = 2;
    struct fixture *fixture = fixture_with(&limits);
    struct diag_trail trail = {0};

    cr_expect_eq(coordinator_replay(fixture->coordinator,
                                    (struct bytes){golden_key, sizeof(golden_key)},
                                    (struct bytes){golden_value, sizeof(golden_value)},
                                    &trail),
                 RC_LIMIT);
    cr_expect_not_null(strstr(trail.text, "transaction.partitions_max"));
}

Test(transaction_record, has_the_form_that_readers_of_kafka_know, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a");
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0,t3:2,u1:0"};

    fixture_add(fixture, &add);
    cr_assert_eq(fixture->record_count, 2);
    const struct fixture_record *record = &fixture->records[1];
    cr_assert_eq(record->key.count, sizeof(golden_key));
    cr_expect_arr_eq(record->key.at, golden_key, sizeof(golden_key));
    cr_assert_eq(record->value.count, sizeof(golden_value));
    cr_expect_arr_eq(record->value.at, golden_value, sizeof(golden_value));
}

/* What must be true after a restart with a prefix of a life's records: the producer that was told
 * its epoch is known, an open transaction is admitted again, a decided one is completed. */
static void
check_prefix(const struct fixture *fixture, uint32_t count, const char *id)
{
    struct fixture *next = fixture_restart(fixture, count);
    struct transaction_view view = fixture_view(next, id);

    if (count == 0) {
        cr_expect_eq(view.state, TRANSACTION_STATES);
        cr_expect(coordinator_settled(next->coordinator));
        return;
    }
    enum transaction_state before = view.state;
    bool is_open = before == TRANSACTION_ONGOING;
    cr_expect_eq(coordinator_settled(next->coordinator), !is_open);
    fixture_tick(next);
    cr_expect_eq(next->order_count, view.partition_count);
    for (uint32_t i = 0; i < next->order_count; i++) {
        cr_expect_eq(next->orders[i].order.kind, is_open ? TRANSACTION_ADMIT : TRANSACTION_MARKER);
        cr_expect_eq(next->orders[i].order.producer_epoch, view.producer_epoch);
        cr_expect_eq(next->orders[i].order.is_commit, before == TRANSACTION_PREPARE_COMMIT);
    }
    fixture_settle(next);
    cr_expect(coordinator_settled(next->coordinator));
    view = fixture_view(next, id);
    if (before == TRANSACTION_PREPARE_COMMIT)
        cr_expect_eq(view.state, TRANSACTION_COMPLETE_COMMIT);
    else if (before == TRANSACTION_PREPARE_ABORT)
        cr_expect_eq(view.state, TRANSACTION_COMPLETE_ABORT);
    else
        cr_expect_eq(view.state, before);
    struct producer producer = {view.producer_id, view.producer_epoch};
    if (is_open)
        cr_expect_eq(fixture_answer(next, fixture_end(next, id, producer, true))->error,
                     0,
                     "the producer goes on after the restart");
}

Test(transaction_replay, goes_on_from_every_prefix_of_a_life, .timeout = 30)
{
    struct fixture *fixture = fixture_new();

    for (int round = 0; round < 3; round++) {
        struct producer producer = fixture_producer(fixture, "a");
        struct add add = {.id = "a", .producer = producer, .partitions = "t3:0,t3:1"};
        fixture_add(fixture, &add);
        add.partitions = "u2:1";
        fixture_add(fixture, &add);
        if (round < 2)
            fixture_end(fixture, "a", producer, round == 0);
    }
    fixture_producer(fixture, "a"); /* fences the last one */
    for (uint32_t count = 0; count <= fixture->record_count; count++)
        check_prefix(fixture, count, "a");
}

Test(transaction_replay, continues_the_time_of_an_open_transaction, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer producer = fixture_producer(fixture, "a"); /* 60 s */
    struct add add = {.id = "a", .producer = producer, .partitions = "t3:0"};

    fixture_add(fixture, &add);
    fixture_pass(fixture, 40000);
    struct fixture *next = fixture_restart(fixture, fixture->record_count);
    fixture_pass(next, 19000);
    cr_expect_eq(fixture_view(next, "a").state, TRANSACTION_ONGOING);
    fixture_pass(next, 3000);
    cr_expect_eq(fixture_view(next, "a").state, TRANSACTION_COMPLETE_ABORT);
}

Test(transaction_rewrite, keeps_all_that_lives, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct producer a = fixture_producer(fixture, "a");
    struct producer b = fixture_producer(fixture, "b");
    struct add add = {.id = "a", .producer = a, .partitions = "t3:0,t3:1"};
    uint64_t cursor = 0;

    fixture_add(fixture, &add);
    fixture_producer(fixture, "c");
    fixture->by_hand = true;
    add = (struct add){.id = "b", .producer = b, .partitions = "t3:2"};
    fixture_add(fixture, &add); /* its record is under way */
    uint32_t before = fixture->record_count - 1;
    fixture->log_full = true;
    cr_expect(!coordinator_rewrite(fixture->coordinator, &cursor));
    fixture->log_full = false;
    cr_expect(coordinator_rewrite(fixture->coordinator, &cursor));
    fixture_settle(fixture);
    /* Only what stands from there on is left. */
    uint32_t count = fixture->record_count - before;
    memmove(fixture->records, fixture->records + before, count * sizeof(fixture->records[0]));
    struct fixture *next = fixture_restart(fixture, count);
    fixture_settle(next);
    cr_expect_eq(fixture_view(next, "a").partition_count, 2);
    cr_expect_eq(fixture_view(next, "b").state,
                 TRANSACTION_ONGOING,
                 "the record under way is not overtaken by an older one");
    cr_expect_eq(fixture_view(next, "c").state, TRANSACTION_EMPTY);
}
