/* Text to values, strictly: the whole text must be the value, and overflow is an error. Pure.
 *
 * All take a text of count bytes (no NUL needed) and return false, leaving *ret as it was, when it
 * is not a value. No locale, no leading blanks. */
#ifndef EAGRE_ENGINE_CONFIG_PARSE_H
#define EAGRE_ENGINE_CONFIG_PARSE_H

#include "engine/base/base.h"

#define TIB (GIB * 1024)

/* Decimal digits, [0, UINT64_MAX]. */
bool parse_u64(const char *text, size_t count, uint64_t *ret) MUST_USE;

/* The same with an optional '-', [INT64_MIN + 1, INT64_MAX]. */
bool parse_i64(const char *text, size_t count, int64_t *ret) MUST_USE;

/* "4096", "64KiB", "1MiB", "2GiB", "1TiB" (also "B"). Decimal units do not exist here. */
bool parse_bytes(const char *text, size_t count, uint64_t *ret) MUST_USE;

/* Milliseconds: "250", "250ms", "30s", "10m", "12h", "7d", or "-1". */
bool parse_ms(const char *text, size_t count, int64_t *ret) MUST_USE;

/* "true" or "false". */
bool parse_bool(const char *text, size_t count, bool *ret) MUST_USE;

/* Which word of "a|b|c" the text is. */
bool parse_choice(const char *text, size_t count, const char *words, uint32_t *ret) MUST_USE;

/* "host:port" or "[v6]:port". ret_host is NUL-ended and fits host_capacity. port in [0, 65535]. */
struct parse_host {
    char *host; /* [capacity], written on success */
    size_t capacity;
    uint16_t port; /* written on success */
};
bool parse_host_port(const char *text, size_t count, struct parse_host *ret) MUST_USE;

/* The inverse of parse_bytes and parse_ms: the largest unit that divides the value. */
void format_bytes(uint64_t value, char *ret, size_t capacity);
void format_ms(int64_t value, char *ret, size_t capacity);

#endif
