/* Results of batches on their way to the client: as many as fit go into one COMMIT frame. They wait
 * in the places that their batches were admitted with, so nothing can be lost for want of room. */
#include "net/door/door_internal.h"

void
door_commit__queue(struct door *door, struct door_session *session, uint32_t produce_idx)
{
    struct door_list *list = &session->results;

    door__produce(door, produce_idx)->next = DOOR_NONE;
    if (list->first == DOOR_NONE)
        list->first = produce_idx;
    else
        door__produce(door, list->last)->next = produce_idx;
    list->last = produce_idx;
    door_session__activate(door, session);
}

/* Moves one result into the frame under construction. */
static uint32_t
commit_take(struct door *door, struct door_session *session, uint8_t *at, uint32_t entry)
{
    uint32_t idx = session->results.first;
    const struct door_produce *produce = door__produce(door, idx);
    const struct wire_commit commit = {
        .request = produce->request,
        .status = produce->status,
        .flags = produce->flags,
        .base_offset = produce->base_offset,
    };
    uint32_t bytes = wire_commit_encode(at, entry, &commit);

    session->results.first = produce->next;
    session->produces--;
    slab_give(&door->produces, idx);
    return bytes;
}

bool
door_commit__send(struct door *door, struct door_session *session)
{
    uint32_t frame_max = session_frame_bytes_max(session->session);
    uint32_t entries_max = (frame_max - WIRE_FRAME_HEADER_BYTES) / WIRE_COMMIT_BYTES;

    while (session->results.first != DOOR_NONE) {
        uint32_t count = 0;
        uint32_t bytes = 0;
        uint32_t wanted = 0;
        for (uint32_t idx = session->results.first; idx != DOOR_NONE && wanted < entries_max;
             idx = door__produce(door, idx)->next)
            wanted++;
        uint8_t *at = session_reserve(session->session,
                                      WIRE_FRAME_HEADER_BYTES + wanted * WIRE_COMMIT_BYTES);
        if (at == NULL)
            return false;
        for (; count < wanted; count++)
            bytes = commit_take(door, session, at, count);
        session_commit(session->session, bytes);
        door__count(&door->counters.commits, count);
        door->kick = true;
    }
    return true;
}
