/* Goal: a header is found as soon as its bytes are there, never earlier, never outside its frame.
 * Method: bad sizes first; every golden request fed byte by byte from memory of exactly that size.
 */
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static enum kafka_parse
parse(const void *at, size_t count, struct kafka_request_header *ret)
{
    return kafka_request_header_parse(at, count, 1000, ret);
}

Test(kafka_request_header_parse, refuses_sizes_outside_the_limits, .timeout = 10)
{
    static const uint8_t negative[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t large[] = {0, 0, 3, 0xe9};
    static const uint8_t small[] = {0, 0, 0, 7, 0, 18, 0, 0, 0, 0, 0};
    struct kafka_request_header header;

    cr_assert_eq(parse(negative, 3, &header), KAFKA_PARSE_MORE);
    cr_assert_eq(parse(negative, sizeof(negative), &header), KAFKA_PARSE_MALFORMED);
    cr_assert_eq(kafka_request_header_parse(negative, 4, UINT32_MAX, &header),
                 KAFKA_PARSE_MALFORMED);
    cr_assert_eq(parse(large, sizeof(large), &header), KAFKA_PARSE_MALFORMED);
    cr_assert_eq(parse(small, sizeof(small), &header), KAFKA_PARSE_MALFORMED);
}

Test(kafka_request_header_parse, refuses_headers_that_leave_their_frame, .timeout = 10)
{
    /* The client id claims 5 bytes, the frame ends after 2; the next frame's bytes must not be
     * taken for it. */
    static const uint8_t id[] = {0, 0, 0, 12, 0,   3,   0,   1,   0,   0,
                                 0, 9, 0, 5,  'a', 'b', 'c', 'd', 'e', 'f'};
    static const uint8_t below_null[] = {0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xfe};
    struct kafka_request_header header;

    cr_assert_eq(parse(id, sizeof(id), &header), KAFKA_PARSE_MALFORMED);
    cr_assert_eq(parse(below_null, sizeof(below_null), &header), KAFKA_PARSE_MALFORMED);
}

Test(kafka_request_header_parse, refuses_headers_longer_than_the_limit, .timeout = 10)
{
    uint8_t frame[4000] = {0, 0, 0x0f, 0x9c, 0, 3, 0, 1, 0, 0, 0, 9, 0x0b, 0xb8};
    struct kafka_request_header header;

    cr_assert_eq(kafka_request_header_parse(frame, 1023, 100000, &header), KAFKA_PARSE_MORE);
    cr_assert_eq(kafka_request_header_parse(frame, 1024, 100000, &header), KAFKA_PARSE_MALFORMED);
}

Test(kafka_request_header_parse, names_what_is_not_served_without_looking_further, .timeout = 10)
{
    uint8_t frame[] = {0, 0, 0, 10, 0x7f, 0xff, 0, 1, 0, 0, 0, 9, 0xff, 0xfe};
    struct kafka_request_header header;

    cr_assert_eq(parse(frame, sizeof(frame), &header), KAFKA_PARSE_OK);
    cr_assert_null(header.api);
    cr_assert(!header.served);
    frame[4] = 0;
    frame[5] = KAFKA_PRODUCE;
    cr_assert_eq(parse(frame, sizeof(frame), &header), KAFKA_PARSE_OK);
    cr_assert_not_null(header.api);
    cr_assert(!header.served, "Produce 1 is advertised, not served");
    frame[5] = KAFKA_API_VERSIONS;
    frame[7] = 99;
    cr_assert_eq(parse(frame, sizeof(frame), &header), KAFKA_PARSE_OK);
    cr_assert_eq(header.api->key, KAFKA_API_VERSIONS);
    cr_assert(!header.served);
    cr_assert_eq(header.api_version, 99);
    cr_assert_eq(header.correlation_id, 9);
    cr_assert_eq(header.header_bytes, 12u);
    cr_assert_eq(header.body_bytes, 2u);
}

Test(kafka_request_header_parse, waits_for_exactly_the_bytes_it_needs, .timeout = 60)
{
    uint32_t frame_count;
    const struct golden_frame *frames = golden_load(&frame_count);

    for (uint32_t i = 0; i < frame_count; i++) {
        const struct golden_frame *frame = &frames[i];
        struct kafka_request_header header;
        if (!frame->is_request)
            continue;
        for (size_t count = 0; count <= frame->count; count++) {
            uint8_t *bytes = golden_copy(frame->at, count);
            enum kafka_parse result = kafka_request_header_parse(bytes, count, 1u << 20, &header);
            if (result == KAFKA_PARSE_OK)
                cr_expect_eq(header.header_bytes + header.body_bytes, frame->count);
            cr_expect_eq(result, count < golden_body(frame) ? KAFKA_PARSE_MORE : KAFKA_PARSE_OK);
            free(bytes);
        }
        struct kafka_request_header inner;
        cr_expect_eq(
            kafka_request_header_read((struct bytes){frame->at + 4, frame->count - 4}, &inner),
            KAFKA_PARSE_OK);
        cr_expect_eq(inner.header_bytes + 4, header.header_bytes);
        cr_expect_eq(inner.body_bytes, header.body_bytes);
    }
}

Test(kafka_response_header, has_tags_in_flexible_versions_but_never_for_api_versions, .timeout = 10)
{
    uint8_t memory[16];
    struct writer writer = writer_over(memory, sizeof(memory));

    kafka_response_header(&writer, kafka_api_find(KAFKA_METADATA), 8, 1);
    cr_assert_eq(writer_count(&writer), 4u);
    kafka_response_header(&writer, kafka_api_find(KAFKA_METADATA), 9, 1);
    cr_assert_eq(writer_count(&writer), 9u);
    kafka_response_header(&writer, kafka_api_find(KAFKA_API_VERSIONS), 4, 1);
    cr_assert_eq(writer_count(&writer), 13u);
}

Test(kafka_frame_end, writes_the_size_that_was_reserved, .timeout = 10)
{
    uint8_t memory[16];
    struct writer writer = writer_over(memory, 9);

    uint8_t *begin = kafka_frame_begin(&writer);
    writer_u32_be(&writer, 7);
    kafka_frame_end(&writer, begin);
    cr_assert_eq(get_u32_be(memory), 4u);
    begin = kafka_frame_begin(&writer);
    cr_assert(writer.failed);
    kafka_frame_end(&writer, begin);
}
