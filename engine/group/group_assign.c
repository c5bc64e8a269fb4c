/* The assignors of the consumer protocol: which member shall have which partition.
 *
 * uniform   Loads differ by at most one where all members subscribe to the same topics, and every
 *           member keeps of its own what its share allows. Where subscriptions differ, a partition
 *           without a member goes to the one of its subscribers with the least load, and partitions
 *           move from the most to the least loaded while that evens them out.
 * range     Topic by topic, its subscribers in the order of their instance or member ids get one
 *           contiguous range each: partitions with the same number in two topics go together.
 *
 * Work is bounded by partitions × members, where subscriptions differ by ASSIGN_STEPS_MAX
 * comparisons beyond that. All in memory set aside at boot. */
#include "engine/group/group_inner.h"

#define ASSIGN_STEPS_MAX (1u << 22)
#define ASSIGN_NOBODY UINT32_MAX

/* A run of the assignor, over memory of struct groups. */
struct assign {
    struct groups *groups;
    uint64_t *parts;   /* [part_count] all subscribed partitions, ascending */
    uint64_t *sorted;  /* [part_count] by owner */
    uint32_t *owners;  /* [part_count] index into members, or ASSIGN_NOBODY */
    uint32_t *members; /* [member_count] places in the slab */
    uint32_t *counts;  /* [member_count] partitions owned */
    uint32_t *limits;  /* [member_count] */
    uint32_t part_count;
    uint32_t member_count;
    uint32_t steps;
};

static const struct consumer *
assign_member(const struct assign *assign, uint32_t k)
{
    return &member__at(assign->groups, assign->members[k])->consumer;
}

static bool
assign_subscribes(const struct assign *assign, uint32_t k, uint64_t part)
{
    return topics__has(&assign_member(assign, k)->topics, set__topic(part));
}

/* ---- what there is */

/* All members, and all partitions of their topics; those beyond the limit stay without a member. */
static void
assign_collect(struct assign *assign, const struct group *group)
{
    struct groups *groups = assign->groups;
    uint32_t parts_max = groups->config.limits.consumer_partitions_max;
    bool is_cut = false;

    /* There are more only after a restart with a smaller group.max.size. */
    for (uint32_t idx = group->member_first;
         idx != SLAB_NONE && assign->member_count < groups->config.limits.size_max;) {
        const struct member *member = member__at(groups, idx);
        assign->members[assign->member_count++] = idx;
        idx = member->after;
    }
    /* A topic is marked as seen by its first partition; lists are the same as a rule. */
    const struct group_topics *before = NULL;
    for (uint32_t k = 0; k < assign->member_count; k++) {
        const struct group_topics *topics = &assign_member(assign, k)->topics;
        if (before != NULL && topics__equal(before, topics))
            continue;
        before = topics;
        for (uint32_t t = 0; t < topics->count; t++) {
            uint32_t count = ctopic__at(groups, topics->at[t])->partition_count;
            if (count > parts_max - assign->part_count) {
                assign->part_count = set__sort(assign->parts, assign->part_count);
                is_cut |= count > parts_max - assign->part_count;
                count = min_u32(count, parts_max - assign->part_count);
            }
            for (uint32_t p = 0; p < count; p++)
                assign->parts[assign->part_count++] = set__part(topics->at[t], p);
        }
    }
    assign->part_count = set__sort(assign->parts, assign->part_count);
    groups->counters.limits_reached += is_cut;
    for (uint32_t i = 0; i < assign->part_count; i++)
        assign->owners[i] = ASSIGN_NOBODY;
    for (uint32_t k = 0; k < assign->member_count; k++)
        assign->counts[k] = 0;
}

static void
assign_keep_set(struct assign *assign, uint32_t k, const struct group_set *set)
{
    uint32_t i = 0;

    for (uint32_t s = 0; s < set->count; s++) {
        while (i < assign->part_count && assign->parts[i] < set->at[s])
            i++;
        bool is_free = i < assign->part_count && assign->parts[i] == set->at[s] &&
                       assign->owners[i] == ASSIGN_NOBODY;
        if (is_free && assign_subscribes(assign, k, set->at[s])) {
            assign->owners[i] = k;
            assign->counts[k]++;
        }
    }
}

/* Everybody keeps what it has or had been promised, if it may; what is held goes before what is
 * only promised. */
static void
assign_keep(struct assign *assign)
{
    for (uint32_t k = 0; k < assign->member_count; k++)
        assign_keep_set(assign, k, &assign_member(assign, k)->assigned);
    for (uint32_t k = 0; k < assign->member_count; k++)
        assign_keep_set(assign, k, &assign_member(assign, k)->target);
}

static bool
assign_is_even(const struct assign *assign)
{
    for (uint32_t k = 1; k < assign->member_count; k++)
        if (!topics__equal(&assign_member(assign, 0)->topics, &assign_member(assign, k)->topics))
            return false;
    return true;
}

/* ---- uniform */

/* Shares of equal subscribers: those that hold more than the least share get the rest of the
 * division first. */
static void
uniform_limits(struct assign *assign)
{
    uint32_t least = assign->part_count / assign->member_count;
    uint32_t rest = assign->part_count % assign->member_count;

    for (uint32_t k = 0; k < assign->member_count; k++) {
        bool takes = assign->counts[k] > least && rest > 0;
        assign->limits[k] = least + takes;
        rest -= takes;
    }
    for (uint32_t k = 0; k < assign->member_count && rest > 0; k++) {
        bool takes = assign->limits[k] == least;
        assign->limits[k] += takes;
        rest -= takes;
    }
}

static void
uniform_even(struct assign *assign)
{
    uint32_t next = 0;

    uniform_limits(assign);
    for (uint32_t i = assign->part_count; i-- > 0;) {
        uint32_t k = assign->owners[i];
        if (k != ASSIGN_NOBODY && assign->counts[k] > assign->limits[k]) {
            assign->owners[i] = ASSIGN_NOBODY;
            assign->counts[k]--;
        }
    }
    for (uint32_t i = 0; i < assign->part_count; i++) {
        if (assign->owners[i] != ASSIGN_NOBODY)
            continue;
        while (assign->counts[next] == assign->limits[next])
            next++;
        CHECK(next < assign->member_count); /* limits add up to part_count */
        assign->owners[i] = next;
        assign->counts[next]++;
    }
}

/* The subscriber with the least load; ASSIGN_NOBODY: none. */
static uint32_t
uniform_least(struct assign *assign, uint64_t part)
{
    uint32_t best = ASSIGN_NOBODY;

    for (uint32_t k = 0; k < assign->member_count; k++) {
        bool better = best == ASSIGN_NOBODY || assign->counts[k] < assign->counts[best];
        assign->steps++;
        if (better && assign_subscribes(assign, k, part))
            best = k;
    }
    return best;
}

static void
uniform_mixed(struct assign *assign)
{
    bool moved = true;

    for (uint32_t i = 0; i < assign->part_count; i++) {
        if (assign->owners[i] != ASSIGN_NOBODY)
            continue;
        uint32_t k = uniform_least(assign, assign->parts[i]);
        assign->owners[i] = k;
        if (k != ASSIGN_NOBODY)
            assign->counts[k]++;
    }
    assign->steps = 0;
    /* Each move makes the sum of squares of the loads smaller, so this ends. */
    while (moved && assign->steps < ASSIGN_STEPS_MAX) {
        moved = false;
        for (uint32_t i = 0; i < assign->part_count && assign->steps < ASSIGN_STEPS_MAX; i++) {
            uint32_t from = assign->owners[i];
            if (from == ASSIGN_NOBODY)
                continue;
            uint32_t to = uniform_least(assign, assign->parts[i]);
            if (to == ASSIGN_NOBODY || assign->counts[to] + 1 >= assign->counts[from])
                continue;
            assign->owners[i] = to;
            assign->counts[from]--;
            assign->counts[to]++;
            moved = true;
        }
    }
}

/* ---- range */

static struct bytes
range_name(const struct assign *assign, uint32_t idx)
{
    const struct member *member = member__at(assign->groups, idx);

    return member->instance.count > 0 ? member->instance : member->id;
}

static int
range_compare(struct bytes a, struct bytes b)
{
    int order = memcmp(a.at, b.at, a.count < b.count ? a.count : b.count);

    return order != 0 ? order : (a.count > b.count) - (a.count < b.count);
}

static void
range_sort_members(struct assign *assign)
{
    for (uint32_t gap = assign->member_count / 2; gap > 0; gap /= 2)
        for (uint32_t i = gap; i < assign->member_count; i++) {
            uint32_t idx = assign->members[i];
            struct bytes name = range_name(assign, idx);
            uint32_t at = i;
            for (; at >= gap &&
                   range_compare(range_name(assign, assign->members[at - gap]), name) > 0;
                 at -= gap)
                assign->members[at] = assign->members[at - gap];
            assign->members[at] = idx;
        }
}

/* Partitions [first, end) of one topic. */
static void
range_topic(struct assign *assign, uint32_t first, uint32_t end)
{
    uint32_t subscribers = 0;
    uint32_t at = first;
    uint32_t nth = 0;

    for (uint32_t k = 0; k < assign->member_count; k++)
        subscribers += assign_subscribes(assign, k, assign->parts[first]);
    for (uint32_t k = 0; k < assign->member_count && subscribers > 0; k++) {
        if (!assign_subscribes(assign, k, assign->parts[first]))
            continue;
        uint32_t share = (end - first) / subscribers + (nth < (end - first) % subscribers);
        nth++;
        for (uint32_t i = 0; i < share; i++)
            assign->owners[at++] = k;
    }
}

static void
range_all(struct assign *assign)
{
    uint32_t end;

    range_sort_members(assign);
    for (uint32_t first = 0; first < assign->part_count; first = end) {
        end = first + 1;
        while (end < assign->part_count &&
               set__topic(assign->parts[end]) == set__topic(assign->parts[first]))
            end++;
        range_topic(assign, first, end);
    }
}

/* ---- the outcome */

/* Partitions by owner, each owner's ascending. */
static bool
assign_hand_out(struct assign *assign)
{
    uint32_t at = 0;
    bool all = true;

    for (uint32_t k = 0; k < assign->member_count; k++) {
        assign->limits[k] = 0;
        assign->counts[k] = 0;
    }
    for (uint32_t i = 0; i < assign->part_count; i++)
        if (assign->owners[i] != ASSIGN_NOBODY)
            assign->counts[assign->owners[i]]++;
    for (uint32_t k = 0; k < assign->member_count; k++) {
        assign->limits[k] = at; /* where its partitions go next */
        at += assign->counts[k];
    }
    for (uint32_t i = 0; i < assign->part_count; i++)
        if (assign->owners[i] != ASSIGN_NOBODY)
            assign->sorted[assign->limits[assign->owners[i]]++] = assign->parts[i];
    for (uint32_t k = 0; k < assign->member_count; k++) {
        struct member *member = member__at(assign->groups, assign->members[k]);
        const uint64_t *own = &assign->sorted[assign->limits[k] - assign->counts[k]];
        all &= set__assign(assign->groups, &member->consumer.target, own, assign->counts[k]);
    }
    return all;
}

/* What most members wish; uniform when nobody does, and among equals. */
static enum consumer_assignor
assign_elect(const struct assign *assign)
{
    uint32_t votes[ASSIGNORS] = {0};

    for (uint32_t k = 0; k < assign->member_count; k++)
        votes[assign_member(assign, k)->assignor]++;
    return votes[ASSIGNOR_RANGE] > votes[ASSIGNOR_UNIFORM] ? ASSIGNOR_RANGE : ASSIGNOR_UNIFORM;
}

bool
consumer__assign(struct groups *groups, struct group *group)
{
    struct assign assign = {.groups = groups,
                            .parts = groups->assign_parts,
                            .sorted = groups->assign_sorted,
                            .owners = groups->assign_owners,
                            .members = groups->assign_members,
                            .counts = groups->assign_members + groups->config.limits.size_max,
                            .limits = groups->assign_members + 2 * groups->config.limits.size_max};

    assign_collect(&assign, group);
    group->assignor = (uint8_t)assign_elect(&assign);
    if (assign.member_count == 0)
        return true;
    if (group->assignor == ASSIGNOR_RANGE) {
        range_all(&assign);
        return assign_hand_out(&assign);
    }
    assign_keep(&assign);
    if (assign_is_even(&assign))
        uniform_even(&assign);
    else
        uniform_mixed(&assign);
    return assign_hand_out(&assign);
}

/* ---- names */

static const char *const assignor_names[ASSIGNORS] = {
    [ASSIGNOR_NONE] = "", [ASSIGNOR_UNIFORM] = "uniform", [ASSIGNOR_RANGE] = "range"};

const char *
consumer__assignor_name(enum consumer_assignor assignor)
{
    return assignor_names[assignor];
}

enum consumer_assignor
consumer__assignor_of(struct bytes name)
{
    for (uint32_t i = ASSIGNOR_UNIFORM; i < ASSIGNORS; i++)
        if (name.count == strlen(assignor_names[i]) &&
            memcmp(name.at, assignor_names[i], name.count) == 0)
            return (enum consumer_assignor)i;
    return ASSIGNOR_NONE;
}
