/* Subscribers: where to begin, credit, and what comes in. Each partition has a byte ring of its
 * own; a FETCHED message (one or more whole batches) lies unbroken in it until the caller has read
 * it, and its bytes come back to the server as credit.
 *
 *   PLACE ──offset given or found──► READY ──SUBSCRIBE──► FLOWS ──session ended, passing error──►
 * READY └──final error──► OVER
 *
 * Ring: items of {struct part_item, message, padding to 8}; an item whose message does not fit up
 * to the end begins anew at the front. The server begins a message while it has any credit left, so
 * credit K and longest message M let K + M come; small messages add at most 24 bytes to 61, and the
 * gap at the end is shorter than a message: 3/2 (K + M) + M always suffices. */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#define PART_BACKOFF_NS (50 * NS_PER_MS)
#define RECEIVE_BYTES_MIN 65536u
#define RECEIVE_BYTES_MAX (64u << 20)
#define RING_SLACK_BYTES 4096u
#define NUMBER_PART_BITS 10u
#define NUMBER_SUBSCRIBER_BITS 6u
_Static_assert(CLIENT_SUBSCRIBER_PARTITIONS_MAX <= BIT(NUMBER_PART_BITS), "fits the number");
_Static_assert(CLIENT_SUBSCRIBERS_MAX <= BIT(NUMBER_SUBSCRIBER_BITS), "fits the number");

/* ---- opening and closing */

static bool
subscriber_options_take(struct eagre_subscriber *subscriber,
                        const struct eagre_subscriber_options *given)
{
    struct eagre_subscriber_options *options = &subscriber->options;

    bytes_copy(options, sizeof(*options), given, min_u64(given->struct_bytes, sizeof(*options)));
    if (options->receive_bytes == 0)
        options->receive_bytes = 1u << 20;
    if (options->partitions_max == 0)
        options->partitions_max = 16;
    if (options->unpacked_bytes == 0)
        options->unpacked_bytes = 8u << 20;
    size_t name_bytes = options->topic != NULL ? strlen(options->topic) : 0;
    bool needs_value = options->start == EAGRE_START_OFFSET || options->start == EAGRE_START_TIME;
    return name_bytes > 0 && name_bytes <= WIRE_TOPIC_NAME_MAX &&
           options->receive_bytes >= RECEIVE_BYTES_MIN &&
           options->receive_bytes <= RECEIVE_BYTES_MAX &&
           options->partitions_max <= CLIENT_SUBSCRIBER_PARTITIONS_MAX &&
           options->partition >= EAGRE_PARTITION_ANY && options->start >= EAGRE_START_EARLIEST &&
           options->start <= EAGRE_START_TIME && (!needs_value || options->start_value >= 0);
}

static bool
subscriber_memory(struct eagre_subscriber *subscriber)
{
    const struct eagre_subscriber_options *options = &subscriber->options;
    uint32_t count = options->partition == EAGRE_PARTITION_ANY ? options->partitions_max : 1;
    uint64_t ring_bytes = round_up(options->receive_bytes / 2 * 3 + WIRE_MESSAGE_BYTES_MAX / 2 * 5,
                                   64) +
                          RING_SLACK_BYTES;

    subscriber->parts = client_alloc(count * sizeof(struct subscriber_part));
    subscriber->memory = client_alloc_lazily(count * ring_bytes);
    subscriber->unpacked = client_alloc_lazily(options->unpacked_bytes);
    if (subscriber->parts == NULL || subscriber->memory == NULL || subscriber->unpacked == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        subscriber->parts[i].ring = subscriber->memory + i * ring_bytes;
        subscriber->parts[i].ring_bytes = ring_bytes;
    }
    return true;
}

static void
subscriber_free(struct eagre_subscriber *subscriber)
{
    client_free(subscriber->parts);
    client_free(subscriber->memory);
    client_free(subscriber->unpacked);
    client_free(subscriber);
}

int
eagre_subscribe(struct eagre_client *client,
                const struct eagre_subscriber_options *options,
                struct eagre_subscriber **ret_subscriber,
                char *why,
                size_t why_capacity)
{
    uint32_t idx = 0;

    while (idx < client->config.subscribers_max && client->subscribers[idx] != NULL)
        idx++;
    if (idx == client->config.subscribers_max) {
        client_text(why, why_capacity, "subscribers_max is reached");
        return EAGRE_LIMIT;
    }
    struct eagre_subscriber *subscriber = client_alloc(sizeof(*subscriber));
    if (subscriber == NULL)
        return EAGRE_NO_MEMORY;
    subscriber->client = client;
    subscriber->idx = idx;
    int rc = subscriber_options_take(subscriber, options) ? EAGRE_OK : EAGRE_INVALID;
    if (rc == EAGRE_OK)
        rc = subscriber_memory(subscriber) ? EAGRE_OK : EAGRE_NO_MEMORY;
    if (rc == EAGRE_OK) {
        subscriber->topic = client__topic_get(client, subscriber->options.topic, false);
        rc = subscriber->topic != NULL ? EAGRE_OK : EAGRE_LIMIT;
    }
    if (rc != EAGRE_OK) {
        client_text(why, why_capacity, "subscriber: %s", eagre_rc_text(rc));
        subscriber_free(subscriber);
        return rc;
    }
    subscriber->options.topic = subscriber->topic->name;
    client->subscribers[idx] = subscriber;
    client_tick_soon(client);
    *ret_subscriber = subscriber;
    return EAGRE_OK;
}

static uint32_t
part_number(const struct eagre_subscriber *subscriber, const struct subscriber_part *part)
{
    return subscriber->idx | (uint32_t)(part - subscriber->parts) << NUMBER_SUBSCRIBER_BITS |
           (uint32_t)part->generation << (NUMBER_SUBSCRIBER_BITS + NUMBER_PART_BITS);
}

/* Credit, or the end of the subscription. False: the session takes nothing now. */
static bool
part_send_credit(struct eagre_subscriber *subscriber, struct subscriber_part *part, uint8_t flags)
{
    struct eagre_client *client = subscriber->client;
    struct wire_credit credit = {
        .subscription = part_number(subscriber, part),
        .credit_bytes = part->credit_base + part->freed_bytes,
    };
    uint8_t *at = session_reserve(client->session, WIRE_FRAME_HEADER_BYTES + WIRE_CREDIT_BYTES);

    if (at == NULL)
        return false;
    session_commit(client->session, wire_credit_encode(at, &credit, flags));
    part->credit_sent = credit.credit_bytes;
    return true;
}

/* Tells the server of the end that it is owed. False: the session takes nothing now. */
static bool
part_pay_end(struct eagre_subscriber *subscriber, struct subscriber_part *part)
{
    if (part->owes_end && part_send_credit(subscriber, part, WIRE_CREDIT_END))
        part->owes_end = false;
    return !part->owes_end;
}

/* A subscriber that the caller has closed goes when every end was said, or with the session. */
static void
subscriber_step_closing(struct eagre_subscriber *subscriber)
{
    struct eagre_client *client = subscriber->client;

    for (uint32_t i = 0; client->is_open && i < subscriber->part_count; i++)
        if (!part_pay_end(subscriber, &subscriber->parts[i])) {
            client_tick_by(client, client->now_ns + CLIENT_TICK_NS / 10);
            return;
        }
    client->subscribers[subscriber->idx] = NULL;
    subscriber_free(subscriber);
}

void
eagre_unsubscribe(struct eagre_subscriber *subscriber)
{
    if (subscriber == NULL)
        return;
    client__call_disown(subscriber->client, true, subscriber->idx);
    subscriber->is_closing = true;
    client__subscriber_fail(subscriber, EAGRE_CLOSED);
    for (uint32_t i = 0; i < subscriber->part_count; i++)
        client__part_fail(&subscriber->parts[i], EAGRE_CLOSED, 0);
    subscriber_step_closing(subscriber);
}

void
client__subscriber_free(struct eagre_subscriber *subscriber)
{
    if (subscriber == NULL)
        return;
    subscriber->client->subscribers[subscriber->idx] = NULL;
    subscriber_free(subscriber);
}

/* ---- where to begin */

void
client__part_fail(struct subscriber_part *part, int rc, int server_error)
{
    if (part->state == PART_OVER)
        return;
    part->owes_end |= part->state == PART_FLOWS &&
                      server_error == 0; /* else it is over there too */
    part->state = PART_OVER;
    part->rc = rc;
    part->server_error = server_error;
}

void
client__subscriber_fail(struct eagre_subscriber *subscriber, int rc)
{
    if (subscriber->rc == EAGRE_OK)
        subscriber->rc = rc;
}

static struct subscriber_part *
subscriber_part_of(const struct eagre_subscriber *subscriber, uint32_t partition)
{
    for (uint32_t i = 0; i < subscriber->part_count; i++)
        if (subscriber->parts[i].partition == partition)
            return &subscriber->parts[i];
    return NULL;
}

static void
part_place(struct eagre_client *client, struct subscriber_part *part, uint64_t offset)
{
    part->receive_offset = part->first_wanted = part->given_next = offset;
    part->state = PART_READY;
    part->retry_at_ns = 0;
    client_tick_soon(client);
}

/* The topic is known: a place for each partition. */
static void
subscriber_begin(struct eagre_subscriber *subscriber)
{
    const struct eagre_subscriber_options *options = &subscriber->options;
    uint32_t partition_count = subscriber->topic->info.partition_count;
    bool is_all = options->partition == EAGRE_PARTITION_ANY;

    if (is_all && partition_count > options->partitions_max) {
        client__subscriber_fail(subscriber, EAGRE_LIMIT);
        return;
    }
    if (!is_all && (uint32_t)options->partition >= partition_count) {
        client__subscriber_fail(subscriber, EAGRE_NOT_FOUND);
        return;
    }
    subscriber->part_count = is_all ? partition_count : 1;
    for (uint32_t i = 0; i < subscriber->part_count; i++) {
        struct subscriber_part *part = &subscriber->parts[i];
        part->partition = is_all ? i : (uint32_t)options->partition;
        part->state = PART_PLACE;
        if (options->start == EAGRE_START_OFFSET)
            part_place(subscriber->client, part, (uint64_t)options->start_value);
    }
}

void
client__subscriber_placed(struct eagre_subscriber *subscriber,
                          uint32_t partition,
                          int error,
                          int64_t offset)
{
    struct subscriber_part *part = subscriber_part_of(subscriber, partition);

    if (part == NULL || part->state != PART_PLACE)
        return;
    if (error != KAFKA_ERROR_NONE) {
        if (!client_error_is_passing(error))
            client__part_fail(part, client_rc_of_server(error), error);
        return;
    }
    if (offset >= 0)
        part_place(subscriber->client, part, (uint64_t)offset);
    else /* no record of that time or later; the end is known, see call.c */
        part_place(subscriber->client, part, part->high_watermark);
}

void
client__subscriber_ended(struct eagre_subscriber *subscriber, uint32_t partition, int64_t offset)
{
    struct subscriber_part *part = subscriber_part_of(subscriber, partition);

    if (part == NULL || offset < 0)
        return;
    part->has_end = true;
    part->high_watermark = max_u64(part->high_watermark, (uint64_t)offset);
}

/* ---- asking for records */

static bool
part_subscribe(struct eagre_subscriber *subscriber,
               struct subscriber_part *part,
               const struct wire_partition *place)
{
    struct eagre_client *client = subscriber->client;
    uint8_t *at = session_reserve(client->session, WIRE_FRAME_HEADER_BYTES + WIRE_SUBSCRIBE_BYTES);

    if (at == NULL)
        return false;
    part->generation++;
    part->freed_bytes = 0;
    part->credit_base = subscriber->options.receive_bytes -
                        min_u64(part->held_bytes, subscriber->options.receive_bytes);
    struct wire_subscribe subscribe = {
        .subscription = part_number(subscriber, part),
        .partition = *place,
        .offset = part->receive_offset,
        .credit_bytes = part->credit_base,
    };
    session_commit(client->session, wire_subscribe_encode(at, &subscribe));
    part->credit_sent = part->credit_base;
    part->total = 0;
    part->state = PART_FLOWS;
    return true;
}

static void
part_step(struct eagre_subscriber *subscriber, struct subscriber_part *part)
{
    struct eagre_client *client = subscriber->client;
    uint64_t worth_sending = subscriber->options.receive_bytes / 4;

    if (!part_pay_end(subscriber, part)) {
        client_tick_by(client, client->now_ns + CLIENT_TICK_NS / 10);
        return;
    }
    if (part->state == PART_READY && client->now_ns >= part->retry_at_ns) {
        const struct wire_partition *place = client__topic_place(
            client, subscriber->topic, part->partition);
        if (place != NULL)
            (void)part_subscribe(subscriber, part, place);
    }
    bool is_waiting = part->state == PART_READY || part->state == PART_PLACE;
    if (is_waiting || (part->state == PART_FLOWS && !part->has_end))
        client_tick_by(client, client->now_ns + CLIENT_TICK_NS);
    if (part->state != PART_FLOWS ||
        part->credit_base + part->freed_bytes - part->credit_sent < worth_sending)
        return;
    if (!part_send_credit(subscriber, part, 0))
        client_tick_by(client, client->now_ns + CLIENT_TICK_NS / 10);
}

static void
subscriber_step(struct eagre_subscriber *subscriber)
{
    if (subscriber->part_count == 0 && subscriber->topic->state == TOPIC_KNOWN)
        subscriber_begin(subscriber);
    else if (subscriber->part_count == 0 && subscriber->topic->rc != EAGRE_AGAIN)
        client__subscriber_fail(subscriber, subscriber->topic->rc);
    for (uint32_t p = 0; p < subscriber->part_count; p++)
        part_step(subscriber, &subscriber->parts[p]);
}

void
client__subscriber_step(struct eagre_client *client)
{
    for (uint32_t i = 0; i < CLIENT_SUBSCRIBERS_MAX; i++) {
        struct eagre_subscriber *subscriber = client->subscribers[i];
        if (subscriber != NULL && subscriber->is_closing)
            subscriber_step_closing(subscriber);
        else if (subscriber != NULL && subscriber->rc == EAGRE_OK)
            subscriber_step(subscriber);
    }
}

void
client__subscriber_session_ended(struct eagre_client *client)
{
    for (uint32_t i = 0; i < CLIENT_SUBSCRIBERS_MAX; i++) {
        struct eagre_subscriber *subscriber = client->subscribers[i];
        for (uint32_t p = 0; subscriber != NULL && p < subscriber->part_count; p++) {
            struct subscriber_part *part = &subscriber->parts[p];
            part->total = 0;
            part->retry_at_ns = 0;
            part->owes_end = false;
            if (part->state == PART_FLOWS)
                part->state = PART_READY;
        }
        if (subscriber != NULL && subscriber->is_closing)
            client__subscriber_free(subscriber);
    }
    client_tick_soon(client);
}

/* ---- what comes in */

/* Room for a whole message. False: the server sends beyond its credit. */
static bool
part_make_room(struct subscriber_part *part, uint32_t message_bytes)
{
    uint64_t item_bytes = sizeof(struct part_item) + round_up(message_bytes, 8);
    uint64_t at = part->tail % part->ring_bytes;
    uint64_t to_end = part->ring_bytes - at;
    bool is_wrapped = item_bytes > to_end;
    uint64_t needed = is_wrapped ? to_end + item_bytes : item_bytes;

    if (item_bytes > part->ring_bytes || needed > part->ring_bytes - (part->tail - part->head))
        return false;
    if (is_wrapped) {
        struct part_item *item = (struct part_item *)(void *)(part->ring + at);
        if (to_end >= sizeof(*item))
            *item = (struct part_item){.skip = 1};
        part->tail += to_end;
    }
    part->item_at = part->tail % part->ring_bytes;
    part->total = message_bytes;
    part->have = 0;
    part->piece_next = 0;
    return true;
}

/* The offset behind the last batch of a whole message; false: not batches. */
static bool
message_next_offset(const uint8_t *message, uint32_t message_bytes, uint64_t *ret_next)
{
    uint32_t done = 0;

    while (done < message_bytes) {
        struct record_batch_info info;
        if (record_batch_read(message + done, message_bytes - done, &info) != RC_OK ||
            info.batch_bytes > message_bytes - done)
            return false;
        *ret_next = (uint64_t)record_batch_last_offset(&info) + 1;
        done += info.batch_bytes;
    }
    return done > 0;
}

static void
part_take_message(struct subscriber_part *part)
{
    struct part_item *item = (struct part_item *)(void *)(part->ring + part->item_at);
    uint64_t next;

    if (!message_next_offset((const uint8_t *)(item + 1), part->total, &next)) {
        client__part_fail(part, EAGRE_CORRUPT, 0);
        return;
    }
    *item = (struct part_item){.message_bytes = part->total,
                               .high_watermark = part->high_watermark};
    part->tail += sizeof(*item) + round_up(part->total, 8);
    part->held_bytes += part->total;
    part->receive_offset = max_u64(part->receive_offset, next);
    part->total = 0;
}

/* A subscription that ended with an error, or out of step with us: begun anew, or over. */
static void
part_again(struct eagre_client *client, struct subscriber_part *part)
{
    part->state = PART_READY;
    part->total = 0;
    part->retry_at_ns = client->now_ns + PART_BACKOFF_NS;
    client_tick_soon(client);
}

static struct subscriber_part *
subscriber_find(struct eagre_client *client, uint32_t number, struct eagre_subscriber **ret)
{
    struct eagre_subscriber *subscriber =
        client->subscribers[number & (CLIENT_SUBSCRIBERS_MAX - 1)];
    uint32_t idx = number >> NUMBER_SUBSCRIBER_BITS & (CLIENT_SUBSCRIBER_PARTITIONS_MAX - 1);

    if (subscriber == NULL || idx >= subscriber->part_count)
        return NULL;
    struct subscriber_part *part = &subscriber->parts[idx];
    *ret = subscriber;
    return part->state == PART_FLOWS && part_number(subscriber, part) == number ? part : NULL;
}

static bool
part_take_piece(struct subscriber_part *part, const struct wire_piece *piece)
{
    if (piece->index == 0 && (part->total != 0 || !part_make_room(part, piece->total_bytes)))
        return false;
    if (part->total == 0 || piece->total_bytes != part->total || piece->index != part->piece_next ||
        piece->bytes.count > part->total - part->have)
        return false;
    uint8_t *message = part->ring + part->item_at + sizeof(struct part_item);
    bytes_copy(message + part->have, part->total - part->have, piece->bytes.at, piece->bytes.count);
    part->have += (uint32_t)piece->bytes.count;
    part->piece_next++;
    if (part->piece_next < piece->count)
        return true;
    if (part->have != part->total)
        return false;
    part_take_message(part);
    return true;
}

void
client__subscriber_fetched(struct eagre_client *client, const struct wire_fetched *fetched)
{
    struct eagre_subscriber *subscriber;
    struct subscriber_part *part = subscriber_find(client, fetched->request, &subscriber);
    int error = (int16_t)fetched->status;

    if (part == NULL)
        return; /* of a subscription that is no more */
    client->done++;
    if (error != KAFKA_ERROR_NONE) {
        if (error == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION)
            client__topic_stale(client, subscriber->topic);
        if (client_error_is_passing(error))
            part_again(client, part);
        else
            client__part_fail(part, client_rc_of_server(error), error);
        return;
    }
    part->high_watermark = fetched->high_watermark;
    part->has_end = true;
    if (fetched->piece.total_bytes == 0)
        return;
    if (!part_take_piece(part, &fetched->piece)) {
        part->owes_end = true;
        part_again(client, part);
    }
}

/* ---- asking */

int
eagre_get_position(const struct eagre_subscriber *subscriber,
                   int32_t partition,
                   struct eagre_position *ret)
{
    if (subscriber->part_count == 0)
        return EAGRE_AGAIN;
    const struct subscriber_part *part = partition >= 0
                                             ? subscriber_part_of(subscriber, (uint32_t)partition)
                                             : NULL;
    if (part == NULL)
        return EAGRE_NOT_FOUND;
    if (part->state == PART_PLACE || !part->has_end)
        return EAGRE_AGAIN;
    ret->next_offset = (int64_t)part->given_next;
    ret->high_watermark = (int64_t)part->high_watermark;
    return EAGRE_OK;
}

uint32_t
eagre_subscriber_partitions(const struct eagre_subscriber *subscriber)
{
    return subscriber->part_count;
}
