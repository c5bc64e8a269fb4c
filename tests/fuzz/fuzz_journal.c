/* A journal table of any bytes: what journal_table_check() takes can be read without leaving the
 * input, and sealing it again gives the same bytes. The fuzzer cannot guess CRCs, so each input is
 * also tried with its CRC put right. */
#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "log/format/journal_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static _Alignas(4096) uint8_t table[16 * FORMAT_BLOCK_BYTES];
static _Alignas(4096) uint8_t again[16 * FORMAT_BLOCK_BYTES];

static void
try_table(uint64_t count)
{
    struct journal_group_header header;

    if (journal_table_check(table, count, &header) != RC_OK)
        return;
    const struct journal_entry *entries = journal_table_entries(table);
    uint64_t payload_end = 0;
    for (uint32_t i = 0; i < header.entry_count; i++) {
        CHECK(entries[i].incarnation != 0);
        if (entries[i].kind != JOURNAL_DATA)
            continue;
        CHECK(entries[i].payload_position == payload_end);
        payload_end += entries[i].length;
        CHECK(payload_end <= header.payload_bytes);
    }
    CHECK(payload_end == header.payload_bytes);
    bytes_copy(again, sizeof(again), table, header.header_bytes);
    uint32_t crc = journal_table_seal(again, &header);
    struct journal_group_header sealed;
    CHECK(journal_table_check(again, header.header_bytes, &sealed) == RC_OK);
    CHECK(sealed.crc == crc);
    CHECK(sealed.number == header.number);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct journal_file_header file;
    struct journal_group_header header;

    if (count < FORMAT_BLOCK_BYTES || count > sizeof(table))
        return 0;
    __builtin_memset(table, 0, sizeof(table));
    bytes_copy(table, sizeof(table), data, count);
    (void)journal_file_header_decode(table, &file);
    try_table(count);
    if (journal_header_peek(table, &header) == RC_OK && header.header_bytes <= count) {
        uint32_t crc = hash_crc32c(0, table, 60);
        put_u32_le(table + 60, hash_crc32c(crc, table + 64, header.header_bytes - 64));
        try_table(count);
    }
    return 0;
}
