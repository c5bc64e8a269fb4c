/* Produce (API 0) for a door that never holds a whole request: a resumable parser of the request
 * and an encoder of the response. Versions 3 to 12. Pure; runs on a gate tile; allocates nothing;
 * never blocks.
 *
 * The parser is given what has arrived and says what it found; the caller takes the record bytes
 * itself:
 *
 *   kafka_produce_parser_init(&parser, header.api_version, header.body_bytes);
 *   for (;;) {
 *       event = kafka_produce_parser_next(&parser, at, available, &step);
 *       advance by step.consumed_bytes;              // always, with every event
 *       HEADER     acks, timeout, topic count
 *       TOPIC      name (borrowed from `at`: copy it), partition count
 *       PARTITION  partition index; step.skip_bytes of records follow: take or skip exactly these,
 * then go on MORE       come back with at least step.need_bytes bytes available END step.skip_bytes
 * of trailing bytes (normally 0) follow, then the next frame MALFORMED  close the connection; the
 * parser stays there
 *   }
 *
 *   HEADER ─► TOPIC ─► PARTITION ─► (records) ─► PARTITION … ─► TOPIC … ─► END
 *
 * No item but the records is longer than KAFKA_PRODUCE_ITEM_BYTES_MAX; a longer one is malformed.
 */
#ifndef EAGRE_NET_KAFKA_KAFKA_PRODUCE_H
#define EAGRE_NET_KAFKA_KAFKA_PRODUCE_H

#include "net/kafka/kafka_frame.h"

#define KAFKA_PRODUCE_ITEM_BYTES_MAX 2048u

enum kafka_produce_event {
    KAFKA_PRODUCE_HEADER,
    KAFKA_PRODUCE_TOPIC,
    KAFKA_PRODUCE_PARTITION,
    KAFKA_PRODUCE_END,
    KAFKA_PRODUCE_MORE,
    KAFKA_PRODUCE_MALFORMED,
};

struct kafka_produce_parser {
    uint8_t state; /* enum kafka_produce_state, in the .c */
    bool flexible;
    int16_t version;
    uint32_t body_left;       /* bytes of the body not yet consumed or skipped */
    uint32_t topics_left;     /* not yet begun */
    uint32_t partitions_left; /* of this topic, not yet begun */
};

struct kafka_produce_step {
    uint32_t consumed_bytes; /* of what was given; may be > 0 with MORE too */
    uint32_t need_bytes;     /* MORE: available bytes, behind the consumed ones, that make progress
                                possible; a lower bound */
    uint32_t skip_bytes;     /* PARTITION: bytes of records; END: trailing bytes. They follow the
                                consumed ones */
    union {
        struct {
            struct bytes transactional_id; /* borrowed; at == NULL: null */
            int16_t acks;                  /* as sent: the caller checks -1, 0, 1 */
            int32_t timeout_ms;
            uint32_t topic_count;
        } header;
        struct {
            struct bytes name; /* borrowed */
            uint32_t partition_count;
        } topic;
        struct {
            int32_t index;
        } partition;
    } u;
};

/* body_bytes is header.body_bytes of the frame; version is served (3 to 12). */
void kafka_produce_parser_init(struct kafka_produce_parser *parser,
                               int16_t version,
                               uint32_t body_bytes);

/* Takes at most one event's bytes from [at, at + available). available may reach into the next
 * frame: the parser stops at the end of the body. After PARTITION the next call's `at` is behind
 * the records. */
MUST_USE enum kafka_produce_event kafka_produce_parser_next(struct kafka_produce_parser *parser,
                                                            const uint8_t *at,
                                                            size_t available,
                                                            struct kafka_produce_step *ret);

/* zstd batches need Produce 7: answer UNSUPPORTED_COMPRESSION_TYPE where this is false. codec:
 * attributes & 7. */
bool kafka_produce_codec_ok(int16_t version, uint8_t codec);

struct kafka_produce_result {
    int32_t index;
    int16_t error;              /* enum kafka_error */
    int64_t base_offset;        /* -1 with an error */
    int64_t log_append_time_ms; /* -1 unless LogAppendTime */
    int64_t log_start_offset;   /* -1: unknown */
};

struct kafka_produce_result_topic {
    struct bytes name;
    uint32_t partition_count; /* how many of the results are this topic's */
};

/* What a response is written from. */
struct kafka_produce_answer {
    int16_t version;
    int32_t correlation_id;
    int32_t throttle_ms;
    uint32_t topic_count;
    const struct kafka_produce_result_topic *topics; /* [topic_count] */
    const struct kafka_produce_result *results; /* [sum of partition_count], topic after topic */
};

/* Exact bytes of the whole frame, size field included. */
uint32_t kafka_produce_response_bytes(const struct kafka_produce_answer *answer);
/* Writes the whole frame, size field included. */
void kafka_produce_response(struct writer *writer, const struct kafka_produce_answer *answer);

#endif
