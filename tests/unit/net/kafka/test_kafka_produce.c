/* Goal: a Produce request arriving in any pieces gives the same events as the whole request decoded
 * by the table, and whatever else arrives is waited for or refused, never believed. The response
 * equals the table's. Method: bad input first; every golden Produce request (versions 3 to 12) cut
 * into all two pieces and into single bytes; seeded flips; responses of 0 to 3 topics in every
 * version. */
#include "golden.h"

#include "engine/record/record_batch.h"
#include "net/kafka/kafka_error.h"
#include "net/kafka/kafka_produce.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 64 };

struct event {
    enum kafka_produce_event kind;
    int64_t a;
    int64_t b;
};

struct events {
    uint32_t count;
    enum kafka_produce_event last;
    size_t taken_bytes;
    struct event at[EVENTS_MAX];
};

static void
note(struct events *events, enum kafka_produce_event kind, const struct kafka_produce_step *step)
{
    struct event event = {.kind = kind};

    if (kind == KAFKA_PRODUCE_HEADER) {
        event.a = step->u.header.acks;
        event.b = step->u.header.topic_count;
    } else if (kind == KAFKA_PRODUCE_TOPIC) {
        for (size_t i = 0; i < step->u.topic.name.count; i++)
            event.a = (event.a * 31 + step->u.topic.name.at[i]) % 1000000007;
        event.b = step->u.topic.partition_count;
    } else if (kind == KAFKA_PRODUCE_PARTITION) {
        event.a = step->u.partition.index;
        event.b = step->skip_bytes;
    }
    cr_assert_lt(events->count, (uint32_t)EVENTS_MAX);
    events->at[events->count++] = event;
}

/* Feeds the body, giving the parser first up to `first` bytes, then `step_bytes` more each
 * time it asks. Each call sees memory of exactly the size it is told. */
static void
feed(int16_t version, struct bytes body, size_t first, size_t step_bytes, struct events *ret)
{
    size_t count = body.count;
    struct kafka_produce_parser parser;
    size_t seen = first < count ? first : count;
    size_t at = 0;

    *ret = (struct events){0};
    kafka_produce_parser_init(&parser, version, (uint32_t)count);
    for (;;) {
        struct kafka_produce_step step;
        size_t available = seen > at ? seen - at : 0;
        uint8_t *bytes = golden_copy(body.at + at, available);
        ret->last = kafka_produce_parser_next(&parser, bytes, available, &step);
        cr_assert_leq(step.consumed_bytes, available);
        at += step.consumed_bytes;
        if (ret->last < KAFKA_PRODUCE_END)
            note(ret, ret->last, &step);
        free(bytes);
        if (ret->last == KAFKA_PRODUCE_MORE) {
            if (seen == count)
                break;
            cr_assert_gt(step.need_bytes, available - step.consumed_bytes);
            seen = seen + step_bytes < count ? seen + step_bytes : count;
            if (seen < at + step.need_bytes && step_bytes > 1)
                seen = at + step.need_bytes < count ? at + step.need_bytes : count;
            continue;
        }
        at += step.skip_bytes;
        if (seen < at)
            seen = at;
        if (ret->last >= KAFKA_PRODUCE_END)
            break;
    }
    ret->taken_bytes = at;
}

Test(kafka_produce_parser, refuses_counts_and_lengths_the_body_cannot_hold, .timeout = 10)
{
    /* null transactional id, acks 1, timeout 0, then the topic count and what follows */
    static const uint8_t head[] = {0xff, 0xff, 0, 1, 0, 0, 0, 0};
    static const struct {
        const char *what;
        uint8_t at[24];
        size_t count;
        uint32_t events_before;
    } rows[] = {
        {"topic count", {0, 0, 0, 9, 0, 1, 't', 0, 0, 0, 0}, 11, 0},
        {"null topics", {0xff, 0xff, 0xff, 0xff}, 4, 0},
        {"null name", {0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, 10, 1},
        {"name beyond the limit", {0, 0, 0, 1, 0x7f, 0xff, 'a', 'a', 'a', 'a'}, 10, 1},
        {"partition count", {0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}, 19, 1},
        {"null partitions", {0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff}, 11, 1},
        {"records behind the body",
         {0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1},
         19,
         2},
        {"records below null",
         {0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe},
         19,
         2},
        {"end in the middle", {0, 0, 0, 1, 0, 1, 't', 0, 0, 0}, 10, 1},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint8_t body[64];
        struct events events;
        memcpy(body, head, sizeof(head));
        memcpy(body + sizeof(head), rows[i].at, rows[i].count);
        feed(7, (struct bytes){body, sizeof(head) + rows[i].count}, 1, 1, &events);
        cr_expect_eq(events.last, KAFKA_PRODUCE_MALFORMED, "%s", rows[i].what);
        cr_expect_eq(events.count, rows[i].events_before, "%s", rows[i].what);
    }
}

Test(kafka_produce_parser, refuses_varints_without_end_at_once, .timeout = 10)
{
    static const uint8_t body[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct kafka_produce_parser parser;
    struct kafka_produce_step step;

    kafka_produce_parser_init(&parser, 9, 1000000);
    cr_assert_eq(kafka_produce_parser_next(&parser, body, 4, &step), KAFKA_PRODUCE_MORE);
    cr_assert_eq(kafka_produce_parser_next(&parser, body, sizeof(body), &step),
                 KAFKA_PRODUCE_MALFORMED);
    cr_assert_eq(kafka_produce_parser_next(&parser, body, sizeof(body), &step),
                 KAFKA_PRODUCE_MALFORMED);
}

Test(kafka_produce_parser, never_waits_for_more_than_the_longest_item, .timeout = 10)
{
    static uint8_t body[2 * KAFKA_PRODUCE_ITEM_BYTES_MAX];
    struct kafka_produce_parser parser;
    struct kafka_produce_step step;

    put_u16_be(body, 2047); /* a transactional id that just is too long */
    kafka_produce_parser_init(&parser, 7, 1000000);
    cr_assert_eq(kafka_produce_parser_next(&parser, body, 2047, &step), KAFKA_PRODUCE_MORE);
    cr_assert_eq(step.need_bytes, KAFKA_PRODUCE_ITEM_BYTES_MAX);
    cr_assert_eq(kafka_produce_parser_next(&parser, body, 2048, &step), KAFKA_PRODUCE_MALFORMED);
}

/* The same events from the table's decoder. */
static void
events_of_table(const struct golden_frame *frame, struct events *ret)
{
    struct golden_message message;
    const struct kafka_produce_request *request = (const void *)message.message;
    size_t begin = golden_body(frame);
    struct kafka_produce_step step = {0};

    *ret = (struct events){0};
    cr_assert_eq(golden_decode(frame, frame->at + begin, frame->count - begin, &message), RC_OK);
    step.u.header.acks = request->acks;
    step.u.header.topic_count = request->topics.count;
    note(ret, KAFKA_PRODUCE_HEADER, &step);
    for (uint32_t i = 0; i < request->topics.count; i++) {
        const struct kafka_produce_request_topic *topic = &request->topics.at[i];
        step.u.topic.name = topic->name;
        step.u.topic.partition_count = topic->partitions.count;
        note(ret, KAFKA_PRODUCE_TOPIC, &step);
        for (uint32_t j = 0; j < topic->partitions.count; j++) {
            step.u.partition.index = topic->partitions.at[j].index;
            step.skip_bytes = (uint32_t)topic->partitions.at[j].records.count;
            note(ret, KAFKA_PRODUCE_PARTITION, &step);
        }
    }
    ret->last = KAFKA_PRODUCE_END;
    free(message.arena);
}

static void
expect_same(const struct golden_frame *frame, const struct events *want, const struct events *got)
{
    cr_assert_eq(got->last, want->last, "%s:%u", frame->file, frame->line);
    cr_assert_eq(got->count, want->count, "%s:%u", frame->file, frame->line);
    for (uint32_t i = 0; i < want->count; i++) {
        cr_assert_eq(got->at[i].kind, want->at[i].kind);
        cr_assert_eq(got->at[i].a, want->at[i].a);
        cr_assert_eq(got->at[i].b, want->at[i].b);
    }
}

Test(kafka_produce_parser, gives_the_same_events_however_the_bytes_arrive, .timeout = 120)
{
    uint32_t frame_count;
    uint32_t produce_count = 0;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct events want;
        struct events got;
        if (!frame->is_request || frame->api->key != KAFKA_PRODUCE)
            continue;
        size_t begin = golden_body(frame);
        size_t count = frame->count - begin;
        events_of_table(frame, &want);
        for (size_t cut = 0; cut <= count; cut++) {
            feed(frame->version, (struct bytes){frame->at + begin, count}, cut, count, &got);
            expect_same(frame, &want, &got);
            cr_assert_eq(got.taken_bytes, count);
        }
        feed(frame->version, (struct bytes){frame->at + begin, count}, 0, 1, &got);
        expect_same(frame, &want, &got);
        produce_count++;
    }
    cr_assert_geq(produce_count, 13u);
}

Test(kafka_produce_parser, gives_bytes_behind_the_request_to_be_skipped, .timeout = 10)
{
    static const uint8_t body[] = {0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3};
    struct events events;

    feed(7, (struct bytes){body, sizeof(body)}, 0, 1, &events);
    cr_assert_eq(events.last, KAFKA_PRODUCE_END);
    cr_assert_eq(events.taken_bytes, sizeof(body));
}

Test(kafka_produce_parser, never_leaves_the_body_on_seeded_flips, .timeout = 120)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);
    uint32_t state = 42;
    uint32_t refused = 0;

    fprintf(stderr, "seed %u\n", state);
    for (uint32_t round = 0; round < 200; round++)
        for (uint32_t i = 0; i < frame_count; i++) {
            const struct golden_frame *frame = &frames[i];
            struct events events;
            if (!frame->is_request || frame->api->key != KAFKA_PRODUCE)
                continue;
            size_t begin = golden_body(frame);
            size_t count = frame->count - begin;
            uint8_t *body = golden_copy(frame->at + begin, count);
            for (uint32_t flips = 0; flips < 1 + round % 3; flips++) {
                state = state * 1664525u + 1013904223u;
                body[(state >> 8) % min_u64(count, 60)] ^= (uint8_t)(1u << (state >> 29));
            }
            feed(
                frame->version, (struct bytes){body, count}, round % count, 1 + round % 9, &events);
            cr_assert_leq(events.taken_bytes, count);
            refused += events.last == KAFKA_PRODUCE_MALFORMED;
            free(body);
        }
    cr_assert_gt(refused, 100u);
}

Test(kafka_produce_parser, finds_the_batches_that_real_clients_sent, .timeout = 10)
{
    uint32_t frame_count;
    uint32_t batch_count = 0;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct kafka_produce_parser parser;
        struct kafka_produce_step step;
        if (!frame->is_request || frame->api->key != KAFKA_PRODUCE ||
            strcmp(frame->file, "definitions-4.3.hex") == 0)
            continue;
        const uint8_t *at = frame->at + golden_body(frame);
        const uint8_t *end = frame->at + frame->count;
        enum kafka_produce_event event = KAFKA_PRODUCE_HEADER;
        kafka_produce_parser_init(&parser, frame->version, (uint32_t)(end - at));
        while (event < KAFKA_PRODUCE_END) {
            event = kafka_produce_parser_next(&parser, at, (size_t)(end - at), &step);
            at += step.consumed_bytes;
            if (event != KAFKA_PRODUCE_PARTITION)
                continue;
            struct record_batch_info info;
            cr_assert_eq(record_batch_check(at, step.skip_bytes, &info),
                         RC_OK,
                         "%s:%u",
                         frame->file,
                         frame->line);
            cr_assert(record_batch_crc_ok(at, info.batch_bytes));
            batch_count++;
            at += step.skip_bytes;
        }
        cr_assert_eq(event, KAFKA_PRODUCE_END);
    }
    cr_assert_geq(batch_count, 3u);
}

Test(kafka_produce_codec_ok, wants_version_7_for_zstd, .timeout = 10)
{
    cr_assert(!kafka_produce_codec_ok(6, RECORD_CODEC_ZSTD));
    cr_assert(kafka_produce_codec_ok(7, RECORD_CODEC_ZSTD));
    cr_assert(kafka_produce_codec_ok(3, RECORD_CODEC_LZ4));
}

/* The response that the answer stands for, as the table writes it. */
static size_t
answer_by_table(const struct kafka_produce_answer *answer, uint8_t *to, size_t capacity)
{
    struct kafka_produce_response_partition partitions[16];
    struct kafka_produce_response_topic topics[4];
    struct kafka_produce_response response = {.throttle_ms = answer->throttle_ms};
    const struct kafka_api *api = kafka_api_find(KAFKA_PRODUCE);
    struct writer writer = writer_over(to, capacity);
    uint32_t at = 0;

    for (uint32_t i = 0; i < answer->topic_count; i++) {
        topics[i] = (struct kafka_produce_response_topic){.name = answer->topics[i].name};
        topics[i].partitions.at = &partitions[at];
        topics[i].partitions.count = answer->topics[i].partition_count;
        for (uint32_t j = 0; j < answer->topics[i].partition_count; j++, at++)
            partitions[at] = (struct kafka_produce_response_partition){
                .index = answer->results[at].index,
                .error = answer->results[at].error,
                .base_offset = answer->results[at].base_offset,
                .log_append_time_ms = answer->results[at].log_append_time_ms,
                .log_start_offset = answer->results[at].log_start_offset,
            };
    }
    response.topics.at = topics;
    response.topics.count = answer->topic_count;
    uint8_t *begin = kafka_frame_begin(&writer);
    kafka_response_header(&writer, api, answer->version, answer->correlation_id);
    kafka_produce_response_encode(&writer, answer->version, &response);
    kafka_frame_end(&writer, begin);
    cr_assert(!writer.failed);
    return writer_count(&writer);
}

Test(kafka_produce_response, equals_the_table_in_every_version, .timeout = 10)
{
    static uint8_t name[200];
    static const struct kafka_produce_result results[] = {
        {0, 0, 5000000000, -1, 17},
        {7, KAFKA_ERROR_CORRUPT_MESSAGE, -1, -1, -1},
        {1, 0, 1, 1700000000000, 0},
        {2, 0, 2, -1, 0},
    };

    memset(name, 'n', sizeof(name));
    const struct kafka_produce_result_topic topics[] = {
        {.name = {name, 3}, .partition_count = 2},
        {.name = {name, 200}, .partition_count = 0},
        {.name = {name, 130}, .partition_count = 2},
    };
    for (int16_t version = 3; version <= 12; version++)
        for (uint32_t topic_count = 0; topic_count <= 3; topic_count++) {
            uint8_t want[1024];
            struct kafka_produce_answer answer = {version, 77, 5, topic_count, topics, results};
            size_t want_bytes = answer_by_table(&answer, want, sizeof(want));
            cr_assert_eq(kafka_produce_response_bytes(&answer), want_bytes, "version %d", version);
            uint8_t *got = malloc(want_bytes);
            struct writer writer = writer_over(got, want_bytes);
            kafka_produce_response(&writer, &answer);
            cr_assert(!writer.failed);
            cr_assert_arr_eq(got, want, want_bytes, "version %d", version);
            writer = writer_over(got, want_bytes - 1);
            kafka_produce_response(&writer, &answer);
            cr_assert(writer.failed);
            free(got);
        }
}
