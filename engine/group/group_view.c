#include "engine/group/group_view.h"

static struct bytes
view_blob(struct reader *reader)
{
    uint32_t count = reader_u32_be(reader);

    return (struct bytes){reader_take(reader, count), count};
}

static void
view_key(struct reader *key, struct group_view_record *view)
{
    if (view->kind == RECORD_KEY_PENDING || view->kind == RECORD_KEY_TXN_END)
        view->producer_id = (int64_t)reader_u64_be(key);
    if (view->kind != RECORD_KEY_TXN_END)
        view->group = replay__text(key);
    if (view->kind <= RECORD_KEY_OFFSET || view->kind == RECORD_KEY_PENDING) {
        view->topic = replay__text(key);
        view->partition = reader_u32_be(key);
    }
    if (view->kind == RECORD_KEY_CONSUMER_MEMBER)
        view->member = replay__text(key);
}

static void
view_offset(struct reader *value, struct group_view_record *view)
{
    view->offset = (int64_t)reader_u64_be(value);
    view->leader_epoch = (int32_t)reader_u32_be(value);
    view->metadata = replay__text(value);
    view->commit_ms = (int64_t)reader_u64_be(value);
}

static void
view_value(struct reader *value, struct group_view_record *view)
{
    switch (view->kind) {
    case RECORD_KEY_GROUP:
        view->protocol_type = replay__text(value);
        view->generation = (int32_t)reader_u32_be(value);
        view->protocol = replay__text(value);
        view->leader = replay__text(value);
        view->state_ms = (int64_t)reader_u64_be(value);
        view->member_count = reader_u32_be(value);
        break;
    case RECORD_KEY_TXN_END:
        view->producer_epoch = (int16_t)reader_u16_be(value);
        view->is_commit = reader_u8(value) != 0;
        break;
    case RECORD_KEY_CONSUMER_GROUP:
        view->generation = (int32_t)reader_u32_be(value);
        view->state_ms = (int64_t)reader_u64_be(value);
        break;
    case RECORD_KEY_CONSUMER_MEMBER:
        break;
    case RECORD_KEY_PENDING:
        view->producer_epoch = (int16_t)reader_u16_be(value);
        view_offset(value, view);
        break;
    default:
        view_offset(value, view);
        break;
    }
    view->rest = *value;
}

enum rc
group_view_read(struct bytes key_bytes, struct bytes value_bytes, struct group_view_record *ret)
{
    struct reader key = reader_over(key_bytes.at, key_bytes.count);
    struct reader value = reader_over(value_bytes.at, value_bytes.count);
    struct group_view_record view = {.kind = reader_u16_be(&key)};
    bool is_own = view.kind >= RECORD_KEY_PENDING;

    if (key.failed)
        return RC_CORRUPT;
    if ((view.kind > RECORD_KEY_GROUP && !is_own) || view.kind > RECORD_KEY_CONSUMER_MEMBER) {
        *ret = view;
        return RC_OK;
    }
    view_key(&key, &view);
    if (key.failed || (view.kind != RECORD_KEY_TXN_END && view.group.count == 0) ||
        (view.kind == RECORD_KEY_CONSUMER_MEMBER && view.member.count == 0))
        return RC_CORRUPT;
    view.is_tombstone = value_bytes.at == NULL;
    if (!view.is_tombstone) {
        uint16_t version = reader_u16_be(&value);
        if (value.failed)
            return RC_CORRUPT;
        if (version != (is_own ? RECORD_VALUE_OWN : RECORD_VALUE_OFFSET))
            return RC_NEWER_FORMAT;
        view_value(&value, &view);
        if (value.failed)
            return RC_CORRUPT;
    }
    *ret = view;
    return RC_OK;
}

bool
group_view_member(struct reader *rest, struct group_view_member *ret)
{
    *ret = (struct group_view_member){.id = replay__text(rest)};
    ret->instance = replay__text(rest);
    ret->client_id = replay__text(rest);
    ret->client_host = replay__text(rest);
    ret->rebalance_ms = reader_u32_be(rest);
    ret->session_ms = reader_u32_be(rest);
    ret->subscription = view_blob(rest);
    ret->assignment = view_blob(rest);
    return !rest->failed;
}

bool
group_view_consumer(struct reader *rest, struct group_view_consumer *ret)
{
    *ret = (struct group_view_consumer){.instance = replay__text(rest)};
    ret->rack = replay__text(rest);
    ret->client_id = replay__text(rest);
    ret->client_host = replay__text(rest);
    ret->rebalance_ms = reader_u32_be(rest);
    ret->regex = replay__text(rest);
    ret->assignor = reader_u8(rest);
    ret->epoch = (int32_t)reader_u32_be(rest);
    ret->previous_epoch = (int32_t)reader_u32_be(rest);
    ret->state = reader_u8(rest);
    ret->name_count = reader_u32_be(rest);
    const uint8_t *begin = reader_take(rest, 0);
    size_t left = reader_left(rest);
    for (uint32_t i = 0; i < ret->name_count && !rest->failed; i++)
        (void)replay__text(rest);
    ret->names = (struct bytes){begin, left - reader_left(rest)};
    return !rest->failed;
}
