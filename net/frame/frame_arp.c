#include "engine/base/check.h"
#include "net/frame/frame_layout.h"

static const uint8_t broadcast[FRAME_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[FRAME_MAC_BYTES];

enum frame_kind
frame__classify_arp(const struct frame_local *local,
                    const uint8_t *bytes,
                    uint32_t byte_count,
                    struct frame_view *ret)
{
    const uint8_t *arp = bytes + FRAME_ETHERNET_BYTES;

    if (byte_count < FRAME_ARP_BYTES)
        return FRAME_MALFORMED;
    if (get_u32_be(arp + ARP_HARDWARE) != ARP_PREFIX_HIGH ||
        get_u16_be(arp + ARP_HARDWARE + 4) != ARP_PREFIX_LOW)
        return FRAME_FOREIGN; /* of another kind of network */
    uint16_t operation = get_u16_be(arp + ARP_OPERATION);
    uint32_t sender_ip = get_u32_be(arp + ARP_SENDER_IP);
    if (mac_is_group(arp + ARP_SENDER_MAC))
        return FRAME_MALFORMED;
    /* Who speaks under our own address has a conflict with us, or is our own echo. */
    if (get_u32_be(arp + ARP_TARGET_IP) != local->ip || sender_ip == local->ip ||
        (operation != ARP_REQUEST && operation != ARP_REPLY))
        return FRAME_FOREIGN;
    bool is_request = operation == ARP_REQUEST;
    /* A request may come from nobody: a probe whether the address is free (RFC 5227). */
    if (frame_ip_is_impossible(sender_ip) && !(is_request && sender_ip == 0))
        return FRAME_MALFORMED;
    *ret = (struct frame_view){.source_ip = sender_ip};
    mac_copy(ret->source_mac, arp + ARP_SENDER_MAC);
    return is_request ? FRAME_ARP_REQUEST : FRAME_ARP_REPLY;
}

/* Who is asked or told. */
struct arp_target {
    const uint8_t *frame_mac; /* of the Ethernet header */
    const uint8_t *mac;
    uint32_t ip;
};

static uint32_t
arp_write(const struct frame_local *local,
          uint16_t operation,
          const struct arp_target *target,
          uint8_t *bytes)
{
    uint8_t *arp = bytes + FRAME_ETHERNET_BYTES;

    mac_copy(bytes + ETHERNET_TARGET, target->frame_mac);
    mac_copy(bytes + ETHERNET_SOURCE, local->mac);
    put_u16_be(bytes + ETHERNET_TYPE, ETHERNET_TYPE_ARP);
    put_u32_be(arp + ARP_HARDWARE, ARP_PREFIX_HIGH);
    put_u16_be(arp + ARP_HARDWARE + 4, ARP_PREFIX_LOW);
    put_u16_be(arp + ARP_OPERATION, operation);
    mac_copy(arp + ARP_SENDER_MAC, local->mac);
    put_u32_be(arp + ARP_SENDER_IP, local->ip);
    mac_copy(arp + ARP_TARGET_MAC, target->mac);
    put_u32_be(arp + ARP_TARGET_IP, target->ip);
    return FRAME_ARP_BYTES;
}

uint32_t
frame_arp_reply(const struct frame_local *local, uint8_t *bytes)
{
    const uint8_t *arp = bytes + FRAME_ETHERNET_BYTES;
    uint8_t asker[FRAME_MAC_BYTES];

    mac_copy(asker, arp + ARP_SENDER_MAC); /* before it is written over */
    struct arp_target target = {asker, asker, get_u32_be(arp + ARP_SENDER_IP)};
    return arp_write(local, ARP_REPLY, &target, bytes);
}

uint32_t
frame_arp_request(const struct frame_local *local, uint32_t target_ip, uint8_t *bytes)
{
    struct arp_target target = {broadcast, nobody, target_ip};

    return arp_write(local, ARP_REQUEST, &target, bytes);
}

uint32_t
frame_arp_announce(const struct frame_local *local, uint8_t *bytes)
{
    struct arp_target target = {broadcast, nobody, local->ip};

    return arp_write(local, ARP_REQUEST, &target, bytes);
}
