/* Life, states and timers of a session; see session.h for the picture.
 *
 * Nothing here keeps a timer per packet: the oldest packet in flight is the first of its list, so
 * one deadline per session, computed when asked, covers all. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

#define PRESET_ACK_DELAY_NS NS_PER_MS
#define PRESET_ACK_EVERY 2u
#define PRESET_PROBE_FLOOR_NS (5 * NS_PER_MS)
#define PRESET_DELAY_TARGET_NS NS_PER_MS
#define PRESET_HEARTBEAT_NS NS_PER_S
#define PRESET_IDLE_NS (10 * NS_PER_S)
#define PRESET_REKEY_PACKETS (UINT64_C(1) << 32)
#define PRESET_REKEY_NS (3600 * NS_PER_S)
#define DATAGRAM_BYTES_MIN WIRE_HELLO_BYTES

static const uint8_t session_moves[] = {
    [SESSION_FREE] = BIT(SESSION_GRANTED) | BIT(SESSION_HELLO_SENT),
    [SESSION_GRANTED] = BIT(SESSION_OPEN) | BIT(SESSION_CLOSED) | BIT(SESSION_FREE),
    [SESSION_HELLO_SENT] = BIT(SESSION_OPEN) | BIT(SESSION_CLOSED) | BIT(SESSION_FREE),
    [SESSION_OPEN] = BIT(SESSION_CLOSED) | BIT(SESSION_FREE),
    [SESSION_CLOSED] = BIT(SESSION_FREE),
};

void
session__move(struct session *session, enum session_state next)
{
    CHECK((session_moves[session->state] & BIT(next)) != 0);
    session->state = next;
}

size_t
session_footprint(void)
{
    return round_up(sizeof(struct session), 64);
}

static uint64_t
preset(uint64_t value, uint64_t when_zero)
{
    return value != 0 ? value : when_zero;
}

static void
session_presets(struct session_config *config)
{
    config->window = (uint32_t)preset(config->window, SESSION_WINDOW_MAX);
    config->ack_delay_ns = preset(config->ack_delay_ns, PRESET_ACK_DELAY_NS);
    config->ack_every = (uint32_t)preset(config->ack_every, PRESET_ACK_EVERY);
    config->probe_floor_ns = preset(config->probe_floor_ns, PRESET_PROBE_FLOOR_NS);
    config->delay_target_ns = preset(config->delay_target_ns, PRESET_DELAY_TARGET_NS);
    config->heartbeat_ns = preset(config->heartbeat_ns, PRESET_HEARTBEAT_NS);
    config->idle_ns = preset(config->idle_ns, PRESET_IDLE_NS);
    config->rekey_packets = preset(config->rekey_packets, PRESET_REKEY_PACKETS);
    config->rekey_ns = preset(config->rekey_ns, PRESET_REKEY_NS);
}

static void
session_init_directions(struct session *session, uint64_t now_ns)
{
    struct session_sender *send = &session->send;
    struct session_receiver *receive = &session->receive;
    const struct session_list empty = {.first = SESSION_NO_SLOT, .last = SESSION_NO_SLOT};

    /* Sequences and packet numbers start at 1: a border of 0 never means "the first". */
    send->first = send->unsent = send->next = send->credit = 1;
    send->next_packet = send->key_first_packet = 1;
    send->building = SESSION_NO_SLOT;
    send->in_flight = send->lost = empty;
    send->sent_ns = send->key_since_ns = send->credit_probed_ns = now_ns;
    receive->take_next = receive->arrived_next = receive->arrived_end = receive->granted = 1;
    receive->grant = session->config.window;
    receive->taken = SESSION_NO_SLOT;
    receive->received_ns = receive->top_ns = now_ns;
    receive->ack_at_ns = NO_DEADLINE;
    for (uint32_t i = 0; i < SESSION_WINDOW_MAX; i++)
        send->slots[i] = receive->slots[i] = SESSION_NO_SLOT;
}

void
session_init(struct session *session, const struct session_config *config, uint64_t now_ns)
{
    CHECK(config->pool != NULL);
    CHECK(config->cipher != NULL);
    CHECK(config->datagram_bytes_max >= DATAGRAM_BYTES_MIN);
    CHECK(config->datagram_bytes_max <= config->pool->slot_bytes);
    CHECK(config->window <= SESSION_WINDOW_MAX);

    *session = (struct session){.config = *config, .state = SESSION_FREE};
    session_presets(&session->config);
    session->trailer_bytes = session_cipher_is_plain(config->cipher) ? WIRE_CRC_BYTES
                                                                     : WIRE_TAG_BYTES;
    session->close_code = UINT16_MAX;
    session->hello_at_ns = now_ns;
    session__path_init(&session->path, &session->config);
    session_init_directions(session, now_ns);
    session__move(session, config->role == SESSION_CLIENT ? SESSION_HELLO_SENT : SESSION_GRANTED);
}

/* Every slot that the session holds goes back to the pool. */
static void
session_return_slots(struct session *session)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;
    struct session_receiver *receive = &session->receive;
    const struct session_list empty = {.first = SESSION_NO_SLOT, .last = SESSION_NO_SLOT};

    session__return_taken(session);
    for (uint32_t i = 0; i < SESSION_WINDOW_MAX; i++) {
        if (send->slots[i] != SESSION_NO_SLOT)
            session__slot_give(pool, send->slots[i]);
        if (receive->slots[i] != SESSION_NO_SLOT)
            session__slot_give(pool, receive->slots[i]);
        send->slots[i] = receive->slots[i] = SESSION_NO_SLOT;
    }
    if (send->building != SESSION_NO_SLOT)
        session__slot_give(pool, send->building);
    send->building = SESSION_NO_SLOT;
    send->reserved_bytes = 0;
    send->in_flight = send->lost = empty;
    receive->has_direct = false;
}

void
session_fini(struct session *session)
{
    if (session->state == SESSION_FREE)
        return;
    session_return_slots(session);
    session__move(session, SESSION_FREE);
}

void
session__end(struct session *session, uint16_t code, struct bytes text, bool tell)
{
    size_t count = min_u64(text.count, sizeof(session->close_text) - 1);

    session->close_due = tell && session->state == SESSION_OPEN;
    session__move(session, SESSION_CLOSED);
    session->close_code = code;
    if (count > 0)
        bytes_copy(session->close_text, sizeof(session->close_text), text.at, count);
    session->close_text[count] = '\0';
    session_return_slots(session);
}

void
session__end_protocol(struct session *session)
{
    session->counters.received_malformed++;
    session__end(session, WIRE_CLOSE_PROTOCOL, (struct bytes){0}, true);
}

void
session__open(struct session *session, uint64_t now_ns)
{
    session__move(session, SESSION_OPEN);
    session->send.credit_probed_ns = now_ns;
}

enum session_state
session_state(const struct session *session)
{
    return session->state;
}

uint16_t
session_close_code(const struct session *session)
{
    return session->close_code;
}

const char *
session_close_text(const struct session *session)
{
    return session->close_text;
}

const struct session_counters *
session_counters(const struct session *session)
{
    return &session->counters;
}

uint64_t
session_rtt_ns(const struct session *session)
{
    return session->path.rtt_ns;
}

void
session_close(struct session *session, uint16_t code, const char *text)
{
    struct bytes bytes = {0};

    if (session->state == SESSION_CLOSED || session->state == SESSION_FREE)
        return;
    if (text != NULL)
        bytes = (struct bytes){.at = (const uint8_t *)text, .count = strlen(text)};
    session__end(session, code, bytes, true);
}

void
session_ping(struct session *session, uint64_t token)
{
    CHECK(token != SESSION_TOKEN_OWN);
    session->ping.token = token;
    session->ping.due = true;
    session->ping.outstanding = true;
    session->ping.answered = false;
}

bool
session_pong(struct session *session, uint64_t *ret_token)
{
    if (!session->ping.answered)
        return false;
    session->ping.answered = false;
    *ret_token = session->ping.token;
    return true;
}

static uint64_t
probe_at_ns(const struct session *session)
{
    const struct session_sender *send = &session->send;

    if (send->in_flight.count == 0)
        return NO_DEADLINE;
    return session->config.pool->slots[send->in_flight.first].sent_ns +
           session__probe_timeout_ns(session, send->probe_backoff);
}

/* An announcement of credit is not repeated by itself and may get lost: who has none asks. */
static uint64_t
credit_probe_at_ns(const struct session *session)
{
    const struct session_sender *send = &session->send;

    if (!session__is_out_of_credit(session))
        return NO_DEADLINE;
    return send->credit_probed_ns + session__probe_timeout_ns(session, send->credit_backoff);
}

static void
session_tick_open(struct session *session, uint64_t now_ns)
{
    struct session_sender *send = &session->send;

    if (now_ns >= probe_at_ns(session)) {
        session->counters.probes++;
        session__probe(session);
    }
    if (now_ns >= credit_probe_at_ns(session)) {
        session->counters.probes++;
        send->credit_backoff++;
        send->credit_probed_ns = now_ns;
        session->ping.own_due = true;
    }
    if (now_ns >= send->sent_ns + session->config.heartbeat_ns)
        session->ping.own_due = true;
}

void
session_tick(struct session *session, uint64_t now_ns)
{
    if (session->state != SESSION_OPEN && session->state != SESSION_HELLO_SENT)
        return;
    if (now_ns >= session->receive.received_ns + session->config.idle_ns) {
        session__end(session, UINT16_MAX, (struct bytes){0}, false);
        return;
    }
    if (session->state == SESSION_OPEN)
        session_tick_open(session, now_ns);
}

static uint64_t
session_deadline_open(const struct session *session)
{
    const struct session_ping_state *ping = &session->ping;
    const struct session_receiver *receive = &session->receive;

    if (session->ready_due || receive->ack_now || ping->due || ping->own_due || ping->reply_due)
        return 0;
    if (session__may_send_data(session))
        return 0;
    uint64_t at_ns = min_u64(receive->ack_at_ns, probe_at_ns(session));
    at_ns = min_u64(at_ns, credit_probe_at_ns(session));
    at_ns = min_u64(at_ns, session->send.sent_ns + session->config.heartbeat_ns);
    return min_u64(at_ns, receive->received_ns + session->config.idle_ns);
}

uint64_t
session_deadline(const struct session *session)
{
    switch (session->state) {
    case SESSION_HELLO_SENT:
        return min_u64(session->hello_at_ns,
                       session->receive.received_ns + session->config.idle_ns);
    case SESSION_OPEN:
        return session_deadline_open(session);
    case SESSION_CLOSED:
        return session->close_due ? 0 : NO_DEADLINE;
    case SESSION_FREE:
    case SESSION_GRANTED:
        break;
    }
    return NO_DEADLINE;
}
