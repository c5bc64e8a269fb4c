/* The records of the group log. Keys and values have the form of Kafka's own internal topic, so
 * that tools which read it find what they know:
 *
 *   key    i16 1, group, topic, i32 partition          an offset
 *   value  i16 3, i64 offset, i32 leader epoch, metadata, i64 commit time in ms
 *   key    i16 2, group                                a group
 *   value  i16 3, protocol type, i32 generation, protocol or null, leader or null, i64 time in ms,
 *          i32 count of {member id, instance or null, client id, client host, i32 rebalance ms,
 *          i32 session ms, i32 + subscription, i32 + assignment}
 *
 * Texts are an i16 length and UTF-8, big endian all; -1 is null; a record without a value takes
 * back what its key names. Source: Kafka 3.9, OffsetCommitKey/Value and GroupMetadataKey/Value. */
#include "engine/group/group_inner.h"

enum { KEY_OFFSET_OLD = 0, KEY_OFFSET = 1, KEY_GROUP = 2 };
#define VALUE_OFFSET 3
#define VALUE_GROUP 3
#define RECORD_KEY_BYTES_MAX 4096u

static void
record_text(struct writer *writer, struct bytes text)
{
    writer_u16_be(writer, (uint16_t)text.count);
    if (text.count > 0)
        writer_bytes(writer, text.at, text.count);
}

static void
record_nullable(struct writer *writer, struct bytes text)
{
    if (text.count == 0)
        writer_u16_be(writer, UINT16_MAX);
    else
        record_text(writer, text);
}

static void
record_blob(struct writer *writer, struct bytes blob)
{
    writer_u32_be(writer, (uint32_t)blob.count);
    if (blob.count > 0)
        writer_bytes(writer, blob.at, blob.count);
}

static bool
record_append(struct groups *groups,
              const struct writer *key,
              const struct writer *value,
              uint64_t *ret_number)
{
    const struct groups_hooks *hooks = &groups->config.hooks;
    struct bytes key_bytes = {key->begin, writer_count(key)};
    struct bytes value_bytes = {0};

    if (key->failed || (value != NULL && value->failed)) {
        groups->counters.limits_reached++;
        return false;
    }
    if (value != NULL)
        value_bytes = (struct bytes){value->begin, writer_count(value)};
    return hooks->append(hooks->ctx, key_bytes, value_bytes, ret_number);
}

static struct writer
record_group_key(const struct group *group, uint8_t to[RECORD_KEY_BYTES_MAX])
{
    struct writer key = writer_over(to, RECORD_KEY_BYTES_MAX);

    writer_u16_be(&key, KEY_GROUP);
    record_text(&key, group->id);
    return key;
}

static struct writer
record_offset_key(const struct group *group,
                  struct bytes topic,
                  uint32_t partition,
                  uint8_t to[RECORD_KEY_BYTES_MAX])
{
    struct writer key = writer_over(to, RECORD_KEY_BYTES_MAX);

    writer_u16_be(&key, KEY_OFFSET);
    record_text(&key, group->id);
    record_text(&key, topic);
    writer_u32_be(&key, partition);
    return key;
}

static void
record_member(struct writer *value, const struct group *group, const struct member *member)
{
    record_text(value, member->id);
    record_nullable(value, member->instance);
    record_text(value, member->client_id);
    record_text(value, member->client_host);
    writer_u32_be(value, (uint32_t)(member->rebalance_ns / NS_PER_MS));
    writer_u32_be(value, (uint32_t)(member->session_ns / NS_PER_MS));
    record_blob(value, member__protocol(member, group->protocol));
    record_blob(value, member->assignment);
}

bool
record__append_group(struct groups *groups, const struct group *group, uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_group_key(group, key_memory);
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);
    bool has_leader = group->leader != SLAB_NONE && group->member_count > 0;

    writer_u16_be(&value, VALUE_GROUP);
    record_text(&value, group->protocol_type);
    writer_u32_be(&value, (uint32_t)group->generation);
    record_nullable(&value, group->protocol);
    record_nullable(&value, has_leader ? member__at(groups, group->leader)->id : (struct bytes){0});
    writer_u64_be(&value, (uint64_t)group->state_ms);
    writer_u32_be(&value, group->member_count);
    for (uint32_t idx = group->member_first; idx != SLAB_NONE;) {
        const struct member *member = member__at(groups, idx);
        idx = member->after;
        if ((member->flags & MEMBER_PENDING) == 0)
            record_member(&value, group, member);
    }
    return record_append(groups, &key, &value, ret_number);
}

bool
record__append_group_gone(struct groups *groups, const struct group *group, uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_group_key(group, key_memory);

    return record_append(groups, &key, NULL, ret_number);
}

bool
record__append_offset(struct groups *groups,
                      const struct group *group,
                      const struct group_offset_new *new,
                      uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_offset_key(group, new->topic, new->partition, key_memory);
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);

    writer_u16_be(&value, VALUE_OFFSET);
    writer_u64_be(&value, (uint64_t) new->offset);
    writer_u32_be(&value, (uint32_t) new->leader_epoch);
    record_text(&value, new->metadata);
    writer_u64_be(&value, (uint64_t) new->commit_ms);
    return record_append(groups, &key, &value, ret_number);
}

bool
record__append_offset_gone(struct groups *groups,
                           const struct group *group,
                           struct bytes topic,
                           uint32_t partition,
                           uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_offset_key(group, topic, partition, key_memory);

    return record_append(groups, &key, NULL, ret_number);
}

/* ---- replay */

static struct bytes
replay_text(struct reader *reader)
{
    int16_t count = (int16_t)reader_u16_be(reader);

    if (count < 0)
        return (struct bytes){0};
    return (struct bytes){reader_take(reader, (size_t)count), (size_t)count};
}

static struct bytes
replay_blob(struct reader *reader)
{
    uint32_t count = reader_u32_be(reader);

    return (struct bytes){reader_take(reader, count), count};
}

static struct group *
replay_group(struct groups *groups, struct bytes id, struct diag_trail *trail)
{
    struct group *group = group__find(groups, id);

    if (group == NULL)
        group = group__add(groups, id);
    if (group == NULL)
        diag_trail_add(trail, "more groups than group.groups_max or group.memory_bytes allow");
    return group;
}

static enum rc
replay_offset(struct groups *groups,
              struct reader *key,
              struct bytes value_bytes,
              struct diag_trail *trail)
{
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    struct bytes id = replay_text(key);
    struct group_offset_new new = {.topic = replay_text(key), .partition = reader_u32_be(key)};

    if (key->failed || id.count == 0)
        return RC_CORRUPT;
    if (value_bytes.at == NULL) {
        struct group *group = group__find(groups, id);
        struct group_offset *offset = group == NULL
                                          ? NULL
                                          : offset__find(groups, group, new.topic, new.partition);
        if (offset != NULL)
            offset__remove(groups, offset);
        return RC_OK;
    }
    if (reader_u16_be(&value) != VALUE_OFFSET)
        return RC_NEWER_FORMAT;
    new.offset = (int64_t)reader_u64_be(&value);
    new.leader_epoch = (int32_t)reader_u32_be(&value);
    new.metadata = replay_text(&value);
    new.commit_ms = (int64_t)reader_u64_be(&value);
    if (value.failed)
        return RC_CORRUPT;
    struct group *group = replay_group(groups, id, trail);
    if (group == NULL)
        return RC_LIMIT;
    group->state_ms = group->member_count == 0 && group->state_ms < new.commit_ms ? new.commit_ms
                                                                                  : group->state_ms;
    if (offset__set(groups, group, &new))
        return RC_OK;
    diag_trail_add(trail, "more offsets than group.offsets_max or group.memory_bytes allow");
    return RC_LIMIT;
}

/* A member as its record tells; it knows the chosen protocol only. */
static enum rc
replay_member(struct groups *groups, struct group *group, struct reader *value)
{
    struct member_new new = {.id = replay_text(value)};

    new.instance = replay_text(value);
    new.client_id = replay_text(value);
    new.client_host = replay_text(value);
    new.rebalance_ns = (uint64_t)reader_u32_be(value) * NS_PER_MS;
    new.session_ns = (uint64_t)reader_u32_be(value) * NS_PER_MS;
    struct bytes subscription = replay_blob(value);
    struct bytes assignment = replay_blob(value);
    if (value->failed || new.id.count == 0 || member__find(groups, group, new.id) != NULL)
        return RC_CORRUPT;
    struct member *member = member__add(groups, group, &new);
    size_t count = 6 + group->protocol.count + subscription.count;
    uint8_t *packed = member == NULL ? NULL : group_heap_take(&groups->heap, count);
    if (packed == NULL || !group_heap_copy(&groups->heap, assignment, &member->assignment)) {
        group_heap_give(&groups->heap, packed, count);
        return RC_LIMIT;
    }
    struct writer writer = writer_over(packed, count);
    record_text(&writer, group->protocol);
    record_blob(&writer, subscription);
    member->protocols = (struct bytes){packed, count};
    member->flags &= (uint8_t)~MEMBER_NEWCOMER;
    member->synced = true;
    return RC_OK;
}

/* Puts the group into the state of a value: its former members are gone, its offsets stay. */
static enum rc
replay_group_value(struct groups *groups, struct group *group, struct reader *value)
{
    while (group->member_first != SLAB_NONE)
        member__remove(groups, member__at(groups, group->member_first));
    if (group->state == GROUP_STABLE)
        group__move(groups, group, GROUP_EMPTY);
    group_heap_drop(&groups->heap, &group->protocol_type);
    group_heap_drop(&groups->heap, &group->protocol);
    struct bytes type = replay_text(value);
    group->generation = (int32_t)reader_u32_be(value);
    struct bytes protocol = replay_text(value);
    struct bytes leader = replay_text(value);
    group->state_ms = (int64_t)reader_u64_be(value);
    uint32_t count = reader_u32_be(value);
    if (value->failed)
        return RC_CORRUPT;
    if (!group_heap_copy(&groups->heap, type, &group->protocol_type) ||
        !group_heap_copy(&groups->heap, protocol, &group->protocol))
        return RC_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        enum rc rc = replay_member(groups, group, value);
        if (rc != RC_OK)
            return rc;
    }
    if (count == 0)
        return RC_OK;
    const struct member *first = member__find(groups, group, leader);
    group->leader = first != NULL ? member__idx(groups, first) : group->member_first;
    group__move(groups, group, GROUP_STABLE);
    return RC_OK;
}

static enum rc
replay_group_record(struct groups *groups,
                    struct reader *key,
                    struct bytes value_bytes,
                    struct diag_trail *trail)
{
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    struct bytes id = replay_text(key);

    if (key->failed || id.count == 0)
        return RC_CORRUPT;
    if (value_bytes.at == NULL) {
        struct group *group = group__find(groups, id);
        if (group != NULL)
            group__remove(groups, group);
        return RC_OK;
    }
    if (reader_u16_be(&value) != VALUE_GROUP)
        return RC_NEWER_FORMAT;
    struct group *group = replay_group(groups, id, trail);
    enum rc rc = group == NULL ? RC_LIMIT : replay_group_value(groups, group, &value);
    if (rc == RC_LIMIT && group != NULL)
        diag_trail_add(trail, "more members than group.members_max or group.memory_bytes allow");
    return rc;
}

enum rc
groups_replay(struct groups *groups,
              struct bytes key_bytes,
              struct bytes value,
              struct diag_trail *trail)
{
    struct reader key = reader_over(key_bytes.at, key_bytes.count);
    uint16_t kind = reader_u16_be(&key);

    if (key.failed)
        return RC_CORRUPT;
    switch (kind) {
    case KEY_OFFSET_OLD:
    case KEY_OFFSET:
        return replay_offset(groups, &key, value, trail);
    case KEY_GROUP:
        return replay_group_record(groups, &key, value, trail);
    default:
        return RC_OK;
    }
}

void
groups_loaded(struct groups *groups, struct group_time time)
{
    for (uint32_t i = 0; i < groups->members.count; i++) {
        struct member *member = member__at(groups, i);
        if (member->id.count > 0)
            member__heard(groups, member, time.now_ns);
    }
    groups->expiry_ns = time.now_ns + GROUP_EXPIRY_NS;
    groups->deadline_ns = min_u64(groups->deadline_ns, groups->expiry_ns);
}

/* ---- rewriting: what keeps the log short */

static bool
rewrite_group(struct groups *groups, const struct group *group, struct group_time time)
{
    uint64_t number;

    (void)time;
    if (group->state == GROUP_DEAD)
        return true;
    for (uint32_t idx = group->offset_first; idx != SLAB_NONE;) {
        const struct group_offset *offset = slab_at(&groups->offsets, idx);
        const struct group_offset_new new = {
            .topic = offset__topic(groups, offset)->name,
            .partition = offset->partition,
            .leader_epoch = offset->leader_epoch,
            .offset = offset->offset,
            .commit_ms = offset->commit_ms,
            .metadata = offset->metadata,
        };
        if (!record__append_offset(groups, group, &new, &number))
            return false;
        idx = offset->after;
    }
    /* A group in a rebalance is written when it has its next generation. */
    if (group->state != GROUP_STABLE && group->state != GROUP_EMPTY)
        return true;
    return record__append_group(groups, group, &number);
}

bool
groups_rewrite(struct groups *groups, uint64_t *cursor, struct group_time time)
{
    for (; *cursor < groups->groups.count; (*cursor)++) {
        const struct group *group = group__at(groups, (uint32_t)*cursor);
        if (group->id.count > 0 && !rewrite_group(groups, group, time))
            return false;
    }
    return true;
}
