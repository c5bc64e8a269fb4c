/* Goal: struct disk of the simulator answers like a file system when nothing goes wrong, and
 * refuses like one. Method: bad input first, then each call with what it must change and what it
 * must leave. */
#include "sim_disk_help.h"

#include "hw/disk/disk_sim_image.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(disk_calls, .timeout = 10);

Test(disk_calls, bad_paths_are_refused)
{
    struct disk *disk = help_disk(1);
    int fd;
    char longest[DISK_PATH_MAX + 1];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    cr_assert_eq(disk_open(disk, "", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "/b", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_make_directory(disk, "d"), RC_OK);
    cr_assert_eq(disk_open(disk, "d/", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "d//b", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "d", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "../a", DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, longest, DISK_READ, &fd), RC_INVALID);
    cr_assert_eq(disk_open(disk, "none", DISK_READ, &fd), RC_NOT_FOUND);
    cr_assert_eq(disk_open(disk, "none/a", DISK_READ | DISK_CREATE, &fd), RC_NOT_FOUND);
    cr_assert_eq(disk_make_directory(disk, ""), RC_EXISTS);
    cr_assert_eq(disk_unlink(disk, "none"), RC_NOT_FOUND);
    cr_assert_eq(disk_rename(disk, "none", "b"), RC_NOT_FOUND);
    cr_assert_eq(disk_sync_directory(disk, "none"), RC_NOT_FOUND);
    disk_fini(disk);
}

Test(disk_calls, transfers_need_the_right_descriptor)
{
    struct disk *disk = help_disk(1);
    uint8_t byte = 1;
    size_t count;
    int fd = help_create(disk, "a", 0);
    disk_close(disk, fd);
    cr_assert_neq(disk_write(disk, fd, &byte, 1, 0), RC_OK);
    cr_assert_eq(disk_open(disk, "a", DISK_READ, &fd), RC_OK);
    cr_assert_neq(disk_write(disk, fd, &byte, 1, 0), RC_OK);
    cr_assert_neq(disk_truncate(disk, fd, 1), RC_OK);
    cr_assert_eq(disk_read(disk, fd, &byte, 1, 0, &count), RC_OK);
    cr_assert_eq(count, 0);
    disk_fini(disk);
}

Test(disk_calls, closing_twice_stops_the_program, .signal = SIGABRT)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    disk_close(disk, fd);
    disk_close(disk, fd);
}

Test(disk_calls, direct_descriptors_demand_alignment)
{
    struct disk *disk = help_disk(1);
    static _Alignas(DISK_ALIGN_BYTES) uint8_t buffer[2 * DISK_ALIGN_BYTES];
    size_t count;
    int fd = help_create(disk, "a", DISK_DIRECT);
    cr_assert_eq(disk_write(disk, fd, buffer, DISK_ALIGN_BYTES, 0), RC_OK);
    cr_assert_eq(disk_write(disk, fd, buffer, 512, 0), RC_INVALID);
    cr_assert_eq(disk_write(disk, fd, buffer + 512, DISK_ALIGN_BYTES, 0), RC_INVALID);
    cr_assert_eq(disk_write(disk, fd, buffer, DISK_ALIGN_BYTES, 512), RC_INVALID);
    cr_assert_eq(disk_read(disk, fd, buffer, 512, 0, &count), RC_INVALID);
    cr_assert_eq(disk_read(disk, fd, buffer, 2 * DISK_ALIGN_BYTES, 0, &count), RC_OK);
    cr_assert_eq(count, DISK_ALIGN_BYTES);
    disk_fini(disk);
}

Test(disk_calls, sizes_grow_shrink_and_give_zeros_between)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    help_fill(disk, fd, 7, 100, 0);
    cr_assert_eq(disk_allocate(disk, fd, 0, 50), RC_OK);
    cr_assert_eq(help_size(disk, "a"), 100, "allocate does not shrink");
    cr_assert_eq(disk_allocate(disk, fd, 4096, 4096), RC_OK);
    cr_assert_eq(help_size(disk, "a"), 8192);
    cr_assert_eq(help_byte(disk, "a", 99), 7);
    cr_assert_eq(help_byte(disk, "a", 100), 0);
    cr_assert_eq(disk_truncate(disk, fd, 10), RC_OK);
    cr_assert_eq(disk_truncate(disk, fd, 200), RC_OK);
    cr_assert_eq(help_byte(disk, "a", 9), 7);
    cr_assert_eq(help_byte(disk, "a", 50), 0, "cut bytes do not come back");
    disk_fini(disk);
}

Test(disk_calls, a_rename_replaces_and_a_removed_file_lives_while_open)
{
    struct disk *disk = help_disk(1);
    int a = help_create(disk, "a", 0);
    int b = help_create(disk, "b", 0);
    uint8_t byte;
    size_t count;
    help_fill(disk, a, 1, 10, 0);
    help_fill(disk, b, 2, 10, 0);
    cr_assert_eq(disk_rename(disk, "a", "b"), RC_OK);
    cr_assert_eq(help_byte(disk, "b", 0), 1);
    cr_assert_not(help_exists(disk, "a"));
    cr_assert_eq(disk_unlink(disk, "b"), RC_OK);
    cr_assert_eq(disk_sync_directory(disk, ""), RC_OK);
    cr_assert_eq(disk_read(disk, b, &byte, 1, 0, &count), RC_OK);
    cr_assert_eq(byte, 2);
    disk_close(disk, a);
    disk_close(disk, b);
    disk_fini(disk);
}

Test(disk_calls, directories_hold_files_and_must_be_empty_to_go)
{
    struct disk *disk = help_disk(1);
    struct disk_entry entries[2];
    size_t count;
    cr_assert_eq(disk_make_directory(disk, "d"), RC_OK);
    cr_assert_eq(disk_make_directory(disk, "d"), RC_EXISTS);
    cr_assert_eq(disk_make_directory(disk, "d/e"), RC_OK);
    disk_close(disk, help_create(disk, "d/z", 0));
    disk_close(disk, help_create(disk, "d/b", 0));
    disk_close(disk, help_create(disk, "a", 0));
    cr_assert_eq(disk_list(disk, "d", entries, 2, &count), RC_OK);
    cr_assert_eq(count, 3, "all are counted, two are given");
    cr_assert_str_eq(entries[0].name, "b");
    cr_assert_str_eq(entries[1].name, "e");
    cr_assert(entries[1].is_directory);
    cr_assert_eq(disk_remove_directory(disk, "d"), RC_EXISTS);
    cr_assert_eq(disk_unlink(disk, "d"), RC_INVALID);
    cr_assert_eq(disk_unlink(disk, "d/z"), RC_OK);
    cr_assert_eq(disk_unlink(disk, "d/b"), RC_OK);
    cr_assert_eq(disk_remove_directory(disk, "d/e"), RC_OK);
    cr_assert_eq(disk_remove_directory(disk, "d"), RC_OK);
    cr_assert_eq(disk_list(disk, "d", entries, 2, &count), RC_NOT_FOUND);
    disk_fini(disk);
}

Test(disk_calls, replace_file_works_on_the_double)
{
    struct disk *disk = help_disk(1);
    cr_assert_eq(disk_replace_file(disk, "meta", "one", 3), RC_OK);
    cr_assert_eq(disk_replace_file(disk, "meta", "second", 6), RC_OK);
    cr_assert_eq(help_size(disk, "meta"), 6);
    cr_assert_eq(help_byte(disk, "meta", 0), 's');
    cr_assert_not(help_exists(disk, "meta.tmp"));
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct disk *clone = disk_sim_clone(disk, &(struct disk_sim_config){.seed = seed});
        help_crash(clone, seed);
        cr_assert_eq(help_byte(clone, "meta", 0), 's', "seed %lu", seed);
        disk_fini(clone);
    }
    disk_fini(disk);
}

Test(disk_calls, a_clone_lives_its_own_life)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    help_fill(disk, fd, 1, 5000, 0);
    struct disk *clone = disk_sim_clone(disk, &(struct disk_sim_config){.seed = 2});
    cr_assert_eq(disk_sim_hash(disk), disk_sim_hash(clone));
    help_fill(disk, fd, 2, 10, 0);
    cr_assert_eq(help_byte(clone, "a", 0), 1);
    cr_assert_neq(disk_sim_hash(disk), disk_sim_hash(clone));
    int other = help_open(clone, "a", 0);
    help_fill(clone, other, 3, 10, 4990);
    cr_assert_eq(disk_unlink(clone, "a"), RC_OK);
    cr_assert_eq(help_byte(disk, "a", 4995), 1);
    cr_assert_eq(disk_sim_doubts(disk), 3, "two writes and a growth");
    disk_fini(clone);
    disk_fini(disk);
}

Test(disk_calls, a_large_file_of_zeros_is_cheap)
{
    struct disk *disk = help_disk(1);
    uint64_t before = sim_image_pages_in_use();
    for (int i = 0; i < 4; i++) {
        char name[16] = "journal-0";
        name[8] = (char)('0' + i);
        int fd = help_create(disk, name, 0);
        help_fill(disk, fd, 0, 4 * MIB, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        disk_close(disk, fd);
        cr_assert_eq(help_size(disk, name), 4 * MIB);
    }
    cr_assert_eq(sim_image_pages_in_use(), before);
    for (int i = 0; i < 1000; i++)
        disk_fini(disk_sim_clone(disk, &(struct disk_sim_config){.seed = 2}));
    disk_fini(disk);
}
