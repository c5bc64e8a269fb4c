/* A segment file as rows: runs, batches, records, and the footer of a sealed one. */
#include "engine/cli/dump.h"

#include <string.h>

/* ---- runs ---- */

static void
print_run(struct dump *dump, const struct run_header *header, uint64_t position)
{
    json_t *row = dump_row("run");

    dump_count(row, "position", position);
    dump_incarnation(row, header->incarnation);
    dump_count(row, "base_offset", header->base_offset);
    dump_count(row, "last_offset", header->last_offset);
    dump_int(row, "batch_bytes", header->batch_bytes);
    dump_int(row, "batches", header->batch_count);
    dump_print(dump, row);
}

/* False: damage, told with its place. */
static bool
print_batches(struct dump *dump,
              const struct run_header *header,
              const uint8_t *run,
              uint64_t position)
{
    struct dump_batch batch = {.incarnation = header->incarnation, .is_intact = true};
    struct run_walk walk;
    enum rc rc = RC_OK;

    run_walk_begin(&walk, header, run + RUN_HEADER_BYTES);
    while (rc == RC_OK) {
        batch.position = position + RUN_HEADER_BYTES + walk.position;
        rc = run_walk_next(&walk, header, &batch.at, &batch.bytes);
        if (rc == RC_OK)
            dump_batch(dump, &batch);
    }
    if (rc != RC_NOT_FOUND)
        dump_damage(dump, batch.position, "batch or run: checksum, length, offset or count");
    return rc == RC_NOT_FOUND;
}

/* Runs from the start to `end`, or to the first that is not whole. Without a trailer the last bytes
 * are undefined, so no run header is the end. */
static void
print_runs(struct dump *dump, struct inspect_file *file, uint64_t end, bool is_sealed)
{
    struct run_place place = {0};
    struct run_header header;

    for (uint64_t at = 0; at < end;) {
        const uint8_t *bytes = inspect_file_view(file, at, FORMAT_BLOCK_BYTES);
        if (bytes == NULL)
            return;
        if (at == 0) { /* the first run says whose the file is */
            place.incarnation = get_u64_le(bytes + offsetof(struct run_header, incarnation));
            place.segment_base_offset = get_u64_le(
                bytes + offsetof(struct run_header, segment_base_offset));
        }
        place.position = at;
        enum rc rc = run_header_check(bytes, &place, &header);
        if (rc == RC_NOT_FOUND && !is_sealed)
            return;
        uint64_t run = rc == RC_OK ? run_bytes(header.batch_bytes) : 0;
        bytes = rc == RC_OK && run <= end - at ? inspect_file_view(file, at, run) : NULL;
        if (bytes == NULL) {
            dump_damage(dump, at, rc == RC_OK ? "the run is cut" : "run header");
            return;
        }
        if (header.last_offset >= dump->from && header.base_offset < dump->to) {
            print_run(dump, &header, at);
            if (!print_batches(dump, &header, bytes, at))
                return;
        }
        at += run;
    }
}

/* ---- footer ---- */

static void
print_index_entry(json_t *row, uint32_t type, const uint8_t *at)
{
    const struct index_offset_entry *offset = (const void *)at;
    const struct index_time_entry *time = (const void *)at;
    const struct aborted_entry *aborted = (const void *)at;
    const struct format_epoch *epoch = (const void *)at;
    const struct format_producer *producer = (const void *)at;

    switch ((enum section_type)type) {
    case SECTION_OFFSET_INDEX:
        dump_int(row, "offset_delta", offset->offset_delta);
        dump_int(row, "run_back", offset->run_back);
        dump_count(row, "position", offset->position);
        break;
    case SECTION_TIME_INDEX:
        dump_int(row, "max_timestamp_ms", time->max_timestamp_ms);
        dump_int(row, "offset_delta", time->offset_delta);
        break;
    case SECTION_ABORTED:
        dump_int(row, "producer_id", aborted->producer_id);
        dump_count(row, "first_offset", aborted->first_offset);
        dump_count(row, "last_offset", aborted->last_offset);
        dump_count(row, "last_stable_offset", aborted->last_stable_offset);
        break;
    case SECTION_EPOCHS:
        dump_int(row, "epoch", epoch->epoch);
        dump_count(row, "start_offset", epoch->start_offset);
        break;
    case SECTION_PRODUCERS:
        dump_int(row, "producer_id", producer->producer_id);
        dump_int(row, "producer_epoch", producer->producer_epoch);
        dump_count(row, "transaction_first_offset", producer->transaction_first_offset);
        break;
    }
}

static void
print_section(struct dump *dump, struct inspect_file *file, const struct section *section)
{
    static const struct {
        const char *name;
        uint32_t entry_bytes;
    } kinds[] = {
        [0] = {"unknown", 0},
        [SECTION_OFFSET_INDEX] = {"offset_index", sizeof(struct index_offset_entry)},
        [SECTION_TIME_INDEX] = {"time_index", sizeof(struct index_time_entry)},
        [SECTION_ABORTED] = {"aborted", sizeof(struct aborted_entry)},
        [SECTION_PRODUCERS] = {"producers", sizeof(struct format_producer)},
        [SECTION_EPOCHS] = {"epochs", sizeof(struct format_epoch)},
    };
    uint32_t type = section->type < ARRAY_COUNT(kinds) ? section->type : 0;
    uint64_t block = round_down(section->position, FORMAT_BLOCK_BYTES);
    uint64_t before = section->position - block;
    json_t *row = dump_row("section");

    json_object_set_new(row, "is", json_string(kinds[type].name));
    dump_int(row, "type", section->type);
    dump_count(row, "position", section->position);
    dump_count(row, "entries", section->bytes / section->entry_bytes);
    dump_print(dump, row);
    if (before + section->bytes > INSPECT_SECTIONS_BYTES_MAX)
        return;
    const uint8_t *at = inspect_file_view(file, block, before + section->bytes);
    if (at == NULL || !section_is_intact(section, at + before)) {
        dump_damage(dump, section->position, "section checksum");
        return;
    }
    if (!dump->with_index || section->entry_bytes != kinds[type].entry_bytes)
        return;
    for (uint64_t i = 0; i < section->bytes; i += section->entry_bytes) {
        row = dump_row(kinds[type].name);
        print_index_entry(row, type, at + before + i);
        dump_print(dump, row);
    }
}

static void
print_footer(struct dump *dump, struct inspect_file *file, const struct segment_trailer *trailer)
{
    json_t *row = dump_row("trailer");

    dump_incarnation(row, trailer->incarnation);
    dump_count(row, "base_offset", trailer->base_offset);
    dump_count(row, "next_offset", trailer->next_offset);
    dump_count(row, "data_bytes", trailer->data_bytes);
    dump_count(row, "batch_bytes", trailer->batch_bytes);
    dump_count(row, "records", trailer->record_count);
    dump_int(row, "first_timestamp_ms", trailer->first_timestamp_ms);
    dump_int(row, "max_timestamp_ms", trailer->max_timestamp_ms);
    dump_count(row, "max_timestamp_offset", trailer->max_timestamp_offset);
    dump_int(row, "file_generation", trailer->file_generation);
    dump_int(row, "last_epoch", trailer->last_epoch);
    dump_print(dump, row);
    for (uint32_t i = 0; i < trailer->section_count; i++)
        print_section(dump, file, &trailer->sections[i]);
}

void
dump_segment(struct dump *dump, struct inspect_file *file)
{
    static struct segment_trailer trailer;
    uint64_t end = round_down(file->bytes, FORMAT_BLOCK_BYTES);
    enum rc rc = RC_NOT_FOUND;
    const uint8_t *block = file->bytes >= FORMAT_BLOCK_BYTES
                               ? inspect_file_view(
                                     file, end - FORMAT_BLOCK_BYTES, FORMAT_BLOCK_BYTES)
                               : NULL;

    if (block != NULL)
        rc = trailer_check(block,
                           get_u64_le(block + offsetof(struct segment_trailer, incarnation)),
                           get_u64_le(block + offsetof(struct segment_trailer, base_offset)),
                           file->bytes,
                           &trailer);
    print_runs(dump, file, rc == RC_OK ? trailer.data_bytes : end, rc == RC_OK);
    if (rc == RC_OK)
        print_footer(dump, file, &trailer);
    else if (rc != RC_NOT_FOUND)
        dump_damage(dump, end - FORMAT_BLOCK_BYTES, "trailer");
}
