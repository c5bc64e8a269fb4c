#include "engine/config/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *word;
    uint64_t factor;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit byte_units[] = {
    {"TiB", TIB}, {"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB}, {"B", 1}, {"", 1}};
static const struct unit ms_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {"", 1}};

static size_t
digit_count(const char *text, size_t count)
{
    size_t digits = 0;

    while (digits < count && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    return digits;
}

bool
parse_u64(const char *text, size_t count, uint64_t *ret)
{
    uint64_t value = 0;

    if (count == 0 || digit_count(text, count) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool
parse_i64(const char *text, size_t count, int64_t *ret)
{
    bool negative = count > 0 && text[0] == '-';
    uint64_t value;

    if (negative) {
        text++;
        count--;
    }
    if (!parse_u64(text, count, &value) || value > INT64_MAX)
        return false;
    *ret = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool
parse_with_unit(const char *text, size_t count, const struct unit *units, uint64_t *ret)
{
    size_t digits = digit_count(text, count);
    size_t i = 0;
    uint64_t value;

    if (!parse_u64(text, digits, &value))
        return false;
    while (strlen(units[i].word) != count - digits ||
           memcmp(units[i].word, text + digits, count - digits) != 0) {
        if (units[i].word[0] == '\0')
            return false;
        i++;
    }
    if (__builtin_mul_overflow(value, units[i].factor, &value))
        return false;
    *ret = value;
    return true;
}

bool
parse_bytes(const char *text, size_t count, uint64_t *ret)
{
    return parse_with_unit(text, count, byte_units, ret);
}

bool
parse_ms(const char *text, size_t count, int64_t *ret)
{
    uint64_t value;

    if (count == 2 && text[0] == '-' && text[1] == '1') {
        *ret = -1;
        return true;
    }
    if (!parse_with_unit(text, count, ms_units, &value) || value > INT64_MAX)
        return false;
    *ret = (int64_t)value;
    return true;
}

bool
parse_bool(const char *text, size_t count, bool *ret)
{
    uint32_t which;

    if (!parse_choice(text, count, "false|true", &which))
        return false;
    *ret = which == 1;
    return true;
}

bool
parse_choice(const char *text, size_t count, const char *words, uint32_t *ret)
{
    const char *word = words;

    for (uint32_t index = 0; *word != '\0'; index++) {
        size_t length = strcspn(word, "|");
        if (length == count && memcmp(word, text, count) == 0) {
            *ret = index;
            return true;
        }
        word += length;
        word += *word == '|';
    }
    return false;
}

bool
parse_host_port(const char *text, size_t count, struct parse_host *ret)
{
    const char *colon = memrchr(text, ':', count);
    size_t host_count;
    uint64_t port;

    if (colon == NULL)
        return false;
    host_count = (size_t)(colon - text);
    if (!parse_u64(colon + 1, count - host_count - 1, &port) || port > UINT16_MAX)
        return false;
    if (host_count >= 2 && text[0] == '[' && text[host_count - 1] == ']') {
        text++;
        host_count -= 2;
    } else if (memchr(text, ':', host_count) != NULL) {
        return false; /* a bare IPv6 address: which colon would be the port's? */
    }
    if (host_count == 0 || host_count >= ret->capacity || memchr(text, '\0', host_count) != NULL)
        return false;
    __builtin_memcpy(ret->host, text, host_count);
    ret->host[host_count] = '\0';
    ret->port = (uint16_t)port;
    return true;
}

static void
format_with_unit(uint64_t value, const struct unit *units, char *ret, size_t capacity)
{
    while (value == 0 ? units->factor != 1 : value % units->factor != 0)
        units++;
    /* A bare number reads better than "17B". */
    (void)snprintf(ret,
                   capacity,
                   "%" PRIu64 "%s",
                   value / units->factor,
                   units->factor == 1 ? "" : units->word);
}

void
format_bytes(uint64_t value, char *ret, size_t capacity)
{
    format_with_unit(value, byte_units, ret, capacity);
}

void
format_ms(int64_t value, char *ret, size_t capacity)
{
    if (value < 0)
        (void)snprintf(ret, capacity, "%" PRId64, value);
    else
        format_with_unit((uint64_t)value, ms_units, ret, capacity);
}
