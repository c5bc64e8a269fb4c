/* Rings to the log tiles and to control: requests out in one burst per poll, responses in. A
 * request takes its credits (response slots that may come back for it) before it is put in, so
 * response rings never overflow and nobody ever waits for space. */
#include "net/gate/gate_internal.h"

struct request *
link__reserve(struct gate *gate, uint32_t link_idx, uint32_t credits)
{
    struct gate_link *link = &gate->links[link_idx];

    if (link->credits + credits > link->credits_max)
        return NULL;
    struct request *request = ring_reserve(link->requests);
    if (request == NULL)
        return NULL;
    link->credits += credits;
    link->dirty = true;
    link->hurry = true;
    request->requester = (uint16_t)(gate->config.gate_idx + 1);
    return request;
}

void
link__release(struct gate *gate, uint32_t link_idx, uint32_t credits)
{
    struct gate_link *link = &gate->links[link_idx];

    CHECK(link->credits >= credits);
    link->credits -= credits;
    gate->kick = true;
}

void
link__publish(struct gate *gate)
{
    for (uint32_t i = 0; i <= gate->config.log_tile_count; i++) {
        struct gate_link *link = &gate->links[i];
        if (link->dirty)
            ring_publish(link->requests);
        if (link->dirty && link->notify_at_ns == NO_DEADLINE)
            link->notify_at_ns = gate->now_ns + (link->hurry ? 0 : GATE_PATIENCE_NS);
        if (link->hurry || gate->now_ns >= link->notify_at_ns) {
            link->notify_at_ns = NO_DEADLINE;
            if (link->waker != NULL)
                waker_notify(link->waker);
        }
        link->dirty = link->hurry = false;
    }
}

static void
link_seen(struct request *request, const void *snapshot)
{
    request->kind = REQUEST_TOPIC_SEEN;
    request->flags = 0;
    request->slot = 0;
    request->incarnation = 0;
    request->ctx = (uint64_t)(uintptr_t)snapshot;
    request->u.topic_seen.snapshot = snapshot;
}

/* Takes over a topic snapshot and gives it back; false: no room for the giving back, the snapshot
 * stays in the ring. */
static bool
link_topic(struct gate *gate, uint32_t link_idx, const struct response *response)
{
    const struct topic_snapshot *snapshot = response->u.topic;
    struct request *request = link__reserve(gate, link_idx, 0);

    if (request == NULL)
        return false;
    uint32_t idx = topic_table_find_id(&gate->topics, snapshot->id);
    if (idx != TOPIC_NONE && snapshot->gone) {
        const struct topic *topic = topic_table_at(&gate->topics, idx);
        park__topic_gone(
            gate, &gate->topics.partitions[topic->partition_first], topic->partition_count);
    }
    if (topic_table_apply(&gate->topics, snapshot) != RC_OK)
        gate__count(&gate->counters.topics_refused, 1);
    link_seen(request, snapshot);
    return true;
}

static bool
link_quota(struct gate *gate, uint32_t link_idx, const struct response *response)
{
    const struct quota_snapshot *snapshot = response->u.quota;
    struct request *request = link__reserve(gate, link_idx, 0);

    if (request == NULL)
        return false;
    quota__told(gate, snapshot);
    link_seen(request, snapshot);
    return true;
}

static void
link_done(struct gate *gate, uint32_t link_idx, const struct response *response)
{
    uint32_t credits = 1;

    switch (response->request_kind) {
    case REQUEST_PRODUCE:
        produce__answered(gate, response);
        break;
    case REQUEST_READ:
        credits = fetch__answered(gate, response);
        break;
    case REQUEST_ARM:
        credits = 1 + park__armed(gate,
                                  link_idx,
                                  (uint32_t)response->ctx,
                                  response->rc != RC_OK                       ? PARK_NOT_ARMED
                                  : (response->ctx & GATE_ARM_COMMITTED) != 0 ? PARK_ARMED_STABLE
                                                                              : PARK_ARMED);
        break;
    case REQUEST_KAFKA:
        control_request__answered(gate, response);
        break;
    case REQUEST_TOPIC_SEEN: /* takes no credit; control need not answer it */
        credits = 0;
        break;
    default:
        CHECK(response->request_kind == REQUEST_PRODUCE);
    }
    link__release(gate, link_idx, credits);
}

static uint32_t
link_drain(struct gate *gate, uint32_t link_idx)
{
    struct ring *ring = gate->links[link_idx].responses;
    uint32_t count = 0;

    while (count < GATE_RESPONSES_PER_POLL) {
        const struct response *response = ring_peek(ring);
        if (response == NULL)
            break;
        if (response->kind == RESPONSE_DONE)
            link_done(gate, link_idx, response);
        else if (response->kind == RESPONSE_MARK)
            park__marked(gate, link_idx, response);
        else if (response->kind == RESPONSE_QUOTA ? !link_quota(gate, link_idx, response)
                                                  : !link_topic(gate, link_idx, response))
            break;
        ring_advance(ring);
        count++;
    }
    return count;
}

uint32_t
link__drain(struct gate *gate)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i <= gate->config.log_tile_count; i++)
        count += link_drain(gate, i);
    return count;
}
