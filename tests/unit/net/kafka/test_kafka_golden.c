/* Goal: every API, version and direction that is served is read and written byte for byte as other
 * implementations do, and no damage to a frame does harm. Method: frames of real clients and of a
 * second encoder (tests/golden/kafka): decode, encode, compare; then cut at every byte, written
 * into every smaller buffer, and with seeded flips, each in memory of exactly its size (the
 * sanitizer is the guard). */
#include "golden.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(golden_frames, cut_anywhere_are_malformed, .timeout = 120)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        size_t begin = golden_body(frame);
        for (size_t count = 0; count < frame->count - begin; count++) {
            struct golden_message message;
            uint8_t *body = golden_copy(frame->at + begin, count);
            cr_expect_eq(golden_decode(frame, body, count, &message),
                         RC_MALFORMED,
                         "%s:%u cut at %zu",
                         frame->file,
                         frame->line,
                         count);
            free(message.arena);
            free(body);
        }
    }
}

/* A request or response as its sender wrote it, from what was decoded. */
static void
encode_again(const struct golden_frame *frame,
             const struct golden_message *message,
             struct writer *writer)
{
    if (frame->is_request) {
        struct kafka_request_header header;
        cr_assert_eq(kafka_request_header_parse(frame->at, frame->count, 1u << 20, &header),
                     KAFKA_PARSE_OK);
        struct kafka_client_request request = {
            .api_key = (enum kafka_api_key)frame->api->key,
            .version = frame->version,
            .correlation_id = header.correlation_id,
            .client_id = header.client_id,
        };
        kafka_client_request(writer, &request, message->message);
        return;
    }
    uint8_t *begin = kafka_frame_begin(writer);
    kafka_response_header(writer, frame->api, frame->version, (int32_t)get_u32_be(frame->at + 4));
    kafka_encode(frame->api->response, frame->version, writer, message->message);
    kafka_frame_end(writer, begin);
}

Test(golden_frames, written_into_too_little_memory_fail_and_stay_inside, .timeout = 120)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct golden_message message;
        size_t begin = golden_body(frame);
        if (frame->has_unlisted_tags)
            continue;
        cr_assert_eq(golden_decode(frame, frame->at + begin, frame->count - begin, &message),
                     RC_OK);
        for (size_t capacity = 0; capacity < frame->count; capacity++) {
            uint8_t *memory = malloc(capacity + 1);
            struct writer writer = writer_over(memory, capacity);
            encode_again(frame, &message, &writer);
            cr_expect(writer.failed, "%s:%u in %zu bytes", frame->file, frame->line, capacity);
            free(memory);
        }
        free(message.arena);
    }
}

Test(golden_frames, come_back_byte_for_byte, .timeout = 60)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);
    uint32_t compared = 0;

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct golden_message message;
        size_t begin = golden_body(frame);
        uint8_t *body = golden_copy(frame->at + begin, frame->count - begin);
        uint8_t *memory = malloc(frame->count);
        struct writer writer = writer_over(memory, frame->count);
        cr_expect_eq(golden_decode(frame, body, frame->count - begin, &message),
                     RC_OK,
                     "%s:%u %s %d",
                     frame->file,
                     frame->line,
                     frame->api->name,
                     frame->version);
        if (!frame->has_unlisted_tags) {
            encode_again(frame, &message, &writer);
            cr_expect(!writer.failed, "%s:%u", frame->file, frame->line);
            cr_expect_eq(writer_count(&writer), frame->count, "%s:%u", frame->file, frame->line);
            cr_expect_arr_eq(memory, frame->at, frame->count, "%s:%u", frame->file, frame->line);
            compared++;
        }
        free(memory);
        free(message.arena);
        free(body);
    }
    cr_assert_gt(compared, 200u);
}

Test(golden_frames, cover_every_served_version_in_both_directions, .timeout = 10)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < kafka_api_count; i++)
        for (int16_t version = kafka_apis[i].first; version <= kafka_apis[i].last; version++) {
            uint32_t requests = 0;
            uint32_t responses = 0;
            for (uint32_t j = 0; j < frame_count; j++) {
                bool same = frames[j].api == &kafka_apis[i] && frames[j].version == version;
                requests += same && frames[j].is_request;
                responses += same && !frames[j].is_request;
            }
            cr_expect(requests > 0 && responses > 0, "%s %d", kafka_apis[i].name, version);
        }
}

Test(golden_frames, survive_seeded_flips, .timeout = 120)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);
    uint32_t state = 20261121;
    uint32_t refused = 0;

    fprintf(stderr, "seed %u\n", state);
    for (uint32_t round = 0; round < 40000; round++) {
        const struct golden_frame *frame = &frames[round % frame_count];
        struct golden_message message;
        size_t begin = golden_body(frame);
        size_t count = frame->count - begin;
        if (count == 0)
            continue;
        uint8_t *body = golden_copy(frame->at + begin, count);
        for (uint32_t flips = 0; flips < 1 + round % 3; flips++) {
            state = state * 1664525u + 1013904223u;
            body[(state >> 8) % count] ^= (uint8_t)(1u << (state >> 29));
        }
        enum rc rc = golden_decode(frame, body, count, &message);
        cr_assert(rc == RC_OK || rc == RC_MALFORMED || (rc == RC_NO_MEMORY && !frame->is_request),
                  "%s:%u %s",
                  frame->file,
                  frame->line,
                  rc_name(rc));
        refused += rc != RC_OK;
        free(message.arena);
        free(body);
    }
    cr_assert_gt(refused, 1000u);
}

Test(kafka_client_response, refuses_answers_to_another_request, .timeout = 10)
{
    static const uint8_t frame[] = {0, 0, 0, 9, 0, 0, 0, 0};
    struct kafka_client_request request = {
        .api_key = KAFKA_LIST_OFFSETS, .version = 1, .correlation_id = 8};
    struct kafka_list_offsets_response response;
    struct kafka_arena arena = {0};

    cr_assert_eq(
        kafka_client_response((struct bytes){frame, sizeof(frame)}, &request, &arena, &response),
        RC_MALFORMED);
    request.correlation_id = 9;
    cr_assert_eq(
        kafka_client_response((struct bytes){frame, sizeof(frame)}, &request, &arena, &response),
        RC_OK);
    cr_assert_eq(response.topics.count, 0u);
}
