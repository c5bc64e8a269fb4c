/* Pass 1: the newest offset of each key of the dirty part, as far as the map reaches.
 *
 * The map ends at the first batch that does not fit any more, or that begins a transaction whose
 * end lies behind what is read: whether its records count is not known. What stands at or above the
 * end is copied as it is and looked at by the next run. */
#include "log/compact/compactor_inner.h"

#include "engine/base/check.h"

static struct bytes
producer_name(const struct record_batch_info *info)
{
    return (struct bytes){.at = (const uint8_t *)&info->producer_id,
                          .count = sizeof(info->producer_id)};
}

static enum rc
map_cut(struct compactor *compactor, uint64_t end)
{
    compactor->link->task.map_end = end;
    compactor->is_map_full = true;
    return RC_NOT_FOUND;
}

/* Every record of the batch is one; only then any of it counts. */
static bool
map_is_sound(const struct record_batch_info *info, struct bytes payload)
{
    struct record_iterator iterator;
    struct record_view record;

    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record))
        ;
    return iterator.rc == RC_OK;
}

static void
map_records(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    struct record_iterator iterator;
    struct record_view record;
    struct bytes payload;

    if (record_payload(
            batch, info, compactor->filter.unpacked, RECORD_FILTER_BUFFER_BYTES, &payload) !=
            RC_OK ||
        !map_is_sound(info, payload))
        return; /* it stays whole: see compactor_copy.c */
    record_iterator_begin(&iterator, info, payload);
    while (record_iterator_next(&iterator, &record))
        if (record.key.at != NULL)
            compact_map_put(&compactor->map, COMPACT_MAP_KEY, record.key, (uint64_t)record.offset);
}

static enum rc
map_batch(struct compactor *compactor, const uint8_t *batch, const struct record_batch_info *info)
{
    struct compact_task *task = &compactor->link->task;
    uint64_t base = (uint64_t)info->base_offset;
    uint64_t last = (uint64_t)record_batch_last_offset(info);
    bool is_transactional = (info->attributes & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0;

    if (last < task->cleaned_offset)
        return RC_OK;
    if (last >= compactor->limit || !compact_map_has_room(&compactor->map, info->record_count + 1))
        return map_cut(compactor, base);
    if (info->producer_id >= 0)
        compact_map_put(&compactor->map, COMPACT_MAP_PRODUCER, producer_name(info), last);
    if (is_transactional) {
        struct compactor_open *open = compactor__open(compactor, info->producer_id);
        if (open == NULL)
            return map_cut(compactor, base);
        if ((info->attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
            open->first_offset = UINT64_MAX;
        else
            open->first_offset = min_u64(open->first_offset, base);
    }
    if ((info->attributes & RECORD_ATTRIBUTES_CONTROL) == 0 &&
        !(is_transactional && compactor__aborted(compactor, info->producer_id, base) != NULL))
        map_records(compactor, batch, info);
    task->map_end = last + 1;
    return RC_OK;
}

/* Of the transactions that are open where pass 1 has ended, the first offset. */
static uint64_t
map_first_undecided(const struct compactor *compactor)
{
    uint64_t first = UINT64_MAX;

    for (uint32_t i = 0; i < COMPACTOR_OPEN_MAX; i++)
        if (compactor->open[i].is_used)
            first = min_u64(first, compactor->open[i].first_offset);
    return first;
}

void
compactor__map_begin(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    uint32_t input = 0;

    while (input < task->input_count && task->inputs[input].next_offset <= task->cleaned_offset)
        input++;
    compact_map_clear(&compactor->map);
    compactor__open_clear(compactor);
    compactor->is_map_full = false;
    task->map_end = task->cleaned_offset;
    compactor__reader_set(compactor, input);
}

/* The whole range is read, or the map is full. Who has a transaction open here may have ended it
 * behind what was read: its keys must not count, so the map is made again up to its first record.
 * Once is enough: whatever began before that record was seen to end. */
static enum rc
map_end(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;
    uint64_t undecided = map_first_undecided(compactor);

    compactor__reader_close(compactor);
    if (!compactor->is_map_full)
        task->map_end = task->inputs[task->input_count - 1].next_offset;
    if (undecided < task->map_end && compactor->limit == UINT64_MAX) {
        compactor->limit = undecided;
        compactor__map_begin(compactor);
        return RC_OK;
    }
    /* One batch alone is too much for the map; or a transaction has to end first. */
    if (task->map_end <= task->cleaned_offset)
        return compactor->limit == UINT64_MAX ? RC_LIMIT : RC_AGAIN;
    return RC_NOT_FOUND;
}

enum rc
compactor__map_step(struct compactor *compactor)
{
    struct compact_task *task = &compactor->link->task;

    if (compactor->reader.input == task->input_count)
        return map_end(compactor);
    enum rc rc = compactor__window(compactor, map_batch);
    if (rc != RC_NOT_FOUND)
        return rc;
    if (compactor->is_map_full)
        return map_end(compactor);
    compactor__reader_set(compactor, compactor->reader.input + 1);
    return RC_OK;
}
