/* What a host owes to its network when no kernel does it: answers to ARP and ping, an announcement
 * of its address, and, in the client role, the question where the server is. Frames of this kind
 * leave at once or not at all; who missed an answer asks again.
 *
 * The exception port carries everything else to the kernel and back. Frames keep their buffers on
 * the way, each freed by the driver that sends it. */
#include "hw/ethdev/ethdev_port.h"

#include "engine/base/bytes.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>

#define ASK_HZ 10u            /* until the peer has answered */
#define ASK_AGAIN_SECONDS 10u /* afterwards: it may have moved */

static uint16_t
transmit(uint16_t port_id, uint16_t queue_idx, struct rte_mbuf *buffer)
{
    uint16_t sent = rte_eth_tx_burst(port_id, queue_idx, &buffer, 1);

    if (sent == 0)
        rte_pktmbuf_free(buffer);
    return sent;
}

static uint16_t
transmit_bytes(struct ethdev_queue *queue, struct rte_mbuf *buffer, uint32_t byte_count)
{
    buffer->data_len = (uint16_t)byte_count;
    buffer->pkt_len = byte_count;
    buffer->ol_flags = 0;
    return transmit(queue->port_id, queue->queue_idx, buffer);
}

/* ---- frames that are no datagrams for us ---- */

static COLD void
learn_peer(struct ethdev *port, const struct frame_view *view)
{
    uint64_t mac = 0;

    if (port->peer_ip == 0 || view->source_ip != port->peer_ip)
        return;
    __builtin_memcpy(&mac, view->source_mac, FRAME_MAC_BYTES);
    atomic_store_explicit(&port->peer_mac, mac, memory_order_relaxed);
}

/* To the kernel where there is an exception port, else nowhere. */
static COLD void
pass_on(struct ethdev_queue *queue, struct rte_mbuf *buffer)
{
    if (queue->exception_id == ETHDEV_NO_PORT) {
        rte_pktmbuf_free(buffer);
        return;
    }
    buffer->ol_flags = 0;
    (void)transmit(queue->exception_id, queue->queue_idx, buffer);
}

COLD void
ethdev__take_other(struct ethdev_queue *queue,
                   struct rte_mbuf *buffer,
                   enum frame_kind kind,
                   const struct frame_view *view)
{
    struct nic_counters *counters = &queue->nic.counters;
    uint8_t *frame = ethdev__frame_of(buffer);

    switch (kind) {
    case FRAME_ARP_REQUEST:
        if (transmit_bytes(queue, buffer, frame_arp_reply(&queue->local, frame)) != 0)
            ethdev__count(&counters->arp_replies, 1);
        return;
    case FRAME_ECHO_REQUEST:
        if (transmit_bytes(queue, buffer, frame_echo_reply(&queue->local, frame, view)) != 0)
            ethdev__count(&counters->icmp_replies, 1);
        return;
    case FRAME_ARP_REPLY:
        learn_peer(queue->port, view);
        pass_on(queue, buffer); /* the kernel may have asked as well */
        return;
    case FRAME_FOREIGN:
        ethdev__count(&counters->receive_foreign, 1);
        pass_on(queue, buffer);
        return;
    case FRAME_FRAGMENT:
        ethdev__count(&counters->receive_malformed, 1);
        pass_on(queue, buffer); /* of the kernel's TCP, perhaps */
        return;
    case FRAME_UDP:
    case FRAME_MALFORMED:
        ethdev__count(&counters->receive_malformed, 1);
        rte_pktmbuf_free(buffer);
        return;
    }
}

/* ---- when due ---- */

static bool
is_due(uint64_t *due_tsc, uint64_t now_tsc, uint64_t period_tsc)
{
    if (now_tsc < *due_tsc)
        return false;
    *due_tsc = now_tsc + period_tsc;
    return true;
}

static COLD void
speak_arp(struct ethdev_queue *queue)
{
    struct rte_mbuf *buffer;

    if (!queue->is_announced) {
        buffer = rte_pktmbuf_alloc(queue->pool);
        if (buffer == NULL)
            return;
        uint32_t bytes = frame_arp_announce(&queue->local, ethdev__frame_of(buffer));
        queue->is_announced = transmit_bytes(queue, buffer, bytes) != 0;
    }
    if (queue->port->kernel_fd >= 0) {
        ethdev__ask_kernel(queue->port);
        ethdev__count(&queue->nic.counters.syscalls, 2);
    } else if (queue->port->peer_ip != 0) {
        buffer = rte_pktmbuf_alloc(queue->pool);
        if (buffer == NULL)
            return;
        uint32_t bytes = frame_arp_request(
            &queue->local, queue->port->peer_ip, ethdev__frame_of(buffer));
        (void)transmit_bytes(queue, buffer, bytes);
    }
}

/* The port's counters belong to all queues; the first one publishes them. */
static COLD void
read_stats(struct ethdev_queue *queue)
{
    struct rte_eth_stats stats;

    if (queue->queue_idx != 0 || rte_eth_stats_get(queue->port_id, &stats) != 0)
        return;
    atomic_store_explicit(&queue->nic.counters.receive_missed, stats.imissed, memory_order_relaxed);
    atomic_store_explicit(
        &queue->nic.counters.receive_no_buffer, stats.rx_nombuf, memory_order_relaxed);
}

/* From the kernel to the network. */
static COLD void
bring_exceptions(struct ethdev_queue *queue)
{
    struct rte_mbuf *burst[NIC_BURST];
    uint16_t count = rte_eth_rx_burst(queue->exception_id, queue->queue_idx, burst, NIC_BURST);

    for (uint16_t i = 0; i < count; i++) {
        if (burst[i]->nb_segs != 1) { /* not every driver sends pieces */
            rte_pktmbuf_free(burst[i]);
            continue;
        }
        burst[i]->ol_flags = 0;
        (void)transmit(queue->port_id, queue->queue_idx, burst[i]);
    }
}

void
ethdev__do_chores(struct ethdev_queue *queue)
{
    uint64_t now_tsc = rte_rdtsc();

    if (UNLIKELY(queue->exception_id != ETHDEV_NO_PORT))
        bring_exceptions(queue);
    if (LIKELY(now_tsc < queue->chore_due_tsc))
        return;
    uint64_t hz = rte_get_tsc_hz();
    bool is_known = queue->port->peer_ip == 0 ||
                    atomic_load_explicit(&queue->port->peer_mac, memory_order_relaxed) != 0;
    uint64_t ask_tsc = is_known && queue->is_announced ? ASK_AGAIN_SECONDS * hz : hz / ASK_HZ;

    queue->chore_due_tsc = now_tsc + hz / ASK_HZ;
    if (is_due(&queue->ask_due_tsc, now_tsc, ask_tsc))
        speak_arp(queue);
    if (is_due(&queue->stats_due_tsc, now_tsc, hz))
        read_stats(queue);
}
