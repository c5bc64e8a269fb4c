/* Goal: a transaction marker has the bytes that Kafka's consumers expect, and nothing else is taken
 * for one. Method: what is not a marker first, then the layout byte by byte, then there and back.
 */
#include "engine/record/record_marker.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct record_marker marker = {
    .producer_id = 0x0102030405060708,
    .timestamp_ms = 1700000000123,
    .coordinator_epoch = 0x11223344,
    .producer_epoch = 0x0506,
    .is_commit = true,
};

Test(record_marker, is_not_seen_in_what_is_none, .timeout = 10)
{
    uint8_t batch[RECORD_MARKER_BYTES];
    struct record_marker read;

    record_marker_build(&marker, batch);
    cr_assert(!record_marker_read(batch, RECORD_MARKER_BYTES - 1, &read));
    batch[22] = RECORD_ATTRIBUTES_TRANSACTIONAL;
    cr_assert(!record_marker_read(batch, RECORD_MARKER_BYTES, &read), "no control batch");
    record_marker_build(&marker, batch);
    batch[69] = 2;
    cr_assert(!record_marker_read(batch, RECORD_MARKER_BYTES, &read), "another kind of control");
    batch[69] = 1;
    batch[67] = 1;
    cr_assert(!record_marker_read(batch, RECORD_MARKER_BYTES, &read), "another key version");
}

Test(record_marker, has_the_layout_of_a_control_record, .timeout = 10)
{
    static const uint8_t record[] = {
        0x20, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0x11, 0x22, 0x33, 0x44, 0};
    uint8_t batch[RECORD_MARKER_BYTES];
    struct record_batch_info info;

    record_marker_build(&marker, batch);
    cr_assert(record_batch_crc_ok(batch, sizeof(batch)));
    cr_assert_eq(record_batch_read(batch, sizeof(batch), &info), RC_OK);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_BATCH_INVALID, "of clients");
    cr_assert_eq(info.attributes, 0x30);
    cr_assert_eq(info.base_sequence, -1);
    cr_assert_eq(info.record_count, 1u);
    cr_assert_eq(memcmp(batch + RECORD_BATCH_HEADER_BYTES, record, sizeof(record)), 0);
}

Test(record_marker, reads_back_what_was_built, .timeout = 10)
{
    struct record_marker written = marker;
    struct record_marker read;
    uint8_t batch[RECORD_MARKER_BYTES];

    for (int commit = 0; commit <= 1; commit++) {
        written.is_commit = commit == 1;
        record_marker_build(&written, batch);
        cr_assert(record_marker_read(batch, sizeof(batch), &read));
        cr_assert_eq(read.producer_id, written.producer_id);
        cr_assert_eq(read.timestamp_ms, written.timestamp_ms);
        cr_assert_eq(read.coordinator_epoch, written.coordinator_epoch);
        cr_assert_eq(read.producer_epoch, written.producer_epoch);
        cr_assert_eq(read.is_commit, written.is_commit);
    }
}
