/* One segment file: its runs in order, every batch of them, and its footer when it is sealed. */
#include "engine/inspect/inspect_inner.h"

struct segment_check {
    struct inspect *inspect;
    const struct inspect_segment *segment;
    struct inspect_file file;
    struct inspect_footer footer;
    struct inspect_walk *walk;
    bool is_shallow; /* headers only */
};

static void
damage(struct segment_check *check, uint64_t position, const char *what)
{
    check->walk->is_damaged = true;
    inspect__find(check->inspect,
                  INSPECT_AT(INSPECT_DAMAGE, "V3", check->segment->path, position),
                  "%s",
                  what);
}

static struct run_place
place_at(const struct segment_check *check, uint64_t position)
{
    return (struct run_place){
        .incarnation = check->inspect->current->incarnation,
        .segment_base_offset = check->segment->base_offset,
        .position = position,
    };
}

/* Behind a run header that is damaged: the next place where a whole one stands, or the end. */
static uint64_t
find_next_run(struct segment_check *check, uint64_t position)
{
    struct run_header header;

    for (position += FORMAT_BLOCK_BYTES; position < check->segment->end;
         position += FORMAT_BLOCK_BYTES) {
        const uint8_t *at = inspect_file_view(&check->file, position, FORMAT_BLOCK_BYTES);
        const struct run_place place = place_at(check, position);
        if (at == NULL)
            return check->segment->end;
        if (run_header_check(at, &place, &header) == RC_OK)
            return position;
    }
    return check->segment->end;
}

static void
count_batch(struct segment_check *check, const struct inspect_batch *batch)
{
    struct inspect_walk *walk = check->walk;
    uint64_t base_offset = record_batch_base_offset(batch->at);
    int64_t timestamp_ms = record_batch_max_timestamp(batch->at);
    int32_t epoch = record_batch_leader_epoch(batch->at);

    inspect__meet_indexes(check->inspect, check->segment, &check->footer, batch, walk);
    if (epoch < walk->last_epoch)
        inspect__find(check->inspect,
                      INSPECT_AT(INSPECT_WARNING, "V2", check->segment->path, batch->position),
                      "leader epoch goes back from %d to %d",
                      walk->last_epoch,
                      epoch);
    walk->last_epoch = epoch;
    walk->batches++;
    walk->batch_bytes += batch->bytes;
    walk->record_count += (uint64_t)record_batch_last_offset_delta(batch->at) + 1;
    if (walk->first_timestamp_ms < 0)
        walk->first_timestamp_ms = timestamp_ms;
    if (timestamp_ms > walk->max_timestamp_ms) {
        walk->max_timestamp_ms = timestamp_ms;
        walk->max_timestamp_offset = base_offset;
    }
    inspect__check_records(check->inspect, check->segment->path, batch, walk);
}

/* The batches of a run whose header is right; run: its bytes. */
static void
check_batches(struct segment_check *check,
              const struct run_header *header,
              const uint8_t *run,
              uint64_t position)
{
    struct inspect_batch batch = {.run_position = position};
    struct run_walk walk;
    enum rc rc = RC_OK;

    run_walk_begin(&walk, header, run + RUN_HEADER_BYTES);
    while (rc == RC_OK) {
        batch.position = position + RUN_HEADER_BYTES + walk.position;
        rc = run_walk_next(&walk, header, &batch.at, &batch.bytes);
        if (rc == RC_OK)
            count_batch(check, &batch);
    }
    if (rc == RC_NOT_FOUND)
        return;
    if (walk.position == walk.batch_bytes)
        damage(check, position, "run: prefixes, count or last offset are not what its header says");
    else
        damage(check, batch.position, "batch: length, offset or checksum is wrong");
}

/* One run; gives where the next begins. */
static uint64_t
check_run(struct segment_check *check, uint64_t position)
{
    const struct run_place place = place_at(check, position);
    const uint8_t *at = inspect_file_view(&check->file, position, FORMAT_BLOCK_BYTES);
    struct run_header header;

    if (at == NULL) {
        damage(check, position, "the file ends before its last run");
        return check->segment->end;
    }
    enum rc rc = run_header_check(at, &place, &header);
    if (rc != RC_OK) {
        damage(check,
               position,
               rc == RC_NOT_FOUND      ? "no run header where one must stand"
               : rc == RC_NEWER_FORMAT ? "run header of a newer format"
                                       : "run header is damaged, or of another place");
        return find_next_run(check, position);
    }
    uint64_t bytes = run_bytes(header.batch_bytes);
    if (bytes > check->segment->end - position) {
        damage(check, position, "the run is longer than what is there");
        return check->segment->end;
    }
    if (header.base_offset < check->walk->next_offset)
        damage(check, position, "the run's offsets lie below those of the run before it");
    check->walk->next_offset = header.last_offset + 1;
    if (check->is_shallow) {
        check->walk->batch_bytes += header.batch_bytes;
        check->walk->batches += header.batch_count;
        return position + bytes;
    }
    at = inspect_file_view(&check->file, position, bytes);
    if (at == NULL)
        damage(check, position, "the run cannot be read");
    else
        check_batches(check, &header, at, position);
    return position + bytes;
}

enum rc
inspect__check_segment(struct inspect *inspect,
                       const struct inspect_segment *segment,
                       struct inspect_walk *ret_walk)
{
    struct segment_check check = {
        .inspect = inspect,
        .segment = segment,
        .walk = ret_walk,
        .is_shallow = inspect->options.quick &&
                      inspect->current->incarnation != TOPIC_METADATA_INCARNATION,
    };
    uint64_t told = 0;

    *ret_walk = (struct inspect_walk){
        .next_offset = segment->base_offset,
        .first_timestamp_ms = -1,
        .max_timestamp_ms = -1,
        .last_epoch = -1,
    };
    enum rc rc = inspect_file_open(
        &check.file, inspect->disk, segment->path, inspect->run, INSPECT_RUN_BYTES_MAX);
    if (rc != RC_OK) {
        damage(&check, 0, rc_text(rc));
        return rc == RC_NO_DESCRIPTORS || rc == RC_NO_MEMORY ? rc : RC_OK;
    }
    if (check.is_shallow)
        check.file.ahead_bytes = FORMAT_BLOCK_BYTES;
    if (segment->listed != NULL)
        inspect__read_footer(inspect, &check.file, segment, &check.footer);
    for (uint64_t at = 0; at < segment->end;) {
        at = check_run(&check, at);
        inspect__progress(inspect, check.file.read_bytes - told);
        told = check.file.read_bytes;
    }
    if (segment->listed != NULL && !check.is_shallow)
        inspect__end_footer(inspect, segment, &check.footer, ret_walk);
    inspect->current->batches += ret_walk->batches;
    inspect->current->records += ret_walk->records;
    inspect->current->bytes += ret_walk->batch_bytes;
    inspect->current->segments++;
    inspect_file_close(&check.file);
    return RC_OK;
}
