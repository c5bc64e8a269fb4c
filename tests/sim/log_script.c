/* Short workloads; see log_script.h. */
#include "log_script.h"
#include "log_cleaner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BIG_BYTES (100u * 1024)
#define ROLL_BYTES (40u * 1024)
#define KEYS_BATCHES 10u
#define KEYS_RECORDS 16u
#define KEYS_BYTES 600u
#define APPEND_TRIES_MAX 20000u
#define APPEND_PAUSE_NS (2 * NS_PER_MS)

struct rig_options
log_script_options(void)
{
    return (struct rig_options){
        .journal_file_bytes = 128 * KIB,
        .slab_ring_bytes = 2 * MIB,
        .bulk_bytes = 64 * KIB,
        .partitions_max = 16,
        .producers_max = 16,
        .open_files_max = 32,
        .job_ns_max = 100 * NS_PER_US,
    };
}

uint32_t
log_script_count(uint32_t length_max)
{
    uint32_t count = 0;
    uint32_t power = 1;
    for (uint32_t length = 1; length <= length_max; length++) {
        power *= SCRIPT_OP_COUNT;
        count += power;
    }
    return count;
}

bool
log_script_choose(struct log_script *script, uint32_t number)
{
    uint32_t length = 1;
    uint32_t power = SCRIPT_OP_COUNT;
    while (length <= SCRIPT_OPS_MAX && number >= power) {
        number -= power;
        power *= SCRIPT_OP_COUNT;
        length++;
    }
    if (length > SCRIPT_OPS_MAX)
        return false;
    script->op_count = length;
    for (uint32_t i = 0; i < length; i++) {
        script->ops[length - 1 - i] = (enum script_op)(number % SCRIPT_OP_COUNT);
        number /= SCRIPT_OP_COUNT;
    }
    return true;
}

bool
log_script_choose_compaction(struct log_script *script, uint32_t number)
{
    enum { END = SCRIPT_OP_COUNT + 100 };
    static const uint8_t workloads[][SCRIPT_OPS_MAX + 1] = {
        {SCRIPT_KEYS, SCRIPT_KEYS, SCRIPT_COMPACT, END},
        {SCRIPT_KEYS, SCRIPT_KEYS, SCRIPT_COMPACT, SCRIPT_KEYS, SCRIPT_COMPACT, END},
        {SCRIPT_KEYS,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         SCRIPT_HOUR,
         SCRIPT_KEYS,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         END},
        {SCRIPT_KEYS,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         SCRIPT_CHECKPOINT,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         END},
        {SCRIPT_KEYS, SCRIPT_KEYS, SCRIPT_TRIM, SCRIPT_COMPACT, SCRIPT_SMALL, END},
        {SCRIPT_KEYS, SCRIPT_KEYS, SCRIPT_COMPACT, SCRIPT_TRIM, SCRIPT_KEYS, SCRIPT_COMPACT, END},
        {SCRIPT_KEYS,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         SCRIPT_DROP,
         SCRIPT_KEYS,
         SCRIPT_KEYS,
         SCRIPT_COMPACT,
         END},
    };
    if (number >= ARRAY_COUNT(workloads))
        return false;
    script->compacts = true;
    for (script->op_count = 0; workloads[number][script->op_count] != END; script->op_count++)
        script->ops[script->op_count] = (enum script_op)workloads[number][script->op_count];
    return true;
}

void
log_script_name(const struct log_script *script, char *text, size_t capacity)
{
    static const char *const names[] = {
        [SCRIPT_SMALL] = "small",
        [SCRIPT_BIG] = "big",
        [SCRIPT_ROLL] = "roll",
        [SCRIPT_TRIM] = "trim",
        [SCRIPT_DROP] = "drop",
        [SCRIPT_CHECKPOINT] = "checkpoint",
        [SCRIPT_RECLAIM] = "reclaim",
        [SCRIPT_KEYS] = "keys",
        [SCRIPT_COMPACT] = "compact",
        [SCRIPT_HOUR] = "hour",
    };
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < script->op_count && used < capacity; i++)
        used += (size_t)snprintf(
            text + used, capacity - used, "%s%s", i > 0 ? " " : "", names[script->ops[i]]);
}

static struct log_model *
script_model(struct log_script *script)
{
    return script->rig->model;
}

static bool
is_fault(const struct log_script *script, enum rc rc)
{
    return script->rig->options.faults && rc != RC_OK && rc != RC_AGAIN;
}

static bool
open_next(struct log_script *script)
{
    struct log_model *model = script_model(script);
    struct log_partition_config config = {
        .incarnation = model->partition_count + 1,
        .topic_id = {7, (uint8_t)(model->partition_count + 1)},
        .partition = model->partition_count,
        .batch_bytes_max = MODEL_BATCH_BYTES_MAX,
        .segment_bytes = 64 * KIB,
        .segment_ms = INT64_MAX,
        .retention_ms = -1,
        .retention_bytes = -1,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
    };
    if (script->compacts) {
        config.is_compacted = true;
        config.keeps_old = true;
        config.delete_retention_ms = 3600 * 1000;
        config.compaction_lag_max_ms = INT64_MAX;
    }
    if (log_model_open(model, &config, rig_mark(script->rig)) == NULL)
        return log_model_fail(model, "too many partitions");
    script->partition = model->partition_count - 1;
    script->sequence = 0;
    enum rc rc = rig_open(script->rig, script->partition);
    if (is_fault(script, rc))
        script->broken = true;
    else if (rc != RC_OK)
        return log_model_fail(model, "open refused: %s", rc_name(rc));
    if (!rig_settle(script->rig))
        return false;
    script->broken |= model->partitions[script->partition].slot == UINT32_MAX;
    return true;
}

bool
log_script_begin(struct log_script *script)
{
    return open_next(script);
}

static bool
append(struct log_script *script, uint32_t records, uint32_t value_bytes)
{
    struct log_model *model = script_model(script);
    struct log_rig *rig = script->rig;
    struct model_batch batch = {
        .id = model->id_next++,
        .timestamp_ms = clock_wall_ms(&rig->clock),
        .producer_id = script->idempotent ? 77 : -1,
        .producer_epoch = script->idempotent ? 0 : -1,
        .base_sequence = script->idempotent ? script->sequence : -1,
        .records = records,
        .value_bytes = value_bytes,
    };
    for (uint32_t step = 0; step < APPEND_TRIES_MAX; step++) {
        enum rc rc = rig_append(rig, script->partition, &batch);
        if (rc == RC_OK) {
            script->sequence += (int32_t)records;
            return true;
        }
        if (model->why[0] != '\0')
            return false;
        if (is_fault(script, rc)) {
            script->broken = true;
            return true;
        }
        sim_world_pass(rig->world, APPEND_PAUSE_NS);
    }
    if (rig->options.faults) {
        script->broken = true;
        return true;
    }
    return log_model_fail(model, "an append is put off for ever");
}

bool
log_script_append(struct log_script *script, uint32_t value_bytes)
{
    return append(script, 1, value_bytes);
}

static bool
append_keys(struct log_script *script)
{
    for (uint32_t i = 0; i < KEYS_BATCHES && !script->broken; i++) {
        if (!append(script, KEYS_RECORDS, KEYS_BYTES))
            return false;
    }
    return true;
}

static bool
trim(struct log_script *script)
{
    struct log_model *model = script_model(script);
    struct model_partition *partition = &model->partitions[script->partition];
    struct log_read_result offsets;
    if (!rig_settle(script->rig))
        return false;
    enum rc rc = log_offsets(
        script->rig->log, partition->slot, partition->config.incarnation, &offsets);
    if (rc != RC_OK) {
        script->broken = true;
        return is_fault(script, rc) || log_model_fail(model, "no offsets: %s", rc_name(rc));
    }
    if (offsets.high_watermark == offsets.start_offset)
        return true;
    uint64_t to = offsets.start_offset + (offsets.high_watermark - offsets.start_offset + 1) / 2;
    rc = rig_trim(script->rig, script->partition, to);
    if (is_fault(script, rc))
        script->broken = true;
    else if (rc != RC_OK && rc != RC_AGAIN)
        return log_model_fail(model, "trim refused: %s", rc_name(rc));
    return true;
}

static bool
drop(struct log_script *script)
{
    if (!rig_settle(script->rig))
        return false;
    enum rc rc = rig_drop(script->rig, script->partition);
    if (is_fault(script, rc)) {
        script->broken = true;
        return true;
    }
    if (rc != RC_OK)
        return log_model_fail(script_model(script), "drop refused: %s", rc_name(rc));
    return open_next(script);
}

static bool
checkpoint(struct log_script *script)
{
    struct log_model *model = script_model(script);
    struct diag_trail trail = {{0}};
    if (!rig_settle(script->rig) || !rig_stop(script->rig))
        return false;
    enum rc rc = rig_start(script->rig, &trail);
    if (is_fault(script, rc)) {
        script->broken = true;
        return true;
    }
    if (rc != RC_OK)
        return log_model_fail(model, "recovery refuses: %s: %s", rc_name(rc), trail.text);
    for (uint32_t i = 0; i < model->partition_count; i++) {
        if (model->partitions[i].drop_submit != MODEL_NEVER ||
            model->partitions[i].open_ack == MODEL_NEVER)
            continue;
        rc = rig_open(script->rig, i);
        script->broken |= is_fault(script, rc);
        if (rc != RC_OK && !is_fault(script, rc))
            return log_model_fail(model, "open after a stop refused: %s", rc_name(rc));
    }
    return rig_settle(script->rig);
}

static bool
append_many(struct log_script *script, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count && !script->broken; i++) {
        if (!log_script_append(script, bytes))
            return false;
    }
    return true;
}

bool
log_script_do(struct log_script *script, enum script_op op)
{
    uint64_t file_bytes = script->rig->options.journal_file_bytes;
    switch (op) {
    case SCRIPT_SMALL:
        return log_script_append(script, 50);
    case SCRIPT_BIG:
        return log_script_append(script, (uint32_t)min_u64(BIG_BYTES, file_bytes / 2));
    case SCRIPT_ROLL:
        return append_many(script, 3, (uint32_t)min_u64(ROLL_BYTES, file_bytes / 2));
    case SCRIPT_TRIM:
        return trim(script);
    case SCRIPT_DROP:
        return drop(script);
    case SCRIPT_CHECKPOINT:
        return checkpoint(script);
    case SCRIPT_RECLAIM:
        return append_many(script, 10, (uint32_t)(file_bytes / 4));
    case SCRIPT_KEYS:
        return append_keys(script);
    case SCRIPT_COMPACT:
        return rig_settle(script->rig) && cleaner_run(script->rig);
    case SCRIPT_HOUR:
        sim_world_pass(script->rig->world, 3601 * NS_PER_S);
        return true;
    }
    return false;
}

bool
log_script_run(struct log_script *script)
{
    for (uint32_t i = 0; i < script->op_count && !script->broken; i++) {
        if (!log_script_do(script, script->ops[i]))
            return false;
        if (script->settle && !script->broken && !rig_settle(script->rig))
            return false;
    }
    return !script->rig->running || script->broken || rig_settle(script->rig);
}
