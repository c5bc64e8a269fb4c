/* What the peer has, and what it therefore has not.
 *
 * A slot goes back to the pool as soon as its sequence is acknowledged, by the cumulative number or
 * selectively: what the peer has acknowledged it keeps. Lost is what was sent at least three
 * packets before the largest packet number that arrived, or, when nothing comes back at all, the
 * oldest in flight after the probe timeout. */
#include "net/session/session_inner.h"

#include "engine/base/check.h"

static void
ack_sequence(struct session *session, uint64_t sequence)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;
    uint32_t *place = &send->slots[sequence & SESSION_RING_MASK];
    uint32_t slot_idx = *place;

    if (slot_idx == SESSION_NO_SLOT)
        return; /* selectively, some time ago */
    struct session_slot *slot = &pool->slots[slot_idx];
    CHECK(slot->sequence == sequence);
    CHECK(slot->state == SESSION_SLOT_IN_FLIGHT || slot->state == SESSION_SLOT_LOST);
    session__list_remove(
        pool, slot->state == SESSION_SLOT_LOST ? &send->lost : &send->in_flight, slot_idx);
    if (slot->packet_number > session->newest_acked_packet) {
        session->newest_acked_packet = slot->packet_number;
        session->newest_acked_sent_ns = slot->sent_ns;
    }
    session->acked_count++;
    session__slot_give(pool, slot_idx);
    *place = SESSION_NO_SLOT;
}

bool
session__on_ack_number(struct session *session, uint64_t ack)
{
    struct session_sender *send = &session->send;

    session->acked_count = 0;
    session->newest_acked_packet = 0;
    if (UNLIKELY(ack > send->unsent))
        return false;
    for (; send->first < ack; send->first++)
        ack_sequence(session, send->first);
    if (session->acked_count > 0)
        send->probe_backoff = 0;
    return true;
}

/* Bit i: sequence ack + 1 + i. */
static bool
ack_selected(struct session *session, uint64_t ack_number, const struct wire_ack *ack)
{
    struct session_sender *send = &session->send;

    for (uint32_t word = 0; word < ARRAY_COUNT(ack->sack); word++) {
        for (uint64_t bits = ack->sack[word]; bits != 0; bits &= bits - 1) {
            uint64_t sequence = ack_number + 1 + word * 64 + (uint64_t)__builtin_ctzll(bits);
            if (UNLIKELY(sequence >= send->unsent))
                return false;
            if (sequence >= send->first)
                ack_sequence(session, sequence);
        }
    }
    return true;
}

static void
ack_sample_rtt(struct session *session, const struct wire_ack *ack, uint64_t now_ns)
{
    struct session_sender *send = &session->send;
    uint64_t sent_ns;

    if (ack->largest_packet == session->newest_acked_packet)
        sent_ns = session->newest_acked_sent_ns;
    else if (ack->largest_packet == send->timed_packet)
        sent_ns = send->timed_ns;
    else
        return;
    uint64_t sample_ns = now_ns - sent_ns;
    uint64_t delay_ns = ack->delay_us * NS_PER_US;
    session__path_sample(session, delay_ns < sample_ns ? sample_ns - delay_ns : sample_ns, now_ns);
}

static void
ack_lose(struct session *session, uint32_t slot_idx)
{
    struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;

    session__list_remove(pool, &send->in_flight, slot_idx);
    pool->slots[slot_idx].state = SESSION_SLOT_LOST;
    session__list_append(pool, &send->lost, slot_idx);
}

static void
ack_find_lost(struct session *session)
{
    const struct session_pool *pool = session->config.pool;
    struct session_sender *send = &session->send;

    while (send->in_flight.count > 0) {
        uint32_t slot_idx = send->in_flight.first;
        uint64_t packet_number = pool->slots[slot_idx].packet_number;
        if (packet_number + SESSION_LOSS_PACKETS > send->largest_acked)
            break;
        ack_lose(session, slot_idx);
        session__path_lost(session, packet_number);
    }
}

bool
session__on_ack_frame(struct session *session,
                      uint64_t ack_number,
                      const struct wire_ack *ack,
                      uint64_t now_ns)
{
    struct session_sender *send = &session->send;

    if (UNLIKELY(ack->largest_packet >= send->next_packet))
        return false;
    if (UNLIKELY(!ack_selected(session, ack_number, ack)))
        return false;
    if (ack->credit > send->credit) {
        send->credit = ack->credit;
        send->credit_backoff = 0;
    }
    send->credit_probed_ns = now_ns;
    if (ack->largest_packet > send->largest_acked) {
        send->largest_acked = ack->largest_packet;
        ack_sample_rtt(session, ack, now_ns);
    }
    if (session->acked_count > 0)
        send->probe_backoff = 0;
    ack_find_lost(session);
    return true;
}

void
session__probe(struct session *session)
{
    struct session_sender *send = &session->send;

    send->probe_backoff++;
    send->probes_allowed = SESSION_PROBE_PACKETS;
    for (uint32_t i = 0; i < SESSION_PROBE_PACKETS && send->in_flight.count > 0; i++)
        ack_lose(session, send->in_flight.first);
}
