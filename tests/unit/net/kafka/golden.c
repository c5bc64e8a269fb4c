/* Loader of the golden frames; see golden.h. */
#include "golden.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES_MAX = 512, LINE_MAX_BYTES = 65536 };

static uint8_t
hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = strchr(digits, c);

    cr_assert(c != 0 && at != NULL, "not a hex digit: %c", c);
    return (uint8_t)(at - digits);
}

static void
load_line(const char *line, struct golden_frame *ret)
{
    int key;
    int version;
    int hex_at = 0;
    char direction[16];

    cr_assert_eq(sscanf(line, "%d %d %15s %n", &key, &version, direction, &hex_at),
                 3,
                 "%s:%u",
                 ret->file,
                 ret->line);
    const char *hex = line + hex_at;
    ret->count = strcspn(hex, "\r\n") / 2;
    ret->api = kafka_api_find((int16_t)key);
    ret->version = (int16_t)version;
    ret->is_request = strcmp(direction, "request") == 0;
    cr_assert(ret->api != NULL && ret->count > 8);
    ret->at = malloc(ret->count);
    for (size_t i = 0; i < ret->count; i++)
        ret->at[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
}

const struct golden_frame *
golden_load(uint32_t *ret_count)
{
    static const char *const files[] = {"definitions-4.3.hex",
                                        "librdkafka-2.0.2.hex",
                                        "kafka-python-2.0.2.hex",
                                        "kafkajs-2.2.4.hex"};
    static struct golden_frame frames[FRAMES_MAX];
    static char line[LINE_MAX_BYTES];
    uint32_t count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        char path[512];
        uint32_t line_number = 0;
        snprintf(path, sizeof(path), "%s/%s", GOLDEN_DIR, files[i]);
        FILE *file = fopen(path, "r");
        cr_assert(file != NULL, "cannot open %s", path);
        while (fgets(line, sizeof(line), file) != NULL) {
            line_number++;
            if (line[0] == '#')
                continue;
            cr_assert_lt(count, (uint32_t)FRAMES_MAX);
            struct golden_frame *frame = &frames[count++];
            frame->file = files[i];
            frame->line = line_number;
            load_line(line, frame);
            /* The probe advertised features, which we neither send nor need. */
            frame->has_unlisted_tags = i > 0 && !frame->is_request &&
                                       frame->api->key == KAFKA_API_VERSIONS && frame->version >= 3;
        }
        fclose(file);
    }
    *ret_count = count;
    return frames;
}

uint8_t *
golden_copy(const void *at, size_t count)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);

    if (count > 0)
        memcpy(copy, at, count);
    return copy;
}

size_t
golden_body(const struct golden_frame *frame)
{
    struct kafka_request_header header;

    if (!frame->is_request)
        return KAFKA_FRAME_PREFIX_BYTES + kafka_response_header_bytes(frame->api, frame->version);
    cr_assert_eq(kafka_request_header_parse(frame->at, frame->count, 1u << 20, &header),
                 KAFKA_PARSE_OK);
    return header.header_bytes;
}

enum rc
golden_decode(const struct golden_frame *frame,
              const uint8_t *body,
              size_t count,
              struct golden_message *ret)
{
    const struct kafka_type *type = frame->is_request ? frame->api->request : frame->api->response;
    /* Responses may want more than the factor promises for requests: their elements are wider. */
    size_t arena_bytes = frame->is_request ? kafka_arena_bytes(count) : 64 * count + 64;
    struct reader reader = reader_over(body, count);

    cr_assert_leq(type->struct_bytes, sizeof(ret->message));
    ret->arena = malloc(arena_bytes);
    struct kafka_arena arena = kafka_arena_over(ret->arena, arena_bytes);
    return kafka_decode(type, frame->version, &reader, &arena, ret->message);
}
