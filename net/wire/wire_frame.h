/* Bodies of the frames: one struct, decoder and encoder each. Pure; decoded structs borrow the
 * frame. Little endian; PROTOCOL.md has the layouts.
 *
 * Sizes named WIRE_x_BYTES and WIRE_x_HEAD_BYTES are of the body: a whole frame has
 * WIRE_FRAME_HEADER_BYTES more (WIRE_ACK_BYTES_MAX counts them already). */
#ifndef EAGRE_NET_WIRE_WIRE_FRAME_H
#define EAGRE_NET_WIRE_WIRE_FRAME_H

#include "net/wire/wire.h"

struct wire_ack {
    uint64_t largest_packet; /* largest packet number received */
    uint32_t delay_us;       /* between its arrival and this frame */
    uint64_t credit;         /* the peer may send sequences below this; never goes back */
    uint64_t sack[WIRE_SACK_BITS / 64]; /* bit i: sequence ack + 1 + i has arrived */
};
/* The whole frame has 24 + 8 x words bytes; trailing words of zeros are left out. */
#define WIRE_ACK_HEAD_BYTES 20u
#define WIRE_ACK_BYTES_MAX (24u + WIRE_SACK_BITS / 8)

enum wire_ping_flags { WIRE_PING_REPLY = 1 };
struct wire_ping {
    uint64_t token; /* echoed */
};
#define WIRE_PING_BYTES 8u

enum wire_close_code {
    WIRE_CLOSE_BYE = 0,
    WIRE_CLOSE_SHUTDOWN = 1, /* the server stops: come back later */
    WIRE_CLOSE_PROTOCOL = 2, /* malformed frames inside an authentic packet */
    WIRE_CLOSE_LIMIT = 3,    /* the text names the limit */
    WIRE_CLOSE_EXPIRED = 4,  /* keys are used up: join again */
};
struct wire_close {
    uint16_t code;
    struct bytes text; /* UTF-8, at most WIRE_CLOSE_TEXT_MAX bytes, for people */
};
#define WIRE_CLOSE_TEXT_MAX 200u
#define WIRE_CLOSE_HEAD_BYTES 2u

/* A partition as the server names it to this client; from RESOLVED. A stale one is refused, never
 * mistaken: the incarnation is never reused. */
struct wire_partition {
    uint64_t incarnation;
    uint32_t slot;
    uint16_t log_tile;
};
#define WIRE_PARTITION_BYTES 16u /* {u64, u32, u16, u16 zero} */

struct wire_data {
    uint32_t request; /* client's; echoed by COMMIT */
    struct wire_partition partition;
    struct bytes batch;
};
#define WIRE_DATA_HEAD_BYTES (4u + WIRE_PARTITION_BYTES)

/* A piece of a message that is longer than a packet. Pieces of one message follow each other in
 * order without others of the same kind between. */
struct wire_piece {
    uint32_t total_bytes; /* of the message, [1, WIRE_MESSAGE_BYTES_MAX] */
    uint16_t index;       /* [0, count) */
    uint16_t count;       /* [1, WIRE_FRAGMENTS_MAX] */
    struct bytes bytes;
};
#define WIRE_PIECE_HEAD_BYTES 8u

struct wire_data_frag {
    uint32_t request;
    struct wire_partition partition;
    struct wire_piece piece;
};
#define WIRE_DATA_FRAG_HEAD_BYTES (WIRE_DATA_HEAD_BYTES + WIRE_PIECE_HEAD_BYTES)

enum wire_commit_flags {
    WIRE_COMMIT_DURABLE = 1, /* on stable storage; else in the server's memory, as the topic says */
    WIRE_COMMIT_DUPLICATE =
        2, /* was stored before; base_offset is where, or UINT64_MAX if no longer known */
};
struct wire_commit {
    uint32_t request;
    uint16_t status; /* Kafka error code, 0: stored */
    uint16_t flags;  /* enum wire_commit_flags */
    uint64_t base_offset;
};
#define WIRE_COMMIT_BYTES 16u /* each; a COMMIT frame holds one or more */

struct wire_resolve {
    uint32_t request;
    uint32_t partition_first; /* of the entries asked for */
    struct bytes topic;       /* name, [1, WIRE_TOPIC_NAME_MAX] bytes */
};
#define WIRE_RESOLVE_HEAD_BYTES 8u
struct wire_resolved {
    uint32_t request;
    uint16_t status; /* Kafka error code */
    uint8_t topic_id[16];
    uint32_t partition_count;
    uint32_t batch_bytes_max;
    bool is_durable; /* COMMIT of this topic means on stable storage */
    uint32_t partition_first;
    uint32_t entry_count;
    struct bytes entries; /* WIRE_PARTITION_BYTES each */
};
#define WIRE_RESOLVED_HEAD_BYTES 40u

struct wire_fetch {
    uint32_t request;
    struct wire_partition partition;
    uint64_t offset;
    uint32_t max_bytes;
};
#define WIRE_FETCH_BYTES (16u + WIRE_PARTITION_BYTES)
struct wire_subscribe {
    uint32_t subscription; /* client's, one of few (limit of the server) */
    struct wire_partition partition;
    uint64_t offset;
    uint64_t credit_bytes; /* bytes of batches the server may send in all; raised by CREDIT */
};
#define WIRE_SUBSCRIBE_BYTES (20u + WIRE_PARTITION_BYTES)
enum wire_credit_flags { WIRE_CREDIT_END = 1 };
struct wire_credit {
    uint32_t subscription;
    uint64_t credit_bytes; /* in all, since SUBSCRIBE */
};
#define WIRE_CREDIT_BYTES 12u

enum wire_fetched_flags { WIRE_FETCHED_SUBSCRIPTION = 1 };
struct wire_fetched {
    uint32_t request; /* of FETCH, or the subscription */
    uint16_t status;  /* Kafka error code; then the piece is empty and a subscription is over */
    uint64_t high_watermark;
    uint64_t start_offset;
    struct wire_piece
        piece; /* of one or more whole batches; total_bytes 0 and count 1: nothing there */
};
#define WIRE_FETCHED_HEAD_BYTES (24u + WIRE_PIECE_HEAD_BYTES)

/* CALL: a Kafka request from the api key on; ANSWER: its response from the correlation id on. */
struct wire_call {
    uint32_t request;
    uint16_t status; /* ANSWER: Kafka error code when control refused it whole; CALL: 0 */
    struct wire_piece piece;
};
#define WIRE_CALL_HEAD_BYTES (8u + WIRE_PIECE_HEAD_BYTES)

/* Decoders of bodies: RC_OK or RC_MALFORMED (short, long, out of range); results borrow the body.
 */
MUST_USE enum rc wire_ack_decode(const struct wire_frame *frame, struct wire_ack *ret);
MUST_USE enum rc wire_ping_decode(const struct wire_frame *frame, struct wire_ping *ret);
MUST_USE enum rc wire_close_decode(const struct wire_frame *frame, struct wire_close *ret);
MUST_USE enum rc wire_data_decode(const struct wire_frame *frame, struct wire_data *ret);
MUST_USE enum rc wire_data_frag_decode(const struct wire_frame *frame, struct wire_data_frag *ret);
MUST_USE enum rc wire_commit_count(const struct wire_frame *frame, uint32_t *ret_count);
void wire_commit_at(const struct wire_frame *frame, uint32_t idx, struct wire_commit *ret);
MUST_USE enum rc wire_resolve_decode(const struct wire_frame *frame, struct wire_resolve *ret);
MUST_USE enum rc wire_resolved_decode(const struct wire_frame *frame, struct wire_resolved *ret);
void
wire_resolved_at(const struct wire_resolved *resolved, uint32_t idx, struct wire_partition *ret);
MUST_USE enum rc wire_fetch_decode(const struct wire_frame *frame, struct wire_fetch *ret);
MUST_USE enum rc wire_fetched_decode(const struct wire_frame *frame, struct wire_fetched *ret);
MUST_USE enum rc wire_subscribe_decode(const struct wire_frame *frame, struct wire_subscribe *ret);
MUST_USE enum rc wire_credit_decode(const struct wire_frame *frame, struct wire_credit *ret);
MUST_USE enum rc wire_call_decode(const struct wire_frame *frame, struct wire_call *ret);

/* Encoders of whole frames, header included. Each returns the bytes written; capacity is the
 * caller's to know: wire_*_bytes() or the _BYTES constants. */
uint32_t wire_ack_bytes(const struct wire_ack *ack);
uint32_t wire_ack_encode(uint8_t *at, const struct wire_ack *ack);
uint32_t wire_ping_encode(uint8_t *at, const struct wire_ping *ping, uint8_t flags);
uint32_t wire_close_encode(uint8_t *at, const struct wire_close *close);
/* Head only: the caller puts batch.count bytes of the batch right behind it. */
uint32_t wire_data_encode_head(uint8_t *at, const struct wire_data *data);
uint32_t wire_data_frag_encode_head(uint8_t *at, const struct wire_data_frag *frag);
/* Appends one entry to a COMMIT frame under construction; entry 0 writes the frame header too,
 * every later one corrects it. Returns the frame's bytes so far. */
uint32_t wire_commit_encode(uint8_t *at, uint32_t idx, const struct wire_commit *commit);
uint32_t wire_resolve_encode(uint8_t *at, const struct wire_resolve *resolve);
/* Head only: entries (WIRE_PARTITION_BYTES each, wire_partition_encode()) follow. */
uint32_t wire_resolved_encode_head(uint8_t *at, const struct wire_resolved *resolved);
void wire_partition_encode(uint8_t *at, const struct wire_partition *partition);
uint32_t wire_fetch_encode(uint8_t *at, const struct wire_fetch *fetch);
uint32_t wire_fetched_encode_head(uint8_t *at, const struct wire_fetched *fetched, uint8_t flags);
uint32_t wire_subscribe_encode(uint8_t *at, const struct wire_subscribe *subscribe);
uint32_t wire_credit_encode(uint8_t *at, const struct wire_credit *credit, uint8_t flags);
uint32_t wire_call_encode_head(uint8_t *at, uint8_t frame_type, const struct wire_call *call);

#endif
