/* Log-linear latency histogram: 32 sub-buckets per power of two, so a quantile is at most 3.2 %
 * above the true value. Covers 1 ns to 2^40 ns (18 minutes); fixed memory. */
#ifndef EAGRE_PERF_LOAD_HISTOGRAM_H
#define EAGRE_PERF_LOAD_HISTOGRAM_H

#include "engine/base/base.h"

#define HISTOGRAM_SUB_BITS 5u
#define HISTOGRAM_BUCKETS ((41u - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* Upper edge in ns of the bucket that holds the given share, in (0, 1]; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
