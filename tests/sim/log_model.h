/* What a log may hold after anything that happened to it.
 *
 * The model remembers, per partition, every batch that the log took, in order, with the offset it
 * must get, and when it was submitted and acknowledged; the same for opens, trims and drops. Times
 * are marks: positions in the disk's trace, so that one run can be judged at every point at which
 * the machine could have stopped.
 *
 * The rule, for a mark m: everything acknowledged by m is there; everything there was submitted by
 * m; batches stand in the order of submission, without gap, none twice, byte for byte; nothing
 * trimmed or dropped for certain comes back; nothing given up by a former recovery comes back. */
#ifndef EAGRE_TESTS_SIM_LOG_MODEL_H
#define EAGRE_TESTS_SIM_LOG_MODEL_H

#include "engine/base/bytes.h"
#include "log/append/log.h"

#define MODEL_NEVER UINT64_MAX
#define MODEL_PARTITIONS_MAX 64u
#define MODEL_BATCH_BYTES_MAX (2u << 20)

struct model_batch {
    uint64_t id; /* unique in the run; resent with the same one */
    uint64_t offset;
    uint64_t submit_mark;
    uint64_t ack_mark;
    int64_t timestamp_ms;
    int64_t producer_id; /* -1: none */
    int32_t base_sequence;
    int16_t producer_epoch;
    uint32_t records;
    uint32_t value_bytes; /* of each record */
    bool has_keys;        /* for a compacted partition: see log_keys.h */
};

struct model_trim {
    uint64_t offset;
    uint64_t submit_mark;
    uint64_t ack_mark;
};

struct model_sight { /* a reader was told this high watermark */
    uint64_t high_watermark;
    uint64_t mark;
};

struct model_partition {
    struct log_partition_config config;
    uint64_t open_submit;
    uint64_t open_ack;
    uint64_t drop_submit;
    uint64_t drop_ack;
    struct model_batch *batches; /* [batch_count], in order of offsets, no gap */
    uint32_t batch_count;
    uint32_t batch_capacity;
    struct model_trim *trims; /* [trim_count] */
    uint32_t trim_count;
    uint32_t trim_capacity;
    struct model_sight *sights; /* [sight_count], growing */
    uint32_t sight_count;
    uint32_t sight_capacity;
    uint64_t base;  /* offset of the first batch */
    uint8_t *found; /* compacted: [found_count], records that the look has met (log_keys.h) */
    uint64_t found_count;
    /* of the running log */
    uint32_t slot; /* UINT32_MAX: not open now */
    bool refused;  /* fenced or halted */
};

struct log_model {
    struct model_partition partitions[MODEL_PARTITIONS_MAX];
    uint32_t partition_count;
    uint64_t id_next;
    bool damaged; /* what counts as submitted is everything, whatever the mark: bytes were destroyed
                     after it */
    char why[512]; /* what was wrong, when something was */
};

/* What a recovered log shows of one partition. */
struct seen_partition {
    bool exists;
    uint64_t start;
    uint64_t end;
    uint64_t first; /* base offset of the first batch read */
};

void log_model_init(struct log_model *model);
void log_model_fini(struct log_model *model);
/* Remembers why; returns false. */
bool log_model_fail(struct log_model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct model_partition *
log_model_open(struct log_model *model, const struct log_partition_config *config, uint64_t mark);
uint64_t log_model_end(const struct model_partition *partition);
/* A batch taken by the log; gets the next offset. */
struct model_batch *
log_model_take(struct model_partition *partition, struct model_batch batch, uint64_t mark);
void log_model_trim(struct model_partition *partition, uint64_t offset, uint64_t mark);
void log_model_sight(struct model_partition *partition, uint64_t high_watermark, uint64_t mark);
/* The batch that holds an offset, or NULL. */
struct model_batch *log_model_find(const struct model_partition *partition, uint64_t offset);

/* Builds the bytes that a producer sends for a batch; memory: MODEL_BATCH_BYTES_MAX. Returns the
 * bytes. */
uint32_t log_model_build(const struct model_batch *batch, uint8_t *memory);
/* The value of one of its records; to: [batch->value_bytes]. */
void log_model_value(const struct model_batch *batch, uint32_t record, uint8_t *to);
/* Checks `count` stored bytes, whole batches from the one that holds `offset` on, against the
 * model. *ret_first and *ret_end: offsets covered. */
bool log_model_verify(struct log_model *model,
                      const struct model_partition *partition,
                      struct bytes stored,
                      uint64_t offset,
                      uint64_t *ret_end);

/* The rule above, for one partition. */
bool log_model_judge(struct log_model *model,
                     const struct model_partition *partition,
                     uint64_t mark,
                     const struct seen_partition *seen);
/* Takes what was seen as the truth: what is gone is gone for ever, what is there stays. mark: now.
 */
void log_model_adopt(struct model_partition *partition,
                     uint64_t mark,
                     const struct seen_partition *seen);

#endif
