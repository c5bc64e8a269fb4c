/* Goal: the table of limits knows each client id once, keeps its bound, and the nearer limit
 * counts. Method: what is refused first; then single changes; then a seeded history against a plain
 * model.
 */
#include "hw/clock/clock.h"
#include "net/request/quota.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct quota_entity
entity_of(const char *name, uint8_t set, double limit)
{
    struct quota_entity entity = {.is_default = name == NULL, .set = set};

    if (name != NULL) {
        entity.name_count = (uint8_t)strlen(name);
        memcpy(entity.name, name, entity.name_count);
    }
    for (uint32_t i = 0; i < QUOTA_KIND_COUNT; i++)
        entity.limits[i] = limit;
    return entity;
}

static struct bytes
name_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void *
memory_of(uint32_t entities_max)
{
    size_t bytes = round_up(quota_entities_footprint(entities_max), 64);
    void *memory = aligned_alloc(64, bytes);

    cr_assert_not_null(memory);
    memset(memory, 0xee, bytes); /* nothing may rely on clean memory */
    return memory;
}

Test(quota_entities, refuses_one_more_than_its_limit_and_forgets_what_has_none, .timeout = 10)
{
    struct quota_entities entities;
    void *memory = memory_of(2);
    struct quota_entity a = entity_of("a", 1, 5);
    struct quota_entity b = entity_of("b", 1, 5);
    struct quota_entity c = entity_of("c", 1, 5);
    struct quota_entity fallback = entity_of(NULL, 1, 5);

    quota_entities_init(&entities, memory, 2, 7);
    cr_assert_eq(quota_entities_apply(&entities, &a), RC_OK);
    cr_assert_eq(quota_entities_apply(&entities, &b), RC_OK);
    cr_assert_eq(quota_entities_check(&entities, &c), RC_LIMIT);
    cr_assert_eq(quota_entities_apply(&entities, &c), RC_LIMIT);
    cr_assert_null(quota_entities_find(&entities, name_of("c")));
    cr_assert_eq(quota_entities_check(&entities, &a), RC_OK, "it is there already");
    cr_assert_eq(
        quota_entities_apply(&entities, &fallback), RC_OK, "the default has its own place");
    a.set = 0;
    cr_assert_eq(quota_entities_apply(&entities, &a), RC_OK);
    cr_assert_null(quota_entities_find(&entities, name_of("a")));
    cr_assert_eq(quota_entities_apply(&entities, &c), RC_OK);
    cr_assert_not_null(quota_entities_find(&entities, name_of("c")));
    c.set = 0;
    a.set = 0;
    cr_assert_eq(
        quota_entities_apply(&entities, &a), RC_OK, "forgetting an unknown one is nothing");
    cr_assert_eq(entities.count, 2u);
    free(memory);
}

Test(quota_entities, let_a_name_go_before_the_default_each_kind_for_itself, .timeout = 10)
{
    struct quota_entities entities;
    void *memory = memory_of(4);
    struct quota_entity own = entity_of("", 1u << QUOTA_PRODUCE, 10);
    struct quota_entity fallback = entity_of(NULL, 1u << QUOTA_PRODUCE | 1u << QUOTA_FETCH, 20);

    quota_entities_init(&entities, memory, 4, 7);
    cr_assert_eq(quota_entities_limit(&entities, NULL, QUOTA_FETCH), 0.0);
    cr_assert_eq(quota_entities_apply(&entities, &own), RC_OK);
    cr_assert_eq(quota_entities_apply(&entities, &fallback), RC_OK);
    const struct quota_entity *found = quota_entities_find(&entities, (struct bytes){NULL, 0});
    cr_assert_not_null(found, "the empty client id is a name");
    cr_assert_eq(quota_entities_limit(&entities, found, QUOTA_PRODUCE), 10.0);
    cr_assert_eq(quota_entities_limit(&entities, found, QUOTA_FETCH), 20.0);
    cr_assert_eq(quota_entities_limit(&entities, found, QUOTA_REQUEST), 0.0);
    cr_assert_eq(quota_entities_limit(&entities, NULL, QUOTA_PRODUCE), 20.0);
    free(memory);
}

#define MODEL_NAMES 40u
#define MODEL_MAX 24u

Test(quota_entities, agree_with_a_model_over_a_random_history, .timeout = 20)
{
    struct quota_entities entities;
    struct clock clock;
    double model[MODEL_NAMES] = {0};
    uint32_t count = 0;
    char name[16];

    clock_init_sim(&clock, 41, 0);
    void *memory = memory_of(MODEL_MAX);
    quota_entities_init(&entities, memory, MODEL_MAX, clock_random(&clock));
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t which = (uint32_t)clock_random_below(&clock, MODEL_NAMES);
        double limit = (double)clock_random_below(&clock, 3);
        snprintf(name, sizeof(name), "client-%u", which);
        struct quota_entity entity = entity_of(name, limit > 0 ? 1 : 0, limit);
        bool fits = limit <= 0 || model[which] > 0 || count < MODEL_MAX;
        cr_assert_eq(quota_entities_apply(&entities, &entity), fits ? RC_OK : RC_LIMIT);
        if (fits) {
            count += (limit > 0 ? 1u : 0u) - (model[which] > 0 ? 1u : 0u);
            model[which] = limit;
        }
        const struct quota_entity *found = quota_entities_find(&entities, name_of(name));
        cr_assert_eq(found != NULL, model[which] > 0, "seed 41 step %u", step);
        cr_assert(found == NULL || found->limits[0] == model[which]);
    }
    uint32_t cursor = 0;
    uint32_t seen = 0;
    while (quota_entities_next(&entities, &cursor) != NULL)
        seen++;
    cr_assert_eq(seen, count);
    cr_assert_eq(entities.count, count);
    free(memory);
}
