/* Members of a plain group, classic protocol: join, share the partitions of "in", commit, look. The
 * leader gives partition p to the member p % members; its word is one byte of bits. */
#include "pipe_client.h"

#include "engine/base/check.h"
#include "net/kafka/kafka_error.h"

#include <string.h>

#define RETRY_NS (20 * NS_PER_MS)

static struct bytes
own_id(const struct pipe_client *client)
{
    return (struct bytes){(const uint8_t *)client->member_id, client->member_id_count};
}

static void
join_ask(struct pipe_client *client)
{
    struct kafka_join_group_request request;
    struct kafka_join_group_request_protocol protocol;

    kafka_join_group_request_defaults(&request);
    kafka_join_group_request_protocol_defaults(&protocol);
    protocol.name = pipe__text("even");
    protocol.metadata = pipe__text("m");
    request.group_id = pipe__group(client->script.group);
    request.session_timeout_ms = client->script.timeout_ms;
    request.rebalance_timeout_ms = client->script.timeout_ms;
    request.member_id = own_id(client);
    request.protocol_type = pipe__text("sim");
    request.protocols.at = &protocol;
    request.protocols.count = 1;
    client->owned = 0;
    pipe__ask(client, KAFKA_JOIN_GROUP, 5, &request);
}

static void
sync_ask(struct pipe_client *client)
{
    struct kafka_sync_group_request request;
    struct kafka_sync_group_request_assignment assignments[ARRAY_COUNT(client->others)];
    uint8_t bits[ARRAY_COUNT(client->others)] = {0};

    kafka_sync_group_request_defaults(&request);
    request.group_id = pipe__group(client->script.group);
    request.generation_id = client->generation;
    request.member_id = own_id(client);
    for (uint32_t p = 0; client->is_leader && p < 2; p++)
        bits[p % client->other_count] |= (uint8_t)(1u << p);
    for (uint32_t i = 0; client->is_leader && i < client->other_count; i++) {
        kafka_sync_group_request_assignment_defaults(&assignments[i]);
        assignments[i].member_id = (struct bytes){(const uint8_t *)client->others[i].id,
                                                  client->others[i].count};
        assignments[i].assignment = (struct bytes){&bits[i], 1};
        request.assignments.count = i + 1;
    }
    request.assignments.at = assignments;
    pipe__ask(client, KAFKA_SYNC_GROUP, 3, &request);
}

static void
beat_ask(struct pipe_client *client)
{
    struct kafka_heartbeat_request request;
    kafka_heartbeat_request_defaults(&request);
    request.group_id = pipe__group(client->script.group);
    request.generation_id = client->generation;
    request.member_id = own_id(client);
    pipe__ask(client, KAFKA_HEARTBEAT, 3, &request);
}

static void
leave_ask(struct pipe_client *client)
{
    struct kafka_leave_group_request request;
    struct kafka_leave_group_request_member_identity member;
    kafka_leave_group_request_defaults(&request);
    kafka_leave_group_request_member_identity_defaults(&member);
    member.member_id = own_id(client);
    request.group_id = pipe__group(client->script.group);
    request.members.at = &member;
    request.members.count = 1;
    pipe__ask(client, KAFKA_LEAVE_GROUP, 3, &request);
}

static void
commit_ask(struct pipe_client *client)
{
    struct kafka_offset_commit_request request;
    struct kafka_offset_commit_request_topic topic;
    struct kafka_offset_commit_request_partition partition;
    const struct history_offset write = {.group = client->script.group,
                                         .partition = client->script.partition,
                                         .value = client->of->commit_next++};

    kafka_offset_commit_request_defaults(&request);
    kafka_offset_commit_request_topic_defaults(&topic);
    kafka_offset_commit_request_partition_defaults(&partition);
    partition.index = pipe__index(client->script.partition);
    partition.committed_offset = write.value;
    topic.name = pipe__topic(client->script.partition);
    topic.partitions.at = &partition;
    topic.partitions.count = 1;
    request.group_id = pipe__group(client->script.group);
    request.generation_id_or_member_epoch = client->generation;
    request.member_id = own_id(client);
    request.topics.at = &topic;
    request.topics.count = 1;
    client->offset_write = history_add_offset(client->of->history, &write);
    pipe__ask(client, KAFKA_OFFSET_COMMIT, 7, &request);
}

/* What a member does next, between two heartbeats. */
static void
choose(struct pipe_client *client)
{
    if (client->of->closing) {
        pipe__go(client, PIPE_DONE);
        return;
    }
    uint32_t p = (uint32_t)sim_rng_below(&client->rng, 2);
    uint64_t dice = sim_rng_below(&client->rng, 100);
    bool owns = (client->owned >> p & 1) != 0;
    client->script.partition = p;
    if (dice < 3)
        pipe__go(client, PIPE_LEAVE);
    else if (dice < 60 && owns)
        pipe__go(client, PIPE_COMMIT);
    else if (dice < 80)
        pipe__go(client, PIPE_PLACE);
    else
        pipe__go(client, PIPE_BEAT);
}

void
pipe__member_ask(struct pipe_client *client)
{
    if (client->of->closing) {
        pipe__go(client, PIPE_DONE);
        return;
    }
    switch (client->phase) {
    case PIPE_JOIN:
        join_ask(client);
        return;
    case PIPE_SYNC:
        sync_ask(client);
        return;
    case PIPE_COMMIT:
        commit_ask(client);
        return;
    case PIPE_LEAVE:
        leave_ask(client);
        return;
    default:
        beat_ask(client);
    }
}

static bool
keep_id(struct pipe_client *client, struct bytes id)
{
    if (id.count > sizeof(client->member_id))
        return history_fail(client->of->history, "a member id of %zu bytes", id.count);
    memcpy(client->member_id, id.at, id.count);
    client->member_id_count = (uint32_t)id.count;
    return true;
}

/* False: no success, and what follows is decided. */
static bool
check(struct pipe_client *client, const char *what, int16_t error, bool *ret_good)
{
    *ret_good = true;
    switch (error) {
    case KAFKA_ERROR_NONE:
        return true;
    case KAFKA_ERROR_UNKNOWN_MEMBER_ID:
        client->member_id_count = 0;
        pipe__go(client, PIPE_JOIN);
        break;
    case KAFKA_ERROR_REBALANCE_IN_PROGRESS:
    case KAFKA_ERROR_ILLEGAL_GENERATION:
        pipe__go(client, PIPE_JOIN);
        break;
    default:
        if (!pipe__may_retry(error))
            *ret_good = pipe__fail(client, what, error);
        pipe__pause(client, RETRY_NS);
        /* A commit is made anew, with another offset: what became of this one is not known. */
    }
    return false;
}

static bool
join_answer(struct pipe_client *client, const struct kafka_join_group_response *answer)
{
    bool good;
    if (answer->error == KAFKA_ERROR_MEMBER_ID_REQUIRED)
        return keep_id(client, answer->member_id);
    if (!check(client, "JoinGroup", answer->error, &good))
        return good;
    client->generation = answer->generation_id;
    client->is_leader = answer->members.count > 0;
    client->other_count = 0;
    for (uint32_t i = 0; i < answer->members.count && i < ARRAY_COUNT(client->others); i++) {
        struct bytes id = answer->members.at[i].member_id;
        if (id.count > sizeof(client->others[0].id))
            return history_fail(client->of->history, "a member id of %zu bytes", id.count);
        memcpy(client->others[i].id, id.at, id.count);
        client->others[i].count = (uint32_t)id.count;
        client->other_count++;
    }
    pipe__go(client, PIPE_SYNC);
    return keep_id(client, answer->member_id);
}

static bool
commit_answer(struct pipe_client *client, const struct kafka_offset_commit_response *answer)
{
    struct history *history = client->of->history;
    bool good;

    if (answer->topics.count != 1 || answer->topics.at[0].partitions.count != 1)
        return history_fail(history, "OffsetCommit answered in part");
    int16_t error = answer->topics.at[0].partitions.at[0].error;
    struct history_offset *write = history_offset(history, client->offset_write);
    if (check(client, "OffsetCommit", error, &good)) {
        write->answered = ++history->tick;
        client->of->seen_offsets++;
        choose(client);
        pipe__pause(client, client->script.think_ns);
    } else if (!pipe__may_retry(error)) {
        write->is_void = true; /* refused at its only attempt */
    }
    return good;
}

bool
pipe__member_answer(struct pipe_client *client, const struct stream_answer *answer)
{
    bool good;
    switch (client->phase) {
    case PIPE_JOIN:
        return join_answer(client, &answer->u.join_group);
    case PIPE_SYNC:
        if (!check(client, "SyncGroup", answer->u.sync_group.error, &good))
            return good;
        client->owned = answer->u.sync_group.assignment.count == 1
                            ? answer->u.sync_group.assignment.at[0]
                            : 0;
        break;
    case PIPE_COMMIT:
        return commit_answer(client, &answer->u.offset_commit);
    case PIPE_LEAVE:
        pipe__restart(client, 500 * NS_PER_MS);
        return true;
    default:
        if (!check(client, "Heartbeat", answer->u.heartbeat.error, &good))
            return good;
    }
    choose(client);
    pipe__pause(client, client->script.think_ns);
    return true;
}
