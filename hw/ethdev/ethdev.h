/* Any DPDK ethdev as a carrier: virtio_user and vhost-user (no privilege, no hugepages), AF_XDP,
 * TAP, physical ports. The only folder that includes rte_*.h.
 *
 * EAL is started by the first ethdev_open() and never before: an engine without a dpdk port neither
 * loads its drivers nor gets its threads. EAL re-pins its caller, so it is started on a thread that
 * then ends, and affinity and signal masks of everybody else stay as they were. One process has one
 * EAL: a second port of the same process is added to it.
 *
 * One UDP port per queue: queue i receives local.port + i. Steering is by rte_flow where the port
 * takes the rule (eth/ipv4/udp dst is port), else by RSS (a datagram may then arrive on the wrong
 * queue: it is given out there, and the net tile forwards it), else the port has one queue.
 *
 * ARP requests for our address and ICMP echo are answered inside nic_receive(); a gratuitous ARP is
 * sent at start; answers to peers go back by reflection of their last hop's address, so no routing
 * table is needed. What is not for us goes to the exception port when there is one, else is dropped
 * and counted. */
#ifndef EAGRE_HW_ETHDEV_ETHDEV_H
#define EAGRE_HW_ETHDEV_ETHDEV_H

#include "hw/nic/nic.h"

#define ETHDEV_QUEUES_MAX 16u
#define ETHDEV_DEVARGS_MAX 256u

struct ethdev_config {
    const char *devargs; /* as of EAL's --vdev or -a, such as "net_vhost0,iface=/run/eagre/nic0" */
    struct nic_address local; /* IPv4 address and UDP port of queue 0 */
    uint32_t prefix_bits;     /* of the address, [0, 32] */
    struct nic_address
        peer; /* client role: where the server is (its MAC is found by ARP); port 0: server role */
    uint32_t queue_count;        /* [1, ETHDEV_QUEUES_MAX] */
    uint32_t datagram_bytes_max; /* 0: NIC_DATAGRAM_BYTES */
    uint32_t memory_bytes;   /* EAL's, without hugepages; 0: computed from queues and descriptors */
    const char *runtime_dir; /* where EAL keeps its files (0700); NULL: $XDG_RUNTIME_DIR, else
                                /tmp/eagre-PID */
    const char
        *exception; /* devargs of the port for all other traffic ("net_tap0,…"); NULL: none */
    bool hugepages; /* false: --no-huge */
};

struct ethdev; /* a port */

/* RC_OK; RC_INVALID (devargs, address), RC_DENIED, RC_NO_MEMORY, RC_UNSUPPORTED (no such driver or
 * port), RC_NOT_FOUND (virtio_user: nobody serves a port there, try later), RC_BUSY (another
 * process listens on the socket), RC_EXISTS (this process has a port of that name); cause in trail.
 * ret_queues: [queue_count], each closed by nic_close(); the port stops with the last, and may be
 * opened again. A vhost-user socket file left by a dead process is removed, a new one gets mode
 * 0600. Which thread owns a queue is settled by its first nic_receive() or nic_reserve().
 * Sets the process's umask and RUNTIME_DIRECTORY for a moment: no other thread may create files or
 * read the environment meanwhile.
 * Runs on: start-up.  Allocates: yes.  Blocks: 0.2 s for the first port, up to 2 s. */
enum rc ethdev_open(const struct ethdev_config *config,
                    struct ethdev **ret_port,
                    struct nic **ret_queues,
                    struct diag_trail *trail) MUST_USE;

/* What runs and what it costs, one line for the banner and doctor: driver, link, queues, steering,
 * offloads, memory. */
void ethdev_text(const struct ethdev *port, char *text, size_t capacity);

/* The port's own counters since it was opened, to be compared with struct nic_counters:
 *     received_packets = datagrams + malformed + foreign + ARP + echo requests
 *     sent_packets     = datagrams + ARP + echo replies + what came from the exception port
 * Blocks: as long as the driver takes (shared memory: no; a virtual function: a mailbox). */
struct ethdev_stats {
    uint64_t received_packets;
    uint64_t sent_packets;
    uint64_t missed;
    uint64_t errors;
    uint64_t no_buffer;
    uint64_t buffers_in_use; /* of all queues' pools: posted to rings, given out, or waiting to be
                                sent; on a vhost port 0 when nothing is under way */
};
enum rc ethdev_stats(const struct ethdev *port, struct ethdev_stats *ret_stats) MUST_USE;

/* True when DPDK's drivers can be loaded here; else the reason is in trail. Starts no EAL. */
bool ethdev_is_available(struct diag_trail *trail);

#endif
