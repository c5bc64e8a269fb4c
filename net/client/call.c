/* Kafka requests in CALL frames, one at a time: creating a topic (Metadata), a producer's id
 * (InitProducerId), offsets to begin at (ListOffsets). Who needs one says so in his own state; a
 * call that gets no answer, or whose session ended, is simply made again: each may be. */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_client_codec.h"
#include "net/kafka/kafka_error.h"

#define CALL_METADATA_VERSION 5
#define CALL_PRODUCER_VERSION 1
#define CALL_OFFSETS_VERSION 5
#define CALL_ARENA_BYTES (CLIENT_CALL_BYTES * KAFKA_ARENA_FACTOR + KAFKA_ARENA_REST_BYTES)
#define CALL_OFFSETS_MAX \
    512u /* partitions asked by one call: it has a limit of 16 KiB (PROTOCOL.md 10) */
#define OFFSETS_LATEST (-1)
#define OFFSETS_EARLIEST (-2)

int
client__call_init(struct eagre_client *client)
{
    client->call.out = client_alloc_lazily(CLIENT_CALL_BYTES);
    client->call.in = client_alloc_lazily(CLIENT_CALL_BYTES);
    client->call.arena = client_alloc_lazily(CALL_ARENA_BYTES);
    bool is_whole = client->call.out != NULL && client->call.in != NULL &&
                    client->call.arena != NULL;
    return is_whole ? EAGRE_OK : EAGRE_NO_MEMORY;
}

void
client__call_fini(struct eagre_client *client)
{
    client_free(client->call.out);
    client_free(client->call.in);
    client_free(client->call.arena);
}

void
client__call_disown(struct eagre_client *client, bool is_subscriber, uint32_t owner)
{
    struct call *call = &client->call;
    bool is_of_subscriber = call->kind == CALL_START || call->kind == CALL_END;

    if (call->owner == owner && (is_subscriber ? is_of_subscriber : call->kind == CALL_PRODUCER_ID))
        call->is_disowned = true; /* the rest of it is sent: the server waits for it */
}

void
client__call_session_ended(struct eagre_client *client)
{
    client->call.kind = CALL_NONE;
}

/* ---- what is asked */

static struct kafka_client_request
call_header(const struct call *call)
{
    struct kafka_client_request request = {
        .correlation_id = (int32_t)call->request,
        .client_id = {(const uint8_t *)"libeagre", 8},
    };
    switch (call->kind) {
    case CALL_CREATE:
        request.api_key = KAFKA_METADATA;
        request.version = CALL_METADATA_VERSION;
        break;
    case CALL_PRODUCER_ID:
        request.api_key = KAFKA_INIT_PRODUCER_ID;
        request.version = CALL_PRODUCER_VERSION;
        break;
    case CALL_START:
    case CALL_END:
        request.api_key = KAFKA_LIST_OFFSETS;
        request.version = CALL_OFFSETS_VERSION;
        break;
    case CALL_NONE:
        CHECK(!"no call is under way");
    }
    return request;
}

static void
call_write(struct eagre_client *client, const void *message)
{
    struct call *call = &client->call;
    struct kafka_client_request request = call_header(call);
    struct writer writer = writer_over(call->out, CLIENT_CALL_BYTES);

    kafka_client_request(&writer, &request, message);
    CHECK(!writer.failed);
    call->out_bytes = (uint32_t)writer_count(&writer);
    call->out_done = KAFKA_FRAME_PREFIX_BYTES; /* CALL carries it from the api key on */
    call->out_pieces = 0;
    call->in_bytes = call->in_pieces = 0;
    call->give_up_ns = client->now_ns + CLIENT_ASK_NS;
}

static void
call_begin(struct eagre_client *client, enum call_kind kind, uint32_t owner)
{
    client->call.kind = kind;
    client->call.owner = owner;
    client->call.is_disowned = false;
    client->call.request = client->request_next++;
}

static bool
call_for_topic(struct eagre_client *client, uint32_t idx)
{
    struct client_topic *topic = &client->topics[idx];
    struct kafka_metadata_request_topic asked;
    struct kafka_metadata_request request;

    if (topic->state != TOPIC_CREATE)
        return false;
    call_begin(client, CALL_CREATE, idx);
    kafka_metadata_request_topic_defaults(&asked);
    kafka_metadata_request_defaults(&request);
    asked.name = (struct bytes){(const uint8_t *)topic->name, strlen(topic->name)};
    request.topics.at = &asked;
    request.topics.count = 1;
    request.allow_auto_topic_creation = true;
    call_write(client, &request);
    return true;
}

static bool
call_for_producer(struct eagre_client *client, uint32_t idx)
{
    struct eagre_producer *producer = client->producers[idx];
    struct kafka_init_producer_id_request request;

    if (producer == NULL || !producer->wants_id || client->now_ns < producer->id_retry_at_ns)
        return false;
    call_begin(client, CALL_PRODUCER_ID, idx);
    kafka_init_producer_id_request_defaults(&request);
    request.transaction_timeout_ms = 60000;
    call_write(client, &request);
    return true;
}

static int64_t
offsets_time(const struct eagre_subscriber *subscriber, enum call_kind kind)
{
    if (kind == CALL_END || subscriber->options.start == EAGRE_START_LATEST)
        return OFFSETS_LATEST;
    return subscriber->options.start == EAGRE_START_TIME ? subscriber->options.start_value
                                                         : OFFSETS_EARLIEST;
}

/* The end is asked for before a time is: it is where to begin when no record is that late. */
static bool
part_is_asked(const struct eagre_subscriber *subscriber,
              const struct subscriber_part *part,
              enum call_kind kind)
{
    if (kind == CALL_END)
        return !part->has_end && part->state != PART_OVER;
    return part->state == PART_PLACE &&
           (subscriber->options.start != EAGRE_START_TIME || part->has_end);
}

static bool
call_for_offsets(struct eagre_client *client, uint32_t idx, enum call_kind kind)
{
    struct eagre_subscriber *subscriber = client->subscribers[idx];

    if (subscriber == NULL || client->now_ns < subscriber->offsets_retry_at_ns)
        return false;
    struct kafka_arena arena = kafka_arena_over(client->call.arena, CALL_ARENA_BYTES);
    struct kafka_list_offsets_request_partition *asked = kafka_arena_take(
        &arena, sizeof(*asked) * (subscriber->part_count + 1));
    uint32_t count = 0;
    CHECK(asked != NULL);
    for (uint32_t i = 0; i < subscriber->part_count && count < CALL_OFFSETS_MAX; i++) {
        if (!part_is_asked(subscriber, &subscriber->parts[i], kind))
            continue;
        kafka_list_offsets_request_partition_defaults(&asked[count]);
        asked[count].index = (int32_t)subscriber->parts[i].partition;
        asked[count++].timestamp_ms = offsets_time(subscriber, kind);
    }
    if (count == 0)
        return false;
    struct kafka_list_offsets_request_topic topic;
    struct kafka_list_offsets_request request;
    const char *name = subscriber->topic->name;
    call_begin(client, kind, idx);
    kafka_list_offsets_request_topic_defaults(&topic);
    kafka_list_offsets_request_defaults(&request);
    topic.name = (struct bytes){(const uint8_t *)name, strlen(name)};
    topic.partitions.at = asked;
    topic.partitions.count = count;
    request.replica_id = -1;
    request.topics.at = &topic;
    request.topics.count = 1;
    call_write(client, &request);
    return true;
}

/* Whoever needs one, topics first. */
static bool
call_next(struct eagre_client *client)
{
    for (uint32_t i = 0; i < client->config.topics_max; i++)
        if (call_for_topic(client, i))
            return true;
    for (uint32_t i = 0; i < CLIENT_PRODUCERS_MAX; i++)
        if (call_for_producer(client, i))
            return true;
    for (uint32_t i = 0; i < CLIENT_SUBSCRIBERS_MAX; i++)
        if (call_for_offsets(client, i, CALL_START) || call_for_offsets(client, i, CALL_END))
            return true;
    return false;
}

static void
call_send(struct eagre_client *client)
{
    struct call *call = &client->call;
    uint32_t frame_max = session_frame_bytes_max(client->session);
    uint32_t head = WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES;
    uint32_t total = call->out_bytes - KAFKA_FRAME_PREFIX_BYTES;
    uint32_t piece_max = frame_max - head;
    uint32_t pieces = (total + piece_max - 1) / piece_max;

    while (call->out_done < call->out_bytes) {
        uint32_t count = min_u32(piece_max, call->out_bytes - call->out_done);
        uint8_t *at = session_reserve(client->session, head + count);
        if (at == NULL)
            return;
        struct wire_call frame = {
            .request = call->request,
            .piece = {.total_bytes = total,
                      .index = call->out_pieces++,
                      .count = (uint16_t)pieces,
                      .bytes = {call->out + call->out_done, count}},
        };
        uint32_t used = wire_call_encode_head(at, WIRE_FRAME_CALL, &frame);
        bytes_copy(at + used, count, frame.piece.bytes.at, count);
        session_commit(client->session, used + count);
        call->out_done += count;
    }
}

/* Nobody wants its answer any more, and a late one has another number. Pieces that are left are
 * sent all the same: the server puts the pieces of one call together at a time. */
static void
call_drop(struct call *call)
{
    if (call->out_done < call->out_bytes)
        call->is_disowned = true;
    else
        call->kind = CALL_NONE;
}

void
client__call_step(struct eagre_client *client)
{
    struct call *call = &client->call;

    if (call->kind != CALL_NONE && client->now_ns >= call->give_up_ns)
        call_drop(call);
    if (call->kind == CALL_NONE && !call_next(client))
        return;
    if (call->out_done < call->out_bytes)
        call_send(client);
    client->tick_at_ns = min_u64(client->tick_at_ns, client->now_ns + CLIENT_TICK_NS);
}

/* ---- what is answered */

static void
answer_created(struct eagre_client *client, struct kafka_arena *arena, int status)
{
    struct call *call = &client->call;
    struct kafka_client_request request = call_header(call);
    struct kafka_metadata_response response;
    int error = status;

    if (error == 0) {
        enum rc rc = kafka_client_response(
            (struct bytes){call->in, call->in_bytes}, &request, arena, &response);
        error = rc != RC_OK || response.topics.count != 1 ? KAFKA_ERROR_REQUEST_TIMED_OUT
                                                          : response.topics.at[0].error;
    }
    client__topic_created(client, &client->topics[call->owner], error);
}

static void
answer_identified(struct eagre_client *client, struct kafka_arena *arena, int status)
{
    struct call *call = &client->call;
    struct eagre_producer *producer = client->producers[call->owner];
    struct kafka_client_request request = call_header(call);
    struct kafka_init_producer_id_response response = {.error = (int16_t)status};

    if (producer == NULL)
        return;
    if (status == 0 &&
        kafka_client_response(
            (struct bytes){call->in, call->in_bytes}, &request, arena, &response) != RC_OK)
        response.error = KAFKA_ERROR_REQUEST_TIMED_OUT;
    client__producer_identified(
        producer, response.producer_id, response.producer_epoch, response.error);
}

static void
offset_of_one(struct eagre_subscriber *subscriber,
              enum call_kind kind,
              const struct kafka_list_offsets_response_partition *row)
{
    if (kind == CALL_START)
        client__subscriber_placed(subscriber, (uint32_t)row->index, row->error, row->offset);
    else if (row->error == KAFKA_ERROR_NONE)
        client__subscriber_ended(subscriber, (uint32_t)row->index, row->offset);
}

static void
answer_offsets(struct eagre_client *client, struct kafka_arena *arena, int status)
{
    struct call *call = &client->call;
    struct eagre_subscriber *subscriber = client->subscribers[call->owner];
    struct kafka_client_request request = call_header(call);
    struct kafka_list_offsets_response response;

    if (subscriber == NULL)
        return;
    subscriber->offsets_retry_at_ns = client->now_ns + CLIENT_TICK_NS * 4;
    if (status != 0 && !client_error_is_passing(status))
        client__subscriber_fail(subscriber, client_rc_of_server(status));
    if (status != 0 ||
        kafka_client_response(
            (struct bytes){call->in, call->in_bytes}, &request, arena, &response) != RC_OK)
        return;
    for (uint32_t t = 0; t < response.topics.count; t++)
        for (uint32_t i = 0; i < response.topics.at[t].partitions.count; i++)
            offset_of_one(subscriber, call->kind, &response.topics.at[t].partitions.at[i]);
}

static void
call_finish(struct eagre_client *client, int status)
{
    struct kafka_arena arena = kafka_arena_over(client->call.arena, CALL_ARENA_BYTES);

    switch (client->call.is_disowned ? CALL_NONE : client->call.kind) {
    case CALL_CREATE:
        answer_created(client, &arena, status);
        break;
    case CALL_PRODUCER_ID:
        answer_identified(client, &arena, status);
        break;
    case CALL_START:
    case CALL_END:
        answer_offsets(client, &arena, status);
        break;
    case CALL_NONE:
        break;
    }
    call_drop(&client->call);
    client->call.give_up_ns = client->now_ns;
    client_tick_soon(client);
}

void
client__call_answer(struct eagre_client *client, const struct wire_call *answer)
{
    struct call *call = &client->call;
    const struct wire_piece *piece = &answer->piece;

    if (call->kind == CALL_NONE || answer->request != call->request)
        return; /* given up */
    if (answer->status != 0) {
        call_finish(client, (int16_t)answer->status);
        return;
    }
    if (piece->index != call->in_pieces ||
        piece->bytes.count > CLIENT_CALL_BYTES - call->in_bytes) {
        call_finish(client, KAFKA_ERROR_REQUEST_TIMED_OUT); /* longer than we can hold: as lost */
        return;
    }
    bytes_copy(call->in + call->in_bytes,
               CLIENT_CALL_BYTES - call->in_bytes,
               piece->bytes.at,
               piece->bytes.count);
    call->in_bytes += (uint32_t)piece->bytes.count;
    call->in_pieces++;
    if (call->in_pieces == piece->count)
        call_finish(client, KAFKA_ERROR_NONE);
}
