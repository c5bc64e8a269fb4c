/* Goal: a subscriber gives out every record of its partitions once and in order, from where it was
 * told, through cut connections, and never takes more than its credit. Method: a log filled by
 * hand. */
#include "records.h"

#include "engine/base/hash.h"
#include "engine/record/record_builder.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>

struct rig {
    struct server *server;
    struct eagre_client *client;
    struct eagre_subscriber *subscriber;
    uint64_t next[SERVER_PARTITIONS_MAX]; /* number that is due, by partition */
    uint64_t records;
    uint64_t want;
    int rc; /* of a batch that said an error */
    bool is_lazy;
};

static struct rig
rig_open(uint32_t partition_count)
{
    struct rig rig = {.server = server_open(partition_count)};
    struct eagre_config config = server_config(rig.server);

    cr_assert_eq(eagre_open(&config, &rig.client, NULL, 0), EAGRE_OK);
    return rig;
}

static void
rig_subscribe(struct rig *rig, int start, int64_t value, uint32_t receive_bytes)
{
    struct eagre_subscriber_options options = eagre_subscriber_preset("orders");

    options.start = start;
    options.start_value = value;
    options.receive_bytes = receive_bytes;
    options.partitions_max = rig->server->partition_count;
    cr_assert_eq(eagre_subscribe(rig->client, &options, &rig->subscriber, NULL, 0), EAGRE_OK);
}

static void
rig_close(struct rig *rig)
{
    eagre_close(rig->client);
    server_close(rig->server);
}

/* A batch of `count` records with the numbers from first on, one header each. */
static uint32_t
batch_of(uint8_t *memory, uint32_t capacity, uint64_t first, uint32_t count)
{
    struct record_builder builder;

    record_builder_begin(&builder, memory, capacity, &RECORD_BUILDER_PLAIN);
    for (uint64_t number = first; number < first + count; number++) {
        struct record_header header = {.key = {(const uint8_t *)"trace", 5},
                                       .value = {(const uint8_t *)&number, 8}};
        struct record record = {.timestamp_ms = (int64_t)number,
                                .value = {(const uint8_t *)&number, 8},
                                .headers = &header,
                                .header_count = 1};
        cr_assert(record_builder_add(&builder, &record));
    }
    return record_builder_finish(&builder);
}

static void
fill(struct rig *rig, uint32_t partition, uint64_t first, uint32_t batches, uint32_t each)
{
    static uint8_t memory[1 << 20];

    for (uint32_t i = 0; i < batches; i++) {
        uint32_t bytes = batch_of(memory, sizeof(memory), first + (uint64_t)i * each, each);
        server_append(rig->server, partition, memory, bytes);
    }
}

static void
take_record(struct rig *rig, struct eagre_received *record)
{
    struct eagre_header header;
    uint64_t number;

    cr_assert_eq(record->value_bytes, 8);
    memcpy(&number, record->value, 8);
    cr_assert_eq(
        number, rig->next[record->partition], "%lu, not %lu", number, rig->next[record->partition]);
    cr_assert_eq(record->timestamp_ms, (int64_t)number);
    cr_assert_null(record->key);
    cr_assert_eq(eagre_header_next(record, &header), 1);
    cr_assert(header.key_bytes == 5 && memcmp(header.key, "trace", 5) == 0);
    cr_assert_eq(memcmp(header.value, &number, 8), 0);
    cr_assert_eq(eagre_header_next(record, &header), 0);
    rig->next[record->partition]++;
    rig->records++;
}

static bool
has_all(void *context)
{
    struct rig *rig = context;
    struct eagre_batch batch;
    struct eagre_received record;

    if (!rig->is_lazy && eagre_next(rig->subscriber, &batch) == 1) {
        if (batch.rc != EAGRE_OK)
            rig->rc = batch.rc;
        while (eagre_record_next(rig->subscriber, &record) == 1)
            take_record(rig, &record);
    }
    return rig->records >= rig->want || rig->rc != EAGRE_OK;
}

static void
rig_read(struct rig *rig, uint64_t want)
{
    rig->want = want;
    cr_assert(server_run(rig->server, rig->client, has_all, rig, 20),
              "%lu of %lu records; %s",
              rig->records,
              want,
              eagre_why(rig->client));
}

Test(eagre_subscribe, refuses_bad_options, .timeout = 60)
{
    struct rig rig = rig_open(1);
    struct eagre_subscriber_options options = eagre_subscriber_preset(NULL);

    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_INVALID);
    options = eagre_subscriber_preset("orders");
    options.receive_bytes = 65535;
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_INVALID);
    options.receive_bytes = 0;
    options.start = EAGRE_START_OFFSET;
    options.start_value = -1;
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_INVALID);
    options.start_value = 0;
    options.partition = -2;
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_INVALID);
    rig_close(&rig);
}

Test(eagre_subscribe, an_unknown_topic_or_partition_is_said_once, .timeout = 60)
{
    struct rig rig = rig_open(2);
    struct eagre_subscriber_options options = eagre_subscriber_preset("orders");
    struct eagre_batch batch;

    options.partition = 2;
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_OK);
    rig_read(&rig, 1);
    cr_assert_eq(rig.rc, EAGRE_NOT_FOUND);
    cr_assert_eq(eagre_next(rig.subscriber, &batch), 0);
    eagre_unsubscribe(rig.subscriber);
    rig.rc = EAGRE_OK;
    options = eagre_subscriber_preset("missing");
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_OK);
    rig_read(&rig, 1);
    cr_assert_eq(rig.rc, EAGRE_NOT_FOUND);
    rig_close(&rig);
}

Test(eagre_next, gives_all_of_all_partitions_in_order, .timeout = 90)
{
    struct rig rig = rig_open(25);
    struct eagre_position position;

    for (uint32_t i = 0; i < 25; i++)
        fill(&rig, i, 0, 40, 10);
    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 0);
    rig_read(&rig, 25 * 400);
    for (uint32_t i = 0; i < 25; i++)
        cr_assert_eq(rig.next[i], 400);
    cr_assert_eq(eagre_subscriber_partitions(rig.subscriber), 25);
    cr_assert_eq(eagre_get_position(rig.subscriber, 24, &position), EAGRE_OK);
    cr_assert_eq(position.next_offset, 400);
    cr_assert_eq(position.high_watermark, 400);
    cr_assert_eq(eagre_get_position(rig.subscriber, 25, &position), EAGRE_NOT_FOUND);
    rig_close(&rig);
}

Test(eagre_next, goes_on_where_it_was_after_every_cut, .timeout = 60)
{
    struct rig rig = rig_open(3);

    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 65536);
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < 3; i++)
            fill(&rig, i, round * 3000, 30, 100);
        rig_read(&rig, rig.records + 1000); /* some are received and not read, some on their way */
        server_kill(rig.server);
    }
    rig_read(&rig, 3 * 30000);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(rig.next[i], 30000);
    rig_close(&rig);
}

Test(eagre_next, a_lazy_reader_bounds_what_the_server_sends, .timeout = 60)
{
    struct rig rig = rig_open(1);

    fill(&rig, 0, 0, 300, 500); /* about 10 MB in batches of 36 KB */
    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 65536);
    rig.is_lazy = true;
    rig.want = 1;
    (void)server_run(rig.server, rig.client, has_all, &rig, 1);
    cr_assert_leq(rig.server->subscriptions[0].sent, 65536 + 40000);
    cr_assert_gt(rig.server->subscriptions[0].sent, 60000);
    rig.is_lazy = false;
    rig_read(&rig, 150000);
    rig_close(&rig);
}

Test(eagre_next, begins_in_the_middle_of_a_batch, .timeout = 90)
{
    struct rig rig = rig_open(1);

    fill(&rig, 0, 0, 10, 10);
    rig_subscribe(&rig, EAGRE_START_OFFSET, 37, 0);
    rig.next[0] = 37;
    rig_read(&rig, 63);
    rig_close(&rig);
}

Test(eagre_next, the_latest_and_a_time_to_come_begin_at_the_end, .timeout = 90)
{
    for (int start = EAGRE_START_LATEST; start <= EAGRE_START_TIME; start += 2) {
        struct rig rig = rig_open(1);
        struct eagre_position position;
        fill(&rig, 0, 0, 10, 10);
        rig_subscribe(&rig, start, INT64_MAX, 0);
        for (uint32_t i = 0; i < 2000000; i++) {
            eagre_poll(rig.client, 0);
            server_poll(rig.server);
            if (eagre_get_position(rig.subscriber, 0, &position) == EAGRE_OK)
                break;
        }
        cr_assert_eq(eagre_get_position(rig.subscriber, 0, &position), EAGRE_OK, "%d", start);
        cr_assert_eq(position.next_offset, 100);
        rig.next[0] = 100;
        fill(&rig, 0, 100, 1, 10);
        rig_read(&rig, 10);
        rig_close(&rig);
    }
}

Test(eagre_unsubscribe, leaves_no_place_behind_for_the_next_of_its_index, .timeout = 90)
{
    struct rig rig = rig_open(1);

    fill(&rig, 0, 0, 10, 10);
    rig.server->call_delay = 1;
    rig_subscribe(&rig, EAGRE_START_LATEST, 0, 0);
    for (uint32_t i = 0; i < 10000000 && rig.server->delayed_count == 0; i++) {
        eagre_poll(rig.client, 0);
        server_poll(rig.server);
    }
    cr_assert_eq(rig.server->delayed_count, 1, "the end is asked for");
    eagre_unsubscribe(rig.subscriber);
    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 0);
    rig.server->call_delay = 0;
    fill(&rig, 0, 100, 1, 10);
    rig_read(&rig, 110); /* from 0 on, as next[] demands */
    rig_close(&rig);
}

/* The same batch with its records packed by gzip. */
static uint32_t
pack(const uint8_t *batch, uint32_t bytes, uint8_t *to)
{
    z_stream stream = {0};

    memcpy(to, batch, RECORD_BATCH_HEADER_BYTES);
    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)(batch + RECORD_BATCH_HEADER_BYTES);
    stream.avail_in = bytes - RECORD_BATCH_HEADER_BYTES;
    stream.next_out = to + RECORD_BATCH_HEADER_BYTES;
    stream.avail_out = bytes * 2;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    uint32_t whole = RECORD_BATCH_HEADER_BYTES + (uint32_t)stream.total_out;
    deflateEnd(&stream);
    put_u32_be(to + RECORD_BATCH_LENGTH, whole - RECORD_BATCH_LENGTH_END);
    put_u16_be(to + RECORD_BATCH_ATTRIBUTES, RECORD_CODEC_GZIP);
    put_u32_be(to + RECORD_BATCH_CRC,
               hash_crc32c(0, to + RECORD_BATCH_ATTRIBUTES, whole - RECORD_BATCH_ATTRIBUTES));
    return whole;
}

Test(eagre_next, unpacks_compressed_batches_and_names_what_is_too_long, .timeout = 90)
{
    static uint8_t plain[1 << 20];
    static uint8_t packed[1 << 21];
    struct rig rig = rig_open(1);
    struct eagre_subscriber_options options = eagre_subscriber_preset("orders");

    for (uint32_t i = 0; i < 5; i++) {
        uint32_t bytes = batch_of(plain, sizeof(plain), i * 1000, 1000);
        server_append(rig.server, 0, packed, pack(plain, bytes, packed));
    }
    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 0);
    rig_read(&rig, 5000);
    eagre_unsubscribe(rig.subscriber);
    rig.records = rig.next[0] = 0;
    options.unpacked_bytes = 10000;
    cr_assert_eq(eagre_subscribe(rig.client, &options, &rig.subscriber, NULL, 0), EAGRE_OK);
    rig_read(&rig, 1);
    cr_assert_eq(rig.rc, EAGRE_TOO_LARGE);
    rig_close(&rig);
}

Test(eagre_next, damaged_records_are_said_and_not_given_out, .timeout = 90)
{
    struct rig rig = rig_open(1);

    fill(&rig, 0, 0, 3, 10);
    rig.server->partitions[0].log[rig.server->partitions[0].log_bytes - 5] ^= 1;
    rig_subscribe(&rig, EAGRE_START_EARLIEST, 0, 0);
    rig_read(&rig, 30);
    cr_assert_eq(rig.rc, EAGRE_CORRUPT);
    cr_assert_eq(rig.records, 20);
    rig_close(&rig);
}
