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
    bool follow;
    bool offsets;
    uint64_t printed;
    uint32_t partitions_open; /* not yet at their end */
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

/* Returns true to go on. */
static bool
consume_take(struct consume *consume, rd_kafka_message_t *message, int *ret_status)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        consume_print(consume, message);
        return consume->count_max < 0 || consume->printed < (uint64_t)consume->count_max;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (consume->follow)
            return true;
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
consume_conf(const struct cli_args *args)
{
    rd_kafka_conf_t *conf = cli_conf(args);

    /* Partitions are assigned by hand; the group name is only what librdkafka asks for and nothing
     * is committed. */
    cli_conf_set(args, conf, "group.id", "eagre-cli");
    cli_conf_set(args, conf, "enable.auto.commit", "false");
    cli_conf_set(args, conf, "enable.partition.eof", "true");
    cli_conf_set(args, conf, "auto.offset.reset", "error");
    cli_conf_set(args, conf, "fetch.message.max.bytes", "1048576");
    return conf;
}

int
cli_consume(const struct cli_args *args)
{
    struct consume consume = {
        .args = args,
        .topic = args->words[0],
        .key_separator = cli_text(args, "key-separator", NULL),
        .count_max = cli_number(args, "count", -1, 0, INT64_MAX),
        .follow = cli_flag(args, "follow"),
        .offsets = cli_flag(args, "offsets"),
    };

    if (cli_flag(args, "native"))
        return cli_consume_native(args, cli_text(args, "native", ""));
    signal(SIGINT, consume_on_signal);
    signal(SIGTERM, consume_on_signal);
    consume.client = cli_client(args, RD_KAFKA_CONSUMER, consume_conf(args));
    if (consume.client == NULL)
        return CLI_FAILED;
    rd_kafka_poll_set_consumer(consume.client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    int status = consume_partitions(&consume, list);
    if (status == CLI_OK)
        status = consume_begin(&consume, list);
    if (status == CLI_OK) {
        consume.partitions_open = (uint32_t)list->cnt;
        rd_kafka_resp_err_t error = rd_kafka_assign(consume.client, list);
        status = error == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? consume_loop(&consume)
                     : cli_fail_kafka(args, error, consume.topic, NULL);
    }
    fflush(stdout);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consume.client);
    rd_kafka_destroy(consume.client);
    return status;
}
