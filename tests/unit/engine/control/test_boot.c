/* Goal: control comes up from any stored metadata log with the same topics as before, forgets what
 * metadata do not name, and refuses to serve from a damaged log. Method: bad logs first; then
 * create, restart, compare, over scripted log tiles. */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture_partition *
metadata_log(struct fixture *fixture)
{
    for (uint32_t i = 0; i < FIXTURE_PARTITIONS; i++) {
        if (fixture->logs[0].partitions[i].live &&
            fixture->logs[0].partitions[i].config.incarnation == 1)
            return &fixture->logs[0].partitions[i];
    }
    return NULL;
}

Test(boot, stops_at_a_damaged_metadata_record_and_says_where, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    struct fixture_partition *log = metadata_log(fixture);
    log->batches[log->batch_count - 1][80] ^= 1;
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_FAILED);
    cr_assert_not_null(strstr(control_failure(fixture->control), "metadata log"));
    fixture_free(fixture);
}

Test(boot, stops_when_the_log_ends_before_its_high_watermark, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);

    metadata_log(fixture)->end += 5;
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_FAILED);
    fixture_free(fixture);
}

Test(boot, stops_when_the_metadata_log_cannot_be_opened, .timeout = 20)
{
    struct fixture *fixture = fixture_new(3);

    fixture->logs[0].fail_open_at = 1;
    fixture->logs[0].fail_open_rc = RC_HALTED;
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_FAILED);
    cr_assert_eq(control_is_ready(fixture->control), false);
    fixture_free(fixture);
}

Test(boot, names_the_cluster_once_and_for_ever, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);
    char id[32];

    strcpy(id, control_cluster_id(fixture->control));
    cr_assert_eq(strlen(id), 22u);
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control));
    cr_assert_str_eq(control_cluster_id(fixture->control), id);
    cr_assert_eq(metadata_log(fixture)->batch_count, 1u);
    fixture_free(fixture);
}

Test(boot, rebuilds_topics_opens_their_partitions_and_tells_the_gates, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);

    cr_assert_eq(fixture_create(fixture, "a", 4), 0);
    cr_assert_eq(fixture_create(fixture, "b", 2), 0);
    cr_assert_eq(fixture_create(fixture, "c", 2), 0);
    cr_assert_eq(fixture_delete(fixture, "b"), 0);
    cr_assert_eq(fixture_live(fixture), 6u);
    uint64_t incarnation = fixture_find(fixture, "c", 1)->config.incarnation;

    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control));
    cr_assert_eq(fixture_live(fixture), 6u);
    cr_assert_eq(fixture_find(fixture, "c", 1)->config.incarnation, incarnation);
    cr_assert_null(fixture_find(fixture, "b", 0));
    for (uint32_t g = 0; g < 2; g++) {
        uint32_t topics = 0;
        for (uint32_t i = 0; i < fixture->gates[g].event_count; i++)
            topics += fixture->gates[g].events[i].kind == EVENT_TOPIC;
        cr_assert_eq(topics, 2u);
    }
    cr_assert_eq(fixture_create(fixture, "d", 1), 0);
    cr_assert_gt(fixture_find(fixture, "d", 0)->config.incarnation, incarnation);
    fixture_free(fixture);
}

Test(boot, forgets_partitions_that_metadata_do_not_name, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(6);

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    fixture->logs[1].partitions[500] = (struct fixture_partition){.live = true,
                                                                  .config = {.incarnation = 999}};
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control));
    cr_assert_eq(fixture_live(fixture), 2u);
    cr_assert_eq(fixture->logs[0].prunes + fixture->logs[1].prunes, 4u, "once per tile and start");
    fixture_free(fixture);
}

Test(boot, serves_the_rest_when_one_partition_cannot_be_opened, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);
    struct kafka_metadata_request request;
    struct kafka_metadata_response response;
    uint32_t leaderless = 0;

    cr_assert_eq(fixture_create(fixture, "a", 8), 0);
    fixture_restart(fixture);
    fixture->logs[1].fail_open_at = 1;
    fixture->logs[1].fail_open_rc = RC_CORRUPT;
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control));
    kafka_metadata_request_defaults(&request);
    fixture_ask(fixture, KAFKA_METADATA, 9, &request, &response);
    cr_assert_eq(response.topics.count, 1u);
    cr_assert_eq(response.topics.at[0].partitions.count, 8u);
    for (uint32_t i = 0; i < 8; i++)
        leaderless += response.topics.at[0].partitions.at[i].leader_id == -1;
    cr_assert_eq(leaderless, 1u);
    fixture_free(fixture);
}

Test(boot, replays_a_long_history_of_creates_and_deletes, .timeout = 60)
{
    struct fixture *fixture = fixture_ready(8);
    char name[64];

    for (uint32_t i = 0; i < 120; i++) {
        snprintf(name, sizeof(name), "topic-%u", i);
        cr_assert_eq(fixture_create(fixture, name, 1), 0, "%u", i);
        if (i >= 60)
            cr_assert_eq(fixture_delete(fixture, name), 0);
        if (i == 60)
            fixture->config.limits.topics_max = 64;
    }
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert(control_is_ready(fixture->control), "%s", control_failure(fixture->control));
    cr_assert_eq(fixture_live(fixture), 60u);
    fixture_free(fixture);
}

Test(boot, refuses_limits_that_are_out_of_range, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(9);
    struct control_config config = fixture->config;
    struct diag_trail trail = {0};
    struct control *control;

    config.limits.operations_max = 1;
    cr_assert_eq(control_init(fixture->memory, &config, &control, &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "operations_max of control"));
}

Test(stop, asks_every_log_tile_and_ends_when_all_have_answered, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(10);

    fixture->logs[1].hold = true;
    control_stop(fixture->control);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_STOPPING);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_STOPPED);
    cr_assert_eq(fixture->logs[0].stops + fixture->logs[1].stops, 2u);
    fixture_free(fixture);
}
