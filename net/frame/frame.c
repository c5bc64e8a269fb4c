#include "net/frame/frame.h"

#include "engine/base/check.h"
#include "net/frame/frame_layout.h"

static const char *const kind_names[] = {
    [FRAME_UDP] = "UDP",
    [FRAME_ARP_REQUEST] = "ARP_REQUEST",
    [FRAME_ARP_REPLY] = "ARP_REPLY",
    [FRAME_ECHO_REQUEST] = "ECHO_REQUEST",
    [FRAME_FRAGMENT] = "FRAGMENT",
    [FRAME_FOREIGN] = "FOREIGN",
    [FRAME_MALFORMED] = "MALFORMED",
};

const char *
frame_kind_name(enum frame_kind kind)
{
    return (unsigned)kind < ARRAY_COUNT(kind_names) ? kind_names[kind] : "?";
}

bool
frame_ip_is_impossible(uint32_t ip)
{
    uint32_t first = ip >> 24;

    return first == 0 || first == 127 || first >= 224;
}

/* ---- receiving ---- */

/* udp [udp_room] is what IPv4 carries. */
static ALWAYS_INLINE enum frame_kind
classify_udp(const struct frame_local *local,
             const uint8_t *udp,
             uint32_t udp_room,
             struct frame_view *view)
{
    if (UNLIKELY(udp_room < FRAME_UDP_BYTES))
        return FRAME_MALFORMED;
    uint32_t udp_bytes = get_u16_be(udp + UDP_TOTAL_BYTES);
    if (UNLIKELY((udp_bytes < FRAME_UDP_BYTES) | (udp_bytes > udp_room)))
        return FRAME_MALFORMED;
    view->source_port = get_u16_be(udp + UDP_SOURCE);
    view->port = get_u16_be(udp + UDP_TARGET);
    if ((uint32_t)(uint16_t)(view->port - local->port_first) >= local->port_count)
        return FRAME_FOREIGN;
    if (UNLIKELY(view->source_port == 0))
        return FRAME_MALFORMED; /* could not be answered */
    bool is_checked = (local->checks & FRAME_CHECK_UDP) != 0 && get_u16_be(udp + UDP_CHECKSUM) != 0;
    if (UNLIKELY(is_checked)) {
        uint32_t sum = frame_udp_pseudo_sum(view->source_ip, local->ip, udp_bytes);
        if (frame_checksum(frame_sum(sum, udp, udp_bytes)) != 0)
            return FRAME_MALFORMED;
    }
    view->payload_offset += FRAME_UDP_BYTES;
    view->payload_bytes = udp_bytes - FRAME_UDP_BYTES;
    return FRAME_UDP;
}

static COLD enum frame_kind
classify_icmp(const uint8_t *icmp, const struct frame_view *view)
{
    if (view->payload_bytes < ICMP_BYTES)
        return FRAME_MALFORMED;
    if (frame_checksum(frame_sum(0, icmp, view->payload_bytes)) != 0)
        return FRAME_MALFORMED;
    /* With options the answer would have to turn a recorded route round: left to the kernel. */
    bool has_options = view->payload_offset != FRAME_ETHERNET_BYTES + FRAME_IPV4_BYTES;
    if (icmp[ICMP_TYPE] != ICMP_ECHO_REQUEST || icmp[ICMP_CODE] != 0 || has_options)
        return FRAME_FOREIGN;
    return FRAME_ECHO_REQUEST;
}

/* ip [ip_room] is what the Ethernet frame carries, padding included. */
static ALWAYS_INLINE enum frame_kind
classify_ipv4(const struct frame_local *local,
              const uint8_t *ip,
              uint32_t ip_room,
              struct frame_view *view)
{
    if (UNLIKELY(ip_room < FRAME_IPV4_BYTES))
        return FRAME_MALFORMED;
    uint32_t header_bytes = (ip[IPV4_VERSION_IHL] & 15u) * 4;
    uint32_t total_bytes = get_u16_be(ip + IPV4_TOTAL_BYTES);
    if (UNLIKELY((ip[IPV4_VERSION_IHL] >> 4 != 4) | (header_bytes < FRAME_IPV4_BYTES) |
                 (total_bytes < header_bytes) | (total_bytes > ip_room)))
        return FRAME_MALFORMED;
    if ((local->checks & FRAME_CHECK_IPV4) != 0 && !frame_ipv4_is_right(ip, header_bytes))
        return FRAME_MALFORMED;
    if (get_u32_be(ip + IPV4_TARGET) != local->ip)
        return FRAME_FOREIGN;
    view->source_ip = get_u32_be(ip + IPV4_SOURCE);
    if (UNLIKELY(frame_ip_is_impossible(view->source_ip)))
        return FRAME_MALFORMED;
    if (UNLIKELY((get_u16_be(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_BITS) != 0))
        return FRAME_FRAGMENT;
    view->payload_offset = FRAME_ETHERNET_BYTES + header_bytes;
    view->payload_bytes = total_bytes - header_bytes;
    if (LIKELY(ip[IPV4_PROTOCOL] == IPV4_UDP))
        return classify_udp(local, ip + header_bytes, view->payload_bytes, view);
    if (ip[IPV4_PROTOCOL] == IPV4_ICMP)
        return classify_icmp(ip + header_bytes, view);
    return FRAME_FOREIGN;
}

enum frame_kind
frame_classify(const struct frame_local *local,
               const uint8_t *bytes,
               uint32_t byte_count,
               struct frame_view *ret)
{
    if (UNLIKELY(byte_count < FRAME_ETHERNET_BYTES))
        return FRAME_MALFORMED;
    if (UNLIKELY(mac_is_group(bytes + ETHERNET_SOURCE)))
        return FRAME_MALFORMED;
    uint16_t type = get_u16_be(bytes + ETHERNET_TYPE);
    bool is_ours = mac_equal(bytes + ETHERNET_TARGET, local->mac);
    if (UNLIKELY(type == ETHERNET_TYPE_ARP)) {
        if (!is_ours && !mac_is_broadcast(bytes + ETHERNET_TARGET))
            return FRAME_FOREIGN;
        return frame__classify_arp(local, bytes, byte_count, ret);
    }
    if ((type != ETHERNET_TYPE_IPV4) | !is_ours)
        return FRAME_FOREIGN;
    struct frame_view view = {0};
    mac_copy(view.source_mac, bytes + ETHERNET_SOURCE);
    enum frame_kind kind = classify_ipv4(
        local, bytes + FRAME_ETHERNET_BYTES, byte_count - FRAME_ETHERNET_BYTES, &view);
    if (kind == FRAME_UDP || kind == FRAME_ECHO_REQUEST)
        *ret = view;
    return kind;
}

/* ---- sending ---- */

uint32_t
frame_echo_reply(const struct frame_local *local, uint8_t *bytes, const struct frame_view *view)
{
    uint8_t *ip = bytes + FRAME_ETHERNET_BYTES;
    uint8_t *icmp = bytes + view->payload_offset;

    DCHECK(view->payload_offset == FRAME_ETHERNET_BYTES + FRAME_IPV4_BYTES);
    mac_copy(bytes + ETHERNET_TARGET, view->source_mac);
    mac_copy(bytes + ETHERNET_SOURCE, local->mac);
    put_u32_be(ip + IPV4_SOURCE, local->ip);
    put_u32_be(ip + IPV4_TARGET, view->source_ip);
    ip[IPV4_TTL] = IPV4_TTL_OURS;
    put_u16_be(ip + IPV4_CHECKSUM, 0);
    put_u16_be(ip + IPV4_CHECKSUM, frame_checksum(frame_sum(0, ip, FRAME_IPV4_BYTES)));
    icmp[ICMP_TYPE] = ICMP_ECHO_REPLY;
    put_u16_be(icmp + ICMP_CHECKSUM, 0);
    put_u16_be(icmp + ICMP_CHECKSUM, frame_checksum(frame_sum(0, icmp, view->payload_bytes)));
    return view->payload_offset + view->payload_bytes;
}

/* The UDP checksum as `fill` wants it. headers: all but the checksum is written. */
static uint16_t
udp_checksum(const uint8_t *headers, const struct frame_udp *udp, uint32_t udp_bytes)
{
    uint32_t sum = frame_udp_pseudo_sum(udp->source_ip, udp->target_ip, udp_bytes);

    if ((udp->fill & FRAME_FILL_UDP) == 0)
        return (uint16_t)~frame_checksum(sum); /* the port adds to the plain sum */
    const uint8_t *at = headers + FRAME_ETHERNET_BYTES + FRAME_IPV4_BYTES;
    uint16_t checksum = frame_checksum(frame_sum(sum, at, udp_bytes));
    return checksum == 0 ? UINT16_MAX : checksum; /* zero would mean that there is none */
}

void
frame_udp_write(uint8_t *headers, const struct frame_udp *udp, uint32_t payload_bytes)
{
    uint8_t *ip = headers + FRAME_ETHERNET_BYTES;
    uint8_t *at = ip + FRAME_IPV4_BYTES;

    CHECK(payload_bytes <= FRAME_PAYLOAD_BYTES_MAX);
    uint32_t udp_bytes = FRAME_UDP_BYTES + payload_bytes;
    mac_copy(headers + ETHERNET_TARGET, udp->target_mac);
    mac_copy(headers + ETHERNET_SOURCE, udp->source_mac);
    put_u16_be(headers + ETHERNET_TYPE, ETHERNET_TYPE_IPV4);

    put_u32_be(ip, UINT32_C(0x45000000) | (FRAME_IPV4_BYTES + udp_bytes));
    put_u32_be(ip + 4, IPV4_DONT_FRAGMENT);
    put_u32_be(ip + IPV4_TTL, (uint32_t)IPV4_TTL_OURS << 24 | (uint32_t)IPV4_UDP << 16);
    put_u32_be(ip + IPV4_SOURCE, udp->source_ip);
    put_u32_be(ip + IPV4_TARGET, udp->target_ip);
    if ((udp->fill & FRAME_FILL_IPV4) != 0)
        put_u16_be(ip + IPV4_CHECKSUM, frame_checksum(frame_sum(0, ip, FRAME_IPV4_BYTES)));

    put_u16_be(at + UDP_SOURCE, udp->source_port);
    put_u16_be(at + UDP_TARGET, udp->target_port);
    put_u32_be(at + UDP_TOTAL_BYTES, udp_bytes << 16);
    if ((udp->fill & (FRAME_FILL_UDP | FRAME_FILL_UDP_PSEUDO)) != 0)
        put_u16_be(at + UDP_CHECKSUM, udp_checksum(headers, udp, udp_bytes));
}
