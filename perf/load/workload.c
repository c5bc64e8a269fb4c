/* Workload files: a YAML mapping of scalars; every key has a range, and what is unknown or outside
 * is refused by name. */
#include "perf/load/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum field_kind { FIELD_COUNT, FIELD_NUMBER, FIELD_WORD, FIELD_SIZES, FIELD_KEYS, FIELD_TOTAL };

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    double low;
    double high;
    const char *words; /* FIELD_WORD: allowed, separated by | */
};

#define AT(member) offsetof(struct workload, member)
static const struct field fields[] = {
    {"topics", FIELD_COUNT, AT(topics), 1, 4096, NULL},
    {"partitions", FIELD_COUNT, AT(partitions), 1, 4096, NULL},
    {"producers", FIELD_COUNT, AT(producers), 0, 128, NULL},
    {"consumers", FIELD_COUNT, AT(consumers), 0, 128, NULL},
    {"record_bytes", FIELD_COUNT, AT(record_bytes), BENCH_STAMP_BYTES, 4 << 20, NULL},
    {"record_bytes_max", FIELD_COUNT, AT(record_bytes_max), 0, 4 << 20, NULL},
    {"sizes", FIELD_SIZES, AT(sizes), 0, 0, "fixed|uniform"},
    {"keys", FIELD_KEYS, AT(keys), 0, 0, "none|uniform|zipf"},
    {"key_count", FIELD_COUNT, AT(key_count), 1, 1e9, NULL},
    {"zipf_exponent", FIELD_NUMBER, AT(zipf_exponent), 0.1, 5, NULL},
    {"batch_records", FIELD_COUNT, AT(batch_records), 1, 100000, NULL},
    {"linger_ms", FIELD_NUMBER, AT(linger_ms), 0, 10000, NULL},
    {"codec", FIELD_WORD, AT(codec), 0, 0, "none|gzip|snappy|lz4|zstd"},
    {"durability", FIELD_WORD, AT(durability), 0, 0, "device|memory"},
    {"rate", FIELD_NUMBER, AT(rate), 0, 1e9, NULL},
    {"in_flight", FIELD_COUNT, AT(in_flight), 1, 65536, NULL},
    {"warmup_seconds", FIELD_NUMBER, AT(warmup_seconds), 0, 3600, NULL},
    {"seconds", FIELD_NUMBER, AT(seconds), 0.1, 86400, NULL},
    {"records", FIELD_TOTAL, AT(records), 0, 1e15, NULL},
};

static const struct workload defaults = {
    .topics = 1,
    .partitions = 1,
    .producers = 1,
    .record_bytes = 100,
    .key_count = 1000,
    .zipf_exponent = 1,
    .batch_records = 100,
    .codec = "none",
    .durability = "device",
    .in_flight = 16,
    .warmup_seconds = 1,
    .seconds = 5,
};

static bool
refuse(const char *key, const char *value, const char *why)
{
    fprintf(stderr, "bench: %s: '%s' %s\n", key, value, why);
    return false;
}

/* Place of a word in "a|b|c", or -1. */
static int
word_of(const char *words, const char *value)
{
    size_t count = strlen(value);
    int idx = 0;

    for (const char *at = words; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, value, count) == 0 && (at[count] == '|' || at[count] == '\0') && count > 0)
            return idx;
        idx++;
    }
    return -1;
}

static bool
take_number(struct workload *workload, const struct field *field, const char *value)
{
    uint8_t *at = (uint8_t *)workload + field->offset;
    char *end;
    double number = strtod(value, &end);
    bool is_whole = number == (double)(uint64_t)number;

    if (end == value || *end != '\0' || !(number >= field->low && number <= field->high))
        return refuse(field->key, value, "is not a number in its range");
    if (field->kind == FIELD_NUMBER) {
        *(double *)(void *)at = number;
        return true;
    }
    if (!is_whole)
        return refuse(field->key, value, "is not a whole number");
    if (field->kind == FIELD_TOTAL)
        *(uint64_t *)(void *)at = (uint64_t)number;
    else
        *(uint32_t *)(void *)at = (uint32_t)number;
    return true;
}

static bool
take(struct workload *workload, const char *key, const char *value)
{
    const struct field *field = NULL;

    for (size_t i = 0; field == NULL && i < ARRAY_COUNT(fields); i++)
        if (strcmp(fields[i].key, key) == 0)
            field = &fields[i];
    if (field == NULL)
        return refuse(key, value, "is set, but there is no such key");
    if (field->words == NULL)
        return take_number(workload, field, value);
    int word = word_of(field->words, value);
    if (word < 0)
        return refuse(key, value, field->words);
    if (field->kind == FIELD_SIZES)
        workload->sizes = (enum size_kind)word;
    else if (field->kind == FIELD_KEYS)
        workload->keys = (enum key_kind)word;
    else
        bytes_copy((uint8_t *)workload + field->offset, BENCH_WORD_MAX, value, strlen(value) + 1);
    return true;
}

bool
workload_set(struct workload *workload, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    char key[64];

    if (equals == NULL || (size_t)(equals - assignment) >= sizeof(key))
        return refuse("--set", assignment, "is not key=value");
    snprintf(key, sizeof(key), "%.*s", (int)(equals - assignment), assignment);
    return take(workload, key, equals + 1);
}

bool
workload_check(const struct workload *workload)
{
    if (workload->sizes == SIZE_UNIFORM && workload->record_bytes_max < workload->record_bytes)
        return refuse("record_bytes_max", "", "must be at least record_bytes for uniform sizes");
    if (workload->producers + workload->consumers == 0)
        return refuse("producers", "0", "and no consumers: there is nothing to do");
    if ((uint64_t)workload->topics * workload->partitions > BENCH_PARTITIONS_MAX)
        return refuse("partitions", "", "times topics is more than 65536");
    return true;
}

static void
take_name(struct workload *workload, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *begin = slash == NULL ? path : slash + 1;
    size_t count = strcspn(begin, ".");

    count = count < BENCH_NAME_MAX ? count : BENCH_NAME_MAX - 1;
    bytes_copy(workload->name, sizeof(workload->name), begin, count);
    workload->name[count] = '\0';
}

static bool
take_document(struct workload *workload, yaml_document_t *document, const char *path)
{
    const yaml_node_t *root = yaml_document_get_root_node(document);

    if (root == NULL || root->type != YAML_MAPPING_NODE)
        return refuse(path, "", "is not a YAML mapping");
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(document, pair->value);
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE)
            return refuse(path, "", "holds something else than scalars");
        if (!take(workload,
                  (const char *)key->data.scalar.value,
                  (const char *)value->data.scalar.value)) {
            fprintf(stderr, "bench: in %s:%zu\n", path, key->start_mark.line + 1);
            return false;
        }
    }
    return true;
}

bool
workload_read(const char *path, struct workload *ret)
{
    yaml_parser_t parser;
    yaml_document_t document;
    bool is_good = false;

    *ret = defaults;
    take_name(ret, path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return refuse(path, "", "cannot be read");
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, file);
    if (yaml_parser_load(&parser, &document)) {
        is_good = take_document(ret, &document, path);
        yaml_document_delete(&document);
    } else {
        fprintf(stderr, "bench: %s:%zu: %s\n", path, parser.problem_mark.line + 1, parser.problem);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return is_good;
}
