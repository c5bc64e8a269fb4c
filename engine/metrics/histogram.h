/* Histogram with four buckets per power of two: [0], [1], [2], [3], [4], ... [8, 10), [10, 12) ...
 *
 * One core writes, anyone reads (relaxed, like all metrics). A bucket is at most a quarter of its
 * lower edge wide, so a quantile is off by at most 25 %, on average far less. Values of 2^41 and
 * more (36 minutes in nanoseconds) count in the last bucket. */
#ifndef EAGRE_ENGINE_METRICS_HISTOGRAM_H
#define EAGRE_ENGINE_METRICS_HISTOGRAM_H

#include "engine/base/base.h"

#include <stdatomic.h>

#define HISTOGRAM_BITS_MAX 41u /* values below 2^41 have buckets of their own */
#define HISTOGRAM_BUCKETS (4u * (HISTOGRAM_BITS_MAX - 1u))

struct histogram {
    _Atomic uint64_t sum;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value, [0, HISTOGRAM_BUCKETS). */
static ALWAYS_INLINE uint32_t
histogram_bucket(uint64_t value)
{
    uint32_t top;

    if (value < 4)
        return (uint32_t)value;
    top = 63u - (uint32_t)__builtin_clzll(value);
    if (top >= HISTOGRAM_BITS_MAX)
        return HISTOGRAM_BUCKETS - 1;
    return 4 * (top - 1) + (uint32_t)((value >> (top - 2)) & 3);
}

/* The smallest value of a bucket; bucket <= HISTOGRAM_BUCKETS (then: the end of the last). */
static ALWAYS_INLINE uint64_t
histogram_edge(uint32_t bucket)
{
    return bucket < 4 ? bucket : (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

/* Runs on: the one writing core.  Allocates: nothing.  Blocks: never. */
static ALWAYS_INLINE void
histogram_record(struct histogram *histogram, uint64_t value)
{
    _Atomic uint64_t *bucket = &histogram->buckets[histogram_bucket(value)];
    uint64_t count = atomic_load_explicit(bucket, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);

    atomic_store_explicit(bucket, count + 1, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, sum + value, memory_order_relaxed);
}

/* How many values were recorded. Any thread. */
uint64_t histogram_count(const struct histogram *histogram);

/* How many were recorded below 2^bits, bits in [2, HISTOGRAM_BITS_MAX]. Any thread. */
uint64_t histogram_count_below(const struct histogram *histogram, uint32_t bits);

/* Adds one histogram's values to another that nobody else writes. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value below which `millionths` of all values lie, [0, 1000000]; interpolated inside its
 * bucket; 0 when nothing was recorded. p99 is 990000. Any thread. */
uint64_t histogram_quantile(const struct histogram *histogram, uint32_t millionths);

#endif
