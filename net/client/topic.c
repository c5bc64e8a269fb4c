/* Topics: names into partitions, by RESOLVE; asked again when the server says that what we know
 * does not hold, or when the session is a new one.
 *
 *   WANTED ──RESOLVE──► ASKED ──RESOLVED, all partitions──► KNOWN ──stale, new session──► WANTED
 *      ▲                  └─unknown topic, may be created──► CREATE ──Metadata answered──► WANTED
 *      └───────── later, after an error or no answer ◄───┘ */
#include "net/client/client_parts.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#define TOPIC_BACKOFF_NS (20 * NS_PER_MS)
#define TOPIC_BACKOFF_MAX_NS NS_PER_S

static void
topic_want(struct eagre_client *client, struct client_topic *topic, uint64_t at_ns)
{
    topic->state = TOPIC_WANTED;
    topic->retry_at_ns = at_ns;
    client_tick_soon(client);
}

struct client_topic *
client__topic_get(struct eagre_client *client, const char *name, bool create)
{
    struct client_topic *free = NULL;
    size_t count = strlen(name);

    CHECK(count > 0 && count <= WIRE_TOPIC_NAME_MAX);
    for (uint32_t i = 0; i < client->config.topics_max; i++) {
        struct client_topic *topic = &client->topics[i];
        if (topic->state == TOPIC_FREE) {
            free = free != NULL ? free : topic;
        } else if (strcmp(topic->name, name) == 0) {
            topic->create |= create;
            return topic;
        }
    }
    if (free == NULL)
        return NULL;
    *free = (struct client_topic){
        .create = create, .rc = EAGRE_AGAIN, .backoff_ns = TOPIC_BACKOFF_NS};
    bytes_copy(free->name, sizeof(free->name), name, count + 1);
    topic_want(client, free, 0);
    return free;
}

void
client__topic_stale(struct eagre_client *client, struct client_topic *topic)
{
    if (topic->state == TOPIC_KNOWN)
        topic_want(client, topic, client->now_ns);
}

void
client__topic_session_ended(struct eagre_client *client)
{
    for (uint32_t i = 0; i < client->config.topics_max; i++)
        if (client->topics[i].state != TOPIC_FREE)
            topic_want(client, &client->topics[i], 0);
}

const struct wire_partition *
client__topic_place(const struct eagre_client *client,
                    const struct client_topic *topic,
                    uint32_t partition)
{
    if (topic->state != TOPIC_KNOWN || partition >= topic->info.partition_count)
        return NULL;
    return &client->places[topic->place_base + partition];
}

static void
topic_failed(struct eagre_client *client, struct client_topic *topic, int error)
{
    topic->rc = error == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION ? EAGRE_NOT_FOUND
                : client_error_is_passing(error)                ? EAGRE_AGAIN
                                                                : client_rc_of_server(error);
    topic->server_error = error;
    topic_want(client, topic, client->now_ns + topic->backoff_ns);
    topic->backoff_ns = min_u64(topic->backoff_ns * 2, TOPIC_BACKOFF_MAX_NS);
}

/* Sends RESOLVE. False: the session takes nothing now. */
static bool
topic_ask(struct eagre_client *client, struct client_topic *topic)
{
    size_t name_bytes = strlen(topic->name);
    uint32_t frame_bytes = (uint32_t)(WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVE_HEAD_BYTES +
                                      name_bytes);
    uint8_t *at = session_reserve(client->session, frame_bytes);

    if (at == NULL)
        return false;
    topic->request = client->request_next++;
    struct wire_resolve resolve = {
        .request = topic->request,
        .partition_first = topic->filled,
        .topic = {(const uint8_t *)topic->name, name_bytes},
    };
    session_commit(client->session, wire_resolve_encode(at, &resolve));
    topic->state = TOPIC_ASKED;
    topic->retry_at_ns = client->now_ns + CLIENT_ASK_NS;
    return true;
}

void
client__topic_step(struct eagre_client *client)
{
    for (uint32_t i = 0; i < client->config.topics_max; i++) {
        struct client_topic *topic = &client->topics[i];
        if (topic->state == TOPIC_FREE || topic->state == TOPIC_KNOWN)
            continue;
        bool is_due = topic->state != TOPIC_CREATE && client->now_ns >= topic->retry_at_ns;
        if (is_due)
            topic->filled = 0;
        if (is_due)
            (void)topic_ask(client, topic);
        client->tick_at_ns = min_u64(client->tick_at_ns, client->now_ns + CLIENT_TICK_NS);
    }
}

void
client__topic_created(struct eagre_client *client, struct client_topic *topic, int error)
{
    if (topic->state != TOPIC_CREATE)
        return;
    if (error != KAFKA_ERROR_NONE && error != KAFKA_ERROR_TOPIC_ALREADY_EXISTS)
        topic_failed(client, topic, error);
    else
        topic_want(client, topic, client->now_ns);
}

/* Room for the partitions; places of a topic that grew stay behind unused. */
static bool
topic_room(struct eagre_client *client, struct client_topic *topic, uint32_t partition_count)
{
    if (partition_count <= topic->place_count)
        return true;
    if (partition_count > client->config.partitions_max - client->places_used)
        return false;
    topic->place_base = client->places_used;
    topic->place_count = partition_count;
    client->places_used += partition_count;
    return true;
}

static void
topic_take(struct eagre_client *client,
           struct client_topic *topic,
           const struct wire_resolved *resolved)
{
    if (resolved->partition_count == 0 || resolved->partition_first != topic->filled ||
        resolved->entry_count > resolved->partition_count - topic->filled ||
        resolved->entry_count == 0) {
        topic_failed(client, topic, KAFKA_ERROR_LEADER_NOT_AVAILABLE);
        return;
    }
    if (!topic_room(client, topic, resolved->partition_count)) {
        topic_failed(client, topic, KAFKA_ERROR_POLICY_VIOLATION);
        return;
    }
    for (uint32_t i = 0; i < resolved->entry_count; i++)
        wire_resolved_at(resolved, i, &client->places[topic->place_base + topic->filled + i]);
    topic->filled += resolved->entry_count;
    if (topic->filled < resolved->partition_count) {
        if (!topic_ask(client, topic))
            topic_want(client, topic, client->now_ns);
        return;
    }
    bytes_copy(topic->info.topic_id, sizeof(topic->info.topic_id), resolved->topic_id, 16);
    topic->info.partition_count = resolved->partition_count;
    topic->info.batch_bytes_max = resolved->batch_bytes_max;
    topic->info.is_durable = resolved->is_durable;
    topic->state = TOPIC_KNOWN;
    topic->rc = EAGRE_OK;
    topic->server_error = 0;
    topic->backoff_ns = TOPIC_BACKOFF_NS;
}

void
client__topic_resolved(struct eagre_client *client, const struct wire_resolved *resolved)
{
    struct client_topic *topic = NULL;

    for (uint32_t i = 0; topic == NULL && i < client->config.topics_max; i++)
        if (client->topics[i].state == TOPIC_ASKED &&
            client->topics[i].request == resolved->request)
            topic = &client->topics[i];
    if (topic == NULL)
        return;
    client_tick_soon(client);
    if (resolved->status == KAFKA_ERROR_NONE) {
        topic_take(client, topic, resolved);
    } else if (resolved->status == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION && topic->create) {
        topic->state = TOPIC_CREATE; /* call.c sees it */
    } else {
        topic_failed(client, topic, (int16_t)resolved->status);
    }
}

int
eagre_get_topic_info(struct eagre_client *client,
                     const char *name,
                     int create,
                     struct eagre_topic_info *ret)
{
    size_t count = name != NULL ? strlen(name) : 0;

    if (count == 0 || count > WIRE_TOPIC_NAME_MAX)
        return EAGRE_INVALID;
    struct client_topic *topic = client__topic_get(client, name, create != 0);
    if (topic == NULL)
        return EAGRE_LIMIT;
    if (client->is_refused)
        return EAGRE_DENIED;
    if (topic->state != TOPIC_KNOWN)
        return topic->rc == EAGRE_OK ? EAGRE_AGAIN : topic->rc;
    *ret = topic->info;
    return EAGRE_OK;
}
