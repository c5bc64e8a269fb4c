/* The stateless cookie: proof that a peer receives at the address it sends from, before anything is
 * kept for it. cookie = {u64 expiry in s << 1 | lowest bit of the key's turn, 24-byte tag}: the tag
 * is a keyed hash (SipHash-2-4 of OpenSSL, twice with distinct keys) over address, port, session
 * and the first 8 bytes, under keys that change every two minutes; the former ones stay good for
 * one more turn.
 *
 * Owned by one net tile. Runs on: its core.  Allocates: at creation.  Blocks: never. */
#ifndef EAGRE_NET_SESSION_COOKIE_H
#define EAGRE_NET_SESSION_COOKIE_H

#include "hw/clock/clock.h"
#include "hw/nic/nic.h"
#include "net/wire/wire.h"

#define COOKIE_LIFE_NS (30 * NS_PER_S)

struct cookie_jar;
/* secret: [32] from the system's source of secrets. */
enum rc cookie_jar_create(const uint8_t *secret, struct cookie_jar **ret_jar) MUST_USE;
void cookie_jar_destroy(struct cookie_jar *jar);

/* What a datagram with header type HELLO carries: its cookie, or NULL when it has none yet.
 * RC_MALFORMED: shorter than WIRE_HELLO_BYTES, or not of this form. The HELLO's clear part: header,
 * then cookie [WIRE_COOKIE_BYTES] (zeros: none), then sealed padding. */
enum rc
cookie_in_hello(const uint8_t *datagram, uint32_t byte_count, const uint8_t **ret_cookie) MUST_USE;

/* Writes a whole RETRY datagram, WIRE_RETRY_BYTES; its bytes. now_ns is of the tile's clock. */
uint32_t cookie_retry(struct cookie_jar *jar,
                      const struct nic_address *peer,
                      uint32_t session_id,
                      uint64_t now_ns,
                      uint8_t *datagram);
/* Constant time. */
bool cookie_is_good(struct cookie_jar *jar,
                    const uint8_t *cookie,
                    const struct nic_address *peer,
                    uint32_t session_id,
                    uint64_t now_ns) MUST_USE;

#endif
