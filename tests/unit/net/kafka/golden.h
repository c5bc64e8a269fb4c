/* The frames of tests/golden/kafka, in memory of their own each, so that a sanitizer sees any step
 * outside. */
#ifndef EAGRE_TESTS_UNIT_NET_KAFKA_GOLDEN_H
#define EAGRE_TESTS_UNIT_NET_KAFKA_GOLDEN_H

#include "net/kafka/kafka_client_codec.h"

struct golden_frame {
    const char *file;
    uint32_t line;
    const struct kafka_api *api;
    int16_t version;
    bool is_request;
    bool has_unlisted_tags; /* decodes, but is not written back byte for byte */
    uint8_t *at;            /* [count], size field first */
    size_t count;
};

/* Loads every frame; ends the test when a file or line is bad. */
const struct golden_frame *golden_load(uint32_t *ret_count);

/* Copies count bytes into memory of exactly that size; free() it. */
uint8_t *golden_copy(const void *at, size_t count);

/* Where the body begins: behind size field and header. */
size_t golden_body(const struct golden_frame *frame);

/* A decoded message of any type, and the arena it lives in; free() arena. */
struct golden_message {
    _Alignas(8) uint8_t message[512];
    uint8_t *arena;
};

/* Decodes body bytes [0, count) of the frame from memory of exactly that size, kept in *ret_body;
 * free() it. */
enum rc golden_decode(const struct golden_frame *frame,
                      const uint8_t *body,
                      size_t count,
                      struct golden_message *ret);

#endif
