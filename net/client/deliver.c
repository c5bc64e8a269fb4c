/* Delivery: batches to the server in order, their answers, and sending again.
 *
 * Every batch carries (producer id, epoch, sequence); a partition's sequences are without a gap, so
 * the server stores them without a gap: what follows something that was not stored is answered as
 * out of order (45) and is not stored either. From that everything else follows:
 *
 *   answer            batch becomes     and the partition
 *   stored, again     delivered         earlier ones in doubt or refused were stored too (D1)
 *   out of order      DOUBT             is doubtful, unless a refusal explains it
 *   passing error     REFUSED           drains
 *   final error       reported          drains; what follows takes over its sequences, unless D4
 *
 * A partition that drains sends nothing until everything is answered, and then all that is left
 * again, in order, after the backoff. One that is doubtful goes on with what was sent in earlier
 * sessions: only that can have been stored. When all of it is answered as out of order, none is
 * (D2), and the server lost what it had confirmed: all is sent again under a new id.
 *
 * D1: a later sequence can be there only if the earlier ones are. The server remembers the last
 * five batches of a producer; of older ones it cannot say where they are, so they are delivered
 * with EAGRE_OFFSET_UNKNOWN. D2: had any been stored, the last five of them would be duplicates.
 *
 * D3: a server that knows nothing of a producer takes any first sequence. So the first batch to a
 * partition, of a session or of an id, travels alone until the answer shows that it is known;
 * otherwise a refusal of the first would let the second in before it.
 *
 * D4: a batch that was on its way when a session ended is unsure: it may be stored until an answer
 * shows where it is. A refusal shows nothing, as servers refuse before they look for a duplicate.
 * So when an unsure batch fails, its sequence is not free: what follows goes on under a new id,
 * and what follows and is unsure too is reported, since a new id would store it again. */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#define SEQUENCE_MASK 0x7fffffffu /* sequences go from 2147483647 to 0 */
#define BACKOFF_MAX_NS NS_PER_S
#define REQUEST_PRODUCER_BITS 6u
#define REQUEST_BATCH_BITS 14u
_Static_assert(CLIENT_PRODUCERS_MAX <= BIT(REQUEST_PRODUCER_BITS), "fits the request");
_Static_assert(CLIENT_BATCHES_MAX <= BIT(REQUEST_BATCH_BITS), "fits the request");

static uint32_t
deliver_request(const struct client_batch *batch)
{
    return batch->producer->idx | batch->idx << REQUEST_PRODUCER_BITS |
           (uint32_t)batch->generation << (REQUEST_PRODUCER_BITS + REQUEST_BATCH_BITS);
}

static struct client_batch *
deliver_find(struct eagre_client *client, uint32_t request)
{
    struct eagre_producer *producer = client->producers[request & (CLIENT_PRODUCERS_MAX - 1)];
    uint32_t idx = request >> REQUEST_PRODUCER_BITS & (CLIENT_BATCHES_MAX - 1);

    if (producer == NULL || idx >= producer->options.batch_count)
        return NULL;
    struct client_batch *batch = &producer->batches[idx];
    return batch->state == BATCH_SENT && deliver_request(batch) == request ? batch : NULL;
}

static uint32_t
deliver_sequence(const struct client_batch *batch)
{
    return (uint32_t)batch->builder.options.base_sequence;
}

static uint32_t
deliver_sequence_after(const struct client_batch *batch)
{
    return (deliver_sequence(batch) + batch->builder.record_count) & SEQUENCE_MASK;
}

/* ---- from the oldest on again */

/* The partition goes on under a new id. What may be stored under the old one is reported. */
static void
deliver_renew(struct eagre_client *client, struct producer_partition *partition)
{
    struct eagre_delivery outcome = {.rc = EAGRE_SEQUENCE_LOST,
                                     .first_offset = EAGRE_OFFSET_UNKNOWN};
    struct client_batch *batch = partition->oldest;

    while (batch != NULL) {
        struct client_batch *after = batch->after;
        if (batch->is_unsure)
            client__producer_report(partition->producer, batch, &outcome); /* D4 */
        batch = after;
    }
    partition->is_id_lost = false;
    partition->wants_id = partition->producer->wants_id = true;
    client->stats.sequence_resets++;
}

/* All that is left is answered as out of order from the first sequence on that is not known to be
 * stored: none of it is (D2). One that was refused says nothing, see D4. */
static bool
deliver_is_forgotten(const struct producer_partition *partition)
{
    const struct client_batch *batch = partition->oldest;

    if (batch == NULL || batch->state != BATCH_DOUBT ||
        deliver_sequence(batch) != partition->stored_next)
        return false;
    while (batch != NULL && (batch->state == BATCH_DOUBT || !batch->is_unsure))
        batch = batch->after;
    return batch == NULL;
}

/* Once everything is answered: from the oldest on again. */
static void
deliver_settle(struct eagre_client *client, struct producer_partition *partition)
{
    bool is_sending = client->sending != NULL &&
                      &client->sending->producer->partitions[client->sending->partition] ==
                          partition;
    bool is_judged = partition->is_doubtful &&
                     (partition->next == NULL || partition->next->tries == 0);

    if ((!partition->is_draining && !is_judged) || partition->sent_count > 0 || is_sending)
        return;
    if (!partition->is_id_lost && deliver_is_forgotten(partition)) {
        partition->is_id_lost = true;
        for (struct client_batch *batch = partition->oldest; batch != NULL; batch = batch->after)
            batch->is_unsure = false;
    }
    if (partition->is_id_lost)
        deliver_renew(client, partition);
    for (struct client_batch *batch = partition->oldest; batch != NULL; batch = batch->after)
        if (batch->state == BATCH_DOUBT || batch->state == BATCH_REFUSED)
            batch->state = BATCH_WAITING;
    partition->next = partition->oldest;
    partition->sequence_next = partition->stored_next;
    partition->is_draining = partition->is_doubtful = false;
    uint64_t least_ns = partition->producer->options.retry_ms * NS_PER_MS;
    partition->backoff_ns = max_u64(partition->backoff_ns, least_ns);
    partition->resume_at_ns = client->now_ns + partition->backoff_ns;
    partition->backoff_ns = min_u64(partition->backoff_ns * 2, max_u64(BACKOFF_MAX_NS, least_ns));
    client_tick_soon(client);
}

/* ---- sending */

/* Writes id and sequence into the batch, and its CRC, unless they are there from the last time. */
static void
deliver_seal(const struct producer_partition *partition, struct client_batch *batch)
{
    struct record_builder_options *options = &batch->builder.options;

    if (batch->tries > 0 && options->producer_id == partition->producer_id &&
        options->producer_epoch == partition->producer_epoch &&
        (uint32_t)options->base_sequence == partition->sequence_next)
        return;
    options->producer_id = partition->producer_id;
    options->producer_epoch = partition->producer_epoch;
    options->base_sequence = (int32_t)partition->sequence_next;
    batch->byte_count = record_builder_finish(&batch->builder);
}

static void
deliver_sent(struct eagre_client *client, struct client_batch *batch)
{
    struct producer_partition *partition = &batch->producer->partitions[batch->partition];

    CHECK(partition->next == batch);
    batch->state = BATCH_SENT;
    partition->next = batch->after;
    partition->sent_count++;
    partition->sequence_next = deliver_sequence_after(batch);
    client->stats.batches_sent++;
    if (batch->tries > 1)
        client->stats.batches_repeated++;
}

/* The next pieces of a batch that is longer than a packet. True: all are with the session. */
static bool
deliver_pieces(struct eagre_client *client, const struct wire_partition *place)
{
    struct client_batch *batch = client->sending;
    uint32_t head = WIRE_FRAME_HEADER_BYTES + WIRE_DATA_FRAG_HEAD_BYTES;
    uint32_t piece_max = session_frame_bytes_max(client->session) - head;
    uint32_t pieces = (batch->byte_count + piece_max - 1) / piece_max;

    while (batch->sent_bytes < batch->byte_count) {
        uint32_t count = min_u32(piece_max, batch->byte_count - batch->sent_bytes);
        uint8_t *at = session_reserve(client->session, head + count);
        if (at == NULL)
            return false;
        struct wire_data_frag frag = {
            .request = deliver_request(batch),
            .partition = *place,
            .piece = {.total_bytes = batch->byte_count,
                      .index = batch->sent_pieces++,
                      .count = (uint16_t)pieces,
                      .bytes = {batch->memory + batch->sent_bytes, count}},
        };
        uint32_t used = wire_data_frag_encode_head(at, &frag);
        bytes_copy(at + used, count, frag.piece.bytes.at, count);
        session_commit(client->session, used + count);
        batch->sent_bytes += count;
    }
    client->sending = NULL;
    deliver_sent(client, batch);
    return true;
}

/* One batch to the session. False: it takes no more now. */
static bool
deliver_batch(struct eagre_client *client,
              struct client_batch *batch,
              const struct wire_partition *place)
{
    uint32_t head = WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES;
    bool is_whole = head + batch->byte_count <= session_frame_bytes_max(client->session);
    uint8_t *at = is_whole ? session_reserve(client->session, head + batch->byte_count) : NULL;

    if (is_whole && at == NULL)
        return false;
    batch->tries++;
    batch->generation = (batch->generation + 1) & 0xfff;
    if (!is_whole) {
        batch->sent_bytes = batch->sent_pieces = 0;
        client->sending = batch;
        client->sending_place = *place; /* one message, one place */
        return deliver_pieces(client, &client->sending_place);
    }
    struct wire_data data = {
        .request = deliver_request(batch),
        .partition = *place,
        .batch = {batch->memory, batch->byte_count},
    };
    uint32_t used = wire_data_encode_head(at, &data);
    bytes_copy(at + used, batch->byte_count, batch->memory, batch->byte_count);
    session_commit(client->session, used + batch->byte_count);
    deliver_sent(client, batch);
    return true;
}

static bool
deliver_is_due(const struct eagre_client *client, const struct client_batch *batch)
{
    if (batch->state == BATCH_WAITING)
        return true;
    return batch->state == BATCH_OPEN &&
           client->now_ns >= batch->born_ns + batch->producer->options.linger_us * NS_PER_US;
}

static bool
deliver_is_free(const struct eagre_client *client, const struct producer_partition *partition)
{
    return !partition->is_draining && !partition->wants_id && partition->producer_id >= 0 &&
           client->now_ns >= partition->resume_at_ns &&
           (partition->is_known || partition->sent_count == 0); /* D3 */
}

/* The topic does not take batches of this length any more. */
static void
deliver_too_large(struct eagre_client *client, struct client_batch *batch)
{
    struct producer_partition *partition = &batch->producer->partitions[batch->partition];
    struct eagre_delivery outcome = {
        .rc = batch->is_unsure ? EAGRE_SEQUENCE_LOST : EAGRE_TOO_LARGE,
        .first_offset = EAGRE_OFFSET_UNKNOWN,
    };

    if (batch->is_unsure) /* D4 */
        partition->is_draining = partition->is_id_lost = true;
    client__producer_report(batch->producer, batch, &outcome);
    deliver_settle(client, partition);
}

/* The partition's next batch, ready to go, or NULL. */
static struct client_batch *
deliver_next(struct eagre_client *client,
             struct producer_partition *partition,
             const struct wire_partition **ret_place)
{
    struct eagre_producer *producer = partition->producer;
    struct client_batch *batch = partition->next;

    while (batch != NULL && deliver_is_free(client, partition) && deliver_is_due(client, batch) &&
           !(partition->is_doubtful && batch->tries == 0)) {
        *ret_place = client__topic_place(client, producer->topic, batch->partition);
        if (*ret_place == NULL)
            return NULL;
        if (batch->state == BATCH_OPEN)
            client__producer_batch_close(producer, batch);
        deliver_seal(partition, batch);
        if (batch->byte_count <= producer->topic->info.batch_bytes_max)
            return batch;
        deliver_too_large(client, batch);
        batch = partition->next;
    }
    return NULL;
}

static void
deliver_pop(struct eagre_client *client)
{
    struct producer_partition *partition = client->queue_first;

    client->queue_first = partition->queue_next;
    if (client->queue_first == NULL)
        client->queue_last = NULL;
    partition->queue_next = NULL;
    partition->is_queued = false;
}

void
client__deliver_send(struct eagre_client *client)
{
    if (client->sending != NULL && !deliver_pieces(client, &client->sending_place))
        return;
    while (client->queue_first != NULL) {
        struct producer_partition *partition = client->queue_first;
        const struct wire_partition *place;
        if (partition->next != NULL && partition->next->state == BATCH_OPEN &&
            session_window(client->session) == 0)
            return; /* full: nobody loses his turn, and open batches go on filling */
        struct client_batch *batch = deliver_next(client, partition, &place);
        if (batch != NULL && !deliver_batch(client, batch, place))
            return;
        deliver_pop(client);
        if (batch != NULL && partition->next != NULL)
            client__producer_queue(partition->producer, partition); /* by turns */
    }
}

/* ---- answers */

static void
deliver_stored(struct eagre_client *client,
               struct client_batch *batch,
               const struct wire_commit *commit)
{
    struct eagre_producer *producer = batch->producer;
    struct producer_partition *partition = &producer->partitions[batch->partition];
    bool is_durable = (commit->flags & WIRE_COMMIT_DURABLE) != 0;
    struct eagre_delivery outcome = {
        .first_offset = EAGRE_OFFSET_UNKNOWN,
        .durability = is_durable ? EAGRE_DURABILITY_DEVICE : EAGRE_DURABILITY_MEMORY,
        .is_duplicate = 1,
    };
    struct client_batch *earlier = partition->oldest;

    if (((deliver_sequence_after(batch) - partition->stored_next) & SEQUENCE_MASK) <
        SEQUENCE_MASK / 2)
        partition->stored_next = deliver_sequence_after(batch);
    partition->backoff_ns = 0;
    while (earlier != batch) {
        struct client_batch *after = earlier->after;
        if (earlier->state == BATCH_DOUBT || earlier->state == BATCH_REFUSED) {
            client->stats.batches_duplicate++;
            client__producer_report(producer, earlier, &outcome);
        }
        earlier = after;
    }
    partition->is_known = true;
    partition->is_doubtful = false;
    outcome.is_duplicate = (commit->flags & WIRE_COMMIT_DUPLICATE) != 0 ||
                           commit->status == KAFKA_ERROR_DUPLICATE_SEQUENCE_NUMBER;
    client->stats.batches_duplicate += (uint64_t)outcome.is_duplicate;
    if (commit->status == KAFKA_ERROR_NONE && commit->base_offset <= INT64_MAX)
        outcome.first_offset = (int64_t)commit->base_offset;
    client__producer_report(producer, batch, &outcome);
}

/* True when the batch's sequence lies before what is known to be stored. */
static bool
deliver_was_stored(const struct producer_partition *partition, const struct client_batch *batch)
{
    uint32_t ahead = (partition->stored_next - deliver_sequence(batch)) & SEQUENCE_MASK;

    return ahead != 0 && ahead < SEQUENCE_MASK / 2 &&
           batch->builder.options.producer_id == partition->producer_id;
}

static void
deliver_refused(struct eagre_client *client, struct client_batch *batch, int error)
{
    struct eagre_producer *producer = batch->producer;
    struct producer_partition *partition = &producer->partitions[batch->partition];
    struct eagre_delivery outcome = {
        .rc = client_rc_of_server(error),
        .server_error = error,
        .first_offset = EAGRE_OFFSET_UNKNOWN,
    };

    partition->is_draining = true;
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_ERROR_UNKNOWN_TOPIC_ID:
    case KAFKA_ERROR_INCONSISTENT_TOPIC_ID:
        client__topic_stale(client, producer->topic);
        break;
    case KAFKA_ERROR_INVALID_PRODUCER_EPOCH:
    case KAFKA_ERROR_PRODUCER_FENCED:
    case KAFKA_ERROR_UNKNOWN_PRODUCER_ID:
        partition->is_id_lost = true;
        batch->state = BATCH_REFUSED; /* deliver_renew() reports it if it is unsure */
        return;
    default:
        break;
    }
    if (client_error_is_passing(error)) {
        batch->state = BATCH_REFUSED;
        return;
    }
    if (batch->is_unsure) { /* D4 */
        partition->is_id_lost = true;
        outcome.rc = EAGRE_SEQUENCE_LOST;
    }
    client__producer_report(producer, batch, &outcome);
}

void
client__deliver_commit(struct eagre_client *client, const struct wire_commit *commit)
{
    struct client_batch *batch = deliver_find(client, commit->request);
    int error = (int16_t)commit->status;

    if (batch == NULL)
        return; /* reported as timed out before */
    struct producer_partition *partition = &batch->producer->partitions[batch->partition];
    partition->sent_count--;
    client->done++;
    if (error == KAFKA_ERROR_NONE || error == KAFKA_ERROR_DUPLICATE_SEQUENCE_NUMBER ||
        (error == KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER &&
         deliver_was_stored(partition, batch))) {
        deliver_stored(client, batch, commit);
    } else if (error == KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER) {
        batch->state = BATCH_DOUBT;
        partition->is_known = true;
        partition->is_doubtful = !partition->is_draining;
    } else {
        deliver_refused(client, batch, error);
    }
    deliver_settle(client, partition);
    if (partition->next != NULL)
        client__producer_queue(partition->producer, partition);
}

/* ---- time, and the end of a session */

/* Nothing of a partition is on its way any more: from the oldest on again. */
static void
deliver_rewind(struct eagre_client *client, struct producer_partition *partition)
{
    struct eagre_delivery outcome = {.first_offset = EAGRE_OFFSET_UNKNOWN, .is_duplicate = 1};
    struct client_batch *batch = partition->oldest;

    while (batch != NULL) {
        struct client_batch *after = batch->after;
        batch->is_unsure |= batch->state == BATCH_SENT; /* D4 */
        if (batch->tries > 0 && deliver_was_stored(partition, batch))
            client__producer_report(partition->producer, batch, &outcome); /* D1 */
        else if (batch->state != BATCH_OPEN)
            batch->state = BATCH_WAITING;
        batch = after;
    }
    if (partition->is_id_lost)
        deliver_renew(client, partition);
    partition->next = partition->oldest;
    partition->sequence_next = partition->stored_next;
    partition->sent_count = 0;
    partition->is_draining = partition->is_doubtful = partition->is_known = false;
    partition->resume_at_ns = 0;
    if (partition->next != NULL)
        client__producer_queue(partition->producer, partition);
}

void
client__deliver_session_ended(struct eagre_client *client)
{
    client->sending = NULL;
    for (uint32_t i = 0; i < CLIENT_PRODUCERS_MAX; i++) {
        struct eagre_producer *producer = client->producers[i];
        for (uint32_t p = 0; producer != NULL && p < producer->topic->place_count; p++)
            deliver_rewind(client, &producer->partitions[p]);
    }
}

/* The oldest batch of a partition has had its time. If it was ever sent, nobody knows whether it is
 * stored, nor of those sent after it: all are reported, and what was never sent goes on under a new
 * id, so that no late copy can mix with it. */
static void
deliver_expire(struct eagre_client *client, struct producer_partition *partition)
{
    struct eagre_producer *producer = partition->producer;
    struct eagre_delivery outcome = {.rc = EAGRE_TIMED_OUT, .first_offset = EAGRE_OFFSET_UNKNOWN};
    struct client_batch *batch = partition->oldest;

    if (batch->tries == 0) {
        client__producer_report(producer, batch, &outcome);
        return;
    }
    while (batch != NULL && batch->tries > 0) {
        struct client_batch *after = batch->after;
        partition->sent_count -= batch->state == BATCH_SENT;
        client__producer_report(producer, batch, &outcome);
        batch = after;
    }
    CHECK(partition->sent_count == 0);
    partition->is_draining = true;
    partition->is_id_lost = true;
    deliver_settle(client, partition);
}

static void
deliver_tick_partition(struct eagre_client *client, struct producer_partition *partition)
{
    const struct eagre_producer_options *options = &partition->producer->options;
    uint64_t timeout_ns = options->delivery_timeout_ms * NS_PER_MS;

    while (partition->oldest != NULL && client->now_ns > partition->oldest->born_ns + timeout_ns &&
           (client->sending == NULL || client->sending->producer != partition->producer))
        deliver_expire(client, partition);
    const struct client_batch *next = partition->next;
    if (next == NULL)
        return;
    client__producer_queue(partition->producer, partition);
    if (next->state == BATCH_OPEN)
        client_tick_by(client,
                       max_u64(next->born_ns + options->linger_us * NS_PER_US, client->now_ns + 1));
}

void
client__deliver_tick(struct eagre_client *client)
{
    for (uint32_t i = 0; i < CLIENT_PRODUCERS_MAX; i++) {
        struct eagre_producer *producer = client->producers[i];
        if (producer == NULL || producer->pending == 0)
            continue;
        for (uint32_t p = 0; p < producer->topic->place_count; p++)
            deliver_tick_partition(client, &producer->partitions[p]);
        client_tick_by(client, client->now_ns + CLIENT_TICK_NS);
    }
}
