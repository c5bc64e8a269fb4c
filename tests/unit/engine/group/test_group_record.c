/* Goal: the log alone brings everything back that was told. Method: damaged records first; golden
 * bytes; random work with a restart after every hundred steps, compared with the coordinator that
 * went on. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static enum rc
replay(struct fixture *fixture, const void *key, size_t key_count, const void *value, size_t count)
{
    struct diag_trail trail = {0};

    return groups_replay(
        fixture->groups, (struct bytes){key, key_count}, (struct bytes){value, count}, &trail);
}

Test(group_replay, refuses_damaged_records_and_skips_other_kinds, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    static const uint8_t offset_key[] = {0, 1, 0, 1, 'g', 0, 2, 't', '3', 0, 0, 0, 1};
    static const uint8_t value[] = {0, 3, 0, 0,   0, 0, 0, 0, 0, 9, 0, 0, 0,
                                    4, 0, 1, 'm', 0, 0, 0, 0, 0, 0, 0, 8};
    static const uint8_t other_kind[] = {0, 77, 1, 2, 3};
    static const uint8_t group_key[] = {0, 2, 0, 1, 'g'};

    cr_expect_eq(replay(fixture, offset_key, 1, value, sizeof(value)), RC_CORRUPT);
    cr_expect_eq(replay(fixture, other_kind, sizeof(other_kind), value, sizeof(value)), RC_OK);
    for (size_t cut = 2; cut < sizeof(offset_key); cut++)
        cr_expect_eq(replay(fixture, offset_key, cut, value, sizeof(value)), RC_CORRUPT);
    for (size_t cut = 2; cut < sizeof(value); cut++)
        cr_expect_eq(replay(fixture, offset_key, sizeof(offset_key), value, cut), RC_CORRUPT);
    static const uint8_t newer[] = {0, 99};
    cr_expect_eq(replay(fixture, offset_key, sizeof(offset_key), newer, sizeof(newer)),
                 RC_NEWER_FORMAT);
    cr_expect_eq(replay(fixture, group_key, sizeof(group_key), newer, sizeof(newer)),
                 RC_NEWER_FORMAT);
    cr_expect_eq(replay(fixture, offset_key, sizeof(offset_key), value, sizeof(value)), RC_OK);
    uint64_t seen = fixture_fetch(fixture, "g", "t3", 1);
    cr_expect_eq(fixture_answer(fixture, seen)->offsets[0], 9);
    cr_expect_eq(replay(fixture, offset_key, sizeof(offset_key), NULL, 0), RC_OK);
    seen = fixture_fetch(fixture, "g", "t3", 1);
    cr_expect_eq(fixture_answer(fixture, seen)->offsets[0], -1, "a tombstone takes it back");
}

Test(group_record, has_the_form_that_readers_of_kafka_know, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct commit commit = {.group = "g",
                            .generation = -1,
                            .topic = "t3",
                            .partition = 1,
                            .offset = 9,
                            .metadata = "m"};
    static const uint8_t key[] = {0, 1, 0, 1, 'g', 0, 2, 't', '3', 0, 0, 0, 1};
    static const uint8_t value[] = {0, 3, 0, 0,   0, 0, 0, 0, 0, 9,    0,    0,   0,
                                    3, 0, 1, 'm', 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40};

    fixture_commit(fixture, &commit);
    cr_assert_eq(fixture->record_count, 1);
    cr_expect_eq(fixture->records[0].key.count, sizeof(key));
    cr_expect_arr_eq(fixture->records[0].key.at, key, sizeof(key));
    cr_expect_eq(fixture->records[0].value.count, sizeof(value));
    cr_expect_arr_eq(fixture->records[0].value.at, value, sizeof(value));
}

Test(group_replay, brings_members_back_that_go_on_where_they_were, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);
    struct fixture *next = fixture_restart(fixture);

    uint64_t beat = fixture_heartbeat(next, "g", one, generation);
    cr_expect_eq(fixture_answer(next, beat)->error, 0);
    uint64_t sync = fixture_sync(next, "g", one, generation, NULL);
    cr_expect_str_eq(fixture_answer(next, sync)->assignment, "all");
    uint64_t other = fixture_join(next, &(struct join){.group = "g", .version = 3});
    cr_expect(fixture_is_parked(next, other), "a newcomer makes it rebalance");
    fixture_pass(next, 10300);
    cr_expect_eq(fixture_answer(next, other)->error, 0, "the silent one does not hold it up");
}

struct model {
    int64_t offsets[4][4][4]; /* group, topic, partition; -1: none */
};

static void
expect_model(struct fixture *fixture, const struct model *model)
{
    for (int g = 0; g < 4; g++)
        for (int t = 0; t < 4; t++)
            for (int p = 0; p < 4; p++) {
                char group[8];
                char topic[8];
                snprintf(group, sizeof(group), "g%d", g);
                snprintf(topic, sizeof(topic), "%c4", 'a' + t);
                fixture->next_token = 2000;
                fixture->answers[2000] = (struct fixture_answer){0};
                uint64_t seen = fixture_fetch(fixture, group, topic, p);
                cr_assert_eq(fixture_answer(fixture, seen)->offsets[0], model->offsets[g][t][p]);
            }
}

Test(group_replay, equals_the_coordinator_that_went_on, .timeout = 60)
{
    struct fixture *fixture = fixture_new();
    struct model model;
    uint64_t seed = 20261121;

    memset(&model, 0xff, sizeof(model));
    printf("seed %llu\n", (unsigned long long)seed);
    for (int step = 0; step < 3000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int g = (int)(seed >> 33) % 4, t = (int)(seed >> 37) % 4, p = (int)(seed >> 41) % 4;
        char group[8];
        char topic[8];
        snprintf(group, sizeof(group), "g%d", g);
        snprintf(topic, sizeof(topic), "%c4", 'a' + t);
        fixture->next_token = 1;
        memset(fixture->answers, 0, 8 * sizeof(fixture->answers[0]));
        switch ((seed >> 50) % 8) {
        case 0:
            fixture_delete_offset(fixture, group, topic, p);
            model.offsets[g][t][p] = -1;
            break;
        case 1:
            if ((seed >> 55) % 8 == 0) {
                fixture_delete(fixture, group);
                memset(model.offsets[g], 0xff, sizeof(model.offsets[g]));
            }
            break;
        default: {
            struct commit commit = {
                .group = group, .generation = -1, .topic = topic, .partition = p, .offset = step};
            fixture_commit(fixture, &commit);
            model.offsets[g][t][p] = step;
        }
        }
        if (step % 100 == 99) {
            fixture = fixture_restart(fixture);
            uint64_t cursor = 0;
            cr_assert(groups_rewrite(fixture->groups, &cursor, fixture->time));
            fixture_durable(fixture, RC_OK);
            expect_model(fixture, &model);
        }
    }
}
