/* The native door on the command line: options that its verbs share, and opening a client. */
#ifndef EAGRE_ENGINE_CLI_NATIVE_H
#define EAGRE_ENGINE_CLI_NATIVE_H

#include "eagre/eagre.h"
#include "engine/cli/cli.h"

/* clang-format off */
#define CLI_NATIVE_OPTIONS                                                                       \
    {"carrier", "socket|dpdk:DEVARGS", "what carries native datagrams (default: socket)"},       \
    {"local-address", "IP[:PORT]", "own address; needed by dpdk"},                               \
    {"data-address", "IP", "where data go (default: what the server says); needed by dpdk"},     \
    {"user", "NAME", "who joins"},                                                               \
    {"secret-file", "PATH", "its first line is the secret"},                                     \
    {"tls", "off|on|unverified", "of the control exchange (default: off on loopback, else on)"}, \
    {"tls-ca", "PATH", "authorities in PEM (default: the system's)"},                            \
    {"auth", "aead|none", "what protects native packets (default: aead)"}
/* clang-format on */

/* Opens a client of `server` ("HOST:PORT"), as the options say, and waits until it is connected.
 * CLI_OK, or the reason is printed and its exit code returned. */
int
cli_native_open(const struct cli_args *args, const char *server, struct eagre_client **ret_client);
/* The exit code that fits an enum eagre_rc, printed with what and why. */
int cli_native_fail(const struct cli_args *args, int rc, const char *what, const char *why);
/* Waits for a topic to be known. */
int cli_native_topic(const struct cli_args *args,
                     struct eagre_client *client,
                     const char *topic,
                     bool create,
                     struct eagre_topic_info *ret_info);

/* Interrupts: set up once; asked often. */
void cli_native_signals(void);
bool cli_native_interrupted(void);

int cli_produce_native(const struct cli_args *args, const char *server);
int cli_consume_native(const struct cli_args *args, const char *server);
int cli_ping(const struct cli_args *args);

/* consume.c: bytes as a JSON string. */
struct json_t;
struct json_t *cli_json_text(const void *at, size_t count);

#endif
