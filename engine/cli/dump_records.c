/* Batches and records as rows, and what the records of the internal logs mean: topics by the
 * decoder of engine/topic, groups by group_view.h, transactions by the form of Kafka's
 * TransactionLogKey and TransactionLogValue. */
#include "engine/cli/dump.h"

#include "engine/group/group_view.h"
#include "engine/record/record_codec.h"
#include "engine/record/record_iterator.h"
#include "engine/topic/topic_record.h"
#include "engine/topic/topic_store.h"

/* ---- forms of internal records ---- */

static struct bytes
take_text(struct reader *reader)
{
    int16_t count = (int16_t)reader_u16_be(reader);

    if (count < 0)
        return (struct bytes){0};
    return (struct bytes){reader_take(reader, (size_t)count), (size_t)count};
}

static void
dump_members(json_t *row, struct group_view_record *view)
{
    struct group_view_member one;
    json_t *members = json_array();

    for (uint32_t i = 0; i < view->member_count && group_view_member(&view->rest, &one); i++) {
        json_t *member = json_object();
        dump_bytes(member, "member", one.id);
        dump_bytes(member, "instance", one.instance);
        dump_bytes(member, "client", one.client_id);
        dump_bytes(member, "host", one.client_host);
        dump_int(member, "rebalance_ms", one.rebalance_ms);
        dump_int(member, "session_ms", one.session_ms);
        json_array_append_new(members, member);
    }
    json_object_set_new(row, "members", members);
}

static void
dump_group(json_t *row, struct group_view_record *view)
{
    dump_bytes(row, "protocol_type", view->protocol_type);
    dump_int(row, "generation", view->generation);
    dump_bytes(row, "protocol", view->protocol);
    dump_bytes(row, "leader", view->leader);
    dump_int(row, "state_ms", view->state_ms);
    dump_members(row, view);
}

/* Partitions as topic/number; there are at most as many as the value has room for. */
static void
dump_partitions(json_t *row, const char *name, struct reader *rest)
{
    uint32_t topics = reader_u32_be(rest);
    json_t *list = json_array();

    for (uint32_t t = 0; t < topics && !rest->failed; t++) {
        (void)reader_take(rest, 16);
        struct bytes topic = take_text(rest);
        uint32_t count = reader_u32_be(rest);
        for (uint32_t p = 0; p < count && !rest->failed; p++)
            json_array_append_new(
                list,
                json_sprintf(
                    "%.*s/%u", (int)topic.count, (const char *)topic.at, reader_u32_be(rest)));
    }
    json_object_set_new(row, name, list);
}

static void
dump_consumer(json_t *row, struct group_view_record *view)
{
    struct group_view_consumer one;

    if (!group_view_consumer(&view->rest, &one))
        return;
    struct reader names = reader_over(one.names.at, one.names.count);
    json_t *list = json_array();
    for (uint32_t i = 0; i < one.name_count; i++) {
        struct bytes name = take_text(&names);
        json_array_append_new(list, json_stringn((const char *)name.at, name.count));
    }
    dump_bytes(row, "instance", one.instance);
    dump_bytes(row, "rack", one.rack);
    dump_bytes(row, "client", one.client_id);
    dump_bytes(row, "host", one.client_host);
    dump_int(row, "rebalance_ms", one.rebalance_ms);
    json_object_set_new(row, "subscribed", list);
    dump_bytes(row, "pattern", one.regex);
    dump_int(row, "assignor", one.assignor);
    dump_int(row, "epoch", one.epoch);
    dump_int(row, "previous_epoch", one.previous_epoch);
    dump_int(row, "state", one.state);
    dump_partitions(row, "assigned", &view->rest);
    dump_partitions(row, "revoking", &view->rest);
}

static void
dump_group_value(json_t *row, struct group_view_record *view)
{
    if (view->kind == RECORD_KEY_PENDING || view->kind == RECORD_KEY_TXN_END)
        dump_int(row, "producer_epoch", view->producer_epoch);
    if (view->kind == RECORD_KEY_TXN_END) {
        dump_int(row, "committed", view->is_commit);
    } else if (view->kind == RECORD_KEY_GROUP) {
        dump_group(row, view);
    } else if (view->kind == RECORD_KEY_CONSUMER_GROUP) {
        dump_int(row, "epoch", view->generation);
        dump_int(row, "state_ms", view->state_ms);
    } else if (view->kind == RECORD_KEY_CONSUMER_MEMBER) {
        dump_consumer(row, view);
    } else {
        dump_int(row, "committed_offset", view->offset);
        dump_int(row, "leader_epoch", view->leader_epoch);
        dump_bytes(row, "metadata", view->metadata);
        dump_int(row, "commit_ms", view->commit_ms);
    }
}

bool
dump_group_record(json_t *row, struct bytes key, struct bytes value)
{
    struct group_view_record view;

    if (group_view_read(key, value, &view) != RC_OK)
        return false;
    if (view.kind == RECORD_KEY_PENDING || view.kind == RECORD_KEY_TXN_END)
        dump_int(row, "producer_id", view.producer_id);
    else if (view.group.count == 0)
        return false; /* a kind that nobody knows */
    if (view.group.count > 0)
        dump_bytes(row, "group", view.group);
    if (view.topic.count > 0) {
        dump_bytes(row, "topic", view.topic);
        dump_int(row, "partition", view.partition);
    }
    if (view.member.count > 0)
        dump_bytes(row, "member", view.member);
    json_object_set_new(row, "deleted", json_boolean(view.is_tombstone));
    if (!view.is_tombstone)
        dump_group_value(row, &view);
    return true;
}

static void
read_transaction_partitions(json_t *row, struct reader *value)
{
    int32_t count = (int32_t)reader_u32_be(value);
    json_t *topics = json_array();

    for (int32_t i = 0; i < count && !value->failed; i++) {
        json_t *topic = json_object();
        json_t *partitions = json_array();
        dump_bytes(topic, "topic", take_text(value));
        uint32_t partition_count = reader_u32_be(value);
        for (uint32_t p = 0; p < partition_count && !value->failed; p++)
            json_array_append_new(partitions, json_integer(reader_u32_be(value)));
        json_object_set_new(topic, "partitions", partitions);
        json_array_append_new(topics, topic);
    }
    json_object_set_new(row, "topics", topics);
}

bool
dump_transaction_record(json_t *row, struct bytes key_bytes, struct bytes value_bytes)
{
    /* Source: Kafka 3.9, TransactionState ids. */
    static const char *const states[] = {"empty",
                                         "ongoing",
                                         "prepare_commit",
                                         "prepare_abort",
                                         "complete_commit",
                                         "complete_abort",
                                         "dead",
                                         "prepare_epoch_fence"};
    struct reader key = reader_over(key_bytes.at, key_bytes.count);
    struct reader value = reader_over(value_bytes.at, value_bytes.count);

    if (reader_u16_be(&key) != 0)
        return false;
    dump_bytes(row, "transactional_id", take_text(&key));
    json_object_set_new(row, "deleted", json_boolean(value_bytes.at == NULL));
    if (value_bytes.at == NULL)
        return !key.failed;
    (void)reader_u16_be(&value); /* version */
    dump_int(row, "producer_id", (int64_t)reader_u64_be(&value));
    dump_int(row, "producer_epoch", (int16_t)reader_u16_be(&value));
    dump_int(row, "timeout_ms", (int32_t)reader_u32_be(&value));
    uint8_t state = reader_u8(&value);
    json_object_set_new(
        row, "state", json_string(state < ARRAY_COUNT(states) ? states[state] : "unknown"));
    read_transaction_partitions(row, &value);
    dump_int(row, "update_ms", (int64_t)reader_u64_be(&value));
    dump_int(row, "begin_ms", (int64_t)reader_u64_be(&value));
    return !key.failed && !value.failed;
}

static bool
dump_metadata_record(json_t *row, struct bytes value)
{
    static const char *const names[] = {
        "", "cluster", "created", "deleted", "partitions", "config", "producers"};
    static struct topic_record record;

    if (topic_record_decode(value, &record, NULL) != RC_OK ||
        (size_t)record.kind >= ARRAY_COUNT(names))
        return false;
    json_object_set_new(row, "is", json_string(names[record.kind]));
    if (record.kind != TOPIC_RECORD_PRODUCERS)
        dump_uuid(row, "id", record.id);
    if (record.kind == TOPIC_RECORD_CREATED)
        dump_bytes(row, "name", (struct bytes){(const uint8_t *)record.name, record.name_count});
    if (record.kind == TOPIC_RECORD_CREATED || record.kind == TOPIC_RECORD_PARTITIONS) {
        dump_int(row, "first_partition", record.first_partition);
        dump_int(row, "partitions", record.partition_count);
        dump_count(row, "first_incarnation", record.first_incarnation);
    }
    if (record.kind == TOPIC_RECORD_PRODUCERS) {
        dump_count(row, "first_producer", record.first_producer);
        dump_int(row, "producers", record.producer_count);
    }
    json_t *config = json_object();
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        char text[TOPIC_CONFIG_TEXT_MAX];
        if ((record.config.set & (UINT64_C(1) << i)) == 0)
            continue;
        (void)topic_config_text(&record.config, (enum topic_config_key)i, text);
        json_object_set_new(
            config, topic_config_row((enum topic_config_key)i)->key, json_string(text));
    }
    if (record.kind == TOPIC_RECORD_CREATED || record.kind == TOPIC_RECORD_CONFIG)
        json_object_set(row, "config", config);
    json_decref(config);
    return true;
}

/* ---- records ---- */

static void
print_headers(json_t *row, struct record_view *record)
{
    struct record_header header;
    json_t *list = json_array();

    while (record_view_header(record, &header)) {
        json_t *one = json_object();
        dump_bytes(one, "name", header.key);
        dump_bytes(one, "value", header.value);
        json_array_append_new(list, one);
    }
    if (json_array_size(list) > 0)
        json_object_set(row, "headers", list);
    json_decref(list);
}

/* The key of a control record is i16 version, i16 type: 0 abort, 1 commit. */
static bool
print_control(json_t *row, struct bytes key)
{
    if (key.at == NULL || key.count < 4)
        return false;
    json_object_set_new(row, "control", json_string(key.at[3] == 1 ? "commit" : "abort"));
    return true;
}

static void
print_record(struct dump *dump,
             const struct dump_batch *batch,
             const struct record_batch_info *info,
             struct record_view *record)
{
    uint32_t as = dump->as != UINT32_MAX                             ? dump->as
                  : batch->incarnation == TOPIC_METADATA_INCARNATION ? DUMP_AS_METADATA
                                                                     : DUMP_AS_BYTES;
    json_t *row = dump_row("record");
    bool is_known = false;

    dump_int(row, "offset", record->offset);
    dump_int(row, "timestamp_ms", record->timestamp_ms);
    if ((info->attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
        is_known = print_control(row, record->key);
    else if (as == DUMP_AS_METADATA)
        is_known = dump_metadata_record(row, record->value);
    else if (as == DUMP_AS_GROUPS)
        is_known = dump_group_record(row, record->key, record->value);
    else if (as == DUMP_AS_TRANSACTIONS)
        is_known = dump_transaction_record(row, record->key, record->value);
    if (!is_known) {
        dump_bytes(row, "key", record->key);
        dump_bytes(row, "value", record->value);
    }
    print_headers(row, record);
    dump_print(dump, row);
}

static void
print_records(struct dump *dump,
              const struct dump_batch *batch,
              const struct record_batch_info *info)
{
    struct bytes payload = {batch->at + RECORD_BATCH_HEADER_BYTES,
                            info->batch_bytes - RECORD_BATCH_HEADER_BYTES};
    struct record_iterator iterator;
    struct record_view record;
    size_t bytes = 0;

    if (record_batch_codec(info) != RECORD_CODEC_NONE) {
        enum rc rc = record_decompress(
            record_batch_codec(info), payload, dump->records, INSPECT_RECORDS_BYTES_MAX, &bytes);
        if (rc != RC_OK) {
            dump_damage(dump, batch->position, rc_text(rc));
            return;
        }
        payload = (struct bytes){dump->records, bytes};
    }
    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record))
        if ((uint64_t)record.offset >= dump->from && (uint64_t)record.offset < dump->to)
            print_record(dump, batch, info, &record);
    if (iterator.rc != RC_OK)
        dump_damage(dump, batch->position, "the records do not fill the batch");
}

void
dump_batch(struct dump *dump, const struct dump_batch *batch)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    struct record_batch_info info;

    if (record_batch_read(batch->at, batch->bytes, &info) != RC_OK || !batch->is_intact) {
        dump_damage(dump, batch->position, "batch: length or checksum");
        return;
    }
    if ((uint64_t)record_batch_last_offset(&info) < dump->from ||
        (uint64_t)info.base_offset >= dump->to)
        return;
    json_t *row = dump_row("batch");
    uint32_t codec = record_batch_codec(&info);
    dump_count(row, "position", batch->position);
    dump_incarnation(row, batch->incarnation);
    dump_int(row, "base_offset", info.base_offset);
    dump_int(row, "last_offset", record_batch_last_offset(&info));
    dump_int(row, "records", info.record_count);
    dump_int(row, "bytes", info.batch_bytes);
    json_object_set_new(
        row, "codec", json_string(codec < ARRAY_COUNT(codecs) ? codecs[codec] : "unknown"));
    dump_int(row, "leader_epoch", info.leader_epoch);
    dump_int(row, "max_timestamp_ms", info.max_timestamp_ms);
    if (info.producer_id >= 0) {
        dump_int(row, "producer_id", info.producer_id);
        dump_int(row, "producer_epoch", info.producer_epoch);
        dump_int(row, "base_sequence", info.base_sequence);
    }
    if ((info.attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0)
        json_object_set_new(row, "transactional", json_true());
    if ((info.attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
        json_object_set_new(row, "control", json_true());
    dump_print(dump, row);
    if (dump->with_records)
        print_records(dump, batch, &info);
}
