/* Manifest layout: encode and check. */
#include "log/format/manifest_format.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"

uint64_t
manifest_encode(const struct manifest_header *header,
                const struct manifest_segment *segments,
                const struct manifest_aborted *aborted_or_null,
                uint8_t *ret_bytes)
{
    struct manifest_header sealed = *header;
    size_t entries_bytes = header->segment_count * sizeof(*segments);
    size_t aborted_bytes = aborted_or_null == NULL
                               ? 0
                               : header->segment_count * sizeof(*aborted_or_null);
    uint8_t *entries = ret_bytes + sizeof(sealed);

    CHECK(header->segment_count <= MANIFEST_SEGMENTS_MAX);
    if (entries_bytes > 0 && (const uint8_t *)segments != entries)
        bytes_copy(entries, entries_bytes, segments, entries_bytes);
    if (aborted_bytes > 0 && (const uint8_t *)aborted_or_null != entries + entries_bytes)
        bytes_copy(entries + entries_bytes, aborted_bytes, aborted_or_null, aborted_bytes);
    sealed.magic = MANIFEST_MAGIC;
    sealed.version = aborted_or_null == NULL ? FORMAT_VERSION : MANIFEST_VERSION_ABORTED;
    sealed.entries_crc = hash_crc32c(0, entries, entries_bytes + aborted_bytes);
    sealed.crc = hash_crc32c(0, &sealed, offsetof(struct manifest_header, crc));
    __builtin_memcpy(ret_bytes, &sealed, sizeof(sealed));
    return manifest_bytes(&sealed);
}

/* Of the table behind the segments. */
static bool
manifest_aborted_is_sound(const struct manifest_header *header,
                          const struct manifest_segment *segments)
{
    const struct manifest_aborted *aborted = manifest_aborted(header, segments);

    for (uint32_t i = 0; aborted != NULL && i < header->segment_count; i++)
        if (aborted[i].count > 0 && aborted[i].first_offset >= segments[i].next_offset)
            return false;
    return true;
}

enum rc
manifest_decode(const uint8_t *bytes,
                uint64_t count,
                uint64_t incarnation,
                struct manifest_header *ret_header,
                const struct manifest_segment **ret_segments)
{
    struct manifest_header header;

    if (count < sizeof(header))
        return RC_CORRUPT;
    __builtin_memcpy(&header, bytes, sizeof(header));
    if (header.magic != MANIFEST_MAGIC)
        return RC_CORRUPT;
    if (header.crc != hash_crc32c(0, &header, offsetof(struct manifest_header, crc)))
        return RC_CORRUPT;
    if (header.version > MANIFEST_VERSION_ABORTED)
        return RC_NEWER_FORMAT;
    if (header.version == 0 || header.incarnation != incarnation ||
        header.segment_count > MANIFEST_SEGMENTS_MAX || header.cleaned_count > header.segment_count)
        return RC_CORRUPT;
    if (count < manifest_bytes(&header))
        return RC_CORRUPT;

    const uint8_t *entries = bytes + sizeof(header);
    if (header.entries_crc != hash_crc32c(0, entries, manifest_bytes(&header) - sizeof(header)))
        return RC_CORRUPT;
    const struct manifest_segment *segments = (const void *)entries;
    uint64_t next_offset = 0;
    for (uint32_t i = 0; i < header.segment_count; i++) {
        if (segments[i].base_offset < next_offset ||
            segments[i].next_offset <= segments[i].base_offset)
            return RC_CORRUPT;
        if (segments[i].data_bytes > segments[i].file_bytes)
            return RC_CORRUPT;
        next_offset = segments[i].next_offset;
    }
    if (!manifest_aborted_is_sound(&header, segments))
        return RC_CORRUPT;
    *ret_header = header;
    *ret_segments = segments;
    return RC_OK;
}
