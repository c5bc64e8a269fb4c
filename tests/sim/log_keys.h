/* What a compacted partition may hold: records of the batches that were sent, each at its offset,
 * with holes; of each key the newest, and nothing that is gone for good.
 *
 * Every record of a batch for such a partition has a key out of MODEL_KEYS and is a tombstone now
 * and then; both follow from the batch's id, so a batch that is sent again is the same.
 *
 *   log_keys_look() -> reads (log_keys_verify() notes what they show) -> log_keys_judge() */
#ifndef EAGRE_TESTS_SIM_LOG_KEYS_H
#define EAGRE_TESTS_SIM_LOG_KEYS_H

#include "log_model.h"

#define MODEL_KEYS 40u

/* Key of a record: "k" and a number below MODEL_KEYS. text: 8 bytes, returns the length. */
uint32_t log_keys_name(const struct model_batch *batch, uint32_t record, char *text);
bool log_keys_is_tombstone(const struct model_batch *batch, uint32_t record);

/* A look begins: nothing is found yet. */
void log_keys_look(struct model_partition *partition);
/* log_model_verify() of a compacted partition. */
bool log_keys_verify(struct log_model *model,
                     const struct model_partition *partition,
                     struct bytes stored,
                     uint64_t offset,
                     uint64_t *ret_end);

struct log_keys_bounds {
    uint64_t clean;  /* below it every key stands at most once */
    uint64_t floor;  /* at or above it nothing is gone */
    int64_t wall_ms; /* a tombstone may be gone by then; INT64_MAX: the time is not known */
};

/* The rule for what the look has found. */
bool log_keys_judge(struct log_model *model,
                    const struct model_partition *partition,
                    const struct seen_partition *seen,
                    const struct log_keys_bounds *bounds);

#endif
