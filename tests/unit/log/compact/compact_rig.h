/* A log tile with a compactor beside it, and a model of what a compacted partition must hold.
 *
 * Records are a key number and a value number; the model keeps every record ever acknowledged.
 * crig_verify() reads the partition from start to end: every record found was written at that
 * offset, offsets rise, the newest of each key is there, and nothing is missing that nothing newer
 * replaced. */
#ifndef EAGRE_TESTS_UNIT_LOG_COMPACT_RIG_H
#define EAGRE_TESTS_UNIT_LOG_COMPACT_RIG_H

#include "../append/store_rig.h"

#include "log/compact/compact_inner.h"

#define CRIG_RECORDS_MAX 200000u
#define CRIG_TOMBSTONE UINT32_MAX

struct crig_record {
    uint32_t key;
    uint32_t value; /* CRIG_TOMBSTONE: null */
    bool is_there;  /* found by the last crig_verify() */
    bool is_aborted;
    bool is_control;
};

struct crig {
    struct rig rig;
    struct compact_link *link;
    struct compactor *compactor;
    void *memory;
    struct compactor_config config; /* to be changed before crig_open() */
    struct crig_record *records;    /* [CRIG_RECORDS_MAX] by offset */
    uint64_t count;
    uint32_t value_bytes; /* padding of every value */
    enum record_codec codec;
    /* of the last crig_verify() */
    uint64_t found;
    uint64_t batches;
    uint64_t batches_empty;
    uint64_t tombstones;
    uint64_t horizons;
    uint64_t bytes;
    uint64_t clean; /* no delete horizon at or above it */
};

struct crig_batch {
    uint32_t count;
    const struct crig_record *records; /* [count] */
    int64_t producer_id;               /* 0: none */
    int32_t sequence;
    uint16_t attributes;
};

void crig_init(struct crig *crig, uint64_t seed, const struct log_partition_config *config);
void crig_fini(struct crig *crig);
/* Starts log and compactor; config: a new partition, NULL: opens the old one again. */
void crig_open(struct crig *crig, const struct log_partition_config *config);
void crig_power_cut(struct crig *crig);
bool crig_step(struct crig *crig);
void crig_settle(struct crig *crig);
/* Time passes until nothing is compacted any more. */
void crig_compact(struct crig *crig);
void crig_pass_ms(struct crig *crig, uint64_t ms);
/* Appends one batch and waits for its ack. */
void crig_append(struct crig *crig, const struct crig_batch *batch);
/* count batches of per_batch records, keys drawn in [0, keys), some of them tombstones (ppm). */
void crig_fill(
    struct crig *crig, uint32_t count, uint32_t per_batch, uint32_t keys, uint32_t tombstone_ppm);
/* Reads all and checks; strict: below `clean` each key stands at most once. */
void crig_verify(struct crig *crig, uint64_t clean);
struct partition *crig_partition(struct crig *crig);

#endif
