/* FETCHED: what was read goes out in pieces, as the window allows, one reader's data after the
 * other's; and the ends of readers. */
#include "net/door/door_internal.h"

uint32_t
door_read__piece_bytes(const struct door_session *session)
{
    return session_frame_bytes_max(session->session) - WIRE_FRAME_HEADER_BYTES -
           WIRE_FETCHED_HEAD_BYTES;
}

/* The next piece; false: no window. */
static bool
read_send_piece(struct door_session *session, struct door_reader *reader)
{
    uint32_t bytes = min_u32(reader->data_bytes - reader->piece_at,
                             door_read__piece_bytes(session));
    const struct wire_fetched fetched = {
        .request = reader->request,
        .status = reader->status,
        .high_watermark = reader->high_watermark,
        .start_offset = reader->start_offset,
        .piece = {.total_bytes = reader->data_bytes,
                  .index = reader->piece_index,
                  .count = reader->piece_count,
                  .bytes = {reader->data + reader->piece_at, bytes}},
    };
    uint32_t wanted = WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES + bytes;
    uint8_t *at = session_reserve(session->session, wanted);

    if (at == NULL)
        return false;
    uint32_t head = wire_fetched_encode_head(
        at, &fetched, reader->is_subscription ? WIRE_FETCHED_SUBSCRIPTION : 0);
    if (bytes > 0)
        bytes_copy(at + head, wanted - head, reader->data + reader->piece_at, bytes);
    session_commit(session->session, head + bytes);
    reader->piece_at += bytes;
    reader->piece_index++;
    return true;
}

bool
door_read__send(struct door *door, struct door_session *session)
{
    while (session->sending.first != DOOR_NONE) {
        uint32_t idx = session->sending.first;
        struct door_reader *reader = door__reader(door, idx);
        while (reader->piece_index < reader->piece_count)
            if (!read_send_piece(session, reader))
                return false;
        session->sending.first = reader->next_sending;
        door_read__buffer_drop(door, reader);
        if (!reader->is_subscription || reader->status != 0)
            door_read__free(door, session, idx);
        else
            door_read__resume(door, idx);
    }
    return true;
}

/* ---- ends ---- */

void
door_read__give(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);

    door_read__buffer_drop(door, reader);
    slab_give(&door->readers, reader_idx);
}

void
door_read__free(struct door *door, struct door_session *session, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);
    uint32_t *link = &session->readers;

    while (*link != reader_idx)
        link = &door__reader(door, *link)->next;
    *link = reader->next;
    if (reader->is_subscription) {
        session->subscriptions--;
        door->subscription_count--;
    } else {
        session->fetches--;
    }
    door_read__give(door, reader_idx);
}

void
door_read__drop_all(struct door *door, struct door_session *session)
{
    uint32_t idx = session->readers;

    while (idx != DOOR_NONE) {
        struct door_reader *reader = door__reader(door, idx);
        uint32_t next = reader->next;
        bool is_listed = reader->state == READER_QUEUED ||
                         (reader->state == READER_WATCHING && !reader->is_watching);
        door_watch__forget(door, idx);
        reader->session = DOOR_NONE;
        if (reader->state == READER_READING)
            door->orphans++; /* the log tile may write into its buffer until it answers */
        else if (!is_listed)
            door_read__give(door, idx); /* else its list lets go of it */
        door->subscription_count -= reader->is_subscription ? 1 : 0;
        idx = next;
    }
    session->readers = DOOR_NONE;
    session->subscriptions = session->fetches = session->read_buffers = 0;
}
