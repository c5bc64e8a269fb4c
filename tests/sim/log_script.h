/* Short workloads for enumeration and fault tests: a sequence of operations on one partition at a
 * time, run by hand on a rig. */
#ifndef EAGRE_TESTS_SIM_LOG_SCRIPT_H
#define EAGRE_TESTS_SIM_LOG_SCRIPT_H

#include "log_rig.h"

enum script_op {
    SCRIPT_SMALL,      /* one small batch */
    SCRIPT_BIG,        /* one batch that is flushed at once */
    SCRIPT_ROLL,       /* batches until the segment is left */
    SCRIPT_TRIM,       /* the start moves to the middle */
    SCRIPT_DROP,       /* the partition goes, another is opened */
    SCRIPT_CHECKPOINT, /* a clean stop and a start */
    SCRIPT_RECLAIM,    /* batches until a journal file has been given back */
    SCRIPT_OP_COUNT,
    /* in the table of compaction's workloads only */
    SCRIPT_KEYS = SCRIPT_OP_COUNT, /* batches of many keys, more than a segment */
    SCRIPT_COMPACT,                /* until nothing more is compacted */
    SCRIPT_HOUR,                   /* tombstones come of age */
};

#define SCRIPT_OPS_MAX 8u

struct log_script {
    struct log_rig *rig;
    enum script_op ops[SCRIPT_OPS_MAX];
    uint32_t op_count;
    bool settle;     /* wait for all answers after every operation; else only where one needs it */
    bool idempotent; /* batches of an idempotent producer */
    bool compacts;   /* partitions are compacted */
    uint32_t partition; /* in the model */
    int32_t sequence;
    bool broken; /* a fault has fenced the partition: what follows is left out */
};

/* The N-th sequence: all of one operation, then of two, of three. false: there is none with that
 * number. */
bool log_script_choose(struct log_script *script, uint32_t number);
uint32_t log_script_count(uint32_t length_max);
/* The N-th workload with compaction; the rig has a compactor. false: there is none. */
bool log_script_choose_compaction(struct log_script *script, uint32_t number);
/* "small roll trim" */
void log_script_name(const struct log_script *script, char *text, size_t capacity);
/* Opens the first partition; the rig runs already. */
bool log_script_begin(struct log_script *script);
/* Runs the operations. With faults allowed (rig options) it goes on as far as the log lets it. */
bool log_script_run(struct log_script *script);
/* One batch with a value of that size, on the present partition. */
bool log_script_append(struct log_script *script, uint32_t value_bytes);
bool log_script_do(struct log_script *script, enum script_op op);

/* Sizes that make everything happen within few operations. */
struct rig_options log_script_options(void);

#endif
