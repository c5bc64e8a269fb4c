/* Questions that librdkafka has no call for: one Kafka request and its answer over a blocking
 * connection of its own, through the codec of net/kafka.
 *
 * Everything is bounded: ASK_ANSWER_BYTES_MAX, and CLI_TIMEOUT_MS for connecting and for each piece
 * that is sent or received. Only the broker at --server is asked. */
#ifndef EAGRE_ENGINE_CLI_ASK_H
#define EAGRE_ENGINE_CLI_ASK_H

#include "engine/cli/cli.h"
#include "net/kafka/kafka_message.h"

#define ASK_REQUEST_BYTES_MAX 65536u
#define ASK_ANSWER_BYTES_MAX (16u << 20)

/* A connection and the memory of its last answer. */
struct ask {
    const struct cli_args *args;
    int fd; /* -1: none */
    int32_t correlation_id;
    uint8_t *memory; /* frame and arena of the last answer */
    int status;      /* exit code so far */
};

/* Connects. False: a message was printed and ask->status is the exit code; nothing is to be ended.
 */
bool ask_begin(struct ask *ask, const struct cli_args *args);
/* Sends one request and waits for its answer.
 *
 * message  A struct of the API's request type.
 * ret      A struct of its response type; what it borrows is valid until the next question.
 *
 * False: a message was printed, ask->status is the exit code. */
bool ask_question(
    struct ask *ask, enum kafka_api_key key, int16_t version, const void *message, void *ret);
/* Closes and frees; returns the exit code. */
int ask_end(struct ask *ask);

#endif
