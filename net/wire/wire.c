#include "net/wire/wire.h"

#include "engine/base/check.h"

/* Header fields' places; PROTOCOL.md section 2. The low half of byte 0 is the type, the high half
 * the version, so that one compare refuses both. */
#define AT_TYPE 0
#define AT_FLAGS 1
#define AT_LENGTH 2
#define AT_SESSION 4
#define AT_PACKET_NUMBER 8
#define AT_ACK 16
#define AT_SEQUENCE 24
#define FLAGS_KNOWN (WIRE_FLAG_KEY_PHASE | WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN)

_Static_assert(AT_ACK + 8 == WIRE_HEADER_BYTES, "the header's last field");
_Static_assert(AT_SEQUENCE == WIRE_HEADER_BYTES, "the sequence follows the header");
_Static_assert(WIRE_RETRY_BYTES <= WIRE_RETRY_BYTES_MAX, "less than any HELLO");
_Static_assert(WIRE_RETRY_BYTES_MAX < WIRE_HELLO_BYTES, "no amplification");
_Static_assert(WIRE_SESSION < 16, "the type has four bits");

static const char *const frame_names[WIRE_FRAME_TYPES] = {
    [WIRE_FRAME_PADDING] = "PADDING",
    [WIRE_FRAME_ACK] = "ACK",
    [WIRE_FRAME_PING] = "PING",
    [WIRE_FRAME_CLOSE] = "CLOSE",
    [WIRE_FRAME_DATA] = "DATA",
    [WIRE_FRAME_DATA_FRAG] = "DATA_FRAG",
    [WIRE_FRAME_COMMIT] = "COMMIT",
    [WIRE_FRAME_RESOLVE] = "RESOLVE",
    [WIRE_FRAME_RESOLVED] = "RESOLVED",
    [WIRE_FRAME_FETCH] = "FETCH",
    [WIRE_FRAME_FETCHED] = "FETCHED",
    [WIRE_FRAME_SUBSCRIBE] = "SUBSCRIBE",
    [WIRE_FRAME_CREDIT] = "CREDIT",
    [WIRE_FRAME_CALL] = "CALL",
    [WIRE_FRAME_ANSWER] = "ANSWER",
};

/* Least length of a packet of this type and these flags, and the only one of a RETRY. */
static ALWAYS_INLINE uint32_t
least_bytes(uint8_t type, uint8_t flags)
{
    uint32_t least = wire_clear_bytes(type, flags) + wire_trailer_bytes(flags);

    if (UNLIKELY(type == WIRE_HELLO))
        return WIRE_HELLO_BYTES;
    return UNLIKELY(type == WIRE_RETRY) ? WIRE_RETRY_BYTES : least;
}

/* What only the packets before SESSION must obey. */
static COLD bool
handshake_is_bad(uint8_t type, uint8_t flags, uint32_t byte_count)
{
    bool is_bad = type < WIRE_HELLO || type > WIRE_SESSION || (flags & WIRE_FLAG_SEQUENCED) != 0;

    return is_bad || (type == WIRE_RETRY && (flags != 0 || byte_count != WIRE_RETRY_BYTES));
}

enum rc
wire_header_decode(const uint8_t *datagram,
                   uint32_t byte_count,
                   struct wire_header *ret_header,
                   struct bytes *ret_frames)
{
    if (UNLIKELY(byte_count < WIRE_HEADER_BYTES))
        return RC_TRUNCATED;

    uint8_t first = datagram[AT_TYPE];
    uint8_t type = first & 15;
    uint8_t flags = datagram[AT_FLAGS];
    if (UNLIKELY(first >> 4 != WIRE_VERSION))
        return RC_UNSUPPORTED;
    /* One branch for what every good packet passes; nothing behind byte 23 was read yet. */
    uint32_t length = get_u16_le(datagram + AT_LENGTH);
    uint32_t least = least_bytes(type, flags);
    bool is_bad = ((flags & ~FLAGS_KNOWN) != 0) | (length != byte_count) | (byte_count < least);
    if (UNLIKELY(is_bad))
        return RC_MALFORMED;
    if (UNLIKELY(type != WIRE_SESSION) && handshake_is_bad(type, flags, byte_count))
        return RC_MALFORMED;

    uint32_t clear_bytes = wire_clear_bytes(type, flags);
    bool is_sequenced = (flags & WIRE_FLAG_SEQUENCED) != 0;
    *ret_header = (struct wire_header){
        .type = type,
        .flags = flags,
        .length = (uint16_t)byte_count,
        .session = get_u32_le(datagram + AT_SESSION),
        .packet_number = get_u64_le(datagram + AT_PACKET_NUMBER),
        .ack = get_u64_le(datagram + AT_ACK),
        .sequence = is_sequenced ? get_u64_le(datagram + AT_SEQUENCE) : 0,
    };
    uint32_t trailer_bytes = type == WIRE_RETRY ? 0 : wire_trailer_bytes(flags);
    *ret_frames = (struct bytes){datagram + clear_bytes, byte_count - clear_bytes - trailer_bytes};
    return RC_OK;
}

void
wire_header_encode(const struct wire_header *header, uint8_t *at)
{
    DCHECK(header->type >= WIRE_HELLO && header->type <= WIRE_SESSION);
    DCHECK((header->flags & ~FLAGS_KNOWN) == 0);
    at[AT_TYPE] = (uint8_t)(WIRE_VERSION << 4 | header->type);
    at[AT_FLAGS] = header->flags;
    put_u16_le(at + AT_LENGTH, header->length);
    put_u32_le(at + AT_SESSION, header->session);
    put_u64_le(at + AT_PACKET_NUMBER, header->packet_number);
    put_u64_le(at + AT_ACK, header->ack);
    if ((header->flags & WIRE_FLAG_SEQUENCED) != 0)
        put_u64_le(at + AT_SEQUENCE, header->sequence);
}

bool
wire_frame_next(struct bytes *frames, struct wire_frame *ret)
{
    const uint8_t *at = frames->at;

    *ret = (struct wire_frame){.type = WIRE_FRAME_PADDING};
    if (frames->count == 0)
        return false;
    ret->type = WIRE_FRAME_TYPES;
    if (UNLIKELY(frames->count < WIRE_FRAME_HEADER_BYTES))
        return false;
    size_t body_bytes = get_u16_le(at + 2);
    if (UNLIKELY((at[0] >= WIRE_FRAME_TYPES) |
                 (body_bytes > frames->count - WIRE_FRAME_HEADER_BYTES)))
        return false;
    ret->type = at[0];
    ret->flags = at[1];
    ret->body = (struct bytes){at + WIRE_FRAME_HEADER_BYTES, body_bytes};
    frames->at = at + WIRE_FRAME_HEADER_BYTES + body_bytes;
    frames->count -= WIRE_FRAME_HEADER_BYTES + body_bytes;
    return true;
}

void
wire_frame_header(uint8_t *at, uint8_t type, uint8_t flags, uint16_t body_bytes)
{
    DCHECK(type < WIRE_FRAME_TYPES);
    at[0] = type;
    at[1] = flags;
    put_u16_le(at + 2, body_bytes);
}

const char *
wire_frame_name(uint8_t type)
{
    return type < WIRE_FRAME_TYPES ? frame_names[type] : "?";
}
