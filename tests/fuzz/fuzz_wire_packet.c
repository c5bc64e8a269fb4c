/* Any bytes as a datagram of the native protocol: its frames lie inside it, every body that is
 * taken is inside its frame and in its ranges, and is written again byte for byte (an ACK without
 * its trailing zero words, a COMMIT). */
#include "engine/base/check.h"
#include "net/wire/wire_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t memory[WIRE_FRAME_HEADER_BYTES + UINT16_MAX];

/* The frame as it came, header included. */
static const uint8_t *
whole(const struct wire_frame *frame)
{
    return frame->body.at - WIRE_FRAME_HEADER_BYTES;
}

/* The first `count` bytes written are those that came. */
static void
expect_head(const struct wire_frame *frame, uint32_t count)
{
    CHECK(count <= WIRE_FRAME_HEADER_BYTES + frame->body.count);
    CHECK(memcmp(memory, whole(frame), count) == 0);
}

static void
expect_all(const struct wire_frame *frame, uint32_t count)
{
    CHECK(count == WIRE_FRAME_HEADER_BYTES + frame->body.count);
    expect_head(frame, count);
}

static void
expect_inside(const struct wire_frame *frame, struct bytes part)
{
    CHECK(part.at >= frame->body.at);
    CHECK(part.count <= frame->body.count);
    CHECK(part.at + part.count == frame->body.at + frame->body.count);
}

static void
expect_piece(const struct wire_frame *frame, const struct wire_piece *piece)
{
    expect_inside(frame, piece->bytes);
    CHECK(piece->index < piece->count);
    CHECK(piece->count <= WIRE_FRAGMENTS_MAX);
    CHECK(piece->total_bytes <= WIRE_MESSAGE_BYTES_MAX);
    CHECK(piece->bytes.count <= piece->total_bytes);
    CHECK(piece->count > 1 || piece->bytes.count == piece->total_bytes);
    CHECK(piece->count == 1 || piece->bytes.count >= 1);
}

static void
unsequenced(const struct wire_frame *frame)
{
    struct wire_ack ack;
    struct wire_ping ping;
    struct wire_close close;

    if (frame->type == WIRE_FRAME_ACK && wire_ack_decode(frame, &ack) == RC_OK) {
        uint32_t count = wire_ack_encode(memory, &ack);
        struct wire_frame again = {WIRE_FRAME_ACK, 0, {memory + 4, count - 4}};
        struct wire_ack found;
        CHECK(count <= WIRE_FRAME_HEADER_BYTES + frame->body.count);
        CHECK(wire_ack_decode(&again, &found) == RC_OK);
        CHECK(memcmp(found.sack, ack.sack, sizeof(ack.sack)) == 0);
        CHECK(memcmp(again.body.at, frame->body.at, count - 4) == 0);
    }
    if (frame->type == WIRE_FRAME_PING && wire_ping_decode(frame, &ping) == RC_OK)
        expect_all(frame, wire_ping_encode(memory, &ping, frame->flags));
    if (frame->type == WIRE_FRAME_CLOSE && wire_close_decode(frame, &close) == RC_OK) {
        expect_inside(frame, close.text);
        expect_all(frame, wire_close_encode(memory, &close));
    }
}

static void
producing(const struct wire_frame *frame)
{
    struct wire_data data;
    struct wire_data_frag frag;
    uint32_t count;

    if (frame->type == WIRE_FRAME_DATA && wire_data_decode(frame, &data) == RC_OK) {
        expect_inside(frame, data.batch);
        CHECK(data.batch.count > 0);
        expect_head(frame, wire_data_encode_head(memory, &data));
    }
    if (frame->type == WIRE_FRAME_DATA_FRAG && wire_data_frag_decode(frame, &frag) == RC_OK) {
        expect_piece(frame, &frag.piece);
        CHECK(frag.piece.total_bytes > 0);
        expect_head(frame, wire_data_frag_encode_head(memory, &frag));
    }
    if (frame->type == WIRE_FRAME_COMMIT && wire_commit_count(frame, &count) == RC_OK) {
        uint32_t written = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct wire_commit commit;
            wire_commit_at(frame, i, &commit);
            written = wire_commit_encode(memory, i, &commit);
        }
        expect_all(frame, written);
    }
}

static void
naming(const struct wire_frame *frame)
{
    struct wire_resolve resolve;
    struct wire_resolved resolved;

    if (frame->type == WIRE_FRAME_RESOLVE && wire_resolve_decode(frame, &resolve) == RC_OK)
        expect_all(frame, wire_resolve_encode(memory, &resolve));
    if (frame->type == WIRE_FRAME_RESOLVED && wire_resolved_decode(frame, &resolved) == RC_OK) {
        uint32_t count = wire_resolved_encode_head(memory, &resolved);
        expect_inside(frame, resolved.entries);
        for (uint32_t i = 0; i < resolved.entry_count; i++) {
            struct wire_partition partition;
            wire_resolved_at(&resolved, i, &partition);
            wire_partition_encode(memory + count, &partition);
            count += WIRE_PARTITION_BYTES;
        }
        expect_all(frame, count);
    }
}

static void
reading(const struct wire_frame *frame)
{
    struct wire_fetch fetch;
    struct wire_subscribe subscribe;
    struct wire_credit credit;
    struct wire_fetched fetched;
    struct wire_call call;
    bool is_call = frame->type == WIRE_FRAME_CALL || frame->type == WIRE_FRAME_ANSWER;

    if (frame->type == WIRE_FRAME_FETCH && wire_fetch_decode(frame, &fetch) == RC_OK)
        expect_all(frame, wire_fetch_encode(memory, &fetch));
    if (frame->type == WIRE_FRAME_SUBSCRIBE && wire_subscribe_decode(frame, &subscribe) == RC_OK)
        expect_all(frame, wire_subscribe_encode(memory, &subscribe));
    if (frame->type == WIRE_FRAME_CREDIT && wire_credit_decode(frame, &credit) == RC_OK)
        expect_all(frame, wire_credit_encode(memory, &credit, frame->flags));
    if (frame->type == WIRE_FRAME_FETCHED && wire_fetched_decode(frame, &fetched) == RC_OK) {
        expect_piece(frame, &fetched.piece);
        CHECK(fetched.status == 0 || fetched.piece.bytes.count == 0);
        expect_head(frame, wire_fetched_encode_head(memory, &fetched, frame->flags));
    }
    if (is_call && wire_call_decode(frame, &call) == RC_OK) {
        expect_piece(frame, &call.piece);
        expect_head(frame, wire_call_encode_head(memory, frame->type, &call));
    }
}

static void
frames(struct bytes all)
{
    const uint8_t *end = all.at + all.count;
    struct wire_frame frame;

    while (wire_frame_next(&all, &frame)) {
        CHECK(frame.body.at + frame.body.count == all.at);
        CHECK(all.at + all.count == end);
        unsequenced(&frame);
        producing(&frame);
        naming(&frame);
        reading(&frame);
    }
    CHECK(frame.type == WIRE_FRAME_TYPES || all.count == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_header header;
    struct bytes inside;

    if (size > UINT16_MAX)
        return 0;
    if (wire_header_decode(data, (uint32_t)size, &header, &inside) != RC_OK)
        return 0;
    CHECK(inside.at >= data + WIRE_HEADER_BYTES);
    CHECK(inside.at + inside.count <= data + size);
    wire_header_encode(&header, memory);
    CHECK(memcmp(memory, data, wire_header_bytes(header.flags)) == 0);
    frames(inside); /* as if they were opened already */
    return 0;
}
