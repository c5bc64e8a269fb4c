/* Goal: ListOffsets gives exactly the record that a scan would find, whatever codec its batch has;
 * epochs and special times follow the protocol by version. Method: bad input first; batches
 * compressed here by the libraries themselves, put into the scripted log; every time from before
 * the first to after the last record is asked for and compared with a plain scan. */
#include "tests/unit/engine/control/fixture.h"

#include "engine/base/hash.h"
#include "engine/record/record_builder.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define BATCH_ROOM 8192u
#define RECORDS 10u

struct listed {
    int16_t error;
    int64_t offset;
    int64_t timestamp_ms;
    int32_t leader_epoch;
};

static struct listed
list_at(struct fixture *fixture, int16_t version, int32_t partition, int64_t time_ms, int32_t epoch)
{
    struct kafka_list_offsets_request_partition asked;
    struct kafka_list_offsets_request_topic topic;
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_response response;

    kafka_list_offsets_request_partition_defaults(&asked);
    kafka_list_offsets_request_topic_defaults(&topic);
    kafka_list_offsets_request_defaults(&request);
    asked.index = partition;
    asked.timestamp_ms = time_ms;
    asked.current_leader_epoch = epoch;
    topic.name = fixture_text("a");
    topic.partitions.at = &asked;
    topic.partitions.count = 1;
    request.topics.at = &topic;
    request.topics.count = 1;
    fixture_ask(fixture, KAFKA_LIST_OFFSETS, version, &request, &response);
    const struct kafka_list_offsets_response_partition *answer =
        &response.topics.at[0].partitions.at[0];
    return (struct listed){
        answer->error, answer->offset, answer->timestamp_ms, answer->leader_epoch};
}

/* Ten records, three ms apart and not in order: 0 3 9 6 12 15 ... */
static int64_t
time_of(uint32_t record)
{
    static const int64_t steps[RECORDS] = {0, 3, 9, 6, 12, 15, 15, 18, 21, 24};

    return steps[record];
}

static uint32_t
plain_batch(uint8_t *batch, int64_t first_ms)
{
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    struct record_builder builder;

    record_builder_begin(&builder, batch, BATCH_ROOM, &options);
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record record = {.timestamp_ms = first_ms + time_of(i),
                                .value = fixture_text("some order, some order")};
        cr_assert(record_builder_add(&builder, &record));
    }
    return record_builder_finish(&builder);
}

static size_t
compress_gzip(const uint8_t *from, size_t count, uint8_t *to)
{
    z_stream stream = {0};

    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)from;
    stream.avail_in = (uInt)count;
    stream.next_out = to;
    stream.avail_out = BATCH_ROOM;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return stream.total_out;
}

static size_t
pack(enum record_codec codec, const uint8_t *from, size_t count, uint8_t *to)
{
    size_t room = BATCH_ROOM;

    switch (codec) {
    case RECORD_CODEC_GZIP:
        return compress_gzip(from, count, to);
    case RECORD_CODEC_SNAPPY:
        cr_assert_eq(snappy_compress((const char *)from, count, (char *)to, &room), SNAPPY_OK);
        return room;
    case RECORD_CODEC_LZ4:
        return LZ4F_compressFrame(to, BATCH_ROOM, from, count, NULL);
    case RECORD_CODEC_ZSTD:
        return ZSTD_compress(to, BATCH_ROOM, from, count, 3);
    default:
        memcpy(to, from, count);
        return count;
    }
}

/* A batch of ten records from first_ms on, packed by codec. */
static uint32_t
packed_batch(enum record_codec codec, int64_t first_ms, uint8_t *batch)
{
    uint8_t plain[BATCH_ROOM];
    uint32_t plain_bytes = plain_batch(plain, first_ms);
    size_t count = pack(codec,
                        plain + RECORD_BATCH_HEADER_BYTES,
                        plain_bytes - RECORD_BATCH_HEADER_BYTES,
                        batch + RECORD_BATCH_HEADER_BYTES);
    uint32_t bytes = (uint32_t)(RECORD_BATCH_HEADER_BYTES + count);

    memcpy(batch, plain, RECORD_BATCH_HEADER_BYTES);
    put_u32_be(batch + RECORD_BATCH_LENGTH, bytes - RECORD_BATCH_LENGTH_END);
    put_u16_be(batch + RECORD_BATCH_ATTRIBUTES, (uint16_t)codec);
    put_u32_be(batch + RECORD_BATCH_CRC,
               hash_crc32c(0, batch + RECORD_BATCH_ATTRIBUTES, bytes - RECORD_BATCH_ATTRIBUTES));
    return bytes;
}

static struct fixture *
with_batches(uint64_t seed)
{
    struct fixture *fixture = fixture_ready(seed);
    uint8_t batch[2 * BATCH_ROOM];

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    struct fixture_partition *partition = fixture_find(fixture, "a", 1);
    for (uint32_t codec = 0; codec < RECORD_CODEC_COUNT; codec++)
        fixture_store(
            partition, batch, packed_batch((enum record_codec)codec, 1000 + 100 * codec, batch));
    return fixture;
}

Test(list_offsets, refuses_unknown_partitions_epochs_and_times, .timeout = 20)
{
    struct fixture *fixture = with_batches(1);

    cr_assert_eq(list_at(fixture, 7, 2, -1, -1).error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(list_at(fixture, 7, -1, -1, -1).error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(list_at(fixture, 7, 1, -1, 3).error, KAFKA_ERROR_FENCED_LEADER_EPOCH);
    cr_assert_eq(list_at(fixture, 7, 1, -1, 5).error, KAFKA_ERROR_UNKNOWN_LEADER_EPOCH);
    cr_assert_eq(list_at(fixture, 7, 1, -1, 4).error, 0);
    cr_assert_eq(list_at(fixture, 6, 1, -3, -1).error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(list_at(fixture, 7, 1, -4, -1).error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(list_at(fixture, 8, 1, -5, -1).error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(list_at(fixture, 10, 1, -6, -1).error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    cr_assert_eq(list_at(fixture, 11, 1, -99, -1).error, KAFKA_ERROR_UNSUPPORTED_VERSION);
    fixture_free(fixture);
}

Test(list_offsets, knows_the_ends_and_the_greatest_time, .timeout = 20)
{
    struct fixture *fixture = with_batches(2);

    fixture_find(fixture, "a", 1)->start = 7;
    for (int16_t version = 1; version <= 11; version++) {
        struct listed first = list_at(fixture, version, 1, -2, -1);
        struct listed last = list_at(fixture, version, 1, -1, -1);
        cr_assert_eq(first.offset, 7);
        cr_assert_eq(first.timestamp_ms, -1);
        cr_assert_eq(last.offset, 50);
        cr_assert_eq(last.leader_epoch, version >= 4 ? 4 : -1);
    }
    struct listed greatest = list_at(fixture, 7, 1, -3, -1);
    cr_assert_eq(greatest.offset, 49);
    cr_assert_eq(greatest.timestamp_ms, 1424);
    struct listed none = list_at(fixture, 7, 0, -3, -1);
    cr_assert_eq(none.error, 0);
    cr_assert_eq(none.offset, -1);
    cr_assert_eq(none.timestamp_ms, -1);
    fixture_free(fixture);
}

Test(list_offsets, finds_the_exact_record_of_every_time_in_every_codec, .timeout = 60)
{
    struct fixture *fixture = with_batches(3);

    for (int64_t asked = 990; asked < 1440; asked++) {
        int64_t offset = -1;
        int64_t time_ms = -1;
        for (uint32_t i = 0; i < RECORD_CODEC_COUNT * RECORDS && offset < 0; i++) {
            int64_t time = 1000 + 100 * (int64_t)(i / RECORDS) + time_of(i % RECORDS);
            if (time >= asked) {
                offset = i;
                time_ms = time;
            }
        }
        struct listed listed = list_at(fixture, 4, 1, asked, -1);
        cr_assert_eq(listed.error, 0, "time %d", (int)asked);
        cr_assert_eq(listed.offset,
                     offset,
                     "time %d: %d, not %d",
                     (int)asked,
                     (int)listed.offset,
                     (int)offset);
        cr_assert_eq(listed.timestamp_ms, time_ms);
    }
    fixture_free(fixture);
}

Test(list_offsets, finds_no_record_that_was_deleted_though_its_batch_is_there, .timeout = 20)
{
    struct fixture *fixture = with_batches(8);

    fixture_find(fixture, "a", 1)->start = 3; /* of time 1006; record 2 has 1009 */
    struct listed first = list_at(fixture, 4, 1, 0, -1);
    cr_assert_eq(first.offset, 3);
    cr_assert_eq(first.timestamp_ms, 1006);
    cr_assert_eq(list_at(fixture, 4, 1, 1007, -1).offset, 4);
    fixture_find(fixture, "a", 1)->start = 43; /* the greatest time of the batch is record 49's */
    cr_assert_eq(list_at(fixture, 7, 1, -3, -1).offset, 49);
    fixture_free(fixture);
}

Test(list_offsets, takes_the_time_of_the_append_where_the_topic_has_it, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(4);
    uint8_t batch[BATCH_ROOM];

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    uint32_t bytes = plain_batch(batch, 1000);
    record_batch_set_append_time(batch, bytes, 5000);
    fixture_store(fixture_find(fixture, "a", 1), batch, bytes);
    struct listed listed = list_at(fixture, 4, 1, 1010, -1);
    cr_assert_eq(listed.offset, 0);
    cr_assert_eq(listed.timestamp_ms, 5000);
    fixture_free(fixture);
}

Test(list_offsets, says_that_a_damaged_batch_is_corrupt_and_goes_on, .timeout = 20)
{
    struct fixture *fixture = with_batches(5);
    struct fixture_partition *partition = fixture_find(fixture, "a", 1);

    partition->batches[4][RECORD_BATCH_HEADER_BYTES] ^= 0xff; /* zstd magic */
    cr_assert_eq(list_at(fixture, 4, 1, 1400, -1).error, KAFKA_ERROR_CORRUPT_MESSAGE);
    cr_assert_eq(list_at(fixture, 4, 1, 1300, -1).error, 0);
    fixture_free(fixture);
}

Test(list_offsets, falls_back_to_the_batchs_beginning_when_it_unpacks_to_too_much, .timeout = 60)
{
    struct fixture *fixture = fixture_ready(9);
    size_t plain_bytes = (size_t)40 << 20; /* more than the scratch; packs to a few KiB */
    uint8_t *plain = kept(calloc(1, plain_bytes));
    uint8_t *batch = kept(malloc(1u << 20));
    uint8_t header[BATCH_ROOM];

    cr_assert_eq(fixture_create(fixture, "a", 2), 0);
    plain_batch(header, 3000);
    memcpy(batch, header, RECORD_BATCH_HEADER_BYTES);
    size_t count = ZSTD_compress(
        batch + RECORD_BATCH_HEADER_BYTES, 1u << 19, plain, plain_bytes, 1);
    cr_assert_not(ZSTD_isError(count));
    uint32_t bytes = (uint32_t)(RECORD_BATCH_HEADER_BYTES + count);
    put_u32_be(batch + RECORD_BATCH_LENGTH, bytes - RECORD_BATCH_LENGTH_END);
    put_u16_be(batch + RECORD_BATCH_ATTRIBUTES, RECORD_CODEC_ZSTD);
    fixture_store(fixture_find(fixture, "a", 1), batch, bytes);
    struct listed listed = list_at(fixture, 4, 1, 3020, -1);
    cr_assert_eq(listed.error, 0);
    cr_assert_eq(listed.offset, 0);
    cr_assert_eq(listed.timestamp_ms, 3000);
    fixture_free(fixture);
}

Test(list_offsets, answers_what_is_tiered_as_a_broker_without_tiers, .timeout = 20)
{
    struct fixture *fixture = with_batches(2);

    fixture_find(fixture, "a", 1)->start = 7;
    cr_assert_eq(list_at(fixture, 8, 1, -4, -1).offset, 7); /* all that there is, is here */
    for (int64_t special = -6; special <= -5; special++) {
        struct listed none = list_at(fixture, 11, 1, special, -1);
        cr_assert_eq(none.error, 0);
        cr_assert_eq(none.offset, -1);
        cr_assert_eq(none.timestamp_ms, -1);
    }
    fixture_free(fixture);
}

Test(list_offsets, asks_many_partitions_of_many_requests_at_once, .timeout = 20)
{
    struct fixture *fixture = with_batches(6);
    struct kafka_list_offsets_request_partition asked[4];
    struct kafka_list_offsets_request_topic topic;
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_response response;
    uint32_t calls[8];

    kafka_list_offsets_request_topic_defaults(&topic);
    kafka_list_offsets_request_defaults(&request);
    for (uint32_t i = 0; i < 4; i++) {
        kafka_list_offsets_request_partition_defaults(&asked[i]);
        asked[i].index = i == 3 ? 1 : (int32_t)i; /* 0, 1, 2 (unknown), 1 again */
        asked[i].timestamp_ms = 1200;
    }
    topic.name = fixture_text("a");
    topic.partitions.at = asked;
    topic.partitions.count = 4;
    request.topics.at = &topic;
    request.topics.count = 1;
    for (uint32_t i = 0; i < 8; i++)
        calls[i] = fixture_send(fixture, i % 2, KAFKA_LIST_OFFSETS, 5, &request);
    fixture_run(fixture);
    for (uint32_t i = 0; i < 8; i++) {
        fixture_answer(fixture, calls[i], &response);
        const struct kafka_list_offsets_response_partition *answers =
            response.topics.at[0].partitions.at;
        cr_assert_eq(answers[0].offset, -1);
        cr_assert_eq(answers[0].error, 0);
        cr_assert_eq(answers[1].offset, 20);
        cr_assert_eq(answers[2].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        cr_assert_eq(answers[3].error, KAFKA_ERROR_INVALID_REQUEST, "named twice");
    }
    fixture_free(fixture);
}

Test(list_offsets, never_asks_the_partition_that_took_a_deleted_ones_place, .timeout = 20)
{
    struct fixture *fixture = fixture_ready(7);
    struct kafka_list_offsets_request_partition asked;
    struct kafka_list_offsets_request_topic topic;
    struct kafka_list_offsets_request request;
    struct kafka_list_offsets_response response;
    int32_t on_tile_1 = 0;

    cr_assert_eq(fixture_create(fixture, "a", 16), 0);
    while (fixture_find(fixture, "a", (uint32_t)on_tile_1) < &fixture->logs[1].partitions[0])
        on_tile_1++;
    kafka_list_offsets_request_topic_defaults(&topic);
    kafka_list_offsets_request_defaults(&request);
    kafka_list_offsets_request_partition_defaults(&asked);
    asked.index = on_tile_1;
    asked.timestamp_ms = 1200;
    topic.name = fixture_text("a");
    topic.partitions.at = &asked;
    topic.partitions.count = 1;
    request.topics.at = &topic;
    request.topics.count = 1;
    fixture->call_count = 0;
    fixture->logs[1].hold = true; /* the first lookup keeps the only find buffer */
    fixture_send(fixture, 0, KAFKA_LIST_OFFSETS, 5, &request);
    uint32_t blocked = fixture_send(fixture, 0, KAFKA_LIST_OFFSETS, 5, &request);
    fixture_run(fixture);
    cr_assert_eq(fixture->logs[1].finds, 1u);
    cr_assert_eq(fixture_delete(fixture, "a"), 0);
    struct kafka_create_topics_topic other;
    struct kafka_create_topics_request create;
    kafka_create_topics_topic_defaults(&other);
    kafka_create_topics_request_defaults(&create);
    other.name = fixture_text("b");
    other.partition_count = 16;
    other.replication_factor = 1;
    create.topics.at = &other;
    create.topics.count = 1;
    fixture_send(
        fixture, 0, KAFKA_CREATE_TOPICS, 5, &create); /* its records stand in the same places */
    fixture_run(fixture);
    fixture_release(fixture, 1);
    fixture_run(fixture);
    fixture_answer(fixture, blocked, &response);
    cr_assert_eq(response.topics.at[0].partitions.at[0].error,
                 KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    cr_assert_eq(fixture->logs[1].finds, 1u, "nobody else was asked");
    fixture_free(fixture);
}

Test(offset_for_leader_epoch, gives_the_end_of_an_epoch_or_none, .timeout = 20)
{
    struct fixture *fixture = with_batches(8);
    struct kafka_leader_epoch_request_partition asked[3];
    struct kafka_leader_epoch_request_topic topic;
    struct kafka_offset_for_leader_epoch_request request;
    struct kafka_offset_for_leader_epoch_response response;

    kafka_leader_epoch_request_topic_defaults(&topic);
    kafka_offset_for_leader_epoch_request_defaults(&request);
    for (uint32_t i = 0; i < 3; i++)
        kafka_leader_epoch_request_partition_defaults(&asked[i]);
    topic.name = fixture_text("a");
    topic.partitions.at = asked;
    topic.partitions.count = 3;
    request.topics.at = &topic;
    request.topics.count = 1;
    for (int16_t version = 2; version <= 4; version++) {
        asked[0].index = 1;
        asked[0].leader_epoch = 4;
        asked[1].index = 0;
        asked[1].leader_epoch = 2;
        asked[2].index = 9;
        fixture_ask(fixture, KAFKA_OFFSET_FOR_LEADER_EPOCH, version, &request, &response);
        const struct kafka_leader_epoch_response_partition *answers =
            response.topics.at[0].partitions.at;
        cr_assert_eq(answers[0].leader_epoch, 4);
        cr_assert_eq(answers[0].end_offset, 50);
        cr_assert_eq(answers[1].error, 0);
        cr_assert_eq(answers[1].leader_epoch, -1);
        cr_assert_eq(answers[1].end_offset, -1);
        cr_assert_eq(answers[2].error, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
    }
    asked[0].current_leader_epoch = 3;
    fixture_ask(fixture, KAFKA_OFFSET_FOR_LEADER_EPOCH, 4, &request, &response);
    cr_assert_eq(response.topics.at[0].partitions.at[0].error, KAFKA_ERROR_FENCED_LEADER_EPOCH);
    fixture_free(fixture);
}
