/* Goal: the checker of pipelines' histories calls each kind of breach by its name and takes what is
 * sound. Method: small histories by hand, each breach by one change to a sound one. Partition 0
 * holds origins, 1 what group 0 made of them, 2 is compacted. */
#include "tests/sim/history_check.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEYS 2u

static struct history history;

static void
set_up(void)
{
    history_init(&history);
    history.compacted = 1u << KEYS;
    history.sources = 1;
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(history, .init = set_up, .fini = tear_down, .timeout = 10);

static uint32_t
begin_session(uint32_t id, int16_t epoch)
{
    uint32_t number = history_add_session(&history, id);
    struct history_session *session = history_session(&history, number);
    session->producer_id = 1000 + id;
    session->epoch = epoch;
    session->answered = ++history.tick;
    return number;
}

static uint32_t
begin_transaction(uint32_t id)
{
    return history_add_transaction(&history, begin_session(id, 0));
}

static uint32_t
write_origin(uint32_t transaction, uint32_t partition)
{
    return history_add_record(
        &history,
        &(struct history_record){
            .transaction = transaction, .partition = partition, .key = -1, .from = -1});
}

static uint32_t
write_key(uint32_t transaction, int32_t key)
{
    return history_add_record(
        &history,
        &(struct history_record){
            .transaction = transaction, .partition = KEYS, .key = key, .from = -1});
}

static uint32_t
transform(uint32_t transaction, uint32_t from, int64_t offset)
{
    return history_add_record(&history,
                              &(struct history_record){.transaction = transaction,
                                                       .partition = 1 - from,
                                                       .key = -1,
                                                       .from = (int32_t)from,
                                                       .from_offset = offset});
}

static void
ask_commit(uint32_t transaction)
{
    history_transaction(&history, transaction)->commit_asked = ++history.tick;
}

static void
commit(uint32_t transaction)
{
    ask_commit(transaction);
    history_transaction(&history, transaction)->committed = ++history.tick;
}

static uint32_t
walk(uint32_t partition, int64_t end, bool is_committed, bool is_final)
{
    const struct history_walk range = {
        .partition = partition, .is_committed = is_committed, .is_final = is_final, .end = end};
    return history_add_walk(&history, &range);
}

/* The last reading of a partition: records by offset from 0 on; 0: nothing stands there. */
static void
read_last(uint32_t partition, const uint32_t *records, uint32_t count, bool is_committed)
{
    uint32_t number = walk(partition, count, is_committed, true);
    for (uint32_t i = 0; i < count; i++)
        if (records[i] != 0)
            (void)history_add_read(&history, number, records[i], i);
}

static uint32_t
offset(uint32_t transaction, int64_t value, bool is_read, bool is_answered)
{
    uint32_t number = history_add_offset(
        &history,
        &(struct history_offset){.value = value, .transaction = transaction, .is_read = is_read});
    if (is_answered)
        history_offset(&history, number)->answered = ++history.tick;
    return number;
}

static void
expect(const char *rule)
{
    bool good = history_judge(&history);
    cr_assert(rule != NULL || good, "sound, but: %s", history.why);
    cr_assert(rule == NULL || (!good && strncmp(history.why, rule, strlen(rule)) == 0),
              "wanted %s, got: %s",
              rule,
              history.why);
}

#define READ_LAST(partition, is_committed, ...)                     \
    read_last(partition,                                            \
              (const uint32_t[]){__VA_ARGS__},                      \
              sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), \
              is_committed)

Test(history, lost_commit_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t record = write_origin(transaction, 0);
    commit(transaction);
    READ_LAST(0, false, record);
    READ_LAST(0, true, 0);
    expect("H1");
}

Test(history, dirty_read_of_an_aborted_transaction_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t record = write_origin(transaction, 0);
    history_transaction(&history, transaction)->is_void = true;
    (void)history_add_read(&history, walk(0, 1, true, false), record, 0);
    expect("H2");
}

Test(history, dirty_read_before_the_commit_was_asked_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t record = write_origin(transaction, 0);
    (void)history_add_read(&history, walk(0, 1, true, false), record, 0);
    commit(transaction);
    READ_LAST(0, true, record);
    expect("H2");
}

Test(history, half_a_transaction_at_the_end_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t one = write_origin(transaction, 0);
    uint32_t two = write_origin(transaction, 1);
    ask_commit(transaction);
    READ_LAST(0, true, one);
    READ_LAST(1, false, two);
    READ_LAST(1, true, 0);
    expect("H3");
}

Test(history, half_a_transaction_in_a_walk_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t one = write_origin(transaction, 0);
    uint32_t two = write_origin(transaction, 0);
    ask_commit(transaction);
    (void)history_add_read(&history, walk(0, 2, true, false), one, 0);
    READ_LAST(0, true, one, two);
    expect("H3");
}

Test(history, cycle_of_reads_is_found)
{
    uint32_t first = begin_transaction(0);
    uint32_t second = begin_transaction(1);
    history.sources = 0; /* how often is judged elsewhere */
    uint32_t one = transform(first, 1, 0);
    uint32_t two = transform(second, 0, 0);
    ask_commit(first);
    ask_commit(second);
    READ_LAST(0, true, one);
    READ_LAST(1, true, two);
    expect("H4");
}

/* An origin, consumed at offset 1 of group 0, and made into that many records. */
static void
consume(uint32_t times, int64_t committed)
{
    uint32_t writer = begin_transaction(0);
    uint32_t worker = begin_transaction(1);
    uint32_t made[2] = {0, 0};
    uint32_t origin = write_origin(writer, 0);
    history_record(&history, origin)->wants_next = true;
    commit(writer);
    (void)offset(worker, 1, false, false);
    for (uint32_t i = 0; i < times; i++)
        made[i] = transform(worker, 0, 0);
    ask_commit(worker);
    READ_LAST(0, true, origin);
    read_last(1, made, 2, true);
    history_offset(&history, offset(0, committed, true, true))->is_final = true;
}

Test(history, record_made_twice_is_found)
{
    consume(2, 1);
    expect("H5");
}

Test(history, record_made_never_is_found)
{
    consume(0, 1);
    expect("H5");
}

Test(history, record_made_without_the_offset_is_found)
{
    consume(1, -1);
    expect("H5");
}

Test(history, record_made_once_is_sound)
{
    consume(1, 1);
    expect(NULL);
}

Test(history, commit_of_a_zombie_is_found)
{
    uint32_t transaction = begin_transaction(0);
    (void)begin_session(0, 1);
    commit(transaction);
    expect("H6");
}

Test(history, record_of_a_zombie_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t record = write_origin(transaction, 0);
    (void)begin_session(0, 1);
    ask_commit(transaction);
    READ_LAST(0, true, record);
    expect("H6");
}

Test(history, epoch_that_falls_is_found)
{
    (void)begin_session(0, 5);
    (void)begin_session(0, 5);
    expect("H6");
}

Test(history, lost_offset_is_found)
{
    (void)offset(0, 7, false, true);
    (void)offset(0, -1, true, true);
    expect("H7");
}

Test(history, older_offset_is_found)
{
    (void)offset(0, 7, false, true);
    (void)offset(0, 8, false, true);
    (void)offset(0, 7, true, true);
    expect("H7");
}

Test(history, offset_of_an_aborted_transaction_is_found)
{
    uint32_t transaction = begin_transaction(0);
    (void)offset(transaction, 7, false, false);
    history_transaction(&history, transaction)->is_void = true;
    (void)offset(0, 7, true, true);
    expect("H7");
}

Test(history, offset_under_way_may_be_there_or_not)
{
    (void)offset(0, 7, false, true);
    (void)offset(0, 8, false, false);
    (void)offset(0, 7, true, true);
    (void)offset(0, 8, true, true);
    expect(NULL);
}

Test(history, lost_key_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t old = write_key(transaction, 3);
    (void)write_key(transaction, 3);
    commit(transaction);
    READ_LAST(KEYS, true, old);
    expect("H8");
}

Test(history, older_value_behind_a_newer_one_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t old = write_key(transaction, 3);
    uint32_t new = write_key(transaction, 3);
    commit(transaction);
    READ_LAST(KEYS, true, new, old);
    expect("H8");
}

Test(history, only_the_newest_of_a_key_is_sound)
{
    uint32_t transaction = begin_transaction(0);
    (void)write_key(transaction, 3);
    uint32_t new = write_key(transaction, 3);
    commit(transaction);
    READ_LAST(KEYS, true, 0, new);
    expect(NULL);
}

Test(history, record_at_two_offsets_is_found)
{
    uint32_t transaction = begin_transaction(0);
    uint32_t record = write_origin(transaction, 0);
    commit(transaction);
    READ_LAST(0, true, record, record);
    expect("H9");
}

Test(history, whole_and_open_transactions_are_sound)
{
    uint32_t first = begin_transaction(0);
    uint32_t second = begin_transaction(1);
    uint32_t one = write_origin(first, 0);
    uint32_t open = write_origin(second, 0);
    uint32_t two = write_origin(first, 1);
    commit(first);
    ask_commit(second); /* never answered, and not carried out */
    READ_LAST(0, false, one, open);
    READ_LAST(0, true, one, 0);
    READ_LAST(1, true, two);
    expect(NULL);
}
