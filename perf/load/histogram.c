#include "perf/load/histogram.h"

static uint32_t
histogram_bucket(uint64_t ns)
{
    if (ns < (1u << HISTOGRAM_SUB_BITS))
        return (uint32_t)ns;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t sub = (uint32_t)(ns >> (power - HISTOGRAM_SUB_BITS)) &
                   ((1u << HISTOGRAM_SUB_BITS) - 1);
    uint32_t bucket = ((power - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS) + sub;
    return min_u32(bucket, HISTOGRAM_BUCKETS - 1);
}

static uint64_t
histogram_edge(uint32_t bucket)
{
    uint32_t group = bucket >> HISTOGRAM_SUB_BITS;
    uint64_t sub = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);

    if (group == 0)
        return sub;
    return (((UINT64_C(1) << HISTOGRAM_SUB_BITS) + sub + 1) << (group - 1)) - 1;
}

void
histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->buckets[histogram_bucket(ns)]++;
    histogram->count++;
    histogram->max_ns = max_u64(histogram->max_ns, ns);
}

uint64_t
histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count);
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= max_u64(wanted, 1))
            return min_u64(histogram_edge(i), histogram->max_ns);
    }
    return histogram->max_ns;
}
