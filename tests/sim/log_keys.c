/* What a compacted partition may hold; see log_keys.h. */
#include "log_keys.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/record/record_iterator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
draw(const struct model_batch *batch, uint32_t record)
{
    uint64_t words[2] = {batch->id, record};
    return hash_xxh3(words, sizeof(words), 0);
}

static uint32_t
key_of(const struct model_batch *batch, uint32_t record)
{
    return (uint32_t)(draw(batch, record) % MODEL_KEYS);
}

uint32_t
log_keys_name(const struct model_batch *batch, uint32_t record, char *text)
{
    return (uint32_t)snprintf(text, 8, "k%02" PRIu32, key_of(batch, record));
}

bool
log_keys_is_tombstone(const struct model_batch *batch, uint32_t record)
{
    return (draw(batch, record) >> 32) % 8 == 0;
}

void
log_keys_look(struct model_partition *partition)
{
    free(partition->found);
    partition->found_count = log_model_end(partition);
    partition->found = calloc(1, (size_t)partition->found_count + 1);
    CHECK(partition->found != NULL);
}

/* ---- what is read ---- */

static bool
fail_at(struct log_model *model,
        const struct model_partition *partition,
        uint64_t offset,
        const char *what)
{
    return log_model_fail(model,
                          "compacted partition %" PRIu64 " offset %" PRIu64 ": %s",
                          partition->config.incarnation,
                          offset,
                          what);
}

static bool
is_value(const struct model_batch *batch, uint32_t at, struct bytes value)
{
    static uint8_t expected[MODEL_BATCH_BYTES_MAX];
    if (log_keys_is_tombstone(batch, at))
        return value.at == NULL;
    log_model_value(batch, at, expected);
    return value.at != NULL && value.count == batch->value_bytes &&
           memcmp(value.at, expected, value.count) == 0;
}

static bool
verify_records(struct log_model *model,
               const struct model_partition *partition,
               const struct model_batch *batch,
               const uint8_t *stored,
               const struct record_batch_info *info)
{
    struct record_iterator iterator;
    struct record_view record;
    uint64_t next = batch->offset;
    char name[8];
    record_iterator_begin(&iterator,
                          info,
                          (struct bytes){stored + RECORD_BATCH_HEADER_BYTES,
                                         info->batch_bytes - RECORD_BATCH_HEADER_BYTES});
    while (record_iterator_next(&iterator, &record)) {
        uint64_t offset = (uint64_t)record.offset;
        if (offset < next || offset >= batch->offset + batch->records)
            return fail_at(model, partition, offset, "a record out of its place");
        uint32_t at = (uint32_t)(offset - batch->offset);
        uint32_t count = log_keys_name(batch, at, name);
        if (record.key.count != count || memcmp(record.key.at, name, count) != 0)
            return fail_at(model, partition, offset, "another key");
        if (!is_value(batch, at, record.value))
            return fail_at(model, partition, offset, "another value");
        if (!partition->config.log_append_time && record.timestamp_ms != batch->timestamp_ms)
            return fail_at(model, partition, offset, "another time");
        if (offset < partition->found_count)
            partition->found[offset] = 1;
        next = offset + 1;
    }
    return iterator.rc == RC_OK ||
           fail_at(model, partition, batch->offset, "records that are none");
}

bool
log_keys_verify(struct log_model *model,
                const struct model_partition *partition,
                struct bytes stored,
                uint64_t offset,
                uint64_t *ret_end)
{
    *ret_end = offset;
    for (bool first = true; stored.count > 0; first = false) {
        struct record_batch_info info;
        if (record_batch_read(stored.at, stored.count, &info) != RC_OK ||
            !record_batch_crc_ok(stored.at, info.batch_bytes))
            return fail_at(model, partition, *ret_end, "served bytes are no batch");
        uint64_t base = (uint64_t)info.base_offset;
        uint64_t end = (uint64_t)record_batch_last_offset(&info) + 1;
        const struct model_batch *batch = log_model_find(partition, base);
        if (batch == NULL || batch->offset != base || base + batch->records != end ||
            info.producer_id != batch->producer_id || info.base_sequence != batch->base_sequence)
            return fail_at(model, partition, base, "a batch that was never sent there");
        if (end <= *ret_end || (!first && base < *ret_end))
            return fail_at(model, partition, base, "a batch out of order");
        if (!verify_records(model, partition, batch, stored.at, &info))
            return false;
        *ret_end = end;
        stored.at += info.batch_bytes;
        stored.count -= info.batch_bytes;
    }
    return true;
}

/* ---- the rule ---- */

/* The newest record of a key. */
static bool
judge_newest(struct log_model *model,
             const struct model_partition *partition,
             uint64_t offset,
             const struct log_keys_bounds *bounds)
{
    const struct model_batch *batch = log_model_find(partition, offset);
    if (partition->found[offset])
        return true;
    if (!log_keys_is_tombstone(batch, (uint32_t)(offset - batch->offset)))
        return fail_at(model, partition, offset, "the newest record of its key is gone");
    if (offset >= bounds->floor)
        return fail_at(model, partition, offset, "a tombstone is gone that nobody looked at");
    if (!partition->config.log_append_time && bounds->wall_ms != INT64_MAX &&
        bounds->wall_ms - batch->timestamp_ms < partition->config.delete_retention_ms)
        return fail_at(model, partition, offset, "a tombstone is gone before its time");
    return true;
}

/* A record of a key that has a newer one. */
static bool
judge_older(struct log_model *model,
            const struct model_partition *partition,
            uint64_t offset,
            uint64_t newest,
            const struct log_keys_bounds *bounds)
{
    if (!partition->found[offset])
        return offset < bounds->floor ||
               fail_at(model, partition, offset, "a record is gone that nobody looked at");
    if (newest < bounds->clean)
        return fail_at(model, partition, offset, "a key stands twice where it was cleaned");
    if (!partition->found[newest])
        return fail_at(model, partition, offset, "its tombstone is gone and it is there");
    return true;
}

bool
log_keys_judge(struct log_model *model,
               const struct model_partition *partition,
               const struct seen_partition *seen,
               const struct log_keys_bounds *bounds)
{
    uint64_t newest[MODEL_KEYS];
    for (uint32_t i = 0; i < MODEL_KEYS; i++)
        newest[i] = MODEL_NEVER;
    if (seen->end > partition->found_count)
        return true; /* never sent: log_model_judge() says it */
    for (uint64_t offset = seen->end; offset-- > seen->start;) {
        const struct model_batch *batch = log_model_find(partition, offset);
        if (batch == NULL) /* trimmed before it was adopted */
            break;
        uint64_t *of_key = &newest[key_of(batch, (uint32_t)(offset - batch->offset))];
        if (*of_key == MODEL_NEVER) {
            *of_key = offset;
            if (!judge_newest(model, partition, offset, bounds))
                return false;
        } else if (!judge_older(model, partition, offset, *of_key, bounds)) {
            return false;
        }
    }
    return true;
}
