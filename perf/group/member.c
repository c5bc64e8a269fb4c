/* A member of a group of the classic protocol: Join, Sync, heartbeats; joins again when it is told
 * to. Versions below MEMBER_ID_REQUIRED, so that a member comes in one step. */
#include "perf/group/group_load.h"

#include <stdio.h>

#define JOIN_VERSION 3
#define SYNC_VERSION 2
#define HEARTBEAT_VERSION 2
#define LEAVE_VERSION 2
#define SESSION_MS 60000
#define ASSIGNED_MAX 1024u
#define ERROR_COORDINATOR_LOADING 14
#define ERROR_COORDINATOR_NOT_AVAILABLE 15
#define ERROR_REBALANCE_IN_PROGRESS 27

static struct bytes
text_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static struct bytes
group_name(char *text, size_t capacity, uint32_t group)
{
    snprintf(text, capacity, "load-group-%u", group);
    return text_of(text);
}

void
group_load_error(struct group_load *load, int16_t error)
{
    load->errors++;
    if (load->first_error == 0)
        load->first_error = error;
}

static void
member_state(struct group_load *load, struct member *member, enum member_state state)
{
    load->stable_count -= member->state == MEMBER_STABLE;
    load->stable_count += state == MEMBER_STABLE;
    member->state = state;
}

static void
member_request(struct group_load *load, uint32_t idx, enum kafka_api_key key, const void *message)
{
    const struct peer_awaited request = {
        .sent_ns = process_now_ns(),
        .who = idx,
        .api_key = key,
        .version = key == KAFKA_JOIN_GROUP   ? JOIN_VERSION
                   : key == KAFKA_SYNC_GROUP ? SYNC_VERSION
                   : key == KAFKA_HEARTBEAT  ? HEARTBEAT_VERSION
                                             : LEAVE_VERSION,
    };

    peer_request(&load->peers, load->members[idx].peer, &request, message);
}

void
member_join(struct group_load *load, uint32_t idx)
{
    struct member *member = &load->members[idx];
    struct kafka_join_group_request_protocol protocol;
    struct kafka_join_group_request request;
    char name[64];

    kafka_join_group_request_protocol_defaults(&protocol);
    kafka_join_group_request_defaults(&request);
    protocol.name = text_of("range");
    protocol.metadata = text_of("an opaque subscription of about the usual length");
    request.group_id = group_name(name, sizeof(name), member->group);
    request.session_timeout_ms = SESSION_MS;
    request.rebalance_timeout_ms = SESSION_MS;
    request.member_id = (struct bytes){member->id, member->id_count};
    request.protocol_type = text_of("consumer");
    request.protocols.at = &protocol;
    request.protocols.count = 1;
    member_state(load, member, MEMBER_JOINING);
    member->join_sent_ns = process_now_ns();
    member_request(load, idx, KAFKA_JOIN_GROUP, &request);
}

void
member_leave(struct group_load *load, uint32_t idx)
{
    struct member *member = &load->members[idx];
    struct kafka_leave_group_request request;
    char name[64];

    kafka_leave_group_request_defaults(&request);
    request.group_id = group_name(name, sizeof(name), member->group);
    request.member_id = (struct bytes){member->id, member->id_count};
    member_state(load, member, MEMBER_OUT);
    member_request(load, idx, KAFKA_LEAVE_GROUP, &request);
    member->id_count = 0;
}

static void
member_joined(struct group_load *load, uint32_t idx, const struct kafka_join_group_response *joined)
{
    static struct kafka_sync_group_request_assignment assignments[ASSIGNED_MAX];
    struct member *member = &load->members[idx];
    struct kafka_sync_group_request request;
    char name[64];

    if (joined->error == ERROR_COORDINATOR_LOADING ||
        joined->error == ERROR_COORDINATOR_NOT_AVAILABLE) { /* it makes or reads its log */
        member_join(load, idx);
        return;
    }
    if (joined->error != 0 || joined->member_id.count > MEMBER_ID_MAX ||
        joined->members.count > ASSIGNED_MAX) {
        group_load_error(load, joined->error != 0 ? joined->error : -1);
        return;
    }
    member->id_count = (uint32_t)joined->member_id.count;
    bytes_copy(member->id, sizeof(member->id), joined->member_id.at, joined->member_id.count);
    member->generation = joined->generation_id;
    kafka_sync_group_request_defaults(&request);
    request.group_id = group_name(name, sizeof(name), member->group);
    request.generation_id = member->generation;
    request.member_id = (struct bytes){member->id, member->id_count};
    for (uint32_t i = 0; i < joined->members.count; i++) { /* the leader's answer only */
        kafka_sync_group_request_assignment_defaults(&assignments[i]);
        assignments[i].member_id = joined->members.at[i].member_id;
        assignments[i].assignment = text_of("an opaque assignment");
    }
    request.assignments.at = assignments;
    request.assignments.count = joined->members.count;
    member_state(load, member, MEMBER_SYNCING);
    member_request(load, idx, KAFKA_SYNC_GROUP, &request);
}

static void
member_synced(struct group_load *load,
              uint32_t idx,
              const struct kafka_sync_group_response *synced,
              uint64_t now_ns)
{
    if (synced->error == ERROR_REBALANCE_IN_PROGRESS) {
        member_join(load, idx);
        return;
    }
    if (synced->error != 0) {
        group_load_error(load, synced->error);
        return;
    }
    member_pretend(load, idx, now_ns);
}

void
member_pretend(struct group_load *load, uint32_t idx, uint64_t now_ns)
{
    struct member *member = &load->members[idx];
    uint64_t interval_ns = load->options.interval_ms * NS_PER_MS;

    member_state(load, member, MEMBER_STABLE);
    member->stable_ns = now_ns;
    /* Spread over the interval by the member's number, not by when its group happened to form. */
    member->heartbeat_ns = now_ns + interval_ns / load->member_count * idx % interval_ns;
}

static void
member_heartbeat(struct group_load *load, uint32_t idx)
{
    struct member *member = &load->members[idx];
    struct kafka_heartbeat_request request;
    char name[64];

    kafka_heartbeat_request_defaults(&request);
    request.group_id = group_name(name, sizeof(name), member->group);
    request.generation_id = member->generation;
    request.member_id = (struct bytes){member->id, member->id_count};
    member->is_heartbeating = true;
    member_request(load, idx, KAFKA_HEARTBEAT, &request);
}

uint64_t
members_heartbeat(struct group_load *load, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;

    for (uint32_t i = 0; i < load->member_count; i++) {
        struct member *member = &load->members[i];
        if (member->state != MEMBER_STABLE)
            continue;
        if (now_ns >= member->heartbeat_ns && !member->is_heartbeating) {
            member_heartbeat(load, i);
            member->heartbeat_ns += load->options.interval_ms * NS_PER_MS;
        }
        next_ns = min_u64(next_ns, member->heartbeat_ns);
    }
    return next_ns;
}

static void
member_heard(struct group_load *load, const struct peer_answer *answer)
{
    const struct kafka_heartbeat_response *heard = answer->message;
    struct member *member = &load->members[answer->who];

    member->is_heartbeating = false;
    if (heard->error == ERROR_REBALANCE_IN_PROGRESS) {
        if (member->state == MEMBER_STABLE)
            member_join(load, answer->who);
        return;
    }
    if (heard->error != 0 && member->state == MEMBER_STABLE)
        group_load_error(load, heard->error);
    if (!load->is_measuring)
        return;
    load->heartbeats++;
    histogram_add(&load->latency, answer->now_ns - answer->sent_ns);
}

void
members_answered(void *ctx, const struct peer_answer *answer)
{
    struct group_load *load = ctx;
    const struct kafka_leave_group_response *left;

    switch (answer->api_key) {
    case KAFKA_JOIN_GROUP:
        member_joined(load, answer->who, answer->message);
        break;
    case KAFKA_SYNC_GROUP:
        member_synced(load, answer->who, answer->message, answer->now_ns);
        break;
    case KAFKA_HEARTBEAT:
        member_heard(load, answer);
        break;
    default:
        left = answer->message;
        if (left->error != 0)
            group_load_error(load, left->error);
    }
}
