/* Keys of one session, and sealing and opening of its packets: AES-128-GCM by OpenSSL's EVP with
 * kept contexts, or CRC-32C where the operator chose auth none.
 *
 * Nonce = 4-byte salt of the direction, then the 8-byte packet number (little endian), which is
 * never used twice with a key. Authenticated beside the frames: header, sequence, and the cookie of
 * a HELLO. Generations: key n+1 = the first 16 bytes of AES-128-GCM under key n with the packet
 * number 2^64 - 1 (which is never sent) over 16 zero bytes; the lowest bit of the generation is the
 * packet's WIRE_FLAG_KEY_PHASE. Made where allocation is allowed (control's core, libeagre's
 * creation), used on the session's core, freed where it was made. */
#ifndef EAGRE_NET_SESSION_CIPHER_H
#define EAGRE_NET_SESSION_CIPHER_H

#include "engine/base/base.h"
#include "engine/base/rc.h"
#include "net/wire/wire_control.h"

struct session_cipher;

/* What a grant says. role_is_client: which direction is ours to seal. RC_NO_MEMORY.
 * Allocates: yes (OpenSSL contexts). */
enum rc session_cipher_create(const struct wire_grant *grant,
                              bool role_is_client,
                              struct session_cipher **ret_cipher) MUST_USE;
/* Clears the keys. NULL is allowed. */
void session_cipher_destroy(struct session_cipher *cipher);
bool session_cipher_is_plain(const struct session_cipher *cipher);

/* Seals in place: datagram has header [0, header_bytes), then plain frames up to byte_count, then
 * room for the trailer; the header's length and flags (plain, key phase) are set here. Returns the
 * bytes of the whole datagram. Allocates: nothing (2 us at most in the packet that turns a key). */
uint32_t session_cipher_seal(struct session_cipher *cipher,
                             uint8_t *datagram,
                             uint32_t header_bytes,
                             uint32_t byte_count,
                             uint64_t packet_number);

/* Opens the datagram [header->length] that header was decoded from into `to` [header->length].
 * True: authentic; *ret_frames are the plain frames (in `to`, or in the datagram itself when
 * plain). A packet of the next key phase turns the key when it is authentic, the former key stays
 * good for packets under way. */
bool session_cipher_open(struct session_cipher *cipher,
                         const struct wire_header *header,
                         const uint8_t *datagram,
                         uint8_t *to,
                         struct bytes *ret_frames) MUST_USE;

/* Turns our sealing key to the next generation. Not before the peer has acknowledged a packet of
 * the present one: it keeps only neighbours. Nothing when plain. */
void session_cipher_rekey(struct session_cipher *cipher);
uint32_t session_cipher_generation(const struct session_cipher *cipher);

#endif
