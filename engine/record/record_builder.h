/* Builds one uncompressed RecordBatch v2 in the caller's memory: for internal logs, tests and load
 * generators. Pure; any core; allocates nothing; never blocks.
 *
 *   record_builder_begin(&builder, memory, sizeof(memory), &options);
 *   while (more && record_builder_add(&builder, &record)) ...    // false: full, finish and begin
 * another uint32_t batch_bytes = record_builder_finish(&builder); */
#ifndef EAGRE_ENGINE_RECORD_RECORD_BUILDER_H
#define EAGRE_ENGINE_RECORD_RECORD_BUILDER_H

#include "engine/record/record_batch.h"

struct record_header {
    struct bytes key;   /* UTF-8, never null */
    struct bytes value; /* at == NULL: null */
};

struct record {
    int64_t timestamp_ms;
    struct bytes key;                    /* at == NULL: null */
    struct bytes value;                  /* at == NULL: null */
    const struct record_header *headers; /* [header_count] */
    uint32_t header_count;
};

struct record_builder_options {
    int64_t base_offset;    /* 0 from producers */
    int64_t producer_id;    /* -1: none */
    int32_t base_sequence;  /* -1: none */
    int32_t leader_epoch;   /* -1 from producers */
    int16_t producer_epoch; /* -1: none */
    uint16_t attributes;    /* enum record_attributes; the codec must be none */
};

/* What an ordinary producer without idempotence sends. */
#define RECORD_BUILDER_PLAIN          \
    ((struct record_builder_options){ \
        .producer_id = -1, .base_sequence = -1, .leader_epoch = -1, .producer_epoch = -1})

struct record_builder {
    struct writer writer; /* over the whole batch */
    struct record_builder_options options;
    int64_t base_timestamp_ms; /* of the first record */
    int64_t max_timestamp_ms;
    uint32_t record_count;
};

/* memory: [capacity], capacity >= 61, borrowed until finish. */
void record_builder_begin(struct record_builder *builder,
                          void *memory,
                          size_t capacity,
                          const struct record_builder_options *options);

/* Adds a record, or returns false and changes nothing when it does not fit the memory or
 * RECORD_BATCH_BYTES_MAX. */
MUST_USE bool record_builder_add(struct record_builder *builder, const struct record *record);

/* Writes header and CRC; returns the batch's bytes. At least one record was added. */
uint32_t record_builder_finish(struct record_builder *builder);

#endif
