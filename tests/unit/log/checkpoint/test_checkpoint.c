/* Goal: the newest whole generation is found, whatever a crash or rot left of the other.
 * Method: generations stored on a virtual disk; damage, cuts, faults and crashes by hand and by
 * seed. */
#include "hw/disk/disk_sim.h"
#include "log/checkpoint/checkpoint.h"

#include <criterion/criterion.h>
#include <errno.h>

#define TILE 3u
static _Alignas(4096) uint8_t image[8 * FORMAT_BLOCK_BYTES];
static _Alignas(4096) uint8_t buffer[8 * FORMAT_BLOCK_BYTES];

static struct disk *
make_disk(uint64_t seed)
{
    struct disk_sim_config config = {.seed = seed};
    struct disk *disk;

    cr_assert_eq(disk_sim_create(&config, &disk), RC_OK);
    return disk;
}

/* A checkpoint of that generation with so many partitions, whose next offsets are the generation.
 */
static uint64_t
build_for(uint32_t tile_idx, uint64_t generation, uint32_t partition_count)
{
    struct checkpoint_header header = {.generation = generation,
                                       .tile_idx = tile_idx,
                                       .journal_epoch = 1,
                                       .replay_from = generation};
    struct checkpoint_encoder encoder;

    checkpoint_encode_begin(&encoder, image, sizeof(image), &header);
    for (uint32_t i = 0; i < partition_count; i++) {
        struct checkpoint_partition partition = {
            .incarnation = i + 1, .state = CHECKPOINT_OPEN, .next_offset = generation};
        checkpoint_encode_partition(&encoder, &partition, NULL);
    }
    return checkpoint_encode_end(&encoder);
}

static enum rc
store(struct disk *disk, uint64_t generation, uint32_t partition_count)
{
    uint64_t count = build_for(TILE, generation, partition_count);
    return checkpoint_store(disk, TILE, generation, image, count);
}

static enum rc
load(struct disk *disk, uint64_t capacity, struct checkpoint_found *ret_found)
{
    struct checkpoint_source source = {disk, TILE, buffer, capacity};
    struct checkpoint_decoder decoder;
    enum rc rc = checkpoint_load(&source, &decoder, ret_found);

    if (rc == RC_OK)
        cr_assert_eq(decoder.header.generation, ret_found->generation);
    return rc;
}

Test(checkpoint, nothing_there_is_a_new_tile, .timeout = 10)
{
    struct disk *disk = make_disk(1);
    struct checkpoint_found found;
    uint64_t bytes = 7;

    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_NOT_FOUND);
    cr_assert(found.file_count == 0 && found.next_generation == 1);
    cr_assert_eq(checkpoint_buffer_bytes(disk, TILE, &bytes), RC_OK);
    cr_assert_eq(bytes, 0);
    disk_fini(disk);
}

Test(checkpoint, both_bad_is_damage_and_says_how_many, .timeout = 10)
{
    struct disk *disk = make_disk(1);
    struct checkpoint_found found;

    cr_assert_eq(store(disk, 1, 3), RC_OK);
    cr_assert(disk_sim_flip_bit(disk, "checkpoint-3-1", 200, 0));
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_CORRUPT);
    cr_assert(found.file_count == 1 && found.bad_count == 1);
    cr_assert_eq(store(disk, 2, 3), RC_OK);
    cr_assert(disk_sim_flip_bit(disk, "checkpoint-3-0", 20, 0));
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_CORRUPT);
    cr_assert(found.file_count == 2 && found.bad_count == 2);
    disk_fini(disk);
}

Test(checkpoint, newest_whole_generation_wins_and_the_other_is_written_next, .timeout = 10)
{
    struct disk *disk = make_disk(1);
    struct checkpoint_found found;
    uint64_t bytes;

    for (uint64_t generation = 1; generation <= 6; generation++) {
        cr_assert_eq(store(disk, generation, (uint32_t)(60 - generation * 9)), RC_OK);
        cr_assert_eq(load(disk, sizeof(buffer), &found), RC_OK);
        cr_assert(found.generation == generation && found.bad_count == 0);
        cr_assert_eq(found.next_generation, generation + 1);
    }
    cr_assert_eq(checkpoint_buffer_bytes(disk, TILE, &bytes), RC_OK);
    cr_assert_eq(bytes, checkpoint_bytes(60 - 45, 0, 0, 0));
    cr_assert(disk_sim_flip_bit(disk, "checkpoint-3-0", 140, 5)); /* 6 */
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_OK);
    cr_assert(found.generation == 5 && found.bad_count == 1 && found.next_generation == 6);
    disk_fini(disk);
}

Test(checkpoint, file_of_another_tile_or_generation_is_not_taken, .timeout = 10)
{
    struct disk *disk = make_disk(1);
    struct checkpoint_found found;

    cr_assert_eq(store(disk, 4, 1), RC_OK);
    cr_assert_eq(disk_rename(disk, "checkpoint-3-0", "checkpoint-3-1"), RC_OK);
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_CORRUPT);
    uint64_t count = build_for(9, 4, 1);
    cr_assert_eq(checkpoint_store(disk, 9, 4, image, count), RC_OK);
    cr_assert_eq(disk_rename(disk, "checkpoint-9-0", "checkpoint-3-0"), RC_OK);
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_CORRUPT);
    disk_fini(disk);
}

Test(checkpoint, too_small_a_buffer_and_read_errors_are_not_damage, .timeout = 10)
{
    struct disk *disk = make_disk(1);
    struct checkpoint_found found;

    cr_assert_eq(store(disk, 1, 40), RC_OK);
    cr_assert_eq(load(disk, FORMAT_BLOCK_BYTES, &found), RC_NO_MEMORY);
    struct disk_sim_plan plan = {.classes = DISK_SIM_READ, .count = 1, .error = EIO};
    (void)disk_sim_plan_add(disk, &plan);
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_IO_ERROR);
    cr_assert_eq(load(disk, sizeof(buffer), &found), RC_OK);
    cr_assert_eq(disk_sim_open_descriptors(disk), 0);
    disk_fini(disk);
}

Test(checkpoint, crash_while_writing_leaves_the_one_before, .timeout = 60)
{
    uint32_t torn = 0;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct disk *disk = make_disk(seed);
        struct checkpoint_found found;
        struct sim_rng rng;
        cr_assert_eq(store(disk, 1, 50), RC_OK);
        cr_assert_eq(store(disk, 2, 50), RC_OK);
        struct disk_sim_plan plan = {.classes = DISK_SIM_SYNC, .count = UINT64_MAX, .error = EIO};
        (void)disk_sim_plan_add(disk, &plan);
        cr_assert_neq(store(disk, 3, (uint32_t)(seed % 100)), RC_OK);
        disk_sim_heal(disk);
        sim_rng_seed(&rng, seed, 1);
        disk_sim_crash(disk, &rng);
        cr_assert_eq(load(disk, sizeof(buffer), &found), RC_OK, "seed %lu", (unsigned long)seed);
        cr_assert(found.generation == 2 || found.generation == 3);
        torn += found.bad_count;
        disk_fini(disk);
    }
    cr_assert_gt(torn, 0, "the crashes tore nothing: the test shows nothing");
}

/* Two generations over each other, of different sizes: what store answered RC_OK for is what a
 * crash leaves. */
Test(checkpoint, what_was_stored_survives_a_crash, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct disk *disk = make_disk(seed);
        struct checkpoint_found found;
        struct sim_rng rng;
        uint64_t last = 1 + seed % 4;
        for (uint64_t generation = 1; generation <= last; generation++)
            cr_assert_eq(store(disk, generation, (uint32_t)(seed * generation % 100)), RC_OK);
        sim_rng_seed(&rng, seed, 1);
        disk_sim_crash(disk, &rng);
        cr_assert_eq(load(disk, sizeof(buffer), &found), RC_OK, "seed %lu", (unsigned long)seed);
        cr_assert(
            found.generation == last && found.bad_count == 0, "seed %lu", (unsigned long)seed);
        disk_fini(disk);
    }
}

Test(checkpoint, error_at_any_step_of_writing_is_reported, .timeout = 20)
{
    for (uint64_t skip = 0; skip < 50; skip++) {
        struct disk *disk = make_disk(1);
        struct disk_sim_plan plan = {
            .classes = DISK_SIM_CLASS_ALL, .skip = skip, .count = 1, .error = EIO};
        uint32_t number = disk_sim_plan_add(disk, &plan);
        enum rc rc = store(disk, 1, 3);
        bool struck = disk_sim_plan_hits(disk, number) > 0;
        cr_assert_eq(struck, rc != RC_OK, "step %lu", (unsigned long)skip);
        cr_assert_eq(disk_sim_open_descriptors(disk), 0);
        disk_sim_heal(disk);
        cr_assert_eq(checkpoint_remove(disk, TILE), RC_OK);
        disk_fini(disk);
        if (!struck) {
            cr_assert_gt(skip, 4);
            return;
        }
    }
    cr_assert_fail("the steps never ended");
}
