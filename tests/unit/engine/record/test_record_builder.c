/* Goal: what is built is what is read back, and equal to the published bytes; a full builder
 * changes nothing. Method: the golden vector first, then seeded random records of all shapes
 * through builder and iterator. */
#include "engine/record/record_builder.h"

#include "engine/record/record_iterator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct bytes
text(const char *s)
{
    return (struct bytes){.at = (const uint8_t *)s, .count = strlen(s)};
}

Test(record_builder, says_full_without_changing_the_batch, .timeout = 10)
{
    uint8_t memory[RECORD_BATCH_HEADER_BYTES + 20];
    struct record_builder builder;
    struct record record = {.timestamp_ms = 5, .value = text("0123456789")};

    record_builder_begin(&builder, memory, sizeof(memory), &RECORD_BUILDER_PLAIN);
    cr_assert(record_builder_add(&builder, &record));
    size_t before = writer_count(&builder.writer);
    record.timestamp_ms = 99;
    cr_assert(!record_builder_add(&builder, &record));
    cr_assert_eq(writer_count(&builder.writer), before);
    cr_assert_eq(builder.max_timestamp_ms, 5);

    uint32_t batch_bytes = record_builder_finish(&builder);
    struct record_batch_info info;
    cr_assert_eq(record_batch_check(memory, batch_bytes, &info), RC_OK);
    cr_assert(record_batch_crc_ok(memory, batch_bytes));
}

Test(record_builder, refuses_records_larger_than_any_batch, .timeout = 10)
{
    static uint8_t memory[1024];
    struct record_builder builder;
    struct record record = {.value = {.at = memory, .count = SIZE_MAX / 2}};

    record_builder_begin(&builder, memory, sizeof(memory), &RECORD_BUILDER_PLAIN);
    cr_assert(!record_builder_add(&builder, &record));
}

Test(record_builder, gives_the_published_bytes, .timeout = 10)
{
    static const uint8_t tail[] = {
        0x24, 0, 0, 0, 6, 'k', 'e', 'y', 0x0a, 'v', 'a', 'l', 'u', 'e', 2, 2, 'h', 2, 'v'};
    uint8_t memory[256];
    struct record_builder builder;
    struct record_header header = {.key = text("h"), .value = text("v")};
    struct record record = {
        .timestamp_ms = 1700000000000,
        .key = text("key"),
        .value = text("value"),
        .headers = &header,
        .header_count = 1,
    };

    record_builder_begin(&builder, memory, sizeof(memory), &RECORD_BUILDER_PLAIN);
    cr_assert(record_builder_add(&builder, &record));
    cr_assert_eq(record_builder_finish(&builder), 80u);
    cr_assert_eq(record_batch_crc(memory), 0x83794a1du);
    cr_assert_arr_eq(memory + 61, tail, sizeof(tail));
}

/* A small generator of our own: the same numbers everywhere. */
static uint32_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static struct bytes
random_blob(uint64_t *state, const uint8_t *pool, uint32_t most)
{
    uint32_t kind = next_random(state) % 8;

    if (kind == 0)
        return (struct bytes){0};
    return (struct bytes){.at = pool + next_random(state) % 100,
                          .count = kind == 1 ? 0 : next_random(state) % most};
}

static void
expect_equal(struct bytes a, struct bytes b)
{
    cr_assert_eq(a.at == NULL, b.at == NULL);
    cr_assert_eq(a.count, b.count);
    if (a.count > 0)
        cr_assert_arr_eq(a.at, b.at, a.count);
}

Test(record_builder, gives_back_seeded_records_of_all_shapes, .timeout = 60)
{
    enum { RECORDS = 300 };
    static uint8_t memory[1 << 20];
    static uint8_t pool[2000];
    static struct record records[RECORDS];
    static struct record_header headers[RECORDS][3];
    uint64_t state = 20261121;

    fprintf(stderr, "seed %llu\n", (unsigned long long)state);
    for (size_t i = 0; i < sizeof(pool); i++)
        pool[i] = (uint8_t)next_random(&state);
    struct record_builder_options options = {
        .base_offset = 1000, .producer_id = 77, .base_sequence = 3, .leader_epoch = 2};
    struct record_builder builder;
    record_builder_begin(&builder, memory, sizeof(memory), &options);
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t j = 0; j < 3; j++) {
            headers[i][j].key = (struct bytes){.at = pool, .count = next_random(&state) % 90};
            headers[i][j].value = random_blob(&state, pool, 200);
        }
        records[i] = (struct record){
            .timestamp_ms = 1700000000000 + (int64_t)(next_random(&state) % 2000) - 1000,
            .key = random_blob(&state, pool, 40),
            .value = random_blob(&state, pool, 1500),
            .headers = headers[i],
            .header_count = next_random(&state) % 4,
        };
        cr_assert(record_builder_add(&builder, &records[i]));
    }

    uint32_t batch_bytes = record_builder_finish(&builder);
    struct record_batch_info info;
    cr_assert_eq(record_batch_read(memory, batch_bytes, &info), RC_OK);
    cr_assert(record_batch_crc_ok(memory, batch_bytes));
    struct record_iterator iterator;
    struct record_view view;
    record_iterator_begin(&iterator, &info, (struct bytes){memory + 61, batch_bytes - 61});
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record_header header;
        cr_assert(record_iterator_next(&iterator, &view));
        cr_assert_eq(view.offset, 1000 + i);
        cr_assert_eq(view.timestamp_ms, records[i].timestamp_ms);
        cr_assert_leq(view.timestamp_ms, info.max_timestamp_ms);
        expect_equal(view.key, records[i].key);
        expect_equal(view.value, records[i].value);
        cr_assert_eq(view.header_count, records[i].header_count);
        for (uint32_t j = 0; j < records[i].header_count; j++) {
            cr_assert(record_view_header(&view, &header));
            expect_equal(header.key, headers[i][j].key);
            expect_equal(header.value, headers[i][j].value);
        }
    }
    cr_assert(!record_iterator_next(&iterator, &view));
    cr_assert_eq(iterator.rc, RC_OK);
}

Test(record_iterator, survives_seeded_flips_in_the_payload, .timeout = 60)
{
    uint8_t memory[512];
    uint8_t copy[512];
    struct record_builder builder;
    struct record_header header = {.key = text("trace"), .value = text("0123")};
    struct record record = {
        .key = text("k"), .value = text("v"), .headers = &header, .header_count = 1};
    uint64_t state = 4711;
    uint32_t corrupt_count = 0;

    fprintf(stderr, "seed %llu\n", (unsigned long long)state);
    record_builder_begin(&builder, memory, sizeof(memory), &RECORD_BUILDER_PLAIN);
    while (record_builder_add(&builder, &record))
        record.timestamp_ms += 1000;
    uint32_t batch_bytes = record_builder_finish(&builder);
    for (uint32_t round = 0; round < 20000; round++) {
        struct record_batch_info info;
        struct record_iterator iterator;
        struct record_view view;
        memcpy(copy, memory, sizeof(copy));
        for (uint32_t flips = 1 + next_random(&state) % 3; flips > 0; flips--)
            copy[61 + next_random(&state) % (batch_bytes - 61)] ^=
                (uint8_t)(1u << next_random(&state) % 8);
        cr_assert_eq(record_batch_read(copy, batch_bytes, &info), RC_OK);
        record_iterator_begin(&iterator, &info, (struct bytes){copy + 61, batch_bytes - 61});
        while (record_iterator_next(&iterator, &view))
            cr_assert_leq(view.key.count + view.value.count, batch_bytes);
        corrupt_count += iterator.rc != RC_OK;
    }
    cr_assert_gt(corrupt_count, 100u);
}
