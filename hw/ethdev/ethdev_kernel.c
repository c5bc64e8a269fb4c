/* With the port filter the kernel keeps ARP, so the answers to our questions would never reach us:
 * the kernel's own table is asked instead. An empty datagram to the discard port makes it look for
 * an address that it does not know yet (RFC 863; a host without that service answers by ICMP, to
 * the kernel). */
#include "hw/ethdev/ethdev_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISCARD_PORT 9

enum rc
ethdev__kernel_open(struct ethdev *port, struct diag_trail *trail)
{
    bool is_shared = port->args.kind == ETHDEV_AF_XDP && port->args.object_path[0] != '\0';

    if (!is_shared || port->peer_ip == 0)
        return RC_OK;
    port->kernel_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (port->kernel_fd >= 0)
        return RC_OK;
    diag_trail_add(trail, "socket to ask the kernel for the server: %s", strerror(errno));
    return rc_from_errno(errno);
}

void
ethdev__kernel_close(struct ethdev *port)
{
    if (port->kernel_fd >= 0)
        (void)close(port->kernel_fd);
    port->kernel_fd = -1;
}

void
ethdev__ask_kernel(struct ethdev *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(DISCARD_PORT),
        .sin_addr.s_addr = htonl(port->peer_ip),
    };
    struct arpreq request = {.arp_flags = 0};
    uint64_t mac = 0;

    __builtin_memcpy(&request.arp_pa, &address, sizeof(address));
    (void)ethdev__args_value(port->args.text, "iface", request.arp_dev, sizeof(request.arp_dev));
    bool found = ioctl(port->kernel_fd, SIOCGARP, &request) == 0;
    if (found && (request.arp_flags & ATF_COM) != 0) {
        __builtin_memcpy(&mac, request.arp_ha.sa_data, FRAME_MAC_BYTES);
        atomic_store_explicit(&port->peer_mac, mac, memory_order_relaxed); /* one word tells all */
        return;
    }
    (void)sendto(
        port->kernel_fd, "", 0, MSG_DONTWAIT, (const struct sockaddr *)&address, sizeof(address));
}
