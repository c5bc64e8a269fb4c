/* What the two files of the socket body share. Not for others. */
#ifndef EAGRE_HW_NIC_NIC_SOCKET_INNER_H
#define EAGRE_HW_NIC_NIC_SOCKET_INNER_H

#include "hw/nic/nic_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* Of one super-packet: UDP_MAX_SEGMENTS of kernels before 6.9 (64; later 128), and what fits into
 * the 16-bit length of an IPv4 packet. */
#define SOCKET_SEGMENTS_MAX 64u
#define SOCKET_SUPER_BYTES_MAX 65507u

#define SOCKET_TRAINS NIC_BURST   /* buffers of one recvmmsg */
#define SOCKET_TRAINS_SOME 4u     /* the same while long trains come in */
#define SOCKET_TRAIN_BYTES 65536u /* with UDP_GRO: any train fits */
#define SOCKET_SENDS (NIC_SEND_QUEUE + NIC_BURST)
#define SOCKET_MESSAGES 16u /* of one sendmmsg */

/* Datagrams of one peer that lie behind each other in one receive buffer. */
struct socket_train {
    const uint8_t *at;
    uint32_t left_bytes;    /* not yet given out */
    uint32_t segment_bytes; /* of each but the last, > 0 */
    struct nic_address peer;
};

struct socket_send {
    struct nic_address peer;
    uint32_t byte_count;
    bool reserved; /* given out by nic_reserve() */
};

/* Room for the control messages of one received buffer: UDP_GRO's int, SO_RXQ_OVFL's uint32_t. */
union socket_control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
};

union socket_segment_control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
};

union socket_name {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct nic_socket {
    struct nic nic;
    int fd;
    int family; /* AF_INET, or AF_INET6 for both */
    bool gso;   /* UDP_SEGMENT works here; goes off for good when a device refuses it */
    bool gro;
    uint32_t receive_buffer_bytes; /* as the kernel gave it */

    /* receiving */
    uint8_t *receive_bytes; /* [SOCKET_TRAINS][receive_stride] */
    uint32_t receive_stride;
    uint32_t receive_vector; /* buffers offered to the next recvmmsg, [1, SOCKET_TRAINS] */
    uint32_t train_idx;      /* the one to give out from next */
    uint32_t train_count;
    uint32_t borrowed_count;
    uint32_t overflow_seen; /* SO_RXQ_OVFL's cumulative count, modulo 2^32 */
    struct socket_train trains[SOCKET_TRAINS];
    struct mmsghdr receive_messages[SOCKET_TRAINS];
    struct iovec receive_vectors[SOCKET_TRAINS];
    union socket_name receive_names[SOCKET_TRAINS];
    union socket_control receive_controls[SOCKET_TRAINS];

    /* sending */
    uint8_t *send_bytes; /* [SOCKET_SENDS][send_stride] */
    uint32_t send_stride;
    uint32_t send_free_count;
    uint32_t reserved_count;
    uint32_t queue_head;
    uint32_t queue_count;
    uint32_t waiting_count; /* of the queue's head: counted as send_queued */
    uint32_t single_count;  /* of the queue's head: refused as a super-packet, tried one by one */
    struct socket_send sends[SOCKET_SENDS];
    uint16_t send_free[SOCKET_SENDS];
    uint16_t queue[NIC_SEND_QUEUE]; /* a ring */
    struct mmsghdr messages[SOCKET_MESSAGES];
    uint32_t message_datagrams[SOCKET_MESSAGES];
    union socket_name names[SOCKET_MESSAGES];
    union socket_segment_control controls[SOCKET_MESSAGES];
    struct iovec vectors[NIC_SEND_QUEUE];
};

extern const struct nic_ops nic__socket_ops;

/* Between our addresses and the kernel's. */
struct nic_address nic__address_of(const union socket_name *name);
/* The length of what was written. */
socklen_t nic__name_of(const struct nic_address *address, int family, union socket_name *ret_name);

#endif
