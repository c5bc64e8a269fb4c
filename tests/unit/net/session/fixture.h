/* Two sessions, a clock set by hand, and a wire that carries what a test lets through. */
#ifndef EAGRE_TESTS_UNIT_NET_SESSION_FIXTURE_H
#define EAGRE_TESTS_UNIT_NET_SESSION_FIXTURE_H

#include "net/session/cookie.h"
#include "net/session/session_inner.h"
#include "net/wire/wire_frame.h"

#include <criterion/criterion.h>

#define PAIR_DATAGRAM 1400u
#define PAIR_QUEUE 1024u
#define PAIR_SESSION 0x11223300u
#define PAIR_SECOND_NS (UINT64_C(1000000000))

struct datagram {
    uint32_t byte_count;
    uint8_t bytes[PAIR_DATAGRAM];
};

struct end {
    struct session *session;
    struct session_cipher *cipher;
    struct session_pool *pool;
    uint8_t scratch[PAIR_DATAGRAM];
    uint32_t room_bytes; /* told to session_receive() and session_take() */
    uint64_t written;    /* numbers put into frames, from 0 */
    uint64_t read;       /* numbers taken; each is checked to be the next */
    uint64_t packets_taken;
};

struct pair {
    struct end client;
    struct end server;
    struct cookie_jar *jar;
    struct nic_address client_address;
    uint64_t now_ns;
    struct wire_grant grant;
    uint32_t retries; /* RETRY datagrams the door sent */
};

struct pair_options {
    uint8_t auth; /* enum wire_auth */
    uint32_t slots;
    uint32_t reorder_max;
    struct session_config config; /* role, session, pool, cipher, datagram_bytes_max are set here */
};

/* Zero fields of options (may be NULL) take 1,024 slots, half of them for reordering, AEAD, a fixed
 * window. The sessions are GRANTED and HELLO_SENT. */
void pair_init(struct pair *pair, const struct pair_options *options);
/* The same, and the handshake done on a good wire. */
void pair_open(struct pair *pair, const struct pair_options *options);
/* Also checks that neither pool has a slot in use. */
void pair_fini(struct pair *pair);

/* The next datagram that an end sends; false: none. */
bool pair_transmit(struct pair *pair, struct end *end, struct datagram *ret);
/* Hands a datagram to an end as its owner would: the server's HELLO goes by the cookie, and an
 * answering RETRY straight to the client. Takes and checks numbers. */
enum session_received
pair_deliver(struct pair *pair, struct end *end, const struct datagram *datagram);
/* Moves everything that either end sends now; returns datagrams moved. */
uint32_t pair_exchange(struct pair *pair);
/* Ticks both ends at `now += ns`. */
void pair_advance(struct pair *pair, uint64_t ns);
/* Exchanges and advances in steps of 1 ms until so much time has gone. */
void pair_run(struct pair *pair, uint64_t ns);

/* Writes up to count DATA frames with the next numbers, padded to frame_bytes each; how many. */
uint32_t end_write(struct end *end, uint32_t count, uint32_t frame_bytes);
/* Takes what is deliverable; checks that numbers follow each other. */
void end_take(struct end *end);

/* A packet of `from` made by hand: flags SEQUENCED or 0, frames as given, sealed by its cipher. */
void forge(struct end *from,
           const struct wire_header *header,
           struct bytes frames,
           struct datagram *ret);
/* Header of the next packet of an end: type SESSION, its next packet number. */
struct wire_header next_header(struct end *end);

#endif
