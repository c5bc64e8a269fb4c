/* Goal: a text is a value or it is refused, with nothing in between.
 * Method: bad input first (empty, blanks, overflow, foreign units), then edges, then round trips.
 */
#include "engine/config/parse.h"

#include <criterion/criterion.h>
#include <string.h>

Test(parse_u64, refuses_what_is_not_digits_or_does_not_fit, .timeout = 10)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "0x10", "1e3", "18446744073709551616", "99999999999999999999"};
    uint64_t value = 77;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(!parse_u64(bad[i], strlen(bad[i]), &value), "'%s' was taken", bad[i]);
    cr_assert_eq(value, 77u, "a refused text leaves the result alone");
    cr_assert(parse_u64("18446744073709551615", 20, &value));
    cr_assert_eq(value, UINT64_MAX);
}

Test(parse_bytes, refuses_decimal_units_fractions_and_overflow, .timeout = 10)
{
    static const char *const bad[] = {
        "", "MiB", "1MB", "1M", "1.5GiB", "1 MiB", "1mib", "16777216TiB", "-1", "1MiBB"};
    uint64_t value = 77;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(!parse_bytes(bad[i], strlen(bad[i]), &value), "'%s' was taken", bad[i]);
    cr_assert_eq(value, 77u);
}

Test(parse_bytes, reads_what_format_bytes_writes, .timeout = 10)
{
    static const uint64_t values[] = {
        0, 1, 1023, 1024, 1025, 1048588, 64 * MIB, GIB, 7 * TIB, INT64_MAX};
    char text[32];

    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        uint64_t back = 0;
        format_bytes(values[i], text, sizeof(text));
        cr_assert(parse_bytes(text, strlen(text), &back), "%s", text);
        cr_assert_eq(back, values[i], "%s", text);
    }
    format_bytes(64 * MIB, text, sizeof(text));
    cr_assert_str_eq(text, "64MiB");
    format_bytes(1048588, text, sizeof(text));
    cr_assert_str_eq(text, "1048588");
}

Test(parse_ms, reads_units_and_minus_one_only, .timeout = 10)
{
    static const char *const bad[] = {"", "-2", "-1s", "1w", "1D", "106751991168d", "s"};
    static const int64_t values[] = {-1, 0, 1, 250, 30000, 600000, 604800000, INT64_MAX};
    int64_t value = 77;
    char text[32];

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(!parse_ms(bad[i], strlen(bad[i]), &value), "'%s' was taken", bad[i]);
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        format_ms(values[i], text, sizeof(text));
        cr_assert(parse_ms(text, strlen(text), &value), "%s", text);
        cr_assert_eq(value, values[i], "%s", text);
    }
    format_ms(604800000, text, sizeof(text));
    cr_assert_str_eq(text, "7d");
}

Test(parse_choice, takes_whole_words_only, .timeout = 10)
{
    uint32_t which = 9;

    cr_assert(!parse_choice("aut", 3, "auto|always", &which));
    cr_assert(!parse_choice("auto|always", 11, "auto|always", &which));
    cr_assert(!parse_choice("", 0, "auto|always", &which));
    cr_assert(parse_choice("always", 6, "auto|always", &which));
    cr_assert_eq(which, 1u);
}

Test(parse_host_port, refuses_ambiguous_or_endless_addresses, .timeout = 10)
{
    static const char *const bad[] = {"",
                                      ":9092",
                                      "host",
                                      "host:",
                                      "host:65536",
                                      "host:-1",
                                      "::1:9092",
                                      "[]:9092",
                                      "verylonghost:1"};
    char host[8];
    struct parse_host parsed = {.host = host, .capacity = sizeof(host)};

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect(!parse_host_port(bad[i], strlen(bad[i]), &parsed), "'%s' was taken", bad[i]);
    cr_assert(!parse_host_port("a\0b:1", 5, &parsed));
}

Test(parse_host_port, takes_names_and_bracketed_v6, .timeout = 10)
{
    char host[64];
    struct parse_host parsed = {.host = host, .capacity = sizeof(host)};

    cr_assert(parse_host_port("127.0.0.1:9092", 14, &parsed));
    cr_assert_str_eq(host, "127.0.0.1");
    cr_assert_eq(parsed.port, 9092);
    cr_assert(parse_host_port("[fe80::1]:0", 11, &parsed));
    cr_assert_str_eq(host, "fe80::1");
    cr_assert_eq(parsed.port, 0);
}
