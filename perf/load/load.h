/* The Kafka load generator's parts: options, wire bytes, connections. One thread, one epoll;
 * bounded by time.
 *
 * Requests are encoded once, before the clock starts, and leave in coalesced writes: the generator
 * costs a few hundred nanoseconds per request, so on a shared machine it measures the server and
 * not itself. */
#ifndef EAGRE_PERF_LOAD_LOAD_H
#define EAGRE_PERF_LOAD_LOAD_H

#include "engine/base/bytes.h"
#include "perf/load/histogram.h"
#include "perf/load/process.h"

#define LOAD_CONNECTIONS_MAX 64u
#define LOAD_IN_FLIGHT_MAX 512u
#define LOAD_RECEIVE_BYTES (UINT32_C(4) << 20)

struct load_options {
    const char *host;
    const char *port;
    const char *topic;
    const char *mode;      /* "produce" or "fetch" */
    const char *probe_dir; /* where the raw device write is measured; NULL: not */
    uint32_t partitions;   /* connection i uses partition i % partitions */
    uint32_t connections;
    uint32_t in_flight;
    uint32_t batch_records;
    uint32_t record_bytes;
    double seconds;
    double warmup_seconds;
    double rate; /* requests per second over all connections, open loop; 0: closed loop */
    int16_t acks;
    bool spread;    /* over all partitions, not one per connection */
    int server_pid; /* for CPU seconds; 0: not */
    bool json;
};

struct load_connection {
    int fd;
    uint32_t partition;
    uint32_t in_flight;
    uint32_t write_at; /* bytes of the first unsent request already sent */
    uint32_t to_send;  /* requests due and not wholly sent */
    uint8_t *receive;  /* [LOAD_RECEIVE_BYTES] */
    uint32_t received;
    /* Encoded requests of request_bytes each, length in front, sent in turn: one, or with --spread
     * one for each partition of this connection (idx, idx + connections, ...). */
    uint8_t *requests; /* [request_count][request_bytes] */
    uint32_t request_count;
    uint32_t request_bytes;
    uint64_t sent_total;     /* requests wholly handed to the socket */
    uint64_t answered_total; /* answers come in the same order */
    uint64_t *next_offsets;  /* [request_count]; fetch: where to read next; produce: lowest that may
                                come */
    uint64_t sent_ns[LOAD_IN_FLIGHT_MAX]; /* FIFO; intended send time in open loop */
    uint32_t sent_first;
    uint32_t sent_count;
    uint64_t
        next_offset; /* fetch: where to read next; produce: the lowest base offset that may come */
    bool watches_write;
};

struct load_result {
    uint64_t requests;
    uint64_t records;
    uint64_t bytes;
    uint64_t errors;
    int16_t first_error;
    double elapsed_s;
    double server_cpu_s;
    double client_cpu_s;
    uint64_t device_p50_ns; /* 4 KiB O_DIRECT|O_DSYNC overwrite, same run */
    uint64_t device_p99_ns;
    struct histogram latency;
};

struct load {
    struct load_options options;
    struct load_connection connections[LOAD_CONNECTIONS_MAX];
    struct load_result result;
    int epoll_fd;
    bool measuring; /* past the warm-up */
    bool caught_up; /* fetch: an answer was empty */
    uint64_t last_answer_ns;
    bool draining; /* send nothing more */
};

/* wire.c: encodes one whole Produce v7 request (length first) for a partition; returns its bytes.
 */
uint32_t load_encode_produce(const struct load_options *options,
                             uint32_t partition,
                             uint8_t *to,
                             size_t capacity);
uint32_t load_encode_fetch(const struct load_options *options,
                           uint32_t partition,
                           uint64_t offset,
                           uint8_t *to,
                           size_t capacity);
/* Upper bound of either request's bytes. */
size_t load_request_bytes_max(const struct load_options *options);
/* A response body (after the length): error code, and base offset (produce) or next offset, records
 * and bytes (fetch). */
struct load_answer {
    int16_t error;
    uint64_t offset;
    uint64_t records;
    uint64_t bytes;
    bool malformed;
};
struct load_answer load_decode_produce(const uint8_t *body, uint32_t count);
struct load_answer load_decode_fetch(const uint8_t *body, uint32_t count, uint64_t asked_offset);

/* run.c */
int load_run(struct load *load);

/* probe.c: the device's own figures of the same run. */
void load_probe_device(const char *directory, struct load_result *result);

#endif
