/* Places of fields, for this folder's files. */
#ifndef EAGRE_NET_FRAME_FRAME_LAYOUT_H
#define EAGRE_NET_FRAME_FRAME_LAYOUT_H

#include "engine/base/base.h"
#include "engine/base/bytes.h"
#include "net/frame/frame.h"

#define ETHERNET_TARGET 0
#define ETHERNET_SOURCE 6
#define ETHERNET_TYPE 12
#define ETHERNET_TYPE_IPV4 0x0800
#define ETHERNET_TYPE_ARP 0x0806
#define ETHERNET_802_3_MAX 1500 /* below 1536 the type field is a length */

/* From the IPv4 header on. */
#define IPV4_VERSION_IHL 0
#define IPV4_TOTAL_BYTES 2
#define IPV4_FRAGMENT 6
#define IPV4_TTL 8
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_SOURCE 12
#define IPV4_TARGET 16
#define IPV4_FRAGMENT_BITS 0x3fff /* more fragments, and the offset */
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_TTL_OURS 64
#define IPV4_ICMP 1
#define IPV4_UDP 17

#define UDP_SOURCE 0
#define UDP_TARGET 2
#define UDP_TOTAL_BYTES 4
#define UDP_CHECKSUM 6

#define ICMP_BYTES 8u
#define ICMP_TYPE 0
#define ICMP_CODE 1
#define ICMP_CHECKSUM 2
#define ICMP_ECHO_REQUEST 8
#define ICMP_ECHO_REPLY 0

/* From the ARP header on; 28 bytes. */
#define ARP_HARDWARE 0
#define ARP_OPERATION 6
#define ARP_SENDER_MAC 8
#define ARP_SENDER_IP 14
#define ARP_TARGET_MAC 18
#define ARP_TARGET_IP 24
#define ARP_BODY_BYTES 28u
/* Ethernet, IPv4, lengths 6 and 4: the first six bytes of every ARP packet of ours. */
#define ARP_PREFIX_HIGH 0x00010800u
#define ARP_PREFIX_LOW 0x0604u
#define ARP_REQUEST 1
#define ARP_REPLY 2

_Static_assert(FRAME_HEADERS_BYTES == FRAME_ETHERNET_BYTES + FRAME_IPV4_BYTES + FRAME_UDP_BYTES,
               "headers");
_Static_assert(FRAME_ARP_BYTES == FRAME_ETHERNET_BYTES + ARP_BODY_BYTES, "ARP");

static ALWAYS_INLINE void
mac_copy(uint8_t *to, const uint8_t *from)
{
    __builtin_memcpy(to, from, FRAME_MAC_BYTES);
}

static ALWAYS_INLINE bool
mac_equal(const uint8_t *a, const uint8_t *b)
{
    return ((get_u32_le(a) ^ get_u32_le(b)) | (uint32_t)(get_u16_le(a + 4) ^ get_u16_le(b + 4))) ==
           0;
}

/* Multicast and broadcast. */
static ALWAYS_INLINE bool
mac_is_group(const uint8_t *mac)
{
    return (mac[0] & 1) != 0;
}

/* ff:ff:ff:ff:ff:ff */
static ALWAYS_INLINE bool
mac_is_broadcast(const uint8_t *mac)
{
    return get_u32_le(mac) == UINT32_MAX && get_u16_le(mac + 4) == UINT16_MAX;
}

/* frame_arp.c: the part of frame_classify() for ARP. */
enum frame_kind frame__classify_arp(const struct frame_local *local,
                                    const uint8_t *bytes,
                                    uint32_t byte_count,
                                    struct frame_view *ret);

#endif
