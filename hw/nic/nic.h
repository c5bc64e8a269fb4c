/* One queue of a port that carries UDP datagrams: what the native door and libeagre send and
 * receive through.
 *
 * A struct nic is one receive and one transmit queue with one local UDP port, owned by one core (or
 * by libeagre's caller). Bodies, behind this one header: `memory` (nic_memory.h: two ends in one
 * process, seeded loss, duplication, reordering, delay, corruption), `socket` (nic_socket.h: the
 * kernel's UDP with UDP_SEGMENT and UDP_GRO), `dpdk` (hw/ethdev/ethdev.h: any ethdev; Ethernet,
 * ARP, ICMP and IPv4 are dealt with inside the body by net/frame, so every body gives and takes
 * whole datagrams).
 *
 *     count = nic_receive(nic, received, NIC_BURST);
 *     ... look at received[i].bytes ...              borrowed until nic_release()
 *     nic_release(nic, received, count);             in the same poll: buffers never leave the core
 *
 *     count = nic_reserve(nic, sends, wanted);       buffers of the body to write datagrams into
 *     ... write sends[i].bytes, set byte_count and peer ...
 *     nic_send(nic, sends, used);                    takes all of them
 *     nic_cancel(nic, sends + used, count - used);   gives back what is not needed
 *     nic_flush(nic);                                at the end of the poll
 *
 * Never an error on the data path: what the carrier cannot take now waits in a bounded software
 * queue of NIC_SEND_QUEUE datagrams, and beyond it is dropped and counted; the session above
 * retransmits. All calls: Runs on: the owner.  Allocates: nothing after opening.  Blocks: never. */
#ifndef EAGRE_HW_NIC_NIC_H
#define EAGRE_HW_NIC_NIC_H

#include "engine/base/base.h"
#include "engine/base/diag.h"
#include "engine/base/rc.h"

#include <stdatomic.h>

#define NIC_BURST 32u       /* largest count of one call */
#define NIC_SEND_QUEUE 512u /* datagrams that wait for the carrier */
#define NIC_DATAGRAM_BYTES \
    1400u /* UDP payload that every path of today's clouds carries unfragmented */
#define NIC_DATAGRAM_BYTES_MAX 8900u
#define NIC_ADDRESS_TEXT_MAX 64u

/* Where a datagram came from or goes to. */
struct nic_address {
    uint8_t ip[16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
    uint16_t port;  /* host order */
    uint8_t mac[6]; /* dpdk body: of the last hop, so that answers go back by reflection; else 0 */
};
_Static_assert(sizeof(struct nic_address) == 24, "copied per packet");

struct nic_received {
    const uint8_t *bytes; /* [byte_count] UDP payload; any alignment */
    uint32_t byte_count;
    struct nic_address peer;
    void *owner; /* the body's */
};

struct nic_sending {
    uint8_t *bytes; /* [capacity]; room for headers lies before it */
    uint32_t capacity;
    uint32_t byte_count; /* set by the caller, [1, capacity] */
    struct nic_address peer;
    void *owner; /* the body's */
};

/* Written by the owner, read by metrics (relaxed). Never go back. */
struct nic_counters {
    _Atomic uint64_t received_packets;
    _Atomic uint64_t received_bytes; /* of UDP payload */
    _Atomic uint64_t sent_packets;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t
        receive_missed; /* dropped by the carrier before we saw them: queue or socket buffer full */
    _Atomic uint64_t receive_no_buffer; /* dpdk: rx_nombuf, the pool is too small: an alarm */
    _Atomic uint64_t receive_malformed; /* not a whole UDP datagram, or an IP fragment */
    _Atomic uint64_t receive_foreign;   /* whole, but not for our address and port; given to the
                                           kernel or dropped */
    _Atomic uint64_t send_queued;       /* had to wait in the software queue */
    _Atomic uint64_t send_dropped;      /* the software queue was full */
    _Atomic uint64_t send_errors;       /* refused by the carrier: unreachable, too long */
    _Atomic uint64_t arp_replies;
    _Atomic uint64_t icmp_replies;
    _Atomic uint64_t
        syscalls; /* made by this queue; stays 0 on a carrier that bypasses the kernel */
};

struct nic;
struct nic_ops {
    uint32_t (*receive)(struct nic *nic, struct nic_received *received, uint32_t count);
    void (*release)(struct nic *nic, struct nic_received *received, uint32_t count);
    uint32_t (*reserve)(struct nic *nic, struct nic_sending *sends, uint32_t count);
    void (*send)(struct nic *nic, struct nic_sending *sends, uint32_t count);
    void (*cancel)(struct nic *nic, struct nic_sending *sends, uint32_t count);
    bool (*flush)(struct nic *nic);
    void (*close)(struct nic *nic);
};

/* First member of every body. */
struct nic {
    const struct nic_ops *ops;
    const char *body_name;       /* "memory", "socket", "dpdk" */
    uint32_t datagram_bytes_max; /* UDP payload that can be sent and received, [1200,
                                    NIC_DATAGRAM_BYTES_MAX] */
    int wait_fd;       /* becomes readable when datagrams arrive; -1: the carrier must be polled */
    uint16_t port;     /* local UDP port */
    bool is_same_host; /* all peers are on this host: there is no network whose queues could fill */
    struct nic_address local; /* address and port that peers send to, as far as known */
    struct nic_counters counters;
};

/* Adds to one of a body's counters: it has one writer, so no locked instruction is needed. */
static ALWAYS_INLINE void
nic_count(_Atomic uint64_t *counter, uint64_t more)
{
    /* Relaxed on both sides: metrics read each counter alone. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

/* Takes up to count datagrams, count <= NIC_BURST. Fewer than count: the body holds no more that
 * have arrived, so a caller may sleep on wait_fd after a short count. */
static inline uint32_t
nic_receive(struct nic *nic, struct nic_received *received, uint32_t count)
{
    return nic->ops->receive(nic, received, count);
}
/* Gives back all datagrams of one nic_receive() before the next one. */
static inline void
nic_release(struct nic *nic, struct nic_received *received, uint32_t count)
{
    nic->ops->release(nic, received, count);
}
/* Up to count buffers to write into, count <= NIC_BURST; fewer when the carrier's buffers are all
 * under way. Each is sent or cancelled before the next nic_reserve(). */
static inline uint32_t
nic_reserve(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    return nic->ops->reserve(nic, sends, count);
}
static inline void
nic_send(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    nic->ops->send(nic, sends, count);
}
static inline void
nic_cancel(struct nic *nic, struct nic_sending *sends, uint32_t count)
{
    nic->ops->cancel(nic, sends, count);
}
/* Hands what is queued to the carrier. True: something still waits, call again soon. */
static inline bool
nic_flush(struct nic *nic)
{
    return nic->ops->flush(nic);
}
/* Frees everything; NULL is allowed. */
static inline void
nic_close(struct nic *nic)
{
    if (nic != NULL)
        nic->ops->close(nic);
}

/* True when address and port are the same; the hardware address is not compared. */
bool nic_address_equal(const struct nic_address *a, const struct nic_address *b);
/* "10.0.0.1:9095" or "[::1]:9095"; cut when it does not fit. */
void nic_address_text(const struct nic_address *address, char *text, size_t capacity);
/* Resolves a literal IPv4 or IPv6 address, or a name, to the first address found. Blocks on names:
 * start-up only. */
enum rc nic_address_parse(const char *host,
                          uint16_t port,
                          struct nic_address *ret_address,
                          struct diag_trail *trail) MUST_USE;
/* True for 127.0.0.0/8 and ::1. */
bool nic_address_is_loopback(const struct nic_address *address);
/* True for loopback, RFC 1918, RFC 4193, and link-local addresses: where auth = none may be set. */
bool nic_address_is_private(const struct nic_address *address);

#endif
