/* A native session: order, acknowledgement, loss, credit, encryption. Both roles; a pure state
 * machine on the time that is handed in.
 *
 * One struct session per peer, owned by one core. It knows datagrams and frames, not sockets,
 * topics or rings: its user hands it datagrams and takes what is deliverable, writes frames and
 * takes the datagrams to send.
 *
 *     in:   session_receive(session, datagram, ...);
 *           while (session_take(session, room, &frames)) ... wire_frame_next(&frames, &frame) ...
 *     out:  at = session_reserve(session, bytes); ... session_commit(session, used);
 *           while ((count = session_transmit(session, now, datagram, capacity)) > 0) ... send ...
 *     time: session_tick(session, now) when session_deadline(session) has come
 *
 *            client                                   server
 *   HELLO_SENT --RETRY(cookie)--> HELLO_SENT      GRANTED (keys known, nothing allocated)
 *       | READY                                       | HELLO with a good cookie -> READY
 *       v                                             v
 *     OPEN <--------------- frames --------------->  OPEN --CLOSE, silence, keys used up--> CLOSED
 *
 * Reliability: see net/wire: packet numbers name transmissions, sequences name what is delivered;
 * both start at 1. A packet is lost when one sent three packets later has arrived, or after the
 * probe timeout; what it carried goes out again under a new packet number. The window is the least
 * of the peer's credit, the SACK width and a delay-based congestion window. An acknowledged packet
 * is kept by its receiver: nothing is taken back.
 *
 * Memory: a struct session has fixed size; packets that wait for their ack, and packets that came
 * out of order, lie in slots of a struct session_pool shared by all sessions of a core, so silence
 * or a gap costs at most what its limits say. All calls: Runs on: the owner.  Allocates: nothing.
 * Blocks: never. */
#ifndef EAGRE_NET_SESSION_SESSION_H
#define EAGRE_NET_SESSION_SESSION_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/rc.h"
#include "net/session/cipher.h"
#include "net/wire/wire.h"

#define SESSION_WINDOW_MAX WIRE_SACK_BITS
#define SESSION_REPLAY_BITS 1024u
#define SESSION_LOSS_PACKETS 3u

enum session_role { SESSION_CLIENT, SESSION_SERVER };

enum session_state {
    SESSION_FREE,       /* not in use */
    SESSION_GRANTED,    /* server: keys known from the control exchange, no HELLO with a good cookie
                           yet */
    SESSION_HELLO_SENT, /* client: waiting for RETRY or READY; HELLO is repeated */
    SESSION_OPEN,       /* frames flow */
    SESSION_CLOSED,     /* over; session_close_code() says why */
};

/* Slots of one size for packets in flight and packets out of order; newest first. */
struct session_pool;
size_t session_pool_footprint(uint32_t slot_count, uint32_t datagram_bytes_max);
/* memory: borrowed, 64-byte aligned. reorder_max: slots that packets out of order may take. */
struct session_pool *session_pool_init(void *memory,
                                       uint32_t slot_count,
                                       uint32_t reorder_max,
                                       uint32_t datagram_bytes_max);
uint32_t session_pool_used(const struct session_pool *pool);

/* Times in ns. Zero takes the preset in brackets. */
struct session_config {
    enum session_role role;
    uint32_t session_id;
    struct session_pool *pool;
    struct session_cipher *cipher; /* borrowed; holds both directions' keys or is plain */
    uint32_t datagram_bytes_max;   /* [1200, pool's] */
    uint32_t window;               /* packets, [1, SESSION_WINDOW_MAX] [256] */
    uint64_t ack_delay_ns;         /* longest that an ack may wait [1 ms] */
    uint32_t ack_every;            /* an ack at least every so many sequenced packets [2] */
    uint64_t probe_floor_ns;       /* least probe timeout [5 ms on sockets, 1 ms on dpdk] */
    uint64_t delay_target_ns; /* queueing delay that the congestion window aims at [1 ms, dpdk 50
                                 us]; UINT64_MAX: fixed window */
    uint64_t heartbeat_ns;    /* a PING after so much silence of ours [1 s] */
    uint64_t idle_ns;         /* silence of the peer that ends the session [10 s] */
    uint64_t rekey_packets;   /* [2^32] */
    uint64_t rekey_ns;        /* [1 h] */
};

struct session_counters {
    uint64_t received_packets;    /* authentic */
    uint64_t received_replayed;   /* packet number seen before or too old */
    uint64_t received_forged;     /* tag or CRC wrong */
    uint64_t received_malformed;  /* no packet of ours, not of this state, or malformed inside */
    uint64_t received_duplicates; /* authentic, sequence known */
    uint64_t received_reordered;
    uint64_t dropped_no_credit; /* sequence beyond what was granted */
    uint64_t dropped_no_room;   /* it had to wait and the reorder share had no slot */
    uint64_t sent_packets;
    uint64_t retransmitted;
    uint64_t probes; /* probe timeouts */
    uint64_t rekeys;
};

struct session; /* session_inner.h; fixed size */
size_t session_footprint(void);
/* memory: session_footprint() bytes, 64-byte aligned. The client starts in HELLO_SENT and will
 * transmit a HELLO; the server starts in GRANTED. */
void session_init(struct session *session, const struct session_config *config, uint64_t now_ns);
/* Gives all slots back; the state becomes FREE. Twice is allowed. */
void session_fini(struct session *session);

enum session_state session_state(const struct session *session);
/* enum wire_close_code, ours or the peer's; UINT16_MAX: silence, or not closed. */
uint16_t session_close_code(const struct session *session);
/* What the one who closed it said to people; "" when nothing. Borrowed until session_init(). */
const char *session_close_text(const struct session *session);
const struct session_counters *session_counters(const struct session *session);
/* Smoothed round trip and its deviation in ns; 0 before the first sample. */
uint64_t session_rtt_ns(const struct session *session);

/* Server: a HELLO whose cookie was verified (cookie.h); byte_count at most NIC_DATAGRAM_BYTES_MAX.
 * True: authentic and new, the session is OPEN and a READY will be transmitted, to the address that
 * the cookie proved. For an OPEN session READY is repeated: the client did not get it, or moved. */
bool session_accept_hello(struct session *session,
                          const uint8_t *datagram,
                          uint32_t byte_count,
                          uint64_t now_ns) MUST_USE;

enum session_received {
    SESSION_RECEIVED,  /* authentic and new; session_take() may have something, session_transmit()
                          too; the session may be CLOSED by it */
    SESSION_DUPLICATE, /* authentic, but nothing new in it */
    SESSION_DROPPED,   /* forged, replayed, malformed, without credit or without room: counted,
                          at most its acks were read */
};
/* One datagram of this session (its header names it). Cheap checks first, then the cipher. HELLO is
 * not for here.
 *
 * datagram    [byte_count], borrowed until session_take() returned false or the next call: what is
 *             in order is handed on from where it lies (plain) or from the scratch buffer (sealed).
 * scratch     [datagram_bytes_max] of the caller: where it is opened.
 * room_bytes  What the caller can take of frames now; a sequenced packet in order that is longer
 *             waits in a slot like one out of order, or is dropped when none is free. */
enum session_received session_receive(struct session *session,
                                      const uint8_t *datagram,
                                      uint32_t byte_count,
                                      uint8_t *scratch,
                                      uint32_t room_bytes,
                                      uint64_t now_ns);

/* The frames of the next sequenced packet whose turn it is; never empty. They begin with a frame of
 * the user's; frames that the session has dealt with (type <= WIRE_FRAME_CLOSE: ACK, PING, CLOSE,
 * PADDING) may stand between and behind: skip them. All are well formed, wire_frame_next() reaches
 * the end; bodies are the user's to check. False: nothing, or the next one is longer than
 * room_bytes: then call again when there is room, it is acknowledged and comes from nowhere else.
 * *ret_frames is borrowed until the next call of session_take(), session_receive(), session_close()
 * or session_fini(). To be called until false after each session_receive(). */
bool session_take(struct session *session, uint32_t room_bytes, struct bytes *ret_frames) MUST_USE;

/* How many packets the peer may have sent beyond what was taken, [0, SESSION_WINDOW_MAX]; at first
 * config.window. The border moves on with each packet taken, and is told to the peer by the next
 * ACK frame (at once when it runs dry); a user whose room is measured in something else sets it
 * again before each round of session_transmit(). Takes nothing back that was told. */
void session_grant(struct session *session, uint32_t packets);

/* Room for one sequenced frame of up to frame_bytes (header included) at the end of the packet
 * under construction, or NULL when the window is full, the pool empty or the session not OPEN
 * (load). frame_bytes in [1, session_frame_bytes_max()]. To be followed by session_commit() before
 * any other call. */
uint8_t *session_reserve(struct session *session, uint32_t frame_bytes) MUST_USE;
/* The frame reserved last is complete with so many bytes (0: nothing was written). */
void session_commit(struct session *session, uint32_t frame_bytes);
uint32_t session_frame_bytes_max(const struct session *session);
/* Sequenced packets that can be begun now: min(window, pool). */
uint32_t session_window(const struct session *session);
/* Sequenced packets not acknowledged yet. */
uint32_t session_unacked(const struct session *session);
/* The first sequence that the peer has not acknowledged with all before it; never goes back. */
uint64_t session_acked(const struct session *session);

/* A PING of the user with its token (not UINT64_MAX), sent once; session_pong() tells when the
 * answer to the last one came. */
void session_ping(struct session *session, uint64_t token);
bool session_pong(struct session *session, uint64_t *ret_token) MUST_USE;

/* The next datagram to send now: handshake, new frames, retransmissions, acks, probes. Returns its
 * bytes, 0 for none. capacity at least datagram_bytes_max. */
uint32_t
session_transmit(struct session *session, uint64_t now_ns, uint8_t *datagram, uint32_t capacity);
/* Loss detection and time-outs. */
void session_tick(struct session *session, uint64_t now_ns);
/* When session_tick() or session_transmit() has something to do; <= now: at once; UINT64_MAX:
 * never. */
uint64_t session_deadline(const struct session *session);

/* Ends it; one CLOSE goes out with the next session_transmit(). text may be NULL. */
void session_close(struct session *session, uint16_t code, const char *text);

#endif
