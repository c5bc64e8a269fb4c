/* Goal: no client, however strange, slow or dead, costs more than its limits or holds up another.
 * Method: hostile bytes first, then limits, deadlines and stopping, on the fixture's virtual time.
 */
#include "tests/unit/net/gate/fixture.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static uint64_t
closed(const struct fixture *fixture, enum gate_close_reason reason)
{
    return fixture_counter(&gate_counters(fixture->gate)->connections_closed[reason]);
}

/* Sends raw bytes on a new connection; true when the gate closed it. */
static bool
closes_on(struct fixture *fixture, const void *bytes, uint32_t count)
{
    uint32_t stream = fixture_connect(fixture);

    fixture_send(fixture, stream, bytes, count);
    fixture_run(fixture);
    bool is_closed = fixture_closed(fixture, stream);
    fixture_end(fixture, stream);
    fixture_run(fixture);
    return is_closed;
}

Test(gate_connection, closes_on_impossible_frames_with_a_counted_reason, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint8_t unproven[] = {0, 0, 0x50, 0, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff};

    cr_assert(closes_on(fixture, "\xff\xff\xff\xff", 4));
    cr_assert(closes_on(fixture, "\x7f\xff\xff\xff", 4));
    cr_assert(closes_on(fixture, "\0\0\0\3", 4));
    cr_assert(closes_on(fixture, "GET / HTTP/1.1\r\n\r\n", 18));
    cr_assert_eq(closed(fixture, GATE_CLOSE_FRAME), 4u);
    cr_assert(closes_on(fixture, "\0\0\0\x10\x03\xe7\0\0\0\0\0\1\xff\xff\0\0\0\0\0\0", 20));
    cr_assert(closes_on(fixture, "\0\0\0\x10\0\0\0\2\0\0\0\1\xff\xff\0\0\0\0\0\0", 20),
              "Produce 2");
    cr_assert_eq(closed(fixture, GATE_CLOSE_UNSUPPORTED), 2u);
    cr_assert(closes_on(fixture, unproven, sizeof(unproven)));
    cr_assert_eq(closed(fixture, GATE_CLOSE_UNPROVEN), 1u);
    cr_assert(closes_on(fixture, "\0\0\0\x0c\0\1\0\4\0\0\0\1\xff\xff\0\0", 16),
              "a Fetch that ends early");
    cr_assert_eq(closed(fixture, GATE_CLOSE_MALFORMED), 1u);
    cr_assert_not(closes_on(fixture, "\0\0\0\x10\0", 5), "not yet whole");
    fixture_free(fixture);
}

Test(gate_connection, survives_noise, .timeout = 60)
{
    struct fixture *fixture = fixture_new(NULL);
    uint8_t noise[600];

    for (uint32_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)clock_random(&fixture->clock);
        memcpy(noise, "\0\0\2\x30\0", 5);
        noise[5] = (uint8_t)(i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 18);
        noise[6] = 0;
        noise[7] = (uint8_t)(3 + i % 10);
        memset(noise + 12, 0, i % 40);
        closes_on(fixture, noise, sizeof(noise));
        fixture->stream_count = 0;
    }
    fixture_free(fixture);
}

Test(gate_connection, answers_api_versions_of_any_version_by_itself, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    uint8_t request[] = {0, 0, 0, 13, 0, 18, 0, 0, 0, 0, 0, 9, 0, 3, 'a', 'b', 'c'};

    fixture_send(fixture, stream, request, sizeof(request));
    fixture_run(fixture);
    struct bytes frame = fixture_frame(fixture, stream);
    cr_assert_eq(fixture_frame_correlation(frame), 9);
    cr_assert_eq(get_u16_be(frame.at + 4), 0);
    request[7] = 99;
    fixture_send(fixture, stream, request, sizeof(request));
    fixture_run(fixture);
    frame = fixture_frame(fixture, stream);
    cr_assert_eq(get_u16_be(frame.at + 4), 35);
    cr_assert_not(fixture_closed(fixture, stream));
    cr_assert_eq(fixture->control_count, 0u);
    fixture_free(fixture);
}

/* A Metadata v1 request for all topics. */
static void
metadata(struct fixture *fixture, uint32_t stream, uint8_t correlation)
{
    uint8_t request[] = {
        0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, correlation, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    fixture_send(fixture, stream, request, sizeof(request));
}

Test(gate_connection, passes_other_requests_to_control_and_grows_the_reply, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    static const uint32_t sizes[] = {8, 4000, 4092, 5000, 300000, 2000000};

    for (uint8_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        fixture->control_reply_bytes = sizes[i];
        metadata(fixture, stream, i);
        fixture_run(fixture);
        struct bytes frame = fixture_frame(fixture, stream);
        cr_assert_eq(fixture_frame_correlation(frame), i);
        cr_assert_eq(frame.count, 4 + sizes[i]);
        cr_assert_eq(frame.at[frame.count - 1], 0xab);
    }
    fixture_free(fixture);
}

/* Heartbeat v0: API key 12. */
static void
heartbeat(struct fixture *fixture, uint32_t stream, uint8_t correlation)
{
    const uint8_t request[] = {0,    0,    0, 20, 0,   12, 0, 0, 0, 0, 0, correlation,
                               0xff, 0xff, 0, 1,  'g', 0,  0, 0, 1, 0, 1, 'm'};

    fixture_send(fixture, stream, request, sizeof(request));
}

Test(gate_connection, wakes_control_at_once_for_all_but_heartbeats, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    fixture->control_held = true;
    fixture_run(fixture);
    fixture->control_wakes = 0;
    for (uint8_t i = 0; i < 5; i++) {
        heartbeat(fixture, stream, i);
        fixture_run(fixture);
    }
    cr_assert_eq(fixture->control_wakes, 0, "heartbeats wait for company");
    fixture_advance(fixture, NS_PER_MS);
    cr_assert_eq(fixture->control_wakes, 0);
    fixture_advance(fixture, NS_PER_MS);
    cr_assert_eq(fixture->control_wakes, 1, "one for all of them");
    fixture_advance(fixture, NS_PER_S);
    cr_assert_eq(fixture->control_wakes, 1, "and no other without need");
    heartbeat(fixture, stream, 5);
    fixture_run(fixture);
    metadata(fixture, stream, 6);
    fixture_run(fixture);
    cr_assert_eq(fixture->control_wakes, 2, "something else does not wait");
    fixture_advance(fixture, NS_PER_S);
    cr_assert_eq(fixture->control_wakes, 2, "the heartbeat went along");
    fixture->control_held = false;
    fixture_run(fixture);
    for (uint8_t i = 0; i < 7; i++)
        cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), i);
    fixture_free(fixture);
}

Test(gate_connection, closes_when_control_finds_a_request_malformed_or_too_large, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    fixture->control_reply_bytes = 20000000;
    metadata(fixture, stream, 1);
    fixture_run(fixture);
    cr_assert(fixture_closed(fixture, stream));
    cr_assert_eq(closed(fixture, GATE_CLOSE_LIMIT), 1u);
    fixture_free(fixture);
}

Test(gate_connection, sends_many_requests_to_control_through_a_small_ring, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.ring_slots = 8});
    uint32_t stream = fixture_connect(fixture);

    fixture->control_held = true;
    for (uint8_t i = 0; i < 60; i++)
        metadata(fixture, stream, i);
    fixture_run(fixture);
    fixture->control_held = false;
    fixture_run(fixture);
    for (uint8_t i = 0; i < 60; i++)
        cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), i);
    fixture_free(fixture);
}

Test(gate_connection, gives_up_requests_to_control_of_a_lost_client, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.ring_slots = 8});
    uint32_t stream = fixture_connect(fixture);

    fixture->control_held = true;
    for (uint8_t i = 0; i < 60; i++)
        metadata(fixture, stream, i);
    fixture_end(fixture, stream);
    fixture_run(fixture);
    fixture->streams[stream].shut = true;
    fixture_run(fixture);
    fixture_free(fixture);
}

Test(gate_connection, refuses_connections_beyond_the_limit, .timeout = 20)
{
    struct fixture *fixture = fixture_new(&(struct fixture_options){.connections_max = 3});

    for (uint32_t i = 0; i < 5; i++)
        fixture_connect(fixture);
    fixture_run(fixture);
    cr_assert_not(fixture_closed(fixture, 2));
    cr_assert(fixture_closed(fixture, 3));
    cr_assert(fixture_closed(fixture, 4));
    cr_assert_eq(fixture_counter(&gate_counters(fixture->gate)->connections_refused), 2u);
    fixture_end(fixture, 0);
    fixture_run(fixture);
    uint32_t again = fixture_connect(fixture);
    fixture_run(fixture);
    cr_assert_not(fixture_closed(fixture, again));
    fixture_free(fixture);
}

Test(gate_connection, does_not_spin_when_descriptors_run_out, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);

    fixture_run(fixture);
    fixture->accept_error = EMFILE;
    uint32_t stream = fixture_connect(fixture);
    fixture_run(fixture);
    cr_assert_not(fixture->accept_pending);
    cr_assert_not(fixture->streams[stream].accepted);
    fixture_advance(fixture, 101 * NS_PER_MS);
    cr_assert(fixture->streams[stream].accepted);
    cr_assert_eq(fixture_counter(&gate_counters(fixture->gate)->accept_errors), 1u);
    fixture_free(fixture);
}

Test(gate_connection, tries_again_when_the_io_takes_no_more, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    for (uint8_t i = 0; i < 10; i++) {
        fixture->io_refuse = 3;
        metadata(fixture, stream, i);
        fixture_run(fixture);
        fixture_advance(fixture, 2 * NS_PER_MS);
        cr_assert_eq(fixture_frame_correlation(fixture_frame(fixture, stream)), i);
    }
    fixture_free(fixture);
}

Test(gate_connection, closes_the_idle_and_spares_the_active, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t idle = fixture_connect(fixture);
    uint32_t active = fixture_connect(fixture);

    fixture_run(fixture);
    for (uint8_t i = 0; i < 12; i++) {
        metadata(fixture, active, i);
        fixture_advance(fixture, 55 * NS_PER_S);
        fixture_frame_correlation(fixture_frame(fixture, active));
    }
    cr_assert(fixture_closed(fixture, idle));
    cr_assert_not(fixture_closed(fixture, active));
    cr_assert_eq(closed(fixture, GATE_CLOSE_IDLE), 1u);
    fixture_free(fixture);
}

Test(gate_connection, cuts_off_who_trickles_bytes, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    uint32_t seconds = 0;

    fixture_send(fixture, stream, "\0\0\x10\0\0\3\0\1", 8);
    fixture_run(fixture);
    for (; seconds < 100 && !fixture_closed(fixture, stream); seconds++) {
        fixture_send(fixture, stream, "\0", 1);
        fixture_advance(fixture, NS_PER_S);
    }
    cr_assert_leq(seconds, 32u);
    cr_assert_geq(seconds, 29u);
    cr_assert_eq(closed(fixture, GATE_CLOSE_PROGRESS), 1u);
    fixture_free(fixture);
}

Test(gate_connection, bears_a_steady_slow_sender, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);
    uint8_t *batch = kept(malloc(1 << 20));
    uint8_t *memory = kept(malloc(2 << 20));
    struct fixture_produce produce = {.version = 7, .acks = 1, .topic = "t"};

    produce.records = (struct bytes){.at = batch,
                                     .count = fixture_batch(batch, 1 << 20, 3, 200000)};
    uint32_t bytes = fixture_produce(fixture, memory, 2 << 20, &produce);
    for (uint32_t at = 0; at < bytes; at += 8192) {
        fixture_send(fixture, stream, memory + at, min_u32(8192, bytes - at));
        fixture_advance(fixture, NS_PER_S);
        cr_assert_not(fixture_closed(fixture, stream), "at %u", at);
    }
    fixture_frame_correlation(fixture_frame(fixture, stream));
    fixture_free(fixture);
    free(batch);
    free(memory);
}

Test(gate_connection, answers_what_is_under_way_when_stopped, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t busy = fixture_connect(fixture);
    uint32_t parked = fixture_connect(fixture);
    uint32_t idle = fixture_connect(fixture);
    uint8_t batch[1024];
    struct fixture_produce produce = {.version = 7, .acks = 1, .topic = "t"};
    struct fixture_fetch fetch = {.version = 11,
                                  .max_wait_ms = 60000,
                                  .min_bytes = 1,
                                  .topic = "t",
                                  .partition_count = 1,
                                  .partition_max_bytes = 1000};

    produce.records = (struct bytes){.at = batch,
                                     .count = fixture_batch(batch, sizeof(batch), 1, 10)};
    fixture->hold_appends = true;
    fixture_produce_send(fixture, busy, &produce);
    fixture_fetch_send(fixture, parked, &fetch);
    fixture_run(fixture);
    gate_stop(fixture->gate);
    fixture->accept_pending = false;
    fixture_step(fixture);
    gate_tile_ops.complete(fixture->gate, fixture->accept_tag, -ECANCELED);
    fixture_run(fixture);
    cr_assert(fixture_closed(fixture, idle));
    cr_assert_neq(fixture_frame(fixture, parked).at, NULL);
    cr_assert(fixture_closed(fixture, parked));
    cr_assert_not(gate_is_stopped(fixture->gate));
    fixture_answer_held(fixture, 0, RC_OK);
    fixture_run(fixture);
    cr_assert_neq(fixture_frame(fixture, busy).at, NULL);
    cr_assert(fixture_closed(fixture, busy));
    cr_assert(gate_is_stopped(fixture->gate));
    fixture_free(fixture);
}

Test(gate_connection, stops_by_force_when_time_is_up, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    uint32_t stream = fixture_connect(fixture);

    fixture->streams[stream].stuck = true;
    metadata(fixture, stream, 1);
    fixture_run(fixture);
    gate_stop(fixture->gate);
    fixture->accept_pending = false;
    fixture_step(fixture);
    gate_tile_ops.complete(fixture->gate, fixture->accept_tag, -ECANCELED);
    fixture_run(fixture);
    cr_assert_not(gate_is_stopped(fixture->gate));
    fixture_advance(fixture, 6 * NS_PER_S);
    cr_assert(gate_is_stopped(fixture->gate));
    fixture_free(fixture);
}

Test(gate_init, names_the_limit_that_is_out_of_range, .timeout = 20)
{
    struct fixture *fixture = fixture_new(NULL);
    struct gate_config config = fixture->config;
    struct diag_trail trail;
    struct gate *gate;

    config.limits.connections_max = 0;
    diag_trail_clear(&trail);
    cr_assert_eq(gate_init(fixture->gate, &config, &gate, &trail), RC_INVALID);
    cr_assert_neq(strstr(trail.text, "connections.max"), NULL);
    fixture_free(fixture);
}
