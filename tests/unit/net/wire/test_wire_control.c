/* Goal: the control exchange takes whole messages in range and nothing else.
 * Method: prefixes byte by byte, every field out of its range alone, every length around the right
 * one, seeded round trips; bytes lie in memory of exactly their size. */
#include "wire_seeded.h"

#include "net/wire/wire_control.h"
#include "tests/unit/kept.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct bytes
exact(const uint8_t *at, size_t count)
{
    uint8_t *copy = kept(malloc(count + 1));

    memcpy(copy + 1, at, count);
    return (struct bytes){copy + 1, count};
}

static struct bytes
text(const char *of)
{
    return (struct bytes){(const uint8_t *)of, strlen(of)};
}

/* The body of the one whole message in [message, message + count). */
static struct bytes
body_of(const uint8_t *message, uint32_t count, uint8_t wanted_type)
{
    struct bytes all = exact(message, count);
    struct bytes body = {0};
    uint8_t type = 0;
    uint32_t taken = 0;

    for (uint32_t part = 0; part < count; part++)
        cr_assert_eq(wire_control_next(all.at, part, &type, &body, &taken), RC_AGAIN);
    cr_assert_eq(wire_control_next(all.at, count, &type, &body, &taken), RC_OK);
    cr_assert_eq(type, wanted_type);
    cr_assert_eq(taken, count);
    return exact(body.at, body.count);
}

static struct wire_grant
good_grant(void)
{
    return (struct wire_grant){.session = 0x55443302,
                               .epoch = 9,
                               .auth = WIRE_AUTH_AEAD,
                               .tile = 2,
                               .window = 256,
                               .datagram_bytes_max = 1400,
                               .idle_ms = 10000,
                               .port_count = 3,
                               .ports = {9095, 9096, 9097}};
}

static const struct wire_join good_join = {
    .version = WIRE_VERSION, .tile = WIRE_TILE_ANY, .datagram_bytes_max = 1200};

Test(wire_control_next, refuses_lengths_as_soon_as_they_are_there, .timeout = 10)
{
    static const uint32_t lengths[] = {0, 1, WIRE_CONTROL_BYTES_MAX - 3, 0x01000000, UINT32_MAX};
    uint8_t type;
    struct bytes body;
    uint32_t taken;

    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        uint8_t prefix[4];
        put_u32_le(prefix, lengths[i]);
        cr_assert_eq(wire_control_next(prefix, 3, &type, &body, &taken), RC_AGAIN);
        cr_assert_eq(wire_control_next(prefix, 4, &type, &body, &taken), RC_MALFORMED);
    }
}

Test(wire_control_next, refuses_unknown_types_and_spare_bytes, .timeout = 10)
{
    uint8_t message[6] = {2};
    uint8_t type;
    struct bytes body;
    uint32_t taken;

    for (unsigned value = 0; value < 256; value++) {
        bool is_known = value >= WIRE_CONTROL_JOIN && value <= WIRE_CONTROL_LEAVE;
        message[4] = (uint8_t)value;
        message[5] = 0;
        cr_assert_eq(wire_control_next(message, 6, &type, &body, &taken),
                     is_known ? RC_OK : RC_MALFORMED);
        message[5] = 1;
        cr_assert_eq(wire_control_next(message, 6, &type, &body, &taken), RC_MALFORMED);
    }
}

Test(wire_control_next, takes_one_message_of_several, .timeout = 10)
{
    uint8_t stream[2 * WIRE_CONTROL_BYTES_MAX];
    uint32_t first = wire_join_encode(stream, &good_join);
    uint32_t count = first + wire_leave_encode(stream + first);
    uint8_t type;
    struct bytes body;
    uint32_t taken;

    cr_assert_eq(wire_control_next(stream, count, &type, &body, &taken), RC_OK);
    cr_assert_eq(taken, first);
    cr_assert_eq(wire_control_next(stream + first, count - first, &type, &body, &taken), RC_OK);
    cr_assert_eq(type, WIRE_CONTROL_LEAVE);
    cr_assert_eq(body.count, 0);
    cr_assert_eq(first + taken, count);
}

/* ---- JOIN ---- */

Test(wire_join_decode, tells_another_version_whatever_follows, .timeout = 10)
{
    static const uint8_t other[] = {2, 0, 0xff, 0xff, 0xff};
    struct wire_join join;

    for (size_t count = 0; count <= sizeof(other); count++)
        cr_assert_eq(wire_join_decode(exact(other, count), &join),
                     count < 2 ? RC_MALFORMED : RC_UNSUPPORTED);
}

Test(wire_join_decode, refuses_fields_out_of_range, .timeout = 10)
{
    static const struct {
        uint32_t at;
        uint32_t value;
        bool is_good;
    } cases[] = {
        {2, WIRE_AUTH_NONE, true},
        {2, 2, false},
        {3, 15, true},
        {3, 16, false},
        {3, 254, false},
        {5, 1199 >> 8, false}, /* with the zero below: 1024 */
        {6, 1, false},         /* 66,736 */
        {8, 1, false},         /* a user of one byte that is not there */
    };
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint32_t count = wire_join_encode(message, &good_join);
        uint8_t *body = message + WIRE_CONTROL_PREFIX_BYTES;
        body[cases[i].at] = (uint8_t)cases[i].value;
        if (cases[i].at == 5)
            body[4] = 0;
        cr_assert_eq(wire_join_decode(exact(body, count - WIRE_CONTROL_PREFIX_BYTES), &join),
                     cases[i].is_good ? RC_OK : RC_MALFORMED,
                     "case %zu",
                     i);
    }
}

Test(wire_join_decode, refuses_texts_longer_than_their_limits, .timeout = 10)
{
    static const uint32_t limits[] = {WIRE_USER_MAX, WIRE_SECRET_MAX, WIRE_CONTROL_TEXT_MAX};

    for (size_t field = 0; field < 3; field++) {
        for (uint32_t more = 0; more < 2; more++) {
            uint8_t body[WIRE_JOIN_HEAD_BYTES + 6 + 300] = {WIRE_VERSION};
            struct wire_join join;
            uint32_t count = limits[field] + more;
            put_u32_le(body + 4, 1400);
            put_u16_le(body + WIRE_JOIN_HEAD_BYTES + 2 * field, (uint16_t)count);
            struct bytes all = exact(body, WIRE_JOIN_HEAD_BYTES + 6 + count);
            cr_assert_eq(wire_join_decode(all, &join), more == 0 ? RC_OK : RC_MALFORMED);
        }
    }
}

Test(wire_join, is_read_back_and_no_part_of_it_is, .timeout = 10)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_join join = good_join;
    struct wire_join found;

    join.auth = WIRE_AUTH_NONE;
    join.tile = 3;
    join.datagram_bytes_max = 8900;
    join.user = text("tide");
    join.secret = text("wave and bore");
    join.client = text("test/1");
    uint32_t count = wire_join_encode(message, &join);
    struct bytes body = body_of(message, count, WIRE_CONTROL_JOIN);
    for (size_t part = 0; part < body.count; part++)
        cr_assert_eq(wire_join_decode(exact(body.at, part), &found), RC_MALFORMED);
    cr_assert_eq(wire_join_decode(body, &found), RC_OK);
    cr_assert_eq(found.version, 1);
    cr_assert_eq(found.auth, WIRE_AUTH_NONE);
    cr_assert_eq(found.tile, 3);
    cr_assert_eq(found.datagram_bytes_max, 8900);
    cr_assert(bytes_equal(found.user, join.user));
    cr_assert(bytes_equal(found.secret, join.secret));
    cr_assert(bytes_equal(found.client, join.client));
    message[count] = 0;
    struct bytes longer = exact(message + WIRE_CONTROL_PREFIX_BYTES, body.count + 1);
    cr_assert_eq(wire_join_decode(longer, &found), RC_MALFORMED);
}

Test(wire_join_encode, cuts_a_long_client_name, .timeout = 10)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    uint8_t name[300] = {'n'};
    struct wire_join join = good_join;
    struct wire_join found;

    join.client = (struct bytes){name, sizeof(name)};
    struct bytes body = body_of(message, wire_join_encode(message, &join), WIRE_CONTROL_JOIN);
    cr_assert_eq(wire_join_decode(body, &found), RC_OK);
    cr_assert_eq(found.client.count, WIRE_CONTROL_TEXT_MAX);
}

/* ---- GRANT ---- */

Test(wire_grant_decode, refuses_fields_out_of_range, .timeout = 10)
{
    static const struct {
        uint32_t at;
        uint8_t value;
        bool is_good;
    } cases[] = {
        {8, 1, true},
        {8, 2, false}, /* auth */
        {9, 1, false},
        {0, 1, false},  /* tile and session disagree */
        {10, 1, false}, /* window 257 */
        {11, 0, true},  /* window 0x0001 after the change below */
        {13, 4, false}, /* datagram 1144 */
        {14, 1, false}, /* datagram 66,936 */
        {84, 2, false},
        {84, 17, false}, /* port count against the bytes */
        {85, 1, false},  /* spare */
    };
    struct wire_grant grant = good_grant();
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_grant found;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint32_t count = wire_grant_encode(message, &grant);
        uint8_t *body = message + WIRE_CONTROL_PREFIX_BYTES;
        if (cases[i].at == 11)
            body[10] = 1;
        body[cases[i].at] = cases[i].value;
        cr_assert_eq(wire_grant_decode(exact(body, count - WIRE_CONTROL_PREFIX_BYTES), &found),
                     cases[i].is_good ? RC_OK : RC_MALFORMED,
                     "case %zu",
                     i);
    }
}

Test(wire_grant_decode, refuses_what_is_zero_and_must_not_be, .timeout = 10)
{
    static const struct {
        uint32_t at;
        uint32_t bytes;
    } cases[] = {{10, 2}, {12, 4}, {16, 4}, {84, 1}, {86, 2}, {88, 2}, {90, 2}};
    struct wire_grant grant = good_grant();
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_grant found;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint32_t count = wire_grant_encode(message, &grant);
        uint8_t *body = message + WIRE_CONTROL_PREFIX_BYTES;
        memset(body + cases[i].at, 0, cases[i].bytes);
        cr_assert_eq(wire_grant_decode(exact(body, count - WIRE_CONTROL_PREFIX_BYTES), &found),
                     RC_MALFORMED,
                     "case %zu",
                     i);
    }
}

Test(wire_grant, is_read_back_and_no_part_of_it_is, .timeout = 10)
{
    seeded_begin(SEED);
    for (uint32_t i = 0; i < 200; i++) {
        struct wire_grant grant;
        struct wire_grant found;
        memset(&grant, 0, sizeof(grant));
        memset(&found, 0, sizeof(found));
        grant.port_count = (uint8_t)(1 + seeded_below(WIRE_TILES_MAX));
        grant.tile = (uint8_t)seeded_below(grant.port_count);
        grant.session = ((uint32_t)seeded_u64() & 0xffffff00) | grant.tile;
        grant.epoch = (uint32_t)seeded_u64();
        grant.auth = (uint8_t)seeded_below(2);
        grant.window = (uint16_t)(1 + seeded_below(256));
        grant.datagram_bytes_max = (uint32_t)(1200 + seeded_below(65536 - 1200));
        grant.idle_ms = (uint32_t)(1 + seeded_below(UINT32_MAX));
        grant.broker_id = seeded_u64();
        seeded_fill(grant.client_key, 16);
        seeded_fill(grant.server_key, 16);
        seeded_fill(grant.client_salt, 4);
        seeded_fill(grant.server_salt, 4);
        seeded_fill(grant.ip, 16);
        for (uint32_t port = 0; port < grant.port_count; port++)
            grant.ports[port] = (uint16_t)(1 + seeded_below(65535));
        uint8_t message[WIRE_CONTROL_BYTES_MAX];
        uint32_t count = wire_grant_encode(message, &grant);
        cr_assert_eq(count, 6 + 86 + 2u * grant.port_count);
        struct bytes body = body_of(message, count, WIRE_CONTROL_GRANT);
        for (size_t part = 0; part < body.count; part++)
            cr_assert_eq(wire_grant_decode(exact(body.at, part), &found), RC_MALFORMED);
        cr_assert_eq(wire_grant_decode(body, &found), RC_OK);
        cr_assert_arr_eq(&found, &grant, sizeof(grant));
    }
}

Test(wire_grant_encode,
     stops_for_a_grant_of_ours_that_nobody_would_take,
     .timeout = 10,
     .signal = SIGABRT)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_grant grant = good_grant();

    grant.session++;
    (void)wire_grant_encode(message, &grant);
}

/* ---- REFUSED ---- */

Test(wire_refused, has_a_code_and_a_bounded_text, .timeout = 10)
{
    uint8_t body[300] = {58};
    struct wire_refused refused;

    for (size_t count = 0; count < sizeof(body); count++)
        cr_assert_eq(wire_refused_decode(exact(body, count), &refused),
                     count >= 2 && count <= 202 ? RC_OK : RC_MALFORMED);
    body[0] = 0;
    cr_assert_eq(wire_refused_decode(exact(body, 10), &refused), RC_MALFORMED);

    uint8_t message[WIRE_CONTROL_BYTES_MAX];
    struct wire_refused sent = {58, text("no such user, or another secret")};
    struct bytes got = body_of(message, wire_refused_encode(message, &sent), WIRE_CONTROL_REFUSED);
    cr_assert_eq(wire_refused_decode(got, &refused), RC_OK);
    cr_assert_eq(refused.code, 58);
    cr_assert(bytes_equal(refused.text, sent.text));
}
