/* The gate: Kafka clients' TCP connections of one core. It parses, checks and answers; it touches
 * no file and never waits.
 *
 * A tile (gate_tile_ops) that owns its connections, their receive blocks and replies. Records go to
 * the log tiles, everything else that is not Produce, Fetch or ApiVersions to the control tile,
 * through one pair of rings each (net/request/request.h).
 *
 *   client -> IO_RECV -> block -> frame -> batch checked in place -> REQUEST_PRODUCE -> log tile
 *   client <- IO_SENDV <- slots in order <- reply patched <------------ response <------'
 *
 * Life: gate_init() at start, gate_tile_ops from the core's loop, gate_stop() from any thread,
 * polling until gate_is_stopped(), gate_fini(). Limits: struct gate_limits, every one with the name
 * of its setting; reaching one refuses, waits or closes and is counted. Invariants G1 to G9 are in
 * README.md. */
#ifndef EAGRE_NET_GATE_GATE_H
#define EAGRE_NET_GATE_GATE_H

#include "engine/base/diag.h"
#include "engine/metrics/metrics.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "engine/trace/trace.h"
#include "hw/clock/clock.h"
#include "hw/io/io.h"
#include "hw/tcp/tcp.h"
#include "net/request/quota.h"
#include "net/request/request.h"

#include <stdatomic.h>

/* One way to another tile: the gate is the producer of requests and the consumer of responses. */
struct gate_link_config {
    struct ring *requests;  /* of struct request */
    struct ring *responses; /* of struct response; its slot count bounds what may be outstanding */
    struct waker *waker;    /* of the tile's core; NULL: it need not be woken (tests) */
};

/* The names in brackets are those of settings.def. */
struct gate_limits {
    uint32_t connections_max; /* [connections.max] 1 .. 16384 */
    uint32_t
        connection_requests_max; /* [connection.requests_max] 64 .. 4096: pipelined, unanswered */
    uint32_t requests_max;       /* [gate.requests_max] over all connections, 64 .. 32768 */
    uint32_t request_bytes_max;  /* [request.bytes_max] a frame, Produce included */
    uint32_t request_whole_bytes_max; /* [request.whole_bytes_max] a frame that is received whole */
    uint32_t fetch_bytes_max;      /* [fetch.bytes_max] of one Fetch response, or one whole batch */
    uint32_t fetches_max;          /* [fetch.parked_max] Fetch requests under way or parked */
    uint32_t fetch_partitions_max; /* [fetch.partitions_max] in one Fetch request */
    uint32_t topics_max;           /* [topics.max] */
    uint32_t partitions_max;       /* [partitions.max] also the bound of slots of one log tile */
    uint64_t ingest_bytes; /* [gate.ingest_bytes] receive blocks beyond the first 4 KiB; multiple of
                              4 KiB */
    uint64_t response_bytes; /* [gate.response_bytes] fetched data and large replies; multiple of 4
                                KiB */
    uint64_t idle_ns;        /* [connection.idle_ms] nothing asked and nothing owed */
    uint64_t fetch_wait_ns;  /* [fetch.wait_ms_max] longest that a Fetch may be parked */
    uint64_t progress_ns; /* [connection.progress_ms] a started request or a reply must move on */
    uint64_t stop_ns;     /* [gate.stop_ms] how long gate_stop() lets requests finish */
    uint32_t quota_entities_max; /* [quota.entities_max] client ids with limits of their own */
    uint32_t quota_clients_max;  /* [quota.clients_max] client ids whose use is counted apart */
};

/* Sensible limits for a budget: three eighths for ingest, three eighths for responses, the rest for
 * tables. budget_bytes at least 24 MiB. */
void gate_limits_default(struct gate_limits *limits, uint64_t budget_bytes);

/* Why a connection was closed by us. */
enum gate_close_reason {
    GATE_CLOSE_PEER,        /* the client ended it */
    GATE_CLOSE_IO,          /* receive or send failed */
    GATE_CLOSE_FRAME,       /* frame length negative, too short or beyond the limit */
    GATE_CLOSE_UNSUPPORTED, /* unknown API key or version */
    GATE_CLOSE_MALFORMED,   /* a request does not parse */
    GATE_CLOSE_UNPROVEN,    /* more than 16 KiB before the first valid request */
    GATE_CLOSE_LIMIT,       /* a reply or request needs more than a limit allows */
    GATE_CLOSE_ACKS_NONE,   /* an acks=0 request failed: the only way to say so */
    GATE_CLOSE_IDLE,        /* connection.idle_ms */
    GATE_CLOSE_PROGRESS,    /* connection.progress_ms: slow sender, slow reader or no memory for too
                               long */
    GATE_CLOSE_STOP,        /* gate_stop() */
    GATE_CLOSE_COUNT
};

/* Written by the gate's core, read by anyone (relaxed). Never go back. */
struct gate_counters {
    _Atomic uint64_t connections_accepted;
    _Atomic uint64_t connections_refused; /* connections.max */
    _Atomic uint64_t connections_closed[GATE_CLOSE_COUNT];
    _Atomic uint64_t accept_errors;
    _Atomic uint64_t requests_produce;
    _Atomic uint64_t requests_fetch;
    _Atomic uint64_t requests_other;
    _Atomic uint64_t batches;
    _Atomic uint64_t batch_bytes;
    _Atomic uint64_t batches_refused; /* answered with an error, by the gate or the log tile */
    _Atomic uint64_t fetch_bytes;
    _Atomic uint64_t fetches_parked;
    _Atomic uint64_t fetches_unarmed; /* parked without a mark to wait for: polled */
    _Atomic uint64_t marks;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t waits_slots;    /* connection.requests_max or gate.requests_max */
    _Atomic uint64_t waits_ingest;   /* gate.ingest_bytes */
    _Atomic uint64_t waits_response; /* gate.response_bytes */
    _Atomic uint64_t waits_link;     /* a log tile's or control's rings */
    _Atomic uint64_t topics_refused; /* topics.max or partitions.max */
    _Atomic uint64_t quota_throttles[QUOTA_KIND_COUNT]; /* answers that told of a pause, by limit */
    _Atomic uint64_t quota_throttle_ns[QUOTA_KIND_COUNT]; /* those pauses */
    _Atomic uint64_t quota_shared;                        /* quota.clients_max */
};

/* Gauges of the same kind. */
struct gate_gauges {
    _Atomic uint64_t connections;
    _Atomic uint64_t requests;
    _Atomic uint64_t fetches;         /* under way or parked */
    _Atomic uint64_t fetches_waiting; /* parked */
    _Atomic uint64_t ingest_used_bytes;
    _Atomic uint64_t response_used_bytes;
    _Atomic uint64_t connections_muted; /* read nothing now because of a limit */
    _Atomic uint64_t clients_muted;     /* client ids of these */
};

struct gate_config {
    uint32_t gate_idx;   /* requester is gate_idx + 1 */
    uint32_t gate_count; /* that share a client's limits; 0: one */
    uint32_t io_tile;    /* this tile's index on its core, for io_tag() */
    struct io *io;
    struct tcp *tcp;
    struct clock *clock;
    int listener_fd;         /* borrowed; -1: none (tests add connections with gate_adopt()) */
    uint32_t log_tile_count; /* [1, LOG_TILES_MAX] */
    struct gate_link_config logs[LOG_TILES_MAX]; /* [log_tile_count] */
    struct gate_link_config control;
    struct gate_limits limits;
    struct metrics_tile *metrics; /* what struct gate_counters does not hold; NULL: not counted */
    struct trace *trace;          /* NULL: no stamps */
};

struct gate;

extern const struct tile_ops gate_tile_ops;

/* Bytes of memory that gate_init() needs; only what is used is ever touched. */
uint64_t gate_footprint(const struct gate_config *config);

/* memory: gate_footprint() bytes, 4 KiB aligned and all zero (a fresh mapping), borrowed until
 * gate_fini(). The first accept is queued by the first poll. RC_INVALID (with cause in trail) when
 * a limit is out of range. Runs on: start-up.  Allocates: nothing.  Blocks: never. */
enum rc gate_init(void *memory,
                  const struct gate_config *config,
                  struct gate **ret_gate,
                  struct diag_trail *trail) MUST_USE;

/* Closes what is still open. The io must be idle or gone. NULL is allowed. */
void gate_fini(struct gate *gate);

/* Takes over a connected stream as if it had been accepted. False: connections.max; fd stays the
 * caller's. Runs on: the gate's core. */
bool gate_adopt(struct gate *gate, int fd) MUST_USE;

/* Stops accepting and reading; what is under way is answered, for stop_ns at most, then everything
 * is closed. Any thread; the caller wakes the gate's core. */
void gate_stop(struct gate *gate);
/* True when nothing is open or under way any more. Any thread. */
bool gate_is_stopped(const struct gate *gate);

const struct gate_counters *gate_counters(const struct gate *gate);
const struct gate_gauges *gate_gauges(const struct gate *gate);

#endif
