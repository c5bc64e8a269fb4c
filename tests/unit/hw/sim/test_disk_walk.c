/* Goal: the walk over a trace offers exactly the states that a crash could leave, at every point.
 * Method: small traces whose legal states are known by hand; a count of distinct states; a large
 * trace that must be sampled. */
#include "hw/disk/disk_sim_walk.h"
#include "sim_disk_help.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(disk_walk, .timeout = 60);

static uint32_t
distinct_states(struct disk_sim_walk *walk, uint32_t limit)
{
    uint32_t count = disk_sim_walk_states(walk, limit);
    uint64_t hashes[256];
    uint32_t distinct = 0;
    cr_assert_leq(count, ARRAY_COUNT(hashes));
    for (uint32_t i = 0; i < count; i++) {
        struct disk *state = disk_sim_walk_state(walk, i, &(struct disk_sim_config){.seed = 1});
        uint64_t hash = disk_sim_hash(state);
        uint32_t at = 0;
        cr_assert_eq(disk_sim_doubts(state), 0, "durable");
        while (at < distinct && hashes[at] != hash)
            at++;
        if (at == distinct)
            hashes[distinct++] = hash;
        disk_fini(state);
    }
    return distinct;
}

Test(disk_walk, a_create_write_sync_sequence_has_the_known_states)
{
    struct disk *disk = help_disk(1);
    int fd;
    uint8_t sector[512] = {1};
    disk_sim_trace_start(disk);
    cr_assert_eq(disk_open(disk, "a", DISK_WRITE | DISK_CREATE, &fd), RC_OK);
    cr_assert_eq(disk_write(disk, fd, sector, sizeof(sector), 0), RC_OK);
    cr_assert_eq(disk_sync(disk, fd), RC_OK);
    cr_assert_eq(disk_sync_directory(disk, ""), RC_OK);
    struct disk_sim_walk *walk = disk_sim_walk_create(disk, 1);
    /* Before anything: one. Created: with or without. Begun: also written in part or whole (one
     * sector: whole). Ended: growth and bytes apart: no file, empty, zeros, bytes. Synced: with or
     * without the name. Directory synced: one. */
    static const uint32_t expected[] = {1, 2, 3, 4, 2, 1};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        cr_assert_eq(disk_sim_walk_position(walk), i);
        cr_assert_eq(distinct_states(walk, 64), expected[i], "after %zu events", i);
        cr_assert(disk_sim_walk_is_exhaustive(walk));
        cr_assert_eq(disk_sim_walk_next(walk), i + 1 < ARRAY_COUNT(expected));
    }
    disk_sim_walk_destroy(walk);
    disk_fini(disk);
}

Test(disk_walk, a_lone_write_is_torn_at_many_sectors)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    help_fill(disk, fd, 1, 8 * 512, 0);
    cr_assert_eq(disk_sync(disk, fd), RC_OK);
    disk_sim_trace_start(disk);
    for (uint8_t i = 0; i < 8; i++) {
        uint8_t bytes[8 * 512];
        for (size_t at = 0; at < sizeof(bytes); at++)
            bytes[at] = (uint8_t)(10 + at / 512);
        if (i == 0)
            cr_assert_eq(disk_write(disk, fd, bytes, sizeof(bytes), 0), RC_OK);
    }
    struct disk_sim_walk *walk = disk_sim_walk_create(disk, 1);
    cr_assert(disk_sim_walk_next(walk));
    /* lost, kept, 7 prefixes, 7 suffixes; one of the prefixes gives way to a scattered tear */
    cr_assert_geq(distinct_states(walk, 64), 15);
    cr_assert_leq(distinct_states(walk, 4), 4);
    disk_sim_walk_destroy(walk);
    disk_fini(disk);
}

Test(disk_walk, the_last_point_without_doubt_is_the_disk_itself)
{
    struct disk *disk = help_disk(1);
    cr_assert_eq(disk_make_directory(disk, "d"), RC_OK);
    cr_assert_eq(disk_sync_all(disk), RC_OK);
    disk_sim_trace_start(disk);
    int fd = help_create(disk, "d/a", 0);
    help_fill(disk, fd, 3, 10000, 5000);
    cr_assert_eq(disk_rename(disk, "d/a", "d/b"), RC_OK);
    cr_assert_eq(disk_sync_all(disk), RC_OK);
    uint64_t events = disk_sim_trace_count(disk);
    struct disk_sim_walk *walk = disk_sim_walk_create(disk, 1);
    uint64_t steps = 0;
    while (disk_sim_walk_next(walk))
        steps++;
    cr_assert_eq(steps, events);
    cr_assert_eq(disk_sim_walk_states(walk, 64), 1);
    struct disk *state = disk_sim_walk_state(walk, 0, &(struct disk_sim_config){.seed = 1});
    cr_assert_eq(disk_sim_hash(state), disk_sim_hash(disk));
    disk_fini(state);
    disk_sim_walk_destroy(walk);
    disk_fini(disk);
}

Test(disk_walk, many_doubts_are_sampled_with_none_all_and_each_alone)
{
    struct disk *disk = help_disk(1);
    int fd = help_create(disk, "a", 0);
    cr_assert_eq(disk_allocate(disk, fd, 0, 20 * 4096), RC_OK);
    cr_assert_eq(disk_sync(disk, fd), RC_OK);
    disk_sim_trace_start(disk);
    for (uint64_t i = 0; i < 10; i++)
        help_fill(disk, fd, (uint8_t)(i + 1), 512, i * 4096);
    struct disk_sim_walk *walk = disk_sim_walk_create(disk, 5);
    while (disk_sim_walk_next(walk))
        ;
    uint32_t count = disk_sim_walk_states(walk, 64);
    cr_assert_eq(count, 64);
    cr_assert_not(disk_sim_walk_is_exhaustive(walk));
    uint32_t seen[11] = {0};
    bool alone[10] = {false};
    for (uint32_t s = 0; s < count; s++) {
        struct disk *state = disk_sim_walk_state(walk, s, &(struct disk_sim_config){.seed = 1});
        uint32_t kept = 0;
        uint32_t last = 0;
        for (uint32_t i = 0; i < 10; i++) {
            if (help_byte(state, "a", i * 4096) != 0) {
                kept++;
                last = i;
            }
        }
        seen[kept]++;
        if (kept == 1)
            alone[last] = true;
        disk_fini(state);
    }
    cr_assert_gt(seen[0], 0);
    cr_assert_gt(seen[10], 0);
    cr_assert_geq(seen[9], 10);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert(alone[i], "write %u alone", i);
    disk_sim_walk_destroy(walk);
    disk_fini(disk);
}

Test(disk_walk, the_same_seed_offers_the_same_states)
{
    uint64_t sums[2] = {0};
    for (int turn = 0; turn < 2; turn++) {
        struct disk *disk = help_disk(1);
        int fd = help_create(disk, "a", 0);
        disk_sim_trace_start(disk);
        for (uint64_t i = 0; i < 12; i++)
            help_fill(disk, fd, (uint8_t)(i + 1), 3000, i * 2000);
        struct disk_sim_walk *walk = disk_sim_walk_create(disk, 9);
        while (disk_sim_walk_next(walk)) {
            uint32_t count = disk_sim_walk_states(walk, 20);
            for (uint32_t s = 0; s < count; s++) {
                struct disk *state = disk_sim_walk_state(
                    walk, s, &(struct disk_sim_config){.seed = 1});
                sums[turn] = sums[turn] * 31 + disk_sim_hash(state);
                disk_fini(state);
            }
        }
        disk_sim_walk_destroy(walk);
        disk_fini(disk);
    }
    cr_assert_eq(sums[0], sums[1]);
}
