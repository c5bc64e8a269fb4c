/* eagre produce --native: the same lines through libeagre. */
#include "engine/cli/native.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PRODUCE_HEADERS_MAX 64u

struct produce_native {
    const struct cli_args *args;
    struct eagre_client *client;
    struct eagre_producer *producer;
    const char *key_separator;
    int32_t partition;
    struct eagre_header headers[PRODUCE_HEADERS_MAX];
    uint32_t header_count;
    uint64_t sent;
    uint64_t delivered;
    uint64_t failed;
    int first_error;
};

static void
produce_native_delivered(const struct eagre_delivery *delivery, void *context)
{
    struct produce_native *produce = context;

    if (delivery->rc == EAGRE_OK) {
        produce->delivered += delivery->record_count;
        return;
    }
    produce->failed += delivery->record_count;
    if (produce->first_error == EAGRE_OK)
        produce->first_error = delivery->rc;
}

static bool
produce_native_headers(struct produce_native *produce)
{
    const struct cli_args *args = produce->args;

    for (uint32_t i = 0; i < args->given_count; i++) {
        const char *text = args->given[i].value;
        if (strcmp(args->given[i].name, "header") != 0)
            continue;
        const char *equals = strchr(text, '=');
        if (equals == NULL || produce->header_count == PRODUCE_HEADERS_MAX)
            return false;
        produce->headers[produce->header_count++] = (struct eagre_header){
            .key = text,
            .key_bytes = (size_t)(equals - text),
            .value = equals + 1,
            .value_bytes = strlen(equals + 1),
        };
    }
    return true;
}

/* Hands one line over; polls while there is no room. EAGRE_OK or what stopped it. */
static int
produce_native_line(struct produce_native *produce, const char *line, size_t count)
{
    struct eagre_record record = eagre_record_of(NULL, 0, line, count);
    int why = EAGRE_AGAIN;

    if (produce->key_separator != NULL) {
        size_t separator_bytes = strlen(produce->key_separator);
        const char *found = memmem(line, count, produce->key_separator, separator_bytes);
        if (found != NULL) {
            size_t key_bytes = (size_t)(found - line);
            record = eagre_record_of(
                line, key_bytes, found + separator_bytes, count - key_bytes - separator_bytes);
        }
    }
    record.partition = produce->partition;
    record.headers = produce->headers;
    record.header_count = produce->header_count;
    while (why == EAGRE_AGAIN && !cli_native_interrupted()) {
        if (eagre_send(produce->producer, &record, 1, &why) == 1) {
            produce->sent++;
            return EAGRE_OK;
        }
        if (why == EAGRE_AGAIN)
            eagre_poll(produce->client, 10000);
    }
    return why == EAGRE_AGAIN ? EAGRE_OK : why;
}

static int
produce_native_stream(struct produce_native *produce, FILE *input)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t count;
    int status = CLI_OK;

    while (status == CLI_OK && !cli_native_interrupted() && produce->failed == 0 &&
           (count = getline(&line, &capacity, input)) >= 0) {
        if (count > 0 && line[count - 1] == '\n')
            count--;
        int rc = produce_native_line(produce, line, (size_t)count);
        if (rc != EAGRE_OK)
            status = cli_native_fail(produce->args, rc, produce->args->words[0], NULL);
        if ((produce->sent & 63) == 0)
            eagre_poll(produce->client, 0);
    }
    if (ferror(input))
        status = cli_fail(produce->args, CLI_FAILED, "reading the input: %s", strerror(errno));
    free(line);
    return status;
}

static int
produce_native_report(const struct produce_native *produce, int status, double seconds)
{
    uint64_t unanswered = produce->sent - produce->delivered - produce->failed;

    if (produce->args->json)
        printf("{\"topic\": \"%s\", \"acknowledged\": %llu, \"failed\": %llu, \"unanswered\": "
               "%llu, \"seconds\": %.3f}\n",
               produce->args->words[0],
               (unsigned long long)produce->delivered,
               (unsigned long long)produce->failed,
               (unsigned long long)unanswered,
               seconds);
    else
        printf("%llu records acknowledged in %.2f s\n",
               (unsigned long long)produce->delivered,
               seconds);
    if (status == CLI_OK && produce->failed > 0)
        status = cli_native_fail(
            produce->args, produce->first_error, produce->args->words[0], NULL);
    if (status == CLI_OK && unanswered > 0)
        status = cli_fail(produce->args,
                          CLI_FAILED,
                          "interrupted; %llu records were not acknowledged",
                          (unsigned long long)unanswered);
    return status;
}

static int
produce_native_open(struct produce_native *produce, const char *server)
{
    const struct cli_args *args = produce->args;
    struct eagre_producer_options options = eagre_producer_preset(args->words[0]);
    const char *partitioner = cli_text(args, "partitioner", "murmur2_random");
    char why[256];

    if (strcmp(cli_text(args, "codec", "none"), "none") != 0)
        return cli_fail(args, CLI_USAGE, "--codec: native batches are not compressed");
    if (strcmp(partitioner, "xxh3") == 0)
        options.partitioner = EAGRE_PARTITIONER_XXH3;
    else if (strncmp(partitioner, "murmur2", 7) != 0)
        return cli_fail(args, CLI_USAGE, "--partitioner: murmur2 or xxh3 with --native");
    options.create_topic = 1;
    options.linger_us = (uint32_t)cli_number(args, "linger-ms", 5, 0, 60000) * 1000;
    options.batch_bytes = (uint32_t)cli_number(args, "batch-bytes", 65536, 256, 1 << 20);
    options.delivery_timeout_ms = 30000;
    options.on_delivery = produce_native_delivered;
    options.context = produce;
    int status = cli_native_open(args, server, &produce->client);
    if (status != CLI_OK)
        return status;
    int rc = eagre_producer_open(produce->client, &options, &produce->producer, why, sizeof(why));
    return rc == EAGRE_OK ? CLI_OK : cli_native_fail(args, rc, args->words[0], why);
}

int
cli_produce_native(const struct cli_args *args, const char *server)
{
    struct produce_native produce = {
        .args = args,
        .key_separator = cli_text(args, "key-separator", NULL),
        .partition = (int32_t)cli_number(args, "partition", EAGRE_PARTITION_ANY, 0, INT32_MAX),
    };
    const char *path = cli_text(args, "file", NULL);
    struct timespec begin;
    struct timespec end;

    if (!produce_native_headers(&produce))
        return cli_fail(args, CLI_USAGE, "--header: must be NAME=VALUE, at most 64 times");
    FILE *input = path != NULL ? fopen(path, "r") : stdin;
    if (input == NULL)
        return cli_fail(args, CLI_FAILED, "%s: %s", path, strerror(errno));
    cli_native_signals();
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int status = produce_native_open(&produce, server);
    if (status == CLI_OK) {
        status = produce_native_stream(&produce, input);
        while (eagre_flush_wait(produce.producer, 200) == EAGRE_TIMED_OUT &&
               !cli_native_interrupted())
            ;
        clock_gettime(CLOCK_MONOTONIC, &end);
        double seconds = (double)(end.tv_sec - begin.tv_sec) +
                         (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
        status = produce_native_report(&produce, status, seconds);
    }
    produce.first_error = EAGRE_CLOSED; /* what closing reports is said already */
    eagre_close(produce.client);
    if (input != stdin)
        fclose(input);
    return status;
}
