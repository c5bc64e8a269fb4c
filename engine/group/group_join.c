/* JoinGroup: who may join, under which id, and what it means for the group. */
#include "engine/group/group_inner.h"

#include <stdio.h>

/* A Join under way. */
struct join {
    const struct group_call *call;
    const struct kafka_join_group_request *request;
    struct group_time time;
};

#define JOIN_ID_BYTES_MAX 160u /* 120 of the client id, a dash, a random number */

static void
join_refuse(struct groups *groups, const struct group_call *call, int16_t error, struct bytes id)
{
    struct kafka_join_group_response response;

    kafka_join_group_response_defaults(&response);
    response.error = error;
    response.protocol_name = bytes__or_empty((struct bytes){0});
    response.leader = bytes__or_empty((struct bytes){0});
    response.member_id = bytes__or_empty(id);
    groups__answer(groups, call->token, &response);
}

/* The protocols of a request in one piece of memory, as struct member keeps them. */
static bool
join_pack_protocols(struct groups *groups,
                    const struct kafka_join_group_request *request,
                    struct bytes *ret_packed)
{
    size_t count = 0;

    for (uint32_t i = 0; i < request->protocols.count; i++)
        count += 6 + request->protocols.at[i].name.count + request->protocols.at[i].metadata.count;
    uint8_t *at = count > GROUP_RECORD_BYTES_MAX / 2 ? NULL : group_heap_take(&groups->heap, count);
    if (at == NULL) {
        groups->counters.limits_reached++;
        return false;
    }
    struct writer writer = writer_over(at, count);
    for (uint32_t i = 0; i < request->protocols.count; i++) {
        const struct kafka_join_group_request_protocol *protocol = &request->protocols.at[i];
        writer_u16_be(&writer, (uint16_t)protocol->name.count);
        writer_bytes(&writer, protocol->name.at, protocol->name.count);
        writer_u32_be(&writer, (uint32_t)protocol->metadata.count);
        writer_bytes(&writer, protocol->metadata.at, protocol->metadata.count);
    }
    CHECK(!writer.failed);
    *ret_packed = (struct bytes){at, count};
    return true;
}

static bool
join_same_protocols(const struct member *member, const struct kafka_join_group_request *request)
{
    struct bytes name;
    struct bytes metadata;
    size_t at = 0;
    uint32_t i = 0;

    for (; member__next_protocol(member, &at, &name, &metadata); i++) {
        if (i == request->protocols.count || !bytes__equal(name, request->protocols.at[i].name) ||
            !bytes__equal(metadata, request->protocols.at[i].metadata))
            return false;
    }
    return i == request->protocols.count;
}

/* A group with members takes only one that shares a protocol with all of them. */
static bool
join_fits(const struct groups *groups,
          const struct group *group,
          const struct kafka_join_group_request *request)
{
    if (request->protocol_type.count == 0 || request->protocols.count == 0)
        return false;
    if (group == NULL || group->member_count == 0)
        return true;
    if (!bytes__equal(group->protocol_type, request->protocol_type))
        return false;
    for (uint32_t i = 0; i < request->protocols.count; i++) {
        bool all = true;
        for (uint32_t idx = group->member_first; all && idx != SLAB_NONE;) {
            const struct member *member = member__at(groups, idx);
            all = (member->flags & MEMBER_PENDING) != 0 ||
                  bytes__equal(member->id, request->member_id) ||
                  member__protocol(member, request->protocols.at[i].name).at != NULL;
            idx = member->after;
        }
        if (all)
            return true;
    }
    return false;
}

static struct bytes
join_new_id(struct groups *groups, const struct join *join, char text[JOIN_ID_BYTES_MAX])
{
    bool is_static = join->request->group_instance_id.count > 0;
    struct bytes stem = is_static ? join->request->group_instance_id : join->call->client_id;
    void *ctx = groups->config.hooks.ctx;
    uint64_t high = groups->config.hooks.draw(ctx);
    uint64_t low = groups->config.hooks.draw(ctx);
    int count = snprintf(text,
                         JOIN_ID_BYTES_MAX,
                         "%.*s-%016llx%016llx",
                         (int)min_u64(stem.count, 120),
                         stem.count > 0 ? (const char *)stem.at : "",
                         (unsigned long long)high,
                         (unsigned long long)low);
    return (struct bytes){(const uint8_t *)text, (size_t)count};
}

static uint64_t
join_rebalance_ns(const struct kafka_join_group_request *request)
{
    int32_t ms = request->rebalance_timeout_ms >= 0 ? request->rebalance_timeout_ms
                                                    : request->session_timeout_ms;
    return (uint64_t)ms * NS_PER_MS;
}

static struct member *
join_add(struct groups *groups, struct group *group, const struct join *join, struct bytes id)
{
    const struct member_new new = {
        .id = id,
        .instance = join->request->group_instance_id,
        .client_id = {join->call->client_id.at,
                      min_u64(join->call->client_id.count, GROUP_TEXT_BYTES_MAX)},
        .client_host = join->call->client_host,
        .session_ns = (uint64_t)join->request->session_timeout_ms * NS_PER_MS,
        .rebalance_ns = join_rebalance_ns(join->request),
    };
    return member__add(groups, group, &new);
}

/* Takes what the request says of a member and parks its Join. A Join that was parked before is a
 * client that gave up waiting and asks anew: the old one is answered so that nothing leaks. */
static bool
join_park(struct groups *groups, struct member *member, const struct join *join)
{
    struct bytes packed;

    if (!join_pack_protocols(groups, join->request, &packed))
        return false;
    group_heap_drop(&groups->heap, &member->protocols);
    member->protocols = packed;
    member->session_ns = (uint64_t)join->request->session_timeout_ms * NS_PER_MS;
    member->rebalance_ns = join_rebalance_ns(join->request);
    member__unpark_join(groups, member, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    member->join_token = join->call->token;
    member->join_version = join->call->version;
    group__at(groups, member->group)->joined_count++;
    member->deadline_ns = join->time.now_ns + max_u64(member->session_ns, GROUP_NEW_MEMBER_NS);
    return true;
}

/* A member's first Join (its id was given out before, or just now). */
static void
join_newcomer(struct groups *groups,
              struct group *group,
              struct member *member,
              const struct join *join)
{
    struct bytes type;

    if (group->member_count <= 1 &&
        !bytes__equal(group->protocol_type, join->request->protocol_type) &&
        group_heap_copy(&groups->heap, join->request->protocol_type, &type)) {
        group_heap_drop(&groups->heap, &group->protocol_type);
        group->protocol_type = type;
    }
    if (group->leader == SLAB_NONE)
        group->leader = member__idx(groups, member);
    group->flags |= group->state == GROUP_PREPARING ? GROUP_NEWCOMER : 0;
    if (group->state != GROUP_PREPARING)
        group__rebalance(groups, group, GROUP_CAUSE_JOIN, join->time);
    group__try_complete(groups, group, join->time);
}

static void
join_as_new(struct groups *groups, struct group *group, const struct join *join)
{
    char text[JOIN_ID_BYTES_MAX];
    struct bytes id = join_new_id(groups, join, text);
    bool ask_again = join->call->version >= 4 && join->request->group_instance_id.count == 0;

    struct member *member = join_add(groups, group, join, id);
    if (member == NULL || (!ask_again && !join_park(groups, member, join))) {
        if (member != NULL)
            member__remove(groups, member);
        join_refuse(groups, join->call, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, (struct bytes){0});
        return;
    }
    if (ask_again) {
        /* KIP-394: an id first, so that a client that never comes back leaves no member behind. */
        member->flags = MEMBER_PENDING;
        group->member_count--;
        group->pending_count++;
        member__heard(groups, member, join->time.now_ns);
        join_refuse(groups, join->call, KAFKA_ERROR_MEMBER_ID_REQUIRED, member->id);
        return;
    }
    join_newcomer(groups, group, member, join);
}

/* A static member that comes back under a new id: it takes over what its former self was. */
static void
join_as_returned(struct groups *groups,
                 struct group *group,
                 struct member *member,
                 const struct join *join)
{
    char text[JOIN_ID_BYTES_MAX];
    struct bytes id = join_new_id(groups, join, text);
    bool same = join_same_protocols(member, join->request);

    member__unpark_join(groups, member, KAFKA_ERROR_FENCED_INSTANCE_ID);
    member__unpark_sync(groups, member, KAFKA_ERROR_FENCED_INSTANCE_ID);
    if (!member__rename(groups, member, id) || !join_park(groups, member, join)) {
        join_refuse(groups, join->call, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, (struct bytes){0});
        return;
    }
    if (group->state == GROUP_STABLE && same) {
        uint64_t number;
        /* KIP-345: no rebalance; the new id must be known after a restart too. */
        (void)!record__append_group(groups, group, &number);
        member__heard(groups, member, join->time.now_ns);
        struct kafka_join_group_response response;
        kafka_join_group_response_defaults(&response);
        bool leads = group->leader == member__idx(groups, member);
        response.generation_id = group->generation;
        response.protocol_type = group->protocol_type;
        response.protocol_name = group->protocol;
        /* Below version 9 a leader would compute an assignment that nobody waits for. */
        response.skip_assignment = leads && join->call->version >= 9;
        response.leader = leads && join->call->version < 9 ? bytes__or_empty((struct bytes){0})
                                                           : member__at(groups, group->leader)->id;
        response.member_id = member->id;
        member->join_token = 0;
        group->joined_count--;
        groups__answer(groups, join->call->token, &response);
        return;
    }
    if (group->state == GROUP_EMPTY || group->state == GROUP_STABLE ||
        group->state == GROUP_COMPLETING)
        group__rebalance(groups, group, GROUP_CAUSE_JOIN, join->time);
    group__try_complete(groups, group, join->time);
}

/* A member that is one already. */
static void
join_again(struct groups *groups,
           struct group *group,
           struct member *member,
           const struct join *join)
{
    bool same = join_same_protocols(member, join->request);
    bool leads = group->leader == member__idx(groups, member);
    bool unchanged = (group->state == GROUP_COMPLETING && same) ||
                     (group->state == GROUP_STABLE && same && !leads);

    if (!join_park(groups, member, join)) {
        join_refuse(groups, join->call, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, member->id);
        return;
    }
    if (unchanged) {
        member__heard(groups, member, join->time.now_ns);
        group__answer_join(groups, group, member);
        return;
    }
    if (group->state != GROUP_PREPARING)
        group__rebalance(groups, group, GROUP_CAUSE_JOIN, join->time);
    group__try_complete(groups, group, join->time);
}

static void
join_known_id(struct groups *groups, struct group *group, const struct join *join)
{
    struct member *member;
    int16_t error = group__check_member(
        groups, group, join->request->member_id, join->request->group_instance_id, &member);

    if (error == KAFKA_ERROR_NONE && (member->flags & MEMBER_PENDING) != 0) {
        if (!join_park(groups, member, join)) {
            join_refuse(groups, join->call, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE, member->id);
            return;
        }
        member->flags = MEMBER_NEWCOMER;
        group->pending_count--;
        group->member_count++;
        join_newcomer(groups, group, member, join);
        return;
    }
    if (error == KAFKA_ERROR_NONE && group->state == GROUP_EMPTY)
        error = KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (error != KAFKA_ERROR_NONE)
        join_refuse(groups, join->call, error, join->request->member_id);
    else
        join_again(groups, group, member, join);
}

/* What can be said without looking at members; 0: go on. */
static int16_t
join_check(const struct groups *groups,
           const struct group *group,
           const struct kafka_join_group_request *request)
{
    const struct groups_limits *limits = &groups->config.limits;

    if (request->group_id.count == 0 || request->group_id.count > GROUP_ID_BYTES_MAX ||
        request->group_instance_id.count > GROUP_TEXT_BYTES_MAX)
        return KAFKA_ERROR_INVALID_GROUP_ID;
    if (request->session_timeout_ms < 0 ||
        (uint64_t)request->session_timeout_ms * NS_PER_MS < limits->session_min_ns ||
        (uint64_t)request->session_timeout_ms * NS_PER_MS > limits->session_max_ns)
        return KAFKA_ERROR_INVALID_SESSION_TIMEOUT;
    if (group == NULL && request->member_id.count > 0)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (group != NULL && group->state == GROUP_DEAD)
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (group != NULL && group->kind == GROUP_CONSUMER && group->member_count > 0)
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    if (!join_fits(groups, group, request))
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    return KAFKA_ERROR_NONE;
}

void
groups_join(struct groups *groups,
            const struct group_call *call,
            const struct kafka_join_group_request *request,
            struct group_time time)
{
    const struct join join = {.call = call, .request = request, .time = time};
    struct group *group = group__find(groups, request->group_id);
    int16_t error = join_check(groups, group, request);

    groups->counters.joins++;
    if (error == KAFKA_ERROR_NONE && group == NULL) {
        group = group__add(groups, request->group_id);
        if (group != NULL)
            group->state_ms = time.wall_ms;
        else
            error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (error != KAFKA_ERROR_NONE) {
        join_refuse(groups, call, error, request->member_id);
        return;
    }
    if (group->kind == GROUP_CONSUMER)
        group__convert(groups, group, GROUP_CLASSIC);
    if (request->member_id.count > 0) {
        join_known_id(groups, group, &join);
        return;
    }
    struct member *known = request->group_instance_id.count > 0
                               ? member__find_instance(groups, group, request->group_instance_id)
                               : NULL;
    if (known != NULL)
        join_as_returned(groups, group, known, &join);
    else if (group->member_count + group->pending_count >= groups->config.limits.size_max)
        join_refuse(groups, call, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED, (struct bytes){0});
    else
        join_as_new(groups, group, &join);
}
