/* Goal: recovery replays every acknowledged group, calls a torn end a torn end and damage damage,
 * and never brings back a group of an older epoch. The names carry the rules S1..S8 of
 * journal_scan.h. Method: groups written through the journal on a virtual disk, then cut, flipped
 * or overwritten by hand. */
#include "engine/base/hash.h"
#include "tests/unit/log/journal/rig.h"

#include <criterion/criterion.h>

#define GROUP_BYTES 8192u /* of a group with one small batch: table and payload */

/* Position of the n-th small group of a file, from 0. */
static uint64_t
at(uint64_t n)
{
    return JOURNAL_FIRST_POSITION + n * GROUP_BYTES;
}

static void
expect(const struct rig_scan *scan, enum journal_scan_result end, uint64_t last)
{
    cr_assert_eq(scan->begin_rc, RC_OK, "%s", scan->trail.text);
    cr_assert_eq(scan->end, end, "%d: %s", (int)scan->end, scan->trail.text);
    cr_assert_eq(scan->groups == 0 ? 0 : scan->last, last, "%s", scan->trail.text);
    cr_assert_eq(scan->end == JOURNAL_SCAN_CORRUPT, scan->trail.text[0] != 0);
}

/* S7 at every sector: group 3 is torn, 2 is the end. What was not stored is what the file held
 * before: zeros. */
Test(journal_scan, S7_torn_last_group_is_the_end_at_every_sector, .timeout = 60)
{
    for (uint64_t stored = 0; stored <= 3 * 4096; stored += 512) {
        struct rig rig;
        rig_init(&rig);
        (void)rig_group(&rig, 1, 100);
        (void)rig_group(&rig, 1, 100);
        rig_add(&rig, 1, 7000);
        cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        rig_store(&rig, 0, stored);
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
        /* 7,000 bytes end in sector 14 of the payload; what is behind is padding and may be lost.
         */
        uint64_t needed = 4096 + 14 * 512;
        expect(&scan, JOURNAL_SCAN_END, stored >= needed ? 3 : 2);
        cr_assert_eq(scan.next_number, stored >= needed ? 4 : 3);
        rig_fini(&rig);
    }
}

/* As above over the remains of an older lap, whose sectors are valid groups in themselves. */
Test(journal_scan, S7_torn_group_over_old_groups_is_the_end_at_every_sector, .timeout = 120)
{
    for (uint64_t stored = 0; stored < 2 * 4096; stored += 512) {
        struct rig rig;
        rig_init(&rig);
        for (uint32_t i = 0; i < 4 * 31; i++) /* 31 small groups per file */
            (void)rig_group(&rig, 1, 100);
        journal_release_begin(rig.journal, 0);
        journal_release_file(rig.journal, 0);
        (void)rig_group(&rig, 1, 100); /* 125, over group 1 */
        rig_add(&rig, 1, 3000);
        cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        rig_store(&rig, 0, stored); /* 126, over group 2 */
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 32);
        expect(&scan, JOURNAL_SCAN_END, stored >= 4096 + 3072 ? 126 : 125);
        cr_assert_eq(scan.first, 32);
        rig_fini(&rig);
    }
}

Test(journal_scan, S7_second_group_whole_but_first_torn_is_the_end, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    (void)rig_group(&rig, 1, 100);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED); /* 2 */
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED); /* 3, submitted while 2 is under way */
    rig_store(&rig, 1, GROUP_BYTES);
    rig_store(&rig, 0, 4096);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    rig_fini(&rig);
}

Test(journal_scan, S6_next_header_that_knew_it_durable_proves_damage, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    (void)rig_group(&rig, 1, 100);
    (void)rig_group(&rig, 1, 100);
    (void)rig_group(&rig, 1, 100); /* 3 was submitted with durable_through = 2 */
    rig_flip(&rig, 2 - 2, at(1) + 20);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 1);
    rig_fini(&rig);
}

Test(journal_scan, S6_header_two_further_proves_damage, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 4; i++)
        (void)rig_group(&rig, 1, 100);
    rig_zero(&rig, 0, at(1), 2 * GROUP_BYTES); /* 2 and 3 are gone, 4 is there */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 1);
    rig_fini(&rig);
}

Test(journal_scan, S6_proof_may_stand_in_the_next_file, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 33; i++) /* 31 fit the first file */
        (void)rig_group(&rig, 1, 100);
    rig_zero(&rig, 0, at(30), GROUP_BYTES); /* 31: the last of file 0 */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 30);
    rig_zero(&rig, 1, at(0), GROUP_BYTES); /* 32: the first of file 1; 33 still proves it */
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 30);
    rig_zero(&rig, 1, at(1), GROUP_BYTES); /* nothing is left to prove anything */
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 30);
    rig_fini(&rig);
}

Test(journal_scan, S6_lost_first_group_of_a_file_is_damage, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 40; i++)
        (void)rig_group(&rig, 1, 100);
    rig_flip(&rig, 1, at(0) + 70);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 31);
    scan = rig_scan(&rig, rig.epoch, 32); /* and when replay should start exactly there */
    expect(&scan, JOURNAL_SCAN_CORRUPT, 0);
    rig_fini(&rig);
}

Test(journal_scan, S6_every_header_of_the_middle_matters, .timeout = 60)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 80; i++)
        (void)rig_group(&rig, 1, 100);
    for (uint64_t group = 1; group < 80; group++) {
        uint32_t file_idx = journal_file_of_group(rig.journal, group);
        uint64_t n = group - journal_file(rig.journal, file_idx)->first_group;
        rig_flip(&rig, file_idx, at(n) + 33);
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
        expect(&scan, JOURNAL_SCAN_CORRUPT, group - 1);
        rig_flip(&rig, file_idx, at(n) + 33);
    }
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 80);
    rig_fini(&rig);
}

Test(journal_scan, S8_damaged_batch_hurts_its_partition_only, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    (void)rig_group(&rig, 1, 100);
    rig_add(&rig, 1, 100);
    rig_add(&rig, 2, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    (void)rig_group(&rig, 3, 100);
    rig_flip(&rig, 0, at(1) + 4096 + 150); /* in the second batch of group 2 */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    cr_assert(scan.end == JOURNAL_SCAN_END && scan.last == 3 && scan.bad == 1);
    rig_flip(&rig, 0, at(1) + 4096 + 50); /* and in the first */
    scan = rig_scan(&rig, rig.epoch, 1);
    cr_assert(scan.end == JOURNAL_SCAN_END && scan.last == 3 && scan.bad == 2);
    rig_fini(&rig);
}

Test(journal_scan, S1_groups_of_an_older_epoch_never_come_back, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    uint64_t old_epoch = rig.epoch;
    for (uint32_t i = 0; i < 5; i++)
        (void)rig_group(&rig, 1, 100);
    struct rig_scan scan = rig_scan(&rig, old_epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 5);
    rig_restart(&rig, scan.next_number);
    scan = rig_scan(
        &rig, rig.epoch, 6); /* the new epoch is empty: 1..5 stay where they are, unseen */
    expect(&scan, JOURNAL_SCAN_END, 0);
    cr_assert_eq(scan.next_number, 6);
    (void)rig_group(&rig, 1, 100); /* 6, over 1; 2..5 of the old epoch follow it intact */
    scan = rig_scan(&rig, rig.epoch, 6);
    expect(&scan, JOURNAL_SCAN_END, 6);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig_store(&rig, 0, 512); /* 7 is torn, old 3 and 4 behind it are whole */
    scan = rig_scan(&rig, rig.epoch, 6);
    expect(&scan, JOURNAL_SCAN_END, 6);
    rig_fini(&rig);
}

Test(journal_scan, S2_journal_newer_than_the_checkpoint_is_damage, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    uint64_t old_epoch = rig.epoch;
    (void)rig_group(&rig, 1, 100);
    rig_restart(&rig, 2);
    struct rig_scan scan = rig_scan(&rig, old_epoch, 1);
    expect(&scan,
           JOURNAL_SCAN_END,
           1); /* nothing was written in the new epoch: the old one is whole */
    (void)rig_group(&rig, 1, 100);
    scan = rig_scan(&rig, old_epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 0);
    rig_fini(&rig);
}

Test(journal_scan, S3_starts_anywhere_and_steps_over_damage_before, .timeout = 60)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 70; i++)
        (void)rig_group(&rig, 1, 100);
    for (uint64_t from = 1; from <= 71; from++) {
        struct rig_scan scan = rig_scan(&rig, rig.epoch, from);
        expect(&scan, JOURNAL_SCAN_END, from == 71 ? 0 : 70);
        cr_assert_eq(scan.groups, 71 - from);
    }
    rig_flip(&rig, 0, at(4) + 9); /* 5: its data is in the segments, says the checkpoint */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 6);
    expect(&scan, JOURNAL_SCAN_END, 70);
    scan = rig_scan(&rig, rig.epoch, 8);
    expect(&scan, JOURNAL_SCAN_END, 70);
    rig_fini(&rig);
}

Test(journal_scan, S3_replay_point_that_was_overwritten_is_damage, .timeout = 20)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 12; i++)
        (void)rig_group(&rig, 1, 65536);
    journal_release_begin(rig.journal, 0);
    journal_release_file(rig.journal, 0);
    (void)rig_group(&rig, 1, 65536); /* 13 over 1: a checkpoint that asks for 1..3 is too old */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 2);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 0);
    rig_fini(&rig);
}

Test(journal_scan, misdirected_group_is_not_taken, .timeout = 10)
{
    struct rig rig;
    struct journal_done done;

    rig_init(&rig);
    (void)rig_group(&rig, 1, 100);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig.requests[0].position += 4096; /* the device stores it one block further */
    cr_assert(rig_finish(&rig, 0, RIG_FULL, &done));
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    (void)rig_group(&rig, 1, 100); /* 3 proves that 2 had been acknowledged */
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 1);
    rig_fini(&rig);
}

Test(journal_scan, missing_file_is_damage_when_it_held_groups, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 9; i++)
        (void)rig_group(&rig, 1, 65536);
    cr_assert_eq(disk_unlink(rig.disk, "journal-2-1"), RC_OK);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 3);
    rig_fini(&rig);
}

Test(journal_scan, damaged_file_header_hides_nothing, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    (void)rig_group(&rig, 1, 100);
    rig_flip(&rig, 0, 5);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    rig_zero(&rig, 0, 0, 4096);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    rig_fini(&rig);
}

Test(journal_scan, file_of_another_index_is_refused, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    cr_assert_eq(disk_rename(rig.disk, "journal-2-1", "journal-2-3"), RC_OK);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    cr_assert_eq(scan.begin_rc, RC_CORRUPT);
    cr_assert_neq(scan.trail.text[0], 0);
    rig_fini(&rig);
}

Test(journal_scan, no_files_is_an_empty_journal, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    cr_assert_eq(journal_remove_files(rig.disk, 2), RC_OK);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 7);
    expect(&scan, JOURNAL_SCAN_END, 0);
    cr_assert_eq(scan.next_number, 7);
    rig_fini(&rig);
}

Test(journal_scan, read_error_is_an_error_not_an_end, .timeout = 30)
{
    struct rig rig;

    rig_init(&rig);
    for (uint32_t i = 0; i < 40; i++)
        (void)rig_group(&rig, 1, 100);
    for (uint64_t skip = 0; skip < 100; skip++) {
        struct disk_sim_plan plan = {
            .classes = DISK_SIM_READ, .skip = skip, .count = UINT64_MAX, .error = 5};
        uint32_t number = disk_sim_plan_add(rig.disk, &plan);
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
        bool struck = disk_sim_plan_hits(rig.disk, number) > 0;
        disk_sim_heal(rig.disk);
        if (!struck) {
            expect(&scan, JOURNAL_SCAN_END, 40);
            cr_assert_gt(skip, 3);
            break;
        }
        cr_assert(scan.begin_rc == RC_IO_ERROR || scan.end == JOURNAL_SCAN_ERROR);
    }
    rig_fini(&rig);
}

/* One field of a group header: little endian, `count` bytes. */
struct fact {
    const char *what;
    size_t field;
    size_t count;
    uint64_t value;
};

/* Changes a field of a stored one-block header table and puts its CRC right. */
static void
forge(struct rig *rig, uint32_t file_idx, uint64_t position, const struct fact *fact)
{
    static _Alignas(8) uint8_t table[FORMAT_BLOCK_BYTES];
    char path[FORMAT_PATH_MAX];
    size_t got;
    int fd;

    format_path_journal(path, 2, file_idx);
    cr_assert_eq(disk_open(rig->disk, path, DISK_READ, &fd), RC_OK);
    cr_assert_eq(disk_read(rig->disk, fd, table, sizeof(table), position, &got), RC_OK);
    disk_close(rig->disk, fd);
    memcpy(table + fact->field, &fact->value, fact->count);
    put_u32_le(table + 60, hash_crc32c(hash_crc32c(0, table, 60), table + 64, sizeof(table) - 64));
    rig_poke(rig, file_idx, position, table, sizeof(table));
}

/* A group that is whole in itself but wrong in one fact is no group here, with the file's last
 * group and with the first of the next file. Nothing follows it, so it reads as the end. */
Test(journal_scan, S4_group_that_is_wrong_in_one_fact_is_not_taken, .timeout = 30)
{
    static const struct fact facts[] = {
        {"tile", 6, 2, 3},
        {"older epoch", 8, 8, 0x55},
        {"number before", 16, 8, 30},
        {"file use before", 44, 4, UINT32_MAX},
        {"file use four later, same file", 44, 4, 1000},
        {"chain", 48, 4, 0x12345678},
        {"block", 52, 4, 9},
    };

    for (uint64_t group = 31; group <= 32; group++) { /* 31 ends file 0, 32 begins file 1 */
        for (size_t i = 0; i < ARRAY_COUNT(facts); i++) {
            struct rig rig;
            uint32_t file_idx = group == 31 ? 0 : 1;
            struct fact fact = facts[i];
            rig_init(&rig);
            for (uint64_t n = 1; n <= group; n++)
                (void)rig_group(&rig, 1, 100);
            if (fact.value == 1000)
                fact.value = file_idx + 4;
            forge(&rig, file_idx, group == 31 ? at(30) : at(0), &fact);
            struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
            cr_assert_eq(scan.end, JOURNAL_SCAN_END, "%s: %s", facts[i].what, scan.trail.text);
            cr_assert_eq(scan.last, group - 1, "%s", facts[i].what);
            rig_fini(&rig);
        }
    }
}

/* Each proof of S6 alone, and neither of them in another epoch. */
Test(journal_scan, S6_each_proof_counts_alone_and_only_in_its_epoch, .timeout = 10)
{
    static const struct fact zero = {"durable_through", 24, 8, 0};
    static const struct fact two = {"durable_through", 24, 8, 2};
    static const struct fact other_epoch = {"epoch", 8, 8, 0x77};

    struct rig rig;
    rig_init(&rig);
    for (uint32_t i = 0; i < 4; i++)
        (void)rig_group(&rig, 1, 100);
    rig_zero(&rig, 0, at(1), 2 * GROUP_BYTES); /* 2 and 3 are gone */
    forge(&rig, 0, at(3), &zero);              /* 4 claims nothing but its number */
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 1);
    forge(&rig, 0, at(3), &other_epoch);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    rig_fini(&rig);

    rig_init(&rig);
    for (uint32_t i = 0; i < 3; i++)
        (void)rig_group(&rig, 1, 100);
    rig_zero(&rig, 0, at(1), GROUP_BYTES); /* 2 is gone; 3 says only what it knew */
    forge(&rig, 0, at(2), &zero);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    forge(&rig, 0, at(2), &two);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_CORRUPT, 1);
    rig_fini(&rig);
}

/* The case that epochs exist for: group 2 of the old epoch is whole behind a torn group 1 and
 * stands just where group 2 of the new epoch will. */
Test(journal_scan, S1_whole_group_behind_a_torn_one_never_comes_back, .timeout = 10)
{
    struct rig rig;

    rig_init(&rig);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig_add(&rig, 1, 100);
    cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
    rig_store(&rig, 1, GROUP_BYTES);
    struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 0);
    rig_restart(&rig, scan.next_number);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 0);
    cr_assert_eq(rig_group(&rig, 1, 100), 1);
    scan = rig_scan(&rig, rig.epoch, 1);
    expect(&scan, JOURNAL_SCAN_END, 1);
    rig_fini(&rig);
}

/* S6 and S7 together, by chance: any crash of two groups under way is a torn end, never damage. */
Test(journal_scan, any_state_of_two_groups_under_way_is_a_torn_end, .timeout = 120)
{
    uint64_t seed = 20261;
    struct sim_rng rng;

    sim_rng_seed(&rng, seed, 1);
    cr_log_info("seed %lu", (unsigned long)seed);
    for (uint32_t round = 0; round < 150; round++) {
        struct rig rig;
        rig_init(&rig);
        uint64_t acked = sim_rng_below(&rng, 5) + 29; /* near the end of file 0 */
        for (uint64_t i = 0; i < acked; i++)
            (void)rig_group(&rig, 1, 100);
        for (uint32_t i = 0; i < 2; i++) {
            rig_add(&rig, 1, 100 + (uint32_t)sim_rng_below(&rng, 9000));
            cr_assert_eq(rig_submit(&rig), JOURNAL_SUBMITTED);
        }
        for (uint32_t i = 0; i < 2; i++)
            rig_store(&rig, i, 512 * sim_rng_below(&rng, rig.requests[i].bytes / 512 + 1));
        struct rig_scan scan = rig_scan(&rig, rig.epoch, 1);
        cr_assert_eq(scan.end, JOURNAL_SCAN_END, "round %u: %s", round, scan.trail.text);
        cr_assert_eq(scan.bad, 0);
        cr_assert(scan.last >= acked && scan.last <= acked + 2, "round %u", round);
        rig_fini(&rig);
    }
}
