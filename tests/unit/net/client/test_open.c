/* Goal: opening says at once what is wrong, and connects, refuses and gives up as documented.
 * Method: bad options first; then the server of this folder. */
#include "records.h"

#include <criterion/criterion.h>
#include <poll.h>

int include_from_cpp(void);

static int
open_with(void (*change)(struct eagre_config *config), const char *server)
{
    struct eagre_config config = eagre_config_preset(server);
    struct eagre_client *client = NULL;
    char why[256] = "";

    if (change != NULL)
        change(&config);
    int rc = eagre_open(&config, &client, why, sizeof(why));
    cr_assert_eq(rc == EAGRE_OK, client != NULL);
    cr_assert(rc == EAGRE_OK || why[0] != '\0', "a failure has a text");
    eagre_close(client);
    return rc;
}

static void
datagrams_too_short(struct eagre_config *config)
{
    config->datagram_bytes_max = 1199;
}

static void
carrier_unknown(struct eagre_config *config)
{
    config->carrier = 2;
}

static void
dpdk_without_arguments(struct eagre_config *config)
{
    config->carrier = EAGRE_CARRIER_DPDK;
}

static void
authorities_missing(struct eagre_config *config)
{
    config->tls = EAGRE_TLS_ON;
    config->tls_ca_file = "/nonexistent/ca.pem";
}

Test(eagre_open, refuses_bad_options, .timeout = 60)
{
    cr_assert_eq(open_with(NULL, "127.0.0.1"), EAGRE_INVALID);
    cr_assert_eq(open_with(NULL, "127.0.0.1:0"), EAGRE_INVALID);
    cr_assert_eq(open_with(NULL, "127.0.0.1:65536"), EAGRE_INVALID);
    cr_assert_eq(open_with(NULL, ":9095"), EAGRE_INVALID);
    cr_assert_eq(open_with(NULL, "[::1:9095"), EAGRE_INVALID);
    cr_assert_eq(open_with(NULL, "192.0.2.1:9095"), EAGRE_DENIED, "clear text beyond loopback");
    cr_assert_eq(open_with(datagrams_too_short, "127.0.0.1:9095"), EAGRE_INVALID);
    cr_assert_eq(open_with(carrier_unknown, "127.0.0.1:9095"), EAGRE_INVALID);
    cr_assert_eq(open_with(dpdk_without_arguments, "127.0.0.1:9095"), EAGRE_INVALID);
    cr_assert_eq(open_with(authorities_missing, "127.0.0.1:9095"), EAGRE_DENIED);
    cr_assert_eq(open_with(NULL, "127.0.0.1:9095"), EAGRE_OK, "nobody has to be there");
    cr_assert_eq(include_from_cpp(), EAGRE_INVALID);
}

static void
waits_a_little(struct eagre_config *config)
{
    config->connect_timeout_ms = 100;
}

Test(eagre_open, says_that_nobody_answers, .timeout = 60)
{
    cr_assert_eq(open_with(waits_a_little, "127.0.0.1:1"), EAGRE_UNREACHABLE);
}

static bool
is_settled(void *context)
{
    int state = eagre_get_state(context);

    return state == EAGRE_STATE_OPEN || state == EAGRE_STATE_REFUSED;
}

Test(eagre_open, a_refusal_is_final_and_has_a_text, .timeout = 60)
{
    struct server *server = server_open(1);
    struct eagre_config config = server_config(server);
    struct eagre_client *client;
    struct eagre_topic_info info;

    server->join_refusal = 58;
    cr_assert_eq(eagre_open(&config, &client, NULL, 0), EAGRE_OK);
    cr_assert(server_run(server, client, is_settled, client, 5));
    cr_assert_eq(eagre_get_state(client), EAGRE_STATE_REFUSED);
    cr_assert_not_null(strstr(eagre_why(client), "not you"));
    cr_assert_eq(eagre_get_topic_info(client, "orders", 0, &info), EAGRE_DENIED);
    eagre_close(client);
    server_close(server);
}

struct pinging {
    struct eagre_client *client;
    uint64_t rtt_ns;
};

static bool
has_pong(void *context)
{
    struct pinging *pinging = context;

    if (eagre_pong(pinging->client, &pinging->rtt_ns) == EAGRE_OK)
        return true;
    (void)eagre_ping(pinging->client);
    return false;
}

Test(eagre_open, opens_pings_and_tells_figures, .timeout = 60)
{
    struct server *server = server_open(1);
    struct eagre_config config = server_config(server);
    struct pinging pinging = {0};
    struct eagre_stats stats;

    cr_assert_eq(eagre_open(&config, &pinging.client, NULL, 0), EAGRE_OK);
    cr_assert_eq(eagre_ping(pinging.client), EAGRE_AGAIN, "not before it is open");
    cr_assert(server_run(server, pinging.client, is_settled, pinging.client, 5));
    cr_assert_eq(eagre_get_state(pinging.client), EAGRE_STATE_OPEN);
    cr_assert(server_run(server, pinging.client, has_pong, &pinging, 5));
    cr_assert(pinging.rtt_ns > 0 && pinging.rtt_ns < NS_PER_S);
    eagre_get_stats(pinging.client, &stats, sizeof(stats));
    cr_assert_eq(stats.sessions, 1);
    cr_assert_gt(stats.sent_packets, 1);
    eagre_close(pinging.client);
    server_close(server);
}

Test(eagre_poll, sleeps_until_something_comes_and_no_longer, .timeout = 60)
{
    struct server *server = server_open(1);
    struct eagre_config config = server_config(server);
    struct eagre_client *client;

    cr_assert_eq(eagre_open(&config, &client, NULL, 0), EAGRE_OK);
    cr_assert(server_run(server, client, is_settled, client, 5));
    for (uint32_t i = 0; i < 200; i++) { /* let all acks be said */
        eagre_poll(client, 100);
        server_poll(server);
    }
    uint64_t before_ns = clock_now_ns(&server->clock);
    cr_assert_eq(eagre_poll(client, 20000), 0);
    uint64_t slept_ns = clock_now_ns(&server->clock) - before_ns;
    cr_assert(slept_ns >= 20 * NS_PER_MS && slept_ns < 500 * NS_PER_MS, "%lu", slept_ns);
    struct pollfd ready = {.fd = eagre_fd(client), .events = POLLIN};
    cr_assert_eq(poll(&ready, 1, 0), 0);
    server_kill(server);
    cr_assert_eq(poll(&ready, 1, 1000), 1, "the end of the connection is seen by epoll");
    eagre_close(client);
    server_close(server);
}
