/* Ethernet, ARP, IPv4, ICMP echo and UDP over byte arrays: what a carrier needs that owns its
 * network port. Pure: no vendor's type, no clock, no allocation.
 *
 *     0          6          12    14                            34          42
 *     +----------+----------+-----+-----------------------------+-----------+-----------
 *     | to (MAC) | from     | type| IPv4 header, 20 bytes + opt.| UDP       | datagram ...
 *     +----------+----------+-----+-----------------------------+-----------+-----------
 *
 *     switch (frame_classify(&local, bytes, byte_count, &view)) {
 *     case FRAME_UDP:          bytes + view.payload_offset [view.payload_bytes], view.source_...
 *     case FRAME_ARP_REQUEST:  send frame_arp_reply(&local, bytes) bytes
 *     case FRAME_ECHO_REQUEST: send frame_echo_reply(&local, bytes, &view) bytes
 *     ...
 *
 * A server answers by reflection: the addresses of the view become those of the answer, so it needs
 * no routing table and asks no ARP. IP fragments are dropped (they have no ports, so no queue can
 * be chosen for them), and so is what has a VLAN tag: both are told by their kind, and counted
 * above.
 *
 * IPv4 addresses and ports are in host order here, and in network order in the bytes. All
 * functions: Runs on: any core.  Allocates: nothing.  Blocks: never. Sources: RFC 826, 791, 792,
 * 768, 1071 (checksum), 1624 (its update), 5227 (announcement), 6864 (identification). */
#ifndef EAGRE_NET_FRAME_FRAME_H
#define EAGRE_NET_FRAME_FRAME_H

#include "engine/base/base.h"

#define FRAME_MAC_BYTES 6u
#define FRAME_ETHERNET_BYTES 14u
#define FRAME_IPV4_BYTES 20u /* without options, as we write it */
#define FRAME_UDP_BYTES 8u
#define FRAME_HEADERS_BYTES 42u /* Ethernet, IPv4, UDP: what frame_udp_write() writes */
#define FRAME_ARP_BYTES 42u     /* a whole ARP frame; the carrier pads it to 60 where it must */
#define FRAME_PAYLOAD_BYTES_MAX (65535u - FRAME_IPV4_BYTES - FRAME_UDP_BYTES)
/* Smallest capacity of a buffer for any answer made in place. */
#define FRAME_ANSWER_BYTES_MIN FRAME_ARP_BYTES

enum frame_kind {
    FRAME_UDP,          /* for our address and one of our ports; whole */
    FRAME_ARP_REQUEST,  /* asks for our address */
    FRAME_ARP_REPLY,    /* to us: source_ip is at source_mac */
    FRAME_ECHO_REQUEST, /* ICMP echo for our address, checksum right, no IPv4 options */
    FRAME_FRAGMENT,     /* of an IPv4 packet for our address */
    FRAME_FOREIGN,      /* whole as far as looked at, but not for us: for the kernel, or dropped */
    FRAME_MALFORMED,    /* lengths that contradict each other, wrong checksum, impossible sender */
};

enum frame_check {
    FRAME_CHECK_IPV4 = 1, /* the header checksum: set where the port does not check it */
    FRAME_CHECK_UDP = 2, /* the UDP checksum (zero passes): not needed, packets are authenticated or
                            have a CRC; a peer on veth or TAP may send garbage there */
};

/* Who we are on this port. */
struct frame_local {
    uint8_t mac[FRAME_MAC_BYTES];
    uint16_t port_first; /* our UDP ports are [port_first, port_first + port_count) */
    uint32_t ip;
    uint16_t port_count; /* at least 1; port_first + port_count <= 65536 */
    uint8_t checks;      /* enum frame_check */
};

/* What frame_classify() saw. Offsets are from the first byte of the frame. */
struct frame_view {
    uint32_t payload_offset; /* UDP: of the datagram; ECHO_REQUEST: of the ICMP header */
    uint32_t payload_bytes;  /* of it; what lies behind is padding */
    uint32_t source_ip;
    uint16_t source_port; /* UDP */
    uint16_t port;        /* UDP: which of ours */
    uint8_t source_mac[FRAME_MAC_BYTES];
};

/* Tells what kind of frame lies at bytes [0, byte_count), received without its FCS. Reads nothing
 * beyond it. *ret is written for UDP, ARP_REQUEST, ARP_REPLY and ECHO_REQUEST only.
 * Budget: 10 ns for UDP without checks, one cache line. */
enum frame_kind frame_classify(const struct frame_local *local,
                               const uint8_t *bytes,
                               uint32_t byte_count,
                               struct frame_view *ret) MUST_USE;

/* "UDP"; static; "?" for none of ours. */
const char *frame_kind_name(enum frame_kind kind);

/* ---- answers in place; each returns the bytes of the frame to be sent ---- */

/* Turns an ARP_REQUEST into its reply: FRAME_ARP_BYTES. */
uint32_t frame_arp_reply(const struct frame_local *local, uint8_t *bytes);
/* Turns an ECHO_REQUEST into its reply, never longer than the request. */
uint32_t
frame_echo_reply(const struct frame_local *local, uint8_t *bytes, const struct frame_view *view);

/* ---- frames of our own ---- */

/* Asks who has target_ip: FRAME_ARP_BYTES at bytes. */
uint32_t frame_arp_request(const struct frame_local *local, uint32_t target_ip, uint8_t *bytes);
/* Tells everybody that our address is here (gratuitous ARP): FRAME_ARP_BYTES at bytes. */
uint32_t frame_arp_announce(const struct frame_local *local, uint8_t *bytes);

enum frame_fill {
    FRAME_FILL_IPV4 = 1,       /* the header checksum; else 0, for a port that fills it in */
    FRAME_FILL_UDP = 2,        /* the UDP checksum, over the payload too */
    FRAME_FILL_UDP_PSEUDO = 4, /* of the pseudo header only, as ports want it that do the rest */
};

struct frame_udp {
    uint8_t source_mac[FRAME_MAC_BYTES];
    uint8_t target_mac[FRAME_MAC_BYTES];
    uint32_t source_ip;
    uint32_t target_ip;
    uint16_t source_port;
    uint16_t target_port;
    uint8_t fill; /* enum frame_fill; without a UDP bit the UDP checksum is 0: none */
};

/* Writes the FRAME_HEADERS_BYTES that go before a payload of payload_bytes
 * [0, FRAME_PAYLOAD_BYTES_MAX], which must stand right behind them where FRAME_FILL_UDP is set.
 * Don't-fragment is set, the identification is 0 (RFC 6864), the time to live 64. */
void frame_udp_write(uint8_t *headers, const struct frame_udp *udp, uint32_t payload_bytes);

/* ---- checksums of the Internet ---- */

/* Adds bytes to a sum in progress (0 to begin; of an even count of bytes but for the last part). */
uint32_t frame_sum(uint32_t sum, const uint8_t *bytes, uint32_t byte_count);
/* The checksum of a sum, in host order: to be stored big-endian; 0 when the bytes summed up held a
 * right checksum. */
uint16_t frame_checksum(uint32_t sum);
/* Sum of a UDP pseudo header; addresses in host order, udp_bytes of header and payload. */
uint32_t frame_udp_pseudo_sum(uint32_t source_ip, uint32_t target_ip, uint32_t udp_bytes);
/* Whether the IPv4 header of header_bytes (a multiple of 4, [20, 60]) has a right checksum. */
bool frame_ipv4_is_right(const uint8_t *header, uint32_t header_bytes);

/* True for an address that a peer cannot have: 0.x, 127.x, multicast, reserved, broadcast. */
bool frame_ip_is_impossible(uint32_t ip);

#endif
