/* Goal: the bytes on disk do not drift: data written by an earlier build stays readable, and
 * FORMAT.md stays true. Method: build one image of each kind from fixed values and compare with
 * tests/golden/log byte by byte; tests/golden/log/check_format.py reads the same files from
 * FORMAT.md alone. A change of layout is a new FORMAT_VERSION and new files beside the old ones.
 * EAGRE_GOLDEN_WRITE=1 writes the files instead. */
#include "engine/record/record_marker.h"
#include "log/format/checkpoint_format.h"
#include "log/format/journal_format.h"
#include "log/format/manifest_format.h"
#include "tests/unit/log/format/sample.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static _Alignas(4096) uint8_t image[4 * FORMAT_BLOCK_BYTES];
static _Alignas(4096) uint8_t golden[4 * FORMAT_BLOCK_BYTES + 1];

static const uint8_t uuid[FORMAT_UUID_BYTES] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const struct sample first = {
    .base_offset = 1000,
    .record_count = 3,
    .bytes = 200,
    .fill = 0x5a,
    .leader_epoch = 2,
    .producer_id = 77,
    .base_sequence = 12,
    .max_timestamp_ms = 1700000000123,
};
static const struct sample second = {
    .base_offset = 1003,
    .record_count = 1,
    .bytes = 61,
    .leader_epoch = 2,
    .producer_id = -1,
    .base_sequence = -1,
    .max_timestamp_ms = 1700000000456,
};

/* Compares image[0, count) with the stored file of that name. */
static void
expect_golden(const char *name, size_t count)
{
    char path[1024];
    const char *end = strstr(__FILE__, "tests/unit/");

    cr_assert_not_null(end);
    (void)snprintf(
        path, sizeof(path), "%.*stests/golden/log/%s", (int)(end - __FILE__), __FILE__, name);
    bool write = getenv("EAGRE_GOLDEN_WRITE") != NULL;
    FILE *file = fopen(path, write ? "wb" : "rb");
    cr_assert_not_null(file, "%s", path);
    if (write) {
        cr_assert_eq(fwrite(image, 1, count, file), count);
    } else {
        size_t found = fread(golden, 1, sizeof(golden), file);
        cr_assert_eq(found, count, "%s has %zu bytes, not %zu", name, found, count);
        for (size_t i = 0; i < count; i++)
            cr_assert_eq(golden[i], image[i], "%s differs at byte %zu", name, i);
    }
    cr_assert_eq(fclose(file), 0);
}

Test(golden, meta, .timeout = 5)
{
    struct meta_block meta = {.node_id = 3, .created_ms = 1700000000000};

    memcpy(meta.cluster_uuid, uuid, sizeof(uuid));
    memcpy(meta.node_uuid, uuid, sizeof(uuid));
    meta.node_uuid[0] = 0xff;
    meta_encode(&meta, image);
    expect_golden("meta.bin", META_FILE_BYTES);
}

/* A journal file's first blocks: its header and one group of five entries. */
Test(golden, journal, .timeout = 5)
{
    uint8_t *table = image + FORMAT_BLOCK_BYTES;
    uint8_t *payload = image + 2 * (size_t)FORMAT_BLOCK_BYTES;
    struct journal_entry *entries = (void *)(table + JOURNAL_GROUP_HEADER_BYTES);
    struct journal_file_header file = {.tile_idx = 1, .file_idx = 2, .file_bytes = 1 << 22};
    struct journal_group_header header = {
        .tile_idx = 1,
        .epoch = journal_epoch_next(journal_epoch_next(0, 0), 0x123456789a),
        .number = 42,
        .durable_through = 40,
        .payload_bytes = 261,
        .entry_count = 5,
        .file_sequence = 6,
        .previous_header_crc = 0xdeadbeef,
        .block = 1,
    };

    memcpy(file.node_uuid, uuid, sizeof(uuid));
    journal_file_header_encode(&file, image);
    memset(payload, 0, FORMAT_BLOCK_BYTES);
    sample_batch(payload, &first);
    sample_batch(payload + 200, &second);
    journal_entry_open(&entries[0], 0xa1, uuid, 5);
    journal_entry_control(&entries[1], JOURNAL_EPOCH, 0xa1, 1000, 2);
    journal_entry_data(&entries[2], 0xa1, payload, 0, 1700000000789);
    journal_entry_data(&entries[3], 0xa1, payload + 200, 200, 1700000000789);
    journal_entry_control(&entries[4], JOURNAL_START_OFFSET, 0xa2, 17, 0);
    (void)journal_table_seal(table, &header);
    expect_golden("journal.bin", 3 * (size_t)FORMAT_BLOCK_BYTES);
}

/* A group of version 2: two batches in two pieces of the payload, a reference and its mark. */
Test(golden, journal_bulk, .timeout = 5)
{
    uint8_t *table = image + FORMAT_BLOCK_BYTES;
    uint8_t *payload = image + 2 * (size_t)FORMAT_BLOCK_BYTES;
    struct journal_entry *entries = (void *)(table + JOURNAL_GROUP_HEADER_BYTES);
    struct journal_file_header file = {.tile_idx = 1, .file_idx = 2, .file_bytes = 1 << 22};
    struct journal_group_header header = {
        .version = JOURNAL_GROUP_VERSION_BULK,
        .tile_idx = 1,
        .epoch = journal_epoch_next(journal_epoch_next(0, 0), 0x123456789a),
        .number = 43,
        .durable_through = 42,
        .payload_bytes = FORMAT_BLOCK_BYTES + 61,
        .entry_count = 4,
        .file_sequence = 6,
        .previous_header_crc = 0xdeadbeef,
        .block = 1,
    };
    const struct journal_mark mark = {
        .run_bytes = 4096,
        .incarnation = 0xa3,
        .next_offset = 1003,
        .segment_base_offset = 900,
        .position = 12288,
        .batch_bytes = 5000,
        .max_timestamp_offset = 1000,
        .max_timestamp_ms = 1700000000456,
        .created_ms = 1700000000123,
        .manifest_generation = 7,
    };

    memcpy(file.node_uuid, uuid, sizeof(uuid));
    journal_file_header_encode(&file, image);
    memset(payload, 0, 2 * (size_t)FORMAT_BLOCK_BYTES);
    sample_batch(payload, &first);
    sample_batch(payload + FORMAT_BLOCK_BYTES, &second);
    journal_entry_data(&entries[0], 0xa1, payload, 0, 1700000000789);
    journal_entry_data(
        &entries[1], 0xa2, payload + FORMAT_BLOCK_BYTES, FORMAT_BLOCK_BYTES, 1700000000789);
    journal_entry_reference(&entries[2], 0xa3, payload, 1700000000789);
    journal_entry_mark(&entries[3], &mark);
    (void)journal_table_seal(table, &header);
    expect_golden("journal_bulk.bin", 4 * (size_t)FORMAT_BLOCK_BYTES);
}

/* A sealed segment: one run, then a footer with every section type. */
Test(golden, segment, .timeout = 5)
{
    struct run_header header = {
        .incarnation = 0xa1,
        .segment_base_offset = 1000,
        .base_offset = 1000,
        .last_offset = 1003,
        .batch_bytes = 261,
        .batch_count = 2,
        .block = 0,
    };
    struct segment_trailer facts = {
        .incarnation = 0xa1,
        .base_offset = 1000,
        .next_offset = 1004,
        .data_bytes = FORMAT_BLOCK_BYTES,
        .max_timestamp_ms = 1700000000456,
        .max_timestamp_offset = 1003,
        .batch_bytes = 261,
        .record_count = 4,
        .last_epoch = 2,
        .first_timestamp_ms = 1700000000123,
    };
    struct index_offset_entry offset = {.offset_delta = 3, .run_back = 264, .position = 264};
    struct index_time_entry time_entry = {.max_timestamp_ms = 1700000000456, .offset_delta = 3};
    struct aborted_entry aborted = {
        .producer_id = 77, .first_offset = 1000, .last_offset = 1003, .last_stable_offset = 1000};
    struct format_epoch epoch = {.epoch = 2, .start_offset = 1000};
    struct format_producer producer = {
        .incarnation = 0xa1,
        .producer_id = 77,
        .last_append_ms = 1700000000789,
        .batch_count = 1,
        .coordinator_epoch = -1,
        .batches = {{.first_sequence = 12, .last_sequence = 14, .base_offset = 1000}},
        .transaction_first_offset = UINT64_MAX,
    };
    struct footer footer;

    memset(image, 0, sizeof(image));
    sample_batch(image + 64, &first);
    sample_batch(image + 264, &second);
    header.prefix_crc = run_prefix_crc(run_prefix_crc(0, image + 64), image + 264);
    run_header_encode(&header, image);
    footer_begin(&footer, image + FORMAT_BLOCK_BYTES, 3 * FORMAT_BLOCK_BYTES, &facts);
    footer_add(&footer, SECTION_OFFSET_INDEX, &offset, sizeof(offset), 1);
    footer_add(&footer, SECTION_TIME_INDEX, &time_entry, sizeof(time_entry), 1);
    footer_add(&footer, SECTION_ABORTED, &aborted, sizeof(aborted), 1);
    footer_add(&footer, SECTION_PRODUCERS, &producer, sizeof(producer), 1);
    footer_add(&footer, SECTION_EPOCHS, &epoch, sizeof(epoch), 1);
    cr_assert_eq(footer_end(&footer), 2 * FORMAT_BLOCK_BYTES);
    expect_golden("segment.bin", 3 * (size_t)FORMAT_BLOCK_BYTES);
}

Test(golden, manifest, .timeout = 5)
{
    struct manifest_header header = {
        .segment_count = 2, .incarnation = 0xa1, .generation = 7, .partition = 5};
    struct manifest_segment segments[2] = {
        {
            .base_offset = 0,
            .next_offset = 1000,
            .data_bytes = 8192,
            .file_bytes = 16384,
            .max_timestamp_ms = 1600000000000,
            .batch_bytes = 5000,
            .file_generation = 2,
            .trailer_crc = 0x01020304,
            .sealed_ms = 1650000000000,
        },
        {
            .base_offset = 1000,
            .next_offset = 1004,
            .data_bytes = 4096,
            .file_bytes = 12288,
            .max_timestamp_ms = -1,
            .batch_bytes = 261,
            .sealed_ms = 1700000001000,
        },
    };

    memcpy(header.topic_id, uuid, sizeof(uuid));
    expect_golden("manifest.bin", manifest_encode(&header, segments, NULL, image));
    const struct manifest_aborted aborted[2] = {{.first_offset = UINT64_MAX},
                                                {.first_offset = 990, .count = 3}};
    expect_golden("manifest_aborted.bin", manifest_encode(&header, segments, aborted, image));
}

Test(golden, checkpoint, .timeout = 5)
{
    struct checkpoint_header header = {
        .flags = CHECKPOINT_CLEAN,
        .generation = 5,
        .tile_idx = 1,
        .journal_epoch = journal_epoch_next(0, 0x55),
        .replay_from = 43,
        .created_ms = 1700000002000,
        .next_incarnation_hint = 0xa3,
    };
    struct format_epoch epochs[2] = {{.epoch = 1, .start_offset = 0},
                                     {.epoch = 2, .start_offset = 1000}};
    struct checkpoint_partition open = {
        .incarnation = 0xa1,
        .partition = 5,
        .state = CHECKPOINT_OPEN,
        .segment_base_offset = 1000,
        .durable_position = 4096,
        .next_offset = 1004,
        .start_offset = 17,
        .high_watermark = 1004,
        .manifest_generation = 7,
        .leader_epoch = 2,
        .epoch_count = 2,
        .segment_created_ms = 1700000000000,
        .max_timestamp_ms = 1700000000456,
        .max_timestamp_offset = 1003,
        .segment_batch_bytes = 261,
    };
    struct checkpoint_partition dropped = {.incarnation = 0xa2, .state = CHECKPOINT_DROPPED};
    struct format_producer producer = {
        .incarnation = 0xa1,
        .producer_id = 77,
        .last_append_ms = 1700000000789,
        .batch_count = 1,
        .coordinator_epoch = -1,
        .batches = {{.first_sequence = 12, .last_sequence = 14, .base_offset = 1000}},
        .transaction_first_offset = UINT64_MAX,
    };
    struct checkpoint_encoder encoder;

    memcpy(header.node_uuid, uuid, sizeof(uuid));
    memcpy(open.topic_id, uuid, sizeof(uuid));
    checkpoint_encode_begin(&encoder, image, sizeof(image), &header);
    checkpoint_encode_partition(&encoder, &open, epochs);
    checkpoint_encode_partition(&encoder, &dropped, NULL);
    checkpoint_encode_producer(&encoder, &producer);
    cr_assert_eq(checkpoint_encode_end(&encoder), FORMAT_BLOCK_BYTES);
    expect_golden("checkpoint.bin", FORMAT_BLOCK_BYTES);
}

/* A group of version 3: a batch of a transaction, and the marker that commits it. */
Test(golden, journal_transaction, .timeout = 5)
{
    uint8_t *table = image + FORMAT_BLOCK_BYTES;
    uint8_t *payload = image + 2 * (size_t)FORMAT_BLOCK_BYTES;
    struct journal_entry *entries = (void *)(table + JOURNAL_GROUP_HEADER_BYTES);
    struct journal_file_header file = {.tile_idx = 1, .file_idx = 2, .file_bytes = 1 << 22};
    struct journal_group_header header = {
        .version = JOURNAL_GROUP_VERSION_TRANSACTIONS,
        .tile_idx = 1,
        .epoch = journal_epoch_next(journal_epoch_next(0, 0), 0x123456789a),
        .number = 44,
        .durable_through = 43,
        .payload_bytes = 200 + RECORD_MARKER_BYTES,
        .entry_count = 2,
        .file_sequence = 6,
        .previous_header_crc = 0xdeadbeef,
        .block = 1,
    };
    const struct record_marker marker = {
        .producer_id = 77,
        .timestamp_ms = 1700000000789,
        .coordinator_epoch = 9,
        .producer_epoch = 0,
        .is_commit = true,
    };
    struct sample transactional = first;

    transactional.is_transactional = true;
    memcpy(file.node_uuid, uuid, sizeof(uuid));
    journal_file_header_encode(&file, image);
    memset(payload, 0, FORMAT_BLOCK_BYTES);
    sample_batch(payload, &transactional);
    record_marker_build(&marker, payload + 200);
    record_batch_patch(payload + 200, 1003, 2);
    journal_entry_data(&entries[0], 0xa1, payload, 0, 1700000000789);
    journal_entry_data(&entries[1], 0xa1, payload + 200, 200, 1700000000789);
    (void)journal_table_seal(table, &header);
    expect_golden("journal_transaction.bin", 3 * (size_t)FORMAT_BLOCK_BYTES);
}

/* A checkpoint of version 2: an open transaction and an aborted one. */
Test(golden, checkpoint_transaction, .timeout = 5)
{
    struct checkpoint_header header = {
        .generation = 6,
        .tile_idx = 1,
        .journal_epoch = journal_epoch_next(0, 0x55),
        .replay_from = 44,
        .created_ms = 1700000002000,
    };
    struct checkpoint_partition open = {
        .incarnation = 0xa1,
        .partition = 5,
        .state = CHECKPOINT_OPEN,
        .segment_base_offset = 1000,
        .durable_position = 4096,
        .next_offset = 1010,
        .high_watermark = 1010,
        .max_timestamp_ms = -1,
    };
    struct format_producer producer = {
        .incarnation = 0xa1,
        .producer_id = 77,
        .last_append_ms = 1700000000789,
        .batch_count = 1,
        .coordinator_epoch = 9,
        .batches = {{.first_sequence = 12, .last_sequence = 14, .base_offset = 1005}},
        .transaction_first_offset = 1005,
    };
    struct checkpoint_aborted aborted = {.incarnation = 0xa1,
                                         .entry = {.producer_id = 77,
                                                   .first_offset = 1000,
                                                   .last_offset = 1003,
                                                   .last_stable_offset = 1004}};
    struct checkpoint_encoder encoder;

    memcpy(header.node_uuid, uuid, sizeof(uuid));
    memcpy(open.topic_id, uuid, sizeof(uuid));
    checkpoint_encode_begin(&encoder, image, sizeof(image), &header);
    checkpoint_encode_partition(&encoder, &open, NULL);
    checkpoint_encode_producer(&encoder, &producer);
    checkpoint_encode_aborted(&encoder, &aborted);
    cr_assert_eq(checkpoint_encode_end(&encoder), FORMAT_BLOCK_BYTES);
    expect_golden("checkpoint_transaction.bin", FORMAT_BLOCK_BYTES);
}
