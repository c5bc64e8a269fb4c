/* FETCH and SUBSCRIBE: from the frame to the log tile and back.
 *
 *   QUEUED ─► READING ─► SENDING ─► (FETCH: gone)
 *     ▲          │ nothing there        │ subscription
 *     │          ▼                      ▼
 *     └─mark─ WATCHING                credit left? ─► QUEUED, else STARVED ─CREDIT─► QUEUED
 *
 * A reader holds a buffer from QUEUED until its data are sent, never while it waits at the tail or
 * for credit. A batch larger than DOOR_READ_BYTES takes one of the large buffers. When its session
 * ends while the log tile may write into the buffer, the reader stays as an orphan until the answer
 * comes. */
#include "net/door/door_internal.h"

#include "engine/record/record_batch.h"

#define READ_VERSION 12 /* of Fetch, whose error codes are said */

static void
read_list_add(struct door *door, struct door_list *list, uint32_t reader_idx)
{
    door__reader(door, reader_idx)->next_queued = DOOR_NONE;
    if (list->first == DOOR_NONE)
        list->first = reader_idx;
    else
        door__reader(door, list->last)->next_queued = reader_idx;
    list->last = reader_idx;
}

void
door_read__queue(struct door *door, uint32_t reader_idx)
{
    door__reader(door, reader_idx)->state = READER_QUEUED;
    read_list_add(door, &door->readers_queued, reader_idx);
}

void
door_read__buffer_drop(struct door *door, struct door_reader *reader)
{
    if (reader->buffer != DOOR_NONE) {
        slab_give(&door->read_buffers, reader->buffer);
        if (reader->session != DOOR_NONE)
            door__session(door, reader->session)->read_buffers--;
    }
    if (reader->message != DOOR_NONE)
        door_message__lend_end(door, reader->message);
    if (reader->data != NULL)
        door->kick = true;
    reader->buffer = DOOR_NONE;
    reader->message = DOOR_NONE;
    reader->data = NULL;
}

/* ---- beginnings ---- */

/* An error instead of a reader. */
static enum rc
read_refuse(struct door *door,
            struct door_session *session,
            const struct door_reader *wanted,
            int16_t error)
{
    const struct door_note note = {
        .kind = DOOR_NOTE_FETCHED,
        .flags = wanted->is_subscription ? WIRE_FETCHED_SUBSCRIPTION : 0,
        .status = (uint16_t)error,
        .request = wanted->request,
    };

    door_session__activate(door, session);
    return door_note__add(door, session, &note);
}

/* A session holds at most subscriptions_max of each kind, and FETCHes only while so many places are
 * free as it has. */
static bool
read_may_begin(const struct door *door, const struct door_session *session, bool is_subscription)
{
    uint32_t limit = door->config.limits.subscriptions_max;

    if (is_subscription)
        return session->subscriptions < limit;
    return session->fetches < limit && door__may_hold(&door->readers, session->fetches, 1);
}

static enum rc
read_begin(struct door *door, struct door_session *session, struct door_reader *wanted)
{
    const struct door_place *place = door__place(door, wanted->ref.log_tile, wanted->ref.slot);

    if (place == NULL || place->incarnation != wanted->ref.incarnation ||
        wanted->ref.incarnation == 0)
        return read_refuse(door, session, wanted, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    if (!read_may_begin(door, session, wanted->is_subscription))
        return read_refuse(door, session, wanted, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED);
    uint32_t idx = slab_take(&door->readers);
    if (idx == SLAB_NONE)
        return read_refuse(door, session, wanted, KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED);
    wanted->session = door__session_idx(door, session);
    wanted->next = session->readers;
    wanted->buffer = wanted->message = DOOR_NONE;
    *door__reader(door, idx) = *wanted;
    session->readers = idx;
    if (wanted->is_subscription) {
        session->subscriptions++;
        door->subscription_count++;
    } else {
        session->fetches++;
    }
    door_read__resume(door, idx);
    return RC_OK;
}

static struct partition_ref
read_ref(const struct wire_partition *partition)
{
    return (struct partition_ref){.incarnation = partition->incarnation,
                                  .slot = partition->slot,
                                  .log_tile = partition->log_tile};
}

enum rc
door_read__fetch(struct door *door, struct door_session *session, const struct wire_fetch *fetch)
{
    struct door_reader wanted = {
        .request = fetch->request,
        .ref = read_ref(&fetch->partition),
        .offset = fetch->offset,
        .max_bytes = fetch->max_bytes,
    };

    return read_begin(door, session, &wanted);
}

static uint32_t
read_find(struct door *door, const struct door_session *session, uint32_t subscription)
{
    uint32_t idx = session->readers;

    while (idx != DOOR_NONE) {
        const struct door_reader *reader = door__reader(door, idx);
        if (reader->is_subscription && !reader->ended && reader->request == subscription)
            break;
        idx = reader->next;
    }
    return idx;
}

enum rc
door_read__subscribe(struct door *door,
                     struct door_session *session,
                     const struct wire_subscribe *subscribe)
{
    struct door_reader wanted = {
        .is_subscription = true,
        .request = subscribe->subscription,
        .ref = read_ref(&subscribe->partition),
        .offset = subscribe->offset,
        .credit_bytes = subscribe->credit_bytes,
    };

    if (read_find(door, session, subscribe->subscription) != DOOR_NONE)
        return RC_MALFORMED;
    return read_begin(door, session, &wanted);
}

enum rc
door_read__credit(struct door *door,
                  struct door_session *session,
                  const struct wire_credit *credit,
                  bool ends)
{
    uint32_t idx = read_find(door, session, credit->subscription);

    if (idx == DOOR_NONE)
        return RC_OK; /* over already: the client will read why */
    struct door_reader *reader = door__reader(door, idx);
    reader->credit_bytes = max_u64(reader->credit_bytes, credit->credit_bytes);
    reader->ended = ends;
    if (ends && reader->state == READER_WATCHING && reader->is_watching) {
        door_watch__forget(door, idx);
        door_read__free(door, session, idx);
    } else if (reader->state == READER_STARVED) {
        door_read__resume(door, idx);
    }
    return RC_OK;
}

/* ---- to the log tile ---- */

/* Where the subscription stands: over, without credit, or to be read on. */
void
door_read__resume(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);

    if (reader->ended)
        door_read__free(door, door__session(door, reader->session), reader_idx);
    else if (reader->is_subscription && reader->sent_bytes >= reader->credit_bytes)
        reader->state = READER_STARVED;
    else
        door_read__queue(door, reader_idx);
}

static bool
read_take_buffer(struct door *door, struct door_reader *reader)
{
    if (reader->data != NULL)
        return true;
    if (reader->bytes_needed > 0) {
        reader->message = door_message__lend(door);
        if (reader->message != DOOR_NONE)
            reader->data = door__message(door, reader->message);
        return reader->data != NULL;
    }
    struct door_session *session = door__session(door, reader->session);
    if (!door__may_hold(&door->read_buffers, session->read_buffers, 1))
        return false;
    reader->buffer = slab_take(&door->read_buffers);
    CHECK(reader->buffer != SLAB_NONE); /* door__may_hold() */
    session->read_buffers++;
    reader->data = door->read_memory + (size_t)reader->buffer * DOOR_READ_BYTES;
    return true;
}

static bool
read_issue_one(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);
    uint64_t wanted = reader->is_subscription ? reader->credit_bytes - reader->sent_bytes
                                              : reader->max_bytes;

    if (!read_take_buffer(door, reader))
        return false;
    uint32_t capacity = reader->message != DOOR_NONE ? DOOR_MESSAGE_BYTES : DOOR_READ_BYTES;
    bool arm = reader->is_subscription && door_watch__may_arm(door, &reader->ref);
    struct request *request = door_link__reserve(door, reader->ref.log_tile, arm ? 2 : 1);
    if (request == NULL)
        return false;
    if (arm)
        door_watch__arming(door, &reader->ref);
    reader->asked_arm = arm;
    reader->state = READER_READING;
    request->kind = REQUEST_READ;
    request->flags = (uint8_t)(REQUEST_FLAG_WHOLE | (arm ? REQUEST_FLAG_ARM : 0));
    request->slot = reader->ref.slot;
    request->incarnation = reader->ref.incarnation;
    request->ctx = door__ctx(DOOR_CTX_READ, reader_idx);
    request->u.read.offset = reader->offset;
    request->u.read.dst = reader->data;
    request->u.read.dst_bytes = capacity;
    request->u.read.max_bytes = (uint32_t)min_u64(wanted, DOOR_READ_BYTES);
    request->u.read.leader_epoch = -1;
    return true;
}

/* One round over those that wait: first come, first served, but one whose large buffer, log tile
 * or share of the buffers is not free steps behind the others. */
void
door_read__issue(struct door *door)
{
    uint32_t last = door->readers_queued.last;
    uint32_t idx = DOOR_NONE;

    while (door->readers_queued.first != DOOR_NONE && idx != last) {
        idx = door->readers_queued.first;
        struct door_reader *reader = door__reader(door, idx);
        door->readers_queued.first = reader->next_queued;
        if (reader->session == DOOR_NONE)
            door_read__give(door, idx);
        else if (reader->ended)
            door_read__free(door, door__session(door, reader->session), idx);
        else if (!read_issue_one(door, idx))
            read_list_add(door, &door->readers_queued, idx);
    }
}

/* Partitions beyond what may be armed are looked at again from time to time. */
void
door_read__wake_lazy(struct door *door)
{
    uint32_t idx = door->readers_lazy.first;

    door->readers_lazy.first = DOOR_NONE;
    while (idx != DOOR_NONE) {
        uint32_t next = door__reader(door, idx)->next_queued;
        door_read__queue(door, idx);
        idx = next;
    }
}

/* ---- back from it ---- */

static void
read_to_send(struct door *door, uint32_t reader_idx, uint16_t status, uint32_t data_bytes)
{
    struct door_reader *reader = door__reader(door, reader_idx);
    struct door_session *session = door__session(door, reader->session);
    struct door_list *list = &session->sending;
    uint32_t piece = door_read__piece_bytes(session);

    reader->state = READER_SENDING;
    reader->status = status;
    reader->data_bytes = data_bytes;
    reader->piece_at = 0;
    reader->piece_index = 0;
    reader->piece_count = (uint16_t)(data_bytes == 0 ? 1 : (data_bytes + piece - 1) / piece);
    reader->next_sending = DOOR_NONE;
    if (list->first == DOOR_NONE)
        list->first = reader_idx;
    else
        door__reader(door, list->last)->next_sending = reader_idx;
    list->last = reader_idx;
    door_session__activate(door, session);
}

/* The offset behind the last batch of what the log tile gave. */
static uint64_t
read_offset_behind(const uint8_t *data, uint32_t data_bytes)
{
    uint64_t offset = 0;

    for (uint64_t at = 0; at < data_bytes;) {
        const uint8_t *batch = data + at;
        CHECK(data_bytes - at >= RECORD_BATCH_HEADER_BYTES); /* the log gives whole batches */
        offset = record_batch_base_offset(batch) + (uint32_t)record_batch_last_offset_delta(batch) +
                 1;
        at += record_batch_bytes(batch);
        CHECK(at <= data_bytes);
    }
    return offset;
}

static void
read_at_tail(struct door *door, uint32_t reader_idx)
{
    struct door_reader *reader = door__reader(door, reader_idx);

    if (!reader->is_subscription) {
        read_to_send(door, reader_idx, 0, 0);
        return;
    }
    door_read__buffer_drop(door, reader);
    reader->state = READER_WATCHING;
    if (reader->ended)
        door_read__free(door, door__session(door, reader->session), reader_idx);
    else if (door_watch__is_armed(door, &reader->ref))
        door_watch__listen(door, reader_idx);
    else if (reader->asked_arm)
        door_read__queue(door, reader_idx); /* the mark came first */
    else
        read_list_add(door, &door->readers_lazy, reader_idx);
}

static void
read_done(struct door *door, uint32_t reader_idx, const struct response *response)
{
    struct door_reader *reader = door__reader(door, reader_idx);
    enum rc rc = (enum rc)response->rc;

    reader->high_watermark = response->high_watermark;
    reader->start_offset = response->start_offset;
    if (rc == RC_OK && response->bytes == 0) {
        read_at_tail(door, reader_idx);
    } else if (rc == RC_OK) {
        reader->bytes_needed = 0;
        reader->offset = read_offset_behind(reader->data, response->bytes);
        reader->sent_bytes += response->bytes;
        door__count(&door->counters.fetched_bytes, response->bytes);
        read_to_send(door, reader_idx, 0, response->bytes);
    } else if (rc == RC_NO_MEMORY && reader->message == DOOR_NONE &&
               response->bytes <= DOOR_MESSAGE_BYTES) {
        door_read__buffer_drop(door, reader);
        reader->bytes_needed = response->bytes;
        door_read__queue(door, reader_idx);
    } else {
        int16_t error = KAFKA_ERROR_MESSAGE_TOO_LARGE;
        if (rc != RC_NO_MEMORY)
            error = kafka_error_from_rc(rc, KAFKA_FETCH, READ_VERSION);
        read_to_send(door, reader_idx, (uint16_t)error, 0);
    }
}

void
door_read__answered(struct door *door, const struct response *response)
{
    uint32_t idx = (uint32_t)response->ctx;
    struct door_reader *reader = door__reader(door, idx);
    uint32_t credits = 1;

    CHECK(response->request_kind == REQUEST_READ);
    CHECK(reader->state == READER_READING);
    if (reader->asked_arm)
        credits += door_watch__armed(
            door, &reader->ref, response->rc == RC_OK && response->bytes == 0);
    door_link__release(door, reader->ref.log_tile, credits);
    if (reader->session == DOOR_NONE) {
        door->orphans--;
        door_read__give(door, idx);
        return;
    }
    read_done(door, idx, response);
}
