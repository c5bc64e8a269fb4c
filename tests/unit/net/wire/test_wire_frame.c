/* Goal: bodies of acks, pings, closes and what a producer sends and gets: nothing out of range is
 * taken, everything in range comes back as it was.
 * Method: every length around the right one, every rule broken alone, seeded round trips; bodies
 * lie in memory of exactly their size. */
#include "wire_seeded.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t zeros[2048];

/* ---- unsequenced ---- */

Test(wire_ack_decode, takes_whole_words_of_sack_only, .timeout = 10)
{
    struct wire_ack ack;

    for (size_t count = 0; count < 80; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_ACK, 0, zeros, count);
        bool is_good = count >= 20 && count <= 52 && (count - 20) % 8 == 0;
        cr_assert_eq(wire_ack_decode(&frame, &ack), is_good ? RC_OK : RC_MALFORMED, "%zu", count);
    }
    struct wire_frame flagged = seeded_body(WIRE_FRAME_ACK, 1, zeros, 20);
    cr_assert_eq(wire_ack_decode(&flagged, &ack), RC_MALFORMED);
}

Test(wire_ack_encode, is_read_back_and_leaves_zero_words_out, .timeout = 10)
{
    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct wire_ack ack = {seeded_u64(), (uint32_t)seeded_u64(), seeded_u64(), {0}};
        uint32_t words = (uint32_t)seeded_below(5);
        for (uint32_t word = 0; word < words; word++)
            ack.sack[word] = seeded_u64();
        while (words > 0 && ack.sack[words - 1] == 0)
            words--;
        uint8_t bytes[WIRE_ACK_BYTES_MAX];
        uint32_t count = wire_ack_encode(bytes, &ack);
        cr_assert_eq(count, 24 + 8 * words);
        cr_assert_eq(count, wire_ack_bytes(&ack));
        struct wire_frame frame = seeded_frame(bytes, count);
        struct wire_ack found;
        memset(&found, 0xee, sizeof(found));
        cr_assert_eq(frame.type, WIRE_FRAME_ACK);
        cr_assert_eq(wire_ack_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.largest_packet, ack.largest_packet);
        cr_assert_eq(found.delay_us, ack.delay_us);
        cr_assert_eq(found.credit, ack.credit);
        cr_assert_arr_eq(found.sack, ack.sack, sizeof(ack.sack));
    }
}

Test(wire_ping, has_one_length_and_one_flag, .timeout = 10)
{
    struct wire_ping ping;

    for (size_t count = 0; count < 20; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_PING, 0, zeros, count);
        cr_assert_eq(wire_ping_decode(&frame, &ping), count == 8 ? RC_OK : RC_MALFORMED);
    }
    for (unsigned flags = 0; flags < 256; flags++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_PING, (uint8_t)flags, zeros, 8);
        cr_assert_eq(wire_ping_decode(&frame, &ping), flags < 2 ? RC_OK : RC_MALFORMED);
    }
    uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_PING_BYTES];
    struct wire_ping sent = {UINT64_C(0x0123456789abcdef)};
    cr_assert_eq(wire_ping_encode(bytes, &sent, WIRE_PING_REPLY), sizeof(bytes));
    struct wire_frame frame = seeded_frame(bytes, sizeof(bytes));
    cr_assert_eq(frame.flags, WIRE_PING_REPLY);
    cr_assert_eq(wire_ping_decode(&frame, &ping), RC_OK);
    cr_assert_eq(ping.token, sent.token);
}

Test(wire_close, carries_at_most_200_bytes_of_text, .timeout = 10)
{
    struct wire_close close;
    char text[300];

    for (size_t count = 0; count < 300; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_CLOSE, 0, zeros, count);
        bool is_good = count >= 2 && count <= 202;
        cr_assert_eq(wire_close_decode(&frame, &close), is_good ? RC_OK : RC_MALFORMED);
    }
    memset(text, 'x', sizeof(text));
    for (size_t count = 0; count <= sizeof(text); count++) {
        struct wire_close sent = {WIRE_CLOSE_LIMIT, {(const uint8_t *)text, count}};
        uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_CLOSE_HEAD_BYTES + WIRE_CLOSE_TEXT_MAX];
        uint32_t written = wire_close_encode(bytes, &sent);
        cr_assert(written <= sizeof(bytes));
        struct wire_frame frame = seeded_frame(bytes, written);
        cr_assert_eq(wire_close_decode(&frame, &close), RC_OK);
        cr_assert_eq(close.code, WIRE_CLOSE_LIMIT);
        cr_assert_eq(close.text.count, count < 200 ? count : 200);
    }
}

/* ---- producing ---- */

Test(wire_data_decode, wants_a_batch_and_no_flag, .timeout = 10)
{
    struct wire_data data;

    for (size_t count = 0; count < 100; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_DATA, 0, zeros, count);
        cr_assert_eq(wire_data_decode(&frame, &data), count > 20 ? RC_OK : RC_MALFORMED);
    }
    struct wire_frame flagged = seeded_body(WIRE_FRAME_DATA, 1, zeros, 100);
    cr_assert_eq(wire_data_decode(&flagged, &data), RC_MALFORMED);
}

Test(wire_data_decode, refuses_a_partition_whose_spare_bytes_are_not_zero, .timeout = 10)
{
    uint8_t body[40] = {0};
    struct wire_data data;
    struct wire_data_frag frag;

    put_u32_le(body + WIRE_DATA_HEAD_BYTES, 12);
    put_u16_le(body + WIRE_DATA_HEAD_BYTES + 6, 1);
    for (size_t i = 18; i < 20; i++) {
        body[i] = 1;
        struct wire_frame frame = seeded_body(WIRE_FRAME_DATA, 0, body, sizeof(body));
        cr_assert_eq(wire_data_decode(&frame, &data), RC_MALFORMED);
        cr_assert_eq(wire_data_frag_decode(&frame, &frag), RC_MALFORMED);
        body[i] = 0;
    }
    struct wire_frame frame = seeded_body(WIRE_FRAME_DATA, 0, body, sizeof(body));
    cr_assert_eq(wire_data_frag_decode(&frame, &frag), RC_OK);
}

Test(wire_data, is_read_back_as_it_was, .timeout = 10)
{
    static uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES + 1500];

    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct wire_data data = {(uint32_t)seeded_u64(), seeded_partition(), {0}};
        data.batch.count = 1 + seeded_below(1500);
        uint8_t *batch = bytes + WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES;
        seeded_fill(batch, data.batch.count);
        uint32_t head = wire_data_encode_head(bytes, &data);
        cr_assert_eq(head, WIRE_FRAME_HEADER_BYTES + WIRE_DATA_HEAD_BYTES);
        data.batch.at = batch;
        struct wire_frame frame = seeded_frame(bytes, head + (uint32_t)data.batch.count);
        struct wire_data found;
        cr_assert_eq(frame.type, WIRE_FRAME_DATA);
        cr_assert_eq(wire_data_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.request, data.request);
        cr_assert_eq(found.partition.incarnation, data.partition.incarnation);
        cr_assert_eq(found.partition.slot, data.partition.slot);
        cr_assert_eq(found.partition.log_tile, data.partition.log_tile);
        cr_assert(bytes_equal(found.batch, data.batch));
    }
}

/* ---- pieces; DATA_FRAG stands for all that have one ---- */

struct piece_case {
    uint32_t total;
    uint32_t index;
    uint32_t count;
    uint32_t bytes;
    bool is_good;
};

static enum rc
decode_piece(const struct piece_case *piece_case)
{
    uint8_t body[WIRE_DATA_FRAG_HEAD_BYTES + 1500] = {0};
    struct wire_data_frag frag;

    put_u32_le(body + WIRE_DATA_HEAD_BYTES, piece_case->total);
    put_u16_le(body + WIRE_DATA_HEAD_BYTES + 4, (uint16_t)piece_case->index);
    put_u16_le(body + WIRE_DATA_HEAD_BYTES + 6, (uint16_t)piece_case->count);
    struct wire_frame frame = seeded_body(
        WIRE_FRAME_DATA_FRAG, 0, body, WIRE_DATA_FRAG_HEAD_BYTES + piece_case->bytes);
    return wire_data_frag_decode(&frame, &frag);
}

Test(wire_piece, stays_in_its_ranges, .timeout = 10)
{
    static const struct piece_case cases[] = {
        {0, 0, 1, 0, false},       /* an empty batch */
        {0, 0, 0, 0, false},       /* no piece at all */
        {100, 0, 0, 100, false},   /* index not below count */
        {100, 1, 1, 100, false},   /* same */
        {100, 2, 2, 50, false},    /* same */
        {100, 0, 1, 100, true},    /* a single piece is the whole */
        {100, 0, 1, 99, false},    /* shorter */
        {100, 0, 1, 101, false},   /* longer */
        {100, 1, 2, 0, false},     /* every piece has bytes */
        {100, 1, 2, 1, true},      /* least */
        {100, 1, 2, 99, true},     /* most: one byte for the other */
        {100, 1, 2, 100, false},   /* nothing left for the other */
        {1024, 0, 1024, 1, true},  /* one byte each */
        {1024, 0, 1024, 2, false}, /* not enough for the others */
        {1023, 0, 1024, 1, false}, /* more pieces than bytes */
        {WIRE_MESSAGE_BYTES_MAX, 1023, 1024, 1024, true},
        {WIRE_MESSAGE_BYTES_MAX + 1, 1023, 1024, 1024, false},
        {WIRE_MESSAGE_BYTES_MAX, 0, 1025, 1024, false},
        {UINT32_MAX, 0, 1024, 1024, false},
        {1000, 65535, 65535, 10, false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_assert_eq(
            decode_piece(&cases[i]), cases[i].is_good ? RC_OK : RC_MALFORMED, "case %zu", i);
}

Test(wire_data_frag, is_read_back_as_it_was, .timeout = 10)
{
    static uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_DATA_FRAG_HEAD_BYTES + 1500];

    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct wire_data_frag frag = {
            (uint32_t)seeded_u64(), seeded_partition(), seeded_piece(1500)};
        uint32_t head = wire_data_frag_encode_head(bytes, &frag);
        cr_assert_eq(head, WIRE_FRAME_HEADER_BYTES + WIRE_DATA_FRAG_HEAD_BYTES);
        memcpy(bytes + head, frag.piece.bytes.at, frag.piece.bytes.count);
        struct wire_frame frame = seeded_frame(bytes, head + (uint32_t)frag.piece.bytes.count);
        struct wire_data_frag found;
        cr_assert_eq(frame.type, WIRE_FRAME_DATA_FRAG);
        cr_assert_eq(wire_data_frag_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.request, frag.request);
        cr_assert_eq(found.partition.incarnation, frag.partition.incarnation);
        cr_assert_eq(found.piece.total_bytes, frag.piece.total_bytes);
        cr_assert_eq(found.piece.index, frag.piece.index);
        cr_assert_eq(found.piece.count, frag.piece.count);
        cr_assert(bytes_equal(found.piece.bytes, frag.piece.bytes));
    }
}

Test(wire_commit_count, takes_whole_entries_only, .timeout = 10)
{
    for (size_t bytes = 0; bytes < 70; bytes++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_COMMIT, 0, zeros, bytes);
        uint32_t count = 77;
        bool is_good = bytes > 0 && bytes % 16 == 0;
        cr_assert_eq(wire_commit_count(&frame, &count), is_good ? RC_OK : RC_MALFORMED);
        cr_assert_eq(count, is_good ? bytes / 16 : 77);
    }
    struct wire_frame flagged = seeded_body(WIRE_FRAME_COMMIT, 2, zeros, 16);
    uint32_t count;
    cr_assert_eq(wire_commit_count(&flagged, &count), RC_MALFORMED);
}

Test(wire_commit_encode, grows_entry_by_entry, .timeout = 10)
{
    uint8_t bytes[WIRE_FRAME_HEADER_BYTES + 80 * WIRE_COMMIT_BYTES];
    struct wire_commit sent[80];

    seeded_begin(SEED);
    for (uint32_t i = 0; i < ARRAY_COUNT(sent); i++) {
        sent[i] = (struct wire_commit){
            (uint32_t)seeded_u64(), (uint16_t)seeded_u64(), (uint16_t)seeded_u64(), seeded_u64()};
        uint32_t written = wire_commit_encode(bytes, i, &sent[i]);
        cr_assert_eq(written, 4 + 16 * (i + 1));
        struct wire_frame frame = seeded_frame(bytes, written);
        uint32_t count;
        cr_assert_eq(frame.type, WIRE_FRAME_COMMIT);
        cr_assert_eq(wire_commit_count(&frame, &count), RC_OK);
        cr_assert_eq(count, i + 1);
        for (uint32_t at = 0; at < count; at++) {
            struct wire_commit found;
            wire_commit_at(&frame, at, &found);
            cr_assert_eq(found.request, sent[at].request);
            cr_assert_eq(found.status, sent[at].status);
            cr_assert_eq(found.flags, sent[at].flags);
            cr_assert_eq(found.base_offset, sent[at].base_offset);
        }
    }
}
