/* A scripted producer: batches in order per partition, some requests ahead of the answers.
 *
 * Every lane keeps its unacknowledged batches in order; the first sent_count of them are under way.
 * After a refusal nothing new is sent until all requests under way are answered; then the lanes
 * begin again with their first unacknowledged batch, as idempotent clients must. */
#include "engine_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <string.h>

#define FLIGHT_IDEMPOTENT_MAX 5u

static bool
producer_is_done(const struct client *client)
{
    for (uint32_t i = 0; i < client->lane_count; i++)
        if (client->lanes[i].made < client->script.batches || client->lanes[i].batch_count > 0)
            return false;
    return true;
}

void
client__producer_begin(struct client *client)
{
    if (!client->script.is_idempotent || client->producer_id >= 0)
        return;
    struct kafka_init_producer_id_request request;
    kafka_init_producer_id_request_defaults(&request);
    client__ask(client, KAFKA_INIT_PRODUCER_ID, &request);
    client->state = CLIENT_IDENT;
    client->wake_ns = SIM_NEVER_NS;
}

static void
lane_begin_again(struct client *client, struct client_lane *lane)
{
    if (!client->script.is_stubborn) {
        /* Gives up what is under way; what happened to it nobody knows. */
        lane->batch_count -= lane->sent_count;
        memmove(lane->batches,
                lane->batches + lane->sent_count,
                lane->batch_count * sizeof(lane->batches[0]));
    }
    lane->sent_count = 0;
}

static void
producer_begin_again(struct client *client)
{
    for (uint32_t i = 0; i < client->lane_count; i++)
        lane_begin_again(client, &client->lanes[i]);
    memset(client->flights, 0, sizeof(client->flights));
    client->has_failed = false;
}

void
client__producer_lost(struct client *client)
{
    producer_begin_again(client);
}

static void
lane_make_batch(struct client *client, struct client_lane *lane)
{
    struct sim_rng *rng = &client->rng;
    struct engine_batch batch = {
        .topic = lane->topic,
        .partition = lane->partition,
        .producer = client->script.number,
        .sequence = lane->made,
        .records = (uint32_t)sim_rng_between(rng, 1, client->script.records_max),
        .value_bytes = (uint32_t)sim_rng_between(rng, 12, client->script.value_bytes_max),
        .timestamp_ms = SIM_WALL_MS + (int64_t)(client__now(client) / NS_PER_MS),
        .producer_id = client->producer_id,
        .base_sequence = client->script.is_idempotent ? lane->sequence : -1,
        .producer_epoch = client->script.is_idempotent ? client->producer_epoch : -1,
    };
    lane->sequence += (int32_t)batch.records;
    lane->made++;
    lane->batches[lane->batch_count++] = engine_model_add(client->of->model, &batch);
}

/* The lane's next batch to send, made when there is none; 0: nothing more for now. */
static uint32_t
lane_next(struct client *client, struct client_lane *lane)
{
    if (lane->sent_count == lane->batch_count) {
        if (lane->made == client->script.batches || lane->batch_count == CLIENT_LANE_BATCHES_MAX)
            return 0;
        lane_make_batch(client, lane);
    }
    uint32_t number = lane->batches[lane->sent_count];
    struct engine_batch *batch = engine_model_batch(client->of->model, number);
    if (batch->attempts++ == 0)
        batch->sent_ns = client__now(client);
    lane->sent_count++;
    return number;
}

/* One topic entry with one partition per lane: a request may name a topic more than once only in
 * different requests, so lanes of the same topic share its entry. */
struct produce_parts {
    struct kafka_produce_request request;
    struct kafka_produce_request_topic topics[CLIENT_LANES_MAX];
    struct kafka_produce_request_partition partitions[CLIENT_LANES_MAX][CLIENT_LANES_MAX];
    uint32_t topic_idx[CLIENT_LANES_MAX];
};

static void
parts_add(struct produce_parts *parts,
          const struct engine_model *model,
          const struct client_lane *lane,
          struct bytes records)
{
    uint32_t at = 0;
    while (at < parts->request.topics.count && parts->topic_idx[at] != lane->topic)
        at++;
    struct kafka_produce_request_topic *topic = &parts->topics[at];
    if (at == parts->request.topics.count) {
        parts->request.topics.count++;
        parts->topic_idx[at] = lane->topic;
        kafka_produce_request_topic_defaults(topic);
        topic->name = client__name(&model->topics[lane->topic]);
        topic->partitions.at = parts->partitions[at];
    }
    struct kafka_produce_request_partition *partition =
        &parts->partitions[at][topic->partitions.count++];
    kafka_produce_request_partition_defaults(partition);
    partition->index = (int32_t)lane->partition;
    partition->records = records;
}

static bool
producer_send(struct client *client)
{
    static uint8_t memory[CLIENT_LANES_MAX][ENGINE_BATCH_BYTES_MAX];
    struct produce_parts parts;
    struct client_flight flight = {0};
    uint32_t first = (uint32_t)sim_rng_below(&client->rng, client->lane_count);
    uint32_t wanted = (uint32_t)sim_rng_between(&client->rng, 1, client->lane_count);
    uint32_t count = 0;

    kafka_produce_request_defaults(&parts.request);
    parts.request.acks = -1;
    parts.request.timeout_ms = 30000;
    parts.request.topics.at = parts.topics;
    parts.request.topics.count = 0;
    for (uint32_t i = 0; i < client->lane_count && count < wanted; i++) {
        uint32_t lane_idx = (first + i) % client->lane_count;
        uint32_t number = lane_next(client, &client->lanes[lane_idx]);
        if (number == 0)
            continue;
        uint32_t bytes = engine_model_build(client->of->model, number, memory[lane_idx]);
        flight.batches[lane_idx] = number;
        parts_add(&parts,
                  client->of->model,
                  &client->lanes[lane_idx],
                  (struct bytes){memory[lane_idx], bytes});
        count++;
    }
    if (count == 0)
        return false;
    flight.number = client__ask(client, KAFKA_PRODUCE, &parts.request);
    uint32_t slot = 0;
    while (client->flights[slot].number != 0)
        slot++;
    client->flights[slot] = flight;
    return true;
}

void
client__producer_run(struct client *client)
{
    uint32_t flight_max = client->script.flight_max;
    if (client->script.is_idempotent)
        flight_max = min_u32(flight_max, FLIGHT_IDEMPOTENT_MAX);

    client->wake_ns = SIM_NEVER_NS; /* an answer wakes it */
    if (client->has_failed && client->stream.pending_count == 0)
        producer_begin_again(client);
    if (producer_is_done(client)) {
        client->state = CLIENT_DONE;
        stream_shut(&client->stream, false);
        return;
    }
    if (client->has_failed || client->stream.pending_count >= flight_max ||
        !stream_has_room(&client->stream, CLIENT_LANES_MAX * ENGINE_BATCH_BYTES_MAX))
        return;
    if (producer_send(client))
        client->wake_ns = client__now(client) +
                          sim_rng_between(&client->rng, 0, client->script.think_ns);
}

/* ---- answers ---- */

static void
lane_take(struct client_lane *lane, uint32_t number)
{
    for (uint32_t i = 0; i < lane->batch_count; i++) {
        if (lane->batches[i] != number)
            continue;
        CHECK(i < lane->sent_count);
        lane->batch_count--;
        lane->sent_count--;
        memmove(lane->batches + i,
                lane->batches + i + 1,
                (lane->batch_count - i) * sizeof(lane->batches[0]));
        return;
    }
    CHECK(!"an acknowledged batch is one of its lane");
}

static bool
lane_answer(struct client *client,
            struct client_lane *lane,
            uint32_t number,
            const struct kafka_produce_response_partition *answer)
{
    bool is_first = lane->batches[0] == number;

    sim_trace_add(&client->of->world->trace,
                  "client_ack",
                  number,
                  (uint64_t)answer->error,
                  (uint64_t)answer->base_offset);
    if (answer->error == KAFKA_ERROR_NONE) {
        if (client->script.is_idempotent && !is_first)
            return engine_model_fail(client->of->model,
                                     "batch %u of an idempotent producer was acknowledged before "
                                     "batch %u",
                                     number,
                                     lane->batches[0]);
        lane_take(lane, number);
        return engine_model_ack(
            client->of->model, number, answer->base_offset, client__now(client));
    }
    client->refused++;
    bool follows = client->script.is_idempotent && !is_first &&
                   answer->error == KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (!follows && !client__may_retry(client, answer->error))
        return client__fail(client, "produce", answer->error);
    client->has_failed = true;
    return true;
}

/* The partition of an answer that a lane's batch went to; NULL: not there. */
static const struct kafka_produce_response_partition *
find_answer(const struct client *client,
            const struct client_lane *lane,
            const struct kafka_produce_response *answer)
{
    struct bytes name = client__name(&client->of->model->topics[lane->topic]);
    for (uint32_t t = 0; t < answer->topics.count; t++) {
        const struct kafka_produce_response_topic *topic = &answer->topics.at[t];
        if (topic->name.count != name.count || memcmp(topic->name.at, name.at, name.count) != 0)
            continue;
        for (uint32_t p = 0; p < topic->partitions.count; p++)
            if (topic->partitions.at[p].index == (int32_t)lane->partition)
                return &topic->partitions.at[p];
    }
    return NULL;
}

static bool
produce_answer(struct client *client,
               struct client_flight *flight,
               const struct kafka_produce_response *answer)
{
    uint32_t expected = 0;
    uint32_t found = 0;

    for (uint32_t i = 0; i < client->lane_count; i++) {
        if (flight->batches[i] == 0)
            continue;
        expected++;
        const struct kafka_produce_response_partition *partition = find_answer(
            client, &client->lanes[i], answer);
        if (partition == NULL)
            continue;
        found++;
        if (!lane_answer(client, &client->lanes[i], flight->batches[i], partition))
            return false;
    }
    if (found != expected)
        return engine_model_fail(client->of->model,
                                 "client %u: a produce answer with %u partitions instead of %u",
                                 client->script.number,
                                 found,
                                 expected);
    flight->number = 0;
    /* After a refusal the lanes wait a little before they begin again. */
    client->wake_ns = client->has_failed && client->stream.pending_count == 0
                          ? client__now(client) +
                                sim_rng_between(&client->rng, NS_PER_MS, 50 * NS_PER_MS)
                          : min_u64(client->wake_ns,
                                    client__now(client) +
                                        sim_rng_between(&client->rng, 0, client->script.think_ns));
    return true;
}

static bool
ident_answer(struct client *client, const struct kafka_init_producer_id_response *answer)
{
    if (answer->error != KAFKA_ERROR_NONE) {
        if (!client__may_retry(client, answer->error) &&
            answer->error != KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE)
            return client__fail(client, "init producer id", answer->error);
        client__again(client, false);
        return true;
    }
    if (!engine_model_producer_id(client->of->model, answer->producer_id))
        return false;
    client->producer_id = answer->producer_id;
    client->producer_epoch = answer->producer_epoch;
    client->state = CLIENT_RUN;
    client->wake_ns = 0;
    return true;
}

bool
client__producer_answer(struct client *client, const struct stream_answer *answer)
{
    if (answer->to.request.api_key == KAFKA_INIT_PRODUCER_ID)
        return ident_answer(client, &answer->u.init_producer_id);
    for (uint32_t i = 0; i < ARRAY_COUNT(client->flights); i++)
        if (client->flights[i].number == answer->to.number)
            return produce_answer(client, &client->flights[i], &answer->u.produce);
    CHECK(!"every pending produce request has a flight");
    return false;
}
