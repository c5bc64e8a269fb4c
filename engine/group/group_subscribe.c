/* Which topics the members of a group mean. Consumer groups: their names and patterns, looked up
 * among the topics that there are. Groups of the classic protocol: what members of type "consumer"
 * tell each other, of which the broker reads the names alone. */
#include "engine/group/group_inner.h"
#include "engine/group/group_regex.h"

bool
consumer__regex_ok(struct bytes pattern)
{
    struct group_regex regex;

    return pattern.count == 0 || group_regex_make(&regex, pattern);
}

/* A list of topics under construction, in memory of struct groups. */
struct resolve {
    struct groups *groups;
    uint32_t *list; /* [consumer_topics_max]; each holds a use */
    uint32_t count;
};

/* False: a limit is reached. A topic that is there already is not added again. */
static bool
resolve_add(struct resolve *resolve, const struct group_topic_info *info)
{
    uint32_t known = ctopic__find(resolve->groups, info->id);

    for (uint32_t i = 0; i < resolve->count && known != SLAB_NONE; i++)
        if (resolve->list[i] == known)
            return true;
    if (resolve->count == resolve->groups->config.limits.consumer_topics_max)
        return false;
    uint32_t idx = ctopic__use(resolve->groups, info);
    if (idx == SLAB_NONE)
        return false;
    uint32_t at = resolve->count++;
    for (; at > 0 && resolve->list[at - 1] > idx; at--)
        resolve->list[at] = resolve->list[at - 1];
    resolve->list[at] = idx;
    return true;
}

static bool
resolve_names(struct resolve *resolve, struct bytes names)
{
    const struct groups_hooks *hooks = &resolve->groups->config.hooks;
    struct reader reader = reader_over(names.at, names.count);

    while (reader_left(&reader) > 0) {
        uint16_t count = reader_u16_be(&reader);
        struct bytes name = {reader_take(&reader, count), count};
        struct group_topic_info info;
        CHECK(!reader.failed); /* written by us */
        if (hooks->topic(hooks->ctx, name, &info) && !resolve_add(resolve, &info))
            return false;
    }
    return true;
}

static bool
resolve_regex(struct resolve *resolve, struct bytes pattern)
{
    const struct groups_hooks *hooks = &resolve->groups->config.hooks;
    struct group_topic_info info;
    struct group_regex regex;
    uint32_t cursor = 0;

    if (pattern.count == 0 || !group_regex_make(&regex, pattern))
        return true;
    while (hooks->next_topic(hooks->ctx, &cursor, &info))
        if (group_regex_matches(&regex, info.name) && !resolve_add(resolve, &info))
            return false;
    return true;
}

bool
consumer__resolve(struct groups *groups, struct member *member)
{
    struct consumer *consumer = &member->consumer;
    struct resolve resolve = {.groups = groups, .list = groups->topic_list};
    struct group_topics topics;

    if (!resolve_names(&resolve, consumer->names) || !resolve_regex(&resolve, consumer->regex)) {
        for (uint32_t i = 0; i < resolve.count; i++)
            ctopic__drop(groups, resolve.list[i]);
        return false;
    }
    if (!topics__take(groups, resolve.list, resolve.count, &topics))
        return false;
    topics__drop(groups, &consumer->topics);
    consumer->topics = topics;
    return true;
}

uint64_t
consumer__topics_hash(const struct groups *groups, const struct group *group)
{
    uint64_t hash = 1;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        const struct group_topics *topics = &member->consumer.topics;
        idx = member->after;
        for (uint32_t i = 0; i < topics->count; i++) {
            uint32_t count = ctopic__at(groups, topics->at[i])->partition_count;
            const uint64_t step[3] = {hash, set__part(topics->at[i], count), member->serial};
            hash = hash_xxh3(step, sizeof(step), groups->config.hash_seed);
        }
    }
    return hash;
}

/* ---- whether a group reads a topic */

/* The names at the head of Kafka's ConsumerProtocolSubscription: i16 version, i32 count, each i16
 * length and text. What makes no sense names everything: who knows what its owner reads. */
static bool
metadata_names(struct bytes metadata, struct bytes topic, uint32_t *budget)
{
    struct reader reader = reader_over(metadata.at, metadata.count);
    int16_t version = (int16_t)reader_u16_be(&reader);
    int32_t count = (int32_t)reader_u32_be(&reader);

    if (reader.failed || version < 0 || count < 0)
        return true;
    for (int32_t i = 0; i < count; i++) {
        uint16_t bytes = reader_u16_be(&reader);
        struct bytes name = {reader_take(&reader, bytes), bytes};
        if (reader.failed || *budget == 0 || bytes__equal(name, topic))
            return true;
        (*budget)--;
    }
    return false;
}

static bool
consumer_names(const struct groups *groups,
               const struct consumer *consumer,
               struct bytes topic,
               uint32_t *budget)
{
    struct reader reader = reader_over(consumer->names.at, consumer->names.count);

    while (reader_left(&reader) > 0) {
        uint16_t bytes = reader_u16_be(&reader);
        struct bytes name = {reader_take(&reader, bytes), bytes};
        CHECK(!reader.failed); /* written by us */
        if (*budget == 0 || bytes__equal(name, topic))
            return true;
        (*budget)--;
    }
    for (uint32_t i = 0; i < consumer->topics.count; i++) {
        if (*budget == 0 || bytes__equal(ctopic__at(groups, consumer->topics.at[i])->name, topic))
            return true;
        (*budget)--;
    }
    return false;
}

bool
group__subscribes(const struct groups *groups,
                  const struct group *group,
                  struct bytes topic,
                  uint32_t *budget)
{
    bool is_classic = group->kind != GROUP_CONSUMER;

    if (is_classic && group->member_count > 0 && group->protocol.count == 0)
        return true; /* they do not know yet themselves */
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if ((member->flags & MEMBER_PENDING) != 0)
            continue;
        if (is_classic ? metadata_names(member__protocol(member, group->protocol), topic, budget)
                       : consumer_names(groups, &member->consumer, topic, budget))
            return true;
    }
    return false;
}
