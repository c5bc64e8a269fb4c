/* Reading a journal back. The rules S1..S8 are in the header; FORMAT.md section 3.5 says why each
 * is right. */
#include "log/journal/journal_scan.h"

#include "engine/base/check.h"
#include "hw/disk/disk.h"

#define READ_BYTES ((uint64_t)4 * 1024 * 1024) /* of one read; a larger group is read whole */
#define NO_FILE UINT32_MAX
/* How far a file that was not in use yet is searched for proof (S6): two of the greatest groups, N
 * and N + 1, and the header of N + 2 behind them. The present file is searched to its end. */
#define SEARCH_BYTES ((uint64_t)20 * 1024 * 1024)

_Static_assert(JOURNAL_SCAN_BYTES >=
                   JOURNAL_HEADER_BYTES_MAX + JOURNAL_PAYLOAD_BYTES_MAX + FORMAT_BLOCK_BYTES,
               "the greatest group fits the buffer");
_Static_assert(JOURNAL_SCAN_BYTES >= READ_BYTES, "so does one read");
_Static_assert(SEARCH_BYTES >= 2 * ((uint64_t)JOURNAL_HEADER_BYTES_MAX + JOURNAL_PAYLOAD_BYTES_MAX),
               "two groups are searched over");

/* Gives `bytes` bytes of a file at position, valid until the next call; NULL when the file ends
 * before or reading failed (scan->rc tells). position and bytes are multiples of 4096, bytes <=
 * JOURNAL_SCAN_BYTES. */
static const uint8_t *
scan_view(struct journal_scan *scan, uint32_t file_idx, uint64_t position, uint64_t bytes)
{
    const struct journal_scan_file *file = &scan->files[file_idx];
    uint64_t window_end = scan->window_position + scan->window_bytes;
    size_t count = 0;

    if (file->fd < 0 || position > file->bytes || bytes > file->bytes - position)
        return NULL;
    if (file_idx == scan->window_file_idx && position >= scan->window_position &&
        position + bytes <= window_end)
        return scan->config.buffer + (position - scan->window_position);

    uint64_t want = min_u64(max_u64(bytes, READ_BYTES), file->bytes - position);
    scan->window_file_idx = NO_FILE;
    enum rc rc = disk_read(
        scan->config.disk, file->fd, scan->config.buffer, want, position, &count);
    if (rc == RC_OK && count < bytes)
        rc = RC_IO_ERROR; /* the file shrank under us */
    if (rc != RC_OK) {
        scan->rc = rc;
        diag_trail_add(scan->trail,
                       "read journal-%u-%u at %llu: %s",
                       scan->config.tile_idx,
                       file_idx,
                       (unsigned long long)position,
                       rc_text(rc));
        return NULL;
    }
    scan->bytes_read += count;
    scan->window_file_idx = file_idx;
    scan->window_position = position;
    scan->window_bytes = round_down(count, FORMAT_BLOCK_BYTES);
    return scan->config.buffer;
}

/* A whole group header of this tile that belongs where it stands, of any epoch. The entries follow
 * it in the view. */
static const uint8_t *
scan_table(struct journal_scan *scan,
           uint32_t file_idx,
           uint64_t position,
           struct journal_group_header *ret_header)
{
    const uint8_t *block = scan_view(scan, file_idx, position, FORMAT_BLOCK_BYTES);
    struct journal_group_header header;

    if (block == NULL || journal_header_peek(block, &header) != RC_OK)
        return NULL;
    const uint8_t *table = scan_view(scan, file_idx, position, header.header_bytes);
    if (table == NULL)
        return NULL;
    enum rc rc = journal_table_check(table, header.header_bytes, &header);
    if (header.tile_idx != scan->config.tile_idx ||
        (uint64_t)header.block * FORMAT_BLOCK_BYTES != position ||
        header.file_sequence % JOURNAL_FILE_COUNT != file_idx)
        return NULL;
    /* Only a table of this very journal may say "newer": its epoch has 40 bits that no client
     * knows, so a record that looks like a table cannot keep the node from starting. */
    if (rc == RC_NEWER_FORMAT && header.epoch == scan->config.epoch)
        scan->rc = rc;
    if (rc != RC_OK)
        return NULL;
    *ret_header = header;
    return table;
}

/* ---- begin ---- */

/* A header block that is damaged or zero does not stop a scan: groups prove themselves. One that is
 * whole and belongs elsewhere does: somebody moved files around. */
static enum rc
check_file_header(struct journal_scan *scan, uint32_t file_idx)
{
    const struct journal_scan_config *config = &scan->config;
    struct journal_file_header header;
    const uint8_t *block = scan_view(scan, file_idx, 0, FORMAT_BLOCK_BYTES);

    if (block == NULL)
        return scan->rc;
    enum rc rc = journal_file_header_decode(block, &header);
    if (rc == RC_NOT_FOUND || rc == RC_CORRUPT)
        return RC_OK;
    if (rc == RC_OK && (header.tile_idx != config->tile_idx || header.file_idx != file_idx ||
                        (config->node_uuid != NULL &&
                         memcmp(header.node_uuid, config->node_uuid, FORMAT_UUID_BYTES) != 0)))
        rc = RC_CORRUPT;
    if (rc == RC_CORRUPT)
        diag_trail_add(scan->trail,
                       "journal-%u-%u belongs to tile %u, file %u, or to another node",
                       config->tile_idx,
                       file_idx,
                       header.tile_idx,
                       header.file_idx);
    return rc;
}

static enum rc
begin_file(struct journal_scan *scan, uint32_t file_idx)
{
    struct journal_scan_file *file = &scan->files[file_idx];
    struct disk *disk = scan->config.disk;
    struct journal_group_header header;
    char path[FORMAT_PATH_MAX];

    format_path_journal(path, scan->config.tile_idx, file_idx);
    enum rc rc = disk_open(disk, path, DISK_READ | DISK_DIRECT, &file->fd);
    if (rc != RC_OK) {
        file->fd = -1;
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    }
    rc = disk_size(disk, file->fd, &file->bytes);
    if (rc != RC_OK)
        return rc;
    file->bytes = round_down(file->bytes, FORMAT_BLOCK_BYTES);
    rc = check_file_header(scan, file_idx);
    if (rc != RC_OK)
        return rc;
    if (scan_table(scan, file_idx, JOURNAL_FIRST_POSITION, &header) == NULL)
        return scan->rc;
    if (header.epoch == scan->config.epoch) {
        file->first_number = header.number;
        file->sequence = header.file_sequence;
    } else if (journal_epoch_ordinal(header.epoch) > journal_epoch_ordinal(scan->config.epoch)) {
        /* S2 */
        scan->is_corrupt = true;
        scan->where_file_idx = file_idx;
        scan->where_position = JOURNAL_FIRST_POSITION;
        scan->evidence_number = header.number;
        diag_trail_add(scan->trail,
                       "journal-%u-%u is newer than the checkpoint",
                       scan->config.tile_idx,
                       file_idx);
    }
    return RC_OK;
}

enum rc
journal_scan_begin(struct journal_scan *scan,
                   const struct journal_scan_config *config,
                   struct diag_trail *trail)
{
    CHECK((uintptr_t)config->buffer % FORMAT_BLOCK_BYTES == 0);
    CHECK(config->replay_from >= 1);
    memset(scan, 0, sizeof(*scan));
    scan->config = *config;
    scan->trail = trail;
    scan->number = config->replay_from;
    scan->file_idx = NO_FILE;
    scan->window_file_idx = NO_FILE;
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++)
        scan->files[i].fd = -1;
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        enum rc rc = begin_file(scan, i);
        if (rc != RC_OK) {
            diag_trail_add(trail, "journal-%u-%u: %s", config->tile_idx, i, rc_text(rc));
            journal_scan_end(scan);
            return rc;
        }
    }
    /* S3: the last file that begins at or before replay_from is the one that holds it. */
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        uint64_t first = scan->files[i].first_number;
        if (first == 0 || first > scan->number)
            continue;
        if (scan->file_idx == NO_FILE || first > scan->files[scan->file_idx].first_number)
            scan->file_idx = i;
    }
    scan->position = JOURNAL_FIRST_POSITION;
    return RC_OK;
}

/* S3: steps over the groups before replay_from. Where one of them is damaged (its data is in the
 * segments) the next header is looked for block by block. Leaves position at replay_from, or behind
 * the last group before it. */
static void
skip_to_start(struct journal_scan *scan)
{
    uint64_t at = JOURNAL_FIRST_POSITION;
    struct journal_group_header header;

    while (at < scan->files[scan->file_idx].bytes && scan->rc == RC_OK) {
        if (scan_table(scan, scan->file_idx, at, &header) == NULL ||
            header.epoch != scan->config.epoch ||
            header.file_sequence != scan->files[scan->file_idx].sequence) {
            at += FORMAT_BLOCK_BYTES;
            continue;
        }
        if (header.number >= scan->number) {
            if (header.number == scan->number)
                scan->position = at;
            return;
        }
        at += journal_group_bytes(&header);
        scan->position = at;
        scan->previous_crc = header.crc;
        scan->chained = header.number + 1 == scan->number;
    }
}

/* ---- next ---- */

/* S4: is the header at that place group N of the rotation? NULL: no. */
static const uint8_t *
table_of_next(struct journal_scan *scan,
              uint32_t file_idx,
              uint64_t position,
              struct journal_group_header *ret_header)
{
    const uint8_t *table = scan_table(scan, file_idx, position, ret_header);

    if (table == NULL || ret_header->epoch != scan->config.epoch ||
        ret_header->number != scan->number)
        return NULL;
    if (scan->chained && ret_header->previous_header_crc != scan->previous_crc)
        return NULL;
    return table;
}

/* Finds group N: behind N - 1, or at the start of the next file. Sets file_idx and position when it
 * is there. */
static bool
find_group(struct journal_scan *scan, struct journal_group_header *ret_header)
{
    if (scan->file_idx == NO_FILE)
        return false;
    uint32_t sequence = scan->files[scan->file_idx].sequence;
    uint32_t next_file = (scan->file_idx + 1) % JOURNAL_FILE_COUNT;

    if (table_of_next(scan, scan->file_idx, scan->position, ret_header) != NULL &&
        ret_header->file_sequence == sequence)
        return true;
    if (scan->rc != RC_OK || scan->files[next_file].first_number != scan->number)
        return false;
    if (table_of_next(scan, next_file, JOURNAL_FIRST_POSITION, ret_header) == NULL ||
        ret_header->file_sequence != sequence + 1)
        return false;
    scan->file_idx = next_file;
    scan->position = JOURNAL_FIRST_POSITION;
    return true;
}

/* S6 for one header. */
static bool
is_evidence(const struct journal_scan *scan, const struct journal_group_header *header)
{
    return header->epoch == scan->config.epoch &&
           (header->number >= scan->number + 2 || header->durable_through >= scan->number);
}

/* Looks at every block of [from, to) of a file for proof that group N was durable. */
static bool
search_file(struct journal_scan *scan, uint32_t file_idx, uint64_t from, uint64_t to)
{
    struct journal_group_header header;

    for (uint64_t at = from; at < to && scan->rc == RC_OK; at += FORMAT_BLOCK_BYTES) {
        if (scan_table(scan, file_idx, at, &header) == NULL || !is_evidence(scan, &header))
            continue;
        scan->evidence_number = header.number;
        return true;
    }
    return false;
}

/* Group N is bad at the present place: had it been acknowledged? Files used later than the present
 * one are looked at by their first block; the next one further, because N itself may be what stood
 * there. */
static bool
was_acknowledged(struct journal_scan *scan)
{
    scan->where_file_idx = scan->file_idx;
    scan->where_position = scan->position;
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        uint64_t limit = min_u64(scan->files[i].bytes, SEARCH_BYTES);
        uint64_t from = JOURNAL_FIRST_POSITION;
        if (scan->files[i].fd < 0)
            continue;
        if (i == scan->file_idx) {
            from = scan->position;
            limit = scan->files[i].bytes;
        } else if (scan->file_idx != NO_FILE && i != (scan->file_idx + 1) % JOURNAL_FILE_COUNT) {
            limit = min_u64(limit, JOURNAL_FIRST_POSITION + FORMAT_BLOCK_BYTES);
        }
        if (search_file(scan, i, from, limit))
            return true;
    }
    return false;
}

static uint32_t
count_bad(const struct journal_scan_group *group)
{
    uint32_t bad_count = 0;

    for (uint32_t i = 0; i < group->header->entry_count; i++)
        bad_count += journal_scan_entry_is_intact(group, i) ? 0 : 1;
    return bad_count;
}

/* Reads the group at the present place whole. False: it does not fit the file. */
static bool
view_group(struct journal_scan *scan,
           const struct journal_group_header *header,
           struct journal_scan_group *ret_group)
{
    const uint8_t *at = scan_view(
        scan, scan->file_idx, scan->position, journal_group_bytes(header));

    if (at == NULL)
        return false;
    ret_group->header = (const void *)at;
    ret_group->entries = journal_table_entries(at);
    ret_group->payload = at + header->header_bytes;
    ret_group->file_idx = scan->file_idx;
    ret_group->position = scan->position;
    return true;
}

static enum journal_scan_result
report_corrupt(struct journal_scan *scan)
{
    scan->is_corrupt = true;
    diag_trail_add(scan->trail,
                   "group %llu is damaged at journal-%u-%u position %llu, yet group %llu follows",
                   (unsigned long long)scan->number,
                   scan->config.tile_idx,
                   scan->where_file_idx == NO_FILE ? 0 : scan->where_file_idx,
                   (unsigned long long)scan->where_position,
                   (unsigned long long)scan->evidence_number);
    return JOURNAL_SCAN_CORRUPT;
}

/* S6, S7 when group N could not be found or read at all. */
static enum journal_scan_result
end_or_corrupt(struct journal_scan *scan)
{
    bool acknowledged = was_acknowledged(scan);

    if (scan->rc != RC_OK)
        return JOURNAL_SCAN_ERROR;
    if (acknowledged)
        return report_corrupt(scan);
    scan->is_ended = true;
    return JOURNAL_SCAN_END;
}

enum journal_scan_result
journal_scan_next(struct journal_scan *scan, struct journal_scan_group *ret_group)
{
    struct journal_group_header header;
    struct journal_scan_group group = {0};

    if (scan->rc != RC_OK)
        return JOURNAL_SCAN_ERROR;
    if (scan->is_corrupt)
        return JOURNAL_SCAN_CORRUPT;
    if (scan->is_ended)
        return JOURNAL_SCAN_END;
    if (!scan->started && scan->file_idx != NO_FILE)
        skip_to_start(scan);
    scan->started = true;

    bool found = scan->rc == RC_OK && find_group(scan, &header);
    if (scan->rc != RC_OK)
        return JOURNAL_SCAN_ERROR;
    if (!found || !view_group(scan, &header, &group))
        return scan->rc != RC_OK ? JOURNAL_SCAN_ERROR : end_or_corrupt(scan);
    group.bad_count = count_bad(&group);
    if (group.bad_count > 0) {
        enum journal_scan_result result = end_or_corrupt(scan);
        if (result != JOURNAL_SCAN_CORRUPT)
            return result;
        /* S8: the header is whole, so only the partitions of the bad entries are hurt. The search
         * moved the view. */
        scan->is_corrupt = false;
        if (!view_group(scan, &header, &group))
            return JOURNAL_SCAN_ERROR;
    }
    scan->position += journal_group_bytes(&header);
    scan->previous_crc = header.crc;
    scan->chained = true;
    scan->number++;
    scan->groups_given++;
    *ret_group = group;
    return JOURNAL_SCAN_GROUP;
}

bool
journal_scan_entry_is_intact(const struct journal_scan_group *group, uint32_t entry_idx)
{
    const struct journal_entry *entry = &group->entries[entry_idx];

    CHECK(entry_idx < group->header->entry_count);
    return entry->kind != JOURNAL_DATA || journal_entry_is_intact(entry, group->payload);
}

uint64_t
journal_scan_next_number(const struct journal_scan *scan)
{
    return scan->number;
}

void
journal_scan_end(struct journal_scan *scan)
{
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++) {
        if (scan->files[i].fd >= 0)
            disk_close(scan->config.disk, scan->files[i].fd);
        scan->files[i].fd = -1;
    }
}
