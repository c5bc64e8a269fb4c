/* Goal: members of the consumer protocol (KIP-848) get their partitions, give them up before others
 * get them, and are fenced when they are not who they were. Method: scripted heartbeats and time;
 * bad requests first. */
#include "tests/unit/engine/group/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture *
with_topics(void)
{
    struct fixture *fixture = fixture_new();

    fixture->topics[0] = (struct fixture_topic){"a", 1, 4};
    fixture->topics[1] = (struct fixture_topic){"b", 2, 2};
    fixture->topics[2] = (struct fixture_topic){"orders-1", 3, 2};
    fixture->topic_count = 3;
    return fixture;
}

static const struct fixture_answer *
beat(struct fixture *fixture, const struct beat *beat)
{
    return fixture_answer(fixture, fixture_beat(fixture, beat));
}

static struct beat
first(const char *member)
{
    return (struct beat){
        .group = "g", .member = member, .names = "a", .owned = "", .rebalance_ms = 10000};
}

/* A plain heartbeat that says what the member holds. */
static const struct fixture_answer *
on(struct fixture *fixture, const char *member, int32_t epoch, const char *owned)
{
    return beat(fixture,
                &(struct beat){.group = "g", .member = member, .epoch = epoch, .owned = owned});
}

static int16_t
error_of(struct fixture *fixture, const struct beat *what)
{
    return beat(fixture, what)->error;
}

Test(consumer_group, refuses_requests_that_make_no_sense, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat bad = first("m");

    bad.group = "";
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad = first("");
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST, "version 1 needs an id");
    bad = first("m");
    bad.rebalance_ms = 0;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad = first("m");
    bad.owned = NULL;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad.owned = "a:0";
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad = first("m");
    bad.names = NULL;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad = first("m");
    bad.epoch = -3;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST);
    bad.epoch = -2;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REQUEST, "only static members");
    bad = first("m");
    bad.assignor = "sticky";
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_UNSUPPORTED_ASSIGNOR);
    bad = first("m");
    bad.regex = "a{3}";
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_INVALID_REGULAR_EXPRESSION);
    bad = first("m");
    bad.epoch = 4;
    cr_expect_eq(error_of(fixture, &bad), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 0, "no group came of it");
}

Test(consumer_group, gives_a_partition_on_only_when_it_was_given_up, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1"), two = first("m2");

    const struct fixture_answer *answer = beat(fixture, &one);
    cr_expect_eq(answer->error, 0);
    cr_expect_eq(answer->generation, 1);
    cr_expect_str_eq(answer->member_id, "m1");
    cr_expect_str_eq(answer->assignment, "a:0,1,2,3");
    cr_expect_str_eq(on(fixture, "m1", 1, "a:0,1,2,3")->assignment, "-", "nothing new");
    cr_expect_eq(groups_count(fixture->groups, GROUP_STABLE), 1);

    answer = beat(fixture, &two);
    cr_expect_eq(answer->generation, 2);
    cr_expect_str_eq(answer->assignment, "", "all is held by the other one");
    cr_expect_eq(groups_count(fixture->groups, GROUP_RECONCILING), 1);
    answer = on(fixture, "m1", 1, NULL);
    cr_expect_eq(answer->generation, 1, "it stays in its epoch until it has given up");
    cr_expect_str_eq(answer->assignment, "a:0,1");
    cr_expect_str_eq(on(fixture, "m2", 2, "")->assignment, "-");
    answer = on(fixture, "m1", 1, "a:0,1,2,3");
    cr_expect_eq(answer->generation, 1);
    cr_expect_str_eq(on(fixture, "m2", 2, "")->assignment, "-");
    answer = on(fixture, "m1", 1, "a:0,1");
    cr_expect_eq(answer->generation, 2);
    cr_expect_str_eq(on(fixture, "m2", 2, "")->assignment, "a:2,3");
    cr_expect_eq(groups_count(fixture->groups, GROUP_STABLE), 1);

    struct beat bye = {.group = "g", .member = "m1", .epoch = -1};
    answer = beat(fixture, &bye);
    cr_expect_eq(answer->error, 0);
    cr_expect_eq(answer->generation, -1);
    cr_expect_str_eq(on(fixture, "m2", 2, "a:2,3")->assignment, "a:0,1,2,3");
    bye.member = "m2";
    cr_expect_eq(error_of(fixture, &bye), 0);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
    cr_expect_eq(error_of(fixture, &bye), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

Test(consumer_group, fences_epochs_but_takes_a_lost_answer_again, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");

    cr_assert_eq(beat(fixture, &one)->generation, 1);
    cr_expect_eq(on(fixture, "m1", 2, NULL)->error, KAFKA_ERROR_FENCED_MEMBER_EPOCH);
    cr_expect_eq(on(fixture, "m1", 0, "b:0")->error, KAFKA_ERROR_INVALID_REQUEST);
    cr_expect_str_eq(beat(fixture, &one)->assignment, "a:0,1,2,3", "its first answer was lost");
    struct beat more = {.group = "g", .member = "m1", .epoch = 1, .names = "a,b"};
    cr_assert_eq(beat(fixture, &more)->generation, 2);
    cr_expect_eq(on(fixture, "m1", 1, NULL)->error, KAFKA_ERROR_FENCED_MEMBER_EPOCH);
    cr_expect_eq(on(fixture, "m1", 1, "a:0,1;b:7")->error, KAFKA_ERROR_FENCED_MEMBER_EPOCH);
    const struct fixture_answer *answer = on(fixture, "m1", 1, "a:0,1,2,3");
    cr_expect_eq(answer->error, 0);
    cr_expect_eq(answer->generation, 2);
    cr_expect_str_eq(answer->assignment, "a:0,1,2,3;b:0,1", "told until it is confirmed");
    one.names = "b";
    answer = beat(fixture, &one);
    cr_expect_eq(answer->error, 0, "who was fenced comes back under its id, without waiting");
    cr_expect_eq(answer->generation, 3);
    cr_expect_str_eq(answer->assignment, "b:0,1");
}

Test(consumer_group, tells_nothing_before_it_is_durable, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");

    fixture->auto_durable = false;
    uint64_t joins = fixture_beat(fixture, &one);
    cr_expect(fixture_is_parked(fixture, joins));
    fixture_durable(fixture, RC_NO_SPACE);
    cr_expect_eq(fixture_answer(fixture, joins)->error, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    joins = fixture_beat(fixture, &one);
    cr_expect(fixture_is_parked(fixture, joins), "written anew");
    fixture_durable(fixture, RC_OK);
    cr_expect_str_eq(fixture_answer(fixture, joins)->assignment, "a:0,1,2,3");
    fixture->log_full = true;
    struct beat more = {.group = "g", .member = "m1", .epoch = 1, .names = "a,b"};
    cr_expect_eq(error_of(fixture, &more), KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    fixture->log_full = false;
    fixture->auto_durable = true;
    cr_expect_str_eq(on(fixture, "m1", 1, NULL)->assignment, "a:0,1,2,3;b:0,1");
}

Test(consumer_group, puts_out_who_is_silent_or_does_not_give_up, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1"), two = first("m2");

    beat(fixture, &one);
    fixture_pass(fixture, 44000);
    cr_expect_eq(on(fixture, "m1", 1, NULL)->error, 0);
    beat(fixture, &two);
    cr_expect_str_eq(on(fixture, "m1", 1, NULL)->assignment, "a:0,1");
    for (int i = 0; i < 12; i++) {
        fixture_pass(fixture, 1000);
        on(fixture, "m1", 1, "a:0,1,2,3"); /* speaks, but keeps what it shall give up */
        on(fixture, "m2", 2, NULL);
    }
    cr_expect_eq(on(fixture, "m1", 1, NULL)->error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_str_eq(on(fixture, "m2", 3, NULL)->assignment, "a:0,1,2,3");
    fixture_pass(fixture, 45200);
    cr_expect_eq(on(fixture, "m2", 3, NULL)->error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    cr_expect_eq(groups_counters(fixture->groups)->rebalances_expired, 2);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
}

Test(consumer_group, keeps_the_partitions_of_a_static_member_that_is_away, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1"), two = first("m2");

    one.instance = "i1";
    beat(fixture, &one);
    struct beat other = one;
    other.member = "m9";
    cr_expect_eq(error_of(fixture, &other), KAFKA_ERROR_UNRELEASED_INSTANCE_ID);
    struct beat away = {.group = "g", .member = "m9", .instance = "i1", .epoch = -2};
    cr_expect_eq(error_of(fixture, &away), KAFKA_ERROR_FENCED_INSTANCE_ID);
    away.member = "m1";
    cr_expect_eq(beat(fixture, &away)->generation, -2);
    two.assignor = "range";
    cr_expect_str_eq(beat(fixture, &two)->assignment, "", "they wait for it");
    const struct fixture_answer *answer = beat(fixture, &other);
    cr_expect_eq(answer->error, 0);
    cr_expect_str_eq(answer->member_id, "m9");
    cr_expect_str_eq(answer->assignment, "a:0,1", "range by instance and member ids");
    struct beat late = {.group = "g", .member = "m1", .instance = "i1", .epoch = 1};
    cr_expect_eq(error_of(fixture, &late), KAFKA_ERROR_FENCED_INSTANCE_ID);
    struct fixture *next = fixture_restart(fixture);
    struct beat still = {
        .group = "g", .member = "m9", .instance = "i1", .epoch = answer->generation};
    cr_expect_eq(error_of(next, &still), 0);
}

Test(consumer_group, follows_topics_that_grow_come_and_go, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");

    one.regex = "orders-\\d+";
    cr_expect_str_eq(beat(fixture, &one)->assignment, "a:0,1,2,3;orders-1:0,1");
    fixture->topics[0].partitions = 5;
    fixture->topics[3] = (struct fixture_topic){"orders-2", 4, 1};
    fixture->topic_count = 4;
    fixture->topics_version++;
    cr_expect_str_eq(on(fixture, "m1", 1, NULL)->assignment, "a:0,1,2,3,4;orders-1:0,1;orders-2:0");
    fixture->topics[2].partitions = 0;
    fixture->topics_version++;
    const struct fixture_answer *answer = on(fixture, "m1", 2, NULL);
    cr_expect_str_eq(answer->assignment, "a:0,1,2,3,4;orders-2:0");
    cr_expect_eq(answer->generation, 2);
    cr_expect_eq(on(fixture, "m1", 2, "a:0,1,2,3,4;orders-2:0")->generation, 3);
    fixture->topics[0].id = 9; /* deleted and made again */
    fixture->topics_version++;
    on(fixture, "m1", 3, "orders-2:0");
    cr_expect_str_eq(on(fixture, "m1", 4, "orders-2:0")->assignment, "a:0,1,2,3,4;orders-2:0");
}

Test(consumer_group, commits_and_fetches_by_member_epoch, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");
    struct commit commit = {
        .group = "g", .member = "m1", .generation = 1, .topic = "t3", .offset = 5, .version = 9};

    beat(fixture, &one);
    cr_expect_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0], 0);
    commit.version = 8;
    cr_expect_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0],
                 KAFKA_ERROR_UNSUPPORTED_VERSION);
    commit.version = 9;
    commit.generation = 0;
    cr_expect_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0],
                 KAFKA_ERROR_STALE_MEMBER_EPOCH);
    commit.generation = -1;
    commit.member = "";
    cr_expect_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0],
                 KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    struct txn_commit txn = {
        .producer = 7, .group = "g", .member = "m1", .generation = 9, .topic = "t3", .offset = 6};
    cr_expect_eq(fixture_answer(fixture, fixture_txn_commit(fixture, &txn))->errors[0],
                 KAFKA_ERROR_ILLEGAL_GENERATION);
    txn.generation = 1;
    cr_expect_eq(fixture_answer(fixture, fixture_txn_commit(fixture, &txn))->errors[0], 0);
}

Test(consumer_group, keeps_the_protocols_apart_and_turns_when_empty, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");
    int32_t generation;

    const char *member = fixture_stable(fixture, "g", &generation);
    cr_expect_eq(error_of(fixture, &one), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    fixture_leave(fixture, "g", member);
    cr_expect_eq(error_of(fixture, &one), 0, "an empty group turns");
    struct join join = {.group = "g", .client = "c", .version = 3};
    cr_expect_eq(fixture_answer(fixture, fixture_join(fixture, &join))->error,
                 KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    cr_expect_eq(fixture_answer(fixture, fixture_heartbeat(fixture, "g", "m1", 1))->error,
                 KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    const struct fixture_answer *seen = fixture_answer(fixture, fixture_describe(fixture, "g"));
    cr_expect_str_eq(seen->states[0], "Stable", "older tools see it too");
    cr_expect_eq(seen->member_count, 1);
    fixture = fixture_restart(fixture);
    fixture_leave(fixture, "g", "m1"); /* as tools do */
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
    fixture_stable(fixture, "g", &generation);
    cr_expect_eq(groups_count(fixture->groups, GROUP_STABLE), 1, "and back");
    fixture = fixture_restart(fixture);
    cr_expect_eq(groups_count(fixture->groups, GROUP_STABLE), 1);
    cr_expect_eq(error_of(fixture, &one), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

Test(consumer_group, leaves_nothing_behind, .timeout = 10)
{
    struct fixture *fixture = with_topics();

    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "m%d", i);
        struct beat one = first(name);
        one.regex = ".*";
        one.instance = i == 1 ? "i" : NULL;
        cr_assert_eq(error_of(fixture, &one), 0);
    }
    fixture_pass(fixture, 60000);
    cr_expect_eq(groups_count(fixture->groups, GROUP_EMPTY), 1);
    cr_expect_eq(fixture_answer(fixture, fixture_delete(fixture, "g"))->errors[0], 0);
    cr_expect_eq(groups_memory_used(fixture->groups), 0);
    cr_expect_eq(groups_count(fixture_restart(fixture)->groups, GROUP_EMPTY), 0);
}

Test(consumer_group, is_described_with_what_members_hold_and_shall_hold, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1"), two = first("m2");
    int32_t generation;

    cr_expect_eq(fixture_describe_consumers(fixture, "g")->error, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    fixture_stable(fixture, "old", &generation);
    cr_expect_eq(fixture_describe_consumers(fixture, "old")->error,
                 KAFKA_ERROR_GROUP_ID_NOT_FOUND,
                 "classic: tools ask DescribeGroups then");
    one.names = "a,gone";
    one.instance = "i1";
    beat(fixture, &one);
    two.regex = "orders-.*";
    beat(fixture, &two);
    const struct fixture_answer *seen = fixture_describe_consumers(fixture, "g");
    cr_expect_eq(seen->error, 0);
    cr_expect_str_eq(seen->text,
                     "Reconciling 2 uniform\n"
                     "m1@1 c /h instance=i1 reads a,gone regex= has=a:0,1,2,3 target=a:1,2,3\n"
                     "m2@2 c /h instance= reads a regex=orders-.* has=orders-1:0,1 "
                     "target=a:0;orders-1:0,1");
    fixture_pass(fixture, 60000);
    cr_expect_str_eq(fixture_describe_consumers(fixture, "g")->text, "Empty 4 uniform");
}

Test(consumer_group, keeps_the_offsets_of_topics_that_members_read, .timeout = 10)
{
    struct fixture *fixture = with_topics();
    struct beat one = first("m1");
    struct commit commit = {.group = "g", .member = "m1", .generation = 1, .version = 9};
    static const char *const topics[] = {"t1", "t2", "t3"};

    for (int i = 0; i < 3; i++)
        fixture->topics[i] = (struct fixture_topic){topics[i], (uint8_t)(i + 1), 1};
    one.names = "t1";
    one.regex = ".3";
    beat(fixture, &one);
    for (int i = 0; i < 3; i++) {
        commit.topic = topics[i];
        cr_assert_eq(fixture_answer(fixture, fixture_commit(fixture, &commit))->errors[0], 0);
    }
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t1", 0))->errors[0],
                 KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC);
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t3", 0))->errors[0],
                 KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC,
                 "by its pattern");
    cr_expect_eq(fixture_answer(fixture, fixture_delete_offset(fixture, "g", "t2", 0))->errors[0],
                 0);
}
