/* A port, its queues, and what the files of this folder ask of each other. Shared inside hw/ethdev
 * only. */
#ifndef EAGRE_HW_ETHDEV_ETHDEV_PORT_H
#define EAGRE_HW_ETHDEV_ETHDEV_PORT_H

#include "hw/ethdev/ethdev.h"
#include "hw/ethdev/ethdev_args.h"
#include "net/frame/frame.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#define ETHDEV_NO_PORT UINT16_MAX
/* Payload begins here in a buffer to be sent: aligned, with the headers before it. */
#define ETHDEV_PAYLOAD_AT RTE_PKTMBUF_HEADROOM
#define ETHDEV_FRAME_AT (ETHDEV_PAYLOAD_AT - FRAME_HEADERS_BYTES)

enum ethdev_steering {
    ETHDEV_STEER_NONE,   /* one queue */
    ETHDEV_STEER_FLOW,   /* rules: UDP port -> queue */
    ETHDEV_STEER_RSS,    /* a hash of the addresses */
    ETHDEV_STEER_SENDER, /* shared memory: the other side chooses the queue */
    ETHDEV_STEER_FILTER  /* AF_XDP: the interface's own queues */
};

struct ethdev_queue {
    struct nic nic; /* first member */
    struct ethdev *port;
    struct rte_mempool *pool;
    uint16_t port_id;
    uint16_t queue_idx;
    uint16_t exception_id; /* ETHDEV_NO_PORT: none */
    bool is_adopted;       /* the owner's thread has buffer caches */
    bool is_announced;     /* the gratuitous ARP has left */
    uint8_t bursts_are_syscalls;
    uint64_t send_offloads;     /* RTE_MBUF_F_TX_… of every datagram */
    struct frame_local local;   /* for frames whose IPv4 checksum nobody looked at */
    struct frame_local trusted; /* the port found it right */
    struct frame_udp headers;   /* of datagrams to be sent; target changes */
    uint32_t polls;
    uint32_t held_count;
    struct rte_mbuf *held[NIC_BURST]; /* under what nic_receive() gave out */

    uint64_t chore_due_tsc;
    uint64_t ask_due_tsc;
    uint64_t stats_due_tsc;

    /* The software queue: frames that wait for the carrier, [wait_head, wait_head + wait_count)
     * modulo its size. */
    uint32_t wait_head;
    uint32_t wait_count;
    uint32_t wait_marked;     /* of them, counted in send_queued already */
    uint32_t wait_unresolved; /* of them, without a target's hardware address yet */
    struct rte_mbuf *waiting[NIC_SEND_QUEUE];
};

struct ethdev {
    uint16_t port_id;
    uint16_t exception_id;
    uint16_t queue_count;
    uint32_t room_bytes;
    uint32_t descriptor_count;
    uint64_t memory_bytes;
    uint64_t receive_offloads; /* RTE_ETH_RX_OFFLOAD_… */
    uint64_t send_offloads;    /* RTE_ETH_TX_OFFLOAD_… */
    enum ethdev_steering steering;
    struct ethdev_args args;
    struct ethdev_args exception_args;
    struct ethdev_config config; /* its strings are not kept */
    uint8_t mac[FRAME_MAC_BYTES];
    uint32_t ip;
    int kernel_fd;               /* by which the kernel is asked for the peer; -1: ARP of our own */
    uint32_t peer_ip;            /* 0: server role */
    _Atomic uint64_t peer_mac;   /* low 6 bytes, as they stand in a frame; 0: not known yet. Written
                                    and read relaxed: one word tells all. */
    _Atomic uint32_t open_count; /* queues not closed yet; the one who takes the last one stops the
                                    port (acquire-release) */
    struct rte_mempool *pools[ETHDEV_QUEUES_MAX];
    struct rte_mempool *exception_pool;
    struct ethdev_queue *queues; /* [queue_count] */
};

/* ---- ethdev_port.c: the port below the queues; inside ethdev__eal_detached() ---- */

/* Adds the device, sets it up with queue_count queues, steers, starts. On failure nothing stays. */
enum rc ethdev__port_start(struct ethdev *port, struct diag_trail *trail) MUST_USE;
/* Stops and removes it; accepts a half-started one. */
void ethdev__port_stop(struct ethdev *port);
/* The memory of port and queues. */
void ethdev__port_free(struct ethdev *port);

/* ---- ethdev_device.c: one DPDK device ---- */

/* Adds the device of args to the process. */
enum rc ethdev__device_add(const struct ethdev_args *args,
                           uint16_t *ret_port_id,
                           struct diag_trail *trail) MUST_USE;
void ethdev__device_remove(uint16_t port_id);
/* "text: DPDK's reason" into the trail, and the code for -error. */
enum rc ethdev__device_fail(struct diag_trail *trail, int error, const char *text);

/* ---- ethdev_queue.c ---- */

extern const struct nic_ops ethdev__queue_ops;

/* ---- ethdev_chores.c: what the owner of an address owes to its network ---- */

/* A frame that is no datagram for us; takes the buffer. view as frame_classify() left it. */
void ethdev__take_other(struct ethdev_queue *queue,
                        struct rte_mbuf *buffer,
                        enum frame_kind kind,
                        const struct frame_view *view);
/* Announces, asks for the peer, reads the port's own counters, each when due; brings frames from
 * the exception port. Called in each idle poll and now and then in busy ones. */
void ethdev__do_chores(struct ethdev_queue *queue);

/* ---- ethdev_kernel.c: a port that the kernel has as well ---- */

/* Makes kernel_fd where it is needed: the client role on a shared interface. */
enum rc ethdev__kernel_open(struct ethdev *port, struct diag_trail *trail) MUST_USE;
void ethdev__kernel_close(struct ethdev *port);
/* Where the kernel keeps ARP to itself (a shared AF_XDP interface), it is asked for the peer's
 * hardware address instead, and made to find it. Two system calls; nothing learnt: ask again later.
 */
void ethdev__ask_kernel(struct ethdev *port);

/* ---- small things of the hot path ---- */

static ALWAYS_INLINE void
ethdev__count(_Atomic uint64_t *counter, uint64_t add)
{
    /* One writer; metrics read it relaxed. */
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + add, memory_order_relaxed);
}

static ALWAYS_INLINE uint8_t *
ethdev__frame_of(const struct rte_mbuf *buffer)
{
    return (uint8_t *)buffer->buf_addr + buffer->data_off;
}

#endif
