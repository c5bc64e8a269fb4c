/* What travels between the control exchange and the net tiles: sessions granted, revoked, opened
 * and closed. It stands here because both may include it and neither the other. */
#ifndef EAGRE_NET_SESSION_DOOR_GRANT_H
#define EAGRE_NET_SESSION_DOOR_GRANT_H

#include "engine/base/base.h"
#include "net/session/cipher.h"

#define DOOR_GRANT_RING_SLOTS 1024u

/* One slot of the ring from the exchange to a door. */
struct door_grant {
    uint32_t session_id; /* bits [7:0]: this tile; bits [31:8]: drawn by the exchange, never of a
                            live session */
    uint32_t datagram_bytes_max;
    struct session_cipher *cipher; /* the door's until it gives it back in DOOR_CLOSED */
    uint32_t revoke;               /* 1: end this session instead: its control connection is gone */
    uint32_t principal_idx;        /* of the exchange's table; for metrics */
};
enum door_event_kind { DOOR_OPENED = 1, DOOR_CLOSED = 2 };
struct door_event {
    uint32_t kind;
    uint32_t session_id;
    struct session_cipher *cipher; /* DOOR_CLOSED: given back */
    uint64_t close_code;
};

#endif
