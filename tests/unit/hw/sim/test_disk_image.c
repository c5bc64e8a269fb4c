/* Goal: a sparse copy-on-write image gives back what was written, costs nothing for zeros, and
 * clones are apart. Method: seeded random writes, cuts and clones against a plain array; page
 * counts at the edges. */
#include "hw/disk/disk_sim_image.h"
#include "hw/io/sim_base.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_BYTES (3u << 20)

TestSuite(disk_image, .timeout = 60);

Test(disk_image, zeros_cost_no_page)
{
    struct sim_image image = {0};
    uint8_t *zeros = calloc(1, 1 << 20);
    for (uint64_t at = 0; at < 64; at++)
        sim_image_write(&image, zeros, 1 << 20, at << 20);
    cr_assert_eq(sim_image_pages_in_use(), 0);
    uint8_t one = 1;
    sim_image_write(&image, &one, 1, 12345);
    cr_assert_eq(sim_image_pages_in_use(), 1);
    sim_image_write(&image, zeros, SIM_PAGE_BYTES, 3 * SIM_PAGE_BYTES);
    cr_assert_eq(sim_image_pages_in_use(), 0, "a page overwritten with zeros is given back");
    sim_image_fini(&image);
    free(zeros);
}

Test(disk_image, a_clone_shares_pages_until_one_side_writes)
{
    struct sim_image image = {0};
    struct sim_image clone;
    uint8_t page[SIM_PAGE_BYTES];
    uint8_t seen = 0;
    memset(page, 7, sizeof(page));
    for (uint64_t i = 0; i < 10; i++)
        sim_image_write(&image, page, sizeof(page), i * sizeof(page));
    sim_image_clone(&image, &clone);
    cr_assert_eq(sim_image_pages_in_use(), 10);
    page[0] = 9;
    sim_image_write(&clone, page, 1, 0);
    cr_assert_eq(sim_image_pages_in_use(), 11);
    sim_image_read(&image, &seen, 1, 0);
    cr_assert_eq(seen, 7);
    sim_image_read(&clone, &seen, 1, 0);
    cr_assert_eq(seen, 9);
    sim_image_fini(&image);
    sim_image_fini(&clone);
    cr_assert_eq(sim_image_pages_in_use(), 0);
}

Test(disk_image, random_writes_cuts_and_clones_match_an_array)
{
    struct sim_rng rng;
    struct sim_image image = {0};
    uint8_t *model = calloc(1, MODEL_BYTES);
    uint8_t *piece = malloc(MODEL_BYTES);
    sim_rng_seed(&rng, 42, 0);
    for (int round = 0; round < 400; round++) {
        uint64_t at = sim_rng_below(&rng, MODEL_BYTES);
        uint64_t count = sim_rng_below(&rng, min_u64(MODEL_BYTES - at, 20000) + 1);
        uint8_t value = (uint8_t)sim_rng_below(&rng, 3);
        memset(piece, value, count);
        sim_image_write(&image, piece, count, at);
        memset(model + at, value, count);
        if (round % 40 == 39) {
            uint64_t end = sim_rng_below(&rng, MODEL_BYTES);
            sim_image_cut(&image, end);
            memset(model + end, 0, MODEL_BYTES - end);
        }
        if (round % 25 == 24) { /* go on with a clone; the old one is spoilt and dropped */
            struct sim_image clone;
            sim_image_clone(&image, &clone);
            memset(piece, 255, 5000);
            sim_image_write(&image, piece, 5000, at);
            sim_image_fini(&image);
            image = clone;
        }
        sim_image_read(&image, piece, MODEL_BYTES, 0);
        cr_assert_eq(memcmp(piece, model, MODEL_BYTES), 0, "seed 42, round %d", round);
    }
    sim_image_fini(&image);
    cr_assert_eq(sim_image_pages_in_use(), 0);
    free(model);
    free(piece);
}

Test(disk_image, the_hash_follows_content_and_size_only)
{
    struct sim_image a = {.bytes = 10};
    struct sim_image b = {.bytes = 10};
    uint8_t value = 5;
    uint8_t zero = 0;
    sim_image_write(&a, &value, 1, 4);
    cr_assert_neq(sim_image_hash(&a, 1), sim_image_hash(&b, 1));
    sim_image_write(&b, &value, 1, 4);
    cr_assert_eq(sim_image_hash(&a, 1), sim_image_hash(&b, 1));
    sim_image_write(&b, &value, 1, 9000);
    sim_image_write(&b, &zero, 1, 9000);
    cr_assert_eq(
        sim_image_hash(&a, 1), sim_image_hash(&b, 1), "a page of written zeros is no page");
    b.bytes = 11;
    cr_assert_neq(sim_image_hash(&a, 1), sim_image_hash(&b, 1));
    sim_image_fini(&a);
    sim_image_fini(&b);
}
