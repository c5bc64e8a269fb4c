/* A control tile between scripted gates and log tiles, all in one thread and in memory.
 *
 * The log tiles keep partitions and batches in plain arrays and answer as engine/broker does;
 * answers can be held back, opens can be made to fail, and what is stored outlives a restart of
 * control. Gates send Kafka frames and note, in order, every answer and every snapshot that they
 * get. fixture_run() polls everybody until nothing moves. */
#ifndef EAGRE_TESTS_CONTROL_FIXTURE_H
#define EAGRE_TESTS_CONTROL_FIXTURE_H

#include "engine/control/control.h"
#include "log/append/log.h"
#include "net/kafka/kafka_client_codec.h"
#include "net/kafka/kafka_error.h"
#include "net/request/quota.h"
#include "net/request/topic_snapshot.h"

#define FIXTURE_PARTITIONS 512u
#define FIXTURE_BATCHES 256u
#define FIXTURE_EVENTS 4096u
#define FIXTURE_CALLS 64u
#define FIXTURE_REPLY_BYTES (1u << 20)

struct fixture_partition {
    bool live;
    bool named; /* opened since start: PRUNE keeps it */
    struct log_partition_config config;
    uint64_t start;
    uint64_t end;
    int32_t leader_epoch;
    uint8_t *batches[FIXTURE_BATCHES];
    uint32_t batch_count;
    struct request_producer producer; /* of the last admission or marker; id 0: none */
};

struct fixture_log {
    struct ring requests, responses, jobs, jobs_done;
    struct fixture_partition partitions[FIXTURE_PARTITIONS];
    struct response held[FIXTURE_EVENTS];
    uint32_t held_count;
    uint32_t opens, drops, prunes, stops, appends, finds, configures;
    uint32_t fail_open_at; /* the n-th open from now on fails; 0: none */
    enum rc fail_open_rc;
    enum rc fail_append_rc; /* RC_OK: appends work */
    uint32_t admits, markers;
    struct request last_transaction; /* admission or marker */
    enum rc fail_marker_rc;          /* RC_OK: markers are taken */
    bool hold;                       /* answers wait for fixture_release() */
};

enum fixture_event_kind { EVENT_TOPIC, EVENT_QUOTA, EVENT_DONE };
struct fixture_event {
    enum fixture_event_kind kind;
    uint64_t ctx;
    enum rc rc;
    uint32_t bytes;
    bool gone;
    bool closed;
    char name[TOPIC_NAME_MAX + 1];
    uint32_t partition_count;
    uint32_t batch_bytes_max;
    bool is_memory;
    struct quota_snapshot quota;
};

struct fixture_call {
    struct kafka_client_request request;
    uint8_t *frame;
    uint32_t frame_bytes;
    uint8_t *reply;
    bool done;
    enum rc rc;
    uint32_t bytes;
};

struct fixture_gate {
    struct ring requests, responses;
    struct fixture_event events[FIXTURE_EVENTS];
    uint32_t event_count;
    const void *kept[FIXTURE_EVENTS]; /* not given back while keep is set */
    uint32_t kept_count;
    bool keep;
};

struct fixture {
    struct control_config config;
    struct control *control;
    void *memory;
    uint64_t memory_bytes;
    struct clock clock;
    struct fixture_log logs[2];
    struct fixture_gate gates[2];
    struct fixture_call calls[FIXTURE_CALLS];
    uint32_t call_count;
    uint8_t *arena;
};

/* Two gates, two log tiles, topics on demand with 3 partitions. Not booted. */
struct fixture *fixture_new(uint64_t seed);
/* fixture_new() and boots; fails the test when that does not end in CONTROL_READY. */
struct fixture *fixture_ready(uint64_t seed);
/* Makes a new control over what the log tiles store (config may have been changed). Not booted. */
void fixture_restart(struct fixture *fixture);
/* Polls until nothing moves. */
void fixture_run(struct fixture *fixture);
void fixture_release(struct fixture *fixture, uint32_t log_tile);
void fixture_free(struct fixture *fixture);

/* Sends a request from a gate; returns its index in calls. */
uint32_t fixture_send(struct fixture *fixture,
                      uint32_t gate,
                      enum kafka_api_key key,
                      int16_t version,
                      const void *message);
/* Decodes the answer of a call, which must be there with RC_OK. */
void fixture_answer(struct fixture *fixture, uint32_t call, void *ret);
/* Sends, runs, decodes. */
void fixture_ask(struct fixture *fixture,
                 enum kafka_api_key key,
                 int16_t version,
                 const void *message,
                 void *ret);

struct bytes fixture_text(const char *text);
/* CreateTopics with one topic; returns the error code. */
int16_t fixture_create(struct fixture *fixture, const char *name, int32_t partitions);
int16_t fixture_delete(struct fixture *fixture, const char *name);
/* Asks for a coordinator until the log of the groups is there. */
void fixture_open_group_log(struct fixture *fixture);
/* The partition of a topic, found by its id through Metadata; NULL: there is none. */
struct fixture_partition *
fixture_find(struct fixture *fixture, const char *name, uint32_t partition);
/* Adds a batch as a producer would have. */
void fixture_store(struct fixture_partition *partition, const uint8_t *batch, uint32_t batch_bytes);
uint32_t fixture_live(
    const struct fixture *fixture); /* partitions in both log tiles, without the metadata log */

#endif
