/* eagre group list | describe | reset-offsets | delete */
#include "engine/cli/cli.h"

#include "engine/config/parse.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GROUP_REAL_DIGITS 9 /* of seconds with their thousandths */

static void
group_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(GROUP_REAL_DIGITS));
    putchar('\n');
}

/* ---- list */

int
cli_group_list(const struct cli_args *args)
{
    struct cli_command command;
    size_t count = 0;

    if (!cli_command_begin(&command, args))
        return command.status;
    rd_kafka_ListConsumerGroups(command.client, NULL, command.queue);
    rd_kafka_event_t *event = cli_command_wait(&command, "list");
    if (event == NULL)
        return cli_command_end(&command);
    const rd_kafka_ConsumerGroupListing_t **groups = rd_kafka_ListConsumerGroups_result_valid(
        rd_kafka_event_ListConsumerGroups_result(event), &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConsumerGroupListing_group_id(groups[i]);
        const char *state = rd_kafka_consumer_group_state_name(
            rd_kafka_ConsumerGroupListing_state(groups[i]));
        if (args->json)
            json_array_append_new(list, json_pack("{s:s, s:s}", "group", name, "state", state));
        else
            printf("%-40s %s\n", name, state);
    }
    if (args->json)
        group_print_json(list);
    json_decref(list);
    rd_kafka_event_destroy(event);
    return cli_command_end(&command);
}

/* ---- describe */

/* The group's committed offsets; NULL: a message was printed. */
static rd_kafka_topic_partition_list_t *
group_offsets(struct cli_command *command)
{
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(
        command->args->words[0], NULL);
    rd_kafka_topic_partition_list_t *offsets = NULL;
    size_t count = 0;

    rd_kafka_ListConsumerGroupOffsets(command->client, &request, 1, NULL, command->queue);
    rd_kafka_event_t *event = cli_command_wait(command, "offsets");
    if (event != NULL) {
        const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
        offsets = rd_kafka_topic_partition_list_copy(rd_kafka_group_result_partitions(groups[0]));
        rd_kafka_topic_partition_list_sort(offsets, NULL, NULL);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    return offsets;
}

/* Age in seconds of the first record that the group has not read; -1: there is none, or it did not
 * come in time. */
static double
group_lag_seconds(struct cli_command *command, const char *topic, int32_t partition, int64_t offset)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(command->client, topic, NULL);
    double seconds = -1;

    if (rd_kafka_consume_start(handle, partition, offset) == 0) {
        rd_kafka_message_t *message = rd_kafka_consume(handle, partition, 3000);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            int64_t written_ms = rd_kafka_message_timestamp(message, NULL);
            int64_t now_ms = (int64_t)time(NULL) * 1000;
            seconds = written_ms < now_ms ? (double)(now_ms - written_ms) / 1e3 : 0;
        }
        if (message != NULL)
            rd_kafka_message_destroy(message);
        rd_kafka_consume_stop(handle, partition);
    }
    rd_kafka_topic_destroy(handle);
    return seconds;
}

static json_t *
group_describe_offsets(struct cli_command *command)
{
    rd_kafka_topic_partition_list_t *offsets = group_offsets(command);
    json_t *rows = json_array();

    for (int i = 0; offsets != NULL && i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *place = &offsets->elems[i];
        int64_t low = -1;
        int64_t high = -1;
        if (place->offset < 0)
            continue;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
            command->client, place->topic, place->partition, &low, &high, CLI_TIMEOUT_MS);
        int64_t unread = error == RD_KAFKA_RESP_ERR_NO_ERROR && high > place->offset
                             ? high - (place->offset > low ? place->offset : low)
                             : 0;
        double seconds = unread == 0 ? 0
                                     : group_lag_seconds(command,
                                                         place->topic,
                                                         place->partition,
                                                         place->offset > low ? place->offset : low);
        json_array_append_new(rows,
                              json_pack("{s:s, s:i, s:I, s:I, s:I, s:f}",
                                        "topic",
                                        place->topic,
                                        "partition",
                                        place->partition,
                                        "committed_offset",
                                        (json_int_t)place->offset,
                                        "high_watermark",
                                        (json_int_t)high,
                                        "lag_records",
                                        (json_int_t)unread,
                                        "lag_seconds",
                                        seconds));
    }
    if (offsets != NULL)
        rd_kafka_topic_partition_list_destroy(offsets);
    return rows;
}

static json_t *
group_describe_members(const rd_kafka_ConsumerGroupDescription_t *group)
{
    json_t *members = json_array();

    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group,
                                                                                              i);
        const rd_kafka_topic_partition_list_t *owned = rd_kafka_MemberAssignment_partitions(
            rd_kafka_MemberDescription_assignment(member));
        json_t *partitions = json_array();
        for (int p = 0; owned != NULL && p < owned->cnt; p++) {
            char text[300];
            snprintf(
                text, sizeof(text), "%s/%d", owned->elems[p].topic, (int)owned->elems[p].partition);
            json_array_append_new(partitions, json_string(text));
        }
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
        json_array_append_new(members,
                              json_pack("{s:s, s:s, s:s, s:s, s:o}",
                                        "member",
                                        rd_kafka_MemberDescription_consumer_id(member),
                                        "client",
                                        rd_kafka_MemberDescription_client_id(member),
                                        "host",
                                        rd_kafka_MemberDescription_host(member),
                                        "instance",
                                        instance != NULL ? instance : "",
                                        "partitions",
                                        partitions));
    }
    return members;
}

static void
group_print_description(const json_t *group)
{
    const json_t *row;
    size_t idx;

    printf("%s  %s\n",
           json_string_value(json_object_get(group, "group")),
           json_string_value(json_object_get(group, "state")));
    printf("  %-30s %9s  %12s  %12s  %10s  %s\n",
           "topic",
           "partition",
           "committed",
           "end",
           "lag",
           "lag seconds");
    json_array_foreach(json_object_get(group, "offsets"), idx, row)
        printf("  %-30s %9lld  %12lld  %12lld  %10lld  %.1f\n",
               json_string_value(json_object_get(row, "topic")),
               json_integer_value(json_object_get(row, "partition")),
               json_integer_value(json_object_get(row, "committed_offset")),
               json_integer_value(json_object_get(row, "high_watermark")),
               json_integer_value(json_object_get(row, "lag_records")),
               json_real_value(json_object_get(row, "lag_seconds")));
    json_array_foreach(json_object_get(group, "members"), idx, row)
        printf("  member %s  client %s  host %s  %zu partitions\n",
               json_string_value(json_object_get(row, "member")),
               json_string_value(json_object_get(row, "client")),
               json_string_value(json_object_get(row, "host")),
               json_array_size(json_object_get(row, "partitions")));
}

int
cli_group_describe(const struct cli_args *args)
{
    struct cli_command command;
    size_t count = 0;

    if (!cli_command_begin(&command, args))
        return command.status;
    const char *name = args->words[0];
    rd_kafka_DescribeConsumerGroups(command.client, &name, 1, NULL, command.queue);
    rd_kafka_event_t *event = cli_command_wait(&command, "describe");
    if (event == NULL)
        return cli_command_end(&command);
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    rd_kafka_consumer_group_state_t state = rd_kafka_ConsumerGroupDescription_state(groups[0]);
    if (state == RD_KAFKA_CONSUMER_GROUP_STATE_DEAD) {
        command.status = cli_fail(args, CLI_NOT_FOUND, "no group %s", name);
    } else {
        json_t *group = json_pack("{s:s, s:s, s:o, s:o}",
                                  "group",
                                  name,
                                  "state",
                                  rd_kafka_consumer_group_state_name(state),
                                  "members",
                                  group_describe_members(groups[0]),
                                  "offsets",
                                  group_describe_offsets(&command));
        if (args->json)
            group_print_json(group);
        else
            group_print_description(group);
        json_decref(group);
    }
    rd_kafka_event_destroy(event);
    return cli_command_end(&command);
}

/* ---- reset-offsets */

/* Where one partition is to go; false: a message was printed. */
static bool
group_target(struct cli_command *command, rd_kafka_topic_partition_t *place)
{
    const struct cli_args *args = command->args;
    const char *to = cli_text(args, "to", NULL);
    int64_t shift = cli_number(args, "shift", 0, INT32_MIN, INT32_MAX);
    int64_t time_ms = cli_number(args, "to-time", -1, 0, INT64_MAX);
    int64_t low = 0;
    int64_t high = 0;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
        command->client, place->topic, place->partition, &low, &high, CLI_TIMEOUT_MS);

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && time_ms >= 0) {
        rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(one, place->topic, place->partition)->offset = time_ms;
        error = rd_kafka_offsets_for_times(command->client, one, CLI_TIMEOUT_MS);
        place->offset = one->elems[0].offset >= 0 ? one->elems[0].offset : high;
        rd_kafka_topic_partition_list_destroy(one);
    } else if (to != NULL && strcmp(to, "earliest") == 0) {
        place->offset = low;
    } else if (to != NULL && strcmp(to, "latest") == 0) {
        place->offset = high;
    } else if (to != NULL) {
        if (!parse_i64(to, strlen(to), &place->offset) || place->offset < 0) {
            command->status = cli_fail(
                args, CLI_USAGE, "--to %s: earliest, latest or an offset", to);
            return false;
        }
    } else {
        place->offset = (place->offset >= 0 ? place->offset : low) + shift;
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        command->status = cli_fail_kafka(args, error, place->topic, NULL);
        return false;
    }
    place->offset = place->offset < low ? low : place->offset > high ? high : place->offset;
    return true;
}

/* The partitions to reset: those of --topic, or all that the group has offsets of. */
static rd_kafka_topic_partition_list_t *
group_reset_places(struct cli_command *command)
{
    const char *name = cli_text(command->args, "topic", NULL);
    rd_kafka_topic_partition_list_t *known = group_offsets(command);
    const struct rd_kafka_metadata *metadata = NULL;

    if (known == NULL || name == NULL)
        return known;
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(16);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(command->client, name, NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(
        command->client, 0, topic, &metadata, CLI_TIMEOUT_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        error = metadata->topics[0].err;
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topics[0].partition_cnt;
         i++) {
        rd_kafka_topic_partition_t *before = rd_kafka_topic_partition_list_find(known, name, i);
        rd_kafka_topic_partition_list_add(places, name, i)->offset = before != NULL
                                                                         ? before->offset
                                                                         : RD_KAFKA_OFFSET_INVALID;
    }
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        command->status = cli_fail_kafka(command->args, error, name, NULL);
        rd_kafka_topic_partition_list_destroy(places);
        places = NULL;
    }
    if (metadata != NULL)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    rd_kafka_topic_partition_list_destroy(known);
    return places;
}

static void
group_commit(struct cli_command *command, const rd_kafka_topic_partition_list_t *places)
{
    rd_kafka_AlterConsumerGroupOffsets_t *request = rd_kafka_AlterConsumerGroupOffsets_new(
        command->args->words[0], places);
    size_t count = 0;

    rd_kafka_AlterConsumerGroupOffsets(command->client, &request, 1, NULL, command->queue);
    rd_kafka_event_t *event = cli_command_wait(command, "reset");
    if (event != NULL) {
        const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
        const rd_kafka_topic_partition_list_t *done = rd_kafka_group_result_partitions(groups[0]);
        for (int i = 0; i < done->cnt; i++)
            if (done->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)
                command->status = cli_fail_kafka(
                    command->args, done->elems[i].err, done->elems[i].topic, NULL);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
}

static void
group_print_reset(const rd_kafka_topic_partition_t *place, int64_t before)
{
    char text[24] = "none";

    if (before >= 0)
        snprintf(text, sizeof(text), "%lld", (long long)before);
    printf(
        "%s/%d  %s -> %lld\n", place->topic, (int)place->partition, text, (long long)place->offset);
}

int
cli_group_reset_offsets(const struct cli_args *args)
{
    struct cli_command command;
    bool dry_run = cli_flag(args, "dry-run");

    if (cli_text(args, "to", NULL) == NULL && cli_text(args, "to-time", NULL) == NULL &&
        cli_text(args, "shift", NULL) == NULL)
        return cli_fail(args, CLI_USAGE, "one of --to, --to-time and --shift is needed");
    if (!cli_command_begin(&command, args))
        return command.status;
    rd_kafka_topic_partition_list_t *places = group_reset_places(&command);
    if (places == NULL)
        return cli_command_end(&command);
    if (places->cnt == 0)
        command.status = cli_fail(
            args, CLI_NOT_FOUND, "group %s has no offsets; name a --topic", args->words[0]);
    json_t *rows = json_array();
    for (int i = 0; command.status == CLI_OK && i < places->cnt; i++) {
        rd_kafka_topic_partition_t *place = &places->elems[i];
        int64_t before = place->offset;
        if (!group_target(&command, place))
            break;
        if (!args->json)
            group_print_reset(place, before);
        json_array_append_new(rows,
                              json_pack("{s:s, s:i, s:o, s:I}",
                                        "topic",
                                        place->topic,
                                        "partition",
                                        place->partition,
                                        "before",
                                        before < 0 ? json_null() : json_integer(before),
                                        "after",
                                        (json_int_t)place->offset));
    }
    if (command.status == CLI_OK && !dry_run)
        group_commit(&command, places);
    if (command.status == CLI_OK && args->json)
        group_print_json(rows);
    if (command.status == CLI_OK && dry_run && !args->json)
        printf("nothing was changed (--dry-run)\n");
    json_decref(rows);
    rd_kafka_topic_partition_list_destroy(places);
    return cli_command_end(&command);
}

/* ---- delete */

int
cli_group_delete(const struct cli_args *args)
{
    struct cli_command command;
    size_t count = 0;

    if (!cli_command_begin(&command, args))
        return command.status;
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(args->words[0]);
    rd_kafka_DeleteGroups(command.client, &group, 1, NULL, command.queue);
    rd_kafka_event_t *event = cli_command_wait(&command, "delete");
    if (event != NULL) {
        const rd_kafka_group_result_t **groups = rd_kafka_DeleteGroups_result_groups(
            rd_kafka_event_DeleteGroups_result(event), &count);
        const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[0]);
        if (error != NULL)
            command.status = cli_fail_kafka(
                args, rd_kafka_error_code(error), args->words[0], rd_kafka_error_string(error));
        else
            printf("deleted %s\n", args->words[0]);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_DeleteGroup_destroy(group);
    return cli_command_end(&command);
}
