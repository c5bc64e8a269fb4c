#include "engine/cli/ask.h"

#include "net/kafka/kafka_client_codec.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define HOST_MAX 256u
#define DEFAULT_PORT "9092"

/* Splits HOST:PORT, [HOST]:PORT or HOST, the first of a list; false: too long. */
static bool
ask_split(const char *server, char ret_host[HOST_MAX], char ret_port[16])
{
    char first[HOST_MAX];
    size_t count = strcspn(server, ",");

    if (count >= sizeof(first))
        return false;
    snprintf(first, sizeof(first), "%.*s", (int)count, server);
    char *colon = strrchr(first, ':');
    const char *bracket = strrchr(first, ']');
    snprintf(ret_port, 16, "%s", DEFAULT_PORT);
    if (colon != NULL && (bracket == NULL || colon > bracket)) {
        snprintf(ret_port, 16, "%s", colon + 1);
        *colon = '\0';
    }
    size_t end = strlen(first);
    bool is_bracketed = first[0] == '[' && end > 2 && first[end - 1] == ']';
    snprintf(ret_host,
             HOST_MAX,
             "%.*s",
             (int)(is_bracketed ? end - 2 : end),
             is_bracketed ? first + 1 : first);
    return true;
}

static int
ask_connect(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = CLI_TIMEOUT_MS / 1000};
    struct addrinfo *found = NULL;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        /* The limit of sending is that of connecting, too. */
        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
                        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
                        connect(fd, at->ai_addr, at->ai_addrlen) != 0)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool
ask_unreachable(struct ask *ask, const char *what)
{
    ask->status = cli_fail_kafka(ask->args, RD_KAFKA_RESP_ERR__TRANSPORT, what, NULL);
    return false;
}

bool
ask_begin(struct ask *ask, const struct cli_args *args)
{
    char host[HOST_MAX];
    char port[16];

    *ask = (struct ask){.args = args, .fd = -1, .status = CLI_OK};
    if (!ask_split(args->server, host, port)) {
        ask->status = cli_fail(args, CLI_USAGE, "--server %.64s...: too long", args->server);
        return false;
    }
    ask->fd = ask_connect(host, port);
    return ask->fd >= 0 || ask_unreachable(ask, "connect");
}

static bool
ask_send(int fd, const uint8_t *at, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        count -= (size_t)sent;
    }
    return true;
}

static bool
ask_receive(int fd, uint8_t *to, size_t count)
{
    while (count > 0) {
        ssize_t received = recv(fd, to, count, 0);
        if (received <= 0)
            return false;
        to += received;
        count -= (size_t)received;
    }
    return true;
}

/* Reads one frame behind its size field; false: a message was printed. */
static bool
ask_frame(struct ask *ask, const char *what, size_t *ret_count)
{
    uint8_t prefix[KAFKA_FRAME_PREFIX_BYTES];

    if (!ask_receive(ask->fd, prefix, sizeof(prefix)))
        return ask_unreachable(ask, what);
    size_t count = get_u32_be(prefix);
    if (count > ASK_ANSWER_BYTES_MAX) {
        ask->status = cli_fail(
            ask->args, CLI_FAILED, "%s: an answer of %zu bytes is too long", what, count);
        return false;
    }
    free(ask->memory);
    ask->memory = malloc(count + kafka_arena_bytes(count) + 64);
    if (ask->memory == NULL) {
        ask->status = cli_fail(ask->args, CLI_FAILED, "%s: no memory for the answer", what);
        return false;
    }
    *ret_count = count;
    return ask_receive(ask->fd, ask->memory, count) || ask_unreachable(ask, what);
}

bool
ask_question(
    struct ask *ask, enum kafka_api_key key, int16_t version, const void *message, void *ret)
{
    static uint8_t frame[ASK_REQUEST_BYTES_MAX];
    static const char client_id[] = "eagre-cli";
    const struct kafka_client_request request = {
        .api_key = key,
        .version = version,
        .correlation_id = ++ask->correlation_id,
        .client_id = {(const uint8_t *)client_id, sizeof(client_id) - 1},
    };
    const char *what = kafka_api_find((int16_t)key)->name;
    struct writer writer = writer_over(frame, sizeof(frame));
    size_t count = 0;

    kafka_client_request(&writer, &request, message);
    if (writer.failed) {
        ask->status = cli_fail(ask->args, CLI_USAGE, "%s: the request is too long", what);
        return false;
    }
    if (!ask_send(ask->fd, frame, writer_count(&writer)))
        return ask_unreachable(ask, what);
    if (!ask_frame(ask, what, &count))
        return false;
    struct kafka_arena arena = kafka_arena_over(ask->memory + round_up(count, 16),
                                                kafka_arena_bytes(count));
    enum rc rc = kafka_client_response((struct bytes){ask->memory, count}, &request, &arena, ret);
    if (rc != RC_OK)
        ask->status = cli_fail(ask->args, CLI_FAILED, "%s: the answer: %s", what, rc_text(rc));
    return rc == RC_OK;
}

int
ask_end(struct ask *ask)
{
    close(ask->fd);
    free(ask->memory);
    return ask->status;
}
