/* The verdict over one partition; the rule is in engine_model.h. */
#include "engine_model.h"

#include "engine/base/check.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where a batch stands; stands UINT32_MAX times at most. */
struct found {
    int64_t offset; /* of its first record at its first place; -1: nowhere */
    uint32_t times;
};

struct verdict {
    struct engine_model *model;
    const struct engine_topic *topic;
    uint32_t topic_idx;
    uint32_t partition;
    const struct engine_stored *stored;
    struct found *found; /* [batch_count + 1], by number */
};

/* E1: the places are whole, and the end is behind the last. */
static bool
judge_whole(struct verdict *verdict)
{
    const struct engine_stored *stored = verdict->stored;
    if (stored->start + (int64_t)stored->place_count != stored->end)
        return engine_model_fail(verdict->model,
                                 "%s/%u: ends at %" PRId64 ", but only [%" PRId64 ", %" PRId64
                                 ") can be read",
                                 verdict->topic->name,
                                 verdict->partition,
                                 stored->end,
                                 stored->start,
                                 stored->start + (int64_t)stored->place_count);
    for (uint64_t i = 0; i < stored->place_count; i++) {
        struct engine_place place = stored->places[i];
        struct found *found = &verdict->found[place.batch];
        if (place.batch == 0)
            return engine_model_fail(verdict->model,
                                     "%s/%u: nothing at offset %" PRId64,
                                     verdict->topic->name,
                                     verdict->partition,
                                     stored->start + (int64_t)i);
        if (place.index != 0 && found->times > 0)
            continue;
        if (found->times == 0)
            found->offset = stored->start + (int64_t)i - place.index;
        found->times++;
    }
    return true;
}

/* E3: acknowledged means stored. */
static bool
judge_acked(struct verdict *verdict, uint32_t number)
{
    const struct engine_batch *batch = engine_model_batch(verdict->model, number);
    const struct engine_topic *topic = verdict->topic;
    const struct engine_stored *stored = verdict->stored;

    if (batch->acked_ns == ENGINE_NEVER || topic->is_memory)
        return true;
    if (topic->is_volatile && (topic->is_unsure || batch->sent_ns < topic->created_ns))
        return true;
    if (batch->offset + (int64_t)batch->records <= stored->start)
        return true; /* went with its segment */
    int64_t at = batch->offset - stored->start;
    for (uint32_t i = at < 0 ? (uint32_t)-at : 0; i < batch->records; i++) {
        uint64_t place = (uint64_t)(at + (int64_t)i);
        if (place < stored->place_count && stored->places[place].batch == number &&
            stored->places[place].index == i)
            continue;
        return engine_model_fail(
            verdict->model,
            "%s/%u: batch %u of producer %u was acknowledged at offset %" PRId64
            " and is not there (partition [%" PRId64 ", %" PRId64
            "), batch stands %u times, first at %" PRId64 ")",
            topic->name,
            verdict->partition,
            number,
            batch->producer,
            batch->offset,
            stored->start,
            stored->end,
            verdict->found[number].times,
            verdict->found[number].offset);
    }
    return true;
}

/* E4: whatever a consumer has read is still there. */
static bool
judge_seen(struct verdict *verdict)
{
    const struct engine_partition *partition = &verdict->topic->partitions[verdict->partition];
    if (verdict->topic->is_memory || verdict->topic->is_volatile)
        return true;
    for (uint64_t i = partition->seen_count; i > 0; i--) {
        if (partition->seen[i - 1].batch == 0)
            continue;
        if ((int64_t)i <= verdict->stored->end)
            return true; /* the same places were compared while reading */
        return engine_model_fail(verdict->model,
                                 "%s/%u: a consumer read offset %" PRIu64
                                 ", but the partition ends at %" PRId64,
                                 verdict->topic->name,
                                 verdict->partition,
                                 i - 1,
                                 verdict->stored->end);
    }
    return true;
}

/* E5: once each, in order, no hole. last: the former batch of this producer here. */
static bool
judge_idempotent(struct verdict *verdict, uint32_t number, const struct engine_batch *last)
{
    const struct engine_batch *batch = engine_model_batch(verdict->model, number);
    const struct found *found = &verdict->found[number];

    if (found->times > 1)
        return engine_model_fail(verdict->model,
                                 "%s/%u: batch %u of idempotent producer %" PRId64
                                 " stands %u times",
                                 verdict->topic->name,
                                 verdict->partition,
                                 number,
                                 batch->producer_id,
                                 found->times);
    if (found->times == 0 || last == NULL || last->producer_id != batch->producer_id)
        return true;
    const struct found *before = &verdict->found[last - verdict->model->batches + 1];
    bool gone = before->times == 0 && verdict->stored->start > 0;
    if (gone || (before->times > 0 && before->offset < found->offset))
        return true;
    return engine_model_fail(verdict->model,
                             "%s/%u: batch %u of idempotent producer %" PRId64 " stands at %" PRId64
                             ", the one before it %s",
                             verdict->topic->name,
                             verdict->partition,
                             number,
                             batch->producer_id,
                             found->offset,
                             before->times == 0 ? "nowhere" : "behind it");
}

/* E8: what was acknowledged before a deletion began is not in the topic made after it. */
static bool
judge_deleted(struct verdict *verdict, uint32_t number)
{
    const struct engine_batch *batch = engine_model_batch(verdict->model, number);
    const struct engine_topic *topic = verdict->topic;

    if (!topic->is_volatile || topic->is_unsure || batch->attempts > 1 ||
        verdict->found[number].times == 0 || batch->acked_ns == ENGINE_NEVER ||
        batch->acked_ns >= topic->deleting_ns)
        return true;
    return engine_model_fail(verdict->model,
                             "%s/%u: batch %u was acknowledged before its topic was deleted, and "
                             "stands at %" PRId64 " of the new one",
                             topic->name,
                             verdict->partition,
                             number,
                             verdict->found[number].offset);
}

static bool
judge_batches(struct verdict *verdict)
{
    struct engine_model *model = verdict->model;
    const struct engine_batch *last[64] = {NULL};  /* by producer */
    const struct engine_batch *first[64] = {NULL}; /* the last one acknowledged at once */

    for (uint32_t number = 1; number <= model->batch_count; number++) {
        const struct engine_batch *batch = engine_model_batch(model, number);
        if (batch->topic != verdict->topic_idx || batch->partition != verdict->partition)
            continue;
        CHECK(batch->producer < ARRAY_COUNT(last));
        if (!judge_acked(verdict, number) || !judge_deleted(verdict, number))
            return false;
        if (batch->producer_id >= 0 && !judge_idempotent(verdict, number, last[batch->producer]))
            return false;
        last[batch->producer] = batch;
        if (batch->attempts != 1 || batch->acked_ns == ENGINE_NEVER || verdict->topic->is_memory ||
            verdict->topic->is_volatile)
            continue;
        const struct engine_batch *before = first[batch->producer];
        if (before != NULL && before->offset >= batch->offset)
            return engine_model_fail(model,
                                     "%s/%u: batches of producer %u were acknowledged at %" PRId64
                                     " and then %" PRId64,
                                     verdict->topic->name,
                                     verdict->partition,
                                     batch->producer,
                                     before->offset,
                                     batch->offset); /* E6 */
        first[batch->producer] = batch;
    }
    return true;
}

bool
engine_model_judge(struct engine_model *model,
                   uint32_t topic,
                   uint32_t partition,
                   const struct engine_stored *stored)
{
    struct verdict verdict = {
        .model = model,
        .topic = &model->topics[topic],
        .topic_idx = topic,
        .partition = partition,
        .stored = stored,
        .found = calloc(model->batch_count + 1, sizeof(struct found)),
    };
    CHECK(verdict.found != NULL);
    bool good = judge_whole(&verdict) && judge_seen(&verdict) && judge_batches(&verdict);
    free(verdict.found);
    return good;
}
