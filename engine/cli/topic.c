/* eagre topic create | list | describe | delete */
#include "engine/cli/cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
topic_result(const struct cli_args *args,
             const rd_kafka_topic_result_t **results,
             size_t count,
             const char *done)
{
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return cli_fail_kafka(args,
                                  error,
                                  rd_kafka_topic_result_name(results[i]),
                                  rd_kafka_topic_result_error_string(results[i]));
    }
    if (args->quiet)
        return CLI_OK;
    if (args->json)
        printf("{\"topic\": \"%s\", \"done\": \"%s\"}\n", args->words[0], done);
    else
        printf("%s %s\n", done, args->words[0]);
    return CLI_OK;
}

/* Adds every --config KEY=VALUE; false (and a message) when one has no '='. */
static bool
topic_add_configs(const struct cli_args *args, rd_kafka_NewTopic_t *topic)
{
    const char *durability = cli_text(args, "durability", NULL);

    if (durability != NULL)
        rd_kafka_NewTopic_set_config(topic, "eagre.durability", durability);
    for (uint32_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].name, "config") != 0)
            continue;
        const char *equals = strchr(args->given[i].value, '=');
        char key[128];
        if (equals == NULL || (size_t)(equals - args->given[i].value) >= sizeof(key)) {
            cli_fail(args, CLI_USAGE, "--config %s: must be KEY=VALUE", args->given[i].value);
            return false;
        }
        snprintf(
            key, sizeof(key), "%.*s", (int)(equals - args->given[i].value), args->given[i].value);
        rd_kafka_NewTopic_set_config(topic, key, equals + 1);
    }
    return true;
}

int
cli_topic_create(const struct cli_args *args)
{
    char text[256];
    int partitions = (int)cli_number(args, "partitions", -1, 1, 100000);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        args->words[0], partitions, -1, text, sizeof(text));
    int status = CLI_USAGE;

    if (topic == NULL)
        return cli_fail(args, CLI_USAGE, "%s", text);
    if (!topic_add_configs(args, topic)) {
        rd_kafka_NewTopic_destroy(topic);
        return CLI_USAGE;
    }
    rd_kafka_t *client = cli_client(args, RD_KAFKA_PRODUCER, cli_conf(args));
    if (client == NULL) {
        rd_kafka_NewTopic_destroy(topic);
        return CLI_FAILED;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AdminOptions_t *options = cli_admin_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(client, &topic, 1, options, queue);
    rd_kafka_event_t *event = cli_wait(args, queue, "create", &status);
    if (event != NULL) {
        size_t count;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(event), &count);
        status = topic_result(args, results, count, "created");
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_destroy(client);
    return status;
}

int
cli_topic_delete(const struct cli_args *args)
{
    rd_kafka_t *client = cli_client(args, RD_KAFKA_PRODUCER, cli_conf(args));
    int status = CLI_FAILED;

    if (client == NULL)
        return CLI_FAILED;
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(args->words[0]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AdminOptions_t *options = cli_admin_options(client, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(client, &topic, 1, options, queue);
    rd_kafka_event_t *event = cli_wait(args, queue, "delete", &status);
    if (event != NULL) {
        size_t count;
        const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(event), &count);
        status = topic_result(args, results, count, "deleted");
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_destroy(client);
    return status;
}

int
cli_topic_list(const struct cli_args *args)
{
    rd_kafka_t *client = cli_client(args, RD_KAFKA_PRODUCER, cli_conf(args));
    const struct rd_kafka_metadata *metadata;

    if (client == NULL)
        return CLI_FAILED;
    rd_kafka_resp_err_t error = rd_kafka_metadata(client, 1, NULL, &metadata, CLI_TIMEOUT_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_destroy(client);
        return cli_fail_kafka(args, error, "list", NULL);
    }
    json_t *topics = json_array();
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (args->json)
            json_array_append_new(
                topics,
                json_pack("{s:s, s:i}", "name", topic->topic, "partitions", topic->partition_cnt));
        else
            printf("%-40s %d partition%s\n",
                   topic->topic,
                   topic->partition_cnt,
                   topic->partition_cnt == 1 ? "" : "s");
    }
    if (args->json) {
        json_dumpf(topics, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(topics);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_destroy(client);
    return CLI_OK;
}

/* The topic's settings as an object of name -> {value, default}; NULL and a message on failure. */
static json_t *
topic_describe_settings(const struct cli_args *args, rd_kafka_t *client, int *ret_status)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                                      args->words[0]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AdminOptions_t *options = cli_admin_options(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    json_t *settings = NULL;

    rd_kafka_DescribeConfigs(client, &resource, 1, options, queue);
    rd_kafka_event_t *event = cli_wait(args, queue, "describe", ret_status);
    if (event != NULL) {
        size_t count;
        size_t entry_count;
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &count);
        rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(found[0]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            *ret_status = cli_fail_kafka(args, error, args->words[0], NULL);
            rd_kafka_event_destroy(event);
            goto done;
        }
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0],
                                                                                 &entry_count);
        settings = json_object();
        for (size_t i = 0; i < entry_count; i++) {
            const char *value = rd_kafka_ConfigEntry_value(entries[i]);
            json_object_set_new(settings,
                                rd_kafka_ConfigEntry_name(entries[i]),
                                json_pack("{s:s, s:b}",
                                          "value",
                                          value != NULL ? value : "",
                                          "is_default",
                                          rd_kafka_ConfigEntry_is_default(entries[i])));
        }
        rd_kafka_event_destroy(event);
    }
done:
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    return settings;
}

static json_t *
topic_describe_partitions(const struct cli_args *args,
                          rd_kafka_t *client,
                          const struct rd_kafka_metadata_topic *topic)
{
    json_t *partitions = json_array();

    for (int i = 0; i < topic->partition_cnt; i++) {
        int64_t low = -1;
        int64_t high = -1;
        rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(
            client, args->words[0], topic->partitions[i].id, &low, &high, CLI_TIMEOUT_MS);
        json_array_append_new(
            partitions,
            json_pack("{s:i, s:i, s:I, s:I, s:I, s:s}",
                      "partition",
                      topic->partitions[i].id,
                      "leader",
                      topic->partitions[i].leader,
                      "start_offset",
                      (json_int_t)low,
                      "high_watermark",
                      (json_int_t)high,
                      "records",
                      (json_int_t)(high - low),
                      "state",
                      error == RD_KAFKA_RESP_ERR_NO_ERROR ? "ok" : rd_kafka_err2str(error)));
    }
    return partitions;
}

static void
topic_print_description(const char *name, const json_t *partitions, json_t *settings)
{
    size_t idx;
    json_t *row;
    const char *key;

    printf("%s\n  partition  leader  start offset  high watermark  records  state\n", name);
    json_array_foreach(partitions, idx, row)
        printf("  %9lld  %6lld  %12lld  %14lld  %7lld  %s\n",
               json_integer_value(json_object_get(row, "partition")),
               json_integer_value(json_object_get(row, "leader")),
               json_integer_value(json_object_get(row, "start_offset")),
               json_integer_value(json_object_get(row, "high_watermark")),
               json_integer_value(json_object_get(row, "records")),
               json_string_value(json_object_get(row, "state")));
    printf("  settings (* differs from the default)\n");
    json_object_foreach(settings, key, row)
        printf("  %c %s=%s\n",
               json_is_true(json_object_get(row, "is_default")) ? ' ' : '*',
               key,
               json_string_value(json_object_get(row, "value")));
}

/* A consumer's handle: a producer's would create the topic that it asks for. */
int
cli_topic_describe(const struct cli_args *args)
{
    rd_kafka_t *client = cli_client(args, RD_KAFKA_CONSUMER, cli_conf(args));
    const struct rd_kafka_metadata *metadata = NULL;
    int status = CLI_OK;

    if (client == NULL)
        return CLI_FAILED;
    json_t *settings = topic_describe_settings(args, client, &status);
    if (settings == NULL) {
        rd_kafka_destroy(client);
        return status;
    }
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, args->words[0], NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, topic, &metadata, CLI_TIMEOUT_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR &&
        metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        error = metadata->topics[0].err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        json_t *partitions = topic_describe_partitions(args, client, &metadata->topics[0]);
        if (args->json) {
            json_t *all = json_pack("{s:s, s:O, s:O}",
                                    "name",
                                    args->words[0],
                                    "partitions",
                                    partitions,
                                    "settings",
                                    settings);
            json_dumpf(all, stdout, JSON_INDENT(2));
            putchar('\n');
            json_decref(all);
        } else {
            topic_print_description(args->words[0], partitions, settings);
        }
        json_decref(partitions);
    } else {
        status = cli_fail_kafka(args, error, args->words[0], NULL);
    }
    json_decref(settings);
    if (metadata != NULL)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    return status;
}
