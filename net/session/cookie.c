/* The stateless cookie; see cookie.h.
 *
 *     0                     8                          32
 *     +---------------------+--------------------------+
 *     | expiry s << 1 | turn | tag                      |   WIRE_COOKIE_BYTES, little endian
 *     +---------------------+--------------------------+
 *
 * tag = SipHash-2-4-128 under the turn's first key (16 bytes), then the first 8 bytes of the same
 * under its second key, over {ip, port, session, first 8 bytes}. A turn is two minutes of the
 * tile's clock; its keys are the secret's hash of its number, so that turning needs neither the
 * system nor an allocation, and a cookie of two turns ago, which has the bit of today's turn, meets
 * another key. No nonce is involved: nothing can be repeated by mistake (the trap of a retry token
 * made with a cipher). */
#include "net/session/cookie.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define COOKIE_TURN_NS (120 * NS_PER_S)
#define COOKIE_SECRET_BYTES 32u
#define COOKIE_KEY_BYTES 16u
#define COOKIE_HASH_BYTES 16u
#define COOKIE_STAMP_BYTES 8u
#define COOKIE_TAG_BYTES 24u
#define COOKIE_MESSAGE_BYTES (16u + 2u + 4u + COOKIE_STAMP_BYTES)

_Static_assert(COOKIE_STAMP_BYTES + COOKIE_TAG_BYTES == WIRE_COOKIE_BYTES, "PROTOCOL.md");
_Static_assert(COOKIE_LIFE_NS < COOKIE_TURN_NS, "a cookie never outlives its key by two turns");

struct cookie_jar {
    EVP_MAC_CTX *hash;
    uint8_t secret[COOKIE_SECRET_BYTES];
    uint64_t turn;                        /* of keys[turn & 1] */
    bool has_turn;                        /* keys are made */
    uint8_t keys[2][2][COOKIE_KEY_BYTES]; /* [turn & 1][half of the tag] */
};

static void
cookie_hash(struct cookie_jar *jar,
            const uint8_t *key,
            const uint8_t *message,
            size_t count,
            uint8_t *ret_hash)
{
    size_t written = 0;

    CHECK(EVP_MAC_init(jar->hash, key, COOKIE_KEY_BYTES, NULL) == 1);
    CHECK(EVP_MAC_update(jar->hash, message, count) == 1);
    CHECK(EVP_MAC_final(jar->hash, ret_hash, &written, COOKIE_HASH_BYTES) == 1);
    CHECK(written == COOKIE_HASH_BYTES);
}

static void
cookie_make_keys(struct cookie_jar *jar, uint64_t turn)
{
    uint8_t message[8];

    put_u64_le(message, turn);
    for (uint32_t half = 0; half < 2; half++)
        cookie_hash(jar,
                    jar->secret + half * COOKIE_KEY_BYTES,
                    message,
                    sizeof(message),
                    jar->keys[turn & 1][half]);
}

/* Brings the keys to the turn of now. */
static void
cookie_turn(struct cookie_jar *jar, uint64_t now_ns)
{
    uint64_t turn = now_ns / COOKIE_TURN_NS;

    if (LIKELY(jar->has_turn && jar->turn == turn))
        return;
    jar->turn = turn;
    jar->has_turn = true;
    cookie_make_keys(jar, turn);
    cookie_make_keys(jar, turn - 1); /* of the time before the first turn: never used, harmless */
}

enum rc
cookie_jar_create(const uint8_t *secret, struct cookie_jar **ret_jar)
{
    /* OpenSSL's allocator: made at start-up only. */
    struct cookie_jar *jar = OPENSSL_zalloc(sizeof(*jar));
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "SIPHASH", NULL);

    if (jar == NULL || algorithm == NULL)
        goto fail;
    jar->hash = EVP_MAC_CTX_new(algorithm);
    if (jar->hash == NULL)
        goto fail;
    size_t hash_bytes = COOKIE_HASH_BYTES;
    const OSSL_PARAM size[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &hash_bytes),
                               OSSL_PARAM_construct_end()};
    if (EVP_MAC_CTX_set_params(jar->hash, size) != 1)
        goto fail;
    EVP_MAC_free(algorithm);
    memcpy(jar->secret, secret, sizeof(jar->secret));
    *ret_jar = jar;
    return RC_OK;

fail:
    EVP_MAC_free(algorithm);
    cookie_jar_destroy(jar);
    return RC_NO_MEMORY;
}

void
cookie_jar_destroy(struct cookie_jar *jar)
{
    if (jar == NULL)
        return;
    EVP_MAC_CTX_free(jar->hash);
    OPENSSL_clear_free(jar, sizeof(*jar));
}

enum rc
cookie_in_hello(const uint8_t *datagram, uint32_t byte_count, const uint8_t **ret_cookie)
{
    static const uint8_t none[WIRE_COOKIE_BYTES];
    struct wire_header header;
    struct bytes frames;

    if (byte_count < WIRE_HELLO_BYTES)
        return RC_MALFORMED;
    if (wire_header_decode(datagram, byte_count, &header, &frames) != RC_OK)
        return RC_MALFORMED;
    if (header.type != WIRE_HELLO || (header.flags & WIRE_FLAG_SEQUENCED) != 0)
        return RC_MALFORMED;
    const uint8_t *cookie = datagram + WIRE_HEADER_BYTES;
    *ret_cookie = memcmp(cookie, none, sizeof(none)) == 0 ? NULL : cookie;
    return RC_OK;
}

/* The tag of a stamp, whose lowest bit names the turn. */
static void
cookie_tag(struct cookie_jar *jar,
           const struct nic_address *peer,
           uint32_t session_id,
           uint64_t stamp,
           uint8_t *ret_tag)
{
    uint8_t message[COOKIE_MESSAGE_BYTES];
    uint8_t hashes[2 * COOKIE_HASH_BYTES];

    memcpy(message, peer->ip, sizeof(peer->ip));
    put_u16_le(message + 16, peer->port);
    put_u32_le(message + 18, session_id);
    put_u64_le(message + 22, stamp);
    for (uint32_t half = 0; half < 2; half++)
        cookie_hash(jar,
                    jar->keys[stamp & 1][half],
                    message,
                    sizeof(message),
                    hashes + half * COOKIE_HASH_BYTES);
    bytes_copy(ret_tag, COOKIE_TAG_BYTES, hashes, COOKIE_TAG_BYTES);
}

uint32_t
cookie_retry(struct cookie_jar *jar,
             const struct nic_address *peer,
             uint32_t session_id,
             uint64_t now_ns,
             uint8_t *datagram)
{
    struct wire_header header = {
        .type = WIRE_RETRY,
        .length = WIRE_RETRY_BYTES,
        .session = session_id,
    };
    uint8_t *cookie = datagram + WIRE_HEADER_BYTES;

    cookie_turn(jar, now_ns);
    uint64_t stamp = ((now_ns + COOKIE_LIFE_NS) / NS_PER_S) << 1 | (jar->turn & 1);
    wire_header_encode(&header, datagram);
    put_u64_le(cookie, stamp);
    cookie_tag(jar, peer, session_id, stamp, cookie + COOKIE_STAMP_BYTES);
    return WIRE_RETRY_BYTES;
}

bool
cookie_is_good(struct cookie_jar *jar,
               const uint8_t *cookie,
               const struct nic_address *peer,
               uint32_t session_id,
               uint64_t now_ns)
{
    uint8_t tag[COOKIE_TAG_BYTES];
    uint64_t stamp = get_u64_le(cookie);
    uint64_t now_s = now_ns / NS_PER_S;

    cookie_turn(jar, now_ns);
    /* The tag is computed for every cookie, good or expired: constant work. */
    cookie_tag(jar, peer, session_id, stamp, tag);
    bool same = CRYPTO_memcmp(tag, cookie + COOKIE_STAMP_BYTES, sizeof(tag)) == 0;
    bool alive = (stamp >> 1) >= now_s;
    return same && alive;
}
