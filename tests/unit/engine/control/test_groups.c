/* Goal: what the coordinator says reaches the client, and what it stored comes back after a
 * restart, also when its log has been rewritten and trimmed. Method: requests through a scripted
 * gate, log tiles that hold answers back; bad input first. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/control/control_internal.h"

#include <criterion/criterion.h>

/* A simple commit of one offset; its error. */
static int16_t
commit(struct fixture *fixture, const char *group, const char *topic, int64_t offset)
{
    const struct kafka_offset_commit_request_partition partition = {.committed_offset = offset,
                                                                    .committed_leader_epoch = -1};
    const struct kafka_offset_commit_request_topic one = {
        .name = fixture_text(topic), .partitions = {.at = &partition, .count = 1}};
    struct kafka_offset_commit_request request;
    struct kafka_offset_commit_response response;

    kafka_offset_commit_request_defaults(&request);
    request.group_id = fixture_text(group);
    request.topics.at = &one;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_OFFSET_COMMIT, 8, &request, &response);
    return response.topics.at[0].partitions.at[0].error;
}

static int64_t
fetch(struct fixture *fixture, const char *group, const char *topic, int16_t *ret_error)
{
    const int32_t index = 0;
    const struct kafka_offset_fetch_request_topics one = {
        .name = fixture_text(topic), .partition_indexes = {.at = &index, .count = 1}};
    const struct kafka_offset_fetch_request_group wanted = {.group_id = fixture_text(group),
                                                            .topics = {.at = &one, .count = 1}};
    struct kafka_offset_fetch_request request;
    struct kafka_offset_fetch_response response;

    kafka_offset_fetch_request_defaults(&request);
    request.groups.at = &wanted;
    request.groups.count = 1;
    fixture_ask(fixture, KAFKA_OFFSET_FETCH, 8, &request, &response);
    *ret_error = response.groups.at[0].error;
    return *ret_error != 0 ? -2
                           : response.groups.at[0].topics.at[0].partitions.at[0].committed_offset;
}

Test(control_groups, are_told_to_try_again_until_the_log_is_there, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct kafka_heartbeat_request beat;
    struct kafka_heartbeat_response beat_response;
    int16_t error;

    fixture_create(fixture, "t", 1);
    cr_expect_eq(commit(fixture, "g", "t", 5), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(commit(fixture, "g", "t", 5), KAFKA_ERROR_NONE, "asking made the log");
    cr_expect_eq(fetch(fixture, "g", "t", &error), 5);
    kafka_heartbeat_request_defaults(&beat);
    beat.group_id = fixture_text("g");
    beat.member_id = fixture_text("nobody");
    fixture_ask(fixture, KAFKA_HEARTBEAT, 4, &beat, &beat_response);
    cr_expect_eq(beat_response.error, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    fixture_free(fixture);
}

Test(control_groups, keep_their_log_from_everybody_and_from_the_brokers_presets, .timeout = 20)
{
    static const char *const presets[][2] = {{"retention.bytes", "1000"},
                                             {"retention.ms", "1000"},
                                             {"cleanup.policy", "compact"},
                                             {"max.message.bytes", "1024"},
                                             {"message.timestamp.before.max.ms", "0"},
                                             {"message.timestamp.after.max.ms", "0"},
                                             {"eagre.durability", "memory"}};
    struct fixture *fixture = fixture_new(9);
    struct kafka_metadata_request ask;
    struct kafka_metadata_request_topic asked;
    struct kafka_metadata_response metadata;
    int16_t error;

    for (uint32_t i = 0; i < ARRAY_COUNT(presets); i++)
        cr_assert_eq(topic_config_set(&fixture->config.broker,
                                      fixture_text(presets[i][0]),
                                      fixture_text(presets[i][1]),
                                      NULL),
                     RC_OK);
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_expect_eq(fixture_create(fixture, "__consumer_offsets", 1),
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_expect_eq(fixture_create(fixture, "__transaction_state", 1),
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    kafka_metadata_request_defaults(&ask);
    kafka_metadata_request_topic_defaults(&asked);
    asked.name = fixture_text("__consumer_offsets");
    ask.topics.at = &asked;
    ask.topics.count = 1;
    ask.allow_auto_topic_creation = true;
    fixture_ask(fixture, KAFKA_METADATA, 9, &ask, &metadata);
    cr_expect_eq(metadata.topics.at[0].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_expect_null(fixture_find(fixture, "__consumer_offsets", 0), "a question makes none");
    cr_assert_eq(fixture_create(fixture, "t", 1), 0);
    fixture_open_group_log(fixture);
    cr_assert_eq(commit(fixture, "g", "t", 5), 0);
    const struct fixture_partition *log = fixture_find(fixture, "__consumer_offsets", 0);
    cr_assert_not_null(log);
    cr_expect_eq(log->config.retention_bytes, -1);
    cr_expect_eq(log->config.retention_ms, -1);
    cr_expect_not(log->config.is_compacted);
    cr_expect_geq(log->config.batch_bytes_max, CONTROL_INTERNAL_BATCH_BYTES);
    cr_expect_eq(log->config.timestamp_before_max_ms, INT64_MAX);
    cr_expect_eq(log->config.timestamp_after_max_ms, INT64_MAX);
    cr_expect_eq(log->config.durability, LOG_DURABILITY_DEVICE);
    cr_expect_eq(fixture_delete(fixture, "__consumer_offsets"),
                 KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    cr_expect_eq(commit(fixture, "g", "t", 6), 0);
    cr_expect_eq(fetch(fixture, "g", "t", &error), 6);
    fixture_free(fixture);
}

Test(control_groups, that_nobody_made_are_none_and_looking_makes_no_log, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    const struct bytes name = fixture_text("g");
    struct kafka_list_groups_request list;
    struct kafka_list_groups_response listed;
    struct kafka_describe_groups_request describe;
    struct kafka_describe_groups_response described;
    struct kafka_delete_groups_request gone;
    struct kafka_delete_groups_response deleted;
    int16_t error;

    fixture_create(fixture, "t", 1);
    kafka_list_groups_request_defaults(&list);
    fixture_ask(fixture, KAFKA_LIST_GROUPS, 4, &list, &listed);
    cr_expect_eq(listed.error, KAFKA_ERROR_NONE);
    cr_expect_eq(listed.groups.count, 0u);
    kafka_describe_groups_request_defaults(&describe);
    describe.groups.at = &name;
    describe.groups.count = 1;
    fixture_ask(fixture, KAFKA_DESCRIBE_GROUPS, 5, &describe, &described);
    cr_expect_eq(described.groups.at[0].error, KAFKA_ERROR_NONE);
    cr_expect_eq(described.groups.at[0].group_state.count, 4u, "Dead");
    kafka_delete_groups_request_defaults(&gone);
    gone.groups_names.at = &name;
    gone.groups_names.count = 1;
    fixture_ask(fixture, KAFKA_DELETE_GROUPS, 2, &gone, &deleted);
    cr_expect_eq(deleted.results.at[0].error, KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    cr_expect_eq(fetch(fixture, "g", "t", &error), -1);
    fixture_run(fixture);
    cr_expect_eq(fixture_find(fixture, "__consumer_offsets", 0), NULL);
    fixture_free(fixture);
}

Test(control_groups, are_looked_at_later_while_their_log_is_read, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(1);
    struct internal_log *log = &fixture->control->internal[INTERNAL_LOG_GROUPS];
    struct kafka_list_groups_request list;
    struct kafka_list_groups_response listed;

    fixture_open_group_log(fixture);
    kafka_list_groups_request_defaults(&list);
    log->state = INTERNAL_LOG_WAIT;
    fixture_ask(fixture, KAFKA_LIST_GROUPS, 4, &list, &listed);
    cr_expect_eq(listed.error, KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS);
    log->state = INTERNAL_LOG_FAILED;
    fixture_ask(fixture, KAFKA_LIST_GROUPS, 4, &list, &listed);
    cr_expect_eq(listed.error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    log->state = INTERNAL_LOG_READY;
    fixture_free(fixture);
}

/* What DescribeGroups says of the host of one member that comes from that address. */
static void
host_of(struct fixture *fixture, const char *group, const uint8_t peer[16], char ret_host[64])
{
    const struct bytes name = fixture_text(group);
    const struct kafka_join_group_request_protocol protocol = {.name = fixture_text("range"),
                                                               .metadata = fixture_text("m")};
    struct ring *ring = &fixture->gates[0].requests;
    struct kafka_join_group_request join;
    struct kafka_join_group_response joined;
    struct kafka_describe_groups_request describe;
    struct kafka_describe_groups_response described;

    kafka_join_group_request_defaults(&join);
    join.group_id = name;
    join.session_timeout_ms = 10000;
    join.rebalance_timeout_ms = 60000;
    join.protocol_type = fixture_text("consumer");
    join.protocols.at = &protocol;
    join.protocols.count = 1;
    uint32_t slot = (uint32_t)atomic_load(&ring->tail) & (ring->slot_count - 1);
    uint32_t call = fixture_send(fixture, 0, KAFKA_JOIN_GROUP, 3, &join);
    memcpy(((struct request *)(void *)ring->slots)[slot].u.kafka.peer, peer, 16);
    fixture_run(fixture);
    fixture_answer(fixture, call, &joined);
    cr_assert_eq(joined.error, KAFKA_ERROR_NONE);
    kafka_describe_groups_request_defaults(&describe);
    describe.groups.at = &name;
    describe.groups.count = 1;
    fixture_ask(fixture, KAFKA_DESCRIBE_GROUPS, 5, &describe, &described);
    cr_assert_eq(described.groups.at[0].members.count, 1u);
    struct bytes host = described.groups.at[0].members.at[0].client_host;
    cr_assert_lt(host.count, 64u);
    memcpy(ret_host, host.at, host.count);
    ret_host[host.count] = '\0';
}

Test(control_groups, have_members_with_hosts_as_kafka_writes_them, .timeout = 20)
{
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 192, 0, 2, 17};
    static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x1f};
    static const uint8_t none[16];
    struct fixture *fixture = fixture_ready(1);
    char host[64];

    fixture_open_group_log(fixture);
    host_of(fixture, "none", none, host);
    cr_expect_str_eq(host, "");
    host_of(fixture, "four", mapped, host);
    cr_expect_str_eq(host, "/192.0.2.17");
    host_of(fixture, "six", six, host);
    cr_expect_str_eq(host, "/2001:db8:0:0:0:0:0:1f");
    fixture_free(fixture);
}

Test(control_groups, find_their_offsets_after_a_restart, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(2);
    int16_t error;

    fixture_create(fixture, "t", 1);
    fixture_open_group_log(fixture);
    for (int64_t offset = 0; offset < 20; offset++)
        cr_assert_eq(commit(fixture, offset % 2 == 0 ? "even" : "odd", "t", offset), 0);
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_READY);
    cr_expect_eq(fetch(fixture, "even", "t", &error), 18);
    cr_expect_eq(fetch(fixture, "odd", "t", &error), 19);
    cr_expect_eq(fetch(fixture, "none", "t", &error), -1);
    fixture_free(fixture);
}

Test(control_groups, refuse_to_serve_from_a_damaged_log, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(3);
    int16_t error;

    fixture_create(fixture, "t", 1);
    fixture_open_group_log(fixture);
    cr_assert_eq(commit(fixture, "g", "t", 5), 0);
    struct fixture_partition *log = fixture_find(fixture, "__consumer_offsets", 0);
    cr_assert_neq(log, NULL);
    log->batches[0][RECORD_BATCH_HEADER_BYTES + 3] ^= 1;
    fixture_restart(fixture);
    fixture_run(fixture);
    cr_assert_eq(control_state(fixture->control), CONTROL_READY, "topics are served");
    fetch(fixture, "g", "t", &error);
    cr_expect_eq(error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    cr_expect_eq(fixture_create(fixture, "other", 1), 0);
    fixture_free(fixture);
}

Test(control_groups, keep_producers_out_of_their_log, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);

    fixture_open_group_log(fixture);
    bool seen = false;
    for (uint32_t i = 0; i < fixture->gates[0].event_count; i++) {
        const struct fixture_event *event = &fixture->gates[0].events[i];
        if (event->kind == EVENT_TOPIC && strcmp(event->name, "__consumer_offsets") == 0)
            seen = event->closed;
    }
    cr_expect(seen);
    fixture_free(fixture);
}

Test(control_groups, are_answered_when_the_server_drains, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(5);
    const struct kafka_join_group_request_protocol protocol = {.name = fixture_text("range"),
                                                               .metadata = fixture_text("m")};
    struct kafka_join_group_request request;
    struct kafka_join_group_response response;

    fixture_open_group_log(fixture);
    kafka_join_group_request_defaults(&request);
    request.group_id = fixture_text("g");
    request.session_timeout_ms = 10000;
    request.rebalance_timeout_ms = 60000;
    request.protocol_type = fixture_text("consumer");
    request.protocols.at = &protocol;
    request.protocols.count = 1;
    fixture_ask(fixture, KAFKA_JOIN_GROUP, 3, &request, &response);
    cr_assert_eq(response.error, 0, "alone: at once");
    uint32_t parked = fixture_send(fixture, 1, KAFKA_JOIN_GROUP, 3, &request);
    fixture_run(fixture);
    cr_assert(!fixture->calls[parked].done, "it waits for the first member to come back");
    control_drain(fixture->control);
    fixture_run(fixture);
    fixture_answer(fixture, parked, &response);
    cr_expect_eq(response.error, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    fixture_free(fixture);
}
