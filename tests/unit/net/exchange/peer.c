/* Clients of the fixture: non-blocking sockets, and the exchange's tile run between two tries. */
#include "tests/unit/net/exchange/fixture.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRIES 400u /* pumps of about half a millisecond without progress */

void
peer_open(struct peer *peer, struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(fixture->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};

    memset(peer, 0, sizeof(*peer));
    peer->fixture = fixture;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(peer->fd, 0);
    cr_assert_eq(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(fcntl(peer->fd, F_SETFL, O_NONBLOCK), 0);
    fixture_pump(fixture);
}

bool
peer_tls(struct peer *peer, int version_max)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    cr_assert_eq(SSL_CTX_set_max_proto_version(context, version_max), 1);
    peer->tls = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(peer->tls, peer->fd);
    for (uint32_t i = 0; i < TRIES; i++) {
        ERR_clear_error();
        int result = SSL_connect(peer->tls);
        if (result == 1)
            return true;
        int error = SSL_get_error(peer->tls, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            return false;
        fixture_pump(peer->fixture);
    }
    return false;
}

void
peer_close(struct peer *peer)
{
    SSL_free(peer->tls);
    close(peer->fd);
    fixture_pump(peer->fixture);
}

static int
peer_write(struct peer *peer, const uint8_t *at, size_t count)
{
    if (peer->tls == NULL) {
        ssize_t sent = send(peer->fd, at, count, MSG_NOSIGNAL);
        return sent < 0 && errno != EAGAIN ? -1 : (int)sent;
    }
    ERR_clear_error();
    int result = SSL_write(peer->tls, at, (int)count);
    int error = SSL_get_error(peer->tls, result);
    return error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ
               ? result
               : -1;
}

void
peer_send(struct peer *peer, const void *at, size_t count)
{
    size_t done = 0;

    for (uint32_t i = 0; i < TRIES && done < count; i++) {
        int result = peer_write(peer, (const uint8_t *)at + done, count - done);
        if (result < 0 && errno != EAGAIN && errno != 0)
            return;
        done += result > 0 ? (size_t)result : 0;
        fixture_pump(peer->fixture);
    }
}

void
peer_read(struct peer *peer)
{
    size_t room = sizeof(peer->in) - peer->in_count;
    uint8_t *to = peer->in + peer->in_count;

    if (peer->ended || room == 0)
        return;
    if (peer->tls != NULL) {
        ERR_clear_error();
        int result = SSL_read(peer->tls, to, (int)room);
        int error = SSL_get_error(peer->tls, result);
        peer->in_count += result > 0 ? (uint32_t)result : 0;
        peer->said_goodbye |= error == SSL_ERROR_ZERO_RETURN;
        peer->ended = result <= 0 && error != SSL_ERROR_WANT_READ;
        return;
    }
    ssize_t result = recv(peer->fd, to, room, 0);
    peer->in_count += result > 0 ? (uint32_t)result : 0;
    peer->ended = result == 0 || (result < 0 && errno != EAGAIN);
}

uint8_t
peer_message(struct peer *peer, struct bytes *ret_body)
{
    uint8_t type = 0;
    uint32_t bytes;

    for (uint32_t i = 0; i < TRIES; i++) {
        fixture_pump(peer->fixture);
        peer_read(peer);
        enum rc rc = wire_control_next(peer->in, peer->in_count, &type, ret_body, &bytes);
        cr_assert(rc == RC_OK || rc == RC_AGAIN, "the server sends what it should not");
        if (rc == RC_OK)
            return type;
        if (peer->ended)
            return 0;
    }
    cr_assert_fail("neither a message nor an end");
    return 0;
}

bool
peer_is_closed(struct peer *peer)
{
    for (uint32_t i = 0; i < TRIES && !peer->ended; i++) {
        fixture_pump(peer->fixture);
        peer_read(peer);
    }
    return peer->ended;
}

struct bytes
text_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

struct wire_join
join_usual(void)
{
    return (struct wire_join){
        .version = WIRE_VERSION,
        .auth = WIRE_AUTH_AEAD,
        .tile = 0xff,
        .datagram_bytes_max = 1300,
        .user = text_of("alice"),
        .secret = text_of("canary-secret"),
        .client = text_of("test"),
    };
}

void
peer_join(struct peer *peer, const struct wire_join *join)
{
    uint8_t message[WIRE_CONTROL_BYTES_MAX];

    peer_send(peer, message, wire_join_encode(message, join));
}

struct wire_grant
peer_granted(struct peer *peer)
{
    struct wire_grant grant;
    struct bytes body;

    cr_assert_eq(peer_message(peer, &body), WIRE_CONTROL_GRANT);
    cr_assert_eq(wire_grant_decode(body, &grant), RC_OK);
    return grant;
}

int
peer_refused(struct peer *peer)
{
    struct wire_refused refused;
    struct bytes body;

    cr_assert_eq(peer_message(peer, &body), WIRE_CONTROL_REFUSED);
    cr_assert_eq(wire_refused_decode(body, &refused), RC_OK);
    cr_assert_gt(refused.text.count, 0u);
    cr_assert(peer_is_closed(peer));
    return (int16_t)refused.code;
}
