/* Setting up a port: its device, pools, queues, offloads, steering, and the exception port beside
 * it. Nothing here knows packets. */
#include "hw/ethdev/ethdev_port.h"

#include "engine/base/check.h"
#include "hw/ethdev/ethdev_eal.h"
#include "hw/mem/mem.h"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MTU_USUAL 1500u
#define MTU_OVERHEAD (FRAME_IPV4_BYTES + FRAME_UDP_BYTES)

_Static_assert(ETHDEV_QUEUES_MAX <= UINT16_MAX, "queue indexes");

/* ---- pools ---- */

static enum rc
make_pool(const struct ethdev *port,
          const char *what,
          uint32_t idx,
          struct rte_mempool **ret_pool,
          struct diag_trail *trail)
{
    static uint32_t made; /* names are never used twice */
    char name[RTE_MEMPOOL_NAMESIZE];
    char text[96];
    uint32_t count = ethdev__pool_count(port->args.kind);
    int node = rte_eth_dev_socket_id(port->port_id);

    (void)snprintf(name, sizeof(name), "eagre%u", made++);
    struct rte_mempool *pool = rte_pktmbuf_pool_create(name,
                                                       count,
                                                       ETHDEV_POOL_CACHE,
                                                       0,
                                                       (uint16_t)port->room_bytes,
                                                       node < 0 ? SOCKET_ID_ANY : node);
    if (pool == NULL) {
        (void)snprintf(text,
                       sizeof(text),
                       "%s %u: %u buffers of %u bytes (memory_bytes?)",
                       what,
                       idx,
                       count,
                       port->room_bytes);
        return ethdev__device_fail(trail, rte_errno, text);
    }
    *ret_pool = pool;
    return RC_OK;
}

/* ---- the device ---- */

static enum rc
choose_queues(const struct ethdev *port,
              const struct rte_eth_dev_info *info,
              struct diag_trail *trail)
{
    uint32_t most = min_u32(info->max_rx_queues, info->max_tx_queues);

    if (port->queue_count <= most)
        return RC_OK;
    diag_trail_add(trail,
                   "%s has %u queue%s, %u are wanted",
                   port->args.name,
                   most,
                   most == 1 ? "" : "s",
                   port->queue_count);
    return RC_UNSUPPORTED;
}

static enum rc
choose_mtu(struct ethdev *port,
           const struct rte_eth_dev_info *info,
           struct rte_eth_conf *conf,
           struct diag_trail *trail)
{
    uint32_t mtu = port->config.datagram_bytes_max + MTU_OVERHEAD;

    if (info->max_mtu != 0 && mtu > info->max_mtu) {
        diag_trail_add(trail,
                       "datagrams of %u bytes: %s carries at most %u",
                       port->config.datagram_bytes_max,
                       port->args.name,
                       info->max_mtu - MTU_OVERHEAD);
        return RC_INVALID;
    }
    if (mtu > MTU_USUAL)
        conf->rxmode.mtu = mtu;
    return RC_OK;
}

/* Offloads when advertised. Freeing fast is for ports whose buffers all come from one pool, which
 * an exception port spoils. */
static void
choose_offloads(struct ethdev *port, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
    uint64_t wanted = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;

    if (port->config.exception == NULL)
        wanted |= RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
    port->send_offloads = info->tx_offload_capa & wanted;
    port->receive_offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
    conf->txmode.offloads = port->send_offloads;
    conf->rxmode.offloads = port->receive_offloads;
}

/* What is left where rules are not taken; RSS must be asked for before. */
static enum rc
choose_spread(struct ethdev *port,
              const struct rte_eth_dev_info *info,
              struct rte_eth_conf *conf,
              struct diag_trail *trail)
{
    uint64_t hash = info->flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_UDP;

    port->steering = ETHDEV_STEER_NONE;
    if (port->queue_count == 1)
        return RC_OK;
    if (port->args.kind == ETHDEV_VHOST || port->args.kind == ETHDEV_VIRTIO_USER) {
        port->steering = ETHDEV_STEER_SENDER;
    } else if (port->args.kind == ETHDEV_AF_XDP) {
        port->steering = ETHDEV_STEER_FILTER;
    } else if (hash != 0) {
        port->steering = ETHDEV_STEER_RSS;
        conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf->rx_adv_conf.rss_conf.rss_hf = hash;
    } else {
        diag_trail_add(
            trail, "%s cannot spread datagrams over %u queues", port->args.name, port->queue_count);
        return RC_UNSUPPORTED;
    }
    return RC_OK;
}

/* UDP port of queue i -> queue i. */
static bool
steer_queue(const struct ethdev *port, uint16_t queue_idx, bool create)
{
    struct rte_flow_attr attributes = {.ingress = 1};
    struct rte_flow_item_udp udp = {
        .hdr.dst_port = rte_cpu_to_be_16((uint16_t)(port->config.local.port + queue_idx))};
    struct rte_flow_item_udp mask = {.hdr.dst_port = UINT16_MAX};
    struct rte_flow_item pattern[] = {
        {.type = RTE_FLOW_ITEM_TYPE_ETH},
        {.type = RTE_FLOW_ITEM_TYPE_IPV4},
        {.type = RTE_FLOW_ITEM_TYPE_UDP, .spec = &udp, .mask = &mask},
        {.type = RTE_FLOW_ITEM_TYPE_END},
    };
    struct rte_flow_action_queue queue = {.index = queue_idx};
    struct rte_flow_action actions[] = {
        {.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue},
        {.type = RTE_FLOW_ACTION_TYPE_END},
    };
    struct rte_flow_error error;

    if (!create)
        return rte_flow_validate(port->port_id, &attributes, pattern, actions, &error) == 0;
    return rte_flow_create(port->port_id, &attributes, pattern, actions, &error) != NULL;
}

/* All rules or none: half of them would be worse than a hash. */
static void
steer(struct ethdev *port)
{
    struct rte_flow_error error;

    if (port->queue_count == 1 || port->steering != ETHDEV_STEER_RSS)
        return;
    for (uint16_t i = 0; i < port->queue_count; i++)
        if (!steer_queue(port, i, false))
            return;
    for (uint16_t i = 0; i < port->queue_count; i++)
        if (!steer_queue(port, i, true)) {
            (void)rte_flow_flush(port->port_id, &error);
            return;
        }
    port->steering = ETHDEV_STEER_FLOW;
}

static enum rc
set_up_queues(struct ethdev *port, struct diag_trail *trail)
{
    uint16_t receive_count = (uint16_t)port->descriptor_count;
    uint16_t send_count = receive_count;
    unsigned int node = (unsigned int)rte_eth_dev_socket_id(port->port_id);

    int result = rte_eth_dev_adjust_nb_rx_tx_desc(port->port_id, &receive_count, &send_count);
    if (result != 0)
        return ethdev__device_fail(trail, result, "ring sizes");
    for (uint16_t i = 0; i < port->queue_count; i++) {
        enum rc rc = make_pool(port, "pool of queue", i, &port->pools[i], trail);
        if (rc != RC_OK)
            return rc;
        result = rte_eth_rx_queue_setup(
            port->port_id, i, receive_count, node, NULL, port->pools[i]);
        if (result == 0)
            result = rte_eth_tx_queue_setup(port->port_id, i, send_count, node, NULL);
        if (result != 0)
            return ethdev__device_fail(trail, result, "queue");
    }
    return RC_OK;
}

static enum rc
start_device(struct ethdev *port, struct diag_trail *trail)
{
    struct rte_eth_conf conf = {.link_speeds = 0};
    struct rte_eth_dev_info info;
    struct rte_ether_addr mac;

    int result = rte_eth_dev_info_get(port->port_id, &info);
    if (result != 0)
        return ethdev__device_fail(trail, result, "port");
    enum rc rc = choose_queues(port, &info, trail);
    if (rc == RC_OK)
        rc = choose_mtu(port, &info, &conf, trail);
    if (rc == RC_OK)
        rc = choose_spread(port, &info, &conf, trail);
    if (rc != RC_OK)
        return rc;
    choose_offloads(port, &info, &conf);
    uint16_t count = port->queue_count;
    result = rte_eth_dev_configure(port->port_id, count, count, &conf);
    if (result != 0)
        return ethdev__device_fail(trail, result, "port");
    rc = set_up_queues(port, trail);
    if (rc != RC_OK)
        return rc;
    result = rte_eth_dev_start(port->port_id);
    if (result == 0)
        result = rte_eth_macaddr_get(port->port_id, &mac);
    if (result != 0)
        return ethdev__device_fail(trail, result, "port");
    __builtin_memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
    steer(port);
    return RC_OK;
}

/* ---- the exception port ---- */

/* As many queues as the port has, so that no two cores share one; under our hardware address, so
 * that the kernel takes what it is given. */
static enum rc
start_exception(struct ethdev *port, struct diag_trail *trail)
{
    struct rte_eth_conf conf = {.link_speeds = 0};
    struct rte_ether_addr mac;
    uint16_t count = port->queue_count;
    uint16_t descriptors = (uint16_t)port->descriptor_count;

    enum rc rc = ethdev__device_add(&port->exception_args, &port->exception_id, trail);
    if (rc == RC_OK)
        rc = make_pool(port, "pool of the exception port", 0, &port->exception_pool, trail);
    if (rc != RC_OK)
        return rc;
    __builtin_memcpy(mac.addr_bytes, port->mac, sizeof(mac.addr_bytes));
    int result = rte_eth_dev_configure(port->exception_id, count, count, &conf);
    for (uint16_t i = 0; i < count && result == 0; i++) {
        result = rte_eth_rx_queue_setup(port->exception_id,
                                        i,
                                        descriptors,
                                        (unsigned int)SOCKET_ID_ANY,
                                        NULL,
                                        port->exception_pool);
        if (result == 0)
            result = rte_eth_tx_queue_setup(
                port->exception_id, i, descriptors, (unsigned int)SOCKET_ID_ANY, NULL);
    }
    if (result == 0)
        result = rte_eth_dev_default_mac_addr_set(port->exception_id, &mac);
    if (result == 0)
        result = rte_eth_dev_start(port->exception_id);
    return result == 0 ? RC_OK : ethdev__device_fail(trail, result, "exception port");
}

/* ---- start and stop ---- */

static bool
needs_root(const struct ethdev_args *args)
{
    return args->text[0] != '\0' && (args->kind == ETHDEV_AF_XDP || args->kind == ETHDEV_TAP);
}

enum rc
ethdev__port_start(struct ethdev *port, struct diag_trail *trail)
{
    enum rc rc = ethdev__device_add(&port->args, &port->port_id, trail);

    if (rc == RC_OK)
        rc = start_device(port, trail);
    if (rc == RC_OK)
        rc = ethdev__kernel_open(port, trail);
    if (rc == RC_OK && port->config.exception != NULL)
        rc = start_exception(port, trail);
    if (rc == RC_OK)
        return RC_OK;
    ethdev__port_stop(port);
    if ((needs_root(&port->args) || needs_root(&port->exception_args)) && geteuid() != 0) {
        diag_trail_add(trail, "an AF_XDP or TAP port needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
        return RC_DENIED;
    }
    return rc;
}

void
ethdev__port_stop(struct ethdev *port)
{
    ethdev__kernel_close(port);
    if (port->exception_id != ETHDEV_NO_PORT)
        ethdev__device_remove(port->exception_id);
    if (port->port_id != ETHDEV_NO_PORT)
        ethdev__device_remove(port->port_id);
    port->exception_id = ETHDEV_NO_PORT;
    port->port_id = ETHDEV_NO_PORT;
    rte_mempool_free(port->exception_pool);
    port->exception_pool = NULL;
    for (uint32_t i = 0; i < ETHDEV_QUEUES_MAX; i++) {
        rte_mempool_free(port->pools[i]);
        port->pools[i] = NULL;
    }
}

void
ethdev__port_free(struct ethdev *port)
{
    if (port == NULL)
        return;
    mem_boot_free(port->queues);
    mem_boot_free(port);
}
