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
 *   key    i16 1001, i64 producer id, group, topic, i32 partition    an offset of a transaction
 *   value  i16 0, i16 producer epoch, i64 offset, i32 leader epoch, metadata, i64 commit time in ms
 *   key    i16 1002, i64 producer id                   the end of a producer's transaction
 *   value  i16 0, i16 producer epoch, i8 1 commit or 0 abort
 *
 * From 1001 on they are this broker's own: Kafka marks such batches as transactional instead. The
 * end makes all offsets of that producer up to that epoch committed ones, or nothing; it needs no
 * tombstone, because what it ended is not written again when the log is rewritten.
 *
 * Texts are an i16 length and UTF-8, big endian all; -1 is null; a record without a value takes
 * back what its key names. Source: Kafka 3.9, OffsetCommitKey/Value and GroupMetadataKey/Value. */
#include "engine/group/group_inner.h"
#include "engine/group/group_record.h"

void
record__text(struct writer *writer, struct bytes text)
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
        record__text(writer, text);
}

void
record__blob(struct writer *writer, struct bytes blob)
{
    writer_u32_be(writer, (uint32_t)blob.count);
    if (blob.count > 0)
        writer_bytes(writer, blob.at, blob.count);
}

bool
record__append(struct groups *groups,
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

    writer_u16_be(&key, RECORD_KEY_GROUP);
    record__text(&key, group->id);
    return key;
}

static struct writer
record_offset_key(const struct group *group,
                  struct bytes topic,
                  uint32_t partition,
                  uint8_t to[RECORD_KEY_BYTES_MAX])
{
    struct writer key = writer_over(to, RECORD_KEY_BYTES_MAX);

    writer_u16_be(&key, RECORD_KEY_OFFSET);
    record__text(&key, group->id);
    record__text(&key, topic);
    writer_u32_be(&key, partition);
    return key;
}

static void
record_member(struct writer *value, const struct group *group, const struct member *member)
{
    record__text(value, member->id);
    record_nullable(value, member->instance);
    record__text(value, member->client_id);
    record__text(value, member->client_host);
    writer_u32_be(value, (uint32_t)(member->rebalance_ns / NS_PER_MS));
    writer_u32_be(value, (uint32_t)(member->session_ns / NS_PER_MS));
    record__blob(value, member__protocol(member, group->protocol));
    record__blob(value, member->assignment);
}

bool
record__append_group(struct groups *groups, const struct group *group, uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_group_key(group, key_memory);
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);
    bool has_leader = group->leader != SLAB_NONE && group->member_count > 0;

    writer_u16_be(&value, RECORD_VALUE_GROUP);
    record__text(&value, group->protocol_type);
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
    return record__append(groups, &key, &value, ret_number);
}

bool
record__append_group_gone(struct groups *groups, const struct group *group, uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = record_group_key(group, key_memory);

    return record__append(groups, &key, NULL, ret_number);
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

    writer_u16_be(&value, RECORD_VALUE_OFFSET);
    writer_u64_be(&value, (uint64_t) new->offset);
    writer_u32_be(&value, (uint32_t) new->leader_epoch);
    record__text(&value, new->metadata);
    writer_u64_be(&value, (uint64_t) new->commit_ms);
    return record__append(groups, &key, &value, ret_number);
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

    return record__append(groups, &key, NULL, ret_number);
}

bool
record__append_pending(struct groups *groups,
                       const struct group *group,
                       const struct group_transaction_end *whose,
                       const struct group_offset_new *new,
                       uint64_t *ret_number)
{
    uint8_t key_memory[RECORD_KEY_BYTES_MAX];
    struct writer key = writer_over(key_memory, sizeof(key_memory));
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);

    writer_u16_be(&key, RECORD_KEY_PENDING);
    writer_u64_be(&key, (uint64_t)whose->producer_id);
    record__text(&key, group->id);
    record__text(&key, new->topic);
    writer_u32_be(&key, new->partition);
    writer_u16_be(&value, RECORD_VALUE_OWN);
    writer_u16_be(&value, (uint16_t)whose->producer_epoch);
    writer_u64_be(&value, (uint64_t) new->offset);
    writer_u32_be(&value, (uint32_t) new->leader_epoch);
    record__text(&value, new->metadata);
    writer_u64_be(&value, (uint64_t) new->commit_ms);
    return record__append(groups, &key, &value, ret_number);
}

bool
record__append_txn_end(struct groups *groups,
                       const struct group_transaction_end *end,
                       uint64_t *ret_number)
{
    uint8_t key_memory[16];
    struct writer key = writer_over(key_memory, sizeof(key_memory));
    struct writer value = writer_over(groups->record, GROUP_RECORD_BYTES_MAX);

    writer_u16_be(&key, RECORD_KEY_TXN_END);
    writer_u64_be(&key, (uint64_t)end->producer_id);
    writer_u16_be(&value, RECORD_VALUE_OWN);
    writer_u16_be(&value, (uint16_t)end->producer_epoch);
    writer_u8(&value, end->is_commit);
    return record__append(groups, &key, &value, ret_number);
}
