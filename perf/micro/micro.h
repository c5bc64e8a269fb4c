/* Micro-benchmarks: each prints ns per unit beside the limit measured in the same run (memcpy, raw
 * device write), so that what counts is the ratio. Medians over rounds; nothing here is a test. */
#ifndef EAGRE_PERF_MICRO_MICRO_H
#define EAGRE_PERF_MICRO_MICRO_H

#include "engine/base/base.h"

#define MICRO_ROUNDS 15u

uint64_t micro_now_ns(void);
/* Median of samples[count], which are reordered. count in [1, 100000]. */
double micro_median(double *samples, uint32_t count);
double micro_quantile(double *samples, uint32_t count, double share);
/* One row: what, its figure, the limit and its figure, the ratio. */
void micro_row(
    const char *what, double figure, const char *unit, const char *limit, double limit_figure);

void micro_ring(void);
void micro_hash(void);
void micro_batch(void);
void micro_session(void);
void micro_nic(void);
/* directory as below. */
int micro_stream(const char *directory);
/* directory: on the device to be measured; a temporary data directory is made below it. */
int micro_commit(const char *directory);

#endif
