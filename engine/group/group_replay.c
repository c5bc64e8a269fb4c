/* The group log read back, and written anew to keep it short. The records' forms: group_record.c.
 */
#include "engine/group/group_inner.h"
#include "engine/group/group_record.h"

struct bytes
replay__text(struct reader *reader)
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

struct group *
replay__group(struct groups *groups, struct bytes id, struct diag_trail *trail)
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
    struct bytes id = replay__text(key);
    struct group_offset_new new = {.topic = replay__text(key), .partition = reader_u32_be(key)};

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
    if (reader_u16_be(&value) != RECORD_VALUE_OFFSET)
        return RC_NEWER_FORMAT;
    new.offset = (int64_t)reader_u64_be(&value);
    new.leader_epoch = (int32_t)reader_u32_be(&value);
    new.metadata = replay__text(&value);
    new.commit_ms = (int64_t)reader_u64_be(&value);
    if (value.failed)
        return RC_CORRUPT;
    struct group *group = replay__group(groups, id, trail);
    if (group == NULL)
        return RC_LIMIT;
    group->state_ms = group->member_count == 0 && group->state_ms < new.commit_ms ? new.commit_ms
                                                                                  : group->state_ms;
    if (offset__set(groups, group, &new))
        return RC_OK;
    diag_trail_add(trail, "more offsets than group.offsets_max or group.memory_bytes allow");
    return RC_LIMIT;
}

static enum rc
replay_pending(struct groups *groups,
               struct reader *key,
               struct bytes value_bytes,
               struct diag_trail *trail)
{
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    struct group_transaction_end whose = {.producer_id = (int64_t)reader_u64_be(key)};
    struct bytes id = replay__text(key);
    struct group_offset_new new = {.topic = replay__text(key), .partition = reader_u32_be(key)};

    if (key->failed || id.count == 0)
        return RC_CORRUPT;
    if (reader_u16_be(&value) != RECORD_VALUE_OWN)
        return value.failed ? RC_CORRUPT : RC_NEWER_FORMAT;
    whose.producer_epoch = (int16_t)reader_u16_be(&value);
    new.offset = (int64_t)reader_u64_be(&value);
    new.leader_epoch = (int32_t)reader_u32_be(&value);
    new.metadata = replay__text(&value);
    new.commit_ms = (int64_t)reader_u64_be(&value);
    if (value.failed)
        return RC_CORRUPT;
    struct group *group = replay__group(groups, id, trail);
    if (group == NULL)
        return RC_LIMIT;
    if (pending__replay(groups, group, &whose, &new))
        return RC_OK;
    diag_trail_add(trail,
                   "more offsets of transactions than group.offsets_max, group.transactions_max or "
                   "group.memory_bytes allow");
    return RC_LIMIT;
}

static enum rc
replay_txn_end(struct groups *groups, struct reader *key, struct bytes value_bytes)
{
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    struct group_transaction_end end = {.producer_id = (int64_t)reader_u64_be(key)};
    uint16_t version = reader_u16_be(&value);

    end.producer_epoch = (int16_t)reader_u16_be(&value);
    end.is_commit = reader_u8(&value) != 0;
    if (key->failed || value.failed)
        return RC_CORRUPT;
    if (version != RECORD_VALUE_OWN)
        return RC_NEWER_FORMAT;
    txn__apply_end(groups, &end);
    return RC_OK;
}

/* A member as its record tells; it knows the chosen protocol only. */
static enum rc
replay_member(struct groups *groups, struct group *group, struct reader *value)
{
    struct member_new new = {.id = replay__text(value)};

    new.instance = replay__text(value);
    new.client_id = replay__text(value);
    new.client_host = replay__text(value);
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
    record__text(&writer, group->protocol);
    record__blob(&writer, subscription);
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
    group->kind = GROUP_CLASSIC;
    group_heap_drop(&groups->heap, &group->protocol_type);
    group_heap_drop(&groups->heap, &group->protocol);
    struct bytes type = replay__text(value);
    group->generation = (int32_t)reader_u32_be(value);
    struct bytes protocol = replay__text(value);
    struct bytes leader = replay__text(value);
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
    struct bytes id = replay__text(key);

    if (key->failed || id.count == 0)
        return RC_CORRUPT;
    if (value_bytes.at == NULL) {
        struct group *group = group__find(groups, id);
        if (group != NULL)
            group__remove(groups, group);
        return RC_OK;
    }
    if (reader_u16_be(&value) != RECORD_VALUE_GROUP)
        return RC_NEWER_FORMAT;
    struct group *group = replay__group(groups, id, trail);
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
    case RECORD_KEY_OFFSET_OLD:
    case RECORD_KEY_OFFSET:
        return replay_offset(groups, &key, value, trail);
    case RECORD_KEY_GROUP:
        return replay_group_record(groups, &key, value, trail);
    case RECORD_KEY_PENDING:
        return replay_pending(groups, &key, value, trail);
    case RECORD_KEY_CONSUMER_GROUP:
        return replay__consumer_group(groups, &key, value, trail);
    case RECORD_KEY_CONSUMER_MEMBER:
        return replay__consumer_member(groups, &key, value, trail);
    case RECORD_KEY_TXN_END:
        return replay_txn_end(groups, &key, value);
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
    for (uint32_t i = 0; i < groups->groups.count; i++) {
        struct group *group = group__at(groups, i);
        if (group->id.count > 0 && group->kind == GROUP_CONSUMER)
            replay__consumers_loaded(groups, group, time);
    }
    groups->expiry_ns = time.now_ns + GROUP_EXPIRY_NS;
    groups->deadline_ns = min_u64(groups->deadline_ns, groups->expiry_ns);
}

/* ---- rewriting: what keeps the log short */

static struct group_offset_new
rewrite_new(const struct groups *groups, const struct group_offset *offset)
{
    return (struct group_offset_new){
        .topic = offset__topic(groups, offset)->name,
        .partition = offset->partition,
        .leader_epoch = offset->leader_epoch,
        .offset = offset->offset,
        .commit_ms = offset->commit_ms,
        .metadata = offset->metadata,
    };
}

static bool
rewrite_committed(struct groups *groups, const struct group *group)
{
    uint64_t number;

    for (uint32_t idx = group->offset_first; idx != SLAB_NONE;) {
        const struct group_offset *offset = slab_at(&groups->offsets, idx);
        const struct group_offset_new new = rewrite_new(groups, offset);
        idx = offset->after;
        /* A record under way is later than where this rewriting began and says something newer. */
        if (offset->record_number <= groups->durable_number &&
            !record__append_offset(groups, group, &new, &number))
            return false;
    }
    return true;
}

/* One offset of a transaction. While the end of that is under way the record of the end stands, or
 * will stand, before this one, so what it makes of the offset is written. */
static bool
rewrite_pending_one(struct groups *groups,
                    const struct group *group,
                    const struct group_offset *offset)
{
    const struct group_txn *txn = slab_at(&groups->txns, offset->txn);
    const struct group_offset_new new = rewrite_new(groups, offset);
    const struct group_transaction_end whose = {.producer_id = txn->producer_id,
                                                .producer_epoch = txn->producer_epoch};
    uint64_t number;

    if (!txn->is_ending)
        return record__append_pending(groups, group, &whose, &new, &number);
    return !txn->ends_in_commit || record__append_offset(groups, group, &new, &number);
}

/* Those of open transactions; is_older: which had been there before their partition's committed
 * one. A replay must find them in the order in which they came. */
static bool
rewrite_pending(struct groups *groups, const struct group *group, bool is_older)
{
    for (uint32_t idx = group->pending_first; idx != SLAB_NONE;) {
        const struct group_offset *offset = slab_at(&groups->offsets, idx);
        const struct group_offset *committed = offset__find(
            groups, group, offset__topic(groups, offset)->name, offset->partition);
        bool came_first = committed != NULL && committed->serial > offset->serial;
        bool is_durable = offset->offset != GROUP_OFFSET_NONE &&
                          offset->record_number <= groups->durable_number;
        idx = offset->after;
        if (is_durable && came_first == is_older && !rewrite_pending_one(groups, group, offset))
            return false;
    }
    return true;
}

static bool
rewrite_group(struct groups *groups, const struct group *group)
{
    uint64_t number;

    if (group->state == GROUP_DEAD)
        return true;
    if (!rewrite_pending(groups, group, true) || !rewrite_committed(groups, group) ||
        !rewrite_pending(groups, group, false))
        return false;
    if (group->kind == GROUP_CONSUMER)
        return rewrite__consumer(groups, group);
    /* A group in a rebalance is written when it has its next generation. */
    if (group->state != GROUP_STABLE && group->state != GROUP_EMPTY)
        return true;
    return record__append_group(groups, group, &number);
}

bool
groups_rewrite(struct groups *groups, uint64_t *cursor, struct group_time time)
{
    (void)time;
    for (; *cursor < groups->groups.count; (*cursor)++) {
        const struct group *group = group__at(groups, (uint32_t)*cursor);
        if (group->id.count > 0 && !rewrite_group(groups, group))
            return false;
    }
    return true;
}
