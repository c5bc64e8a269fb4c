#include "engine/record/record_marker.h"

#include "engine/base/check.h"
#include "engine/record/record_builder.h"

#define MARKER_ATTRIBUTES (RECORD_ATTRIBUTES_TRANSACTIONAL | RECORD_ATTRIBUTES_CONTROL)
#define MARKER_KEY_BYTES 4u
#define MARKER_VALUE_BYTES 6u
#define MARKER_KEY_AT 66u
#define MARKER_VALUE_AT 71u
#define MARKER_TYPE_ABORT 0u
#define MARKER_TYPE_COMMIT 1u

void
record_marker_build(const struct record_marker *marker, uint8_t *ret_batch)
{
    const struct record_builder_options options = {
        .producer_id = marker->producer_id,
        .producer_epoch = marker->producer_epoch,
        .base_sequence = -1,
        .leader_epoch = -1,
        .attributes = MARKER_ATTRIBUTES,
    };
    uint8_t key[MARKER_KEY_BYTES] = {0};
    uint8_t value[MARKER_VALUE_BYTES] = {0};
    const struct record record = {
        .timestamp_ms = marker->timestamp_ms,
        .key = {.at = key, .count = sizeof(key)},
        .value = {.at = value, .count = sizeof(value)},
    };
    struct record_builder builder;

    put_u16_be(key + 2, marker->is_commit ? MARKER_TYPE_COMMIT : MARKER_TYPE_ABORT);
    put_u32_be(value + 2, (uint32_t)marker->coordinator_epoch);
    record_builder_begin(&builder, ret_batch, RECORD_MARKER_BYTES, &options);
    bool added = record_builder_add(&builder, &record);
    CHECK(added);
    uint32_t bytes = record_builder_finish(&builder);
    CHECK(bytes == RECORD_MARKER_BYTES);
}

bool
record_marker_read(const uint8_t *batch, uint32_t batch_bytes, struct record_marker *ret_marker)
{
    if (batch_bytes != RECORD_MARKER_BYTES ||
        (record_batch_attributes(batch) & MARKER_ATTRIBUTES) != MARKER_ATTRIBUTES ||
        get_u32_be(batch + RECORD_BATCH_RECORD_COUNT) != 1)
        return false;
    uint16_t type = get_u16_be(batch + MARKER_KEY_AT + 2);
    if (get_u16_be(batch + MARKER_KEY_AT) != 0 || type > MARKER_TYPE_COMMIT)
        return false;
    *ret_marker = (struct record_marker){
        .producer_id = (int64_t)get_u64_be(batch + RECORD_BATCH_PRODUCER_ID),
        .timestamp_ms = record_batch_max_timestamp(batch),
        .coordinator_epoch = (int32_t)get_u32_be(batch + MARKER_VALUE_AT + 2),
        .producer_epoch = (int16_t)get_u16_be(batch + RECORD_BATCH_PRODUCER_EPOCH),
        .is_commit = type == MARKER_TYPE_COMMIT,
    };
    return true;
}
