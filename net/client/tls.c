#include "net/client/tls.h"

#include "engine/base/bytes.h"
#include "net/client/client_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>

/* ---- a BIO over a socket that never raises SIGPIPE */

static int
bio_write(BIO *bio, const char *from, int count)
{
    int fd = (int)(intptr_t)BIO_get_data(bio);
    ssize_t wrote = send(fd, from, (size_t)count, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)wrote;
}

static int
bio_read(BIO *bio, char *to, int room)
{
    int fd = (int)(intptr_t)BIO_get_data(bio);
    ssize_t got = recv(fd, to, (size_t)room, 0);

    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)got;
}

static long
bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method; /* one for the process, never freed */

static void
bio_method_make(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "eagre");
    if (bio_method == NULL)
        return;
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_control);
}

static BIO *
bio_over(int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* clients of several threads */

    pthread_once(&once, bio_method_make);
    if (bio_method == NULL)
        return NULL;
    BIO *bio = BIO_new(bio_method);
    if (bio != NULL) {
        BIO_set_data(bio, (void *)(intptr_t)fd);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- */

int
client__tls_context(const struct eagre_config *config,
                    SSL_CTX **ret_context,
                    char *why,
                    size_t why_capacity)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (context == NULL)
        return EAGRE_NO_MEMORY;
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(
        context, config->tls == EAGRE_TLS_ON ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    int good = 1;
    if (config->tls == EAGRE_TLS_ON && config->tls_ca_file[0] != '\0')
        good = SSL_CTX_load_verify_file(context, config->tls_ca_file);
    else if (config->tls == EAGRE_TLS_ON)
        good = SSL_CTX_set_default_verify_paths(context);
    if (good != 1) {
        client_text(
            why, why_capacity, "TLS: the authorities in %s cannot be read", config->tls_ca_file);
        SSL_CTX_free(context);
        ERR_clear_error();
        return EAGRE_DENIED;
    }
    *ret_context = context;
    return EAGRE_OK;
}

/* An address is looked for among the certificate's addresses, a name among its names. */
static bool
tls_expect(SSL *stream, const char *server_name)
{
    if (server_name[0] == '\0')
        return true;
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream), server_name) == 1)
        return true;
    return SSL_set1_host(stream, server_name) == 1 &&
           SSL_set_tlsext_host_name(stream, server_name) == 1;
}

SSL *
client__tls_stream(SSL_CTX *context, int fd, const char *server_name)
{
    SSL *stream = SSL_new(context);
    BIO *bio = bio_over(fd);

    if (stream == NULL || bio == NULL || !tls_expect(stream, server_name)) {
        BIO_free(bio);
        SSL_free(stream);
        return NULL;
    }
    SSL_set_bio(stream, bio, bio); /* takes it */
    SSL_set_connect_state(stream);
    return stream;
}

int
client__tls_handshake(SSL *stream, bool *ret_wants_write, char *why, uint32_t why_capacity)
{
    ERR_clear_error();
    int result = SSL_do_handshake(stream);
    int error = SSL_get_error(stream, result);

    if (result == 1)
        return 1;
    *ret_wants_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    long verdict = SSL_get_verify_result(stream);
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    client_text(why,
                why_capacity,
                "TLS handshake: %s",
                verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                : reason != NULL     ? reason
                                     : "the connection ended");
    ERR_clear_error();
    return -1;
}

static long
tls_result(SSL *stream, int result)
{
    int error = SSL_get_error(stream, result);

    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

long
client__tls_write(SSL *stream, int fd, const void *from, size_t count)
{
    if (stream != NULL) {
        int wrote = SSL_write(stream, from, (int)count);
        return wrote > 0 ? wrote : tls_result(stream, wrote);
    }
    ssize_t wrote = send(fd, from, count, MSG_NOSIGNAL);
    if (wrote < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    return wrote;
}

long
client__tls_read(SSL *stream, int fd, void *to, size_t room)
{
    if (room == 0)
        return 0;
    if (stream != NULL) {
        int got = SSL_read(stream, to, (int)room);
        return got > 0 ? got : tls_result(stream, got);
    }
    ssize_t got = recv(fd, to, room, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    return got == 0 ? -1 : got;
}

socklen_t
client__tls_sockaddr(const struct nic_address *address, struct sockaddr_storage *ret)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    memset(ret, 0, sizeof(*ret));
    if (memcmp(address->ip, mapped, sizeof(mapped)) == 0) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret;
        in->sin_family = AF_INET;
        put_u16_be(&in->sin_port, address->port);
        bytes_copy(&in->sin_addr, sizeof(in->sin_addr), address->ip + 12, 4);
        return (socklen_t)sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    in6->sin6_family = AF_INET6;
    put_u16_be(&in6->sin6_port, address->port);
    bytes_copy(&in6->sin6_addr, sizeof(in6->sin6_addr), address->ip, 16);
    return (socklen_t)sizeof(*in6);
}
