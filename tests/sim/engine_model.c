/* What clients know, and reading against it; see engine_model.h. The verdict is in engine_judge.c.
 */
#include "engine_model.h"

#include "engine/base/check.h"
#include "engine/record/record_iterator.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
engine_model_init(struct engine_model *model)
{
    *model = (struct engine_model){0};
}

void
engine_model_fini(struct engine_model *model)
{
    for (uint32_t t = 0; t < ENGINE_TOPICS_MAX; t++)
        for (uint32_t p = 0; p < ENGINE_PARTITIONS_MAX; p++)
            free(model->topics[t].partitions[p].seen);
    free(model->batches);
    *model = (struct engine_model){0};
}

bool
engine_model_fail(struct engine_model *model, const char *format, ...)
{
    va_list arguments;
    if (model->why[0] != '\0')
        return false; /* the first reason counts */
    va_start(arguments, format);
    (void)vsnprintf(model->why, sizeof(model->why), format, arguments);
    va_end(arguments);
    return false;
}

/* ---- batches ---- */

uint32_t
engine_model_add(struct engine_model *model, const struct engine_batch *batch)
{
    if (model->batch_count == model->batch_capacity) {
        model->batch_capacity = model->batch_capacity == 0 ? 256 : model->batch_capacity * 2;
        model->batches = realloc(model->batches,
                                 model->batch_capacity * sizeof(struct engine_batch));
        CHECK(model->batches != NULL);
    }
    model->batches[model->batch_count] = *batch;
    model->batches[model->batch_count].acked_ns = ENGINE_NEVER;
    model->batches[model->batch_count].offset = -1;
    return ++model->batch_count;
}

struct engine_batch *
engine_model_batch(struct engine_model *model, uint32_t number)
{
    CHECK(number > 0 && number <= model->batch_count);
    return &model->batches[number - 1];
}

/* The value of a record: batch number, place in the batch, filler that depends on both. */
static void
fill_value(uint8_t *value, uint32_t value_bytes, uint32_t number, uint32_t index)
{
    put_u32_le(value, number);
    put_u32_le(value + 4, index);
    put_u32_le(value + 8, value_bytes);
    for (uint32_t at = 12; at < value_bytes; at++)
        value[at] = (uint8_t)(number * 131u + index * 17u + at * 7u + at / 251u);
}

uint32_t
engine_model_build(struct engine_model *model, uint32_t number, uint8_t *memory)
{
    const struct engine_batch *batch = engine_model_batch(model, number);
    static uint8_t value[ENGINE_BATCH_BYTES_MAX];
    struct record_builder builder;
    struct record_builder_options options = RECORD_BUILDER_PLAIN;

    options.producer_id = batch->producer_id;
    options.producer_epoch = batch->producer_epoch;
    options.base_sequence = batch->base_sequence;
    record_builder_begin(&builder, memory, ENGINE_BATCH_BYTES_MAX, &options);
    for (uint32_t i = 0; i < batch->records; i++) {
        fill_value(value, batch->value_bytes, number, i);
        struct record record = {
            .timestamp_ms = batch->timestamp_ms,
            .value = {.at = value, .count = batch->value_bytes},
        };
        CHECK(record_builder_add(&builder, &record));
    }
    return record_builder_finish(&builder);
}

bool
engine_model_ack(struct engine_model *model, uint32_t number, int64_t offset, uint64_t now_ns)
{
    struct engine_batch *batch = engine_model_batch(model, number);
    struct engine_topic *topic = &model->topics[batch->topic];
    struct engine_partition *partition = &topic->partitions[batch->partition];

    if (offset < 0)
        return engine_model_fail(model,
                                 "%s/%u: batch %u acknowledged at offset %" PRId64,
                                 topic->name,
                                 batch->partition,
                                 number,
                                 offset);
    CHECK(batch->acked_ns == ENGINE_NEVER);
    batch->acked_ns = now_ns;
    batch->offset = offset;
    model->acked_batches++;
    int64_t end = offset + (int64_t)batch->records;
    if (partition->acked_end < end)
        partition->acked_end = end;
    return true;
}

/* ---- what is told ---- */

int64_t
engine_model_least(const struct engine_model *model, uint32_t topic, uint32_t partition)
{
    const struct engine_topic *of = &model->topics[topic];
    const struct engine_partition *at = &of->partitions[partition];
    if (of->is_memory || of->is_volatile)
        return 0;
    return at->acked_end > at->high_watermark ? at->acked_end : at->high_watermark;
}

bool
engine_model_told(struct engine_model *model,
                  uint32_t topic,
                  uint32_t partition,
                  int64_t high_watermark,
                  int64_t least)
{
    struct engine_topic *of = &model->topics[topic];
    struct engine_partition *at = &of->partitions[partition];

    if (high_watermark < least)
        return engine_model_fail(model,
                                 "%s/%u: high watermark %" PRId64 " told, but %" PRId64
                                 " had been acknowledged or told before the question",
                                 of->name,
                                 partition,
                                 high_watermark,
                                 least);
    if (at->high_watermark < high_watermark)
        at->high_watermark = high_watermark;
    return true;
}

bool
engine_model_identify(struct engine_model *model, uint32_t topic, const struct kafka_uuid *id)
{
    static const struct kafka_uuid none = {0};
    struct engine_topic *of = &model->topics[topic];

    if (memcmp(id, &none, sizeof(none)) == 0)
        return engine_model_fail(model, "%s has no topic id", of->name);
    if (of->is_volatile)
        return true; /* its admin client keeps track */
    if (memcmp(&of->id, &none, sizeof(none)) == 0)
        of->id = *id;
    if (memcmp(&of->id, id, sizeof(none)) != 0)
        return engine_model_fail(model, "%s came back with another topic id", of->name);
    return true;
}

bool
engine_model_producer_id(struct engine_model *model, int64_t id)
{
    for (uint32_t i = 0; i < model->producer_id_count; i++)
        if (model->producer_ids[i] == id)
            return engine_model_fail(model, "producer id %" PRId64 " was handed out twice", id);
    CHECK(model->producer_id_count < ENGINE_PRODUCER_IDS_MAX);
    model->producer_ids[model->producer_id_count++] = id;
    return true;
}

void
engine_model_crash(struct engine_model *model)
{
    for (uint32_t t = 0; t < model->topic_count; t++) {
        struct engine_topic *topic = &model->topics[t];
        for (uint32_t p = 0; topic->is_memory && p < topic->partition_count; p++) {
            topic->partitions[p].seen_count = 0;
            topic->partitions[p].high_watermark = 0;
        }
    }
}

/* ---- reading ---- */

static void
place_add(struct engine_place **places, uint64_t *count, uint64_t at, struct engine_place place)
{
    if (at >= *count) {
        uint64_t grown = at + 1 > *count * 2 ? at + 1 : *count * 2;
        *places = realloc(*places, grown * sizeof(**places));
        CHECK(*places != NULL);
        memset(*places + *count, 0, (grown - *count) * sizeof(**places));
        *count = grown;
    }
    (*places)[at] = place;
}

/* E4: what stands at an offset stays. */
static bool
note_place(struct engine_model *model,
           const struct engine_reading *reading,
           int64_t offset,
           struct engine_place place)
{
    struct engine_topic *topic = &model->topics[reading->topic];
    struct engine_partition *partition = &topic->partitions[reading->partition];
    uint64_t at = (uint64_t)offset;

    model->read_records++;
    if (reading->stored != NULL) {
        struct engine_stored *stored = reading->stored;
        place_add(
            &stored->places, &stored->place_capacity, (uint64_t)(offset - stored->start), place);
        stored->place_count = (uint64_t)(offset - stored->start) + 1;
    }
    if (topic->is_volatile)
        return true;
    if (at < partition->seen_count && partition->seen[at].batch != 0 &&
        (partition->seen[at].batch != place.batch || partition->seen[at].index != place.index))
        return engine_model_fail(model,
                                 "%s/%u offset %" PRId64
                                 ": record %u of batch %u, but record %u of "
                                 "batch %u was read there before",
                                 topic->name,
                                 reading->partition,
                                 offset,
                                 place.index,
                                 place.batch,
                                 partition->seen[at].index,
                                 partition->seen[at].batch);
    place_add(&partition->seen, &partition->seen_count, at, place);
    return true;
}

/* E2: the records of a stored batch are those that were sent. */
static bool
read_batch(struct engine_model *model,
           const struct engine_reading *reading,
           const uint8_t *stored,
           const struct record_batch_info *info)
{
    static uint8_t value[ENGINE_BATCH_BYTES_MAX];
    const struct engine_topic *topic = &model->topics[reading->topic];
    struct record_iterator iterator;
    struct record_view record;
    uint32_t number = 0;
    uint32_t index = 0;
    struct bytes payload = {stored + RECORD_BATCH_HEADER_BYTES,
                            info->batch_bytes - RECORD_BATCH_HEADER_BYTES};

    record_iterator_begin(&iterator, info, payload);
    for (; record_iterator_next(&iterator, &record); index++) {
        if (record.value.count < 12)
            break;
        uint32_t named = get_u32_le(record.value.at);
        if (index == 0)
            number = named;
        if (named == 0 || named != number || number > model->batch_count)
            break;
        const struct engine_batch *batch = engine_model_batch(model, number);
        if (batch->topic != reading->topic || batch->partition != reading->partition ||
            batch->records != info->record_count || batch->value_bytes != record.value.count ||
            batch->producer_id != info->producer_id ||
            batch->base_sequence != info->base_sequence || batch->attempts == 0)
            break;
        fill_value(value, batch->value_bytes, number, index);
        if (memcmp(value, record.value.at, batch->value_bytes) != 0)
            break;
        if (!note_place(model, reading, record.offset, (struct engine_place){number, index}))
            return false;
    }
    if (iterator.rc == RC_OK && index == info->record_count)
        return true;
    return engine_model_fail(model,
                             "%s/%u: the batch at offset %" PRId64
                             " is not what anyone sent there (batch %u, record %u of %u)",
                             topic->name,
                             reading->partition,
                             info->base_offset,
                             number,
                             index,
                             info->record_count);
}

/* Checks of a batch as a whole; next: where it must begin, -1: it must contain the offset asked. */
static bool
check_batch(struct engine_model *model,
            const struct engine_reading *reading,
            const uint8_t *at,
            const struct record_batch_info *info,
            int64_t next)
{
    const char *name = model->topics[reading->topic].name;
    int64_t base = info->base_offset;
    bool joins = next < 0
                     ? base <= reading->offset && record_batch_last_offset(info) >= reading->offset
                     : base == next;
    if (!record_batch_crc_ok(at, info->batch_bytes))
        return engine_model_fail(
            model, "%s/%u offset %" PRId64 ": wrong CRC", name, reading->partition, base);
    if (!joins)
        return engine_model_fail(model,
                                 "%s/%u: %" PRId64 " was asked for, a batch at %" PRId64 " came",
                                 name,
                                 reading->partition,
                                 next < 0 ? reading->offset : next,
                                 base);
    if (reading->stored != NULL && info->leader_epoch < reading->stored->epoch)
        return engine_model_fail(model,
                                 "%s/%u offset %" PRId64 ": leader epoch %d after %d",
                                 name,
                                 reading->partition,
                                 base,
                                 info->leader_epoch,
                                 reading->stored->epoch);
    if (reading->stored != NULL)
        reading->stored->epoch = info->leader_epoch;
    return true;
}

bool
engine_model_read(struct engine_model *model,
                  const struct engine_reading *reading,
                  int64_t *ret_next)
{
    struct bytes left = reading->records;
    int64_t next = -1;

    while (left.count > 0) {
        struct record_batch_info info;
        if (record_batch_read(left.at, left.count, &info) != RC_OK)
            return engine_model_fail(model,
                                     "%s/%u: what was served from offset %" PRId64 " is no batch",
                                     model->topics[reading->topic].name,
                                     reading->partition,
                                     next < 0 ? reading->offset : next);
        if (!check_batch(model, reading, left.at, &info, next) ||
            !read_batch(model, reading, left.at, &info))
            return false;
        next = record_batch_last_offset(&info) + 1;
        left.at += info.batch_bytes;
        left.count -= info.batch_bytes;
    }
    *ret_next = next < 0 ? reading->offset : next;
    return true;
}
