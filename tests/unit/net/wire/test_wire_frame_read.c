/* Goal: bodies that name and read partitions, and Kafka requests in pieces: as test_wire_frame.c.
 * Method: the same. */
#include "wire_seeded.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t zeros[2048];

static void
expect_partition(const struct wire_partition *found, const struct wire_partition *wanted)
{
    cr_assert_eq(found->incarnation, wanted->incarnation);
    cr_assert_eq(found->slot, wanted->slot);
    cr_assert_eq(found->log_tile, wanted->log_tile);
}

static void
expect_piece(const struct wire_piece *found, const struct wire_piece *wanted)
{
    cr_assert_eq(found->total_bytes, wanted->total_bytes);
    cr_assert_eq(found->index, wanted->index);
    cr_assert_eq(found->count, wanted->count);
    cr_assert(bytes_equal(found->bytes, wanted->bytes));
}

/* ---- naming ---- */

Test(wire_resolve, takes_names_of_1_to_249_bytes, .timeout = 10)
{
    for (size_t count = 0; count < 400; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_RESOLVE, 0, zeros, count);
        struct wire_resolve resolve;
        bool is_good = count >= 9 && count <= 8 + 249;
        cr_assert_eq(wire_resolve_decode(&frame, &resolve), is_good ? RC_OK : RC_MALFORMED);
        if (!is_good)
            continue;
        uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVE_HEAD_BYTES + WIRE_TOPIC_NAME_MAX];
        resolve.request = 0x11223344;
        resolve.partition_first = 55;
        struct wire_frame again = seeded_frame(bytes, wire_resolve_encode(bytes, &resolve));
        struct wire_resolve found;
        cr_assert_eq(again.type, WIRE_FRAME_RESOLVE);
        cr_assert_eq(wire_resolve_decode(&again, &found), RC_OK);
        cr_assert_eq(found.request, resolve.request);
        cr_assert_eq(found.partition_first, 55);
        cr_assert(bytes_equal(found.topic, resolve.topic));
    }
}

/* Body of a RESOLVED with so many entries of zeros. */
static struct wire_frame
resolved_body(uint32_t partitions, uint32_t first, uint32_t entries, size_t count)
{
    uint8_t body[WIRE_RESOLVED_HEAD_BYTES + 200] = {0};

    put_u32_le(body + 24, partitions);
    put_u32_le(body + 32, first);
    put_u32_le(body + 36, entries);
    return seeded_body(WIRE_FRAME_RESOLVED, 0, body, count);
}

Test(wire_resolved_decode, refuses_entries_that_do_not_fit, .timeout = 10)
{
    static const struct {
        uint32_t partitions;
        uint32_t first;
        uint32_t entries;
        uint32_t count;
        bool is_good;
    } cases[] = {
        {0, 0, 0, 40, true},
        {0, 0, 0, 39, false},
        {0, 0, 0, 41, false}, /* a part of an entry */
        {4, 0, 4, 40 + 64, true},
        {4, 0, 4, 40 + 63, false}, /* the last one cut */
        {4, 0, 4, 40 + 65, false}, /* one byte more */
        {4, 0, 3, 40 + 64, false}, /* more bytes than entries */
        {4, 0, 5, 40 + 64, false}, /* fewer */
        {3, 0, 4, 40 + 64, false}, /* more entries than partitions */
        {4, 1, 4, 40 + 64, false}, /* beyond the last partition */
        {5, 1, 4, 40 + 64, true},
        {4, 4, 0, 40, true}, /* asked behind the last: nothing */
        {4, 5, 0, 40, false},
        {4, UINT32_MAX, 4, 40 + 64, false},
        {4, 0, 0x10000004, 40 + 64, false}, /* times 16 would wrap to 64 */
    };
    struct wire_resolved resolved;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct wire_frame frame = resolved_body(
            cases[i].partitions, cases[i].first, cases[i].entries, cases[i].count);
        cr_assert_eq(wire_resolved_decode(&frame, &resolved),
                     cases[i].is_good ? RC_OK : RC_MALFORMED,
                     "case %zu",
                     i);
    }
}

Test(wire_resolved_decode, refuses_spare_bytes_that_are_not_zero, .timeout = 10)
{
    static const size_t spare[] = {7, 40 + 14, 40 + 15, 40 + 30};
    struct wire_resolved resolved;

    for (size_t i = 0; i < ARRAY_COUNT(spare); i++) {
        uint8_t body[40 + 32] = {0};
        body[24] = 2;
        body[36] = 2;
        body[spare[i]] = 1;
        struct wire_frame frame = seeded_body(WIRE_FRAME_RESOLVED, 0, body, sizeof(body));
        cr_assert_eq(wire_resolved_decode(&frame, &resolved), RC_MALFORMED, "byte %zu", spare[i]);
    }
    uint8_t body[40] = {[6] = 2};
    struct wire_frame frame = seeded_body(WIRE_FRAME_RESOLVED, 0, body, sizeof(body));
    cr_assert_eq(wire_resolved_decode(&frame, &resolved), RC_MALFORMED);
}

Test(wire_resolved, is_read_back_as_it_was, .timeout = 10)
{
    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint8_t
            bytes[WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVED_HEAD_BYTES + 20 * WIRE_PARTITION_BYTES];
        struct wire_partition partitions[20];
        struct wire_resolved resolved = {
            .request = (uint32_t)seeded_u64(),
            .status = (uint16_t)seeded_u64(),
            .batch_bytes_max = (uint32_t)seeded_u64(),
            .is_durable = seeded_below(2) != 0,
            .partition_first = (uint32_t)seeded_below(1000),
            .entry_count = (uint32_t)seeded_below(21),
        };
        resolved.partition_count = resolved.partition_first + resolved.entry_count +
                                   (uint32_t)seeded_below(5);
        seeded_fill(resolved.topic_id, sizeof(resolved.topic_id));
        uint32_t count = wire_resolved_encode_head(bytes, &resolved);
        cr_assert_eq(count, WIRE_FRAME_HEADER_BYTES + WIRE_RESOLVED_HEAD_BYTES);
        for (uint32_t at = 0; at < resolved.entry_count; at++) {
            partitions[at] = seeded_partition();
            wire_partition_encode(bytes + count, &partitions[at]);
            count += WIRE_PARTITION_BYTES;
        }
        struct wire_frame frame = seeded_frame(bytes, count);
        struct wire_resolved found;
        cr_assert_eq(frame.type, WIRE_FRAME_RESOLVED);
        cr_assert_eq(wire_resolved_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.request, resolved.request);
        cr_assert_eq(found.status, resolved.status);
        cr_assert_arr_eq(found.topic_id, resolved.topic_id, 16);
        cr_assert_eq(found.partition_count, resolved.partition_count);
        cr_assert_eq(found.batch_bytes_max, resolved.batch_bytes_max);
        cr_assert_eq(found.is_durable, resolved.is_durable);
        cr_assert_eq(found.partition_first, resolved.partition_first);
        cr_assert_eq(found.entry_count, resolved.entry_count);
        for (uint32_t at = 0; at < resolved.entry_count; at++) {
            struct wire_partition partition;
            wire_resolved_at(&found, at, &partition);
            expect_partition(&partition, &partitions[at]);
        }
    }
}

/* ---- reading ---- */

Test(wire_fetch, subscribe_and_credit_have_one_length_each, .timeout = 10)
{
    for (size_t count = 0; count < 60; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_FETCH, 0, zeros, count);
        struct wire_fetch fetch;
        struct wire_subscribe subscribe;
        struct wire_credit credit;
        cr_assert_eq(wire_fetch_decode(&frame, &fetch), count == 32 ? RC_OK : RC_MALFORMED);
        cr_assert_eq(wire_subscribe_decode(&frame, &subscribe), count == 36 ? RC_OK : RC_MALFORMED);
        cr_assert_eq(wire_credit_decode(&frame, &credit), count == 12 ? RC_OK : RC_MALFORMED);
    }
    for (unsigned flags = 1; flags < 256; flags++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_FETCH, (uint8_t)flags, zeros, 32);
        struct wire_fetch fetch;
        cr_assert_eq(wire_fetch_decode(&frame, &fetch), RC_MALFORMED);
        frame = seeded_body(WIRE_FRAME_SUBSCRIBE, (uint8_t)flags, zeros, 36);
        struct wire_subscribe subscribe;
        cr_assert_eq(wire_subscribe_decode(&frame, &subscribe), RC_MALFORMED);
        frame = seeded_body(WIRE_FRAME_CREDIT, (uint8_t)flags, zeros, 12);
        struct wire_credit credit;
        cr_assert_eq(wire_credit_decode(&frame, &credit),
                     flags == WIRE_CREDIT_END ? RC_OK : RC_MALFORMED);
    }
}

Test(wire_fetch, subscribe_and_credit_are_read_back, .timeout = 10)
{
    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint8_t bytes[64];
        struct wire_fetch fetch = {
            (uint32_t)seeded_u64(), seeded_partition(), seeded_u64(), (uint32_t)seeded_u64()};
        struct wire_frame frame = seeded_frame(bytes, wire_fetch_encode(bytes, &fetch));
        struct wire_fetch fetch_found;
        cr_assert_eq(frame.type, WIRE_FRAME_FETCH);
        cr_assert_eq(wire_fetch_decode(&frame, &fetch_found), RC_OK);
        cr_assert_eq(fetch_found.request, fetch.request);
        expect_partition(&fetch_found.partition, &fetch.partition);
        cr_assert_eq(fetch_found.offset, fetch.offset);
        cr_assert_eq(fetch_found.max_bytes, fetch.max_bytes);

        struct wire_subscribe subscribe = {
            (uint32_t)seeded_u64(), seeded_partition(), seeded_u64(), seeded_u64()};
        frame = seeded_frame(bytes, wire_subscribe_encode(bytes, &subscribe));
        struct wire_subscribe subscribe_found;
        cr_assert_eq(frame.type, WIRE_FRAME_SUBSCRIBE);
        cr_assert_eq(wire_subscribe_decode(&frame, &subscribe_found), RC_OK);
        cr_assert_eq(subscribe_found.subscription, subscribe.subscription);
        expect_partition(&subscribe_found.partition, &subscribe.partition);
        cr_assert_eq(subscribe_found.offset, subscribe.offset);
        cr_assert_eq(subscribe_found.credit_bytes, subscribe.credit_bytes);

        struct wire_credit credit = {(uint32_t)seeded_u64(), seeded_u64()};
        uint8_t flags = (uint8_t)seeded_below(2);
        frame = seeded_frame(bytes, wire_credit_encode(bytes, &credit, flags));
        struct wire_credit credit_found;
        cr_assert_eq(frame.type, WIRE_FRAME_CREDIT);
        cr_assert_eq(frame.flags, flags);
        cr_assert_eq(wire_credit_decode(&frame, &credit_found), RC_OK);
        cr_assert_eq(credit_found.subscription, credit.subscription);
        cr_assert_eq(credit_found.credit_bytes, credit.credit_bytes);
    }
}

Test(wire_fetched_decode, refuses_what_contradicts_itself, .timeout = 10)
{
    uint8_t body[WIRE_FETCHED_HEAD_BYTES + 10] = {0};
    struct wire_fetched fetched;

    body[30] = 1; /* one piece of total 0: nothing there */
    for (size_t count = 0; count < 42; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_FETCHED, 0, body, count);
        cr_assert_eq(wire_fetched_decode(&frame, &fetched), count == 32 ? RC_OK : RC_MALFORMED);
    }
    for (unsigned flags = 0; flags < 256; flags++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_FETCHED, (uint8_t)flags, body, 32);
        cr_assert_eq(wire_fetched_decode(&frame, &fetched), flags < 2 ? RC_OK : RC_MALFORMED);
    }
    body[4] = 1; /* an error comes with nothing */
    struct wire_frame frame = seeded_body(WIRE_FRAME_FETCHED, 0, body, 32);
    cr_assert_eq(wire_fetched_decode(&frame, &fetched), RC_OK);
    body[24] = 10;
    frame = seeded_body(WIRE_FRAME_FETCHED, 0, body, 42);
    cr_assert_eq(wire_fetched_decode(&frame, &fetched), RC_MALFORMED);
    body[4] = 0;
    frame = seeded_body(WIRE_FRAME_FETCHED, 0, body, 42);
    cr_assert_eq(wire_fetched_decode(&frame, &fetched), RC_OK);
    body[6] = 1; /* spare */
    frame = seeded_body(WIRE_FRAME_FETCHED, 0, body, 42);
    cr_assert_eq(wire_fetched_decode(&frame, &fetched), RC_MALFORMED);
}

Test(wire_fetched, is_read_back_as_it_was, .timeout = 10)
{
    static uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES + 1500];

    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct wire_fetched fetched = {.request = (uint32_t)seeded_u64(),
                                       .high_watermark = seeded_u64(),
                                       .start_offset = seeded_u64(),
                                       .piece = seeded_piece(1500)};
        uint8_t flags = (uint8_t)seeded_below(2);
        uint32_t head = wire_fetched_encode_head(bytes, &fetched, flags);
        cr_assert_eq(head, WIRE_FRAME_HEADER_BYTES + WIRE_FETCHED_HEAD_BYTES);
        memcpy(bytes + head, fetched.piece.bytes.at, fetched.piece.bytes.count);
        struct wire_frame frame = seeded_frame(bytes, head + (uint32_t)fetched.piece.bytes.count);
        struct wire_fetched found;
        cr_assert_eq(frame.type, WIRE_FRAME_FETCHED);
        cr_assert_eq(frame.flags, flags);
        cr_assert_eq(wire_fetched_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.request, fetched.request);
        cr_assert_eq(found.status, 0);
        cr_assert_eq(found.high_watermark, fetched.high_watermark);
        cr_assert_eq(found.start_offset, fetched.start_offset);
        expect_piece(&found.piece, &fetched.piece);
    }
}

/* ---- Kafka requests ---- */

Test(wire_call_decode, lets_only_an_answer_be_empty_or_refuse, .timeout = 10)
{
    static const struct {
        uint8_t type;
        uint16_t status;
        uint16_t spare;
        uint32_t total;
        bool is_good;
    } cases[] = {
        {WIRE_FRAME_CALL, 0, 0, 4, true},
        {WIRE_FRAME_CALL, 0, 0, 0, false},
        {WIRE_FRAME_CALL, 3, 0, 4, false},
        {WIRE_FRAME_CALL, 0, 1, 4, false},
        {WIRE_FRAME_ANSWER, 0, 0, 4, true},
        {WIRE_FRAME_ANSWER, 0, 0, 0, true},
        {WIRE_FRAME_ANSWER, 3, 0, 0, true},
        {WIRE_FRAME_ANSWER, 3, 0, 4, false},
        {WIRE_FRAME_ANSWER, 0, 1, 4, false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t body[WIRE_CALL_HEAD_BYTES + 4] = {0};
        struct wire_call call;
        put_u16_le(body + 4, cases[i].status);
        put_u16_le(body + 6, cases[i].spare);
        put_u32_le(body + 8, cases[i].total);
        put_u16_le(body + 14, 1);
        struct wire_frame frame = seeded_body(
            cases[i].type, 0, body, WIRE_CALL_HEAD_BYTES + cases[i].total);
        cr_assert_eq(wire_call_decode(&frame, &call),
                     cases[i].is_good ? RC_OK : RC_MALFORMED,
                     "case %zu",
                     i);
    }
    for (size_t count = 0; count < WIRE_CALL_HEAD_BYTES; count++) {
        struct wire_frame frame = seeded_body(WIRE_FRAME_ANSWER, 0, zeros, count);
        struct wire_call call;
        cr_assert_eq(wire_call_decode(&frame, &call), RC_MALFORMED);
    }
}

Test(wire_call, is_read_back_as_it_was, .timeout = 10)
{
    static uint8_t bytes[WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES + 1500];

    seeded_begin(SEED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint8_t type = i % 2 == 0 ? WIRE_FRAME_CALL : WIRE_FRAME_ANSWER;
        struct wire_call call = {(uint32_t)seeded_u64(), 0, seeded_piece(1500)};
        uint32_t head = wire_call_encode_head(bytes, type, &call);
        cr_assert_eq(head, WIRE_FRAME_HEADER_BYTES + WIRE_CALL_HEAD_BYTES);
        memcpy(bytes + head, call.piece.bytes.at, call.piece.bytes.count);
        struct wire_frame frame = seeded_frame(bytes, head + (uint32_t)call.piece.bytes.count);
        struct wire_call found;
        cr_assert_eq(frame.type, type);
        cr_assert_eq(wire_call_decode(&frame, &found), RC_OK);
        cr_assert_eq(found.request, call.request);
        cr_assert_eq(found.status, 0);
        expect_piece(&found.piece, &call.piece);
    }
}
