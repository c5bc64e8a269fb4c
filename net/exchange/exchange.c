/* The exchange as a tile. One poll: accept, what the doors say, what was received (EXCHANGE_BURST
 * connections at most, because a handshake may take a millisecond of this core), deadlines. */
#include "net/exchange/exchange_internal.h"

#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <errno.h>
#include <openssl/rand.h>

/* ---- creation ---- */

static enum rc
check_config(const struct exchange_config *config, struct diag_trail *trail)
{
    bool has_certificate = config->tls_certificate[0] != '\0';
    bool has_key = config->tls_key[0] != '\0';

    CHECK(config->door_count >= 1 && config->door_count <= WIRE_TILES_MAX);
    /* Or no client would take the GRANT; settings.def sees to it. */
    CHECK(config->window >= 1 && config->window <= WIRE_SACK_BITS);
    CHECK(config->idle_ms >= 1);
    CHECK(config->datagram_bytes_max >= WIRE_HELLO_BYTES);
    if (config->connections_max < 1 || config->connections_max > EXCHANGE_CONNECTIONS_MAX) {
        diag_trail_add(trail,
                       "native.sessions_max is %u, allowed is 1 to %u",
                       config->connections_max,
                       EXCHANGE_CONNECTIONS_MAX);
        return RC_INVALID;
    }
    if (has_certificate != has_key) {
        diag_trail_add(trail, "native.tls_certificate and native.tls_key belong together");
        return RC_INVALID;
    }
    if (!has_certificate && !config->is_loopback) {
        diag_trail_add(trail,
                       "native: clear text is for loopback only; set native.tls_certificate and "
                       "native.tls_key, or bind to 127.0.0.1");
        return RC_DENIED;
    }
    if (config->auth == WIRE_AUTH_NONE && !config->is_loopback && !config->is_private) {
        diag_trail_add(trail,
                       "native.auth = none on a public address: anybody could write; use aead, or "
                       "bind to a private address");
        return RC_DENIED;
    }
    if (config->credentials[0] == '\0' && !config->is_loopback && !config->is_private)
        diag_warn("native_without_credentials",
                  "reason=public_address doing=let_in_whoever_speaks_tls");
    return RC_OK;
}

static uint32_t
table_count(const struct exchange_config *config)
{
    /* Twice the pending ones: those on their way out keep a place until their io is over. */
    return config->connections_max + 2 * EXCHANGE_PENDING_MAX;
}

static enum rc
create_tables(struct exchange *exchange)
{
    uint32_t count = table_count(&exchange->config);
    uint32_t object_bytes = (uint32_t)round_up(sizeof(struct exchange_connection), 64);
    size_t slab_bytes = round_up(slab_footprint(object_bytes, count), 64);
    uint8_t *memory = mem_boot_alloc(slab_bytes + count * sizeof(uint32_t));

    if (memory == NULL)
        return RC_NO_MEMORY;
    exchange->memory = memory;
    slab_init(&exchange->connections, memory, object_bytes, count);
    exchange->session_ids = (uint32_t *)(void *)(memory + slab_bytes);
    return RC_OK;
}

static enum rc
load_secrets(struct exchange *exchange, struct diag_trail *trail)
{
    const struct exchange_config *config = &exchange->config;
    enum rc rc = RC_OK;

    if (RAND_bytes((uint8_t *)&exchange->epoch, (int)sizeof(exchange->epoch)) != 1)
        rc = RC_NO_MEMORY;
    if (rc == RC_OK && config->tls_certificate[0] != '\0')
        rc = exchange_stream_context_create(
            config->tls_certificate, config->tls_key, &exchange->tls, trail);
    if (rc == RC_OK && config->credentials[0] != '\0')
        rc = credentials_create(config->credentials, &exchange->credentials, trail);
    return rc;
}

enum rc
exchange_create(const struct exchange_config *config,
                struct exchange **ret_exchange,
                struct diag_trail *trail)
{
    const struct exchange_list empty = {EXCHANGE_NONE, EXCHANGE_NONE, 0};
    enum rc rc = check_config(config, trail);

    if (rc != RC_OK)
        return rc;
    struct exchange *exchange = mem_boot_alloc(sizeof(*exchange));
    if (exchange == NULL)
        return RC_NO_MEMORY;
    exchange->config = *config;
    exchange->pending = exchange->farewell = empty;
    exchange->ready_first = EXCHANGE_NONE;
    rc = create_tables(exchange);
    if (rc == RC_OK)
        rc = load_secrets(exchange, trail);
    if (rc != RC_OK) {
        exchange_destroy(exchange);
        return rc;
    }
    *ret_exchange = exchange;
    return RC_OK;
}

void
exchange_destroy(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    for (uint32_t i = 0; exchange->memory != NULL && i < exchange->connections.count; i++) {
        struct exchange_connection *connection = exchange__connection(exchange, i);
        if (connection->state == EXCHANGE_FREE)
            continue;
        session_cipher_destroy(connection->cipher);
        if (connection->state == EXCHANGE_RETURNING)
            continue;
        exchange_stream_close(&connection->stream);
        tcp_close(exchange->config.tcp, connection->fd);
        explicit_bzero(connection, sizeof(*connection));
    }
    exchange_stream_context_destroy(exchange->tls);
    credentials_destroy(exchange->credentials);
    mem_boot_free(exchange->memory);
    mem_boot_free(exchange);
}

void
exchange_stop(struct exchange *exchange)
{
    /* Pairs with the acquire in exchange_poll(). */
    atomic_store_explicit(&exchange->stop, 1, memory_order_release);
}

bool
exchange_is_stopped(const struct exchange *exchange)
{
    /* Pairs with the release in go_on_stopping(). */
    return atomic_load_explicit(&exchange->stopped, memory_order_acquire) != 0;
}

const struct exchange_counters *
exchange_counters(const struct exchange *exchange)
{
    return &exchange->counters;
}

/* ---- accept ---- */

/* Keeps one accept under way; after an error not before EXCHANGE_ACCEPT_RETRY_NS, so that a full
 * descriptor table does not spin. */
static void
accept_next(struct exchange *exchange)
{
    struct io_request request = {
        .tag = io_tag(exchange->config.io_tile, EXCHANGE_TAG_ACCEPT),
        .op = IO_ACCEPT,
        .fd = exchange->config.listener_fd,
    };

    if (exchange->accepting || exchange->stopping || exchange->now_ns < exchange->accept_at_ns)
        return;
    exchange->accepting = io_submit(exchange->config.io, &request);
    if (!exchange->accepting)
        exchange->accept_at_ns = exchange->now_ns + EXCHANGE_ACCEPT_RETRY_NS;
}

static void
accepted(struct exchange *exchange, int32_t result)
{
    exchange->accepting = false;
    if (result < 0) {
        if (!exchange->stopping)
            exchange__count(&exchange->counters.refused_limit);
        exchange->accept_at_ns = exchange->now_ns + EXCHANGE_ACCEPT_RETRY_NS;
        return;
    }
    if (!exchange->stopping && exchange_connection__open(exchange, result))
        return;
    exchange__count(&exchange->counters.refused_limit);
    tcp_shutdown(exchange->config.tcp, result);
    tcp_close(exchange->config.tcp, result);
}

static void
exchange_complete(void *tile, uint64_t tag, int32_t result)
{
    struct exchange *exchange = tile;
    uint64_t kind = tag & EXCHANGE_TAG_KIND;
    uint32_t idx = (uint32_t)tag;

    exchange->now_ns = clock_now_ns(exchange->config.clock);
    if (kind == EXCHANGE_TAG_RECEIVE)
        exchange_connection__received(exchange, idx, result);
    else if (kind == EXCHANGE_TAG_SEND)
        exchange_connection__sent(exchange, idx, result);
    else
        accepted(exchange, result);
}

/* ---- doors ---- */

static void
obey_event(struct exchange *exchange, const struct door_event *event)
{
    if (event->kind != DOOR_CLOSED)
        return;
    for (uint32_t i = 0; i < exchange->connections.count; i++) {
        if (exchange->session_ids[i] != event->session_id)
            continue;
        CHECK(exchange__connection(exchange, i)->cipher == event->cipher);
        exchange_connection__returned(exchange, i);
        return;
    }
    CHECK(!"a door gave a session back that it did not have");
}

static uint32_t
drain_events(struct exchange *exchange)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < exchange->config.door_count; i++) {
        struct door_event event;
        /* Bounded by what one ring holds: the door goes on pushing meanwhile. */
        for (uint32_t n = 0; n < DOOR_GRANT_RING_SLOTS; n++) {
            if (ring_pop(exchange->config.doors[i].events, &event, 1) == 0)
                break;
            obey_event(exchange, &event);
            count++;
        }
    }
    return count;
}

/* Tries again what found a ring full. True: something is left. */
static bool
retry(struct exchange *exchange)
{
    if (!exchange->arms_due && exchange->revokes_due == 0)
        return false;
    exchange->arms_due = false;
    for (uint32_t i = 0; i < exchange->connections.count; i++) {
        struct exchange_connection *connection = exchange__connection(exchange, i);
        if (connection->arm_due)
            exchange_connection__arm(exchange, i);
        if (connection->revoke_due && exchange_connection__revoke(exchange, i)) {
            connection->revoke_due = false;
            exchange->revokes_due--;
        }
    }
    return exchange->arms_due || exchange->revokes_due > 0;
}

/* ---- poll ---- */

static uint32_t
run_ready(struct exchange *exchange)
{
    uint32_t count = 0;

    while (exchange->ready_first != EXCHANGE_NONE && count < EXCHANGE_BURST) {
        uint32_t idx = exchange->ready_first;
        struct exchange_connection *connection = exchange__connection(exchange, idx);
        exchange->ready_first = connection->next_ready;
        connection->queued = false;
        exchange_connection__run(exchange, idx);
        count++;
    }
    return count;
}

/* Closes whose time is up; returns when the next one's will be. */
static uint64_t
expire(struct exchange *exchange, const struct exchange_list *list, _Atomic uint64_t *counter)
{
    while (list->first != EXCHANGE_NONE) {
        uint32_t idx = list->first;
        uint64_t deadline_ns = exchange__connection(exchange, idx)->deadline_ns;
        if (deadline_ns > exchange->now_ns)
            return deadline_ns;
        if (counter != NULL)
            exchange__count(counter);
        exchange_connection__close(exchange, idx);
    }
    return NO_DEADLINE;
}

static COLD void
begin_stop(struct exchange *exchange)
{
    exchange->stopping = true;
    if (exchange->accepting)
        tcp_shutdown(exchange->config.tcp, exchange->config.listener_fd);
    for (uint32_t i = 0; i < exchange->connections.count; i++)
        exchange_connection__close(exchange, i);
}

static COLD void
go_on_stopping(struct exchange *exchange)
{
    if (exchange->open_count == 0 && !exchange->accepting)
        /* Pairs with exchange_is_stopped(). */
        atomic_store_explicit(&exchange->stopped, 1, memory_order_release);
}

static struct tile_report
exchange_poll(void *tile, uint64_t now_ns)
{
    struct exchange *exchange = tile;
    struct tile_report report = {.deadline_ns = NO_DEADLINE};

    exchange->now_ns = now_ns;
    /* Pairs with exchange_stop(). */
    if (UNLIKELY(atomic_load_explicit(&exchange->stop, memory_order_acquire) != 0) &&
        !exchange->stopping)
        begin_stop(exchange);
    report.work = drain_events(exchange);
    report.work += run_ready(exchange);
    report.deadline_ns = min_u64(
        expire(exchange, &exchange->pending, &exchange->counters.timed_out),
        expire(exchange, &exchange->farewell, NULL));
    if (retry(exchange))
        report.deadline_ns = min_u64(report.deadline_ns, now_ns + EXCHANGE_RETRY_NS);
    accept_next(exchange);
    if (!exchange->accepting && !exchange->stopping)
        report.deadline_ns = min_u64(report.deadline_ns, exchange->accept_at_ns);
    if (UNLIKELY(exchange->stopping))
        go_on_stopping(exchange);
    atomic_store_explicit(
        &exchange->counters.sessions, exchange->session_count, memory_order_relaxed);
    return report;
}

static bool
exchange_has_work(void *tile)
{
    struct exchange *exchange = tile;

    if (exchange->ready_first != EXCHANGE_NONE)
        return true;
    for (uint32_t i = 0; i < exchange->config.door_count; i++)
        if (!ring_is_empty(exchange->config.doors[i].events))
            return true;
    /* Pairs with exchange_stop(). */
    return atomic_load_explicit(&exchange->stop, memory_order_acquire) != 0 && !exchange->stopping;
}

const struct tile_ops exchange_tile_ops = {
    .poll = exchange_poll,
    .complete = exchange_complete,
    .has_work = exchange_has_work,
};
