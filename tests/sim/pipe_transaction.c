/* Transactions of scripted clients: writers make them up, workers make them of what they read. */
#include "pipe_client.h"

#include "engine/base/check.h"
#include "engine/record/record_builder.h"
#include "net/kafka/kafka_error.h"

#include <stdio.h>
#include <string.h>

#define RETRY_NS (20 * NS_PER_MS)
#define FENCED_NS (400 * NS_PER_MS)

/* ---- what is written ---- */

static struct pipe_part *
part_of(struct pipe_client *client, uint32_t partition)
{
    for (uint32_t i = 0; i < client->part_count; i++)
        if (client->parts[i].partition == partition)
            return &client->parts[i];
    client->parts[client->part_count] = (struct pipe_part){.partition = partition};
    return &client->parts[client->part_count++];
}

static void
add_record(struct pipe_client *client, const struct history_record *record)
{
    struct pipe_part *part = part_of(client, record->partition);
    if (part->count < PIPE_BATCH_RECORDS_MAX)
        part->records[part->count++] = history_add_record(client->of->history, record);
}

static void
make_up(struct pipe_client *client)
{
    struct sim_rng *rng = &client->rng;
    struct history_record record = {.transaction = client->transaction, .from = -1, .key = -1};
    uint32_t count = (uint32_t)sim_rng_between(rng, 1, 4);

    record.wants_next = true;
    for (uint32_t i = 0; i < count; i++) {
        record.partition = (uint32_t)sim_rng_below(rng, 2);
        add_record(client, &record);
    }
    record.wants_next = false;
    record.partition = PIPE_KEYS_PARTITION;
    count = (uint32_t)sim_rng_below(rng, 4);
    for (uint32_t i = 0; i < count; i++) {
        record.key = (int32_t)(client->script.id * PIPE_KEYS_PER_ID +
                               sim_rng_below(rng, PIPE_KEYS_PER_ID));
        add_record(client, &record);
    }
}

/* There, then back, then nowhere: "in" holds origins and what came back. */
static void
transform(struct pipe_client *client)
{
    uint32_t from = client->script.partition;
    for (uint32_t i = 0; i < client->input_count; i++) {
        const struct history_record *source = history_record(client->of->history,
                                                             client->inputs[i]);
        const struct history_record record = {
            .transaction = client->transaction,
            .partition = (from < 2 ? 2 : 0) + (uint32_t)sim_rng_below(&client->rng, 2),
            .key = -1,
            .group = client->script.group,
            .from = (int32_t)from,
            .from_offset = client->input_offsets[i],
            .wants_next = from < 2,
        };
        if (source->wants_next)
            add_record(client, &record);
    }
}

void
pipe__transaction_begin(struct pipe_client *client)
{
    client->transaction = history_add_transaction(client->of->history, client->session);
    client->part_count = 0;
    client->end_attempts = 0;
    client->offset_write = HISTORY_NONE;
    client->wants_commit = !sim_rng_chance(&client->rng, client->script.abort_ppm);
    if (client->script.kind == PIPE_WORKER) {
        client->commit_offset = client->positions[client->script.partition];
        transform(client);
    } else {
        make_up(client);
    }
    pipe__go(client, client->part_count > 0 ? PIPE_ADD : PIPE_ADD_OFFSETS);
}

/* The value: the record's number, then filler. */
static struct bytes
build(struct pipe_client *client, const struct pipe_part *part, uint32_t place)
{
    static uint8_t value[16384];
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;
    uint8_t *memory = client->batches[place];

    options.producer_id = client->producer_id;
    options.producer_epoch = client->producer_epoch;
    options.base_sequence = client->sequences[part->partition];
    options.attributes = RECORD_ATTRIBUTES_TRANSACTIONAL;
    record_builder_begin(&builder, memory, PIPE_BATCH_BYTES, &options);
    for (uint32_t i = 0; i < part->count; i++) {
        int32_t key = history_record(client->of->history, part->records[i])->key;
        uint32_t bytes = 4 + part->records[i] * 37u % client->script.value_bytes_max;
        char text[16];
        memset(value, (int)(part->records[i] & 0x7f), bytes);
        put_u32_le(value, part->records[i]);
        (void)snprintf(text, sizeof(text), "key-%d", key);
        struct record record = {.timestamp_ms = SIM_WALL_MS + part->records[i],
                                .value = {value, bytes}};
        if (key >= 0)
            record.key = pipe__text(text);
        CHECK(record_builder_add(&builder, &record));
    }
    return (struct bytes){memory, record_builder_finish(&builder)};
}

/* ---- requests ---- */

static void
init_ask(struct pipe_client *client)
{
    struct kafka_init_producer_id_request request;
    kafka_init_producer_id_request_defaults(&request);
    request.transactional_id = pipe__id(client);
    request.transaction_timeout_ms = client->script.timeout_ms;
    client->session = history_add_session(client->of->history, client->script.id);
    pipe__ask(client, KAFKA_INIT_PRODUCER_ID, 4, &request);
}

static void
add_ask(struct pipe_client *client)
{
    struct kafka_add_partitions_to_txn_request request;
    struct kafka_add_partitions_to_txn_request_topic topics[PIPE_PARTITIONS];
    int32_t indexes[PIPE_PARTITIONS];

    kafka_add_partitions_to_txn_request_defaults(&request);
    request.v3_and_below_transactional_id = pipe__id(client);
    request.v3_and_below_producer_id = client->producer_id;
    request.v3_and_below_producer_epoch = client->producer_epoch;
    request.v3_and_below_topics.at = topics;
    request.v3_and_below_topics.count = client->part_count;
    for (uint32_t i = 0; i < client->part_count; i++) {
        indexes[i] = pipe__index(client->parts[i].partition);
        kafka_add_partitions_to_txn_request_topic_defaults(&topics[i]);
        topics[i].name = pipe__topic(client->parts[i].partition);
        topics[i].partitions.at = &indexes[i];
        topics[i].partitions.count = 1;
    }
    pipe__ask(client, KAFKA_ADD_PARTITIONS_TO_TXN, 3, &request);
}

static void
produce_ask(struct pipe_client *client)
{
    struct kafka_produce_request request;
    struct kafka_produce_request_topic topics[PIPE_PARTITIONS];
    struct kafka_produce_request_partition partitions[PIPE_PARTITIONS];
    uint32_t count = 0;

    kafka_produce_request_defaults(&request);
    request.transactional_id = pipe__id(client);
    request.acks = -1;
    request.timeout_ms = 30000;
    for (uint32_t i = 0; i < client->part_count; i++) {
        const struct pipe_part *part = &client->parts[i];
        if (part->acked)
            continue;
        kafka_produce_request_topic_defaults(&topics[count]);
        kafka_produce_request_partition_defaults(&partitions[count]);
        topics[count].name = pipe__topic(part->partition);
        topics[count].partitions.at = &partitions[count];
        topics[count].partitions.count = 1;
        partitions[count].index = pipe__index(part->partition);
        partitions[count].records = build(client, part, i);
        count++;
    }
    request.topics.at = topics;
    request.topics.count = count;
    pipe__ask(client, KAFKA_PRODUCE, 9, &request);
}

static void
add_offsets_ask(struct pipe_client *client)
{
    struct kafka_add_offsets_to_txn_request request;
    kafka_add_offsets_to_txn_request_defaults(&request);
    request.transactional_id = pipe__id(client);
    request.producer_id = client->producer_id;
    request.producer_epoch = client->producer_epoch;
    request.group_id = pipe__group(client->script.group);
    pipe__ask(client, KAFKA_ADD_OFFSETS_TO_TXN, 3, &request);
}

static void
txn_commit_ask(struct pipe_client *client)
{
    struct kafka_txn_offset_commit_request request;
    struct kafka_txn_offset_commit_request_topic topic;
    struct kafka_txn_offset_commit_request_partition partition;
    const struct history_offset write = {.group = client->script.group,
                                         .partition = client->script.partition,
                                         .value = client->commit_offset,
                                         .transaction = client->transaction};

    kafka_txn_offset_commit_request_defaults(&request);
    kafka_txn_offset_commit_request_topic_defaults(&topic);
    kafka_txn_offset_commit_request_partition_defaults(&partition);
    partition.index = pipe__index(client->script.partition);
    partition.committed_offset = client->commit_offset;
    topic.name = pipe__topic(client->script.partition);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.transactional_id = pipe__id(client);
    request.group_id = pipe__group(client->script.group);
    request.producer_id = client->producer_id;
    request.producer_epoch = client->producer_epoch;
    request.topics.at = &topic;
    request.topics.count = 1;
    if (client->offset_write == HISTORY_NONE)
        client->offset_write = history_add_offset(client->of->history, &write);
    pipe__ask(client, KAFKA_TXN_OFFSET_COMMIT, 3, &request);
}

static void
end_ask(struct pipe_client *client)
{
    struct kafka_end_txn_request request;
    struct history_transaction *of = history_transaction(client->of->history, client->transaction);

    kafka_end_txn_request_defaults(&request);
    request.transactional_id = pipe__id(client);
    request.producer_id = client->producer_id;
    request.producer_epoch = client->producer_epoch;
    request.committed = client->wants_commit;
    of->is_void |= !client->wants_commit;
    if (client->wants_commit && of->commit_asked == HISTORY_NEVER)
        of->commit_asked = ++client->of->history->tick;
    client->end_attempts++;
    pipe__ask(client, KAFKA_END_TXN, 3, &request);
}

void
pipe__transaction_ask(struct pipe_client *client)
{
    static void (*const asks[PIPE_PHASES])(struct pipe_client *) = {
        [PIPE_INIT] = init_ask,
        [PIPE_ADD] = add_ask,
        [PIPE_PRODUCE] = produce_ask,
        [PIPE_ADD_OFFSETS] = add_offsets_ask,
        [PIPE_TXN_COMMIT] = txn_commit_ask,
        [PIPE_END] = end_ask,
    };
    if (client->phase == PIPE_INIT && client->of->closing) {
        pipe__go(client, PIPE_DONE);
        return;
    }
    CHECK(asks[client->phase] != NULL);
    asks[client->phase](client);
}

/* ---- answers ---- */

/* What a client must expect when another one took its id, or its time was up. */
static bool
is_fencing(int16_t error)
{
    switch (error) {
    case KAFKA_ERROR_INVALID_PRODUCER_EPOCH:
    case KAFKA_ERROR_PRODUCER_FENCED:
    case KAFKA_ERROR_INVALID_TXN_STATE:
    case KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING:
    case KAFKA_ERROR_TRANSACTION_ABORTABLE:
        return true;
    default:
        return false;
    }
}

/* False: the answer was no success, and what follows is decided. *ret_good: no breach. */
static bool
check(struct pipe_client *client, const char *what, int16_t error, bool *ret_good)
{
    *ret_good = true;
    if (error == KAFKA_ERROR_NONE)
        return true;
    if (pipe__may_retry(error)) {
        pipe__pause(client, RETRY_NS);
    } else if (is_fencing(error)) {
        struct history *history = client->of->history;
        if (client->phase == PIPE_END && client->end_attempts == 1)
            history_transaction(history, client->transaction)->is_void = true;
        client->of->seen_fences++;
        pipe__restart(client, FENCED_NS);
    } else {
        *ret_good = pipe__fail(client, what, error);
    }
    return false;
}

static bool
init_answer(struct pipe_client *client, const struct kafka_init_producer_id_response *answer)
{
    bool good;
    if (!check(client, "InitProducerId", answer->error, &good))
        return good;
    struct history_session *session = history_session(client->of->history, client->session);
    session->producer_id = answer->producer_id;
    session->epoch = answer->producer_epoch;
    session->answered = ++client->of->history->tick;
    client->producer_id = answer->producer_id;
    client->producer_epoch = answer->producer_epoch;
    memset(client->sequences, 0, sizeof(client->sequences));
    if (client->script.kind == PIPE_WORKER)
        pipe__go(client, PIPE_PLACE);
    else
        pipe__transaction_begin(client);
    return true;
}

static bool
add_answer(struct pipe_client *client, const struct kafka_add_partitions_to_txn_response *answer)
{
    bool good = true;
    for (uint32_t i = 0; i < answer->results_by_topic_v3_and_below.count; i++) {
        const struct kafka_add_partitions_to_txn_response_topic_result *topic =
            &answer->results_by_topic_v3_and_below.at[i];
        for (uint32_t k = 0; k < topic->results_by_partition.count; k++)
            if (!check(client,
                       "AddPartitionsToTxn",
                       topic->results_by_partition.at[k].partition_error_code,
                       &good))
                return good;
    }
    pipe__go(client, PIPE_PRODUCE);
    return true;
}

static struct pipe_part *
part_answered(struct pipe_client *client, const struct kafka_produce_response_topic *topic)
{
    for (uint32_t i = 0; i < client->part_count; i++) {
        struct bytes name = pipe__topic(client->parts[i].partition);
        if (topic->partitions.count == 1 && topic->name.count == name.count &&
            memcmp(topic->name.at, name.at, name.count) == 0 &&
            topic->partitions.at[0].index == pipe__index(client->parts[i].partition))
            return &client->parts[i];
    }
    return NULL;
}

static bool
produce_answer(struct pipe_client *client, const struct kafka_produce_response *answer)
{
    bool good = true;
    for (uint32_t i = 0; i < answer->topics.count; i++) {
        struct pipe_part *part = part_answered(client, &answer->topics.at[i]);
        if (part == NULL)
            return history_fail(client->of->history, "Produce answered what nobody asked");
        int16_t error = answer->topics.at[i].partitions.at[0].error;
        if (error == KAFKA_ERROR_DUPLICATE_SEQUENCE_NUMBER)
            error = KAFKA_ERROR_NONE;
        if (!check(client, "Produce", error, &good))
            return good;
        part->acked = true;
    }
    for (uint32_t i = 0; i < client->part_count; i++) {
        if (!client->parts[i].acked)
            return true; /* once more, what is left */
    }
    for (uint32_t i = 0; i < client->part_count; i++)
        client->sequences[client->parts[i].partition] += (int32_t)client->parts[i].count;
    pipe__go(client, client->script.kind == PIPE_WORKER ? PIPE_ADD_OFFSETS : PIPE_END);
    return true;
}

static bool
txn_commit_answer(struct pipe_client *client, const struct kafka_txn_offset_commit_response *answer)
{
    bool good;
    if (answer->topics.count != 1 || answer->topics.at[0].partitions.count != 1)
        return history_fail(client->of->history, "TxnOffsetCommit answered in part");
    if (check(client, "TxnOffsetCommit", answer->topics.at[0].partitions.at[0].error, &good))
        pipe__go(client, PIPE_END);
    return good;
}

static bool
end_answer(struct pipe_client *client, const struct kafka_end_txn_response *answer)
{
    bool good;
    if (!check(client, "EndTxn", answer->error, &good))
        return good;
    struct history *history = client->of->history;
    if (client->wants_commit) {
        history_transaction(history, client->transaction)->committed = ++history->tick;
        client->of->seen_commits++;
    } else {
        client->of->seen_aborts++;
    }
    client->transaction = HISTORY_NONE;
    pipe__pause(client, client->script.think_ns);
    if (client->of->closing)
        pipe__go(client, PIPE_DONE);
    else if (client->script.kind == PIPE_WRITER)
        pipe__transaction_begin(client);
    else
        pipe__go(client, client->wants_commit ? PIPE_FETCH : PIPE_PLACE);
    return true;
}

bool
pipe__transaction_answer(struct pipe_client *client, const struct stream_answer *answer)
{
    bool good;
    switch (client->phase) {
    case PIPE_INIT:
        return init_answer(client, &answer->u.init_producer_id);
    case PIPE_ADD:
        return add_answer(client, &answer->u.add_partitions_to_txn);
    case PIPE_PRODUCE:
        return produce_answer(client, &answer->u.produce);
    case PIPE_ADD_OFFSETS:
        if (check(client, "AddOffsetsToTxn", answer->u.add_offsets_to_txn.error, &good))
            pipe__go(client, PIPE_TXN_COMMIT);
        return good;
    case PIPE_TXN_COMMIT:
        return txn_commit_answer(client, &answer->u.txn_offset_commit);
    default:
        return end_answer(client, &answer->u.end_txn);
    }
}
