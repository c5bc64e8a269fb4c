/* Goal: what was aborted is told to readers of committed records however much it is: footers take
 * it over from memory, memory lets it go only when they are listed for good, and a damaged list is
 * never read over. Method: a whole tile on a virtual disk (store_rig.h) with places for few; every
 * committed read is compared with what the test did. */
#include "store_rig.h"

#include "engine/record/record_batch.h"

#include <criterion/criterion.h>
#include <string.h>

#define PLACES 64u
#define PRODUCERS 9u
#define LONG_ID 8
#define ABORTS_MAX 4096u

static struct rig rig;

struct abort_made {
    int64_t producer_id;
    uint64_t first_offset;
    uint64_t last_offset;
};
static struct abort_made made[ABORTS_MAX];
static uint32_t made_count;
static int32_t sequences[PRODUCERS];

static void
start(uint64_t seed)
{
    rig_init(&rig, seed);
    rig.config.transactions_max = 16;
    rig.config.transactions_aborted_max = PLACES;
    rig.config.journal_file_bytes = 256 * KIB;
    cr_assert_eq(rig_open(&rig), RC_OK);
    rig_create(&rig, &(struct log_partition_config){0});
    made_count = 0;
    memset(sequences, 0, sizeof(sequences));
}

/* A batch of a transaction of that producer, admitted if need be. */
static uint64_t
append(int64_t producer_id)
{
    const struct rig_append append = {.bytes = 300,
                                      .records = 2,
                                      .producer_id = producer_id,
                                      .sequence = sequences[producer_id],
                                      .is_transactional = true};

    enum rc rc = rig_admit(&rig, 0, producer_id, 0);
    for (uint32_t i = 0; rc == RC_LIMIT && i < 1000; i++) {
        (void)rig_step(&rig); /* a footer is on its way */
        rc = rig_admit(&rig, 0, producer_id, 0);
    }
    cr_assert_eq(rc, RC_OK, "%s behind %u", rc_name(rc), made_count);
    rig_append_wait(&rig, &append);
    cr_assert_eq(rig.last_ack.rc, RC_OK);
    sequences[producer_id] += 2;
    return rig.last_ack.base_offset;
}

static void
end(int64_t producer_id, uint64_t first_offset, bool is_commit)
{
    const struct rig_marker marker = {.producer_id = producer_id, .is_commit = is_commit};

    cr_assert_eq(rig_mark(&rig, &marker), LOG_APPEND_TAKEN);
    uint64_t offset = rig_partition(&rig, 0)->next_offset - 1;
    rig_settle(&rig);
    if (!is_commit)
        made[made_count++] = (struct abort_made){producer_id, first_offset, offset};
}

static void
abort_many(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int64_t id = 1 + i % 7;
        uint64_t first = append(id);
        end(id, first, i % 5 == 4);
    }
}

static struct log_read_result
read_at(uint64_t offset)
{
    const struct log_read_request request = {.slot = rig.partitions[0].slot,
                                             .incarnation = rig.partitions[0].incarnation,
                                             .offset = offset,
                                             .dst = rig.dst,
                                             .dst_bytes = 1 * MIB,
                                             .max_bytes = 4 * KIB,
                                             .leader_epoch = -1,
                                             .whole_first = true,
                                             .is_committed = true};

    return rig_read_as(&rig, 0, &request);
}

static bool
is_told(const uint8_t *told, uint64_t count, const struct abort_made *wanted)
{
    for (uint64_t i = 0; i < count; i++)
        if (memcmp(told + 16 * i, &wanted->producer_id, 8) == 0 &&
            memcmp(told + 16 * i + 8, &wanted->first_offset, 8) == 0)
            return true;
    return false;
}

/* Reads all from offset on; every read tells just what touches it. */
static void
check(uint64_t offset)
{
    uint64_t end_offset = partition_last_stable(rig_partition(&rig, 0));

    while (offset < end_offset) {
        struct log_read_result result = read_at(offset);
        uint64_t next = offset;
        uint64_t count;
        cr_assert_eq(result.rc, RC_OK, "at %lu: %s", offset, rc_name((enum rc)result.rc));
        cr_assert_gt(result.bytes, 0u);
        for (uint32_t at = 0; at < result.bytes; at += (uint32_t)record_batch_bytes(rig.dst + at))
            next = record_batch_base_offset(rig.dst + at) +
                   (uint64_t)record_batch_last_offset_delta(rig.dst + at) + 1;
        const uint8_t *told = rig.dst + round_up(result.bytes, 8);
        memcpy(&count, told, sizeof(count));
        uint64_t expected = 0;
        for (uint32_t i = 0; i < made_count; i++) {
            if (made[i].last_offset < result.base_offset || made[i].first_offset >= next)
                continue;
            expected++;
            cr_assert(is_told(told + 8, count, &made[i]), "[%lu, %lu): %u", offset, next, i);
        }
        cr_assert_eq(count, expected, "[%lu, %lu)", offset, next);
        offset = next;
    }
}

Test(transaction_footers, take_what_memory_has_no_place_for, .timeout = 60)
{
    start(31);
    abort_many(20 * PLACES);
    cr_assert_leq(rig_log(&rig, 0)->transactions.aborted_live, PLACES);
    cr_assert_gt(made_count, 10 * PLACES);
    cr_assert_gt(rig_partition(&rig, 0)->segments.count, 3u);
    check(0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    cr_assert_leq(rig_log(&rig, 0)->transactions.aborted_live, PLACES);
    check(0);
    rig_settle(&rig);
    rig_stop(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    check(0);
    abort_many(2 * PLACES);
    check(0);
    rig_kill(&rig);
    rig_fini(&rig);
}

Test(transaction_footers, tell_of_a_transaction_whose_marker_lies_segments_behind, .timeout = 60)
{
    start(32);
    abort_many(PLACES);
    uint64_t first = append(LONG_ID);
    abort_many(6 * PLACES);
    end(LONG_ID, first, false);
    abort_many(6 * PLACES);
    cr_assert_gt(rig_partition(&rig, 0)->transactions.aborted_from, first);
    check(0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), RC_OK, "%s", rig.trail.text);
    rig_reopen(&rig);
    check(0);
    check(first);
    rig_kill(&rig);
    rig_fini(&rig);
}

static bool
step_until_footer(void)
{
    for (uint32_t i = 0; i < 200; i++) {
        if (rig_partition(&rig, 0)->seal == SEAL_MANIFEST)
            return true;
        (void)rig_step(&rig);
    }
    return false;
}

/* Aborts without waiting for more than needed until a footer is synced and its manifest is not. */
static bool
abort_until_footer(void)
{
    for (uint32_t i = 0; i < 200; i++) {
        const struct rig_append append = {.bytes = 300,
                                          .records = 2,
                                          .producer_id = 1,
                                          .sequence = sequences[1],
                                          .is_transactional = true};
        const struct rig_marker marker = {.producer_id = 1};
        uint64_t first = rig_partition(&rig, 0)->next_offset;
        cr_assert_eq(rig_admit(&rig, 0, 1, 0), RC_OK);
        cr_assert_eq(rig_try(&rig, &append), LOG_APPEND_TAKEN);
        sequences[1] += 2;
        if (step_until_footer())
            return true;
        cr_assert_eq(rig_mark(&rig, &marker), LOG_APPEND_TAKEN);
        made[made_count++] = (struct abort_made){1, first, first + 2};
        if (step_until_footer())
            return true;
    }
    return false;
}

Test(transaction_footers, are_not_relied_on_before_a_durable_manifest_lists_them, .timeout = 60)
{
    start(33);
    cr_assert(abort_until_footer());
    struct log *log = rig_log(&rig, 0);
    struct partition *partition = rig_partition(&rig, 0);
    const struct segment *sealing = &log->segments.segments[partition->sealing];
    cr_assert(sealing->sealed && sealing->aborted_count > 0);
    cr_assert_not(transaction_is_listed(log, partition, sealing->next_offset - 1));
    uint32_t kept = partition->transactions.aborted_count;
    transaction_forget_listed(log, partition, UINT64_MAX);
    cr_assert_leq(partition->transactions.aborted_from, sealing->base_offset);
    cr_assert_geq(partition->transactions.aborted_count, sealing->aborted_count);
    cr_assert_leq(partition->transactions.aborted_count, kept);
    rig_settle(&rig);
    check(0);
    rig_kill(&rig);
    rig_fini(&rig);
}

Test(transaction_footers, a_damaged_list_fails_the_reads_that_need_it, .timeout = 60)
{
    start(34);
    abort_many(12 * PLACES);
    struct log *log = rig_log(&rig, 0);
    struct partition *partition = rig_partition(&rig, 0);
    const struct segment *oldest = &log->segments.segments[partition->segments.oldest];
    uint64_t next_offset = oldest->next_offset;
    cr_assert_gt(oldest->aborted_count, 0u);
    cr_assert_geq(partition->transactions.aborted_from, next_offset);
    /* The list stands where the footer begins. */
    cr_assert(disk_sim_flip_bit(rig.disk,
                                "partitions/0000000000000064/00000000000000000000.seg",
                                oldest->data_bytes + 9,
                                3));
    struct log_read_result result = read_at(0);
    cr_assert_eq(result.rc, RC_CORRUPT);
    cr_assert_eq(result.bytes, 0u);
    check(next_offset + 64); /* no transaction here is so long that it needs that list */
    rig_kill(&rig);
    rig_fini(&rig);
}
