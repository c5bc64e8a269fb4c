/* Goal: a group counts as durable only when it and all before it are on the device, and nothing
 * failed ever becomes success. Method: completions given out by hand: late, short, wrong, out of
 * order; four small files driven round. */
#include "tests/unit/log/journal/rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

Test(journal, any_error_fails_it_for_ever, .timeout = 10)
{
    static const int errors[] = {EIO, ENOSPC, EINVAL, EBADF};

    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        struct rig rig;
        struct journal_done done;
        rig_init(&rig);
        cr_assert_eq(rig_group(&rig, 1, 100), 1);
        rig_add(&rig, 1, 100);
        cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        rig_add(&rig, 1, 100);
        cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        cr_assert_not(rig_finish(&rig, 0, -errors[i], &done));
        cr_assert_neq(journal_failure(rig.journal), RC_OK);
        cr_assert_not(rig_finish(&rig, 0, RIG_FULL, &done));
        cr_assert_eq(journal_durable_through(rig.journal), 1);
        cr_assert_eq(journal_writes_under_way(rig.journal), 0);
        cr_assert_not(journal_can_add(rig.journal));
        cr_assert_eq(journal_submit(rig.journal, NULL, 1), JOURNAL_FAILED);
        journal_poll(rig.journal);
        cr_assert_eq(rig.request_count, 0, "nothing is retried");
        rig_fini(&rig);
    }
}

Test(journal, a_write_that_brings_nothing_again_and_again_fails_it, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;
    uint32_t tries = 0;

    rig_init(&rig);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    for (; rig.request_count > 0; tries++)
        cr_assert_not(rig_finish(&rig, 0, tries % 2 ? 0 : -EINTR, &done));
    cr_assert_eq(tries, 16);
    cr_assert_eq(journal_failure(rig.journal), RC_IO_ERROR);
    rig_fini(&rig);
}

Test(journal, a_result_larger_than_asked_fails_it, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    cr_assert_not(journal_complete(rig.journal, RIG_TAG, 8193, 1, &done));
    cr_assert_eq(journal_failure(rig.journal), RC_IO_ERROR);
    rig_fini(&rig);
}

Test(journal, completion_without_a_write_stops_the_program, .signal = SIGABRT, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    (void)journal_complete(rig.journal, RIG_TAG, 4096, 1, &done);
}

Test(journal, releases_only_the_contiguous_prefix, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig_add(&rig, 1, 200);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    cr_assert_eq(journal_in_flight(rig.journal), 2);
    rig_add(&rig, 1, 300);
    cr_assert_eq(rig_submit(&rig), JOURNAL_BUSY);
    cr_assert(rig_finish(&rig, 1, RIG_FULL, &done));
    cr_assert(done.group == 2 && done.payload_bytes == 200 && done.entry_count == 1);
    cr_assert_eq(journal_durable_through(rig.journal), 0);
    /* Group 3 must not start while 1 is open: its number would say that 1 was durable. */
    cr_assert_eq(rig_submit(&rig), JOURNAL_BUSY);
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    cr_assert_eq(done.group, 1);
    cr_assert_eq(journal_durable_through(rig.journal), 2);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    cr_assert_eq(journal_durable_through(rig.journal), 3);
    rig_fini(&rig);
}

Test(journal, continues_short_writes_from_the_last_whole_block, .timeout = 30)
{
    for (int32_t cut = 512; cut < 4096 + 12288; cut += 512) {
        struct rig rig;
        struct journal_done done;
        rig_init(&rig);
        rig_add(&rig, 1, 9000);
        cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        cr_assert_not(rig_finish(&rig, 0, cut, &done));
        cr_assert_eq(journal_durable_through(rig.journal), 0);
        cr_assert_eq(rig.requests[0].position, 4096 + (uint64_t)cut / 4096 * 4096);
        cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
        cr_assert_eq(done.continued, 1);
        cr_assert_eq(journal_durable_through(rig.journal), 1);
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
        cr_assert(scan.end == JOURNAL_SCAN_END && scan.groups == 1, "cut %d", cut);
        rig_fini(&rig);
    }
}

Test(journal, waits_for_room_in_the_ring, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    rig.room = 0;
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_BUSY);
    cr_assert_eq(journal_in_flight(rig.journal), 0);
    rig.room = 1;
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig.room = 0;
    cr_assert_not(rig_finish(&rig, 0, 4096, &done));
    cr_assert_eq(rig.request_count, 0);
    journal_poll(rig.journal);
    cr_assert_eq(rig.request_count, 0);
    rig.room = 1;
    journal_poll(rig.journal);
    cr_assert_eq(rig.request_count, 1);
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    cr_assert_eq(rig_scan(&rig, rig.epoch, 1).groups, 1);
    rig_fini(&rig);
}

Test(journal, refuses_what_can_never_fit_and_what_is_empty, .timeout = 10)
{
    struct rig rig;
    struct journal_entry entry;

    rig_init(&rig);
    cr_assert_eq(journal_submit(rig.journal, NULL, 1), JOURNAL_EMPTY);
    for (uint32_t i = 0; i < 100; i++) {
        journal_entry_control(&entry, JOURNAL_DROP, 5, 0, 0);
        cr_assert(journal_entry_add(rig.journal, &entry));
    }
    cr_assert_not(journal_can_add(rig.journal));
    cr_assert_not(journal_entry_add(rig.journal, &entry));
    cr_assert_eq(journal_open_entry_count(rig.journal), 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    struct journal_done done;
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    rig_add(&rig, 1, (uint32_t)RIG_FILE_BYTES - 4096);
    cr_assert_eq(rig_submit(&rig), JOURNAL_TOO_LARGE);
    rig_fini(&rig);
}

Test(journal, goes_round_its_files_and_stops_until_one_is_released, .timeout = 30)
{
    struct rig rig;
    uint64_t group = 0;

    rig_init(&rig);
    cr_assert_eq(journal_reclaim_due(rig.journal), UINT32_MAX);
    /* 64 KiB of payload and one block: three groups per file of 256 KiB. */
    for (uint32_t i = 0; i < 12; i++)
        group = rig_group(&rig, 1, 65536);
    cr_assert_eq(group, 12);
    cr_assert_eq(journal_file_of_group(rig.journal, 3), 0);
    cr_assert_eq(journal_file_of_group(rig.journal, 4), 1);
    cr_assert_eq(journal_file_of_group(rig.journal, 13), UINT32_MAX);
    rig_add(&rig, 1, 65536);
    cr_assert_eq(rig_submit(&rig), JOURNAL_NO_FILE);
    cr_assert_eq(journal_reclaim_due(rig.journal), 0);
    journal_release_begin(rig.journal, 0);
    cr_assert_eq(rig_submit(&rig), JOURNAL_NO_FILE);
    cr_assert_eq(journal_reclaim_due(rig.journal), UINT32_MAX, "one at a time");
    journal_release_file(rig.journal, 0);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    struct journal_done done;
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    cr_assert_eq(journal_file_of_group(rig.journal, 13), 0);
    cr_assert_eq(journal_file_of_group(rig.journal, 3), UINT32_MAX);
    cr_assert_eq(journal_file(rig.journal, 0)->sequence, 4);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 4);
    cr_assert(scan.end == JOURNAL_SCAN_END && scan.first == 4 && scan.last == 13);
    rig_fini(&rig);
}

Test(journal, runs_many_laps_with_reclaim, .timeout = 60)
{
    struct rig rig;
    uint64_t replay_from = 1;

    rig_init(&rig);
    for (uint32_t i = 0; i < 300; i++) {
        (void)rig_group(&rig, 1 + i % 3, 20000 + i * 100);
        uint32_t due = journal_reclaim_due(rig.journal);
        if (due == UINT32_MAX)
            continue;
        journal_release_begin(rig.journal, due);
        replay_from = journal_file(rig.journal, due)->last_group + 1;
        journal_release_file(rig.journal, due);
        cr_assert_leq(journal_fill_permille(rig.journal), 500);
        struct rig_scan scan = rig_scan(&rig, rig.epoch, replay_from);
        cr_assert(scan.end == JOURNAL_SCAN_END && scan.first == replay_from, "%s", scan.trail.text);
        cr_assert_eq(scan.last, journal_durable_through(rig.journal));
    }
    cr_assert_gt(replay_from, 200);
    rig_fini(&rig);
}

Test(journal, releasing_out_of_order_stops_the_program, .signal = SIGABRT, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 10; i++)
        (void)rig_group(&rig, 1, 65536);
    journal_release_begin(rig.journal, 1);
}

Test(journal, reclaim_waits_for_groups_that_are_not_durable, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    for (uint32_t i = 0; i < 5; i++)
        (void)rig_group(&rig, 1, 65536);
    rig_add(&rig, 1, 65536);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED); /* 6: fills file 1 */
    rig_add(&rig, 1, 65536);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED); /* 7: opens file 2 */
    cr_assert_eq(journal_reclaim_due(rig.journal), 0);
    journal_release_begin(rig.journal, 0);
    journal_release_file(rig.journal, 0);
    cr_assert_eq(journal_reclaim_due(rig.journal), UINT32_MAX);
    cr_assert(rig_finish(&rig, 1, RIG_FULL, &done));
    cr_assert_eq(journal_durable_through(rig.journal), 5);
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    cr_assert_eq(journal_durable_through(rig.journal), 7);
    rig_fini(&rig);
}
