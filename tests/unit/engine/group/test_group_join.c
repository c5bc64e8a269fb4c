/* Goal: members come, agree, stay and go as the classic protocol says, and nobody waits for ever.
 * Method: scripted requests and time against the coordinator alone; bad input first. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static int16_t
join_error(struct fixture *fixture, const struct join *join)
{
    return fixture_answer(fixture, fixture_join(fixture, join))->error;
}

Test(group_join, refuses_what_makes_no_sense, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    cr_expect_eq(join_error(fixture, &(struct join){.group = ""}), KAFKA_ERROR_INVALID_GROUP_ID);
    cr_expect_eq(join_error(fixture, &(struct join){.group = "g", .session_ms = 5999}),
                 KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    cr_expect_eq(join_error(fixture, &(struct join){.group = "g", .session_ms = 1800001}),
                 KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    cr_expect_eq(join_error(fixture, &(struct join){.group = "g", .session_ms = -1}),
                 KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    cr_expect_eq(join_error(fixture, &(struct join){.group = "g", .member = "nobody"}),
                 KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_eq(join_error(fixture, &(struct join){.group = "g", .protocols = ""}),
                 KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 0, "nothing was made");
}

Test(group_join, gives_an_id_first_and_forgets_it_when_nobody_comes, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct join join = {.group = "g", .client = "app"};
    const struct fixture_answer *first = fixture_answer(fixture, fixture_join(fixture, &join));

    cr_assert_eq(first->error, KAFKA_ERROR_MEMBER_ID_REQUIRED);
    cr_assert(strncmp(first->member_id, "app-", 4) == 0, "%s", first->member_id);
    fixture_pass(fixture, 10100);
    join.member = first->member_id;
    cr_expect_eq(join_error(fixture, &join), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    fixture_pass(fixture, 61000);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 0, "a group that never was is gone");
}

Test(group_join, lets_a_lone_member_lead_generation_one, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct join join = {.group = "g", .client = "app", .protocols = "range,sticky"};
    const struct fixture_answer *first = fixture_answer(fixture, fixture_join(fixture, &join));

    join.member = first->member_id;
    const struct fixture_answer *second = fixture_answer(fixture, fixture_join(fixture, &join));
    cr_expect_eq(second->error, 0);
    cr_expect_eq(second->generation, 1);
    cr_expect_str_eq(second->leader, first->member_id);
    cr_expect_str_eq(second->protocol, "range");
    cr_expect_eq(second->member_count, 1);
}

Test(group_join, parks_until_all_members_are_back, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);

    uint64_t two = fixture_join(fixture, &(struct join){.group = "g", .client = "b", .version = 3});
    cr_assert(fixture_is_parked(fixture, two));
    uint64_t beat = fixture_heartbeat(fixture, "g", one, generation);
    cr_expect_eq(fixture_answer(fixture, beat)->error, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    uint64_t again = fixture_join(fixture, &(struct join){.group = "g", .member = one});
    cr_expect_eq(fixture_answer(fixture, again)->generation, generation + 1);
    cr_expect_eq(fixture_answer(fixture, again)->member_count, 2, "the leader sees the members");
    cr_expect_eq(fixture_answer(fixture, two)->generation, generation + 1);
    cr_expect_eq(fixture_answer(fixture, two)->member_count, 0, "others do not");
    cr_expect_str_eq(fixture_answer(fixture, two)->leader, one);

    char pairs[300];
    const char *other = fixture_answer(fixture, two)->member_id;
    snprintf(pairs, sizeof(pairs), "%s=0,%s=1", one, other);
    uint64_t follower = fixture_sync(fixture, "g", other, generation + 1, NULL);
    cr_assert(fixture_is_parked(fixture, follower), "the leader has not spoken");
    uint64_t leader = fixture_sync(fixture, "g", one, generation + 1, pairs);
    cr_expect_str_eq(fixture_answer(fixture, leader)->assignment, "0");
    cr_expect_str_eq(fixture_answer(fixture, follower)->assignment, "1");
    uint64_t described = fixture_describe(fixture, "g");
    cr_expect_str_eq(fixture_answer(fixture, described)->states[0], "Stable");
    cr_expect_eq(fixture_answer(fixture, described)->member_count, 2);
}

Test(group_join, answers_a_sync_only_when_the_assignment_is_durable, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct join join = {.group = "g", .client = "c", .version = 3};
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_join(fixture, &join));

    fixture->auto_durable = false;
    char pair[200];
    snprintf(pair, sizeof(pair), "%s=x", answer->member_id);
    uint64_t sync = fixture_sync(fixture, "g", answer->member_id, 1, pair);
    cr_assert(fixture_is_parked(fixture, sync));
    fixture_durable(fixture, RC_IO_ERROR);
    cr_expect_eq(fixture_answer(fixture, sync)->error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    sync = fixture_sync(fixture, "g", answer->member_id, 1, pair);
    cr_assert(fixture_is_parked(fixture, sync), "the generation can still be completed");
    fixture_durable(fixture, RC_OK);
    cr_expect_str_eq(fixture_answer(fixture, sync)->assignment, "x");
}

Test(group_join, takes_the_protocol_that_all_know_and_most_want, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct groups_limits limits = fixture_limits();

    limits.initial_delay_ns = 100 * NS_PER_MS;
    fixture = fixture_with(&limits);
    uint64_t a = fixture_join(
        fixture, &(struct join){.group = "g", .version = 3, .protocols = "only_a,range,sticky"});
    uint64_t b = fixture_join(
        fixture, &(struct join){.group = "g", .version = 3, .protocols = "sticky,range"});
    uint64_t c = fixture_join(
        fixture, &(struct join){.group = "g", .version = 3, .protocols = "sticky,range,only_c"});
    uint64_t d = fixture_join(fixture,
                              &(struct join){.group = "g", .version = 3, .protocols = "only_d"});
    cr_expect_eq(fixture_answer(fixture, d)->error, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    fixture_pass(fixture, 300);
    cr_expect_str_eq(fixture_answer(fixture, a)->protocol, "sticky");
    cr_expect_str_eq(fixture_answer(fixture, b)->protocol, "sticky");
    cr_expect_eq(fixture_answer(fixture, c)->generation, 1, "one rebalance for three newcomers");
}

Test(group_join, ends_the_collecting_of_newcomers_at_the_rebalance_timeout, .timeout = 10)
{
    struct groups_limits limits = fixture_limits();

    limits.initial_delay_ns = 3000 * NS_PER_MS;
    struct fixture *fixture = fixture_with(&limits);
    uint64_t first = fixture_join(fixture,
                                  &(struct join){.group = "g", .version = 3, .rebalance_ms = 7000});
    for (int i = 0; i < 3; i++) {
        fixture_pass(fixture, 2000);
        fixture_join(fixture, &(struct join){.group = "g", .version = 3, .rebalance_ms = 7000});
    }
    cr_assert(fixture_is_parked(fixture, first));
    fixture_pass(fixture, 1200);
    cr_expect_eq(fixture_answer(fixture, first)->member_count, 4);
}

Test(group_join, drops_members_that_do_not_come_back, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);

    uint64_t two = fixture_join(fixture,
                                &(struct join){.group = "g", .version = 3, .rebalance_ms = 8000});
    for (int i = 0; i < 70 && fixture_is_parked(fixture, two); i++) {
        fixture_pass(fixture, 1000);
        fixture_heartbeat(fixture, "g", one, generation);
    }
    cr_expect_eq(fixture_answer(fixture, two)->generation, generation + 1);
    cr_expect_str_eq(fixture_answer(fixture, two)->leader, fixture_answer(fixture, two)->member_id);
    uint64_t beat = fixture_heartbeat(fixture, "g", one, generation);
    cr_expect_eq(fixture_answer(fixture, beat)->error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

Test(group_join, drops_members_that_never_ask_for_their_assignment, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct join join = {.group = "g", .version = 3, .rebalance_ms = 7000, .session_ms = 60000};
    const struct fixture_answer *answer = fixture_answer(fixture, fixture_join(fixture, &join));

    cr_assert_eq(answer->error, 0);
    fixture_pass(fixture, 7200);
    uint64_t beat = fixture_heartbeat(fixture, "g", answer->member_id, answer->generation);
    cr_expect_eq(fixture_answer(fixture, beat)->error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
}

Test(group_join, ends_the_session_of_a_silent_member, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);

    for (int i = 0; i < 30; i++) {
        fixture_pass(fixture, 3000);
        uint64_t beat = fixture_heartbeat(fixture, "g", one, generation);
        cr_assert_eq(fixture_answer(fixture, beat)->error, 0);
    }
    fixture_pass(fixture, 10200);
    uint64_t described = fixture_describe(fixture, "g");
    cr_expect_str_eq(fixture_answer(fixture, described)->states[0], "Empty");
    cr_expect_eq(groups_counters(fixture->groups)->rebalances_expired, 1);
}

Test(group_join, lets_a_static_member_restart_without_a_rebalance, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct join join = {.group = "g", .instance = "i1", .client = "c", .version = 9};
    const struct fixture_answer *first = fixture_answer(fixture, fixture_join(fixture, &join));
    char pair[200];

    cr_assert_eq(first->error, 0, "no id is asked for first");
    snprintf(pair, sizeof(pair), "%s=mine", first->member_id);
    fixture_sync(fixture, "g", first->member_id, 1, pair);
    const struct fixture_answer *second = fixture_answer(fixture, fixture_join(fixture, &join));
    cr_expect_eq(second->error, 0);
    cr_expect_eq(second->generation, 1, "same generation");
    cr_expect(second->skip_assignment);
    cr_expect_str_neq(second->member_id, first->member_id);
    uint64_t sync = fixture_sync(fixture, "g", second->member_id, 1, NULL);
    cr_expect_str_eq(fixture_answer(fixture, sync)->assignment, "mine");

    join.member = first->member_id;
    cr_expect_eq(join_error(fixture, &join), KAFKA_ERROR_FENCED_INSTANCE_ID, "the former self");
    join.member = NULL;
    join.meta = "changed";
    const struct fixture_answer *third = fixture_answer(fixture, fixture_join(fixture, &join));
    cr_expect_eq(third->generation, 2, "another subscription is a rebalance");
}

Test(group_join, refuses_more_members_than_a_group_may_have, .timeout = 10)
{
    struct groups_limits limits = fixture_limits();

    limits.size_max = 2;
    limits.initial_delay_ns = NS_PER_S;
    struct fixture *fixture = fixture_with(&limits);
    struct join join = {.group = "g", .version = 3};
    fixture_join(fixture, &join);
    fixture_join(fixture, &join);
    cr_expect_eq(join_error(fixture, &join), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
}

Test(group_leave, makes_the_others_rebalance_and_tells_who_is_unknown, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);

    cr_expect_eq(fixture_answer(fixture, fixture_leave(fixture, "none", one))->error,
                 KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    uint64_t unknown = fixture_leave(fixture, "g", "nobody");
    cr_expect_eq(fixture_answer(fixture, unknown)->errors[0], KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    uint64_t left = fixture_leave(fixture, "g", one);
    cr_expect_eq(fixture_answer(fixture, left)->errors[0], 0);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
    cr_expect_eq(groups_counters(fixture->groups)->rebalances_left, 1);
}

Test(group_sync, tells_each_wrong_caller_why, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    int32_t generation;
    const char *one = fixture_stable(fixture, "g", &generation);

    uint64_t none = fixture_sync(fixture, "none", one, generation, NULL);
    cr_expect_eq(fixture_answer(fixture, none)->error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    uint64_t old = fixture_sync(fixture, "g", one, generation - 1, NULL);
    cr_expect_eq(fixture_answer(fixture, old)->error, KAFKA_ERROR_ILLEGAL_GENERATION);
    fixture_join(fixture, &(struct join){.group = "g", .version = 3});
    uint64_t during = fixture_sync(fixture, "g", one, generation, NULL);
    cr_expect_eq(fixture_answer(fixture, during)->error, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
}
