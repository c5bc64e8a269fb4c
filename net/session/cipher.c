/* Sealing and opening on OpenSSL's EVP; see cipher.h.
 *
 * Every context is made and keyed once; a packet sets only its IV, which is what keeps the cost at
 * that of the cipher itself (hotpath: 388 ns for 1,400 bytes, a fetch per packet would cost
 * microseconds more). The opening side keeps three contexts: the generation in use, the former one
 * for packets under way, and the next one ready made, so that a packet of the other key phase costs
 * exactly one cipher run whether it is forged or not.
 *
 * Which of the two a packet of the other phase belongs to is told by its number: packet numbers
 * rise and a sender turns its key once, so what is older than the oldest packet of the present
 * generation is of the former one, anything else of the next one. The sender does not turn again
 * before the peer has acknowledged a packet of the present generation (session_send.c), so two
 * turns are never under way at once. */
#include "net/session/cipher.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/hash.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define CIPHER_IV_BYTES 12
#define CIPHER_FLAGS_AT 1u /* in the header, net/wire/wire.h */
#define CIPHER_LENGTH_AT 2u
#define CIPHER_TURN_NUMBER UINT64_MAX /* never sent: the next key is made under it */

_Static_assert(CIPHER_IV_BYTES == WIRE_SALT_BYTES + sizeof(uint64_t), "nonce: salt, packet number");

enum cipher_generation { CIPHER_FORMER, CIPHER_PRESENT, CIPHER_NEXT, CIPHER_GENERATIONS };

struct session_cipher {
    bool plain;
    bool has_former; /* the opening key has turned at least once */
    uint8_t seal_salt[WIRE_SALT_BYTES];
    uint8_t open_salt[WIRE_SALT_BYTES];
    uint32_t seal_generation;
    uint32_t open_generation;
    uint64_t open_first; /* oldest packet number authenticated in the present generation */
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open[CIPHER_GENERATIONS];
};

static void
cipher_iv(const uint8_t *salt, uint64_t packet_number, uint8_t *iv)
{
    put_u32_le(iv, get_u32_le(salt));
    put_u64_le(iv + WIRE_SALT_BYTES, packet_number);
}

/* The key after the one that context holds. GCM is counter mode: zeros come out as the key stream
 * whether the context seals or opens. */
static void
cipher_next_key(EVP_CIPHER_CTX *context, const uint8_t *salt, uint8_t *ret_key)
{
    static const uint8_t zeros[WIRE_KEY_BYTES];
    uint8_t iv[CIPHER_IV_BYTES];
    int count = 0;

    cipher_iv(salt, CIPHER_TURN_NUMBER, iv);
    CHECK(EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, -1) == 1);
    CHECK(EVP_CipherUpdate(context, ret_key, &count, zeros, WIRE_KEY_BYTES) == 1);
    CHECK(count == WIRE_KEY_BYTES);
}

/* The tag as the provider takes it. By this and not by EVP_CIPHER_CTX_ctrl(), which makes the same
 * of it at the price of a search through its table of controls. */
static ALWAYS_INLINE OSSL_PARAM
cipher_tag(uint8_t *tag)
{
    return OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, WIRE_TAG_BYTES);
}

static void
cipher_set_key(EVP_CIPHER_CTX *context, const uint8_t *key)
{
    CHECK(EVP_CipherInit_ex(context, NULL, NULL, key, NULL, -1) == 1);
}

/* Keys `to` with the generation after that of `from`. */
static void
cipher_key_after(EVP_CIPHER_CTX *from, EVP_CIPHER_CTX *to, const uint8_t *salt)
{
    uint8_t key[WIRE_KEY_BYTES];

    cipher_next_key(from, salt, key);
    cipher_set_key(to, key);
    OPENSSL_cleanse(key, sizeof(key));
}

static EVP_CIPHER_CTX *
cipher_context(const EVP_CIPHER *algorithm, const uint8_t *key, int seals)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (context == NULL)
        return NULL;
    if (EVP_CipherInit_ex(context, algorithm, NULL, key, NULL, seals) != 1) {
        EVP_CIPHER_CTX_free(context);
        return NULL;
    }
    return context;
}

static bool
cipher_make_contexts(struct session_cipher *cipher,
                     const uint8_t *seal_key,
                     const uint8_t *open_key)
{
    EVP_CIPHER *algorithm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);

    if (algorithm == NULL)
        return false;
    cipher->seal = cipher_context(algorithm, seal_key, 1);
    bool made = cipher->seal != NULL;
    for (uint32_t i = 0; i < CIPHER_GENERATIONS; i++) {
        cipher->open[i] = cipher_context(algorithm, open_key, 0);
        made = made && cipher->open[i] != NULL;
    }
    EVP_CIPHER_free(algorithm);
    if (made)
        cipher_key_after(
            cipher->open[CIPHER_PRESENT], cipher->open[CIPHER_NEXT], cipher->open_salt);
    return made;
}

enum rc
session_cipher_create(const struct wire_grant *grant,
                      bool role_is_client,
                      struct session_cipher **ret_cipher)
{
    /* OpenSSL's allocator: like the contexts, made where allocation is allowed. */
    struct session_cipher *cipher = OPENSSL_zalloc(sizeof(*cipher));

    if (cipher == NULL)
        return RC_NO_MEMORY;
    cipher->plain = grant->auth == WIRE_AUTH_NONE;
    if (!cipher->plain) {
        const uint8_t *seal_salt = role_is_client ? grant->client_salt : grant->server_salt;
        const uint8_t *open_salt = role_is_client ? grant->server_salt : grant->client_salt;
        memcpy(cipher->seal_salt, seal_salt, sizeof(cipher->seal_salt));
        memcpy(cipher->open_salt, open_salt, sizeof(cipher->open_salt));
        if (!cipher_make_contexts(cipher,
                                  role_is_client ? grant->client_key : grant->server_key,
                                  role_is_client ? grant->server_key : grant->client_key)) {
            session_cipher_destroy(cipher);
            return RC_NO_MEMORY;
        }
    }
    *ret_cipher = cipher;
    return RC_OK;
}

void
session_cipher_destroy(struct session_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->seal); /* clears its key */
    for (uint32_t i = 0; i < CIPHER_GENERATIONS; i++)
        EVP_CIPHER_CTX_free(cipher->open[i]);
    OPENSSL_clear_free(cipher, sizeof(*cipher));
}

bool
session_cipher_is_plain(const struct session_cipher *cipher)
{
    return cipher->plain;
}

static uint32_t
cipher_seal_plain(uint8_t *datagram, uint32_t byte_count)
{
    uint32_t total = byte_count + WIRE_CRC_BYTES;

    datagram[CIPHER_FLAGS_AT] |= WIRE_FLAG_PLAIN;
    put_u16_le(datagram + CIPHER_LENGTH_AT, (uint16_t)total);
    put_u32_le(datagram + byte_count, hash_crc32c(0, datagram, byte_count));
    return total;
}

uint32_t
session_cipher_seal(struct session_cipher *cipher,
                    uint8_t *datagram,
                    uint32_t header_bytes,
                    uint32_t byte_count,
                    uint64_t packet_number)
{
    DCHECK(header_bytes >= WIRE_HEADER_BYTES);
    DCHECK(header_bytes <= byte_count);
    DCHECK(byte_count + WIRE_TAG_BYTES <= UINT16_MAX);

    if (cipher->plain)
        return cipher_seal_plain(datagram, byte_count);
    CHECK(packet_number != CIPHER_TURN_NUMBER);

    uint32_t total = byte_count + WIRE_TAG_BYTES;
    uint8_t iv[CIPHER_IV_BYTES];
    int count = 0;

    if ((cipher->seal_generation & 1) != 0)
        datagram[CIPHER_FLAGS_AT] |= WIRE_FLAG_KEY_PHASE;
    put_u16_le(datagram + CIPHER_LENGTH_AT, (uint16_t)total);
    cipher_iv(cipher->seal_salt, packet_number, iv);

    EVP_CIPHER_CTX *context = cipher->seal;
    uint8_t *frames = datagram + header_bytes;
    int frame_bytes = (int)(byte_count - header_bytes);
    OSSL_PARAM tag[] = {cipher_tag(datagram + byte_count), OSSL_PARAM_END};
    int good = EVP_EncryptInit_ex2(context, NULL, NULL, iv, NULL);
    good &= EVP_EncryptUpdate(context, NULL, &count, datagram, (int)header_bytes);
    if (frame_bytes > 0)
        good &= EVP_EncryptUpdate(context, frames, &count, frames, frame_bytes);
    good &= EVP_EncryptFinal_ex(context, datagram + byte_count, &count);
    good &= EVP_CIPHER_CTX_get_params(context, tag);
    CHECK(good == 1);
    return total;
}

/* Once the cipher has said yes, a packet of the next generation makes it the present one. */
static COLD void
cipher_turn_open(struct session_cipher *cipher, uint64_t packet_number)
{
    EVP_CIPHER_CTX *oldest = cipher->open[CIPHER_FORMER];

    cipher->open[CIPHER_FORMER] = cipher->open[CIPHER_PRESENT];
    cipher->open[CIPHER_PRESENT] = cipher->open[CIPHER_NEXT];
    cipher->open[CIPHER_NEXT] = oldest;
    cipher_key_after(cipher->open[CIPHER_PRESENT], oldest, cipher->open_salt);
    cipher->has_former = true;
    cipher->open_generation++;
    cipher->open_first = packet_number;
}

static enum cipher_generation
cipher_generation_of(const struct session_cipher *cipher, const struct wire_header *header)
{
    uint32_t phase = (header->flags & WIRE_FLAG_KEY_PHASE) != 0 ? 1 : 0;

    if (LIKELY(phase == (cipher->open_generation & 1)))
        return CIPHER_PRESENT;
    if (cipher->has_former && header->packet_number < cipher->open_first)
        return CIPHER_FORMER;
    return CIPHER_NEXT;
}

bool
session_cipher_open(struct session_cipher *cipher,
                    const struct wire_header *header,
                    const uint8_t *datagram,
                    uint8_t *to,
                    struct bytes *ret_frames)
{
    uint32_t aad_bytes = wire_clear_bytes(header->type, header->flags);
    uint32_t trailer_bytes = wire_trailer_bytes(header->flags);
    uint32_t byte_count = header->length;

    if (((header->flags & WIRE_FLAG_PLAIN) != 0) != cipher->plain)
        return false;
    if (byte_count < aad_bytes + trailer_bytes)
        return false;
    uint32_t frame_bytes = byte_count - aad_bytes - trailer_bytes;
    const uint8_t *trailer = datagram + byte_count - trailer_bytes;

    if (cipher->plain) {
        if (hash_crc32c(0, datagram, byte_count - WIRE_CRC_BYTES) != get_u32_le(trailer))
            return false;
        *ret_frames = (struct bytes){.at = datagram + aad_bytes, .count = frame_bytes};
        return true;
    }

    enum cipher_generation generation = cipher_generation_of(cipher, header);
    EVP_CIPHER_CTX *context = cipher->open[generation];
    uint8_t tag[WIRE_TAG_BYTES];
    uint8_t iv[CIPHER_IV_BYTES];
    int count = 0;

    cipher_iv(cipher->open_salt, header->packet_number, iv);
    memcpy(tag, trailer, sizeof(tag));
    const OSSL_PARAM expected[] = {cipher_tag(tag), OSSL_PARAM_END};
    int good = EVP_DecryptInit_ex2(context, NULL, NULL, iv, expected);
    good &= EVP_DecryptUpdate(context, NULL, &count, datagram, (int)aad_bytes);
    if (frame_bytes > 0)
        good &= EVP_DecryptUpdate(context, to, &count, datagram + aad_bytes, (int)frame_bytes);
    CHECK(good == 1);
    if (EVP_DecryptFinal_ex(context, to + frame_bytes, &count) != 1)
        return false;

    if (UNLIKELY(generation == CIPHER_NEXT))
        cipher_turn_open(cipher, header->packet_number);
    else if (UNLIKELY(generation == CIPHER_PRESENT && header->packet_number < cipher->open_first))
        cipher->open_first = header->packet_number;
    *ret_frames = (struct bytes){.at = to, .count = frame_bytes};
    return true;
}

void
session_cipher_rekey(struct session_cipher *cipher)
{
    if (cipher->plain)
        return;
    cipher_key_after(cipher->seal, cipher->seal, cipher->seal_salt);
    cipher->seal_generation++;
}

uint32_t
session_cipher_generation(const struct session_cipher *cipher)
{
    return cipher->seal_generation;
}
