/* The net tile: one queue of the native door. Datagrams in, sessions, record batches through the
 * byte rings to the log tiles, commits and fetched batches out.
 *
 * A tile (door_tile_ops) that owns one struct nic, the sessions of that queue, their pools, and one
 * byte ring per log tile. To the log tiles and to control it is a requester like a gate
 * (net/request/request.h). It makes no system call on a carrier that bypasses the kernel, allocates
 * nothing, and never waits for a disk. One poll:
 *
 *   0 grants   1 receive bursts   2 classify by header (length, version, session; unknown: silence)
 *   3 session_receive: open, order; DATA -> CRC of the batch -> byte ring -> REQUEST_PRODUCE
 *   4 publish descriptors once, release the burst   5 responses -> COMMIT, FETCHED, ANSWER,
 * RESOLVED 6 transmit: up to DOOR_SESSION_BURST datagrams a session, acks included   7 housekeeping
 *
 * Sessions are granted by the control exchange (net/exchange) through a ring, with keys ready made,
 * and given back the same way. Nothing is allocated for an address before its cookie verified; a
 * granted session that says no HELLO in DOOR_GRANT_NS is given back.
 *
 *   exchange ──door_grant──► door     door ──door_event {opened, closed}──► exchange
 *   door[i]  ──datagrams of door[j]'s sessions──► door[j]   (copied, counted: wrong tile)
 *
 * A session may hold as many of the shared places as are free still; one that is owed something and
 * makes no progress for idle_ns is closed (LIMIT). RETRYs: 64 at once, 100/s a session.
 *
 * Credit: min(window, room of the byte rings / active sessions, in datagrams), at least 1; without
 * room, data are dropped before any copy. Limits: struct door_limits, named as their settings. */
#ifndef EAGRE_NET_DOOR_DOOR_H
#define EAGRE_NET_DOOR_DOOR_H

#include "engine/base/diag.h"
#include "engine/metrics/metrics.h"
#include "engine/ring/byte_ring.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "engine/trace/trace.h"
#include "hw/clock/clock.h"
#include "hw/io/io.h"
#include "hw/nic/nic.h"
#include "net/session/door_grant.h"
#include "net/request/request.h"
#include "net/session/session.h"

#define DOOR_TILES_MAX WIRE_TILES_MAX
#define DOOR_SESSION_BURST 16u
#define DOOR_GRANT_NS (10 * NS_PER_S)
#define DOOR_FORWARD_SLOT_BYTES 40u /* of the rings between doors */

struct door_log_link {
    struct ring *requests;
    struct ring *responses;
    struct waker *waker;
    struct byte_ring *bytes; /* to this log tile; we produce */
};

/* The names in brackets are those of settings.def. */
struct door_limits {
    uint32_t sessions_max; /* [native.sessions_max] 1 .. 65536 */
    uint32_t window;       /* [native.window] packets in flight per session, 1 .. 256 */
    uint32_t packets_max;  /* [native.packets_max] slots of the session pool: unacknowledged and out
                              of order */
    uint32_t reorder_max;  /* [native.reorder_max] of these, out of order */
    uint32_t messages_max; /* [native.messages_max] batches under reassembly, 1 MiB each */
    uint32_t reads_max; /* [native.reads_max] fetches and subscriptions with a read buffer, 128 KiB
                           each */
    uint32_t subscriptions_max; /* [native.subscriptions_max] of one session */
    uint32_t calls_max;         /* [native.calls_max] Kafka requests under way */
    uint32_t produces_max; /* [native.produces_max] batches handed to log tiles and not answered */
    uint32_t topics_max;
    uint32_t partitions_max;
    uint64_t idle_ns; /* [native.idle_ms] */
};

/* Written by the door's core, read by anyone (relaxed). */
struct door_counters {
    _Atomic uint64_t datagrams;       /* received */
    _Atomic uint64_t unknown_session; /* silence was the answer */
    _Atomic uint64_t malformed;       /* no header of ours */
    _Atomic uint64_t hellos;
    _Atomic uint64_t retries;
    _Atomic uint64_t retries_withheld; /* too many for one session: silence was the answer */
    _Atomic uint64_t cookies_bad;
    _Atomic uint64_t address_wrong; /* a known session from an address that was not validated */
    _Atomic uint64_t forged;
    _Atomic uint64_t replayed;
    _Atomic uint64_t duplicates;
    _Atomic uint64_t no_credit;
    _Atomic uint64_t no_room;
    _Atomic uint64_t wrong_tile; /* forwarded to the tile that owns the session */
    _Atomic uint64_t retransmitted;
    _Atomic uint64_t batches;
    _Atomic uint64_t batch_bytes;
    _Atomic uint64_t batches_refused;
    _Atomic uint64_t commits;
    _Atomic uint64_t fetched_bytes;
    _Atomic uint64_t calls;
    _Atomic uint64_t sessions_opened;
    _Atomic uint64_t sessions_closed;
};
struct door_gauges {
    _Atomic uint64_t sessions;
    _Atomic uint64_t packets_used; /* slots of the pool */
    _Atomic uint64_t subscriptions;
};

struct door_config {
    uint32_t door_idx;
    uint16_t requester; /* index at the log tiles and control: gate count + door_idx + 1 */
    uint32_t io_tile;   /* this tile's index on its core */
    struct io *io;      /* to sleep on nic->wait_fd; not used by carriers that are polled */
    struct clock *clock;
    struct nic *nic; /* borrowed; closed by the caller */
    uint32_t log_tile_count;
    struct door_log_link logs[LOG_TILES_MAX];
    struct ring *control_requests;
    struct ring *control_responses;
    struct waker *control_waker;
    struct ring *grants; /* of struct door_grant; we consume */
    struct ring *events; /* of struct door_event; we produce */
    struct waker *exchange_waker;
    uint32_t door_count;
    struct byte_ring
        *forward_bytes[DOOR_TILES_MAX];   /* [door_count] to the other doors; own place NULL */
    struct ring *forward[DOOR_TILES_MAX]; /* descriptors beside them; we produce */
    struct byte_ring *forwarded_bytes[DOOR_TILES_MAX]; /* from the others; we consume */
    struct ring *forwarded[DOOR_TILES_MAX];
    struct waker *door_wakers[DOOR_TILES_MAX];
    struct door_limits limits;
    uint8_t cookie_secret[32];
    bool auth_none_allowed;       /* of the operator */
    struct metrics_tile *metrics; /* NULL: not counted */
    struct trace *trace;
};

struct door;

extern const struct tile_ops door_tile_ops;

void door_limits_default(struct door_limits *limits, uint64_t budget_bytes);
/* Bytes of memory that door_init() needs; only what is used is ever touched. */
uint64_t door_footprint(const struct door_config *config);
/* memory: door_footprint() bytes, 4 KiB aligned, all zero, borrowed until door_fini(). */
enum rc door_init(void *memory,
                  const struct door_config *config,
                  struct door **ret_door,
                  struct diag_trail *trail) MUST_USE;
void door_fini(struct door *door);
/* Ends every session with WIRE_CLOSE_SHUTDOWN after what is under way was committed, for two
 * seconds at most. Any thread; the caller wakes the core. */
void door_stop(struct door *door);
bool door_is_stopped(const struct door *door);

const struct door_counters *door_counters(const struct door *door);
const struct door_gauges *door_gauges(const struct door *door);

#endif
