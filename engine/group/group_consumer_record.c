/* Records of consumer groups, this broker's own (texts as in group_record.c):
 *
 *   key    i16 1003, group                             a consumer group
 *   value  i16 0, i32 epoch, i64 time of its last change of state in ms
 *   key    i16 1004, group, member id                  a member; without a value: it is gone
 *   value  i16 0, instance or null, rack or null, client id, client host, i32 rebalance ms,
 *          pattern or null, i8 assignor, i32 epoch, i32 previous epoch, i8 state,
 *          i32 count of {topic name}, held partitions, partitions to be given up
 *   partitions  i32 count of topics of {16 bytes id, name, i32 count of {i32 partition}}
 *
 * Targets are not stored: after a start the next heartbeat makes new ones around what members hold.
 * A group's end is the record without a value of the key 2 of group_record.c. */
#include "engine/group/group_inner.h"
#include "engine/group/group_record.h"
#include "engine/group/group_view.h"

static struct writer
key_of(const struct group *group, uint16_t kind, uint8_t *to, size_t capacity)
{
    struct writer key = writer_over(to, capacity);

    writer_u16_be(&key, kind);
    record__text(&key, group->id);
    return key;
}

static void
write_nullable(struct writer *writer, struct bytes text)
{
    if (text.count == 0)
        writer_u16_be(writer, UINT16_MAX);
    else
        record__text(writer, text);
}

static void
write_set(const struct groups *groups, struct writer *writer, const struct group_set *set)
{
    uint32_t topic_count = 0;
    uint32_t end;

    for (uint32_t i = 0; i < set->count; i++)
        topic_count += i == 0 || set__topic(set->at[i]) != set__topic(set->at[i - 1]);
    writer_u32_be(writer, topic_count);
    for (uint32_t i = 0; i < set->count; i = end) {
        const struct consumer_topic *topic = ctopic__at(groups, set__topic(set->at[i]));
        for (end = i; end < set->count && set__topic(set->at[end]) == set__topic(set->at[i]);)
            end++;
        writer_bytes(writer, topic->id, sizeof(topic->id));
        record__text(writer, topic->name);
        writer_u32_be(writer, end - i);
        for (uint32_t p = i; p < end; p++)
            writer_u32_be(writer, (uint32_t)set->at[p]);
    }
}

static uint32_t
names_count(struct bytes names)
{
    struct reader reader = reader_over(names.at, names.count);
    uint32_t count = 0;

    for (; reader_left(&reader) > 0; count++)
        reader_take(&reader, reader_u16_be(&reader));
    return count;
}

bool
record__append_consumer_group(struct groups *groups,
                              const struct group *group,
                              uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = key_of(group, RECORD_KEY_CONSUMER_GROUP, key_memory, sizeof(key_memory));
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);

    writer_u16_be(&value, RECORD_VALUE_OWN);
    writer_u32_be(&value, (uint32_t)group->generation);
    writer_u64_be(&value, (uint64_t)group->state_ms);
    return record__append(groups, &key, &value, ret_number);
}

bool
record__append_consumer_member(struct groups *groups,
                               const struct group *group,
                               const struct member *member,
                               uint64_t *ret_number)
{
    const struct consumer *consumer = &member->consumer;
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = key_of(group, RECORD_KEY_CONSUMER_MEMBER, key_memory, sizeof(key_memory));
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);

    record__text(&key, member->id);
    writer_u16_be(&value, RECORD_VALUE_OWN);
    write_nullable(&value, member->instance);
    write_nullable(&value, consumer->rack);
    record__text(&value, member->client_id);
    record__text(&value, member->client_host);
    writer_u32_be(&value, (uint32_t)(member->rebalance_ns / NS_PER_MS));
    write_nullable(&value, consumer->regex);
    writer_u8(&value, consumer->assignor);
    writer_u32_be(&value, (uint32_t)consumer->epoch);
    writer_u32_be(&value, (uint32_t)consumer->previous_epoch);
    writer_u8(&value, consumer->state);
    writer_u32_be(&value, names_count(consumer->names));
    if (consumer->names.count > 0)
        writer_bytes(&value, consumer->names.at, consumer->names.count);
    write_set(groups, &value, &consumer->assigned);
    write_set(groups, &value, &consumer->revoking);
    return record__append(groups, &key, &value, ret_number);
}

bool
record__append_consumer_gone(struct groups *groups,
                             const struct group *group,
                             const struct member *member,
                             uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = key_of(group, RECORD_KEY_CONSUMER_MEMBER, key_memory, sizeof(key_memory));

    record__text(&key, member->id);
    return record__append(groups, &key, NULL, ret_number);
}

bool
rewrite__consumer(struct groups *groups, const struct group *group)
{
    uint64_t number;

    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if (!record__append_consumer_member(groups, group, member, &number))
            return false;
    }
    return record__append_consumer_group(groups, group, &number);
}

/* ---- replay */

static struct group *
replay_enter(struct groups *groups, struct bytes id, struct diag_trail *trail)
{
    struct group *group = replay__group(groups, id, trail);

    if (group != NULL && group->kind != GROUP_CONSUMER) {
        while (group->member_first != SLAB_NONE)
            member__remove(groups, member__at(groups, group->member_first));
        if (group->state == GROUP_STABLE)
            group__move(groups, group, GROUP_EMPTY);
        group__convert(groups, group, GROUP_CONSUMER);
    }
    return group;
}

enum rc
replay__consumer_group(struct groups *groups,
                       const struct group_view_record *view,
                       struct diag_trail *trail)
{
    if (view->is_tombstone)
        return RC_CORRUPT;
    struct group *group = replay_enter(groups, view->group, trail);
    if (group == NULL)
        return RC_LIMIT;
    group->generation = view->generation;
    group->state_ms = view->state_ms;
    return RC_OK;
}

/* Partitions as they were written. */
static enum rc
replay_set(struct groups *groups, struct reader *value, struct group_set *set)
{
    uint32_t topic_count = reader_u32_be(value);
    uint32_t parts_max = groups->config.limits.consumer_partitions_max;
    uint32_t count = 0;
    enum rc rc = RC_OK;

    for (uint32_t t = 0; t < topic_count && rc == RC_OK; t++) {
        struct group_topic_info info = {0};
        const uint8_t *id = reader_take(value, sizeof(info.id));
        info.name = replay__text(value);
        uint32_t partitions = reader_u32_be(value);
        if (value->failed || partitions > reader_left(value) / 4)
            return RC_CORRUPT;
        bytes_copy(info.id, sizeof(info.id), id, sizeof(info.id));
        uint32_t topic = ctopic__use(groups, &info);
        if (topic == SLAB_NONE || partitions > parts_max - count)
            rc = RC_LIMIT;
        for (uint32_t p = 0; p < partitions && rc == RC_OK; p++)
            groups->assign_parts[count++] = set__part(topic, reader_u32_be(value));
        /* Adds to what is there, so that the set holds the topic before this use is given back. */
        if (rc == RC_OK) {
            count = set__sort(groups->assign_parts, count);
            rc = set__assign(groups, set, groups->assign_parts, count) ? RC_OK : RC_LIMIT;
        }
        if (topic != SLAB_NONE)
            ctopic__drop(groups, topic);
    }
    return value->failed ? RC_CORRUPT : rc;
}

static bool
replay_copy(struct groups *groups, struct bytes text, struct bytes *own)
{
    struct bytes copy;

    if (!group_heap_copy(&groups->heap, text, &copy))
        return false;
    group_heap_drop(&groups->heap, own);
    *own = copy;
    return true;
}

static enum rc
replay_consumer(struct groups *groups,
                struct member *member,
                const struct group_view_consumer *view,
                struct reader *rest)
{
    struct consumer *consumer = &member->consumer;

    consumer->assignor = view->assignor;
    consumer->epoch = view->epoch;
    consumer->previous_epoch = view->previous_epoch;
    consumer->state = view->state;
    consumer->revoke_deadline_ns = NO_DEADLINE;
    if (!replay_copy(groups, view->rack, &consumer->rack) ||
        !replay_copy(groups, view->client_host, &member->client_host) ||
        !replay_copy(groups, view->regex, &consumer->regex) ||
        !replay_copy(groups, view->names, &consumer->names))
        return RC_LIMIT;
    set__drop(groups, &consumer->assigned);
    set__drop(groups, &consumer->revoking);
    enum rc rc = replay_set(groups, rest, &consumer->assigned);
    return rc == RC_OK ? replay_set(groups, rest, &consumer->revoking) : rc;
}

static enum rc
replay_member_value(struct groups *groups, struct group *group, struct group_view_record *record)
{
    struct member *member = member__find(groups, group, record->member);
    struct group_view_consumer view;

    if (!group_view_consumer(&record->rest, &view) || view.assignor >= ASSIGNORS ||
        view.state >= CONSUMER_STATES)
        return RC_CORRUPT;
    const struct member_new new = {
        .id = record->member,
        .instance = view.instance,
        .client_id = view.client_id,
        .client_host = view.client_host,
        .rebalance_ns = (uint64_t)view.rebalance_ms * NS_PER_MS,
        .session_ns = groups->config.limits.consumer_session_ns,
    };
    if (member == NULL)
        member = member__add(groups, group, &new);
    if (member == NULL)
        return RC_LIMIT;
    member->flags &= (uint8_t)~MEMBER_NEWCOMER;
    member->rebalance_ns = new.rebalance_ns;
    member->serial = ++groups->member_serial; /* the order of the records */
    enum rc rc = replay_consumer(groups, member, &view, &record->rest);
    /* The group's own record may have got lost where this one was stored. */
    group->generation = member->consumer.epoch > group->generation ? member->consumer.epoch
                                                                   : group->generation;
    return rc;
}

enum rc
replay__consumer_member(struct groups *groups,
                        struct group_view_record *view,
                        struct diag_trail *trail)
{
    if (view->is_tombstone) {
        struct group *group = group__find(groups, view->group);
        struct member *member = group == NULL ? NULL : member__find(groups, group, view->member);
        if (member != NULL && group->kind == GROUP_CONSUMER)
            member__remove(groups, member);
        return RC_OK;
    }
    struct group *group = replay_enter(groups, view->group, trail);
    enum rc rc = group == NULL ? RC_LIMIT : replay_member_value(groups, group, view);
    if (rc == RC_LIMIT && group != NULL)
        diag_trail_add(trail,
                       "more members or partitions than group.members_max, group.topics_max, "
                       "group.consumer.partitions_max or group.memory_bytes allow");
    return rc;
}

/* Whether a member with a later record holds something of this one: then this one had been put out,
 * and the record that said so was lost for want of space. */
static bool
is_superseded(const struct groups *groups, const struct group *group, const struct member *member)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *other = member__at(groups, idx);
        idx = other->after;
        for (uint32_t i = 0; other->serial > member->serial && i < member->consumer.assigned.count;
             i++) {
            uint64_t part = member->consumer.assigned.at[i];
            if (set__has(&other->consumer.assigned, part) ||
                set__has(&other->consumer.revoking, part))
                return true;
        }
    }
    return false;
}

void
replay__consumers_loaded(struct groups *groups, struct group *group, struct group_time time)
{
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        struct member *member = member__at(groups, idx);
        idx = member->after;
        if (is_superseded(groups, group, member))
            member__remove(groups, member);
        else if (member->consumer.state == CONSUMER_UNREVOKED)
            member->consumer.revoke_deadline_ns = time.now_ns + member->rebalance_ns;
    }
    group->needs_targets = true;
    consumer__settle_state(groups, group, time);
    group__wake(groups, group, time.now_ns + GROUP_TICK_NS);
}
