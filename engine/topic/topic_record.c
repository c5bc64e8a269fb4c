/* Encoding of the metadata records. Overrides travel as text pairs, so that rows of
 * topic_config.def may move freely. */
#include "engine/topic/topic_record.h"

#include "engine/base/check.h"

#define RECORD_VERSION 0u

static void
encode_text_pair(const char *key, const char *value, size_t count, struct writer *writer)
{
    writer_u8(writer, (uint8_t)strlen(key));
    writer_bytes(writer, key, strlen(key));
    writer_u16_le(writer, (uint16_t)count);
    writer_bytes(writer, value, count);
}

static void
encode_config(const struct topic_config *config, struct writer *writer)
{
    char text[TOPIC_CONFIG_TEXT_MAX];

    writer_u16_le(writer, (uint16_t)__builtin_popcountll(config->set));
    for (uint32_t i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        if ((config->set >> i & 1) == 0)
            continue;
        const char *key = topic_config_row((enum topic_config_key)i)->key;
        size_t count = topic_config_text(config, (enum topic_config_key)i, text);
        encode_text_pair(key, text, count, writer);
    }
}

static void
encode_broker(const struct topic_record *record, struct writer *writer)
{
    char text[TOPIC_CONFIG_TEXT_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < BROKER_CONFIG_COUNT; i++)
        count += broker_config_has(&record->broker, i) ? 1 : 0;
    writer_u32_le(writer, record->broker_id);
    writer_u16_le(writer, (uint16_t)count);
    for (uint32_t i = 0; i < BROKER_CONFIG_COUNT; i++) {
        if (!broker_config_has(&record->broker, i))
            continue;
        size_t bytes = broker_config_text(&record->broker, i, text);
        encode_text_pair(broker_config_row(i).key, text, bytes, writer);
    }
}

static void
encode_quota(const struct quota_entity *quota, struct writer *writer)
{
    writer_u8(writer, quota->is_default ? 1 : 0);
    writer_u8(writer, quota->name_count);
    writer_bytes(writer, quota->name, quota->name_count);
    writer_u8(writer, quota->set);
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        uint64_t bits;
        if ((quota->set >> kind & 1) == 0)
            continue;
        memcpy(&bits, &quota->limits[kind], sizeof(bits));
        writer_u64_le(writer, bits);
    }
}

void
topic_record_encode(const struct topic_record *record, struct writer *writer)
{
    writer_u8(writer, (uint8_t)record->kind);
    writer_u8(writer, RECORD_VERSION);
    if (record->kind == TOPIC_RECORD_PRODUCERS) {
        writer_u64_le(writer, record->first_producer);
        writer_u32_le(writer, record->producer_count);
        return;
    }
    if (record->kind == TOPIC_RECORD_QUOTA) {
        encode_quota(&record->quota, writer);
        return;
    }
    if (record->kind == TOPIC_RECORD_BROKER) {
        encode_broker(record, writer);
        return;
    }
    writer_bytes(writer, record->id, sizeof(record->id));
    if (record->kind == TOPIC_RECORD_CLUSTER || record->kind == TOPIC_RECORD_CREATED)
        writer_u64_le(writer, (uint64_t)record->wall_ms);
    if (record->kind == TOPIC_RECORD_CREATED) {
        writer_u8(writer, record->name_count);
        writer_bytes(writer, record->name, record->name_count);
    }
    if (record->kind == TOPIC_RECORD_CREATED || record->kind == TOPIC_RECORD_PARTITIONS) {
        writer_u32_le(writer, record->first_partition);
        writer_u32_le(writer, record->partition_count);
        writer_u64_le(writer, record->first_incarnation);
    }
    if (record->kind == TOPIC_RECORD_CREATED || record->kind == TOPIC_RECORD_CONFIG)
        encode_config(&record->config, writer);
}

/* One override; false: the bytes end within it. */
static bool
decode_text_pair(struct reader *reader, struct bytes *ret_key, struct bytes *ret_value)
{
    ret_key->count = reader_u8(reader);
    ret_key->at = reader_take(reader, ret_key->count);
    ret_value->count = reader_u16_le(reader);
    ret_value->at = reader_take(reader, ret_value->count);
    return !reader->failed;
}

static enum rc
decode_config(struct reader *reader, struct topic_config *config, struct diag_trail *trail)
{
    uint32_t count = reader_u16_le(reader);
    struct bytes key;
    struct bytes value;

    for (uint32_t i = 0; i < count && decode_text_pair(reader, &key, &value); i++) {
        if (topic_config_set(config, key, value, trail) != RC_OK)
            return RC_NEWER_FORMAT;
    }
    return RC_OK;
}

static enum rc
decode_broker(struct reader *reader, struct topic_record *record, struct diag_trail *trail)
{
    struct bytes key;
    struct bytes value;

    record->broker_id = reader_u32_le(reader);
    uint32_t count = reader_u16_le(reader);
    for (uint32_t i = 0; i < count && decode_text_pair(reader, &key, &value); i++) {
        if (broker_config_set(&record->broker, key, value, trail) != RC_OK)
            return RC_NEWER_FORMAT;
    }
    return RC_OK;
}

static enum rc
decode_quota(struct reader *reader, struct quota_entity *quota)
{
    uint8_t is_default = reader_u8(reader);
    uint8_t count = reader_u8(reader);
    const uint8_t *name = reader_take(reader, count);

    if (reader->failed || is_default > 1 || count > QUOTA_NAME_MAX)
        return RC_CORRUPT;
    quota->is_default = is_default == 1;
    quota->name_count = count;
    bytes_copy(quota->name, sizeof(quota->name), name, count);
    quota->set = reader_u8(reader);
    if (quota->set >> QUOTA_KIND_COUNT != 0)
        return RC_NEWER_FORMAT;
    for (uint32_t kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
        if ((quota->set >> kind & 1) == 0)
            continue;
        uint64_t bits = reader_u64_le(reader);
        memcpy(&quota->limits[kind], &bits, sizeof(bits));
    }
    return RC_OK;
}

static enum rc
decode_body(struct reader *reader, struct topic_record *record, struct diag_trail *trail)
{
    const uint8_t *id;

    if (record->kind == TOPIC_RECORD_PRODUCERS) {
        record->first_producer = reader_u64_le(reader);
        record->producer_count = reader_u32_le(reader);
        return RC_OK;
    }
    if (record->kind == TOPIC_RECORD_QUOTA)
        return decode_quota(reader, &record->quota);
    if (record->kind == TOPIC_RECORD_BROKER)
        return decode_broker(reader, record, trail);
    id = reader_take(reader, sizeof(record->id));
    if (id != NULL)
        bytes_copy(record->id, sizeof(record->id), id, sizeof(record->id));
    if (record->kind == TOPIC_RECORD_CLUSTER || record->kind == TOPIC_RECORD_CREATED)
        record->wall_ms = (int64_t)reader_u64_le(reader);
    if (record->kind == TOPIC_RECORD_CREATED) {
        record->name_count = reader_u8(reader);
        const uint8_t *name = reader_take(reader, record->name_count);
        if (name == NULL || record->name_count > TOPIC_NAME_MAX)
            return RC_CORRUPT;
        bytes_copy(record->name, sizeof(record->name), name, record->name_count);
    }
    if (record->kind == TOPIC_RECORD_CREATED || record->kind == TOPIC_RECORD_PARTITIONS) {
        record->first_partition = reader_u32_le(reader);
        record->partition_count = reader_u32_le(reader);
        record->first_incarnation = reader_u64_le(reader);
    }
    if (record->kind == TOPIC_RECORD_CREATED || record->kind == TOPIC_RECORD_CONFIG)
        return decode_config(reader, &record->config, trail);
    return RC_OK;
}

enum rc
topic_record_decode(struct bytes value, struct topic_record *ret_record, struct diag_trail *trail)
{
    struct reader reader = reader_over(value.at, value.count);
    struct topic_record record = {.kind = (enum topic_record_kind)reader_u8(&reader)};
    uint32_t version = reader_u8(&reader);

    if (reader.failed) {
        diag_trail_add(trail, "metadata record of %zu bytes", value.count);
        return RC_CORRUPT;
    }
    if (record.kind < TOPIC_RECORD_CLUSTER || record.kind > TOPIC_RECORD_LAST ||
        version > RECORD_VERSION) {
        diag_trail_add(trail,
                       "metadata record kind %u version %u is not known to this release",
                       (unsigned)record.kind,
                       version);
        return RC_NEWER_FORMAT;
    }
    enum rc rc = decode_body(&reader, &record, trail);
    if (rc == RC_OK && (reader.failed || reader_left(&reader) != 0))
        rc = RC_CORRUPT;
    if (rc != RC_OK) {
        diag_trail_add(trail, "metadata record kind %u", (unsigned)record.kind);
        return rc;
    }
    *ret_record = record;
    return RC_OK;
}
