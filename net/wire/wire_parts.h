/* Parts that several frames have, for the codec's own files. Pure. */
#ifndef EAGRE_NET_WIRE_WIRE_PARTS_H
#define EAGRE_NET_WIRE_WIRE_PARTS_H

#include "engine/base/check.h"
#include "net/wire/wire_frame.h"

/* False: the zero field is not zero. */
static ALWAYS_INLINE bool
wire__partition_at(const uint8_t *at, struct wire_partition *ret)
{
    ret->incarnation = get_u64_le(at);
    ret->slot = get_u32_le(at + 8);
    ret->log_tile = get_u16_le(at + 12);
    return get_u16_le(at + 14) == 0;
}

/* A piece that lies in [at, at + count), count >= WIRE_PIECE_HEAD_BYTES. Every other piece has at
 * least one byte, which bounds this one; a single piece is the whole message. False: no such piece.
 * total_least: 0 where a message may be empty, else 1. */
static ALWAYS_INLINE bool
wire__piece_at(const uint8_t *at, size_t count, uint32_t total_least, struct wire_piece *ret)
{
    uint32_t total = get_u32_le(at);
    uint32_t idx = get_u16_le(at + 4);
    uint32_t pieces = get_u16_le(at + 6);
    size_t bytes = count - WIRE_PIECE_HEAD_BYTES;

    *ret = (struct wire_piece){
        total, (uint16_t)idx, (uint16_t)pieces, {at + WIRE_PIECE_HEAD_BYTES, bytes}};
    bool in_range = (total >= total_least) & (total <= WIRE_MESSAGE_BYTES_MAX) & (idx < pieces) &
                    (pieces <= WIRE_FRAGMENTS_MAX);
    if (UNLIKELY(!in_range))
        return false;
    if (pieces == 1)
        return bytes == total;
    return bytes >= 1 && bytes + (pieces - 1) <= total;
}

static inline void
wire__piece_put(uint8_t *at, const struct wire_piece *piece)
{
    DCHECK(piece->total_bytes <= WIRE_MESSAGE_BYTES_MAX);
    DCHECK(piece->index < piece->count && piece->count <= WIRE_FRAGMENTS_MAX);
    put_u32_le(at, piece->total_bytes);
    put_u16_le(at + 4, piece->index);
    put_u16_le(at + 6, piece->count);
}

/* Whether a frame has exactly this many body bytes and no flag besides these. */
static ALWAYS_INLINE bool
wire__is_exactly(const struct wire_frame *frame, size_t body_bytes, uint8_t flags_known)
{
    return (frame->body.count == body_bytes) & ((frame->flags & ~flags_known) == 0);
}

static ALWAYS_INLINE bool
wire__is_at_least(const struct wire_frame *frame, size_t body_bytes, uint8_t flags_known)
{
    return (frame->body.count >= body_bytes) & ((frame->flags & ~flags_known) == 0);
}

/* Writes the frame header in front of a body; returns the place of the body. */
static ALWAYS_INLINE uint8_t *
wire__body_of(uint8_t *at, uint8_t type, uint8_t flags, size_t body_bytes)
{
    DCHECK(body_bytes <= UINT16_MAX);
    wire_frame_header(at, type, flags, (uint16_t)body_bytes);
    return at + WIRE_FRAME_HEADER_BYTES;
}

#endif
