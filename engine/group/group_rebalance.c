/* From a change among the members to the next generation.
 *
 * PREPARING waits until every member said Join, at most for the greatest of their rebalance
 * time-outs. The first members of an empty group are collected for initial_delay_ns instead
 * (GROUP_DELAYED), again and again while newcomers arrive (GROUP_NEWCOMER), so that a fleet that
 * starts up rebalances once. */
#include "engine/group/group_inner.h"

static uint64_t
group_rebalance_ns(const struct groups *groups, const struct group *group)
{
    uint64_t most_ns = 0;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        if ((member->flags & MEMBER_PENDING) == 0)
            most_ns = max_u64(most_ns, member->rebalance_ns);
        idx = member->after;
    }
    return most_ns;
}

static void
group_count_cause(struct groups *groups, enum group_cause cause)
{
    switch (cause) {
    case GROUP_CAUSE_JOIN:
        groups->counters.rebalances_joined++;
        break;
    case GROUP_CAUSE_LEAVE:
        groups->counters.rebalances_left++;
        break;
    case GROUP_CAUSE_EXPIRED:
        groups->counters.rebalances_expired++;
        break;
    }
}

/* Parked Syncs of the generation that is given up learn of it. */
static void
group_refuse_syncs(struct groups *groups, struct group *group)
{
    group->sync_number = 0;
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        group_heap_drop(&groups->heap, &member->assignment);
        member__unpark_sync(groups, member, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
        idx = member->after;
    }
}

void
group__rebalance(struct groups *groups,
                 struct group *group,
                 enum group_cause cause,
                 struct group_time time)
{
    uint64_t wait_ns = group_rebalance_ns(groups, group);

    CHECK(group->state != GROUP_PREPARING);
    group_count_cause(groups, cause);
    if (group->state == GROUP_COMPLETING)
        group_refuse_syncs(groups, group);
    group->flags = 0;
    if (group->state == GROUP_EMPTY && groups->config.limits.initial_delay_ns > 0) {
        group->flags = GROUP_DELAYED;
        group->delay_end_ns = time.now_ns + wait_ns;
        wait_ns = min_u64(wait_ns, groups->config.limits.initial_delay_ns);
    }
    group__move(groups, group, GROUP_PREPARING);
    group->step_deadline_ns = time.now_ns + wait_ns;
    group__wake(groups, group, group->step_deadline_ns);
}

void
group__try_complete(struct groups *groups, struct group *group, struct group_time time)
{
    CHECK(group->state == GROUP_PREPARING);
    if ((group->flags & GROUP_DELAYED) != 0)
        return;
    if (group->joined_count == group->member_count && group->pending_count == 0)
        group__complete(groups, group, time);
}

/* ---- completion */

/* Dynamic members that did not rejoin are out; static ones may be restarting. */
static void
group_drop_stragglers(struct groups *groups, struct group *group)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        bool is_pending = (member->flags & MEMBER_PENDING) != 0;
        bool is_static = (member->flags & MEMBER_STATIC) != 0;
        if (!is_pending && !is_static && member->join_token == 0)
            member__remove(groups, member);
    }
}

static bool
group_all_know(const struct groups *groups, const struct group *group, struct bytes protocol)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        if ((member->flags & MEMBER_PENDING) == 0 && member__protocol(member, protocol).at == NULL)
            return false;
        idx = member->after;
    }
    return true;
}

/* The first protocol in a member's order that all members know: its vote. */
static struct bytes
member_vote(const struct groups *groups, const struct group *group, const struct member *member)
{
    struct bytes name;
    struct bytes metadata;
    size_t at = 0;

    while (member__next_protocol(member, &at, &name, &metadata))
        if (group_all_know(groups, group, name))
            return name;
    return (struct bytes){0};
}

/* The protocol with most votes; the earliest voter's among equals. Quadratic in the members, whose
 * votes are few and equal as a rule: the first vote is counted first, and a majority ends it. */
static struct bytes
group_elect(const struct groups *groups, const struct group *group)
{
    struct bytes best = {0};
    uint32_t best_votes = 0;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *candidate = member__at(groups, idx);
        idx = candidate->after;
        if ((candidate->flags & MEMBER_PENDING) != 0)
            continue;
        struct bytes name = member_vote(groups, group, candidate);
        uint32_t votes = 0;
        if (name.at == NULL || (best.at != NULL && bytes__equal(name, best)))
            continue;
        for (uint32_t other = group->member_first; other != SLAB_NONE;) {
            const struct member *voter = member__at(groups, other);
            if ((voter->flags & MEMBER_PENDING) == 0)
                votes += bytes__equal(member_vote(groups, group, voter), name);
            other = voter->after;
        }
        if (votes > best_votes) {
            best = name;
            best_votes = votes;
        }
        if (best_votes * 2 > group->member_count)
            break;
    }
    return best;
}

static void
group_choose_leader(const struct groups *groups, struct group *group)
{
    if (group->leader != SLAB_NONE && member__at(groups, group->leader)->join_token != 0)
        return;
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        if (member->join_token != 0) {
            group->leader = idx;
            return;
        }
        idx = member->after;
    }
}

/* The members of a generation, for its leader. */
static void
group_list_members(struct groups *groups,
                   const struct group *group,
                   struct kafka_join_group_response *response)
{
    struct kafka_arena arena = groups->config.hooks.scratch(groups->config.hooks.ctx);
    struct kafka_join_group_response_member *list = kafka_arena_take(
        &arena, group->member_count * sizeof(*list));
    uint32_t count = 0;

    if (list == NULL) {
        response->error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        return;
    }
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if ((member->flags & MEMBER_PENDING) != 0)
            continue;
        list[count].member_id = member->id;
        list[count].group_instance_id = member->instance;
        list[count].metadata = bytes__or_empty(member__protocol(member, group->protocol));
        count++;
    }
    response->members.at = list;
    response->members.count = count;
}

void
group__answer_join(struct groups *groups, const struct group *group, struct member *member)
{
    struct kafka_join_group_response response;
    const struct member *leader = member__at(groups, group->leader);

    kafka_join_group_response_defaults(&response);
    response.generation_id = group->generation;
    response.protocol_type = group->protocol_type;
    response.protocol_name = bytes__or_empty(group->protocol);
    response.leader = leader->id;
    response.member_id = member->id;
    if (leader == member)
        group_list_members(groups, group, &response);
    uint64_t token = member->join_token;
    member->join_token = 0;
    group__at(groups, member->group)->joined_count--;
    groups__answer(groups, token, &response);
}

static void
group_empty(struct groups *groups, struct group *group, struct group_time time)
{
    uint64_t number;

    group__move(groups, group, GROUP_EMPTY);
    group->generation++;
    group->state_ms = time.wall_ms;
    group->step_deadline_ns = NO_DEADLINE;
    group_heap_drop(&groups->heap, &group->protocol);
    /* What is lost when this finds no room: the time at which the group became empty. */
    (void)!record__append_group(groups, group, &number);
}

void
group__complete(struct groups *groups, struct group *group, struct group_time time)
{
    struct bytes protocol;

    group->flags = 0;
    group_drop_stragglers(groups, group);
    if (group->joined_count == 0) {
        /* Only static members, none of them back yet: wait for their sessions to end. */
        group->step_deadline_ns = group->member_count > 0
                                      ? time.now_ns + group_rebalance_ns(groups, group)
                                      : NO_DEADLINE;
        if (group->member_count == 0)
            group_empty(groups, group, time);
        else
            group__wake(groups, group, group->step_deadline_ns);
        return;
    }
    if (!group_heap_copy(&groups->heap, group_elect(groups, group), &protocol)) {
        groups->counters.limits_reached++;
        group->step_deadline_ns = time.now_ns + NS_PER_S;
        group__wake(groups, group, group->step_deadline_ns);
        return;
    }
    group_heap_drop(&groups->heap, &group->protocol);
    group->protocol = protocol;
    group->generation++;
    group->state_ms = time.wall_ms;
    groups->counters.generations++;
    group_choose_leader(groups, group);
    group__move(groups, group, GROUP_COMPLETING);
    group->step_deadline_ns = time.now_ns + group_rebalance_ns(groups, group);
    group__wake(groups, group, group->step_deadline_ns);
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        member->synced = false;
        group_heap_drop(&groups->heap, &member->assignment);
        if (member->join_token == 0)
            continue;
        member->flags &= (uint8_t)~MEMBER_NEWCOMER;
        member__heard(groups, member, time.now_ns);
        group__answer_join(groups, group, member);
    }
}

void
group__drop_member(struct groups *groups,
                   struct member *member,
                   enum group_cause cause,
                   struct group_time time)
{
    struct group *group = group__at(groups, member->group);
    bool was_pending = (member->flags & MEMBER_PENDING) != 0;

    member__remove(groups, member);
    if (!was_pending && (group->state == GROUP_STABLE || group->state == GROUP_COMPLETING)) {
        /* Without members there is nobody to wait for. */
        group__rebalance(groups, group, cause, time);
    }
    if (group->state == GROUP_PREPARING)
        group__try_complete(groups, group, time);
}
