/* eagre consume: prints records of one or all partitions, from a chosen offset or time on. */
#include "engine/cli/native.h"

#include "engine/base/bytes.h"
#include "engine/config/parse.h"

#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct consume {
    const struct cli_args *args;
    rd_kafka_t *client;
    const char *topic;
    const char *key_separator;
    int64_t count_max; /* -1: no limit */
    const char *group; /* NULL: partitions are assigned by hand and nothing is committed */
    bool follow;
    bool offsets;
    uint64_t printed;
    uint32_t partitions_open;               /* not yet at their end; without a group */
    rd_kafka_topic_partition_list_t *ended; /* partitions at their end; with a group */
};

static _Atomic int consume_interrupted;

static void
consume_on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&consume_interrupted, 1, memory_order_relaxed); /* only tells */
}

static bool
consume_is_interrupted(void)
{
    return atomic_load_explicit(&consume_interrupted, memory_order_relaxed) != 0; /* see above */
}

/* Bytes as a JSON string; bytes that are not UTF-8 are shown as U+FFFD. */
struct json_t *
cli_json_text(const void *at, size_t count)
{
    json_t *text = at != NULL ? json_stringn(at, count) : json_null();

    if (text != NULL)
        return text;
    char *copy = malloc(count * 3 + 1);
    size_t used = 0;
    for (size_t i = 0; copy != NULL && i < count; i++) {
        unsigned char byte = ((const unsigned char *)at)[i];
        if (byte < 0x80) {
            copy[used++] = (char)byte;
        } else {
            bytes_copy(copy + used, count * 3 - used, "\xEF\xBF\xBD", 3);
            used += 3;
        }
    }
    text = json_stringn(copy != NULL ? copy : "", used);
    free(copy);
    return text;
}

static void
consume_print_json(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_timestamp_type_t type;
    json_t *row = json_object();

    json_object_set_new(row, "partition", json_integer(message->partition));
    json_object_set_new(row, "offset", json_integer(message->offset));
    json_object_set_new(row, "timestamp", json_integer(rd_kafka_message_timestamp(message, &type)));
    json_object_set_new(row, "key", cli_json_text(message->key, message->key_len));
    json_object_set_new(row, "value", cli_json_text(message->payload, message->len));
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        json_t *list = json_array();
        const char *name;
        const void *value;
        size_t count;
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &count) ==
                           RD_KAFKA_RESP_ERR_NO_ERROR;
             i++) {
            json_t *header = json_object();
            json_object_set_new(header, "name", json_string(name));
            json_object_set_new(header, "value", cli_json_text(value, count));
            json_array_append_new(list, header);
        }
        json_object_set_new(row, "headers", list);
    }
    json_dumpf(row, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(row);
}

static void
consume_print(struct consume *consume, const rd_kafka_message_t *message)
{
    consume->printed++;
    if (consume->args->json) {
        consume_print_json(message);
        return;
    }
    if (consume->offsets)
        printf("%d:%lld ", message->partition, (long long)message->offset);
    if (consume->key_separator != NULL) {
        fwrite(message->key, 1, message->key_len, stdout);
        fputs(consume->key_separator, stdout);
    }
    fwrite(message->payload, 1, message->len, stdout);
    putchar('\n');
}

/* Fills the list with the partitions to read; returns CLI_OK or an exit code. */
static int
consume_partitions(struct consume *consume, rd_kafka_topic_partition_list_t *list)
{
    int64_t only = cli_number(consume->args, "partition", -1, 0, INT32_MAX);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consume->client, consume->topic, NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(
        consume->client, 0, topic, &metadata, CLI_TIMEOUT_MS);

    rd_kafka_topic_destroy(topic);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return cli_fail_kafka(consume->args, error, consume->topic, NULL);
    error = metadata->topic_cnt > 0 ? metadata->topics[0].err
                                    : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topics[0].partition_cnt;
         i++) {
        int32_t partition = metadata->topics[0].partitions[i].id;
        if (only < 0 || only == partition)
            rd_kafka_topic_partition_list_add(list, consume->topic, partition);
    }
    rd_kafka_metadata_destroy(metadata);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && list->cnt == 0)
        error = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return cli_fail_kafka(consume->args, error, consume->topic, NULL);
    return CLI_OK;
}

/* Sets the offset to begin at in every partition. */
static int
consume_begin(struct consume *consume, rd_kafka_topic_partition_list_t *list)
{
    const struct cli_args *args = consume->args;
    const char *from = cli_text(args, "from", "beginning");
    int64_t time_ms = cli_number(args, "from-time", -1, 0, INT64_MAX);
    int64_t offset;

    if (time_ms >= 0) {
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = time_ms;
        rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(
            consume->client, list, CLI_TIMEOUT_MS);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return cli_fail_kafka(args, error, "from-time", NULL);
        return CLI_OK;
    }
    if (strcmp(from, "beginning") == 0) {
        offset = RD_KAFKA_OFFSET_BEGINNING;
    } else if (strcmp(from, "end") == 0) {
        offset = RD_KAFKA_OFFSET_END;
    } else if (!parse_i64(from, strlen(from), &offset) || offset < 0) {
        return cli_fail(args, CLI_USAGE, "--from %s: must be beginning, end, or an offset", from);
    }
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = offset;
    return CLI_OK;
}

/* ---- as a member of a group */

/* A record was printed: its offset may be committed, and its partition has gone on. */
static void
consume_store(struct consume *consume, const rd_kafka_message_t *message)
{
    rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(one, consume->topic, message->partition)->offset =
        message->offset + 1;
    /* Fails for a partition that was taken away meanwhile; its new owner prints it again. */
    (void)rd_kafka_offsets_store(consume->client, one);
    rd_kafka_topic_partition_list_destroy(one);
    (void)rd_kafka_topic_partition_list_del(consume->ended, consume->topic, message->partition);
}

/* Whether all partitions that the group has given us are at their end. */
static bool
consume_all_ended(struct consume *consume, int32_t partition)
{
    rd_kafka_topic_partition_list_t *owned = NULL;

    if (rd_kafka_topic_partition_list_find(consume->ended, consume->topic, partition) == NULL)
        rd_kafka_topic_partition_list_add(consume->ended, consume->topic, partition);
    if (rd_kafka_assignment(consume->client, &owned) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    bool all = owned->cnt > 0;
    for (int i = 0; i < owned->cnt; i++)
        all = all && rd_kafka_topic_partition_list_find(
                         consume->ended, owned->elems[i].topic, owned->elems[i].partition) != NULL;
    rd_kafka_topic_partition_list_destroy(owned);
    return all;
}

/* Returns true to go on. */
static bool
consume_take(struct consume *consume, rd_kafka_message_t *message, int *ret_status)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        consume_print(consume, message);
        if (consume->group != NULL)
            consume_store(consume, message);
        return consume->count_max < 0 || consume->printed < (uint64_t)consume->count_max;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (consume->follow)
            return true;
        if (consume->group != NULL)
            return !consume_all_ended(consume, message->partition);
        return --consume->partitions_open > 0;
    default:
        *ret_status = cli_fail_kafka(
            consume->args, message->err, consume->topic, rd_kafka_message_errstr(message));
        return false;
    }
}

static int
consume_loop(struct consume *consume)
{
    int status = CLI_OK;
    bool more = consume->count_max != 0;

    while (more && !consume_is_interrupted()) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consume->client, 200);
        if (message == NULL) {
            fflush(stdout);
            continue;
        }
        more = consume_take(consume, message, &status);
        rd_kafka_message_destroy(message);
        if (ferror(stdout))
            more = false;
    }
    return status;
}

static rd_kafka_conf_t *
consume_conf(const struct consume *consume)
{
    const struct cli_args *args = consume->args;
    rd_kafka_conf_t *conf = cli_conf(args);
    const char *from = cli_text(args, "from", "beginning");

    /* Without a group the name is only what librdkafka asks for, and nothing is committed. With one
     * an offset is stored when its record was printed, and committed now and then and at the end.
     */
    cli_conf_set(args, conf, "group.id", consume->group != NULL ? consume->group : "eagre-cli");
    cli_conf_set(args, conf, "enable.auto.commit", consume->group != NULL ? "true" : "false");
    cli_conf_set(args, conf, "enable.auto.offset.store", "false");
    cli_conf_set(args, conf, "enable.partition.eof", "true");
    cli_conf_set(args,
                 conf,
                 "auto.offset.reset",
                 consume->group == NULL     ? "error"
                 : strcmp(from, "end") == 0 ? "latest"
                                            : "earliest");
    cli_conf_set(args, conf, "fetch.message.max.bytes", "1048576");
    cli_conf_set(args,
                 conf,
                 "isolation.level",
                 strcmp(cli_text(args, "isolation", "committed"), "uncommitted") == 0
                     ? "read_uncommitted"
                     : "read_committed");
    return conf;
}

/* Partitions by hand: all of the topic or one, from a place of the caller's choice. */
static int
consume_assigned(struct consume *consume)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    int status = consume_partitions(consume, list);

    if (status == CLI_OK)
        status = consume_begin(consume, list);
    if (status == CLI_OK) {
        consume->partitions_open = (uint32_t)list->cnt;
        rd_kafka_resp_err_t error = rd_kafka_assign(consume->client, list);
        status = error == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? consume_loop(consume)
                     : cli_fail_kafka(consume->args, error, consume->topic, NULL);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* Partitions as the group shares them, from where the group is. */
static int
consume_subscribed(struct consume *consume)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    int status = consume_partitions(consume, list); /* a topic that is not there is told at once */

    rd_kafka_topic_partition_list_destroy(list);
    if (status != CLI_OK)
        return status;
    consume->ended = rd_kafka_topic_partition_list_new(16);
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, consume->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(consume->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    status = error == RD_KAFKA_RESP_ERR_NO_ERROR
                 ? consume_loop(consume)
                 : cli_fail_kafka(consume->args, error, consume->topic, NULL);
    rd_kafka_topic_partition_list_destroy(consume->ended);
    return status;
}

/* What contradicts --group; CLI_OK: nothing. */
static int
consume_check_group(const struct cli_args *args)
{
    const char *from = cli_text(args, "from", "beginning");

    if (cli_flag(args, "partition") || cli_flag(args, "from-time") || cli_flag(args, "native"))
        return cli_fail(args,
                        CLI_USAGE,
                        "--group shares partitions and knows where it is: not with --partition, "
                        "--from-time or --native (eagre group reset-offsets moves it)");
    if (strcmp(from, "beginning") != 0 && strcmp(from, "end") != 0)
        return cli_fail(args,
                        CLI_USAGE,
                        "--from %s: with --group only beginning or end, for a group without "
                        "offsets",
                        from);
    return CLI_OK;
}

int
cli_consume(const struct cli_args *args)
{
    struct consume consume = {
        .args = args,
        .topic = args->words[0],
        .group = cli_text(args, "group", NULL),
        .key_separator = cli_text(args, "key-separator", NULL),
        .count_max = cli_number(args, "count", -1, 0, INT64_MAX),
        .follow = cli_flag(args, "follow"),
        .offsets = cli_flag(args, "offsets"),
    };

    const char *isolation = cli_text(args, "isolation", "committed");
    if (strcmp(isolation, "committed") != 0 && strcmp(isolation, "uncommitted") != 0)
        return cli_fail(args, CLI_USAGE, "--isolation %s: committed or uncommitted", isolation);
    if (consume.group != NULL && consume_check_group(args) != CLI_OK)
        return CLI_USAGE;
    if (cli_flag(args, "native"))
        return cli_consume_native(args, cli_text(args, "native", ""));
    signal(SIGINT, consume_on_signal);
    signal(SIGTERM, consume_on_signal);
    consume.client = cli_client(args, RD_KAFKA_CONSUMER, consume_conf(&consume));
    if (consume.client == NULL)
        return CLI_FAILED;
    rd_kafka_poll_set_consumer(consume.client);
    int status = consume.group != NULL ? consume_subscribed(&consume) : consume_assigned(&consume);
    fflush(stdout);
    rd_kafka_consumer_close(
        consume.client); /* with a group: commits what was printed, and leaves */
    rd_kafka_destroy(consume.client);
    return status;
}
