#include "engine/cli/native.h"

#include "net/client/carrier.h"
#include "net/client/endpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NATIVE_CONNECT_MS 10000u
#define NATIVE_TOPIC_S 10

static _Atomic int native_interrupts;

static void
native_on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&native_interrupts, 1, memory_order_relaxed); /* only tells */
}

void
cli_native_signals(void)
{
    signal(SIGINT, native_on_signal);
    signal(SIGTERM, native_on_signal);
}

bool
cli_native_interrupted(void)
{
    return atomic_load_explicit(&native_interrupts, memory_order_relaxed) != 0; /* see above */
}

int
cli_native_fail(const struct cli_args *args, int rc, const char *what, const char *why)
{
    enum cli_exit code = rc == EAGRE_UNREACHABLE || rc == EAGRE_TIMED_OUT ? CLI_UNREACHABLE
                         : rc == EAGRE_NOT_FOUND                          ? CLI_NOT_FOUND
                         : rc == EAGRE_INVALID                            ? CLI_USAGE
                                                                          : CLI_FAILED;

    return cli_fail(
        args, code, "%s: %s", what, why != NULL && why[0] != '\0' ? why : eagre_rc_text(rc));
}

/* The first line of --secret-file. False: it cannot be read. */
static bool
native_secret(const struct cli_args *args, char *secret, size_t capacity)
{
    const char *path = cli_text(args, "secret-file", NULL);

    secret[0] = '\0';
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    bool is_read = fgets(secret, (int)capacity, file) != NULL;
    fclose(file);
    secret[strcspn(secret, "\r\n")] = '\0';
    return is_read;
}

/* The place of a choice, or -1. */
static int
native_choice(const char *text, const char *const *choices)
{
    for (int i = 0; choices[i] != NULL; i++)
        if (strcmp(text, choices[i]) == 0)
            return i;
    return -1;
}

static int
native_config(const struct cli_args *args, struct eagre_config *config)
{
    static const char *const tls[] = {"off", "on", "unverified", NULL};
    static const char *const auth[] = {"aead", "none", NULL};
    const char *carrier = cli_text(args, "carrier", "socket");
    char host[ENDPOINT_HOST_MAX];
    uint16_t port;
    bool is_local = client__endpoint_split(config->server, 0, host, &port) == EAGRE_OK &&
                    (strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
                     strcmp(host, "localhost") == 0);

    config->user = cli_text(args, "user", NULL);
    config->client_name = "eagre-cli";
    config->connect_timeout_ms = NATIVE_CONNECT_MS;
    config->local_address = cli_text(args, "local-address", NULL);
    config->data_address = cli_text(args, "data-address", NULL);
    config->tls_ca_file = cli_text(args, "tls-ca", NULL);
    config->tls = native_choice(cli_text(args, "tls", is_local ? "off" : "on"), tls);
    config->auth = native_choice(cli_text(args, "auth", "aead"), auth);
    if (config->tls < 0 || config->auth < 0)
        return cli_fail(args, CLI_USAGE, "--tls is off, on or unverified; --auth is aead or none");
    if (strncmp(carrier, "dpdk:", 5) == 0) {
        config->carrier = EAGRE_CARRIER_DPDK;
        config->dpdk_devargs = carrier + 5;
        client__carrier_dpdk_set(eagre_carrier_dpdk_open);
    } else if (strcmp(carrier, "socket") != 0) {
        return cli_fail(args, CLI_USAGE, "--carrier %s: must be socket or dpdk:DEVARGS", carrier);
    }
    return CLI_OK;
}

int
cli_native_open(const struct cli_args *args, const char *server, struct eagre_client **ret_client)
{
    struct eagre_config config = eagre_config_preset(server);
    char secret[300];
    char why[256];

    if (!native_secret(args, secret, sizeof(secret)))
        return cli_fail(args, CLI_USAGE, "--secret-file cannot be read");
    config.secret = secret;
    int status = native_config(args, &config);
    if (status != CLI_OK)
        return status;
    int rc = eagre_open(&config, ret_client, why, sizeof(why));
    return rc == EAGRE_OK ? CLI_OK : cli_native_fail(args, rc, server, why);
}

int
cli_native_topic(const struct cli_args *args,
                 struct eagre_client *client,
                 const char *topic,
                 bool create,
                 struct eagre_topic_info *ret_info)
{
    time_t end = time(NULL) + NATIVE_TOPIC_S;
    int rc = EAGRE_AGAIN;

    while (rc == EAGRE_AGAIN && time(NULL) <= end && !cli_native_interrupted()) {
        rc = eagre_get_topic_info(client, topic, create, ret_info);
        eagre_poll(client, rc == EAGRE_AGAIN ? 10000 : 0);
    }
    if (rc == EAGRE_AGAIN)
        return cli_native_fail(args, EAGRE_TIMED_OUT, topic, eagre_why(client));
    return rc == EAGRE_OK ? CLI_OK : cli_native_fail(args, rc, topic, NULL);
}
