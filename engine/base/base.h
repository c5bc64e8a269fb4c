/* Words that every folder uses: attributes, sizes, small arithmetic. Pure. */
#ifndef EAGRE_ENGINE_BASE_BASE_H
#define EAGRE_ENGINE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define COLD __attribute__((cold, noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define BIT(n) (1u << (n))
#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Two cache lines: x86 prefetches lines in pairs, so fields of different writers are kept this far
 * apart (hot path measurement: head and tail within 128 bytes halve ring throughput). */
#define BASE_LINE_BYTES 128u

#define KIB ((uint64_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define NS_PER_US ((uint64_t)1000)
#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_S ((uint64_t)1000000000)
#define NO_DEADLINE UINT64_MAX

static ALWAYS_INLINE int64_t
min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static ALWAYS_INLINE uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static ALWAYS_INLINE uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static ALWAYS_INLINE uint32_t
max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static ALWAYS_INLINE uint32_t
min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Rounds value up to a multiple of unit, a power of two. value <= UINT64_MAX - unit. */
static ALWAYS_INLINE uint64_t
round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

static ALWAYS_INLINE uint64_t
round_down(uint64_t value, uint64_t unit)
{
    return value & ~(unit - 1);
}

static ALWAYS_INLINE bool
is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

#endif
