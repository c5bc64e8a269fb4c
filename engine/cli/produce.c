/* eagre produce: every line of standard input (or --file) becomes a record. */
#include "engine/cli/native.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct produce {
    const struct cli_args *args;
    rd_kafka_t *client;
    const char *topic;
    const char *key_separator;
    const char *transactional; /* id; NULL: no transaction */
    int32_t partition;
    uint64_t queued;
    uint64_t delivered;
    uint64_t failed;
    rd_kafka_resp_err_t first_error;
    uint64_t bytes_read;
    uint64_t bytes_total; /* size of the input when it is a file, else 0 */
    bool progress;
    struct timespec begin;
    double shown_at_s;
};

#define PRODUCE_TRANSACTION_MS "300000" /* longer inputs are aborted by the server */

static _Atomic int produce_interrupted;

static void
produce_on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&produce_interrupted, 1, memory_order_relaxed); /* only tells */
}

static bool
produce_is_interrupted(void)
{
    return atomic_load_explicit(&produce_interrupted, memory_order_relaxed) != 0; /* see above */
}

static void
produce_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct produce *produce = opaque;

    (void)client;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->delivered++;
        return;
    }
    produce->failed++;
    if (produce->first_error == RD_KAFKA_RESP_ERR_NO_ERROR)
        produce->first_error = message->err;
}

static double
produce_elapsed_s(const struct produce *produce)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - produce->begin.tv_sec) +
           (double)(now.tv_nsec - produce->begin.tv_nsec) / 1e9;
}

/* One line on the terminal, at most five times a second. */
static void
produce_show(struct produce *produce, bool last)
{
    double elapsed = produce_elapsed_s(produce);
    char bar[CLI_BAR_TEXT];

    if (!produce->progress || (!last && elapsed - produce->shown_at_s < 0.2))
        return;
    produce->shown_at_s = elapsed;
    cli_bar(bar, produce->bytes_read, produce->bytes_total);
    fprintf(stderr,
            "\r%s %llu sent, %llu acknowledged, %.0f records/s ",
            bar,
            (unsigned long long)produce->queued,
            (unsigned long long)produce->delivered,
            (double)produce->delivered / (elapsed > 0 ? elapsed : 1));
    if (last)
        fputc('\n', stderr);
}

static rd_kafka_headers_t *
produce_headers(const struct produce *produce, bool *ret_bad)
{
    rd_kafka_headers_t *headers = NULL;
    const struct cli_args *args = produce->args;

    *ret_bad = false;
    for (uint32_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].name, "header") != 0)
            continue;
        const char *equals = strchr(args->given[i].value, '=');
        if (equals == NULL) {
            *ret_bad = true;
            break;
        }
        if (headers == NULL)
            headers = rd_kafka_headers_new(4);
        rd_kafka_header_add(
            headers, args->given[i].value, equals - args->given[i].value, equals + 1, -1);
    }
    return headers;
}

/* Queues one line; waits for room in librdkafka's queue when it is full. */
static rd_kafka_resp_err_t
produce_line(struct produce *produce, char *line, size_t count, const rd_kafka_headers_t *headers)
{
    char *value = line;
    size_t value_count = count;
    char *key = NULL;
    size_t key_count = 0;
    rd_kafka_resp_err_t error;

    if (produce->key_separator != NULL) {
        char *found = memmem(line, count, produce->key_separator, strlen(produce->key_separator));
        if (found != NULL) {
            key = line;
            key_count = (size_t)(found - line);
            value = found + strlen(produce->key_separator);
            value_count = count - (size_t)(value - line);
        }
    }
    do {
        rd_kafka_headers_t *copy = headers != NULL ? rd_kafka_headers_copy(headers) : NULL;
        error = rd_kafka_producev(produce->client,
                                  RD_KAFKA_V_TOPIC(produce->topic),
                                  RD_KAFKA_V_PARTITION(produce->partition),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                  RD_KAFKA_V_KEY(key, key_count),
                                  RD_KAFKA_V_VALUE(value, value_count),
                                  RD_KAFKA_V_HEADERS(copy),
                                  RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR && copy != NULL)
            rd_kafka_headers_destroy(copy);
        if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(produce->client, 100);
    } while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL && !produce_is_interrupted());
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        produce->queued++;
    return error;
}

static int
produce_stream(struct produce *produce, FILE *input, const rd_kafka_headers_t *headers)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t count;
    int status = CLI_OK;

    while (!produce_is_interrupted() && produce->failed == 0 &&
           (count = getline(&line, &capacity, input)) >= 0) {
        produce->bytes_read += (uint64_t)count;
        if (count > 0 && line[count - 1] == '\n')
            count--;
        rd_kafka_resp_err_t error = produce_line(produce, line, (size_t)count, headers);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = cli_fail_kafka(produce->args, error, produce->topic, NULL);
            break;
        }
        rd_kafka_poll(produce->client, 0);
        produce_show(produce, false);
    }
    if (ferror(input))
        status = cli_fail(produce->args, CLI_FAILED, "reading the input: %s", strerror(errno));
    free(line);
    return status;
}

/* Waits until everything was answered; librdkafka bounds it by message.timeout.ms. */
static void
produce_drain(struct produce *produce)
{
    while (rd_kafka_outq_len(produce->client) > 0 && !produce_is_interrupted()) {
        rd_kafka_poll(produce->client, 100);
        produce_show(produce, false);
    }
}

static int
produce_report(struct produce *produce, int status)
{
    double elapsed = produce_elapsed_s(produce);
    uint64_t unanswered = produce->queued - produce->delivered - produce->failed;

    produce_show(produce, true);
    if (produce->args->json)
        printf("{\"topic\": \"%s\", \"acknowledged\": %llu, \"failed\": %llu, \"unanswered\": "
               "%llu, \"seconds\": %.3f}\n",
               produce->topic,
               (unsigned long long)produce->delivered,
               (unsigned long long)produce->failed,
               (unsigned long long)unanswered,
               elapsed);
    else if (!produce->progress)
        printf("%llu records acknowledged in %.2f s\n",
               (unsigned long long)produce->delivered,
               elapsed);
    if (status == CLI_OK && produce->failed > 0)
        status = cli_fail_kafka(produce->args, produce->first_error, produce->topic, NULL);
    if (status == CLI_OK && unanswered > 0)
        status = cli_fail(produce->args,
                          CLI_FAILED,
                          "interrupted; %llu records were not acknowledged",
                          (unsigned long long)unanswered);
    return status;
}

static rd_kafka_conf_t *
produce_conf(struct produce *produce)
{
    const struct cli_args *args = produce->args;
    rd_kafka_conf_t *conf = cli_conf(args);

    cli_conf_set(args, conf, "compression.codec", cli_text(args, "codec", "none"));
    cli_conf_set(args, conf, "acks", cli_text(args, "acks", "all"));
    cli_conf_set(args, conf, "linger.ms", cli_text(args, "linger-ms", "5"));
    cli_conf_set(args, conf, "partitioner", cli_text(args, "partitioner", "murmur2_random"));
    cli_conf_set(args, conf, "enable.idempotence", cli_flag(args, "idempotent") ? "true" : "false");
    cli_conf_set(args, conf, "message.timeout.ms", "30000");
    if (produce->transactional != NULL) {
        cli_conf_set(args, conf, "enable.idempotence", "true");
        cli_conf_set(args, conf, "transactional.id", produce->transactional);
        cli_conf_set(args, conf, "transaction.timeout.ms", PRODUCE_TRANSACTION_MS);
    }
    cli_conf_set(args, conf, "message.max.bytes", "8388608");
    rd_kafka_conf_set_opaque(conf, produce);
    rd_kafka_conf_set_dr_msg_cb(conf, produce_delivered);
    return conf;
}

/* ---- one transaction around all of the input */

/* Prints what a step of a transaction was refused for; CLI_OK: it was not. */
static int
produce_step(const struct produce *produce, rd_kafka_error_t *error)
{
    if (error == NULL)
        return CLI_OK;
    int status = cli_fail_kafka(produce->args,
                                rd_kafka_error_code(error),
                                produce->transactional,
                                rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return status;
}

static int
produce_begin(struct produce *produce)
{
    if (produce->transactional == NULL)
        return CLI_OK;
    int status = produce_step(produce, rd_kafka_init_transactions(produce->client, CLI_TIMEOUT_MS));
    return status != CLI_OK ? status
                            : produce_step(produce, rd_kafka_begin_transaction(produce->client));
}

/* Waits for the answers; all of the input counts, or nothing of it. */
static int
produce_end(struct produce *produce, int status)
{
    produce_drain(produce);
    if (produce->transactional == NULL)
        return status;
    if (status == CLI_OK && produce->failed == 0 && !produce_is_interrupted())
        return produce_step(produce,
                            rd_kafka_commit_transaction(produce->client, 3 * CLI_TIMEOUT_MS));
    int aborted = produce_step(produce,
                               rd_kafka_abort_transaction(produce->client, CLI_TIMEOUT_MS));
    return status != CLI_OK ? status : aborted;
}

static FILE *
produce_open(struct produce *produce)
{
    const char *path = cli_text(produce->args, "file", NULL);
    FILE *input = path != NULL ? fopen(path, "r") : stdin;
    struct stat facts;

    if (input == NULL) {
        cli_fail(produce->args, CLI_FAILED, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (fstat(fileno(input), &facts) == 0 && S_ISREG(facts.st_mode))
        produce->bytes_total = (uint64_t)facts.st_size;
    return input;
}

int
cli_produce(const struct cli_args *args)
{
    struct produce produce = {
        .args = args,
        .topic = args->words[0],
        .key_separator = cli_text(args, "key-separator", NULL),
        .transactional = cli_text(args, "transactional", NULL),
        .partition = (int32_t)cli_number(args, "partition", RD_KAFKA_PARTITION_UA, 0, INT32_MAX),
        .progress = isatty(STDERR_FILENO) != 0 && !cli_flag(args, "quiet"),
    };
    bool bad;

    if (produce.key_separator != NULL && produce.key_separator[0] == '\0')
        return cli_fail(args, CLI_USAGE, "--key-separator must not be empty");
    if (produce.transactional != NULL && cli_flag(args, "native"))
        return cli_fail(args, CLI_USAGE, "--transactional: not with --native");
    if (cli_flag(args, "native"))
        return cli_produce_native(args, cli_text(args, "native", ""));
    FILE *input = produce_open(&produce);
    if (input == NULL)
        return CLI_FAILED;
    rd_kafka_headers_t *headers = produce_headers(&produce, &bad);
    if (bad)
        return cli_fail(args, CLI_USAGE, "--header: must be NAME=VALUE");
    signal(SIGINT, produce_on_signal);
    signal(SIGTERM, produce_on_signal);
    produce.client = cli_client(args, RD_KAFKA_PRODUCER, produce_conf(&produce));
    if (produce.client == NULL)
        return CLI_FAILED;
    clock_gettime(CLOCK_MONOTONIC, &produce.begin);
    int status = produce_begin(&produce);
    if (status == CLI_OK)
        status = produce_end(&produce, produce_stream(&produce, input, headers));
    status = produce_report(&produce, status);
    if (headers != NULL)
        rd_kafka_headers_destroy(headers);
    rd_kafka_destroy(produce.client);
    if (input != stdin)
        fclose(input);
    return status;
}
