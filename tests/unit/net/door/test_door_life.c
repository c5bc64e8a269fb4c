/* Goal: sessions begin by a grant and end with their cipher given back, whatever ends them; limits
 * are refused by name; a stop commits what is under way. Method: a door without clients first, then
 * clients that stay away, fall silent, or are in the middle of something. */
#include "tests/unit/net/door/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(door_life, a_limit_out_of_range_is_refused_by_its_name, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct door_config config = fixture->config;
    struct diag_trail trail = {0};
    struct door *door;

    config.limits.window = 257;
    cr_assert_eq(door_init(NULL, &config, &door, &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "native.window"));
    config = fixture->config;
    config.limits.produces_max = 3; /* less than one packet may hold */
    diag_trail_clear(&trail);
    cr_assert_eq(door_init(NULL, &config, &door, &trail), RC_INVALID);
    cr_assert_not_null(strstr(trail.text, "native.produces_max"));
    fixture_free(fixture);
}

Test(door_life, a_grant_that_nobody_uses_is_given_back, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct nic *nowhere;

    cr_assert_eq(nic_memory_add(fixture->net, &nowhere), RC_OK);
    (void)fixture_grant(fixture, nowhere);
    const struct nic_memory_faults all_lost = {.loss_ppm = 1000000};
    nic_memory_set_faults(fixture->net, &all_lost);
    fixture_run(fixture, 5 * NS_PER_S);
    cr_assert_eq(fixture->closed_events, 0u);
    fixture_run(fixture, 6 * NS_PER_S);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->opened_events, 0u);
    fixture_free(fixture);
    nic_close(nowhere);
}

Test(door_life, beyond_sessions_max_grants_come_back_at_once, .timeout = 30)
{
    const struct fixture_options options = {.sessions_max = 2};
    struct fixture *fixture = fixture_new(&options);

    (void)fixture_join(fixture);
    (void)fixture_join(fixture);
    (void)fixture_grant(fixture, fixture->client_nic);
    fixture_run(fixture, NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->close_code, (uint64_t)WIRE_CLOSE_LIMIT);
    cr_assert_eq(fixture_get(&fixture->door->gauges.sessions), 2u);
    fixture_free(fixture);
}

Test(door_life, silence_ends_a_session, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    const struct nic_memory_faults all_lost = {.loss_ppm = 1000000};

    cr_assert_eq(fixture->opened_events, 1u);
    fixture_run(fixture, 15 * NS_PER_S);
    cr_assert_eq(session_state(client->session), SESSION_OPEN, "an idle session must live");
    nic_memory_set_faults(fixture->net, &all_lost);
    fixture_run(fixture, 12 * NS_PER_S);
    cr_assert_eq(fixture->closed_events, 1u);
    cr_assert_eq(fixture->close_code, (uint64_t)UINT16_MAX);
    fixture_free(fixture);
}

Test(door_life, many_sessions_come_and_go, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    struct wire_commit commit;

    for (uint32_t i = 0; i < FIXTURE_CLIENTS; i++)
        (void)fixture_join(fixture);
    for (uint32_t i = 0; i < FIXTURE_CLIENTS; i++) {
        struct fixture_client *client = &fixture->clients[i];
        fixture_produce(fixture, client, i, i % 4, fixture_batch(30, i));
        fixture_run(fixture, 5 * NS_PER_MS);
        cr_assert(fixture_commit(client, i, &commit));
        session_close(client->session, WIRE_CLOSE_BYE, "done");
        fixture_run(fixture, 5 * NS_PER_MS);
        cr_assert_eq(fixture->closed_events, i + 1);
    }
    cr_assert_eq(fixture_get(&fixture->door->counters.sessions_closed), FIXTURE_CLIENTS);
    fixture_free(fixture);
}

Test(door_life, a_full_ring_to_the_exchange_delays_an_end_and_loses_nothing, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    const struct door_event filler = {.kind = DOOR_OPENED};
    struct door_event event;

    while (ring_push(&fixture->events, &filler, 1) == 1)
        continue;
    session_close(client->session, WIRE_CLOSE_BYE, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        clock_sim_advance(&fixture->clock, NS_PER_MS);
        fixture_client_step(fixture, client);
        (void)door_tile_ops.poll(fixture->door, clock_now_ns(&fixture->clock));
    }
    cr_assert_eq(fixture->door->sessions.used, 1u);
    while (ring_pop(&fixture->events, &event, 1) == 1)
        cr_assert_eq(event.kind, DOOR_OPENED);
    fixture_run(fixture, 5 * NS_PER_MS);
    cr_assert_eq(fixture->closed_events, 1u);
    fixture_free(fixture);
}

Test(door_life, a_stop_waits_for_results_and_says_so, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);
    struct wire_commit commit;

    fixture->answers_held = true;
    fixture_produce(fixture, client, 1, 0, fixture_batch(30, 1));
    fixture_run(fixture, 5 * NS_PER_MS);
    door_stop(fixture->door);
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert_not(door_is_stopped(fixture->door));
    cr_assert_eq(fixture->closed_events, 0u);
    fixture->answers_held = false;
    fixture_answer_held(fixture);
    fixture_run(fixture, 20 * NS_PER_MS);
    cr_assert(door_is_stopped(fixture->door));
    cr_assert(fixture_commit(client, 1, &commit));
    cr_assert_eq(commit.status, 0u);
    cr_assert_eq(session_state(client->session), SESSION_CLOSED);
    cr_assert_eq(session_close_code(client->session), WIRE_CLOSE_SHUTDOWN);
    fixture_free(fixture);
}

Test(door_life, a_stop_does_not_wait_for_a_deaf_client_for_ever, .timeout = 30)
{
    struct fixture *fixture = fixture_new(NULL);
    struct fixture_client *client = fixture_join(fixture);

    fixture_produce(fixture, client, 1, 0, fixture_batch(30, 1));
    fixture_run(fixture, FIXTURE_STEP_NS);
    client->deaf = true;
    fixture_run(fixture, NS_PER_MS);
    door_stop(fixture->door);
    fixture_run(fixture, 3 * NS_PER_S);
    cr_assert(door_is_stopped(fixture->door));
    cr_assert_eq(fixture->closed_events, 1u);
    fixture_free(fixture);
}
