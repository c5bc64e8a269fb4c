/* One member's way to its target; the states are drawn in group_consumer.h. */
#include "engine/group/group_inner.h"

/* Whether somebody else holds it, or was told to give it up and has not yet. */
static bool
part_is_held(const struct groups *groups,
             const struct group *group,
             const struct member *except,
             uint64_t part)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if (member != except && (set__has(&member->consumer.assigned, part) ||
                                 set__has(&member->consumer.revoking, part)))
            return true;
    }
    return false;
}

/* owned NULL: the member did not say, so it may still have all. */
static bool
reconcile_owns(const struct group_set *owned, const uint64_t *parts, uint32_t count)
{
    if (owned == NULL)
        return count > 0;
    for (uint32_t i = 0; i < count; i++)
        if (set__has(owned, parts[i]))
            return true;
    return false;
}

/* What a member becomes. */
struct next {
    int32_t epoch;
    enum consumer_state state;
    uint32_t assigned_count; /* in groups->assign_parts */
    uint32_t revoking_count; /* in groups->assign_sorted */
};

static struct next
reconcile_next(struct groups *groups,
               const struct group *group,
               const struct member *member,
               const struct group_set *owned)
{
    const struct consumer *consumer = &member->consumer;
    uint64_t *assigned = groups->assign_parts;
    uint64_t *revoking = groups->assign_sorted;
    struct next next = {.epoch = consumer->epoch, .state = CONSUMER_UNREVOKED};
    bool waits = false;

    next.assigned_count = set__both(&consumer->assigned, &consumer->target, assigned);
    next.revoking_count = set__without(&consumer->assigned, &consumer->target, revoking);
    if (reconcile_owns(owned, revoking, next.revoking_count))
        return next;
    next.revoking_count = 0;
    for (uint32_t i = 0; i < consumer->target.count; i++) {
        uint64_t part = consumer->target.at[i];
        if (set__has(&consumer->assigned, part))
            continue;
        if (part_is_held(groups, group, member, part))
            waits = true;
        else
            assigned[next.assigned_count++] = part;
    }
    next.assigned_count = set__sort(assigned, next.assigned_count);
    next.epoch = group->generation;
    next.state = waits ? CONSUMER_UNRELEASED : CONSUMER_STABLE;
    return next;
}

bool
consumer__reconcile(struct groups *groups,
                    struct group *group,
                    struct member *member,
                    const struct group_set *owned)
{
    struct consumer *consumer = &member->consumer;

    if (consumer->state == CONSUMER_STABLE && consumer->epoch == group->generation)
        return false;
    if (consumer->state == CONSUMER_UNREVOKED &&
        reconcile_owns(owned, consumer->revoking.at, consumer->revoking.count))
        return false;
    struct next next = reconcile_next(groups, group, member, owned);
    bool same = next.epoch == consumer->epoch && next.state == consumer->state &&
                set__equals(&consumer->assigned, groups->assign_parts, next.assigned_count) &&
                set__equals(&consumer->revoking, groups->assign_sorted, next.revoking_count);
    if (same)
        return false;
    /* What is given up first: should memory run out between the two, nothing is held twice, and the
     * member comes again. */
    if (!set__assign(groups, &consumer->revoking, groups->assign_sorted, next.revoking_count) ||
        !set__assign(groups, &consumer->assigned, groups->assign_parts, next.assigned_count))
        return false;
    if (next.epoch != consumer->epoch)
        consumer->previous_epoch = consumer->epoch;
    consumer->epoch = next.epoch;
    consumer->state = (uint8_t)next.state;
    return true;
}

void
consumer__settle_state(struct groups *groups, struct group *group, struct group_time time)
{
    enum group_state state = group->member_count > 0 ? GROUP_STABLE : GROUP_EMPTY;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE && state == GROUP_STABLE;) {
        const struct member *member = member__at(groups, idx);
        const struct consumer *consumer = &member->consumer;
        idx = member->after;
        if (consumer->epoch != CONSUMER_EPOCH_STATIC &&
            (consumer->state != CONSUMER_STABLE || consumer->epoch != group->generation))
            state = GROUP_RECONCILING;
    }
    if (state == group->state)
        return;
    group__move(groups, group, state);
    group->state_ms = time.wall_ms;
}
