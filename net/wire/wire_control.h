/* The control exchange: messages on TCP (TLS 1.3; clear text on loopback only) that open and hold a
 * native session. PROTOCOL.md, second part. Pure. Little endian.
 *
 *     u32 length of what follows [2, WIRE_CONTROL_BYTES_MAX - 4], u8 type, u8 zero, body
 *
 *     client: JOIN        server: GRANT or REFUSED
 *     client: LEAVE       either side closes the connection: the session ends with it
 *
 * The connection stays open as long as the session: when either process dies, the other learns it
 * from its kernel at once instead of after seconds of silence. */
#ifndef EAGRE_NET_WIRE_WIRE_CONTROL_H
#define EAGRE_NET_WIRE_WIRE_CONTROL_H

#include "net/wire/wire.h"

#define WIRE_CONTROL_BYTES_MAX 4096u /* of a whole message */
#define WIRE_CONTROL_PREFIX_BYTES 6u
#define WIRE_CONTROL_TEXT_MAX 200u
#define WIRE_USER_MAX 128u
#define WIRE_SECRET_MAX 256u
#define WIRE_KEY_BYTES 16u
#define WIRE_SALT_BYTES 4u
#define WIRE_TILES_MAX 16u
#define WIRE_TILE_ANY 0xffu
#define WIRE_DATAGRAM_BYTES_MAX 65535u
#define WIRE_JOIN_HEAD_BYTES 8u
#define WIRE_GRANT_HEAD_BYTES 86u /* then port_count ports of 2 bytes */

enum wire_control_type {
    WIRE_CONTROL_JOIN = 1,
    WIRE_CONTROL_GRANT = 2,
    WIRE_CONTROL_REFUSED = 3,
    WIRE_CONTROL_LEAVE = 4,
};

enum wire_auth {
    WIRE_AUTH_AEAD = 0, /* AES-128-GCM */
    WIRE_AUTH_NONE = 1, /* CRC-32C against damage only */
};

struct wire_join {
    uint16_t version;            /* WIRE_VERSION */
    uint8_t auth;                /* enum wire_auth wished for; the server decides */
    uint8_t tile;                /* net tile wished for; WIRE_TILE_ANY: any */
    uint32_t datagram_bytes_max; /* the client's carrier can take, [WIRE_HELLO_BYTES, 65535] */
    struct bytes user;           /* at most WIRE_USER_MAX; empty: none */
    struct bytes secret;         /* at most WIRE_SECRET_MAX */
    struct bytes client;         /* name for people and metrics, at most WIRE_CONTROL_TEXT_MAX */
};

struct wire_grant {
    uint32_t session; /* bits [7:0] are tile */
    uint32_t epoch;   /* of the server's start; another one means that it was restarted */
    uint8_t auth;     /* enum wire_auth */
    uint8_t tile;     /* the net tile that owns the session */
    uint16_t window;  /* packets in flight at most, [1, WIRE_SACK_BITS] */
    uint32_t datagram_bytes_max; /* both sides send no longer datagrams */
    uint32_t idle_ms;            /* at least 1; silence after which a peer counts as dead */
    uint64_t broker_id;
    uint8_t client_key[WIRE_KEY_BYTES]; /* seals what the client sends */
    uint8_t server_key[WIRE_KEY_BYTES];
    uint8_t client_salt[WIRE_SALT_BYTES];
    uint8_t server_salt[WIRE_SALT_BYTES];
    uint8_t ip[16];     /* where the data goes; all zero: the address of this connection */
    uint8_t port_count; /* [1, WIRE_TILES_MAX] */
    uint16_t ports[WIRE_TILES_MAX]; /* UDP port of each net tile; beyond port_count zero */
};

struct wire_refused {
    uint16_t code; /* Kafka error code: 58 SASL_AUTHENTICATION_FAILED, 35 UNSUPPORTED_VERSION, 89
                      THROTTLING_QUOTA_EXCEEDED, ... */
    struct bytes text;
};

/* Whether a whole message lies at [at, at + count): RC_OK and its type (known), body and length in
 * bytes, prefix included; RC_AGAIN: more is needed; RC_MALFORMED: close. */
MUST_USE enum rc wire_control_next(const uint8_t *at,
                                   uint32_t count,
                                   uint8_t *ret_type,
                                   struct bytes *ret_body,
                                   uint32_t *ret_bytes);
/* Bodies. RC_OK; RC_MALFORMED: short, long, or out of range; JOIN also RC_UNSUPPORTED: of another
 * version, nothing else was read. Results borrow the body, and are written only with RC_OK. */
MUST_USE enum rc wire_join_decode(struct bytes body, struct wire_join *ret);
MUST_USE enum rc wire_grant_decode(struct bytes body, struct wire_grant *ret);
MUST_USE enum rc wire_refused_decode(struct bytes body, struct wire_refused *ret);
/* Whole messages, prefix included, into `to` [WIRE_CONTROL_BYTES_MAX]; the bytes written. The
 * structs must be what the decoders would take (a bug of ours otherwise); a longer text is cut. */
uint32_t wire_join_encode(uint8_t *to, const struct wire_join *join);
uint32_t wire_grant_encode(uint8_t *to, const struct wire_grant *grant);
uint32_t wire_refused_encode(uint8_t *to, const struct wire_refused *refused);
uint32_t wire_leave_encode(uint8_t *to);

#endif
