/* eagre topic alter | trim
 *
 * The library knows only the request that replaces all of a topic's overrides, so `alter` asks for
 * the present ones first. Two of them at the same moment may undo each other. */
#include "engine/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 128u

/* ---- settings */

/* True when the option names this key, in the form KEY or KEY=VALUE. */
static bool
is_key(const char *given, const char *key)
{
    size_t count = strcspn(given, "=");

    return strlen(key) == count && memcmp(given, key, count) == 0;
}

static bool
is_given(const struct cli_args *args, const char *option, const char *key)
{
    for (uint32_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].name, option) == 0 && is_key(args->given[i].value, key))
            return true;
    }
    return false;
}

/* Puts the --config values into resource; false (and a message) when one is not KEY=VALUE. */
static bool
add_given(struct cli_command *command, rd_kafka_ConfigResource_t *resource)
{
    const struct cli_args *args = command->args;

    for (uint32_t i = 0; i < args->given_count; i++) {
        const char *given = args->given[i].value;
        char key[KEY_MAX];
        if (strcmp(args->given[i].name, "config") != 0)
            continue;
        size_t count = strcspn(given, "=");
        if (given[count] == 0 || count == 0 || count >= sizeof(key)) {
            command->status = cli_fail(args, CLI_USAGE, "--config %s: must be KEY=VALUE", given);
            return false;
        }
        snprintf(key, sizeof(key), "%.*s", (int)count, given);
        rd_kafka_ConfigResource_set_config(resource, key, given + count + 1);
    }
    return true;
}

/* Puts the overrides that stay into resource; false (and a message) when a key to delete is none.
 */
static bool
add_present(struct cli_command *command,
            const rd_kafka_ConfigResource_t *present,
            rd_kafka_ConfigResource_t *resource)
{
    const struct cli_args *args = command->args;
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(present, &count);

    for (size_t i = 0; i < count; i++) {
        const char *key = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (rd_kafka_ConfigEntry_source(entries[i]) ==
                RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG &&
            !is_given(args, "delete-config", key))
            rd_kafka_ConfigResource_set_config(resource, key, value);
    }
    for (uint32_t i = 0; i < args->given_count; i++) {
        bool found = strcmp(args->given[i].name, "delete-config") != 0;
        for (size_t j = 0; j < count && !found; j++)
            found = strcmp(args->given[i].value, rd_kafka_ConfigEntry_name(entries[j])) == 0;
        if (!found) {
            command->status = cli_fail(
                args, CLI_FAILED, "--delete-config %s: no such setting", args->given[i].value);
            return false;
        }
    }
    return true;
}

/* The resource that an answer of DescribeConfigs or AlterConfigs holds; NULL: a message was
 * printed. */
static const rd_kafka_ConfigResource_t *
answered_resource(struct cli_command *command, const rd_kafka_ConfigResource_t **found)
{
    rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(found[0]);

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return found[0];
    command->status = cli_fail_kafka(command->args,
                                     error,
                                     command->args->words[0],
                                     rd_kafka_ConfigResource_error_string(found[0]));
    return NULL;
}

/* Completes resource by what the topic has now. */
static bool
complete_settings(struct cli_command *command, rd_kafka_ConfigResource_t *resource)
{
    rd_kafka_ConfigResource_t *asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                                   command->args->words[0]);
    rd_kafka_AdminOptions_t *options = cli_admin_options(command->client,
                                                         RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    bool complete = false;
    size_t count;

    rd_kafka_DescribeConfigs(command->client, &asked, 1, options, command->queue);
    rd_kafka_event_t *event = cli_command_wait(command, "describe");
    if (event != NULL) {
        const rd_kafka_ConfigResource_t *present = answered_resource(
            command,
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event),
                                                      &count));
        complete = present != NULL && add_present(command, present, resource) &&
                   add_given(command, resource);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(asked);
    return complete;
}

static void
alter_settings(struct cli_command *command)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                                      command->args->words[0]);
    size_t count;

    if (complete_settings(command, resource)) {
        rd_kafka_AdminOptions_t *options = cli_admin_options(command->client,
                                                             RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
        rd_kafka_AlterConfigs(command->client, &resource, 1, options, command->queue);
        rd_kafka_event_t *event = cli_command_wait(command, "alter");
        if (event != NULL) {
            (void)answered_resource(command,
                                    rd_kafka_AlterConfigs_result_resources(
                                        rd_kafka_event_AlterConfigs_result(event), &count));
            rd_kafka_event_destroy(event);
        }
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_ConfigResource_destroy(resource);
}

/* ---- partitions */

static void
alter_partitions(struct cli_command *command, int64_t partitions)
{
    char text[256];
    size_t count;
    rd_kafka_NewPartitions_t *wanted = rd_kafka_NewPartitions_new(
        command->args->words[0], (size_t)partitions, text, sizeof(text));

    if (wanted == NULL) {
        command->status = cli_fail(command->args, CLI_USAGE, "%s", text);
        return;
    }
    rd_kafka_AdminOptions_t *options = cli_admin_options(command->client,
                                                         RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    rd_kafka_CreatePartitions(command->client, &wanted, 1, options, command->queue);
    rd_kafka_event_t *event = cli_command_wait(command, "partitions");
    if (event != NULL) {
        const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(event), &count);
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[0]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            command->status = cli_fail_kafka(command->args,
                                             error,
                                             "--partitions",
                                             rd_kafka_topic_result_error_string(results[0]));
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewPartitions_destroy(wanted);
}

int
cli_topic_alter(const struct cli_args *args)
{
    int64_t partitions = cli_number(args, "partitions", 0, 1, 100000);
    bool settings = cli_text(args, "config", NULL) != NULL ||
                    cli_text(args, "delete-config", NULL) != NULL;
    struct cli_command command;

    if (!settings && partitions == 0)
        return cli_fail(
            args, CLI_USAGE, "nothing to alter: --config, --delete-config or --partitions");
    if (!cli_command_begin(&command, args))
        return command.status;
    if (settings)
        alter_settings(&command);
    if (command.status == CLI_OK && partitions > 0)
        alter_partitions(&command, partitions);
    if (command.status == CLI_OK && args->json)
        printf("{\"topic\": \"%s\", \"done\": \"altered\"}\n", args->words[0]);
    else if (command.status == CLI_OK)
        printf("altered %s\n", args->words[0]);
    return cli_command_end(&command);
}

/* ---- trim */

static void
trim_print(struct cli_command *command, const rd_kafka_topic_partition_t *partition)
{
    const char *format = command->args->json
                             ? "{\"topic\": \"%s\", \"partition\": %d, \"start_offset\": %lld}\n"
                             : "%s: partition %d begins at offset %lld\n";

    if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        command->status = cli_fail_kafka(
            command->args, partition->err, command->args->words[0], NULL);
    else
        printf(format, partition->topic, (int)partition->partition, (long long)partition->offset);
}

/* Asked first, because the library's own answer for a partition that is not there does not say so.
 */
static bool
trim_finds(struct cli_command *command, int32_t partition)
{
    const char *name = command->args->words[0];
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(command->client, name, NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(
        command->client, 0, topic, &metadata, CLI_TIMEOUT_MS);

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        error = metadata->topics[0].err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && partition >= metadata->topics[0].partition_cnt)
        error = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        command->status = cli_fail_kafka(command->args, error, name, NULL);
    if (metadata != NULL)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int
cli_topic_trim(const struct cli_args *args)
{
    int32_t partition = (int32_t)cli_number(args, "partition", -1, 0, INT32_MAX);
    const char *before = cli_text(args, "before", NULL);
    struct cli_command command;

    if (partition < 0 || before == NULL)
        return cli_fail(args, CLI_USAGE, "--partition and --before are needed");
    int64_t offset = strcmp(before, "end") == 0 ? RD_KAFKA_OFFSET_END
                                                : cli_number(args, "before", 0, 0, INT64_MAX);
    if (!cli_command_begin(&command, args))
        return command.status;
    if (!trim_finds(&command, partition))
        return cli_command_end(&command);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, args->words[0], partition)->offset = offset;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_AdminOptions_t *options = cli_admin_options(command.client,
                                                         RD_KAFKA_ADMIN_OP_DELETERECORDS);
    rd_kafka_DeleteRecords(command.client, &records, 1, options, command.queue);
    rd_kafka_event_t *event = cli_command_wait(&command, "trim");
    if (event != NULL) {
        trim_print(
            &command,
            &rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event))
                 ->elems[0]);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
    return cli_command_end(&command);
}
