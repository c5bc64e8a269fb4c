/* Goal: each fault kind does what its name says, at the operation that was planned, and nothing
 * else is touched. Method: one plan per test through struct disk; chances of 100 % where the seed
 * decides. Faults of ring requests stand in test_io_sim.c. */
#include "sim_disk_help.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(disk_faults, .timeout = 30);

static uint32_t
plan_error(struct disk *disk, uint32_t classes, uint64_t skip, int error)
{
    return disk_sim_plan_add(disk,
                             &(struct disk_sim_plan){.classes = classes,
                                                     .skip = skip,
                                                     .count = 1,
                                                     .effect = DISK_SIM_EFFECT_ERROR,
                                                     .error = error});
}

Test(disk_faults, an_error_strikes_the_planned_operation_only)
{
    for (uint64_t skip = 0; skip < 5; skip++) {
        struct disk *disk = help_disk(skip);
        int fd = help_create(disk, "a", 0);
        uint32_t plan = plan_error(disk, DISK_SIM_WRITE, skip, EIO);
        for (uint64_t i = 0; i < 5; i++) {
            uint8_t byte = 1;
            enum rc rc = disk_write(disk, fd, &byte, 1, i * 4096);
            cr_assert_eq(rc, i == skip ? RC_IO_ERROR : RC_OK);
        }
        cr_assert_eq(disk_sim_plan_hits(disk, plan), 1);
        cr_assert_eq(disk_sim_operations(disk, DISK_SIM_WRITE), 5);
        disk_fini(disk);
    }
}

Test(disk_faults, a_plan_looks_at_the_name)
{
    struct disk *disk = help_disk(1);
    int a = help_create(disk, "journal-0", 0);
    int b = help_create(disk, "segment", 0);
    disk_sim_plan_add(
        disk,
        &(struct disk_sim_plan){
            .classes = DISK_SIM_SYNC, .path_part = "journal", .count = UINT64_MAX, .error = EIO});
    cr_assert_eq(disk_sync(disk, b), RC_OK);
    cr_assert_eq(disk_sync(disk, a), RC_IO_ERROR);
    cr_assert_eq(disk_sync(disk, a), RC_IO_ERROR);
    disk_sim_heal(disk);
    cr_assert_eq(disk_sync(disk, a), RC_OK);
    disk_fini(disk);
}

Test(disk_faults, every_class_of_call_can_fail)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    int other;
    uint8_t byte;
    size_t count;
    plan_error(disk, DISK_SIM_CLASS_ALL, 0, EIO);
    cr_assert_eq(disk_read(disk, fd, &byte, 1, 0, &count), RC_IO_ERROR);
    disk_sim_heal(disk);
    plan_error(disk, DISK_SIM_SIZE, 0, ENOSPC);
    cr_assert_eq(disk_allocate(disk, fd, 0, 10), RC_NO_SPACE);
    cr_assert_eq(help_size(disk, "a"), 0);
    disk_sim_heal(disk);
    plan_error(disk, DISK_SIM_NAME, 0, EIO);
    cr_assert_eq(disk_rename(disk, "a", "b"), RC_IO_ERROR);
    cr_assert(help_exists(disk, "a"));
    disk_sim_heal(disk);
    plan_error(disk, DISK_SIM_NAME, 0, EIO);
    cr_assert_eq(disk_open(disk, "c", DISK_WRITE | DISK_CREATE, &other), RC_IO_ERROR);
    cr_assert_not(help_exists(disk, "c"));
    disk_sim_heal(disk);
    plan_error(disk, DISK_SIM_OPEN, 0, EMFILE);
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &other), RC_NO_DESCRIPTORS);
    disk_fini(disk);
}

Test(disk_faults, a_failed_write_may_leave_whole_sectors_of_it)
{
    uint32_t untouched = 0;
    uint32_t partly = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 4096, 0);
        plan_error(disk, DISK_SIM_WRITE, 0, EIO);
        uint8_t new[4096];
        for (size_t i = 0; i < sizeof(new); i++)
            new[i] = 2;
        cr_assert_eq(disk_write(disk, fd, new, sizeof(new), 0), RC_IO_ERROR);
        bool seen_old = false;
        for (uint64_t at = 0; at < 4096; at += 512) {
            int value = help_byte(disk, "a", at);
            cr_assert(value == 1 || (value == 2 && !seen_old), "a prefix");
            seen_old |= value == 1;
        }
        untouched += help_byte(disk, "a", 0) == 1;
        partly += help_byte(disk, "a", 0) == 2;
        disk_fini(disk);
    }
    cr_assert_gt(untouched, 0);
    cr_assert_gt(partly, 0);
}

Test(disk_faults, a_sync_after_a_failed_one_succeeds_and_saves_nothing)
{
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 512, 0);
        plan_error(disk, DISK_SIM_SYNC, 0, EIO);
        cr_assert_eq(disk_sync(disk, fd), RC_IO_ERROR);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        cr_assert_eq(help_byte(disk, "a", 0), 1, "still visible");
        help_fill(disk, fd, 2, 512, 4096);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        help_crash(disk, seed);
        lost += help_byte(disk, "a", 0) != 1;
        cr_assert_eq(help_byte(disk, "a", 4096), 2, "what came after the failure is covered");
        disk_fini(disk);
    }
    cr_assert_gt(lost, 5);
}

Test(disk_faults, the_disk_fills_up_and_heals)
{
    struct disk *disk = help_disk(1);
    uint8_t byte = 1;
    int other;
    int fd = help_create(disk, "a", 0);
    disk_sim_set_faults(disk, &(struct disk_sim_faults){.space_bytes = 4 * 4096});
    cr_assert_eq(disk_sim_used_bytes(disk), 4096);
    cr_assert_eq(disk_allocate(disk, fd, 0, 2 * 4096), RC_OK);
    cr_assert_eq(disk_allocate(disk, fd, 0, 4 * 4096), RC_NO_SPACE);
    cr_assert_eq(disk_write(disk, fd, &byte, 1, 100), RC_OK, "inside what it has");
    cr_assert_eq(disk_write(disk, fd, &byte, 1, 3 * 4096), RC_NO_SPACE);
    cr_assert_eq(help_size(disk, "a"), 2 * 4096);
    cr_assert_eq(disk_open(disk, "b", DISK_WRITE | DISK_CREATE, &other), RC_OK);
    cr_assert_eq(disk_open(disk, "c", DISK_WRITE | DISK_CREATE, &other), RC_NO_SPACE);
    struct disk_facts facts;
    cr_assert_eq(disk_facts(disk, &facts), RC_OK);
    cr_assert_eq(facts.free_bytes, 0);
    cr_assert_eq(disk_unlink(disk, "b"), RC_OK);
    cr_assert_eq(disk_write(disk, fd, &byte, 1, 2 * 4096), RC_OK);
    disk_fini(disk);
}

Test(disk_faults, descriptors_run_out)
{
    struct disk *disk = help_disk(1);
    int fds[3];
    disk_close(disk, help_create(disk, "a", 0));
    disk_sim_set_faults(disk, &(struct disk_sim_faults){.descriptors_max = 2});
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &fds[0]), RC_OK);
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &fds[1]), RC_OK);
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &fds[2]), RC_NO_DESCRIPTORS);
    cr_assert_eq(disk_open(disk, "b", DISK_READ | DISK_CREATE, &fds[2]), RC_NO_DESCRIPTORS);
    cr_assert_not(help_exists(disk, "b"));
    disk_close(disk, fds[0]);
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &fds[2]), RC_OK);
    cr_assert_eq(fds[2], fds[0], "the lowest free number, as POSIX says");
    disk_fini(disk);
}

Test(disk_faults, a_lost_write_says_ok_and_is_not_there)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    help_fill(disk, fd, 1, 512, 0);
    disk_sim_plan_add(disk,
                      &(struct disk_sim_plan){
                          .classes = DISK_SIM_WRITE, .count = 1, .effect = DISK_SIM_EFFECT_LOST});
    help_fill(disk, fd, 2, 512, 0);
    cr_assert_eq(help_byte(disk, "a", 0), 1);
    help_fill(disk, fd, 3, 512, 0);
    cr_assert_eq(help_byte(disk, "a", 0), 3);
    disk_fini(disk);
}

Test(disk_faults, a_misdirected_write_lands_on_another_page)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 8 * 4096, 0);
        disk_sim_set_faults(disk, &(struct disk_sim_faults){.misdirect_ppm = SIM_PPM_ALL});
        help_fill(disk, fd, 2, 4096, 3 * 4096);
        uint32_t pages = 0;
        for (uint64_t page = 0; page < 8; page++)
            pages += help_byte(disk, "a", page * 4096) == 2;
        cr_assert_eq(pages, 1);
        cr_assert_eq(help_byte(disk, "a", 3 * 4096), 1);
        disk_fini(disk);
    }
}

Test(disk_faults, flips_turn_one_bit_for_good_or_for_one_read)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    help_fill(disk, fd, 0, 100, 0);
    cr_assert(disk_sim_flip_bit(disk, "a", 50, 3));
    cr_assert_not(disk_sim_flip_bit(disk, "a", 100, 0));
    cr_assert_not(disk_sim_flip_bit(disk, "b", 0, 0));
    cr_assert_eq(help_byte(disk, "a", 50), 8);
    cr_assert_eq(disk_sync(disk, fd), RC_OK);
    cr_assert(disk_sim_flip_bit(disk, "a", 50, 3));
    help_crash(disk, 1);
    cr_assert_eq(help_byte(disk, "a", 50), 0);
    disk_sim_set_faults(disk, &(struct disk_sim_faults){.flip_ppm = SIM_PPM_ALL});
    int value = help_byte(disk, "a", 10);
    cr_assert(is_power_of_two((uint64_t)value));
    disk_sim_heal(disk);
    cr_assert_eq(help_byte(disk, "a", 10), 0);
    disk_fini(disk);
}

Test(disk_faults, chances_strike_by_seed)
{
    uint64_t struck[2];
    for (int turn = 0; turn < 2; turn++) {
        struct disk *disk = help_disk(99);
        int fd = help_create(disk, "a", 0);
        disk_sim_set_faults(disk, &(struct disk_sim_faults){.write_error_ppm = 200000});
        uint32_t errors = 0;
        for (uint32_t i = 0; i < 1000; i++) {
            uint8_t byte = 1;
            errors += disk_write(disk, fd, &byte, 1, i) != RC_OK;
        }
        cr_assert_gt(errors, 100);
        cr_assert_lt(errors, 300);
        struck[turn] = disk_sim_faults_struck(disk) ^ (disk_sim_hash(disk) << 20);
        disk_fini(disk);
    }
    cr_assert_eq(struck[0], struck[1]);
}
