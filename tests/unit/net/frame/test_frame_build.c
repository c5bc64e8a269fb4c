/* Goal: what we send is what a kernel sends, answers go to who asked, checksums are right.
 * Method: byte for byte against frames of a kernel where there is one; else a checksum written
 * after RFC 1071, on its own. */
#include "frame_bytes.h"

#include "engine/base/bytes.h"
#include "hw/clock/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* As RFC 1071 section 4.1 has it: 16 bits at a time, big-endian. */
static uint16_t
slow_checksum(uint32_t sum, const uint8_t *at, uint32_t count)
{
    for (uint32_t i = 0; i + 1 < count; i += 2)
        sum += get_u16_be(at + i);
    if (count % 2 != 0)
        sum += (uint32_t)at[count - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void
expect_bytes(const uint8_t *found, const char *hex)
{
    uint32_t count;
    const uint8_t *wanted = frame_of(hex, &count);

    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(found[i], wanted[i], "byte %u: %02x, wanted %02x", i, found[i], wanted[i]);
}

Test(frame_checksum, is_that_of_rfc_1071, .timeout = 10)
{
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t bytes[256];
    struct clock dice;

    cr_assert_eq(frame_checksum(frame_sum(0, example, sizeof(example))), 0xffff & ~0xddf2);
    cr_assert_eq(frame_checksum(0), 0xffff);
    fprintf(stderr, "seed %#x\n", 0x5eed);
    clock_random_seed(&dice, 0x5eed);
    for (uint32_t round = 0; round < 5000; round++) {
        uint32_t count = (uint32_t)clock_random_below(&dice, sizeof(bytes) + 1);
        bool is_full = clock_random_below(&dice, 8) == 0; /* carries everywhere */
        for (uint32_t i = 0; i < count; i++)
            bytes[i] = is_full ? 0xff : (uint8_t)clock_random(&dice);
        uint16_t wanted = slow_checksum(0, bytes, count);
        cr_assert_eq(frame_checksum(frame_sum(0, bytes, count)), wanted);
        uint32_t first = (uint32_t)clock_random_below(&dice, count / 2 + 1) * 2;
        uint32_t sum = frame_sum(frame_sum(0, bytes, first), bytes + first, count - first);
        cr_assert_eq(frame_checksum(sum), wanted);
    }
}

Test(frame_checksum, does_not_lose_carries_of_a_long_payload, .timeout = 10)
{
    static uint8_t bytes[65536];

    memset(bytes, 0xff, sizeof(bytes));
    bytes[0] = 0x12;
    cr_assert_eq(frame_checksum(frame_sum(UINT32_MAX, bytes, sizeof(bytes))),
                 slow_checksum(0xffff, bytes, sizeof(bytes)));
}

/* ---- UDP ---- */

Test(frame_udp_write, writes_what_a_kernel_writes, .timeout = 10)
{
    static const struct {
        const char *frame;
        const char *payload;
    } cases[] = {{KERNEL_UDP_ODD, "eagre"}, {KERNEL_UDP_EVEN, "odd count"}};
    struct frame_udp udp = {.source_mac = {2, 0, 0, 0, 0, 2},
                            .target_mac = {2, 0, 0, 0, 0, 1},
                            .source_ip = PEER_IP,
                            .target_ip = HOST_IP,
                            .source_port = 40000,
                            .target_port = 9095,
                            .fill = FRAME_FILL_IPV4 | FRAME_FILL_UDP};

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t frame[100];
        uint32_t count;
        uint32_t payload_bytes = (uint32_t)strlen(cases[i].payload);
        uint8_t *wanted = frame_of(cases[i].frame, &count);
        memset(frame, 0xee, sizeof(frame));
        memcpy(frame + 42, cases[i].payload, payload_bytes);
        frame_udp_write(frame, &udp, payload_bytes);
        /* The kernel counts its packets; ours need no identification. */
        put_u16_be(wanted + 18, 0);
        frame_mend(wanted);
        cr_assert_arr_eq(frame, wanted, count);
        struct frame_view view;
        cr_assert_eq(kind_of(frame, 42 + payload_bytes, &view), FRAME_UDP);
    }
}

Test(frame_udp_write, leaves_checksums_to_the_port, .timeout = 10)
{
    struct frame_udp udp = {.source_ip = PEER_IP, .target_ip = HOST_IP, .source_port = 1};
    uint8_t frame[60];

    memset(frame, 0xee, sizeof(frame));
    frame_udp_write(frame, &udp, 10);
    cr_assert_eq(get_u16_be(frame + 24), 0);
    cr_assert_eq(get_u16_be(frame + 40), 0);
    udp.fill = FRAME_FILL_UDP_PSEUDO;
    frame_udp_write(frame, &udp, 10);
    uint8_t pseudo[12] = {10, 91, 0, 2, 10, 91, 0, 1, 0, 17, 0, 18};
    cr_assert_eq(get_u16_be(frame + 40), 0xffff & ~slow_checksum(0, pseudo, sizeof(pseudo)));
    cr_assert_eq(frame[42], 0xee);
}

Test(frame_udp_write, never_writes_the_checksum_that_means_none, .timeout = 60)
{
    struct frame_udp udp = {
        .source_ip = PEER_IP, .target_ip = HOST_IP, .source_port = 1, .fill = FRAME_FILL_UDP};
    uint8_t frame[44];
    uint32_t all_ones = 0;

    for (uint32_t value = 0; value < 65536; value++) {
        put_u16_be(frame + 42, (uint16_t)value);
        frame_udp_write(frame, &udp, 2);
        cr_assert_neq(get_u16_be(frame + 40), 0);
        all_ones += get_u16_be(frame + 40) == 0xffff;
    }
    cr_assert_geq(all_ones, 1); /* one value of the payload does make a zero */
}

Test(frame_udp_write, takes_the_largest_datagram, .timeout = 10)
{
    static uint8_t frame[FRAME_HEADERS_BYTES + FRAME_PAYLOAD_BYTES_MAX];
    struct frame_udp udp = {.source_mac = {2, 0, 0, 0, 0, 2},
                            .target_mac = {2, 0, 0, 0, 0, 1},
                            .source_ip = PEER_IP,
                            .target_ip = HOST_IP,
                            .source_port = 1,
                            .target_port = 9096,
                            .fill = FRAME_FILL_IPV4 | FRAME_FILL_UDP};
    struct frame_view view;

    frame_udp_write(frame, &udp, FRAME_PAYLOAD_BYTES_MAX);
    cr_assert_eq(frame_classify(&host, frame, sizeof(frame), &view), FRAME_UDP);
    cr_assert_eq(view.payload_bytes, FRAME_PAYLOAD_BYTES_MAX);
}

Test(frame_udp_write, stops_for_more_than_a_datagram_takes, .timeout = 10, .signal = SIGABRT)
{
    static uint8_t frame[FRAME_HEADERS_BYTES];
    struct frame_udp udp = {0};

    frame_udp_write(frame, &udp, FRAME_PAYLOAD_BYTES_MAX + 1);
}

/* ---- ARP ---- */

Test(frame_arp, writes_what_a_kernel_writes, .timeout = 10)
{
    uint8_t frame[FRAME_ARP_BYTES];
    uint32_t count;

    memset(frame, 0xee, sizeof(frame));
    cr_assert_eq(frame_arp_request(&peer, HOST_IP, frame), FRAME_ARP_BYTES);
    expect_bytes(frame, KERNEL_ARP_REQUEST);
    uint8_t *asked = frame_of(KERNEL_ARP_REQUEST, &count);
    cr_assert_eq(frame_arp_reply(&host, asked), FRAME_ARP_BYTES);
    expect_bytes(asked, KERNEL_ARP_REPLY);
}

Test(frame_arp_announce, tells_all_and_asks_for_itself, .timeout = 10)
{
    uint8_t frame[FRAME_ARP_BYTES];

    cr_assert_eq(frame_arp_announce(&host, frame), FRAME_ARP_BYTES);
    expect_bytes(frame,
                 "ffffffffffff020000000001080600010800060400010200000000010a5b0001"
                 "0000000000000a5b0001");
}

/* ---- echo ---- */

/* An echo request of the peer with so many bytes behind the ICMP header. */
static uint32_t
echo_request(uint8_t *frame, uint32_t data_bytes)
{
    static const uint8_t start[] = {2,    0, 0,  0,  0,    1,    2, 0, 0, 2, 0,    2,    8,  0,
                                    0x45, 0, 0,  0,  0x12, 0x34, 0, 0, 3, 1, 0,    0,    10, 91,
                                    0,    2, 10, 91, 0,    1,    8, 0, 0, 0, 0x77, 0x01, 0,  1};

    memcpy(frame, start, sizeof(start));
    frame[9] = 0;
    put_u16_be(frame + 16, (uint16_t)(28 + data_bytes));
    for (uint32_t i = 0; i < data_bytes; i++)
        frame[42 + i] = (uint8_t)(i * 7);
    put_u16_be(frame + 36, slow_checksum(0, frame + 34, 8 + data_bytes));
    frame_mend(frame);
    return 42 + data_bytes;
}

Test(frame_echo, refuses_wrong_checksums_and_short_headers, .timeout = 10)
{
    uint8_t frame[200];
    struct frame_view view;

    uint32_t count = echo_request(frame, 11);
    frame[count - 1] ^= 1;
    cr_assert_eq(kind_of(frame, count, &view), FRAME_MALFORMED);
    echo_request(frame, 0);
    put_u16_be(frame + 16, 27);
    frame_mend(frame);
    cr_assert_eq(kind_of(frame, 42, &view), FRAME_MALFORMED);
}

Test(frame_echo, answers_requests_only, .timeout = 10)
{
    uint8_t frame[200];
    struct frame_view view;

    for (unsigned type = 0; type < 256; type++) {
        uint32_t count = echo_request(frame, 4);
        frame[34] = (uint8_t)type;
        put_u16_be(frame + 36, 0);
        put_u16_be(frame + 36, slow_checksum(0, frame + 34, 12));
        cr_assert_eq(kind_of(frame, count, &view), type == 8 ? FRAME_ECHO_REQUEST : FRAME_FOREIGN);
    }
}

Test(frame_echo_reply, sends_the_same_bytes_back_and_no_padding, .timeout = 10)
{
    for (uint32_t data_bytes = 0; data_bytes < 100; data_bytes++) {
        uint8_t frame[200] = {0};
        struct frame_view view;
        uint32_t count = echo_request(frame, data_bytes);
        uint32_t received = count < 60 ? 60 : count;
        cr_assert_eq(frame_classify(&host, frame, received, &view), FRAME_ECHO_REQUEST);
        cr_assert_eq(frame_echo_reply(&host, frame, &view), count);
        cr_assert_arr_eq(frame, peer.mac, 6);
        cr_assert_arr_eq(frame + 6, host.mac, 6);
        cr_assert_eq(get_u32_be(frame + 26), HOST_IP);
        cr_assert_eq(get_u32_be(frame + 30), PEER_IP);
        cr_assert_eq(slow_checksum(0, frame + 14, 20), 0);
        cr_assert_eq(slow_checksum(0, frame + 34, 8 + data_bytes), 0);
        cr_assert_eq(frame[34], 0);
        cr_assert_eq(get_u32_be(frame + 38), 0x77010001);
        cr_assert_eq(frame[22], 64); /* a new life, not the rest of the request's */
        for (uint32_t i = 0; i < data_bytes; i++)
            cr_assert_eq(frame[42 + i], (uint8_t)(i * 7));
        cr_assert_eq(frame_classify(&peer, frame, count, &view), FRAME_FOREIGN);
    }
}
