/* What is to be skipped of a cold read that has its batches: what is in memory first, then, segment
 * by segment, what only footers tell.
 *
 * An aborted transaction that touches the batches has its marker in their segment or behind it. All
 * with their marker at or above aborted_from are in memory when the read looks, and that is enough:
 * a transaction below the last stable offset has ended. Of the others the footers of the segments
 * from the first batch up to aborted_from tell; the manifest says which of them reach back so far,
 * so no other is read. Kafka stops at the last stable offset of an entry instead; one that recovery
 * has made again may be too high for that (it does not know who was open beside it).
 *
 * The segment of the batches stays in use meanwhile, so no compaction after its own takes a marker
 * away that they need. */
#include "log/read/cold.h"

#include "engine/base/check.h"

#define COLD_SKIPS_SEGMENTS_PER_POLL 512u

void
cold__skips_begin(struct log *log, const struct partition *partition, struct cold_read *read)
{
    if (read->chunk != LOG_NONE)
        cold__put(log, read->chunk);
    read->chunk = LOG_NONE;
    read->step = COLD_SKIPS;
    read->skips_known = partition->transactions.aborted_from;
    read->skips_segment = SEGMENT_NONE;
    skips_begin(&read->skips, &read->request, read->bytes);
    read->skips_at = read->skips.from;
    /* Some below aborted_from stand in memory because no footer has them. */
    skips_add_kept(&read->skips, log, partition, 0);
}

/* The next segment whose footer is needed, into read->skips_segment; SEGMENT_NONE and true: none.
 * False: not all were looked at yet. */
static bool
skips_next(const struct log *log, const struct partition *partition, struct cold_read *read)
{
    uint32_t at = segment_find(&log->segments, &partition->segments, read->skips_at);

    for (uint32_t i = 0; i < COLD_SKIPS_SEGMENTS_PER_POLL; i++) {
        const struct segment *segment = &log->segments.segments[at];
        if (at == SEGMENT_NONE || !segment->sealed || segment->base_offset >= read->skips_known)
            return true;
        if (segment->aborted_count > 0 && segment->aborted_first < read->skips.until) {
            read->skips_segment = at;
            return true;
        }
        read->skips_at = segment->next_offset;
        at = segment->newer;
    }
    return false;
}

/* Takes in the section of a footer that stands in a chunk; false: it is damaged. */
static bool
skips_take(const struct log *log, struct cold_read *read)
{
    const struct segment *segment = &log->segments.segments[read->skips_segment];
    const struct cold_chunk *chunk = &log->cold->chunks[read->chunk];
    const uint8_t *bytes = cold__bytes(log, read->chunk);
    struct segment_trailer trailer;

    if (chunk->position + chunk->count != segment->file_bytes ||
        trailer_check(bytes + chunk->count - FORMAT_BLOCK_BYTES,
                      read->request.incarnation,
                      segment->base_offset,
                      segment->file_bytes,
                      &trailer) != RC_OK)
        return false;
    const struct section *section = trailer_section(&trailer, SECTION_ABORTED);
    if (section == NULL || section->entry_bytes != sizeof(struct aborted_entry) ||
        section->bytes != segment->aborted_count * sizeof(struct aborted_entry) ||
        section->position < chunk->position ||
        section->position + section->bytes > segment->file_bytes)
        return false;
    const uint8_t *at = bytes + (section->position - chunk->position);
    if (!section_is_intact(section, at))
        return false;
    const struct aborted_entry *entries = (const void *)at;
    for (uint32_t i = 0; i < segment->aborted_count; i++)
        if (entries[i].last_offset < read->skips_known)
            skips_add(&read->skips, &entries[i]);
    return true;
}

static enum rc
skips_damaged(const struct log *log, const struct cold_read *read)
{
    diag_error("segment_footer_damaged",
               "incarnation=%llu segment=%llu doing=committed_reads_fail",
               (unsigned long long)read->request.incarnation,
               (unsigned long long)log->segments.segments[read->skips_segment].base_offset);
    return RC_CORRUPT;
}

/* The footer's chunk is there, or cannot be had. */
static enum rc
skips_footer(struct log *log, struct cold_read *read)
{
    const struct segment *segment = &log->segments.segments[read->skips_segment];

    if (read->chunk == LOG_NONE) {
        enum cold_get got = segment->file_bytes - segment->data_bytes > LOG_COLD_BYTES
                                ? COLD_GET_FAILED
                                : cold__get(
                                      log, read->skips_segment, segment->data_bytes, &read->chunk);
        if (got == COLD_GET_FAILED)
            return RC_IO_ERROR;
        if (got != COLD_GET_READY)
            return RC_AGAIN;
    }
    if (log->cold->chunks[read->chunk].state == COLD_FAILED)
        return RC_IO_ERROR;
    if (log->cold->chunks[read->chunk].state != COLD_READY)
        return RC_AGAIN;
    return skips_take(log, read) ? RC_OK : skips_damaged(log, read);
}

enum rc
cold__skips_step(struct log *log, struct cold_read *read)
{
    const struct partition *partition = partition_of(
        log, read->request.slot, read->request.incarnation);
    struct segment *segments = log->segments.segments;

    if (read->skips_segment == SEGMENT_NONE) {
        if (partition == NULL)
            return RC_NOT_FOUND; /* the answer says so */
        if (!skips_next(log, partition, read))
            return RC_AGAIN;
        if (read->skips_segment == SEGMENT_NONE)
            return RC_NOT_FOUND;
        segments[read->skips_segment].readers++;
    }
    enum rc rc = skips_footer(log, read);
    if (rc == RC_AGAIN)
        return rc;
    if (read->chunk != LOG_NONE)
        cold__put(log, read->chunk);
    read->chunk = LOG_NONE;
    read->skips_at = segments[read->skips_segment].next_offset;
    segments[read->skips_segment].readers--;
    read->skips_segment = SEGMENT_NONE;
    return rc;
}
