/* Limits of clients at the gate: who is charged, what an answer tells, and the pause that follows
 * (KIP-13, KIP-124, KIP-219).
 *
 * A Produce is charged when its last byte was read, a Fetch when its answer is built, core time
 * after it was spent. An answer that finds an account below zero is not held back: it tells the
 * pause and leaves, and its connection then begins no request until the pause is over. What was
 * begun is read to its end, so nobody pauses in memory that others wait for (G2).
 *
 * A connection remembers its client; with no limits at all a request costs one comparison. */
#include "net/gate/gate_internal.h"

#include "engine/base/hash.h"

void
quota__header(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct bytes id = connection->header.client_id;

    if (LIKELY(!quota_table_is_used(&gate->quotas)))
        return;
    uint64_t hash = hash_xxh3(
        id.at == NULL ? (const uint8_t *)"" : id.at, id.count, gate->quotas.entities.seed);
    bool same = connection->client_known && connection->client_hash == hash &&
                connection->client_version == gate->quotas.entities.version;
    if (same && (connection->client.idx == QUOTA_NONE ||
                 quota_table_slot(&gate->quotas, connection->client) != NULL))
        return;
    connection->client = quota_table_client(&gate->quotas, id, gate->now_ns);
    connection->client_hash = hash;
    connection->client_version = gate->quotas.entities.version;
    connection->client_known = true;
    atomic_store_explicit(
        &gate->counters.quota_shared, gate->quotas.shared_count, memory_order_relaxed);
}

/* ---- pauses */

static void
mute(struct gate *gate, uint32_t idx, struct quota_client client, uint64_t until_ns)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct quota_slot *slot = quota_table_slot(&gate->quotas, client);

    if (connection->state != CONNECTION_OPEN)
        return;
    connection->muted_until_ns = max_u64(connection->muted_until_ns, until_ns);
    gate->unmute_at_ns = min_u64(gate->unmute_at_ns, until_ns);
    if (connection->muted)
        return;
    connection->muted = true;
    connection->muted_for = client;
    gate->muted_count++;
    if (slot != NULL && slot->muted++ == 0)
        gate->clients_muted++;
    if (connection->queued_muted)
        return;
    connection->queued_muted = true;
    connection->next_muted = gate->muted_first;
    gate->muted_first = idx;
}

void
quota__closed(struct gate *gate, struct gate_connection *connection)
{
    if (!connection->muted)
        return;
    struct quota_slot *slot = quota_table_slot(&gate->quotas, connection->muted_for);
    connection->muted = false;
    connection->muted_until_ns = 0;
    gate->muted_count--;
    /* A client with muted connections keeps its place, so this is the one that was counted. */
    if (slot != NULL && --slot->muted == 0)
        gate->clients_muted--;
}

static void
unmute(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);

    quota__closed(gate, connection);
    connection->active_ns = gate->now_ns;
    if (connection->receive_deadline_ns != NO_DEADLINE) {
        /* A receive was armed before the pause: its time begins now. */
        connection->receive_deadline_ns = gate->now_ns + gate->config.limits.progress_ns;
        gate__sweep_by(gate, connection->receive_deadline_ns);
    }
    gate__sweep_by(gate, gate->now_ns + gate->config.limits.idle_ns);
    connection__make_ready(gate, idx);
}

uint32_t
quota__unmute(struct gate *gate)
{
    uint32_t *link = &gate->muted_first;
    uint64_t nearest = NO_DEADLINE;
    uint32_t count = 0;

    if (LIKELY(gate->now_ns < gate->unmute_at_ns))
        return 0;
    while (*link != GATE_NONE) {
        uint32_t idx = *link;
        struct gate_connection *connection = gate__connection(gate, idx);
        bool due = connection->muted && connection->muted_until_ns <= gate->now_ns;
        if (connection->muted && !due) {
            nearest = min_u64(nearest, connection->muted_until_ns);
            link = &connection->next_muted;
            continue;
        }
        *link = connection->next_muted;
        connection->queued_muted = false;
        if (due)
            unmute(gate, idx);
        count += due ? 1 : 0;
    }
    gate->unmute_at_ns = nearest == NO_DEADLINE ? NO_DEADLINE
                                                : max_u64(nearest, gate->now_ns + GATE_UNMUTE_NS);
    return count;
}

/* ---- charges */

uint32_t
quota__charge(struct gate *gate,
              const struct gate_slot *slot,
              enum quota_kind kind,
              uint64_t amount)
{
    uint64_t pause_ns;
    enum quota_kind cause = kind;

    if (LIKELY(slot->client.idx == QUOTA_NONE))
        return 0;
    pause_ns = quota_table_charge(&gate->quotas, slot->client, kind, amount, gate->now_ns);
    if (kind != QUOTA_REQUEST) {
        uint64_t time_ns = quota_table_charge(
            &gate->quotas, slot->client, QUOTA_REQUEST, 0, gate->now_ns);
        cause = time_ns > pause_ns ? QUOTA_REQUEST : kind;
        pause_ns = max_u64(time_ns, pause_ns);
    }
    if (pause_ns == 0 || slot->connection == GATE_NONE)
        return 0;
    uint64_t pause_ms = (pause_ns + NS_PER_MS - 1) / NS_PER_MS;
    gate__count(&gate->counters.quota_throttles[cause], 1);
    gate__count(&gate->counters.quota_throttle_ns[cause], pause_ms * NS_PER_MS);
    mute(gate, slot->connection, slot->client, gate->now_ns + pause_ms * NS_PER_MS);
    return (uint32_t)pause_ms; /* at most QUOTA_PAUSE_MAX_NS */
}

void
quota__control_answer(struct gate *gate, struct gate_slot *slot, uint64_t spent_ns)
{
    const struct kafka_api *api;

    if (LIKELY(slot->client.idx == QUOTA_NONE))
        return;
    uint32_t pause_ms = quota__charge(gate, slot, QUOTA_REQUEST, spent_ns);
    if (pause_ms == 0)
        return;
    api = kafka_api_find(slot->api_key);
    CHECK(api != NULL);
    int32_t in_body = kafka_throttle_at(api, slot->version);
    if (in_body < 0)
        return;
    uint32_t at = KAFKA_FRAME_PREFIX_BYTES + kafka_response_header_bytes(api, slot->version) +
                  (uint32_t)in_body;
    if (slot->reply_bytes >= at + 4)
        put_u32_be(slot->reply + at, pause_ms);
}

/* Core time is measured only while somebody has a limit of it: reading the clock twice costs 20 ns.
 */
uint64_t
quota__time_begin(struct gate *gate)
{
    bool measured = (gate->quotas.entities.set >> QUOTA_REQUEST & 1) != 0;

    return UNLIKELY(measured) ? clock_now_ns(gate->config.clock) : 0;
}

void
quota__time_end(struct gate *gate, uint32_t idx, uint64_t begun_ns)
{
    if (LIKELY(begun_ns == 0))
        return;
    uint64_t now_ns = clock_now_ns(gate->config.clock);
    (void)quota_table_charge(&gate->quotas,
                             gate__connection(gate, idx)->client,
                             QUOTA_REQUEST,
                             now_ns - begun_ns,
                             now_ns);
}

uint64_t
quota__fetch_bytes_max(struct gate *gate, const struct gate_slot *slot)
{
    return quota_table_most(&gate->quotas, slot->client, QUOTA_FETCH);
}

void
quota__told(struct gate *gate, const struct quota_snapshot *snapshot)
{
    /* Control has the same bound, so a gate with less room is one that was built so. */
    if (quota_table_apply(&gate->quotas, snapshot) != RC_OK)
        gate__count(&gate->counters.topics_refused, 1);
}
