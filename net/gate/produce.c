/* Produce: records are received in place, checked, and sent to their log tile as pointers into the
 * receive block, which stays until the answer. The reply is written while the request is read; each
 * answer fills in its hole. Errors are per partition.
 *
 * Order of checks (as Kafka's): acks, topic and partition, size, one batch with magic 2, header,
 * transactional or not as the request is, CRC. Records that are refused before they are here are
 * skipped without being stored. */
#include "net/gate/gate_internal.h"

#include "engine/record/record_batch.h"

/* Why the gate itself refused a batch, in the words of the metric. */
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
    default:
        return METRIC_REFUSED_INVALID;
    }
}

/* An error that leaves only the partition's answer to be written. */
static void
produce_refuse(struct gate *gate, struct gate_connection *connection, uint8_t *hole, int16_t error)
{
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    const struct kafka_produce_result result = {
        .error = kafka_error_for_version(error, KAFKA_PRODUCE, slot->version),
        .base_offset = -1,
        .log_append_time_ms = -1,
        .log_start_offset = -1,
    };

    produce_reply__fill(hole, slot->version, &result);
    slot->flags |= SLOT_FAILED;
    gate__count(&gate->counters.batches_refused, 1);
    gate__count_label(gate, BATCHES_REFUSED, produce_reason(error));
    gate__count_label(gate, REQUEST_ERRORS, (uint16_t)result.error);
}

enum step
produce__begin(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    const struct kafka_request_header *header = &connection->header;
    uint32_t slot_idx = slot__open(gate, idx, SLOT_PRODUCE);

    if (slot_idx == GATE_NONE)
        return STEP_WAIT_SLOT;
    connection->slot = slot_idx;
    connection->intake = INTAKE_PRODUCE;
    kafka_produce_parser_init(&connection->parser, header->api_version, header->body_bytes);
    gate__count(&gate->counters.requests_produce, 1);
    return STEP_ON;
}

static void
produce_header(struct gate *gate, uint32_t idx, const struct kafka_produce_step *found)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    struct writer writer = slot__writer(slot);

    connection->acks = found->u.header.acks;
    connection->transactional = found->u.header.transactional_id.at != NULL;
    if (connection->acks == 0)
        slot->flags |= SLOT_NO_REPLY;
    produce_reply__head(&writer, slot->version, slot->correlation_id, found->u.header.topic_count);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
}

/* The topic of the name in the connection; remembered, because a connection mostly writes to the
 * topic it wrote to last. */
static void
produce_topic_find(struct gate *gate, struct gate_connection *connection, struct bytes name)
{
    bool same = connection->topic_named && connection->topic_version == gate->topics.version &&
                connection->topic_name_count == name.count &&
                memcmp(connection->topic_name, name.at, name.count) == 0;

    if (same)
        return;
    bytes_copy(connection->topic_name, sizeof(connection->topic_name), name.at, name.count);
    connection->topic_name_count = (uint8_t)name.count;
    connection->topic = topic_table_find(&gate->topics, name.at, name.count);
    connection->topic_version = gate->topics.version;
    connection->topic_named = true;
}

/* The table may change while a request is read: looked up again whenever its version moved. */
static const struct partition_ref *
produce_partition_find(struct gate *gate, struct gate_connection *connection)
{
    if (UNLIKELY(connection->topic_version != gate->topics.version)) {
        connection->topic = topic_table_find(
            &gate->topics, connection->topic_name, connection->topic_name_count);
        connection->topic_version = gate->topics.version;
    }
    if (connection->topic == TOPIC_NONE)
        return NULL;
    return topic_table_partition(&gate->topics, connection->topic, connection->partition);
}

static enum step
produce_topic(struct gate *gate, uint32_t idx, const struct kafka_produce_step *found)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    struct bytes name = found->u.topic.name;

    if (name.count > TOPIC_NAME_MAX) {
        connection__close(gate, idx, GATE_CLOSE_MALFORMED);
        return STEP_CLOSED;
    }
    produce_topic_find(gate, connection, name);
    struct writer writer = slot__writer(slot);
    produce_reply__topic(&writer, slot->version, name, found->u.topic.partition_count);
    if (found->u.topic.partition_count == 0)
        produce_reply__topic_end(&writer, slot->version);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    return STEP_ON;
}

static enum step
produce_end(struct gate *gate, uint32_t idx, const struct kafka_produce_step *found)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    struct writer writer = slot__writer(slot);
    uint32_t slot_idx = connection->slot;

    uint32_t pause_ms = quota__charge(gate, slot, QUOTA_PRODUCE, slot->request_bytes);

    produce_reply__tail(&writer, slot->version, pause_ms);
    CHECK(!writer.failed);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    connection->slot = GATE_NONE;
    connection->proven = true;
    connection->skip_left = found->skip_bytes;
    connection->skip_next = INTAKE_HEADER;
    connection->intake = found->skip_bytes > 0 ? INTAKE_SKIP : INTAKE_HEADER;
    slot__complete(gate, slot_idx);
    return STEP_ON;
}

enum step
produce__item(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    const struct gate_block *block = gate__block(gate, connection->block);
    struct kafka_produce_step found;
    uint32_t room = connection->parser.partitions_left > 0
                        ? PRODUCE_REPLY_PARTITION_BYTES + PRODUCE_REPLY_TAIL_BYTES
                        : PRODUCE_REPLY_HEAD_BYTES + PRODUCE_REPLY_TOPIC_BYTES;

    if (connection->parser.partitions_left == 0 && connection->parser.topics_left == 0 &&
        slot->reply_bytes > 0)
        room = PRODUCE_REPLY_TAIL_BYTES;
    if (UNLIKELY(slot->reply_bytes + room > 1u << GATE_ENTRY_BITS)) {
        connection__close(gate, idx, GATE_CLOSE_LIMIT);
        return STEP_CLOSED;
    }
    if (!slot__room(gate, slot, room))
        return STEP_WAIT_STATE;
    enum kafka_produce_event event = kafka_produce_parser_next(&connection->parser,
                                                               block->at + connection->parse,
                                                               connection->end - connection->parse,
                                                               &found);
    connection->parse += event == KAFKA_PRODUCE_MALFORMED ? 0 : found.consumed_bytes;
    switch (event) {
    case KAFKA_PRODUCE_HEADER:
        produce_header(gate, idx, &found);
        return STEP_ON;
    case KAFKA_PRODUCE_TOPIC:
        return produce_topic(gate, idx, &found);
    case KAFKA_PRODUCE_PARTITION:
        connection->partition = found.u.partition.index;
        connection->records_bytes = found.skip_bytes;
        connection->records_checked = false;
        connection->intake = INTAKE_RECORDS;
        return STEP_ON;
    case KAFKA_PRODUCE_END:
        return produce_end(gate, idx, &found);
    case KAFKA_PRODUCE_MORE:
        connection->need = (uint32_t)max_u64(found.need_bytes,
                                             connection->end - connection->parse + 1u);
        return STEP_MORE;
    case KAFKA_PRODUCE_MALFORMED:
        break;
    }
    connection__close(gate, idx, GATE_CLOSE_MALFORMED);
    return STEP_CLOSED;
}

/* What is known to be wrong before the records are looked at; 0: nothing. */
static int16_t
produce_error_early(struct gate *gate,
                    struct gate_connection *connection,
                    const struct partition_ref *ref)
{
    if (connection->acks < -1 || connection->acks > 1)
        return KAFKA_ERROR_INVALID_REQUIRED_ACKS;
    if (ref == NULL)
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    if (topic_table_at(&gate->topics, connection->topic)->is_closed)
        return KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    if (connection->records_bytes >
        topic_table_at(&gate->topics, connection->topic)->batch_bytes_max)
        return KAFKA_ERROR_MESSAGE_TOO_LARGE;
    return KAFKA_ERROR_NONE;
}

/* Checks the 61 header bytes of a batch of records_bytes. */
static int16_t
produce_error_header(const struct gate_connection *connection,
                     const uint8_t *batch,
                     int16_t version)
{
    struct record_batch_info info;
    enum rc rc = record_batch_check(batch, connection->records_bytes, &info);

    if (rc != RC_OK)
        return kafka_error_from_rc(rc, KAFKA_PRODUCE, version);
    /* Request and batch must agree; whether the transaction is open, the log tile knows. */
    if (((info.attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0) != connection->transactional)
        return KAFKA_ERROR_INVALID_TXN_STATE;
    if (!kafka_produce_codec_ok(version, (uint8_t)record_batch_codec(&info)))
        return KAFKA_ERROR_UNSUPPORTED_COMPRESSION_TYPE;
    return KAFKA_ERROR_NONE;
}

/* Leaves the records that follow unread and answers their partition with an error. */
static enum step
produce_skip(struct gate *gate, struct gate_connection *connection, int16_t error)
{
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    struct writer writer = slot__writer(slot);
    uint32_t hole = produce_reply__partition(&writer, slot->version, connection->partition);

    if (connection->parser.partitions_left == 0)
        produce_reply__topic_end(&writer, slot->version);
    CHECK(!writer.failed);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    produce_refuse(gate, connection, slot->reply + hole, error);
    connection->skip_left = connection->records_bytes;
    connection->skip_next = INTAKE_PRODUCE;
    connection->intake = INTAKE_SKIP;
    return STEP_ON;
}

/* Sends the checked records at parse to their log tile. */
static enum step
produce_send(struct gate *gate, struct gate_connection *connection, const struct partition_ref *ref)
{
    struct gate_slot *slot = gate__slot(gate, connection->slot);
    struct gate_block *block = gate__block(gate, connection->block);
    struct request *request = link__reserve(gate, ref->log_tile, 1);

    if (request == NULL)
        return STEP_WAIT_LINK;
    struct writer writer = slot__writer(slot);
    uint32_t hole = produce_reply__partition(&writer, slot->version, connection->partition);
    if (connection->parser.partitions_left == 0)
        produce_reply__topic_end(&writer, slot->version);
    CHECK(!writer.failed);
    slot->reply_bytes = (uint32_t)writer_count(&writer);
    slot->outstanding++;
    block->refs++;
    request->kind = REQUEST_PRODUCE;
    request->flags = connection->acks == 0 ? REQUEST_FLAG_NO_ACK : 0;
    request->slot = ref->slot;
    request->incarnation = ref->incarnation;
    request->ctx = gate__ctx(connection->slot, slot->generation, hole, connection->block);
    request->u.produce.batch = block->at + connection->parse;
    request->u.produce.batch_bytes = connection->records_bytes;
    gate__count(&gate->counters.batches, 1);
    gate__count(&gate->counters.batch_bytes, connection->records_bytes);
    gate__stamp(gate, TRACE_HAND_OVER, request->ctx);
    connection->parse += connection->records_bytes;
    connection->intake = INTAKE_PRODUCE;
    return STEP_ON;
}

enum step
produce__records(struct gate *gate, uint32_t idx)
{
    struct gate_connection *connection = gate__connection(gate, idx);
    const struct gate_block *block = gate__block(gate, connection->block);
    const uint8_t *batch = block->at + connection->parse;
    uint32_t available = connection->end - connection->parse;
    const struct partition_ref *ref = produce_partition_find(gate, connection);
    int16_t version = connection->header.api_version;

    if (connection->records_checked && ref != NULL)
        return produce_send(gate, connection, ref);
    int16_t error = produce_error_early(gate, connection, ref);
    if (error != KAFKA_ERROR_NONE)
        return produce_skip(gate, connection, error);
    uint32_t header_bytes = min_u32(connection->records_bytes, RECORD_BATCH_HEADER_BYTES);
    if (available < header_bytes) {
        connection->need = header_bytes;
        return STEP_MORE;
    }
    error = produce_error_header(connection, batch, version);
    if (error != KAFKA_ERROR_NONE)
        return produce_skip(gate, connection, error);
    connection->proven = true; /* a request for a partition that exists, with a sane batch header */
    if (available < connection->records_bytes) {
        connection->need = connection->records_bytes;
        return STEP_MORE;
    }
    gate__stamp(gate, TRACE_RECEIVE, idx);
    if (!record_batch_crc_ok(batch, connection->records_bytes))
        return produce_skip(gate, connection, KAFKA_ERROR_CORRUPT_MESSAGE);
    gate__stamp(gate, TRACE_CHECK, idx);
    connection->records_checked = true;
    return produce_send(gate, connection, ref);
}

void
produce__answered(struct gate *gate, const struct response *response)
{
    uint32_t slot_idx = (uint32_t)(response->ctx >> 48);
    struct gate_slot *slot = gate__slot(gate, slot_idx);
    uint32_t hole = (uint32_t)(response->ctx >> 16) & ((1u << GATE_ENTRY_BITS) - 1);
    bool failed = response->rc != RC_OK && response->rc != RC_SEQUENCE_DUPLICATE;
    struct kafka_produce_result result = {
        .error = KAFKA_ERROR_NONE,
        .base_offset = (int64_t)response->base_offset,
        .log_append_time_ms = response->u.append_time_ms,
        .log_start_offset = (int64_t)response->start_offset,
    };

    CHECK(slot->kind == SLOT_PRODUCE);
    CHECK((slot->generation & 0xfff) == ((response->ctx >> 36) & 0xfff));
    if (failed) {
        result.error = kafka_error_from_rc((enum rc)response->rc, KAFKA_PRODUCE, slot->version);
        result.base_offset = -1;
        result.log_append_time_ms = -1;
        result.log_start_offset = -1;
        slot->flags |= SLOT_FAILED;
        gate__count(&gate->counters.batches_refused, 1);
        gate__count_label(gate, REQUEST_ERRORS, (uint16_t)result.error);
    }
    produce_reply__fill(slot->reply + hole, slot->version, &result);
    connection__block_drop(gate, (uint32_t)response->ctx & 0xffff);
    slot__answered(gate, slot_idx);
}
