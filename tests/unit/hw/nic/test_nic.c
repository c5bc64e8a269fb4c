/* Goal: addresses are compared, printed, parsed and judged as the RFCs say; nothing public passes
 * for private. Method: literals only, bad input first; both sides of every prefix. */
#include "hw/nic/nic.h"

#include <criterion/criterion.h>
#include <string.h>

static struct nic_address
parsed(const char *host, uint16_t port)
{
    struct diag_trail trail = {""};
    struct nic_address address;

    cr_assert_eq(nic_address_parse(host, port, &address, &trail), RC_OK, "%s", trail.text);
    return address;
}

Test(nic_address_parse, refuses_what_is_no_address_and_leaves_the_output_alone, .timeout = 30)
{
    static const char *const bad[] = {"", "256.1.1.1", "1.2.3.4.5", "::g", "no such host", "[::1]"};
    struct nic_address address = {.port = 77};

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct diag_trail trail = {""};

        cr_assert_neq(nic_address_parse(bad[i], 1, &address, &trail), RC_OK, "%s", bad[i]);
        cr_assert_str_not_empty(trail.text);
    }
    cr_assert_neq(nic_address_parse(NULL, 1, &address, NULL), RC_OK);
    cr_assert_eq(address.port, 77);
}

Test(nic_address_parse, gives_mapped_ipv4_and_plain_ipv6, .timeout = 10)
{
    static const uint8_t ipv4[16] = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3};
    struct nic_address address = parsed("10.1.2.3", 9095);

    cr_assert_arr_eq(address.ip, ipv4, 16);
    cr_assert_eq(address.port, 9095);
    address = parsed("2001:db8::5", 7);
    cr_assert_eq(address.ip[0], 0x20);
    cr_assert_eq(address.ip[15], 5);
    static const uint8_t no_mac[6];
    cr_assert_arr_eq(address.mac, no_mac, 6);
}

Test(nic_address_parse, resolves_a_name_of_this_host, .timeout = 10)
{
    struct nic_address address = parsed("localhost", 1);

    cr_assert(nic_address_is_loopback(&address));
}

Test(nic_address_text, reads_as_people_write_it, .timeout = 10)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *text;
    } rows[] = {
        {"10.0.0.1", 9095, "10.0.0.1:9095"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"::1", 9095, "[::1]:9095"},
        {"2001:db8:0:0::5", 1, "[2001:db8::5]:1"},
        {"::", 0, "[::]:0"},
    };
    char text[NIC_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct nic_address address = parsed(rows[i].host, rows[i].port);

        nic_address_text(&address, text, sizeof(text));
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(nic_address_text, is_cut_where_it_does_not_fit, .timeout = 10)
{
    struct nic_address address = parsed("10.0.0.1", 9095);
    char text[8] = "xxxxxxx";

    nic_address_text(&address, text, 5);
    cr_assert_str_eq(text, "10.0");
    cr_assert_eq(text[5], 'x');
}

Test(nic_address_equal, looks_at_address_and_port_but_not_at_the_hardware, .timeout = 10)
{
    struct nic_address a = parsed("10.0.0.1", 9095);
    struct nic_address b = a;

    b.mac[0] = 1;
    cr_assert(nic_address_equal(&a, &b));
    b.port++;
    cr_assert_not(nic_address_equal(&a, &b));
    for (size_t i = 0; i < sizeof(a.ip); i++) {
        b = a;
        b.ip[i] ^= 1;
        cr_assert_not(nic_address_equal(&a, &b), "byte %zu", i);
    }
}

Test(nic_address_is_private, holds_to_the_edges_of_every_prefix, .timeout = 10)
{
    static const struct {
        const char *host;
        bool loopback;
        bool private;
    } rows[] = {
        {"0.0.0.0", false, false},
        {"9.255.255.255", false, false},
        {"10.0.0.0", false, true},
        {"10.255.255.255", false, true},
        {"11.0.0.0", false, false},
        {"126.255.255.255", false, false},
        {"127.0.0.0", true, true},
        {"127.255.255.255", true, true},
        {"128.0.0.0", false, false},
        {"169.253.255.255", false, false},
        {"169.254.0.0", false, true},
        {"169.255.0.0", false, false},
        {"172.15.255.255", false, false},
        {"172.16.0.0", false, true},
        {"172.31.255.255", false, true},
        {"172.32.0.0", false, false},
        {"192.167.255.255", false, false},
        {"192.168.0.0", false, true},
        {"192.169.0.0", false, false},
        {"::", false, false},
        {"::1", true, true},
        {"::2", false, false},
        {"fbff::1", false, false},
        {"fc00::", false, true},
        {"fdff::1", false, true},
        {"fe00::1", false, false},
        {"fe7f::1", false, false},
        {"fe80::1", false, true},
        {"febf::1", false, true},
        {"fec0::1", false, false},
        {"2001:db8::1", false, false},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct nic_address address = parsed(rows[i].host, 1);

        cr_assert_eq(nic_address_is_loopback(&address), rows[i].loopback, "%s", rows[i].host);
        cr_assert_eq(nic_address_is_private(&address), rows[i].private, "%s", rows[i].host);
    }
}
