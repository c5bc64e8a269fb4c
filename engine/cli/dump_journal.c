/* A journal file as rows: every whole group that stands in it, of any epoch, in the order of
 * places. What lies between is told as a gap when a group follows: the rest of an older group that
 * was written over, or damage. `eagre verify` tells which. */
#include "engine/cli/dump.h"

#include "log/format/journal_format.h"

static void
print_mark(struct dump *dump, const struct journal_entry *entry)
{
    const struct journal_mark mark = journal_mark_of(entry);
    json_t *row = dump_row("mark");

    dump_incarnation(row, mark.incarnation);
    dump_count(row, "next_offset", mark.next_offset);
    dump_count(row, "segment_base_offset", mark.segment_base_offset);
    dump_count(row, "position", mark.position);
    dump_int(row, "run_bytes", mark.run_bytes);
    dump_count(row, "manifest_generation", mark.manifest_generation);
    dump_print(dump, row);
}

static void
print_entry(struct dump *dump, const struct journal_entry *entry)
{
    static const char *const names[JOURNAL_KIND_COUNT] = {
        [JOURNAL_DATA] = "data",
        [JOURNAL_TRUNCATE] = "truncate",
        [JOURNAL_START_OFFSET] = "start_offset",
        [JOURNAL_DROP] = "drop",
        [JOURNAL_EPOCH] = "epoch",
        [JOURNAL_HIGH_WATERMARK] = "high_watermark",
        [JOURNAL_OPEN] = "open",
        [JOURNAL_REFERENCE] = "reference",
        [JOURNAL_MARK] = "mark",
    };
    json_t *row = dump_row(names[entry->kind]); /* checked with the table */

    dump_incarnation(row, entry->incarnation);
    if (entry->kind == JOURNAL_OPEN) {
        dump_uuid(row, "topic_id", entry->topic_id);
        dump_int(row, "partition", entry->partition);
    } else if (entry->kind != JOURNAL_DROP) {
        dump_count(row, "offset", entry->base_offset);
        dump_int(row, "leader_epoch", entry->leader_epoch);
    }
    if (entry->kind == JOURNAL_REFERENCE) {
        dump_int(row, "last_offset_delta", entry->last_offset_delta);
        dump_int(row, "producer_id", entry->producer_id);
    }
    dump_print(dump, row);
}

static void
print_entries(struct dump *dump,
              const struct journal_group_header *header,
              const uint8_t *group,
              uint64_t position)
{
    const struct journal_entry *entries = journal_table_entries(group);
    const uint8_t *payload = group + header->header_bytes;

    for (uint32_t i = 0; i < header->entry_count; i++) {
        const struct journal_entry *entry = &entries[i];
        if (dump->only != 0 && entry->incarnation != dump->only)
            continue;
        if (entry->kind == JOURNAL_MARK) {
            print_mark(dump, entry);
            continue;
        }
        if (entry->kind != JOURNAL_DATA) {
            print_entry(dump, entry);
            continue;
        }
        const struct dump_batch batch = {
            .at = payload + entry->payload_position,
            .bytes = entry->length,
            .position = position + header->header_bytes + entry->payload_position,
            .incarnation = entry->incarnation,
            .is_intact = journal_entry_is_intact(entry, payload),
        };
        dump_batch(dump, &batch);
    }
}

static void
print_group(struct dump *dump, const struct journal_group_header *header, uint64_t position)
{
    json_t *row = dump_row("group");

    dump_count(row, "position", position);
    dump_count(row, "number", header->number);
    dump_count(row, "epoch", header->epoch);
    dump_count(row, "durable_through", header->durable_through);
    dump_int(row, "version", header->version);
    dump_int(row, "tile", header->tile_idx);
    dump_int(row, "file_sequence", header->file_sequence);
    dump_int(row, "entries", header->entry_count);
    dump_int(row, "payload_bytes", header->payload_bytes);
    dump_print(dump, row);
}

/* The whole group at a place, or NULL. */
static const uint8_t *
view_group(struct inspect_file *file, uint64_t position, struct journal_group_header *ret_header)
{
    const uint8_t *at = inspect_file_view(file, position, FORMAT_BLOCK_BYTES);

    if (at == NULL || journal_header_peek(at, ret_header) != RC_OK)
        return NULL;
    at = inspect_file_view(file, position, ret_header->header_bytes);
    if (at == NULL || journal_table_check(at, ret_header->header_bytes, ret_header) != RC_OK ||
        (uint64_t)ret_header->block * FORMAT_BLOCK_BYTES != position)
        return NULL;
    return inspect_file_view(file, position, journal_group_bytes(ret_header));
}

void
dump_journal(struct dump *dump, struct inspect_file *file)
{
    const uint8_t *block = inspect_file_view(file, 0, FORMAT_BLOCK_BYTES);
    struct journal_file_header header;
    struct journal_group_header group;
    uint64_t gap = 0;

    enum rc rc = block == NULL ? RC_TRUNCATED : journal_file_header_decode(block, &header);
    if (rc != RC_OK) {
        dump_damage(dump, 0, rc_text(rc));
    } else {
        json_t *row = dump_row("journal");
        dump_int(row, "tile", header.tile_idx);
        dump_int(row, "file", header.file_idx);
        dump_count(row, "file_bytes", header.file_bytes);
        dump_uuid(row, "node_uuid", header.node_uuid);
        dump_print(dump, row);
    }
    for (uint64_t at = JOURNAL_FIRST_POSITION; at + FORMAT_BLOCK_BYTES <= file->bytes;) {
        const uint8_t *bytes = view_group(file, at, &group);
        if (bytes == NULL) {
            gap += FORMAT_BLOCK_BYTES;
            at += FORMAT_BLOCK_BYTES;
            continue;
        }
        if (gap > 0) {
            json_t *row = dump_row("gap");
            dump_count(row, "position", at - gap);
            dump_count(row, "bytes", gap);
            dump_print(dump, row);
        }
        gap = 0;
        print_group(dump, &group, at);
        print_entries(dump, &group, bytes, at);
        at += journal_group_bytes(&group);
    }
}
