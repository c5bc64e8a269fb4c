/* RESOLVE, answered from the door's own table of topics, and the short answers that wait for
 * window: pages of partitions, and refusals of reads and calls. A session that is owed DOOR_NOTES
 * of them and has no window waits with the rest of its packet, as one without a large buffer does;
 * only where no rest can be kept any more it is ended by that limit. */
#include "net/door/door_internal.h"

bool
door_note__has_room(struct door *door, struct door_session *session)
{
    if (session->note_count == DOOR_NOTES)
        (void)door_note__send(door, session);
    return session->note_count < DOOR_NOTES;
}

enum rc
door_note__wait(const struct door *door, const struct door_session *session)
{
    return door_frame__can_wait(door, session) ? RC_AGAIN : RC_LIMIT;
}

enum rc
door_note__add(struct door *door, struct door_session *session, const struct door_note *note)
{
    if (!door_note__has_room(door, session))
        return door_note__wait(door, session);
    session->notes[(session->note_first + session->note_count) % DOOR_NOTES] = *note;
    session->note_count++;
    return RC_OK;
}

enum rc
door_resolve__ask(struct door *door,
                  struct door_session *session,
                  const struct wire_resolve *resolve)
{
    uint32_t idx = topic_table_find(&door->topics, resolve->topic.at, resolve->topic.count);
    struct door_note note = {
        .kind = DOOR_NOTE_RESOLVED,
        .status = idx == TOPIC_NONE ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION : 0,
        .request = resolve->request,
        .first = resolve->partition_first,
    };

    if (idx != TOPIC_NONE)
        bytes_copy(note.topic_id,
                   sizeof(note.topic_id),
                   topic_table_at(&door->topics, idx)->id,
                   sizeof(note.topic_id));
    door_session__activate(door, session);
    return door_note__add(door, session, &note);
}

/* Fills what is known of the topic in; an unknown one has a status and nothing else. */
static void
note_resolve(const struct door *door, const struct door_note *note, struct wire_resolved *resolved)
{
    uint32_t idx = note->status != 0 ? TOPIC_NONE
                                     : topic_table_find_id(&door->topics, note->topic_id);

    if (idx == TOPIC_NONE) {
        resolved->status = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    const struct topic *topic = topic_table_at(&door->topics, idx);
    bytes_copy(resolved->topic_id, sizeof(resolved->topic_id), topic->id, sizeof(topic->id));
    resolved->partition_count = topic->partition_count;
    resolved->batch_bytes_max = min_u32(topic->batch_bytes_max, WIRE_MESSAGE_BYTES_MAX);
    resolved->is_durable = !topic->is_memory;
}

static bool
note_send_resolved(struct door *door, struct door_session *session, const struct door_note *note)
{
    struct wire_resolved resolved = {.request = note->request};
    uint32_t head_bytes = WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVED_HEAD_BYTES;
    uint32_t room = (session_frame_bytes_max(session->session) - head_bytes) / WIRE_PARTITION_BYTES;

    note_resolve(door, note, &resolved);
    resolved.partition_first = min_u32(note->first, resolved.partition_count);
    resolved.entry_count = min_u32(resolved.partition_count - resolved.partition_first, room);
    uint32_t wanted = head_bytes + resolved.entry_count * WIRE_PARTITION_BYTES;
    uint8_t *at = session_reserve(session->session, wanted);
    if (at == NULL)
        return false;
    uint32_t head = wire_resolved_encode_head(at, &resolved);
    CHECK(head == head_bytes);
    uint32_t topic = resolved.entry_count > 0 ? topic_table_find_id(&door->topics, note->topic_id)
                                              : TOPIC_NONE;
    for (uint32_t i = 0; i < resolved.entry_count; i++) {
        const struct partition_ref *ref = topic_table_partition(
            &door->topics, topic, (int32_t)(note->first + i));
        const struct wire_partition partition = {
            .incarnation = ref->incarnation, .slot = ref->slot, .log_tile = ref->log_tile};
        wire_partition_encode(at + head + (size_t)i * WIRE_PARTITION_BYTES, &partition);
    }
    session_commit(session->session, wanted);
    return true;
}

static bool
note_send_answer(struct door_session *session, const struct door_note *note)
{
    const struct wire_call answer = {
        .request = note->request, .status = note->status, .piece = {.count = 1}};
    uint8_t *at = session_reserve(session->session, WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES);

    if (at == NULL)
        return false;
    session_commit(session->session, wire_call_encode_head(at, WIRE_FRAME_ANSWER, &answer));
    return true;
}

static bool
note_send_fetched(struct door_session *session, const struct door_note *note)
{
    const struct wire_fetched fetched = {
        .request = note->request, .status = note->status, .piece = {.count = 1}};
    uint8_t *at = session_reserve(session->session,
                                  WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES);

    if (at == NULL)
        return false;
    session_commit(session->session, wire_fetched_encode_head(at, &fetched, note->flags));
    return true;
}

static bool
note_send_one(struct door *door, struct door_session *session, const struct door_note *note)
{
    switch ((enum door_note_kind)note->kind) {
    case DOOR_NOTE_RESOLVED:
        return note_send_resolved(door, session, note);
    case DOOR_NOTE_ANSWER:
        return note_send_answer(session, note);
    case DOOR_NOTE_FETCHED:
        return note_send_fetched(session, note);
    }
    CHECK(false);
    return true;
}

bool
door_note__send(struct door *door, struct door_session *session)
{
    for (; session->note_count > 0; session->note_count--) {
        if (!note_send_one(door, session, &session->notes[session->note_first]))
            return false;
        session->note_first = (session->note_first + 1) % DOOR_NOTES;
        door->kick = true; /* the session may wait for room for one more */
    }
    return true;
}
