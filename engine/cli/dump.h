/* What the files of `eagre dump` share: dump.c (arguments, files, rows), dump_tables.c (eagre.meta,
 * checkpoints, manifests), dump_journal.c, dump_segment.c, dump_records.c (records and what
 * internal ones mean).
 *
 * Everything is printed as rows: a kind and named values, as text or as one JSON object per line. A
 * row is made, printed and forgotten, so memory stays bounded. */
#ifndef EAGRE_ENGINE_CLI_DUMP_H
#define EAGRE_ENGINE_CLI_DUMP_H

#include "engine/cli/cli.h"
#include "engine/inspect/inspect.h"

#include <jansson.h>

enum dump_as { DUMP_AS_BYTES, DUMP_AS_METADATA, DUMP_AS_GROUPS, DUMP_AS_TRANSACTIONS };

struct dump {
    const struct cli_args *args;
    struct disk *disk;
    const char *path; /* of the file, below the disk's root */
    uint8_t *buffer;  /* [INSPECT_RUN_BYTES_MAX] */
    uint8_t *records; /* [INSPECT_RECORDS_BYTES_MAX] */
    uint64_t from;    /* offsets */
    uint64_t to;      /* one past the last */
    uint64_t only;    /* incarnation; 0: all */
    uint32_t as;      /* enum dump_as; UINT32_MAX: metadata for incarnation 1, else bytes */
    bool with_records;
    bool with_index;
    bool is_damaged; /* something was: the exit code */
};

/* A row to be filled by the functions below and printed by dump_print(). */
json_t *dump_row(const char *kind);
void dump_int(json_t *row, const char *name, int64_t value);
void dump_count(json_t *row, const char *name, uint64_t value);
/* Bytes as text when they are UTF-8, else "0x" and hexadecimal; at NULL: null. */
void dump_bytes(json_t *row, const char *name, struct bytes bytes);
void dump_uuid(json_t *row, const char *name, const uint8_t *uuid);
void dump_incarnation(json_t *row, uint64_t incarnation);
/* Prints and gives the row back. */
void dump_print(const struct dump *dump, json_t *row);
/* Tells where reading a file ends early, and why. */
void dump_damage(struct dump *dump, uint64_t position, const char *what);

/* Each prints one open file of its kind. */
void dump_meta(struct dump *dump, struct inspect_file *file);
void dump_checkpoint(struct dump *dump, struct inspect_file *file);
void dump_manifest(struct dump *dump, struct inspect_file *file);
void dump_journal(struct dump *dump, struct inspect_file *file);
void dump_segment(struct dump *dump, struct inspect_file *file);

/* One batch whose header can be read, and with --records what is in it. */
struct dump_batch {
    const uint8_t *at;
    uint32_t bytes;
    uint64_t position;
    uint64_t incarnation;
    bool is_intact;
};
void dump_batch(struct dump *dump, const struct dump_batch *batch);
/* What the key and value of a record of an internal log mean; false: they mean nothing to us. */
bool dump_group_record(json_t *row, struct bytes key, struct bytes value);
bool dump_transaction_record(json_t *row, struct bytes key, struct bytes value);

#endif
