/* The group log read back, and written anew to keep it short. The records' forms: group_record.c.
 */
#include "engine/group/group_inner.h"
#include "engine/group/group_record.h"
#include "engine/group/group_view.h"

struct bytes
replay__text(struct reader *reader)
{
    int16_t count = (int16_t)reader_u16_be(reader);

    if (count < 0)
        return (struct bytes){0};
    return (struct bytes){reader_take(reader, (size_t)count), (size_t)count};
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

static struct group_offset_new
replay_new(const struct group_view_record *view)
{
    return (struct group_offset_new){
        .topic = view->topic,
        .partition = view->partition,
        .offset = view->offset,
        .leader_epoch = view->leader_epoch,
        .metadata = view->metadata,
        .commit_ms = view->commit_ms,
    };
}

static enum rc
replay_offset(struct groups *groups, const struct group_view_record *view, struct diag_trail *trail)
{
    struct group_offset_new new = replay_new(view);

    if (view->is_tombstone) {
        struct group *group = group__find(groups, view->group);
        struct group_offset *offset = group == NULL
                                          ? NULL
                                          : offset__find(groups, group, new.topic, new.partition);
        if (offset != NULL)
            offset__remove(groups, offset);
        return RC_OK;
    }
    struct group *group = replay__group(groups, view->group, trail);
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
               const struct group_view_record *view,
               struct diag_trail *trail)
{
    struct group_transaction_end whose = {.producer_id = view->producer_id,
                                          .producer_epoch = view->producer_epoch};
    struct group_offset_new new = replay_new(view);

    if (view->is_tombstone)
        return RC_CORRUPT;
    struct group *group = replay__group(groups, view->group, trail);
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
replay_txn_end(struct groups *groups, const struct group_view_record *view)
{
    const struct group_transaction_end end = {.producer_id = view->producer_id,
                                              .producer_epoch = view->producer_epoch,
                                              .is_commit = view->is_commit};

    if (view->is_tombstone)
        return RC_CORRUPT;
    txn__apply_end(groups, &end);
    return RC_OK;
}

/* A member as its record tells; it knows the chosen protocol only. */
static enum rc
replay_member(struct groups *groups, struct group *group, struct reader *value)
{
    struct group_view_member view;

    if (!group_view_member(value, &view) || view.id.count == 0 ||
        member__find(groups, group, view.id) != NULL)
        return RC_CORRUPT;
    const struct member_new new = {
        .id = view.id,
        .instance = view.instance,
        .client_id = view.client_id,
        .client_host = view.client_host,
        .rebalance_ns = (uint64_t)view.rebalance_ms * NS_PER_MS,
        .session_ns = (uint64_t)view.session_ms * NS_PER_MS,
    };
    struct member *member = member__add(groups, group, &new);
    size_t count = 6 + group->protocol.count + view.subscription.count;
    uint8_t *packed = member == NULL ? NULL : group_heap_take(&groups->heap, count);
    if (packed == NULL || !group_heap_copy(&groups->heap, view.assignment, &member->assignment)) {
        group_heap_give(&groups->heap, packed, count);
        return RC_LIMIT;
    }
    struct writer writer = writer_over(packed, count);
    record__text(&writer, group->protocol);
    record__blob(&writer, view.subscription);
    member->protocols = (struct bytes){packed, count};
    member->flags &= (uint8_t)~MEMBER_NEWCOMER;
    member->synced = true;
    return RC_OK;
}

/* Puts the group into the state of a value: its former members are gone, its offsets stay. */
static enum rc
replay_group_value(struct groups *groups, struct group *group, struct group_view_record *view)
{
    while (group->member_first != SLAB_NONE)
        member__remove(groups, member__at(groups, group->member_first));
    if (group->state == GROUP_STABLE)
        group__move(groups, group, GROUP_EMPTY);
    group->kind = GROUP_CLASSIC;
    group_heap_drop(&groups->heap, &group->protocol_type);
    group_heap_drop(&groups->heap, &group->protocol);
    group->generation = view->generation;
    group->state_ms = view->state_ms;
    if (!group_heap_copy(&groups->heap, view->protocol_type, &group->protocol_type) ||
        !group_heap_copy(&groups->heap, view->protocol, &group->protocol))
        return RC_LIMIT;
    for (uint32_t i = 0; i < view->member_count; i++) {
        enum rc rc = replay_member(groups, group, &view->rest);
        if (rc != RC_OK)
            return rc;
    }
    if (view->member_count == 0)
        return RC_OK;
    const struct member *first = member__find(groups, group, view->leader);
    group->leader = first != NULL ? member__idx(groups, first) : group->member_first;
    group__move(groups, group, GROUP_STABLE);
    return RC_OK;
}

static enum rc
replay_group_record(struct groups *groups, struct group_view_record *view, struct diag_trail *trail)
{
    if (view->is_tombstone) {
        struct group *group = group__find(groups, view->group);
        if (group != NULL)
            group__remove(groups, group);
        return RC_OK;
    }
    struct group *group = replay__group(groups, view->group, trail);
    enum rc rc = group == NULL ? RC_LIMIT : replay_group_value(groups, group, view);
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
    struct group_view_record view;
    enum rc rc = group_view_read(key_bytes, value, &view);

    if (rc != RC_OK)
        return rc;
    switch (view.kind) {
    case RECORD_KEY_OFFSET_OLD:
    case RECORD_KEY_OFFSET:
        return replay_offset(groups, &view, trail);
    case RECORD_KEY_GROUP:
        return replay_group_record(groups, &view, trail);
    case RECORD_KEY_PENDING:
        return replay_pending(groups, &view, trail);
    case RECORD_KEY_CONSUMER_GROUP:
        return replay__consumer_group(groups, &view, trail);
    case RECORD_KEY_CONSUMER_MEMBER:
        return replay__consumer_member(groups, &view, trail);
    case RECORD_KEY_TXN_END:
        return replay_txn_end(groups, &view);
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
