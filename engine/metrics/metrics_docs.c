/* Writes METRICS.md, the page of metrics.def, to stdout. tests/tidy compares it with the file that
 * is checked in. */
#include "engine/metrics/metrics_rows.h"

#include <stdio.h>

static const char *
owner_text(uint32_t owners)
{
    switch (owners) {
    case EVERY:
        return "every tile";
    case LOG:
        return "log";
    case GATE:
        return "gate";
    case NET:
        return "net";
    case CONTROL:
        return "control";
    case LOG | GATE:
        return "log, gate";
    default:
        return "several";
    }
}

static void
print_words(const char *label, const char *words)
{
    printf("`%s`", label);
    for (const char *at = words; *at != '\0'; at++)
        printf(*at == '|' ? " · " : at == words ? ": %c" : "%c", *at);
}

int
main(void)
{
    printf("# Metrics\n\nMade from `metrics.def`; do not edit. All names begin with `eagre_` and "
           "carry the label\n"
           "`tile`. Counters only grow, from 0 at start; durations are in the unit that the name "
           "ends with.\n"
           "Buckets of histograms are powers of two.\n\n"
           "| name | kind | written by | further label | meaning |\n|---|---|---|---|---|\n");
    for (size_t r = 0; r < ARRAY_COUNT(metric_rows); r++) {
        const struct metric_row *row = &metric_rows[r];
        printf("| `%s` | %s | %s | ",
               row->name,
               row->kind == METRIC_KIND_COUNTER ? "counter" : "gauge",
               owner_text(row->owners));
        if (row->label[0] != '\0')
            print_words(row->label, row->words);
        printf(" | %s |\n", row->about);
    }
    for (size_t r = 0; r < ARRAY_COUNT(metric_histogram_rows); r++) {
        const struct metric_histogram_row *row = &metric_histogram_rows[r];
        printf(
            "| `%s` | histogram | %s |  | %s |\n", row->name, owner_text(row->owners), row->about);
    }
    for (size_t r = 0; r < ARRAY_COUNT(metric_partition_rows); r++) {
        const struct metric_partition_row *row = &metric_partition_rows[r];
        printf("| `%s` | %s | log | `topic`, `partition` instead of `tile` | %s |\n",
               row->name,
               row->kind == METRIC_KIND_COUNTER ? "counter" : "gauge",
               row->about);
    }
    for (size_t r = 0; r < ARRAY_COUNT(metric_group_rows); r++)
        printf(
            "| `%s` | gauge | control | `group`, `topic`, `partition` instead of `tile` | %s |\n",
            metric_group_rows[r].name,
            metric_group_rows[r].about);
    return 0;
}
