/* The exporter: one family after the other, as the format wants it, and inside each all tiles. */
#include "engine/metrics/metrics.h"

#include "engine/metrics/metrics_rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Edges that are exported, as powers of two: about 1 us to 34 s, and 512 B to 16 MiB. */
#define SECONDS_BITS_FIRST 10u
#define SECONDS_BITS_LAST 35u
#define BYTES_BITS_FIRST 9u
#define BYTES_BITS_LAST 24u
#define LINE_BYTES_MAX 512u

void
metrics_init(struct metrics_tile *metrics, enum metrics_owner owner, const char *name)
{
    memset(metrics, 0, sizeof(*metrics));
    metrics->name = name;
    metrics->owner = owner;
}

static void put(struct writer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
put(struct writer *out, const char *format, ...)
{
    char line[LINE_BYTES_MAX];
    va_list arguments;
    int count;

    va_start(arguments, format);
    count = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    /* Topic names are at most 249 bytes and all else is ours, so nothing is cut. */
    if (count > 0)
        writer_bytes(out, line, min_u64((uint64_t)count, sizeof(line) - 1));
}

static void
put_head(struct writer *out, const char *name, const char *about, const char *kind)
{
    put(out, "# HELP eagre_%s %s\n# TYPE eagre_%s %s\n", name, about, name, kind);
}

static const char *
kind_text(enum metric_kind kind)
{
    return kind == METRIC_KIND_COUNTER ? "counter" : "gauge";
}

/* Writes a label's value: its word, or its number where the words end. */
static void
put_word(struct writer *out, const char *words, uint32_t index)
{
    for (uint32_t i = 0; i < index && *words != '\0'; i++) {
        words += strcspn(words, "|");
        words += *words == '|';
    }
    if (*words == '\0')
        put(out, "%u", index);
    else
        put(out, "%.*s", (int)strcspn(words, "|"), words);
}

static void
put_values(struct writer *out, const struct metric_row *row, const struct metrics_tile *tile)
{
    for (uint32_t i = 0; i < row->count; i++) {
        uint64_t value = metrics_get(tile, (enum metric)(row->first + i));
        if (row->label[0] != '\0' && value == 0)
            continue;
        put(out, "eagre_%s{tile=\"%s\"", row->name, tile->name);
        if (row->label[0] != '\0') {
            put(out, ",%s=\"", row->label);
            put_word(out, row->words, i);
            put(out, "\"");
        }
        put(out, "} %" PRIu64 "\n", value);
    }
}

static void
put_bucket(struct writer *out,
           const struct metric_histogram_row *row,
           const char *tile,
           uint32_t bits,
           uint64_t count)
{
    /* Buckets hold integers below 2^bits, so the inclusive edge is one less. */
    uint64_t edge = ((uint64_t)1 << bits) - 1;

    if (row->unit == METRIC_UNIT_SECONDS)
        put(out,
            "eagre_%s_bucket{tile=\"%s\",le=\"%.9f\"} %" PRIu64 "\n",
            row->name,
            tile,
            (double)edge / 1e9,
            count);
    else
        put(out,
            "eagre_%s_bucket{tile=\"%s\",le=\"%" PRIu64 "\"} %" PRIu64 "\n",
            row->name,
            tile,
            edge,
            count);
}

static void
put_histogram(struct writer *out,
              const struct metric_histogram_row *row,
              const struct histogram *histogram,
              const char *tile)
{
    bool seconds = row->unit == METRIC_UNIT_SECONDS;
    uint32_t last = seconds ? SECONDS_BITS_LAST : BYTES_BITS_LAST;
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    uint64_t below = 0;
    uint64_t count;

    for (uint32_t bits = seconds ? SECONDS_BITS_FIRST : BYTES_BITS_FIRST; bits <= last; bits++) {
        /* The writer goes on meanwhile: a bucket must not be smaller than the one before. */
        below = max_u64(below, histogram_count_below(histogram, bits));
        put_bucket(out, row, tile, bits, below);
    }
    count = max_u64(below, histogram_count(histogram));
    put(out, "eagre_%s_bucket{tile=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", row->name, tile, count);
    if (seconds)
        put(out, "eagre_%s_sum{tile=\"%s\"} %.9f\n", row->name, tile, (double)sum / 1e9);
    else
        put(out, "eagre_%s_sum{tile=\"%s\"} %" PRIu64 "\n", row->name, tile, sum);
    put(out, "eagre_%s_count{tile=\"%s\"} %" PRIu64 "\n", row->name, tile, count);
}

static void
put_partitions(struct writer *out,
               const struct metric_partition_row *row,
               const struct metrics_export_config *config)
{
    struct metrics_partition_row partition;

    put_head(out, row->name, row->about, kind_text(row->kind));
    for (uint32_t i = 0; config->partition_at(config->ctx, i, &partition); i++) {
        const char *values = (const char *)partition.values;
        const _Atomic uint64_t *value = (const _Atomic uint64_t *)(const void *)(values +
                                                                                 row->offset);
        put(out,
            "eagre_%s{topic=\"%s\",partition=\"%u\"} %" PRIu64 "\n",
            row->name,
            partition.topic,
            partition.partition,
            atomic_load_explicit(value, memory_order_relaxed));
    }
}

/* A label's value of any bytes: quoted as the text format wants it, and never two that look alike.
 */
static void
put_label(struct writer *out, const char *name, struct bytes value)
{
    put(out, "%s=\"", name);
    for (size_t i = 0; i < value.count; i++) {
        uint8_t byte = value.at[i];
        if (byte == '"' || byte == '\\')
            put(out, "\\%c", byte);
        else if (byte < 0x20 || byte >= 0x7f)
            put(out, "\\\\x%02x", byte);
        else
            writer_u8(out, byte);
    }
    put(out, "\"");
}

static void
put_groups(struct writer *out, size_t row_idx, const struct metrics_export_config *config)
{
    const struct metric_group_row *row = &metric_group_rows[row_idx];
    struct metrics_group_row offset;

    put_head(out, row->name, row->about, "gauge");
    for (uint32_t i = 0; config->group_at(config->ctx, i, &offset); i++) {
        uint64_t value = offset.values[row_idx];
        put(out, "eagre_%s{", row->name);
        put_label(out, "group", offset.group);
        put(out, ",");
        put_label(out, "topic", offset.topic);
        if (row->unit == METRIC_UNIT_SECONDS)
            put(out,
                ",partition=\"%u\"} %" PRIu64 ".%03u\n",
                offset.partition,
                value / 1000,
                (unsigned)(value % 1000));
        else
            put(out, ",partition=\"%u\"} %" PRIu64 "\n", offset.partition, value);
    }
}

void
metrics_export(const struct metrics_export_config *config, struct writer *out)
{
    for (size_t r = 0; r < ARRAY_COUNT(metric_rows); r++) {
        const struct metric_row *row = &metric_rows[r];
        put_head(out, row->name, row->about, kind_text(row->kind));
        for (uint32_t t = 0; t < config->tile_count; t++) {
            if ((config->tiles[t]->owner & row->owners) != 0)
                put_values(out, row, config->tiles[t]);
        }
    }
    for (size_t r = 0; r < ARRAY_COUNT(metric_histogram_rows); r++) {
        const struct metric_histogram_row *row = &metric_histogram_rows[r];
        put_head(out, row->name, row->about, "histogram");
        for (uint32_t t = 0; t < config->tile_count; t++) {
            const struct metrics_tile *tile = config->tiles[t];
            if ((tile->owner & row->owners) != 0)
                put_histogram(out, row, &tile->histograms[r], tile->name);
        }
    }
    for (size_t r = 0; config->partition_at != NULL && r < ARRAY_COUNT(metric_partition_rows); r++)
        put_partitions(out, &metric_partition_rows[r], config);
    for (size_t r = 0; config->group_at != NULL && r < ARRAY_COUNT(metric_group_rows); r++)
        put_groups(out, r, config);
}
