/* Walks a recorded trace and offers the states that a crash at each point could leave; see the
 * header. */
#include "hw/disk/disk_sim_walk.h"

#include "engine/base/check.h"
#include "hw/disk/disk_sim_inner.h"

#include <stdlib.h>

struct disk_sim_walk {
    struct sim_store store;   /* as it was after `position` events */
    struct sim_event *events; /* [count] */
    uint32_t count;
    uint32_t position;
    uint64_t seed;
    struct sim_doubt *doubts; /* [doubt_count], of this position */
    uint32_t doubt_count;
    uint32_t states;
    uint32_t tears; /* exhaustive: torn variants of each write; sampled: unused */
    bool exhaustive;
};

struct disk_sim_walk *
disk_sim_walk_create(struct disk *disk, uint64_t seed)
{
    const struct disk_sim_record *record = &disk_sim_of(disk)->record;
    CHECK(record->on);
    struct disk_sim_walk *walk = calloc(1, sizeof(*walk));
    CHECK(walk != NULL);
    walk->events = calloc(record->count + 1u, sizeof(struct sim_event));
    CHECK(walk->events != NULL);
    for (uint32_t i = 0; i < record->count; i++) {
        walk->events[i] = record->events[i];
        if (walk->events[i].blob != NULL)
            sim_blob_share(walk->events[i].blob);
    }
    walk->count = record->count;
    walk->seed = seed;
    sim_store_clone(&record->start, &walk->store);
    return walk;
}

void
disk_sim_walk_destroy(struct disk_sim_walk *walk)
{
    if (walk == NULL)
        return;
    for (uint32_t i = 0; i < walk->count; i++)
        sim_blob_release(walk->events[i].blob);
    sim_store_fini(&walk->store);
    free(walk->events);
    free(walk->doubts);
    free(walk);
}

uint64_t
disk_sim_walk_position(const struct disk_sim_walk *walk)
{
    return walk->position;
}

bool
disk_sim_walk_next(struct disk_sim_walk *walk)
{
    walk->states = 0;
    if (walk->position == walk->count)
        return false;
    sim_store_apply(&walk->store, &walk->events[walk->position++]);
    return true;
}

/* Fates of one doubt when each write has so many torn variants. */
static uint32_t
doubt_choices(const struct sim_doubt *doubt, uint32_t tears)
{
    if (doubt->sectors < 2)
        return 2;
    return 2 + min_u32(tears, 2 * (doubt->sectors - 1));
}

/* Product of the choices, or limit + 1 when it is more than limit. */
static uint32_t
count_combinations(const struct disk_sim_walk *walk, uint32_t tears, uint32_t limit)
{
    uint64_t product = 1;
    for (uint32_t i = 0; i < walk->doubt_count && product <= limit; i++)
        product *= doubt_choices(&walk->doubts[i], tears);
    return product > limit ? limit + 1 : (uint32_t)product;
}

uint32_t
disk_sim_walk_states(struct disk_sim_walk *walk, uint32_t limit)
{
    CHECK(limit > 0);
    walk->doubt_count = sim_store_doubts(&walk->store, NULL, 0);
    walk->doubts = realloc(walk->doubts, (walk->doubt_count + 1u) * sizeof(struct sim_doubt));
    CHECK(walk->doubts != NULL);
    CHECK(sim_store_doubts(&walk->store, walk->doubts, walk->doubt_count) == walk->doubt_count);

    walk->tears = 0;
    walk->exhaustive = count_combinations(walk, 0, limit) <= limit;
    if (!walk->exhaustive) {
        walk->states = limit;
        return limit;
    }
    while (walk->tears < limit && count_combinations(walk, walk->tears + 1, limit) <= limit)
        walk->tears++;
    walk->states = count_combinations(walk, walk->tears, limit);
    return walk->states;
}

bool
disk_sim_walk_is_exhaustive(const struct disk_sim_walk *walk)
{
    return walk->exhaustive;
}

/* tear: [0, 2 * (sectors - 1)); cuts begin in the middle and spread over the write, prefixes and
 * suffixes in turn. */
static void
doubt_tear(struct sim_doubt *doubt, uint32_t tear, uint64_t seed)
{
    uint32_t cuts = doubt->sectors - 1;
    uint32_t stride = cuts < 32 ? 1 : cuts / 32;
    if (tear == 2 && doubt->sectors > 2) {
        doubt->fate = SIM_TORN_SCATTERED;
        doubt->cut = seed;
        return;
    }
    doubt->fate = tear % 2 == 0 ? SIM_TORN_PREFIX : SIM_TORN_SUFFIX;
    doubt->cut = 1 + (doubt->sectors / 2 + tear / 2 * stride) % cuts;
}

static void
choose(struct sim_doubt *doubt, uint32_t choice, uint64_t seed)
{
    doubt->cut = 0;
    doubt->fate = choice == 0 ? SIM_LOST : SIM_KEPT;
    if (choice >= 2)
        doubt_tear(doubt, choice - 2, seed);
}

static void
choose_sampled(struct disk_sim_walk *walk, uint32_t idx, uint64_t seed)
{
    struct sim_rng rng;
    uint32_t count = walk->doubt_count;
    sim_rng_seed(&rng, seed, idx);
    for (uint32_t i = 0; i < count; i++) {
        struct sim_doubt *doubt = &walk->doubts[i];
        uint32_t choices = doubt_choices(doubt, 3);
        uint32_t choice = (uint32_t)sim_rng_below(&rng, choices);
        if (idx == 0)
            choice = 0; /* nothing */
        else if (idx == 1)
            choice = 1; /* all */
        else if (idx - 2 < count)
            choice = idx - 2 == i; /* one alone */
        else if (idx - 2 - count < count)
            choice = idx - 2 - count != i; /* one missing */
        choose(doubt, choice, sim_rng_next(&rng));
    }
}

struct disk *
disk_sim_walk_state(struct disk_sim_walk *walk, uint32_t idx, const struct disk_sim_config *config)
{
    CHECK(idx < walk->states);
    uint64_t seed = walk->seed ^ ((uint64_t)walk->position << 32);
    if (walk->exhaustive) {
        uint32_t rest = idx;
        for (uint32_t i = 0; i < walk->doubt_count; i++) {
            uint32_t choices = doubt_choices(&walk->doubts[i], walk->tears);
            choose(&walk->doubts[i], rest % choices, seed + i);
            rest /= choices;
        }
    } else {
        choose_sampled(walk, idx, seed);
    }
    struct sim_store after;
    sim_store_survive(&walk->store, walk->doubts, walk->doubt_count, &after);
    return disk_sim__from_store(config, &after);
}
