/* Connections of the control exchange and what its files share. Private to net/exchange.
 *
 *   FREE ─► HANDSHAKE ─► JOINING ─► HELD ─► CLOSING ─► RETURNING ─► FREE
 *      └──(clear text)──────┘  │      │        ▲  └── no session ─────┘
 *            (any of the three)└► FAREWELL ────┘
 *
 * A connection has at most one receive and one send under way and keeps its descriptor until both
 * are over; it keeps its place until the door gave its session back. */
#ifndef EAGRE_NET_EXCHANGE_EXCHANGE_INTERNAL_H
#define EAGRE_NET_EXCHANGE_EXCHANGE_INTERNAL_H

#include "engine/pool/slab.h"
#include "net/exchange/credentials.h"
#include "net/exchange/exchange.h"
#include "net/exchange/stream.h"

#define EXCHANGE_NONE UINT32_MAX
/* The longest message that a client has reason to send is a JOIN with every name at its limit. */
#define EXCHANGE_MESSAGE_BYTES 1024u
#define EXCHANGE_FAREWELL_NS (1 * NS_PER_S)
#define EXCHANGE_ACCEPT_RETRY_NS (10 * NS_PER_MS)
#define EXCHANGE_RETRY_NS (1 * NS_PER_MS)
#define EXCHANGE_BURST 16u       /* connections worked on in one poll */
#define EXCHANGE_AUDIT_PER_S 10u /* lines about connections; the others are counted */
#define EXCHANGE_ID_TRIES 64u    /* to draw a session id that is not in use */

_Static_assert(WIRE_CONTROL_PREFIX_BYTES + WIRE_USER_MAX + WIRE_SECRET_MAX + WIRE_CONTROL_TEXT_MAX +
                       64 <=
                   EXCHANGE_MESSAGE_BYTES,
               "the longest JOIN fits");
_Static_assert(EXCHANGE_CONNECTIONS_MAX + 2 * EXCHANGE_PENDING_MAX < IO_REQUESTS_MAX * 3 / 4,
               "receives leave room for others");

enum exchange_state {
    EXCHANGE_FREE,
    EXCHANGE_HANDSHAKE, /* TLS is being negotiated */
    EXCHANGE_JOINING,   /* a whole JOIN is awaited */
    EXCHANGE_HELD,      /* stands for a session; only LEAVE may come */
    EXCHANGE_FAREWELL,  /* the last bytes go out, nothing more is read */
    EXCHANGE_CLOSING,   /* shut down; io requests are still under way */
    EXCHANGE_RETURNING, /* descriptor given back; the door still has the session */
    EXCHANGE_STATE_COUNT
};

/* Connections by deadline: entered at the end, so that the first is due first. */
struct exchange_list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

struct exchange_connection {
    int fd;
    uint8_t state; /* enum exchange_state */
    bool receiving;
    bool sending;
    bool queued;     /* on exchange.ready */
    bool arm_due;    /* a request found no room in the ring; tried again */
    bool revoke_due; /* the door has not been told yet that this session ends */
    uint8_t door;    /* of its session */
    uint32_t next_ready;
    struct exchange_list *list; /* the one it is on, or NULL */
    uint32_t prev;
    uint32_t next;
    uint64_t deadline_ns;   /* while on a list */
    uint32_t raw_count;     /* received, not fed to the stream yet */
    uint32_t received;      /* bytes in its life */
    uint32_t message_count; /* plain bytes that wait to be whole messages */
    uint32_t out_count;
    uint32_t out_sent;
    struct iovec iovec;
    struct session_cipher *cipher; /* lent to the door; NULL: no session */
    struct stream stream;
    uint8_t raw[STREAM_CHUNK_BYTES];
    uint8_t message[EXCHANGE_MESSAGE_BYTES];
    uint8_t out[STREAM_CHUNK_BYTES];
};

struct exchange_audit {
    uint64_t window_ns;
    uint32_t lines;
    uint32_t skipped;
};

struct exchange {
    struct exchange_config config;
    struct exchange_counters counters;
    struct stream_context *tls;      /* NULL: clear text */
    struct credentials *credentials; /* NULL: nobody is asked */
    struct slab connections;
    uint32_t *session_ids; /* [connections.count]; 0: none. Apart, so that a scan is short */
    uint32_t session_count;
    uint32_t door_sessions[WIRE_TILES_MAX];
    uint32_t epoch; /* of this start, in every GRANT */
    struct exchange_list pending;
    struct exchange_list farewell;
    uint32_t ready_first;
    uint32_t ready_last;
    uint32_t open_count; /* connections with a descriptor */
    uint32_t revokes_due;
    bool arms_due;
    bool accepting;
    bool stopping;
    uint64_t accept_at_ns;
    uint64_t now_ns;
    struct exchange_audit audit;
    void *memory;                                    /* of the tables */
    _Alignas(BASE_LINE_BYTES) _Atomic uint32_t stop; /* written by any thread */
    _Atomic uint32_t stopped;                        /* written by ours */
};

#define EXCHANGE_TAG_ACCEPT (UINT64_C(1) << 32)
#define EXCHANGE_TAG_RECEIVE (UINT64_C(2) << 32)
#define EXCHANGE_TAG_SEND (UINT64_C(3) << 32)
#define EXCHANGE_TAG_KIND (UINT64_C(3) << 32)

static ALWAYS_INLINE struct exchange_connection *
exchange__connection(struct exchange *exchange, uint32_t idx)
{
    return slab_at(&exchange->connections, idx);
}

static ALWAYS_INLINE void
exchange__count(_Atomic uint64_t *counter)
{
    /* Single writer; readers are metrics. */
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* connection.c */
/* Takes fd over. False: no place; fd is the caller's still. */
bool exchange_connection__open(struct exchange *exchange, int fd) MUST_USE;
void exchange_connection__received(struct exchange *exchange, uint32_t idx, int32_t result);
void exchange_connection__sent(struct exchange *exchange, uint32_t idx, int32_t result);
/* Works on what was received. */
void exchange_connection__run(struct exchange *exchange, uint32_t idx);
/* Keeps a send under way while there is something to send, else a receive where more is wanted. */
void exchange_connection__arm(struct exchange *exchange, uint32_t idx);
/* JOINING -> HELD. */
void exchange_connection__hold(struct exchange *exchange, uint32_t idx);
/* Sends what was written, then closes. */
void exchange_connection__farewell(struct exchange *exchange, uint32_t idx);
/* Ends it now; its session is revoked. Closing twice is allowed. */
void exchange_connection__close(struct exchange *exchange, uint32_t idx);
/* The door gave the session back. */
void exchange_connection__returned(struct exchange *exchange, uint32_t idx);
/* Tells the door that the session ends; false: its ring is full. */
bool exchange_connection__revoke(struct exchange *exchange, uint32_t idx) MUST_USE;
/* Whole messages to the peer, at most STREAM_CHUNK_BYTES. */
void exchange_connection__write(struct exchange *exchange,
                                uint32_t idx,
                                const uint8_t *at,
                                uint32_t count);

/* join.c */
/* Answers a JOIN with a GRANT (the connection is HELD) or a REFUSED (it says farewell). */
void join__run(struct exchange *exchange, uint32_t idx, struct bytes body);
/* Refuses what came instead of a JOIN. */
void join__malformed(struct exchange *exchange, uint32_t idx);
/* "event peer=... text", unless too many were written in this second. */
void join__audit(struct exchange *exchange, uint32_t idx, const char *event, const char *text);

#endif
