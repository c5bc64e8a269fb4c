/* A Kafka client's connection in a simulated world: requests out, answers in order.
 *
 * Bytes go through the virtual network as it lets them; a request is encoded at once and sent in
 * pieces. Answers are decoded by the tables of net/kafka and given out one at a time, each with the
 * number that the request was given.
 *
 * One thread. Allocates its buffers once. */
#ifndef EAGRE_TESTS_SIM_ENGINE_STREAM_H
#define EAGRE_TESTS_SIM_ENGINE_STREAM_H

#include "net/kafka/kafka_client_codec.h"
#include "sim_world.h"

#define STREAM_PENDING_MAX 16u
#define STREAM_OUT_BYTES (2u << 20)
#define STREAM_IN_BYTES (2u << 20)
#define STREAM_ARENA_BYTES (256u << 10)

struct stream_pending {
    struct kafka_client_request request;
    uint64_t number;
    uint64_t sent_ns;
};

struct stream {
    struct sim_world *world;
    uint32_t client;
    bool is_open;
    int32_t correlation_next;
    struct stream_pending pending[STREAM_PENDING_MAX]; /* oldest first */
    uint32_t pending_count;
    uint8_t *out; /* [STREAM_OUT_BYTES] */
    uint32_t out_begin;
    uint32_t out_end;
    uint64_t retry_ns; /* when to try to send again; 0: at once */
    uint8_t *in;       /* [STREAM_IN_BYTES] */
    uint32_t in_count;
    uint8_t *arena; /* [STREAM_ARENA_BYTES] */
};

enum stream_event {
    STREAM_NOTHING, /* until stream_due_ns() */
    STREAM_ANSWER,
    STREAM_LOST,  /* closed or reset by the other side; the stream is shut now */
    STREAM_WRONG, /* the answer is not what the protocol says */
};

struct stream_answer {
    struct stream_pending to;
    uint32_t bytes; /* of the frame, which is dropped by stream_done() */
    union {
        struct kafka_produce_response produce;
        struct kafka_fetch_response fetch;
        struct kafka_list_offsets_response list_offsets;
        struct kafka_metadata_response metadata;
        struct kafka_create_topics_response create_topics;
        struct kafka_delete_topics_response delete_topics;
        struct kafka_init_producer_id_response init_producer_id;
        struct kafka_api_versions_response api_versions;
        struct kafka_add_partitions_to_txn_response add_partitions_to_txn;
        struct kafka_add_offsets_to_txn_response add_offsets_to_txn;
        struct kafka_txn_offset_commit_response txn_offset_commit;
        struct kafka_end_txn_response end_txn;
        struct kafka_join_group_response join_group;
        struct kafka_sync_group_response sync_group;
        struct kafka_heartbeat_response heartbeat;
        struct kafka_leave_group_response leave_group;
        struct kafka_offset_commit_response offset_commit;
        struct kafka_offset_fetch_response offset_fetch;
    } u;
};

void stream_init(struct stream *stream, struct sim_world *world);
void stream_fini(struct stream *stream);

/* False: nobody listens. */
bool stream_open(struct stream *stream, uint16_t port);
/* Lets go at once, by a reset or in order; what was pending gets no answer. */
void stream_shut(struct stream *stream, bool reset);

/* message: the struct of that API's request. has_answer: false for Produce with acks=0. */
void stream_ask(struct stream *stream,
                const struct kafka_client_request *request,
                const void *message,
                uint64_t number,
                bool has_answer);
/* Room for another request of that many bytes. */
bool stream_has_room(const struct stream *stream, uint32_t bytes);

/* Moves bytes, then gives the next answer; what it points to is valid until stream_done(). */
enum stream_event stream_poll(struct stream *stream, struct stream_answer *ret_answer);
void stream_done(struct stream *stream, const struct stream_answer *answer);

/* When stream_poll() may have news. */
uint64_t stream_due_ns(const struct stream *stream);

#endif
