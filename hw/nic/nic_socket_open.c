/* Setting a UDP socket up: what the kernel can do is tried here, once, and announced. */
#include "hw/nic/nic_socket_inner.h"

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "hw/mem/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DATAGRAM_BYTES_MIN 1200u
#define RECEIVE_BUFFER_BYTES (4 * MIB)
#define STRIDE_ALIGN 64u

/* ::ffff:a.b.c.d */
static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool
is_ipv4(const struct nic_address *address)
{
    return memcmp(address->ip, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

struct nic_address
nic__address_of(const union socket_name *name)
{
    struct nic_address address = {0};

    if (name->any.sa_family == AF_INET) {
        bytes_copy(address.ip, sizeof(address.ip), mapped_prefix, sizeof(mapped_prefix));
        bytes_copy(address.ip + 12, 4, &name->ipv4.sin_addr, sizeof(name->ipv4.sin_addr));
        address.port = ntohs(name->ipv4.sin_port);
    } else {
        bytes_copy(address.ip, 16, &name->ipv6.sin6_addr, sizeof(name->ipv6.sin6_addr));
        address.port = ntohs(name->ipv6.sin6_port);
    }
    return address;
}

socklen_t
nic__name_of(const struct nic_address *address, int family, union socket_name *ret_name)
{
    if (family == AF_INET && is_ipv4(address)) {
        ret_name->ipv4 = (struct sockaddr_in){.sin_family = AF_INET,
                                              .sin_port = htons(address->port)};
        bytes_copy(&ret_name->ipv4.sin_addr, sizeof(struct in_addr), address->ip + 12, 4);
        return sizeof(ret_name->ipv4);
    }
    /* An IPv6 peer of an IPv4 socket: the kernel refuses it, and it is counted. */
    ret_name->ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                           .sin6_port = htons(address->port)};
    bytes_copy(&ret_name->ipv6.sin6_addr, sizeof(struct in6_addr), address->ip, 16);
    return sizeof(ret_name->ipv6);
}

static bool
option_set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/* Asks for a receive buffer; beyond net.core.rmem_max only with privilege. Gives what was got. */
static uint32_t
receive_buffer_set(int fd, uint32_t wanted_bytes, struct diag_trail *trail)
{
    int got = 0;
    socklen_t bytes = sizeof(got);

    if (!option_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)wanted_bytes))
        (void)option_set(fd, SOL_SOCKET, SO_RCVBUF, (int)wanted_bytes);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &bytes) != 0)
        return 0;
    uint32_t got_bytes = (uint32_t)got / 2; /* the kernel doubles it for its own overhead */
    if (got_bytes < wanted_bytes)
        diag_trail_add(trail,
                       "receive buffer of %u bytes instead of %u: raise net.core.rmem_max",
                       got_bytes,
                       wanted_bytes);
    return got_bytes;
}

/* Options without which a socket works all the same. */
static void
options_set(struct nic_socket *socket, const struct nic_socket_config *config)
{
    int fd = socket->fd;

    /* DF on every packet, and no path MTU taken from ICMP, which anybody can forge: the session
     * probes. */
    (void)option_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    if (socket->family == AF_INET6) {
        (void)option_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        (void)option_set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
    }
    (void)option_set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (config->plain)
        return;
    socket->gso = option_set(fd, IPPROTO_UDP, UDP_SEGMENT, 0); /* 0: only where a message says so */
    socket->gro = option_set(fd, IPPROTO_UDP, UDP_GRO, 1);
}

/* A socket of the address's family; "any" takes IPv6 and IPv4 where the host has both. -errno. */
static int
socket_make(const struct nic_address *local, int *ret_family)
{
    static const uint8_t zeros[16];
    bool any = memcmp(local->ip, zeros, sizeof(zeros)) == 0;
    int family = is_ipv4(local) ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);

    if (fd < 0 && any && errno == EAFNOSUPPORT) {
        family = AF_INET;
        fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    }
    if (fd < 0)
        return -errno;
    if (family == AF_INET6)
        (void)option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    *ret_family = family;
    return fd;
}

static int
socket_bind(int fd, int family, const struct nic_address *local, struct nic_address *ret_bound)
{
    union socket_name name;
    socklen_t bytes = nic__name_of(local, family, &name);

    if (family == AF_INET && !is_ipv4(local)) { /* "any" on a host without IPv6 */
        name.ipv4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(local->port)};
        bytes = sizeof(name.ipv4);
    }
    if (bind(fd, &name.any, bytes) != 0)
        return errno;
    bytes = sizeof(name);
    if (getsockname(fd, &name.any, &bytes) != 0)
        return errno;
    *ret_bound = nic__address_of(&name);
    return 0;
}

static bool
buffers_take(struct nic_socket *socket)
{
    uint32_t datagram_bytes = socket->nic.datagram_bytes_max;

    socket->send_stride = (uint32_t)round_up(datagram_bytes, STRIDE_ALIGN);
    /* One byte more than is allowed, so that a longer one is seen to be longer. */
    socket->receive_stride = socket->gro ? SOCKET_TRAIN_BYTES
                                         : (uint32_t)round_up(datagram_bytes + 1, STRIDE_ALIGN);
    socket->receive_bytes = mem_boot_alloc((size_t)SOCKET_TRAINS * socket->receive_stride);
    socket->send_bytes = mem_boot_alloc((size_t)SOCKET_SENDS * socket->send_stride);
    if (socket->receive_bytes == NULL || socket->send_bytes == NULL)
        return false;
    socket->receive_vector = SOCKET_TRAINS;
    for (uint32_t i = 0; i < SOCKET_TRAINS; i++) {
        socket->receive_vectors[i] = (struct iovec){.iov_base = socket->receive_bytes +
                                                                (size_t)i * socket->receive_stride,
                                                    .iov_len = socket->receive_stride};
        socket->receive_messages[i].msg_hdr = (struct msghdr){
            .msg_name = &socket->receive_names[i],
            .msg_iov = &socket->receive_vectors[i],
            .msg_iovlen = 1,
            .msg_control = &socket->receive_controls[i]};
    }
    /* The lowest is given out first, and again as soon as it is back: little memory is touched. */
    for (uint32_t i = 0; i < SOCKET_SENDS; i++)
        socket->send_free[socket->send_free_count++] = (uint16_t)(SOCKET_SENDS - 1 - i);
    return true;
}

enum rc
nic_socket_open(const struct nic_socket_config *config,
                struct nic **ret_nic,
                struct diag_trail *trail)
{
    char text[NIC_ADDRESS_TEXT_MAX];
    uint32_t datagram_bytes = config->datagram_bytes_max != 0 ? config->datagram_bytes_max
                                                              : NIC_DATAGRAM_BYTES;
    uint32_t buffer_bytes = config->receive_buffer_bytes != 0 ? config->receive_buffer_bytes
                                                              : (uint32_t)RECEIVE_BUFFER_BYTES;

    if (datagram_bytes < DATAGRAM_BYTES_MIN || datagram_bytes > NIC_DATAGRAM_BYTES_MAX ||
        buffer_bytes > (uint32_t)INT32_MAX / 2) {
        diag_trail_add(trail, "datagram or receive buffer size out of range");
        return RC_INVALID;
    }
    struct nic_socket *socket = mem_boot_alloc(sizeof(*socket));
    if (socket == NULL)
        return RC_NO_MEMORY;
    enum rc rc = RC_NO_MEMORY;
    int error = 0;

    socket->nic.datagram_bytes_max = datagram_bytes;
    socket->fd = socket_make(&config->local, &socket->family);
    if (socket->fd < 0) {
        error = -socket->fd;
        goto fail_free;
    }
    error = socket_bind(socket->fd, socket->family, &config->local, &socket->nic.local);
    if (error != 0)
        goto fail_close;
    options_set(socket, config);
    if (!buffers_take(socket))
        goto fail_close;
    socket->receive_buffer_bytes = receive_buffer_set(socket->fd, buffer_bytes, trail);
    socket->nic.ops = &nic__socket_ops;
    socket->nic.body_name = "socket";
    socket->nic.wait_fd = socket->fd;
    socket->nic.port = socket->nic.local.port;
    socket->nic.is_same_host = nic_address_is_loopback(&socket->nic.local);
    *ret_nic = &socket->nic;
    return RC_OK;

fail_close:
    (void)close(socket->fd);
    mem_boot_free(socket->receive_bytes);
    mem_boot_free(socket->send_bytes);
fail_free:
    mem_boot_free(socket);
    if (error != 0) {
        nic_address_text(&config->local, text, sizeof(text));
        diag_trail_add(trail, "UDP %s: %s", text, strerror(error));
        rc = error == EADDRNOTAVAIL || error == EAFNOSUPPORT ? RC_INVALID : rc_from_errno(error);
    }
    return rc;
}

void
nic_socket_text(const struct nic *nic, char *text, size_t capacity)
{
    const struct nic_socket *socket = (const struct nic_socket *)nic;

    CHECK(nic->ops == &nic__socket_ops);
    (void)snprintf(text,
                   capacity,
                   "kernel UDP, %s, %s, receive buffer %u KiB, one syscall per %s",
                   socket->gso ? "UDP_SEGMENT" : "no UDP_SEGMENT",
                   socket->gro ? "UDP_GRO" : "no UDP_GRO",
                   socket->receive_buffer_bytes / 1024,
                   socket->gso ? "train of up to 64 datagrams to one peer" : "burst of datagrams");
}
