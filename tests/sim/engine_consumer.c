/* A scripted consumer: follows its partitions by fetches that wait, and checks all it is served. */
#include "engine_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <string.h>

#define OFFSETS_EARLIEST (-2)
#define OFFSETS_LATEST (-1)

static bool
consumer_is_done(const struct client *client)
{
    if (!client->of->producers_done)
        return false;
    for (uint32_t i = 0; i < client->lane_count; i++) {
        const struct client_lane *lane = &client->lanes[i];
        const struct engine_topic *topic = &client->of->model->topics[lane->topic];
        if (lane->lost ||
            (!topic->is_memory &&
             lane->offset < engine_model_least(client->of->model, lane->topic, lane->partition)))
            return false;
    }
    return true;
}

static void
note_least(struct client *client)
{
    for (uint32_t i = 0; i < client->lane_count; i++) {
        struct client_lane *lane = &client->lanes[i];
        lane->least = engine_model_least(client->of->model, lane->topic, lane->partition);
    }
}

static void
consumer_fetch(struct client *client)
{
    struct kafka_fetch_request request;
    struct kafka_fetch_request_topic topics[CLIENT_LANES_MAX];
    struct kafka_fetch_request_partition partitions[CLIENT_LANES_MAX];

    kafka_fetch_request_defaults(&request);
    request.max_wait_ms = (int32_t)sim_rng_between(
        &client->rng, 0, (uint64_t)client->script.wait_ms_max);
    request.min_bytes = client->script.min_bytes;
    request.max_bytes = (int32_t)sim_rng_between(&client->rng, 1, 512 * KIB);
    request.topics.at = topics;
    request.topics.count = client->lane_count;
    for (uint32_t i = 0; i < client->lane_count; i++) {
        const struct client_lane *lane = &client->lanes[i];
        kafka_fetch_request_topic_defaults(&topics[i]);
        kafka_fetch_request_partition_defaults(&partitions[i]);
        topics[i].name = client__name(&client->of->model->topics[lane->topic]);
        topics[i].topic_id = client->of->model->topics[lane->topic].id;
        topics[i].partitions.at = &partitions[i];
        topics[i].partitions.count = 1;
        partitions[i].index = (int32_t)lane->partition;
        partitions[i].fetch_offset = lane->offset;
        partitions[i].max_bytes = (int32_t)sim_rng_between(&client->rng, 1, 128 * KIB);
    }
    note_least(client);
    client__ask(client, KAFKA_FETCH, &request);
}

static void
consumer_list(struct client *client, int64_t timestamp_ms)
{
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_request_topic topics[CLIENT_LANES_MAX];
    struct kafka_list_offsets_request_partition partitions[CLIENT_LANES_MAX];

    kafka_list_offsets_request_defaults(&request);
    request.topics.at = topics;
    request.topics.count = client->lane_count;
    for (uint32_t i = 0; i < client->lane_count; i++) {
        const struct client_lane *lane = &client->lanes[i];
        kafka_list_offsets_request_topic_defaults(&topics[i]);
        kafka_list_offsets_request_partition_defaults(&partitions[i]);
        topics[i].name = client__name(&client->of->model->topics[lane->topic]);
        topics[i].partitions.at = &partitions[i];
        topics[i].partitions.count = 1;
        partitions[i].index = (int32_t)lane->partition;
        partitions[i].timestamp_ms = timestamp_ms;
    }
    note_least(client);
    uint64_t number = client__ask(client, KAFKA_LIST_OFFSETS, &request);
    client->flights[0].number = number;
    client->flights[0].batches[0] = timestamp_ms == OFFSETS_EARLIEST;
}

void
client__consumer_run(struct client *client)
{
    bool lost = false;

    client->wake_ns = SIM_NEVER_NS; /* the answer wakes it */
    if (client->stream.pending_count > 0)
        return;
    if (consumer_is_done(client)) {
        client->state = CLIENT_DONE;
        stream_shut(&client->stream, false);
        return;
    }
    for (uint32_t i = 0; i < client->lane_count; i++)
        lost |= client->lanes[i].lost;
    if (lost)
        consumer_list(client, OFFSETS_EARLIEST);
    else if (sim_rng_chance(&client->rng, 50000))
        consumer_list(client, OFFSETS_LATEST);
    else
        consumer_fetch(client);
}

/* ---- answers ---- */

static void
consumer_pause(struct client *client, bool refused)
{
    uint64_t longest_ns = refused ? 50 * NS_PER_MS : client->script.think_ns;
    client->wake_ns = client__now(client) +
                      sim_rng_between(&client->rng, refused ? NS_PER_MS : 0, longest_ns);
}

static bool
lane_out_of_range(struct client *client, struct client_lane *lane)
{
    const struct engine_topic *topic = &client->of->model->topics[lane->topic];
    if (!topic->is_memory && !topic->is_volatile && topic->retention_bytes < 0)
        return engine_model_fail(client->of->model,
                                 "%s/%u: offset %lld is out of range",
                                 topic->name,
                                 lane->partition,
                                 (long long)lane->offset);
    lane->lost = true;
    return true;
}

static bool
lane_fetched(struct client *client,
             struct client_lane *lane,
             const struct kafka_fetch_response_partition *answer,
             bool *refused)
{
    struct engine_reading reading = {
        .topic = lane->topic,
        .partition = lane->partition,
        .offset = lane->offset,
        .records = answer->records,
    };

    if (answer->error == KAFKA_ERROR_OFFSET_OUT_OF_RANGE)
        return lane_out_of_range(client, lane);
    if (answer->error != KAFKA_ERROR_NONE) {
        *refused = true;
        return client__may_retry(client, answer->error) ||
               client__fail(client, "fetch", answer->error);
    }
    return engine_model_told(client->of->model,
                             lane->topic,
                             lane->partition,
                             answer->high_watermark,
                             lane->least) &&
           engine_model_read(client->of->model, &reading, &lane->offset);
}

/* The lane that an answer's partition belongs to; NULL: nobody asked for it. id: NULL, or what
 * stands for the name. */
static struct client_lane *
lane_of(struct client *client, struct bytes name, const struct kafka_uuid *id, int32_t partition)
{
    for (uint32_t i = 0; i < client->lane_count; i++) {
        struct client_lane *lane = &client->lanes[i];
        const struct engine_topic *topic = &client->of->model->topics[lane->topic];
        struct bytes own = client__name(topic);
        bool is_own = id != NULL
                          ? memcmp(id, &topic->id, sizeof(*id)) == 0
                          : own.count == name.count && memcmp(own.at, name.at, own.count) == 0;
        if (is_own && partition == (int32_t)lane->partition)
            return lane;
    }
    (void)engine_model_fail(
        client->of->model, "client %u: nobody asked for this partition", client->script.number);
    return NULL;
}

static bool
fetch_answer(struct client *client, const struct kafka_fetch_response *answer, bool by_id)
{
    bool refused = false;

    if (answer->error != KAFKA_ERROR_NONE)
        return client__fail(client, "fetch", answer->error);
    for (uint32_t t = 0; t < answer->topics.count; t++) {
        const struct kafka_fetch_response_topic *topic = &answer->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++) {
            struct client_lane *lane = lane_of(client,
                                               topic->name,
                                               by_id ? &topic->topic_id : NULL,
                                               topic->partitions.at[p].index);
            if (lane == NULL || !lane_fetched(client, lane, &topic->partitions.at[p], &refused))
                return false;
        }
    }
    consumer_pause(client, refused);
    return true;
}

static bool
lane_listed(struct client *client,
            struct client_lane *lane,
            const struct kafka_list_offsets_response_partition *answer,
            bool *refused)
{
    bool earliest = client->flights[0].batches[0] != 0;

    if (answer->error != KAFKA_ERROR_NONE) {
        *refused = true;
        return client__may_retry(client, answer->error) ||
               client__fail(client, "list offsets", answer->error);
    }
    if (!earliest)
        return engine_model_told(
            client->of->model, lane->topic, lane->partition, answer->offset, lane->least);
    if (lane->lost)
        lane->offset = answer->offset;
    lane->lost = false;
    return true;
}

static bool
list_answer(struct client *client, const struct kafka_list_offsets_response *answer)
{
    bool refused = false;

    for (uint32_t t = 0; t < answer->topics.count; t++) {
        const struct kafka_list_offsets_response_topic *topic = &answer->topics.at[t];
        for (uint32_t p = 0; p < topic->partitions.count; p++) {
            struct client_lane *lane = lane_of(
                client, topic->name, NULL, topic->partitions.at[p].index);
            if (lane == NULL || !lane_listed(client, lane, &topic->partitions.at[p], &refused))
                return false;
        }
    }
    consumer_pause(client, refused);
    return true;
}

bool
client__consumer_answer(struct client *client, const struct stream_answer *answer)
{
    if (answer->to.request.api_key == KAFKA_FETCH)
        return fetch_answer(client, &answer->u.fetch, answer->to.request.version >= 13);
    return list_answer(client, &answer->u.list_offsets);
}
