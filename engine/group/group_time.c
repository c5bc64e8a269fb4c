/* Time-outs of members and rebalances, and expiry of offsets.
 *
 * A group's deadline is never later than the truth: a heartbeat moves only its member's, so most
 * look-ups of a group find that nothing is due and set the deadline right. */
#include "engine/group/group_inner.h"

/* A member that waits for an answer of ours cannot be silent. */
static bool
member_is_dead(const struct member *member, uint64_t now_ns)
{
    return member->deadline_ns <= now_ns && member->join_token == 0 && member->sync_token == 0;
}

static void
time_drop_dead(struct groups *groups, struct group *group, struct group_time time)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        if (!member_is_dead(member, time.now_ns))
            continue;
        enum group_state before = group->state;
        group__drop_member(groups, member, GROUP_CAUSE_EXPIRED, time);
        if (group->state != before)
            return; /* others are looked at in the next tick */
    }
}

/* Joins were collected long enough, or once more while newcomers arrive. */
static void
time_end_delay(struct groups *groups, struct group *group, struct group_time time)
{
    bool came = (group->flags & GROUP_NEWCOMER) != 0;
    uint64_t end_ns = min_u64(time.now_ns + groups->config.limits.initial_delay_ns,
                              group->delay_end_ns);

    group->flags &= (uint8_t)~GROUP_NEWCOMER;
    if (came && time.now_ns < group->delay_end_ns) {
        group->step_deadline_ns = end_ns;
        return;
    }
    group__complete(groups, group, time);
}

/* Members that took part in the rebalance but never asked for their assignment. */
static void
time_drop_unsynced(struct groups *groups, struct group *group, struct group_time time)
{
    group->step_deadline_ns = NO_DEADLINE;
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        if ((member->flags & MEMBER_PENDING) == 0 && !member->synced)
            member__remove(groups, member);
    }
    group__rebalance(groups, group, GROUP_CAUSE_EXPIRED, time);
    group__try_complete(groups, group, time);
}

static void
time_step(struct groups *groups, struct group *group, struct group_time time)
{
    if (group->step_deadline_ns > time.now_ns)
        return;
    switch (group->state) {
    case GROUP_PREPARING:
        if ((group->flags & GROUP_DELAYED) != 0)
            time_end_delay(groups, group, time);
        else
            group__complete(groups, group, time);
        break;
    case GROUP_COMPLETING:
    case GROUP_STABLE:
        time_drop_unsynced(groups, group, time);
        break;
    default:
        group->step_deadline_ns = NO_DEADLINE;
    }
}

static uint64_t
time_next(const struct groups *groups, const struct group *group)
{
    uint64_t next_ns = group->step_deadline_ns;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        if (member->join_token == 0 && member->sync_token == 0)
            next_ns = min_u64(next_ns, member->deadline_ns);
        if (group->kind == GROUP_CONSUMER)
            next_ns = min_u64(next_ns, member->consumer.revoke_deadline_ns);
        idx = member->after;
    }
    return next_ns;
}

/* ---- expiry */

static bool
time_expire_offsets(struct groups *groups, struct group *group, int64_t before_ms)
{
    uint64_t number;

    for (uint32_t idx = group->offset_first; idx != SLAB_NONE;) {
        struct group_offset *offset = slab_at(&groups->offsets, idx);
        struct bytes topic = offset__topic(groups, offset)->name;
        idx = offset->after;
        if (offset->commit_ms >= before_ms)
            continue;
        if (!record__append_offset_gone(groups, group, topic, offset->partition, &number))
            return false;
        offset__remove(groups, offset);
        groups->counters.offsets_expired++;
    }
    return group->offset_count == 0;
}

/* Offsets of groups that have had no members for the retention time; then the groups themselves. */
static void
time_expire(struct groups *groups, struct group_time time)
{
    int64_t retention_ms = groups->config.limits.retention_ms;
    uint64_t number;

    for (uint32_t i = 0; i < groups->groups.count; i++) {
        struct group *group = group__at(groups, i);
        bool is_idle = group->id.count > 0 && group->state == GROUP_EMPTY &&
                       group->pending_count == 0 && group->wait_count == 0 &&
                       group->pending_first == SLAB_NONE;
        if (!is_idle)
            continue;
        bool is_old = retention_ms >= 0 && group->state_ms < time.wall_ms - retention_ms;
        bool is_void = group->offset_count == 0;
        if (is_old && !is_void)
            is_void = time_expire_offsets(groups, group, time.wall_ms - retention_ms);
        if (is_void && (is_old || group->generation == 0) &&
            record__append_group_gone(groups, group, &number))
            group__remove(groups, group);
    }
}

void
groups_tick(struct groups *groups, struct group_time time)
{
    uint64_t next_ns = NO_DEADLINE;

    if (time.now_ns < groups->deadline_ns)
        return;
    if (time.now_ns >= groups->expiry_ns) {
        time_expire(groups, time);
        groups->expiry_ns = time.now_ns + GROUP_EXPIRY_NS;
    }
    for (uint32_t i = 0; i < groups->groups.count; i++) {
        struct group *group = group__at(groups, i);
        if (group->id.count == 0)
            continue;
        if (group->deadline_ns <= time.now_ns) {
            if (group->kind == GROUP_CONSUMER)
                consumer__tick(groups, group, time);
            else
                time_drop_dead(groups, group, time);
            time_step(groups, group, time);
            group->deadline_ns = time_next(groups, group);
        }
        next_ns = min_u64(next_ns, group->deadline_ns);
    }
    /* Not before the next tick, however many are due by then. */
    groups->deadline_ns = min_u64(max_u64(next_ns, time.now_ns + GROUP_TICK_NS), groups->expiry_ns);
}

uint64_t
groups_deadline(const struct groups *groups)
{
    return groups->deadline_ns;
}
