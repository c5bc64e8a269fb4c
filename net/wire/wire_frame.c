/* Unsequenced frames, and those that a producer lives on: see wire_frame.h. */
#include "net/wire/wire_parts.h"

#include "engine/base/check.h"

_Static_assert(WIRE_DATA_HEAD_BYTES == 20, "PROTOCOL.md section 5");
_Static_assert(WIRE_DATA_FRAG_HEAD_BYTES == 28, "PROTOCOL.md section 5");
_Static_assert(WIRE_ACK_BYTES_MAX ==
                   WIRE_FRAME_HEADER_BYTES + WIRE_ACK_HEAD_BYTES + WIRE_SACK_BITS / 8,
               "5.1");
_Static_assert(WIRE_SACK_BITS % 64 == 0, "whole words");

void
wire_partition_encode(uint8_t *at, const struct wire_partition *partition)
{
    put_u64_le(at, partition->incarnation);
    put_u32_le(at + 8, partition->slot);
    put_u16_le(at + 12, partition->log_tile);
    put_u16_le(at + 14, 0);
}

/* ---- unsequenced ---- */

enum rc
wire_ack_decode(const struct wire_frame *frame, struct wire_ack *ret)
{
    const uint8_t *at = frame->body.at;
    size_t sack_bytes = frame->body.count - WIRE_ACK_HEAD_BYTES; /* wraps when short: refused */

    if (UNLIKELY((frame->flags != 0) | (sack_bytes > WIRE_SACK_BITS / 8) | (sack_bytes % 8 != 0)))
        return RC_MALFORMED;
    *ret = (struct wire_ack){
        .largest_packet = get_u64_le(at),
        .delay_us = get_u32_le(at + 8),
        .credit = get_u64_le(at + 12),
    };
    for (size_t i = 0; i < sack_bytes / 8; i++)
        ret->sack[i] = get_u64_le(at + WIRE_ACK_HEAD_BYTES + 8 * i);
    return RC_OK;
}

uint32_t
wire_ack_bytes(const struct wire_ack *ack)
{
    uint32_t words = WIRE_SACK_BITS / 64;

    while (words > 0 && ack->sack[words - 1] == 0)
        words--;
    return WIRE_FRAME_HEADER_BYTES + WIRE_ACK_HEAD_BYTES + 8 * words;
}

uint32_t
wire_ack_encode(uint8_t *at, const struct wire_ack *ack)
{
    uint32_t bytes = wire_ack_bytes(ack);
    uint8_t *body = wire__body_of(at, WIRE_FRAME_ACK, 0, bytes - WIRE_FRAME_HEADER_BYTES);

    put_u64_le(body, ack->largest_packet);
    put_u32_le(body + 8, ack->delay_us);
    put_u64_le(body + 12, ack->credit);
    for (uint32_t i = 0; i < (bytes - WIRE_FRAME_HEADER_BYTES - WIRE_ACK_HEAD_BYTES) / 8; i++)
        put_u64_le(body + WIRE_ACK_HEAD_BYTES + 8 * i, ack->sack[i]);
    return bytes;
}

enum rc
wire_ping_decode(const struct wire_frame *frame, struct wire_ping *ret)
{
    if (!wire__is_exactly(frame, WIRE_PING_BYTES, WIRE_PING_REPLY))
        return RC_MALFORMED;
    ret->token = get_u64_le(frame->body.at);
    return RC_OK;
}

uint32_t
wire_ping_encode(uint8_t *at, const struct wire_ping *ping, uint8_t flags)
{
    put_u64_le(wire__body_of(at, WIRE_FRAME_PING, flags, WIRE_PING_BYTES), ping->token);
    return WIRE_FRAME_HEADER_BYTES + WIRE_PING_BYTES;
}

enum rc
wire_close_decode(const struct wire_frame *frame, struct wire_close *ret)
{
    const struct bytes *body = &frame->body;

    if (!wire__is_at_least(frame, WIRE_CLOSE_HEAD_BYTES, 0) ||
        body->count > WIRE_CLOSE_HEAD_BYTES + WIRE_CLOSE_TEXT_MAX)
        return RC_MALFORMED;
    ret->code = get_u16_le(body->at);
    ret->text = (struct bytes){body->at + WIRE_CLOSE_HEAD_BYTES,
                               body->count - WIRE_CLOSE_HEAD_BYTES};
    return RC_OK;
}

uint32_t
wire_close_encode(uint8_t *at, const struct wire_close *close)
{
    size_t text_bytes = min_u64(close->text.count, WIRE_CLOSE_TEXT_MAX);
    uint8_t *body = wire__body_of(at, WIRE_FRAME_CLOSE, 0, WIRE_CLOSE_HEAD_BYTES + text_bytes);

    put_u16_le(body, close->code);
    bytes_copy(body + WIRE_CLOSE_HEAD_BYTES, WIRE_CLOSE_TEXT_MAX, close->text.at, text_bytes);
    return (uint32_t)(WIRE_FRAME_HEADER_BYTES + WIRE_CLOSE_HEAD_BYTES + text_bytes);
}

/* ---- producing ---- */

enum rc
wire_data_decode(const struct wire_frame *frame, struct wire_data *ret)
{
    const struct bytes *body = &frame->body;

    if (UNLIKELY(!wire__is_at_least(frame, WIRE_DATA_HEAD_BYTES + 1, 0)))
        return RC_MALFORMED;
    struct wire_partition partition;
    if (UNLIKELY(!wire__partition_at(body->at + 4, &partition)))
        return RC_MALFORMED;
    *ret = (struct wire_data){
        .request = get_u32_le(body->at),
        .partition = partition,
        .batch = {body->at + WIRE_DATA_HEAD_BYTES, body->count - WIRE_DATA_HEAD_BYTES},
    };
    return RC_OK;
}

uint32_t
wire_data_encode_head(uint8_t *at, const struct wire_data *data)
{
    uint8_t *body = wire__body_of(at, WIRE_FRAME_DATA, 0, WIRE_DATA_HEAD_BYTES + data->batch.count);

    put_u32_le(body, data->request);
    wire_partition_encode(body + 4, &data->partition);
    return WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES;
}

enum rc
wire_data_frag_decode(const struct wire_frame *frame, struct wire_data_frag *ret)
{
    const struct bytes *body = &frame->body;

    if (UNLIKELY(!wire__is_at_least(frame, WIRE_DATA_FRAG_HEAD_BYTES, 0)))
        return RC_MALFORMED;
    struct wire_data_frag frag = {.request = get_u32_le(body->at)};
    if (UNLIKELY(!wire__partition_at(body->at + 4, &frag.partition) ||
                 !wire__piece_at(body->at + WIRE_DATA_HEAD_BYTES,
                                 body->count - WIRE_DATA_HEAD_BYTES,
                                 1,
                                 &frag.piece)))
        return RC_MALFORMED;
    *ret = frag;
    return RC_OK;
}

uint32_t
wire_data_frag_encode_head(uint8_t *at, const struct wire_data_frag *frag)
{
    uint8_t *body = wire__body_of(
        at, WIRE_FRAME_DATA_FRAG, 0, WIRE_DATA_FRAG_HEAD_BYTES + frag->piece.bytes.count);

    put_u32_le(body, frag->request);
    wire_partition_encode(body + 4, &frag->partition);
    wire__piece_put(body + WIRE_DATA_HEAD_BYTES, &frag->piece);
    return WIRE_FRAME_HEADER_BYTES + WIRE_DATA_FRAG_HEAD_BYTES;
}

enum rc
wire_commit_count(const struct wire_frame *frame, uint32_t *ret_count)
{
    size_t count = frame->body.count;

    if (UNLIKELY((frame->flags != 0) | (count == 0) | (count % WIRE_COMMIT_BYTES != 0)))
        return RC_MALFORMED;
    *ret_count = (uint32_t)(count / WIRE_COMMIT_BYTES);
    return RC_OK;
}

void
wire_commit_at(const struct wire_frame *frame, uint32_t idx, struct wire_commit *ret)
{
    DCHECK((size_t)(idx + 1) * WIRE_COMMIT_BYTES <= frame->body.count);
    const uint8_t *at = frame->body.at + (size_t)idx * WIRE_COMMIT_BYTES;

    *ret = (struct wire_commit){
        .request = get_u32_le(at),
        .status = get_u16_le(at + 4),
        .flags = get_u16_le(at + 6),
        .base_offset = get_u64_le(at + 8),
    };
}

uint32_t
wire_commit_encode(uint8_t *at, uint32_t idx, const struct wire_commit *commit)
{
    uint32_t before = idx * WIRE_COMMIT_BYTES;
    uint8_t *entry = wire__body_of(at, WIRE_FRAME_COMMIT, 0, before + WIRE_COMMIT_BYTES) + before;

    put_u32_le(entry, commit->request);
    put_u16_le(entry + 4, commit->status);
    put_u16_le(entry + 6, commit->flags);
    put_u64_le(entry + 8, commit->base_offset);
    return WIRE_FRAME_HEADER_BYTES + before + WIRE_COMMIT_BYTES;
}
