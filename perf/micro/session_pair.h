/* A session and its peer's cipher, so that authentic datagrams can be made for it: for measuring
 * one side of a native session alone. */
#ifndef EAGRE_PERF_MICRO_SESSION_PAIR_H
#define EAGRE_PERF_MICRO_SESSION_PAIR_H

#include "net/session/session.h"
#include "net/wire/wire_frame.h"

#define SESSION_PAIR_DATAGRAM 1400u /* bytes */

struct session_pair {
    struct session_cipher *peer; /* seals what the session receives */
    struct session_cipher *cipher;
    struct session_pool *pool;
    struct session *session;
    uint64_t packet_number;
    uint64_t sequence;
    uint64_t now_ns;
};

/* A session in the open state with all credit. auth: enum wire_auth. */
void session_pair_open(struct session_pair *pair, uint8_t auth, enum session_role role);
void session_pair_close(struct session_pair *pair);
/* A datagram of the peer, at [SESSION_PAIR_DATAGRAM]: an acknowledgement, or (ack NULL) a full one
 * with the next sequence. Returns its bytes. */
uint32_t
session_pair_seal(struct session_pair *pair, uint8_t type, uint8_t *at, const struct wire_ack *ack);

#endif
