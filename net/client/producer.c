/* Producers: records into batches, by partition. A batch is built in place as a RecordBatch v2 and
 * closed when it is full, asked for, or old enough; deliver.c sends it and learns what became of
 * it. Per partition the batches form one list in the order of taking:
 *
 *     oldest ─ SENT, DOUBT, REFUSED ... ─ next: WAITING ... ─ newest: OPEN or WAITING */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#define ID_RETRY_NS (50 * NS_PER_MS)
#define RECORD_FRAME_BYTES (WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES)

/* ---- opening and closing */

static bool
producer_options_take(struct eagre_producer *producer, const struct eagre_producer_options *given)
{
    struct eagre_producer_options *options = &producer->options;
    uint32_t packet_bytes = producer->client->datagram_bytes_max - WIRE_HEADER_BYTES -
                            WIRE_SEQUENCE_BYTES - WIRE_TAG_BYTES - RECORD_FRAME_BYTES;

    bytes_copy(options, sizeof(*options), given, min_u64(given->struct_bytes, sizeof(*options)));
    options->batch_bytes = options->batch_bytes != 0 ? options->batch_bytes : packet_bytes;
    options->batch_count = options->batch_count != 0 ? options->batch_count : 256;
    options->delivery_timeout_ms = options->delivery_timeout_ms != 0 ? options->delivery_timeout_ms
                                                                     : 120000;
    options->retry_ms = options->retry_ms != 0 ? options->retry_ms : 20;
    size_t name_bytes = options->topic != NULL ? strlen(options->topic) : 0;
    return name_bytes > 0 && name_bytes <= WIRE_TOPIC_NAME_MAX && options->batch_bytes >= 256 &&
           options->batch_bytes <= WIRE_MESSAGE_BYTES_MAX && options->batch_count >= 2 &&
           options->batch_count <= CLIENT_BATCHES_MAX && options->retry_ms <= 60000 &&
           options->partitioner >= EAGRE_PARTITIONER_MURMUR2 &&
           options->partitioner <= EAGRE_PARTITIONER_EXPLICIT;
}

static bool
producer_memory(struct eagre_producer *producer)
{
    const struct eagre_producer_options *options = &producer->options;
    uint32_t partitions_max = producer->client->config.partitions_max;
    uint64_t stride = round_up(options->batch_bytes, 64);

    producer->records_per_batch = options->batch_bytes / 16;
    producer->partitions = client_alloc(partitions_max * sizeof(struct producer_partition));
    producer->batches = client_alloc(options->batch_count * sizeof(struct client_batch));
    producer->memory = client_alloc_lazily(options->batch_count * stride);
    producer->opaques = client_alloc_lazily((uint64_t)options->batch_count *
                                            producer->records_per_batch * sizeof(uint64_t));
    if (producer->partitions == NULL || producer->batches == NULL || producer->memory == NULL ||
        producer->opaques == NULL)
        return false;
    for (uint32_t i = 0; i < options->batch_count; i++) {
        struct client_batch *batch = &producer->batches[i];
        batch->idx = i;
        batch->memory = producer->memory + i * stride;
        batch->opaques = producer->opaques + (uint64_t)i * producer->records_per_batch;
        batch->after = i + 1 < options->batch_count ? batch + 1 : NULL;
    }
    producer->free = producer->batches;
    for (uint32_t i = 0; i < partitions_max; i++)
        producer->partitions[i] = (struct producer_partition){.producer = producer,
                                                              .producer_id = -1};
    return true;
}

static void
producer_free(struct eagre_producer *producer)
{
    client_free(producer->partitions);
    client_free(producer->batches);
    client_free(producer->memory);
    client_free(producer->opaques);
    client_free(producer);
}

int
eagre_producer_open(struct eagre_client *client,
                    const struct eagre_producer_options *options,
                    struct eagre_producer **ret_producer,
                    char *why,
                    size_t why_capacity)
{
    uint32_t idx = 0;

    while (idx < client->config.producers_max && client->producers[idx] != NULL)
        idx++;
    if (idx == client->config.producers_max) {
        client_text(why, why_capacity, "producers_max is reached");
        return EAGRE_LIMIT;
    }
    struct eagre_producer *producer = client_alloc(sizeof(*producer));
    if (producer == NULL)
        return EAGRE_NO_MEMORY;
    producer->client = client;
    producer->idx = idx;
    producer->producer_id = -1;
    producer->wants_id = true;
    int rc = producer_options_take(producer, options) ? EAGRE_OK : EAGRE_INVALID;
    if (rc == EAGRE_OK)
        rc = producer_memory(producer) ? EAGRE_OK : EAGRE_NO_MEMORY;
    if (rc == EAGRE_OK) {
        producer->topic = client__topic_get(
            client, producer->options.topic, options->create_topic != 0);
        rc = producer->topic != NULL ? EAGRE_OK : EAGRE_LIMIT;
    }
    if (rc != EAGRE_OK) {
        client_text(why, why_capacity, "producer: %s", eagre_rc_text(rc));
        producer_free(producer);
        return rc;
    }
    producer->options.topic = producer->topic->name;
    client->producers[idx] = producer;
    client_tick_soon(client);
    *ret_producer = producer;
    return EAGRE_OK;
}

/* Takes the producer's partitions out of the client's queue. */
static void
producer_unqueue(struct eagre_producer *producer)
{
    struct eagre_client *client = producer->client;
    struct producer_partition *at = client->queue_first;

    client->queue_first = client->queue_last = NULL;
    while (at != NULL) {
        struct producer_partition *after = at->queue_next;
        at->queue_next = NULL;
        if (at->producer == producer) {
            at->is_queued = false;
        } else {
            if (client->queue_last != NULL)
                client->queue_last->queue_next = at;
            else
                client->queue_first = at;
            client->queue_last = at;
        }
        at = after;
    }
}

void
eagre_producer_close(struct eagre_producer *producer)
{
    if (producer == NULL)
        return;
    struct eagre_client *client = producer->client;

    if (client->sending != NULL && client->sending->producer == producer) {
        /* The server waits for the rest of the message: only a new session gets it out of step. */
        client->sending = NULL;
        client__control_drop(client);
    }
    client__producer_fail_all(producer, EAGRE_CLOSED);
    producer_unqueue(producer);
    client__call_disown(client, false, producer->idx);
    client->producers[producer->idx] = NULL;
    producer_free(producer);
}

/* ---- the id */

void
client__producer_identified(struct eagre_producer *producer, int64_t id, int16_t epoch, int error)
{
    struct eagre_client *client = producer->client;

    if (error != KAFKA_ERROR_NONE) {
        producer->id_retry_at_ns = client->now_ns + ID_RETRY_NS;
        return;
    }
    producer->wants_id = false;
    producer->producer_id = id;
    producer->producer_epoch = epoch;
    for (uint32_t i = 0; i < client->config.partitions_max; i++) {
        struct producer_partition *partition = &producer->partitions[i];
        if (!partition->wants_id && partition->producer_id >= 0)
            continue;
        partition->producer_id = id;
        partition->producer_epoch = epoch;
        partition->sequence_next = partition->stored_next = 0;
        partition->wants_id = partition->is_known = false;
        if (partition->next != NULL)
            client__producer_queue(producer, partition);
    }
}

/* ---- lists */

void
client__producer_queue(struct eagre_producer *producer, struct producer_partition *partition)
{
    struct eagre_client *client = producer->client;

    if (partition->is_queued)
        return;
    partition->is_queued = true;
    partition->queue_next = NULL;
    if (client->queue_last != NULL)
        client->queue_last->queue_next = partition;
    else
        client->queue_first = partition;
    client->queue_last = partition;
}

void
client__producer_unlink(struct eagre_producer *producer, struct client_batch *batch)
{
    struct producer_partition *partition = &producer->partitions[batch->partition];

    if (batch->before != NULL)
        batch->before->after = batch->after;
    else
        partition->oldest = batch->after;
    if (batch->after != NULL)
        batch->after->before = batch->before;
    else
        partition->newest = batch->before;
    if (partition->next == batch)
        partition->next = batch->after;
    if (batch->state == BATCH_OPEN)
        producer->open_count--;
}

static void
producer_batch_free(struct eagre_producer *producer, struct client_batch *batch)
{
    batch->state = BATCH_FREE;
    batch->before = NULL;
    batch->after = producer->free;
    producer->free = batch;
}

void
client__producer_report(struct eagre_producer *producer,
                        struct client_batch *batch,
                        const struct eagre_delivery *outcome)
{
    struct eagre_client *client = producer->client;
    struct eagre_delivery delivery = *outcome;
    uint32_t count = batch->builder.record_count;

    client__producer_unlink(producer, batch);
    delivery.partition = (int32_t)batch->partition;
    delivery.record_count = count;
    delivery.opaques = batch->opaques;
    delivery.elapsed_ns = clock_now_ns(&client->clock) - batch->born_ns;
    producer->pending -= count;
    if (delivery.rc == EAGRE_OK)
        client->stats.records_delivered += count;
    else
        client->stats.records_failed += count;
    client->done++;
    if (producer->options.on_delivery != NULL)
        producer->options.on_delivery(&delivery, producer->options.context);
    producer_batch_free(producer, batch);
}

void
client__producer_fail_all(struct eagre_producer *producer, int rc)
{
    struct eagre_delivery outcome = {.rc = rc, .first_offset = EAGRE_OFFSET_UNKNOWN};

    for (uint32_t i = 0;
         producer->partitions != NULL && i < producer->client->config.partitions_max;
         i++)
        while (producer->partitions[i].oldest != NULL)
            client__producer_report(producer, producer->partitions[i].oldest, &outcome);
}

/* ---- taking records */

static struct client_batch *
producer_batch_begin(struct eagre_producer *producer, uint32_t partition_idx)
{
    struct producer_partition *partition = &producer->partitions[partition_idx];
    struct client_batch *batch = producer->free;

    if (batch == NULL)
        return NULL;
    producer->free = batch->after;
    batch->partition = partition_idx;
    batch->before = partition->newest;
    batch->after = NULL;
    batch->state = BATCH_OPEN;
    batch->tries = 0;
    batch->is_unsure = false;
    batch->sent_bytes = batch->sent_pieces = 0;
    batch->born_ns = clock_now_ns(&producer->client->clock);
    batch->producer = producer;
    record_builder_begin(
        &batch->builder, batch->memory, producer->options.batch_bytes, &RECORD_BUILDER_PLAIN);
    if (partition->newest != NULL)
        partition->newest->after = batch;
    else
        partition->oldest = batch;
    partition->newest = batch;
    if (partition->next == NULL)
        partition->next = batch;
    producer->open_count++;
    client__producer_queue(producer, partition);
    client_tick_by(producer->client,
                   batch->born_ns +
                       min_u64(producer->options.linger_us * NS_PER_US, CLIENT_TICK_NS));
    return batch;
}

void
client__producer_batch_close(struct eagre_producer *producer, struct client_batch *batch)
{
    batch->state = BATCH_WAITING;
    producer->open_count--;
    producer->turn_is_set &= producer->turn != batch->partition;
}

/* Where the record goes; EAGRE_OK or why not. */
static int
producer_choose(struct eagre_producer *producer,
                const struct eagre_record *record,
                uint32_t *ret_partition)
{
    uint32_t count = producer->topic->info.partition_count;

    if (record->partition != EAGRE_PARTITION_ANY) {
        if (record->partition < 0)
            return EAGRE_INVALID;
        if ((uint32_t)record->partition >= count)
            return EAGRE_NOT_FOUND;
        *ret_partition = (uint32_t)record->partition;
        return EAGRE_OK;
    }
    if (producer->options.partitioner == EAGRE_PARTITIONER_EXPLICIT)
        return EAGRE_INVALID;
    if (record->key != NULL) {
        *ret_partition = client__partition_of_key(
            producer->options.partitioner, record->key, record->key_bytes, count);
        return EAGRE_OK;
    }
    if (!producer->turn_is_set || producer->turn >= count) {
        producer->turn = producer->turn_was_set
                             ? (producer->turn + 1) % count
                             : (uint32_t)clock_random_below(&producer->client->clock, count);
        producer->turn_is_set = producer->turn_was_set = true;
    }
    *ret_partition = producer->turn;
    return EAGRE_OK;
}

/* The record in the builder's form. False: its headers are out of range. */
static bool
producer_convert(struct eagre_client *client,
                 const struct eagre_record *from,
                 int64_t now_ms,
                 struct record *ret)
{
    if (from->header_count > CLIENT_HEADERS_MAX)
        return false;
    for (uint32_t i = 0; i < from->header_count; i++) {
        const struct eagre_header *header = &from->headers[i];
        if (header->key == NULL)
            return false;
        client->headers[i] = (struct record_header){
            .key = {(const uint8_t *)header->key, header->key_bytes},
            .value = {header->value, header->value_bytes},
        };
    }
    *ret = (struct record){
        .timestamp_ms = from->timestamp_ms != EAGRE_TIMESTAMP_NOW ? from->timestamp_ms : now_ms,
        .key = {from->key, from->key_bytes},
        .value = {from->value, from->value_bytes},
        .headers = client->headers,
        .header_count = from->header_count,
    };
    return true;
}

static struct client_batch *
producer_open_batch(struct eagre_producer *producer, uint32_t partition)
{
    struct client_batch *batch = producer->partitions[partition].newest;

    return batch != NULL && batch->state == BATCH_OPEN ? batch : NULL;
}

static bool
producer_add(struct eagre_producer *producer,
             struct client_batch *batch,
             const struct record *record,
             uint64_t opaque)
{
    uint32_t idx = batch->builder.record_count;

    if (idx == producer->records_per_batch || !record_builder_add(&batch->builder, record))
        return false;
    batch->opaques[idx] = opaque;
    return true;
}

static int
producer_put(struct eagre_producer *producer, const struct eagre_record *from, int64_t now_ms)
{
    struct record record;
    uint32_t partition = 0;

    if (!producer_convert(producer->client, from, now_ms, &record))
        return EAGRE_INVALID;
    /* Twice, because a record without a key goes on to the next partition when a batch closes. */
    for (uint32_t attempt = 0; attempt < 2; attempt++) {
        int rc = producer_choose(producer, from, &partition);
        if (rc != EAGRE_OK)
            return rc;
        struct client_batch *batch = producer_open_batch(producer, partition);
        if (batch == NULL)
            break;
        if (producer_add(producer, batch, &record, from->opaque))
            return EAGRE_OK;
        client__producer_batch_close(producer, batch);
    }
    struct client_batch *batch = producer_batch_begin(producer, partition);
    if (batch == NULL)
        return EAGRE_AGAIN;
    if (producer_add(producer, batch, &record, from->opaque))
        return EAGRE_OK;
    client__producer_unlink(producer, batch);
    producer_batch_free(producer, batch);
    return EAGRE_TOO_LARGE;
}

/* EAGRE_OK, or why nothing is taken. */
static int
producer_takes(const struct eagre_producer *producer)
{
    const struct client_topic *topic = producer->topic;

    if (producer->client->is_refused)
        return EAGRE_DENIED;
    if (topic->info.partition_count != 0 && topic->rc != EAGRE_NOT_FOUND)
        return EAGRE_OK;
    return topic->rc == EAGRE_OK ? EAGRE_AGAIN : topic->rc;
}

uint32_t
eagre_send(struct eagre_producer *producer,
           const struct eagre_record *records,
           uint32_t count,
           int *ret_why)
{
    int64_t now_ms = clock_wall_ms(&producer->client->clock);
    int rc = producer_takes(producer);
    uint32_t taken = 0;

    while (rc == EAGRE_OK && taken < count) {
        rc = producer_put(producer, &records[taken], now_ms);
        taken += rc == EAGRE_OK;
    }
    producer->pending += taken;
    producer->client->stats.records_taken += taken;
    if (taken < count)
        producer->client->stats.sends_short++;
    if (taken < count && ret_why != NULL)
        *ret_why = rc;
    return taken;
}

void
eagre_flush(struct eagre_producer *producer)
{
    if (producer->open_count == 0)
        return;
    for (uint32_t i = 0; i < producer->topic->place_count; i++) {
        struct client_batch *batch = producer_open_batch(producer, i);
        if (batch == NULL)
            continue;
        client__producer_batch_close(producer, batch);
        client__producer_queue(producer, &producer->partitions[i]);
    }
}

uint64_t
eagre_pending(const struct eagre_producer *producer)
{
    return producer->pending;
}

int
eagre_flush_wait(struct eagre_producer *producer, uint32_t timeout_ms)
{
    struct eagre_client *client = producer->client;
    uint64_t end_ns = clock_now_ns(&client->clock) + timeout_ms * NS_PER_MS;

    for (;;) {
        eagre_flush(producer);
        if (producer->pending == 0)
            return EAGRE_OK;
        if (client->is_refused)
            return EAGRE_DENIED;
        if (clock_now_ns(&client->clock) >= end_ns)
            return EAGRE_TIMED_OUT;
        eagre_poll(client, 1000);
    }
}
