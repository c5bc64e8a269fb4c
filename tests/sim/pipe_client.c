/* What every scripted client of a pipeline does: connect, ask, wait, come back; see pipe_client.h.
 */
#include "pipe_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <stdio.h>
#include <string.h>

#define RETRY_NS (10 * NS_PER_MS)
#define SLEEP_NS (1500 * NS_PER_MS)

static void
begin(struct pipe_client *client)
{
    static const enum pipe_phase first[] = {[PIPE_WRITER] = PIPE_INIT,
                                            [PIPE_WORKER] = PIPE_INIT,
                                            [PIPE_MEMBER] = PIPE_JOIN,
                                            [PIPE_READER] = PIPE_FETCH};
    client->phase = client->script.is_final ? PIPE_PLACE : first[client->script.kind];
    client->transaction = HISTORY_NONE;
    client->member_id_count = 0;
    client->owned = 0;
}

void
pipe_client_init(struct pipe_client *client,
                 struct pipe_world *of,
                 const struct pipe_script *script,
                 uint64_t seed)
{
    *client = (struct pipe_client){.of = of, .script = *script, .producer_id = -1};
    sim_rng_seed(&client->rng, seed, 100 + script->number);
    stream_init(&client->stream, of->world);
    begin(client);
}

void
pipe_client_fini(struct pipe_client *client)
{
    stream_fini(&client->stream);
}

uint64_t
pipe__now(const struct pipe_client *client)
{
    return sim_world_now_ns(client->of->world);
}

void
pipe__pause(struct pipe_client *client, uint64_t longest_ns)
{
    client->wake_ns = pipe__now(client) + sim_rng_between(&client->rng, 1000, longest_ns + 1000);
}

struct bytes
pipe__text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

struct bytes
pipe__topic(uint32_t partition)
{
    static const char *const names[PIPE_PARTITIONS] = {"in", "in", "out", "out", "keys"};
    return pipe__text(names[partition]);
}

int32_t
pipe__index(uint32_t partition)
{
    return partition == PIPE_KEYS_PARTITION ? 0 : (int32_t)partition % 2;
}

struct bytes
pipe__group(uint32_t group)
{
    static const char *const names[PIPE_GROUPS] = {"group-there", "group-back", "group-plain"};
    return pipe__text(names[group]);
}

struct bytes
pipe__id(const struct pipe_client *client)
{
    static const char *const names[] = {"id-0", "id-1", "id-2", "id-3", "id-4", "id-5", "id-6"};
    return pipe__text(names[client->script.id]);
}

/* A labelled point: told to the director, who may crash the server here. */
static void
at_label(struct pipe_client *client, bool answered)
{
    struct pipe_world *of = client->of;
    if (of->watch == (uint32_t)client->phase && of->watch_answer == answered)
        of->hit = true;
}

void
pipe__go(struct pipe_client *client, enum pipe_phase phase)
{
    client->phase = phase;
}

void
pipe__restart(struct pipe_client *client, uint64_t longest_ns)
{
    begin(client);
    pipe__pause(client, longest_ns);
}

bool
pipe__may_retry(int16_t error)
{
    switch (error) {
    case KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION:
    case KAFKA_ERROR_LEADER_NOT_AVAILABLE:
    case KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER:
    case KAFKA_ERROR_REQUEST_TIMED_OUT:
    case KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS:
    case KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE:
    case KAFKA_ERROR_NOT_COORDINATOR:
    case KAFKA_ERROR_CONCURRENT_TRANSACTIONS:
    case KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT:
        return true;
    default:
        return false;
    }
}

void
pipe__ask(struct pipe_client *client, enum kafka_api_key key, int16_t version, const void *message)
{
    const struct kafka_client_request request = {
        .api_key = key, .version = version, .client_id = {(const uint8_t *)"pipe", 4}};
    sim_trace_add(&client->of->world->trace,
                  "client_ask",
                  client->script.number,
                  (uint64_t)key,
                  (uint64_t)client->phase);
    stream_ask(&client->stream, &request, message, 0, true);
    client->wake_ns = SIM_NEVER_NS; /* the answer wakes it */
    at_label(client, false);
}

bool
pipe__fail(struct pipe_client *client, const char *what, int16_t error)
{
    return history_fail(client->of->history,
                        "client %u: %s answered with %s (%d)",
                        client->script.number,
                        what,
                        kafka_error_name(error),
                        error);
}

/* ---- topics ---- */

/* Whoever is first creates them; an answer that says "already there" is as good. */
static void
create_topics(struct pipe_client *client)
{
    static const char *const configs[][2] = {{"segment.bytes", "65536"},
                                             {"cleanup.policy", "compact"},
                                             {"min.cleanable.dirty.ratio", "0.01"},
                                             {"segment.ms", "500"}};
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic topics[3];
    struct kafka_create_topics_config config[ARRAY_COUNT(configs)];

    for (uint32_t i = 0; i < ARRAY_COUNT(configs); i++) {
        kafka_create_topics_config_defaults(&config[i]);
        config[i].name = pipe__text(configs[i][0]);
        config[i].value = pipe__text(configs[i][1]);
    }
    kafka_create_topics_request_defaults(&request);
    for (uint32_t i = 0; i < 3; i++) {
        kafka_create_topics_topic_defaults(&topics[i]);
        topics[i].name = pipe__topic(2 * i);
        topics[i].partition_count = i == 2 ? 1 : 2;
        topics[i].replication_factor = 1;
        topics[i].configs.at = config;
        topics[i].configs.count = i == 2 ? ARRAY_COUNT(configs) : 1;
    }
    request.topics.at = topics;
    request.topics.count = 3;
    pipe__ask(client, KAFKA_CREATE_TOPICS, 4, &request);
}

static bool
created_topics(struct pipe_client *client, const struct kafka_create_topics_response *answer)
{
    bool there = true;
    for (uint32_t i = 0; i < answer->topics.count; i++) {
        int16_t error = answer->topics.at[i].error;
        if (error != KAFKA_ERROR_NONE && error != KAFKA_ERROR_TOPIC_ALREADY_EXISTS &&
            !pipe__may_retry(error))
            return pipe__fail(client, "CreateTopics", error);
        there &= error == KAFKA_ERROR_NONE || error == KAFKA_ERROR_TOPIC_ALREADY_EXISTS;
    }
    client->of->topics_exist |= there;
    pipe__pause(client, RETRY_NS);
    return true;
}

/* ---- the actor ---- */

static void
ask(struct pipe_client *client)
{
    if (!client->of->topics_exist) {
        create_topics(client);
        return;
    }
    if (client->phase == PIPE_FETCH || client->phase == PIPE_PLACE)
        pipe__read_ask(client);
    else if (client->phase < PIPE_JOIN)
        pipe__transaction_ask(client);
    else if (client->phase != PIPE_DONE)
        pipe__member_ask(client);
}

static bool
take(struct pipe_client *client, const struct stream_answer *answer)
{
    if (answer->to.request.api_key == KAFKA_CREATE_TOPICS)
        return created_topics(client, &answer->u.create_topics);
    at_label(client, true);
    client->wake_ns = 0;
    if (client->phase == PIPE_FETCH || client->phase == PIPE_PLACE)
        return pipe__read_answer(client, answer);
    return client->phase < PIPE_JOIN ? pipe__transaction_answer(client, answer)
                                     : pipe__member_answer(client, answer);
}

static void
lose(struct pipe_client *client, bool reset)
{
    stream_shut(&client->stream, reset);
    if (client->phase == PIPE_DONE)
        return;
    if (client->script.kind != PIPE_READER && sim_rng_chance(&client->rng, 300000))
        pipe__restart(client, 50 * NS_PER_MS);
    else
        pipe__pause(client, RETRY_NS);
}

/* Between two requests a client may die, or sleep so long that another one takes its place. */
static void
live_on(struct pipe_client *client)
{
    if (client->of->calm || client->script.kind == PIPE_READER || client->phase == PIPE_DONE)
        return;
    if (sim_rng_chance(&client->rng, client->script.die_ppm)) {
        stream_shut(&client->stream, sim_rng_chance(&client->rng, 500000));
        pipe__restart(client, 300 * NS_PER_MS);
    } else if (sim_rng_chance(&client->rng, client->script.sleep_ppm)) {
        pipe__pause(client, SLEEP_NS);
    }
}

/* Takes what has come. Returns how much; the connection may be gone afterwards. */
static uint32_t
listen_for(struct pipe_client *client)
{
    for (uint32_t work = 0;; work++) {
        struct stream_answer answer;
        switch (stream_poll(&client->stream, &answer)) {
        case STREAM_NOTHING:
            return work;
        case STREAM_LOST:
            lose(client, false);
            return work + 1;
        case STREAM_WRONG:
            (void)history_fail(client->of->history,
                               "client %u: a malformed or unexpected answer",
                               client->script.number);
            return work;
        case STREAM_ANSWER:
            if (!take(client, &answer))
                return work;
            stream_done(&client->stream, &answer);
            live_on(client);
            break;
        }
    }
}

static uint64_t
patience_end_ns(const struct pipe_client *client)
{
    return client->stream.is_open && client->stream.pending_count > 0
               ? client->stream.pending[0].sent_ns + client->of->patience_ns
               : SIM_NEVER_NS;
}

uint32_t
pipe_client_step(void *object)
{
    struct pipe_client *client = object;
    uint32_t work = listen_for(client);

    if (client->of->history->why[0] != '\0')
        return work;
    if (pipe__now(client) >= patience_end_ns(client)) {
        if (client->of->calm)
            (void)history_fail(client->of->history,
                               "client %u: no answer in phase %d although nothing is broken",
                               client->script.number,
                               (int)client->phase);
        lose(client, true);
        return work + 1;
    }
    if (pipe__now(client) < client->wake_ns || client->phase == PIPE_DONE)
        return work;
    if (client->stream.is_open)
        ask(client);
    else if (stream_open(&client->stream, RIG_PORT))
        client->wake_ns = 0;
    else
        pipe__pause(client, RETRY_NS);
    return work + 1;
}

uint64_t
pipe_client_due_ns(void *object)
{
    struct pipe_client *client = object;
    uint64_t due_ns = min_u64(stream_due_ns(&client->stream), patience_end_ns(client));
    return client->phase == PIPE_DONE ? due_ns : min_u64(due_ns, client->wake_ns);
}
