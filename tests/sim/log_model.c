/* The rule by which a log is judged; see log_model.h. */
#include "log_model.h"
#include "log_keys.h"

#include "engine/base/check.h"
#include "engine/record/record_builder.h"
#include "hw/io/sim_base.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILLER_BYTES 65536u

void
log_model_init(struct log_model *model)
{
    *model = (struct log_model){.id_next = 1};
}

void
log_model_fini(struct log_model *model)
{
    for (uint32_t i = 0; i < model->partition_count; i++) {
        free(model->partitions[i].batches);
        free(model->partitions[i].trims);
        free(model->partitions[i].sights);
        free(model->partitions[i].found);
    }
    *model = (struct log_model){0};
}

bool
log_model_fail(struct log_model *model, const char *format, ...)
{
    va_list arguments;
    if (model->why[0] != '\0')
        return false; /* the first reason counts */
    va_start(arguments, format);
    (void)vsnprintf(model->why, sizeof(model->why), format, arguments);
    va_end(arguments);
    return false;
}

static void *
grown(void *list, uint32_t count, uint32_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    list = realloc(list, *capacity * item_bytes);
    CHECK(list != NULL);
    return list;
}

struct model_partition *
log_model_open(struct log_model *model, const struct log_partition_config *config, uint64_t mark)
{
    if (model->partition_count == MODEL_PARTITIONS_MAX)
        return NULL;
    struct model_partition *partition = &model->partitions[model->partition_count++];
    *partition = (struct model_partition){
        .config = *config,
        .open_submit = mark,
        .open_ack = MODEL_NEVER,
        .drop_submit = MODEL_NEVER,
        .drop_ack = MODEL_NEVER,
        .slot = UINT32_MAX,
    };
    return partition;
}

uint64_t
log_model_end(const struct model_partition *partition)
{
    if (partition->batch_count == 0)
        return partition->base;
    const struct model_batch *last = &partition->batches[partition->batch_count - 1];
    return last->offset + last->records;
}

struct model_batch *
log_model_take(struct model_partition *partition, struct model_batch batch, uint64_t mark)
{
    batch.offset = log_model_end(partition);
    batch.submit_mark = mark;
    batch.ack_mark = MODEL_NEVER;
    partition->batches = grown(partition->batches,
                               partition->batch_count,
                               &partition->batch_capacity,
                               sizeof(struct model_batch));
    partition->batches[partition->batch_count] = batch;
    return &partition->batches[partition->batch_count++];
}

void
log_model_trim(struct model_partition *partition, uint64_t offset, uint64_t mark)
{
    partition->trims = grown(partition->trims,
                             partition->trim_count,
                             &partition->trim_capacity,
                             sizeof(struct model_trim));
    partition->trims[partition->trim_count++] = (struct model_trim){
        .offset = offset, .submit_mark = mark, .ack_mark = MODEL_NEVER};
}

void
log_model_sight(struct model_partition *partition, uint64_t high_watermark, uint64_t mark)
{
    if (partition->config.durability != LOG_DURABILITY_DEVICE)
        return;
    if (partition->sight_count > 0 &&
        partition->sights[partition->sight_count - 1].high_watermark >= high_watermark)
        return;
    partition->sights = grown(partition->sights,
                              partition->sight_count,
                              &partition->sight_capacity,
                              sizeof(struct model_sight));
    partition->sights[partition->sight_count++] = (struct model_sight){
        .high_watermark = high_watermark, .mark = mark};
}

struct model_batch *
log_model_find(const struct model_partition *partition, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = partition->batch_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct model_batch *batch = &partition->batches[middle];
        if (offset < batch->offset)
            high = middle;
        else if (offset >= batch->offset + batch->records)
            low = middle + 1;
        else
            return batch;
    }
    return NULL;
}

/* ---- bytes ---- */

/* A batch's filler: a window of one fixed pattern, chosen by its id. */
static const uint8_t *
filler(uint64_t id)
{
    static uint8_t pattern[2 * FILLER_BYTES + MODEL_BATCH_BYTES_MAX];
    if (pattern[0] == 0) {
        struct sim_rng rng;
        sim_rng_seed(&rng, 1, 1);
        for (size_t i = 0; i < sizeof(pattern); i++)
            pattern[i] = (uint8_t)(1 + sim_rng_below(&rng, 255));
    }
    return pattern + id * 131 % FILLER_BYTES;
}

void
log_model_value(const struct model_batch *batch, uint32_t record, uint8_t *to)
{
    put_u64_le(to, batch->id);
    put_u64_le(to + 8, record);
    memcpy(to + 16, filler(batch->id), batch->value_bytes - 16);
}

uint32_t
log_model_build(const struct model_batch *batch, uint8_t *memory)
{
    struct record_builder builder;
    struct record_builder_options options = RECORD_BUILDER_PLAIN;
    static uint8_t value[MODEL_BATCH_BYTES_MAX];
    CHECK(batch->value_bytes >= 16);
    CHECK(batch->value_bytes <= sizeof(value));
    options.producer_id = batch->producer_id;
    options.producer_epoch = batch->producer_epoch;
    options.base_sequence = batch->base_sequence;
    record_builder_begin(&builder, memory, MODEL_BATCH_BYTES_MAX, &options);
    for (uint32_t i = 0; i < batch->records; i++) {
        char key[8];
        log_model_value(batch, i, value);
        struct record record = {
            .timestamp_ms = batch->timestamp_ms,
            .value = {.at = value, .count = batch->value_bytes},
        };
        if (batch->has_keys) {
            record.key = (struct bytes){(const uint8_t *)key, log_keys_name(batch, i, key)};
            if (log_keys_is_tombstone(batch, i))
                record.value = (struct bytes){0};
        }
        CHECK(record_builder_add(&builder, &record));
    }
    return record_builder_finish(&builder);
}

static bool
verify_batch(struct log_model *model,
             const struct model_partition *partition,
             const struct model_batch *batch,
             const uint8_t *stored,
             const struct record_batch_info *info)
{
    static uint8_t expected[MODEL_BATCH_BYTES_MAX];
    uint64_t incarnation = partition->config.incarnation;
    uint32_t bytes = log_model_build(batch, expected);
    uint32_t from = RECORD_BATCH_PREFIX_BYTES;
    if (!record_batch_crc_ok(stored, info->batch_bytes))
        return log_model_fail(model,
                              "partition %" PRIu64 " offset %" PRIu64 ": served with a wrong CRC",
                              incarnation,
                              batch->offset);
    if (partition->config.log_append_time)
        from = RECORD_BATCH_HEADER_BYTES;
    if (info->batch_bytes != bytes || memcmp(stored + from, expected + from, bytes - from) != 0)
        return log_model_fail(model,
                              "partition %" PRIu64 " offset %" PRIu64
                              ": not the bytes of batch %" PRIu64,
                              incarnation,
                              batch->offset,
                              batch->id);
    return true;
}

bool
log_model_verify(struct log_model *model,
                 const struct model_partition *partition,
                 struct bytes stored,
                 uint64_t offset,
                 uint64_t *ret_end)
{
    uint64_t incarnation = partition->config.incarnation;
    uint64_t next = MODEL_NEVER;
    if (partition->config.is_compacted)
        return log_keys_verify(model, partition, stored, offset, ret_end);
    while (stored.count > 0) {
        struct record_batch_info info;
        if (record_batch_read(stored.at, stored.count, &info) != RC_OK)
            return log_model_fail(model,
                                  "partition %" PRIu64 " offset %" PRIu64
                                  ": served bytes are no batch",
                                  incarnation,
                                  offset);
        uint64_t base = (uint64_t)info.base_offset;
        const struct model_batch *batch = log_model_find(partition, base);
        if (batch == NULL || batch->offset != base)
            return log_model_fail(model,
                                  "partition %" PRIu64 ": a batch at offset %" PRIu64
                                  " that was never sent there",
                                  incarnation,
                                  base);
        if (next == MODEL_NEVER ? base > offset || base + batch->records <= offset : base != next)
            return log_model_fail(model,
                                  "partition %" PRIu64 ": asked for %" PRIu64
                                  ", got a batch at %" PRIu64,
                                  incarnation,
                                  next == MODEL_NEVER ? offset : next,
                                  base);
        if (!verify_batch(model, partition, batch, stored.at, &info))
            return false;
        next = base + batch->records;
        stored.at += info.batch_bytes;
        stored.count -= info.batch_bytes;
    }
    *ret_end = next == MODEL_NEVER ? offset : next;
    return true;
}

/* ---- the rule ---- */

static bool
judge_existence(struct log_model *model,
                const struct model_partition *partition,
                uint64_t mark,
                bool exists)
{
    uint64_t incarnation = partition->config.incarnation;
    if (exists && partition->drop_ack <= mark)
        return log_model_fail(
            model, "partition %" PRIu64 " came back after its drop was acknowledged", incarnation);
    if (exists && partition->open_submit > mark)
        return log_model_fail(
            model, "partition %" PRIu64 " exists before it was opened", incarnation);
    if (!exists && partition->open_ack <= mark && partition->drop_submit > mark)
        return log_model_fail(
            model, "partition %" PRIu64 " is gone although it was opened", incarnation);
    return true;
}

static bool
judge_start(struct log_model *model,
            const struct model_partition *partition,
            uint64_t mark,
            uint64_t start)
{
    uint64_t acked = 0;
    bool known = start == 0 || start == partition->base;
    for (uint32_t i = 0; i < partition->trim_count; i++) {
        const struct model_trim *trim = &partition->trims[i];
        if (trim->ack_mark <= mark)
            acked = max_u64(acked, trim->offset);
        if ((trim->submit_mark <= mark || model->damaged) && trim->offset == start)
            known = true;
    }
    if (start < acked)
        return log_model_fail(model,
                              "partition %" PRIu64 ": trimmed to %" PRIu64 ", starts at %" PRIu64,
                              partition->config.incarnation,
                              acked,
                              start);
    if (!known)
        return log_model_fail(model,
                              "partition %" PRIu64 ": starts at %" PRIu64
                              ", where nobody trimmed it",
                              partition->config.incarnation,
                              start);
    return true;
}

static bool
judge_end(struct log_model *model,
          const struct model_partition *partition,
          uint64_t mark,
          const struct seen_partition *seen)
{
    uint64_t incarnation = partition->config.incarnation;
    bool durable = partition->config.durability == LOG_DURABILITY_DEVICE;
    uint64_t least = seen->start;
    uint64_t most = partition->base;
    bool boundary = seen->end == partition->base;
    for (uint32_t i = 0; i < partition->batch_count; i++) {
        const struct model_batch *batch = &partition->batches[i];
        uint64_t end = batch->offset + batch->records;
        if (batch->ack_mark <= mark && durable)
            least = max_u64(least, end);
        if (batch->submit_mark <= mark || model->damaged)
            most = max_u64(most, end);
        boundary |= end == seen->end;
    }
    for (uint32_t i = 0; i < partition->sight_count; i++) {
        if (partition->sights[i].mark <= mark)
            least = max_u64(least, partition->sights[i].high_watermark);
    }
    if (seen->end < least)
        return log_model_fail(model,
                              "partition %" PRIu64 ": ends at %" PRIu64 ", but %" PRIu64
                              " was acknowledged or seen",
                              incarnation,
                              seen->end,
                              least);
    if (seen->end > most)
        return log_model_fail(model,
                              "partition %" PRIu64 ": ends at %" PRIu64 ", but only %" PRIu64
                              " was ever sent",
                              incarnation,
                              seen->end,
                              most);
    if (!boundary)
        return log_model_fail(model,
                              "partition %" PRIu64 ": ends at %" PRIu64 ", inside a batch",
                              incarnation,
                              seen->end);
    return true;
}

bool
log_model_judge(struct log_model *model,
                const struct model_partition *partition,
                uint64_t mark,
                const struct seen_partition *seen)
{
    if (!judge_existence(model, partition, mark, seen->exists))
        return false;
    if (!seen->exists)
        return true;
    return judge_start(model, partition, mark, seen->start) &&
           judge_end(model, partition, mark, seen);
}

void
log_model_adopt(struct model_partition *partition, uint64_t mark, const struct seen_partition *seen)
{
    if (!seen->exists) {
        partition->drop_submit = min_u64(partition->drop_submit, mark);
        partition->drop_ack = min_u64(partition->drop_ack, mark);
        partition->batch_count = 0;
        return;
    }
    partition->open_ack = min_u64(partition->open_ack, mark);
    while (partition->batch_count > 0 &&
           partition->batches[partition->batch_count - 1].offset >= seen->end)
        partition->batch_count--;
    for (uint32_t i = 0; i < partition->batch_count; i++)
        partition->batches[i].ack_mark = min_u64(partition->batches[i].ack_mark, mark);
    for (uint32_t i = 0; i < partition->trim_count; i++) {
        if (partition->trims[i].offset <= seen->start)
            partition->trims[i].ack_mark = min_u64(partition->trims[i].ack_mark, mark);
        else
            partition->trims[i].submit_mark = MODEL_NEVER; /* given up */
    }
    if (log_model_end(partition) < seen->end) /* everything was trimmed away */
        partition->base = seen->end;
    partition->sight_count = 0;
}
