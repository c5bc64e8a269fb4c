/* An exchange on a real loopback listener and a real io ring, with virtual time, scripted doors and
 * clients in the same thread. */
#ifndef EAGRE_TESTS_UNIT_NET_EXCHANGE_FIXTURE_H
#define EAGRE_TESTS_UNIT_NET_EXCHANGE_FIXTURE_H

#include "net/exchange/exchange.h"

#include <openssl/ssl.h>

#define FIXTURE_DOORS 3u
#define FIXTURE_TILE 2u
#define FIXTURE_PORT 9100u /* of the first door; they follow each other */

struct fixture_options {
    uint32_t connections_max; /* 0: 8 */
    uint32_t door_count;      /* 0: 1 */
    uint32_t door_sessions_max;
    uint32_t ring_slots; /* 0: 16 */
    bool tls;
    enum wire_auth auth;
    const char *credentials; /* lines of the file; NULL: nobody is asked */
};

struct fixture {
    char directory[64];
    struct io *io;
    struct io gate;        /* what the exchange submits to: the ring, unless it is full */
    uint32_t refuse_every; /* 2: every second request finds the ring full; 0: none does */
    uint32_t submits;
    struct clock clock;
    struct ring grants[FIXTURE_DOORS];
    struct ring events[FIXTURE_DOORS];
    struct waker wakers[FIXTURE_DOORS];
    struct exchange_config config;
    struct exchange *exchange;
    int listener;
    uint16_t port;
    uint32_t descriptors; /* open before the first client */
    bool pumping;
};

/* "/tmp/eagre-exchange-XXXXXX/name", removed at the end of the test's process. */
void fixture_path(struct fixture *fixture, const char *name, char path[128]);
/* Writes a file with these permissions. */
void fixture_file(const char *path, const char *text, unsigned mode);
/* A self-signed certificate and its key (mode 0600), as PEM. */
void fixture_certificate(const char *certificate, const char *key);
/* Directory and a configuration that exchange_create() takes, without an exchange. */
void fixture_prepare(struct fixture *fixture, const struct fixture_options *options);
void fixture_start(struct fixture *fixture, const struct fixture_options *options);
/* Stops the exchange, asserts that it gave everything back, and removes the directory. */
void fixture_finish(struct fixture *fixture);
void fixture_remove(struct fixture *fixture);

/* Runs the tile until nothing happens any more. */
void fixture_pump(struct fixture *fixture);
void fixture_advance(struct fixture *fixture, uint64_t ns);
uint32_t fixture_descriptors(void);
uint64_t fixture_count(const _Atomic uint64_t *counter);

/* What the door was told; false: nothing. */
bool door_take(struct fixture *fixture, uint32_t door, struct door_grant *ret) MUST_USE;
/* DOOR_CLOSED. */
void door_give(struct fixture *fixture, const struct door_grant *grant);

/* A client. */
struct peer {
    struct fixture *fixture;
    int fd;
    SSL *tls;
    bool ended;        /* the server closed */
    bool said_goodbye; /* TLS: with close_notify */
    uint8_t in[8192];
    uint32_t in_count;
};

void peer_open(struct peer *peer, struct fixture *fixture);
/* Negotiates with versions up to this one; false: failed. */
bool peer_tls(struct peer *peer, int version_max) MUST_USE;
void peer_close(struct peer *peer);
/* Whole, or until the server closed. */
void peer_send(struct peer *peer, const void *at, size_t count);
/* Reads what is there. */
void peer_read(struct peer *peer);
/* Waits for one whole message; its type, or 0 when the server closed without one. */
uint8_t peer_message(struct peer *peer, struct bytes *ret_body);
/* Waits until the server closed; false: it did not within two seconds. */
bool peer_is_closed(struct peer *peer) MUST_USE;

/* A JOIN with everything as usual. */
struct wire_join join_usual(void);
struct bytes text_of(const char *text);
void peer_join(struct peer *peer, const struct wire_join *join);
/* Asserts a GRANT. */
struct wire_grant peer_granted(struct peer *peer);
/* Asserts a REFUSED and the end; its code. */
int peer_refused(struct peer *peer);

#endif
