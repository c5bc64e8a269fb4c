/* Goal: a transaction goes through control as its client sees it: the log made on demand,
 * partitions admitted before the answer, markers after the decision, everything resumed by the boot
 * before anybody is served. Method: requests through a scripted gate; log tiles that note
 * admissions and markers, refuse them, or hold answers back; restarts in every phase. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/control/control_internal.h"

#include <criterion/criterion.h>

struct producer {
    int16_t error;
    int64_t id;
    int16_t epoch;
};

static struct producer
init_producer(struct fixture *fixture, const char *id)
{
    struct kafka_init_producer_id_request request;
    struct kafka_init_producer_id_response response;

    kafka_init_producer_id_request_defaults(&request);
    request.transactional_id = fixture_text(id);
    request.transaction_timeout_ms = 60000;
    fixture_ask(fixture, KAFKA_INIT_PRODUCER_ID, 4, &request, &response);
    return (struct producer){response.error, response.producer_id, response.producer_epoch};
}

/* The log is made when it is asked for; who asks comes again. */
static struct producer
first_producer(struct fixture *fixture, const char *id)
{
    struct producer producer = init_producer(fixture, id);

    for (int i = 0; i < 4 && producer.error != 0; i++)
        producer = init_producer(fixture, id);
    cr_assert_eq(producer.error, 0);
    return producer;
}

static int16_t
add(struct fixture *fixture, const char *id, struct producer producer, const char *topic)
{
    static const int32_t index = 0;
    const struct kafka_add_partitions_to_txn_request_topic one = {
        .name = fixture_text(topic), .partitions = {.at = &index, .count = 1}};
    struct kafka_add_partitions_to_txn_request request;
    struct kafka_add_partitions_to_txn_response response;

    kafka_add_partitions_to_txn_request_defaults(&request);
    request.v3_and_below_transactional_id = fixture_text(id);
    request.v3_and_below_producer_id = producer.id;
    request.v3_and_below_producer_epoch = producer.epoch;
    request.v3_and_below_topics.at = &one;
    request.v3_and_below_topics.count = 1;
    fixture_ask(fixture, KAFKA_ADD_PARTITIONS_TO_TXN, 3, &request, &response);
    return response.results_by_topic_v3_and_below.at[0]
        .results_by_partition.at[0]
        .partition_error_code;
}

static int16_t
end(struct fixture *fixture, const char *id, struct producer producer, bool commit)
{
    struct kafka_end_txn_request request;
    struct kafka_end_txn_response response;

    kafka_end_txn_request_defaults(&request);
    request.transactional_id = fixture_text(id);
    request.producer_id = producer.id;
    request.producer_epoch = producer.epoch;
    request.committed = commit;
    fixture_ask(fixture, KAFKA_END_TXN, 3, &request, &response);
    return response.error;
}

static enum transaction_state
state_of(const struct fixture *fixture)
{
    struct transaction_view view;
    uint32_t cursor = 0;

    if (!coordinator_next(fixture->control->transactions, &cursor, &view))
        return TRANSACTION_STATES;
    return view.state;
}

static uint32_t
markers(const struct fixture *fixture)
{
    return fixture->logs[0].markers + fixture->logs[1].markers;
}

static uint32_t
admits(const struct fixture *fixture)
{
    return fixture->logs[0].admits + fixture->logs[1].admits;
}

static void
boot(struct fixture *fixture)
{
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_READY);
}

static int16_t
describe(struct fixture *fixture, const char *id)
{
    const struct bytes name = fixture_text(id);
    struct kafka_describe_transactions_request request;
    struct kafka_describe_transactions_response response;

    kafka_describe_transactions_request_defaults(&request);
    request.transactional_ids.at = &name;
    request.transactional_ids.count = 1;
    fixture_ask(fixture, KAFKA_DESCRIBE_TRANSACTIONS, 0, &request, &response);
    return response.transaction_states.at[0].error;
}

Test(control_transactions, that_nobody_began_are_none_and_looking_makes_no_log, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    struct kafka_list_transactions_request request;
    struct kafka_list_transactions_response response;

    kafka_list_transactions_request_defaults(&request);
    fixture_ask(fixture, KAFKA_LIST_TRANSACTIONS, 0, &request, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_NONE);
    cr_expect_eq(response.transaction_states.count, 0u);
    cr_expect_eq(describe(fixture, "x"), KAFKA_ERROR_TRANSACTIONAL_ID_NOT_FOUND);
    fixture_run(fixture);
    cr_expect_eq(fixture_find(fixture, "__transaction_state", 0), NULL);
    fixture_free(fixture);
}

Test(control_transactions, are_looked_at_later_while_their_log_is_made, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    const struct producer nobody = {0, 5, 0};
    struct kafka_list_transactions_request request;
    struct kafka_list_transactions_response response;
    struct internal_log *log = &fixture->control->internal[INTERNAL_LOG_TRANSACTIONS];

    end(fixture, "x", nobody, true);
    fixture_run(fixture);
    cr_assert_eq(log->state, INTERNAL_LOG_READY);
    log->state = INTERNAL_LOG_WAIT;
    kafka_list_transactions_request_defaults(&request);
    fixture_ask(fixture, KAFKA_LIST_TRANSACTIONS, 0, &request, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    cr_expect_eq(describe(fixture, "x"), KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    log->state = INTERNAL_LOG_FAILED;
    cr_expect_eq(describe(fixture, "x"), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    log->state = INTERNAL_LOG_READY;
    fixture_free(fixture);
}

Test(control_transactions, are_told_to_try_again_until_the_log_is_there, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct producer nobody = {0, 5, 0};

    fixture_create(fixture, "t", 1);
    cr_expect_eq(end(fixture, "x", nobody, true), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(end(fixture, "x", nobody, true),
                 KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING,
                 "asking made the log");
    cr_expect_eq(add(fixture, "x", nobody, "t"), KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING);
    fixture_free(fixture);
}

Test(control_transactions, have_a_coordinator_that_is_this_broker, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct kafka_find_coordinator_request request;
    struct kafka_find_coordinator_response response;

    kafka_find_coordinator_request_defaults(&request);
    request.key = fixture_text("x");
    request.key_type = 1;
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 2, &request, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 2, &request, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_NONE);
    cr_expect_eq(response.node_id, 1);
    request.key_type = 2;
    fixture_ask(fixture, KAFKA_FIND_COORDINATOR, 2, &request, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture_free(fixture);
}

Test(control_transactions, admit_before_the_answer_and_mark_after_the_decision, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_expect_eq(add(fixture, "x", producer, "nowhere"), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_expect_eq(admits(fixture), 0);
    cr_expect_eq(add(fixture, "x", producer, "t"), 0);
    cr_expect_eq(admits(fixture), 1);
    const struct fixture_partition *partition = fixture_find(fixture, "t", 0);
    cr_expect_eq(partition->producer.producer_id, producer.id);
    cr_expect_neq(partition->producer.transaction_first_offset, UINT64_MAX);
    cr_expect_eq(end(fixture, "x", producer, true), 0);
    fixture_run(fixture);
    cr_expect_eq(markers(fixture), 1);
    cr_expect_eq(partition->producer.transaction_first_offset, UINT64_MAX);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(end(fixture, "x", producer, true), 0, "said again");
    fixture_free(fixture);
}

Test(control_transactions, resume_at_the_boot_before_anybody_is_served, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_assert_eq(add(fixture, "x", producer, "t"), 0);
    boot(fixture);
    cr_expect_eq(admits(fixture), 2, "admitted again");
    cr_expect_eq(state_of(fixture), TRANSACTION_ONGOING);
    cr_expect_eq(end(fixture, "x", producer, false), 0, "the producer goes on");
    fixture_run(fixture);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_ABORT);
    boot(fixture);
    cr_expect_eq(admits(fixture), 2, "nothing is open");
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_ABORT);
    cr_expect_eq(init_producer(fixture, "x").epoch, producer.epoch + 1);
    fixture_free(fixture);
}

Test(control_transactions, are_not_ready_while_an_admission_is_owed, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_assert_eq(add(fixture, "x", producer, "t"), 0);
    fixture_restart(fixture);
    /* Answers come only when they are let go. */
    for (int i = 0; i < 200 && admits(fixture) < 2; i++) {
        fixture->logs[0].hold = true;
        fixture->logs[1].hold = true;
        fixture_run(fixture);
        cr_expect_neq(control_state(fixture->control), CONTROL_READY);
        if (admits(fixture) == 2)
            break;
        fixture_release(fixture, 0);
        fixture_release(fixture, 1);
    }
    cr_expect_eq(admits(fixture), 2);
    cr_expect_eq(control_state(fixture->control), CONTROL_BOOTING);
    fixture_release(fixture, 0);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    cr_expect_eq(control_state(fixture->control), CONTROL_READY);
    fixture_free(fixture);
}

Test(control_transactions, send_markers_again_after_a_restart, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_assert_eq(add(fixture, "x", producer, "t"), 0);
    fixture->logs[0].fail_marker_rc = RC_NO_SPACE;
    fixture->logs[1].fail_marker_rc = RC_NO_SPACE;
    cr_expect_eq(end(fixture, "x", producer, true), 0, "the decision stands");
    fixture_run(fixture);
    cr_expect_eq(state_of(fixture), TRANSACTION_PREPARE_COMMIT);
    uint32_t before = markers(fixture);
    cr_expect_geq(before, 1);
    fixture->logs[0].fail_marker_rc = RC_OK;
    fixture->logs[1].fail_marker_rc = RC_OK;
    boot(fixture);
    cr_expect_gt(markers(fixture), before);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_COMMIT);
    fixture_free(fixture);
}

Test(control_transactions, end_when_their_topic_is_gone, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(6);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_assert_eq(add(fixture, "x", producer, "t"), 0);
    fixture_delete(fixture, "t");
    cr_expect_eq(end(fixture, "x", producer, true), 0);
    fixture_run(fixture);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(markers(fixture), 0);
    fixture_free(fixture);
}

Test(control_transactions, are_refused_after_a_failed_append_until_a_restart, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    fixture->logs[0].fail_append_rc = RC_FENCED;
    fixture->logs[1].fail_append_rc = RC_FENCED;
    cr_expect_eq(add(fixture, "x", producer, "t"), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture->logs[0].fail_append_rc = RC_OK;
    fixture->logs[1].fail_append_rc = RC_OK;
    cr_expect_eq(add(fixture, "x", producer, "t"), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    boot(fixture);
    cr_expect_eq(add(fixture, "x", producer, "t"), 0);
    fixture_free(fixture);
}

static uint32_t
send_add_offsets(struct fixture *fixture, const char *id, struct producer producer)
{
    struct kafka_add_offsets_to_txn_request request;

    kafka_add_offsets_to_txn_request_defaults(&request);
    request.transactional_id = fixture_text(id);
    request.producer_id = producer.id;
    request.producer_epoch = producer.epoch;
    request.group_id = fixture_text("g");
    return fixture_send(fixture, 0, KAFKA_ADD_OFFSETS_TO_TXN, 3, &request);
}

static uint32_t
tile_of(struct fixture *fixture, const char *topic)
{
    const struct fixture_partition *found = fixture_find(fixture, topic, 0);

    cr_assert_not_null(found);
    return found >= fixture->logs[1].partitions &&
           found < fixture->logs[1].partitions + FIXTURE_PARTITIONS;
}

/* A request that waits for the end of the transaction before it. */
Test(control_transactions, answer_who_waits_although_the_log_failed_meanwhile, .timeout = 20)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct fixture *fixture = fixture_ready(8);
    struct producer producer = first_producer(fixture, "x");
    uint32_t own = tile_of(fixture, "__transaction_state");
    uint32_t topic = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++)
        cr_assert_eq(fixture_create(fixture, names[i], 1), 0);
    while (topic < ARRAY_COUNT(names) && tile_of(fixture, names[topic]) == own)
        topic++;
    cr_assert_lt(topic, ARRAY_COUNT(names), "all on the tile of the log");
    cr_assert_eq(add(fixture, "x", producer, names[topic]), 0);
    fixture->logs[1 - own].hold = true;
    cr_assert_eq(end(fixture, "x", producer, true), 0);
    uint32_t call = send_add_offsets(fixture, "x", producer);
    fixture_run(fixture);
    cr_assert_not(fixture->calls[call].done, "the marker is on its way");
    fixture->logs[own].fail_append_rc = RC_FENCED;
    cr_expect_eq(init_producer(fixture, "y").error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture_release(fixture, 1 - own);
    clock_sim_advance(&fixture->clock, 300 * NS_PER_MS);
    fixture_run(fixture);
    cr_expect(fixture->calls[call].done);
    fixture_free(fixture);
}

static int16_t
commit_offset(struct fixture *fixture, const char *id, struct producer producer)
{
    const struct kafka_txn_offset_commit_request_partition partition = {
        .committed_offset = 7, .committed_leader_epoch = -1};
    const struct kafka_txn_offset_commit_request_topic one = {
        .name = fixture_text("t"), .partitions = {.at = &partition, .count = 1}};
    struct kafka_txn_offset_commit_request request;
    struct kafka_txn_offset_commit_response response;

    kafka_txn_offset_commit_request_defaults(&request);
    request.transactional_id = fixture_text(id);
    request.group_id = fixture_text("g");
    request.producer_id = producer.id;
    request.producer_epoch = producer.epoch;
    request.generation_id = -1;
    request.topics.at = &one;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_TXN_OFFSET_COMMIT, 3, &request, &response);
    return response.topics.at[0].partitions.at[0].error;
}

static int64_t
committed(struct fixture *fixture)
{
    static const int32_t index = 0;
    const struct kafka_offset_fetch_request_topics one = {
        .name = fixture_text("t"), .partition_indexes = {.at = &index, .count = 1}};
    const struct kafka_offset_fetch_request_group wanted = {.group_id = fixture_text("g"),
                                                            .topics = {.at = &one, .count = 1}};
    struct kafka_offset_fetch_request request;
    struct kafka_offset_fetch_response response;

    kafka_offset_fetch_request_defaults(&request);
    request.groups.at = &wanted;
    request.groups.count = 1;
    for (int i = 0; i < 4; i++) {
        fixture_ask(fixture, KAFKA_OFFSET_FETCH, 8, &request, &response);
        if (response.groups.at[0].error == 0)
            return response.groups.at[0].topics.at[0].partitions.at[0].committed_offset;
    }
    return -2;
}

static int16_t
add_offsets(struct fixture *fixture, const char *id, struct producer producer)
{
    struct kafka_add_offsets_to_txn_request request;
    struct kafka_add_offsets_to_txn_response response;

    kafka_add_offsets_to_txn_request_defaults(&request);
    request.transactional_id = fixture_text(id);
    request.producer_id = producer.id;
    request.producer_epoch = producer.epoch;
    request.group_id = fixture_text("g");
    fixture_ask(fixture, KAFKA_ADD_OFFSETS_TO_TXN, 3, &request, &response);
    return response.error;
}

Test(control_transactions, carry_the_offsets_of_groups, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(8);

    fixture_create(fixture, "t", 1);
    fixture_open_group_log(fixture);
    cr_assert_eq(committed(fixture), -1);
    struct producer producer = first_producer(fixture, "x");
    cr_expect_eq(commit_offset(fixture, "x", producer),
                 KAFKA_ERROR_INVALID_TXN_STATE,
                 "before AddOffsetsToTxn");
    cr_expect_eq(add_offsets(fixture, "x", producer), 0);
    cr_expect_eq(commit_offset(fixture, "x", producer), 0);
    cr_expect_eq(committed(fixture), -1, "not before the end");
    cr_expect_eq(end(fixture, "x", producer, false), 0);
    fixture_run(fixture);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_ABORT);
    cr_expect_eq(committed(fixture), -1, "aborted ones vanish");
    cr_expect_eq(add_offsets(fixture, "x", producer), 0);
    cr_expect_eq(commit_offset(fixture, "x", producer), 0);
    boot(fixture);
    cr_expect_eq(committed(fixture), -1);
    cr_expect_eq(end(fixture, "x", producer, true), 0);
    fixture_run(fixture);
    cr_expect_eq(state_of(fixture), TRANSACTION_COMPLETE_COMMIT);
    cr_expect_eq(committed(fixture), 7);
    boot(fixture);
    cr_expect_eq(committed(fixture), 7);
    fixture_free(fixture);
}

Test(control_transactions, describe_producers_and_take_markers_of_tools, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(9);
    static const int32_t indexes[] = {0, 9};
    const struct kafka_describe_producers_request_topic_request topic = {
        .name = fixture_text("t"), .partition_indexes = {.at = indexes, .count = 2}};
    const struct kafka_describe_producers_request request = {.topics = {.at = &topic, .count = 1}};
    struct kafka_describe_producers_response response;

    fixture_create(fixture, "t", 1);
    struct producer producer = first_producer(fixture, "x");
    cr_assert_eq(add(fixture, "x", producer, "t"), 0);
    fixture_ask(fixture, KAFKA_DESCRIBE_PRODUCERS, 0, &request, &response);
    cr_assert_eq(response.topics.at[0].partitions.count, 2);
    const struct kafka_describe_producers_response_partition_response *first =
        &response.topics.at[0].partitions.at[0];
    cr_expect_eq(first->error, 0);
    cr_assert_eq(first->active_producers.count, 1);
    cr_expect_eq(first->active_producers.at[0].producer_id, producer.id);
    cr_expect_eq(first->active_producers.at[0].current_txn_start_offset, 0);
    cr_expect_eq(response.topics.at[0].partitions.at[1].error,
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);

    const struct kafka_write_txn_markers_request_marker_topic targets[] = {
        {.name = fixture_text("t"), .partition_indexes = {.at = indexes, .count = 1}},
        {.name = fixture_text("__transaction_state"),
         .partition_indexes = {.at = indexes, .count = 1}},
    };
    const struct kafka_write_txn_markers_request_marker marker = {
        .producer_id = producer.id,
        .producer_epoch = producer.epoch,
        .coordinator_epoch = 0,
        .topics = {.at = targets, .count = 2}};
    const struct kafka_write_txn_markers_request abort_request = {
        .markers = {.at = &marker, .count = 1}};
    struct kafka_write_txn_markers_response answer;

    fixture_ask(fixture, KAFKA_WRITE_TXN_MARKERS, 1, &abort_request, &answer);
    cr_assert_eq(answer.markers.count, 1);
    cr_expect_eq(answer.markers.at[0].topics.at[0].partitions.at[0].error, 0);
    cr_expect_eq(answer.markers.at[0].topics.at[1].partitions.at[0].error,
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_expect_eq(markers(fixture), 1);

    const struct kafka_write_txn_markers_request_marker none = {.producer_id = -1,
                                                                .producer_epoch = -1};
    struct kafka_write_txn_markers_request_marker two[] = {none, marker};
    struct kafka_write_txn_markers_request odd_request = {.markers = {.at = two, .count = 2}};
    fixture_ask(fixture, KAFKA_WRITE_TXN_MARKERS, 1, &odd_request, &answer);
    cr_expect_eq(answer.markers.at[1].topics.at[0].partitions.at[0].error, 0);
    cr_expect_eq(markers(fixture), 2, "the second one's, not the first one's");

    struct kafka_write_txn_markers_request_marker nobody = marker;
    odd_request.markers.at = &nobody;
    odd_request.markers.count = 1;
    nobody.producer_id = -1;
    fixture_ask(fixture, KAFKA_WRITE_TXN_MARKERS, 1, &odd_request, &answer);
    cr_expect_eq(answer.markers.at[0].topics.at[0].partitions.at[0].error,
                 KAFKA_ERROR_INVALID_REQUEST);
    nobody.producer_id = producer.id;
    nobody.producer_epoch = -1;
    fixture_ask(fixture, KAFKA_WRITE_TXN_MARKERS, 1, &odd_request, &answer);
    cr_expect_eq(answer.markers.at[0].topics.at[0].partitions.at[0].error,
                 KAFKA_ERROR_INVALID_REQUEST);
    nobody = marker;
    nobody.coordinator_epoch = INT32_MAX;
    fixture_ask(fixture, KAFKA_WRITE_TXN_MARKERS, 1, &odd_request, &answer);
    cr_expect_eq(answer.markers.at[0].topics.at[0].partitions.at[0].error,
                 KAFKA_ERROR_INVALID_REQUEST);
    cr_expect_eq(markers(fixture), 2, "nothing was written");
    fixture_free(fixture);
}
