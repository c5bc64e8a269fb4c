/* Opening, polling and closing a client. */
#include "net/client/client_parts.h"
#include "net/client/endpoint.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

void *
client_alloc(size_t bytes)
{
    void *memory = NULL;
    size_t whole = round_up(bytes, 64);

    if (whole < bytes || posix_memalign(&memory, 64, whole == 0 ? 64 : whole) != 0)
        return NULL;
    memset(memory, 0, whole);
    return memory;
}

void *
client_alloc_lazily(size_t bytes)
{
    return calloc(1, bytes == 0 ? 1 : bytes);
}

void
client_free(void *memory)
{
    free(memory);
}

/* ---- configuration */

struct config_text {
    const char **field;
    const char *preset; /* NULL: needed */
    size_t longest;
};

static uint32_t
preset_u32(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

/* Copies the strings into one block and fills in what is left out. */
static int
config_texts(struct eagre_client *client, const char *host)
{
    struct eagre_config *config = &client->config;
    struct config_text texts[] = {
        {&config->server, NULL, WIRE_CONTROL_TEXT_MAX},
        {&config->user, "", WIRE_USER_MAX},
        {&config->secret, "", WIRE_SECRET_MAX},
        {&config->client_name, "libeagre", WIRE_CONTROL_TEXT_MAX},
        {&config->tls_ca_file, "", 4096},
        {&config->tls_server_name, host, WIRE_CONTROL_TEXT_MAX},
        {&config->local_address, "", WIRE_CONTROL_TEXT_MAX},
        {&config->data_address, "", WIRE_CONTROL_TEXT_MAX},
        {&config->dpdk_devargs, "", 256},
    };
    size_t total = 0;

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (*texts[i].field == NULL)
            *texts[i].field = texts[i].preset;
        size_t count = strlen(*texts[i].field);
        if (count > texts[i].longest)
            return EAGRE_INVALID;
        total += count + 1;
    }
    client->text = client_alloc(total);
    if (client->text == NULL)
        return EAGRE_NO_MEMORY;
    client->text_bytes = total;
    char *at = client->text;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        size_t bytes = strlen(*texts[i].field) + 1;
        bytes_copy(at, total, *texts[i].field, bytes);
        *texts[i].field = at;
        at += bytes;
        total -= bytes;
    }
    return EAGRE_OK;
}

static bool
config_numbers(struct eagre_config *config)
{
    config->reconnect_min_ms = preset_u32(config->reconnect_min_ms, 50);
    config->reconnect_max_ms = preset_u32(config->reconnect_max_ms, 2000);
    config->datagram_bytes_max = preset_u32(config->datagram_bytes_max, NIC_DATAGRAM_BYTES);
    config->packets_max = preset_u32(config->packets_max, 512);
    config->topics_max = preset_u32(config->topics_max, 16);
    config->partitions_max = preset_u32(config->partitions_max, 1024);
    config->producers_max = preset_u32(config->producers_max, 16);
    config->subscribers_max = preset_u32(config->subscribers_max, 16);
    config->dpdk_prefix_bits = preset_u32(config->dpdk_prefix_bits, 24);
    return config->reconnect_min_ms <= config->reconnect_max_ms &&
           config->reconnect_max_ms <= 3600000 && config->datagram_bytes_max >= WIRE_HELLO_BYTES &&
           config->datagram_bytes_max <= NIC_DATAGRAM_BYTES_MAX && config->packets_max >= 64 &&
           config->packets_max <= 65536 && config->topics_max <= 1024 &&
           config->partitions_max <= 65536 && config->producers_max <= CLIENT_PRODUCERS_MAX &&
           config->subscribers_max <= CLIENT_SUBSCRIBERS_MAX && config->dpdk_prefix_bits <= 32 &&
           config->tls >= EAGRE_TLS_OFF && config->tls <= EAGRE_TLS_UNVERIFIED &&
           config->auth >= EAGRE_AUTH_AEAD && config->auth <= EAGRE_AUTH_NONE &&
           config->carrier >= EAGRE_CARRIER_SOCKET && config->carrier <= EAGRE_CARRIER_DPDK;
}

static int
client_configure(struct eagre_client *client,
                 const struct eagre_config *config,
                 char *why,
                 size_t why_capacity)
{
    uint16_t port;

    bytes_copy(&client->config,
               sizeof(client->config),
               config,
               min_u64(config->struct_bytes, sizeof(client->config)));
    if (client->config.server == NULL || !config_numbers(&client->config) ||
        client__endpoint_split(client->config.server, 0, client->server_host, &port) != EAGRE_OK ||
        port == 0) {
        client_text(why, why_capacity, "server must be HOST:PORT and every option in its range");
        return EAGRE_INVALID;
    }
    int rc = config_texts(client, client->server_host);
    if (rc != EAGRE_OK) {
        client_text(why, why_capacity, "a text is too long");
        return rc;
    }
    rc = client__endpoint_parse(client->config.server, 0, &client->server, why, why_capacity);
    if (rc != EAGRE_OK)
        return rc;
    if (client->config.tls == EAGRE_TLS_OFF && !nic_address_is_loopback(&client->server)) {
        client_text(why, why_capacity, "clear text is for loopback only: set tls");
        return EAGRE_DENIED;
    }
    return EAGRE_OK;
}

/* ---- opening */

static int
client_parts_init(struct eagre_client *client, char *why, size_t why_capacity)
{
    const struct eagre_config *config = &client->config;
    int rc = client__carrier_open(client, why, why_capacity);

    if (rc != EAGRE_OK)
        return rc;
    client->topics = client_alloc(config->topics_max * sizeof(struct client_topic));
    client->places = client_alloc(config->partitions_max * sizeof(struct wire_partition));
    if (client->topics == NULL || client->places == NULL)
        return EAGRE_NO_MEMORY;
    rc = client__call_init(client);
    if (rc == EAGRE_OK)
        rc = client__link_init(client);
    if (rc == EAGRE_OK)
        rc = client__control_init(client, why, why_capacity);
    return rc;
}

/* Polls until the session is open or the time is over. */
static int
client_connect(struct eagre_client *client, char *why, size_t why_capacity)
{
    uint64_t end_ns = clock_now_ns(&client->clock) + client->config.connect_timeout_ms * NS_PER_MS;

    while (!client->is_open) {
        if (client->is_refused) {
            client_text(why, why_capacity, "%s", client->why);
            return EAGRE_DENIED;
        }
        if (clock_now_ns(&client->clock) >= end_ns) {
            bool is_silent = client->why[0] == '\0';
            client_text(why, why_capacity, "%s", is_silent ? "no answer in time" : client->why);
            return is_silent ? EAGRE_TIMED_OUT : EAGRE_UNREACHABLE;
        }
        eagre_poll(client, 10000);
    }
    return EAGRE_OK;
}

int
eagre_open(const struct eagre_config *config,
           struct eagre_client **ret_client,
           char *why,
           size_t why_capacity)
{
    client_text(why, why_capacity, "%s", "");
    struct eagre_client *client = client_alloc(sizeof(*client));
    if (client == NULL)
        return EAGRE_NO_MEMORY;
    client->control.fd = client->control.epoll_fd = -1;
    clock_init_real(&client->clock);
    client->now_ns = clock_now_ns(&client->clock);
    client->tick_at_ns = UINT64_MAX;
    client->request_next = 1;
    int rc = client_configure(client, config, why, why_capacity);
    if (rc == EAGRE_OK)
        rc = client_parts_init(client, why, why_capacity);
    if (rc == EAGRE_OK && client->config.connect_timeout_ms != 0)
        rc = client_connect(client, why, why_capacity);
    if (rc != EAGRE_OK) {
        if (why != NULL && why_capacity > 0 && why[0] == '\0')
            client_text(why, why_capacity, "%s", eagre_rc_text(rc));
        eagre_close(client);
        return rc;
    }
    *ret_client = client;
    return EAGRE_OK;
}

void
eagre_close(struct eagre_client *client)
{
    if (client == NULL)
        return;
    for (uint32_t i = 0; i < CLIENT_PRODUCERS_MAX; i++)
        eagre_producer_close(client->producers[i]);
    for (uint32_t i = 0; i < CLIENT_SUBSCRIBERS_MAX; i++)
        client__subscriber_free(client->subscribers[i]); /* its session ends too */
    if (client->is_open) {
        session_close(client->session, WIRE_CLOSE_BYE, NULL);
        client->now_ns = clock_now_ns(&client->clock);
        client__link_transmit(client);
        client__control_leave(client);
    }
    client__control_fini(client);
    client__link_fini(client);
    client__carrier_close(client);
    client__call_fini(client);
    client_free(client->topics);
    client_free(client->places);
    if (client->text != NULL)
        explicit_bzero(client->text, client->text_bytes); /* user and secret are in it */
    client_free(client->text);
    client_free(client);
}

/* ---- polling */

void
client_tick_soon(struct eagre_client *client)
{
    client->tick_at_ns = min_u64(client->tick_at_ns, client->now_ns);
}

void
client_tick_by(struct eagre_client *client, uint64_t at_ns)
{
    client->tick_at_ns = min_u64(client->tick_at_ns, at_ns);
}

/* Questions to ask, places to find, time that is over. */
static void
client_tick(struct eagre_client *client)
{
    if (client->now_ns < client->tick_at_ns)
        return;
    client->tick_at_ns = UINT64_MAX;
    client__deliver_tick(client);
    if (client->is_open) {
        client__topic_step(client);
        client__subscriber_step(client);
        client__call_step(client);
    }
}

static uint32_t
client_step(struct eagre_client *client)
{
    client->done = 0;
    client->now_ns = clock_now_ns(&client->clock);
    client__control_step(client);
    client__link_receive(client);
    client_tick(client);
    if (client->is_open)
        client__deliver_send(client);
    client__link_transmit(client);
    return client->done;
}

static uint64_t
client_deadline_ns(struct eagre_client *client)
{
    return min_u64(min_u64(client__control_deadline(client), client__link_deadline(client)),
                   client->tick_at_ns);
}

/* Sleeps until something arrives, a deadline comes, or end_ns. */
static void
client_wait(struct eagre_client *client, uint64_t end_ns)
{
    uint64_t now_ns = clock_now_ns(&client->clock);
    uint64_t until_ns = min_u64(client_deadline_ns(client), end_ns);
    struct pollfd ready = {.fd = client->control.epoll_fd, .events = POLLIN};

    if (until_ns <= now_ns || client__carrier_is_polled(client))
        return;
    struct timespec time = {.tv_sec = (time_t)((until_ns - now_ns) / NS_PER_S),
                            .tv_nsec = (long)((until_ns - now_ns) % NS_PER_S)};
    if (ppoll(&ready, 1, &time, NULL) > 0)
        client->control.look_at_ns = 0;
}

uint32_t
eagre_poll(struct eagre_client *client, uint32_t timeout_us)
{
    uint32_t done = client_step(client);

    if (done != 0 || timeout_us == 0)
        return done;
    uint64_t end_ns = client->now_ns + timeout_us * NS_PER_US;
    do {
        client_wait(client, end_ns);
        done = client_step(client);
    } while (done == 0 && client->now_ns < end_ns);
    return done;
}

int
eagre_fd(const struct eagre_client *client)
{
    return client__carrier_is_polled(client) ? -1 : client->control.epoll_fd;
}

uint64_t
eagre_deadline_us(struct eagre_client *client)
{
    uint64_t deadline_ns = client_deadline_ns(client);
    uint64_t now_ns = clock_now_ns(&client->clock);

    if (deadline_ns == UINT64_MAX)
        return UINT64_MAX;
    return deadline_ns <= now_ns ? 0 : (deadline_ns - now_ns + NS_PER_US - 1) / NS_PER_US;
}

/* ---- asking */

int
eagre_get_state(const struct eagre_client *client)
{
    if (client->is_refused)
        return EAGRE_STATE_REFUSED;
    if (client->is_open)
        return EAGRE_STATE_OPEN;
    return client->cipher != NULL ? EAGRE_STATE_OPENING : EAGRE_STATE_CONNECTING;
}

const char *
eagre_why(const struct eagre_client *client)
{
    return client->why;
}

const char *
eagre_carrier_text(const struct eagre_client *client)
{
    return client->carrier_text;
}

static uint64_t
counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* our own thread wrote it */
}

void
eagre_get_stats(const struct eagre_client *client, struct eagre_stats *ret, size_t struct_bytes)
{
    struct eagre_stats stats = client->stats;
    static const struct nic_counters none;
    const struct nic_counters *nic = client->nic != NULL ? &client->nic->counters : &none;
    struct session_counters now = {0};

    if (client->cipher != NULL) {
        now = *session_counters(client->session);
        stats.rtt_ns = session_rtt_ns(client->session);
    }
    stats.sent_packets = counted(&nic->sent_packets);
    stats.sent_bytes = counted(&nic->sent_bytes);
    stats.received_packets = counted(&nic->received_packets);
    stats.received_bytes = counted(&nic->received_bytes);
    stats.send_syscalls = counted(&nic->syscalls);
    stats.retransmitted_packets = client->past.retransmitted + now.retransmitted;
    stats.dropped_packets = client->past.received_forged + client->past.received_replayed +
                            client->past.received_malformed + client->past.dropped_no_credit +
                            client->past.dropped_no_room + now.received_forged +
                            now.received_replayed + now.received_malformed + now.dropped_no_credit +
                            now.dropped_no_room;
    bytes_copy(ret, struct_bytes, &stats, min_u64(struct_bytes, sizeof(stats)));
}
