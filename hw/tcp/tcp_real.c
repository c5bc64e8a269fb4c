/* The real body: kernel sockets. Set-up only; the bytes move through hw/io. */
#include "hw/tcp/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_BACKLOG 1024

/* Opens a listener on one resolved address; gives the descriptor or -errno. */
static int
real_listen_on(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family,
                    address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    address->ai_protocol);

    if (fd < 0)
        return -errno;
    /* A restart must not wait for the last run's connections in TIME_WAIT. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* [::] alone would or would not take IPv4 as well, by a sysctl: say it. */
    if (address->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
    /* Accepted connections inherit it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, TCP_BACKLOG) != 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

static uint16_t
real_port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}

static enum rc
real_listen(struct tcp *tcp,
            const char *host,
            uint16_t port,
            int *ret_fd,
            uint16_t *ret_port,
            struct diag_trail *trail) /* tidy: parameters, the seam's signature */
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char service[8];
    int result = -EADDRNOTAVAIL;

    (void)tcp;
    snprintf(service, sizeof(service), "%u", port);
    int unresolved = getaddrinfo(host, service, &hints, &addresses);
    if (unresolved != 0) {
        diag_trail_add(trail, "listen on %s:%u: %s", host, port, gai_strerror(unresolved));
        return unresolved == EAI_MEMORY ? RC_NO_MEMORY : RC_NOT_FOUND;
    }
    for (const struct addrinfo *at = addresses; at != NULL && result < 0; at = at->ai_next)
        result = real_listen_on(at);
    freeaddrinfo(addresses);
    if (result < 0) {
        diag_trail_add(trail, "listen on %s:%u: %s", host, port, strerror(-result));
        return result == -EADDRNOTAVAIL ? RC_NOT_FOUND : rc_from_errno(-result);
    }
    *ret_fd = result;
    *ret_port = real_port_of(result);
    return RC_OK;
}

static void
real_shutdown(struct tcp *tcp, int fd)
{
    (void)tcp;
    (void)shutdown(fd, SHUT_RDWR); /* not connected any more: nothing is under way to be ended */
}

static void
real_close(struct tcp *tcp, int fd)
{
    (void)tcp;
    if (fd >= 0)
        close(fd);
}

static void
real_peer(struct tcp *tcp, int fd, char *text, size_t capacity)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    char host[INET6_ADDRSTRLEN + 16]; /* and a scope such as %eth0 */
    char port[8];

    (void)tcp;
    if (getpeername(fd, (struct sockaddr *)&address, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address,
                    bytes,
                    host,
                    sizeof(host),
                    port,
                    sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(text, capacity, "?");
        return;
    }
    bool v6 = address.ss_family == AF_INET6;
    snprintf(text, capacity, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void
real_peer_address(struct tcp *tcp, int fd, uint8_t ret[TCP_ADDRESS_BYTES])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);

    (void)tcp;
    memset(ret, 0, TCP_ADDRESS_BYTES);
    if (getpeername(fd, (struct sockaddr *)&address, &bytes) != 0)
        return;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address;
        memcpy(ret, &v6->sin6_addr, sizeof(v6->sin6_addr));
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address;
        memcpy(ret, mapped, sizeof(mapped));
        memcpy(ret + sizeof(mapped), &v4->sin_addr, sizeof(v4->sin_addr));
    }
}

static const struct tcp_ops real_ops = {
    .listen = real_listen,
    .shutdown = real_shutdown,
    .close = real_close,
    .peer = real_peer,
    .peer_address = real_peer_address,
};

struct tcp *
tcp_real(void)
{
    static struct tcp real = {.ops = &real_ops};

    return &real;
}
