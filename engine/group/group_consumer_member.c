/* What happens to the members of a consumer group together: epochs, ends, time-outs, conversion. */
#include "engine/group/group_inner.h"

bool
consumer__bump(struct groups *groups, struct group *group, struct group_time time)
{
    uint64_t number;

    group->generation++;
    group->topics_hash = consumer__topics_hash(groups, group);
    groups->counters.generations++;
    bool ok = consumer__assign(groups, group) &&
              record__append_consumer_group(groups, group, &number);
    group->needs_targets = !ok;
    consumer__settle_state(groups, group, time);
    return ok;
}

void
consumer__drop_parts(struct groups *groups, struct consumer *consumer)
{
    group_heap_drop(&groups->heap, &consumer->rack);
    group_heap_drop(&groups->heap, &consumer->names);
    group_heap_drop(&groups->heap, &consumer->regex);
    topics__drop(groups, &consumer->topics);
    set__drop(groups, &consumer->assigned);
    set__drop(groups, &consumer->revoking);
    set__drop(groups, &consumer->target);
}

bool
consumer__drop_member(struct groups *groups,
                      struct member *member,
                      enum group_cause cause,
                      struct group_time time)
{
    struct group *group = group__at(groups, member->group);

    if (!record__append_consumer_gone(groups, group, member, &groups->gone_number))
        return false;
    member__remove(groups, member);
    if (cause == GROUP_CAUSE_LEAVE)
        groups->counters.rebalances_left++;
    else
        groups->counters.rebalances_expired++;
    /* What could not be done now is done with the next heartbeat. */
    (void)!consumer__bump(groups, group, time);
    return true;
}

void
consumer__tick(struct groups *groups, struct group *group, struct group_time time)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        bool is_over = member->deadline_ns <= time.now_ns ||
                       member->consumer.revoke_deadline_ns <= time.now_ns;
        /* Without room in the log it is tried again by the next tick. */
        if (is_over && !consumer__drop_member(groups, member, GROUP_CAUSE_EXPIRED, time))
            return;
    }
}

void
group__convert(struct groups *groups, struct group *group, enum group_kind kind)
{
    CHECK(group->member_count == 0 && group->pending_count == 0);
    group->kind = (uint8_t)kind;
    group_heap_drop(&groups->heap, &group->protocol);
    group_heap_drop(&groups->heap, &group->protocol_type);
    group->leader = SLAB_NONE;
    group->topics_version = UINT64_MAX; /* none looked at yet */
    group->needs_targets = kind == GROUP_CONSUMER;
}
