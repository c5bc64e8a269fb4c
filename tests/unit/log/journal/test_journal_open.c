/* Goal: the files are there whole or not at all, are reused when they fit, and made anew when they
 * do not. Method: every disk operation of the making fails once; crashes by seed; foreign and
 * damaged header blocks. */
#include "tests/unit/log/journal/rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

struct opened {
    struct journal *journal;
    void *memory;
    enum rc rc;
};

static struct opened
open_on(struct disk *disk, uint64_t file_bytes)
{
    static struct io io;
    struct journal_config config = {
        .io = &io, .disk = disk, .file_bytes = file_bytes, .entries_max = 200};
    struct opened opened;
    struct diag_trail trail;

    diag_trail_clear(&trail);
    opened.memory = aligned_alloc(4096, round_up(journal_footprint(&config), 4096));
    opened.journal = journal_init(opened.memory, &config);
    opened.rc = journal_open_files(opened.journal, 1, 1, &trail);
    cr_assert(opened.rc == RC_OK || trail.text[0] != 0, "a failure has a cause");
    return opened;
}

static void
close_it(struct opened *opened)
{
    journal_fini(opened->journal);
    free(opened->memory);
}

Test(journal_open, an_error_at_any_step_is_reported_and_the_next_try_heals, .timeout = 60)
{
    uint64_t steps = 0;

    for (uint64_t skip = 0; skip < 1000; skip++) {
        struct disk_sim_config config = {.seed = 1};
        struct disk *disk;
        cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
        struct disk_sim_plan plan = {
            .classes = DISK_SIM_CLASS_ALL, .skip = skip, .count = 1, .error = EIO};
        uint32_t number = disk_sim_plan_add(disk, &plan);
        struct opened opened = open_on(disk, 65536);
        bool struck = disk_sim_plan_hits(disk, number) > 0;
        cr_assert_eq(struck, opened.rc != RC_OK, "step %lu", (unsigned long)skip);
        close_it(&opened);
        cr_assert_eq(disk_sim_open_descriptors(disk), 0, "step %lu", (unsigned long)skip);
        disk_sim_heal(disk);
        opened = open_on(disk, 65536);
        cr_assert_eq(opened.rc, RC_OK, "step %lu", (unsigned long)skip);
        close_it(&opened);
        disk_fini(disk);
        if (!struck)
            break;
        steps++;
    }
    cr_assert_gt(steps, 20);
    cr_assert_lt(steps, 1000);
}

Test(journal_open, no_space_is_named_and_leaves_nothing_behind, .timeout = 10)
{
    struct disk_sim_config config = {.seed = 1};
    struct disk_sim_faults faults = {.space_bytes = 3 * 65536};
    struct disk *disk;

    cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
    disk_sim_set_faults(disk, &faults);
    struct opened opened = open_on(disk, 65536);
    cr_assert_eq(opened.rc, RC_NO_SPACE);
    close_it(&opened);
    struct disk_entry entries[8];
    size_t count;
    cr_assert_eq(disk_list(disk, "", entries, 8, &count), RC_OK);
    for (size_t i = 0; i < count; i++)
        cr_assert_null(strstr(entries[i].name, ".new"), "%s", entries[i].name);
    disk_fini(disk);
}

Test(journal_open, a_crash_while_making_is_healed_by_the_next_start, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct disk_sim_config config = {.seed = seed};
        struct sim_rng rng;
        struct disk *disk;
        cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
        struct disk_sim_plan plan = {
            .classes = DISK_SIM_CLASS_ALL, .skip = seed, .count = UINT64_MAX, .error = EIO};
        (void)disk_sim_plan_add(disk, &plan);
        struct opened opened = open_on(disk, 65536);
        close_it(&opened);
        disk_sim_heal(disk);
        sim_rng_seed(&rng, seed, 1);
        disk_sim_crash(disk, &rng);
        opened = open_on(disk, 65536);
        cr_assert_eq(opened.rc, RC_OK, "seed %lu", (unsigned long)seed);
        close_it(&opened);
        disk_fini(disk);
    }
}

Test(journal_open, files_are_reused_when_they_fit_and_remade_when_not, .timeout = 20)
{
    struct disk_sim_config config = {.seed = 1};
    struct disk *disk;

    cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
    struct opened opened = open_on(disk, 65536);
    cr_assert_eq(opened.rc, RC_OK);
    close_it(&opened);
    uint64_t writes = disk_sim_operations(disk, DISK_SIM_WRITE);
    opened = open_on(disk, 65536);
    cr_assert_eq(opened.rc, RC_OK);
    close_it(&opened);
    cr_assert_eq(disk_sim_operations(disk, DISK_SIM_WRITE), writes, "nothing is written again");
    opened = open_on(disk, 131072); /* another size */
    cr_assert_eq(opened.rc, RC_OK);
    close_it(&opened);
    cr_assert_gt(disk_sim_operations(disk, DISK_SIM_WRITE), writes);
    writes = disk_sim_operations(disk, DISK_SIM_WRITE);
    cr_assert(disk_sim_flip_bit(disk, "journal-0-2", 33, 1)); /* a damaged header block */
    opened = open_on(disk, 131072);
    cr_assert_eq(opened.rc, RC_OK);
    close_it(&opened);
    cr_assert_gt(disk_sim_operations(disk, DISK_SIM_WRITE), writes);
    cr_assert_eq(journal_remove_files(disk, 0), RC_OK);
    size_t count;
    cr_assert_eq(disk_list(disk, "", NULL, 0, &count), RC_OK);
    cr_assert_eq(count, 0);
    disk_fini(disk);
}

/* What open answered RC_OK for is on the device: names, sizes, header blocks. */
Test(journal_open, files_that_were_opened_survive_a_crash, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct disk_sim_config config = {.seed = seed};
        struct sim_rng rng;
        struct disk *disk;
        cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
        struct opened opened = open_on(disk, 65536);
        cr_assert_eq(opened.rc, RC_OK);
        close_it(&opened);
        sim_rng_seed(&rng, seed, 1);
        disk_sim_crash(disk, &rng);
        uint64_t writes = disk_sim_operations(disk, DISK_SIM_WRITE);
        opened = open_on(disk, 65536);
        cr_assert_eq(opened.rc, RC_OK);
        close_it(&opened);
        cr_assert_eq(disk_sim_operations(disk, DISK_SIM_WRITE),
                     writes,
                     "seed %lu: made again",
                     (unsigned long)seed);
        disk_fini(disk);
    }
}
