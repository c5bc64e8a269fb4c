/* Frames that name and read partitions, and Kafka requests: see wire_frame.h. */
#include "net/wire/wire_parts.h"

#include "engine/base/check.h"

_Static_assert(WIRE_FETCH_BYTES == 32, "PROTOCOL.md section 5");
_Static_assert(WIRE_FETCHED_HEAD_BYTES == 32, "PROTOCOL.md section 5");
_Static_assert(WIRE_SUBSCRIBE_BYTES == 36, "PROTOCOL.md section 5");
_Static_assert(WIRE_CALL_HEAD_BYTES == 16, "PROTOCOL.md section 5");

/* ---- naming ---- */

enum rc
wire_resolve_decode(const struct wire_frame *frame, struct wire_resolve *ret)
{
    const struct bytes *body = &frame->body;

    if (!wire__is_at_least(frame, WIRE_RESOLVE_HEAD_BYTES + 1, 0) ||
        body->count > WIRE_RESOLVE_HEAD_BYTES + WIRE_TOPIC_NAME_MAX)
        return RC_MALFORMED;
    ret->request = get_u32_le(body->at);
    ret->partition_first = get_u32_le(body->at + 4);
    ret->topic = (struct bytes){body->at + WIRE_RESOLVE_HEAD_BYTES,
                                body->count - WIRE_RESOLVE_HEAD_BYTES};
    return RC_OK;
}

uint32_t
wire_resolve_encode(uint8_t *at, const struct wire_resolve *resolve)
{
    size_t name_bytes = resolve->topic.count;
    CHECK(name_bytes >= 1 && name_bytes <= WIRE_TOPIC_NAME_MAX);
    uint8_t *body = wire__body_of(at, WIRE_FRAME_RESOLVE, 0, WIRE_RESOLVE_HEAD_BYTES + name_bytes);

    put_u32_le(body, resolve->request);
    put_u32_le(body + 4, resolve->partition_first);
    bytes_copy(body + WIRE_RESOLVE_HEAD_BYTES, WIRE_TOPIC_NAME_MAX, resolve->topic.at, name_bytes);
    return (uint32_t)(WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVE_HEAD_BYTES + name_bytes);
}

enum rc
wire_resolved_decode(const struct wire_frame *frame, struct wire_resolved *ret)
{
    const uint8_t *at = frame->body.at;

    if (!wire__is_at_least(frame, WIRE_RESOLVED_HEAD_BYTES, 0))
        return RC_MALFORMED;
    size_t entries_bytes = frame->body.count - WIRE_RESOLVED_HEAD_BYTES;
    struct wire_resolved resolved = {
        .request = get_u32_le(at),
        .status = get_u16_le(at + 4),
        .is_durable = at[6] == 1,
        .partition_count = get_u32_le(at + 24),
        .batch_bytes_max = get_u32_le(at + 28),
        .partition_first = get_u32_le(at + 32),
        .entry_count = get_u32_le(at + 36),
        .entries = {at + WIRE_RESOLVED_HEAD_BYTES, entries_bytes},
    };
    __builtin_memcpy(resolved.topic_id, at + 8, sizeof(resolved.topic_id));
    if (at[6] > 1 || at[7] != 0 || entries_bytes % WIRE_PARTITION_BYTES != 0 ||
        resolved.entry_count != entries_bytes / WIRE_PARTITION_BYTES)
        return RC_MALFORMED;
    /* entry_count fits 16 bits here, so the subtraction below cannot be fooled by a wrap. */
    if (resolved.entry_count > resolved.partition_count ||
        resolved.partition_first > resolved.partition_count ||
        resolved.entry_count > resolved.partition_count - resolved.partition_first)
        return RC_MALFORMED;
    for (uint32_t i = 0; i < resolved.entry_count; i++) {
        struct wire_partition ignored;
        if (!wire__partition_at(resolved.entries.at + (size_t)i * WIRE_PARTITION_BYTES, &ignored))
            return RC_MALFORMED;
    }
    *ret = resolved;
    return RC_OK;
}

void
wire_resolved_at(const struct wire_resolved *resolved, uint32_t idx, struct wire_partition *ret)
{
    DCHECK(idx < resolved->entry_count);
    (void)wire__partition_at(resolved->entries.at + (size_t)idx * WIRE_PARTITION_BYTES, ret);
}

uint32_t
wire_resolved_encode_head(uint8_t *at, const struct wire_resolved *resolved)
{
    size_t entries_bytes = (size_t)resolved->entry_count * WIRE_PARTITION_BYTES;
    uint8_t *body = wire__body_of(
        at, WIRE_FRAME_RESOLVED, 0, WIRE_RESOLVED_HEAD_BYTES + entries_bytes);

    put_u32_le(body, resolved->request);
    put_u16_le(body + 4, resolved->status);
    body[6] = resolved->is_durable;
    body[7] = 0;
    __builtin_memcpy(body + 8, resolved->topic_id, sizeof(resolved->topic_id));
    put_u32_le(body + 24, resolved->partition_count);
    put_u32_le(body + 28, resolved->batch_bytes_max);
    put_u32_le(body + 32, resolved->partition_first);
    put_u32_le(body + 36, resolved->entry_count);
    return WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVED_HEAD_BYTES;
}

/* ---- reading ---- */

enum rc
wire_fetch_decode(const struct wire_frame *frame, struct wire_fetch *ret)
{
    const uint8_t *at = frame->body.at;
    struct wire_partition partition;

    if (!wire__is_exactly(frame, WIRE_FETCH_BYTES, 0) || !wire__partition_at(at + 4, &partition))
        return RC_MALFORMED;
    *ret = (struct wire_fetch){
        .request = get_u32_le(at),
        .partition = partition,
        .offset = get_u64_le(at + 20),
        .max_bytes = get_u32_le(at + 28),
    };
    return RC_OK;
}

uint32_t
wire_fetch_encode(uint8_t *at, const struct wire_fetch *fetch)
{
    uint8_t *body = wire__body_of(at, WIRE_FRAME_FETCH, 0, WIRE_FETCH_BYTES);

    put_u32_le(body, fetch->request);
    wire_partition_encode(body + 4, &fetch->partition);
    put_u64_le(body + 20, fetch->offset);
    put_u32_le(body + 28, fetch->max_bytes);
    return WIRE_FRAME_HEADER_BYTES + WIRE_FETCH_BYTES;
}

enum rc
wire_subscribe_decode(const struct wire_frame *frame, struct wire_subscribe *ret)
{
    const uint8_t *at = frame->body.at;
    struct wire_partition partition;

    if (!wire__is_exactly(frame, WIRE_SUBSCRIBE_BYTES, 0) ||
        !wire__partition_at(at + 4, &partition))
        return RC_MALFORMED;
    *ret = (struct wire_subscribe){
        .subscription = get_u32_le(at),
        .partition = partition,
        .offset = get_u64_le(at + 20),
        .credit_bytes = get_u64_le(at + 28),
    };
    return RC_OK;
}

uint32_t
wire_subscribe_encode(uint8_t *at, const struct wire_subscribe *subscribe)
{
    uint8_t *body = wire__body_of(at, WIRE_FRAME_SUBSCRIBE, 0, WIRE_SUBSCRIBE_BYTES);

    put_u32_le(body, subscribe->subscription);
    wire_partition_encode(body + 4, &subscribe->partition);
    put_u64_le(body + 20, subscribe->offset);
    put_u64_le(body + 28, subscribe->credit_bytes);
    return WIRE_FRAME_HEADER_BYTES + WIRE_SUBSCRIBE_BYTES;
}

enum rc
wire_credit_decode(const struct wire_frame *frame, struct wire_credit *ret)
{
    if (!wire__is_exactly(frame, WIRE_CREDIT_BYTES, WIRE_CREDIT_END))
        return RC_MALFORMED;
    ret->subscription = get_u32_le(frame->body.at);
    ret->credit_bytes = get_u64_le(frame->body.at + 4);
    return RC_OK;
}

uint32_t
wire_credit_encode(uint8_t *at, const struct wire_credit *credit, uint8_t flags)
{
    uint8_t *body = wire__body_of(at, WIRE_FRAME_CREDIT, flags, WIRE_CREDIT_BYTES);

    put_u32_le(body, credit->subscription);
    put_u64_le(body + 4, credit->credit_bytes);
    return WIRE_FRAME_HEADER_BYTES + WIRE_CREDIT_BYTES;
}

enum rc
wire_fetched_decode(const struct wire_frame *frame, struct wire_fetched *ret)
{
    const uint8_t *at = frame->body.at;

    if (UNLIKELY(!wire__is_at_least(frame, WIRE_FETCHED_HEAD_BYTES, WIRE_FETCHED_SUBSCRIPTION)))
        return RC_MALFORMED;
    struct wire_fetched fetched = {
        .request = get_u32_le(at),
        .status = get_u16_le(at + 4),
        .high_watermark = get_u64_le(at + 8),
        .start_offset = get_u64_le(at + 16),
    };
    bool is_good = wire__piece_at(at + 24, frame->body.count - 24, 0, &fetched.piece);
    if (UNLIKELY(!is_good || get_u16_le(at + 6) != 0 ||
                 (fetched.status != 0 && fetched.piece.total_bytes != 0)))
        return RC_MALFORMED;
    *ret = fetched;
    return RC_OK;
}

uint32_t
wire_fetched_encode_head(uint8_t *at, const struct wire_fetched *fetched, uint8_t flags)
{
    size_t body_bytes = WIRE_FETCHED_HEAD_BYTES + fetched->piece.bytes.count;
    uint8_t *body = wire__body_of(at, WIRE_FRAME_FETCHED, flags, body_bytes);

    put_u32_le(body, fetched->request);
    put_u16_le(body + 4, fetched->status);
    put_u16_le(body + 6, 0);
    put_u64_le(body + 8, fetched->high_watermark);
    put_u64_le(body + 16, fetched->start_offset);
    wire__piece_put(body + 24, &fetched->piece);
    return WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES;
}

/* ---- Kafka requests ---- */

enum rc
wire_call_decode(const struct wire_frame *frame, struct wire_call *ret)
{
    const uint8_t *at = frame->body.at;
    bool is_call = frame->type == WIRE_FRAME_CALL;

    if (!wire__is_at_least(frame, WIRE_CALL_HEAD_BYTES, 0))
        return RC_MALFORMED;
    struct wire_call call = {.request = get_u32_le(at), .status = get_u16_le(at + 4)};
    bool is_good = wire__piece_at(at + 8, frame->body.count - 8, is_call ? 1 : 0, &call.piece);
    if (!is_good || get_u16_le(at + 6) != 0)
        return RC_MALFORMED;
    if (call.status != 0 && (is_call || call.piece.total_bytes != 0))
        return RC_MALFORMED;
    *ret = call;
    return RC_OK;
}

uint32_t
wire_call_encode_head(uint8_t *at, uint8_t frame_type, const struct wire_call *call)
{
    DCHECK(frame_type == WIRE_FRAME_CALL || frame_type == WIRE_FRAME_ANSWER);
    uint8_t *body = wire__body_of(
        at, frame_type, 0, WIRE_CALL_HEAD_BYTES + call->piece.bytes.count);

    put_u32_le(body, call->request);
    put_u16_le(body + 4, call->status);
    put_u16_le(body + 6, 0);
    wire__piece_put(body + 8, &call->piece);
    return WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES;
}
