/* eagre transaction list | describe | abort
 *
 * `abort` does what a new producer of the same id would do: InitProducerId puts an end to the open
 * transaction and fences who began it. It asks first, so that no id comes to be by a wrong name. */
#include "engine/cli/ask.h"

#include "net/kafka/kafka_error.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIST_VERSION 1
#define DESCRIBE_VERSION 0
#define INIT_VERSION 2
#define RETRY_US 100000u
#define TRIES_MAX (CLI_TIMEOUT_MS * 1000u / RETRY_US)

static struct bytes
text_bytes(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static json_t *
bytes_json(struct bytes text)
{
    json_t *value = json_stringn((const char *)text.at, text.count);

    return value != NULL ? value : json_string("(not UTF-8)");
}

/* True, after a pause, for what passes by itself: a coordinator that comes to be or loads, markers
 * on their way. */
static bool
is_again(int16_t error, uint32_t *tries)
{
    if (error != KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE &&
        error != KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS &&
        error != KAFKA_ERROR_CONCURRENT_TRANSACTIONS)
        return false;
    if (++*tries > TRIES_MAX)
        return false;
    usleep(RETRY_US);
    return true;
}

/* False, and a message, for a Kafka error code other than 0. */
static bool
is_fine(struct ask *ask, int16_t error, const char *what)
{
    if (error == KAFKA_ERROR_NONE)
        return true;
    if (error == KAFKA_ERROR_TRANSACTIONAL_ID_NOT_FOUND)
        ask->status = cli_fail(ask->args, CLI_NOT_FOUND, "no transactional id %s", what);
    else
        ask->status = cli_fail(ask->args, CLI_FAILED, "%s: %s", what, kafka_error_name(error));
    return false;
}

static void
print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- list */

static void
print_list(struct ask *ask, const struct kafka_list_transactions_response *answer)
{
    const struct cli_args *args = ask->args;

    if (answer->unknown_state_filters.count > 0) {
        ask->status = cli_fail(args,
                               CLI_USAGE,
                               "--state %.*s: Empty, Ongoing, PrepareCommit, PrepareAbort, "
                               "CompleteCommit, CompleteAbort, PrepareEpochFence or Dead",
                               (int)answer->unknown_state_filters.at[0].count,
                               (const char *)answer->unknown_state_filters.at[0].at);
        return;
    }
    json_t *list = json_array();

    for (uint32_t i = 0; i < answer->transaction_states.count; i++) {
        const struct kafka_list_transactions_response_transaction *one =
            &answer->transaction_states.at[i];
        if (args->json)
            json_array_append_new(list,
                                  json_pack("{s:o, s:o, s:I}",
                                            "transactional_id",
                                            bytes_json(one->transactional_id),
                                            "state",
                                            bytes_json(one->transaction_state),
                                            "producer_id",
                                            (json_int_t)one->producer_id));
        else
            printf("%-40.*s %-16.*s producer %lld\n",
                   (int)one->transactional_id.count,
                   (const char *)one->transactional_id.at,
                   (int)one->transaction_state.count,
                   (const char *)one->transaction_state.at,
                   (long long)one->producer_id);
    }
    if (args->json)
        print_json(list);
    json_decref(list);
}

int
cli_transaction_list(const struct cli_args *args)
{
    struct kafka_list_transactions_response answer;
    struct kafka_list_transactions_request request;
    struct bytes states[CLI_WORDS_MAX];
    uint32_t state_count = 0;
    uint32_t tries = 0;
    struct ask ask;

    kafka_list_transactions_request_defaults(&request);
    for (uint32_t i = 0; i < args->given_count; i++)
        if (strcmp(args->given[i].name, "state") == 0)
            states[state_count++] = text_bytes(args->given[i].value);
    request.state_filters = (struct kafka_string_list){states, state_count};
    request.duration_filter = cli_number(args, "longer-than", -1, 0, INT64_MAX);
    if (!ask_begin(&ask, args))
        return ask.status;
    bool is_answered;
    do {
        is_answered = ask_question(&ask, KAFKA_LIST_TRANSACTIONS, LIST_VERSION, &request, &answer);
    } while (is_answered && is_again(answer.error, &tries));
    if (is_answered && is_fine(&ask, answer.error, "list"))
        print_list(&ask, &answer);
    return ask_end(&ask);
}

/* ---- describe */

/* What the coordinator knows of the id of the command line; false: a message was printed. */
static bool
describe(struct ask *ask, struct kafka_describe_transactions_response_transaction *ret)
{
    const struct bytes id = text_bytes(ask->args->words[0]);
    const struct kafka_describe_transactions_request request = {.transactional_ids = {&id, 1}};
    struct kafka_describe_transactions_response answer;
    uint32_t tries = 0;

    do {
        if (!ask_question(ask, KAFKA_DESCRIBE_TRANSACTIONS, DESCRIBE_VERSION, &request, &answer))
            return false;
        if (answer.transaction_states.count != 1) {
            ask->status = cli_fail(ask->args, CLI_FAILED, "describe: not one answer");
            return false;
        }
        *ret = answer.transaction_states.at[0];
    } while (is_again(ret->error, &tries));
    return is_fine(ask, ret->error, ask->args->words[0]);
}

static json_t *
describe_json(const struct kafka_describe_transactions_response_transaction *one)
{
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    json_t *partitions = json_array();

    for (uint32_t t = 0; t < one->topics.count; t++)
        for (uint32_t p = 0; p < one->topics.at[t].partitions.count; p++)
            json_array_append_new(partitions,
                                  json_pack("{s:o, s:i}",
                                            "topic",
                                            bytes_json(one->topics.at[t].topic),
                                            "partition",
                                            (int)one->topics.at[t].partitions.at[p]));
    json_t *row = json_pack("{s:o, s:o, s:I, s:i, s:i}",
                            "transactional_id",
                            bytes_json(one->transactional_id),
                            "state",
                            bytes_json(one->transaction_state),
                            "producer_id",
                            (json_int_t)one->producer_id,
                            "producer_epoch",
                            (int)one->producer_epoch,
                            "timeout_ms",
                            (int)one->transaction_timeout_ms);
    if (one->transaction_start_time_ms >= 0) {
        int64_t age_ms = now_ms - one->transaction_start_time_ms;
        json_object_set_new(row, "begin_ms", json_integer(one->transaction_start_time_ms));
        json_object_set_new(row, "age_ms", json_integer(age_ms > 0 ? age_ms : 0));
    }
    json_object_set_new(row, "partitions", partitions);
    return row;
}

static void
describe_text(const json_t *row)
{
    const json_t *partition;
    size_t idx;

    printf("%s  %s\n",
           json_string_value(json_object_get(row, "transactional_id")),
           json_string_value(json_object_get(row, "state")));
    printf("  producer %lld, epoch %lld, timeout %.1f s\n",
           json_integer_value(json_object_get(row, "producer_id")),
           json_integer_value(json_object_get(row, "producer_epoch")),
           (double)json_integer_value(json_object_get(row, "timeout_ms")) / 1e3);
    if (json_object_get(row, "age_ms") != NULL)
        printf("  open for %.1f s\n",
               (double)json_integer_value(json_object_get(row, "age_ms")) / 1e3);
    json_array_foreach(json_object_get(row, "partitions"), idx, partition)
        printf("  %s/%lld\n",
               json_string_value(json_object_get(partition, "topic")),
               json_integer_value(json_object_get(partition, "partition")));
}

int
cli_transaction_describe(const struct cli_args *args)
{
    struct kafka_describe_transactions_response_transaction one;
    struct ask ask;

    if (!ask_begin(&ask, args))
        return ask.status;
    if (describe(&ask, &one)) {
        json_t *row = describe_json(&one);
        if (args->json)
            print_json(row);
        else
            describe_text(row);
        json_decref(row);
    }
    return ask_end(&ask);
}

/* ---- abort */

/* A new producer of the id, as soon as the markers of the former's transaction are written. */
static bool
fence(struct ask *ask, int32_t timeout_ms)
{
    const struct kafka_init_producer_id_request request = {
        .transactional_id = text_bytes(ask->args->words[0]),
        .transaction_timeout_ms = timeout_ms,
        .producer_id = -1,
        .producer_epoch = -1,
    };
    struct kafka_init_producer_id_response answer;
    uint32_t tries = 0;

    do {
        if (!ask_question(ask, KAFKA_INIT_PRODUCER_ID, INIT_VERSION, &request, &answer))
            return false;
    } while (is_again(answer.error, &tries));
    return is_fine(ask, answer.error, ask->args->words[0]);
}

static void
print_aborted(const struct cli_args *args)
{
    if (args->json) {
        json_t *row = json_pack("{s:s}", "aborted", args->words[0]);
        print_json(row);
        json_decref(row);
    } else {
        printf("aborted %s; its producer is fenced\n", args->words[0]);
    }
}

int
cli_transaction_abort(const struct cli_args *args)
{
    struct kafka_describe_transactions_response_transaction one;
    struct ask ask;

    if (!ask_begin(&ask, args))
        return ask.status;
    if (describe(&ask, &one)) {
        struct bytes state = one.transaction_state;
        const struct bytes ongoing = text_bytes("Ongoing");
        if (state.count != ongoing.count || memcmp(state.at, ongoing.at, state.count) != 0)
            ask.status = cli_fail(args,
                                  CLI_FAILED,
                                  "%s: no open transaction, it is %.*s",
                                  args->words[0],
                                  (int)state.count,
                                  (const char *)state.at);
        else if (fence(&ask, one.transaction_timeout_ms))
            print_aborted(args);
    }
    return ask_end(&ask);
}
