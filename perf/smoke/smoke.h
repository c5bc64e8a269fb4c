/* Instructions of the hot functions, counted under callgrind: the same on every run, so that a
 * regression is seen on a shared machine too. Each case does a fixed amount of work between
 * smoke_begin() and smoke_end(); without valgrind it only shows that the cases work. */
#ifndef EAGRE_PERF_SMOKE_SMOKE_H
#define EAGRE_PERF_SMOKE_SMOKE_H

#include "engine/base/base.h"

#define SMOKE_RECORD_BYTES 100u

/* What is counted from here on belongs to the case that ends next. */
void smoke_begin(void);
/* units: what the budget's figures are per (records, batches, packets, slots). Prints "name units".
 */
void smoke_end(const char *name, uint32_t units);

/* A plain batch of so many 100-byte records; its bytes. */
uint32_t smoke_batch(uint8_t *memory, size_t capacity, uint32_t records);

void smoke_pure(void);    /* rings, batches, the Kafka codec */
void smoke_session(void); /* a native packet */
void smoke_log(void);     /* append, commit, read, on a simulated disk */

#endif
