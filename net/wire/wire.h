/* The native protocol's bytes: packets, frames, and the messages of the control exchange. Pure: no
 * clock, no allocation, no cipher (net/session seals and opens). PROTOCOL.md is the text that a
 * second implementation is written from; static asserts pin every size it quotes. Little endian.
 *
 *     0        1        2         4            8                    16             24
 *     +--------+--------+---------+------------+--------------------+--------------+
 *     |ver|type| flags  | length  | session    | packet number      | ack          |   24 bytes
 *     +--------+--------+---------+------------+--------------------+--------------+
 *     | sequence (only with WIRE_FLAG_SEQUENCED)                    |   8 bytes
 *     +-------------------------------------------------------------+
 *     | frames ...                                                  |
 *     +-------------------------------------------------------------+
 *     | AES-128-GCM tag, 16 bytes; or CRC-32C, 4 bytes (auth none)  |
 *
 * The packet number is never used twice and numbers transmissions; the sequence numbers what is
 * delivered in order and is the same in every transmission of the same frames. ack is the next
 * sequence expected: all below have arrived. Header and sequence are authenticated, frames are
 * encrypted as well.
 *
 * The frames' bodies are in wire_frame.h, the control exchange in wire_control.h.
 *
 * Records travel as Kafka RecordBatch v2, built by the client; nothing on the way re-encodes them.
 */
#ifndef EAGRE_NET_WIRE_WIRE_H
#define EAGRE_NET_WIRE_WIRE_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "engine/base/rc.h"

#define WIRE_VERSION 1u
#define WIRE_HEADER_BYTES 24u
#define WIRE_SEQUENCE_BYTES 8u
#define WIRE_TAG_BYTES 16u
#define WIRE_CRC_BYTES 4u
#define WIRE_FRAME_HEADER_BYTES 4u
/* A HELLO is padded to at least this, so that no answer is longer; every carrier takes it. */
#define WIRE_HELLO_BYTES 1200u
#define WIRE_RETRY_BYTES_MAX 200u
#define WIRE_COOKIE_BYTES 32u
#define WIRE_RETRY_BYTES (WIRE_HEADER_BYTES + WIRE_COOKIE_BYTES) /* exactly */
#define WIRE_SACK_BITS 256u      /* also the largest window in packets */
#define WIRE_FRAGMENTS_MAX 1024u /* of one message */
#define WIRE_MESSAGE_BYTES_MAX \
    (UINT32_C(1) << 20) /* of a reassembled message; larger batches use the Kafka door */
#define WIRE_TOPIC_NAME_MAX 249u

enum wire_packet_type {
    WIRE_HELLO = 1,   /* client: open this session; authenticated with its key; padded */
    WIRE_RETRY = 2,   /* server: say it again with this cookie; not authenticated */
    WIRE_READY = 3,   /* server: the address is validated, frames may flow; authenticated */
    WIRE_SESSION = 4, /* frames */
};

enum wire_packet_flags {
    WIRE_FLAG_KEY_PHASE = 1, /* lowest bit of the key generation that sealed it */
    WIRE_FLAG_SEQUENCED = 2, /* a sequence follows the header */
    WIRE_FLAG_PLAIN = 4,     /* auth none: the trailer is a CRC-32C over everything before it */
};

struct wire_header {
    uint8_t type;     /* enum wire_packet_type */
    uint8_t flags;    /* enum wire_packet_flags */
    uint16_t length;  /* of the whole datagram, trailer included */
    uint32_t session; /* bits [7:0] are the net tile that owns it */
    uint64_t packet_number;
    uint64_t ack;
    uint64_t sequence; /* meaningful with WIRE_FLAG_SEQUENCED */
};

/* Reads and checks header (and sequence) of a datagram: version, known type, no unknown flag,
 * length equal to byte_count, trailer present, a sequence only in WIRE_SESSION; a HELLO has at
 * least WIRE_HELLO_BYTES, a RETRY exactly WIRE_RETRY_BYTES and no flag and no trailer. RC_OK,
 * RC_TRUNCATED (shorter than a header), RC_MALFORMED, RC_UNSUPPORTED (version). *ret_frames is what
 * lies between the clear part and the trailer (still sealed); in a RETRY it is the cookie. Outputs
 * are written only with RC_OK.
 *
 * Runs on: any core.  Allocates: nothing.  Blocks: never. Budget: 5 ns, one cache line. */
MUST_USE enum rc wire_header_decode(const uint8_t *datagram,
                                    uint32_t byte_count,
                                    struct wire_header *ret_header,
                                    struct bytes *ret_frames);
/* Bytes of header and sequence. */
static ALWAYS_INLINE uint32_t
wire_header_bytes(uint8_t flags)
{
    return WIRE_HEADER_BYTES + ((flags & WIRE_FLAG_SEQUENCED) != 0 ? WIRE_SEQUENCE_BYTES : 0);
}
/* Bytes of the clear part, which is authenticated and not encrypted: header, sequence, and the
 * cookie of a HELLO. Frames (sealed) begin there. */
static ALWAYS_INLINE uint32_t
wire_clear_bytes(uint8_t type, uint8_t flags)
{
    return wire_header_bytes(flags) + (type == WIRE_HELLO ? WIRE_COOKIE_BYTES : 0);
}
static ALWAYS_INLINE uint32_t
wire_trailer_bytes(uint8_t flags)
{
    return (flags & WIRE_FLAG_PLAIN) != 0 ? WIRE_CRC_BYTES : WIRE_TAG_BYTES;
}
/* Writes wire_header_bytes(header->flags) bytes at `at`. Runs on: any core.  Allocates: nothing. */
void wire_header_encode(const struct wire_header *header, uint8_t *at);

/* ---- frames: {u8 type, u8 flags, u16 body_bytes}, body ---- */

enum wire_frame_type {
    WIRE_FRAME_PADDING = 0, /* body of zeros */
    WIRE_FRAME_ACK = 1,     /* unsequenced */
    WIRE_FRAME_PING = 2,    /* unsequenced; WIRE_PING_REPLY answers it */
    WIRE_FRAME_CLOSE = 3,   /* unsequenced */
    /* below: sequenced, delivered once and in order */
    WIRE_FRAME_DATA = 4,      /* client: one whole record batch */
    WIRE_FRAME_DATA_FRAG = 5, /* client: a piece of one */
    WIRE_FRAME_COMMIT = 6,    /* server: what became of batches */
    WIRE_FRAME_RESOLVE = 7,   /* client: what is this topic? */
    WIRE_FRAME_RESOLVED = 8,
    WIRE_FRAME_FETCH = 9,      /* client: read once */
    WIRE_FRAME_FETCHED = 10,   /* server: a piece of what was read */
    WIRE_FRAME_SUBSCRIBE = 11, /* client: read on and on, as far as credit goes */
    WIRE_FRAME_CREDIT = 12,    /* client: more credit for a subscription, or its end */
    WIRE_FRAME_CALL = 13, /* client: a piece of a Kafka request (metadata, producer ids, offsets) */
    WIRE_FRAME_ANSWER = 14, /* server: a piece of its response */
    WIRE_FRAME_TYPES,
};

struct wire_frame {
    uint8_t type;
    uint8_t flags;
    struct bytes body;
};
/* Takes the next frame off `frames`. False at the end (ret->type WIRE_FRAME_PADDING), or
 * (ret->type WIRE_FRAME_TYPES) when the rest is malformed: unknown type, length beyond the end.
 * ret->body borrows `frames`. */
MUST_USE bool wire_frame_next(struct bytes *frames, struct wire_frame *ret);
/* Writes WIRE_FRAME_HEADER_BYTES at `at`. */
void wire_frame_header(uint8_t *at, uint8_t type, uint8_t flags, uint16_t body_bytes);

/* "DATA_FRAG"; static; "?" for none of ours. */
const char *wire_frame_name(uint8_t type);

#endif
