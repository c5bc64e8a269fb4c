/* The cipher of a session. Goal: nothing that was changed anywhere is opened; keys turn without a
 * packet lost; the bytes are those of PROTOCOL.md. Method: every byte of a sealed datagram is
 * damaged in turn; the derivation of the next key is done a second time with bare EVP calls. */
#include "net/session/cipher.h"
#include "net/wire/wire_frame.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <string.h>

#define TEXT_BYTES 200u

struct ends {
    struct wire_grant grant;
    struct session_cipher *client;
    struct session_cipher *server;
};

static void
ends_init(struct ends *ends, uint8_t auth)
{
    *ends = (struct ends){.grant = {.auth = auth}};
    for (uint32_t i = 0; i < WIRE_KEY_BYTES; i++) {
        ends->grant.client_key[i] = (uint8_t)(i * 7 + 1);
        ends->grant.server_key[i] = (uint8_t)(i * 13 + 5);
    }
    memcpy(ends->grant.client_salt, "\x01\x02\x03\x04", WIRE_SALT_BYTES);
    memcpy(ends->grant.server_salt, "\x05\x06\x07\x08", WIRE_SALT_BYTES);
    cr_assert_eq(session_cipher_create(&ends->grant, true, &ends->client), RC_OK);
    cr_assert_eq(session_cipher_create(&ends->grant, false, &ends->server), RC_OK);
}

static void
ends_fini(struct ends *ends)
{
    session_cipher_destroy(ends->client);
    session_cipher_destroy(ends->server);
}

/* A sequenced packet with TEXT_BYTES of padding frame that carries its number. */
static uint32_t
seal(struct session_cipher *cipher, uint64_t packet_number, uint8_t *datagram)
{
    struct wire_header header = {.type = WIRE_SESSION,
                                 .flags = WIRE_FLAG_SEQUENCED,
                                 .session = 7,
                                 .packet_number = packet_number,
                                 .sequence = packet_number};
    uint32_t clear_bytes = wire_clear_bytes(header.type, header.flags);

    wire_header_encode(&header, datagram);
    memset(datagram + clear_bytes, 0x5a, TEXT_BYTES);
    put_u64_le(datagram + clear_bytes, packet_number);
    return session_cipher_seal(
        cipher, datagram, clear_bytes, clear_bytes + TEXT_BYTES, packet_number);
}

static bool
open(struct session_cipher *cipher, const uint8_t *datagram, uint32_t byte_count)
{
    uint8_t to[2048];
    struct wire_header header;
    struct bytes frames;

    if (wire_header_decode(datagram, byte_count, &header, &frames) != RC_OK)
        return false;
    if (!session_cipher_open(cipher, &header, datagram, to, &frames))
        return false;
    cr_assert_eq(frames.count, TEXT_BYTES);
    cr_assert_eq(get_u64_le(frames.at), header.packet_number);
    for (uint32_t i = 8; i < TEXT_BYTES; i++)
        cr_assert_eq(frames.at[i], 0x5a);
    return true;
}

static void
damage_every_byte(uint8_t auth)
{
    struct ends ends;
    uint8_t datagram[2048];

    ends_init(&ends, auth);
    uint32_t byte_count = seal(ends.client, 1, datagram);
    for (uint32_t i = 0; i < byte_count; i++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            datagram[i] ^= (uint8_t)BIT(bit);
            cr_assert(!open(ends.server, datagram, byte_count), "byte %u bit %u", i, bit);
            datagram[i] ^= (uint8_t)BIT(bit);
        }
    }
    for (uint32_t cut = 0; cut < byte_count; cut++)
        cr_assert(!open(ends.server, datagram, cut));
    cr_assert(open(ends.server, datagram, byte_count), "and untouched it opens");
    ends_fini(&ends);
}

Test(session_cipher, refuses_every_changed_bit_and_every_cut, .timeout = 20)
{
    damage_every_byte(WIRE_AUTH_AEAD);
}

Test(session_cipher, refuses_every_changed_bit_and_every_cut_without_encryption, .timeout = 20)
{
    damage_every_byte(WIRE_AUTH_NONE);
}

Test(session_cipher, refuses_a_length_that_was_changed_with_the_datagram, .timeout = 10)
{
    struct ends ends;
    uint8_t datagram[2048] = {0};

    ends_init(&ends, WIRE_AUTH_AEAD);
    uint32_t byte_count = seal(ends.client, 1, datagram);
    put_u16_le(datagram + 2, (uint16_t)(byte_count - 1));
    cr_assert(!open(ends.server, datagram, byte_count - 1));
    put_u16_le(datagram + 2, (uint16_t)(byte_count + 1));
    cr_assert(!open(ends.server, datagram, byte_count + 1));
    ends_fini(&ends);
}

Test(session_cipher, directions_have_keys_of_their_own, .timeout = 10)
{
    struct ends ends;
    uint8_t datagram[2048];

    ends_init(&ends, WIRE_AUTH_AEAD);
    uint32_t byte_count = seal(ends.client, 1, datagram);
    cr_assert(!open(ends.client, datagram, byte_count), "sent back to where it came from");
    ends_fini(&ends);
}

Test(session_cipher, a_plain_packet_is_not_taken_by_a_sealed_session_nor_the_reverse, .timeout = 10)
{
    struct ends sealed;
    struct ends plain;
    uint8_t datagram[2048];

    ends_init(&sealed, WIRE_AUTH_AEAD);
    ends_init(&plain, WIRE_AUTH_NONE);
    uint32_t byte_count = seal(plain.client, 1, datagram);
    cr_assert(session_cipher_is_plain(plain.server));
    cr_assert(!session_cipher_is_plain(sealed.server));
    cr_assert(!open(sealed.server, datagram, byte_count));
    byte_count = seal(sealed.client, 1, datagram);
    cr_assert(!open(plain.server, datagram, byte_count));
    ends_fini(&sealed);
    ends_fini(&plain);
}

Test(session_cipher, hides_the_frames_and_not_the_header, .timeout = 10)
{
    struct ends ends;
    uint8_t datagram[2048];

    ends_init(&ends, WIRE_AUTH_AEAD);
    uint32_t byte_count = seal(ends.client, 0x0102030405060708, datagram);
    uint32_t same = 0;
    for (uint32_t i = 32 + 8; i < byte_count; i++)
        same += datagram[i] == 0x5a;
    cr_assert_lt(same, 20);
    cr_assert_eq(get_u64_le(datagram + 8), 0x0102030405060708);
    ends_fini(&ends);
}

Test(session_cipher, packets_of_the_former_key_are_opened_after_the_turn, .timeout = 10)
{
    struct ends ends;
    uint8_t late[3][2048];
    uint32_t late_bytes[3];
    uint8_t datagram[2048];

    ends_init(&ends, WIRE_AUTH_AEAD);
    for (uint32_t i = 0; i < 3; i++)
        late_bytes[i] = seal(ends.client, 1 + i, late[i]);
    session_cipher_rekey(ends.client);
    cr_assert_eq(session_cipher_generation(ends.client), 1);
    uint32_t byte_count = seal(ends.client, 10, datagram);
    cr_assert(open(ends.server, late[0], late_bytes[0]));
    cr_assert(open(ends.server, datagram, byte_count));
    cr_assert(open(ends.server, late[1], late_bytes[1]), "under way while the key turned");
    byte_count = seal(ends.client, 5, datagram);
    cr_assert(open(ends.server, datagram, byte_count), "older than the first one of this key");
    session_cipher_rekey(ends.client);
    byte_count = seal(ends.client, 20, datagram);
    cr_assert(open(ends.server, datagram, byte_count));
    cr_assert(!open(ends.server, late[2], late_bytes[2]), "two keys ago");
    ends_fini(&ends);
}

Test(session_cipher, a_forged_key_phase_turns_nothing, .timeout = 10)
{
    struct ends ends;
    uint8_t datagram[2048];

    ends_init(&ends, WIRE_AUTH_AEAD);
    for (uint64_t number = 1; number < 200; number++) {
        uint32_t byte_count = seal(ends.client, number, datagram);
        datagram[1] ^= WIRE_FLAG_KEY_PHASE;
        cr_assert(!open(ends.server, datagram, byte_count));
        datagram[1] ^= WIRE_FLAG_KEY_PHASE;
        cr_assert(open(ends.server, datagram, byte_count));
    }
    ends_fini(&ends);
}

Test(session_cipher, turns_a_hundred_times, .timeout = 10)
{
    struct ends ends;
    uint8_t datagram[2048];

    ends_init(&ends, WIRE_AUTH_AEAD);
    for (uint64_t number = 1; number <= 300; number++) {
        if (number % 3 == 0)
            session_cipher_rekey(ends.client);
        uint32_t byte_count = seal(ends.client, number, datagram);
        cr_assert(open(ends.server, datagram, byte_count));
    }
    cr_assert_eq(session_cipher_generation(ends.client), 100);
    ends_fini(&ends);
}

/* The document's words, done with EVP alone. */
Test(session_cipher,
     the_next_key_is_the_cipher_of_zeros_under_the_last_packet_number,
     .timeout = 10)
{
    struct ends ends;
    uint8_t iv[12];
    uint8_t zeros[16] = {0};
    uint8_t key[16];
    uint8_t text[TEXT_BYTES];
    uint8_t expected[TEXT_BYTES];
    uint8_t datagram[2048];
    int count;

    ends_init(&ends, WIRE_AUTH_AEAD);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    memcpy(iv, ends.grant.client_salt, 4);
    memset(iv + 4, 0xff, 8);
    cr_assert(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, ends.grant.client_key, iv));
    cr_assert(EVP_EncryptUpdate(context, key, &count, zeros, 16));

    session_cipher_rekey(ends.client);
    seal(ends.client, 0x1122, datagram);
    memset(iv + 4, 0, 8);
    iv[4] = 0x22;
    iv[5] = 0x11;
    memset(text, 0x5a, sizeof(text));
    put_u64_le(text, 0x1122);
    cr_assert(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, iv));
    cr_assert(EVP_EncryptUpdate(context, expected, &count, text, TEXT_BYTES));
    cr_assert_arr_eq(datagram + 32, expected, TEXT_BYTES);
    cr_assert_eq(datagram[1] & WIRE_FLAG_KEY_PHASE, WIRE_FLAG_KEY_PHASE);
    EVP_CIPHER_CTX_free(context);
    ends_fini(&ends);
}

Test(session_cipher, destroying_nothing_is_allowed, .timeout = 10)
{
    session_cipher_destroy(NULL);
}
