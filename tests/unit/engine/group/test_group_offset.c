/* Goal: committed offsets are told only when durable, only to groups they belong to, and end when
 * their time has come. Method: scripted requests; bad input first. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int16_t
commit_error(struct fixture *fixture, const struct commit *commit)
{
    return fixture_answer(fixture, fixture_commit(fixture, commit))->errors[0];
}

static int64_t
fetched(struct fixture *fixture, const char *group, const char *topic, int32_t partition)
{
    uint64_t token = fixture_fetch(fixture, group, topic, partition);
    return fixture_answer(fixture, token)->offsets[0];
}

Test(group_commit, refuses_strangers_and_what_does_not_exist, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct commit commit = {.group = "g", .generation = 0, .topic = "t3", .offset = 5};
    int32_t generation;

    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_ILLEGAL_GENERATION);
    commit.version = 9;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    commit = (struct commit){.group = "", .generation = -1, .topic = "t3"};
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_INVALID_GROUP_ID);
    commit = (struct commit){.group = "s", .generation = -1, .topic = "t3", .partition = 3};
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    commit.partition = -1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    commit.partition = 2;
    commit.metadata = "seventeen letters";
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE);

    const char *one = fixture_stable(fixture, "g", &generation);
    commit = (struct commit){.group = "g", .generation = -1, .topic = "t3", .offset = 5};
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    commit.member = one;
    commit.generation = generation + 1;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_ILLEGAL_GENERATION);
    commit.generation = generation;
    cr_expect_eq(commit_error(fixture, &commit), KAFKA_ERROR_NONE);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
}

Test(group_commit, is_told_and_seen_only_when_durable, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct commit commit = {
        .group = "s", .generation = -1, .topic = "t3", .offset = 5, .metadata = "m"};

    fixture->auto_durable = false;
    uint64_t first = fixture_commit(fixture, &commit);
    cr_assert(fixture_is_parked(fixture, first));
    cr_expect_eq(fetched(fixture, "s", "t3", 0), -1);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, first)->errors[0], 0);
    uint64_t seen = fixture_fetch(fixture, "s", "t3", 0);
    cr_expect_eq(fixture_answer(fixture, seen)->offsets[0], 5);
    cr_expect_str_eq(fixture_answer(fixture, seen)->metadata[0], "m");

    commit.offset = 9;
    uint64_t second = fixture_commit(fixture, &commit);
    fixture_durable(fixture, RC_IO_ERROR);
    cr_expect_eq(fixture_answer(fixture, second)->errors[0], KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(fetched(fixture, "s", "t3", 0), 5, "what failed is not seen");
    fixture->log_full = true;
    uint64_t third = fixture_commit(fixture, &commit);
    cr_expect_eq(fixture_answer(fixture, third)->errors[0],
                 KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
}

Test(group_commit, keeps_places_for_what_is_under_way, .timeout = 10)
{
    struct groups_limits limits = fixture_limits();

    limits.offsets_max = 2;
    struct fixture *fixture = fixture_with(&limits);
    struct commit commit = {.group = "s", .generation = -1, .topic = "t9", .offset = 1};
    fixture->auto_durable = false;
    uint64_t tokens[3];
    for (int i = 0; i < 3; i++) {
        commit.partition = i;
        tokens[i] = fixture_commit(fixture, &commit);
    }
    cr_expect_eq(fixture_answer(fixture, tokens[2])->errors[0],
                 KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, tokens[0])->errors[0], 0);
    cr_expect_eq(fixture_answer(fixture, tokens[1])->errors[0], 0);
    commit.partition = 1;
    commit.offset = 7;
    uint64_t again = fixture_commit(fixture, &commit);
    fixture_durable(fixture, RC_OK);
    cr_expect_eq(fixture_answer(fixture, again)->errors[0], 0, "a known place is used again");
}

Test(group_fetch, lists_all_offsets_and_knows_no_unknown_group, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    cr_expect_eq(fetched(fixture, "none", "t3", 1), -1);
    const char *topics[] = {"b3", "a3", "b3", "a3"};
    for (int i = 0; i < 4; i++) {
        struct commit commit = {.group = "s",
                                .generation = -1,
                                .topic = topics[i],
                                .partition = i / 2,
                                .offset = 100 + i};
        cr_assert_eq(commit_error(fixture, &commit), 0);
    }
    const struct fixture_answer *all = fixture_answer(fixture,
                                                      fixture_fetch(fixture, "s", NULL, 0));
    int64_t sum = 0;
    cr_assert_eq(all->item_count, 4);
    for (uint32_t i = 0; i < all->item_count; i++)
        sum += all->offsets[i];
    cr_expect_eq(sum, 406);
    cr_expect_eq(fixture_answer(fixture, fixture_fetch(fixture, "none", NULL, 0))->item_count, 0);
}

Test(group_delete, takes_only_groups_without_members, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);
    struct commit commit = {
        .group = "g", .member = one, .generation = generation, .topic = "t3", .offset = 5};

    cr_assert_eq(commit_error(fixture, &commit), 0);
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "none"))->errors[0],
                 KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "g"))->errors[0],
                 KAFKA_ERROR_NON_EMPTY_GROUP);
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t3", 0))->errors[0],
                 KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC,
                 "its metadata is no subscription: who knows");
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
    fixture_leave(fixture, "g", one);
    fixture_delete_offset(fixture, "g", "t3", 0);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "g"))->errors[0], 0);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 0);
    cr_expect_eq(groups_memory_used(fixture->groups), 0, "nothing is left of it");
}

/* A member that reads t1 and t2, with offsets of t1 and t3. */
static void
reading(struct fixture *fixture, const char *type, const char *topics)
{
    const struct join join = {
        .group = "g", .client = "c", .version = 3, .topics = topics, .type = type};
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_join(fixture, &join));
    struct commit commit = {.group = "g",
                            .member = answer->member_id,
                            .generation = answer->generation,
                            .topic = "t1",
                            .offset = 5};
    char pair[200];

    snprintf(pair, sizeof(pair), "%s=all", answer->member_id);
    fixture_sync(fixture, "g", answer->member_id, answer->generation, pair);
    cr_assert_eq(commit_error(fixture, &commit), 0);
    commit.topic = "t3";
    cr_assert_eq(commit_error(fixture, &commit), 0);
}

Test(group_delete, of_offsets_spares_what_members_read, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    reading(fixture, NULL, "t1,t2");
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t1", 0))->errors[0],
                 KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC);
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t3", 0))->errors[0],
                 0);
    cr_expect_eq(fetched(fixture, "g", "t1", 0), 5);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
}

Test(group_delete, of_offsets_is_refused_to_members_of_other_types, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    reading(fixture, "connect", "t1,t2");
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t3", 0))->error,
                 KAFKA_ERROR_NON_EMPTY_GROUP);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
}

Test(group_expiry, ends_offsets_after_the_retention_of_an_empty_group, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);
    struct commit commit = {
        .group = "g", .member = one, .generation = generation, .topic = "t3", .offset = 5};

    cr_assert_eq(commit_error(fixture, &commit), 0);
    for (int i = 0; i < 40; i++) {
        fixture_pass(fixture, 5000);
        fixture_heartbeat(fixture, "g", one, generation);
    }
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5, "a group with members keeps its offsets");
    fixture_leave(fixture, "g", one);
    fixture_pass(fixture, 50000);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), 5);
    fixture_pass(fixture, 80000);
    cr_expect_eq(fetched(fixture, "g", "t3", 0), -1);
    cr_expect_eq(groups_counters(fixture->groups)->offsets_expired, 1);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 0);
}
