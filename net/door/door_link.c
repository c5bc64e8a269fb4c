/* Rings to the log tiles and to control. A request is put in only with a response slot to spare
 * (its credit), and a partition armed for a mark holds one more until the mark came; so response
 * rings never overflow and nothing here waits. */
#include "net/door/door_internal.h"

#include "engine/trace/trace.h"

struct request *
door_link__reserve(struct door *door, uint32_t link_idx, uint32_t credits)
{
    struct door_link *link = &door->links[link_idx];

    if (link->credits + credits > link->credits_max)
        return NULL;
    struct request *request = ring_reserve(link->requests);
    if (request == NULL)
        return NULL;
    link->credits += credits;
    link->dirty = true;
    request->requester = door->config.requester;
    return request;
}

void
door_link__release(struct door *door, uint32_t link_idx, uint32_t credits)
{
    struct door_link *link = &door->links[link_idx];

    CHECK(link->credits >= credits);
    link->credits -= credits;
    door->kick = true;
}

void
door_link__publish(struct door *door)
{
    for (uint32_t i = 0; i <= door->config.log_tile_count; i++) {
        struct door_link *link = &door->links[i];
        if (!link->dirty)
            continue;
        link->dirty = false;
        ring_publish(link->requests);
        if (link->waker != NULL)
            waker_notify(link->waker);
    }
}

/* Bytes that a packet full of the smallest batches takes in a byte ring, its wrap included. */
static uint64_t
link_packet_bytes(const struct door *door)
{
    uint64_t bytes = door->nic->datagram_bytes_max + (uint64_t)door->frames_max * BYTE_RING_ALIGN;

    return 2 * bytes;
}

bool
door_link__has_room(struct door *door)
{
    if (door->produces.count - door->produces.used < door->frames_max)
        return false;
    for (uint32_t i = 0; i < door->config.log_tile_count; i++) {
        struct door_link *link = &door->links[i];
        if (link->credits_max - link->credits < door->frames_max ||
            ring_free(link->requests) < door->frames_max ||
            byte_ring_free(link->bytes) < link_packet_bytes(door))
            return false;
    }
    return true;
}

uint32_t
door_link__room_packets(struct door *door)
{
    uint64_t packets = door->produces.count - door->produces.used;

    for (uint32_t i = 0; i < door->config.log_tile_count; i++) {
        struct door_link *link = &door->links[i];
        uint64_t bytes = round_up(door->nic->datagram_bytes_max, BYTE_RING_ALIGN);
        packets = min_u64(packets, byte_ring_free(link->bytes) / bytes);
        packets = min_u64(packets, link->credits_max - link->credits);
    }
    return (uint32_t)min_u64(packets, 65536);
}

bool
door_link__is_quiet(const struct door *door)
{
    for (uint32_t i = 0; i <= door->config.log_tile_count; i++)
        if (door->links[i].credits > door->links[i].armed)
            return false;
    return true;
}

/* Takes over a topic snapshot and gives it back; false: no room for the giving back, the snapshot
 * stays in the ring. */
static bool
link_topic(struct door *door, uint32_t link_idx, const struct response *response)
{
    const struct topic_snapshot *snapshot = response->u.topic;
    struct request *request = door_link__reserve(door, link_idx, 0);

    if (request == NULL)
        return false;
    if (response->kind == RESPONSE_TOPIC) /* limits of Kafka clients are the gates' */
        door_watch__topic(door, snapshot);
    request->kind = REQUEST_TOPIC_SEEN;
    request->flags = 0;
    request->slot = 0;
    request->incarnation = 0;
    request->ctx = (uint64_t)(uintptr_t)snapshot;
    request->u.topic_seen.snapshot = snapshot;
    return true;
}

static void
link_done(struct door *door, const struct response *response)
{
    switch ((enum door_ctx)(response->ctx >> 56)) {
    case DOOR_CTX_PRODUCE:
        door_produce__answered(door, response);
        return;
    case DOOR_CTX_READ:
        door_read__answered(door, response);
        return;
    case DOOR_CTX_CALL:
        door_call__answered(door, response);
        return;
    }
    CHECK(response->request_kind == REQUEST_TOPIC_SEEN); /* control need not answer it */
}

static uint32_t
link_drain(struct door *door, uint32_t link_idx)
{
    struct ring *ring = door->links[link_idx].responses;
    uint32_t count = 0;

    while (count < DOOR_RESPONSES_PER_POLL) {
        const struct response *response = ring_peek(ring);
        if (response == NULL)
            break;
        if (response->kind == RESPONSE_DONE)
            link_done(door, response);
        else if (response->kind == RESPONSE_MARK)
            door_watch__marked(door, link_idx, response);
        else if (!link_topic(door, link_idx, response))
            break;
        ring_advance(ring);
        count++;
    }
    return count;
}

uint32_t
door_link__drain(struct door *door)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i <= door->config.log_tile_count; i++)
        count += link_drain(door, i);
    return count;
}
