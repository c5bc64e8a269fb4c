/* The order of everything, the memory, the table of partitions, and how findings are told. */
#include "engine/inspect/inspect_inner.h"

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "log/checkpoint/checkpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SLOTS (2u * INSPECT_PARTITIONS_MAX)
#define PROGRESS_BYTES (4 * MIB)

_Static_assert((TABLE_SLOTS & (TABLE_SLOTS - 1)) == 0, "slots are found by a mask");

void
inspect__find(struct inspect *inspect, const struct inspect_finding *place, const char *format, ...)
{
    struct inspect_finding finding = *place;
    char text[512];
    va_list arguments;

    enum inspect_grade grade = place->grade;

    inspect->totals.counts[grade]++;
    if (inspect->current != NULL) {
        finding.incarnation = inspect->current->incarnation;
        inspect->current->warnings += grade == INSPECT_WARNING;
        inspect->current->damages += grade == INSPECT_DAMAGE;
    }
    if (strncmp(inspect->file_name, place->file, sizeof(inspect->file_name)) != 0) {
        snprintf(inspect->file_name, sizeof(inspect->file_name), "%s", place->file);
        inspect->file_findings = 0;
    }
    inspect->file_findings++;
    if (inspect->file_findings > INSPECT_FINDINGS_PER_FILE_MAX)
        return; /* the totals tell how many there are */
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    finding.what = text;
    inspect->options.hooks.finding(inspect->options.hooks.ctx, &finding);
}

void
inspect__progress(struct inspect *inspect, uint64_t bytes)
{
    const struct inspect_hooks *hooks = &inspect->options.hooks;

    inspect->totals.bytes_read += bytes;
    if (hooks->progress == NULL ||
        inspect->totals.bytes_read - inspect->progress_bytes < PROGRESS_BYTES)
        return;
    inspect->progress_bytes = inspect->totals.bytes_read;
    hooks->progress(hooks->ctx, inspect->totals.bytes_read, inspect->total_bytes);
}

struct inspect_partition *
inspect__partition(struct inspect *inspect, uint64_t incarnation, bool add)
{
    uint32_t at = (uint32_t)hash_xxh3(&incarnation, sizeof(incarnation), 0);

    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        struct inspect_partition *partition = &inspect->partitions[(at + i) & (TABLE_SLOTS - 1)];
        if (partition->incarnation == incarnation)
            return partition;
        if (partition->incarnation != 0)
            continue;
        if (!add)
            return NULL;
        if (inspect->partition_count == INSPECT_PARTITIONS_MAX)
            break;
        inspect->partition_count++;
        partition->incarnation = incarnation;
        partition->state = CHECKPOINT_OPEN;
        partition->max_timestamp_ms = -1;
        return partition;
    }
    inspect__find(inspect,
                  INSPECT_AT(INSPECT_WARNING, "V7", FORMAT_PARTITIONS_PATH, 0),
                  "more than %u partitions: %016llx is not looked at",
                  INSPECT_PARTITIONS_MAX,
                  (unsigned long long)incarnation);
    return NULL;
}

const char *
inspect__topic(const struct inspect *inspect, const struct inspect_partition *partition)
{
    if (partition->incarnation == TOPIC_METADATA_INCARNATION)
        return "(metadata log)";
    const struct topic *topic = topic_store_find_id(&inspect->store, partition->topic_id);
    return topic != NULL ? topic->name : "";
}

/* ---- memory ---- */

struct memory_line {
    const char *name;
    uint64_t bytes;
    void **ret_at;
};

static enum rc
inspect_take_memory(struct inspect *inspect)
{
    const struct topic_store_config store = {
        .topics_max = INSPECT_TOPICS_MAX,
        .partitions_max = INSPECT_PARTITIONS_MAX,
    };
    uint64_t largest = FORMAT_BLOCK_BYTES;
    void *store_memory = NULL;
    enum rc rc = RC_OK;

    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++) {
        uint64_t bytes = 0;
        rc = checkpoint_buffer_bytes(inspect->disk, i, &bytes);
        largest = max_u64(largest, min_u64(bytes, CHECKPOINT_BYTES_MAX));
    }
    if (rc != RC_OK)
        return rc;
    inspect->checkpoint_bytes = largest;
    const struct memory_line lines[] = {
        {"checkpoint", largest, (void **)&inspect->checkpoint},
        {"journal scan", JOURNAL_SCAN_BYTES, (void **)&inspect->scan},
        {"run", INSPECT_RUN_BYTES_MAX, (void **)&inspect->run},
        {"records", INSPECT_RECORDS_BYTES_MAX, (void **)&inspect->records},
        {"footer", INSPECT_SECTIONS_BYTES_MAX, (void **)&inspect->sections},
        {"manifest", manifest_bytes_max(MANIFEST_SEGMENTS_MAX), (void **)&inspect->manifest},
        {"names", INSPECT_FILES_MAX * sizeof(struct disk_entry), (void **)&inspect->entries},
        {"partitions",
         TABLE_SLOTS * sizeof(struct inspect_partition),
         (void **)&inspect->partitions},
        {"topics", topic_store_footprint(&store), &store_memory},
    };
    const struct mem_arena_config config = {.limit_bytes = INSPECT_MEMORY_BYTES + largest};
    rc = mem_arena_init(&inspect->arena, &config, inspect->trail);
    for (size_t i = 0; rc == RC_OK && i < ARRAY_COUNT(lines); i++)
        rc = mem_arena_take(&inspect->arena,
                            lines[i].name,
                            round_up(lines[i].bytes, FORMAT_BLOCK_BYTES),
                            lines[i].ret_at,
                            inspect->trail);
    if (rc == RC_OK)
        topic_store_init(&inspect->store, store_memory, &store);
    return rc;
}

/* ---- order ---- */

/* What there is to read, for the bar: the sizes of all files one and two levels down. */
static void
inspect_estimate(struct inspect *inspect)
{
    char path[DISK_PATH_MAX];
    size_t count = 0;

    if (inspect->options.hooks.progress == NULL)
        return;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        const struct inspect_partition *partition = &inspect->partitions[i];
        if (partition->incarnation == 0)
            continue;
        format_path_partition(path, partition->incarnation);
        if (disk_list(inspect->disk, path, inspect->entries, INSPECT_FILES_MAX, &count) != RC_OK)
            continue;
        for (size_t f = 0; f < min_u64(count, INSPECT_FILES_MAX); f++)
            inspect->total_bytes += inspect->entries[f].bytes;
    }
}

static void
inspect_select(struct inspect *inspect)
{
    for (uint32_t i = 0; inspect->options.topic != NULL && i < TABLE_SLOTS; i++) {
        struct inspect_partition *partition = &inspect->partitions[i];
        if (partition->incarnation > TOPIC_METADATA_INCARNATION)
            partition->is_skipped = strcmp(inspect__topic(inspect, partition),
                                           inspect->options.topic) != 0;
    }
}

/* The metadata log first: it names all others. */
static enum rc
inspect_metadata(struct inspect *inspect)
{
    struct inspect_partition *partition = inspect__partition(
        inspect, TOPIC_METADATA_INCARNATION, false);
    enum rc rc = partition == NULL ? RC_OK : inspect__check_partition(inspect, partition);

    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++)
        if (inspect->tiles[i].is_known)
            rc = inspect__replay_journal(inspect, i, true);
    inspect->totals.topics = inspect->store.topic_count;
    if (rc == RC_OK && inspect->options.topic != NULL &&
        topic_store_find(&inspect->store,
                         (struct bytes){(const uint8_t *)inspect->options.topic,
                                        strlen(inspect->options.topic)}) == NULL) {
        diag_trail_add(inspect->trail, "no topic %s", inspect->options.topic);
        return RC_NOT_FOUND;
    }
    inspect_select(inspect);
    return rc;
}

static enum rc
inspect_partitions(struct inspect *inspect)
{
    enum rc rc = RC_OK;

    for (uint32_t i = 0; rc == RC_OK && i < TABLE_SLOTS; i++) {
        struct inspect_partition *partition = &inspect->partitions[i];
        if (partition->incarnation > TOPIC_METADATA_INCARNATION && !partition->is_skipped)
            rc = inspect__check_partition(inspect, partition);
    }
    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++)
        if (inspect->tiles[i].is_known)
            rc = inspect__replay_journal(inspect, i, false);
    if (rc == RC_OK)
        rc = inspect__check_unknown(inspect);
    return rc;
}

static int
compare_partitions(const void *a, const void *b)
{
    uint64_t one = ((const struct inspect_partition *)a)->incarnation;
    uint64_t other = ((const struct inspect_partition *)b)->incarnation;

    return one < other ? -1 : one > other;
}

/* The last look at the table, which is sorted for it: nobody searches it afterwards. */
static void
inspect_sum(struct inspect *inspect)
{
    static const char *const states[] = {
        [CHECKPOINT_OPEN] = "open",
        [CHECKPOINT_HALTED] = "halted",
        [CHECKPOINT_DROPPED] = "dropped",
    };
    uint32_t used = 0;

    for (uint32_t i = 0; i < TABLE_SLOTS; i++)
        if (inspect->partitions[i].incarnation != 0)
            inspect->partitions[used++] = inspect->partitions[i];
    if (used > 1)
        qsort(inspect->partitions, used, sizeof(inspect->partitions[0]), compare_partitions);
    for (uint32_t i = 0; i < used; i++) {
        struct inspect_partition *partition = &inspect->partitions[i];
        if (partition->state == CHECKPOINT_DROPPED || partition->is_skipped)
            continue;
        inspect__finish_partition(inspect, partition);
        const struct inspect_partition_sum sum = {
            .incarnation = partition->incarnation,
            .topic = inspect__topic(inspect, partition),
            .partition = partition->partition,
            .state = states[partition->state],
            .segments = partition->segments,
            .start_offset = partition->start_offset,
            .next_offset = partition->next_offset,
            .batches = partition->batches,
            .records = partition->records,
            .bytes = partition->bytes,
            .warnings = partition->warnings,
            .damages = partition->damages,
        };
        inspect->totals.partitions++;
        inspect->totals.segments += partition->segments;
        inspect->totals.batches += partition->batches;
        inspect->totals.records += partition->records;
        inspect->options.hooks.partition(inspect->options.hooks.ctx, &sum);
    }
}

static enum rc
inspect_all(struct inspect *inspect)
{
    enum rc rc = inspect_take_memory(inspect);

    if (rc == RC_OK)
        rc = inspect__read_meta(inspect);
    if (rc == RC_OK)
        rc = inspect__find_tiles(inspect);
    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++)
        if (inspect->tiles[i].has_checkpoint || inspect->tiles[i].has_journal)
            rc = inspect__read_checkpoint(inspect, i);
    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++)
        if (inspect->tiles[i].is_known)
            rc = inspect__scan_journal(inspect, i);
    if (rc == RC_OK)
        inspect_estimate(inspect);
    for (uint32_t i = 0; rc == RC_OK && i < INSPECT_TILES_MAX; i++)
        if (inspect->tiles[i].has_journal && !inspect->options.quick)
            rc = inspect__sweep_journal(inspect, i);
    if (rc == RC_OK)
        rc = inspect_metadata(inspect);
    if (rc == RC_OK)
        rc = inspect_partitions(inspect);
    if (rc == RC_OK)
        inspect_sum(inspect);
    return rc;
}

enum rc
inspect_verify(const struct inspect_options *options,
               struct inspect_totals *ret_totals,
               struct diag_trail *trail)
{
    struct inspect *inspect = mem_boot_alloc(sizeof(*inspect));

    if (inspect == NULL)
        return RC_NO_MEMORY;
    inspect->options = *options;
    inspect->disk = options->disk;
    inspect->trail = trail;
    enum rc rc = inspect_all(inspect);
    *ret_totals = inspect->totals;
    mem_arena_fini(&inspect->arena);
    mem_boot_free(inspect);
    return rc;
}
