/* Goal: a crash keeps what was synced, always, and may lose, keep or tear what was not.
 * Method: each rule over many seeds: what must hold for every seed, and both outcomes of a doubt
 * seen among them. */
#include "sim_disk_help.h"

#include <criterion/criterion.h>

#define SEEDS 200
#define SECTOR 512u

TestSuite(disk_crash, .timeout = 30);

Test(disk_crash, synced_bytes_are_kept_by_every_seed)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 10000, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        help_fill(disk, fd, 2, 100, 20000);
        help_crash(disk, seed);
        for (uint64_t at = 0; at < 10000; at += 100)
            cr_assert_eq(help_byte(disk, "a", at), 1, "seed %lu", seed);
        disk_fini(disk);
    }
}

Test(disk_crash, unsynced_bytes_are_lost_kept_and_torn_at_sectors)
{
    uint32_t lost = 0;
    uint32_t kept = 0;
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 8192, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        help_fill(disk, fd, 2, 8192, 0);
        help_crash(disk, seed);
        uint32_t sectors = 0;
        for (uint64_t at = 0; at < 8192; at += SECTOR) {
            int value = help_byte(disk, "a", at);
            cr_assert(value == 1 || value == 2);
            cr_assert_eq(help_byte(disk, "a", at + SECTOR - 1), value, "a sector is whole");
            sectors += value == 2;
        }
        lost += sectors == 0;
        kept += sectors == 16;
        torn += sectors > 0 && sectors < 16;
        disk_fini(disk);
    }
    cr_assert_gt(lost, SEEDS / 20);
    cr_assert_gt(kept, SEEDS / 20);
    cr_assert_gt(torn, SEEDS / 20);
}

Test(disk_crash, a_write_can_survive_a_later_one_of_the_same_sector_is_lost)
{
    uint32_t seen[4] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 512, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        help_fill(disk, fd, 2, 512, 0);
        help_fill(disk, fd, 3, 512, 0);
        help_crash(disk, seed);
        seen[help_byte(disk, "a", 0)]++;
        disk_fini(disk);
    }
    cr_assert_eq(seen[0], 0);
    for (int i = 1; i < 4; i++)
        cr_assert_gt(seen[i], SEEDS / 20, "value %d", i);
}

Test(disk_crash, a_completed_dsync_write_is_kept_over_unsynced_older_ones)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int plain = help_create(disk, "a", 0);
        int durable = help_open(disk, "a", DISK_DSYNC);
        help_fill(disk, plain, 1, 8192, 0);
        help_fill(disk, durable, 2, 4096, 0);
        help_crash(disk, seed);
        for (uint64_t at = 0; at < 4096; at += 512)
            cr_assert_eq(help_byte(disk, "a", at), 2, "seed %lu", seed);
        disk_fini(disk);
    }
}

Test(disk_crash, a_name_needs_its_directory_synced)
{
    uint32_t kept = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd;
        cr_assert_eq(disk_open(disk, "a", DISK_WRITE | DISK_CREATE, &fd), RC_OK);
        help_fill(disk, fd, 1, 512, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK, "the bytes are durable, the name is not");
        help_crash(disk, seed);
        if (help_exists(disk, "a")) {
            kept++;
            cr_assert_eq(help_byte(disk, "a", 0), 1);
        }
        disk_fini(disk);
    }
    cr_assert_gt(kept, SEEDS / 20);
    cr_assert_lt(kept, SEEDS - SEEDS / 20);
}

Test(disk_crash, a_rename_without_directory_sync_can_be_lost)
{
    uint32_t renamed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int old = help_create(disk, "meta", 0);
        int new = help_create(disk, "meta.tmp", 0);
        help_fill(disk, old, 1, 10, 0);
        help_fill(disk, new, 2, 10, 0);
        cr_assert_eq(disk_sync(disk, old), RC_OK);
        cr_assert_eq(disk_sync(disk, new), RC_OK);
        cr_assert_eq(disk_rename(disk, "meta.tmp", "meta"), RC_OK);
        help_crash(disk, seed);
        int value = help_byte(disk, "meta", 0);
        cr_assert(value == 1 || value == 2, "one of the two, whole");
        cr_assert_eq(help_exists(disk, "meta.tmp"), value == 1);
        renamed += value == 2;
        disk_fini(disk);
    }
    cr_assert_gt(renamed, SEEDS / 20);
    cr_assert_lt(renamed, SEEDS - SEEDS / 20);
}

Test(disk_crash, a_renamed_file_whose_bytes_were_not_synced_can_be_empty)
{
    uint32_t empty = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "meta.tmp", 0);
        help_fill(disk, fd, 2, 10, 0);
        cr_assert_eq(disk_rename(disk, "meta.tmp", "meta"), RC_OK);
        cr_assert_eq(disk_sync_directory(disk, ""), RC_OK);
        help_crash(disk, seed);
        cr_assert(help_exists(disk, "meta"));
        empty += help_size(disk, "meta") == 0;
        disk_fini(disk);
    }
    cr_assert_gt(empty, SEEDS / 20);
}

Test(disk_crash, an_unlink_without_directory_sync_can_come_back)
{
    uint32_t back = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 10, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        disk_close(disk, fd);
        cr_assert_eq(disk_unlink(disk, "a"), RC_OK);
        help_crash(disk, seed);
        back += help_exists(disk, "a");
        if (help_exists(disk, "a"))
            cr_assert_eq(help_byte(disk, "a", 0), 1);
        disk_fini(disk);
    }
    cr_assert_gt(back, SEEDS / 20);
    cr_assert_lt(back, SEEDS - SEEDS / 20);
}

Test(disk_crash, a_file_in_a_lost_directory_is_lost)
{
    uint32_t kept = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        cr_assert_eq(disk_make_directory(disk, "d"), RC_OK);
        disk_close(disk, help_create(disk, "d/a", 0));
        help_crash(disk, seed);
        size_t count;
        struct disk_entry entry;
        bool there = disk_list(disk, "d", &entry, 1, &count) == RC_OK;
        cr_assert_eq(help_exists(disk, "d/a"), there);
        kept += there;
        disk_fini(disk);
    }
    cr_assert_gt(kept, SEEDS / 20);
    cr_assert_lt(kept, SEEDS - SEEDS / 20);
}

Test(disk_crash, sync_all_makes_everything_durable)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd;
        cr_assert_eq(disk_make_directory(disk, "d"), RC_OK);
        cr_assert_eq(disk_open(disk, "d/a", DISK_WRITE | DISK_CREATE, &fd), RC_OK);
        help_fill(disk, fd, 1, 5000, 0);
        cr_assert_eq(disk_rename(disk, "d/a", "b"), RC_OK);
        cr_assert_eq(disk_sync_all(disk), RC_OK);
        cr_assert_eq(disk_sim_doubts(disk), 0);
        uint64_t hash = disk_sim_hash(disk);
        help_crash(disk, seed);
        cr_assert_eq(disk_sim_hash(disk), hash);
        disk_fini(disk);
    }
}

Test(disk_crash, a_truncation_can_be_lost_and_cut_bytes_never_shine_through)
{
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        help_fill(disk, fd, 1, 8192, 0);
        cr_assert_eq(disk_sync(disk, fd), RC_OK);
        cr_assert_eq(disk_truncate(disk, fd, 100), RC_OK);
        help_crash(disk, seed);
        uint64_t bytes = help_size(disk, "a");
        cr_assert(bytes == 100 || bytes == 8192);
        lost += bytes == 8192;
        if (bytes == 100) {
            fd = help_open(disk, "a", 0);
            cr_assert_eq(disk_allocate(disk, fd, 0, 8192), RC_OK);
            cr_assert_eq(help_byte(disk, "a", 4000), 0);
        }
        disk_fini(disk);
    }
    cr_assert_gt(lost, SEEDS / 20);
    cr_assert_lt(lost, SEEDS - SEEDS / 20);
}

Test(disk_crash, equal_seeds_crash_equally_and_others_differ)
{
    uint64_t hashes[2] = {0};
    uint32_t distinct = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (int turn = 0; turn < 2; turn++) {
            struct disk *disk = help_disk(seed);
            int fd = help_create(disk, "a", 0);
            for (uint8_t i = 1; i < 20; i++)
                help_fill(disk, fd, i, 4096, i * 2048u);
            help_crash(disk, seed);
            hashes[turn] = disk_sim_hash(disk);
            disk_fini(disk);
        }
        cr_assert_eq(hashes[0], hashes[1], "seed %lu", seed);
        static uint64_t last;
        distinct += hashes[0] != last;
        last = hashes[0];
    }
    cr_assert_gt(distinct, SEEDS / 2);
}

Test(disk_crash, a_second_crash_changes_nothing_more)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct disk *disk = help_disk(seed);
        int fd = help_create(disk, "a", 0);
        for (uint8_t i = 1; i < 10; i++)
            help_fill(disk, fd, i, 4096, i * 1024u);
        help_crash(disk, seed);
        uint64_t hash = disk_sim_hash(disk);
        cr_assert_eq(disk_sim_open_descriptors(disk), 0);
        help_crash(disk, seed + 1);
        cr_assert_eq(disk_sim_hash(disk), hash);
        disk_fini(disk);
    }
}
