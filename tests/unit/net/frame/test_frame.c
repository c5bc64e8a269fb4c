/* Goal: every frame gets the kind it has, whatever its lengths say, and nothing outside is read.
 * Method: frames of a real kernel, cut at every length and changed field by field; seeded damage.
 */
#include "frame_bytes.h"

#include "engine/base/bytes.h"
#include "hw/clock/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(frame_classify, refuses_a_frame_cut_anywhere, .timeout = 10)
{
    struct frame_view view;
    uint32_t count;
    const uint8_t *udp = frame_of(KERNEL_UDP_ODD, &count);

    for (uint32_t part = 0; part < count; part++)
        cr_assert_eq(kind_of(udp, part, &view), FRAME_MALFORMED, "%u bytes", part);
    cr_assert_eq(kind_of(udp, count, &view), FRAME_UDP);
    const uint8_t *arp = frame_of(KERNEL_ARP_REQUEST, &count);
    for (uint32_t part = 0; part < count; part++)
        cr_assert_eq(kind_of(arp, part, &view), FRAME_MALFORMED, "%u bytes", part);
    cr_assert_eq(kind_of(arp, count, &view), FRAME_ARP_REQUEST);
}

Test(frame_classify, refuses_lengths_that_contradict_each_other, .timeout = 10)
{
    /* {where, what}; the frame has 47 bytes: IPv4 33, UDP 13. Checksums are mended or off. */
    static const struct {
        uint32_t at;
        uint16_t value;
        enum frame_kind kind;
    } cases[] = {
        {16, 34, FRAME_MALFORMED},     /* IPv4 longer than the frame */
        {16, 32, FRAME_MALFORMED},     /* UDP longer than IPv4 */
        {16, 27, FRAME_MALFORMED},     /* no room for a UDP header */
        {16, 19, FRAME_MALFORMED},     /* shorter than its own header */
        {16, 0, FRAME_MALFORMED},      /* a length of 0, as offloads may leave it */
        {38, 14, FRAME_MALFORMED},     /* UDP longer than IPv4 */
        {38, 7, FRAME_MALFORMED},      /* shorter than its own header */
        {38, 0, FRAME_MALFORMED},      /* jumbograms are of IPv6 */
        {38, 8, FRAME_UDP},            /* an empty datagram; the rest is surplus */
        {14, 0x4400, FRAME_MALFORMED}, /* IHL 4 */
        {14, 0x4900, FRAME_MALFORMED}, /* IHL 9: beyond the packet */
        {14, 0x5500, FRAME_MALFORMED}, /* version 5 */
    };
    struct frame_local unchecked = host;
    struct frame_view view;
    uint32_t count;

    unchecked.checks = 0;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t *udp = frame_of(KERNEL_UDP_ODD, &count);
        put_u16_be(udp + cases[i].at, cases[i].value);
        cr_assert_eq(frame_classify(&unchecked, udp, count, &view), cases[i].kind, "case %zu", i);
    }
}

Test(frame_classify, refuses_wrong_checksums_where_it_is_told_to_look, .timeout = 10)
{
    struct frame_local local = host;
    struct frame_view view;
    uint32_t count;

    for (unsigned checks = 0; checks < 4; checks++) {
        local.checks = (uint8_t)checks;
        uint8_t *header = frame_of(KERNEL_UDP_ODD, &count);
        header[18] ^= 0x40; /* identification: nobody else looks at it */
        cr_assert_eq(frame_classify(&local, header, count, &view),
                     (checks & FRAME_CHECK_IPV4) != 0 ? FRAME_MALFORMED : FRAME_UDP);
        uint8_t *payload = frame_of(KERNEL_UDP_ODD, &count);
        payload[count - 1] ^= 1;
        cr_assert_eq(frame_classify(&local, payload, count, &view),
                     (checks & FRAME_CHECK_UDP) != 0 ? FRAME_MALFORMED : FRAME_UDP);
        put_u16_be(payload + 40, 0); /* no checksum at all is always right */
        cr_assert_eq(frame_classify(&local, payload, count, &view), FRAME_UDP);
    }
}

Test(frame_classify, refuses_senders_that_nobody_can_be, .timeout = 10)
{
    static const uint32_t impossible[] = {0, 1, 0x7f000001, 0xe0000001, 0xf0000000, 0xffffffff};
    struct frame_local unchecked = host;
    struct frame_view view;
    uint32_t count;

    unchecked.checks = 0;
    for (size_t i = 0; i < ARRAY_COUNT(impossible); i++) {
        uint8_t *udp = frame_of(KERNEL_UDP_ODD, &count);
        put_u32_be(udp + 26, impossible[i]);
        cr_assert_eq(frame_classify(&unchecked, udp, count, &view), FRAME_MALFORMED);
    }
    uint8_t *group = frame_of(KERNEL_UDP_ODD, &count);
    group[6] |= 1;
    cr_assert_eq(frame_classify(&unchecked, group, count, &view), FRAME_MALFORMED);
    uint8_t *port = frame_of(KERNEL_UDP_ODD, &count);
    put_u16_be(port + 34, 0);
    cr_assert_eq(frame_classify(&unchecked, port, count, &view), FRAME_MALFORMED);
}

Test(frame_classify, tells_fragments_first_and_later, .timeout = 10)
{
    static const uint16_t fields[] = {0x2000, 0x2001, 0x0001, 0x1fff, 0x6000};
    struct frame_view view;
    uint32_t count;

    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        uint8_t *udp = frame_of(KERNEL_UDP_ODD, &count);
        put_u16_be(udp + 20, fields[i]);
        frame_mend(udp);
        cr_assert_eq(kind_of(udp, count, &view), FRAME_FRAGMENT);
        udp[33] = 9; /* of somebody else's packet */
        frame_mend(udp);
        cr_assert_eq(kind_of(udp, count, &view), FRAME_FOREIGN);
    }
    uint8_t *whole = frame_of(KERNEL_UDP_ODD, &count);
    put_u16_be(whole + 20, 0); /* without don't-fragment it is whole as well */
    frame_mend(whole);
    cr_assert_eq(kind_of(whole, count, &view), FRAME_UDP);
}

Test(frame_classify, leaves_what_is_not_for_us_to_others, .timeout = 10)
{
    static const struct {
        uint32_t at;
        uint8_t value;
    } cases[] = {
        {5, 9},     /* another MAC */
        {0, 3},     /* a group MAC */
        {12, 0x86}, /* another type */
        {12, 0x81}, /* 0x8100: a VLAN tag */
        {33, 3},    /* another address */
        {37, 0x89}, /* port 9097 */
        {37, 0x86}, /* port 9094 */
        {23, 6},    /* TCP */
    };
    struct frame_view view = {.payload_bytes = 77};
    uint32_t count;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t *udp = frame_of(KERNEL_UDP_ODD, &count);
        udp[cases[i].at] = cases[i].value;
        if (cases[i].at >= 14)
            frame_mend(udp);
        cr_assert_eq(kind_of(udp, count, &view), FRAME_FOREIGN, "case %zu", i);
        cr_assert_eq(view.payload_bytes, 77, "case %zu", i);
    }
    const uint8_t *unreachable = frame_of(KERNEL_UNREACHABLE, &count);
    cr_assert_eq(kind_of(unreachable, count, &view), FRAME_FOREIGN);
}

Test(frame_classify, finds_the_datagram, .timeout = 10)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
    struct frame_view view;
    uint32_t count;
    const uint8_t *odd = frame_of(KERNEL_UDP_ODD, &count);

    cr_assert_eq(kind_of(odd, count, &view), FRAME_UDP);
    cr_assert_eq(view.payload_offset, 42);
    cr_assert_eq(view.payload_bytes, 5);
    cr_assert_eq(memcmp(odd + view.payload_offset, "eagre", 5), 0);
    cr_assert_eq(view.source_ip, PEER_IP);
    cr_assert_eq(view.source_port, 40000);
    cr_assert_eq(view.port, 9095);
    cr_assert_arr_eq(view.source_mac, mac, 6);
    const uint8_t *even = frame_of(KERNEL_UDP_EVEN, &count);
    cr_assert_eq(kind_of(even, count, &view), FRAME_UDP);
    cr_assert_eq(view.payload_bytes, 9);
}

Test(frame_classify, does_not_take_padding_for_the_datagram, .timeout = 10)
{
    struct frame_view view;
    uint8_t padded[60] = {0};
    uint32_t count;

    memcpy(padded, frame_of(KERNEL_UDP_ODD, &count), 47);
    padded[47] = 0xee;
    cr_assert_eq(kind_of(padded, sizeof(padded), &view), FRAME_UDP);
    cr_assert_eq(view.payload_bytes, 5);
}

Test(frame_classify, steps_over_ipv4_options, .timeout = 10)
{
    struct frame_view view;
    uint32_t count;
    const uint8_t *plain = frame_of(KERNEL_UDP_ODD, &count);
    uint8_t frame[47 + 40] = {0};

    for (uint32_t words = 1; words <= 10; words++) {
        uint32_t more = words * 4;
        memcpy(frame, plain, 34);
        memset(frame + 34, 1, more); /* no operation */
        memcpy(frame + 34 + more, plain + 34, 13);
        frame[14] = (uint8_t)(0x45 + words);
        put_u16_be(frame + 16, (uint16_t)(33 + more));
        frame_mend(frame);
        cr_assert_eq(kind_of(frame, 47 + more, &view), FRAME_UDP);
        cr_assert_eq(view.payload_offset, 42 + more);
        cr_assert_eq(view.payload_bytes, 5);
        cr_assert_eq(kind_of(frame, 46 + more, &view), FRAME_MALFORMED);
    }
}

/* ---- ARP ---- */

Test(frame_classify, answers_only_arp_for_our_address, .timeout = 10)
{
    static const struct {
        uint32_t at;
        uint8_t value;
        enum frame_kind kind;
    } cases[] = {
        {41, 3, FRAME_FOREIGN},      /* somebody else is asked for */
        {15, 6, FRAME_FOREIGN},      /* not Ethernet */
        {17, 1, FRAME_FOREIGN},      /* not IPv4 */
        {18, 8, FRAME_FOREIGN},      /* other lengths */
        {21, 3, FRAME_FOREIGN},      /* reverse ARP */
        {21, 2, FRAME_ARP_REPLY},    /* a reply to us */
        {31, 1, FRAME_FOREIGN},      /* the sender says it is us */
        {28, 0x7f, FRAME_MALFORMED}, /* 127.91.0.2 */
        {22, 3, FRAME_MALFORMED},    /* a group as sender */
        {6, 3, FRAME_MALFORMED},
        {0, 1, FRAME_FOREIGN}, /* neither to us nor to all */
    };
    struct frame_view view;
    uint32_t count;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t *arp = frame_of(KERNEL_ARP_REQUEST, &count);
        arp[cases[i].at] = cases[i].value;
        cr_assert_eq(kind_of(arp, count, &view), cases[i].kind, "case %zu", i);
    }
}

Test(frame_classify, tells_who_asks_and_who_answers, .timeout = 10)
{
    struct frame_view view;
    uint32_t count;
    const uint8_t *request = frame_of(KERNEL_ARP_REQUEST, &count);

    cr_assert_eq(kind_of(request, count, &view), FRAME_ARP_REQUEST);
    cr_assert_eq(view.source_ip, PEER_IP);
    cr_assert_arr_eq(view.source_mac, peer.mac, 6);
    const uint8_t *reply = frame_of(KERNEL_ARP_REPLY, &count);
    cr_assert_eq(frame_classify(&peer, reply, count, &view), FRAME_ARP_REPLY);
    cr_assert_eq(view.source_ip, HOST_IP);
    cr_assert_arr_eq(view.source_mac, host.mac, 6);

    uint8_t *probe = frame_of(KERNEL_ARP_REQUEST, &count);
    put_u32_be(probe + 28, 0); /* RFC 5227: is this address free? */
    cr_assert_eq(kind_of(probe, count, &view), FRAME_ARP_REQUEST);
}

/* ---- anything ---- */

Test(frame_classify, stays_inside_whatever_the_bytes_say, .timeout = 60)
{
    static const char *const frames[] = {
        KERNEL_UDP_ODD, KERNEL_UDP_EVEN, KERNEL_ARP_REQUEST, KERNEL_UNREACHABLE};
    struct clock dice;
    struct frame_local local = host;
    uint32_t kinds[FRAME_MALFORMED + 1] = {0};

    fprintf(stderr, "seed %#x\n", 0x5eed);
    clock_random_seed(&dice, 0x5eed);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t count;
        uint8_t *frame = frame_of(frames[round % 4], &count);
        uint32_t changes = (uint32_t)clock_random_below(&dice, 4);
        for (uint32_t i = 0; i < changes; i++)
            frame[clock_random_below(&dice, count)] = (uint8_t)clock_random(&dice);
        local.checks = (uint8_t)clock_random_below(&dice, 4);
        struct frame_view view;
        enum frame_kind kind = frame_classify(&local, frame, count, &view);
        cr_assert(kind <= FRAME_MALFORMED);
        kinds[kind]++;
        if (kind == FRAME_UDP)
            cr_assert(view.payload_offset + view.payload_bytes <= count);
    }
    cr_assert(kinds[FRAME_UDP] > 1000 && kinds[FRAME_MALFORMED] > 1000);
    cr_assert(kinds[FRAME_FOREIGN] > 1000 && kinds[FRAME_ARP_REQUEST] > 1000);
}

Test(frame_kind_name, names_every_kind, .timeout = 10)
{
    for (unsigned kind = 0; kind <= FRAME_MALFORMED; kind++)
        cr_assert_str_neq(frame_kind_name((enum frame_kind)kind), "?");
    cr_assert_str_eq(frame_kind_name((enum frame_kind)(FRAME_MALFORMED + 1)), "?");
}
