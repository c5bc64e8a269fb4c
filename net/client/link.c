/* The data path of one session: the carrier's datagrams into the session and its frames to their
 * owners; what the session has to say into the carrier's buffers. */
#include "net/client/client_parts.h"

#include "engine/base/check.h"

#define LINK_BURSTS 8u /* of NIC_BURST datagrams, at most, in each direction and poll */
#define LINK_RETRY_NS (50 * NS_PER_US) /* until a carrier that took nothing is asked again */

int
client__link_init(struct eagre_client *client)
{
    const struct eagre_config *config = &client->config;
    uint32_t datagram_bytes = min_u32(config->datagram_bytes_max, client->nic->datagram_bytes_max);
    size_t pool_bytes = session_pool_footprint(config->packets_max, datagram_bytes);
    uint32_t reorder_max = min_u32(config->packets_max / 2, SESSION_WINDOW_MAX);

    client->datagram_bytes_max = datagram_bytes;
    client->pool_memory = client_alloc(pool_bytes);
    client->session = client_alloc(round_up(session_footprint(), 64));
    client->scratch = client_alloc(NIC_DATAGRAM_BYTES_MAX);
    if (client->pool_memory == NULL || client->session == NULL || client->scratch == NULL)
        return EAGRE_NO_MEMORY;
    client->pool = session_pool_init(
        client->pool_memory, config->packets_max, reorder_max, datagram_bytes);
    return EAGRE_OK;
}

void
client__link_fini(struct eagre_client *client)
{
    if (client->session != NULL && client->cipher != NULL)
        session_fini(client->session);
    session_cipher_destroy(client->cipher);
    client->cipher = NULL;
    client_free(client->pool_memory);
    client_free(client->session);
    client_free(client->scratch);
}

bool
client__link_begin(struct eagre_client *client)
{
    static const uint8_t nowhere[16];
    const struct wire_grant *grant = &client->grant;

    CHECK(client->cipher == NULL);
    if (!client__carrier_renew(client))
        return false;
    if (client->config.data_address[0] == '\0') {
        bool is_same = memcmp(grant->ip, nowhere, sizeof(nowhere)) == 0;
        client->data = client->server;
        if (!is_same)
            bytes_copy(client->data.ip, sizeof(client->data.ip), grant->ip, sizeof(grant->ip));
    }
    client->data.port = grant->ports[grant->tile < grant->port_count ? grant->tile : 0];
    if (session_cipher_create(grant, true, &client->cipher) != RC_OK) {
        client_say(client, "no memory for the session's keys");
        return false;
    }
    explicit_bzero(client->grant.client_key, sizeof(client->grant.client_key));
    explicit_bzero(client->grant.server_key, sizeof(client->grant.server_key));
    bool is_polled = client__carrier_is_polled(client);
    /* Where there is no network, delay tells how busy the peer is, and credit is the brake. */
    bool is_same_host = client->nic->is_same_host || nic_address_is_loopback(&client->data);
    struct session_config config = {
        .role = SESSION_CLIENT,
        .session_id = grant->session,
        .pool = client->pool,
        .cipher = client->cipher,
        .datagram_bytes_max = min_u32(grant->datagram_bytes_max, client->datagram_bytes_max),
        .window = grant->window,
        .probe_floor_ns = is_polled ? NS_PER_MS : 5 * NS_PER_MS,
        .delay_target_ns = is_same_host ? UINT64_MAX
                           : is_polled  ? 50 * NS_PER_US
                                        : NS_PER_MS,
        .idle_ns = grant->idle_ms * NS_PER_MS,
        .heartbeat_ns = max_u64(grant->idle_ms / 10, 1) * NS_PER_MS,
    };
    session_init(client->session, &config, client->now_ns);
    session_grant(client->session, SESSION_WINDOW_MAX);
    return true;
}

static void
link_count_past(struct eagre_client *client)
{
    const struct session_counters *now = session_counters(client->session);

    client->past.retransmitted += now->retransmitted;
    client->past.received_forged += now->received_forged;
    client->past.received_replayed += now->received_replayed;
    client->past.received_malformed += now->received_malformed;
    client->past.dropped_no_credit += now->dropped_no_credit;
    client->past.dropped_no_room += now->dropped_no_room;
}

void
client__link_end(struct eagre_client *client)
{
    if (client->cipher == NULL)
        return;
    link_count_past(client);
    session_fini(client->session);
    session_cipher_destroy(client->cipher);
    client->cipher = NULL;
    client->is_open = false;
    client->carrier_is_stale = true;
    client->ping_sent_ns = 0;
    client__call_session_ended(client);
    client__topic_session_ended(client);
    client__deliver_session_ended(client);
    client__subscriber_session_ended(client);
}

static bool
link_commits(struct eagre_client *client, const struct wire_frame *frame)
{
    uint32_t count;

    if (wire_commit_count(frame, &count) != RC_OK)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_commit commit;
        wire_commit_at(frame, i, &commit);
        client__deliver_commit(client, &commit);
    }
    return true;
}

/* One frame to its owner. False: the server does not speak our protocol. */
static bool
link_frame(struct eagre_client *client, const struct wire_frame *frame)
{
    struct wire_resolved resolved;
    struct wire_fetched fetched;
    struct wire_call answer;

    switch (frame->type) {
    case WIRE_FRAME_COMMIT:
        return link_commits(client, frame);
    case WIRE_FRAME_RESOLVED:
        if (wire_resolved_decode(frame, &resolved) != RC_OK)
            return false;
        client__topic_resolved(client, &resolved);
        return true;
    case WIRE_FRAME_FETCHED:
        if (wire_fetched_decode(frame, &fetched) != RC_OK)
            return false;
        client__subscriber_fetched(client, &fetched);
        return true;
    case WIRE_FRAME_ANSWER:
        if (wire_call_decode(frame, &answer) != RC_OK)
            return false;
        client__call_answer(client, &answer);
        return true;
    case WIRE_FRAME_PADDING:
    case WIRE_FRAME_ACK:
    case WIRE_FRAME_PING:
    case WIRE_FRAME_CLOSE:
        return true; /* the session's own */
    default:
        return false;
    }
}

static void
link_frames(struct eagre_client *client, struct bytes frames)
{
    struct wire_frame frame;

    while (wire_frame_next(&frames, &frame)) {
        if (frame.type == WIRE_FRAME_TYPES || !link_frame(client, &frame)) {
            session_close(client->session, WIRE_CLOSE_PROTOCOL, "malformed frame");
            return;
        }
    }
}

static void
link_datagram(struct eagre_client *client, const struct nic_received *received)
{
    struct bytes frames;

    if (client->cipher == NULL || received->byte_count < WIRE_HEADER_BYTES ||
        get_u32_le(received->bytes + 4) != client->grant.session)
        return; /* of a former session, or of nobody we know */
    if (session_receive(client->session,
                        received->bytes,
                        received->byte_count,
                        client->scratch,
                        NIC_DATAGRAM_BYTES_MAX,
                        client->now_ns) == SESSION_DROPPED)
        return;
    while (session_take(client->session, NIC_DATAGRAM_BYTES_MAX, &frames))
        link_frames(client, frames);
}

/* What the session has become. */
static void
link_look(struct eagre_client *client)
{
    enum session_state state = session_state(client->session);

    if (state == SESSION_OPEN && !client->is_open) {
        client->is_open = true;
        client->stats.sessions++;
        client->why[0] = '\0';
        client->control.backoff_ns = client->config.reconnect_min_ms * NS_PER_MS;
        client_tick_soon(client);
    } else if (state == SESSION_CLOSED) {
        uint16_t code = session_close_code(client->session);
        client_say(client,
                   code == UINT16_MAX            ? "the server is silent"
                   : code == WIRE_CLOSE_SHUTDOWN ? "the server stops"
                   : code == WIRE_CLOSE_PROTOCOL ? "the session ended: malformed frames"
                   : code == WIRE_CLOSE_LIMIT    ? "the session ended: a limit of the server"
                                                 : "the server closed the session");
        client__control_drop(client);
    }
}

static void
link_pong(struct eagre_client *client)
{
    uint64_t token;

    while (session_pong(client->session, &token)) {
        if (client->ping_sent_ns == 0 || token != client->ping_token)
            continue;
        client->pong_ns = max_u64(clock_now_ns(&client->clock) - client->ping_sent_ns, 1);
        client->ping_sent_ns = 0;
    }
}

void
client__link_receive(struct eagre_client *client)
{
    struct nic_received received[NIC_BURST];
    uint32_t count = client->nic != NULL ? NIC_BURST : 0;

    client->link_at_ns = UINT64_MAX;
    for (uint32_t burst = 0; count == NIC_BURST && burst < LINK_BURSTS; burst++) {
        count = nic_receive(client->nic, received, NIC_BURST);
        for (uint32_t i = 0; i < count; i++)
            link_datagram(client, &received[i]);
        nic_release(client->nic, received, count);
        client->done += count;
        if (client->cipher != NULL)
            link_pong(client);
    }
    /* What the carrier has taken from the kernel already does not make its descriptor readable. */
    if (count == NIC_BURST)
        client->link_at_ns = client->now_ns;
    if (client->cipher == NULL)
        return;
    session_grant(client->session, SESSION_WINDOW_MAX);
    if (session_deadline(client->session) <= client->now_ns)
        session_tick(client->session, client->now_ns);
    link_look(client);
}

void
client__link_transmit(struct eagre_client *client)
{
    struct nic_sending sends[NIC_BURST];
    bool is_more = client->cipher != NULL;

    client->resend_at_ns = 0;
    for (uint32_t burst = 0; is_more && burst < LINK_BURSTS; burst++) {
        uint32_t count = nic_reserve(client->nic, sends, NIC_BURST);
        if (count == 0)
            client->resend_at_ns = client->now_ns + LINK_RETRY_NS;
        uint32_t used = 0;
        while (used < count) {
            uint32_t bytes = session_transmit(
                client->session, client->now_ns, sends[used].bytes, sends[used].capacity);
            if (bytes == 0)
                break;
            sends[used].byte_count = bytes;
            sends[used].peer = client->data;
            used++;
        }
        nic_send(client->nic, sends, used);
        nic_cancel(client->nic, sends + used, count - used);
        client->done += used;
        is_more = used == NIC_BURST;
    }
    if (is_more)
        client->link_at_ns = client->now_ns;
    if (client->nic != NULL && nic_flush(client->nic))
        client->link_at_ns = min_u64(client->link_at_ns, client->now_ns + LINK_RETRY_NS);
}

uint64_t
client__link_deadline(const struct eagre_client *client)
{
    uint64_t session_ns = client->cipher != NULL ? session_deadline(client->session) : UINT64_MAX;

    return min_u64(max_u64(session_ns, client->resend_at_ns), client->link_at_ns);
}

int
eagre_ping(struct eagre_client *client)
{
    if (!client->is_open || client->ping_sent_ns != 0)
        return EAGRE_AGAIN;
    client->ping_token++;
    client->pong_ns = 0;
    client->ping_sent_ns = clock_now_ns(&client->clock);
    session_ping(client->session, client->ping_token);
    return EAGRE_OK;
}

int
eagre_pong(struct eagre_client *client, uint64_t *ret_ns)
{
    if (client->pong_ns == 0)
        return EAGRE_AGAIN;
    *ret_ns = client->pong_ns;
    client->pong_ns = 0;
    return EAGRE_OK;
}
