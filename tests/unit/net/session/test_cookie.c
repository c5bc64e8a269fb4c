/* The stateless cookie. Goal: it is good at one address, for one session, for a while, and cannot
 * be made or changed by anyone else. Method: each bit flipped, each part of the address moved, time
 * set by hand over several turns of the key. */
#include "net/session/cookie.h"

#include "engine/base/bytes.h"

#include <criterion/criterion.h>
#include <string.h>

#define SESSION_ID 0xabcdef00u
#define BEGIN_NS (1000 * NS_PER_S)

static const struct nic_address peer = {
    .ip = {[10] = 0xff, 0xff, 192, 168, 1, 9}, .port = 40001, .mac = {1, 2, 3, 4, 5, 6}};

static struct cookie_jar *
jar_of(uint8_t fill)
{
    struct cookie_jar *jar;
    uint8_t secret[32];

    memset(secret, fill, sizeof(secret));
    cr_assert_eq(cookie_jar_create(secret, &jar), RC_OK);
    return jar;
}

/* The cookie of a RETRY made now. */
static void
retry(struct cookie_jar *jar, uint64_t now_ns, uint8_t *ret_cookie)
{
    uint8_t datagram[WIRE_RETRY_BYTES_MAX];
    struct wire_header header;
    struct bytes frames;

    uint32_t byte_count = cookie_retry(jar, &peer, SESSION_ID, now_ns, datagram);
    cr_assert_leq(byte_count, WIRE_RETRY_BYTES_MAX);
    cr_assert_eq(wire_header_decode(datagram, byte_count, &header, &frames), RC_OK);
    cr_assert_eq(header.type, WIRE_RETRY);
    cr_assert_eq(header.session, SESSION_ID);
    cr_assert_eq(frames.count, WIRE_COOKIE_BYTES);
    memcpy(ret_cookie, frames.at, WIRE_COOKIE_BYTES);
}

Test(cookie, is_refused_with_any_bit_flipped, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    uint8_t cookie[WIRE_COOKIE_BYTES];

    retry(jar, BEGIN_NS, cookie);
    for (uint32_t bit = 0; bit < WIRE_COOKIE_BYTES * 8; bit++) {
        cookie[bit / 8] ^= (uint8_t)BIT(bit % 8);
        cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID, BEGIN_NS), "bit %u", bit);
        cookie[bit / 8] ^= (uint8_t)BIT(bit % 8);
    }
    cr_assert(cookie_is_good(jar, cookie, &peer, SESSION_ID, BEGIN_NS));
    cookie_jar_destroy(jar);
}

Test(cookie, is_refused_from_another_address_port_or_session, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    uint8_t cookie[WIRE_COOKIE_BYTES];

    retry(jar, BEGIN_NS, cookie);
    for (uint32_t i = 0; i < 16; i++) {
        struct nic_address other = peer;
        other.ip[i] ^= 1;
        cr_assert(!cookie_is_good(jar, cookie, &other, SESSION_ID, BEGIN_NS));
    }
    for (uint32_t bit = 0; bit < 16; bit++) {
        struct nic_address other = peer;
        other.port ^= (uint16_t)BIT(bit);
        cr_assert(!cookie_is_good(jar, cookie, &other, SESSION_ID, BEGIN_NS));
    }
    for (uint32_t bit = 0; bit < 32; bit++)
        cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID ^ BIT(bit), BEGIN_NS));
    cookie_jar_destroy(jar);
}

Test(cookie, is_refused_by_another_secret, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    struct cookie_jar *other = jar_of(2);
    uint8_t cookie[WIRE_COOKIE_BYTES];

    retry(jar, BEGIN_NS, cookie);
    cr_assert(!cookie_is_good(other, cookie, &peer, SESSION_ID, BEGIN_NS));
    cookie_jar_destroy(jar);
    cookie_jar_destroy(other);
}

Test(cookie, of_zeros_or_noise_is_refused, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    uint8_t cookie[WIRE_COOKIE_BYTES] = {0};
    struct clock dice;

    clock_init_sim(&dice, 5, 0);
    cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID, BEGIN_NS));
    for (uint32_t i = 0; i < 20000; i++) {
        for (uint32_t at = 0; at < WIRE_COOKIE_BYTES; at += 8)
            put_u64_le(cookie + at, clock_random(&dice));
        cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID, BEGIN_NS));
    }
    cookie_jar_destroy(jar);
}

Test(cookie, lives_for_its_time_and_no_longer, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    uint8_t cookie[WIRE_COOKIE_BYTES];

    /* At every second of two turns, so that each place of the key's turn is met. */
    for (uint64_t second = 0; second < 240; second++) {
        uint64_t now_ns = BEGIN_NS + second * NS_PER_S;
        retry(jar, now_ns, cookie);
        cr_assert(cookie_is_good(jar, cookie, &peer, SESSION_ID, now_ns + COOKIE_LIFE_NS));
        cr_assert(
            !cookie_is_good(jar, cookie, &peer, SESSION_ID, now_ns + COOKIE_LIFE_NS + NS_PER_S));
    }
    cookie_jar_destroy(jar);
}

Test(cookie, of_two_turns_ago_is_refused_even_if_it_had_not_expired, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    uint8_t cookie[WIRE_COOKIE_BYTES];
    uint64_t now_ns = 1200 * NS_PER_S; /* where a turn begins */

    /* A cookie that says "good until much later" under the key of this turn cannot be had; one of
     * the very last moment of a turn is offered at the first moment of the turn after the next,
     * with the clock set back in between as no clock does, so that only the key can refuse. */
    retry(jar, now_ns + 119 * NS_PER_S, cookie);
    cr_assert(cookie_is_good(jar, cookie, &peer, SESSION_ID, now_ns + 125 * NS_PER_S));
    cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID, now_ns + 240 * NS_PER_S));
    retry(jar, now_ns + 241 * NS_PER_S, cookie);
    cr_assert(!cookie_is_good(jar, cookie, &peer, SESSION_ID, now_ns));
    cookie_jar_destroy(jar);
}

Test(cookie, needs_no_hardware_address, .timeout = 10)
{
    struct cookie_jar *jar = jar_of(1);
    struct nic_address other = peer;
    uint8_t cookie[WIRE_COOKIE_BYTES];

    memset(other.mac, 9, sizeof(other.mac));
    retry(jar, BEGIN_NS, cookie);
    cr_assert(cookie_is_good(jar, cookie, &other, SESSION_ID, BEGIN_NS), "the route changed");
    cookie_jar_destroy(jar);
}

Test(cookie, in_hello_is_found_only_in_a_whole_padded_hello, .timeout = 10)
{
    uint8_t datagram[WIRE_HELLO_BYTES + 100] = {0};
    const uint8_t *cookie;
    struct wire_header header = {
        .type = WIRE_HELLO, .length = WIRE_HELLO_BYTES, .session = SESSION_ID, .packet_number = 1};

    wire_header_encode(&header, datagram);
    cr_assert_eq(cookie_in_hello(datagram, WIRE_HELLO_BYTES, &cookie), RC_OK);
    cr_assert_null(cookie, "none yet");
    datagram[WIRE_HEADER_BYTES + 31] = 1;
    cr_assert_eq(cookie_in_hello(datagram, WIRE_HELLO_BYTES, &cookie), RC_OK);
    cr_assert_eq(cookie, datagram + WIRE_HEADER_BYTES);
    for (uint32_t byte_count = 0; byte_count < WIRE_HELLO_BYTES; byte_count++) {
        put_u16_le(datagram + 2, (uint16_t)byte_count);
        cr_assert_eq(cookie_in_hello(datagram, byte_count, &cookie), RC_MALFORMED);
    }
    header.type = WIRE_SESSION;
    wire_header_encode(&header, datagram);
    cr_assert_eq(cookie_in_hello(datagram, WIRE_HELLO_BYTES, &cookie), RC_MALFORMED);
    cookie_jar_destroy(NULL);
}
