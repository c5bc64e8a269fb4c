/* Group commit: filling, submitting, completing. Files and reclaim are in journal_files.c.
 *
 * Why never more than two groups past the durable prefix, even when the second has completed:
 * recovery takes a header with number >= N + 2 as proof that group N had been durable (FORMAT.md
 * section 3.5), so N + 2 must not be on its way before N is. */
#include "log/journal/journal_inner.h"

#include "engine/base/check.h"

#include <errno.h>

/* A write that brings nothing this often in a row will never end: the device is as good as broken.
 */
#define JOURNAL_STALLED_MAX 16u

uint64_t
journal_footprint(const struct journal_config *config)
{
    return round_up(sizeof(struct journal), FORMAT_BLOCK_BYTES) +
           JOURNAL_TABLE_COUNT * (uint64_t)journal_header_bytes(config->entries_max);
}

struct journal *
journal_init(void *memory, const struct journal_config *config)
{
    struct journal *journal = memory;
    uint8_t *tables = (uint8_t *)memory + round_up(sizeof(*journal), FORMAT_BLOCK_BYTES);

    CHECK((uintptr_t)memory % FORMAT_BLOCK_BYTES == 0);
    CHECK(config->entries_max >= 1);
    CHECK(config->entries_max <= JOURNAL_ENTRIES_MAX);
    CHECK(config->file_bytes % FORMAT_BLOCK_BYTES == 0);
    CHECK(config->file_bytes / FORMAT_BLOCK_BYTES <= UINT32_MAX);
    CHECK(config->tile_idx <= UINT16_MAX);
    memset(journal, 0, sizeof(*journal));
    journal->config = *config;
    journal->table_bytes = journal_header_bytes(config->entries_max);
    journal->active_file = JOURNAL_NO_FILE_IDX;
    for (uint32_t i = 0; i < JOURNAL_TABLE_COUNT; i++)
        journal->slots[i].table = tables + (uint64_t)i * journal->table_bytes;
    for (uint32_t i = 0; i < JOURNAL_FILE_COUNT; i++)
        journal->files[i].fd = -1;
    journal->slots[0].state = JOURNAL_SLOT_OPEN;
    return journal;
}

/* ---- filling the open group ---- */

static struct journal_slot *
open_slot(struct journal *journal)
{
    return &journal->slots[journal->open_slot];
}

bool
journal_can_add(const struct journal *journal)
{
    return journal_can_add_many(journal, 1);
}

bool
journal_can_add_many(const struct journal *journal, uint32_t count)
{
    const struct journal_slot *slot = &journal->slots[journal->open_slot];

    return journal->failure == RC_OK && slot->entry_count + count <= journal->config.entries_max;
}

static uint16_t
max_version(uint16_t a, uint16_t b)
{
    return a > b ? a : b;
}

bool
journal_entry_add(struct journal *journal, const struct journal_entry *entry)
{
    struct journal_slot *slot = open_slot(journal);

    if (!journal_can_add(journal))
        return false;
    if (entry->kind == JOURNAL_DATA) {
        bool is_apart = entry->payload_position != slot->payload_bytes;
        if (is_apart)
            CHECK(entry->payload_position == round_up(slot->payload_bytes, FORMAT_BLOCK_BYTES));
        if ((uint64_t)entry->payload_position + entry->length > JOURNAL_PAYLOAD_BYTES_MAX)
            return false;
        if (is_apart)
            slot->version = max_version(slot->version, JOURNAL_GROUP_VERSION_BULK);
        slot->payload_bytes = entry->payload_position + entry->length;
    } else if (entry->kind >= JOURNAL_REFERENCE) {
        slot->version = max_version(slot->version, JOURNAL_GROUP_VERSION_BULK);
    }
    if (UNLIKELY(entry->flags != 0) && entry->kind != JOURNAL_MARK)
        slot->version = JOURNAL_GROUP_VERSION_TRANSACTIONS;
    uint8_t *at = slot->table + JOURNAL_GROUP_HEADER_BYTES +
                  (uint64_t)slot->entry_count * JOURNAL_ENTRY_BYTES;
    __builtin_memcpy(at, entry, sizeof(*entry));
    slot->entry_count++;
    return true;
}

uint32_t
journal_open_entry_count(const struct journal *journal)
{
    return journal->slots[journal->open_slot].entry_count;
}

uint32_t
journal_open_payload_bytes(const struct journal *journal)
{
    return journal->slots[journal->open_slot].payload_bytes;
}

uint64_t
journal_open_group(const struct journal *journal)
{
    return journal->submitted_through + 1;
}

/* ---- submitting ---- */

/* Where the open group will stand. */
struct group_place {
    uint32_t file_idx;
    uint32_t sequence;
    uint64_t position;
};

static bool
find_place(const struct journal *journal, uint64_t total_bytes, struct group_place *ret_place)
{
    if (journal->active_file != JOURNAL_NO_FILE_IDX) {
        const struct journal_file *active = &journal->files[journal->active_file];
        if (active->position + total_bytes <= journal->config.file_bytes) {
            ret_place->file_idx = journal->active_file;
            ret_place->sequence = active->sequence;
            ret_place->position = active->position;
            return true;
        }
    }
    uint32_t next = journal->next_sequence % JOURNAL_FILE_COUNT;
    if (journal->files[next].state != JOURNAL_FILE_FREE)
        return false;
    ret_place->file_idx = next;
    ret_place->sequence = journal->next_sequence;
    ret_place->position = JOURNAL_FIRST_POSITION;
    return true;
}

/* Takes the place: the only way in which a file becomes ACTIVE or FULL. */
static void
take_place(struct journal *journal,
           const struct group_place *place,
           const struct journal_slot *slot)
{
    struct journal_file *file = &journal->files[place->file_idx];

    if (place->file_idx != journal->active_file) {
        if (journal->active_file != JOURNAL_NO_FILE_IDX)
            journal->files[journal->active_file].state = JOURNAL_FILE_FULL;
        file->state = JOURNAL_FILE_ACTIVE;
        file->sequence = place->sequence;
        file->first_group = slot->number;
        journal->active_file = place->file_idx;
        journal->next_sequence = place->sequence + 1;
    }
    file->last_group = slot->number;
    file->position = place->position + slot->total_bytes;
}

/* Lists what is left of a slot's write: all but its first done_bytes. Returns how many ranges. */
static uint32_t
slot_list_rest(struct journal_slot *slot)
{
    uint64_t skip = slot->done_bytes;
    uint32_t count = 0;

    for (uint32_t i = 0; i <= slot->piece_count; i++) {
        struct iovec part = {.iov_base = slot->table, .iov_len = slot->header_bytes};
        if (i > 0)
            part = slot->pieces[i - 1];
        if (skip >= part.iov_len) {
            skip -= part.iov_len;
            continue;
        }
        slot->iovecs[count++] = (struct iovec){.iov_base = (uint8_t *)part.iov_base + skip,
                                               .iov_len = part.iov_len - skip};
        skip = 0;
    }
    return count;
}

/* Hands what is left of a slot's write to the ring; false when the ring is full. */
static bool
slot_write(struct journal *journal, struct journal_slot *slot)
{
    uint32_t count = slot_list_rest(slot);

    struct io_request request = {
        .tag = journal->config.tag + (uint64_t)(slot - journal->slots),
        .op = IO_WRITEV,
        .fd = journal->files[slot->file_idx].fd,
        .iovecs = slot->iovecs,
        .iovec_count = count,
        .bytes = (uint32_t)(slot->total_bytes - slot->done_bytes),
        .position = slot->position + slot->done_bytes,
    };
    slot->wants_submit = !io_submit(journal->config.io, &request);
    if (!slot->wants_submit)
        journal->writes_under_way++;
    return !slot->wants_submit;
}

/* Fills the header, the only part of a group that depends on when it is submitted. */
static uint32_t
slot_seal(struct journal *journal, struct journal_slot *slot, const struct group_place *place)
{
    struct journal_group_header header = {
        .version = slot->version,
        .tile_idx = (uint16_t)journal->config.tile_idx,
        .epoch = journal->epoch,
        .number = slot->number,
        .durable_through = journal->durable_through,
        .payload_bytes = slot->payload_bytes,
        .entry_count = slot->entry_count,
        .file_sequence = place->sequence,
        .previous_header_crc = journal->previous_header_crc,
        .block = (uint32_t)(place->position / FORMAT_BLOCK_BYTES),
    };
    return journal_table_seal(slot->table, &header);
}

/* With at most JOURNAL_IN_FLIGHT_MAX groups past the prefix, one of the tables is always free. */
static void
choose_open_slot(struct journal *journal)
{
    uint32_t idx = 0;

    while (idx < JOURNAL_TABLE_COUNT && journal->slots[idx].state != JOURNAL_SLOT_FREE)
        idx++;
    CHECK(idx < JOURNAL_TABLE_COUNT);
    journal->slots[idx].state = JOURNAL_SLOT_OPEN;
    journal->slots[idx].entry_count = 0;
    journal->slots[idx].payload_bytes = 0;
    journal->slots[idx].version = JOURNAL_GROUP_VERSION;
    journal->open_slot = idx;
}

/* Takes the pieces of the open group's payload. */
static void
slot_take_pieces(struct journal_slot *slot, const struct iovec *pieces, uint32_t count)
{
    uint64_t bytes = 0;

    CHECK(count <= JOURNAL_PIECES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        CHECK((uintptr_t)pieces[i].iov_base % FORMAT_BLOCK_BYTES == 0);
        CHECK(pieces[i].iov_len % FORMAT_BLOCK_BYTES == 0);
        slot->pieces[i] = pieces[i];
        bytes += pieces[i].iov_len;
    }
    CHECK(bytes == round_up(slot->payload_bytes, FORMAT_BLOCK_BYTES));
    slot->piece_count = count;
}

enum journal_submit
journal_submit(struct journal *journal, const uint8_t *payload, uint64_t now_ns)
{
    /* iovec has no const; the ring only reads what it writes. */
    struct iovec piece = {
        .iov_base = (void *)(uintptr_t)payload,
        .iov_len = round_up(journal_open_payload_bytes(journal), FORMAT_BLOCK_BYTES),
    };

    return journal_submit_pieces(journal, &piece, payload != NULL, now_ns);
}

enum journal_submit
journal_submit_pieces(struct journal *journal,
                      const struct iovec *pieces,
                      uint32_t count,
                      uint64_t now_ns)
{
    struct journal_slot *slot = open_slot(journal);
    struct group_place place;

    CHECK(journal->is_open);
    if (journal->failure != RC_OK)
        return JOURNAL_FAILED;
    if (slot->entry_count == 0)
        return JOURNAL_EMPTY;
    if (journal_in_flight(journal) >= JOURNAL_IN_FLIGHT_MAX)
        return JOURNAL_BUSY;
    slot_take_pieces(slot, pieces, count);
    slot->header_bytes = journal_header_bytes(slot->entry_count);
    slot->total_bytes = slot->header_bytes + round_up(slot->payload_bytes, FORMAT_BLOCK_BYTES);
    if (slot->total_bytes > journal->config.file_bytes - JOURNAL_FIRST_POSITION)
        return JOURNAL_TOO_LARGE;
    if (!find_place(journal, slot->total_bytes, &place))
        return JOURNAL_NO_FILE;

    slot->number = journal_open_group(journal);
    slot->file_idx = place.file_idx;
    slot->position = place.position;
    slot->done_bytes = 0;
    slot->continued = 0;
    slot->stalled = 0;
    slot->submitted_ns = now_ns;
    uint32_t crc = slot_seal(journal, slot, &place);
    if (!slot_write(journal, slot)) {
        slot->wants_submit = false; /* still open: the caller comes again */
        return JOURNAL_BUSY;
    }
    slot->state = JOURNAL_SLOT_WRITING;
    take_place(journal, &place, slot);
    journal->submitted_through = slot->number;
    journal->previous_header_crc = crc;
    choose_open_slot(journal);
    return JOURNAL_SUBMITTED;
}

/* ---- completion ---- */

bool
journal_owns_tag(const struct journal *journal, uint64_t tag)
{
    return tag - journal->config.tag < JOURNAL_TAG_COUNT;
}

static struct journal_slot *
find_done(struct journal *journal, uint64_t number)
{
    for (uint32_t i = 0; i < JOURNAL_TABLE_COUNT; i++) {
        struct journal_slot *slot = &journal->slots[i];
        if (slot->state == JOURNAL_SLOT_DONE && slot->number == number)
            return slot;
    }
    return NULL;
}

/* Moves durable_through over every group that is done without a gap. */
static void
advance_prefix(struct journal *journal)
{
    struct journal_slot *slot;

    while ((slot = find_done(journal, journal->durable_through + 1)) != NULL) {
        journal->durable_through = slot->number;
        slot->state = JOURNAL_SLOT_FREE;
    }
}

static void
journal_fail(struct journal *journal, enum rc rc)
{
    if (journal->failure == RC_OK)
        journal->failure = rc;
}

/* Goes on after a write that ended early. What the device took past the last whole block is written
 * again: no group that is not complete has been acknowledged, so nothing acknowledged is touched.
 */
static void
slot_continue(struct journal *journal, struct journal_slot *slot, uint64_t written)
{
    uint64_t whole = round_down(written, FORMAT_BLOCK_BYTES);

    slot->stalled = whole > 0 ? 0 : slot->stalled + 1;
    slot->done_bytes += whole;
    slot->continued++;
    if (slot->stalled >= JOURNAL_STALLED_MAX) {
        journal_fail(journal, RC_IO_ERROR);
        return;
    }
    (void)slot_write(journal, slot); /* a full ring: journal_poll() sends it */
}

bool
journal_complete(struct journal *journal,
                 uint64_t tag,
                 int32_t result,
                 uint64_t now_ns,
                 struct journal_done *ret_done)
{
    CHECK(journal_owns_tag(journal, tag));
    struct journal_slot *slot = &journal->slots[tag - journal->config.tag];
    CHECK(slot->state == JOURNAL_SLOT_WRITING);
    CHECK(journal->writes_under_way > 0);
    journal->writes_under_way--;
    if (journal->failure != RC_OK)
        return false; /* a good end after a failure changes nothing: what is fenced stays fenced */

    uint64_t left = slot->total_bytes - slot->done_bytes;
    if (result == -EINTR || result == -EAGAIN)
        result = 0; /* the kernel did not begin; not a failed flush */
    if (result < 0 || (uint64_t)result > left) {
        journal_fail(journal, result < 0 ? rc_from_errno(-result) : RC_IO_ERROR);
        return false;
    }
    if ((uint64_t)result < left) {
        slot_continue(journal, slot, (uint64_t)result);
        return false;
    }
    slot->state = JOURNAL_SLOT_DONE;
    *ret_done = (struct journal_done){
        .group = slot->number,
        .entry_count = slot->entry_count,
        .payload_bytes = slot->payload_bytes,
        .written_bytes = slot->total_bytes,
        .latency_ns = now_ns - slot->submitted_ns,
        .continued = slot->continued,
    };
    advance_prefix(journal);
    return true;
}

void
journal_poll(struct journal *journal)
{
    for (uint32_t i = 0; i < JOURNAL_TABLE_COUNT; i++) {
        struct journal_slot *slot = &journal->slots[i];
        if (slot->wants_submit && journal->failure == RC_OK)
            (void)slot_write(journal, slot);
    }
}

uint64_t
journal_durable_through(const struct journal *journal)
{
    return journal->durable_through;
}

uint64_t
journal_submitted_through(const struct journal *journal)
{
    return journal->submitted_through;
}

uint32_t
journal_in_flight(const struct journal *journal)
{
    return (uint32_t)(journal->submitted_through - journal->durable_through);
}

uint32_t
journal_writes_under_way(const struct journal *journal)
{
    return journal->writes_under_way;
}

enum rc
journal_failure(const struct journal *journal)
{
    return journal->failure;
}

uint64_t
journal_epoch(const struct journal *journal)
{
    return journal->epoch;
}
