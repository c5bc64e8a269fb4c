/* Journal layout: fill, seal, check. The order of the checks is that of FORMAT.md section 3.4. */
#include "log/format/journal_format.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/record/record_marker.h"

#define EPOCH_RANDOM_BITS 40u
#define CRC_BYTES 4u

/* CRC of a table with its own crc field left out. */
static uint32_t
table_crc(const uint8_t *table, uint64_t header_bytes)
{
    uint32_t crc = hash_crc32c(0, table, offsetof(struct journal_group_header, crc));
    return hash_crc32c(
        crc, table + JOURNAL_GROUP_HEADER_BYTES, header_bytes - JOURNAL_GROUP_HEADER_BYTES);
}

uint64_t
journal_epoch_next(uint64_t previous, uint64_t random)
{
    uint64_t ordinal = (previous >> EPOCH_RANDOM_BITS) + 1;
    uint64_t random_part = random & ((UINT64_C(1) << EPOCH_RANDOM_BITS) - 1);

    CHECK(ordinal < UINT64_C(1) << (64 - EPOCH_RANDOM_BITS));
    return ordinal << EPOCH_RANDOM_BITS | random_part;
}

void
journal_file_header_encode(const struct journal_file_header *header, uint8_t *block)
{
    struct journal_file_header sealed = *header;

    sealed.magic = JOURNAL_FILE_MAGIC;
    sealed.version = FORMAT_VERSION;
    sealed.block_bytes = FORMAT_BLOCK_BYTES;
    sealed.zero_a = 0;
    sealed.zero_b = 0;
    sealed.crc = hash_crc32c(0, &sealed, offsetof(struct journal_file_header, crc));
    memset(block, 0, FORMAT_BLOCK_BYTES);
    bytes_copy(block, FORMAT_BLOCK_BYTES, &sealed, sizeof(sealed));
}

enum rc
journal_file_header_decode(const uint8_t *block, struct journal_file_header *ret_header)
{
    static const struct journal_file_header zero;
    struct journal_file_header header;

    __builtin_memcpy(&header, block, sizeof(header));
    if (memcmp(&header, &zero, sizeof(header)) == 0)
        return RC_NOT_FOUND;
    if (header.magic != JOURNAL_FILE_MAGIC)
        return RC_CORRUPT;
    if (header.crc != hash_crc32c(0, &header, offsetof(struct journal_file_header, crc)))
        return RC_CORRUPT;
    if (header.version > FORMAT_VERSION)
        return RC_NEWER_FORMAT;
    if (header.version == 0 || header.block_bytes != FORMAT_BLOCK_BYTES ||
        header.file_idx >= JOURNAL_FILE_COUNT)
        return RC_CORRUPT;
    *ret_header = header;
    return RC_OK;
}

/* Flags of a batch of a transaction, and of the marker that ends it. */
static COLD void
entry_of_transaction(struct journal_entry *entry, const uint8_t *batch)
{
    struct record_marker marker;

    entry->flags = JOURNAL_TRANSACTIONAL;
    if (!record_marker_read(batch, entry->length, &marker))
        return;
    entry->flags |= JOURNAL_MARKER;
    if (marker.is_commit)
        entry->flags |= JOURNAL_MARKER_COMMIT;
    entry->partition = (uint32_t)marker.coordinator_epoch;
}

/* What DATA and REFERENCE have in common: all that the batch's header tells. */
static void
entry_of_batch(struct journal_entry *entry, const uint8_t *batch)
{
    memset(entry, 0, sizeof(*entry));
    entry->producer_epoch = (int16_t)get_u16_be(batch + RECORD_BATCH_PRODUCER_EPOCH);
    entry->last_offset_delta = (uint32_t)record_batch_last_offset_delta(batch);
    entry->base_offset = record_batch_base_offset(batch);
    entry->leader_epoch = record_batch_leader_epoch(batch);
    entry->base_sequence = (int32_t)get_u32_be(batch + RECORD_BATCH_BASE_SEQUENCE);
    entry->producer_id = (int64_t)get_u64_be(batch + RECORD_BATCH_PRODUCER_ID);
    entry->length = (uint32_t)record_batch_bytes(batch);
    entry->batch_crc = record_batch_crc(batch);
    __builtin_memcpy(entry->prefix, batch, BATCH_PREFIX_BYTES);
    if (UNLIKELY((record_batch_attributes(batch) & RECORD_ATTRIBUTES_TRANSACTIONAL) != 0))
        entry_of_transaction(entry, batch);
}

void
journal_entry_data(struct journal_entry *ret_entry,
                   uint64_t incarnation,
                   const uint8_t *batch,
                   uint32_t payload_position,
                   int64_t append_ms)
{
    entry_of_batch(ret_entry, batch);
    ret_entry->kind = JOURNAL_DATA;
    ret_entry->incarnation = incarnation;
    ret_entry->append_ms = append_ms;
    ret_entry->payload_position = payload_position;
}

void
journal_entry_reference(struct journal_entry *ret_entry,
                        uint64_t incarnation,
                        const uint8_t *batch,
                        int64_t append_ms)
{
    entry_of_batch(ret_entry, batch);
    ret_entry->kind = JOURNAL_REFERENCE;
    ret_entry->incarnation = incarnation;
    ret_entry->append_ms = append_ms;
}

void
journal_entry_mark(struct journal_entry *ret_entry, const struct journal_mark *mark)
{
    struct journal_mark sealed = *mark;

    CHECK(mark->position % FORMAT_BLOCK_BYTES == 0);
    sealed.kind = JOURNAL_MARK;
    memset(sealed.zero_a, 0, sizeof(sealed.zero_a));
    memset(sealed.zero_b, 0, sizeof(sealed.zero_b));
    __builtin_memcpy(ret_entry, &sealed, sizeof(sealed));
}

void
journal_entry_control(struct journal_entry *ret_entry,
                      enum journal_kind kind,
                      uint64_t incarnation,
                      uint64_t offset,
                      int32_t leader_epoch)
{
    CHECK(kind != JOURNAL_DATA);
    CHECK(kind != JOURNAL_OPEN);
    CHECK(kind < JOURNAL_REFERENCE);
    memset(ret_entry, 0, sizeof(*ret_entry));
    ret_entry->kind = (uint8_t)kind;
    ret_entry->incarnation = incarnation;
    ret_entry->base_offset = offset;
    ret_entry->leader_epoch = leader_epoch;
}

void
journal_entry_open(struct journal_entry *ret_entry,
                   uint64_t incarnation,
                   const uint8_t *topic_id,
                   uint32_t partition)
{
    memset(ret_entry, 0, sizeof(*ret_entry));
    ret_entry->kind = JOURNAL_OPEN;
    ret_entry->incarnation = incarnation;
    ret_entry->partition = partition;
    __builtin_memcpy(ret_entry->topic_id, topic_id, FORMAT_UUID_BYTES);
}

uint32_t
journal_table_seal(uint8_t *table, const struct journal_group_header *header)
{
    struct journal_group_header sealed = *header;
    size_t used = JOURNAL_GROUP_HEADER_BYTES + (size_t)header->entry_count * JOURNAL_ENTRY_BYTES;

    CHECK(header->entry_count >= 1);
    CHECK(header->entry_count <= JOURNAL_ENTRIES_MAX);
    CHECK(header->payload_bytes <= JOURNAL_PAYLOAD_BYTES_MAX);
    sealed.magic = JOURNAL_GROUP_MAGIC;
    CHECK(header->version <= JOURNAL_GROUP_VERSION_TRANSACTIONS);
    if (header->version == 0)
        sealed.version = JOURNAL_GROUP_VERSION;
    sealed.header_bytes = journal_header_bytes(header->entry_count);
    sealed.zero = 0;
    sealed.crc = 0;
    __builtin_memcpy(table, &sealed, sizeof(sealed));
    memset(table + used, 0, sealed.header_bytes - used);
    sealed.crc = table_crc(table, sealed.header_bytes);
    __builtin_memcpy(table, &sealed, sizeof(sealed));
    return sealed.crc;
}

enum rc
journal_header_peek(const uint8_t *block, struct journal_group_header *ret_header)
{
    struct journal_group_header header;

    __builtin_memcpy(&header, block, sizeof(header));
    if (header.magic != JOURNAL_GROUP_MAGIC)
        return RC_NOT_FOUND;
    if (header.entry_count == 0 || header.entry_count > JOURNAL_ENTRIES_MAX)
        return RC_NOT_FOUND;
    if (header.header_bytes != journal_header_bytes(header.entry_count))
        return RC_NOT_FOUND;
    if (header.payload_bytes > JOURNAL_PAYLOAD_BYTES_MAX || header.number == 0)
        return RC_NOT_FOUND;
    *ret_header = header;
    return RC_OK;
}

/* The fields of an entry with a batch against each other. */
static bool
entry_batch_is_valid(const struct journal_entry *entry)
{
    const uint8_t *prefix = entry->prefix;

    if (entry->length < BATCH_HEADER_BYTES || entry->length > BATCH_BYTES_MAX)
        return false;
    if (record_batch_bytes(prefix) != entry->length ||
        record_batch_base_offset(prefix) != entry->base_offset)
        return false;
    if (record_batch_leader_epoch(prefix) != entry->leader_epoch ||
        record_batch_crc(prefix) != entry->batch_crc)
        return false;
    return entry->last_offset_delta <= INT32_MAX &&
           entry->base_offset <= (uint64_t)INT64_MAX - entry->last_offset_delta;
}

static bool
entry_mark_is_valid(const struct journal_entry *entry)
{
    struct journal_mark mark = journal_mark_of(entry);

    return mark.position > 0 && mark.position % FORMAT_BLOCK_BYTES == 0 && mark.run_bytes > 0 &&
           mark.run_bytes % FORMAT_BLOCK_BYTES == 0 && mark.run_bytes <= mark.position &&
           mark.next_offset > mark.segment_base_offset && mark.next_offset <= INT64_MAX;
}

/* One entry of a table of that version; *payload_end grows by its batch. */
static bool
entry_is_valid(const struct journal_entry *entry, uint16_t version, uint64_t *payload_end)
{
    bool is_bulk = version >= JOURNAL_GROUP_VERSION_BULK;

    if (entry->kind == 0 || entry->incarnation == 0 ||
        entry->kind >= (is_bulk ? JOURNAL_KIND_COUNT : JOURNAL_REFERENCE))
        return false;
    if (entry->kind == JOURNAL_MARK)
        return entry_mark_is_valid(entry);
    if (version >= JOURNAL_GROUP_VERSION_TRANSACTIONS && (entry->flags & ~JOURNAL_FLAGS_ALL) != 0)
        return false;
    if (entry->kind == JOURNAL_REFERENCE)
        return entry->payload_position == 0 && entry_batch_is_valid(entry);
    if (entry->kind != JOURNAL_DATA)
        return true;
    if (entry->payload_position != *payload_end &&
        (!is_bulk || entry->payload_position != round_up(*payload_end, FORMAT_BLOCK_BYTES)))
        return false;
    *payload_end = (uint64_t)entry->payload_position + entry->length;
    return entry_batch_is_valid(entry);
}

enum rc
journal_table_check(const uint8_t *table, uint64_t count, struct journal_group_header *ret_header)
{
    struct journal_group_header header;
    uint64_t payload_end = 0;

    if (count < JOURNAL_GROUP_HEADER_BYTES || journal_header_peek(table, &header) != RC_OK)
        return RC_CORRUPT;
    if (count < header.header_bytes || table_crc(table, header.header_bytes) != header.crc)
        return RC_CORRUPT;
    if (header.version > JOURNAL_GROUP_VERSION_TRANSACTIONS)
        return RC_NEWER_FORMAT;
    if (header.version == 0 || header.durable_through >= header.number)
        return RC_CORRUPT;

    const struct journal_entry *entries = journal_table_entries(table);
    for (uint32_t i = 0; i < header.entry_count; i++)
        if (!entry_is_valid(&entries[i], header.version, &payload_end))
            return RC_CORRUPT;
    if (payload_end != header.payload_bytes)
        return RC_CORRUPT;
    *ret_header = header;
    return RC_OK;
}

bool
journal_entry_is_intact(const struct journal_entry *entry, const uint8_t *payload)
{
    const uint8_t *batch = payload + entry->payload_position;

    if (memcmp(batch, entry->prefix, BATCH_PREFIX_BYTES) != 0)
        return false;
    return batch_is_intact(batch, entry->length);
}
