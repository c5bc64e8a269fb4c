/* eagre consume --native: the same output through libeagre. */
#include "engine/cli/native.h"

#include "engine/config/parse.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CONSUME_PARTITIONS_MAX 1024u

struct consume_native {
    const struct cli_args *args;
    struct eagre_client *client;
    struct eagre_subscriber *subscriber;
    const char *key_separator;
    int64_t count_max;
    bool offsets;
    uint64_t printed;
};

static void
consume_native_json(struct eagre_received *record)
{
    json_t *row = json_object();
    json_t *list = json_array();
    struct eagre_header header;
    bool has_headers = record->header_count > 0;

    json_object_set_new(row, "partition", json_integer(record->partition));
    json_object_set_new(row, "offset", json_integer(record->offset));
    json_object_set_new(row, "timestamp", json_integer(record->timestamp_ms));
    json_object_set_new(row, "key", cli_json_text(record->key, record->key_bytes));
    json_object_set_new(row, "value", cli_json_text(record->value, record->value_bytes));
    while (eagre_header_next(record, &header) == 1) {
        json_t *item = json_object();
        json_object_set_new(item, "name", cli_json_text(header.key, header.key_bytes));
        json_object_set_new(item, "value", cli_json_text(header.value, header.value_bytes));
        json_array_append_new(list, item);
    }
    if (has_headers)
        json_object_set(row, "headers", list);
    json_decref(list);
    json_dumpf(row, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(row);
}

static void
consume_native_print(struct consume_native *consume, struct eagre_received *record)
{
    consume->printed++;
    if (consume->args->json) {
        consume_native_json(record);
        return;
    }
    if (consume->offsets)
        printf("%d:%lld ", record->partition, (long long)record->offset);
    if (consume->key_separator != NULL) {
        fwrite(record->key, 1, record->key_bytes, stdout);
        fputs(consume->key_separator, stdout);
    }
    fwrite(record->value, 1, record->value_bytes, stdout);
    putchar('\n');
}

static bool
consume_native_enough(const struct consume_native *consume)
{
    return (consume->count_max >= 0 && consume->printed >= (uint64_t)consume->count_max) ||
           ferror(stdout) != 0;
}

/* What is there now. CLI_OK or the code of an error, which is printed. */
static int
consume_native_batches(struct consume_native *consume)
{
    struct eagre_batch batch;
    struct eagre_received record;

    while (!consume_native_enough(consume) && eagre_next(consume->subscriber, &batch) == 1) {
        if (batch.rc != EAGRE_OK)
            return cli_native_fail(consume->args, batch.rc, consume->args->words[0], NULL);
        while (!consume_native_enough(consume) &&
               eagre_record_next(consume->subscriber, &record) == 1)
            consume_native_print(consume, &record);
    }
    return CLI_OK;
}

/* Every partition has given out what there was when it began. */
static bool
consume_native_at_end(const struct consume_native *consume, int32_t only, uint32_t partition_count)
{
    struct eagre_position position;

    for (uint32_t i = 0; i < partition_count; i++) {
        if (only >= 0 && only != (int32_t)i)
            continue;
        if (eagre_get_position(consume->subscriber, (int32_t)i, &position) != EAGRE_OK ||
            position.next_offset < position.high_watermark)
            return false;
    }
    return true;
}

static int
consume_native_start(const struct cli_args *args, struct eagre_subscriber_options *options)
{
    const char *from = cli_text(args, "from", "beginning");
    int64_t time_ms = cli_number(args, "from-time", -1, 0, INT64_MAX);

    if (time_ms >= 0) {
        options->start = EAGRE_START_TIME;
        options->start_value = time_ms;
        return CLI_OK;
    }
    options->start = EAGRE_START_EARLIEST;
    if (strcmp(from, "beginning") == 0)
        return CLI_OK;
    options->start = strcmp(from, "end") == 0 ? EAGRE_START_LATEST : EAGRE_START_OFFSET;
    if (options->start == EAGRE_START_OFFSET &&
        (!parse_i64(from, strlen(from), &options->start_value) || options->start_value < 0))
        return cli_fail(args, CLI_USAGE, "--from %s: must be beginning, end, or an offset", from);
    return CLI_OK;
}

static int
consume_native_run(struct consume_native *consume, const struct eagre_subscriber_options *options)
{
    struct eagre_topic_info info;
    char why[256];
    int status = cli_native_topic(consume->args, consume->client, options->topic, false, &info);

    if (status != CLI_OK)
        return status;
    int rc = eagre_subscribe(consume->client, options, &consume->subscriber, why, sizeof(why));
    if (rc != EAGRE_OK)
        return cli_native_fail(consume->args, rc, options->topic, why);
    bool follow = cli_flag(consume->args, "follow");
    while (status == CLI_OK && !cli_native_interrupted() && !consume_native_enough(consume)) {
        if (eagre_poll(consume->client, 100000) == 0)
            fflush(stdout);
        status = consume_native_batches(consume);
        if (!follow && consume_native_at_end(consume, options->partition, info.partition_count))
            break;
    }
    fflush(stdout);
    return status;
}

int
cli_consume_native(const struct cli_args *args, const char *server)
{
    struct consume_native consume = {
        .args = args,
        .key_separator = cli_text(args, "key-separator", NULL),
        .count_max = cli_number(args, "count", -1, 0, INT64_MAX),
        .offsets = cli_flag(args, "offsets"),
    };
    struct eagre_subscriber_options options = eagre_subscriber_preset(args->words[0]);

    options.partition = (int32_t)cli_number(args, "partition", EAGRE_PARTITION_ANY, 0, INT32_MAX);
    options.partitions_max = CONSUME_PARTITIONS_MAX;
    options.receive_bytes = 1 << 20;
    int status = consume_native_start(args, &options);
    if (status != CLI_OK)
        return status;
    cli_native_signals();
    status = cli_native_open(args, server, &consume.client);
    if (status == CLI_OK)
        status = consume_native_run(&consume, &options);
    eagre_close(consume.client);
    return status;
}
