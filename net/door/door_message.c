/* Batches that are longer than a packet: pieces are put together in one of few preallocated
 * buffers, and the log tile reads the batch from there. Pieces of one batch follow each other in
 * their session, so a session has one under way at most. A piece that does not fit the ones before
 * it ends the session. A batch that finds no buffer waits for one with the rest of its packet, and
 * with it its session; only where too many wait already it is refused, when its last piece has
 * come: a result that overtakes the batch would be none to the client. To refuse at once would let
 * the batch behind it overtake, and break the producer's sequence.
 */
#include "net/door/door_internal.h"

uint32_t
door_message__lend(struct door *door)
{
    if (door->messages_reading >= door->messages.count / 2)
        return DOOR_NONE;
    uint32_t message = slab_take(&door->messages);
    if (message == SLAB_NONE)
        return DOOR_NONE;
    door->messages_reading++;
    return message;
}

void
door_message__give_back(struct door *door, uint32_t message)
{
    slab_give(&door->messages, message);
    door->kick = true;
}

void
door_message__lend_end(struct door *door, uint32_t message)
{
    CHECK(door->messages_reading > 0);
    door->messages_reading--;
    door_message__give_back(door, message);
}

void
door_message__drop(struct door *door, struct door_session *session)
{
    if (session->message != DOOR_NONE)
        door_message__give_back(door, session->message);
    session->message = DOOR_NONE;
    session->piece_next = 0;
    session->message_skip = false;
}

static struct wire_data
message_data(const struct door_session *session, const uint8_t *at)
{
    return (struct wire_data){
        .request = session->piece_first.request,
        .partition = session->piece_first.partition,
        .batch = {at, session->message_bytes},
    };
}

static void
message_begin(struct door *door, struct door_session *session, const struct wire_data_frag *frag)
{
    session->piece_first = *frag;
    session->message_bytes = 0;
    session->message = slab_take(&door->messages);
    session->message_skip = session->message == SLAB_NONE;
    if (session->message_skip)
        session->message = DOOR_NONE;
}

/* All its pieces are there. */
static void
message_arrived(struct door *door, struct door_session *session)
{
    uint32_t message = session->message;
    const uint8_t *at = message == DOOR_NONE ? NULL : door__message(door, message);
    const struct wire_data data = message_data(session, at);

    session->message = DOOR_NONE;
    session->piece_next = 0;
    if (message == DOOR_NONE)
        door_produce__refuse(door, session, &data, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED);
    else
        door_produce__message(door, session, &data, message);
}

/* Whether this piece is the one that follows. */
static bool
message_fits(const struct door_session *session, const struct wire_data_frag *frag)
{
    const struct wire_data_frag *first = &session->piece_first;

    if (session->piece_next == 0)
        return frag->piece.index == 0;
    return frag->piece.index == session->piece_next && frag->request == first->request &&
           frag->piece.count == first->piece.count &&
           frag->piece.total_bytes == first->piece.total_bytes &&
           frag->partition.incarnation == first->partition.incarnation &&
           frag->partition.slot == first->partition.slot &&
           frag->partition.log_tile == first->partition.log_tile;
}

static bool
message_must_wait(const struct door *door, const struct door_session *session)
{
    return door->messages.used == door->messages.count && door_frame__can_wait(door, session);
}

enum rc
door_message__piece(struct door *door,
                    struct door_session *session,
                    const struct wire_data_frag *frag)
{
    if (!message_fits(session, frag))
        return RC_MALFORMED;
    if (frag->piece.index == 0 && message_must_wait(door, session))
        return RC_AGAIN;
    if (frag->piece.index == 0)
        message_begin(door, session, frag);
    bool is_last = frag->piece.index + 1u == frag->piece.count;
    uint64_t end = (uint64_t)session->message_bytes + frag->piece.bytes.count;
    if (end > frag->piece.total_bytes || (is_last && end != frag->piece.total_bytes))
        return RC_MALFORMED;
    if (!session->message_skip)
        bytes_copy(door__message(door, session->message) + session->message_bytes,
                   DOOR_MESSAGE_BYTES - session->message_bytes,
                   frag->piece.bytes.at,
                   frag->piece.bytes.count);
    session->message_bytes = (uint32_t)end;
    session->piece_next = (uint16_t)(frag->piece.index + 1);
    session->pieces++;
    if (is_last)
        message_arrived(door, session);
    return RC_OK;
}
