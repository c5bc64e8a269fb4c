/* Goal: no header is taken that contradicts its datagram, and frames never leave it.
 * Method: every single defect of a good packet, from memory of exactly its size; every byte of a
 * good header drawn anew; frames cut at every length; round trips of seeded values. */
#include "wire_seeded.h"

#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static enum rc
decode(const uint8_t *datagram,
       uint32_t count,
       struct wire_header *ret_header,
       struct bytes *ret_frames)
{
    uint8_t *copy = kept(malloc(count + 1u));

    memcpy(copy + 1, datagram, count);
    enum rc rc = wire_header_decode(copy + 1, count, ret_header, ret_frames);
    if (rc == RC_OK)
        cr_assert(ret_frames->at >= copy + 1 &&
                  ret_frames->at + ret_frames->count <= copy + 1 + count);
    return rc;
}

/* A datagram of zeros behind its header; count is its length. */
static uint8_t *
packet(uint8_t type, uint8_t flags, uint16_t count)
{
    static uint8_t datagram[UINT16_MAX];
    struct wire_header header = {.type = type,
                                 .flags = flags,
                                 .length = count,
                                 .session = 0x01020304,
                                 .packet_number = 7,
                                 .ack = 9,
                                 .sequence = 11};

    memset(datagram, 0, sizeof(datagram));
    wire_header_encode(&header, datagram);
    return datagram;
}

Test(wire_header_decode, tells_what_is_shorter_than_a_header, .timeout = 10)
{
    struct wire_header header;
    struct bytes frames;
    const uint8_t *good = packet(WIRE_SESSION, WIRE_FLAG_PLAIN, 28);

    for (uint32_t count = 0; count < WIRE_HEADER_BYTES; count++)
        cr_assert_eq(decode(good, count, &header, &frames), RC_TRUNCATED);
    for (uint32_t count = WIRE_HEADER_BYTES; count < 28; count++)
        cr_assert_eq(decode(good, count, &header, &frames), RC_MALFORMED);
    cr_assert_eq(decode(good, 28, &header, &frames), RC_OK);
    cr_assert_eq(decode(good, 29, &header, &frames), RC_MALFORMED);
}

Test(wire_header_decode, refuses_other_versions_before_all_else, .timeout = 10)
{
    struct wire_header header;
    struct bytes frames;
    uint8_t *datagram = packet(WIRE_SESSION, 0, 40);

    for (unsigned version = 0; version < 16; version++) {
        datagram[0] = (uint8_t)(version << 4 | WIRE_SESSION);
        datagram[1] = version == WIRE_VERSION ? 0 : 0xff;
        cr_assert_eq(decode(datagram, 40, &header, &frames),
                     version == WIRE_VERSION ? RC_OK : RC_UNSUPPORTED);
    }
}

Test(wire_header_decode, refuses_unknown_types_and_flags, .timeout = 10)
{
    struct wire_header header;
    struct bytes frames;

    for (unsigned type = 0; type < 16; type++) {
        uint8_t *datagram = packet(WIRE_SESSION, 0, 1400);
        datagram[0] = (uint8_t)(WIRE_VERSION << 4 | type);
        bool is_good = type == WIRE_HELLO || type == WIRE_READY || type == WIRE_SESSION;
        cr_assert_eq(decode(datagram, 1400, &header, &frames), is_good ? RC_OK : RC_MALFORMED);
    }
    for (unsigned flags = 0; flags < 256; flags++) {
        uint8_t *datagram = packet(WIRE_SESSION, 0, 1400);
        datagram[1] = (uint8_t)flags;
        cr_assert_eq(decode(datagram, 1400, &header, &frames), flags < 8 ? RC_OK : RC_MALFORMED);
    }
}

Test(wire_header_decode, wants_room_for_the_trailer, .timeout = 10)
{
    static const struct {
        uint8_t type;
        uint8_t flags;
        uint16_t least;
    } cases[] = {
        {WIRE_SESSION, WIRE_FLAG_PLAIN, 24 + 4},
        {WIRE_SESSION, 0, 24 + 16},
        {WIRE_SESSION, WIRE_FLAG_KEY_PHASE, 24 + 16},
        {WIRE_SESSION, WIRE_FLAG_PLAIN | WIRE_FLAG_SEQUENCED, 32 + 4},
        {WIRE_SESSION, WIRE_FLAG_SEQUENCED, 32 + 16},
        {WIRE_READY, 0, 24 + 16},
        {WIRE_READY, WIRE_FLAG_PLAIN, 24 + 4},
        {WIRE_HELLO, 0, 1200},
        {WIRE_HELLO, WIRE_FLAG_PLAIN, 1200},
    };
    struct wire_header header;
    struct bytes frames;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (uint16_t count = WIRE_HEADER_BYTES; count < 1500; count++) {
            enum rc rc = decode(
                packet(cases[i].type, cases[i].flags, count), count, &header, &frames);
            cr_assert_eq(rc,
                         count < cases[i].least ? RC_MALFORMED : RC_OK,
                         "case %zu with %u bytes",
                         i,
                         count);
        }
    }
}

Test(wire_header_decode, takes_a_sequence_only_in_a_session, .timeout = 10)
{
    struct wire_header header;
    struct bytes frames;

    for (uint8_t type = WIRE_HELLO; type <= WIRE_SESSION; type++) {
        uint8_t *datagram = packet(type, WIRE_FLAG_SEQUENCED, 1400);
        cr_assert_eq(decode(datagram, 1400, &header, &frames),
                     type == WIRE_SESSION ? RC_OK : RC_MALFORMED);
    }
}

Test(wire_header_decode, takes_a_retry_of_exactly_one_form, .timeout = 10)
{
    struct wire_header header;
    struct bytes frames;

    for (uint16_t count = WIRE_HEADER_BYTES; count < 300; count++)
        cr_assert_eq(decode(packet(WIRE_RETRY, 0, count), count, &header, &frames),
                     count == 56 ? RC_OK : RC_MALFORMED);
    for (uint8_t flags = 1; flags < 8; flags++)
        cr_assert_eq(decode(packet(WIRE_RETRY, flags, 56), 56, &header, &frames), RC_MALFORMED);
    cr_assert_eq(decode(packet(WIRE_RETRY, 0, 56), 56, &header, &frames), RC_OK);
    cr_assert_eq(frames.count, WIRE_COOKIE_BYTES);
}

Test(wire_header_decode, writes_nothing_when_it_refuses, .timeout = 10)
{
    struct wire_header header = {.session = 1};
    struct wire_header before = header;
    struct bytes frames = {NULL, 77};

    cr_assert_eq(decode(packet(WIRE_RETRY, 0, 57), 57, &header, &frames), RC_MALFORMED);
    cr_assert_eq(memcmp(&header, &before, sizeof(header)), 0);
    cr_assert_eq(frames.count, 77);
}

Test(wire_header_decode, finds_the_frames_between_clear_part_and_trailer, .timeout = 10)
{
    static const struct {
        uint8_t type;
        uint8_t flags;
        uint32_t clear;
        uint32_t trailer;
    } cases[] = {
        {WIRE_HELLO, 0, 56, 16},
        {WIRE_HELLO, WIRE_FLAG_PLAIN, 56, 4},
        {WIRE_RETRY, 0, 24, 0},
        {WIRE_READY, 0, 24, 16},
        {WIRE_SESSION, 0, 24, 16},
        {WIRE_SESSION, WIRE_FLAG_SEQUENCED, 32, 16},
        {WIRE_SESSION, WIRE_FLAG_SEQUENCED | WIRE_FLAG_PLAIN, 32, 4},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint16_t count = cases[i].type == WIRE_RETRY ? 56 : 1300;
        uint8_t *datagram = packet(cases[i].type, cases[i].flags, count);
        struct wire_header header;
        struct bytes frames;
        cr_assert_eq(wire_header_decode(datagram, count, &header, &frames), RC_OK);
        cr_assert_eq(frames.at - datagram, cases[i].clear, "case %zu", i);
        cr_assert_eq(frames.count, count - cases[i].clear - cases[i].trailer, "case %zu", i);
        cr_assert_eq(wire_clear_bytes(header.type, header.flags),
                     cases[i].type == WIRE_RETRY ? 24 : cases[i].clear);
    }
}

Test(wire_header_encode, is_read_back_as_it_was, .timeout = 10)
{
    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct wire_header header = {
            .type = WIRE_SESSION,
            .flags = (uint8_t)seeded_below(8),
            .length = (uint16_t)(48 + seeded_below(UINT16_MAX - 47)),
            .session = (uint32_t)seeded_u64(),
            .packet_number = seeded_u64(),
            .ack = seeded_u64(),
        };
        if ((header.flags & WIRE_FLAG_SEQUENCED) != 0)
            header.sequence = seeded_u64();
        static uint8_t datagram[UINT16_MAX];
        seeded_fill(datagram, 64);
        uint8_t behind = datagram[wire_header_bytes(header.flags)];
        wire_header_encode(&header, datagram);
        cr_assert_eq(datagram[wire_header_bytes(header.flags)], behind);
        struct wire_header found;
        struct bytes frames;
        cr_assert_eq(wire_header_decode(datagram, header.length, &found, &frames), RC_OK);
        cr_assert_eq(found.type, header.type);
        cr_assert_eq(found.flags, header.flags);
        cr_assert_eq(found.length, header.length);
        cr_assert_eq(found.session, header.session);
        cr_assert_eq(found.packet_number, header.packet_number);
        cr_assert_eq(found.ack, header.ack);
        cr_assert_eq(found.sequence, header.sequence);
    }
}

/* ---- frames in a row ---- */

Test(wire_frame_next, ends_where_nothing_is_left, .timeout = 10)
{
    struct bytes frames = {NULL, 0};
    struct wire_frame frame = {.type = WIRE_FRAME_DATA};

    cr_assert(!wire_frame_next(&frames, &frame));
    cr_assert_eq(frame.type, WIRE_FRAME_PADDING);
}

Test(wire_frame_next, refuses_a_frame_cut_anywhere, .timeout = 10)
{
    uint8_t bytes[WIRE_FRAME_HEADER_BYTES + 5] = {0};

    wire_frame_header(bytes, WIRE_FRAME_CALL, 3, 5);
    for (size_t count = 1; count < sizeof(bytes); count++) {
        uint8_t *copy = kept(malloc(count));
        struct bytes frames = {copy, count};
        struct wire_frame frame;
        memcpy(copy, bytes, count);
        cr_assert(!wire_frame_next(&frames, &frame));
        cr_assert_eq(frame.type, WIRE_FRAME_TYPES);
    }
    struct wire_frame whole = seeded_frame(bytes, sizeof(bytes));
    cr_assert_eq(whole.type, WIRE_FRAME_CALL);
    cr_assert_eq(whole.flags, 3);
    cr_assert_eq(whole.body.count, 5);
}

Test(wire_frame_next, refuses_unknown_types, .timeout = 10)
{
    for (unsigned type = 0; type < 256; type++) {
        uint8_t bytes[WIRE_FRAME_HEADER_BYTES] = {(uint8_t)type};
        struct bytes frames = {bytes, sizeof(bytes)};
        struct wire_frame frame;
        bool is_known = type < WIRE_FRAME_TYPES;
        cr_assert_eq(wire_frame_next(&frames, &frame), is_known);
        cr_assert_eq(frame.type, is_known ? type : WIRE_FRAME_TYPES);
        cr_assert_eq(strcmp(wire_frame_name((uint8_t)type), "?") == 0, !is_known);
    }
}

Test(wire_frame_next, gives_frames_in_their_order, .timeout = 10)
{
    uint8_t bytes[200];
    uint32_t count = 0;

    for (uint8_t type = 0; type < WIRE_FRAME_TYPES; type++) {
        wire_frame_header(bytes + count, type, type, type);
        count += WIRE_FRAME_HEADER_BYTES + type;
    }
    struct bytes frames = {bytes, count};
    struct wire_frame frame;
    for (uint8_t type = 0; type < WIRE_FRAME_TYPES; type++) {
        cr_assert(wire_frame_next(&frames, &frame));
        cr_assert_eq(frame.type, type);
        cr_assert_eq(frame.flags, type);
        cr_assert_eq(frame.body.count, type);
    }
    cr_assert(!wire_frame_next(&frames, &frame));
    cr_assert_eq(frame.type, WIRE_FRAME_PADDING);
}
