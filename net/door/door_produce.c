/* Batches on their way to the log: checked from where they lie, copied once into the byte ring of
 * their log tile (or left in the buffer they were put together in), and a descriptor beside them.
 *
 * Order of checks as in the gate: partition, size, one batch with magic 2, header, CRC. A batch
 * that is refused takes the same place as one that is sent, so that its result is told in any case;
 * the place was sure to be there before the packet was opened (door_link__has_room()). */
#include "net/door/door_internal.h"

#include "engine/record/record_batch.h"

/* Results are said in the codes of the newest Produce. */
#define PRODUCE_VERSION 12

/* A place for the result; the session is owed it. */
static uint32_t
produce_place(struct door *door, struct door_session *session, const struct wire_data *data)
{
    uint32_t idx = slab_take(&door->produces);

    CHECK(idx != SLAB_NONE); /* see door_link__has_room() */
    *door__produce(door, idx) = (struct door_produce){
        .session = door__session_idx(door, session),
        .generation = session->generation,
        .next = DOOR_NONE,
        .message = DOOR_NONE,
        .request = data->request,
        .log_tile = data->partition.log_tile,
        .base_offset = UINT64_MAX,
    };
    session->produces++;
    return idx;
}

static enum metric_refused
produce_reason(int16_t error)
{
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
        return METRIC_REFUSED_UNKNOWN;
    case KAFKA_ERROR_MESSAGE_TOO_LARGE:
        return METRIC_REFUSED_TOO_LARGE;
    case KAFKA_ERROR_CORRUPT_MESSAGE:
        return METRIC_REFUSED_CORRUPT;
    case KAFKA_ERROR_THROTTLING_QUOTA_EXCEEDED:
        return METRIC_REFUSED_LIMIT;
    default:
        return METRIC_REFUSED_INVALID;
    }
}

void
door_produce__refuse(struct door *door,
                     struct door_session *session,
                     const struct wire_data *data,
                     int16_t error)
{
    uint32_t idx = produce_place(door, session, data);

    door__produce(door, idx)->status = (uint16_t)error;
    door__count(&door->counters.batches_refused, 1);
    if (door->config.metrics != NULL)
        metrics_add_label(door->config.metrics, BATCHES_REFUSED, produce_reason(error), 1);
    door_commit__queue(door, session, idx);
}

static int16_t
produce_check(const struct door_place *place, const struct wire_data *data)
{
    struct record_batch_info info;
    uint32_t batch_bytes = (uint32_t)data->batch.count;

    if (place == NULL || place->incarnation != data->partition.incarnation ||
        data->partition.incarnation == 0)
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    if (batch_bytes > place->batch_bytes_max)
        return KAFKA_ERROR_MESSAGE_TOO_LARGE;
    enum rc rc = record_batch_check(data->batch.at, batch_bytes, &info);
    if (rc != RC_OK)
        return kafka_error_from_rc(rc, KAFKA_PRODUCE, PRODUCE_VERSION);
    if ((info.attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0)
        return KAFKA_ERROR_INVALID_TXN_STATE;
    if (!record_batch_crc_ok(data->batch.at, batch_bytes))
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    return KAFKA_ERROR_NONE;
}

/* The descriptor; its place in the ring was sure to be there. */
static struct request *
produce_request(struct door *door, const struct wire_data *data, uint32_t idx)
{
    struct request *request = door_link__reserve(door, data->partition.log_tile, 1);

    CHECK(request != NULL); /* see door_link__has_room() */
    request->kind = REQUEST_PRODUCE;
    request->flags = 0;
    request->slot = data->partition.slot;
    request->incarnation = data->partition.incarnation;
    request->ctx = door__ctx(DOOR_CTX_PRODUCE, idx);
    request->u.produce.batch_bytes = (uint32_t)data->batch.count;
    door__count(&door->counters.batches, 1);
    door__count(&door->counters.batch_bytes, data->batch.count);
    if (UNLIKELY(door->config.trace != NULL))
        trace_keep(
            door->config.trace, TRACE_HAND_OVER, clock_now_ns(door->config.clock), request->ctx);
    return request;
}

static void
produce_seen(struct door *door, struct door_session *session)
{
    if (session->data_epoch == door->epoch)
        return;
    session->data_epoch = door->epoch;
    door->senders_so_far++;
}

enum rc
door_produce__data(struct door *door, struct door_session *session, const struct wire_data *data)
{
    struct door_place *place = door__place(door, data->partition.log_tile, data->partition.slot);
    int16_t error = produce_check(place, data);
    uint64_t ticket;

    produce_seen(door, session);
    if (UNLIKELY(error != KAFKA_ERROR_NONE)) {
        door_produce__refuse(door, session, data, error);
        return RC_OK;
    }
    struct byte_ring *bytes = door->links[data->partition.log_tile].bytes;
    uint8_t *at = byte_ring_reserve(bytes, data->batch.count, &ticket);
    CHECK(at != NULL); /* see door_link__has_room() */
    bytes_copy(at, data->batch.count, data->batch.at, data->batch.count);
    uint32_t idx = produce_place(door, session, data);
    door__produce(door, idx)->is_memory = place->is_memory;
    struct request *request = produce_request(door, data, idx);
    request->flags = REQUEST_FLAG_RELEASE;
    request->u.produce.batch = at;
    request->u.produce.release_to = byte_ring_end(ticket, data->batch.count);
    return RC_OK;
}

void
door_produce__message(struct door *door,
                      struct door_session *session,
                      const struct wire_data *data,
                      uint32_t message)
{
    struct door_place *place = door__place(door, data->partition.log_tile, data->partition.slot);
    int16_t error = produce_check(place, data);

    produce_seen(door, session);
    if (UNLIKELY(error != KAFKA_ERROR_NONE)) {
        door_message__give_back(door, message);
        door_produce__refuse(door, session, data, error);
        return;
    }
    uint32_t idx = produce_place(door, session, data);
    door__produce(door, idx)->is_memory = place->is_memory;
    door__produce(door, idx)->message = message;
    struct request *request = produce_request(door, data, idx);
    request->u.produce.batch = data->batch.at;
}

void
door_produce__answered(struct door *door, const struct response *response)
{
    uint32_t idx = (uint32_t)response->ctx;
    struct door_produce *produce = door__produce(door, idx);
    struct door_session *session = door__session(door, produce->session);
    enum rc rc = (enum rc)response->rc;

    CHECK(response->request_kind == REQUEST_PRODUCE);
    door_link__release(door, produce->log_tile, 1);
    if (produce->message != DOOR_NONE)
        door_message__give_back(door, produce->message);
    if (!session->in_use || session->generation != produce->generation) {
        slab_give(&door->produces, idx); /* nobody is there to be told */
        return;
    }
    produce->base_offset = response->base_offset;
    if (rc == RC_OK || rc == RC_SEQUENCE_DUPLICATE) {
        produce->flags = (uint16_t)((produce->is_memory ? 0 : WIRE_COMMIT_DURABLE) |
                                    (rc == RC_OK ? 0 : WIRE_COMMIT_DUPLICATE));
    } else {
        produce->status = (uint16_t)kafka_error_from_rc(rc, KAFKA_PRODUCE, PRODUCE_VERSION);
        produce->base_offset = UINT64_MAX;
        door__count(&door->counters.batches_refused, 1);
    }
    door_commit__queue(door, session, idx);
}
