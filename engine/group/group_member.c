/* SyncGroup, Heartbeat, LeaveGroup. */
#include "engine/group/group_inner.h"

int16_t
group__check_member(const struct groups *groups,
                    const struct group *group,
                    struct bytes member_id,
                    struct bytes instance,
                    struct member **ret_member)
{
    struct member *member = member__find(groups, group, member_id);

    if (instance.count > 0) {
        struct member *known = member__find_instance(groups, group, instance);
        if (known == NULL)
            return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
        if (known != member)
            return KAFKA_ERROR_FENCED_INSTANCE_ID;
    }
    if (member == NULL)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    *ret_member = member;
    return KAFKA_ERROR_NONE;
}

/* As above for requests that name a generation; pending members have none. */
static int16_t
member_check_generation(const struct groups *groups,
                        const struct group *group,
                        struct bytes member_id,
                        struct bytes instance,
                        struct member **ret_member)
{
    if (group == NULL || group->state == GROUP_DEAD)
        return group == NULL ? KAFKA_ERROR_UNKNOWN_MEMBER_ID
                             : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    if (group->kind == GROUP_CONSUMER)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    int16_t error = group__check_member(groups, group, member_id, instance, ret_member);
    if (error == KAFKA_ERROR_NONE && ((*ret_member)->flags & MEMBER_PENDING) != 0)
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    return error;
}

/* ---- SyncGroup */

static void
sync_refuse(struct groups *groups, const struct group_call *call, int16_t error)
{
    struct kafka_sync_group_response response;

    kafka_sync_group_response_defaults(&response);
    response.error = error;
    response.assignment = bytes__or_empty((struct bytes){0});
    groups__answer(groups, call->token, &response);
}

static int16_t
sync_check(const struct groups *groups,
           const struct group *group,
           const struct kafka_sync_group_request *request,
           struct member **ret_member)
{
    int16_t error = member_check_generation(
        groups, group, request->member_id, request->group_instance_id, ret_member);

    if (error != KAFKA_ERROR_NONE)
        return error;
    if (request->generation_id != group->generation)
        return KAFKA_ERROR_ILLEGAL_GENERATION;
    if ((request->protocol_type.at != NULL &&
         !bytes__equal(request->protocol_type, group->protocol_type)) ||
        (request->protocol_name.at != NULL &&
         !bytes__equal(request->protocol_name, group->protocol)))
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    switch (group->state) {
    case GROUP_EMPTY:
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    case GROUP_PREPARING:
        return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    default:
        return KAFKA_ERROR_NONE;
    }
}

/* The leader's word: every member's assignment, and the record that keeps them. False: no memory or
 * no room in the log's buffer. */
static bool
sync_take_assignments(struct groups *groups,
                      struct group *group,
                      const struct kafka_sync_group_request *request)
{
    for (uint32_t i = 0; i < request->assignments.count; i++) {
        const struct kafka_sync_group_request_assignment *item = &request->assignments.at[i];
        struct member *member = member__find(groups, group, item->member_id);
        if (member == NULL)
            continue; /* it left meanwhile */
        group_heap_drop(&groups->heap, &member->assignment);
        if (!group_heap_copy(&groups->heap, item->assignment, &member->assignment)) {
            groups->counters.limits_reached++;
            return false;
        }
    }
    struct group_wait wait = {.kind = GROUP_WAIT_SYNC, .group = group__idx(groups, group)};
    if (groups->waits.used == groups->waits.count ||
        !record__append_group(groups, group, &wait.number))
        return false;
    group->sync_number = wait.number;
    wait__add(groups, &wait);
    return true;
}

void
groups_sync(struct groups *groups,
            const struct group_call *call,
            const struct kafka_sync_group_request *request,
            struct group_time time)
{
    struct group *group = group__find(groups, request->group_id);
    struct member *member;
    int16_t error = sync_check(groups, group, request, &member);

    if (error != KAFKA_ERROR_NONE) {
        sync_refuse(groups, call, error);
        return;
    }
    member__heard(groups, member, time.now_ns);
    member->synced = true;
    member__unpark_sync(groups, member, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    member->sync_token = call->token;
    member->sync_version = call->version;
    if (group->state == GROUP_STABLE) {
        member__unpark_sync(groups, member, KAFKA_ERROR_NONE);
        return;
    }
    bool leads = group->leader == member__idx(groups, member);
    if (leads && group->sync_number == 0 && !sync_take_assignments(groups, group, request))
        member__unpark_sync(groups, member, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
}

void
group__sync_durable(struct groups *groups, struct group *group, enum rc rc, uint64_t now_ns)
{
    CHECK(group->state == GROUP_COMPLETING);
    group->sync_number = 0;
    if (rc == RC_OK) {
        group__move(groups, group, GROUP_STABLE);
        /* Those that said no Sync yet are still expected to. */
        bool all = true;
        for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
            const struct member *member = member__at(groups, idx);
            all &= member->synced || (member->flags & MEMBER_PENDING) != 0;
            idx = member->after;
        }
        if (all)
            group->step_deadline_ns = NO_DEADLINE;
    }
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        if (member->sync_token == 0)
            continue;
        member__heard(groups, member, now_ns);
        member__unpark_sync(
            groups, member, rc == RC_OK ? KAFKA_ERROR_NONE : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    }
}

/* ---- Heartbeat */

void
groups_heartbeat(struct groups *groups,
                 const struct group_call *call,
                 const struct kafka_heartbeat_request *request,
                 struct group_time time)
{
    struct group *group = group__find(groups, request->group_id);
    struct kafka_heartbeat_response response;
    struct member *member;

    kafka_heartbeat_response_defaults(&response);
    response.error = member_check_generation(
        groups, group, request->member_id, request->group_instance_id, &member);
    if (response.error == KAFKA_ERROR_NONE && group->state == GROUP_EMPTY)
        response.error = KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    if (response.error == KAFKA_ERROR_NONE && request->generation_id != group->generation)
        response.error = KAFKA_ERROR_ILLEGAL_GENERATION;
    if (response.error == KAFKA_ERROR_NONE) {
        member__heard(groups, member, time.now_ns);
        if (group->state == GROUP_PREPARING)
            response.error = KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    }
    groups__answer(groups, call->token, &response);
}

void
groups_unpark(struct groups *groups)
{
    for (uint32_t i = 0; i < groups->members.count; i++) {
        struct member *member = member__at(groups, i);
        if (member->id.count == 0)
            continue;
        member__unpark_join(groups, member, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        member__unpark_sync(groups, member, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
    }
}

/* ---- LeaveGroup */

static int16_t
leave_one(struct groups *groups,
          struct group *group,
          struct bytes member_id,
          struct bytes instance,
          struct group_time time)
{
    struct member *member = NULL;
    int16_t error = KAFKA_ERROR_NONE;

    if (instance.count > 0 && member_id.count == 0) {
        member = member__find_instance(groups, group, instance); /* a tool removes it by name */
        error = member == NULL ? KAFKA_ERROR_UNKNOWN_MEMBER_ID : KAFKA_ERROR_NONE;
    } else {
        error = group__check_member(groups, group, member_id, instance, &member);
    }
    if (error != KAFKA_ERROR_NONE)
        return error;
    /* Tools remove members of either protocol so. */
    if (group->kind != GROUP_CONSUMER)
        group__drop_member(groups, member, GROUP_CAUSE_LEAVE, time);
    else if (!consumer__drop_member(groups, member, GROUP_CAUSE_LEAVE, time))
        error = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    return error;
}

static void
leave_list(struct groups *groups,
           const struct kafka_leave_group_request *request,
           const int16_t *errors,
           struct kafka_leave_group_response *response)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_leave_group_response_member_response *list = kafka_arena_take(
        &arena, request->members.count * sizeof(*list));

    if (list == NULL) {
        response->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        return;
    }
    for (uint32_t i = 0; i < request->members.count; i++) {
        list[i].member_id = bytes__or_empty(request->members.at[i].member_id);
        list[i].group_instance_id = request->members.at[i].group_instance_id;
        list[i].error = errors[i];
    }
    response->members.at = list;
    response->members.count = request->members.count;
}

void
groups_leave(struct groups *groups,
             const struct group_call *call,
             const struct kafka_leave_group_request *request,
             struct group_time time)
{
    struct group *group = group__find(groups, request->group_id);
    struct kafka_leave_group_response response;

    kafka_leave_group_response_defaults(&response);
    if (group == NULL || group->state == GROUP_DEAD) {
        response.error = KAFKA_ERROR_UNKNOWN_MEMBER_ID;
        groups__answer(groups, call->token, &response);
        return;
    }
    if (call->version < 3) {
        response.error = leave_one(groups, group, request->member_id, (struct bytes){0}, time);
        groups__answer(groups, call->token, &response);
        return;
    }
    size_t error_bytes = request->members.count * sizeof(int16_t);
    /* Leaving may answer others, which uses the scratch memory: errors are kept apart till then. */
    int16_t *errors = error_bytes > 0 ? group_heap_take(&groups->heap, error_bytes) : NULL;
    if (errors == NULL && error_bytes > 0) {
        response.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        groups__answer(groups, call->token, &response);
        return;
    }
    for (uint32_t i = 0; i < request->members.count; i++)
        errors[i] = leave_one(groups,
                              group,
                              request->members.at[i].member_id,
                              request->members.at[i].group_instance_id,
                              time);
    leave_list(groups, request, errors, &response);
    group_heap_give(&groups->heap, errors, error_bytes);
    groups__answer(groups, call->token, &response);
}
