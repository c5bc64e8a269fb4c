/* eagre dump: the files of a data directory as rows of text or JSON. */
#include "engine/cli/dump.h"

#include "log/format/checkpoint_format.h"
#include "log/format/journal_format.h"
#include "log/format/manifest_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DUMP_ENTRIES_MAX INSPECT_FILES_MAX

/* ---- rows ---- */

json_t *
dump_row(const char *kind)
{
    json_t *row = json_object();

    json_object_set_new(row, "kind", json_string(kind));
    return row;
}

void
dump_int(json_t *row, const char *name, int64_t value)
{
    json_object_set_new(row, name, json_integer(value));
}

void
dump_count(json_t *row, const char *name, uint64_t value)
{
    if (value <= INT64_MAX)
        json_object_set_new(row, name, json_integer((json_int_t)value));
    else
        json_object_set_new(row, name, json_null()); /* 2^64 - 1: none */
}

static void
dump_hexadecimal(json_t *row, const char *name, const char *before, struct bytes bytes)
{
    size_t head = strlen(before);
    char *text = malloc(head + 2 * bytes.count + 1);

    if (text == NULL)
        return;
    snprintf(text, head + 1, "%s", before);
    for (size_t i = 0; i < bytes.count; i++)
        snprintf(text + head + 2 * i, 3, "%02x", bytes.at[i]);
    json_object_set_new(row, name, json_string(text));
    free(text);
}

void
dump_bytes(json_t *row, const char *name, struct bytes bytes)
{
    json_t *text = bytes.at == NULL ? json_null()
                                    : json_stringn((const char *)bytes.at, bytes.count);

    if (text == NULL)
        dump_hexadecimal(row, name, "0x", bytes);
    else
        json_object_set_new(row, name, text);
}

void
dump_uuid(json_t *row, const char *name, const uint8_t *uuid)
{
    dump_hexadecimal(row, name, "", (struct bytes){uuid, FORMAT_UUID_BYTES});
}

void
dump_incarnation(json_t *row, uint64_t incarnation)
{
    char text[17];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)incarnation);
    json_object_set_new(row, "incarnation", json_string(text));
}

static int
dump_write(const char *at, size_t count, void *ctx)
{
    return fwrite(at, 1, count, ctx) == count ? 0 : -1;
}

void
dump_print(const struct dump *dump, json_t *row)
{
    const char *name;
    json_t *value;

    if (dump->args->json) {
        json_dumpf(row, stdout, JSON_COMPACT);
    } else {
        fputs(json_string_value(json_object_get(row, "kind")), stdout);
        json_object_foreach(row, name, value)
        {
            if (strcmp(name, "kind") == 0)
                continue;
            printf(" %s=", name);
            json_dump_callback(value, dump_write, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        }
    }
    putchar('\n');
    json_decref(row);
}

void
dump_damage(struct dump *dump, uint64_t position, const char *what)
{
    json_t *row = dump_row("damage");

    dump->is_damaged = true;
    json_object_set_new(row, "file", json_string(dump->path));
    dump_count(row, "position", position);
    json_object_set_new(row, "what", json_string(what));
    dump_print(dump, row);
}

/* ---- files ---- */

struct dump_kind {
    uint64_t magic; /* of the first 8 bytes; a run has 4 */
    uint64_t mask;
    const char *name;
    void (*print)(struct dump *dump, struct inspect_file *file);
};

static const struct dump_kind dump_kinds[] = {
    {META_MAGIC, UINT64_MAX, "meta", dump_meta},
    {CHECKPOINT_MAGIC, UINT64_MAX, "checkpoint", dump_checkpoint},
    {MANIFEST_MAGIC, UINT64_MAX, "manifest", dump_manifest},
    {JOURNAL_FILE_MAGIC, UINT64_MAX, "journal", dump_journal},
    {RUN_MAGIC, UINT32_MAX, "segment", dump_segment},
};

/* By its first bytes, or where those are damaged by its name. */
static const struct dump_kind *
dump_kind_of(struct inspect_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const uint8_t *at = inspect_file_view(file, 0, 8);
    uint64_t magic = at != NULL ? get_u64_le(at) : 0;
    uint64_t base_offset;
    uint32_t other;

    for (size_t i = 0; i < ARRAY_COUNT(dump_kinds); i++)
        if ((magic & dump_kinds[i].mask) == dump_kinds[i].magic)
            return &dump_kinds[i];
    if (strcmp(name, FORMAT_META_PATH) == 0)
        return &dump_kinds[0];
    if (strncmp(name, "checkpoint-", 11) == 0)
        return &dump_kinds[1];
    if (strcmp(name, "manifest") == 0)
        return &dump_kinds[2];
    if (strncmp(name, "journal-", 8) == 0)
        return &dump_kinds[3];
    return format_parse_segment(name, &base_offset, &other) ? &dump_kinds[4] : NULL;
}

static int
dump_file(struct dump *dump, const char *path)
{
    struct inspect_file file;

    dump->path = path;
    enum rc rc = inspect_file_open(&file, dump->disk, path, dump->buffer, INSPECT_RUN_BYTES_MAX);
    if (rc != RC_OK)
        return cli_fail(dump->args, CLI_FAILED, "%s: %s", path, rc_text(rc));
    const struct dump_kind *kind = dump_kind_of(&file, path);
    int status = CLI_OK;
    if (kind == NULL) {
        status = cli_fail(dump->args, CLI_FAILED, "%s: not a file of ours", path);
    } else {
        json_t *row = dump_row("file");
        json_object_set_new(row, "path", json_string(path));
        json_object_set_new(row, "is", json_string(kind->name));
        dump_count(row, "bytes", file.bytes);
        dump_print(dump, row);
        kind->print(dump, &file);
        if (file.rc != RC_OK)
            status = cli_fail(dump->args, CLI_FAILED, "%s: %s", path, rc_text(file.rc));
    }
    inspect_file_close(&file);
    return status;
}

/* The files of one directory, in the order of names; those of partitions are left for later. */
static int
dump_directory(struct dump *dump, const char *directory, struct disk_entry *entries)
{
    char path[2 * DISK_PATH_MAX];
    size_t count = 0;
    int status = CLI_OK;
    enum rc rc = disk_list(dump->disk, directory, entries, DUMP_ENTRIES_MAX, &count);

    if (rc != RC_OK)
        return cli_fail(dump->args, CLI_FAILED, "%s: %s", directory, rc_text(rc));
    for (size_t i = 0; i < min_u64(count, DUMP_ENTRIES_MAX) && status == CLI_OK; i++) {
        size_t length = strlen(entries[i].name);
        bool is_half = length > 4 && (strcmp(entries[i].name + length - 4, ".tmp") == 0 ||
                                      strcmp(entries[i].name + length - 4, ".new") == 0);
        if (entries[i].is_directory || is_half || entries[i].bytes == 0)
            continue;
        snprintf(path,
                 sizeof(path),
                 "%s%s%s",
                 directory,
                 directory[0] != '\0' ? "/" : "",
                 entries[i].name);
        status = dump_file(dump, path);
    }
    return status;
}

/* A data directory: its own files, then each partition's. */
static int
dump_tree(struct dump *dump, struct disk_entry *entries)
{
    char path[FORMAT_PATH_MAX];
    size_t count = 0;
    int status = dump_directory(dump, "", entries);

    if (status != CLI_OK ||
        disk_list(dump->disk, FORMAT_PARTITIONS_PATH, entries, DUMP_ENTRIES_MAX, &count) != RC_OK)
        return status;
    count = min_u64(count, DUMP_ENTRIES_MAX);
    uint64_t *incarnations = calloc(count + 1, sizeof(*incarnations));
    size_t used = 0;
    for (size_t i = 0; incarnations != NULL && i < count; i++)
        used += format_parse_partition(entries[i].name, &incarnations[used]);
    for (size_t i = 0; i < used && status == CLI_OK; i++) {
        if (dump->only != 0 && dump->only != incarnations[i])
            continue;
        format_path_partition(path, incarnations[i]);
        status = dump_directory(dump, path, entries);
    }
    free(incarnations);
    return status;
}

static int
dump_path(struct dump *dump, const char *path, struct disk_entry *entries)
{
    struct diag_trail trail = {{0}};
    struct stat facts;
    char root[4096];
    const char *slash = strrchr(path, '/');

    if (stat(path, &facts) != 0)
        return cli_fail(dump->args, CLI_FAILED, "%s: no such file or directory", path);
    if (S_ISDIR(facts.st_mode))
        snprintf(root, sizeof(root), "%s", path);
    else if (slash == NULL)
        snprintf(root, sizeof(root), ".");
    else
        snprintf(root, sizeof(root), "%.*s/", (int)(slash - path), path);
    enum rc rc = disk_open_reading(root, &dump->disk, &trail);
    if (rc != RC_OK)
        return cli_fail(dump->args, CLI_FAILED, "%s", trail.text);
    int status = S_ISDIR(facts.st_mode) ? dump_tree(dump, entries)
                                        : dump_file(dump, slash != NULL ? slash + 1 : path);
    disk_fini(dump->disk);
    return status;
}

/* ---- arguments ---- */

static bool
dump_options(struct dump *dump)
{
    static const char *const names[] = {"bytes", "metadata", "groups", "transactions"};
    const struct cli_args *args = dump->args;
    const char *only = cli_text(args, "partition", NULL);
    const char *as = cli_text(args, "as", NULL);

    dump->from = (uint64_t)cli_number(args, "from", 0, 0, INT64_MAX);
    dump->to = (uint64_t)cli_number(args, "to", INT64_MAX, 0, INT64_MAX);
    dump->with_records = cli_flag(args, "records");
    dump->with_index = cli_flag(args, "index");
    dump->as = UINT32_MAX;
    for (uint32_t i = 0; as != NULL && i < ARRAY_COUNT(names); i++)
        if (strcmp(as, names[i]) == 0)
            dump->as = i;
    if (as != NULL && dump->as == UINT32_MAX)
        return cli_fail(args, CLI_USAGE, "--as %s: bytes, metadata, groups or transactions", as) ==
               CLI_OK;
    if (only != NULL && !format_parse_partition(only, &dump->only))
        return cli_fail(args,
                        CLI_USAGE,
                        "--partition %s: 16 hexadecimal digits, as directories are named",
                        only) == CLI_OK;
    return true;
}

int
cli_dump(const struct cli_args *args)
{
    struct dump dump = {.args = args};
    int status = CLI_OK;

    if (!dump_options(&dump))
        return CLI_USAGE;
    dump.buffer = aligned_alloc(FORMAT_BLOCK_BYTES, INSPECT_RUN_BYTES_MAX);
    dump.records = malloc(INSPECT_RECORDS_BYTES_MAX);
    struct disk_entry *entries = calloc(DUMP_ENTRIES_MAX, sizeof(*entries));
    if (dump.buffer == NULL || dump.records == NULL || entries == NULL)
        status = cli_fail(args, CLI_FAILED, "%s", rc_text(RC_NO_MEMORY));
    for (uint32_t i = 0; i < args->word_count && status == CLI_OK; i++)
        status = dump_path(&dump, args->words[i], entries);
    free(entries);
    free(dump.records);
    free(dump.buffer);
    return status == CLI_OK && dump.is_damaged ? CLI_FAILED : status;
}
