/* Sets of partitions, and the topics they belong to, for groups of the consumer protocol (KIP-848).
 *
 * A partition is a 64-bit number: its topic's place in the table here, then its index; a set is an
 * ascending array of them in memory of the group heap. A topic is known by its id, so one that was
 * deleted and made again is another one; it stays as long as a set or a list names it.
 * Owned by control's thread.  Allocates: from the group heap.  Blocks: never. */
#ifndef EAGRE_ENGINE_GROUP_GROUP_SET_H
#define EAGRE_ENGINE_GROUP_GROUP_SET_H

#include "engine/base/bytes.h"
#include "engine/group/group.h"

struct groups;

/* Why a rebalance begins. */
enum group_cause { GROUP_CAUSE_JOIN, GROUP_CAUSE_LEAVE, GROUP_CAUSE_EXPIRED };

struct group_set {
    uint64_t *at; /* [count], ascending; NULL when empty */
    uint32_t count;
};

/* Places in the table of topics, ascending. */
struct group_topics {
    uint32_t *at; /* [count] */
    uint32_t count;
};

struct consumer_topic {
    uint8_t id[16];
    struct bytes name;
    uint32_t partition_count; /* as last looked up; 0: the topic is gone */
    uint32_t uses;            /* sets and lists that name it */
    uint32_t next;            /* in its bucket */
};

static inline uint64_t
set__part(uint32_t topic, uint32_t partition)
{
    return (uint64_t)topic << 32 | partition;
}
static inline uint32_t
set__topic(uint64_t part)
{
    return (uint32_t)(part >> 32);
}

struct consumer_topic *ctopic__at(const struct groups *groups, uint32_t idx);
/* SLAB_NONE: nobody names it. */
uint32_t ctopic__find(const struct groups *groups, const uint8_t id[16]);
/* Finds or adds it, and counts a use, which ctopic__drop() gives back. SLAB_NONE: a limit. */
uint32_t ctopic__use(struct groups *groups, const struct group_topic_info *info);
void ctopic__drop(struct groups *groups, uint32_t idx);

bool set__has(const struct group_set *set, uint64_t part);
bool set__equals(const struct group_set *set, const uint64_t *parts, uint32_t count);
uint64_t set__hash(const struct groups *groups, const struct group_set *set);
/* Replaces *set by a copy; parts may not lie inside it. False: no memory, *set is as before. */
bool set__assign(struct groups *groups,
                 struct group_set *set,
                 const uint64_t *parts,
                 uint32_t count) MUST_USE;
void set__drop(struct groups *groups, struct group_set *set);
/* Each writes an ascending array to `to` and returns its count. */
uint32_t set__both(const struct group_set *a, const struct group_set *b, uint64_t *to);
uint32_t set__without(const struct group_set *a, const struct group_set *b, uint64_t *to);
/* Sorts and drops repeated ones; returns how many are left. */
uint32_t set__sort(uint64_t *parts, uint32_t count);

bool topics__has(const struct group_topics *topics, uint32_t topic);
bool topics__equal(const struct group_topics *a, const struct group_topics *b);
/* Takes the uses that `list` holds. False: no memory; they are given back. */
bool topics__take(struct groups *groups,
                  const uint32_t *list,
                  uint32_t count,
                  struct group_topics *ret) MUST_USE;
void topics__drop(struct groups *groups, struct group_topics *topics);

#endif
