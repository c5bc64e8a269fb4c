/* From a JOIN to a GRANT or a REFUSED.
 *
 * The questions are asked in this order; the first "no" is the answer. Who is not known learns no
 * more than that: limits and settings are behind the credentials.
 *
 *   question              code  counter
 *   version                35   refused_protocol
 *   body whole, in range   42   refused_protocol
 *   user and secret        58   refused_credentials
 *   auth allowed           42   refused_protocol
 *   sessions_max           89   refused_limit
 *   ring to the door       89   refused_busy
 *   secrets, memory        -1   refused_limit */
#include "net/exchange/exchange_internal.h"

#include "engine/base/check.h"

#include <openssl/rand.h>
#include <stdio.h>

#define AUDIT_NAME_BYTES 40u

/* Kafka error codes, as all of the native protocol's. */
enum join_code {
    JOIN_UNKNOWN_SERVER_ERROR = -1,
    JOIN_UNSUPPORTED_VERSION = 35,
    JOIN_INVALID_REQUEST = 42,
    JOIN_AUTHENTICATION_FAILED = 58,
    JOIN_QUOTA_EXCEEDED = 89,
};

/* ---- audit ---- */

void
join__audit(struct exchange *exchange, uint32_t idx, const char *event, const char *text)
{
    struct exchange_audit *audit = &exchange->audit;
    char peer[64];

    if (exchange->now_ns - audit->window_ns >= NS_PER_S) {
        audit->window_ns = exchange->now_ns;
        audit->lines = 0;
    }
    if (audit->lines == EXCHANGE_AUDIT_PER_S) {
        audit->skipped++;
        return;
    }
    audit->lines++;
    tcp_peer(exchange->config.tcp, exchange__connection(exchange, idx)->fd, peer, sizeof(peer));
    diag_info(event, "peer=%s %s skipped=%u", peer, text, audit->skipped);
    audit->skipped = 0;
}

/* A name that a client chose, made fit for a line of ours: no blanks, quotes or control bytes. */
static void
audit_name(struct bytes name, char text[AUDIT_NAME_BYTES])
{
    size_t count = name.count < AUDIT_NAME_BYTES - 1 ? name.count : AUDIT_NAME_BYTES - 1;

    for (size_t i = 0; i < count; i++) {
        char letter = (char)name.at[i];
        bool is_plain = letter > ' ' && letter < 0x7f && letter != '"' && letter != '=';
        text[i] = (char)(is_plain ? letter : '?');
    }
    text[count] = '\0';
    if (count == 0)
        bytes_copy(text, AUDIT_NAME_BYTES, "-", sizeof("-"));
}

static void
audit_joined(struct exchange *exchange,
             uint32_t idx,
             const struct wire_join *join,
             const struct wire_grant *grant)
{
    char user[AUDIT_NAME_BYTES];
    char client[AUDIT_NAME_BYTES];
    char text[192];

    audit_name(join->user, user);
    audit_name(join->client, client);
    (void)snprintf(text,
                   sizeof(text),
                   "user=%s client=%s session=%08x tile=%u auth=%s",
                   user,
                   client,
                   grant->session,
                   grant->tile,
                   grant->auth == WIRE_AUTH_NONE ? "none" : "aead");
    join__audit(exchange, idx, "native_joined", text);
}

/* ---- refusals ---- */

static void
refuse(struct exchange *exchange, uint32_t idx, enum join_code code, const char *reason)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_refused refused = {
        .code = (uint16_t)code,
        .text = {(const uint8_t *)reason, strlen(reason)},
    };

    exchange_connection__write(exchange, idx, message, wire_refused_encode(message, &refused));
    exchange_connection__farewell(exchange, idx);
}

/* refuse() for a JOIN whose names are known. */
static void
refuse_join(struct exchange *exchange,
            uint32_t idx,
            const struct wire_join *join,
            enum join_code code,
            const char *reason)
{
    char user[AUDIT_NAME_BYTES];
    char text[192];

    audit_name(join->user, user);
    (void)snprintf(text, sizeof(text), "user=%s code=%d reason=\"%s\"", user, code, reason);
    join__audit(exchange, idx, "native_refused", text);
    refuse(exchange, idx, code, reason);
}

/* What came is no JOIN, or not of this version: rc says which. */
static void
refuse_body(struct exchange *exchange, uint32_t idx, enum rc rc)
{
    exchange__count(&exchange->counters.refused_protocol);
    if (rc == RC_UNSUPPORTED) {
        join__audit(exchange, idx, "native_refused", "code=35 reason=\"protocol version\"");
        refuse(exchange, idx, JOIN_UNSUPPORTED_VERSION, "version 1 of the protocol is spoken");
    } else {
        join__audit(exchange, idx, "native_refused", "code=42 reason=malformed");
        refuse(exchange, idx, JOIN_INVALID_REQUEST, "not a JOIN of this protocol");
    }
}

void
join__malformed(struct exchange *exchange, uint32_t idx)
{
    refuse_body(exchange, idx, RC_MALFORMED);
}

/* ---- the session ---- */

static bool
is_session_id_free(const struct exchange *exchange, uint32_t id)
{
    for (uint32_t i = 0; i < exchange->connections.count; i++)
        if (exchange->session_ids[i] == id)
            return false;
    return true;
}

/* Bits [31:8] drawn, not zero, and not of a live session; 0 when there is no source of secrets. */
static uint32_t
draw_session_id(const struct exchange *exchange, uint32_t tile)
{
    for (uint32_t i = 0; i < EXCHANGE_ID_TRIES; i++) {
        uint32_t drawn = 0;
        if (RAND_bytes((uint8_t *)&drawn, (int)sizeof(drawn)) != 1)
            return 0;
        uint32_t id = (drawn & ~UINT32_C(0xff)) | tile;
        if (id > UINT32_C(0xff) && is_session_id_free(exchange, id))
            return id;
    }
    return 0;
}

static bool
draw_keys(struct wire_grant *grant)
{
    return RAND_priv_bytes(grant->client_key, WIRE_KEY_BYTES) == 1 &&
           RAND_priv_bytes(grant->server_key, WIRE_KEY_BYTES) == 1 &&
           RAND_bytes(grant->client_salt, WIRE_SALT_BYTES) == 1 &&
           RAND_bytes(grant->server_salt, WIRE_SALT_BYTES) == 1;
}

static bool
door_is_full(const struct exchange *exchange, uint32_t door)
{
    uint32_t limit = exchange->config.door_sessions_max;

    return limit != 0 && exchange->door_sessions[door] >= limit;
}

/* The tile wished for if it has a place, else the one with the fewest sessions. */
static uint32_t
choose_door(const struct exchange *exchange, uint32_t wished)
{
    uint32_t best = 0;

    if (wished < exchange->config.door_count && !door_is_full(exchange, wished))
        return wished;
    for (uint32_t i = 1; i < exchange->config.door_count; i++)
        if (exchange->door_sessions[i] < exchange->door_sessions[best])
            best = i;
    return best;
}

static void
fill_grant(const struct exchange *exchange, const struct wire_join *join, struct wire_grant *grant)
{
    const struct exchange_config *config = &exchange->config;

    *grant = (struct wire_grant){
        .epoch = exchange->epoch,
        .auth = join->auth,
        .tile = (uint8_t)choose_door(exchange, join->tile),
        .window = config->window,
        .datagram_bytes_max = min_u32(config->datagram_bytes_max, join->datagram_bytes_max),
        .idle_ms = config->idle_ms,
        .broker_id = config->broker_id,
        .port_count = (uint8_t)config->door_count,
    };
    memcpy(grant->ip, config->ip, sizeof(grant->ip));
    for (uint32_t i = 0; i < config->door_count; i++)
        grant->ports[i] = config->doors[i].port;
}

/* The door has it from here on; false: its ring is full. */
static bool
hand_over(struct exchange *exchange,
          uint32_t idx,
          const struct wire_grant *grant,
          uint32_t principal_idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    const struct exchange_door_link *door = &exchange->config.doors[grant->tile];
    struct door_grant message = {
        .session_id = grant->session,
        .datagram_bytes_max = grant->datagram_bytes_max,
        .cipher = connection->cipher,
        .principal_idx = principal_idx,
    };

    if (ring_push(door->grants, &message, 1) == 0)
        return false;
    waker_notify(door->waker);
    connection->door = grant->tile;
    exchange->session_ids[idx] = grant->session;
    exchange->session_count++;
    exchange->door_sessions[grant->tile]++;
    exchange__count(&exchange->counters.granted);
    return true;
}

static void
send_grant(struct exchange *exchange, uint32_t idx, const struct wire_grant *grant)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    uint32_t count = wire_grant_encode(message, grant);

    exchange_connection__hold(exchange, idx);
    exchange_connection__write(exchange, idx, message, count);
    explicit_bzero(message, count);
}

static void
join_grant(struct exchange *exchange,
           uint32_t idx,
           const struct wire_join *join,
           uint32_t principal_idx)
{
    struct exchange_connection *connection = exchange__connection(exchange, idx);
    struct wire_grant grant;

    fill_grant(exchange, join, &grant);
    grant.session = draw_session_id(exchange, grant.tile);
    if (grant.session == 0 || !draw_keys(&grant) ||
        session_cipher_create(&grant, false, &connection->cipher) != RC_OK) {
        connection->cipher = NULL;
        exchange__count(&exchange->counters.refused_limit);
        refuse_join(exchange, idx, join, JOIN_UNKNOWN_SERVER_ERROR, "no memory for a session");
    } else if (!hand_over(exchange, idx, &grant, principal_idx)) {
        session_cipher_destroy(connection->cipher);
        connection->cipher = NULL;
        exchange__count(&exchange->counters.refused_busy);
        refuse_join(exchange, idx, join, JOIN_QUOTA_EXCEEDED, "the net tile is busy: try again");
    } else {
        audit_joined(exchange, idx, join, &grant);
        send_grant(exchange, idx, &grant);
    }
    explicit_bzero(&grant, sizeof(grant));
}

void
join__run(struct exchange *exchange, uint32_t idx, struct bytes body)
{
    struct wire_join join;
    uint32_t principal_idx = CREDENTIALS_NONE;
    enum rc rc = wire_join_decode(body, &join);

    if (rc != RC_OK) {
        refuse_body(exchange, idx, rc);
        return;
    }
    if (exchange->credentials != NULL)
        principal_idx = credentials_find(exchange->credentials, join.user, join.secret);
    if (exchange->credentials != NULL && principal_idx == CREDENTIALS_NONE) {
        exchange__count(&exchange->counters.refused_credentials);
        refuse_join(exchange, idx, &join, JOIN_AUTHENTICATION_FAILED, "user or secret is wrong");
        return;
    }
    if (join.auth == WIRE_AUTH_NONE && exchange->config.auth != WIRE_AUTH_NONE) {
        exchange__count(&exchange->counters.refused_protocol);
        refuse_join(exchange, idx, &join, JOIN_INVALID_REQUEST, "native.auth does not allow none");
    } else if (exchange->session_count >= exchange->config.connections_max ||
               door_is_full(exchange, choose_door(exchange, join.tile))) {
        exchange__count(&exchange->counters.refused_limit);
        refuse_join(exchange, idx, &join, JOIN_QUOTA_EXCEEDED, "native.sessions_max is reached");
    } else {
        join_grant(exchange, idx, &join, principal_idx);
    }
}
