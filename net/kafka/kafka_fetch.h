/* The Fetch response (API 1), versions 4 to 17, written in pieces: everything but the records,
 * which are sent from where they lie. Pure; runs on a gate tile; allocates nothing; never blocks.
 * (Requests: kafka_fetch_request_decode() of kafka_message.h; the arena is the limit on
 * partitions.)
 *
 *   head                              size field, response header, error, session, topic count
 *     topic head                      name or id, partition count
 *       partition head                error, offsets, aborted transactions, length of the records
 *       records                       the caller's bytes
 *       partition tail                a tagged section, 0 or 1 byte
 *     topic tail                      0 or 1 byte
 *   tail                              0 or 1 byte
 *
 * Every piece has a _bytes function with the exact size, so the frame's size is summed up before
 * the first byte leaves: frame_bytes = all pieces and records, without the 4 bytes of the size
 * field itself. Without aborted transactions their list is null, the preferred replica is -1 and
 * empty records have length 0, never null (librdkafka 2.0 fails on null). */
#ifndef EAGRE_NET_KAFKA_KAFKA_FETCH_H
#define EAGRE_NET_KAFKA_KAFKA_FETCH_H

#include "net/kafka/kafka_frame.h"

/* No partition head is longer. */
#define KAFKA_FETCH_PARTITION_HEAD_BYTES_MAX 64u

struct kafka_fetch_head {
    int32_t correlation_id;
    int32_t throttle_ms;
    int16_t error;      /* only of the session; version >= 7 */
    int32_t session_id; /* 0: no session */
    uint32_t topic_count;
    uint32_t frame_bytes;
};

struct kafka_fetch_topic {
    struct bytes name;          /* versions <= 12 */
    struct kafka_uuid topic_id; /* versions >= 13 */
    uint32_t partition_count;
};

struct kafka_fetch_partition {
    int32_t index;
    int16_t error;          /* enum kafka_error */
    int64_t high_watermark; /* -1 with an error */
    int64_t last_stable_offset;
    int64_t log_start_offset;
    uint32_t aborted_count; /* 0: told as null */
    uint32_t records_bytes; /* that follow; 0 with an error */
};

uint32_t kafka_fetch_head_bytes(int16_t version, uint32_t topic_count);
void kafka_fetch_head(struct writer *writer, int16_t version, const struct kafka_fetch_head *head);

uint32_t kafka_fetch_topic_head_bytes(int16_t version, const struct kafka_fetch_topic *topic);
void kafka_fetch_topic_head(struct writer *writer,
                            int16_t version,
                            const struct kafka_fetch_topic *topic);

uint32_t kafka_fetch_partition_head_bytes(int16_t version, uint32_t records_bytes);
void kafka_fetch_partition_head(struct writer *writer,
                                int16_t version,
                                const struct kafka_fetch_partition *partition);
/* The two halves of it: aborted_count entries go between. */
void kafka_fetch_partition_begin(struct writer *writer,
                                 int16_t version,
                                 const struct kafka_fetch_partition *partition);
void kafka_fetch_partition_records(struct writer *writer, int16_t version, uint32_t records_bytes);
/* One aborted transaction: its size, and its bytes at `at`. */
uint32_t kafka_fetch_aborted_bytes(int16_t version);
void
kafka_fetch_put_aborted(uint8_t *at, int16_t version, int64_t producer_id, int64_t first_offset);

/* The tagged section that ends a partition, a topic and the response: one zero byte from version 12
 * on, else nothing. */
uint32_t kafka_fetch_tail_bytes(int16_t version);
void kafka_fetch_tail(struct writer *writer, int16_t version);

#endif
