/* The footer of a sealed segment: trailer, sections, and whether their entries point at what is
 * there. Sections are loaded whole before the walk over the runs, which meets their entries in
 * order: every entry must be met by a batch that fits it. */
#include "engine/inspect/inspect_inner.h"

#include <string.h>

static void
find_in_footer(struct inspect *inspect,
               const struct inspect_segment *segment,
               uint64_t position,
               const char *what)
{
    inspect__find(inspect, INSPECT_AT(INSPECT_WARNING, "V5", segment->path, position), "%s", what);
}

/* ---- what each section must look like by itself; the entry that does not, or count ---- */

static uint64_t
offsets_unsorted(const struct index_offset_entry *entries, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        if (entries[i].offset_delta <= entries[i - 1].offset_delta ||
            entries[i].position <= entries[i - 1].position)
            return i;
    return count;
}

static uint64_t
times_unsorted(const struct index_time_entry *entries, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        if (entries[i].max_timestamp_ms <= entries[i - 1].max_timestamp_ms ||
            entries[i].offset_delta <= entries[i - 1].offset_delta)
            return i;
    return count;
}

static uint64_t
aborted_unsorted(const struct aborted_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (entries[i].first_offset > entries[i].last_offset || entries[i].producer_id < 0 ||
            (i > 0 && entries[i].last_offset < entries[i - 1].last_offset))
            return i;
    return count;
}

static uint64_t
epochs_unsorted(const struct format_epoch *entries, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        if (entries[i].epoch <= entries[i - 1].epoch ||
            entries[i].start_offset < entries[i - 1].start_offset)
            return i;
    return count;
}

static uint64_t
producers_wrong(const struct format_producer *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (entries[i].producer_id < 0 || entries[i].batch_count > PRODUCER_BATCHES)
            return i;
    return count;
}

struct section_kind {
    const char *name;
    uint32_t entry_bytes;
};

static const struct section_kind kinds[] = {
    [SECTION_OFFSET_INDEX] = {"offset index", sizeof(struct index_offset_entry)},
    [SECTION_TIME_INDEX] = {"time index", sizeof(struct index_time_entry)},
    [SECTION_ABORTED] = {"aborted transactions", sizeof(struct aborted_entry)},
    [SECTION_PRODUCERS] = {"producers", sizeof(struct format_producer)},
    [SECTION_EPOCHS] = {"leader epochs", sizeof(struct format_epoch)},
};

/* Takes a whole section: checks its order and keeps what the walk will meet. */
static void
take_section(struct inspect *inspect,
             const struct inspect_segment *segment,
             struct inspect_footer *footer,
             const struct section *section,
             const uint8_t *at)
{
    uint64_t count = section->bytes / section->entry_bytes;
    uint64_t wrong = count;

    switch (section->type) {
    case SECTION_OFFSET_INDEX:
        footer->offsets = (const void *)at;
        footer->offset_count = count;
        wrong = offsets_unsorted(footer->offsets, count);
        break;
    case SECTION_TIME_INDEX:
        footer->times = (const void *)at;
        footer->time_count = count;
        wrong = times_unsorted(footer->times, count);
        break;
    case SECTION_ABORTED:
        footer->aborted = (const void *)at;
        footer->aborted_count = count;
        wrong = aborted_unsorted(footer->aborted, count);
        break;
    case SECTION_PRODUCERS:
        wrong = producers_wrong((const void *)at, count);
        break;
    case SECTION_EPOCHS:
        wrong = epochs_unsorted((const void *)at, count);
        break;
    default:
        return;
    }
    if (wrong < count)
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING,
                                 "V5",
                                 segment->path,
                                 section->position + wrong * section->entry_bytes),
                      "%s: entry %llu is out of order or impossible",
                      kinds[section->type].name,
                      (unsigned long long)wrong);
}

static void
read_sections(struct inspect *inspect,
              const struct inspect_segment *segment,
              const struct inspect_file *file,
              struct inspect_footer *footer)
{
    const struct segment_trailer *trailer = &footer->trailer;
    uint64_t bytes = trailer->file_bytes - FORMAT_BLOCK_BYTES - trailer->data_bytes;
    size_t count = 0;

    if (bytes > INSPECT_SECTIONS_BYTES_MAX) {
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_NOTE, "V7", segment->path, trailer->data_bytes),
                      "a footer of %llu bytes is not looked at",
                      (unsigned long long)bytes);
        return;
    }
    enum rc rc = disk_read(
        inspect->disk, file->fd, inspect->sections, bytes, trailer->data_bytes, &count);
    if (rc != RC_OK || count < bytes) {
        find_in_footer(inspect, segment, trailer->data_bytes, "the sections cannot be read");
        return;
    }
    inspect__progress(inspect, count);
    for (uint32_t i = 0; i < trailer->section_count; i++) {
        const struct section *section = &trailer->sections[i];
        const uint8_t *at = inspect->sections + (section->position - trailer->data_bytes);
        bool is_known = section->type < ARRAY_COUNT(kinds) && kinds[section->type].name != NULL;
        if (!section_is_intact(section, at) && section->type == SECTION_ABORTED)
            find_in_footer(
                inspect, segment, section->position, "aborted transactions: checksum mismatch");
        else if (!section_is_intact(section, at))
            inspect__find(inspect,
                          INSPECT_AT(INSPECT_WARNING, "V5", segment->path, section->position),
                          "section %u (%s): checksum mismatch; it can be rebuilt from the runs",
                          section->type,
                          is_known ? kinds[section->type].name : "unknown");
        else if (is_known && section->entry_bytes == kinds[section->type].entry_bytes)
            take_section(inspect, segment, footer, section, at);
        else
            inspect__find(inspect,
                          INSPECT_AT(INSPECT_NOTE, "V5", segment->path, section->position),
                          "section of unknown type %u",
                          section->type);
    }
}

/* The trailer against the manifest's entry: each says what the other does. */
static void
compare_listed(struct inspect *inspect,
               const struct inspect_segment *segment,
               const struct segment_trailer *trailer)
{
    const struct manifest_segment *listed = segment->listed;
    const char *what = NULL;

    if (trailer->crc != listed->trailer_crc)
        what = "trailer CRC";
    else if (trailer->next_offset != listed->next_offset)
        what = "next offset";
    else if (trailer->data_bytes != listed->data_bytes)
        what = "data bytes";
    else if (trailer->batch_bytes != listed->batch_bytes)
        what = "batch bytes";
    else if (trailer->max_timestamp_ms != listed->max_timestamp_ms)
        what = "max timestamp";
    else if (trailer->file_generation != listed->file_generation)
        what = "file generation";
    if (what != NULL)
        inspect__find(
            inspect,
            INSPECT_AT(
                INSPECT_DAMAGE, "V2", segment->path, trailer->file_bytes - FORMAT_BLOCK_BYTES),
            "trailer and manifest differ: %s",
            what);
}

/* Readers rely on what the manifest tells of the list: it is as long and reaches back as far. */
static void
compare_aborted(struct inspect *inspect,
                const struct inspect_segment *segment,
                const struct inspect_footer *footer)
{
    const struct section *section = trailer_section(&footer->trailer, SECTION_ABORTED);
    uint64_t first = UINT64_MAX;

    if (segment->aborted == NULL || segment->aborted->count == 0)
        return;
    uint64_t count = section == NULL ? 0 : section->bytes / sizeof(struct aborted_entry);
    for (uint64_t i = 0; i < footer->aborted_count; i++)
        first = min_u64(first, footer->aborted[i].first_offset);
    if (count != segment->aborted->count ||
        (footer->aborted_count > 0 && first != segment->aborted->first_offset))
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_DAMAGE,
                                 "V2",
                                 segment->path,
                                 footer->trailer.file_bytes - FORMAT_BLOCK_BYTES),
                      "trailer and manifest differ: aborted transactions, %llu, not %u",
                      (unsigned long long)count,
                      segment->aborted->count);
}

void
inspect__read_footer(struct inspect *inspect,
                     struct inspect_file *file,
                     const struct inspect_segment *segment,
                     struct inspect_footer *ret_footer)
{
    uint8_t block[FORMAT_BLOCK_BYTES];
    size_t count = 0;
    uint64_t position = file->bytes - FORMAT_BLOCK_BYTES;

    memset(ret_footer, 0, sizeof(*ret_footer));
    enum rc rc = file->bytes < FORMAT_BLOCK_BYTES
                     ? RC_TRUNCATED
                     : disk_read(inspect->disk, file->fd, block, sizeof(block), position, &count);
    if (rc == RC_OK)
        rc = trailer_check(block,
                           inspect->current->incarnation,
                           segment->base_offset,
                           file->bytes,
                           &ret_footer->trailer);
    if (rc != RC_OK) {
        inspect__find(
            inspect,
            INSPECT_AT(INSPECT_DAMAGE, "V5", segment->path, rc == RC_TRUNCATED ? 0 : position),
            "trailer: %s",
            rc == RC_NOT_FOUND ? "there is none" : rc_text(rc));
        return;
    }
    ret_footer->is_whole = true;
    compare_listed(inspect, segment, &ret_footer->trailer);
    read_sections(inspect, segment, file, ret_footer);
    compare_aborted(inspect, segment, ret_footer);
}

/* ---- meeting the entries on the walk ---- */

static void
meet_offset(struct inspect *inspect,
            const struct inspect_segment *segment,
            struct inspect_footer *footer,
            const struct inspect_batch *batch)
{
    for (; footer->offset_at < footer->offset_count; footer->offset_at++) {
        const struct index_offset_entry *entry = &footer->offsets[footer->offset_at];
        uint64_t offset = segment->base_offset + entry->offset_delta;
        if (entry->position > batch->position)
            return;
        if (entry->position == batch->position &&
            entry->position - entry->run_back == batch->run_position &&
            offset == record_batch_base_offset(batch->at))
            continue;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V5", segment->path, entry->position),
                      "offset index: entry %llu (offset %llu) points at no batch of that offset",
                      (unsigned long long)footer->offset_at,
                      (unsigned long long)offset);
    }
}

static void
meet_time(struct inspect *inspect,
          const struct inspect_segment *segment,
          struct inspect_footer *footer,
          const struct inspect_batch *batch,
          const struct inspect_walk *walk)
{
    uint64_t base_offset = record_batch_base_offset(batch->at);

    for (; footer->time_at < footer->time_count; footer->time_at++) {
        const struct index_time_entry *entry = &footer->times[footer->time_at];
        uint64_t offset = segment->base_offset + entry->offset_delta;
        if (offset > base_offset)
            return;
        if (offset == base_offset &&
            record_batch_max_timestamp(batch->at) == entry->max_timestamp_ms &&
            walk->max_timestamp_ms < entry->max_timestamp_ms)
            continue;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V5", segment->path, batch->position),
                      "time index: entry %llu (time %lld, offset %llu) points at no batch that "
                      "reached that time",
                      (unsigned long long)footer->time_at,
                      (long long)entry->max_timestamp_ms,
                      (unsigned long long)offset);
    }
}

static void
meet_aborted(struct inspect *inspect,
             const struct inspect_segment *segment,
             struct inspect_footer *footer,
             const struct inspect_batch *batch)
{
    struct record_batch_info info;

    if (footer->aborted_at == footer->aborted_count ||
        record_batch_read(batch->at, batch->bytes, &info) != RC_OK)
        return;
    for (; footer->aborted_at < footer->aborted_count; footer->aborted_at++) {
        const struct aborted_entry *entry = &footer->aborted[footer->aborted_at];
        if ((int64_t)entry->last_offset > record_batch_last_offset(&info))
            return;
        if ((int64_t)entry->last_offset >= info.base_offset &&
            info.producer_id == entry->producer_id &&
            (info.attributes & RECORD_ATTRIBUTES_CONTROL) != 0)
            continue;
        inspect__find(inspect,
                      INSPECT_AT(INSPECT_WARNING, "V5", segment->path, batch->position),
                      "aborted transactions: entry %llu (producer %lld) has no marker at offset "
                      "%llu",
                      (unsigned long long)footer->aborted_at,
                      (long long)entry->producer_id,
                      (unsigned long long)entry->last_offset);
    }
}

void
inspect__meet_indexes(struct inspect *inspect,
                      const struct inspect_segment *segment,
                      struct inspect_footer *footer,
                      const struct inspect_batch *batch,
                      const struct inspect_walk *walk)
{
    meet_offset(inspect, segment, footer, batch);
    meet_time(inspect, segment, footer, batch, walk);
    meet_aborted(inspect, segment, footer, batch);
}

/* The trailer's sums against what was walked. Compaction leaves gaps, so its record count may be
 * that of the records that are left. */
static const char *
sums_wrong(const struct segment_trailer *trailer, const struct inspect_walk *walk)
{
    bool is_compacted = trailer->file_generation > 0;

    if (trailer->next_offset < walk->next_offset ||
        (trailer->next_offset != walk->next_offset && !is_compacted))
        return "next offset";
    if (trailer->batch_bytes != walk->batch_bytes)
        return "batch bytes";
    if (trailer->max_timestamp_ms != walk->max_timestamp_ms)
        return "max timestamp";
    if (walk->batches > 0 && trailer->max_timestamp_ms >= 0 &&
        trailer->max_timestamp_offset != walk->max_timestamp_offset)
        return "offset of the max timestamp";
    if (trailer->record_count != walk->record_count && trailer->record_count != walk->records &&
        trailer->record_count != trailer->next_offset - trailer->base_offset)
        return "record count";
    return NULL;
}

void
inspect__end_footer(struct inspect *inspect,
                    const struct inspect_segment *segment,
                    const struct inspect_footer *footer,
                    const struct inspect_walk *walk)
{
    const struct segment_trailer *trailer = &footer->trailer;

    if (walk->is_damaged || !footer->is_whole)
        return;
    const char *what = sums_wrong(trailer, walk);
    if (what != NULL)
        inspect__find(
            inspect,
            INSPECT_AT(
                INSPECT_WARNING, "V4", segment->path, trailer->file_bytes - FORMAT_BLOCK_BYTES),
            "trailer does not agree with the runs: %s",
            what);
    if (footer->offset_at < footer->offset_count)
        find_in_footer(
            inspect, segment, trailer->data_bytes, "offset index: entries behind the last batch");
    if (footer->time_at < footer->time_count)
        find_in_footer(
            inspect, segment, trailer->data_bytes, "time index: entries behind the last batch");
    if (footer->aborted_at < footer->aborted_count)
        find_in_footer(inspect,
                       segment,
                       trailer->data_bytes,
                       "aborted transactions: entries behind the last batch");
}
