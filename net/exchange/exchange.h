/* The control exchange: the TCP side of the native door. It checks who a client is, draws the keys
 * of its session, tells it where to send, and holds the connection open as long as the session
 * lives.
 *
 * A tile (exchange_tile_ops) on control's core, because TLS handshakes and OpenSSL's allocations
 * must delay no record. Bytes move through hw/io and hw/tcp; TLS 1.3 runs over memory BIOs.
 * Messages: net/wire/wire_control.h.
 *
 *   accept ─► [TLS handshake] ─► JOIN ─► credentials ─► keys ─► door_grant ═► door
 *                                  │          └► REFUSED, close          ◄═ door_event
 *                                  └► GRANT ─► held open ─► closed by either side ─► revoke ═► door
 *
 * Clear text is served only where the listener is a loopback address and no certificate is set; a
 * certificate makes TLS the only way. With a credential file every JOIN needs user and secret; the
 * comparison is constant-time and an unknown user costs the same. auth = none is granted only where
 * the operator set native.auth = none, which is refused at start on a public interface.
 *
 * With auth AEAD set, a client that wishes auth none is refused rather than surprised; with auth
 * none set, a client that wishes AEAD gets it.
 *
 * Limits: connections_max sessions; EXCHANGE_PENDING_MAX connections beside them that have not
 * joined yet (the oldest gives way to a newcomer, so a flood of mute connections cannot lock the
 * door); EXCHANGE_JOIN_NS to come to a JOIN, from accept on; EXCHANGE_BYTES_MAX received bytes in a
 * connection's life. The tables are allocated at creation. OpenSSL allocates beside them, per
 * connection and no more than EXCHANGE_TLS_BYTES_MAX, which the limit of received bytes sees to:
 * at most (connections_max + EXCHANGE_PENDING_MAX) x EXCHANGE_TLS_BYTES_MAX.
 *
 * Life: create, core_add(exchange_tile_ops), run; exchange_stop() after the doors were told to
 * stop, or their sessions end before what they have under way is committed; destroy when neither
 * this core nor a door's runs any more, because ciphers that no door gave back end there. */
#ifndef EAGRE_NET_EXCHANGE_EXCHANGE_H
#define EAGRE_NET_EXCHANGE_EXCHANGE_H

#include "engine/base/diag.h"
#include "engine/ring/ring.h"
#include "engine/tile/tile.h"
#include "hw/clock/clock.h"
#include "hw/io/io.h"
#include "hw/tcp/tcp.h"
#include "net/session/door_grant.h"
#include "net/wire/wire_control.h"

#define EXCHANGE_JOIN_NS (5 * NS_PER_S)
#define EXCHANGE_CREDENTIALS_MAX 1024u
/* Each connection that is held keeps one receive under way, and a ring has IO_REQUESTS_MAX for all
 * tiles of its core. */
#define EXCHANGE_CONNECTIONS_MAX 2048u
#define EXCHANGE_PENDING_MAX 128u
#define EXCHANGE_BYTES_MAX (16 * KIB)
#define EXCHANGE_TLS_BYTES_MAX (96 * KIB)

struct exchange_door_link {
    struct ring *grants; /* of struct door_grant; we produce */
    struct ring *events; /* of struct door_event; we consume */
    struct waker *waker;
    uint16_t port; /* UDP */
};

struct exchange_config {
    uint32_t io_tile;
    struct io *io;
    struct tcp *tcp;
    struct clock *clock;
    int listener_fd; /* borrowed */
    uint32_t door_count;
    struct exchange_door_link doors[WIRE_TILES_MAX];
    uint32_t connections_max;   /* [native.sessions_max] over all doors, at most
                                   EXCHANGE_CONNECTIONS_MAX */
    uint32_t door_sessions_max; /* places of one door; 0: connections_max */
    uint8_t ip[16];             /* where the data go; all zero: where the connection came in */
    uint32_t datagram_bytes_max;
    uint16_t window;
    uint32_t idle_ms;
    uint64_t broker_id;
    enum wire_auth auth;         /* [native.auth] */
    const char *tls_certificate; /* [native.tls_certificate] PEM chain; "": clear text */
    const char *tls_key;         /* [native.tls_key] PEM, a file that others cannot read */
    const char
        *credentials; /* [native.credentials] lines "user:secret"; 0600; "": nobody is asked */
    bool is_loopback; /* what the listener is bound to */
    bool is_private;
};

/* Written by control's core, read by anyone (relaxed). */
struct exchange_counters {
    _Atomic uint64_t accepted;
    _Atomic uint64_t refused_limit; /* sessions, pending connections, descriptors or memory */
    _Atomic uint64_t refused_credentials;
    _Atomic uint64_t refused_protocol; /* malformed or out of place, version, auth, datagram size */
    _Atomic uint64_t refused_busy;     /* the ring to the door was full */
    _Atomic uint64_t failed_tls;
    _Atomic uint64_t timed_out;
    _Atomic uint64_t granted;
    _Atomic uint64_t sessions; /* a gauge: held open */
};

struct exchange;
extern const struct tile_ops exchange_tile_ops;

/* Reads certificate, key and credentials; RC_DENIED (permissions, public interface without TLS or
 * with auth none), RC_INVALID, RC_NO_MEMORY; cause in trail. Allocates: yes. */
enum rc exchange_create(const struct exchange_config *config,
                        struct exchange **ret_exchange,
                        struct diag_trail *trail) MUST_USE;
void exchange_destroy(struct exchange *exchange);
/* Closes the listener's accept and every connection; any thread, the caller wakes the core. */
void exchange_stop(struct exchange *exchange);
bool exchange_is_stopped(const struct exchange *exchange);
const struct exchange_counters *exchange_counters(const struct exchange *exchange);

#endif
