#include "hw/ethdev/ethdev.h"

#include "engine/base/bytes.h"
#include "hw/ethdev/ethdev_eal.h"
#include "hw/ethdev/ethdev_filter.h"
#include "hw/ethdev/ethdev_port.h"
#include "hw/mem/mem.h"

#include <dirent.h>
#include <rte_ethdev.h>
#include <rte_version.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(RTE_PKTMBUF_HEADROOM == 128, "ethdev__room_bytes() counts with it");
_Static_assert(ETHDEV_POOL_CACHE <= RTE_MEMPOOL_CACHE_MAX_SIZE, "pool");

static const char *const steering_text[] = {
    [ETHDEV_STEER_NONE] = "no steering",
    [ETHDEV_STEER_FLOW] = "one UDP port per queue by flow rules",
    [ETHDEV_STEER_RSS] = "by RSS",
    [ETHDEV_STEER_SENDER] = "as the other side chooses",
    [ETHDEV_STEER_FILTER] = "as the interface chooses",
};

/* ---- what was asked for ---- */

/* The IPv4 address in host order; 0: not IPv4. */
static uint32_t
ipv4_of(const struct nic_address *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(address->ip, mapped, sizeof(mapped)) == 0 ? get_u32_be(address->ip + 12) : 0;
}

static enum rc
check_addresses(const struct ethdev_config *config, struct diag_trail *trail)
{
    char text[NIC_ADDRESS_TEXT_MAX];
    uint32_t local = ipv4_of(&config->local);
    uint32_t peer = ipv4_of(&config->peer);
    uint32_t mask = config->prefix_bits == 0 ? 0 : UINT32_MAX << (32 - config->prefix_bits);

    nic_address_text(&config->local, text, sizeof(text));
    if (local == 0 || frame_ip_is_impossible(local)) {
        diag_trail_add(trail, "%s is no IPv4 address that a port could have", text);
        return RC_INVALID;
    }
    if (config->local.port == 0 || config->local.port + config->queue_count > UINT16_MAX + 1u) {
        diag_trail_add(
            trail, "%s: %u UDP ports from there on do not exist", text, config->queue_count);
        return RC_INVALID;
    }
    if (config->peer.port == 0)
        return RC_OK;
    if (peer == 0 || peer == local || ((peer ^ local) & mask) != 0) {
        nic_address_text(&config->peer, text, sizeof(text));
        diag_trail_add(trail,
                       "the server %s is not in the network of %u.%u.%u.%u/%u, and a port "
                       "of our own has no gateway",
                       text,
                       local >> 24,
                       (local >> 16) & 255,
                       (local >> 8) & 255,
                       local & 255,
                       config->prefix_bits);
        return RC_INVALID;
    }
    return RC_OK;
}

static enum rc
check_config(const struct ethdev_config *config, struct diag_trail *trail)
{
    if (config->queue_count == 0 || config->queue_count > ETHDEV_QUEUES_MAX) {
        diag_trail_add(
            trail, "%u queues, possible are 1 to %u", config->queue_count, ETHDEV_QUEUES_MAX);
        return RC_INVALID;
    }
    if (config->prefix_bits > 32) {
        diag_trail_add(trail, "prefix of %u bits, at most 32", config->prefix_bits);
        return RC_INVALID;
    }
    if (config->datagram_bytes_max != 0 && (config->datagram_bytes_max < 1200 ||
                                            config->datagram_bytes_max > NIC_DATAGRAM_BYTES_MAX)) {
        diag_trail_add(trail,
                       "datagrams of %u bytes, possible are 1200 to %u",
                       config->datagram_bytes_max,
                       NIC_DATAGRAM_BYTES_MAX);
        return RC_INVALID;
    }
    return check_addresses(config, trail);
}

/* ---- opening ---- */

static void
init_queue(struct ethdev *port, uint16_t queue_idx)
{
    struct ethdev_queue *queue = &port->queues[queue_idx];
    const struct ethdev_config *config = &port->config;
    bool is_shared = port->args.kind == ETHDEV_VHOST || port->args.kind == ETHDEV_VIRTIO_USER;
    bool port_sums = (port->send_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;

    queue->nic = (struct nic){
        .ops = &ethdev__queue_ops,
        .body_name = "dpdk",
        .datagram_bytes_max = config->datagram_bytes_max,
        .wait_fd = -1,
        .is_same_host = is_shared,
        .port = (uint16_t)(config->local.port + queue_idx),
        .local = config->local,
    };
    queue->nic.local.port = queue->nic.port;
    __builtin_memcpy(queue->nic.local.mac, port->mac, sizeof(port->mac));
    queue->port = port;
    queue->pool = port->pools[queue_idx];
    queue->port_id = port->port_id;
    queue->queue_idx = queue_idx;
    queue->exception_id = port->exception_id;
    queue->bursts_are_syscalls = port->args.kind == ETHDEV_AF_XDP || port->args.kind == ETHDEV_TAP;
    queue->send_offloads = port_sums ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : 0;
    queue->trusted = (struct frame_local){
        .ip = port->ip,
        .port_first = config->local.port,
        .port_count = port->queue_count,
    };
    __builtin_memcpy(queue->trusted.mac, port->mac, sizeof(port->mac));
    queue->local = queue->trusted;
    /* Shared memory has no wire that could damage a header. */
    queue->local.checks = is_shared ? 0 : FRAME_CHECK_IPV4;
    queue->headers = (struct frame_udp){
        .source_ip = port->ip,
        .source_port = queue->nic.port,
        .fill = port_sums ? 0 : FRAME_FILL_IPV4,
    };
    __builtin_memcpy(queue->headers.source_mac, port->mac, sizeof(port->mac));
}

struct opening {
    struct ethdev *port;
    struct diag_trail *trail;
};

static enum rc
open_port(void *context)
{
    struct opening *opening = context;
    struct ethdev *port = opening->port;
    struct ethdev_eal_config eal = {
        .memory_bytes = port->memory_bytes,
        .runtime_dir = port->config.runtime_dir,
        .pci = port->args.kind == ETHDEV_PCI ? port->args.text : NULL,
        .hugepages = port->config.hugepages,
    };

    struct ethdev_filter filter = {
        .ip = port->ip,
        .port_first = port->config.local.port,
        .port_count = port->queue_count,
    };
    char filter_path[ETHDEV_PATH_MAX] = "";

    enum rc rc = ethdev__eal_start(&eal, opening->trail);
    if (rc == RC_OK && port->args.listen_path[0] != '\0')
        rc = ethdev__clear_stale_socket(port->args.listen_path, opening->trail);
    if (rc == RC_OK)
        rc = ethdev__filter_prepare(
            &port->args, &filter, filter_path, sizeof(filter_path), opening->trail);
    if (rc == RC_OK)
        rc = ethdev__port_start(port, opening->trail);
    if (filter_path[0] != '\0')
        (void)unlink(filter_path);
    if (rc != RC_OK || port->args.listen_path[0] == '\0')
        return rc;
    /* The umask allows us alone already; the file must not look executable. */
    if (chmod(port->args.listen_path, S_IRUSR | S_IWUSR) != 0) {
        ethdev__port_stop(port);
        return ethdev__device_fail(opening->trail, -EACCES, port->args.listen_path);
    }
    return RC_OK;
}

static enum rc
init_port(struct ethdev *port, const struct ethdev_config *config, struct diag_trail *trail)
{
    port->config = *config;
    if (config->datagram_bytes_max == 0)
        port->config.datagram_bytes_max = NIC_DATAGRAM_BYTES;
    port->port_id = ETHDEV_NO_PORT;
    port->exception_id = ETHDEV_NO_PORT;
    port->kernel_fd = -1;
    port->queue_count = (uint16_t)config->queue_count;
    port->ip = ipv4_of(&config->local);
    port->peer_ip = config->peer.port != 0 ? ipv4_of(&config->peer) : 0;
    atomic_init(&port->open_count, config->queue_count);
    enum rc rc = ethdev__args_parse(config->devargs, config->queue_count, &port->args, trail);
    if (rc == RC_OK && config->exception != NULL)
        rc = ethdev__args_parse(
            config->exception, config->queue_count, &port->exception_args, trail);
    if (rc != RC_OK)
        return rc;
    port->room_bytes = ethdev__room_bytes(port->config.datagram_bytes_max);
    port->descriptor_count = ethdev__descriptor_count(port->args.kind);
    port->memory_bytes = config->memory_bytes;
    if (port->memory_bytes == 0)
        port->memory_bytes = ethdev__memory_bytes(
            port->args.kind, port->queue_count, port->room_bytes);
    port->queues = mem_boot_alloc(port->queue_count * sizeof(port->queues[0]));
    return port->queues == NULL ? RC_NO_MEMORY : RC_OK;
}

enum rc
ethdev_open(const struct ethdev_config *config,
            struct ethdev **ret_port,
            struct nic **ret_queues,
            struct diag_trail *trail)
{
    enum rc rc = check_config(config, trail);

    if (rc != RC_OK)
        return rc;
    struct ethdev *port = mem_boot_alloc(sizeof(*port));
    if (port == NULL)
        return RC_NO_MEMORY;
    struct opening opening = {.port = port, .trail = trail};
    rc = init_port(port, config, trail);
    if (rc == RC_OK)
        rc = ethdev__eal_detached(open_port, &opening, trail);
    if (rc != RC_OK) {
        ethdev__port_free(port);
        return rc;
    }
    for (uint16_t i = 0; i < port->queue_count; i++) {
        init_queue(port, i);
        ret_queues[i] = &port->queues[i].nic;
    }
    *ret_port = port;
    return RC_OK;
}

/* ---- being seen ---- */

/* What becomes of the traffic that is not for us. */
static const char *
other_text(const struct ethdev *port)
{
    if (port->exception_id != ETHDEV_NO_PORT)
        return "other traffic goes through ";
    if (port->args.kind == ETHDEV_AF_XDP && port->args.object_path[0] != '\0')
        return "the interface is shared with the kernel";
    if (port->args.kind == ETHDEV_AF_XDP)
        return "the kernel gets nothing of the interface (no xdp_prog=)";
    return "other traffic is dropped";
}

void
ethdev_text(const struct ethdev *port, char *text, size_t capacity)
{
    struct rte_eth_dev_info info = {.driver_name = "?"};
    struct rte_eth_link link = {.link_status = 0};
    bool port_sums = (port->send_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;

    (void)rte_eth_dev_info_get(port->port_id, &info);
    (void)rte_eth_link_get_nowait(port->port_id, &link);
    (void)snprintf(text,
                   capacity,
                   "%s (%s), link %s, %u queue%s (%s), %s%s, %u x %u B buffers per queue, %s, %s%s",
                   port->args.name,
                   info.driver_name,
                   link.link_status != 0 ? "up" : "down",
                   port->queue_count,
                   port->queue_count == 1 ? "" : "s",
                   steering_text[port->steering],
                   port_sums ? "IPv4 checksum by the port" : "no offloads",
                   port_sums && port->receive_offloads != 0 ? " both ways" : "",
                   ethdev__pool_count(port->args.kind),
                   port->room_bytes,
                   port->config.hugepages ? "hugepages" : "ordinary pages",
                   other_text(port),
                   port->exception_id != ETHDEV_NO_PORT ? port->exception_args.name : "");
}

enum rc
ethdev_stats(const struct ethdev *port, struct ethdev_stats *ret_stats)
{
    struct rte_eth_stats stats;

    int result = rte_eth_stats_get(port->port_id, &stats);
    if (result != 0)
        return RC_UNSUPPORTED;
    *ret_stats = (struct ethdev_stats){
        .received_packets = stats.ipackets,
        .sent_packets = stats.opackets,
        .missed = stats.imissed,
        .errors = stats.ierrors + stats.oerrors,
        .no_buffer = stats.rx_nombuf,
    };
    for (uint32_t i = 0; i < port->queue_count; i++)
        ret_stats->buffers_in_use += rte_mempool_in_use_count(port->pools[i]);
    return RC_OK;
}

bool
ethdev_is_available(struct diag_trail *trail)
{
    DIR *dir = opendir(RTE_EAL_PMD_PATH);
    struct dirent *entry;
    bool found = false;

    while (dir != NULL && !found && (entry = readdir(dir)) != NULL)
        found = strncmp(entry->d_name, "librte_net_", strlen("librte_net_")) == 0;
    if (dir != NULL)
        (void)closedir(dir);
    if (!found)
        diag_trail_add(trail, "%s has no drivers in %s", rte_version(), RTE_EAL_PMD_PATH);
    return found;
}
