/* What every scripted client does: connect, ask for metadata, wait, come back. */
#include "engine_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <inttypes.h>
#include <string.h>

void
client_init(struct client *client,
            struct client_world *of,
            const struct client_script *script,
            uint64_t seed)
{
    *client = (struct client){.of = of, .script = *script, .producer_id = -1};
    sim_rng_seed(&client->rng, seed, 100 + script->number);
    stream_init(&client->stream, of->world);
}

void
client_fini(struct client *client)
{
    stream_fini(&client->stream);
}

void
client_add_lane(struct client *client, uint32_t topic, uint32_t partition)
{
    CHECK(client->lane_count < CLIENT_LANES_MAX);
    client->lanes[client->lane_count++] = (struct client_lane){.topic = topic,
                                                               .partition = partition};
}

void
client_poke(struct client *client)
{
    client->wake_ns = 0;
}

uint64_t
client__now(const struct client *client)
{
    return sim_world_now_ns(client->of->world);
}

struct bytes
client__name(const struct engine_topic *topic)
{
    return (struct bytes){(const uint8_t *)topic->name, strlen(topic->name)};
}

/* Fetch names topics by their ids from version 13 on. */
static bool
knows_ids(const struct client *client)
{
    static const struct kafka_uuid none = {0};
    for (uint32_t i = 0; i < client->lane_count; i++)
        if (memcmp(&client->of->model->topics[client->lanes[i].topic].id, &none, sizeof(none)) == 0)
            return false;
    return true;
}

int16_t
client__version(const struct client *client, enum kafka_api_key key)
{
    const struct kafka_api *api = kafka_api_find((int16_t)key);
    int16_t last = key == KAFKA_FETCH && !knows_ids(client) ? 12 : api->last;
    int16_t first = key == KAFKA_METADATA ? 4 : api->first;
    if (key == KAFKA_DELETE_TOPICS)
        first = 6; /* by id: a late copy of the request cannot hit the next topic */
    if (key == KAFKA_METADATA && client->script.kind == CLIENT_ADMIN)
        first = 10; /* for the id */
    int16_t version = (int16_t)(last - client->script.version_less);
    return version < first ? first : version;
}

uint64_t
client__ask(struct client *client, enum kafka_api_key key, const void *message)
{
    struct kafka_client_request request = {
        .api_key = key,
        .version = client__version(client, key),
        .client_id = {(const uint8_t *)"sim", 3},
    };
    uint64_t number = ++client->request_next;
    stream_ask(&client->stream, &request, message, number, true);
    sim_trace_add(&client->of->world->trace,
                  "client_ask",
                  client->script.number,
                  (uint64_t)key,
                  (uint64_t)request.version);
    return number;
}

void
client__again(struct client *client, bool reset)
{
    stream_shut(&client->stream, reset);
    if (client->script.kind == CLIENT_PRODUCER)
        client__producer_lost(client);
    client->state = CLIENT_DOWN;
    client->wake_ns = client__now(client) + sim_rng_between(&client->rng, 10000, 20 * NS_PER_MS);
}

bool
client__fail(struct client *client, const char *what, int16_t error)
{
    return engine_model_fail(client->of->model,
                             "client %u: %s answered with %s (%d)",
                             client->script.number,
                             what,
                             kafka_error_name(error),
                             error);
}

bool
client__may_retry(const struct client *client, int16_t error)
{
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_ERROR_LEADER_NOT_AVAILABLE:
    case KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_ERROR_REQUEST_TIMED_OUT:
        return true;
    case KAFKA_ERROR_KAFKA_STORAGE_ERROR:
        /* Answers of a server that is gone may still be on their way. */
        return client->of->storage_errors || client->server != client->of->rig->starts;
    default:
        return false;
    }
}

/* ---- metadata ---- */

/* Every topic is there: to work. */
static void
client_begin(struct client *client)
{
    client->state = CLIENT_RUN;
    client->wake_ns = 0;
    if (client->script.kind == CLIENT_PRODUCER)
        client__producer_begin(client);
}

/* Topics that come by asking are asked for first and alone, so that nothing else is created so. */
static void
hello_ask(struct client *client)
{
    struct kafka_metadata_request request;
    struct kafka_metadata_request_topic topics[CLIENT_LANES_MAX];
    uint32_t count = 0;

    kafka_metadata_request_defaults(&request);
    request.allow_auto_topic_creation = !client->knows_auto;
    for (uint32_t i = 0; i < client->lane_count; i++) {
        const struct engine_topic *topic = &client->of->model->topics[client->lanes[i].topic];
        if (topic->is_auto == client->knows_auto)
            continue;
        kafka_metadata_request_topic_defaults(&topics[count]);
        topics[count++].name = client__name(topic);
    }
    if (count == 0 && !client->knows_auto) {
        client->knows_auto = true;
        client->wake_ns = 0;
        return;
    }
    if (count == 0) {
        client_begin(client);
        return;
    }
    request.topics.at = topics;
    request.topics.count = count;
    client__ask(client, KAFKA_METADATA, &request);
    client->wake_ns = SIM_NEVER_NS;
}

/* 1: the topic is there; 0: not yet; -1: a breach was noted. */
static int
hello_topic(struct client *client, uint32_t topic_idx, const struct kafka_metadata_topic *answer)
{
    struct engine_model *model = client->of->model;
    struct engine_topic *topic = &model->topics[topic_idx];

    if (answer->error != KAFKA_ERROR_NONE) {
        if (client__may_retry(client, answer->error))
            return 0;
        return client__fail(client, "metadata", answer->error) - 1;
    }
    if (answer->partitions.count != topic->partition_count)
        return engine_model_fail(model,
                                 "%s has %u partitions, not %u",
                                 topic->name,
                                 answer->partitions.count,
                                 topic->partition_count) -
               1;
    if (client__version(client, KAFKA_METADATA) >= 10 &&
        !engine_model_identify(model, topic_idx, &answer->topic_id))
        return -1;
    return 1;
}

static bool
hello_answer(struct client *client, const struct kafka_metadata_response *answer)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < client->lane_count; i++) {
        const struct engine_topic *own = &client->of->model->topics[client->lanes[i].topic];
        struct bytes name = client__name(own);
        int there = 0;
        if (own->is_auto == client->knows_auto)
            continue;
        for (uint32_t t = 0; there == 0 && t < answer->topics.count; t++) {
            const struct kafka_metadata_topic *topic = &answer->topics.at[t];
            if (topic->name.count == name.count && memcmp(topic->name.at, name.at, name.count) == 0)
                there = hello_topic(client, client->lanes[i].topic, topic);
        }
        if (there < 0)
            return false;
        missing += there == 0;
    }
    if (missing > 0) {
        client->wake_ns = client__now(client) +
                          sim_rng_between(&client->rng, NS_PER_MS, 20 * NS_PER_MS);
        return true;
    }
    client->wake_ns = 0;
    if (client->knows_auto)
        client_begin(client);
    client->knows_auto = true;
    return true;
}

/* ---- the actor ---- */

static bool
client_answer(struct client *client, const struct stream_answer *answer)
{
    if (answer->to.request.api_key == KAFKA_METADATA && client->script.kind != CLIENT_ADMIN)
        return hello_answer(client, &answer->u.metadata);
    switch (client->script.kind) {
    case CLIENT_ADMIN:
        return client__admin_answer(client, answer);
    case CLIENT_PRODUCER:
        return client__producer_answer(client, answer);
    case CLIENT_CONSUMER:
        return client__consumer_answer(client, answer);
    }
    return false;
}

static void
client_connect(struct client *client)
{
    if (!stream_open(&client->stream, RIG_PORT)) {
        client->wake_ns = client__now(client) +
                          sim_rng_between(&client->rng, NS_PER_MS, 10 * NS_PER_MS);
        return;
    }
    client->state = client->lane_count > 0 ? CLIENT_HELLO : CLIENT_RUN;
    client->knows_auto = false;
    client->server = client->of->rig->starts;
    client->wake_ns = 0;
}

static void
client_run(struct client *client)
{
    switch (client->script.kind) {
    case CLIENT_ADMIN:
        client__admin_run(client);
        break;
    case CLIENT_PRODUCER:
        client__producer_run(client);
        break;
    case CLIENT_CONSUMER:
        client__consumer_run(client);
        break;
    }
}

static bool
client_is_impatient(const struct client *client)
{
    return client->stream.is_open && client->stream.pending_count > 0 &&
           client__now(client) >= client->stream.pending[0].sent_ns + client->of->patience_ns;
}

/* Takes what has come. Returns how much; the connection may be gone afterwards. */
static uint32_t
client_listen(struct client *client)
{
    uint32_t work = 0;
    for (;; work++) {
        struct stream_answer answer;
        switch (stream_poll(&client->stream, &answer)) {
        case STREAM_NOTHING:
            return work;
        case STREAM_LOST:
            client__again(client, false);
            return work + 1;
        case STREAM_WRONG:
            (void)engine_model_fail(client->of->model,
                                    "client %u: a malformed or unexpected answer",
                                    client->script.number);
            return work;
        case STREAM_ANSWER:
            if (!client_answer(client, &answer))
                return work;
            stream_done(&client->stream, &answer);
            break;
        }
    }
}

uint32_t
client_step(void *object)
{
    struct client *client = object;
    uint32_t work = client_listen(client);

    if (client->of->model->why[0] != '\0')
        return work;
    if (client_is_impatient(client)) {
        if (client->of->calm)
            (void)engine_model_fail(client->of->model,
                                    "client %u: no answer to API %d within %" PRIu64
                                    " ms although nothing is broken",
                                    client->script.number,
                                    client->stream.pending[0].request.api_key,
                                    client->of->patience_ns / NS_PER_MS);
        client__again(client, true);
        return work + 1;
    }
    if (client__now(client) < client->wake_ns)
        return work;
    if (client->state == CLIENT_DOWN)
        client_connect(client);
    else if (client->state == CLIENT_HELLO && client->stream.pending_count == 0)
        hello_ask(client);
    else if (client->state == CLIENT_RUN)
        client_run(client);
    return work + 1;
}

uint64_t
client_due_ns(void *object)
{
    struct client *client = object;
    if (client->state == CLIENT_DONE && !client->stream.is_open)
        return SIM_NEVER_NS;
    uint64_t due_ns = stream_due_ns(&client->stream);
    if (client->state != CLIENT_DONE)
        due_ns = min_u64(due_ns, client->wake_ns);
    if (client->stream.is_open && client->stream.pending_count > 0)
        due_ns = min_u64(due_ns, client->stream.pending[0].sent_ns + client->of->patience_ns);
    return due_ns;
}
