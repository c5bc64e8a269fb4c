/* Goal: the small requests, the limits of calls, and disk jobs.
 * Method: bad input first; one request each over all served versions; jobs between admin requests.
 */
#include "tests/unit/engine/control/fixture.h"

#include <criterion/criterion.h>

Test(calls, refuses_what_does_not_parse_or_is_not_served_here, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct kafka_metadata_request metadata;
    struct kafka_fetch_request fetch;

    kafka_metadata_request_defaults(&metadata);
    uint32_t cut = fixture_send(fixture, 0, KAFKA_METADATA, 1, &metadata);
    kafka_fetch_request_defaults(&fetch);
    uint32_t foreign = fixture_send(fixture, 0, KAFKA_FETCH, 4, &fetch);
    /* The last bytes of the body are taken away: the ring holds copies of the request, so it is
     * changed there. */
    struct ring *ring = &fixture->gates[0].requests;
    ((struct request *)(void *)ring->slots)[cut].u.kafka.frame_bytes -= 2;
    fixture_run(fixture);
    cr_assert_eq(fixture->calls[cut].rc, RC_MALFORMED);
    cr_assert_eq(fixture->calls[foreign].rc, RC_UNSUPPORTED);
    cr_assert_eq(atomic_load(&control_counters(fixture->control)->calls_refused), 2u);
    fixture_free(fixture);
}

Test(calls, tells_how_many_bytes_an_answer_needs_and_does_nothing_twice, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);
    struct kafka_create_topics_topic topic;
    struct kafka_create_topics_request request;
    struct kafka_metadata_request metadata;
    struct ring *ring = &fixture->gates[0].requests;

    kafka_create_topics_topic_defaults(&topic);
    kafka_create_topics_request_defaults(&request);
    topic.name = fixture_text("a");
    topic.partition_count = 1;
    topic.replication_factor = 1;
    request.topics.at = &topic;
    request.topics.count = 1;
    uint32_t slot = (uint32_t)atomic_load(&ring->tail);
    uint32_t call = fixture_send(fixture, 0, KAFKA_CREATE_TOPICS, 7, &request);
    ((struct request *)(void *)ring->slots)[slot].u.kafka.reply_capacity = 20;
    fixture_run(fixture);
    cr_assert_eq(fixture->calls[call].rc, RC_NO_MEMORY);
    cr_assert_gt(fixture->calls[call].bytes, 1000u);
    cr_assert_eq(fixture_live(fixture), 0u, "nothing was done");

    kafka_metadata_request_defaults(&metadata);
    slot = (uint32_t)atomic_load(&ring->tail);
    call = fixture_send(fixture, 0, KAFKA_METADATA, 9, &metadata);
    ((struct request *)(void *)ring->slots)[slot].u.kafka.reply_capacity = 20;
    fixture_run(fixture);
    uint32_t needed = fixture->calls[call].bytes;
    cr_assert_eq(fixture->calls[call].rc, RC_NO_MEMORY);
    slot = (uint32_t)atomic_load(&ring->tail);
    call = fixture_send(fixture, 0, KAFKA_METADATA, 9, &metadata);
    ((struct request *)(void *)ring->slots)[slot].u.kafka.reply_capacity = needed;
    fixture_run(fixture);
    cr_assert_eq(fixture->calls[call].rc, RC_OK);
    cr_assert_eq(fixture->calls[call].bytes, needed);
    fixture_free(fixture);
}

Test(calls, wait_their_turn_when_more_come_than_fit, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    struct kafka_describe_cluster_request request;
    struct kafka_describe_cluster_response response;

    kafka_describe_cluster_request_defaults(&request);
    for (uint32_t i = 0; i < FIXTURE_CALLS; i++) /* calls_max is 32 */
        fixture_send(fixture, i % 2, KAFKA_DESCRIBE_CLUSTER, (int16_t)(i & 1), &request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < FIXTURE_CALLS; i++) {
        fixture_answer(fixture, i, &response);
        cr_assert_eq(response.error, 0);
        cr_assert_eq(response.brokers.count, 1u);
        cr_assert_eq(response.controller_id, 1);
    }
    fixture_free(fixture);
}

Test(describe_cluster, refuses_the_controllers_door, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);
    struct kafka_describe_cluster_request request;
    struct kafka_describe_cluster_response response;

    kafka_describe_cluster_request_defaults(&request);
    request.endpoint_type = 2;
    fixture_ask(fixture, KAFKA_DESCRIBE_CLUSTER, 1, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_MISMATCHED_ENDPOINT_TYPE);
    fixture_free(fixture);
}

Test(find_coordinator, makes_the_group_log_and_then_says_here, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);
    struct bytes keys[2] = {fixture_text("g1"), fixture_text("g2")};
    struct kafka_find_coordinator_request request;
    struct kafka_find_coordinator_response response;

    kafka_find_coordinator_request_defaults(&request);
    request.key = fixture_text("g");
    request.keys.at = keys;
    request.keys.count = 2;
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 0, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, "its log is being made");
    cr_assert_eq(response.node_id, -1);
    for (int16_t version = 0; version <= 3; version++) {
        fixture_ask(fixture, KAFKA_FIND_COORDINATOR, version, &request, &response);
        cr_assert_eq(response.error, KAFKA_ERROR_NONE);
        cr_assert_eq(response.node_id, 1);
        cr_assert_eq(response.port, 9092);
    }
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 4, &request, &response);
    cr_assert_eq(response.coordinators.count, 2u);
    cr_assert_eq(response.coordinators.at[1].error, KAFKA_ERROR_NONE);
    request.key_type = 1; /* transactions */
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 4, &request, &response);
    cr_assert_eq(response.coordinators.at[0].error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_assert_eq(response.coordinators.at[1].port, -1);
    fixture_free(fixture);
}

static int64_t
new_producer(struct fixture *fixture)
{
    struct kafka_init_producer_id_request request;
    struct kafka_init_producer_id_response response;

    kafka_init_producer_id_request_defaults(&request);
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    cr_assert_eq(response.error, 0);
    cr_assert_eq(response.producer_epoch, 0);
    return response.producer_id;
}

Test(init_producer_id, never_gives_an_id_twice_also_after_a_restart, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(6);
    int64_t last = -1;

    for (uint32_t i = 0; i < 60; i++) {
        int64_t id = new_producer(fixture);
        cr_assert_gt(id, last);
        last = id;
        if (i % 7 == 6) {
            fixture_restart(fixture);
            fixture_run(fixture);
        }
    }
    fixture_free(fixture);
}

Test(init_producer_id, waits_until_its_block_is_durable, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);
    struct kafka_init_producer_id_request request;
    struct kafka_init_producer_id_response response;
    uint32_t calls[15];

    kafka_init_producer_id_request_defaults(&request);
    fixture->logs[0].hold = true;
    for (uint32_t i = 0; i < 15; i++) /* one block and a half */
        calls[i] = fixture_send(fixture, 0, KAFKA_INIT_PRODUCER_ID, (int16_t)(i % 6), &request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 15; i++)
        cr_assert_not(fixture->calls[calls[i]].done);
    fixture_release(fixture, 0);
    fixture_run(fixture);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < 15; i++) {
        fixture_answer(fixture, calls[i], &response);
        cr_assert_geq(response.producer_id, 1000);
        cr_assert_lt(response.producer_id, 1020);
        cr_assert_eq(seen >> (response.producer_id - 1000) & 1, 0u, "given twice");
        seen |= UINT64_C(1) << (response.producer_id - 1000);
    }
    fixture_free(fixture);
}

Test(init_producer_id, refuses_transactions_by_the_proper_codes, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(8);
    struct kafka_init_producer_id_request request;
    struct kafka_init_producer_id_response response;

    kafka_init_producer_id_request_defaults(&request);
    request.transactional_id = fixture_text("");
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_INVALID_REQUEST);
    request.transactional_id = fixture_text("tx");
    request.transaction_timeout_ms = 16 * 60 * 1000;
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT);
    request.transaction_timeout_ms = 60000;
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    cr_assert_eq(response.error, KAFKA_ERROR_NONE);
    cr_assert_eq(response.producer_epoch, 0);
    fixture_free(fixture);
}

/* A disk whose every call succeeds and is counted. */
struct counting_disk {
    struct disk disk;
    uint32_t syncs;
};

static enum rc
count_sync(struct disk *disk, int fd)
{
    (void)fd;
    ((struct counting_disk *)(void *)disk)->syncs++;
    return RC_OK;
}

Test(disk_jobs, run_before_boot_in_order_and_a_few_per_poll, .timeout = 20)
{
    static const struct disk_ops ops = {.sync = count_sync};
    struct counting_disk disk = {.disk = {&ops}};
    struct fixture *fixture = fixture_new(9);
    static struct disk_job jobs[40];
    struct disk_job *job;

    fixture->config.disk = &disk.disk;
    fixture_restart(fixture);
    fixture->logs[0].hold = true; /* boot makes no progress; jobs must */
    for (uint32_t i = 0; i < 40; i++) {
        jobs[i] = (struct disk_job){.kind = DISK_JOB_SYNC, .result = RC_IO_ERROR, .ctx = i};
        job = &jobs[i];
        cr_assert_eq(ring_push(&fixture->logs[i % 2].jobs, &job, 1), 1u);
    }
    control_tile_ops.poll(fixture->control, clock_now_ns(&fixture->clock));
    cr_assert_eq(disk.syncs, 16u, "eight of each log tile");
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_BOOTING);
    cr_assert_eq(disk.syncs, 40u);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(ring_pop(&fixture->logs[1].jobs_done, &job, 1), 1u);
        cr_assert_eq(job->ctx, 2 * i + 1);
        cr_assert_eq(job->result, RC_OK);
    }
    fixture_free(fixture);
}

static void
count_topics(struct control *control, void *ctx)
{
    struct control_topic_view topic;
    struct control_partition_view partition;
    uint32_t cursor = 0;
    uint32_t *counts = ctx;

    while (control_next_topic(control, &cursor, &topic)) {
        counts[0]++;
        for (uint32_t i = 0; i < topic.partition_count; i++) {
            control_partition(control, &topic, i, &partition);
            counts[1] += partition.rc == RC_OK && partition.slot != UINT32_MAX;
        }
    }
}

Test(questions, see_topics_and_partitions_in_controls_own_poll, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(10);
    uint32_t counts[2] = {0, 0};

    cr_assert_eq(fixture_create(fixture, "a", 3), 0);
    cr_assert_eq(fixture_create(fixture, "b", 4), 0);
    struct control_question question = {.run = count_topics, .ctx = counts};
    cr_assert(control_ask(fixture->control, &question, NULL));
    cr_assert_not(control_ask(fixture->control, &question, NULL), "one at a time");
    cr_assert_not(control_answered(fixture->control));
    fixture_run(fixture);
    cr_assert(control_answered(fixture->control));
    cr_assert_eq(counts[0], 2u);
    cr_assert_eq(counts[1], 7u);
    fixture_free(fixture);
}
