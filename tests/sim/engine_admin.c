/* A scripted administrator: creates the topics that do not come by themselves, then deletes and
 * creates the volatile one a few times. Every request is repeated until it is answered, so an
 * answer may tell that a former copy has done it. */
#include "engine_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ADMIN_CONFIGS_MAX 4u

struct admin_configs {
    struct kafka_create_topics_config at[ADMIN_CONFIGS_MAX];
    char text[ADMIN_CONFIGS_MAX][24];
    uint32_t count;
};

static void
configs_add(struct admin_configs *configs, const char *name, const char *value)
{
    struct kafka_create_topics_config *config = &configs->at[configs->count++];
    kafka_create_topics_config_defaults(config);
    config->name = (struct bytes){(const uint8_t *)name, strlen(name)};
    config->value = (struct bytes){(const uint8_t *)value, strlen(value)};
}

static void
configs_add_number(struct admin_configs *configs, const char *name, int64_t value)
{
    char *text = configs->text[configs->count];
    (void)snprintf(text, sizeof(configs->text[0]), "%" PRId64, value);
    configs_add(configs, name, text);
}

static void
admin_create(struct client *client)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];
    struct kafka_create_topics_request request;
    struct kafka_create_topics_topic wanted;
    struct admin_configs configs = {.count = 0};

    kafka_create_topics_request_defaults(&request);
    kafka_create_topics_topic_defaults(&wanted);
    configs_add_number(&configs, "segment.bytes", topic->segment_bytes);
    if (topic->is_memory)
        configs_add(&configs, "eagre.durability", "memory");
    if (topic->is_append_time)
        configs_add(&configs, "message.timestamp.type", "LogAppendTime");
    if (topic->retention_bytes >= 0)
        configs_add_number(&configs, "retention.bytes", topic->retention_bytes);
    wanted.name = client__name(topic);
    wanted.partition_count = (int32_t)topic->partition_count;
    wanted.replication_factor = 1;
    wanted.configs.at = configs.at;
    wanted.configs.count = configs.count;
    request.topics.at = &wanted;
    request.topics.count = 1;
    topic->is_unsure = true;
    client__ask(client, KAFKA_CREATE_TOPICS, &request);
}

static void
admin_delete(struct client *client)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];
    struct kafka_delete_topics_request request;
    struct kafka_delete_topics_topic named;

    kafka_delete_topics_request_defaults(&request);
    kafka_delete_topics_topic_defaults(&named);
    named.topic_id = topic->id;
    request.topics.at = &named;
    request.topics.count = 1;
    request.timeout_ms = 30000;
    if (!topic->is_unsure)
        topic->deleting_ns = client__now(client);
    topic->is_unsure = true;
    client__ask(client, KAFKA_DELETE_TOPICS, &request);
}

/* The id of a topic that comes by asking, or that a former copy of the request has created. */
static void
admin_look(struct client *client)
{
    struct kafka_metadata_request request;
    struct kafka_metadata_request_topic named;

    kafka_metadata_request_defaults(&request);
    kafka_metadata_request_topic_defaults(&named);
    named.name = client__name(&client->of->model->topics[client->topic_at]);
    request.allow_auto_topic_creation = client->of->model->topics[client->topic_at].is_auto;
    request.topics.at = &named;
    request.topics.count = 1;
    client__ask(client, KAFKA_METADATA, &request);
}

static const struct kafka_uuid no_id;

void
client__admin_run(struct client *client)
{
    struct engine_model *model = client->of->model;

    client->wake_ns = SIM_NEVER_NS; /* the answer wakes it */
    if (client->stream.pending_count > 0)
        return;
    if (client->topic_at == model->topic_count) {
        client->state = CLIENT_DONE;
        stream_shut(&client->stream, false);
        return;
    }
    struct engine_topic *topic = &model->topics[client->topic_at];
    if (client->is_deleting)
        admin_delete(client);
    else if (topic->is_auto || (topic->exists && memcmp(&topic->id, &no_id, sizeof(no_id)) == 0))
        admin_look(client);
    else
        admin_create(client);
}

static void
admin_pause(struct client *client, uint64_t longest_ns)
{
    client->wake_ns = client__now(client) + sim_rng_between(&client->rng, NS_PER_MS, longest_ns);
}

/* The topic at hand is there and its id is known: on to the next, or to its deletion. */
static void
admin_created(struct client *client)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];

    topic->created_ns = client__now(client);
    topic->is_unsure = false;
    if (topic->is_volatile && client->deleted < client->script.batches) {
        client->is_deleting = true;
        admin_pause(client, client->script.think_ns + NS_PER_MS);
        return;
    }
    client->topic_at++;
    client->wake_ns = 0;
}

static bool
create_answer(struct client *client, const struct kafka_create_topics_response *answer)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];
    int16_t error = answer->topics.count == 1 ? answer->topics.at[0].error
                                              : KAFKA_ERROR_UNKNOWN_SERVER_ERROR;

    if (error != KAFKA_ERROR_NONE && error != KAFKA_ERROR_TOPIC_ALREADY_EXISTS) {
        admin_pause(client, 50 * NS_PER_MS);
        return client__may_retry(client, error) || client__fail(client, "create topics", error);
    }
    topic->exists = true;
    if (error == KAFKA_ERROR_NONE && client__version(client, KAFKA_CREATE_TOPICS) >= 7) {
        if (topic->is_volatile)
            topic->id = answer->topics.at[0].topic_id;
        else if (!engine_model_identify(
                     client->of->model, client->topic_at, &answer->topics.at[0].topic_id))
            return false;
    }
    if (memcmp(&topic->id, &no_id, sizeof(no_id)) == 0)
        client->wake_ns = 0; /* looks for it */
    else
        admin_created(client);
    return true;
}

static bool
look_answer(struct client *client, const struct kafka_metadata_response *answer)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];
    const struct kafka_metadata_topic *found = answer->topics.at;

    if (answer->topics.count != 1)
        return client__fail(client, "metadata", KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    if (found->error != KAFKA_ERROR_NONE) {
        admin_pause(client, 20 * NS_PER_MS);
        return client__may_retry(client, found->error) ||
               client__fail(client, "metadata", found->error);
    }
    if (topic->is_volatile)
        topic->id = found->topic_id;
    else if (!engine_model_identify(client->of->model, client->topic_at, &found->topic_id))
        return false;
    admin_created(client);
    return true;
}

static bool
delete_answer(struct client *client, const struct kafka_delete_topics_response *answer)
{
    struct engine_topic *topic = &client->of->model->topics[client->topic_at];
    int16_t error = answer->topics.count == 1 ? answer->topics.at[0].error
                                              : KAFKA_ERROR_UNKNOWN_SERVER_ERROR;

    if (error != KAFKA_ERROR_NONE && error != KAFKA_ERROR_UNKNOWN_TOPIC_ID) {
        admin_pause(client, 50 * NS_PER_MS);
        return client__may_retry(client, error) || client__fail(client, "delete topics", error);
    }
    topic->exists = false;
    topic->id = no_id;
    client->is_deleting = false;
    client->deleted++;
    admin_pause(client, client->script.think_ns + NS_PER_MS);
    return true;
}

bool
client__admin_answer(struct client *client, const struct stream_answer *answer)
{
    switch (answer->to.request.api_key) {
    case KAFKA_CREATE_TOPICS:
        return create_answer(client, &answer->u.create_topics);
    case KAFKA_DELETE_TOPICS:
        return delete_answer(client, &answer->u.delete_topics);
    case KAFKA_METADATA:
        return look_answer(client, &answer->u.metadata);
    default:
        CHECK(!"the administrator asks nothing else");
        return false;
    }
}
