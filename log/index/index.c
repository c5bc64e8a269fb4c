#include "log/index/index.h"

#include "engine/base/check.h"

void
index_init(struct index *index, struct index_entry *entries)
{
    *index = (struct index){.entries = entries};
    index_clear(index);
}

void
index_clear(struct index *index)
{
    index->count = 0;
    index->step_bytes = INDEX_STEP_BYTES;
}

static void
index_thin(struct index *index)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < index->count; i += 2)
        index->entries[kept++] = index->entries[i];
    index->count = kept;
    index->step_bytes *= 2;
}

void
index_add(struct index *index, const struct index_entry *run)
{
    if (index->count > 0) {
        const struct index_entry *last = &index->entries[index->count - 1];
        DCHECK(run->offset_delta > last->offset_delta);
        DCHECK(run->block > last->block);
        if ((uint64_t)(run->block - last->block) * FORMAT_BLOCK_BYTES < index->step_bytes)
            return;
    }
    if (index->count == INDEX_ENTRIES_MAX)
        index_thin(index);
    index->entries[index->count++] = *run;
}

uint64_t
index_find_offset(const struct index *index, uint32_t offset_delta)
{
    uint32_t low = 0; /* entries below low begin at or before the offset */
    uint32_t high = index->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entries[middle].offset_delta <= offset_delta)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : (uint64_t)index->entries[low - 1].block * FORMAT_BLOCK_BYTES;
}

uint64_t
index_find_time(const struct index *index, int64_t time_ms)
{
    uint32_t low = 0; /* entries below low have only earlier timestamps before them */
    uint32_t high = index->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entries[middle].max_before_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : (uint64_t)index->entries[low - 1].block * FORMAT_BLOCK_BYTES;
}

uint32_t
index_offset_section(const struct index *index, struct index_offset_entry *ret_entries)
{
    for (uint32_t i = 0; i < index->count; i++)
        ret_entries[i] = (struct index_offset_entry){
            .offset_delta = index->entries[i].offset_delta,
            .run_back = RUN_HEADER_BYTES,
            .position = (uint64_t)index->entries[i].block * FORMAT_BLOCK_BYTES + RUN_HEADER_BYTES,
        };
    return index->count;
}

uint32_t
index_time_section(const struct index *index, struct index_time_entry *ret_entries)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < index->count; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (entry->max_before_ms < 0)
            continue;
        if (count > 0 && ret_entries[count - 1].max_timestamp_ms == entry->max_before_ms)
            continue;
        ret_entries[count++] = (struct index_time_entry){
            .max_timestamp_ms = entry->max_before_ms,
            .offset_delta = entry->max_delta,
        };
    }
    return count;
}

uint64_t
index_section_find(const struct index_offset_entry *entries, uint32_t count, uint32_t offset_delta)
{
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entries[middle].offset_delta <= offset_delta)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || entries[low - 1].position < entries[low - 1].run_back)
        return 0;
    return entries[low - 1].position - entries[low - 1].run_back;
}

uint32_t
index_time_section_find(const struct index_time_entry *entries, uint32_t count, int64_t time_ms)
{
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entries[middle].max_timestamp_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : entries[low - 1].offset_delta;
}
