/* Goal: no batch header that a producer may not send passes, and what the broker rewrites keeps the
 * batch valid. Method: one good batch (the published vector), then one field spoilt at a time;
 * every length cut; seeded byte flips; a LogAppendTime patch compared with a CRC computed from
 * scratch. */
#include "engine/record/record_batch.h"

#include "engine/base/hash.h"
#include "engine/record/record_iterator.h"

#include <criterion/criterion.h>
#include <string.h>

/* One record, key "key", value "value", header h=v, no producer: 80 bytes, computed by two other
 * implementations. */
static const uint8_t plain_batch[80] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,   0x44, 0xff, 0xff, 0xff, 0xff,
    2,    0x83, 0x79, 0x4a, 0x1d, 0,    0,    0,    0,    0,    0,   0,    0,    0x01, 0x8b, 0xcf,
    0xe5, 0x68, 0,    0,    0,    0x01, 0x8b, 0xcf, 0xe5, 0x68, 0,   0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,   0,    1,    0x24, 0,    0,
    0,    6,    'k',  'e',  'y',  0x0a, 'v',  'a',  'l',  'u',  'e', 2,    2,    'h',  2,    'v',
};

/* COMMIT marker at offset 5, producer 1000 epoch 2, leader epoch 0, coordinator epoch 7. */
static const uint8_t marker_batch[78] = {
    0,    0,    0,    0,    0,    0,    0,    5,    0,    0,    0, 0x42, 0, 0,    0,    0,
    2,    0x80, 0x9c, 0x88, 0xc4, 0,    0x30, 0,    0,    0,    0, 0,    0, 0x01, 0x8b, 0xcf,
    0xe5, 0x68, 0,    0,    0,    0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0,    0, 0,    0,    0,
    0,    0x03, 0xe8, 0,    2,    0xff, 0xff, 0xff, 0xff, 0,    0, 0,    1, 0x20, 0,    0,
    0,    8,    0,    0,    0,    1,    0x0c, 0,    0,    0,    0, 0,    7, 0,
};

struct spoilt {
    const char *what;
    uint32_t offset;
    uint32_t bytes;
    uint64_t value;
    enum rc rc;
};

static void
put_be(uint8_t *at, uint32_t bytes, uint64_t value)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

Test(record_batch_check, refuses_every_header_a_producer_may_not_send, .timeout = 10)
{
    static const struct spoilt rows[] = {
        {"base offset", RECORD_BATCH_BASE_OFFSET, 8, 1, RC_BATCH_INVALID},
        {"length below a header", RECORD_BATCH_LENGTH, 4, 48, RC_BATCH_CORRUPT},
        {"negative length", RECORD_BATCH_LENGTH, 4, UINT32_MAX, RC_BATCH_CORRUPT},
        {"length behind the bytes", RECORD_BATCH_LENGTH, 4, 69, RC_BATCH_CORRUPT},
        {"bytes behind the length", RECORD_BATCH_LENGTH, 4, 67, RC_BATCH_INVALID},
        {"length over the limit",
         RECORD_BATCH_LENGTH,
         4,
         RECORD_BATCH_BYTES_MAX,
         RC_BATCH_TOO_LARGE},
        {"magic 1", RECORD_BATCH_MAGIC, 1, 1, RC_BATCH_INVALID},
        {"magic 3", RECORD_BATCH_MAGIC, 1, 3, RC_BATCH_INVALID},
        {"no records", RECORD_BATCH_RECORD_COUNT, 4, 0, RC_BATCH_INVALID},
        {"negative count", RECORD_BATCH_RECORD_COUNT, 4, UINT32_MAX, RC_BATCH_INVALID},
        {"count beside delta", RECORD_BATCH_RECORD_COUNT, 4, 2, RC_BATCH_INVALID},
        {"delta beside count", RECORD_BATCH_LAST_OFFSET_DELTA, 4, 1, RC_BATCH_INVALID},
        {"negative delta", RECORD_BATCH_LAST_OFFSET_DELTA, 4, UINT32_MAX, RC_BATCH_INVALID},
        {"codec 5", RECORD_BATCH_ATTRIBUTES, 2, 5, RC_BATCH_INVALID},
        {"codec 7", RECORD_BATCH_ATTRIBUTES, 2, 7, RC_BATCH_INVALID},
        {"log append time", RECORD_BATCH_ATTRIBUTES, 2, 8, RC_BATCH_TIMESTAMP},
        {"transaction without producer", RECORD_BATCH_ATTRIBUTES, 2, 16, RC_BATCH_INVALID},
        {"control", RECORD_BATCH_ATTRIBUTES, 2, 32, RC_BATCH_INVALID},
        {"delete horizon", RECORD_BATCH_ATTRIBUTES, 2, 64, RC_BATCH_INVALID},
        {"unknown attribute", RECORD_BATCH_ATTRIBUTES, 2, 128, RC_BATCH_INVALID},
        {"producer without epoch", RECORD_BATCH_PRODUCER_ID, 8, 7, RC_BATCH_INVALID},
        {"producer id -2", RECORD_BATCH_PRODUCER_ID, 8, UINT64_MAX - 1, RC_BATCH_INVALID},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint8_t batch[sizeof(plain_batch)];
        struct record_batch_info info;
        memcpy(batch, plain_batch, sizeof(batch));
        put_be(batch + rows[i].offset, rows[i].bytes, rows[i].value);
        cr_expect_eq(
            record_batch_check(batch, sizeof(batch), &info), rows[i].rc, "%s", rows[i].what);
    }
}

Test(record_batch_read, calls_negative_numbers_of_a_stored_batch_damage, .timeout = 10)
{
    static const uint32_t places[] = {RECORD_BATCH_RECORD_COUNT, RECORD_BATCH_LAST_OFFSET_DELTA};

    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        uint8_t batch[sizeof(plain_batch)];
        struct record_batch_info info;
        memcpy(batch, plain_batch, sizeof(batch));
        put_be(batch + places[i], 4, UINT32_MAX);
        cr_assert_eq(record_batch_read(batch, sizeof(batch), &info), RC_BATCH_CORRUPT);
    }
}

Test(record_batch_check, wants_epoch_and_sequence_with_a_producer_id, .timeout = 10)
{
    uint8_t batch[sizeof(plain_batch)];
    struct record_batch_info info;

    memcpy(batch, plain_batch, sizeof(batch));
    put_be(batch + RECORD_BATCH_PRODUCER_ID, 8, 1000);
    put_be(batch + RECORD_BATCH_PRODUCER_EPOCH, 2, 0);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_BATCH_INVALID);
    put_be(batch + RECORD_BATCH_BASE_SEQUENCE, 4, 0);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_OK);
    put_be(batch + RECORD_BATCH_PRODUCER_EPOCH, 2, 0xffff);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_BATCH_INVALID);
}

Test(record_batch_check, refuses_more_records_than_their_bytes_can_hold, .timeout = 10)
{
    uint8_t batch[sizeof(plain_batch)];
    struct record_batch_info info;
    uint32_t most = (sizeof(plain_batch) - RECORD_BATCH_HEADER_BYTES) / RECORD_BYTES_MIN;

    memcpy(batch, plain_batch, sizeof(batch));
    put_be(batch + RECORD_BATCH_RECORD_COUNT, 4, most);
    put_be(batch + RECORD_BATCH_LAST_OFFSET_DELTA, 4, most - 1);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_OK);
    put_be(batch + RECORD_BATCH_RECORD_COUNT, 4, most + 1);
    put_be(batch + RECORD_BATCH_LAST_OFFSET_DELTA, 4, most);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_BATCH_INVALID);
    /* Compressed records may be smaller than that. */
    put_be(batch + RECORD_BATCH_ATTRIBUTES, 2, RECORD_CODEC_ZSTD);
    cr_assert_eq(record_batch_check(batch, sizeof(batch), &info), RC_OK);
}

Test(record_batch_check, refuses_no_bytes_and_batches_cut_anywhere, .timeout = 10)
{
    struct record_batch_info info;

    cr_assert_eq(record_batch_check(plain_batch, 0, &info), RC_BATCH_INVALID);
    for (size_t count = 1; count < sizeof(plain_batch); count++)
        cr_assert_eq(record_batch_check(plain_batch, count, &info), RC_BATCH_CORRUPT, "%zu", count);
}

Test(record_batch_check, touches_the_header_only, .timeout = 10)
{
    struct record_batch_info info;
    uint8_t *header = malloc(RECORD_BATCH_HEADER_BYTES); /* ASan guards what lies behind */

    memcpy(header, plain_batch, RECORD_BATCH_HEADER_BYTES);
    cr_assert_eq(record_batch_check(header, sizeof(plain_batch), &info), RC_OK);
    free(header);
}

Test(record_batch_check, reads_the_published_batch, .timeout = 10)
{
    struct record_batch_info info;

    cr_assert_eq(record_batch_check(plain_batch, sizeof(plain_batch), &info), RC_OK);
    cr_assert_eq(info.batch_bytes, 80u);
    cr_assert_eq(info.record_count, 1u);
    cr_assert_eq(info.leader_epoch, -1);
    cr_assert_eq(info.crc, 0x83794a1du);
    cr_assert_eq(info.base_timestamp_ms, 1700000000000);
    cr_assert_eq(info.max_timestamp_ms, 1700000000000);
    cr_assert_eq(info.producer_id, -1);
    cr_assert_eq(info.producer_epoch, -1);
    cr_assert_eq(info.base_sequence, -1);
    cr_assert(record_batch_crc_ok(plain_batch, sizeof(plain_batch)));
}

Test(record_batch_read, reads_a_control_batch_that_producers_may_not_send, .timeout = 10)
{
    struct record_batch_info info;

    cr_assert_eq(record_batch_check(marker_batch, sizeof(marker_batch), &info), RC_BATCH_INVALID);
    cr_assert_eq(record_batch_read(marker_batch, sizeof(marker_batch) + 1000, &info), RC_OK);
    cr_assert_eq(info.base_offset, 5);
    cr_assert_eq(info.producer_id, 1000);
    cr_assert_eq(info.producer_epoch, 2);
    cr_assert_eq(info.attributes, RECORD_ATTRIBUTES_CONTROL | RECORD_ATTRIBUTES_TRANSACTIONAL);
    cr_assert_eq(record_batch_last_offset(&info), 5);
    cr_assert(record_batch_crc_ok(marker_batch, sizeof(marker_batch)));
}

Test(record_batch_crc_ok, notices_every_flipped_bit_it_covers_and_none_of_the_prefix, .timeout = 10)
{
    uint8_t batch[sizeof(plain_batch)];

    for (uint32_t bit = 0; bit < 8 * sizeof(plain_batch); bit++) {
        bool covered = bit / 8 >= RECORD_BATCH_CRC;
        memcpy(batch, plain_batch, sizeof(batch));
        batch[bit / 8] ^= (uint8_t)BIT(bit % 8);
        cr_assert_eq(record_batch_crc_ok(batch, sizeof(batch)), !covered, "bit %u", bit);
    }
}

Test(record_batch_patch, writes_offset_and_epoch_outside_the_crc, .timeout = 10)
{
    uint8_t batch[sizeof(plain_batch)];
    struct record_batch_info info;

    memcpy(batch, plain_batch, sizeof(batch));
    record_batch_patch(batch, 0x1122334455667788u, 9);
    cr_assert(record_batch_crc_ok(batch, sizeof(batch)));
    cr_assert_eq(record_batch_read(batch, sizeof(batch), &info), RC_OK);
    cr_assert_eq(info.base_offset, 0x1122334455667788);
    cr_assert_eq(info.leader_epoch, 9);

    struct record_batch_prefix prefix = record_batch_prefix_of(batch);
    cr_assert(record_batch_prefix_equal(&prefix, batch));
    cr_assert(!record_batch_prefix_equal(&prefix, plain_batch));
}

Test(record_batch_set_append_time, gives_the_crc_of_the_changed_batch, .timeout = 10)
{
    static uint8_t batch[100000];
    uint32_t state = 7;

    memcpy(batch, plain_batch, sizeof(plain_batch));
    for (size_t i = RECORD_BATCH_HEADER_BYTES; i < sizeof(batch); i++) {
        state = state * 1664525u + 1013904223u;
        batch[i] = (uint8_t)(state >> 24);
    }
    for (uint32_t count = RECORD_BATCH_HEADER_BYTES; count <= sizeof(batch); count += 3331) {
        put_be(batch + RECORD_BATCH_CRC, 4, hash_crc32c(0, batch + 21, count - 21));
        record_batch_set_append_time(batch, count, 1700000000000 + count);
        cr_assert(record_batch_crc_ok(batch, count), "%u bytes", count);
        cr_assert_eq(record_batch_max_timestamp(batch), 1700000000000 + count);
        cr_assert_eq(get_u16_be(batch + RECORD_BATCH_ATTRIBUTES),
                     RECORD_ATTRIBUTES_LOG_APPEND_TIME);
        put_be(batch + RECORD_BATCH_ATTRIBUTES, 2, 0);
    }
}

Test(record_batch_set_append_time, leaves_damage_in_the_records_detectable, .timeout = 10)
{
    uint8_t batch[sizeof(plain_batch)];

    memcpy(batch, plain_batch, sizeof(batch));
    batch[70] ^= 1;
    record_batch_set_append_time(batch, sizeof(batch), 1800000000000);
    cr_assert(!record_batch_crc_ok(batch, sizeof(batch)));
    batch[70] ^= 1;
    cr_assert(record_batch_crc_ok(batch, sizeof(batch)));
}

Test(record_iterator, walks_the_published_batch, .timeout = 10)
{
    struct record_batch_info info;
    struct record_iterator iterator;
    struct record_view record;
    struct record_header header;

    cr_assert_eq(record_batch_read(plain_batch, sizeof(plain_batch), &info), RC_OK);
    record_iterator_begin(
        &iterator, &info, (struct bytes){plain_batch + 61, sizeof(plain_batch) - 61});
    cr_assert(record_iterator_next(&iterator, &record));
    cr_assert_eq(record.offset, 0);
    cr_assert_eq(record.timestamp_ms, 1700000000000);
    cr_assert_eq(record.key.count, 3u);
    cr_assert_arr_eq(record.key.at, "key", 3);
    cr_assert_arr_eq(record.value.at, "value", 5);
    cr_assert(record_view_header(&record, &header));
    cr_assert_arr_eq(header.key.at, "h", 1);
    cr_assert_arr_eq(header.value.at, "v", 1);
    cr_assert(!record_view_header(&record, &header));
    cr_assert(!record_iterator_next(&iterator, &record));
    cr_assert_eq(iterator.rc, RC_OK);
}

Test(record_iterator, calls_payloads_cut_anywhere_corrupt, .timeout = 10)
{
    struct record_batch_info info;
    struct record_view record;

    cr_assert_eq(record_batch_read(plain_batch, sizeof(plain_batch), &info), RC_OK);
    for (size_t count = 0; count < sizeof(plain_batch) - 61; count++) {
        struct record_iterator iterator;
        record_iterator_begin(&iterator, &info, (struct bytes){plain_batch + 61, count});
        cr_assert(!record_iterator_next(&iterator, &record));
        cr_assert_eq(iterator.rc, RC_CORRUPT, "%zu bytes", count);
    }
}

Test(record_iterator, calls_bytes_behind_the_last_record_corrupt, .timeout = 10)
{
    uint8_t payload[20] = {0};
    struct record_batch_info info;
    struct record_iterator iterator;
    struct record_view record;

    memcpy(payload, plain_batch + 61, 19);
    cr_assert_eq(record_batch_read(plain_batch, sizeof(plain_batch), &info), RC_OK);
    record_iterator_begin(&iterator, &info, (struct bytes){payload, sizeof(payload)});
    cr_assert(record_iterator_next(&iterator, &record));
    cr_assert(!record_iterator_next(&iterator, &record));
    cr_assert_eq(iterator.rc, RC_CORRUPT);
}

Test(record_iterator, calls_lengths_that_do_not_add_up_corrupt, .timeout = 10)
{
    /* length, attributes, time delta, offset delta, key length, value length, header count */
    static const struct {
        const char *what;
        uint8_t at[12];
        uint8_t count;
        enum rc rc;
    } rows[] = {
        {"null key and value", {0x0c, 0, 0, 0, 1, 1, 0}, 7, RC_OK},
        {"key length -2", {0x0c, 0, 0, 0, 3, 1, 0}, 7, RC_CORRUPT},
        {"value length -2", {0x0c, 0, 0, 0, 1, 3, 0}, 7, RC_CORRUPT},
        {"header count -1", {0x0c, 0, 0, 0, 1, 1, 1}, 7, RC_CORRUPT},
        {"record length -1", {0x01, 0, 0, 0, 1, 1, 0}, 7, RC_CORRUPT},
        {"a byte behind the headers", {0x0e, 0, 0, 0, 1, 1, 0, 0}, 8, RC_CORRUPT},
        {"null header key", {0x10, 0, 0, 0, 1, 1, 2, 1, 1}, 9, RC_CORRUPT},
        {"null header value", {0x10, 0, 0, 0, 1, 1, 2, 0, 1}, 9, RC_OK},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct record_batch_info info = {.record_count = 1};
        struct record_iterator iterator;
        struct record_view record;
        record_iterator_begin(&iterator, &info, (struct bytes){rows[i].at, rows[i].count});
        cr_expect_eq(
            record_iterator_next(&iterator, &record), rows[i].rc == RC_OK, "%s", rows[i].what);
        cr_expect_eq(iterator.rc, rows[i].rc, "%s", rows[i].what);
    }
}
