/* A gate with everything around it made of memory: streams instead of sockets, a scripted log tile
 * with real offsets, a control tile that echoes. One thread; time moves only by fixture_advance().
 */
#ifndef EAGRE_TESTS_UNIT_NET_GATE_FIXTURE_H
#define EAGRE_TESTS_UNIT_NET_GATE_FIXTURE_H

#include "net/gate/gate.h"
#include "net/kafka/kafka_client_codec.h"
#include "net/kafka/kafka_error.h"
#include "net/request/topic_snapshot.h"

#define FIXTURE_STREAMS 256
#define FIXTURE_STREAM_BYTES (4u << 20)
#define FIXTURE_SLOTS 64
#define FIXTURE_LOG_BYTES (24u << 20)
#define FIXTURE_FD 1000

struct fixture_stream {
    bool open; /* the client's side */
    bool accepted;
    bool server_closed; /* tcp_close() was called */
    bool shut;          /* tcp_shutdown() was called */
    bool client_ended;
    bool stuck; /* the client reads nothing: sends make no progress */
    uint8_t *to_server;
    uint32_t to_server_count;
    uint32_t to_server_at;
    uint8_t *to_client;
    uint32_t to_client_count;
    uint32_t to_client_at;
    bool receive_pending;
    bool send_pending;
    struct io_request receive;
    struct io_request send;
};

/* One partition of the scripted log tile. */
struct fixture_partition {
    uint64_t incarnation; /* 0: none */
    uint64_t start_offset;
    uint64_t end_offset; /* also the high watermark */
    uint64_t armed_high_watermark;
    bool armed;
    uint64_t armed_last_stable;
    bool armed_stable;
    uint64_t open_offset; /* a transaction is open from here on; 0: none */
    struct request_aborted aborted[64];
    uint64_t aborted_last[64]; /* of their markers */
    uint32_t aborted_count;
    bool append_time;
    uint8_t *bytes; /* batches one after the other */
    uint32_t byte_count;
};

struct fixture_options {
    uint32_t fragment_bytes;  /* a receive gives at most this; 0: any */
    uint32_t send_bytes;      /* a send takes at most this; 0: any */
    uint32_t ring_slots;      /* 0: 1024 */
    uint64_t ingest_bytes;    /* 0: 8 MiB */
    uint64_t response_bytes;  /* 0: 8 MiB */
    uint32_t connections_max; /* 0: 64 */
    uint32_t requests_max;    /* 0: 1024 */
    bool two_log_tiles;       /* odd slots live on log tile 1 */
};

struct fixture {
    struct io io;
    struct tcp tcp;
    struct clock clock;
    struct gate *gate;
    struct metrics_tile metrics; /* what the gate counts itself */
    struct trace trace;          /* every stamp of the gate */
    struct gate_config config;
    struct fixture_options options;
    struct ring log_requests[2];
    struct ring log_responses[2];
    struct ring control_requests;
    struct ring control_responses;
    struct fixture_stream streams[FIXTURE_STREAMS];
    uint32_t stream_count;
    bool accept_pending;
    uint64_t accept_tag;
    int32_t accept_error; /* answer the next accept with this errno */
    uint32_t io_refuse;   /* io_submit() says no that many times */
    struct fixture_partition partitions[FIXTURE_SLOTS];
    bool log_held;             /* the log tiles take nothing out of their rings */
    bool second_held;          /* log tile 1 alone does not */
    enum rc append_rc;         /* answer appends with this instead of appending */
    struct request held[4096]; /* appends whose answer the test gives itself */
    uint32_t held_count;
    bool hold_appends;
    bool mark_first; /* the next ARM finds new records, and its mark overtakes its answer */
    uint32_t reads;
    uint32_t probes;
    uint32_t control_count;
    uint32_t control_reply_bytes; /* body size of the next control replies */
    uint64_t control_spent_ns;    /* what control says that it worked for each */
    bool control_held;
    struct waker control_waker; /* of a control that always sleeps */
    uint32_t control_wakes;     /* times it was woken */
    uint32_t seen_count;
    int32_t correlation;
    const char *client_id; /* of the next requests; NULL: "test" */
};

/* Builds everything; the topic "t" with four partitions (slots 0 to 3) is known to the gate.
 * options may be NULL. */
struct fixture *fixture_new(const struct fixture_options *options);
/* Everything the gate took must have come back; then frees. */
void fixture_free(struct fixture *fixture);

/* Tells the gate of a topic; its partitions are slots [first_slot, first_slot + partitions).
 * id_byte fills the id. */
void fixture_topic(struct fixture *fixture,
                   const char *name,
                   uint8_t id_byte,
                   uint32_t first_slot,
                   uint32_t partitions);
void fixture_topic_gone(struct fixture *fixture, const char *name, uint8_t id_byte);

/* A client connects; returns the stream's index. */
uint32_t fixture_connect(struct fixture *fixture);
void fixture_send(struct fixture *fixture, uint32_t stream, const void *bytes, uint32_t count);
void fixture_end(struct fixture *fixture, uint32_t stream);

/* One round: io completions, the log and control tiles, one poll. Returns the work seen. */
uint32_t fixture_step(struct fixture *fixture);
/* Rounds until nothing moves. */
void fixture_run(struct fixture *fixture);
void fixture_advance(struct fixture *fixture, uint64_t ns);

/* Puts a batch of records into a partition as if another client had written it, and marks it. */
void fixture_append(struct fixture *fixture, uint32_t slot, uint32_t records, uint32_t value_bytes);
/* Answers the oldest held append; rc OK appends it. */
void fixture_answer_held(struct fixture *fixture, uint32_t at, enum rc rc);

/* A batch of records with values of that size; returns its bytes. */
uint32_t fixture_batch(uint8_t *memory, uint32_t capacity, uint32_t records, uint32_t value_bytes);

struct fixture_produce {
    int16_t version;
    int16_t acks;
    const char *topic;
    int32_t partition;
    struct bytes records;
    const char *transactional_id;
};
/* Writes a Produce request of one partition; returns its bytes. */
uint32_t fixture_produce(struct fixture *fixture,
                         uint8_t *memory,
                         uint32_t capacity,
                         const struct fixture_produce *produce);

struct fixture_fetch {
    int16_t version;
    int32_t max_wait_ms;
    int32_t min_bytes;
    int32_t max_bytes;
    const char *topic;
    uint8_t id_byte;
    uint32_t partition_count; /* partitions 0 .. count - 1 */
    int32_t partition_max_bytes;
    int64_t offset;
    int32_t session_epoch;
    int8_t isolation_level;
};
/* fixture_log.c, for fixture.c only */
struct response fixture_log__answer(const struct request *request, enum rc rc);
void fixture_log__serve(struct fixture *fixture, const struct request *request);
uint64_t
fixture_log__append(struct fixture *fixture, uint32_t slot, const uint8_t *batch, uint32_t bytes);

/* The log tile forgets that a transaction is open. */
void fixture_close(struct fixture *fixture, uint32_t slot);
uint32_t fixture_fetch(struct fixture *fixture,
                       uint8_t *memory,
                       uint32_t capacity,
                       const struct fixture_fetch *fetch);

/* The next whole frame the client received, without its size field; at == NULL: none. */
struct bytes fixture_frame(struct fixture *fixture, uint32_t stream);
/* Its correlation id. */
int32_t fixture_frame_correlation(struct bytes frame);
/* Decodes frames; stop the test when they are not what they should be. Arena memory is never freed.
 */
struct kafka_produce_response
fixture_produce_response(struct bytes frame, int16_t version, int32_t correlation);
struct kafka_fetch_response
fixture_fetch_response(struct bytes frame, int16_t version, int32_t correlation);

/* Sends a fixture_produce and gives back its correlation id. */
int32_t fixture_produce_send(struct fixture *fixture,
                             uint32_t stream,
                             const struct fixture_produce *produce);
int32_t
fixture_fetch_send(struct fixture *fixture, uint32_t stream, const struct fixture_fetch *fetch);
bool fixture_closed(const struct fixture *fixture, uint32_t stream);
uint64_t fixture_counter(const _Atomic uint64_t *counter);

#endif
