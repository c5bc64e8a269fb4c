/* Goal: tools find the groups that they ask for, and many things asked in one request are answered
 * one by one. Method: groups of all kinds in a scripted coordinator; bad input first. */
#include "tests/unit/engine/group/fixture_more.h"

#include <criterion/criterion.h>

/* "idle" has offsets and never had members, "old" is of the classic protocol, "new" of KIP-848. */
static const char *
of_all_kinds(struct fixture *fixture)
{
    struct commit commit = {.group = "idle", .generation = -1, .topic = "t1", .offset = 5};
    struct beat beat = {
        .group = "new", .member = "m", .names = "t1", .owned = "", .rebalance_ms = 10000};
    int32_t generation;

    fixture->topics[0] = (struct fixture_topic){"t1", 1, 1};
    fixture->topic_count = 1;
    cr_assert_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0], 0);
    cr_assert_eq(fixture_answer(fixture, fixture_beat(fixture, &beat))->error, 0);
    return fixture_stable(fixture, "old", &generation);
}

Test(group_list, finds_groups_by_state_and_type_whatever_the_case, .timeout = 10)
{
    struct fixture *fixture = fixture_new();

    cr_expect_str_eq(fixture_list_groups(fixture, NULL, NULL), "");
    of_all_kinds(fixture);
    cr_expect_str_eq(fixture_list_groups(fixture, "nosuchstate", NULL), "");
    cr_expect_str_eq(fixture_list_groups(fixture, NULL, "nosuchtype"), "");
    cr_expect_str_eq(fixture_list_groups(fixture, "Empty", NULL), "idle/Empty/Classic/");
    cr_expect_str_eq(fixture_list_groups(fixture, "stable", "classic"),
                     "old/Stable/Classic/consumer");
    cr_expect_str_eq(fixture_list_groups(fixture, NULL, "CONSUMER"),
                     "new/Stable/Consumer/consumer");
    cr_expect_str_eq(fixture_list_groups(fixture, "Stable,Empty", "consumer,classic"),
                     fixture_list_groups(fixture, NULL, NULL));
    cr_expect_str_eq(fixture_list_groups(fixture, "Empty", "consumer"), "");
}

Test(group_leave, answers_every_member_of_a_batch, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    const char *member = of_all_kinds(fixture);
    struct kafka_leave_group_request_member_identity list[3];
    struct kafka_leave_group_request request;
    struct group_call call = fixture_begin(fixture, 13, 5, "c");

    kafka_leave_group_request_defaults(&request);
    for (int i = 0; i < 3; i++)
        kafka_leave_group_request_member_identity_defaults(&list[i]);
    list[0].member_id = text("nobody");
    list[1].member_id = text(member);
    list[2].member_id = text("");
    list[2].group_instance_id = text("no-instance");
    request.group_id = text("old");
    request.members.at = list;
    request.members.count = 3;
    groups_leave(fixture->groups, &call, &request, fixture->time);
    const struct fixture_answer *left = fixture_answer(fixture, fixture_end(fixture, &call));
    cr_assert_eq(left->item_count, 3u);
    cr_expect_eq(left->error, 0);
    cr_expect_eq(left->errors[0], KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_eq(left->errors[1], 0);
    cr_expect_eq(left->errors[2], KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_str_eq(fixture_list_groups(fixture, NULL, "classic"),
                     "idle/Empty/Classic/ old/Empty/Classic/consumer");
}

Test(group_delete, answers_every_group_of_a_batch, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    const struct bytes names[] = {text("none"), text("old"), text("idle"), text("new")};
    struct kafka_delete_groups_request request;
    struct group_call call;

    of_all_kinds(fixture);
    call = fixture_begin(fixture, 42, 2, "c");
    kafka_delete_groups_request_defaults(&request);
    request.groups_names.at = names;
    request.groups_names.count = 4;
    groups_delete(fixture->groups, &call, &request);
    const struct fixture_answer *gone = fixture_answer(fixture, fixture_end(fixture, &call));
    cr_assert_eq(gone->item_count, 4u);
    cr_expect_eq(gone->errors[0], KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    cr_expect_eq(gone->errors[1], KAFKA_ERROR_NON_EMPTY_GROUP);
    cr_expect_eq(gone->errors[2], 0);
    cr_expect_eq(gone->errors[3], KAFKA_ERROR_NON_EMPTY_GROUP);
    cr_expect_str_eq(fixture_list_groups(fixture, "empty", NULL), "");
}

Test(group_fetch, answers_every_group_of_a_batch_topic_by_topic, .timeout = 10)
{
    struct fixture *fixture = fixture_new();
    struct commit commit = {.group = "two", .generation = -1};
    static const char *const topics[] = {"t1", "t3", "t1", "t3", "t3"};
    static const int32_t partitions[] = {0, 1, 1, 0, 2};

    for (int i = 0; i < 5; i++) {
        commit.topic = topics[i];
        commit.partition = partitions[i];
        commit.offset = 10 + i;
        int16_t error = fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0];
        cr_assert_eq(error, commit.partition < topics[i][1] - '0' ? 0 : 3, "%d: %d", i, error);
    }
    commit.group = "one";
    commit.topic = "t1";
    commit.partition = 0;
    commit.offset = 7;
    cr_assert_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0], 0);
    cr_expect_str_eq(fixture_fetch_groups(fixture, "one,none,two"),
                     "one t1/0=7; none; two t1/0=10 t3/1=11 t3/0=13 t3/2=14");
}
