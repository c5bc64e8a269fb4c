/* Goal: a value finds the bucket whose edges enclose it, and quantiles are as near as promised.
 * Method: all edges, then seeded random values against a sorted array. */
#include "engine/metrics/histogram.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(histogram_bucket, encloses_every_value_by_its_edges, .timeout = 10)
{
    for (uint32_t bits = 0; bits < HISTOGRAM_BITS_MAX; bits++) {
        for (int64_t delta = -2; delta <= 2; delta++) {
            uint64_t value = ((uint64_t)1 << bits) + (uint64_t)(delta < 0 && bits < 2 ? 0 : delta);
            uint32_t bucket = histogram_bucket(value);
            cr_assert(histogram_edge(bucket) <= value, "%lu in %u", value, bucket);
            if (bucket < HISTOGRAM_BUCKETS - 1)
                cr_assert(value < histogram_edge(bucket + 1), "%lu in %u", value, bucket);
        }
    }
}

Test(histogram_bucket, has_edges_that_rise_by_at_most_a_quarter, .timeout = 10)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low = histogram_edge(i);
        uint64_t width = histogram_edge(i + 1) - low;
        cr_assert_eq(histogram_bucket(low), i);
        cr_assert(width >= 1);
        if (i >= 4)
            cr_assert(width * 4 <= low, "bucket %u", i);
    }
}

Test(histogram_bucket, counts_what_is_too_large_in_the_last, .timeout = 10)
{
    static struct histogram histogram;

    histogram_record(&histogram, UINT64_MAX);
    histogram_record(&histogram, (uint64_t)1 << HISTOGRAM_BITS_MAX);
    cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    cr_assert_eq(histogram_count(&histogram), 2u);
}

Test(histogram_quantile, of_nothing_is_zero_and_of_one_value_is_near_it, .timeout = 10)
{
    static struct histogram histogram;

    cr_assert_eq(histogram_quantile(&histogram, 500000), 0u);
    histogram_record(&histogram, 3);
    cr_assert_eq(histogram_quantile(&histogram, 0), 3u);
    cr_assert_eq(histogram_quantile(&histogram, 1000000), 3u);
}

static int
compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

Test(histogram_quantile, is_within_a_quarter_of_the_true_one, .timeout = 10)
{
    enum { COUNT = 10000 };
    static struct histogram histogram;
    static uint64_t values[COUNT];
    static const uint32_t asked[] = {1000, 100000, 500000, 900000, 990000, 999000};
    uint64_t seed = 42;

    for (size_t i = 0; i < COUNT; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = (seed >> 33) >> (seed % 20);
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare_u64);
    for (size_t i = 0; i < ARRAY_COUNT(asked); i++) {
        uint64_t truth = values[(uint64_t)asked[i] * (COUNT - 1) / 1000000];
        uint64_t got = histogram_quantile(&histogram, asked[i]);
        cr_expect(got >= truth - truth / 4 - 1 && got <= truth + truth / 4 + 1,
                  "seed 42, %u: %lu for %lu",
                  asked[i],
                  got,
                  truth);
    }
}

Test(histogram_merge, adds_counts_and_sums, .timeout = 10)
{
    static struct histogram a;
    static struct histogram b;

    histogram_record(&a, 100);
    histogram_record(&b, 100);
    histogram_record(&b, 5000);
    histogram_merge(&a, &b);
    cr_assert_eq(histogram_count(&a), 3u);
    cr_assert_eq(histogram_count_below(&a, 7), 2u);
    cr_assert_eq(atomic_load(&a.sum), 5200u);
    cr_assert_eq(histogram_count(&b), 2u);
}
