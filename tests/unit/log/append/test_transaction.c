/* Goal: a partition takes transactional batches only inside an admitted transaction, ends them by
 * markers that are its own, and tells readers of committed records how far they may go.
 * Method: a whole tile on a virtual disk (store_rig.h), bad input first; the table of transactions
 * against a plain model. */
#include "store_rig.h"

#include "engine/record/record_marker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;

static void
start(uint64_t seed)
{
    rig_init(&rig, seed);
    rig.config.transactions_max = 64;
    rig.config.transactions_aborted_max = 256;
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &(struct log_partition_config){0});
}

static void
stop(void)
{
    rig_kill(&rig);
    rig_fini(&rig);
}

static enum rc
admit(int64_t producer_id, int16_t epoch)
{
    return rig_admit(&rig, 0, producer_id, epoch);
}

/* The result of the append; transactional when is_transactional. */
static enum rc
append(int64_t producer_id, int16_t epoch, int32_t sequence, bool is_transactional)
{
    struct rig_append append = {.bytes = 200,
                                .records = 2,
                                .producer_id = producer_id,
                                .epoch = epoch,
                                .sequence = sequence,
                                .is_transactional = is_transactional};

    if (rig_append(&rig, &append) == LOG_APPEND_REFUSED)
        return (enum rc)rig.last_ack.rc;
    rig_settle(&rig);
    return (enum rc)rig.last_ack.rc;
}

static enum rc
mark(int64_t producer_id, int16_t epoch, int32_t coordinator_epoch, bool is_commit)
{
    struct rig_marker marker = {.producer_id = producer_id,
                                .epoch = epoch,
                                .coordinator_epoch = coordinator_epoch,
                                .is_commit = is_commit};

    if (rig_mark(&rig, &marker) == LOG_APPEND_REFUSED)
        return (enum rc)rig.last_ack.rc;
    rig_settle(&rig);
    return (enum rc)rig.last_ack.rc;
}

static uint64_t
stable(void)
{
    return partition_last_stable(rig_partition(&rig, 0));
}

Test(transaction, takes_no_batch_that_was_not_admitted, .timeout = 20)
{
    start(1);
    cr_expect_eq(append(7, 0, 0, true), RC_TXN_STATE);
    cr_expect_eq(append(0, 0, 0, true), RC_BATCH_INVALID, "without a producer id");
    cr_expect_eq(admit(7, 3), RC_OK);
    cr_expect_eq(admit(7, 3), RC_OK, "known already");
    cr_expect_eq(append(7, 2, 0, true), RC_PRODUCER_EPOCH_STALE);
    cr_expect_eq(append(7, 4, 0, true), RC_TXN_STATE, "of an epoch that nobody admitted");
    cr_expect_eq(append(8, 3, 0, true), RC_TXN_STATE, "another producer");
    cr_expect_eq(append(7, 3, 12, true), RC_OK, "any first sequence");
    cr_expect_eq(append(7, 3, 14, false), RC_TXN_STATE, "plain, inside its own transaction");
    cr_expect_eq(append(7, 3, 14, true), RC_OK);
    cr_expect_eq(append(7, 3, 12, true), RC_SEQUENCE_DUPLICATE);
    cr_expect_eq(append(7, 3, 17, true), RC_SEQUENCE_OUT_OF_ORDER);
    cr_expect_eq(admit(7, 2), RC_PRODUCER_EPOCH_STALE);
    cr_expect_eq(admit(7, 4), RC_TXN_STATE, "an older epoch's is open");
    stop();
}

Test(transaction, takes_no_control_batch_of_a_client, .timeout = 20)
{
    struct log_ack ack;
    uint8_t bytes[RECORD_MARKER_BYTES];
    const struct record_marker marker = {.producer_id = 7, .is_commit = true};

    start(2);
    record_marker_build(&marker, bytes);
    const struct log_append_request request = {
        .slot = rig.partitions[0].slot,
        .incarnation = rig.partitions[0].incarnation,
        .batch = bytes,
        .batch_bytes = sizeof(bytes),
    };
    cr_expect_eq(log_append(rig_log(&rig, 0), &request, &ack), LOG_APPEND_REFUSED);
    cr_expect_eq(ack.rc, RC_BATCH_INVALID);
    stop();
}

Test(transaction, holds_committed_readers_back_until_its_marker_is_durable, .timeout = 20)
{
    start(3);
    cr_assert_eq(append(0, 0, 0, false), RC_OK);
    cr_expect_eq(stable(), 2u);
    cr_assert_eq(admit(7, 0), RC_OK);
    cr_assert_eq(admit(8, 0), RC_OK);
    cr_expect_eq(stable(), 2u, "nothing is written yet");
    cr_assert_eq(append(7, 0, 0, true), RC_OK); /* [2, 4) */
    cr_assert_eq(append(8, 0, 0, true), RC_OK); /* [4, 6) */
    cr_assert_eq(append(0, 0, 0, false), RC_OK);
    cr_expect_eq(stable(), 2u);
    struct rig_marker marker = {.producer_id = 7, .is_commit = true};
    cr_assert_eq(rig_mark(&rig, &marker), LOG_APPEND_TAKEN);
    cr_expect_eq(stable(), 2u, "the marker is not durable");
    cr_expect_eq(admit(7, 0), RC_AGAIN);
    rig_settle(&rig);
    cr_expect_eq(rig.last_ack.rc, RC_OK);
    cr_expect_eq(rig.last_ack.base_offset, 8u);
    cr_expect_eq(stable(), 4u);
    cr_assert_eq(mark(8, 0, 0, false), RC_OK);
    cr_expect_eq(stable(), 10u);
    cr_expect_eq(admit(7, 0), RC_OK);
    cr_expect_eq(append(7, 0, 2, true), RC_OK, "sequences go on behind a marker");
    cr_expect_eq(stable(), 10u);
    rig_verify(&rig, 0);
    stop();
}

Test(transaction, a_marker_fences_by_epoch_and_coordinator_epoch, .timeout = 20)
{
    start(4);
    cr_assert_eq(admit(7, 5), RC_OK);
    cr_assert_eq(append(7, 5, 0, true), RC_OK);
    cr_expect_eq(mark(7, 4, 9, false), RC_PRODUCER_EPOCH_STALE);
    cr_expect_eq(mark(7, 6, 9, false), RC_OK, "a greater epoch ends what the older one began");
    cr_expect_eq(append(7, 5, 2, true), RC_PRODUCER_EPOCH_STALE, "fenced");
    cr_expect_eq(append(7, 5, 2, false), RC_PRODUCER_EPOCH_STALE);
    cr_expect_eq(mark(7, 6, 8, true), RC_COORDINATOR_FENCED);
    cr_expect_eq(mark(7, 6, 9, true), RC_OK, "again, without a transaction");
    cr_assert_eq(admit(7, 6), RC_OK);
    cr_expect_eq(append(7, 6, 3, true), RC_SEQUENCE_OUT_OF_ORDER, "a new epoch begins at 0");
    cr_expect_eq(append(7, 6, 0, true), RC_OK);
    cr_expect_eq(mark(99, 0, 0, true), RC_OK, "a producer that was never here");
    rig_verify(&rig, 0);
    stop();
}

Test(transaction, refuses_more_than_its_tables_hold_and_never_a_marker, .timeout = 20)
{
    rig_init(&rig, 5);
    rig.config.transactions_max = 4;
    rig.config.transactions_aborted_max = 5;
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &(struct log_partition_config){0});
    for (int64_t id = 1; id <= 4; id++) {
        cr_assert_eq(admit(id, 0), RC_OK);
        cr_assert_eq(append(id, 0, 0, true), RC_OK);
    }
    cr_expect_eq(admit(5, 0), RC_LIMIT);
    for (int64_t id = 1; id <= 4; id++)
        cr_assert_eq(mark(id, 0, 0, false), RC_OK);
    cr_expect_eq(admit(5, 0), RC_OK, "four entries are kept, one place is left");
    cr_expect_eq(admit(6, 0), RC_LIMIT);
    cr_expect_eq(mark(5, 0, 0, false), RC_OK);
    cr_expect_eq(admit(6, 0), RC_OK, "an admission alone leaves no entry");
    stop();
}

Test(transaction, tells_the_producers_of_a_partition, .timeout = 20)
{
    struct log_producer told[8];
    struct log_producers walk = {.into = told, .capacity = 8};

    start(6);
    cr_assert_eq(admit(7, 1), RC_OK);
    cr_assert_eq(append(8, 0, 0, false), RC_OK);
    cr_assert_eq(append(7, 1, 0, true), RC_OK);
    cr_assert_eq(mark(8, 0, 4, true), RC_OK);
    cr_expect_eq(log_producers(rig_log(&rig, 0), 77, 1, &walk), RC_UNKNOWN_PARTITION);
    cr_assert_eq(
        log_producers(
            rig_log(&rig, 0), rig.partitions[0].slot, rig.partitions[0].incarnation, &walk),
        RC_OK);
    cr_assert_eq(walk.count, 2u);
    cr_expect_eq(told[0].producer_id, 7);
    cr_expect_eq(told[0].transaction_first_offset, 2u);
    cr_expect_eq(told[0].coordinator_epoch, -1);
    cr_expect_eq(told[0].last_sequence, 1);
    cr_expect_eq(told[1].producer_id, 8);
    cr_expect_eq(told[1].transaction_first_offset, UINT64_MAX);
    cr_expect_eq(told[1].coordinator_epoch, 4);
    stop();
}

Test(transaction, an_idle_producer_is_forgotten_unless_it_has_a_transaction, .timeout = 20)
{
    rig_init(&rig, 7);
    rig.config.transactions_max = 4;
    rig.config.transactions_aborted_max = 4;
    rig.config.producer_age_ns = 60 * NS_PER_S;
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &(struct log_partition_config){0});
    cr_assert_eq(admit(7, 0), RC_OK);
    cr_assert_eq(append(7, 0, 0, true), RC_OK);
    cr_assert_eq(append(8, 0, 0, false), RC_OK);
    cr_expect_eq(rig_log(&rig, 0)->producers.live, 2u);
    clock_sim_advance(&rig.clock, 61 * NS_PER_S);
    cr_assert_eq(append(0, 0, 0, false), RC_OK);
    rig_settle(&rig);
    cr_expect_eq(rig_log(&rig, 0)->producers.live, 1u);
    cr_expect_eq(append(7, 0, 2, true), RC_OK);
    stop();
}

/* ---- readers of committed records */

/* Reads committed records at offset; the entries behind them come out in *ret_skips. */
static struct log_read_result
read_committed(uint64_t offset, uint32_t dst_bytes, const uint8_t **ret_skips, uint64_t *ret_count)
{
    struct log_read_request request = {.slot = rig.partitions[0].slot,
                                       .incarnation = rig.partitions[0].incarnation,
                                       .offset = offset,
                                       .dst = rig.dst,
                                       .dst_bytes = dst_bytes,
                                       .max_bytes = 1 * MIB,
                                       .leader_epoch = -1,
                                       .whole_first = true,
                                       .is_committed = true};
    struct log_read_result result = rig_read_as(&rig, 0, &request);

    *ret_count = 0;
    if (result.rc == RC_OK && result.bytes > 0) {
        const uint8_t *at = rig.dst + round_up(result.bytes, 8);
        memcpy(ret_count, at, sizeof(*ret_count));
        *ret_skips = at + sizeof(*ret_count);
    }
    return result;
}

Test(transaction, committed_reads_end_at_what_is_stable_and_tell_what_to_skip, .timeout = 20)
{
    const uint8_t *skips = NULL;
    uint64_t count;

    start(8);
    for (int64_t id = 1; id <= 10; id++) {
        cr_assert_eq(admit(id, 0), RC_OK);
        cr_assert_eq(append(id, 0, 0, true), RC_OK); /* [2 id - 2, 2 id) */
    }
    for (int64_t id = 1; id <= 9; id++)
        cr_assert_eq(mark(id, 0, 0, id % 2 == 0), RC_OK); /* 20 ... 28; odd ones are aborted */
    struct log_read_result result = read_committed(0, 1 * MIB, &skips, &count);
    cr_assert_eq(result.rc, RC_OK);
    cr_assert_eq(result.bytes, 9 * 200u);
    cr_assert_eq(result.last_stable_offset, 18u);
    cr_assert_eq(result.high_watermark, 29u);
    cr_assert_eq(count, 5u);
    for (uint64_t i = 0; i < count; i++) {
        int64_t id;
        uint64_t first;
        memcpy(&id, skips + 16 * i, 8);
        memcpy(&first, skips + 16 * i + 8, 8);
        cr_assert_eq(id % 2, 1);
        cr_assert_eq(first, 2 * (uint64_t)id - 2);
    }
    cr_assert_eq(read_committed(18, 1 * MIB, &skips, &count).bytes, 0u);
    /* Little memory: fewer batches, but always those whose entries fit. */
    for (uint32_t bytes = 1; bytes < 600; bytes++) {
        result = read_committed(0, bytes, &skips, &count);
        if (result.rc == RC_NO_MEMORY) {
            cr_assert_gt(result.bytes, bytes);
            cr_assert_leq(result.bytes, 200u + 16u + 5 * 16u);
            continue;
        }
        cr_assert_geq(count, 1u);
        cr_assert_leq(round_up(result.bytes, 8) + 8 + 16 * count, bytes);
    }
    cr_assert_eq(mark(10, 0, 0, true), RC_OK);
    result = read_committed(18, 1 * MIB, &skips, &count);
    cr_assert_eq(result.bytes, 200 + 10 * RECORD_MARKER_BYTES);
    cr_assert_eq(count, 5u, "those whose markers are among it");
    stop();
}

Test(transaction, a_committed_reader_is_marked_when_the_last_stable_offset_moves, .timeout = 20)
{
    start(9);
    uint32_t slot = rig.partitions[0].slot;
    uint64_t incarnation = rig.partitions[0].incarnation;
    cr_assert_eq(admit(7, 0), RC_OK);
    cr_assert_eq(append(7, 0, 0, true), RC_OK);
    cr_assert_eq(log_arm_committed(rig_log(&rig, 0), slot, incarnation, 0, 3), RC_OK);
    cr_assert_eq(log_arm(rig_log(&rig, 0), slot, incarnation, 2, 5), RC_OK);
    uint64_t marks = rig.marks;
    cr_assert_eq(append(7, 0, 2, true), RC_OK);
    cr_assert_eq(rig.marks, marks + 1);
    cr_assert_eq(rig.last_mark.waiting, BIT(5), "only who reads everything");
    cr_assert_eq(append(7, 0, 4, true), RC_OK);
    cr_assert_eq(rig.marks, marks + 1);
    cr_assert_eq(mark(7, 0, 0, true), RC_OK);
    cr_assert_eq(rig.marks, marks + 2);
    cr_assert_eq(rig.last_mark.waiting, BIT(3));
    cr_assert_eq(rig.last_mark.last_stable_offset, 7u);
    cr_assert_eq(log_arm_committed(rig_log(&rig, 0), slot, incarnation, 0, 3), RC_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.marks, marks + 3, "it had moved already");
    stop();
}

/* ---- the table alone */

#define MODEL_MAX 24u

struct model_transaction {
    uint32_t at;
    uint64_t first;
    uint64_t marker; /* UINT64_MAX: open */
};

struct model {
    struct model_transaction entries[MODEL_MAX];
    uint32_t count;
};

/* Forgets those whose markers are durable, in the table and in the model. */
static void
model_settle(struct model *model,
             struct transactions *transactions,
             struct partition_transactions *of,
             uint64_t durable)
{
    uint32_t at;

    while ((at = transaction_ended(transactions, of, durable)) != TRANSACTION_NONE) {
        uint32_t found = 0;
        while (model->entries[found].at != at)
            found++;
        cr_assert_lt(model->entries[found].marker, durable);
        transaction_remove(transactions, of, at);
        model->entries[found] = model->entries[--model->count];
    }
}

Test(transaction, the_table_agrees_with_a_plain_model, .timeout = 20)
{
    struct model model = {.count = 0};
    uint64_t next_offset = 0;
    uint64_t durable = 0;
    struct transactions transactions;
    struct partition_transactions of;
    struct sim_rng rng;
    void *memory = calloc(1, transactions_footprint(MODEL_MAX, 64) + 64);

    sim_rng_seed(&rng, 11, 3);
    transactions_init(&transactions, memory, MODEL_MAX, 64);
    partition_transactions_init(&of);
    for (uint32_t round = 0; round < 50000; round++) {
        uint32_t what = (uint32_t)sim_rng_below(&rng, 4);
        uint32_t which = model.count > 0 ? (uint32_t)sim_rng_below(&rng, model.count) : 0;
        if (what == 0 && transactions_have_room(&transactions)) {
            uint32_t at = transaction_add(&transactions, round, 0);
            transaction_open(&transactions, &of, at, next_offset, round);
            model.entries[model.count++] = (struct model_transaction){
                at, next_offset++, UINT64_MAX};
        } else if (what == 1 && model.count > 0 && model.entries[which].marker == UINT64_MAX) {
            const struct aborted_entry entry = {.first_offset = model.entries[which].first,
                                                .last_offset = next_offset};
            transaction_end(&transactions,
                            &of,
                            model.entries[which].at,
                            sim_rng_chance(&rng, 500000) ? &entry : NULL,
                            next_offset);
            model.entries[which].marker = next_offset++;
        } else if (what == 2) {
            durable = next_offset - sim_rng_below(&rng, 1 + min_u64(next_offset - durable, 4));
            model_settle(&model, &transactions, &of, durable);
        } else if (of.aborted_count > 0) {
            transaction_aborted_pop(&transactions, &of);
        }
        uint64_t first = UINT64_MAX;
        uint32_t open = 0;
        for (uint32_t i = 0; i < model.count; i++) {
            first = min_u64(first, model.entries[i].first);
            open += model.entries[i].marker == UINT64_MAX;
        }
        cr_assert_eq(of.first_offset, first, "round %u", round);
        cr_assert_eq(transactions.open, open, "round %u", round);
        cr_assert_eq(transactions.live, model.count);
        cr_assert_leq(transactions.aborted_live, 64u);
    }
    free(memory);
}
