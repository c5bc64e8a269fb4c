#include "engine/metrics/histogram.h"

#include "engine/base/check.h"

_Static_assert(HISTOGRAM_BUCKETS == 160, "1.3 KiB per histogram");

static uint64_t
bucket_count(const struct histogram *histogram, uint32_t bucket)
{
    return atomic_load_explicit(&histogram->buckets[bucket], memory_order_relaxed);
}

uint64_t
histogram_count(const struct histogram *histogram)
{
    return histogram_count_below(histogram, HISTOGRAM_BITS_MAX);
}

uint64_t
histogram_count_below(const struct histogram *histogram, uint32_t bits)
{
    uint64_t count = 0;

    CHECK(bits >= 2 && bits <= HISTOGRAM_BITS_MAX);
    for (uint32_t i = 0; i < 4 * (bits - 1); i++)
        count += bucket_count(histogram, i);
    return count;
}

void
histogram_merge(struct histogram *into, const struct histogram *from)
{
    uint64_t sum = atomic_load_explicit(&into->sum, memory_order_relaxed) +
                   atomic_load_explicit(&from->sum, memory_order_relaxed);

    atomic_store_explicit(&into->sum, sum, memory_order_relaxed);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = bucket_count(into, i) + bucket_count(from, i);
        atomic_store_explicit(&into->buckets[i], count, memory_order_relaxed);
    }
}

uint64_t
histogram_quantile(const struct histogram *histogram, uint32_t millionths)
{
    /* One copy: the writer goes on meanwhile, and rank and buckets must agree. */
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t count = 0;
    uint64_t before = 0;

    CHECK(millionths <= 1000000);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        counts[i] = bucket_count(histogram, i);
        count += counts[i];
    }
    if (count == 0)
        return 0;

    double rank = (double)count * millionths / 1e6;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (counts[i] > 0 && (double)(before + counts[i]) >= rank) {
            uint64_t low = histogram_edge(i);
            double width = (double)(histogram_edge(i + 1) - low - 1);
            double share = (rank - (double)before) / (double)counts[i];
            return low + (uint64_t)(width * (share > 0 ? share : 0));
        }
        before += counts[i];
    }
    return histogram_edge(HISTOGRAM_BUCKETS);
}
