/* What closes a segment for ever: its footer, and the manifest that lists it. */
#include "log/segment/segment.h"

#include "engine/base/check.h"

uint64_t
segment_build_footer(struct segment *segment,
                     const struct segment_history *history,
                     struct segment_space buffer)
{
    const struct format_epoch *epochs = history->epochs;
    uint32_t epoch_count = history->epoch_count;
    struct index_offset_entry offsets[INDEX_ENTRIES_MAX];
    struct index_time_entry times[INDEX_ENTRIES_MAX];
    struct segment_trailer facts = {
        .incarnation = history->incarnation,
        .base_offset = segment->base_offset,
        .next_offset = segment->next_offset,
        .data_bytes = segment->data_bytes,
        .max_timestamp_ms = segment->max_timestamp_ms,
        .max_timestamp_offset = segment->max_timestamp_offset,
        .batch_bytes = segment->batch_bytes,
        .record_count = segment->record_count,
        .file_generation = segment->file_generation,
        .last_epoch = epoch_count > 0 ? epochs[epoch_count - 1].epoch : 0,
        .first_timestamp_ms = segment->first_timestamp_ms,
    };
    struct footer footer;

    CHECK(history->aborted_count <= SEGMENT_ABORTED_MAX);
    footer_begin(&footer, buffer.at, buffer.bytes, &facts);
    /* First, so that the indexes stand near the end, where readers look for them. */
    if (history->aborted_count > 0)
        footer_add(&footer,
                   SECTION_ABORTED,
                   history->aborted,
                   sizeof(history->aborted[0]),
                   history->aborted_count);
    footer_add(&footer,
               SECTION_OFFSET_INDEX,
               offsets,
               sizeof(offsets[0]),
               index_offset_section(history->index, offsets));
    footer_add(&footer,
               SECTION_TIME_INDEX,
               times,
               sizeof(times[0]),
               index_time_section(history->index, times));
    footer_add(&footer, SECTION_EPOCHS, epochs, sizeof(epochs[0]), epoch_count);
    uint64_t bytes = footer_end(&footer);
    if (bytes == 0)
        return 0;
    segment->aborted_count = history->aborted_count;
    segment->aborted_first = UINT64_MAX;
    for (uint32_t i = 0; i < history->aborted_count; i++)
        segment->aborted_first = min_u64(segment->aborted_first, history->aborted[i].first_offset);
    segment->file_bytes = segment->data_bytes + bytes;
    /* The trailer is the footer's last block and ends with its CRC. */
    segment->trailer_crc = get_u32_le(buffer.at + bytes - sizeof(uint32_t));
    return bytes;
}

/* The table behind the entries; NULL when it says nothing. */
static const struct manifest_aborted *
manifest_fill_aborted(const struct segment_pool *pool,
                      const struct segment_list *list,
                      struct manifest_aborted *table,
                      uint32_t count)
{
    bool has_any = false;
    uint32_t at = list->oldest;

    for (uint32_t i = 0; i < count; i++, at = pool->segments[at].newer) {
        const struct segment *segment = &pool->segments[at];
        bool has = segment->aborted_count > 0;
        table[i] = (struct manifest_aborted){
            .first_offset = has ? segment->aborted_first : UINT64_MAX,
            .count = segment->aborted_count,
        };
        has_any = has_any || has;
    }
    return has_any ? table : NULL;
}

uint64_t
segment_build_manifest(const struct segment_pool *pool,
                       const struct segment_list *list,
                       struct manifest_header *header,
                       struct segment_space buffer)
{
    struct manifest_segment *entries =
        (struct manifest_segment *)(void *)(buffer.at + sizeof(struct manifest_header));
    uint32_t count = 0;

    for (uint32_t at = list->oldest; at != SEGMENT_NONE; at = pool->segments[at].newer) {
        const struct segment *segment = &pool->segments[at];
        if (!segment->sealed)
            break;
        if (manifest_bytes_max(count + 1) > buffer.bytes)
            return 0;
        entries[count++] = (struct manifest_segment){
            .base_offset = segment->base_offset,
            .next_offset = segment->next_offset,
            .data_bytes = segment->data_bytes,
            .file_bytes = segment->file_bytes,
            .max_timestamp_ms = segment->max_timestamp_ms,
            .batch_bytes = segment->batch_bytes,
            .file_generation = segment->file_generation,
            .trailer_crc = segment->trailer_crc,
            .sealed_ms = segment->sealed_ms,
        };
    }
    header->segment_count = count;
    return manifest_encode(
        header,
        entries,
        manifest_fill_aborted(
            pool, list, (struct manifest_aborted *)(void *)(entries + count), count),
        buffer.at);
}
