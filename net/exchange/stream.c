/* TLS 1.3 only: older versions, renegotiation, session tickets, early data and client certificates
 * are off, so a stream is one handshake and then plain bytes. */
#include "net/exchange/stream.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "net/exchange/secret_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#define STREAM_KEY_FILE_BYTES_MAX (64 * KIB)

/* A context is the library's own object; the name keeps its headers out of ours. */
static SSL_CTX *
context_of(struct stream_context *context)
{
    return (SSL_CTX *)(void *)context;
}

static const char *
library_cause(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason != NULL ? reason : "no reason given";
}

/* Nobody is there to type a pass phrase. */
static int
no_pass_phrase(char *to, int capacity, int writing, void *ctx)
{
    (void)to;
    (void)capacity;
    (void)writing;
    (void)ctx;
    return 0;
}

static enum rc
load_key(SSL_CTX *tls, const char *name, struct diag_trail *trail)
{
    struct secret_file file;
    enum rc rc = secret_file_read(&file, name, STREAM_KEY_FILE_BYTES_MAX, trail);

    if (rc != RC_OK)
        return rc;
    BIO *bio = BIO_new_mem_buf(file.bytes, (int)file.count);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    rc = RC_INVALID;
    if (key == NULL)
        diag_trail_add(trail, "%s: no private key in PEM form (%s)", name, library_cause());
    else if (SSL_CTX_use_PrivateKey(tls, key) != 1 || SSL_CTX_check_private_key(tls) != 1)
        diag_trail_add(trail, "%s: not the key of the certificate (%s)", name, library_cause());
    else
        rc = RC_OK;
    EVP_PKEY_free(key);
    BIO_free(bio);
    secret_file_clear(&file);
    return rc;
}

static enum rc
load_certificate(SSL_CTX *tls, const char *name, struct diag_trail *trail)
{
    if (SSL_CTX_use_certificate_chain_file(tls, name) == 1)
        return RC_OK;
    diag_trail_add(trail, "%s: no certificate chain in PEM form (%s)", name, library_cause());
    return RC_INVALID;
}

enum rc
exchange_stream_context_create(const char *certificate,
                               const char *key,
                               struct stream_context **ret_context,
                               struct diag_trail *trail)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    enum rc rc = RC_NO_MEMORY;

    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1)
        goto fail;
    SSL_CTX_set_options(tls,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CLEANSE_PLAINTEXT |
                            SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(tls, 0);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_default_passwd_cb(tls, no_pass_phrase);
    rc = load_certificate(tls, certificate, trail);
    if (rc == RC_OK)
        rc = load_key(tls, key, trail);
    if (rc != RC_OK)
        goto fail;
    ERR_clear_error();
    *ret_context = (struct stream_context *)(void *)tls;
    return RC_OK;

fail:
    ERR_clear_error();
    SSL_CTX_free(tls);
    return rc;
}

void
exchange_stream_context_destroy(struct stream_context *context)
{
    SSL_CTX_free(context_of(context));
}

bool
exchange_stream_open(struct stream *stream, struct stream_context *context)
{
    *stream = (struct stream){.tls = NULL};
    if (context == NULL)
        return true;
    SSL *tls = SSL_new(context_of(context));
    BIO *from_peer = BIO_new(BIO_s_mem());
    BIO *to_peer = BIO_new(BIO_s_mem());
    if (tls == NULL || from_peer == NULL || to_peer == NULL) {
        SSL_free(tls);
        BIO_free(from_peer);
        BIO_free(to_peer);
        ERR_clear_error();
        return false;
    }
    SSL_set_bio(tls, from_peer, to_peer);
    SSL_set_accept_state(tls);
    *stream = (struct stream){.tls = tls, .from_peer = from_peer, .to_peer = to_peer};
    return true;
}

void
exchange_stream_close(struct stream *stream)
{
    SSL_free(stream->tls);
    *stream = (struct stream){.tls = NULL};
}

bool
exchange_stream_feed(struct stream *stream, const uint8_t *at, uint32_t count)
{
    if (stream->tls != NULL)
        return BIO_write(stream->from_peer, at, (int)count) == (int)count;
    CHECK(stream->clear_count == 0);
    stream->clear = at;
    stream->clear_count = count;
    return true;
}

/* What a call that did not succeed means. */
static enum stream_step
stream_failed(const struct stream *stream, int result)
{
    int error = SSL_get_error(stream->tls, result);

    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        return STREAM_MORE;
    return error == SSL_ERROR_ZERO_RETURN ? STREAM_ENDED : STREAM_FAILED;
}

enum stream_step
exchange_stream_handshake(struct stream *stream)
{
    if (stream->tls == NULL)
        return STREAM_OK;
    ERR_clear_error();
    int result = SSL_do_handshake(stream->tls);
    return result == 1 ? STREAM_OK : stream_failed(stream, result);
}

enum stream_step
exchange_stream_read(struct stream *stream, uint8_t *to, uint32_t capacity, uint32_t *ret_count)
{
    if (stream->tls == NULL) {
        uint32_t count = min_u32(capacity, stream->clear_count);
        if (count == 0)
            return STREAM_MORE;
        bytes_copy(to, capacity, stream->clear, count);
        stream->clear += count;
        stream->clear_count -= count;
        *ret_count = count;
        return STREAM_OK;
    }
    ERR_clear_error();
    int result = SSL_read(stream->tls, to, (int)capacity);
    if (result <= 0)
        return stream_failed(stream, result);
    *ret_count = (uint32_t)result;
    return STREAM_OK;
}

bool
exchange_stream_seal(struct stream *stream, const uint8_t *at, uint32_t count)
{
    CHECK(stream->tls != NULL);
    ERR_clear_error();
    bool sealed = SSL_write(stream->tls, at, (int)count) == (int)count;
    ERR_clear_error();
    return sealed;
}

bool
exchange_stream_has_output(const struct stream *stream)
{
    return stream->tls != NULL && BIO_pending(stream->to_peer) > 0;
}

uint32_t
exchange_stream_take(struct stream *stream, uint8_t *to, uint32_t capacity)
{
    if (!exchange_stream_has_output(stream))
        return 0;
    int count = BIO_read(stream->to_peer, to, (int)capacity);
    return count > 0 ? (uint32_t)count : 0;
}

void
exchange_stream_end(struct stream *stream)
{
    if (stream->tls == NULL || !SSL_is_init_finished(stream->tls))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(stream->tls);
    ERR_clear_error();
}
