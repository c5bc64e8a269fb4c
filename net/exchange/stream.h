/* The bytes of one connection, clear or TLS 1.3: what was received goes in, plain bytes come out,
 * and the other way round. It touches no socket: TLS runs over memory BIOs. Private to net/exchange
 * and the only file there that knows the TLS library.
 *
 * A stream takes STREAM_CHUNK_BYTES at a time. Memory of the library: two record buffers (about
 * 34 KiB, given back while idle), its objects (about 20 KiB), and what was received or is to be
 * sent and waits. All calls: Runs on: the exchange's core.  Allocates: the TLS library does.
 * Blocks: never; a handshake's signature takes 0.1 to 1 ms. */
#ifndef EAGRE_NET_EXCHANGE_STREAM_H
#define EAGRE_NET_EXCHANGE_STREAM_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#define STREAM_CHUNK_BYTES 1024u

struct ssl_st;
struct bio_st;
struct stream_context; /* certificate and key, shared by all streams */

struct stream {
    struct ssl_st *tls;       /* NULL: clear text */
    struct bio_st *from_peer; /* owned by tls */
    struct bio_st *to_peer;
    const uint8_t *clear; /* clear text: received and not read yet */
    uint32_t clear_count;
};

enum stream_step {
    STREAM_OK,
    STREAM_MORE,   /* nothing now: feed more */
    STREAM_ENDED,  /* the peer said that it ends */
    STREAM_FAILED, /* not TLS 1.3, or damaged; an alert may wait to be sent */
};

/* Reads a PEM chain and its key, which others must not be able to read. RC_DENIED, RC_INVALID,
 * RC_NOT_FOUND, RC_NO_MEMORY; cause in trail. */
enum rc exchange_stream_context_create(const char *certificate,
                                       const char *key,
                                       struct stream_context **ret_context,
                                       struct diag_trail *trail) MUST_USE;
void exchange_stream_context_destroy(struct stream_context *context);

/* context NULL: clear text. False: no memory. */
bool exchange_stream_open(struct stream *stream, struct stream_context *context) MUST_USE;
/* Twice is allowed. */
void exchange_stream_close(struct stream *stream);

/* Received bytes; clear text is borrowed until it was read. False: no memory. */
bool exchange_stream_feed(struct stream *stream, const uint8_t *at, uint32_t count) MUST_USE;
/* Goes on with the handshake; STREAM_OK: it is done. */
enum stream_step exchange_stream_handshake(struct stream *stream) MUST_USE;
/* Up to capacity plain bytes; *ret_count > 0 with STREAM_OK. */
enum stream_step exchange_stream_read(struct stream *stream,
                                      uint8_t *to,
                                      uint32_t capacity,
                                      uint32_t *ret_count) MUST_USE;
/* TLS: seals plain bytes; clear text is the caller's to send. False: failed. */
bool exchange_stream_seal(struct stream *stream, const uint8_t *at, uint32_t count) MUST_USE;
/* TLS: the next bytes for the peer; how many, 0: none. */
uint32_t exchange_stream_take(struct stream *stream, uint8_t *to, uint32_t capacity);
bool exchange_stream_has_output(const struct stream *stream);
/* TLS: says goodbye, so that the peer can tell an end from a cut. */
void exchange_stream_end(struct stream *stream);

#endif
