/* Frames of a Linux kernel (6.18, veth, checksums by software), taken with a packet socket, and the
 * host that they were sent to (the unreachable one with both ends exchanged). */
#ifndef EAGRE_TESTS_UNIT_NET_FRAME_FRAME_BYTES_H
#define EAGRE_TESTS_UNIT_NET_FRAME_FRAME_BYTES_H

#include "net/frame/frame.h"

#define KERNEL_UDP_ODD                                                     \
    "0200000000010200000000020800450000215ed440004011c73f0a5b00020a5b0001" \
    "9c402387000df97f6561677265"
#define KERNEL_UDP_EVEN                                                    \
    "0200000000010200000000020800450000255ed540004011c73a0a5b00020a5b0001" \
    "9c40238700110ae96f646420636f756e74"
#define KERNEL_ARP_REQUEST                                                 \
    "ffffffffffff020000000002080600010800060400010200000000020a5b00020000" \
    "000000000a5b0001"
#define KERNEL_ARP_REPLY                                                   \
    "020000000002020000000001080600010800060400020200000000010a5b00010200" \
    "000000020a5b0002"
#define KERNEL_UNREACHABLE                                                 \
    "020000000001020000000002080045c0003d0cda00004001586e0a5b00020a5b0001" \
    "030311d400000000450000215ed440004011c73f0a5b00010a5b00029c402387000d" \
    "f97f6561677265"

/* 10.91.0.1, 02:00:00:00:00:01, ports 9095 and 9096, all checks on. */
extern const struct frame_local host;
/* 10.91.0.2, 02:00:00:00:00:02. */
extern const struct frame_local peer;
#define HOST_IP 0x0a5b0001u
#define PEER_IP 0x0a5b0002u

/* Bytes of hex text in memory of exactly that size, kept until the test ends. */
uint8_t *frame_of(const char *hex, uint32_t *ret_count);
/* The kind of [at, at + count), classified from memory of exactly that size. */
enum frame_kind kind_of(const uint8_t *at, uint32_t count, struct frame_view *ret);
/* Makes the IPv4 header checksum of a frame right again. */
void frame_mend(uint8_t *frame);

#endif
