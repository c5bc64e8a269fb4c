/* Segment layout: runs, footers, trailers. The order of the checks is that of FORMAT.md
 * section 4.3. */
#include "log/format/segment_format.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

uint32_t
run_prefix_crc(uint32_t crc, const uint8_t *batch)
{
    return hash_crc32c(crc, batch, BATCH_PREFIX_BYTES);
}

void
run_header_encode(const struct run_header *header, uint8_t *ret_bytes)
{
    struct run_header sealed = *header;

    sealed.magic = RUN_MAGIC;
    sealed.version = FORMAT_VERSION;
    sealed.zero_a = 0;
    sealed.zero_b = 0;
    sealed.crc = hash_crc32c(0, &sealed, offsetof(struct run_header, crc));
    __builtin_memcpy(ret_bytes, &sealed, sizeof(sealed));
}

enum rc
run_header_check(const uint8_t *bytes, const struct run_place *place, struct run_header *ret_header)
{
    struct run_header header;

    __builtin_memcpy(&header, bytes, sizeof(header));
    if (header.magic != RUN_MAGIC)
        return RC_NOT_FOUND;
    if (header.crc != hash_crc32c(0, &header, offsetof(struct run_header, crc)))
        return RC_CORRUPT;
    if (header.version > FORMAT_VERSION)
        return RC_NEWER_FORMAT;
    if (header.version == 0 || header.incarnation != place->incarnation ||
        header.segment_base_offset != place->segment_base_offset)
        return RC_CORRUPT;
    if ((uint64_t)header.block * FORMAT_BLOCK_BYTES != place->position)
        return RC_CORRUPT;
    if (header.batch_bytes < BATCH_HEADER_BYTES || header.batch_bytes > RUN_BATCH_BYTES_MAX)
        return RC_CORRUPT;
    if (header.batch_count == 0 || header.base_offset < header.segment_base_offset ||
        header.last_offset < header.base_offset || header.last_offset > INT64_MAX)
        return RC_CORRUPT;
    *ret_header = header;
    return RC_OK;
}

void
run_walk_begin(struct run_walk *walk, const struct run_header *header, const uint8_t *batches)
{
    *walk = (struct run_walk){
        .batches = batches,
        .batch_bytes = header->batch_bytes,
        .next_offset = header->base_offset,
    };
}

/* The header's sums against what was walked. */
static enum rc
run_walk_end(const struct run_walk *walk, const struct run_header *header)
{
    if (walk->batch_count != header->batch_count || walk->prefix_crc != header->prefix_crc)
        return RC_CORRUPT;
    return walk->next_offset == header->last_offset + 1 ? RC_NOT_FOUND : RC_CORRUPT;
}

enum rc
run_walk_next(struct run_walk *walk,
              const struct run_header *header,
              const uint8_t **ret_batch,
              uint32_t *ret_bytes)
{
    const uint8_t *batch = walk->batches + walk->position;
    uint32_t left = walk->batch_bytes - walk->position;
    struct record_batch_info info;

    if (left == 0)
        return run_walk_end(walk, header);
    if (record_batch_read(batch, left, &info) != RC_OK)
        return RC_CORRUPT;
    uint64_t base_offset = record_batch_base_offset(batch);
    int32_t last_delta = record_batch_last_offset_delta(batch);
    if (base_offset < walk->next_offset || last_delta < 0 || base_offset > header->last_offset)
        return RC_CORRUPT;
    /* Only the first batch must begin where the header says; later ones may leave gaps. */
    if (walk->position == 0 && base_offset != header->base_offset)
        return RC_CORRUPT;
    if (!record_batch_crc_ok(batch, info.batch_bytes))
        return RC_CORRUPT;
    walk->prefix_crc = run_prefix_crc(walk->prefix_crc, batch);
    walk->batch_count++;
    walk->next_offset = base_offset + (uint64_t)last_delta + 1;
    walk->position += info.batch_bytes;
    *ret_batch = batch;
    *ret_bytes = info.batch_bytes;
    return RC_OK;
}

uint64_t
footer_bytes_max(uint64_t section_bytes_sum)
{
    uint64_t padded = section_bytes_sum + (uint64_t)SECTION_COUNT_MAX * SECTION_ALIGN_BYTES;
    return round_up(padded, FORMAT_BLOCK_BYTES) + FORMAT_BLOCK_BYTES;
}

void
footer_begin(struct footer *footer,
             uint8_t *buffer,
             uint64_t capacity,
             const struct segment_trailer *facts)
{
    CHECK(facts->data_bytes % FORMAT_BLOCK_BYTES == 0);
    footer->buffer = buffer;
    footer->capacity = capacity;
    footer->used = 0;
    footer->failed = false;
    footer->trailer = *facts;
    footer->trailer.magic = TRAILER_MAGIC;
    footer->trailer.version = FORMAT_VERSION;
    footer->trailer.section_count = 0;
    memset(footer->trailer.zero_a, 0, sizeof(footer->trailer.zero_a));
    memset(footer->trailer.sections, 0, sizeof(footer->trailer.sections));
    memset(footer->trailer.zero_b, 0, sizeof(footer->trailer.zero_b));
}

void
footer_add(struct footer *footer,
           enum section_type type,
           const void *entries,
           uint32_t entry_bytes,
           uint64_t entry_count)
{
    uint64_t bytes = entry_bytes * entry_count;
    uint64_t end = round_up(footer->used + bytes, SECTION_ALIGN_BYTES);

    CHECK(entry_count <= UINT32_MAX);
    CHECK(footer->trailer.section_count < SECTION_COUNT_MAX);
    if (footer->failed || end > footer->capacity) {
        footer->failed = true;
        return;
    }
    struct section *section = &footer->trailer.sections[footer->trailer.section_count++];
    section->type = type;
    section->entry_bytes = entry_bytes;
    section->position = footer->trailer.data_bytes + footer->used;
    section->bytes = bytes;
    section->crc = hash_crc32c(0, entries, bytes);
    if (bytes > 0)
        bytes_copy(footer->buffer + footer->used, footer->capacity - footer->used, entries, bytes);
    memset(footer->buffer + footer->used + bytes, 0, end - footer->used - bytes);
    footer->used = end;
}

uint64_t
footer_end(struct footer *footer)
{
    uint64_t trailer_position = round_up(footer->used, FORMAT_BLOCK_BYTES);
    uint64_t total = trailer_position + FORMAT_BLOCK_BYTES;
    struct segment_trailer *trailer = &footer->trailer;

    if (footer->failed || total > footer->capacity)
        return 0;
    trailer->file_bytes = trailer->data_bytes + total;
    trailer->crc = hash_crc32c(0, trailer, offsetof(struct segment_trailer, crc));
    memset(footer->buffer + footer->used, 0, trailer_position - footer->used);
    bytes_copy(footer->buffer + trailer_position, FORMAT_BLOCK_BYTES, trailer, sizeof(*trailer));
    return total;
}

/* Sections lie between the runs and the trailer, aligned, in order, without overlap. */
static bool
sections_are_valid(const struct segment_trailer *trailer)
{
    uint64_t end = trailer->data_bytes;
    uint64_t limit = trailer->file_bytes - FORMAT_BLOCK_BYTES;

    for (uint32_t i = 0; i < trailer->section_count; i++) {
        const struct section *section = &trailer->sections[i];
        if (section->position % SECTION_ALIGN_BYTES != 0 || section->position < end)
            return false;
        if (section->position > limit || section->bytes > limit - section->position)
            return false;
        if (section->entry_bytes == 0 || section->bytes % section->entry_bytes != 0)
            return false;
        end = section->position + section->bytes;
    }
    return true;
}

enum rc
trailer_check(const uint8_t *block,
              uint64_t incarnation,
              uint64_t base_offset,
              uint64_t file_bytes,
              struct segment_trailer *ret_trailer)
{
    const struct segment_trailer *trailer = ret_trailer;

    if (get_u64_le(block) != TRAILER_MAGIC)
        return RC_NOT_FOUND;
    if (get_u32_le(block + offsetof(struct segment_trailer, crc)) !=
        hash_crc32c(0, block, offsetof(struct segment_trailer, crc)))
        return RC_CORRUPT;
    if (get_u32_le(block + offsetof(struct segment_trailer, version)) > FORMAT_VERSION)
        return RC_NEWER_FORMAT;
    __builtin_memcpy(ret_trailer, block, sizeof(*ret_trailer));
    if (trailer->version == 0 || trailer->section_count > SECTION_COUNT_MAX ||
        trailer->incarnation != incarnation || trailer->base_offset != base_offset)
        return RC_CORRUPT;
    if (trailer->file_bytes != file_bytes || file_bytes < FORMAT_BLOCK_BYTES ||
        trailer->data_bytes > file_bytes - FORMAT_BLOCK_BYTES ||
        trailer->data_bytes % FORMAT_BLOCK_BYTES != 0)
        return RC_CORRUPT;
    if (trailer->next_offset < trailer->base_offset || !sections_are_valid(trailer))
        return RC_CORRUPT;
    return RC_OK;
}

const struct section *
trailer_section(const struct segment_trailer *trailer, enum section_type type)
{
    for (uint32_t i = 0; i < trailer->section_count; i++) {
        if (trailer->sections[i].type == type)
            return &trailer->sections[i];
    }
    return NULL;
}

bool
section_is_intact(const struct section *section, const uint8_t *bytes)
{
    return hash_crc32c(0, bytes, section->bytes) == section->crc;
}
