/* XDP program for an interface that the engine shares with the kernel: UDP datagrams to the
 * engine's address and ports go to its AF_XDP socket, everything else to the kernel as before: TCP,
 * ARP, ping, fragments, other ports, anything with a VLAN tag.
 *
 * Built by clang for the BPF machine; loaded by DPDK's net_af_xdp, which puts its sockets into
 * xsks_map (the name is its contract). What is to be filtered stands in port_filter, which
 * hw/ethdev fills in a copy of the object file before it is loaded: found there by its magic. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAGMENT_BITS 0x3fff /* more fragments, and the offset */
#define QUEUES_MAX 64

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, QUEUES_MAX);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps");

/* As struct ethdev_filter of hw/ethdev/ethdev_filter.h, in host order. Not const: the compiler
 * would put the numbers into the code. */
struct {
    char magic[16];
    __u32 ip;
    __u16 port_first;
    __u16 port_count;
} port_filter SEC(".data") = {"eagre-filter-v1", 0, 0, 0};

SEC("xdp")
int
port_filter_run(struct xdp_md *context)
{
    void *end = (void *)(long)context->data_end;
    struct ethhdr *ethernet = (void *)(long)context->data;
    struct iphdr *ip = (void *)(ethernet + 1);

    if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
        return XDP_PASS;
    if (ip->protocol != IPPROTO_UDP || (ip->frag_off & bpf_htons(FRAGMENT_BITS)) != 0 ||
        ip->ihl < 5)
        return XDP_PASS;
    if (bpf_ntohl(ip->daddr) != port_filter.ip)
        return XDP_PASS;
    struct udphdr *udp = (void *)ip + ip->ihl * 4;
    if ((void *)(udp + 1) > end)
        return XDP_PASS;
    __u16 from_first = bpf_ntohs(udp->dest) - port_filter.port_first;
    if (from_first >= port_filter.port_count)
        return XDP_PASS;
    /* A queue without a socket leaves the datagram to the kernel. */
    return bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_PASS);
}

char port_filter_license[] SEC("license") = "Apache-2.0";
