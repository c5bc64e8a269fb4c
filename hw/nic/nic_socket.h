/* The kernel's UDP as a carrier: the default, on any machine, for anybody.
 *
 * One non-blocking socket per queue. Outgoing datagrams of one size to one peer leave as one
 * UDP_SEGMENT super-packet, incoming trains come in as one UDP_GRO buffer: measured 10.3 against
 * 0.42 M datagrams/s of 1,400 bytes on loopback. Where the kernel lacks either, sendmmsg and
 * recvmmsg are used plainly; nic_socket_text() says which.
 *
 * An empty datagram and one longer than datagram_bytes_max count as malformed. receive_missed is
 * the kernel's SO_RXQ_OVFL, which tells drops with the next datagram that arrives and counts a
 * train as one. IPv6 peers with a link-local address cannot be answered: struct nic_address has no
 * interface. */
#ifndef EAGRE_HW_NIC_NIC_SOCKET_H
#define EAGRE_HW_NIC_NIC_SOCKET_H

#include "hw/nic/nic.h"

struct nic_socket_config {
    struct nic_address local;      /* port 0 takes a free one; an all-zero address is any */
    uint32_t datagram_bytes_max;   /* 0: NIC_DATAGRAM_BYTES */
    uint32_t receive_buffer_bytes; /* SO_RCVBUF asked for; 0: 4 MiB; when less was got, the trail
                                      says so although the result is RC_OK */
    bool plain; /* neither UDP_SEGMENT nor UDP_GRO: the baseline of measurements */
};

/* RC_OK, RC_BUSY (port taken), RC_DENIED, RC_INVALID (also an address of another host),
 * RC_NO_MEMORY; cause in trail.
 * Runs on: start-up.  Allocates: its buffers, once.  Blocks: never. */
enum rc nic_socket_open(const struct nic_socket_config *config,
                        struct nic **ret_nic,
                        struct diag_trail *trail) MUST_USE;

/* What runs and what it costs, one line for the banner and doctor. nic is of this body. */
void nic_socket_text(const struct nic *nic, char *text, size_t capacity);

#endif
