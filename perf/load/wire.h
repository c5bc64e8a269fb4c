/* Produce requests from a template: a copy, the partition, the stamps, the checksum. */
#ifndef EAGRE_PERF_LOAD_WIRE_H
#define EAGRE_PERF_LOAD_WIRE_H

#include "perf/load/bench.h"

struct wire_template {
    char topic[BENCH_NAME_MAX];
    uint8_t *request; /* whole, of a full batch */
    uint32_t bytes;
    uint32_t
        batch_at; /* its batch, which reaches to the end; the partition stands 8 bytes before */
    uint32_t *value_at; /* [batch_records] */
    uint8_t *scratch;   /* one value */
};

bool wire_template_make(struct wire_template *template,
                        const struct workload *workload,
                        const char *topic);
void wire_template_free(struct wire_template *template);
/* Upper bound for a batch. */
uint32_t wire_request_bytes(const struct wire_template *template, const struct bench_batch *batch);
/* Writes the request; its bytes. Batches that differ from the template in count, sizes or key are
 * encoded anew. */
uint32_t wire_request(const struct wire_template *template,
                      const struct workload *workload,
                      const struct bench_batch *batch,
                      uint32_t partition,
                      uint8_t *to);

#endif
